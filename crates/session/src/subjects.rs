//! A subject's sessions: list and revoke them, by their holder or an administrator.

use secure_sessions_core::{Bucket, Handle, SessionId, Timestamp};
use secure_sessions_store::{Page, SessionStore, Which};

use crate::ending;
use crate::error::SessionError;
use crate::event::{EndReason, Event};
use crate::manager::SessionManager;
use crate::ops::{Ending, Why};
use crate::session::Session;

/// What the store knows of one session of a subject.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionInfo {
    /// The session's public name: revoke it by this.
    pub handle: Handle,
    /// When it was made, or its subject logged in.
    pub created_at: Timestamp,
    /// When it was last seen, at most a minute ago.
    pub last_seen_at: Timestamp,
    /// Its absolute deadline.
    pub expires_at: Timestamp,
    /// What the application wrote on it.
    pub label: Option<String>,
    /// Whether it is the session that asks.
    pub current: bool,
}

const PAGE: u32 = 100;

impl SessionManager {
    /// All live sessions of a subject.
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
    /// [`SessionError::NoSuchSession`] if the subject has none of that name: it is over, was never there, or is another
    /// subject's, and nothing tells which. [`SessionError::Store`] if the store fails.
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

    /// Ends all sessions of a subject. How many there were.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub async fn revoke_subject(&self, subject: &str) -> Result<u64, SessionError> {
        self.revoke_all_of(subject, None).await
    }

    /// Ends every session there is. How many there were.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub async fn revoke_everything(&self) -> Result<u64, SessionError> {
        let revoked = self.revoke_which(Which::Everything, None).await;
        self.forget_where(|_| true);
        revoked
    }

    /// How many sessions the store keeps, those included that expired and are not purged yet.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub async fn count(&self) -> Result<u64, SessionError> {
        self.store().count().await.map_err(|error| self.store_failed("count", error))
    }

    /// Ends all sessions of a subject but one. Returns how many there were.
    pub(crate) async fn revoke_all_of(&self, subject: &str, except: Option<&SessionId>) -> Result<u64, SessionError> {
        let tags = self.sealer().subject_tags(subject);
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

    /// All live buckets of a subject.
    pub(crate) async fn buckets(&self, subject: &str) -> Result<Vec<Bucket>, SessionError> {
        let tags = self.sealer().subject_tags(subject);
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
                    // It is nobody's to use, and hides no other: an event, and the next removal of all removes it.
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
    /// All live sessions of this session's subject; none if nobody is logged in.
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

    /// Ends one session of this session's subject, at once. If that is this one, it is a [`logout`](Self::logout), at
    /// commit.
    ///
    /// # Errors
    ///
    /// [`SessionError::NotLoggedIn`] if nobody is logged in, [`SessionError::NoSuchSession`] if the subject has no session
    /// of that name, another subject's included; [`SessionError::Store`] if the store fails.
    pub async fn revoke(&self, handle: &Handle) -> Result<(), SessionError> {
        let subject = self.subject().ok_or(SessionError::NotLoggedIn)?;
        let manager = &self.request().manager;
        if self.session_id().is_some_and(|id| manager.keyring().0.is_handle_of(handle, &id)) {
            return self.logout();
        }
        manager.revoke(&subject, handle).await
    }

    /// Ends all other sessions of this session's subject, at once: also right after a [`login`](Self::login) in the same
    /// request. How many there were.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub async fn revoke_others(&self) -> Result<u64, SessionError> {
        let Some(subject) = self.subject() else { return Ok(0) };
        self.request().manager.revoke_all_of(&subject, self.session_id().as_ref()).await
    }

    /// Ends every session of this session's subject at commit, this one included, whatever the response's status, and
    /// removes the browser's cookie.
    ///
    /// As with [`logout`](Self::logout), a session that is renewed at the same time ends too.
    ///
    /// # Errors
    ///
    /// [`SessionError::NotLoggedIn`] if nobody is logged in; [`SessionError::Ended`] if the request's session has just
    /// moved to another id, so that nobody can tell whose it was: ask the user to log in. [`SessionError::Finished`] if the
    /// response's headers are gone.
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
