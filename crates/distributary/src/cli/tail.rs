//! `distributary tail`.

mod follow;
mod print;

use std::io::{self, BufWriter, Write};
use std::os::fd::AsFd;
use std::process::ExitCode;

use clap::ValueEnum;
use distributary_core::checkpoint::Position;
use distributary_core::engine::Start;
use distributary_core::text::chain;
use tokio::io::Interest;
use tokio::net::unix::pipe;
use tokio::sync::{mpsc, oneshot};

use crate::cli::interrupt::interrupted;
use crate::cli::streams::Given;
use crate::config::StartAt;
use crate::connect::{Access, ConnectArgs};
use crate::failure::Failure;
use crate::logging::{self, LogFormat};
use follow::{Event, Follow};

/// Batches between reading and printing.
const AHEAD: usize = 4;
/// Records that one read asks for at most.
const CREDIT: u32 = 10_000;
/// Bytes of lines that are collected before they are written, unless nothing more has been read.
const LINES: usize = 64 * 1024;

/// How records are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Time, number of the shard, key and data; what no terminal can show is escaped
    #[default]
    Text,
    /// A JSON object a line; data that are not UTF-8 as base64
    Json,
    /// The data, byte for byte, and a newline
    Raw,
}

/// Flags of `tail`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Shards are read at the same time, each after its parents: records of a key come in order. Ctrl-C ends it, and so does \
the end of what reads it (`| head`), with exit code 0.")]
pub(crate) struct TailArgs {
    /// Name or ARN of the stream
    stream: String,
    /// Where to begin: trim-horizon (the oldest record), latest (what comes from now on), or a time (RFC 3339)
    #[arg(long, default_value = "trim-horizon", value_name = "WHERE")]
    start: StartAt,
    /// End after so many records
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// End when everything that the stream holds now is printed [default: wait for more]
    #[arg(long)]
    until_caught_up: bool,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs it.
pub(crate) async fn run(args: TailArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text, true);
    let access = Access::new(&args.connect)?;
    let given = Given::open(&access, &args.stream).await?;
    let source = given.source();
    let cannot = |error: &dyn std::error::Error| {
        Failure::run(format!("cannot read {}: {error}", args.stream))
    };
    // Also tells at once if there is no such stream.
    let now = source
        .facts()
        .await
        .map_err(|trouble| cannot(&trouble))?
        .time;
    let follow = Follow {
        stream: args.stream.clone(),
        source,
        clock: access.clock.clone(),
        start: match args.start.0 {
            Start::TrimHorizon => Position::TrimHorizon,
            Start::Latest => Position::At(now.earliest),
            Start::At(at) => Position::At(at),
        },
        until: args.until_caught_up.then_some(now.latest),
        credit: args
            .limit
            .and_then(|n| u32::try_from(n).ok())
            .map_or(CREDIT, |n| n.clamp(1, CREDIT)),
    };
    let interrupted = interrupted().map_err(|error| Failure::from_error(&error))?;
    let (send, receive) = mpsc::channel(AHEAD);
    let (tell, told) = oneshot::channel();
    let (format, limit) = (args.format, args.limit.unwrap_or(u64::MAX));
    // A thread of its own: a write may wait for ever (a pager), and must not keep the program.
    std::thread::spawn(move || tell.send(print_all(receive, format, limit)));
    let printed = async {
        let followed = follow.run(send).await;
        (followed, told.await)
    };
    tokio::select! {
        biased;
        () = interrupted => Ok(ExitCode::SUCCESS),
        (followed, printed) = printed => {
            match printed {
                Ok(Err(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                    return Err(Failure::run(format!("cannot print: {error}")));
                }
                // The thread says how it ended unless it panicked, and then the panic is on stderr.
                Err(_) => return Err(Failure::run("printing broke; this is a bug, please report it")),
                Ok(_) => {}
            }
            followed.map_err(|error| Failure::run(chain(&error)))?;
            Ok(ExitCode::SUCCESS)
        }
        () = unread() => Ok(ExitCode::SUCCESS),
    }
}

/// Prints until `limit` records are printed or no more come.
fn print_all(mut events: mpsc::Receiver<Event>, format: Format, limit: u64) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(LINES, io::stdout().lock());
    let mut left = limit;
    while left > 0 {
        let event = match events.try_recv() {
            Ok(event) => event,
            Err(_) => {
                out.flush()?;
                let Some(event) = events.blocking_recv() else {
                    break;
                };
                event
            }
        };
        match event {
            Event::Records(shard, batch, _permit) => {
                for record in batch.iter() {
                    if left == 0 {
                        break;
                    }
                    left -= 1;
                    print::print(&mut out, format, &shard, &record)?;
                }
            }
            Event::Gap(shard) => {
                eprintln!(
                    "{shard}: the stream's retention deleted records before they could be read"
                );
            }
        }
    }
    out.flush()
}

/// Completes when nobody reads standard output any more, also while there is nothing to print.
async fn unread() {
    // Only watched, never written to: it stays as it is for the thread that prints.
    let watched = io::stdout()
        .as_fd()
        .try_clone_to_owned()
        .and_then(pipe::Sender::from_owned_fd_unchecked);
    // What cannot be watched (a file) is never left by its reader.
    if let Ok(out) = watched
        && out.ready(Interest::ERROR).await.is_ok()
    {
        return;
    }
    std::future::pending::<()>().await;
}
