//! The commit: applies the changes to the newest state, seals it, writes it by compare-and-swap; on a conflict, again.
//!
//! [`Commit::run`] decides what to do; the modules below do it, and speak to the store:
//!
//! | module | does |
//! | --- | --- |
//! | `resolve` | finds out if an earlier write, whose answer was an error, was carried out |
//! | `endings` | ends the session, and others |
//! | `create` | begins a session |
//! | `renew` | begins a session in the place of another one |
//! | `advance` | issues the session's next token |
//! | `conflict` | waits after a conflict, and loads the newest state |
//! | `tokens` | makes tokens and buckets |
//! | `vault` | puts private values before the swap, and deletes those that it replaced |

use std::sync::Arc;

use arc_swap::Guard;
use secure_sessions_core::{DataMap, Meta, SessionId, Timestamp};
use secure_sessions_store::{Entry, SessionStore, StoreError};

use crate::detached::Detached;
use crate::error::SessionError;
use crate::event::measure::Measure;
use crate::manager::SessionManager;
use crate::remember::Sealing;
use crate::request::caller::Caller;
use crate::request::cell::Request;
use crate::request::device::Standing;
use crate::request::entropy::Entropy;
use crate::request::ops::{Ending, Mark, Pending, Why};
use crate::request::state::{Admission, Also, Attempt, Base, State};

mod advance;
mod conflict;
mod create;
mod endings;
mod renew;
mod resolve;
mod tokens;
mod vault;

use self::advance::concerns_vault;
use self::conflict::Retries;
use self::vault::VaultWork;

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
    running.clean_up(&outcome).await;
    running.conclude(outcome)
}

/// Commits plain changes to a live session at the end of its request, if the store answers at once and no other request
/// was faster. Returns `None` if all changes are still pending, for [`commit`].
pub(crate) fn commit_now(request: &Arc<Request>) -> Option<Result<(), SessionError>> {
    if !request.manager.store().answers_at_once() {
        return None;
    }
    let _gate = request.gate.try_lock().ok()?;
    if !is_plain(&*request.loaded_state()?) {
        return None;
    }
    let (mut running, base) = Commit::begin(request, When::Finish)?;
    let outcome = match base {
        Base::Live(live) => running
            .advance_now(&live)
            .transpose()
            .map(|outcome| outcome.or_else(|error| running.without_upkeep(live, error))),
        Base::Anonymous(_) => None,
    };
    // If nothing was done, an error makes `conclude` put all changes back, for `commit` to take again.
    let is_done = outcome.is_some();
    let result = running.conclude(outcome.unwrap_or(Err(SessionError::Conflict)));
    is_done.then_some(result)
}

/// Returns `true` if the commit makes plain changes to a live session. An ending, a login, a renew or an unresolved attempt
/// needs store calls that may wait.
fn is_plain(state: &State) -> bool {
    let Pending { ending, mark, .. } = &state.pending;
    state.live().is_some_and(|live| !concerns_vault(&state.pending, live))
        && state.unresolved.is_none()
        && ending.is_none()
        && mark.is_none()
}

/// A commit under way.
struct Commit<'r> {
    manager: &'r SessionManager,
    request: &'r Arc<Request>,
    sealer: Arc<Sealing>,
    when: When,
    caller: Caller,
    /// `true` if the request came with a cookie of our name, or with a bearer token.
    presented: bool,
    /// The id of the session that this commit creates, if its CSRF tokens depend on it already.
    next_id: Option<SessionId>,
    /// The changes to make. What was carried out for good leaves them, so that another try does not repeat it.
    pending: Pending,
    /// An earlier write whose outcome is unknown, or one of this commit.
    unresolved: Option<Box<Attempt>>,
    /// The other sessions that the request presented, without those that have ended since.
    also: Also,
    /// The data after the pending operations, valid only for the base that the commit began with.
    view: Option<DataMap>,
    vault: VaultWork,
    entropy: Entropy,
    retries: Retries,
    /// `true` once the store has answered a write.
    has_written: bool,
    done: Done,
}

/// Records the steps that a commit has carried out. They hold even if the rest of the commit fails.
#[derive(Default)]
struct Done {
    /// The base after an ending, or after an earlier attempt.
    base: Option<Base>,
    /// `true` once the request has left the session that it presented, and with it the device that it proves for that.
    has_left: bool,
    /// `true` once a login was written.
    has_logged_in: bool,
    /// `true` if the response removes the cookie.
    removes_cookie: bool,
}

impl<'r> Commit<'r> {
    /// Begins a commit by taking the pending changes out of the request.
    fn begin(request: &'r Arc<Request>, when: When) -> Option<(Self, Base)> {
        let mut state = request.loaded_state()?;
        let commit = Self {
            manager: &request.manager,
            request,
            sealer: Guard::into_inner(request.manager.sealer(state.caller.transport)),
            when,
            caller: state.caller.clone(),
            presented: state.presented,
            next_id: state.next_id,
            pending: state.pending.take(),
            unresolved: state.unresolved.take(),
            also: std::mem::take(&mut state.also),
            view: state.view().cloned(),
            vault: VaultWork::default(),
            entropy: Entropy::default(),
            retries: Retries::default(),
            has_written: false,
            done: Done::default(),
        };
        Some((commit, state.base.clone()))
    }

    /// Carries the changes out, and returns the base that the request stands on afterwards.
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
                self.renew(live).await.map(Base::Live)
            }
            (Base::Live(live), Some(ending), _) if ending.keeps_data => self.leave(live).await,
            // There is no live session to replace, so only the login is left to do.
            (Base::Anonymous(anonymous), Some(Ending { why: Why::Replaced, .. }), _) => self.create(anonymous).await,
            (base, Some(_), _) => {
                let anonymous = self.log_out(base, others_ended).await?;
                self.create(anonymous).await
            }
            (Base::Live(live), None, Some(_)) => self.renew(live).await.map(Base::Live),
            (Base::Live(live), None, None) => self.advance(live).await,
            (Base::Anonymous(anonymous), None, _) => self.create(anonymous).await,
        }
    }

    /// Writes the commit's outcome back into the request.
    fn conclude(self, outcome: Result<Base, SessionError>) -> Result<(), SessionError> {
        if self.has_written {
            self.manager.measured(Measure::Commit { tries: self.retries.count + 1 });
        }
        let Self { request, pending, unresolved, also, done, .. } = self;
        let Some(mut state) = request.loaded_state() else { return Ok(()) };
        state.unresolved = unresolved;
        state.also = also;
        state.remove_cookie |= done.removes_cookie;
        state.ended_by_logout |= done.removes_cookie;
        state.logged_in |= done.has_logged_in;
        if done.has_left || (pending.leaves_session() && outcome.is_ok()) {
            state.device = Standing::Unbound;
        }
        match outcome {
            Ok(base) => {
                pending.takes().for_each(|take| take.confirm());
                state.next_id = None;
                state.rebase(base)
            }
            Err(error) => {
                // An ending that was carried out stays so, even if the changes after it failed.
                if let Some(base) = done.base {
                    state.base = base;
                }
                state.pending.restore(pending);
                Err(error)
            }
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
        let mut meta = self.pending.settings.applied_to(meta);
        if let Some(references) = self.vault.references.take() {
            meta.vault = references;
        }
        Ok((meta, data))
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
        self.has_written |= answer.is_ok();
        answer.map_err(|error| {
            self.unresolved = Some(Box::new(Attempt {
                id: tried.bucket.id,
                fingerprint: tried.newest.fingerprint,
                after: Arc::clone(tried),
                tombstone: None,
                carried: self.pending.clone(),
            }));
            self.manager.store_failed(operation, error)
        })
    }

    fn now(&self) -> Timestamp {
        self.manager.now()
    }
}
