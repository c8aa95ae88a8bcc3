//! Login, and the checks that a handler makes before a dangerous action: how strong and how recent the login is.

use std::borrow::Cow;
use std::time::Duration;

use secure_sessions_core::{DataMap, Meta, MetaError, ProviderSession, Timestamp};

use crate::error::SessionError;
use crate::request::ops::{Authenticated, Ending, Mark, StepUp, Why};
use crate::session::Session;

/// The details of a login: the subject, and how they authenticated. You pass it to [`Session::login_with`].
///
/// ```
/// # use secure_sessions::{Login, testing};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), secure_sessions::SessionError> {
/// # let (manager, _) = testing::manager();
/// # let cookie = testing::session(&manager).with(move |session| {
/// session.login_with(Login::new("alice").assurance(2).label("Firefox on Linux"))
/// # }).cookie().await?;
/// # assert!(!cookie.is_empty());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nobody is logged in before `Session::login_with`"]
pub struct Login {
    pub(crate) subject: String,
    pub(crate) assurance: Option<u8>,
    pub(crate) authenticated_at: Option<Timestamp>,
    pub(crate) label: Option<String>,
    pub(crate) provider_session: Option<Result<ProviderSession, MetaError>>,
}

impl Login {
    /// Creates a login of `subject`: a stable identifier of the account, at most 512 bytes.
    pub fn new(subject: impl Into<String>) -> Self {
        let subject = subject.into();
        Self { subject, assurance: None, authenticated_at: None, label: None, provider_session: None }
    }

    /// Sets how strongly the subject authenticated, on your own scale; by convention NIST's AAL, 1 to 3.
    pub fn assurance(mut self, level: u8) -> Self {
        self.assurance = Some(level);
        self
    }

    /// Sets when the subject authenticated, if that was earlier: the `auth_time` of an identity provider. A time in the
    /// future counts as now.
    pub fn authenticated_at(mut self, at: Timestamp) -> Self {
        self.authenticated_at = Some(at);
        self
    }

    /// Sets the label of this session in the subject's list of sessions, at most 512 bytes: see [`Session::set_label`].
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    /// Names the session at an identity provider that this login came from: the claims `iss` and `sid` of the ID token, at most
    /// 2048 bytes each. When the provider says that its session is over, end all that came from it by
    /// [`SessionManager::revoke_provider_session`](crate::SessionManager::revoke_provider_session).
    ///
    /// The store keeps a keyed tag of the pair. A later login replaces it, with that of its own or with none.
    ///
    /// ```
    /// # use secure_sessions::{Login, testing};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), secure_sessions::SessionError> {
    /// # let (manager, _) = testing::manager();
    /// # let (issuer, sub, sid) = ("https://login.example", "24400320", "08a5019c");
    /// # let cookie = testing::session(&manager).with(move |session| {
    /// session.login_with(Login::new(format!("{issuer} {sub}")).provider_session(issuer, sid))
    /// # }).cookie().await?;
    /// # assert!(!cookie.is_empty());
    /// assert_eq!(manager.revoke_provider_session(issuer, sid).await?, 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn provider_session(mut self, issuer: &str, sid: &str) -> Self {
        self.provider_session = Some(ProviderSession::new(issuer, sid));
        self
    }
}

impl Session {
    /// Logs a subject in: at commit the session moves to a new id with a fresh absolute lifetime, and the old cookie is
    /// refused from then on.
    ///
    /// 1. The data stays, unless *another* subject was logged in: then the new session begins empty, without that
    ///    subject's data, messages, label, persistence or lifetime.
    /// 2. The login succeeds even if the session ended meanwhile, as after a double click.
    /// 3. If the browser sent several live sessions, all of them end.
    ///
    /// # Errors
    ///
    /// [`SessionError::Meta`] if the subject is longer than 512 bytes, [`SessionError::TooLarge`] if it outgrows the
    /// cookie, [`SessionError::Finished`] if the response's headers are already sent.
    pub fn login(&self, subject: &str) -> Result<(), SessionError> {
        self.login_with(Login::new(subject))
    }

    /// Logs a subject in as [`login`](Self::login) does, and records the details of `login`.
    ///
    /// # Errors
    ///
    /// The errors of [`login`](Self::login), [`SessionError::Label`] if the label is longer than 512 bytes, and
    /// [`SessionError::Meta`] if a claim of [`Login::provider_session`](crate::Login::provider_session) is empty or too long.
    /// Nothing is changed then.
    pub fn login_with(&self, login: Login) -> Result<(), SessionError> {
        let Login { subject, assurance, authenticated_at, label, provider_session } = login;
        let provider_session = provider_session.transpose().map_err(SessionError::Meta)?;
        label.as_deref().map_or(Ok(()), Self::check_label)?;
        let mut state = self.changeable()?;
        let now = self.request().manager.now();
        let at = authenticated_at.map_or(now, |at| at.min(now));
        // One subject's session must leave nothing to another.
        let replaces = state.subject().is_some_and(|current| current != subject);
        let authenticated = Authenticated { subject, at, assurance, provider_session };
        let (meta, data) = if replaces {
            (Meta::default(), DataMap::new())
        } else {
            (state.meta().into_owned(), state.data().cloned().unwrap_or_default())
        };
        let mut meta: Cow<'_, Meta> = Cow::Owned(meta);
        authenticated.apply(meta.to_mut());
        state.caller.reserve(&mut meta);
        self.sealer(&state).check_size(&meta, &data)?;
        if replaces {
            let why = state.pending.ending.as_ref().map_or(Why::Replaced, |before| before.why);
            state.end(Ending { why, keeps_data: false, everywhere: None });
        }
        self.mark(&mut state, Mark::Login)?;
        let pending = &mut state.pending;
        pending.settings.login = Some(authenticated);
        pending.settings.step_up = None;
        pending.label = label.or_else(|| pending.label.take());
        Ok(())
    }

    /// Records that the subject authenticated again, or with a second factor. This sets the assurance level, counts the
    /// authentication from now, and moves the session to a new id at commit, as [`renew`](Self::renew) does. Data and
    /// deadline stay; call [`login`](Self::login) for a fresh lifetime.
    ///
    /// # Errors
    ///
    /// [`SessionError::NotLoggedIn`] if nobody is logged in, [`SessionError::TooLarge`] if the session would outgrow
    /// its cookie, [`SessionError::Finished`] if the response's headers are already sent. Nothing is changed then.
    pub fn step_up(&self, level: u8) -> Result<(), SessionError> {
        let mut state = self.changeable()?;
        if state.subject().is_none() {
            return Err(SessionError::NotLoggedIn);
        }
        let step_up = StepUp { at: self.request().manager.now(), assurance: level };
        let mut meta = state.meta().into_owned();
        step_up.apply(&mut meta);
        let data = state.data().cloned().unwrap_or_default();
        self.sealer(&state).check_size(&meta, &data)?;
        if state.pending.mark.is_none() {
            self.mark(&mut state, Mark::Renew)?;
        }
        state.pending.settings.step_up = Some(step_up);
        Ok(())
    }

    /// Returns how strongly the subject authenticated, as set by [`Login::assurance`] or [`step_up`](Self::step_up).
    #[must_use]
    pub fn assurance(&self) -> Option<u8> {
        self.state().meta().assurance_level
    }

    /// Refuses a subject who authenticated longer than `max_age` ago. Put it, with `?`, in front of a dangerous action.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use secure_sessions::{Session, SessionError};
    /// fn change_password(session: &Session) -> Result<(), SessionError> {
    ///     session.require_recent_auth(Duration::from_secs(5 * 60))?;
    ///     // ...
    ///     session.renew()
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::NotLoggedIn`] (401), or [`SessionError::AuthenticationTooOld`] (403): ask for the password, then
    /// call [`step_up`](Self::step_up). To redirect to the page that asks, match on these errors, or give the adapter
    /// an `on_error`.
    pub fn require_recent_auth(&self, max_age: Duration) -> Result<(), SessionError> {
        let state = self.state();
        state.subject().ok_or(SessionError::NotLoggedIn)?;
        let at = state.meta().authenticated_at;
        let age = at.map(|at| Duration::from(self.request().manager.now().since(at)));
        match age {
            Some(age) if age <= max_age => Ok(()),
            age => Err(SessionError::AuthenticationTooOld { age, max_age }),
        }
    }

    /// Refuses a subject whose assurance level is below `required`.
    ///
    /// # Errors
    ///
    /// [`SessionError::NotLoggedIn`] (401), or [`SessionError::AssuranceTooLow`] (403): ask for the second factor, then
    /// call [`step_up`](Self::step_up).
    pub fn require_assurance(&self, required: u8) -> Result<(), SessionError> {
        let state = self.state();
        state.subject().ok_or(SessionError::NotLoggedIn)?;
        match state.meta().assurance_level {
            Some(level) if level >= required => Ok(()),
            level => Err(SessionError::AssuranceTooLow { level, required }),
        }
    }
}
