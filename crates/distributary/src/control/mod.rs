//! The control actor: the one owner of the configuration in force, and of the engines, outputs and
//! state of every fan-out.
//!
//! Everything else is a client that sends commands and awaits answers: the signals, the file
//! watcher, and clients of the control address. The view and the metrics show snapshots from the
//! actor, too.

mod actor;
mod build;
mod failing;
mod fan_out;
mod process;
mod pumps;
mod replay;
mod routes;
mod signals;
mod socket;
mod state;
mod steps;
mod waiting;
mod watcher;

use std::path::PathBuf;
use std::time::Duration;

use distributary_config::dead_letter_outputs::DeadLetterOutputs;
use distributary_config::{Input, OutputConfig, Registry};
use distributary_core::batch::ShardId;
use distributary_core::engine::{MemoryBudget, Start};
use tokio::sync::{mpsc, oneshot};

use crate::state::place::Place;

pub(crate) use process::run;
pub(crate) use replay::Stretch;
pub(crate) use socket::{Reply, Request, ask};
#[cfg(feature = "dynamodb")]
pub(crate) use state::create_folder_of;

/// Parts of the process that its fan-outs share. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct SharedParts {
    /// Memory for records that are read and not yet written.
    pub(crate) memory: MemoryBudget,
    /// Outputs for dead letters.
    pub(crate) dead_letters: DeadLetterOutputs,
    /// The stretch that is read, in a replay.
    pub(crate) stretch: Option<replay::Stretch>,
    /// The streams that the fan-outs read and write.
    pub(crate) routes: routes::Routes,
}

/// Commands that wait for the actor at most; further clients wait to send theirs.
const COMMANDS: usize = 16;

/// The file that the configuration comes from, and the flags and variables with precedence over it.
#[derive(Clone)]
pub(crate) struct Origin {
    /// The file.
    pub(crate) path: PathBuf,
    /// The content that is in force.
    pub(crate) content: Vec<u8>,
    /// Flags and variables.
    pub(crate) input: Input,
    /// The kinds that the file may name.
    pub(crate) registry: Registry,
}

/// The last look at the configuration file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum FileState {
    /// The process was started with flags alone.
    NoFile,
    /// The file is in force.
    InForce,
    /// The file was rejected for this reason; the content before it is in force.
    Rejected(String),
}

/// The answer to a command: a sentence about the change, or the reason why nothing changed.
type Answer = Result<String, String>;

/// A command to the actor.
#[derive(Debug)]
enum Command {
    /// Makes the running process what this content of the configuration file describes.
    Reload {
        content: Vec<u8>,
        answer: oneshot::Sender<Answer>,
    },
    /// Changes one output of one fan-out.
    Output {
        fan_out: String,
        change: OutputChange,
        answer: oneshot::Sender<Answer>,
    },
    /// Stops every fan-out: finishes the writes that are under way within the drain timeout, and
    /// saves the progress.
    Drain { answer: oneshot::Sender<Answer> },
}

/// A change of one output.
#[derive(Clone, Debug, PartialEq)]
enum OutputChange {
    /// Ends the output and forgets its progress.
    Remove(String),
    /// Ends the output and keeps its progress.
    Detach(String),
    /// Stops the output and keeps its position.
    Pause(String),
    /// Continues an output that is paused or stopped.
    Resume(String),
    /// Replaces the settings of the output; its position is kept.
    Update(OutputConfig),
    /// Adds the output.
    Add(OutputConfig),
    /// Forgets the output's progress and starts the output again at this position.
    Restart(String, Start),
    /// Moves the output, or its position in one shard.
    Seek {
        name: String,
        shard: Option<ShardId>,
        to: Place,
    },
    /// Leaves one record out.
    Skip {
        name: String,
        shard: ShardId,
        sequence: String,
    },
}

/// A client's handle to the actor.
#[derive(Clone, Debug)]
struct Control {
    commands: mpsc::Sender<Command>,
}

impl Control {
    fn new() -> (Self, mpsc::Receiver<Command>) {
        let (commands, receiver) = mpsc::channel(COMMANDS);
        (Self { commands }, receiver)
    }

    async fn reload(&self, content: Vec<u8>) -> Answer {
        self.ask(|answer| Command::Reload { content, answer }).await
    }

    async fn change(&self, fan_out: String, change: OutputChange) -> Answer {
        self.ask(|answer| Command::Output {
            fan_out,
            change,
            answer,
        })
        .await
    }

    async fn drain(&self) -> Answer {
        self.ask(|answer| Command::Drain { answer }).await
    }

    async fn ask(&self, command: impl FnOnce(oneshot::Sender<Answer>) -> Command) -> Answer {
        let ended = || "the process is stopping".to_owned();
        let (sender, answer) = oneshot::channel();
        self.commands
            .send(command(sender))
            .await
            .map_err(|_| ended())?;
        answer.await.unwrap_or_else(|_| Err(ended()))
    }
}

/// Longest wait of a control client for an answer; a reload asks every changed output.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
