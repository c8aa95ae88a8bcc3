//! Pools of connections, and their runtimes.

use std::time::Duration;

use secure_sessions_store::sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};
use secure_sessions_store::{Bucket, Entry, Revision, SessionStore, SqlOptions, SqlStore, StoreError, Which, sqlx};

use crate::{Directory, bucket, open, plain_pool, tombstone};

#[tokio::test]
async fn an_applications_pool_serves_and_keeps_its_own_tables() {
    let directory = Directory::new();
    let pool = plain_pool(&directory.file()).await;
    sqlx::query("CREATE TABLE users (name TEXT)").execute(&pool).await.unwrap();
    let store = SqlStore::from_pool(pool.clone()).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    assert!(matches!(store.load(&bucket(1).id).await.unwrap(), Some(Entry::Bucket(_))));
    sqlx::query("INSERT INTO users VALUES ('alice')").execute(&pool).await.unwrap();
}

#[tokio::test]
async fn an_applications_pool_has_its_connection_back_after_each_call() {
    let directory = Directory::new();
    let options = SqliteConnectOptions::new().filename(directory.file()).create_if_missing(true);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let store = SqlStore::from_pool(pool.clone()).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 1);
    pool.acquire().await.unwrap();
}

#[tokio::test]
async fn with_one_connection_calls_and_transactions_take_turns() {
    let directory = Directory::new();
    let store = SqlOptions::new().max_connections(1).connect(&directory.url()).await.unwrap();
    for id in 1..20 {
        store.insert(&bucket(id)).await.unwrap();
        assert!(store.renew_into(&bucket(id + 100), &bucket(id).id, Revision::FIRST, tombstone(id)).await.unwrap());
        assert!(store.load(&bucket(id + 100).id).await.unwrap().is_some());
    }
    assert_eq!(store.remove_all(Which::Everything, None).await.unwrap(), 19);
    store.close().await;
}

#[test]
fn a_store_may_outlive_its_runtime() {
    let directory = Directory::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let store = runtime.block_on(async {
        let store = open(&directory.url()).await;
        store.insert(&bucket(1)).await.unwrap();
        store
    });
    drop(runtime);
    drop(store);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_swaps_through_two_pools_one_wins() {
    let directory = Directory::new();
    let stores = [open(&directory.url()).await, open(&directory.url()).await];
    stores[0].insert(&bucket(1)).await.unwrap();
    for round in 1..=10 {
        let tasks: Vec<_> = (0..20)
            .map(|contender: usize| {
                let store = stores[contender % 2].clone();
                let changed = Bucket { revision: Revision::new(round + 1), ..bucket(1) };
                tokio::spawn(async move { store.replace(&changed, Revision::new(round)).await.unwrap() })
            })
            .collect();
        let mut wins = 0;
        for task in tasks {
            wins += u32::from(task.await.unwrap());
        }
        assert_eq!(wins, 1);
    }
}

#[tokio::test]
async fn a_closed_store_is_unavailable() {
    let store = open("sqlite::memory:").await;
    let clone = store.clone();
    store.close().await;
    assert!(matches!(clone.load(&bucket(1).id).await, Err(StoreError::Unavailable(_))));
}

#[tokio::test]
async fn a_dropped_call_leaves_no_lock_behind() {
    let directory = Directory::new();
    let store = SqlOptions::new().timeout(Duration::from_secs(30)).connect(&directory.url()).await.unwrap();
    store.insert(&bucket(1)).await.unwrap();
    for polls in 0..60_u32 {
        let successor = Bucket { id: bucket(2).id, ..bucket(1) };
        let (id, stone) = (bucket(1).id, tombstone(1));
        {
            let mut call = std::pin::pin!(store.renew_into(&successor, &id, Revision::FIRST, stone));
            for _ in 0..polls {
                if tokio::time::timeout(Duration::from_micros(50), &mut call).await.is_ok() {
                    break;
                }
            }
        }
        // This one waits for whatever the dropped call still has to undo.
        store.insert(&bucket(3)).await.unwrap();
        store.remove(&bucket(3).id, None).await.unwrap();
        // Whole or not at all.
        let old = store.load(&id).await.unwrap();
        let new = store.load(&bucket(2).id).await.unwrap();
        match (old, new) {
            (Some(Entry::Bucket(_)), None) => {}
            (Some(Entry::Tombstone(_)), Some(Entry::Bucket(_))) => return,
            (old, new) => panic!("half a renewal: {old:?} {new:?}"),
        }
    }
    assert!(
        store
            .renew_into(&Bucket { id: bucket(2).id, ..bucket(1) }, &bucket(1).id, Revision::FIRST, tombstone(1))
            .await
            .unwrap()
    );
}
