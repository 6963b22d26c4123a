//! `distributary verify`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use distributary_core::clock::Clock;
use distributary_core::text::chain;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::streams::Given;
use crate::connect::{Access, ConnectArgs};
use crate::failure::Failure;
use crate::logging::{self, LogFormat};
use crate::show;
use crate::verify::{Options, Progress, Report, Subject, Tolerance, verify};

/// Exit code if the streams differ.
const DIFFERENT: u8 = 1;
/// Exit code if they could not be compared.
const NOT_COMPARED: u8 = 3;
/// How often the progress bar is drawn.
const DRAW: Duration = Duration::from_millis(100);

/// How the result is printed.
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
Compares what the streams hold now, as multisets of partition key and data; equal records are legitimate. Per key, a \
record is out of order if one comes after it that comes before it in the source; of a record that is repeated, its last \
occurrence counts. Let a copy that is still running catch up first: what it has not copied yet is missing. Shards are read as fast as they allow, which slows \
their other readers meanwhile.

Memory: up to 64 MiB of fingerprints while reading, 64 MiB more while comparing, and eight answers of at most 10 MiB; the \
rest goes to temporary files, about 110 bytes a record.

Exit code: 0 the same, 1 different, 2 wrong usage, 3 could not compare.")]
pub(crate) struct VerifyArgs {
    /// The source: name or ARN
    #[arg(long, value_name = "STREAM")]
    from: String,
    /// The copies: names or ARNs
    #[arg(long, value_name = "STREAM", required = true, num_args = 1..)]
    to: Vec<String>,
    /// Repeated records are no difference (a copy after a failure has them)
    #[arg(long)]
    allow_repeats: bool,
    /// The order of records is no difference
    #[arg(long)]
    ignore_order: bool,
    /// Examples shown of each kind of difference
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

/// Runs it.
pub(crate) async fn run(args: VerifyArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text, true);
    let access = Access::new(&args.connect)?;
    if let Some(same) = args.to.iter().find(|name| **name == args.from) {
        return Err(Failure::usage(format!(
            "{same} is given as the source and as a copy of it"
        )));
    }
    let from = subject(&access, &args.from).await?;
    let mut to = Vec::with_capacity(args.to.len());
    for name in &args.to {
        to.push(subject(&access, name).await?);
    }
    let options = Options {
        clock: access.clock.clone(),
        tolerance: Tolerance {
            repeats: args.allow_repeats,
            order: args.ignore_order,
        },
        examples: args.examples,
        dir: args.temp_dir.unwrap_or_else(std::env::temp_dir),
    };
    let report = with_bar(&from, &to, &options)
        .await
        .map_err(|error| Failure::run(chain(&error)).with_code(NOT_COMPARED))?;
    match args.format {
        Format::Text => print!("{}", text(&report)),
        Format::Json => println!("{}", report.json()),
    }
    Ok(if report.same() {
        ExitCode::SUCCESS
    } else {
        ExitCode::from(DIFFERENT)
    })
}

async fn subject(access: &Access, name: &str) -> Result<Subject, Failure> {
    let given = Given::open(access, name).await?;
    Ok(Subject {
        source: given.source(),
        name: given.name,
    })
}

/// The whole result for people.
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
    // Draws nothing if stderr is no terminal.
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
