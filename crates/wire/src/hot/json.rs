//! Walking over JSON.

use memchr::memchr2;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::Span;
use super::pull::{Hot, Miss, Pull, Template, span};
use crate::limits::LIST_ITEMS;
use crate::types::Timestamp;

/// A walk over a JSON body.
pub(super) struct Json<'b> {
    body: &'b [u8],
    at: usize,
}

/// The inside of a string as it stands in the body.
struct Raw {
    start: usize,
    end: usize,
    escaped: bool,
}

/// True for what may stand between quotes as it is: UTF-8 without control characters.
fn is_text(text: &[u8]) -> bool {
    !text.iter().any(|b| *b < 0x20) && std::str::from_utf8(text).is_ok()
}

impl<'b> Json<'b> {
    pub(super) fn new(body: &'b [u8]) -> Self {
        Self { body, at: 0 }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Hot<u8> {
        loop {
            match self.body.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(b) => return Ok(*b),
                None => return Err(Miss),
            }
        }
    }

    fn take(&mut self, byte: u8) -> Hot<()> {
        if self.peek()? == byte {
            self.at += 1;
            Ok(())
        } else {
            Err(Miss)
        }
    }

    fn word(&mut self, word: &[u8]) -> Hot<bool> {
        self.peek()?;
        let found = self.body[self.at..].starts_with(word);
        if found {
            self.at += word.len();
        }
        Ok(found)
    }

    fn raw(&mut self) -> Hot<Raw> {
        self.take(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.body.get(self.at..).ok_or(Miss)?;
            self.at += memchr2(b'"', b'\\', rest).ok_or(Miss)?;
            if self.body[self.at] == b'"' {
                let end = self.at;
                self.at += 1;
                return Ok(Raw {
                    start,
                    end,
                    escaped,
                });
            }
            escaped = true;
            self.at += 2;
        }
    }

    /// The name of a member, without escapes.
    fn name(&mut self) -> Hot<&'b [u8]> {
        let raw = self.raw()?;
        let name = &self.body[raw.start..raw.end];
        if raw.escaped || !is_text(name) {
            Err(Miss)
        } else {
            Ok(name)
        }
    }

    /// The text of a number.
    fn number(&mut self) -> Hot<&'b str> {
        self.peek()?;
        let rest = &self.body[self.at..];
        let len = rest
            .iter()
            .position(|b| !matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        let text = &rest[..len];
        // What Rust's parsers take and JSON does not: a plus in front, leading zeros, a bare dot.
        let digits = text.strip_prefix(b"-").unwrap_or(text);
        let sound = matches!(
            digits,
            [b'0'] | [b'0', b'.' | b'e' | b'E', ..] | [b'1'..=b'9', ..]
        );
        let dot = memchr::memchr(b'.', digits);
        if !sound || dot.is_some_and(|dot| !digits.get(dot + 1).is_some_and(u8::is_ascii_digit)) {
            return Err(Miss);
        }
        self.at += len;
        std::str::from_utf8(text).map_err(|_| Miss)
    }
}

impl<'b> Pull<'b> for Json<'b> {
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'b [u8]) -> Hot<()>) -> Hot<()> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(());
        }
        loop {
            let name = self.name()?;
            self.take(b':')?;
            member(self, name)?;
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Ok(());
                }
                _ => return Err(Miss),
            }
        }
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Hot<T>) -> Hot<Vec<T>> {
        self.take(b'[')?;
        let mut list = Vec::new();
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(list);
        }
        loop {
            if list.len() == LIST_ITEMS {
                return Err(Miss);
            }
            list.push(item(self)?);
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Ok(list);
                }
                _ => return Err(Miss),
            }
        }
    }

    fn count(&mut self, mut item: impl FnMut(&mut Self) -> Hot<[Span; 2]>) -> Hot<usize> {
        let mut count = 0;
        self.list(|walk| {
            walk.peek()?;
            let start = walk.at;
            let texts = item(walk)?;
            count += 1;
            let Some(like) = Template::new(walk.body, start, walk.at, texts) else {
                return Ok(());
            };
            while let Some([b',', next @ ..]) = walk.body.get(walk.at..)
                && like.matches(next)
            {
                walk.at += 1 + like.len();
                count += 1;
            }
            Ok(())
        })?;
        Ok(count)
    }

    fn null(&mut self) -> Hot<bool> {
        self.word(b"null")
    }

    fn text(&mut self, extra: &mut Vec<u8>) -> Hot<Span> {
        let raw = self.raw()?;
        if raw.escaped {
            let quoted = &self.body[raw.start - 1..raw.end + 1];
            let text: String = serde_json::from_slice(quoted).map_err(|_| Miss)?;
            let start = self.body.len() + extra.len();
            extra.extend_from_slice(text.as_bytes());
            return span(start, start + text.len());
        }
        let text = &self.body[raw.start..raw.end];
        if is_text(text) {
            span(raw.start, raw.end)
        } else {
            Err(Miss)
        }
    }

    fn data(&mut self) -> Hot<Span> {
        let raw = self.raw()?;
        if raw.escaped {
            Err(Miss)
        } else {
            span(raw.start, raw.end)
        }
    }

    fn int(&mut self) -> Hot<i64> {
        self.number()?.parse().map_err(|_| Miss)
    }

    fn boolean(&mut self) -> Hot<bool> {
        if self.word(b"true")? {
            Ok(true)
        } else if self.word(b"false")? {
            Ok(false)
        } else {
            Err(Miss)
        }
    }

    fn time_ms(&mut self) -> Hot<i64> {
        let seconds: f64 = self.number()?.parse().map_err(|_| Miss)?;
        Timestamp::from_seconds(seconds).map(|t| t.0).ok_or(Miss)
    }

    fn skip(&mut self) -> Hot<()> {
        if self.peek()? == b'"' {
            let start = self.at;
            let raw = self.raw()?;
            if !raw.escaped && is_text(&self.body[raw.start..raw.end]) {
                return Ok(());
            }
            self.at = start;
        }
        self.generic::<IgnoredAny>().map(|_| ())
    }

    fn generic<T: DeserializeOwned>(&mut self) -> Hot<T> {
        self.peek()?;
        let mut values =
            serde_json::Deserializer::from_slice(&self.body[self.at..]).into_iter::<T>();
        let value = values.next().ok_or(Miss)?.map_err(|_| Miss)?;
        self.at += values.byte_offset();
        Ok(value)
    }

    fn end(&mut self) -> Hot<()> {
        if self.peek().is_err() {
            Ok(())
        } else {
            Err(Miss)
        }
    }
}
