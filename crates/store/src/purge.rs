//! The background task that removes expired entries.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use secure_sessions_core::{Millis, Timestamp};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::{AnyVaultStore, SessionStore, StoreError, VaultStore};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(60);
const DEFAULT_BATCH: u32 = 1000;
/// The pause between two batches of a round, so that requests get their turn at a store with one writer.
const BATCH_PAUSE: Duration = Duration::from_millis(1);
/// The pause after the first failure; each further failure doubles it.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(5 * 60);

/// A task that removes expired entries from a store at an interval.
///
/// A store keeps its entries until you purge it. One process that does so is enough; several do no harm, their jitter spreads
/// them. A failure of the store is logged and retried; it never ends the task.
///
/// An entry is removed once it is due by the clock of this host *and* by that of the store's server, if it has one
/// ([`SessionStore::now`]).
///
/// ```
/// # #[cfg(feature = "memory")] {
/// use std::time::Duration;
/// use secure_sessions_store::{MemoryStore, Purge};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let store = MemoryStore::new();
/// let purge = Purge::new(store.clone()).interval(Duration::from_secs(30)).spawn();
/// // ... serve ...
/// let removed = purge.stop().await;
/// # assert_eq!(removed, 0);
/// # }
/// # main();
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "nothing is purged before `spawn`"]
pub struct Purge<S, C = fn() -> Timestamp> {
    store: S,
    vault: Option<AnyVaultStore>,
    clock: C,
    interval: Duration,
    jitter: Duration,
    batch: u32,
}

impl<S: SessionStore> Purge<S> {
    /// Returns a purge of this store: each minute plus up to a tenth, a thousand entries at a time, by the system's clock.
    pub fn new(store: S) -> Self {
        Self {
            store,
            vault: None,
            clock: system_time,
            interval: DEFAULT_INTERVAL,
            jitter: DEFAULT_INTERVAL / 10,
            batch: DEFAULT_BATCH,
        }
    }
}

impl<S: SessionStore, C: Fn() -> Timestamp + Send + Sync + 'static> Purge<S, C> {
    /// Sets the time from the end of one round to the beginning of the next, before jitter, and the jitter to a tenth of it.
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval, jitter: interval / 10, ..self }
    }

    /// Sets the most that a random part adds to the interval.
    pub fn jitter(self, jitter: Duration) -> Self {
        Self { jitter, ..self }
    }

    /// Sets the most entries that one call of [`SessionStore::purge_expired`] removes; at least 1. A round repeats the call
    /// until nothing more is due.
    pub fn batch(self, entries: u32) -> Self {
        Self { batch: entries.max(1), ..self }
    }

    /// Removes private values whose deadline has passed from this store too; their number is counted with the rest.
    pub fn vault(self, vault: impl VaultStore) -> Self {
        Self { vault: Some(AnyVaultStore::new(vault)), ..self }
    }

    /// Sets another clock.
    pub fn clock<D: Fn() -> Timestamp + Send + Sync + 'static>(self, clock: D) -> Purge<S, D> {
        let Self { store, vault, interval, jitter, batch, .. } = self;
        Purge { store, vault, clock, interval, jitter, batch }
    }

    /// Runs one round here and now: removes all entries that are due, and returns their number.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails; some of the entries may be gone then.
    pub async fn run_once(&self) -> Result<u64, StoreError> {
        let removed = AtomicU64::new(0);
        self.round(&removed, &mut unstoppable()).await?;
        Ok(removed.into_inner())
    }

    /// Starts the task. Its first round begins at once.
    ///
    /// # Panics
    ///
    /// Panics outside of a tokio runtime.
    #[must_use = "the task stops when its handle is dropped"]
    pub fn spawn(self) -> PurgeHandle {
        let (signal, stop) = watch::channel(false);
        let removed = Arc::new(AtomicU64::new(0));
        let task = tokio::spawn(self.run(Arc::clone(&removed), stop));
        PurgeHandle { signal, task: Some(task), removed }
    }

    async fn run(self, removed: Arc<AtomicU64>, mut stop: watch::Receiver<bool>) {
        let mut failures: u32 = 0;
        loop {
            let before = removed.load(Ordering::Relaxed);
            let outcome = self.round(&removed, &mut stop).await;
            let entries = removed.load(Ordering::Relaxed) - before;
            if entries > 0 {
                tracing::debug!(entries, "purged expired sessions");
            }
            let wait = match outcome {
                Ok(()) => {
                    failures = 0;
                    self.interval.saturating_add(random_up_to(self.jitter))
                }
                Err(error) => {
                    let wait = retry_after(failures);
                    failures = failures.saturating_add(1);
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(%error, cause, failures, ?wait, "the purge of expired sessions failed; it will be tried again");
                    wait + random_up_to(wait / 10)
                }
            };
            if stopped_within(&mut stop, wait).await {
                return;
            }
        }
    }

    /// Calls the store until it removes fewer entries than it may. Ends early if the task has to stop.
    async fn round(&self, removed: &AtomicU64, stop: &mut watch::Receiver<bool>) -> Result<(), StoreError> {
        // Take one time for the whole round: a long one would never catch up with the clock. If the host's clock is ahead,
        // go by the store's, which all hosts share: what is due here may be alive for others.
        let own = (self.clock)();
        let now = self.store.now().await?.map_or(own, |theirs| own.min(theirs));
        loop {
            let entries = self.store.purge_expired(now, self.batch).await?;
            removed.fetch_add(entries, Ordering::Relaxed);
            if entries < u64::from(self.batch) {
                break;
            }
            if stopped_within(stop, BATCH_PAUSE).await {
                return Ok(());
            }
        }
        let Some(vault) = &self.vault else { return Ok(()) };
        loop {
            let entries = vault.purge(now, self.batch).await?;
            removed.fetch_add(entries, Ordering::Relaxed);
            if entries < u64::from(self.batch) || stopped_within(stop, BATCH_PAUSE).await {
                return Ok(());
            }
        }
    }
}

/// A handle to the task of a [`Purge`]. Dropping it stops the task; [`detach`](Self::detach) lets it run on.
#[derive(Debug)]
pub struct PurgeHandle {
    signal: watch::Sender<bool>,
    task: Option<JoinHandle<()>>,
    removed: Arc<AtomicU64>,
}

impl PurgeHandle {
    /// Returns the number of entries that it has removed so far.
    #[must_use]
    pub fn removed(&self) -> u64 {
        self.removed.load(Ordering::Relaxed)
    }

    /// Stops the task, waits until a batch under way has ended, and returns the number of entries removed in all.
    pub async fn stop(mut self) -> u64 {
        self.signal.send_replace(true);
        if let Some(task) = self.task.take()
            && task.await.is_err()
        {
            tracing::warn!("the purge of expired sessions had ended early: the store or the clock panicked");
        }
        self.removed()
    }

    /// Lets the task run as long as the runtime does.
    pub fn detach(mut self) {
        self.task = None;
    }
}

impl Drop for PurgeHandle {
    fn drop(&mut self) {
        if self.task.is_some() {
            self.signal.send_replace(true);
        }
    }
}

/// Waits; returns `true` if the task has to stop. If the sender is gone without a message, the task was detached.
async fn stopped_within(stop: &mut watch::Receiver<bool>, wait: Duration) -> bool {
    let waiting = async {
        if stop.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    timeout(wait, waiting).await.is_ok()
}

fn unstoppable() -> watch::Receiver<bool> {
    watch::channel(false).1
}

fn retry_after(failures: u32) -> Duration {
    FIRST_RETRY.saturating_mul(2_u32.saturating_pow(failures)).min(LONGEST_RETRY)
}

fn system_time() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(Millis::from(since).get())
}

/// Returns a number that is random enough to spread processes: std's hash keys come from the system.
fn random_up_to(length: Duration) -> Duration {
    let millis = Millis::from(length).get();
    Duration::from_millis(RandomState::new().build_hasher().finish() % millis.saturating_add(1).max(1))
}

#[cfg(test)]
mod tests;
