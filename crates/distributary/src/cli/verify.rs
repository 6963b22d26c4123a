//! `distributary verify`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use distributary_adapters::line_files::LineFiles;
use distributary_core::clock::Clock;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::streams::Given;
use crate::connect::{Access, ConnectArgs};
use crate::failure::Failure;
use crate::logging::{self, Level, LogFormat};
use crate::screen;
use crate::show;
use crate::verify::{Options, Progress, Report, Subject, Tolerance, verify};

/// Exit code if the streams differ.
const DIFFERENT: u8 = 1;
/// Exit code if the comparison failed.
const NOT_COMPARED: u8 = 3;
/// Time between two drawings of the progress bar.
const DRAW: Duration = Duration::from_millis(100);

/// The form of the result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A table and examples
    #[default]
    Text,
    /// One JSON object
    Json,
}

/// Flags of `verify`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Compares the present contents of the streams, as multisets of partition key and data; equal \
records are legitimate. Within a key, a record is out of order if a later record of the copy comes \
before the record in the source; of repeated records, the last occurrence counts. Let a running \
copy catch up first: records that are not copied yet are missing. Shards are read as fast as they \
allow, which slows their other readers during the comparison.

Memory: up to 64 MiB of fingerprints while reading, 64 MiB more while comparing, and eight \
responses of at most 10 MiB; the other fingerprints go to temporary files, about 110 bytes per \
record.

Exit code: 0 same, 1 different, 2 wrong usage, 3 comparison failed.")]
pub(crate) struct VerifyArgs {
    /// Name or ARN of the source
    #[arg(long, value_name = "STREAM")]
    from: String,
    /// Copies: names or ARNs of streams, or file:PATH for the lines of an output of kind file
    #[arg(long, value_name = "COPY", required = true, num_args = 1..)]
    to: Vec<String>,
    /// Do not count repeated records, which a copy can have after a failure
    #[arg(long)]
    allow_repeats: bool,
    /// Do not count records that are out of order
    #[arg(long)]
    ignore_order: bool,
    /// Number of examples of each kind of difference
    #[arg(long, value_name = "N", default_value_t = 5)]
    examples: usize,
    /// How to print the result
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Directory for temporary files [default: the system's]
    #[arg(long, value_name = "DIR")]
    temp_dir: Option<PathBuf>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs `verify`.
pub(crate) async fn run(args: VerifyArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text, Level::Warn);
    let access = Access::new(&args.connect)?;
    let (from, to) = subjects(&access, &args).await?;
    let options = options(&args, access.clock);
    let report = with_bar(&from, &to, &options)
        .await
        .map_err(|error| Failure::from_error(&error).with_code(NOT_COMPARED))?;

    match args.format {
        Format::Text => screen::print(&text(&report))?,
        Format::Json => screen::print(&format!("{}\n", report.json()))?,
    }
    if report.same() {
        Ok(ExitCode::SUCCESS)
    } else {
        Ok(ExitCode::from(DIFFERENT))
    }
}

/// The source and its copies.
async fn subjects(access: &Access, args: &VerifyArgs) -> Result<(Subject, Vec<Subject>), Failure> {
    if let Some(same) = args.to.iter().find(|name| **name == args.from) {
        return Err(Failure::usage(format!(
            "{same} is given as the source and as a copy of it"
        )));
    }

    let from = subject(access, &args.from).await?;
    let mut to = Vec::with_capacity(args.to.len());
    for name in &args.to {
        let copy = subject(access, name).await?;
        to.push(copy);
    }
    Ok((from, to))
}

fn options(args: &VerifyArgs, clock: Clock) -> Options {
    Options {
        clock,
        tolerance: Tolerance {
            repeats: args.allow_repeats,
            order: args.ignore_order,
        },
        examples: args.examples,
        dir: args.temp_dir.clone().unwrap_or_else(std::env::temp_dir),
    }
}

async fn subject(access: &Access, name: &str) -> Result<Subject, Failure> {
    if let Some(path) = name.strip_prefix("file:") {
        let files = LineFiles::new(path.into(), access.clock.clone());
        return Ok(Subject {
            source: Arc::new(files),
            name: name.to_owned(),
        });
    }

    let given = Given::open(access, name).await?;
    Ok(Subject {
        source: given.source(),
        name: given.name,
    })
}

/// The result for people.
fn text(report: &Report) -> String {
    let verdict = match (report.same(), report.copies.len()) {
        (true, 1) => "The copy is the same as the source.".to_owned(),
        (true, n) => format!("All {n} copies are the same as the source."),
        (false, _) => {
            let names: Vec<&str> = report.different().collect();
            format!("Different: {}.", names.join(", "))
        }
    };
    format!("{}\n{verdict}\n", report.text())
}

/// Compares, with a progress bar if stderr is a terminal.
async fn with_bar(
    from: &Subject,
    to: &[Subject],
    options: &Options,
) -> Result<Report, crate::verify::ReadError> {
    let progress = Arc::new(Progress::new(to.len()));
    // Draws nothing if stderr is not a terminal.
    let bar = ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{bar:30} {percent:>3}%  {msg}") {
        bar.set_style(style);
    }
    tokio::select! {
        report = verify(from, to, options, &progress) => {
            bar.finish_and_clear();
            report
        }
        never = draw(&bar, &progress, &options.clock) => match never {},
    }
}

async fn draw(bar: &ProgressBar, progress: &Progress, clock: &Clock) -> std::convert::Infallible {
    loop {
        let (records, bytes) = progress.read();
        bar.set_message(format!(
            "{} read, {}",
            show::records(records),
            show::bytes(bytes)
        ));
        bar.set_position(progress.thousandths());
        clock.sleep(DRAW).await;
    }
}
