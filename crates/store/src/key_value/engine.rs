//! The interface of a key-value engine.

use std::future::Future;

use secure_sessions_core::Timestamp;

use crate::StoreError;

/// The most changes of one [`KeyValue::write`].
pub const MOST_CHANGES: usize = 64;

/// A key-value engine, for a [`KvStore`](crate::KvStore) to keep sessions in.
///
/// Keys are ASCII without spaces, at most 250 bytes long: the prefix that you give to the store and up to 110 bytes more.
/// Values are bytes, at most 72 kB of them, and usually fewer than 4 kB: only private values are larger. A value may be empty.
/// The values of one [`write`](Self::write) are at most 1 MB in all.
///
/// # Rules
///
/// 1. Calls on one key are linearizable across all processes that share the engine: [`get`](Self::get) returns what the last
///    acknowledged [`write`](Self::write) left, from the primary and never from a replica or a cache.
/// 2. `write` compares and writes in one step. If [`TRANSACTS`](Self::TRANSACTS), all of its changes are one step.
/// 3. After an error, the write may have happened; but it happened whole or not at all. An error holds no key and no value.
/// 4. [`scan`](Self::scan) misses no key that is there from its call until its return.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::sync::{Mutex, MutexGuard, PoisonError};
///
/// use secure_sessions_store::key_value::{Change, Expected, Stored};
/// use secure_sessions_store::{KeyValue, KvStore, StoreError};
///
/// /// A map behind a lock. Values are compared as a whole, so they need no version.
/// #[derive(Default)]
/// struct Map(Mutex<BTreeMap<String, Vec<u8>>>);
///
/// impl Map {
///     fn values(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
///         self.0.lock().unwrap_or_else(PoisonError::into_inner)
///     }
/// }
///
/// fn stored(value: &[u8]) -> Stored<()> {
///     Stored { value: value.to_vec(), version: () }
/// }
///
/// impl KeyValue for Map {
///     type Version = ();
///     const TRANSACTS: bool = true;
///     const EXPIRES: bool = false;
///
///     async fn get(&self, keys: &[String]) -> Result<Vec<Option<Stored<()>>>, StoreError> {
///         let values = self.values();
///         Ok(keys.iter().map(|key| values.get(key).map(|value| stored(value))).collect())
///     }
///
///     async fn write(&self, changes: &[Change<()>]) -> Result<bool, StoreError> {
///         let mut values = self.values();
///         let holds = |change: &Change<()>| match &change.expected {
///             Expected::Anything => true,
///             Expected::Nothing => !values.contains_key(&change.key),
///             Expected::Unchanged(stored) => values.get(&change.key) == Some(&stored.value),
///         };
///         if !changes.iter().all(holds) {
///             return Ok(false);
///         }
///         for change in changes {
///             match &change.new {
///                 Some(new) => drop(values.insert(change.key.clone(), new.value.clone())),
///                 None => drop(values.remove(&change.key)),
///             }
///         }
///         Ok(true)
///     }
///
///     async fn scan(&self, from: &str, to: &str, limit: usize) -> Result<Vec<(String, Stored<()>)>, StoreError> {
///         let values = self.values();
///         let range = values.range(from.to_owned()..to.to_owned()).take(limit);
///         Ok(range.map(|(key, value)| (key.clone(), stored(value))).collect())
///     }
/// }
///
/// # #[cfg(feature = "conformance")] {
/// let outcome = secure_sessions_store::conformance::check(|| async { KvStore::new(Map::default(), "sessions").unwrap() });
/// assert!(outcome.is_ok(), "{outcome:?}");
/// # }
/// ```
pub trait KeyValue: Send + Sync + 'static {
    /// The mark of a stored value that changes with every write to its key, if the engine has one. `()` if you compare whole
    /// values.
    type Version: Clone + Send + Sync + 'static;

    /// If `true`, one [`write`](Self::write) takes up to [`MOST_CHANGES`] changes of different keys, all or none. If `false`,
    /// it gets one change at a time; the store then orders its writes so that a crash between two of them loses nothing.
    const TRANSACTS: bool;

    /// If `true`, the engine removes each value by itself once [`NewValue::deadline`] has passed, by one clock that all hosts
    /// share, and never before. If `false`, the store keeps a list of deadlines, and its purge removes what is due.
    const EXPIRES: bool;

    /// Returns the values under these keys (at most [`MOST_CHANGES`], each once), in their order. They need not be of one instant.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the engine fails.
    fn get(
        &self,
        keys: &[String],
    ) -> impl Future<Output = Result<Vec<Option<Stored<Self::Version>>>, StoreError>> + Send;

    /// Makes the changes if the expectation of each holds, and returns `true`; else makes none, and returns `false`. No two
    /// changes are of one key.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the engine fails. A serialization failure, or a deadlock, is `false`. If there is no room for a value,
    /// [`StoreError::Unavailable`]: an ending then tries again without its tombstone, so let removals through. If the engine
    /// takes no value of this size, [`StoreError::Rejected`], which names the size and the limit.
    fn write(&self, changes: &[Change<Self::Version>]) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Returns the first `limit` keys from `from` on and below `to`, in ascending order of their bytes, with their values.
    /// Fewer than `limit` are all that there are.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the engine fails.
    #[expect(clippy::type_complexity, reason = "an implementer reads the type itself")]
    fn scan(
        &self,
        from: &str,
        to: &str,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<(String, Stored<Self::Version>)>, StoreError>> + Send;

    /// Returns the time by the engine's clock, as [`SessionStore::now`](crate::SessionStore::now) does; by default `None`.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the engine fails.
    fn now(&self) -> impl Future<Output = Result<Option<Timestamp>, StoreError>> + Send {
        async { Ok(None) }
    }
}

/// A value that an engine returned.
#[derive(Clone)]
pub struct Stored<V> {
    /// The bytes.
    pub value: Vec<u8>,
    /// Their version.
    pub version: V,
}

/// A change of one key.
#[derive(Clone)]
pub struct Change<V> {
    /// The key.
    pub key: String,
    /// The condition on the key's present value.
    pub expected: Expected<V>,
    /// The value afterwards; `None` removes the key, if it is there.
    pub new: Option<NewValue>,
}

/// The condition on which a [`Change`] happens.
#[derive(Clone)]
pub enum Expected<V> {
    /// Any value, or nothing.
    Anything,
    /// Nothing.
    Nothing,
    /// The value that an earlier call returned, unchanged: compare its version, or the bytes.
    Unchanged(Stored<V>),
}

/// A value to write.
#[derive(Clone)]
pub struct NewValue {
    /// The bytes.
    pub value: Vec<u8>,
    /// The time when nobody needs it any more. Only an engine that [`EXPIRES`](KeyValue::EXPIRES) looks at it.
    pub deadline: Timestamp,
}

impl<V> Change<V> {
    pub(super) fn put(key: String, expected: Expected<V>, value: Vec<u8>, deadline: Timestamp) -> Self {
        Self { key, expected, new: Some(NewValue { value, deadline }) }
    }

    pub(super) fn delete(key: String, expected: Expected<V>) -> Self {
        Self { key, expected, new: None }
    }
}
