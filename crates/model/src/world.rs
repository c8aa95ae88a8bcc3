//! The state of the world: a store, a jar, a thief's loot, requests under way.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use secure_sessions_core::Entry;
use secure_sessions_core::format::MAX_RETIRED;

use crate::fault::Faults;
use crate::mint::Coin;
use crate::oracle::Oracle;
use crate::subject::Subject;

/// The number of changes in a burst: with the token that they came with, two more than a bucket has room for.
#[expect(clippy::cast_possible_truncation, reason = "a small number")]
pub(crate) const BURST: u32 = MAX_RETIRED as u32 + 2;

/// The work of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Reads the session.
    Read,
    /// Changes data.
    Write,
    /// Stands for more changes at once than a bucket remembers. The response of any of them may come last.
    Burst,
    /// Moves the session to a new bucket.
    Renew,
    /// Logs the user in, in a new bucket.
    Login,
    /// Logs somebody else in, who gets nothing of what was there.
    LoginOther,
    /// Ends the session.
    Logout,
    /// Ends every session of its subject.
    LogoutEverywhere,
    /// Ends every session that came from the user's session at the identity provider. It is the provider's, and brings no cookie.
    ProviderLogout,
}

impl Kind {
    /// Returns `true` if its response brings the token of another bucket.
    pub(crate) fn moves(self) -> bool {
        matches!(self, Self::Renew | Self::Login | Self::LoginOther)
    }
}

/// Whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// The user's.
    Browser,
    /// Somebody's who copied the browser's cookie.
    Thief,
    /// The identity provider's.
    Provider,
}

/// One request, on its way through its life.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Request {
    pub(crate) who: Who,
    pub(crate) kind: Kind,
    pub(crate) phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    Planned,
    /// On its way to the host.
    Sent {
        cookie: Coin,
        at: u16,
    },
    /// Admitted; its handler is at work.
    Working(Box<Work>),
    /// Refused under a tombstone; only a login may come of it, and the end of the session that it moved to.
    JustEnded {
        moved: Option<u8>,
    },
    /// Ends every other session of the subject: those that it found, one step after it looked.
    Sweeping {
        from: u8,
        found: Vec<u8>,
        everywhere: Everywhere,
    },
    /// Ends the sessions of a group: those that it found, one step after it looked.
    EndingGroup {
        found: Vec<u8>,
        /// The number of sessions that there had been when it began. A login that comes later may stay.
        began: u8,
    },
    /// Ends a session, wherever it has moved to.
    Ending(Ending),
    /// The response is on its way back.
    Answered {
        cookie: Answer,
        at: u16,
    },
    Done,
}

/// An ending on its way from tombstone to tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Ending {
    /// The session that it began with.
    pub(crate) from: u8,
    /// The session that it looks at next.
    pub(crate) at: u8,
    pub(crate) why: Why,
}

/// The reason for the end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Why {
    Replay,
    Logout,
    LogoutEverywhere(Everywhere),
    /// Somebody else logs in.
    Replaced,
}

/// A logout of all sessions of a subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Everywhere {
    pub(crate) subject: Subject,
    /// The number of sessions that there had been when it began. A login that comes later may stay.
    pub(crate) began: u8,
    /// Set to `true` if there were others.
    pub(crate) others: bool,
}

/// The effect of a response on the jar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Set(Coin),
    Remove,
}

/// The knowledge of a request about its session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Work {
    /// The token that it came with, and when.
    pub(crate) presented: Coin,
    pub(crate) arrived: u16,
    /// The bucket as it was last loaded.
    pub(crate) loaded: Kept,
    /// The newest token at that time.
    pub(crate) newest: Coin,
    /// The browser does not hold the newest.
    pub(crate) owed: bool,
}

/// An entry of the store, compared by its record.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    entry: Arc<Entry>,
    record: Arc<[u8]>,
    /// The digest of the record, which is hashed once and not in every state that it is part of.
    digest: u64,
}

impl Kept {
    pub(crate) fn new(entry: Entry) -> Self {
        let record = entry.to_record();
        let mut hasher = DefaultHasher::new();
        record.hash(&mut hasher);
        Self { digest: hasher.finish(), record: record.into(), entry: Arc::new(entry) }
    }

    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    pub(crate) fn shared(&self) -> Arc<Entry> {
        Arc::clone(&self.entry)
    }
}

impl PartialEq for Kept {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest && self.record == other.record
    }
}

impl Eq for Kept {}

impl Hash for Kept {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.digest.hash(state);
    }
}

pub(crate) type Store = BTreeMap<u8, Kept>;

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub(crate) now: u16,
    pub(crate) store: Store,
    /// The copy of the store that a standby has got.
    pub(crate) standby: Option<Store>,
    pub(crate) jar: Option<Coin>,
    pub(crate) loot: Option<Coin>,
    pub(crate) requests: Vec<Request>,
    pub(crate) oracle: Oracle,
    pub(crate) faults: Faults,
    /// The number of sessions that there have been.
    pub(crate) sessions: u8,
    pub(crate) slept: bool,
    pub(crate) failed_over: bool,
    pub(crate) stolen: bool,
    /// Set to `true` if the browser missed the response to a renewal, or put an older session's token over it.
    pub(crate) missed: bool,
}

impl World {
    /// A response reaches the browser.
    pub(crate) fn deliver(&mut self, index: usize, cookie: Answer) {
        let delivered = match cookie {
            Answer::Set(coin) => Some(coin),
            Answer::Remove => None,
        };
        self.missed |= self.jar.zip(delivered).is_some_and(|(held, coin)| coin.session < held.session);
        self.jar = delivered;
        self.requests[index].phase = Phase::Done;
    }

    /// Returns `true` if a message is on its way that must arrive, or be lost, before time goes on.
    pub(crate) fn is_overdue(&self) -> bool {
        self.requests.iter().any(|request| match request.phase {
            Phase::Sent { at, .. } | Phase::Answered { at, .. } => at < self.now,
            _ => false,
        })
    }
}
