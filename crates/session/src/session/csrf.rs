//! CSRF tokens: they prove that a request came from a page of its own session.

use getrandom::SysRng;
use secure_sessions_core::SessionId;

use crate::adapter::head::RequestHead;
use crate::error::SessionError;
use crate::event::Event;
use crate::session::{Session, current_id};
use crate::transport::Transport;

/// The name of the form field that [`Session::csrf_field`] fills.
pub const CSRF_FIELD: &str = "csrf_token";

impl Session {
    /// Returns a token that proves that a form came from a page of this session. Put it into a hidden field, or where
    /// scripts find it for the [header](crate::SessionManager::csrf_header). It is masked anew each time, so that
    /// compression cannot leak it (BREACH), and takes no room in the cookie.
    ///
    /// The token is valid as long as its session: renew, login and logout end it, a rotation does not. If there is no
    /// session, this creates one, so that a login form is protected too. Where the request's session is refused but must keep
    /// its cookie, such as that of another client, none is created: the token is then valid for a client with the same cookies
    /// that is served no session.
    ///
    /// # Errors
    ///
    /// [`SessionError::Random`] if the system's randomness fails; [`SessionError::Finished`] if a session would have to
    /// be created and the response's headers are already sent.
    pub fn csrf_token(&self) -> Result<String, SessionError> {
        let (id, refused) = {
            let state = self.state();
            // A logout that ends some of them removes the cookie.
            let keeps_cookie = state.pending.ending.is_none() || state.also.is_empty();
            (current_id(&state), (state.is_refused() && keeps_cookie).then(|| state.unserved.clone()))
        };
        let sealer = self.request().manager.sealer(Transport::Cookie);
        let id = match (id, refused) {
            (Some(id), _) => id,
            // No session begins here before a login, and its form is to pass.
            (None, Some(refused)) => return Ok(sealer.keyring().csrf_token_of_refused(&refused, &mut SysRng)?),
            (None, None) => {
                let mut state = self.changeable()?;
                state.pending.keep = true;
                *state.next_id.insert(SessionId::random(&mut SysRng)?)
            }
        };
        Ok(sealer.keyring().csrf_token(&id, &mut SysRng)?)
    }

    /// Returns a hidden input with a [CSRF token](Self::csrf_token), to put into each form that posts back. The
    /// adapters' `CsrfForm` verifies it.
    ///
    /// It is HTML and needs no escaping: tell your templates not to escape it, by the filter `safe` for example.
    ///
    /// ```
    /// use secure_sessions::{Session, SessionError};
    ///
    /// fn page(session: &Session) -> Result<String, SessionError> {
    ///     let csrf = session.csrf_field()?;
    ///     Ok(format!("<form method='post'>{csrf}<input name='amount'><button>Pay</button></form>"))
    /// }
    /// # use secure_sessions::testing;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), SessionError> {
    /// # let (manager, _) = testing::manager();
    /// # testing::session(&manager).with(|session| {
    /// #     assert!(page(session)?.contains(r#"<input type="hidden" name="csrf_token" value=""#));
    /// #     Ok(())
    /// # }).cookie().await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The errors of [`csrf_token`](Self::csrf_token).
    pub fn csrf_field(&self) -> Result<String, SessionError> {
        // A token is base64url, which has no character that HTML treats in a special way.
        Ok(format!(r#"<input type="hidden" name="{CSRF_FIELD}" value="{}">"#, self.csrf_token()?))
    }

    /// Verifies the [field](Self::csrf_field) of an urlencoded form, and returns the form without it. For adapters.
    ///
    /// # Errors
    ///
    /// [`SessionError::Csrf`], status 403, if the field is missing, comes twice, or is no token of this session.
    pub fn verify_csrf_form(&self, form: &[u8]) -> Result<Vec<u8>, SessionError> {
        let mut rest = Vec::with_capacity(form.len());
        let mut values = Vec::new();
        for pair in form.split(|byte| *byte == b'&') {
            match pair.strip_prefix(CSRF_FIELD.as_bytes()).and_then(|value| value.strip_prefix(b"=")) {
                // Neither name nor token has a character that browsers encode.
                Some(value) => values.push(String::from_utf8_lossy(value)),
                None => {
                    if !rest.is_empty() {
                        rest.push(b'&');
                    }
                    rest.extend_from_slice(pair);
                }
            }
        }
        match values.as_slice() {
            [token] => self.verify_csrf_field(token)?,
            _ => self.verify_csrf_field("")?,
        }
        Ok(rest)
    }

    /// Returns `true` if `text` is a CSRF token of this session. The comparison takes constant time.
    #[must_use]
    pub fn is_csrf_token(&self, text: &str) -> bool {
        // The client made this request with the session that it presented, so a pending login must not count here.
        let sealer = self.request().manager.sealer(Transport::Cookie);
        match self.session_id() {
            Some(id) => sealer.keyring().is_csrf_token_of(text, &id),
            // The page may have come while the cookie was to be kept, which can be over by now.
            None => {
                let state = self.state();
                !state.unserved.is_empty() && sealer.keyring().is_csrf_token_of_refused(text, &state.unserved)
            }
        }
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
