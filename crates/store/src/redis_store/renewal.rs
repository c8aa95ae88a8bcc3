//! Renewal: the end of one session and the beginning of the next, in one step or, in a cluster, in three.

use std::sync::Arc;
use std::time::Duration;

use secure_sessions_core::{Bucket, Entry, Revision, SessionId, Tombstone};
use tokio::time::{Instant, sleep};

use super::Inner;
use super::scripts::{Outcome, Removed};
use super::value::Write;
use crate::StoreError;

/// The time for which the end of a renewal is retried after its caller got an error.
const SEE_THROUGH: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(250);

pub(super) async fn renew_into(
    inner: &Arc<Inner>,
    bucket: &Bucket,
    old: &SessionId,
    expected: Revision,
    tombstone: &Tombstone,
) -> Result<bool, StoreError> {
    if !inner.connection.is_cluster() {
        return in_one_step(inner, bucket, old, expected, tombstone).await;
    }
    if bucket.id == *old {
        return taken(inner, old, expected).await;
    }
    let renewal = Renewal {
        inner: Arc::clone(inner),
        write: Write::renewal(bucket),
        old: *old,
        expected,
        tombstone: Write::tombstone(tombstone),
    };
    // A task of its own: it must not stop half-way when the caller goes away.
    let task = tokio::spawn(renewal.begin());
    task.await.map_err(|_| StoreError::unavailable("the runtime ended during a renewal"))?
}

async fn in_one_step(
    inner: &Inner,
    bucket: &Bucket,
    old: &SessionId,
    expected: Revision,
    tombstone: &Tombstone,
) -> Result<bool, StoreError> {
    let (write, tombstone) = (Write::bucket(bucket), Write::tombstone(tombstone));
    let (new, old) = (inner.keys.entry(&bucket.id), inner.keys.entry(old));
    let indexes = inner.indexes(&write);
    let mut keys = vec![new.as_str(), old.as_str()];
    keys.extend(indexes.iter().map(String::as_str));
    match inner.connection.renew_into(&keys, &write, expected, &tombstone).await? {
        Outcome::Done => Ok(true),
        Outcome::Duplicate => Err(StoreError::Duplicate),
        _ => Ok(false),
    }
}

/// Judges a renewal whose new id is taken. That matters only if the old session has the expected revision.
async fn taken(inner: &Inner, old: &SessionId, expected: Revision) -> Result<bool, StoreError> {
    match inner.load(old).await? {
        Some(Entry::Bucket(bucket)) if bucket.revision == expected => Err(StoreError::Duplicate),
        _ => Ok(false),
    }
}

/// A renewal in a cluster.
struct Renewal {
    inner: Arc<Inner>,
    write: Write,
    old: SessionId,
    expected: Revision,
    tombstone: Write,
}

impl Renewal {
    async fn begin(self) -> Result<bool, StoreError> {
        match self.inner.insert(&self.write).await {
            Ok(()) => {}
            Err(StoreError::Duplicate) => return taken(&self.inner, &self.old, self.expected).await,
            Err(error) => {
                // It may have been written all the same, and the old session has not ended.
                tokio::spawn(self.take_back_in_the_end());
                return Err(error);
            }
        }
        match self.end_old().await {
            Ok(true) => Ok(true),
            Ok(false) => {
                if self.take_back().await.is_err() {
                    tokio::spawn(self.take_back_in_the_end());
                }
                Ok(false)
            }
            Err(error) => {
                tokio::spawn(self.see_through());
                Err(error)
            }
        }
    }

    /// Ends the old session. A repeated call recognises its own first run by the tombstone's nonce.
    async fn end_old(&self) -> Result<bool, StoreError> {
        let key = self.inner.keys.entry(&self.old);
        let removed = self.inner.connection.remove(&key, Some(&self.tombstone), Some(self.expected)).await?;
        // Its place in the index stays until it is stale, so that a walk over the list sees that it was renewed.
        Ok(matches!(removed, Removed::Bucket(_)))
    }

    async fn take_back(&self) -> Result<(), StoreError> {
        self.inner.connection.take_back(&self.inner.keys.entry(&self.write.id), &self.write).await
    }

    async fn take_back_in_the_end(self) {
        let deadline = Instant::now() + SEE_THROUGH;
        while self.take_back().await.is_err() && Instant::now() < deadline {
            sleep(PAUSE).await;
        }
    }

    /// Ends the old session, or removes the new one: the caller got an error, and nobody knows which of the two is alive.
    async fn see_through(self) {
        let deadline = Instant::now() + SEE_THROUGH;
        loop {
            match self.end_old().await {
                Ok(true) => return,
                Ok(false) => break,
                Err(_) if Instant::now() >= deadline => break,
                Err(_) => sleep(PAUSE).await,
            }
        }
        self.take_back_in_the_end().await;
    }
}
