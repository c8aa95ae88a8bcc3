//! The life of a session: remembering a user, deadlines, and long connections that keep their session alive.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use secure_sessions_core::{Millis, Timestamp};

use crate::error::SessionError;
use crate::request::upkeep;
use crate::session::Session;

impl Session {
    /// Keeps a session alive from a long connection (WebSocket, server-sent events), whose request does not last: asks
    /// the store, writes that the session is in use if that is due, and returns `true` if it is still alive.
    ///
    /// Unlike changes of the data it works after the response's headers are sent. Call it when the *user* does
    /// something, and [`is_live`](Self::is_live) to find out whether the session has ended: a connection that touches
    /// by a timer never lets its session time out.
    ///
    /// ```
    /// use secure_sessions::{Session, SessionError};
    ///
    /// /// Of each message that the user sends. Close the connection if it returns `false`.
    /// async fn received(session: &Session, message: &str) -> Result<bool, SessionError> {
    ///     if !session.touch().await? {
    ///         return Ok(false);
    ///     }
    ///     // ... handle the message
    ///     Ok(true)
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails.
    pub fn touch(&self) -> impl Future<Output = Result<bool, SessionError>> + Send + use<> {
        let request = Arc::clone(self.request());
        let live = self.state().live().map(|live| (live.bucket.id, live.arrival, live.newest.issued_at));
        async move {
            let Some((id, arrival, issued_at)) = live else { return Ok(false) };
            if request.manager.refuses_of(issued_at).await? {
                return Ok(false);
            }
            upkeep::touch_now(&request.manager, &id, &arrival).await
        }
    }

    /// Remembers the user for this long, even without a visit in between: "stay logged in". It makes the cookie
    /// [persistent](Self::set_persistent), and sets the absolute lifetime and the idle timeout of this session, both
    /// counted as by [`set_lifetime`](Self::set_lifetime) and [`set_idle_timeout`](Self::set_idle_timeout).
    ///
    /// Call it after [`login`](Self::login). Browsers keep a cookie for at most 400 days.
    ///
    /// ```
    /// use std::time::Duration;
    /// use secure_sessions::{Session, SessionError};
    ///
    /// fn log_in(session: &Session, user: &str, stay_logged_in: bool) -> Result<(), SessionError> {
    ///     session.login(user)?;
    ///     if stay_logged_in {
    ///         session.remember_for(Duration::from_secs(30 * 24 * 60 * 60))?;
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are already sent.
    #[doc(alias = "remember_me")]
    pub fn remember_for(&self, duration: Duration) -> Result<(), SessionError> {
        let mut state = self.changeable()?;
        let (settings, duration) = (&mut state.pending.settings, Some(Millis::from(duration)));
        (settings.persistent, settings.lifetime, settings.idle_timeout) = (Some(true), duration, duration);
        Ok(())
    }

    /// Returns the time at which the session ends if it is not used again; `None` if it has no idle timeout, or is not
    /// created yet. It is never later than [`expires_at`](Self::expires_at).
    ///
    /// The session may end a minute later, but never earlier: see [`Builder::idle_timeout`].
    ///
    /// [`Builder::idle_timeout`]: crate::Builder::idle_timeout
    #[must_use]
    pub fn idle_deadline(&self) -> Option<Timestamp> {
        let state = self.state();
        let live = state.kept()?;
        let idle = state.pending.settings.idle_timeout.or(live.bucket.idle_timeout)?;
        let arrived_at = Some(live.arrival.at).filter(|_| !state.caller.untouched);
        let seen_at = live.bucket.last_seen_at.max(arrived_at.unwrap_or_default());
        Some(seen_at.after(idle).min(live.bucket.expires_at))
    }

    /// Returns `true` if the session's cookie outlives the browser session.
    #[must_use]
    pub fn is_persistent(&self) -> bool {
        self.state().meta().persistent.unwrap_or(self.request().manager.persistent())
    }

    /// Returns `true` if this request has changes that are not committed yet. Inserting an equal value is no change.
    #[must_use]
    pub fn is_modified(&self) -> bool {
        !self.state().pending.is_empty()
    }
}
