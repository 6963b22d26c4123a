//! Reading a CBOR body in one pass.

use minicbor::data::{IanaTag, Type};
use minicbor::decode::{Decoder, Error as DecodeError};
use serde::de::DeserializeOwned;

use super::Span;
use super::reader::{BodyReader, Expected, ITEM_BYTES_MIN, Template, Unexpected, new_span};
use crate::codec::{self, Format};
use crate::limits::LIST_ITEMS;
use crate::types::Timestamp;

/// The byte that ends a list or map of indefinite length.
const BREAK: u8 = 0xff;

/// Reads a CBOR body. Text and byte strings in chunks are left to the generic codec.
pub(super) struct CborReader<'b> {
    decoder: Decoder<'b>,
}

impl<'b> CborReader<'b> {
    pub(super) fn new(body: &'b [u8]) -> Self {
        Self {
            decoder: Decoder::new(body),
        }
    }

    /// The span of the last `len` bytes that were read.
    fn last_bytes(&self, len: usize) -> Expected<Span> {
        let end = self.decoder.position();
        new_span(end - len, end)
    }

    /// True if one more item follows; otherwise a break is skipped. `remaining` is the number of
    /// items left, or `None` if a break ends them.
    fn has_next(&mut self, remaining: &mut Option<u64>) -> Expected<bool> {
        match remaining {
            Some(0) => Ok(false),
            Some(remaining) => {
                *remaining -= 1;
                Ok(true)
            }
            None => {
                let at = self.decoder.position();
                match self.decoder.input().get(at) {
                    Some(&BREAK) => {
                        self.decoder.set_position(at + 1);
                        Ok(false)
                    }
                    Some(_) => Ok(true),
                    None => Err(Unexpected),
                }
            }
        }
    }
}

impl From<DecodeError> for Unexpected {
    fn from(_: DecodeError) -> Self {
        Self
    }
}

impl<'b> BodyReader<'b> for CborReader<'b> {
    fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &'b [u8]) -> Expected<()>,
    ) -> Expected<()> {
        let mut remaining = self.decoder.map()?;
        while self.has_next(&mut remaining)? {
            let name = self.decoder.str()?;
            member(self, name.as_bytes())?;
        }
        Ok(())
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Expected<T>) -> Expected<Vec<T>> {
        let mut remaining = self.decoder.array()?;
        let announced = usize::try_from(remaining.unwrap_or_default()).unwrap_or(usize::MAX);
        let unread = self
            .decoder
            .input()
            .len()
            .saturating_sub(self.decoder.position());
        let mut list = Vec::with_capacity(announced.min(unread / ITEM_BYTES_MIN));

        while self.has_next(&mut remaining)? {
            if list.len() == LIST_ITEMS {
                return Err(Unexpected);
            }
            list.push(item(self)?);
        }
        Ok(list)
    }

    fn count(&mut self, mut item: impl FnMut(&mut Self) -> Expected<[Span; 2]>) -> Expected<usize> {
        let mut remaining = self.decoder.array()?;
        let body = self.decoder.input();
        let mut count = 0;
        while self.has_next(&mut remaining)? {
            let start = self.decoder.position();
            let texts = item(self)?;
            count += 1;

            let mut at = self.decoder.position();
            let Some(template) = Template::new(body, start, at, texts) else {
                continue;
            };
            while remaining != Some(0) && body.get(at..).is_some_and(|next| template.matches(next))
            {
                at += template.len();
                count += 1;
                remaining = remaining.map(|n| n - 1);
            }
            self.decoder.set_position(at);
        }
        Ok(count)
    }

    fn null(&mut self) -> Expected<bool> {
        // 0xf6 is null, 0xf7 is undefined.
        let at = self.decoder.position();
        let found = matches!(self.decoder.input().get(at), Some(0xf6 | 0xf7));
        if found {
            self.decoder.set_position(at + 1);
        }
        Ok(found)
    }

    fn text(&mut self, _: &mut Vec<u8>) -> Expected<Span> {
        let len = self.decoder.str()?.len();
        self.last_bytes(len)
    }

    fn data(&mut self) -> Expected<Span> {
        let len = self.decoder.bytes()?.len();
        self.last_bytes(len)
    }

    fn int(&mut self) -> Expected<i64> {
        Ok(self.decoder.i64()?)
    }

    fn boolean(&mut self) -> Expected<bool> {
        Ok(self.decoder.bool()?)
    }

    fn time_ms(&mut self) -> Expected<i64> {
        let decoder = &mut self.decoder;
        if decoder.datatype()? == Type::Tag {
            let tag = decoder.tag()?;
            if tag != IanaTag::Timestamp.tag() {
                return Err(Unexpected);
            }
        }

        let time = match decoder.datatype()? {
            Type::F64 => Timestamp::from_cbor_float(decoder.f64()?),
            _ => Timestamp::from_millis(decoder.i64()?),
        };
        time.map(|time| time.0).ok_or(Unexpected)
    }

    fn skip(&mut self) -> Expected<()> {
        Ok(self.decoder.skip()?)
    }

    fn generic<T: DeserializeOwned>(&mut self) -> Expected<T> {
        let start = self.decoder.position();
        self.skip()?;
        let end = self.decoder.position();
        let value = self.decoder.input().get(start..end).ok_or(Unexpected)?;
        codec::decode_value(Format::Cbor, value).map_err(|_| Unexpected)
    }

    fn end(&mut self) -> Expected<()> {
        if self.decoder.position() == self.decoder.input().len() {
            Ok(())
        } else {
            Err(Unexpected)
        }
    }
}
