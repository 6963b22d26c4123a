//! Reading a stream for the comparison: everything that it held at a moment, as rows.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use distributary_core::batch::{Batch, ShardId};
use distributary_core::checkpoint::{Position, Sequence};
use distributary_core::clock::{Clock, Millis};
use distributary_core::output::Trouble;
use distributary_core::record::{DataForm, Record};
use distributary_core::source::{Credit, Fetched, Read, ShardReader, Source};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::lineage::{Lineage, TooManyShards};
use super::rows::{Place, Prints, RecordRow};
use super::sort::{Sorted, Sorter};
use crate::patience::{retried, wait};

/// Answers of all streams together that are held at a time; each has at most 10 MiB of data.
pub(crate) const ANSWERS: usize = 8;
/// Records asked for at a time: as many as Kinesis gives.
const CREDIT: u32 = 10_000;
/// Wait before a shard is read again that had nothing new.
const IDLE: Duration = Duration::from_millis(300);
/// Places remembered of each shard, so as to find a record again by its number.
const MARKS: usize = 1024;
/// Reads without a record after which one that should be there is given up.
const SEARCH_IDLE: u32 = 20;
/// Characters of a record's data that an example shows, in bytes before escaping.
const EXCERPT: usize = 48;

/// Why a stream could not be read for the comparison.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The stream did not answer, or refused.
    #[error("cannot read {stream}{}", shard.as_ref().map(|s| format!(", {s}")).unwrap_or_default())]
    Source {
        stream: String,
        shard: Option<ShardId>,
        #[source]
        source: Trouble,
    },
    /// Retention overtook the comparison.
    #[error(
        "{stream}, {shard}: its oldest records were deleted by the stream's retention while they were being read; \
         compare again, or raise the retention first"
    )]
    Gap { stream: String, shard: ShardId },
    /// Too many shards.
    #[error("cannot compare {stream}")]
    Shards {
        stream: String,
        #[source]
        source: TooManyShards,
    },
    /// No room for what does not fit in memory.
    #[error(
        "cannot write temporary files; free some space, or name another directory with --temp-dir"
    )]
    Files(#[from] io::Error),
    /// A part of the program broke.
    #[error("a task broke; this is a bug, please report it")]
    Broken,
}

/// How far the reading is. Shared with what shows it.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    records: AtomicU64,
    bytes: AtomicU64,
    /// Thousandths done, of all shards together; and shards.
    done: AtomicU64,
    shards: AtomicU64,
}

impl Meter {
    /// Records read.
    pub(crate) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// Bytes of data and keys read.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Part done, in thousandths: by the arrival times of what was read; a stream does not say how much it holds.
    pub(crate) fn thousandths(&self) -> u64 {
        self.done
            .load(Ordering::Relaxed)
            .checked_div(self.shards.load(Ordering::Relaxed))
            .unwrap_or(0)
    }
}

/// How streams are read.
#[derive(Clone)]
pub(crate) struct Reading {
    pub(crate) clock: Clock,
    pub(crate) prints: Prints,
    /// Only records that arrived before this moment are compared.
    pub(crate) until: Millis,
    /// Shared by all streams that are read at the same time.
    pub(crate) answers: Arc<Semaphore>,
    /// Bytes of rows held in memory for each stream.
    pub(crate) memory: usize,
    /// Where the rest goes.
    pub(crate) dir: std::path::PathBuf,
}

/// What a stream held.
pub(crate) struct Held {
    pub(crate) rows: Sorted<RecordRow>,
    pub(crate) lineage: Lineage,
    marks: Vec<Marks>,
}

/// Where records of a shard stand: sparse.
#[derive(Debug, Default)]
struct Marks {
    /// The sequence number of the shard's first record.
    first: Option<Sequence>,
    /// Number of a record, and the position just before it.
    at: BTreeMap<u64, Position>,
}

impl Marks {
    fn add(&mut self, ordinal: u64, before: Position) {
        self.at.insert(ordinal, before);
        if self.at.len() > MARKS {
            let mut i = 0;
            self.at.retain(|_, _| {
                i += 1;
                i % 2 == 1
            });
        }
    }
}

/// What a shard's task sends on.
struct Piece {
    rows: Vec<RecordRow>,
}

/// Reads what `source` held at `reading.until`. `stream` is its name, for messages.
pub(crate) async fn read(
    stream: &str,
    source: &Arc<dyn Source>,
    reading: &Reading,
    meter: &Arc<Meter>,
) -> Result<Held, ReadError> {
    let trouble = |source| ReadError::Source {
        stream: stream.to_owned(),
        shard: None,
        source,
    };
    let shards = retried(&reading.clock, || source.shards())
        .await
        .map_err(trouble)?;
    let lineage = Lineage::new(&shards).map_err(|source| ReadError::Shards {
        stream: stream.to_owned(),
        source,
    })?;
    meter
        .shards
        .store(lineage.shards().len() as u64, Ordering::Relaxed);

    let (send, mut receive) = mpsc::channel::<Piece>(ANSWERS);
    let (memory, dir) = (reading.memory, reading.dir.clone());
    let sorted = tokio::task::spawn_blocking(move || -> io::Result<Sorted<RecordRow>> {
        let mut sorter = Sorter::new(memory, &dir);
        while let Some(piece) = receive.blocking_recv() {
            for row in piece.rows {
                sorter.push(row)?;
            }
        }
        sorter.finish()
    });

    let mut tasks = JoinSet::new();
    for (rank, id) in lineage.shards().iter().enumerate() {
        let shard = ShardTask {
            stream: stream.to_owned(),
            id: id.clone(),
            rank,
            reader: source.open(id, Position::TrimHorizon),
            reading: reading.clone(),
            meter: Arc::clone(meter),
            send: send.clone(),
        };
        tasks.spawn(async move { (rank, shard.run().await) });
    }
    drop(send);
    let mut marks: Vec<Marks> = lineage.shards().iter().map(|_| Marks::default()).collect();
    let mut failed = None;
    while let Some(ended) = tasks.join_next().await {
        match ended {
            Ok((rank, Ok(shard))) => marks[rank] = shard,
            Ok((_, Err(error))) => {
                failed.get_or_insert(error);
                tasks.abort_all();
            }
            Err(error) if error.is_cancelled() => {}
            Err(_) => return Err(ReadError::Broken),
        }
    }
    // If the sorting failed, its error is the cause of the others.
    let rows = sorted.await.map_err(|_| ReadError::Broken)??;
    match failed {
        Some(error) => Err(error),
        None => Ok(Held {
            rows,
            lineage,
            marks,
        }),
    }
}

/// Reads one shard.
struct ShardTask {
    stream: String,
    id: ShardId,
    rank: usize,
    reader: Box<dyn ShardReader>,
    reading: Reading,
    meter: Arc<Meter>,
    send: mpsc::Sender<Piece>,
}

impl ShardTask {
    async fn run(mut self) -> Result<Marks, ReadError> {
        let mut marks = Marks::default();
        let mut ordinal = 0;
        let mut before = Position::TrimHorizon;
        let mut oldest = None;
        let mut said = 0;
        loop {
            let (read, answer) = self.next().await?;
            let idle = match read.fetched {
                Fetched::Batch(batch) if !batch.is_empty() => {
                    let first = batch.record(0);
                    oldest.get_or_insert(first.arrival);
                    marks
                        .first
                        .get_or_insert_with(|| Sequence::new(first.sequence));
                    marks.add(ordinal, before);
                    before = batch.after(batch.len() - 1);
                    let rows = self.rows(&batch, ordinal);
                    ordinal += batch.len() as u64;
                    drop(batch);
                    drop(answer);
                    if self.send.send(Piece { rows }).await.is_err() {
                        // The sorting failed, and says so itself.
                        return Ok(marks);
                    }
                    false
                }
                Fetched::Batch(_) | Fetched::Idle => {
                    drop(answer);
                    true
                }
                Fetched::Closed { .. } => break,
                Fetched::Gap => {
                    return Err(ReadError::Gap {
                        stream: self.stream,
                        shard: self.id,
                    });
                }
            };
            if read.complete_until >= self.reading.until {
                break;
            }
            self.say(
                &mut said,
                part_done(oldest, read.complete_until, self.reading.until),
            );
            if idle {
                self.reading.clock.sleep(IDLE).await;
            }
        }
        self.say(&mut said, 1000);
        Ok(marks)
    }

    fn say(&self, said: &mut u64, thousandths: u64) {
        self.meter
            .done
            .fetch_add(thousandths.saturating_sub(*said), Ordering::Relaxed);
        *said = thousandths.max(*said);
    }

    /// One read, and the permit that its answer is held under.
    async fn next(&mut self) -> Result<(Read, OwnedSemaphorePermit), ReadError> {
        let mut failures = 0;
        loop {
            let answers = Arc::clone(&self.reading.answers);
            let Ok(permit) = answers.acquire_owned().await else {
                return Err(ReadError::Broken);
            };
            match self.reader.next(Credit { records: CREDIT }).await {
                Ok(read) => return Ok((read, permit)),
                Err(trouble) => match wait(&self.reading.clock, &trouble, failures) {
                    Some(sleep) => {
                        drop(permit);
                        sleep.await;
                    }
                    None => {
                        let (stream, shard) = (self.stream.clone(), Some(self.id.clone()));
                        return Err(ReadError::Source {
                            stream,
                            shard,
                            source: trouble,
                        });
                    }
                },
            }
            failures += 1;
        }
    }

    fn rows(&self, batch: &Batch, first: u64) -> Vec<RecordRow> {
        let mut decoded = Vec::new();
        let mut rows = Vec::with_capacity(batch.len());
        let mut bytes = 0;
        for (record, ordinal) in batch.iter().zip(first..) {
            if record.arrival >= self.reading.until {
                continue;
            }
            bytes += record.size() as u64;
            let prints = &self.reading.prints;
            let print = prints.record(record.key, data(&record, &mut decoded));
            rows.push(RecordRow {
                print,
                place: Place::new(self.rank, ordinal),
                key: prints.key(record.key),
            });
        }
        self.meter
            .records
            .fetch_add(rows.len() as u64, Ordering::Relaxed);
        self.meter.bytes.fetch_add(bytes, Ordering::Relaxed);
        rows
    }
}

/// A record's data as bytes. Text that is no base64 is taken as it is: no two differing texts become equal by that.
fn data<'a>(record: &Record<'a>, decoded: &'a mut Vec<u8>) -> &'a [u8] {
    match record.form {
        DataForm::Raw => record.data,
        DataForm::Base64 => {
            decoded.clear();
            match base64_simd::STANDARD.decode_append(record.data, decoded) {
                Ok(()) => decoded,
                Err(_) => record.data,
            }
        }
    }
}

fn part_done(oldest: Option<Millis>, at: Millis, until: Millis) -> u64 {
    let Some(oldest) = oldest else { return 0 };
    let (done, all) = (
        at.since(oldest).as_millis(),
        until.since(oldest).as_millis(),
    );
    (done * 1000)
        .checked_div(all)
        .and_then(|n| u64::try_from(n).ok())
        .unwrap_or(0)
        .min(1000)
}

/// A record to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Example {
    pub(crate) shard: ShardId,
    /// What was found there when it was read again; a record may have gone meanwhile.
    pub(crate) found: Option<Shown>,
}

/// What is shown of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) sequence: String,
    pub(crate) key: Option<String>,
    /// The beginning of the data, and its whole length in bytes.
    pub(crate) excerpt: Vec<u8>,
    pub(crate) len: usize,
}

/// Reads the records at `places` again, to show them.
pub(crate) async fn look_up(
    source: &Arc<dyn Source>,
    held: &Held,
    clock: &Clock,
    places: impl Iterator<Item = Place>,
) -> Vec<Example> {
    let mut examples = Vec::new();
    for place in places {
        // Both were made from the same list of shards.
        let (Some(shard), Some(marks)) = (
            held.lineage.shards().get(place.shard()),
            held.marks.get(place.shard()),
        ) else {
            continue;
        };
        let found = find(source, shard, marks, place.ordinal(), clock).await;
        examples.push(Example {
            shard: shard.clone(),
            found,
        });
    }
    examples
}

async fn find(
    source: &Arc<dyn Source>,
    shard: &ShardId,
    marks: &Marks,
    ordinal: u64,
    clock: &Clock,
) -> Option<Shown> {
    let (from, before) = marks.at.range(..=ordinal).next_back()?;
    let mut reader = source.open(shard, before.clone());
    let mut at = *from;
    let mut idle = 0;
    let mut failures = 0;
    while idle < SEARCH_IDLE {
        // No more than is missing: the whole batches were read once already.
        let records = u32::try_from(ordinal - at + 1)
            .unwrap_or(CREDIT)
            .min(CREDIT);
        let batch = match reader.next(Credit { records }).await {
            Ok(Read {
                fetched: Fetched::Batch(batch),
                ..
            }) if !batch.is_empty() => batch,
            Ok(Read {
                fetched: Fetched::Batch(_) | Fetched::Idle,
                ..
            }) => {
                idle += 1;
                clock.sleep(IDLE).await;
                continue;
            }
            Ok(Read {
                fetched: Fetched::Closed { .. } | Fetched::Gap,
                ..
            }) => return None,
            Err(trouble) => {
                wait(clock, &trouble, failures)?.await;
                failures += 1;
                continue;
            }
        };
        if at == 0
            && marks
                .first
                .as_ref()
                .is_some_and(|first| first.as_str() != batch.record(0).sequence)
        {
            // Retention took the oldest records: the numbers are no longer true.
            return None;
        }
        let here = usize::try_from(ordinal - at)
            .ok()
            .filter(|i| *i < batch.len());
        if let Some(i) = here {
            let record = batch.record(i);
            let mut decoded = Vec::new();
            let data = data(&record, &mut decoded);
            return Some(Shown {
                sequence: record.sequence.to_owned(),
                key: record.key.map(str::to_owned),
                excerpt: data.iter().take(EXCERPT).copied().collect(),
                len: data.len(),
            });
        }
        at += batch.len() as u64;
    }
    None
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
