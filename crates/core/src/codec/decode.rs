//! Reads a value from CBOR.

use ciborium_ll::Header;
use serde::de::value::{BorrowedStrDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, Error, IntoDeserializer, Unexpected, Visitor};

use super::encode::TAGGED;
use super::error::{CodecError, Step};
use crate::cbor::{self, CborError};
use crate::format::MAX_DEPTH;
use crate::secret::SecretBytes;

/// Reads one value, which must be all of `bytes`.
pub(crate) fn from_slice<'de, T: de::Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, CodecError> {
    let mut decoder = Decoder::new(bytes);
    let value = T::deserialize(&mut decoder)?;
    if decoder.rest.is_empty() { Ok(value) } else { Err(CodecError::malformed()) }
}

pub(super) struct Decoder<'de> {
    rest: &'de [u8],
    /// The number of levels that the current item may take. Bytes from a token are not checked before they are read.
    levels: usize,
}

impl<'de> Decoder<'de> {
    pub(super) fn new(bytes: &'de [u8]) -> Self {
        Self { rest: bytes, levels: MAX_DEPTH }
    }

    fn head(&mut self) -> Result<Header, CodecError> {
        cbor::head(&mut self.rest).map_err(refused)
    }

    /// Returns the next head that is not a tag.
    fn untagged_head(&mut self) -> Result<Header, CodecError> {
        loop {
            match self.head()? {
                Header::Tag(cbor::POSITIVE_BIGNUM | cbor::NEGATIVE_BIGNUM) => return Err(CodecError::malformed()),
                Header::Tag(_) => {}
                head => return Ok(head),
            }
        }
    }

    fn take(&mut self, length: usize) -> Result<&'de [u8], CodecError> {
        cbor::take(&mut self.rest, length).map_err(refused)
    }

    fn text(&mut self, length: usize) -> Result<&'de str, CodecError> {
        core::str::from_utf8(self.take(length)?).map_err(|_| CodecError::malformed())
    }

    /// Joins the chunks of a text or a byte string of indefinite length.
    fn chunks(&mut self, of_text: bool) -> Result<SecretBytes, CodecError> {
        // All chunks together are shorter than the rest, so the buffer does not move.
        let mut joined = SecretBytes::with_capacity(self.rest.len());
        loop {
            let chunk = match (self.head()?, of_text) {
                (Header::Break, _) => return Ok(joined),
                (Header::Text(Some(length)), true) => self.text(length)?.as_bytes(),
                (Header::Bytes(Some(length)), false) => self.take(length)?,
                _ => return Err(CodecError::malformed()),
            };
            joined.as_mut_vec().extend_from_slice(chunk);
        }
    }

    /// Reads one level deeper.
    fn deeper<R>(&mut self, read: impl FnOnce(&mut Self) -> Result<R, CodecError>) -> Result<R, CodecError> {
        self.levels = self.levels.checked_sub(1).ok_or_else(|| refused(CborError::TooDeep))?;
        let result = read(self);
        self.levels += 1;
        result
    }

    fn any<V: Visitor<'de>>(&mut self, visitor: V, names_tags: bool) -> Result<V::Value, CodecError> {
        loop {
            return match self.head()? {
                Header::Positive(number) => visitor.visit_u64(number),
                // CBOR writes -1 - n, which is !n in two's complement.
                Header::Negative(number) => match i64::try_from(number) {
                    Ok(number) => visitor.visit_i64(!number),
                    Err(_) => visitor.visit_i128(!i128::from(number)),
                },
                Header::Float(number) => visitor.visit_f64(number),
                Header::Simple(simple) => match simple {
                    20 | 21 => visitor.visit_bool(simple == 21),
                    // Not `visit_none`: a buffered unit could not be read from it.
                    22 | 23 => visitor.visit_unit(),
                    _ => Err(CodecError::malformed()),
                },
                Header::Text(Some(length)) => visitor.visit_borrowed_str(self.text(length)?),
                Header::Text(None) => {
                    let joined = self.chunks(true)?;
                    visitor.visit_str(core::str::from_utf8(&joined).map_err(|_| CodecError::malformed())?)
                }
                Header::Bytes(Some(length)) => visitor.visit_borrowed_bytes(self.take(length)?),
                Header::Bytes(None) => visitor.visit_bytes(&self.chunks(false)?),
                Header::Array(count) => self.deeper(|decoder| {
                    let mut items = Items::new(decoder, count);
                    let value = visitor.visit_seq(&mut items)?;
                    items.finish().map(|()| value)
                }),
                Header::Map(count) => self.map(count, &[], visitor),
                Header::Tag(tag @ (cbor::POSITIVE_BIGNUM | cbor::NEGATIVE_BIGNUM)) => self.bignum(tag, visitor),
                Header::Tag(tag) if names_tags => self.deeper(|decoder| visitor.visit_enum(Tagged { decoder, tag })),
                Header::Tag(_) => continue,
                Header::Break => Err(CodecError::malformed()),
            };
        }
    }

    fn map<V: Visitor<'de>>(
        &mut self,
        count: Option<usize>,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deeper(|decoder| {
            let mut entries = Entries { items: Items::new(decoder, count), fields, key: &[] };
            let value = visitor.visit_map(&mut entries)?;
            entries.items.finish().map(|()| value)
        })
    }

    fn bignum<V: Visitor<'de>>(&mut self, tag: u64, visitor: V) -> Result<V::Value, CodecError> {
        let bytes = match self.head()? {
            Header::Bytes(Some(length)) => self.take(length)?,
            _ => return Err(CodecError::malformed()),
        };
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let bytes = &bytes[zeros..];
        let mut whole = [0; 16];
        let Some(room) = whole.len().checked_sub(bytes.len()) else {
            return Err(CodecError::because("an integer of more than 128 bits"));
        };
        whole[room..].copy_from_slice(bytes);
        let number = u128::from_be_bytes(whole);
        if tag == cbor::POSITIVE_BIGNUM {
            return match u64::try_from(number) {
                Ok(number) => visitor.visit_u64(number),
                Err(_) => visitor.visit_u128(number),
            };
        }
        match i128::try_from(number) {
            Ok(number) => visitor.visit_i128(!number),
            Err(_) => Err(CodecError::because("an integer of more than 128 bits")),
        }
    }
}

fn refused(error: CborError) -> CodecError {
    CodecError::because(error.to_string())
}

/// Reads whatever is there, past its tags: the visitor says if that is of its type.
macro_rules! untagged {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
            self.any(visitor, false)
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Decoder<'de> {
    type Error = CodecError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        self.any(visitor, true)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        match self.rest.first() {
            Some(&(cbor::NULL | cbor::UNDEFINED)) => {
                self.take(1)?;
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_newtype_struct(self)
    }

    /// Reads an array, or a byte string as an array of its bytes.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        let start = self.rest;
        match self.head()? {
            Header::Bytes(Some(length)) => {
                visitor.visit_seq(de::value::SeqDeserializer::new(self.take(length)?.iter().copied()))
            }
            _ => {
                self.rest = start;
                self.any(visitor, false)
            }
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, CodecError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        let start = self.rest;
        match self.untagged_head() {
            Ok(Header::Map(count)) => self.map(count, fields, visitor),
            _ => {
                self.rest = start;
                self.any(visitor, false)
            }
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        let start = self.rest;
        match self.untagged_head() {
            Ok(Header::Text(Some(length))) => visitor.visit_enum(UnitVariant(self.text(length)?)),
            Ok(Header::Map(Some(1))) => self.deeper(|decoder| {
                let name = cbor::text(&mut decoder.rest).map_err(refused)?;
                let known = variants.iter().copied().find(|variant| *variant == name);
                visitor
                    .visit_enum(Variant { decoder, name })
                    .map_err(|error| known.into_iter().fold(error, CodecError::inside))
            }),
            _ => {
                self.rest = start;
                self.any(visitor, false)
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, CodecError> {
        cbor::item(&mut self.rest).map_err(refused)?;
        visitor.visit_unit()
    }

    untagged! {
        deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128 deserialize_u8
        deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
        deserialize_char deserialize_str deserialize_string deserialize_bytes deserialize_byte_buf deserialize_unit
        deserialize_map deserialize_identifier
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, CodecError> {
        self.any(visitor, false)
    }
}

/// The items of an array or a map while they are read.
struct Items<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    /// The number of entries left; `None` if a break ends them.
    left: Option<usize>,
    index: usize,
}

impl<'d, 'de> Items<'d, 'de> {
    fn new(decoder: &'d mut Decoder<'de>, count: Option<usize>) -> Self {
        Self { decoder, left: count, index: 0 }
    }

    /// Moves on to the next entry. Returns `false` if there is none.
    fn advance(&mut self) -> bool {
        let is_over = match &mut self.left {
            Some(0) => true,
            Some(left) => {
                *left -= 1;
                false
            }
            None => self.ends_here(),
        };
        self.index += usize::from(!is_over);
        !is_over
    }

    /// Takes the break that ends the items, if it is next.
    fn ends_here(&mut self) -> bool {
        match self.decoder.rest.split_first() {
            Some((&cbor::BREAK, rest)) => {
                (self.decoder.rest, self.left) = (rest, Some(0));
                true
            }
            _ => false,
        }
    }

    /// Refuses entries that the type did not take.
    fn finish(&mut self) -> Result<(), CodecError> {
        let index = self.index;
        if self.advance() { Err(CodecError::invalid_length(index + 1, &"fewer items")) } else { Ok(()) }
    }
}

impl<'de> de::SeqAccess<'de> for &mut Items<'_, 'de> {
    type Error = CodecError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, CodecError> {
        if !self.advance() {
            return Ok(None);
        }
        let index = self.index - 1;
        seed.deserialize(&mut *self.decoder).map(Some).map_err(|error| error.at(Step::Item(index)))
    }

    fn size_hint(&self) -> Option<usize> {
        // An item takes one byte at least, so that a forged count reserves little.
        self.left.map(|left| left.min(self.decoder.rest.len()))
    }
}

/// The entries of a map while they are read.
struct Entries<'d, 'de> {
    items: Items<'d, 'de>,
    /// The fields of the struct that is read; empty for a map.
    fields: &'static [&'static str],
    /// The rest of the input from the last key on.
    key: &'de [u8],
}

impl Entries<'_, '_> {
    /// Returns the place of the last key. A key of the data's own is not named: it may be a secret.
    fn step(&self) -> Step {
        let name = cbor::text(&mut &*self.key).ok();
        let field = self.fields.iter().copied().find(|field| Some(*field) == name);
        field.map_or(Step::Entry(self.items.index - 1), Step::Field)
    }
}

impl<'de> de::MapAccess<'de> for &mut Entries<'_, 'de> {
    type Error = CodecError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, CodecError> {
        if !self.items.advance() {
            return Ok(None);
        }
        self.key = self.items.decoder.rest;
        seed.deserialize(&mut *self.items.decoder).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, CodecError> {
        seed.deserialize(&mut *self.items.decoder).map_err(|error| error.at(self.step()))
    }

    fn size_hint(&self) -> Option<usize> {
        self.items.left.map(|left| left.min(self.items.decoder.rest.len() / 2))
    }
}

/// A variant without content, written as its name.
struct UnitVariant<'de>(&'de str);

impl<'de> de::EnumAccess<'de> for UnitVariant<'de> {
    type Error = CodecError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), CodecError> {
        Ok((seed.deserialize(BorrowedStrDeserializer::new(self.0))?, self))
    }
}

impl<'de> de::VariantAccess<'de> for UnitVariant<'de> {
    type Error = CodecError;

    fn unit_variant(self) -> Result<(), CodecError> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, _: T) -> Result<T::Value, CodecError> {
        Err(CodecError::invalid_type(Unexpected::UnitVariant, &"newtype variant"))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, CodecError> {
        Err(CodecError::invalid_type(Unexpected::UnitVariant, &"tuple variant"))
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, CodecError> {
        Err(CodecError::invalid_type(Unexpected::UnitVariant, &"struct variant"))
    }
}

/// A variant with content, written as a map of its name to that.
struct Variant<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    name: &'de str,
}

impl<'d, 'de> de::EnumAccess<'de> for Variant<'d, 'de> {
    type Error = CodecError;
    type Variant = &'d mut Decoder<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self::Variant), CodecError> {
        Ok((seed.deserialize(BorrowedStrDeserializer::new(self.name))?, self.decoder))
    }
}

impl<'de> de::VariantAccess<'de> for &mut Decoder<'de> {
    type Error = CodecError;

    fn unit_variant(self) -> Result<(), CodecError> {
        de::Deserialize::deserialize(self)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, CodecError> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, CodecError> {
        self.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, CodecError> {
        self.deserialize_struct("", fields, visitor)
    }
}

/// A tagged item, as the dynamic type of the crate `ciborium` reads it: an enum with a name of its own, whose only
/// variant has the tag and the item.
struct Tagged<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    tag: u64,
}

impl<'de> de::EnumAccess<'de> for Tagged<'_, 'de> {
    type Error = CodecError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), CodecError> {
        let name: StrDeserializer<'_, CodecError> = TAGGED.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> de::VariantAccess<'de> for Tagged<'_, 'de> {
    type Error = CodecError;

    fn unit_variant(self) -> Result<(), CodecError> {
        Err(CodecError::invalid_type(Unexpected::TupleVariant, &"unit variant"))
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, CodecError> {
        seed.deserialize(self.decoder)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, CodecError> {
        visitor.visit_seq(TagAndItem { decoder: self.decoder, tag: Some(self.tag) })
    }

    fn struct_variant<V: Visitor<'de>>(self, _: &'static [&'static str], _: V) -> Result<V::Value, CodecError> {
        Err(CodecError::invalid_type(Unexpected::TupleVariant, &"struct variant"))
    }
}

struct TagAndItem<'d, 'de> {
    decoder: &'d mut Decoder<'de>,
    tag: Option<u64>,
}

impl<'de> de::SeqAccess<'de> for TagAndItem<'_, 'de> {
    type Error = CodecError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, CodecError> {
        match self.tag.take() {
            Some(tag) => seed.deserialize(tag.into_deserializer()).map(Some),
            None => seed.deserialize(&mut *self.decoder).map(Some),
        }
    }
}
