//! One fan-out from its start to its end: a task that owns the engine, the outputs and the state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use distributary_adapters::kind::{BuildContext, BuildError, Ending};
use distributary_config::discovery::{self, FoundOutput, List};
use distributary_config::{FanOutConfig, OutputConfig};
use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Position;
use distributary_core::clock::{Clock, Instant};
use distributary_core::engine::{
    Change, Engine, EngineError, OutputSpec, Seek, SourceStatus, Start, Status,
};
use distributary_core::store::OutputId;
use distributary_core::text::chain;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::build::{Built, OutputBuilder, build};
use super::failing::Failing;
use super::steps::{self, note};
use super::{Answer, OutputChange, SharedParts};
use crate::failure::Failure;
use crate::state::place::Place;
use crate::state::skip::Skipped;
use crate::view::{Phase, Snapshot};

/// Time between two snapshots of the engine.
const SNAPSHOT: Duration = Duration::from_millis(250);
/// The most outputs that the first log line names.
const NAMED_OUTPUTS: usize = 5;

/// A command to the task of one fan-out.
pub(super) enum FanOutCommand {
    /// Makes the outputs what `config` has; everything else in `config` is unchanged.
    Reconfigure {
        config: Box<FanOutConfig>,
        answer: oneshot::Sender<Result<usize, String>>,
    },
    /// Changes one output.
    Output {
        change: OutputChange,
        answer: oneshot::Sender<Answer>,
    },
}

/// The reason why a fan-out ended without a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// A command asked for it.
    Drained,
    /// Every output has every record that was in the source at the start.
    CaughtUp,
    /// An output has no more use for records.
    OutputEnded,
}

/// Everything that a fan-out starts with.
pub(super) struct FanOutTask {
    pub(super) config: FanOutConfig,
    pub(super) context: BuildContext,
    pub(super) shared: SharedParts,
    /// True: the fan-out ends when it has caught up.
    pub(super) until_caught_up: bool,
    /// Time for the writes that are under way when the fan-out ends by itself.
    pub(super) drain_timeout: watch::Receiver<Duration>,
    /// Holds the time for the writes that are under way once the fan-out is to end.
    pub(super) drain: watch::Receiver<Option<Duration>>,
    /// Commands; they wait while the fan-out starts.
    pub(super) commands: mpsc::Receiver<FanOutCommand>,
    pub(super) snapshots: watch::Sender<Snapshot>,
}

/// A fan-out that is running.
struct Running {
    config: FanOutConfig,
    engine: Engine,
    outputs: OutputBuilder,
    clock: Clock,
    ending: Ending,
    snapshots: watch::Sender<Snapshot>,
    /// Outputs that were found by name, in use.
    found: BTreeMap<String, FoundOutput>,
    /// Outputs that can't be used yet.
    failing: Failing,
    /// The end of the patience with outputs that can't be used, of a bounded run.
    give_up: Instant,
    /// True once nothing waits for the outputs that can't be used.
    has_given_up: bool,
    /// The search for further outputs that is under way.
    search: Option<JoinHandle<Search>>,
    /// The moment of the next search.
    next_search: Instant,
    /// The folder of a state that is not kept.
    _state: Option<TempDir>,
}

/// The result of a search for outputs.
type Search = Result<BTreeMap<String, FoundOutput>, BuildError>;

/// The event that ends a running fan-out.
enum End {
    Drain(Duration),
    CaughtUp(Result<(), EngineError>),
    Broken(EngineError),
    /// An output asked for the end, for this reason.
    Requested(String),
}

impl End {
    /// The result of a fan-out that ended for this reason.
    fn outcome(self) -> Result<Outcome, Failure> {
        match self {
            Self::Broken(error) | Self::CaughtUp(Err(error)) => Err(Failure::from_error(&error)),
            Self::CaughtUp(Ok(())) => Ok(Outcome::CaughtUp),
            Self::Requested(_) => Ok(Outcome::OutputEnded),
            Self::Drain(_) => Ok(Outcome::Drained),
        }
    }
}

impl FanOutTask {
    /// Starts the fan-out and runs it until a command, an output or a failure ends it.
    pub(super) async fn run(self) -> Result<Outcome, Failure> {
        let snapshots = self.snapshots.clone();
        let result = self.start_and_run().await;
        let failure = match &result {
            Ok(_) => None,
            Err(failure) => Some(failure.message().to_owned()),
        };
        snapshots.send_modify(|snapshot| snapshot.end(failure));
        result
    }

    async fn start_and_run(self) -> Result<Outcome, Failure> {
        let Self {
            config,
            context,
            shared,
            until_caught_up,
            drain_timeout,
            mut drain,
            commands,
            snapshots,
        } = self;
        let mut running = tokio::select! {
            running = Running::start(config, (context, shared), snapshots) => running?,
            // Nothing was read or written: there is nothing to finish.
            _ = told_to_end(&mut drain) => return Ok(Outcome::Drained),
        };

        running.announce();
        running.publish();
        let end = tokio::select! {
            // A change that is being made is given up: the next start reads the configuration
            // again.
            limit = told_to_end(&mut drain) => End::Drain(limit),
            end = running.run(commands, until_caught_up) => end,
        };

        let limit = *drain_timeout.borrow();
        running.finish(end, limit).await
    }
}

/// Completes with the drain timeout when the fan-out is told to end.
async fn told_to_end(drain: &mut watch::Receiver<Option<Duration>>) -> Duration {
    match drain.wait_for(Option::is_some).await {
        Ok(limit) => limit.unwrap_or_default(),
        // The actor is gone: the process ends without waiting.
        Err(_) => Duration::ZERO,
    }
}

impl Running {
    async fn start(
        mut config: FanOutConfig,
        (context, shared): (BuildContext, SharedParts),
        snapshots: watch::Sender<Snapshot>,
    ) -> Result<Self, Failure> {
        let clock = context.clock.clone();
        let ending = context.ending.clone();
        let Built {
            fan_out,
            outputs,
            found,
            failing,
            state,
        } = build(&config, context, shared).await?;
        let engine = Engine::start(fan_out)
            .await
            .map_err(|error| Failure::from_error(&error))?;
        let configs = found.values().map(|found| found.config.clone());
        config.outputs.extend(configs);
        Ok(Self {
            next_search: clock.now().plus(config.refresh_interval),
            give_up: clock.now().plus(config.engine.lasting_patience),
            has_given_up: false,
            failing,
            config,
            engine,
            outputs,
            found,
            search: None,
            clock,
            ending,
            snapshots,
            _state: state,
        })
    }

    /// Logs the source, the outputs and the place of the progress.
    fn announce(&self) {
        let state = match &self.config.state {
            Some(path) => path.display().to_string(),
            None => "not kept: it is gone at the end".to_owned(),
        };
        tracing::info!(
            from = %self.engine.status().source.arn,
            to = %first_names(&self.config.outputs),
            progress = %state,
            "copying"
        );
    }

    /// Takes commands and publishes snapshots until the engine or an output ends the fan-out.
    async fn run(
        &mut self,
        mut commands: mpsc::Receiver<FanOutCommand>,
        until_caught_up: bool,
    ) -> End {
        loop {
            let command = tokio::select! {
                // Each of the ends is final; a command waits for the next round.
                error = self.engine.ended() => return End::Broken(error),
                done = self.engine.caught_up(), if until_caught_up && self.waits_for_none() =>
                {
                    return End::CaughtUp(done);
                }
                reason = self.ending.requested() => return End::Requested(reason),
                Some(command) = commands.recv() => command,
                () = self.clock.sleep(SNAPSHOT) => {
                    self.publish();
                    self.refresh().await;
                    self.try_failing().await;
                    if until_caught_up {
                        self.give_up_when_late().await;
                    }
                    continue;
                }
            };
            self.on_command(command).await;
        }
    }

    /// True if no output that can't be used is waited for.
    fn waits_for_none(&self) -> bool {
        self.has_given_up || self.failing.is_empty()
    }

    /// Puts outputs in place that can be used now.
    async fn try_failing(&mut self) {
        for spec in self.outputs.usable_again(&mut self.failing).await {
            let name = spec.id.to_string();
            match self.engine(Change::Update(spec)).await {
                Ok(()) => {
                    tracing::info!(output = name, "the output can be used now");
                    self.failing.remove(&name);
                }
                Err(why) => tracing::warn!(output = name, "the output can't be used: {why}"),
            }
        }
    }

    /// Gives up the outputs that can't be used, once the patience with them has ended.
    async fn give_up_when_late(&mut self) {
        let is_early = self.clock.now() < self.give_up;
        if is_early || self.waits_for_none() {
            return;
        }

        self.has_given_up = true;
        let names = self.failing.names();
        let ids: Vec<OutputId> = names.map(OutputId::new).collect();
        for id in ids {
            // Paused outputs are not waited for.
            let _ = self.engine(Change::Pause(id)).await;
        }
    }

    /// Starts a search for further outputs when one is due, and takes the result of the last one.
    async fn refresh(&mut self) {
        if let Some(search) = &mut self.search {
            if !search.is_finished() {
                return;
            }
            let found = search.await;
            self.search = None;
            let now = self.clock.now();
            self.next_search = now.plus(self.config.refresh_interval);
            match found {
                Ok(Ok(found)) => self.take_over(found).await,
                Ok(Err(error)) => {
                    let why = chain(&error);
                    tracing::warn!("the search for outputs failed; nothing has changed: {why}");
                }
                Err(error) => tracing::error!("the search for outputs broke: {error}"),
            }
        } else if self.config.searches() && self.clock.now() >= self.next_search {
            self.search = Some(self.start_search());
        }
    }

    fn start_search(&self) -> JoinHandle<Search> {
        let mut config = self.config.clone();
        let found = &self.found;
        config
            .outputs
            .retain(|output| !found.contains_key(&output.name));
        let context = self.outputs.context().clone();
        let running: BTreeSet<String> = found.keys().cloned().collect();

        tokio::spawn(async move {
            let found = discovery::search(&config, &context, &running);
            found.await
        })
    }

    /// Adds outputs that are new, and removes those whose places are gone for certain.
    async fn take_over(&mut self, found: BTreeMap<String, FoundOutput>) {
        let running: Vec<FoundOutput> = self.found.values().cloned().collect();
        for output in running {
            let name = &output.config.name;
            let now = found.get(name);
            if self.is_gone(&output, now).await {
                self.let_go(name).await;
            }
        }

        let mut new = found;
        new.retain(|name, _| !self.found.contains_key(name));
        if let Err(failure) = self.add_found(new).await {
            let why = failure.message();
            tracing::warn!("outputs that were found are not added: {why}");
        }
    }

    /// True if the place of an output is gone, or another one of the same name is there now.
    async fn is_gone(&self, output: &FoundOutput, now: Option<&FoundOutput>) -> bool {
        if output.list == List::Targets {
            return now.is_none_or(|now| now.config != output.config);
        }
        match now {
            Some(now) => match (output.created, now.created) {
                (Some(then), Some(now)) => then != now,
                (None, _) | (_, None) => false,
            },
            None => output.config.settings.is_gone(self.outputs.context()).await,
        }
    }

    async fn let_go(&mut self, name: &str) {
        tracing::warn!("the stream of the output {name} is gone");
        let change = OutputChange::Remove(name.to_owned());
        match self.apply(&change, &mut Vec::new()).await {
            Ok(()) => {
                self.found.remove(name);
            }
            Err(why) => tracing::warn!("the output {name} is not removed: {why}"),
        }
    }

    async fn add_found(&mut self, new: BTreeMap<String, FoundOutput>) -> Result<(), Failure> {
        let configs: Vec<OutputConfig> = new.values().map(FoundOutput::later).collect();
        let mut specs = self.outputs.found(&configs).await?;
        for (name, output) in new {
            let is_built = specs.iter().any(|spec| spec.id.as_str() == name);
            if !is_built {
                continue;
            }

            let change = OutputChange::Add(output.later());
            if let Err(why) = self.apply(&change, &mut specs).await {
                tracing::warn!("the output {name} is not added: {why}");
                continue;
            }
            self.found.insert(name, output);
        }
        Ok(())
    }

    async fn on_command(&mut self, command: FanOutCommand) {
        match command {
            FanOutCommand::Reconfigure { config, answer } => {
                let done = self.reconfigure(*config).await;
                let _ = answer.send(done);
            }
            FanOutCommand::Output { change, answer } => {
                let done = self.change(change).await;
                let _ = answer.send(done);
            }
        }
    }

    /// Ends the engine, and turns the cause into the result. `limit` is the time for the writes
    /// that are under way, unless the command to end has one.
    async fn finish(self, end: End, limit: Duration) -> Result<Outcome, Failure> {
        let limit = match &end {
            End::Drain(limit) => *limit,
            End::CaughtUp(_) | End::Broken(_) | End::Requested(_) => limit,
        };
        if let End::Requested(reason) = &end {
            tracing::info!("{reason}; finishing the writes that are under way");
        }

        let Self {
            engine,
            snapshots,
            outputs,
            failing,
            ..
        } = self;
        let last = engine.shutdown(limit).await;
        if let Ok(status) = &last {
            publish(&snapshots, status.clone(), &outputs);
        }

        let outcome = end.outcome()?;
        let status = last.map_err(|error| Failure::from_error(&error))?;
        if outcome == Outcome::CaughtUp {
            check_failing(&failing)?;
            check_gaps(&status.source)?;
        }
        Ok(outcome)
    }

    fn publish(&self) {
        publish(&self.snapshots, self.engine.status(), &self.outputs);
    }

    /// Makes the outputs what `new` has. Returns the number of changes.
    async fn reconfigure(&mut self, new: FanOutConfig) -> Result<usize, String> {
        let unchanged = |why: String| format!("{why}; nothing has changed");
        let mut found = self.found.clone();
        let outputs = discovery::with_found(&new, &mut found);
        let changes = steps::between(&self.config.outputs, &outputs);

        for change in &changes {
            let name = change.name();
            let checked = self.outputs.check_change(name);
            checked.map_err(unchanged)?;
        }

        // All new outputs together, so that two that are one place are found. Outputs that stay as
        // they are may be out of order.
        let asked = changes.iter().filter_map(OutputChange::config);
        let asked: Vec<OutputConfig> = asked.collect();
        let specs = self.outputs.outputs(&asked).await;
        let mut specs = specs.map_err(|failure| unchanged(failure.message().to_owned()))?;
        self.apply_all(&changes, &mut specs).await?;

        for change in &changes {
            self.failing.remove(change.name());
        }
        self.found = found;
        self.config = FanOutConfig { outputs, ..new };
        self.next_search = self.clock.now();
        Ok(changes.len())
    }

    /// Applies the changes of a reload, one after the other.
    async fn apply_all(
        &mut self,
        changes: &[OutputChange],
        specs: &mut Vec<OutputSpec>,
    ) -> Result<(), String> {
        for change in changes {
            let applied = self.apply(change, specs).await;
            applied.map_err(|why| format!("{why}; the changes before it are in force"))?;
        }
        Ok(())
    }

    /// Makes one change that a client asked for.
    async fn change(&mut self, change: OutputChange) -> Answer {
        self.check(&change)?;
        let asked: Vec<OutputConfig> = change.config().into_iter().collect();
        let mut specs = self
            .outputs
            .outputs(&asked)
            .await
            .map_err(|failure| failure.message().to_owned())?;
        self.apply(&change, &mut specs).await?;
        Ok(change.done())
    }

    /// Fails if the output of a change does not exist, or if a new output does.
    fn check(&self, change: &OutputChange) -> Result<(), String> {
        let name = change.name();
        let mut outputs = self.config.outputs.iter();
        let is_known = outputs.any(|output| output.name == name);
        let is_new = matches!(change, OutputChange::Add(_));

        self.outputs.check_change(name)?;
        match (is_new, is_known) {
            (true, true) => Err(format!("there is an output {name} already")),
            (false, false) => Err(format!("there is no output {name}")),
            (true, false) | (false, true) => Ok(()),
        }
    }

    /// Applies `change` to the engine, and enters the change into the configuration in force.
    async fn apply(
        &mut self,
        change: &OutputChange,
        specs: &mut Vec<OutputSpec>,
    ) -> Result<(), String> {
        let name = change.name();
        if let OutputChange::Restart(_, start) = change {
            self.restart(name, *start).await?;
        } else {
            let change = self.engine_change(change, specs).await?;
            self.engine(change).await?;
        }
        if matches!(change, OutputChange::Remove(_) | OutputChange::Detach(_)) {
            self.outputs.leave(name);
        }
        note(change, &mut self.config.outputs);
        Ok(())
    }

    /// The change of the engine that a change of an output is; a restart is two.
    async fn engine_change(
        &self,
        change: &OutputChange,
        specs: &mut Vec<OutputSpec>,
    ) -> Result<Change, String> {
        let name = change.name();
        let id = OutputId::new(name);
        Ok(match change {
            OutputChange::Remove(_) | OutputChange::Restart(..) => Change::Remove(id),
            OutputChange::Detach(_) => Change::Detach(id),
            OutputChange::Pause(_) => Change::Pause(id),
            OutputChange::Resume(_) => Change::Resume(id),
            OutputChange::Update(_) => Change::Update(take_spec(specs, name)?),
            OutputChange::Add(_) => Change::Add(take_spec(specs, name)?),
            OutputChange::Seek { shard, to, .. } => self.seek(id, shard.as_ref(), to),
            OutputChange::Skip {
                shard, sequence, ..
            } => {
                let seek = self.skip(id, shard, sequence).await?;
                Change::Seek(seek)
            }
        })
    }

    async fn engine(&self, change: Change) -> Result<(), String> {
        let applied = self.engine.apply(change).await;
        let done = applied.done();
        done.map_err(|e| chain(&e))
    }

    fn seek(&self, output: OutputId, shard: Option<&ShardId>, to: &Place) -> Change {
        let now = self.clock.wall();
        Change::Seek(Seek {
            output,
            shard: shard.cloned(),
            to: to.position(now),
            from: None,
        })
    }

    /// The move behind a record, which must be the next one of the output.
    async fn skip(
        &self,
        output: OutputId,
        shard: &ShardId,
        sequence: &str,
    ) -> Result<Seek, String> {
        let Some(position) = self.engine.position(&output, shard) else {
            return Err(format!("the output {output} has no shard {shard}"));
        };
        let record = (shard, sequence);
        let skipped = self.find(record, &position).await?;
        tracing::warn!(%output, %shard, "skipping {skipped}");
        Ok(Seek {
            to: skipped.after(),
            shard: Some(shard.clone()),
            from: Some(position),
            output,
        })
    }

    /// The record of the source after `position`, if that is the one that is meant.
    async fn find(&self, record: (&ShardId, &str), position: &Position) -> Result<Skipped, String> {
        let context = self.outputs.context();
        let built = self.config.source.build(context).await;
        let built = built.map_err(|error| chain(&error))?;
        let source = &*built.source;

        let found = Skipped::find(source, &self.clock, record, position);
        found.await.map_err(|error| chain(&error))
    }

    /// Removes the output with its progress, and adds the output again with another start.
    async fn restart(&self, name: &str, start: Start) -> Result<(), String> {
        let Some(config) = self.config.outputs.iter().find(|o| o.name == name) else {
            return Err(format!("there is no output {name}"));
        };
        let mut config = config.clone();
        config.start = start;
        let specs = self
            .outputs
            .outputs(&[config])
            .await
            .map_err(|failure| failure.message().to_owned())?;

        self.engine(Change::Remove(OutputId::new(name))).await?;
        for spec in specs {
            self.engine(Change::Add(spec)).await?;
        }
        Ok(())
    }
}

/// Fails if an output could not be used all the while.
fn check_failing(failing: &Failing) -> Result<(), Failure> {
    match failing.first() {
        None => Ok(()),
        Some((name, reason)) => Err(Failure::run(format!(
            "the output {name} was given up: {reason}; the other outputs have caught up"
        ))),
    }
}

/// Fails if records were deleted before they were read: the copies are not complete.
fn check_gaps(source: &SourceStatus) -> Result<(), Failure> {
    let Some(newest) = source.recent_gaps.last() else {
        return Ok(());
    };
    let count = source.gaps;
    let extent = newest.extent();
    Err(Failure::gap(format!(
        "caught up, but records are missing: the source's retention deleted {count} stretches \
         before they were read, the last in shard {} {extent}; the log has all of them",
        newest.shard
    )))
}

/// The names of the first outputs, and the number of the others.
fn first_names(outputs: &[OutputConfig]) -> String {
    let names = outputs.iter().map(|output| output.name.clone());
    let mut shown: Vec<String> = names.take(NAMED_OUTPUTS).collect();

    let more = outputs.len() - shown.len();
    if more > 0 {
        shown.push(format!("{more} more"));
    }
    shown.join(", ")
}

/// Takes the output called `name` out of those that were built.
fn take_spec(specs: &mut Vec<OutputSpec>, name: &str) -> Result<OutputSpec, String> {
    let Some(at) = specs.iter().position(|spec| spec.id.as_str() == name) else {
        return Err(format!("the output {name} was not built"));
    };
    Ok(specs.swap_remove(at))
}

/// Shows the status of a fan-out that runs, with the error rows of the pumps.
fn publish(snapshots: &watch::Sender<Snapshot>, status: Status, outputs: &OutputBuilder) {
    let status = Arc::new(status);
    let error_rows = outputs.error_rows();

    snapshots.send_modify(|snapshot| {
        snapshot.phase = Phase::Running(status);
        snapshot.error_rows = error_rows;
    });
}
