//! The default: pure Rust.

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};

use super::NotAuthentic;
use crate::format::{KEY_LEN, NONCE_LEN, TAG_LEN};

pub(super) fn seal(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    associated_data: &[u8],
    buffer: &mut [u8],
) -> [u8; TAG_LEN] {
    let sealed =
        XChaCha20Poly1305::new(key.into()).encrypt_inout_detached(nonce.into(), associated_data, buffer.into());
    // It fails only above 256 GiB, five orders of magnitude over the longest token.
    match sealed {
        Ok(tag) => tag.into(),
        Err(_) => unreachable!("XChaCha20-Poly1305 seals every buffer below 256 GiB"),
    }
}

pub(super) fn open(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    associated_data: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), NotAuthentic> {
    XChaCha20Poly1305::new(key.into())
        .decrypt_inout_detached(nonce.into(), associated_data, buffer.into(), tag.into())
        .map_err(|_| NotAuthentic)
}
