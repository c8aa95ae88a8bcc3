//! The limit of sessions per subject: checked before a login's bucket is written, and enforced after it.
//!
//! Parallel logins cannot see one another before they write. So each login looks again once its bucket is in the store,
//! where it sees every bucket that was written earlier. Both kinds of limit then act on one order that all logins see
//! alike: by creation time, then by id. A new bucket's creation time is moved past that of every session seen before,
//! so that the clocks of two hosts, or one millisecond, cannot reverse the order.

use std::time::Duration;

use secure_sessions_core::{Bucket, Lifespan, SessionId, Timestamp};
use secure_sessions_store::SessionStore;
use tokio::time::Instant;

use crate::config::limit::SessionLimit;
use crate::error::SessionError;
use crate::event::{EndReason, Event};
use crate::manager::SessionManager;

/// The longest time that a login which was in time waits for parallel ones to withdraw.
const WAIT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// The place of one login among its subject's sessions.
pub(crate) struct SessionSlot<'m> {
    manager: &'m SessionManager,
    subject: String,
    limit: u32,
    evicts: bool,
    /// The creation time of the newest session that existed before.
    last: Timestamp,
}

impl<'m> SessionSlot<'m> {
    /// Finds a slot, or returns `None` if there is no limit. The session at `old` is about to end: it does not count.
    pub(crate) async fn find(
        manager: &'m SessionManager,
        subject: &str,
        old: Option<&SessionId>,
    ) -> Result<Option<Self>, SessionError> {
        let limit = manager.session_limit();
        let Some(most) = limit.most() else { return Ok(None) };
        let evicts = matches!(limit, SessionLimit::EvictOldest(_));
        let mut others = manager.lifespans(subject).await?;
        others.retain(|other| Some(&other.id) != old);
        if !evicts && others.len() >= to_usize(most) {
            return Err(refuse(manager, most));
        }
        let last = others.iter().map(|other| other.created_at).max().unwrap_or_default();
        Ok(Some(Self { manager, subject: subject.to_owned(), limit: most, evicts, last }))
    }

    /// Moves the creation time of a bucket that is about to be written past those of the sessions before it.
    pub(crate) fn order(&self, bucket: &mut Bucket) {
        bucket.created_at = bucket.created_at.max(Timestamp::from_millis(self.last.as_millis().saturating_add(1)));
    }

    /// Enforces the limit after the bucket was written: ends the oldest sessions, or withdraws the login.
    ///
    /// A store failure here does not fail the login: there was room when it began.
    pub(crate) async fn enforce(self, own: &Bucket) -> Result<(), SessionError> {
        let deadline = Instant::now() + WAIT;
        loop {
            let Ok(mut all) = self.manager.lifespans(&self.subject).await else { return Ok(()) };
            let Some(excess) = all.len().checked_sub(to_usize(self.limit)).filter(|excess| *excess > 0) else {
                return Ok(());
            };
            all.sort_unstable_by_key(|session| (session.created_at, session.id));
            if self.evicts {
                self.evict(&all[..excess]).await;
                return Ok(());
            }
            let in_time = all.iter().take(to_usize(self.limit)).any(|session| session.id == own.id);
            if !in_time || Instant::now() >= deadline {
                return self.withdraw(own).await;
            }
            // Later logins are about to withdraw. If they do not in time, this login withdraws instead.
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Ends the oldest sessions. Every login ends the same ones, so two logins never end one another. A login that is
    /// itself among the oldest ends, as if the others had come a moment later.
    async fn evict(&self, oldest: &[Lifespan]) {
        for session in oldest {
            // If the store does not say it now, the vault is left to the purge.
            let vault = self.manager.vault_of(&session.id).await.ok().flatten();
            // Removed under its own id alone: a session that is renewed meanwhile is left for the next login to end.
            match self.manager.store().remove(&session.id, None).await {
                Ok(true) => {
                    self.manager.forget(&session.id);
                    let session = Some(self.manager.handle(&session.id));
                    self.manager.emit(&Event::Ended { session, count: 1, reason: EndReason::Evicted, logged_in: true });
                    self.manager.delete_vaults(vault.as_slice()).await;
                }
                Ok(false) => {}
                // One session too many is better than a login that fails.
                Err(error) => {
                    self.manager.store_failed("remove", error);
                }
            }
        }
    }

    async fn withdraw(&self, own: &Bucket) -> Result<(), SessionError> {
        let removed = self.manager.store().remove(&own.id, None).await;
        removed.map_err(|error| self.manager.store_failed("remove", error))?;
        self.manager.delete_vaults(own.vault.as_slice()).await;
        Err(refuse(self.manager, self.limit))
    }
}

fn refuse(manager: &SessionManager, limit: u32) -> SessionError {
    manager.emit(&Event::LoginRefused { limit });
    SessionError::TooManySessions { limit }
}

fn to_usize(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}
