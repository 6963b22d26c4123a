//! The rates of a stream, measured by reading all that arrives for a while.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::batch::{Batch, ShardId};
use distributary_core::checkpoint::Position;
use distributary_core::clock::{Clock, Millis};
use distributary_core::source::{ServerTime, Shard};
use distributary_kinesis::retry::with_retries;
use tokio::sync::{Semaphore, mpsc};

use crate::cli::streams::Given;
use crate::failure::Failure;
use crate::walk::{Event, Found, RECORDS_PER_READ, RESPONSES, ShardOrder, Walk, WalkError};

/// Bytes of a PUT payload unit.
/// Source: [Kinesis pricing](https://aws.amazon.com/kinesis/data-streams/pricing/).
pub(crate) const PUT_UNIT_BYTES: u64 = 25 << 10;
/// On demand, records are billed in steps of this many bytes. Source: the same page.
pub(crate) const STEP_BYTES: u64 = 1 << 10;
/// Events between reading and counting.
const AHEAD: usize = 4;

/// The records that arrived in a span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Arrivals {
    pub(crate) records: u64,
    /// Bytes of data and keys.
    pub(crate) bytes: u64,
    /// Each record in whole PUT payload units.
    pub(crate) put_units: u64,
    /// Each record in whole steps of 1 KiB.
    pub(crate) steps: u64,
}

impl Arrivals {
    /// Adds a record of so many bytes.
    pub(crate) fn count(&mut self, bytes: u64) {
        self.records += 1;
        self.bytes += bytes;
        self.put_units += bytes.div_ceil(PUT_UNIT_BYTES).max(1);
        self.steps += bytes.div_ceil(STEP_BYTES).max(1);
    }

    fn add(&mut self, other: Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.put_units += other.put_units;
        self.steps += other.steps;
    }
}

/// The arrivals of a stream.
#[derive(Debug)]
pub(crate) struct Measured {
    /// The time between the first and the last moment.
    pub(crate) span: Duration,
    /// Every shard that takes records.
    pub(crate) shards: BTreeMap<ShardId, Arrivals>,
}

impl Measured {
    /// Before the first read of `shards`.
    fn nothing(shards: &[Shard], span: Duration) -> Self {
        let mut arrivals = BTreeMap::new();
        for shard in shards {
            let id = shard.id.clone();
            arrivals.insert(id, Arrivals::default());
        }
        Self {
            span,
            shards: arrivals,
        }
    }

    /// All shards together.
    pub(crate) fn total(&self) -> Arrivals {
        let mut total = Arrivals::default();
        for shard in self.shards.values() {
            total.add(*shard);
        }
        total
    }
}

/// A number for each second of `span`.
pub(crate) fn per_second(count: u64, span: Duration) -> f64 {
    // Counts of minutes are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let count = count as f64;
    count / span.as_secs_f64().max(0.001)
}

/// Reads all that arrives in the stream from now on for `span`. Takes one call a second of the five
/// that a shard allows, or up to four where records arrive.
pub(crate) async fn measure(
    given: &Given,
    clock: &Clock,
    span: Duration,
) -> Result<Measured, Failure> {
    let now = now(given, clock).await?;
    let until = now.latest.plus(span);
    let walk = walk(given, clock, (now.earliest, until));
    let shards = open_shards(&walk).await?;

    let mut measured = Measured::nothing(&shards, span);
    let (send, events) = mpsc::channel(AHEAD);
    let counted = count_all(events, (now.latest, until), &mut measured);
    let walked = walk.run(shards, send);
    let (walked, ()) = tokio::join!(walked, counted);
    walked.map_err(|error| unreadable(&error))?;
    Ok(measured)
}

/// The shards that take records.
async fn open_shards(walk: &Walk) -> Result<Vec<Shard>, Failure> {
    let shards = walk.shards().await;
    let mut shards = shards.map_err(|error| unreadable(&error))?;
    shards.retain(|shard| !shard.closed);
    Ok(shards)
}

async fn now(given: &Given, clock: &Clock) -> Result<ServerTime, Failure> {
    let source = given.source();
    let facts = with_retries(clock, || source.facts()).await;
    match facts {
        Ok(facts) => Ok(facts.time),
        Err(trouble) => Err(Failure::from_error(&trouble)),
    }
}

fn unreadable(error: &WalkError) -> Failure {
    Failure::from_error(error)
}

fn walk(given: &Given, clock: &Clock, (from, until): (Millis, Millis)) -> Walk {
    Walk {
        stream: given.name.clone(),
        source: given.source(),
        clock: clock.clone(),
        order: ShardOrder::AllAtOnce,
        start: Position::At(from),
        until: Some(until),
        records_per_read: RECORDS_PER_READ,
        responses: Arc::new(Semaphore::new(RESPONSES)),
    }
}

async fn count_all(
    mut events: mpsc::Receiver<Event>,
    span: (Millis, Millis),
    measured: &mut Measured,
) {
    while let Some(event) = events.recv().await {
        if let Found::Records(batch, _permit) = event.found {
            let shard = event.shard;
            let arrivals = measured.shards.entry(shard);
            let arrivals = arrivals.or_default();
            count(&batch, span, arrivals);
        }
    }
}

/// Counts the records that arrived in the span.
fn count(batch: &Batch, (from, until): (Millis, Millis), arrivals: &mut Arrivals) {
    for record in batch.iter() {
        let in_span = record.arrival >= from && record.arrival < until;
        if in_span {
            let bytes = record.size();
            arrivals.count(bytes as u64);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_counted_in_whole_units() {
        let mut arrivals = Arrivals::default();
        for bytes in [0, 1, 1024, 1025, 25 << 10, (25 << 10) + 1] {
            arrivals.count(bytes);
        }
        let expected = Arrivals {
            records: 6,
            bytes: 1 + 1024 + 1025 + (50 << 10) + 1,
            put_units: 7,
            steps: 1 + 1 + 1 + 2 + 25 + 26,
        };
        assert_eq!(arrivals, expected);
    }
}
