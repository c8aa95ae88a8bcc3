//! Lists and revokes a subject's sessions, for their holder, an administrator or an identity provider.

use secure_sessions_core::{
    Bucket, CLOCK_TOLERANCE, Entry, Handle, Lifespan, Opened, PURGE_DELAY, ProviderSession, SessionId, Timestamp,
    VaultId,
};
use secure_sessions_store::{Listed, Page, SessionStore, Tags, VaultStore, Which};

use crate::detached::Detached;
use crate::error::SessionError;
use crate::event::{EndReason, Event};
use crate::manager::SessionManager;
use crate::request::ending::{self, Owns};
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
    /// The time at which the session was last seen, at most a [touch step](crate::Builder::touch_step) behind.
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
    /// Once begun, it goes on to its end, also if its caller hangs up: see [`drained`](Self::drained).
    ///
    /// # Errors
    ///
    /// [`SessionError::NoSuchSession`] if the subject has no session of that name. The error does not reveal if it has
    /// ended, never existed or is another subject's. [`SessionError::Store`] if the store fails.
    pub async fn revoke(&self, subject: &str, handle: &Handle) -> Result<(), SessionError> {
        let (manager, subject, handle) = (self.clone(), subject.to_owned(), *handle);
        let ending = async move { manager.end_named(&subject, &handle).await };
        Detached::once_started(self.commits(), ending).await
    }

    /// Ends all sessions of a subject. Returns how many there were.
    ///
    /// Once begun, it goes on to its end, also if its caller hangs up: see [`drained`](Self::drained).
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub async fn revoke_subject(&self, subject: &str) -> Result<u64, SessionError> {
        self.revoke_all_of(subject, None).await
    }

    /// Ends all sessions whose login came from this session at an identity provider, by the claims `iss` and `sid` of its
    /// logout token: see [`Login::provider_session`](crate::Login::provider_session). Returns how many there were.
    ///
    /// It ends them under each key of the keyring, and also those that are renewed meanwhile. It does not find a login that is
    /// still on its way to the store. Once begun, it goes on to its end, also if the provider hangs up. A logout token without
    /// a `sid` ends all sessions of its `sub`: call [`revoke_subject`](Self::revoke_subject) with the subject as you log it in.
    ///
    /// # Security
    ///
    /// Verify the logout token first: who calls this ends sessions.
    ///
    /// # Errors
    ///
    /// [`SessionError::Meta`] if a claim is empty or longer than 2048 bytes; [`SessionError::Store`] if the store fails: answer
    /// such that the provider tries again.
    #[doc(alias = "revoke_group")]
    #[doc(alias = "backchannel_logout")]
    pub async fn revoke_provider_session(&self, issuer: &str, sid: &str) -> Result<u64, SessionError> {
        let session = ProviderSession::new(issuer, sid).map_err(SessionError::Meta)?;
        let manager = self.clone();
        let ending = async move {
            let tags = manager.sealer(Transport::Cookie).group_tags(&session);
            let is_one = |opened: &Opened| opened.provider_session() == Some(session);
            manager.end_tagged(Tags::Groups(&tags), None, EndReason::ProviderLogout, is_one).await
        };
        Detached::once_started(self.commits(), ending).await
    }

    /// Ends every session in the store. Returns how many there were.
    ///
    /// Once begun, it goes on to its end, also if its caller hangs up: see [`drained`](Self::drained).
    ///
    /// A session that begins meanwhile keeps its private values, unless its lifetime is shorter than that of
    /// [`Builder::absolute_timeout`](crate::Builder::absolute_timeout). The values of sessions that began within the last minute,
    /// or have a longer lifetime, are left to the purge: nobody can read them any more.
    ///
    /// A store that expires values by itself (Redis, Memcached, DynamoDB) has no purge: it keeps all private values of the ended
    /// sessions, sealed, until their own deadline.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub async fn revoke_everything(&self) -> Result<u64, SessionError> {
        let manager = self.clone();
        Detached::once_started(self.commits(), async move { manager.end_everything().await }).await
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
    pub(crate) fn revoke_all_of(
        &self,
        subject: &str,
        except: Option<&SessionId>,
    ) -> Detached<Result<u64, SessionError>> {
        let (manager, subject, except) = (self.clone(), subject.to_owned(), except.copied());
        let ending = async move {
            let tags = manager.sealer(Transport::Cookie).subject_tags(&subject);
            let is_one = |opened: &Opened| opened.subject().as_deref() == Some(&*subject);
            manager.end_tagged(Tags::Subjects(&tags), except.as_ref(), EndReason::Revoked, is_one).await
        };
        Detached::once_started(self.commits(), ending)
    }

    /// Ends the session of a subject that has this handle.
    async fn end_named(&self, subject: &str, handle: &Handle) -> Result<(), SessionError> {
        let keyring = self.keyring().0;
        let mut revoked = false;
        for lifespan in self.lifespans(subject).await? {
            if keyring.is_handle_of(handle, &lifespan.id) {
                let ended = ending::end(self, &lifespan.id, Some(subject), false, Owns::Unknown).await?;
                revoked |= ended.is_some();
            }
        }
        if !revoked {
            return Err(SessionError::NoSuchSession);
        }
        self.emit(&Event::Ended { session: Some(*handle), count: 1, reason: EndReason::Revoked, logged_in: true });
        Ok(())
    }

    async fn end_everything(&self) -> Result<u64, SessionError> {
        let begun = self.now();
        let revoked = self.revoke_which(Which::Everything, None, EndReason::Revoked).await;
        self.forget_where(|_| true);
        if revoked.is_ok() {
            self.delete_vaults_of_before(begun).await;
        }
        revoked
    }

    /// Ends the sessions with some tags, except for one. `is_one` recognizes their tokens.
    async fn end_tagged(
        &self,
        tags: Tags<'_>,
        except: Option<&SessionId>,
        reason: EndReason,
        is_one: impl Fn(&Opened) -> bool + Send,
    ) -> Result<u64, SessionError> {
        // Asked for before the buckets go, which alone know them. A session that gets its vault meanwhile leaves it to the purge.
        // If the store does not say it now, they are left to the purge: the ending matters more.
        let vaults = self.vaults_of(tags, except).await.unwrap_or_default();
        let revoked = self.revoke_which(Which::Tagged(tags), except, reason).await;
        self.forget_where(is_one);
        if revoked.is_ok() {
            self.delete_vaults(&vaults).await;
        }
        revoked
    }

    /// Returns a session's vault, to be asked for before the bucket goes, which alone knows it.
    pub(crate) async fn vault_of(&self, id: &SessionId) -> Result<Option<VaultId>, SessionError> {
        if self.vault_store().is_none() {
            return Ok(None);
        }
        let found = self.store().load(id).await.map_err(|error| self.store_failed("load", error))?;
        Ok(if let Some(Entry::Bucket(bucket)) = found { bucket.vault } else { None })
    }

    async fn vaults_of(&self, tags: Tags<'_>, except: Option<&SessionId>) -> Result<Vec<VaultId>, SessionError> {
        if self.vault_store().is_none() {
            return Ok(Vec::new());
        }
        let buckets = self.buckets(tags).await?;
        Ok(buckets.iter().filter(|bucket| Some(&bucket.id) != except).filter_map(|bucket| bucket.vault).collect())
    }

    /// Deletes the vaults of sessions that have ended. A failure raises an event, and leaves them to the purge.
    pub(crate) async fn delete_vaults(&self, vaults: &[VaultId]) {
        if let Some(store) = self.vault_store().filter(|_| !vaults.is_empty())
            && let Err(error) = store.delete_all(vaults).await
        {
            self.store_failed("delete_all", error);
        }
    }

    /// Deletes the vaults of sessions that began before a time. Only their deadline tells which these are: by the clock of the
    /// host that began the session, which may be behind.
    async fn delete_vaults_of_before(&self, begun: Timestamp) {
        const BATCH: u32 = 1000;
        let Some(store) = self.vault_store() else { return };
        let begun = Timestamp::from_millis(begun.as_millis().saturating_sub(CLOCK_TOLERANCE.get()));
        let last = begun.after(self.times().absolute).after(PURGE_DELAY);
        loop {
            match store.purge(last, BATCH).await {
                Ok(removed) if removed < u64::from(BATCH) => return,
                Ok(_) => {}
                Err(error) => {
                    self.store_failed("purge", error);
                    return;
                }
            }
        }
    }

    async fn revoke_which(
        &self,
        which: Which<'_>,
        except: Option<&SessionId>,
        reason: EndReason,
    ) -> Result<u64, SessionError> {
        let removed = self.store().remove_all(which, except).await;
        let count = removed.map_err(|error| self.store_failed("remove_all", error))?;
        if count > 0 {
            self.emit(&Event::Ended { session: None, count, reason, logged_in: true });
        }
        Ok(count)
    }

    /// Returns all live buckets with some tags.
    async fn buckets(&self, tags: Tags<'_>) -> Result<Vec<Bucket>, SessionError> {
        let (mut live, mut next) = (Vec::new(), Some(Page::first(PAGE)));
        while let Some(page) = next {
            let listed = self.store().list(tags, page).await;
            let listed = listed.map_err(|error| self.store_failed("list", error))?;
            next = page.next(&listed);
            self.keep_live(&mut live, listed, Bucket::lifespan);
        }
        Ok(live)
    }

    /// Returns the ids and times of all live buckets of a subject.
    pub(crate) async fn lifespans(&self, subject: &str) -> Result<Vec<Lifespan>, SessionError> {
        let tags = self.sealer(Transport::Cookie).subject_tags(subject);
        let (mut live, mut next) = (Vec::new(), Some(Page::first(PAGE)));
        while let Some(page) = next {
            let listed = self.store().list_lifespans(Tags::Subjects(&tags), page).await;
            let listed = listed.map_err(|error| self.store_failed("list", error))?;
            next = page.next(&listed);
            self.keep_live(&mut live, listed, |lifespan| *lifespan);
        }
        Ok(live)
    }

    fn keep_live<T>(&self, live: &mut Vec<T>, listed: Vec<Listed<T>>, lifespan: impl Fn(&T) -> Lifespan) {
        let (now, policy) = (self.now(), self.times().bucket);
        for session in listed {
            match session {
                Ok(session) if lifespan(&session).is_expired(now, &policy) => {}
                Ok(session) => live.push(session),
                // Nobody can use an unreadable session, and it must not hide the others. It raises an event, and the next
                // removal of all sessions removes it.
                Err(unreadable) => {
                    self.store_failed("list", unreadable.error);
                }
            }
        }
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
        let tags = self.sealer(Transport::Cookie).subject_tags(subject);
        Ok(self.buckets(Tags::Subjects(&tags)).await?.iter().map(info).collect())
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
