//! The data map: text keys, and for each the CBOR bytes of its value.

use core::fmt;
use core::ops::Range;

use ciborium_ll::Header;
use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::cbor::{self, CborError};
use crate::format::{MAX_KEY_LEN, MAX_TOKEN};

/// What is wrong with a key, a value or a whole data map.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DataError {
    /// The map is not one CBOR map of definite length, or not exactly one.
    #[error("the data is not one CBOR map of definite length with text keys")]
    NotAMap,
    /// The map holds a key twice.
    #[error("the data map holds a key twice")]
    DuplicateKey,
    /// The key is longer than [`MAX_KEY_LEN`].
    #[error("the key has {length} bytes, more than the {MAX_KEY_LEN} that a session key may have")]
    KeyTooLong {
        /// Its length in bytes.
        length: usize,
    },
    /// The value's encoding is larger than any cookie.
    #[error(
        "the value's encoding has {length} bytes, more than any cookie ({MAX_TOKEN}); keep it elsewhere and its id here"
    )]
    ValueTooLarge {
        /// Its length in bytes.
        length: usize,
    },
    /// The value's encoding is refused: see [`CborError`].
    #[error("the value cannot be kept: {0}")]
    Value(#[from] CborError),
    /// The value's type cannot be serialised.
    #[error("the value cannot be serialised: {0}")]
    Serialize(String),
    /// The value is of another type. The message does not quote the value, as serde's would.
    #[error("the value is not a {expected}; it is left as it was")]
    WrongType {
        /// The name of the type that was asked for.
        expected: &'static str,
    },
}

/// A session's data: one CBOR map of definite length, text key to any CBOR value, kept in its encoded form.
///
/// Only the value that is asked for is decoded. Two values are equal when their bytes are. The bytes are zeroized on
/// drop.
#[derive(Clone)]
pub struct DataMap {
    buffer: Zeroizing<Vec<u8>>,
    /// The map's items, without its head, within the buffer.
    items: Range<usize>,
    count: usize,
}

impl DataMap {
    /// A map without keys.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: Zeroizing::new(Vec::new()), items: 0..0, count: 0 }
    }

    /// Checks one encoded map: definite length, text keys, no key twice, bounded depth, nothing after its end.
    ///
    /// # Errors
    ///
    /// [`DataError`] names what is wrong.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, DataError> {
        Self::within(Zeroizing::new(bytes.to_vec()), 0..bytes.len())
    }

    /// As [`from_cbor`](Self::from_cbor), in place: the map is `buffer[range]`.
    pub(crate) fn within(buffer: Zeroizing<Vec<u8>>, range: Range<usize>) -> Result<Self, DataError> {
        let whole = buffer.get(range.clone()).ok_or(DataError::NotAMap)?;
        let mut input = whole;
        let Header::Map(Some(count)) = cbor::head(&mut input)? else { return Err(DataError::NotAMap) };
        let start = range.start + (whole.len() - input.len());
        check_items(input, count)?;
        Ok(Self { buffer, items: start..range.end, count })
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The keys, in the map's order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries().map(|entry| entry.key)
    }

    /// Each key with its value's bytes, in the map's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries().map(|entry| (entry.key, entry.value))
    }

    /// Whether the key is there.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// The encoded value under this key.
    #[must_use]
    pub fn get_encoded(&self, key: &str) -> Option<&[u8]> {
        self.find(key).map(|entry| entry.value)
    }

    /// Decodes the value under this key, if it is there.
    ///
    /// # Errors
    ///
    /// [`DataError::WrongType`] if the value is of another type; it stays as it is.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, DataError> {
        self.get_encoded(key).map(decode).transpose()
    }

    /// Puts an encoded value under the key. Whether that changed anything: equal bytes do not.
    ///
    /// # Errors
    ///
    /// [`DataError`] if the key is too long or the value is not one well-formed item; nothing is changed then.
    pub fn insert_encoded(&mut self, key: &str, value: &[u8]) -> Result<bool, DataError> {
        check_key(key)?;
        check_value(value)?;
        let (place, old_count) = match self.find(key) {
            Some(entry) if entry.value == value => return Ok(false),
            Some(entry) => (entry.range, 1),
            None => (self.place_of(key), 0),
        };
        let mut entry = Vec::with_capacity(cbor::MAX_HEAD + key.len() + value.len());
        cbor::push_text(&mut entry, key);
        entry.extend_from_slice(value);
        self.splice(place, &Zeroizing::new(entry));
        self.count += 1 - old_count;
        Ok(true)
    }

    /// Takes the key and its value out. Whether it was there.
    pub fn remove(&mut self, key: &str) -> bool {
        let Some(range) = self.find(key).map(|entry| entry.range) else { return false };
        self.splice(range, &[]);
        self.count -= 1;
        true
    }

    /// The whole map's encoding.
    #[must_use]
    pub fn to_cbor(&self) -> Zeroizing<Vec<u8>> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(cbor::MAX_HEAD + self.items.len()));
        self.append_to(&mut bytes);
        bytes
    }

    /// The length of the whole map's encoding.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        let mut head = Vec::with_capacity(cbor::MAX_HEAD);
        cbor::push_head(&mut head, Header::Map(Some(self.count)));
        head.len() + self.items.len()
    }

    pub(crate) fn append_to(&self, output: &mut Vec<u8>) {
        cbor::push_head(output, Header::Map(Some(self.count)));
        output.extend_from_slice(self.items());
    }

    fn items(&self) -> &[u8] {
        &self.buffer[self.items.clone()]
    }

    fn entries(&self) -> Entries<'_> {
        Entries { items: self.items(), rest: self.items() }
    }

    fn find(&self, key: &str) -> Option<Entry<'_>> {
        self.entries().find(|entry| entry.key == key)
    }

    /// Where a new key goes: keys that we write ascend, so that the reader's check for duplicates is one comparison.
    fn place_of(&self, key: &str) -> Range<usize> {
        let place = self.entries().find(|entry| entry.key > key).map_or(self.items.len(), |entry| entry.range.start);
        place..place
    }

    /// Replaces a range of the items. The old buffer is zeroized when it is dropped.
    fn splice(&mut self, range: Range<usize>, entry: &[u8]) {
        let items = self.items();
        let mut buffer = Vec::with_capacity(items.len() - range.len() + entry.len());
        buffer.extend_from_slice(&items[..range.start]);
        buffer.extend_from_slice(entry);
        buffer.extend_from_slice(&items[range.end..]);
        self.items = 0..buffer.len();
        self.buffer = Zeroizing::new(buffer);
    }
}

impl Default for DataMap {
    fn default() -> Self {
        Self::new()
    }
}

impl PartialEq for DataMap {
    fn eq(&self, other: &Self) -> bool {
        self.count == other.count && self.items() == other.items()
    }
}

impl fmt::Debug for DataMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataMap").field("keys", &self.count).finish_non_exhaustive()
    }
}

/// Encodes one value, within the bounds that a reader accepts.
///
/// # Errors
///
/// [`DataError`] if the value cannot be serialised, is larger than any cookie, or nested too deeply.
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<Zeroizing<Vec<u8>>, DataError> {
    let mut writer = Bounded { bytes: Zeroizing::new(Vec::with_capacity(MAX_TOKEN)), length: 0 };
    ciborium::into_writer(value, &mut writer).map_err(|error| DataError::Serialize(error.to_string()))?;
    let Bounded { bytes, length } = writer;
    if length > bytes.len() {
        return Err(DataError::ValueTooLarge { length });
    }
    check_value(&bytes)?;
    Ok(bytes)
}

/// Decodes one value, which must be all of `bytes`.
///
/// # Errors
///
/// [`DataError::WrongType`] if the value is of another type.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DataError> {
    const ON_STACK: usize = 64;
    let refused = DataError::WrongType { expected: core::any::type_name::<T>() };
    let mut rest = bytes;
    // The reader gathers texts in the scratch buffer, and calls one longer than that a wrong type.
    let value = if bytes.len() <= ON_STACK {
        let mut scratch = Zeroizing::new([0; ON_STACK]);
        ciborium::de::from_reader_with_buffer(&mut rest, scratch.as_mut_slice())
    } else {
        let mut scratch = Zeroizing::new(vec![0; bytes.len()]);
        ciborium::de::from_reader_with_buffer(&mut rest, scratch.as_mut_slice())
    }
    .ok();
    match value {
        Some(value) if rest.is_empty() => Ok(value),
        _ => Err(refused),
    }
}

/// A writer that never grows, so that it leaves no copy of a secret behind. What does not fit is only counted.
struct Bounded {
    bytes: Zeroizing<Vec<u8>>,
    length: usize,
}

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.length += bytes.len();
        if self.length <= self.bytes.capacity() {
            self.bytes.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

struct Entry<'a> {
    key: &'a str,
    value: &'a [u8],
    /// Key and value, within the items.
    range: Range<usize>,
}

/// Walks items that were checked before.
struct Entries<'a> {
    items: &'a [u8],
    rest: &'a [u8],
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        let start = self.items.len() - self.rest.len();
        let key = cbor::text(&mut self.rest).ok()?;
        let value = cbor::item(&mut self.rest).ok()?;
        Some(Entry { key, value, range: start..self.items.len() - self.rest.len() })
    }
}

fn check_items(mut input: &[u8], count: usize) -> Result<(), DataError> {
    let mut previous: Option<&str> = None;
    let mut ascending = true;
    let items = input;
    for _ in 0..count {
        let key = cbor::text(&mut input)?;
        check_key(key)?;
        ascending &= previous.is_none_or(|previous| previous < key);
        previous = Some(key);
        cbor::item(&mut input)?;
    }
    if !input.is_empty() {
        return Err(DataError::NotAMap);
    }
    // Another implementation may keep another order.
    if !ascending {
        let mut keys: Vec<&str> = Entries { items, rest: items }.map(|entry| entry.key).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(DataError::DuplicateKey);
        }
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), DataError> {
    if key.len() > MAX_KEY_LEN { Err(DataError::KeyTooLong { length: key.len() }) } else { Ok(()) }
}

fn check_value(mut value: &[u8]) -> Result<(), DataError> {
    if value.len() > MAX_TOKEN {
        return Err(DataError::ValueTooLarge { length: value.len() });
    }
    cbor::item(&mut value)?;
    if value.is_empty() { Ok(()) } else { Err(DataError::Value(CborError::Malformed)) }
}

#[cfg(test)]
mod tests;
