//! A store in an SQL database: plain columns, one row per session.

use std::fmt;
use std::time::Duration;

use secure_sessions_core::{Bucket, Entry, Revision, SessionId, SubjectTag, Timestamp, Tombstone};

use self::sqlite::Sqlite;
use self::table::Table;
use crate::{Page, SessionStore, StoreError, Which};

mod columns;
mod dialect;
mod error;
mod migrate;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statements;
mod table;

const DEFAULT_TABLE: &str = "secure_sessions";
const DEFAULT_CONNECTIONS: u32 = 8;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// Sessions in an SQL database; a clone is the same store.
///
/// It makes its table, and changes it where a new release needs that, when it is opened; several processes may open one
/// database at the same time.
///
/// # SQLite
///
/// ```
/// use secure_sessions_store::{SessionStore, SqlStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let directory = std::env::temp_dir().join(format!("secure-sessions-doc-{}", std::process::id()));
/// # std::fs::create_dir_all(&directory)?;
/// # let path = directory.join("sessions.db");
/// # let url = format!("sqlite:{}", path.display());
/// // let url = "sqlite:sessions.db";
/// let store = SqlStore::connect(&url).await?;
/// assert_eq!(store.count().await?, 0);
/// store.close().await;
/// # std::fs::remove_dir_all(&directory)?;
/// # Ok(())
/// # }
/// ```
///
/// The file is created if it is missing, in WAL mode with `synchronous=FULL`: what was acknowledged survives a crash of
/// the process and of the machine. It must be on a local disk. `sqlite::memory:` is a database for tests, gone with
/// the store.
///
/// Writers within this store queue for their turn. A writer of another process makes one wait for up to the timeout, and
/// then fail with [`StoreError::Unavailable`]: never does a write get lost.
///
/// Numbers are kept as the 64 bits that they are, so that one above `i64::MAX` shows as negative in the table. Only the
/// derived column `purge_at`, which is compared, is cut off at `i64::MAX`: such an entry is due from that instant on, in
/// the year 292,278,994.
#[derive(Clone)]
pub struct SqlStore(Backend);

#[derive(Clone)]
enum Backend {
    #[cfg(feature = "sqlite")]
    Sqlite(Table<Sqlite>),
}

/// How a [`SqlStore`] is opened.
///
/// ```
/// # use secure_sessions_store::{SqlOptions, SqlStore, StoreError};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), StoreError> {
/// let store = SqlOptions::new().table("admin_sessions").connect("sqlite::memory:").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct SqlOptions {
    table: String,
    max_connections: u32,
    timeout: Duration,
}

/// An application's own connection pool.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SqlPool {
    /// Of SQLite.
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
}

#[cfg(feature = "sqlite")]
impl From<sqlx::SqlitePool> for SqlPool {
    fn from(pool: sqlx::SqlitePool) -> Self {
        Self::Sqlite(pool)
    }
}

impl SqlStore {
    /// Opens the database with this URL, and prepares its table. For more say, [`SqlOptions`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Rejected`] if the URL is none that this build knows, or the table was written by a newer release;
    /// another [`StoreError`] if the database cannot be opened.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        SqlOptions::new().connect(url).await
    }

    /// Keeps sessions in a database that the application has open anyway, and prepares the table.
    ///
    /// The connections are as the application made them. For SQLite, WAL mode, `synchronous=FULL` and a busy timeout
    /// are up to it then; in WAL mode with `synchronous=NORMAL`, the last acknowledged writes can be lost in a power
    /// cut, which logs a user out or makes a session go back to an earlier cookie.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn from_pool(pool: impl Into<SqlPool> + Send) -> Result<Self, StoreError> {
        SqlOptions::new().pool(pool).await
    }

    /// Closes all connections, once they are done. Every later call, of any clone, is an error.
    pub async fn close(&self) {
        match &self.0 {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite(table) => table.dialect().close().await,
        }
    }
}

impl SqlOptions {
    /// The defaults: the table `secure_sessions`, up to 8 connections, 5 seconds.
    pub fn new() -> Self {
        Self { table: DEFAULT_TABLE.into(), max_connections: DEFAULT_CONNECTIONS, timeout: DEFAULT_TIMEOUT }
    }

    /// The table's name: up to 40 of `a-z`, `0-9` and `_`, beginning with a letter. Stores with different tables share
    /// nothing.
    pub fn table(self, name: impl Into<String>) -> Self {
        Self { table: name.into(), ..self }
    }

    /// The most connections to open. Ignored for `sqlite::memory:`, which has one, and for an application's pool.
    pub fn max_connections(self, connections: u32) -> Self {
        Self { max_connections: connections.max(1), ..self }
    }

    /// How long a call waits for a free connection, and for another process's write to end. Ignored for an
    /// application's pool.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Opens the database with this URL.
    ///
    /// # Errors
    ///
    /// As [`SqlStore::connect`].
    pub async fn connect(self, url: &str) -> Result<SqlStore, StoreError> {
        self.check()?;
        #[cfg(feature = "sqlite")]
        if url.starts_with("sqlite:") {
            let dialect = Sqlite::connect(url, self.max_connections, self.timeout).await?;
            let pool = dialect.clone();
            return match Table::open(dialect, &self.table).await {
                Ok(table) => Ok(SqlStore(Backend::Sqlite(table))),
                Err(error) => {
                    pool.close().await;
                    Err(error)
                }
            };
        }
        Err(StoreError::rejected(
            "unknown kind of database: expected a URL that begins with `sqlite:`, with the feature `sqlite` turned on",
        ))
    }

    /// Takes an application's pool.
    ///
    /// # Errors
    ///
    /// As [`SqlStore::connect`].
    pub async fn pool(self, pool: impl Into<SqlPool> + Send) -> Result<SqlStore, StoreError> {
        self.check()?;
        match pool.into() {
            #[cfg(feature = "sqlite")]
            SqlPool::Sqlite(pool) => {
                Ok(SqlStore(Backend::Sqlite(Table::open(Sqlite::from_pool(pool), &self.table).await?)))
            }
        }
    }

    /// The name becomes part of statements: it must be one that needs no quoting anywhere.
    fn check(&self) -> Result<(), StoreError> {
        let name = self.table.as_bytes();
        let fits = name.first().is_some_and(u8::is_ascii_lowercase)
            && name.len() <= 40
            && name.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'_');
        if fits {
            return Ok(());
        }
        Err(StoreError::rejected("invalid table name: expected up to 40 of a-z, 0-9 and _, beginning with a letter"))
    }
}

impl Default for SqlOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for SqlStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SqlStore(..)")
    }
}

macro_rules! each {
    ($store:expr, $table:ident => $call:expr) => {
        match &$store.0 {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite($table) => $call,
        }
    };
}

impl SessionStore for SqlStore {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        each!(self, table => table.insert(bucket).await)
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        each!(self, table => table.load(id).await)
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        each!(self, table => table.replace(bucket, expected).await)
    }

    async fn succeed(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        each!(self, table => table.succeed(bucket, old, expected, &tombstone).await)
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        each!(self, table => table.remove(id, tombstone.as_ref()).await)
    }

    async fn list(&self, subjects: &[SubjectTag], page: Page) -> Result<Vec<Bucket>, StoreError> {
        each!(self, table => table.list(subjects, page).await)
    }

    async fn count(&self) -> Result<u64, StoreError> {
        each!(self, table => table.count().await)
    }

    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        each!(self, table => table.remove_all(which, except).await)
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        each!(self, table => table.purge_expired(now, limit).await)
    }
}
