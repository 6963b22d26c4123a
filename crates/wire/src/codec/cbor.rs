//! Reading CBOR in the generic codec: serde over [`minicbor::Decoder`], more tolerant than
//! `minicbor-serde`. Lengths may be definite or not (also of text and byte strings), tags are
//! skipped, integers and floats may have any width, `undefined` is null.

use std::fmt;

use minicbor::data::Type;
use minicbor::decode::{Decoder, Error as CborError};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

/// Most tags in front of one item; encoders write one at most.
const TAGS_MAX: usize = 8;

/// A CBOR body could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// The body is not CBOR, or ends too early.
    Malformed(CborError),
    /// The body is CBOR of another shape.
    Shape(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed(e) => e.fmt(f),
            Self::Shape(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(text: T) -> Self {
        Self::Shape(text.to_string())
    }
}

impl From<CborError> for ReadError {
    fn from(e: CborError) -> Self {
        Self::Malformed(e)
    }
}

/// A serde deserializer over a CBOR decoder.
pub(super) struct Reader<'de> {
    decoder: Decoder<'de>,
}

impl<'de> Reader<'de> {
    pub(super) fn new(body: &'de [u8]) -> Self {
        Self {
            decoder: Decoder::new(body),
        }
    }

    /// True if every byte has been read.
    pub(super) fn at_end(&self) -> bool {
        self.decoder.position() == self.decoder.input().len()
    }

    /// The type of the next item, after skipping the item's tags.
    fn datatype(&mut self) -> Result<Type, ReadError> {
        for _ in 0..TAGS_MAX {
            match self.decoder.datatype()? {
                Type::Tag => self.decoder.tag()?,
                other => return Ok(other),
            };
        }
        Err(ReadError::Shape("too many tags".to_owned()))
    }

    /// Reads a text in chunks.
    fn chunked_text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ReadError> {
        let mut text = String::new();
        for chunk in self.decoder.str_iter()? {
            text.push_str(chunk?);
        }
        visitor.visit_string(text)
    }

    /// Reads a byte string in chunks.
    fn chunked_bytes<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ReadError> {
        let mut bytes = Vec::new();
        for chunk in self.decoder.bytes_iter()? {
            bytes.extend_from_slice(chunk?);
        }
        visitor.visit_byte_buf(bytes)
    }
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = ReadError;

    // tidy: long because one match has an arm for every type of CBOR.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let kind = self.datatype()?;
        let decoder = &mut self.decoder;

        match kind {
            Type::Bool => visitor.visit_bool(decoder.bool()?),
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => visitor.visit_u64(decoder.u64()?),
            Type::I8 | Type::I16 | Type::I32 | Type::I64 => visitor.visit_i64(decoder.i64()?),
            Type::Int => Err(ReadError::Shape("number out of range".to_owned())),
            Type::F16 => visitor.visit_f64(f64::from(decoder.f16()?)),
            Type::F32 => visitor.visit_f64(f64::from(decoder.f32()?)),
            Type::F64 => visitor.visit_f64(decoder.f64()?),
            Type::String => visitor.visit_borrowed_str(decoder.str()?),
            Type::StringIndef => self.chunked_text(visitor),
            Type::Bytes => visitor.visit_borrowed_bytes(decoder.bytes()?),
            Type::BytesIndef => self.chunked_bytes(visitor),
            Type::Null | Type::Undefined => {
                decoder.skip()?;
                visitor.visit_unit()
            }
            Type::Array | Type::ArrayIndef => {
                let remaining = decoder.array()?;
                visitor.visit_seq(Items {
                    reader: self,
                    remaining,
                })
            }
            Type::Map | Type::MapIndef => {
                let remaining = decoder.map()?;
                visitor.visit_map(Items {
                    reader: self,
                    remaining,
                })
            }
            Type::Simple | Type::Break | Type::Tag | Type::Unknown(_) => {
                Err(CborError::type_mismatch(kind).at(decoder.position()).into())
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.datatype()? {
            Type::Null | Type::Undefined => {
                self.decoder.skip()?;
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.decoder.skip()?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// The items of an array, or the entries of a map.
struct Items<'a, 'de> {
    reader: &'a mut Reader<'de>,
    /// How many items or entries are left; `None` if a break ends them.
    remaining: Option<u64>,
}

impl Items<'_, '_> {
    /// True if one more item follows; otherwise a break is skipped.
    fn has_next(&mut self) -> Result<bool, ReadError> {
        let decoder = &mut self.reader.decoder;
        match &mut self.remaining {
            Some(0) => Ok(false),
            Some(remaining) => {
                *remaining -= 1;
                Ok(true)
            }
            None if decoder.datatype()? == Type::Break => {
                decoder.set_position(decoder.position() + 1);
                Ok(false)
            }
            None => Ok(true),
        }
    }
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, ReadError> {
        if self.has_next()? {
            seed.deserialize(&mut *self.reader).map(Some)
        } else {
            Ok(None)
        }
    }
}

impl<'de> MapAccess<'de> for Items<'_, 'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, ReadError> {
        if !self.has_next()? {
            return Ok(None);
        }

        // Serde would accept a number as the index of a member.
        match self.reader.datatype()? {
            Type::String | Type::StringIndef => seed.deserialize(&mut *self.reader).map(Some),
            _ => Err(ReadError::Shape(
                "a map has a key that is not text".to_owned(),
            )),
        }
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        seed.deserialize(&mut *self.reader)
    }
}
