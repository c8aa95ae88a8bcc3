//! Translates between Rocket's headers and the engine's.

use std::net::IpAddr;

use rocket::{Request, Response};
use secure_sessions::{RequestHead, ResponseHeaders};

pub(crate) struct Head<'a, 'r>(pub(crate) &'a Request<'r>);

impl RequestHead for Head<'_, '_> {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        let mut values = self.0.headers().get(name).peekable();
        if values.peek().is_none() && name == "cookie" {
            return each_cookie_of_the_jar(self.0, visit);
        }
        values.for_each(|value| visit(value.as_bytes()));
    }

    fn method(&self) -> &str {
        self.0.method().as_str()
    }

    fn path(&self) -> Option<&str> {
        Some(self.0.uri().path().raw().as_str())
    }

    fn peer(&self) -> Option<IpAddr> {
        self.0.remote().map(|address| address.ip())
    }
}

/// Visits the cookies of the jar, the only place where requests of a local client have them. A tracked client keeps a
/// removed cookie with an empty value, which is skipped.
fn each_cookie_of_the_jar(request: &Request<'_>, visit: &mut dyn FnMut(&[u8])) {
    for cookie in request.cookies().iter().filter(|cookie| !cookie.value().is_empty()) {
        visit(format!("{}={}", cookie.name(), cookie.value()).as_bytes());
    }
}

pub(crate) struct Answer<'a, 'r>(pub(crate) &'a mut Response<'r>);

impl ResponseHeaders for Answer<'_, '_> {
    fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
        self.0.headers().get(name).for_each(|value| visit(value.as_bytes()));
    }

    /// Adds the header. Rocket cannot mark it as sensitive.
    fn append(&mut self, name: &'static str, value: &str, _sensitive: bool) {
        self.0.adjoin_raw_header(name, value.to_owned());
    }

    fn set(&mut self, name: &'static str, value: &'static str) {
        self.0.set_raw_header(name, value);
    }

    fn remove(&mut self, name: &'static str) {
        self.0.remove_header(name);
    }

    /// Compares the response's few names one by one, which is faster than to hash one more.
    fn set_if_absent(&mut self, name: &'static str, value: &'static str) -> bool {
        let is_absent = self.0.headers().iter().all(|header| header.name() != name);
        if is_absent {
            self.set(name, value);
        }
        is_absent
    }
}
