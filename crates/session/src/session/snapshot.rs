//! A session's data as it was at one moment.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use secure_sessions_core::DataMap;

use crate::request::state::{Admission, Base};
use crate::session::Session;

/// A session's data as it was when [`Session::snapshot`] was called. Later changes do not show in it.
#[derive(Clone)]
pub struct Snapshot(Taken);

#[derive(Clone)]
enum Taken {
    /// The data that the session's token holds, which all of the request's parts share.
    Shared(Arc<Admission>),
    Copied(DataMap),
}

impl Session {
    /// Returns the data as this request sees it now. It copies the data only if the request has changed it.
    ///
    /// ```
    /// use secure_sessions::{Session, SessionError};
    ///
    /// /// Returns `true` if `work` has changed anything.
    /// fn changes(session: &Session, work: impl FnOnce(&Session) -> Result<(), SessionError>) -> Result<bool, SessionError> {
    ///     let before = session.snapshot();
    ///     work(session)?;
    ///     Ok(*before != *session.snapshot())
    /// }
    /// # use secure_sessions::testing;
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), SessionError> {
    /// # let (manager, _) = testing::manager();
    /// # testing::session(&manager).with(|session| {
    /// #     assert!(changes(session, |session| session.insert("n", 1))?);
    /// #     assert!(!changes(session, |session| session.insert("n", 1))?);
    /// #     Ok(())
    /// # }).cookie().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let state = self.state();
        Snapshot(match (&state.base, state.data()) {
            // Without a view of its own, the request sees the data of the session that it stands on.
            (Base::Live(live), Some(_)) if state.view().is_none() => Taken::Shared(Arc::clone(live)),
            (_, data) => Taken::Copied(data.cloned().unwrap_or_default()),
        })
    }
}

impl Deref for Snapshot {
    type Target = DataMap;

    fn deref(&self) -> &DataMap {
        match &self.0 {
            Taken::Shared(live) => &live.newest.data,
            Taken::Copied(data) => data,
        }
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Snapshot").field(&**self).finish()
    }
}
