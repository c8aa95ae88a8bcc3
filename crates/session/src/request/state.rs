//! The state of one request: the session that it stands on, and its pending changes.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::ThreadId;

use secure_sessions_core::{
    Admitted, Arrival, Bucket, CLOCK_TOLERANCE, DataMap, Fingerprint, Meta, References, Sealer, SessionId, Token,
    Tombstone, VaultId,
};

use crate::error::SessionError;
use crate::manager::SessionManager;
use crate::request::caller::Caller;
use crate::request::device::Standing;
use crate::request::ending::Owns;
use crate::request::ops::{Ending, Operation, Pending};

/// One request's session and pending changes, kept behind the request's lock.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) base: Base,
    /// The base's data with every operation of this request applied; `None` if it equals the base's data.
    view: Option<DataMap>,
    pub(crate) pending: Pending,
    /// The id of the session that the next commit creates.
    pub(crate) next_id: Option<SessionId>,
    /// The write of a failed commit that the store may have carried out all the same.
    pub(crate) unresolved: Option<Box<Attempt>>,
    /// The number of changes of the view, which tells a closure's runner that another thread was faster.
    pub(crate) version: u64,
    /// The threads that currently run a closure of the application on this session.
    pub(crate) closures: Vec<ThreadId>,
    /// `true` if the request came with a cookie of our name, or with a bearer token.
    pub(crate) presented: bool,
    /// If the request is served no session, those that it presented tokens of, in ascending order.
    pub(crate) unserved: Vec<SessionId>,
    /// `true` if the response removes that cookie or token.
    pub(crate) remove_cookie: bool,
    pub(crate) caller: Caller,
    /// `true` once a logout is committed: the response may then clear the browser's site data.
    pub(crate) ended_by_logout: bool,
    pub(crate) also: Also,
    /// The relation of the request to the device of the session that it presented.
    pub(crate) device: Standing,
    /// `true` if the response takes the ticket away, so that the browser proves its device anew.
    pub(crate) remove_ticket: bool,
    /// `true` once a login is committed: the response may then offer to bind the session to a device.
    pub(crate) logged_in: bool,
}

/// The sessions that the request presented, except the one that it is served as.
#[derive(Debug, Clone, Default)]
pub(crate) struct Also {
    /// The live, admitted sessions: a login ends them, and so does a logout.
    pub(crate) admitted: Vec<Other>,
    /// The sessions with an authentic token but no verdict: renewed within the last grace, unreadable in the store, or
    /// bound to a device that the request does not prove. A logout ends them. A login does not, because the browser may
    /// be about to get the cookie of one.
    pub(crate) unjudged: Vec<Other>,
    /// The sessions that are over by this host's clock. A logout ends them, because they may be alive by that of another.
    pub(crate) expired: Vec<Other>,
}

impl Also {
    pub(crate) fn ids(&self) -> impl Iterator<Item = SessionId> {
        [&self.admitted, &self.unjudged, &self.expired].into_iter().flatten().map(|other| other.id)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ids().next().is_none()
    }
}

/// A session that the request presented, but is not served as.
#[derive(Debug, Clone)]
pub(crate) struct Other {
    pub(crate) id: SessionId,
    pub(crate) subject: Option<String>,
    pub(crate) vault: Owns,
}

impl From<&Admission> for Other {
    fn from(live: &Admission) -> Self {
        // Another request may have given it a vault since it was loaded, under the name that it was to have.
        let vault = Owns::Known(Some(live.vault()));
        Self { id: live.bucket.id, subject: live.newest.meta.subject.clone(), vault }
    }
}

/// The session that a request stands on, or its absence.
#[derive(Clone)]
pub(crate) enum Base {
    Anonymous(Anonymous),
    Live(Arc<Admission>),
}

impl Default for Base {
    fn default() -> Self {
        Self::Anonymous(Anonymous::default())
    }
}

/// The state of a request without a session.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Anonymous {
    /// `true` if the request came with the cookie of a session that is over.
    pub(crate) was_ended: bool,
    /// `true` if the browser may hold, or be about to get, a cookie that only a login may replace.
    pub(crate) only_login: bool,
}

/// The session of a request whose token was admitted.
#[derive(Clone)]
pub(crate) struct Admission {
    pub(crate) bucket: Bucket,
    /// The content of the newest token that this request knows of.
    pub(crate) newest: Admitted,
    /// The generation and time with which the request's own token arrived.
    pub(crate) arrival: Arrival,
    /// The newest token, if the client does not hold it.
    pub(crate) to_deliver: Option<Token>,
    /// `true` if the bucket's times were ahead of the clock: a touch is then due, and writes the corrected ones.
    pub(crate) is_corrected: bool,
    /// `true` if this request created the bucket: no other client can have moved on from its newest token.
    pub(crate) made_here: bool,
    /// `true` if the request was under way when its session was bound to a device: it cannot bring a ticket yet.
    pub(crate) came_unbound: bool,
}

impl Admission {
    /// Returns the name of the session's vault, which it has even before there is anything in it.
    pub(crate) fn vault(&self) -> VaultId {
        self.bucket.vault.unwrap_or_else(|| VaultId::of(&self.newest.handoff_key))
    }

    /// Admits a session. A deadline further away than the session's whole lifetime was written by a clock that ran
    /// ahead, so it is corrected.
    pub(crate) fn new(
        manager: &SessionManager,
        bucket: Bucket,
        newest: Admitted,
        arrival: Arrival,
        to_deliver: Option<Token>,
    ) -> Self {
        let mut live =
            Self { bucket, newest, arrival, to_deliver, is_corrected: false, made_here: false, came_unbound: false };
        let (_, lifetime) = manager.lifetimes(&live.newest.meta);
        let latest = arrival.at.after(lifetime);
        if live.bucket.expires_at > latest.after(CLOCK_TOLERANCE) {
            live.bucket.expires_at = latest;
            live.is_corrected = true;
        }
        live
    }
}

/// A write whose outcome is unknown because the store failed.
#[derive(Clone)]
pub(crate) struct Attempt {
    pub(crate) id: SessionId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) after: Arc<Admission>,
    /// The tombstone that the write was to leave of the session before, if it was a renewal.
    pub(crate) tombstone: Option<Tombstone>,
    /// The changes that the write contained: all that were pending.
    pub(crate) carried: Pending,
}

impl State {
    /// Returns the state of a request that has changed nothing yet. It is large, so it is made in the place where it stays.
    pub(crate) fn boxed(base: Base, presented: bool, remove_cookie: bool, caller: Caller) -> Box<Mutex<Self>> {
        let mut boxed = Box::<Mutex<Self>>::default();
        let state = boxed.get_mut().unwrap_or_else(PoisonError::into_inner);
        (state.base, state.presented, state.remove_cookie, state.caller) = (base, presented, remove_cookie, caller);
        boxed
    }

    pub(crate) fn live(&self) -> Option<&Admission> {
        match &self.base {
            Base::Live(live) => Some(live),
            Base::Anonymous(_) => None,
        }
    }

    /// Returns `true` if the request is served no session although it presented some, and only a login can begin another one.
    pub(crate) fn is_refused(&self) -> bool {
        matches!(&self.base, Base::Anonymous(anonymous) if anonymous.only_login) && !self.unserved.is_empty()
    }

    /// Returns the base's data with the pending operations applied, if there are any.
    pub(crate) fn view(&self) -> Option<&DataMap> {
        self.view.as_ref()
    }

    /// Returns the session that the request came with, unless the request is ending it.
    pub(crate) fn kept(&self) -> Option<&Admission> {
        self.live().filter(|_| self.pending.ending.is_none())
    }

    /// Returns the data as this request sees it, or `None` if there is none at all.
    pub(crate) fn data(&self) -> Option<&DataMap> {
        self.view.as_ref().or_else(|| self.data_source().map(|live| &live.newest.data))
    }

    /// Returns the references to the vault as this request sees them.
    pub(crate) fn references(&self) -> Cow<'_, References> {
        let base = match self.data_source() {
            Some(live) => Cow::Borrowed(&live.newest.meta.vault),
            None => Cow::Owned(References::default()),
        };
        // Each operation was applied when it was logged. On the base of another commit it may exceed a limit, which the
        // next commit reports.
        self.pending.applied_to_vault(base.clone()).unwrap_or(base)
    }

    /// Returns the session whose data this request goes on from. After a plain logout it must not read on in the ended
    /// session's data.
    pub(crate) fn data_source(&self) -> Option<&Arc<Admission>> {
        match &self.base {
            Base::Live(live) if self.pending.ending.as_ref().is_none_or(|ending| ending.keeps_data) => Some(live),
            _ => None,
        }
    }

    /// Returns the engine's own entries as this request sees them.
    pub(crate) fn meta(&self) -> Cow<'_, Meta> {
        let mut meta = match self.kept() {
            Some(live) => Cow::Borrowed(&live.newest.meta),
            None => Cow::Owned(Meta::default()),
        };
        if !self.pending.settings.is_empty() {
            self.pending.settings.apply(meta.to_mut());
        }
        if !self.pending.operations.is_empty() || self.pending.ending.is_some() {
            let references = self.references();
            if *references != meta.vault {
                meta.to_mut().vault = references.into_owned();
            }
        }
        // The size check must count a binding now: the commit adds it only when it seals the token.
        self.caller.reserve(&mut meta);
        meta
    }

    pub(crate) fn subject(&self) -> Option<&str> {
        match &self.pending.settings.login {
            // A pending login counts at once, so that the handler sees the subject that it logged in.
            Some(login) => Some(&login.subject),
            None => self.kept().and_then(|live| live.newest.meta.subject.as_deref()),
        }
    }

    /// Refuses a change from inside a closure given to `update`: a retry would run it, and log it, again.
    pub(crate) fn check_changeable(&self) -> Result<(), SessionError> {
        if !self.closures.is_empty() && self.closures.contains(&std::thread::current().id()) {
            return Err(SessionError::ChangedInsideUpdate);
        }
        Ok(())
    }

    /// Logs an operation that results in `data`, if that fits the cookie. Otherwise nothing is changed.
    pub(crate) fn change(&mut self, operation: Operation, data: DataMap, sealer: &Sealer) -> Result<(), SessionError> {
        self.pending.operations.push(operation);
        if let Err(error) = self.check_fits(&data, sealer) {
            self.pending.operations.pop();
            return Err(error);
        }
        self.view = Some(data);
        self.version += 1;
        Ok(())
    }

    fn check_fits(&self, data: &DataMap, sealer: &Sealer) -> Result<(), SessionError> {
        let references = self.data_source().map_or_else(Cow::default, |live| Cow::Borrowed(&live.newest.meta.vault));
        self.pending.applied_to_vault(references)?;
        Ok(sealer.check_size(&self.meta(), data)?)
    }

    /// Discards all changes except a logout.
    pub(crate) fn discard(&mut self) {
        self.pending.discard();
        self.next_id = None;
        self.view = None;
        self.version += 1;
    }

    /// Ends the session that the request came with, at commit; later changes of this request belong to a new session.
    pub(crate) fn end(&mut self, ending: Ending) {
        if !ending.keeps_data {
            self.view = None;
        }
        self.pending.end(ending);
        self.next_id = None;
        self.version += 1;
    }

    /// Puts the request on a committed base, and applies to it the changes made since the commit began.
    pub(crate) fn rebase(&mut self, base: Base) -> Result<(), SessionError> {
        self.base = base;
        self.version += 1;
        if self.pending.operations.is_empty() {
            self.view = None;
            return Ok(());
        }
        // Cleared first: `data()` prefers the view, and this one belongs to the base before.
        self.view = None;
        let data = self.data().cloned().unwrap_or_default();
        self.view = Some(self.pending.applied_to(&data)?);
        Ok(())
    }
}
