//! The limit on the sessions of one subject.

/// The limit on the live sessions that one subject has at once.
///
/// # Bounds
///
/// 1. Once all logins under way have ended, a subject has at most the limit, however many of them ran in parallel. This
///    holds on every store whose `list` returns all that was written before it.
/// 2. While logins are under way, there may be one more session for each of them.
/// 3. One more may stay for each login whose process died, or whose store failed, after it wrote its session and before
///    it checked again. With `EvictOldest` the next login ends it; otherwise it counts until it ends.
/// 4. If a parallel login takes the last place, a login that was found to have room is refused after its session was
///    moved. The client's session from before the login is then gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SessionLimit {
    /// No limit.
    #[default]
    None,
    /// At most this many sessions: a login ends the sessions that were created first.
    EvictOldest(u32),
    /// At most this many sessions: a further login is refused with
    /// [`SessionError::TooManySessions`](crate::SessionError::TooManySessions) when it is committed. Call
    /// [`Session::save`](crate::Session::save) in the handler to get the error there, and
    /// [`discard`](crate::Session::discard) to respond without the login.
    Refuse(u32),
}

impl SessionLimit {
    /// Returns the largest number of sessions, or `None` if there is no limit.
    #[must_use]
    pub fn most(self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::EvictOldest(limit) | Self::Refuse(limit) => Some(limit),
        }
    }
}
