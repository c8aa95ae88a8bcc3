//! The whole contract, from one line; and that what was acknowledged is still there in the next process.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use redb_store::RedbStore;
use secure_sessions_store::SessionStore;

/// A store in a file that nobody else has.
async fn new() -> RedbStore {
    // The file has no name any more, and goes with the store.
    RedbStore::open(tempfile::NamedTempFile::new().unwrap().path()).unwrap()
}

secure_sessions_store::conformance_tests!(new);

#[tokio::test]
async fn what_was_acknowledged_is_there_when_the_file_is_opened_again() {
    use secure_sessions_store::{Bucket, Entry, Fingerprint, Revision, SessionId, Timestamp};

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sessions.redb");
    let at = Timestamp::from_millis(1_800_000_000_000);
    let kept = Bucket {
        id: SessionId::from_bytes([1; 16]),
        revision: Revision::FIRST,
        subject: None,
        label: None,
        created_at: at,
        last_seen_at: at,
        expires_at: at,
        idle_timeout: None,
        rotated_at: at,
        generation: 1,
        current: Fingerprint::from_bytes([3; 16]),
        retired: Vec::new(),
        evicted: None,
        handoff: None,
    };
    let store = RedbStore::open(&path).unwrap();
    store.insert(&kept).await.unwrap();
    assert!(RedbStore::open(&path).is_err(), "two processes, or two of one, must not write to one file");
    drop(store);
    let again = RedbStore::open(&path).unwrap();
    assert!(matches!(again.load(&kept.id).await.unwrap(), Some(Entry::Bucket(_))));
}

#[test]
fn a_file_that_is_none_of_redbs_is_an_error() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "something else, and long enough to be looked at as a header".repeat(100)).unwrap();
    assert!(RedbStore::open(file.path()).is_err());
}
