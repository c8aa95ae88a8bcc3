//! The health check: do sessions work on this host now?

use std::future::Future;
use std::time::Duration;

use secure_sessions_core::{BlobId, Bucket, Fingerprint, Millis, NewBucket, SessionId, Timestamp, VaultId};
use secure_sessions_store::{Blob, SessionStore, StoreError, VaultStore};
use tokio::time::{Instant, timeout_at};

use crate::error::with_causes;
use crate::event::measure::Measure;
use crate::health::{Health, Probe};
use crate::manager::SessionManager;

/// The time for all questions to the store together.
const LIMIT: Duration = Duration::from_secs(2);
/// The time for which an answer serves further callers, so that a public address costs the store little.
const SERVES_FOR: Duration = Duration::from_secs(1);

impl SessionManager {
    /// Checks whether sessions work: the store answers a read and takes a write, and how far the clocks differ. It answers
    /// within two seconds, whatever the store does; the answer also serves all who ask in the second after it.
    ///
    /// Serve it as the *readiness* probe of an application that is of no use without sessions. Do not make it a *liveness*
    /// probe: restarting the process does not repair a store. See
    /// [`health`](crate::guide::operations::health) for the route in each framework.
    ///
    /// ```
    /// use secure_sessions::{Keyring, MemoryStore, SessionManager};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let manager = SessionManager::builder(Keyring::generate()?, MemoryStore::new()).build()?;
    /// let health = manager.health().await;
    /// assert_eq!((health.status(), health.public_text()), (200, "ready\n"));
    /// # Ok(())
    /// # }
    /// ```
    pub async fn health(&self) -> Health {
        // Those who ask meanwhile wait, and get this answer.
        let mut newest = self.newest_health().lock().await;
        if let Some((at, health)) = &*newest
            && at.elapsed() < SERVES_FOR
        {
            return health.clone();
        }
        let health = self.check_health().await;
        self.measured(Measure::Health {
            reads: health.read.has_passed(),
            writes: health.write.has_passed(),
            vault: health.vault.as_ref().map(Probe::has_passed),
            clock_ahead_ms: health.clock_ahead_ms,
        });
        *newest = Some((Instant::now(), health.clone()));
        health
    }

    async fn check_health(&self) -> Health {
        let deadline = Instant::now() + LIMIT;
        let mut health = Health {
            read: Probe::Skipped,
            write: Probe::Skipped,
            vault: self.vault_store().map(|_| Probe::Skipped),
            clock_ahead_ms: None,
            keys: self.keyring().states().collect(),
            not_before: self.not_before(),
        };
        let (id, first) = match (random(), random()) {
            (Ok(id), Ok(first)) => (SessionId::from_bytes(id), Fingerprint::from_bytes(first)),
            (Err(error), _) | (_, Err(error)) => {
                health.read = Probe::Failed { problem: format!("the source of randomness failed: {error}") };
                return health;
            }
        };
        let store = self.store();
        // Nothing has this id, and a store that reads must say so.
        health.read = probe(deadline, async { store.load(&id).await.map(|_| true) }).await;
        if !health.read.has_passed() {
            return health;
        }
        let before = self.now();
        if let Ok(Ok(Some(theirs))) = timeout_at(deadline, store.now()).await {
            health.clock_ahead_ms = Some(ahead(before, theirs, self.now()));
        }
        // It expires at once, in case that it cannot be removed.
        let (subject, label, idle_timeout, expires_at) = (None, None, None, before.after(Millis::from_secs(1)));
        let bucket =
            Bucket::create(NewBucket { id, subject, group: None, label, expires_at, idle_timeout, first }, before);
        let write = async {
            store.insert(&bucket).await?;
            store.remove(&id, None).await
        };
        health.write = probe(deadline, write).await;
        if let Some(vaults) = self.vault_store() {
            let (vault, blob) = (VaultId::from_bytes(*id.as_bytes()), BlobId::from_bytes(*id.as_bytes()));
            let bytes = id.as_bytes().to_vec();
            let kept = async {
                // Some servers expire it by their own clock, which this host's may be behind.
                vaults.put(&vault, &[Blob { id: blob, bytes: bytes.clone() }], bucket.purge_at()).await?;
                let found = vaults.get(&vault, &[blob]).await?;
                vaults.delete_all(&[vault]).await?;
                Ok(found == [Some(bytes)])
            };
            health.vault = Some(probe(deadline, kept).await);
        }
        health
    }
}

fn random() -> Result<[u8; 16], getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map(|()| bytes)
}

/// Asks the store. `false` is the answer of one that has lost what it kept a moment ago.
async fn probe(deadline: Instant, question: impl Future<Output = Result<bool, StoreError>>) -> Probe {
    let start = Instant::now();
    match timeout_at(deadline, question).await {
        Ok(Ok(true)) => Probe::Passed { took: start.elapsed() },
        Ok(Ok(false)) => Probe::Failed {
            problem: "a session that was stored a moment ago is gone: is this a replica, or does the store evict it?"
                .to_owned(),
        },
        Ok(Err(error)) => Probe::Failed { problem: with_causes(&error) },
        Err(_) => Probe::Failed { problem: format!("no answer within {LIMIT:?}") },
    }
}

/// Returns the time by which the host is ahead of the store, in milliseconds: none if the store's time lies between the host's
/// times before and after the question.
fn ahead(before: Timestamp, theirs: Timestamp, after: Timestamp) -> i64 {
    let millis = |at: Timestamp| i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    if before > theirs {
        millis(before) - millis(theirs)
    } else if theirs > after {
        millis(after) - millis(theirs)
    } else {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_differ_by_what_the_way_to_the_store_does_not_explain() {
        let at = Timestamp::from_millis;
        for (before, theirs, after, expected) in
            [(1000, 1200, 1500, 0), (1000, 900, 1100, 100), (1000, 4000, 1500, -2500), (1000, 1000, 1000, 0)]
        {
            assert_eq!(ahead(at(before), at(theirs), at(after)), expected, "{before} {theirs} {after}");
        }
    }
}
