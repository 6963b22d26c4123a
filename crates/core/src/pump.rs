//! Pumps: a pump turns the records of a batch into rows, which lanes send in place of the records.
//!
//! A pump here keeps no state: the rows of a record depend on that record alone, so that any cut of
//! a shard into batches gives the same rows.

mod chain;

use std::sync::Arc;

use crate::batch::{BadBatch, Batch};
use crate::id::id_type;
use crate::record::{DataForm, RecordIndex, Span};

pub use chain::Chain;

id_type! {
    /// Names a pump. Pumps with equal ids give equal rows: an edited pump has another id.
    PumpId
}

/// Turns batches of records into batches of rows, one for each stream that the pump names.
pub trait Pump: Send + Sync + 'static {
    /// The id.
    fn id(&self) -> &PumpId;

    /// Number of streams. Lanes name a stream by an index below this number.
    fn streams(&self) -> usize;

    /// The most that [`Pump::apply`] returns for a batch of `records` records that take `bytes`
    /// bytes (see [`Batch::allocation`]): for all streams together. Reserved in the memory budget
    /// before the rows are made. A pump whose rows can be of any size leaves out the rows beyond
    /// the bound, or truncates them.
    fn bound(&self, records: usize, bytes: usize) -> RowBound;

    /// The rows of each stream, from one pass over `batch`. An error stops the lanes that need the
    /// rows.
    fn apply(&self, batch: &Batch) -> Result<Vec<Derived>, BadRow>;
}

/// The most that a pump makes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowBound {
    /// Rows.
    pub rows: usize,
    /// Bytes of memory, as [`Derived::allocation`] counts them.
    pub bytes: usize,
}

/// The stream of a pump that an output takes in place of the records.
#[derive(Clone)]
pub struct PumpRef {
    /// The pump.
    pub pump: Arc<dyn Pump>,
    /// The index of the stream.
    pub stream: usize,
}

/// The rows of one stream of a pump, made of one batch.
#[derive(Debug)]
pub struct Derived {
    batch: Batch,
    /// For each row the index of the record that the row was made of.
    origin: Box<[u32]>,
}

/// A row to be added.
#[derive(Clone, Copy, Debug)]
pub struct Row<'a> {
    /// The partition key.
    pub key: Option<&'a str>,
    /// The hash key that routes the row in place of the key.
    pub explicit_hash_key: Option<u128>,
    /// The data, in the form of the rows.
    pub data: &'a [u8],
}

/// The reason why a row cannot be added.
#[derive(Debug, thiserror::Error)]
pub enum BadRow {
    /// The rows of a batch have to be in the order of the records.
    #[error("a row of record {record} was added behind a row of record {after}")]
    OutOfOrder {
        /// The row's record.
        record: usize,
        /// The record of the row before.
        after: usize,
    },
    /// The batch has no such record.
    #[error("the batch has no record {record}")]
    NoRecord {
        /// The row's record.
        record: usize,
    },
    /// A batch of rows holds at most 4 GiB.
    #[error("the rows of a batch take more than 4 GiB")]
    TooLarge(#[from] std::num::TryFromIntError),
    /// The rows are no batch.
    #[error("the rows are no batch")]
    Batch(#[from] BadBatch),
}

impl Derived {
    /// Rows that are records of `source` unchanged: those at `records`, ascending. The data are
    /// shared, not copied.
    pub fn of_records(source: &Batch, records: Vec<u32>) -> Self {
        Self {
            batch: source.pick(&records),
            origin: records.into(),
        }
    }

    /// The rows. Each has the sequence number and the arrival time of the record it was made of.
    pub fn batch(&self) -> &Batch {
        &self.batch
    }

    /// For each row the index of its record in the source batch; never descending.
    pub fn origin(&self) -> &[u32] {
        &self.origin
    }

    /// Bytes that stay allocated as long as the rows live.
    pub fn allocation(&self) -> usize {
        self.batch.allocation() + size_of_val(&*self.origin)
    }
}

/// Collects the rows of one stream in the order of the records.
#[derive(Debug)]
pub struct DerivedBuilder<'a> {
    source: &'a Batch,
    form: DataForm,
    buffer: Vec<u8>,
    rows: Vec<RecordIndex>,
    hash_keys: Vec<(usize, u128)>,
    origin: Vec<u32>,
}

impl<'a> DerivedBuilder<'a> {
    /// Bytes of memory that one row takes besides data, key and sequence number: the index entry
    /// and the origin. For [`Pump::bound`].
    pub const ROW_OVERHEAD: usize = size_of::<RecordIndex>() + size_of::<u32>();

    /// No rows of `source` yet. The data of all rows stand in `form`.
    pub fn new(source: &'a Batch, form: DataForm) -> Self {
        Self {
            source,
            form,
            buffer: Vec::new(),
            rows: Vec::new(),
            hash_keys: Vec::new(),
            origin: Vec::new(),
        }
    }

    /// Adds a row of the record at `record` with a key and data of the row's own.
    pub fn push(&mut self, record: usize, key: Option<&str>, data: &[u8]) -> Result<(), BadRow> {
        let row = Row {
            key,
            explicit_hash_key: None,
            data,
        };
        self.push_row(record, &row)
    }

    /// Adds a row of the record at `record`.
    pub fn push_row(&mut self, record: usize, row: &Row<'_>) -> Result<(), BadRow> {
        if record >= self.source.len() {
            return Err(BadRow::NoRecord { record });
        }
        let number = u32::try_from(record)?;
        let sequence = self.sequence_of(record, number)?;
        let key = match row.key {
            Some(key) => Some(self.append(key.as_bytes())?),
            None => None,
        };
        let data = self.append(row.data)?;

        if let Some(hash_key) = row.explicit_hash_key {
            self.hash_keys.push((self.rows.len(), hash_key));
        }
        self.origin.push(number);
        self.rows.push(RecordIndex {
            sequence,
            key,
            data,
            arrival: self.source.record(record).arrival,
        });
        Ok(())
    }

    /// The place of the sequence number, which the rows of one record share.
    fn sequence_of(&mut self, record: usize, number: u32) -> Result<Span, BadRow> {
        match (self.origin.last(), self.rows.last()) {
            (Some(last), _) if *last > number => {
                let after = *last as usize;
                Err(BadRow::OutOfOrder { record, after })
            }
            (Some(last), Some(row)) if *last == number => Ok(row.sequence),
            _ => self.append(self.source.record(record).sequence.as_bytes()),
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<Span, BadRow> {
        let span = Span {
            start: u32::try_from(self.buffer.len())?,
            len: u32::try_from(bytes.len())?,
        };
        self.buffer.extend_from_slice(bytes);
        Ok(span)
    }

    /// The rows.
    pub fn finish(self) -> Result<Derived, BadRow> {
        // The budget counts lengths, not capacities.
        let buffer = self.buffer.into_boxed_slice();
        let origin = Arc::clone(self.source.origin());
        let batch = Batch::new(origin, buffer.into(), self.form, self.rows)?;
        let batch = batch.with_hash_keys(self.hash_keys);
        Ok(Derived {
            batch,
            origin: self.origin.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::shared_batch::testing::batch;

    #[test]
    fn rows_carry_the_sequence_number_and_arrival_of_their_records() {
        let source = batch(&["7", "8", "9"]);
        let mut rows = DerivedBuilder::new(&source.batch, DataForm::Raw);
        rows.push(0, Some("a"), b"first").unwrap();
        rows.push(2, None, b"second").unwrap();
        rows.push(2, Some("b"), b"").unwrap();
        let derived = rows.finish().unwrap();

        let all: Vec<_> = derived
            .batch()
            .iter()
            .map(|row| (row.sequence, row.key, row.data))
            .collect();
        assert_eq!(
            all,
            [
                ("7", Some("a"), &b"first"[..]),
                ("9", None, b"second"),
                ("9", Some("b"), b""),
            ]
        );
        assert_eq!(derived.origin(), [0, 2, 2]);
    }

    #[test]
    fn rows_out_of_order_and_of_no_record_are_refused() {
        let source = batch(&["7", "8"]);
        let mut rows = DerivedBuilder::new(&source.batch, DataForm::Raw);
        rows.push(1, None, b"").unwrap();
        let refused = rows.push(0, None, b"");
        assert!(matches!(
            refused,
            Err(BadRow::OutOfOrder {
                record: 0,
                after: 1
            })
        ));
        assert!(matches!(
            rows.push(2, None, b""),
            Err(BadRow::NoRecord { record: 2 })
        ));
    }
}
