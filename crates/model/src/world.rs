//! The state of the world: a store, a jar, a thief's loot, requests under way.

use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use secure_sessions_core::Entry;

use crate::fault::Faults;
use crate::mint::Coin;
use crate::oracle::Oracle;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Reads the session.
    Read,
    /// Changes data.
    Write,
    /// Moves the session to a new bucket.
    Login,
    /// Ends the session.
    Logout,
}

/// Whose request it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Who {
    /// The user's.
    Browser,
    /// Somebody's who copied the browser's cookie.
    Thief,
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
    /// Refused under a tombstone; only a login may come of it.
    JustEnded,
    /// The response is on its way back.
    Answered {
        cookie: Answer,
        at: u16,
    },
    Done,
}

/// What a response does to the jar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Answer {
    Set(Coin),
    Remove,
}

/// What a request knows of its session.
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

/// What a store keeps, compared by its record.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    entry: Arc<Entry>,
    record: Arc<[u8]>,
}

impl Kept {
    pub(crate) fn new(entry: Entry) -> Self {
        Self { record: entry.to_record().into(), entry: Arc::new(entry) }
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
        self.record == other.record
    }
}

impl Eq for Kept {}

impl Hash for Kept {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.record.hash(state);
    }
}

pub(crate) type Store = BTreeMap<u8, Kept>;

/// Everything at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct World {
    pub(crate) now: u16,
    pub(crate) store: Store,
    /// What a standby has got of the store.
    pub(crate) standby: Option<Store>,
    pub(crate) jar: Option<Coin>,
    pub(crate) loot: Option<Coin>,
    pub(crate) requests: Vec<Request>,
    pub(crate) oracle: Oracle,
    pub(crate) faults: Faults,
    /// How many sessions there have been.
    pub(crate) sessions: u8,
    pub(crate) slept: bool,
    pub(crate) failed_over: bool,
    pub(crate) stolen: bool,
}

impl World {
    /// Whether a message is on its way that must arrive, or be lost, before time goes on.
    pub(crate) fn is_overdue(&self) -> bool {
        self.requests.iter().any(|request| match request.phase {
            Phase::Sent { at, .. } | Phase::Answered { at, .. } => at < self.now,
            _ => false,
        })
    }
}
