//! How many sessions a subject may have.

/// How many live sessions one subject may have at once.
///
/// # Bounds
///
/// 1. Once all logins under way have ended, a subject has at most the limit, however many of them ran in parallel: on
///    every store whose `list` shows what was written before it.
/// 2. While they are under way there may be one more for each of them.
/// 3. One more may stay for each login whose process died, or whose store failed, between writing its session and
///    looking again. The next login evicts it, where the oldest is evicted; else it counts until it ends.
/// 4. Where a parallel login takes the last place, one that was seen to have room is refused after its session was
///    moved: what the client had before logging in is gone then.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum SessionLimit {
    /// As many as they like.
    #[default]
    None,
    /// At most so many: a login ends those that were made first.
    EvictOldest(u32),
    /// At most so many: a further login is refused with [`SessionError::TooManySessions`](crate::SessionError::TooManySessions) when it is committed. Call
    /// [`Session::save`](crate::Session::save) in the handler to meet the error there, and
    /// [`discard`](crate::Session::discard) to answer without the login.
    Refuse(u32),
}

impl SessionLimit {
    /// The most sessions; `None`: any number.
    #[must_use]
    pub fn most(self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::EvictOldest(limit) | Self::Refuse(limit) => Some(limit),
        }
    }
}
