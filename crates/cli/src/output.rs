//! Prints the answer of a command, as text or as JSON.

use std::io::Write;

use secure_sessions::Timestamp;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::error::Failure;

/// The answer of a command, for people and for programs.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) text: String,
    pub(crate) json: Value,
    /// `true` if the command found a problem.
    pub(crate) is_bad: bool,
}

impl Answer {
    pub(crate) fn new(text: impl Into<String>, json: Value) -> Self {
        Self { text: text.into(), json, is_bad: false }
    }

    pub(crate) fn print(&self, json: bool) {
        if json { line(&self.json.to_string()) } else { line(self.text.trim_end()) }
    }
}

pub(crate) fn print_failure(failure: &Failure, json: bool) {
    if json {
        line(&json!({ "error": failure.to_string() }).to_string());
    } else {
        eprintln!("secure-sessions: {failure}");
    }
}

/// Prints a line. A reader that has seen enough, such as `head`, closes the pipe: that is no error.
fn line(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Returns a time as RFC 3339 writes it, in UTC.
pub(crate) fn when(at: Timestamp) -> String {
    let nanos = i128::from(at.as_millis()) * 1_000_000;
    let at = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok().and_then(|at| at.format(&Rfc3339).ok());
    at.unwrap_or_else(|| "a time beyond the calendar".to_owned())
}
