//! What one request knows of its session.

use std::borrow::Cow;
use std::sync::Arc;
use std::thread::ThreadId;

use secure_sessions_core::{Admitted, Arrival, Bucket, DataMap, Fingerprint, Meta, Sealer, SessionId, Token};

use crate::caller::Caller;
use crate::error::SessionError;
use crate::ops::{Mark, Operation, Pending};

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
}

/// Where a request stands.
#[derive(Clone)]
pub(crate) enum Base {
    Anonymous(Anonymous),
    Live(Arc<Live>),
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
pub(crate) struct Live {
    pub(crate) bucket: Bucket,
    /// The newest token's content, as far as this request knows.
    pub(crate) newest: Admitted,
    /// Of the token that came with the request.
    pub(crate) arrival: Arrival,
    /// The newest token, if the client does not hold it.
    pub(crate) owed: Option<Token>,
}

/// What a commit tried to write.
#[derive(Clone)]
pub(crate) struct Attempt {
    pub(crate) id: SessionId,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) after: Arc<Live>,
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
        }
    }

    pub(crate) fn live(&self) -> Option<&Live> {
        match &self.base {
            Base::Live(live) => Some(live),
            Base::Anonymous(_) => None,
        }
    }

    /// What the pending operations make of the base's data, if there are any.
    pub(crate) fn view(&self) -> Option<&DataMap> {
        self.view.as_ref()
    }

    /// The data as this request sees it; `None`: no data at all.
    pub(crate) fn data(&self) -> Option<&DataMap> {
        self.view.as_ref().or_else(|| self.live().map(|live| &live.newest.data))
    }

    /// The engine's entries as this request sees them.
    pub(crate) fn meta(&self) -> Cow<'_, Meta> {
        let mut meta = match self.live() {
            Some(live) if !self.is_logged_out() => Cow::Borrowed(&live.newest.meta),
            _ => Cow::Owned(Meta::default()),
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
            None if self.is_logged_out() => None,
            None => self.live().and_then(|live| live.newest.meta.subject.as_deref()),
        }
    }

    pub(crate) fn is_logged_out(&self) -> bool {
        self.pending.mark == Some(Mark::Logout)
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
        if !self.is_logged_out() {
            self.view = None;
        }
        self.version += 1;
    }

    /// Marks the session as ended by this request.
    pub(crate) fn log_out(&mut self) {
        // A login that follows begins without the data of whoever logged out.
        let operations = vec![Operation::Clear];
        self.pending = Pending { mark: Some(Mark::Logout), operations, ..Pending::default() };
        self.pending.settings.afresh = true;
        self.next_id = None;
        self.view = Some(DataMap::new());
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
        let mut data = self.live().map(|live| live.newest.data.clone()).unwrap_or_default();
        for operation in &self.pending.operations {
            operation.apply(&mut data)?;
        }
        self.view = Some(data);
        Ok(())
    }
}
