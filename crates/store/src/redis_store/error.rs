//! Translates Redis's errors to the store's.

use std::io;

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::StoreError;

/// Translates an error of Redis without its text, which may quote a key: only its code and kind are passed on.
pub(super) fn read(error: &RedisError) -> StoreError {
    if error.is_timeout() {
        return StoreError::Timeout;
    }
    let said = match (error.code(), denied_command(error), io_error(error)) {
        (_, Some(command), _) => format!("redis: the user may not run {command}"),
        (Some(code), ..) => format!("redis: {} ({code})", error.category()),
        (None, _, Some(kind)) => format!("redis: {} ({kind})", error.category()),
        (None, ..) => format!("redis: {}", error.category()),
    };
    match error.kind() {
        ErrorKind::AuthenticationFailed
        | ErrorKind::InvalidClientConfig
        | ErrorKind::RESP3NotSupported
        | ErrorKind::Server(ServerErrorKind::NoPerm | ServerErrorKind::CrossSlot) => StoreError::rejected(said),
        ErrorKind::UnexpectedReturnType | ErrorKind::Parse => StoreError::corrupt(said),
        ErrorKind::Server(ServerErrorKind::ResponseError) => {
            let is_full = error.detail().is_some_and(|detail| detail.starts_with("max number of clients"));
            if is_full { StoreError::unavailable(said) } else { StoreError::rejected(said) }
        }
        ErrorKind::Extension => match error.code() {
            Some("NOAUTH" | "WRONGPASS") => StoreError::rejected(said),
            Some("WRONGTYPE") => StoreError::corrupt(said),
            // Out of memory, no disk, too few replicas, a slow script: all of these may pass.
            _ => StoreError::unavailable(said),
        },
        _ => StoreError::unavailable(said),
    }
}

/// Returns the command that the user has no right to. Redis quotes its name alone: `... to run the 'set' command`.
fn denied_command(error: &RedisError) -> Option<String> {
    if error.kind() != ErrorKind::Server(ServerErrorKind::NoPerm) {
        return None;
    }
    let (_, rest) = error.detail()?.split_once("to run the '")?;
    let (command, _) = rest.split_once("' command")?;
    command.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'|').then(|| command.to_ascii_uppercase())
}

fn io_error(error: &RedisError) -> Option<io::ErrorKind> {
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        if let Some(io) = source.downcast_ref::<io::Error>() {
            return Some(io.kind());
        }
        cause = source.source();
    }
    error.is_connection_refusal().then_some(io::ErrorKind::ConnectionRefused)
}

/// Reports an answer of another shape than our commands and scripts have.
pub(super) fn unexpected() -> StoreError {
    StoreError::corrupt("redis gave an unexpected answer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_redis_quotes_does_not_reach_the_log() {
        let detail = "unknown command 'X', with args beginning with: 'secure-sessions:{00}'".to_owned();
        for kind in [ErrorKind::Io, ErrorKind::Extension, ErrorKind::Server(ServerErrorKind::ResponseError)] {
            let error = RedisError::from((kind, "An error was signalled by the server", detail.clone()));
            let read = format!("{:?}", read(&error));
            assert!(!read.contains("secure-sessions"), "{read}");
        }
    }
}
