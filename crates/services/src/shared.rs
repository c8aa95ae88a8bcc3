//! Servers that many tests share: those that the environment names, or one that this process starts.

use std::sync::OnceLock;

use crate::skip::in_ci;
use crate::{Cluster, Engine, Error, Service, Setup, scratch};

/// A server that many tests share. One that this process starts does not wait for the disk: do not use it to test what
/// survives a crash of the machine.
///
/// ```no_run
/// # fn test() {
/// let Some(url) = services::Shared::Redis.url() else { return };
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Shared {
    /// PostgreSQL.
    Postgres,
    /// MariaDB, or a MySQL that the environment names.
    MySql,
    /// A single Redis.
    Redis,
    /// A Redis cluster.
    RedisCluster,
    /// etcd.
    Etcd,
    /// Memcached.
    Memcached,
    /// An emulator of DynamoDB, or DynamoDB Local.
    DynamoDb,
}

/// The servers that run for this process; the reapers end them.
#[derive(Debug)]
enum Started {
    Service(Service),
    Cluster(Cluster),
}

impl Started {
    fn url(&self) -> String {
        match self {
            Self::Service(service) => service.url().to_owned(),
            Self::Cluster(cluster) => cluster.urls(),
        }
    }
}

impl Shared {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Postgres, Self::MySql, Self::Redis, Self::RedisCluster, Self::Etcd, Self::Memcached, Self::DynamoDb];

    /// A short name, for command lines and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::MySql => "mysql",
            Self::Redis => "redis",
            Self::RedisCluster => "redis-cluster",
            Self::Etcd => "etcd",
            Self::Memcached => "memcached",
            Self::DynamoDb => "dynamodb",
        }
    }

    /// The environment variable that names such a server by its URL (a cluster: its nodes' URLs, separated by commas).
    #[must_use]
    pub fn variable(self) -> &'static str {
        match self {
            Self::Postgres => "SECURE_SESSIONS_TEST_POSTGRES",
            Self::MySql => "SECURE_SESSIONS_TEST_MYSQL",
            Self::Redis => "SECURE_SESSIONS_TEST_REDIS",
            Self::RedisCluster => "SECURE_SESSIONS_TEST_REDIS_CLUSTER",
            Self::Etcd => "SECURE_SESSIONS_TEST_ETCD",
            Self::Memcached => "SECURE_SESSIONS_TEST_MEMCACHED",
            Self::DynamoDb => "SECURE_SESSIONS_TEST_DYNAMODB",
        }
    }

    /// Returns the URL that the environment names.
    #[must_use]
    pub fn from_environment(self) -> Option<String> {
        std::env::var(self.variable()).ok().filter(|url| !url.is_empty())
    }

    /// The URL that the environment names, or that of a server that this process starts at the first call.
    ///
    /// # Errors
    ///
    /// The reason why there is no server.
    pub fn try_url(self) -> Result<String, &'static Error> {
        static STARTED: [OnceLock<Result<Started, Error>>; Shared::ALL.len()] = [const { OnceLock::new() }; _];
        if let Some(url) = self.from_environment() {
            return Ok(url);
        }
        STARTED[self as usize].get_or_init(|| self.start()).as_ref().map(Started::url)
    }

    /// As [`try_url`](Self::try_url), for a test: where the machine does not have the server, the test says so, and ends
    /// without having tested anything; with `CI=true` in the environment it fails.
    ///
    /// # Panics
    ///
    /// If there is no server, and it is no excuse that the machine does not have it.
    #[must_use]
    #[expect(clippy::panic, reason = "for tests, which fail by it")]
    pub fn url(self) -> Option<String> {
        match self.try_url() {
            Ok(url) => Some(url),
            Err(missing @ Error::Missing { .. }) if !in_ci() => {
                eprintln!("SKIPPED {}: {missing}", self.name());
                None
            }
            Err(error) => panic!("{}: {error}", self.name()),
        }
    }

    fn start(self) -> Result<Started, Error> {
        match self {
            Self::Postgres => start(Engine::Postgres),
            Self::MySql => start(Engine::MariaDb),
            Self::Redis => start(Engine::Redis),
            Self::RedisCluster => Cluster::start().map(Started::Cluster),
            Self::Memcached => start(Engine::Memcached),
            Self::Etcd => in_memory(Engine::Etcd),
            Self::DynamoDb => in_memory(Engine::DynamoDb),
        }
    }
}

/// Nobody kills a server that many share, so it need not wait for the disk.
fn start(engine: Engine) -> Result<Started, Error> {
    Setup::new(engine).arguments(engine.unsynced().iter().copied()).start().map(Started::Service)
}

/// An engine that always waits for the disk has none to wait for.
fn in_memory(engine: Engine) -> Result<Started, Error> {
    Setup::new(engine).within(scratch()).start().map(Started::Service)
}
