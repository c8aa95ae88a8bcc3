//! A user of Redis who may run what the documentation lists, and one who may not.

use secure_sessions_store::{
    Blob, BlobId, Bucket, Millis, Page, RedisStore, Revision, SessionStore, StoreError, Tags, VaultId, VaultStore,
    Which,
};
use services::{Cluster, Service, or_skip};

use super::common::SUBJECT;
use super::support::{bucket, on_cluster, open, patient, tombstone};

/// As in the documentation of `RedisStore`.
const RIGHTS: &str = "resetkeys ~secure-sessions:* resetchannels -@all \
    +get +getex +getrange +mget +set +setrange +del +pttl +pexpireat +zadd +zrem +zrange +zrangebylex \
    +hset +hmget +hdel \
    +scan +time +eval +evalsha +wait +role +info";
const RIGHTS_IN_A_CLUSTER: &str = "+cluster|slots +asking +ping";

/// Makes a user with these rights, and returns the URL with its name.
fn user(server: &Service, rights: &str) -> String {
    let mut words = vec!["ACL", "SETUSER", "sessions", "reset", "on", ">secret"];
    words.extend(rights.split_whitespace());
    server.redis_call(&words).unwrap();
    server.url().replace("redis://", "redis://sessions:secret@")
}

async fn everything(store: &RedisStore) {
    let (vault, blob) = (VaultId::from_bytes([7; 16]), Blob { id: BlobId::from_bytes([8; 16]), bytes: vec![9; 300] });
    let at = bucket(1).expires_at;
    store.put(&vault, std::slice::from_ref(&blob), at).await.unwrap();
    store.prolong(&vault, at.after(Millis::from_secs(9))).await.unwrap();
    assert_eq!(store.get(&vault, &[blob.id]).await.unwrap(), [Some(blob.bytes)]);
    store.delete(&vault, &[blob.id]).await.unwrap();
    store.delete_all(&[vault]).await.unwrap();
    let first = bucket(1);
    store.insert(&first).await.unwrap();
    let longer =
        Bucket { revision: Revision::new(2), expires_at: first.expires_at.after(Millis::from_secs(9)), ..first };
    assert!(store.replace(&longer, Revision::FIRST).await.unwrap());
    assert!(store.renew_into(&bucket(2), &longer.id, Revision::new(2), tombstone(&longer)).await.unwrap());
    assert_eq!(store.list(Tags::Subjects(&[SUBJECT]), Page::first(9)).await.unwrap().len(), 1);
    assert_eq!(store.count().await.unwrap(), 1);
    store.insert(&bucket(3)).await.unwrap();
    assert!(store.remove(&bucket(3).id, Some(tombstone(&bucket(3)))).await.unwrap());
    assert!(store.load(&bucket(2).id).await.unwrap().is_some());
    assert_eq!(store.purge_expired(bucket(1).created_at, 10).await.unwrap(), 0);
    assert!(store.now().await.unwrap().is_some());
    assert_eq!(store.remove_all(Which::Tagged(Tags::Subjects(&[SUBJECT])), None).await.unwrap(), 1);
    store.insert(&bucket(4)).await.unwrap();
    assert_eq!(store.remove_all(Which::Everything, None).await.unwrap(), 1);
}

#[tokio::test]
async fn the_rights_in_the_documentation_are_enough() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let store = open(&user(&redis, RIGHTS)).await;
    everything(&store).await;
    redis.redis_call(&["FLUSHALL"]).unwrap();
    // These two are a help, and no need.
    let store = open(&user(&redis, &format!("{RIGHTS} -role -info"))).await;
    everything(&store).await;
}

#[tokio::test]
async fn the_rights_in_the_documentation_are_enough_in_a_cluster() {
    let Some(cluster) = or_skip(Cluster::start()) else { return };
    let rights = format!("{RIGHTS} {RIGHTS_IN_A_CLUSTER}");
    let urls: Vec<String> = cluster.nodes().iter().map(|node| user(node, &rights)).collect();
    let store = on_cluster(patient(), &urls.join(",")).await;
    everything(&store).await;
}

#[tokio::test]
async fn each_missing_right_is_named_when_the_store_is_opened() {
    let Some(redis) = or_skip(Service::redis()) else { return };
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
    let Some(redis) = or_skip(Service::redis()) else { return };
    let store = open(&user(&redis, RIGHTS)).await;
    redis.redis_call(&["ACL", "SETUSER", "sessions", "-getex"]).unwrap();
    let denied = store.load(&bucket(1).id).await.unwrap_err();
    assert!(matches!(denied, StoreError::Rejected(_)), "{denied:?}");
    let why = std::error::Error::source(&denied).unwrap().to_string();
    assert!(why.contains("GETEX"), "{why}");
}
