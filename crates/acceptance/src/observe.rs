//! Counts every event, and writes it as one JSON line to standard error if asked to.

use std::collections::BTreeMap;
use std::io::Write;
use std::sync::{Arc, Mutex, PoisonError};

use secure_sessions::{Event, Observer};
use serde_json::{Value, json};

/// Receives the engine's events. Clones share their counters.
#[derive(Clone)]
pub struct Recorder {
    counts: Arc<Mutex<BTreeMap<&'static str, u64>>>,
    write_json: bool,
}

impl Recorder {
    /// Counts, and writes JSON lines if `write_json`.
    #[must_use]
    pub fn new(write_json: bool) -> Self {
        Self { counts: Arc::new(Mutex::new(Event::NAMES.iter().map(|name| (*name, 0)).collect())), write_json }
    }

    /// Returns the number of times that each event was seen.
    #[must_use]
    pub fn counts(&self) -> Value {
        json!(*self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for Recorder {
    fn observe(&self, event: &Event) {
        if self.write_json {
            // One write per line, so that lines of parallel requests do not mix. Nobody may be reading: no error.
            let _ = std::io::stderr().write_all(format!("{}\n", line(event)).as_bytes());
        }
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(event.name()).or_default() += 1;
    }
}

fn line(event: &Event) -> Value {
    let mut line = json!({ "event": event.name() });
    if let Some(session) = event.session() {
        line["session"] = json!(session.to_string());
    }
    let details = match event {
        Event::Created { logged_in, .. } => json!({ "logged_in": logged_in }),
        Event::Rotated { generation, reason, .. } => {
            json!({ "generation": generation, "reason": format!("{reason:?}") })
        }
        Event::Renewed { old, login, .. } => json!({ "old": old.to_string(), "login": login }),
        Event::Ended { count, reason, .. } => json!({ "count": count, "reason": format!("{reason:?}") }),
        Event::Replayed { revoked, .. } => json!({ "revoked": revoked }),
        Event::Forged { kind, key } | Event::UnknownKey { kind, key } => {
            json!({ "kind": kind.to_string(), "key": key.to_string() })
        }
        Event::DeviceMissing { skipped, .. } => json!({ "skipped": skipped.map(|skipped| skipped.name()) }),
        Event::DeviceEndpointRefused { reason } => json!({ "reason": reason }),
        Event::LaterVersion { version } => json!({ "version": version }),
        Event::Ambiguous { count } => json!({ "count": count }),
        Event::CrossOrigin { reason, refused, .. } => json!({ "reason": reason.name(), "refused": refused }),
        Event::StoreError { operation, message } => json!({ "operation": operation, "message": message }),
        Event::LoginRefused { limit } => json!({ "limit": limit }),
        Event::KeysChanged { seal, fingerprint, compromised } => {
            json!({ "seal": seal.to_string(), "fingerprint": fingerprint.to_string(), "compromised": compromised })
        }
        Event::NotBefore { at } => json!({ "at": at.as_millis() }),
        Event::Unreadable { fields, .. } => json!({ "fields": fields }),
        Event::KeyReloadFailed { message } => json!({ "message": message }),
        Event::ConflictRetry { attempt, .. } => json!({ "attempt": attempt }),
        _ => json!({}),
    };
    if let (Value::Object(line), Value::Object(details)) = (&mut line, details) {
        line.extend(details);
    }
    line
}
