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

#[tokio::test]
async fn an_unreadable_record_is_listed_as_such_and_removed_like_any_other() {
    use secure_sessions_store::{
        Bucket, Fingerprint, Page, Revision, SessionId, StoreError, SubjectTag, Timestamp, Tombstone, Which,
    };

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sessions.redb");
    let at = Timestamp::from_millis(1_800_000_000_000);
    let subject = SubjectTag::from_bytes([7; 16]);
    let bucket = |id: u8| Bucket {
        id: SessionId::from_bytes([id; 16]),
        revision: Revision::FIRST,
        subject: Some(subject),
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
    let id = bucket(2).id;
    for ending in 0..4 {
        let store = RedbStore::open(&path).unwrap();
        for id in 1..=3 {
            let _ = store.insert(&bucket(id)).await;
        }
        drop(store);
        let entries = redb::TableDefinition::<&[u8; 16], &[u8]>::new("entries");
        let database = redb::Database::open(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(entries).unwrap().insert(id.as_bytes(), &b"spoilt"[..]).unwrap();
        transaction.commit().unwrap();
        drop(database);

        let store = RedbStore::open(&path).unwrap();
        assert!(matches!(store.load(&id).await, Err(StoreError::Corrupt(_))));
        let listed = store.list(&[subject], Page::first(2)).await.unwrap();
        assert!(matches!(&listed[..], [Ok(_), Err(unreadable)] if unreadable.id == id));
        let rest = store.list(&[subject], Page::first(2).next(&listed).unwrap()).await.unwrap();
        assert!(matches!(&rest[..], [Ok(found)] if found.id == bucket(3).id));
        let stone = Tombstone { id, ended_at: at, expires_at: at, successor: None };
        match ending {
            0 => assert!(store.remove(&id, None).await.unwrap()),
            1 => assert_eq!(store.remove_all(Which::Subjects(&[subject]), None).await.unwrap(), 3),
            2 => assert_eq!(store.remove_all(Which::Everything, None).await.unwrap(), 3),
            _ => assert!(store.remove(&id, Some(stone)).await.unwrap()),
        }
        assert_eq!(store.load(&id).await.unwrap().is_some(), ending == 3);
        // Nothing is left of it in an index.
        assert_eq!(store.list(&[subject], Page::first(9)).await.unwrap().len(), [2, 0, 0, 2][ending]);
        let due = store.purge_expired(Timestamp::from_millis(u64::MAX), 10).await.unwrap();
        assert_eq!(due, [2, 0, 0, 3][ending]);
    }
}
