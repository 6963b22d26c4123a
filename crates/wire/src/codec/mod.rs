//! The two encodings of the protocol, for every shape: `application/x-amz-json-1.1` and `application/x-amz-cbor-1.1`.
//!
//! CBOR for Kinesis is undocumented, though every Java client uses it. Written here: definite lengths, times as tag 1
//! with whole milliseconds. Read: anything well-formed.

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
    /// Both.
    pub const ALL: [Self; 2] = [Self::Json, Self::Cbor];

    /// The value of the `Content-Type` header.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        }
    }

    /// The format that a `Content-Type` header names; parameters after `;` and letter case are ignored.
    pub fn from_content_type(value: &str) -> Option<Self> {
        let essence = value.split(';').next().unwrap_or_default().trim();
        [
            ("application/x-amz-json-1.1", Self::Json),
            ("application/x-amz-json-1.0", Self::Json),
            ("application/json", Self::Json),
            ("application/x-amz-cbor-1.1", Self::Cbor),
            ("application/cbor", Self::Cbor),
        ]
        .into_iter()
        .find_map(|(name, format)| essence.eq_ignore_ascii_case(name).then_some(format))
    }
}

/// The format of an answer: what its first byte can only be, else what its `Content-Type` says, else JSON.
///
/// Servers exist that answer JSON to a CBOR request under either content type; an object starts with `{` (or white
/// space) in JSON and with 0xa0..=0xbf in CBOR, so the byte decides when there is one.
pub fn sniff(content_type: Option<&str>, body: &[u8]) -> Format {
    match body.first() {
        Some(0xa0..=0xbf) => Format::Cbor,
        Some(b'{' | b' ' | b'\t' | b'\r' | b'\n') => Format::Json,
        _ => content_type
            .and_then(Format::from_content_type)
            .unwrap_or(Format::Json),
    }
}

/// Why a body could not be read.
///
/// A server answers both kinds with `SerializationException`: [`Malformed`](Self::Malformed) with no message at all, as
/// AWS does, and [`Shape`](Self::Shape) with its text. A client treats either as an answer that says nothing.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Not well-formed JSON or CBOR, cut short, or followed by something else.
    #[error("the body is not well-formed {format:?}: {reason}")]
    Malformed {
        /// The format that it was read as.
        format: Format,
        /// What is wrong with it, and where.
        reason: String,
    },
    /// Well-formed, but a member has another type than the protocol says. The text is AWS's own.
    #[error("{message}")]
    Shape {
        /// What AWS would say.
        message: String,
    },
    /// Larger than anything that the protocol allows, so not looked into.
    #[error("the body has {size} bytes; no more than {limit} are read")]
    TooLarge {
        /// Its size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Well-formed, but contradicts itself, so that it is neither success nor failure.
    #[error("the answer contradicts itself: {reason}")]
    Inconsistent {
        /// What does not fit.
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

    /// A body of another shape than the protocol says.
    pub(crate) fn shape(message: impl Into<String>) -> Self {
        Self::Shape {
            message: message.into(),
        }
    }

    /// The message of the `SerializationException` that AWS would answer to such a request; none for bodies that are
    /// not even well-formed.
    pub fn aws_message(&self) -> Option<&str> {
        match self {
            Self::Shape { message } => Some(message),
            Self::Malformed { .. } | Self::TooLarge { .. } | Self::Inconsistent { .. } => None,
        }
    }
}

/// Encodes a request or an answer. Shapes of [`types`](crate::types) can always be encoded.
pub fn encode<T: Serialize>(format: Format, value: &T) -> Bytes {
    let mut out = Vec::with_capacity(256);
    let done = match format {
        Format::Json => serde_json::to_writer(&mut out, value).is_ok(),
        Format::Cbor => value
            .serialize(&mut minicbor_serde::Serializer::new(&mut out))
            .is_ok(),
    };
    // Writing to memory cannot fail, and no shape has a map with keys that are not text, the one thing that serde_json
    // refuses; should a type of another crate do so, an empty body is refused by every server.
    debug_assert!(done, "a value that cannot be encoded");
    if !done {
        out.clear();
    }
    out.into()
}

/// Encodes an answer as AWS sends it: one without members has an empty body.
pub fn encode_answer<T: Serialize>(format: Format, value: &T) -> Bytes {
    let body = encode(format, value);
    match &body[..] {
        b"{}" | [0xa0] => Bytes::new(),
        _ => body,
    }
}

/// Decodes a request or an answer: unknown members are passed over, null is absent, trailing bytes are an error.
///
/// # Errors
/// [`CodecError::Malformed`] and [`CodecError::Shape`].
pub fn decode<T: DeserializeOwned>(format: Format, body: &[u8]) -> Result<T, CodecError> {
    decode_value::<Object<T>>(format, body).map(|object| object.0)
}

/// A shape that is an object: by itself serde takes a list for one too.
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        member::structure(deserializer).map(Self)
    }
}

/// As [`decode`], for a value that need not be an object.
pub(crate) fn decode_value<T: DeserializeOwned>(
    format: Format,
    body: &[u8],
) -> Result<T, CodecError> {
    match format {
        Format::Json => serde_json::from_slice(body).map_err(|e| from_json_error(&e)),
        Format::Cbor => {
            let mut reader = cbor::Reader::new(body);
            let value = T::deserialize(&mut reader).map_err(|e| match e {
                cbor::ReadError::Malformed(e) => CodecError::malformed(format, e.to_string()),
                cbor::ReadError::Shape(message) => CodecError::Shape { message },
            })?;
            if reader.at_end() {
                Ok(value)
            } else {
                Err(CodecError::malformed(format, "bytes follow the body"))
            }
        }
    }
}

/// Decodes an answer, for which no body at all stands for one without members.
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

/// Tells bad JSON from good JSON of another shape, and cuts the position off the text that AWS would say.
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
