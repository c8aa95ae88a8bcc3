//! Subkeys: HKDF-SHA256 (RFC 5869), one for each use of a key.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::format::{INFO_KEY_ID, KDF_SALT, KEY_ID_LEN, KEY_LEN, MARK_LABEL};
use crate::ids::KeyId;
use crate::mac::MacKey;

/// The pseudorandom key of one configured key, which its subkeys are derived from.
pub(crate) struct KeySchedule(Hkdf<Sha256>);

impl KeySchedule {
    pub(crate) fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(Hkdf::new(Some(KDF_SALT), key))
    }

    pub(crate) fn key_id(&self) -> KeyId {
        KeyId::from_bytes(expand::<KEY_ID_LEN>(&self.0, INFO_KEY_ID))
    }

    /// Returns bytes that are no key, such as a name.
    pub(crate) fn bytes<const N: usize>(&self, info: &[u8]) -> [u8; N] {
        expand(&self.0, info)
    }

    pub(crate) fn subkey(&self, info: &[u8]) -> Zeroizing<[u8; KEY_LEN]> {
        Zeroizing::new(expand(&self.0, info))
    }
}

/// Derives the key that marks tokens from a subkey of each kind of key, so one stolen key is not enough.
///
/// HKDF-Extract is the HMAC of the input under the salt (RFC 5869, section 2.2).
pub(crate) fn mark_key(salt: &MacKey, fingerprint_subkey: &[u8; KEY_LEN]) -> MacKey {
    let pseudorandom = Zeroizing::new(salt.mac(&[fingerprint_subkey]));
    match Hkdf::<Sha256>::from_prk(pseudorandom.as_slice()) {
        Ok(hkdf) => MacKey::new(&Zeroizing::new(expand::<KEY_LEN>(&hkdf, MARK_LABEL))),
        Err(_) => unreachable!("an HMAC-SHA256 is as long as HKDF's pseudorandom key"),
    }
}

fn expand<const N: usize>(hkdf: &Hkdf<Sha256>, info: &[u8]) -> [u8; N] {
    const { assert!(N <= 255 * 32) };
    let mut output = [0; N];
    // HKDF-Expand fails only above 255 * 32 bytes, which the assertion excludes.
    let expanded = hkdf.expand(info, &mut output);
    debug_assert!(expanded.is_ok());
    output
}

#[cfg(test)]
mod tests;
