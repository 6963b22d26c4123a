//! The events of the demo: a shard is split, an output is throttled.

use std::collections::BTreeMap;
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::clock::{Clock, Instant};
use distributary_core::engine::{Engine, Status};
use distributary_core::source::{HashRange, Shard};
use distributary_local::Local;
use distributary_local::faults::{Action, OperationName, Rule, RuleId, Select};
use distributary_wire::error::ErrorCode;
use distributary_wire::op::Operation;
use distributary_wire::types::SplitShardRequest;

use crate::cli::streams::Given;
use crate::failure::Failure;
use crate::screen;

/// Time between two looks at the engine.
const INTERVAL: Duration = Duration::from_millis(100);

/// The events, each with the percentage of the demo's time at which the event happens.
const PLOT: [(u32, Step); 3] = [(25, Step::Split), (40, Step::Throttle), (65, Step::Release)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Split,
    Throttle,
    Release,
}

/// The shard that was split.
#[derive(Clone, Debug)]
pub(super) struct Split {
    pub(super) at: Duration,
    pub(super) shard: ShardId,
}

/// The output that was throttled.
#[derive(Clone, Debug)]
pub(super) struct Throttled {
    pub(super) output: String,
    pub(super) from: Duration,
    pub(super) to: Option<Duration>,
    rule: RuleId,
}

/// Makes the events happen, and records their effect.
pub(super) struct Scenario<'a> {
    local: &'a Local,
    input: &'a Given,
    outputs: &'a [String],
    duration: Duration,
    clock: Clock,
    start: Instant,
    steps: std::slice::Iter<'static, (u32, Step)>,
    pub(super) split: Option<Split>,
    pub(super) throttled: Option<Throttled>,
    /// By output, the longest delay behind the input since one output was throttled.
    pub(super) behind: BTreeMap<String, Duration>,
}

impl<'a> Scenario<'a> {
    pub(super) fn new(
        local: &'a Local,
        input: &'a Given,
        outputs: &'a [String],
        duration: Duration,
        clock: Clock,
    ) -> Self {
        let start = clock.now();
        Self {
            local,
            input,
            outputs,
            duration,
            clock,
            start,
            steps: PLOT.iter(),
            split: None,
            throttled: None,
            behind: BTreeMap::new(),
        }
    }

    /// Looks at the engine after a moment, and makes the next event happen if its time has come.
    pub(super) async fn step(&mut self, engine: &Engine) -> Result<(), Failure> {
        self.watch(engine).await;
        let Some((percentage, step)) = self.steps.as_slice().first().copied() else {
            return Ok(());
        };
        if self.elapsed() < self.duration * percentage / 100 {
            return Ok(());
        }

        self.steps.next();
        match step {
            Step::Split => self.split().await,
            Step::Throttle => self.throttle(),
            Step::Release => {
                self.release();
                Ok(())
            }
        }
    }

    /// Looks at the engine after a moment.
    pub(super) async fn watch(&mut self, engine: &Engine) {
        self.clock.sleep(INTERVAL).await;
        self.observe(&engine.status());
    }

    /// Ends the throttling, if there is one.
    pub(super) fn release(&mut self) {
        let now = self.elapsed();
        let Some(throttled) = self.throttled.as_mut().filter(|t| t.to.is_none()) else {
            return;
        };
        throttled.to = Some(now);
        self.local.faults().remove(throttled.rule);
        let text = format!("{} takes writes again", throttled.output);
        self.print_event(&text);
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().since(self.start)
    }

    fn observe(&mut self, status: &Status) {
        if self.throttled.is_none() {
            return;
        }
        for output in &status.outputs {
            if let Some(behind) = output.behind {
                let output = output.id.as_str().to_owned();
                let longest = self.behind.entry(output).or_default();
                *longest = behind.max(*longest);
            }
        }
    }

    fn print_event(&self, text: &str) {
        screen::say(&format!("{:>5.1} s  {text}", self.elapsed().as_secs_f64()));
    }

    async fn split(&mut self) -> Result<(), Failure> {
        let shards = self
            .input
            .source()
            .shards()
            .await
            .map_err(|error| Failure::run(format!("cannot split a shard: {error}")))?;
        let Some((shard, range)) = shards.into_iter().find_map(splittable) else {
            return Ok(());
        };

        let at = self.elapsed();
        self.input
            .client
            .call(&split_request(self.input.stream.name(), &shard, range))
            .await
            .map_err(|error| Failure::from_error(&error))?;

        self.print_event(&format!("{shard} of {} is split in two", self.input.name));
        self.split = Some(Split { at, shard });
        Ok(())
    }

    fn throttle(&mut self) -> Result<(), Failure> {
        // A single output has no other beside it that could continue.
        let Some(output) = self.outputs.get(1) else {
            return Ok(());
        };
        let rule = self
            .local
            .faults()
            .add(refuse_writes(output))
            .map_err(|error| Failure::from_error(&error))?;

        self.print_event(&format!("{output} is throttled: every write is refused"));
        self.throttled = Some(Throttled {
            output: output.clone(),
            from: self.elapsed(),
            to: None,
            rule,
        });
        Ok(())
    }
}

/// The request to split `shard` in the middle of `range`.
fn split_request(stream: &str, shard: &ShardId, range: HashRange) -> SplitShardRequest {
    let middle = range.start + (range.end - range.start) / 2 + 1;
    SplitShardRequest {
        stream_name: Some(stream.to_owned()),
        shard_to_split: Some(shard.as_str().to_owned()),
        new_starting_hash_key: Some(middle.to_string()),
        ..Default::default()
    }
}

/// The rule by which every write to `stream` is throttled.
fn refuse_writes(stream: &str) -> Rule {
    Rule {
        select: Select {
            operations: vec![OperationName(Operation::PutRecords)],
            stream: Some(stream.to_owned()),
            ..Select::default()
        },
        probability: 1.0,
        times: None,
        action: Action::Error {
            code: ErrorCode::ProvisionedThroughputExceeded.as_str().to_owned(),
            message: "throttled by the demo".to_owned(),
            status: None,
        },
        script: Vec::new(),
    }
}

/// The shard and its range, if the shard is open and its range can be divided.
fn splittable(shard: Shard) -> Option<(ShardId, HashRange)> {
    let range = shard
        .hash_range
        .filter(|range| !shard.closed && range.start < range.end)?;
    Some((shard.id, range))
}
