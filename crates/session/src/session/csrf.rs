//! CSRF tokens: they prove that a request came from a page of its own session.

use getrandom::SysRng;
use secure_sessions_core::SessionId;

use crate::adapter::head::RequestHead;
use crate::error::SessionError;
use crate::event::Event;
use crate::session::{Session, current_id};
use crate::transport::Transport;

impl Session {
    /// Returns a token that proves that a form came from a page of this session. Put it into a hidden field, or where
    /// scripts find it for the [header](crate::SessionManager::csrf_header). It is masked anew each time, so that
    /// compression cannot leak it (BREACH), and takes no room in the cookie.
    ///
    /// The token is valid as long as its session: renew, login and logout end it, a rotation does not. If there is no
    /// session, this creates one, so that a login form is protected too.
    ///
    /// # Errors
    ///
    /// [`SessionError::Random`] if the system's randomness fails; [`SessionError::Finished`] if a session would have to
    /// be created and the response's headers are already sent.
    pub fn csrf_token(&self) -> Result<String, SessionError> {
        let id = {
            let state = self.state();
            current_id(&state)
        };
        let id = match id {
            Some(id) => id,
            None => {
                let mut state = self.changeable()?;
                state.pending.keep = true;
                *state.next_id.insert(SessionId::random(&mut SysRng)?)
            }
        };
        Ok(self.request().manager.sealer(Transport::Cookie).keyring().csrf_token(&id, &mut SysRng)?)
    }

    /// Returns `true` if `text` is a CSRF token of this session. The comparison takes constant time.
    #[must_use]
    pub fn is_csrf_token(&self, text: &str) -> bool {
        // The client made this request with the session that it presented, so a pending login must not count here.
        let id = self.session_id();
        id.is_some_and(|id| self.request().manager.sealer(Transport::Cookie).keyring().is_csrf_token_of(text, &id))
    }

    /// Refuses a request whose form field is not a CSRF token of this session, and raises an [`Event::CsrfMismatch`].
    ///
    /// # Errors
    ///
    /// [`SessionError::Csrf`]: status 403.
    pub fn verify_csrf_field(&self, field: &str) -> Result<(), SessionError> {
        if self.is_csrf_token(field) {
            return Ok(());
        }
        let manager = &self.request().manager;
        manager.emit(&Event::CsrfMismatch { session: self.session_id().map(|id| manager.handle(&id)) });
        Err(SessionError::Csrf)
    }

    /// Refuses a request without a CSRF token of this session in the [header](crate::SessionManager::csrf_header). A
    /// page of another site cannot set such a header without asking first (a CORS preflight).
    ///
    /// # Errors
    ///
    /// [`SessionError::Csrf`]: status 403, also if the header comes more than once.
    pub fn verify_csrf(&self, head: &dyn RequestHead) -> Result<(), SessionError> {
        let mut values = Vec::new();
        head.for_each_value(self.request().manager.csrf_header(), &mut |value| {
            values.push(String::from_utf8_lossy(value).into_owned());
        });
        match values.as_slice() {
            [token] => self.verify_csrf_field(token),
            _ => self.verify_csrf_field(""),
        }
    }
}
