//! Redis with replicas: an ending waits until one of them has it, and a failover to it revives no session.
//!
//! The way from a primary to its replica leads through a proxy that a test can hold: the replica stays connected, and gets
//! nothing.

use std::time::{Duration, Instant};

use secure_sessions_store::{
    Bucket, Entry, RedisOptions, RedisStore, Revision, SessionId, SessionStore, StoreError, Tags, Which,
};
use services::{Cluster, Service, or_skip};

use super::common::{SUBJECT, next, now};
use super::support::{bucket, calls, end, follow, has_ended, is_alive, on_cluster, tombstone, until};
use super::way::Way;

/// A primary, its replica, and the way between them.
struct Pair {
    primary: Service,
    way: Way,
    replica: Service,
}

impl Pair {
    fn start() -> Option<Self> {
        let primary = or_skip(Service::redis())?;
        let way = Way::to(&primary);
        let replica = follow(&primary, way.port);
        Some(Self { primary, way, replica })
    }

    /// The primary dies with all that the replica has not got, and the replica takes over.
    fn fail_over(&self) {
        self.primary.kill().unwrap();
        self.promote();
    }

    fn promote(&self) {
        self.replica.redis_call(&["REPLICAOF", "NO", "ONE"]).unwrap();
    }
}

/// With a prefix, so that a store of its own has sessions of its own.
fn options(prefix: &str) -> RedisOptions {
    RedisOptions::new().prefix(prefix).timeout(Duration::from_secs(20))
}

async fn open(options: RedisOptions, server: &Service) -> RedisStore {
    options.connect(server.url()).await.unwrap()
}

/// Waits until the replica has all that the primary has.
fn caught_up(pair: &Pair) {
    pair.primary.redis_call(&["SET", "caught-up", "1"]).unwrap();
    until("the primary's writes", || pair.replica.redis_call(&["GET", "caught-up"]).unwrap() == "1");
    pair.primary.redis_call(&["DEL", "caught-up"]).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_acknowledged_logout_is_not_undone_by_a_failover() {
    let Some(pair) = Pair::start() else { return };
    let store = open(options("p").require_replica(), &pair.primary).await;
    let ended = bucket(1);
    store.insert(&ended).await.unwrap();
    // The server knows the script from here on.
    end(&store, &bucket(2)).await;
    caught_up(&pair);
    pair.way.hold();
    let logout = tokio::spawn({
        let (store, ended) = (store.clone(), ended.clone());
        async move { end(&store, &ended).await }
    });
    // The primary has it, and so does everybody who asks there. But it is not acknowledged.
    until("the end", || pair.primary.redis_call(&["INFO", "clients"]).unwrap().contains("blocked_clients:1"));
    assert!(has_ended(&store, &ended).await, "reading does not wait");
    assert!(!logout.is_finished());
    pair.way.release();
    logout.await.unwrap();
    pair.fail_over();
    assert!(has_ended(&open(options("p"), &pair.replica).await, &ended).await);
}

#[tokio::test]
async fn a_logout_that_no_replica_has_counts_and_is_counted() {
    let Some(pair) = Pair::start() else { return };
    let store = open(options("p"), &pair.primary).await;
    let ended = bucket(1);
    store.insert(&ended).await.unwrap();
    caught_up(&pair);
    pair.way.hold();
    let start = Instant::now();
    assert!(store.remove(&ended.id, Some(tombstone(&ended))).await.unwrap());
    assert!(start.elapsed() >= Duration::from_millis(500), "it waited");
    assert_eq!(store.unreplicated(), 1);
    // A failover now undoes it: the documentation says so.
    pair.fail_over();
    pair.way.release();
    assert!(is_alive(&open(options("p"), &pair.replica).await, &ended).await);
}

#[tokio::test]
async fn a_logout_that_no_replica_has_is_an_error_where_one_is_required() {
    let Some(pair) = Pair::start() else { return };
    let store = open(options("p").require_replica(), &pair.primary).await;
    let ended = bucket(1);
    store.insert(&ended).await.unwrap();
    caught_up(&pair);
    pair.way.hold();
    let failure = store.remove(&ended.id, Some(tombstone(&ended))).await.unwrap_err();
    assert!(matches!(failure, StoreError::Unavailable(_)), "{failure:?}");
    assert!(format!("{failure:?}").contains("no replica acknowledged it"), "{failure:?}");
    assert!(has_ended(&store, &ended).await, "the primary has it all the same");
    // For a moment nobody waits, and each fails at once. A busy machine may come too late for it, and wait again.
    let start = Instant::now();
    loop {
        let before = calls(&pair.primary, "wait");
        assert!(store.remove(&ended.id, None).await.is_err());
        if calls(&pair.primary, "wait") == before {
            break;
        }
        assert!(start.elapsed() < Duration::from_secs(60), "each waits");
    }

    // The second try finds nothing to end. It is acknowledged when the replica has what the first one did.
    pair.way.release();
    end(&store, &ended).await;
    pair.fail_over();
    let after = open(options("p"), &pair.replica).await;
    assert!(has_ended(&after, &ended).await);
    let alone = open(options("p").require_replica(), &pair.replica).await;
    after.insert(&bucket(2)).await.unwrap();
    assert!(alone.remove(&bucket(2).id, None).await.is_err(), "it has no replica itself");
}

#[tokio::test]
async fn endings_and_renewals_wait_for_a_replica_and_updates_on_request() {
    let Some(pair) = Pair::start() else { return };
    let usual = open(options("usual"), &pair.primary).await;
    let all = open(options("all").replicate_updates(), &pair.primary).await;
    pair.way.hold();
    let (first, second) = (bucket(1), bucket(2));
    for (store, expected) in [(&usual, [0, 0, 0, 1, 2]), (&all, [1, 2, 3, 4, 5])] {
        let mut counts = Vec::new();
        store.insert(&first).await.unwrap();
        counts.push(store.unreplicated());
        assert!(store.replace(&next(&first), Revision::FIRST).await.unwrap());
        counts.push(store.unreplicated());
        // The server compares what was read.
        assert!(is_alive(store, &first).await);
        assert!(store.replace(&next(&next(&first)), Revision::new(2)).await.unwrap());
        counts.push(store.unreplicated());
        assert!(store.renew_into(&second, &first.id, Revision::new(3), tombstone(&first)).await.unwrap());
        counts.push(store.unreplicated());
        assert!(store.remove(&second.id, None).await.unwrap());
        counts.push(store.unreplicated());
        assert_eq!(counts, expected);
        let before = store.unreplicated();
        store.raise_not_before(now()).await.unwrap();
        assert!(store.unreplicated() > before);
        for which in [Which::Tagged(Tags::Subjects(&[SUBJECT])), Which::Everything] {
            let before = store.unreplicated();
            store.remove_all(which, None).await.unwrap();
            assert!(store.unreplicated() > before);
        }
    }
    pair.way.release();
}

#[tokio::test]
async fn a_server_without_replicas_is_not_waited_for() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let store = open(options("p").replicate_updates(), &redis).await;
    redis.redis_call(&["CONFIG", "RESETSTAT"]).unwrap();
    for id in 1..=100 {
        let first = bucket(id);
        store.insert(&first).await.unwrap();
        assert!(store.replace(&next(&first), Revision::FIRST).await.unwrap());
        assert!(store.remove(&first.id, Some(tombstone(&first))).await.unwrap());
    }
    assert_eq!((calls(&redis, "wait"), store.unreplicated()), (0, 0));
    assert!(calls(&redis, "role") < 100, "it asks for replicas now and then");

    // One that comes later is found.
    let _replica = follow(&redis, redis.port());
    let again = bucket(200);
    let start = Instant::now();
    while calls(&redis, "wait") == 0 {
        assert!(start.elapsed() < Duration::from_secs(30), "the replica was not seen");
        store.insert(&again).await.unwrap();
        assert!(store.remove(&again.id, None).await.unwrap());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_wait_is_for_all_writes_before_it() {
    let Some(pair) = Pair::start() else { return };
    let store = open(options("p").require_replica(), &pair.primary).await;
    let buckets: Vec<Bucket> = (1..=200).map(bucket).collect();
    for bucket in &buckets {
        store.insert(bucket).await.unwrap();
    }
    pair.primary.redis_call(&["CONFIG", "RESETSTAT"]).unwrap();
    futures_util::future::join_all(buckets.iter().map(|bucket| end(&store, bucket))).await;
    let waits = calls(&pair.primary, "wait");
    println!("{waits} waits for 200 endings");
    assert!((1..=100).contains(&waits), "{waits} waits");
    pair.fail_over();
    let after = open(options("p"), &pair.replica).await;
    assert_eq!(after.count().await.unwrap(), 0);
}

/// Its replica had not got the end, and takes over. The store, which has not acknowledged it yet, ends the session there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_whose_primary_dies_while_it_waits_is_carried_out_at_the_next() {
    let Some(pair) = Pair::start() else { return };
    let address = Way::to(&pair.primary);
    let store = options("p").connect(&address.url()).await.unwrap();
    let (ended, other) = (bucket(1), bucket(2));
    store.insert(&ended).await.unwrap();
    // Both connections lead to the primary from here on.
    assert!(!store.remove(&other.id, None).await.unwrap());
    caught_up(&pair);
    pair.way.hold();
    address.move_to(&pair.replica);
    let logout = tokio::spawn({
        let (store, ended) = (store.clone(), ended.clone());
        async move { store.remove(&ended.id, Some(tombstone(&ended))).await }
    });
    until("the end", || {
        let blocked = pair.primary.redis_call(&["INFO", "clients"]).unwrap().contains("blocked_clients:1");
        blocked || logout.is_finished()
    });
    pair.primary.kill().unwrap();
    pair.promote();
    assert!(logout.await.unwrap().unwrap());
    pair.way.release();
    assert!(has_ended(&open(options("p"), &pair.replica).await, &ended).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_an_acknowledged_logout_is_not_undone_by_a_failover() {
    let Some(cluster) = or_skip(Cluster::start_with_replicas()) else { return };
    let replicas = cluster.replicas();
    let urls = cluster.urls();
    let store = on_cluster(options("p").require_replica(), &urls).await;
    let buckets: Vec<Bucket> = (1..=60).map(bucket).collect();
    for bucket in &buckets {
        store.insert(bucket).await.unwrap();
    }
    // Replicas that hang are reported.
    let lax = on_cluster(options("p"), &urls).await;
    replicas.iter().for_each(|replica| replica.pause().unwrap());
    assert!(lax.remove(&buckets[0].id, Some(tombstone(&buckets[0]))).await.unwrap());
    assert_eq!(lax.unreplicated(), 1);
    let failure = store.remove(&buckets[1].id, Some(tombstone(&buckets[1]))).await.unwrap_err();
    assert!(format!("{failure:?}").contains("no replica acknowledged it"), "{failure:?}");
    replicas.iter().for_each(|replica| replica.resume().unwrap());

    let start = Instant::now();
    for (number, bucket) in buckets.iter().enumerate().skip(1) {
        let successor =
            Bucket { id: SessionId::from_bytes([100 + u8::try_from(number).unwrap(); 16]), ..bucket.clone() };
        while let Err(error) = if number % 2 == 0 {
            store.renew_into(&successor, &bucket.id, Revision::FIRST, tombstone(bucket)).await
        } else {
            store.remove(&bucket.id, Some(tombstone(bucket))).await
        } {
            assert!(error.is_transient() && start.elapsed() < Duration::from_secs(60), "{error:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    // All that is acknowledged is there, on whatever node has it by now.
    for server in cluster.nodes().iter().chain(replicas) {
        server.redis_call(&["CONFIG", "SET", "cluster-node-timeout", "1000"]).unwrap();
    }
    cluster.nodes()[1].kill().unwrap();
    for bucket in &buckets[1..] {
        let start = Instant::now();
        let entry = loop {
            match store.load(&bucket.id).await {
                Ok(entry) => break entry,
                Err(error) => assert!(start.elapsed() < Duration::from_secs(60), "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        assert!(matches!(entry, Some(Entry::Tombstone(_))), "{entry:?}");
    }
}
