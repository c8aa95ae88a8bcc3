//! A table for each test, and a way to the server beside the store.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use secure_sessions_store::sqlx::{self, Connection, MySqlConnection, PgConnection, Row};
use secure_sessions_store::{
    Bucket, Entry, Millis, SessionId, SessionStore, SqlOptions, SqlStore, StoreError, Timestamp, Tombstone, VaultStore,
};
use services::{Engine, Service, Setup, Shared, or_skip};

use crate::common;

pub(crate) const NOW: u64 = 1_800_000_000_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Postgres,
    MySql,
}

impl Kind {
    pub(crate) fn shared(self) -> Shared {
        match self {
            Self::Postgres => Shared::Postgres,
            Self::MySql => Shared::MySql,
        }
    }

    fn engine(self) -> Engine {
        match self {
            Self::Postgres => Engine::Postgres,
            Self::MySql => Engine::MariaDb,
        }
    }

    /// A server of the test's own, to be broken. None, and said so, where the machine does not have it.
    pub(crate) fn service(self, setup: impl FnOnce(Setup) -> Setup) -> Option<Service> {
        or_skip(setup(Setup::new(self.engine())).start())
    }

    /// The text for one or the other.
    pub(crate) fn pick(self, postgres: &str, mysql: &str) -> String {
        match self {
            Self::Postgres => postgres.to_owned(),
            Self::MySql => mysql.to_owned(),
        }
    }
}

/// A table that is dropped at the end.
pub(crate) struct Database {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) table: String,
}

impl Database {
    /// On the server that all tests share; `None` where there is none.
    pub(crate) fn new(kind: Kind) -> Option<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let table = format!("t{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        Some(Self { kind, url: kind.shared().url()?, table })
    }

    /// With more connections than the races have contenders, and with patience: what is tested is who wins, and the
    /// machine may be busy.
    pub(crate) fn options(&self) -> SqlOptions {
        SqlOptions::new().table(&self.table).max_connections(24).timeout(Duration::from_secs(100))
    }

    pub(crate) async fn open(&self) -> SqlStore {
        self.options().connect(&self.url).await.unwrap()
    }

    /// The server's host and port.
    pub(crate) fn place(&self) -> String {
        self.url.split_once('@').unwrap().1.split('/').next().unwrap().to_owned()
    }

    pub(crate) async fn admin(&self) -> Admin {
        Admin::connect(self.kind, &self.url).await.unwrap()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (kind, url, table) = (self.kind, self.url.clone(), self.table.clone());
        // A runtime of its own: this may run on one that is being shut down.
        let done = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                if let Ok(mut admin) = Admin::connect(kind, &url).await {
                    admin
                        .run(&format!(
                            "DROP TABLE IF EXISTS {table}, {table}_vault, {table}_not_before, {table}_migrations"
                        ))
                        .await;
                }
            });
        });
        let _ = done.join();
    }
}

/// Begins a script for PostgreSQL, which is one transaction, that changes rights on the schema that all tests share: of two
/// such changes at once PostgreSQL refuses one ("tuple concurrently updated").
pub(crate) const ALONE: &str = "SELECT pg_advisory_xact_lock(7)";

/// A connection beside the store's.
pub(crate) enum Admin {
    Postgres(PgConnection),
    MySql(MySqlConnection),
}

impl Admin {
    pub(crate) async fn connect(kind: Kind, url: &str) -> Result<Self, sqlx::Error> {
        Ok(match kind {
            Kind::Postgres => Self::Postgres(PgConnection::connect(url).await?),
            Kind::MySql => Self::MySql(MySqlConnection::connect(url).await?),
        })
    }

    pub(crate) async fn run(&mut self, script: &str) {
        self.try_run(script).await.unwrap();
    }

    pub(crate) async fn try_run(&mut self, script: &str) -> Result<(), sqlx::Error> {
        let script = sqlx::raw_sql(sqlx::AssertSqlSafe(script.to_owned()));
        match self {
            Self::Postgres(connection) => script.execute(connection).await.map(|_| ()),
            Self::MySql(connection) => script.execute(connection).await.map(|_| ()),
        }
    }

    /// The first column, of numbers.
    pub(crate) async fn numbers(&mut self, query: &str) -> Vec<i64> {
        let query = sqlx::AssertSqlSafe(query.to_owned());
        match self {
            Self::Postgres(connection) => {
                let rows = sqlx::query(query).fetch_all(connection).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
            Self::MySql(connection) => {
                let rows = sqlx::query(query).fetch_all(connection).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
        }
    }

    /// All columns of all rows, as text; nothing for a null.
    pub(crate) async fn texts(&mut self, query: &str) -> Vec<Vec<String>> {
        let query = sqlx::AssertSqlSafe(query.to_owned());
        match self {
            Self::Postgres(connection) => {
                let rows = sqlx::raw_sql(query).fetch_all(connection).await.unwrap();
                let text =
                    |row: &sqlx::postgres::PgRow, at| row.get_unchecked::<Option<String>, _>(at).unwrap_or_default();
                rows.iter().map(|row| (0..row.len()).map(|at| text(row, at)).collect()).collect()
            }
            Self::MySql(connection) => {
                let rows = sqlx::raw_sql(query).fetch_all(connection).await.unwrap();
                let text =
                    |row: &sqlx::mysql::MySqlRow, at| row.get_unchecked::<Option<String>, _>(at).unwrap_or_default();
                rows.iter().map(|row| (0..row.len()).map(|at| text(row, at)).collect()).collect()
            }
        }
    }

    /// Its own number at the server.
    pub(crate) async fn id(&mut self, kind: Kind) -> i64 {
        self.numbers(&kind.pick("SELECT pg_backend_pid()::bigint", "SELECT CAST(CONNECTION_ID() AS SIGNED)")).await[0]
    }
}

/// Runs a case for one kind of server, where there is one.
pub(crate) fn run<F: Future<Output = ()>>(kind: Kind, case: impl FnOnce(Database) -> F) {
    let Some(database) = Database::new(kind) else { return };
    block_on(case(database));
}

pub(crate) fn block_on(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(240), future).await }).unwrap();
}

pub(crate) fn session(id: u8) -> Bucket {
    let (idle_timeout, handoff) = (Some(Millis::from_secs(1800)), Some(vec![7; 700]));
    Bucket { idle_timeout, handoff, ..common::session([id; 16], Timestamp::from_millis(NOW)) }
}

/// A session of its own for every number.
pub(crate) fn numbered(number: u64) -> Bucket {
    let mut id = [0xee; 16];
    id[..8].copy_from_slice(&number.to_be_bytes());
    Bucket { id: SessionId::from_bytes(id), ..session(1) }
}

pub(crate) fn tombstone(id: SessionId) -> Tombstone {
    let at = Timestamp::from_millis(NOW);
    Tombstone { id, ended_at: at, expires_at: at.after(Millis::from_secs(60)), successor: None }
}

pub(crate) fn is_same(one: &Bucket, other: &Bucket) -> bool {
    one.to_record() == other.to_record()
}

/// Asserts that exactly this session is there.
pub(crate) async fn expect(store: &SqlStore, bucket: &Bucket) {
    let found = store.load(&bucket.id).await.unwrap();
    assert!(matches!(&found, Some(Entry::Bucket(found)) if is_same(found, bucket)), "{found:?} is not {bucket:?}");
}

/// The error and all that is under it, as anybody could log it.
pub(crate) fn all_of(error: &StoreError) -> String {
    let causes = std::iter::successors(std::error::Error::source(error), |error| error.source());
    causes.fold(format!("{error:?} {error}"), |text, cause| format!("{text} {cause:?} {cause}"))
}

/// Asserts that it is an error which passes, and came in time.
#[track_caller]
pub(crate) fn assert_transient<T: std::fmt::Debug>(outcome: Result<T, StoreError>, since: Instant, within: Duration) {
    let took = since.elapsed();
    assert!(matches!(&outcome, Err(error) if error.is_transient()), "{outcome:?}");
    assert!(took < within, "{took:?}");
}

/// A store that keeps its table until it is gone itself.
pub(crate) struct OnTable(SqlStore, Arc<Database>);

impl OnTable {
    pub(crate) async fn new(kind: Kind) -> Self {
        let database = Database::new(kind).unwrap();
        Self(database.open().await, Arc::new(database))
    }
}

impl Drop for OnTable {
    fn drop(&mut self) {
        // The pool first: a connection may still be busy with the table that is to be dropped.
        let store = self.0.clone();
        let kept = Arc::clone(&self.1);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                store.close().await;
                drop(kept);
            });
        }
    }
}

impl SessionStore for OnTable {
    secure_sessions_store::forward_methods!(self => &self.0;
        insert, load, replace, renew_into, remove, list, count, remove_all, purge_expired, not_before, raise_not_before);
}

impl VaultStore for OnTable {
    secure_sessions_store::forward_vault_methods!(self => &self.0; put, get, delete, delete_all, prolong, purge);
}
