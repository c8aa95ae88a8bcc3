//! Writes whose answer is lost with the connection: the store sends them again, and what it reports is what happened.

use secure_sessions_store::{Entry, RedisStore, Revision, SessionStore, Tags, Which};
use services::{Service, or_skip};

use super::common::{SUBJECT, next};
use super::support::{bucket, has_ended, is_alive, open, tombstone};
use super::way::Way;

/// A server, the way to it, and a store at the end of the way.
async fn store() -> Option<(Service, Way, RedisStore)> {
    let redis = or_skip(Service::redis())?;
    let way = Way::to(&redis);
    let store = open(&way.url()).await;
    // The server knows the scripts from here on: the first answer to each would be that it does not.
    let (first, second) = (bucket(1), bucket(2));
    store.insert(&first).await.unwrap();
    assert!(store.replace(&next(&first), Revision::FIRST).await.unwrap());
    assert!(is_alive(&store, &first).await);
    assert!(store.replace(&next(&next(&first)), Revision::new(2)).await.unwrap());
    assert!(store.renew_into(&second, &first.id, Revision::new(3), tombstone(&first)).await.unwrap());
    assert!(store.remove(&second.id, None).await.unwrap());
    for which in [Which::Tagged(Tags::Subjects(&[SUBJECT])), Which::Everything] {
        store.remove_all(which, None).await.unwrap();
    }
    redis.redis_call(&["FLUSHALL"]).unwrap();
    Some((redis, way, store))
}

#[tokio::test]
async fn writes_whose_answer_was_lost_are_reported_as_done() {
    let Some((_redis, way, store)) = store().await else { return };
    let (first, second) = (bucket(1), bucket(2));
    way.lose_an_answer();
    store.insert(&first).await.unwrap();
    way.lose_an_answer();
    assert!(store.replace(&next(&first), Revision::FIRST).await.unwrap());
    way.lose_an_answer();
    assert!(store.renew_into(&second, &first.id, Revision::new(2), tombstone(&first)).await.unwrap());
    way.lose_an_answer();
    assert!(store.remove(&second.id, Some(tombstone(&second))).await.unwrap(), "the tombstone tells whose it is");
    assert!(has_ended(&store, &second).await);
}

/// A value that was read before is compared by another command than one that was not.
#[tokio::test]
async fn a_swap_of_what_was_read_whose_answer_was_lost_is_reported_as_done() {
    let Some((_redis, way, store)) = store().await else { return };
    let first = bucket(1);
    store.insert(&first).await.unwrap();
    assert!(is_alive(&store, &first).await);
    way.lose_an_answer();
    assert!(store.replace(&next(&first), Revision::FIRST).await.unwrap());
    assert!(way.has_lost_it());
    let Some(Entry::Bucket(swapped)) = store.load(&first.id).await.unwrap() else { panic!("it is gone") };
    assert_eq!(swapped.revision, Revision::new(2));
}

/// A removal without a tombstone leaves nothing behind by which the second call could tell.
#[tokio::test]
async fn a_removal_whose_answer_was_lost_never_says_there_was_nothing() {
    let Some((_redis, way, store)) = store().await else { return };
    store.insert(&bucket(1)).await.unwrap();
    way.lose_an_answer();
    let error = store.remove(&bucket(1).id, None).await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");
    assert!(format!("{error:?}").contains("repeat the call"), "{error:?}");
    assert!(store.load(&bucket(1).id).await.unwrap().is_none(), "it has ended all the same");
    assert!(!store.remove(&bucket(1).id, None).await.unwrap());
}

#[tokio::test]
async fn all_sessions_end_although_an_answer_was_lost() {
    let Some((_redis, way, store)) = store().await else { return };
    for which in [Which::Tagged(Tags::Subjects(&[SUBJECT])), Which::Everything] {
        for id in 1..=200 {
            store.insert(&bucket(id)).await.unwrap();
        }
        way.lose_an_answer();
        let counted = store.remove_all(which, None).await.unwrap();
        assert!(counted < 200, "those of the first step are not counted: {counted}");
        assert_eq!(store.count().await.unwrap(), 0);
    }
}
