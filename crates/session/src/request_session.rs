//! One request as an adapter holds it: begin, load on first use, finish.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secure_sessions_core::Handle;
use secure_sessions_store::StoreError;

use crate::adapter::head::RequestHead;
use crate::error::SessionError;
use crate::manager::SessionManager;
use crate::request::caller::{self, Caller};
use crate::request::cell::Request;
use crate::request::finish::{self, Finish};
use crate::request::load::{self, Presented};
use crate::session::Session;

/// One request, as the adapter keeps it from [`SessionManager::begin`] to the response's headers. Clones refer to the
/// same request.
#[derive(Clone)]
pub struct RequestSession(Arc<Request>);

impl SessionManager {
    /// Begins a request. An adapter keeps the returned value with the request, and calls [`RequestSession::finish`]
    /// before it sends the response's headers. This call reads nothing of the request.
    #[must_use]
    pub fn begin(&self) -> RequestSession {
        RequestSession::new(self.clone())
    }
}

impl RequestSession {
    fn new(manager: SessionManager) -> Self {
        Self(Arc::new(Request::new(manager)))
    }

    /// Returns `true` if `manager` began this request. A nested layer of the same manager then uses the outer layer's
    /// request instead of beginning its own.
    #[must_use]
    pub fn belongs_to(&self, manager: &SessionManager) -> bool {
        self.0.manager.is_same(manager)
    }

    /// Returns the request's session, the same one on every call. The head is read before this call returns. The future
    /// asks the store, unless the store has answered without a wait; once the session is loaded, the store is not asked
    /// again.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails, [`SessionError::ProofRefused`] if the request's DPoP proof is missing
    /// or wrong. A refused cookie is not an error: it gives an anonymous session.
    pub fn session(
        &self,
        head: &dyn RequestHead,
    ) -> impl Future<Output = Result<Session, SessionError>> + Send + use<> {
        let request = Arc::clone(&self.0);
        request.set_looked_at();
        let refused = request.refused();
        let unloaded = if request.is_loaded() || refused.is_some() { None } else { request.load_now(head) };
        // Boxed, because frameworks move a handler's future, and everything in it, more than once.
        let loading = unloaded.map(|(presented, caller)| {
            let request = Arc::clone(&request);
            Box::pin(async move { request.load(presented, caller).await })
        });
        async move {
            if let Some(refused) = refused {
                return Err(refused.error());
            }
            if let Some(loading) = loading {
                loading.await?;
            }
            Ok(Session::new(request))
        }
    }

    /// Lets this request read its session without keeping it alive: for a page that polls in the background, which
    /// would otherwise keep the session of a user who has left. Call it before the session is loaded, since loading
    /// counts as use.
    ///
    /// 1. Reading neither extends the idle timeout nor replaces an old token.
    /// 2. A client with a superseded token still gets the newest one, and a token of a compromised key is still
    ///    replaced.
    /// 3. A request that changes its session uses it, and extends the idle timeout.
    pub fn untouched(&self) {
        self.0.set_untouched();
    }

    /// Opens the request's tokens now, and leaves the store for when the session is used. The session counts as looked
    /// at only then.
    ///
    /// Use it where the head is at hand before anybody has asked for the session: in a middleware that offers the
    /// session through another crate's type, for example.
    #[must_use]
    pub fn defer(&self, head: &dyn RequestHead) -> DeferredSession {
        let mut opened = Box::new(load::present(&self.0.manager, head));
        let (presented, caller) = &mut *opened;
        caller.is_unseen = caller::is_unseen(head);
        if let Some(presented) = presented {
            presented.detach(head);
        }
        DeferredSession { request: Arc::clone(&self.0), opened: Mutex::new(Some(opened)) }
    }

    /// Returns the request's session if it is already loaded.
    #[must_use]
    pub fn loaded(&self) -> Option<Session> {
        self.0.is_loaded().then(|| Session::new(Arc::clone(&self.0)))
    }

    /// Ends the request: commits its changes and returns the headers that the response needs. `status` is the
    /// response's HTTP status; pass 500 for a service that failed without a response.
    ///
    /// 1. The statuses 100 to 499 commit, except 408 (the handler timed out) and 499 (the client closed the request).
    ///    Those two, and 500 and above, discard changes of data, a login and a renew, and keep a logout. Do not call
    ///    this after a handler that panicked.
    /// 2. A commit runs to its end, even if the future is dropped because the client hung up: see
    ///    [`SessionManager::drained`].
    /// 3. Afterwards every change is refused with [`SessionError::Finished`].
    #[inline]
    pub fn finish(&self, status: u16) -> Finish {
        self.0.set_finished();
        // Checked here, so that a route that never asks for its session pays next to nothing.
        if self.0.was_looked_at() { finish::finish(&self.0, status) } else { Finish::nothing() }
    }
}

/// The opened tokens with who presented them, until they are judged. Boxed, because whoever holds them moves them with the
/// request.
type Presenting = Option<Box<(Option<Presented>, Caller)>>;

/// A request's session whose tokens are opened, but not judged yet: see [`RequestSession::defer`].
pub struct DeferredSession {
    request: Arc<Request>,
    opened: Mutex<Presenting>,
}

impl DeferredSession {
    /// Returns the public handle of the session whose token the request presented, or `None` if it presented none that
    /// opens. The store was not asked, so the session may have ended.
    #[must_use]
    pub fn presented(&self) -> Option<Handle> {
        let opened = self.opened();
        let (presented, _) = opened.as_deref()?;
        presented.as_ref()?.handle()
    }

    /// Returns the request's session, as [`RequestSession::session`] does. The first call asks the store.
    ///
    /// # Errors
    ///
    /// [`SessionError::Store`] if the store fails, now or when this was called before; [`SessionError::ProofRefused`] if
    /// the request's DPoP proof is missing or wrong.
    pub async fn session(&self) -> Result<Session, SessionError> {
        self.request.set_looked_at();
        if !self.request.is_loaded() && !self.load_now() {
            // Boxed, because this future is part of every request's, and few have to wait.
            Box::pin(self.load()).await?;
        }
        Ok(Session::new(Arc::clone(&self.request)))
    }

    /// Loads the session if that needs no waiting. Returns `true` if it is loaded.
    fn load_now(&self) -> bool {
        let mut opened = self.opened();
        let Some((presented, caller)) = opened.as_deref_mut() else { return false };
        caller.untouched = self.request.is_untouched();
        let loaded = self.request.judge_now(presented, caller, None);
        if loaded {
            *opened = None;
        }
        loaded
    }

    async fn load(&self) -> Result<(), SessionError> {
        const FAILED: &str = "the store failed when this request's session was first asked for";
        let _gate = self.request.gate.lock().await;
        // A parallel call may have loaded the session while this one waited for the gate.
        if !self.request.is_loaded() {
            if let Some(refused) = self.request.refused() {
                return Err(refused.error());
            }
            let opened = self.opened().take();
            // A store that has failed is not asked again: without their verdict the tokens give no session.
            let (presented, caller) = *opened.ok_or_else(|| SessionError::Store(StoreError::unavailable(FAILED)))?;
            self.request.judge(presented, caller).await?;
        }
        Ok(())
    }

    fn opened(&self) -> MutexGuard<'_, Presenting> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Request {
    /// Loads the session if that needs no waiting; otherwise returns the arguments of `load`.
    fn load_now(&self, head: &dyn RequestHead) -> Option<(Option<Presented>, Caller)> {
        let (mut presented, mut caller) = load::present(&self.manager, head);
        caller.untouched = self.is_untouched();
        if self.judge_now(&mut presented, &caller, Some(head)) {
            return None;
        }
        caller.is_unseen = caller::is_unseen(head);
        if let Some(presented) = &mut presented {
            presented.detach(head);
        }
        Some((presented, caller))
    }

    /// Judges the tokens if that needs no waiting. Returns `true` if the session is loaded. `head` tells if a person sees
    /// the response, unless `caller` knows that already.
    fn judge_now(&self, presented: &mut Option<Presented>, caller: &Caller, head: Option<&dyn RequestHead>) -> bool {
        // The error waits for `judge`.
        if caller.refused.is_some() {
            return false;
        }
        let state = match presented {
            Some(presented) => load::load_now(&self.manager, presented, caller),
            None => Some(load::without_cookie(caller.clone())),
        };
        let Some(mut state) = state else { return false };
        // Asked only where it matters, since most requests have no message waiting.
        if let Some(head) = head
            && let Ok(state) = state.get_mut()
            && state.live().is_some_and(|live| live.newest.meta.flash.is_some())
        {
            state.caller.is_unseen = caller::is_unseen(head);
        }
        self.set_state(state);
        true
    }

    /// Loads the session from the store. `presented` is `None` for a request without a cookie or bearer token of ours.
    async fn load(&self, presented: Option<Presented>, caller: Caller) -> Result<(), SessionError> {
        let _gate = self.gate.lock().await;
        // A parallel call may have loaded the session while this one waited for the gate.
        if !self.is_loaded() {
            self.judge(presented, caller).await?;
        }
        Ok(())
    }

    /// Judges the tokens by the store. The caller holds the gate.
    async fn judge(&self, presented: Option<Presented>, caller: Caller) -> Result<(), SessionError> {
        if let Some(refused) = caller.refused {
            return Err(self.refuse(refused));
        }
        let state = match presented {
            Some(presented) => load::load(&self.manager, presented, caller).await?,
            None => load::without_cookie(caller),
        };
        self.set_state(state);
        Ok(())
    }
}

impl std::fmt::Debug for RequestSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestSession").field("loaded", &self.0.is_loaded()).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for DeferredSession {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DeferredSession").field("loaded", &self.request.is_loaded()).finish_non_exhaustive()
    }
}
