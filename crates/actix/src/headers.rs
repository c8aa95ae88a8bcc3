//! Translates between Actix Web's headers and the engine.

use std::net::IpAddr;

use actix_web::dev;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, Version};
use secure_sessions::{BodySize, RequestHead, ResponseHeaders};

secure_sessions::adapter_headers!(header);

pub(crate) struct Head<'r>(pub(crate) &'r dev::RequestHead);

impl RequestHead for Head<'_> {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        for value in self.0.headers.get_all(known(name)) {
            visit(value.as_bytes());
        }
    }

    fn method(&self) -> &str {
        self.0.method.as_str()
    }

    fn path(&self) -> Option<&str> {
        Some(self.0.uri.path())
    }

    fn peer(&self) -> Option<IpAddr> {
        self.0.peer_addr.map(|address| address.ip())
    }

    /// Returns the body's length. From HTTP/2 on, Actix Web does not report whether there is a body, so the engine's
    /// own rule applies.
    fn body_size(&self) -> BodySize {
        let without = match self.0.version {
            Version::HTTP_09 | Version::HTTP_10 | Version::HTTP_11 => BodySize::Exact(0),
            _ if matches!(self.0.method, Method::GET | Method::HEAD) => BodySize::Exact(0),
            _ => BodySize::Unknown,
        };
        BodySize::declared(self).unwrap_or(without)
    }
}

pub(crate) struct Answer<'r>(pub(crate) &'r mut HeaderMap);

impl ResponseHeaders for Answer<'_> {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        for value in self.0.get_all(known(name)) {
            visit(value.as_bytes());
        }
    }

    fn append(&mut self, name: &'static str, value: &str, sensitive: bool) {
        // Cannot fail: the engine writes visible ASCII only.
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(sensitive);
            self.0.append(known(name), value);
        }
    }

    fn set(&mut self, name: &'static str, value: &'static str) {
        self.0.insert(known(name), fixed(value));
    }

    fn remove(&mut self, name: &'static str) {
        self.0.remove(known(name));
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_body_is_unknown_where_neither_headers_nor_version_tell() {
        let declared = Some(("content-length", "7"));
        let chunked = Some(("transfer-encoding", "chunked"));
        for (version, method, header, expected) in [
            (Version::HTTP_11, Method::GET, None, BodySize::Exact(0)),
            (Version::HTTP_11, Method::POST, None, BodySize::Exact(0)),
            (Version::HTTP_11, Method::POST, declared, BodySize::Exact(7)),
            (Version::HTTP_11, Method::POST, chunked, BodySize::Unknown),
            (Version::HTTP_2, Method::GET, None, BodySize::Exact(0)),
            (Version::HTTP_2, Method::POST, None, BodySize::Unknown),
            (Version::HTTP_2, Method::POST, declared, BodySize::Exact(7)),
        ] {
            let request = TestRequest::default().version(version).method(method.clone());
            let request = header.into_iter().fold(request, TestRequest::append_header).to_http_request();
            assert_eq!(Head(request.head()).body_size(), expected, "{version:?} {method} {header:?}");
        }
    }
}
