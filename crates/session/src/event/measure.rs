//! The measurements for operators: how long the store takes, how often commits are repeated.

use std::time::Duration;

/// A measurement of the engine, for an [`Observer`](crate::Observer) that
/// [wants them](crate::Observer::wants_measures).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Measure {
    /// A call of the store has ended. A look into this process's memory, which waits for nothing, is not measured.
    StoreCall {
        /// The name of the method of [`SessionStore`](crate::SessionStore) or [`VaultStore`](crate::store::VaultStore).
        operation: &'static str,
        /// `ok`; `conflict` for a compare-and-swap that lost; or the kind of the error, such as `unavailable` or `timeout`.
        outcome: &'static str,
        /// The time from the call to the answer.
        took: Duration,
    },
    /// A commit that wrote to the store has ended.
    Commit {
        /// The number of times that it tried to write: 1 without a conflict.
        tries: u32,
    },
    /// The health of this process's sessions was [checked](crate::SessionManager::health).
    Health {
        /// `true` if the store answered a read in time.
        reads: bool,
        /// `true` if the store took a write in time.
        writes: bool,
        /// `true` if the store of private values kept and returned one in time; `None` if there is no such store.
        vault: Option<bool>,
        /// The time by which this host's clock is ahead of the store's, in milliseconds; negative if it is behind, `None` if
        /// the store has no clock of its own or did not answer.
        clock_ahead_ms: Option<i64>,
    },
}
