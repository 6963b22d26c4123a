//! Walking over CBOR.

use minicbor::data::{IanaTag, Type};
use minicbor::decode::Decoder;
use serde::de::DeserializeOwned;

use super::Span;
use super::pull::{Hot, ITEM_BYTES_MIN, Miss, Pull, Template, span};
use crate::codec::{self, Format};
use crate::limits::LIST_ITEMS;
use crate::types::Timestamp;

/// A walk over a CBOR body. Text and byte strings in chunks are left to the generic codec.
pub(super) struct Cbor<'b> {
    decoder: Decoder<'b>,
}

impl<'b> Cbor<'b> {
    pub(super) fn new(body: &'b [u8]) -> Self {
        Self {
            decoder: Decoder::new(body),
        }
    }

    /// The span of `len` bytes that end where the walk stands.
    fn behind(&self, len: usize) -> Hot<Span> {
        let end = self.decoder.position();
        span(end - len, end)
    }

    /// Takes a break if one is due; true if another item is there.
    fn more(&mut self, left: &mut Option<u64>) -> Hot<bool> {
        match left {
            Some(0) => Ok(false),
            Some(n) => {
                *n -= 1;
                Ok(true)
            }
            None => {
                let at = self.decoder.position();
                match self.decoder.input().get(at) {
                    Some(0xff) => {
                        self.decoder.set_position(at + 1);
                        Ok(false)
                    }
                    Some(_) => Ok(true),
                    None => Err(Miss),
                }
            }
        }
    }
}

impl<'b> Pull<'b> for Cbor<'b> {
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'b [u8]) -> Hot<()>) -> Hot<()> {
        let mut left = self.decoder.map().map_err(|_| Miss)?;
        while self.more(&mut left)? {
            let name = self.decoder.str().map_err(|_| Miss)?;
            member(self, name.as_bytes())?;
        }
        Ok(())
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Hot<T>) -> Hot<Vec<T>> {
        let mut left = self.decoder.array().map_err(|_| Miss)?;
        let announced = usize::try_from(left.unwrap_or_default()).unwrap_or(usize::MAX);
        let rest = self
            .decoder
            .input()
            .len()
            .saturating_sub(self.decoder.position());
        let mut list = Vec::with_capacity(announced.min(rest / ITEM_BYTES_MIN));
        while self.more(&mut left)? {
            if list.len() == LIST_ITEMS {
                return Err(Miss);
            }
            list.push(item(self)?);
        }
        Ok(list)
    }

    fn count(&mut self, mut item: impl FnMut(&mut Self) -> Hot<[Span; 2]>) -> Hot<usize> {
        let mut left = self.decoder.array().map_err(|_| Miss)?;
        let body = self.decoder.input();
        let mut count = 0;
        while self.more(&mut left)? {
            let start = self.decoder.position();
            let texts = item(self)?;
            count += 1;
            let mut at = self.decoder.position();
            let Some(like) = Template::new(body, start, at, texts) else {
                continue;
            };
            while left != Some(0) && body.get(at..).is_some_and(|next| like.matches(next)) {
                at += like.len();
                count += 1;
                left = left.map(|n| n - 1);
            }
            self.decoder.set_position(at);
        }
        Ok(count)
    }

    fn null(&mut self) -> Hot<bool> {
        // 0xf6 is null, 0xf7 undefined.
        let at = self.decoder.position();
        let found = matches!(self.decoder.input().get(at), Some(0xf6 | 0xf7));
        if found {
            self.decoder.set_position(at + 1);
        }
        Ok(found)
    }

    fn text(&mut self, _: &mut Vec<u8>) -> Hot<Span> {
        let len = self.decoder.str().map_err(|_| Miss)?.len();
        self.behind(len)
    }

    fn data(&mut self) -> Hot<Span> {
        let len = self.decoder.bytes().map_err(|_| Miss)?.len();
        self.behind(len)
    }

    fn int(&mut self) -> Hot<i64> {
        self.decoder.i64().map_err(|_| Miss)
    }

    fn boolean(&mut self) -> Hot<bool> {
        self.decoder.bool().map_err(|_| Miss)
    }

    fn time_ms(&mut self) -> Hot<i64> {
        let d = &mut self.decoder;
        if d.datatype().map_err(|_| Miss)? == Type::Tag {
            let tag = d.tag().map_err(|_| Miss)?;
            if tag != IanaTag::Timestamp.tag() {
                return Err(Miss);
            }
        }
        let time = match d.datatype().map_err(|_| Miss)? {
            Type::F64 => Timestamp::from_cbor_float(d.f64().map_err(|_| Miss)?),
            _ => Timestamp::from_millis(d.i64().map_err(|_| Miss)?),
        };
        time.map(|t| t.0).ok_or(Miss)
    }

    fn skip(&mut self) -> Hot<()> {
        self.decoder.skip().map_err(|_| Miss)
    }

    fn generic<T: DeserializeOwned>(&mut self) -> Hot<T> {
        let start = self.decoder.position();
        self.skip()?;
        let value = self
            .decoder
            .input()
            .get(start..self.decoder.position())
            .ok_or(Miss)?;
        codec::decode_value(Format::Cbor, value).map_err(|_| Miss)
    }

    fn end(&mut self) -> Hot<()> {
        if self.decoder.position() == self.decoder.input().len() {
            Ok(())
        } else {
            Err(Miss)
        }
    }
}
