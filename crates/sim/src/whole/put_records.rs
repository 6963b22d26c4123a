//! Reads and checks the bodies of `PutRecords`, by the parsers that the client does not use for
//! them.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use distributary_core::output::{Outcome, Trouble, TroubleKind, Verdict};
use distributary_core::testing::Entry;
use distributary_kinesis::output::Route;
use distributary_wire::codec::{self, Format};
use distributary_wire::hot::{EntryIndex, PutRecordsParsed, Span};
use distributary_wire::transport::{Response, ResponseBody};
use distributary_wire::types::{PutRecordsResponse, PutRecordsResultEntry};

use super::call::Call;
use super::output::Write;
use super::records::{SourceRecords, digest};

/// The place of a record in a stream.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Location {
    pub(super) shard: String,
    pub(super) sequence: String,
}

/// The location of one entry, or its error code.
pub(super) type EntryResult = Result<Location, String>;

/// The result of each entry; `None` for an answer that is not a successful `PutRecords` answer.
pub(super) fn results(answer: &Response, format: Format) -> Option<Vec<EntryResult>> {
    let body = match answer.body() {
        ResponseBody::Full(body) if answer.status().as_u16() == 200 => body,
        _ => return None,
    };
    let answer: PutRecordsResponse = codec::decode(format, body).ok()?;
    Some(answer.records.into_iter().map(entry_result).collect())
}

fn entry_result(entry: PutRecordsResultEntry) -> EntryResult {
    match (entry.sequence_number, entry.shard_id, entry.error_code) {
        (Some(sequence), Some(shard), None) => Ok(Location { shard, sequence }),
        (_, _, code) => Err(code.unwrap_or_default()),
    }
}

/// The outcome that such results mean for the engine.
pub(super) fn outcome(results: &[EntryResult]) -> Outcome {
    let verdict = |result: &EntryResult| match result {
        Ok(_) => Verdict::Durable,
        Err(code) => Verdict::Retry(Trouble::new(TroubleKind::Unavailable, code.as_str())),
    };
    Outcome::PerRecord(results.iter().map(verdict).collect())
}

/// Rewrites an answer so that the entries at these places are refused for good.
pub(super) fn refuse(answer: Response, format: Format, refused: &[usize]) -> Response {
    let (head, body) = answer.into_parts();
    let body = match body {
        ResponseBody::Full(body) => {
            let refused = refused_body(&body, format, refused);
            ResponseBody::Full(refused.unwrap_or(body))
        }
        stream @ ResponseBody::Stream(_) => stream,
    };
    Response::from_parts(head, body)
}

fn refused_body(body: &Bytes, format: Format, refused: &[usize]) -> Option<Bytes> {
    let mut answer: PutRecordsResponse = codec::decode(format, body).ok()?;
    for place in refused {
        if let Some(entry) = answer.records.get_mut(*place) {
            entry.error_code = Some("ValidationException".to_owned());
        }
    }
    Some(codec::encode(format, &answer))
}

/// Checks that a request is for this stream and holds the entries of the engine's write, routed as
/// the output is told.
pub(super) fn check_request(
    call: &Call,
    stream: &str,
    write: &Write,
    records: &SourceRecords,
) -> Result<(), String> {
    if write.ended.load(Ordering::Relaxed) {
        return Err("sent after the write ended".to_owned());
    }
    let parsed = PutRecordsParsed::parse(call.format, &call.body).map_err(|e| e.to_string())?;
    if stream_of(&parsed) != Some(stream) {
        return Err("sent to another stream".to_owned());
    }

    let sent = parsed.records.as_deref().unwrap_or_default();
    if sent.len() != write.entries.len() {
        return Err(format!(
            "{} entries were sent instead of {}",
            sent.len(),
            write.entries.len()
        ));
    }
    for (sent, asked) in sent.iter().zip(write.entries.iter()) {
        check_entry(&parsed, sent, asked, write.route, records)?;
    }
    Ok(())
}

/// The name of the request's stream, given by name or by ARN.
fn stream_of(parsed: &PutRecordsParsed) -> Option<&str> {
    let arn = parsed.stream_arn.as_deref();
    let name_in_arn = arn.and_then(|arn| arn.rsplit('/').next());
    parsed.stream_name.as_deref().or(name_in_arn)
}

fn check_entry(
    parsed: &PutRecordsParsed,
    sent: &EntryIndex,
    asked: &Entry,
    route: Route,
    records: &SourceRecords,
) -> Result<(), String> {
    let text = |span: Option<Span>| span.map(|span| span.text(&parsed.buffer));
    let data = sent.data.map(|span| span.of(&parsed.buffer));
    if text(sent.key) != asked.key.as_deref() || digest(data.unwrap_or_default()) != asked.digest {
        return Err(format!("record {} differs in the request", asked.sequence));
    }

    let hash_key = text(sent.explicit_hash_key);
    if is_routed_right(route, hash_key, asked, records) {
        Ok(())
    } else {
        Err(format!("record {} has a wrong route", asked.sequence))
    }
}

fn is_routed_right(
    route: Route,
    hash_key: Option<&str>,
    asked: &Entry,
    records: &SourceRecords,
) -> bool {
    match (route, hash_key) {
        (Route::PartitionKey, hash_key) => hash_key.is_none(),
        // The hash range of a shard that retention has deleted is unknown.
        (Route::SourceShard, None) => records.lost_shards,
        (Route::SourceShard, hash_key) => hash_key == records.start_of_shard(asked.sequence),
    }
}
