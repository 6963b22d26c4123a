//! `distributary tail`.

mod print;

use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;
use distributary_core::batch::{Batch, ShardId};
use distributary_core::checkpoint::Position;
use distributary_core::engine::Start;
use distributary_core::output::Trouble;
use distributary_core::source::ServerTime;
use distributary_core::text::chain;
use distributary_kinesis::retry::with_retries;
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::cli::interrupt::interrupted;
use crate::cli::streams::Given;
use crate::config::StartAt;
use crate::connect::{Access, ConnectArgs};
use crate::failure::Failure;
use crate::logging::{self, Level, LogFormat};
use crate::screen;
use crate::walk::{Event, Found, RECORDS_PER_READ, RESPONSES, ShardOrder, Walk, WalkError};

/// Events between reading and printing.
const AHEAD: usize = 4;
/// Bytes of output that are collected before they are written, while more records are waiting.
const OUTPUT_BUFFER: usize = 64 * 1024;

/// The form in which records are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Time, number of the shard, key and data; characters that a terminal can't show are escaped
    #[default]
    Text,
    /// One JSON object per line; data that is not UTF-8 as base64
    Json,
    /// The data, byte for byte, and a newline
    Raw,
}

/// Flags of `tail`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shards are read at the same time, each after its parents, so the records of a key are printed in \
order. Stop with Ctrl-C, or by closing the pipe (`| head`); the exit code is then 0.")]
pub(crate) struct TailArgs {
    /// Name or ARN of the stream
    stream: String,
    /// Where to start: trim-horizon (the oldest record), latest (new records only), or a time
    /// such as 2026-01-31T00:00:00Z or -1h
    #[arg(
        long,
        default_value = "trim-horizon",
        value_name = "WHERE",
        allow_hyphen_values = true
    )]
    start: StartAt,
    /// Stop after this many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// Stop when every record that the stream holds now is printed [default: wait for more]
    #[arg(long)]
    until_caught_up: bool,
    /// How to print records
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs `tail`.
pub(crate) async fn run(args: TailArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text, Level::Warn);
    let access = Access::new(&args.connect)?;
    let given = Given::open(&access, &args.stream).await?;
    let walk = walk(&args, &access, &given).await?;
    let interrupted = interrupted().map_err(|error| Failure::from_error(&error))?;
    tokio::select! {
        biased;
        () = interrupted => Ok(ExitCode::SUCCESS),
        done = read_and_print(walk, &args) => done,
        () = output_closed() => Ok(ExitCode::SUCCESS),
    }
}

async fn read_and_print(walk: Walk, args: &TailArgs) -> Result<ExitCode, Failure> {
    let (events, receive) = mpsc::channel(AHEAD);
    let (report, printed) = oneshot::channel();
    let format = args.format;
    let limit = args.limit.unwrap_or(u64::MAX);
    // A thread of its own: a write to a pager can block for ever, and must not keep the process
    // alive.
    std::thread::spawn(move || report.send(print_all(receive, format, limit)));

    let walked = read(walk, events).await;
    outcome(walked, printed.await)
}

/// The end of the command once reading and printing have ended.
fn outcome(
    walked: Result<(), WalkError>,
    printed: Result<io::Result<()>, oneshot::error::RecvError>,
) -> Result<ExitCode, Failure> {
    match printed {
        Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
            return Err(Failure::run(format!("cannot print: {error}")));
        }
        Ok(_) => {}
        // The thread reports unless it panicked, and a panic is printed by itself.
        Err(_) => {
            return Err(Failure::run(
                "printing failed; this is a bug, please report it",
            ));
        }
    }
    walked.map_err(|error| Failure::from_error(&error))?;
    Ok(ExitCode::SUCCESS)
}

/// The walk through the stream that the flags ask for. Fails if there is no such stream.
async fn walk(args: &TailArgs, access: &Access, given: &Given) -> Result<Walk, Failure> {
    let source = given.source();
    let facts = with_retries(&access.clock, || source.facts())
        .await
        .map_err(|trouble| unreadable(&args.stream, &trouble))?;

    Ok(Walk {
        stream: args.stream.clone(),
        source,
        clock: access.clock.clone(),
        order: ShardOrder::ParentsFirst,
        start: position(args.start.0, facts.time),
        until: args.until_caught_up.then_some(facts.time.latest),
        records_per_read: records_per_read(args.limit),
        responses: Arc::new(Semaphore::new(RESPONSES)),
    })
}

fn unreadable(stream: &str, trouble: &Trouble) -> Failure {
    Failure::run(format!("cannot read {stream}: {}", chain(trouble)))
}

fn position(start: Start, now: ServerTime) -> Position {
    match start {
        Start::TrimHorizon => Position::TrimHorizon,
        Start::Latest => Position::At(now.earliest),
        Start::At(at) => Position::At(at),
    }
}

/// Asks for no more records than the limit.
fn records_per_read(limit: Option<u64>) -> u32 {
    let records = limit.and_then(|limit| u32::try_from(limit).ok());
    match records {
        Some(records) => records.clamp(1, RECORDS_PER_READ),
        None => RECORDS_PER_READ,
    }
}

async fn read(walk: Walk, events: mpsc::Sender<Event>) -> Result<(), WalkError> {
    let shards = walk.shards().await?;
    walk.run(shards, events).await
}

/// Prints until `limit` records are printed or the walk has ended.
fn print_all(mut events: mpsc::Receiver<Event>, format: Format, limit: u64) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(OUTPUT_BUFFER, io::stdout().lock());
    let mut left = limit;
    while left > 0 {
        let Some(event) = next_event(&mut events, &mut out)? else {
            break;
        };

        match event.found {
            Found::Records(batch, _permit) => {
                left -= print_batch(&mut out, format, &event.shard, &batch, left)?;
            }
            Found::Gap => say_gap(&event.shard),
            Found::Nothing | Found::Closed => {}
        }
    }
    out.flush()
}

fn say_gap(shard: &ShardId) {
    screen::say(&format!(
        "{shard}: the stream's retention deleted records before they could be read"
    ));
}

/// The next event. Prints all that is buffered before waiting for the event.
fn next_event(
    events: &mut mpsc::Receiver<Event>,
    out: &mut impl Write,
) -> io::Result<Option<Event>> {
    match events.try_recv() {
        Ok(event) => Ok(Some(event)),
        Err(_) => {
            out.flush()?;
            Ok(events.blocking_recv())
        }
    }
}

/// Prints the first records of `batch`, at most `limit`. Returns how many.
fn print_batch(
    out: &mut impl Write,
    format: Format,
    shard: &ShardId,
    batch: &Batch,
    limit: u64,
) -> io::Result<u64> {
    let mut printed = 0;
    for record in batch.iter() {
        if printed == limit {
            break;
        }
        print::print(out, format, shard, &record)?;
        printed += 1;
    }
    Ok(printed)
}

/// Completes when the reading end of standard output is closed, also while there is nothing to
/// print.
async fn output_closed() {
    // The pipe is only watched: its mode stays as it is for the thread that prints.
    let watched = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .and_then(pipe::Sender::from_owned_fd_unchecked);

    // A file cannot be watched, and has no reader that could leave.
    if let Ok(out) = watched
        && out.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}
