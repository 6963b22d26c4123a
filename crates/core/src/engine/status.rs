//! The status of an engine: plain data, a snapshot of one moment.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Serialize, Serializer};

use crate::batch::ShardId;
use crate::clock::Millis;
use crate::output::{Tally, TroubleKind};
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
    /// The source.
    pub source: SourceStatus,
    /// The outputs, by id.
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
    /// Time for which the source keeps a record.
    #[serde(serialize_with = "maybe_seconds")]
    pub retention: Option<Duration>,
    /// Shards in its map.
    pub shards: usize,
    /// Shards that still take records.
    pub shards_open: usize,
    /// Shards that are being read.
    pub shards_reading: usize,
    /// Records of all reads, re-reads of lanes that catch up included.
    pub records: u64,
    /// Bytes of the answers, likewise.
    pub bytes: u64,
    /// Calls that read.
    pub reads: u64,
    /// Calls that were refused for their rate.
    pub throttled: u64,
    /// Calls that failed otherwise.
    pub failed: u64,
    /// Distance of the head behind its shard's tip: the maximum over the shards.
    #[serde(serialize_with = "maybe_seconds")]
    pub behind: Option<Duration>,
    /// Stretches that were gone before they were read.
    pub gaps: u64,
    /// The newest gaps.
    pub recent_gaps: Vec<Gap>,
    /// The last failure.
    pub last_error: Option<ErrorReport>,
}

/// A stretch of a shard that retention deleted before it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gap {
    /// The shard.
    pub shard: ShardId,
    /// The outputs that miss it.
    pub outputs: Vec<OutputId>,
    /// The position that was asked for.
    pub from: String,
    /// The arrival time of the last record before the gap, where known.
    pub from_arrival: Option<Millis>,
    /// The first record after the gap, where known.
    pub to: Option<String>,
    /// The arrival time of that record.
    pub to_arrival: Option<Millis>,
    /// The moment of the notice.
    pub at: Millis,
}

impl Gap {
    /// The time between the arrivals of the records around the gap, where both are known.
    pub fn length(&self) -> Option<Duration> {
        Some(self.to_arrival?.since(self.from_arrival?))
    }

    /// The two ends and the length, for a log line.
    pub fn extent(&self) -> String {
        let to = self.to.as_ref().map_or_else(
            || "the oldest record that is left".to_owned(),
            |sequence| format!("record {sequence}"),
        );
        let length = self.length().map_or_else(
            || "of unknown length".to_owned(),
            |length| format!("{:.1} h", length.as_secs_f64() / 3600.0),
        );
        format!("{} up to {to} ({length})", self.from)
    }
}

/// A failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorReport {
    /// The moment.
    pub at: Millis,
    /// The kind; `None` for a failure that is no answer of a server (a bug of an output, say).
    pub kind: Option<TroubleKind>,
    /// One sentence.
    pub text: String,
}

/// The state of an output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum OutputState {
    /// Records are written.
    Running,
    /// Nothing is read or written for it until it is resumed.
    Paused,
    /// The output could not be opened, and is tried again.
    Failing {
        /// The reason.
        reason: String,
    },
    /// At least one lane goes no further until the settings are changed or the output is resumed.
    Stopped {
        /// The shard whose lane stopped first.
        shard: ShardId,
        /// The reason.
        reason: String,
    },
}

/// Counted since this engine started. At every moment
/// `read = durable + filtered + dead_lettered + in_flight`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records that the lane was given, each counted once.
    pub read: u64,
    /// Records that are acknowledged, with all records before them.
    pub durable: u64,
    /// Records that a filter took out.
    pub filtered: u64,
    /// Records that went to the dead letter destination.
    pub dead_lettered: u64,
    /// Records that the lane was given and that are none of these.
    pub in_flight: u64,
    /// Records that were sent again though they had been, or may have been, written.
    pub repeats: u64,
    /// Requests that were sent because others failed.
    pub retries: u64,
    /// Requests.
    pub requests: u64,
    /// Requests that left records out only to keep the order (`strict`): the order limits this
    /// lane.
    pub order_limited: u64,
    /// Times that records were held back because the output had no room for them: the output's rate
    /// limits this lane.
    pub held_back: u64,
    /// Bytes of data and keys that became durable.
    pub bytes: u64,
    /// Answers that failed, whole or for a record, by kind.
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
    /// The id.
    pub id: OutputId,
    /// The state.
    #[serde(flatten)]
    pub state: OutputState,
    /// Sums over its lanes, lanes of shards that are long gone included.
    pub counts: Counts,
    /// Distance of the furthest lane behind the source's tip; `None` while nothing is known.
    #[serde(serialize_with = "maybe_seconds")]
    pub behind: Option<Duration>,
    /// Time until the source's retention would delete unwritten records: the least over the lanes.
    #[serde(serialize_with = "maybe_seconds")]
    pub horizon: Option<Duration>,
    /// Lanes that share the read of the head.
    pub in_window: usize,
    /// Lanes that catch up, or wait to.
    pub catching_up: usize,
    /// Lanes whose parents' lanes are not done.
    pub waiting_for_parents: usize,
    /// Lanes of shards that other workers deliver.
    pub elsewhere: usize,
    /// Lanes that are done: their shard is closed and everything in it durable.
    pub done: usize,
    /// True once every lane has everything that was in the source when the engine started.
    pub caught_up: bool,
    /// The last failure.
    pub last_error: Option<ErrorReport>,
    /// The user's next step, where there is one.
    pub advice: Option<String>,
    /// Counts of KPL aggregates; empty for outputs that do not look at aggregates.
    pub aggregates: Vec<Tally>,
    /// The lanes, by shard.
    pub lanes: Vec<LaneStatus>,
}

impl OutputStatus {
    /// The lanes that are stopped, and all that have not reached the end of their shard.
    pub fn stopped_lanes(&self) -> (usize, usize) {
        let stopped = self.lanes.iter();
        let stopped = stopped.filter(|lane| lane.phase == LanePhase::Stopped);
        let open = self.lanes.iter();
        let open = open.filter(|lane| lane.phase != LanePhase::Done);
        (stopped.count(), open.count())
    }
}

/// The phase of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LanePhase {
    /// The lanes of the parent shards have not ended.
    WaitingForParents,
    /// The lane shares the read of the head.
    InWindow,
    /// The lane is detached from the head, and catches up or waits to.
    CatchingUp,
    /// Another worker delivers the shard, or none does at the moment.
    Elsewhere,
    /// The output is paused.
    Paused,
    /// The lane goes no further.
    Stopped,
    /// The shard is closed and every record of it durable.
    Done,
}

/// One lane.
#[derive(Clone, Debug, Serialize)]
pub struct LaneStatus {
    /// The shard.
    pub shard: ShardId,
    /// The phase.
    pub phase: LanePhase,
    /// The cursor, as text.
    pub position: String,
    /// The lane's counts.
    pub counts: Counts,
    /// Distance behind the shard's tip; `None` while nothing is known.
    #[serde(serialize_with = "maybe_seconds")]
    pub behind: Option<Duration>,
    /// Time until retention would delete unwritten records.
    #[serde(serialize_with = "maybe_seconds")]
    pub horizon: Option<Duration>,
    /// True once everything that was in the shard when the engine started is durable.
    pub caught_up: bool,
    /// True while the lane waits after a failure.
    pub backing_off: bool,
    /// True while the lane waits until the output has room.
    pub held_back: bool,
}

/// The memory budget, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MemoryStatus {
    /// Bytes that may be used.
    pub budget: usize,
    /// Bytes that are reserved now.
    pub used: usize,
    /// The most bytes that ever were.
    pub peak: usize,
}

/// The checkpoints.
#[derive(Clone, Debug, Default, Serialize)]
pub struct CommitStatus {
    /// The moment at which the last transaction was durable.
    pub last: Option<Millis>,
    /// Transactions since the engine started.
    pub transactions: u64,
    /// The duration of the last one.
    #[serde(serialize_with = "seconds")]
    pub took: Duration,
    /// Transactions that failed in a row, now.
    pub failing: u32,
    /// The last failure.
    pub last_error: Option<ErrorReport>,
}
