//! A `COMMIT` that SQLite refuses: the connection is in order afterwards, and the store goes on.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use secure_sessions_store::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use secure_sessions_store::{
    Bucket, Entry, Revision, SessionStore, SqlOptions, SqlStore, StoreError, Timestamp, Tombstone, Which,
};

use services::SmallDisk;

use crate::common::session;

mod common;

const NOW: u64 = 1_800_000_000_000;

fn bucket(id: u8) -> Bucket {
    session([id; 16], Timestamp::from_millis(NOW))
}

fn tombstone(id: u8) -> Tombstone {
    common::tombstone(&bucket(id), None)
}

/// A login: the anonymous session `old` becomes `new`.
async fn log_in(store: &SqlStore, old: u8, new: &Bucket) -> Result<bool, StoreError> {
    store.renew_into(new, &bucket(old).id, Revision::FIRST, tombstone(old)).await
}

async fn is_alive(store: &SqlStore, bucket: &Bucket) -> bool {
    matches!(store.load(&bucket.id).await.unwrap(), Some(Entry::Bucket(_)))
}

/// SQLite then rolls back by itself, as it does if a disk is full at the `COMMIT`.
#[tokio::test]
async fn after_a_refused_commit_the_same_connection_serves_the_next_login() {
    let refused = Arc::new(AtomicBool::new(false));
    let hook = Arc::clone(&refused);
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .min_connections(1)
        .after_connect(move |connection, _| {
            let refused = Arc::clone(&hook);
            Box::pin(async move {
                connection.lock_handle().await?.set_commit_hook(move || !refused.load(Ordering::SeqCst));
                Ok(())
            })
        })
        .connect_with(SqliteConnectOptions::new().in_memory(true))
        .await
        .unwrap();
    let store = SqlStore::from_pool(pool).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();

    refused.store(true, Ordering::SeqCst);
    log_in(&store, 1, &bucket(2)).await.unwrap_err();
    store.remove_all(Which::Everything, None).await.unwrap_err();
    assert!(is_alive(&store, &bucket(1)).await, "the refused login and the refused ending left it");

    refused.store(false, Ordering::SeqCst);
    assert!(log_in(&store, 1, &bucket(2)).await.unwrap());
    assert_eq!(store.remove_all(Which::Everything, None).await.unwrap(), 1);
}

#[tokio::test]
async fn a_disk_that_was_full_at_the_commit_takes_logins_again() {
    let Some(disk) = SmallDisk::mount(4) else { return };
    let url = format!("sqlite:{}", disk.path().join("sessions.db").display());
    let store = SqlOptions::new().max_connections(1).connect(&url).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    // The pages of this one wait in memory for the `COMMIT`, which writes them to the log.
    let big = Bucket { handoff: Some(vec![7; 60_000]), ..bucket(2) };
    for _ in 0..10 {
        let failure = disk.while_full(log_in(&store, 1, &big)).await.unwrap_err();
        assert!(matches!(failure, StoreError::Unavailable(_)), "{failure:?}");
    }
    assert!(log_in(&store, 1, &big).await.unwrap(), "there is room again");
    assert!(is_alive(&store, &big).await && !is_alive(&store, &bucket(1)).await);
    store.close().await;
}
