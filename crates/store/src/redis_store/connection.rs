//! The connection to a single server or a cluster: shared by all calls, and made again when it breaks.
//!
//! A command whose connection broke may have been carried out. It is sent once more, and its caller is told so: a script
//! recognises its own first run. If it does not, nobody knows what happened, and that is an error.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redis::aio::ConnectionLike;
use redis::cluster::ClusterClientBuilder;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{RoutingInfo, SingleNodeRoutingInfo};
use redis::io::tcp::TcpSettings;
use redis::{Client, Cmd, ErrorKind, FromRedisValue, RedisError, ServerErrorKind, Value, cmd, pipe};
use secure_sessions_core::Timestamp;
use tokio::time::{Instant, sleep, timeout};

use super::error::{self, Server, unexpected};
use super::single::{Single, is_replica};
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
    server: Server,
    /// The time for one command.
    timeout: Duration,
}

#[derive(Clone)]
enum Link {
    Single(Arc<Single>),
    Cluster(ClusterConnection),
}

/// The answer of a server.
pub(super) struct Answer {
    pub(super) value: Value,
    /// Set to `true` if the command was sent twice, and may have been carried out the first time.
    pub(super) is_second: bool,
}

/// A server that holds keys.
#[derive(Debug, Clone)]
pub(super) enum Node {
    Only,
    Of { host: String, port: u16 },
}

impl Connection {
    pub(super) async fn single(client: Client, limit: Duration) -> Result<Self, StoreError> {
        provide_cryptography();
        let info = client.get_connection_info();
        let settings = tcp(info.tcp_settings().clone(), limit);
        let server = Server::single(info);
        let client = Client::open(info.clone().set_tcp_settings(settings));
        let client = client.map_err(|error| server.unreachable(&error))?;
        let single = Single::new(client, limit);
        let primary = async {
            match single.connect().await {
                Err(error) if is_replica(&error) => Ok(false),
                outcome => outcome.map(|()| true),
            }
        };
        if !connect(limit, &server, primary).await? {
            return Err(StoreError::rejected(format!(
                "{server}: the server is a replica, which may lag behind its primary: connect to the primary"
            )));
        }
        Ok(Self { link: Link::Single(Arc::new(single)), server, timeout: limit })
    }

    pub(super) async fn cluster(
        builder: ClusterClientBuilder,
        server: Server,
        limit: Duration,
    ) -> Result<Self, StoreError> {
        provide_cryptography();
        let client = builder
            .connection_timeout(limit)
            .response_timeout(limit)
            // It would send a command again that may have been carried out, without saying so.
            .retries(0)
            .tcp_settings(tcp(TcpSettings::default(), limit))
            .build()
            .map_err(|error| error::misconfigured(&error))?;
        let connection = connect(limit, &server, client.get_async_connection()).await?;
        Ok(Self { link: Link::Cluster(connection), server, timeout: limit })
    }

    pub(super) fn is_cluster(&self) -> bool {
        matches!(self.link, Link::Cluster(_))
    }

    /// Runs a command on the server that its key is on: in a cluster the slot's primary.
    pub(super) async fn query<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, StoreError> {
        let answer = self.within(command, self.send(command)).await?;
        redis::from_redis_value(answer.value).map_err(|_| unexpected())
    }

    /// Runs a command; if its error is of the expected kind, the other one.
    pub(super) async fn query_or(
        &self,
        command: Cmd,
        expected: impl Fn(&RedisError) -> bool + Send,
        other: impl FnOnce() -> Cmd + Send,
    ) -> Result<Answer, StoreError> {
        self.within(&command, async {
            match self.send(&command).await {
                Err(error) if expected(&error) => self.send(&other()).await,
                outcome => outcome,
            }
        })
        .await
    }

    /// Runs a command, and returns `true` if the user has no right to it.
    pub(super) async fn is_denied(&self, command: &Cmd) -> Result<bool, StoreError> {
        self.within(command, async {
            match self.send(command).await {
                Err(error) if error.is_io_error() => Err(error),
                Err(error) => Ok(error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm)),
                Ok(_) => Ok(false),
            }
        })
        .await
    }

    /// Runs a command on this node.
    pub(super) async fn query_on<T: FromRedisValue>(&self, node: &Node, command: Cmd) -> Result<T, StoreError> {
        let value = match (&self.link, node) {
            (Link::Cluster(connection), Node::Of { host, port }) => {
                let routing = SingleNodeRoutingInfo::ByAddress { host: host.clone(), port: *port };
                let mut connection = connection.clone();
                self.within(&command, async {
                    let routing = RoutingInfo::SingleNode(routing);
                    connection.route_command(command.clone(), routing).await.and_then(Value::extract_error)
                })
                .await?
            }
            _ => self.within(&command, self.send(&command)).await?.value,
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
            let mut get = cmd(name);
            get.arg(key);
            get
        };
        if self.is_cluster() {
            return self.query(&command("GET")).await;
        }
        // A primary that refuses all writes for now, because its disk fails or its replicas are gone, still reads.
        let takes_no_writes = |error: &RedisError| matches!(error.code(), Some("MISCONF" | "NOREPLICAS"));
        let answer = self.query_or(command("GETEX"), takes_no_writes, || command("GET")).await?;
        redis::from_redis_value(answer.value).map_err(|_| unexpected())
    }

    /// Returns the time by the server's clock; in a cluster, by that of any node.
    pub(super) async fn now(&self) -> Result<Timestamp, StoreError> {
        let (seconds, micros): (u64, u64) = self.query(&cmd("TIME")).await?;
        Ok(Timestamp::from_millis(seconds.saturating_mul(1000).saturating_add(micros / 1000)))
    }

    /// Returns the servers that hold keys.
    pub(super) async fn nodes(&self) -> Result<Vec<Node>, StoreError> {
        if !self.is_cluster() {
            return Ok(vec![Node::Only]);
        }
        let slots: Vec<Vec<Value>> = self.query(cmd("CLUSTER").arg("SLOTS")).await?;
        let mut nodes: Vec<(String, u16)> = Vec::new();
        for range in slots {
            // The first and last slot, the primary, its replicas.
            let primary = range.into_iter().nth(2).ok_or_else(unexpected)?;
            let Value::Array(fields) = primary else { return Err(unexpected()) };
            let [host, port, ..] = fields.as_slice() else { return Err(unexpected()) };
            let host = redis::from_redis_value_ref(host).map_err(|_| unexpected())?;
            let port = redis::from_redis_value_ref(port).map_err(|_| unexpected())?;
            if !nodes.contains(&(host, port)) {
                nodes.push((redis::from_redis_value_ref(&fields[0]).map_err(|_| unexpected())?, port));
            }
        }
        Ok(nodes.into_iter().map(|(host, port)| Node::Of { host, port }).collect())
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
    async fn send(&self, command: &Cmd) -> Result<Answer, RedisError> {
        let start = Instant::now();
        let (mut is_second, mut pause) = (false, FIRST_PAUSE);
        loop {
            let error = match self.send_once(command).await {
                Ok(value) => return Ok(Answer { value, is_second }),
                Err(error) => error,
            };
            if self.is_settling(&error) && start.elapsed() < SETTLING {
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            } else if is_broken(&error) && !is_second {
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
        match timeout(self.timeout, work).await {
            Ok(outcome) => outcome.map_err(|error| self.server.failed(command, &error)),
            Err(_) => Err(StoreError::Timeout),
        }
    }

    async fn send_once(&self, command: &Cmd) -> Result<Value, RedisError> {
        match &self.link {
            Link::Single(single) => single.send(command).await,
            Link::Cluster(connection) => {
                let mut connection = connection.clone();
                match connection.req_packed_command(command).await.and_then(Value::extract_error) {
                    Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Ask) => {
                        ask(&mut connection, command, error).await
                    }
                    outcome => outcome,
                }
            }
        }
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

/// Follows a slot to the node that it is moving to.
async fn ask(connection: &mut ClusterConnection, command: &Cmd, error: RedisError) -> Result<Value, RedisError> {
    let to = error.redirect_node().and_then(|(address, _)| {
        let (host, port) = address.rsplit_once(':')?;
        Some(SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port: port.parse().ok()? })
    });
    let Some(to) = to else { return Err(error) };
    let mut asking = pipe();
    asking.cmd("ASKING").add_command(command.clone());
    let mut answers = connection.route_pipeline(asking, 0, 2, to).await?;
    answers.pop().map_or(Err(error), Value::extract_error)
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

/// Gives up a peer that has vanished silently after a few timeouts, not after the kernel's quarter of an hour.
fn tcp(settings: TcpSettings, limit: Duration) -> TcpSettings {
    let settings = settings.set_nodelay(true);
    #[cfg(target_os = "linux")]
    let settings = settings.set_user_timeout(limit.saturating_mul(3));
    #[cfg(not(target_os = "linux"))]
    let _ = limit;
    settings
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
