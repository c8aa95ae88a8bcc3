//! One request's way through the engine: begin, load on first look, finish.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use once_cell::race::OnceBox;

use crate::caller::Caller;
use crate::commit;
use crate::detached::Detached;
use crate::error::SessionError;
use crate::finish::{self, Finish};
use crate::head::RequestHead;
use crate::load::{self, Presented};
use crate::manager::SessionManager;
use crate::session::Session;
use crate::state::State;

/// One request, as the adapter keeps it from [`SessionManager::begin`] to the response's headers. Clones are the same
/// request.
#[derive(Clone)]
pub struct RequestSession(Arc<Request>);

pub(crate) struct Request {
    pub(crate) manager: SessionManager,
    /// Behind a pointer, so that a request that never looks at its session stays small.
    state: OnceBox<Mutex<State>>,
    /// Only one load or commit at a time.
    pub(crate) gate: tokio::sync::Mutex<()>,
    /// Something asked for the session, whether it could be loaded or not: the response depends on the cookie.
    looked_at: AtomicBool,
    /// The response's headers are being made, or gone.
    finished: AtomicBool,
}

impl RequestSession {
    pub(crate) fn new(manager: SessionManager) -> Self {
        Self(Arc::new(Request {
            manager,
            state: OnceBox::new(),
            gate: tokio::sync::Mutex::const_new(()),
            looked_at: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        }))
    }

    /// Whether this request is the given manager's. A nested layer of the same manager takes part in the outer one's
    /// request instead of beginning its own.
    #[must_use]
    pub fn belongs_to(&self, manager: &SessionManager) -> bool {
        self.0.manager.is_same(manager)
    }

    /// The request's session, one however often this is called. Everything that is read of the head is read before this
    /// returns; the future asks the store, unless that has answered without a wait. Once it is loaded the store is not
    /// asked again.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails. A cookie that is refused is no error, but an anonymous session.
    pub fn session(
        &self,
        head: &dyn RequestHead,
    ) -> impl Future<Output = Result<Session, SessionError>> + Send + use<> {
        let request = Arc::clone(&self.0);
        request.looked_at.store(true, Ordering::Relaxed);
        let unloaded = if request.state.get().is_some() { None } else { request.load_now(head) };
        // Behind a pointer, since the frameworks move a handler's future, and what it waits for, more than once.
        let loading = unloaded.map(|(presented, caller)| {
            let request = Arc::clone(&request);
            Box::pin(async move { request.load(presented, caller).await })
        });
        async move {
            if let Some(loading) = loading {
                loading.await?;
            }
            Ok(Session::new(request))
        }
    }

    /// The request's session, if something has already looked at it.
    #[must_use]
    pub fn loaded(&self) -> Option<Session> {
        self.0.state.get().map(|_| Session::new(Arc::clone(&self.0)))
    }

    /// Ends the request: commits what is to be kept and says what the response needs. `status` is the response's HTTP
    /// status; a service that failed without a response counts as 500.
    ///
    /// 1. A response below 500 commits; one of 500 and above discards changes of data, login and renew, and keeps a
    ///    logout. A handler that panicked must not come here at all.
    /// 2. What commits runs to its end, even if the future is dropped because the client hung up.
    /// 3. Afterwards every change is refused with [`SessionError::Finished`].
    #[inline]
    pub fn finish(&self, status: u16) -> Finish {
        self.0.set_finished();
        // Here, where it costs a route that never looks next to nothing.
        if self.0.was_looked_at() { finish::finish(&self.0, status) } else { Finish::nothing() }
    }
}

impl Request {
    /// Loads what needs no waiting; gives what `load` needs for anything else.
    fn load_now(&self, head: &dyn RequestHead) -> Option<(Option<Presented>, Caller)> {
        let (mut presented, caller) = load::present(&self.manager, head);
        let state = match &mut presented {
            Some(presented) => load::load_now(&self.manager, presented, &caller),
            None => Some(load::without_cookie(caller.clone())),
        };
        if let Some(state) = state {
            // Whoever was first, said the same.
            let _ = self.state.set(state);
            return None;
        }
        if let Some(presented) = &mut presented {
            presented.detach(head);
        }
        Some((presented, caller))
    }

    /// `None` is a request without any cookie or bearer token of ours.
    async fn load(&self, presented: Option<Presented>, caller: Caller) -> Result<(), SessionError> {
        let _gate = self.gate.lock().await;
        if self.state.get().is_none() {
            let state = match presented {
                Some(presented) => load::load(&self.manager, presented, caller).await?,
                None => load::without_cookie(caller),
            };
            // Whoever was first meanwhile, without a wait, may say it.
            let _ = self.state.set(state);
        }
        Ok(())
    }

    /// The state, once it is loaded.
    pub(crate) fn loaded_state(&self) -> Option<MutexGuard<'_, State>> {
        // No code of the application's runs under this lock, and none of ours panics: it cannot be poisoned.
        self.state.get().map(|state| state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn was_looked_at(&self) -> bool {
        self.looked_at.load(Ordering::Relaxed)
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::Acquire)
    }

    pub(crate) fn set_finished(&self) {
        self.finished.store(true, Ordering::Release);
    }

    pub(crate) fn save(self: &Arc<Self>) -> Detached<Result<(), SessionError>> {
        let request = Arc::clone(self);
        let commit = async move { commit::commit(&request, commit::When::Save).await };
        Detached::once_started(self.manager.commits(), commit)
    }
}

impl std::fmt::Debug for RequestSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestSession").field("loaded", &self.0.state.get().is_some()).finish_non_exhaustive()
    }
}
