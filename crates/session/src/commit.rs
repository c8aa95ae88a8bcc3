//! The commit: apply to the newest state, seal, compare-and-swap; on a conflict, again.

use std::sync::Arc;
use std::time::Duration;

use secure_sessions_core::{Bucket, DataMap, HandoffError, Meta, SessionId, Timestamp, Tombstone};
use secure_sessions_store::{Entry, SessionStore, StoreError};
use tokio::time::Instant;

use crate::caller::Caller;
use crate::ending;
use crate::entropy::Entropy;
use crate::error::SessionError;
use crate::event::{EndReason, Event, RotationReason};
use crate::limit::Place;
use crate::manager::SessionManager;
use crate::ops::{Ending, Mark, Pending, Why};
use crate::remember::Sealing;
use crate::request::Request;
use crate::state::{Also, Anonymous, Attempt, Base, Live, Other};

mod tokens;

/// How long a commit that meets others tries again.
const RETRY_FOR: Duration = Duration::from_secs(5);

/// Who asks for the commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// The application, before the response.
    Save,
    /// The end of the request: upkeep is done too, and the client gets the newest token.
    Finish,
}

/// Commits what the request changed. On an error everything stays pending.
pub(crate) async fn commit(request: &Arc<Request>, when: When) -> Result<(), SessionError> {
    let _gate = request.gate.lock().await;
    let Some((mut work, base)) = Work::begin(request, when) else { return Ok(()) };
    let outcome = work.run(base).await;
    let Work { pending, unresolved, removes_cookie, also, reached, .. } = work;

    let Some(mut state) = request.loaded_state() else { return Ok(()) };
    state.unresolved = unresolved;
    state.also = also;
    state.remove_cookie |= removes_cookie;
    state.ended_by_logout |= removes_cookie;
    match outcome {
        Ok(base) => {
            state.next_id = None;
            state.rebase(base)
        }
        Err(error) => {
            // What was carried out stays so, though what was to follow it failed.
            if let Some(base) = reached {
                state.base = base;
            }
            state.pending.restore(pending);
            Err(error)
        }
    }
}

struct Work<'r> {
    manager: &'r SessionManager,
    sealer: Arc<Sealing>,
    request: &'r Arc<Request>,
    when: When,
    pending: Pending,
    caller: Caller,
    next_id: Option<SessionId>,
    unresolved: Option<Box<Attempt>>,
    presented: bool,
    removes_cookie: bool,
    also: Also,
    /// Where the request stands after an ending, or after an earlier try, whatever becomes of the rest.
    reached: Option<Base>,
    /// What the pending operations make of the base that the commit began with; of no other.
    view: Option<DataMap>,
    entropy: Entropy,
    deadline: Instant,
    attempts: u32,
}

impl<'r> Work<'r> {
    /// Takes what is pending out of the request.
    fn begin(request: &'r Arc<Request>, when: When) -> Option<(Self, Base)> {
        let mut state = request.loaded_state()?;
        let work = Self {
            manager: &request.manager,
            sealer: request.manager.sealer_owned(state.caller.transport),
            request,
            when,
            caller: state.caller.clone(),
            next_id: state.next_id,
            unresolved: state.unresolved.take(),
            pending: state.pending.take(),
            presented: state.presented,
            removes_cookie: false,
            also: std::mem::take(&mut state.also),
            reached: None,
            view: state.view().cloned(),
            entropy: Entropy::default(),
            deadline: Instant::now() + RETRY_FOR,
            attempts: 0,
        };
        Some((work, state.base.clone()))
    }

    async fn run(&mut self, base: Base) -> Result<Base, SessionError> {
        let base = self.resolve(base).await?;
        self.replace_other(&base);
        let others_ended = self.end_others(&base).await?;
        match (base, self.pending.ending.clone(), self.pending.mark) {
            // The new session takes the old one's place in one step.
            (Base::Live(live), Some(ending), Some(Mark::Login)) => {
                if ending.why == Why::Logout {
                    self.end_also().await?; // First, while the ending is pending, so that another try repeats it.
                }
                self.renew(live, Mark::Login).await.map(Base::Live)
            }
            (Base::Live(live), Some(ending), _) if ending.keeps_data => self.leave(live).await,
            (Base::Anonymous(anonymous), Some(Ending { why: Why::Replaced, .. }), mark) => {
                self.create(anonymous, mark).await
            }
            (base, Some(_), mark) => {
                let anonymous = self.log_out(base, others_ended).await?;
                self.create(anonymous, mark).await
            }
            (Base::Live(live), None, Some(mark)) => self.renew(live, mark).await.map(Base::Live),
            (Base::Live(live), None, None) => self.advance(live).await,
            (Base::Anonymous(anonymous), None, mark) => self.create(anonymous, mark).await,
        }
    }

    /// An earlier try may have been carried out although it failed: then its changes are in, and not made again.
    async fn resolve(&mut self, base: Base) -> Result<Base, SessionError> {
        let Some(attempt) = self.unresolved.take() else { return Ok(base) };
        let entry = match self.load(&attempt.id).await {
            Ok(entry) => entry,
            Err(error) => {
                self.unresolved = Some(attempt);
                return Err(error);
            }
        };
        let Some(Entry::Bucket(bucket)) = entry else { return Ok(base) };
        if !vouches_for(&bucket, &attempt) {
            return Ok(base);
        }
        // Others may have gone on from there.
        let base = Base::Live(self.catch_up(attempt.after, bucket)?);
        self.pending.drop_committed(&attempt.carried);
        self.view = None;
        self.reached = Some(base.clone());
        Ok(base)
    }

    /// Lets a login begin afresh if the session has become another subject's since it was asked for: by an earlier try,
    /// or by a commit that was under way.
    fn replace_other(&mut self, base: &Base) {
        let (Base::Live(live), None, Some(login)) = (base, &self.pending.ending, &self.pending.settings.login) else {
            return;
        };
        if live.newest.meta.subject.as_ref().is_some_and(|subject| *subject != login.subject) {
            self.pending.ending = Some(Ending { why: Why::Replaced, keeps_data: false, everywhere: None });
            self.view = None;
        }
    }

    /// Ends every other session of the subject that logs out everywhere. One that is being renewed does not slip through:
    /// see [`SessionStore::remove_all`]. Returns `true` if there were any.
    async fn end_others(&mut self, base: &Base) -> Result<bool, SessionError> {
        let Some(ending) = &mut self.pending.ending else { return Ok(false) };
        let Some(subject) = &ending.everywhere else { return Ok(false) };
        let own = if let Base::Live(live) = base { Some(&live.bucket.id) } else { None };
        let count = self.manager.revoke_all_of(subject, own).await?;
        ending.everywhere = None; // Should what follows fail, it is not done again.
        Ok(count > 0)
    }

    /// Ends the session, wherever it has moved to, and all others that the request presented. What a slow request
    /// commits afterwards finds no bucket.
    async fn log_out(&mut self, base: Base, others_ended: bool) -> Result<Anonymous, SessionError> {
        let (ended, outdated) = match &base {
            Base::Live(live) => {
                let ended = self.end(&Other::from(&**live), EndReason::Logout).await? || others_ended;
                // Under a tombstone that is not ours the browser may already hold a newer login's cookie.
                (ended, !ended && self.load(&live.bucket.id).await?.is_some())
            }
            Base::Anonymous(anonymous) => (false, anonymous.only_login),
        };
        let also_ended = self.end_also().await?;
        let was_ended = ended || !matches!(base, Base::Anonymous(Anonymous { was_ended: false, .. }));
        let anonymous = Anonymous { was_ended, only_login: outdated && !also_ended };
        self.removes_cookie = self.presented && !anonymous.only_login;
        self.pending.ending = None;
        self.reached = Some(Base::Anonymous(anonymous));
        Ok(anonymous)
    }

    /// Ends the session, and begins an anonymous one with its data in one step.
    async fn leave(&mut self, live: Arc<Live>) -> Result<Base, SessionError> {
        self.end_also().await?; // First, while the ending is pending, so that another try repeats it.
        match self.renew(Arc::clone(&live), Mark::Renew).await {
            Ok(next) => Ok(Base::Live(next)),
            // Somebody ended or renewed it. There is no new session then, and the one that it was renewed into ends too.
            Err(SessionError::Ended) => {
                let anonymous = self.log_out(Base::Live(live), false).await?;
                self.pending = Pending::default();
                Ok(Base::Anonymous(Anonymous { only_login: true, ..anonymous }))
            }
            Err(error) => Err(error),
        }
    }

    /// Ends what the request presented besides its session. Returns `true` if one of them was alive.
    async fn end_also(&mut self) -> Result<bool, SessionError> {
        let mut ended = self.end_presented(EndReason::Logout).await?;
        while let Some(session) = self.also.unjudged.last() {
            ended |= self.end(session, EndReason::Logout).await?;
            self.also.unjudged.pop();
        }
        Ok(ended)
    }

    /// Ends the live sessions that the request presented, of which it is served as none. Returns `true` if there were any.
    async fn end_presented(&mut self, reason: EndReason) -> Result<bool, SessionError> {
        let mut ended = false;
        while let Some(session) = self.also.admitted.last() {
            ended |= self.end(session, reason).await?;
            self.also.admitted.pop();
        }
        Ok(ended)
    }

    /// Ends one session, wherever it has moved to. Returns `true` if it was alive.
    async fn end(&self, Other { id, subject }: &Other, reason: EndReason) -> Result<bool, SessionError> {
        let ended = ending::end(self.manager, id, subject.as_deref(), true).await?;
        if let Some(id) = &ended {
            let (session, logged_in) = (Some(self.manager.handle(id)), subject.is_some());
            self.manager.emit(&Event::Ended { session, count: 1, reason, logged_in });
        }
        Ok(ended.is_some())
    }

    /// Makes the first bucket of an anonymous request, if there is anything to keep.
    async fn create(&mut self, anonymous: Anonymous, mark: Option<Mark>) -> Result<Base, SessionError> {
        let (meta, data) = self.applied(&Meta::default(), &DataMap::new())?;
        let login = mark == Some(Mark::Login);
        let wanted = login || !data.is_empty() || meta.flash.is_some() || self.pending.keep;
        if !wanted || (anonymous.only_login && !login) {
            self.pending = Pending::default();
            return Ok(Base::Anonymous(anonymous));
        }
        if login {
            // Else the browser would go on presenting several sessions, and be anonymous.
            self.end_presented(EndReason::Replaced).await?;
        }
        let place = self.find_place(&meta, mark, None).await?;
        let live = self.first_token(meta, data, None, place.as_ref())?;
        let inserted = self.manager.store().insert(&live.bucket).await;
        self.written("insert", inserted, &live)?;
        self.settle(place, &live).await?;
        self.manager.emit(&Event::Created { session: self.manager.handle(&live.bucket.id), logged_in: login });
        self.pending = Pending::default();
        Ok(Base::Live(live))
    }

    /// Moves the session to a new bucket with a new id. A login always ends logged in.
    ///
    /// After an ending it begins afresh, or with nothing but the old session's data.
    async fn renew(&mut self, mut live: Arc<Live>, mark: Mark) -> Result<Arc<Live>, SessionError> {
        let login = mark == Mark::Login;
        let ending = self.pending.ending.clone();
        let mut gone = false;
        loop {
            let (meta, data) = self.applied_after(ending.as_ref(), &live)?;
            let old = live.bucket.id;
            let place = self.find_place(&meta, Some(mark), Some(&old)).await?;
            let predecessor = ending.is_none().then_some((&live.bucket, login));
            let next = self.first_token(meta, data, predecessor, place.as_ref())?;
            if gone {
                if ending.is_some() {
                    // Nothing may survive of the session that is to end, wherever it has moved to.
                    ending::end(self.manager, &old, live.newest.meta.subject.as_deref(), true).await?;
                }
                let inserted = self.manager.store().insert(&next.bucket).await;
                self.written("insert", inserted, &next)?;
            } else {
                let (now, policy) = (self.now(), &self.manager.times().bucket);
                // An anonymous session has nothing that a thief could keep, and a session that ended has no successor.
                let tombstone = if live.bucket.subject.is_some() && ending.is_none() {
                    Tombstone::renewed(&live.bucket, &next.bucket, now, policy)
                } else {
                    Tombstone::new(old, now, policy)
                };
                let succeeded =
                    self.manager.store().renew_into(&next.bucket, &old, live.bucket.revision, tombstone).await;
                if !self.written("renew_into", succeeded, &next)? {
                    live = match self.follow(Arc::clone(&live)).await {
                        Err(SessionError::Ended) if login => {
                            gone = true;
                            live
                        }
                        followed => followed?,
                    };
                    continue;
                }
            }
            self.manager.forget(&old);
            self.settle(place, &next).await?;
            let (old, session) = (self.manager.handle(&old), self.manager.handle(&next.bucket.id));
            if ending.is_some() && !login {
                let (session_ended, logged_in) = (Some(old), live.bucket.subject.is_some());
                let reason = EndReason::Logout;
                self.manager.emit(&Event::Ended { session: session_ended, count: 1, reason, logged_in });
                self.manager.emit(&Event::Created { session, logged_in: false });
            } else {
                let logged_in = next.bucket.subject.is_some();
                self.manager.emit(&Event::Renewed { old, session, login, logged_in });
            }
            self.pending = Pending::default();
            return Ok(next);
        }
    }

    /// Issues the next token if the content changed; at the end of a request also when it is time to.
    async fn advance(&mut self, live: Arc<Live>) -> Result<Base, SessionError> {
        let changes = !self.pending.is_empty();
        let result = self.advance_live(Arc::clone(&live), changes).await;
        match result {
            Ok(live) => {
                self.pending = Pending::default();
                Ok(Base::Live(live))
            }
            // Upkeep that fails is no reason to fail the request: its event was raised where it happened.
            Err(_) if !changes => {
                self.unresolved = None;
                let mut live = Arc::unwrap_or_clone(live);
                live.owed = live.owed.filter(|_| live.made_here);
                Ok(Base::Live(Arc::new(live)))
            }
            Err(error) => Err(error),
        }
    }

    async fn advance_live(&mut self, mut live: Arc<Live>, changes: bool) -> Result<Arc<Live>, SessionError> {
        let finish = self.when == When::Finish;
        if finish && !changes && live.owed.is_some() && !live.made_here {
            // The newest at the time of the response: a slow handler must not put a stale token on the wire.
            live = self.refresh(live).await?;
        }
        let request = Arc::clone(self.request);
        let manager = request.manager.clone();
        let mut queued = None;
        loop {
            let (meta, data) = self.applied(&live.newest.meta, &live.newest.data)?;
            let changed = data != live.newest.data || meta != live.newest.meta || self.pending.label.is_some();
            let Some(reason) = self.rotation_reason(&live, changed) else {
                let now = self.now();
                if finish && is_touch_due(&manager, &live, now) {
                    touch(&manager, &mut live, now).await;
                }
                return Ok(live);
            };
            let next = self.next_token(&live, meta, data)?;
            let replaced = manager.store().replace(&next.bucket, live.bucket.revision).await;
            if self.written("replace", replaced, &next)? {
                let bucket = &next.bucket;
                let (id, generation) = (&bucket.id, bucket.generation);
                manager.emit_if_heard(|| Event::Rotated { session: manager.handle(id), generation, reason });
                return Ok(next);
            }
            if queued.is_none() {
                queued = Some(manager.queue(&live.bucket.id).await);
            }
            live = self.follow(live).await?;
        }
    }

    fn rotation_reason(&self, live: &Live, changed: bool) -> Option<RotationReason> {
        if changed {
            return Some(RotationReason::Changed);
        }
        if self.when != When::Finish {
            return None;
        }
        if live.newest.keys.compromised().is_some() {
            return Some(RotationReason::CompromisedKey);
        }
        is_renewal_due(self.manager, live, self.now()).then_some(RotationReason::Interval)
    }

    /// After a conflict: the newest state, through the handoff if the token moved on.
    async fn follow(&mut self, live: Arc<Live>) -> Result<Arc<Live>, SessionError> {
        self.attempts += 1;
        let session = self.manager.handle(&live.bucket.id);
        self.manager.emit(&Event::ConflictRetry { session, attempt: self.attempts });
        if Instant::now() >= self.deadline {
            return Err(SessionError::Conflict);
        }
        // Rivals in other processes are not in the queue: wait a little, and not all the same.
        if let Some(tries) = self.attempts.checked_sub(2) {
            let limit = (1_u64 << tries.min(6)) * 1000;
            let jitter = getrandom::u64().unwrap_or(limit) % limit;
            tokio::time::sleep(Duration::from_micros(jitter)).await;
        }
        self.refresh(live).await
    }

    /// Asks the store for the newest state.
    async fn refresh(&self, live: Arc<Live>) -> Result<Arc<Live>, SessionError> {
        match self.load(&live.bucket.id).await? {
            Some(Entry::Bucket(bucket)) => self.catch_up(live, bucket),
            _ => Err(SessionError::Ended),
        }
    }

    /// From what this request knows of its session to what the bucket says now.
    fn catch_up(&self, live: Arc<Live>, bucket: Bucket) -> Result<Arc<Live>, SessionError> {
        let (now, policy) = (self.now(), &self.manager.times().bucket);
        let bucket = bucket.corrected(now, policy).unwrap_or(bucket);
        if bucket.is_expired(now, policy) {
            return Err(SessionError::Ended);
        }
        if bucket.current.matches(&live.newest.fingerprint) {
            return Ok(Arc::new(Live { bucket, ..Arc::unwrap_or_clone(live) }));
        }
        match self.sealer.follow(&bucket, &live.newest.handoff_key, now, self.manager.not_before()) {
            Ok((newest, token)) => Ok(Arc::new(Live::new(self.manager, bucket, newest, live.arrival, Some(token)))),
            Err(HandoffError::Tampered) => {
                self.manager.emit(&Event::StoreTampered { session: self.manager.handle(&bucket.id) });
                Err(SessionError::Conflict)
            }
            Err(_) => Err(SessionError::Conflict),
        }
    }

    /// A login's way past the limit of sessions.
    async fn find_place(
        &self,
        meta: &Meta,
        mark: Option<Mark>,
        old: Option<&SessionId>,
    ) -> Result<Option<Place<'r>>, SessionError> {
        match &meta.subject {
            Some(subject) if mark == Some(Mark::Login) => Place::find(self.manager, subject, old).await,
            _ => Ok(None),
        }
    }

    async fn settle(&self, place: Option<Place<'r>>, live: &Live) -> Result<(), SessionError> {
        match place {
            Some(place) => place.settle(&live.bucket).await,
            None => Ok(()),
        }
    }

    /// Content plus pending changes. Closures of the application's may run in here.
    fn applied(&mut self, meta: &Meta, data: &DataMap) -> Result<(Meta, DataMap), SessionError> {
        let data = match self.view.take() {
            Some(view) => view,
            None => {
                let _guard = self.request.enter_closure();
                self.pending.applied_to(data)?
            }
        };
        Ok((self.pending.settings.applied_to(meta), data))
    }

    /// The same, of what an ending leaves of the session.
    fn applied_after(&mut self, ending: Option<&Ending>, live: &Live) -> Result<(Meta, DataMap), SessionError> {
        match ending {
            None => self.applied(&live.newest.meta, &live.newest.data),
            Some(Ending { keeps_data: true, .. }) => self.applied(&Meta::default(), &live.newest.data),
            Some(_) => self.applied(&Meta::default(), &DataMap::new()),
        }
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, SessionError> {
        self.manager.store().load(id).await.map_err(|error| self.manager.store_failed("load", error))
    }

    /// A store's answer to a write. After an error nobody knows whether it was carried out: remember what was tried.
    fn written<T>(
        &mut self,
        operation: &'static str,
        answer: Result<T, StoreError>,
        tried: &Arc<Live>,
    ) -> Result<T, SessionError> {
        answer.map_err(|error| {
            self.unresolved = Some(Box::new(Attempt {
                id: tried.bucket.id,
                fingerprint: tried.newest.fingerprint,
                after: Arc::clone(tried),
                carried: self.pending.clone(),
            }));
            self.manager.store_failed(operation, error)
        })
    }

    fn now(&self) -> Timestamp {
        self.manager.now()
    }
}

pub(crate) fn is_touch_due(manager: &SessionManager, live: &Live, now: Timestamp) -> bool {
    live.is_corrected || live.bucket.touch_due(now, &manager.times().bucket)
}

/// Writes when the session was last seen. A conflict means that someone else did; a failure is reported, and is no reason
/// to refuse anybody.
pub(crate) async fn touch(manager: &SessionManager, live: &mut Arc<Live>, now: Timestamp) {
    let touched = live.bucket.touched(&live.arrival, now, &manager.times().bucket);
    let live = Arc::make_mut(live);
    live.is_corrected = false;
    match manager.store().replace(&touched, live.bucket.revision).await {
        Ok(true) => live.bucket = touched,
        // Once is enough for one request; its revision is out of date, so nothing can be written from here.
        Ok(false) => live.bucket.last_seen_at = now.max(live.bucket.last_seen_at),
        Err(error) => {
            manager.store_failed("replace", error);
        }
    }
}

fn vouches_for(bucket: &Bucket, attempt: &Attempt) -> bool {
    bucket.current.matches(&attempt.fingerprint)
        || bucket.retired.iter().any(|retired| retired.fingerprint.matches(&attempt.fingerprint))
}

/// Whether the token is old enough to be replaced although nothing changed.
pub(crate) fn is_renewal_due(manager: &SessionManager, live: &Live, now: Timestamp) -> bool {
    manager.times().renewal.is_some_and(|interval| now >= live.bucket.rotated_at.after(interval))
}
