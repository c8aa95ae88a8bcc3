//! Tokens made and opened by hand, with nothing but the published primitives and the format's description. What an
//! attacker with stolen keys would write.

use base64_simd::URL_SAFE_NO_PAD;
use chacha20::XChaCha20;
use chacha20::cipher::{KeyIvInit as _, StreamCipher};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hkdf::Hkdf;
use hmac::{Hmac, Mac};
use sha2::Sha256;

const SALT: &[u8] = b"secure-sessions/v1";
/// Version, both key ids and the nonce.
const HEADER: usize = 1 + 4 + 4 + 24;
/// The issue mark at the end.
const ISSUE: usize = 16;

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

fn expand<const N: usize>(salt: &[u8], key: &[u8], info: &[u8]) -> [u8; N] {
    let mut output = [0; N];
    Hkdf::<Sha256>::new(Some(salt), key).expand(info, &mut output).expect("a short output");
    output
}

/// The 4 bytes that name a key.
pub(crate) fn key_id(key: &[u8; 32]) -> [u8; 4] {
    expand(SALT, key, b"key id")
}

/// What a token says.
#[derive(Debug, Clone, PartialEq)]
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
    /// Of a session that was never issued: of `subject`, with `admin` set, good for hours.
    pub(crate) fn invented(subject: &str) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
        let now = u64::try_from(now).unwrap();
        let mut data = Vec::new();
        ciborium::into_writer(&std::collections::BTreeMap::from([("admin", "yes")]), &mut data).unwrap();
        Self {
            session_id: random(),
            handoff_key: random(),
            generation: 1,
            issued_at: now,
            expires_at: now + 8 * 60 * 60 * 1000,
            meta: meta_of(subject, &random()),
            data,
            bloat: random::<100>().to_vec(),
        }
    }

    /// The application's data.
    pub(crate) fn data(&self) -> ciborium::Value {
        ciborium::from_reader(self.data.as_slice()).expect("CBOR")
    }

    /// Where these bytes first stand in the plaintext.
    pub(crate) fn position(&self, of: &[u8]) -> Option<usize> {
        self.to_bytes().windows(of.len()).position(|part| part == of)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let length = |bytes: &[u8]| u16::try_from(bytes.len()).unwrap().to_be_bytes();
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

    fn from_bytes(bytes: &[u8]) -> Self {
        let mut rest = bytes;
        let mut take = |n: usize| {
            let (taken, left) = rest.split_at(n);
            rest = left;
            taken
        };
        let mut plaintext = Self {
            session_id: take(16).try_into().unwrap(),
            handoff_key: take(32).try_into().unwrap(),
            generation: u32::from_be_bytes(take(4).try_into().unwrap()),
            issued_at: u64::from_be_bytes(take(8).try_into().unwrap()),
            expires_at: u64::from_be_bytes(take(8).try_into().unwrap()),
            meta: Vec::new(),
            data: Vec::new(),
            bloat: Vec::new(),
        };
        let length = u16::from_be_bytes(take(2).try_into().unwrap());
        plaintext.meta = take(usize::from(length)).to_vec();
        let length = u16::from_be_bytes(take(2).try_into().unwrap());
        plaintext.data = take(usize::from(length)).to_vec();
        plaintext.bloat = rest.to_vec();
        plaintext
    }
}

/// The engine's own map: `{1: subject, 11: its tag}`.
pub(crate) fn meta_of(subject: &str, tag: &[u8; 16]) -> Vec<u8> {
    let entries = [(1.into(), subject.into()), (11.into(), ciborium::Value::Bytes(tag.to_vec()))];
    let mut meta = Vec::new();
    ciborium::into_writer(&ciborium::Value::Map(entries.into()), &mut meta).unwrap();
    meta
}

fn associated_data(header: &[u8], context: &str) -> Vec<u8> {
    let length = u16::try_from(context.len()).unwrap().to_be_bytes();
    [b"secure-sessions/v1/token", header, &length, context.as_bytes()].concat()
}

/// Opens a captured cookie with the seal key.
pub(crate) fn open(cookie: &str, seal: &[u8; 32], context: &str) -> Plaintext {
    let token = decode(cookie);
    assert_eq!((token[0], &token[1..5]), (1, &key_id(seal)[..]), "another version or key");
    let cipher = XChaCha20Poly1305::new(&expand::<32>(SALT, seal, b"seal").into());
    let nonce = XNonce::try_from(&token[9..HEADER]).unwrap();
    let payload = Payload { msg: &token[HEADER..token.len() - ISSUE], aad: &associated_data(&token[..9], context) };
    Plaintext::from_bytes(&cipher.decrypt(&nonce, payload).expect("sealed with this key"))
}

/// Seals with the seal key alone: the issue mark is guessed.
pub(crate) fn seal_without_mark(plaintext: &Plaintext, keys: &Keys, context: &str) -> String {
    let mut token = sealed(plaintext, keys, context);
    token.extend_from_slice(&random::<ISSUE>());
    encode(&token)
}

/// Seals and marks with both keys.
pub(crate) fn seal(plaintext: &Plaintext, keys: &Keys, context: &str) -> String {
    let mut token = sealed(plaintext, keys, context);
    let mac = mac(&token, &mark_key(keys), context);
    token.extend_from_slice(&mac[..ISSUE]);
    encode(&token)
}

/// Marks with the fingerprint key alone, as well as that goes: there is nothing sealed in it.
pub(crate) fn mark_without_seal(keys: &Keys, context: &str) -> String {
    let token = [&[1][..], &key_id(&keys.seal), &key_id(&keys.fingerprint), &random::<300>()].concat();
    mark_by_fingerprint_key(&token, keys, context)
}

/// Another mark for the bytes of a token, as the fingerprint key alone would make it.
pub(crate) fn mark_by_fingerprint_key(unmarked: &[u8], keys: &Keys, context: &str) -> String {
    let mac = mac(unmarked, &expand(SALT, &keys.fingerprint, b"fingerprint"), context);
    let mut token = unmarked.to_vec();
    token.extend_from_slice(&mac[..ISSUE]);
    encode(&token)
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
    let mut token = decode(cookie);
    token.truncate(token.len() - ISSUE);
    for (byte, mask) in token[HEADER + at..].iter_mut().zip(mask) {
        *byte ^= mask;
    }
    let mac = mac(&token, &keys.fingerprint, context);
    token.extend_from_slice(&mac[..ISSUE]);
    (encode(&token), mac[ISSUE..].try_into().unwrap())
}

/// What a bucket keeps of a token.
pub(crate) fn fingerprint(cookie: &str, keys: &Keys, context: &str) -> [u8; 16] {
    let token = decode(cookie);
    mac(&token[..token.len() - ISSUE], &mark_key(keys), context)[ISSUE..].try_into().unwrap()
}

/// The key that marks, from one of each kind.
fn mark_key(keys: &Keys) -> [u8; 32] {
    let (salt, input): ([u8; 32], [u8; 32]) =
        (expand(SALT, &keys.seal, b"mark"), expand(SALT, &keys.fingerprint, b"fingerprint"));
    expand(&salt, &input, b"secure-sessions/v1/mark")
}

fn sealed(plaintext: &Plaintext, keys: &Keys, context: &str) -> Vec<u8> {
    let mut token = [&[1][..], &key_id(&keys.seal), &key_id(&keys.fingerprint)].concat();
    let nonce: [u8; 24] = random();
    let cipher = XChaCha20Poly1305::new(&expand::<32>(SALT, &keys.seal, b"seal").into());
    let payload = Payload { msg: &plaintext.to_bytes(), aad: &associated_data(&token, context) };
    let ciphertext = cipher.encrypt(&nonce.into(), payload).expect("short");
    token.extend_from_slice(&nonce);
    token.extend_from_slice(&ciphertext);
    token
}

fn mac(token: &[u8], mark_key: &[u8; 32], context: &str) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(mark_key).unwrap();
    mac.update(b"secure-sessions/v1/fingerprint\0");
    mac.update(&u16::try_from(context.len()).unwrap().to_be_bytes());
    mac.update(context.as_bytes());
    mac.update(token);
    mac.finalize().into_bytes().into()
}

/// Tries to open a bucket's handoff, given the session's handoff key. A wrong key gives no token.
pub(crate) fn open_handoff(
    handoff: &[u8],
    handoff_key: &[u8; 32],
    session_id: &[u8; 16],
    seal: &[u8; 32],
    context: &str,
) -> Option<Vec<u8>> {
    let mut token = handoff[28..].to_vec();
    let nonce = handoff[4..28].try_into().unwrap();
    handoff_cipher(handoff_key, session_id, seal, context, nonce).apply_keystream(&mut token);
    (token[0] == 1 && token[1..5] == key_id(seal)).then_some(token)
}

/// Seals any token as a bucket's handoff, as someone would who holds the seal key and a cookie of the session.
pub(crate) fn seal_handoff(cookie: &str, plaintext: &Plaintext, seal: &[u8; 32], context: &str) -> Vec<u8> {
    let (nonce, mut token): ([u8; 24], _) = (random(), decode(cookie));
    handoff_cipher(&plaintext.handoff_key, &plaintext.session_id, seal, context, &nonce).apply_keystream(&mut token);
    [&key_id(seal)[..], &nonce, &token].concat()
}

fn handoff_cipher(
    handoff_key: &[u8; 32],
    session_id: &[u8; 16],
    seal: &[u8; 32],
    context: &str,
    nonce: &[u8; 24],
) -> XChaCha20 {
    let mut mac = Hmac::<Sha256>::new_from_slice(&expand::<32>(SALT, seal, b"handoff")).unwrap();
    let length = u16::try_from(context.len()).unwrap().to_be_bytes();
    for part in [b"secure-sessions/v1/handoff\x01", &session_id[..], &length, context.as_bytes(), handoff_key] {
        mac.update(part);
    }
    XChaCha20::new(&mac.finalize().into_bytes(), nonce.into())
}
