//! A value as JSON, for people who debug.

use core::fmt::{self, Write};

use serde::de::{self, DeserializeSeed, Deserializer, Visitor};

use super::decode::Decoder;
use super::error::CodecError;

/// Returns one value as JSON. Bytes become a text of hexadecimal digits after `0x`; a key that is no text is quoted; tags are
/// left out.
pub(crate) fn to_json(bytes: &[u8]) -> Result<String, CodecError> {
    let mut json = String::new();
    Json(&mut json).deserialize(&mut Decoder::new(bytes))?;
    Ok(json)
}

/// Appends a quoted string, with the escapes that JSON demands.
pub(crate) fn push_string(json: &mut String, text: &str) {
    json.push('"');
    for character in text.chars() {
        match character {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            control if control.is_control() => {
                // Writing to a String cannot fail.
                let _ = write!(json, "\\u{:04x}", u32::from(control));
            }
            character => json.push(character),
        }
    }
    json.push('"');
}

struct Json<'j>(&'j mut String);

impl Json<'_> {
    fn push<E>(self, value: impl fmt::Display) -> Result<(), E> {
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{value}");
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Json<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        // Our decoder reads whatever is there, past its tags.
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Json<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.push(value)
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.push(value)
    }

    fn visit_i128<E>(self, value: i128) -> Result<(), E> {
        self.push(value)
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.push(value)
    }

    fn visit_u128<E>(self, value: u128) -> Result<(), E> {
        self.push(value)
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        // JSON has neither infinity nor NaN.
        if value.is_finite() { self.push(format_args!("{value:?}")) } else { self.push("null") }
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        push_string(self.0, text);
        Ok(())
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<(), E> {
        let mut text = "0x".to_owned();
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        push_string(self.0, &text);
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.push("null")
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.0.push('[');
        let mut separator = "";
        loop {
            let end = self.0.len();
            self.0.push_str(separator);
            if items.next_element_seed(Json(self.0))?.is_none() {
                self.0.truncate(end);
                self.0.push(']');
                return Ok(());
            }
            separator = ",";
        }
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.0.push('{');
        let mut separator = "";
        let mut key = String::new();
        while entries.next_key_seed(Json(&mut key))?.is_some() {
            self.0.push_str(separator);
            if key.starts_with('"') {
                self.0.push_str(&key)
            } else {
                push_string(self.0, &key)
            }
            self.0.push(':');
            entries.next_value_seed(Json(self.0))?;
            key.clear();
            separator = ",";
        }
        self.0.push('}');
        Ok(())
    }
}
