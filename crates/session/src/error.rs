//! What a handler meets when something is wrong with its session.

use secure_sessions_core::{DataError, LabelError, MetaError, RandomError, SealError};
use secure_sessions_store::StoreError;

/// Everything that a handler, an extractor or a commit can meet.
///
/// `Display` says what happened, for the log. A client sees [`client_text`](Self::client_text) and nothing else.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// The session would outgrow its cookie. Nothing was changed.
    #[error(
        "the session takes {size} bytes of cookie name and value, more than the limit of {limit}; keep less in it, or large things elsewhere and their ids here"
    )]
    TooLarge {
        /// Name and value, in bytes, as they would have been.
        size: usize,
        /// The most that they may have.
        limit: usize,
    },
    /// A value was refused: it cannot be encoded, or is of another type than asked for. Nothing was changed.
    #[error(transparent)]
    Data(DataError),
    /// The subject or another entry of the engine's own is too long. Nothing was changed.
    #[error(transparent)]
    Meta(MetaError),
    /// The label is too long. Nothing was changed.
    #[error(transparent)]
    Label(LabelError),
    /// The session has ended: logged out, revoked, expired or renewed, here or by another request.
    #[error("the session has ended; what this request changed is not kept")]
    Ended,
    /// Other requests changed the session, and this one can no longer follow.
    #[error(
        "other requests changed the session, and its newest state is out of reach; what this request changed is not kept"
    )]
    Conflict,
    /// The response's headers are gone, and a change could no longer reach the client.
    #[error("the response's headers were already sent; change the session before, or call `save` in the handler")]
    Finished,
    /// The closure given to `update` changed the session itself.
    #[error(
        "the closure given to `update` called a method that changes the session; return the value, and call it afterwards"
    )]
    ChangedInsideUpdate,
    /// The store did not answer, or not as it should.
    #[error("the session store failed: {}", with_causes(.0))]
    Store(StoreError),
    /// There was no randomness.
    #[error(transparent)]
    Random(RandomError),
    /// The request did not come through the layer, middleware or fairing that carries sessions.
    #[error("{0}")]
    NoLayer(&'static str),
}

impl SessionError {
    /// The HTTP status that a response to this error has.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::TooLarge { .. } | Self::Data(DataError::ValueTooLarge { .. }) => 413,
            Self::Ended | Self::Conflict => 409,
            Self::Meta(_) | Self::Label(_) => 400,
            Self::Store(_) | Self::Random(_) => 503,
            Self::Data(_) | Self::Finished | Self::ChangedInsideUpdate | Self::NoLayer(_) => 500,
        }
    }

    /// The only text that a client sees of this error. It says nothing of the server's inside.
    #[must_use]
    pub fn client_text(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } | Self::Data(DataError::ValueTooLarge { .. }) => "The session is too large.",
            Self::Ended => "The session has ended.",
            Self::Conflict => "The session was changed at the same time. Try again.",
            Self::Meta(_) | Self::Label(_) => "The request cannot be processed.",
            Self::Store(_) | Self::Random(_) => "Sessions are not available at the moment. Try again later.",
            Self::Data(_) | Self::Finished | Self::ChangedInsideUpdate | Self::NoLayer(_) => "Internal server error.",
        }
    }
}

/// An error and all that led to it, in one line: what an operator needs to see.
pub(crate) fn with_causes(error: &StoreError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

impl From<DataError> for SessionError {
    fn from(error: DataError) -> Self {
        Self::Data(error)
    }
}

impl From<StoreError> for SessionError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<RandomError> for SessionError {
    fn from(error: RandomError) -> Self {
        Self::Random(error)
    }
}

impl From<SealError> for SessionError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::TooLarge { size, limit } => Self::TooLarge { size, limit },
            SealError::Meta(error) => Self::Meta(error),
            SealError::Random(error) => Self::Random(error),
            // SealError is non-exhaustive for its users; every variant of this release is above.
            _ => Self::Random(RandomError),
        }
    }
}

impl From<LabelError> for SessionError {
    fn from(error: LabelError) -> Self {
        match error {
            LabelError::Random(error) => Self::Random(error),
            error => Self::Label(error),
        }
    }
}
