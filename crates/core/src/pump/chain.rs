//! A pump behind a pump.

use std::sync::Arc;

use crate::batch::Batch;

use super::{BadRow, Derived, Pump, PumpId, PumpRef, RowBound};

/// The rows that a second pump makes of the rows of a first one, such as a filter of user records.
pub struct Chain {
    id: PumpId,
    first: PumpRef,
    second: Arc<dyn Pump>,
}

impl Chain {
    /// `second` behind the stream of `first`.
    pub fn new(first: PumpRef, second: Arc<dyn Pump>) -> Self {
        let names = (first.pump.id(), first.stream, second.id());
        Self {
            id: PumpId::new(&format!("{}:{} | {}", names.0, names.1, names.2)),
            first,
            second,
        }
    }
}

impl Pump for Chain {
    fn id(&self) -> &PumpId {
        &self.id
    }

    fn streams(&self) -> usize {
        self.second.streams()
    }

    fn bound(&self, records: usize, bytes: usize) -> RowBound {
        let first = self.first.pump.bound(records, bytes);
        let second = self.second.bound(first.rows, first.bytes);
        // The rows of the first pump may stay allocated as the buffer of the second one's.
        RowBound {
            rows: second.rows,
            bytes: first.bytes + second.bytes,
        }
    }

    fn apply(&self, batch: &Batch) -> Result<Vec<Derived>, BadRow> {
        let streams = self.first.pump.apply(batch)?;
        let stream = self.first.stream;
        let Some(rows) = streams.into_iter().nth(stream) else {
            return Ok(Vec::new());
        };

        let mut of_source = Vec::new();
        for derived in self.second.apply(rows.batch())? {
            of_source.push(derived.made_of(&rows));
        }
        Ok(of_source)
    }
}

impl Derived {
    /// The same rows, named by the records that `rows` were made of.
    fn made_of(mut self, rows: &Self) -> Self {
        for origin in &mut self.origin {
            if let Some(record) = rows.origin.get(*origin as usize) {
                *origin = *record;
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::shared_batch::testing::batch;
    use crate::testing::RowPump;

    #[test]
    fn rows_of_rows_are_named_by_their_records() {
        // Records 2 and 3 have two rows each; the second pump keeps the rows of even sequence
        // numbers, twice.
        let source = batch(&["1", "2", "3", "4"]);
        let first = PumpRef {
            pump: Arc::new(RowPump::new("first", &[&[0, 0, 2, 2]])),
            stream: 0,
        };
        let second = Arc::new(RowPump::new("second", &[&[2, 0]]));
        let chain = Chain::new(first, second);

        let derived = chain.apply(&source.batch).unwrap();
        assert_eq!(derived.len(), 1);
        assert_eq!(derived[0].origin(), [1, 1, 1, 1]);
        assert_eq!(derived[0].batch().len(), 4);
    }
}
