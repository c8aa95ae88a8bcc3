//! A server that dies, hangs, cuts connections, forbids writing or is full, and comes back. The store is never reopened.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use secure_sessions_store::{SessionStore, SqlOptions, SqlStore, StoreError, Which};
use services::{Service, SmallDisk};

use crate::common::next;
use crate::load::Load;
use crate::support::{Admin, Kind, assert_transient, block_on, expect, numbered, session};

macro_rules! on_every_server {
    ($($case:ident)*) => {
        mod on_postgres {
            use super::*;

            $(#[test] fn $case() { with_server(Kind::Postgres, super::$case); })*
        }

        mod on_mysql {
            use super::*;

            $(#[test] fn $case() { with_server(Kind::MySql, super::$case); })*
        }
    };
}

on_every_server! {
    a_killed_server_loses_no_acknowledged_write_and_the_store_goes_on
    cut_connections_lose_no_acknowledged_write_and_the_store_goes_on
    a_hung_server_makes_every_call_fail_in_time_and_the_store_goes_on
    a_read_only_server_is_read_and_refuses_writes_until_it_is_back
    a_full_disk_loses_no_acknowledged_write_and_the_store_then_recovers
}

/// A server for the faults of one process, which take turns.
struct Broken {
    kind: Kind,
    service: MutexGuard<'static, Option<Arc<Service>>>,
}

impl Broken {
    fn service(&self) -> &Arc<Service> {
        self.service.as_ref().unwrap()
    }

    async fn admin(&self) -> Admin {
        Admin::connect(self.kind, self.service().url()).await.unwrap()
    }

    fn options(&self, table: &str) -> SqlOptions {
        SqlOptions::new().table(table).timeout(Duration::from_secs(2))
    }

    async fn open(&self, table: &str) -> SqlStore {
        self.options(table).connect(self.service().url()).await.unwrap()
    }

    /// Opens a store that waits for longer than any call takes on a busy machine.
    async fn open_patiently(&self, table: &str) -> SqlStore {
        self.options(table).timeout(Duration::from_secs(100)).connect(self.service().url()).await.unwrap()
    }
}

fn with_server<F: Future<Output = ()>>(kind: Kind, case: impl FnOnce(Broken) -> F) {
    static SERVERS: [OnceLock<Mutex<Option<Arc<Service>>>>; 2] = [const { OnceLock::new() }; 2];
    let server = SERVERS[kind as usize].get_or_init(|| Mutex::new(kind.service(|setup| setup).map(Arc::new)));
    let service = server.lock().unwrap_or_else(PoisonError::into_inner);
    if service.is_some() {
        block_on(case(Broken { kind, service }));
    }
}

/// Something that waits, off the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

async fn a_killed_server_loses_no_acknowledged_write_and_the_store_goes_on(server: Broken) {
    let store = server.open("killed").await;
    let load = Load::start(&store, 6);
    for _ in 0..3 {
        load.more(100).await;
        let service = Arc::clone(server.service());
        blocking(move || {
            service.kill().unwrap();
            service.restart().unwrap();
        })
        .await;
    }
    load.more(100).await;
    let (acknowledged, failed) = load.check(&store).await;
    assert!(acknowledged >= 400 && failed > 0, "{acknowledged} {failed}");
    eprintln!("{acknowledged} acknowledged writes, {failed} failed, none lost");
}

async fn cut_connections_lose_no_acknowledged_write_and_the_store_goes_on(server: Broken) {
    let store = server.open("cut").await;
    let mut admin = server.admin().await;
    let own = admin.id(server.kind).await;
    let load = Load::start(&store, 6);
    for _ in 0..8 {
        load.more(60).await;
        match server.kind {
            Kind::Postgres => {
                let cut =
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'client backend'";
                admin.run(&format!("{cut} AND pid <> {own}")).await;
            }
            Kind::MySql => {
                let others = "SELECT CAST(id AS SIGNED) FROM information_schema.processlist WHERE user = 'root'";
                for id in admin.numbers(&format!("{others} AND id <> {own}")).await {
                    // It may be gone by itself.
                    let _ = admin.try_run(&format!("KILL {id}")).await;
                }
            }
        }
    }
    load.more(60).await;
    let (acknowledged, failed) = load.check(&store).await;
    assert!(failed > 0, "{failed}");
    eprintln!("{acknowledged} acknowledged writes, {failed} failed, none lost");
}

async fn a_hung_server_makes_every_call_fail_in_time_and_the_store_goes_on(server: Broken) {
    let patient = server.open_patiently("hung").await;
    for number in 0..10 {
        patient.insert(&numbered(number)).await.unwrap();
    }
    let hasty = || server.options("hung").timeout(Duration::from_secs(1)).max_connections(4);
    let store = at_last(async || hasty().connect(server.service().url()).await).await;
    // It has a connection that works.
    at_last(async || store.load(&numbered(0).id).await).await;
    server.service().pause().unwrap();
    for _ in 0..2 {
        // More calls than connections, again and again.
        let since = Instant::now();
        let outcomes = join_all((0..10).map(async |number| store.load(&numbered(number).id).await));
        for outcome in outcomes.await {
            assert_transient(outcome, since, Duration::from_secs(30));
        }
        let since = Instant::now();
        let session = numbered(1);
        assert_transient(store.replace(&next(&session), session.revision).await, since, Duration::from_secs(30));
        assert_transient(store.remove_all(Which::Everything, None).await, since, Duration::from_secs(60));
    }
    server.service().resume().unwrap();
    // A write that was sent meanwhile may have been carried out; a write that comes now is.
    let fresh = numbered(77);
    at_last(async || match store.insert(&fresh).await {
        // A try that was given up has been carried out.
        Err(StoreError::Duplicate) => Ok(()),
        outcome => outcome,
    })
    .await;
    expect(&patient, &fresh).await;
}

/// Calls again and again until there is no error: a busy machine may take longer than a hasty store waits.
async fn at_last<T>(mut call: impl AsyncFnMut() -> Result<T, StoreError>) -> T {
    let since = Instant::now();
    loop {
        match call().await {
            Ok(answer) => return answer,
            Err(error) => assert!(error.is_transient() && since.elapsed() < Duration::from_secs(60), "{error:?}"),
        }
    }
}

async fn a_read_only_server_is_read_and_refuses_writes_until_it_is_back(server: Broken) {
    let mut admin = server.admin().await;
    let mut url = server.service().url().to_owned();
    if server.kind == Kind::MySql {
        // A server that is read-only for others is not so for root.
        admin.run("CREATE OR REPLACE USER app@'127.0.0.1'; GRANT ALL ON sessions.* TO app@'127.0.0.1'").await;
        url = url.replace("root@", "app@");
    }
    let store = server.options("readonly").timeout(Duration::from_secs(30)).connect(&url).await.unwrap();
    store.insert(&session(1)).await.unwrap();
    let set = |on: bool| {
        server.kind.pick(
            &format!("ALTER SYSTEM SET default_transaction_read_only = {on}"),
            &format!("SET GLOBAL read_only = {on}"),
        )
    };
    let reload = server.kind.pick("SELECT pg_reload_conf()", "DO 0");
    admin.run(&set(true)).await;
    admin.run(&reload).await;
    let changed = next(&session(1));
    let since = Instant::now();
    loop {
        // The server takes a moment to hear of it.
        match store.replace(&session(1), session(1).revision).await {
            Ok(_) => assert!(since.elapsed() < Duration::from_secs(60), "it is still written to"),
            Err(error) => break assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}"),
        }
    }
    assert!(store.insert(&session(2)).await.is_err_and(|error| error.is_transient()));
    assert!(store.remove(&session(1).id, None).await.is_err_and(|error| error.is_transient()));
    expect(&store, &session(1)).await;
    if server.kind == Kind::Postgres {
        admin.run("SET default_transaction_read_only = off").await;
    }
    admin.run(&set(false)).await;
    admin.run(&reload).await;
    let since = Instant::now();
    while let Err(error) = store.replace(&changed, session(1).revision).await {
        assert!(error.is_transient() && since.elapsed() < Duration::from_secs(60), "{error:?}");
    }
    expect(&store, &changed).await;
}

async fn a_full_disk_loses_no_acknowledged_write_and_the_store_then_recovers(server: Broken) {
    let kind = server.kind;
    let Some(disk) = SmallDisk::mount(220) else { return };
    let parent = disk.path().to_owned();
    let service = blocking(move || {
        kind.service(|setup| {
            let setup = setup.within(parent);
            match kind {
                // Small logs, that are used up soon.
                Kind::Postgres => setup.arguments(["-c", "min_wal_size=32MB", "-c", "max_wal_size=32MB"]),
                Kind::MySql => setup.arguments(["--innodb-log-file-size=8M", "--innodb-fast-shutdown=0"]),
            }
        })
    })
    .await;
    let Some(service) = service.map(Arc::new) else { return };
    let store = server.options("full_disk").connect(service.url()).await.unwrap();
    let load = Load::start(&store, 4);
    load.more(100).await;
    disk.fill();
    // Until something fails, or for a while: the server has room in its files.
    let since = Instant::now();
    let big = |number: u64| secure_sessions_store::Bucket { handoff: Some(vec![9; 60_000]), ..numbered(number) };
    let mut number = 1 << 60;
    let failure = loop {
        number += 1;
        match store.insert(&big(number)).await {
            Ok(()) => assert!(since.elapsed() < Duration::from_secs(90), "{number}"),
            Err(error) => break error,
        }
    };
    assert!(failure.is_transient(), "{failure:?}");
    tokio::time::sleep(Duration::from_millis(500)).await;
    disk.free();
    // Without help: a PostgreSQL that had no room for its log starts itself again. An InnoDB that had none for its own may
    // have ended, and is started by somebody else.
    let patience = Duration::from_secs(15);
    if kind == Kind::MySql && tokio::time::timeout(patience, load.more(100)).await.is_err() {
        let ended = Arc::clone(&service);
        blocking(move || ended.restart()).await.unwrap();
    }
    load.more(100).await;
    for kept in (1 << 60) + 1..number {
        expect(&store, &big(kept)).await;
    }
    let (acknowledged, failed) = load.check(&store).await;
    eprintln!("{acknowledged} acknowledged writes, {failed} failed, none lost; the first failure: {failure:?}");
    store.close().await;
    drop(service);
}
