//! The reading half of generic CBOR: serde over [`minicbor::Decoder`], more tolerant than `minicbor-serde`. Lengths may
//! be definite or not (also of text and byte strings), tags are passed over, integers and floats may have any width,
//! `undefined` is null.

use std::fmt;

use minicbor::data::Type;
use minicbor::decode::{Decoder, Error as CborError};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

/// A tag may stand before a tag; more than this before one item is nobody's encoder.
const TAGS_MAX: usize = 8;

/// Why a CBOR body could not be read.
#[derive(Debug)]
pub(super) enum ReadError {
    /// It is no CBOR, or ends too early.
    Malformed(CborError),
    /// It is CBOR of another shape.
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

    /// True if nothing follows what was read.
    pub(super) fn at_end(&self) -> bool {
        self.decoder.position() == self.decoder.input().len()
    }

    /// The type of the next item, past its tags.
    fn datatype(&mut self) -> Result<Type, ReadError> {
        for _ in 0..TAGS_MAX {
            match self.decoder.datatype()? {
                Type::Tag => self.decoder.tag()?,
                other => return Ok(other),
            };
        }
        Err(ReadError::Shape("too many tags".to_owned()))
    }

    fn text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ReadError> {
        let mut all = String::new();
        for part in self.decoder.str_iter()? {
            all.push_str(part?);
        }
        visitor.visit_string(all)
    }

    fn bytes<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, ReadError> {
        let mut all = Vec::new();
        for part in self.decoder.bytes_iter()? {
            all.extend_from_slice(part?);
        }
        visitor.visit_byte_buf(all)
    }
}

impl<'de> de::Deserializer<'de> for &mut Reader<'de> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let kind = self.datatype()?;
        let d = &mut self.decoder;
        match kind {
            Type::Bool => visitor.visit_bool(d.bool()?),
            Type::U8 | Type::U16 | Type::U32 | Type::U64 => visitor.visit_u64(d.u64()?),
            Type::I8 | Type::I16 | Type::I32 | Type::I64 => visitor.visit_i64(d.i64()?),
            Type::Int => Err(ReadError::Shape("number out of range".to_owned())),
            Type::F16 => visitor.visit_f64(f64::from(d.f16()?)),
            Type::F32 => visitor.visit_f64(f64::from(d.f32()?)),
            Type::F64 => visitor.visit_f64(d.f64()?),
            Type::String => visitor.visit_borrowed_str(d.str()?),
            Type::StringIndef => self.text(visitor),
            Type::Bytes => visitor.visit_borrowed_bytes(d.bytes()?),
            Type::BytesIndef => self.bytes(visitor),
            Type::Null | Type::Undefined => {
                d.skip()?;
                visitor.visit_unit()
            }
            Type::Array | Type::ArrayIndef => {
                let left = d.array()?;
                visitor.visit_seq(Items { reader: self, left })
            }
            Type::Map | Type::MapIndef => {
                let left = d.map()?;
                visitor.visit_map(Items { reader: self, left })
            }
            Type::Simple | Type::Break | Type::Tag | Type::Unknown(_) => {
                Err(CborError::type_mismatch(kind).at(d.position()).into())
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
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct enum identifier
    }
}

/// The items of an array, or the keys and values of a map: so many, or up to a break.
struct Items<'a, 'de> {
    reader: &'a mut Reader<'de>,
    left: Option<u64>,
}

impl Items<'_, '_> {
    /// True if one more is there; takes the break if not.
    fn more(&mut self) -> Result<bool, ReadError> {
        match &mut self.left {
            Some(0) => Ok(false),
            Some(n) => {
                *n -= 1;
                Ok(true)
            }
            None if self.reader.decoder.datatype()? == Type::Break => {
                self.reader
                    .decoder
                    .set_position(self.reader.decoder.position() + 1);
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
        if self.more()? {
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
        if !self.more()? {
            return Ok(None);
        }
        // Serde would take a number for the index of a member.
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
