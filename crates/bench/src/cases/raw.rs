//! What no session library that seals and marks its cookies can do without, and nothing else: the floor under ours.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use base64_simd::{Out, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const NONCE: usize = 24;
const TAG: usize = 16;
const MARK: usize = 16;

/// Keys, and a map in which each cookie's fingerprint stands under its session's id.
pub(crate) struct Raw {
    aead: aead::Key,
    mac: Hmac<Sha256>,
    map: Mutex<HashMap<[u8; 16], [u8; 120]>>,
}

const ID: [u8; 16] = [7; 16];

impl Raw {
    pub(crate) fn new() -> Self {
        let map = Mutex::new(HashMap::from([(ID, [0; 120])]));
        Self { aead: aead::Key::new(), mac: Hmac::new(&[3; 64].into()), map }
    }

    /// Seals so many bytes: randomness, AEAD, HMAC, base64, and the map.
    pub(crate) fn seal(&self, length: usize) -> String {
        self.seal_for(ID, length)
    }

    /// The same for a session with this id.
    pub(crate) fn seal_for(&self, id: [u8; 16], length: usize) -> String {
        let mut bytes = vec![0; NONCE + length + TAG + MARK];
        let (nonce, rest) = bytes.split_at_mut(NONCE);
        getrandom::fill(nonce).unwrap_or_default();
        let (plaintext, rest) = rest.split_at_mut(length);
        plaintext[..16].copy_from_slice(&id);
        rest[..TAG].copy_from_slice(&self.aead.seal(nonce, plaintext));
        let mac = self.mac(&bytes[..NONCE + length + TAG]);
        bytes[NONCE + length + TAG..].copy_from_slice(&mac[..MARK]);
        let mut entry = [0; 120];
        entry[..16].copy_from_slice(&mac[16..]);
        self.map.lock().unwrap_or_else(PoisonError::into_inner).insert(id, entry);
        URL_SAFE_NO_PAD.encode_to_string(&bytes)
    }

    /// Adds an entry that no cookie names.
    pub(crate) fn remember(&self, id: [u8; 16]) {
        self.map.lock().unwrap_or_else(PoisonError::into_inner).insert(id, [0; 120]);
    }

    /// Opens what [`seal`](Self::seal) made: base64, HMAC, AEAD, and the map. Whether the map knows it.
    pub(crate) fn open(&self, text: &[u8]) -> bool {
        let Some((id, fingerprint)) = self.unseal(text) else { return false };
        let map = self.map.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(&id).is_some_and(|entry| entry[..16] == fingerprint)
    }

    /// The same without the map: the id and the fingerprint.
    pub(crate) fn unseal(&self, text: &[u8]) -> Option<([u8; 16], [u8; 16])> {
        let mut bytes = vec![0; text.len() / 4 * 3 + 2];
        let bytes = URL_SAFE_NO_PAD.decode(text, Out::from_slice(&mut bytes)).ok()?;
        let (marked, mark) = bytes.split_last_chunk_mut::<MARK>()?;
        let mac = self.mac(marked);
        let (sealed, tag) = marked.split_last_chunk_mut::<TAG>()?;
        let (nonce, ciphertext) = sealed.split_first_chunk_mut::<NONCE>()?;
        if !self.aead.open(nonce, ciphertext, tag) || mac[..MARK] != mark[..] {
            return None;
        }
        Some((*ciphertext.first_chunk()?, *mac.last_chunk()?))
    }

    fn mac(&self, message: &[u8]) -> [u8; 32] {
        let mut mac = self.mac.clone();
        mac.update(message);
        mac.finalize().into_bytes().into()
    }
}

#[cfg(not(feature = "ring"))]
mod aead {
    use chacha20poly1305::aead::AeadInOut;
    use chacha20poly1305::{KeyInit, XChaCha20Poly1305};

    pub(super) struct Key(XChaCha20Poly1305);

    impl Key {
        pub(super) fn new() -> Self {
            Self(XChaCha20Poly1305::new(&[5; 32].into()))
        }

        pub(crate) fn seal(&self, nonce: &[u8], plaintext: &mut [u8]) -> [u8; 16] {
            let nonce = nonce.try_into().unwrap_or(&[0; 24]);
            self.0.encrypt_inout_detached(nonce.into(), &[], plaintext.into()).map(Into::into).unwrap_or_default()
        }

        pub(super) fn open(&self, nonce: &[u8; 24], ciphertext: &mut [u8], tag: &[u8; 16]) -> bool {
            self.0.decrypt_inout_detached(nonce.into(), &[], ciphertext.into(), tag.into()).is_ok()
        }
    }
}

#[cfg(feature = "ring")]
mod aead {
    use chacha20::{R20, hchacha};
    use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};

    pub(super) struct Key([u8; 32]);

    impl Key {
        pub(super) fn new() -> Self {
            Self([5; 32])
        }

        pub(crate) fn seal(&self, nonce: &[u8], plaintext: &mut [u8]) -> [u8; 16] {
            let Some((key, nonce)) = self.subkey(nonce) else { return [0; 16] };
            let tag = key.seal_in_place_separate_tag(nonce, Aad::empty(), plaintext);
            tag.ok().and_then(|tag| tag.as_ref().try_into().ok()).unwrap_or_default()
        }

        pub(super) fn open(&self, nonce: &[u8; 24], ciphertext: &mut [u8], tag: &[u8; 16]) -> bool {
            let Some((key, nonce)) = self.subkey(nonce) else { return false };
            key.open_in_place_separate_tag(nonce, Aad::empty(), (*tag).into(), ciphertext, 0..).is_ok()
        }

        fn subkey(&self, nonce: &[u8]) -> Option<(LessSafeKey, Nonce)> {
            let (first, last) = nonce.split_first_chunk::<16>()?;
            let mut short = [0; 12];
            short[4..].copy_from_slice(last);
            let subkey = hchacha::<R20>(&self.0.into(), &(*first).into());
            let key = UnboundKey::new(&CHACHA20_POLY1305, &subkey).ok()?;
            Some((LessSafeKey::new(key), Nonce::assume_unique_for_key(short)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_last_is_opened_and_nothing_else() {
        let raw = Raw::new();
        let (first, second) = (raw.seal(300), raw.seal(300));
        assert!(raw.open(second.as_bytes()) && !raw.open(first.as_bytes()), "the map knows the last alone");
        let mut changed = second.into_bytes();
        changed[100] ^= 1;
        assert!(!raw.open(&changed) && !raw.open(b""));
    }
}
