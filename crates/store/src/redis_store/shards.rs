//! The shards of a cluster: which node has which slots, whether it has replicas, and whether it answers.
//!
//! When the driver has no connection to a node, it sends that node's commands to others, learns nothing new from their
//! refusal, and connects to all nodes again before it sends anything else. So one node that has vanished would hold up all
//! shards. Commands for such a node are refused here, until it answers again or another node has its slots. Now and then one is
//! let through all the same: whether a node answers is asked on a connection of our own, which may be wrong for ever.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Arg, Cmd, ErrorKind, RedisError, Value};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::replicas::{Line, Replicas};

/// The age from which it is asked again who has which slots, if that may have changed.
const LOOKS_AGAIN: Duration = Duration::from_secs(1);
/// The time for which commands wait for a node whose connection broke, before they are refused at once.
const COMES_BACK: Duration = Duration::from_secs(1);
/// The time after which one command is let through to a node that does not answer, and then another one.
const TRIES_AGAIN: Duration = Duration::from_secs(10);

/// The hosts for which the driver takes that of the node that tells them: none, and the addresses that stand for all.
const ITSELF: [&str; 3] = ["", "0.0.0.0", "::"];
/// The host of a node that is to be named by its hostname, and has none.
const UNKNOWN: &str = "?";

/// The shards, as far as they are known.
pub(super) struct Shards {
    replicas: Arc<Replicas>,
    known: Mutex<Known>,
    /// Set to `true` if a node does not answer.
    misses_one: AtomicBool,
}

#[derive(Default)]
struct Known {
    ranges: Vec<(RangeInclusive<u16>, Arc<Shard>)>,
    asked: Option<Instant>,
    /// Set to `true` if something has shown that they may be others by now.
    is_stale: bool,
}

/// A node that holds keys.
pub(super) struct Shard {
    pub(super) host: String,
    pub(super) port: u16,
    has_replicas: AtomicBool,
    /// The writes that wait for a replica of it.
    pub(super) line: Arc<Line>,
    /// Set if it does not answer.
    missing: Mutex<Option<Missing>>,
}

/// The time since when a node does not answer.
#[derive(Clone, Copy)]
struct Missing {
    since: Instant,
    /// The time at which the last command was let through.
    tried: Instant,
}

impl Shard {
    pub(super) fn has_replicas(&self) -> bool {
        self.has_replicas.load(Ordering::Relaxed)
    }

    fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Returns `true` if this is the address by which a node names it. (An empty host is that of the node itself.)
    fn is_at(&self, address: &str) -> bool {
        address.rsplit_once(':').is_some_and(|(host, port)| {
            (host.is_empty() || host == self.host) && port.parse().is_ok_and(|port: u16| port == self.port)
        })
    }

    /// Notes that it does not answer. Returns the time if that is new.
    fn miss(&self) -> Option<Instant> {
        let (mut missing, now) = (self.missing(), Instant::now());
        if missing.is_some() {
            return None;
        }
        *missing = Some(Missing { since: now, tried: now });
        Some(now)
    }

    /// Returns an error if it does not answer. For a moment it is one after which the command is sent again.
    fn refuse(&self) -> Result<(), RedisError> {
        let mut missing = self.missing();
        let Some(Missing { since, tried }) = missing.as_mut() else { return Ok(()) };
        if since.elapsed() < COMES_BACK {
            return Err((ErrorKind::ClusterConnectionNotFound, "the node does not answer", self.address()).into());
        }
        if tried.elapsed() >= TRIES_AGAIN {
            *tried = Instant::now();
            return Ok(());
        }
        let said = format!("the node at {} does not answer", self.address());
        Err(std::io::Error::new(std::io::ErrorKind::HostUnreachable, said).into())
    }

    /// Returns `true` if it answers, with whatever it may be: a process that hangs does not even close the connection. Asking
    /// is no command of the driver's, whose user, password and certificates only the driver knows. So over TLS, too, it is
    /// asked without: no handshake begins like this, and a process that runs breaks the connection off at once.
    async fn answers(&self, limit: Duration) -> bool {
        let ask = async {
            let mut stream = TcpStream::connect((self.host.as_str(), self.port)).await?;
            let answer = async {
                stream.write_all(b"PING\r\n").await?;
                stream.read(&mut [0]).await
            };
            // Only a process that runs ends a connection, in whatever way.
            let _ = answer.await;
            std::io::Result::Ok(())
        };
        matches!(timeout(limit, ask).await, Ok(Ok(())))
    }

    fn missing(&self) -> MutexGuard<'_, Option<Missing>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shards {
    pub(super) fn new(replicas: Arc<Replicas>) -> Self {
        Self { replicas, known: Mutex::default(), misses_one: AtomicBool::new(false) }
    }

    /// Returns the shard that has this slot.
    pub(super) fn with(&self, slot: u16) -> Option<Arc<Shard>> {
        self.known().find(slot)
    }

    /// Returns the shard of the node at this address.
    fn at(&self, host: &str, port: u16) -> Option<Arc<Shard>> {
        let known = self.known();
        let mut shards = known.ranges.iter().map(|(_, shard)| shard);
        shards.find(|shard| shard.port == port && shard.host == host).cloned()
    }

    /// Returns `true` if the cluster should be asked about this slot, once a second at most: it has no replica, or all may have
    /// changed. Nobody else asks meanwhile.
    pub(super) fn should_ask(&self, slot: u16) -> bool {
        let mut known = self.known();
        let is_settled = !known.is_stale && known.find(slot).is_some_and(|shard| shard.has_replicas());
        if is_settled || known.asked.is_some_and(|at| at.elapsed() < LOOKS_AGAIN) {
            return false;
        }
        known.asked = Some(Instant::now());
        true
    }

    pub(super) fn note_change(&self) {
        self.known().is_stale = true;
    }

    /// Takes over the ranges of slots, and returns the shards. A node that is known keeps its state. `answering` is the host
    /// of the node that told them.
    pub(super) fn learn(&self, told: Vec<Range>, answering: &str) -> Vec<Arc<Shard>> {
        let (mut ranges, mut shards) = (Vec::new(), Vec::<Arc<Shard>>::new());
        for Range { slots, host, port, has_replicas } in told {
            let host = host.unwrap_or_else(|| answering.to_owned());
            let named = shards.iter().find(|shard| shard.port == port && shard.host == host).cloned();
            let shard = named.or_else(|| self.at(&host, port)).unwrap_or_else(|| self.shard(host, port));
            shard.has_replicas.store(has_replicas, Ordering::Relaxed);
            if !shards.iter().any(|known| Arc::ptr_eq(known, &shard)) {
                shards.push(Arc::clone(&shard));
            }
            ranges.push((slots, shard));
        }
        *self.known() = Known { ranges, asked: Some(Instant::now()), is_stale: false };
        shards
    }

    fn shard(&self, host: String, port: u16) -> Arc<Shard> {
        let line =
            Arc::new(Line::new(Arc::clone(&self.replicas), format!("the redis cluster's node at {host}:{port}")));
        Arc::new(Shard { host, port, has_replicas: AtomicBool::new(false), line, missing: Mutex::default() })
    }

    /// Returns an error if a command is for a node that does not answer.
    pub(super) fn refuse(&self, command: &Cmd) -> Result<(), RedisError> {
        if !self.misses_one.load(Ordering::Relaxed) {
            return Ok(());
        }
        let known = self.known();
        keys(command).filter_map(|key| known.find(slot(key))).try_for_each(|shard| shard.refuse())
    }

    /// Returns an error if the node at this address does not answer.
    pub(super) fn refuse_at(&self, host: &str, port: u16) -> Result<(), RedisError> {
        self.at(host, port).map_or(Ok(()), |shard| shard.refuse())
    }

    /// Reads an error of a command. Returns the node that does not answer, and since when, if the error tells that and it is
    /// new.
    pub(super) fn judge(&self, command: &Cmd, error: &RedisError) -> Option<(Arc<Shard>, Instant)> {
        let missing = if let Some((address, slot)) = error.redirect_node() {
            // Another node names the one to which the command should have gone, so there is no connection to it.
            let shard = self.with(slot).filter(|shard| shard.is_at(address));
            if shard.is_none() {
                self.note_change();
            }
            shard
        } else if error.is_connection_dropped() {
            keys(command).next().and_then(|key| self.with(slot(key)))
        } else {
            None
        };
        // A host that the cluster itself does not know cannot be asked.
        let missing = missing.filter(|shard| shard.host != UNKNOWN)?;
        let since = missing.miss()?;
        self.misses_one.store(true, Ordering::Relaxed);
        Some((missing, since))
    }

    /// Notes that the node which a command was for has answered.
    pub(super) fn note_answer(&self, command: &Cmd) {
        if self.misses_one.load(Ordering::Relaxed)
            && let Some(shard) = keys(command).next().and_then(|key| self.with(slot(key)))
        {
            self.note_found(&shard);
        }
    }

    /// Notes that the node at this address has answered.
    pub(super) fn note_answer_at(&self, host: &str, port: u16) {
        if self.misses_one.load(Ordering::Relaxed)
            && let Some(shard) = self.at(host, port)
        {
            self.note_found(&shard);
        }
    }

    fn note_found(&self, shard: &Shard) {
        let known = self.known();
        *shard.missing() = None;
        let misses_one = known.ranges.iter().any(|(_, shard)| shard.missing().is_some());
        self.misses_one.store(misses_one, Ordering::Relaxed);
    }

    /// Waits until a node answers. Returns `false` if it did not within this time.
    pub(super) async fn answers(&self, shard: &Shard, limit: Duration) -> bool {
        let answers = shard.answers(limit).await;
        if answers {
            self.note_found(shard);
        }
        answers
    }

    /// Returns `true` if a node still has slots, and has not answered since that time.
    pub(super) fn misses(&self, shard: &Arc<Shard>, since: Instant) -> bool {
        self.known().ranges.iter().any(|(_, known)| Arc::ptr_eq(known, shard))
            && shard.missing().is_some_and(|missing| missing.since == since)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn find(&self, slot: u16) -> Option<Arc<Shard>> {
        self.ranges.iter().find(|(slots, _)| slots.contains(&slot)).map(|(_, shard)| Arc::clone(shard))
    }
}

/// A range of slots, as a node tells it.
pub(super) struct Range {
    pub(super) slots: RangeInclusive<u16>,
    /// The host of their primary, or `None` if it is that of the node that told.
    pub(super) host: Option<String>,
    port: u16,
    has_replicas: bool,
}

/// Reads the answer to `CLUSTER SLOTS`.
pub(super) fn ranges(answer: Value) -> Result<Vec<Range>, RedisError> {
    let unexpected = || RedisError::from((ErrorKind::UnexpectedReturnType, "not the slots of a cluster"));
    let ranges: Vec<Vec<Value>> = redis::from_redis_value(answer)?;
    let ranges = ranges.iter().map(|range| {
        // The first and last slot, the primary, its replicas.
        let [first, last, Value::Array(primary), replicas @ ..] = range.as_slice() else {
            return Err(unexpected());
        };
        let [host, port, ..] = primary.as_slice() else { return Err(unexpected()) };
        let host: Option<String> = redis::from_redis_value_ref(host)?;
        Ok(Range {
            slots: redis::from_redis_value_ref(first)?..=redis::from_redis_value_ref(last)?,
            host: host.filter(|host| !ITSELF.contains(&host.as_str())),
            port: redis::from_redis_value_ref(port)?,
            has_replicas: !replicas.is_empty(),
        })
    });
    ranges.collect()
}

/// Returns the keys of a command of ours.
fn keys(command: &Cmd) -> impl Iterator<Item = &[u8]> {
    let mut arguments = command.args_iter().filter_map(|argument| match argument {
        Arg::Simple(bytes) => Some(bytes),
        _ => None,
    });
    let (skip, take) = match arguments.next() {
        Some(b"CLUSTER" | b"SCAN" | b"TIME" | b"WAIT") | None => (0, 0),
        // The script, and the number of its keys, which are all in one slot.
        Some(b"EVAL" | b"EVALSHA") => (2, 1),
        Some(b"MGET") => (0, usize::MAX),
        Some(_) => (0, 1),
    };
    arguments.skip(skip).take(take)
}

/// Returns the slot of a key: CRC-16 (XMODEM) of the part in braces, of 14 bits.
pub(super) fn slot(key: &[u8]) -> u16 {
    let tag = key.iter().position(|byte| *byte == b'{').and_then(|open| {
        let tag = key.get(open + 1..)?;
        tag.get(..tag.iter().position(|byte| *byte == b'}').filter(|length| *length > 0)?)
    });
    let crc = tag.unwrap_or(key).iter().fold(0_u16, |crc, byte| {
        (0..8).fold(
            crc ^ (u16::from(*byte) << 8),
            |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
            },
        )
    });
    crc % 16_384
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "helpers of tests")]

    use std::future::Future;

    use redis::cmd;
    use tokio::net::TcpListener;
    use tokio::time::advance;

    use super::super::error::Server;
    use super::super::replicas::Policy;
    use super::*;

    /// One shard, at this port of this machine.
    fn shards(port: u16) -> (Shards, Arc<Shard>) {
        let limit = Duration::from_secs(3);
        let shards = Shards::new(Arc::new(Replicas::new(Policy::default(), Server::unnamed(), limit)));
        let primary = Value::Array(vec![Value::Nil, Value::Int(port.into())]);
        let range = Value::Array(vec![Value::Int(0), Value::Int(16_383), primary]);
        let shard = shards.learn(ranges(Value::Array(vec![range])).unwrap(), "127.0.0.1").remove(0);
        (shards, shard)
    }

    /// Longer than an answer takes on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    /// Returns `true` if a node counts as one that answers within the limit, which does this with a connection.
    async fn answers<F: Future<Output = ()>>(limit: Duration, node: impl FnOnce(TcpListener) -> F) -> bool {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (_, shard) = shards(listener.local_addr().unwrap().port());
        tokio::join!(shard.answers(limit), node(listener)).0
    }

    #[tokio::test]
    async fn a_process_that_answers_closes_or_resets_runs_and_a_silent_one_hangs() {
        let says = async |listener: TcpListener| {
            let (mut connection, _) = listener.accept().await.unwrap();
            connection.write_all(b"-NOAUTH\r\n").await.unwrap();
        };
        assert!(answers(PATIENCE, says).await);
        let closes = async |listener: TcpListener| {
            let (mut connection, _) = listener.accept().await.unwrap();
            assert_eq!(connection.read(&mut [0; 9]).await.unwrap(), 6);
        };
        assert!(answers(PATIENCE, closes).await);
        // The bytes that were not read make it a reset, as of a server that expects TLS.
        let resets = async |listener: TcpListener| {
            let (connection, _) = listener.accept().await.unwrap();
            connection.readable().await.unwrap();
        };
        assert!(answers(PATIENCE, resets).await);
        let hangs = async |listener: TcpListener| {
            tokio::time::sleep(Duration::from_millis(600)).await;
            drop(listener);
        };
        assert!(!answers(Duration::from_millis(300), hangs).await);
        assert!(!answers(PATIENCE, async |listener| drop(listener)).await, "nobody listens");
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_does_not_answer_for_long_is_tried_now_and_then() {
        let (shards, shard) = shards(1);
        let mut get = cmd("GET");
        get.arg("a");
        let broken = RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let (missing, since) = shards.judge(&get, &broken).unwrap();
        assert!(Arc::ptr_eq(&missing, &shard) && shards.judge(&get, &broken).is_none(), "it is new once");
        assert!(shards.refuse(&get).unwrap_err().kind() == ErrorKind::ClusterConnectionNotFound, "it may come back");
        for _ in 0..3 {
            advance(TRIES_AGAIN / 2).await;
            assert!(shards.refuse(&get).unwrap_err().is_io_error());
            assert!(shards.refuse_at("127.0.0.1", 1).is_err());
            advance(TRIES_AGAIN / 2).await;
            assert!(shards.refuse(&get).is_ok(), "one is let through");
            assert!(shards.refuse(&get).is_err(), "and no other one");
        }
        assert!(shards.misses(&shard, since), "it is watched");
        shards.note_answer(&get);
        assert!(shards.refuse(&get).is_ok() && !shards.misses(&shard, since));

        // It is watched once more, and by one watcher.
        advance(Duration::from_secs(1)).await;
        let (_, again) = shards.judge(&get, &broken).unwrap();
        assert!(shards.misses(&shard, again) && !shards.misses(&shard, since));
        shards.note_answer_at("127.0.0.1", 1);
        assert!(shards.refuse(&get).is_ok());
    }

    #[test]
    fn a_node_is_named_with_its_host_or_without() {
        let (_, shard) = shards(7000);
        assert!(shard.is_at("127.0.0.1:7000") && shard.is_at(":7000"));
        assert!(!shard.is_at("127.0.0.1:7001") && !shard.is_at("127.0.0.2:7000") && !shard.is_at("7000"));
    }

    /// As `CLUSTER KEYSLOT` of Redis 7.0 says.
    #[test]
    fn a_key_is_in_the_slot_of_the_part_in_its_braces() {
        for (key, expected) in [("123456789", 12739), ("foo", 12182), ("a{foo}:subject", 12182), ("foo{}", 5542)] {
            assert_eq!(slot(key.as_bytes()), expected, "{key}");
        }
    }

    #[test]
    fn the_keys_of_each_kind_of_command_are_found() {
        let found = |name: &str, arguments: &[&str]| {
            let mut command = cmd(name);
            command.arg(arguments);
            keys(&command).map(|key| String::from_utf8_lossy(key).into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(found("GET", &["a"]), ["a"]);
        assert_eq!(found("SET", &["a", "b", "IFEQ", "c"]), ["a"]);
        assert_eq!(found("MGET", &["a", "b"]), ["a", "b"]);
        assert_eq!(found("EVALSHA", &["hash", "1", "a", "b"]), ["a"]);
        let keyless =
            [("TIME", &[][..]), ("CLUSTER", &["SLOTS"]), ("SCAN", &["0", "COUNT", "1"]), ("WAIT", &["0", "1"])];
        for (name, arguments) in keyless {
            assert!(found(name, arguments).is_empty(), "{name}");
        }
    }
}
