//! What one request knows of its session.

use std::borrow::Cow;
use std::sync::Arc;
use std::thread::ThreadId;

use secure_sessions_core::{
    Admitted, Arrival, Bucket, CLOCK_TOLERANCE, DataMap, Fingerprint, Meta, Sealer, SessionId, Token,
};

use crate::error::SessionError;
use crate::manager::SessionManager;
use crate::request::caller::Caller;
use crate::request::ops::{Ending, Operation, Pending};

/// One request's session, behind its lock.
pub(crate) struct State {
    pub(crate) base: Base,
    /// The base's data with every operation of this request applied; `None`: as in the base.
    view: Option<DataMap>,
    pub(crate) pending: Pending,
    /// The id of the session that a commit will make.
    pub(crate) next_id: Option<SessionId>,
    /// Of a commit that failed without saying whether it was carried out.
    pub(crate) unresolved: Option<Box<Attempt>>,
    /// Counts the changes of the view.
    pub(crate) version: u64,
    /// Threads that run a closure of the application's on this session.
    pub(crate) closures: Vec<ThreadId>,
    /// The request came with a cookie of our name, or with a bearer token.
    pub(crate) presented: bool,
    /// The response removes it.
    pub(crate) remove_cookie: bool,
    pub(crate) caller: Caller,
    /// A logout was carried out, and its response is the browser's last of this session.
    pub(crate) ended_by_logout: bool,
    pub(crate) also: Also,
}

/// Sessions that the request presented besides the one that it is served as.
#[derive(Debug, Clone, Default)]
pub(crate) struct Also {
    /// Alive, and admitted: a login ends them, and so does a logout.
    pub(crate) admitted: Vec<Other>,
    /// Authentic tokens of sessions that nobody could judge: moved on within the last grace, or unreadable in the store. A
    /// logout ends them. A login does not, as the browser may be about to get the cookie of one.
    pub(crate) unjudged: Vec<Other>,
}

/// A session that a request presented and is not served as.
#[derive(Debug, Clone)]
pub(crate) struct Other {
    pub(crate) id: SessionId,
    pub(crate) subject: Option<String>,
}

impl From<&Admission> for Other {
    fn from(live: &Admission) -> Self {
        Self { id: live.bucket.id, subject: live.newest.meta.subject.clone() }
    }
}

/// Where a request stands.
#[derive(Clone)]
pub(crate) enum Base {
    Anonymous(Anonymous),
    Live(Arc<Admission>),
}

/// A request without a session.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Anonymous {
    /// Its cookie was of a session that is over.
    pub(crate) was_ended: bool,
    /// The browser may hold, or be about to get, a cookie that must not be replaced but by a login.
    pub(crate) only_login: bool,
}

/// A request whose token was admitted.
#[derive(Clone)]
pub(crate) struct Admission {
    pub(crate) bucket: Bucket,
    /// The newest token's content, as far as this request knows.
    pub(crate) newest: Admitted,
    /// Of the token that came with the request.
    pub(crate) arrival: Arrival,
    /// The newest token, if the client does not hold it.
    pub(crate) to_deliver: Option<Token>,
    /// The bucket's times were ahead of the clock: the next touch is due, and writes them as they are here.
    pub(crate) is_corrected: bool,
    /// The bucket was made by this request, so that nobody else can have moved on from its newest token.
    pub(crate) made_here: bool,
}

impl Admission {
    /// Takes what a bucket vouches for. A deadline further away than the session's whole lifetime was written by a clock
    /// that ran ahead, and is brought back.
    pub(crate) fn new(
        manager: &SessionManager,
        bucket: Bucket,
        newest: Admitted,
        arrival: Arrival,
        to_deliver: Option<Token>,
    ) -> Self {
        let mut live = Self { bucket, newest, arrival, to_deliver, is_corrected: false, made_here: false };
        let (_, lifetime) = manager.lifetimes(&live.newest.meta);
        let latest = arrival.at.after(lifetime);
        if live.bucket.expires_at > latest.after(CLOCK_TOLERANCE) {
            live.bucket.expires_at = latest;
            live.is_corrected = true;
        }
        live
    }
}

/// What a commit tried to write.
#[derive(Clone)]
pub(crate) struct Attempt {
    pub(crate) id: SessionId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) after: Arc<Admission>,
    /// How many of the pending changes were in it: all that were there.
    pub(crate) carried: Pending,
}

impl State {
    pub(crate) fn new(base: Base, presented: bool, remove_cookie: bool, caller: Caller) -> Self {
        Self {
            base,
            view: None,
            pending: Pending::default(),
            next_id: None,
            unresolved: None,
            version: 0,
            closures: Vec::new(),
            presented,
            remove_cookie,
            caller,
            ended_by_logout: false,
            also: Also::default(),
        }
    }

    pub(crate) fn live(&self) -> Option<&Admission> {
        match &self.base {
            Base::Live(live) => Some(live),
            Base::Anonymous(_) => None,
        }
    }

    /// What the pending operations make of the base's data, if there are any.
    pub(crate) fn view(&self) -> Option<&DataMap> {
        self.view.as_ref()
    }

    /// The session that the request came with, unless the request is ending it.
    pub(crate) fn kept(&self) -> Option<&Admission> {
        self.live().filter(|_| self.pending.ending.is_none())
    }

    /// The data as this request sees it; `None`: no data at all.
    pub(crate) fn data(&self) -> Option<&DataMap> {
        self.view.as_ref().or_else(|| {
            let keeps_data = self.pending.ending.as_ref().is_none_or(|ending| ending.keeps_data);
            self.live().filter(|_| keeps_data).map(|live| &live.newest.data)
        })
    }

    /// The engine's entries as this request sees them.
    pub(crate) fn meta(&self) -> Cow<'_, Meta> {
        let mut meta = match self.kept() {
            Some(live) => Cow::Borrowed(&live.newest.meta),
            None => Cow::Owned(Meta::default()),
        };
        if !self.pending.settings.is_empty() {
            self.pending.settings.apply(meta.to_mut());
        }
        self.caller.reserve(&mut meta);
        meta
    }

    pub(crate) fn subject(&self) -> Option<&str> {
        match &self.pending.settings.login {
            Some(login) => Some(&login.subject),
            None => self.kept().and_then(|live| live.newest.meta.subject.as_deref()),
        }
    }

    /// Refuses a change that could never be kept, or that comes from inside a closure given to `update`.
    pub(crate) fn check_changeable(&self) -> Result<(), SessionError> {
        if !self.closures.is_empty() && self.closures.contains(&std::thread::current().id()) {
            return Err(SessionError::ChangedInsideUpdate);
        }
        Ok(())
    }

    /// Logs an operation that leads to `data`, if that fits the cookie. Nothing is changed otherwise.
    pub(crate) fn change(&mut self, operation: Operation, data: DataMap, sealer: &Sealer) -> Result<(), SessionError> {
        sealer.check_size(&self.meta(), &data)?;
        self.pending.operations.push(operation);
        self.view = Some(data);
        self.version += 1;
        Ok(())
    }

    /// Forgets all changes but a logout.
    pub(crate) fn discard(&mut self) {
        self.pending.discard();
        self.next_id = None;
        self.view = None;
        self.version += 1;
    }

    /// Ends the session that the request came with, at commit; what follows in this request is of a new one.
    pub(crate) fn end(&mut self, ending: Ending) {
        if !ending.keeps_data {
            self.view = None;
        }
        self.pending.end(ending);
        self.next_id = None;
        self.version += 1;
    }

    /// After a commit: what this request now stands on, with what was changed since the commit began.
    pub(crate) fn rebase(&mut self, base: Base) -> Result<(), SessionError> {
        self.base = base;
        self.version += 1;
        if self.pending.operations.is_empty() {
            self.view = None;
            return Ok(());
        }
        // Without the view, which is of the state before.
        self.view = None;
        let data = self.data().cloned().unwrap_or_default();
        self.view = Some(self.pending.applied_to(&data)?);
        Ok(())
    }
}
