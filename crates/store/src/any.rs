//! A store whose type is erased.

use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use secure_sessions_core::{Bucket, Entry, Lifespan, Revision, SessionId, Timestamp, Tombstone};

use crate::{Listed, Page, SessionStore, StoreError, Tags, Which};

/// A [`SessionStore`] with its type erased; a clone is the same store.
///
/// ```
/// # #[cfg(all(feature = "memory", feature = "sqlite"))]
/// # async fn example() -> Result<(), secure_sessions_store::StoreError> {
/// use secure_sessions_store::{AnyStore, MemoryStore, SqlStore};
///
/// let store = match std::env::var("SESSIONS_DATABASE") {
///     Ok(url) => AnyStore::new(SqlStore::connect(&url).await?),
///     Err(_) => AnyStore::new(MemoryStore::new()),
/// };
/// # Ok(())
/// # }
/// ```
///
/// Each call costs one boxed future.
#[derive(Clone)]
pub struct AnyStore(Arc<dyn Erased>);

impl AnyStore {
    /// Erases the type of a store.
    #[must_use]
    pub fn new(store: impl SessionStore) -> Self {
        Self(Arc::new(store))
    }

    /// Does what [`replace`](SessionStore::replace) does, without a boxed future; `None`, and nothing was done, unless the
    /// store [answers at once](SessionStore::answers_at_once).
    #[must_use]
    pub fn replace_now(&self, bucket: &Bucket, expected: Revision) -> Option<Result<bool, StoreError>> {
        self.0.replace_now(bucket, expected)
    }
}

impl fmt::Debug for AnyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyStore(..)")
    }
}

impl SessionStore for AnyStore {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.0.insert(bucket).await
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        self.0.load(id).await
    }

    fn peek(&self, id: &SessionId) -> Option<Bucket> {
        self.0.peek(id)
    }

    fn answers_at_once(&self) -> bool {
        self.0.answers_at_once()
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        self.0.replace(bucket, expected).await
    }

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        self.0.renew_into(bucket, old, expected, tombstone).await
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        self.0.remove(id, tombstone).await
    }

    async fn list(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed>, StoreError> {
        self.0.list(tags, page).await
    }

    async fn list_lifespans(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed<Lifespan>>, StoreError> {
        self.0.list_lifespans(tags, page).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.0.count().await
    }

    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        self.0.remove_all(which, except).await
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.0.purge_expired(now, limit).await
    }

    async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        self.0.now().await
    }

    async fn not_before(&self) -> Result<Option<Timestamp>, StoreError> {
        self.0.not_before().await
    }

    async fn raise_not_before(&self, at: Timestamp) -> Result<(), StoreError> {
        self.0.raise_not_before(at).await
    }
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// [`SessionStore`] with boxed futures, so that it can be a trait object.
trait Erased: Send + Sync + 'static {
    fn insert<'a>(&'a self, bucket: &'a Bucket) -> Boxed<'a, ()>;
    fn load<'a>(&'a self, id: &'a SessionId) -> Boxed<'a, Option<Entry>>;
    fn peek(&self, id: &SessionId) -> Option<Bucket>;
    fn answers_at_once(&self) -> bool;
    fn replace_now(&self, bucket: &Bucket, expected: Revision) -> Option<Result<bool, StoreError>>;
    fn replace<'a>(&'a self, bucket: &'a Bucket, expected: Revision) -> Boxed<'a, bool>;
    fn renew_into<'a>(
        &'a self,
        bucket: &'a Bucket,
        old: &'a SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Boxed<'a, bool>;
    fn remove<'a>(&'a self, id: &'a SessionId, tombstone: Option<Tombstone>) -> Boxed<'a, bool>;
    fn list<'a>(&'a self, tags: Tags<'a>, page: Page) -> Boxed<'a, Vec<Listed>>;
    fn list_lifespans<'a>(&'a self, tags: Tags<'a>, page: Page) -> Boxed<'a, Vec<Listed<Lifespan>>>;
    fn count(&self) -> Boxed<'_, u64>;
    fn remove_all<'a>(&'a self, which: Which<'a>, except: Option<&'a SessionId>) -> Boxed<'a, u64>;
    fn purge_expired(&self, now: Timestamp, limit: u32) -> Boxed<'_, u64>;
    fn now(&self) -> Boxed<'_, Option<Timestamp>>;
    fn not_before(&self) -> Boxed<'_, Option<Timestamp>>;
    fn raise_not_before(&self, at: Timestamp) -> Boxed<'_, ()>;
}

impl<S: SessionStore> Erased for S {
    fn insert<'a>(&'a self, bucket: &'a Bucket) -> Boxed<'a, ()> {
        Box::pin(SessionStore::insert(self, bucket))
    }

    fn load<'a>(&'a self, id: &'a SessionId) -> Boxed<'a, Option<Entry>> {
        Box::pin(SessionStore::load(self, id))
    }

    fn peek(&self, id: &SessionId) -> Option<Bucket> {
        SessionStore::peek(self, id)
    }

    fn answers_at_once(&self) -> bool {
        SessionStore::answers_at_once(self)
    }

    fn replace_now(&self, bucket: &Bucket, expected: Revision) -> Option<Result<bool, StoreError>> {
        if !SessionStore::answers_at_once(self) {
            return None;
        }
        let replacing = pin!(SessionStore::replace(self, bucket, expected));
        match replacing.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => Some(answer),
            // It waits although it said that it never does.
            Poll::Pending => None,
        }
    }

    fn replace<'a>(&'a self, bucket: &'a Bucket, expected: Revision) -> Boxed<'a, bool> {
        Box::pin(SessionStore::replace(self, bucket, expected))
    }

    fn renew_into<'a>(
        &'a self,
        bucket: &'a Bucket,
        old: &'a SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Boxed<'a, bool> {
        Box::pin(SessionStore::renew_into(self, bucket, old, expected, tombstone))
    }

    fn remove<'a>(&'a self, id: &'a SessionId, tombstone: Option<Tombstone>) -> Boxed<'a, bool> {
        Box::pin(SessionStore::remove(self, id, tombstone))
    }

    fn list<'a>(&'a self, tags: Tags<'a>, page: Page) -> Boxed<'a, Vec<Listed>> {
        Box::pin(SessionStore::list(self, tags, page))
    }

    fn list_lifespans<'a>(&'a self, tags: Tags<'a>, page: Page) -> Boxed<'a, Vec<Listed<Lifespan>>> {
        Box::pin(SessionStore::list_lifespans(self, tags, page))
    }

    fn count(&self) -> Boxed<'_, u64> {
        Box::pin(SessionStore::count(self))
    }

    fn remove_all<'a>(&'a self, which: Which<'a>, except: Option<&'a SessionId>) -> Boxed<'a, u64> {
        Box::pin(SessionStore::remove_all(self, which, except))
    }

    fn purge_expired(&self, now: Timestamp, limit: u32) -> Boxed<'_, u64> {
        Box::pin(SessionStore::purge_expired(self, now, limit))
    }

    fn now(&self) -> Boxed<'_, Option<Timestamp>> {
        Box::pin(SessionStore::now(self))
    }

    fn not_before(&self) -> Boxed<'_, Option<Timestamp>> {
        Box::pin(SessionStore::not_before(self))
    }

    fn raise_not_before(&self, at: Timestamp) -> Boxed<'_, ()> {
        Box::pin(SessionStore::raise_not_before(self, at))
    }
}

#[cfg(all(test, feature = "memory"))]
mod tests {
    use secure_sessions_core::{Fingerprint, NewBucket, Revision};

    use super::*;
    use crate::MemoryStore;

    struct Distant(MemoryStore);

    impl SessionStore for Distant {
        crate::forward_methods!(self => &self.0;
            insert, load, peek, replace, renew_into, remove, list, count, remove_all, purge_expired);
    }

    #[tokio::test]
    async fn only_a_store_that_answers_at_once_replaces_at_once() {
        let memory = MemoryStore::new();
        let (near, distant) = (AnyStore::new(memory.clone()), AnyStore::new(Distant(memory)));
        let first = Fingerprint::from_bytes([1; 16]);
        let (id, expires_at) = (SessionId::from_bytes([1; 16]), Timestamp::from_millis(1000));
        let bucket = Bucket::create(
            NewBucket { id, subject: None, group: None, label: None, expires_at, idle_timeout: None, first },
            Timestamp::from_millis(1),
        );
        SessionStore::insert(&near, &bucket).await.expect("a free id");
        let next = Bucket { revision: Revision::new(2), ..bucket.clone() };
        assert!(distant.replace_now(&next, bucket.revision).is_none(), "it is to be asked by `replace`");
        assert!(matches!(near.replace_now(&next, Revision::new(77)), Some(Ok(false))), "another revision");
        assert!(matches!(near.replace_now(&next, bucket.revision), Some(Ok(true))));
        assert!(matches!(near.replace_now(&next, bucket.revision), Some(Ok(false))), "it was replaced");
    }
}
