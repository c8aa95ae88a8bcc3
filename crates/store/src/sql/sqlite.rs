//! SQLite: any number of readers, one writer at a time.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::error::DatabaseError;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Arguments, Error, SqlStr, SqlitePool};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit};
use tokio::time::{Instant, sleep};

use self::group::{Queue, Write};
use super::dialect::{Dialect, Row, Spelling, Transaction, Tuning, Value};
use super::error::{Failure, Meaning, from_driver};
use super::kept::{Care, Held, Kept, Trust};
use crate::StoreError;

mod group;

// Primary result codes: https://www.sqlite.org/rescode.html
const ERROR: i32 = 1;
const BUSY: i32 = 5;
const READ_ONLY: i32 = 8;
const CORRUPT: i32 = 11;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const AUTHORIZATION: i32 = 23;
const NOT_A_DATABASE: i32 = 26;

/// It takes the write lock at once: a transaction that has read first cannot wait for it.
const BEGIN: &str = "BEGIN IMMEDIATE";

/// The pause between tries to switch a file to WAL, which takes about as long.
const AGAIN_AFTER: Duration = Duration::from_millis(10);

/// An SQLite file.
pub(crate) struct Sqlite(Arc<File>);

struct File {
    kept: Kept<sqlx::Sqlite>,
    /// The queue of this store's writers: SQLite lets writers poll for its lock, and may let one starve.
    turn: Arc<Mutex<()>>,
    /// The single statements that wait for a turn, to be committed together.
    queue: Queue,
}

/// Opens a pool for this store. A file that is missing is made only if the store may make its tables.
pub(super) async fn connect(
    url: &str,
    max_connections: u32,
    timeout: Duration,
    creates: bool,
) -> Result<SqlitePool, StoreError> {
    let in_memory = url.contains(":memory:") || url.contains("mode=memory");
    let options = SqliteConnectOptions::from_str(url)
        .map_err(StoreError::rejected)?
        .create_if_missing(creates || in_memory)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(timeout);
    let mut pool = SqlitePoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(timeout)
        // A file does not go away as a server's connection does.
        .test_before_acquire(false);
    if in_memory {
        // The database ends with its last connection.
        pool = pool.max_connections(1).min_connections(1).idle_timeout(None).max_lifetime(None);
    }
    // If several processes switch a new file to WAL at once, SQLite refuses all but one without letting them wait.
    let deadline = Instant::now() + timeout;
    loop {
        match pool.clone().connect_with(options.clone()).await {
            Err(refused) if is_busy(&refused) && Instant::now() < deadline => sleep(AGAIN_AFTER).await,
            connected => return connected.map_err(|refused| cannot_open(&options, refused)),
        }
    }
}

/// Names the file that cannot be opened, and what of it is missing: SQLite says neither.
fn cannot_open(options: &SqliteConnectOptions, refused: Error) -> StoreError {
    let file = options.get_filename();
    let missing = file.parent().filter(|directory| !directory.as_os_str().is_empty() && !directory.is_dir());
    let hint = match missing {
        Some(directory) => format!("; {} is not a directory", directory.display()),
        None if !file.exists() => "; there is no such file".to_owned(),
        None => String::new(),
    };
    let named = |cause: crate::Cause| format!("the file {}: {cause}{hint}", file.display());
    match StoreError::from(error(refused)) {
        StoreError::Unavailable(cause) => StoreError::unavailable(named(cause)),
        StoreError::Corrupt(cause) => StoreError::corrupt(named(cause)),
        StoreError::Rejected(cause) => StoreError::rejected(named(cause)),
        other => other,
    }
}

impl Sqlite {
    pub(super) fn new(pool: SqlitePool, is_own: bool) -> Self {
        // A database in memory would end with a connection that is closed.
        let is_a_file = pool.options().get_min_connections() == 0;
        let care = Care { ask: None, closes: false };
        let kept =
            if is_own && is_a_file { Kept::of_store(pool, None, care) } else { Kept::of_application(pool, care) };
        Self(Arc::new(File { kept, turn: Arc::default(), queue: Queue::default() }))
    }

    /// Returns the longest time that a write waits for its turn.
    fn limit(&self) -> Duration {
        self.0.kept.pool().options().get_acquire_timeout()
    }
}

impl File {
    /// Runs a statement in a transaction of its own. Its caller has the turn.
    async fn execute(&self, statement: SqlStr, arguments: SqliteArguments) -> Result<u64, Failure> {
        let mut held = self.connection().await?;
        let outcome = sqlx::query_with(statement, arguments).execute(open(&mut held)?).await;
        self.release(held);
        Ok(outcome.map_err(error)?.rows_affected())
    }

    async fn connection(&self) -> Result<Held<sqlx::Sqlite>, Failure> {
        let limit = self.kept.pool().options().get_acquire_timeout();
        self.kept.acquire(Instant::now() + limit, Trust::LastUsed).await.map_err(error)
    }

    fn release(&self, held: Held<sqlx::Sqlite>) {
        self.kept.release(held, self.kept.pool().options().get_acquire_timeout());
    }
}

impl Dialect for Sqlite {
    type Row = SqliteRow;
    type Transaction = SqliteTransaction;

    const SPELLING: Spelling = Spelling {
        question_marks: false,
        writes_what_is_named: true,
        earlier: "MIN",
        advance: "UPDATE secure_sessions SET purge_at = due_at WHERE id IN \
                  (SELECT id FROM secure_sessions WHERE purge_at <= $1 AND due_at > $2 ORDER BY purge_at LIMIT $3)",
        purge: "DELETE FROM secure_sessions WHERE id IN \
                (SELECT id FROM secure_sessions WHERE purge_at <= $1 AND due_at <= $2 ORDER BY purge_at LIMIT $3)",
        purge_waiting: None,
        or_else: "ON CONFLICT (vault, id) DO UPDATE SET purge_at = MAX(purge_at, excluded.purge_at)",
        purge_vault: "DELETE FROM secure_sessions_vault WHERE purge_at <= $1 AND rowid IN \
                      (SELECT rowid FROM secure_sessions_vault WHERE purge_at <= $2 ORDER BY purge_at LIMIT $3)",
        // Everybody else's writes wait for each of its statements, and those of other processes poll for their turn.
        purge_batch: 100,
        rests: true,
        // A transaction that writes is alone anyway.
        lock: None,
        // It goes by the host's.
        now: None,
    };

    const MIGRATIONS: &'static [&'static str] = &[
        include_str!("../../migrations/sqlite/0001_sessions.sql"),
        include_str!("../../migrations/sqlite/0002_not_before.sql"),
        include_str!("../../migrations/sqlite/0003_vault.sql"),
    ];
    const TUNING: &'static [Tuning] = &[];
    const TAKES_TABLES_BACK: bool = true;

    async fn check(&self) -> Result<(), Failure> {
        Ok(())
    }

    async fn execute(&self, statement: SqlStr, values: &[Value<'_>]) -> Result<u64, Failure> {
        let arguments = arguments(values).map_err(error)?;
        // This fails as long as another writer waits, too.
        if let Ok(_turn) = self.0.turn.try_lock() {
            return self.0.execute(statement, arguments).await;
        }
        let (write, outcome) = Write::new(statement, arguments);
        if self.0.queue.push(write) {
            // A task of its own, so that no caller who goes away takes the others' writes along.
            tokio::spawn(group::serve(Arc::clone(&self.0)));
        }
        match tokio::time::timeout(self.limit(), outcome).await {
            Ok(answer) => {
                answer.unwrap_or_else(|_| Err(StoreError::unavailable("the write's runtime has ended").into()))
            }
            // One that still waits then is skipped.
            Err(_) => Err(StoreError::Timeout.into()),
        }
    }

    async fn fetch(&self, statement: SqlStr, values: &[Value<'_>]) -> Result<Vec<SqliteRow>, Failure> {
        let arguments = arguments(values).map_err(error)?;
        let mut held = self.0.connection().await?;
        let outcome = sqlx::query_with(statement, arguments).fetch_all(open(&mut held)?).await;
        self.0.release(held);
        outcome.map_err(error)
    }

    async fn begin(&self) -> Result<SqliteTransaction, Failure> {
        let turn = tokio::time::timeout(self.limit(), Arc::clone(&self.0.turn).lock_owned()).await;
        let turn = turn.map_err(|_| StoreError::Timeout)?;
        let room = self.0.kept.room().await.map_err(error)?;
        let transaction = self.0.kept.pool().begin_with(BEGIN).await.map_err(error)?;
        Ok(SqliteTransaction { transaction, _room: room, _turn: turn })
    }

    async fn begin_migrating(&self, _: &str) -> Result<SqliteTransaction, Failure> {
        self.begin().await
    }

    async fn close(&self) {
        self.0.kept.close().await;
    }
}

/// A transaction that holds the write lock.
pub(crate) struct SqliteTransaction {
    transaction: sqlx::Transaction<'static, sqlx::Sqlite>,
    _room: Option<OwnedSemaphorePermit>,
    _turn: OwnedMutexGuard<()>,
}

impl Transaction for SqliteTransaction {
    type Row = SqliteRow;

    async fn execute(&mut self, statement: SqlStr, values: &[Value<'_>]) -> Result<u64, Failure> {
        let query = sqlx::query_with(statement, arguments(values).map_err(error)?);
        Ok(query.execute(&mut *self.transaction).await.map_err(error)?.rows_affected())
    }

    async fn fetch(&mut self, statement: SqlStr, values: &[Value<'_>]) -> Result<Vec<SqliteRow>, Failure> {
        let query = sqlx::query_with(statement, arguments(values).map_err(error)?);
        query.fetch_all(&mut *self.transaction).await.map_err(error)
    }

    async fn run_script(&mut self, script: SqlStr) -> Result<(), Failure> {
        sqlx::raw_sql(script).execute(&mut *self.transaction).await.map_err(error)?;
        Ok(())
    }

    /// A refused statement changes nothing. (There is no tuning here.)
    async fn try_script(&mut self, script: SqlStr) -> Result<(), Failure> {
        match self.run_script(script).await {
            Err(Failure::Store(StoreError::Rejected(_))) => Ok(()),
            outcome => outcome,
        }
    }

    async fn commit(self) -> Result<(), Failure> {
        commit(self.transaction).await.map_err(error)
    }

    async fn roll_back(self) -> Result<(), Failure> {
        roll_back(self.transaction).await.map_err(error)
    }
}

/// Commits a transaction. If that fails (a full disk), nothing of it is left, and the connection is in order.
async fn commit(mut transaction: sqlx::Transaction<'_, sqlx::Sqlite>) -> Result<(), Error> {
    // After a failure, SQLite has mostly rolled back by itself. The driver's own `commit` would count the transaction as open
    // from then on, and so refuse every later one on this connection. The transaction that is begun here is empty: the driver
    // needs one to end.
    match sqlx::raw_sql("COMMIT; BEGIN").execute(&mut *transaction).await {
        Ok(_) => {
            let _ = transaction.rollback().await;
            Ok(())
        }
        Err(refused) => {
            // The first error is the one to report.
            let _ = roll_back(transaction).await;
            Err(refused)
        }
    }
}

async fn roll_back(mut transaction: sqlx::Transaction<'_, sqlx::Sqlite>) -> Result<(), Error> {
    // After some errors (a full disk) SQLite has rolled back by itself, and the driver does not know: it is given one
    // to roll back. Where there still is one, this is refused.
    let _ = sqlx::raw_sql("BEGIN").execute(&mut *transaction).await;
    transaction.rollback().await
}

impl Row for SqliteRow {
    fn integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        sqlx::Row::try_get(self, column).map_err(|unreadable| error(unreadable).into())
    }

    fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::Row::try_get(self, column).map_err(|unreadable| error(unreadable).into())
    }
}

fn open(held: &mut Held<sqlx::Sqlite>) -> Result<&mut sqlx::SqliteConnection, Failure> {
    held.connection().ok_or_else(|| StoreError::unavailable("the connection is closed").into())
}

fn arguments(values: &[Value<'_>]) -> Result<SqliteArguments, Error> {
    let mut arguments = SqliteArguments::default();
    for value in values {
        match value {
            Value::Integer(number) => arguments.add(*number),
            Value::Bytes(bytes) => arguments.add(*bytes),
        }
        .map_err(Error::Encode)?;
    }
    Ok(arguments)
}

fn is_busy(error: &Error) -> bool {
    error.as_database_error().and_then(primary_code) == Some(BUSY)
}

/// Returns the primary code, without the extension.
fn primary_code(error: &(dyn DatabaseError + 'static)) -> Option<i32> {
    error.code()?.parse::<i32>().ok().map(|code| code & 0xff)
}

fn error(error: Error) -> Failure {
    from_driver(error, |error| match primary_code(error) {
        Some(CORRUPT) => Meaning::Corrupt,
        Some(ERROR | READ_ONLY | CONSTRAINT | MISMATCH | AUTHORIZATION | NOT_A_DATABASE) => Meaning::Rejected,
        // Busy, locked, out of memory, a failing or full disk.
        _ => Meaning::Unavailable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_connection_syncs_every_commit() {
        let path = std::env::temp_dir().join(format!("secure-sessions-unit-{}.db", std::process::id()));
        let timeout = Duration::from_secs(5);
        let pool = connect(&format!("sqlite:{}", path.display()), 2, timeout, true).await.unwrap();
        let mut connections = [pool.acquire().await.unwrap(), pool.acquire().await.unwrap()];
        for connection in &mut connections {
            let full: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut **connection).await.unwrap();
            assert_eq!(full, 2);
        }
        drop(connections);
        pool.close().await;
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }
}
