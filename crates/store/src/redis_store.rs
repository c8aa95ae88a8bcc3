//! A store in Redis, or in anything that speaks its protocol: a single server or a cluster.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{Client, IntoConnectionInfo};
use secure_sessions_core::{Bucket, Entry, Revision, SessionId, SubjectTag, Timestamp, Tombstone};

use self::connection::Connection;
use self::error::Server;
use self::index::Index;
use self::keys::Keys;
use self::scripts::{Outcome, Removed};
use self::value::{Ticket, Write};
use crate::skew::warn_of_skew;
use crate::{Listed, Page, SessionStore, StoreError, Which};

mod connection;
mod error;
mod index;
mod keys;
mod renewal;
mod rights;
mod scripts;
mod single;
mod value;
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
/// It needs Redis 6.2, or another server with the same protocol and Lua scripts.
///
/// # Keys
///
/// The key `PREFIX:{ID}` (hexadecimal) holds the session's record, or its tombstone. Redis expires it by itself, by the
/// deadline that each write sets; [`purge_expired`](SessionStore::purge_expired) only tidies the index. The key
/// `PREFIX:{TAG}:subject` holds the ids of one subject's sessions. Reading a session is one `GET`; a swap is one script.
/// [`count`](SessionStore::count) and [`remove_all`](SessionStore::remove_all) of everything walk all keys of the database
/// with `SCAN`, and block nobody.
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
///   +scan +time +eval +evalsha +role +info
/// ```
///
/// In a cluster, it also needs `+cluster|slots +asking +ping`. Without `role`, a replica is found out by the first command that
/// it refuses; without `info`, the store trusts that the server evicts nothing.
///
/// # Durability
///
/// Redis acknowledges a write when it is in its memory. Its configuration decides which writes survive:
///
/// | configuration | lost in a crash of the machine | in a failover to a replica |
/// | --- | --- | --- |
/// | `appendonly yes`, `appendfsync always` | no acknowledged write | the last writes |
/// | `appendonly yes`, `appendfsync everysec` | the last second or two | the last writes |
/// | snapshots, or nothing at all | minutes, or everything | the last writes |
///
/// Replication is always asynchronous: a replica that takes over may lack the last writes of its primary, whatever
/// `min-replicas-to-write` says. For sessions this means: a lost *rotation* makes the newest cookies unknown (`Unremembered`:
/// refused with an event, no session revoked, and older cookies of the session work again), a lost *logout* is undone, and
/// after a lost login the user logs in again. Lost writes help nobody to forge a cookie. If a logout must never be undone,
/// use a single server with `appendfsync always`, or an SQL database.
///
/// A primary that is cut off from its cluster may answer reads for as long as its `cluster-node-timeout` after another one
/// has taken over.
///
/// After a planned failover (`FAILOVER`, and the address moves), the store follows: a replica is refused when the store is
/// opened and when it connects again, and its answers never count, not even those of a server that was the primary until now.
///
/// In a cluster, the index of a subject is on another node than its sessions. If a failover loses a part of it, each session
/// comes back into it with its next write; until then, [`remove_all`](SessionStore::remove_all) of the subject misses it.
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
}

impl RedisStore {
    /// Opens a single server. To set more, use [`RedisOptions`].
    ///
    /// The URL is `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]` or `redis+unix:///PATH`, or `rediss://` for TLS, with the
    /// feature `redis-rustls`. TLS uses the cryptography that your process has chosen for rustls, or ring's.
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
}

impl RedisOptions {
    /// Returns the defaults: the prefix `secure-sessions`, 3 seconds.
    pub fn new() -> Self {
        Self { prefix: DEFAULT_PREFIX.into(), timeout: DEFAULT_TIMEOUT, allow_eviction: false }
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

    /// Opens a single server.
    ///
    /// # Errors
    ///
    /// The same as [`RedisStore::connect`].
    pub async fn connect(self, url: &str) -> Result<RedisStore, StoreError> {
        let client = Client::open(url).map_err(|error| error::misconfigured(&error))?;
        self.client(client).await
    }

    /// Opens the server of a client of your own, with certificates of your own for instance.
    ///
    /// # Errors
    ///
    /// The same as [`RedisStore::connect`].
    pub async fn client(self, client: Client) -> Result<RedisStore, StoreError> {
        let keys = Keys::new(&self.prefix)?;
        let connection = Connection::single(client, self.timeout).await?;
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
        let connection = Connection::cluster(builder, server, self.timeout).await?;
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
        rights::check(&connection, &keys).await?;
        let index = Index::new(connection.clone(), keys.clone());
        let store = Self(Arc::new(Inner { connection, keys, index, tidied: Mutex::default() }));
        warn_of_skew(&store).await;
        Ok(store)
    }
}

impl Inner {
    async fn insert(&self, write: &Write, subject: Option<&SubjectTag>) -> Result<(), StoreError> {
        let key = self.keys.entry(&write.id);
        let outcome = match (subject, self.connection.is_cluster()) {
            (None, _) => self.connection.insert(&key, write, None).await?,
            (Some(subject), false) => self.connection.insert_indexed(&key, &self.keys.subject(subject), write).await?,
            (Some(subject), true) => {
                // The index comes first, so that every existing session is found.
                let ticket = self.index.add(subject, write).await?;
                self.connection.insert(&key, write, Some(&ticket)).await?
            }
        };
        match outcome {
            Outcome::Done => Ok(()),
            _ => Err(StoreError::Duplicate),
        }
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        self.connection.get(&self.keys.entry(id)).await?.map(|value| value::entry(&value)).transpose()
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        let write = Write::bucket(bucket);
        let key = self.keys.entry(&bucket.id);
        if !self.connection.is_cluster() {
            let index = bucket.subject.as_ref().map(|subject| self.keys.subject(subject));
            let outcome = self.connection.replace(&key, index.as_deref(), &write, expected).await?;
            return Ok(outcome == Outcome::Done);
        }
        let mut ticket = None;
        loop {
            let (outcome, place) = self.connection.replace_on_node(&key, &write, ticket.as_ref(), expected).await?;
            match (outcome, &bucket.subject) {
                // The subject changed, or the life is longer: the index has to know first.
                (Outcome::NeedsTicket, Some(subject)) if ticket.is_none() => {
                    ticket = Some(self.index.add(subject, &write).await?);
                }
                (outcome, subject) => {
                    if let (None, Some(subject), Some(place)) = (ticket, subject, place) {
                        self.keep_place(subject, &write, &place).await;
                    }
                    return Ok(outcome == Outcome::Done);
                }
            }
        }
    }

    /// Asserts the place of a session in its subject's index, which is on another node: a failover there may have lost it,
    /// and then nobody would find the session. The swap has been done, so a failure is left to the next one.
    async fn keep_place(&self, subject: &SubjectTag, write: &Write, place: &Ticket) {
        let (connection, index) = (self.connection.clone(), self.keys.subject(subject));
        let (member, deadline) = (value::member(&write.id, place), write.index_deadline);
        let keeping = tokio::spawn(async move { connection.keep(&index, &member, deadline).await });
        // A node that is down must not hold up those that are not.
        let _ = tokio::time::timeout(LONGEST_KEEP, keeping).await;
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<&Tombstone>) -> Result<bool, StoreError> {
        let write = tombstone.map(Write::tombstone);
        match self.connection.remove(&self.keys.entry(id), write.as_ref(), None).await? {
            Removed::Bucket(member) => {
                if let Some((subject, ticket)) = member {
                    // This only tidies: the session is gone, and a list that still has its id leaves it out.
                    let _ = self.index.forget(&subject, id, &ticket).await;
                }
                Ok(true)
            }
            Removed::Nothing => Ok(false),
        }
    }
}

impl SessionStore for RedisStore {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.0.insert(&Write::bucket(bucket), bucket.subject.as_ref()).await
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
        self.0.remove(id, tombstone.as_ref()).await
    }

    async fn list(&self, subjects: &[SubjectTag], page: Page) -> Result<Vec<Listed>, StoreError> {
        self.0.index.list(subjects, page).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        walk::count(&self.0).await
    }

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
}
