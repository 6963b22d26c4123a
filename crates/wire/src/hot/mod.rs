//! `PutRecords`, `GetRecords` and `SubscribeToShard` events without copying what is only passed on: this is where a
//! fan-out's CPU time goes.
//!
//! What is read stays in the body that it came in, as [`Span`]s of it; with JSON even the base64 text is passed on as it
//! is. What is written for many outputs is encoded and hashed once. Everything here reads what [`codec`](crate::codec)
//! reads and writes what it would write; what does not look as expected goes to the generic codec.
//!
//! | side | direction | use |
//! | --- | --- | --- |
//! | client | reads a `GetRecords` answer or a push event | [`GetRecordsAnswer::parse`] |
//! | client | writes a `PutRecords` request | [`PutRecordsBuilder`], [`SharedBody`], [`tail`] |
//! | client | reads a `PutRecords` answer | [`PutRecordsAnswer::parse`] |
//! | server | reads a `PutRecords` request | [`PutRecordsParsed::parse`] |
//! | server | writes a `GetRecords` answer or a push event | [`encode_get_records`], [`encode_subscribe_event`] |
//! | server | writes a `PutRecords` answer | [`encode_put_records_answer`] |

mod answer;
mod cbor;
mod json;
mod pull;
mod put_answer;
mod put_body;
mod put_request;
mod serve;
mod write;

use bytes::Bytes;

pub use answer::{GetRecordsAnswer, RecordIndex};
pub use put_answer::{EntryResult, PutRecordsAnswer};
pub use put_body::{Entry, PutRecordsBuilder, SharedBody, StreamRef, entry_size, tail};
pub use put_request::{EntryIndex, PutRecordsParsed};
pub use serve::{
    OutgoingRecord, OutgoingResult, encode_get_records, encode_put_records_answer,
    encode_subscribe_event,
};

/// Where something lies in a buffer: from `start` up to but without `end`. Whoever hands out a span has checked that it
/// lies inside its buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Offset after the last byte.
    pub end: u32,
}

impl Span {
    /// Length in bytes.
    pub fn len(self) -> usize {
        (self.end.saturating_sub(self.start)) as usize
    }

    /// True if there is nothing.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The bytes; empty if the span is not of this buffer.
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        buffer
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// The bytes as a slice that shares `buffer`; empty if the span is not of this buffer.
    pub fn slice(self, buffer: &Bytes) -> Bytes {
        if self.start <= self.end && self.end as usize <= buffer.len() {
            buffer.slice(self.start as usize..self.end as usize)
        } else {
            Bytes::new()
        }
    }

    /// The text; empty if the span is not of this buffer or no text.
    pub fn text(self, buffer: &[u8]) -> &str {
        std::str::from_utf8(self.of(buffer)).unwrap_or_default()
    }
}

/// The form that record data has in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataForm {
    /// As the producer wrote it.
    Raw,
    /// As standard base64 text with padding, not yet checked.
    Base64,
}

/// A record's data in the form it is at hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// As the producer wrote it.
    Raw(&'a [u8]),
    /// As standard base64 text with padding.
    Base64(&'a [u8]),
}

impl<'a> Data<'a> {
    /// `bytes`, which are in that form.
    pub fn new(form: DataForm, bytes: &'a [u8]) -> Self {
        match form {
            DataForm::Raw => Self::Raw(bytes),
            DataForm::Base64 => Self::Base64(bytes),
        }
    }

    /// How many bytes the producer wrote. For base64 it is what the length and the padding say; the text is not checked.
    pub fn decoded_len(self) -> usize {
        match self {
            Self::Raw(bytes) => bytes.len(),
            Self::Base64(text) => {
                let pad = text
                    .iter()
                    .rev()
                    .take(2)
                    .take_while(|b| **b == b'=')
                    .count();
                (text.len() / 4 * 3).saturating_sub(pad)
            }
        }
    }

    /// The bytes that the producer wrote.
    ///
    /// # Errors
    /// [`NotBase64`] for text that is not base64.
    pub fn decode(self) -> Result<Vec<u8>, NotBase64> {
        match self {
            Self::Raw(bytes) => Ok(bytes.to_vec()),
            Self::Base64(text) => base64_simd::STANDARD
                .decode_to_vec(text)
                .map_err(|_| NotBase64),
        }
    }
}

/// The data of a JSON record is not base64 text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the data of a record is not base64 text")]
pub struct NotBase64;
