//! The vault's blobs: private and large values, sealed under keys that only a session's tokens hold.

use crate::aead::{AeadKey, NotAuthentic};
use crate::format::{
    BLOB_HEAD_LEN, BLOB_VERSION, MAX_VAULT_VALUE_LEN, NONCE_LEN, TAG_LEN, VAULT_EXACT_UP_TO, VAULT_LABEL, VAULT_STEP,
};
use crate::ids::BlobId;
use crate::references::BlobKey;
use crate::sealer::Sealer;
use crate::secret::SecretBytes;

/// The key of a blob encrypts once, so that its nonce need not differ from that of any other.
const NONCE: [u8; NONCE_LEN] = [0; NONCE_LEN];

/// The reason why a blob does not give its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobError {
    /// A later version wrote the blob.
    #[error("the blob has version {version}, which this release does not know")]
    UnknownVersion {
        /// The version byte.
        version: u8,
    },
    /// The blob is not the one that the reference was made for: it was altered, cut, or replaced.
    #[error("the blob is not the one that was put: someone else writes to the store")]
    Tampered,
}

impl Sealer {
    /// Seals a value for the vault. The key's reference was drawn for it, and is used for no other.
    ///
    /// The blob's length depends on the length of the value alone, in steps: see [`blob_len`].
    ///
    /// # Panics
    ///
    /// Panics in debug builds if the value is not as long as the reference says.
    #[must_use]
    pub fn seal_blob(&self, key: &BlobKey, value: &[u8]) -> Vec<u8> {
        debug_assert_eq!(key.value_len, value.len());
        let length = blob_len(value.len());
        // The buffer never moves, and is encrypted in place: no plaintext is left behind.
        let mut blob = Vec::with_capacity(length);
        blob.push(BLOB_VERSION);
        blob.extend_from_slice(value);
        blob.resize(length - TAG_LEN, 0);
        let tag = AeadKey::new(key.key.clone()).seal(
            self.aead(),
            &NONCE,
            &self.associated_data_of(&key.id()),
            &mut blob[BLOB_HEAD_LEN..],
        );
        blob.extend_from_slice(&tag);
        blob
    }

    /// Opens the blob that the key's reference was made for, and returns the encoded value.
    ///
    /// # Errors
    ///
    /// [`BlobError`] if the blob is any other, or not a blob at all.
    pub fn open_blob(&self, key: &BlobKey, blob: Vec<u8>) -> Result<SecretBytes, BlobError> {
        match blob.first() {
            Some(&BLOB_VERSION) => {}
            Some(&version) if version > BLOB_VERSION => return Err(BlobError::UnknownVersion { version }),
            _ => return Err(BlobError::Tampered),
        }
        if blob.len() != blob_len(key.value_len) {
            return Err(BlobError::Tampered);
        }
        let mut buffer = SecretBytes::from(blob);
        let Some((sealed, tag)) = buffer.as_mut_slice().split_last_chunk_mut::<TAG_LEN>() else {
            return Err(BlobError::Tampered);
        };
        AeadKey::new(key.key.clone())
            .open(self.aead(), &NONCE, &self.associated_data_of(&key.id()), &mut sealed[BLOB_HEAD_LEN..], tag)
            .map_err(|NotAuthentic| BlobError::Tampered)?;
        let bytes = buffer.as_mut_vec();
        bytes.truncate(BLOB_HEAD_LEN + key.value_len);
        bytes.drain(..BLOB_HEAD_LEN);
        Ok(buffer)
    }

    fn associated_data_of(&self, id: &BlobId) -> Vec<u8> {
        [VAULT_LABEL, self.context.with_length(), id.as_bytes()].concat()
    }
}

/// Returns the length of the blob of a value: padded to the next 256 bytes up to 4 KiB, above by the rule of Padmé, which
/// adds at most a sixteenth there, and 17 bytes more.
///
/// Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files and Communication with PURBs", PETS 2019) rounds
/// a length up so that it has no more significant bits than its exponent has digits.
#[must_use]
pub const fn blob_len(value_len: usize) -> usize {
    let step = if value_len <= VAULT_EXACT_UP_TO {
        VAULT_STEP
    } else {
        let exponent = value_len.ilog2();
        1 << (exponent - (exponent.ilog2() + 1))
    };
    let padded = if value_len == 0 { step } else { value_len.next_multiple_of(step) };
    BLOB_HEAD_LEN + padded + TAG_LEN
}

/// The longest blob, in bytes.
pub const MAX_BLOB_LEN: usize = blob_len(MAX_VAULT_VALUE_LEN);
const _: () = assert!(MAX_BLOB_LEN == 65_536 + 17);

#[cfg(test)]
mod tests;
