//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), behind one seam with two implementations of the same bytes.

use core::fmt;

use chacha20::XChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use zeroize::Zeroizing;

use crate::format::{KEY_LEN, NONCE_LEN, TAG_LEN};

#[cfg(feature = "ring")]
mod ring;
mod rustcrypto;

/// The implementation that seals tokens. All of them make the same bytes and open each other's.
///
/// A feature only makes an implementation available; you choose it by value. The same library then verifies the
/// signatures of device-bound sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Aead {
    /// RustCrypto's `chacha20poly1305`: pure Rust, and the default.
    #[default]
    RustCrypto,
    /// `ring`'s ChaCha20-Poly1305 with HChaCha20 in front of it. Needs the feature `ring`.
    #[cfg(feature = "ring")]
    Ring,
}

impl fmt::Display for Aead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RustCrypto => "RustCrypto",
            #[cfg(feature = "ring")]
            Self::Ring => "ring",
        })
    }
}

/// The tag does not fit the key, nonce, associated data and ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAuthentic;

/// One XChaCha20-Poly1305 key.
pub(crate) struct AeadKey(Zeroizing<[u8; KEY_LEN]>);

impl AeadKey {
    pub(crate) fn new(key: Zeroizing<[u8; KEY_LEN]>) -> Self {
        Self(key)
    }

    /// Encrypts in place and returns the tag. Never use a nonce twice: draw it at random.
    pub(crate) fn seal(
        &self,
        aead: Aead,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        buffer: &mut [u8],
    ) -> [u8; TAG_LEN] {
        match aead {
            Aead::RustCrypto => rustcrypto::seal(&self.0, nonce, associated_data, buffer),
            #[cfg(feature = "ring")]
            Aead::Ring => ring::seal(&self.0, nonce, associated_data, buffer),
        }
    }

    /// Checks the tag and decrypts in place.
    ///
    /// On an error the buffer's content is unspecified, and never plaintext.
    pub(crate) fn open(
        &self,
        aead: Aead,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), NotAuthentic> {
        match aead {
            Aead::RustCrypto => rustcrypto::open(&self.0, nonce, associated_data, buffer, tag),
            #[cfg(feature = "ring")]
            Aead::Ring => ring::open(&self.0, nonce, associated_data, buffer, tag),
        }
    }

    /// Decrypts `bytes[at..]` in place without checking anything. Call it only for a ciphertext whose mark is right.
    #[inline]
    pub(crate) fn decrypt(&self, nonce: &[u8; NONCE_LEN], bytes: &mut Vec<u8>, at: usize) {
        // The AEAD takes the first block of the keystream for Poly1305's key (RFC 8439, section 2.8).
        in_strides(bytes, at, |ciphertext| keystream(&self.0, nonce, Some(1), ciphertext));
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey(..)")
    }
}

/// Encrypts or decrypts in place by the XChaCha20 keystream alone, from its first block on.
pub(crate) fn xchacha20(key: &[u8; KEY_LEN], nonce: &[u8; NONCE_LEN], buffer: &mut [u8]) {
    keystream(key, nonce, None, buffer);
}

/// The bytes of a keystream that vector instructions compute at once: four blocks.
pub(crate) const STRIDE: usize = 4 * 64;

/// Applies a cipher to `bytes[at..]`, filled up to whole strides for that long: of a stride that is not whole, each block
/// is computed apart, and takes as long as all four.
///
/// Without room for another stride, `bytes` moves before the cipher is applied.
#[inline]
pub(crate) fn in_strides(bytes: &mut Vec<u8>, at: usize, apply: impl FnOnce(&mut [u8])) {
    let end = bytes.len();
    bytes.resize(at + (end - at).next_multiple_of(STRIDE), 0);
    apply(&mut bytes[at..]);
    bytes.truncate(end);
}

#[inline]
fn keystream(key: &[u8; KEY_LEN], nonce: &[u8; NONCE_LEN], first_block: Option<u32>, buffer: &mut [u8]) {
    const BLOCK: u32 = 64;
    let mut cipher = XChaCha20::new(key.into(), nonce.into());
    if let Some(block) = first_block {
        cipher.seek(block * BLOCK);
    }
    cipher.apply_keystream(buffer);
}

#[cfg(test)]
mod tests;
