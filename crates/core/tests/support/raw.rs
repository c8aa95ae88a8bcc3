//! The format written a second time, from its description and on the bare primitives: what a thief of keys can make.

use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use chacha20::{ChaCha20, XChaCha20};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// Everything that a token's plaintext holds, as bytes that need make no sense.
#[derive(Debug, Clone)]
pub(crate) struct Plaintext {
    pub(crate) session_id: [u8; 16],
    pub(crate) handoff_key: [u8; 32],
    pub(crate) generation: u32,
    pub(crate) issued_at: u64,
    pub(crate) expires_at: u64,
    pub(crate) meta: Vec<u8>,
    pub(crate) data: Vec<u8>,
    pub(crate) bloat: Vec<u8>,
}

impl Plaintext {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let length = |part: &[u8]| u16::try_from(part.len()).expect("short").to_be_bytes();
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&self.session_id);
        bytes.extend_from_slice(&self.handoff_key);
        bytes.extend_from_slice(&self.generation.to_be_bytes());
        bytes.extend_from_slice(&self.issued_at.to_be_bytes());
        bytes.extend_from_slice(&self.expires_at.to_be_bytes());
        bytes.extend_from_slice(&length(&self.meta));
        bytes.extend_from_slice(&self.meta);
        bytes.extend_from_slice(&length(&self.data));
        bytes.extend_from_slice(&self.data);
        bytes.extend_from_slice(&self.bloat);
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let number = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let part = |at: usize| {
            let length = usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
            bytes[at + 2..at + 2 + length].to_vec()
        };
        let meta = part(68);
        let data = part(70 + meta.len());
        Self {
            session_id: bytes[..16].try_into().expect("an id"),
            handoff_key: bytes[16..48].try_into().expect("a key"),
            generation: u32::from_be_bytes(bytes[48..52].try_into().expect("four bytes")),
            issued_at: number(52),
            expires_at: number(60),
            bloat: bytes[72 + meta.len() + data.len()..].to_vec(),
            meta,
            data,
        }
    }
}

/// HKDF-SHA256 of one configured key.
pub(crate) fn derive<const N: usize>(key: &[u8; 32], info: &str) -> [u8; N] {
    let mut output = [0; N];
    Hkdf::<Sha256>::new(Some(b"secure-sessions/v1"), key).expand(info.as_bytes(), &mut output).expect("short");
    output
}

pub(crate) fn key_id(key: &[u8; 32]) -> [u8; 4] {
    derive(key, "key id")
}

pub(crate) fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// XChaCha20-Poly1305: ciphertext and tag.
pub(crate) fn seal(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut sealed = plaintext.to_vec();
    let aead = XChaCha20Poly1305::new(key.into());
    let tag = aead.encrypt_inout_detached(nonce.into(), aad, sealed.as_mut_slice().into()).expect("short");
    sealed.extend_from_slice(&tag);
    sealed
}

pub(crate) fn open(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (ciphertext, tag) = sealed.split_last_chunk::<16>()?;
    let mut plaintext = ciphertext.to_vec();
    let aead = XChaCha20Poly1305::new(key.into());
    aead.decrypt_inout_detached(nonce.into(), aad, plaintext.as_mut_slice().into(), tag.into()).ok()?;
    Some(plaintext)
}

fn with_length(context: &str) -> Vec<u8> {
    let length = u16::try_from(context.len()).expect("short").to_be_bytes();
    [&length, context.as_bytes()].concat()
}

/// A token without its issue mark: what a seal key alone can make.
pub(crate) fn unmarked(
    seal_key: &[u8; 32],
    fingerprint_key_id: [u8; 4],
    context: &str,
    nonce: &[u8; 24],
    plaintext: &[u8],
) -> Vec<u8> {
    let header = [&[1][..], &key_id(seal_key), &fingerprint_key_id].concat();
    let aad = [b"secure-sessions/v1/token", &header[..], &with_length(context)].concat();
    let sealed = seal(&derive(seal_key, "seal"), nonce, &aad, plaintext);
    [&header[..], nonce, &sealed].concat()
}

/// The key that marks: what takes both keys.
pub(crate) fn mark_key(seal_key: &[u8; 32], fingerprint_key: &[u8; 32]) -> [u8; 32] {
    let (salt, input): ([u8; 32], [u8; 32]) = (derive(seal_key, "mark"), derive(fingerprint_key, "fingerprint"));
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(Some(&salt), &input).expand(b"secure-sessions/v1/mark", &mut key).expect("short");
    key
}

/// Issue mark and fingerprint under any mark key.
pub(crate) fn mark_under(mark_key: &[u8; 32], context: &str, unmarked: &[u8]) -> ([u8; 16], [u8; 16]) {
    let message = [b"secure-sessions/v1/fingerprint", &[0][..], &with_length(context), unmarked].concat();
    let mac = hmac(mark_key, &message);
    (mac[..16].try_into().expect("half"), mac[16..].try_into().expect("half"))
}

/// Issue mark and fingerprint: what takes both keys.
pub(crate) fn mark(
    seal_key: &[u8; 32],
    fingerprint_key: &[u8; 32],
    context: &str,
    unmarked: &[u8],
) -> ([u8; 16], [u8; 16]) {
    mark_under(&mark_key(seal_key, fingerprint_key), context, unmarked)
}

/// A whole token and its fingerprint: what takes both keys.
pub(crate) fn token(
    seal_key: &[u8; 32],
    fingerprint_key: &[u8; 32],
    context: &str,
    nonce: &[u8; 24],
    plaintext: &[u8],
) -> (Vec<u8>, [u8; 16]) {
    let unmarked = unmarked(seal_key, key_id(fingerprint_key), context, nonce, plaintext);
    let (issue, fingerprint) = mark(seal_key, fingerprint_key, context, &unmarked);
    ([&unmarked[..], &issue].concat(), fingerprint)
}

/// A subject's tag: what takes the fingerprint key.
pub(crate) fn subject_tag(fingerprint_key: &[u8; 32], context: &str, subject: &str) -> [u8; 16] {
    let mac = hmac(&derive(fingerprint_key, "subject"), &[&with_length(context), subject.as_bytes()].concat());
    mac[..16].try_into().expect("half")
}

/// The meta map of a session of this subject, with nothing else in it.
pub(crate) fn meta_of(fingerprint_key: &[u8; 32], context: &str, subject: &str) -> Vec<u8> {
    let length = u8::try_from(subject.len()).expect("short");
    let text = [&[0x78, length], subject.as_bytes()].concat();
    [&[0xa2, 0x01][..], &text, &[0x0b, 0x50], &subject_tag(fingerprint_key, context, subject)].concat()
}

/// Opens a token with a stolen seal key, whatever its issue mark.
pub(crate) fn read(seal_key: &[u8; 32], context: &str, token: &[u8]) -> Option<Plaintext> {
    let aad = [b"secure-sessions/v1/token", &token[..9], &with_length(context)].concat();
    let nonce = token[9..33].try_into().expect("a nonce");
    let bytes = open(&derive(seal_key, "seal"), nonce, &aad, &token[33..token.len() - 16])?;
    Some(Plaintext::from_bytes(&bytes))
}

/// A handoff: what takes a seal key and the session's handoff key.
pub(crate) fn handoff(
    seal_key: &[u8; 32],
    context: &str,
    session_id: &[u8; 16],
    handoff_key: &[u8; 32],
    nonce: &[u8; 24],
    successor: &[u8],
) -> Vec<u8> {
    let message = [b"secure-sessions/v1/handoff", &[1][..], session_id, &with_length(context), handoff_key].concat();
    let key = hmac(&derive(seal_key, "handoff"), &message);
    [&key_id(seal_key)[..], nonce, &keystream(&key, nonce, 0, successor)].concat()
}

/// XChaCha20 from the given block on.
pub(crate) fn keystream(key: &[u8; 32], nonce: &[u8; 24], block: u32, text: &[u8]) -> Vec<u8> {
    let mut output = text.to_vec();
    let mut cipher = <XChaCha20 as KeyIvInit>::new(key.into(), nonce.into());
    cipher.seek(block * 64);
    cipher.apply_keystream(&mut output);
    output
}

/// Expands a seed: the ChaCha20 keystream under a nonce of zeros.
pub(crate) fn bloat(seed: &[u8; 32], length: usize) -> Vec<u8> {
    let mut output = vec![0; length];
    <ChaCha20 as KeyIvInit>::new(seed.into(), &[0; 12].into()).apply_keystream(&mut output);
    output
}

/// base64url without padding (RFC 4648, section 5), bit by bit.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    (0..bytes.len() * 8)
        .step_by(6)
        .map(|at| char::from(ALPHABET[usize::from((at..at + 6).fold(0, |index, at| index << 1 | bit(at)))]))
        .collect()
}
