//! Skipping one record: the record is looked up first, so that no other one is left out.

use std::fmt;

use distributary_core::batch::{Batch, ShardId};
use distributary_core::checkpoint::{Position, Sequence};
use distributary_core::clock::{Clock, Millis};
use distributary_core::output::Trouble;
use distributary_core::source::{Credit, Fetched, ShardReader, Source};
use distributary_kinesis::retry::Retries;

use crate::show;

/// Reads without a record after which a shard counts as having none.
const EMPTY_READS: u32 = 50;

/// A record that an output is not to get.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Skipped {
    sequence: String,
    key: Option<String>,
    bytes: usize,
    arrival: Millis,
}

/// The reason why a record cannot be skipped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SkipError {
    /// Another record is the next one of the output.
    #[error(
        "the next record of this output in shard {shard} is {next}, not {wanted}; nothing was skipped"
    )]
    Another {
        shard: ShardId,
        next: String,
        wanted: String,
    },
    /// The shard has no record after the position.
    #[error("the output has written every record of shard {shard}; nothing was skipped")]
    None { shard: ShardId },
    /// The source did not answer.
    #[error("the record cannot be looked up in the source; nothing was skipped")]
    Source(#[source] Trouble),
}

impl Skipped {
    /// The record `sequence`, if that is the first one of `shard` after `position`.
    ///
    /// # Errors
    /// [`SkipError`].
    pub(crate) async fn find(
        source: &dyn Source,
        clock: &Clock,
        (shard, sequence): (&ShardId, &str),
        position: &Position,
    ) -> Result<Self, SkipError> {
        let next = Self::next(source, clock, (shard, position));
        let next = next.await?;
        let order = Sequence::compare(&next.sequence, sequence);
        if order.is_eq() {
            return Ok(next);
        }
        Err(SkipError::Another {
            shard: shard.clone(),
            next: next.sequence,
            wanted: sequence.to_owned(),
        })
    }

    /// The first record of `shard` after `position`.
    async fn next(
        source: &dyn Source,
        clock: &Clock,
        (shard, position): (&ShardId, &Position),
    ) -> Result<Self, SkipError> {
        let batch = match position {
            Position::Closed => None,
            position => {
                let reader = source.open(shard, position.clone());
                let first = first(reader, clock).await;
                first.map_err(SkipError::Source)?
            }
        };

        let none = || SkipError::None {
            shard: shard.clone(),
        };
        batch.as_ref().map(Self::of).ok_or_else(none)
    }

    /// The first record of a batch.
    fn of(batch: &Batch) -> Self {
        let record = batch.record(0);
        Self {
            sequence: record.sequence.to_owned(),
            key: record.key.map(str::to_owned),
            bytes: record.data_len(),
            arrival: record.arrival,
        }
    }

    /// The position after the record.
    pub(crate) fn after(&self) -> Position {
        Position::after(&self.sequence)
    }
}

/// The record for the log.
impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sequence = &self.sequence;
        let key = self.key.as_deref();
        let key = key.unwrap_or_default();
        let key = show::escape(key.as_bytes());
        let bytes = show::bytes(self.bytes as u64);
        let arrival = show::time(self.arrival);
        write!(
            f,
            "record {sequence} with the key {key:?}, {bytes}, arrived {arrival}"
        )
    }
}

/// The first batch that the reader returns; `None` at the end of the shard.
async fn first(mut reader: Box<dyn ShardReader>, clock: &Clock) -> Result<Option<Batch>, Trouble> {
    let mut retries = Retries::of_read(clock);
    for _ in 0..EMPTY_READS {
        let read = match reader.next(Credit { records: 1 }).await {
            Ok(read) => read,
            Err(trouble) => {
                let waited = retries.wait(trouble);
                waited.await?;
                continue;
            }
        };
        match read.fetched {
            Fetched::Batch(batch) => {
                return Ok(Some(batch));
            }
            Fetched::Closed { .. } => return Ok(None),
            Fetched::Idle if read.behind.is_zero() => return Ok(None),
            Fetched::Idle | Fetched::Gap { .. } => {}
        }
    }
    Ok(None)
}
