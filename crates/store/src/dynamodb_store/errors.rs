//! The SDK's errors.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

use crate::StoreError;

/// Errors after which the same call may succeed, beside all with a status of 500 and more.
const TRANSIENT: [&str; 5] = [
    "LimitExceededException",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "TransactionInProgressException",
];

/// DynamoDB's messages name tables and rights, and hold no keys and no values.
pub(super) fn failed<E>(error: SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + Error + Send + Sync + 'static,
{
    match error {
        SdkError::ServiceError(context) => {
            let error = context.err();
            let code = error.code().unwrap_or("an unknown error");
            let text = format!("DynamoDB: {} ({code})", error.message().unwrap_or("no message"));
            if context.raw().status().as_u16() >= 500 || TRANSIENT.contains(&code) {
                StoreError::unavailable(text)
            } else {
                StoreError::rejected(text)
            }
        }
        SdkError::TimeoutError(_) => StoreError::Timeout,
        SdkError::DispatchFailure(failure) if failure.is_timeout() => StoreError::Timeout,
        // The client lacks a region, for instance.
        SdkError::ConstructionFailure(_) => StoreError::Rejected(source(error)),
        error => StoreError::Unavailable(source(error)),
    }
}

fn source<E>(error: SdkError<E>) -> crate::Cause
where
    E: Error + Send + Sync + 'static,
{
    error.into_source().unwrap_or_else(|error| error.to_string().into())
}

/// Returns `true` if the write was refused because another one of the same item is under way.
pub(super) fn is_conflict<E: ProvideErrorMetadata>(error: &SdkError<E>) -> bool {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
    matches!(code, Some("TransactionConflictException" | "ReplicatedWriteConflictException"))
}
