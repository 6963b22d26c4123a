//! Writing and reading records.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use distributary_wire::error::{ApiError, ErrorCode};
use distributary_wire::hashkey;
use distributary_wire::hot::{self, OutgoingResult, PutRecordsParsed};
use distributary_wire::limits;
use distributary_wire::types::*;

use super::Call;
use super::shards::future_time;
use crate::answer::{ENCRYPTED, NumberedPage, millis_behind};
use crate::check::{Checks, Pattern};
use crate::errors::{
    Answer, dry_run, internal_failure, invalid_argument, not_found, rate_exceeded,
    rate_exceeded_message, shard_not_found, stream_not_found,
};
use crate::faults::{Effects, EntryFault};
use crate::local::{Reason, lock};
use crate::log::{Bounds, NewRecord, Page, StoredPiece};
use crate::sequence::{DIGITS, Sequence, as_text};
use crate::settings::{TrimmedPosition, millis};
use crate::store::Change as Stored;
use crate::stream::{Shard, State, Stream, retention_ms};
use crate::token::Position;

/// What a failed entry of `PutRecords` says.
const THROTTLED: &str = "ProvisionedThroughputExceededException";
const INTERNAL_FAILURE: &str = "Internal service failure.";

/// A record to write that has been checked.
#[derive(Clone, Copy, Debug)]
struct Put<'a> {
    key: Option<&'a str>,
    /// `None`: the service places it.
    hash: Option<u128>,
    data: &'a [u8],
}

/// What became of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Not yet written.
    Open,
    Written {
        offset: u64,
        arrival_ms: u64,
    },
    Throttled,
    Failed,
}

/// A checked explicit hash key.
///
/// # Errors
/// `InvalidArgumentException` for numbers of 2^128 and more.
fn explicit_hash(text: &str) -> Answer<u128> {
    hashkey::parse(text).ok_or_else(|| {
        invalid_argument(format!(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. Specified value was {text}"
        ))
    })
}

/// # Errors
/// `ResourceNotFoundException` unless the stream takes and gives records.
fn serving(state: &State, stream: &Stream) -> Answer<()> {
    if state.serves() {
        Ok(())
    } else {
        Err(stream_not_found(&stream.name, &stream.namespace.account))
    }
}

/// True if a record must have a partition key.
fn needs_key(state: &State) -> bool {
    state.distribution != RecordDistributionStrategy::Auto
}

/// # Errors
/// `ValidationException` or `InvalidArgumentException` for a record over the stream's limit.
fn check_size(state: &State, member: &str, data: usize, key: usize) -> Answer<()> {
    let max = state.max_record_kib.unsigned_abs() as usize * 1024;
    if data > max {
        return Err(crate::errors::validation(format!(
            "1 validation error detected: Value at '{member}' failed to satisfy constraint: Member must have length less \
             than or equal to {max}"
        )));
    }
    if data + key > max {
        return Err(invalid_argument(format!(
            "Record size {} exceeds the maximum of {max} bytes, data and partition key together.",
            data + key
        )));
    }
    Ok(())
}

/// Places records in shards and writes them, each shard's under one lock.
struct Writer<'a, 'b> {
    call: &'a Call<'b>,
    stream: &'a Stream,
    state: &'a State,
    puts: &'a [Put<'a>],
    /// For each record the place of its shard among the open ones.
    shards: Vec<u32>,
    fates: Vec<Fate>,
}

impl<'a, 'b> Writer<'a, 'b> {
    fn new(call: &'a Call<'b>, stream: &'a Stream, state: &'a State, puts: &'a [Put<'a>]) -> Self {
        let open = state.open.len().max(1) as u64;
        let auto = state.distribution == RecordDistributionStrategy::Auto;
        let place = |put: &Put<'_>| match put.hash.filter(|_| !auto) {
            Some(hash) => state.route(hash) as u32,
            None => (stream.turn.fetch_add(1, Ordering::Relaxed) % open) as u32,
        };
        let shards = puts.iter().map(place).collect();
        Self {
            call,
            stream,
            state,
            puts,
            shards,
            fates: vec![Fate::Open; puts.len()],
        }
    }

    fn shard(&self, place: usize) -> Option<&'a Arc<Shard>> {
        self.state.open.get(*self.shards.get(place)? as usize)
    }

    /// Fails the entries that misbehaviour and rates make fail.
    fn admit(&mut self, effects: &Effects) {
        let enforced = self.call.inner.settings.enforce_limits;
        if !enforced && effects.entries.is_empty() {
            return;
        }
        for (place, put) in self.puts.iter().enumerate() {
            let Some(shard) = self.shard(place) else {
                continue;
            };
            let fate = match self
                .call
                .inner
                .faults
                .entry(effects, place, put.key, &shard.id)
            {
                Some(EntryFault::Throttled) => Fate::Throttled,
                Some(EntryFault::Failed) => Fate::Failed,
                None if enforced => {
                    let size = put.data.len() + put.key.map_or(0, str::len);
                    if lock(&shard.rates).write(self.call.now, size) {
                        Fate::Open
                    } else {
                        Fate::Throttled
                    }
                }
                None => Fate::Open,
            };
            if let Some(slot) = self.fates.get_mut(place) {
                *slot = fate;
            }
        }
    }

    /// Writes what has not failed; gives its bytes of data and keys.
    fn write(&mut self) -> usize {
        let flags = if self.state.key_id.is_some() {
            ENCRYPTED
        } else {
            0
        };
        let mut order: Vec<u32> = (0..self.puts.len() as u32).collect();
        order.sort_by_key(|i| self.shards.get(*i as usize).copied().unwrap_or(u32::MAX));
        let (fates, shards) = (&mut self.fates, &self.shards);
        order.retain(|i| fates.get(*i as usize) == Some(&Fate::Open));
        let shard_of = |i: &u32| shards.get(*i as usize).copied().unwrap_or(u32::MAX);
        let mut written = 0;
        for group in order.chunk_by(|a, b| shard_of(a) == shard_of(b)) {
            let Some(shard) = group
                .first()
                .and_then(|i| self.state.open.get(shard_of(i) as usize))
            else {
                continue;
            };
            let records = group
                .iter()
                .filter_map(|i| self.puts.get(*i as usize))
                .map(|put| NewRecord {
                    key: put.key,
                    data: put.data,
                    flags,
                });
            let uid = self.stream.uid;
            let mut keep = self.stream.store().map(|store| {
                move |piece| {
                    store.push(Stored::Piece {
                        uid,
                        shard: Arc::clone(shard),
                        piece,
                    });
                }
            });
            let keep = keep
                .as_mut()
                .map(|keep| keep as &mut dyn FnMut(StoredPiece));
            // Closing a shard needs the stream's lock, which is held shared here.
            let Ok(appended) = shard.log.append(self.call.now_ms, records, keep) else {
                continue;
            };
            written += appended.bytes;
            for (offset, i) in (appended.first..).zip(group) {
                if let Some(fate) = fates.get_mut(*i as usize) {
                    *fate = Fate::Written {
                        offset,
                        arrival_ms: appended.arrival_ms,
                    };
                }
            }
        }
        written
    }
}

/// The parsed entries, checked.
fn checked<'a>(parsed: &'a PutRecordsParsed, state: &State) -> Answer<Vec<Put<'a>>> {
    let records = parsed.records.as_deref().unwrap_or_default();
    let mut puts = Vec::with_capacity(records.len());
    let mut total = 0;
    for (i, entry) in records.iter().enumerate() {
        let key = entry.key.map(|span| span.text(&parsed.buffer));
        let explicit = entry
            .explicit_hash_key
            .map(|span| span.text(&parsed.buffer));
        let data = entry.data.map(|span| span.of(&parsed.buffer));
        let key_wrong = match key {
            // Bytes bound the characters, so most keys need no counting.
            Some(key) => {
                key.is_empty()
                    || (key.len() > limits::PARTITION_KEY_CHARS
                        && key.chars().count() > limits::PARTITION_KEY_CHARS)
            }
            None => needs_key(state),
        };
        if key_wrong || data.is_none() || explicit.is_some_and(|e| hashkey::parse(e).is_none()) {
            let member = |name: &str| format!("records.{}.member.{name}", i + 1);
            let mut checks = Checks::default();
            checks.required(&member("data"), data.as_ref());
            if needs_key(state) {
                checks.required(&member("partitionKey"), key.as_ref());
            }
            checks.text(
                &member("partitionKey"),
                key,
                1,
                limits::PARTITION_KEY_CHARS,
                Pattern::Any,
            );
            checks.text(
                &member("explicitHashKey"),
                explicit,
                0,
                39,
                Pattern::HashKey,
            );
            checks.done()?;
        }
        let data = data.unwrap_or_default();
        let key_len = key.map_or(0, str::len);
        total += data.len() + key_len;
        check_size(
            state,
            &format!("records.{}.member.data", i + 1),
            data.len(),
            key_len,
        )?;
        let hash = match explicit {
            Some(text) => Some(explicit_hash(text)?),
            None => key.map(hashkey::of_partition_key),
        };
        puts.push(Put { key, hash, data });
    }
    if total > limits::PUT_RECORDS_BYTES {
        let limit = limits::PUT_RECORDS_BYTES >> 20;
        return Err(invalid_argument(format!(
            "Records size exceeds {limit} MB limit"
        )));
    }
    Ok(puts)
}

/// # Errors
/// `ValidationException` for what does not depend on the stream.
fn check_put_records(parsed: &PutRecordsParsed) -> Answer<()> {
    let mut checks = Checks::default();
    checks.stream_name(parsed.stream_name.as_deref());
    checks.stream_arn(parsed.stream_arn.as_deref());
    checks.required("records", parsed.records.as_ref());
    let count = parsed.records.as_ref().map(Vec::len);
    let shown = if count == Some(0) { "[]" } else { "[...]" };
    checks.count("records", shown, count, 1, limits::PUT_RECORDS_ENTRIES);
    checks.done()
}

/// True if a record of the request goes to that shard, as far as can be known before it is written.
pub(crate) fn put_records_touches(call: &Call<'_>, parsed: &PutRecordsParsed, shard: &str) -> bool {
    let Ok(stream) =
        call.stream_unadmitted(parsed.stream_name.as_deref(), parsed.stream_arn.as_deref())
    else {
        return false;
    };
    let state = stream.read(call.now_ms);
    let records = parsed.records.as_deref().unwrap_or_default();
    records.iter().any(|entry| {
        let explicit = entry
            .explicit_hash_key
            .and_then(|span| hashkey::parse(span.text(&parsed.buffer)));
        let keyed = || {
            entry
                .key
                .map(|span| hashkey::of_partition_key(span.text(&parsed.buffer)))
        };
        goes_to(&state, explicit.or_else(keyed), shard)
    })
}

/// True if a record with that hash key goes to the shard; the service may place one without anywhere.
fn goes_to(state: &State, hash: Option<u128>, shard: &str) -> bool {
    match hash {
        Some(hash) if needs_key(state) => state
            .open
            .get(state.route(hash))
            .is_some_and(|s| s.id == shard),
        Some(_) | None => true,
    }
}

pub(crate) fn put_records(
    call: &Call<'_>,
    parsed: &PutRecordsParsed,
    effects: &Effects,
) -> Answer<Bytes> {
    check_put_records(parsed)?;
    let stream = call.stream(parsed.stream_name.as_deref(), parsed.stream_arn.as_deref())?;
    let state = stream.read(call.now_ms);
    serving(&state, &stream)?;
    let puts = checked(parsed, &state)?;
    if parsed.dry_run.unwrap_or_default() {
        return Err(dry_run());
    }
    let mut writer = Writer::new(call, &stream, &state, &puts);
    writer.admit(effects);
    let written = writer.write();
    let answer = writer.answer();
    // It looks at all streams, so none may be locked here.
    drop(state);
    call.inner.count_held(written, call.now_ms);
    Ok(answer)
}

impl Writer<'_, '_> {
    /// The answer of a `PutRecords`.
    fn answer(&self) -> Bytes {
        let mut digits = vec![0; self.fates.len() * DIGITS];
        let mut throttled: Vec<String> = Vec::new();
        for (i, (fate, out)) in self
            .fates
            .iter()
            .zip(digits.as_chunks_mut::<DIGITS>().0)
            .enumerate()
        {
            match fate {
                Fate::Written { offset, arrival_ms } => {
                    if let Some(shard) = self.shard(i) {
                        shard
                            .numbers
                            .of_record(*offset, *arrival_ms)
                            .write_digits(out);
                    }
                }
                Fate::Throttled if throttled.is_empty() => {
                    throttled = self
                        .state
                        .open
                        .iter()
                        .map(|s| rate_exceeded_message(&s.id, self.stream))
                        .collect();
                }
                Fate::Throttled | Fate::Failed | Fate::Open => {}
            }
        }
        let throttled = &throttled;
        let results = self
            .fates
            .iter()
            .zip(digits.as_chunks::<DIGITS>().0)
            .enumerate()
            .map(|(i, (fate, digits))| match fate {
                Fate::Written { .. } => OutgoingResult::Durable {
                    sequence_number: as_text(digits),
                    shard_id: self.shard(i).map_or("", |s| s.id.as_str()),
                },
                Fate::Throttled => OutgoingResult::Failed {
                    code: THROTTLED,
                    message: self
                        .shards
                        .get(i)
                        .and_then(|at| throttled.get(*at as usize))
                        .map_or("", String::as_str),
                },
                Fate::Failed | Fate::Open => OutgoingResult::Failed {
                    code: "InternalFailure",
                    message: INTERNAL_FAILURE,
                },
            });
        let encryption = self.state.key_id.as_ref().map(|_| "KMS");
        hot::encode_put_records_answer(self.call.format, results, encryption)
    }
}

fn check_put_record(request: &PutRecordRequest) -> Answer<()> {
    let mut checks = Checks::default();
    checks.stream_name(request.stream_name.as_deref());
    checks.stream_arn(request.stream_arn.as_deref());
    checks.required("data", request.data.as_ref());
    let key = request.partition_key.as_deref();
    checks.text(
        "partitionKey",
        key,
        1,
        limits::PARTITION_KEY_CHARS,
        Pattern::Any,
    );
    checks.text(
        "explicitHashKey",
        request.explicit_hash_key.as_deref(),
        0,
        39,
        Pattern::HashKey,
    );
    let ordering = request.sequence_number_for_ordering.as_deref();
    checks.text(
        "sequenceNumberForOrdering",
        ordering,
        0,
        129,
        Pattern::SequenceNumber,
    );
    checks.done()
}

/// As [`put_records_touches`].
pub(crate) fn put_record_touches(call: &Call<'_>, request: &PutRecordRequest, shard: &str) -> bool {
    let Ok(stream) = call.stream_unadmitted(
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    ) else {
        return false;
    };
    let state = stream.read(call.now_ms);
    let explicit = request
        .explicit_hash_key
        .as_deref()
        .and_then(hashkey::parse);
    let hash = explicit.or_else(|| {
        request
            .partition_key
            .as_deref()
            .map(hashkey::of_partition_key)
    });
    goes_to(&state, hash, shard)
}

pub(crate) fn put_record(
    call: &Call<'_>,
    request: &PutRecordRequest,
    effects: &Effects,
) -> Answer<PutRecordResponse> {
    check_put_record(request)?;
    let stream = call.stream(
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    )?;
    let state = stream.read(call.now_ms);
    serving(&state, &stream)?;
    let key = request.partition_key.as_deref();
    if needs_key(&state) {
        let mut checks = Checks::default();
        checks.required("partitionKey", key.as_ref());
        checks.done()?;
    }
    let data = request.data.as_ref().map_or(&[][..], |blob| &blob.0[..]);
    check_size(&state, "data", data.len(), key.map_or(0, str::len))?;
    let hash = match request.explicit_hash_key.as_deref() {
        Some(text) => Some(explicit_hash(text)?),
        None => key.map(hashkey::of_partition_key),
    };
    if let Some(text) = request.sequence_number_for_ordering.as_deref()
        && Sequence::parse(text).is_none()
    {
        return Err(invalid_argument(format!(
            "ExclusiveMinimumSequenceNumber {text} used in PutRecord on stream {} under account {} is invalid.",
            stream.name, stream.namespace.account
        )));
    }
    if request.dry_run.unwrap_or_default() {
        return Err(dry_run());
    }
    let puts = [Put { key, hash, data }];
    let mut writer = Writer::new(call, &stream, &state, &puts);
    writer.admit(effects);
    let written = writer.write();
    let shard = Arc::clone(writer.shard(0).ok_or_else(internal_failure)?);
    let fate = writer.fates.first().copied();
    let encrypted = state.key_id.is_some();
    // It looks at all streams, so none may be locked here.
    drop(state);
    call.inner.count_held(written, call.now_ms);
    match fate {
        Some(Fate::Written { offset, arrival_ms }) => Ok(PutRecordResponse {
            shard_id: shard.id.clone(),
            sequence_number: shard.numbers.of_record(offset, arrival_ms).to_string(),
            encryption_type: encrypted.then_some(EncryptionType::Kms),
        }),
        Some(Fate::Throttled) => Err(rate_exceeded(&shard.id, &stream)),
        Some(Fate::Failed | Fate::Open) | None => Err(internal_failure()),
    }
}

/// Where reading is to start.
#[derive(Clone, Debug)]
pub(crate) struct Start<'a> {
    pub(crate) kind: ShardIteratorType,
    pub(crate) sequence: Option<&'a str>,
    pub(crate) timestamp: Option<Timestamp>,
}

/// The offset at which reading starts.
///
/// # Errors
/// `InvalidArgumentException`.
pub(crate) fn start_offset(
    call: &Call<'_>,
    stream: &Stream,
    state: &State,
    shard: &Shard,
    start: &Start<'_>,
) -> Answer<u64> {
    let trimmed = shard.trim(call.now_ms, state.retention_hours);
    call.inner.note_dropped(stream, shard, trimmed, Reason::Age);
    let bounds = shard.log.bounds();
    match &start.kind {
        ShardIteratorType::TrimHorizon => Ok(bounds.head),
        ShardIteratorType::Latest => Ok(bounds.tail),
        ShardIteratorType::AtTimestamp => {
            let at = start.timestamp.ok_or_else(|| {
                invalid_argument("Must specify timestampInMillis parameter for iterator of type AT_TIMESTAMP. Current request has no timestamp parameter.")
            })?;
            let at_ms = u64::try_from(at.0).unwrap_or(0);
            if at_ms > call.now_ms {
                return Err(future_time(at_ms, call.now_ms));
            }
            Ok(shard.log.offset_at_time(at_ms))
        }
        kind @ (ShardIteratorType::AtSequenceNumber | ShardIteratorType::AfterSequenceNumber) => {
            sequence_offset(
                call,
                stream,
                shard,
                *kind == ShardIteratorType::AfterSequenceNumber,
                start.sequence,
            )
        }
        ShardIteratorType::Other(kind) => {
            Err(invalid_argument(format!("{kind} is no type of iterator.")))
        }
    }
}

/// Why a position whose records retention has deleted is refused.
const DELETED: &str = "its record is older than the stream's retention period";

fn sequence_offset(
    call: &Call<'_>,
    stream: &Stream,
    shard: &Shard,
    after: bool,
    text: Option<&str>,
) -> Answer<u64> {
    let kind = if after {
        "AFTER_SEQUENCE_NUMBER"
    } else {
        "AT_SEQUENCE_NUMBER"
    };
    let operation = call.operation;
    let text = text.ok_or_else(|| {
        invalid_argument(format!(
            "Must either specify (1) AT_SEQUENCE_NUMBER or AFTER_SEQUENCE_NUMBER and StartingSequenceNumber or (2) \
             TRIM_HORIZON or LATEST and no StartingSequenceNumber. Request specified {kind} and no \
             StartingSequenceNumber."
        ))
    })?;
    let refused = |why: &str| {
        let (name, account) = (&stream.name, &stream.namespace.account);
        invalid_argument(format!(
            "StartingSequenceNumber {text} used in {operation} on shard {} in stream {name} under account {account} is \
             invalid because {why}.",
            shard.id
        ))
    };
    let sequence = Sequence::parse(text).filter(|s| s.numbers == shard.numbers);
    let sequence = sequence.ok_or_else(|| refused("it did not come from this stream"))?;
    if after && sequence.is_ending() {
        return Err(invalid_argument(format!(
            "Invalid SequenceNumber for ShardIteratorType {kind}, SequenceNumber has reached max possible value for the \
             shard."
        )));
    }
    let bounds = shard.log.bounds();
    let refuses = call.inner.settings.trimmed_position == TrimmedPosition::Refuse;
    if sequence.index == 0 {
        // The shard's StartingSequenceNumber belongs to no record; all records come after that.
        return match after {
            true if bounds.lost_before > 0 && refuses => Err(refused(DELETED)),
            true => Ok(0),
            false => Ok(bounds.head),
        };
    }
    let offset = if after {
        sequence.after_offset()
    } else {
        sequence.at_offset()
    };
    if offset > bounds.tail {
        return if bounds.closed_ms.is_some() {
            Ok(bounds.tail)
        } else {
            Err(refused("no record has it"))
        };
    }
    if offset < bounds.head && refuses {
        return Err(refused(DELETED));
    }
    Ok(offset)
}

pub(crate) fn get_iterator(
    call: &Call<'_>,
    request: &GetShardIteratorRequest,
) -> Answer<GetShardIteratorResponse> {
    let (name, arn) = (
        request.stream_name.as_deref(),
        request.stream_arn.as_deref(),
    );
    let kind = request.shard_iterator_type.as_ref();
    let mut checks = Checks::default();
    checks.stream_name(name);
    checks.stream_arn(arn);
    checks.required("shardId", request.shard_id.as_ref());
    checks.shard_id("shardId", request.shard_id.as_deref());
    checks.required("shardIteratorType", kind);
    checks.known(
        "shardIteratorType",
        kind.map(|k| k.as_str()),
        ShardIteratorType::KNOWN,
    );
    let number = request.starting_sequence_number.as_deref();
    checks.text(
        "startingSequenceNumber",
        number,
        0,
        129,
        Pattern::SequenceNumber,
    );
    checks.done()?;
    let stream = call.stream(name, arn)?;
    let state = stream.read(call.now_ms);
    serving(&state, &stream)?;
    let id = request.shard_id.as_deref().unwrap_or_default();
    let shard = state
        .shard(id)
        .ok_or_else(|| shard_not_found(id, &stream))?;
    if call.inner.settings.enforce_limits && !lock(&shard.rates).iterator(call.now) {
        return Err(rate_exceeded(id, &stream));
    }
    let start = Start {
        kind: kind.cloned().unwrap_or_default(),
        sequence: number,
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
    let iterator = position.seal(call.now_ms, call.inner.faults.iterator_epoch());
    Ok(GetShardIteratorResponse {
        shard_iterator: Some(iterator),
    })
}

/// `Tue Nov 24 02:13:33 UTC 2026`.
fn java_date(ms: u64) -> String {
    let format = time::macros::format_description!(
        "[weekday repr:short] [month repr:short] [day] [hour]:[minute]:[second] UTC [year]"
    );
    let at = i64::try_from(ms / 1000)
        .ok()
        .and_then(|s| time::OffsetDateTime::from_unix_timestamp(s).ok());
    at.and_then(|at| at.format(format).ok())
        .unwrap_or_else(|| ms.to_string())
}

fn expired_iterator(call: &Call<'_>, created_ms: u64) -> ApiError {
    let message = format!(
        "Iterator expired. The iterator was created at time {} while right now it is {} which is further in the future \
         than the tolerated delay of {} milliseconds.",
        java_date(created_ms),
        java_date(call.now_ms),
        millis(call.inner.settings.iterator_age)
    );
    ApiError::new(ErrorCode::ExpiredIterator, message)
}

/// What a `GetRecords` request is about, for misbehaviour to select by: stream, region and shard.
pub(crate) fn get_records_subject(
    call: &Call<'_>,
    request: &GetRecordsRequest,
) -> Option<(Arc<Stream>, String)> {
    let (position, _) = Position::open(request.shard_iterator.as_deref()?).ok()?;
    let stream = call.inner.stream_by_uid(position.uid, call.now_ms)?;
    Some((stream, crate::stream::shard_id(position.shard)))
}

pub(crate) fn get_records(
    call: &Call<'_>,
    request: &GetRecordsRequest,
    effects: &Effects,
) -> Answer<Bytes> {
    let mut checks = Checks::default();
    checks.required("shardIterator", request.shard_iterator.as_ref());
    checks.text(
        "shardIterator",
        request.shard_iterator.as_deref(),
        1,
        512,
        Pattern::Any,
    );
    checks.number(
        "limit",
        request.limit,
        1,
        limits::GET_RECORDS_ENTRIES as i32,
    );
    checks.stream_arn(request.stream_arn.as_deref());
    checks.done()?;
    let (position, opened) = Position::open(request.shard_iterator.as_deref().unwrap_or_default())?;
    let age_ms = call.now_ms.saturating_sub(opened.created_ms);
    let old = age_ms > millis(call.inner.settings.iterator_age)
        || opened.epoch < call.inner.faults.iterator_epoch();
    if old || effects.expire_iterator {
        return Err(expired_iterator(call, opened.created_ms));
    }
    let stream = call.inner.stream_by_uid(position.uid, call.now_ms);
    let stream =
        stream.ok_or_else(|| not_found("The stream of this shard iterator does not exist."))?;
    if request
        .stream_arn
        .as_ref()
        .is_some_and(|arn| *arn != stream.arn.to_string())
    {
        return Err(invalid_argument(
            "ShardIterator and StreamARN do not belong to the same stream.",
        ));
    }
    let state = stream.read(call.now_ms);
    serving(&state, &stream)?;
    let id = crate::stream::shard_id(position.shard);
    let shard = state
        .shards
        .get(&position.shard)
        .ok_or_else(|| shard_not_found(&id, &stream))?;
    if request.dry_run.unwrap_or_default() {
        return Err(dry_run());
    }
    let enforced = call.inner.settings.enforce_limits;
    if enforced && !lock(&shard.rates).read(call.now) {
        return Err(rate_exceeded(&id, &stream));
    }
    let trimmed = shard.trim(call.now_ms, state.retention_hours);
    call.inner
        .note_dropped(&stream, shard, trimmed, Reason::Age);
    let limit = super::page_size(
        request.limit,
        limits::GET_RECORDS_ENTRIES,
        limits::GET_RECORDS_ENTRIES,
    );
    let page = shard
        .log
        .read(position.offset, limit, call.inner.settings.answer_bytes);

    let refuses = call.inner.settings.trimmed_position == TrimmedPosition::Refuse;
    if refuses && position.offset < page.bounds.lost_before {
        return Err(ApiError::new(
            ErrorCode::ExpiredIterator,
            "Iterator expired. The records at its position have been deleted.",
        ));
    }
    if let Some(answer) = empty_page(call, &state, shard, position, &page.bounds, effects) {
        return Ok(answer);
    }

    if enforced {
        lock(&shard.rates).has_read(call.now, page.bytes);
    }
    Ok(page_answer(call, &state, shard, position, &page))
}

fn next_iterator(call: &Call<'_>, position: Position) -> String {
    position.seal(call.now_ms, call.inner.faults.iterator_epoch())
}

/// An answer without records although there are some: on command, or because the position is older than retention.
fn empty_page(
    call: &Call<'_>,
    state: &State,
    shard: &Shard,
    position: Position,
    bounds: &Bounds,
    effects: &Effects,
) -> Option<Bytes> {
    let next = match call.inner.settings.trimmed_position {
        TrimmedPosition::EmptyPages(pages)
            if position.offset < bounds.head && position.empty_answers < pages =>
        {
            Position {
                empty_answers: position.empty_answers + 1,
                ..position
            }
        }
        TrimmedPosition::EmptyPages(_) | TrimmedPosition::Refuse if effects.empty_page => position,
        TrimmedPosition::EmptyPages(_) | TrimmedPosition::Refuse => return None,
    };
    let behind = if position.offset < bounds.head {
        retention_ms(state.retention_hours)
    } else {
        let arrival_ms = shard.log.arrival_ms(position.offset);
        arrival_ms.map_or(0, |ms| call.now_ms.saturating_sub(ms).max(1))
    };
    let iterator = next_iterator(call, next);
    Some(NumberedPage::empty().encode_answer(
        call.format,
        Some(&iterator),
        behind.cast_signed(),
        &[],
    ))
}

fn page_answer(
    call: &Call<'_>,
    state: &State,
    shard: &Shard,
    position: Position,
    page: &Page,
) -> Bytes {
    let ended = page.bounds.ended && page.next >= page.bounds.tail;
    let (iterator, children) = if ended {
        (None, state.children_of(shard.index))
    } else {
        (
            Some(next_iterator(
                call,
                Position {
                    offset: page.next,
                    empty_answers: 0,
                    ..position
                },
            )),
            Vec::new(),
        )
    };
    let behind = millis_behind(page, call.now_ms);
    NumberedPage::new(page, shard.numbers).encode_answer(
        call.format,
        iterator.as_deref(),
        behind,
        &children,
    )
}
