//! Translates between Actix Web's headers and the engine.

use std::net::IpAddr;

use actix_web::dev;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use secure_sessions::{RequestHead, ResponseHeaders};

secure_sessions::adapter_headers!(header);

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
