//! A cache in this process, in front of a store that is far away.

use std::fmt;
use std::sync::{Arc, PoisonError};
#[cfg(not(shuttle))]
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use quick_cache::unsync::Cache;
use secure_sessions_core::{Bucket, Entry, Lifespan, Revision, SessionId, Timestamp, Tombstone};
// With `--cfg shuttle`, which only a test sets, that test decides who gets a lock when.
#[cfg(shuttle)]
use shuttle::sync::{Mutex, MutexGuard};
use tokio::time::Instant;

use crate::{Listed, Page, SessionStore, StoreError, Tags, VaultStore, Which};

/// The number of locks: enough that parallel requests seldom wait for each other.
const SHARDS: usize = 32;

/// A cache that remembers sessions for a moment, so that not every request asks the store behind it; a clone is the same
/// cache.
///
/// ```
/// use std::time::Duration;
///
/// use secure_sessions_store::CachedStore;
/// # use secure_sessions_store::MemoryStore as RedisStore;
///
/// # let redis = RedisStore::new();
/// // At most 100,000 sessions, each for at most two seconds.
/// let store = CachedStore::new(redis, 100_000, Duration::from_secs(2));
/// ```
///
/// # Delays
///
/// Every read sees all of *this* process's writes that have returned. Writes of *another* process are seen at most `bound`
/// later: for that long, a session that was revoked there is still admitted here, and so is a cookie that was superseded
/// there. A changed idle or absolute deadline is seen as late. The bound counts from before the store was asked, and use
/// never extends it.
///
/// # Answers that never come from memory
///
/// Only [`peek`](SessionStore::peek) answers from memory, and only with a session that exists. The engine accepts that answer
/// for a cookie that is the session's newest. Before any other verdict (superseded, replayed, expired, ended), it asks the
/// store with [`load`](SessionStore::load), and the cache remembers the answer. A tombstone is never remembered. Every
/// write, and so every commit, goes to the store, and is compared there.
///
/// # Memory
///
/// It holds at most `entries` sessions, and prefers those used more often. Each takes some 300 bytes, and one kilobyte more
/// for a minute or so after its cookie was replaced.
pub struct CachedStore<S>(Arc<Inner<S>>);

struct Inner<S> {
    store: S,
    bound: Duration,
    shards: Vec<Mutex<Shard>>,
}

struct Shard {
    known: Cache<SessionId, Known>,
    /// The writes of this process that have not returned yet.
    under_way: u32,
    /// The number of writes that have begun.
    begun: u64,
}

struct Known {
    bucket: Bucket,
    /// The instant before the store was asked.
    since: Instant,
}

impl<S: SessionStore> CachedStore<S> {
    /// Puts a cache of at most `entries` sessions in front of a store. Another process's writes are seen at most `bound` later.
    #[must_use]
    pub fn new(store: S, entries: usize, bound: Duration) -> Self {
        let shard = || Shard { known: Cache::new(entries.div_ceil(SHARDS)), under_way: 0, begun: 0 };
        let shards = std::iter::repeat_with(|| Mutex::new(shard())).take(SHARDS).collect();
        Self(Arc::new(Inner { store, bound, shards }))
    }

    /// Returns the store behind the cache.
    #[must_use]
    pub fn store(&self) -> &S {
        &self.0.store
    }

    /// Returns the number of sessions that it remembers now.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.shards.iter().map(|shard| lock(shard).known.len()).sum()
    }

    /// Returns `true` if it remembers no session.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<S> Inner<S> {
    fn shard(&self, id: &SessionId) -> &Mutex<Shard> {
        // Ids are random.
        &self.shards[usize::from(id.as_bytes()[0]) % SHARDS]
    }

    fn recall(&self, id: &SessionId) -> Option<Bucket> {
        let mut shard = lock(self.shard(id));
        let known = shard.known.get(id)?;
        if known.since.elapsed() < self.bound {
            return Some(known.bucket.clone());
        }
        shard.known.remove(id);
        None
    }

    /// Announces a write to one session.
    fn write<'a>(&'a self, id: &'a SessionId) -> Writing<'a> {
        Writing::begin(std::slice::from_ref(self.shard(id)), Some(id))
    }

    /// Announces a write to any number of sessions.
    fn write_any(&self) -> Writing<'_> {
        Writing::begin(&self.shards, None)
    }
}

impl<S: SessionStore> Inner<S> {
    /// Asks the store, and remembers the answer unless a write of this process overlapped: then nobody knows which of the two
    /// the store saw first.
    async fn ask(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        let since = Instant::now();
        let (begun, was_quiet) = {
            let shard = lock(self.shard(id));
            (shard.begun, shard.under_way == 0)
        };
        let entry = self.store.load(id).await?;
        let mut shard = lock(self.shard(id));
        match &entry {
            Some(Entry::Bucket(bucket)) => {
                // No write was under way at the beginning, and none has begun since.
                let was_alone = was_quiet && shard.begun == begun;
                let known = shard.known.peek(id);
                let is_newer = known.is_none_or(|known| known.since <= since);
                let outdates = known.is_some_and(|known| known.bucket.revision < bucket.revision);
                if was_alone && is_newer {
                    shard.known.insert(*id, Known { bucket: bucket.clone(), since });
                } else if outdates {
                    // A caller who was told this must not be told the older one next.
                    shard.known.remove(id);
                }
            }
            _ => drop(shard.known.remove(id)),
        }
        Ok(entry)
    }
}

/// A write that is under way. When it ends, in any way, the entries that it may change are forgotten.
struct Writing<'a> {
    shards: &'a [Mutex<Shard>],
    /// The session that it writes; `None` for any.
    id: Option<&'a SessionId>,
}

impl<'a> Writing<'a> {
    fn begin(shards: &'a [Mutex<Shard>], id: Option<&'a SessionId>) -> Self {
        for shard in shards {
            let mut shard = lock(shard);
            shard.under_way += 1;
            shard.begun += 1;
        }
        Self { shards, id }
    }
}

impl Drop for Writing<'_> {
    fn drop(&mut self) {
        for shard in self.shards {
            let mut shard = lock(shard);
            shard.under_way -= 1;
            match self.id {
                Some(id) => drop(shard.known.remove(id)),
                None => shard.known.clear(),
            }
        }
    }
}

fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S> Clone for CachedStore<S> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S> fmt::Debug for CachedStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedStore").field("bound", &self.0.bound).finish_non_exhaustive()
    }
}

impl<S: SessionStore> SessionStore for CachedStore<S> {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        let _writing = self.0.write(&bucket.id);
        self.0.store.insert(bucket).await
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        self.0.ask(id).await
    }

    fn peek(&self, id: &SessionId) -> Option<Bucket> {
        self.0.recall(id)
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        let _writing = self.0.write(&bucket.id);
        self.0.store.replace(bucket, expected).await
    }

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        let _writing = (self.0.write(&bucket.id), self.0.write(old));
        self.0.store.renew_into(bucket, old, expected, tombstone).await
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        let _writing = self.0.write(id);
        self.0.store.remove(id, tombstone).await
    }

    async fn list(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed>, StoreError> {
        self.0.store.list(tags, page).await
    }

    async fn list_lifespans(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed<Lifespan>>, StoreError> {
        self.0.store.list_lifespans(tags, page).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.0.store.count().await
    }

    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        let _writing = self.0.write_any();
        self.0.store.remove_all(which, except).await
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let _writing = self.0.write_any();
        self.0.store.purge_expired(now, limit).await
    }

    async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        self.0.store.now().await
    }

    async fn not_before(&self) -> Result<Option<Timestamp>, StoreError> {
        self.0.store.not_before().await
    }

    async fn raise_not_before(&self, at: Timestamp) -> Result<(), StoreError> {
        self.0.store.raise_not_before(at).await
    }
}

/// Every call goes to the store behind the cache. A cache would be right, since a blob never changes, but the values are large,
/// and seldom read.
impl<S: VaultStore> VaultStore for CachedStore<S> {
    crate::forward_vault_methods!(self => &self.0.store; put, get, delete, delete_all, prolong, purge);
}

#[cfg(all(test, feature = "memory", not(shuttle)))]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::sync::mpsc;
    use std::thread;

    use futures_util::FutureExt;

    use super::*;
    use crate::MemoryStore;

    /// A read waits for no lock that others hold: there is none that all share.
    #[test]
    fn a_session_that_is_remembered_waits_for_its_own_shard_alone() {
        let store = CachedStore::new(MemoryStore::new(), 1000, Duration::from_secs(60));
        let id = SessionId::from_bytes([3; 16]);
        let _others: Vec<_> =
            (0..SHARDS).filter(|shard| *shard != 3).map(|shard| lock(&store.0.shards[shard])).collect();
        let (done, answers) = mpsc::channel();
        let beside = store.clone();
        thread::spawn(move || {
            assert!(beside.peek(&id).is_none());
            assert!(beside.load(&id).now_or_never().unwrap().unwrap().is_none());
            done.send(()).unwrap();
        });
        assert_eq!(answers.recv_timeout(Duration::from_secs(30)), Ok(()));
    }
}
