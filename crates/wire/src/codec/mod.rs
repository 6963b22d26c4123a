//! The generic codec: the two encodings of the protocol, `application/x-amz-json-1.1` and
//! `application/x-amz-cbor-1.1`, for every shape.
//!
//! CBOR for Kinesis is undocumented, though every Java client uses CBOR. This codec writes definite
//! lengths, and times as tag 1 with whole milliseconds; reading accepts any well-formed CBOR.

mod cbor;
pub(crate) mod member;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};

/// An encoding of requests and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Format {
    /// AWS JSON 1.1: data as base64 text, times as seconds with a fraction.
    Json,
    /// AWS CBOR 1.1: data as byte strings, times as tag 1 with milliseconds.
    Cbor,
}

impl Format {
    /// Both formats.
    pub const ALL: [Self; 2] = [Self::Json, Self::Cbor];

    /// The value of the `Content-Type` header.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    /// The format that a `Content-Type` header names; parameters after `;` and letter case are
    /// ignored.
    pub fn from_content_type(value: &str) -> Option<Self> {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        [
            ("application/x-amz-json-1.1", Self::Json),
            ("application/x-amz-json-1.0", Self::Json),
            ("application/json", Self::Json),
            ("application/x-amz-cbor-1.1", Self::Cbor),
            ("application/cbor", Self::Cbor),
        ]
        .into_iter()
        .find_map(|(name, format)| media_type.eq_ignore_ascii_case(name).then_some(format))
    }
}

/// The format of an answer: by the first byte if that decides, else by `Content-Type`, else JSON.
///
/// Some servers answer a CBOR request with JSON under either content type. An object starts with
/// `{` or white space in JSON, and with 0xa0..=0xbf in CBOR.
pub fn sniff(content_type: Option<&str>, body: &[u8]) -> Format {
    match body.first() {
        Some(0xa0..=0xbf) => Format::Cbor,
        Some(b'{' | b' ' | b'\t' | b'\r' | b'\n') => Format::Json,
        _ => content_type
            .and_then(Format::from_content_type)
            .unwrap_or(Format::Json),
    }
}

/// A body could not be read.
///
/// A server answers with `SerializationException`: for [`Shape`](Self::Shape) with the text, for
/// every other kind without a message, as AWS does. A client treats the outcome as unknown.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// The body is not well-formed JSON or CBOR, is cut short, or is followed by other bytes.
    #[error("the body is not well-formed {format:?}: {reason}")]
    Malformed {
        /// The format that the body was read as.
        format: Format,
        /// The fault and its place.
        reason: String,
    },
    /// The body is well-formed, but a member has the wrong type.
    #[error("{message}")]
    Shape {
        /// The message in AWS's words.
        message: String,
    },
    /// The body is larger than the protocol allows and was not read.
    #[error("the body has {size} bytes; no more than {limit} are read")]
    TooLarge {
        /// The size of the body in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// The body is well-formed, but contradicts itself: neither success nor failure.
    #[error("the answer contradicts itself: {reason}")]
    Inconsistent {
        /// The contradiction.
        reason: String,
    },
}

impl CodecError {
    /// A body that is not well-formed.
    pub(crate) fn malformed(format: Format, reason: impl Into<String>) -> Self {
        Self::Malformed {
            format,
            reason: reason.into(),
        }
    }

    /// A body of another shape than the protocol has.
    pub(crate) fn shape(message: impl Into<String>) -> Self {
        Self::Shape {
            message: message.into(),
        }
    }

    /// The message of the `SerializationException` that AWS would send; `None` if the body is not
    /// even well-formed.
    pub fn aws_message(&self) -> Option<&str> {
        match self {
            Self::Shape { message } => Some(message),
            Self::Malformed { .. } | Self::TooLarge { .. } | Self::Inconsistent { .. } => None,
        }
    }
}

/// Refuses a body over `limit` bytes.
pub(crate) fn check_size(body: &[u8], limit: usize) -> Result<(), CodecError> {
    let size = body.len();
    if size > limit {
        Err(CodecError::TooLarge { size, limit })
    } else {
        Ok(())
    }
}

/// Encodes a request or an answer. Every shape of [`types`](crate::types) can be encoded.
pub fn encode<T: Serialize>(format: Format, value: &T) -> Bytes {
    let mut out = Vec::with_capacity(256);
    let encoded = match format {
        Format::Json => serde_json::to_writer(&mut out, value).is_ok(),
        Format::Cbor => value
            .serialize(&mut minicbor_serde::Serializer::new(&mut out))
            .is_ok(),
    };

    // Writing to memory cannot fail. serde_json refuses only maps with keys other than text, which
    // no shape has; a type of another crate with such a map becomes an empty body, which every
    // server refuses.
    debug_assert!(encoded, "a value that cannot be encoded");
    if !encoded {
        out.clear();
    }
    out.into()
}

/// Encodes an answer as AWS sends answers: empty if no member is present.
pub fn encode_answer<T: Serialize>(format: Format, value: &T) -> Bytes {
    let body = encode(format, value);
    match &body[..] {
        b"{}" | [0xa0] => Bytes::new(),
        _ => body,
    }
}

/// Decodes a request or an answer. Unknown members are ignored, null means absent, trailing bytes
/// are an error.
///
/// # Errors
/// [`CodecError::Malformed`] and [`CodecError::Shape`].
pub fn decode<T: DeserializeOwned>(format: Format, body: &[u8]) -> Result<T, CodecError> {
    decode_value::<Object<T>>(format, body).map(|object| object.0)
}

/// A shape that must be an object: a derived serde type would also accept a list.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        member::structure(deserializer).map(Self)
    }
}

/// As [`decode`], but the value may also be a list or a scalar.
pub(crate) fn decode_value<T: DeserializeOwned>(
    format: Format,
    body: &[u8],
) -> Result<T, CodecError> {
    match format {
        Format::Json => serde_json::from_slice(body).map_err(|e| from_json_error(&e)),
        Format::Cbor => decode_cbor(body),
    }
}

fn decode_cbor<T: DeserializeOwned>(body: &[u8]) -> Result<T, CodecError> {
    let malformed = |reason: String| CodecError::malformed(Format::Cbor, reason);
    let mut reader = cbor::Reader::new(body);
    let value = T::deserialize(&mut reader).map_err(|e| match e {
        cbor::ReadError::Malformed(e) => malformed(e.to_string()),
        cbor::ReadError::Shape(message) => CodecError::Shape { message },
    })?;

    if reader.at_end() {
        Ok(value)
    } else {
        Err(malformed("bytes follow the body".to_owned()))
    }
}

/// Decodes an answer; an empty body is an answer without members.
///
/// # Errors
/// As [`decode`].
pub fn decode_answer<T: DeserializeOwned>(format: Format, body: &[u8]) -> Result<T, CodecError> {
    if body.is_empty() {
        decode(Format::Json, b"{}")
    } else {
        decode(format, body)
    }
}

/// Separates malformed JSON from JSON of another shape. AWS's text for the latter has no position,
/// so the position is cut off.
fn from_json_error(e: &serde_json::Error) -> CodecError {
    let text = e.to_string();
    if e.is_data() {
        let message = text
            .rfind(" at line ")
            .map_or(text.as_str(), |at| &text[..at]);
        CodecError::shape(message)
    } else {
        CodecError::malformed(Format::Json, text)
    }
}
