//! Routes that never look at the session: administration, counters, and the controls that only tests use.

use std::time::Duration;

use secure_sessions::{Clock, Keyring, Timestamp};
use secure_sessions_store::{Purge, SessionStore};
use serde_json::json;

use crate::answer::Answer;
use crate::app::{App, sleep};
use crate::query::Query;
use crate::routes::Verb;

/// A route without a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// Ends all sessions of a user.
    RevokeSubject,
    /// Ends the sessions that came from a session at an identity provider.
    RevokeProviderSession,
    /// Swaps the keyring.
    Keys,
    /// Refuses what was issued before a time.
    NotBefore,
    /// The counters.
    Metrics,
    /// Moves the clock.
    Clock,
    /// Purges once.
    Purge,
    /// Returns the number of requests that wait at the gate.
    Gate,
    /// Opens the gate.
    OpenGate,
    /// The size of the largest bucket that was written.
    LargestRecord,
    /// `Debug` of what an operator could come to log.
    Debug,
    /// Makes the store fail.
    Fault,
}

/// The routes of the acceptance program.
pub const ROUTES: &[(Verb, &str, Control)] = &[
    (Verb::Post, "/admin/revoke", Control::RevokeSubject),
    (Verb::Post, "/admin/keys", Control::Keys),
    (Verb::Post, "/admin/not-before", Control::NotBefore),
    (Verb::Get, "/metrics", Control::Metrics),
];

/// Mounted with `EXTRA=1`.
pub const EXTRA_ROUTES: &[(Verb, &str, Control)] = &[
    (Verb::Post, "/extra/provider-logout", Control::RevokeProviderSession),
    (Verb::Post, "/extra/clock", Control::Clock),
    (Verb::Post, "/extra/purge", Control::Purge),
    (Verb::Get, "/extra/gate", Control::Gate),
    (Verb::Post, "/extra/gate", Control::OpenGate),
    (Verb::Get, "/extra/largest-record", Control::LargestRecord),
    (Verb::Get, "/extra/debug-all", Control::Debug),
];

/// Mounted with `FAULTS=1`.
pub const FAULT_ROUTES: &[(Verb, &str, Control)] = &[(Verb::Post, "/admin/fault", Control::Fault)];

impl Control {
    /// Does the work of one request.
    pub async fn run(self, app: &App, query: &Query) -> Answer {
        sleep(query.number("load_ms")).await;
        let answer = self.work(app, query).await;
        app.before_reply(query).await;
        answer
    }

    async fn work(self, app: &App, query: &Query) -> Answer {
        match self {
            Self::RevokeSubject => match app.manager.revoke_subject(query.text("user")).await {
                Ok(revoked) => Answer::ok(json!({ "revoked": revoked })),
                Err(error) => Answer::from(&error),
            },
            Self::RevokeProviderSession => {
                match app.manager.revoke_provider_session(query.text("iss"), query.text("sid")).await {
                    Ok(revoked) => Answer::ok(json!({ "revoked": revoked })),
                    Err(error) => Answer::from(&error),
                }
            }
            Self::Keys => swap_keys(app, query),
            Self::NotBefore => match app.manager.set_not_before(Timestamp::from_millis(query.number("ms"))).await {
                Ok(at) => Answer::ok(json!({ "not_before": at.as_millis() })),
                Err(error) => Answer::from(&error),
            },
            Self::Metrics => Answer::ok(app.metrics().await),
            Self::Clock => {
                app.clock.advance(query.text("advance_ms").parse().unwrap_or_default());
                Answer::ok(json!({ "now": app.clock.now().as_millis() }))
            }
            Self::Purge => {
                let limit = u32::try_from(query.number("limit")).unwrap_or(u32::MAX);
                match app.store.purge_expired(app.clock.now(), limit).await {
                    Ok(purged) => Answer::ok(json!({ "purged": purged })),
                    Err(_) => Answer::error(503, "the store is not available"),
                }
            }
            Self::Gate => Answer::ok(json!({ "waiting": app.gate.waiting() })),
            Self::OpenGate => {
                app.gate.open();
                Answer::ok(json!({}))
            }
            Self::LargestRecord => Answer::ok(json!({ "largest_record": app.store.largest_record() })),
            Self::Debug => {
                let (manager, store, bucket) = (&app.manager, app.manager.store(), app.store.last_written());
                Answer::ok(json!({ "all": format!("{manager:?} {store:?} {bucket:?}") }))
            }
            Self::Fault => {
                let mode = query.text("mode");
                if app.store.set_fault(mode) {
                    Answer::ok(json!({ "mode": mode }))
                } else {
                    Answer::error(400, "expected mode=up, down, commit, random, lost or hold")
                }
            }
        }
    }
}

fn swap_keys(app: &App, query: &Query) -> Answer {
    let lists = (query.text("seal"), query.text("fingerprint"), query.text("compromised"));
    let swapped = Keyring::from_text(lists.0, lists.1, lists.2)
        .map_err(|error| error.to_string())
        .and_then(|keyring| app.manager.set_keyring(keyring).map_err(|error| error.to_string()));
    match swapped {
        Ok(()) => Answer::ok(json!({ "swapped": true })),
        Err(problem) => Answer::error(400, &problem),
    }
}

impl App {
    /// Purges in the background, in small batches, until the process ends.
    pub(crate) fn purge_every(&self, interval: Duration) {
        let clock = self.clock.clone();
        let purge = Purge::new(self.store.clone()).interval(interval).batch(2).clock(move || clock.now());
        // Dropping the handle must not stop the loop: it ends with the process.
        std::mem::forget(purge.spawn());
    }
}
