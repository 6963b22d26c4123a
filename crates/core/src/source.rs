//! The seam to the one stream that a fan-out reads. A source knows nothing about its readers.

use std::num::NonZeroU32;
use std::time::Duration;

use async_trait::async_trait;

use crate::batch::{Batch, ShardId};
use crate::checkpoint::{Position, Sequence};
use crate::clock::Millis;
use crate::output::Trouble;

/// Tells one stream from another, even one of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamIdentity {
    /// The stream's ARN, or its name where the server knows no ARNs.
    pub arn: String,
    /// The creation time: a stream that was deleted and created again is another stream. `None`
    /// where the server does not return it.
    pub created: Option<Millis>,
}

impl StreamIdentity {
    /// True if `other` has the same name and is another stream: deleted and created again.
    pub fn is_recreated_as(&self, other: &Self) -> bool {
        let both = self.created.zip(other.created);
        self.arn == other.arn && both.is_some_and(|(before, now)| before != now)
    }
}

/// The facts about a stream that decide how the engine reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFacts {
    /// The stream.
    pub identity: StreamIdentity,
    /// Time for which the stream keeps a record.
    pub retention: Duration,
    /// The server's time, as two bounds. "Caught up" is judged by `latest`; `start = "latest"` is
    /// pinned at `earliest`, so that no record that arrives after the call is skipped.
    pub time: ServerTime,
    /// The rate and the size of reads.
    pub limits: ReadLimits,
}

/// The limits of reading one shard, by all its readers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadLimits {
    /// Calls within any stretch of `per`.
    pub calls: NonZeroU32,
    /// See `calls`.
    pub per: Duration,
    /// Bytes of data a second; `None` without such a limit.
    pub bytes_per_second: Option<usize>,
    /// Records of one answer.
    pub answer_records: u32,
    /// Bytes that one answer allocates at most. Reserved where no better estimate is known.
    pub answer_bytes: usize,
    /// Bytes of data that one shard takes in a second at most: decides the size of a read at the
    /// tip.
    pub ingest_bytes_per_second: usize,
}

impl ReadLimits {
    /// Time between two calls on average, at the highest rate.
    pub fn interval(&self) -> Duration {
        self.per / self.calls.get()
    }

    /// Time between two calls of the reader that is furthest along: one call in five is left to the
    /// readers that catch up.
    pub fn head_interval(&self) -> Duration {
        let interval = self.interval();
        interval + interval / 4
    }
}

/// A range of the 128-bit hash space, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashRange {
    /// First hash key.
    pub start: u128,
    /// Last hash key.
    pub end: u128,
}

/// One shard of the source, with its lineage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shard {
    /// The shard's id.
    pub id: ShardId,
    /// None, one (a split) or two (a merge). A parent that retention has removed may be named here
    /// and not be listed.
    pub parents: Vec<ShardId>,
    /// The shard's part of the hash space; a stream may have none.
    pub hash_range: Option<HashRange>,
    /// A number before the shard's first record, and after no record of the shard: the position
    /// after it is refused once a record of the shard was deleted. `None` where the source names
    /// none.
    pub start: Option<Sequence>,
    /// True if no more records will be added.
    pub closed: bool,
}

/// The size of one read. Reserved in the memory budget before the read.
#[derive(Clone, Copy, Debug)]
pub struct Credit {
    /// Maximum number of records (1 to [`ReadLimits::answer_records`]).
    pub records: u32,
}

/// The result of one read of a shard.
#[derive(Debug)]
pub enum Fetched {
    /// Records, at least one.
    Batch(Batch),
    /// No new records for now.
    Idle,
    /// The shard is closed and read to its end, with its children where the source names them (the
    /// shard map does in any case).
    Closed {
        /// Ids of the shards that continue where this one ended.
        children: Vec<ShardId>,
    },
    /// The requested position is older than the oldest record that the source has: the stretch in
    /// between is gone. The reader continues at the oldest record.
    Gap {
        /// The oldest record; `None` if the source has none, or did not return it.
        oldest: Option<OldestRecord>,
    },
}

/// The oldest record that a shard has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OldestRecord {
    /// The record.
    pub sequence: Sequence,
    /// The arrival time of the record at the source.
    pub arrival: Millis,
}

/// One read of a shard.
#[derive(Debug)]
pub struct Read {
    /// The records, or the reason why there are none.
    pub fetched: Fetched,
    /// Distance of the reader from the shard's tip after this read (`MillisBehindLatest`).
    pub behind: Duration,
    /// By the server's clock: this reader has returned every record that arrived before this
    /// moment. Computed as the server time of the answer, rounded down, less `behind`; no API
    /// returns the tip of a shard.
    pub complete_until: Millis,
}

/// The server's time, as far as its answer tells (a `Date` header has whole seconds).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerTime {
    /// Every record that is written after the call arrives at or after this moment.
    pub earliest: Millis,
    /// Every record that was acknowledged before the call arrived before this moment.
    pub latest: Millis,
}

/// The error of a source; see [`Trouble`].
pub type SourceError = Trouble;

/// Reads one shard from a position on, in order. Used by one task. A reader renews expired
/// iterators by itself and retries nothing else.
#[async_trait]
pub trait ShardReader: Send {
    /// Completes when a read may bring records. The engine reserves memory for an answer only then,
    /// so that an idle subscription of a push reader reserves nothing. A polling reader is always
    /// ready. Dropping the future loses nothing.
    async fn ready(&mut self) -> Result<(), SourceError> {
        Ok(())
    }

    /// One read. Not called again after `Closed`. Dropping the future loses nothing: the next call
    /// continues after the last returned record.
    async fn next(&mut self, credit: Credit) -> Result<Read, SourceError>;
}

/// The stream that a fan-out reads.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Identity, retention, time and limits, in one call.
    async fn facts(&self) -> Result<SourceFacts, SourceError>;

    /// All shards that still hold records or take them: open and closed, every page.
    async fn shards(&self) -> Result<Vec<Shard>, SourceError>;

    /// A reader of `shard` from `position` on (never `Closed`). No I/O until the first read.
    fn open(&self, shard: &ShardId, position: Position) -> Box<dyn ShardReader>;
}
