//! The place of a store's rows; those of an SQL store are read and changed behind the server's back.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, MySqlConnection, PgConnection, Row};

use super::server::Store;

/// The store's tables.
const TABLES: [&str; 4] =
    ["secure_sessions", "secure_sessions_not_before", "secure_sessions_vault", "secure_sessions_migrations"];

/// A database of this case's own, removed when the last server on it is gone: a file, a schema of a PostgreSQL or a
/// database of a MariaDB or MySQL.
pub(crate) struct Database {
    store: Store,
    /// The URL of the server that all cases share; empty for a file.
    server: String,
    /// The file's path, the schema's name, or the prefix of all keys.
    place: String,
}

/// The bytes of every column of every row; none for a null. Of a number they are the engine's own.
type Rows = Vec<Vec<Option<Vec<u8>>>>;

macro_rules! fetch {
    ($connection:expr, $statement:expr) => {{
        let query = sqlx::query(AssertSqlSafe($statement.to_owned()));
        let rows = query.fetch_all(&mut $connection).await.unwrap_or_else(|error| panic!("{}: {error}", $statement));
        let value = |row: &_, column| Row::try_get_unchecked(row, column).unwrap();
        rows.iter().map(|row| (0..row.len()).map(|column| value(row, column)).collect()).collect()
    }};
}

impl Database {
    pub(crate) async fn new(store: Store) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let name = format!("acceptance_{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::SeqCst));
        let file = || services::scratch().join(format!("{name}.sqlite")).display().to_string();
        let (server, place) = match store.server() {
            Some(server) => (server, name),
            None => (String::new(), file()),
        };
        let database = Self { store, server, place };
        let create = match store {
            Store::Postgres => "CREATE SCHEMA",
            Store::MySql => "CREATE DATABASE",
            _ => return database,
        };
        administer(store, &database.server, &format!("{create} {}", database.place)).await;
        database
    }

    /// For the acceptance program.
    pub(crate) fn url(&self) -> String {
        match self.store {
            Store::Postgres => {
                let separator = if self.server.contains('?') { '&' } else { '?' };
                format!("{}{separator}options=-c%20search_path%3D{}", self.server, self.place)
            }
            Store::MySql => {
                let (address, options) = self.server.split_once('?').unwrap_or((&self.server, ""));
                let (address, _) = address.rsplit_once('/').expect("the URL names a database");
                format!("{address}/{}?{options}", self.place)
            }
            Store::Redis => format!("{}/?prefix={}", self.server.trim_end_matches('/'), self.place),
            _ => format!("sqlite:{}", self.place),
        }
    }

    /// A backup as an operator makes one, in a place of its own.
    pub(crate) async fn copy(&self) -> Self {
        let copy = Self::new(self.store).await;
        if self.store == Store::Sqlite {
            self.execute(&format!("VACUUM INTO '{}'", copy.place)).await;
            return copy;
        }
        for table in TABLES {
            let (from, to) = (format!("{}.{table}", self.place), format!("{}.{table}", copy.place));
            let like = if self.store == Store::Postgres {
                format!("(LIKE {from} INCLUDING ALL)")
            } else {
                format!("LIKE {from}")
            };
            self.execute(&format!("CREATE TABLE {to} {like}")).await;
            self.execute(&format!("INSERT INTO {to} SELECT * FROM {from}")).await;
        }
        copy
    }

    /// The bytes of every value of every row of every table: what a copy of the store tells.
    pub(crate) async fn dump(&self) -> Vec<Vec<u8>> {
        let mut values = Vec::new();
        for table in TABLES {
            let rows = self.fetch(&format!("SELECT * FROM {table}")).await;
            values.extend(rows.into_iter().flatten().flatten());
        }
        values
    }

    /// Bytes, as they stand in a statement.
    pub(crate) fn literal(&self, bytes: &[u8]) -> String {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        if self.store == Store::Postgres { format!("'\\x{hex}'::bytea") } else { format!("x'{hex}'") }
    }

    /// Runs a statement; how many rows it read or changed does not matter.
    pub(crate) async fn execute(&self, statement: &str) {
        self.fetch(statement).await;
    }

    pub(crate) async fn fetch(&self, statement: &str) -> Rows {
        match self.store {
            Store::Postgres => fetch!(PgConnection::connect(&self.url()).await.expect("the server"), statement),
            Store::MySql => fetch!(MySqlConnection::connect(&self.url()).await.expect("the server"), statement),
            _ => fetch!(self.file().await, statement),
        }
    }

    async fn file(&self) -> SqliteConnection {
        let options = SqliteConnectOptions::new().filename(&self.place).busy_timeout(Duration::from_secs(10));
        options.connect().await.expect("the store's file")
    }
}

/// Runs a statement on the server, outside of the place.
async fn administer(store: Store, server: &str, statement: &str) {
    let script = sqlx::raw_sql(AssertSqlSafe(statement.to_owned()));
    let done = if store == Store::Postgres {
        script.execute(&mut PgConnection::connect(server).await.expect("the server")).await.map(drop)
    } else {
        script.execute(&mut MySqlConnection::connect(server).await.expect("the server")).await.map(drop)
    };
    done.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

impl Drop for Database {
    fn drop(&mut self) {
        let removal = match self.store {
            Store::Postgres => format!("DROP SCHEMA IF EXISTS {} CASCADE", self.place),
            Store::MySql => format!("DROP DATABASE IF EXISTS {}", self.place),
            // The server is a throwaway one, and what was left there expires.
            Store::Redis => return,
            _ => {
                for suffix in ["", "-wal", "-shm"] {
                    let _ = std::fs::remove_file(PathBuf::from(format!("{}{suffix}", self.place)));
                }
                return;
            }
        };
        let (store, server) = (self.store, self.server.clone());
        // On a runtime of its own: this one may be at its end.
        let done = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(administer(store, &server, &removal));
        });
        let _ = done.join();
    }
}
