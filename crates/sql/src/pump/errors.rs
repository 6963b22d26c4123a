//! Counts of the rows that went to `error_stream`.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use distributary_core::batch::{Batch, ShardId};
use distributary_core::checkpoint::Sequence;
use distributary_core::sync::lock;

use crate::run::processor::Emitted;

/// The columns ERROR_NAME and PUMP_NAME of `error_stream`.
const NAME_COLUMN: usize = 2;
const PUMP_COLUMN: usize = 6;

/// The kind of a row of `error_stream`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ErrorKind {
    /// The pump of the application's code; `null` where a record gave no row.
    pub pump: String,
    /// The name of the error, such as `Division by zero`.
    pub name: String,
}

impl ErrorKind {
    /// The kind of a row of `error_stream`.
    pub(crate) fn of(row: &Emitted<'_>) -> Self {
        let text = |column: usize| {
            let value = row.values.get(column);
            value.map_or_else(String::new, |value| value.text().to_owned())
        };
        Self {
            pump: text(PUMP_COLUMN),
            name: text(NAME_COLUMN),
        }
    }
}

/// Numbers of rows of `error_stream`, by kind.
#[derive(Debug, Default)]
pub struct ErrorCounts(Mutex<Counted>);

#[derive(Debug, Default)]
struct Counted {
    counts: BTreeMap<ErrorKind, u64>,
    /// The last record of each shard whose rows were counted.
    last: BTreeMap<ShardId, Sequence>,
}

impl ErrorCounts {
    /// The numbers so far.
    pub fn get(&self) -> BTreeMap<ErrorKind, u64> {
        self.counted().counts.clone()
    }

    /// Counts one row.
    pub(crate) fn add(&self, kind: ErrorKind) {
        *self.counted().counts.entry(kind).or_default() += 1;
    }

    /// Counts the rows that `batch` made; each comes with the index of the record. The rows of a
    /// record count once, however often the record is read.
    pub(crate) fn add_batch(&self, batch: &Batch, errors: Vec<(u32, ErrorKind)>) {
        let Some(end) = batch.len().checked_sub(1) else {
            return;
        };
        let mut counted = self.counted();
        let shard = &batch.origin().shard;
        let last = counted.last.get(shard).cloned();
        let is_new = |record: usize| {
            let sequence = batch.record(record).sequence;
            let known = last.as_ref().map(Sequence::as_str);
            known.is_none_or(|known| Sequence::compare(known, sequence).is_lt())
        };
        if !is_new(end) {
            return;
        }

        for (record, kind) in errors {
            if is_new(record as usize) {
                *counted.counts.entry(kind).or_default() += 1;
            }
        }
        let sequence = Sequence::new(batch.record(end).sequence);
        counted.last.insert(shard.clone(), sequence);
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        lock(&self.0)
    }
}
