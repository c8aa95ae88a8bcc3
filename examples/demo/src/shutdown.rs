//! Ends the demo in good order: on a signal, without waiting for ever for what has no end of its own.

use tokio::sync::watch;

/// Tells everything that has no end of its own, such as a live feed, that the server stops. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Stopping(watch::Receiver<()>);

impl Stopping {
    /// Returns a sender and its handle. [`wait`](Self::wait) is over when you drop the sender.
    #[must_use]
    pub fn new() -> (watch::Sender<()>, Self) {
        let (stop, stopping) = watch::channel(());
        (stop, Self(stopping))
    }

    /// Waits until the server stops.
    pub async fn wait(mut self) {
        while self.0.changed().await.is_ok() {}
    }
}

/// Waits for Ctrl-C or, on Unix, SIGTERM. Without a signal handler the demo runs until it is killed.
pub async fn signal() {
    let interrupted = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = interrupted => {}
        () = terminated() => {}
    }
}

#[cfg(unix)]
async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};

    let received = match signal(SignalKind::terminate()) {
        Ok(mut signals) => signals.recv().await,
        Err(_) => None,
    };
    if received.is_none() {
        std::future::pending::<()>().await;
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending::<()>().await;
}
