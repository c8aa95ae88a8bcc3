//! Translates between Actix Web's headers and the engine.

use std::net::IpAddr;

use actix_web::dev;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use secure_sessions::{RequestHead, ResponseHeaders};

pub(crate) struct Head<'r>(pub(crate) &'r dev::RequestHead);

impl RequestHead for Head<'_> {
    fn each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        for value in self.0.headers.get_all(known(name)) {
            visit(value.as_bytes());
        }
    }

    fn method(&self) -> &str {
        self.0.method.as_str()
    }

    fn peer(&self) -> Option<IpAddr> {
        self.0.peer_addr.map(|address| address.ip())
    }
}

pub(crate) struct Answer<'r>(pub(crate) &'r mut HeaderMap);

impl ResponseHeaders for Answer<'_> {
    fn each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        for value in self.0.get_all(known(name)) {
            visit(value.as_bytes());
        }
    }

    fn append(&mut self, name: &'static str, value: &str, sensitive: bool) {
        // The engine writes visible ASCII only.
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

/// The names that every request asks for, without parsing them each time.
fn known(name: &'static str) -> HeaderName {
    const CDN_CACHE_CONTROL: HeaderName = HeaderName::from_static("cdn-cache-control");
    const SURROGATE_CONTROL: HeaderName = HeaderName::from_static("surrogate-control");
    match name {
        "cookie" => header::COOKIE,
        "authorization" => header::AUTHORIZATION,
        "set-cookie" => header::SET_COOKIE,
        "cache-control" => header::CACHE_CONTROL,
        "vary" => header::VARY,
        "content-length" => header::CONTENT_LENGTH,
        "transfer-encoding" => header::TRANSFER_ENCODING,
        "cdn-cache-control" => CDN_CACHE_CONTROL,
        "surrogate-control" => SURROGATE_CONTROL,
        name => HeaderName::from_static(name),
    }
}

/// The values that every response with a session has, without checking them each time.
fn fixed(value: &'static str) -> HeaderValue {
    const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");
    const COOKIE: HeaderValue = HeaderValue::from_static("Cookie");
    match value {
        "no-store" => NO_STORE,
        "Cookie" => COOKIE,
        value => HeaderValue::from_static(value),
    }
}
