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
        json.text("datetime", &rfc3339(self.at));
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

/// Formats a time as `2025-09-01T12:00:00.000Z`. The date is calculated by Howard Hinnant's `civil_from_days`.
fn rfc3339(at: Timestamp) -> String {
    let millis = at.as_millis();
    let (days, rest) = (millis / 86_400_000, millis % 86_400_000);
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    // Months from March, so that the leap day is the last of the year.
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (seconds, millis) = (rest / 1000, rest % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_rfc_3339_has_it() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_200_000, "2024-03-01T00:00:00.000Z"),
            (4_102_444_799_000, "2099-12-31T23:59:59.000Z"),
        ] {
            assert_eq!(rfc3339(Timestamp::from_millis(millis)), text);
        }
        let far = rfc3339(Timestamp::from_millis(u64::MAX));
        assert!(far.ends_with('Z'), "no overflow: {far}");
    }

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
