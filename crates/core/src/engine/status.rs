//! What an engine says about itself: plain data, a snapshot of one moment.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::batch::ShardId;
use crate::clock::Millis;
use crate::output::TroubleKind;
use crate::store::OutputId;

fn seconds<S: Serializer>(d: &Duration, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_f64(d.as_secs_f64())
}

// serde hands the field as it is declared.
#[allow(clippy::ref_option)]
fn maybe_seconds<S: Serializer>(d: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
    match d {
        Some(d) => s.serialize_some(&d.as_secs_f64()),
        None => s.serialize_none(),
    }
}

/// A snapshot of an engine. Durations serialize as seconds, moments as milliseconds since 1970.
#[derive(Clone, Debug, Serialize)]
pub struct Status {
    /// The fan-out's name.
    pub name: String,
    /// The wall clock when the snapshot was taken.
    pub at: Millis,
    /// What is read.
    pub source: SourceStatus,
    /// What is written, by id.
    pub outputs: Vec<OutputStatus>,
    /// The memory budget.
    pub memory: MemoryStatus,
    /// The checkpoints.
    pub commits: CommitStatus,
}

/// The source, as far as the engine has seen it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct SourceStatus {
    /// Its ARN, or its name where the server knows no ARNs.
    pub arn: String,
    /// How long it keeps a record.
    #[serde(serialize_with = "maybe_seconds")]
    pub retention: Option<Duration>,
    /// Shards in its map.
    pub shards: usize,
    /// Of these, how many still take records.
    pub shards_open: usize,
    /// Shards that are being read.
    pub shards_reading: usize,
    /// Records that all readers brought, re-reads of lanes that catch up included.
    pub records: u64,
    /// Bytes of the answers, likewise.
    pub bytes: u64,
    /// Calls that read.
    pub reads: u64,
    /// Calls that were refused for their rate.
    pub throttled: u64,
    /// Calls that failed otherwise.
    pub failed: u64,
    /// How far the reader that is furthest along is behind its shard's tip: the maximum over the shards.
    #[serde(serialize_with = "maybe_seconds")]
    pub behind: Option<Duration>,
    /// Stretches that were gone before they were read.
    pub gaps: u64,
    /// The last of them.
    pub recent_gaps: Vec<Gap>,
    /// The last thing that went wrong.
    pub last_error: Option<ErrorReport>,
}

/// A stretch of a shard that retention deleted before it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// Which shard.
    pub shard: ShardId,
    /// Which outputs miss it.
    pub outputs: Vec<OutputId>,
    /// The position that was asked for.
    pub from: String,
    /// When it was noticed.
    pub at: Millis,
}

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    /// When.
    pub at: Millis,
    /// What kind; `None` for what is no answer of a server (a bug of an output, say).
    pub kind: Option<TroubleKind>,
    /// One sentence.
    pub text: String,
}

/// What an output, or one of its lanes, does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum OutputState {
    /// It is written to.
    Running,
    /// Nothing is read or written for it until it is resumed.
    Paused,
    /// It goes no further until its settings are changed or it is resumed. For an output: at least one lane.
    Stopped {
        /// The shard whose lane stopped first.
        shard: ShardId,
        /// Why.
        reason: String,
    },
}

/// Counted since this engine started. At every moment
/// `read = durable + filtered + dead_lettered + in_flight`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records that the lane was given, each counted once.
    pub read: u64,
    /// Records that it and all before it are acknowledged.
    pub durable: u64,
    /// Records that a filter took out.
    pub filtered: u64,
    /// Records that went to the dead letter destination.
    pub dead_lettered: u64,
    /// Records that it was given and that are none of these.
    pub in_flight: u64,
    /// Records that were sent again though they had been, or may have been, written.
    pub repeats: u64,
    /// Requests that were sent because others failed.
    pub retries: u64,
    /// Requests.
    pub requests: u64,
    /// Requests that left records out only to keep the order (`strict`): order is what limits this lane.
    pub order_limited: u64,
    /// Times that records were held back because the output had no room for them: its rate is what limits this lane.
    pub held_back: u64,
    /// Bytes of data and keys that became durable.
    pub bytes: u64,
    /// Answers that were trouble, whole or for a record, by kind.
    pub errors: BTreeMap<TroubleKind, u64>,
}

impl Counts {
    /// True if contract line 8 holds.
    pub fn balanced(&self) -> bool {
        self.read == self.durable + self.filtered + self.dead_lettered + self.in_flight
    }

    /// Adds `other` to `self`, field by field.
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.durable += other.durable;
        self.filtered += other.filtered;
        self.dead_lettered += other.dead_lettered;
        self.in_flight += other.in_flight;
        self.repeats += other.repeats;
        self.retries += other.retries;
        self.requests += other.requests;
        self.order_limited += other.order_limited;
        self.held_back += other.held_back;
        self.bytes += other.bytes;
        for (kind, n) in &other.errors {
            *self.errors.entry(*kind).or_default() += n;
        }
    }
}

/// One output.
#[derive(Clone, Debug, Serialize)]
pub struct OutputStatus {
    /// Its id.
    pub id: OutputId,
    /// What it does.
    #[serde(flatten)]
    pub state: OutputState,
    /// Sums over its lanes, lanes of shards that are long gone included.
    pub counts: Counts,
    /// How far its furthest lane is behind the source's tip; `None` while nothing is known.
    #[serde(serialize_with = "maybe_seconds")]
    pub behind: Option<Duration>,
    /// Time until the source's retention would delete what is not written: the least over its lanes.
    #[serde(serialize_with = "maybe_seconds")]
    pub horizon: Option<Duration>,
    /// Lanes that share the read of the head.
    pub in_window: usize,
    /// Lanes that catch up, or wait to.
    pub catching_up: usize,
    /// Lanes whose parents' lanes are not done.
    pub waiting_for_parents: usize,
    /// Lanes that are done: their shard is closed and everything in it durable.
    pub done: usize,
    /// True once every lane has everything that was in the source when the engine started.
    pub caught_up: bool,
    /// The last thing that went wrong.
    pub last_error: Option<ErrorReport>,
    /// What the user should do, where something needs doing.
    pub advice: Option<String>,
    /// Its lanes, by shard.
    pub lanes: Vec<LaneStatus>,
}

/// Where a lane is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LanePhase {
    /// Its parents' lanes are not done.
    WaitingForParents,
    /// It shares the read of the head.
    InWindow,
    /// It has left the window, and catches up or waits to.
    CatchingUp,
    /// Its output is paused.
    Paused,
    /// It goes no further.
    Stopped,
    /// Its shard is closed and everything in it durable.
    Done,
}

/// One lane.
#[derive(Clone, Debug, Serialize)]
pub struct LaneStatus {
    /// Its shard.
    pub shard: ShardId,
    /// Where it is.
    pub phase: LanePhase,
    /// Its cursor, as text.
    pub position: String,
    /// What it counted.
    pub counts: Counts,
    /// How far it is behind the shard's tip; `None` while nothing is known.
    #[serde(serialize_with = "maybe_seconds")]
    pub behind: Option<Duration>,
    /// Time until retention would delete what it has not written.
    #[serde(serialize_with = "maybe_seconds")]
    pub horizon: Option<Duration>,
    /// True once it has everything that was in the shard when the engine started.
    pub caught_up: bool,
    /// True while it waits after a failure.
    pub backing_off: bool,
    /// True while it waits for the output to have room.
    pub held_back: bool,
}

/// The memory budget, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryStatus {
    /// What may be used.
    pub budget: usize,
    /// What is reserved now.
    pub used: usize,
    /// The most that ever was.
    pub peak: usize,
}

/// The checkpoints.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CommitStatus {
    /// When the last transaction was durable.
    pub last: Option<Millis>,
    /// Transactions since the engine started.
    pub transactions: u64,
    /// How long the last one took.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
    /// Transactions that failed in a row, now.
    pub failing: u32,
    /// The last thing that went wrong.
    pub last_error: Option<ErrorReport>,
}
