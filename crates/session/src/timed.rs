//! Stores whose calls are measured.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use secure_sessions_store::{
    AnyStore, AnyVaultStore, Blob, BlobId, Bucket, Entry, Lifespan, Listed, Page, Revision, SessionId, SessionStore,
    StoreError, Tags, Timestamp, Tombstone, VaultId, VaultStore, Which,
};

use crate::event::Observer;
use crate::event::measure::Measure;

/// Tells these observers how long each call of the store takes.
pub(crate) struct Timed<S> {
    pub(crate) store: S,
    pub(crate) observers: Vec<Arc<dyn Observer>>,
}

impl<S> Timed<S> {
    async fn call<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        self.swap(operation, call, |_| true).await
    }

    /// Measures a call whose answer may say that nothing was written.
    async fn swap<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
        has_won: impl FnOnce(&T) -> bool,
    ) -> Result<T, StoreError> {
        let start = Instant::now();
        let answer = call.await;
        let took = start.elapsed();
        let outcome = match &answer {
            Ok(answer) if has_won(answer) => "ok",
            Ok(_) => "conflict",
            Err(error) => kind(error),
        };
        for observer in &self.observers {
            observer.measure(&Measure::StoreCall { operation, outcome, took });
        }
        answer
    }
}

fn kind(error: &StoreError) -> &'static str {
    match error {
        StoreError::Duplicate => "duplicate",
        StoreError::Unavailable(_) => "unavailable",
        StoreError::Timeout => "timeout",
        StoreError::Corrupt(_) => "corrupt",
        StoreError::Rejected(_) => "rejected",
        StoreError::Unsupported(_) => "unsupported",
        _ => "other",
    }
}

impl SessionStore for Timed<AnyStore> {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.call("insert", self.store.insert(bucket)).await
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        self.call("load", self.store.load(id)).await
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        self.swap("replace", self.store.replace(bucket, expected), |won| *won).await
    }

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        self.swap("renew_into", self.store.renew_into(bucket, old, expected, tombstone), |won| *won).await
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        self.call("remove", self.store.remove(id, tombstone)).await
    }

    async fn list(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed>, StoreError> {
        self.call("list", self.store.list(tags, page)).await
    }

    async fn list_lifespans(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed<Lifespan>>, StoreError> {
        self.call("list_lifespans", self.store.list_lifespans(tags, page)).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.call("count", self.store.count()).await
    }

    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        self.call("remove_all", self.store.remove_all(which, except)).await
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.call("purge_expired", self.store.purge_expired(now, limit)).await
    }

    async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        self.call("now", self.store.now()).await
    }

    async fn not_before(&self) -> Result<Option<Timestamp>, StoreError> {
        self.call("not_before", self.store.not_before()).await
    }

    async fn raise_not_before(&self, at: Timestamp) -> Result<(), StoreError> {
        self.call("raise_not_before", self.store.raise_not_before(at)).await
    }

    // Neither waits, so there is nothing to measure.
    secure_sessions_store::forward_methods!(self => &self.store; peek, answers_at_once);
}

impl VaultStore for Timed<AnyVaultStore> {
    async fn put(&self, vault: &VaultId, blobs: &[Blob], purge_at: Timestamp) -> Result<(), StoreError> {
        self.call("put", self.store.put(vault, blobs, purge_at)).await
    }

    async fn get(&self, vault: &VaultId, ids: &[BlobId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.call("get", self.store.get(vault, ids)).await
    }

    async fn delete(&self, vault: &VaultId, ids: &[BlobId]) -> Result<(), StoreError> {
        self.call("delete", self.store.delete(vault, ids)).await
    }

    async fn delete_all(&self, vaults: &[VaultId]) -> Result<(), StoreError> {
        self.call("delete_all", self.store.delete_all(vaults)).await
    }

    async fn prolong(&self, vault: &VaultId, purge_at: Timestamp) -> Result<(), StoreError> {
        self.call("prolong", self.store.prolong(vault, purge_at)).await
    }

    async fn purge(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.call("purge", self.store.purge(now, limit)).await
    }
}
