//! The contract in a file of redb, and that what was acknowledged survives a kill.
#![cfg(feature = "redb")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use secure_sessions_store::conformance::survives_reopening;
use secure_sessions_store::{Blob, BlobId, RedbStore, SessionStore, StoreError, Timestamp, VaultId, VaultStore};

use services::SmallDisk;

use crate::killed::BEFORE_KILL;

mod common;
mod killed;

/// Set in the process that is to be killed: the file's path.
const CHILD: &str = "SECURE_SESSIONS_TEST_KILLED_REDB";

mod contract {
    use super::*;

    /// A store in a file that nobody else has.
    async fn new() -> RedbStore {
        // The file has no name any more, and goes with the store.
        let file = tempfile::NamedTempFile::new_in(services::scratch()).unwrap();
        RedbStore::open(file.path()).await.unwrap()
    }

    secure_sessions_store::conformance_tests!(new);

    mod of_vaults {
        secure_sessions_store::vault_conformance_tests!(super::new);
    }
}

#[tokio::test]
async fn everything_is_there_when_the_file_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sessions.redb");
    // One process has a file open once, so each store is a clone of the one that is open.
    let open = std::sync::Mutex::new(std::sync::Weak::<RedbStore>::new());
    let reopen = || async {
        if let Some(store) = open.lock().unwrap().upgrade() {
            return store;
        }
        let store = std::sync::Arc::new(RedbStore::open(&path).await.unwrap());
        *open.lock().unwrap() = std::sync::Arc::downgrade(&store);
        store
    };
    survives_reopening(reopen).await.unwrap();
}

#[tokio::test]
async fn a_file_that_another_store_has_open_or_that_is_none_of_redbs_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sessions.redb");
    let store = RedbStore::open(&path).await.unwrap();
    assert!(matches!(RedbStore::open(&path).await, Err(StoreError::Unavailable(_))));
    drop(store);
    RedbStore::open(&path).await.unwrap();
    std::fs::write(&path, "something else, and long enough to be looked at as a header".repeat(100)).unwrap();
    assert!(RedbStore::open(&path).await.is_err());
    assert!(RedbStore::open(directory.path()).await.is_err());
}

#[tokio::test]
async fn a_killed_process_loses_no_acknowledged_write_to_redb() {
    if let Ok(path) = std::env::var(CHILD) {
        killed::write_until_killed(&RedbStore::open(&path).await.unwrap()).await;
        unreachable!("it writes until it is killed");
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sessions.redb");
    let mut checked = 0;
    for _ in 0..3 {
        let acknowledged = killed::acknowledged("a_killed_process_loses_no_acknowledged_write_to_redb", CHILD, &path);
        checked += killed::check(&RedbStore::open(&path).await.unwrap(), acknowledged).await;
    }
    assert!(checked >= 3 * BEFORE_KILL);
}

const VAULT: VaultId = VaultId::from_bytes([1; 16]);

async fn put(store: &RedbStore, number: u8, length: usize) -> Result<(), StoreError> {
    let blob = Blob { id: BlobId::from_bytes([number; 16]), bytes: vec![number; length] };
    store.put(&VAULT, &[blob], Timestamp::from_millis(u64::MAX)).await
}

async fn length(store: &RedbStore, number: u8) -> Result<Option<usize>, StoreError> {
    let found = store.get(&VAULT, &[BlobId::from_bytes([number; 16])]).await?;
    Ok(found[0].as_ref().map(Vec::len))
}

#[tokio::test]
async fn a_disk_that_was_full_takes_writes_again_without_a_restart() {
    let Some(disk) = SmallDisk::mount(16) else { return };
    let store = RedbStore::open(disk.path().join("sessions.redb")).await.unwrap();
    put(&store, 0, 100).await.unwrap();
    for round in 0..3 {
        let kept = disk
            .while_full(async {
                let mut kept = 0;
                // Until the room in the file is used up.
                let failure = loop {
                    kept += 1;
                    match put(&store, 100 * round + kept, 60_000).await {
                        Ok(()) => assert!(kept < 99, "it never filled up"),
                        Err(error) => break error,
                    }
                };
                assert!(matches!(failure, StoreError::Unavailable(_)), "{failure:?}");
                assert_eq!(length(&store, 0).await.unwrap(), Some(100), "reads go on");
                kept
            })
            .await;
        for number in 1..kept {
            assert_eq!(length(&store, 100 * round + number).await.unwrap(), Some(60_000), "acknowledged");
        }
        put(&store, 0, 100).await.unwrap();
        store.delete_all(&[VAULT]).await.unwrap();
        put(&store, 0, 100).await.unwrap();
    }
}

#[test]
fn writes_that_wait_keep_no_thread_from_a_read() {
    const WRITES: usize = 100;
    // One thread for all that waits for the disk.
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    runtime.block_on(async {
        let directory = tempfile::tempdir().unwrap();
        let store = RedbStore::open(directory.path().join("sessions.redb")).await.unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        let mut writers = tokio::task::JoinSet::new();
        for number in 0..WRITES {
            let (store, done) = (store.clone(), Arc::clone(&done));
            writers.spawn(async move {
                store.raise_not_before(Timestamp::from_millis(number as u64 + 1)).await.unwrap();
                done.fetch_add(1, Ordering::SeqCst);
            });
        }
        // All of them have read what is there, and are about to write.
        for _ in 0..3 {
            store.not_before().await.unwrap();
        }
        let before = done.load(Ordering::SeqCst);
        assert!(before < WRITES / 4, "{before} of {WRITES} writes came before the reads");
        while let Some(written) = writers.join_next().await {
            written.unwrap();
        }
    });
}
