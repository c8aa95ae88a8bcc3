//! One shard: a dense list of slots, and tables of slot numbers, by id, by subject and by group.

use std::hash::{BuildHasher, Hasher, RandomState};

use hashbrown::HashTable;
use secure_sessions_core::{Bucket, Entry, GroupTag, Revision, SessionId, SubjectTag, Timestamp};

use self::slots::Slots;
use super::packed::Packed;
use crate::{Tag, Tags, Which};

mod slots;

/// The number of entries below which a table keeps its room.
const SHRINK_ABOVE: usize = 64;

/// Hashes ids and tags under a key. Both are random, but an attacker may send ids that they chose.
#[derive(Default)]
pub(super) struct Hashes(RandomState);

impl Hashes {
    pub(super) fn of(&self, bytes: &[u8; 16]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }
}

/// A shard: the entries whose ids belong to it, with indexes by subject and by group over them.
///
/// Slots are numbered from 0 without a gap, the last moves into the place of one that is removed. A number is four
/// bytes in a table, where the id itself would be sixteen.
#[derive(Default)]
pub(super) struct Shard {
    slots: Slots,
    by_id: HashTable<u32>,
    by_subject: HashTable<u32>,
    by_group: HashTable<u32>,
    buckets: u64,
}

impl Shard {
    pub(super) fn buckets(&self) -> u64 {
        self.buckets
    }

    pub(super) fn find(&self, hash: u64, id: &SessionId) -> Option<u32> {
        self.by_id.find(hash, |slot| self.slots.at(*slot).id() == id).copied()
    }

    /// Returns the slot of the bucket with this id, if it has this revision.
    pub(super) fn find_revision(&self, hash: u64, id: &SessionId, expected: Revision) -> Option<u32> {
        self.find(hash, id)
            .filter(|slot| matches!(self.slots.at(*slot), Packed::Bucket(bucket) if bucket.revision == expected))
    }

    pub(super) fn is_bucket(&self, slot: u32) -> bool {
        matches!(self.slots.at(slot), Packed::Bucket(_))
    }

    pub(super) fn entry(&self, slot: u32) -> Entry {
        Entry::from(self.slots.at(slot))
    }

    /// Adds an entry whose id, with this hash, is not present yet.
    pub(super) fn insert(&mut self, hashes: &Hashes, hash: u64, packed: Packed) {
        let slot = self.slots.push(packed);
        let slots = &self.slots;
        self.by_id.insert_unique(hash, slot, |slot| hashes.of(slots.at(*slot).id().as_bytes()));
        self.link(hashes, slot);
    }

    /// Replaces the entry in the slot by one with the same id; returns the old one.
    pub(super) fn replace(&mut self, hashes: &Hashes, slot: u32, packed: Packed) -> Packed {
        let old = self.slots.at(slot);
        if old.subject() == packed.subject() && old.group() == packed.group() {
            self.buckets -= u64::from(self.is_bucket(slot));
            self.buckets += u64::from(matches!(packed, Packed::Bucket(_)));
            return self.slots.replace(slot, packed);
        }
        self.unlink(hashes, slot);
        let old = self.slots.replace(slot, packed);
        self.link(hashes, slot);
        old
    }

    pub(super) fn remove(&mut self, hashes: &Hashes, slot: u32) -> Packed {
        self.unlink(hashes, slot);
        take_out(&mut self.by_id, hashes.of(self.slots.at(slot).id().as_bytes()), slot);
        let last = self.slots.last();
        if last != slot {
            let moved = self.slots.at(last);
            renumber(&mut self.by_id, hashes.of(moved.id().as_bytes()), last, slot);
            if let Some(subject) = moved.subject() {
                renumber(&mut self.by_subject, hashes.of(subject.as_bytes()), last, slot);
            }
            if let Some(group) = moved.group() {
                renumber(&mut self.by_group, hashes.of(group.as_bytes()), last, slot);
            }
        }
        self.slots.swap_remove(slot)
    }

    /// Returns the first buckets with these tags and with ids above `after`, by ascending id, and the number it looked at.
    pub(super) fn list(
        &self,
        hashes: &Hashes,
        tags: Tags<'_>,
        after: Option<SessionId>,
        limit: usize,
    ) -> (usize, Vec<Bucket>) {
        let found = tags.iter().flat_map(|tag| self.with_tag(hashes, tag));
        let mut found: Vec<(SessionId, u32)> = found.map(|slot| (*self.slots.at(slot).id(), slot)).collect();
        let seen = found.len();
        found.retain(|(id, _)| after.is_none_or(|after| *id > after));
        found.sort_unstable();
        // A tag may be named twice.
        found.dedup();
        let buckets = found.into_iter().filter_map(|(_, slot)| match self.slots.at(slot) {
            Packed::Bucket(bucket) => Some(bucket.unpack()),
            Packed::Tombstone(_) => None,
        });
        (seen, buckets.take(limit).collect())
    }

    /// Takes out up to `limit` of the buckets that a `remove_all` ends. Returns the slot to continue at, zero at the end, and
    /// the entries taken, which the caller frees outside of the lock.
    ///
    /// If it ends everything, it looks at up to `step` slots, downwards from `below`; see [`purge`](Self::purge).
    pub(super) fn take_doomed(
        &mut self,
        hashes: &Hashes,
        which: Which<'_>,
        except: Option<&SessionId>,
        below: usize,
        step: usize,
        limit: usize,
    ) -> (usize, Vec<Packed>) {
        let Which::Tagged(tags) = which else {
            let spared = except.is_some_and(|id| self.find_bucket(hashes, id).is_some());
            if self.buckets == u64::from(spared) {
                return (0, Vec::new());
            }
            let doomed = |packed: &Packed| matches!(packed, Packed::Bucket(_)) && except != Some(packed.id());
            return self.take(hashes, below, step, limit, doomed);
        };
        let mut taken = Vec::new();
        for tag in tags.iter() {
            while taken.len() < limit {
                // A removal renumbers slots, so remove one at a time.
                let found =
                    self.with_tag(hashes, tag).find(|slot| except.is_none_or(|id| self.slots.at(*slot).id() != id));
                let Some(slot) = found else { break };
                taken.push(self.remove(hashes, slot));
            }
        }
        if !taken.is_empty() {
            self.shrink(hashes);
        }
        (if taken.len() < limit { 0 } else { usize::MAX }, taken)
    }

    /// Takes out up to `limit` entries that are due; see [`take`](Self::take).
    pub(super) fn purge(
        &mut self,
        hashes: &Hashes,
        now: Timestamp,
        below: usize,
        step: usize,
        limit: usize,
    ) -> (usize, Vec<Packed>) {
        self.take(hashes, below, step, limit, |packed| packed.purge_at() <= now)
    }

    /// Looks at up to `step` slots, downwards from `below`, and takes out up to `limit` that match. Returns the slot to continue
    /// at, zero at the end, and the entries taken, which the caller frees outside of the lock.
    ///
    /// It walks downwards, because then the slot that moves into the place of a removed one was looked at already, also if
    /// another call removes it between two steps.
    fn take(
        &mut self,
        hashes: &Hashes,
        below: usize,
        step: usize,
        limit: usize,
        goes: impl Fn(&Packed) -> bool,
    ) -> (usize, Vec<Packed>) {
        let mut next = self.slots.len().min(u32::try_from(below).unwrap_or(u32::MAX));
        let mut taken = Vec::new();
        for _ in 0..step {
            if next == 0 || taken.len() == limit {
                break;
            }
            next -= 1;
            if goes(self.slots.at(next)) {
                taken.push(self.remove(hashes, next));
            }
        }
        if !taken.is_empty() {
            self.shrink(hashes);
        }
        (usize::try_from(next).unwrap_or(usize::MAX), taken)
    }

    fn find_bucket(&self, hashes: &Hashes, id: &SessionId) -> Option<u32> {
        self.find(hashes.of(id.as_bytes()), id).filter(|slot| self.is_bucket(*slot))
    }

    fn with_tag(&self, hashes: &Hashes, tag: Tag) -> impl Iterator<Item = u32> + use<'_> {
        let index = match tag {
            Tag::Subject(_) => &self.by_subject,
            Tag::Group(_) => &self.by_group,
        };
        index.iter_hash(hashes.of(tag.as_bytes())).copied().filter(move |slot| {
            let packed = self.slots.at(*slot);
            match &tag {
                Tag::Subject(subject) => packed.subject() == Some(subject),
                Tag::Group(group) => packed.group() == Some(group),
            }
        })
    }

    /// Counts the slot, and adds it to the indexes.
    fn link(&mut self, hashes: &Hashes, slot: u32) {
        self.buckets += u64::from(self.is_bucket(slot));
        let slots = &self.slots;
        let hash = |subject: &SubjectTag| hashes.of(subject.as_bytes());
        if let Some(subject) = slots.at(slot).subject() {
            // Every entry in the index has a subject.
            let rehash = |slot: &u32| slots.at(*slot).subject().map_or(0, hash);
            self.by_subject.insert_unique(hash(subject), slot, rehash);
        }
        let hash = |group: &GroupTag| hashes.of(group.as_bytes());
        if let Some(group) = slots.at(slot).group() {
            // Every entry in the index has a group.
            let rehash = |slot: &u32| slots.at(*slot).group().map_or(0, hash);
            self.by_group.insert_unique(hash(group), slot, rehash);
        }
    }

    /// Removes the slot from count and indexes: the opposite of [`link`](Self::link).
    fn unlink(&mut self, hashes: &Hashes, slot: u32) {
        self.buckets -= u64::from(self.is_bucket(slot));
        if let Some(subject) = self.slots.at(slot).subject() {
            take_out(&mut self.by_subject, hashes.of(subject.as_bytes()), slot);
        }
        if let Some(group) = self.slots.at(slot).group() {
            take_out(&mut self.by_group, hashes.of(group.as_bytes()), slot);
        }
    }

    /// Gives memory back once most entries have gone.
    fn shrink(&mut self, hashes: &Hashes) {
        let slots = &self.slots;
        shrink(&mut self.by_id, |slot| hashes.of(slots.at(*slot).id().as_bytes()));
        // Every entry in an index has a tag of its kind.
        let of_subject = |slot: &u32| slots.at(*slot).subject().map_or(0, |subject| hashes.of(subject.as_bytes()));
        shrink(&mut self.by_subject, of_subject);
        let of_group = |slot: &u32| slots.at(*slot).group().map_or(0, |group| hashes.of(group.as_bytes()));
        shrink(&mut self.by_group, of_group);
    }
}

/// Removes a slot's number from the table, if it is present.
fn take_out(table: &mut HashTable<u32>, hash: u64, slot: u32) {
    if let Ok(entry) = table.find_entry(hash, |other| *other == slot) {
        entry.remove();
    }
}

/// Renumbers a slot in the table.
fn renumber(table: &mut HashTable<u32>, hash: u64, from: u32, to: u32) {
    if let Some(number) = table.find_mut(hash, |other| *other == from) {
        *number = to;
    }
}

/// Gives a table's memory back once most of its entries have gone.
fn shrink(table: &mut HashTable<u32>, hash_of: impl Fn(&u32) -> u64) {
    if table.capacity() > SHRINK_ABOVE && table.len() < table.capacity() / 4 {
        table.shrink_to(table.len() * 2, hash_of);
    }
}

#[cfg(test)]
impl Shard {
    /// Returns the number of entries that the tables have room for.
    pub(super) fn room(&self) -> [usize; 3] {
        [self.by_id.capacity(), self.by_subject.capacity(), self.by_group.capacity()]
    }

    /// Panics unless all tables name exactly the slots that they should.
    pub(super) fn check(&self, hashes: &Hashes) {
        let (mut subjects, mut groups) = (0, 0);
        let mut buckets = 0;
        for slot in 0..self.slots.len() {
            let packed = self.slots.at(slot);
            assert_eq!(self.find(hashes.of(packed.id().as_bytes()), packed.id()), Some(slot));
            buckets += u64::from(self.is_bucket(slot));
            if let Some(subject) = packed.subject() {
                subjects += 1;
                let found = self.with_tag(hashes, Tag::Subject(*subject));
                assert_eq!(found.filter(|other| *other == slot).count(), 1);
            }
            if let Some(group) = packed.group() {
                groups += 1;
                assert_eq!(self.with_tag(hashes, Tag::Group(*group)).filter(|other| *other == slot).count(), 1);
            }
        }
        assert_eq!(self.by_id.len(), self.slots.len() as usize);
        assert_eq!((self.by_subject.len(), self.by_group.len()), (subjects, groups));
        assert_eq!(self.buckets, buckets);
    }
}
