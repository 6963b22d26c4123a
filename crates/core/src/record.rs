//! A record as the engine sees it: places in its batch's buffer, nothing decoded.

use crate::clock::Millis;

/// A run of bytes in a batch's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Offset of the first byte.
    pub start: u32,
    /// Length in bytes.
    pub len: u32,
}

impl Span {
    /// The bytes of `buffer` that this span names.
    pub fn of(self, buffer: &[u8]) -> &[u8] {
        let start = self.start as usize;
        // A batch refuses spans outside the buffer when it is built.
        buffer
            .get(start..start + self.len as usize)
            .unwrap_or_default()
    }
}

/// Where the parts of one record are in its batch's buffer.
#[derive(Clone, Copy, Debug)]
pub struct RecordIndex {
    /// The sequence number, decimal text.
    pub sequence: Span,
    /// The partition key, UTF-8; `None` where the stream has none (it is optional in today's
    /// Kinesis API).
    pub key: Option<Span>,
    /// The data, in the batch's [`DataForm`].
    pub data: Span,
    /// Arrival time at the source.
    pub arrival: Millis,
}

/// The form of a batch's data in the buffer. Data that is only passed on is never decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DataForm {
    /// The bytes themselves (CBOR, push).
    Raw,
    /// Their base64 text (JSON).
    Base64,
}

impl DataForm {
    /// Length in bytes of the data whose form in the buffer is `text`.
    pub fn data_len(self, text: &[u8]) -> usize {
        match self {
            Self::Raw => text.len(),
            Self::Base64 => base64_len(text),
        }
    }
}

/// Bytes that a base64 text stands for.
fn base64_len(text: &[u8]) -> usize {
    let whole = text.len() / 4 * 3;
    let rest = match text.len() % 4 {
        2 => 1,
        3 => 2,
        _ => 0,
    };

    let last = text.iter().rev().take(2);
    let padding = last.filter(|byte| **byte == b'=').count();
    (whole + rest).saturating_sub(padding)
}

/// One record, borrowed from its batch.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// The sequence number, decimal text.
    pub sequence: &'a str,
    /// The partition key.
    pub key: Option<&'a str>,
    /// The data in the form of the buffer; see `form`.
    pub data: &'a [u8],
    /// The form of `data`.
    pub form: DataForm,
    /// Arrival time at the source.
    pub arrival: Millis,
}

impl Record<'_> {
    /// Length of the data itself in bytes, whatever its form.
    pub fn data_len(&self) -> usize {
        self.form.data_len(self.data)
    }

    /// Length of data and partition key in bytes, as Kinesis's limits count.
    pub fn size(&self) -> usize {
        self.data_len() + self.key.map_or(0, str::len)
    }
}
