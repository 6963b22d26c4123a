//! Records that are read again to be shown.

use std::sync::Arc;
use std::time::Duration;

use distributary_core::batch::{Batch, ShardId};
use distributary_core::clock::Clock;
use distributary_core::record::Record;
use distributary_core::source::{Credit, Fetched, ShardReader, Source};
use distributary_kinesis::retry::Retries;

use super::read::{Held, Marks, data};
use super::rows::Place;
use crate::walk::RECORDS_PER_READ;

/// Wait after a read without records.
const IDLE: Duration = Duration::from_millis(300);
/// Reads in a row without a record after which the search ends.
const SEARCH_IDLE: u32 = 20;
/// Bytes of a record's data that an example shows.
const EXCERPT: usize = 48;

/// A record to show.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Example {
    pub(crate) shard: ShardId,
    /// The record as it was read again; `None` if retention has deleted it since.
    pub(crate) found: Option<Shown>,
}

/// The parts of a record that are shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    pub(crate) sequence: String,
    pub(crate) key: Option<String>,
    /// The first bytes of the data.
    pub(crate) excerpt: Vec<u8>,
    /// The length of the data in bytes.
    pub(crate) len: usize,
}

impl Shown {
    fn new(record: &Record<'_>) -> Self {
        let mut decoded = Vec::new();
        let data = data(record, &mut decoded);
        Self {
            sequence: record.sequence.to_owned(),
            key: record.key.map(str::to_owned),
            excerpt: data.iter().take(EXCERPT).copied().collect(),
            len: data.len(),
        }
    }
}

/// Reads the records at `places` again, to show them.
pub(super) async fn look_up(
    source: &Arc<dyn Source>,
    held: &Held,
    clock: &Clock,
    places: impl Iterator<Item = Place>,
) -> Vec<Example> {
    let mut examples = Vec::new();
    for place in places {
        // Both lists have an entry for each shard.
        let shard = held.ancestry.shards().get(place.shard());
        let marks = held.marks.get(place.shard());
        let (Some(shard), Some(marks)) = (shard, marks) else {
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

/// Reads from the last mark before the record up to the record.
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

    loop {
        let missing = ordinal - at;
        let credit = credit(missing + 1);
        let batch = next_batch(&mut *reader, credit, clock).await?;
        if at == 0 && !starts_with_first(&batch, marks) {
            return None;
        }

        if missing < batch.len() as u64 {
            let i = usize::try_from(missing).ok()?;
            return Some(Shown::new(&batch.record(i)));
        }
        at += batch.len() as u64;
    }
}

/// The next records; `None` if there are none, or if retention has deleted some.
async fn next_batch(reader: &mut dyn ShardReader, credit: Credit, clock: &Clock) -> Option<Batch> {
    for _ in 0..SEARCH_IDLE {
        match read(reader, credit, clock).await? {
            Fetched::Batch(batch) if !batch.is_empty() => return Some(batch),
            Fetched::Batch(_) | Fetched::Idle => clock.sleep(IDLE).await,
            Fetched::Closed { .. } | Fetched::Gap { .. } => return None,
        }
    }
    None
}

/// One read, tried again while the failure may pass.
async fn read(reader: &mut dyn ShardReader, credit: Credit, clock: &Clock) -> Option<Fetched> {
    let mut retries = Retries::of_read(clock);
    loop {
        match reader.next(credit).await {
            Ok(read) => return Some(read.fetched),
            Err(trouble) => retries.wait(trouble).await.ok()?,
        }
    }
}

/// Asks for no more than the records that are missing: whole batches were read once already.
fn credit(records: u64) -> Credit {
    let records = u32::try_from(records).unwrap_or(RECORDS_PER_READ);
    Credit {
        records: records.min(RECORDS_PER_READ),
    }
}

/// False if retention has deleted the shard's first record since: the numbers of the records are
/// different then.
fn starts_with_first(batch: &Batch, marks: &Marks) -> bool {
    let first = marks.first.as_ref();
    first.is_none_or(|first| first.as_str() == batch.record(0).sequence)
}
