//! The memory store, and the cache, under a scheduler that tries many orders of its locks: `cargo xtask assure schedules`.
//!
//! Orders are drawn at random (`check_random`) and by probabilistic concurrency testing (`check_pct`, Burckhardt et al.
//! 2010), which finds a race that needs `depth` switches with a probability that it states.

#![cfg(shuttle)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use secure_sessions_core::{
    Arrival, Bucket, BucketPolicy, Ending, Entry, Fingerprint, Millis, NewBucket, Revision, SessionId, SubjectTag,
    Timestamp, Tombstone,
};
use secure_sessions_store::{CachedStore, MemoryStore, SessionStore, StoreError, Tags, Which};
use shuttle::future::block_on;
use shuttle::thread;

/// The number of orders that are tried of each test, each way.
const ORDERS: usize = 2_000;
const SWITCHES: usize = 3;

const NOW: Timestamp = Timestamp::from_millis(1_750_000_000_000);
const POLICY: BucketPolicy = BucketPolicy { grace: Millis::from_secs(60), touch_step: None };
const SUBJECT: SubjectTag = SubjectTag::from_bytes([7; 16]);
const A: SessionId = SessionId::from_bytes([1; 16]);
const B: SessionId = SessionId::from_bytes([2; 16]);
const C: SessionId = SessionId::from_bytes([3; 16]);

fn bucket(id: SessionId) -> Bucket {
    let new = NewBucket {
        id,
        subject: Some(SUBJECT),
        group: None,
        label: None,
        expires_at: NOW.after(Millis::from_secs(3600)),
        idle_timeout: None,
        first: Fingerprint::from_bytes([9; 16]),
    };
    Bucket::create(new, NOW)
}

fn touched(bucket: &Bucket, now: Timestamp) -> Bucket {
    bucket.touched(&Arrival { generation: 1, fingerprint: bucket.current, at: now }, now, &POLICY)
}

fn tombstone(id: SessionId) -> Tombstone {
    Tombstone::new(id, NOW, &POLICY)
}

fn in_many_orders(test: impl Fn() + Send + Sync + 'static) {
    let test = Arc::new(test);
    let again = Arc::clone(&test);
    shuttle::check_random(move || test(), ORDERS);
    shuttle::check_pct(move || again(), ORDERS, SWITCHES);
}

/// Runs all of them at once; what they return, in their order.
fn at_once<T: Send + 'static>(threads: Vec<Box<dyn FnOnce() -> T + Send>>) -> Vec<T> {
    let threads: Vec<_> = threads.into_iter().map(thread::spawn).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

/// Three writers who read the same bucket: one of them gets to replace it.
fn three_writers<S: SessionStore + Clone>(store: &S) -> usize {
    block_on(store.insert(&bucket(A))).unwrap();
    let writers = (1..=3).map(|n| {
        let store = store.clone();
        let writer = move || {
            let Some(Entry::Bucket(read)) = block_on(store.load(&A)).unwrap() else { panic!("it is there") };
            let next = touched(&read, NOW.after(Millis::from_secs(n)));
            // Only those who read the first revision are in the race.
            read.revision == Revision::FIRST && block_on(store.replace(&next, read.revision)).unwrap()
        };
        Box::new(writer) as Box<dyn FnOnce() -> bool + Send>
    });
    at_once(writers.collect()).into_iter().filter(|won| *won).count()
}

#[test]
fn exactly_one_of_three_writers_in_any_order_replaces_the_bucket_they_read() {
    in_many_orders(|| assert_eq!(three_writers(&MemoryStore::new()), 1));
}

#[test]
fn a_renewing_thief_never_escapes_the_removal_of_all_sessions_in_any_order() {
    in_many_orders(|| {
        let store = MemoryStore::new();
        block_on(store.insert(&bucket(A))).unwrap();
        let (renews, removes) = (store.clone(), store.clone());
        at_once::<()>(vec![
            Box::new(move || {
                for (old, new) in [(A, B), (B, C)] {
                    let next = bucket(new);
                    if !block_on(renews.renew_into(&next, &old, Revision::FIRST, tombstone(old))).unwrap() {
                        return;
                    }
                }
            }),
            Box::new(move || {
                block_on(removes.remove_all(Which::Tagged(Tags::Subjects(&[SUBJECT])), None)).unwrap();
            }),
        ]);
        let left = block_on(store.list(Tags::Subjects(&[SUBJECT]), secure_sessions_store::Page::first(10))).unwrap();
        // A renewal that began when all were gone finds nothing to renew.
        assert!(left.is_empty(), "{} sessions got away", left.len());
        assert_eq!(block_on(store.count()).unwrap(), 0);
    });
}

/// An ending as the engine carries it out: from tombstone to tombstone, until it finds a bucket or nothing. `true`: it
/// ended a live session.
fn end(store: &MemoryStore, mut id: SessionId, leaves_tombstone: bool, follows: bool) -> bool {
    loop {
        if block_on(store.remove(&id, leaves_tombstone.then(|| tombstone(id)))).unwrap() {
            return true;
        }
        match block_on(store.load(&id)).unwrap() {
            Some(Entry::Tombstone(Tombstone { successor: Some(successor), .. })) if follows => id = successor,
            // It came after the look: the next one tells.
            Some(Entry::Bucket(_)) => {}
            _ => return false,
        }
    }
}

/// A thief renews a session twice, its owner logs out, and somebody presents the token that was renewed away.
fn logout_beside_renewals_and_a_replay(follows: bool) {
    let store = MemoryStore::new();
    block_on(store.insert(&bucket(A))).unwrap();
    let (renews, logs_out, replays) = (store.clone(), store.clone(), store.clone());
    let late = NOW.after(POLICY.grace).after(Millis::from_secs(1));
    let ended = at_once(vec![
        Box::new(move || {
            for (old, new) in [(A, B), (B, C)] {
                let next = bucket(new);
                let moved = Tombstone::renewed(&bucket(old), &next, NOW, &POLICY);
                if !block_on(renews.renew_into(&next, &old, Revision::FIRST, moved)).unwrap() {
                    break;
                }
            }
            false
        }) as Box<dyn FnOnce() -> bool + Send>,
        Box::new(move || {
            let ended = end(&logs_out, A, true, follows);
            assert_eq!(block_on(logs_out.count()).unwrap(), 0, "a successor lives after the logout");
            ended
        }),
        Box::new(move || match block_on(replays.load(&A)).unwrap() {
            Some(Entry::Tombstone(found)) => match found.ending(late, &POLICY) {
                Ending::Replayed(successor) => end(&replays, successor, false, follows),
                _ => false,
            },
            _ => false,
        }),
    ]);
    assert_eq!(block_on(store.count()).unwrap(), 0, "a successor lives");
    assert_eq!(ended.into_iter().filter(|ended| *ended).count(), 1, "the session ended once");
}

#[test]
fn a_logout_beside_renewals_and_a_replay_leaves_nothing_in_any_order() {
    in_many_orders(|| logout_beside_renewals_and_a_replay(true));
}

#[test]
fn an_ending_that_does_not_follow_a_renewal_is_found_out() {
    let found = catch_unwind(AssertUnwindSafe(|| in_many_orders(|| logout_beside_renewals_and_a_replay(false))));
    assert!(found.is_err(), "each ending met no renewal at all");
    println!("the planted race: a successor lives after the logout");
}

#[test]
fn renewals_in_opposite_directions_do_not_wait_for_one_another() {
    in_many_orders(|| {
        let store = MemoryStore::new();
        block_on(store.insert(&bucket(A))).unwrap();
        block_on(store.insert(&bucket(B))).unwrap();
        let renewals =
            [(A, C), (B, SessionId::from_bytes([4; 16])), (A, SessionId::from_bytes([5; 16]))].map(|(old, new)| {
                let store = store.clone();
                let renewal =
                    move || block_on(store.renew_into(&bucket(new), &old, Revision::FIRST, tombstone(old))).unwrap();
                Box::new(renewal) as Box<dyn FnOnce() -> bool + Send>
            });
        let renewed = at_once(renewals.into());
        assert!(renewed[1], "nobody else renews B");
        assert!(renewed[0] != renewed[2], "A has one successor");
        assert_eq!(block_on(store.count()).unwrap(), 2);
    });
}

#[test]
fn while_a_session_is_renewed_each_look_finds_the_old_bucket_or_the_new_one() {
    in_many_orders(|| {
        let store = MemoryStore::new();
        block_on(store.insert(&bucket(A))).unwrap();
        let (renews, looks) = (store.clone(), store.clone());
        at_once::<()>(vec![
            Box::new(move || {
                assert!(block_on(renews.renew_into(&bucket(B), &A, Revision::FIRST, tombstone(A))).unwrap());
            }),
            Box::new(move || {
                let old = block_on(looks.load(&A)).unwrap();
                let new = block_on(looks.load(&B)).unwrap();
                match old {
                    Some(Entry::Bucket(_)) => {}
                    Some(Entry::Tombstone(_)) => assert!(matches!(new, Some(Entry::Bucket(_))), "neither is there"),
                    None => panic!("the old id is never free"),
                }
            }),
        ]);
    });
}

#[test]
fn a_session_that_is_seen_in_time_is_not_purged_in_any_order() {
    in_many_orders(|| {
        let store = MemoryStore::new();
        let idle = Bucket { idle_timeout: Some(Millis::from_secs(60)), ..bucket(A) };
        block_on(store.insert(&idle)).unwrap();
        let seen = touched(&idle, idle.purge_at());
        let late = idle.purge_at();
        let (purges, touches) = (store.clone(), store.clone());
        let outcome = at_once(vec![
            Box::new(move || block_on(purges.purge_expired(late, 10)).unwrap() == 1)
                as Box<dyn FnOnce() -> bool + Send>,
            Box::new(move || block_on(touches.replace(&seen, Revision::FIRST)).unwrap()),
        ]);
        let there = block_on(store.load(&A)).unwrap().is_some();
        assert!(outcome[0] != outcome[1], "it was purged, or it was seen");
        assert_eq!(there, outcome[1]);
    });
}

/// Through one cache a thread writes and another reads: what the writer reads once its write has returned.
fn read_after_write(
    write: impl FnOnce() + Send + 'static,
    read: impl Fn() -> Revision + Send + Sync + 'static,
) -> Revision {
    let read = Arc::new(read);
    let other = Arc::clone(&read);
    let seen = at_once(vec![
        Box::new(move || {
            write();
            read()
        }) as Box<dyn FnOnce() -> Revision + Send>,
        Box::new(move || other()),
    ]);
    seen[0]
}

fn revision(entry: Option<Entry>) -> Revision {
    match entry {
        Some(Entry::Bucket(bucket)) => bucket.revision,
        _ => panic!("it is there"),
    }
}

/// Returns the revision that a first look at a session finds: in the cache, or else in the store.
fn looked_up(cache: &CachedStore<MemoryStore>) -> Revision {
    match cache.peek(&A) {
        Some(bucket) => bucket.revision,
        None => revision(block_on(cache.load(&A)).unwrap()),
    }
}

#[test]
fn what_this_process_wrote_the_cache_never_forgets_in_any_order() {
    in_many_orders(|| {
        let cache = CachedStore::new(MemoryStore::new(), 10, Duration::from_secs(3600));
        let first = bucket(A);
        block_on(cache.insert(&first)).unwrap();
        let (writes, reads) = (cache.clone(), cache);
        let next = touched(&first, NOW.after(Millis::from_secs(1)));
        let seen = read_after_write(
            move || assert!(block_on(writes.replace(&next, first.revision)).unwrap()),
            move || looked_up(&reads),
        );
        assert!(seen > Revision::FIRST, "an older bucket was read after a write");
    });
}

#[test]
fn no_reader_of_the_cache_sees_a_session_go_back_in_any_order() {
    in_many_orders(|| {
        let cache = CachedStore::new(MemoryStore::new(), 10, Duration::from_secs(3600));
        let first = bucket(A);
        block_on(cache.insert(&first)).unwrap();
        let reader = |cache: CachedStore<MemoryStore>| {
            let reads = move || {
                let [earlier, later] = [(); 2].map(|()| looked_up(&cache));
                assert!(earlier <= later, "the session went back");
            };
            Box::new(reads) as Box<dyn FnOnce() + Send>
        };
        let (one, other) = (reader(cache.clone()), reader(cache.clone()));
        let next = touched(&first, NOW.after(Millis::from_secs(1)));
        at_once(vec![one, other, Box::new(move || assert!(block_on(cache.replace(&next, first.revision)).unwrap()))]);
    });
}

/// A cache that forgets what was written, and remembers what was read, without looking whether the two came across.
#[derive(Clone, Default)]
struct ForgetfulCache {
    store: MemoryStore,
    known: Arc<shuttle::sync::Mutex<Option<Entry>>>,
}

impl ForgetfulCache {
    fn read(&self) -> Revision {
        let known = self.known.lock().unwrap().clone();
        let entry = known.or_else(|| {
            let entry = block_on(self.store.load(&A)).unwrap();
            self.known.lock().unwrap().clone_from(&entry);
            entry
        });
        revision(entry)
    }

    fn write(&self, next: &Bucket) {
        assert!(block_on(self.store.replace(next, Revision::FIRST)).unwrap());
        *self.known.lock().unwrap() = None;
    }
}

#[test]
fn a_cache_that_remembers_what_came_across_a_write_is_found_out() {
    let found = catch_unwind(AssertUnwindSafe(|| {
        in_many_orders(|| {
            let cache = ForgetfulCache::default();
            block_on(cache.store.insert(&bucket(A))).unwrap();
            let (writes, reads) = (cache.clone(), cache);
            let next = touched(&bucket(A), NOW.after(Millis::from_secs(1)));
            let seen = read_after_write(move || writes.write(&next), move || reads.read());
            assert!(seen > Revision::FIRST, "an older bucket was read after a write");
        });
    }));
    assert!(found.is_err(), "an old bucket was remembered in no order at all");
    println!("the planted race: an older bucket was read after a write");
}

/// A store that looks and then writes: the race that these tests are for.
#[derive(Clone)]
struct LooksThenWrites(MemoryStore);

impl SessionStore for LooksThenWrites {
    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        match self.0.load(&bucket.id).await? {
            Some(Entry::Bucket(kept)) if kept.revision == expected => {
                self.0.remove(&bucket.id, None).await?;
                match self.0.insert(bucket).await {
                    Ok(()) | Err(StoreError::Duplicate) => Ok(true),
                    Err(error) => Err(error),
                }
            }
            _ => Ok(false),
        }
    }

    secure_sessions_store::forward_methods!(self => &self.0;
        insert, load, renew_into, remove, list, count, remove_all, purge_expired);
}

#[test]
fn a_store_that_looks_and_then_writes_is_found_out() {
    let found = catch_unwind(AssertUnwindSafe(|| {
        in_many_orders(|| assert_eq!(three_writers(&LooksThenWrites(MemoryStore::new())), 1));
    }));
    assert!(found.is_err(), "two writers won in no order at all");
    println!("the planted race: not exactly one of three writers won");
}
