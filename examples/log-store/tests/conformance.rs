//! The whole contract, from one line; and that what was acknowledged is still there in the next process.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use log_store::LogStore;
use secure_sessions_store::{
    Bucket, Entry, Fingerprint, Page, Revision, SessionId, SessionStore, StoreError, SubjectTag, Tags, Timestamp,
    Tombstone,
};

/// A store in a folder that nobody else has.
async fn new() -> LogStore {
    // The files have no name any more, and go with the store.
    let folder = tempfile::tempdir_in(services::scratch()).unwrap();
    LogStore::open(folder.path().join("sessions.log")).await.unwrap()
}

secure_sessions_store::conformance_tests!(new);

const AT: Timestamp = Timestamp::from_millis(1_800_000_000_000);

fn bucket(id: u8) -> Bucket {
    Bucket {
        id: SessionId::from_bytes([id; 16]),
        revision: Revision::FIRST,
        subject: Some(SubjectTag::from_bytes([7; 16])),
        group: None,
        label: None,
        created_at: AT,
        last_seen_at: AT,
        expires_at: AT,
        idle_timeout: None,
        rotated_at: AT,
        generation: 1,
        current: Fingerprint::from_bytes([3; 16]),
        retired: Vec::new(),
        evicted: None,
        vault: None,
        handoff: None,
    }
}

/// Returns the kind of entry under each of the ids: 0 nothing, 1 a session, 2 a tombstone.
async fn state(store: &LogStore) -> [u8; 3] {
    let mut state = [0; 3];
    for (id, state) in (1..).zip(&mut state) {
        *state = match store.load(&bucket(id).id).await.unwrap() {
            None => 0,
            Some(Entry::Bucket(_)) => 1,
            Some(Entry::Tombstone(_)) => 2,
        };
    }
    state
}

#[tokio::test]
async fn a_log_cut_off_anywhere_holds_each_write_whole_or_not_at_all() {
    let folder = tempfile::tempdir_in(services::scratch()).unwrap();
    let (path, cut) = (folder.path().join("sessions.log"), folder.path().join("cut.log"));
    let store = LogStore::open(&path).await.unwrap();
    let second = LogStore::open(&path).await;
    assert!(matches!(second, Err(StoreError::Unavailable(_))), "two processes must not write to one file");
    let mut states = vec![state(&store).await];
    let mut lengths = vec![0];
    for step in 0..3 {
        let tombstone = |id: u8| Tombstone { id: bucket(id).id, ended_at: AT, expires_at: AT, successor: None };
        match step {
            0 => store.insert(&bucket(1)).await.unwrap(),
            1 => assert!(store.renew_into(&bucket(2), &bucket(1).id, Revision::FIRST, tombstone(1)).await.unwrap()),
            _ => assert!(store.remove(&bucket(2).id, None).await.unwrap()),
        }
        states.push(state(&store).await);
        lengths.push(std::fs::read(&path).unwrap().len());
    }
    drop(store);
    let log = std::fs::read(&path).unwrap();
    for length in (0..=log.len()).rev() {
        std::fs::write(&cut, &log[..length]).unwrap();
        let store = LogStore::open(&cut).await.unwrap();
        let acknowledged = lengths.iter().rposition(|whole| *whole <= length).unwrap();
        let found = state(&store).await;
        assert_eq!(found, states[acknowledged], "after {length} bytes");
        let listed = store.list(Tags::Subjects(&[SubjectTag::from_bytes([7; 16])]), Page::first(9)).await.unwrap();
        assert_eq!(listed.len(), found.iter().filter(|state| **state == 1).count());
        // It goes on from there.
        store.insert(&bucket(3)).await.unwrap();
        drop(store);
        let again = LogStore::open(&cut).await.unwrap();
        assert_eq!(state(&again).await, [found[0], found[1], 1]);
    }
}
