//! The token format written a second time, from its description (`crates/session/src/guide/protocol.md`) and on the bare primitives.
//!
//! Tests and the demo's lab play an attacker with it who holds some of the keys, and check the library against it. So
//! it shares no line with the library, and draws nothing: the caller gives every nonce.
//!
//! ```text
//! token     = version(1) | seal_key_id(4) | fingerprint_key_id(4) | nonce(24) | ciphertext | tag(16) | issue(16)
//! plaintext = session_id(16) | handoff_key(32) | generation(u32) | issued_at(u64 ms) | expires_at(u64 ms)
//!           | meta_len(u16) | meta | data_len(u16) | data | bloat
//! ```

#![expect(clippy::expect_used, reason = "lengths that are fixed, or that a test or the demo chose")]

use chacha20::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};
use chacha20::{ChaCha20, XChaCha20};
use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

pub mod device;

/// The format's version, a token's first byte.
pub const VERSION: u8 = 1;
/// Bytes of version and key ids.
pub const HEADER_LEN: usize = 1 + 4 + 4;
/// Bytes in front of the ciphertext: the header and the nonce.
pub const SEALED_AT: usize = HEADER_LEN + 24;
/// Bytes of the tag behind the ciphertext.
pub const TAG_LEN: usize = 16;
/// Bytes of the issue mark at a token's end.
pub const ISSUE_LEN: usize = 16;
/// Bytes of a plaintext with neither meta, data nor bloat.
pub const PLAINTEXT_FIXED: usize = 16 + 32 + 4 + 8 + 8 + 2 + 2;

/// Everything that a token's plaintext holds, as bytes that need make no sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plaintext {
    /// Names the bucket.
    pub session_id: [u8; 16],
    /// Leads to every later token of the same bucket.
    pub handoff_key: [u8; 32],
    /// Counts the bucket's tokens.
    pub generation: u32,
    /// Milliseconds since 1970.
    pub issued_at: u64,
    /// Milliseconds since 1970.
    pub expires_at: u64,
    /// The engine's own map, in CBOR.
    pub meta: Vec<u8>,
    /// The application's map, in CBOR.
    pub data: Vec<u8>,
    /// Random filling up to the size class.
    pub bloat: Vec<u8>,
}

impl Plaintext {
    /// Lays it out as the format says.
    ///
    /// # Panics
    ///
    /// If `meta` or `data` is longer than 65,535 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let length = |part: &[u8]| u16::try_from(part.len()).expect("at most 65,535 bytes").to_be_bytes();
        [
            &self.session_id[..],
            &self.handoff_key,
            &self.generation.to_be_bytes(),
            &self.issued_at.to_be_bytes(),
            &self.expires_at.to_be_bytes(),
            &length(&self.meta),
            &self.meta,
            &length(&self.data),
            &self.data,
            &self.bloat,
        ]
        .concat()
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote; `None` if a length does not fit.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut take = |length: usize| {
            let (taken, left) = rest.split_at_checked(length)?;
            rest = left;
            Some(taken)
        };
        let session_id = take(16)?.try_into().ok()?;
        let handoff_key = take(32)?.try_into().ok()?;
        let generation = u32::from_be_bytes(take(4)?.try_into().ok()?);
        let issued_at = u64::from_be_bytes(take(8)?.try_into().ok()?);
        let expires_at = u64::from_be_bytes(take(8)?.try_into().ok()?);
        let length = u16::from_be_bytes(take(2)?.try_into().ok()?);
        let meta = take(usize::from(length))?.to_vec();
        let length = u16::from_be_bytes(take(2)?.try_into().ok()?);
        let data = take(usize::from(length))?.to_vec();
        Some(Self { session_id, handoff_key, generation, issued_at, expires_at, meta, data, bloat: rest.to_vec() })
    }
}

/// Derives a subkey from one configured key, by HKDF-SHA256.
///
/// # Panics
///
/// If `N` is above 8,160, the most that HKDF gives.
#[must_use]
pub fn derive<const N: usize>(key: &[u8; 32], info: &str) -> [u8; N] {
    expand(b"secure-sessions/v1", key, info.as_bytes())
}

fn expand<const N: usize>(salt: &[u8], input: &[u8], info: &[u8]) -> [u8; N] {
    let mut output = [0; N];
    Hkdf::<Sha256>::new(Some(salt), input).expand(info, &mut output).expect("a short output");
    output
}

/// Returns the bytes that name a key in every token.
#[must_use]
pub fn key_id(key: &[u8; 32]) -> [u8; 4] {
    derive(key, "key id")
}

/// Computes HMAC-SHA256.
///
/// # Panics
///
/// Never: HMAC takes a key of any length.
#[must_use]
pub fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
    let mut mac = <Hmac<Sha256> as KeyInit>::new_from_slice(key).expect("any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// Seals by XChaCha20-Poly1305; returns ciphertext and tag.
///
/// # Panics
///
/// If the plaintext is longer than 256 GiB.
#[must_use]
pub fn seal(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut sealed = plaintext.to_vec();
    let aead = XChaCha20Poly1305::new(key.into());
    let tag = aead.encrypt_inout_detached(nonce.into(), aad, sealed.as_mut_slice().into()).expect("short");
    sealed.extend_from_slice(&tag);
    sealed
}

/// Opens what [`seal`] sealed; `None` if anything of it differs.
#[must_use]
pub fn open(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (ciphertext, tag) = sealed.split_last_chunk::<TAG_LEN>()?;
    let mut plaintext = ciphertext.to_vec();
    let aead = XChaCha20Poly1305::new(key.into());
    aead.decrypt_inout_detached(nonce.into(), aad, plaintext.as_mut_slice().into(), tag.into()).ok()?;
    Some(plaintext)
}

fn with_length(context: &str) -> Vec<u8> {
    let length = u16::try_from(context.len()).expect("at most 65,535 bytes").to_be_bytes();
    [&length, context.as_bytes()].concat()
}

fn associated_data(header: &[u8], context: &str) -> Vec<u8> {
    [b"secure-sessions/v1/token", header, &with_length(context)].concat()
}

/// Makes a token without its issue mark: a seal key alone suffices.
///
/// # Panics
///
/// If the context is longer than 65,535 bytes, as everywhere here.
#[must_use]
pub fn unmarked(
    seal_key: &[u8; 32],
    fingerprint_key_id: [u8; 4],
    context: &str,
    nonce: &[u8; 24],
    plaintext: &[u8],
) -> Vec<u8> {
    let header = [&[VERSION][..], &key_id(seal_key), &fingerprint_key_id].concat();
    let sealed = seal(&derive(seal_key, "seal"), nonce, &associated_data(&header, context), plaintext);
    [&header[..], nonce, &sealed].concat()
}

/// Derives the key that marks, which takes both keys.
#[must_use]
pub fn mark_key(seal_key: &[u8; 32], fingerprint_key: &[u8; 32]) -> [u8; 32] {
    let (salt, input): ([u8; 32], [u8; 32]) = (derive(seal_key, "mark"), derive(fingerprint_key, "fingerprint"));
    expand(&salt, &input, b"secure-sessions/v1/mark")
}

/// Computes issue mark and fingerprint under any mark key.
///
/// # Panics
///
/// See [`unmarked`].
#[must_use]
pub fn mark_under(mark_key: &[u8; 32], context: &str, unmarked: &[u8]) -> ([u8; 16], [u8; 16]) {
    let message = [b"secure-sessions/v1/fingerprint", &[0][..], &with_length(context), unmarked].concat();
    let mac = hmac(mark_key, &message);
    (mac[..ISSUE_LEN].try_into().expect("half"), mac[ISSUE_LEN..].try_into().expect("half"))
}

/// Computes issue mark and fingerprint, which takes both keys.
///
/// # Panics
///
/// See [`unmarked`].
#[must_use]
pub fn mark(seal_key: &[u8; 32], fingerprint_key: &[u8; 32], context: &str, unmarked: &[u8]) -> ([u8; 16], [u8; 16]) {
    mark_under(&mark_key(seal_key, fingerprint_key), context, unmarked)
}

/// Makes a whole token and its fingerprint, which takes both keys.
///
/// # Panics
///
/// See [`unmarked`].
#[must_use]
pub fn token(
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

/// Opens a token with a stolen seal key, and reads its plaintext; see [`unseal`].
///
/// # Panics
///
/// See [`unmarked`].
#[must_use]
pub fn read(seal_key: &[u8; 32], context: &str, token: &[u8]) -> Option<Plaintext> {
    Plaintext::parse(&unseal(seal_key, context, token)?)
}

/// Opens a token with a stolen seal key, whatever its issue mark. `None` if it is too short, another key sealed it, or it
/// was altered.
///
/// # Panics
///
/// See [`unmarked`].
#[must_use]
pub fn unseal(seal_key: &[u8; 32], context: &str, token: &[u8]) -> Option<Vec<u8>> {
    let (unmarked, _) = token.split_last_chunk::<ISSUE_LEN>()?;
    let (header, rest) = unmarked.split_at_checked(HEADER_LEN)?;
    let (nonce, sealed) = rest.split_first_chunk()?;
    open(&derive(seal_key, "seal"), nonce, &associated_data(header, context), sealed)
}

/// Computes a subject's tag, which takes the fingerprint key.
///
/// # Panics
///
/// See [`unmarked`].
#[must_use]
pub fn subject_tag(fingerprint_key: &[u8; 32], context: &str, subject: &str) -> [u8; 16] {
    let mac = hmac(&derive(fingerprint_key, "subject"), &[&with_length(context), subject.as_bytes()].concat());
    *mac.first_chunk().expect("half")
}

/// Computes the digest of a session at an identity provider.
///
/// # Panics
///
/// If the issuer is longer than 65,535 bytes.
#[must_use]
pub fn provider_session(issuer: &str, sid: &str) -> [u8; 16] {
    let message = [b"secure-sessions/v1/provider session", &with_length(issuer)[..], sid.as_bytes()].concat();
    *Sha256::digest(message).first_chunk().expect("half")
}

/// Computes the tag of a session at an identity provider, which takes the fingerprint key.
///
/// # Panics
///
/// See [`unmarked`].
#[must_use]
pub fn group_tag(fingerprint_key: &[u8; 32], context: &str, provider_session: &[u8; 16]) -> [u8; 16] {
    let mac = hmac(&derive(fingerprint_key, "group"), &[&with_length(context), &provider_session[..]].concat());
    *mac.first_chunk().expect("half")
}

/// Makes the meta map of a session of this subject, with nothing else in it; see [`meta`].
///
/// # Panics
///
/// If the subject is longer than 255 bytes.
#[must_use]
pub fn meta_of(fingerprint_key: &[u8; 32], context: &str, subject: &str) -> Vec<u8> {
    meta(subject, &subject_tag(fingerprint_key, context, subject))
}

/// Makes the meta map `{1: subject, 11: tag}`, in CBOR.
///
/// # Panics
///
/// If the subject is longer than 255 bytes.
#[must_use]
pub fn meta(subject: &str, tag: &[u8; 16]) -> Vec<u8> {
    let length = u8::try_from(subject.len()).expect("at most 255 bytes");
    [&[0xa2, 0x01, 0x78, length], subject.as_bytes(), &[0x0b, 0x50], tag].concat()
}

/// Seals a token as a bucket's handoff, which takes a seal key and the session's handoff key.
///
/// # Panics
///
/// See [`unmarked`].
#[must_use]
pub fn handoff(
    seal_key: &[u8; 32],
    context: &str,
    session_id: &[u8; 16],
    handoff_key: &[u8; 32],
    nonce: &[u8; 24],
    successor: &[u8],
) -> Vec<u8> {
    let key = handoff_cipher_key(seal_key, context, session_id, handoff_key);
    [&key_id(seal_key)[..], nonce, &keystream(&key, nonce, 0, successor)].concat()
}

/// Tries to open a bucket's handoff. Wrong keys give no token, which is `None`.
///
/// # Panics
///
/// See [`unmarked`].
#[must_use]
pub fn open_handoff(
    seal_key: &[u8; 32],
    context: &str,
    session_id: &[u8; 16],
    handoff_key: &[u8; 32],
    handoff: &[u8],
) -> Option<Vec<u8>> {
    let (_, rest) = handoff.split_first_chunk::<4>()?;
    let (nonce, sealed) = rest.split_first_chunk()?;
    let key = handoff_cipher_key(seal_key, context, session_id, handoff_key);
    let token = keystream(&key, nonce, 0, sealed);
    token.strip_prefix(&[VERSION])?.starts_with(&key_id(seal_key)).then_some(token)
}

fn handoff_cipher_key(seal_key: &[u8; 32], context: &str, session_id: &[u8; 16], handoff_key: &[u8; 32]) -> [u8; 32] {
    let message = [b"secure-sessions/v1/handoff", &[1][..], session_id, &with_length(context), handoff_key].concat();
    hmac(&derive(seal_key, "handoff"), &message)
}

/// Applies the XChaCha20 keystream, from the given block of 64 bytes on.
#[must_use]
pub fn keystream(key: &[u8; 32], nonce: &[u8; 24], block: u32, text: &[u8]) -> Vec<u8> {
    let mut output = text.to_vec();
    let mut cipher = <XChaCha20 as KeyIvInit>::new(key.into(), nonce.into());
    cipher.seek(u64::from(block) * 64);
    cipher.apply_keystream(&mut output);
    output
}

/// Expands a seed to bloat: the ChaCha20 keystream under a nonce of zeros.
#[must_use]
pub fn bloat(seed: &[u8; 32], length: usize) -> Vec<u8> {
    let mut output = vec![0; length];
    <ChaCha20 as KeyIvInit>::new(seed.into(), &[0; 12].into()).apply_keystream(&mut output);
    output
}

/// Encodes as base64url without padding (RFC 4648, section 5), bit by bit.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bit = |at: usize| bytes.get(at / 8).map_or(0, |byte| byte >> (7 - at % 8) & 1);
    (0..bytes.len() * 8)
        .step_by(6)
        .map(|at| char::from(ALPHABET[usize::from((at..at + 6).fold(0, |index, at| index << 1 | bit(at)))]))
        .collect()
}
