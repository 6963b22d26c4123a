//! `distributary demo`.

mod producer;
mod scenario;
mod summary;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use distributary_adapters::leases::sqlite::SqliteStore;
use distributary_core::clock::Clock;
use distributary_core::engine::{Engine, FanOut, Order, OutputSpec, Settings, Start, Status};
use distributary_core::store::OutputId;
use distributary_kinesis::config::ConnectOptions;
use distributary_kinesis::output::{KinesisOutput, OutputOptions};
use distributary_local::Local;
use tokio::sync::watch;

use crate::cli::interrupt::interrupted;
use crate::cli::streams::Given;
use crate::config::Span;
use crate::connect::Access;
use crate::failure::Failure;
use crate::logging::{self, Level, LogFormat};
use crate::screen;
use crate::verify::{self, Progress, Report, Subject, Tolerance};
use crate::view::{Snapshot, View};
use producer::{Produced, Producer};
use scenario::Scenario;

/// The stream that is read.
const INPUT: &str = "input";
/// Shards of the input at the start; one is split during the demo.
const INPUT_SHARDS: u32 = 2;
/// Shards of each output.
const OUTPUT_SHARDS: u32 = 2;
/// The most outputs: each is a copy of the input in memory.
const OUTPUTS_MAX: u32 = 50;
/// The most records of the input times outputs, which stay in memory at about 100 bytes each.
const RECORDS_MAX: u64 = 20_000_000;
/// Time in which the outputs have to catch up after the last record.
const CATCH_UP: Duration = Duration::from_secs(60);
/// Time between two snapshots for the view.
const SNAPSHOT: Duration = Duration::from_millis(100);
/// Time in which the engine has to stop.
const SHUTDOWN: Duration = Duration::from_secs(10);
/// Exit code after Ctrl-C, as shells have it.
const INTERRUPTED: u8 = 130;

/// Flags of `demo`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Everything runs in this process: an embedded Kinesis with a stream `input` and its outputs, a \
producer, the fan-out, and the comparison of every output with the input. Nothing is left behind.

Exit code: 0 if every output has every record, in order; 1 if not.")]
pub(crate) struct DemoArgs {
    /// Time for which records are produced
    #[arg(long = "for", default_value = "10s", value_name = "TIME")]
    time: Span,
    /// Records per second
    #[arg(long, default_value_t = 1000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Number of outputs, named output1, output2, app-output-1, app-output-2 …
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(OUTPUTS_MAX)))]
    outputs: u32,
}

/// Runs `demo`.
pub(crate) async fn run(args: DemoArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text, Level::Warn);
    check_size(&args)?;
    let interrupted = interrupted().map_err(|error| Failure::from_error(&error))?;

    // The directory is deleted when this function ends, in every case.
    let dir = tempfile::tempdir()
        .map_err(|error| Failure::run(format!("cannot create a temporary directory: {error}")))?;
    tokio::select! {
        biased;
        () = interrupted => {
            screen::clear();
            Err(Failure::run("interrupted; nothing is left behind").with_code(INTERRUPTED))
        }
        complete = show(&args, dir.path()) => match complete? {
            true => Ok(ExitCode::SUCCESS),
            false => Ok(ExitCode::FAILURE),
        },
    }
}

fn check_size(args: &DemoArgs) -> Result<(), Failure> {
    let records = u64::from(args.rate) * args.time.0.as_secs().max(1);
    if records * u64::from(args.outputs) <= RECORDS_MAX {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "--rate times --for times --outputs is more than {RECORDS_MAX} records, which all stay in \
         memory; lower one of the three"
    )))
}

/// Shows the whole demo. Returns true if every output has every record, in order.
async fn show(args: &DemoArgs, dir: &Path) -> Result<bool, Failure> {
    let stage = Stage::new(args.outputs, dir).await?;
    summary::introduce(args, &stage.names);
    let mut scenario = stage.scenario(args.time.0);
    let producer = stage.producer(args);
    let (produced, status) = copy(&stage, producer, &mut scenario).await?;

    screen::say("\nComparing every output with the input …");
    let report = stage.compare().await?;
    let complete = report.same() && report.source_records() == produced.records;
    summary::conclude(&summary::Shown {
        produced,
        scenario: &scenario,
        status: &status,
        report: &report,
        complete,
    })?;
    Ok(complete)
}

/// Copies until every output has caught up, and shows the progress.
async fn copy(
    stage: &Stage<'_>,
    producer: Producer<'_>,
    scenario: &mut Scenario<'_>,
) -> Result<(Produced, Status), Failure> {
    let engine = stage.start().await?;
    let view = View::fit(LogFormat::Text);
    let access = &stage.access;
    let produced = copy_with_view(view, producer, scenario, &engine, access).await?;

    let status = engine
        .shutdown(SHUTDOWN)
        .await
        .map_err(|error| Failure::from_error(&error))?;
    view.end(&[Snapshot::running(status.clone())]);
    Ok((produced, status))
}

/// The streams of the demo.
struct Stage<'a> {
    local: Local,
    access: Access,
    /// The names of the outputs.
    names: Vec<String>,
    input: Given,
    outputs: Vec<Given>,
    /// Directory for temporary files.
    dir: &'a Path,
}

impl<'a> Stage<'a> {
    async fn new(outputs: u32, dir: &'a Path) -> Result<Self, Failure> {
        let local = Local::builder().build();
        let names: Vec<String> = (1..=outputs).map(output_name).collect();
        create_streams(&local, &names)?;
        let access = Access::over(Some(local.clone()), ConnectOptions::default())?;
        Ok(Self {
            local,
            input: Given::open(&access, INPUT).await?,
            outputs: open_all(&access, &names).await?,
            access,
            names,
            dir,
        })
    }

    fn scenario(&self, duration: Duration) -> Scenario<'_> {
        Scenario::new(
            &self.local,
            &self.input,
            &self.names,
            duration,
            self.access.clock.clone(),
        )
    }

    fn producer(&self, args: &DemoArgs) -> Producer<'_> {
        let clock = self.access.clock.clone();
        Producer::new(&self.input, clock, args.rate, args.time.0)
    }

    /// Starts the fan-out from the input to the outputs.
    async fn start(&self) -> Result<Engine, Failure> {
        let store = SqliteStore::open(&self.dir.join("demo.db"), "demo")
            .map_err(|error| Failure::from_error(&error))?;
        let fan_out = FanOut {
            name: "demo".to_owned(),
            source: self.input.source(),
            outputs: self.specs().await?,
            store: Arc::new(store),
            ownership: None,
            budget: None,
            clock: self.access.clock.clone(),
            settings: settings(),
        };
        Engine::start(fan_out)
            .await
            .map_err(|error| Failure::from_error(&error))
    }

    async fn specs(&self) -> Result<Vec<OutputSpec>, Failure> {
        let mut specs = Vec::with_capacity(self.outputs.len());
        for output in &self.outputs {
            let spec = spec(output).await?;
            specs.push(spec);
        }
        Ok(specs)
    }

    /// Compares every output with the input.
    async fn compare(&self) -> Result<Report, Failure> {
        let options = verify::Options {
            clock: self.access.clock.clone(),
            // The contract allows repeats after a lost response.
            tolerance: Tolerance {
                repeats: true,
                order: false,
            },
            examples: 3,
            dir: self.dir.to_owned(),
        };
        let from = subject(&self.input);
        let to: Vec<Subject> = self.outputs.iter().map(subject).collect();
        let progress = Arc::new(Progress::new(to.len()));
        verify::verify(&from, &to, &options, &progress)
            .await
            .map_err(|error| Failure::from_error(&error))
    }
}

fn subject(given: &Given) -> Subject {
    Subject {
        name: given.name.clone(),
        source: given.source(),
    }
}

fn settings() -> Settings {
    Settings {
        // The embedded Kinesis does not throttle and has no other readers, so waits can be short.
        idle_poll: Duration::from_millis(200),
        backoff_cap: Duration::from_secs(1),
        ..Settings::default()
    }
}

fn create_streams(local: &Local, outputs: &[String]) -> Result<(), Failure> {
    let outputs = outputs.iter().map(|name| (name.as_str(), OUTPUT_SHARDS));
    for (name, shards) in std::iter::once((INPUT, INPUT_SHARDS)).chain(outputs) {
        local
            .create_stream(name, shards)
            .map_err(|error| Failure::from_error(&error))?;
    }
    Ok(())
}

async fn open_all(access: &Access, names: &[String]) -> Result<Vec<Given>, Failure> {
    let mut all = Vec::with_capacity(names.len());
    for name in names {
        all.push(Given::open(access, name).await?);
    }
    Ok(all)
}

/// Produces, copies and shows the progress until every output has caught up.
async fn copy_with_view(
    view: View,
    producer: Producer<'_>,
    scenario: &mut Scenario<'_>,
    engine: &Engine,
    access: &Access,
) -> Result<Produced, Failure> {
    let (snapshots, watched) = watch::channel(Vec::new());
    tokio::select! {
        produced = produce_and_catch_up(producer, scenario, engine, access) => produced,
        ended = engine.ended() => Err(Failure::from_error(&ended)),
        // Neither of these ends by itself.
        never = publish(engine, &snapshots, &access.clock) => match never {},
        () = view.show(watched, access.clock.clone()) => {
            Err(Failure::run("the view ended; this is a bug, please report it"))
        }
    }
}

fn output_name(number: u32) -> String {
    match number {
        1 | 2 => format!("output{number}"),
        n => format!("app-output-{}", n - 2),
    }
}

async fn spec(given: &Given) -> Result<OutputSpec, Failure> {
    let output = KinesisOutput::new(
        given.client.clone(),
        given.stream.clone(),
        OutputOptions::default(),
    );
    output
        .check()
        .await
        .map_err(|error| Failure::from_error(&error))?;
    Ok(OutputSpec {
        id: OutputId::new(&given.name),
        output: Arc::new(output),
        place: None,
        order: Order::default(),
        start: Start::TrimHorizon,
        paused: false,
        dead_letter: None,
        pump: None,
    })
}

/// Produces while the scenario runs, then waits until every output has every record.
async fn produce_and_catch_up(
    producer: Producer<'_>,
    scenario: &mut Scenario<'_>,
    engine: &Engine,
    access: &Access,
) -> Result<Produced, Failure> {
    let produce = producer.run();
    tokio::pin!(produce);
    let produced = loop {
        tokio::select! {
            produced = &mut produce => break produced?,
            stepped = scenario.step(engine) => stepped?,
        }
    };

    scenario.release();
    let caught_up = catch_up(scenario, engine, produced.records);
    if access.clock.timeout(CATCH_UP, caught_up).await.is_none() {
        screen::say(&format!(
            "after {} s some outputs are still behind; comparing the records so far",
            CATCH_UP.as_secs()
        ));
    }
    Ok(produced)
}

/// Waits until every output has this number of records.
async fn catch_up(scenario: &mut Scenario<'_>, engine: &Engine, records: u64) {
    let is_behind = |status: &Status| {
        let mut outputs = status.outputs.iter();
        outputs.any(|output| output.counts.durable < records)
    };
    while is_behind(&engine.status()) {
        scenario.watch(engine).await;
    }
}

/// Takes snapshots for the view.
async fn publish(
    engine: &Engine,
    snapshots: &watch::Sender<Vec<Snapshot>>,
    clock: &Clock,
) -> std::convert::Infallible {
    loop {
        snapshots.send_replace(vec![Snapshot::running(engine.status())]);
        clock.sleep(SNAPSHOT).await;
    }
}
