//! The first token of a session that begins with this commit.

use std::sync::Arc;

use secure_sessions_core::{DataMap, Meta, References, SessionId};
use secure_sessions_store::SessionStore;

use super::Commit;
use crate::error::SessionError;
use crate::event::{EndReason, Event};
use crate::request::slot::SessionSlot;
use crate::request::state::{Admission, Anonymous, Base};

impl<'r> Commit<'r> {
    /// Creates the first bucket of an anonymous request, if there is anything to keep.
    pub(super) async fn create(&mut self, anonymous: Anonymous) -> Result<Base, SessionError> {
        let login = self.pending.logs_in();
        // Without a login, a cookie from here could overwrite the newer one that the browser is about to get.
        let is_allowed = login || !anonymous.only_login;
        if is_allowed && self.pending.changes_vault(&References::default()) {
            self.prepare_vault(None).await?;
        }
        let (meta, data) = self.applied(&Meta::default(), &DataMap::new())?;
        let wanted = login || !data.is_empty() || !meta.vault.is_empty() || meta.flash.is_some() || self.pending.keep;
        if !wanted || !is_allowed {
            return Ok(Base::Anonymous(anonymous));
        }
        if login {
            // Otherwise the browser would keep presenting several live sessions, and stay anonymous.
            self.end_presented(EndReason::Replaced).await?;
        }
        let slot = self.find_slot(&meta, None).await?;
        let live = self.first_token(meta, data, None, slot.as_ref())?;
        self.insert(&live).await?;
        enforce(slot, &live).await?;
        let session = self.manager.handle(&live.bucket.id);
        self.manager.emit(&Event::Created { session, logged_in: login });
        if live.newest.meta.device.is_some() {
            self.manager.emit(&Event::DeviceBound { session });
        }
        self.done.has_logged_in |= login;
        Ok(Base::Live(live))
    }

    /// Writes the bucket of a session that takes no other one's place.
    pub(super) async fn insert(&mut self, live: &Arc<Admission>) -> Result<(), SessionError> {
        let inserted = self.manager.store().insert(&live.bucket).await;
        self.written("insert", inserted, live)
    }

    /// Finds the slot of a login under the limit of sessions; the session at `old` is about to end.
    pub(super) async fn find_slot(
        &self,
        meta: &Meta,
        old: Option<&SessionId>,
    ) -> Result<Option<SessionSlot<'r>>, SessionError> {
        match &meta.subject {
            Some(subject) if self.pending.logs_in() => SessionSlot::find(self.manager, subject, old).await,
            _ => Ok(None),
        }
    }
}

/// Enforces the limit of sessions after a login was written.
pub(super) async fn enforce(slot: Option<SessionSlot<'_>>, live: &Admission) -> Result<(), SessionError> {
    match slot {
        Some(slot) => slot.enforce(&live.bucket).await,
        None => Ok(()),
    }
}
