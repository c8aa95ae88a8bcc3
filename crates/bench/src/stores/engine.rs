//! The engines: how each is started, and what it says that it has written and stores.

use std::path::Path;

use anyhow::{Context, Result};
use services::{Engine as Server, Service, Setup};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection, Row, SqliteConnection};
use tempfile::TempDir;

/// The engines that sessions are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SQLite: a file in WAL mode, synchronous=FULL.
    Sqlite,
    /// PostgreSQL with its defaults.
    Postgres,
    /// MariaDB with its defaults, but for a smaller buffer pool.
    MariaDb,
    /// Redis that appends each write to its file and syncs it before it answers.
    RedisAlways,
    /// Redis that syncs its file once a second.
    RedisEverySecond,
}

impl Kind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "SQLite",
            Self::Postgres => "PostgreSQL",
            Self::MariaDb => "MariaDB",
            Self::RedisAlways => "Redis, always",
            Self::RedisEverySecond => "Redis, everysec",
        }
    }
}

/// An engine that runs, for this process alone.
#[derive(Debug)]
pub struct Engine {
    kind: Kind,
    /// Of SQLite: a folder for the files.
    folder: Option<TempDir>,
    /// Of the others.
    service: Option<Service>,
}

impl Engine {
    /// Starts it.
    ///
    /// # Errors
    ///
    /// [`services::Error::Missing`] where the machine does not have it; another error if it does not come up.
    pub fn start(kind: Kind) -> Result<Self> {
        let redis = |sync: &str| {
            // Without the rewriting of its file, which would hide how much was appended.
            let arguments = ["--auto-aof-rewrite-percentage", "0", "--appendfsync", sync];
            Setup::new(Server::Redis).arguments(arguments).start()
        };
        let service = match kind {
            Kind::Sqlite => {
                let folder = tempfile::Builder::new().prefix("secure-sessions-bench-").tempdir()?;
                return Ok(Self { kind, folder: Some(folder), service: None });
            }
            Kind::Postgres => Service::postgres()?,
            Kind::MariaDb => Service::mariadb()?,
            Kind::RedisAlways => redis("always")?,
            Kind::RedisEverySecond => redis("everysec")?,
        };
        Ok(Self { kind, folder: None, service: Some(service) })
    }

    /// Where a side finds it. SQLite has a file for each side, so that neither's pages are among the other's.
    #[must_use]
    pub fn url(&self, side: &str) -> String {
        match (&self.folder, &self.service) {
            (Some(folder), _) => format!("sqlite:{}", file(folder.path(), side)),
            (None, Some(service)) => service.url().to_owned(),
            (None, None) => String::new(),
        }
    }

    /// Bytes that it has written so far to its log of changes. `None` for SQLite, where that is up to the side's own process.
    ///
    /// # Errors
    ///
    /// If the engine does not say.
    pub async fn written(&self) -> Result<Option<u64>> {
        let number = match self.kind {
            Kind::Sqlite => return Ok(None),
            Kind::Postgres => {
                let position = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint";
                self.postgres().await?.fetch_one(position).await?.try_get::<i64, _>(0)?.to_string()
            }
            Kind::MariaDb => {
                let position = "SHOW GLOBAL STATUS LIKE 'Innodb_lsn_current'";
                self.mariadb().await?.fetch_one(position).await?.try_get::<String, _>(1)?
            }
            Kind::RedisAlways | Kind::RedisEverySecond => {
                let info = self.service()?.redis_call(&["INFO", "persistence"])?;
                let size = info.lines().find_map(|line| line.strip_prefix("aof_current_size:"));
                size.context("no aof_current_size")?.trim().to_owned()
            }
        };
        Ok(Some(number.parse().with_context(|| format!("not a number: {number}"))?))
    }

    /// Removes what is there of this table and side.
    ///
    /// # Errors
    ///
    /// If the engine refuses.
    pub async fn clear(&self, table: &str, side: &str) -> Result<()> {
        match self.kind {
            Kind::Sqlite => {
                self.sqlite(side).await?.execute(AssertSqlSafe(format!("DELETE FROM {table}"))).await?;
            }
            Kind::Postgres => {
                self.postgres().await?.execute(AssertSqlSafe(format!("TRUNCATE {table}"))).await?;
            }
            Kind::MariaDb => {
                self.mariadb().await?.execute(AssertSqlSafe(format!("TRUNCATE {table}"))).await?;
            }
            Kind::RedisAlways | Kind::RedisEverySecond => {
                self.service()?.redis_call(&["FLUSHALL"])?;
            }
        }
        Ok(())
    }

    /// Bytes that this table takes with its indexes, once the engine has tidied it up; of Redis all keys' memory.
    ///
    /// # Errors
    ///
    /// If the engine does not say.
    pub async fn stored(&self, table: &str, side: &str) -> Result<u64> {
        let bytes = match self.kind {
            Kind::Sqlite => {
                let mut connection = self.sqlite(side).await?;
                connection.execute("VACUUM").await?;
                let size = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size";
                connection.fetch_one(size).await?.try_get::<i64, _>(0)?
            }
            Kind::Postgres => {
                let mut connection = self.postgres().await?;
                connection.execute(AssertSqlSafe(format!("VACUUM FULL {table}"))).await?;
                let size = format!("SELECT pg_total_relation_size('{table}')");
                connection.fetch_one(AssertSqlSafe(size)).await?.try_get::<i64, _>(0)?
            }
            Kind::MariaDb => {
                let mut connection = self.mariadb().await?;
                let (schema, name) = table.split_once('.').unwrap_or(("sessions", table));
                for tidy in ["OPTIMIZE", "ANALYZE"] {
                    connection.fetch_all(AssertSqlSafe(format!("{tidy} TABLE {table}"))).await?;
                }
                // Pages, by the index that they are of.
                let size = format!(
                    "SELECT CAST(SUM(stat_value) * @@innodb_page_size AS SIGNED) FROM mysql.innodb_index_stats \
                     WHERE database_name = '{schema}' AND table_name = '{name}' AND stat_name = 'size'"
                );
                connection.fetch_one(AssertSqlSafe(size)).await?.try_get::<i64, _>(0)?
            }
            Kind::RedisAlways | Kind::RedisEverySecond => return self.redis_memory(),
        };
        u64::try_from(bytes).context("less than nothing")
    }

    /// What the keys take, with their names, values and deadlines.
    fn redis_memory(&self) -> Result<u64> {
        const TOTAL: &str = "local total = 0 for _, key in ipairs(redis.call('KEYS', '*')) do \
                             total = total + redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 0) end return total";
        let total = self.service()?.redis_call(&["EVAL", TOTAL, "0"])?;
        total.parse().with_context(|| format!("not a number: {total}"))
    }

    fn service(&self) -> Result<&Service> {
        self.service.as_ref().context("no server")
    }

    async fn sqlite(&self, side: &str) -> Result<SqliteConnection> {
        Ok(SqliteConnection::connect(&self.url(side)).await?)
    }

    async fn postgres(&self) -> Result<PgConnection> {
        Ok(PgConnection::connect(self.service()?.url()).await?)
    }

    async fn mariadb(&self) -> Result<MySqlConnection> {
        Ok(MySqlConnection::connect(self.service()?.url()).await?)
    }
}

fn file(folder: &Path, side: &str) -> String {
    folder.join(format!("{side}.db")).display().to_string()
}
