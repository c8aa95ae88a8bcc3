//! The time before which tokens are refused, as far as this process knows it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use secure_sessions_core::{Millis, Timestamp};
use tokio::sync::Mutex;

/// The age from which the answer of the store is renewed, beside a request that does not wait for it.
const ASK_AFTER: Millis = Millis::from_secs(5);
/// The age from which a request waits for a new answer: no host admits a token that another one refused longer ago.
const LATEST: Millis = Millis::from_secs(10);
/// In place of a time at which the store was asked: never.
const NEVER: u64 = u64::MAX;

/// The process's knowledge of the time before which tokens are refused. It never moves back.
pub(crate) struct NotBefore {
    /// The time in milliseconds; zero for none.
    millis: AtomicU64,
    /// The time of the question to which the store's newest answer came, in milliseconds.
    asked_at: AtomicU64,
    /// Held while the store is asked beside the requests.
    pub(crate) asking: Arc<Mutex<()>>,
}

/// The worth of the store's newest answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is new enough.
    Fresh,
    /// It serves, and a new one should be on its way.
    Aging,
    /// It is too old, or there is none.
    Old,
}

impl NotBefore {
    /// Begins with the time of the configuration.
    pub(crate) fn new(configured: Option<Timestamp>) -> Self {
        Self {
            millis: AtomicU64::new(configured.map_or(0, Timestamp::as_millis)),
            asked_at: AtomicU64::new(NEVER),
            asking: Arc::default(),
        }
    }

    pub(crate) fn get(&self) -> Option<Timestamp> {
        Some(self.millis.load(Ordering::Relaxed)).filter(|millis| *millis > 0).map(Timestamp::from_millis)
    }

    /// Takes over a later time. Returns `true` if it is later.
    pub(crate) fn raise(&self, at: Timestamp) -> bool {
        self.millis.fetch_max(at.as_millis(), Ordering::SeqCst) < at.as_millis()
    }

    /// Notes that the store has answered a question of this time.
    pub(crate) fn answered(&self, asked_at: Timestamp) {
        self.asked_at.store(asked_at.as_millis(), Ordering::Release);
    }

    /// Judges the store's newest answer by its age. A request that read the clock a little earlier than the one that asked must
    /// not ask again, so the difference counts in either direction.
    #[inline]
    pub(crate) fn answer(&self, now: Timestamp) -> Answer {
        let age = Millis::new(self.asked_at.load(Ordering::Acquire).abs_diff(now.as_millis()));
        if age < ASK_AFTER {
            Answer::Fresh
        } else if age < LATEST {
            Answer::Aging
        } else {
            Answer::Old
        }
    }
}
