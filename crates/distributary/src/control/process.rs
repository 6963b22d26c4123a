//! The process of `distributary run`: starts the actor and its clients, and turns the end into an exit code.

use std::process::ExitCode;
use std::sync::Arc;

use distributary_config::Process;
use tokio::sync::watch;

use super::actor::Actor;
use super::fan_out::Outcome;
use super::signals::{Hangups, Signals, Stop};
use super::{Control, Origin, socket, watcher};
use crate::connect::Access;
use crate::failure::Failure;
use crate::view::View;
use crate::web::{self, Web};

/// Runs every fan-out of `process` until a signal or a command stops them, all are done, or none can continue.
pub(crate) async fn run(
    process: Process,
    access: Access,
    origin: Option<Origin>,
) -> Result<ExitCode, Failure> {
    let cannot = |error| Failure::run(format!("cannot listen for signals: {error}"));
    let mut signals = Signals::listen().map_err(cannot)?;
    let hangups = match &origin {
        Some(_) => Some(Hangups::listen().map_err(cannot)?),
        None => None,
    };

    let clock = access.clock.clone();
    let until_caught_up = process.until_caught_up;
    let (snapshots, watched) = watch::channel(Vec::new());
    if let Some(address) = process.metrics {
        let web = Web {
            snapshots: watched.clone(),
            clock: clock.clone(),
            per_shard: process.metrics_per_shard,
        };
        web::serve(address, web).await?;
    }

    let view = View::fit(process.log_format);
    let (control, commands) = Control::new();
    let socket = socket::listen(&process, origin.as_ref().map(|o| o.path.clone()))?;
    let actor = Actor::new(process, origin.clone(), Arc::new(access), snapshots);
    let mut actor = tokio::spawn(actor.run(commands));

    let clients = async {
        tokio::join!(
            view.show(watched.clone(), clock.clone()),
            follow_file(origin, hangups, &control, &clock),
            serve_socket(socket, &control, &watched),
        );
    };
    let (result, stop) = tokio::select! {
        result = &mut actor => (result, None),
        stop = signals.stop() => {
            if let Ok(text) = control.drain().await {
                tracing::info!("{}: {text}; once more ends the process at once", stop.name());
            }
            (signals.or_exit(&mut actor).await, Some(stop))
        }
        // The clients never end by themselves.
        () = clients => (actor.await, None),
    };

    let outcome = result
        .map_err(|error| Failure::from_error(&error))
        .flatten();
    view.end(&watched.borrow());
    outcome.map(|outcome| exit_code(outcome, stop, until_caught_up))
}

/// A daemon that was told to stop has done its job. A bounded run that a signal stopped has not.
fn exit_code(outcome: Outcome, stop: Option<Stop>, until_caught_up: bool) -> ExitCode {
    match stop {
        Some(stop) if until_caught_up && outcome == Outcome::Drained => ExitCode::from(stop.code()),
        Some(_) | None => ExitCode::SUCCESS,
    }
}

async fn follow_file(
    origin: Option<Origin>,
    hangups: Option<Hangups>,
    control: &Control,
    clock: &distributary_core::clock::Clock,
) {
    match (origin, hangups) {
        (Some(origin), Some(hangups)) => {
            watcher::follow(origin, hangups, control.clone(), clock.clone()).await;
        }
        (None, _) | (_, None) => std::future::pending().await,
    }
}

async fn serve_socket(
    socket: Option<socket::Listener>,
    control: &Control,
    snapshots: &crate::view::Snapshots,
) {
    match socket {
        Some(socket) => socket.serve(control.clone(), snapshots.clone()).await,
        None => std::future::pending().await,
    }
}
