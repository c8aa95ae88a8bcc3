//! Where the entries of a data map stand.

use core::ops::Range;

use super::DataError;
use crate::cbor;

/// Where a key, with its head, and its value stand within the items.
#[derive(Clone, Copy, Default)]
pub(super) struct Place {
    start: u16,
    key: u16,
    value: u16,
    pub(super) end: u16,
}

impl Place {
    /// Takes one key and its value off `items[at..]`, and checks both.
    pub(super) fn read(items: &[u8], at: usize) -> Result<Self, DataError> {
        let (key, value) = cbor::text_at(items, at)?;
        let end = cbor::item_end(items, value)?;
        let offset = |offset: usize| u16::try_from(offset).map_err(|_| DataError::NotAMap);
        Ok(Self { start: offset(at)?, key: offset(key)?, value: offset(value)?, end: offset(end)? })
    }

    pub(super) fn key(self) -> Range<usize> {
        self.key.into()..self.value.into()
    }

    pub(super) fn value(self) -> Range<usize> {
        self.value.into()..self.end.into()
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start.into()..self.end.into()
    }
}

/// Places of a map whose keys ascend, found when it was checked: all of a few, evenly spread ones of many. A key is looked
/// for from the last known one that is not behind it.
#[derive(Clone)]
pub(super) struct Outline {
    pub(super) places: [Place; Self::PLACES],
    pub(super) known: usize,
    /// Of so many entries in a row the first is known.
    pub(super) step: usize,
}

impl Outline {
    const PLACES: usize = 8;

    pub(super) fn push(&mut self, number: usize, place: Place) {
        // A power of two.
        if number & (self.step - 1) != 0 {
            return;
        }
        if self.known == Self::PLACES {
            // Every other one makes room, and this one, whose number is a power of two times their number, stays.
            for at in 0..Self::PLACES / 2 {
                self.places[at] = self.places[2 * at];
            }
            self.known = Self::PLACES / 2;
            self.step *= 2;
        }
        self.places[self.known] = place;
        self.known += 1;
    }

    /// The last known place whose key is not behind this one.
    pub(super) fn last_up_to(&self, items: &[u8], key: &str) -> Option<Place> {
        let known = &self.places[..self.known];
        known.iter().rev().find(|place| items.get(place.key()) <= Some(key.as_bytes())).copied()
    }
}

impl Default for Outline {
    fn default() -> Self {
        Self { places: [Place::default(); Self::PLACES], known: 0, step: 1 }
    }
}

/// Walks items that were checked before.
pub(super) struct Places<'a> {
    pub(super) items: &'a [u8],
    pub(super) at: usize,
}

impl Iterator for Places<'_> {
    type Item = Place;

    fn next(&mut self) -> Option<Place> {
        // At the end there is none to read.
        let place = Place::read(self.items, self.at).ok()?;
        self.at = place.end.into();
        Some(place)
    }
}
