//! The session as an optional extractor sees it.

use std::ops::Deref;

use crate::error::SessionError;

/// Returns `None` for a request that did not pass the layer, and every other error as it is.
///
/// An optional extractor of an adapter calls it. A store that is down must not look like a request without a session: its
/// handler would take a user who is logged in for a stranger.
///
/// ```
/// use secure_sessions::{SessionError, StoreError, optional};
///
/// let missing: Result<(), _> = Err(Box::new(SessionError::no_layer("add the layer")));
/// assert!(matches!(optional(missing), Ok(None)));
/// let down: Result<(), _> = Err(Box::new(SessionError::Store(StoreError::Timeout)));
/// assert!(optional(down).is_err());
/// ```
///
/// # Errors
///
/// Returns every error except [`SessionError::NoLayer`].
pub fn optional<S, E: Deref<Target = SessionError>>(loaded: Result<S, E>) -> Result<Option<S>, E> {
    match loaded {
        Err(error) if matches!(*error, SessionError::NoLayer(_)) => Ok(None),
        loaded => loaded.map(Some),
    }
}
