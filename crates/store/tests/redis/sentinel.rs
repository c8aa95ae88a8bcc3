//! Redis behind sentinels: the store finds the primary by its name, and follows when another server becomes it.

use std::time::{Duration, Instant};

use secure_sessions_store::redis::sentinel::{SentinelClient, SentinelServerType};
use secure_sessions_store::{Bucket, Entry, RedisOptions, RedisStore, SessionStore, StoreError};
use services::{Engine, Service, Setup, or_skip};

use super::support::{bucket, end, open, pair, patient, tombstone, until};

/// A sentinel to which a busy machine is no reason to replace a server.
fn patient_sentinel(primary: &Service) -> Service {
    let sentinel = Service::redis_sentinel("shop", primary.port()).unwrap();
    replaces_after(&sentinel, "60000");
    sentinel
}

/// Has a sentinel replace a primary that is silent for so many milliseconds.
fn replaces_after(sentinel: &Service, milliseconds: &str) {
    sentinel.redis_call(&["SENTINEL", "SET", "shop", "down-after-milliseconds", milliseconds]).unwrap();
}

fn url(sentinels: &[&Service], name: &str) -> String {
    let hosts: Vec<String> = sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port())).collect();
    format!("redis+sentinel://{}/{name}", hosts.join(","))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_follows_the_sentinels_to_the_new_primary_without_a_restart() {
    let Some((primary, replica)) = pair() else { return };
    let sentinel = patient_sentinel(&primary);
    until("the replica", || !sentinel.redis_call(&["SENTINEL", "REPLICAS", "shop"]).unwrap().is_empty());
    // One of the sentinels is down, and the first one in the list. The other one has never heard of it: it would need its
    // vote.
    let down = Setup::new(Engine::Sentinel).start().unwrap();
    down.kill().unwrap();
    let options = RedisOptions::new().require_replica();
    let store = options.connect(&url(&[&down, &sentinel], "shop")).await.unwrap();
    let buckets: Vec<Bucket> = (1..=40).map(bucket).collect();
    for bucket in &buckets {
        store.insert(bucket).await.unwrap();
    }
    for bucket in &buckets[..20] {
        end(&store, bucket).await;
    }
    primary.kill().unwrap();
    replaces_after(&sentinel, "1000");
    let start = Instant::now();
    let mut errors = 0;
    while let Err(error) = store.insert(&bucket(200)).await {
        errors += 1;
        if matches!(error, StoreError::Duplicate) {
            // It had been carried out, and its answer was lost.
            break;
        }
        assert!(error.is_transient() && start.elapsed() < Duration::from_secs(60), "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("writes again after {:?} and {errors} errors", start.elapsed());
    assert!(replica.redis_call(&["ROLE"]).unwrap().starts_with("master"));
    for bucket in &buckets[..20] {
        assert!(matches!(store.load(&bucket.id).await.unwrap(), Some(Entry::Tombstone(_))), "a logout was undone");
    }
}

/// Its kernel goes on acknowledging what the store sends, so the connection never breaks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_hangs_keeps_no_logout_waiting_after_a_failover() {
    let Some((primary, replica)) = pair() else { return };
    let sentinel = patient_sentinel(&primary);
    until("the replica", || !sentinel.redis_call(&["SENTINEL", "REPLICAS", "shop"]).unwrap().is_empty());
    let store = RedisStore::connect(&url(&[&sentinel], "shop")).await.unwrap();
    let buckets: Vec<Bucket> = (1..=3).map(bucket).collect();
    for bucket in &buckets {
        store.insert(bucket).await.unwrap();
    }
    // Both connections lead to the primary from here on, and the replica has all that it has.
    end(&store, &buckets[0]).await;
    primary.redis_call(&["SET", "caught-up", "1"]).unwrap();
    until("the primary's writes", || replica.redis_call(&["GET", "caught-up"]).unwrap() == "1");
    primary.pause().unwrap();
    replaces_after(&sentinel, "1000");
    let start = Instant::now();
    let hanging = store.remove(&buckets[1].id, Some(tombstone(&buckets[1]))).await.unwrap_err();
    assert!(hanging.is_transient(), "{hanging:?}");
    until("the new primary", || replica.redis_call(&["ROLE"]).unwrap().starts_with("master"));
    println!("a new primary after {:?}", start.elapsed());
    let start = Instant::now();
    // Nothing but logouts: each has to find the new primary by itself.
    for bucket in &buckets[1..] {
        while let Err(error) = store.remove(&bucket.id, Some(tombstone(bucket))).await {
            assert!(error.is_transient(), "{error:?}");
            assert!(start.elapsed() < Duration::from_secs(60), "no logout works: {error:?}");
        }
    }
    println!("logouts work again after {:?}", start.elapsed());
    for bucket in &buckets {
        assert!(matches!(store.load(&bucket.id).await.unwrap(), Some(Entry::Tombstone(_))));
    }
    primary.resume().unwrap();
}

/// A primary that is cut off from its sentinels does not learn that it was replaced.
#[tokio::test]
async fn a_primary_that_the_sentinels_replaced_is_left_although_it_answers() {
    let Some(old) = or_skip(Service::redis()) else { return };
    let new = Service::redis().unwrap();
    let sentinel = patient_sentinel(&old);
    let store = open(&url(&[&sentinel], "shop")).await;
    store.insert(&bucket(1)).await.unwrap();
    sentinel.redis_call(&["SENTINEL", "REMOVE", "shop"]).unwrap();
    sentinel.redis_call(&["SENTINEL", "MONITOR", "shop", "127.0.0.1", &new.port().to_string(), "1"]).unwrap();
    let start = Instant::now();
    while store.load(&bucket(1).id).await.unwrap().is_some() {
        assert!(start.elapsed() < Duration::from_secs(60), "it still reads from the old one");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    store.insert(&bucket(2)).await.unwrap();
    assert_eq!(open(new.url()).await.count().await.unwrap(), 1);
}

#[tokio::test]
async fn a_name_that_the_sentinels_do_not_know_is_an_error_that_says_so() {
    let Some(primary) = or_skip(Service::redis()) else { return };
    primary.redis_call(&["ACL", "SETUSER", "sessions", "on", ">hunter2", "~*", "+@all"]).unwrap();
    let sentinel = patient_sentinel(&primary);
    let failure = RedisStore::connect(&url(&[&sentinel], "other")).await.unwrap_err();
    assert!(matches!(failure, StoreError::Unavailable(_)), "{failure:?}");
    let said = format!("{failure:?}");
    assert!(
        said.contains("redis `other`, by the sentinels at 127.0.0.1:") && said.contains("check the name"),
        "{said}"
    );
    let failure = RedisStore::connect(&url(&[&primary], "shop")).await.unwrap_err();
    assert!(format!("{failure:?}").contains("not point to a sentinel"), "{failure:?}");

    // The user and the database are those of the servers.
    let login = |word: &str| url(&[&sentinel], "shop").replace("//", &format!("//sessions:{word}@")) + "/3";
    let store = open(&login("hunter2")).await;
    store.insert(&bucket(1)).await.unwrap();
    assert!(primary.redis_call(&["INFO", "keyspace"]).unwrap().contains("db3:"));
    let refused = RedisStore::connect(&login("wrong-one")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Rejected(_)) && !format!("{refused:?}").contains("wrong-one"), "{refused:?}");

    // A client of the application's own.
    let own = SentinelClient::build(vec![sentinel.url()], "shop", None, SentinelServerType::Master).unwrap();
    let store = patient().prefix("own").sentinel(own).await.unwrap();
    assert_eq!(store.count().await.unwrap(), 0);
}
