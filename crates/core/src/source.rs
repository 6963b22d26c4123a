//! The seam to the one stream that a fan-out reads. It does not know who reads.

use std::time::Duration;

use async_trait::async_trait;

use crate::batch::{Batch, ShardId};
use crate::checkpoint::Position;
use crate::clock::Millis;
use crate::output::Trouble;

/// What tells one stream from another, even of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceIdentity {
    /// The stream's ARN, or its name where the server knows no ARNs.
    pub arn: String,
    /// When it was created; a stream that was deleted and made again is another stream. `None` where the server
    /// does not say.
    pub created: Option<Millis>,
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
    /// Its id.
    pub id: ShardId,
    /// None, one (a split) or two (a merge). A parent that retention has removed may be named and not listed.
    pub parents: Vec<ShardId>,
    /// Its part of the hash space; a stream may have none.
    pub hash_range: Option<HashRange>,
    /// True if no more records will be added.
    pub closed: bool,
}

/// How much one read may bring. Reserved in the memory budget before the read.
#[derive(Clone, Copy, Debug)]
pub struct Credit {
    /// At most so many records (1 to 10,000).
    pub records: u32,
}

/// What one read of a shard brought.
#[derive(Debug)]
pub enum Fetched {
    /// Records, at least one.
    Batch(Batch),
    /// Nothing new for now.
    Idle,
    /// The shard is closed and read to its end. Its children, where the source says them (the shard map does in any
    /// case).
    Closed {
        /// Ids of the shards that go on where this one ended.
        children: Vec<ShardId>,
    },
    /// The position asked for is older than what the source still has: what lay between is gone. The reader goes on
    /// at the oldest record.
    Gap,
}

/// One read of a shard.
#[derive(Debug)]
pub struct Read {
    /// What it brought.
    pub fetched: Fetched,
    /// How far the reader is behind the shard's tip after this read (`MillisBehindLatest`).
    pub behind: Duration,
    /// By the server's clock: every record that arrived before this moment has been returned by this reader. Server
    /// time of the answer, rounded down, less `behind`. No API tells a shard's tip; this stands in for it.
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

/// Why a source did not do what it was asked; see [`Trouble`].
pub type SourceError = Trouble;

/// Reads one shard from a position on, in order. Used by one task; takes expired iterators again by itself, retries
/// nothing else.
#[async_trait]
pub trait ShardReader: Send {
    /// One read. After `Closed` it is not called again. Dropping the future loses nothing: the next call reads on from
    /// the last returned record.
    async fn next(&mut self, credit: Credit) -> Result<Read, SourceError>;
}

/// The stream that a fan-out reads.
#[async_trait]
pub trait Source: Send + Sync + 'static {
    /// Which stream this is.
    async fn identity(&self) -> Result<SourceIdentity, SourceError>;

    /// How long it keeps a record.
    async fn retention(&self) -> Result<Duration, SourceError>;

    /// All shards that still hold records or take them: open and closed, every page.
    async fn shards(&self) -> Result<Vec<Shard>, SourceError>;

    /// The server's time, as two bounds. "Caught up" is judged by `latest`; `start = "latest"` is pinned at `earliest`, so
    /// that nothing which arrives after this call is skipped.
    async fn now(&self) -> Result<ServerTime, SourceError>;

    /// A reader of `shard` from `position` on (never `Closed`). No I/O until its first read.
    fn open(&self, shard: &ShardId, position: Position) -> Box<dyn ShardReader>;
}
