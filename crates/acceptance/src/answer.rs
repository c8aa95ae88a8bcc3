//! The answer of a route, apart from any framework.

use secure_sessions::SessionError;
use serde_json::{Value, json};

/// A response: its status, its JSON body, and headers of the application's own.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers to add beside those that are there.
    pub headers: Vec<(&'static str, String)>,
    /// The body, sent as `application/json`.
    pub body: Value,
}

impl Answer {
    /// Status 200.
    #[must_use]
    pub fn ok(body: Value) -> Self {
        Self { status: 200, headers: Vec::new(), body }
    }

    /// An error.
    #[must_use]
    pub fn error(status: u16, text: &str) -> Self {
        Self { status, headers: Vec::new(), body: json!({ "error": text }) }
    }

    /// The text to send as the body: none where the status allows none.
    #[must_use]
    pub fn text(&self) -> String {
        if matches!(self.status, 204 | 304) { String::new() } else { self.body.to_string() }
    }

    /// With one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl From<&SessionError> for Answer {
    /// Tells the client everything about its own mistake; the reason for a failure of the server stays inside.
    fn from(error: &SessionError) -> Self {
        match error.status() {
            status @ 500.. => Self::error(status, error.client_text()),
            status => Self::error(status, &error.to_string()),
        }
    }
}
