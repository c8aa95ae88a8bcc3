//! Finds out what became of a write that the store answered with an error.

use secure_sessions_core::Bucket;
use secure_sessions_store::{Entry, StoreError};

use super::Commit;
use crate::error::SessionError;
use crate::request::newest;
use crate::request::state::{Attempt, Base};

impl Commit<'_> {
    /// Finds out if the store carried an earlier attempt out although it reported an error. Its changes are then
    /// dropped, so that they are not made twice.
    pub(super) async fn resolve(&mut self, base: Base) -> Result<Base, SessionError> {
        let Some(attempt) = self.unresolved.take() else { return Ok(base) };
        let bucket = match self.written_by(&attempt).await {
            Ok(Some(bucket)) => bucket,
            // It was not carried out: its changes stay pending.
            Ok(None) => return Ok(base),
            Err(error) => {
                // Still unknown: the next commit must ask again, or it could make the changes twice.
                self.unresolved = Some(attempt);
                return Err(error);
            }
        };
        let Attempt { after, carried, .. } = *attempt;
        if let Base::Live(before) = &base {
            self.vault.settle(before, &after);
        }
        // Other requests may have moved on from the attempt's state.
        let base = Base::Live(newest::catch_up(self.manager, &self.sealer, after, bucket)?);
        carried.takes().for_each(|take| take.confirm());
        self.pending.drop_committed(&carried);
        self.view = None;
        self.done.has_logged_in = carried.logs_in();
        self.done.has_left = carried.leaves_session();
        self.done.base = Some(base.clone());
        Ok(base)
    }

    /// Returns the bucket that the attempt has written, or `None` if the store did not carry it out.
    async fn written_by(&self, attempt: &Attempt) -> Result<Option<Bucket>, SessionError> {
        let Some(Entry::Bucket(bucket)) = self.load(&attempt.id).await? else { return Ok(None) };
        let is_written = vouches_for(&bucket, attempt) && self.has_ended_the_old(attempt).await?;
        Ok(is_written.then_some(bucket))
    }

    /// Returns `true` if the attempt was a renewal and has put its tombstone in the place of the old session, or was none.
    ///
    /// A store that renews in several steps creates the new session before it ends the old one, and takes it back if another
    /// request was faster.
    async fn has_ended_the_old(&self, attempt: &Attempt) -> Result<bool, SessionError> {
        let Some(tombstone) = attempt.tombstone else { return Ok(true) };
        match self.load(&tombstone.id).await? {
            Some(Entry::Tombstone(found)) => Ok(found == tombstone),
            // The store is still at it, or its process has stopped.
            Some(Entry::Bucket(_)) => {
                let undecided = StoreError::unavailable("nobody knows yet if the session was renewed");
                Err(self.manager.store_failed("renew_into", undecided))
            }
            None => Ok(false),
        }
    }
}

/// Returns `true` if the bucket holds the attempt's fingerprint, current or retired: the write was carried out.
fn vouches_for(bucket: &Bucket, attempt: &Attempt) -> bool {
    bucket.current.matches(&attempt.fingerprint)
        || bucket.retired.iter().any(|retired| retired.fingerprint.matches(&attempt.fingerprint))
}
