//! The cell that all holders of one request share: its manager, its state once it is loaded, and its locks.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::ThreadId;

use once_cell::race::OnceBox;

use crate::manager::SessionManager;
use crate::request::state::State;

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

impl Request {
    pub(crate) fn new(manager: SessionManager) -> Self {
        Self {
            manager,
            state: OnceBox::new(),
            gate: tokio::sync::Mutex::const_new(()),
            looked_at: AtomicBool::new(false),
            finished: AtomicBool::new(false),
        }
    }

    pub(crate) fn is_loaded(&self) -> bool {
        self.state.get().is_some()
    }

    /// Keeps the state, unless another one was faster.
    pub(crate) fn set_state(&self, state: Box<Mutex<State>>) {
        // Whoever was first, said the same.
        let _ = self.state.set(state);
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

    pub(crate) fn set_looked_at(&self) {
        self.looked_at.store(true, Ordering::Relaxed);
    }

    /// Marks this thread as running a closure of the application's, until the guard is dropped.
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
