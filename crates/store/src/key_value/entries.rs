//! Single sessions: read, written and ended, each with its places in the indexes of its tags and the list of deadlines.
//!
//! A place is added before its session, or in the same step, and removed after it. So every session can be found by its
//! places, and a crash leaves a place too many, never one too few.

use std::slice;

use secure_sessions_core::{Bucket, Entry, Revision, SessionId, Timestamp, Tombstone};

use super::engine::{Change, Expected, KeyValue, Stored};
use super::keys::Keys;
use super::value::{self, Nonce, Parts};
use crate::{StoreError, Tag};

/// An engine, and the names of the keys in it.
pub(super) struct Entries<E> {
    pub(super) engine: E,
    pub(super) keys: Keys,
}

/// An entry as it was found.
pub(super) struct Found<V> {
    pub(super) stored: Stored<V>,
    pub(super) nonce: Nonce,
    /// The session that this one was renewed into.
    pub(super) next: Option<SessionId>,
    /// [`StoreError::Corrupt`] if it cannot be read.
    pub(super) entry: Result<Entry, StoreError>,
}

impl<V> Found<V> {
    pub(super) fn new(stored: Stored<V>) -> Self {
        let Parts { nonce, next, entry } = value::parse(&stored.value);
        Self { stored, nonce, next, entry }
    }

    /// Returns `true` if there is a session, even if it cannot be read.
    pub(super) fn is_session(&self) -> bool {
        !matches!(self.entry, Ok(Entry::Tombstone(_)))
    }
}

impl<E: KeyValue> Entries<E> {
    pub(super) async fn find(&self, id: &SessionId) -> Result<Option<Found<E::Version>>, StoreError> {
        Ok(self.find_all(slice::from_ref(id)).await?.pop().flatten())
    }

    /// Returns what is under each of the ids, in their order.
    pub(super) async fn find_all(&self, ids: &[SessionId]) -> Result<Vec<Option<Found<E::Version>>>, StoreError> {
        let keys: Vec<String> = ids.iter().map(|id| self.keys.entry(id)).collect();
        Ok(self.values(&keys).await?.into_iter().map(|stored| stored.map(Found::new)).collect())
    }

    /// Returns what is under each of the keys, in their order.
    pub(super) async fn values(&self, keys: &[String]) -> Result<Vec<Option<Stored<E::Version>>>, StoreError> {
        let values = self.engine.get(keys).await?;
        if values.len() != keys.len() {
            return Err(StoreError::unavailable("the engine returned another number of values than it was asked for"));
        }
        Ok(values)
    }

    /// Makes the changes in one step if the engine can, or else in their order up to the first whose expectation fails.
    /// Returns `true` if all were made.
    pub(super) async fn make(&self, changes: &[Change<E::Version>]) -> Result<bool, StoreError> {
        if E::TRANSACTS {
            return self.engine.write(changes).await;
        }
        for change in changes {
            if !self.engine.write(slice::from_ref(change)).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes the changes, and removes what only tidies up after them: in the same step, or afterwards. A failure to tidy
    /// up is none, because the purge does it later.
    pub(super) async fn make_and_tidy(
        &self,
        mut changes: Vec<Change<E::Version>>,
        surplus: Vec<Change<E::Version>>,
    ) -> Result<bool, StoreError> {
        if E::TRANSACTS {
            changes.extend(surplus);
            return self.make(&changes).await;
        }
        let made = self.make(&changes).await?;
        if made {
            let _ = self.make(&surplus).await;
        }
        Ok(made)
    }

    pub(super) async fn not_before(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.find_not_before().await?.map(|(at, _)| at))
    }

    async fn find_not_before(&self) -> Result<Option<(Timestamp, Stored<E::Version>)>, StoreError> {
        let found = self.engine.get(slice::from_ref(&self.keys.not_before())).await?.pop().flatten();
        let Some(stored) = found else { return Ok(None) };
        let millis = <[u8; 8]>::try_from(stored.value.as_slice()).map_err(StoreError::corrupt)?;
        Ok(Some((Timestamp::from_millis(u64::from_be_bytes(millis)), stored)))
    }

    pub(super) async fn raise_not_before(&self, at: Timestamp) -> Result<(), StoreError> {
        loop {
            let expected = match self.find_not_before().await? {
                Some((kept, _)) if kept >= at => return Ok(()),
                Some((_, stored)) => Expected::Unchanged(stored),
                None => Expected::Nothing,
            };
            let value = at.as_millis().to_be_bytes().to_vec();
            let change = Change::put(self.keys.not_before(), expected, value, Timestamp::from_millis(u64::MAX));
            if self.make(&[change]).await? {
                return Ok(());
            }
        }
    }

    pub(super) async fn insert(&self, bucket: &Bucket) -> Result<(), StoreError> {
        let nonce = value::nonce();
        if self.make(&self.creation(bucket, nonce)).await? {
            return Ok(());
        }
        if !E::TRANSACTS {
            // A failure is none: the purge removes them.
            let _ = self.make(&self.removal_of_places(bucket, nonce)).await;
        }
        Err(StoreError::Duplicate)
    }

    pub(super) async fn replace(&self, bucket: &Bucket, expected: Revision) -> Result<bool, StoreError> {
        loop {
            let Some(found) = self.find(&bucket.id).await? else { return Ok(false) };
            let Entry::Bucket(old) = found.entry? else { return Ok(false) };
            if old.revision != expected {
                return Ok(false);
            }
            let (nonce, mut changes) = if self.places_serve(&old, bucket) {
                (found.nonce, Vec::new())
            } else {
                // The old places stay for now: who reads the old tag's index beside the new one's must not miss it.
                let nonce = value::nonce();
                (nonce, self.places_of(bucket, nonce))
            };
            changes.push(self.session(bucket, nonce, Expected::Unchanged(found.stored)));
            if self.make(&changes).await? {
                return Ok(true);
            }
        }
    }

    /// Returns `true` if the places of the old bucket are good enough for the new one.
    fn places_serve(&self, old: &Bucket, new: &Bucket) -> bool {
        let same_tags = old.subject == new.subject && old.group == new.group;
        same_tags && new.expires_at <= old.expires_at && new.purge_at() >= old.purge_at()
    }

    pub(super) async fn remove(&self, id: &SessionId, tombstone: Option<&Tombstone>) -> Result<bool, StoreError> {
        loop {
            let Some(found) = self.find(id).await? else { return Ok(false) };
            if !found.is_session() {
                return Ok(false);
            }
            if self.end(found, id, tombstone).await? {
                return Ok(true);
            }
        }
    }

    async fn end(
        &self,
        found: Found<E::Version>,
        id: &SessionId,
        tombstone: Option<&Tombstone>,
    ) -> Result<bool, StoreError> {
        let places = self.removal_from_indexes(&found, id);
        let removal = vec![Change::delete(self.keys.entry(id), Expected::Unchanged(found.stored.clone()))];
        let Some(tombstone) = tombstone else {
            return self.make_and_tidy(removal, places).await;
        };
        let burial = self.burial(found, tombstone, None);
        match self.make_and_tidy(burial, places.clone()).await {
            // There may be no room for a tombstone. The ending matters more.
            Err(error @ StoreError::Unavailable(_)) => match self.make_and_tidy(removal, places).await {
                Ok(true) => Ok(true),
                // It has changed or is gone, unless the tombstone was written all the same.
                Ok(false) => self.has_tombstone(tombstone).await,
                Err(_) => Err(error),
            },
            outcome => outcome,
        }
    }

    /// Returns `true` if this tombstone is there.
    pub(super) async fn has_tombstone(&self, tombstone: &Tombstone) -> Result<bool, StoreError> {
        let found = self.find(&tombstone.id).await?;
        Ok(matches!(found, Some(Found { entry: Ok(Entry::Tombstone(found)), .. }) if found == *tombstone))
    }

    /// Returns the changes that remove a session in one step.
    pub(super) fn removal(&self, found: Found<E::Version>, id: &SessionId) -> Vec<Change<E::Version>> {
        let places = self.removal_from_indexes(&found, id);
        let session = Change::delete(self.keys.entry(id), Expected::Unchanged(found.stored));
        [session].into_iter().chain(places).collect()
    }

    /// Returns the removal of a session's places in the indexes of its tags.
    fn removal_from_indexes(&self, found: &Found<E::Version>, id: &SessionId) -> Vec<Change<E::Version>> {
        match &found.entry {
            Ok(Entry::Bucket(bucket)) => Tag::of(bucket).map(|tag| self.no_place(&tag, id, found.nonce)).collect(),
            _ => Vec::new(),
        }
    }

    /// Returns the changes that put a tombstone in the place of a session, which became the session `next`.
    pub(super) fn burial(
        &self,
        found: Found<E::Version>,
        tombstone: &Tombstone,
        next: Option<&SessionId>,
    ) -> Vec<Change<E::Version>> {
        let bucket = match &found.entry {
            Ok(Entry::Bucket(bucket)) => Some(bucket),
            _ => None,
        };
        let mut changes = Vec::new();
        let is_earlier = bucket.is_none_or(|bucket| tombstone.expires_at < bucket.purge_at());
        if !E::EXPIRES && is_earlier {
            let due = value::due(tombstone.expires_at, bucket.into_iter().flat_map(Tag::of));
            let key = self.keys.deadline(tombstone.expires_at, &tombstone.id, found.nonce);
            changes.push(Change::put(key, Expected::Anything, due, tombstone.expires_at));
        }
        changes.push(Change::put(
            self.keys.entry(&tombstone.id),
            Expected::Unchanged(found.stored),
            value::value(found.nonce, next, &tombstone.to_record()),
            tombstone.expires_at,
        ));
        changes
    }

    /// Returns the changes that create a session: its places, and itself.
    pub(super) fn creation(&self, bucket: &Bucket, nonce: Nonce) -> Vec<Change<E::Version>> {
        let mut changes = self.places_of(bucket, nonce);
        changes.push(self.session(bucket, nonce, Expected::Nothing));
        changes
    }

    /// Returns the changes that remove the places which `creation` has added.
    pub(super) fn removal_of_places(&self, bucket: &Bucket, nonce: Nonce) -> Vec<Change<E::Version>> {
        let places = self.places_of(bucket, nonce).into_iter();
        places.map(|place| Change::delete(place.key, Expected::Anything)).collect()
    }

    fn session(&self, bucket: &Bucket, nonce: Nonce, expected: Expected<E::Version>) -> Change<E::Version> {
        let value = value::value(nonce, None, &bucket.to_record());
        Change::put(self.keys.entry(&bucket.id), expected, value, bucket.purge_at())
    }

    fn places_of(&self, bucket: &Bucket, nonce: Nonce) -> Vec<Change<E::Version>> {
        let last = value::last(bucket);
        let mut places = Vec::new();
        if !E::EXPIRES {
            let due = value::due(last, Tag::of(bucket));
            places.push(self.place_in_deadlines(bucket.purge_at(), &bucket.id, nonce, due));
        }
        places.extend(Tag::of(bucket).map(|tag| {
            let key = self.keys.place(&tag, &bucket.id, nonce);
            Change::put(key, Expected::Anything, Vec::new(), last)
        }));
        places
    }

    pub(super) fn place_in_deadlines(
        &self,
        at: Timestamp,
        id: &SessionId,
        nonce: Nonce,
        due: Vec<u8>,
    ) -> Change<E::Version> {
        Change::put(self.keys.deadline(at, id, nonce), Expected::Anything, due, at)
    }

    /// Returns the removal of a place in a tag's index.
    pub(super) fn no_place(&self, tag: &Tag, id: &SessionId, nonce: Nonce) -> Change<E::Version> {
        Change::delete(self.keys.place(tag, id, nonce), Expected::Anything)
    }
}
