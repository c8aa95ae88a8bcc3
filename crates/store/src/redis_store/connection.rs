//! The connection to a single server or a cluster: shared by all calls, and made again when it breaks.
//!
//! A command whose connection broke may have been carried out. It is sent once more, and its caller is told so: a script
//! recognises its own first run. If it does not, nobody knows what happened, and that is an error.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use redis::cluster::ClusterClientBuilder;
use redis::io::tcp::TcpSettings;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value, cmd};
use secure_sessions_core::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use super::cluster::Cluster;
use super::error::{self, Server, unexpected};
use super::replicas::{Failure, Fate, Line, Policy, Reached, Replicas, Written};
use super::single::{Single, is_replica};
use super::target::{Target, tcp};
use crate::StoreError;

/// The pause before a server that settles is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(250);
/// The time for which a cluster that moves a slot or elects a primary is asked again, and an address that still leads to the
/// old primary after a failover.
const SETTLING: Duration = Duration::from_secs(1);

#[derive(Clone)]
pub(super) struct Connection {
    link: Link,
    replicas: Arc<Replicas>,
    server: Server,
    /// The time for one command.
    timeout: Duration,
    /// Set to `true` if the server's `SET` compares (`IFEQ`).
    set_compares: Arc<AtomicBool>,
}

#[derive(Clone)]
enum Link {
    /// A connection for all calls, and one for those that wait for a replica: a `WAIT` holds up all that comes after it.
    Single {
        main: Arc<Single>,
        waiting: Arc<Single>,
        line: Arc<Line>,
    },
    Cluster(Arc<Cluster>),
}

/// The answer of a server.
pub(super) struct Answer {
    pub(super) value: Value,
    /// Set to `true` if the command was sent twice, and may have been carried out the first time.
    pub(super) is_second: bool,
    reached: Reached,
}

/// A server that holds keys.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Only,
    Of { host: String, port: u16 },
}

/// The place that a write has to reach before it is acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) enum Until<'a> {
    /// At the server.
    Server,
    /// At a replica of the server that has this key, if there are replicas.
    Replica(&'a str),
}

impl Connection {
    pub(super) async fn single(
        target: Target,
        server: Server,
        policy: Policy,
        limit: Duration,
    ) -> Result<Self, StoreError> {
        provide_cryptography();
        let target = Arc::new(target);
        let main = Arc::new(Single::new(Arc::clone(&target), limit));
        let primary = async {
            match main.connect().await {
                Err(error) if is_replica(&error) => Ok(false),
                outcome => outcome.map(|()| true),
            }
        };
        if !connect(limit, &server, primary).await? {
            return Err(StoreError::rejected(format!(
                "{server}: the server is a replica, which may lag behind its primary: connect to the primary"
            )));
        }
        // It connects when it is needed.
        let waiting = Arc::new(Single::new(target, limit));
        let replicas = Arc::new(Replicas::new(policy, server.clone(), limit));
        let line = Arc::new(Line::new(Arc::clone(&replicas), server.to_string()));
        Ok(Self::new(Link::Single { main, waiting, line }, replicas, server, limit))
    }

    pub(super) async fn cluster(
        builder: ClusterClientBuilder,
        server: Server,
        policy: Policy,
        limit: Duration,
    ) -> Result<Self, StoreError> {
        provide_cryptography();
        let client = builder
            // While the driver connects to a node that it misses, it sends nothing to the others.
            .connection_timeout(limit / 4)
            .response_timeout(limit)
            // It would send a command again that may have been carried out, without saying so.
            .retries(0)
            .tcp_settings(tcp(TcpSettings::default(), limit))
            .build()
            .map_err(|error| error::misconfigured(&error))?;
        let replicas = Arc::new(Replicas::new(policy, server.clone(), limit));
        let cluster = connect(limit, &server, Cluster::connect(client, Arc::clone(&replicas))).await?;
        Ok(Self::new(Link::Cluster(Arc::new(cluster)), replicas, server, limit))
    }

    fn new(link: Link, replicas: Arc<Replicas>, server: Server, limit: Duration) -> Self {
        Self { link, replicas, server, timeout: limit, set_compares: Arc::default() }
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.link, Link::Cluster(_))
    }

    pub(super) fn replicas(&self) -> &Replicas {
        &self.replicas
    }

    /// Runs a command on the server that its key is on: in a cluster the slot's primary.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let answer = self.within(command, self.send(command, Until::Server)).await?;
        redis::from_redis_value(answer.value).map_err(|_| unexpected())
    }

    /// Runs a command; if its error is of the expected kind, the other one.
    ///
    /// # Errors
    ///
    /// Also if no replica has the write, and the store is to report that.
    pub(super) async fn query_or(
        &self,
        command: Cmd,
        until: Until<'_>,
        expected: impl Fn(&RedisError) -> bool + Send,
        other: impl FnOnce() -> Cmd + Send,
    ) -> Result<Answer, StoreError> {
        let answer = self.within(&command, async {
            match self.send(&command, until).await {
                Err(error) if expected(&error) => self.send(&other(), until).await,
                outcome => outcome,
            }
        });
        let answer = answer.await?;
        self.replicas.judge(answer.reached)?;
        Ok(answer)
    }

    /// Runs a command, and returns `true` if the user has no right to it.
    pub(super) async fn is_denied(&self, command: &Cmd) -> Result<bool, StoreError> {
        self.within(command, async {
            match self.send(command, Until::Server).await {
                Err(error) if error.is_io_error() => Err(error),
                Err(error) => Ok(error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)),
                Ok(_) => Ok(false),
            }
        })
        .await
    }

    /// Finds out if the server's `SET` compares: that of Valkey does since 8.1, that of Redis since 8.4. No session has this
    /// key.
    pub(super) async fn ask_if_set_compares(&self, key: &str) -> Result<(), StoreError> {
        let mut set = cmd("SET");
        set.arg(key).arg("").arg("IFEQ").arg("-");
        let compares = self.within(&set, async {
            match self.send(&set, Until::Server).await {
                Err(error) if error.is_io_error() => Err(error),
                outcome => Ok(outcome.is_ok()),
            }
        });
        self.set_compares_from_now_on(compares.await?);
        Ok(())
    }

    pub(super) fn set_compares(&self) -> bool {
        self.set_compares.load(Ordering::Relaxed)
    }

    pub(super) fn set_compares_from_now_on(&self, compares: bool) {
        self.set_compares.store(compares, Ordering::Relaxed);
    }

    /// Runs a command on this node.
    pub(super) async fn query_on<T: FromRedisValue>(&self, node: &Node, command: Cmd) -> Result<T, StoreError> {
        let value = match (&self.link, node) {
            (Link::Cluster(cluster), Node::Of { host, port }) => {
                self.within(&command, cluster.send_to(host, *port, command.clone())).await?
            }
            _ => self.within(&command, self.send(&command, Until::Server)).await?.value,
        };
        redis::from_redis_value(value).map_err(|_| unexpected())
    }

    /// Reads a value from the primary.
    ///
    /// After a failover, the connection to a single server may still lead to the old primary, which answers a `GET` from
    /// the past. A `GETEX` that changes nothing reads the same, and a replica refuses it. (A cluster's node says by itself
    /// that a slot has moved.)
    pub(super) async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let command = |name: &str| {
            let mut get = Cmd::with_capacity(2, name.len() + key.len());
            get.arg(name).arg(key);
            get
        };
        if self.is_cluster() {
            return self.query(&command("GET")).await;
        }
        // A primary that refuses all writes for now, because its disk fails or its replicas are gone, still reads.
        let takes_no_writes = |error: &RedisError| matches!(error.code(), Some("MISCONF" | "NOREPLICAS"));
        let answer = self.query_or(command("GETEX"), Until::Server, takes_no_writes, || command("GET")).await?;
        redis::from_redis_value(answer.value).map_err(|_| unexpected())
    }

    /// Returns the time by the server's clock; in a cluster, by that of any node.
    pub(super) async fn now(&self) -> Result<Timestamp, StoreError> {
        let (seconds, micros): (u64, u64) = self.query(&cmd("TIME")).await?;
        Ok(Timestamp::from_millis(seconds.saturating_mul(1000).saturating_add(micros / 1000)))
    }

    /// Returns the servers that hold keys.
    pub(super) async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        let Link::Cluster(cluster) = &self.link else { return Ok(vec![Node::Only]) };
        let primaries = self.within(cmd("CLUSTER").arg("SLOTS"), cluster.primaries()).await?;
        Ok(primaries.iter().map(|shard| Node::Of { host: shard.host.clone(), port: shard.port }).collect())
    }

    /// Refuses a server that may evict sessions.
    pub(super) async fn refuse_eviction(&self) -> Result<(), StoreError> {
        // If the server does not tell, trust its operator.
        let info: Result<String, StoreError> = self.query(cmd("INFO").arg("memory")).await;
        let info = match info {
            Ok(info) => info,
            Err(StoreError::Rejected(_)) => return Ok(()),
            Err(error) => return Err(error),
        };
        let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        let evicts = field("maxmemory_policy").is_some_and(|policy| policy.trim() != "noeviction")
            && field("maxmemory").is_some_and(|limit| limit.trim() != "0");
        if evicts {
            return Err(StoreError::rejected(
                "the server evicts keys when its memory is full, and so ends sessions: set maxmemory-policy to noeviction",
            ));
        }
        Ok(())
    }

    /// Sends a command, and sends it again if that helps and does no harm.
    async fn send(&self, command: &Cmd, until: Until<'_>) -> Result<Answer, RedisError> {
        let start = Instant::now();
        let (mut is_second, mut pause) = (false, FIRST_PAUSE);
        loop {
            let Failure { error, fate } = match self.send_once(command, until).await {
                Ok(Written { value, reached, is_second: again }) => {
                    return Ok(Answer { value, is_second: is_second || again, reached });
                }
                Err(failure) => failure,
            };
            if fate != Fate::Done && self.is_settling(&error) && start.elapsed() < SETTLING {
                is_second |= fate == Fate::Unknown;
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            } else if (fate == Fate::Done || is_broken(&error)) && !is_second {
                is_second = true;
            } else {
                return Err(error);
            }
        }
    }

    async fn within<T>(
        &self,
        command: &Cmd,
        work: impl Future<Output = Result<T, RedisError>>,
    ) -> Result<T, StoreError> {
        // Pinned here: the future is large, and would be moved once more.
        match timeout(self.timeout, pin!(work)).await {
            Ok(outcome) => outcome.map_err(|error| self.server.failed(command, &error)),
            Err(_) => Err(StoreError::Timeout),
        }
    }

    async fn send_once(&self, command: &Cmd, until: Until<'_>) -> Result<Written, Failure> {
        match (&self.link, until) {
            (Link::Single { main, .. }, Until::Server) => Ok(Written::once(main.send(command).await?, Reached::Server)),
            (Link::Cluster(cluster), Until::Server) => Ok(Written::once(cluster.send(command).await?, Reached::Server)),
            // Boxed: these are rare, and would make the future of each call larger.
            (Link::Single { main, waiting, line }, Until::Replica(key)) => {
                self.send_and_wait(main, waiting, line, command, key).boxed().await
            }
            (Link::Cluster(cluster), Until::Replica(key)) => cluster.send_and_wait(command, key).boxed().await,
        }
    }

    async fn send_and_wait(
        &self,
        main: &Arc<Single>,
        waiting: &Arc<Single>,
        line: &Arc<Line>,
        command: &Cmd,
        key: &str,
    ) -> Result<Written, Failure> {
        if main.replicas().await == 0 {
            return Ok(Written::once(main.send(command).await?, self.replicas.reached_alone()));
        }
        waiting.stay_with(main);
        let waiting = Arc::clone(waiting);
        let written = line.send(command, key, move |pipe, _: &str| Arc::clone(&waiting).send_all(pipe)).await?;
        if written.reached == Reached::NoReplica {
            // Perhaps there are none any more.
            main.count_replicas().await;
        }
        Ok(written)
    }

    /// Returns `true` if the error says that nothing was done yet, and that the server, or the one that takes its place, will
    /// be ready soon.
    fn is_settling(&self, error: &RedisError) -> bool {
        if !self.is_cluster() {
            return is_replica(error);
        }
        let is_told = matches!(
            error.kind(),
            ErrorKind::ClusterConnectionNotFound
                | ErrorKind::Server(
                    ServerErrorKind::Moved
                        | ServerErrorKind::Ask
                        | ServerErrorKind::TryAgain
                        | ServerErrorKind::ClusterDown
                        | ServerErrorKind::MasterDown
                        | ServerErrorKind::BusyLoading
                        | ServerErrorKind::ReadOnly,
                )
        );
        is_told || error.is_connection_refusal()
    }
}

/// Returns `true` if the connection broke, so that the fate of the command is unknown. (A connection that could not be made
/// is reported at once; a silent server has used up its time.)
fn is_broken(error: &RedisError) -> bool {
    error.is_connection_dropped() && !error.is_connection_refusal() && !error.is_timeout()
}

/// Returns `true` if the server does not know an option of a command, and so did nothing.
pub(super) fn is_syntax_error(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ResponseError)
        && error.detail().is_some_and(|detail| detail.starts_with("syntax error"))
}

/// Chooses the cryptography for TLS, unless the application has chosen one: the driver panics if the process has none, or if
/// features name several.
fn provide_cryptography() {
    #[cfg(feature = "redis-rustls")]
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Somebody else may have been faster.
        let _ = rustls::crypto::ring::default_provider().install_default();
    }
}

async fn connect<T>(
    limit: Duration,
    server: &Server,
    connecting: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, StoreError> {
    match timeout(limit, connecting).await {
        Ok(Err(error)) if error.is_timeout() => Err(server.silent(limit)),
        Ok(outcome) => outcome.map_err(|error| server.unreachable(&error)),
        Err(_) => Err(server.silent(limit)),
    }
}
