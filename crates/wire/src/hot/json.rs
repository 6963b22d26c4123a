//! Reading a JSON body in one pass.

use memchr::memchr2;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::Span;
use super::reader::{BodyReader, Expected, Template, Unexpected, new_span};
use crate::limits::LIST_ITEMS;
use crate::types::Timestamp;

/// Reads a JSON body.
pub(super) struct JsonReader<'b> {
    body: &'b [u8],
    /// Offset of the next byte to read.
    at: usize,
}

/// The place of a string's inside in the body, escapes included.
struct RawString {
    start: usize,
    end: usize,
    has_escapes: bool,
}

/// True for bytes that JSON allows unescaped between quotes: UTF-8 without control characters.
fn is_text(text: &[u8]) -> bool {
    !text.iter().any(|b| *b < 0x20) && std::str::from_utf8(text).is_ok()
}

/// True for a number without sign that JSON allows. Rust's parsers also accept a plus in front,
/// leading zeros and a bare dot; JSON does not.
fn is_json_number(digits: &[u8]) -> bool {
    let valid_start = matches!(
        digits,
        [b'0'] | [b'0', b'.' | b'e' | b'E', ..] | [b'1'..=b'9', ..]
    );
    let dot = memchr::memchr(b'.', digits);
    valid_start && dot.is_none_or(|dot| digits.get(dot + 1).is_some_and(u8::is_ascii_digit))
}

impl<'b> JsonReader<'b> {
    pub(super) fn new(body: &'b [u8]) -> Self {
        Self { body, at: 0 }
    }

    /// Skips white space and returns the next byte without reading that byte.
    fn peek(&mut self) -> Expected<u8> {
        loop {
            match self.body.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(b) => return Ok(*b),
                None => return Err(Unexpected),
            }
        }
    }

    /// Reads `byte`.
    fn take(&mut self, byte: u8) -> Expected<()> {
        if self.peek()? == byte {
            self.at += 1;
            Ok(())
        } else {
            Err(Unexpected)
        }
    }

    /// Reads `word` if the next bytes are that word; true if so.
    fn word(&mut self, word: &[u8]) -> Expected<bool> {
        self.peek()?;
        let found = self.body[self.at..].starts_with(word);
        if found {
            self.at += word.len();
        }
        Ok(found)
    }

    /// Reads a string without looking at the characters.
    fn raw_string(&mut self) -> Expected<RawString> {
        self.take(b'"')?;
        let start = self.at;
        let mut has_escapes = false;
        loop {
            let rest = self.body.get(self.at..).ok_or(Unexpected)?;
            self.at += memchr2(b'"', b'\\', rest).ok_or(Unexpected)?;
            if self.body[self.at] == b'"' {
                let end = self.at;
                self.at += 1;
                return Ok(RawString {
                    start,
                    end,
                    has_escapes,
                });
            }

            has_escapes = true;
            self.at += 2;
        }
    }

    /// Appends a string to `unescaped`, without the escapes.
    fn unescape(&self, raw: &RawString, unescaped: &mut Vec<u8>) -> Expected<Span> {
        let quoted = &self.body[raw.start - 1..raw.end + 1];
        let text: String = serde_json::from_slice(quoted).map_err(|_| Unexpected)?;
        let start = self.body.len() + unescaped.len();
        unescaped.extend_from_slice(text.as_bytes());
        new_span(start, start + text.len())
    }

    /// Reads the name of a member; a name with escapes is unexpected.
    fn name(&mut self) -> Expected<&'b [u8]> {
        let raw = self.raw_string()?;
        let name = &self.body[raw.start..raw.end];
        if raw.has_escapes || !is_text(name) {
            Err(Unexpected)
        } else {
            Ok(name)
        }
    }

    /// Reads the text of a number.
    fn number(&mut self) -> Expected<&'b str> {
        self.peek()?;
        let rest = &self.body[self.at..];
        let len = rest
            .iter()
            .position(|b| !matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .unwrap_or(rest.len());
        let text = &rest[..len];

        let digits = text.strip_prefix(b"-").unwrap_or(text);
        if !is_json_number(digits) {
            return Err(Unexpected);
        }
        self.at += len;
        std::str::from_utf8(text).map_err(|_| Unexpected)
    }

    /// Reads a comma (false) or the byte that closes an object or list (true).
    fn closes(&mut self, closing: u8) -> Expected<bool> {
        let byte = self.peek()?;
        if byte != b',' && byte != closing {
            return Err(Unexpected);
        }
        self.at += 1;
        Ok(byte == closing)
    }
}

impl<'b> BodyReader<'b> for JsonReader<'b> {
    fn object(
        &mut self,
        mut member: impl FnMut(&mut Self, &'b [u8]) -> Expected<()>,
    ) -> Expected<()> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Ok(());
        }

        loop {
            let name = self.name()?;
            self.take(b':')?;
            member(self, name)?;
            if self.closes(b'}')? {
                return Ok(());
            }
        }
    }

    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Expected<T>) -> Expected<Vec<T>> {
        self.take(b'[')?;
        let mut list = Vec::new();
        if self.peek()? == b']' {
            self.at += 1;
            return Ok(list);
        }

        loop {
            if list.len() == LIST_ITEMS {
                return Err(Unexpected);
            }
            list.push(item(self)?);
            if self.closes(b']')? {
                return Ok(list);
            }
        }
    }

    fn count(&mut self, mut item: impl FnMut(&mut Self) -> Expected<[Span; 2]>) -> Expected<usize> {
        let mut count = 0;
        self.list(|reader| {
            reader.peek()?;
            let start = reader.at;
            let texts = item(reader)?;
            count += 1;

            let Some(template) = Template::new(reader.body, start, reader.at, texts) else {
                return Ok(());
            };
            while let Some([b',', next @ ..]) = reader.body.get(reader.at..)
                && template.matches(next)
            {
                reader.at += 1 + template.len();
                count += 1;
            }
            Ok(())
        })?;
        Ok(count)
    }

    fn null(&mut self) -> Expected<bool> {
        self.word(b"null")
    }

    fn text(&mut self, unescaped: &mut Vec<u8>) -> Expected<Span> {
        let raw = self.raw_string()?;
        if raw.has_escapes {
            return self.unescape(&raw, unescaped);
        }

        let text = &self.body[raw.start..raw.end];
        if is_text(text) {
            new_span(raw.start, raw.end)
        } else {
            Err(Unexpected)
        }
    }

    fn data(&mut self) -> Expected<Span> {
        let raw = self.raw_string()?;
        if raw.has_escapes {
            Err(Unexpected)
        } else {
            new_span(raw.start, raw.end)
        }
    }

    fn int(&mut self) -> Expected<i64> {
        self.number()?.parse().map_err(|_| Unexpected)
    }

    fn boolean(&mut self) -> Expected<bool> {
        if self.word(b"true")? {
            Ok(true)
        } else if self.word(b"false")? {
            Ok(false)
        } else {
            Err(Unexpected)
        }
    }

    fn time_ms(&mut self) -> Expected<i64> {
        let seconds: f64 = self.number()?.parse().map_err(|_| Unexpected)?;
        let time = Timestamp::from_seconds(seconds);
        time.map(|time| time.0).ok_or(Unexpected)
    }

    fn skip(&mut self) -> Expected<()> {
        if self.peek()? == b'"' {
            let start = self.at;
            let raw = self.raw_string()?;
            if !raw.has_escapes && is_text(&self.body[raw.start..raw.end]) {
                return Ok(());
            }
            self.at = start;
        }
        self.generic::<IgnoredAny>().map(|_| ())
    }

    fn generic<T: DeserializeOwned>(&mut self) -> Expected<T> {
        self.peek()?;
        let rest = &self.body[self.at..];
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter::<T>();
        let value = values.next().ok_or(Unexpected)?.map_err(|_| Unexpected)?;
        self.at += values.byte_offset();
        Ok(value)
    }

    fn end(&mut self) -> Expected<()> {
        if self.peek().is_err() {
            Ok(())
        } else {
            Err(Unexpected)
        }
    }
}
