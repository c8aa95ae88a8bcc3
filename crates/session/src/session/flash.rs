//! Flash messages: short texts for the next page, removed once they are read.

use secure_sessions_core::format::MAX_FLASH_LEN;

use crate::error::SessionError;
use crate::request::messages::{Flash, FlashChanges, FlashLevel, waiting};
use crate::session::Session;

impl Session {
    /// Adds a message for the next page that takes the messages, often after a redirect. The message survives renew and
    /// login, and ends with the session. If you add one after [`logout`](Self::logout), in the same request, it begins
    /// a new session: "You have been logged out."
    ///
    /// At most [`MAX_FLASHES`](crate::MAX_FLASHES) messages wait; the oldest beyond that are dropped. If there is no
    /// session, a message creates one.
    ///
    /// ```
    /// use secure_sessions::{FlashLevel, testing};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), secure_sessions::SessionError> {
    /// let (manager, _) = testing::manager();
    /// let begun = testing::session(&manager).with(|session| session.flash(FlashLevel::Success, "Saved."));
    /// # assert!(begun.cookie().await?.starts_with("session="));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Flash`] if the text is longer than [`MAX_FLASH_LEN`] bytes, [`SessionError::TooLarge`] if the
    /// session would outgrow its cookie, [`SessionError::Finished`] if the response's headers are already sent. Nothing
    /// is changed then.
    pub fn flash(&self, level: FlashLevel, text: impl Into<String>) -> Result<(), SessionError> {
        let text = text.into();
        if text.len() > MAX_FLASH_LEN {
            return Err(SessionError::Flash { length: text.len() });
        }
        self.change_flashes(|changes, _| changes.added.push(Flash { level, text }))
    }

    /// Removes the waiting messages, those of this request included, and returns them. They stay if the response's
    /// status discards changes.
    ///
    /// Each message is read once, except that two parallel requests may both get it. If none waits, nothing is changed.
    ///
    /// The messages are returned but stay if nobody sees the page: for the method `HEAD`, and if the browser only
    /// prefetches the page (`Sec-Purpose: prefetch`).
    ///
    /// # Errors
    ///
    /// [`SessionError::Finished`] if the response's headers are already sent.
    pub fn take_flashes(&self) -> Result<Vec<Flash>, SessionError> {
        if self.state().caller.is_unseen {
            drop(self.changeable()?);
            return Ok(self.flashes());
        }
        self.change_flashes(|changes, waiting| {
            changes.take(&waiting);
            waiting
        })
    }

    /// Returns the waiting messages, those of this request included. They stay until
    /// [`take_flashes`](Self::take_flashes) removes them.
    ///
    /// ```
    /// use secure_sessions::{FlashLevel, Session};
    ///
    /// fn has_failed(session: &Session) -> bool {
    ///     session.flashes().iter().any(|flash| flash.level == FlashLevel::Error)
    /// }
    /// ```
    #[must_use]
    pub fn flashes(&self) -> Vec<Flash> {
        waiting(&self.state().meta())
    }

    fn change_flashes<R>(&self, change: impl FnOnce(&mut FlashChanges, Vec<Flash>) -> R) -> Result<R, SessionError> {
        let mut state = self.changeable()?;
        let waiting = waiting(&state.meta());
        let before = state.pending.settings.flash.clone();
        let result = change(&mut state.pending.settings.flash, waiting);
        let data = state.data().cloned().unwrap_or_default();
        if let Err(error) = self.sealer(&state).check_size(&state.meta(), &data) {
            state.pending.settings.flash = before;
            return Err(error.into());
        }
        Ok(result)
    }
}
