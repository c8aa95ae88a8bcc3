//! Tokens that prove that a request came from a page of its own session.

use getrandom::SysRng;
use secure_sessions_core::SessionId;

use crate::adapter::head::RequestHead;
use crate::error::SessionError;
use crate::event::Event;
use crate::session::{Session, current_id};
use crate::transport::Transport;

impl Session {
    /// A token that proves that a form came from a page of this session: put it into a hidden field, or where scripts
    /// find it for the [header](crate::SessionManager::csrf_header). It is masked anew each time, so that compression
    /// cannot leak it (BREACH), and needs no room in the cookie.
    ///
    /// It is good for as long as its session: renew, login and logout end it, a rotation does not. For a visitor who is not
    /// logged in a session is made, so that a login form is protected too.
    ///
    /// # Errors
    ///
    /// [`SessionError::Random`] if there is no randomness; [`SessionError::Finished`] if a session would have to be made
    /// and the response's headers are gone.
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

    /// Whether the text is a CSRF token of this session. Compared in constant time.
    #[must_use]
    pub fn is_csrf_token(&self, text: &str) -> bool {
        // The token came with the request, so it is of the session that the request came with.
        let id = self.session_id();
        id.is_some_and(|id| self.request().manager.sealer(Transport::Cookie).keyring().is_csrf_token_of(text, &id))
    }

    /// Refuses a request whose form field is no CSRF token of this session, and raises an [`Event::CsrfMismatch`].
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

    /// Refuses a request without a CSRF token of this session in the [header](crate::SessionManager::csrf_header). A page
    /// of another site cannot set such a header without asking first (a CORS preflight).
    ///
    /// # Errors
    ///
    /// [`SessionError::Csrf`]: status 403. Of several headers of this name none counts.
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
