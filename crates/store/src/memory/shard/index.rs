//! A table of slot numbers by hash. All that a look-up reads is on one line of the processor's cache.
//!
//! As in F14 (<https://engineering.fb.com/2019/04/25/developer-tools/f14/>), entries are in groups of a cache line, each
//! with a byte of its hash; one whose group is full is in the next that is not, and each group knows how many have passed
//! it by. Of millions of sessions every line is far away, and a lookup waits for one here and one of the slot itself.

use std::mem;

/// The entries of a group.
const WIDTH: usize = 12;
/// The average number of entries per group at which the table grows.
const FULL: usize = 10;

#[derive(Default)]
pub(super) struct Index {
    /// The groups: a power of two of them, or none.
    groups: Vec<Group>,
    len: usize,
}

#[derive(Clone, Default)]
#[repr(align(64))]
struct Group {
    /// A part of each entry's hash; [`FREE`] for an empty place.
    tags: [u8; WIDTH],
    /// The number of entries that found this group full, and are in a later one.
    passed: u32,
    slots: [u32; WIDTH],
}

const _: () = assert!(size_of::<Group>() == 64);

const FREE: u8 = 0;

fn tag(hash: u64) -> u8 {
    hash.to_be_bytes()[0] | 0x80
}

/// The place of an entry.
#[derive(Clone, Copy)]
struct Place {
    group: usize,
    at: usize,
}

impl Index {
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the slot with this hash for which `is_it` holds.
    pub(super) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        self.place(hash, is_it).map(|place| self.groups[place.group].slots[place.at])
    }

    /// Adds a slot that is not present yet. Calls `hash_of` for the hashes of the others if they have to move.
    pub(super) fn insert(&mut self, hash: u64, slot: u32, hash_of: impl Fn(u32) -> u64) {
        if self.len >= self.groups.len() * FULL {
            self.resize((self.groups.len() * 2).max(1), hash_of);
        }
        self.put(hash, slot);
    }

    /// Removes a slot, if it is present.
    pub(super) fn remove(&mut self, hash: u64, slot: u32) {
        let Some(place) = self.place(hash, |other| other == slot) else { return };
        self.groups[place.group].tags[place.at] = FREE;
        for group in self.way(hash).take_while(|group| *group != place.group) {
            self.groups[group].passed -= 1;
        }
        self.len -= 1;
    }

    /// Renumbers a slot.
    pub(super) fn renumber(&mut self, hash: u64, from: u32, to: u32) {
        if let Some(place) = self.place(hash, |other| other == from) {
            self.groups[place.group].slots[place.at] = to;
        }
    }

    /// Gives memory back once most entries have gone.
    pub(super) fn shrink(&mut self, hash_of: impl Fn(u32) -> u64) {
        if self.groups.len() > 4 && self.len < self.groups.len() * FULL / 4 {
            self.resize((self.len * 2).div_ceil(FULL).next_power_of_two(), hash_of);
        }
    }

    /// Returns the groups in the order in which an entry with this hash looks for room.
    fn way(&self, hash: u64) -> impl Iterator<Item = usize> + use<> {
        let last = self.groups.len().wrapping_sub(1);
        let first = usize::try_from(hash & 0xffff_ffff).unwrap_or(0);
        (0..self.groups.len()).map(move |step| first.wrapping_add(step) & last)
    }

    fn place(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<Place> {
        let tag = tag(hash);
        for number in self.way(hash) {
            let group = &self.groups[number];
            let mut candidates = group.candidates(tag);
            while candidates != 0 {
                let at = candidates.trailing_zeros() as usize;
                if is_it(group.slots[at]) {
                    return Some(Place { group: number, at });
                }
                candidates &= candidates - 1;
            }
            if group.passed == 0 {
                return None;
            }
        }
        None
    }

    /// Adds the slot. There is room: the table is never full.
    fn put(&mut self, hash: u64, slot: u32) {
        for number in self.way(hash) {
            let group = &mut self.groups[number];
            if let Some(at) = group.tags.iter().position(|tag| *tag == FREE) {
                (group.tags[at], group.slots[at]) = (tag(hash), slot);
                self.len += 1;
                return;
            }
            group.passed += 1;
        }
    }

    fn resize(&mut self, groups: usize, hash_of: impl Fn(u32) -> u64) {
        self.len = 0;
        for group in mem::replace(&mut self.groups, vec![Group::default(); groups]) {
            for (tag, slot) in group.tags.into_iter().zip(group.slots) {
                if tag != FREE {
                    self.put(hash_of(slot), slot);
                }
            }
        }
    }
}

impl Group {
    /// Returns a bit for each entry with this tag.
    fn candidates(&self, tag: u8) -> u32 {
        let mut candidates = 0;
        for (at, other) in self.tags.iter().enumerate() {
            candidates |= u32::from(*other == tag) << at;
        }
        candidates
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Few different groups and tags, so that many entries pass full groups by.
    fn hash_of(slot: u32) -> u64 {
        let slot = u64::from(slot);
        (slot % 5) | (slot % 3) << 56
    }

    #[derive(Debug, Clone)]
    enum Operation {
        Insert(u32),
        Remove(u32),
        Renumber(u32, u32),
        Shrink,
    }

    fn any_operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            6 => (0..200_u32).prop_map(Operation::Insert),
            4 => (0..200_u32).prop_map(Operation::Remove),
            1 => (0..200_u32, 0..13_u32).prop_map(|(from, to)| Operation::Renumber(from, from + 15 * to)),
            1 => Just(Operation::Shrink),
        ]
    }

    proptest! {
        #[test]
        fn it_knows_what_a_map_knows(operations in prop::collection::vec(any_operation(), 0..400)) {
            let (mut index, mut model) = (Index::default(), BTreeMap::new());
            for operation in operations {
                match operation {
                    Operation::Insert(slot) => {
                        if model.insert(slot, ()).is_none() {
                            index.insert(hash_of(slot), slot, hash_of);
                        }
                    }
                    Operation::Remove(slot) => {
                        model.remove(&slot);
                        index.remove(hash_of(slot), slot);
                    }
                    // Another slot of the same hash.
                    Operation::Renumber(from, to) if !model.contains_key(&to) => {
                        if model.remove(&from).is_some() {
                            model.insert(to, ());
                        }
                        index.renumber(hash_of(from), from, to);
                    }
                    Operation::Renumber(..) => {}
                    Operation::Shrink => index.shrink(hash_of),
                }
                prop_assert_eq!(index.len(), model.len());
                for slot in 0..400 {
                    let found = index.find(hash_of(slot), |other| other == slot);
                    prop_assert_eq!(found, model.contains_key(&slot).then_some(slot));
                }
            }
            // Nobody is remembered as having passed by once all have gone.
            for slot in model.into_keys() {
                index.remove(hash_of(slot), slot);
            }
            prop_assert!(index.groups.iter().all(|group| group.passed == 0));
        }
    }

    #[test]
    fn a_table_with_random_hashes_grows_with_its_entries_and_shrinks_with_them() {
        let random = |slot: u32| (u64::from(slot) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        let mut index = Index::default();
        for slot in 0..100_000 {
            index.insert(random(slot), slot, random);
        }
        let groups = index.groups.len();
        assert!(groups <= 2 * 100_000 / FULL);
        let passing = index.groups.iter().filter(|group| group.passed > 0).count();
        assert!(passing < groups / 5, "{passing} of {groups} groups are passed by");
        assert!((0..100_000).all(|slot| index.find(random(slot), |other| other == slot) == Some(slot)));
        (0..99_000).for_each(|slot| index.remove(random(slot), slot));
        index.shrink(random);
        assert!(index.groups.len() < groups / 16);
        assert!((99_000..100_000).all(|slot| index.find(random(slot), |other| other == slot) == Some(slot)));
    }
}
