//! Values that are read exactly once, even by parallel requests.

use std::sync::Arc;

use secure_sessions_core::decode;
use serde::de::DeserializeOwned;

use crate::error::SessionError;
use crate::request::once::TakeOnce;
use crate::request::ops::Operation;
use crate::session::Session;

impl Session {
    /// Removes `key`, commits, and returns the value only if this commit removed it. Of all requests that take one
    /// value, at whatever host, one gets it. Use it for the state and the PKCE verifier of an OAuth login, the
    /// challenge of a passkey, a one-time link.
    ///
    /// 1. It commits all changes that this request made so far, as [`save`](Self::save) does: the value is spent even
    ///    if the handler fails afterwards. Call it before [`login`](Self::login).
    /// 2. If `key` is absent, it returns `None` and commits nothing.
    /// 3. After a store's error it is not known whether the value was removed. A second call in the same request finds
    ///    out: it returns the value if the first call removed it, and tries again otherwise.
    ///
    /// ```
    /// use secure_sessions::{Session, SessionError};
    ///
    /// /// Of the route that the identity provider redirects to.
    /// async fn is_ours(session: &Session, state: &str) -> Result<bool, SessionError> {
    ///     let expected = session.take_once::<String>("oauth_state").await?;
    ///     Ok(expected.is_some_and(|expected| expected == state))
    /// }
    /// # use secure_sessions::testing;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), SessionError> {
    /// # let (manager, _) = testing::manager();
    /// # let cookie = testing::session(&manager).insert("oauth_state", "xyz").cookie().await?;
    /// # let request = manager.begin();
    /// # struct Head(String);
    /// # impl secure_sessions::RequestHead for Head {
    /// #     fn for_each_value(&self, name: &'static str, visit: &mut dyn FnMut(&[u8])) {
    /// #         if name == "cookie" { visit(self.0.as_bytes()) }
    /// #     }
    /// #     fn method(&self) -> &str { "GET" }
    /// # }
    /// # let session = request.session(&Head(cookie)).await?;
    /// # assert!(is_ours(&session, "xyz").await?);
    /// # assert!(!is_ours(&session, "xyz").await?);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`SessionError::Data`] if the value is of another type: it stays. [`SessionError::InVault`] if it is in the vault: it
    /// stays there too. Otherwise the errors of [`save`](Self::save):
    /// with [`SessionError::Ended`], another request may have taken the value and logged in with it.
    pub async fn take_once<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, SessionError> {
        let Some(taken) = self.log_take_once::<T>(key)? else { return Ok(None) };
        self.save().await?;
        // Taken out of the cell, so that two calls of one request do not both return it.
        Ok(taken.take().map(|value| decode(&value)).transpose()?)
    }

    /// Logs the removal. Returns `None` if there is nothing to remove.
    fn log_take_once<T: DeserializeOwned>(&self, key: &str) -> Result<Option<Arc<TakeOnce>>, SessionError> {
        let mut state = self.changeable()?;
        Self::refuse_private(&state, key)?;
        let mut data = state.data().cloned().unwrap_or_default();
        let take = Arc::new(TakeOnce::new(key, |value| decode::<T>(value).is_ok()));
        if take.apply(&mut data) {
            let sealer = self.sealer(&state);
            state.change(Operation::TakeOnce(Arc::clone(&take)), data, &sealer)?;
            return Ok(Some(take));
        }
        if let Some(value) = data.get_encoded(key) {
            decode::<T>(value)?; // Of another type: this returns the error.
        }
        // An earlier call whose commit failed is still pending.
        Ok(state.pending.takes().find(|take| take.key() == key).map(Arc::clone))
    }
}
