//! A Kinesis stream as an output: `PutRecords`, encoded once for all outputs that encode alike.

mod load;
mod pace;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use distributary_core::batch::Batch;
use distributary_core::clock::Instant;
use distributary_core::output::{
    Chunk, Demand, EncodingKey, Outcome, Output, Picks, Profile, Refusal, RequestLimits, Room,
    Trouble, TroubleKind, Verdict, Weight,
};
use distributary_core::record::{DataForm, Record};
use distributary_core::sync::lock;
use distributary_wire::codec::{CodecError, Format};
use distributary_wire::hashkey;
use distributary_wire::hot::{
    self, Data, Entry, EntryResult, PutRecordsAnswer, PutRecordsBuilder, PutRecordsParsed,
    SharedBody,
};
use distributary_wire::limits;
use distributary_wire::op::Operation;
use distributary_wire::transport::RequestBody;

use crate::client::{CallError, Client, StreamDescription, kind_of};
use crate::names::StreamRef;
use crate::share::Share;

pub use load::Advice;
use load::{Load, Refused, Wanted};

/// What a record takes in a request beside its data and keys, at most, in either format: names, lengths, quotes, commas.
const AROUND_ENTRY: usize = 64;
/// What a request takes beside its records.
const AROUND_BODY: usize = 64;
/// An explicit hash key with its name and quotes: 39 digits at most.
const HASH_KEY_BYTES: usize = 64;
/// A character of a key may be written as six (`\u001f`) in JSON.
const ESCAPED: usize = 6;
/// A sequence number that stands in for a missing partition key.
const SEQUENCE_BYTES: usize = 129;
/// The longest partition key in bytes: 256 characters of up to 4.
const KEY_BYTES: usize = limits::PARTITION_KEY_CHARS * 4;

/// How long the listing of the output's shards may hold up a write.
const MAP_DEADLINE: Duration = Duration::from_secs(2);

/// What decides on the shard of the output that a record goes to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// Its partition key, as at the source.
    #[default]
    PartitionKey,
    /// The source's shard: records of one shard stay together, at that shard's place in the hash space. Records of a
    /// source that says no hash ranges go by partition key.
    SourceShard,
}

/// Settings of one output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// What decides on the shard.
    pub route: Route,
}

/// A Kinesis stream that is written to.
///
/// A record without a partition key (the API lets it be absent) is written without one to a stream that places records by
/// itself, and else with its sequence number at the source as the key: the same for each output and each time.
pub struct KinesisOutput {
    client: Client,
    stream: StreamRef,
    options: OutputOptions,
    /// Bytes that a record may have.
    record_bytes: AtomicUsize,
    /// The stream takes records without a partition key.
    keyless: AtomicBool,
    /// The encoding key as it was last made.
    key: Mutex<Option<(Encoding, EncodingKey)>>,
    load: Mutex<Load>,
    /// Writes that are under way at one time.
    writes: Share,
}

impl std::fmt::Debug for KinesisOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KinesisOutput({}, {:?})", self.stream, self.options)
    }
}

/// All that decides on how records are cut and encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Encoding {
    format: Format,
    route: Route,
    request_bytes: usize,
    record_bytes: usize,
    keyless: bool,
}

/// A request's worth of records.
struct PutPayload {
    body: SharedBody,
    /// Places in the chunk's picks of records that no request can hold, ascending, and why.
    refused: Vec<(usize, Refusal)>,
}

impl std::fmt::Debug for PutPayload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "PutPayload({:?}, {} entries)",
            self.body.format, self.body.entries
        )
    }
}

impl KinesisOutput {
    /// The stream `stream` at `client`. No I/O; call [`check`](Self::check) before the first write, so that the stream's
    /// own limits are known.
    pub fn new(client: Client, stream: StreamRef, options: OutputOptions) -> Self {
        Self {
            writes: client.share(),
            client,
            stream,
            options,
            record_bytes: AtomicUsize::new(limits::RECORD_BYTES_DEFAULT),
            keyless: AtomicBool::new(false),
            key: Mutex::new(None),
            load: Mutex::default(),
        }
    }

    /// What the stream is; waits until it can be written to, and learns its limits.
    ///
    /// # Errors
    /// [`Trouble`]: as [`wait_active`](crate::create::wait_active).
    pub async fn check(&self) -> Result<StreamDescription, Trouble> {
        let described = crate::create::wait_active(&self.client, &self.stream).await?;
        self.record_bytes
            .store(described.record_bytes, Ordering::Relaxed);
        self.keyless
            .store(described.places_by_itself, Ordering::Relaxed);
        self.load().learn_mode(&described.mode);
        Ok(described)
    }

    /// How many shards the stream has and would need where the source brings `demand`, if it can't take that.
    pub fn shard_advice(&self, demand: Option<Demand>) -> Option<Advice> {
        self.load().advice(self.client.clock().now(), demand)
    }

    fn load(&self) -> std::sync::MutexGuard<'_, Load> {
        lock(&self.load)
    }

    /// The stream that it writes to.
    pub fn stream(&self) -> &StreamRef {
        &self.stream
    }

    fn encoding_now(&self) -> Encoding {
        Encoding {
            format: self.client.format(),
            route: self.options.route,
            request_bytes: self.client.put_records_bytes(),
            record_bytes: self.record_bytes.load(Ordering::Relaxed),
            keyless: self.keyless.load(Ordering::Relaxed),
        }
    }
}

impl Encoding {
    fn key(&self) -> EncodingKey {
        let Self {
            format,
            route,
            request_bytes,
            record_bytes,
            keyless,
        } = self;
        let text = format!("{format:?} {route:?} {request_bytes} {record_bytes} keyless={keyless}");
        EncodingKey::new("kinesis", text)
    }

    /// The partition key that `record` is written with.
    fn partition_key<'a>(&self, record: &Record<'a>) -> Option<&'a str> {
        match record.key {
            None if self.keyless => None,
            None => Some(record.sequence),
            some => some,
        }
    }

    /// Why `record` can be in no request.
    fn refusal(&self, record: &Record<'_>, key: Option<&str>) -> Option<Refusal> {
        let size = record.data_len() + key.map_or(0, str::len);
        if size > self.record_bytes {
            let message = format!(
                "it has {size} bytes with its partition key, and the stream takes {} a record (UpdateMaxRecordSize \
                 raises that, up to 10 MiB)",
                self.record_bytes
            );
            return Some(Refusal::new("RecordTooLarge", message));
        }
        let chars = key.map_or(0, |key| {
            if key.len() <= limits::PARTITION_KEY_CHARS {
                1
            } else {
                key.chars().count()
            }
        });
        (chars > limits::PARTITION_KEY_CHARS).then(|| {
            let message = format!("its partition key has {chars} characters; Kinesis takes 256");
            Refusal::new("PartitionKeyTooLong", message)
        })
    }

    /// What an entry takes in a request at most.
    fn entry_bound(&self, record: &Record<'_>, key: Option<&str>) -> usize {
        let key_bytes = key.map_or(0, |key| match self.format {
            Format::Cbor => key.len(),
            Format::Json => key
                .bytes()
                .map(|b| {
                    if b < 0x20 || b == b'"' || b == b'\\' {
                        ESCAPED
                    } else {
                        1
                    }
                })
                .sum(),
        });
        let data = match (self.format, record.form) {
            (Format::Cbor, _) => record.data_len(),
            (Format::Json, DataForm::Base64) => record.data.len(),
            (Format::Json, DataForm::Raw) => record.data.len().div_ceil(3) * 4,
        };
        let hash_key = if self.route == Route::SourceShard {
            HASH_KEY_BYTES
        } else {
            0
        };
        data + key_bytes + hash_key + AROUND_ENTRY
    }

    fn encode(&self, batch: &Batch, picks: &Picks) -> PutPayload {
        let hash_key = match self.route {
            Route::PartitionKey => None,
            Route::SourceShard => batch.hash_range().map(|range| range.start.to_string()),
        };
        let (mut bound, mut entries, mut refused) =
            (AROUND_BODY, Vec::with_capacity(picks.len()), Vec::new());
        for (place, i) in picks.iter().enumerate() {
            let record = batch.record(i);
            let key = self.partition_key(&record);
            match self.refusal(&record, key) {
                Some(why) => refused.push((place, why)),
                None => {
                    bound += self.entry_bound(&record, key);
                    entries.push((place, record, key));
                }
            }
        }
        let mut body =
            PutRecordsBuilder::new(self.format, BytesMut::with_capacity(bound), entries.len());
        for (place, record, key) in entries {
            let data = match record.form {
                DataForm::Raw => Data::Raw(record.data),
                DataForm::Base64 => Data::Base64(record.data),
            };
            let entry = Entry {
                key,
                explicit_hash_key: hash_key.as_deref(),
                data,
            };
            if body.push(&entry).is_err() {
                let refusal =
                    Refusal::new("InvalidBase64", "the source gave data that are not base64");
                refused.push((place, refusal));
            }
        }
        refused.sort_unstable_by_key(|(place, _)| *place);
        PutPayload {
            body: body.finish(),
            refused,
        }
    }
}

#[async_trait]
impl Output for KinesisOutput {
    fn encoding(&self) -> EncodingKey {
        let now = self.encoding_now();
        let mut made = lock(&self.key);
        match &*made {
            Some((of, key)) if *of == now => key.clone(),
            _ => {
                let key = now.key();
                *made = Some((now, key.clone()));
                key
            }
        }
    }

    fn profile(&self) -> Profile {
        Profile::new(RequestLimits {
            entries: limits::PUT_RECORDS_ENTRIES,
            bytes: self.client.put_records_bytes(),
        })
    }

    fn weigh(&self, record: &Record<'_>) -> Weight {
        // With a stand-in for a missing key counted even where none is sent: an upper bound, the same for all.
        let key = record.key.unwrap_or(record.sequence);
        Weight {
            entries: 1,
            bytes: record.data_len() + key.len(),
        }
    }

    fn encoded_bound(&self, records: usize, bytes: usize) -> usize {
        let encoding = self.encoding_now();
        let (data, keys) = match encoding.format {
            Format::Cbor => (bytes, 0),
            // Data as base64, and no more bytes of keys than there are bytes, nor than the records can have.
            Format::Json => (
                bytes.div_ceil(3) * 4 + records * 4,
                bytes.min(records * KEY_BYTES) * (ESCAPED - 1),
            ),
        };
        let hash_key = if encoding.route == Route::SourceShard {
            HASH_KEY_BYTES
        } else {
            0
        };
        AROUND_BODY + data + keys + records * (AROUND_ENTRY + SEQUENCE_BYTES + hash_key)
    }

    fn encode(&self, batch: &Batch, picks: Picks) -> Chunk {
        let payload = self.encoding_now().encode(batch, &picks);
        let allocation = payload.body.bytes.len();
        Chunk {
            picks,
            payload: Box::new(payload),
            allocation,
        }
    }

    async fn write(&self, _: &Batch, chunk: &Chunk, deadline: Duration) -> Outcome {
        let Some(payload) = (*chunk.payload).as_any().downcast_ref::<PutPayload>() else {
            let text = "a chunk that another kind of output made; this is a bug";
            return Outcome::Rejected(Trouble::new(TroubleKind::Invalid, text));
        };
        if payload.body.entries == 0 {
            return payload.verdicts(Vec::new());
        }
        let until = self.client.clock().now().plus(deadline);
        let Some(_slot) = self
            .client
            .clock()
            .timeout(deadline, self.writes.slot())
            .await
        else {
            let others = self.writes.size();
            let text = format!(
                "PutRecords on {}: {others} others have no answer",
                self.stream
            );
            return Outcome::Rejected(Trouble::new(TroubleKind::Unavailable, text));
        };
        if self.client.is_untried() {
            // A harmless call first: what a server without CBOR makes of a PutRecords must not be in doubt.
            self.probe(until).await;
        }
        if self.is_stale(payload) {
            return Outcome::Stale;
        }
        let sent = self.client.clock().now();
        let outcome = match self.put(payload, until).await {
            Ok(answer) => self.outcome(payload, answer, sent),
            Err(error) => self.failure(payload, error),
        };
        let wants_map = self.load().wants_map(self.client.clock().now());
        if wants_map {
            self.ask_for_map(until).await;
        }
        outcome
    }

    fn room(&self, batch: &Batch, picks: &Picks) -> Room {
        let now = self.client.clock().now();
        // Hash keys cost more than all else here: they are made only while it matters.
        if !self.load().is_scarce(now) {
            return Room::All;
        }
        let encoding = self.encoding_now();
        let of_source = batch
            .hash_range()
            .filter(|_| encoding.route == Route::SourceShard);
        let wanted = |index: usize| {
            let record = batch.record(index);
            let key = encoding.partition_key(&record);
            let hash_key = of_source
                .map(|range| range.start)
                .or_else(|| key.map(hashkey::of_partition_key));
            let bytes = (record.data_len() + key.map_or(0, str::len)) as u64;
            Wanted {
                index,
                hash_key: hash_key.filter(|_| !encoding.keyless),
                bytes,
            }
        };
        let wanted: Vec<Wanted> = picks.iter().map(wanted).collect();
        self.load().room(now, &wanted)
    }

    fn advice(&self, demand: Option<Demand>) -> Option<String> {
        self.shard_advice(demand).map(|advice| advice.to_string())
    }
}

impl PutPayload {
    /// What became of all picks: of those that were sent what `sent` says.
    fn verdicts(&self, sent: Vec<Verdict>) -> Outcome {
        if self.refused.is_empty() {
            return Outcome::PerRecord(sent);
        }
        let mut all = Vec::with_capacity(sent.len() + self.refused.len());
        let (mut sent, mut refused) = (sent.into_iter(), self.refused.iter().peekable());
        loop {
            let place = all.len();
            match refused.next_if(|(at, _)| *at == place) {
                Some((_, why)) => all.push(Verdict::Refused(why.clone())),
                None => match sent.next() {
                    Some(verdict) => all.push(verdict),
                    None => return Outcome::PerRecord(all),
                },
            }
        }
    }
}

impl KinesisOutput {
    /// Finds out what the server speaks.
    async fn probe(&self, until: Instant) {
        let left = until.since(self.client.clock().now());
        let mut request = distributary_wire::types::DescribeStreamSummaryRequest::default();
        // Whatever it says: the write finds out by itself.
        if let Err(error) = self.client.once_on(&self.stream, &mut request, left).await {
            tracing::debug!(stream = %self.stream, error = ?error, "the first call to this server failed");
        }
    }

    /// Learns which shards there are, so that a throttled one can be named and waited for as long as it needs.
    async fn ask_for_map(&self, until: Instant) {
        let left = until.since(self.client.clock().now()).min(MAP_DEADLINE);
        let listed = self
            .client
            .clock()
            .timeout(left, self.client.list_shards(&self.stream))
            .await;
        match listed {
            Some(Ok(listed)) => self
                .load()
                .learn_map(self.client.clock().now(), &listed.answer),
            Some(Err(trouble)) => {
                tracing::debug!(stream = %self.stream, error = %trouble, "the output's shards cannot be listed");
            }
            None => {
                tracing::debug!(stream = %self.stream, "the output's shards were not listed in time")
            }
        }
    }

    /// True if the payload was encoded before the client learned a limit or the format of the server.
    fn is_stale(&self, payload: &PutPayload) -> bool {
        let format = payload.body.format == Format::Cbor && self.client.format() == Format::Json;
        let size = payload.body.size > self.client.put_records_bytes() && payload.body.entries > 1;
        format || size
    }

    /// Sends; by name if the server turns out to know no ARNs.
    async fn put(
        &self,
        payload: &PutPayload,
        until: Instant,
    ) -> Result<PutRecordsAnswer, CallError> {
        let SharedBody {
            format,
            bytes,
            hash,
            ..
        } = &payload.body;
        let client = &self.client;
        loop {
            let arn = self
                .stream
                .arn()
                .filter(|_| !client.by_name())
                .map(ToString::to_string);
            let named = match &arn {
                Some(arn) => hot::StreamRef::Arn(arn),
                None => hot::StreamRef::Name(self.stream.name()),
            };
            let body = RequestBody {
                shared: bytes.clone(),
                tail: hot::tail(*format, named),
            };
            let left = until.since(client.clock().now());
            match client
                .exchange(Operation::PutRecords, *format, &body, Some(hash), left)
                .await
            {
                Ok(raw) => {
                    return PutRecordsAnswer::parse(raw.format, &raw.body)
                        .map_err(CallError::Undecodable);
                }
                Err(error) if arn.is_some() && client.learn_by_name(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn outcome(&self, payload: &PutPayload, answer: PutRecordsAnswer, sent_at: Instant) -> Outcome {
        let sent = payload.body.entries;
        if answer.len() != sent {
            let reason = format!("{} results for {sent} records", answer.len());
            return self.failure(
                payload,
                CallError::Undecodable(CodecError::Inconsistent { reason }),
            );
        }
        let refused = match &answer {
            PutRecordsAnswer::AllDurable { .. } => Vec::new(),
            PutRecordsAnswer::PerEntry(results) => throttled(payload, results),
        };
        let now = self.client.clock().now();
        let wait = self.load().note(
            now,
            sent_at,
            sent as u64,
            payload.body.size as u64,
            &refused,
        );
        match answer {
            PutRecordsAnswer::AllDurable { .. } if payload.refused.is_empty() => Outcome::Durable,
            PutRecordsAnswer::AllDurable { .. } => payload.verdicts(vec![Verdict::Durable; sent]),
            PutRecordsAnswer::PerEntry(results) => payload.verdicts(
                results
                    .into_iter()
                    .map(|result| self.verdict(result, wait))
                    .collect(),
            ),
        }
    }

    /// `wait`: how long the shards that refused records for their rate need to take them.
    fn verdict(&self, result: EntryResult, wait: Option<Duration>) -> Verdict {
        let (code, message) = match result {
            EntryResult::Durable { .. } => return Verdict::Durable,
            EntryResult::Failed { code, message } => (code, message),
        };
        // Of a single entry a code that is not known says nothing: it is tried again, and said.
        let status = 0;
        let kind = kind_of(&code, status);
        match kind {
            TroubleKind::Invalid => {
                Verdict::Refused(Refusal::new(code.as_str(), format!("{code}: {message}")))
            }
            TroubleKind::Throttled
            | TroubleKind::Unavailable
            | TroubleKind::Unauthenticated
            | TroubleKind::Denied
            | TroubleKind::Missing
            | TroubleKind::Unintelligible => {
                let text = format!(
                    "stream {} in {}: {code}: {message}",
                    self.stream,
                    self.client.region()
                );
                let mut trouble = Trouble::new(kind, text);
                trouble.retry_after = wait.filter(|_| kind == TroubleKind::Throttled);
                Verdict::Retry(trouble)
            }
        }
    }

    /// A request without an answer that could be read.
    fn failure(&self, payload: &PutPayload, error: CallError) -> Outcome {
        let client = &self.client;
        if payload.body.entries > 1 && client.learn_put_limit(&error, payload.body.size) {
            return Outcome::Stale;
        }
        if payload.body.format == Format::Cbor && client.may_lack_cbor(&error) {
            client.learn_json(&error);
        }
        let without_effect = error.is_without_effect();
        let trouble = client.trouble(error, Operation::PutRecords, Some(&self.stream.to_string()));
        if without_effect {
            Outcome::Rejected(trouble)
        } else {
            Outcome::Unknown(trouble)
        }
    }
}

/// The records that were refused for their shard's rate: read back from the request, since that is rare.
fn throttled(payload: &PutPayload, results: &[EntryResult]) -> Vec<Refused> {
    let is_throttled = |result: &EntryResult| match result {
        EntryResult::Failed { code, .. } => kind_of(code, 0) == TroubleKind::Throttled,
        EntryResult::Durable { .. } => false,
    };
    if !results.iter().any(is_throttled) {
        return Vec::new();
    }
    let SharedBody { format, bytes, .. } = &payload.body;
    let body = RequestBody {
        shared: bytes.clone(),
        tail: hot::tail(*format, hot::StreamRef::Name("s")),
    };
    let Ok(sent) = PutRecordsParsed::parse(*format, &body.to_bytes()) else {
        return Vec::new();
    };
    let text = |span: Option<hot::Span>| span.map_or("", |span| span.text(&sent.buffer));
    let entries = sent
        .records
        .iter()
        .flatten()
        .zip(results)
        .filter(|(_, result)| is_throttled(result));
    entries
        .map(|(entry, _)| {
            let key = text(entry.key);
            let explicit = entry
                .explicit_hash_key
                .and_then(|_| hashkey::parse(text(entry.explicit_hash_key)));
            Refused {
                hash_key: explicit.unwrap_or_else(|| hashkey::of_partition_key(key)),
                bytes: (entry.data.map_or(0, hot::Span::len) + key.len()) as u64,
            }
        })
        .collect()
}
