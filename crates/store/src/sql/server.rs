//! A database behind a connection, which can break, hang, or be left in the middle of a statement.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::pool::PoolOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Database, Error, Pool, SqlSafeStr, SqlStr};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, sleep, timeout_at};

use super::dialect::{Dialect, Row, Spelling, Transaction, Tuning, Value};
use super::error::{Failure, Meaning, from_driver};
use super::kept::{Care, Held, Kept, Trust};
use crate::StoreError;

/// The idle time after which a connection is checked before its use. After a restart of the server none works.
const ASK_AFTER: Duration = Duration::from_secs(1);
/// The longest wait for the answer; then another connection is opened.
const LONGEST_ASK: Duration = Duration::from_secs(1);
/// The pause before a server that is starting up is asked again; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(20);

type ConnectionOf<E> = <<E as Engine>::Database as Database>::Connection;
type OptionsOf<E> = <ConnectionOf<E> as Connection>::Options;
type RowOf<E> = <<E as Engine>::Database as Database>::Row;

/// The differences between kinds of servers.
pub(super) trait Engine: Sized + Send + Sync + 'static {
    type Database: Database<Row: Row>;

    const SPELLING: Spelling;
    const MIGRATIONS: &'static [&'static str];
    /// See [`Dialect::TUNING`].
    const TUNING: &'static [Tuning] = &[];
    /// See [`Dialect::TAKES_TABLES_BACK`].
    const TAKES_TABLES_BACK: bool;
    /// A script that begins a transaction in which every statement sees what is committed at its own beginning.
    const BEGIN: &'static str;
    const COMMIT: &'static str;
    const ROLL_BACK: &'static str;
    /// Set to `false` if no pooler changes the server's connection with each transaction.
    const MAY_BE_SHARED: bool;

    /// Sets up a new connection of the store's own; with `is_shared`, one that leads through a pooler that changes the server's
    /// connection with each transaction.
    fn prepare(
        connection: &mut ConnectionOf<Self>,
        timeout: Duration,
        is_shared: bool,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// Finds out if a pooler gives two connections the same one of the server in turns, given two that are not set up.
    fn is_shared(
        one: &mut ConnectionOf<Self>,
        other: &mut ConnectionOf<Self>,
    ) -> impl Future<Output = Result<bool, Error>> + Send;

    /// Returns the meaning of an error that the server reports.
    fn meaning(error: &(dyn DatabaseError + 'static)) -> Meaning;

    fn execute(
        connection: &mut ConnectionOf<Self>,
        statement: SqlStr,
        values: &[Value<'_>],
        is_shared: bool,
    ) -> impl Future<Output = Result<u64, Error>> + Send;

    fn fetch(
        connection: &mut ConnectionOf<Self>,
        statement: SqlStr,
        values: &[Value<'_>],
        is_shared: bool,
    ) -> impl Future<Output = Result<Vec<RowOf<Self>>, Error>> + Send;

    /// Runs statements without parameters.
    fn run_script(
        connection: &mut ConnectionOf<Self>,
        script: SqlStr,
    ) -> impl Future<Output = Result<(), Error>> + Send;

    /// See [`Dialect::check`].
    fn check(lease: &mut Lease<Self>) -> impl Future<Output = Result<(), Failure>> + Send;

    /// See [`Dialect::begin_migrating`].
    fn begin_migrating(
        lease: Lease<Self>,
        table: &str,
    ) -> impl Future<Output = Result<ServerTransaction<Self>, Failure>> + Send;
}

/// A server, with a pool of connections to it.
pub(super) struct Server<E: Engine> {
    kept: Arc<Kept<E::Database>>,
    timeout: Duration,
    /// The options of connections of the store's own.
    own: Option<Arc<OptionsOf<E>>>,
    /// Set to `true` if a pooler changes the server's connection with each transaction.
    is_shared: Arc<AtomicBool>,
}

impl<E: Engine> Server<E> {
    /// Makes a server on a pool from [`settings`] or of the application. No statement, and no transaction, takes longer than
    /// the timeout, including the wait for a connection.
    pub(super) fn new(pool: Pool<E::Database>, is_own: bool, timeout: Duration) -> Self {
        let care = Care { ask: Some((ASK_AFTER, longest_ask(timeout))), closes: true };
        let own = is_own.then(|| pool.connect_options());
        let is_shared = Arc::new(AtomicBool::new(false));
        let kept = match own.clone() {
            Some(options) => {
                let shared = Arc::clone(&is_shared);
                let open = move |deadline| -> Pin<Box<dyn Future<Output = _> + Send>> {
                    let (options, is_shared) = (Arc::clone(&options), shared.load(Ordering::Relaxed));
                    Box::pin(async move {
                        let mut connection = connect::<E>(&options, deadline).await?;
                        E::prepare(&mut connection, timeout, is_shared).await?;
                        Ok(connection)
                    })
                };
                Kept::of_store(pool, Some(Box::new(open)), care)
            }
            None => Kept::of_application(pool, care),
        };
        Self { kept: Arc::new(kept), timeout, own, is_shared }
    }

    /// Finds out if a pooler shares the server's connections.
    async fn find_out(&self) -> Result<(), Failure> {
        let Some(options) = self.own.as_ref().filter(|_| E::MAY_BE_SHARED) else { return Ok(()) };
        let deadline = Instant::now() + self.timeout;
        let answer = timeout_at(deadline, async {
            let mut one = connect::<E>(options, deadline).await?;
            // A user who may have a single connection has no pooler in front of it.
            let Ok(mut other) = options.connect().await else { return Ok(false) };
            let is_shared = E::is_shared(&mut one, &mut other).await?;
            // Without a farewell, which a pooler may keep waiting.
            drop((one, other));
            Ok(is_shared)
        });
        let is_shared = outcome::<E, _>(answer.await)?;
        self.is_shared.store(is_shared, Ordering::Relaxed);
        Ok(())
    }

    async fn lease(&self) -> Result<Lease<E>, Failure> {
        self.lease_until(Instant::now() + self.timeout, Trust::LastUsed).await
    }

    async fn lease_until(&self, deadline: Instant, trust: Trust) -> Result<Lease<E>, Failure> {
        let held = outcome::<E, _>(timeout_at(deadline, self.kept.acquire(deadline, trust)).await)?;
        let is_shared = self.is_shared.load(Ordering::Relaxed);
        Ok(Lease { held, kept: Arc::clone(&self.kept), deadline, timeout: self.timeout, is_shared })
    }
}

fn longest_ask(wait: Duration) -> Duration {
    LONGEST_ASK.min(wait / 4)
}

/// Returns the pool of a store's own. It only holds the settings: the store opens and keeps its connections by itself.
pub(super) fn settings<DB: Database>(
    options: <DB::Connection as Connection>::Options,
    max_connections: u32,
    wait: Duration,
) -> Pool<DB> {
    PoolOptions::new().max_connections(max_connections).acquire_timeout(wait).connect_lazy_with(options)
}

/// Opens a connection. If the server refuses it, that is an error at once; if it answers that it is starting up, or has no
/// place left, it is asked again until shortly before the deadline.
async fn connect<E: Engine>(options: &OptionsOf<E>, deadline: Instant) -> Result<ConnectionOf<E>, Error> {
    let mut pause = FIRST_PAUSE;
    loop {
        match options.connect().await {
            Err(Error::Database(error))
                if error.is_transient_in_connect_phase() && Instant::now() + 2 * pause < deadline =>
            {
                sleep(pause).await;
                pause *= 2;
            }
            outcome => return outcome,
        }
    }
}

/// A connection for one statement or transaction.
///
/// [`release`](Self::release) keeps it for the next call, once every query on it is answered. A connection that is dropped
/// earlier, by a timeout or because the caller has gone, is closed: the next call must not receive the answer to another one,
/// and the server rolls back the open transaction.
pub(super) struct Lease<E: Engine> {
    held: Held<E::Database>,
    kept: Arc<Kept<E::Database>>,
    deadline: Instant,
    timeout: Duration,
    is_shared: bool,
}

impl<E: Engine> Lease<E> {
    #[cfg(feature = "mysql")]
    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) async fn execute(&mut self, statement: SqlStr, values: &[Value<'_>]) -> Result<u64, Failure> {
        let (deadline, is_shared) = (self.deadline, self.is_shared);
        let answer = timeout_at(deadline, E::execute(self.connection()?, statement, values, is_shared)).await;
        self.judge(answer)
    }

    pub(super) async fn fetch(&mut self, statement: SqlStr, values: &[Value<'_>]) -> Result<Vec<RowOf<E>>, Failure> {
        let (deadline, is_shared) = (self.deadline, self.is_shared);
        let answer = timeout_at(deadline, E::fetch(self.connection()?, statement, values, is_shared)).await;
        self.judge(answer)
    }

    pub(super) async fn run_script(&mut self, script: SqlStr) -> Result<(), Failure> {
        let deadline = self.deadline;
        let answer = timeout_at(deadline, E::run_script(self.connection()?, script)).await;
        self.judge(answer)
    }

    /// Runs a script, and keeps the connection open if the server refuses it.
    async fn offer_script(&mut self, script: SqlStr) -> Result<(), Failure> {
        let deadline = self.deadline;
        let answer = timeout_at(deadline, E::run_script(self.connection()?, script)).await;
        let outcome = outcome::<E, ()>(answer);
        if !matches!(outcome, Ok(()) | Err(Failure::Store(StoreError::Rejected(_)))) {
            self.held.close();
        }
        outcome
    }

    /// Keeps the connection for the next call, unless it is closed.
    fn release(self) {
        if !self.held.is_closed() {
            self.kept.release(self.held, self.timeout);
        }
    }

    fn connection(&mut self) -> Result<&mut ConnectionOf<E>, Failure> {
        self.held.connection().ok_or_else(|| StoreError::unavailable("the connection is closed").into())
    }

    /// Closes a connection that did not answer, or whose server cannot serve any more: after a failover, another connection may
    /// lead to the server that can.
    fn judge<T>(&mut self, answer: Result<Result<T, Error>, Elapsed>) -> Result<T, Failure> {
        let outcome = outcome::<E, T>(answer);
        if !matches!(outcome, Ok(_) | Err(Failure::Conflict | Failure::Store(StoreError::Duplicate))) {
            self.held.close();
        }
        outcome
    }
}

fn outcome<E: Engine, T>(answer: Result<Result<T, Error>, Elapsed>) -> Result<T, Failure> {
    match answer {
        Ok(answer) => answer.map_err(|error| from_driver(error, E::meaning)),
        Err(_) => Err(StoreError::Timeout.into()),
    }
}

impl<E: Engine> Dialect for Server<E> {
    type Row = RowOf<E>;
    type Transaction = ServerTransaction<E>;

    const SPELLING: Spelling = E::SPELLING;
    const MIGRATIONS: &'static [&'static str] = E::MIGRATIONS;
    const TUNING: &'static [Tuning] = E::TUNING;
    const TAKES_TABLES_BACK: bool = E::TAKES_TABLES_BACK;

    async fn check(&self) -> Result<(), Failure> {
        self.find_out().await?;
        let mut lease = self.lease().await?;
        E::check(&mut lease).await?;
        lease.release();
        Ok(())
    }

    async fn execute(&self, statement: SqlStr, values: &[Value<'_>]) -> Result<u64, Failure> {
        let mut lease = self.lease().await?;
        let outcome = lease.execute(statement, values).await;
        lease.release();
        outcome
    }

    /// Reads; tries once more if a connection that was kept from an earlier call turns out to be broken: the server closed it
    /// a moment ago. (A write is not tried again: it may have happened.)
    async fn fetch(&self, statement: SqlStr, values: &[Value<'_>]) -> Result<Vec<RowOf<E>>, Failure> {
        let mut lease = self.lease().await?;
        let deadline = lease.deadline;
        let mut outcome = lease.fetch(statement.clone(), values).await;
        if lease.held.was_kept() && matches!(outcome, Err(Failure::Store(StoreError::Unavailable(_)))) {
            // Its place is needed, if there is only one.
            drop(lease);
            lease = self.lease_until(deadline, Trust::Nothing).await?;
            outcome = lease.fetch(statement, values).await;
        }
        lease.release();
        outcome
    }

    async fn begin(&self) -> Result<ServerTransaction<E>, Failure> {
        let mut lease = self.lease().await?;
        lease.run_script(E::BEGIN.into_sql_str()).await?;
        Ok(ServerTransaction::new(lease, E::COMMIT, E::ROLL_BACK))
    }

    async fn begin_migrating(&self, table: &str) -> Result<ServerTransaction<E>, Failure> {
        E::begin_migrating(self.lease().await?, table).await
    }

    async fn close(&self) {
        self.kept.close().await;
    }
}

/// A transaction, or its substitute.
pub(super) struct ServerTransaction<E: Engine> {
    lease: Lease<E>,
    commit: SqlStr,
    roll_back: SqlStr,
}

impl<E: Engine> ServerTransaction<E> {
    /// Wraps a transaction that was begun on this connection, with the statements that end it.
    pub(super) fn new(lease: Lease<E>, commit: impl Into<String>, roll_back: impl Into<String>) -> Self {
        let text = |statement: String| AssertSqlSafe(statement).into_sql_str();
        Self { lease, commit: text(commit.into()), roll_back: text(roll_back.into()) }
    }

    async fn end(mut self, statement: SqlStr) -> Result<(), Failure> {
        let outcome = self.lease.run_script(statement).await;
        self.lease.release();
        outcome
    }
}

impl<E: Engine> Transaction for ServerTransaction<E> {
    type Row = RowOf<E>;

    async fn execute(&mut self, statement: SqlStr, values: &[Value<'_>]) -> Result<u64, Failure> {
        self.lease.execute(statement, values).await
    }

    async fn fetch(&mut self, statement: SqlStr, values: &[Value<'_>]) -> Result<Vec<RowOf<E>>, Failure> {
        self.lease.fetch(statement, values).await
    }

    async fn run_script(&mut self, script: SqlStr) -> Result<(), Failure> {
        self.lease.run_script(script).await
    }

    async fn try_script(&mut self, script: SqlStr) -> Result<(), Failure> {
        self.lease.run_script("SAVEPOINT secure_sessions".into_sql_str()).await?;
        match self.lease.offer_script(script).await {
            Err(Failure::Store(StoreError::Rejected(_))) => {
                self.lease.run_script("ROLLBACK TO SAVEPOINT secure_sessions".into_sql_str()).await
            }
            outcome => outcome,
        }
    }

    async fn commit(mut self) -> Result<(), Failure> {
        let outcome = self.lease.run_script(self.commit.clone()).await;
        if outcome.is_err() {
            // No transaction is left open on a connection that serves the next call. The first error is the one to report.
            let _ = self.roll_back().await;
        } else {
            self.lease.release();
        }
        outcome
    }

    async fn roll_back(self) -> Result<(), Failure> {
        if self.lease.held.is_closed() {
            // The server rolls back the open transaction of a closed connection.
            return Ok(());
        }
        let statement = self.roll_back.clone();
        self.end(statement).await
    }
}
