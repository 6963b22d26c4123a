//! `PutRecord` and `PutRecords`.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use distributary_wire::hashkey;
use distributary_wire::hot::{self, EntryIndex, OutgoingResult, PutRecordsParsed};
use distributary_wire::limits;
use distributary_wire::types::*;

use super::Call;
use crate::answer::ENCRYPTED;
use crate::check::{Checks, Pattern};
use crate::errors::{
    Answer, dry_run, internal_failure, invalid_argument, rate_exceeded, rate_exceeded_message,
    validation,
};
use crate::faults::{Effects, EntryFault};
use crate::local::lock;
use crate::log::{Appended, NewRecord, StoredPiece};
use crate::sequence::{DIGITS, Sequence, as_text};
use crate::store::Change as Stored;
use crate::stream::{Shard, State, Stream};
use crate::target::{Target, Targeted};

/// Error code of a throttled entry.
const THROTTLED: &str = "ProvisionedThroughputExceededException";
/// Error code and message of an entry that fails on command.
const FAILED: &str = "InternalFailure";
const FAILED_MESSAGE: &str = "Internal service failure.";

/// A record that has passed the checks.
#[derive(Clone, Copy, Debug)]
struct CheckedRecord<'a> {
    key: Option<&'a str>,
    /// The explicit hash key or the hash of the partition key; `None` without either.
    hash: Option<u128>,
    data: &'a [u8],
}

impl<'a> CheckedRecord<'a> {
    fn to_append(self, flags: u16) -> NewRecord<'a> {
        NewRecord {
            key: self.key,
            data: self.data,
            flags,
        }
    }

    /// Bytes of data and key.
    fn size(&self) -> usize {
        self.data.len() + self.key.map_or(0, str::len)
    }
}

/// The result for one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// Not written yet.
    Pending,
    Written {
        offset: u64,
        arrival_ms: u64,
    },
    Throttled,
    Failed,
}

/// Parses an explicit hash key that has passed [`Pattern::HashKey`].
///
/// # Errors
/// `InvalidArgumentException` for numbers of 2^128 and more.
fn parse_hash_key(text: &str) -> Answer<u128> {
    hashkey::parse(text).ok_or_else(|| {
        invalid_argument(format!(
            "Invalid ExplicitHashKey. ExplicitHashKey must be in the range: [0, 2^128-1]. \
             Specified value was {text}"
        ))
    })
}

/// The explicit hash key, or else the hash of the partition key.
fn hash_of(key: Option<&str>, explicit_hash_key: Option<&str>) -> Answer<Option<u128>> {
    match explicit_hash_key {
        Some(text) => parse_hash_key(text).map(Some),
        None => Ok(key.map(hashkey::of_partition_key)),
    }
}

/// True if a record must have a partition key.
fn needs_key(state: &State) -> bool {
    state.distribution != RecordDistributionStrategy::Auto
}

/// The place in [`State::open`] of the shard for a record.
fn shard_place(stream: &Stream, state: &State, record: &CheckedRecord<'_>) -> u32 {
    let hash = record.hash.filter(|_| needs_key(state));
    if let Some(hash) = hash {
        return state.route(hash) as u32;
    }

    let turn = stream.next_turn.fetch_add(1, Ordering::Relaxed);
    let open_shards = state.open.len().max(1) as u64;
    (turn % open_shards) as u32
}

/// Checks a record against the stream's largest record. `member` names the data for the message.
///
/// # Errors
/// `ValidationException` if the data alone are too large; `InvalidArgumentException` if data and
/// key together are.
fn check_size(
    state: &State,
    member: impl FnOnce() -> String,
    data: usize,
    key: usize,
) -> Answer<()> {
    let max = state.max_record_kib.unsigned_abs() as usize * 1024;
    let total = data + key;
    if total <= max {
        return Ok(());
    }

    if data > max {
        return Err(validation(format!(
            "1 validation error detected: Value at '{}' failed to satisfy constraint: Member must \
             have length less than or equal to {max}",
            member()
        )));
    }
    Err(invalid_argument(format!(
        "Record size {total} exceeds the maximum of {max} bytes, data and partition key together."
    )))
}

/// Assigns records to shards and appends the records of each shard under one lock.
struct Writer<'a, 'b> {
    call: &'a Call<'b>,
    stream: &'a Stream,
    state: &'a State,
    records: &'a [CheckedRecord<'a>],
    /// For each record, the place of the shard in [`State::open`].
    shard_places: Vec<u32>,
    outcomes: Vec<Outcome>,
}

impl<'a, 'b> Writer<'a, 'b> {
    fn new(
        call: &'a Call<'b>,
        stream: &'a Stream,
        state: &'a State,
        records: &'a [CheckedRecord<'a>],
    ) -> Self {
        let shard_places = records
            .iter()
            .map(|record| shard_place(stream, state, record))
            .collect();

        Self {
            call,
            stream,
            state,
            records,
            shard_places,
            outcomes: vec![Outcome::Pending; records.len()],
        }
    }

    /// The shard of the record at an index.
    fn shard(&self, record: usize) -> Option<&'a Arc<Shard>> {
        self.state
            .open
            .get(*self.shard_places.get(record)? as usize)
    }

    /// Marks the records that faults or the shards' write limits refuse.
    fn refuse(&mut self, effects: &Effects) {
        if effects.entries.is_empty() && !self.call.inner.settings.enforce_limits {
            return;
        }

        for (index, record) in self.records.iter().enumerate() {
            let Some(shard) = self.shard(index) else {
                continue;
            };
            let faults = &self.call.inner.faults;
            let outcome = match faults.entry(effects, index, record.key, &shard.id) {
                Some(EntryFault::Throttled) => Outcome::Throttled,
                Some(EntryFault::Failed) => Outcome::Failed,
                None => self.limit(shard, record),
            };
            self.set_outcome(index, outcome);
        }
    }

    fn set_outcome(&mut self, index: usize, outcome: Outcome) {
        if let Some(slot) = self.outcomes.get_mut(index) {
            *slot = outcome;
        }
    }

    /// Counts a record against the shard's write limits, if limits are enforced.
    fn limit(&self, shard: &Shard, record: &CheckedRecord<'_>) -> Outcome {
        if !self.call.inner.settings.enforce_limits {
            return Outcome::Pending;
        }
        if lock(&shard.rates).admit_write(self.call.now, record.size()) {
            Outcome::Pending
        } else {
            Outcome::Throttled
        }
    }

    /// The pending records by shard: the shard's place and the record's index.
    fn pending_by_shard(&self) -> Vec<(u32, u32)> {
        let mut pending = Vec::with_capacity(self.outcomes.len());
        for (index, outcome) in (0_u32..).zip(&self.outcomes) {
            if let (Outcome::Pending, Some(place)) =
                (outcome, self.shard_places.get(index as usize))
            {
                pending.push((*place, index));
            }
        }

        pending.sort_unstable();
        pending
    }

    /// Writes the records that are not refused; returns their bytes of data and keys.
    fn write(&mut self, effects: &Effects) -> usize {
        self.refuse(effects);

        let mut written = 0;
        for group in self.pending_by_shard().chunk_by(|a, b| a.0 == b.0) {
            let place = group.first().map_or(0, |(place, _)| *place as usize);
            if let Some(shard) = self.state.open.get(place) {
                written += self.append(shard, group);
            }
        }
        written
    }

    /// Appends the records of one shard; returns their bytes of data and keys. `group` holds the
    /// shard's place and the record's index.
    fn append(&mut self, shard: &'a Arc<Shard>, group: &[(u32, u32)]) -> usize {
        let is_encrypted = self.state.key_id.is_some();
        let flags = if is_encrypted { ENCRYPTED } else { 0 };
        let records = group
            .iter()
            .filter_map(|(_, index)| self.records.get(*index as usize))
            .map(|record| record.to_append(flags));

        let uid = self.stream.uid;
        let mut to_store = self.stream.store().map(|store| {
            move |piece| {
                store.push(Stored::Piece {
                    uid,
                    shard: Arc::clone(shard),
                    piece,
                });
            }
        });
        let to_store = to_store
            .as_mut()
            .map(|to_store| to_store as &mut dyn FnMut(StoredPiece));

        // A shard is closed under the stream's exclusive lock only, and the caller holds the lock
        // shared, so the shard is open.
        let Ok(appended) = shard.log.append(self.call.now_ms, records, to_store) else {
            return 0;
        };

        self.note_written(&appended, group);
        appended.bytes
    }

    fn note_written(&mut self, appended: &Appended, group: &[(u32, u32)]) {
        for (offset, (_, index)) in (appended.first..).zip(group) {
            let outcome = Outcome::Written {
                offset,
                arrival_ms: appended.arrival_ms,
            };
            self.set_outcome(*index as usize, outcome);
        }
    }

    /// The body of the answer to `PutRecords`.
    fn encode_answer(&self) -> Bytes {
        let digits = self.sequence_digits();
        let messages = self.throttle_messages();

        let shard_id = |place: u32| {
            let shard = self.state.open.get(place as usize);
            shard.map_or("", |shard| shard.id.as_str())
        };
        let results = self
            .outcomes
            .iter()
            .zip(digits.as_chunks::<DIGITS>().0)
            .zip(&self.shard_places)
            .map(|((outcome, digits), place)| match outcome {
                Outcome::Written { .. } => OutgoingResult::Durable {
                    sequence_number: as_text(digits),
                    shard_id: shard_id(*place),
                },
                Outcome::Throttled => OutgoingResult::Failed {
                    code: THROTTLED,
                    message: messages.get(*place as usize).map_or("", String::as_str),
                },
                Outcome::Failed | Outcome::Pending => OutgoingResult::Failed {
                    code: FAILED,
                    message: FAILED_MESSAGE,
                },
            });

        let encryption = self.state.key_id.as_ref().map(|_| "KMS");
        hot::encode_put_records_answer(self.call.format, results, encryption)
    }

    /// The answer to `PutRecord`.
    fn record_answer(&self) -> Answer<PutRecordResponse> {
        let shard = self.shard(0).ok_or_else(internal_failure)?;
        let is_encrypted = self.state.key_id.is_some();

        match self.outcomes.first() {
            Some(Outcome::Written { offset, arrival_ms }) => {
                let sequence = shard.numbers.of_record(*offset, *arrival_ms);
                Ok(PutRecordResponse {
                    shard_id: shard.id.clone(),
                    sequence_number: sequence.to_string(),
                    encryption_type: is_encrypted.then_some(EncryptionType::Kms),
                })
            }
            Some(Outcome::Throttled) => Err(rate_exceeded(&shard.id, self.stream)),
            Some(Outcome::Failed | Outcome::Pending) | None => Err(internal_failure()),
        }
    }

    /// The digits of the sequence number of each record, zeros for a record that is not written.
    fn sequence_digits(&self) -> Vec<u8> {
        let mut digits = vec![0; self.outcomes.len() * DIGITS];
        let slots = digits.as_chunks_mut::<DIGITS>().0;
        for (index, (outcome, slot)) in self.outcomes.iter().zip(slots).enumerate() {
            if let Outcome::Written { offset, arrival_ms } = outcome
                && let Some(shard) = self.shard(index)
            {
                let sequence = shard.numbers.of_record(*offset, *arrival_ms);
                sequence.write_digits(slot);
            }
        }
        digits
    }

    /// The message of a throttled record for each open shard; empty if no record is throttled.
    fn throttle_messages(&self) -> Vec<String> {
        if !self.outcomes.contains(&Outcome::Throttled) {
            return Vec::new();
        }
        let shards = self.state.open.iter();
        shards
            .map(|shard| rate_exceeded_message(&shard.id, self.stream))
            .collect()
    }
}

/// One entry of `PutRecords` before the checks.
struct Entry<'a> {
    key: Option<&'a str>,
    explicit_hash_key: Option<&'a str>,
    data: Option<&'a [u8]>,
}

impl<'a> Entry<'a> {
    fn new(parsed: &'a PutRecordsParsed, entry: &EntryIndex) -> Self {
        let buffer = &parsed.buffer;
        let hash_key = entry.explicit_hash_key;
        Self {
            key: entry.key.map(|span| span.text(buffer)),
            explicit_hash_key: hash_key.map(|span| span.text(buffer)),
            data: entry.data.map(|span| span.of(buffer)),
        }
    }

    /// Checks the entry at an index of the request.
    fn check(&self, state: &State, index: usize) -> Answer<CheckedRecord<'a>> {
        let member = |name: &str| format!("records.{}.member.{name}", index + 1);
        if self.may_violate_model(state) {
            self.check_model(state, member)?;
        }

        let data = self.data.unwrap_or_default();
        let key_bytes = self.key.map_or(0, str::len);
        check_size(state, || member("data"), data.len(), key_bytes)?;

        Ok(CheckedRecord {
            key: self.key,
            hash: hash_of(self.key, self.explicit_hash_key)?,
            data,
        })
    }

    /// False for almost all entries; a cheap test before [`check_model`](Self::check_model).
    fn may_violate_model(&self, state: &State) -> bool {
        let key_is_wrong = match self.key {
            // A key has no more characters than bytes, so few keys must be counted.
            Some(key) => {
                key.is_empty()
                    || (key.len() > limits::PARTITION_KEY_CHARS
                        && key.chars().count() > limits::PARTITION_KEY_CHARS)
            }
            None => needs_key(state),
        };
        let hash_key = self.explicit_hash_key;

        key_is_wrong
            || self.data.is_none()
            || hash_key.is_some_and(|text| hashkey::parse(text).is_none())
    }

    /// Checks the constraints of the API's model.
    fn check_model(&self, state: &State, member: impl Fn(&str) -> String) -> Answer<()> {
        let mut checks = Checks::default();
        checks.required(&member("data"), self.data.as_ref());
        if needs_key(state) {
            checks.required(&member("partitionKey"), self.key.as_ref());
        }
        checks_key(&mut checks, &member("partitionKey"), self.key);
        checks_hash_key(
            &mut checks,
            &member("explicitHashKey"),
            self.explicit_hash_key,
        );
        checks.finish()
    }
}

fn checks_key(checks: &mut Checks, member: &str, key: Option<&str>) {
    checks.text(member, key, 1..=limits::PARTITION_KEY_CHARS, Pattern::Any);
}

fn checks_hash_key(checks: &mut Checks, member: &str, hash_key: Option<&str>) {
    checks.text(member, hash_key, 0..=39, Pattern::HashKey);
}

/// Checks the entries of `PutRecords` against the model and the stream's limits.
fn check_entries<'a>(
    parsed: &'a PutRecordsParsed,
    state: &State,
) -> Answer<Vec<CheckedRecord<'a>>> {
    let entries = parsed.records.as_deref().unwrap_or_default();
    let mut records = Vec::with_capacity(entries.len());
    let mut total_bytes = 0;

    for (index, entry) in entries.iter().enumerate() {
        let record = Entry::new(parsed, entry).check(state, index)?;
        total_bytes += record.size();
        records.push(record);
    }

    if total_bytes > limits::PUT_RECORDS_BYTES {
        let limit = limits::PUT_RECORDS_BYTES >> 20;
        return Err(invalid_argument(format!(
            "Records size exceeds {limit} MB limit"
        )));
    }
    Ok(records)
}

/// Checks the parts of `PutRecords` that do not depend on the stream.
fn check_put_records(parsed: &PutRecordsParsed) -> Answer<()> {
    let count = parsed.records.as_ref().map(Vec::len);
    let shown = if count == Some(0) { "[]" } else { "[...]" };

    let mut checks = Checks::of_stream(parsed);
    checks.required("records", parsed.records.as_ref());
    checks.count("records", shown, count, 1..=limits::PUT_RECORDS_ENTRIES);
    checks.finish()
}

/// True if a record of the request may go to a shard. Faults select calls by this before the write.
pub(crate) fn put_records_touches(call: &Call<'_>, parsed: &PutRecordsParsed, shard: &str) -> bool {
    let Target {
        stream_name, arn, ..
    } = parsed.target();
    let Ok(stream) = call.find_stream(stream_name, arn) else {
        return false;
    };

    let state = stream.read(call.now_ms);
    let records = parsed.records.as_deref().unwrap_or_default();
    records.iter().any(|entry| {
        let entry = Entry::new(parsed, entry);
        may_go_to(&state, entry.key, entry.explicit_hash_key, shard)
    })
}

/// As [`put_records_touches`].
pub(crate) fn put_record_touches(call: &Call<'_>, request: &PutRecordRequest, shard: &str) -> bool {
    let Target {
        stream_name, arn, ..
    } = request.target();
    let Ok(stream) = call.find_stream(stream_name, arn) else {
        return false;
    };

    let state = stream.read(call.now_ms);
    let key = request.partition_key.as_deref();
    may_go_to(&state, key, request.explicit_hash_key.as_deref(), shard)
}

/// True if a record may go to a shard: any shard is possible for a record that the service places.
fn may_go_to(state: &State, key: Option<&str>, hash_key: Option<&str>, shard: &str) -> bool {
    let explicit = hash_key.and_then(hashkey::parse);
    let hash = explicit.or_else(|| key.map(hashkey::of_partition_key));

    match hash.filter(|_| needs_key(state)) {
        Some(hash) => {
            let target = state.open.get(state.route(hash));
            target.is_some_and(|s| s.id == shard)
        }
        None => true,
    }
}

pub(crate) fn put_records(
    call: &Call<'_>,
    parsed: &PutRecordsParsed,
    effects: &Effects,
) -> Answer<Bytes> {
    check_put_records(parsed)?;
    let stream = call.stream_of(parsed)?;
    let state = stream.read(call.now_ms);
    state.check_serves(&stream)?;

    let records = check_entries(parsed, &state)?;
    if parsed.dry_run.unwrap_or_default() {
        return Err(dry_run());
    }

    let mut writer = Writer::new(call, &stream, &state, &records);
    let written = writer.write(effects);
    let answer = writer.encode_answer();

    // The byte budget reads the state of all streams, so no stream may be locked any more.
    drop(state);
    call.inner.count_held(written, call.now_ms);
    Ok(answer)
}

fn check_put_record(request: &PutRecordRequest) -> Answer<()> {
    let mut checks = Checks::of_stream(request);
    checks.required("data", request.data.as_ref());
    checks_key(
        &mut checks,
        "partitionKey",
        request.partition_key.as_deref(),
    );
    let hash_key = request.explicit_hash_key.as_deref();
    checks_hash_key(&mut checks, "explicitHashKey", hash_key);
    checks.text(
        "sequenceNumberForOrdering",
        request.sequence_number_for_ordering.as_deref(),
        0..=129,
        Pattern::SequenceNumber,
    );
    checks.finish()
}

fn check_has_key(key: Option<&str>) -> Answer<()> {
    let mut checks = Checks::default();
    checks.required("partitionKey", key.as_ref());
    checks.finish()
}

/// Checks the record of `PutRecord` against the stream.
fn check_record<'a>(
    request: &'a PutRecordRequest,
    stream: &Stream,
    state: &State,
) -> Answer<CheckedRecord<'a>> {
    let key = request.partition_key.as_deref();
    if needs_key(state) {
        check_has_key(key)?;
    }

    let data = request.data.as_ref().map_or(&[][..], |blob| &blob.0[..]);
    let key_bytes = key.map_or(0, str::len);
    check_size(state, || "data".to_owned(), data.len(), key_bytes)?;
    let hash = hash_of(key, request.explicit_hash_key.as_deref())?;

    check_ordering(request, stream)?;
    Ok(CheckedRecord { key, hash, data })
}

/// # Errors
/// `InvalidArgumentException` if `SequenceNumberForOrdering` is no sequence number.
fn check_ordering(request: &PutRecordRequest, stream: &Stream) -> Answer<()> {
    let ordering = request.sequence_number_for_ordering.as_deref();
    match ordering.filter(|text| Sequence::parse(text).is_none()) {
        Some(text) => Err(invalid_argument(format!(
            "ExclusiveMinimumSequenceNumber {text} used in PutRecord on stream {stream} is invalid."
        ))),
        None => Ok(()),
    }
}

pub(crate) fn put_record(
    call: &Call<'_>,
    request: &PutRecordRequest,
    effects: &Effects,
) -> Answer<PutRecordResponse> {
    check_put_record(request)?;
    let stream = call.stream_of(request)?;
    let state = stream.read(call.now_ms);
    state.check_serves(&stream)?;

    let records = [check_record(request, &stream, &state)?];
    if request.dry_run.unwrap_or_default() {
        return Err(dry_run());
    }

    let mut writer = Writer::new(call, &stream, &state, &records);
    let written = writer.write(effects);
    let answer = writer.record_answer();

    // The byte budget reads the state of all streams, so no stream may be locked any more.
    drop(state);
    call.inner.count_held(written, call.now_ms);
    answer
}
