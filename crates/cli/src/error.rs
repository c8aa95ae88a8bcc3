//! The failures of a command, and their exit codes.

use std::path::PathBuf;

use secure_sessions::store::StoreError;
use secure_sessions::{BuildError, KeySourceError, RandomError, SessionError};

/// The reason why a command failed; it decides the exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// An argument makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The keys are missing or wrong.
    #[error("{0}; name a key file by --keys, or make one by `secure-sessions keys new FILE`")]
    Keys(#[from] KeySourceError),
    /// The cookie's name or another setting is wrong.
    #[error(transparent)]
    Settings(#[from] BuildError),
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    /// No randomness for a new key.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The store does not take its URL, or refuses the user.
    #[error("{0}")]
    Rejected(String),
    /// The store does not answer as it should.
    #[error("{0}")]
    Store(String),
}

impl Failure {
    /// Returns the exit code: 2 if the caller must change the command, 1 if the command is right and did not succeed.
    pub(crate) fn code(&self) -> u8 {
        match self {
            Self::Random(_) | Self::Store(_) => 1,
            Self::Usage(_) | Self::Keys(_) | Self::Settings(_) | Self::File { .. } | Self::Rejected(_) => 2,
        }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let text = with_causes(&error);
        if matches!(error, StoreError::Rejected(_)) { Self::Rejected(text) } else { Self::Store(text) }
    }
}

impl From<SessionError> for Failure {
    fn from(error: SessionError) -> Self {
        match error {
            SessionError::Store(error) => error.into(),
            error => Self::Store(error.to_string()),
        }
    }
}

/// Returns an error and its causes in one line.
fn with_causes(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text += &format!(": {error}");
        cause = error.source();
    }
    text
}
