//! The part of the vault that a token holds: under each key, the secret of a blob and the length of the value in it.

use core::fmt;

use ciborium_ll::Header;
use rand_core::TryCryptoRng;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use crate::cbor::{self, CborError};
use crate::format::{
    INFO_VAULT_ID, INFO_VAULT_KEY, INFO_VAULT_OWNER, KEY_LEN, MAX_KEY_LEN, MAX_VAULT_LEN, MAX_VAULT_VALUE_LEN,
    MAX_VAULT_VALUES, REFERENCE_LEN, VAULT_SECRET_LEN,
};
use crate::ids::{BlobId, HandoffKey, RandomError, VaultId, random};
use crate::kdf::KeySchedule;

/// The reason why the vault does not take a value.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The value's encoding is longer than [`MAX_VAULT_VALUE_LEN`].
    #[error(
        "the value's encoding has {length} bytes, more than the {MAX_VAULT_VALUE_LEN} of one value in the vault; split it, or keep it in a database and its id in the session"
    )]
    ValueTooLarge {
        /// The length in bytes.
        length: usize,
    },
    /// All values of the session together are longer than [`MAX_VAULT_LEN`].
    #[error(
        "the session's values in the vault would have {length} bytes together, more than {MAX_VAULT_LEN}; remove one first"
    )]
    SessionTooLarge {
        /// The length in bytes that they would have.
        length: usize,
    },
    /// The session has more values than [`MAX_VAULT_VALUES`].
    #[error("the session has {MAX_VAULT_VALUES} values in the vault, and may not have more; remove one first")]
    TooManyValues,
    /// The key is longer than [`MAX_KEY_LEN`].
    #[error("the key has {length} bytes, more than the {MAX_KEY_LEN} that a session key may have")]
    KeyTooLong {
        /// The length in bytes.
        length: usize,
    },
    /// The source of randomness failed.
    #[error(transparent)]
    Random(#[from] RandomError),
}

/// A reference to a value in the vault: the secret that opens its blob, which only tokens hold, and the value's length.
///
/// The secret is drawn for one value and never used again, so that a blob never changes and its key encrypts once.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct Reference {
    secret: [u8; VAULT_SECRET_LEN],
    length: u16,
}

impl Reference {
    /// Draws a reference for a value of `length` encoded bytes.
    ///
    /// # Errors
    ///
    /// [`VaultError::ValueTooLarge`] if the value is too long; [`VaultError::Random`] if there is no randomness.
    pub fn draw(length: usize, rng: &mut (impl TryCryptoRng + ?Sized)) -> Result<Self, VaultError> {
        let length = u16::try_from(length).map_err(|_| VaultError::ValueTooLarge { length })?;
        Ok(Self { secret: random(rng)?, length })
    }

    /// Returns the name of the blob, which the store sees.
    #[must_use]
    pub fn blob_id(&self) -> BlobId {
        BlobId::from_bytes(KeySchedule::new(&self.secret).bytes(INFO_VAULT_ID))
    }

    /// Returns the length of the encoded value in bytes.
    #[must_use]
    pub fn value_len(&self) -> usize {
        self.length.into()
    }

    /// Derives all that it takes to find the blob, and to seal or open it.
    #[must_use]
    pub fn blob_key(&self) -> BlobKey {
        let schedule = KeySchedule::new(&self.secret);
        let (id, key) = (BlobId::from_bytes(schedule.bytes(INFO_VAULT_ID)), schedule.subkey(INFO_VAULT_KEY));
        BlobKey { id, key, value_len: self.value_len() }
    }
}

/// The name of one blob, the key that seals it once and opens it, and the length of the value in it.
pub struct BlobKey {
    pub(crate) id: BlobId,
    pub(crate) key: Zeroizing<[u8; KEY_LEN]>,
    pub(crate) value_len: usize,
}

impl BlobKey {
    /// Returns the name of the blob, which the store sees.
    #[must_use]
    pub fn id(&self) -> BlobId {
        self.id
    }
}

impl fmt::Debug for BlobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobKey").field("value_len", &self.value_len).finish_non_exhaustive()
    }
}

impl fmt::Debug for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reference").field("length", &self.length).finish_non_exhaustive()
    }
}

impl VaultId {
    /// Returns the name of the vault that a session begins under this handoff key.
    ///
    /// All requests of one bucket derive the same name, so that two of them that each write the session's first private
    /// value put it into the same vault. A renewal carries the name on; the store learns nothing of the key from it.
    #[must_use]
    pub fn of(handoff_key: &HandoffKey) -> Self {
        Self::from_bytes(KeySchedule::new(handoff_key.as_bytes()).bytes(INFO_VAULT_OWNER))
    }
}

/// A session's references, by ascending key.
#[derive(Clone, Default, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct References(Vec<Entry>);

#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
struct Entry {
    key: String,
    reference: Reference,
}

impl References {
    /// Returns `true` if there is no reference.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the reference under a key.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Reference> {
        self.find(key).ok().map(|at| &self.0[at].reference)
    }

    /// Returns keys and references, by ascending key.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Reference)> {
        self.0.iter().map(|entry| (entry.key.as_str(), &entry.reference))
    }

    /// Sets the reference of a key, within the limits of the format.
    ///
    /// # Errors
    ///
    /// [`VaultError`] names the limit that it would exceed; nothing is changed then.
    pub fn insert(&mut self, key: &str, reference: Reference) -> Result<(), VaultError> {
        if key.len() > MAX_KEY_LEN {
            return Err(VaultError::KeyTooLong { length: key.len() });
        }
        let place = self.find(key);
        let replaced = place.map_or(0, |at| self.0[at].reference.value_len());
        let length = self.value_len() - replaced + reference.value_len();
        if length > MAX_VAULT_LEN {
            return Err(VaultError::SessionTooLarge { length });
        }
        match place {
            Ok(at) => self.0[at].reference = reference,
            Err(_) if self.0.len() >= MAX_VAULT_VALUES => return Err(VaultError::TooManyValues),
            Err(at) => self.0.insert(at, Entry { key: key.to_owned(), reference }),
        }
        Ok(())
    }

    /// Removes the reference of a key. Returns `true` if there was one.
    pub fn remove(&mut self, key: &str) -> bool {
        let found = self.find(key);
        found.is_ok_and(|at| {
            self.0.remove(at);
            true
        })
    }

    /// Returns the length of all values together, in bytes.
    #[must_use]
    pub fn value_len(&self) -> usize {
        self.0.iter().map(|entry| entry.reference.value_len()).sum()
    }

    fn find(&self, key: &str) -> Result<usize, usize> {
        self.0.binary_search_by(|entry| entry.key.as_str().cmp(key))
    }

    pub(crate) fn encoded_len(&self) -> usize {
        let text = |key: &str| cbor::head_len(key.len() as u64) + key.len();
        cbor::head_len(self.0.len() as u64)
            + self.0.iter().map(|entry| text(&entry.key) + REFERENCE_HEAD_LEN + REFERENCE_LEN).sum::<usize>()
    }

    pub(crate) fn append_to(&self, output: &mut Vec<u8>) {
        cbor::push_head(output, Header::Map(Some(self.0.len())));
        for Entry { key, reference } in &self.0 {
            cbor::push_text(output, key);
            cbor::push_head(output, Header::Bytes(Some(REFERENCE_LEN)));
            output.extend_from_slice(&reference.secret);
            output.extend_from_slice(&reference.length.to_be_bytes());
        }
    }

    /// Takes one map off `input`: definite length, ascending text keys, within the limits.
    pub(crate) fn take(input: &mut &[u8]) -> Result<Self, CborError> {
        let Header::Map(Some(count @ 1..=MAX_VAULT_VALUES)) = cbor::head(input)? else {
            return Err(CborError::Malformed);
        };
        let mut references = Self(Vec::with_capacity(count));
        for _ in 0..count {
            let key = cbor::text(input)?;
            let ascends = references.0.last().is_none_or(|last| last.key.as_str() < key);
            if cbor::head(input)? != Header::Bytes(Some(REFERENCE_LEN)) || !ascends || key.len() > MAX_KEY_LEN {
                return Err(CborError::Malformed);
            }
            let (secret, length) = cbor::take(input, REFERENCE_LEN)?.split_at(VAULT_SECRET_LEN);
            let (Ok(secret), Ok(length)) = (secret.try_into(), length.try_into()) else {
                return Err(CborError::Malformed);
            };
            let reference = Reference { secret, length: u16::from_be_bytes(length) };
            references.0.push(Entry { key: key.to_owned(), reference });
        }
        if references.value_len() <= MAX_VAULT_LEN { Ok(references) } else { Err(CborError::Malformed) }
    }
}

/// Bytes of the head in front of a reference's bytes.
const REFERENCE_HEAD_LEN: usize = 2;
const _: () = assert!(REFERENCE_LEN >= 24 && REFERENCE_LEN < 256);

impl fmt::Debug for References {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("References").field("count", &self.0.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use getrandom::SysRng;

    use super::*;

    fn of(length: usize) -> Reference {
        Reference::draw(length, &mut SysRng).expect("within the limit")
    }

    fn written(references: &References) -> Vec<u8> {
        let mut bytes = Vec::new();
        references.append_to(&mut bytes);
        assert_eq!(bytes.len(), references.encoded_len());
        bytes
    }

    fn read(mut bytes: &[u8]) -> Result<References, CborError> {
        let references = References::take(&mut bytes)?;
        if bytes.is_empty() { Ok(references) } else { Err(CborError::Malformed) }
    }

    #[test]
    fn references_are_read_as_they_were_written_in_the_order_of_their_keys() {
        let mut references = References::default();
        for (key, length) in [("tokens", 9000), ("a", 1), ("m", MAX_VAULT_VALUE_LEN)] {
            references.insert(key, of(length)).expect("room");
        }
        assert_eq!(references.iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "m", "tokens"]);
        let bytes = written(&references);
        assert_eq!(read(&bytes), Ok(references.clone()));
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).is_err(), "{cut}");
        }
        assert!(references.remove("a") && !references.remove("a"));
        assert_eq!(references.value_len(), 9000 + MAX_VAULT_VALUE_LEN);
    }

    #[test]
    fn maps_that_we_would_not_write_are_malformed() {
        let entry = |key: &str| {
            [&[0x60 + u8::try_from(key.len()).expect("short")], key.as_bytes(), &[0x58, 34], &[7; 34]].concat()
        };
        for (name, bytes) in [
            ("empty", vec![0xa0]),
            ("descending", [&[0xa2][..], &entry("b"), &entry("a")].concat()),
            ("doubled", [&[0xa2][..], &entry("a"), &entry("a")].concat()),
            ("indefinite", [&[0xbf][..], &entry("a"), &[0xff]].concat()),
            ("short", [&[0xa1, 0x61, b'a', 0x58, 33][..], &[7; 33]].concat()),
            ("text", [&[0xa1, 0x61, b'a', 0x78, 34][..], &[b'x'; 34]].concat()),
        ] {
            assert!(read(&bytes).is_err(), "{name}");
        }
        assert!(read(&[&[0xa1][..], &entry("a")].concat()).is_ok());
    }

    #[test]
    fn what_exceeds_a_limit_of_references_is_refused_and_changes_nothing() {
        let refused = Reference::draw(MAX_VAULT_VALUE_LEN + 1, &mut SysRng);
        assert_eq!(refused, Err(VaultError::ValueTooLarge { length: MAX_VAULT_VALUE_LEN + 1 }));

        let mut references = References::default();
        for key in ["a", "b", "c", "d"] {
            references.insert(key, of(MAX_VAULT_VALUE_LEN)).expect("four of the largest fit");
        }
        let before = references.clone();
        let length = 4 * MAX_VAULT_VALUE_LEN + 5;
        assert_eq!(references.insert("e", of(5)), Err(VaultError::SessionTooLarge { length }));
        assert_eq!(references, before);
        references.insert("d", of(5)).expect("replaced by a smaller one");

        let mut many = References::default();
        for number in 0..MAX_VAULT_VALUES {
            many.insert(&number.to_string(), of(1)).expect("room");
        }
        assert_eq!(read(&written(&many)), Ok(many.clone()));
        assert_eq!(many.insert("more", of(1)), Err(VaultError::TooManyValues));
        many.insert("0", of(2)).expect("another value of the same key");
        let long = "x".repeat(MAX_KEY_LEN + 1);
        assert_eq!(many.insert(&long, of(1)), Err(VaultError::KeyTooLong { length: MAX_KEY_LEN + 1 }));
    }

    #[test]
    fn debug_shows_no_secret_and_no_key() {
        let mut references = References::default();
        let reference = Reference { secret: [0xab; 32], length: 7 };
        references.insert("name", reference.clone()).expect("room");
        let shown = format!("{reference:?} {references:?} {:?}", reference.blob_id());
        assert!(!shown.contains("ab") && !shown.contains("171") && !shown.contains("name"), "{shown}");
    }
}
