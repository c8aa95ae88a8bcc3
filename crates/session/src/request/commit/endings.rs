//! The commit's endings: of the session that the request came with, and of others that it names.

use super::Commit;
use crate::error::SessionError;
use crate::event::{EndReason, Event};
use crate::request::ending;
use crate::request::ops::{Ending, Why};
use crate::request::state::{Also, Anonymous, Base, Other};

impl Commit<'_> {
    /// Makes a pending login begin with an empty session if the session belongs to another subject by now: through an
    /// earlier attempt, or a commit that was under way.
    pub(super) fn replace_other(&mut self, base: &Base) {
        let (Base::Live(live), None, Some(login)) = (base, &self.pending.ending, &self.pending.settings.login) else {
            return;
        };
        if live.newest.meta.subject.as_ref().is_some_and(|subject| *subject != login.subject) {
            self.pending.ending = Some(Ending { why: Why::Replaced, keeps_data: false, everywhere: None });
            self.view = None;
        }
    }

    /// Ends every other session of a subject that logs out everywhere, also one that is being renewed: see
    /// [`remove_all`](secure_sessions_store::SessionStore::remove_all). Returns `true` if there were any.
    pub(super) async fn end_others(&mut self, base: &Base) -> Result<bool, SessionError> {
        let Some(ending) = &mut self.pending.ending else { return Ok(false) };
        let Some(subject) = &ending.everywhere else { return Ok(false) };
        let own = if let Base::Live(live) = base { Some(&live.bucket.id) } else { None };
        let count = self.manager.revoke_all_of(subject, own).await?;
        ending.everywhere = None; // Should what follows fail, it is not done again.
        Ok(count > 0)
    }

    /// Ends the session, even if a renew has moved it, and all others that the request presented. A slow request that
    /// commits afterwards finds no bucket.
    pub(super) async fn log_out(&mut self, base: Base, others_ended: bool) -> Result<Anonymous, SessionError> {
        let (ended, outdated) = match &base {
            Base::Live(live) => {
                let ended = self.end(&Other::from(&**live), EndReason::Logout).await? || others_ended;
                // If another request ended it, the browser may already hold a newer login's cookie.
                (ended, !ended && self.load(&live.bucket.id).await?.is_some())
            }
            Base::Anonymous(anonymous) => (false, anonymous.only_login),
        };
        let also_ended = self.end_also().await?;
        let was_ended = ended || !matches!(base, Base::Anonymous(Anonymous { was_ended: false, .. }));
        let anonymous = Anonymous { was_ended, only_login: outdated && !also_ended };
        self.pending.ending = None;
        self.done.removes_cookie = self.presented && !anonymous.only_login;
        self.done.has_left = true;
        self.done.base = Some(Base::Anonymous(anonymous));
        Ok(anonymous)
    }

    /// Ends the other sessions that the request presented. Returns `true` if one of them was alive.
    pub(super) async fn end_also(&mut self) -> Result<bool, SessionError> {
        let admitted = self.end_presented(EndReason::Logout).await?;
        let unjudged = self.end_each(|also| &mut also.unjudged, EndReason::Logout).await?;
        let expired = self.end_each(|also| &mut also.expired, EndReason::Logout).await?;
        Ok(admitted || unjudged || expired)
    }

    /// Ends the other live sessions that the request presented. Returns `true` if one of them was alive.
    pub(super) async fn end_presented(&mut self, reason: EndReason) -> Result<bool, SessionError> {
        self.end_each(|also| &mut also.admitted, reason).await
    }

    /// Ends the sessions of one list. A session leaves it once it has ended, so that another try ends the rest.
    async fn end_each(
        &mut self,
        list: fn(&mut Also) -> &mut Vec<Other>,
        reason: EndReason,
    ) -> Result<bool, SessionError> {
        let mut ended = false;
        while let Some(session) = list(&mut self.also).last().cloned() {
            ended |= self.end(&session, reason).await?;
            list(&mut self.also).pop();
        }
        Ok(ended)
    }

    /// Ends one session, even if a renew has moved it. Returns `true` if it was alive.
    async fn end(&self, Other { id, subject, vault }: &Other, reason: EndReason) -> Result<bool, SessionError> {
        let ended = ending::end(self.manager, id, subject.as_deref(), true, *vault).await?;
        if let Some(id) = &ended {
            let (session, logged_in) = (Some(self.manager.handle(id)), subject.is_some());
            self.manager.emit(&Event::Ended { session, count: 1, reason, logged_in });
        }
        Ok(ended.is_some())
    }
}
