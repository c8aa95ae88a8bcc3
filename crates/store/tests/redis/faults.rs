//! Redis that crashes, loses connections, stops, and runs out of memory or disk; each on a server of its own.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use secure_sessions_store::{
    Bucket, Entry, Page, RedisOptions, RedisStore, Revision, SessionId, SessionStore, StoreError, Tags, Tombstone,
    Which,
};
use services::{Cluster, Service, or_skip};

use super::common::{self, SUBJECT, listed, next, now, session, spread};
use super::support::{self, on_cluster, patient};

async fn open(service: &Service, timeout: Duration) -> RedisStore {
    RedisOptions::new().timeout(timeout).connect(service.url()).await.unwrap()
}

fn id(number: u64) -> SessionId {
    SessionId::from_bytes(spread(number))
}

fn bucket(number: u64) -> Bucket {
    Bucket { handoff: Some(vec![7; 600]), ..session(spread(number), now()) }
}

fn tombstone(number: u64) -> Tombstone {
    common::tombstone(&bucket(number), None)
}

/// Waits until the store answers again, without being opened again.
async fn until_it_is_back(store: &RedisStore) {
    let start = Instant::now();
    while store.load(&id(0)).await.is_err() {
        assert!(start.elapsed() < Duration::from_secs(60), "the store did not come back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The known outcome of a session's life. Two numbers, `2 n` and `2 n + 1`, are one life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Inserted,
    Swapped,
    Renewed,
    LoggedOut,
}

/// One session's life, as far as it gets; each acknowledged step is told.
async fn live(store: &RedisStore, n: u64, tell: &(dyn Fn(Reached) + Sync)) -> Result<(), StoreError> {
    let (first, second) = (bucket(2 * n), bucket(2 * n + 1));
    store.insert(&first).await?;
    tell(Reached::Inserted);
    assert!(store.replace(&next(&first), Revision::FIRST).await?, "nobody else swaps it");
    tell(Reached::Swapped);
    assert!(store.renew_into(&second, &first.id, Revision::new(2), tombstone(2 * n)).await?, "nobody else renews it");
    tell(Reached::Renewed);
    if n.is_multiple_of(2) {
        assert!(store.remove(&second.id, Some(tombstone(2 * n + 1))).await?, "nobody else ends it");
        tell(Reached::LoggedOut);
    }
    Ok(())
}

/// Runs lives in parallel until it is stopped, and returns what each was acknowledged to have reached.
struct Load {
    stop: Arc<AtomicBool>,
    reached: Arc<Mutex<Vec<(u64, Reached)>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn start(store: &RedisStore, first: u64) -> Self {
        let (stop, reached) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let count = Arc::new(AtomicU64::new(first));
        let tasks = (0..16)
            .map(|_| {
                let (store, stop, reached, count) = (store.clone(), stop.clone(), reached.clone(), count.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::SeqCst) {
                        let n = count.fetch_add(1, Ordering::SeqCst);
                        let tell = |step| reached.lock().unwrap().push((n, step));
                        if let Err(error) = live(&store, n, &tell).await {
                            assert!(error.is_transient(), "{error:?}");
                        }
                    }
                })
            })
            .collect();
        Self { stop, reached, tasks }
    }

    fn acknowledged(&self) -> usize {
        self.reached.lock().unwrap().len()
    }

    async fn until(&self, acknowledged: usize) {
        let start = Instant::now();
        while self.acknowledged() < acknowledged {
            assert!(start.elapsed() < Duration::from_secs(60), "only {} were acknowledged", self.acknowledged());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn end(self) -> Vec<(u64, Reached)> {
        self.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
        std::mem::take(&mut self.reached.lock().unwrap())
    }
}

/// Reads a life from the store; half a renewal is none.
async fn found(store: &RedisStore, n: u64) -> Option<Reached> {
    match (store.load(&id(2 * n)).await.unwrap(), store.load(&id(2 * n + 1)).await.unwrap()) {
        (None, None) => None,
        (Some(Entry::Bucket(bucket)), None) if bucket.revision == Revision::FIRST => Some(Reached::Inserted),
        (Some(Entry::Bucket(_)), None) => Some(Reached::Swapped),
        (Some(Entry::Tombstone(_)), Some(Entry::Bucket(_))) => Some(Reached::Renewed),
        (Some(Entry::Tombstone(_)), Some(Entry::Tombstone(_))) => Some(Reached::LoggedOut),
        (old, new) => panic!("half a renewal: {old:?} and {new:?}"),
    }
}

async fn check(store: &RedisStore, acknowledged: &[(u64, Reached)]) {
    for (n, reached) in acknowledged {
        let found = found(store, *n).await;
        assert!(found >= Some(*reached), "{reached:?} was acknowledged, {found:?} is there");
    }
    // The index knows all that live.
    let listed = listed(store, 500).await;
    assert_eq!(listed as u64, store.count().await.unwrap(), "the index and the sessions differ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_always_appending_redis_keeps_acknowledged_writes_and_logouts() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let timeout = Duration::from_secs(40);
    let store = open(&redis, timeout).await;
    let mut acknowledged = Vec::new();
    for round in 1..=3_u64 {
        let load = Load::start(&store, round * 1_000_000);
        load.until(300).await;
        redis.kill().unwrap();
        let before = Instant::now();
        assert!(store.load(&id(0)).await.is_err());
        assert!(before.elapsed() < timeout / 4, "a refused connection must not use the timeout up");
        acknowledged.extend(load.end().await);
        redis.restart().unwrap();
        until_it_is_back(&store).await;
        check(&store, &acknowledged).await;
    }
    println!("{} acknowledged writes over 3 kills", acknowledged.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_lose_nothing_and_make_no_swap_lie() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let store = support::open(redis.url()).await;
    let load = Load::start(&store, 1);
    // Meanwhile some count one bucket's revision up, each step a compare-and-swap.
    store.insert(&bucket(0)).await.unwrap();
    let (trues, errors) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let counters: Vec<_> = (0..4)
        .map(|_| {
            let (store, stop) = (store.clone(), load.stop.clone());
            let (trues, errors) = (trues.clone(), errors.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::SeqCst) {
                    let Ok(Some(Entry::Bucket(bucket))) = store.load(&id(0)).await else { continue };
                    match store.replace(&next(&bucket), bucket.revision).await {
                        Ok(true) => trues.fetch_add(1, Ordering::SeqCst),
                        Ok(false) => 0,
                        Err(_) => errors.fetch_add(1, Ordering::SeqCst),
                    };
                }
            })
        })
        .collect();
    let start = Instant::now();
    for cut in 1..=40 {
        // Some swaps take place between two cuts.
        while trues.load(Ordering::SeqCst) < 2 * cut {
            assert!(start.elapsed() < Duration::from_secs(120), "the counters do not go on");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        redis.redis_call(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]).unwrap();
    }
    let acknowledged = load.end().await;
    for counter in counters {
        counter.await.unwrap();
    }
    until_it_is_back(&store).await;
    check(&store, &acknowledged).await;
    let Some(Entry::Bucket(counted)) = store.load(&id(0)).await.unwrap() else { panic!("it is gone") };
    let (steps, trues, errors) =
        (counted.revision.get() - 1, trues.load(Ordering::SeqCst), errors.load(Ordering::SeqCst));
    println!("{} acknowledged writes, {steps} swaps, {errors} errors over 40 cuts", acknowledged.len());
    assert!(
        trues <= steps && steps <= trues + errors,
        "{steps} swaps took place, {trues} were said to, {errors} unknown"
    );
}

#[tokio::test]
async fn a_redis_that_stops_answering_is_a_timeout_and_goes_on_when_it_does() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let (patient, store) = (support::open(redis.url()).await, open(&redis, Duration::from_secs(2)).await);
    let kept = bucket(1);
    patient.insert(&kept).await.unwrap();
    redis.pause().unwrap();
    let before = Instant::now();
    assert!(matches!(store.load(&kept.id).await, Err(StoreError::Timeout)));
    assert!(matches!(store.replace(&next(&kept), Revision::FIRST).await, Err(StoreError::Timeout)));
    assert!(matches!(store.insert(&bucket(2)).await, Err(StoreError::Timeout)));
    assert!(matches!(
        store.renew_into(&bucket(3), &kept.id, Revision::FIRST, tombstone(1)).await,
        Err(StoreError::Timeout)
    ));
    assert!(matches!(store.remove(&kept.id, None).await, Err(StoreError::Timeout)));
    assert!(matches!(store.list(Tags::Subjects(&[SUBJECT]), Page::first(9)).await, Err(StoreError::Timeout)));
    assert!(matches!(store.count().await, Err(StoreError::Timeout)));
    assert!(before.elapsed() < Duration::from_secs(60), "seven calls took {:?}", before.elapsed());
    redis.resume().unwrap();
    until_it_is_back(&store).await;
    // Each write that was sent meanwhile has happened as a whole, or not at all.
    check(&patient, &[]).await;
    patient.insert(&bucket(9)).await.unwrap();
    assert!(patient.remove(&id(9), None).await.unwrap());
}

/// A middlebox forgets a connection that is silent for minutes, such as the one for writes that wait.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_connection_that_is_silent_is_kept_alive() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let _store = support::open(redis.url()).await;
    let remote = format!("0100007F:{:04X}", redis.port());
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let timers: Vec<&str> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        // Established, to the server.
        .filter(|fields| fields[2] == remote && fields[3] == "01")
        .map(|fields| &fields[5][..2])
        .collect();
    assert_eq!(timers, ["02"], "the timer of an idle connection is that of the keep-alive");
}

#[tokio::test]
async fn a_full_redis_refuses_writes_whole_and_takes_them_again() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let store = support::open(redis.url()).await;
    let kept = bucket(1);
    store.insert(&kept).await.unwrap();
    redis.redis_call(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    let failures = [
        store.insert(&bucket(2)).await.unwrap_err(),
        store.replace(&next(&kept), Revision::FIRST).await.unwrap_err(),
        store.renew_into(&bucket(3), &kept.id, Revision::FIRST, tombstone(1)).await.unwrap_err(),
    ];
    for failure in failures {
        assert!(matches!(failure, StoreError::Unavailable(_)), "{failure:?}");
    }
    // Reading goes on, and nothing was written by halves.
    let Some(Entry::Bucket(still)) = store.load(&kept.id).await.unwrap() else { panic!("it is gone") };
    assert_eq!(still.revision, Revision::FIRST);
    assert_eq!(store.count().await.unwrap(), 1);
    assert_eq!(store.list(Tags::Subjects(&[SUBJECT]), Page::first(9)).await.unwrap().len(), 1);
    redis.redis_call(&["CONFIG", "SET", "maxmemory", "0"]).unwrap();
    assert!(store.replace(&next(&kept), Revision::FIRST).await.unwrap());
}

#[tokio::test]
async fn a_full_redis_still_ends_sessions() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let store = support::open(redis.url()).await;
    for number in 1..=4 {
        store.insert(&bucket(number)).await.unwrap();
    }
    redis.redis_call(&["CONFIG", "SET", "maxmemory", "1"]).unwrap();
    assert!(store.insert(&bucket(5)).await.is_err(), "it is full");
    assert!(store.remove(&id(1), Some(tombstone(1))).await.unwrap());
    assert!(matches!(store.load(&id(1)).await.unwrap(), Some(Entry::Tombstone(_))), "and the end is known");
    assert!(!store.remove(&id(1), Some(tombstone(1))).await.unwrap());
    assert!(store.remove(&id(2), None).await.unwrap());
    assert_eq!(store.remove_all(Which::Tagged(Tags::Subjects(&[SUBJECT])), None).await.unwrap(), 2);
    assert!(store.insert(&bucket(5)).await.is_err(), "it is full");
    assert_eq!(store.count().await.unwrap(), 0);
}

#[tokio::test]
async fn a_redis_that_cannot_write_its_file_refuses_writes_and_takes_them_again() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    let store = support::open(redis.url()).await;
    let kept = bucket(1);
    store.insert(&kept).await.unwrap();
    // A folder that is in the way of its file.
    let obstacle = redis.directory().join("data").join("dump.rdb");
    std::fs::create_dir(&obstacle).unwrap();
    redis.redis_call(&["CONFIG", "SET", "save", "3600 1"]).unwrap();
    let save = |expected: &str| {
        let start = Instant::now();
        let _ = redis.redis_call(&["BGSAVE"]);
        while !redis.redis_call(&["INFO", "persistence"]).unwrap().contains(expected) {
            assert!(start.elapsed() < Duration::from_secs(20), "no {expected}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    save("rdb_last_bgsave_status:err");
    let failure = store.replace(&next(&kept), Revision::FIRST).await.unwrap_err();
    assert!(matches!(failure, StoreError::Unavailable(_)), "{failure:?}");
    assert!(matches!(store.insert(&bucket(2)).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.load(&kept.id).await.unwrap(), Some(Entry::Bucket(_))));
    std::fs::remove_dir(&obstacle).unwrap();
    save("rdb_last_bgsave_status:ok");
    assert!(store.replace(&next(&kept), Revision::FIRST).await.unwrap());
}

#[tokio::test]
async fn a_redis_that_evicts_is_refused_unless_told_otherwise() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    redis.redis_call(&["CONFIG", "SET", "maxmemory-policy", "volatile-lru"]).unwrap();
    // Without a limit it evicts nothing.
    support::open(redis.url()).await;
    redis.redis_call(&["CONFIG", "SET", "maxmemory", "100mb"]).unwrap();
    let refused = RedisStore::connect(redis.url()).await.unwrap_err();
    assert!(matches!(refused, StoreError::Rejected(_)));
    let why = std::error::Error::source(&refused).unwrap().to_string();
    assert!(why.contains("noeviction"), "{why}");
    patient().insecure_allow_eviction().connect(redis.url()).await.unwrap();
    redis.redis_call(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]).unwrap();
    support::open(redis.url()).await;
}

#[tokio::test]
async fn a_password_that_is_wrong_is_refused_and_does_not_show() {
    let Some(redis) = or_skip(Service::redis()) else { return };
    redis.redis_call(&["CONFIG", "SET", "requirepass", "right"]).unwrap();
    let url = |password: &str| redis.url().replace("redis://", &format!("redis://:{password}@"));
    let refused = RedisStore::connect(&url("wrong-one")).await.unwrap_err();
    assert!(matches!(refused, StoreError::Rejected(_)), "{refused:?}");
    assert!(!format!("{refused:?}").contains("wrong-one"));
    let store = support::open(&url("right")).await;
    store.insert(&bucket(1)).await.unwrap();
}

#[tokio::test]
async fn an_error_says_which_server_database_or_command_is_wrong() {
    let said = |error: StoreError| format!("{error:?}");
    let closed = said(RedisStore::connect("redis://user:hunter2@127.0.0.1:1/").await.unwrap_err());
    assert!(
        closed.contains("redis at 127.0.0.1:1, database 0: I/O error: ") && !closed.contains("hunter2"),
        "{closed}"
    );
    let closed = said(RedisStore::connect_cluster(&["redis://127.0.0.1:1", "redis://127.0.0.1:2"]).await.unwrap_err());
    assert!(closed.contains("the redis cluster at 127.0.0.1:1, 127.0.0.1:2: "), "{closed}");

    let Some(redis) = or_skip(Service::redis()) else { return };
    let url = redis.url().trim_end_matches('/');
    let missing = RedisStore::connect(&format!("{url}/99")).await.unwrap_err();
    assert!(matches!(missing, StoreError::Rejected(_)), "{missing:?}");
    assert!(said(missing).contains("database 99: there is no database of this number"));
    redis.redis_call(&["ACL", "SETUSER", "shop", "on", ">hunter2", "~*", "+@all"]).unwrap();
    let store = support::open(&url.replace("redis://", "redis://shop:hunter2@")).await;
    redis.redis_call(&["ACL", "SETUSER", "shop", "-evalsha"]).unwrap();
    let denied = store.insert(&bucket(1)).await.unwrap_err();
    assert!(matches!(denied, StoreError::Rejected(_)), "{denied:?}");
    assert!(said(denied).contains("the server's access rules deny its user the command EVALSHA"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_node_loses_no_acknowledged_write_and_leaves_no_half_renewal() {
    let Some(cluster) = or_skip(Cluster::start()) else { return };
    let urls = cluster.urls();
    let timeout = Duration::from_secs(2);
    let store = RedisOptions::new().timeout(timeout).connect_cluster(urls.split(',')).await.unwrap();
    let load = Load::start(&store, 1);
    load.until(200).await;
    cluster.nodes()[1].kill().unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let acknowledged = load.end().await;
    cluster.nodes()[1].restart().unwrap();
    let start = Instant::now();
    // Every node answers, and what was begun comes to its end, without the store being opened again. If the node was away for longer
    // than the cluster's timeout, on a busy machine, the others trust it again after twice that: 30 seconds, by their own clocks.
    while let Err(error) = store.count().await {
        assert!(start.elapsed() < Duration::from_secs(180), "the cluster did not come back: {error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let last = acknowledged.iter().map(|(n, _)| *n).max().unwrap_or(0) + 40;
    for n in 1..=last {
        while is_half(&store, n).await {
            assert!(start.elapsed() < Duration::from_secs(240), "half a renewal was left behind");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
    for (n, reached) in &acknowledged {
        let found = found(&store, *n).await;
        assert!(found >= Some(*reached), "{reached:?} was acknowledged, {found:?} is there");
    }
    println!("{} acknowledged writes", acknowledged.len());
}

/// Two sessions where there should be one.
async fn is_half(store: &RedisStore, n: u64) -> bool {
    let (old, new) = (store.load(&id(2 * n)).await, store.load(&id(2 * n + 1)).await);
    match (old, new) {
        (Ok(old), Ok(new)) => matches!((old, new), (Some(Entry::Bucket(_)), Some(_)) | (None, Some(_))),
        _ => true,
    }
}

#[tokio::test]
async fn a_session_whose_slot_moves_to_another_node_is_still_found_and_written() {
    let Some(cluster) = or_skip(Cluster::start()) else { return };
    let urls = cluster.urls();
    let store = on_cluster(patient().prefix("p"), &urls).await;
    let kept = bucket(1);
    store.insert(&kept).await.unwrap();
    let nodes = cluster.nodes();
    let names: Vec<String> = nodes.iter().map(|node| node.redis_call(&["CLUSTER", "MYID"]).unwrap()).collect();
    let key = {
        let hex: String = kept.id.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("p:{{{hex}}}")
    };
    let slot = nodes[0].redis_call(&["CLUSTER", "KEYSLOT", &key]).unwrap();
    let from = nodes.iter().position(|node| node.redis_call(&["EXISTS", &key]).is_ok()).unwrap();
    let to = (from + 1) % 3;
    nodes[to].redis_call(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", &names[from]]).unwrap();
    nodes[from].redis_call(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", &names[to]]).unwrap();
    let port = nodes[to].port().to_string();
    nodes[from].redis_call(&["MIGRATE", "127.0.0.1", &port, &key, "0", "5000"]).unwrap();
    // The slot's owner says: ask there.
    assert!(matches!(store.load(&kept.id).await.unwrap(), Some(Entry::Bucket(_))));
    assert!(store.replace(&next(&kept), Revision::FIRST).await.unwrap());
    assert!(!store.replace(&next(&kept), Revision::FIRST).await.unwrap());
    for node in nodes {
        node.redis_call(&["CLUSTER", "SETSLOT", &slot, "NODE", &names[to]]).unwrap();
    }
    // And now: it has moved.
    let Some(Entry::Bucket(moved)) = store.load(&kept.id).await.unwrap() else { panic!("it is gone") };
    assert_eq!(moved.revision, Revision::new(2));
    assert_eq!(store.list(Tags::Subjects(&[SUBJECT]), Page::first(9)).await.unwrap().len(), 1);
    assert!(store.remove(&kept.id, None).await.unwrap());
    assert_eq!(store.count().await.unwrap(), 0);
}
