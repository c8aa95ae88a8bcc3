//! Tokens made by someone who holds both keys: the format once more, written from its description alone.

use chacha20poly1305::aead::{AeadInOut, KeyInit};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::{CONTEXT, FINGERPRINT_KEY, SEAL_KEY};

/// A token, and the fingerprint that a bucket would keep of it.
#[derive(Debug)]
pub struct Forged {
    /// The bytes that travel.
    pub token: Vec<u8>,
    /// The second half of the HMAC.
    pub fingerprint: [u8; 16],
}

/// Seals any plaintext under the known keys, and marks it as issued.
///
/// # Panics
///
/// Never: all lengths are right.
#[must_use]
pub fn forge(nonce: [u8; 24], plaintext: &[u8]) -> Forged {
    let mut token = vec![0x01];
    token.extend_from_slice(&derive::<4>(&SEAL_KEY, b"key id"));
    token.extend_from_slice(&derive::<4>(&FINGERPRINT_KEY, b"key id"));

    let associated_data = [b"secure-sessions/v1/token", token.as_slice(), &context()].concat();
    let mut sealed = plaintext.to_vec();
    let tag = XChaCha20Poly1305::new(&derive(&SEAL_KEY, b"seal").into())
        .encrypt_inout_detached(&XNonce::from(nonce), &associated_data, sealed.as_mut_slice().into())
        .expect("a short plaintext");

    token.extend_from_slice(&nonce);
    token.extend_from_slice(&sealed);
    token.extend_from_slice(&tag);

    let mut mark_key = [0; 32];
    Hkdf::<Sha256>::new(Some(&derive::<32>(&SEAL_KEY, b"mark")), &derive::<32>(&FINGERPRINT_KEY, b"fingerprint"))
        .expand(b"secure-sessions/v1/mark", &mut mark_key)
        .expect("a short output");
    let mut mac = Hmac::<Sha256>::new_from_slice(&mark_key).expect("any length will do");
    mac.update(b"secure-sessions/v1/fingerprint\0");
    mac.update(&context());
    mac.update(&token);
    let mac = mac.finalize().into_bytes();
    token.extend_from_slice(&mac[..16]);
    Forged { token, fingerprint: mac[16..].try_into().expect("half of 32 bytes") }
}

fn context() -> Vec<u8> {
    [&(CONTEXT.len() as u16).to_be_bytes(), CONTEXT.as_bytes()].concat()
}

fn derive<const N: usize>(key: &[u8; 32], info: &[u8]) -> [u8; N] {
    let mut output = [0; N];
    Hkdf::<Sha256>::new(Some(b"secure-sessions/v1"), key).expand(info, &mut output).expect("a short output");
    output
}
