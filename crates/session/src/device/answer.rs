//! The endpoint as an adapter calls it: a future of the answer.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::adapter::reply::ResponseHeaders;

/// The future of an answer to a browser: see [`device_endpoint`](crate::SessionManager::device_endpoint).
#[must_use = "the browser waits for the answer"]
pub struct DeviceAnswering(Pin<Box<dyn Future<Output = DeviceAnswer> + Send>>);

#[cfg(feature = "device")]
impl DeviceAnswering {
    pub(super) fn new(answer: impl Future<Output = DeviceAnswer> + Send + 'static) -> Self {
        Self(Box::pin(answer))
    }
}

impl Future for DeviceAnswering {
    type Output = DeviceAnswer;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<DeviceAnswer> {
        self.0.as_mut().poll(context)
    }
}

impl fmt::Debug for DeviceAnswering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeviceAnswering(..)")
    }
}

/// An answer to a browser that registers a device or renews its ticket.
#[must_use]
pub struct DeviceAnswer {
    pub(crate) status: u16,
    /// Each with its name in lower case.
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl DeviceAnswer {
    /// Returns the HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// Adds the headers to the response's, among them the `Content-Type` of a body.
    pub fn apply(&self, headers: &mut dyn ResponseHeaders) {
        headers.set("cache-control", "no-store");
        if !self.body.is_empty() {
            headers.set("content-type", "application/json");
        }
        for (name, value) in &self.headers {
            headers.append(name, value, true);
        }
    }

    /// Returns the body, which is JSON, or empty.
    #[must_use]
    pub fn into_body(self) -> String {
        self.body
    }
}

impl fmt::Debug for DeviceAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceAnswer").field("status", &self.status).finish_non_exhaustive()
    }
}
