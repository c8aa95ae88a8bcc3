//! Files of databases: opened, created, missing, or none at all.

use std::time::Duration;

use secure_sessions_store::sqlx::{self, Row};
use secure_sessions_store::{SessionStore, SqlStore, StoreError, conformance};

use crate::{Directory, bucket, open, plain_pool};

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_reopening() {
    let directory = Directory::new();
    conformance::survives_reopening(|| async { open(&directory.url()).await }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_missing_file_may_be_created_by_many_at_once() {
    for _ in 0..5 {
        let directory = Directory::new();
        let stores: Vec<_> = (0..8)
            .map(|_| {
                let url = directory.url();
                tokio::spawn(async move { open(&url).await })
            })
            .collect();
        for store in stores {
            store.await.unwrap().count().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connecting_waits_for_a_writer_before_it_switches_the_file_to_wal() {
    let directory = Directory::new();
    let pool = plain_pool(&directory.file()).await;
    let writing = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let connecting = tokio::spawn({
        let url = directory.url();
        async move { open(&url).await }
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!connecting.is_finished(), "it did not wait");
    writing.rollback().await.unwrap();
    assert_eq!(connecting.await.unwrap().count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_database_is_in_wal_mode() {
    let directory = Directory::new();
    let store = open(&directory.url()).await;
    store.insert(&bucket(1)).await.unwrap();
    let pool = plain_pool(&directory.file()).await;
    let mode: String = sqlx::query("PRAGMA journal_mode").fetch_one(&pool).await.unwrap().get(0);
    assert_eq!(mode, "wal");
    assert!(directory.0.join("sessions.db-wal").exists());
}

#[tokio::test]
async fn an_unknown_url_is_refused() {
    for url in ["", "sessions.db", "oracle://localhost/x", "sqlite", "mysql"] {
        assert!(matches!(SqlStore::connect(url).await, Err(StoreError::Rejected(_))), "{url}");
    }
}

#[tokio::test]
async fn a_directory_that_is_missing_is_an_error_that_says_so() {
    let refused = SqlStore::connect("sqlite:/there/is/no/such/directory/sessions.db").await.unwrap_err();
    assert!(refused.is_transient());
    let said = format!("{refused:?}");
    assert!(said.contains("unable to open database file"), "{said}");
    assert!(said.contains("the file /there/is/no/such/directory/sessions.db"), "{said}");
    assert!(said.ends_with("; /there/is/no/such/directory is not a directory"), "{said}");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_an_error() {
    let directory = Directory::new();
    std::fs::write(directory.file(), "something else, and long enough to be looked at as a header".repeat(20)).unwrap();
    assert!(matches!(SqlStore::connect(&directory.url()).await, Err(StoreError::Rejected(_))));
}
