//! The resolved configuration: every value with its default.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use distributary_adapters::kind::Surroundings;
use distributary_adapters::leases::LeaseStore;
use distributary_adapters::outputs::OutputSettings;
use distributary_adapters::sources::SourceSettings;
use distributary_adapters::targets::images::Images;
use distributary_adapters::values::{self, Expected};
use distributary_core::engine::{self, Order, Start};
use distributary_core::pump::PumpRef;
use distributary_filter::FilterPump;
use distributary_kinesis::kpl::Deaggregator;
use serde::{Deserialize, Deserializer};

use crate::pattern::OutputPattern;
use crate::pumps::RowsConfig;
use crate::targets::TargetsConfig;

/// One process with its fan-outs.
#[derive(Clone, Debug)]
pub struct Process {
    /// Memory for records of all fan-outs, in bytes.
    pub memory: usize,
    /// The address of the metrics.
    pub metrics: Option<SocketAddr>,
    /// Metrics per output and shard as well.
    pub metrics_per_shard: bool,
    /// The format of log lines.
    pub log_format: LogFormat,
    /// End when every output has every record that was in the stream at the start.
    pub until_caught_up: bool,
    /// Longest wait for writes that are under way when the process is stopped.
    pub drain_timeout: Duration,
    /// The address of the control socket.
    pub control: ControlAddress,
    /// Facts that outputs and sources are built with.
    pub surroundings: Surroundings,
    /// At least one, each with its own name.
    pub fan_outs: Vec<FanOutConfig>,
    /// Sentences for the log: values that were adapted, variables that mean nothing.
    pub notes: Vec<String>,
}

/// One fan-out.
#[derive(Clone, Debug)]
pub struct FanOutConfig {
    /// The name.
    pub name: String,
    /// The source.
    pub source: SourceSettings,
    /// The file that keeps the progress; `None`: the progress is gone at the end, with the embedded
    /// streams.
    pub state: Option<PathBuf>,
    /// The store of leases and progress.
    pub leases: LeaseStore,
    /// Time for which a worker that fell silent keeps its shards.
    pub failover: Duration,
    /// Limits and intervals.
    pub engine: engine::Settings,
    /// Each with its own name; at least one, unless there are patterns.
    pub outputs: Vec<OutputConfig>,
    /// Further outputs, found by name.
    pub patterns: Vec<OutputPattern>,
    /// Further outputs, named by a table.
    pub targets: Option<TargetsConfig>,
    /// Time between two searches for further outputs.
    pub refresh_interval: Duration,
    /// True: an output that can't be used ends the start.
    pub strict_start: bool,
}

/// One output.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputConfig {
    /// The name in the progress, the logs and the metrics.
    pub name: String,
    /// The kind, with the keys of the kind.
    pub settings: OutputSettings,
    /// Order per partition key; the output can keep it.
    pub order: Order,
    /// Where the output starts while there is no progress.
    pub start: Start,
    /// True: nothing is written, and the position is kept.
    pub paused: bool,
    /// The treatment of records that the output will never take.
    pub refused: RefusedRecords,
    /// The records that the output gets; `None`: all.
    pub filter: Option<Arc<FilterPump>>,
    /// The rows that the output takes in place of the records; `None`: the records.
    pub rows: Option<RowsConfig>,
    /// Changes of the records before the filter, in order.
    pub prepared: Vec<Preparation>,
}

/// A change of records on their way to an output of a Targets table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preparation {
    /// KPL aggregates are taken apart.
    TakeApart,
    /// Changes in a DynamoDB table become their new images.
    Images(Images),
}

impl Preparation {
    /// The pump that changes the records.
    pub fn pump(self) -> PumpRef {
        let pump = match self {
            Self::TakeApart => Deaggregator::shared(),
            Self::Images(images) => images.pump(),
        };
        PumpRef { pump, stream: 0 }
    }
}

/// The treatment of records that an output will never take.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum RefusedRecords {
    /// The lane stops before the record.
    #[default]
    StopLane,
    /// The record is stored whole at this output, and the lane goes on behind the record.
    SkipRecord(OutputSettings),
}

impl RefusedRecords {
    /// The output that takes the dead letters.
    pub fn dead_letter(&self) -> Option<&OutputSettings> {
        match self {
            Self::StopLane => None,
            Self::SkipRecord(settings) => Some(settings),
        }
    }
}

/// The format of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        values::word(text, &[("text", Self::Text), ("json", Self::Json)])
    }
}

impl<'de> Deserialize<'de> for LogFormat {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        values::text(deserializer)
    }
}

/// The address at which other programs reach the running process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ControlAddress {
    /// A Unix socket whose place follows from the name of the first fan-out.
    #[default]
    Default,
    /// A Unix socket at this path.
    Unix(PathBuf),
    /// No address.
    None,
}

impl FromStr for ControlAddress {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(Self::Unix(path.into())),
            None if text == "none" => Ok(Self::None),
            Some(_) | None => Err(Expected(format!(
                "{text:?} is no control address: expected unix:PATH or none"
            ))),
        }
    }
}

impl<'de> Deserialize<'de> for ControlAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        values::text(deserializer)
    }
}

/// A setting that differs and cannot be changed while the process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FixedKey(pub &'static str);

impl fmt::Display for FixedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cannot be changed while it runs; stop it and start it again",
            self.0
        )
    }
}

/// The first key of the pairs that differs.
fn first_difference(pairs: &[(&'static str, bool)]) -> Result<(), FixedKey> {
    match pairs.iter().find(|(_, differs)| *differs) {
        Some((key, _)) => Err(FixedKey(key)),
        None => Ok(()),
    }
}

impl Process {
    /// Checks that `new` differs from this process only in ways that can be applied while it runs.
    ///
    /// # Errors
    /// The first key that cannot be changed.
    pub fn check_change(&self, new: &Self) -> Result<(), FixedKey> {
        first_difference(&[
            ("memory", self.memory != new.memory),
            ("metrics", self.metrics != new.metrics),
            (
                "metrics-per-shard",
                self.metrics_per_shard != new.metrics_per_shard,
            ),
            ("log-format", self.log_format != new.log_format),
            (
                "until-caught-up",
                self.until_caught_up != new.until_caught_up,
            ),
            ("control", self.control != new.control),
            ("name", self.is_renamed(new)),
        ])?;

        for old in &self.fan_outs {
            let same = new.fan_outs.iter().find(|f| f.name == old.name);
            same.map_or(Ok(()), |new| old.check_change(new))?;
        }
        Ok(())
    }

    /// True if the only fan-out has another name: a mistake more often than the end of one fan-out
    /// and the start of another.
    fn is_renamed(&self, new: &Self) -> bool {
        match (&*self.fan_outs, &*new.fan_outs) {
            ([old], [new]) => old.name != new.name,
            _ => false,
        }
    }
}

impl FanOutConfig {
    /// True if outputs come and go while the fan-out runs.
    pub fn searches(&self) -> bool {
        !self.patterns.is_empty() || self.targets.is_some()
    }

    /// Checks that `new` differs only in its outputs.
    fn check_change(&self, new: &Self) -> Result<(), FixedKey> {
        let (old, other) = (&self.engine, &new.engine);
        first_difference(&[
            ("the source", self.source != new.source),
            ("state", self.state != new.state),
            ("leases", self.leases != new.leases),
            ("failover-time", self.failover != new.failover),
            (
                "checkpoint-interval",
                old.checkpoint_interval != other.checkpoint_interval,
            ),
            ("idle-interval", old.idle_poll != other.idle_poll),
            (
                "give-up-after",
                old.lasting_patience != other.lasting_patience,
            ),
            (
                "write-timeout",
                old.request_deadline != other.request_deadline,
            ),
            ("on-recreated", old.on_recreated != other.on_recreated),
        ])
    }
}
