//! Writing answers as a server, each into one allocation.

use bytes::{Bytes, BytesMut};

use super::Data;
use super::write::{
    ARRAY, MAP, TIME, base64_len, cbor_bytes, cbor_head, cbor_head_len, cbor_int, cbor_member,
    cbor_text, json_data, json_int, json_member, json_text, json_text_len, json_time,
};
use crate::codec::{self, Format};
use crate::types::ChildShard;

/// A record of a `GetRecords` answer or `SubscribeToShard` event.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingRecord<'a> {
    /// The sequence number.
    pub sequence_number: &'a str,
    /// The partition key; optional in the API.
    pub key: Option<&'a str>,
    /// The bytes that the producer wrote.
    pub data: &'a [u8],
    /// The time of arrival, in milliseconds since 1970.
    pub arrival_ms: i64,
    /// `EncryptionType`; left out if `None`.
    pub encryption_type: Option<&'a str>,
}

/// The result of one record in a `PutRecords` answer.
#[derive(Clone, Copy, Debug)]
pub enum OutgoingResult<'a> {
    /// The record was written.
    Durable {
        /// The sequence number.
        sequence_number: &'a str,
        /// The shard.
        shard_id: &'a str,
    },
    /// The record was not written.
    Failed {
        /// `ErrorCode`.
        code: &'a str,
        /// `ErrorMessage`.
        message: &'a str,
    },
}

/// Writes a `GetRecords` answer. `records` is iterated twice, first to compute the size.
pub fn encode_get_records<'a, I>(
    format: Format,
    records: I,
    next_shard_iterator: Option<&str>,
    millis_behind_latest: i64,
    child_shards: &[ChildShard],
) -> Bytes
where
    I: ExactSizeIterator<Item = OutgoingRecord<'a>> + Clone,
{
    let next = Next {
        name: "NextShardIterator",
        value: next_shard_iterator,
    };
    encode_page(format, records, &next, millis_behind_latest, child_shards)
}

/// Writes the payload of a `SubscribeToShardEvent`. `records` is iterated twice, first to compute
/// the size.
pub fn encode_subscribe_event<'a, I>(
    format: Format,
    records: I,
    continuation_sequence_number: Option<&str>,
    millis_behind_latest: i64,
    child_shards: &[ChildShard],
) -> Bytes
where
    I: ExactSizeIterator<Item = OutgoingRecord<'a>> + Clone,
{
    let next = Next {
        name: "ContinuationSequenceNumber",
        value: continuation_sequence_number,
    };
    encode_page(format, records, &next, millis_behind_latest, child_shards)
}

/// Writes a `PutRecords` answer. `results` is iterated three times, first to compute
/// `FailedRecordCount` and the size.
pub fn encode_put_records_answer<'a, I>(
    format: Format,
    results: I,
    encryption_type: Option<&str>,
) -> Bytes
where
    I: ExactSizeIterator<Item = OutgoingResult<'a>> + Clone,
{
    let failed = results
        .clone()
        .filter(|r| matches!(r, OutgoingResult::Failed { .. }))
        .count();
    let size: usize = results.clone().map(|result| result_len(&result)).sum();

    let mut out = BytesMut::with_capacity(size + PAGE_BYTES + encryption_type.map_or(0, str::len));
    match format {
        Format::Json => json_put_answer(&mut out, failed as i64, results, encryption_type),
        Format::Cbor => cbor_put_answer(&mut out, failed as i64, results, encryption_type),
    }
    out.freeze()
}

fn json_put_answer<'a>(
    out: &mut BytesMut,
    failed: i64,
    results: impl Iterator<Item = OutgoingResult<'a>>,
    encryption_type: Option<&str>,
) {
    out.extend_from_slice(b"{\"FailedRecordCount\":");
    json_int(out, failed);

    out.extend_from_slice(b",\"Records\":[");
    for (i, result) in results.enumerate() {
        json_result(out, &result, i > 0);
    }
    out.extend_from_slice(b"]");

    json_member(out, b",\"EncryptionType\":", encryption_type);
    out.extend_from_slice(b"}");
}

fn cbor_put_answer<'a>(
    out: &mut BytesMut,
    failed: i64,
    results: impl ExactSizeIterator<Item = OutgoingResult<'a>>,
    encryption_type: Option<&str>,
) {
    cbor_head(out, MAP, 2 + u64::from(encryption_type.is_some()));
    cbor_text(out, "FailedRecordCount");
    cbor_int(out, failed);

    cbor_text(out, "Records");
    cbor_head(out, ARRAY, results.len() as u64);
    for result in results {
        cbor_result(out, &result);
    }

    cbor_member(out, "EncryptionType", encryption_type);
}

/// The member with the place of the next read: the iterator or the sequence number.
struct Next<'a> {
    name: &'static str,
    value: Option<&'a str>,
}

/// Upper bound in bytes of an answer without records, children and the values of members.
const PAGE_BYTES: usize = 160;
/// Upper bound in bytes of one record without the values, except for the time.
const RECORD_BYTES: usize = 136;
/// Upper bound in bytes of one result without the values.
const RESULT_BYTES: usize = 48;

/// Upper bound in bytes of one record.
fn record_len(format: Format, record: &OutgoingRecord<'_>) -> usize {
    let encryption = record.encryption_type.map_or(0, str::len);
    let (data, key) = match format {
        Format::Json => (
            base64_len(record.data.len()),
            record.key.map_or(0, json_text_len),
        ),
        Format::Cbor => (
            cbor_head_len(record.data.len()) + record.data.len(),
            record.key.map_or(0, |k| k.len() + 3),
        ),
    };
    RECORD_BYTES + record.sequence_number.len() + encryption + data + key
}

fn encode_page<'a, I>(
    format: Format,
    records: I,
    next: &Next<'_>,
    millis: i64,
    children: &[ChildShard],
) -> Bytes
where
    I: ExactSizeIterator<Item = OutgoingRecord<'a>> + Clone,
{
    let size: usize = records
        .clone()
        .map(|record| record_len(format, &record))
        .sum();
    let children = match children {
        [] => Bytes::new(),
        _ => codec::encode(format, &children),
    };

    let next_len = next.value.map_or(0, str::len);
    let mut out = BytesMut::with_capacity(size + children.len() + PAGE_BYTES + next_len);
    match format {
        Format::Json => json_page(&mut out, records, next, millis, &children),
        Format::Cbor => cbor_page(&mut out, records, next, millis, &children),
    }
    out.freeze()
}

fn json_page<'a, I>(out: &mut BytesMut, records: I, next: &Next<'_>, millis: i64, children: &[u8])
where
    I: ExactSizeIterator<Item = OutgoingRecord<'a>>,
{
    out.extend_from_slice(b"{\"Records\":[");
    for (i, record) in records.enumerate() {
        json_record(out, &record, i > 0);
    }
    out.extend_from_slice(b"]");

    if let Some(value) = next.value {
        out.extend_from_slice(b",");
        json_text(out, next.name);
        out.extend_from_slice(b":");
        json_text(out, value);
    }
    out.extend_from_slice(b",\"MillisBehindLatest\":");
    json_int(out, millis);

    if !children.is_empty() {
        out.extend_from_slice(b",\"ChildShards\":");
        out.extend_from_slice(children);
    }
    out.extend_from_slice(b"}");
}

#[inline]
fn json_record(out: &mut BytesMut, record: &OutgoingRecord<'_>, comma: bool) {
    out.extend_from_slice(if comma {
        b",{\"SequenceNumber\":"
    } else {
        b"{\"SequenceNumber\":"
    });
    json_text(out, record.sequence_number);
    out.extend_from_slice(b",\"ApproximateArrivalTimestamp\":");
    json_time(out, record.arrival_ms);
    out.extend_from_slice(b",\"Data\":");
    json_data(out, Data::Raw(record.data));

    json_member(out, b",\"PartitionKey\":", record.key);
    json_member(out, b",\"EncryptionType\":", record.encryption_type);
    out.extend_from_slice(b"}");
}

fn cbor_page<'a, I>(out: &mut BytesMut, records: I, next: &Next<'_>, millis: i64, children: &[u8])
where
    I: ExactSizeIterator<Item = OutgoingRecord<'a>>,
{
    let optional = u64::from(next.value.is_some()) + u64::from(!children.is_empty());
    cbor_head(out, MAP, 2 + optional);
    cbor_text(out, "Records");
    cbor_head(out, ARRAY, records.len() as u64);
    for record in records {
        cbor_record(out, &record);
    }

    cbor_member(out, next.name, next.value);
    cbor_text(out, "MillisBehindLatest");
    cbor_int(out, millis);

    if !children.is_empty() {
        cbor_text(out, "ChildShards");
        out.extend_from_slice(children);
    }
}

#[inline]
fn cbor_record(out: &mut BytesMut, record: &OutgoingRecord<'_>) {
    let optional = u64::from(record.key.is_some()) + u64::from(record.encryption_type.is_some());
    cbor_head(out, MAP, 3 + optional);
    cbor_text(out, "SequenceNumber");
    cbor_text(out, record.sequence_number);
    cbor_text(out, "ApproximateArrivalTimestamp");
    out.extend_from_slice(&[TIME]);
    cbor_int(out, record.arrival_ms);
    cbor_text(out, "Data");
    cbor_bytes(out, record.data);

    cbor_member(out, "PartitionKey", record.key);
    cbor_member(out, "EncryptionType", record.encryption_type);
}

/// Upper bound in bytes of one result, in both formats. Escapes are not counted: in practice no
/// sequence number, shard or error has any.
fn result_len(result: &OutgoingResult<'_>) -> usize {
    RESULT_BYTES
        + match result {
            OutgoingResult::Durable {
                sequence_number,
                shard_id,
            } => sequence_number.len() + shard_id.len(),
            OutgoingResult::Failed { code, message } => code.len() + message.len(),
        }
}

/// The names and values of a result's two members.
fn members<'a>(result: &OutgoingResult<'a>) -> [(&'static str, &'a str); 2] {
    match *result {
        OutgoingResult::Durable {
            sequence_number,
            shard_id,
        } => [("SequenceNumber", sequence_number), ("ShardId", shard_id)],
        OutgoingResult::Failed { code, message } => {
            [("ErrorCode", code), ("ErrorMessage", message)]
        }
    }
}

#[inline]
fn json_result(out: &mut BytesMut, result: &OutgoingResult<'_>, comma: bool) {
    let [first, second] = members(result);
    out.extend_from_slice(if comma { b",{" } else { b"{" });
    json_text(out, first.0);
    out.extend_from_slice(b":");
    json_text(out, first.1);
    out.extend_from_slice(b",");
    json_text(out, second.0);
    out.extend_from_slice(b":");
    json_text(out, second.1);
    out.extend_from_slice(b"}");
}

#[inline]
fn cbor_result(out: &mut BytesMut, result: &OutgoingResult<'_>) {
    cbor_head(out, MAP, 2);
    for (name, value) in members(result) {
        cbor_text(out, name);
        cbor_text(out, value);
    }
}
