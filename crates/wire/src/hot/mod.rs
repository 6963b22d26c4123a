//! `PutRecords`, `GetRecords` and `SubscribeToShard` events without copies of the record data: the
//! hot path, where a fan-out spends CPU time.
//!
//! Reading leaves the data in the received body and returns [`Span`]s of that body; the base64 text
//! of JSON is not even decoded. Writing encodes and hashes a body once for many outputs. Both do
//! exactly the same as [`codec`](crate::codec), and leave every unusual body to that codec.
//!
//! | side | direction | use |
//! | --- | --- | --- |
//! | client | reads a `GetRecords` answer or a push event | [`GetRecordsAnswer::parse`] |
//! | client | writes a `PutRecords` request | [`PutRecordsBuilder`], [`SharedBody`], [`tail`] |
//! | client | reads a `PutRecords` answer | [`PutRecordsAnswer::parse`] |
//! | server | reads a `PutRecords` request | [`PutRecordsParsed::parse`] |
//! | server | writes a `GetRecords` answer | [`encode_get_records`] |
//! | server | writes a push event | [`encode_subscribe_event`] |
//! | server | writes a `PutRecords` answer | [`encode_put_records_answer`] |

mod answer;
mod cbor;
mod json;
mod put_answer;
mod put_body;
mod put_request;
mod reader;
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

/// A place in a buffer: from `start` up to but without `end`. Every span of this module lies inside
/// the buffer that the doc of the span names.
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

    /// True if the length is 0.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The bytes; empty if the span does not lie inside `buffer`.
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        buffer
            .get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// The bytes as a slice that shares the memory of `buffer`; empty if the span does not lie
    /// inside `buffer`.
    pub fn slice(self, buffer: &Bytes) -> Bytes {
        if self.start <= self.end && self.end as usize <= buffer.len() {
            buffer.slice(self.start as usize..self.end as usize)
        } else {
            Bytes::new()
        }
    }

    /// The text; empty if the span does not lie inside `buffer`, or the bytes are not UTF-8.
    pub fn text(self, buffer: &[u8]) -> &str {
        std::str::from_utf8(self.of(buffer)).unwrap_or_default()
    }
}

/// The form that record data has in a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataForm {
    /// The bytes that the producer wrote.
    Raw,
    /// Standard base64 text with padding, not yet checked.
    Base64,
}

/// The data of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Data<'a> {
    /// The bytes that the producer wrote.
    Raw(&'a [u8]),
    /// Standard base64 text with padding, not yet checked.
    Base64(&'a [u8]),
}

impl<'a> Data<'a> {
    /// Data from `bytes` in the given form.
    pub fn new(form: DataForm, bytes: &'a [u8]) -> Self {
        match form {
            DataForm::Raw => Self::Raw(bytes),
            DataForm::Base64 => Self::Base64(bytes),
        }
    }

    /// The number of bytes that the producer wrote. For base64, computed from the length and the
    /// padding of the text, which is not checked.
    pub fn decoded_len(self) -> usize {
        match self {
            Self::Raw(bytes) => bytes.len(),
            Self::Base64(text) => {
                let last = text.iter().rev().take(2);
                let padding = last.take_while(|b| **b == b'=').count();
                (text.len() / 4 * 3).saturating_sub(padding)
            }
        }
    }

    /// The bytes that the producer wrote.
    ///
    /// # Errors
    /// [`NotBase64`], if the text is not base64.
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
