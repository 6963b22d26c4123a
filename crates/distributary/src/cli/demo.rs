//! `distributary demo`.

mod play;
mod producer;
mod summary;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use distributary_adapters::leases::sqlite::SqliteStore;
use distributary_core::clock::Clock;
use distributary_core::engine::{Engine, FanOut, Order, OutputSpec, Settings, Start, Status};
use distributary_core::store::OutputId;
use distributary_core::text::chain;
use distributary_kinesis::config::ConnectOptions;
use distributary_kinesis::output::{KinesisOutput, OutputOptions};
use distributary_local::Local;
use tokio::sync::watch;

use crate::cli::interrupt::interrupted;
use crate::cli::streams::Given;
use crate::config::Span;
use crate::connect::Access;
use crate::failure::Failure;
use crate::logging::{self, LogFormat};
use crate::screen;
use crate::verify::{self, Progress, Report, Subject, Tolerance};
use crate::view::View;
use play::Play;
use producer::Producer;

/// The stream that is read.
const INPUT: &str = "input";
/// Shards of the input at the start; one is split on the way.
const INPUT_SHARDS: u32 = 2;
/// Shards of each output.
const OUTPUT_SHARDS: u32 = 2;
/// Outputs at most: each is a copy of the input in memory.
const OUTPUTS_MAX: u32 = 50;
/// Records of the input at most, times outputs: they stay in memory, at about 100 bytes each.
const RECORDS_MAX: u64 = 20_000_000;
/// How long the outputs may take to catch up after the last record.
const CATCH_UP: Duration = Duration::from_secs(60);
/// How often the view gets something new.
const SNAPSHOT: Duration = Duration::from_millis(100);
/// How long it may take to end.
const SHUTDOWN: Duration = Duration::from_secs(10);
/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Flags of `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Everything happens in this process: an embedded Kinesis with a stream `input` and its outputs, a producer, the fan-out, \
and the comparison of what arrived with what was sent. Nothing is left behind.

Exit code: 0 if every output has every record, in order; 1 if not.")]
pub(crate) struct DemoArgs {
    /// How long records are produced
    #[arg(long = "for", default_value = "10s", value_name = "TIME")]
    time: Span,
    /// Records a second
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Outputs: output1, output2, app-output-1, app-output-2 …
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(OUTPUTS_MAX)))]
    outputs: u32,
}

/// Runs it.
pub(crate) async fn run(args: DemoArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text, true);
    let records = u64::from(args.rate) * args.time.0.as_secs().max(1);
    if records * u64::from(args.outputs) > RECORDS_MAX {
        return Err(Failure::usage(format!(
            "--rate times --for times --outputs is more than {RECORDS_MAX} records, which all stay in memory; take less"
        )));
    }
    let interrupted = interrupted().map_err(|error| Failure::from_error(&error))?;
    // Its files go when this function ends, however it does.
    let dir = tempfile::tempdir()
        .map_err(|e| Failure::run(format!("cannot make a directory for the state: {e}")))?;
    tokio::select! {
        biased;
        () = interrupted => {
            screen::clear();
            Err(Failure::run("interrupted; nothing is left behind").with_code(INTERRUPTED))
        }
        shown = show(&args, dir.path()) => {
            let holds = shown?;
            Ok(if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE })
        }
    }
}

/// The demo from its beginning to its end; true if the comparison holds.
async fn show(args: &DemoArgs, dir: &std::path::Path) -> Result<bool, Failure> {
    let local = Local::builder().build();
    let names: Vec<String> = (1..=args.outputs).map(output_name).collect();
    let made = std::iter::once((INPUT, INPUT_SHARDS))
        .chain(names.iter().map(|name| (name.as_str(), OUTPUT_SHARDS)));
    for (name, shards) in made {
        local
            .create_stream(name, shards)
            .map_err(|error| Failure::from_error(&error))?;
    }
    let access = Access::over(Some(local.clone()), ConnectOptions::default())?;
    let input = Given::open(&access, INPUT).await?;
    let mut outputs = Vec::with_capacity(names.len());
    for name in &names {
        outputs.push(Given::open(&access, name).await?);
    }
    summary::introduce(args, &names);
    let engine = start(&access, &input, &outputs, dir).await?;

    let mut play = Play::new(&local, &input, &names, args.time.0, access.clock.clone());
    let producer = Producer::new(&input, access.clock.clone(), args.rate, args.time.0);
    let view = View::fit(LogFormat::Text);
    let (snapshots, watched) = watch::channel(None);
    let produced = tokio::select! {
        produced = produce_and_catch_up(producer, &mut play, &engine, &access) => produced?,
        ended = engine.ended() => return Err(Failure::run(chain(&ended))),
        // Neither ends by itself.
        never = publish(&engine, &snapshots, &access.clock) => match never {},
        () = view.show(watched, access.clock.clone()) => return Err(Failure::run("the view ended; this is a bug")),
    };
    let status = engine
        .shutdown(SHUTDOWN)
        .await
        .map_err(|error| Failure::run(chain(&error)))?;
    view.end(&status);
    play::tell("\nComparing what arrived with what was sent …");
    let report = compare(&access, &input, &outputs, dir).await?;
    let holds = report.same() && report.source_records() == produced.records;
    summary::conclude(&summary::Shown {
        produced,
        play: &play,
        status: &status,
        report: &report,
        holds,
    });
    Ok(holds)
}

fn output_name(number: u32) -> String {
    match number {
        1 | 2 => format!("output{number}"),
        n => format!("app-output-{}", n - 2),
    }
}

async fn start(
    access: &Access,
    input: &Given,
    outputs: &[Given],
    dir: &std::path::Path,
) -> Result<Engine, Failure> {
    let store = SqliteStore::open(&dir.join("demo.db"), "demo")
        .map_err(|error| Failure::run(chain(&error)))?;
    let mut specs = Vec::with_capacity(outputs.len());
    for output in outputs {
        let to = KinesisOutput::new(
            output.client.clone(),
            output.stream.clone(),
            OutputOptions::default(),
        );
        to.check()
            .await
            .map_err(|error| Failure::run(chain(&error)))?;
        specs.push(OutputSpec {
            id: OutputId::new(&output.name),
            output: Arc::new(to),
            order: Order::default(),
            start: Start::TrimHorizon,
            paused: false,
        });
    }
    let settings = Settings {
        // The embedded Kinesis throttles nobody, and nobody shares it: no need to leave room, nor to wait long.
        idle_poll: Duration::from_millis(200),
        backoff_cap: Duration::from_secs(1),
        ..Settings::default()
    };
    let fan_out = FanOut {
        name: "demo".to_owned(),
        source: input.source(),
        outputs: specs,
        store: Arc::new(store),
        clock: access.clock.clone(),
        settings,
    };
    Engine::start(fan_out)
        .await
        .map_err(|error| Failure::run(chain(&error)))
}

/// Produces while the play goes on, then waits until every output has everything.
async fn produce_and_catch_up(
    producer: Producer<'_>,
    play: &mut Play<'_>,
    engine: &Engine,
    access: &Access,
) -> Result<producer::Produced, Failure> {
    let produce = producer.run();
    tokio::pin!(produce);
    let produced = loop {
        tokio::select! {
            produced = &mut produce => break produced?,
            // Both ask for the next step only after the last is done.
            stepped = play.step(engine) => stepped?,
        }
    };
    play.end()?;
    let behind = |status: &Status| {
        status
            .outputs
            .iter()
            .any(|output| output.counts.durable < produced.records)
    };
    let caught_up = async {
        while behind(&engine.status()) {
            play.watch(engine).await;
        }
    };
    if access.clock.timeout(CATCH_UP, caught_up).await.is_none() {
        let text = format!(
            "after {} s not every output has everything; comparing what they have",
            CATCH_UP.as_secs()
        );
        play::tell(&text);
    }
    Ok(produced)
}

/// Takes snapshots for the view.
async fn publish(
    engine: &Engine,
    snapshots: &watch::Sender<Option<Arc<Status>>>,
    clock: &Clock,
) -> std::convert::Infallible {
    loop {
        snapshots.send_replace(Some(Arc::new(engine.status())));
        clock.sleep(SNAPSHOT).await;
    }
}

async fn compare(
    access: &Access,
    input: &Given,
    outputs: &[Given],
    dir: &std::path::Path,
) -> Result<Report, Failure> {
    let subject = |given: &Given| Subject {
        name: given.name.clone(),
        source: given.source(),
    };
    let options = verify::Options {
        clock: access.clock.clone(),
        // A copy that sends again after an answer was lost has repeats, by contract. Here none should be.
        tolerance: Tolerance {
            repeats: true,
            order: false,
        },
        examples: 3,
        dir: dir.to_owned(),
    };
    let to: Vec<Subject> = outputs.iter().map(subject).collect();
    let progress = Arc::new(Progress::new(to.len()));
    verify::verify(&subject(input), &to, &options, &progress)
        .await
        .map_err(|error| Failure::run(chain(&error)))
}
