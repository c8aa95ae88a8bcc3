//! Translates a session's values between CBOR and JSON, for middleware that offers the session through another crate's
//! type.
//!
//! ```
//! use secure_sessions::{Session, SessionError, json};
//!
//! fn all(session: &Session) -> serde_json::Value {
//!     json::values(&session.snapshot()).into_iter().collect()
//! }
//!
//! fn keep(session: &Session, key: &str, value: &serde_json::Value) -> Result<(), SessionError> {
//!     session.insert(key, json::Stored(value))
//! }
//! # use secure_sessions::testing;
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), SessionError> {
//! # let (manager, _) = testing::manager();
//! # testing::session(&manager).with(|session| {
//! #     keep(session, "cart", &serde_json::json!([{"article": 7}]))?;
//! #     assert_eq!(all(session), serde_json::json!({"cart": [{"article": 7}]}));
//! #     Ok(())
//! # }).cookie().await?;
//! # Ok(())
//! # }
//! ```

use std::collections::HashMap;

use secure_sessions_core::DataMap;
use secure_sessions_core::format::MAX_DEPTH;
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::{Map, Number, Value};

/// Returns every value that JSON can hold, by key. The others, such as byte strings and numbers of more than 64 bits, are
/// left out.
#[must_use]
pub fn values(data: &DataMap) -> HashMap<String, Value> {
    // In one walk if JSON can hold everything, as it mostly can; otherwise value by value.
    Reader(data.encoded_entries())
        .entries()
        .unwrap_or_else(|| data.iter().filter_map(|(key, value)| Some((key.to_owned(), self::value(value)?))).collect())
}

/// Returns one encoded value, for instance of [`Vault::data`](crate::Vault::data); `None` if JSON cannot hold it.
#[must_use]
pub fn value(bytes: &[u8]) -> Option<Value> {
    let mut reader = Reader(bytes);
    reader.value(MAX_DEPTH).filter(|_| reader.0.is_empty())
}

/// Reads CBOR (RFC 8949) off the front of a slice.
struct Reader<'b>(&'b [u8]);

const UNSIGNED: u8 = 0;
const NEGATIVE: u8 = 1;
const TEXT: u8 = 3;
const ARRAY: u8 = 4;
const MAP: u8 = 5;
const OTHER: u8 = 7;
/// The low bits of a head that begins an item of indefinite length.
const INDEFINITE: u8 = 31;
/// Ends an item of indefinite length.
const BREAK: u8 = 0xff;

impl<'b> Reader<'b> {
    /// Reads entries to the end, or returns `None` if JSON cannot hold one of them.
    fn entries(&mut self) -> Option<HashMap<String, Value>> {
        // Most sessions have few keys. The map grows if there are more.
        let mut data = HashMap::with_capacity(7);
        while !self.0.is_empty() {
            let (key, value) = (self.key()?, self.value(MAX_DEPTH)?);
            // The first of two equal keys counts.
            data.entry(key).or_insert(value);
        }
        Some(data)
    }

    fn value(&mut self, depth: usize) -> Option<Value> {
        let (major, low) = self.first()?;
        let depth = depth.checked_sub(1)?;
        Some(match major {
            UNSIGNED => Value::Number(self.argument(low)?.into()),
            // The value is -1 - n, which is the complement of n.
            NEGATIVE => Value::Number((!i64::try_from(self.argument(low)?).ok()?).into()),
            TEXT => Value::String(self.text(low)?.to_owned()),
            ARRAY if low == INDEFINITE => {
                let mut items = Vec::new();
                while !self.ends()? {
                    items.push(self.value(depth)?);
                }
                Value::Array(items)
            }
            ARRAY => {
                let count = self.count(low)?;
                let mut items = Vec::with_capacity(count);
                if depth > 0 {
                    self.numbers(count, &mut items)?;
                }
                while items.len() < count {
                    items.push(self.value(depth)?);
                }
                Value::Array(items)
            }
            MAP if low == INDEFINITE => {
                let mut entries = Map::new();
                while !self.ends()? {
                    let (key, value) = (self.key()?, self.value(depth)?);
                    entries.insert(key, value);
                }
                Value::Object(entries)
            }
            MAP => {
                let mut entries = Map::new();
                for _ in 0..self.count(low)? {
                    let (key, value) = (self.key()?, self.value(depth)?);
                    entries.insert(key, value);
                }
                Value::Object(entries)
            }
            OTHER => self.other(low)?,
            _ => return None,
        })
    }

    /// Reads the numbers that a list of `count` items begins with. In a run they are written where they stay: a value that
    /// is moved right after it was made takes several times as long.
    fn numbers(&mut self, count: usize, items: &mut Vec<Value>) -> Option<()> {
        loop {
            let mut run = [0; 32];
            let mut length = 0;
            for number in run.iter_mut().take(count - items.len()) {
                let mut ahead = Reader(self.0);
                let Some((UNSIGNED, low)) = ahead.first() else { break };
                *number = ahead.argument(low)?;
                *self = ahead;
                length += 1;
            }
            items.extend(run[..length].iter().map(|number| Value::Number((*number).into())));
            if length < run.len() {
                return Some(());
            }
        }
    }

    fn key(&mut self) -> Option<String> {
        let (TEXT, low) = self.first()? else { return None };
        Some(self.text(low)?.to_owned())
    }

    fn other(&mut self, low: u8) -> Option<Value> {
        Some(match low {
            20 => Value::Bool(false),
            21 => Value::Bool(true),
            22 | 23 => Value::Null,
            25 => Value::Number(Number::from_f64(half(u16::from_be_bytes(self.take_array()?)))?),
            26 => Value::Number(Number::from_f64(f32::from_be_bytes(self.take_array()?).into())?),
            27 => Value::Number(Number::from_f64(f64::from_be_bytes(self.take_array()?))?),
            _ => return None,
        })
    }

    /// Takes the first byte of a head. Returns its major type and its low bits.
    #[inline]
    fn first(&mut self) -> Option<(u8, u8)> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some((first >> 5, first & 0x1f))
    }

    #[inline]
    fn argument(&mut self, low: u8) -> Option<u64> {
        Some(match low {
            0..24 => low.into(),
            24 => u8::from_be_bytes(self.take_array()?).into(),
            25 => u16::from_be_bytes(self.take_array()?).into(),
            26 => u32::from_be_bytes(self.take_array()?).into(),
            27 => u64::from_be_bytes(self.take_array()?),
            _ => return None,
        })
    }

    /// Reads a number of items. Each takes a byte at least, so a larger number than there are bytes is malformed.
    fn count(&mut self, low: u8) -> Option<usize> {
        usize::try_from(self.argument(low)?).ok().filter(|count| *count <= self.0.len())
    }

    fn text(&mut self, low: u8) -> Option<&'b str> {
        let length = self.count(low)?;
        let (text, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        std::str::from_utf8(text).ok()
    }

    /// Takes the break that ends an item of indefinite length. Returns `true` if it was there.
    fn ends(&mut self) -> Option<bool> {
        let (first, rest) = self.0.split_first()?;
        let ends = *first == BREAK;
        if ends {
            self.0 = rest;
        }
        Some(ends)
    }

    fn take_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }
}

/// Returns the value of a float of 16 bits (IEEE 754 binary16).
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f64::from(bits & 0x3ff));
    let magnitude = match exponent {
        0 => fraction * 2_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * 2_f64.powi(exponent - 25),
    };
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}

/// A JSON value, to be inserted into a session. Numbers stay numbers, also where another crate has turned on the
/// `arbitrary_precision` of serde_json.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'v>(pub &'v Value);

impl Serialize for Stored<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(value) => serializer.serialize_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => serializer.serialize_u64(number),
                (_, Some(number), _) => serializer.serialize_i64(number),
                (.., Some(number)) => serializer.serialize_f64(number),
                _ => serializer.serialize_unit(),
            },
            Value::String(text) => serializer.serialize_str(text),
            Value::Array(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| sequence.serialize_element(&Stored(item)))?;
                sequence.end()
            }
            Value::Object(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| map.serialize_entry(key, &Stored(value)))?;
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests;
