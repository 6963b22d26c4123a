//! The actor: a task that takes commands, starts and ends fan-outs, and collects their snapshots.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use distributary_adapters::kind::Ending;
use distributary_config::dead_letter_outputs::DeadLetterOutputs;
use distributary_config::{FanOutConfig, Process, resolve};
use distributary_core::engine::MemoryBudget;
use distributary_kinesis::transport::TransportSettings;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tracing::Instrument;

use super::fan_out::{FanOutCommand, FanOutTask, Outcome};
use super::routes::Routes;
use super::{Answer, Command, FileState, Origin, SharedParts};
use crate::connect::Access;
use crate::failure::Failure;
use crate::view::Snapshot;

/// Commands that wait for one fan-out at most.
const COMMANDS: usize = 16;
/// Time between two collections of the fan-outs' snapshots.
const COLLECT: Duration = Duration::from_millis(250);

/// See the module.
pub(super) struct Actor {
    /// The configuration in force.
    process: Process,
    /// The file that a reload replaces; `None` without a file.
    origin: Option<Origin>,
    access: Arc<Access>,
    shared: SharedParts,
    fan_outs: BTreeMap<String, Handle>,
    tasks: JoinSet<Result<Outcome, Failure>>,
    /// The drain timeout in force.
    drain_timeout: watch::Sender<Duration>,
    snapshots: watch::Sender<Vec<Snapshot>>,
    /// The result of the last reload.
    file: watch::Sender<FileState>,
    /// True once the process is stopping: nothing is started any more.
    draining: bool,
}

/// The parts that all fan-outs share.
fn shared_parts(memory: usize, access: &Access) -> SharedParts {
    SharedParts {
        memory: records_budget(memory),
        dead_letters: DeadLetterOutputs::default(),
        stretch: access.stretch,
        routes: Routes::default(),
    }
}

/// The part of `memory` for records; the answers of servers have the rest.
fn records_budget(memory: usize) -> MemoryBudget {
    MemoryBudget::new(memory - TransportSettings::within(memory).answers)
}

/// A fan-out whose task has started.
struct Handle {
    task: Id,
    commands: mpsc::Sender<FanOutCommand>,
    /// Set to the drain timeout when the fan-out is to end.
    drain: watch::Sender<Option<Duration>>,
    snapshot: watch::Receiver<Snapshot>,
}

impl Actor {
    pub(super) fn new(
        process: Process,
        origin: Option<Origin>,
        access: Arc<Access>,
        (snapshots, file): (watch::Sender<Vec<Snapshot>>, watch::Sender<FileState>),
    ) -> Self {
        let mut actor = Self {
            drain_timeout: watch::Sender::new(process.drain_timeout),
            shared: shared_parts(process.memory, &access),
            process,
            origin,
            access,
            fan_outs: BTreeMap::new(),
            tasks: JoinSet::new(),
            snapshots,
            file,
            draining: false,
        };
        for fan_out in actor.process.fan_outs.clone() {
            actor.start(fan_out);
        }
        actor.collect();
        actor
    }

    /// Runs until every fan-out has ended. A failure of one fan-out is the result, and the others
    /// continue.
    pub(super) async fn run(
        mut self,
        mut commands: mpsc::Receiver<Command>,
    ) -> Result<Outcome, Failure> {
        let clock = self.access.clock.clone();
        let mut result = Ok(Outcome::Drained);
        while !self.tasks.is_empty() {
            tokio::select! {
                ended = self.tasks.join_next_with_id() => {
                    if let Some(ended) = ended {
                        result = self.ended(ended, result);
                    }
                }
                Some(command) = commands.recv() => self.on_command(command),
                () = clock.sleep(COLLECT) => {}
            }
            self.collect();
        }
        result
    }

    /// Starts the task of one fan-out.
    fn start(&mut self, config: FanOutConfig) {
        let name = config.name.clone();
        let (commands, receiver) = mpsc::channel(COMMANDS);
        let (drain, drained) = watch::channel(None);
        let (sender, snapshot) = watch::channel(Snapshot::starting(&name));
        let task = FanOutTask {
            context: self.access.build_context(Ending::default()),
            shared: self.shared.clone(),
            config,
            until_caught_up: self.process.until_caught_up,
            drain_timeout: self.drain_timeout.subscribe(),
            drain: drained,
            commands: receiver,
            snapshots: sender,
        };

        let span = tracing::info_span!("fan_out", fan_out = name);
        let task = self.tasks.spawn(task.run().instrument(span)).id();
        let handle = Handle {
            task,
            commands,
            drain,
            snapshot,
        };
        self.fan_outs.insert(name, handle);
    }

    /// Takes the end of one fan-out's task into the result of all.
    fn ended(
        &self,
        ended: Result<(Id, Result<Outcome, Failure>), JoinError>,
        result: Result<Outcome, Failure>,
    ) -> Result<Outcome, Failure> {
        let (task, outcome) = match ended {
            Ok((task, outcome)) => (task, outcome),
            Err(error) => (error.id(), Err(Failure::from_error(&error))),
        };

        if let Err(failure) = &outcome
            && !self.tasks.is_empty()
        {
            self.log_failure(task, failure);
        }
        match result {
            Ok(_) => outcome,
            Err(first) => Err(first),
        }
    }

    fn log_failure(&self, task: Id, failure: &Failure) {
        let mut fan_outs = self.fan_outs.iter();
        if let Some((name, _)) = fan_outs.find(|(_, handle)| handle.task == task) {
            tracing::error!(
                "the fan-out {name} ended, the others continue: {}",
                failure.message()
            );
        }
    }

    fn collect(&self) {
        let mut snapshots = Vec::with_capacity(self.fan_outs.len());
        for fan_out in self.fan_outs.values() {
            let snapshot = fan_out.snapshot.borrow().clone();
            snapshots.push(snapshot);
        }
        self.snapshots.send_replace(snapshots);
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Drain { answer } => {
                let _ = answer.send(Ok(self.drain()));
            }
            Command::Reload { content, answer } => self.reload(content, answer),
            Command::Output {
                fan_out,
                change,
                answer,
            } => match self.fan_outs.get(&fan_out) {
                Some(handle) => {
                    let command = FanOutCommand::Output { change, answer };
                    forward(handle.commands.clone(), command);
                }
                None => {
                    let _ = answer.send(Err(format!("there is no fan-out {fan_out}")));
                }
            },
        }
    }

    /// Tells every fan-out to end. Returns a sentence about the end.
    fn drain(&mut self) -> String {
        let limit = *self.drain_timeout.borrow();
        self.draining = true;
        for handle in self.fan_outs.values() {
            handle.drain.send_replace(Some(limit));
        }

        let seconds = limit.as_secs();
        format!("finishing the writes that are under way ({seconds} s at most)")
    }

    /// Makes the process what `content` describes. The answer is sent when each fan-out has made
    /// the changes.
    fn reload(&mut self, content: Vec<u8>, answer: oneshot::Sender<Answer>) {
        let changes = match self.resolve(content) {
            Ok(new) => self.take_over(new),
            Err(why) => {
                let why = format!("{why}; nothing has changed");
                note_reload(&self.file, Some(&why));
                let _ = answer.send(Err(why));
                return;
            }
        };
        let file = self.file.clone();
        tokio::spawn(async move {
            let summary = changes.summary().await;
            note_reload(&file, summary.as_ref().err());
            let _ = answer.send(summary);
        });
    }

    /// The configuration in `content`, if that can be taken over while the process runs.
    fn resolve(&mut self, content: Vec<u8>) -> Result<Process, String> {
        if self.draining {
            return Err("the process is stopping".to_owned());
        }
        let Some(origin) = &mut self.origin else {
            return Err(
                "there is no configuration file: the process was started with flags".into(),
            );
        };
        let file = (origin.path.as_path(), content.as_slice());
        let new = resolve::resolve(&origin.registry, &origin.input, Some(file))
            .map_err(|mistakes| mistakes.to_string())?;
        self.process
            .check_change(&new)
            .map_err(|fixed| fixed.to_string())?;
        origin.content = content;
        Ok(new)
    }

    /// Ends fan-outs that are no longer configured, starts new ones, and lets the others make their
    /// changes.
    fn take_over(&mut self, new: Process) -> Changes {
        let mut changes = Changes::default();
        changes.made += self.end_removed(&new);

        for fan_out in &new.fan_outs {
            match self.fan_outs.get(&fan_out.name) {
                Some(handle) => changes.wait_for(handle, fan_out),
                None => {
                    self.start(fan_out.clone());
                    changes.made += 1;
                }
            }
        }

        if self.process.drain_timeout != new.drain_timeout {
            self.drain_timeout.send_replace(new.drain_timeout);
            changes.made += 1;
        }
        self.process = new;
        changes
    }

    /// Ends the fan-outs that `new` does not have, and returns their number.
    fn end_removed(&mut self, new: &Process) -> usize {
        let mut removed: Vec<String> = self.fan_outs.keys().cloned().collect();
        removed.retain(|name| {
            let mut kept = new.fan_outs.iter();
            kept.all(|fan_out| fan_out.name != *name)
        });

        for name in &removed {
            if let Some(handle) = self.fan_outs.remove(name) {
                let limit = Some(new.drain_timeout);
                handle.drain.send_replace(limit);
                tracing::warn!(
                    "the fan-out {name} is no longer configured and ends; its state is kept"
                );
            }
        }
        removed.len()
    }
}

/// Keeps the result of a reload. A process without a file has nothing to reload.
fn note_reload(file: &watch::Sender<FileState>, failure: Option<&String>) {
    file.send_if_modified(|state| {
        let now = match failure {
            Some(why) => FileState::Rejected(why.clone()),
            None => FileState::InForce,
        };
        let has_file = *state != FileState::NoFile;
        let is_news = has_file && *state != now;
        if is_news {
            *state = now;
        }
        is_news
    });
}

/// The changes of a reload: the number of those that are made, and the fan-outs that are making
/// theirs.
#[derive(Default)]
struct Changes {
    made: usize,
    waiting: Vec<(String, oneshot::Receiver<Result<usize, String>>)>,
}

impl Changes {
    fn wait_for(&mut self, handle: &Handle, config: &FanOutConfig) {
        let (answer, receiver) = oneshot::channel();
        let command = FanOutCommand::Reconfigure {
            config: Box::new(config.clone()),
            answer,
        };
        forward(handle.commands.clone(), command);
        self.waiting.push((config.name.clone(), receiver));
    }

    /// Waits for all fan-outs. One sentence about the whole.
    async fn summary(self) -> Answer {
        let mut made = self.made;
        let mut failures = Vec::new();
        for (name, answer) in self.waiting {
            match answer.await {
                Ok(Ok(n)) => made += n,
                Ok(Err(why)) => failures.push(format!("{name}: {why}")),
                Err(_) => failures.push(format!("{name}: the fan-out has ended")),
            }
        }

        if !failures.is_empty() {
            return Err(failures.join("; "));
        }
        Ok(match made {
            0 => "the configuration was reloaded; nothing is different".to_owned(),
            n => format!("the configuration was reloaded; {n} changes were made"),
        })
    }
}

/// Sends without holding up the actor. A fan-out that has ended drops the command, and the answer
/// too.
fn forward(commands: mpsc::Sender<FanOutCommand>, command: FanOutCommand) {
    tokio::spawn(async move { commands.send(command).await.ok() });
}
