//! The token format, read and written without the library: for the anatomy of a cookie that the pages show, and for the
//! lab's forger. It holds a seal key and no fingerprint key, as a thief of the seal key would.

use base64_simd::URL_SAFE_NO_PAD;
use ciborium::Value;
use forge::{ISSUE_LEN, PLAINTEXT_FIXED, Plaintext, SEALED_AT, TAG_LEN, VERSION};

const KEY_ID: usize = 4;
const OVERHEAD: usize = SEALED_AT + TAG_LEN + ISSUE_LEN;
const SIZE_STEP: usize = 128;
const MIN_BLOAT: usize = 32;

/// The reason why a text or a token was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Not `sealk1_` and 43 characters of base64url.
    #[error("not a seal key")]
    Key,
    /// Not base64url, too short, or of another version.
    #[error("not a token of version 1")]
    Token,
    /// Sealed with another key, or altered.
    #[error("the seal does not open")]
    Seal,
    /// Opened, but its content is not laid out as the format says.
    #[error("the content is malformed")]
    Content,
    /// The system has no randomness.
    #[error("no randomness")]
    Random,
}

/// A seal key, in whoever’s hands: it opens every cookie that it sees, and seals what it likes.
#[derive(Clone)]
pub struct SealKey([u8; 32]);

/// The parts of a token that everybody can see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outline {
    /// The first byte.
    pub version: u8,
    /// Names the key that sealed it.
    pub seal_key_id: [u8; KEY_ID],
    /// Names the key that marked it.
    pub fingerprint_key_id: [u8; KEY_ID],
    /// Bytes of the whole token.
    pub length: usize,
    /// Bytes of its ciphertext.
    pub ciphertext: usize,
}

/// The contents of a token, once its seal is open.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
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
    /// The engine's own entries: a CBOR map.
    pub meta: Value,
    /// The application's data: a CBOR map.
    pub data: Value,
}

/// The lengths of a plaintext's parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lengths {
    /// Ids, handoff key, generation, times and lengths.
    pub fixed: usize,
    /// The engine's own entries.
    pub meta: usize,
    /// The application's data.
    pub data: usize,
    /// Random filling.
    pub bloat: usize,
    /// Each key of the data, with the bytes of key and value together.
    pub keys: Vec<(String, usize)>,
}

/// Key number of the subject in the engine's own entries.
pub const META_SUBJECT: u8 = 1;
/// Key number of the time of authentication.
pub const META_AUTHENTICATED_AT: u8 = 2;

impl Outline {
    /// Reads what stands in the open, from a cookie's value.
    ///
    /// # Errors
    ///
    /// [`FormatError::Token`].
    pub fn of(value: &str) -> Result<Self, FormatError> {
        let token = decode(value)?;
        Ok(Self {
            version: token[0],
            seal_key_id: array(&token, 1)?,
            fingerprint_key_id: array(&token, 1 + KEY_ID)?,
            length: token.len(),
            ciphertext: token.len() - OVERHEAD,
        })
    }
}

impl SealKey {
    /// Reads a seal key's text.
    ///
    /// # Errors
    ///
    /// [`FormatError::Key`].
    pub fn from_text(text: &str) -> Result<Self, FormatError> {
        let encoded = text.strip_prefix("sealk1_").ok_or(FormatError::Key)?;
        let key = URL_SAFE_NO_PAD.decode_to_vec(encoded).map_err(|_| FormatError::Key)?;
        key.try_into().map(Self).map_err(|_| FormatError::Key)
    }

    /// The key's public id.
    #[must_use]
    pub fn id(&self) -> [u8; KEY_ID] {
        forge::key_id(&self.0)
    }

    /// Reads a cookie of the given name that this key sealed.
    ///
    /// # Errors
    ///
    /// [`FormatError`] says how far it got.
    pub fn open(&self, cookie_name: &str, value: &str) -> Result<(Content, Lengths), FormatError> {
        let token = decode(value)?;
        let plaintext = forge::unseal(&self.0, cookie_name, &token).ok_or(FormatError::Seal)?;
        Content::read(&Plaintext::parse(&plaintext).ok_or(FormatError::Content)?)
    }

    /// Seals any content at all into a cookie's value. Only the issue mark is beyond this key: it takes an HMAC under
    /// a key made of this one and the fingerprint key, so the caller hands in 16 bytes that they hope for.
    ///
    /// # Errors
    ///
    /// [`FormatError::Random`].
    pub fn seal(
        &self,
        cookie_name: &str,
        fingerprint_key_id: [u8; KEY_ID],
        content: &Content,
        issue_mark: [u8; ISSUE_LEN],
    ) -> Result<String, FormatError> {
        let plaintext = content.to_plaintext()?.to_bytes();
        let unmarked = forge::unmarked(&self.0, fingerprint_key_id, cookie_name, &random()?, &plaintext);
        Ok(encode(&[&unmarked[..], &issue_mark].concat()))
    }
}

impl Content {
    fn read(plaintext: &Plaintext) -> Result<(Self, Lengths), FormatError> {
        let read = |bytes: &[u8]| ciborium::from_reader::<Value, _>(bytes).map_err(|_| FormatError::Content);
        let content = Self {
            session_id: plaintext.session_id,
            handoff_key: plaintext.handoff_key,
            generation: plaintext.generation,
            issued_at: plaintext.issued_at,
            expires_at: plaintext.expires_at,
            meta: read(&plaintext.meta)?,
            data: read(&plaintext.data)?,
        };
        let mut keys = Vec::new();
        for (key, value) in content.data.as_map().into_iter().flatten() {
            let name = key.as_text().unwrap_or_default().to_owned();
            keys.push((name, to_cbor(key)?.len() + to_cbor(value)?.len()));
        }
        let lengths = Lengths {
            fixed: PLAINTEXT_FIXED,
            meta: plaintext.meta.len(),
            data: plaintext.data.len(),
            bloat: plaintext.bloat.len(),
            keys,
        };
        Ok((content, lengths))
    }

    fn to_plaintext(&self) -> Result<Plaintext, FormatError> {
        let (meta, data) = (to_cbor(&self.meta)?, to_cbor(&self.data)?);
        if [&meta, &data].iter().any(|map| map.len() > usize::from(u16::MAX)) {
            return Err(FormatError::Content);
        }
        let filled = PLAINTEXT_FIXED + meta.len() + data.len();
        let mut bloat = vec![0; (filled + MIN_BLOAT).next_multiple_of(SIZE_STEP) - filled];
        getrandom::fill(&mut bloat).map_err(|_| FormatError::Random)?;
        let Self { session_id, handoff_key, generation, issued_at, expires_at, .. } = *self;
        Ok(Plaintext { session_id, handoff_key, generation, issued_at, expires_at, meta, data, bloat })
    }
}

/// A token's bytes, from a cookie's value.
///
/// # Errors
///
/// [`FormatError::Token`].
pub fn decode(value: &str) -> Result<Vec<u8>, FormatError> {
    let token = URL_SAFE_NO_PAD.decode_to_vec(value).map_err(|_| FormatError::Token)?;
    let shortest = OVERHEAD + PLAINTEXT_FIXED + MIN_BLOAT;
    if token.len() >= shortest && token[0] == VERSION { Ok(token) } else { Err(FormatError::Token) }
}

/// A cookie's value, from a token's bytes.
#[must_use]
pub fn encode(token: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode_to_string(token)
}

/// Fresh random bytes.
///
/// # Errors
///
/// [`FormatError::Random`].
pub fn random<const N: usize>() -> Result<[u8; N], FormatError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| FormatError::Random)?;
    Ok(bytes)
}

fn to_cbor(value: &Value) -> Result<Vec<u8>, FormatError> {
    let mut bytes = Vec::new();
    ciborium::into_writer(value, &mut bytes).map_err(|_| FormatError::Content)?;
    Ok(bytes)
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], FormatError> {
    bytes.get(at..).and_then(|rest| rest.first_chunk()).copied().ok_or(FormatError::Content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content() -> Content {
        Content {
            session_id: [1; 16],
            handoff_key: [2; 32],
            generation: 3,
            issued_at: 4,
            expires_at: 5,
            meta: Value::Map(vec![(Value::from(META_SUBJECT), Value::from("alice"))]),
            data: Value::Map(vec![(Value::from("role"), Value::from("admin"))]),
        }
    }

    #[test]
    fn what_is_sealed_opens_again_and_says_how_its_bytes_are_spent() {
        let key = SealKey::from_text("sealk1_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").expect("a key");
        let value = key.seal("demo", [9; 4], &content(), [0; 16]).expect("sealed");
        let (opened, lengths) = key.open("demo", &value).expect("its own");
        assert_eq!(opened, content());
        assert_eq!(lengths.keys, [("role".to_owned(), 11)]);
        assert_eq!(lengths.fixed + lengths.meta + lengths.data + lengths.bloat, 128);

        let outline = Outline::of(&value).expect("a token");
        assert_eq!((outline.seal_key_id, outline.fingerprint_key_id), (key.id(), [9; 4]));
        assert_eq!((outline.length, outline.ciphertext), (128 + OVERHEAD, 128));
    }

    #[test]
    fn another_name_key_or_byte_does_not_open() {
        let key = SealKey::from_text("sealk1_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").expect("a key");
        let other = SealKey::from_text("sealk1_AQECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").expect("a key");
        let value = key.seal("demo", [9; 4], &content(), [0; 16]).expect("sealed");
        assert_eq!(key.open("other", &value), Err(FormatError::Seal));
        assert_eq!(other.open("demo", &value), Err(FormatError::Seal));
        let mut token = decode(&value).expect("a token");
        token[SEALED_AT] ^= 1;
        assert_eq!(key.open("demo", &encode(&token)), Err(FormatError::Seal));
        assert_eq!(key.open("demo", "c2hvcnQ"), Err(FormatError::Token));
        assert!(SealKey::from_text("fpk1_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").is_err());
    }
}
