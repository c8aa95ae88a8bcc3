//! What can go wrong in a store.

use std::error::Error;

/// Whatever a backend says about its failure.
pub type Cause = Box<dyn Error + Send + Sync>;

/// A store's failure.
///
/// An error says nothing about what was written, save for [`Duplicate`](Self::Duplicate): the connection may have
/// broken before the write or after it. Neither `Display` nor the cause may hold an id, a tag, a fingerprint or a key.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The id is taken, by a bucket or a tombstone. Nothing was written.
    #[error("the session id is already taken")]
    Duplicate,
    /// The backend cannot be reached, or is too busy. It may be tried again.
    #[error("the session store is unavailable")]
    Unavailable(#[source] Cause),
    /// The backend did not answer in time. It may be tried again.
    #[error("the session store did not answer in time")]
    Timeout,
    /// A stored entry is malformed: written by a newer release, or by someone else.
    #[error("an entry of the session store is malformed")]
    Corrupt(#[source] Cause),
    /// The backend refuses what we ask: a missing table or right, a setting that it does not know. Trying again
    /// does not help.
    #[error("the session store refuses the request")]
    Rejected(#[source] Cause),
}

impl StoreError {
    /// [`Unavailable`](Self::Unavailable), for this reason.
    pub fn unavailable(cause: impl Into<Cause>) -> Self {
        Self::Unavailable(cause.into())
    }

    /// [`Corrupt`](Self::Corrupt), for this reason.
    pub fn corrupt(cause: impl Into<Cause>) -> Self {
        Self::Corrupt(cause.into())
    }

    /// [`Rejected`](Self::Rejected), for this reason.
    pub fn rejected(cause: impl Into<Cause>) -> Self {
        Self::Rejected(cause.into())
    }

    /// Whether the same call may succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Timeout)
    }
}
