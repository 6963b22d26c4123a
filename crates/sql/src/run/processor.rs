//! The processor: records in, rows out, in the order that the dialect's clock gives.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::catalog::{Column, Stream};
use crate::expr::Clocks;
use crate::input::{Decoder, Metadata};
use crate::output::{write_json_row, write_plain};
use crate::program::{Program, Pump};
use crate::run::chain::{Chain, Entry};
use crate::run::operator::{Context, Made, Row};
use crate::run::snapshot::{RestoreError, Snapshot, StreamTime};
use crate::types::datetime;
use crate::value::{ErrorName, RowError, Value};

/// The longest DATA_ROW of `error_stream`, in characters.
const LONGEST_DATA_ROW: usize = 49_152;

/// The longest partition key of Kinesis, in characters.
const LONGEST_KEY: usize = 256;

/// A record of the source, as read.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The data; text in the program is a slice of them.
    pub data: &'a Bytes,
    /// The approximate arrival time, in milliseconds since 1970.
    pub arrival: i64,
    /// The partition key.
    pub partition_key: &'a str,
    /// The sequence number.
    pub sequence_number: &'a str,
    /// The shard's name.
    pub shard_id: &'a str,
    /// The shard's number, which says which of several parallel input streams takes the record.
    pub shard_index: usize,
}

impl Record<'_> {
    /// A metadata column of the input stream, by its place in `METADATA`.
    pub(crate) fn metadata(&self, index: usize) -> Value {
        match index {
            0 => Value::Timestamp(datetime::clamped(self.arrival)),
            1 => self.shard_id.into(),
            2 => self.sequence_number.into(),
            _ => self.partition_key.into(),
        }
    }
}

/// A row that a program made.
#[derive(Debug, Clone, Copy)]
pub struct Emitted<'a> {
    /// The number of the stream in [`Program::streams`].
    pub stream: usize,
    /// The row's time, in milliseconds since 1970.
    pub rowtime: i64,
    /// The declared columns.
    pub values: &'a [Value],
    /// The record that was being processed, counted from the first one pushed. `None` for rows that
    /// time made.
    pub record: Option<u64>,
}

/// Takes the rows of a program in their order of emission.
pub trait Sink {
    /// Takes one row.
    fn row(&mut self, row: Emitted<'_>);
}

impl<F: FnMut(Emitted<'_>)> Sink for F {
    fn row(&mut self, row: Emitted<'_>) {
        self(row);
    }
}

/// A pump's state outgrew the limit. The processor must not be used any more: go back to a snapshot
/// with a larger limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the pump \"{pump}\" holds {size} bytes of state; its limit is {limit}: raise the limit or shorten its windows"
)]
pub struct StateLimitExceeded {
    /// The pump's name.
    pub pump: String,
    /// Bytes of state, about.
    pub size: usize,
    /// The limit for each pump, in bytes.
    pub limit: usize,
}

/// Settings of a processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProcessorSettings {
    /// CURRENT_TIMESTAMP, in milliseconds since 1970.
    pub started: i64,
    /// The most bytes of state that one pump may hold, about.
    pub state_limit: usize,
}

impl Default for ProcessorSettings {
    fn default() -> Self {
        Self {
            started: 0,
            state_limit: 256 << 20,
        }
    }
}

/// A running program: reads no clock and does no I/O.
pub struct Processor {
    program: Arc<Program>,
    pumps: Vec<PumpRun>,
    streams: Vec<StreamRun>,
    decoder: Arc<Decoder>,
    settings: ProcessorSettings,
    /// The clock of CURRENT_ROW_TIMESTAMP and ERROR_TIME; `None` stands for the row's time.
    wall_clock: Option<i64>,
    /// The time that rows and bounds have moved to; `None` before the first.
    now: Option<i64>,
    references_reported: bool,
    records: u64,
    current: Option<u64>,
    made: Vec<Made>,
    spare: Vec<Vec<Value>>,
    row: Vec<Value>,
    error_row: Vec<Value>,
}

struct PumpRun {
    chain: Chain,
    /// Rows that wait, with the entry at which they come in.
    inbox: VecDeque<(usize, Vec<Value>)>,
    deadline: Option<i64>,
}

#[derive(Default)]
struct StreamRun {
    last: Option<i64>,
    /// The pumps and entries that read the stream, in order of definition.
    readers: Vec<(usize, usize)>,
}

/// The row that a pump was given, to tell about a failure.
enum InputRow<'a> {
    /// A row of the source: the record and the row's number in the record.
    Record(&'a Record<'a>, usize),
    Derived(usize, &'a [Value]),
    /// Time alone.
    None,
}

impl Processor {
    /// A processor at the start, without state.
    #[must_use]
    pub fn new(program: Arc<Program>, settings: ProcessorSettings) -> Self {
        let pumps: Vec<PumpRun> = program.running().map(PumpRun::new).collect();
        Self {
            decoder: program.decoder(),
            streams: stream_runs(program.streams().len(), &pumps),
            program,
            pumps,
            settings,
            wall_clock: None,
            now: None,
            references_reported: false,
            records: 0,
            current: None,
            made: Vec::new(),
            spare: Vec::new(),
            row: Vec::new(),
            error_row: Vec::new(),
        }
    }

    /// Sets the clock of CURRENT_ROW_TIMESTAMP and ERROR_TIME, which is each row's own time
    /// otherwise.
    pub fn set_wall_clock(&mut self, milliseconds: i64) {
        self.wall_clock = Some(milliseconds);
    }

    /// The time that rows and bounds have moved to, in milliseconds since 1970.
    #[must_use]
    pub fn now(&self) -> Option<i64> {
        self.now
    }

    /// Processes one record: time moves to the arrival, then the rows pass all pumps.
    ///
    /// # Errors
    /// When a pump's state outgrows the limit.
    pub fn push(
        &mut self,
        record: &Record<'_>,
        sink: &mut dyn Sink,
    ) -> Result<(), StateLimitExceeded> {
        self.process(record, sink);
        self.within_limit()
    }

    /// As [`Processor::push`], for programs without state.
    pub(crate) fn process(&mut self, record: &Record<'_>, sink: &mut dyn Sink) {
        let arrival = datetime::clamped(record.arrival);
        let time = arrival.max(self.now.unwrap_or(i64::MIN));
        self.move_to(time, sink);
        self.current = Some(self.records);
        self.records += 1;

        let stream = self.program.input_of(record.shard_index);
        let metadata = Metadata { record, time };
        let mut row = std::mem::take(&mut self.row);
        let decoder = self.decoder.clone();
        let mut decoding = decoder.record(record.data);
        let mut number = 0;
        while let Some(decoded) = decoding.next_row(&mut row) {
            match decoded {
                Ok(()) => {
                    decoder.put_metadata(&mut row, &metadata);
                    self.source_row(stream, &row, &InputRow::Record(record, number), sink);
                    number += 1;
                }
                Err(error) => self.bad_record(record.data, &error, sink),
            }
        }
        self.row = row;
        self.current = None;
    }

    /// Moves time: a promise that no earlier row will come. Windows that end by then are emitted.
    ///
    /// # Errors
    /// When a pump's state outgrows the limit.
    pub fn advance(&mut self, bound: i64, sink: &mut dyn Sink) -> Result<(), StateLimitExceeded> {
        let bound = datetime::clamped(bound);
        if self.now.is_none_or(|now| bound > now) {
            self.move_to(bound, sink);
        }
        self.within_limit()
    }

    /// The whole state as bytes, for [`Processor::restore`].
    ///
    /// # Errors
    /// When a state can't be written.
    pub fn snapshot(&self) -> Result<Vec<u8>, RestoreError> {
        let pumps: Result<Vec<_>, _> = self.pumps.iter().map(|pump| pump.chain.save()).collect();
        let snapshot = Snapshot {
            program: self.program.fingerprint(),
            started: self.settings.started,
            now: self.now,
            records: self.records,
            streams: self
                .streams
                .iter()
                .map(|stream| StreamTime(stream.last))
                .collect(),
            pumps: pumps?,
        };
        Ok(snapshot.to_bytes()?)
    }

    /// Takes up the state of a snapshot of the same program. The clock of the first start stays.
    ///
    /// # Errors
    /// When the bytes are no snapshot, or one of another program.
    pub fn restore(&mut self, bytes: &[u8]) -> Result<(), RestoreError> {
        let snapshot = Snapshot::from_bytes(bytes)?;
        if !self.is_of_program(&snapshot) {
            return Err(RestoreError::OtherProgram);
        }

        self.settings.started = snapshot.started;
        self.now = snapshot.now;
        self.records = snapshot.records;
        self.references_reported = true;
        for (stream, StreamTime(last)) in self.streams.iter_mut().zip(snapshot.streams) {
            stream.last = last;
        }
        self.load_pumps(&snapshot.pumps)
    }

    fn is_of_program(&self, snapshot: &Snapshot) -> bool {
        let same_pumps = snapshot.pumps.len() == self.pumps.len();
        same_pumps && snapshot.program == self.program.fingerprint()
    }

    fn load_pumps(&mut self, pumps: &[Vec<Vec<u8>>]) -> Result<(), RestoreError> {
        for (pump, states) in self.pumps.iter_mut().zip(pumps) {
            pump.chain.load(states)?;
            pump.deadline = pump.chain.deadline();
        }
        Ok(())
    }

    /// Forgets the time of earlier rows.
    pub(crate) fn forget_time(&mut self) {
        self.now = None;
        for stream in &mut self.streams {
            stream.last = None;
        }
    }

    pub(crate) fn program(&self) -> &Arc<Program> {
        &self.program
    }

    fn clocks(&self) -> Clocks {
        let now = self.now.unwrap_or(0);
        Clocks {
            started: self.settings.started,
            row: self.wall_clock.unwrap_or(now),
        }
    }

    /// Fires all deadlines up to an instant, in order of time, then of definition.
    fn move_to(&mut self, time: i64, sink: &mut dyn Sink) {
        if !self.references_reported {
            self.now = Some(time);
            self.report_references(sink);
        }
        self.fire_until(time, sink);
        self.now = Some(time);
    }

    /// Bad lines of reference data go to `error_stream` before the first row.
    fn report_references(&mut self, sink: &mut dyn Sink) {
        self.references_reported = true;
        let program = self.program.clone();
        for (table, reason) in &program.bad_references {
            let message = format!("a line of the reference table \"{table}\": {reason}");
            let error = RowError::new(ErrorName::Parse, message);
            self.error_row(&error, String::new(), "null", sink);
        }
    }

    /// The first deadline up to an instant, and the pump that has one first.
    fn next_deadline(&self, time: i64) -> Option<(i64, usize)> {
        let deadlines = self.pumps.iter().enumerate();
        deadlines
            .filter_map(|(index, pump)| Some((pump.deadline?, index)))
            .min()
            .filter(|(deadline, _)| *deadline <= time)
    }

    fn fire_until(&mut self, time: i64, sink: &mut dyn Sink) {
        while let Some((deadline, index)) = self.next_deadline(time) {
            self.now = Some(self.now.map_or(deadline, |now| now.max(deadline)));
            let clocks = self.clocks();
            let pump = &mut self.pumps[index];
            let mut context = Context {
                clocks,
                made: &mut self.made,
                spare: &mut self.spare,
            };
            pump.chain.fire(deadline, &mut context);
            pump.deadline = pump.chain.deadline();
            self.take_made(index, &InputRow::None, sink);
            self.drain(sink);
        }
    }

    /// A row of the source passes the pumps that read it, and the pumps fed by them.
    fn source_row(
        &mut self,
        stream: usize,
        row: &[Value],
        input: &InputRow<'_>,
        sink: &mut dyn Sink,
    ) {
        for reader in 0..self.streams[stream].readers.len() {
            let (pump, entry) = self.streams[stream].readers[reader];
            self.drain_before(pump, sink);
            self.run(pump, entry, Row::Lent(row), input, sink);
        }
        self.drain(sink);
        if let Some(now) = self.now {
            self.fire_until(now, sink);
        }
    }

    fn run(
        &mut self,
        index: usize,
        entry: usize,
        row: Row<'_>,
        input: &InputRow<'_>,
        sink: &mut dyn Sink,
    ) {
        let clocks = self.clocks();
        let pump = &mut self.pumps[index];
        let mut context = Context {
            clocks,
            made: &mut self.made,
            spare: &mut self.spare,
        };
        let entry: Entry = pump.chain.entries()[entry];
        pump.chain.process(entry, row, &mut context);
        pump.deadline = pump.chain.deadline();
        self.take_made(index, input, sink);
    }

    /// Gives the rows that a pump made to the stream, and failures to `error_stream`.
    fn take_made(&mut self, pump: usize, input: &InputRow<'_>, sink: &mut dyn Sink) {
        if self.made.is_empty() {
            return;
        }
        let mut made = std::mem::take(&mut self.made);
        for result in made.drain(..) {
            match result {
                Made::Row(row) => {
                    if let Err(error) = self.insert(pump, &row, sink) {
                        self.pump_failure(pump, &error, None, input, sink);
                    }
                    self.spare.push(row);
                }
                Made::Failure(error, key) => self.pump_failure(pump, &error, key, input, sink),
            }
        }
        self.made = made;
    }

    fn insert(&mut self, pump: usize, row: &[Value], sink: &mut dyn Sink) -> Result<(), RowError> {
        let target = self.program.target(pump);
        let time = row.first().map_or(0, Value::integer);
        self.check_row(target, time, row)?;

        self.streams[target].last = Some(time);
        sink.row(Emitted {
            stream: target,
            rowtime: time,
            values: row.get(1..).unwrap_or_default(),
            record: self.current,
        });
        self.pass_on(target, row);
        Ok(())
    }

    /// Gives a row of a stream to the pumps that read from there.
    fn pass_on(&mut self, stream: usize, row: &[Value]) {
        for (reader, entry) in &self.streams[stream].readers {
            let mut copy = self.spare.pop().unwrap_or_default();
            copy.clear();
            copy.extend_from_slice(row);
            self.pumps[*reader].inbox.push_back((*entry, copy));
        }
    }

    fn check_row(&self, target: usize, time: i64, row: &[Value]) -> Result<(), RowError> {
        if self.streams[target].last.is_some_and(|last| time < last) {
            let message = "rows out of order: the row is older than the last one of its stream";
            return Err(RowError::new(ErrorName::OutOfOrder, message));
        }
        let columns = &self.program.streams()[target].columns;
        for (column, value) in columns.iter().zip(row.iter().skip(1)) {
            if column.not_null && value.is_null() {
                return Err(null_refused(column));
            }
        }
        Ok(())
    }

    /// Processes all waiting rows: the first pump with one goes first.
    fn drain(&mut self, sink: &mut dyn Sink) {
        self.drain_before(self.pumps.len(), sink);
    }

    fn drain_before(&mut self, end: usize, sink: &mut dyn Sink) {
        loop {
            let waiting = self.pumps[..end]
                .iter()
                .position(|pump| !pump.inbox.is_empty());
            let Some(index) = waiting else {
                return;
            };
            let Some((entry, mut row)) = self.pumps[index].inbox.pop_front() else {
                return;
            };
            let stream = self.pumps[index].chain.entries()[entry].stream;
            let input = InputRow::Derived(stream, &row);
            self.run(index, entry, Row::Lent(&row), &input, sink);
            row.clear();
            self.spare.push(row);
        }
    }

    fn bad_record(&mut self, data: &Bytes, error: &RowError, sink: &mut dyn Sink) {
        let hex = upper_hex(data);
        // The service wrote the word null, not a NULL.
        self.error_row(error, hex, "null", sink);
    }

    fn pump_failure(
        &mut self,
        pump: usize,
        error: &RowError,
        key: Option<String>,
        input: &InputRow<'_>,
        sink: &mut dyn Sink,
    ) {
        let text = key.unwrap_or_else(|| self.input_text(input));
        let program = self.program.clone();
        self.error_row(
            error,
            upper_hex(text.as_bytes()),
            program.pump_name(pump),
            sink,
        );
    }

    /// The pump's input row as JSON.
    fn input_text(&self, input: &InputRow<'_>) -> String {
        let (stream, values) = match input {
            InputRow::None => return String::new(),
            InputRow::Derived(stream, values) => {
                let values = values.to_vec();
                (*stream, values)
            }
            InputRow::Record(record, number) => {
                let stream = self.program.input_of(record.shard_index);
                (stream, self.program.full_row(record.data, *number))
            }
        };
        let columns: &[Column] = &self.program.streams()[stream].columns;
        let mut text = Vec::new();
        write_json_row(columns, values.get(1..).unwrap_or_default(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    fn error_row(&mut self, error: &RowError, data: String, pump: &str, sink: &mut dyn Sink) {
        let rowtime = self.now.unwrap_or(0);
        self.error_row.clear();
        self.error_row.extend([
            Value::Timestamp(self.clocks().row),
            "WARNING".into(),
            error.name().text().into(),
            first_characters(error.message()).into(),
            Value::Timestamp(rowtime),
            data.into(),
            pump.into(),
        ]);
        sink.row(Emitted {
            stream: self.program.error_stream(),
            rowtime,
            values: &self.error_row,
            record: self.current,
        });
    }

    fn within_limit(&self) -> Result<(), StateLimitExceeded> {
        for (index, pump) in self.pumps.iter().enumerate() {
            let size = pump.chain.state_size();
            if size > self.settings.state_limit {
                return Err(StateLimitExceeded {
                    pump: self.program.pump_name(index).to_owned(),
                    size,
                    limit: self.settings.state_limit,
                });
            }
        }
        Ok(())
    }
}

/// The part of a message that the column of the error stream holds.
fn first_characters(message: &str) -> String {
    message.chars().take(4096).collect()
}

fn null_refused(column: &Column) -> RowError {
    let message = format!("NULL for the NOT NULL column \"{}\"", column.name);
    RowError::new(ErrorName::NullInNotNull, message)
}

/// Each stream with the pumps that read from there.
fn stream_runs(count: usize, pumps: &[PumpRun]) -> Vec<StreamRun> {
    let mut streams: Vec<StreamRun> = Vec::new();
    streams.resize_with(count, StreamRun::default);
    for (pump, run) in pumps.iter().enumerate() {
        for (entry, place) in run.chain.entries().iter().enumerate() {
            streams[place.stream].readers.push((pump, entry));
        }
    }
    streams
}

impl PumpRun {
    fn new(pump: &Pump) -> Self {
        Self {
            chain: Chain::new(&pump.plan),
            inbox: VecDeque::new(),
            deadline: None,
        }
    }
}

impl Emitted<'_> {
    /// The text of a column as a partition key: at most 256 characters. `None` if the column is
    /// NULL or empty.
    #[must_use]
    pub fn key(&self, column: usize, program: &Program) -> Option<String> {
        let value = self.values.get(column)?;
        let sql_type = &self.definition(program).columns.get(column)?.sql_type;
        if value.is_null() {
            return None;
        }

        let mut text = String::new();
        write_plain(value, sql_type, &mut text);
        let key: String = text.chars().take(LONGEST_KEY).collect();
        (!key.is_empty()).then_some(key)
    }

    /// The stream's definition.
    #[must_use]
    pub fn definition<'p>(&self, program: &'p Program) -> &'p Stream {
        &program.streams()[self.stream]
    }
}

fn upper_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let shown = &bytes[..bytes.len().min(LONGEST_DATA_ROW / 2)];
    let mut hex = String::with_capacity(shown.len() * 2);
    for byte in shown {
        hex.push(char::from(DIGITS[usize::from(byte >> 4)]));
        hex.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
    hex
}
