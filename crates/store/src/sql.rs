//! A store in an SQL database: plain columns, one row per session.

use std::fmt;
use std::time::Duration;

use secure_sessions_core::{BlobId, Bucket, Entry, Lifespan, Revision, SessionId, Timestamp, Tombstone, VaultId};

use self::dialect::Dialect;
pub use self::migrate::MissingMigrations;
#[cfg(feature = "mysql")]
use self::mysql::MySql;
#[cfg(feature = "postgres")]
use self::postgres::Postgres;
#[cfg(any(feature = "postgres", feature = "mysql"))]
use self::server::Server;
#[cfg(feature = "sqlite")]
use self::sqlite::Sqlite;
use self::table::Table;
use crate::skew::warn_of_skew;
use crate::{Blob, Listed, Page, SessionStore, StoreError, Tags, VaultStore, Which};

mod columns;
mod dialect;
mod error;
mod kept;
mod migrate;
#[cfg(feature = "mysql")]
mod mysql;
mod not_before;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "postgres", feature = "mysql"))]
mod server;
#[cfg(feature = "sqlite")]
mod sqlite;
mod statements;
mod table;
mod vault;

const DEFAULT_TABLE: &str = "secure_sessions";
const DEFAULT_CONNECTIONS: u32 = 8;
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);
/// SQLite counts its timeout in 31 bits of milliseconds, and no clock can be asked for a deadline beyond its own range.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// A store in an SQL database (SQLite, PostgreSQL, MySQL or MariaDB); a clone is the same store.
///
/// Opening it makes the table, or changes it if a new release needs that. Several processes may open one database at the same
/// time.
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
/// The file is created if it is missing, in WAL mode with `synchronous=FULL`: acknowledged writes survive a crash of the
/// process and of the machine. Keep it on a local disk. `sqlite::memory:` is a database for tests that ends with the store.
///
/// Writers within this store queue for their turn. Those that wait share one transaction, and so one wait for the disk; each
/// still succeeds or fails by itself, and nothing is acknowledged before the commit. If a writer of another process holds the lock, a write waits for up to the
/// timeout, and then fails with [`StoreError::Unavailable`]. No acknowledged write is ever lost.
///
/// # PostgreSQL
///
/// Needs the feature `postgres`, and PostgreSQL 12 or newer. The URL is `postgres://user:password@host/database`, with any
/// parameter that [`PgConnectOptions`](sqlx::postgres::PgConnectOptions) knows.
///
/// A commit is acknowledged once it is on disk: if `synchronous_commit` is `off`, the store's own connections turn it on. Leave
/// `fsync` and `full_page_writes` at their defaults. A failover loses no acknowledged write only if the standby is a
/// synchronous one. Connections to a standby are refused, since it may lag behind. Unless you set other times, the server
/// gives up a statement after [`SqlOptions::timeout`] (`statement_timeout`), and so it does a transaction whose client has
/// vanished (`idle_in_transaction_session_timeout`).
///
/// A pooler may be in front of it, such as PgBouncer. In its session mode, nothing differs. In its transaction mode
/// (`pool_mode = transaction`), others use the same connections of the server in turns. The store finds that out when it is
/// opened. It then prepares no statements, whose names could be those of another client, and sets nothing: set
/// `statement_timeout` and `idle_in_transaction_session_timeout` for the user (`ALTER ROLE .. SET ..`). A user with
/// `synchronous_commit` off is refused. Neither mode needs `ignore_startup_parameters`. If the pool is yours, use session mode.
///
/// # MySQL and MariaDB
///
/// Needs the feature `mysql`, and MySQL 8 or MariaDB 10.6 or newer. The URL is `mysql://user:password@host/database`, with any
/// parameter that [`MySqlConnectOptions`](sqlx::mysql::MySqlConnectOptions) knows. The tables use InnoDB.
///
/// A commit is acknowledged once it is on disk if `innodb_flush_log_at_trx_commit` is 1, the default; only an administrator can
/// change that, so the store cannot. With 0 or 2, the last second of acknowledged writes can be lost, which undoes logouts.
/// Connect to the primary. On a Galera cluster, that is one node for all hosts, or set `wsrep_sync_wait` to 1.
/// `read_only`, which is set on replicas, is refused when the store is opened.
/// `binlog_format` must not be `STATEMENT`, which forbids the isolation level of the store. MySQL's own way to send a
/// password needs TLS or a local socket.
///
/// # On every server
///
/// Each call is one statement, and a renewal (or a pass of a `remove_all`) one transaction, in READ COMMITTED. A deadlock or
/// serialization failure in a swap means that the swap has lost; elsewhere the statement is retried. A connection whose
/// answer did not come in time, or whose caller has gone, is closed, so that no call receives the answer to another one.
/// Other connections are kept for the next call, without a check in between (unless the pool is yours). When the server is
/// back after a fault, so is the store: you need not open it again. A server that refuses connections is an error at once. (With
/// a pool of your own, the pool decides how long it tries.)
///
/// The application's user needs the rights to `SELECT`, `INSERT`, `UPDATE` and `DELETE` in the table and in the table `.._vault`
/// beside it, to `SELECT` and `INSERT` in the table `.._not_before`, and to `SELECT` in the table `.._migrations`, and no other. To keep changes of tables
/// apart, let an administrator run the SQL of [`SqlOptions::schema`] (or the tool's `secure-sessions migrate`), and open the
/// store with [`migrates(false)`](SqlOptions::migrates): after an update that needs a change, it names the SQL that is missing.
/// Otherwise this user also needs the rights to make and change tables.
///
/// A database that speaks PostgreSQL's protocol needs neither `LOCK TABLE` nor advisory locks for the store, and may refuse the
/// statements that only tune its tables.
///
/// A read whose connection the server closed a moment ago is tried once more, on another one. A write is not: it may have
/// happened.
///
/// Choose a feature for TLS: `tls-rustls`, or one of `sqlx`. Without it, the password and the entries travel unencrypted. (The
/// entries are of no use to an eavesdropper; see the crate's page.)
///
/// # The table
///
/// You can query it: every field has a column, times are integer milliseconds, and comments explain the rest. Numbers are kept
/// as 64 bits, so one above `i64::MAX` shows as negative. Only the derived columns `due_at` and `purge_at`, which are compared,
/// are cut off at `i64::MAX`: such an entry is due from that instant on, in the year 292,278,994. From `due_at` on, an entry may
/// be purged. `purge_at` is never later than that and has an index; a write that only prolongs a session leaves it as it is, and
/// so writes to no index.
///
/// The table `.._vault` holds the private values ([`VaultStore`]): a row for each, sealed under a key that only the browser's
/// cookie has, and the time from which on it may be deleted. The column `vault` says whose it is.
#[derive(Clone)]
pub struct SqlStore(Backend);

#[derive(Clone)]
enum Backend {
    #[cfg(feature = "sqlite")]
    Sqlite(Table<Sqlite>),
    #[cfg(feature = "postgres")]
    Postgres(Table<Server<Postgres>>),
    #[cfg(feature = "mysql")]
    MySql(Table<Server<MySql>>),
}

macro_rules! each {
    ($store:expr, $table:ident => $call:expr) => {
        match &$store.0 {
            #[cfg(feature = "sqlite")]
            Backend::Sqlite($table) => $call,
            #[cfg(feature = "postgres")]
            Backend::Postgres($table) => $call,
            #[cfg(feature = "mysql")]
            Backend::MySql($table) => $call,
        }
    };
}

/// The options of a [`SqlStore`].
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
    migrates: bool,
}

/// A connection pool of your own.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum SqlPool {
    /// A pool of SQLite.
    #[cfg(feature = "sqlite")]
    Sqlite(sqlx::SqlitePool),
    /// A pool of PostgreSQL.
    #[cfg(feature = "postgres")]
    Postgres(sqlx::PgPool),
    /// A pool of MySQL or MariaDB.
    #[cfg(feature = "mysql")]
    MySql(sqlx::MySqlPool),
}

#[cfg(feature = "sqlite")]
impl From<sqlx::SqlitePool> for SqlPool {
    fn from(pool: sqlx::SqlitePool) -> Self {
        Self::Sqlite(pool)
    }
}

#[cfg(feature = "postgres")]
impl From<sqlx::PgPool> for SqlPool {
    fn from(pool: sqlx::PgPool) -> Self {
        Self::Postgres(pool)
    }
}

#[cfg(feature = "mysql")]
impl From<sqlx::MySqlPool> for SqlPool {
    fn from(pool: sqlx::MySqlPool) -> Self {
        Self::MySql(pool)
    }
}

impl SqlStore {
    /// Opens the database with this URL, and prepares its table. To set more, use [`SqlOptions`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Rejected`] if this build does not know the URL, if the server refuses the user or does not have the
    /// database, or if a newer release wrote the table; another [`StoreError`] if the database cannot be opened.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        SqlOptions::new().connect(url).await
    }

    /// Keeps sessions in a database that your application has open already, and prepares the table.
    ///
    /// The store changes none of the settings of your connections. For SQLite, set WAL mode, `synchronous=FULL` and a busy
    /// timeout yourself: in WAL mode with `synchronous=NORMAL`, a power cut can lose the last acknowledged writes, which logs
    /// a user out or makes a session go back to an earlier cookie. The same holds for PostgreSQL with
    /// `synchronous_commit=off`. MySQL's connections must commit by themselves (`autocommit`), or the pool is refused.
    ///
    /// # Errors
    ///
    /// The same as [`connect`](Self::connect).
    pub async fn from_pool(pool: impl Into<SqlPool> + Send) -> Result<Self, StoreError> {
        SqlOptions::new().pool(pool).await
    }

    /// Closes all connections, once they are done. Every later call, of any clone, returns an error.
    pub async fn close(&self) {
        each!(self, table => table.dialect().close().await);
    }
}

impl SqlOptions {
    /// Returns the defaults: the table `secure_sessions`, up to 8 connections, 5 seconds.
    pub fn new() -> Self {
        Self {
            table: DEFAULT_TABLE.into(),
            max_connections: DEFAULT_CONNECTIONS,
            timeout: DEFAULT_TIMEOUT,
            migrates: true,
        }
    }

    /// Sets the table's name: up to 40 of `a-z`, `0-9` and `_`, beginning with a letter, and no word of the database's own
    /// (`user`, `order`). Stores with different tables share nothing.
    pub fn table(self, name: impl Into<String>) -> Self {
        Self { table: name.into(), ..self }
    }

    /// Sets the most connections to open. Ignored for `sqlite::memory:`, which has one, and for a pool of your own.
    pub fn max_connections(self, connections: u32) -> Self {
        Self { max_connections: connections.max(1), ..self }
    }

    /// Sets how long a statement or transaction may take, including the wait for a free connection and for another lock; then
    /// it is [`StoreError::Timeout`]. Calls over many sessions (`remove_all`, `purge_expired`) are several of them. More than a
    /// day counts as a day.
    ///
    /// For SQLite, it sets how long a call waits for a free connection, and for another process's write to end. It is ignored
    /// for a SQLite pool of your own.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout: timeout.min(LONGEST_TIMEOUT), ..self }
    }

    /// Sets if opening the store may make and change its tables; by default it may. With `false`, it only reads which
    /// migrations were applied, and if one is missing, the error holds the SQL that an administrator must run
    /// ([`MissingMigrations`]). It creates no SQLite file either.
    ///
    /// ```
    /// # use secure_sessions_store::{SqlOptions, StoreError};
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let refused = SqlOptions::new().migrates(false).connect("sqlite::memory:").await;
    /// assert!(matches!(refused, Err(StoreError::Rejected(sql)) if sql.to_string().contains("CREATE TABLE")));
    /// # }
    /// ```
    pub fn migrates(self, migrates: bool) -> Self {
        Self { migrates, ..self }
    }

    /// Opens the database with this URL.
    ///
    /// # Errors
    ///
    /// The same as [`SqlStore::connect`].
    pub async fn connect(self, url: &str) -> Result<SqlStore, StoreError> {
        self.check()?;
        let (scheme, _) = url.split_once(':').unwrap_or_default();
        let Self { max_connections, timeout, .. } = self;
        let pool: SqlPool = match scheme {
            #[cfg(feature = "sqlite")]
            "sqlite" => sqlite::connect(url, max_connections, timeout, self.migrates).await?.into(),
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => postgres::pool(url, max_connections, timeout)?.into(),
            #[cfg(feature = "mysql")]
            "mysql" | "mariadb" => mysql::pool(url, max_connections, timeout)?.into(),
            _ => return Err(unknown_scheme()),
        };
        open(pool, true, &self).await
    }

    /// Returns the SQL that creates the tables in an empty database, for an administrator to run: the store then finds them,
    /// and its user needs no right to create or change tables. `scheme` is `sqlite`, `postgres` or `mysql`, as URLs begin.
    ///
    /// ```
    /// # use secure_sessions_store::{SqlOptions, StoreError};
    /// let sql = SqlOptions::new().table("shop_sessions").schema("sqlite")?;
    /// assert!(sql.contains("CREATE TABLE IF NOT EXISTS shop_sessions"));
    /// # Ok::<_, StoreError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError::Rejected`] if this build does not know the scheme, or the table's name is not allowed.
    pub fn schema(&self, scheme: &str) -> Result<String, StoreError> {
        self.check()?;
        match scheme {
            #[cfg(feature = "sqlite")]
            "sqlite" => Ok(migrate::script::<Sqlite>(&self.table, 0)),
            #[cfg(feature = "postgres")]
            "postgres" | "postgresql" => Ok(migrate::script::<Server<Postgres>>(&self.table, 0)),
            #[cfg(feature = "mysql")]
            "mysql" | "mariadb" => Ok(migrate::script::<Server<MySql>>(&self.table, 0)),
            _ => Err(unknown_scheme()),
        }
    }

    /// Opens the store on a pool of your own.
    ///
    /// # Errors
    ///
    /// The same as [`SqlStore::connect`].
    pub async fn pool(self, pool: impl Into<SqlPool> + Send) -> Result<SqlStore, StoreError> {
        self.check()?;
        open(pool.into(), false, &self).await
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

fn unknown_scheme() -> StoreError {
    StoreError::rejected(
        "unknown kind of database: expected a URL that begins with `sqlite:`, `postgres:` or `mysql:`, with the feature of \
         this name turned on",
    )
}

async fn open(pool: SqlPool, is_own: bool, options: &SqlOptions) -> Result<SqlStore, StoreError> {
    let store = SqlStore(match pool {
        #[cfg(feature = "sqlite")]
        SqlPool::Sqlite(pool) => Backend::Sqlite(table(Sqlite::new(pool, is_own), is_own, options).await?),
        #[cfg(feature = "postgres")]
        SqlPool::Postgres(pool) => {
            Backend::Postgres(table(Server::new(pool, is_own, options.timeout), is_own, options).await?)
        }
        #[cfg(feature = "mysql")]
        SqlPool::MySql(pool) => {
            Backend::MySql(table(Server::new(pool, is_own, options.timeout), is_own, options).await?)
        }
    });
    warn_of_skew(&store).await;
    Ok(store)
}

/// Opens the table. If that is refused, no connection of the store's own is open any more once the caller hears of it: they
/// may want to change the database at once.
async fn table<D: Dialect>(dialect: D, is_own: bool, options: &SqlOptions) -> Result<Table<D>, StoreError> {
    let table = Table::new(dialect, &options.table);
    match table.prepare(&options.table, options.migrates).await {
        Ok(()) => Ok(table),
        Err(refused) => {
            if is_own {
                table.dialect().close().await;
            }
            Err(refused)
        }
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

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        each!(self, table => table.renew_into(bucket, old, expected, &tombstone).await)
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        each!(self, table => table.remove(id, tombstone.as_ref()).await)
    }

    async fn list(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed>, StoreError> {
        each!(self, table => table.list(tags, page).await)
    }

    async fn list_lifespans(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed<Lifespan>>, StoreError> {
        each!(self, table => table.list_lifespans(tags, page).await)
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

    async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        each!(self, table => table.now().await)
    }

    async fn not_before(&self) -> Result<Option<Timestamp>, StoreError> {
        each!(self, table => table.not_before().await)
    }

    async fn raise_not_before(&self, at: Timestamp) -> Result<(), StoreError> {
        each!(self, table => table.raise_not_before(at).await)
    }
}

impl VaultStore for SqlStore {
    async fn put(&self, vault: &VaultId, blobs: &[Blob], purge_at: Timestamp) -> Result<(), StoreError> {
        each!(self, table => table.put(vault, blobs, purge_at).await)
    }

    async fn get(&self, vault: &VaultId, ids: &[BlobId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        each!(self, table => table.get(vault, ids).await)
    }

    async fn delete(&self, vault: &VaultId, ids: &[BlobId]) -> Result<(), StoreError> {
        each!(self, table => table.delete(vault, ids).await)
    }

    async fn delete_all(&self, vaults: &[VaultId]) -> Result<(), StoreError> {
        each!(self, table => table.delete_all(vaults).await)
    }

    async fn prolong(&self, vault: &VaultId, purge_at: Timestamp) -> Result<(), StoreError> {
        each!(self, table => table.prolong(vault, purge_at).await)
    }

    async fn purge(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        each!(self, table => table.purge_vaults(now, limit).await)
    }
}
