//! From the driver's errors to ours.

use sqlx::Error;
use sqlx::error::ErrorKind;

use crate::StoreError;

/// What an error of the database itself means, by its code.
pub(super) fn from_driver(error: Error, by_code: impl FnOnce(&str) -> fn(Error) -> StoreError) -> StoreError {
    let classify: fn(Error) -> StoreError = match &error {
        Error::Database(database) if database.kind() == ErrorKind::UniqueViolation => return StoreError::Duplicate,
        Error::Database(database) => by_code(&database.code().unwrap_or_default()),
        Error::PoolTimedOut => return StoreError::Timeout,
        Error::Io(_) | Error::PoolClosed | Error::WorkerCrashed | Error::BeginFailed => StoreError::unavailable,
        Error::ColumnDecode { .. } | Error::Decode(_) | Error::ColumnIndexOutOfBounds { .. } => StoreError::corrupt,
        Error::Configuration(_) | Error::Tls(_) => StoreError::rejected,
        _ => StoreError::unavailable,
    };
    classify(error)
}
