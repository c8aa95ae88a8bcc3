//! Faults at every step, and every order of the steps of two calls.
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;
use std::time::Duration;

use secure_sessions_core::{
    Bucket, Entry, Fingerprint, GroupTag, Millis, Revision, SessionId, SubjectTag, Timestamp, Tombstone,
};

use self::map::{Map, Plan, Shared};
use super::renewal::Renewal;
use super::{KeyValue, KvStore};
use crate::conformance::sample::session;
use crate::{Page, SessionStore, StoreError, Tags, Which};

mod faults;
mod map;
mod orders;
mod vault;

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
/// When every session of these tests is due for the purge.
const END: Timestamp = Timestamp::from_millis(u64::MAX);
const FIRST: SubjectTag = SubjectTag::from_bytes([1; 16]);
const SECOND: SubjectTag = SubjectTag::from_bytes([2; 16]);

fn id(number: u8) -> SessionId {
    SessionId::from_bytes([number; 16])
}

fn bucket(number: u8, subject: Option<SubjectTag>) -> Bucket {
    // The same bytes as the subject's, which are no subject's.
    let group = subject.map(|subject| GroupTag::from_bytes(*subject.as_bytes()));
    let (idle_timeout, current) = (Some(Millis::from_secs(1800)), Fingerprint::from_bytes([number; 16]));
    Bucket { subject, group, idle_timeout, current, ..session(id(number), NOW) }
}

/// Returns the session after another write.
fn next(bucket: &Bucket) -> Bucket {
    Bucket { revision: Revision::new(bucket.revision.get() + 1), ..bucket.clone() }
}

fn seen_later(bucket: &Bucket) -> Bucket {
    Bucket { last_seen_at: bucket.last_seen_at.after(Millis::from_secs(600)), ..next(bucket) }
}

fn tombstone(number: u8, successor: Option<u8>) -> Tombstone {
    let expires_at = NOW.after(Millis::from_secs(60));
    Tombstone { id: id(number), ended_at: NOW, expires_at, successor: successor.map(id) }
}

async fn lives<E: KeyValue>(store: &KvStore<E>, number: u8) -> bool {
    matches!(store.load(&id(number)).await.unwrap(), Some(Entry::Bucket(_)))
}

/// The sessions of these tests, by their numbers.
const NUMBERS: std::ops::Range<u8> = 1..10;

/// Checks what holds at any time: the indexes lead to every session of their tag and to no other, ending all of the subjects
/// leaves none of theirs, and after the purge of everything not a key is left.
async fn check<const TRANSACTS: bool, const EXPIRES: bool>(shared: &Arc<Shared>, context: &str) {
    let store = store::<TRANSACTS, EXPIRES>(shared, Plan::default());
    let (mut sessions, mut grouped, mut anonymous) = (Vec::new(), Vec::new(), 0);
    for number in NUMBERS {
        let found = store.load(&id(number)).await.unwrap();
        if let Some(Entry::Bucket(Bucket { group: Some(group), .. })) = &found {
            grouped.push((*group, id(number)));
        }
        match found {
            Some(Entry::Bucket(Bucket { subject: Some(subject), .. })) => sessions.push((subject, id(number))),
            Some(Entry::Bucket(_)) => anonymous += 1,
            _ => {}
        }
    }
    for subject in [FIRST, SECOND] {
        let listed = store.list(Tags::Subjects(&[subject]), Page::first(100)).await.unwrap();
        let listed: Vec<SessionId> = listed.into_iter().map(|listed| listed.unwrap().id).collect();
        let expected: Vec<SessionId> = sessions.iter().filter(|(of, _)| *of == subject).map(|(_, id)| *id).collect();
        assert_eq!(listed.len(), expected.len(), "{context}");
        assert!(listed == expected, "{context}: the index and the sessions disagree");
    }
    for group in [FIRST, SECOND].map(|subject| GroupTag::from_bytes(*subject.as_bytes())) {
        let listed = store.list(Tags::Groups(&[group]), Page::first(100)).await.unwrap();
        let listed: Vec<SessionId> = listed.into_iter().map(|listed| listed.unwrap().id).collect();
        let expected: Vec<SessionId> = grouped.iter().filter(|(of, _)| *of == group).map(|(_, id)| *id).collect();
        assert!(listed == expected, "{context}: the index of groups and the sessions disagree");
    }
    if EXPIRES {
        shared.check_deadlines(context);
    }
    assert_eq!(store.count().await.unwrap(), anonymous + sessions.len() as u64, "{context}");
    let removed = store.remove_all(Which::Tagged(Tags::Subjects(&[FIRST, SECOND])), None).await.unwrap();
    assert_eq!(removed, sessions.len() as u64, "{context}");
    assert_eq!(store.count().await.unwrap(), anonymous, "{context}: a session has survived its subject's ending");
    if !EXPIRES {
        while store.purge_expired(END, 3).await.unwrap() == 3 {}
        assert_eq!(shared.keys(), Vec::<String>::new(), "{context}: the purge of everything has left something");
    }
}

fn store<const TRANSACTS: bool, const EXPIRES: bool>(
    shared: &Arc<Shared>,
    plan: Plan,
) -> KvStore<Map<TRANSACTS, EXPIRES>> {
    KvStore::new(Map::new(Arc::clone(shared), plan), "test").unwrap()
}

/// Runs a case with a fault at each step of its call, until the call comes to its end before the fault; once for each way
/// to fail. Returns the number of faults.
async fn at_every_step(case: impl AsyncFn(Plan) -> bool) -> u64 {
    let mut faults = 0;
    for (is_made, stops) in [(false, false), (true, false), (false, true), (true, true)] {
        let mut fault = 0;
        while case(Plan { fault: Some(fault), is_made, stops, ..Plan::default() }).await {
            fault += 1;
        }
        faults += fault;
    }
    faults
}

#[test]
fn a_prefix_that_could_meet_another_store_s_keys_is_refused() {
    let long = "x".repeat(65);
    for prefix in ["", "a/s", "a b", "ä", "a\0", long.as_str()] {
        let outcome = KvStore::new(Map::<true, false>::new(Arc::default(), Plan::default()), prefix);
        assert!(matches!(outcome, Err(StoreError::Rejected(_))), "{prefix}");
    }
}

#[tokio::test]
async fn an_entry_that_cannot_be_read_is_listed_as_such_and_removed_as_any() {
    for spoilt in [&b""[..], b"short", &[7; 40]] {
        for ending in 0..6 {
            let shared = Arc::<Shared>::default();
            let store = store::<true, false>(&shared, Plan::default());
            for number in 1..=3 {
                store.insert(&bucket(number, Some(FIRST))).await.unwrap();
            }
            shared.spoil("/s/02", spoilt);
            assert!(matches!(store.load(&id(2)).await, Err(StoreError::Corrupt(_))));
            assert!(matches!(
                store.replace(&next(&bucket(2, None)), Revision::FIRST).await,
                Err(StoreError::Corrupt(_))
            ));
            assert!(matches!(store.insert(&bucket(2, None)).await, Err(StoreError::Duplicate)));
            assert_eq!(store.count().await.unwrap(), 3);
            let listed = store.list(Tags::Subjects(&[FIRST]), Page::first(2)).await.unwrap();
            assert!(matches!(&listed[..], [Ok(_), Err(unreadable)] if unreadable.id == id(2)));
            let rest = store.list(Tags::Subjects(&[FIRST]), Page::first(2).next(&listed).unwrap()).await.unwrap();
            assert!(matches!(&rest[..], [Ok(found)] if found.id == id(3)));
            match ending {
                0 => assert!(store.remove(&id(2), None).await.unwrap()),
                1 => assert!(store.remove(&id(2), Some(tombstone(2, None))).await.unwrap()),
                2 => assert_eq!(store.remove_all(Which::Tagged(Tags::Subjects(&[FIRST])), None).await.unwrap(), 3),
                3 => assert_eq!(store.remove_all(Which::Everything, Some(&id(1))).await.unwrap(), 2),
                4 => {
                    // Long after the last use of each, and before the deadline that none can outlive.
                    let idle = NOW.after(Millis::from_secs(30_000));
                    assert_eq!(store.purge_expired(idle, 10).await.unwrap(), 2);
                    assert!(store.load(&id(2)).await.is_err(), "it may be a session that a newer release has written");
                    continue;
                }
                _ => assert_eq!(store.purge_expired(END, 10).await.unwrap(), 3),
            }
            assert_eq!(store.load(&id(2)).await.unwrap().is_some(), ending == 1);
            while store.purge_expired(END, 10).await.unwrap() == 10 {}
            assert_eq!(shared.keys(), Vec::<String>::new(), "ending {ending}");
        }
    }
}

#[tokio::test]
async fn a_touch_writes_one_key_and_the_purge_goes_by_the_newest_deadline() {
    let shared = Arc::<Shared>::default();
    let store = store::<true, false>(&shared, Plan::default());
    let first = bucket(1, Some(FIRST));
    store.insert(&first).await.unwrap();
    let touched = seen_later(&first);
    let before = shared.keys();
    assert!(store.replace(&touched, first.revision).await.unwrap());
    assert_eq!(shared.keys(), before);
    assert_eq!(store.purge_expired(first.purge_at(), 10).await.unwrap(), 0);
    assert!(lives(&store, 1).await);
    assert_ne!(shared.keys(), before, "its place in the list of deadlines has moved");
    assert_eq!(store.purge_expired(touched.purge_at(), 10).await.unwrap(), 1);
    assert_eq!(shared.keys(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_removed_leaves_its_indexes_at_once() {
    for stone in [None, Some(tombstone(1, None))] {
        let places = |shared: &Shared| shared.keys().iter().filter(|key| key.contains("/i/")).count();
        let shared = Arc::<Shared>::default();
        let store = store::<true, false>(&shared, Plan::default());
        store.insert(&bucket(1, Some(FIRST))).await.unwrap();
        assert_eq!(places(&shared), 2, "its subject's and its group's");
        assert!(store.remove(&id(1), stone).await.unwrap());
        assert_eq!(places(&shared), 0);
        // Key by key, too.
        let shared = Arc::<Shared>::default();
        let store = self::store::<false, true>(&shared, Plan::default());
        store.insert(&bucket(1, Some(FIRST))).await.unwrap();
        assert!(store.remove(&id(1), stone).await.unwrap());
        assert_eq!(places(&shared), 0);
    }
}

#[tokio::test]
async fn an_ending_without_room_for_its_tombstone_is_a_removal() {
    async fn end<const TRANSACTS: bool>() {
        let shared = Arc::<Shared>::default();
        let before = store::<TRANSACTS, false>(&shared, Plan::default());
        for number in 1..=3 {
            before.insert(&bucket(number, Some(FIRST))).await.unwrap();
        }
        let full = store::<TRANSACTS, false>(&shared, Plan { is_full: true, ..Plan::default() });
        assert!(matches!(full.insert(&bucket(4, None)).await, Err(StoreError::Unavailable(_))));
        assert!(full.remove(&id(1), Some(tombstone(1, None))).await.unwrap());
        assert!(full.load(&id(1)).await.unwrap().is_none());
        assert!(!full.remove(&id(1), Some(tombstone(1, None))).await.unwrap());
        let stone = tombstone(2, Some(4));
        assert!(full.renew_into(&bucket(4, Some(FIRST)), &id(2), Revision::FIRST, stone).await.is_err());
        assert!(lives(&full, 2).await && !lives(&full, 4).await, "a renewal without room leaves the old session");
        assert_eq!(full.remove_all(Which::Tagged(Tags::Subjects(&[FIRST])), None).await.unwrap(), 2);
        check::<TRANSACTS, false>(&shared, "after an ending without room").await;
    }
    end::<true>().await;
    end::<false>().await;
}

#[tokio::test(start_paused = true)]
async fn the_ending_of_everything_comes_to_an_end_where_each_pass_takes_long() {
    let shared = Arc::<Shared>::default();
    let before = store::<true, false>(&shared, Plan::default());
    for number in 1..=3 {
        before.insert(&bucket(number, Some(FIRST))).await.unwrap();
    }
    let slow = store::<true, false>(&shared, Plan { takes: Duration::from_secs(30), ..Plan::default() });
    let kept = id(3);
    let ending = slow.remove_all(Which::Everything, Some(&kept));
    let ended = tokio::time::timeout(Duration::from_secs(3600), ending).await.expect("it goes on without end");
    assert_eq!(ended.unwrap(), 2);
    assert!(lives(&before, 3).await);
}

/// The contract of a store in this engine, in each of its forms.
mod contract {
    use super::*;

    async fn make<const TRANSACTS: bool>() -> KvStore<Map<TRANSACTS, false>> {
        store(&Arc::default(), Plan::default())
    }

    mod with_transactions {
        crate::conformance_tests!(super::make::<true>);
    }

    mod key_by_key {
        crate::conformance_tests!(super::make::<false>);
    }
}
