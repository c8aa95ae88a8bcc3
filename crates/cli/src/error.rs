//! The failures of a command, and their exit codes.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use secure_sessions::store::{MissingMigrations, StoreError};
use secure_sessions::{BuildError, KeySourceError, RandomError, SessionError};

/// The reason why a command failed; it decides the exit code.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// An argument makes no sense.
    #[error("{0}")]
    Usage(String),
    /// The keys are missing or wrong.
    #[error("{0}")]
    Keys(String),
    /// The cookie's name or another setting is wrong.
    #[error(transparent)]
    Settings(#[from] BuildError),
    /// A file cannot be read or written.
    #[error("{}: {source}", shown(path))]
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

impl Failure {
    /// Says what is wrong with the keys, where they come from, and what to do.
    pub(crate) fn keys(error: KeySourceError, file: Option<&Path>) -> Self {
        let make = "make one by `secure-sessions keys new FILE`";
        Self::Keys(match (&error, file) {
            (KeySourceError::Variable { name }, _) => {
                format!("{name} is not set, and no key file is named: name one by --keys, or {make}")
            }
            (KeySourceError::File { source, .. }, Some(file)) if source.kind() == ErrorKind::NotFound => {
                format!("there is no key file {}: name another one by --keys, or {make}", file.display())
            }
            (KeySourceError::File { .. } | KeySourceError::Line { .. }, _) => error.to_string(),
            (_, Some(file)) => format!("{}: {error}", file.display()),
            (_, None) => format!("the keys in the environment: {error}"),
        })
    }
}

impl From<KeySourceError> for Failure {
    fn from(error: KeySourceError) -> Self {
        Self::Keys(error.to_string())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        if let StoreError::Rejected(cause) = &error
            && let Some(missing) = cause.downcast_ref::<MissingMigrations>()
        {
            let MissingMigrations { table, version, needed, .. } = missing;
            let found = match missing.refusal() {
                Some(refusal) => format!(
                    "there is no table {table} of sessions here, or this user may not read {table}_migrations ({refusal})"
                ),
                None => format!("the table {table} has version {version}, and this release needs {needed}"),
            };
            return Self::Rejected(format!(
                "{found}: run `secure-sessions migrate`, or let an administrator run what `secure-sessions migrate --print` \
                 prints. (Is it another database, or another --table?)"
            ));
        }
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

/// Returns an error and its causes in one line. Some errors name their cause themselves.
fn with_causes(error: &StoreError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let said = error.to_string();
        if !text.contains(&said) {
            text += &format!(": {said}");
        }
        cause = error.source();
    }
    text
}

fn shown(file: &Path) -> String {
    if file == Path::new("-") { "standard input".to_owned() } else { file.display().to_string() }
}
