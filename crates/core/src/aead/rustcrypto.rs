//! The default: pure Rust.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};

use super::NotAuthentic;
use crate::format::{KEY_LEN, NONCE_LEN, TAG_LEN};

pub(super) struct Key(XChaCha20Poly1305);

impl Key {
    pub(super) fn new(key: &[u8; KEY_LEN]) -> Self {
        Self(XChaCha20Poly1305::new(key.into()))
    }

    pub(super) fn seal(&self, nonce: &[u8; NONCE_LEN], associated_data: &[u8], buffer: &mut [u8]) -> [u8; TAG_LEN] {
        // It fails only above 256 GiB, five orders of magnitude over the longest token.
        match self.0.encrypt_inout_detached(nonce.into(), associated_data, buffer.into()) {
            Ok(tag) => tag.into(),
            Err(_) => unreachable!("XChaCha20-Poly1305 seals every buffer below 256 GiB"),
        }
    }

    pub(super) fn open(
        &self,
        nonce: &[u8; NONCE_LEN],
        associated_data: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), NotAuthentic> {
        self.0
            .decrypt_inout_detached(nonce.into(), associated_data, buffer.into(), tag.into())
            .map_err(|_| NotAuthentic)
    }
}
