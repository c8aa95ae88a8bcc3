use std::collections::BTreeMap;

use proptest::prelude::*;
use secure_sessions_core::{Fingerprint, GroupTag, Millis, Retired, SubjectTag, VaultId};

use super::*;

fn bucket(id: u8, subject: Option<u8>, revision: u64, expires: u64, extras: u8) -> Bucket {
    let at = Timestamp::from_millis;
    let retired = |_| Retired {
        fingerprint: Fingerprint::from_bytes([id; 16]),
        generation: 1,
        superseded_at: at(1),
        dead_after: None,
    };
    Bucket {
        id: SessionId::from_bytes([id; 16]),
        revision: Revision::new(revision),
        subject: subject.map(|tag| SubjectTag::from_bytes([tag; 16])),
        group: (extras & 64 != 0).then(|| GroupTag::from_bytes([subject.unwrap_or(9); 16])),
        label: (extras & 1 != 0).then(|| vec![id; 3]),
        created_at: at(0),
        last_seen_at: at(0),
        expires_at: at(expires),
        idle_timeout: (extras & 2 != 0).then_some(Millis::new(u64::MAX)),
        rotated_at: at(0),
        generation: 2,
        current: Fingerprint::from_bytes([id; 16]),
        retired: (0..extras & 4).map(retired).collect(),
        vault: (extras & 32 != 0).then_some(VaultId::from_bytes([id; 16])),
        evicted: (extras & 16 != 0).then(|| retired(9).into()),
        handoff: (extras & 8 != 0).then(|| vec![id; 5]),
    }
}

fn tombstone(id: u8, expires: u64) -> Tombstone {
    Tombstone {
        id: SessionId::from_bytes([id; 16]),
        ended_at: Timestamp::from_millis(0),
        expires_at: Timestamp::from_millis(expires),
        successor: (expires % 2 == 1).then_some(SessionId::from_bytes([id; 16])),
    }
}

/// A map that does what the contract says, one thing at a time.
#[derive(Default)]
struct Model(BTreeMap<SessionId, Entry>);

impl Model {
    fn has(&self, id: &SessionId, expected: Revision) -> bool {
        matches!(self.0.get(id), Some(Entry::Bucket(bucket)) if bucket.revision == expected)
    }

    fn buckets(&self) -> impl Iterator<Item = &Bucket> {
        self.0.values().filter_map(|entry| match entry {
            Entry::Bucket(bucket) => Some(bucket),
            Entry::Tombstone(_) => None,
        })
    }
}

#[derive(Debug, Clone)]
enum Operation {
    Insert(Bucket),
    Replace(Bucket, u64),
    RenewInto(Bucket, u8, u64, Tombstone),
    Remove(u8, Option<Tombstone>),
    RemoveAll(Option<Tagged>, Option<u8>),
    List(Tagged, Option<u8>, u32),
    Purge(u64, u32),
}

#[derive(Debug, Clone)]
enum Tagged {
    Subjects(Vec<SubjectTag>),
    Groups(Vec<GroupTag>),
}

impl Tagged {
    fn tags(&self) -> Tags<'_> {
        match self {
            Self::Subjects(subjects) => Tags::Subjects(subjects),
            Self::Groups(groups) => Tags::Groups(groups),
        }
    }
}

fn any_tags() -> impl Strategy<Value = Tagged> {
    (any::<bool>(), prop::collection::vec(0..3_u8, 0..4)).prop_map(|(groups, numbers)| {
        let subjects = tags(&numbers);
        if groups {
            Tagged::Groups(subjects.iter().map(|tag| GroupTag::from_bytes(*tag.as_bytes())).collect())
        } else {
            Tagged::Subjects(subjects)
        }
    })
}

fn any_operation() -> impl Strategy<Value = Operation> {
    // Few ids, subjects and revisions, so that they meet.
    let id = || 0..40_u8;
    let any_bucket = || {
        (id(), prop::option::of(0..3_u8), 1..4_u64, 0..8_u64, any::<u8>())
            .prop_map(|(id, subject, revision, expires, extras)| bucket(id, subject, revision, expires, extras))
    };
    prop_oneof![
        8 => any_bucket().prop_map(Operation::Insert),
        6 => (any_bucket(), 1..4_u64).prop_map(|(bucket, expected)| Operation::Replace(bucket, expected)),
        6 => (any_bucket(), id(), 1..4_u64, 0..8_u64)
            .prop_map(|(bucket, old, expected, expires)| Operation::RenewInto(bucket, old, expected, tombstone(old, expires))),
        3 => (id(), prop::option::of(0..8_u64))
            .prop_map(|(id, expires)| Operation::Remove(id, expires.map(|expires| tombstone(id, expires)))),
        1 => (prop::option::weighted(0.9, any_tags()), prop::option::of(id()))
            .prop_map(|(tags, except)| Operation::RemoveAll(tags, except)),
        2 => (any_tags(), prop::option::of(id()), 0..12_u32)
            .prop_map(|(tags, after, limit)| Operation::List(tags, after, limit)),
        1 => (0..4_000_000_u64, 0..20_u32).prop_map(|(now, limit)| Operation::Purge(now, limit)),
    ]
}

fn tags(subjects: &[u8]) -> Vec<SubjectTag> {
    subjects.iter().map(|tag| SubjectTag::from_bytes([*tag; 16])).collect()
}

fn record(entry: Option<Entry>) -> Option<Vec<u8>> {
    entry.map(|entry| entry.to_record())
}

async fn apply(store: &MemoryStore, model: &mut Model, operation: Operation) {
    match operation {
        Operation::Insert(bucket) => {
            let outcome = store.insert(&bucket).await;
            assert_eq!(outcome.is_ok(), !model.0.contains_key(&bucket.id));
            model.0.entry(bucket.id).or_insert(Entry::Bucket(bucket));
        }
        Operation::Replace(bucket, expected) => {
            let fits = model.has(&bucket.id, Revision::new(expected));
            assert_eq!(store.replace(&bucket, Revision::new(expected)).await.unwrap(), fits);
            if fits {
                model.0.insert(bucket.id, Entry::Bucket(bucket));
            }
        }
        Operation::RenewInto(bucket, old, expected, tombstone) => {
            let old = SessionId::from_bytes([old; 16]);
            let outcome = store.renew_into(&bucket, &old, Revision::new(expected), tombstone).await;
            if !model.has(&old, Revision::new(expected)) {
                assert!(!outcome.unwrap());
            } else if model.0.contains_key(&bucket.id) {
                assert!(matches!(outcome, Err(StoreError::Duplicate)));
            } else {
                assert!(outcome.unwrap());
                model.0.insert(old, Entry::Tombstone(tombstone));
                model.0.insert(bucket.id, Entry::Bucket(bucket));
            }
        }
        Operation::Remove(id, tombstone) => {
            let id = SessionId::from_bytes([id; 16]);
            let there = matches!(model.0.get(&id), Some(Entry::Bucket(_)));
            assert_eq!(store.remove(&id, tombstone).await.unwrap(), there);
            if there {
                model.0.remove(&id);
                model.0.extend(tombstone.map(|tombstone| (id, Entry::Tombstone(tombstone))));
            }
        }
        Operation::RemoveAll(tagged, except) => {
            let except = except.map(|id| SessionId::from_bytes([id; 16]));
            let which = tagged.as_ref().map_or(Which::Everything, |tagged| Which::Tagged(tagged.tags()));
            let doomed: Vec<_> = model
                .buckets()
                .filter(|bucket| which.covers(bucket) && Some(bucket.id) != except)
                .map(|bucket| bucket.id)
                .collect();
            assert_eq!(store.remove_all(which, except.as_ref()).await.unwrap(), doomed.len() as u64);
            model.0.retain(|id, _| !doomed.contains(id));
        }
        Operation::List(tagged, after, limit) => {
            let (tags, after) = (tagged.tags(), after.map(|id| SessionId::from_bytes([id; 16])));
            let expected: Vec<_> = model
                .buckets()
                .filter(|bucket| tags.covers(bucket) && after.is_none_or(|after| bucket.id > after))
                .take(limit as usize)
                .map(Bucket::to_record)
                .collect();
            let listed = store.list(tags, Page { after, limit }).await.unwrap();
            assert_eq!(listed.iter().flatten().map(Bucket::to_record).collect::<Vec<_>>(), expected);
        }
        Operation::Purge(now, limit) => {
            let now = Timestamp::from_millis(now);
            let due = model.0.values().filter(|entry| entry.purge_at() <= now).count() as u64;
            let removed = store.purge_expired(now, limit).await.unwrap();
            assert_eq!(removed, due.min(limit.into()));
            // Which of those that are due goes first is the store's affair.
            let mut gone = Vec::new();
            for (id, entry) in &model.0 {
                if store.load(id).await.unwrap().is_none() {
                    assert!(entry.purge_at() <= now);
                    gone.push(*id);
                }
            }
            assert_eq!(gone.len() as u64, removed);
            model.0.retain(|id, _| !gone.contains(id));
        }
    }
}

fn check(store: &MemoryStore) {
    store.shards().for_each(|shard| shard.check(&store.0.hashes));
}

proptest! {
    #[test]
    fn it_does_what_a_simple_map_does(operations in prop::collection::vec(any_operation(), 1..200)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (store, mut model) = (MemoryStore::new(), Model::default());
            for operation in operations {
                apply(&store, &mut model, operation).await;
                assert_eq!(store.count().await.unwrap(), model.buckets().count() as u64);
            }
            check(&store);
            for id in 0..40 {
                let id = SessionId::from_bytes([id; 16]);
                assert_eq!(record(store.load(&id).await.unwrap()), record(model.0.get(&id).cloned()));
            }
        });
    }
}

/// Ids of one shard only, so that its slots, chunks and tables grow and shrink.
fn ids_of_one_shard(count: usize) -> Vec<SessionId> {
    (0_u128..)
        .map(|number| SessionId::from_bytes(number.to_be_bytes()))
        .filter(|id| shard_of(id) == 0)
        .take(count)
        .collect()
}

#[tokio::test]
async fn a_shard_of_many_entries_stays_consistent_while_it_grows_and_shrinks() {
    let store = MemoryStore::new();
    let ids = ids_of_one_shard(700);
    for (expires, id) in (0..).zip(&ids) {
        let kept = Bucket { id: *id, ..bucket(1, Some((expires % 5) as u8), 1, expires, 64) };
        store.insert(&kept).await.unwrap();
    }
    check(&store);
    // One that is not the last, the last, and the first.
    for at in [300, 699, 0] {
        assert!(store.remove(&ids[at], None).await.unwrap());
        check(&store);
    }
    let hour = 3_600_000;
    assert_eq!(store.purge_expired(Timestamp::from_millis(hour + 649), 10_000).await.unwrap(), 648);
    check(&store);
    assert_eq!(store.count().await.unwrap(), 49);
    assert_eq!(store.list(Tags::Subjects(&tags(&[0, 1, 2, 3, 4])), Page::first(100)).await.unwrap().len(), 49);
    assert_eq!(store.purge_expired(Timestamp::from_millis(u64::MAX), 10_000).await.unwrap(), 49);
    check(&store);
}

#[tokio::test]
async fn the_tables_of_a_shard_give_their_room_back_once_most_entries_have_gone() {
    let store = MemoryStore::new();
    let room = || store.0.shards[0].0.lock().room();
    let ids = ids_of_one_shard(3_000);
    for (expires, id) in (0..).zip(&ids) {
        let kept = Bucket { id: *id, ..bucket(1, Some((expires % 250) as u8), 1, expires, 64) };
        store.insert(&kept).await.unwrap();
    }
    let full = room();
    assert!(full.iter().all(|room| (3_000..12_000).contains(room)), "{full:?}");
    let hour = 3_600_000;
    assert_eq!(store.purge_expired(Timestamp::from_millis(hour + 2_899), 10_000).await.unwrap(), 2_900);
    assert!(room().iter().all(|room| (100..400).contains(room)), "{:?} of {full:?}", room());
    check(&store);
    assert_eq!(store.count().await.unwrap(), 100);
}

#[tokio::test]
async fn renewals_across_two_shards_in_both_directions_do_not_deadlock() {
    let store = MemoryStore::new();
    let mut tasks = Vec::new();
    for worker in 0..4_u8 {
        let store = store.clone();
        tasks.push(tokio::task::spawn_blocking(move || {
            for step in 0..5000_u64 {
                let mut id = [worker; 16];
                id[..8].copy_from_slice(&step.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
                let old = Bucket { id: SessionId::from_bytes(id), ..bucket(0, Some(1), 1, 1, 0) };
                id[0] ^= 0x80;
                let new = Bucket { id: SessionId::from_bytes(id), ..old.clone() };
                let stone = Tombstone { id: old.id, ..tombstone(0, 0) };
                let (mut shard, hash) = store.shard(&old.id);
                shard.insert(&store.0.hashes, hash, Packed::from(&old));
                drop(shard);
                assert!(store.renew_now(&new, &old.id, old.revision, stone).unwrap());
            }
        }));
    }
    for task in tasks {
        tokio::time::timeout(std::time::Duration::from_secs(60), task).await.expect("no deadlock").unwrap();
    }
    assert_eq!(store.count().await.unwrap(), 20_000);
    check(&store);
}

#[tokio::test]
async fn a_purge_of_many_lets_others_in() {
    let store = MemoryStore::new();
    for number in 0..20_000_u128 {
        let kept = Bucket { id: SessionId::from_bytes(number.to_be_bytes()), ..bucket(1, None, 1, 0, 0) };
        store.insert(&kept).await.unwrap();
    }
    // On one thread: whoever else is there gets it between two steps.
    let others = std::rc::Rc::new(std::cell::Cell::new(0_u32));
    let local = tokio::task::LocalSet::new();
    let purge = local.run_until(async {
        let counter = std::rc::Rc::clone(&others);
        let ticker = tokio::task::spawn_local(async move {
            loop {
                counter.set(counter.get() + 1);
                tokio::task::yield_now().await;
            }
        });
        let removed = store.purge_expired(Timestamp::from_millis(u64::MAX), u32::MAX).await.unwrap();
        ticker.abort();
        removed
    });
    assert_eq!(purge.await, 20_000);
    assert!(others.get() >= 256, "the purge let others in {} times", others.get());
}

/// A call for one session waits for no lock that others hold: there is none that all share.
#[test]
fn a_session_waits_for_its_own_shard_alone() {
    use std::sync::mpsc;
    use std::thread;
    use std::time::Duration;

    use futures_util::FutureExt;

    let store = MemoryStore::new();
    let bucket = bucket(1, Some(1), 1, 9, 0);
    let own = shard_of(&bucket.id);
    let _moving = store.0.moving.write();
    let others = store.0.shards.iter().enumerate().filter(|(number, _)| *number != own);
    let _others: Vec<_> = others.map(|(_, shard)| shard.0.lock()).collect();

    let (done, answers) = mpsc::channel();
    let beside = store.clone();
    thread::spawn(move || {
        let next = Bucket { revision: Revision::new(2), ..bucket.clone() };
        beside.insert(&bucket).now_or_never().unwrap().unwrap();
        assert!(beside.load(&bucket.id).now_or_never().unwrap().unwrap().is_some());
        assert!(beside.replace(&next, bucket.revision).now_or_never().unwrap().unwrap());
        assert!(beside.remove(&bucket.id, None).now_or_never().unwrap().unwrap());
        done.send(()).unwrap();
    });
    assert_eq!(answers.recv_timeout(Duration::from_secs(30)), Ok(()));
}

/// A hundred thousand sessions of one subject, listed and ended on one thread, beside somebody else who has it in turns.
/// The machine decides how long a turn takes; the store decides how much is done between two of them.
#[tokio::test]
async fn many_sessions_of_one_subject_are_listed_and_ended_while_others_go_on() {
    use std::cell::Cell;
    use std::rc::Rc;

    const MANY: u64 = 100_000;
    let store = MemoryStore::new();
    for number in 0..MANY {
        let id = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
        store.insert(&Bucket { id: SessionId::from_bytes(id), ..bucket(1, Some(1), 1, 1, 0) }).await.unwrap();
    }
    let (turns, most) = (Rc::new(Cell::new(0_u32)), Rc::new(Cell::new(0_u64)));
    tokio::task::LocalSet::new()
        .run_until(async {
            let (counter, ended_at_once, seen) = (Rc::clone(&turns), Rc::clone(&most), store.clone());
            let others = tokio::task::spawn_local(async move {
                let mut left = MANY;
                loop {
                    tokio::task::yield_now().await;
                    counter.set(counter.get() + 1);
                    let before = std::mem::replace(&mut left, seen.shards().map(|shard| shard.buckets()).sum());
                    ended_at_once.set(ended_at_once.get().max(before - left));
                }
            });
            tokio::task::yield_now().await;
            assert_eq!(
                store.list(Tags::Subjects(&tags(&[1])), Page::first(u32::MAX)).await.unwrap().len() as u64,
                MANY
            );
            let whole = turns.get();
            assert!(whole >= 100, "the list let others in {whole} times");
            let (mut listed, mut next) = (0, Some(Page::first(100)));
            while let Some(page) = next {
                let found = store.list(Tags::Subjects(&tags(&[1])), page).await.unwrap();
                listed += found.len() as u64;
                next = page.next(&found);
                tokio::task::yield_now().await;
            }
            assert_eq!(listed, MANY);
            let paged = turns.get();
            assert_eq!(store.remove_all(Which::Tagged(Tags::Subjects(&tags(&[1]))), None).await.unwrap(), MANY);
            let ended = turns.get() - paged;
            others.abort();
            assert!(ended >= 500, "the end of all let others in {ended} times");
        })
        .await;
    check(&store);
    assert!((1..=256).contains(&most.get()), "{} sessions were ended without letting others in", most.get());
}

/// A page looks at the shards that fill it, and not at all that the subject has.
#[tokio::test]
async fn a_page_costs_what_is_on_it_and_not_what_the_subject_has() {
    let store = MemoryStore::new();
    for number in 0..10_000_u128 {
        let id = number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes();
        store.insert(&Bucket { id: SessionId::from_bytes(id), ..bucket(1, Some(1), 1, 1, 0) }).await.unwrap();
    }
    // Those behind the page are locked, and so not needed.
    let _behind: Vec<_> = store.0.shards[16..].iter().map(|shard| shard.0.lock()).collect();
    let page = futures_util::FutureExt::now_or_never(store.list(Tags::Subjects(&tags(&[1])), Page::first(100)))
        .unwrap()
        .unwrap();
    assert_eq!(page.len(), 100);
    assert!(page.iter().flatten().all(|bucket| bucket.id.as_bytes()[0] < 16));
}
