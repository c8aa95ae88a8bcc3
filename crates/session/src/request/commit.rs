//! The commit: applies the changes to the newest state, seals it, writes it by compare-and-swap; on a conflict, again.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::Guard;
use secure_sessions_core::{Bucket, DataMap, HandoffError, Meta, SessionId, Timestamp, Tombstone};
use secure_sessions_store::{Entry, SessionStore, StoreError};
use tokio::time::Instant;

use crate::detached::Detached;
use crate::error::SessionError;
use crate::event::{EndReason, Event, RotationReason};
use crate::manager::SessionManager;
use crate::remember::Sealing;
use crate::request::caller::Caller;
use crate::request::cell::Request;
use crate::request::ending;
use crate::request::entropy::Entropy;
use crate::request::once::TakeOnce;
use crate::request::ops::{Ending, Mark, Pending, Why};
use crate::request::slot::SessionSlot;
use crate::request::state::{Admission, Also, Anonymous, Attempt, Base, Other};
use crate::request::upkeep::{is_rotation_due, is_touch_due, touch};

mod tokens;

/// The longest time that a commit retries after conflicts.
const RETRY_FOR: Duration = Duration::from_secs(5);

/// The occasion of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum When {
    /// A call of the application, before the response.
    Save,
    /// The end of the request: it also does the upkeep, and the client gets the newest token.
    Finish,
}

impl Request {
    pub(crate) fn save(self: &Arc<Self>) -> Detached<Result<(), SessionError>> {
        let request = Arc::clone(self);
        let commit = async move { commit(&request, When::Save).await };
        Detached::once_started(self.manager.commits(), commit)
    }
}

/// Commits the request's changes. On an error all changes stay pending.
pub(crate) async fn commit(request: &Arc<Request>, when: When) -> Result<(), SessionError> {
    let _gate = request.gate.lock().await;
    let Some((mut running, base)) = Commit::begin(request, when) else { return Ok(()) };
    let outcome = running.run(base).await;
    running.conclude(outcome)
}

/// Commits plain changes to a live session at the end of its request, if the store answers at once and no other request
/// was faster. Returns `None` if all changes are still pending, for [`commit`].
pub(crate) fn commit_now(request: &Arc<Request>) -> Option<Result<(), SessionError>> {
    if !request.manager.store().answers_at_once() {
        return None;
    }
    let _gate = request.gate.try_lock().ok()?;
    // An ending, a login, a renew or an unresolved attempt needs store calls that may wait.
    let is_plain = {
        let state = request.loaded_state()?;
        let Pending { ending, mark, .. } = &state.pending;
        state.live().is_some() && state.unresolved.is_none() && ending.is_none() && mark.is_none()
    };
    if !is_plain {
        return None;
    }
    let (mut running, base) = Commit::begin(request, When::Finish)?;
    let outcome = match base {
        Base::Live(live) => running.advance_now(&live).transpose(),
        Base::Anonymous(_) => None,
    };
    // If nothing was done, an error makes `conclude` put all changes back, for `commit` to take again.
    let is_done = outcome.is_some();
    let result = running.conclude(outcome.unwrap_or(Err(SessionError::Conflict)));
    is_done.then_some(result)
}

struct Commit<'r> {
    manager: &'r SessionManager,
    sealer: Arc<Sealing>,
    request: &'r Arc<Request>,
    when: When,
    pending: Pending,
    /// The removals among the changes whose values wait for the commit's success.
    takes: Vec<Arc<TakeOnce>>,
    caller: Caller,
    next_id: Option<SessionId>,
    unresolved: Option<Box<Attempt>>,
    presented: bool,
    removes_cookie: bool,
    also: Also,
    /// The base after an ending or an earlier attempt was carried out. It holds even if the rest of the commit fails.
    reached: Option<Base>,
    /// The data after the pending operations, valid only for the base that the commit began with.
    view: Option<DataMap>,
    entropy: Entropy,
    /// The end of the retries, set by the first conflict.
    deadline: Option<Instant>,
    attempts: u32,
}

impl<'r> Commit<'r> {
    /// Begins a commit by taking the pending changes out of the request.
    fn begin(request: &'r Arc<Request>, when: When) -> Option<(Self, Base)> {
        let mut state = request.loaded_state()?;
        let commit = Self {
            manager: &request.manager,
            sealer: Guard::into_inner(request.manager.sealer(state.caller.transport)),
            request,
            when,
            caller: state.caller.clone(),
            next_id: state.next_id,
            unresolved: state.unresolved.take(),
            takes: state.pending.takes().map(Arc::clone).collect(),
            pending: state.pending.take(),
            presented: state.presented,
            removes_cookie: false,
            also: std::mem::take(&mut state.also),
            reached: None,
            view: state.view().cloned(),
            entropy: Entropy::default(),
            deadline: None,
            attempts: 0,
        };
        Some((commit, state.base.clone()))
    }

    async fn run(&mut self, base: Base) -> Result<Base, SessionError> {
        let base = self.resolve(base).await?;
        self.replace_other(&base);
        let others_ended = self.end_others(&base).await?;
        match (base, self.pending.ending.clone(), self.pending.mark) {
            // A login as another subject: the new session replaces the old one in one step.
            (Base::Live(live), Some(ending), Some(Mark::Login)) => {
                if ending.why == Why::Logout {
                    self.end_also().await?; // First, while the ending is pending, so that another try repeats it.
                }
                self.renew(live, Mark::Login).await.map(Base::Live)
            }
            (Base::Live(live), Some(ending), _) if ending.keeps_data => self.leave(live).await,
            // There is no live session to replace, so only the login is left to do.
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

    /// Writes the commit's outcome back into the request.
    fn conclude(self, outcome: Result<Base, SessionError>) -> Result<(), SessionError> {
        let Self { request, pending, takes, unresolved, removes_cookie, also, reached, .. } = self;
        let Some(mut state) = request.loaded_state() else { return Ok(()) };
        state.unresolved = unresolved;
        state.also = also;
        state.remove_cookie |= removes_cookie;
        state.ended_by_logout |= removes_cookie;
        match outcome {
            Ok(base) => {
                takes.iter().for_each(|take| take.confirm());
                state.next_id = None;
                state.rebase(base)
            }
            Err(error) => {
                // An ending that was carried out stays so, even if the changes after it failed.
                if let Some(base) = reached {
                    state.base = base;
                }
                state.pending.restore(pending);
                Err(error)
            }
        }
    }

    /// Finds out if the store carried an earlier attempt out although it reported an error. Its changes are then
    /// dropped, so that they are not made twice.
    async fn resolve(&mut self, base: Base) -> Result<Base, SessionError> {
        let Some(attempt) = self.unresolved.take() else { return Ok(base) };
        let entry = match self.load(&attempt.id).await {
            Ok(entry) => entry,
            Err(error) => {
                // Still unknown: the next commit must ask again, or it could make the changes twice.
                self.unresolved = Some(attempt);
                return Err(error);
            }
        };
        let Some(Entry::Bucket(bucket)) = entry else { return Ok(base) };
        // Without its fingerprint in the bucket the write was not carried out: its changes stay pending.
        if !vouches_for(&bucket, &attempt) {
            return Ok(base);
        }
        // Other requests may have moved on from the attempt's state.
        let base = Base::Live(self.catch_up(attempt.after, bucket)?);
        self.pending.drop_committed(&attempt.carried);
        self.view = None;
        self.reached = Some(base.clone());
        Ok(base)
    }

    /// Makes a pending login begin with an empty session if the session belongs to another subject by now: through an
    /// earlier attempt, or a commit that was under way.
    fn replace_other(&mut self, base: &Base) {
        let (Base::Live(live), None, Some(login)) = (base, &self.pending.ending, &self.pending.settings.login) else {
            return;
        };
        if live.newest.meta.subject.as_ref().is_some_and(|subject| *subject != login.subject) {
            self.pending.ending = Some(Ending { why: Why::Replaced, keeps_data: false, everywhere: None });
            self.view = None;
        }
    }

    /// Ends every other session of a subject that logs out everywhere, also one that is being renewed: see
    /// [`SessionStore::remove_all`]. Returns `true` if there were any.
    async fn end_others(&mut self, base: &Base) -> Result<bool, SessionError> {
        let Some(ending) = &mut self.pending.ending else { return Ok(false) };
        let Some(subject) = &ending.everywhere else { return Ok(false) };
        let own = if let Base::Live(live) = base { Some(&live.bucket.id) } else { None };
        let count = self.manager.revoke_all_of(subject, own).await?;
        ending.everywhere = None; // Should what follows fail, it is not done again.
        Ok(count > 0)
    }

    /// Ends the session, even if a renew has moved it, and all others that the request presented. A slow request that
    /// commits afterwards finds no bucket.
    async fn log_out(&mut self, base: Base, others_ended: bool) -> Result<Anonymous, SessionError> {
        let (ended, outdated) = match &base {
            Base::Live(live) => {
                let ended = self.end(&Other::from(&**live), EndReason::Logout).await? || others_ended;
                // If another request ended it, the browser may already hold a newer login's cookie.
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

    /// Ends the session and begins an anonymous one with its data, in one step.
    async fn leave(&mut self, live: Arc<Admission>) -> Result<Base, SessionError> {
        self.end_also().await?; // First, while the ending is pending, so that another try repeats it.
        match self.renew(Arc::clone(&live), Mark::Renew).await {
            Ok(next) => Ok(Base::Live(next)),
            // Another request ended or renewed it. No new session begins, and a successor of the renew ends too.
            Err(SessionError::Ended) => {
                let anonymous = self.log_out(Base::Live(live), false).await?;
                // The other changes belong to the new session, which does not begin.
                self.takes.iter().for_each(|take| take.forget());
                self.pending = Pending::default();
                Ok(Base::Anonymous(Anonymous { only_login: true, ..anonymous }))
            }
            Err(error) => Err(error),
        }
    }

    /// Ends the other sessions that the request presented. Returns `true` if one of them was alive.
    async fn end_also(&mut self) -> Result<bool, SessionError> {
        let mut ended = self.end_presented(EndReason::Logout).await?;
        while let Some(session) = self.also.unjudged.last() {
            ended |= self.end(session, EndReason::Logout).await?;
            self.also.unjudged.pop();
        }
        while let Some(session) = self.also.expired.last() {
            ended |= self.end(session, EndReason::Logout).await?;
            self.also.expired.pop();
        }
        Ok(ended)
    }

    /// Ends the other live sessions that the request presented. Returns `true` if one of them was alive.
    async fn end_presented(&mut self, reason: EndReason) -> Result<bool, SessionError> {
        let mut ended = false;
        while let Some(session) = self.also.admitted.last() {
            ended |= self.end(session, reason).await?;
            self.also.admitted.pop();
        }
        Ok(ended)
    }

    /// Ends one session, even if a renew has moved it. Returns `true` if it was alive.
    async fn end(&self, Other { id, subject }: &Other, reason: EndReason) -> Result<bool, SessionError> {
        let ended = ending::end(self.manager, id, subject.as_deref(), true).await?;
        if let Some(id) = &ended {
            let (session, logged_in) = (Some(self.manager.handle(id)), subject.is_some());
            self.manager.emit(&Event::Ended { session, count: 1, reason, logged_in });
        }
        Ok(ended.is_some())
    }

    /// Creates the first bucket of an anonymous request, if there is anything to keep.
    async fn create(&mut self, anonymous: Anonymous, mark: Option<Mark>) -> Result<Base, SessionError> {
        let (meta, data) = self.applied(&Meta::default(), &DataMap::new())?;
        let login = mark == Some(Mark::Login);
        let wanted = login || !data.is_empty() || meta.flash.is_some() || self.pending.keep;
        // Without a login, a cookie from here could overwrite the newer one that the browser is about to get.
        if !wanted || (anonymous.only_login && !login) {
            self.pending = Pending::default();
            return Ok(Base::Anonymous(anonymous));
        }
        if login {
            // Otherwise the browser would keep presenting several live sessions, and stay anonymous.
            self.end_presented(EndReason::Replaced).await?;
        }
        let slot = self.find_slot(&meta, mark, None).await?;
        let live = self.first_token(meta, data, None, slot.as_ref())?;
        let inserted = self.manager.store().insert(&live.bucket).await;
        self.written("insert", inserted, &live)?;
        self.enforce(slot, &live).await?;
        self.manager.emit(&Event::Created { session: self.manager.handle(&live.bucket.id), logged_in: login });
        self.pending = Pending::default();
        Ok(Base::Live(live))
    }

    /// Moves the session to a new bucket with a new id. A login succeeds even if the old bucket is gone by then.
    ///
    /// After an ending, the new session begins empty, or with only the old session's data.
    async fn renew(&mut self, mut live: Arc<Admission>, mark: Mark) -> Result<Arc<Admission>, SessionError> {
        let login = mark == Mark::Login;
        let ending = self.pending.ending.clone();
        let mut gone = false;
        loop {
            let (meta, data) = self.applied_after(ending.as_ref(), &live)?;
            let old = live.bucket.id;
            let slot = self.find_slot(&meta, Some(mark), Some(&old)).await?;
            // A session that ends passes nothing on: neither label nor creation time nor deadline.
            let predecessor = ending.is_none().then_some((&live.bucket, login));
            let next = self.first_token(meta, data, predecessor, slot.as_ref())?;
            if gone {
                // The data is that of the arrival: another request may have removed the same value since.
                self.takes.iter().for_each(|take| take.forget());
                if ending.is_some() {
                    // The session that is to end may have been renewed instead: its successor must not survive.
                    ending::end(self.manager, &old, live.newest.meta.subject.as_deref(), true).await?;
                }
                let inserted = self.manager.store().insert(&next.bucket).await;
                self.written("insert", inserted, &next)?;
            } else {
                let (now, policy) = (self.now(), &self.manager.times().bucket);
                // Naming the successor lets a late logout, or a replay, end it too. Anonymous data is not worth that.
                let tombstone = if live.bucket.subject.is_some() && ending.is_none() {
                    Tombstone::renewed(&live.bucket, &next.bucket, now, policy)
                } else {
                    Tombstone::new(old, now, policy)
                };
                let succeeded =
                    self.manager.store().renew_into(&next.bucket, &old, live.bucket.revision, tombstone).await;
                if !self.written("renew_into", succeeded, &next)? {
                    live = match self.follow(Arc::clone(&live)).await {
                        // A double click: the first login ended this bucket, and the second must not fail the user.
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
            self.enforce(slot, &next).await?;
            let (old, session) = (self.manager.handle(&old), self.manager.handle(&next.bucket.id));
            // A logout that keeps its data is an end and a beginning to an observer, not a renew.
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

    /// Issues the next token if the content changed; at the end of a request, also if a rotation is due.
    async fn advance(&mut self, live: Arc<Admission>) -> Result<Base, SessionError> {
        let changes = !self.pending.is_empty();
        let result = self.advance_live(Arc::clone(&live), changes).await;
        match result {
            Ok(live) => {
                self.pending = Pending::default();
                Ok(Base::Live(live))
            }
            // Failed upkeep must not fail a request that changed nothing: its event is already raised.
            Err(_) if !changes => {
                // A token to deliver may be stale, and the client's own still works, unless the session was made here.
                self.unresolved = None;
                let mut live = Arc::unwrap_or_clone(live);
                live.to_deliver = live.to_deliver.filter(|_| live.made_here);
                Ok(Base::Live(Arc::new(live)))
            }
            Err(error) => Err(error),
        }
    }

    async fn advance_live(&mut self, mut live: Arc<Admission>, changes: bool) -> Result<Arc<Admission>, SessionError> {
        let finish = self.when == When::Finish;
        if finish && !changes && live.to_deliver.is_some() && !live.made_here {
            // Deliver the newest token as of the response: a slow handler must not put a stale one on the wire.
            live = self.refresh(live).await?;
        }
        let request = Arc::clone(self.request);
        let manager = request.manager.clone();
        let mut queued = None;
        loop {
            let Some((next, reason)) = self.rotation(&live)? else {
                let now = self.now();
                if finish && !self.caller.untouched && is_touch_due(&manager, &live, now) {
                    touch(&manager, &mut live, now).await;
                }
                return Ok(live);
            };
            let replaced = manager.store().replace(&next.bucket, live.bucket.revision).await;
            if self.written("replace", replaced, &next)? {
                self.report_rotation(&next.bucket, reason);
                return Ok(next);
            }
            // After the first conflict, commits of one session in this process take turns instead of colliding again.
            if queued.is_none() {
                queued = Some(manager.queue(&live.bucket.id).await);
            }
            live = self.follow(live).await?;
        }
    }

    /// Does the same as [`advance`](Self::advance) with changes, if nothing needs to wait. Returns `None` if nothing
    /// was done.
    fn advance_now(&mut self, live: &Arc<Admission>) -> Result<Option<Base>, SessionError> {
        if self.pending.is_empty() {
            return Ok(None);
        }
        let Some((next, reason)) = self.rotation(live)? else { return Ok(None) };
        let Some(replaced) = self.manager.store().replace_now(&next.bucket, live.bucket.revision) else {
            return Ok(None);
        };
        if !self.written("replace", replaced, &next)? {
            return Ok(None);
        }
        self.report_rotation(&next.bucket, reason);
        self.pending = Pending::default();
        Ok(Some(Base::Live(next)))
    }

    /// Creates the next token, if there is a reason for one.
    fn rotation(&mut self, live: &Admission) -> Result<Option<(Arc<Admission>, RotationReason)>, SessionError> {
        let (meta, data) = self.applied(&live.newest.meta, &live.newest.data)?;
        let changed = data != live.newest.data
            || meta != live.newest.meta
            || self.pending.label.is_some()
            // Written even if the same value was inserted again since: one request alone may get the old one.
            || self.takes.iter().any(|take| take.has_found());
        let Some(reason) = self.rotation_reason(live, changed) else { return Ok(None) };
        Ok(Some((self.next_token(live, meta, data)?, reason)))
    }

    fn report_rotation(&self, bucket: &Bucket, reason: RotationReason) {
        let (manager, id, generation) = (self.manager, &bucket.id, bucket.generation);
        manager.emit_if_heard(|| Event::Rotated { session: manager.handle(id), generation, reason });
    }

    fn rotation_reason(&self, live: &Admission, changed: bool) -> Option<RotationReason> {
        if changed {
            return Some(RotationReason::Changed);
        }
        // Upkeep waits for the end of the request, where the new token can be sent.
        if self.when != When::Finish {
            return None;
        }
        if live.newest.keys.compromised().is_some() {
            return Some(RotationReason::CompromisedKey);
        }
        // A rotation writes that the session was seen.
        let is_due = !self.caller.untouched && is_rotation_due(self.manager, live, self.now());
        is_due.then_some(RotationReason::Interval)
    }

    /// Returns the newest state after a conflict, through the handoff if the token moved on.
    async fn follow(&mut self, live: Arc<Admission>) -> Result<Arc<Admission>, SessionError> {
        self.attempts += 1;
        let session = self.manager.handle(&live.bucket.id);
        self.manager.emit(&Event::ConflictRetry { session, attempt: self.attempts });
        let now = Instant::now();
        if now >= *self.deadline.get_or_insert(now + RETRY_FOR) {
            return Err(SessionError::Conflict);
        }
        // Commits of other processes are not in our queue: wait a random time, so that they do not collide again.
        if let Some(tries) = self.attempts.checked_sub(2) {
            let limit = (1_u64 << tries.min(6)) * 1000;
            let jitter = getrandom::u64().unwrap_or(limit) % limit;
            tokio::time::sleep(Duration::from_micros(jitter)).await;
        }
        self.refresh(live).await
    }

    /// Loads the newest state from the store.
    async fn refresh(&self, live: Arc<Admission>) -> Result<Arc<Admission>, SessionError> {
        match self.load(&live.bucket.id).await? {
            Some(Entry::Bucket(bucket)) => self.catch_up(live, bucket),
            _ => Err(SessionError::Ended),
        }
    }

    /// Brings the request's knowledge of its session up to date with the bucket.
    fn catch_up(&self, live: Arc<Admission>, bucket: Bucket) -> Result<Arc<Admission>, SessionError> {
        let (now, policy) = (self.now(), &self.manager.times().bucket);
        let bucket = bucket.corrected(now, policy).unwrap_or(bucket);
        if bucket.is_expired(now, policy) {
            return Err(SessionError::Ended);
        }
        // A touch raises the revision but issues no token: the content is still the newest.
        if bucket.current.matches(&live.newest.fingerprint) {
            return Ok(Arc::new(Admission { bucket, ..Arc::unwrap_or_clone(live) }));
        }
        match self.sealer.follow(&bucket, &live.newest.handoff_key, now, self.manager.not_before()) {
            Ok((newest, token)) => {
                Ok(Arc::new(Admission::new(self.manager, bucket, newest, live.arrival, Some(token))))
            }
            // Nothing is sealed again: an attacker who writes to the store must not get their token blessed by us.
            Err(HandoffError::Tampered) => {
                self.manager.emit(&Event::StoreTampered { session: self.manager.handle(&bucket.id) });
                Err(SessionError::Conflict)
            }
            Err(_) => Err(SessionError::Conflict),
        }
    }

    /// Finds a login's slot under the limit of sessions.
    async fn find_slot(
        &self,
        meta: &Meta,
        mark: Option<Mark>,
        old: Option<&SessionId>,
    ) -> Result<Option<SessionSlot<'r>>, SessionError> {
        match &meta.subject {
            Some(subject) if mark == Some(Mark::Login) => SessionSlot::find(self.manager, subject, old).await,
            _ => Ok(None),
        }
    }

    async fn enforce(&self, slot: Option<SessionSlot<'r>>, live: &Admission) -> Result<(), SessionError> {
        match slot {
            Some(slot) => slot.enforce(&live.bucket).await,
            None => Ok(()),
        }
    }

    /// Returns the content with the pending changes applied. Closures of the application may run in here.
    fn applied(&mut self, meta: &Meta, data: &DataMap) -> Result<(Meta, DataMap), SessionError> {
        let data = match self.view.take() {
            Some(view) => view,
            // There is no view of this base, so the logged operations run on its data.
            None => {
                let _guard = self.request.enter_closure();
                self.pending.applied_to(data)?
            }
        };
        Ok((self.pending.settings.applied_to(meta), data))
    }

    /// Returns the same for the content that an ending leaves of the session.
    fn applied_after(&mut self, ending: Option<&Ending>, live: &Admission) -> Result<(Meta, DataMap), SessionError> {
        match ending {
            None => self.applied(&live.newest.meta, &live.newest.data),
            Some(Ending { keeps_data: true, .. }) => self.applied(&Meta::default(), &live.newest.data),
            Some(_) => self.applied(&Meta::default(), &DataMap::new()),
        }
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, SessionError> {
        self.manager.store().load(id).await.map_err(|error| self.manager.store_failed("load", error))
    }

    /// Returns the store's answer to a write. After an error the write may still have been carried out, so the attempt
    /// is remembered.
    fn written<T>(
        &mut self,
        operation: &'static str,
        answer: Result<T, StoreError>,
        tried: &Arc<Admission>,
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

/// Returns `true` if the bucket holds the attempt's fingerprint, current or retired: the write was carried out.
fn vouches_for(bucket: &Bucket, attempt: &Attempt) -> bool {
    bucket.current.matches(&attempt.fingerprint)
        || bucket.retired.iter().any(|retired| retired.fingerprint.matches(&attempt.fingerprint))
}
