//! The rows that a pump made of a batch, and a lane's way through them. A lane moves over rows, and
//! the lane's cursor over records: a record is settled when all its rows are.

use crate::batch::Batch;
use crate::checkpoint::{Position, Sequence};
use crate::output::EncodingKey;
use crate::pump::Derived;

use super::shared_batch::ChunkSet;

/// The rows of one stream, and their chunks under each encoding key that memory is reserved for.
pub(crate) struct Rows {
    derived: Derived,
    sets: Vec<ChunkSet>,
}

/// A place among the rows: everything before it is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// All rows of the records before this one are settled.
    pub(crate) records: usize,
    /// The number of settled rows of that record; 0 if none is.
    pub(crate) rows: usize,
}

impl Rows {
    pub(crate) fn new(derived: Derived, keys: impl IntoIterator<Item = EncodingKey>) -> Self {
        let sets = keys.into_iter().map(ChunkSet::new).collect();
        Self { derived, sets }
    }

    /// The rows as a batch.
    pub(crate) fn batch(&self) -> &Batch {
        self.derived.batch()
    }

    /// The chunks under `key`, if room was reserved for them.
    pub(crate) fn set(&self, key: &EncodingKey) -> Option<&ChunkSet> {
        self.sets.iter().find(|set| set.key() == key)
    }

    /// The index of the first row of the record at `record` or behind it.
    pub(crate) fn first_row(&self, record: usize) -> usize {
        let origin = self.derived.origin();
        origin.partition_point(|of| (*of as usize) < record)
    }

    /// The row to go on with behind `place`.
    pub(crate) fn row_after(&self, place: Place) -> usize {
        let next = self.first_row(place.records + 1);
        (self.first_row(place.records) + place.rows).min(next)
    }

    /// The index of the row at `row` among the rows of its record.
    pub(crate) fn sub(&self, row: usize) -> u32 {
        let first = self.origin(row).map_or(row, |of| self.first_row(of));
        u32::try_from(row - first).unwrap_or(u32::MAX)
    }

    fn origin(&self, row: usize) -> Option<usize> {
        self.derived.origin().get(row).map(|of| *of as usize)
    }

    /// The place where the rows `[0, through)` are settled, and with them the records without rows
    /// up to the next row's. `source` is the batch that the rows were made of.
    pub(crate) fn place(&self, source: &Batch, through: usize) -> Place {
        match self.origin(through) {
            None => Place {
                records: source.len(),
                rows: 0,
            },
            Some(records) => Place {
                records,
                rows: through - self.first_row(records),
            },
        }
    }

    /// The number of records in `[from, to)` that have rows.
    pub(crate) fn records_with_rows(&self, from: usize, to: usize) -> usize {
        let rows = self.first_row(from)..self.first_row(to);
        let origin = self.derived.origin().get(rows).unwrap_or_default();
        origin.chunk_by(|a, b| a == b).count()
    }
}

impl Place {
    /// The position of a lane at this place of `source`; `None` at the start of the batch.
    pub(crate) fn position(self, source: &Batch) -> Option<Position> {
        if self.rows == 0 {
            let last = self.records.checked_sub(1)?;
            return Some(source.after(last));
        }

        let record = source.record(self.records);
        let last = u32::try_from(self.rows - 1);
        Some(Position::After {
            sequence: Sequence::new(record.sequence),
            sub: Some(last.unwrap_or(u32::MAX)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::shared_batch::testing::batch;
    use crate::pump::DerivedBuilder;
    use crate::record::DataForm;

    /// The rows of a pump that makes `counts[i]` rows of record `i`.
    fn rows(source: &Batch, counts: &[usize]) -> Rows {
        let mut rows = DerivedBuilder::new(source, DataForm::Raw);
        for (record, count) in counts.iter().enumerate() {
            for _ in 0..*count {
                rows.push(record, None, b"row").unwrap();
            }
        }
        Rows::new(rows.finish().unwrap(), [])
    }

    #[test]
    fn a_place_and_a_row_name_each_other() {
        let shared = batch(&["1", "2", "3", "4", "5"]);
        let source = &shared.batch;
        let rows = rows(source, &[0, 2, 0, 3, 0]);
        let at = |sequence: &str, sub| {
            let sequence = Sequence::new(sequence);
            Some(Position::After { sequence, sub })
        };
        for (through, records, settled, position) in [
            (0, 1, 0, at("1", None)),
            (1, 1, 1, at("2", Some(0))),
            (2, 3, 0, at("3", None)),
            (3, 3, 1, at("4", Some(0))),
            (4, 3, 2, at("4", Some(1))),
            (5, 5, 0, at("5", None)),
        ] {
            let place = rows.place(source, through);
            let expected = Place {
                records,
                rows: settled,
            };
            assert_eq!(place, expected, "{through}");
            assert_eq!(place.position(source), position, "{through}");
            assert_eq!(rows.row_after(place), through, "{through}");
        }
        assert_eq!(rows.records_with_rows(0, 5), 2);
        assert_eq!(rows.records_with_rows(2, 4), 1);
        assert_eq!((rows.sub(1), rows.sub(4)), (1, 2));
    }

    #[test]
    fn more_settled_rows_than_a_record_has_end_at_the_next_record() {
        let shared = batch(&["1", "2", "3"]);
        let rows = rows(&shared.batch, &[1, 1, 1]);
        let place = Place {
            records: 1,
            rows: 7,
        };
        assert_eq!(rows.row_after(place), 2);
    }
}
