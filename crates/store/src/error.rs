//! The errors of a store.

use std::error::Error;
use std::fmt;

/// The cause of a failure, as the backend reports it.
pub type Cause = Box<dyn Error + Send + Sync>;

/// An error of a store.
///
/// After an error, you do not know if the write happened, except for [`Duplicate`](Self::Duplicate): the connection may have
/// broken before the write or after it. Neither `Display` nor the cause may hold an id, a tag, a fingerprint or a key.
///
/// `Debug` writes the error and all its causes in one line: it is what a program prints whose `main` returns the error.
#[derive(thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// A bucket or a tombstone has the id already. Nothing was written.
    #[error("the session id is already taken")]
    Duplicate,
    /// The backend cannot be reached, or is too busy. You can retry.
    #[error("the session store is unavailable")]
    Unavailable(#[source] Cause),
    /// The backend did not answer in time. You can retry.
    #[error("the session store did not answer in time")]
    Timeout,
    /// A stored entry is malformed: written by a newer release, or by someone else.
    #[error("an entry of the session store is malformed")]
    Corrupt(#[source] Cause),
    /// The backend refuses the request: a table or right is missing, or it does not know a setting. Retrying does not help.
    #[error("the session store refuses the request")]
    Rejected(#[source] Cause),
    /// This kind of store does not offer the call, which the contract leaves to it. Nothing was written.
    #[error("this session store does not keep {0}")]
    Unsupported(&'static str),
}

impl fmt::Debug for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")?;
        let mut causes = self.source();
        while let Some(cause) = causes {
            write!(f, ": {cause}")?;
            causes = cause.source();
        }
        Ok(())
    }
}

impl StoreError {
    /// Returns [`Unavailable`](Self::Unavailable), for this reason.
    pub fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable(cause.into())
    }

    /// Returns [`Corrupt`](Self::Corrupt), for this reason.
    pub fn corrupt(cause: impl Into<Cause>) -> Self {
        Self::Corrupt(cause.into())
    }

    /// Returns [`Rejected`](Self::Rejected), for this reason.
    pub fn rejected(cause: impl Into<Cause>) -> Self {
        Self::Rejected(cause.into())
    }

    /// Returns `true` if the same call may succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Timeout)
    }
}
