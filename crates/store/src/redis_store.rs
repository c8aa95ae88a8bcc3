//! A store in Redis, or in anything that speaks its protocol: a single server or a cluster.

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::{Client, IntoConnectionInfo};
use secure_sessions_core::{Bucket, Entry, Revision, SessionId, SubjectTag, Timestamp, Tombstone};

use self::connection::Connection;
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

/// Sessions in Redis; a clone is the same store.
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
/// # What is where
///
/// Under `PREFIX:{ID}` (hexadecimal) stands the session's record, or its tombstone. Redis expires it by itself, from the
/// deadline that each write brings along; [`purge_expired`](SessionStore::purge_expired) has nothing to do but to tidy
/// the index. Under `PREFIX:{TAG}:subject` stand the ids of one subject's sessions. Reading a session is one `GET`; a
/// swap is one script. [`count`](SessionStore::count) and [`remove_all`](SessionStore::remove_all) of everything go
/// through all keys of the database with `SCAN`, and block nobody.
///
/// In a cluster the braces keep every step of one session on one node. A renewal touches two sessions, and is three steps
/// there: the new session is written, the old one ended, and the new one taken back if the old one was gone. A task of its
/// own sees it through when the caller goes away.
///
/// # What Redis promises
///
/// Redis acknowledges a write when it is in its memory. What then survives is up to its configuration:
///
/// | configuration | lost in a crash of the machine | in a failover to a replica |
/// | --- | --- | --- |
/// | `appendonly yes`, `appendfsync always` | nothing that was acknowledged | the last writes |
/// | `appendonly yes`, `appendfsync everysec` | the last second or two | the last writes |
/// | snapshots, or nothing at all | minutes, or everything | the last writes |
///
/// Replication is asynchronous, always: a replica that takes over may not have the last writes of its primary, whatever
/// `min-replicas-to-write` says. What follows for sessions: a lost *rotation* makes the newest cookies unknown
/// (`Unremembered`: refused, an event, nobody's session revoked, and older cookies of the session work again), a lost
/// *logout* is undone, a lost login must be repeated. Nothing that was lost helps anyone to forge a cookie. Where a logout
/// must never be undone, use a single server with `appendfsync always`, or an SQL database.
///
/// A primary that is cut off from its cluster may answer reads for as long as its `cluster-node-timeout` after another one
/// has taken over.
///
/// `maxmemory-policy` has to be `noeviction`: any other one ends sessions when memory runs out, and may evict what
/// [`remove_all`](SessionStore::remove_all) finds sessions by. A single server with another policy is refused when the
/// store is opened, unless it has no `maxmemory`; see [`RedisOptions::insecure_allow_eviction`].
///
/// Hosts' clocks, and those of a cluster's nodes, may differ by up to half an hour.
#[derive(Clone)]
pub struct RedisStore(Arc<Inner>);

/// What the steps of an operation share.
struct Inner {
    connection: Connection,
    keys: Keys,
    index: Index,
    /// How far the tidying of indexes has come.
    tidied: Mutex<walk::Progress>,
}

/// How a [`RedisStore`] is opened.
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
    /// Opens a single server. For more say, [`RedisOptions`].
    ///
    /// `redis://[USER:PASSWORD@]HOST[:PORT][/DATABASE]`, `redis+unix:///PATH`, or `rediss://` for TLS, with the feature
    /// `redis-rustls`: with the cryptography that the process has chosen for rustls, or ring's.
    ///
    /// # Errors
    ///
    /// [`StoreError::Rejected`] if the URL or the server's configuration is not good; another [`StoreError`] if the server
    /// cannot be reached.
    pub async fn connect(url: &str) -> Result<Self, StoreError> {
        RedisOptions::new().connect(url).await
    }

    /// Opens a cluster, of which some nodes are given; it finds the others.
    ///
    /// # Errors
    ///
    /// As [`connect`](Self::connect).
    pub async fn connect_cluster(urls: &[&str]) -> Result<Self, StoreError> {
        RedisOptions::new().connect_cluster(urls.iter().copied()).await
    }
}

impl RedisOptions {
    /// The defaults: the prefix `secure-sessions`, 3 seconds.
    pub fn new() -> Self {
        Self { prefix: DEFAULT_PREFIX.into(), timeout: DEFAULT_TIMEOUT, allow_eviction: false }
    }

    /// What every key begins with: up to 64 of letters, digits and `-_.:`. Stores with different prefixes share nothing.
    pub fn prefix(self, prefix: impl Into<String>) -> Self {
        Self { prefix: prefix.into(), ..self }
    }

    /// How long one step may take, reconnecting included. Most operations are one.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Takes a server that evicts keys when its memory is full: it ends sessions then, and logging out everywhere may
    /// miss some.
    pub fn insecure_allow_eviction(self) -> Self {
        Self { allow_eviction: true, ..self }
    }

    /// Opens a single server.
    ///
    /// # Errors
    ///
    /// As [`RedisStore::connect`].
    pub async fn connect(self, url: &str) -> Result<RedisStore, StoreError> {
        let client = Client::open(url).map_err(|error| error::read(&error))?;
        self.client(client).await
    }

    /// Opens the server of a client that the application has made: with certificates of its own, for instance.
    ///
    /// # Errors
    ///
    /// As [`RedisStore::connect`].
    pub async fn client(self, client: Client) -> Result<RedisStore, StoreError> {
        let keys = Keys::new(&self.prefix)?;
        let connection = Connection::single(client, self.timeout).await?;
        if !self.allow_eviction {
            connection.refuse_eviction().await?;
        }
        Ok(RedisStore::new(connection, keys))
    }

    /// Opens a cluster, of which some nodes are given.
    ///
    /// # Errors
    ///
    /// As [`RedisStore::connect`].
    pub async fn connect_cluster<U: IntoConnectionInfo>(
        self,
        nodes: impl IntoIterator<Item = U>,
    ) -> Result<RedisStore, StoreError> {
        self.cluster(redis::cluster::ClusterClientBuilder::new(nodes)).await
    }

    /// Opens a cluster with a client's settings that the application has made.
    ///
    /// # Errors
    ///
    /// As [`RedisStore::connect`].
    pub async fn cluster(self, builder: redis::cluster::ClusterClientBuilder) -> Result<RedisStore, StoreError> {
        let keys = Keys::new(&self.prefix)?;
        let connection = Connection::cluster(builder, self.timeout).await?;
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
                // The index first: a session that is there is found.
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
                // Another subject, or a longer life: its index has to know before.
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
                    // Tidiness only: the session is gone, and a list that still has its id leaves it out.
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

    /// Redis expires sessions by itself, so this is always 0. It goes on through the index, a few thousand keys at each
    /// call, and removes what has been left there.
    async fn purge_expired(&self, _now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        if limit > 0 {
            walk::tidy(&self.0).await?;
        }
        Ok(0)
    }
}
