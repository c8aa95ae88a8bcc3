//! The store: opened by its URL, and wrapped so that every call is counted and can be made to fail.

use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use secure_sessions_store::{
    AnyStore, Bucket, Entry, Listed, MemoryStore, Page, RedisOptions, RedisStore, Revision, SessionId, SessionStore,
    SqlOptions, StoreError, Tags, Timestamp, Tombstone, Which,
};
use serde_json::{Value, json};

use crate::gate::Gate;

/// Opens the store that a URL names; it waits for each answer for this long, or as long as stores do by default.
///
/// # Errors
///
/// A text that says what is wrong with the URL or the store.
pub async fn open(url: &str, timeout: Option<Duration>) -> Result<AnyStore, String> {
    match url.split_once(':').map_or(url, |(scheme, _)| scheme) {
        "memory" => Ok(AnyStore::new(MemoryStore::new())),
        kind @ ("redis" | "rediss" | "redis+sentinel") => {
            let opened = open_redis(url, timeout).await;
            // The URL itself stays out of the message: it may hold a password.
            opened.map(AnyStore::new).map_err(|error| format!("STORE={kind}:...: {}", chain(&error)))
        }
        // The URL itself stays out of the message: it may hold a password.
        kind @ ("sqlite" | "postgres" | "postgresql" | "mysql" | "mariadb") => {
            let options = SqlOptions::new().max_connections(4);
            let opened = timeout.into_iter().fold(options, SqlOptions::timeout).connect(url).await;
            opened.map(AnyStore::new).map_err(|error| format!("STORE={kind}:...: {}", chain(&error)))
        }
        // Nor is the URL in this one.
        _ => {
            Err("STORE: expected memory:, sqlite:PATH, postgres://, mysql://, redis:// or redis+sentinel://".to_owned())
        }
    }
}

/// A single server, or the nodes of a cluster separated by commas; a prefix of its own behind `?prefix=`.
async fn open_redis(url: &str, timeout: Option<Duration>) -> Result<RedisStore, StoreError> {
    let (nodes, prefix) = url.split_once("?prefix=").unwrap_or((url, "acceptance"));
    let options = timeout.into_iter().fold(RedisOptions::new().prefix(prefix), RedisOptions::timeout);
    if nodes.contains(',') && !nodes.starts_with("redis+sentinel:") {
        options.connect_cluster(nodes.split(',')).await
    } else {
        options.connect(nodes).await
    }
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

const METHODS: [&str; 9] =
    ["insert", "load", "replace", "renew_into", "remove", "list", "count", "remove_all", "purge_expired"];

/// The way in which the store is made to fail. Only for tests, see the README.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Fault {
    /// Not at all.
    Up,
    /// Every call.
    Down,
    /// Every call that writes.
    Commit,
    /// Every other call or so.
    Random,
    /// The next call that writes: it is carried out, and its acknowledgement lost. Then not any more.
    Lost,
    /// None, but every call that writes waits at the gate before it is carried out.
    Hold,
}

const FAULTS: [(&str, Fault); 6] = [
    ("up", Fault::Up),
    ("down", Fault::Down),
    ("commit", Fault::Commit),
    ("random", Fault::Random),
    ("lost", Fault::Lost),
    ("hold", Fault::Hold),
];

/// The text of the injected error: details that belong into the log and into no response.
const INJECTED: &str = "injected fault: no route to db-7.internal";

/// Counts the calls to a store, and lets them fail. Clones share everything.
#[derive(Clone)]
pub struct WatchedStore(Arc<Watched>);

struct Watched {
    inner: AnyStore,
    calls: [AtomicU64; METHODS.len()],
    fault: AtomicU8,
    /// State of a small generator: which call fails must not differ from run to run.
    dice: AtomicU64,
    gate: Gate,
    largest_record: AtomicUsize,
    last_written: Mutex<Option<Bucket>>,
}

impl WatchedStore {
    /// Watches over a store. Calls that are to be held wait at the gate.
    #[must_use]
    pub fn new(inner: AnyStore, gate: Gate) -> Self {
        Self(Arc::new(Watched {
            inner,
            calls: Default::default(),
            fault: AtomicU8::new(Fault::Up as u8),
            dice: AtomicU64::new(0),
            gate,
            largest_record: AtomicUsize::new(0),
            last_written: Mutex::new(None),
        }))
    }

    /// Returns the number of calls of each method.
    #[must_use]
    pub fn calls(&self) -> Value {
        let counted = METHODS.iter().zip(&self.0.calls);
        Value::Object(counted.map(|(name, n)| ((*name).to_owned(), json!(n.load(Ordering::SeqCst)))).collect())
    }

    /// The number of buckets, neither counted as a call nor subject to faults; `None` if the store fails.
    pub async fn live(&self) -> Option<u64> {
        self.0.inner.count().await.ok()
    }

    /// The size of the largest bucket that was ever written, as a record.
    #[must_use]
    pub fn largest_record(&self) -> usize {
        self.0.largest_record.load(Ordering::SeqCst)
    }

    /// The bucket that was written last.
    #[must_use]
    pub fn last_written(&self) -> Option<Bucket> {
        self.0.last_written.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the store fail from now on; `false` if there is no such mode.
    #[must_use]
    pub fn set_fault(&self, mode: &str) -> bool {
        let fault = FAULTS.into_iter().find(|(name, _)| *name == mode);
        if let Some((_, fault)) = fault {
            self.0.fault.store(fault as u8, Ordering::SeqCst);
        }
        fault.is_some()
    }

    fn is(&self, fault: Fault) -> bool {
        self.0.fault.load(Ordering::SeqCst) == fault as u8
    }

    /// Counts a call, and fails before it is carried out if it is to.
    async fn called(&self, method: &'static str, writes: bool) -> Result<(), StoreError> {
        if let Some(index) = METHODS.iter().position(|name| *name == method) {
            self.0.calls[index].fetch_add(1, Ordering::SeqCst);
        }
        if writes && self.is(Fault::Hold) {
            self.0.gate.wait().await;
        }
        let fails =
            self.is(Fault::Down) || (writes && self.is(Fault::Commit)) || (self.is(Fault::Random) && self.roll());
        if fails { Err(StoreError::unavailable(INJECTED)) } else { Ok(()) }
    }

    /// One of two, by splitmix64.
    fn roll(&self) -> bool {
        let mut z = self.0.dice.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::SeqCst);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) & 1 == 0
    }

    /// Loses the acknowledgement of a write that was carried out, if it is to.
    fn acknowledged<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        let lost =
            self.0.fault.compare_exchange(Fault::Lost as u8, Fault::Up as u8, Ordering::SeqCst, Ordering::SeqCst);
        if lost.is_ok() { Err(StoreError::unavailable(INJECTED)) } else { result }
    }

    fn measure(&self, bucket: &Bucket) {
        self.0.largest_record.fetch_max(bucket.to_record().len(), Ordering::SeqCst);
        *self.0.last_written.lock().unwrap_or_else(PoisonError::into_inner) = Some(bucket.clone());
    }
}

impl SessionStore for WatchedStore {
    async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        self.called("insert", true).await?;
        self.measure(bucket);
        self.acknowledged(self.0.inner.insert(bucket).await)
    }

    async fn load(&self, id: &SessionId) -> Result<Option<Entry>, StoreError> {
        self.called("load", false).await?;
        self.0.inner.load(id).await
    }

    async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        self.called("replace", true).await?;
        self.measure(bucket);
        self.acknowledged(self.0.inner.replace(bucket, expected).await)
    }

    async fn renew_into(
        &self,
        bucket: &Bucket,
        old: &SessionId,
        expected: Revision,
        tombstone: Tombstone,
    ) -> Result<bool, StoreError> {
        self.called("renew_into", true).await?;
        self.measure(bucket);
        self.acknowledged(self.0.inner.renew_into(bucket, old, expected, tombstone).await)
    }

    async fn remove(&self, id: &SessionId, tombstone: Option<Tombstone>) -> Result<bool, StoreError> {
        self.called("remove", true).await?;
        self.acknowledged(self.0.inner.remove(id, tombstone).await)
    }

    async fn list(&self, tags: Tags<'_>, page: Page) -> Result<Vec<Listed>, StoreError> {
        self.called("list", false).await?;
        self.0.inner.list(tags, page).await
    }

    async fn count(&self) -> Result<u64, StoreError> {
        self.called("count", false).await?;
        self.0.inner.count().await
    }

    async fn remove_all(&self, which: Which<'_>, except: Option<&SessionId>) -> Result<u64, StoreError> {
        self.called("remove_all", true).await?;
        self.acknowledged(self.0.inner.remove_all(which, except).await)
    }

    async fn purge_expired(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.called("purge_expired", true).await?;
        self.acknowledged(self.0.inner.purge_expired(now, limit).await)
    }

    // Neither counted nor subject to faults.
    secure_sessions_store::forward_methods!(self => &self.0.inner; not_before, raise_not_before);
}
