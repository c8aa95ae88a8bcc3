//! The connection to a single server: shared by all calls, and made again when it breaks or leads to a replica.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{AsyncConnectionConfig, Client, Cmd, ErrorKind, RedisError, ServerErrorKind, Value, cmd};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep};

/// The pauses before another try to connect: a server that is being started again is found without an error.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(40)];
/// The time for which all calls get the error of a failed connect at once: a server that is back is found within it.
const FAILS_FAST: Duration = Duration::from_millis(250);

/// A single server.
pub(super) struct Single {
    client: Client,
    config: AsyncConnectionConfig,
    current: Mutex<Current>,
    /// Held by the call that connects. The others wait for its outcome.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Current {
    connection: Option<MultiplexedConnection>,
    /// The number of connections so far, so that an error of an older one does not close this one.
    number: u64,
    /// The last failure to connect.
    failed: Option<(Instant, RedisError)>,
}

impl Single {
    pub(super) fn new(client: Client, limit: Duration) -> Self {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(limit)).set_response_timeout(Some(limit));
        Self { client, config, current: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    /// Connects, unless there is a connection.
    pub(super) async fn connect(&self) -> Result<(), RedisError> {
        self.connection().await.map(drop)
    }

    /// Sends a command. The next one gets another connection if this one broke, or leads to a replica by now.
    pub(super) async fn send(&self, command: &Cmd) -> Result<Value, RedisError> {
        let (number, mut connection) = self.connection().await?;
        let outcome = connection.req_packed_command(command).await.and_then(Value::extract_error);
        if let Err(error) = &outcome
            && (error.is_unrecoverable_error() || is_replica(error))
        {
            let mut current = self.current();
            if current.number == number {
                current.connection = None;
            }
        }
        outcome
    }

    async fn connection(&self) -> Result<(u64, MultiplexedConnection), RedisError> {
        match self.connected() {
            Ok(Some(connected)) => return Ok(connected),
            Ok(None) => {}
            Err(error) => {
                // A caller that tries again at once must not keep others from their turn.
                yield_now().await;
                return Err(error);
            }
        }
        let _connecting = self.connecting.lock().await;
        // Another call may have connected meanwhile, or failed to.
        if let Some(connected) = self.connected()? {
            return Ok(connected);
        }
        let outcome = self.try_to_connect().await;
        let mut current = self.current();
        match outcome {
            Ok(connection) => {
                current.connection = Some(connection.clone());
                current.number += 1;
                Ok((current.number, connection))
            }
            Err(error) => {
                current.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn connected(&self) -> Result<Option<(u64, MultiplexedConnection)>, RedisError> {
        let current = self.current();
        if let Some(connection) = &current.connection {
            return Ok(Some((current.number, connection.clone())));
        }
        match &current.failed {
            Some((at, error)) if at.elapsed() < FAILS_FAST => Err(error.clone()),
            _ => Ok(None),
        }
    }

    async fn try_to_connect(&self) -> Result<MultiplexedConnection, RedisError> {
        for pause in PAUSES {
            match self.connect_once().await {
                Err(error) if error.is_connection_refusal() => sleep(pause).await,
                outcome => return outcome,
            }
        }
        self.connect_once().await
    }

    /// Connects to the primary: after a failover, an address can lead to a replica for a moment.
    async fn connect_once(&self) -> Result<MultiplexedConnection, RedisError> {
        let mut connection = self.client.get_multiplexed_async_connection_with_config(&self.config).await?;
        match connection.req_packed_command(&cmd("ROLE")).await.and_then(Value::extract_error) {
            Ok(Value::Array(role)) if role.first().is_some_and(is_slave) => {
                Err((ErrorKind::Server(ServerErrorKind::ReadOnly), "the server is a replica").into())
            }
            Ok(_) => Ok(connection),
            // The user may not ask. The first command that only a primary accepts will tell.
            Err(error) if matches!(error.kind(), ErrorKind::Server(ServerErrorKind::NoPerm)) => Ok(connection),
            Err(error) => Err(error),
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_slave(role: &Value) -> bool {
    redis::from_redis_value_ref::<String>(role).is_ok_and(|role| role == "slave")
}

/// Returns `true` if a replica refused the command, and so did nothing. (Redis 6.2 reports the code of a command in a script
/// behind a text of its own.)
pub(super) fn is_replica(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
        || error.detail().is_some_and(|detail| detail.contains(" -READONLY "))
}
