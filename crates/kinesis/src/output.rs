//! A Kinesis stream as an output: `PutRecords`, encoded once for all outputs that encode alike.

mod advice;
mod answer;
mod draft;
mod encoding;
mod history;
mod load;
mod packing;
mod payload;
mod pieces;
mod places;
mod shard_map;
mod shard_rate;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::Batch;
use distributary_core::clock::Instant;
use distributary_core::output::{
    Chunk, Demand, EncodingKey, Outcome, Output, Picks, Profile, RequestLimits, Room, Tally,
    Trouble, TroubleKind, Weight,
};
use distributary_core::record::Record;
use distributary_core::source::StreamIdentity;
use distributary_core::sync::lock;
use distributary_wire::codec::Format;
use distributary_wire::hot::{self, PutRecordsAnswer, SharedBody};
use distributary_wire::limits;
use distributary_wire::op::Operation;
use distributary_wire::transport::RequestBody;
use distributary_wire::types::{DescribeStreamSummaryRequest, StreamStatus};

use crate::client::{CallError, Client, StreamDescription};
use crate::create;
use crate::kpl::{data_of, is_aggregate};
use crate::names::StreamRef;
use crate::transport::RequestClass;
use crate::write_slots::{OutputSlots, WriteSlot};

pub use advice::Advice;
use encoding::Encoding;
use load::{Load, Routed};
use packing::Packing;
use payload::{Entries, PutPayload};
use places::Tallies;
use shard_map::ShardMap;

/// The longest time that listing the output's shards may delay a write.
const MAP_DEADLINE: Duration = Duration::from_secs(2);

/// The property of a record that decides on the shard of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Route {
    /// The record's partition key, as at the source.
    #[default]
    PartitionKey,
    /// The source's shard: records of one shard stay together, at the place of that shard in the
    /// hash space. Records of a source without hash ranges are routed by partition key.
    SourceShard,
}

/// The treatment of records that the Kinesis Producer Library aggregated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aggregates {
    /// An aggregate goes to the shard of its user records, whole; divided where the output's shards
    /// divide the user records. At a stream that places records by itself, aggregates are ordinary
    /// records.
    #[default]
    PassOn,
    /// The lane brings user records ([`Deaggregator`](crate::kpl::Deaggregator)): a record is
    /// written as an entry, whatever its data.
    TakeApart,
    /// As `TakeApart`, and the records of one output shard are packed into new aggregates.
    Pack,
}

/// Settings of one output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputOptions {
    /// The property that decides on the shard.
    pub route: Route,
    /// The treatment of KPL aggregates.
    pub aggregates: Aggregates,
}

/// A Kinesis stream that is written to.
///
/// A record without a partition key (the API allows that) is written without one to a stream that
/// places records by itself. To every other stream the record is written with its sequence number
/// at the source as the key: the same key for each output and each attempt.
pub struct KinesisOutput {
    client: Client,
    stream: StreamRef,
    options: OutputOptions,
    /// Bytes that a record may have.
    record_bytes: AtomicUsize,
    /// True if the stream takes records without a partition key.
    keyless: AtomicBool,
    /// ARN and creation time, once the stream was described.
    identity: Mutex<Option<StreamIdentity>>,
    /// The last encoding, and its name.
    encoding: Mutex<Option<(Encoding, EncodingKey)>>,
    load: Mutex<Load>,
    /// The shards, once an aggregate needed them.
    shards: Mutex<ShardMap>,
    tallies: Tallies,
    /// The writes that may be in flight at the same time.
    slots: OutputSlots,
}

impl std::fmt::Debug for KinesisOutput {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KinesisOutput({}, {:?})", self.stream, self.options)
    }
}

/// A request of this output: the chunk, and the batch that the chunk holds records of.
struct PutRequest<'a> {
    batch: &'a Batch,
    picks: &'a Picks,
    payload: &'a PutPayload,
}

impl PutRequest<'_> {
    /// The entries of the request, in order, with the hash keys that route them.
    fn routed(&self, encoding: &Encoding) -> Vec<Routed> {
        match self.payload.grouped() {
            Some(grouped) => grouped.routed(self.picks),
            None => {
                let sent = self.payload.sent(self.picks);
                sent.map(|index| encoding.routed(self.batch, index))
                    .collect()
            }
        }
    }
}

impl KinesisOutput {
    /// The stream `stream` at `client`. No I/O. Call [`check`](Self::check) or
    /// [`learn`](Self::learn) before the first write, so that the stream's own limits are known.
    pub fn new(client: Client, stream: StreamRef, options: OutputOptions) -> Self {
        Self {
            slots: client.join_write_slots(),
            client: client.of_class(RequestClass::Write),
            stream,
            options,
            record_bytes: AtomicUsize::new(limits::RECORD_BYTES_DEFAULT),
            keyless: AtomicBool::new(false),
            identity: Mutex::default(),
            encoding: Mutex::default(),
            load: Mutex::default(),
            shards: Mutex::default(),
            tallies: Tallies::default(),
        }
    }

    /// Describes the stream, waits until the stream can be written to, and learns its limits.
    ///
    /// # Errors
    /// [`Trouble`], as [`wait_active`](create::wait_active).
    pub async fn check(&self) -> Result<StreamDescription, Trouble> {
        let described = create::wait_active(&self.client, &self.stream).await?;
        self.learn(&described);
        Ok(described)
    }

    /// Takes the stream's limits and identity from a description of the stream.
    pub fn learn(&self, described: &StreamDescription) {
        let record_bytes = described.record_bytes;
        self.record_bytes.store(record_bytes, Ordering::Relaxed);
        let keyless = described.places_by_itself;
        self.keyless.store(keyless, Ordering::Relaxed);

        *lock(&self.identity) = Some(described.identity());
        self.load().learn_mode(&described.mode);
    }

    /// The number of shards that the stream has and would need, if the stream cannot take `demand`.
    pub fn shard_advice(&self, demand: Option<Demand>) -> Option<Advice> {
        self.load().advice(self.now(), demand)
    }

    /// The stream that this output writes to.
    pub fn stream(&self) -> &StreamRef {
        &self.stream
    }

    fn load(&self) -> MutexGuard<'_, Load> {
        lock(&self.load)
    }

    fn now(&self) -> Instant {
        self.client.clock().now()
    }

    fn current_encoding(&self) -> Encoding {
        Encoding {
            format: self.client.format(),
            route: self.options.route,
            aggregates: self.options.aggregates,
            layout: lock(&self.shards).layout(),
            request_bytes: self.client.put_records_bytes(),
            record_bytes: self.record_bytes.load(Ordering::Relaxed),
            keyless: self.keyless.load(Ordering::Relaxed),
        }
    }
}

#[async_trait]
impl Output for KinesisOutput {
    fn encoding(&self) -> EncodingKey {
        let now = self.current_encoding();
        let mut last = lock(&self.encoding);
        match &*last {
            Some((encoding, key)) if *encoding == now => key.clone(),
            _ => {
                let key = now.key();
                *last = Some((now, key.clone()));
                key
            }
        }
    }

    fn profile(&self) -> Profile {
        let most = match self.options.aggregates {
            Aggregates::PassOn | Aggregates::TakeApart => usize::MAX,
            Aggregates::Pack => packing::REQUEST_BYTES,
        };
        Profile::new(RequestLimits {
            entries: limits::PUT_RECORDS_ENTRIES,
            bytes: self.client.put_records_bytes().min(most),
        })
    }

    async fn look(&self) -> Result<Option<StreamIdentity>, Trouble> {
        let answered = self.client.describe(&self.stream).await?;
        let described = answered.answer;
        if described.status == StreamStatus::Deleting {
            return Ok(None);
        }
        self.learn(&described);
        Ok(Some(described.identity()))
    }

    fn identity(&self) -> Option<StreamIdentity> {
        lock(&self.identity).clone()
    }

    fn weigh(&self, record: &Record<'_>) -> Weight {
        // The stand-in for an absent key is counted even where none is sent: an upper bound, the
        // same for all outputs.
        let key = record.key.unwrap_or(record.sequence);
        let whole = Weight {
            entries: 1,
            bytes: record.data_len() + key.len(),
        };
        self.weigh_entries(record, whole)
    }

    fn inner_keys(&self, record: &Record<'_>) -> Vec<Box<str>> {
        match self.options.aggregates {
            Aggregates::PassOn if is_aggregate(data_of(record)) => pieces::keys_within(record),
            _ => Vec::new(),
        }
    }

    fn first_entries(&self, batch: &Batch, open: &[usize]) -> Option<Vec<usize>> {
        let encoding = self.current_encoding();
        if encoding.aggregates != Aggregates::Pack || encoding.keyless {
            return None;
        }

        let layout = encoding.layout.as_ref()?;
        let packing = Packing::new(&encoding, batch, layout);
        Some(packing.first_of_each_shard(open))
    }

    fn encoded_bound(&self, records: usize, bytes: usize) -> usize {
        self.current_encoding().bound(records, bytes)
    }

    fn encode(&self, batch: &Batch, picks: Picks) -> Chunk {
        let payload = self.current_encoding().encode(batch, &picks);
        let allocation = payload.allocation();
        Chunk {
            picks,
            payload: Box::new(payload),
            allocation,
        }
    }

    async fn write(&self, batch: &Batch, chunk: &Chunk, deadline: Duration) -> Outcome {
        let Some(payload) = (*chunk.payload).as_any().downcast_ref::<PutPayload>() else {
            let text = "a chunk of another kind of output; this is a bug, please report it";
            return Outcome::Rejected(Trouble::new(TroubleKind::Invalid, text));
        };
        if let Entries::NeedLayout = payload.entries {
            return self.learn_shards(deadline).await;
        }
        if payload.body.entries == 0 {
            return payload.outcome(Vec::new(), chunk.picks.len());
        }

        let until = self.now().plus(deadline);
        let _slot = match self.slot(deadline).await {
            Ok(slot) => slot,
            Err(trouble) => return Outcome::Rejected(trouble),
        };
        if self.client.is_untried() {
            // A harmless call first: the effect of a PutRecords on a server without CBOR must not
            // be in doubt.
            self.probe(until).await;
        }
        if self.is_stale(payload) {
            return Outcome::Stale;
        }

        let request = PutRequest {
            batch,
            picks: &chunk.picks,
            payload,
        };
        let outcome = self.send(&request, until).await;
        self.refresh_map(until).await;
        outcome
    }

    fn room(&self, batch: &Batch, picks: &Picks) -> Room {
        let now = self.now();
        // Hashing the keys costs more than all the rest of this function: done only while a shard's
        // rate limits writing.
        if !self.load().is_scarce(now) {
            return Room::All;
        }

        let encoding = self.current_encoding();
        let entries = picks
            .iter()
            .flat_map(|index| encoding.routed_entries(batch, index));
        let wanted: Vec<Routed> = entries.collect();
        self.load().room(now, &batch.origin().shard, &wanted)
    }

    fn aggregates(&self) -> Vec<Tally> {
        self.tallies.all()
    }

    fn advice(&self, demand: Option<Demand>) -> Option<String> {
        self.shard_advice(demand).map(|advice| advice.to_string())
    }
}

impl KinesisOutput {
    async fn slot(&self, deadline: Duration) -> Result<WriteSlot<'_>, Trouble> {
        let acquired = self.slots.acquire();
        let slot = self.client.clock().timeout(deadline, acquired).await;
        slot.ok_or_else(|| {
            let others = self.slots.size();
            let text = format!(
                "PutRecords on {}: {others} others have no answer",
                self.stream
            );
            Trouble::new(TroubleKind::Unavailable, text)
        })
    }

    /// Finds out the format that the server takes.
    async fn probe(&self, until: Instant) {
        let left = until.since(self.now());
        let mut request = DescribeStreamSummaryRequest::default();
        // The answer does not matter here: an error of the stream shows in the write as well.
        let answer = self.client.once_on(&self.stream, &mut request, left).await;
        if let Err(error) = answer {
            tracing::debug!(
                stream = %self.stream, error = ?error,
                "the first call to this server failed"
            );
        }
    }

    /// Lists the shards from time to time while a shard's rate limits writing, so that a throttled
    /// shard can be named and waited for.
    async fn refresh_map(&self, until: Instant) {
        let now = self.now();
        if !self.load().wants_map(now) {
            return;
        }

        let left = until.since(now).min(MAP_DEADLINE);
        let listing = self.client.list_shards(&self.stream);
        // A listing that fails or takes too long is tried again after a while.
        match self.client.clock().timeout(left, listing).await {
            Some(Ok(listed)) => self.take_shards(&listed.answer),
            failed => tracing::debug!(
                stream = %self.stream, error = ?failed.map(Result::err),
                "the output's shards were not listed"
            ),
        }
    }

    /// True if the payload was encoded before the client learned a limit or the format of the
    /// server.
    fn is_stale(&self, payload: &PutPayload) -> bool {
        let body = &payload.body;
        let other_format = body.format == Format::Cbor && self.client.format() == Format::Json;
        let too_large = body.size > self.client.put_records_bytes() && body.entries > 1;
        other_format || too_large || self.has_other_shards(payload)
    }

    /// Counts the records of the request against the shards' rates, sends the request once, and
    /// judges the answer.
    async fn send(&self, request: &PutRequest<'_>, until: Instant) -> Outcome {
        let sent_at = self.now();
        if self.load().is_scarce(sent_at) {
            let sent = request.routed(&self.current_encoding());
            let lane = &request.batch.origin().shard;
            self.load().count(sent_at, lane, &sent);
        }

        match self.put(request.payload, until).await {
            Ok(answer) => self.outcome(request, answer, (sent_at, until)).await,
            Err(error) => self.failure(request.payload, error),
        }
    }

    /// Sends the body; by name if the server turns out to know no ARNs.
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
        loop {
            let arn = self.client.arn_to_send(&self.stream);
            let named = match &arn {
                Some(arn) => hot::StreamRef::Arn(arn),
                None => hot::StreamRef::Name(self.stream.name()),
            };
            let body = RequestBody {
                shared: bytes.clone(),
                tail: hot::tail(*format, named),
            };

            let left = until.since(self.now());
            let sending =
                self.client
                    .exchange(Operation::PutRecords, *format, &body, Some(hash), left);
            match sending.await {
                Ok(raw) => {
                    let answer = PutRecordsAnswer::parse(raw.format, &raw.body);
                    return answer.map_err(CallError::Undecodable);
                }
                Err(error) if arn.is_some() && self.client.learn_by_name(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
