//! Translates the driver's errors to ours.

use std::fmt;

use sqlx::Error;
use sqlx::error::{DatabaseError, ErrorKind};

use crate::StoreError;

/// The reason why a statement or a transaction failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database took back all of it in favour of somebody else's: a serialization failure or a deadlock.
    Conflict,
    Store(StoreError),
}

/// The meaning of an error that the database itself reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning {
    #[cfg_attr(not(any(feature = "postgres", feature = "mysql")), expect(dead_code, reason = "SQLite has one writer"))]
    Conflict,
    #[cfg_attr(not(any(feature = "postgres", feature = "mysql")), expect(dead_code, reason = "SQLite says `busy`"))]
    Timeout,
    Unavailable,
    #[cfg_attr(
        not(any(feature = "sqlite", feature = "postgres")),
        expect(dead_code, reason = "MySQL has no code of its own for it")
    )]
    Corrupt,
    Rejected,
}

impl Failure {
    /// Returns the same failure, for another caller of the same transaction.
    #[cfg(feature = "sqlite")]
    pub(super) fn again(&self) -> Self {
        Self::Store(match self {
            Self::Conflict => return Self::Conflict,
            Self::Store(StoreError::Duplicate) => StoreError::Duplicate,
            Self::Store(StoreError::Timeout) => StoreError::Timeout,
            Self::Store(StoreError::Unavailable(cause)) => StoreError::unavailable(cause.to_string()),
            Self::Store(StoreError::Corrupt(cause)) => StoreError::corrupt(cause.to_string()),
            Self::Store(StoreError::Rejected(cause)) => StoreError::rejected(cause.to_string()),
            Self::Store(StoreError::Unsupported(what)) => StoreError::Unsupported(what),
        })
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Conflict => Self::unavailable("others change the same rows all the time"),
            Failure::Store(error) => error,
        }
    }
}

/// Sorts an error of the driver; `meaning` knows the codes of its database.
pub(super) fn from_driver(error: Error, meaning: impl FnOnce(&(dyn DatabaseError + 'static)) -> Meaning) -> Failure {
    Failure::Store(match error {
        Error::Database(error) if error.kind() == ErrorKind::UniqueViolation => StoreError::Duplicate,
        Error::Database(error) => match meaning(&*error) {
            Meaning::Conflict => return Failure::Conflict,
            Meaning::Timeout => StoreError::Timeout,
            Meaning::Unavailable => StoreError::unavailable(Reported::new(&*error)),
            Meaning::Corrupt => StoreError::corrupt(Reported::new(&*error)),
            Meaning::Rejected => StoreError::rejected(Reported::new(&*error)),
        },
        Error::PoolTimedOut => StoreError::Timeout,
        Error::ColumnDecode { .. } | Error::Decode(_) | Error::ColumnIndexOutOfBounds { .. } => {
            StoreError::corrupt(error)
        }
        Error::Configuration(_) | Error::Tls(_) => StoreError::rejected(error),
        _ => StoreError::unavailable(error),
    })
}

/// The message of a database, without the values of a row.
///
/// The driver's own error is not handed on: PostgreSQL's has a detail such as `Key (id)=(..) already exists`, MySQL puts
/// values into the message itself.
#[derive(Debug)]
struct Reported {
    code: String,
    message: Option<String>,
}

impl Reported {
    fn new(error: &dyn DatabaseError) -> Self {
        let code = error.code().unwrap_or_default().into_owned();
        // SQLSTATE classes 22, data exceptions, and 23, violated constraints; MySQL's 1366 says HY000.
        let quotes_values = error.kind() != ErrorKind::Other
            || (code.len() == 5 && (code.starts_with("22") || code.starts_with("23")))
            || error.message().starts_with("Incorrect ");
        Self { code, message: (!quotes_values).then(|| error.message().to_owned()) }
    }
}

impl fmt::Display for Reported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => write!(f, "the database reports {}: {message}", self.code),
            None => write!(f, "the database reports {}", self.code),
        }
    }
}

impl std::error::Error for Reported {}
