//! A store in this process: shards of packed entries.

use std::fmt;
use std::future::poll_fn;
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;

use secure_sessions_core::{Bucket, Entry, Revision, SessionId, Timestamp, Tombstone};

use self::lock::{Mutex, MutexGuard, RwLock};
use self::packed::Packed;
use self::shard::{Hashes, Shard};
use self::vaults::Vaults;
use crate::{Listed, Page, SessionStore, StoreError, Tags, VaultStore, Which};

mod lock;
mod packed;
mod shard;
mod vaults;

/// The number of shards, one for each first byte of an id: enough that a rehash of one is short with ten million sessions,
/// and few enough that visiting all of them for a subject takes microseconds.
const SHARDS: usize = 256;
/// The most slots that one step looks at, and takes out, before it lets others in.
const STEP: usize = 512;
const STEP_TAKES: usize = 128;

/// A store in this process's memory, for tests, and for a server that is one process and may forget on a restart.
///
/// A clone is the same store. It needs no runtime, and no call waits for anything but a short lock. An anonymous session takes
/// about 135 bytes, one with a subject about 150; for some minutes after a rotation, its handoff (as long as its cookie)
/// comes on top. It is also a [`VaultStore`](crate::VaultStore). Entries never expire by themselves: run a `Purge` beside it.
///
/// ```
/// use secure_sessions_store::{MemoryStore, SessionStore};
///
/// # async fn example() -> Result<(), secure_sessions_store::StoreError> {
/// let store = MemoryStore::new();
/// assert_eq!(store.count().await?, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct MemoryStore(Arc<Shared>);

struct Shared {
    hashes: Hashes,
    shards: Box<[Aligned]>,
    /// A lock that `renew_into` shares, since it alone carries a bucket from one shard to another. The end of `remove_all`
    /// holds it exclusively: it visits one shard after another, and must not miss a bucket that moves to one it has left.
    moving: RwLock<()>,
    /// The shard where the next purge begins, so that small batches reach all of them.
    purge_next: AtomicUsize,
    /// The time before which tokens are refused, in milliseconds; zero for none.
    not_before: AtomicU64,
    vaults: Vaults,
}

/// A shard on cache lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Aligned(Mutex<Shard>);

impl MemoryStore {
    /// Returns an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            hashes: Hashes::default(),
            shards: (0..SHARDS).map(|_| Aligned::default()).collect(),
            moving: RwLock::new(()),
            purge_next: AtomicUsize::new(0),
            not_before: AtomicU64::new(0),
            vaults: Vaults::default(),
        }))
    }

    fn shard(&self, id: &SessionId) -> (MutexGuard<'_, Shard>, u64) {
        (self.0.shards[shard_of(id)].0.lock(), self.0.hashes.of(id.as_bytes()))
    }

    fn entry(&self, id: &SessionId) -> Option<Entry> {
        let (shard, hash) = self.shard(id);
        shard.find(hash, id).map(|slot| shard.entry(slot))
    }

    fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.0.shards.iter().map(|shard| shard.0.lock())
    }

    fn renew_now(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        let hashes = &self.0.hashes;
        let (old_hash, new_hash) = (hashes.of(old.as_bytes()), hashes.of(bucket.id.as_bytes()));
        let (old_shard, new_shard) = (shard_of(old), shard_of(&bucket.id));
        let packed = Packed::from(bucket);
        let _moving = self.0.moving.read();
        // Lock two shards in their order, always, so that no two calls wait for each other.
        let mut low = self.0.shards[old_shard.min(new_shard)].0.lock();
        let mut high = (old_shard != new_shard).then(|| self.0.shards[old_shard.max(new_shard)].0.lock());
        let (from, to) = match &mut high {
            Some(high) if old_shard < new_shard => (&mut *low, Some(&mut **high)),
            Some(high) => (&mut **high, Some(&mut *low)),
            None => (&mut *low, None),
        };
        let Some(slot) = from.find_revision(old_hash, old, expected) else { return Ok(false) };
        if to.as_deref().unwrap_or(from).find(new_hash, &bucket.id).is_some() {
            return Err(StoreError::Duplicate);
        }
        from.replace(hashes, slot, Packed::tombstone(old, tombstone));
        to.unwrap_or(from).insert(hashes, new_hash, packed);
        Ok(true)
    }

    /// Ends the remaining sessions, while no bucket can move from one shard to another. Few are left by then, so this is
    /// short.
    fn remove_the_rest(&self, which: Which<'_>, except: Option<&SessionId>) -> u64 {
        let _moving = self.0.moving.write();
        let mut removed = 0;
        for mut shard in self.shards() {
            loop {
                let (below, taken) =
                    shard.take_doomed(&self.0.hashes, which, except, usize::MAX, usize::MAX, STEP_TAKES);
                removed += taken.len() as u64;
                if below == 0 {
                    break;
                }
            }
        }
        removed
    }
}

/// Shards are in the order of the ids in them, so that a page of a list ends with the shard that fills it. Ids are random.
fn shard_of(id: &SessionId) -> usize {
    usize::from(id.as_bytes()[0]) % SHARDS
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStore(..)")
    }
}

impl SessionStore for MemoryStore {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        let packed = Packed::from(bucket);
        let (mut shard, hash) = self.shard(&bucket.id);
        if shard.find(hash, &bucket.id).is_some() {
            return Err(StoreError::Duplicate);
        }
        shard.insert(&self.0.hashes, hash, packed);
        Ok(())
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        Ok(self.entry(id))
    }

    fn peek(&self, id: &SessionId) -> Option<Bucket> {
        match self.entry(id) {
            Some(Entry::Bucket(bucket)) => Some(bucket),
            _ => None,
        }
    }

    fn answers_at_once(&self) -> bool {
        true
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        let packed = Packed::from(bucket);
        let (mut shard, hash) = self.shard(&bucket.id);
        let Some(slot) = shard.find_revision(hash, &bucket.id, expected) else { return Ok(false) };
        let old = shard.replace(&self.0.hashes, slot, packed);
        drop(shard);
        drop(old);
        Ok(true)
    }

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        self.renew_now(bucket, old, expected, tombstone)
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        let (mut shard, hash) = self.shard(id);
        let Some(slot) = shard.find(hash, id).filter(|slot| shard.is_bucket(*slot)) else { return Ok(false) };
        match tombstone {
            Some(tombstone) => shard.replace(&self.0.hashes, slot, Packed::tombstone(id, tombstone)),
            None => shard.remove(&self.0.hashes, slot),
        };
        Ok(true)
    }

    async fn list(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed>, StoreError> {
        let limit = usize::try_from(page.limit).unwrap_or(usize::MAX);
        let mut listed = Vec::new();
        let mut turn = Turn::default();
        for shard in page.after.as_ref().map_or(0, shard_of)..SHARDS {
            let room = limit - listed.len();
            if room == 0 {
                break;
            }
            let (seen, found) = self.0.shards[shard].0.lock().list(&self.0.hashes, tags, page.after, room);
            listed.extend(found.into_iter().map(Ok));
            turn.took(seen).await;
        }
        Ok(listed)
    }

    async fn count(&self) -> Result<u64, StoreError> {
        Ok(self.shards().map(|shard| shard.buckets()).sum())
    }

    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        let mut removed = 0;
        let mut turn = Turn::default();
        for shard in &self.0.shards {
            let mut below = usize::MAX;
            while below > 0 {
                let taken;
                (below, taken) = shard.0.lock().take_doomed(&self.0.hashes, which, except, below, STEP, STEP_TAKES);
                removed += taken.len() as u64;
                turn.took(if below > 0 { STEP } else { taken.len() }).await;
            }
        }
        Ok(removed + self.remove_the_rest(which, except))
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let start = self.0.purge_next.load(Ordering::Relaxed);
        let mut removed = 0;
        for index in (start..start + SHARDS).map(|index| index % SHARDS) {
            let mut below = usize::MAX;
            while below > 0 {
                if removed >= limit {
                    self.0.purge_next.store(index, Ordering::Relaxed);
                    return Ok(removed as u64);
                }
                let takes = STEP_TAKES.min(limit - removed);
                let purged;
                (below, purged) = self.0.shards[index].0.lock().purge(&self.0.hashes, now, below, STEP, takes);
                removed += purged.len();
                drop(purged);
                // A million expired sessions must not keep the runtime's thread.
                yield_now().await;
            }
        }
        Ok(removed as u64)
    }

    async fn not_before(&self) -> Result<Option<Timestamp>, StoreError> {
        let millis = self.0.not_before.load(Ordering::SeqCst);
        Ok((millis > 0).then(|| Timestamp::from_millis(millis)))
    }

    async fn raise_not_before(&self, at: Timestamp) -> Result<(), StoreError> {
        self.0.not_before.fetch_max(at.as_millis(), Ordering::SeqCst);
        Ok(())
    }
}

impl VaultStore for MemoryStore {
    crate::forward_vault_methods!(self => &self.0.vaults; put, get, delete, delete_all, prolong, purge);
}

/// The work done in the turn that the runtime has given us.
#[derive(Default)]
struct Turn(usize);

impl Turn {
    /// Counts the sessions handled, and yields the thread once they are many.
    async fn took(&mut self, sessions: usize) {
        self.0 += sessions;
        if self.0 >= STEP {
            self.0 = 0;
            yield_now().await;
        }
    }
}

async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests;
