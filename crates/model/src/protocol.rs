//! A model: which requests there are, and what may happen to them.

use std::sync::atomic::{AtomicU64, Ordering};

use secure_sessions_core::Verdict;

use crate::memo::Memo;
use crate::mint::{Coin, Mint, read};
use crate::planted::Planted;
use crate::subject::Subject;
use crate::world::{Kept, Kind, Work};

/// A set of requests, and what may happen to them.
pub struct Protocol {
    /// The browser's requests, which it sends in any order and at any time.
    pub(crate) browser: Vec<Kind>,
    /// The thief's, who may copy the jar once.
    pub(crate) thief: Vec<Kind>,
    /// Set to `true` if the identity provider ends its session of the user, once.
    pub(crate) provider: bool,
    /// The subject that the first session belongs to.
    pub(crate) first: Subject,
    /// The most half graces that pass.
    pub(crate) ticks: u16,
    /// Set to `true` if requests and responses get lost.
    pub(crate) loses: bool,
    /// Set to `true` if the store may fall back, once, to the entries that a standby has got.
    pub(crate) fails_over: bool,
    /// Set to `true` if everybody may sleep, once, for longer than a session lives, and the purge runs.
    pub(crate) sleeps: bool,
    /// The rule that is broken on purpose.
    pub(crate) planted: Option<Planted>,
    pub(crate) mint: Mint,
    /// The result of each change of each bucket: a function of the two.
    pub(crate) changed: Memo<(Work, usize, u16), (Kept, Coin)>,
    /// The judgement of each token at each bucket.
    pub(crate) judged: Memo<(Kept, Coin, u16), Known>,
    /// The token that each bucket's handoff leads to.
    pub(crate) followed: Memo<(Kept, u16), Option<Coin>>,
    tally: [AtomicU64; Seen::COUNT],
}

/// The events that must happen somewhere in the histories; without them these would show nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// A superseded token was led to the newest.
    Handoff,
    /// Somebody else's write came first.
    Conflict,
    /// A dead token was presented.
    Replay,
    /// A token was presented that the store had forgotten.
    Unremembered,
    /// A session was presented after its time.
    Expired,
    /// The purge removed a session.
    Purged,
    /// An ending came upon a session that had been renewed.
    Followed,
    /// A token from before a renewal was presented too late.
    MovedOn,
    /// A token was presented that had been pushed out of the list.
    CrowdedOut,
}

impl Seen {
    const COUNT: usize = 9;
}

impl Protocol {
    /// Requests of an honest browser, with loss.
    #[must_use]
    pub fn of(browser: &[Kind], ticks: u16) -> Self {
        Self {
            browser: browser.to_vec(),
            thief: Vec::new(),
            provider: false,
            first: Subject::Nobody,
            ticks,
            loses: true,
            fails_over: false,
            sleeps: false,
            planted: None,
            mint: Mint::new(),
            changed: Memo::default(),
            judged: Memo::default(),
            followed: Memo::default(),
            tally: Default::default(),
        }
    }

    /// The user is logged in from the beginning.
    #[must_use]
    pub fn signed_in(self) -> Self {
        Self { first: Subject::User, ..self }
    }

    /// A thief takes part, who may copy the jar once. Then nothing gets lost: that is another model's matter.
    #[must_use]
    pub fn with_thief(self, thief: &[Kind]) -> Self {
        Self { thief: thief.to_vec(), loses: false, ..self }
    }

    /// The identity provider that the user's logins come from ends its session, once.
    #[must_use]
    pub fn with_provider_logout(self) -> Self {
        Self { provider: true, ..self }
    }

    /// The store may fall back, once, to what a standby has got.
    #[must_use]
    pub fn with_failover(self) -> Self {
        Self { fails_over: true, ..self }
    }

    /// Everybody may sleep, once, for longer than a session lives, and the purge runs.
    #[must_use]
    pub fn with_sleep(self) -> Self {
        Self { sleeps: true, ..self }
    }

    /// The host breaks a rule.
    #[must_use]
    pub fn breaking(self, rule: Planted) -> Self {
        Self { planted: Some(rule), ..self }
    }

    /// Returns the number of times that something was seen. (Histories that meet in one state count once.)
    pub fn seen(&self, what: Seen) -> u64 {
        self.tally[what as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn saw(&self, what: Seen) {
        self.tally[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn breaks(&self, rule: Planted) -> bool {
        self.planted == Some(rule)
    }

    pub(crate) fn planted(&self) -> Option<Planted> {
        self.planted
    }
}

/// The core's verdict, with nothing of the token but what the model knows it by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Known {
    Current(Coin),
    Superseded,
    Expired,
    Replayed,
    Evicted,
    Unremembered,
}

impl Known {
    pub(crate) fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Current(admitted) => Self::Current(read(admitted)),
            Verdict::Superseded(_) => Self::Superseded,
            Verdict::Expired => Self::Expired,
            Verdict::Replayed => Self::Replayed,
            Verdict::Evicted => Self::Evicted,
            Verdict::Unremembered => Self::Unremembered,
            other => panic!("{other:?}: nobody writes to this store but the host"),
        }
    }
}
