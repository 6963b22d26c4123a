//! Reading a `PutRecords` request, as a server.

use bytes::Bytes;

use super::Span;
use crate::codec::{CodecError, Format};

/// Where the parts of one record lie in [`PutRecordsParsed::buffer`]. All may be absent, for the server to refuse.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutEntry {
    /// The data, decoded.
    pub data: Option<Span>,
    /// The partition key: text.
    pub key: Option<Span>,
    /// The explicit hash key: text.
    pub explicit_hash_key: Option<Span>,
}

/// A `PutRecords` request: an index over one buffer.
#[derive(Clone, Debug)]
pub struct PutRecordsParsed {
    /// What the spans point into. With CBOR the body itself; with JSON a buffer with the decoded data and the keys one
    /// after the other, record by record: first the data, then the key, then the explicit hash key.
    pub buffer: Bytes,
    /// The records; `None` if the member is absent.
    pub records: Option<Vec<PutEntry>>,
    /// `StreamName`.
    pub stream_name: Option<String>,
    /// `StreamARN`.
    pub stream_arn: Option<String>,
    /// `StreamId`.
    pub stream_id: Option<String>,
    /// `DryRun`.
    pub dry_run: Option<bool>,
}

impl PutRecordsParsed {
    /// Reads a request body.
    ///
    /// # Errors
    /// [`CodecError`], with AWS's text where it is well-formed but of another shape (or its data are no base64).
    pub fn parse(format: Format, body: Bytes) -> Result<Self, CodecError> {
        todo!()
    }
}
