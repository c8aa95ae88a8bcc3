//! A list without gaps that grows and shrinks by chunks: no large copies, and little spare room at any length.

use std::mem;

use super::super::packed::Packed;

/// The length of a chunk: large enough that the list of chunks stays in the processor's cache with ten million sessions, and
/// small enough that the last one has little spare room.
const CHUNK: usize = 256;
/// The growth of a chunk: the first grows in small steps, the others in halves, because the memory that a step leaves behind
/// just fits the start of the next chunk.
const FIRST_STEP: usize = 16;
const STEP: usize = CHUNK / 2;

#[derive(Default)]
pub(super) struct Slots {
    /// The chunks. All but the last are full; the last is not empty.
    chunks: Vec<Vec<Packed>>,
    len: u32,
}

impl Slots {
    pub(super) fn len(&self) -> u32 {
        self.len
    }

    /// Returns the number of the last slot, or 0 if there is none.
    pub(super) fn last(&self) -> u32 {
        self.len.saturating_sub(1)
    }

    /// Numbers come from the shard's tables and its own counting: they are below the length.
    pub(super) fn at(&self, slot: u32) -> &Packed {
        let (chunk, place) = split(slot);
        &self.chunks[chunk][place]
    }

    pub(super) fn push(&mut self, packed: Packed) -> u32 {
        let slot = self.len;
        let (chunk, place) = split(slot);
        if place == 0 {
            self.chunks.push(Vec::new());
        }
        let room = if chunk == 0 { FIRST_STEP } else { STEP };
        let chunk = &mut self.chunks[chunk];
        if chunk.len() == chunk.capacity() {
            chunk.reserve_exact(room);
        }
        chunk.push(packed);
        self.len += 1;
        slot
    }

    pub(super) fn replace(&mut self, slot: u32, packed: Packed) -> Packed {
        let (chunk, place) = split(slot);
        mem::replace(&mut self.chunks[chunk][place], packed)
    }

    /// Removes a slot, and moves the last one into its place.
    pub(super) fn swap_remove(&mut self, slot: u32) -> Packed {
        let (chunk, place) = split(slot);
        let (last_chunk, last_place) = split(self.last());
        self.len -= 1;
        let last = self.chunks[last_chunk].swap_remove(last_place);
        if last_place == 0 {
            self.chunks.pop();
        }
        if (chunk, place) == (last_chunk, last_place) {
            return last;
        }
        mem::replace(&mut self.chunks[chunk][place], last)
    }
}

fn split(slot: u32) -> (usize, usize) {
    let slot = usize::try_from(slot).unwrap_or(usize::MAX);
    (slot / CHUNK, slot % CHUNK)
}
