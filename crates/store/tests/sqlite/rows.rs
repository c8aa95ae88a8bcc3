//! Rows: what a swap changes, and what a store makes of a spoilt one.

use secure_sessions_store::sqlx;
use secure_sessions_store::{
    Bucket, Entry, Page, Revision, SessionStore, StoreError, SubjectTag, Tags, Timestamp, Which,
};

use crate::{Directory, bucket, open, plain_pool, tombstone};

#[tokio::test]
async fn a_swap_that_also_changes_the_subject_is_one() {
    let directory = Directory::new();
    let store = open(&directory.url()).await;
    store.insert(&bucket(1)).await.unwrap();
    for (revision, subject) in [(2, Some([9; 16])), (3, None), (4, Some([8; 16]))] {
        let subject = subject.map(SubjectTag::from_bytes);
        let next = Bucket { revision: Revision::new(revision), subject, ..bucket(1) };
        assert!(store.replace(&next, Revision::new(revision - 1)).await.unwrap());
        assert!(!store.replace(&next, Revision::new(revision - 1)).await.unwrap());
        let Some(Entry::Bucket(found)) = store.load(&next.id).await.unwrap() else { panic!("it is gone") };
        assert_eq!((found.revision, found.subject), (next.revision, next.subject));
    }
}

#[tokio::test]
async fn a_row_that_someone_has_spoilt_is_an_error_and_not_a_missing_session() {
    let directory = Directory::new();
    let store = open(&directory.url()).await;
    let pool = plain_pool(&directory.file()).await;
    for (column, value) in [
        ("subject", "x'00'"),
        ("generation", "4294967296"),
        ("generation", "-1"),
        ("retired", "x'0001'"),
        ("retired", "x'ffff'"),
    ] {
        store.remove(&bucket(1).id, None).await.unwrap();
        store.insert(&bucket(1)).await.unwrap();
        let statement = format!("UPDATE secure_sessions SET {column} = {value}");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&pool).await.unwrap();
        let failure = store.load(&bucket(1).id).await.unwrap_err();
        assert!(matches!(failure, StoreError::Corrupt(_)), "{column} = {value}: {failure:?}");
    }
}

#[tokio::test]
async fn an_unreadable_row_is_listed_as_such_and_removed_like_any_other() {
    let directory = Directory::new();
    let store = open(&directory.url()).await;
    let pool = plain_pool(&directory.file()).await;
    let subject = bucket(1).subject.unwrap();
    let spoil = || async {
        for id in 1..=3 {
            let _ = store.insert(&bucket(id)).await;
        }
        let statement = "UPDATE secure_sessions SET retired = x'ffff' WHERE id = ?";
        sqlx::query(statement).bind(&bucket(2).id.as_bytes()[..]).execute(&pool).await.unwrap();
        let mut listed = Vec::new();
        let mut next = Some(Page::first(1));
        while let Some(page) = next {
            let found = store.list(Tags::Subjects(&[subject]), page).await.unwrap();
            next = page.next(&found);
            listed.extend(found.into_iter().map(|listed| match listed {
                Ok(bucket) => (bucket.id, true),
                Err(unreadable) => (unreadable.id, !matches!(unreadable.error, StoreError::Corrupt(_))),
            }));
        }
        assert_eq!(listed, [(bucket(1).id, true), (bucket(2).id, false), (bucket(3).id, true)]);
    };
    for stone in [None, Some(tombstone(2))] {
        spoil().await;
        assert!(store.remove(&bucket(2).id, stone).await.unwrap());
        assert_eq!(store.load(&bucket(2).id).await.unwrap().is_some(), stone.is_some());
        assert_eq!(store.list(Tags::Subjects(&[subject]), Page::first(9)).await.unwrap().len(), 2);
    }
    store.purge_expired(Timestamp::from_millis(u64::MAX), 10).await.unwrap();
    for which in [Which::Tagged(Tags::Subjects(&[subject])), Which::Everything] {
        spoil().await;
        assert_eq!(store.remove_all(which, Some(&bucket(3).id)).await.unwrap(), 2);
        assert!(store.load(&bucket(2).id).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn numbers_beyond_an_i64_are_kept_and_their_deadline_is_the_last_instant() {
    let store = open("sqlite::memory:").await;
    let last = Timestamp::from_millis(u64::MAX);
    let eternal = Bucket { expires_at: last, idle_timeout: None, ..bucket(1) };
    store.insert(&eternal).await.unwrap();
    assert_eq!(store.purge_expired(Timestamp::from_millis(i64::MAX.unsigned_abs() - 1), 10).await.unwrap(), 0);
    let Some(Entry::Bucket(loaded)) = store.load(&eternal.id).await.unwrap() else { panic!("it was just inserted") };
    assert_eq!(loaded.expires_at, last);
    assert_eq!(store.purge_expired(last, 10).await.unwrap(), 1);
}
