//! Reading a `GetRecords` answer or a `SubscribeToShard` event.

use bytes::Bytes;

use super::{Data, DataForm, Span};
use crate::codec::{CodecError, Format};
use crate::types::ChildShard;

/// Where the parts of one record lie in [`GetRecordsAnswer::body`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecordIndex {
    /// The sequence number: text.
    pub sequence: Span,
    /// The partition key: text. A record may have none.
    pub key: Option<Span>,
    /// The data, in the answer's [`form`](GetRecordsAnswer::form).
    pub data: Span,
    /// When Kinesis took the record, in milliseconds since 1970; 0 if the server did not say.
    pub arrival_ms: i64,
}

/// A `GetRecords` answer or a `SubscribeToShard` event: an index over its body.
#[derive(Clone, Debug)]
pub struct GetRecordsAnswer {
    /// The body that the spans of `records` point into: the one that was parsed or, if some text in it was escaped or cut
    /// in chunks, one with that text appended.
    pub body: Bytes,
    /// The form that the data have in `body`.
    pub form: DataForm,
    /// The records, in the order of the answer.
    pub records: Vec<RecordIndex>,
    /// Where to read on; `None` when the shard is closed and this is its end (and in a push event).
    pub next_shard_iterator: Option<String>,
    /// Where to subscribe again; only in a push event, and `None` there at the end of a shard.
    pub continuation_sequence_number: Option<String>,
    /// How far behind the tip the answer ends, in milliseconds.
    pub millis_behind_latest: Option<i64>,
    /// The children of a closed shard, with its last answer.
    pub child_shards: Vec<ChildShard>,
}

impl GetRecordsAnswer {
    /// Reads a body. Sequence numbers and keys are checked to be text; base64 is not looked into.
    ///
    /// # Errors
    /// [`CodecError`], for anything that is not such an answer or larger than
    /// [`ANSWER_BODY_BYTES`](crate::limits::ANSWER_BODY_BYTES).
    pub fn parse(format: Format, body: Bytes) -> Result<Self, CodecError> {
        todo!()
    }

    /// The data of a record of this answer.
    pub fn data(&self, record: &RecordIndex) -> Data<'_> {
        Data::new(self.form, record.data.of(&self.body))
    }
}
