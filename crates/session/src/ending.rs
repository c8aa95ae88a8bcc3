//! The end of one session, wherever it has moved to meanwhile.

use std::time::Duration;

use secure_sessions_core::{SessionId, Tombstone};
use secure_sessions_store::{Entry, SessionStore};
use tokio::time::Instant;

use crate::error::SessionError;
use crate::manager::SessionManager;

/// How long an ending follows a session that somebody renews again and again.
const FOLLOW_FOR: Duration = Duration::from_secs(5);
/// How many renewals an ending follows one by one. Whoever renews a session more often, with an old cookie of it around,
/// would make each ending long: then all of the subject's sessions end instead.
const MAX_RENEWALS: u32 = 64;

/// Ends the session under `id`, or the one that it was renewed into. Returns the id under which it was found alive, or
/// `None` if it had ended before.
///
/// A renewal that was faster leaves a tombstone that names its successor. So a thief who renews in a loop, with a copy of
/// the cookie, does not carry the session past its end: not even by renewals without number, since `subject`, whose
/// session it is, then loses every session.
///
/// # Errors
///
/// [`SessionError::Store`] if the store fails, [`SessionError::Conflict`] if the session was renewed faster than it could
/// be followed: it may be alive then.
pub(crate) async fn end(
    manager: &SessionManager,
    id: &SessionId,
    subject: Option<&str>,
    leaves_tombstone: bool,
) -> Result<Option<SessionId>, SessionError> {
    let deadline = Instant::now() + FOLLOW_FOR;
    let mut id = *id;
    let mut renewals = 0;
    while !remove(manager, &id, leaves_tombstone).await? {
        loop {
            let found = manager.store().load(&id).await;
            match found.map_err(|error| manager.store_failed("load", error))? {
                Some(Entry::Tombstone(Tombstone { successor: Some(successor), .. })) => id = successor,
                // Renewed and found again, or made since under the same id.
                Some(Entry::Bucket(_)) => break,
                _ => return Ok(None),
            }
            renewals += 1;
            if let Some(subject) = subject.filter(|_| renewals > MAX_RENEWALS) {
                let ended = manager.revoke_all_of(subject, None).await?;
                return Ok((ended > 0).then_some(id));
            }
        }
        if Instant::now() >= deadline {
            return Err(SessionError::Conflict);
        }
    }
    Ok(Some(id))
}

/// Removes the bucket under `id`. Returns `true` if there was one.
async fn remove(manager: &SessionManager, id: &SessionId, leaves_tombstone: bool) -> Result<bool, SessionError> {
    let tombstone = leaves_tombstone.then(|| Tombstone::new(*id, manager.now(), &manager.times().bucket));
    let removed = manager.store().remove(id, tombstone).await;
    manager.forget(id);
    let failure = match removed {
        Ok(removed) => return Ok(removed),
        Err(error) => manager.store_failed("remove", error),
    };
    // It may have been carried out although it failed: only this call can have left this tombstone.
    match manager.store().load(id).await {
        Ok(Some(Entry::Tombstone(found))) if Some(found) == tombstone => Ok(true),
        _ => Err(failure),
    }
}
