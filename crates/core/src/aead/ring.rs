//! Behind the feature `ring`: HChaCha20 derives the subkey, ring's ChaCha20-Poly1305 does the rest.
//!
//! XChaCha20-Poly1305 is ChaCha20-Poly1305 under `HChaCha20(key, nonce[..16])` with the nonce
//! `0x00000000 | nonce[16..]` (draft-irtf-cfrg-xchacha-03, section 2.3).

use chacha20::cipher::array::Array;
use chacha20::{R20, hchacha};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use zeroize::Zeroize;

use super::NotAuthentic;
use crate::format::{KEY_LEN, NONCE_LEN, TAG_LEN};

pub(super) fn seal(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    associated_data: &[u8],
    buffer: &mut [u8],
) -> [u8; TAG_LEN] {
    let (key, nonce) = subkey(key, nonce);
    // It fails only above 256 GiB, five orders of magnitude over the longest token.
    match key.seal_in_place_separate_tag(nonce, Aad::from(associated_data), buffer) {
        Ok(tag) => {
            let mut bytes = [0; TAG_LEN];
            bytes.copy_from_slice(tag.as_ref());
            bytes
        }
        Err(_) => unreachable!("ChaCha20-Poly1305 seals every buffer below 256 GiB"),
    }
}

pub(super) fn open(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    associated_data: &[u8],
    buffer: &mut [u8],
    tag: &[u8; TAG_LEN],
) -> Result<(), NotAuthentic> {
    let (key, nonce) = subkey(key, nonce);
    key.open_in_place_separate_tag(nonce, Aad::from(associated_data), (*tag).into(), buffer, 0..)
        .map(|_| ())
        .map_err(|_| NotAuthentic)
}

fn subkey(key: &[u8; KEY_LEN], nonce: &[u8; NONCE_LEN]) -> (LessSafeKey, Nonce) {
    let mut input = [0; 16];
    input.copy_from_slice(&nonce[..16]);
    let mut ietf_nonce = [0; 12];
    ietf_nonce[4..].copy_from_slice(&nonce[16..]);

    let mut subkey = hchacha::<R20>(key.into(), &Array::from(input));
    let unbound = match UnboundKey::new(&CHACHA20_POLY1305, &subkey) {
        Ok(unbound) => unbound,
        Err(_) => unreachable!("ChaCha20-Poly1305 takes every key of 32 bytes"),
    };
    subkey.as_mut_slice().zeroize();
    (LessSafeKey::new(unbound), Nonce::assume_unique_for_key(ietf_nonce))
}
