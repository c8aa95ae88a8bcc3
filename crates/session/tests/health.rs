//! The health check: what it finds out, that it is quick, and that it costs little.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, dead_code, reason = "a test fails by panicking")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use secure_sessions::store::{
    AnyStore, AnyVaultStore, Blob, Bucket, Entry, SessionId, SessionStore, SqlOptions, StoreError, Tombstone, VaultId,
    VaultStore,
};
use secure_sessions::{
    Clock, Health, Keyring, ManualClock, MemoryStore, Probe, RedisOptions, SessionManager, Timestamp,
};
use services::{Service, or_skip};
use support::{app, app_with};

/// The state that a store is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Up,
    Silent,
    Refusing,
    ReadOnly,
    Evicting,
    AnHourBehind,
}

#[derive(Clone)]
struct Store {
    memory: MemoryStore,
    state: State,
    clock: ManualClock,
    loads: Arc<AtomicU32>,
}

impl Store {
    async fn up(&self) -> Result<&MemoryStore, StoreError> {
        match self.state {
            State::Silent => std::future::pending().await,
            State::Refusing => Err(StoreError::unavailable("db-7.internal: connection refused")),
            _ => Ok(&self.memory),
        }
    }
}

impl SessionStore for Store {
    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        self.up().await?.load(id).await
    }

    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        if self.state == State::ReadOnly {
            return Err(StoreError::unavailable("cannot execute INSERT in a read-only transaction"));
        }
        self.up().await?.insert(bucket).await
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        Ok(self.up().await?.remove(id, tombstone).await? && self.state != State::Evicting)
    }

    async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        let now = self.clock.now().as_millis();
        Ok(Some(Timestamp::from_millis(if self.state == State::AnHourBehind { now - 3_600_000 } else { now })))
    }

    secure_sessions::store::forward_methods!(self => self.up().await?;
        replace, renew_into, list, count, remove_all, purge_expired);
}

fn with_store(state: State) -> (SessionManager, Store) {
    let clock = ManualClock::at_present();
    let store = Store { memory: MemoryStore::new(), state, clock: clock.clone(), loads: Arc::default() };
    let builder = SessionManager::builder(Keyring::generate().unwrap(), store.clone()).insecure_dev().clock(clock);
    (builder.build().unwrap(), store)
}

#[tokio::test(start_paused = true)]
async fn a_health_check_says_what_works_and_ends_in_two_seconds() {
    for (state, read, write, problem, ahead) in [
        (State::Up, true, true, "", Some(0)),
        (State::Silent, false, false, "no answer within 2s", None),
        (State::Refusing, false, false, "connection refused", None),
        (State::ReadOnly, true, false, "read-only transaction", Some(0)),
        (State::Evicting, true, false, "is this a replica", Some(0)),
        (State::AnHourBehind, true, true, "", Some(3_600_000)),
    ] {
        let (manager, store) = with_store(state);
        let start = tokio::time::Instant::now();
        let health = manager.health().await;
        assert!(start.elapsed() <= Duration::from_secs(2), "{state:?}: {:?}", start.elapsed());
        assert_eq!((health.read.has_passed(), health.write.has_passed()), (read, write), "{state:?}");
        assert_eq!((health.is_ready(), health.clock_ahead_ms), (read && write, ahead), "{state:?}");
        assert_eq!(health.status(), if read && write { 200 } else { 503 });
        let text = health.to_string();
        assert!(text.contains(problem), "{text}");
        assert!(!health.public_text().contains("db-7"), "strangers learn no server's name");
        assert_eq!(store.memory.count().await.unwrap(), 0, "{state:?}: nothing is left behind");
    }
}

/// A store of private values that keeps none.
struct KeepsNothing;

impl VaultStore for KeepsNothing {
    async fn put(&self, _: &VaultId, _: &[Blob], _: Timestamp) -> Result<(), StoreError> {
        Ok(())
    }

    secure_sessions::store::forward_vault_methods!(self => &MemoryStore::new(); get, delete, delete_all, prolong, purge);
}

#[tokio::test]
async fn a_health_check_asks_the_store_of_private_values_too() {
    for (vault, works) in [(AnyVaultStore::new(MemoryStore::new()), true), (AnyVaultStore::new(KeepsNothing), false)] {
        let app = app_with(|builder| builder.vault(vault));
        let health = app.manager.health().await;
        assert_eq!(health.vault.as_ref().map(Probe::has_passed), Some(works), "{health}");
        assert_eq!(health.is_ready(), works);
    }
    assert_eq!(app().manager.health().await.vault, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_host_whose_clock_is_behind_that_of_redis_finds_the_vault_in_order() {
    let Some(server) = or_skip(Service::redis()) else { return };
    let vault = RedisOptions::new().connect(server.url()).await.unwrap();
    let app = app_with(|builder| builder.vault(vault));
    app.clock.set_millis(app.clock.now().as_millis() - 600_000);
    let health = ready(&app.manager).await;
    assert_eq!(health.vault.as_ref().map(Probe::has_passed), Some(true), "{health}");
}

#[tokio::test(start_paused = true)]
async fn many_who_ask_at_once_or_soon_after_cost_the_store_one_check() {
    let (manager, store) = with_store(State::Up);
    let asking = (0..100).map(|_| {
        let manager = manager.clone();
        tokio::spawn(async move { manager.health().await.is_ready() })
    });
    for answer in asking.collect::<Vec<_>>() {
        assert!(answer.await.unwrap());
    }
    tokio::time::advance(Duration::from_millis(900)).await;
    manager.health().await;
    assert_eq!(store.loads.load(Ordering::SeqCst), 1);
    tokio::time::advance(Duration::from_millis(200)).await;
    manager.health().await;
    assert_eq!(store.loads.load(Ordering::SeqCst), 2, "a second later it looks again");
}

#[tokio::test]
async fn a_health_check_lists_keys_by_id_and_the_time_in_force() {
    let app = app();
    app.manager.set_not_before(app.clock.now()).await.unwrap();
    let health = app.manager.health().await;
    assert_eq!(health.keys, app.manager.keyring().states().collect::<Vec<_>>());
    assert_eq!(health.not_before, Some(app.clock.now()));
    let text = health.to_string();
    for (_, id, _) in &health.keys {
        assert!(text.contains(&id.to_string()), "{text}");
    }
    assert_eq!(app.event_names(), ["not_before"], "a check makes no session, so it is no event");
}

/// Far more than a store may take here, so that it is the health check that gives up.
const STORES_TIMEOUT: Duration = Duration::from_secs(60);
/// Far more than the two seconds that a health check takes at most: the machine may be busy.
const IN_TIME: Duration = Duration::from_secs(20);

/// Waits until the host is healthy: on a busy machine a good server can take longer than the two seconds of one check.
async fn ready(manager: &SessionManager) -> Health {
    let start = Instant::now();
    loop {
        let health = manager.health().await;
        if health.is_ready() {
            return health;
        }
        assert!(start.elapsed() < STORES_TIMEOUT, "the server works, and the host does not see it: {health}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Kills the server, finds the host unhealthy within the bound, and healthy when the server is back.
async fn a_killed_and_restarted(service: &Service, store: AnyStore) {
    let manager = SessionManager::builder(Keyring::generate().unwrap(), store).build().unwrap();
    let health = ready(&manager).await;
    let ahead = health.clock_ahead_ms.unwrap();
    assert!(ahead.abs() < 30_000, "one machine has one clock: {ahead} ms");
    service.kill().unwrap();
    tokio::time::sleep(Duration::from_millis(1_100)).await; // The last answer serves for a second.
    let start = Instant::now();
    let health = manager.health().await;
    assert!(start.elapsed() < IN_TIME, "{:?}", start.elapsed());
    assert!(matches!(health.read, Probe::Failed { .. }) && health.write == Probe::Skipped, "{health}");
    service.restart().unwrap();
    ready(&manager).await;
}

#[tokio::test]
async fn a_killed_postgres_is_unhealthy_in_time_and_healthy_when_it_is_back() {
    let Some(service) = or_skip(Service::postgres()) else { return };
    let store = SqlOptions::new().timeout(STORES_TIMEOUT).connect(service.url()).await.unwrap();
    a_killed_and_restarted(&service, AnyStore::new(store)).await;
}

#[tokio::test]
async fn a_killed_mariadb_is_unhealthy_in_time_and_healthy_when_it_is_back() {
    let Some(service) = or_skip(Service::mariadb()) else { return };
    let store = SqlOptions::new().timeout(STORES_TIMEOUT).connect(service.url()).await.unwrap();
    a_killed_and_restarted(&service, AnyStore::new(store)).await;
}

#[tokio::test]
async fn a_killed_redis_is_unhealthy_in_time_and_healthy_when_it_is_back() {
    let Some(service) = or_skip(Service::redis()) else { return };
    let store = RedisOptions::new().timeout(STORES_TIMEOUT).connect(service.url()).await.unwrap();
    a_killed_and_restarted(&service, AnyStore::new(store)).await;
}

#[tokio::test]
async fn a_paused_postgres_is_unhealthy_in_time_and_healthy_when_it_goes_on() {
    let Some(service) = or_skip(Service::postgres()) else { return };
    let store = SqlOptions::new().timeout(STORES_TIMEOUT).connect(service.url()).await.unwrap();
    let manager = SessionManager::builder(Keyring::generate().unwrap(), store).build().unwrap();
    service.pause().unwrap();
    let start = Instant::now();
    let health = manager.health().await;
    assert!(!health.is_ready() && start.elapsed() < IN_TIME, "{health} {:?}", start.elapsed());
    service.resume().unwrap();
    ready(&manager).await;
}
