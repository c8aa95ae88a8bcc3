//! HMAC-SHA256 (RFC 2104) with a key that was prepared once.

use core::fmt;

use hmac::digest::KeyInit;
use hmac::digest::array::Array;
use hmac::{Hmac, Mac};
use sha2::Sha256;
use zeroize::Zeroize;

use crate::format::{KEY_LEN, TAG_TRUNCATED_LEN};

/// Bytes of an HMAC-SHA256.
pub(crate) const MAC_LEN: usize = 32;

/// A keyed HMAC-SHA256, possibly with a prefix already hashed. Cloned for each use.
#[derive(Clone)]
pub(crate) struct MacKey(Hmac<Sha256>);

impl MacKey {
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Self {
        // RFC 2104 pads a short key with zeros to the block, so a padded block is the same key.
        let mut block = [0; 64];
        block[..KEY_LEN].copy_from_slice(key);
        let keyed = Self(Hmac::new(&Array::from(block)));
        block.zeroize();
        keyed
    }

    /// Returns the same key with `prefix` in front of every message.
    pub(crate) fn prefixed(&self, prefix: &[&[u8]]) -> Self {
        let mut mac = self.0.clone();
        for part in prefix {
            mac.update(part);
        }
        Self(mac)
    }

    /// Returns the HMAC of these parts, one after another.
    #[inline]
    pub(crate) fn mac(&self, message: &[&[u8]]) -> [u8; MAC_LEN] {
        let mut mac = self.0.clone();
        for part in message {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }

    /// Returns the first 16 bytes of the HMAC.
    pub(crate) fn truncated(&self, message: &[&[u8]]) -> [u8; TAG_TRUNCATED_LEN] {
        let [first, _] = halves(&self.mac(message));
        first
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}

/// Splits an HMAC into its halves.
pub(crate) fn halves(mac: &[u8; MAC_LEN]) -> [[u8; MAC_LEN / 2]; 2] {
    let mut halves = [[0; MAC_LEN / 2]; 2];
    for (half, bytes) in halves.iter_mut().zip(mac.chunks_exact(MAC_LEN / 2)) {
        half.copy_from_slice(bytes);
    }
    halves
}

#[cfg(test)]
mod tests;
