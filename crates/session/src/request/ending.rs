//! The end of one session, even if a renew has moved it to another id meanwhile.

use std::time::Duration;

use secure_sessions_core::{SessionId, Tombstone, VaultId};
use secure_sessions_store::{Entry, SessionStore};
use tokio::time::Instant;

use crate::error::SessionError;
use crate::manager::SessionManager;

/// The longest time that an ending follows a session that is renewed again and again.
const FOLLOW_FOR: Duration = Duration::from_secs(5);
/// The most renewals that an ending follows one by one. A longer chain would make every ending slow, so beyond it all
/// of the subject's sessions end instead.
const MAX_RENEWALS: u32 = 64;

/// The vault of a session that is to end.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Owns {
    /// The vault that its bucket named when it was loaded, if any.
    Known(Option<VaultId>),
    /// Nobody has seen its bucket yet.
    Unknown,
}

/// Ends the session under `id`, or the one that it was renewed into. Returns the id under which it was found alive, or
/// `None` if it had ended before.
///
/// A renewal that was faster leaves a tombstone that names its successor, and the ending follows it. So a thief with a
/// copy of the cookie cannot keep the session alive by renewing it in a loop: after too many renewals, every session of
/// `subject` ends.
///
/// Afterwards the vault that the session and its successors own is deleted; a failure is left to the purge.
///
/// # Errors
///
/// [`SessionError::Store`] if the store fails, [`SessionError::Conflict`] if the session was renewed faster than the
/// ending could follow: it may still be alive.
pub(crate) async fn end(
    manager: &SessionManager,
    id: &SessionId,
    subject: Option<&str>,
    leaves_tombstone: bool,
    vault: Owns,
) -> Result<Option<SessionId>, SessionError> {
    let mut vault = match vault {
        Owns::Known(vault) => vault,
        // Asked for before the bucket goes, which alone knows it. Without an answer it is left to the purge.
        Owns::Unknown => manager.vault_of(id).await.ok().flatten(),
    };
    let ended = follow(manager, id, subject, leaves_tombstone, &mut vault).await?;
    // Only the call that ended the session deletes its vault: another request may have carried it to a session that lives.
    if ended.is_some() {
        manager.delete_vaults(vault.as_slice()).await;
    }
    Ok(ended)
}

async fn follow(
    manager: &SessionManager,
    id: &SessionId,
    subject: Option<&str>,
    leaves_tombstone: bool,
    vault: &mut Option<VaultId>,
) -> Result<Option<SessionId>, SessionError> {
    let deadline = Instant::now() + FOLLOW_FOR;
    let mut id = *id;
    let mut renewals = 0;
    while !remove(manager, &id, leaves_tombstone).await? {
        loop {
            let found = manager.store().load(&id).await;
            match found.map_err(|error| manager.store_failed("load", error))? {
                Some(Entry::Tombstone(Tombstone { successor: Some(successor), .. })) => id = successor,
                // The successor is alive, or a bucket was written under this id since the removal: try to remove it.
                Some(Entry::Bucket(bucket)) => {
                    // The successor's own counts: a login that found its session gone has one of its own.
                    *vault = bucket.vault.or(*vault);
                    break;
                }
                _ => return Ok(None),
            }
            renewals += 1;
            // Only a logged-in session has a subject by which all of its successors can be found at once.
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

/// Removes the bucket under `id`. Returns `true` if it was present.
async fn remove(manager: &SessionManager, id: &SessionId, leaves_tombstone: bool) -> Result<bool, SessionError> {
    let tombstone = leaves_tombstone.then(|| Tombstone::new(*id, manager.now(), &manager.times().bucket));
    let removed = manager.store().remove(id, tombstone).await;
    manager.forget(id);
    let failure = match removed {
        Ok(removed) => return Ok(removed),
        Err(error) => manager.store_failed("remove", error),
    };
    // The store may have removed it although it reported an error: only this call can have left this very tombstone.
    match manager.store().load(id).await {
        // The tombstone may still miss a part that an acknowledgement takes, a replica for instance: the store's answer to a
        // second call counts, which finds nothing to remove.
        Ok(Some(Entry::Tombstone(found))) if Some(found) == tombstone => {
            manager.store().remove(id, tombstone).await.map(|_| true).map_err(|_| failure)
        }
        _ => Err(failure),
    }
}
