//! The next token of a session that goes on under its id.

use std::sync::Arc;

use secure_sessions_core::Bucket;
use secure_sessions_store::SessionStore;

use super::{Commit, When};
use crate::error::SessionError;
use crate::event::{Event, RotationReason};
use crate::request::ops::Pending;
use crate::request::state::{Admission, Base};
use crate::request::upkeep::{is_rotation_due, is_touch_due, touch};

impl Commit<'_> {
    /// Issues the next token if the content changed; at the end of a request, also if a rotation is due.
    pub(super) async fn advance(&mut self, live: Arc<Admission>) -> Result<Base, SessionError> {
        match self.advance_live(Arc::clone(&live)).await {
            Ok(live) => Ok(Base::Live(live)),
            Err(error) => self.without_upkeep(live, error),
        }
    }

    /// Goes on without a write that failed. Failed upkeep must not fail a request that changed nothing: its event is
    /// already raised. A session that could not be bound stays as it was, and the next request binds it.
    pub(super) fn without_upkeep(&mut self, live: Arc<Admission>, error: SessionError) -> Result<Base, SessionError> {
        if !self.pending.is_upkeep() {
            return Err(error);
        }
        // A token to deliver may be stale, and the client's own still works, unless the session was made here.
        self.unresolved = None;
        let mut live = Arc::unwrap_or_clone(live);
        live.to_deliver = live.to_deliver.filter(|_| live.made_here);
        Ok(Base::Live(Arc::new(live)))
    }

    /// Swaps in the next token, if there is a reason for one, again and again until no other request is faster.
    async fn advance_live(&mut self, mut live: Arc<Admission>) -> Result<Arc<Admission>, SessionError> {
        let finish = self.when == When::Finish;
        if finish && self.pending.is_empty() && live.to_deliver.is_some() && !live.made_here {
            // Deliver the newest token as of the response: a slow handler must not put a stale one on the wire.
            live = self.refresh(live).await?;
        }
        let manager = self.manager;
        let mut queued = None;
        loop {
            if concerns_vault(&self.pending, &live)
                && let Some(newer) = self.prepare_vault(Some(&live)).await?
            {
                live = newer;
                continue;
            }
            let Some((next, reason)) = self.rotation(&live)? else {
                if finish && !self.caller.untouched && is_touch_due(manager, &live, self.now()) {
                    touch(manager, &mut live, self.now()).await;
                }
                return Ok(live);
            };
            let replaced = manager.store().replace(&next.bucket, live.bucket.revision).await;
            if self.written("replace", replaced, &next)? {
                self.report_rotation(&next.bucket, reason);
                self.report_device(&live, &next);
                return Ok(next);
            }
            // After the first conflict, commits of one session in this process take turns instead of colliding again.
            if queued.is_none() {
                queued = Some(manager.queue(&live.bucket.id).await);
            }
            live = self.follow(live).await?;
        }
    }

    /// Does the same as [`advance`](Self::advance) with changes, if nothing needs to wait. Returns `None` if nothing
    /// was done.
    pub(super) fn advance_now(&mut self, live: &Arc<Admission>) -> Result<Option<Base>, SessionError> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        let Some((next, reason)) = self.rotation(live)? else { return Ok(None) };
        let Some(replaced) = self.manager.store().replace_now(&next.bucket, live.bucket.revision) else {
            return Ok(None);
        };
        if !self.written("replace", replaced, &next)? {
            // The commit that begins again counts its tries.
            self.has_written = false;
            return Ok(None);
        }
        self.report_rotation(&next.bucket, reason);
        self.report_device(live, &next);
        Ok(Some(Base::Live(next)))
    }

    /// Creates the next token, if there is a reason for one.
    fn rotation(&mut self, live: &Admission) -> Result<Option<(Arc<Admission>, RotationReason)>, SessionError> {
        let (meta, data) = self.applied(&live.newest.meta, &live.newest.data)?;
        let changed = data != live.newest.data
            || meta != live.newest.meta
            || self.pending.label.is_some()
            // Written even if the same value was inserted again since: one request alone may get the old one.
            || self.pending.takes().any(|take| take.has_found());
        let Some(reason) = self.rotation_reason(live, changed) else { return Ok(None) };
        Ok(Some((self.next_token(live, meta, data)?, reason)))
    }

    fn rotation_reason(&self, live: &Admission, changed: bool) -> Option<RotationReason> {
        if changed {
            return Some(RotationReason::Changed);
        }
        // Upkeep waits for the end of the request, where the new token can be sent.
        if self.when != When::Finish {
            return None;
        }
        if live.newest.keys.compromised().is_some() {
            return Some(RotationReason::CompromisedKey);
        }
        // A rotation writes that the session was seen.
        let is_due = !self.caller.untouched && is_rotation_due(self.manager, live, self.now());
        is_due.then_some(RotationReason::Interval)
    }

    fn report_rotation(&self, bucket: &Bucket, reason: RotationReason) {
        let (manager, id, generation) = (self.manager, &bucket.id, bucket.generation);
        manager.emit_if_heard(|| Event::Rotated { session: manager.handle(id), generation, reason });
    }

    /// Reports that a session was bound to a device.
    pub(super) fn report_device(&self, before: &Admission, after: &Admission) {
        if before.newest.meta.device.is_none() && after.newest.meta.device.is_some() {
            self.manager.emit(&Event::DeviceBound { session: self.manager.handle(&after.bucket.id) });
        }
    }
}

/// Returns `true` if a commit of these changes has to ask the vault: it changes private values, or their deadline.
pub(super) fn concerns_vault(pending: &Pending, live: &Admission) -> bool {
    let references = &live.newest.meta.vault;
    pending.changes_vault(references) || (pending.settings.lifetime.is_some() && !references.is_empty())
}
