//! The findings of a health check.

use std::fmt;
use std::time::Duration;

use secure_sessions_core::{KeyId, KeyKind, KeyState, Timestamp};

/// The state of the sessions of one process, as [`SessionManager::health`](crate::SessionManager::health) found it. It holds no data of any user.
///
/// `Display` writes all of it in one line, for a log: the store's errors name servers, so do not send it to strangers.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Health {
    /// The store's answer to a read.
    pub read: Probe,
    /// The store's answer to a write: a session of nobody was kept, and removed again.
    pub write: Probe,
    /// The answer of the store of private values, which kept one of nobody's and returned it; `None` if the manager has no such
    /// store.
    pub vault: Option<Probe>,
    /// The time by which this host's clock is ahead of the store's, in milliseconds; negative if it is behind, `None` if the
    /// store has no clock of its own or did not answer. More than half of the grace may end sessions too early.
    pub clock_ahead_ms: Option<i64>,
    /// The keys in use, by kind, id and state. Compare them between hosts.
    pub keys: Vec<(KeyKind, KeyId, KeyState)>,
    /// The time before which this process refuses tokens, if there is one.
    pub not_before: Option<Timestamp>,
}

/// The outcome of one question to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Probe {
    /// It was answered.
    Passed {
        /// The time until the answer.
        took: Duration,
    },
    /// It failed, or was not answered in time.
    Failed {
        /// The error and its causes.
        problem: String,
    },
    /// It was not asked, since the question before it failed.
    Skipped,
}

impl Probe {
    /// Returns `true` if the question was answered.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        matches!(self, Self::Passed { .. })
    }
}

impl Health {
    /// Returns `true` if this process can serve requests with sessions: the store answers reads and takes writes, and so does
    /// that of private values, if there is one.
    ///
    /// A difference of clocks does not count, because taking every host out of service would not set the clock.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.read.has_passed() && self.write.has_passed() && self.vault.as_ref().is_none_or(Probe::has_passed)
    }

    /// Returns the status of the response to a probe: 200, or 503 if it [is not ready](Self::is_ready).
    #[must_use]
    pub fn status(&self) -> u16 {
        if self.is_ready() { 200 } else { 503 }
    }

    /// Returns the body of that response. It tells strangers nothing more than its status.
    #[must_use]
    pub fn public_text(&self) -> &'static str {
        if self.is_ready() { "ready\n" } else { "not ready\n" }
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Passed { took } => write!(f, "passed in {took:.1?}"),
            Self::Failed { problem } => write!(f, "FAILED ({problem})"),
            Self::Skipped => f.write_str("skipped"),
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ready = if self.is_ready() { "ready" } else { "not ready" };
        write!(f, "{ready}: read {}, write {}", self.read, self.write)?;
        if let Some(vault) = &self.vault {
            write!(f, ", private values {vault}")?;
        }
        if let Some(ahead) = self.clock_ahead_ms {
            write!(f, ", clock {ahead} ms ahead of the store's")?;
        }
        for (kind, id, state) in &self.keys {
            write!(f, ", {kind} key {id} {}", format!("{state:?}").to_lowercase())?;
        }
        match self.not_before {
            Some(at) => write!(f, ", refuses tokens issued before {} ms", at.as_millis()),
            None => Ok(()),
        }
    }
}
