//! Lists and revokes a subject's sessions, for their holder or an administrator.

use secure_sessions_core::{Bucket, Handle, SessionId, Timestamp};
use secure_sessions_store::{Page, SessionStore, Which};

use crate::error::SessionError;
use crate::event::{EndReason, Event};
use crate::manager::SessionManager;
use crate::request::ending;
use crate::request::ops::{Ending, Why};
use crate::session::Session;
use crate::transport::Transport;

/// The store's record of one session of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session's public name, by which you revoke it.
    pub handle: Handle,
    /// The time at which the session was created, or its subject logged in.
    pub created_at: Timestamp,
    /// The time at which the session was last seen, at most a minute behind.
    pub last_seen_at: Timestamp,
    /// The session's absolute deadline.
    pub expires_at: Timestamp,
    /// The label that the application set.
    pub label: Option<String>,
    /// `true` if it is the session that asked for the list.
    pub current: bool,
}

const PAGE: u32 = 100;

impl SessionManager {
    /// Returns all live sessions of a subject.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub async fn sessions_of(&self, subject: &str) -> Result<Vec<SessionInfo>, SessionError> {
        self.infos(subject, None).await
    }

    /// Ends one session of a subject.
    ///
    /// # Errors
    ///
    /// [`SessionError::NoSuchSession`] if the subject has no session of that name. The error does not reveal if it has
    /// ended, never existed or is another subject's. [`SessionError::Store`] if the store fails.
    pub async fn revoke(&self, subject: &str, handle: &Handle) -> Result<(), SessionError> {
        let keyring = self.keyring().0;
        let mut revoked = false;
        for bucket in self.buckets(subject).await? {
            if keyring.is_handle_of(handle, &bucket.id) {
                revoked |= ending::end(self, &bucket.id, Some(subject), false).await?.is_some();
            }
        }
        if !revoked {
            return Err(SessionError::NoSuchSession);
        }
        self.emit(&Event::Ended { session: Some(*handle), count: 1, reason: EndReason::Revoked, logged_in: true });
        Ok(())
    }

    /// Ends all sessions of a subject. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub async fn revoke_subject(&self, subject: &str) -> Result<u64, SessionError> {
        self.revoke_all_of(subject, None).await
    }

    /// Ends every session in the store. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub async fn revoke_everything(&self) -> Result<u64, SessionError> {
        let revoked = self.revoke_which(Which::Everything, None).await;
        self.forget_where(|_| true);
        revoked
    }

    /// Returns how many sessions the store keeps, including expired ones that are not purged yet.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub async fn count(&self) -> Result<u64, SessionError> {
        self.store().count().await.map_err(|error| self.store_failed("count", error))
    }

    /// Ends all sessions of a subject except this one. Returns how many it ended.
    pub(crate) async fn revoke_all_of(&self, subject: &str, except: Option<&SessionId>) -> Result<u64, SessionError> {
        let tags = self.sealer(Transport::Cookie).subject_tags(subject);
        let revoked = self.revoke_which(Which::Subjects(&tags), except).await;
        self.forget_where(|opened| opened.subject().as_deref() == Some(subject));
        revoked
    }

    async fn revoke_which(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, SessionError> {
        let removed = self.store().remove_all(which, except).await;
        let count = removed.map_err(|error| self.store_failed("remove_all", error))?;
        if count > 0 {
            self.emit(&Event::Ended { session: None, count, reason: EndReason::Revoked, logged_in: true });
        }
        Ok(count)
    }

    /// Returns all live buckets of a subject.
    pub(crate) async fn buckets(&self, subject: &str) -> Result<Vec<Bucket>, SessionError> {
        let tags = self.sealer(Transport::Cookie).subject_tags(subject);
        let (now, policy) = (self.now(), self.times().bucket);
        let mut buckets = Vec::new();
        let mut next = Some(Page::first(PAGE));
        while let Some(page) = next {
            let listed = self.store().list(&tags, page).await;
            let listed = listed.map_err(|error| self.store_failed("list", error))?;
            next = page.next(&listed);
            for session in listed {
                match session {
                    Ok(bucket) if bucket.is_expired(now, &policy) => {}
                    Ok(bucket) => buckets.push(bucket),
                    // Nobody can use an unreadable session, and it must not hide the others. It raises an event, and
                    // the next removal of all sessions removes it.
                    Err(unreadable) => {
                        self.store_failed("list", unreadable.error);
                    }
                }
            }
        }
        Ok(buckets)
    }

    async fn infos(&self, subject: &str, current: Option<SessionId>) -> Result<Vec<SessionInfo>, SessionError> {
        let keyring = self.keyring().0;
        let info = |bucket: &Bucket| SessionInfo {
            handle: keyring.handle(&bucket.id),
            created_at: bucket.created_at,
            last_seen_at: bucket.last_seen_at,
            expires_at: bucket.expires_at,
            label: bucket.label.as_ref().and_then(|label| keyring.open_label(&bucket.id, label)),
            current: current == Some(bucket.id),
        };
        Ok(self.buckets(subject).await?.iter().map(info).collect())
    }
}

impl Session {
    /// Returns all live sessions of this session's subject; an empty list if nobody is logged in.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub async fn sessions(&self) -> Result<Vec<SessionInfo>, SessionError> {
        match self.subject() {
            Some(subject) => self.request().manager.infos(&subject, self.session_id()).await,
            None => Ok(Vec::new()),
        }
    }

    /// Ends one session of this session's subject immediately. If it is this one, it is a [`logout`](Self::logout) at
    /// commit.
    ///
    /// # Errors
    ///
    /// [`SessionError::NotLoggedIn`] if nobody is logged in; [`SessionError::NoSuchSession`] if the subject has no
    /// session of that name, even if another subject has one; [`SessionError::Store`] if the store fails.
    pub async fn revoke(&self, handle: &Handle) -> Result<(), SessionError> {
        let subject = self.subject().ok_or(SessionError::NotLoggedIn)?;
        let manager = &self.request().manager;
        if self.session_id().is_some_and(|id| manager.keyring().0.is_handle_of(handle, &id)) {
            return self.logout();
        }
        manager.revoke(&subject, handle).await
    }

    /// Ends all other sessions of this session's subject immediately, also right after a [`login`](Self::login) in the
    /// same request. Returns how many there were.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub async fn revoke_others(&self) -> Result<u64, SessionError> {
        let Some(subject) = self.subject() else { return Ok(0) };
        self.request().manager.revoke_all_of(&subject, self.session_id().as_ref()).await
    }

    /// Ends every session of this session's subject at commit, including this one, and removes the browser's cookie.
    /// The response's status does not matter.
    ///
    /// As with [`logout`](Self::logout), a session that is renewed at the same time ends too.
    ///
    /// # Errors
    ///
    /// [`SessionError::NotLoggedIn`] if nobody is logged in; [`SessionError::Ended`] if the request's session has just
    /// moved to another id, so that its subject is unknown: ask the user to log in. [`SessionError::Finished`] if the
    /// response's headers were already sent.
    pub fn logout_everywhere(&self) -> Result<(), SessionError> {
        let mut state = self.changeable()?;
        let Some(subject) = state.subject().map(str::to_owned) else {
            let moved = !state.also.unjudged.is_empty();
            return Err(if moved { SessionError::Ended } else { SessionError::NotLoggedIn });
        };
        state.end(Ending { why: Why::Logout, keeps_data: false, everywhere: Some(subject) });
        Ok(())
    }
}
