//! Counters through the `metrics` facade, for the exporter that the application installs.

use metrics::{counter, describe_counter};

use crate::event::{Event, Observer};

/// The counter of all events.
const EVENTS: &str = "secure_sessions_events_total";

/// Counts every event as `secure_sessions_events_total`, with the labels `event` ([`Event::name`]) and `cause`
/// ([`Event::cause`]). Both have a few fixed values, whatever an attacker sends.
///
/// ```
/// use secure_sessions::{Keyring, MemoryStore, Metrics, SessionManager};
///
/// let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).observer(Metrics::new()).build()?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, Default)]
#[non_exhaustive]
pub struct Metrics;

impl Metrics {
    /// Describes the counter to the currently installed recorder.
    #[must_use]
    pub fn new() -> Self {
        describe_counter!(EVENTS, "Session events, by their name and cause");
        Self
    }
}

impl Observer for Metrics {
    fn observe(&self, event: &Event) {
        counter!(EVENTS, "event" => event.name(), "cause" => event.cause()).increment(1);
    }
}
