//! The engine: reads each shard once, hands what it read to a lane per output, and moves each lane's checkpoint only
//! past what its output acknowledged.

mod settings;
mod status;

use std::sync::Arc;
use std::time::Duration;

use crate::batch::ShardId;
use crate::clock::{Clock, Millis};
use crate::output::{Output, Trouble};
use crate::source::Source;
use crate::store::{CheckpointStore, OutputId, StoreError};

pub use settings::Settings;
pub use status::{
    CommitStatus, Counts, ErrorReport, Gap, LanePhase, LaneStatus, MemoryStatus, OutputState, OutputStatus,
    SourceStatus, Status,
};

/// Order per partition key at one output (docs/SEMANTICS.md, line 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// One record of a key per request; the next goes only after the last is acknowledged.
    Strict,
    /// Full requests; after a partial failure everything of that key from the failed record on is sent again, so that
    /// each record's last occurrence stands in source order.
    #[default]
    Resend,
    /// Only what failed is sent again.
    Unordered,
}

/// Where an output without state begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// At the oldest record that the source still has.
    #[default]
    TrimHorizon,
    /// At the first record that arrives after the fan-out first knew of this output: resolved once to a moment and
    /// written down before anything is read.
    Latest,
    /// At the first record that arrived at or after this moment.
    At(Millis),
}

/// One output of a fan-out, with its settings.
#[derive(Clone)]
pub struct OutputSpec {
    /// Its name in the state; never changes.
    pub id: OutputId,
    /// Where it writes.
    pub output: Arc<dyn Output>,
    /// Order per key.
    pub order: Order,
    /// Where it begins without state.
    pub start: Start,
    /// True: nothing is read or written for it until it is resumed.
    pub paused: bool,
}

/// Everything that an engine needs.
pub struct FanOut {
    /// The fan-out's name.
    pub name: String,
    /// What it reads.
    pub source: Arc<dyn Source>,
    /// What it writes to.
    pub outputs: Vec<OutputSpec>,
    /// Where its progress is kept.
    pub store: Arc<dyn CheckpointStore>,
    /// Time and randomness.
    pub clock: Clock,
    /// Limits and intervals.
    pub settings: Settings,
}

/// A change to a running engine. Other outputs notice nothing.
#[derive(Clone)]
pub enum Change {
    /// A new output. It begins where its `start` says, or where it was if the state knows it.
    Add(OutputSpec),
    /// Ends an output and forgets its state.
    Remove(OutputId),
    /// Stops reading and writing for an output, and keeps its place.
    Pause(OutputId),
    /// Goes on with an output that is paused, or whose lanes stopped.
    Resume(OutputId),
    /// Replaces an output's settings: how and where it writes, and its order. Its place is kept; `start` means
    /// nothing. Lanes that stopped go on.
    Update(OutputSpec),
}

/// Why an engine could not start, go on, or do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// What was asked makes no sense; nothing was changed.
    #[error("{message}")]
    Invalid {
        /// What is wrong, and what to do.
        message: String,
    },
    /// The state store failed for good.
    #[error("the fan-out's state: {doing} failed")]
    Store {
        /// What was being done.
        doing: &'static str,
        /// What the store said.
        #[source]
        source: Arc<StoreError>,
    },
    /// The source failed for good.
    #[error("the source: {doing} failed")]
    Source {
        /// What was being done.
        doing: &'static str,
        /// What the source said.
        #[source]
        source: Trouble,
    },
    /// A lane stopped; the others go on.
    #[error("output {output} stopped at shard {shard}: {reason}")]
    OutputStopped {
        /// The output.
        output: OutputId,
        /// The shard whose lane stopped.
        shard: ShardId,
        /// Why.
        reason: String,
    },
    /// A part of the program broke; a bug. Nothing is lost: start it again.
    #[error("{task} broke: {message}; this is a bug, please report it, then start again")]
    Broken {
        /// Which part.
        task: String,
        /// What it said.
        message: String,
    },
}

/// A running fan-out. Dropping it is like a crash: everything ends at once and nothing more is written down.
pub struct Engine {
    clock: Clock,
}

impl Engine {
    /// Binds the store, resolves where each lane starts, writes that down before anything is read, and runs.
    pub async fn start(fan_out: FanOut) -> Result<Self, EngineError> {
        Ok(Self { clock: fan_out.clock })
    }

    /// A snapshot; cheap, at any time.
    pub fn status(&self) -> Status {
        let _ = &self.clock;
        todo!()
    }

    /// Completes when every lane has everything that was in the source when the engine started: each shard's reader
    /// has passed that moment, or the shard is closed and read, and so are its descendants. Paused outputs are not
    /// waited for; one that stopped is an error.
    pub async fn caught_up(&self) -> Result<(), EngineError> {
        todo!()
    }

    /// Completes only when the engine can't go on: its state can't be written, its source is gone.
    pub async fn ended(&self) -> EngineError {
        todo!()
    }

    /// Changes the outputs while the others run.
    pub async fn apply(&self, change: Change) -> Result<(), EngineError> {
        let _ = change;
        todo!()
    }

    /// Stops reading, finishes what is in flight within `limit`, writes the checkpoints, and returns the last status.
    pub async fn shutdown(self, limit: Duration) -> Result<Status, EngineError> {
        let _ = limit;
        todo!()
    }
}
