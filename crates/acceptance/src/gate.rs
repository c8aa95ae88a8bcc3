//! A gate that holds requests until a test opens it: races without guessing at times.

use std::sync::Arc;

use tokio::sync::watch;

/// Holds requests in the middle of their work. Clones are the same gate.
#[derive(Clone, Default)]
pub struct Gate(Arc<State>);

struct State {
    /// Counts how often it was opened.
    opened: watch::Sender<u64>,
}

impl Default for State {
    fn default() -> Self {
        Self { opened: watch::Sender::new(0) }
    }
}

impl Gate {
    /// Waits until the gate is opened the next time.
    pub async fn wait(&self) {
        let mut opened = self.0.opened.subscribe();
        // The sender is in `self`, so it is not gone.
        let _ = opened.changed().await;
    }

    /// Returns the number of requests that wait. A request whose client hung up does not.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.opened.receiver_count()
    }

    /// Lets everyone pass who waits now.
    pub fn open(&self) {
        self.0.opened.send_modify(|times| *times += 1);
    }
}
