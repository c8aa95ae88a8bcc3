//! Servers, sessions and waiting: what the tests of the Redis store share.

use std::time::{Duration, Instant};

use secure_sessions_store::{Bucket, Entry, RedisOptions, RedisStore, SessionStore, Tombstone};
use services::{Engine, Service, Setup, or_skip};

use super::common::{self, now};

/// A primary and a replica that has caught up.
pub(crate) fn pair() -> Option<(Service, Service)> {
    let primary = or_skip(Service::redis())?;
    let replica = follow(&primary, primary.port());
    Some((primary, replica))
}

/// Starts a replica whose primary is at this port.
pub(crate) fn follow(primary: &Service, port: u16) -> Service {
    primary.redis_call(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]).unwrap();
    let port = port.to_string();
    let replica = Setup::new(Engine::Redis).arguments(["--replicaof", "127.0.0.1", &port]).start().unwrap();
    until("the replica", || {
        let is_up = replica.redis_call(&["INFO", "replication"]).unwrap().contains("master_link_status:up");
        is_up && primary.redis_call(&["INFO", "replication"]).unwrap().contains("state=online")
    });
    replica
}

pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < Duration::from_secs(180), "{what} did not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Returns the number of times that the server has run a command.
pub(crate) fn calls(server: &Service, command: &str) -> u64 {
    let stats = server.redis_call(&["INFO", "commandstats"]).unwrap();
    let line = stats.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{command}:calls=")));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

/// Returns the options of a store that waits for longer than any answer takes on a busy machine.
pub(crate) fn patient() -> RedisOptions {
    RedisOptions::new().timeout(Duration::from_secs(30))
}

/// Opens a store that waits for longer than any answer takes on a busy machine.
pub(crate) async fn open(url: &str) -> RedisStore {
    patient().connect(url).await.unwrap()
}

/// Opens a store with these options and these keys on a cluster.
pub(crate) async fn on_cluster(options: RedisOptions, urls: &str) -> RedisStore {
    options.connect_cluster(urls.split(',')).await.unwrap()
}

pub(crate) fn bucket(id: u8) -> Bucket {
    common::session([id; 16], now())
}

pub(crate) fn tombstone(bucket: &Bucket) -> Tombstone {
    common::tombstone(bucket, None)
}

/// An id, a subject or a vault of sixteen equal bytes, as a key has it.
pub(crate) fn hex(byte: u8) -> String {
    format!("{byte:02x}").repeat(16)
}

pub(crate) async fn is_alive(store: &RedisStore, bucket: &Bucket) -> bool {
    matches!(store.load(&bucket.id).await.unwrap(), Some(Entry::Bucket(_)))
}

pub(crate) async fn has_ended(store: &RedisStore, bucket: &Bucket) -> bool {
    matches!(store.load(&bucket.id).await.unwrap(), Some(Entry::Tombstone(_)))
}

/// Ends a session, again and again until it is acknowledged: a busy machine may take longer than the store waits.
pub(crate) async fn end(store: &RedisStore, bucket: &Bucket) {
    let start = Instant::now();
    while let Err(error) = store.remove(&bucket.id, Some(tombstone(bucket))).await {
        assert!(error.is_transient() && start.elapsed() < Duration::from_secs(60), "{error:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
