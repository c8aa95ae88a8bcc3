//! The first token of a session that takes the place of another one: after a login, a renew, or a logout that keeps data.

use std::sync::Arc;

use secure_sessions_core::{DataMap, Meta, Tombstone};
use secure_sessions_store::SessionStore;

use super::Commit;
use super::create::enforce;
use crate::error::SessionError;
use crate::event::{EndReason, Event};
use crate::request::ending::{self, Owns};
use crate::request::ops::Ending;
use crate::request::state::{Admission, Anonymous, Base};

impl Commit<'_> {
    /// Moves the session to a new bucket with a new id. A login succeeds even if the old bucket is gone by then.
    ///
    /// After an ending, the new session begins empty, or with only the old session's data.
    pub(super) async fn renew(&mut self, mut live: Arc<Admission>) -> Result<Arc<Admission>, SessionError> {
        let (login, ends) = (self.pending.logs_in(), self.pending.ending.is_some());
        let keeps_data = self.pending.ending.as_ref().is_none_or(|ending| ending.keeps_data);
        // `true` once another request has ended the old session.
        let mut gone = false;
        let (next, slot) = loop {
            if let Some(newer) = self.prepare_renewal(Some(&live).filter(|_| keeps_data), gone).await? {
                live = newer;
                continue;
            }
            let (meta, data) = self.content_after(&live)?;
            let slot = self.find_slot(&meta, Some(&live.bucket.id)).await?;
            // A session that ends passes nothing on: neither label nor creation time nor deadline.
            let predecessor = Some(&live.bucket).filter(|_| !ends);
            let next = self.first_token(meta, data, predecessor, slot.as_ref())?;
            if gone {
                self.begin_without(&live, &next).await?;
                break (next, slot);
            }
            if self.swap_into(&live, &next).await? {
                self.vault.moved(live.bucket.vault, next.bucket.vault);
                break (next, slot);
            }
            live = match self.follow(Arc::clone(&live)).await {
                // A double click: the first login ended this bucket, and the second must not fail the user.
                Err(SessionError::Ended) if login => {
                    gone = true;
                    live
                }
                followed => followed?,
            };
        };
        self.manager.forget(&live.bucket.id);
        enforce(slot, &next).await?;
        self.report_renewal(&live, &next);
        self.report_device(&live, &next);
        self.done.has_logged_in |= login;
        Ok(next)
    }

    /// Ends the session and begins an anonymous one with its data, in one step.
    pub(super) async fn leave(&mut self, live: Arc<Admission>) -> Result<Base, SessionError> {
        self.end_also().await?; // First, while the ending is pending, so that another try repeats it.
        match self.renew(Arc::clone(&live)).await {
            Ok(next) => Ok(Base::Live(next)),
            // Another request ended or renewed it. No new session begins, and a successor of the renew ends too.
            Err(SessionError::Ended) => {
                let anonymous = self.log_out(Base::Live(live), false).await?;
                // The other changes belong to the new session, which does not begin. A login that was faster may have
                // taken the values over that these were to replace.
                self.vault.came_to_nothing();
                self.pending.takes().for_each(|take| take.forget());
                Ok(Base::Anonymous(Anonymous { only_login: true, ..anonymous }))
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the content that the new session begins with: that of the old one, or what an ending leaves of it, with the
    /// pending changes applied.
    fn content_after(&mut self, live: &Admission) -> Result<(Meta, DataMap), SessionError> {
        let (no_meta, no_data) = (Meta::default(), DataMap::new());
        let (meta, data) = match &self.pending.ending {
            None => (&live.newest.meta, &live.newest.data),
            Some(Ending { keeps_data: true, .. }) => (&no_meta, &live.newest.data),
            Some(_) => (&no_meta, &no_data),
        };
        self.applied(meta, data)
    }

    /// Writes the next bucket if its write ends the old one. Returns `false` if another request was faster.
    async fn swap_into(&mut self, live: &Admission, next: &Arc<Admission>) -> Result<bool, SessionError> {
        let (now, policy) = (self.now(), &self.manager.times().bucket);
        let old = &live.bucket;
        // Naming the successor lets a late logout, or a replay, end it too. Anonymous data is not worth that.
        let tombstone = if old.subject.is_some() && self.pending.ending.is_none() {
            Tombstone::renewed(old, &next.bucket, now, policy)
        } else {
            Tombstone::new(old.id, now, policy)
        };
        let swapped = self.manager.store().renew_into(&next.bucket, &old.id, old.revision, tombstone).await;
        let written = self.written("renew_into", swapped, next);
        if let Some(attempt) = self.unresolved.as_mut().filter(|_| written.is_err()) {
            attempt.tombstone = Some(tombstone);
        }
        written
    }

    /// Writes the next bucket of a login whose old session another request has ended.
    async fn begin_without(&mut self, live: &Admission, next: &Arc<Admission>) -> Result<(), SessionError> {
        // The data is that of the arrival: another request may have removed the same value since.
        self.pending.takes().for_each(|take| take.forget());
        if self.pending.ending.is_some() {
            // The session that is to end may have been renewed instead: its successor must not survive.
            let subject = live.newest.meta.subject.as_deref();
            ending::end(self.manager, &live.bucket.id, subject, true, Owns::Unknown).await?;
        }
        self.insert(next).await
    }

    fn report_renewal(&self, live: &Admission, next: &Admission) {
        let login = self.pending.logs_in();
        let (old, session) = (self.manager.handle(&live.bucket.id), self.manager.handle(&next.bucket.id));
        match self.pending.ending {
            // A logout that keeps its data is an end and a beginning to an observer, not a renew.
            Some(_) if !login => {
                let (session_ended, logged_in) = (Some(old), live.bucket.subject.is_some());
                let reason = EndReason::Logout;
                self.manager.emit(&Event::Ended { session: session_ended, count: 1, reason, logged_in });
                self.manager.emit(&Event::Created { session, logged_in: false });
            }
            _ => {
                let logged_in = next.bucket.subject.is_some();
                self.manager.emit(&Event::Renewed { old, session, login, logged_in });
            }
        }
    }
}
