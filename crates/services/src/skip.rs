//! Skips a test whose server the machine does not have.

use crate::Error;

/// Returns what was started. If the machine does not have the program, prints `SKIPPED` and returns `None`, so that the
/// test ends without having tested anything.
///
/// ```no_run
/// # fn test() {
/// let Some(redis) = services::or_skip(services::Service::redis()) else { return };
/// # }
/// ```
///
/// # Panics
///
/// If it could not be started for another reason, or the program is missing with `CI=true` in the environment.
#[expect(clippy::panic, reason = "for tests, which fail by it")]
#[track_caller]
pub fn or_skip<T>(started: Result<T, Error>) -> Option<T> {
    match started {
        Ok(started) => Some(started),
        Err(missing @ Error::Missing { .. }) if !in_ci() => {
            eprintln!("SKIPPED: {missing}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|ci| ci == "true")
}
