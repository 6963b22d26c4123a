//! A fan-out from its start to its end.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use distributary_adapters::kind::{BuildContext, Ending};
use distributary_config::{FanOutConfig, Process};
use distributary_core::clock::Clock;
use distributary_core::engine::{Engine, EngineError, Status};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::build::{Built, OutputBuilder, build};
use super::edits::Edits;
use super::signals::{Hangups, Signals, Stop};
use crate::connect::Access;
use crate::failure::Failure;
use crate::view::View;
use crate::web::{self, Web};

/// Time between two snapshots of the engine.
const SNAPSHOT: Duration = Duration::from_millis(250);

/// Why a fan-out stops.
enum Why {
    Asked(Stop),
    CaughtUp(Result<(), EngineError>),
    Broken(EngineError),
    /// An output made going on pointless; the reason.
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
            "metrics are served for a single fan-out only: leave metrics out, or run one process for each fan-out",
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
            tracing::error!("a fan-out ended, the others go on: {}", failure.message());
        }
        match (&code, &ended) {
            (Ok(ExitCode::SUCCESS), _) | (Ok(_), Err(_)) => code = ended,
            (Ok(_), Ok(_)) | (Err(_), _) => {}
        }
    }
    code
}

/// Runs one fan-out of `process` until it is told to stop, is done, or cannot go on.
async fn supervise(
    process: Process,
    config: FanOutConfig,
    context: BuildContext,
    edits: Option<Edits>,
) -> Result<ExitCode, Failure> {
    let told = |error| Failure::run(format!("cannot listen for signals: {error}"));
    let mut signals = Signals::listen().map_err(told)?;
    let hangups = if edits.is_some() {
        Some(Hangups::listen().map_err(told)?)
    } else {
        None
    };
    let (clock, ending) = (context.clock.clone(), context.ending.clone());
    let (snapshots, watched) = watch::channel(None);
    if let Some(address) = process.metrics {
        let web = Web {
            snapshots: watched.clone(),
            clock: clock.clone(),
            per_shard: process.metrics_per_shard,
        };
        web::serve(address, web).await?;
    }
    let started = async {
        let Built {
            fan_out,
            outputs,
            state,
        } = build(&config, context).await?;
        let engine = Engine::start(fan_out)
            .await
            .map_err(|e| Failure::from_error(&e))?;
        Ok::<_, Failure>((engine, outputs, state))
    };
    let (engine, outputs, _state) = tokio::select! {
        started = started => started?,
        // Nothing has been read or written: there is nothing to finish.
        stop = signals.stop() => return Ok(code_of(stop, process.until_caught_up)),
    };
    announce(&config, &engine);
    let view = match process.fan_outs.len() {
        1 => View::fit(process.log_format),
        // Several live views would overwrite each other.
        _ => View::Lines,
    };
    let limit = process.drain_timeout;
    let until_caught_up = process.until_caught_up;
    let why = tokio::select! {
        // Each of these ends it; none of them keeps the others waiting.
        stop = signals.stop() => Why::Asked(stop),
        error = engine.ended() => Why::Broken(error),
        done = engine.caught_up(), if until_caught_up => Why::CaughtUp(done),
        reason = ending.requested() => Why::Requested(reason),
        // These never end by themselves.
        () = publish(&engine, &snapshots, &clock) => Why::Asked(Stop::Terminate),
        () = view.show(watched.clone(), clock.clone()) => Why::Asked(Stop::Terminate),
        () = follow(edits, hangups, process, config, &engine, &outputs, &clock) => Why::Asked(Stop::Terminate),
    };
    if let Why::Asked(stop) = &why {
        tracing::info!(
            "{}: finishing what is under way ({} s at most); once more ends it at once",
            stop.name(),
            limit.as_secs()
        );
    }
    if let Why::Requested(reason) = &why {
        tracing::info!("{reason}; finishing what is under way");
    }
    let last = signals.or_exit(engine.shutdown(limit)).await;
    if let Ok(last) = &last {
        snapshots.send_replace(Some(Arc::new(last.clone())));
        view.end(last);
    }
    match why {
        Why::Broken(error) => Err(Failure::from_error(&error)),
        Why::CaughtUp(Err(error)) => Err(Failure::from_error(&error)),
        Why::CaughtUp(Ok(())) | Why::Requested(_) => last
            .map(|_| ExitCode::SUCCESS)
            .map_err(|e| Failure::from_error(&e)),
        Why::Asked(stop) => last
            .map(|_| code_of(stop, until_caught_up))
            .map_err(|e| Failure::from_error(&e)),
    }
}

/// A daemon that is told to stop has done its job; what was to catch up and did not, has not.
fn code_of(stop: Stop, until_caught_up: bool) -> ExitCode {
    if until_caught_up {
        ExitCode::from(stop.code())
    } else {
        ExitCode::SUCCESS
    }
}

fn announce(config: &FanOutConfig, engine: &Engine) {
    /// Outputs that are named in the line.
    const NAMED: usize = 5;
    let mut outputs: Vec<&str> = config
        .outputs
        .iter()
        .map(|o| o.name.as_str())
        .take(NAMED)
        .collect();
    let more = config.outputs.len() - outputs.len();
    let more = format!("{more} more");
    if config.outputs.len() > NAMED {
        outputs.push(&more);
    }
    let state = config.state.as_ref().map_or_else(
        || "not kept: it is gone at the end".to_owned(),
        |path| path.display().to_string(),
    );
    tracing::info!(
        name = %config.name, from = %engine.status().source.arn, to = %outputs.join(", "), progress = %state, "copying"
    );
}

/// Takes snapshots for everybody who shows them.
async fn publish(engine: &Engine, snapshots: &watch::Sender<Option<Arc<Status>>>, clock: &Clock) {
    loop {
        snapshots.send_replace(Some(Arc::new(engine.status())));
        clock.sleep(SNAPSHOT).await;
    }
}

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
