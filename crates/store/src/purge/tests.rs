use std::sync::Mutex;

use secure_sessions_core::{Bucket, Entry, Revision, SessionId, Tombstone};
use tokio::time::{Instant, sleep};

use super::*;
use crate::conformance::sample::session;
use crate::{Page, Tags, Which};

/// A store that plays a script of outcomes, then finds nothing due, and records the calls.
#[derive(Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

type Script = (Vec<Result<u64, StoreError>>, Vec<Call>);

#[derive(Debug, Clone, Copy)]
struct Call {
    at: Instant,
    now: Timestamp,
    limit: u32,
}

impl Scripted {
    fn new(mut outcomes: Vec<Result<u64, StoreError>>) -> Self {
        outcomes.reverse();
        Self(Arc::new(Mutex::new((outcomes, Vec::new()))))
    }

    fn calls(&self) -> Vec<Call> {
        self.0.lock().unwrap().1.clone()
    }
}

impl SessionStore for Scripted {
    async fn insert(&self, _: &Bucket) -> Result<(), StoreError> {
        Err(StoreError::Timeout)
    }
    async fn load(&self, _: &SessionId) -> Result<Option<Entry>, StoreError> {
        Err(StoreError::Timeout)
    }
    async fn replace(&self, _: &Bucket, _: Revision) -> Result<bool, StoreError> {
        Err(StoreError::Timeout)
    }
    async fn renew_into(&self, _: &Bucket, _: &SessionId, _: Revision, _: Tombstone) -> Result<bool, StoreError> {
        Err(StoreError::Timeout)
    }
    async fn remove(&self, _: &SessionId, _: Option<Tombstone>) -> Result<bool, StoreError> {
        Err(StoreError::Timeout)
    }
    async fn list(&self, _: Tags<'_>, _: Page) -> Result<Vec<crate::Listed>, StoreError> {
        Err(StoreError::Timeout)
    }
    async fn count(&self) -> Result<u64, StoreError> {
        Err(StoreError::Timeout)
    }
    async fn remove_all(&self, _: Which<'_>, _: Option<&SessionId>) -> Result<u64, StoreError> {
        Err(StoreError::Timeout)
    }
    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        let outcome = {
            let mut script = self.0.lock().unwrap();
            script.1.push(Call { at: Instant::now(), now, limit });
            script.0.pop().unwrap_or(Ok(0))
        };
        // A batch takes its time.
        sleep(Duration::from_millis(5)).await;
        outcome
    }
}

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test(start_paused = true)]
async fn a_round_goes_on_until_a_batch_is_not_full() {
    let store = Scripted::new(vec![Ok(10), Ok(10), Ok(3)]);
    let purge = Purge::new(store.clone()).batch(10).clock(|| Timestamp::from_millis(77));
    assert_eq!(purge.run_once().await.unwrap(), 23);
    let calls = store.calls();
    assert_eq!(calls.len(), 3);
    assert!(calls.iter().all(|call| call.now == Timestamp::from_millis(77) && call.limit == 10));
}

#[tokio::test(start_paused = true)]
async fn rounds_come_at_the_interval_with_jitter_and_the_total_is_returned() {
    let store = Scripted::new(vec![Ok(1), Ok(2), Ok(4)]);
    let handle = Purge::new(store.clone()).interval(MINUTE).jitter(MINUTE / 2).spawn();
    sleep(MINUTE * 10).await;
    assert_eq!(handle.removed(), 7);
    assert_eq!(handle.stop().await, 7);
    let calls = store.calls();
    assert!((7..=10).contains(&calls.len()), "{} rounds", calls.len());
    for pair in calls.windows(2) {
        let pause = pair[1].at - pair[0].at;
        assert!(pause >= MINUTE && pause <= MINUTE * 3 / 2 + Duration::from_millis(10), "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_interval_without_end_leaves_it_at_one_round() {
    let store = Scripted::new(vec![Ok(1)]);
    let handle = Purge::new(store.clone()).interval(Duration::MAX).jitter(Duration::MAX).spawn();
    sleep(MINUTE).await;
    assert!(handle.task.as_ref().is_some_and(|task| !task.is_finished()), "it waits, and has not panicked");
    assert_eq!((handle.stop().await, store.calls().len()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_failing_store_is_tried_again_ever_more_slowly_and_then_at_the_interval() {
    let failures = || std::iter::repeat_with(|| Err(StoreError::Timeout)).take(4);
    let store = Scripted::new(failures().chain([Ok(5)]).collect());
    let handle = Purge::new(store.clone()).interval(MINUTE).jitter(Duration::ZERO).spawn();
    sleep(MINUTE * 2).await;
    assert_eq!(handle.stop().await, 5);
    let calls = store.calls();
    let pauses: Vec<u64> = calls.windows(2).map(|pair| (pair[1].at - pair[0].at).as_secs()).collect();
    assert_eq!(pauses, [1, 2, 4, 8, 60]);
}

#[test]
fn the_longest_pause_after_failures_is_five_minutes() {
    assert_eq!(retry_after(0), Duration::from_secs(1));
    assert_eq!(retry_after(8), Duration::from_secs(256));
    for failures in [9, 31, 32, u32::MAX] {
        assert_eq!(retry_after(failures), LONGEST_RETRY);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_failing_round_had_removed_is_counted() {
    let store = Scripted::new(vec![Ok(1000), Err(StoreError::Timeout)]);
    let handle = Purge::new(store.clone()).spawn();
    sleep(Duration::from_millis(500)).await;
    assert_eq!(handle.stop().await, 1000);
}

#[tokio::test(start_paused = true)]
async fn stopping_waits_for_the_batch_and_begins_no_other() {
    let store = Scripted::new(std::iter::repeat_with(|| Ok(1000)).take(1_000_000).collect());
    let handle = Purge::new(store.clone()).spawn();
    sleep(Duration::from_millis(31)).await;
    let removed = handle.stop().await;
    let calls = store.calls().len();
    assert_eq!(removed, 1000 * calls as u64);
    sleep(MINUTE * 10).await;
    assert_eq!(store.calls().len(), calls);
}

#[tokio::test(start_paused = true)]
async fn dropping_the_handle_stops_the_task_and_detaching_does_not() {
    let (dropped, detached) = (Scripted::default(), Scripted::default());
    drop(Purge::new(dropped.clone()).spawn());
    Purge::new(detached.clone()).spawn().detach();
    sleep(MINUTE * 5).await;
    assert!(dropped.calls().len() <= 1);
    assert!(detached.calls().len() >= 4);
}

#[test]
fn jitter_is_within_its_bounds_and_not_always_the_same() {
    let longest = Duration::from_millis(100);
    let waits: Vec<_> = (0..200).map(|_| random_up_to(longest)).collect();
    assert!(waits.iter().all(|wait| *wait <= longest));
    assert!(waits.iter().any(|wait| *wait != waits[0]));
    assert_eq!(random_up_to(Duration::ZERO), Duration::ZERO);
}

#[cfg(feature = "memory")]
#[tokio::test]
async fn it_goes_by_the_systems_clock_unless_told_otherwise() {
    let store = crate::MemoryStore::new();
    let ended = Tombstone {
        id: SessionId::from_bytes([1; 16]),
        ended_at: Timestamp::from_millis(1),
        expires_at: Timestamp::from_millis(system_time().as_millis() + 60_000),
        successor: None,
    };
    let bucket = session(ended.id, ended.ended_at);
    store.insert(&bucket).await.unwrap();
    store.remove(&ended.id, Some(ended)).await.unwrap();
    assert_eq!(Purge::new(store.clone()).run_once().await.unwrap(), 0);
    let later = ended.expires_at;
    assert_eq!(Purge::new(store.clone()).clock(move || later).run_once().await.unwrap(), 1);
}
