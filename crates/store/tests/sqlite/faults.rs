//! Writes that cannot be made for a while: for another writer, a full disk or a file that may not be written.

use std::time::Duration;

use secure_sessions_store::sqlx;
use secure_sessions_store::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use secure_sessions_store::{
    Bucket, Entry, Revision, SessionStore, SqlOptions, SqlStore, StoreError, Timestamp, Which,
};

use crate::{Directory, bucket, expect, plain_pool, tombstone};

#[tokio::test]
async fn a_writer_elsewhere_makes_a_write_wait_and_then_fail_and_nothing_is_lost() {
    let directory = Directory::new();
    let store = SqlOptions::new().timeout(Duration::from_secs(1)).connect(&directory.url()).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    let pool = plain_pool(&directory.file()).await;
    let mut elsewhere = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let changed = Bucket { revision: Revision::new(2), ..bucket(1) };
    let (successor, old) = (Bucket { id: bucket(2).id, ..changed.clone() }, bucket(1).id);
    let failures = [
        store.insert(&bucket(3)).await.unwrap_err(),
        store.replace(&changed, Revision::FIRST).await.unwrap_err(),
        store.renew_into(&successor, &old, Revision::FIRST, tombstone(1)).await.unwrap_err(),
        store.remove(&old, None).await.unwrap_err(),
        store.remove_all(Which::Everything, None).await.unwrap_err(),
        store.purge_expired(Timestamp::from_millis(u64::MAX), 10).await.unwrap_err(),
    ];
    for failure in failures {
        assert!(matches!(failure, StoreError::Unavailable(_)), "{failure:?}");
    }
    // Reading goes on.
    assert_eq!(store.count().await.unwrap(), 1);
    // The store sees the other one's write of the meantime: it refuses the swap, and loses nothing.
    sqlx::query("UPDATE secure_sessions SET revision = 7").execute(&mut *elsewhere).await.unwrap();
    elsewhere.commit().await.unwrap();
    assert!(!store.replace(&changed, Revision::FIRST).await.unwrap());
    assert!(store.replace(&Bucket { revision: Revision::new(8), ..bucket(1) }, Revision::new(7)).await.unwrap());
}

/// A pool of one connection, whose settings can be changed under the store.
async fn one_connection(directory: &Directory) -> sqlx::SqlitePool {
    let options = SqliteConnectOptions::new()
        .filename(directory.file())
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal)
        .synchronous(sqlx::sqlite::SqliteSynchronous::Full);
    SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap()
}

#[tokio::test]
async fn a_full_disk_loses_no_acknowledged_write_and_the_store_then_recovers() {
    let directory = Directory::new();
    let pool = one_connection(&directory).await;
    let store = SqlStore::from_pool(pool.clone()).await.unwrap();
    sqlx::query("PRAGMA max_page_count = 60").execute(&pool).await.unwrap();
    let mut kept = 0_u8;
    let big = |id| Bucket { handoff: Some(vec![id; 8000]), ..bucket(id) };
    let failure = loop {
        match store.insert(&big(kept)).await {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(failure, StoreError::Unavailable(_)), "{failure:?}");
    let successor = big(201);
    let renewal = store.renew_into(&successor, &big(0).id, Revision::FIRST, tombstone(0)).await;
    assert!(matches!(renewal, Ok(true) | Err(StoreError::Unavailable(_))), "{renewal:?}");
    // Logging out needs no room.
    assert!(store.remove(&big(1).id, None).await.unwrap());
    sqlx::query("PRAGMA max_page_count = 100000").execute(&pool).await.unwrap();
    store.insert(&big(200)).await.unwrap();
    assert!(store.load(&big(1).id).await.unwrap().is_none());
    for id in 2..kept {
        expect(&store, &big(id)).await;
    }
    let (old, new) = (store.load(&big(0).id).await.unwrap(), store.load(&successor.id).await.unwrap());
    match renewal {
        Ok(_) => assert!(matches!((old, new), (Some(Entry::Tombstone(_)), Some(Entry::Bucket(_))))),
        Err(_) => {
            assert!(matches!((old, new), (Some(Entry::Bucket(_)), None)));
            // On the connection on which it failed.
            assert!(store.renew_into(&successor, &big(0).id, Revision::FIRST, tombstone(0)).await.unwrap());
        }
    }
}

#[tokio::test]
async fn a_read_only_file_is_read_and_refuses_writes_until_it_is_back() {
    let directory = Directory::new();
    let pool = one_connection(&directory).await;
    let store = SqlStore::from_pool(pool.clone()).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    sqlx::query("PRAGMA query_only = ON").execute(&pool).await.unwrap();
    let changed = Bucket { revision: Revision::new(2), ..bucket(1) };
    let failures = [
        store.insert(&bucket(2)).await.unwrap_err(),
        store.replace(&changed, Revision::FIRST).await.unwrap_err(),
        store.renew_into(&bucket(3), &bucket(1).id, Revision::FIRST, tombstone(1)).await.unwrap_err(),
        store.remove(&bucket(1).id, None).await.unwrap_err(),
    ];
    for failure in failures {
        assert!(matches!(failure, StoreError::Rejected(_)), "{failure:?}");
    }
    expect(&store, &bucket(1)).await;
    sqlx::query("PRAGMA query_only = OFF").execute(&pool).await.unwrap();
    assert!(store.replace(&changed, Revision::FIRST).await.unwrap());
}

#[tokio::test]
async fn a_timeout_without_end_is_no_panic() {
    let directory = Directory::new();
    let store = SqlOptions::new().timeout(Duration::MAX).connect(&directory.url()).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 1);
}
