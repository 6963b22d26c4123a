//! The life of a fan-out, from start to end.

use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use distributary_adapters::kind::{BuildContext, Ending};
use distributary_config::{FanOutConfig, Process};
use distributary_core::clock::Clock;
use distributary_core::engine::{Engine, EngineError, Status};
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::build::{Built, OutputBuilder, build};
use super::edits::Edits;
use super::signals::{Hangups, Signals, Stop};
use crate::connect::Access;
use crate::failure::Failure;
use crate::view::{Snapshots, View};
use crate::web::{self, Web};

/// Time between two snapshots of the engine.
const SNAPSHOT: Duration = Duration::from_millis(250);
/// The most outputs that the first log line names.
const NAMED_OUTPUTS: usize = 5;

/// The reason why a fan-out ends.
enum End {
    /// A signal.
    Signal(Stop),
    /// Every output has caught up, or one has failed.
    CaughtUp(Result<(), EngineError>),
    /// The engine cannot continue.
    Broken(EngineError),
    /// An output asked for the end, for this reason.
    Requested(String),
}

/// Runs every fan-out of `process`, each with an engine of its own, until all have ended.
pub(crate) async fn supervise_all(
    process: Process,
    access: &Access,
    edits: Option<&Edits>,
) -> Result<ExitCode, Failure> {
    if process.fan_outs.len() > 1 && process.metrics.is_some() {
        return Err(Failure::usage(
            "metrics are served for a single fan-out only: leave metrics out, or run one process for \
             each fan-out",
        ));
    }

    let mut running = JoinSet::new();
    for fan_out in process.fan_outs.clone() {
        let context = access.build_context(Ending::default());
        let edits = edits.map(|edits| edits.for_fan_out(&fan_out.name));
        running.spawn(supervise(process.clone(), fan_out, context, edits));
    }

    let mut code = Ok(ExitCode::SUCCESS);
    while let Some(ended) = running.join_next().await {
        let ended = ended.map_err(|error| Failure::from_error(&error)).flatten();
        if let Err(failure) = &ended
            && !running.is_empty()
        {
            tracing::error!(
                "a fan-out ended, the others continue: {}",
                failure.message()
            );
        }
        match (&code, &ended) {
            (Ok(ExitCode::SUCCESS), _) | (Ok(_), Err(_)) => code = ended,
            (Ok(_), Ok(_)) | (Err(_), _) => {}
        }
    }
    code
}

/// Runs one fan-out of `process` until a signal, until the work is done, or until an error.
async fn supervise(
    process: Process,
    config: FanOutConfig,
    context: BuildContext,
    edits: Option<Edits>,
) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen().map_err(no_signals)?;
    let hangups = edits.is_some().then(Hangups::listen).transpose();
    let hangups = hangups.map_err(no_signals)?;
    let (clock, ending) = (context.clock.clone(), context.ending.clone());
    let (snapshots, watched) = watch::channel(None);
    serve_metrics(&process, &watched, &clock).await?;

    let (engine, outputs, _state) = tokio::select! {
        started = start(&config, context) => started?,
        // No record was read or written, so there is nothing to finish.
        stop = signals.stop() => return Ok(code_of(stop, process.until_caught_up)),
    };
    announce(&config, &engine);

    let limit = process.drain_timeout;
    let running = Running {
        engine,
        view: view(&process),
        snapshots,
        clock: clock.clone(),
        until_caught_up: process.until_caught_up,
    };
    let edited = follow(
        edits,
        hangups,
        process,
        config,
        &running.engine,
        &outputs,
        &clock,
    );
    let end = running.run(&mut signals, &ending, edited).await;
    end.log(limit);
    running.shut_down(&mut signals, end, limit).await
}

/// A fan-out that was started.
struct Running {
    engine: Engine,
    view: View,
    snapshots: watch::Sender<Option<Arc<Status>>>,
    clock: Clock,
    until_caught_up: bool,
}

impl Running {
    /// Copies until there is a reason to end. `edited` applies edits of the configuration.
    async fn run(
        &self,
        signals: &mut Signals,
        ending: &Ending,
        edited: impl Future<Output = ()>,
    ) -> End {
        let watched = self.snapshots.subscribe();
        tokio::select! {
            // Each of these ends the fan-out; none of them blocks the others.
            stop = signals.stop() => End::Signal(stop),
            error = self.engine.ended() => End::Broken(error),
            done = self.engine.caught_up(), if self.until_caught_up => End::CaughtUp(done),
            reason = ending.requested() => End::Requested(reason),
            // These never end by themselves.
            () = self.publish() => End::Signal(Stop::Terminate),
            () = self.view.show(watched, self.clock.clone()) => End::Signal(Stop::Terminate),
            () = edited => End::Signal(Stop::Terminate),
        }
    }

    /// Takes snapshots for the view and the metrics.
    async fn publish(&self) {
        loop {
            let status = Arc::new(self.engine.status());
            self.snapshots.send_replace(Some(status));
            self.clock.sleep(SNAPSHOT).await;
        }
    }

    /// Finishes the requests in flight, within `limit`.
    async fn shut_down(
        self,
        signals: &mut Signals,
        end: End,
        limit: Duration,
    ) -> Result<ExitCode, Failure> {
        let last = signals.or_exit(self.engine.shutdown(limit)).await;
        if let Ok(last) = &last {
            self.snapshots.send_replace(Some(Arc::new(last.clone())));
            self.view.end(last);
        }
        end.code(last, self.until_caught_up)
    }
}

fn no_signals(error: io::Error) -> Failure {
    Failure::run(format!("cannot listen for signals: {error}"))
}

async fn serve_metrics(
    process: &Process,
    snapshots: &Snapshots,
    clock: &Clock,
) -> Result<(), Failure> {
    let Some(address) = process.metrics else {
        return Ok(());
    };
    let web = Web {
        snapshots: snapshots.clone(),
        clock: clock.clone(),
        per_shard: process.metrics_per_shard,
    };
    web::serve(address, web).await
}

/// Starts the engine. The directory holds the checkpoints of a fan-out without a state file, until
/// the directory is dropped.
async fn start(
    config: &FanOutConfig,
    context: BuildContext,
) -> Result<(Engine, OutputBuilder, Option<TempDir>), Failure> {
    let Built {
        fan_out,
        outputs,
        state,
    } = build(config, context).await?;
    let engine = Engine::start(fan_out)
        .await
        .map_err(|error| Failure::from_error(&error))?;
    Ok((engine, outputs, state))
}

fn view(process: &Process) -> View {
    match process.fan_outs.len() {
        1 => View::fit(process.log_format),
        // Several live views would overwrite each other.
        _ => View::Lines,
    }
}

impl End {
    fn log(&self, limit: Duration) {
        match self {
            Self::Signal(stop) => tracing::info!(
                "{}: finishing the requests in flight ({} s at most); a second signal stops at once",
                stop.name(),
                limit.as_secs()
            ),
            Self::Requested(reason) => {
                tracing::info!("{reason}; finishing the requests in flight");
            }
            Self::CaughtUp(_) | Self::Broken(_) => {}
        }
    }

    /// The exit code, after a shutdown with the result `last`.
    fn code(
        self,
        last: Result<Status, EngineError>,
        until_caught_up: bool,
    ) -> Result<ExitCode, Failure> {
        let code = match self {
            Self::Broken(error) | Self::CaughtUp(Err(error)) => {
                return Err(Failure::from_error(&error));
            }
            Self::CaughtUp(Ok(())) | Self::Requested(_) => ExitCode::SUCCESS,
            Self::Signal(stop) => code_of(stop, until_caught_up),
        };
        match last {
            Ok(_) => Ok(code),
            Err(error) => Err(Failure::from_error(&error)),
        }
    }
}

/// The exit code after a signal. A daemon that is stopped has done its job; a fan-out that had to
/// catch up has not.
fn code_of(stop: Stop, until_caught_up: bool) -> ExitCode {
    if until_caught_up {
        ExitCode::from(stop.code())
    } else {
        ExitCode::SUCCESS
    }
}

fn announce(config: &FanOutConfig, engine: &Engine) {
    let names = config.outputs.iter().map(|output| output.name.clone());
    let mut outputs: Vec<String> = names.take(NAMED_OUTPUTS).collect();
    let more = config.outputs.len() - outputs.len();
    if more > 0 {
        outputs.push(format!("{more} more"));
    }

    let state = match &config.state {
        Some(path) => path.display().to_string(),
        None => "not saved: lost when the program ends".to_owned(),
    };
    tracing::info!(
        name = %config.name,
        from = %engine.status().source.arn,
        to = %outputs.join(", "),
        progress = %state,
        "copying"
    );
}

/// Follows the configuration file, if there is one.
async fn follow(
    edits: Option<Edits>,
    hangups: Option<Hangups>,
    process: Process,
    config: FanOutConfig,
    engine: &Engine,
    outputs: &OutputBuilder,
    clock: &Clock,
) {
    match (edits, hangups) {
        (Some(edits), Some(hangups)) => {
            edits
                .follow(hangups, process, config, engine, outputs, clock)
                .await;
        }
        (None, _) | (_, None) => std::future::pending().await,
    }
}
