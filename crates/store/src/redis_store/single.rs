//! A connection to a single server: shared by all calls, and made again when it breaks, leads to a replica, or to a server that
//! the sentinels have replaced. While many large writes are under way, it has more sockets, which are given up together.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::{
    Arg, AsyncConnectionConfig, Cmd, ConnectionAddr, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value, cmd,
};
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, timeout};

use super::target::Target;

/// The pauses before another try to connect: a server that is being started again is found without an error.
const PAUSES: [Duration; 2] = [Duration::from_millis(20), Duration::from_millis(40)];
/// The time for which all calls get the error of a failed connect at once: a server that is back is found within it.
const FAILS_FAST: Duration = Duration::from_millis(250);
/// The age from which it is asked again whether there are replicas, if there were none, and who is the primary.
const LOOKS_AGAIN: Duration = Duration::from_secs(1);
/// The most sockets of a connection.
const MOST_SOCKETS: usize = 8;
/// The bytes that a server reads from one socket before it turns to the next.
const TURN: usize = 16 * 1024;
/// The bytes of a command from which on it is a reason to open another socket: reads are shorter, and no syncs wait for them.
const LARGE: usize = 1024;
/// The time after which a socket beside the first is closed if nobody needed it: it counts for the server's `maxclients`.
const IDLE: Duration = Duration::from_secs(30);

/// A connection to a single server, of as many sockets as there is work for.
pub(super) struct Single {
    target: Arc<Target>,
    config: AsyncConnectionConfig,
    limit: Duration,
    current: Mutex<Current>,
    /// Held by the call that connects. The others wait for its outcome.
    connecting: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Current {
    /// The sockets of the connection; none if there is no connection.
    sockets: Vec<Socket>,
    /// Set to `true` while another socket is being opened.
    opens_socket: bool,
    /// The runtime of the call that connected, which drives all sockets.
    runtime: Option<Handle>,
    /// The server that the connection leads to.
    address: Option<ConnectionAddr>,
    /// The number of connections so far, so that an error of an older one does not close this one.
    number: u64,
    /// The last failure to connect.
    failed: Option<(Instant, RedisError)>,
    /// The number of replicas that the server had when it was asked last. None are known of a server that does not tell.
    replicas: usize,
    asked_for_replicas: Option<Instant>,
    asked_for_primary: Option<Instant>,
}

/// A socket, which many calls share.
///
/// A server carries out all that it has read from its sockets, syncs its file once, and answers. It reads no more than [`TURN`]
/// from each meanwhile, which is five values of 3 kB: over a single socket, it syncs for every fifth write.
struct Socket {
    connection: MultiplexedConnection,
    /// The bytes of commands whose callers wait for an answer.
    unanswered: Arc<AtomicUsize>,
    used: Instant,
}

impl Socket {
    fn new(connection: MultiplexedConnection) -> Self {
        Self { connection, unanswered: Arc::default(), used: Instant::now() }
    }

    fn is_idle(&self) -> bool {
        self.unanswered() == 0 && self.used.elapsed() > IDLE
    }

    fn unanswered(&self) -> usize {
        self.unanswered.load(Ordering::Relaxed)
    }

    fn has_room_for(&self, bytes: usize) -> bool {
        let unanswered = self.unanswered();
        unanswered == 0 || unanswered + bytes <= TURN
    }

    fn taken_for(&mut self, bytes: usize) -> Taken {
        self.used = Instant::now();
        self.unanswered.fetch_add(bytes, Ordering::Relaxed);
        Taken { connection: self.connection.clone(), unanswered: Arc::clone(&self.unanswered), bytes }
    }
}

/// The socket of a call that has no answer yet.
struct Taken {
    connection: MultiplexedConnection,
    unanswered: Arc<AtomicUsize>,
    bytes: usize,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.unanswered.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Single {
    /// Prepares a connection. The caller limits the time of each call; this limits that of connecting.
    pub(super) fn new(target: Arc<Target>, limit: Duration) -> Self {
        let config = AsyncConnectionConfig::new().set_connection_timeout(Some(limit)).set_response_timeout(None);
        Self { target, config, limit, current: Mutex::default(), connecting: tokio::sync::Mutex::default() }
    }

    /// Connects, unless there is a connection.
    pub(super) async fn connect(self: &Arc<Self>) -> Result<(), RedisError> {
        self.socket(0).await.map(drop)
    }

    /// Sends a command. The next one gets another connection if this one broke, or leads to a replica by now.
    pub(super) async fn send(self: &Arc<Self>, command: &Cmd) -> Result<Value, RedisError> {
        self.send_numbered(command).await.map(|(_, value)| value)
    }

    /// Sends a command. Also returns the number of its connection.
    async fn send_numbered(self: &Arc<Self>, command: &Cmd) -> Result<(u64, Value), RedisError> {
        let (number, mut socket) = self.socket(length(command)).await?;
        self.follow_the_sentinels();
        let outcome = socket.connection.req_packed_command(command).await.and_then(Value::extract_error);
        if let Err(error) = &outcome {
            self.leave_if_useless(number, error);
        }
        outcome.map(|value| (number, value))
    }

    /// Sends commands on one connection, and returns an answer for each, which may be an error. If the caller gives up before,
    /// the next ones get another connection, perhaps to another server.
    pub(super) async fn send_all(self: Arc<Self>, commands: Pipeline) -> Result<Vec<Value>, RedisError> {
        let (number, mut socket) = self.socket(0).await?;
        self.follow_the_sentinels();
        let mut unanswered = Unanswered(Some((&self, number)));
        let outcome = socket.connection.req_packed_commands(&commands, 0, commands.len()).await;
        unanswered.0 = None;
        match &outcome {
            Ok(answers) => {
                for answer in answers {
                    if let Value::ServerError(error) = answer {
                        self.leave_if_useless(number, &error.clone().into());
                    }
                }
            }
            Err(error) => self.leave_if_useless(number, error),
        }
        outcome
    }

    /// Returns the number of connected replicas. If there were none, it asks the server from time to time.
    pub(super) async fn replicas(self: &Arc<Self>) -> usize {
        {
            let mut current = self.current();
            if current.replicas > 0 || current.asked_for_replicas.is_some_and(|at| at.elapsed() < LOOKS_AGAIN) {
                return current.replicas;
            }
            // Nobody else asks meanwhile.
            current.asked_for_replicas = Some(Instant::now());
        }
        self.count_replicas().await
    }

    /// Asks the server for the number of its replicas.
    pub(super) async fn count_replicas(self: &Arc<Self>) -> usize {
        let role = self.send_numbered(&cmd("ROLE")).await;
        let mut current = self.current();
        if let Ok((number, Value::Array(role))) = role
            && number == current.number
        {
            current.replicas = replicas(&role);
        }
        current.replicas
    }

    /// Asks the sentinels, from time to time and in the background, who is the primary: one that is cut off from them does
    /// not learn that it was replaced, and goes on answering.
    fn follow_the_sentinels(self: &Arc<Self>) {
        if !self.target.may_move() {
            return;
        }
        let mut current = self.current();
        if current.asked_for_primary.is_some_and(|at| at.elapsed() < LOOKS_AGAIN) {
            return;
        }
        current.asked_for_primary = Some(Instant::now());
        let (this, number, address) = (Arc::clone(self), current.number, current.address.clone());
        tokio::spawn(async move {
            // While they know none, the one that we have is as good as any.
            if let Ok(primary) = this.target.primary().await
                && Some(primary.get_connection_info().addr()) != address.as_ref()
            {
                this.leave(number);
            }
        });
    }

    /// Returns the first socket that has room for `bytes` more, or else the one with most room. Also returns the number of
    /// its connection.
    async fn socket(self: &Arc<Self>, bytes: usize) -> Result<(u64, Taken), RedisError> {
        match self.connected(bytes) {
            Ok(Some(connected)) => Ok(connected),
            // Boxed: it is rare, and would make the future of each call larger.
            Ok(None) => self.connect_in_turn(bytes).boxed().await,
            Err(error) => {
                // A caller that tries again at once must not keep others from their turn.
                yield_now().await;
                Err(error)
            }
        }
    }

    async fn connect_in_turn(self: &Arc<Self>, bytes: usize) -> Result<(u64, Taken), RedisError> {
        let _connecting = self.connecting.lock().await;
        // Another call may have connected meanwhile, or failed to.
        if let Some(connected) = self.connected(bytes)? {
            return Ok(connected);
        }
        let outcome = self.try_to_connect().await;
        let mut current = self.current();
        let now = Some(Instant::now());
        match outcome {
            Ok(Connected { connection, address, replicas }) => {
                let mut socket = Socket::new(connection);
                let taken = socket.taken_for(bytes);
                *current = Current {
                    sockets: vec![socket],
                    opens_socket: false,
                    runtime: Handle::try_current().ok(),
                    address: Some(address),
                    number: current.number + 1,
                    failed: None,
                    replicas,
                    asked_for_replicas: now,
                    asked_for_primary: now,
                };
                Ok((current.number, taken))
            }
            Err(error) => {
                current.failed = Some((Instant::now(), error.clone()));
                Err(error)
            }
        }
    }

    fn connected(self: &Arc<Self>, bytes: usize) -> Result<Option<(u64, Taken)>, RedisError> {
        let mut current = self.current();
        let number = current.number;
        while current.sockets.len() > 1 && current.sockets.last().is_some_and(Socket::is_idle) {
            current.sockets.pop();
        }
        if let Some(socket) = current.sockets.iter_mut().find(|socket| socket.has_room_for(bytes)) {
            return Ok(Some((number, socket.taken_for(bytes))));
        }
        if let Some(socket) = current.sockets.iter_mut().min_by_key(|socket| socket.unanswered()) {
            let taken = socket.taken_for(bytes);
            let opens = bytes >= LARGE && current.sockets.len() < MOST_SOCKETS && !current.opens_socket;
            if let Some(runtime) = current.runtime.clone().filter(|_| opens) {
                current.opens_socket = true;
                // A runtime that has ended drops the task at once, and with it `Opening`, which needs the lock.
                drop(current);
                runtime.spawn(Arc::clone(self).open_socket(Opening { single: Arc::clone(self), number }));
            }
            return Ok(Some((number, taken)));
        }
        match &current.failed {
            Some((at, error)) if at.elapsed() < FAILS_FAST => Err(error.clone()),
            _ => Ok(None),
        }
    }

    /// Adds a socket to the connection that `opening` names. No call waits for it.
    async fn open_socket(self: Arc<Self>, opening: Opening) {
        let timed_out = |_| Err((ErrorKind::Io, "the server did not answer in time").into());
        match timeout(self.limit, self.connect_once()).await.unwrap_or_else(timed_out) {
            Ok(Connected { connection, address, .. }) => {
                let mut current = self.current();
                if current.number == opening.number
                    && !current.sockets.is_empty()
                    // The sentinels may name another primary than before.
                    && current.address == Some(address)
                {
                    current.sockets.push(Socket::new(connection));
                }
            }
            Err(error) => {
                // The server may have as many clients as it allows.
                tracing::debug!(%error, "no further socket to Redis: its writes share those that are open");
                sleep(LOOKS_AGAIN).await;
            }
        }
    }

    async fn try_to_connect(&self) -> Result<Connected, RedisError> {
        for pause in PAUSES {
            match self.connect_once().await {
                Err(error) if error.is_connection_refusal() => sleep(pause).await,
                outcome => return outcome,
            }
        }
        self.connect_once().await
    }

    /// Connects to the primary: after a failover, an address can lead to a replica for a moment.
    async fn connect_once(&self) -> Result<Connected, RedisError> {
        let client = self.target.primary().await?;
        let mut connection = client.get_multiplexed_async_connection_with_config(&self.config).await?;
        let replicas = match connection.req_packed_command(&cmd("ROLE")).await.and_then(Value::extract_error) {
            Ok(Value::Array(role)) if role.first().is_some_and(is_slave) => {
                return Err((ErrorKind::Server(ServerErrorKind::ReadOnly), "the server is a replica").into());
            }
            Ok(Value::Array(role)) => replicas(&role),
            Ok(_) => 0,
            // The user may not ask. The first command that only a primary accepts will tell.
            Err(error) if matches!(error.kind(), ErrorKind::Server(ServerErrorKind::NoPerm)) => 0,
            Err(error) => return Err(error),
        };
        Ok(Connected { connection, address: client.get_connection_info().addr().clone(), replicas })
    }

    fn leave_if_useless(&self, number: u64, error: &RedisError) {
        if error.is_unrecoverable_error() || is_replica(error) {
            self.leave(number);
        }
    }

    /// Gives up the connection of this number: the next call makes another.
    fn leave(&self, number: u64) {
        let mut current = self.current();
        if current.number == number {
            current.sockets.clear();
        }
    }

    /// Gives up a connection that leads to another server than that one: the sentinels have named a new primary.
    pub(super) fn stay_with(&self, other: &Self) {
        if self.target.may_move() {
            let address = other.current().address.clone();
            let mut current = self.current();
            if current.address != address {
                current.sockets.clear();
            }
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Another socket that is being opened for the connection of this number. Dropped with its task, also if a runtime ends.
struct Opening {
    single: Arc<Single>,
    number: u64,
}

impl Drop for Opening {
    fn drop(&mut self) {
        let mut current = self.single.current();
        if current.number == self.number {
            current.opens_socket = false;
        }
    }
}

/// Returns about as many bytes as a command takes on its way.
fn length(command: &Cmd) -> usize {
    let lengths = command.args_iter().map(|argument| match argument {
        Arg::Simple(bytes) => bytes.len(),
        _ => 0,
    });
    lengths.sum()
}

/// Commands without an answer yet, and the number of their connection, which is given up with them.
struct Unanswered<'a>(Option<(&'a Single, u64)>);

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        if let Some((single, number)) = self.0 {
            single.leave(number);
        }
    }
}

struct Connected {
    connection: MultiplexedConnection,
    address: ConnectionAddr,
    replicas: usize,
}

/// Reads the number of replicas in a primary's answer to `ROLE`: its name, its offset, and a list of them.
fn replicas(role: &[Value]) -> usize {
    match role.get(2) {
        Some(Value::Array(replicas)) => replicas.len(),
        _ => 0,
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
