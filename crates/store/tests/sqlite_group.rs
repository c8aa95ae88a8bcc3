//! Group commit on SQLite: writes that wait for a turn share a transaction, and nothing else.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::{FutureExt, join_all};
use proptest::prelude::*;
use secure_sessions_store::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use secure_sessions_store::sqlx::{self, SqlitePool};
use secure_sessions_store::{
    Bucket, Entry, Revision, SessionId, SessionStore, SqlOptions, SqlStore, StoreError, SubjectTag, Timestamp,
    Tombstone,
};

use crate::common::session;

mod common;

const NOW: u64 = 1_800_000_000_000;

fn id(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

fn bucket(number: u8, revision: u64) -> Bucket {
    let (revision, handoff) = (Revision::new(revision), Some(vec![7; 700]));
    Bucket { revision, handoff, ..session([number; 16], Timestamp::from_millis(NOW)) }
}

fn tombstone(number: u8) -> Tombstone {
    let at = Timestamp::from_millis(NOW);
    Tombstone { id: id(number), ended_at: at, expires_at: at, successor: None }
}

/// The commits of a store's only connection: how many there were, and the first that is refused.
struct Commits {
    count: AtomicU64,
    refused_from: AtomicU64,
}

impl Commits {
    fn count(&self) -> u64 {
        self.count.load(Ordering::SeqCst)
    }

    fn refuse_after(&self, more: u64) {
        self.refused_from.store(self.count() + more, Ordering::SeqCst);
    }

    fn accept(&self) {
        self.refused_from.store(u64::MAX, Ordering::SeqCst);
    }
}

/// A store in memory whose commits are counted and may be refused, and its pool.
async fn counted() -> (SqlStore, SqlitePool, Arc<Commits>) {
    let commits = Arc::new(Commits { count: AtomicU64::new(0), refused_from: AtomicU64::new(u64::MAX) });
    let hook = Arc::clone(&commits);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .after_connect(move |connection, _| {
            let commits = Arc::clone(&hook);
            Box::pin(async move {
                connection.lock_handle().await?.set_commit_hook(move || {
                    let number = commits.count.fetch_add(1, Ordering::SeqCst);
                    number < commits.refused_from.load(Ordering::SeqCst)
                });
                Ok(())
            })
        })
        .connect_with(SqliteConnectOptions::new().in_memory(true))
        .await
        .unwrap();
    let options = SqlOptions::new().timeout(Duration::from_secs(100));
    (options.pool(pool.clone()).await.unwrap(), pool, commits)
}

async fn revision(store: &SqlStore, number: u8) -> Option<u64> {
    match store.load(&id(number)).await.unwrap() {
        Some(Entry::Bucket(bucket)) => Some(bucket.revision.get()),
        _ => None,
    }
}

#[tokio::test]
async fn writes_that_wait_share_a_commit_and_a_lone_one_has_its_own() {
    let (store, _, commits) = counted().await;
    let before = commits.count();
    for number in 0..10 {
        store.insert(&bucket(number, 1)).await.unwrap();
    }
    assert_eq!(commits.count() - before, 10, "one after another");

    let before = commits.count();
    let inserted = join_all((100..150).map(async |number| store.insert(&bucket(number, 1)).await)).await;
    assert!(inserted.iter().all(Result::is_ok), "{inserted:?}");
    // The first finds nobody, the others wait for it. (The driver ends a group with an empty transaction.)
    let commits = commits.count() - before;
    assert!(commits <= 4, "50 writes at once took {commits} commits");
}

#[tokio::test]
async fn a_taken_id_fails_its_own_insert_and_none_beside_it() {
    let (store, _, _) = counted().await;
    store.insert(&bucket(7, 5)).await.unwrap();
    let inserted = join_all((0..20).map(async |number| store.insert(&bucket(number, 1)).await)).await;
    for (number, inserted) in (0..).zip(inserted) {
        assert_eq!(matches!(inserted, Err(StoreError::Duplicate)), number == 7, "{number}: {inserted:?}");
        assert_eq!(revision(&store, number).await, Some(if number == 7 { 5 } else { 1 }));
    }
}

/// The failure takes the whole transaction back, in the middle of it.
#[tokio::test]
async fn a_write_that_undoes_the_transaction_fails_alone() {
    let (store, pool, _) = counted().await;
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON secure_sessions WHEN NEW.id = x'07070707070707070707070707070707' \
                   BEGIN SELECT RAISE(ROLLBACK, 'not this one'); END";
    sqlx::raw_sql(trigger).execute(&pool).await.unwrap();
    let inserted = join_all((0..20).map(async |number| store.insert(&bucket(number, 1)).await)).await;
    for (number, inserted) in (0..).zip(inserted) {
        assert_eq!(inserted.is_ok(), number != 7, "{number}: {inserted:?}");
        assert_eq!(revision(&store, number).await.is_some(), number != 7, "{number}");
    }
}

#[tokio::test]
async fn a_refused_commit_is_an_error_for_each_write_in_it_and_none_is_kept() {
    let (store, _, commits) = counted().await;
    store.insert(&bucket(0, 1)).await.unwrap();
    // The first runs by itself, and is kept; the others' commit is refused.
    commits.refuse_after(1);
    let first = async { store.replace(&bucket(0, 2), Revision::new(1)).await.map(drop) };
    let others = join_all((1..20).map(async |number| store.insert(&bucket(number, 1)).await));
    let (first, others) = tokio::join!(first, others);
    first.unwrap();
    assert_eq!(revision(&store, 0).await, Some(2));
    for (number, other) in (1..).zip(others) {
        assert!(matches!(other, Err(StoreError::Rejected(_) | StoreError::Unavailable(_))), "{number}: {other:?}");
        assert_eq!(revision(&store, number).await, None);
    }
    commits.accept();
    let again = join_all((1..20).map(async |number| store.insert(&bucket(number, 1)).await)).await;
    assert!(again.iter().all(Result::is_ok), "{again:?}");
}

/// A directory of its own, gone at the end.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = services::scratch().join(format!("secure-sessions-group-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("sessions.db")
    }

    async fn open(&self) -> SqlStore {
        let url = format!("sqlite:{}", self.file().display());
        SqlOptions::new().timeout(Duration::from_secs(60)).connect(&url).await.unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn of_a_write_whose_caller_left_the_queue_nothing_happens() {
    let directory = Directory::new("left");
    let store = directory.open().await;
    let elsewhere = SqlitePool::connect_with(SqliteConnectOptions::new().filename(directory.file())).await.unwrap();
    let lock = elsewhere.begin_with("BEGIN IMMEDIATE").await.unwrap();
    // The first has the turn, and waits for the other process's lock; the others wait for their turn.
    let mut writes: Vec<_> = (0..20)
        .map(|number| {
            let store = store.clone();
            Box::pin(async move { store.insert(&bucket(number, 1)).await })
        })
        .collect();
    for write in &mut writes {
        assert!(write.now_or_never().is_none());
    }
    let left = writes.split_off(10);
    drop(left);
    lock.rollback().await.unwrap();
    assert!(join_all(writes).await.iter().all(Result::is_ok));
    for number in 0..20 {
        assert_eq!(revision(&store, number).await.is_some(), number < 10, "{number}");
    }
}

#[test]
fn a_queue_whose_runtime_has_ended_is_served_by_the_next() {
    let directory = Directory::new("ended");
    let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let store = second.block_on(directory.open());
    let elsewhere =
        second.block_on(SqlitePool::connect_with(SqliteConnectOptions::new().filename(directory.file()))).unwrap();
    let lock = second.block_on(elsewhere.begin_with("BEGIN IMMEDIATE")).unwrap();
    for number in 0..5 {
        let store = store.clone();
        first.spawn(async move { store.insert(&bucket(number, 1)).await });
    }
    // The task that serves the queue is the first runtime's.
    std::thread::sleep(Duration::from_millis(100));
    let waiting = second.spawn({
        let store = store.clone();
        async move { store.insert(&bucket(6, 1)).await }
    });
    std::thread::sleep(Duration::from_millis(100));
    // To its end: one that goes on for a moment would take the writes below along.
    first.shutdown_timeout(Duration::from_secs(60));
    second.block_on(lock.rollback()).unwrap();
    second.block_on(async {
        let outcome = tokio::time::timeout(Duration::from_secs(60), waiting).await.expect("it waits for ever").unwrap();
        assert!(matches!(outcome, Ok(()) | Err(StoreError::Unavailable(_))), "{outcome:?}");
        let again = join_all((10..20).map(async |number| store.insert(&bucket(number, 1)).await)).await;
        assert!(again.iter().all(Result::is_ok), "{again:?}");
    });
}

/// One call, on a session of its own among those that are made at once.
#[derive(Debug, Clone, Copy)]
enum Step {
    Insert,
    /// With the current revision, or another one; and with the same subject or another one.
    Replace {
        is_current: bool,
        changes_subject: bool,
    },
    Remove {
        leaves_tombstone: bool,
    },
    Renew {
        is_current: bool,
    },
    Read,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Insert),
        (any::<bool>(), any::<bool>())
            .prop_map(|(is_current, changes_subject)| Step::Replace { is_current, changes_subject }),
        any::<bool>().prop_map(|leaves_tombstone| Step::Remove { leaves_tombstone }),
        any::<bool>().prop_map(|is_current| Step::Renew { is_current }),
        Just(Step::Read),
    ]
}

/// The model's record of an id: a bucket's revision, or a tombstone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kept {
    Bucket(u64),
    Tombstone,
}

async fn kept(store: &SqlStore, number: u8) -> Option<Kept> {
    store.load(&id(number)).await.unwrap().map(|entry| match entry {
        Entry::Bucket(bucket) => Kept::Bucket(bucket.revision.get()),
        Entry::Tombstone(_) => Kept::Tombstone,
    })
}

const SESSIONS: u8 = 12;

/// Returns the store's answer: `None` for a taken id.
async fn run(
    store: &SqlStore,
    number: u8,
    step: Step,
    round: u64,
    known: Option<Kept>,
) -> (Option<bool>, Option<Kept>) {
    let current = if let Some(Kept::Bucket(revision)) = known { revision } else { 0 };
    let swapped = |outcome: Result<bool, StoreError>| match outcome {
        Ok(swapped) => Some(swapped),
        Err(StoreError::Duplicate) => None,
        Err(error) => panic!("{error:?}"),
    };
    let answer = match step {
        Step::Insert => swapped(store.insert(&bucket(number, round)).await.map(|()| true)),
        Step::Replace { is_current, changes_subject } => {
            let subject = SubjectTag::from_bytes([if changes_subject { 100 } else { 1 }; 16]);
            let next = Bucket { subject: Some(subject), ..bucket(number, round) };
            let expected = if is_current { current } else { current + 1000 };
            swapped(store.replace(&next, Revision::new(expected)).await)
        }
        Step::Remove { leaves_tombstone } => {
            swapped(store.remove(&id(number), leaves_tombstone.then(|| tombstone(number))).await)
        }
        Step::Renew { is_current } => {
            let expected = Revision::new(if is_current { current } else { current + 1000 });
            swapped(store.renew_into(&bucket(number + 100, round), &id(number), expected, tombstone(number)).await)
        }
        Step::Read => Some(true),
    };
    // It reads what it wrote, or what was there.
    (answer, kept(store, number).await)
}

fn expected(known: &mut BTreeMap<u8, Kept>, number: u8, step: Step, round: u64) -> Option<bool> {
    let found = known.get(&number).copied();
    let is_bucket = matches!(found, Some(Kept::Bucket(_)));
    match step {
        Step::Read => Some(true),
        Step::Insert if found.is_some() => None,
        Step::Insert => {
            known.insert(number, Kept::Bucket(round));
            Some(true)
        }
        Step::Replace { is_current, .. } => {
            let swaps = is_bucket && is_current;
            if swaps {
                known.insert(number, Kept::Bucket(round));
            }
            Some(swaps)
        }
        Step::Remove { leaves_tombstone } => {
            if is_bucket && leaves_tombstone {
                known.insert(number, Kept::Tombstone);
            } else if is_bucket {
                known.remove(&number);
            }
            Some(is_bucket)
        }
        Step::Renew { is_current } if is_bucket && is_current => {
            if known.contains_key(&(number + 100)) {
                return None;
            }
            known.insert(number, Kept::Tombstone);
            known.insert(number + 100, Kept::Bucket(round));
            Some(true)
        }
        Step::Renew { .. } => Some(false),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn calls_at_once_answer_and_leave_what_a_simple_model_says(
        rounds in prop::collection::vec(prop::collection::vec(step(), usize::from(SESSIONS)), 1..8)
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (store, _, _) = counted().await;
            let mut known = BTreeMap::new();
            for (round, steps) in (1..).zip(rounds) {
                let before = known.clone();
                let calls = (0..SESSIONS).zip(&steps).map(|(number, step)| {
                    run(&store, number, *step, round, before.get(&number).copied())
                });
                let answers = join_all(calls).await;
                for ((number, step), (answer, read)) in (0..SESSIONS).zip(steps).zip(answers) {
                    let expected = expected(&mut known, number, step, round);
                    assert_eq!(answer, expected, "{step:?} of {number} in round {round}");
                    assert_eq!(read, known.get(&number).copied(), "{step:?} of {number} in round {round}");
                }
            }
            for number in (0..SESSIONS).chain(100..100 + SESSIONS) {
                assert_eq!(kept(&store, number).await, known.get(&number).copied(), "{number}");
            }
        });
    }
}
