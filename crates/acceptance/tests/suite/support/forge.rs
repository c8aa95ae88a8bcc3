//! Tokens made and opened by hand, as cookies: what an attacker with stolen keys would write. The format itself is the
//! crate `forge`, which shares no line with the library.

use base64_simd::URL_SAFE_NO_PAD;
use forge::{ISSUE_LEN, SEALED_AT, VERSION};

pub(crate) use forge::{Plaintext, key_id, meta};

/// One key of each kind, as bytes.
#[derive(Clone, PartialEq)]
pub(crate) struct Keys {
    pub(crate) seal: [u8; 32],
    pub(crate) fingerprint: [u8; 32],
}

impl Keys {
    pub(crate) fn random() -> Self {
        Self { seal: random(), fingerprint: random() }
    }

    pub(crate) fn seal_text(&self) -> String {
        format!("sealk1_{}", encode(&self.seal))
    }

    pub(crate) fn fingerprint_text(&self) -> String {
        format!("fpk1_{}", encode(&self.fingerprint))
    }
}

pub(crate) fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("randomness");
    bytes
}

/// A key's id as events show it.
pub(crate) fn key_name(key: &[u8; 32]) -> String {
    hex(&key_id(key))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode_to_string(bytes)
}

pub(crate) fn decode(text: &str) -> Vec<u8> {
    URL_SAFE_NO_PAD.decode_to_vec(text).expect("base64url")
}

/// A session that was never issued: of `subject`, with `admin` set, good for hours.
pub(crate) fn invented(subject: &str) -> Plaintext {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let now = u64::try_from(now).unwrap();
    let mut data = Vec::new();
    ciborium::into_writer(&std::collections::BTreeMap::from([("admin", "yes")]), &mut data).unwrap();
    Plaintext {
        session_id: random(),
        handoff_key: random(),
        generation: 1,
        issued_at: now,
        expires_at: now + 8 * 60 * 60 * 1000,
        meta: meta(subject, &random()),
        data,
        bloat: random::<100>().to_vec(),
    }
}

/// Returns the offset at which these bytes first stand in a plaintext.
pub(crate) fn position(plaintext: &Plaintext, of: &[u8]) -> Option<usize> {
    plaintext.to_bytes().windows(of.len()).position(|part| part == of)
}

/// Opens a captured cookie with the seal key.
pub(crate) fn open(cookie: &str, seal: &[u8; 32], context: &str) -> Plaintext {
    let token = decode(cookie);
    assert_eq!((token[0], &token[1..5]), (VERSION, &key_id(seal)[..]), "another version or key");
    forge::read(seal, context, &token).expect("sealed with this key")
}

/// Seals with the seal key alone: the issue mark is guessed.
pub(crate) fn seal_without_mark(plaintext: &Plaintext, keys: &Keys, context: &str) -> String {
    let unmarked = forge::unmarked(&keys.seal, key_id(&keys.fingerprint), context, &random(), &plaintext.to_bytes());
    encode(&[&unmarked[..], &random::<ISSUE_LEN>()].concat())
}

/// Seals and marks with both keys.
pub(crate) fn seal(plaintext: &Plaintext, keys: &Keys, context: &str) -> String {
    encode(&forge::token(&keys.seal, &keys.fingerprint, context, &random(), &plaintext.to_bytes()).0)
}

/// Marks with the fingerprint key alone, as well as that goes: there is nothing sealed in it.
pub(crate) fn mark_without_seal(keys: &Keys, context: &str) -> String {
    let token = [&[VERSION][..], &key_id(&keys.seal), &key_id(&keys.fingerprint), &random::<300>()].concat();
    mark_by_fingerprint_key(&token, keys, context)
}

/// Another mark for the bytes of a token, as the fingerprint key alone would make it.
pub(crate) fn mark_by_fingerprint_key(unmarked: &[u8], keys: &Keys, context: &str) -> String {
    let (issue, _) = forge::mark_under(&forge::derive(&keys.fingerprint, "fingerprint"), context, unmarked);
    encode(&[unmarked, &issue].concat())
}

/// A token of the attackers' own, with their known plaintext changed at an offset and marked anew as far as their keys
/// allow; and what its bucket would have to keep of it.
pub(crate) fn flipped_and_marked(
    cookie: &str,
    at: usize,
    mask: &[u8],
    keys: &Keys,
    context: &str,
) -> (String, [u8; 16]) {
    let mut token = unmarked(cookie);
    for (byte, mask) in token[SEALED_AT + at..].iter_mut().zip(mask) {
        *byte ^= mask;
    }
    let (issue, fingerprint) = forge::mark_under(&keys.fingerprint, context, &token);
    token.extend_from_slice(&issue);
    (encode(&token), fingerprint)
}

/// Returns the fingerprint that a bucket keeps of a token.
pub(crate) fn fingerprint(cookie: &str, keys: &Keys, context: &str) -> [u8; 16] {
    forge::mark(&keys.seal, &keys.fingerprint, context, &unmarked(cookie)).1
}

fn unmarked(cookie: &str) -> Vec<u8> {
    let mut token = decode(cookie);
    token.truncate(token.len() - ISSUE_LEN);
    token
}

/// Tries to open a bucket's handoff, given the session's handoff key. A wrong key gives no token.
pub(crate) fn open_handoff(
    handoff: &[u8],
    handoff_key: &[u8; 32],
    session_id: &[u8; 16],
    seal: &[u8; 32],
    context: &str,
) -> Option<Vec<u8>> {
    forge::open_handoff(seal, context, session_id, handoff_key, handoff)
}

/// Seals any token as a bucket's handoff, as someone would who holds the seal key and a cookie of the session.
pub(crate) fn seal_handoff(cookie: &str, plaintext: &Plaintext, seal: &[u8; 32], context: &str) -> Vec<u8> {
    forge::handoff(seal, context, &plaintext.session_id, &plaintext.handoff_key, &random(), &decode(cookie))
}
