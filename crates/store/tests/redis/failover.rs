//! Redis after a planned failover: the address moves, and the old primary stays up as a replica. And a cluster that lost a
//! part of its index.

use std::time::{Duration, Instant};

use secure_sessions_store::{
    Bucket, Entry, GroupTag, Page, RedisStore, Revision, SessionStore, StoreError, Tags, Which,
};
use services::{Cluster, Service, or_skip};

use super::common::{SUBJECT, next};
use super::support::{bucket, hex, on_cluster, open, pair, patient, tombstone};
use super::way::Way;

const GROUP: [GroupTag; 1] = [GroupTag::from_bytes([1; 16])];

/// Makes the replica the primary, and the primary its replica.
pub(crate) fn fail_over(primary: &Service, replica: &Service) {
    let start = Instant::now();
    while primary.redis_call(&["FAILOVER"]).is_err() {
        assert!(start.elapsed() < Duration::from_secs(60), "the replica is not ready");
        std::thread::sleep(Duration::from_millis(20));
    }
    let role = |server: &Service| server.redis_call(&["ROLE"]).unwrap();
    while !role(primary).starts_with("slave") || !role(replica).starts_with("master") {
        assert!(start.elapsed() < Duration::from_secs(60), "the roles did not change");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Stores whose connections still lead to the server that was the primary, and one at the new primary.
struct Demoted {
    stores: Vec<RedisStore>,
    elsewhere: RedisStore,
    old: Service,
    _new: Service,
}

impl Demoted {
    /// Each session is there before the failover.
    async fn new(stores: usize, sessions: &[Bucket]) -> Option<Self> {
        let (old, new) = pair()?;
        let address = Way::to(&old);
        let mut connected = Vec::new();
        for _ in 0..stores {
            connected.push(open(&address.url()).await);
        }
        for bucket in sessions {
            connected[0].insert(bucket).await.unwrap();
        }
        fail_over(&old, &new);
        let elsewhere = open(new.url()).await;
        address.move_to(&new);
        Some(Self { stores: connected, elsewhere, old, _new: new })
    }

    /// The old primary never hears of what happens at the new one.
    fn cut_off(&self) {
        self.old.redis_call(&["REPLICAOF", "127.0.0.1", "1"]).unwrap();
    }
}

#[tokio::test]
async fn a_session_that_ended_at_the_new_primary_is_not_read_at_the_old_one() {
    let ended = bucket(1);
    let Some(demoted) = Demoted::new(1, std::slice::from_ref(&ended)).await else { return };
    demoted.cut_off();
    assert!(demoted.elsewhere.remove(&ended.id, None).await.unwrap());
    assert!(demoted.stores[0].load(&ended.id).await.unwrap().is_none(), "it was read from the past");
}

#[tokio::test]
async fn writes_after_a_planned_failover_go_to_the_new_primary() {
    let (swapped, renewed, removed) = (bucket(1), bucket(2), bucket(3));
    let sessions = [swapped.clone(), renewed.clone(), removed.clone()];
    let Some(Demoted { stores, elsewhere, .. }) = &Demoted::new(4, &sessions).await else { return };
    assert!(stores[0].replace(&next(&swapped), Revision::FIRST).await.unwrap());
    assert!(stores[1].renew_into(&bucket(4), &renewed.id, Revision::FIRST, tombstone(&renewed)).await.unwrap());
    assert!(stores[2].remove(&removed.id, Some(tombstone(&removed))).await.unwrap());
    stores[3].insert(&bucket(5)).await.unwrap();
    let listed = elsewhere.list(Tags::Subjects(&[SUBJECT]), Page::first(9)).await.unwrap();
    let ids: Vec<_> = listed.into_iter().map(|listed| listed.unwrap().id).collect();
    assert_eq!(ids, [swapped.id, bucket(4).id, bucket(5).id]);
}

/// A replica carries out a script that finds nothing to write.
#[tokio::test]
async fn a_demoted_server_does_not_answer_that_there_is_nothing_to_end() {
    let gone = bucket(1);
    let Some(demoted) = Demoted::new(5, std::slice::from_ref(&gone)).await else { return };
    demoted.cut_off();
    let (stores, elsewhere) = (&demoted.stores, &demoted.elsewhere);
    elsewhere.remove(&gone.id, None).await.unwrap();
    for id in 2..=4 {
        elsewhere.insert(&bucket(id)).await.unwrap();
    }
    assert!(stores[0].remove(&bucket(2).id, None).await.unwrap());
    assert!(stores[1].replace(&next(&bucket(3)), Revision::FIRST).await.unwrap());
    stores[2].insert(&gone).await.unwrap();
    assert_eq!(stores[3].remove_all(Which::Tagged(Tags::Subjects(&[SUBJECT])), Some(&gone.id)).await.unwrap(), 2);
    assert_eq!(stores[4].remove_all(Which::Everything, None).await.unwrap(), 1);
}

#[tokio::test]
async fn an_address_that_leads_to_a_replica_is_an_error_until_it_has_moved() {
    let kept = bucket(1);
    let Some((primary, replica)) = pair() else { return };
    let address = Way::to(&primary);
    let store = RedisStore::connect(&address.url()).await.unwrap();
    store.insert(&kept).await.unwrap();
    fail_over(&primary, &replica);
    let refused = store.replace(&next(&kept), Revision::FIRST).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    assert!(store.load(&kept.id).await.is_err(), "nothing is read from a replica");
    address.move_to(&replica);
    let start = Instant::now();
    while let Err(error) = store.replace(&next(&kept), Revision::FIRST).await {
        assert!(error.is_transient() && start.elapsed() < Duration::from_secs(60), "{error:?}");
    }
    assert!(matches!(store.load(&kept.id).await.unwrap(), Some(Entry::Bucket(_))));
}

#[tokio::test]
async fn a_replica_is_refused_at_start() {
    let Some((_primary, replica)) = pair() else { return };
    let refused = RedisStore::connect(replica.url()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Rejected(_)), "{refused:?}");
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(why.contains("replica") && why.contains("primary"), "{why}");
}

#[tokio::test]
async fn in_a_cluster_a_lost_place_in_the_index_comes_back_with_the_next_write() {
    let Some(cluster) = or_skip(Cluster::start()) else { return };
    let urls = cluster.urls();
    let store = on_cluster(patient().prefix("p"), &urls).await;
    let grouped = |id| Bucket { group: Some(GROUP[0]), ..bucket(id) };
    for (kind, tags, first) in [("subject", Tags::Subjects(&[SUBJECT]), 1), ("group", Tags::Groups(&GROUP), 4)] {
        let (touched, renewed) = (grouped(first), grouped(first + 1));
        store.insert(&touched).await.unwrap();
        store.insert(&renewed).await.unwrap();
        let index = format!("p:{{{}}}:{kind}", hex(1));
        let lost = cluster.nodes().iter().filter_map(|node| node.redis_call(&["DEL", &index]).ok());
        assert_eq!(lost.collect::<Vec<_>>(), ["1"], "one node has it");
        assert_eq!(store.remove_all(Which::Tagged(tags), None).await.unwrap(), 0, "nobody finds them");

        assert!(store.replace(&next(&touched), Revision::FIRST).await.unwrap());
        assert!(
            store.renew_into(&grouped(first + 2), &renewed.id, Revision::FIRST, tombstone(&renewed)).await.unwrap()
        );
        let left = || cluster.nodes().iter().find_map(|node| node.redis_call(&["PTTL", &index]).ok()).unwrap();
        assert!(left().parse::<u64>().unwrap() > 28_800_000, "the index lives as long as its sessions");
        let listed = store.list(tags, Page::first(9)).await.unwrap();
        assert_eq!(listed.len(), 2);
        assert_eq!(store.remove_all(Which::Tagged(tags), None).await.unwrap(), 2);
        assert_eq!(store.count().await.unwrap(), 0);
    }
}

/// Its place is kept as it is: it does not get another one with each write.
#[tokio::test]
async fn in_a_cluster_a_session_keeps_one_place_in_the_index() {
    let Some(cluster) = or_skip(Cluster::start()) else { return };
    let urls = cluster.urls();
    let store = on_cluster(patient().prefix("p"), &urls).await;
    let mut bucket = bucket(1);
    store.insert(&bucket).await.unwrap();
    for _ in 0..5 {
        let expected = bucket.revision;
        bucket = next(&bucket);
        assert!(store.replace(&bucket, expected).await.unwrap());
    }
    let index = format!("p:{{{}}}:subject", hex(1));
    let places = cluster.nodes().iter().find_map(|node| node.redis_call(&["ZCARD", &index]).ok());
    assert_eq!(places.as_deref(), Some("1"));
    assert!(store.remove(&bucket.id, None).await.unwrap());
    let places = cluster.nodes().iter().find_map(|node| node.redis_call(&["ZCARD", &index]).ok());
    assert_eq!(places.as_deref(), Some("0"), "the removal takes it out");
}
