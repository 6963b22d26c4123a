//! Writing answers, as a server.

use bytes::{Bytes, BytesMut};

use super::Data;
use super::write::{
    ARRAY, MAP, TIME, base64_len, cbor_bytes, cbor_int, cbor_text, head, head_len, json_data,
    json_int, json_text, json_text_len, json_time,
};
use crate::codec::{self, Format};
use crate::types::ChildShard;

/// A record to answer with.
#[derive(Clone, Copy, Debug)]
pub struct OutgoingRecord<'a> {
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
pub enum OutgoingResult<'a> {
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
    I: ExactSizeIterator<Item = OutgoingRecord<'a>> + Clone,
{
    let next = Next {
        name: "NextShardIterator",
        value: next_shard_iterator,
    };
    encode_page(format, records, &next, millis_behind_latest, child_shards)
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
    I: ExactSizeIterator<Item = OutgoingRecord<'a>> + Clone,
{
    let next = Next {
        name: "ContinuationSequenceNumber",
        value: continuation_sequence_number,
    };
    encode_page(format, records, &next, millis_behind_latest, child_shards)
}

/// Writes a `PutRecords` answer into one allocation; `FailedRecordCount` is counted from `results`, which is gone through
/// twice.
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
        Format::Json => {
            out.extend_from_slice(b"{\"FailedRecordCount\":");
            json_int(&mut out, failed as i64);
            out.extend_from_slice(b",\"Records\":[");
            for (i, result) in results.enumerate() {
                json_result(&mut out, &result, i > 0);
            }
            out.extend_from_slice(b"]");
            if let Some(encryption_type) = encryption_type {
                out.extend_from_slice(b",\"EncryptionType\":");
                json_text(&mut out, encryption_type);
            }
            out.extend_from_slice(b"}");
        }
        Format::Cbor => {
            head(&mut out, MAP, 2 + u64::from(encryption_type.is_some()));
            cbor_text(&mut out, "FailedRecordCount");
            cbor_int(&mut out, failed as i64);
            cbor_text(&mut out, "Records");
            head(&mut out, ARRAY, results.len() as u64);
            for result in results {
                cbor_result(&mut out, &result);
            }
            if let Some(encryption_type) = encryption_type {
                cbor_text(&mut out, "EncryptionType");
                cbor_text(&mut out, encryption_type);
            }
        }
    }
    out.freeze()
}

/// The member that says where to read on.
struct Next<'a> {
    name: &'static str,
    value: Option<&'a str>,
}

/// Room for the members of an answer besides records and children, without their values.
const PAGE_BYTES: usize = 160;
/// Room for the names, brackets, time and heads of one record, without its values.
const RECORD_BYTES: usize = 136;
/// Room for the names and brackets of one result.
const RESULT_BYTES: usize = 48;

fn record_len(format: Format, record: &OutgoingRecord<'_>) -> usize {
    let encryption = record.encryption_type.map_or(0, str::len);
    let (data, key) = match format {
        Format::Json => (
            base64_len(record.data.len()),
            record.key.map_or(0, json_text_len),
        ),
        Format::Cbor => (
            head_len(record.data.len()) + record.data.len(),
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
    let children = if children.is_empty() {
        Bytes::new()
    } else {
        codec::encode(format, &children)
    };
    let mut out = BytesMut::with_capacity(
        size + children.len() + PAGE_BYTES + next.value.map_or(0, str::len),
    );
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
        out.extend_from_slice(if i > 0 {
            b",{\"SequenceNumber\":"
        } else {
            b"{\"SequenceNumber\":"
        });
        json_text(out, record.sequence_number);
        out.extend_from_slice(b",\"ApproximateArrivalTimestamp\":");
        json_time(out, record.arrival_ms);
        out.extend_from_slice(b",\"Data\":");
        json_data(out, Data::Raw(record.data));
        if let Some(key) = record.key {
            out.extend_from_slice(b",\"PartitionKey\":");
            json_text(out, key);
        }
        if let Some(encryption_type) = record.encryption_type {
            out.extend_from_slice(b",\"EncryptionType\":");
            json_text(out, encryption_type);
        }
        out.extend_from_slice(b"}");
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

fn cbor_page<'a, I>(out: &mut BytesMut, records: I, next: &Next<'_>, millis: i64, children: &[u8])
where
    I: ExactSizeIterator<Item = OutgoingRecord<'a>>,
{
    head(
        out,
        MAP,
        2 + u64::from(next.value.is_some()) + u64::from(!children.is_empty()),
    );
    cbor_text(out, "Records");
    head(out, ARRAY, records.len() as u64);
    for record in records {
        let optional =
            u64::from(record.key.is_some()) + u64::from(record.encryption_type.is_some());
        head(out, MAP, 3 + optional);
        cbor_text(out, "SequenceNumber");
        cbor_text(out, record.sequence_number);
        cbor_text(out, "ApproximateArrivalTimestamp");
        out.extend_from_slice(&[TIME]);
        cbor_int(out, record.arrival_ms);
        cbor_text(out, "Data");
        cbor_bytes(out, record.data);
        if let Some(key) = record.key {
            cbor_text(out, "PartitionKey");
            cbor_text(out, key);
        }
        if let Some(encryption_type) = record.encryption_type {
            cbor_text(out, "EncryptionType");
            cbor_text(out, encryption_type);
        }
    }
    if let Some(value) = next.value {
        cbor_text(out, next.name);
        cbor_text(out, value);
    }
    cbor_text(out, "MillisBehindLatest");
    cbor_int(out, millis);
    if !children.is_empty() {
        cbor_text(out, "ChildShards");
        out.extend_from_slice(children);
    }
}

/// Upper bound for both formats but for escapes, which no sequence number, shard or error has in practice.
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

/// The two members of a result.
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

fn cbor_result(out: &mut BytesMut, result: &OutgoingResult<'_>) {
    head(out, MAP, 2);
    for (name, value) in members(result) {
        cbor_text(out, name);
        cbor_text(out, value);
    }
}
