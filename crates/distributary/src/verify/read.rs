//! Reads all records that a stream held at one moment, as rows.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use distributary_core::batch::{Batch, ShardId};
use distributary_core::checkpoint::{Position, Sequence};
use distributary_core::clock::{Clock, Millis};
use distributary_core::record::{DataForm, Record};
use distributary_core::source::Source;
use tokio::sync::{Semaphore, mpsc};

use super::ancestry::{Ancestry, TooManyShards};
use super::rows::{Place, Prints, RecordRow};
use super::sort::{Sorted, Sorter};
use crate::walk::{Event, Found, RECORDS_PER_READ, RESPONSES, ShardOrder, Walk, WalkError};

/// Positions kept of each shard, from which a record can be found again by its number.
const MARKS: usize = 1024;

/// The reason why a stream cannot be read for the comparison.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The stream did not answer, or refused.
    #[error(transparent)]
    Walk(#[from] WalkError),
    /// Retention deleted records during the comparison.
    #[error(
        "{stream}, {shard}: its oldest records were deleted by the stream's retention while they \
         were being read; compare again, or raise the retention first"
    )]
    Gap { stream: String, shard: ShardId },
    /// The stream has too many shards.
    #[error("cannot compare {stream}")]
    Shards {
        stream: String,
        #[source]
        source: TooManyShards,
    },
    /// Rows that do not fit in memory cannot be written to disk.
    #[error(
        "cannot write temporary files; free some space, or name another directory with --temp-dir"
    )]
    Files(#[from] io::Error),
    /// A task panicked.
    #[error("a task failed; this is a bug, please report it")]
    Task,
}

/// The progress of reading one stream.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    records: AtomicU64,
    bytes: AtomicU64,
    /// Sum of the thousandths done of each shard.
    thousandths: AtomicU64,
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

    fn count(&self, size: usize) {
        let size = size as u64;
        self.records.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(size, Ordering::Relaxed);
    }

    /// Part done, in thousandths. Estimated by arrival times, since a stream does not tell how much
    /// it holds.
    pub(crate) fn thousandths(&self) -> u64 {
        self.thousandths
            .load(Ordering::Relaxed)
            .checked_div(self.shards.load(Ordering::Relaxed))
            .unwrap_or(0)
    }
}

/// Settings for reading streams.
#[derive(Clone)]
pub(crate) struct Reading {
    pub(crate) clock: Clock,
    pub(crate) prints: Prints,
    /// Only records that arrived before this moment are compared.
    pub(crate) until: Millis,
    /// Shared by all streams that are read at the same time.
    pub(crate) responses: Arc<Semaphore>,
    /// Bytes of rows held in memory for each stream.
    pub(crate) memory: usize,
    /// Directory for the other rows.
    pub(crate) dir: PathBuf,
}

/// The records that a stream held.
pub(crate) struct Held {
    pub(crate) rows: Sorted<RecordRow>,
    pub(crate) ancestry: Ancestry,
    /// Marks of each shard, by rank.
    pub(super) marks: Vec<Marks>,
}

/// Positions of some records of a shard.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// The sequence number of the shard's first record.
    pub(super) first: Option<Sequence>,
    /// The number of a record, and the position just before it.
    pub(super) at: BTreeMap<u64, Position>,
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

/// Reads the records that `source` held at `reading.until`. `stream` is its name, for messages.
pub(crate) async fn read(
    stream: &str,
    source: &Arc<dyn Source>,
    reading: &Reading,
    meter: &Arc<Meter>,
) -> Result<Held, ReadError> {
    let walk = walk(stream, source, reading);
    let shards = walk.shards().await?;
    let ancestry = Ancestry::new(&shards).map_err(|source| ReadError::Shards {
        stream: stream.to_owned(),
        source,
    })?;

    let collector = Collector::new(stream, ancestry, reading, meter);
    let (send, receive) = mpsc::channel(RESPONSES);
    let collected = tokio::task::spawn_blocking(move || collector.collect(receive));
    let walked = walk.run(shards, send).await;

    // A collector that fails ends the walk, so its error counts first.
    let held = collected.await.map_err(|_| ReadError::Task)??;
    walked?;
    Ok(held)
}

/// The walk through all records of a stream up to the moment.
fn walk(stream: &str, source: &Arc<dyn Source>, reading: &Reading) -> Walk {
    Walk {
        stream: stream.to_owned(),
        source: Arc::clone(source),
        clock: reading.clock.clone(),
        order: ShardOrder::AllAtOnce,
        start: Position::TrimHorizon,
        until: Some(reading.until),
        records_per_read: RECORDS_PER_READ,
        responses: Arc::clone(&reading.responses),
    }
}

/// Makes rows of the records that a walk finds.
struct Collector {
    stream: String,
    prints: Prints,
    until: Millis,
    ancestry: Ancestry,
    /// By shard, its rank and what was read of it.
    shards: BTreeMap<ShardId, (usize, ShardProgress)>,
    sorter: Sorter<RecordRow>,
    meter: Arc<Meter>,
    decoded: Vec<u8>,
}

/// The progress of reading one shard.
struct ShardProgress {
    marks: Marks,
    /// Records read: the number of the next one.
    records: u64,
    /// The position before the next record.
    next: Position,
    /// The arrival of the first record.
    oldest: Option<Millis>,
    /// Thousandths that the meter was told.
    thousandths: u64,
}

impl Collector {
    fn new(stream: &str, ancestry: Ancestry, reading: &Reading, meter: &Arc<Meter>) -> Self {
        let mut shards = BTreeMap::new();
        for (rank, id) in ancestry.shards().iter().enumerate() {
            let progress = ShardProgress::new();
            shards.insert(id.clone(), (rank, progress));
        }
        meter.shards.store(shards.len() as u64, Ordering::Relaxed);

        Self {
            stream: stream.to_owned(),
            prints: reading.prints,
            until: reading.until,
            ancestry,
            shards,
            sorter: Sorter::new(reading.memory, &reading.dir),
            meter: Arc::clone(meter),
            decoded: Vec::new(),
        }
    }

    /// Takes all events of a walk.
    fn collect(mut self, mut events: mpsc::Receiver<Event>) -> Result<Held, ReadError> {
        while let Some(event) = events.blocking_recv() {
            self.take(event)?;
        }

        let mut shards: Vec<(usize, ShardProgress)> = self.shards.into_values().collect();
        shards.sort_by_key(|(rank, _)| *rank);
        Ok(Held {
            rows: self.sorter.finish()?,
            ancestry: self.ancestry,
            marks: shards.into_iter().map(|(_, shard)| shard.marks).collect(),
        })
    }

    fn take(&mut self, event: Event) -> Result<(), ReadError> {
        // A walk of all shards at once reads the shards that were ranked, and no other.
        let Some((rank, mut shard)) = self.shards.remove(&event.shard) else {
            return Err(ReadError::Task);
        };

        let mut is_closed = false;
        match event.found {
            Found::Records(batch, _permit) => {
                let first = shard.add(&batch);
                self.push(rank, first, &batch)?;
            }
            Found::Nothing => {}
            Found::Closed => is_closed = true,
            Found::Gap => return Err(self.gap(event.shard)),
        }

        let done = shard.report(event.complete_until, self.until, is_closed);
        self.meter.thousandths.fetch_add(done, Ordering::Relaxed);
        self.shards.insert(event.shard, (rank, shard));
        Ok(())
    }

    fn gap(&self, shard: ShardId) -> ReadError {
        ReadError::Gap {
            stream: self.stream.clone(),
            shard,
        }
    }

    /// Adds the records of a batch; the first of them has the number `first` in its shard.
    fn push(&mut self, rank: usize, first: u64, batch: &Batch) -> io::Result<()> {
        for (record, ordinal) in batch.iter().zip(first..) {
            if record.arrival >= self.until {
                continue;
            }

            let data = data(&record, &mut self.decoded);
            self.sorter.push(RecordRow {
                print: self.prints.record(record.key, data),
                place: Place::new(rank, ordinal),
                key: self.prints.key(record.key),
            })?;
            self.meter.count(record.size());
        }
        Ok(())
    }
}

impl ShardProgress {
    fn new() -> Self {
        Self {
            marks: Marks::default(),
            records: 0,
            next: Position::TrimHorizon,
            oldest: None,
            thousandths: 0,
        }
    }

    /// Counts the records of a batch. Returns the number of the first.
    fn add(&mut self, batch: &Batch) -> u64 {
        let ordinal = self.records;
        let first = batch.record(0);
        self.oldest.get_or_insert(first.arrival);
        self.marks
            .first
            .get_or_insert_with(|| Sequence::new(first.sequence));

        let after = batch.after(batch.len() - 1);
        let before = std::mem::replace(&mut self.next, after);
        self.marks.add(ordinal, before);
        self.records += batch.len() as u64;
        ordinal
    }

    /// The thousandths of this shard that were done since the last report.
    fn report(&mut self, complete_until: Millis, until: Millis, is_closed: bool) -> u64 {
        let done = if is_closed || complete_until >= until {
            1000
        } else {
            part_done(self.oldest, complete_until, until)
        };
        let more = done.saturating_sub(self.thousandths);
        self.thousandths += more;
        more
    }
}

/// A record's data as bytes. Text that is not base64 is taken as it is, so that no two different
/// texts become equal.
pub(super) fn data<'a>(record: &Record<'a>, decoded: &'a mut Vec<u8>) -> &'a [u8] {
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

/// The part of the time from `oldest` to `until` that lies before `at`, in thousandths.
fn part_done(oldest: Option<Millis>, at: Millis, until: Millis) -> u64 {
    let Some(oldest) = oldest else {
        return 0;
    };

    let done = at.since(oldest).as_millis() * 1000;
    let part = done.checked_div(until.since(oldest).as_millis());
    part.and_then(|part| u64::try_from(part).ok())
        .unwrap_or(0)
        .min(1000)
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
