//! A user of Redis who may run what the documentation lists, and one who may not.
#![cfg(feature = "redis")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::time::SystemTime;

use secure_sessions_store::{
    Bucket, Fingerprint, Millis, Page, RedisOptions, RedisStore, Revision, SessionId, SessionStore, StoreError,
    SubjectTag, Timestamp, Tombstone, Which,
};
use services::{Cluster, Error, Service};

/// As in the documentation of `RedisStore`.
const RIGHTS: &str = "resetkeys ~secure-sessions:* resetchannels -@all \
    +get +getex +getrange +mget +set +setrange +del +pttl +pexpireat +zadd +zrem +zrange +zrangebylex \
    +scan +time +eval +evalsha +role +info";
const RIGHTS_IN_A_CLUSTER: &str = "+cluster|slots +asking +ping";

/// The server, or nothing where the machine does not have it (which is no excuse in CI).
fn started<T>(started: Result<T, Error>) -> Option<T> {
    match started {
        Ok(service) => Some(service),
        Err(missing @ Error::Missing { .. }) if std::env::var("CI").is_err() => {
            eprintln!("SKIPPED: {missing}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Makes a user with these rights, and returns the URL with its name.
fn user(server: &Service, rights: &str) -> String {
    let mut words = vec!["ACL", "SETUSER", "sessions", "reset", "on", ">secret"];
    words.extend(rights.split_whitespace());
    server.redis_call(&words).unwrap();
    server.url().replace("redis://", "redis://sessions:secret@")
}

const SUBJECT: [SubjectTag; 1] = [SubjectTag::from_bytes([1; 16])];

fn bucket(id: u8) -> Bucket {
    let since = SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    let at = Timestamp::from_millis(u64::try_from(since.as_millis()).unwrap());
    Bucket {
        id: SessionId::from_bytes([id; 16]),
        revision: Revision::FIRST,
        subject: Some(SUBJECT[0]),
        label: None,
        created_at: at,
        last_seen_at: at,
        expires_at: at.after(Millis::from_secs(28_800)),
        idle_timeout: None,
        rotated_at: at,
        generation: 1,
        current: Fingerprint::from_bytes([3; 16]),
        retired: Vec::new(),
        evicted: None,
        handoff: None,
    }
}

async fn everything(store: &RedisStore) {
    let first = bucket(1);
    let tombstone = |bucket: &Bucket| Tombstone {
        id: bucket.id,
        ended_at: bucket.created_at,
        expires_at: bucket.expires_at,
        successor: None,
    };
    store.insert(&first).await.unwrap();
    let longer =
        Bucket { revision: Revision::new(2), expires_at: first.expires_at.after(Millis::from_secs(9)), ..first };
    assert!(store.replace(&longer, Revision::FIRST).await.unwrap());
    assert!(store.renew_into(&bucket(2), &longer.id, Revision::new(2), tombstone(&longer)).await.unwrap());
    assert_eq!(store.list(&SUBJECT, Page::first(9)).await.unwrap().len(), 1);
    assert_eq!(store.count().await.unwrap(), 1);
    store.insert(&bucket(3)).await.unwrap();
    assert!(store.remove(&bucket(3).id, Some(tombstone(&bucket(3)))).await.unwrap());
    assert!(store.load(&bucket(2).id).await.unwrap().is_some());
    assert_eq!(store.purge_expired(bucket(1).created_at, 10).await.unwrap(), 0);
    assert!(store.now().await.unwrap().is_some());
    assert_eq!(store.remove_all(Which::Subjects(&SUBJECT), None).await.unwrap(), 1);
    store.insert(&bucket(4)).await.unwrap();
    assert_eq!(store.remove_all(Which::Everything, None).await.unwrap(), 1);
}

#[tokio::test]
async fn the_rights_in_the_documentation_are_enough() {
    let Some(redis) = started(Service::redis()) else { return };
    let store = RedisStore::connect(&user(&redis, RIGHTS)).await.unwrap();
    everything(&store).await;
    redis.redis_call(&["FLUSHALL"]).unwrap();
    // These two are a help, and no need.
    let store = RedisStore::connect(&user(&redis, &format!("{RIGHTS} -role -info"))).await.unwrap();
    everything(&store).await;
}

#[tokio::test]
async fn the_rights_in_the_documentation_are_enough_in_a_cluster() {
    let Some(cluster) = started(Cluster::start()) else { return };
    let rights = format!("{RIGHTS} {RIGHTS_IN_A_CLUSTER}");
    let urls: Vec<String> = cluster.nodes().iter().map(|node| user(node, &rights)).collect();
    let store = RedisOptions::new().connect_cluster(urls.iter().map(String::as_str)).await.unwrap();
    everything(&store).await;
}

#[tokio::test]
async fn each_missing_right_is_named_when_the_store_is_opened() {
    let Some(redis) = started(Service::redis()) else { return };
    let refused = async |rights: &str| {
        let refused = RedisStore::connect(&user(&redis, rights)).await.unwrap_err();
        assert!(matches!(refused, StoreError::Rejected(_)), "{refused:?}");
        std::error::Error::source(&refused).unwrap().to_string()
    };
    for command in RIGHTS.split_whitespace().filter_map(|right| right.strip_prefix('+')) {
        if matches!(command, "role" | "info") {
            continue;
        }
        let why = refused(&format!("{RIGHTS} -{command}")).await;
        assert!(why.contains(&format!("may not run {} on keys", command.to_uppercase())), "{why}");
    }
    let why = refused(&format!("{RIGHTS} resetkeys ~other:*")).await;
    assert!(why.contains("GET, GETEX") && why.contains("`secure-sessions:`"), "{why}");
}

#[tokio::test]
async fn a_right_that_is_taken_away_later_is_named() {
    let Some(redis) = started(Service::redis()) else { return };
    let store = RedisStore::connect(&user(&redis, RIGHTS)).await.unwrap();
    redis.redis_call(&["ACL", "SETUSER", "sessions", "-getex"]).unwrap();
    let denied = store.load(&bucket(1).id).await.unwrap_err();
    assert!(matches!(denied, StoreError::Rejected(_)), "{denied:?}");
    let why = std::error::Error::source(&denied).unwrap().to_string();
    assert!(why.contains("GETEX"), "{why}");
}
