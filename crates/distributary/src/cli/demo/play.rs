//! What happens while the demo runs: a shard is split, an output is throttled.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::clock::{Clock, Instant};
use distributary_core::engine::{Engine, Status};
use distributary_core::source::{HashRange, Shard};
use distributary_core::text::chain;
use distributary_local::Local;
use distributary_local::faults::{Action, OperationName, Rule, RuleId, Select};
use distributary_wire::error::ErrorCode;
use distributary_wire::op::Operation;
use distributary_wire::types::SplitShardRequest;

use crate::cli::streams::Given;
use crate::failure::Failure;
use crate::screen::LogWriter;

/// How often the engine is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// What is done, at which part of the time (in hundredths).
const PLOT: [(u32, Act); 3] = [(25, Act::Split), (40, Act::Throttle), (65, Act::Release)];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
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

/// What is done on the way, and what is seen of it.
pub(super) struct Play<'a> {
    local: &'a Local,
    input: &'a Given,
    outputs: &'a [String],
    time: Duration,
    clock: Clock,
    start: Instant,
    left: std::slice::Iter<'static, (u32, Act)>,
    pub(super) split: Option<Split>,
    pub(super) throttled: Option<Throttled>,
    /// The furthest that each output was behind since one of them was throttled.
    pub(super) behind: BTreeMap<String, Duration>,
}

/// Says a line, above the live view if there is one.
pub(super) fn tell(text: &str) {
    // Nobody who reads: no reason to stop.
    let _ = LogWriter.write_all(format!("{text}\n").as_bytes());
}

impl<'a> Play<'a> {
    pub(super) fn new(
        local: &'a Local,
        input: &'a Given,
        outputs: &'a [String],
        time: Duration,
        clock: Clock,
    ) -> Self {
        let start = clock.now();
        Self {
            local,
            input,
            outputs,
            time,
            clock,
            start,
            left: PLOT.iter(),
            split: None,
            throttled: None,
            behind: BTreeMap::new(),
        }
    }

    /// Looks at the engine, and does what is due.
    pub(super) async fn step(&mut self, engine: &Engine) -> Result<(), Failure> {
        self.watch(engine).await;
        let Some((part, act)) = self.left.as_slice().first().copied() else {
            return Ok(());
        };
        if self.elapsed() >= self.time * part / 100 {
            self.left.next();
            match act {
                Act::Split => self.split().await?,
                Act::Throttle => self.throttle()?,
                Act::Release => self.release(),
            }
        }
        Ok(())
    }

    /// Looks at the engine, after a moment.
    pub(super) async fn watch(&mut self, engine: &Engine) {
        self.clock.sleep(LOOK).await;
        self.see(&engine.status());
    }

    /// The time for acts is over: nothing stays throttled.
    pub(super) fn end(&mut self) -> Result<(), Failure> {
        self.release();
        Ok(())
    }

    fn elapsed(&self) -> Duration {
        self.clock.now().since(self.start)
    }

    fn see(&mut self, status: &Status) {
        if self.throttled.is_none() {
            return;
        }
        for output in &status.outputs {
            if let Some(behind) = output.behind {
                let most = self
                    .behind
                    .entry(output.id.as_str().to_owned())
                    .or_default();
                *most = behind.max(*most);
            }
        }
    }

    fn say(&self, text: &str) {
        tell(&format!("{:>5.1} s  {text}", self.elapsed().as_secs_f64()));
    }

    async fn split(&mut self) -> Result<(), Failure> {
        let failed =
            |error: &dyn std::error::Error| Failure::run(format!("cannot split a shard: {error}"));
        let shards = self
            .input
            .source()
            .shards()
            .await
            .map_err(|error| failed(&error))?;
        let Some((shard, range)) = shards.into_iter().find_map(splittable) else {
            return Ok(());
        };
        let middle = range.start + (range.end - range.start) / 2 + 1;
        let request = SplitShardRequest {
            stream_name: Some(self.input.stream.name().to_owned()),
            shard_to_split: Some(shard.as_str().to_owned()),
            new_starting_hash_key: Some(middle.to_string()),
            ..Default::default()
        };
        let at = self.elapsed();
        self.input
            .client
            .call(&request)
            .await
            .map_err(|error| Failure::run(chain(&error)))?;
        self.say(&format!("{} of {} is split in two", shard, self.input.name));
        self.split = Some(Split { at, shard });
        Ok(())
    }

    fn throttle(&mut self) -> Result<(), Failure> {
        // With one output only, nobody could be seen to go on.
        let Some(output) = self.outputs.get(1) else {
            return Ok(());
        };
        let rule = Rule {
            select: Select {
                operations: vec![OperationName(Operation::PutRecords)],
                stream: Some(output.clone()),
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
        };
        let rule = self
            .local
            .faults()
            .add(rule)
            .map_err(|error| Failure::from_error(&error))?;
        self.say(&format!("{output} is throttled: it refuses every write"));
        self.throttled = Some(Throttled {
            output: output.clone(),
            from: self.elapsed(),
            to: None,
            rule,
        });
        Ok(())
    }

    fn release(&mut self) {
        let now = self.elapsed();
        let Some(throttled) = self.throttled.as_mut().filter(|t| t.to.is_none()) else {
            return;
        };
        throttled.to = Some(now);
        self.local.faults().remove(throttled.rule);
        let text = format!("{} takes writes again", throttled.output);
        self.say(&text);
    }
}

/// An open shard with room for two, and its range.
fn splittable(shard: Shard) -> Option<(ShardId, HashRange)> {
    let range = shard
        .hash_range
        .filter(|range| !shard.closed && range.start < range.end)?;
    Some((shard.id, range))
}
