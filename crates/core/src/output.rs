//! The seam to one place that a fan-out writes to. An output answers per record; retrying and
//! ordering are written once for all outputs, in [`crate::engine`].

use std::any::Any;
use std::fmt;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::batch::{Batch, ShardId};
use crate::record::Record;
use crate::source::StreamIdentity;
use crate::stateful::StatefulPump;
use crate::text;

/// The class of a failure. The retry policy is one `match` over this enum, without a wildcard arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TroubleKind {
    /// The request rate is over a limit; a lower rate succeeds. Retried, slower.
    Throttled,
    /// The server or the network failed; the request itself is fine. Retried.
    Unavailable,
    /// Credentials are absent or expired, or the signature is wrong. Retried (credentials may be
    /// renewed), and reported to the user.
    Unauthenticated,
    /// Access is denied. Retried slowly (a policy may change), and reported to the user.
    Denied,
    /// The stream, queue or function does not exist or is being deleted. Retried slowly, and
    /// reported to the user.
    Missing,
    /// The server rejects the request as wrong, and would reject it again.
    Invalid,
    /// The server's answer is not understood. Such an answer counts neither as success nor as
    /// failure.
    Unintelligible,
}

/// The reason why a call did not succeed.
#[derive(Clone, Debug)]
pub struct Trouble {
    /// The class that decides about retries.
    pub kind: TroubleKind,
    /// One sentence for the user, with the server's own code and message where there is one.
    pub message: String,
    /// The wait that the server asked for (`Retry-After`).
    pub retry_after: Option<Duration>,
    /// The underlying error.
    pub source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Trouble {
    /// A failure of `kind`, described by `message`, which is made safe to print: one line without
    /// secrets, at most 2 KiB long.
    pub fn new(kind: TroubleKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Self {
            kind,
            message: text::clean(&message),
            retry_after: None,
            source: None,
        }
    }

    /// The same failure with its underlying error.
    #[must_use]
    pub fn caused_by(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Trouble {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_ref()
            .map(|s| &**s as &(dyn std::error::Error + 'static))
    }
}

/// Order per partition key at one output (docs/SEMANTICS.md, line 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// One record of a key per request; the next record of the key is sent only after the previous
    /// one is acknowledged.
    Strict,
    /// Full requests; after a partial failure every record of that key from the failed one on is
    /// sent again, so that each record's last occurrence stands in source order.
    #[default]
    Resend,
    /// Only the failed records are sent again.
    Unordered,
}

/// The order per key that an output can keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepsOrder {
    /// Records stand in the output in the order of their acknowledgement, and within one request in
    /// the order of the request: every [`Order`] holds.
    PerKey,
    /// The output discards a record that is sent again (a FIFO queue that deduplicates), so a late
    /// record can't be put right by sending its successors again: `strict` and `unordered` hold.
    StrictOnly,
    /// The output keeps no order at all (a standard queue, a function invoked by event): only
    /// `unordered` is a promise.
    Nothing,
}

impl KeepsOrder {
    /// True if an output of this kind holds `order`.
    pub fn holds(self, order: Order) -> bool {
        match self {
            Self::PerKey => true,
            Self::StrictOnly => order != Order::Resend,
            Self::Nothing => order == Order::Unordered,
        }
    }

    /// The best order that holds where `wanted` was asked for by default: `wanted` itself, or the
    /// strongest order that the output keeps.
    pub fn best(self, wanted: Order) -> Order {
        match self {
            _ if self.holds(wanted) => wanted,
            Self::PerKey | Self::StrictOnly => Order::Strict,
            Self::Nothing => Order::Unordered,
        }
    }
}

/// The properties that decide how the engine sends records to an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The size of one request. A function of the [`Output::encoding`] in force, never of a lane's
    /// state: the engine cuts a batch into the same chunks for every lane with the same encoding
    /// key.
    pub request: RequestLimits,
    /// The order per key that the output can keep.
    pub keeps: KeepsOrder,
    /// Requests of one lane that may be in flight at the same time. Requests in flight together
    /// never share a partition key. One is enough for a Kinesis shard; an endpoint that takes one
    /// record in 50 ms needs many.
    pub in_flight: NonZeroUsize,
    /// True if the output discards a record that was sent before, so that a retry after an unknown
    /// outcome leaves no repeat.
    pub deduplicates: bool,
    /// Present if the output gathers records and answers [`Outcome::Accepted`].
    pub gathers: Option<Gathers>,
}

impl Profile {
    /// An output that keeps the order per key, takes one request of a lane at a time, stores
    /// repeats, and acknowledges each request by itself.
    pub const fn new(request: RequestLimits) -> Self {
        Self {
            request,
            keeps: KeepsOrder::PerKey,
            in_flight: NonZeroUsize::MIN,
            deduplicates: false,
            gathers: None,
        }
    }
}

/// The run of accepted records after which a lane calls [`Output::flush`]: the first limit that is
/// reached decides. A lane flushes sooner when the end of the shard is reached, when the output is
/// paused, when the engine drains, before a dead letter, and when the memory for accepted records
/// is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gathers {
    /// Records of one lane.
    pub records: usize,
    /// Bytes of data and keys of one lane. The encoded records of all lanes together are limited to
    /// a quarter of the memory budget.
    pub bytes: usize,
    /// Time since the lane's first record that was accepted and not flushed.
    pub age: Duration,
}

/// Names a way of encoding: lanes whose outputs have equal keys share the chunks made of a batch.
///
/// The kind is part of the key, so that outputs of two kinds never share a chunk.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EncodingKey {
    kind: &'static str,
    form: Arc<str>,
}

impl EncodingKey {
    /// A key of the output kind `kind` (its name in the registry); `form` holds every setting that
    /// changes the encoded bytes or the cuts between chunks.
    pub fn new(kind: &'static str, form: impl Into<Arc<str>>) -> Self {
        Self {
            kind,
            form: form.into(),
        }
    }

    /// The output kind.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// The settings that change the encoding.
    pub fn form(&self) -> &str {
        &self.form
    }
}

/// The size of one request to an output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// Entries.
    pub entries: usize,
    /// Sum of the weights in bytes.
    pub bytes: usize,
}

/// The part of an output's [`RequestLimits`] that one record takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Weight {
    /// Entries that the record becomes.
    pub entries: usize,
    /// Bytes that the output's limit counts for the record.
    pub bytes: usize,
}

impl Weight {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            entries: self.entries.saturating_add(other.entries),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    pub(crate) fn fits(self, limits: RequestLimits) -> bool {
        self.entries <= limits.entries && self.bytes <= limits.bytes
    }
}

/// The records of a batch that a chunk holds, in source order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Picks {
    /// A run.
    Run(Range<usize>),
    /// Single records, ascending.
    Some(Vec<usize>),
}

impl Picks {
    /// Number of records.
    pub fn len(&self) -> usize {
        match self {
            Self::Run(range) => range.len(),
            Self::Some(picked) => picked.len(),
        }
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Index in the batch of the `i`th record.
    pub fn get(&self, i: usize) -> Option<usize> {
        match self {
            Self::Run(range) => (i < range.len()).then(|| range.start + i),
            Self::Some(picked) => picked.get(i).copied(),
        }
    }

    /// The first `count` records, or all if there are fewer.
    #[must_use]
    pub fn first(&self, count: usize) -> Self {
        let count = count.min(self.len());
        match self {
            Self::Run(range) => Self::Run(range.start..range.start + count),
            Self::Some(picked) => Self::from(picked[..count].to_vec()),
        }
    }

    /// Indices in the batch, ascending.
    pub fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.len()).filter_map(|i| self.get(i))
    }
}

/// Indices as picks: a run where they are consecutive.
impl From<Vec<usize>> for Picks {
    fn from(indices: Vec<usize>) -> Self {
        match (indices.first(), indices.last()) {
            (Some(first), Some(last)) if last - first + 1 == indices.len() => {
                Self::Run(*first..last + 1)
            }
            _ => Self::Some(indices),
        }
    }
}

/// One request's worth of records, encoded by an output. Immutable, shared by all lanes with the
/// same encoding key.
#[derive(Debug)]
pub struct Chunk {
    /// The records of the batch that the chunk holds.
    pub picks: Picks,
    /// The encoded form; only outputs with the same encoding key know its type.
    pub payload: Box<dyn Payload>,
    /// Bytes that stay allocated while the chunk lives.
    pub allocation: usize,
}

/// The encoded form of a chunk.
pub trait Payload: Any + Send + Sync + fmt::Debug {
    /// For the output's downcast.
    fn as_any(&self) -> &dyn Any;
}

impl<T: Any + Send + Sync + fmt::Debug> Payload for T {
    fn as_any(&self) -> &dyn Any {
        self
    }
}

/// The reason why an output will never take a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// A short code for dead letters and metrics, such as `RecordTooLarge`; the server's own code
    /// where there is one.
    pub code: String,
    /// One sentence for the user: which limit or rule, and how to change that.
    pub message: String,
}

impl Refusal {
    /// A refusal with `code`, explained by `message`.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The answer for one record of a chunk.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// The output acknowledged this record by itself.
    Durable,
    /// The output holds this record until a flush; see [`Outcome::Accepted`].
    Accepted,
    /// The output did not take the record now.
    Retry(Trouble),
    /// The output did not take the whole record, and may have written parts of the record.
    Partly(Trouble),
    /// The output will never take the record (too large, malformed).
    Refused(Refusal),
}

/// The answer for a chunk, or for a flush.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// Every record is durable, each acknowledged.
    Durable,
    /// The output holds every record of the chunk, and a later [`Output::flush`] makes them
    /// durable, together with records of other batches. Until then checkpoints wait. Only from
    /// outputs whose profile has [`Profile::gathers`]. An output that answers `Durable` for some
    /// records must not do so for a record behind an accepted one of the same key.
    Accepted,
    /// One verdict per record, in the order of the chunk's picks, and as many as there are picks.
    PerRecord(Vec<Verdict>),
    /// Nothing was written, for certain.
    Rejected(Trouble),
    /// The written records are unknown: a timeout, a broken connection, an answer that was cut or
    /// not understood.
    Unknown(Trouble),
    /// Nothing was written, for certain: the chunk was encoded under a key that the output no
    /// longer accepts. The engine encodes the records again under [`Output::encoding`] and sends
    /// them at once. Not an error.
    Stale,
}

/// A count of an output's own, since the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Tally {
    /// A word for the counted records, such as `divided`.
    pub name: &'static str,
    /// The records.
    pub count: u64,
}

/// The records that an output has room for now, as far as the limits of the destination are known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Room {
    /// All of them.
    All,
    /// Not all of them.
    Less {
        /// Indices in the batch of the records without room, ascending. The engine also holds back
        /// records that would overtake these.
        held: Vec<usize>,
        /// The time to wait before the next question if nothing is left to send.
        wait: Duration,
    },
}

/// The rate at which the source brings records, independent of the output's own speed.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Demand {
    /// Records a second.
    pub records: f64,
    /// Bytes of data and keys a second.
    pub bytes: f64,
}

/// One place that a fan-out writes to.
#[async_trait]
pub trait Output: Send + Sync + 'static {
    /// The properties that decide how records are sent. May change together with
    /// [`Output::encoding`] (an output that learns a server's limits).
    fn profile(&self) -> Profile;

    /// The way of encoding. Outputs with equal keys may exchange chunks. The key may change;
    /// `write` takes a chunk of an older key or answers [`Outcome::Stale`].
    fn encoding(&self) -> EncodingKey;

    /// The stream, queue or table behind the output as the service identifies it: the ARN and the
    /// creation time. `None` while unknown, and for outputs without such an identity.
    fn identity(&self) -> Option<StreamIdentity> {
        None
    }

    /// Asks the service for [`Output::identity`], and learns what else the service tells of the
    /// output. Called by the engine from time to time.
    async fn look(&self) -> Result<Option<StreamIdentity>, Trouble> {
        Ok(self.identity())
    }

    /// The part of [`RequestLimits`] that `record` takes; by default one entry, and the length of
    /// data and key.
    fn weigh(&self, record: &Record<'_>) -> Weight {
        Weight {
            entries: 1,
            bytes: record.size(),
        }
    }

    /// The partition keys of the records within `record`, if `record` is an aggregate that readers
    /// of this output take apart: the order of each of these keys is kept too.
    fn inner_keys(&self, record: &Record<'_>) -> Vec<Box<str>> {
        let _ = record;
        Vec::new()
    }

    /// For an output that puts several records into one entry of a request: the records of `open`
    /// (indices in the batch, ascending) that a request may hold in which no key stands in two
    /// entries. Not empty unless `open` is. `None` where each record is an entry.
    fn first_entries(&self, batch: &Batch, open: &[usize]) -> Option<Vec<usize>> {
        let (_, _) = (batch, open);
        None
    }

    /// Upper bound in bytes of the allocation of a chunk of `records` records that take `bytes`
    /// bytes in the batch. Reserved in the memory budget before encoding.
    fn encoded_bound(&self, records: usize, bytes: usize) -> usize;

    /// Encodes the records of `picks`, which are within the limits, or one record alone that
    /// exceeds them. A record that can never be written is part of the chunk; `write` answers
    /// `Refused` for it.
    fn encode(&self, batch: &Batch, picks: Picks) -> Chunk;

    /// Writes `chunk`, which holds records of `batch`, once. Answers within `deadline` (`Unknown`
    /// if the server does not). Dropping the future abandons the request; the server may still
    /// write its records, late. An output that limits its own rate counts the records here, not in
    /// [`Output::room`].
    async fn write(&self, batch: &Batch, chunk: &Chunk, deadline: Duration) -> Outcome;

    /// Makes every record of `shard` durable that this output has accepted. The answer is
    /// `Durable`, `Rejected` or `Unknown`; after any answer but `Durable`, and when the future is
    /// dropped, the output no longer holds those records, and the engine sends them again.
    async fn flush(&self, shard: &ShardId, deadline: Duration) -> Outcome {
        let (_, _) = (shard, deadline);
        Outcome::Durable
    }

    /// Drops every record of `shard` that was accepted and not flushed: another worker has the
    /// shard now, or another output has taken this one's place. The records are sent again from
    /// there.
    fn discard(&self, shard: &ShardId) {
        let _ = shard;
    }

    /// The records of `picks` that may be sent now without being throttled. A question that changes
    /// nothing: the engine may send fewer records than the answer allows. The default is all.
    fn room(&self, batch: &Batch, picks: &Picks) -> Room {
        let (_, _) = (batch, picks);
        Room::All
    }

    /// Counts of KPL aggregates; empty for outputs that do not look at aggregates.
    fn aggregates(&self) -> Vec<Tally> {
        Vec::new()
    }

    /// The pump, if this output is a stateful one: checkpoints follow the pump's snapshots.
    fn stateful(&self) -> Option<&dyn StatefulPump> {
        None
    }

    /// The reason why the output can't be used at all, such as a stream that was missing when the
    /// fan-out started. `None` once a request is worth a try.
    fn unusable(&self) -> Option<Trouble> {
        None
    }

    /// Advice for the user about `demand` (`None` while unknown), such as a count of missing
    /// shards; `None` if the output can take the demand.
    fn advice(&self, demand: Option<Demand>) -> Option<String> {
        let _ = demand;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_order_is_the_one_asked_for_or_the_strongest_that_holds() {
        for (keeps, wanted, best) in [
            (KeepsOrder::PerKey, Order::Resend, Order::Resend),
            (KeepsOrder::PerKey, Order::Unordered, Order::Unordered),
            (KeepsOrder::StrictOnly, Order::Resend, Order::Strict),
            (KeepsOrder::StrictOnly, Order::Unordered, Order::Unordered),
            (KeepsOrder::Nothing, Order::Strict, Order::Unordered),
            (KeepsOrder::Nothing, Order::Resend, Order::Unordered),
        ] {
            assert_eq!(keeps.best(wanted), best, "{keeps:?}, {wanted:?}");
        }
    }

    #[test]
    fn equal_forms_of_two_kinds_are_two_keys() {
        assert_ne!(
            EncodingKey::new("file", "json"),
            EncodingKey::new("stdout", "json")
        );
    }
}
