//! `GetShardIterator` and `GetRecords`.

use std::sync::Arc;

use bytes::Bytes;
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::limits;
use distributary_wire::types::*;

use super::Call;
use super::shards::check_not_in_future;
use crate::answer::{NumberedPage, millis_behind};
use crate::check::{Checks, Pattern};
use crate::errors::{Answer, dry_run, invalid_argument, not_found, rate_exceeded, shard_not_found};
use crate::faults::Effects;
use crate::local::{DropReason, lock};
use crate::log::{Bounds, Page};
use crate::sequence::Sequence;
use crate::settings::{TrimmedPosition, millis};
use crate::stream::{Shard, State, Stream, retention_ms, shard_id};
use crate::token::Position;

/// The start of a `GetShardIterator` or a `SubscribeToShard`.
#[derive(Clone, Debug)]
pub(crate) struct StartPosition<'a> {
    pub(crate) kind: ShardIteratorType,
    pub(crate) sequence_number: Option<&'a str>,
    pub(crate) timestamp: Option<Timestamp>,
}

/// The offset at which reading starts.
///
/// # Errors
/// `InvalidArgumentException` if the start is incomplete, is no position of the shard, or is older
/// than the oldest record and the settings refuse such positions.
pub(crate) fn start_offset(
    call: &Call<'_>,
    stream: &Stream,
    state: &State,
    shard: &Shard,
    start: &StartPosition<'_>,
) -> Answer<u64> {
    let dropped = shard.drop_expired(call.now_ms, state.retention_hours);
    call.inner
        .note_dropped(stream, shard, dropped, DropReason::Age);

    let number = |after| SequenceStart {
        call,
        stream,
        shard,
        after,
    };
    match &start.kind {
        ShardIteratorType::TrimHorizon => Ok(shard.log.bounds().head),
        ShardIteratorType::Latest => Ok(shard.log.bounds().tail),
        ShardIteratorType::AtTimestamp => {
            let at_ms = timestamp_ms(call, start.timestamp)?;
            Ok(shard.log.offset_at_time(at_ms))
        }
        ShardIteratorType::AtSequenceNumber => number(false).offset(start.sequence_number),
        ShardIteratorType::AfterSequenceNumber => number(true).offset(start.sequence_number),
        ShardIteratorType::Other(kind) => {
            Err(invalid_argument(format!("{kind} is no type of iterator.")))
        }
    }
}

/// Milliseconds since 1970 of `AT_TIMESTAMP`.
fn timestamp_ms(call: &Call<'_>, timestamp: Option<Timestamp>) -> Answer<u64> {
    let at = timestamp.ok_or_else(|| {
        invalid_argument(
            "Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current \
             request has no timestamp parameter.",
        )
    })?;
    let at_ms = u64::try_from(at.0).unwrap_or(0);
    check_not_in_future(call, at_ms)?;
    Ok(at_ms)
}

/// A start at or after a sequence number.
struct SequenceStart<'a, 'b> {
    call: &'a Call<'b>,
    stream: &'a Stream,
    shard: &'a Shard,
    /// True for `AFTER_SEQUENCE_NUMBER`.
    after: bool,
}

impl SequenceStart<'_, '_> {
    fn kind(&self) -> ShardIteratorType {
        if self.after {
            ShardIteratorType::AfterSequenceNumber
        } else {
            ShardIteratorType::AtSequenceNumber
        }
    }

    fn offset(&self, text: Option<&str>) -> Answer<u64> {
        let text = text.ok_or_else(|| self.missing())?;
        let sequence = Sequence::parse(text)
            .filter(|sequence| sequence.numbers == self.shard.numbers)
            .ok_or_else(|| self.refused(text, "it did not come from this stream"))?;
        if self.after && sequence.is_ending() {
            return Err(self.at_end());
        }

        let bounds = self.shard.log.bounds();
        if sequence.index == 0 && !self.after {
            // The shard's StartingSequenceNumber is accepted as long as the shard exists.
            return Ok(bounds.head);
        }

        let offset = if self.after {
            sequence.after_offset()
        } else {
            sequence.at_offset()
        };
        if offset > bounds.tail {
            return match bounds.closed_ms {
                Some(_) => Ok(bounds.tail),
                None => Err(self.refused(text, "no record has it")),
            };
        }
        if self.is_too_old(&sequence, offset, &bounds) {
            let reason = "its record is older than the stream's retention period";
            return Err(self.refused(text, reason));
        }
        Ok(offset)
    }

    /// True for a position whose next record has been dropped, where the settings refuse these.
    fn is_too_old(&self, sequence: &Sequence, offset: u64, bounds: &Bounds) -> bool {
        // No record precedes the start of the shard, so only a loss of records is a gap there.
        let oldest = match sequence.index {
            0 => bounds.lost_before,
            _ => bounds.head,
        };
        offset < oldest && self.call.inner.refuses_trimmed_positions()
    }

    fn missing(&self) -> ApiError {
        let kind = self.kind();
        invalid_argument(format!(
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and \
             StartingSequenceNumber or (2) TRIM_HORIZON or LATEST and no StartingSequenceNumber. \
             Request specified {kind} and no StartingSequenceNumber."
        ))
    }

    /// AWS's message, as cited in <https://github.com/etspaceman/kinesis-mock/pull/1536>.
    fn at_end(&self) -> ApiError {
        let kind = self.kind();
        invalid_argument(format!(
            "Invalid SequenceNumber for ShardIteratorType {kind}, SequenceNumber has reached max \
             possible value for the shard."
        ))
    }

    fn refused(&self, text: &str, reason: &str) -> ApiError {
        let operation = self.call.operation;
        let (name, account) = (&self.stream.name, &self.stream.namespace.account);
        let shard = &self.shard.id;
        invalid_argument(format!(
            "StartingSequenceNumber {text} used in {operation} on shard {shard} in stream {name} \
             under account {account} is invalid because {reason}."
        ))
    }
}

fn check_get_iterator(request: &GetShardIteratorRequest) -> Answer<()> {
    let kind = request.shard_iterator_type.as_ref();
    let mut checks = Checks::of_stream(request);
    checks.required("shardId", request.shard_id.as_ref());
    checks.shard_id("shardId", request.shard_id.as_deref());
    checks.required("shardIteratorType", kind);
    checks.one_of("shardIteratorType", kind, ShardIteratorType::KNOWN);
    checks.text(
        "startingSequenceNumber",
        request.starting_sequence_number.as_deref(),
        0..=129,
        Pattern::SequenceNumber,
    );
    checks.finish()
}

pub(crate) fn get_iterator(
    call: &Call<'_>,
    request: &GetShardIteratorRequest,
) -> Answer<GetShardIteratorResponse> {
    check_get_iterator(request)?;
    let stream = call.stream_of(request)?;
    let state = stream.read(call.now_ms);
    state.check_serves(&stream)?;

    let id = request.shard_id.as_deref().unwrap_or_default();
    let shard = state
        .shard(id)
        .ok_or_else(|| shard_not_found(id, &stream))?;
    let enforces_limits = call.inner.settings.enforce_limits;
    if enforces_limits && !lock(&shard.rates).admit_iterator(call.now) {
        return Err(rate_exceeded(id, &stream));
    }

    let start = StartPosition {
        kind: request.shard_iterator_type.clone().unwrap_or_default(),
        sequence_number: request.starting_sequence_number.as_deref(),
        timestamp: request.timestamp,
    };
    let offset = start_offset(call, &stream, &state, shard, &start)?;
    if request.dry_run.unwrap_or_default() {
        return Err(dry_run());
    }

    let position = Position {
        uid: stream.uid,
        shard: shard.index,
        offset,
        empty_answers: 0,
    };
    Ok(GetShardIteratorResponse {
        shard_iterator: Some(new_iterator(call, position)),
    })
}

fn new_iterator(call: &Call<'_>, position: Position) -> String {
    position.seal(call.now_ms, call.inner.faults.iterator_epoch())
}

/// A time as AWS's messages show it: `Tue Nov 24 02:13:33 UTC 2026`.
fn java_date(ms: u64) -> String {
    let format = time::macros::format_description!(
        "[weekday repr:short] [month repr:short] [day] [hour]:[minute]:[second] UTC [year]"
    );
    let seconds = i64::try_from(ms / 1000).ok();
    let at = seconds.and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok());

    at.and_then(|at| at.format(format).ok())
        .unwrap_or_else(|| ms.to_string())
}

fn expired_iterator(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorCode::ExpiredIterator, message)
}

/// The stream and the shard's id of a `GetRecords` request, for faults to select by.
pub(crate) fn get_records_target(
    call: &Call<'_>,
    request: &GetRecordsRequest,
) -> Option<(Arc<Stream>, String)> {
    let (position, _) = Position::open(request.shard_iterator.as_deref()?).ok()?;
    let stream = call.inner.stream_by_uid(position.uid, call.now_ms)?;
    Some((stream, shard_id(position.shard)))
}

fn check_get_records(request: &GetRecordsRequest) -> Answer<()> {
    let iterator = request.shard_iterator.as_deref();
    let mut checks = Checks::default();
    checks.required("shardIterator", iterator.as_ref());
    checks.text("shardIterator", iterator, 1..=512, Pattern::Any);
    let max = limits::GET_RECORDS_ENTRIES as i32;
    checks.number("limit", request.limit, 1..=max);
    checks.stream_arn(request.stream_arn.as_deref());
    checks.finish()
}

/// The position in the iterator of a request.
///
/// # Errors
/// `ExpiredIteratorException` by age or on command.
fn open_iterator(
    call: &Call<'_>,
    request: &GetRecordsRequest,
    effects: &Effects,
) -> Answer<Position> {
    let text = request.shard_iterator.as_deref().unwrap_or_default();
    let (position, opened) = Position::open(text)?;
    let age_ms = call.now_ms.saturating_sub(opened.created_ms);
    let max_age_ms = millis(call.inner.settings.iterator_age);
    let is_expired = effects.expire_iterator
        || age_ms > max_age_ms
        || opened.epoch < call.inner.faults.iterator_epoch();
    if !is_expired {
        return Ok(position);
    }

    let (created, now) = (java_date(opened.created_ms), java_date(call.now_ms));
    Err(expired_iterator(format!(
        "Iterator expired. The iterator was created at time {created} while right now it is {now} \
         which is further in the future than the tolerated delay of {max_age_ms} milliseconds."
    )))
}

/// The stream of an iterator, which must be the stream of the request's ARN.
fn iterator_stream(
    call: &Call<'_>,
    request: &GetRecordsRequest,
    position: Position,
) -> Answer<Arc<Stream>> {
    let stream = call
        .inner
        .stream_by_uid(position.uid, call.now_ms)
        .ok_or_else(|| not_found("The stream of this shard iterator does not exist."))?;

    let arn = request.stream_arn.as_ref();
    if arn.is_some_and(|arn| *arn != stream.arn.to_string()) {
        return Err(invalid_argument(
            "ShardIterator and StreamARN do not belong to the same stream.",
        ));
    }
    Ok(stream)
}

pub(crate) fn get_records(
    call: &Call<'_>,
    request: &GetRecordsRequest,
    effects: &Effects,
) -> Answer<Bytes> {
    check_get_records(request)?;
    let position = open_iterator(call, request, effects)?;
    let stream = iterator_stream(call, request, position)?;
    let state = stream.read(call.now_ms);
    state.check_serves(&stream)?;

    let shard = state
        .shards
        .get(&position.shard)
        .ok_or_else(|| shard_not_found(&shard_id(position.shard), &stream))?;
    if request.dry_run.unwrap_or_default() {
        return Err(dry_run());
    }
    let enforces_limits = call.inner.settings.enforce_limits;
    if enforces_limits && !lock(&shard.rates).admit_read(call.now) {
        return Err(rate_exceeded(&shard.id, &stream));
    }

    let dropped = shard.drop_expired(call.now_ms, state.retention_hours);
    call.inner
        .note_dropped(&stream, shard, dropped, DropReason::Age);
    let max_records = limits::GET_RECORDS_ENTRIES;
    let max_records = super::page_size(request.limit, max_records, max_records);
    let max_bytes = call.inner.settings.answer_bytes;
    let page = shard.log.read(position.offset, max_records, max_bytes);

    let reader = PageReader {
        call,
        state: &state,
        shard,
        position,
    };
    let answer = reader.answer(&page, effects)?;
    if enforces_limits && matches!(answer, PageAnswer::Records(_)) {
        lock(&shard.rates).count_read(call.now, page.bytes);
    }
    Ok(answer.into_body())
}

/// The body of a `GetRecords` answer.
enum PageAnswer {
    Records(Bytes),
    /// No records, though some may follow.
    Empty(Bytes),
}

impl PageAnswer {
    fn into_body(self) -> Bytes {
        match self {
            Self::Records(body) | Self::Empty(body) => body,
        }
    }
}

/// Answers `GetRecords` at a position.
struct PageReader<'a, 'b> {
    call: &'a Call<'b>,
    state: &'a State,
    shard: &'a Shard,
    position: Position,
}

impl PageReader<'_, '_> {
    /// # Errors
    /// `ExpiredIteratorException` if records after the position were lost.
    fn answer(&self, page: &Page, effects: &Effects) -> Answer<PageAnswer> {
        let Self { call, position, .. } = self;
        // The bounds are those of the read, so no record can be dropped unseen in between.
        let bounds = &page.bounds;
        let is_trimmed = position.offset < bounds.head;

        match call.inner.settings.trimmed_position {
            TrimmedPosition::EmptyPages(pages) if is_trimmed && position.empty_answers < pages => {
                let next = Position {
                    empty_answers: position.empty_answers + 1,
                    ..*position
                };
                Ok(PageAnswer::Empty(self.empty_answer(bounds, next)))
            }
            TrimmedPosition::Refuse if position.offset < bounds.lost_before => Err(
                expired_iterator("Iterator expired. The records at its position were deleted."),
            ),
            TrimmedPosition::EmptyPages(_) | TrimmedPosition::Refuse if effects.empty_page => {
                Ok(PageAnswer::Empty(self.empty_answer(bounds, *position)))
            }
            TrimmedPosition::EmptyPages(_) | TrimmedPosition::Refuse => {
                Ok(PageAnswer::Records(self.page_answer(page)))
            }
        }
    }

    /// An answer without records, on command or because the position is older than retention.
    fn empty_answer(&self, bounds: &Bounds, next: Position) -> Bytes {
        let behind_ms = if self.position.offset < bounds.head {
            retention_ms(self.state.retention_hours)
        } else {
            let arrival_ms = self.shard.log.arrival_ms(self.position.offset);
            arrival_ms.map_or(0, |ms| self.call.now_ms.saturating_sub(ms).max(1))
        };

        let iterator = new_iterator(self.call, next);
        NumberedPage::empty().encode_answer(
            self.call.format,
            Some(&iterator),
            behind_ms.cast_signed(),
            &[],
        )
    }

    /// The page's records with the next iterator, or with the children at the end of the shard.
    fn page_answer(&self, page: &Page) -> Bytes {
        let Self { call, shard, .. } = self;
        let is_end = page.bounds.ended && page.next >= page.bounds.tail;
        let iterator = (!is_end).then(|| {
            let next = Position {
                offset: page.next,
                empty_answers: 0,
                ..self.position
            };
            new_iterator(call, next)
        });
        let children = if is_end {
            self.state.children_of(shard.index)
        } else {
            Vec::new()
        };

        let behind_ms = millis_behind(page, call.now_ms);
        NumberedPage::new(page, shard.numbers).encode_answer(
            call.format,
            iterator.as_deref(),
            behind_ms,
            &children,
        )
    }
}
