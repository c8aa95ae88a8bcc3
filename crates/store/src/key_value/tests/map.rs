//! An engine in memory that fails, stops or waits where a test wants it to.

use std::collections::{BTreeMap, BTreeSet};
use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use secure_sessions_core::{Bucket, Entry, Timestamp};

use super::super::value;
use crate::key_value::{Change, Expected, Stored};
use crate::{KeyValue, StoreError};

struct Kept {
    value: Vec<u8>,
    version: u64,
    deadline: Timestamp,
}

/// The values that all processes of a test see.
#[derive(Default)]
pub(super) struct Shared {
    values: Mutex<BTreeMap<String, Kept>>,
    versions: AtomicU64,
}

impl Shared {
    fn values(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.values.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn keys(&self) -> Vec<String> {
        self.values().keys().cloned().collect()
    }

    /// Puts something else in the place of the value whose key contains this.
    pub(super) fn spoil(&self, key: &str, value: &[u8]) {
        let mut values = self.values();
        let (_, kept) = values.iter_mut().find(|(name, _)| name.contains(key)).unwrap();
        value.clone_into(&mut kept.value);
    }

    /// Checks that each blob and the list of its vault expire with the blob's deadline, and not before.
    pub(super) fn check_deadlines_of_blobs(&self, context: &str) {
        let values = self.values();
        for (key, kept) in values.iter().filter(|(key, _)| key.contains("/b/")) {
            let (deadline, _) = value::parse_blob(&kept.value).unwrap();
            assert_eq!(kept.deadline, deadline, "{context}: {key}");
            let vault = key.rsplit('/').nth(1).unwrap();
            if let Some((_, list)) = values.iter().find(|(key, _)| key.ends_with(&format!("/v/{vault}"))) {
                assert!(list.deadline >= deadline, "{context}: {key}");
            }
        }
    }

    /// Checks that some place of each session in its index lives as long as the session may.
    pub(super) fn check_deadlines(&self, context: &str) {
        let values = self.values();
        for (key, kept) in values.iter().filter(|(key, _)| key.contains("/s/")) {
            let Ok(Entry::Bucket(bucket @ Bucket { subject: Some(_), .. })) = value::parse(&kept.value).entry else {
                continue;
            };
            let id = key.rsplit('/').next().unwrap();
            let mut places = values.iter().filter(|(key, _)| key.contains("/i/") && key.contains(&format!("/{id}/")));
            assert!(places.any(|(_, place)| place.deadline >= value::last(&bucket)), "{context}: {key}");
        }
    }
}

/// The plan for the calls of one process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Plan {
    /// The number of the call that fails, from 0 on.
    pub(super) fault: Option<u64>,
    /// The call that fails is made all the same.
    pub(super) is_made: bool,
    /// All later calls fail, too: the process has stopped.
    pub(super) stops: bool,
    /// Each call waits once before it is made, so that a test can put another call before it.
    pub(super) waits: bool,
    /// Except for a write of a key that contains this, because no other call reads it.
    pub(super) waits_not_for: Option<&'static str>,
    /// The time that each call takes.
    pub(super) takes: Duration,
    /// There is no room: a write of anything but removals fails.
    pub(super) is_full: bool,
}

pub(super) struct Map<const TRANSACTS: bool, const EXPIRES: bool> {
    shared: Arc<Shared>,
    plan: Plan,
    calls: Arc<AtomicU64>,
}

impl<const TRANSACTS: bool, const EXPIRES: bool> Map<TRANSACTS, EXPIRES> {
    pub(super) fn new(shared: Arc<Shared>, plan: Plan) -> Self {
        Self { shared, plan, calls: Arc::default() }
    }

    /// The number of calls so far.
    pub(super) fn calls(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.calls)
    }

    async fn call<T>(
        &self,
        changes: &[Change<u64>],
        work: impl FnOnce(&mut BTreeMap<String, Kept>) -> T,
    ) -> Result<T, StoreError> {
        let unseen = |change: &Change<u64>| self.plan.waits_not_for.is_some_and(|name| change.key.contains(name));
        if self.plan.waits && (changes.is_empty() || !changes.iter().all(unseen)) {
            let mut has_waited = false;
            poll_fn(|_| if std::mem::replace(&mut has_waited, true) { Poll::Ready(()) } else { Poll::Pending }).await;
        }
        if self.plan.takes > Duration::ZERO {
            tokio::time::sleep(self.plan.takes).await;
        }
        if self.plan.is_full && changes.iter().any(|change| change.new.is_some()) {
            return Err(StoreError::unavailable("no room"));
        }
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let fails = self.plan.fault.is_some_and(|fault| fault == call || (self.plan.stops && call > fault));
        if fails && !(self.plan.is_made && self.plan.fault == Some(call)) {
            return Err(StoreError::Timeout);
        }
        let outcome = work(&mut self.shared.values());
        if fails { Err(StoreError::unavailable("the answer was lost")) } else { Ok(outcome) }
    }
}

impl<const TRANSACTS: bool, const EXPIRES: bool> KeyValue for Map<TRANSACTS, EXPIRES> {
    type Version = u64;
    const TRANSACTS: bool = TRANSACTS;
    const EXPIRES: bool = EXPIRES;

    async fn get(&self, keys: &[String]) -> Result<Vec<Option<Stored<u64>>>, StoreError> {
        assert!(keys.len() <= super::super::MOST_CHANGES);
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len(), "one key is asked for twice");
        self.call(&[], |values| keys.iter().map(|key| values.get(key).map(stored)).collect()).await
    }

    async fn write(&self, changes: &[Change<u64>]) -> Result<bool, StoreError> {
        assert!(changes.len() <= if TRANSACTS { super::super::MOST_CHANGES } else { 1 });
        self.call(changes, |values| {
            let holds = |change: &Change<u64>| match &change.expected {
                Expected::Anything => true,
                Expected::Nothing => !values.contains_key(&change.key),
                Expected::Unchanged(stored) => {
                    values.get(&change.key).is_some_and(|kept| kept.version == stored.version)
                }
            };
            if !changes.iter().all(holds) {
                return false;
            }
            let mut keys: Vec<&String> = changes.iter().map(|change| &change.key).collect();
            keys.sort_unstable();
            keys.dedup();
            assert_eq!(keys.len(), changes.len(), "two changes of one key");
            for change in changes {
                assert!(change.key.is_ascii() && change.key.len() <= 250);
                match &change.new {
                    Some(new) => {
                        let version = self.shared.versions.fetch_add(1, Ordering::SeqCst);
                        let kept = Kept { value: new.value.clone(), version, deadline: new.deadline };
                        values.insert(change.key.clone(), kept);
                    }
                    None => drop(values.remove(&change.key)),
                }
            }
            true
        })
        .await
    }

    async fn scan(&self, from: &str, to: &str, limit: usize) -> Result<Vec<(String, Stored<u64>)>, StoreError> {
        self.call(&[], |values| {
            let range = values.range(from.to_owned()..to.to_owned()).take(limit);
            range.map(|(key, kept)| (key.clone(), stored(kept))).collect()
        })
        .await
    }
}

fn stored(kept: &Kept) -> Stored<u64> {
    Stored { value: kept.value.clone(), version: kept.version }
}
