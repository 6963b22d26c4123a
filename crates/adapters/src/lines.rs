//! Records as lines of text, and outputs that write them: shared by the kinds `file` and `stdout`.
//!
//! A line is written by one thread per output, in the order in which lanes hand over their chunks.
//! The thread takes all waiting chunks together, so that one flush makes the records of many lanes
//! durable.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::{Batch, Origin};
use distributary_core::clock::Clock;
use distributary_core::output::{
    Chunk, EncodingKey, KeepsOrder, Outcome, Output, Picks, Profile, Refusal, RequestLimits,
    Trouble, TroubleKind, Verdict,
};
use distributary_core::record::Record;
use serde::{Deserialize, Deserializer, de};
use tokio::sync::{mpsc, oneshot};

use crate::formats::{self, Format};
use crate::keys::{Absent, Form, Key};
use crate::values;

/// Records in one chunk at most.
const CHUNK_RECORDS: usize = 1_000;
/// Bytes of data and keys in one chunk at most, but for a single larger record.
const CHUNK_BYTES: usize = 1 << 20;
/// Chunks that are written before one flush at most.
const GROUP: usize = 64;
/// Upper bound of the bytes of a line beside key and data: names, the source's ARN, the shard,
/// numbers.
const AROUND_RECORD: usize = 1_024;
/// A character of a key may be written as six (`\u001f`).
const ESCAPED: usize = 6;

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LineFormat {
    /// A record of a Lambda function's Kinesis event, as JSON; data in base64.
    #[default]
    Record,
    /// The data and a newline.
    Raw,
}

const FORMATS: &[(&str, LineFormat)] = &[("record", LineFormat::Record), ("raw", LineFormat::Raw)];

/// The key `format`.
pub(crate) const FORMAT: Key = Key {
    name: "format",
    form: Form::Choice(&["record", "raw"]),
    absent: Absent::Default("record"),
    help: "A line for each record: record (JSON, as in a Lambda function's Kinesis event, with \
           partition key, sequence number, shard, arrival time and the data in base64) or raw (the \
           data as they are, and a newline)",
    example: "raw",
};

/// Reads a [`LineFormat`], for serde.
pub(crate) fn format<'de, D: Deserializer<'de>>(deserializer: D) -> Result<LineFormat, D::Error> {
    let text = String::deserialize(deserializer)?;
    values::word(&text, FORMATS).map_err(de::Error::custom)
}

/// The encoded lines of a chunk.
#[derive(Debug)]
struct Lines {
    text: Arc<Vec<u8>>,
    /// Places in the chunk's picks of records whose data are not base64, although the source gave
    /// them as base64.
    refused: Vec<usize>,
}

fn encode(batch: &Batch, picks: &Picks, format: LineFormat) -> Lines {
    let records = || picks.iter().map(|i| batch.record(i));
    let size = records().map(|record| bound(1, record.data.len() + record.key.map_or(0, str::len)));
    let mut text = Vec::with_capacity(size.sum());
    let mut refused = Vec::new();

    for (place, record) in records().enumerate() {
        let start = text.len();
        if add_line(&mut text, batch.origin(), &record, format).is_none() {
            text.truncate(start);
            refused.push(place);
        }
    }
    Lines {
        text: Arc::new(text),
        refused,
    }
}

/// Upper bound of the bytes of `records` lines whose keys and data take `bytes` bytes in the batch.
fn bound(records: usize, bytes: usize) -> usize {
    let base64 = bytes.div_ceil(3) * 4 + records * 4;
    base64 + bytes.min(records * 1_024) * ESCAPED + records * AROUND_RECORD
}

/// Appends the line of `record`; `None` if the data cannot be read.
fn add_line(
    text: &mut Vec<u8>,
    origin: &Origin,
    record: &Record<'_>,
    format: LineFormat,
) -> Option<()> {
    let format = match format {
        LineFormat::Raw => Format::Raw,
        LineFormat::Record => Format::Record,
    };
    formats::add(text, origin, record, format).ok()?;
    text.push(b'\n');
    Some(())
}

/// A place for lines, used by one thread.
pub(crate) trait Sink: Send + 'static {
    /// Writes all of `texts` in order and makes them durable, or fails.
    fn write(&mut self, texts: &[Arc<Vec<u8>>]) -> Result<(), WriteError>;
}

/// The reason why lines were not written.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// Nothing of them is there.
    Nothing(io::Error),
    /// A part of them may be there.
    Unknown(io::Error),
}

/// An output that writes lines to a [`Sink`].
pub(crate) struct LineOutput {
    format: LineFormat,
    clock: Clock,
    jobs: mpsc::UnboundedSender<Job>,
}

/// A chunk on its way to the thread. Each lane has one request in flight, which bounds their
/// number.
struct Job {
    text: Arc<Vec<u8>>,
    answer: oneshot::Sender<Outcome>,
}

impl LineOutput {
    /// Starts the thread, which ends with the output. `name` is for messages.
    pub(crate) fn start(
        name: String,
        format: LineFormat,
        clock: Clock,
        mut sink: impl Sink,
    ) -> io::Result<Self> {
        let (jobs, mut waiting) = mpsc::unbounded_channel::<Job>();
        thread::Builder::new()
            .name("lines".to_owned())
            .spawn(move || {
                while let Some(first) = waiting.blocking_recv() {
                    let mut group = vec![first];
                    while group.len() < GROUP
                        && let Ok(next) = waiting.try_recv()
                    {
                        group.push(next);
                    }
                    write_group(&name, &mut sink, group);
                }
            })?;
        Ok(Self {
            format,
            clock,
            jobs,
        })
    }
}

fn outcome(name: &str, written: &Result<(), WriteError>) -> Outcome {
    let trouble = |error: &io::Error| {
        let message = format!("cannot write to {name}: {error}");
        Trouble::new(TroubleKind::Unavailable, message)
    };
    match written {
        Ok(()) => Outcome::Durable,
        Err(WriteError::Nothing(error)) => Outcome::Rejected(trouble(error)),
        Err(WriteError::Unknown(error)) => Outcome::Unknown(trouble(error)),
    }
}

fn write_group(name: &str, sink: &mut impl Sink, group: Vec<Job>) {
    let texts: Vec<Arc<Vec<u8>>> = group.iter().map(|job| Arc::clone(&job.text)).collect();
    let written = sink.write(&texts);

    for job in group {
        let outcome = outcome(name, &written);
        // A lane that has given up the request takes no answer.
        let _ = job.answer.send(outcome);
    }
}

#[async_trait]
impl Output for LineOutput {
    fn profile(&self) -> Profile {
        let profile = Profile::new(RequestLimits {
            entries: CHUNK_RECORDS,
            bytes: CHUNK_BYTES,
        });
        Profile {
            keeps: KeepsOrder::PerKey,
            ..profile
        }
    }

    fn encoding(&self) -> EncodingKey {
        let form = match self.format {
            LineFormat::Record => "record",
            LineFormat::Raw => "raw",
        };
        EncodingKey::new("lines", form)
    }

    fn encoded_bound(&self, records: usize, bytes: usize) -> usize {
        bound(records, bytes)
    }

    fn encode(&self, batch: &Batch, picks: Picks) -> Chunk {
        let lines = encode(batch, &picks, self.format);
        Chunk {
            allocation: lines.text.capacity(),
            payload: Box::new(lines),
            picks,
        }
    }

    async fn write(&self, _batch: &Batch, chunk: &Chunk, deadline: Duration) -> Outcome {
        let Some(lines) = chunk.payload.as_any().downcast_ref::<Lines>() else {
            return Outcome::Stale;
        };

        let (answer, answered) = oneshot::channel();
        let job = Job {
            text: Arc::clone(&lines.text),
            answer,
        };
        if self.jobs.send(job).is_err() {
            return unknown("the thread that writes lines has ended");
        }

        match self.clock.timeout(deadline, answered).await {
            Some(Ok(Outcome::Durable)) => verdicts(lines, chunk.picks.len()),
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) => unknown("the thread that writes lines has ended"),
            None => unknown("the lines were not written in time"),
        }
    }
}

fn unknown(message: &str) -> Outcome {
    Outcome::Unknown(Trouble::new(TroubleKind::Unavailable, message))
}

/// The answer for lines that are durable.
fn verdicts(lines: &Lines, records: usize) -> Outcome {
    if lines.refused.is_empty() {
        return Outcome::Durable;
    }
    let verdict = |place: usize| match lines.refused.binary_search(&place) {
        Ok(_) => Verdict::Refused(Refusal::new(
            "NotBase64",
            "the source gave data that are not base64",
        )),
        Err(_) => Verdict::Durable,
    };
    Outcome::PerRecord((0..records).map(verdict).collect())
}
