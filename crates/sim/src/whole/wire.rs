//! What stands in requests and answers, read by the parsers that the client does not use for it.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use distributary_core::output::{Outcome, Trouble, TroubleKind, Verdict};
use distributary_kinesis::output::Route;
use distributary_wire::codec::{self, Format};
use distributary_wire::hot::{PutRecordsParsed, Span};
use distributary_wire::transport::{Response, ResponseBody};
use distributary_wire::types::PutRecordsResponse;

use super::output::Writing;
use super::records::{Records, digest};

/// Where a record was written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Written {
    pub(super) shard: String,
    pub(super) sequence: String,
}

/// What an answer to `PutRecords` says of each entry; `None` if it says that of none.
pub(super) fn results(answer: &Response, format: Format) -> Option<Vec<Result<Written, String>>> {
    let body = match answer.body() {
        ResponseBody::Full(body) if answer.status().as_u16() == 200 => body,
        _ => return None,
    };
    let answer: PutRecordsResponse = codec::decode(format, body).ok()?;
    let result = |entry: distributary_wire::types::PutRecordsResultEntry| match (
        entry.sequence_number,
        entry.shard_id,
        entry.error_code,
    ) {
        (Some(sequence), Some(shard), None) => Ok(Written { shard, sequence }),
        (_, _, code) => Err(code.unwrap_or_default()),
    };
    Some(answer.records.into_iter().map(result).collect())
}

/// What such an answer means.
pub(super) fn outcome(results: &[Result<Written, String>]) -> Outcome {
    let verdict = |result: &Result<Written, String>| match result {
        Ok(_) => Verdict::Durable,
        Err(code) => Verdict::Retry(Trouble::new(TroubleKind::Unavailable, code.as_str())),
    };
    Outcome::PerRecord(results.iter().map(verdict).collect())
}

/// The same answer, in which the entries at these places are refused for good.
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

/// What a request holds must be what the engine asked for, for that stream and by that route.
pub(super) fn judge_request(
    format: Format,
    body: &Bytes,
    stream: &str,
    writing: &Writing,
    records: &Records,
) -> Result<(), String> {
    if writing.over.load(Ordering::Relaxed) {
        return Err("it is sent when all is over".to_owned());
    }
    let parsed = PutRecordsParsed::parse(format, body).map_err(|e| e.to_string())?;
    let arn = parsed
        .stream_arn
        .as_deref()
        .and_then(|arn| arn.rsplit('/').next());
    if parsed.stream_name.as_deref().or(arn) != Some(stream) {
        return Err("it is for another stream".to_owned());
    }
    let sent = parsed.records.as_deref().unwrap_or_default();
    if sent.len() != writing.entries.len() {
        return Err(format!(
            "{} entries on the wire, and {} were asked for",
            sent.len(),
            writing.entries.len()
        ));
    }
    let text = |span: Option<Span>| span.map(|span| span.text(&parsed.buffer));
    for (sent, asked) in sent.iter().zip(writing.entries.iter()) {
        let data = sent
            .data
            .map(|span| span.of(&parsed.buffer))
            .unwrap_or_default();
        if text(sent.key) != asked.key.as_deref() || digest(data) != asked.digest {
            return Err(format!("record {} is another on the wire", asked.sequence));
        }
        let kept = usize::try_from(asked.sequence)
            .ok()
            .and_then(|n| records.all.get(n));
        let start = kept
            .and_then(|kept| records.starts.get(&kept.shard))
            .map(String::as_str);
        let right = match (writing.route, text(sent.explicit_hash_key)) {
            (Route::PartitionKey, hash_key) => hash_key.is_none(),
            // A shard that retention has taken has no place any more.
            (Route::SourceShard, None) => records.lost_shards,
            (Route::SourceShard, hash_key) => hash_key == start,
        };
        if !right {
            return Err(format!("record {} is routed elsewhere", asked.sequence));
        }
    }
    Ok(())
}

/// `20260131T235959Z` in milliseconds since 1970.
pub(super) fn millis_of(text: &str) -> Option<i64> {
    let digits = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (digits(0, 4)?, digits(4, 6)?, digits(6, 8)?);
    let (hour, minute, second) = (digits(9, 11)?, digits(11, 13)?, digits(13, 15)?);
    // Days since 1970 of a civil date, counted in years that begin in March.
    let (y, m) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days =
        365 * y + y.div_euclid(4) - y.div_euclid(100) + y.div_euclid(400) + (m * 153 + 2) / 5 + day
            - 1
            - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1000)
}

#[cfg(test)]
mod tests {
    use super::millis_of;

    #[test]
    fn times_are_read() {
        for (text, seconds) in [
            ("19700101T000000Z", 0),
            ("20000229T120000Z", 951_825_600),
            ("20260101T000000Z", 1_767_225_600),
            ("20261231T235959Z", 1_798_761_599),
        ] {
            assert_eq!(millis_of(text), Some(seconds * 1000), "{text}");
        }
        assert_eq!(millis_of("yesterday"), None);
    }
}
