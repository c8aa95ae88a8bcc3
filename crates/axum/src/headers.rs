//! Translates between `http` 1.x and the engine.

use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use secure_sessions::{RequestHead, ResponseHeaders};

pub(crate) struct Head<'r> {
    pub(crate) method: &'r Method,
    pub(crate) headers: &'r HeaderMap,
}

impl RequestHead for Head<'_> {
    fn each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        for value in self.headers.get_all(known(name)) {
            visit(value.as_bytes());
        }
    }

    fn method(&self) -> &str {
        self.method.as_str()
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
        self.0.insert(known(name), HeaderValue::from_static(value));
    }

    fn remove(&mut self, name: &'static str) {
        self.0.remove(known(name));
    }
}

/// The names that every request asks for, without parsing them each time.
fn known(name: &'static str) -> HeaderName {
    match name {
        "cookie" => header::COOKIE,
        "set-cookie" => header::SET_COOKIE,
        "cache-control" => header::CACHE_CONTROL,
        "vary" => header::VARY,
        name => HeaderName::from_static(name),
    }
}
