//! A warning of clocks that differ.

use std::time::{SystemTime, UNIX_EPOCH};

use secure_sessions_core::{Millis, Timestamp};

use crate::SessionStore;

/// The difference that sessions do not notice. (A grace is a minute, and tolerates differences of seconds.)
const TOLERATED: Millis = Millis::from_secs(5);

/// Logs a warning if this host's clock differs from that of the store's server. Called when a store is opened.
pub(crate) async fn warn_of_skew(store: &impl SessionStore) {
    let before = host_time();
    // A server that does not tell its time, or does not answer, is not the matter here.
    let Ok(Some(theirs)) = store.now().await else { return };
    if let Some(ahead_ms) = ahead(before, theirs, host_time()) {
        tracing::warn!(
            ahead_ms,
            "this host's clock differs from that of the session store's server: sessions may expire too early or too late; \
             set both by NTP"
        );
    }
}

/// Returns how far the host is ahead of the server (negative: behind), in milliseconds, or `None` if the server's time lies
/// between the host's times before and after the question, or close to them.
fn ahead(before: Timestamp, theirs: Timestamp, after: Timestamp) -> Option<i64> {
    let millis = |at: Timestamp| i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    if before > theirs.after(TOLERATED) {
        Some(millis(before) - millis(theirs))
    } else if theirs > after.after(TOLERATED) {
        Some(millis(after) - millis(theirs))
    } else {
        None
    }
}

fn host_time() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(Millis::from(since).get())
}

#[cfg(all(test, feature = "memory"))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Level, Metadata, Subscriber};

    use super::*;
    use crate::{MemoryStore, StoreError};

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn a_difference_of_more_than_seconds_is_told_with_its_direction() {
        assert_eq!(ahead(at(100_000), at(100_000), at(100_001)), None);
        assert_eq!(ahead(at(100_000), at(95_000), at(100_000)), None, "5 seconds are tolerated");
        assert_eq!(ahead(at(100_000), at(105_000), at(100_000)), None, "5 seconds are tolerated");
        assert_eq!(ahead(at(100_000), at(150_000), at(160_000)), None, "the answer took a minute");
        assert_eq!(ahead(at(100_000), at(40_000), at(100_000)), Some(60_000));
        assert_eq!(ahead(at(100_000), at(160_000), at(100_000)), Some(-60_000));
    }

    /// A store whose server's clock shows this.
    struct Showing(MemoryStore, Option<Timestamp>);

    impl SessionStore for Showing {
        async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
            Ok(self.1)
        }

        crate::forward_methods!(self => &self.0;
            insert, load, replace, renew_into, remove, list, count, remove_all, purge_expired);
    }

    /// Counts warnings.
    struct Warnings(Arc<AtomicU32>);

    impl Subscriber for Warnings {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            *metadata.level() == Level::WARN
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}

        fn record_follows_from(&self, _: &Id, _: &Id) {}

        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }

        fn enter(&self, _: &Id) {}

        fn exit(&self, _: &Id) {}
    }

    #[tokio::test]
    async fn a_host_whose_clock_differs_from_its_servers_is_warned_of_at_connect() {
        let warnings = Arc::new(AtomicU32::new(0));
        let _subscriber = tracing::subscriber::set_default(Warnings(Arc::clone(&warnings)));
        let two_hours = Duration::from_secs(7200);
        let behind = Timestamp::from_millis(host_time().as_millis() - 7_200_000);
        for (server, warned) in
            [(None, 0), (Some(host_time()), 0), (Some(behind), 1), (Some(host_time().after(two_hours.into())), 2)]
        {
            warn_of_skew(&Showing(MemoryStore::new(), server)).await;
            assert_eq!(warnings.load(Ordering::SeqCst), warned, "{server:?}");
        }
    }
}
