//! The rows of a SQLite store, read and changed behind the server's back.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};
use sqlx::{Column, Row, ValueRef};

/// A database file of this case's own, removed when the last server on it is gone.
pub(crate) struct Database {
    path: PathBuf,
}

impl Database {
    pub(crate) fn new() -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let number = COUNTER.fetch_add(1, Ordering::SeqCst);
        Self { path: std::env::temp_dir().join(format!("acceptance-{}-{number}.sqlite", std::process::id())) }
    }

    pub(crate) fn url(&self) -> String {
        format!("sqlite:{}", self.path.display())
    }

    pub(crate) async fn pool(&self) -> SqlitePool {
        let options = SqliteConnectOptions::new().filename(&self.path).busy_timeout(std::time::Duration::from_secs(10));
        SqlitePoolOptions::new().max_connections(1).connect_with(options).await.expect("the store's file")
    }

    /// A backup as an operator makes one, in a file of its own.
    pub(crate) async fn copy(&self) -> Self {
        let copy = Self::new();
        let statement = format!("VACUUM INTO '{}'", copy.path.display());
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&self.pool().await).await.expect("a backup");
        copy
    }

    /// The bytes of every value of every row of every table: what a copy of the store tells.
    pub(crate) async fn dump(&self) -> Vec<Vec<u8>> {
        let pool = self.pool().await;
        let tables = sqlx::query("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '_sqlx%'");
        let mut values = Vec::new();
        for table in tables.fetch_all(&pool).await.unwrap() {
            let select = format!("SELECT * FROM \"{}\"", table.get::<String, _>(0));
            for row in sqlx::query(sqlx::AssertSqlSafe(select)).fetch_all(&pool).await.unwrap() {
                for column in row.columns() {
                    let raw = row.try_get_raw(column.ordinal()).unwrap();
                    if raw.is_null() {
                        continue;
                    }
                    let bytes = sqlx::Decode::<sqlx::Sqlite>::decode(raw);
                    let bytes: &[u8] = bytes.unwrap_or_else(|error: sqlx::error::BoxDynError| panic!("{error}"));
                    values.push(bytes.to_vec());
                }
            }
        }
        values
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        for suffix in ["", "-wal", "-shm"] {
            let mut path = self.path.clone().into_os_string();
            path.push(suffix);
            let _ = std::fs::remove_file(path);
        }
    }
}
