//! `distributary put`.

mod input;
mod send;

use std::ffi::OsString;
use std::io::{BufReader, IsTerminal};
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use std::sync::Arc;

use distributary_core::clock::Clock;
use distributary_core::output::Trouble;
use distributary_core::text::chain;
use distributary_wire::hashkey;
use distributary_wire::types::{PutRecordsRequest, PutRecordsRequestEntry, PutRecordsResultEntry};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::cli::streams::Given;
use crate::connect::{Access, ConnectArgs};
use crate::failure::Failure;
use crate::logging::{self, LogFormat};
use crate::show;
use input::{BadRecord, Form, Keys};
use send::{PutRecords, SendError, Sender, Tally};

/// KiB of records read from standard input and not yet acknowledged: a record of the largest size and more.
const AHEAD_KIB: usize = 16 * 1024;
/// Records of the same.
const AHEAD: usize = 8192;

/// Flags of `put`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Records of one key stay in order: after a partial failure, what follows the failed record under its key is sent again, \
so a record may be there twice. Ends with 0 only if every record was acknowledged.")]
pub(crate) struct PutArgs {
    /// Name or ARN of the stream
    stream: String,
    /// The data, a record each; if there are none, each line of standard input is a record (all bytes but the newline)
    data: Vec<OsString>,
    /// Partition key of all records [default: a random one for each, which spreads them over the shards]
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
    /// Each record is its partition key, this text, and its data
    #[arg(long, value_name = "TEXT", conflicts_with = "key")]
    key_delimiter: Option<String>,
    /// Number from 0 to 2^128 - 1 that chooses the shard in place of the partition key
    #[arg(long, value_name = "NUMBER")]
    explicit_hash_key: Option<String>,
    /// The data are given as base64
    #[arg(long)]
    base64: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

impl PutArgs {
    fn form(&self, clock: &Clock) -> Result<Form, Failure> {
        let keys = match (&self.key, &self.key_delimiter) {
            (Some(key), _) => Keys::Fixed(key.clone()),
            (None, Some(delimiter)) if delimiter.is_empty() => {
                return Err(Failure::usage("--key-delimiter needs a text, such as ':'"));
            }
            (None, Some(delimiter)) => Keys::Before(delimiter.clone()),
            (None, None) => Keys::Random(clock.clone()),
        };
        if let Some(number) = &self.explicit_hash_key
            && hashkey::parse(number).is_none()
        {
            return Err(Failure::usage(format!(
                "--explicit-hash-key {number}: expected a whole number from 0 to 2^128 - 1"
            )));
        }
        let form = Form {
            keys,
            explicit_hash_key: self.explicit_hash_key.clone(),
            base64: self.base64,
        };
        if let Keys::Fixed(_) = form.keys {
            // A wrong key is one whatever the data.
            form.record(b"")
                .map_err(|error| Failure::usage(format!("--key: {error}")))?;
        }
        Ok(form)
    }
}

/// A stream, for [`Sender`].
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
        Ok(self
            .0
            .client
            .on(&self.0.stream, request)
            .await?
            .answer
            .records)
    }
}

/// Runs it.
pub(crate) async fn run(args: PutArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text, true);
    let access = Access::new(&args.connect)?;
    let form = args.form(&access.clock)?;
    let target = Target(Given::open(&access, &args.stream).await?);
    let mut sender = Sender::new(&target, &access.clock);
    let done = if args.data.is_empty() {
        from_input(&mut sender, form).await
    } else {
        let records = args.data.into_iter().zip(1u64..).map(|(data, number)| {
            form.record(&data.into_vec()).map_err(|error| {
                Failure::usage(format!("record {number} of the command line: {error}"))
            })
        });
        // All of them are looked at before any is sent.
        let records = records.collect::<Result<Vec<_>, _>>()?;
        from_arguments(&mut sender, records)
            .await
            .map_err(Stop::Send)
    };
    let said = summary(&args.stream, &sender.tally);
    match done {
        Ok(()) => {
            eprintln!("{said}");
            Ok(ExitCode::SUCCESS)
        }
        Err(stop) if sender.tally.records == 0 => Err(Failure::run(format!(
            "nothing was put into {}: {}",
            args.stream,
            chain(&stop)
        ))),
        Err(stop) => Err(Failure::run(format!("{said}, then: {}", chain(&stop)))),
    }
}

/// Why not everything was put.
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
        if !send::fits(&record, request.entries.len(), request.bytes) {
            sender.send(std::mem::take(&mut request).entries).await?;
        }
        request.push(record);
    }
    sender.send(request.entries).await
}

/// What goes into one request.
#[derive(Default)]
struct Request {
    entries: Vec<PutRecordsRequestEntry>,
    bytes: usize,
}

impl Request {
    fn push(&mut self, entry: PutRecordsRequestEntry) {
        self.bytes += send::size(&entry);
        self.entries.push(entry);
    }
}

/// A record that was read, and its share of what may be read ahead.
type Ahead = (PutRecordsRequestEntry, OwnedSemaphorePermit);

/// Puts each line of standard input: what is there goes at once, in requests as large as there is input for.
async fn from_input<P: PutRecords>(sender: &mut Sender<'_, P>, form: Form) -> Result<(), Stop> {
    if std::io::stdin().is_terminal() {
        eprintln!("reading records from the terminal, one a line; end with Ctrl-D");
    }
    let mut lines = read_ahead(form);
    let mut left_over: Option<Ahead> = None;
    let mut stop: Option<Stop> = None;
    loop {
        let mut request = Request::default();
        let mut permits = Vec::new();
        let mut item = match left_over.take() {
            Some(item) => Some(Ok(item)),
            None => lines.recv().await,
        };
        loop {
            match item {
                Some(Ok((entry, permit)))
                    if send::fits(&entry, request.entries.len(), request.bytes) =>
                {
                    request.push(entry);
                    permits.push(permit);
                }
                Some(Ok(item)) => {
                    left_over = Some(item);
                    break;
                }
                Some(Err(why)) => {
                    stop = Some(why);
                    break;
                }
                None => break,
            }
            item = lines.try_recv().ok();
        }
        let over = request.entries.is_empty();
        sender.send(request.entries).await?;
        match stop {
            Some(why) => return Err(why),
            None if over => return Ok(()),
            None => {}
        }
    }
}

/// Reads standard input in a thread of its own: such a read cannot be called off, and must not keep the program.
fn read_ahead(form: Form) -> mpsc::Receiver<Result<Ahead, Stop>> {
    let (send, receive) = mpsc::channel(AHEAD);
    let budget = Arc::new(Semaphore::new(AHEAD_KIB));
    let runtime = tokio::runtime::Handle::current();
    std::thread::spawn(move || {
        let mut from = BufReader::new(std::io::stdin().lock());
        for number in 1.. {
            let record = match input::line(&mut from) {
                Ok(None) => return,
                Ok(Some(line)) => line
                    .and_then(|line| form.record(&line))
                    .map_err(|source| Stop::Record { number, source }),
                Err(error) => Err(Stop::Input(error)),
            };
            let last = record.is_err();
            let item = record.and_then(|entry| {
                // At most 10 MiB, so it fits in a u32 and in the budget.
                let kib = u32::try_from(send::size(&entry) / 1024 + 1).unwrap_or(u32::MAX);
                let permit = runtime.block_on(Arc::clone(&budget).acquire_many_owned(kib));
                permit
                    .map(|permit| (entry, permit))
                    .map_err(|e| Stop::Input(std::io::Error::other(e)))
            });
            if send.blocking_send(item).is_err() || last {
                return;
            }
        }
    });
    receive
}
