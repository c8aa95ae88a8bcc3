//! Clients at work on a store, who know what was acknowledged to them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use secure_sessions_store::{Bucket, Entry, SessionStore, StoreError, SubjectTag, Tags, Which};
use tokio::task::JoinHandle;

use super::{next, now, session, spread, tombstone};

/// Records the answers that clients were given.
#[derive(Default)]
struct Told {
    numbers: AtomicU64,
    /// Endings that were acknowledged.
    ended: Mutex<Vec<Bucket>>,
    /// Sessions that were acknowledged, and that nobody has tried to end.
    kept: Mutex<Vec<Bucket>>,
    failures: AtomicU64,
}

/// Clients that begin and end sessions until they are stopped. They go on after an error that passes.
pub(crate) struct Clients {
    told: Arc<Told>,
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Holds all that was acknowledged to clients.
pub(crate) struct Acknowledged {
    pub(crate) endings: Vec<Bucket>,
    /// Sessions that nobody has tried to end.
    pub(crate) kept: Vec<Bucket>,
    /// Calls that ended in an error.
    pub(crate) failures: u64,
}

/// Returns the subject of a client, which has one of its own: so only its own sessions are ended everywhere.
pub(crate) fn subject(client: u8) -> SubjectTag {
    SubjectTag::from_bytes([client; 16])
}

/// One session's life: it begins, is seen, and ends by a logout, a renewal or everywhere; or it stays.
async fn life(store: &impl SessionStore, told: &Told, client: u8) -> Result<(), StoreError> {
    let number = told.numbers.fetch_add(1, Ordering::SeqCst);
    let bucket = |number, subject| Bucket { subject, handoff: Some(vec![1; 700]), ..session(spread(number), now()) };
    let first = bucket(2 * number, Some(subject(client)));
    store.insert(&first).await?;
    let seen = next(&first);
    assert!(store.replace(&seen, first.revision).await?, "a swap of a session that nobody else has");
    match number % 4 {
        0 => {
            assert!(store.remove(&seen.id, Some(tombstone(&seen, None))).await?);
            told.ended.lock().unwrap().push(seen);
        }
        1 => {
            let renewed = bucket(2 * number + 1, None);
            let stone = tombstone(&seen, Some(renewed.id));
            assert!(store.renew_into(&renewed, &seen.id, seen.revision, stone).await?);
            told.ended.lock().unwrap().push(seen);
            told.kept.lock().unwrap().push(renewed);
        }
        2 => {
            store.remove_all(Which::Tagged(Tags::Subjects(&[subject(client)])), None).await?;
            told.ended.lock().unwrap().push(seen);
        }
        _ => {
            let kept = Bucket { subject: None, ..next(&seen) };
            assert!(store.replace(&kept, seen.revision).await?);
            told.kept.lock().unwrap().push(kept);
        }
    }
    Ok(())
}

impl Clients {
    /// Starts `count` clients, numbered from 1.
    pub(crate) fn start<S: SessionStore + Clone>(store: &S, clients: u8) -> Self {
        let (told, stop) = (Arc::<Told>::default(), Arc::<AtomicBool>::default());
        let tasks = (1..=clients)
            .map(|client| {
                let (store, told, stop) = (store.clone(), Arc::clone(&told), Arc::clone(&stop));
                tokio::spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        if let Err(error) = life(&store, &told, client).await {
                            assert!(error.is_transient(), "{error:?}");
                            told.failures.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                })
            })
            .collect();
        Self { told, stop, tasks }
    }

    fn ended(&self) -> usize {
        self.told.ended.lock().unwrap().len()
    }

    /// Waits until so many more endings were acknowledged.
    pub(crate) async fn more(&self, endings: usize) {
        let (start, before) = (Instant::now(), self.ended());
        while self.ended() < before + endings {
            assert!(start.elapsed() < Duration::from_secs(60), "the store does not go on");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits for as much as [`more`](Self::more) does, not counting one write of each client: those may have been under way.
    pub(crate) async fn more_from_now(&self, endings: usize) {
        self.more(self.tasks.len() + endings).await;
    }

    /// Stops them. No session has ended twice.
    pub(crate) async fn stop(self) -> Acknowledged {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        let (endings, kept) = (self.told.ended.lock().unwrap().clone(), self.told.kept.lock().unwrap().clone());
        let all: BTreeSet<_> = endings.iter().map(|ended| ended.id).collect();
        assert_eq!(all.len(), endings.len());
        Acknowledged { endings, kept, failures: self.told.failures.load(Ordering::SeqCst) }
    }
}

impl Acknowledged {
    /// Checks that no ending was undone and no session that stays is lost.
    pub(crate) async fn check(&self, store: &impl SessionStore) {
        for ended in &self.endings {
            let entry = store.load(&ended.id).await.unwrap();
            assert!(!matches!(entry, Some(Entry::Bucket(_))), "an acknowledged ending was undone");
        }
        for kept in &self.kept {
            match store.load(&kept.id).await.unwrap() {
                Some(Entry::Bucket(found)) => assert_eq!(found.revision, kept.revision),
                _ => panic!("an acknowledged session is gone"),
            }
        }
    }
}
