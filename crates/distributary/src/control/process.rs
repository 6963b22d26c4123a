//! The process of `distributary run`: starts the actor and its clients, and turns the end into an
//! exit code.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;

use distributary_config::Process;
use distributary_core::clock::Clock;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::actor::Actor;
use super::fan_out::Outcome;
use super::signals::{Hangups, Signals, Stop};
use super::socket::Listener;
use super::{Control, FileState, Origin, socket, watcher};
use crate::connect::Access;
use crate::failure::Failure;
use crate::view::{Snapshots, View};
use crate::web::{self, Web};

/// Runs every fan-out of `process` until a signal or a command stops them, all are done, or none
/// can continue.
pub(crate) async fn run(
    process: Process,
    access: Access,
    origin: Option<Origin>,
) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen().map_err(|error| no_signals(&error))?;
    let file = followed(origin.as_ref())?;
    let until_caught_up = process.until_caught_up;
    let (snapshots, watched) = watch::channel(Vec::new());
    let clock = access.clock.clone();
    let file_state = match &origin {
        Some(_) => FileState::InForce,
        None => FileState::NoFile,
    };
    let (file_states, file_state) = watch::channel(file_state);
    let web = Web {
        snapshots: watched.clone(),
        file: file_state,
        clock: clock.clone(),
        per_shard: process.metrics_per_shard,
    };
    serve_metrics(&process, web).await?;

    let view = View::fit(process.log_format);
    let (control, commands) = Control::new();
    let path = origin.as_ref();
    let path = path.map(|origin| origin.path.clone());
    let socket = socket::listen(&process, path)?;
    let clients = Clients {
        view,
        file,
        socket,
        control: control.clone(),
        snapshots: watched.clone(),
        clock,
    };

    let access = Arc::new(access);
    let actor = Actor::new(process, origin, access, (snapshots, file_states));
    let actor = tokio::spawn(actor.run(commands));

    let (outcome, stop) = serve(actor, clients, &control, &mut signals).await;
    view.end(&watched.borrow());
    outcome.map(|outcome| exit_code(outcome, stop, until_caught_up))
}

/// Serves the clients until the actor ends. Returns the outcome, and the signal that asked for the
/// end.
async fn serve(
    mut actor: JoinHandle<Result<Outcome, Failure>>,
    clients: Clients,
    control: &Control,
    signals: &mut Signals,
) -> (Result<Outcome, Failure>, Option<Stop>) {
    let (result, stop) = tokio::select! {
        result = &mut actor => (result, None),
        stop = signals.stop() => {
            drain(control, &stop).await;
            (signals.or_exit(&mut actor).await, Some(stop))
        }
        // The clients never end by themselves.
        () = clients.serve() => (actor.await, None),
    };

    let outcome = result
        .map_err(|error| Failure::from_error(&error))
        .flatten();
    (outcome, stop)
}

fn no_signals(error: &io::Error) -> Failure {
    Failure::run(format!("cannot listen for signals: {error}"))
}

/// The file to follow, if there is one, with the signal that asks for a reload.
fn followed(origin: Option<&Origin>) -> Result<Option<(Origin, Hangups)>, Failure> {
    let Some(origin) = origin else {
        return Ok(None);
    };

    let hangups = Hangups::listen().map_err(|error| no_signals(&error))?;
    Ok(Some((origin.clone(), hangups)))
}

async fn serve_metrics(process: &Process, web: Web) -> Result<(), Failure> {
    match process.metrics {
        Some(address) => web::serve(address, web).await,
        None => Ok(()),
    }
}

async fn drain(control: &Control, stop: &Stop) {
    if let Ok(text) = control.drain().await {
        tracing::info!(
            "{}: {text}; once more ends the process at once",
            stop.name()
        );
    }
}

/// A daemon that was told to stop has done its job. A bounded run that a signal stopped has not.
fn exit_code(outcome: Outcome, stop: Option<Stop>, until_caught_up: bool) -> ExitCode {
    match stop {
        Some(stop) if until_caught_up && outcome == Outcome::Drained => ExitCode::from(stop.code()),
        Some(_) | None => ExitCode::SUCCESS,
    }
}

/// Everything that sends commands to the actor or shows snapshots.
struct Clients {
    view: View,
    /// The configuration file to follow.
    file: Option<(Origin, Hangups)>,
    socket: Option<Listener>,
    control: Control,
    snapshots: Snapshots,
    clock: Clock,
}

impl Clients {
    /// Serves until the future is dropped.
    async fn serve(self) {
        let shown = self.snapshots.clone();
        tokio::join!(
            self.view.show(shown, self.clock.clone()),
            follow_file(self.file, self.control.clone(), self.clock),
            serve_socket(self.socket, self.control, self.snapshots),
        );
    }
}

async fn follow_file(file: Option<(Origin, Hangups)>, control: Control, clock: Clock) {
    match file {
        Some((origin, hangups)) => watcher::follow(origin, hangups, control, clock).await,
        None => std::future::pending().await,
    }
}

async fn serve_socket(socket: Option<Listener>, control: Control, snapshots: Snapshots) {
    match socket {
        Some(socket) => socket.serve(control, snapshots).await,
        None => std::future::pending().await,
    }
}
