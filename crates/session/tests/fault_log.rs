//! Honest browsers before two hosts, while the store is killed, hangs, has no room or fails over: what it costs them.
//!
//! Each test prints a line of the fault log; `cargo xtask assure faults` prints all of them as a table.

#![allow(clippy::unwrap_used, clippy::panic, unreachable_pub, dead_code, reason = "a test fails by panicking")]

mod support;

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use secure_sessions::store::{
    AnyStore, Bucket, MemoryStore, Revision, SessionId, SessionStore, SqlOptions, StoreError, Tombstone,
};
use secure_sessions::{EtcdOptions, Event, Keyring, RedbStore, RedisOptions, SessionManager};
use services::{Cluster, Engine, EtcdCluster, Service, Setup, SmallDisk, or_skip};
use support::address::Address;
use support::{Head, set_cookie};

const BROWSERS: u64 = 8;
/// The time for one call of the store.
const TIMEOUT: Duration = Duration::from_secs(1);
/// The longest that anything is waited for, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(300);

/// The number of times that each thing happened to honest users.
#[derive(Default)]
struct Log {
    visits: AtomicU64,
    /// Answers of 503: the user tries again.
    failed: AtomicU64,
    logged_out: AtomicU64,
    lost_updates: AtomicU64,
    doubled_updates: AtomicU64,
    revived: AtomicU64,
    /// Events that accuse somebody.
    accusations: AtomicU64,
    unremembered: AtomicU64,
    outage: Mutex<(Option<Instant>, Duration)>,
}

impl Log {
    fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::SeqCst);
    }

    fn get(count: &AtomicU64) -> u64 {
        count.load(Ordering::SeqCst)
    }

    fn succeeded(&self) {
        Self::add(&self.visits);
        let mut outage = self.outage.lock().unwrap();
        let now = Instant::now();
        if let Some(last) = outage.0.replace(now) {
            outage.1 = outage.1.max(now - last);
        }
    }

    fn print(&self, engine: &str, fault: &str) {
        println!(
            "fault log: | {engine} | {fault} | {} | {} | {:.1} s | {} | {} | {} | {} | {} |",
            Self::get(&self.visits),
            Self::get(&self.failed),
            self.outage.lock().unwrap().1.as_secs_f64(),
            Self::get(&self.logged_out),
            Self::get(&self.lost_updates) + Self::get(&self.doubled_updates),
            Self::get(&self.revived),
            Self::get(&self.accusations),
            Self::get(&self.unremembered),
        );
    }

    fn assert_no_harm(&self) {
        let harm = [&self.logged_out, &self.lost_updates, &self.doubled_updates, &self.revived, &self.unremembered];
        assert_eq!(harm.map(Self::get), [0; 5], "logged out, lost, doubled, revived, unremembered");
        self.assert_nobody_accused();
    }

    fn assert_nobody_accused(&self) {
        assert_eq!(Self::get(&self.accusations), 0, "an honest user was taken for a thief");
    }
}

/// One user's browser.
struct Browser {
    user: String,
    cookie: Option<String>,
    /// The value that was acknowledged.
    sure: u64,
    /// The writes of unknown fate since.
    unsure: u64,
    last_succeeded: bool,
    ended: Vec<String>,
    visits: u64,
}

impl Browser {
    fn new(number: u64) -> Self {
        let user = format!("user-{number}");
        Self { user, cookie: None, sure: 0, unsure: 0, last_succeeded: false, ended: Vec::new(), visits: number }
    }

    fn forget(&mut self) {
        (self.cookie, self.sure, self.unsure, self.last_succeeded) = (None, 0, 0, false);
    }

    /// One request at one of the hosts. Returns `true` if it was answered.
    async fn visit(&mut self, hosts: &[SessionManager; 2], log: &Log) -> bool {
        self.visits += 1;
        let host = &hosts[usize::try_from(self.visits % 2).unwrap()];
        if self.visits.is_multiple_of(7)
            && let Some(ended) = self.ended.last()
        {
            let Ok(session) = host.begin().session(&Head::with(Some(ended))).await else { return false };
            if session.subject().is_some() {
                Log::add(&log.revived);
                self.ended.pop();
            }
            return true;
        }
        let request = host.begin();
        let Ok(session) = request.session(&Head::with(self.cookie.as_deref())).await else { return false };
        let logs_out = self.cookie.is_some() && self.visits.is_multiple_of(29);
        if self.cookie.is_none() {
            session.login(&self.user).unwrap();
            session.insert("n", 0_u64).unwrap();
        } else if session.subject().as_deref() != Some(&self.user) {
            Log::add(&log.logged_out);
            self.forget();
            return true;
        } else {
            self.compare(session.get("n").unwrap().unwrap_or_default(), log);
            if logs_out {
                session.logout().unwrap();
            } else {
                session.update("n", |n: &mut u64| *n += 1).unwrap();
            }
        }
        let reply = request.finish(200).await;
        let failed = reply.as_ref().is_some_and(|reply| reply.failure().is_some());
        match (failed, logs_out, self.cookie.is_some()) {
            // Nobody knows if it was done, so this browser begins anew.
            (true, true, _) => self.forget(),
            (true, false, true) => (self.unsure, self.last_succeeded) = (self.unsure + 1, false),
            (true, false, false) => {}
            (false, true, _) => {
                self.ended.extend(self.cookie.take());
                self.forget();
            }
            (false, false, was_logged_in) => {
                self.sure += u64::from(was_logged_in);
                self.last_succeeded = true;
                // Now and then the response is lost on its way, and the browser keeps its older cookie.
                if !was_logged_in || !self.visits.is_multiple_of(11) {
                    self.cookie = set_cookie(reply.as_ref()).or(self.cookie.take());
                }
            }
        }
        !failed
    }

    fn compare(&mut self, found: u64, log: &Log) {
        if found < self.sure {
            Log::add(&log.lost_updates);
            (self.sure, self.unsure) = (found, 0);
            return;
        }
        let more = found - self.sure;
        if more > self.unsure {
            Log::add(&log.doubled_updates);
        }
        self.unsure = self.unsure.saturating_sub(more);
        self.sure = found;
        if self.last_succeeded {
            // An update that was under way before an acknowledged write can no longer be carried out.
            self.unsure = 0;
        }
    }
}

/// Browsers at work.
struct Traffic {
    log: Arc<Log>,
    stop: Arc<AtomicBool>,
    hosts: [SessionManager; 2],
    browsers: Vec<tokio::task::JoinHandle<Browser>>,
}

impl Traffic {
    fn start(stores: [AnyStore; 2]) -> Self {
        let (log, stop) = (Arc::new(Log::default()), Arc::new(AtomicBool::new(false)));
        let keyring = Keyring::generate().unwrap();
        let hosts = stores.map(|store| {
            let log = Arc::clone(&log);
            let observer = move |event: &Event| match event.name() {
                "replayed" | "forged" | "store_tampered" => Log::add(&log.accusations),
                "unremembered" => Log::add(&log.unremembered),
                _ => {}
            };
            SessionManager::builder(keyring.clone(), store).insecure_dev().observer(observer).build().unwrap()
        });
        let browsers = (0..BROWSERS).map(|number| {
            let (hosts, log, stop) = (hosts.clone(), Arc::clone(&log), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut browser = Browser::new(number);
                while !stop.load(Ordering::SeqCst) {
                    if browser.visit(&hosts, &log).await {
                        log.succeeded();
                    } else {
                        Log::add(&log.failed);
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                browser
            })
        });
        let browsers = browsers.collect();
        Self { log, stop, hosts, browsers }
    }

    /// Waits until so many more requests were answered.
    async fn more(&self, visits: u64) {
        let (start, since) = (Log::get(&self.log.visits), Instant::now());
        while Log::get(&self.log.visits) < start + visits {
            assert!(since.elapsed() < PATIENCE, "the application does not go on");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until a request fails.
    async fn until_one_fails(&self) {
        let since = Instant::now();
        while Log::get(&self.log.failed) == 0 {
            assert!(since.elapsed() < PATIENCE, "the fault harms nobody");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Ends the visits, looks at every session once more, and prints the line.
    async fn end(self, engine: &str, fault: &str) -> Arc<Log> {
        self.stop.store(true, Ordering::SeqCst);
        for browser in self.browsers {
            let mut browser = browser.await.unwrap();
            let deadline = Instant::now() + PATIENCE;
            let mut looks = 0;
            while looks < 8 {
                assert!(Instant::now() < deadline, "the store does not answer");
                looks += u64::from(browser.visit(&self.hosts, &self.log).await);
            }
        }
        self.log.print(engine, fault);
        self.log
    }
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(future);
}

/// Something that waits, off the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

/// The server, unless the machine does not have it.
fn server(setup: Setup) -> Option<Arc<Service>> {
    or_skip(setup.start()).map(Arc::new)
}

async fn sql(url: &str) -> [AnyStore; 2] {
    let open = || async { AnyStore::new(SqlOptions::new().timeout(TIMEOUT).connect(url).await.unwrap()) };
    [open().await, open().await]
}

async fn redis(url: &str) -> [AnyStore; 2] {
    let open = || async { AnyStore::new(RedisOptions::new().timeout(TIMEOUT).connect(url).await.unwrap()) };
    [open().await, open().await]
}

async fn stores(engine: Engine, url: &str) -> [AnyStore; 2] {
    if matches!(engine, Engine::Redis) { redis(url).await } else { sql(url).await }
}

fn killed(engine: Engine, name: &str) {
    let Some(service) = server(Setup::new(engine)) else { return };
    block_on(async {
        let traffic = Traffic::start(stores(engine, service.url()).await);
        for _ in 0..3 {
            traffic.more(300).await;
            let service = Arc::clone(&service);
            blocking(move || {
                service.kill().unwrap();
                service.restart().unwrap();
            })
            .await;
        }
        traffic.more(300).await;
        traffic.end(name, "killed three times").await.assert_no_harm();
    });
}

fn paused(engine: Engine, name: &str) {
    let Some(service) = server(Setup::new(engine)) else { return };
    block_on(async {
        let traffic = Traffic::start(stores(engine, service.url()).await);
        traffic.more(300).await;
        service.pause().unwrap();
        tokio::time::sleep(Duration::from_secs(3)).await;
        service.resume().unwrap();
        traffic.more(300).await;
        traffic.end(name, "hangs for three seconds").await.assert_no_harm();
    });
}

async fn with_a_full_disk(name: &str, disk: &SmallDisk, stores: [AnyStore; 2]) {
    let traffic = Traffic::start(stores);
    traffic.more(300).await;
    disk.fill();
    traffic.until_one_fails().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    disk.free();
    traffic.more(300).await;
    traffic.end(name, "disk full for a second").await.assert_no_harm();
}

#[test]
fn honest_users_of_a_killed_postgres_are_not_harmed() {
    killed(Engine::Postgres, "PostgreSQL");
}

#[test]
fn honest_users_of_a_killed_mariadb_are_not_harmed() {
    killed(Engine::MariaDb, "MariaDB");
}

#[test]
fn honest_users_of_a_killed_redis_that_appends_are_not_harmed() {
    killed(Engine::Redis, "Redis, appendonly");
}

#[test]
fn honest_users_of_a_postgres_that_hangs_are_not_harmed() {
    paused(Engine::Postgres, "PostgreSQL");
}

#[test]
fn honest_users_of_a_mariadb_that_hangs_are_not_harmed() {
    paused(Engine::MariaDb, "MariaDB");
}

#[test]
fn honest_users_of_a_redis_that_hangs_are_not_harmed() {
    paused(Engine::Redis, "Redis, appendonly");
}

#[test]
fn honest_users_of_a_sqlite_on_a_full_disk_are_not_harmed() {
    let Some(disk) = SmallDisk::mount(6) else { return };
    let url = format!("sqlite:{}", disk.path().join("sessions.db").display());
    block_on(async { with_a_full_disk("SQLite", &disk, sql(&url).await).await });
}

#[test]
fn honest_users_of_a_postgres_on_a_full_disk_are_not_harmed() {
    let Some(disk) = SmallDisk::mount(220) else { return };
    let small = ["-c", "min_wal_size=32MB", "-c", "max_wal_size=32MB"];
    let Some(service) = server(Setup::new(Engine::Postgres).within(disk.path()).arguments(small)) else { return };
    block_on(async { with_a_full_disk("PostgreSQL", &disk, sql(service.url()).await).await });
}

#[test]
fn honest_users_of_a_mariadb_on_a_full_disk_are_not_harmed() {
    let Some(disk) = SmallDisk::mount(200) else { return };
    // As on a primary. Without room for its binary log, a commit waits, and looks for room once a minute.
    let small = ["--innodb-log-file-size=8M", "--innodb-data-file-path=ibdata1:12M:autoextend", "--log-bin=binary"];
    let Some(service) = server(Setup::new(Engine::MariaDb).within(disk.path()).arguments(small)) else { return };
    block_on(async { with_a_full_disk("MariaDB", &disk, sql(service.url()).await).await });
}

#[test]
fn honest_users_of_a_redb_on_a_full_disk_are_not_harmed() {
    let Some(disk) = SmallDisk::mount(6) else { return };
    block_on(async {
        // One process has the file open, so both hosts are in it.
        let store = AnyStore::new(RedbStore::open(disk.path().join("sessions.redb")).await.unwrap());
        with_a_full_disk("redb", &disk, [store.clone(), store]).await;
    });
}

#[test]
fn honest_users_of_an_etcd_whose_leader_is_killed_are_not_harmed() {
    let Some(cluster) = or_skip(EtcdCluster::start()) else { return };
    block_on(async {
        let urls = cluster.urls();
        let open = || async { AnyStore::new(EtcdOptions::new().timeout(TIMEOUT).connect(&urls).await.unwrap()) };
        let traffic = Traffic::start([open().await, open().await]);
        for _ in 0..3 {
            traffic.more(300).await;
            let leader = &cluster.nodes()[cluster.leader().unwrap()];
            leader.kill().unwrap();
            // The others go on without it, and it comes back to them.
            traffic.more(300).await;
            tokio::task::block_in_place(|| leader.restart().unwrap());
        }
        traffic.more(300).await;
        traffic.end("etcd, three nodes", "leader killed three times").await.assert_no_harm();
    });
}

/// Replication is asynchronous: the last writes may be lost, and with them a logout. Nobody is accused for it.
#[test]
fn a_redis_that_fails_over_accuses_no_honest_user() {
    let Some(primary) = server(Setup::new(Engine::Redis)) else { return };
    let replica = Service::redis_replica_of(&primary).unwrap();
    block_on(async {
        let address = Address::of(&primary).await;
        let traffic = Traffic::start(redis(&format!("redis://127.0.0.1:{}/", address.port)).await);
        traffic.more(600).await;
        primary.kill().unwrap();
        replica.redis_call(&["REPLICAOF", "NO", "ONE"]).unwrap();
        address.leads_to(&replica);
        traffic.more(600).await;
        traffic.end("Redis, one replica", "primary killed, replica takes over").await.assert_nobody_accused();
    });
}

/// Waits until a replica has taken over.
async fn until_it_leads(replica: &Service) {
    let since = Instant::now();
    while !replica.redis_call(&["ROLE"]).unwrap().starts_with("master") {
        assert!(since.elapsed() < PATIENCE, "no replica takes over");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn a_redis_behind_sentinels_that_fails_over_accuses_no_honest_user() {
    let Some(primary) = server(Setup::new(Engine::Redis)) else { return };
    primary.redis_call(&["CONFIG", "SET", "repl-diskless-sync-delay", "0"]).unwrap();
    let replica = Service::redis_replica_of(&primary).unwrap();
    let sentinel = Service::redis_sentinel("shop", primary.port()).unwrap();
    let since = Instant::now();
    while sentinel.redis_call(&["SENTINEL", "REPLICAS", "shop"]).unwrap().is_empty() {
        assert!(since.elapsed() < PATIENCE, "the sentinel sees no replica");
        std::thread::sleep(Duration::from_millis(10));
    }
    block_on(async {
        let url = format!("redis+sentinel://127.0.0.1:{}/shop", sentinel.port());
        let traffic = Traffic::start(redis(&url).await);
        traffic.more(600).await;
        primary.kill().unwrap();
        until_it_leads(&replica).await;
        traffic.more(600).await;
        traffic
            .end("Redis, one replica", "primary killed, sentinel promotes the replica")
            .await
            .assert_nobody_accused();
    });
}

#[test]
fn a_redis_cluster_that_loses_a_primary_accuses_no_honest_user() {
    let Some(cluster) = or_skip(Cluster::start_with_replicas()) else { return };
    for server in cluster.nodes().iter().chain(cluster.replicas()) {
        server.redis_call(&["CONFIG", "SET", "cluster-node-timeout", "1000"]).unwrap();
    }
    block_on(async {
        let urls = cluster.urls();
        let options = || RedisOptions::new().timeout(TIMEOUT);
        let open = || async { AnyStore::new(options().connect_cluster(urls.split(',')).await.unwrap()) };
        let traffic = Traffic::start([open().await, open().await]);
        traffic.more(600).await;
        cluster.nodes()[1].kill().unwrap();
        traffic.until_one_fails().await;
        until_it_leads(&cluster.replicas()[1]).await;
        traffic.more(600).await;
        let log = traffic.end("Redis cluster, a replica each", "a primary killed, its replica takes over").await;
        log.assert_nobody_accused();
    });
}

/// A store that acknowledges what it does not do.
#[derive(Clone)]
struct Forgetful {
    memory: MemoryStore,
    forgets_updates: bool,
    calls: Arc<AtomicU64>,
}

impl SessionStore for Forgetful {
    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        if self.forgets_updates && call % 50 == 49 {
            return Ok(true);
        }
        self.memory.replace(bucket, expected).await
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        if self.forgets_updates { self.memory.remove(id, tombstone).await } else { Ok(true) }
    }

    secure_sessions::store::forward_methods!(self => &self.memory;
        insert, load, renew_into, list, count, remove_all, purge_expired);
}

async fn over_a_forgetful_store(forgets_updates: bool) -> Arc<Log> {
    let store = AnyStore::new(Forgetful { memory: MemoryStore::new(), forgets_updates, calls: Arc::default() });
    let traffic = Traffic::start([store.clone(), store]);
    traffic.more(1_500).await;
    let planted = if forgets_updates { "forgets updates (planted)" } else { "forgets logouts (planted)" };
    traffic.end("a faulty store", planted).await
}

#[test]
fn the_fault_log_notices_a_store_that_forgets_acknowledged_logouts() {
    block_on(async {
        let log = over_a_forgetful_store(false).await;
        assert!(Log::get(&log.revived) > 0);
    });
}

#[test]
fn the_fault_log_notices_a_store_that_forgets_acknowledged_updates() {
    block_on(async {
        let log = over_a_forgetful_store(true).await;
        assert!(Log::get(&log.logged_out) > 0 && Log::get(&log.unremembered) > 0);
    });
}
