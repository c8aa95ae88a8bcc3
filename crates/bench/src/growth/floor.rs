//! The least time that opening a sealed and marked cookie takes, with a plain map behind it: the floor under a read.

use std::collections::HashMap;

use base64_simd::{Out, URL_SAFE_NO_PAD};
use chacha20::XChaCha20;
use chacha20::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const NONCE: usize = 24;
const MARK: usize = 16;
const KEY: [u8; 32] = [5; 32];

/// A key, and a map in which each cookie's fingerprint stands under its session's id, in as many bytes as ours.
pub(super) struct Floor {
    mac: Hmac<Sha256>,
    map: HashMap<[u8; 16], [u8; 120]>,
}

impl Floor {
    pub(super) fn new() -> Self {
        Self { mac: Hmac::new(&[3; 64].into()), map: HashMap::new() }
    }

    /// Seals so many bytes for the session with this id.
    pub(super) fn seal(&mut self, id: [u8; 16], length: usize) -> String {
        let mut bytes = vec![0; NONCE + length.max(id.len()) + MARK];
        let (nonce, rest) = bytes.split_at_mut(NONCE);
        getrandom::fill(nonce).unwrap_or_default();
        let nonce = <&[u8; NONCE]>::try_from(&*nonce).unwrap_or(&[0; NONCE]);
        let end = rest.len() - MARK;
        rest[..id.len()].copy_from_slice(&id);
        XChaCha20::new(&KEY.into(), nonce.into()).apply_keystream(&mut rest[..end]);
        let mac = self.mac(&bytes[..NONCE + end]);
        bytes[NONCE + end..].copy_from_slice(&mac[..MARK]);
        let mut entry = [0; 120];
        entry[..16].copy_from_slice(&mac[16..]);
        self.map.insert(id, entry);
        URL_SAFE_NO_PAD.encode_to_string(&bytes)
    }

    /// Adds an entry that no cookie names.
    pub(super) fn remember(&mut self, id: [u8; 16]) {
        self.map.insert(id, [0; 120]);
    }

    /// Opens what [`seal`](Self::seal) made. Returns `true` if the map knows it.
    pub(super) fn open(&self, text: &[u8]) -> bool {
        let Some((id, fingerprint)) = self.unseal(text) else { return false };
        self.map.get(&id).is_some_and(|entry| entry[..16] == fingerprint)
    }

    fn unseal(&self, text: &[u8]) -> Option<([u8; 16], [u8; 16])> {
        let mut bytes = vec![0; text.len() / 4 * 3 + 2];
        let bytes = URL_SAFE_NO_PAD.decode(text, Out::from_slice(&mut bytes)).ok()?;
        let (marked, mark) = bytes.split_last_chunk_mut::<MARK>()?;
        let mac = self.mac(marked);
        if mac[..MARK] != mark[..] {
            return None;
        }
        let (nonce, ciphertext) = marked.split_first_chunk_mut::<NONCE>()?;
        XChaCha20::new(&KEY.into(), (&*nonce).into()).apply_keystream(ciphertext);
        Some((*ciphertext.first_chunk()?, *mac.last_chunk()?))
    }

    fn mac(&self, message: &[u8]) -> [u8; 32] {
        let mut mac = self.mac.clone();
        mac.update(message);
        mac.finalize().into_bytes().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_last_is_opened_and_nothing_else() {
        let mut floor = Floor::new();
        let (first, second) = (floor.seal([7; 16], 300), floor.seal([7; 16], 300));
        assert!(floor.open(second.as_bytes()) && !floor.open(first.as_bytes()), "the map knows the last alone");
        let mut changed = second.into_bytes();
        changed[100] ^= 1;
        assert!(!floor.open(&changed) && !floor.open(b""));
    }
}
