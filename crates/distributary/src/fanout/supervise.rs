//! A fan-out from its start to its end.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::clock::Clock;
use distributary_core::engine::{Engine, EngineError, Status};
use tokio::sync::watch;

use super::build::{Built, Streams, build};
use super::edits::Edits;
use super::signals::{Hangups, Signals, Stop};
use crate::config::Config;
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
}

/// Runs what `config` says until it is told to stop, is done, or cannot go on.
pub(crate) async fn supervise(
    config: Config,
    access: Access,
    edits: Option<Edits>,
) -> Result<ExitCode, Failure> {
    let told = |error| Failure::run(format!("cannot listen for signals: {error}"));
    let mut signals = Signals::listen().map_err(told)?;
    let hangups = if edits.is_some() {
        Some(Hangups::listen().map_err(told)?)
    } else {
        None
    };
    let clock = access.clock.clone();
    let (snapshots, watched) = watch::channel(None);
    if let Some(address) = config.metrics {
        let web = Web {
            snapshots: watched.clone(),
            clock: clock.clone(),
            per_shard: config.metrics_per_shard,
        };
        web::serve(address, web).await?;
    }
    let started = async {
        let Built {
            fan_out,
            streams,
            state,
        } = build(&config, access).await?;
        let engine = Engine::start(fan_out)
            .await
            .map_err(|e| Failure::from_error(&e))?;
        Ok::<_, Failure>((engine, streams, state))
    };
    let (engine, streams, _state) = tokio::select! {
        started = started => started?,
        // Nothing has been read or written: there is nothing to finish.
        stop = signals.stop() => return Ok(code_of(stop, config.until_caught_up)),
    };
    announce(&config, &engine);
    let view = View::fit(config.log_format);
    let limit = config.drain_timeout;
    let until_caught_up = config.until_caught_up;
    let why = tokio::select! {
        // Each of these ends it; none of them keeps the others waiting.
        stop = signals.stop() => Why::Asked(stop),
        error = engine.ended() => Why::Broken(error),
        done = engine.caught_up(), if until_caught_up => Why::CaughtUp(done),
        // These never end by themselves.
        () = publish(&engine, &snapshots, &clock) => Why::Asked(Stop::Terminate),
        () = view.show(watched.clone(), clock.clone()) => Why::Asked(Stop::Terminate),
        () = follow(edits, hangups, config, &engine, &streams, &clock) => Why::Asked(Stop::Terminate),
    };
    if let Why::Asked(stop) = &why {
        tracing::info!(
            "{}: finishing what is under way ({} s at most); once more ends it at once",
            stop.name(),
            limit.as_secs()
        );
    }
    let last = signals.or_exit(engine.shutdown(limit)).await;
    if let Ok(last) = &last {
        snapshots.send_replace(Some(Arc::new(last.clone())));
        view.end(last);
    }
    match why {
        Why::Broken(error) => Err(Failure::from_error(&error)),
        Why::CaughtUp(Err(error)) => Err(Failure::from_error(&error)),
        Why::CaughtUp(Ok(())) => last
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

fn announce(config: &Config, engine: &Engine) {
    /// Outputs that are named in the line.
    const NAMED: usize = 5;
    let mut outputs: Vec<&str> = config
        .outputs
        .iter()
        .map(|o| o.id.as_str())
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
    config: Config,
    engine: &Engine,
    streams: &Streams,
    clock: &Clock,
) {
    match (edits, hangups) {
        (Some(edits), Some(hangups)) => edits.follow(hangups, config, engine, streams, clock).await,
        (None, _) | (_, None) => std::future::pending().await,
    }
}
