//! How many sessions a subject may have: checked before a login's bucket is written, and settled after it.
//!
//! Parallel logins cannot see one another beforehand, so each looks again once its bucket is in the store, where every
//! one that was written before is seen. Both rules then act on one order, which all of them see alike: by the time of
//! making, then by id. The time of making is moved past that of every session seen beforehand, so that the clocks of
//! two hosts, or one millisecond, cannot turn the order around.

use std::time::Duration;

use secure_sessions_core::{Bucket, SessionId, Timestamp};
use secure_sessions_store::SessionStore;
use tokio::time::Instant;

use crate::error::SessionError;
use crate::event::{EndReason, Event};
use crate::manager::SessionManager;

/// How many live sessions one subject may have at once.
///
/// # Bounds
///
/// 1. Once all logins under way have ended, a subject has at most the limit, however many of them ran in parallel: on
///    every store whose `list` shows what was written before it.
/// 2. While they are under way there may be one more for each of them.
/// 3. One more may stay for each login whose process died, or whose store failed, between writing its session and
///    looking again. The next login evicts it, where the oldest is evicted; else it counts until it ends.
/// 4. Where a parallel login takes the last place, one that was seen to have room is refused after its session was
///    moved: what the client had before logging in is gone then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SessionLimit {
    /// As many as they like.
    #[default]
    None,
    /// At most so many: a login ends those that were made first.
    EvictOldest(u32),
    /// At most so many: a further login is refused with [`SessionError::TooManySessions`] when it is committed. Call
    /// [`Session::save`](crate::Session::save) in the handler to meet the error there, and
    /// [`discard`](crate::Session::discard) to answer without the login.
    Refuse(u32),
}

impl SessionLimit {
    /// The most sessions; `None`: any number.
    #[must_use]
    pub fn most(self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::EvictOldest(limit) | Self::Refuse(limit) => Some(limit),
        }
    }
}

/// How long a login that was in time waits for parallel ones to withdraw.
const WAIT: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(10);

/// One login's way past the limit.
pub(crate) struct Place<'m> {
    manager: &'m SessionManager,
    subject: String,
    limit: u32,
    evicts: bool,
    /// When the last of the sessions that were there before was made.
    last: Timestamp,
}

impl<'m> Place<'m> {
    /// Looks whether there is room, or will be; `None` if there is no limit. The session at `old` makes way by itself.
    pub(crate) async fn find(
        manager: &'m SessionManager,
        subject: &str,
        old: Option<&SessionId>,
    ) -> Result<Option<Self>, SessionError> {
        let limit = manager.session_limit();
        let Some(most) = limit.most() else { return Ok(None) };
        let evicts = matches!(limit, SessionLimit::EvictOldest(_));
        let mut others = manager.buckets(subject).await?;
        others.retain(|bucket| Some(&bucket.id) != old);
        if !evicts && others.len() >= to_usize(most) {
            return Err(refuse(manager, most));
        }
        let last = others.iter().map(|bucket| bucket.created_at).max().unwrap_or_default();
        Ok(Some(Self { manager, subject: subject.to_owned(), limit: most, evicts, last }))
    }

    /// Puts a bucket that is about to be written behind those that were there.
    pub(crate) fn order(&self, bucket: &mut Bucket) {
        bucket.created_at = bucket.created_at.max(Timestamp::from_millis(self.last.as_millis().saturating_add(1)));
    }

    /// After the bucket was written: ends what is too much, or withdraws.
    ///
    /// A store that fails here is no reason to fail the login: there was room when it began.
    pub(crate) async fn settle(self, own: &Bucket) -> Result<(), SessionError> {
        let deadline = Instant::now() + WAIT;
        loop {
            let Ok(mut all) = self.manager.buckets(&self.subject).await else { return Ok(()) };
            let Some(excess) = all.len().checked_sub(to_usize(self.limit)).filter(|excess| *excess > 0) else {
                return Ok(());
            };
            all.sort_unstable_by_key(|bucket| (bucket.created_at, bucket.id));
            if self.evicts {
                self.evict(&all[..excess]).await;
                return Ok(());
            }
            let in_time = all.iter().take(to_usize(self.limit)).any(|bucket| bucket.id == own.id);
            if !in_time || Instant::now() >= deadline {
                return self.withdraw(own).await;
            }
            // Whoever came later is about to withdraw; if they were settled before, this one does.
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// The newest stay, whoever looks: two logins never end one another. A login that is not among them is ended as if
    /// the others had come a moment later.
    async fn evict(&self, oldest: &[Bucket]) {
        for bucket in oldest {
            // Under its own id alone: one that is renewed meanwhile, by its own login perhaps, is the next login's to end.
            match self.manager.store().remove(&bucket.id, None).await {
                Ok(true) => {
                    self.manager.forget(&bucket.id);
                    let session = Some(self.manager.handle(&bucket.id));
                    self.manager.emit(&Event::Ended { session, count: 1, reason: EndReason::Evicted, logged_in: true });
                }
                Ok(false) => {}
                // No reason to fail the login.
                Err(error) => {
                    self.manager.store_failed("remove", error);
                }
            }
        }
    }

    async fn withdraw(&self, own: &Bucket) -> Result<(), SessionError> {
        let removed = self.manager.store().remove(&own.id, None).await;
        removed.map_err(|error| self.manager.store_failed("remove", error))?;
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
