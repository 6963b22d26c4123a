//! Stateless programs on batches: rows as data of output records, each with the source record.

use std::ops::Range;
use std::sync::Arc;

use crate::output::RowFormat;
use crate::program::Program;
use crate::pump::ErrorKind;
use crate::run::processor::{Emitted, Processor, ProcessorSettings, Record, Sink};

/// The rows of one stream that an output takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selection {
    /// The number of the stream in [`Program::streams`].
    pub stream: usize,
    /// The form of the records.
    pub format: RowFormat,
    /// The number of the column whose text is a row's partition key; `None`: the key of the source
    /// record.
    pub key: Option<usize>,
}

/// The rows of a batch for one selection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    data: Vec<u8>,
    /// The source record of each row, and the end of the data.
    rows: Vec<(u32, usize)>,
    /// The keys of the rows, where the selection names a column.
    keys: Vec<Option<String>>,
}

impl Applied {
    /// The number of rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The data of all rows, one after the other.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The partition key of a row by the selection's column. `None` stands for the source record's
    /// key: also where the column is NULL or empty.
    #[must_use]
    pub fn key(&self, row: usize) -> Option<&str> {
        self.keys.get(row)?.as_deref()
    }

    /// For each row the source record's number in the batch, and the place of the data. The numbers
    /// never fall.
    pub fn rows(&self) -> impl Iterator<Item = (u32, Range<usize>)> {
        let starts = std::iter::once(0).chain(self.rows.iter().map(|(_, end)| *end));
        self.rows
            .iter()
            .zip(starts)
            .map(|((record, end), start)| (*record, start..*end))
    }
}

/// Runs a stateless program on batches.
///
/// ROWTIME is the arrival time of the record alone, so that cuts of the input and restarts change
/// no row.
pub struct StatelessProcessor {
    processor: Processor,
    errors: Vec<(u32, ErrorKind)>,
}

impl StatelessProcessor {
    /// `None` when the program keeps state: [`Processor`] runs it.
    #[must_use]
    pub fn new(program: Arc<Program>, settings: ProcessorSettings) -> Option<Self> {
        let stateless = program.is_stateless();
        stateless.then(|| Self {
            processor: Processor::new(program, settings),
            errors: Vec::new(),
        })
    }

    /// Sets the clock of CURRENT_ROW_TIMESTAMP and ERROR_TIME, in milliseconds since 1970.
    pub fn set_wall_clock(&mut self, milliseconds: i64) {
        self.processor.set_wall_clock(milliseconds);
    }

    /// The rows that went to `error_stream` since the last call, each with the number of the record
    /// in its batch.
    pub(crate) fn take_errors(&mut self) -> Vec<(u32, ErrorKind)> {
        std::mem::take(&mut self.errors)
    }

    /// The rows that the records of a batch make, for each selection.
    pub fn apply(&mut self, records: &[Record<'_>], selections: &[Selection]) -> Vec<Applied> {
        let program = Arc::clone(self.processor.program());
        let mut collector = Collector {
            program: &program,
            selections,
            applied: vec![Applied::default(); selections.len()],
            record: 0,
            errors: std::mem::take(&mut self.errors),
        };
        for (index, record) in records.iter().enumerate() {
            collector.record = u32::try_from(index).unwrap_or(u32::MAX);
            self.processor.forget_time();
            self.processor.process(record, &mut collector);
        }
        self.errors = collector.errors;
        collector.applied
    }
}

struct Collector<'a> {
    program: &'a Program,
    selections: &'a [Selection],
    applied: Vec<Applied>,
    record: u32,
    errors: Vec<(u32, ErrorKind)>,
}

impl Sink for Collector<'_> {
    fn row(&mut self, row: Emitted<'_>) {
        if row.stream == self.program.error_stream() {
            self.errors.push((self.record, ErrorKind::of(&row)));
        }
        let columns = &row.definition(self.program).columns;
        for (selection, applied) in self.selections.iter().zip(&mut self.applied) {
            if selection.stream != row.stream {
                continue;
            }
            let format = selection.format;
            format.write(columns, row.values, &mut applied.data);
            applied.rows.push((self.record, applied.data.len()));

            if let Some(column) = selection.key {
                applied.keys.push(row.key(column, self.program));
            }
        }
    }
}
