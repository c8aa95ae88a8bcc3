//! Sources of randomness that give the same bytes every time.

use std::convert::Infallible;
use std::fmt;

use rand_core::{TryCryptoRng, TryRng};
use sha2::{Digest, Sha256};

/// Gives exactly the bytes that it was made with, and fails after them.
#[derive(Debug)]
pub(crate) struct Replay<'a>(pub(crate) &'a [u8]);

/// A [`Replay`] has no bytes left.
#[derive(Debug)]
pub(crate) struct Spent;

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no recorded bytes are left")
    }
}

impl std::error::Error for Spent {}

impl TryRng for Replay<'_> {
    type Error = Spent;

    fn try_next_u32(&mut self) -> Result<u32, Spent> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Spent> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, output: &mut [u8]) -> Result<(), Spent> {
        let (bytes, rest) = self.0.split_at_checked(output.len()).ok_or(Spent)?;
        output.copy_from_slice(bytes);
        self.0 = rest;
        Ok(())
    }
}

impl TryCryptoRng for Replay<'_> {}

/// An endless stream that depends on its label alone, and remembers what it gave.
///
/// SHA-256 of label and counter: any language can make the vectors again.
#[derive(Debug)]
pub(crate) struct Stream {
    label: String,
    counter: u64,
    buffer: Vec<u8>,
    pub(crate) given: Vec<u8>,
}

impl Stream {
    pub(crate) fn new(label: &str) -> Self {
        Self { label: label.to_owned(), counter: 0, buffer: Vec::new(), given: Vec::new() }
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    fn fill(&mut self, output: &mut [u8]) {
        while self.buffer.len() < output.len() {
            let block = Sha256::new().chain_update(&self.label).chain_update(self.counter.to_be_bytes()).finalize();
            self.buffer.extend_from_slice(&block);
            self.counter += 1;
        }
        output.copy_from_slice(&self.buffer[..output.len()]);
        self.buffer.drain(..output.len());
        self.given.extend_from_slice(output);
    }
}

impl TryRng for Stream {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.bytes()))
    }

    fn try_fill_bytes(&mut self, output: &mut [u8]) -> Result<(), Infallible> {
        self.fill(output);
        Ok(())
    }
}

impl TryCryptoRng for Stream {}

/// Small, fast and seeded, for choices that need no cryptography: SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From `low` up to and with `high`.
    pub(crate) fn within(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.next().is_multiple_of(n)
    }
}
