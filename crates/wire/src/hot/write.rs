//! Writing JSON and CBOR piece by piece.

use base64_simd::AsOut;
use bytes::BytesMut;

use super::{Data, NotBase64};

// The major types of CBOR: the upper three bits of an item's first byte.
const UINT: u8 = 0x00;
const NEGATIVE: u8 = 0x20;
const BYTES: u8 = 0x40;
const TEXT: u8 = 0x60;
pub(super) const ARRAY: u8 = 0x80;
pub(super) const MAP: u8 = 0xa0;
/// Tag 1, a point in time.
pub(super) const TIME: u8 = 0xc1;

/// Writes the head of a CBOR item, in the shortest form: major type, then value or length.
pub(super) fn cbor_head(out: &mut BytesMut, major: u8, n: u64) {
    let bytes = n.to_be_bytes();
    match n {
        0..=23 => out.extend_from_slice(&[major | bytes[7]]),
        24..=0xff => out.extend_from_slice(&[major | 24, bytes[7]]),
        0x100..=0xffff => out.extend_from_slice(&[major | 25, bytes[6], bytes[7]]),
        0x1_0000..=0xffff_ffff => {
            out.extend_from_slice(&[major | 26]);
            out.extend_from_slice(&bytes[4..]);
        }
        _ => {
            out.extend_from_slice(&[major | 27]);
            out.extend_from_slice(&bytes);
        }
    }
}

/// Bytes of a CBOR head with the value or length `n`.
pub(super) fn cbor_head_len(n: usize) -> usize {
    match n {
        0..=23 => 1,
        24..=0xff => 2,
        0x100..=0xffff => 3,
        0x1_0000..=0xffff_ffff => 5,
        _ => 9,
    }
}

/// Writes a CBOR text.
#[inline]
pub(super) fn cbor_text(out: &mut BytesMut, text: &str) {
    cbor_head(out, TEXT, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Writes the name and the value of a member that is a text; nothing if absent.
#[inline]
pub(super) fn cbor_member(out: &mut BytesMut, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        cbor_text(out, name);
        cbor_text(out, value);
    }
}

/// Writes a CBOR integer.
pub(super) fn cbor_int(out: &mut BytesMut, value: i64) {
    if value < 0 {
        cbor_head(out, NEGATIVE, !(value as u64));
    } else {
        cbor_head(out, UINT, value as u64);
    }
}

/// Writes a CBOR byte string.
pub(super) fn cbor_bytes(out: &mut BytesMut, bytes: &[u8]) {
    cbor_head(out, BYTES, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Writes data as a CBOR byte string; base64 is decoded.
///
/// # Errors
/// [`NotBase64`]; `out` is unchanged.
pub(super) fn cbor_data(out: &mut BytesMut, data: Data<'_>) -> Result<(), NotBase64> {
    match data {
        Data::Raw(bytes) => cbor_bytes(out, bytes),
        Data::Base64(text) => {
            let len = base64_simd::STANDARD
                .decoded_length(text)
                .map_err(|_| NotBase64)?;

            let start = out.len();
            cbor_head(out, BYTES, len as u64);
            let at = out.len();
            out.resize(at + len, 0);
            let decoded = base64_simd::STANDARD.decode(text, out[at..].as_out());
            if decoded.is_err() {
                out.truncate(start);
                return Err(NotBase64);
            }
        }
    }
    Ok(())
}

/// Writes a JSON text: quoted, with the escapes that JSON requires.
pub(super) fn json_text(out: &mut BytesMut, text: &str) {
    out.extend_from_slice(b"\"");
    let bytes = text.as_bytes();
    let mut written = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && !matches!(byte, b'"' | b'\\') {
            continue;
        }

        out.extend_from_slice(&bytes[written..at]);
        written = at + 1;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            _ => {
                let digit = |n: u8| if n < 10 { b'0' + n } else { b'a' + n - 10 };
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
            }
        }
    }
    out.extend_from_slice(&bytes[written..]);
    out.extend_from_slice(b"\"");
}

/// Writes a member that is a text; nothing if absent. `name` is the name as written: with comma,
/// quotes and colon.
#[inline]
pub(super) fn json_member(out: &mut BytesMut, name: &[u8], value: Option<&str>) {
    if let Some(value) = value {
        out.extend_from_slice(name);
        json_text(out, value);
    }
}

/// Bytes of a JSON text, quotes and escapes included.
pub(super) fn json_text_len(text: &str) -> usize {
    let escapes: usize = text
        .bytes()
        .map(|b| match b {
            b'"' | b'\\' => 1,
            0..0x20 => 5,
            _ => 0,
        })
        .sum();
    text.len() + escapes + 2
}

/// Writes a JSON integer.
pub(super) fn json_int(out: &mut BytesMut, value: i64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes a JSON time: seconds with three decimals.
pub(super) fn json_time(out: &mut BytesMut, ms: i64) {
    if ms < 0 {
        out.extend_from_slice(b"-");
    }

    let ms = ms.unsigned_abs();
    out.extend_from_slice(itoa::Buffer::new().format(ms / 1000).as_bytes());
    let part = (ms % 1000) as u16;
    let digit = |n: u16| b'0' + (n % 10) as u8;
    out.extend_from_slice(&[b'.', digit(part / 100), digit(part / 10), digit(part)]);
}

/// Writes data as JSON: quoted base64 text. Base64 text is written unchanged and unchecked.
pub(super) fn json_data(out: &mut BytesMut, data: Data<'_>) {
    out.extend_from_slice(b"\"");
    match data {
        Data::Base64(text) => out.extend_from_slice(text),
        Data::Raw(bytes) => {
            let at = out.len();
            out.resize(at + base64_len(bytes.len()), 0);
            let _ = base64_simd::STANDARD.encode(bytes, out[at..].as_out());
        }
    }
    out.extend_from_slice(b"\"");
}

/// Length of the base64 text, with padding, of so many bytes.
pub(super) fn base64_len(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}
