//! A pump for tests: several rows a record, or none, by the record's sequence number.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::batch::Batch;
use crate::pump::{BadRow, Derived, DerivedBuilder, Pump, PumpId, RowBound};
use crate::record::DataForm;

use super::hash;

/// Makes rows with the key of their record; the data name the record by a hash of its data.
#[derive(Debug)]
pub struct RowPump {
    id: PumpId,
    /// For each stream the numbers of rows.
    patterns: Vec<Vec<usize>>,
    applied: AtomicU64,
}

impl RowPump {
    /// A stream for each of `patterns`, which are not empty: the record with the sequence number
    /// `n` has as many rows as the entry `n % len` of the pattern says.
    pub fn new(id: &str, patterns: &[&[usize]]) -> Self {
        Self {
            id: PumpId::new(id),
            patterns: patterns.iter().map(|pattern| pattern.to_vec()).collect(),
            applied: AtomicU64::new(0),
        }
    }

    /// The number of rows in `stream` of the record with the sequence number `sequence`.
    pub fn rows(&self, stream: usize, sequence: u128) -> usize {
        let pattern = self.patterns.get(stream).map_or(&[][..], Vec::as_slice);
        let at = usize::try_from(sequence % pattern.len().max(1) as u128).unwrap_or(0);
        pattern.get(at).copied().unwrap_or(0)
    }

    /// The data of row `sub` of a record; `digest` is the hash of the record's data.
    pub fn row(digest: u64, sub: usize) -> [u8; 16] {
        let number = sub as u128;
        (number << u64::BITS | u128::from(digest)).to_le_bytes()
    }

    /// The number of batches that the pump was applied to.
    pub fn applied(&self) -> u64 {
        self.applied.load(Ordering::Relaxed)
    }
}

impl Pump for RowPump {
    fn id(&self) -> &PumpId {
        &self.id
    }

    fn streams(&self) -> usize {
        self.patterns.len()
    }

    fn bound(&self, records: usize, bytes: usize) -> RowBound {
        let largest = self.patterns.iter().filter_map(|of| of.iter().max());
        let copies: usize = largest.sum();
        RowBound {
            rows: copies * records,
            bytes: copies * (bytes + records * (DerivedBuilder::ROW_OVERHEAD + size_of::<u128>())),
        }
    }

    fn apply(&self, batch: &Batch) -> Result<Vec<Derived>, BadRow> {
        self.applied.fetch_add(1, Ordering::Relaxed);
        let stream = |stream: usize| {
            let mut rows = DerivedBuilder::new(batch, DataForm::Raw);
            for (i, record) in batch.iter().enumerate() {
                let sequence = record.sequence.parse().unwrap_or(0);
                let digest = hash(record.data);
                for sub in 0..self.rows(stream, sequence) {
                    rows.push(i, record.key, &Self::row(digest, sub))?;
                }
            }
            rows.finish()
        };
        (0..self.patterns.len()).map(stream).collect()
    }
}
