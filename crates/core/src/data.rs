//! The data map: text keys, and for each the CBOR bytes of its value.

use core::fmt;
use core::ops::Range;

use ciborium_ll::Header;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::places::{Place, Places};
pub use self::wrong_type::WrongType;
use crate::cbor::{self, CborError};
use crate::codec;
use crate::format::{MAX_KEY_LEN, MAX_TOKEN, MAX_VAULT_VALUE_LEN};
use crate::secret::{SecretArray, SecretBytes};

mod places;
mod wrong_type;

/// An error in a key, a value or a whole data map.
#[derive(thiserror::Error)]
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
        /// The length in bytes.
        length: usize,
    },
    /// The value's encoding is larger than any cookie.
    #[error(
        "the value's encoding has {length} bytes, more than any cookie ({MAX_TOKEN}); store it elsewhere and only its id in the session"
    )]
    ValueTooLarge {
        /// The length in bytes.
        length: usize,
    },
    /// The value's encoding is refused: see [`CborError`].
    #[error("the value cannot be kept: {0}")]
    Value(#[from] CborError),
    /// The value's type cannot be serialised.
    #[error("the value cannot be serialised: {0}")]
    Serialize(String),
    /// The value is of another type. Unlike serde's, the message does not quote the value.
    #[error(transparent)]
    WrongType(Box<WrongType>),
}

/// A session's data: one CBOR map of definite length, text key to any CBOR value, kept in its encoded form.
///
/// Only the value that you ask for is decoded, and a map from a token is walked only as far as the key that you ask for. Two
/// maps are equal if their bytes are. Inserting a value that differs only in the order of its own maps' entries changes
/// nothing. The bytes are zeroized on drop.
///
/// Another implementation may have written keys that do not ascend, or a key twice: the first one counts, and
/// [`insert_encoded`](Self::insert_encoded) and [`remove`](Self::remove) remove all of them. Entries after a malformed one
/// are not found.
pub struct DataMap {
    buffer: SecretBytes,
    /// The map's items, without its head, within the buffer.
    items: Range<usize>,
    /// The number of entries, as the map's head counts them.
    count: usize,
}

impl DataError {
    /// Names the key of the value in the error, unless it has one already.
    #[must_use]
    pub fn of_key(mut self, key: &str) -> Self {
        if let Self::WrongType(wrong) = &mut self {
            wrong.name(key);
        }
        self
    }
}

impl DataMap {
    /// Returns a map without keys.
    #[must_use]
    pub fn new() -> Self {
        Self { buffer: SecretBytes::default(), items: 0..0, count: 0 }
    }

    /// Checks all of one encoded map: definite length, text keys, no key twice, bounded depth, nothing after its end.
    ///
    /// # Errors
    ///
    /// [`DataError`] names what is wrong.
    pub fn from_cbor(bytes: &[u8]) -> Result<Self, DataError> {
        let map = Self::within(SecretBytes::from(bytes.to_vec()), 0..bytes.len())?;
        map.check()?;
        Ok(map)
    }

    /// Takes the map at `buffer[range]` in place, and reads only its head.
    pub(crate) fn within(buffer: SecretBytes, range: Range<usize>) -> Result<Self, DataError> {
        let whole = buffer.get(range.clone()).ok_or(DataError::NotAMap)?;
        let mut input = whole;
        let Header::Map(Some(count)) = cbor::head(&mut input)? else { return Err(DataError::NotAMap) };
        // An entry takes two bytes at least.
        if count > input.len() / 2 {
            return Err(DataError::NotAMap);
        }
        let start = range.start + (whole.len() - input.len());
        Ok(Self { buffer, items: start..range.end, count })
    }

    fn check(&self) -> Result<(), DataError> {
        let items = self.items();
        let mut keys = Vec::with_capacity(self.count);
        let mut at = 0;
        for _ in 0..self.count {
            let place = Place::read(items, at)?;
            let key = &items[place.key()];
            check_key(key)?;
            keys.push(key);
            at = place.end;
        }
        if at != items.len() {
            return Err(DataError::NotAMap);
        }
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) { Err(DataError::DuplicateKey) } else { Ok(()) }
    }

    /// Returns the fields of a struct, or the entries of a map, as a map of their own.
    ///
    /// # Errors
    ///
    /// [`DataError::NotAMap`] if the value is of another kind, and the errors of [`encode`].
    pub fn from_fields<T: Serialize + ?Sized>(value: &T) -> Result<Self, DataError> {
        let encoded = encode(value)?;
        let mut input = &encoded[..];
        if cbor::head(&mut input)? != Header::Map(None) {
            return Self::from_cbor(&encoded);
        }
        // A type with `#[serde(flatten)]` is written as a map whose length is not known beforehand.
        let mut map = Self::new();
        while input.first() != Some(&cbor::BREAK) {
            let (key, value) = (cbor::text(&mut input)?, cbor::item(&mut input)?);
            map.insert_encoded(key, value)?;
        }
        Ok(map)
    }

    /// Returns all keys and values as JSON, for debugging: the text shows everything that the session holds.
    ///
    /// Bytes become a text of hexadecimal digits after `0x`, and a key within a value that is no text is quoted.
    ///
    /// ```
    /// use secure_sessions_core::{DataMap, encode};
    ///
    /// let mut data = DataMap::new();
    /// data.insert_encoded("cart", &encode(&["book"])?)?;
    /// data.insert_encoded("visits", &encode(&3)?)?;
    /// assert_eq!(data.to_json(), r#"{"cart":["book"],"visits":3}"#);
    /// # Ok::<_, secure_sessions_core::DataError>(())
    /// ```
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut json = "{".to_owned();
        for (key, value) in self.iter() {
            if json.len() > 1 {
                json.push(',');
            }
            codec::push_string(&mut json, key);
            json.push(':');
            // Another implementation may have written a simple value that nobody knows.
            json.push_str(codec::to_json(value).as_deref().unwrap_or("null"));
        }
        json.push('}');
        json
    }

    /// Returns the number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries().count()
    }

    /// Returns `true` if there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places().next().is_none()
    }

    /// Returns the keys, in the map's order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries().map(|entry| entry.key)
    }

    /// Returns each key with its value's bytes, in the map's order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.entries().map(|entry| (entry.key, entry.value))
    }

    /// Returns the encoded entries one after the other, each a text key and a value: the whole map without its head.
    /// Nothing of it is checked; see the type's description of maps that another implementation wrote.
    #[must_use]
    pub fn encoded_entries(&self) -> &[u8] {
        self.items()
    }

    /// Returns `true` if the key is present.
    #[must_use]
    pub fn contains_key(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Returns the encoded value under this key, if it is present.
    #[must_use]
    pub fn get_encoded(&self, key: &str) -> Option<&[u8]> {
        self.find(key).and_then(|place| self.items().get(place.value()))
    }

    /// Decodes the value under this key, if it is present.
    ///
    /// # Errors
    ///
    /// [`DataError::WrongType`] if the value is of another type; it stays as it is.
    pub fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>, DataError> {
        self.get_encoded(key).map(decode).transpose().map_err(|error| error.of_key(key))
    }

    /// Puts an encoded value under the key. Returns `true` if that changed anything.
    ///
    /// An equal value changes nothing: the same bytes, or the same but for the order of the entries of maps, at any depth.
    /// Hash maps are encoded in an order of their own each time. The order of an array's items counts.
    ///
    /// # Errors
    ///
    /// [`DataError`] if the key is too long, the value is not one well-formed item, or the map that another implementation
    /// wrote is malformed; nothing is changed then.
    pub fn insert_encoded(&mut self, key: &str, value: &[u8]) -> Result<bool, DataError> {
        check_key(key.as_bytes())?;
        check_value(value)?;
        let items = self.items();
        let (mut taken, mut first, mut behind, mut end) = (0, None, None, 0);
        for place in self.places() {
            let found = &items[place.key()];
            if found == key.as_bytes() {
                taken += 1;
                first = first.or(Some(place));
            } else if found > key.as_bytes() {
                behind = behind.or(Some(place));
            }
            end = place.end;
        }
        if end != items.len() {
            return Err(DataError::NotAMap);
        }
        if taken == 1 && first.is_some_and(|place| cbor::is_same(&items[place.value()], value)) {
            return Ok(false);
        }
        if let Some(place) = first.filter(|place| taken == 1 && place.value().len() == value.len()) {
            self.overwrite(place.value(), value);
            return Ok(true);
        }
        // Keys that we write ascend.
        let place = first.map(Place::range).unwrap_or_else(|| {
            let start = behind.map_or(items.len(), |place| place.range().start);
            start..start
        });
        self.splice(place, cbor::MAX_HEAD + key.len() + value.len(), |items| {
            cbor::push_text(items, key);
            items.extend_from_slice(value);
        });
        self.count += usize::from(taken == 0);
        for _ in 1..taken {
            self.remove_entry(key, 1);
        }
        Ok(true)
    }

    /// Removes the key and its value. Returns `true` if it was present.
    pub fn remove(&mut self, key: &str) -> bool {
        let mut found = false;
        while self.remove_entry(key, 0) {
            found = true;
        }
        found
    }

    /// Removes the entry of the key after `skipped` other entries of the same key. Returns `true` if there was one.
    fn remove_entry(&mut self, key: &str, skipped: usize) -> bool {
        let items = self.items();
        let place = self.places().filter(|place| &items[place.key()] == key.as_bytes()).nth(skipped);
        if let Some(place) = place {
            self.splice(place.range(), 0, |_| {});
            self.count -= 1;
        }
        place.is_some()
    }

    /// Returns the encoding of the whole map.
    #[must_use]
    pub fn to_cbor(&self) -> SecretBytes {
        let mut bytes = SecretBytes::with_capacity(cbor::MAX_HEAD + self.items.len());
        self.append_to(bytes.as_mut_vec());
        bytes
    }

    /// Returns the length of the whole map's encoding, in bytes.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        cbor::head_len(self.count as u64) + self.items.len()
    }

    pub(crate) fn append_to(&self, output: &mut Vec<u8>) {
        cbor::push_head(output, Header::Map(Some(self.count)));
        output.extend_from_slice(self.items());
    }

    fn items(&self) -> &[u8] {
        &self.buffer[self.items.clone()]
    }

    fn places(&self) -> Places<'_> {
        Places { items: self.items(), at: 0, left: self.count }
    }

    /// Returns the first entry of each key.
    fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let items = self.items();
        let mut highest = None;
        self.places().filter_map(move |place| {
            let bytes = items.get(place.key())?;
            // Only a key that does not ascend may have stood before.
            if highest.is_some_and(|highest| bytes <= highest) {
                if self.find_bytes(bytes).is_some_and(|first| first.range() != place.range()) {
                    return None;
                }
            } else {
                highest = Some(bytes);
            }
            let key = core::str::from_utf8(bytes).ok()?;
            Some(Entry { key, value: items.get(place.value())? })
        })
    }

    fn find(&self, key: &str) -> Option<Place> {
        self.find_bytes(key.as_bytes())
    }

    fn find_bytes(&self, key: &[u8]) -> Option<Place> {
        let items = self.items();
        self.places().find(|place| items.get(place.key()) == Some(key))
    }

    /// Replaces a range of the items by as many bytes.
    fn overwrite(&mut self, range: Range<usize>, bytes: &[u8]) {
        let start = self.items.start;
        self.buffer.as_mut_slice()[start + range.start..start + range.end].copy_from_slice(bytes);
    }

    /// Replaces a range of the items. The old buffer is zeroized when it is dropped.
    fn splice(&mut self, range: Range<usize>, room: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let items = self.items();
        let mut buffer = Vec::with_capacity(items.len() - range.len() + room);
        buffer.extend_from_slice(&items[..range.start]);
        write(&mut buffer);
        buffer.extend_from_slice(&items[range.end..]);
        self.items = 0..buffer.len();
        self.buffer = SecretBytes::from(buffer);
    }
}

/// Copies the items alone: the buffer of an opened token holds all of its plaintext.
impl Clone for DataMap {
    fn clone(&self) -> Self {
        let items = self.items();
        Self { buffer: SecretBytes::from(items.to_vec()), items: 0..items.len(), count: self.count }
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
pub fn encode<T: Serialize + ?Sized>(value: &T) -> Result<SecretBytes, DataError> {
    encode_up_to(value, MAX_TOKEN)
}

/// Encodes one value for the vault, as [`encode`] does for a cookie.
///
/// # Errors
///
/// [`DataError`] as of [`encode`]; a value of more than [`MAX_VAULT_VALUE_LEN`] bytes is too large.
pub fn encode_private<T: Serialize + ?Sized>(value: &T) -> Result<SecretBytes, DataError> {
    encode_up_to(value, MAX_VAULT_VALUE_LEN)
}

fn encode_up_to<T: Serialize + ?Sized>(value: &T, limit: usize) -> Result<SecretBytes, DataError> {
    let mut writer = Bounded { small: SecretArray([0; Bounded::SMALL]), large: None, length: 0, limit };
    codec::to_writer(value, &mut writer).map_err(|error| DataError::Serialize(error.to_string()))?;
    let bytes = writer.bytes()?;
    check_item(bytes)?;
    Ok(SecretBytes::from(bytes.to_vec()))
}

/// Decodes one value, which must be all of `bytes`.
///
/// # Errors
///
/// [`DataError::WrongType`] if the value is of another type.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, DataError> {
    codec::from_slice(bytes).map_err(|error| DataError::WrongType(Box::new(WrongType::new::<T>(&error))))
}

/// A writer that never grows, so it leaves no copy of a secret behind. Bytes that do not fit are only counted.
struct Bounded {
    /// A small buffer that fits most values.
    small: SecretArray<{ Self::SMALL }>,
    /// The whole of a larger value, with room for the largest.
    large: Option<SecretBytes>,
    length: usize,
    limit: usize,
}

impl Bounded {
    const SMALL: usize = 64;

    fn bytes(&self) -> Result<&[u8], DataError> {
        let bytes = self.large.as_deref().unwrap_or(&self.small.0);
        // A value beyond the limit was counted, not kept.
        bytes.get(..self.length).ok_or(DataError::ValueTooLarge { length: self.length })
    }
}

impl std::io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let start = self.length;
        self.length += bytes.len();
        match (&mut self.large, self.small.0.get_mut(start..self.length)) {
            (None, Some(room)) => room.copy_from_slice(bytes),
            (large, _) if self.length <= self.limit => {
                let large = large.get_or_insert_with(|| {
                    let mut large = SecretBytes::with_capacity(self.limit);
                    large.as_mut_vec().extend_from_slice(&self.small.0[..start]);
                    large
                });
                large.as_mut_vec().extend_from_slice(bytes);
            }
            _ => {}
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
}

fn check_key(key: &[u8]) -> Result<(), DataError> {
    if key.len() > MAX_KEY_LEN { Err(DataError::KeyTooLong { length: key.len() }) } else { Ok(()) }
}

fn check_value(value: &[u8]) -> Result<(), DataError> {
    if value.len() > MAX_TOKEN {
        return Err(DataError::ValueTooLarge { length: value.len() });
    }
    check_item(value)
}

fn check_item(mut value: &[u8]) -> Result<(), DataError> {
    cbor::item(&mut value)?;
    if value.is_empty() { Ok(()) } else { Err(DataError::Value(CborError::Malformed)) }
}

#[cfg(test)]
mod tests;
