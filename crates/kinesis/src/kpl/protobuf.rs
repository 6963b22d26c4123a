//! The part of the protocol buffers encoding that aggregates use.
//!
//! Written here, as two messages of seven fields need less code than a generated decoder, and the
//! user records stay slices of the aggregate.
//!
//! Source: [Protocol Buffers encoding](https://protobuf.dev/programming-guides/encoding/).

use super::Damage;

/// The most bytes of a variable-length number of 64 bits.
const VARINT_BYTES: usize = 10;
/// The lowest bits of a tag: the wire type.
const NUMBER: u64 = 0;
const FIXED_64: u64 = 1;
const BYTES: u64 = 2;
const FIXED_32: u64 = 5;

/// One field of a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u64,
    pub(super) value: Value<'a>,
    /// Tag and value as encoded.
    pub(super) raw: &'a [u8],
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
    /// Four or eight bytes: no field of an aggregate.
    Fixed,
}

impl<'a> Value<'a> {
    pub(super) fn number(self) -> Result<u64, Damage> {
        match self {
            Self::Number(number) => Ok(number),
            Self::Bytes(_) | Self::Fixed => Err(Damage::Malformed("a number has another type")),
        }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], Damage> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::Number(_) | Self::Fixed => Err(Damage::Malformed("a text has another type")),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, Damage> {
        std::str::from_utf8(self.bytes()?).map_err(|_| Damage::Malformed("a key is not UTF-8"))
    }
}

/// The fields of a message, in the order of the bytes.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn of(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// The next field; `None` at the end of the message.
    pub(super) fn next(&mut self) -> Result<Option<Field<'a>>, Damage> {
        if self.rest.is_empty() {
            return Ok(None);
        }

        let start = self.rest;
        let tag = self.varint()?;
        if tag > u64::from(u32::MAX) {
            return Err(Damage::Malformed("a field has an unknown number"));
        }
        let value = self.value(tag & 7)?;
        let used = start.len() - self.rest.len();
        Ok(Some(Field {
            number: tag >> 3,
            value,
            raw: start.get(..used).unwrap_or_default(),
        }))
    }

    fn value(&mut self, wire_type: u64) -> Result<Value<'a>, Damage> {
        match wire_type {
            NUMBER => self.varint().map(Value::Number),
            FIXED_64 => self.take(8).map(|_| Value::Fixed),
            FIXED_32 => self.take(4).map(|_| Value::Fixed),
            BYTES => {
                let len = self.varint()?;
                let len = usize::try_from(len).map_err(|_| Damage::Truncated)?;
                self.take(len).map(Value::Bytes)
            }
            _ => Err(Damage::Malformed("a field has an unknown type")),
        }
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], Damage> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(Damage::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, Damage> {
        let mut value = 0u64;
        for (i, byte) in self.rest.iter().take(VARINT_BYTES).enumerate() {
            let bits = u64::from(byte & 0x7f);
            if i == VARINT_BYTES - 1 && bits > 1 {
                return Err(Damage::Malformed("a number has more than 64 bits"));
            }
            value |= bits << (7 * i);
            if byte & 0x80 == 0 {
                self.take(i + 1)?;
                return Ok(value);
            }
        }
        Err(Damage::Truncated)
    }
}

/// Bytes of a variable-length number.
pub(super) fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

pub(super) fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Writes a field that is a number.
pub(super) fn write_number(out: &mut Vec<u8>, field: u64, value: u64) {
    write_varint(out, field << 3 | NUMBER);
    write_varint(out, value);
}

/// Writes tag and length of a field of `len` bytes, which have to follow.
pub(super) fn write_head(out: &mut Vec<u8>, field: u64, len: usize) {
    write_varint(out, field << 3 | BYTES);
    write_varint(out, len as u64);
}

/// Bytes of a field of `len` bytes whose tag takes one byte.
pub(super) fn field_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}
