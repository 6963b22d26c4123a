//! `distributary put`.

mod input;
mod send;

use std::ffi::OsString;
use std::io::{BufRead, BufReader, IsTerminal};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use std::sync::Arc;

use distributary_core::clock::Clock;
use distributary_core::output::Trouble;
use distributary_core::text::chain;
use distributary_wire::hashkey;
use distributary_wire::limits::RECORD_BYTES_MAX;
use distributary_wire::types::{PutRecordsRequest, PutRecordsRequestEntry, PutRecordsResultEntry};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::cli::streams::Given;
use crate::connect::{Access, ConnectArgs};
use crate::failure::Failure;
use crate::logging::{self, Level, LogFormat};
use crate::screen;
use crate::show;
use input::{BadRecord, Form, Keys};
use send::{PutRecords, SendError, Sender, Tally};

/// KiB of records read from standard input and not yet acknowledged. Room for a record of the
/// largest size.
const AHEAD_KIB: usize = 16 * 1024;
/// Records read from standard input and not yet acknowledged.
const AHEAD: usize = 8192;

/// Flags of `put`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Records of one key stay in order: after a partial failure, the records that follow the failed one \
under its key are sent again, so the stream may hold a record twice. The exit code is 0 only if \
every record was acknowledged.")]
pub(crate) struct PutArgs {
    /// Name or ARN of the stream
    stream: String,
    /// The data of one record each. Without data, each line of standard input is a record (all
    /// bytes but the newline)
    data: Vec<OsString>,
    /// Partition key of all records [default: a random key for each record, which spreads the
    /// records over the shards]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// The text between partition key and data in each record, such as a colon
    #[arg(long, value_name = "TEXT", conflicts_with = "key")]
    key_delimiter: Option<String>,
    /// Number from 0 to 2^128 - 1 that chooses the shard instead of the partition key
    #[arg(long, value_name = "NUMBER")]
    explicit_hash_key: Option<String>,
    /// The data is base64; the stream gets the decoded bytes
    #[arg(long)]
    base64: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl PutArgs {
    /// The form of the records, of `record_bytes` at most.
    fn form(&self, clock: &Clock, record_bytes: usize) -> Result<Form, Failure> {
        self.check_hash_key()?;
        let form = Form {
            keys: self.keys(clock)?,
            explicit_hash_key: self.explicit_hash_key.clone(),
            base64: self.base64,
            record_bytes,
        };
        if let Keys::Fixed(_) = form.keys {
            // A wrong key is wrong for any data.
            form.record(b"")
                .map_err(|error| Failure::usage(format!("--key: {error}")))?;
        }
        Ok(form)
    }

    fn keys(&self, clock: &Clock) -> Result<Keys, Failure> {
        if let Some(key) = &self.key {
            return Ok(Keys::Fixed(key.clone()));
        }

        match &self.key_delimiter {
            Some(delimiter) if delimiter.is_empty() => {
                Err(Failure::usage("--key-delimiter needs a text, such as ':'"))
            }
            Some(delimiter) => Ok(Keys::Before(delimiter.clone())),
            None => Ok(Keys::Random(clock.clone())),
        }
    }

    fn check_hash_key(&self) -> Result<(), Failure> {
        match &self.explicit_hash_key {
            Some(number) if hashkey::parse(number).is_none() => Err(Failure::usage(format!(
                "--explicit-hash-key {number}: expected a whole number from 0 to 2^128 - 1"
            ))),
            _ => Ok(()),
        }
    }
}

/// The stream that a [`Sender`] writes to.
struct Target(Given);

impl PutRecords for Target {
    async fn put(
        &self,
        entries: Vec<PutRecordsRequestEntry>,
    ) -> Result<Vec<PutRecordsResultEntry>, Trouble> {
        let request = PutRecordsRequest {
            records: Some(entries),
            ..Default::default()
        };
        let Given { client, stream, .. } = &self.0;
        Ok(client.on(stream, request).await?.answer.records)
    }
}

/// Runs `put`.
pub(crate) async fn run(args: PutArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text, Level::Warn);
    let access = Access::new(&args.connect)?;
    // Flags are wrong for any stream, so that no server is asked before.
    args.form(&access.clock, RECORD_BYTES_MAX)?;
    let given = Given::open(&access, &args.stream).await?;
    let form = args.form(&access.clock, record_bytes(&given).await)?;
    let target = Target(given);

    let mut sender = Sender::new(&target, &access.clock);
    let done = if args.data.is_empty() {
        from_input(&mut sender, form).await
    } else {
        given_records(&mut sender, &form, args.data).await?
    };
    report(&args.stream, &sender.tally, done)
}

/// Puts the records of the command line. Every record is checked before any is sent.
async fn given_records(
    sender: &mut Sender<'_, Target>,
    form: &Form,
    data: Vec<OsString>,
) -> Result<Result<(), Stop>, Failure> {
    let records = records(form, data)?;
    let sent = from_arguments(sender, records).await;
    Ok(sent.map_err(Stop::Send))
}

/// Bytes of a record that the stream takes; the most of any stream if the stream cannot be
/// described, as without that permission.
async fn record_bytes(given: &Given) -> usize {
    let described = given.client.describe(&given.stream).await;
    described.map_or(RECORD_BYTES_MAX, |described| described.answer.record_bytes)
}

/// Prints the summary, or fails with it.
fn report(stream: &str, tally: &Tally, done: Result<(), Stop>) -> Result<ExitCode, Failure> {
    let summary = summary(stream, tally);
    match done {
        Ok(()) => {
            screen::say(&summary);
            Ok(ExitCode::SUCCESS)
        }
        Err(stop) if tally.records == 0 => Err(Failure::run(format!(
            "nothing was put into {stream}: {}",
            chain(&stop)
        ))),
        Err(stop) => Err(Failure::run(format!("{summary}, then: {}", chain(&stop)))),
    }
}

/// The records of the command line.
fn records(form: &Form, data: Vec<OsString>) -> Result<Vec<PutRecordsRequestEntry>, Failure> {
    let record = |(data, number): (OsString, u64)| {
        form.record(&data.into_vec()).map_err(|error| {
            Failure::usage(format!("record {number} of the command line: {error}"))
        })
    };
    data.into_iter().zip(1..).map(record).collect()
}

/// The reason why some records were not written.
#[derive(Debug, thiserror::Error)]
enum Stop {
    #[error(transparent)]
    Send(#[from] SendError),
    #[error("line {number}")]
    Record {
        number: u64,
        #[source]
        source: BadRecord,
    },
    #[error("standard input cannot be read")]
    Input(#[source] std::io::Error),
}

fn summary(stream: &str, tally: &Tally) -> String {
    let mut text = format!(
        "put {} ({}) into {stream}",
        show::records(tally.records),
        show::bytes(tally.bytes)
    );
    if tally.repeated > 0 {
        text.push_str(&format!(
            ", {} of them again to keep the order of their keys",
            show::count(tally.repeated)
        ));
    }
    if let (1, Some((shard, sequence))) = (tally.records, &tally.last) {
        text.push_str(&format!(": {shard}, {sequence}"));
    }
    text
}

async fn from_arguments<P: PutRecords>(
    sender: &mut Sender<'_, P>,
    records: Vec<PutRecordsRequestEntry>,
) -> Result<(), SendError> {
    let mut request = Request::default();
    for record in records {
        if !request.has_room(&record) {
            sender.send(std::mem::take(&mut request).entries).await?;
        }
        request.push(record);
    }
    sender.send(request.entries).await
}

/// The records of one request.
#[derive(Default)]
struct Request {
    entries: Vec<PutRecordsRequestEntry>,
    bytes: usize,
}

impl Request {
    fn has_room(&self, entry: &PutRecordsRequestEntry) -> bool {
        send::fits(entry, self.entries.len(), self.bytes)
    }

    fn push(&mut self, entry: PutRecordsRequestEntry) {
        self.bytes += send::size(&entry);
        self.entries.push(entry);
    }
}

/// A record that was read, and its permit to be held in memory.
type Ahead = (PutRecordsRequestEntry, OwnedSemaphorePermit);

/// Puts each line of standard input. Lines are sent as soon as they are read; a request holds as
/// many as are waiting.
async fn from_input<P: PutRecords>(sender: &mut Sender<'_, P>, form: Form) -> Result<(), Stop> {
    if std::io::stdin().is_terminal() {
        screen::say("reading records from the terminal, one per line; end with Ctrl-D");
    }
    let mut lines = Lines {
        lines: read_ahead(form),
        next: None,
    };
    loop {
        let (request, permits, end) = lines.request().await;
        sender.send(request.entries).await?;
        drop(permits);
        match end {
            None => {}
            Some(End::Input) => return Ok(()),
            Some(End::Stop(stop)) => return Err(stop),
        }
    }
}

/// The records of standard input.
struct Lines {
    lines: mpsc::Receiver<Result<Ahead, Stop>>,
    /// A record that did not fit into the last request.
    next: Option<Ahead>,
}

/// The reason why no further request follows.
enum End {
    /// Standard input is at its end.
    Input,
    Stop(Stop),
}

impl Lines {
    /// Waits for the first record of a request; `None` at the end.
    async fn first(&mut self) -> Option<Result<Ahead, Stop>> {
        match self.next.take() {
            Some(left_over) => Some(Ok(left_over)),
            None => self.lines.recv().await,
        }
    }

    /// The next request: waits for one record, and takes the others that are waiting and fit.
    async fn request(&mut self) -> (Request, Vec<OwnedSemaphorePermit>, Option<End>) {
        let mut request = Request::default();
        let mut permits = Vec::new();
        let mut item = self.first().await;
        if item.is_none() {
            return (request, permits, Some(End::Input));
        }

        while let Some(next) = item {
            match next {
                Ok((entry, permit)) if request.has_room(&entry) => {
                    request.push(entry);
                    permits.push(permit);
                }
                Ok(left_over) => {
                    self.next = Some(left_over);
                    break;
                }
                Err(stop) => return (request, permits, Some(End::Stop(stop))),
            }
            item = self.lines.try_recv().ok();
        }
        (request, permits, None)
    }
}

/// Reads standard input in a thread of its own: a blocking read cannot be cancelled, and must not
/// keep the process alive.
fn read_ahead(form: Form) -> mpsc::Receiver<Result<Ahead, Stop>> {
    let (send, receive) = mpsc::channel(AHEAD);
    let budget = Arc::new(Semaphore::new(AHEAD_KIB));
    let runtime = Handle::current();

    std::thread::spawn(move || {
        let mut from = BufReader::new(std::io::stdin().lock());
        for number in 1.. {
            let Some(record) = next_record(&mut from, &form, number) else {
                return;
            };
            let item = record.and_then(|entry| permitted(entry, &budget, &runtime));
            let is_last = item.is_err();
            if send.blocking_send(item).is_err() || is_last {
                return;
            }
        }
    });
    receive
}

/// The record, once there is room for it.
fn permitted(
    entry: PutRecordsRequestEntry,
    budget: &Arc<Semaphore>,
    runtime: &Handle,
) -> Result<Ahead, Stop> {
    // At most 10 MiB, so the size fits in a u32 and in the budget.
    let kib = send::size(&entry) / 1024 + 1;
    let kib = u32::try_from(kib).unwrap_or(u32::MAX);
    let room = Arc::clone(budget).acquire_many_owned(kib);
    match runtime.block_on(room) {
        Ok(permit) => Ok((entry, permit)),
        Err(closed) => Err(Stop::Input(std::io::Error::other(closed))),
    }
}

/// The record of the next line, which has this number; `None` at the end.
fn next_record(
    from: &mut impl BufRead,
    form: &Form,
    number: u64,
) -> Option<Result<PutRecordsRequestEntry, Stop>> {
    match input::line(from) {
        Ok(None) => None,
        Ok(Some(line)) => Some(
            line.and_then(|line| form.record(&line))
                .map_err(|source| Stop::Record { number, source }),
        ),
        Err(error) => Some(Err(Stop::Input(error))),
    }
}
