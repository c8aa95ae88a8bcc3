//! Writes a value as CBOR.

use std::io::Write;

use ciborium_ll::Header;
use serde::ser::{self, Serialize};

use super::error::CodecError;
use crate::cbor;

/// The enum and its variant by which the crate `ciborium` marks a tagged value of its dynamic type.
const TAG_ENUM: &str = "@@TAG@@";
pub(super) const TAGGED: &str = "@@TAGGED@@";

/// Writes one value.
pub(crate) fn to_writer<T: Serialize + ?Sized>(value: &T, writer: &mut impl Write) -> Result<(), CodecError> {
    value.serialize(&mut Encoder { writer, open_maps: 0, next_is_tag: false })
}

struct Encoder<'w, W> {
    writer: &'w mut W,
    /// The number of maps around the current item whose length was not known beforehand, as of types with
    /// `#[serde(flatten)]`.
    open_maps: usize,
    /// `true` if the next number is a tag, not an item.
    next_is_tag: bool,
}

impl<W: Write> Encoder<'_, W> {
    /// Writes the head of an item of this major type (RFC 8949, section 3).
    #[inline]
    fn head(&mut self, major: u8, number: u64) -> Result<(), CodecError> {
        let major = major << 5;
        let [.., fifth, sixth, seventh, last] = number.to_be_bytes();
        match number {
            0..24 => self.bytes(&[major | last]),
            24..0x100 => self.bytes(&[major | 24, last]),
            0x100..0x1_0000 => self.bytes(&[major | 25, seventh, last]),
            0x1_0000..0x1_0000_0000 => self.bytes(&[major | 26, fifth, sixth, seventh, last]),
            _ => {
                self.bytes(&[major | 27])?;
                self.bytes(&number.to_be_bytes())
            }
        }
    }

    /// Writes the head of an item of this length, or of one that a break ends.
    fn length(&mut self, major: u8, length: Option<usize>) -> Result<(), CodecError> {
        match length {
            // A length is a u64 on every platform that Rust knows.
            Some(length) => self.head(major, length as u64),
            None => self.bytes(&[major << 5 | 31]),
        }
    }

    #[inline]
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), CodecError> {
        self.writer.write_all(bytes).map_err(ser::Error::custom)
    }

    fn text(&mut self, text: &str) -> Result<(), CodecError> {
        self.length(cbor::TEXT, Some(text.len()))?;
        self.bytes(text.as_bytes())
    }

    /// Writes a number that takes more than 64 bits, as RFC 8949, section 3.4.3 says.
    fn bignum(&mut self, tag: u64, number: u128) -> Result<(), CodecError> {
        let bytes = number.to_be_bytes();
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        self.head(cbor::TAG, tag)?;
        self.length(cbor::BYTES, Some(bytes.len() - zeros))?;
        self.bytes(&bytes[zeros..])
    }

    /// Refuses a 128-bit integer where serde may not be able to read it back.
    fn check_wide(&self) -> Result<(), CodecError> {
        if self.open_maps == 0 { Ok(()) } else { Err(CodecError::wide_integer()) }
    }
}

impl<'e, 'w, W: Write> ser::Serializer for &'e mut Encoder<'w, W> {
    type Ok = ();
    type Error = CodecError;
    type SerializeSeq = Items<'e, 'w, W>;
    type SerializeTuple = Items<'e, 'w, W>;
    type SerializeTupleStruct = Items<'e, 'w, W>;
    type SerializeTupleVariant = Items<'e, 'w, W>;
    type SerializeMap = Items<'e, 'w, W>;
    type SerializeStruct = Items<'e, 'w, W>;
    type SerializeStructVariant = Items<'e, 'w, W>;

    fn serialize_bool(self, value: bool) -> Result<(), CodecError> {
        self.bytes(&[0xf4 | u8::from(value)])
    }

    fn serialize_i8(self, value: i8) -> Result<(), CodecError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i16(self, value: i16) -> Result<(), CodecError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i32(self, value: i32) -> Result<(), CodecError> {
        self.serialize_i64(value.into())
    }

    fn serialize_i64(self, value: i64) -> Result<(), CodecError> {
        match u64::try_from(value) {
            Ok(value) => self.serialize_u64(value),
            // CBOR writes -1 - n, which is !n in two's complement.
            Err(_) => self.head(cbor::NEGATIVE, (!value).unsigned_abs()),
        }
    }

    fn serialize_i128(self, value: i128) -> Result<(), CodecError> {
        let Err(_) = u128::try_from(value) else { return self.serialize_u128(value.unsigned_abs()) };
        self.check_wide()?;
        let number = (!value).unsigned_abs();
        match u64::try_from(number) {
            Ok(number) => self.head(cbor::NEGATIVE, number),
            Err(_) => self.bignum(cbor::NEGATIVE_BIGNUM, number),
        }
    }

    fn serialize_u8(self, value: u8) -> Result<(), CodecError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u16(self, value: u16) -> Result<(), CodecError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u32(self, value: u32) -> Result<(), CodecError> {
        self.serialize_u64(value.into())
    }

    fn serialize_u64(self, value: u64) -> Result<(), CodecError> {
        let is_tag = std::mem::take(&mut self.next_is_tag);
        self.head(if is_tag { cbor::TAG } else { cbor::POSITIVE }, value)
    }

    fn serialize_u128(self, value: u128) -> Result<(), CodecError> {
        self.check_wide()?;
        match u64::try_from(value) {
            Ok(value) => self.serialize_u64(value),
            Err(_) => self.bignum(cbor::POSITIVE_BIGNUM, value),
        }
    }

    fn serialize_f32(self, value: f32) -> Result<(), CodecError> {
        self.serialize_f64(value.into())
    }

    fn serialize_f64(self, value: f64) -> Result<(), CodecError> {
        let (head, length) = cbor::head_bytes(Header::Float(value));
        self.bytes(&head[..length])
    }

    fn serialize_char(self, value: char) -> Result<(), CodecError> {
        self.text(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), CodecError> {
        self.text(value)
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), CodecError> {
        self.length(cbor::BYTES, Some(value.len()))?;
        self.bytes(value)
    }

    fn serialize_none(self) -> Result<(), CodecError> {
        self.bytes(&[cbor::NULL])
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CodecError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), CodecError> {
        self.serialize_none()
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CodecError> {
        self.serialize_none()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), CodecError> {
        self.text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), CodecError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CodecError> {
        self.head(cbor::MAP, 1)?;
        self.text(variant)?;
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Items<'e, 'w, W>, CodecError> {
        self.length(cbor::ARRAY, length)?;
        let end = if length.is_some() { End::Counted } else { End::Open };
        Ok(Items { encoder: self, end })
    }

    fn serialize_tuple(self, length: usize) -> Result<Items<'e, 'w, W>, CodecError> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Items<'e, 'w, W>, CodecError> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Items<'e, 'w, W>, CodecError> {
        if (name, variant, length) == (TAG_ENUM, TAGGED, 2) {
            self.next_is_tag = true;
            return Ok(Items { encoder: self, end: End::Counted });
        }
        self.head(cbor::MAP, 1)?;
        self.text(variant)?;
        self.serialize_seq(Some(length))
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Items<'e, 'w, W>, CodecError> {
        self.length(cbor::MAP, length)?;
        if length.is_none() {
            self.open_maps += 1;
        }
        Ok(Items { end: if length.is_some() { End::Counted } else { End::OpenMap }, encoder: self })
    }

    fn serialize_struct(self, _: &'static str, length: usize) -> Result<Items<'e, 'w, W>, CodecError> {
        self.serialize_map(Some(length))
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Items<'e, 'w, W>, CodecError> {
        self.head(cbor::MAP, 1)?;
        self.text(variant)?;
        self.serialize_map(Some(length))
    }
}

/// The end of an array or a map.
enum End {
    /// Its head holds the number of items.
    Counted,
    /// A break ends it.
    Open,
    OpenMap,
}

/// The items of an array or a map while they are written.
struct Items<'e, 'w, W> {
    encoder: &'e mut Encoder<'w, W>,
    end: End,
}

impl<W: Write> Items<'_, '_, W> {
    fn item<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), CodecError> {
        item.serialize(&mut *self.encoder)
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &'static str, item: &T) -> Result<(), CodecError> {
        self.encoder.text(name)?;
        item.serialize(&mut *self.encoder).map_err(|error| error.inside(name))
    }

    fn finish(self) -> Result<(), CodecError> {
        match self.end {
            End::Counted => return Ok(()),
            End::Open => {}
            End::OpenMap => self.encoder.open_maps -= 1,
        }
        self.encoder.bytes(&[cbor::BREAK])
    }
}

macro_rules! sequence {
    ($($kind:ident $method:ident,)*) => {
        $(impl<W: Write> ser::$kind for Items<'_, '_, W> {
            type Ok = ();
            type Error = CodecError;

            fn $method<T: Serialize + ?Sized>(&mut self, item: &T) -> Result<(), CodecError> {
                self.item(item)
            }

            fn end(self) -> Result<(), CodecError> {
                self.finish()
            }
        })*
    };
}

sequence! {
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field,
}

impl<W: Write> ser::SerializeMap for Items<'_, '_, W> {
    type Ok = ();
    type Error = CodecError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), CodecError> {
        self.item(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CodecError> {
        self.item(value)
    }

    fn end(self) -> Result<(), CodecError> {
        self.finish()
    }
}

macro_rules! fields {
    ($($kind:ident),*) => {
        $(impl<W: Write> ser::$kind for Items<'_, '_, W> {
            type Ok = ();
            type Error = CodecError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), CodecError> {
                self.field(name, value)
            }

            fn end(self) -> Result<(), CodecError> {
                self.finish()
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);
