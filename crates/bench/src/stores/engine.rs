//! The engines: how each is started, and what it says that it has written and stores.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;

use anyhow::{Context, Result, bail, ensure};
use services::{Cluster, Engine as Server, Service, Setup};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, PgConnection, Row, SqliteConnection};
use tempfile::TempDir;

/// The engines that sessions are kept in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The application's own memory.
    Memory,
    /// SQLite: a file in WAL mode, synchronous=FULL.
    Sqlite,
    /// redb: a file that is synced before it answers.
    Redb,
    /// PostgreSQL with its defaults.
    Postgres,
    /// MariaDB with its defaults, but for a smaller buffer pool.
    MariaDb,
    /// Redis that appends each write to its file and syncs it before it answers.
    RedisAlways,
    /// Redis that syncs its file once a second.
    RedisEverySecond,
    /// A Redis cluster of three nodes, which sync their files before they answer.
    RedisCluster,
    /// etcd with its defaults, one node.
    Etcd,
    /// Memcached, which keeps everything in memory.
    Memcached,
}

impl Kind {
    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Sqlite => "SQLite",
            Self::Redb => "redb",
            Self::Postgres => "PostgreSQL",
            Self::MariaDb => "MariaDB",
            Self::RedisAlways => "Redis, always",
            Self::RedisEverySecond => "Redis, everysec",
            Self::RedisCluster => "Redis cluster",
            Self::Etcd => "etcd",
            Self::Memcached => "Memcached",
        }
    }
}

/// An engine that runs, for this process alone.
#[derive(Debug)]
pub struct Engine {
    kind: Kind,
    running: Running,
}

#[derive(Debug)]
enum Running {
    /// In the process of each side.
    Inside,
    /// Files in a folder, one for each side.
    Files(TempDir),
    Server(Service),
    Cluster(Cluster),
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
        let running = match kind {
            Kind::Memory => Running::Inside,
            Kind::Sqlite | Kind::Redb => {
                Running::Files(tempfile::Builder::new().prefix("secure-sessions-bench-").tempdir()?)
            }
            Kind::Postgres => Running::Server(Service::postgres()?),
            Kind::MariaDb => Running::Server(Service::mariadb()?),
            Kind::RedisAlways => Running::Server(redis("always")?),
            Kind::RedisEverySecond => Running::Server(redis("everysec")?),
            Kind::RedisCluster => Running::Cluster(Cluster::start()?),
            Kind::Etcd => Running::Server(Setup::new(Server::Etcd).start()?),
            Kind::Memcached => Running::Server(Setup::new(Server::Memcached).start()?),
        };
        Ok(Self { kind, running })
    }

    /// Which it is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Returns where a side finds it. Each side has a file of its own, so that neither's pages are among the other's.
    #[must_use]
    pub fn url(&self, side: &str) -> String {
        match &self.running {
            Running::Inside => "memory:".to_owned(),
            Running::Files(folder) => {
                let scheme = if self.kind == Kind::Redb { "redb" } else { "sqlite" };
                format!("{scheme}:{}", folder.path().join(format!("{side}.db")).display())
            }
            Running::Server(service) => service.url().to_owned(),
            Running::Cluster(cluster) => cluster.urls(),
        }
    }

    /// Bytes that it has written so far to its log of changes. `None` if that is up to the side's own process; always 0 if it
    /// keeps no log, or does not say.
    ///
    /// # Errors
    ///
    /// If the engine does not say.
    pub async fn written(&self) -> Result<Option<u64>> {
        let number = match self.kind {
            Kind::Memory | Kind::Etcd | Kind::Memcached => return Ok(Some(0)),
            Kind::Sqlite | Kind::Redb => return Ok(None),
            Kind::Postgres => {
                let position = "SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint";
                self.postgres().await?.fetch_one(position).await?.try_get::<i64, _>(0)?.to_string()
            }
            Kind::MariaDb => {
                let position = "SHOW GLOBAL STATUS LIKE 'Innodb_lsn_current'";
                self.mariadb().await?.fetch_one(position).await?.try_get::<String, _>(1)?
            }
            Kind::RedisAlways | Kind::RedisEverySecond | Kind::RedisCluster => {
                return self
                    .of_all_redis(&["INFO", "persistence"], |info| {
                        let size = info.lines().find_map(|line| line.strip_prefix("aof_current_size:"));
                        Ok(size.context("no aof_current_size")?.trim().parse()?)
                    })
                    .map(Some);
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
            // These are not sized.
            Kind::Memory | Kind::Redb | Kind::Etcd => {}
            Kind::Sqlite => {
                self.sqlite(side).await?.execute(AssertSqlSafe(format!("DELETE FROM {table}"))).await?;
            }
            Kind::Postgres => {
                self.postgres().await?.execute(AssertSqlSafe(format!("TRUNCATE {table}"))).await?;
            }
            Kind::MariaDb => {
                self.mariadb().await?.execute(AssertSqlSafe(format!("TRUNCATE {table}"))).await?;
            }
            Kind::RedisAlways | Kind::RedisEverySecond | Kind::RedisCluster => {
                self.of_all_redis(&["FLUSHALL"], |_| Ok(0))?;
            }
            Kind::Memcached => {
                let said = self.memcached("flush_all")?;
                ensure!(said == ["OK"], "flush_all was answered {said:?}");
            }
        }
        Ok(())
    }

    /// Bytes that this table takes with its indexes, once the engine has tidied it up; of Redis and Memcached those of all
    /// keys.
    ///
    /// # Errors
    ///
    /// If the engine does not say.
    pub async fn stored(&self, table: &str, side: &str) -> Result<u64> {
        let bytes = match self.kind {
            Kind::Memory | Kind::Redb | Kind::Etcd => bail!("{} does not say what it stores", self.kind.name()),
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
            Kind::RedisAlways | Kind::RedisEverySecond | Kind::RedisCluster => return self.redis_memory(),
            Kind::Memcached => {
                let said = self.memcached("stats")?;
                let bytes = said.iter().find_map(|line| line.strip_prefix("STAT bytes "));
                return bytes.context("no bytes")?.parse().context("not a number");
            }
        };
        u64::try_from(bytes).context("less than nothing")
    }

    /// Returns the bytes that the keys take, with their names, values and deadlines.
    fn redis_memory(&self) -> Result<u64> {
        const TOTAL: &str = "local total = 0 for _, key in ipairs(redis.call('KEYS', '*')) do \
                             total = total + redis.call('MEMORY', 'USAGE', key, 'SAMPLES', 0) end return total";
        self.of_all_redis(&["EVAL", TOTAL, "0"], |total| {
            total.parse().with_context(|| format!("not a number: {total}"))
        })
    }

    /// Asks each node of Redis, and returns the sum of the numbers in their answers.
    fn of_all_redis(&self, command: &[&str], read: impl Fn(&str) -> Result<u64>) -> Result<u64> {
        let nodes = match &self.running {
            Running::Cluster(cluster) => cluster.nodes(),
            _ => std::slice::from_ref(self.service()?),
        };
        nodes.iter().map(|node| read(&node.redis_call(command)?)).sum()
    }

    /// Gives Memcached a command, and returns the lines of its answer.
    fn memcached(&self, command: &str) -> Result<Vec<String>> {
        let mut connection = TcpStream::connect(("127.0.0.1", self.service()?.port()))?;
        connection.write_all(format!("{command}\r\nquit\r\n").as_bytes())?;
        Ok(BufReader::new(connection).lines().collect::<Result<_, _>>()?)
    }

    fn service(&self) -> Result<&Service> {
        if let Running::Server(service) = &self.running {
            Ok(service)
        } else {
            bail!("{} is no server", self.kind.name())
        }
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
