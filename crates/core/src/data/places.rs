//! The places of the entries of a data map.

use core::ops::Range;

use super::DataError;
use crate::cbor;

/// The ranges of a key, with its head, and of its value within the items.
#[derive(Clone, Copy)]
pub(super) struct Place {
    start: usize,
    key: usize,
    value: usize,
    pub(super) end: usize,
}

impl Place {
    /// Takes one key and its value off `items[at..]`, and checks both.
    #[inline]
    pub(super) fn read(items: &[u8], at: usize) -> Result<Self, DataError> {
        let (key, value) = cbor::text_at(items, at)?;
        let end = cbor::item_end(items, value)?;
        Ok(Self { start: at, key, value, end })
    }

    pub(super) fn key(self) -> Range<usize> {
        self.key..self.value
    }

    pub(super) fn value(self) -> Range<usize> {
        self.value..self.end
    }

    pub(super) fn range(self) -> Range<usize> {
        self.start..self.end
    }
}

/// Walks the entries from the first on, and ends early where one is malformed.
#[derive(Clone)]
pub(super) struct Places<'a> {
    pub(super) items: &'a [u8],
    pub(super) at: usize,
    /// The number of entries left.
    pub(super) left: usize,
}

impl Iterator for Places<'_> {
    type Item = Place;

    #[inline]
    fn next(&mut self) -> Option<Place> {
        self.left = self.left.checked_sub(1)?;
        let Ok(place) = Place::read(self.items, self.at) else {
            self.left = 0;
            return None;
        };
        self.at = place.end;
        Some(place)
    }
}
