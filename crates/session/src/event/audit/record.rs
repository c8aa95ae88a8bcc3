//! One record of the audit trail, and its JSON.

use std::fmt::Write;
use std::sync::Arc;

use secure_sessions_core::{Handle, Timestamp};

use crate::event::Event;
use crate::event::vocabulary::{Detail, Severity};

/// One event in the terms of OWASP's Logging Vocabulary.
///
/// It never holds a token, a key, a session's data or its subject. It names a session by its [`Handle`], a keyed hash.
/// To know who it was, log the handle together with the user at login: `session.id()`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuditRecord {
    /// The time of the event.
    pub at: Timestamp,
    /// The application's name, if it was set.
    pub application: Option<Arc<str>>,
    /// The word of the vocabulary: [`Event::owasp_name`].
    pub event: &'static str,
    /// The event's stable name: [`Event::name`].
    pub name: &'static str,
    /// The severity of the event.
    pub severity: Severity,
    /// The session that the event is about, if it is about one.
    pub session: Option<Handle>,
    /// The event's cause: [`Event::cause`]. It is empty if there is nothing to tell apart.
    pub cause: &'static str,
    /// The event's other details: [`Event::details`].
    pub details: Vec<(&'static str, Detail)>,
    /// The event in a sentence.
    pub description: String,
}

impl AuditRecord {
    pub(super) fn new(event: &Event, at: Timestamp, application: Option<Arc<str>>) -> Self {
        Self {
            at,
            application,
            event: event.owasp_name(),
            name: event.name(),
            severity: event.severity(),
            session: event.session(),
            cause: event.cause(),
            details: event.details(),
            description: event.to_string(),
        }
    }

    /// Creates the record that reports how many records before it could not be written.
    pub(super) fn lost(count: u64, at: Timestamp, application: Option<Arc<str>>) -> Self {
        let description = format!("{count} record(s) before this one could not be kept");
        Self { description, ..Self::new(&Event::Suppressed { event: "lost", count }, at, application) }
    }

    /// Returns one JSON object without a line break. The fields that every record has come first: `datetime` (RFC 3339,
    /// UTC), `appid` if it was set, `event`, `level`, `description`, `name`.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = Object::new();
        json.text("datetime", &self.at.to_string());
        if let Some(application) = &self.application {
            json.text("appid", application);
        }
        json.text("event", self.event);
        json.text("level", self.severity.as_str());
        json.text("description", &self.description);
        json.text("name", self.name);
        if let Some(session) = self.session {
            json.text("session", &session.to_string());
        }
        if !self.cause.is_empty() {
            json.text("cause", self.cause);
        }
        for (name, detail) in &self.details {
            match detail {
                Detail::Text(text) => json.text(name, text),
                Detail::Number(number) => json.raw(name, number),
                Detail::Flag(flag) => json.raw(name, flag),
            }
        }
        json.end()
    }
}

/// A flat JSON object under construction. Writing to a String cannot fail.
struct Object(String);

impl Object {
    fn new() -> Self {
        Self("{".to_owned())
    }

    fn text(&mut self, name: &str, text: &str) {
        self.name(name);
        self.string(text);
    }

    fn raw(&mut self, name: &str, value: impl std::fmt::Display) {
        self.name(name);
        let _ = write!(self.0, "{value}");
    }

    fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }

    fn name(&mut self, name: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.string(name);
        self.0.push(':');
    }

    /// Appends a quoted string. Escapes what JSON demands, and characters that a terminal or a line reader could
    /// misinterpret.
    fn string(&mut self, text: &str) {
        self.0.push('"');
        for character in text.chars() {
            match character {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                control if control.is_control() || matches!(control, '\u{2028}' | '\u{2029}') => {
                    let _ = write!(self.0, "\\u{:04x}", u32::from(control));
                }
                character => self.0.push(character),
            }
        }
        self.0.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_one_line_whatever_stands_in_it() {
        let message = "no\n\"line\"\\\u{1b}[31m\u{2028}".to_owned();
        let event = Event::StoreError { operation: "load", message };
        let record = AuditRecord::new(&event, Timestamp::from_millis(0), Some("shop".into()));
        let json = record.to_json();
        assert!(json.starts_with(
            r#"{"datetime":"1970-01-01T00:00:00.000Z","appid":"shop","event":"session_store_error","level":"WARN","description":"#
        ));
        assert!(json.ends_with(r#""cause":"load","message":"no\u000a\"line\"\\\u001b[31m\u2028"}"#), "{json}");
        assert!(!json.contains('\n') && !json.contains('\u{1b}'));
    }
}
