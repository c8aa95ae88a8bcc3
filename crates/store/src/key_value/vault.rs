//! Private and large values: each blob under a key of its own, and for each vault the list of its blobs.
//!
//! A blob's value begins with its deadline, so that one key decides how long it stays: the purge removes a blob only if its
//! deadline is still the one that it read. The list, which every change of the vault compares and writes, finds the blobs of a
//! vault without a walk, and says where their places in the list of deadlines are.
//!
//! Key by key, a place and the list are written before the blob, and a removal leaves the place to the purge. So a crash leaves a
//! place or a line of the list too many, which the purge removes. In an engine that expires values, a line goes with its list.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::{mem, slice};

use secure_sessions_core::{BlobId, MAX_BLOB_LEN, Timestamp, VaultId};

use super::KvStore;
use super::engine::{Change, Expected, KeyValue, MOST_CHANGES, Stored};
use super::entries::Entries;
use super::value;
use crate::{Blob, StoreError, VaultStore};

/// The number of blobs written, deleted or purged in one step: three changes each, and less than a megabyte in all.
const AT_ONCE: usize = 15;

const _: () = assert!(AT_ONCE * 3 < MOST_CHANGES && AT_ONCE * (MAX_BLOB_LEN + 8) < 1_000_000);

impl<E: KeyValue> VaultStore for KvStore<E> {
    async fn put(&self, vault: &VaultId, blobs: &[Blob], purge_at: Timestamp) -> Result<(), StoreError> {
        self.0.put(vault, blobs, purge_at).await
    }

    async fn get(&self, vault: &VaultId, ids: &[BlobId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        self.0.get(vault, ids).await
    }

    async fn delete(&self, vault: &VaultId, ids: &[BlobId]) -> Result<(), StoreError> {
        for ids in ids.chunks(AT_ONCE) {
            while !self.0.delete(vault, ids).await? {}
        }
        Ok(())
    }

    async fn delete_all(&self, vaults: &[VaultId]) -> Result<(), StoreError> {
        self.0.delete_all(vaults).await
    }

    async fn prolong(&self, vault: &VaultId, purge_at: Timestamp) -> Result<(), StoreError> {
        self.0.prolong(vault, purge_at).await
    }

    /// Returns the number of blobs that it removed.
    async fn purge(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.0.purge_blobs(now, limit).await
    }
}

/// The list of a vault's blobs, as it was found or is to be, with their deadlines.
struct List<V> {
    found: Option<Stored<V>>,
    blobs: BTreeMap<BlobId, Timestamp>,
}

impl<V: Clone> List<V> {
    fn new(found: Option<Stored<V>>) -> Self {
        let blobs = found.as_ref().map(|found| value::parse_list(&found.value)).unwrap_or_default();
        Self { found, blobs }
    }

    /// Returns the change to what it is to be, which fails if another call has changed the vault since it was found.
    fn change(&self, key: String) -> Change<V> {
        let expected = self.found.clone().map_or(Expected::Nothing, Expected::Unchanged);
        match self.blobs.values().max() {
            Some(last) => Change::put(key, expected, value::list(&self.blobs), *last),
            None => Change::delete(key, expected),
        }
    }
}

/// A blob to be kept: the bytes in case that there is none yet, and the one that there is.
struct Wanted<'a, V> {
    id: BlobId,
    bytes: Option<&'a [u8]>,
    found: Option<Stored<V>>,
}

/// The removals of places of a vault's blobs.
type Places<V> = BTreeMap<BlobId, Vec<Change<V>>>;

impl<E: KeyValue> Entries<E> {
    async fn put(&self, vault: &VaultId, blobs: &[Blob], purge_at: Timestamp) -> Result<(), StoreError> {
        if let Some(blob) = blobs.iter().find(|blob| blob.bytes.len() > MAX_BLOB_LEN) {
            let length = blob.bytes.len();
            return Err(StoreError::rejected(format!("a blob of {length} bytes; the longest has {MAX_BLOB_LEN}")));
        }
        let mut seen = HashSet::new();
        let blobs: Vec<&Blob> = blobs.iter().filter(|blob| seen.insert(blob.id)).collect();
        for blobs in blobs.chunks(AT_ONCE) {
            let ids: Vec<BlobId> = blobs.iter().map(|blob| blob.id).collect();
            loop {
                let (list, found) = self.list_and_blobs(vault, &ids).await?;
                let wanted = blobs.iter().zip(found);
                let wanted = wanted.map(|(blob, found)| Wanted { id: blob.id, bytes: Some(&blob.bytes), found });
                if self.keep(vault, list, wanted, purge_at).await? {
                    break;
                }
            }
        }
        Ok(())
    }

    async fn prolong(&self, vault: &VaultId, purge_at: Timestamp) -> Result<(), StoreError> {
        let Some(list) = self.lists(slice::from_ref(vault)).await?.pop() else { return Ok(()) };
        let ids: Vec<BlobId> = list.blobs.into_keys().collect();
        for ids in ids.chunks(AT_ONCE) {
            loop {
                let (list, found) = self.list_and_blobs(vault, ids).await?;
                let wanted = ids.iter().zip(found).map(|(id, found)| Wanted { id: *id, bytes: None, found });
                if self.keep(vault, list, wanted, purge_at).await? {
                    break;
                }
            }
        }
        Ok(())
    }

    /// Keeps a few blobs until a deadline, unless theirs is later. Returns `false` if the vault was changed meanwhile.
    async fn keep<'a>(
        &self,
        vault: &VaultId,
        mut list: List<E::Version>,
        wanted: impl Iterator<Item = Wanted<'a, E::Version>>,
        purge_at: Timestamp,
    ) -> Result<bool, StoreError> {
        let (mut changes, mut blobs, mut surplus) = (Vec::new(), Vec::new(), Vec::new());
        for Wanted { id, bytes, found } in wanted {
            let before = found.as_ref().and_then(|found| value::parse_blob(&found.value));
            if before.is_some_and(|(deadline, _)| deadline >= purge_at) {
                continue;
            }
            let Some(bytes) = before.map(|(_, bytes)| bytes).or(bytes) else { continue };
            let new = value::blob(purge_at, bytes);
            surplus.extend(before.and_then(|(deadline, _)| self.no_place_of_blob(deadline, vault, &id)));
            changes.extend(self.place_of_blob(purge_at, vault, &id));
            let expected = found.map_or(Expected::Nothing, Expected::Unchanged);
            blobs.push(Change::put(self.keys.blob(vault, &id), expected, new, purge_at));
            list.blobs.insert(id, purge_at);
        }
        if blobs.is_empty() {
            return Ok(true);
        }
        changes.push(list.change(self.keys.vault(vault)));
        changes.extend(blobs);
        self.make_and_tidy(changes, surplus).await
    }

    async fn get(&self, vault: &VaultId, ids: &[BlobId]) -> Result<Vec<Option<Vec<u8>>>, StoreError> {
        let mut seen = HashSet::new();
        let each: Vec<BlobId> = ids.iter().copied().filter(|id| seen.insert(*id)).collect();
        let mut found = HashMap::new();
        for some in each.chunks(MOST_CHANGES) {
            let keys: Vec<String> = some.iter().map(|id| self.keys.blob(vault, id)).collect();
            for (id, stored) in some.iter().zip(self.values(&keys).await?) {
                // One that is too short was altered, and does not open.
                let bytes = |stored: Stored<_>| value::parse_blob(&stored.value).unwrap_or_default().1.to_vec();
                found.insert(*id, stored.map(bytes));
            }
        }
        // Cloned, since an id may be asked for twice.
        Ok(ids.iter().map(|id| found.get(id).cloned().flatten()).collect())
    }

    /// Deletes a few blobs. Returns `false` if the vault was changed meanwhile.
    async fn delete(&self, vault: &VaultId, ids: &[BlobId]) -> Result<bool, StoreError> {
        let Some(mut list) = self.lists(slice::from_ref(vault)).await?.pop() else { return Ok(true) };
        let (listed, others): (Vec<BlobId>, Vec<BlobId>) = ids.iter().partition(|id| list.blobs.contains_key(*id));
        if !E::TRANSACTS {
            // Key by key, a deletion of the vault may have removed the list before a put wrote the blob.
            let blobs = others.iter().map(|id| Change::delete(self.keys.blob(vault, id), Expected::Anything));
            self.make(&blobs.collect::<Vec<_>>()).await?;
        }
        if listed.is_empty() {
            return Ok(true);
        }
        let gone: Vec<_> = listed.iter().filter_map(|id| list.blobs.remove_entry(id)).collect();
        self.make(&self.removal_of_blobs(vault, &gone, &list)).await
    }

    async fn delete_all(&self, vaults: &[VaultId]) -> Result<(), StoreError> {
        let mut seen = HashSet::new();
        let mut left: Vec<VaultId> = vaults.iter().copied().filter(|vault| seen.insert(*vault)).collect();
        let mut room = if E::TRANSACTS { MOST_CHANGES } else { 0 };
        while !left.is_empty() {
            let mut changed = Vec::new();
            for some in left.chunks(MOST_CHANGES) {
                let mut step = (Vec::new(), Vec::new());
                for (vault, mut list) in some.iter().zip(self.lists(some).await?) {
                    let gone: Vec<_> = mem::take(&mut list.blobs).into_iter().collect();
                    if gone.is_empty() {
                        continue;
                    }
                    let removal = self.removal_of_blobs(vault, &gone, &list);
                    if step.1.len() + removal.len() > room {
                        changed.extend(self.delete_vaults(mem::take(&mut step)).await?);
                    }
                    step.0.push(*vault);
                    step.1.extend(removal);
                }
                changed.extend(self.delete_vaults(step).await?);
            }
            left = changed;
            // One that is changed all the time must not keep others.
            room = 0;
        }
        Ok(())
    }

    /// Makes the changes that delete these vaults. Returns the vaults if one of them was changed meanwhile.
    async fn delete_vaults(
        &self,
        (vaults, changes): (Vec<VaultId>, Vec<Change<E::Version>>),
    ) -> Result<Vec<VaultId>, StoreError> {
        // A large vault takes several steps, its places last: they lead the purge to what a crash leaves of it.
        for some in changes.chunks(MOST_CHANGES) {
            if !self.make(some).await? {
                return Ok(vaults);
            }
        }
        Ok(Vec::new())
    }

    /// Returns the changes that remove these blobs of a vault, which are not in its list any more.
    fn removal_of_blobs(
        &self,
        vault: &VaultId,
        gone: &[(BlobId, Timestamp)],
        list: &List<E::Version>,
    ) -> Vec<Change<E::Version>> {
        let blobs = gone.iter().map(|(id, _)| Change::delete(self.keys.blob(vault, id), Expected::Anything));
        let places = gone.iter().filter_map(|(id, deadline)| self.no_place_of_blob(*deadline, vault, id));
        // Key by key, a put may be about to write the blob. Its place then stays until it is due, and leads the purge to it.
        let places = places.filter(|_| E::TRANSACTS);
        blobs.chain([list.change(self.keys.vault(vault))]).chain(places).collect()
    }

    /// Removes what is due. A blob that was prolonged has another place, of its new deadline.
    async fn purge_blobs(&self, now: Timestamp, limit: u32) -> Result<u64, StoreError> {
        if E::EXPIRES {
            return Ok(0);
        }
        let (limit, range) = (u64::from(limit), self.keys.blob_deadlines_until(now));
        let mut removed = 0;
        while removed < limit {
            let most = usize::try_from(limit - removed).unwrap_or(usize::MAX).min(AT_ONCE);
            let places = self.engine.scan(&range.start, &range.end, most).await?;
            if places.is_empty() {
                break;
            }
            removed += self.purge_places(places.into_iter().map(|(key, _)| key), now).await?;
        }
        Ok(removed)
    }

    async fn purge_places(&self, places: impl Iterator<Item = String>, now: Timestamp) -> Result<u64, StoreError> {
        let mut of_vaults: BTreeMap<VaultId, Places<E::Version>> = BTreeMap::new();
        let mut unknown = Vec::new();
        for place in places {
            let of = self.keys.of_blob_deadline(&place);
            let here = Change::delete(place, Expected::Anything);
            match of {
                // Several places may lead to one blob.
                Some((vault, id)) => of_vaults.entry(vault).or_default().entry(id).or_default().push(here),
                // Nobody knows what it means.
                None => unknown.push(here),
            }
        }
        let keys_of = |(vault, places): (&VaultId, &Places<_>)| {
            let blobs = places.keys().map(|id| self.keys.blob(vault, id));
            [self.keys.vault(vault)].into_iter().chain(blobs).collect::<Vec<String>>()
        };
        let keys: Vec<String> = of_vaults.iter().flat_map(keys_of).collect();
        let mut found = self.values(&keys).await?.into_iter();
        let mut steps = vec![(unknown, 0)];
        for (vault, places) in of_vaults {
            let list = List::new(found.next().flatten());
            let blobs = found.by_ref().take(places.len()).collect();
            steps.push(self.visit(&vault, places, list, blobs, now));
        }
        steps.retain(|(changes, _)| !changes.is_empty());
        if E::TRANSACTS {
            let changes: Vec<_> = steps.iter().flat_map(|(changes, _)| changes.iter().cloned()).collect();
            if self.make(&changes).await? {
                return Ok(steps.iter().map(|(_, removed)| removed).sum());
            }
        }
        let mut removed = 0;
        for (changes, blobs) in steps {
            // If the vault has changed meanwhile, its places stay, and are visited once more.
            removed += if self.make(&changes).await? { blobs } else { 0 };
        }
        Ok(removed)
    }

    /// Returns what is to be done at these places of a vault, and the number of blobs that it removes.
    fn visit(
        &self,
        vault: &VaultId,
        places: Places<E::Version>,
        mut list: List<E::Version>,
        found: Vec<Option<Stored<E::Version>>>,
        now: Timestamp,
    ) -> (Vec<Change<E::Version>>, u64) {
        let (mut changes, mut removed, before) = (Vec::new(), 0, list.blobs.len());
        for (id, found) in places.keys().zip(found) {
            if let Some(found) = found {
                if value::parse_blob(&found.value).is_some_and(|(deadline, _)| deadline > now) {
                    continue;
                }
                changes.push(Change::delete(self.keys.blob(vault, id), Expected::Unchanged(found)));
                removed += 1;
            }
            list.blobs.remove(id);
        }
        if list.blobs.len() < before {
            changes.push(list.change(self.keys.vault(vault)));
        }
        changes.extend(places.into_values().flatten());
        (changes, removed)
    }

    async fn lists(&self, vaults: &[VaultId]) -> Result<Vec<List<E::Version>>, StoreError> {
        let keys: Vec<String> = vaults.iter().map(|vault| self.keys.vault(vault)).collect();
        Ok(self.values(&keys).await?.into_iter().map(List::new).collect())
    }

    async fn list_and_blobs(
        &self,
        vault: &VaultId,
        ids: &[BlobId],
    ) -> Result<(List<E::Version>, Vec<Option<Stored<E::Version>>>), StoreError> {
        let blobs = ids.iter().map(|id| self.keys.blob(vault, id));
        let keys: Vec<String> = [self.keys.vault(vault)].into_iter().chain(blobs).collect();
        let mut values = self.values(&keys).await?;
        let blobs = values.split_off(1);
        Ok((List::new(values.pop().flatten()), blobs))
    }

    fn place_of_blob(&self, at: Timestamp, vault: &VaultId, id: &BlobId) -> Option<Change<E::Version>> {
        let place = || Change::put(self.keys.blob_deadline(at, vault, id), Expected::Anything, Vec::new(), at);
        (!E::EXPIRES).then(place)
    }

    fn no_place_of_blob(&self, at: Timestamp, vault: &VaultId, id: &BlobId) -> Option<Change<E::Version>> {
        let removal = || Change::delete(self.keys.blob_deadline(at, vault, id), Expected::Anything);
        (!E::EXPIRES).then(removal)
    }
}
