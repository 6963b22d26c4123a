//! Writing answers, as a server.

use bytes::Bytes;

use crate::codec::Format;
use crate::types::ChildShard;

/// A record to answer with.
#[derive(Clone, Copy, Debug)]
pub struct RecordOut<'a> {
    /// Its sequence number.
    pub sequence_number: &'a str,
    /// Its partition key, if it has one.
    pub key: Option<&'a str>,
    /// Its data, as the producer wrote them.
    pub data: &'a [u8],
    /// When it was taken, in milliseconds since 1970.
    pub arrival_ms: i64,
    /// `EncryptionType`, left out if `None`.
    pub encryption_type: Option<&'a str>,
}

/// What became of one entry of a `PutRecords` request.
#[derive(Clone, Copy, Debug)]
pub enum PutResult<'a> {
    /// Written.
    Durable {
        /// Its sequence number.
        sequence_number: &'a str,
        /// The shard it went to.
        shard_id: &'a str,
    },
    /// Not written.
    Failed {
        /// `ErrorCode`.
        code: &'a str,
        /// `ErrorMessage`.
        message: &'a str,
    },
}

/// Writes a `GetRecords` answer into one allocation. `records` is gone through twice, once to find the size.
pub fn encode_get_records<'a, I>(
    format: Format,
    records: I,
    next_shard_iterator: Option<&str>,
    millis_behind_latest: i64,
    child_shards: &[ChildShard],
) -> Bytes
where
    I: ExactSizeIterator<Item = RecordOut<'a>> + Clone,
{
    todo!()
}

/// Writes the payload of a `SubscribeToShardEvent` into one allocation. `records` is gone through twice.
pub fn encode_subscribe_event<'a, I>(
    format: Format,
    records: I,
    continuation_sequence_number: Option<&str>,
    millis_behind_latest: i64,
    child_shards: &[ChildShard],
) -> Bytes
where
    I: ExactSizeIterator<Item = RecordOut<'a>> + Clone,
{
    todo!()
}

/// Writes a `PutRecords` answer into one allocation; `FailedRecordCount` is counted from `results`, which is gone through
/// twice.
pub fn encode_put_records_answer<'a, I>(format: Format, results: I, encryption_type: Option<&str>) -> Bytes
where
    I: ExactSizeIterator<Item = PutResult<'a>> + Clone,
{
    todo!()
}
