//! A cluster of which one shard hangs, is down, or has no replica: the others go on as if nothing had happened.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use secure_sessions_store::{Bucket, Page, RedisOptions, RedisStore, SessionId, SessionStore, Tags, Which};
use services::{Cluster, Service, or_skip};

use super::common::{SUBJECT, are_found_again};
use super::support::{bucket, calls, has_ended, is_alive, on_cluster, tombstone, until};

fn options() -> RedisOptions {
    RedisOptions::new().prefix("p")
}

/// Returns sessions whose keys are on this node.
fn on_node(node: &Service, count: usize) -> Vec<Bucket> {
    let is_there = |bucket: &Bucket| {
        let hex: String = bucket.id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        node.redis_call(&["EXISTS", &format!("p:{{{hex}}}")]).is_ok()
    };
    let numbered = (0..).map(|number: u64| {
        let mut id = [0xee; 16];
        id[..8].copy_from_slice(&number.to_be_bytes());
        // Without a subject: its index would be on another node.
        Bucket { id: SessionId::from_bytes(id), subject: None, ..bucket(0) }
    });
    numbered.filter(is_there).take(count).collect()
}

/// A cluster in which a shard that is down does not stop the others.
fn without_full_coverage() -> Option<Cluster> {
    let cluster = or_skip(Cluster::start())?;
    cluster.nodes().iter().for_each(go_on_without_others);
    Some(cluster)
}

fn go_on_without_others(node: &Service) {
    node.redis_call(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).unwrap();
}

/// Starts a node again that was killed, and waits until the cluster and the store have it again.
async fn bring_back(cluster: &Cluster, node: &Service, store: &RedisStore) {
    node.restart().unwrap();
    go_on_without_others(node);
    for node in cluster.nodes() {
        until("the cluster", || node.redis_call(&["CLUSTER", "INFO"]).unwrap().contains("cluster_state:ok"));
    }
    let start = Instant::now();
    while store.count().await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(180), "the store did not find the node again");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn insert(store: &RedisStore, sessions: &[Bucket]) {
    for session in sessions {
        store.insert(session).await.unwrap();
    }
}

async fn end_all(store: &RedisStore, sessions: &[Bucket]) {
    let ends = sessions.iter().map(|session| store.remove(&session.id, Some(tombstone(session))));
    assert!(join_all(ends).await.into_iter().all(Result::unwrap));
}

#[tokio::test]
async fn not_before_is_known_while_any_one_shard_is_down() {
    let Some(cluster) = without_full_coverage() else { return };
    let urls = cluster.urls();
    let store = on_cluster(options(), &urls).await;
    let at = bucket(1).created_at;
    store.raise_not_before(at).await.unwrap();
    for node in cluster.nodes() {
        node.pause().unwrap();
        // One question may wait for the shard that hangs, but no longer than the store waits at most.
        for _ in 0..3 {
            assert_eq!(store.not_before().await.unwrap(), Some(at));
        }
        node.resume().unwrap();
        node.kill().unwrap();
        assert_eq!(store.not_before().await.unwrap(), Some(at));
        bring_back(&cluster, node, &store).await;
    }
    // A time that one shard has not got is not in force, and the caller learns of it.
    cluster.nodes()[1].kill().unwrap();
    assert!(store.raise_not_before(bucket(1).created_at).await.unwrap_err().is_transient());
}

/// The writes to a shard without a replica do not wait, and do not keep those to another one from waiting.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_without_a_replica_does_not_keep_the_others_from_waiting() {
    let Some(cluster) = or_skip(Cluster::start_with_replicas_of(&[0, 1])) else { return };
    let (with, without) = (on_node(&cluster.nodes()[0], 12), on_node(&cluster.nodes()[2], 12));
    let urls = cluster.urls();
    let patient = || options().timeout(Duration::from_secs(20));
    let store = on_cluster(patient(), &urls).await;
    let strict = on_cluster(patient().require_replica(), &urls).await;
    insert(&store, &with).await;
    insert(&store, &without).await;
    // Stores find out at start if they may send it.
    let before = calls(&cluster.nodes()[2], "wait");
    for (with, without) in with.iter().zip(&without) {
        end_all(&store, std::slice::from_ref(without)).await;
        assert!(strict.remove(&without.id, None).await.is_err(), "there is no replica");
        assert!(strict.remove(&with.id, Some(tombstone(with))).await.unwrap());
    }
    assert_eq!((calls(&cluster.nodes()[2], "wait"), store.unreplicated()), (before, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_logouts_at_a_shard_whose_replica_hangs_waits_once() {
    let Some(cluster) = or_skip(Cluster::start_with_replicas()) else { return };
    let (hanging, healthy) = (on_node(&cluster.nodes()[0], 40), on_node(&cluster.nodes()[1], 40));
    let store = on_cluster(options().timeout(Duration::from_secs(20)), &cluster.urls()).await;
    insert(&store, &hanging).await;
    insert(&store, &healthy).await;
    cluster.replicas()[0].pause().unwrap();
    let start = Instant::now();
    let (at_hanging, at_healthy) = tokio::join!(
        async {
            end_all(&store, &hanging).await;
            start.elapsed()
        },
        async {
            end_all(&store, &healthy).await;
            start.elapsed()
        }
    );
    cluster.replicas()[0].resume().unwrap();
    println!("ended in {at_hanging:?} and {at_healthy:?}");
    // The first in vain, and none for a second after it: a busy machine may need longer for all.
    let waits = calls(&cluster.nodes()[0], "wait");
    assert!((1..=5).contains(&waits), "{waits} waits for 40 endings");
    assert!(at_healthy < at_hanging, "{at_healthy:?}, {at_hanging:?}");
    assert_eq!(store.unreplicated(), 40, "those at the shard whose replica hangs, and no other");
}

/// A host that starts meanwhile serves the sessions of all other shards.
#[tokio::test]
async fn a_store_is_opened_while_any_one_shard_is_down() {
    let Some(cluster) = without_full_coverage() else { return };
    let urls = cluster.urls();
    let patient = || options().timeout(Duration::from_secs(40));
    let store = on_cluster(patient(), &urls).await;
    for (number, node) in cluster.nodes().iter().enumerate() {
        let other = on_node(&cluster.nodes()[(number + 1) % 3], 1);
        insert(&store, &other).await;
        node.kill().unwrap();
        let opened = on_cluster(patient(), &urls).await;
        assert!(is_alive(&opened, &other[0]).await);
        bring_back(&cluster, node, &store).await;
        assert!(store.remove(&other[0].id, None).await.unwrap());
    }
}

/// Each leaves a wait of 750 ms behind at the server; these must not add up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_went_away_while_a_replica_hangs_hold_up_nobody() {
    let Some(cluster) = or_skip(Cluster::start_with_replicas_of(&[0])) else { return };
    let sessions = on_node(&cluster.nodes()[0], 20);
    let store = on_cluster(options().timeout(Duration::from_secs(20)), &cluster.urls()).await;
    insert(&store, &sessions).await;
    cluster.replicas()[0].pause().unwrap();
    let (last, others) = sessions.split_last().unwrap();
    for session in others {
        let ending = store.remove(&session.id, Some(tombstone(session)));
        let _ = tokio::time::timeout(Duration::from_millis(20), ending).await;
    }
    let start = Instant::now();
    assert!(store.remove(&last.id, Some(tombstone(last))).await.unwrap());
    cluster.replicas()[0].resume().unwrap();
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    assert!(has_ended(&store, last).await);
}

/// Breaks all connections to a server, and keeps it from answering on any new one.
fn hang(node: &Service) {
    node.redis_call(&["CONFIG", "SET", "lua-time-limit", "600000"]).unwrap();
    let connect = || TcpStream::connect((Ipv4Addr::LOCALHOST, node.port())).unwrap();
    let (mut witness, mut connection) = (connect(), connect());
    witness.write_all(b"PING\r\n").unwrap();
    assert_eq!(witness.read(&mut [0; 7]).unwrap(), 7, "the server has accepted it");
    connection.write_all(b"CLIENT KILL TYPE normal SKIPME yes\r\nEVAL \"while true do end\" 0\r\n").unwrap();
    // Broken as all others are: the server has come to the script.
    assert!(matches!(witness.read(&mut [0]), Ok(0) | Err(_)));
    node.pause().unwrap();
}

/// The driver of a cluster connects to all nodes again, before it sends anything else, when it misses one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_hangs_does_not_hold_up_the_others() {
    const LOADS: u32 = 200;
    const REFUSALS: u32 = 25;
    let patience = Duration::from_secs(60);
    let Some(cluster) = without_full_coverage() else { return };
    for node in cluster.nodes() {
        node.redis_call(&["CONFIG", "SET", "cluster-node-timeout", "60000"]).unwrap();
    }
    let (hanging, healthy) = (on_node(&cluster.nodes()[0], 4), on_node(&cluster.nodes()[1], 1));
    let store = on_cluster(options(), &cluster.urls()).await;
    insert(&store, &hanging).await;
    insert(&store, &healthy).await;
    hang(&cluster.nodes()[0]);
    let start = Instant::now();
    let ask_the_hanging = |session: &Bucket| {
        let (store, id) = (store.clone(), session.id);
        tokio::spawn(async move {
            for _ in 0..REFUSALS {
                let error = store.load(&id).await.unwrap_err();
                assert!(error.is_transient(), "{error:?}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
    };
    let asking: Vec<_> = hanging.iter().map(ask_the_hanging).collect();
    // Each would take seconds if it waited for the node. One that came between the break and its discovery may: the driver
    // then connects to all nodes, once.
    for _ in 0..LOADS {
        assert!(is_alive(&store, &healthy[0]).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(start.elapsed() < patience, "{LOADS} loads took {:?}", start.elapsed());
    for asking in asking {
        asking.await.unwrap();
    }
    assert!(start.elapsed() < patience, "a shard that is known to hang is refused at once: {:?}", start.elapsed());
    let error = store.load(&hanging[0].id).await.unwrap_err();
    assert!(format!("{error:?}").contains("does not answer"), "{error:?}");
    // Its part of a list is missing, and the list is an error that passes.
    let error = store.count().await.unwrap_err();
    assert!(error.is_transient(), "{error:?}");

    cluster.nodes()[0].restart().unwrap();
    let start = Instant::now();
    while store.load(&hanging[0].id).await.is_err() {
        assert!(start.elapsed() < patience, "it is not found again");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_list_that_needs_a_shard_that_is_down_is_an_error_that_passes() {
    let Some(cluster) = without_full_coverage() else { return };
    let store = on_cluster(options(), &cluster.urls()).await;
    let sessions: Vec<Bucket> = (1..=60).map(bucket).collect();
    insert(&store, &sessions).await;
    for node in cluster.nodes() {
        node.kill().unwrap();
        for _ in 0..3 {
            let error = store.list(Tags::Subjects(&[SUBJECT]), Page::first(100)).await.unwrap_err();
            assert!(error.is_transient(), "{error:?}");
        }
        bring_back(&cluster, node, &store).await;
    }
    assert_eq!(store.list(Tags::Subjects(&[SUBJECT]), Page::first(100)).await.unwrap().len(), 60);
}

/// Nodes behind the address by which they are reached name no host: it is the one that the client knows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_that_names_no_hosts_is_found_again_after_a_break() {
    let Some(cluster) = or_skip(Cluster::start()) else { return };
    for node in cluster.nodes() {
        node.redis_call(&["CONFIG", "SET", "cluster-preferred-endpoint-type", "unknown-endpoint"]).unwrap();
    }
    let store = on_cluster(options().timeout(Duration::from_secs(20)), &cluster.urls()).await;
    let sessions: Vec<Bucket> = (1..=60).map(bucket).collect();
    insert(&store, &sessions).await;
    assert_eq!(store.count().await.unwrap(), 60);
    for node in cluster.nodes() {
        node.redis_call(&["CLIENT", "KILL", "TYPE", "normal"]).unwrap();
    }
    are_found_again(&store, &sessions).await;
    assert_eq!(store.remove_all(Which::Everything, None).await.unwrap(), 60);
}

/// A logout asks now and then whether its shard has a replica by now, and any node may be the one that is asked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_hangs_holds_up_no_logout_at_another_one_without_a_replica() {
    let Some(cluster) = without_full_coverage() else { return };
    for node in cluster.nodes() {
        node.redis_call(&["CONFIG", "SET", "cluster-node-timeout", "60000"]).unwrap();
    }
    let sessions = on_node(&cluster.nodes()[1], 12);
    let store = on_cluster(options().timeout(Duration::from_secs(40)), &cluster.urls()).await;
    insert(&store, &sessions).await;
    for hanging in [0, 2] {
        cluster.nodes()[hanging].pause().unwrap();
    }
    // Each asks: a second has passed.
    for session in &sessions {
        tokio::time::sleep(Duration::from_millis(1050)).await;
        let start = Instant::now();
        assert!(store.remove(&session.id, Some(tombstone(session))).await.unwrap());
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    }
}
