//! A stateless program as a pump of the engine: rows in place of the records of a batch.

use std::sync::{Arc, Mutex, MutexGuard};

use distributary_core::batch::Batch;
use distributary_core::clock::Clock;
use distributary_core::pump::{BadRow, Derived, DerivedBuilder, Pump, PumpId, RowBound};
use distributary_core::record::DataForm;
use distributary_core::sync::lock;

use super::errors::ErrorCounts;
use super::records;
use crate::program::Program;
use crate::run::processor::{ProcessorSettings, Record};
use crate::run::stateless::{Applied, Selection, StatelessProcessor};

/// Bytes of one column of a row besides its name and text: quotes, colon and comma.
const COLUMN_OVERHEAD: usize = 6;
/// Bytes of a row of `error_stream` besides the record in hexadecimal digits.
const ERROR_ROW: usize = 400;

/// A stateless program as a pump: one stream of rows for each selection.
///
/// A row depends on its record alone, the clock functions apart: the ROWTIME is the arrival time.
pub struct SqlPump {
    id: PumpId,
    program: Arc<Program>,
    selections: Vec<Selection>,
    clock: Clock,
    settings: ProcessorSettings,
    /// Processors that no batch is using.
    idle: Mutex<Vec<StatelessProcessor>>,
    errors: Arc<ErrorCounts>,
}

impl SqlPump {
    /// The pump of `program`; `None` if the program keeps state.
    #[must_use]
    pub fn new(program: Arc<Program>, selections: Vec<Selection>, clock: Clock) -> Option<Self> {
        let settings = ProcessorSettings {
            started: clock.wall().0,
            ..ProcessorSettings::default()
        };
        program.is_stateless().then(|| Self {
            id: id_of(&program, &selections),
            program,
            selections,
            clock,
            settings,
            idle: Mutex::default(),
            errors: Arc::default(),
        })
    }

    /// The rows that went to `error_stream`, whether an output takes that stream or not.
    #[must_use]
    pub fn errors(&self) -> Arc<ErrorCounts> {
        Arc::clone(&self.errors)
    }

    fn idle(&self) -> MutexGuard<'_, Vec<StatelessProcessor>> {
        lock(&self.idle)
    }

    fn processor(&self) -> Option<StatelessProcessor> {
        let idle = self.idle().pop();
        idle.or_else(|| StatelessProcessor::new(Arc::clone(&self.program), self.settings))
    }

    /// Bytes of the fixed parts of a row.
    fn width(&self, selection: &Selection) -> usize {
        let stream = self.program.streams().get(selection.stream);
        let columns = stream.map_or(&[][..], |stream| &stream.columns);
        let names = columns
            .iter()
            .map(|column| column.name.len() + COLUMN_OVERHEAD + column.sql_type.fixed_text());
        names.sum()
    }

    /// Rows of records that take `bytes` bytes, and the bytes of those rows, for one selection.
    fn bound_of(&self, selection: &Selection, records: usize, bytes: usize) -> RowBound {
        let overhead = self.width(selection) + DerivedBuilder::ROW_OVERHEAD;
        if selection.stream == self.program.error_stream() {
            return RowBound {
                rows: records,
                bytes: records * (overhead + ERROR_ROW) + 2 * bytes,
            };
        }

        let rows = records * self.program.rows_of_a_record(selection.stream);
        RowBound {
            rows,
            bytes: rows * overhead + bytes,
        }
    }
}

impl Pump for SqlPump {
    fn id(&self) -> &PumpId {
        &self.id
    }

    fn streams(&self) -> usize {
        self.selections.len()
    }

    /// An estimate for records of one row each whose text goes into the rows once. Rows beyond
    /// (several CSV rows in a record, arrays, repeated texts) are kept and not counted: losing a
    /// row would be worse than the memory.
    fn bound(&self, records: usize, bytes: usize) -> RowBound {
        let mut sum = RowBound { rows: 0, bytes: 0 };
        for selection in &self.selections {
            let one = self.bound_of(selection, records, bytes);
            sum.rows += one.rows;
            sum.bytes += one.bytes;
        }
        sum
    }

    fn apply(&self, batch: &Batch) -> Result<Vec<Derived>, BadRow> {
        let Some(mut processor) = self.processor() else {
            return Ok(Vec::new());
        };
        let data = records::data_of(batch);
        let origin = batch.origin();
        let shard = records::shard_index(&origin.shard);

        let numbered = data.iter().enumerate();
        let records: Vec<Record<'_>> = numbered
            .map(|(index, data)| records::record(batch, index, data, shard))
            .collect();

        processor.set_wall_clock(self.clock.wall().0);
        let applied = processor.apply(&records, &self.selections);
        self.errors.add_batch(batch, processor.take_errors());
        self.idle().push(processor);

        let derived = applied.iter().map(|rows| derived(batch, rows));
        derived.collect()
    }
}

/// The rows of one selection.
fn derived(batch: &Batch, applied: &Applied) -> Result<Derived, BadRow> {
    let mut rows = DerivedBuilder::new(batch, DataForm::Raw);
    for (row, (record, place)) in applied.rows().enumerate() {
        let record = record as usize;
        let own = applied.key(row);
        let key = own.or_else(|| batch.record(record).key);
        rows.push(record, key, &applied.data()[place])?;
    }
    rows.finish()
}

/// Equal for pumps that make the same rows.
fn id_of(program: &Program, selections: &[Selection]) -> PumpId {
    let mut id = format!("sql-{:016x}", program.fingerprint());
    for Selection {
        stream,
        format,
        key,
    } in selections
    {
        id.push_str(&format!("/{stream}{format:?}{key:?}"));
    }
    PumpId::new(&id)
}
