//! One shard: a dense list of slots, and two tables of slot numbers, by id and by subject.

use std::hash::{BuildHasher, Hasher, RandomState};

use hashbrown::HashTable;
use secure_sessions_core::{Bucket, Entry, Revision, SessionId, SubjectTag, Timestamp};

use self::index::Index;
use self::slots::Slots;
use super::packed::Packed;

mod index;
mod slots;

/// Tables with fewer entries than this keep their room.
const SHRINK_ABOVE: usize = 64;

/// The keyed hash of ids and tags. Both are random, but not everybody who names one got it from us.
#[derive(Default)]
pub(super) struct Hashes(RandomState);

impl Hashes {
    pub(super) fn of(&self, bytes: &[u8; 16]) -> u64 {
        let mut hasher = self.0.build_hasher();
        hasher.write(bytes);
        hasher.finish()
    }
}

/// Entries whose ids hash to it, with a subject index over these.
///
/// Slots are numbered from 0 without a gap, the last moves into the place of one that is removed. A number is four
/// bytes in a table, where the id itself would be sixteen.
#[derive(Default)]
pub(super) struct Shard {
    slots: Slots,
    by_id: Index,
    by_subject: HashTable<u32>,
    buckets: u64,
}

impl Shard {
    pub(super) fn buckets(&self) -> u64 {
        self.buckets
    }

    /// Its entries, in parts that are freed one by one.
    pub(super) fn into_chunks(self) -> Vec<Vec<Packed>> {
        self.slots.into_chunks()
    }

    pub(super) fn find(&self, hash: u64, id: &SessionId) -> Option<u32> {
        self.by_id.find(hash, |slot| self.slots.at(slot).id() == id)
    }

    /// The slot of the bucket with this id, if it has this revision.
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

    /// Adds an entry whose id, with this hash, is not there yet.
    pub(super) fn insert(&mut self, hashes: &Hashes, hash: u64, packed: Packed) {
        let slot = self.slots.push(packed);
        let slots = &self.slots;
        self.by_id.insert(hash, slot, |slot| hashes.of(slots.at(slot).id().as_bytes()));
        self.link(hashes, slot);
    }

    /// Puts an entry with the same id into the slot; returns the one that was there.
    pub(super) fn replace(&mut self, hashes: &Hashes, slot: u32, packed: Packed) -> Packed {
        if self.slots.at(slot).subject() == packed.subject() {
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
        self.by_id.remove(hashes.of(self.slots.at(slot).id().as_bytes()), slot);
        let last = self.slots.last();
        if last != slot {
            let moved = self.slots.at(last);
            self.by_id.renumber(hashes.of(moved.id().as_bytes()), last, slot);
            if let Some(subject) = moved.subject()
                && let Some(number) = self.by_subject.find_mut(hashes.of(subject.as_bytes()), |other| *other == last)
            {
                *number = slot;
            }
        }
        self.slots.swap_remove(slot)
    }

    /// Adds the buckets of these subjects, with ids above `after`. One comes twice if its tag does.
    pub(super) fn list(
        &self,
        hashes: &Hashes,
        subjects: &[SubjectTag],
        after: Option<SessionId>,
        buckets: &mut Vec<Bucket>,
    ) {
        let found = subjects.iter().flat_map(|subject| self.of_subject(hashes, subject));
        buckets.extend(found.filter_map(|slot| match self.slots.at(slot) {
            Packed::Bucket(bucket) if after.is_none_or(|after| *self.slots.at(slot).id() > after) => {
                Some(bucket.unpack())
            }
            _ => None,
        }));
    }

    pub(super) fn remove_subjects(
        &mut self,
        hashes: &Hashes,
        subjects: &[SubjectTag],
        except: Option<&SessionId>,
    ) -> u64 {
        let mut removed = 0;
        for subject in subjects {
            loop {
                // A removal renumbers slots: so one at a time.
                let found = self
                    .of_subject(hashes, subject)
                    .find(|slot| except.is_none_or(|id| self.slots.at(*slot).id() != id));
                let Some(slot) = found else { break };
                self.remove(hashes, slot);
                removed += 1;
            }
        }
        removed
    }

    /// Moves what outlives the removal of all buckets to another shard: the tombstones, and the exception.
    pub(super) fn move_unless_removed(&mut self, hashes: &Hashes, except: Option<&SessionId>, to: &mut Self) {
        let spared = except.and_then(|id| self.find(hashes.of(id.as_bytes()), id)).filter(|slot| self.is_bucket(*slot));
        if let Some(slot) = spared {
            self.move_to(hashes, slot, to);
        }
        let mut slot = self.slots.len();
        while u64::from(self.slots.len()) > self.buckets && slot > 0 {
            slot -= 1;
            if !self.is_bucket(slot) {
                self.move_to(hashes, slot, to);
            }
        }
    }

    fn move_to(&mut self, hashes: &Hashes, slot: u32, to: &mut Self) {
        let packed = self.remove(hashes, slot);
        to.insert(hashes, hashes.of(packed.id().as_bytes()), packed);
    }

    /// Looks at up to `step` slots, downwards from `below`, and takes out up to `limit` that are due. Returns where to go
    /// on, zero at the end, and what was taken: to be freed outside of the lock.
    ///
    /// Downwards, since then the slot that moves into the place of a removed one was looked at already, whoever
    /// removes it between two steps.
    pub(super) fn purge(
        &mut self,
        hashes: &Hashes,
        now: Timestamp,
        below: usize,
        step: usize,
        limit: usize,
    ) -> (usize, Vec<Packed>) {
        let mut next = self.slots.len().min(u32::try_from(below).unwrap_or(u32::MAX));
        let mut purged = Vec::new();
        for _ in 0..step {
            if next == 0 || purged.len() == limit {
                break;
            }
            next -= 1;
            if self.slots.at(next).purge_at() <= now {
                purged.push(self.remove(hashes, next));
            }
        }
        if !purged.is_empty() {
            self.shrink(hashes);
        }
        (usize::try_from(next).unwrap_or(usize::MAX), purged)
    }

    fn of_subject(&self, hashes: &Hashes, subject: &SubjectTag) -> impl Iterator<Item = u32> {
        self.by_subject
            .iter_hash(hashes.of(subject.as_bytes()))
            .copied()
            .filter(move |slot| self.slots.at(*slot).subject() == Some(subject))
    }

    /// Counts the slot, and adds it to the subject index.
    fn link(&mut self, hashes: &Hashes, slot: u32) {
        self.buckets += u64::from(self.is_bucket(slot));
        let slots = &self.slots;
        let hash = |subject: &SubjectTag| hashes.of(subject.as_bytes());
        if let Some(subject) = slots.at(slot).subject() {
            // Whoever is in the index has a subject.
            let rehash = |slot: &u32| slots.at(*slot).subject().map_or(0, hash);
            self.by_subject.insert_unique(hash(subject), slot, rehash);
        }
    }

    /// The opposite of [`link`](Self::link).
    fn unlink(&mut self, hashes: &Hashes, slot: u32) {
        self.buckets -= u64::from(self.is_bucket(slot));
        if let Some(subject) = self.slots.at(slot).subject()
            && let Ok(entry) = self.by_subject.find_entry(hashes.of(subject.as_bytes()), |other| *other == slot)
        {
            entry.remove();
        }
    }

    /// Gives memory back once most entries have gone.
    fn shrink(&mut self, hashes: &Hashes) {
        let slots = &self.slots;
        self.by_id.shrink(|slot| hashes.of(slots.at(slot).id().as_bytes()));
        if sparse(&self.by_subject) {
            let rehash = |slot: &u32| slots.at(*slot).subject().map_or(0, |subject| hashes.of(subject.as_bytes()));
            self.by_subject.shrink_to(self.by_subject.len() * 2, rehash);
        }
    }
}

fn sparse(table: &HashTable<u32>) -> bool {
    table.capacity() > SHRINK_ABOVE && table.len() < table.capacity() / 4
}

#[cfg(test)]
impl Shard {
    /// Panics unless both tables name exactly the slots that they should.
    pub(super) fn check(&self, hashes: &Hashes) {
        let mut subjects = 0;
        let mut buckets = 0;
        for slot in 0..self.slots.len() {
            let packed = self.slots.at(slot);
            assert_eq!(self.find(hashes.of(packed.id().as_bytes()), packed.id()), Some(slot));
            buckets += u64::from(self.is_bucket(slot));
            if let Some(subject) = packed.subject() {
                subjects += 1;
                assert_eq!(self.of_subject(hashes, subject).filter(|other| *other == slot).count(), 1);
            }
        }
        assert_eq!(self.by_id.len(), self.slots.len() as usize);
        assert_eq!(self.by_subject.len(), subjects);
        assert_eq!(self.buckets, buckets);
    }
}
