//! Writers that know what was acknowledged to them, and look whether it is there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use secure_sessions_store::{Bucket, Entry, Revision, SessionId, SessionStore, SqlStore, StoreError};
use tokio::task::JoinHandle;

use crate::common::next;
use crate::support::{is_same, numbered, tombstone};

/// The steps of each session, one after another.
const STEPS: u64 = 5;

/// Writers at work on a store.
pub(crate) struct Load {
    acknowledged: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    writers: Vec<JoinHandle<Vec<Seen>>>,
}

/// A session as its writer knows it.
struct Seen {
    number: u64,
    /// Steps that were acknowledged.
    done: u64,
    /// Set to `true` if the next step was tried and ended in an error.
    uncertain: bool,
}

impl Load {
    pub(crate) fn start(store: &SqlStore, writers: u64) -> Self {
        let (acknowledged, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let writers = (0..writers).map(|writer| {
            let (store, acknowledged, stop) = (store.clone(), Arc::clone(&acknowledged), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut sessions = Vec::new();
                for round in 0.. {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let mut seen = Seen { number: (writer << 32) + 2 * round, done: 0, uncertain: false };
                    while seen.done < STEPS && !seen.uncertain {
                        match step(&store, seen.number, seen.done).await {
                            Ok(true) => {
                                seen.done += 1;
                                acknowledged.fetch_add(1, Ordering::SeqCst);
                            }
                            Ok(false) => panic!("step {} was refused: what was acknowledged is lost", seen.done),
                            Err(error) => {
                                assert!(error.is_transient(), "{error:?}");
                                seen.uncertain = true;
                                // A server that is away refuses at once: not thousands of sessions for that.
                                tokio::time::sleep(Duration::from_millis(20)).await;
                            }
                        }
                    }
                    sessions.push(seen);
                }
                sessions
            })
        });
        let writers = writers.collect();
        Self { acknowledged, stop, writers }
    }

    /// Waits until so many more writes have been acknowledged: the service is going on.
    pub(crate) async fn more(&self, writes: u64) {
        let start = self.acknowledged.load(Ordering::SeqCst);
        let since = std::time::Instant::now();
        while self.acknowledged.load(Ordering::SeqCst) < start + writes {
            assert!(since.elapsed().as_secs() < 120, "the store does not go on");
            assert!(!self.writers.iter().any(JoinHandle::is_finished), "a writer has ended");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Ends the writers, and checks every session of theirs. Returns how many writes were acknowledged, and how many
    /// failed.
    pub(crate) async fn check(self, store: &SqlStore) -> (u64, usize) {
        self.stop.store(true, Ordering::SeqCst);
        let mut failed = 0;
        for writer in self.writers {
            for seen in writer.await.unwrap() {
                let found = steps_done(store, seen.number).await;
                assert!(
                    found == seen.done || (seen.uncertain && found == seen.done + 1),
                    "{} steps were acknowledged{}, {found} are there",
                    seen.done,
                    if seen.uncertain { " and one tried" } else { "" }
                );
                failed += usize::from(seen.uncertain);
            }
        }
        (self.acknowledged.load(Ordering::SeqCst), failed)
    }
}

async fn step(store: &SqlStore, number: u64, done: u64) -> Result<bool, StoreError> {
    let (first, successor) = (numbered(number), numbered(number + 1));
    let second = next(&first);
    let third = next(&second);
    match done {
        0 => store.insert(&first).await.map(|()| true),
        1 => store.replace(&second, first.revision).await,
        2 => store.replace(&third, second.revision).await,
        3 => store.renew_into(&successor, &third.id, third.revision, tombstone(third.id)).await,
        _ => store.remove(&successor.id, None).await,
    }
}

/// Counts the steps in the store, each of them whole.
async fn steps_done(store: &SqlStore, number: u64) -> u64 {
    let (old, new) = (find(store, numbered(number).id).await, find(store, numbered(number + 1).id).await);
    let is = |bucket: &Bucket, revision| is_same(bucket, &Bucket { revision, ..numbered(number) });
    match (old, new) {
        (None, None) => 0,
        (Some(Entry::Bucket(bucket)), None) if is(&bucket, Revision::new(1)) => 1,
        (Some(Entry::Bucket(bucket)), None) if is(&bucket, Revision::new(2)) => 2,
        (Some(Entry::Bucket(bucket)), None) if is(&bucket, Revision::new(3)) => 3,
        (Some(Entry::Tombstone(_)), Some(Entry::Bucket(bucket))) if is_same(&bucket, &numbered(number + 1)) => 4,
        (Some(Entry::Tombstone(_)), None) => 5,
        (old, new) => panic!("half a step: {old:?} {new:?}"),
    }
}

/// A connection that was cut while it was idle may fail once.
async fn find(store: &SqlStore, id: SessionId) -> Option<Entry> {
    for _ in 0..20 {
        match store.load(&id).await {
            Ok(found) => return found,
            Err(error) => assert!(error.is_transient(), "{error:?}"),
        }
    }
    panic!("the store does not answer");
}
