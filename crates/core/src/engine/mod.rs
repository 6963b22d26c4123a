//! The engine: reads each shard once, hands what it read to a lane per output, and moves each lane's checkpoint only
//! past what its output acknowledged.

use std::sync::Arc;

use crate::clock::{Clock, Millis};
use crate::output::Output;
use crate::source::Source;
use crate::store::{CheckpointStore, OutputId};

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

/// Limits and intervals, all in one place, each with its default.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Bytes for everything that is read and not yet written (default 256 MiB).
    pub memory_budget: usize,
}
