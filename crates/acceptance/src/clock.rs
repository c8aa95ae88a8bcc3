//! The system's clock, moved by an offset that a test sets.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use secure_sessions::{Clock, SystemClock, Timestamp};

/// The system's time plus an offset. Clones share the offset.
#[derive(Debug, Clone, Default)]
pub struct ShiftedClock(Arc<AtomicI64>);

impl ShiftedClock {
    /// Starts so many milliseconds ahead of the system's clock, or behind it.
    #[must_use]
    pub fn new(offset_ms: i64) -> Self {
        Self(Arc::new(AtomicI64::new(offset_ms)))
    }

    /// Moves on from where it is, backward too.
    pub fn advance(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(SystemClock.now().as_millis().saturating_add_signed(self.0.load(Ordering::SeqCst)))
    }
}
