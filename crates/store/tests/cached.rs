//! The cache in front of a store: the contract, what may be late and by how much, and the races with writes.
#![cfg(all(feature = "cached", feature = "memory", feature = "conformance"))]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use secure_sessions_store::{
    Bucket, CachedStore, Entry, MemoryStore, Revision, SessionId, SessionStore, StoreError, Timestamp, Which,
};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::advance;

use crate::common::{next, session, tombstone};

mod common;

const BOUND: Duration = Duration::from_secs(2);

mod on_memory {
    use super::{BOUND, CachedStore, MemoryStore};

    secure_sessions_store::conformance_tests!(|| async { CachedStore::new(MemoryStore::new(), 1000, BOUND) });

    mod vault {
        use super::{BOUND, CachedStore, MemoryStore};

        secure_sessions_store::vault_conformance_tests!(|| async { CachedStore::new(MemoryStore::new(), 1000, BOUND) });
    }
}

#[cfg(feature = "sqlite")]
mod on_sqlite {
    use secure_sessions_store::SqlStore;

    use super::{BOUND, CachedStore};

    secure_sessions_store::conformance_tests!(|| async {
        CachedStore::new(SqlStore::connect("sqlite::memory:").await.unwrap(), 1000, BOUND)
    });
}

/// If one process is alone with its store, even answers from memory hold the whole contract.
mod from_memory {
    use super::{CachedStore, Forwarded, Hooks, MemoryStore};

    secure_sessions_store::conformance_tests!(|| async {
        let cached = CachedStore::new(MemoryStore::new(), 1000, std::time::Duration::from_secs(3600));
        Forwarded { inner: cached, hooks: Hooks { peeks: true, ..Hooks::default() } }
    });
}

/// Passes every call on.
struct Forwarded<S> {
    inner: S,
    hooks: Hooks,
}

#[derive(Clone, Default)]
struct Hooks {
    /// `load` answers what `peek` does, if it does.
    peeks: bool,
    /// `load` needs a permit to return what it has found.
    loads: Option<Arc<Semaphore>>,
    /// `replace` needs a permit to begin, and one to return.
    swaps: Option<Arc<Semaphore>>,
}

async fn pass(gate: Option<&Arc<Semaphore>>) {
    if let Some(gate) = gate {
        gate.acquire().await.unwrap().forget();
    }
}

impl<S: SessionStore> SessionStore for Forwarded<S> {
    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        let found = match self.inner.peek(id).filter(|_| self.hooks.peeks) {
            Some(bucket) => Ok(Some(Entry::Bucket(bucket))),
            None => self.inner.load(id).await,
        };
        pass(self.hooks.loads.as_ref()).await;
        found
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        pass(self.hooks.swaps.as_ref()).await;
        let swapped = self.inner.replace(bucket, expected).await;
        pass(self.hooks.swaps.as_ref()).await;
        swapped
    }

    secure_sessions_store::forward_methods!(self => &self.inner;
        insert, renew_into, remove, list, count, remove_all, purge_expired);
}

const NOW: u64 = 1_800_000_000_000;

fn bucket(number: u32) -> Bucket {
    let mut id = [0; 16];
    id[0] = number.to_be_bytes()[3];
    id[8..12].copy_from_slice(&number.to_be_bytes());
    session(id, Timestamp::from_millis(NOW))
}

/// Looks at a session as the engine does, whose cookie is the newest: the revision that is found, and whether the store
/// was asked.
async fn look<S: SessionStore>(cached: &CachedStore<S>, id: &SessionId) -> (Option<u64>, bool) {
    if let Some(bucket) = cached.peek(id) {
        return (Some(bucket.revision.get()), false);
    }
    let revision = cached.load(id).await.unwrap().map(|entry| match entry {
        Entry::Bucket(bucket) => bucket.revision.get(),
        Entry::Tombstone(_) => 0,
    });
    (revision, true)
}

type Gated = CachedStore<Forwarded<MemoryStore>>;

/// Returns a gate, a store whose calls need permits of it, and a session that is in the store.
async fn gated(hooks: impl FnOnce(Arc<Semaphore>) -> Hooks) -> (Arc<Semaphore>, Gated, Bucket) {
    let gate = Arc::new(Semaphore::new(0));
    let hooks = hooks(Arc::clone(&gate));
    let cached = CachedStore::new(Forwarded { inner: MemoryStore::new(), hooks }, 100, BOUND);
    let kept = bucket(1);
    cached.insert(&kept).await.unwrap();
    (gate, cached, kept)
}

fn begin_look(cached: &Gated, id: SessionId) -> JoinHandle<(Option<u64>, bool)> {
    let cached = cached.clone();
    tokio::spawn(async move { look(&cached, &id).await })
}

fn begin_swap(cached: &Gated, kept: &Bucket) -> JoinHandle<Result<bool, StoreError>> {
    let (cached, changed) = (cached.clone(), next(kept));
    tokio::spawn(async move { cached.replace(&changed, Revision::FIRST).await })
}

#[tokio::test(start_paused = true)]
async fn a_revocation_elsewhere_is_seen_within_the_bound_and_at_once_by_a_load() {
    let elsewhere = MemoryStore::new();
    let cached = CachedStore::new(elsewhere.clone(), 100, BOUND);
    let kept = bucket(1);
    cached.insert(&kept).await.unwrap();
    assert_eq!(look(&cached, &kept.id).await, (Some(1), true));
    advance(BOUND / 2).await;
    assert_eq!(look(&cached, &kept.id).await, (Some(1), false));
    elsewhere.remove(&kept.id, None).await.unwrap();
    // Use does not extend it.
    advance(BOUND / 2 - Duration::from_millis(1)).await;
    assert_eq!(look(&cached, &kept.id).await, (Some(1), false));
    advance(Duration::from_millis(1)).await;
    assert_eq!(look(&cached, &kept.id).await, (None, true));

    let other = bucket(2);
    cached.insert(&other).await.unwrap();
    look(&cached, &other.id).await;
    elsewhere.remove(&other.id, None).await.unwrap();
    assert!(cached.load(&other.id).await.unwrap().is_none(), "a load must ask the store");
    assert_eq!(look(&cached, &other.id).await, (None, true), "and what it learns must count");
}

#[tokio::test(start_paused = true)]
async fn the_bound_counts_from_before_the_store_was_asked() {
    let (gate, cached, kept) = gated(|gate| Hooks { loads: Some(gate), ..Hooks::default() }).await;
    let slow = begin_look(&cached, kept.id);
    tokio::task::yield_now().await;
    // The answer is on its way for longer than it may be used.
    cached.store().inner.remove(&kept.id, None).await.unwrap();
    advance(BOUND).await;
    gate.add_permits(2);
    assert_eq!(slow.await.unwrap(), (Some(1), true));
    assert_eq!(look(&cached, &kept.id).await, (None, true));
}

#[tokio::test]
async fn a_read_that_a_write_overtook_leaves_nothing_stale_behind() {
    let (gate, cached, kept) = gated(|gate| Hooks { loads: Some(gate), ..Hooks::default() }).await;
    let slow = begin_look(&cached, kept.id);
    // It has found the first revision, and is held on its way back.
    tokio::task::yield_now().await;
    assert!(cached.replace(&next(&kept), Revision::FIRST).await.unwrap());
    gate.add_permits(2);
    assert_eq!(slow.await.unwrap(), (Some(1), true));
    assert_eq!(look(&cached, &kept.id).await, (Some(2), true), "an overtaken read was remembered");
}

#[tokio::test]
async fn a_read_during_a_write_leaves_nothing_stale_behind() {
    let (gate, cached, kept) = gated(|gate| Hooks { swaps: Some(gate), ..Hooks::default() }).await;
    let swap = begin_swap(&cached, &kept);
    tokio::task::yield_now().await;
    // The write has begun, and the store has not got it.
    assert_eq!(look(&cached, &kept.id).await, (Some(1), true));
    assert_eq!(look(&cached, &kept.id).await, (Some(1), true), "a read during a write was remembered");
    gate.add_permits(2);
    assert!(swap.await.unwrap().unwrap());
    assert_eq!(look(&cached, &kept.id).await, (Some(2), true));
    assert_eq!(look(&cached, &kept.id).await, (Some(2), false));
}

#[tokio::test]
async fn a_reader_who_saw_an_unfinished_write_is_not_shown_the_older_state_again() {
    let (gate, cached, kept) = gated(|gate| Hooks { swaps: Some(gate), ..Hooks::default() }).await;
    assert_eq!(look(&cached, &kept.id).await, (Some(1), true));
    gate.add_permits(1);
    let swap = begin_swap(&cached, &kept);
    tokio::task::yield_now().await;
    // The store has it, and the writer has not been told.
    assert_eq!(look(&cached, &kept.id).await, (Some(1), false));
    assert!(
        matches!(cached.load(&kept.id).await.unwrap(), Some(Entry::Bucket(found)) if found.revision == Revision::new(2))
    );
    assert_eq!(look(&cached, &kept.id).await, (Some(2), true), "the session went back");
    gate.add_permits(1);
    assert!(swap.await.unwrap().unwrap());
}

#[tokio::test]
async fn a_write_that_was_given_up_is_no_reason_to_remember_what_was_before() {
    let (gate, cached, kept) = gated(|gate| Hooks { swaps: Some(gate), ..Hooks::default() }).await;
    assert_eq!(look(&cached, &kept.id).await, (Some(1), true));
    gate.add_permits(1);
    // The store has it, and the caller goes away before it is told.
    let given_up = tokio::time::timeout(Duration::from_millis(50), cached.replace(&next(&kept), Revision::FIRST)).await;
    assert!(given_up.is_err());
    assert_eq!(look(&cached, &kept.id).await, (Some(2), true));
    assert_eq!(look(&cached, &kept.id).await, (Some(2), false), "the lock of a write was left behind");
}

#[tokio::test]
async fn every_write_of_this_process_is_seen_at_once() {
    let cached = CachedStore::new(MemoryStore::new(), 100, Duration::from_secs(3600));
    let (kept, other, successor) = (bucket(1), bucket(2), bucket(3));
    for bucket in [&kept, &other] {
        cached.insert(bucket).await.unwrap();
        look(&cached, &bucket.id).await;
    }
    assert!(cached.replace(&next(&kept), Revision::FIRST).await.unwrap());
    assert_eq!(look(&cached, &kept.id).await, (Some(2), true));
    assert!(cached.renew_into(&successor, &kept.id, Revision::new(2), tombstone(&kept, None)).await.unwrap());
    assert_eq!(look(&cached, &kept.id).await, (Some(0), true));
    assert_eq!(look(&cached, &kept.id).await, (Some(0), true), "a tombstone was remembered");
    assert_eq!(look(&cached, &successor.id).await, (Some(1), true));
    assert!(cached.remove(&successor.id, None).await.unwrap());
    assert_eq!(look(&cached, &successor.id).await, (None, true));
    assert_eq!(cached.remove_all(Which::Everything, None).await.unwrap(), 1);
    assert_eq!(look(&cached, &other.id).await, (None, true));
}

#[tokio::test]
async fn it_remembers_no_more_sessions_than_it_was_told_to() {
    let cached = CachedStore::new(MemoryStore::new(), 1000, Duration::from_secs(3600));
    for number in 0..5000 {
        let kept = bucket(number);
        cached.insert(&kept).await.unwrap();
        look(&cached, &kept.id).await;
    }
    assert!(cached.len() <= 1024, "{} sessions are remembered", cached.len());
    assert!(cached.len() > 500, "{} sessions are remembered", cached.len());
    assert!(!cached.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_never_see_a_session_go_back() {
    let cached = CachedStore::new(MemoryStore::new(), 100, Duration::from_secs(3600));
    let kept = bucket(1);
    cached.insert(&kept).await.unwrap();
    let writer = tokio::spawn({
        let (cached, mut kept) = (cached.clone(), kept.clone());
        async move {
            for _ in 0..5000 {
                let changed = next(&kept);
                assert!(cached.replace(&changed, kept.revision).await.unwrap());
                kept = changed;
                // This task sees its own writes.
                let (revision, _) = look(&cached, &kept.id).await;
                assert_eq!(revision, Some(kept.revision.get()));
                tokio::task::yield_now().await;
            }
        }
    });
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (cached, id) = (cached.clone(), kept.id);
            tokio::spawn(async move {
                let mut last = 0;
                while last < 5001 {
                    let (revision, _) = look(&cached, &id).await;
                    assert!(revision.unwrap() >= last, "a session went back");
                    last = revision.unwrap();
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    writer.await.unwrap();
    for reader in readers {
        reader.await.unwrap();
    }
}
