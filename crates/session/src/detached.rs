//! A commit that outlives the request that began it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A future that runs to its end even if it is dropped: on the runtime, without anyone waiting.
#[must_use = "a future does nothing unless it is awaited"]
pub(crate) struct Detached<T: Send + 'static> {
    future: Option<Boxed<T>>,
    started: bool,
}

impl<T: Send + 'static> Detached<T> {
    /// Runs to its end even if it is never polled.
    pub(crate) fn always(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self { future: Some(Box::pin(future)), started: true }
    }

    /// Runs to its end once it was polled.
    pub(crate) fn once_started(future: impl Future<Output = T> + Send + 'static) -> Self {
        Self { future: Some(Box::pin(future)), started: false }
    }
}

impl<T: Send + 'static> Future for Detached<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        self.started = true;
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
        if let Some(future) = self.future.take().filter(|_| self.started)
            && !std::thread::panicking()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            runtime.spawn(future);
        }
    }
}
