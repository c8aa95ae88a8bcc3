//! Commits that outlive the request that began them, and the wait for them before a process ends.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::sync::Notify;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The commits of one manager that are under way. A request that commits nothing never touches it.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    under_way: AtomicUsize,
    idle: Notify,
}

impl Commits {
    /// Waits until no commit is under way.
    pub(crate) async fn drained(&self) {
        loop {
            // Created before the check, so that it misses no notification after it.
            let idle = self.idle.notified();
            if self.under_way.load(Ordering::Acquire) == 0 {
                return;
            }
            idle.await;
        }
    }

    fn begin(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(Arc::clone(self))
    }
}

/// Counts one commit until it is dropped.
struct UnderWay(Arc<Commits>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.0.under_way.fetch_sub(1, Ordering::Release) == 1 {
            self.0.idle.notify_waiters();
        }
    }
}

/// A commit that runs to its end even if it is dropped: the runtime then runs it in the background.
#[must_use = "a future does nothing unless it is awaited"]
pub(crate) struct Detached<T: Send + 'static> {
    future: Option<Boxed<T>>,
    started: bool,
}

pin_project! {
    /// A commit that counts as under way until it is dropped. (An `async` block around it would take its room twice.)
    struct Counted<F> {
        #[pin]
        future: F,
        _under_way: UnderWay,
    }
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.project().future.poll(context)
    }
}

impl<T: Send + 'static> Detached<T> {
    /// Creates a commit that runs to its end even if it is never polled.
    pub(crate) fn always(commits: &Arc<Commits>, future: impl Future<Output = T> + Send + 'static) -> Self {
        let mut detached = Self::once_started(commits, future);
        detached.started = true;
        detached
    }

    /// Creates a commit that runs to its end once it was polled.
    pub(crate) fn once_started(commits: &Arc<Commits>, future: impl Future<Output = T> + Send + 'static) -> Self {
        let counted = Counted { future, _under_way: commits.begin() };
        Self { future: Some(Box::pin(counted)), started: false }
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.started = true;
        // Polled again after it was ready.
        let Some(future) = &mut self.future else { return Poll::Pending };
        let ready = future.as_mut().poll(context);
        if ready.is_ready() {
            self.future = None;
        }
        ready
    }
}

impl<T: Send + 'static> Drop for Detached<T> {
    fn drop(&mut self) {
        // Without a runtime, or while the thread panics, nobody could run it: the commit is lost.
        if let Some(future) = self.future.take().filter(|_| self.started)
            && !std::thread::panicking()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(future);
        }
    }
}
