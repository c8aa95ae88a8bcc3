//! Metrics through the `metrics` facade, for the exporter that the application installs.

use metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};

use crate::event::measure::Measure;
use crate::event::{Event, Observer};

/// The counter of all events.
const EVENTS: &str = "secure_sessions_events_total";
/// The events and causes that begin at zero. To Prometheus, a series that begins at one has not increased, so the first alarm
/// would go unseen. The rest begin with their first event.
const FROM_ZERO: &[(&str, &str)] = &[
    ("created", "login"),
    ("created", "anonymous"),
    ("renewed", "login"),
    ("renewed", "anonymous"),
    ("rotated", "changed"),
    ("rotated", "interval"),
    ("rotated", "compromised_key"),
    ("handed_off", ""),
    ("ended", "logout"),
    ("ended", "revoked"),
    ("ended", "evicted"),
    ("ended", "replaced"),
    ("ended", "presented_after_end"),
    ("expired", "timeout"),
    ("replayed", "revoked"),
    ("replayed", "refused"),
    ("forged", ""),
    ("unremembered", ""),
    ("store_tampered", ""),
    ("vault_lost", "missing"),
    ("vault_lost", "altered"),
    ("device_offered", ""),
    ("device_bound", ""),
    ("device_missing", ""),
    ("device_mismatch", ""),
    ("unknown_key", ""),
    ("unknown_key", "later_version"),
    ("critical_entry", ""),
    ("crowded_out", ""),
    ("ambiguous", ""),
    ("binding_mismatch", ""),
    ("login_refused", ""),
    ("keys_changed", ""),
    ("key_reload_failed", ""),
    ("not_before", ""),
    ("store_error", "load"),
    ("store_error", "insert"),
    ("store_error", "replace"),
    ("store_error", "renew_into"),
    ("store_error", "remove"),
    ("store_error", "get"),
    ("store_error", "put"),
    ("conflict_retry", ""),
    ("unreadable", ""),
    ("csrf_mismatch", ""),
    ("cross_origin", "cross_site"),
];
/// The time that calls of the store take.
const STORE_CALLS: &str = "secure_sessions_store_call_duration_seconds";
/// The number of writes that commits need.
const COMMIT_TRIES: &str = "secure_sessions_commit_tries";
/// The outcome of the newest health check.
const HEALTHY: &str = "secure_sessions_healthy";
/// The difference of this host's clock from the store's.
const CLOCK_AHEAD: &str = "secure_sessions_clock_ahead_seconds";

/// Counts every event, and measures the calls of the store and the commits, through the [`metrics`] facade.
///
/// The chapter on [operations](crate::guide::operations#metrics) lists the metrics with their labels, which have a few fixed
/// values, whatever an attacker sends. Install an exporter before you build the manager.
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
    /// The upper bounds of the buckets for `secure_sessions_store_call_duration_seconds`, in seconds: from a store in memory to
    /// one that does not answer. An exporter of histograms needs them, such as Prometheus's.
    pub const STORE_CALL_BUCKETS: &[f64] =
        &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

    /// The upper bounds of the buckets for `secure_sessions_commit_tries`.
    pub const COMMIT_TRIES_BUCKETS: &[f64] = &[1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 50.0, 100.0];

    /// Describes the metrics to the currently installed recorder.
    #[must_use]
    pub fn new() -> Self {
        describe_counter!(EVENTS, Unit::Count, "Session events, by their name and cause");
        describe_histogram!(STORE_CALLS, Unit::Seconds, "Calls of the session store, by method and outcome");
        describe_histogram!(COMMIT_TRIES, Unit::Count, "Writes that a commit needed: 1 without a conflict");
        describe_gauge!(HEALTHY, Unit::Count, "1 if the newest health check passed, by check: read, write, vault");
        describe_gauge!(CLOCK_AHEAD, Unit::Seconds, "This host's clock against the store's; negative: behind");
        for (event, cause) in FROM_ZERO {
            counter!(EVENTS, "event" => *event, "cause" => *cause).increment(0);
        }
        Self
    }
}

impl Observer for Metrics {
    fn observe(&self, event: &Event) {
        counter!(EVENTS, "event" => event.name(), "cause" => event.cause()).increment(1);
    }

    fn measure(&self, measure: &Measure) {
        match *measure {
            Measure::StoreCall { operation, outcome, took } => {
                histogram!(STORE_CALLS, "operation" => operation, "outcome" => outcome).record(took.as_secs_f64());
            }
            Measure::Commit { tries } => histogram!(COMMIT_TRIES).record(f64::from(tries)),
            Measure::Health { reads, writes, vault, clock_ahead_ms } => {
                for (check, passed) in [("read", Some(reads)), ("write", Some(writes)), ("vault", vault)] {
                    if let Some(passed) = passed {
                        gauge!(HEALTHY, "check" => check).set(f64::from(u8::from(passed)));
                    }
                }
                if let Some(ahead) = clock_ahead_ms {
                    gauge!(CLOCK_AHEAD).set(seconds(ahead));
                }
            }
        }
    }

    fn wants_measures(&self) -> bool {
        true
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds beyond 2^53 are no difference of clocks")]
fn seconds(millis: i64) -> f64 {
    millis as f64 / 1000.0
}
