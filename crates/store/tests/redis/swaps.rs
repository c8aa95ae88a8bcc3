//! The commands of a swap: one that compares, where the server has it, else a script.

use secure_sessions_store::{Bucket, Entry, RedisStore, Revision, SessionStore, StoreError};
use services::{Service, or_skip};

use super::common::next;
use super::support::{bucket, calls, hex, is_alive, open, patient};

/// Reads and swaps a session, and returns how often the server ran a script meanwhile.
async fn scripts_of_a_swap(store: &RedisStore, redis: &Service, handoff: usize) -> u64 {
    let first = Bucket { handoff: Some(vec![7; handoff]), ..bucket(1) };
    store.insert(&first).await.unwrap();
    let Some(Entry::Bucket(read)) = store.load(&first.id).await.unwrap() else { panic!("it is gone") };
    let before = calls(redis, "evalsha") + calls(redis, "eval");
    assert!(store.replace(&next(&read), read.revision).await.unwrap());
    let scripts = calls(redis, "evalsha") + calls(redis, "eval") - before;
    let Some(Entry::Bucket(swapped)) = store.load(&first.id).await.unwrap() else { panic!("it is gone") };
    assert_eq!(swapped.revision, Revision::new(2));
    assert!(store.remove(&first.id, None).await.unwrap());
    scripts
}

#[tokio::test]
async fn a_server_whose_set_compares_runs_no_script_for_a_swap() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let store = open(redis.url()).await;
    let compares = redis.redis_call(&["SET", "none", "", "IFEQ", "-"]).is_ok();
    println!("SET compares: {compares}");
    // The first script of a kind is sent twice, by its hash and as a text.
    scripts_of_a_swap(&store, &redis, 100).await;
    assert_eq!(scripts_of_a_swap(&store, &redis, 100).await, u64::from(!compares));
    scripts_of_a_swap(&store, &redis, 20_000).await;
    assert_eq!(scripts_of_a_swap(&store, &redis, 20_000).await, 1, "a long value is not sent back to be compared");
}

/// A store that has read a session, whose server has something else under its key since then.
async fn overtaken(redis: &Service, change: &[&str]) -> (RedisStore, Bucket) {
    let store = patient().prefix("p").connect(redis.url()).await.unwrap();
    let (first, key) = (bucket(1), format!("p:{{{}}}", hex(1)));
    store.insert(&first).await.unwrap();
    assert!(is_alive(&store, &first).await);
    redis.redis_call(&["DEL", &key]).unwrap();
    if let [command, values @ ..] = change {
        redis.redis_call(&[&[*command, &key], values].concat()).unwrap();
    }
    (store, first)
}

#[tokio::test]
async fn a_swap_of_what_was_read_and_has_gone_since_brings_nothing_back() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let (store, gone) = overtaken(&redis, &[]).await;
    assert!(!store.replace(&next(&gone), Revision::FIRST).await.unwrap());
    assert!(store.load(&gone.id).await.unwrap().is_none());
}

#[tokio::test]
async fn a_swap_of_what_was_read_and_is_no_string_any_more_is_corrupt() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let (store, changed) = overtaken(&redis, &["RPUSH", "other"]).await;
    let failure = store.replace(&next(&changed), Revision::FIRST).await.unwrap_err();
    assert!(matches!(failure, StoreError::Corrupt(_)), "{failure:?}");
    assert_eq!(redis.redis_call(&["TYPE", &format!("p:{{{}}}", hex(1))]).unwrap(), "list");
}
