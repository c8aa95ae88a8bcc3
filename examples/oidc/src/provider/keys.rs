//! The keys that the provider signs with: kept for some minutes, and fetched by one task at a time.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use openidconnect::core::CoreJsonWebKeySet;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::Instant;

use super::{AnyError, Provider};

/// Keys are fetched again after this time, so that a key which the provider has withdrawn is no longer accepted.
pub(crate) const KEYS_LAST: Duration = Duration::from_secs(10 * 60);
/// If no key fits, they are fetched again, but not more often than this: anyone can send a token that no key fits. A
/// fetch that failed counts, too.
pub(crate) const KEYS_REST: Duration = Duration::from_secs(10);

#[derive(Clone, Default)]
pub(super) struct Keys {
    kept: Arc<Mutex<Option<Kept>>>,
    /// The end of the last fetch, if it failed. The lock is held during a fetch, and by nobody whom the kept keys suit.
    failed_at: Arc<AsyncMutex<Option<Instant>>>,
}

struct Kept {
    set: CoreJsonWebKeySet,
    fetched_at: Instant,
}

impl Keys {
    fn of_the_last(&self, age: Duration) -> Option<CoreJsonWebKeySet> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref().filter(|kept| kept.fetched_at.elapsed() < age).map(|kept| kept.set.clone())
    }
}

impl Provider {
    /// Returns the provider's keys, fetched at most `age` ago. Callers wait for one fetch together.
    ///
    /// # Errors
    ///
    /// If the keys cannot be fetched, or could not within the last [`KEYS_REST`].
    pub(crate) async fn keys(&self, age: Duration) -> Result<CoreJsonWebKeySet, AnyError> {
        if let Some(set) = self.keys.of_the_last(age) {
            return Ok(set);
        }
        let failed_at = Arc::clone(&self.keys.failed_at).lock_owned().await;
        // Another caller may have fetched them meanwhile.
        if let Some(set) = self.keys.of_the_last(age) {
            return Ok(set);
        }
        if let Some(ago) = failed_at.map(|at| at.elapsed()).filter(|ago| *ago < KEYS_REST) {
            let (ago, rest) = (ago.as_secs(), KEYS_REST.as_secs());
            return Err(format!("a fetch failed {ago} seconds ago, and the next one begins {rest} after it").into());
        }
        // A task, so that a caller who hangs up stops no fetch that others wait for, and each fetch counts.
        tokio::spawn(self.clone().fetch_keys(failed_at)).await?
    }

    async fn fetch_keys(self, mut failed_at: OwnedMutexGuard<Option<Instant>>) -> Result<CoreJsonWebKeySet, AnyError> {
        let fetched = self.metadata().await;
        *failed_at = fetched.is_err().then(Instant::now);
        let set = fetched?.jwks().clone();
        let kept = Kept { set: set.clone(), fetched_at: Instant::now() };
        *self.keys.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(set)
    }
}
