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
use self::value::Write;
use crate::{Listed, Page, SessionStore, StoreError, Which};

mod connection;
mod error;
mod index;
mod keys;
mod renewal;
mod scripts;
mod value;
mod walk;

const DEFAULT_PREFIX: &str = "secure-sessions";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);

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
/// Set `maxmemory-policy` to `noeviction`: any other policy ends sessions when memory runs out, and may evict the index that
/// [`remove_all`](SessionStore::remove_all) uses. Opening the store refuses a single server with another policy, unless it
/// has no `maxmemory`; see [`RedisOptions::insecure_allow_eviction`].
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
        Ok(RedisStore::new(connection, keys))
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
        Ok(RedisStore::new(connection, keys))
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
    fn new(connection: Connection, keys: Keys) -> Self {
        let index = Index::new(connection.clone(), keys.clone());
        Self(Arc::new(Inner { connection, keys, index, tidied: Mutex::default() }))
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
            let outcome = self.connection.replace(&key, index.as_deref(), &write, None, expected).await?;
            return Ok(outcome == Outcome::Done);
        }
        let mut ticket = None;
        loop {
            let outcome = self.connection.replace(&key, None, &write, ticket.as_ref(), expected).await?;
            match (outcome, &bucket.subject) {
                // The subject changed, or the life is longer: the index has to know first.
                (Outcome::NeedsTicket, Some(subject)) if ticket.is_none() => {
                    ticket = Some(self.index.add(subject, &write).await?);
                }
                (outcome, _) => return Ok(outcome == Outcome::Done),
            }
        }
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
}
