//! A store in Redis, or in anything that speaks its protocol: a single server or a cluster.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use redis::sentinel::SentinelClient;
use redis::{Client, IntoConnectionInfo};
use secure_sessions_core::{Bucket, Entry, Revision, SessionId, Timestamp, Tombstone};

use self::connection::Connection;
use self::error::Server;
use self::index::Index;
use self::keys::Keys;
use self::replicas::Policy;
use self::scripts::{Outcome, Removed};
use self::seen::LastSeen;
use self::target::Target;
use self::value::{Ticket, Write};
use crate::skew::warn_of_skew;
use crate::{Listed, Page, SessionStore, StoreError, Tags, Which};

mod cluster;
mod connection;
mod error;
mod index;
mod keys;
mod not_before;
mod renewal;
mod replicas;
mod rights;
mod scripts;
mod seen;
mod shards;
mod single;
mod target;
mod value;
mod vault;
mod walk;

const DEFAULT_PREFIX: &str = "secure-sessions";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
/// The longest wait of a swap for the assertion of its session's place in the index.
const LONGEST_KEEP: Duration = Duration::from_millis(100);

/// A store in Redis; a clone is the same store.
///
/// ```no_run
/// use secure_sessions_store::{RedisStore, SessionStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = RedisStore::connect("redis://127.0.0.1/").await?;
/// assert_eq!(store.count().await?, 0);
/// # Ok(())
/// # }
/// ```
///
/// It needs Redis 6.2, or another server with the same protocol and Lua scripts. Its tests were run on Redis 7.0.15, 8.0.6 and
/// 8.6.2 and on Valkey 8.1.1 and 9.1.2; those on a single server also on Redis 6.2.5.
///
/// # Keys
///
/// The key `PREFIX:{ID}` (hexadecimal) holds the session's record, or its tombstone. Redis expires it by itself, by the
/// deadline that each write sets; [`purge_expired`](SessionStore::purge_expired) only tidies the index. The key
/// `PREFIX:{TAG}:subject` holds the ids of one subject's sessions, `PREFIX:{TAG}:group` those of one group's,
/// `PREFIX:{VAULT}:vault` the private values of one session ([`VaultStore`](crate::VaultStore)), and `PREFIX:not-before` the
/// times before which tokens are refused, of which the latest counts; in a cluster, there are three such keys
/// (`PREFIX:{76}:not-before`, `{716}`, `{26}`). Reading a session is one `GETEX`. A swap of a value that this store has read is
/// one `SET` that compares (`IFEQ`) where the server has it, which is Valkey 8.1 and Redis 8.4; else it is one script. The head
/// of the last two thousand values that were read is kept for it, or the value itself if it is at most 8 KiB long.
/// [`count`](SessionStore::count) and [`remove_all`](SessionStore::remove_all) of everything walk all keys of the database with
/// `SCAN`, and block nobody.
///
/// Calls share one socket. When large writes pile up, a single server gets up to seven more: it reads 16 KB from each, and then
/// syncs its file once for all of them. They are closed once nobody has needed them for half a minute. Writes that wait for a replica have a socket of their own. In a cluster,
/// each node has one of each kind.
///
/// In a cluster, the braces keep every step of one session on one node. A renewal touches two sessions, so it takes three
/// steps there: write the new session, end the old one, and remove the new one again if the old one was gone. A task of its
/// own completes it if the caller goes away.
///
/// # Rights
///
/// A user of its own needs these commands, on the keys of the store's prefix. Opening the store tries each of them, and names
/// those that the server denies.
///
/// ```text
/// ACL SETUSER sessions on >password resetkeys ~secure-sessions:* resetchannels -@all
///   +get +getex +getrange +mget +set +setrange +del +pttl +pexpireat +zadd +zrem +zrange +zrangebylex
///   +hset +hmget +hdel
///   +scan +time +eval +evalsha +wait +role +info
/// ```
///
/// In a cluster, it also needs `+cluster|slots +asking +ping`. Without `role`, a replica is found out by the first command that
/// it refuses; without `info`, the store trusts that the server evicts nothing.
///
/// # Durability
///
/// Redis acknowledges a write when it is in its memory. Its configuration decides which writes survive a crash:
///
/// | configuration | lost in a crash of the machine |
/// | --- | --- |
/// | `appendonly yes`, `appendfsync always` | no acknowledged write |
/// | `appendonly yes`, `appendfsync everysec` | the last second or two |
/// | snapshots, or nothing at all | minutes, or everything |
///
/// Replication is asynchronous: a replica that takes over may lack the last writes of its primary, whatever
/// `min-replicas-to-write` says. So, if the server has replicas, every ending and every renewal of a session waits (`WAIT`)
/// until one of them has it, for at most 750 ms or a quarter of the [timeout](RedisOptions::timeout). A failover to that
/// replica does not undo it. If none answers in time, the write counts nevertheless, a warning is logged, and
/// [`unreplicated`](RedisStore::unreplicated) counts it; for the next second no write to that server waits. Writes that come
/// meanwhile share the next wait, so many logouts at once wait no longer than two. With
/// [`require_replica`](RedisOptions::require_replica) it is an error instead. In a cluster, each node is waited for by itself.
/// The store asks for replicas when it connects, and later, while there are none, once a second at most: a server without
/// replicas costs nothing.
///
/// In a failover, these writes may still be lost:
///
/// - new sessions and rotations, which do not wait unless you ask for it by
///   [`replicate_updates`](RedisOptions::replicate_updates). A lost rotation makes the newest cookies unknown (`Unremembered`:
///   refused with an event, no session revoked, and older cookies of the session work again). A lost new session is anonymous,
///   since a login is a renewal;
/// - an ending that was counted as unreplicated;
/// - an ending that one replica has, if another one takes over. Sentinels and clusters choose the replica that has most, but
///   of those that they reach. With several replicas, a logout survives the loss of the primary, not of the primary and that
///   replica.
///
/// Lost writes help nobody to forge a cookie. If a logout must never be undone, use a single server with `appendfsync always`,
/// or an SQL database.
///
/// # Failover
///
/// After a planned failover (`FAILOVER`, and the address moves), the store follows: a replica is refused when the store is
/// opened and when it connects again, and its answers never count, not even those of a server that was the primary until now.
///
/// With sentinels, the store asks them for the primary when it is opened, when its connection breaks or leads to a replica,
/// and once a second in the background: a primary that is cut off from its sentinels does not learn that it was replaced. It
/// answers for up to a second longer, so set `min-replicas-to-write 1` on it. While the sentinels elect, calls fail with
/// [`StoreError::Unavailable`]. A primary that hangs keeps a logout for the [timeout](RedisOptions::timeout), and the next one
/// after it goes to the server that is the primary then.
///
/// A primary that is cut off from its cluster may answer reads for as long as its `cluster-node-timeout` after another one
/// has taken over.
///
/// In a cluster, the index of a subject or group is on another node than its sessions. If a failover loses a part of it, each
/// session comes back into it with its next write; until then, [`remove_all`](SessionStore::remove_all) of the subject or group
/// misses it.
///
/// A shard of a cluster that is down takes only its own sessions with it. Their requests fail with
/// [`StoreError::Unavailable`]: for a second they wait for the node, then they fail at once until it answers again or another
/// node has its slots. (One request in ten seconds tries it all the same.) By default, a cluster refuses everything a while
/// after it has lost a shard: `cluster-require-full-coverage`. The time before which tokens are refused, which every host
/// needs, is on three shards. Any of them answers. Raising it needs all three: while one is down that is an error, some hosts
/// may refuse older tokens already, and the call has to be repeated.
///
/// Set `maxmemory-policy` to `noeviction`: any other policy ends sessions when memory runs out, and may evict the index that
/// [`remove_all`](SessionStore::remove_all) uses. Opening the store refuses a single server with another policy, unless it
/// has no `maxmemory`; see [`RedisOptions::insecure_allow_eviction`]. A server whose memory is full still ends sessions.
///
/// Hosts' clocks, and those of a cluster's nodes, may differ by up to half an hour.
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

/// The parts that all operations share.
struct Inner {
    connection: Connection,
    keys: Keys,
    index: Index,
    seen: LastSeen,
    /// The progress of tidying the indexes.
    tidied: Mutex<walk::Progress>,
}

/// The options of a [`RedisStore`].
///
/// ```no_run
/// # use secure_sessions_store::{RedisOptions, StoreError};
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), StoreError> {
/// let store = RedisOptions::new().prefix("shop:sessions").connect("rediss://user:password@redis.internal/").await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use]
pub struct RedisOptions {
    prefix: String,
    timeout: Duration,
    allow_eviction: bool,
    policy: Policy,
}

impl RedisStore {
    /// Opens a single server, or the primary that sentinels name. To set more, use [`RedisOptions`].
    ///
    /// The URL is `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]` or `redis+unix:///PATH`, or `rediss://` for TLS, with the
    /// feature `redis-rustls`. TLS uses the cryptography that your process has chosen for rustls, or ring's.
    ///
    /// With sentinels it is `redis+sentinel://[USER:PASSWORD@]HOST[:PORT][,HOST[:PORT]..]/NAME[/DATABASE]`: the hosts are
    /// theirs (port 26379 by default), and the user, the password and the database those of the servers. With
    /// `rediss+sentinel://`, both are asked over TLS. For sentinels with a password of their own, see
    /// [`RedisOptions::sentinel`].
    ///
    /// ```no_run
    /// # use secure_sessions_store::{RedisStore, StoreError};
    /// # async fn example() -> Result<(), StoreError> {
    /// let store = RedisStore::connect("redis+sentinel://sentinel-1,sentinel-2,sentinel-3/sessions").await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// [`StoreError::Rejected`] if the URL or the server's configuration is wrong; another [`StoreError`] if the server cannot
    /// be reached.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        RedisOptions::new().connect(url).await
    }

    /// Opens a cluster. Name some of its nodes; the store finds the others.
    ///
    /// # Errors
    ///
    /// The same as [`connect`](Self::connect).
    pub async fn connect_cluster(urls: &[&str]) -> Result<Self, StoreError> {
        RedisOptions::new().connect_cluster(urls.iter().copied()).await
    }

    /// Returns the number of this store's writes that were to wait for a replica, and that none acknowledged in time. A
    /// failover may have undone them. Export it as a metric.
    ///
    /// ```no_run
    /// # use secure_sessions_store::RedisStore;
    /// # fn export(store: &RedisStore) {
    /// println!("sessions_unreplicated_total {}", store.unreplicated());
    /// # }
    /// ```
    #[must_use]
    pub fn unreplicated(&self) -> u64 {
        self.0.connection.replicas().missed()
    }
}

impl RedisOptions {
    /// Returns the defaults: the prefix `secure-sessions`, 3 seconds.
    pub fn new() -> Self {
        let prefix = DEFAULT_PREFIX.into();
        Self { prefix, timeout: DEFAULT_TIMEOUT, allow_eviction: false, policy: Policy::default() }
    }

    /// Sets the prefix of every key: up to 64 of letters, digits and `-_.:`. Stores with different prefixes share nothing.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// Sets how long one step may take, including reconnecting. Most operations are one step.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Accepts a server that evicts keys when its memory is full: it ends sessions then, and logging out everywhere may miss
    /// some.
    pub fn insecure_allow_eviction(self) -> Self {
        Self { allow_eviction: true, ..self }
    }

    /// Waits for a replica after every write, not only after endings and renewals.
    ///
    /// A failover then loses no update either, and no user has to log in again. Each write takes a round trip more, and the
    /// one from the primary to its replica.
    ///
    /// ```no_run
    /// # use secure_sessions_store::{RedisOptions, StoreError};
    /// # async fn example() -> Result<(), StoreError> {
    /// let options = RedisOptions::new().replicate_updates().require_replica();
    /// let store = options.connect("redis+sentinel://sentinel-1,sentinel-2,sentinel-3/sessions").await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn replicate_updates(self) -> Self {
        Self { policy: Policy { updates: true, ..self.policy }, ..self }
    }

    /// Reports an error ([`StoreError::Unavailable`]) if no replica acknowledged a write that waits for one.
    ///
    /// Without it the write counts, and a warning is logged. With it, the primary has the write all the same, and the caller
    /// learns that a failover may undo it: a logout that fails so can be repeated. While no replica is connected, each of these
    /// writes is an error.
    pub fn require_replica(self) -> Self {
        Self { policy: Policy { required: true, ..self.policy }, ..self }
    }

    /// Opens a single server, or the one that sentinels name.
    ///
    /// # Errors
    ///
    /// The same as [`RedisStore::connect`].
    pub async fn connect(self, url: &str) -> Result<RedisStore, StoreError> {
        if let Some(sentinels) = target::by_url(url) {
            let (client, server) = sentinels?;
            return self.open(Target::named(client, self.timeout), server).await;
        }
        let client = Client::open(url).map_err(|error| error::misconfigured(&error))?;
        self.client(client).await
    }

    /// Opens the server of a client of your own, with certificates of your own for instance.
    ///
    /// # Errors
    ///
    /// The same as [`RedisStore::connect`].
    pub async fn client(self, client: Client) -> Result<RedisStore, StoreError> {
        let server = Server::single(client.get_connection_info());
        self.open(Target::fixed(client, self.timeout), server).await
    }

    /// Opens the primary that a client of sentinels names, with passwords or certificates of your own for the sentinels.
    ///
    /// ```no_run
    /// # use secure_sessions_store::RedisOptions;
    /// use secure_sessions_store::redis::sentinel::{SentinelClient, SentinelServerType};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let sentinels = vec!["redis://:password@sentinel-1:26379/", "redis://:password@sentinel-2:26379/"];
    /// let client = SentinelClient::build(sentinels, "sessions".to_owned(), None, SentinelServerType::Master)?;
    /// let store = RedisOptions::new().sentinel(client).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// The same as [`RedisStore::connect`].
    pub async fn sentinel(self, client: SentinelClient) -> Result<RedisStore, StoreError> {
        self.open(Target::named(client, self.timeout), Server::unnamed()).await
    }

    async fn open(&self, target: Target, server: Server) -> Result<RedisStore, StoreError> {
        let keys = Keys::new(&self.prefix)?;
        let connection = Connection::single(target, server, self.policy, self.timeout).await?;
        if !self.allow_eviction {
            connection.refuse_eviction().await?;
        }
        RedisStore::open(connection, keys).await
    }

    /// Opens a cluster. Name some of its nodes.
    ///
    /// # Errors
    ///
    /// The same as [`RedisStore::connect`].
    pub async fn connect_cluster<U: IntoConnectionInfo>(
        self,
        nodes: impl IntoIterator<Item = U>,
    ) -> Result<RedisStore, StoreError> {
        let nodes: Result<Vec<_>, _> = nodes.into_iter().map(IntoConnectionInfo::into_connection_info).collect();
        let nodes = nodes.map_err(|error| error::misconfigured(&error))?;
        let server = Server::cluster(&nodes);
        self.cluster_named(redis::cluster::ClusterClientBuilder::new(nodes), server).await
    }

    /// Opens a cluster with client settings of your own.
    ///
    /// # Errors
    ///
    /// The same as [`RedisStore::connect`].
    pub async fn cluster(self, builder: redis::cluster::ClusterClientBuilder) -> Result<RedisStore, StoreError> {
        self.cluster_named(builder, Server::cluster(&[])).await
    }

    async fn cluster_named(
        self,
        builder: redis::cluster::ClusterClientBuilder,
        server: Server,
    ) -> Result<RedisStore, StoreError> {
        let keys = Keys::new(&self.prefix)?;
        let connection = Connection::cluster(builder, server, self.policy, self.timeout).await?;
        RedisStore::open(connection, keys).await
    }
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RedisStore(..)")
    }
}

impl RedisStore {
    async fn open(connection: Connection, keys: Keys) -> Result<Self, StoreError> {
        let unused = rights::check(&connection, &keys).await?;
        connection.ask_if_set_compares(&unused).await?;
        let index = Index::new(connection.clone(), keys.clone());
        let (seen, tidied) = (LastSeen::default(), Mutex::default());
        let store = Self(Arc::new(Inner { connection, keys, index, seen, tidied }));
        warn_of_skew(&store).await;
        Ok(store)
    }
}

impl Inner {
    async fn insert(&self, write: &Write) -> Result<(), StoreError> {
        let key = self.keys.entry(&write.id);
        let outcome = match (write.tags.is_empty(), self.connection.is_cluster()) {
            (true, _) => self.connection.insert(&key, write, None).await?,
            (false, false) => self.connection.insert_indexed(&key, &self.indexes(write), write).await?,
            (false, true) => {
                // The indexes come first, so that every existing session is found.
                let ticket = self.index.add(write).await?;
                self.connection.insert(&key, write, Some(&ticket)).await?
            }
        };
        match outcome {
            Outcome::Done => Ok(()),
            _ => Err(StoreError::Duplicate),
        }
    }

    /// Returns the keys of the indexes that a session belongs to.
    fn indexes(&self, write: &Write) -> Vec<String> {
        write.tags.iter().map(|tag| self.keys.index(tag)).collect()
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        let Some(value) = self.connection.get(&self.keys.entry(id)).await? else { return Ok(None) };
        let entry = value::entry(&value)?;
        if let Entry::Bucket(bucket) = &entry {
            self.seen.remember(bucket, value, self.connection.set_compares());
        }
        Ok(Some(entry))
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        let mut write = Write::bucket(bucket);
        let key = self.keys.entry(&bucket.id);
        let seen = self.seen.take(&bucket.id).filter(|seen| seen.precedes(bucket, expected));
        let Some(seen) = seen else { return self.replace_unseen(&key, &write, expected).await };
        let swapped = self.connection.swap(&key, &seen, &mut write).await?;
        if swapped.is_done {
            if self.connection.is_cluster() {
                self.keep_places(&write, &seen.ticket()).await;
            }
            return Ok(true);
        }
        // It is another one by now, or this is the second try, which the script recognises.
        match self.replace_unseen(&key, &write, expected).await? {
            false if swapped.is_second => Err(StoreError::unavailable("the connection broke during a write")),
            outcome => Ok(outcome),
        }
    }

    async fn replace_unseen(&self, key: &str, write: &Write, expected: Revision) -> Result<bool, StoreError> {
        if !self.connection.is_cluster() {
            let outcome = self.connection.replace(key, &self.indexes(write), write, expected).await?;
            return Ok(outcome == Outcome::Done);
        }
        let mut ticket = None;
        loop {
            let (outcome, place) = self.connection.replace_on_node(key, write, ticket.as_ref(), expected).await?;
            // A tag changed, or the life is longer: the indexes have to know first.
            if outcome == Outcome::NeedsTicket && ticket.is_none() {
                ticket = Some(self.index.add(write).await?);
                continue;
            }
            if let (None, Some(place)) = (ticket, place) {
                self.keep_places(write, &place).await;
            }
            return Ok(outcome == Outcome::Done);
        }
    }

    /// Asserts the places of a session in the indexes of its tags, which are on other nodes: a failover there may have lost
    /// one, and then nobody would find the session by it. The swap has been done, so a failure is left to the next one.
    async fn keep_places(&self, write: &Write, place: &Ticket) {
        let (member, deadline) = (value::member(&write.id, place), write.index_deadline);
        let keeping = self.indexes(write).into_iter().map(|index| {
            let connection = self.connection.clone();
            tokio::spawn(async move { connection.keep(&index, &member, deadline).await })
        });
        // A node that is down must not hold up those that are not.
        let _ = tokio::time::timeout(LONGEST_KEEP, join_all(keeping)).await;
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<&Tombstone>) -> Result<Removed, StoreError> {
        let write = tombstone.map(Write::tombstone);
        let removed = self.connection.remove(&self.keys.entry(id), write.as_ref(), None).await?;
        if let Removed::Bucket(places) = &removed {
            for (tag, ticket) in places {
                // This only tidies: the session is gone, and a list that still has its id leaves it out.
                let _ = self.index.forget(tag, id, ticket).await;
            }
        }
        Ok(removed)
    }
}

impl SessionStore for RedisStore {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.0.insert(&Write::bucket(bucket)).await
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        self.0.load(id).await
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        self.0.replace(bucket, expected).await
    }

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        renewal::renew_into(&self.0, bucket, old, expected, &tombstone).await
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        match self.0.remove(id, tombstone.as_ref()).await? {
            Removed::Bucket(_) => Ok(true),
            Removed::Nothing => Ok(false),
            Removed::Unknown => Err(StoreError::unavailable(
                "the connection broke during a removal: the session has ended, but whether there was one is not known; repeat \
                 the call to make sure",
            )),
        }
    }

    async fn list(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed>, StoreError> {
        self.0.index.list(tags, page).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        walk::count(&self.0).await
    }

    /// Ends all of them also if the connection breaks meanwhile, but then the number may be too small: sessions that ended in a
    /// step whose answer was lost are not counted.
    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        walk::remove_all(&self.0, which, except).await
    }

    /// Tidies the index, a few thousand keys at each call, and returns 0: Redis expires sessions by itself.
    async fn purge_expired(&self, _now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        if limit > 0 {
            walk::tidy(&self.0).await?;
        }
        Ok(0)
    }

    async fn now(&self) -> Result<Option<Timestamp>, StoreError> {
        self.0.connection.now().await.map(Some)
    }

    async fn not_before(&self) -> Result<Option<Timestamp>, StoreError> {
        not_before::latest(&self.0).await
    }

    async fn raise_not_before(&self, at: Timestamp) -> Result<(), StoreError> {
        not_before::add(&self.0, at).await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "helpers of tests")]

    use services::Shared;

    use super::*;
    use crate::conformance::sample::{now, session};

    /// As after a failover to an older server.
    #[tokio::test]
    async fn a_server_that_does_not_know_ifeq_is_sent_the_script() {
        let Some(url) = Shared::Redis.url() else { return };
        let prefix = format!("test-swap-{}", std::process::id());
        let store = RedisOptions::new().prefix(prefix).connect(&url).await.unwrap();
        let connection = &store.0.connection;
        let knew = connection.set_compares();
        connection.set_compares_from_now_on(true);
        let first = session(SessionId::from_bytes([1; 16]), now());
        store.insert(&first).await.unwrap();
        store.load(&first.id).await.unwrap();
        let next = Bucket { revision: Revision::new(2), ..first.clone() };
        assert!(store.replace(&next, Revision::FIRST).await.unwrap());
        assert_eq!(connection.set_compares(), knew, "it learns from the answer");
        assert!(store.remove(&first.id, None).await.unwrap());
    }
}
