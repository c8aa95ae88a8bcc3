//! Purges, and the dates that they go by.

use secure_sessions_store::sqlx;
use secure_sessions_store::{Bucket, Millis, Revision, SessionId, SessionStore, Timestamp};

use crate::{Directory, bucket, open, plain_pool};

#[tokio::test]
async fn a_large_purge_goes_in_batches_and_counts_all() {
    let store = open("sqlite::memory:").await;
    for number in 0..2100_u32 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        store.insert(&Bucket { id: SessionId::from_bytes(id), ..bucket(1) }).await.unwrap();
    }
    let later = bucket(1).purge_at();
    assert_eq!(store.purge_expired(later, 2050).await.unwrap(), 2050);
    assert_eq!(store.purge_expired(later, 2050).await.unwrap(), 50);
}

#[tokio::test]
async fn a_touch_leaves_the_purges_date_and_the_purge_follows_it() {
    let directory = Directory::new();
    let store = open(&directory.url()).await;
    let pool = plain_pool(&directory.file()).await;
    let purge_at = async || {
        let date: i64 = sqlx::query_scalar("SELECT purge_at FROM secure_sessions").fetch_one(&pool).await.unwrap();
        Timestamp::from_millis(date.cast_unsigned())
    };
    let (first, second) = (Revision::FIRST, Revision::new(2));
    store.insert(&bucket(1)).await.unwrap();
    let seen = bucket(1).last_seen_at.after(Millis::from_secs(1000));
    let later = Bucket { revision: second, last_seen_at: seen, ..bucket(1) };
    assert!(store.replace(&later, first).await.unwrap());
    assert_eq!(purge_at().await, bucket(1).purge_at(), "it is left as it was");

    assert_eq!(store.purge_expired(bucket(1).purge_at(), 10).await.unwrap(), 0, "it is not due any more");
    assert_eq!(purge_at().await, later.purge_at(), "the purge moved it");

    let shorter = Bucket { revision: Revision::new(3), idle_timeout: Some(Millis::from_secs(60)), ..later };
    assert!(store.replace(&shorter, second).await.unwrap());
    assert_eq!(store.purge_expired(shorter.purge_at(), 10).await.unwrap(), 1, "an earlier deadline counts at once");
}

/// Otherwise each call of a large purge would look through all that is due in search of what is not.
#[tokio::test]
async fn a_purge_moves_the_dates_of_the_living_once_nothing_due_is_left() {
    let directory = Directory::new();
    let store = open(&directory.url()).await;
    let pool = plain_pool(&directory.file()).await;
    let living = Bucket { last_seen_at: bucket(1).last_seen_at.after(Millis::from_secs(1000)), ..bucket(1) };
    store.insert(&bucket(1)).await.unwrap();
    assert!(store.replace(&Bucket { revision: Revision::new(2), ..living.clone() }, Revision::FIRST).await.unwrap());
    for id in 2..=5 {
        store.insert(&bucket(id)).await.unwrap();
    }
    let living_at = async || {
        let read = "SELECT purge_at FROM secure_sessions WHERE revision = 2";
        sqlx::query_scalar::<_, i64>(read).fetch_one(&pool).await.unwrap().cast_unsigned()
    };
    let now = bucket(1).purge_at();
    assert_eq!(store.purge_expired(now, 3).await.unwrap(), 3);
    assert_eq!(living_at().await, now.as_millis());
    assert_eq!(store.purge_expired(now, 3).await.unwrap(), 1);
    assert_eq!(living_at().await, living.purge_at().as_millis());
}

/// Several statements of a small batch each, so that others get their turn between two.
#[tokio::test]
async fn writes_go_on_between_the_batches_of_a_purge() {
    let directory = Directory::new();
    let store = open(&directory.url()).await;
    for number in 0..1000_u32 {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        store.insert(&Bucket { id: SessionId::from_bytes(id), ..bucket(1) }).await.unwrap();
    }
    let purging = tokio::spawn({
        let store = store.clone();
        async move { store.purge_expired(bucket(1).purge_at(), 1000).await }
    });
    let alive = Bucket { expires_at: Timestamp::from_millis(u64::MAX / 2), idle_timeout: None, ..bucket(200) };
    store.insert(&alive).await.unwrap();
    let (mut writes_with_some_gone, mut revision) = (0, 1);
    while !purging.is_finished() {
        let next = Bucket { revision: Revision::new(revision + 1), ..alive.clone() };
        assert!(store.replace(&next, Revision::new(revision)).await.unwrap());
        revision += 1;
        let left = store.count().await.unwrap() - 1;
        writes_with_some_gone += u32::from(left > 0 && left < 1000);
    }
    assert_eq!(purging.await.unwrap().unwrap(), 1000);
    assert!(writes_with_some_gone >= 3, "{writes_with_some_gone} writes while it was at work");
}
