//! XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha-03), behind one seam with three implementations of the same bytes.

use core::fmt;

use crate::format::{KEY_LEN, NONCE_LEN, TAG_LEN};

#[cfg(all(feature = "fiat", any(test, not(feature = "ring"))))]
mod fiat;
#[cfg(feature = "ring")]
mod ring;
#[cfg(any(test, not(any(feature = "fiat", feature = "ring"))))]
mod rustcrypto;

#[cfg(all(feature = "fiat", not(feature = "ring")))]
use self::fiat as provider;
#[cfg(feature = "ring")]
use self::ring as provider;
#[cfg(not(any(feature = "fiat", feature = "ring")))]
use self::rustcrypto as provider;

/// The tag does not fit the key, nonce, associated data and ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NotAuthentic;

/// One XChaCha20-Poly1305 key.
pub(crate) struct AeadKey(provider::Key);

impl AeadKey {
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(provider::Key::new(key))
    }

    /// Encrypts in place and gives the tag. A nonce must never be used twice: callers draw it at random.
    pub(crate) fn seal(&self, nonce: &[u8; NONCE_LEN], associated_data: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN] {
        self.0.seal(nonce, associated_data, buffer)
    }

    /// Checks the tag and decrypts in place.
    ///
    /// On an error the buffer's content is unspecified, and never plaintext.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), NotAuthentic> {
        self.0.open(nonce, associated_data, buffer, tag)
    }
}

impl fmt::Debug for AeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AeadKey(..)")
    }
}

#[cfg(test)]
mod tests;
