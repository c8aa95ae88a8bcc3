//! Translates between `http` 1.x and the engine.

use http::header::{HeaderName, HeaderValue};
use http::{HeaderMap, Method};
use secure_sessions::{RequestHead, ResponseHeaders};

pub(crate) struct Head<'r> {
    pub(crate) method: &'r Method,
    pub(crate) headers: &'r HeaderMap,
}

impl RequestHead for Head<'_> {
    fn each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        for value in self.headers.get_all(name) {
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
        for value in self.0.get_all(name) {
            visit(value.as_bytes());
        }
    }

    fn append(&mut self, name: &'static str, value: &str, sensitive: bool) {
        // The engine writes visible ASCII only.
        if let Ok(mut value) = HeaderValue::from_str(value) {
            value.set_sensitive(sensitive);
            self.0.append(HeaderName::from_static(name), value);
        }
    }

    fn set(&mut self, name: &'static str, value: &'static str) {
        self.0.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }

    fn remove(&mut self, name: &'static str) {
        self.0.remove(name);
    }
}
