//! A store in a Memcached.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_memcached::{Error, ErrorKind, MetaProtocol, Status};
use tokio::time::{Instant, sleep, timeout};

use secure_sessions_core::{Millis, PURGE_DELAY, Timestamp};

use self::index::Place;
use self::pool::{Failure, Pool};
use crate::key_value::{Change, Expected, MOST_CHANGES, NewValue, Stored};
use crate::{KeyValue, KvStore, SessionStore, StoreError, VaultStore};

mod index;
mod names;
mod pool;
mod wire;

const DEFAULT_PREFIX: &str = "secure-sessions";
/// The longest time of one step.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The longest time of a walk over all keys, and of its wait for another one.
const LONGEST_WALK: Duration = Duration::from_secs(30);
/// The time for which an index keeps a place that nobody needs any more: hosts' clocks may differ.
const SLACK: Millis = Millis::from_secs(86_400);
/// The pause before a walk over all keys is tried again, because another one is under way.
const PAUSE: Duration = Duration::from_millis(2);
const TURNS: usize = 16;

/// A store in one [Memcached](https://memcached.org), version 1.6 or newer; a clone is the same store.
///
/// Memcached is a cache. It forgets everything when it ends, and some of it when its memory is full, so this store keeps less
/// than the contract of [`SessionStore`] promises:
///
/// - **A restart ends every session.** All users log in again. Test: `a_restart_ends_every_session_and_the_store_goes_on`.
/// - **A full memory ends sessions**, those first that were not used for the longest time. It may also take a subject's index,
///   and then a list, and logging out everywhere, misses all of the subject's sessions until each is renewed; or the
///   tombstone of a renewal, and then a thief who presents the old cookie is refused and not reported. Start it with `-M`, so
///   that it refuses writes instead, and watch its memory: it then refuses logins, renewals and touches, keeps the sessions
///   that are there, and lets endings through, without their tombstones if need be. Tests:
///   `a_memcached_that_must_not_evict_refuses_writes_when_it_is_full`,
///   `a_full_memcached_without_eviction_keeps_sessions_and_lets_them_end`.
/// - **Nothing brings an ended session back**, with one exception: a Memcached with `-e FILE`, whose file is older than the
///   ending.
/// - **A renewal is not one step.** If the process stops in the middle, the old and the new session may both live on. Nobody
///   holds a cookie of the new one; it ends with its subject's others, or expires. See [`KvStore`].
/// - **One walk over everything at a time.** [`count`](SessionStore::count), and [`remove_all`](SessionStore::remove_all) of
///   everything, read the names of all keys, which another walk has to wait for. They are for operators.
///
/// The index of a subject or a group is one value, `PREFIX/i/TAG`, of 82 bytes for each session, ended ones that were renewed
/// included: at an item size of 1 MiB (`-I`) it has room for some 12,700. A full index first forgets sessions that are gone; if
/// there are none, a login or a renewal of another session fails with [`StoreError::Rejected`], which names both sizes. Test:
/// `a_full_index_refuses_another_session_by_its_size_and_keeps_the_others`.
///
/// Private values can be kept here, too, and are lost as sessions are: a restart or a full memory takes them, and the session that
/// referred to them, if it is in another store, finds them lost (test: `a_restart_loses_private_values_and_takes_new_ones`). Reading up to 64 of them is one step. Writing is three for one
/// value, and one for each further. A value over the item size (`-I`, 1 MiB unless set) is refused with its length (test:
/// `a_value_over_the_item_size_is_refused_by_its_size`).
///
/// If a logout everywhere must find every session, or a session must outlive a restart, take another store.
///
/// Memcached has no protection of its own, either: anyone who reaches its port reads and ends sessions. Bind it to a private
/// address.
///
/// ```no_run
/// use secure_sessions_store::{MemcachedStore, SessionStore};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let store = MemcachedStore::open_lossy("tcp://127.0.0.1:11211").await?;
/// assert_eq!(store.count().await?, 0);
/// # Ok(())
/// # }
/// ```
///
/// Memcached removes expired sessions by itself, so no [`Purge`](crate::Purge) is needed.
#[derive(Clone)]
pub struct MemcachedStore(KvStore<Memcached>);

impl MemcachedStore {
    /// Opens a server at `tcp://HOST:PORT` or `unix:///PATH`, although it may lose sessions.
    ///
    /// # Errors
    ///
    /// [`StoreError::Rejected`] if the URL is wrong, or the server is older than 1.6; another [`StoreError`] if it cannot be
    /// reached.
    pub async fn open_lossy(url: &str) -> Result<Self, StoreError> {
        Self::open_lossy_with_prefix(url, DEFAULT_PREFIX).await
    }

    /// Does the same as [`open_lossy`](Self::open_lossy), with another prefix of every key than `secure-sessions`: 1 to 64
    /// letters, digits and `-_.:`. Stores with different prefixes share nothing.
    ///
    /// # Errors
    ///
    /// The same as [`open_lossy`](Self::open_lossy).
    pub async fn open_lossy_with_prefix(url: &str, prefix: &str) -> Result<Self, StoreError> {
        if !["tcp://", "unix://"].iter().any(|scheme| url.starts_with(scheme)) {
            return Err(StoreError::rejected("a Memcached is tcp://HOST:PORT or unix:///PATH"));
        }
        let pool = Pool::new(url);
        // A server that does not know the meta commands refuses this.
        let probe = format!("{prefix}/probe");
        let outcome = pool.run(async |client| client.meta_get(&probe, false, None, Some(&["c"])).await).await;
        if let Err(Failure::Server(Error::Protocol(Status::Error(ErrorKind::NonexistentCommand)))) = outcome {
            return Err(StoreError::rejected("this Memcached is older than 1.6"));
        }
        outcome.map_err(Failure::into_error)?;
        let engine = Engine { pool, walked: Mutex::default(), turns: Default::default() };
        KvStore::new(Memcached(Arc::new(engine)), prefix).map(Self)
    }
}

impl fmt::Debug for MemcachedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemcachedStore(..)")
    }
}

impl SessionStore for MemcachedStore {
    crate::forward_methods!(self => &self.0;
        insert, load, replace, renew_into, remove, list, count, remove_all, purge_expired, now, not_before,
        raise_not_before);
}

impl VaultStore for MemcachedStore {
    crate::forward_vault_methods!(self => &self.0; put, get, delete, delete_all, prolong, purge);
}

#[derive(Clone)]
struct Memcached(Arc<Engine>);

struct Engine {
    pool: Pool,
    /// The names that the last walk has found, in their order, for its next steps.
    walked: Mutex<Arc<[String]>>,
    /// Changes of one index take turns in this process, so that they seldom find it changed by another.
    turns: [tokio::sync::Mutex<()>; TURNS],
}

impl Memcached {
    /// Returns the names of all keys in a range, in their order.
    async fn names(&self, from: &str, to: &str) -> Result<Arc<[String]>, StoreError> {
        let walking = async {
            loop {
                match names::read(self.0.pool.url()).await? {
                    Some(names) => return Ok::<_, StoreError>(names),
                    // Another walk is under way.
                    None => sleep(PAUSE).await,
                }
            }
        };
        let mut names = timeout(LONGEST_WALK, walking).await.map_err(|_| StoreError::Timeout)??;
        names.retain(|name| (from..to).contains(&name.as_str()));
        names.sort_unstable();
        names.dedup();
        let names: Arc<[String]> = names.into();
        *self.0.walked.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&names);
        Ok(names)
    }

    /// Returns the next keys of a walk, and their values.
    async fn walk(&self, from: &str, to: &str, limit: usize) -> Result<Vec<(String, Stored<u64>)>, StoreError> {
        // A first step reads all names; the next ones go on in them, or in those of a walk that began later.
        let names = if from.ends_with('\0') {
            Arc::clone(&self.0.walked.lock().unwrap_or_else(PoisonError::into_inner))
        } else {
            self.names(from, to).await?
        };
        let start = names.partition_point(|name| name.as_str() < from);
        let mut found = Vec::new();
        for keys in names[start..].chunks(MOST_CHANGES.min(limit.max(1))) {
            let mut values = self.values(keys).await?;
            // Some may have gone meanwhile.
            found.extend(keys.iter().filter_map(|key| Some((key.clone(), values.remove(key.as_bytes())?))));
            if found.len() >= limit {
                break;
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Adds a place to an index, or removes it.
    async fn change_index(&self, key: &str, name: &str, until: Option<Timestamp>) -> Result<bool, StoreError> {
        let deadline = Instant::now() + TIMEOUT;
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now = Timestamp::from_millis(Millis::from(since).get());
        let turn = key.bytes().last().map_or(0, usize::from) % TURNS;
        let _turn = timeout(TIMEOUT, self.0.turns[turn].lock()).await.map_err(|_| StoreError::Timeout)?;
        let mut is_full = false;
        while Instant::now() < deadline {
            let old = self.values(&[key.to_owned()]).await?.remove(key.as_bytes());
            let mut places = old.as_ref().map(|old| index::parse(&old.value)).unwrap_or_default();
            places.retain(|place| place.until.after(SLACK) > now && place.name != name);
            if is_full {
                places = self.without_gone(key, places, now).await?;
            }
            places.extend(until.map(|until| Place { until, added: now, name: name.to_owned() }));
            let last = places.iter().map(|place| place.until.after(SLACK)).max();
            let new = last.map(|deadline| NewValue { value: index::to_bytes(&places), deadline });
            if old.is_none() && new.is_none() {
                return Ok(true);
            }
            let length = new.as_ref().map_or(0, |new| new.value.len());
            let expected = old.map_or(Expected::Nothing, Expected::Unchanged);
            match self.try_change(&Change { key: key.to_owned(), expected, new }).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(failure) if failure.is_too_large() && !is_full => is_full = true,
                Err(failure) if failure.is_too_large() => {
                    let count = places.len().saturating_sub(1);
                    let what =
                        format!("the index of one subject or group is full: with one more place than {count}, a value");
                    return Err(self.too_large(&what, length).await?);
                }
                // Removals are let through. Lists skip the place of a session that is gone.
                Err(failure) if failure.is_out_of_memory() && until.is_none() => return Ok(true),
                Err(failure) => return Err(failure.into_error()),
            }
        }
        Err(StoreError::Timeout)
    }

    /// Returns the places of an index without those of sessions that are gone. A young place may be of a session that has not
    /// come yet.
    async fn without_gone(&self, index: &str, places: Vec<Place>, now: Timestamp) -> Result<Vec<Place>, StoreError> {
        let is_young = |place: &Place| place.added.after(PURGE_DELAY) > now;
        let sessions = places.iter().filter(|place| !is_young(place)).filter_map(|place| index::session(index, place));
        let sessions: Vec<String> = sessions.collect::<HashSet<_>>().into_iter().collect();
        let mut there = HashSet::new();
        for some in sessions.chunks(MOST_CHANGES) {
            there.extend(self.values(some).await?.into_keys());
        }
        let is_there = |place: &Place| index::session(index, place).is_some_and(|key| there.contains(key.as_bytes()));
        Ok(places.into_iter().filter(|place| is_young(place) || is_there(place)).collect())
    }

    async fn change(&self, change: &Change<u64>) -> Result<bool, StoreError> {
        match self.try_change(change).await {
            Err(failure) if failure.is_too_large() => {
                let length = change.new.as_ref().map_or(0, |new| new.value.len());
                Err(self.too_large("a value", length).await?)
            }
            outcome => outcome.map_err(Failure::into_error),
        }
    }

    async fn try_change(&self, change: &Change<u64>) -> Result<bool, Failure> {
        let Change { key, expected, new } = change;
        let outcome = match new {
            Some(NewValue { value, deadline }) => {
                let expiry = expiry(*deadline);
                self.0.pool.run_by_writer(async |writer| writer.write(key, expected, value, expiry).await).await
            }
            None => {
                let expectation = match expected {
                    Expected::Anything => None,
                    // No value has this version.
                    Expected::Nothing => Some("C0".to_owned()),
                    Expected::Unchanged(stored) => Some(format!("C{}", stored.version)),
                };
                let flags: Vec<&str> = expectation.as_deref().into_iter().collect();
                let removal = self.0.pool.run(async |client| client.meta_delete(key, false, None, Some(&flags)).await);
                removal.await.map(drop)
            }
        };
        match outcome {
            Ok(()) => Ok(true),
            Err(Failure::Server(Error::Protocol(Status::NotFound))) => Ok(!matches!(expected, Expected::Unchanged(_))),
            Err(Failure::Server(Error::Protocol(Status::Exists | Status::NotStored))) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Returns the error of a value that is larger than an item.
    async fn too_large(&self, what: &str, length: usize) -> Result<StoreError, StoreError> {
        let most = self.0.pool.run_by_writer(async |writer| writer.setting("item_size_max").await).await;
        let most = most.map_err(Failure::into_error)?.unwrap_or_default();
        Ok(StoreError::rejected(format!(
            "{what} of {length} bytes is over Memcached's item size: with its key, {most} bytes (-I)"
        )))
    }

    async fn values(&self, keys: &[String]) -> Result<HashMap<Vec<u8>, Stored<u64>>, StoreError> {
        let get = async || self.0.pool.run(async |client| client.meta_get_multi(keys, Some(&["v", "c"])).await).await;
        let values = match get().await {
            Err(failure) if failure.is_broken() => get().await,
            outcome => outcome,
        };
        let values = values.map_err(Failure::into_error)?;
        let pair = |value: async_memcached::MetaValue| {
            Some((value.key?, Stored { value: value.data.unwrap_or_default(), version: value.cas? }))
        };
        Ok(values.into_iter().filter_map(pair).collect())
    }
}

impl KeyValue for Memcached {
    /// Memcached's unique number of each write.
    type Version = u64;
    const TRANSACTS: bool = false;
    const EXPIRES: bool = true;

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Stored<u64>>>, StoreError> {
        let mut values = self.values(keys).await?;
        Ok(keys.iter().map(|key| values.remove(key.as_bytes())).collect())
    }

    async fn write(&self, changes: &[Change<u64>]) -> Result<bool, StoreError> {
        let [change] = changes else {
            return Err(StoreError::rejected("Memcached writes one key at a time"));
        };
        match index::split(&change.key) {
            Some((index, place)) => self.change_index(index, place, change.new.as_ref().map(|new| new.deadline)).await,
            None => self.change(change).await,
        }
    }

    async fn scan(&self, from: &str, to: &str, limit: usize) -> Result<Vec<(String, Stored<u64>)>, StoreError> {
        let Some((index, _)) = index::split(from) else { return self.walk(from, to, limit).await };
        let Some(value) = self.values(&[index.to_owned()]).await?.remove(index.as_bytes()) else {
            return Ok(Vec::new());
        };
        let mut keys: Vec<String> =
            index::parse(&value.value).into_iter().map(|place| format!("{index}/{}", place.name)).collect();
        keys.retain(|key| (from..to).contains(&key.as_str()));
        keys.sort_unstable();
        keys.truncate(limit);
        Ok(keys.into_iter().map(|key| (key, Stored { value: Vec::new(), version: value.version })).collect())
    }
}

/// Returns the time when Memcached may remove a value, in seconds. Its clock has a step of a second, and it counts in 32 bits:
/// beyond them is never.
fn expiry(deadline: Timestamp) -> u64 {
    let seconds = deadline.as_millis().div_ceil(1000).saturating_add(1);
    // Up to 30 days would count from now on.
    if seconds > u64::from(u32::MAX >> 1) { 0 } else { seconds.max(31 * 86_400) }
}
