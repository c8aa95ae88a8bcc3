//! SQLite: any number of readers, one writer at a time.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous,
};
use sqlx::{Error, SqlStr, SqlitePool};
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::dialect::{Dialect, Row, Transaction, Value};
use super::error::from_driver;
use crate::StoreError;

// Primary result codes: https://www.sqlite.org/rescode.html
const ERROR: i32 = 1;
const READ_ONLY: i32 = 8;
const CORRUPT: i32 = 11;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const AUTHORIZATION: i32 = 23;
const NOT_A_DATABASE: i32 = 26;

/// An SQLite file.
#[derive(Clone)]
pub(crate) struct Sqlite {
    pool: SqlitePool,
    /// SQLite lets writers poll for its lock, and may let one starve. Those of this store queue here instead.
    turn: Arc<Mutex<()>>,
}

impl Sqlite {
    pub(super) async fn connect(url: &str, max_connections: u32, timeout: Duration) -> Result<Self, StoreError> {
        let in_memory = url.contains(":memory:") || url.contains("mode=memory");
        let options = SqliteConnectOptions::from_str(url)
            .map_err(error)?
            .create_if_missing(true)
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
        Ok(Self::from_pool(pool.connect_with(options).await.map_err(error)?))
    }

    pub(super) fn from_pool(pool: SqlitePool) -> Self {
        Self { pool, turn: Arc::default() }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }
}

impl Dialect for Sqlite {
    type Row = SqliteRow;
    type Transaction = SqliteTransaction;

    const MIGRATIONS: &'static [&'static str] = &[include_str!("../../migrations/sqlite/0001_sessions.sql")];

    async fn execute(&self, statement: SqlStr, values: &[Value<'_>]) -> Result<u64, StoreError> {
        let _turn = self.turn.lock().await;
        Ok(query(statement, values).execute(&self.pool).await.map_err(error)?.rows_affected())
    }

    async fn fetch(&self, statement: SqlStr, values: &[Value<'_>]) -> Result<Vec<SqliteRow>, StoreError> {
        query(statement, values).fetch_all(&self.pool).await.map_err(error)
    }

    async fn begin(&self) -> Result<SqliteTransaction, StoreError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        // It takes the write lock at once: a transaction that has read first cannot wait for it.
        let transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(error)?;
        Ok(SqliteTransaction { transaction, _turn: turn })
    }
}

/// A transaction that holds the write lock.
pub(crate) struct SqliteTransaction {
    transaction: sqlx::Transaction<'static, sqlx::Sqlite>,
    _turn: OwnedMutexGuard<()>,
}

impl Transaction for SqliteTransaction {
    type Row = SqliteRow;

    async fn execute(&mut self, statement: SqlStr, values: &[Value<'_>]) -> Result<u64, StoreError> {
        Ok(query(statement, values).execute(&mut *self.transaction).await.map_err(error)?.rows_affected())
    }

    async fn fetch(&mut self, statement: SqlStr, values: &[Value<'_>]) -> Result<Vec<SqliteRow>, StoreError> {
        query(statement, values).fetch_all(&mut *self.transaction).await.map_err(error)
    }

    async fn run_script(&mut self, script: SqlStr) -> Result<(), StoreError> {
        sqlx::raw_sql(script).execute(&mut *self.transaction).await.map_err(error)?;
        Ok(())
    }

    async fn commit(self) -> Result<(), StoreError> {
        self.transaction.commit().await.map_err(error)
    }

    async fn roll_back(self) -> Result<(), StoreError> {
        self.transaction.rollback().await.map_err(error)
    }
}

impl Row for SqliteRow {
    fn integer(&self, column: usize) -> Result<Option<i64>, StoreError> {
        sqlx::Row::try_get(self, column).map_err(error)
    }

    fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>, StoreError> {
        sqlx::Row::try_get(self, column).map_err(error)
    }
}

fn query<'q>(statement: SqlStr, values: &[Value<'_>]) -> sqlx::query::Query<'q, sqlx::Sqlite, SqliteArguments> {
    values.iter().fold(sqlx::query(statement), |query, value| match value {
        Value::Integer(number) => query.bind(*number),
        Value::Bytes(bytes) => query.bind(*bytes),
    })
}

fn error(error: Error) -> StoreError {
    from_driver(error, |code| match code.parse::<i32>().map(|code| code & 0xff) {
        Ok(CORRUPT | NOT_A_DATABASE) => StoreError::corrupt,
        Ok(ERROR | READ_ONLY | CONSTRAINT | MISMATCH | AUTHORIZATION) => StoreError::rejected,
        // Busy, locked, out of memory, a failing or full disk.
        _ => StoreError::unavailable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_connection_syncs_every_commit() {
        let path = std::env::temp_dir().join(format!("secure-sessions-unit-{}.db", std::process::id()));
        let timeout = Duration::from_secs(5);
        let sqlite = Sqlite::connect(&format!("sqlite:{}", path.display()), 2, timeout).await.unwrap();
        let mut connections = [sqlite.pool.acquire().await.unwrap(), sqlite.pool.acquire().await.unwrap()];
        for connection in &mut connections {
            let full: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut **connection).await.unwrap();
            assert_eq!(full, 2);
        }
        drop(connections);
        sqlite.close().await;
        for suffix in ["", "-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{suffix}", path.display()));
        }
    }
}
