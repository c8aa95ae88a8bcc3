//! The end of one session, wherever it has moved to meanwhile.

use std::time::Duration;

use secure_sessions_core::{SessionId, Tombstone};
use secure_sessions_store::{Entry, SessionStore};
use tokio::time::Instant;

use crate::error::SessionError;
use crate::manager::SessionManager;

/// How long an ending follows a session that somebody renews again and again.
const FOLLOW_FOR: Duration = Duration::from_secs(5);

/// Ends the session under `id`, or the one that it was renewed into. Returns the id under which it was found alive, or
/// `None` if it had ended before.
///
/// A renewal that was faster leaves a tombstone that names its successor. So whoever renews in a loop, with a copy of the
/// cookie, does not carry the session past its end.
///
/// # Errors
///
/// [`SessionError::Store`] if the store fails, [`SessionError::Conflict`] if the session was renewed faster than it could
/// be followed: it may be alive then.
pub(crate) async fn end(
    manager: &SessionManager,
    id: &SessionId,
    leaves_tombstone: bool,
) -> Result<Option<SessionId>, SessionError> {
    let deadline = Instant::now() + FOLLOW_FOR;
    let mut id = *id;
    loop {
        let tombstone = leaves_tombstone.then(|| Tombstone::new(id, manager.now(), &manager.times().bucket));
        let failure = match manager.store().remove(&id, tombstone).await {
            Ok(true) => return Ok(Some(id)),
            Ok(false) => None,
            Err(error) => Some(manager.store_failed("remove", error)),
        };
        let found = manager.store().load(&id).await;
        match (found, failure) {
            // It was carried out although it failed: only this call can have left this tombstone.
            (Ok(Some(Entry::Tombstone(found))), Some(_)) if Some(found) == tombstone => return Ok(Some(id)),
            (_, Some(failure)) => return Err(failure),
            (Err(error), None) => return Err(manager.store_failed("load", error)),
            (Ok(Some(Entry::Tombstone(Tombstone { successor: Some(successor), .. }))), None) => id = successor,
            // Made since under the same id, or a removal that a store takes back: the next look tells.
            (Ok(Some(Entry::Bucket(_))), None) => {}
            (Ok(_), None) => return Ok(None),
        }
        if Instant::now() >= deadline {
            return Err(SessionError::Conflict);
        }
    }
}
