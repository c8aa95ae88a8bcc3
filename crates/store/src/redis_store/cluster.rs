//! The connections to a cluster: one for all calls, and one for those that wait for a replica.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use redis::aio::ConnectionLike;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{
    MultiSlotArgPattern, MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr,
};
use redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value, cmd};
use tokio::sync::OnceCell;
use tokio::task::yield_now;
use tokio::time::{sleep, timeout};

use super::replicas::{Failure, Fate, Reached, Replicas, Written};
use super::shards::{self, Shard, Shards, slot};

/// The pauses before a node that does not answer is asked again.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A cluster.
pub(super) struct Cluster {
    client: ClusterClient,
    main: ClusterConnection,
    /// A `WAIT` holds up everything that is sent after it on its connection.
    waiting: OnceCell<ClusterConnection>,
    shards: Shards,
    replicas: Arc<Replicas>,
}

impl Cluster {
    pub(super) async fn connect(client: ClusterClient, replicas: Arc<Replicas>) -> Result<Self, RedisError> {
        // Boxed: the driver's future is a deep nest of others.
        let main = client.get_async_connection().boxed().await?;
        let shards = Shards::new(Arc::clone(&replicas));
        let cluster = Self { client, main, waiting: OnceCell::new(), shards, replicas };
        if cluster.primaries().await?.iter().any(|shard| shard.has_replicas()) {
            cluster.waiting().await?;
        }
        Ok(cluster)
    }

    async fn waiting(&self) -> Result<ClusterConnection, RedisError> {
        let connect = || self.client.get_async_connection().boxed();
        self.waiting.get_or_try_init(connect).await.cloned()
    }

    /// Sends a command to the node that its key is on.
    pub(super) async fn send(self: &Arc<Self>, command: &Cmd) -> Result<Value, RedisError> {
        self.refuse(command).await?;
        let outcome = send(&mut self.main.clone(), command).await;
        self.heed(command, outcome.as_ref().err());
        outcome
    }

    /// Sends a command to this node.
    pub(super) async fn send_to(&self, host: &str, port: u16, command: Cmd) -> Result<Value, RedisError> {
        self.shards.refuse_at(host, port)?;
        let node = SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port };
        let answer = self.main.clone().route_command(command, RoutingInfo::SingleNode(node)).await?;
        self.shards.note_answer_at(host, port);
        answer.extract_error()
    }

    /// Sends a write to the node that this key is on, and waits for a replica of that node, if there are any.
    pub(super) async fn send_and_wait(self: &Arc<Self>, command: &Cmd, key: &str) -> Result<Written, Failure> {
        let its_slot = slot(key.as_bytes());
        if self.shards.should_ask(its_slot) {
            // Without an answer in time, the shards are those that were known.
            let _ = timeout(self.replicas.longest_wait(), self.primaries()).await;
        }
        let Some(shard) = self.shards.with(its_slot).filter(|shard| shard.has_replicas()) else {
            return Ok(Written::once(self.send(command).await?, self.replicas.reached_alone()));
        };
        // The driver connects to each node first. One that hangs must not keep a session alive.
        let Ok(Ok(mut waiting)) = timeout(self.replicas.longest_wait(), self.waiting()).await else {
            return Ok(Written::once(self.send(command).await?, Reached::NoReplica));
        };
        self.refuse(command).await?;
        let connection = waiting.clone();
        let send_all = move |pipe: Pipeline, key: &str| {
            let (mut connection, count) = (connection.clone(), pipe.len());
            let node = SingleNodeRoutingInfo::SpecificNode(primary_of(slot(key.as_bytes())));
            async move { connection.route_pipeline(pipe, 0, count, node).await }
        };
        let outcome = shard.line.send(command, key, send_all).await;
        self.heed(command, outcome.as_ref().err().map(|failure| &failure.error));
        match &outcome {
            // Perhaps there are none any more.
            Ok(Written { reached: Reached::NoReplica, .. }) => self.shards.note_change(),
            Ok(_) => {}
            Err(Failure { error, fate }) => {
                // The driver may learn from a command's error where a slot has moved, and not from that of a pipeline.
                let mut learn = cmd("GET");
                learn.arg(key);
                let _ = waiting.req_packed_command(&learn).await;
                if error.kind() == ErrorKind::Server(ServerErrorKind::Ask) {
                    // The slot is on its way to a node whose replicas are not known to have it.
                    let value = self.send(command).await.map_err(|error| Failure { error, fate: *fate })?;
                    return Ok(Written { value, reached: Reached::NoReplica, is_second: *fate != Fate::Told });
                }
            }
        }
        outcome
    }

    /// Returns an error if a command is for a node that does not answer.
    async fn refuse(&self, command: &Cmd) -> Result<(), RedisError> {
        let outcome = self.shards.refuse(command);
        if outcome.is_err() {
            // A caller that tries again at once must not keep others from their turn.
            yield_now().await;
        }
        outcome
    }

    /// Returns the shards, as any node knows them.
    pub(super) async fn primaries(&self) -> Result<Vec<Arc<Shard>>, RedisError> {
        let ranges = shards::ranges(send(&mut self.main.clone(), &ask_for_slots()).await?)?;
        let unnamed: Vec<u16> =
            ranges.iter().filter(|range| range.host.is_none()).map(|range| *range.slots.start()).collect();
        let Some((last, others)) = unnamed.split_last() else { return Ok(self.shards.learn(ranges, "")) };
        // Boxed: this is rare.
        for slot in others {
            if let Ok(shards) = self.ask_primary_of(*slot).boxed().await {
                return Ok(shards);
            }
        }
        self.ask_primary_of(*last).boxed().await
    }

    /// Returns the shards, as the primary that has this slot knows them. The host that it does not name is that by which the
    /// driver knows it.
    async fn ask_primary_of(&self, slot: u16) -> Result<Vec<Arc<Shard>>, RedisError> {
        // The driver tells who answered only if a command goes to several nodes, one of which may be all.
        let route =
            MultipleNodeRoutingInfo::MultiSlot((vec![(primary_of(slot), vec![0])], MultiSlotArgPattern::KeysOnly));
        let answer = self.main.clone().route_command(ask_for_slots(), RoutingInfo::MultiNode((route, None))).await?;
        let mut answers: Vec<(String, Value)> = redis::from_redis_value(answer)?;
        let unexpected = || RedisError::from((ErrorKind::UnexpectedReturnType, "not the slots of a cluster"));
        let (address, answer) = answers.pop().ok_or_else(unexpected)?;
        let (host, _) = address.rsplit_once(':').ok_or_else(unexpected)?;
        Ok(self.shards.learn(shards::ranges(answer.extract_error()?)?, host))
    }

    /// Notes whether the node that a command was for answers. One that does not is watched, until it does or has no slots any
    /// more.
    fn heed(self: &Arc<Self>, command: &Cmd, error: Option<&RedisError>) {
        let Some(error) = error else { return self.shards.note_answer(command) };
        let Some((shard, since)) = self.shards.judge(command, error) else { return };
        let (cluster, limit) = (Arc::downgrade(self), self.replicas.longest_wait());
        tokio::spawn(async move {
            let mut pause = FIRST_PAUSE;
            while let Some(cluster) = Weak::upgrade(&cluster) {
                if cluster.shards.answers(&shard, limit).await {
                    return;
                }
                let _ = timeout(limit, cluster.primaries()).await;
                if !cluster.shards.misses(&shard, since) {
                    return;
                }
                drop(cluster);
                sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        });
    }
}

fn ask_for_slots() -> Cmd {
    let mut slots = cmd("CLUSTER");
    slots.arg("SLOTS");
    slots
}

fn primary_of(slot: u16) -> Route {
    Route::new(slot, SlotAddr::Master)
}

async fn send(connection: &mut ClusterConnection, command: &Cmd) -> Result<Value, RedisError> {
    match connection.req_packed_command(command).await.and_then(Value::extract_error) {
        // Boxed: it is rare, and would make the future of each call larger.
        Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Ask) => {
            ask(connection, command, error).boxed().await
        }
        outcome => outcome,
    }
}

/// Follows a slot to the node that it is moving to.
async fn ask(connection: &mut ClusterConnection, command: &Cmd, error: RedisError) -> Result<Value, RedisError> {
    let to = error.redirect_node().and_then(|(address, _)| {
        let (host, port) = address.rsplit_once(':')?;
        Some(SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port: port.parse().ok()? })
    });
    let Some(to) = to else { return Err(error) };
    let mut asking = Pipeline::new();
    asking.cmd("ASKING").add_command(command.clone());
    let mut answers = connection.route_pipeline(asking, 0, 2, to).await?;
    answers.pop().map_or(Err(error), Value::extract_error)
}
