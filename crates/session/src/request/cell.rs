//! The cell that all clones of one request share: its manager, its state once it is loaded, and its locks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use once_cell::race::OnceBox;

use crate::error::SessionError;
use crate::manager::SessionManager;
use crate::request::dpop::ProofRefused;
use crate::request::state::State;

pub(crate) struct Request {
    pub(crate) manager: SessionManager,
    /// The state once it is loaded. It is boxed, so that a request that never asks for its session stays small.
    state: OnceBox<Mutex<State>>,
    /// The reason why the request was refused for its DPoP proof. It then has no state. Boxed, as few requests have one.
    refused: OnceBox<ProofRefused>,
    /// The gate that admits one load or commit at a time.
    pub(crate) gate: tokio::sync::Mutex<()>,
    /// `true` once the session was asked for, even if its load failed: the response then depends on the cookie.
    looked_at: AtomicBool,
    /// `true` if the request must not keep its session alive.
    untouched: AtomicBool,
    /// `true` once the response's headers are being made: no change can reach the client any more.
    finished: AtomicBool,
}

impl Request {
    pub(crate) fn new(manager: SessionManager) -> Self {
        Self {
            manager,
            state: OnceBox::new(),
            refused: OnceBox::new(),
            gate: tokio::sync::Mutex::const_new(()),
            looked_at: AtomicBool::new(false),
            untouched: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.state.get().is_some()
    }

    /// Sets the state, unless another thread was faster.
    pub(crate) fn set_state(&self, state: Box<Mutex<State>>) {
        // Two parallel loads of one request reach the same state, so either may stay.
        let _ = self.state.set(state);
    }

    /// Locks and returns the state, or `None` if it is not loaded yet.
    pub(crate) fn loaded_state(&self) -> Option<MutexGuard<'_, State>> {
        // No code of the application runs under this lock, and none of ours panics, so it cannot be poisoned.
        self.state.get().map(|state| state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Refuses the request for its proof, and returns the error. It is reported once, however often a session is asked for.
    pub(crate) fn refuse(&self, refused: ProofRefused) -> SessionError {
        if self.refused.set(Box::new(refused)).is_ok() {
            refused.report(&self.manager);
        }
        refused.error()
    }

    pub(crate) fn refused(&self) -> Option<ProofRefused> {
        self.refused.get().copied()
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

    pub(crate) fn set_looked_at(&self) {
        self.looked_at.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_untouched(&self) -> bool {
        self.untouched.load(Ordering::Relaxed)
    }

    pub(crate) fn set_untouched(&self) {
        self.untouched.store(true, Ordering::Relaxed);
        if let Some(mut state) = self.loaded_state() {
            state.caller.untouched = true;
        }
    }

    /// Marks this thread as running a closure of the application, until the guard is dropped.
    pub(crate) fn enter_closure(&self) -> ClosureGuard<'_> {
        let thread = std::thread::current().id();
        if let Some(mut state) = self.loaded_state() {
            state.closures.push(thread);
        }
        ClosureGuard { request: self, thread }
    }
}

pub(crate) struct ClosureGuard<'r> {
    request: &'r Request,
    thread: ThreadId,
}

impl Drop for ClosureGuard<'_> {
    fn drop(&mut self) {
        if let Some(mut state) = self.request.loaded_state()
            && let Some(index) = state.closures.iter().position(|thread| *thread == self.thread)
        {
            state.closures.swap_remove(index);
        }
    }
}
