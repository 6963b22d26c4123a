//! The facts about the rows of a pump. Each stream of the pump is a source of its own, with a row
//! in the place of a record: every check holds for rows as for records.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::engine::Order;
use distributary_core::pump::Pump;
use distributary_core::store::{LaneCheckpoint, OutputId};
use distributary_core::testing::{Entry, Event, RowPump, hash};

use super::outputs::{Counted, OutputFacts};
use super::{Put, Truth};
use crate::trace::Trace;

/// One stream of the pump.
#[derive(Debug)]
pub(super) struct StreamFacts {
    /// The services of the outputs that take the stream.
    services: BTreeSet<String>,
    /// The facts with a row for each record.
    rows: Truth,
    /// For each record of the source, the numbers of the record's rows.
    of_records: Vec<Range<usize>>,
}

/// The names of rows in requests: the sequence number of the record, and the hash of the row's
/// data.
pub(super) type RowNumbers = BTreeMap<(u128, u64), usize>;

impl Truth {
    /// The outputs of the run may take streams of `pump`. Called before any record is written.
    pub fn add_pump(&mut self, pump: Arc<RowPump>) {
        self.streams = (0..pump.streams())
            .map(|_| StreamFacts {
                services: BTreeSet::new(),
                rows: Self {
                    row_numbers: Some(RowNumbers::new()),
                    ..Self::new(self.first, Trace::new(false))
                },
                of_records: Vec::new(),
            })
            .collect();
        self.pump = Some(pump);
    }

    /// Adds an output that takes a stream of the pump.
    pub fn add_output_of_rows(
        &mut self,
        service: &str,
        id: &OutputId,
        order: Order,
        stream: usize,
    ) {
        if let Some(stream) = self.streams.get_mut(stream) {
            stream.services.insert(service.to_owned());
            stream.rows.add_output(service, id, order);
        }
    }

    /// The facts that have the output of `service`.
    pub(super) fn facts_of(&self, service: &str) -> &Self {
        let stream = self.streams.iter().find(|s| s.services.contains(service));
        stream.map_or(self, |stream| &stream.rows)
    }

    /// The facts that have the output of `service`.
    pub(super) fn facts_of_mut(&mut self, service: &str) -> &mut Self {
        let mut streams = self.streams.iter();
        match streams.position(|s| s.services.contains(service)) {
            Some(stream) => &mut self.streams[stream].rows,
            None => self,
        }
    }

    /// Carries out `change` for the rows of every stream.
    pub(super) fn for_rows(&mut self, mut change: impl FnMut(&mut Self)) {
        for stream in &mut self.streams {
            stream.rows.now = self.now;
            change(&mut stream.rows);
        }
    }

    /// The rows of a record that was written to the source.
    pub(super) fn put_rows(&mut self, put: &Put<'_>) {
        let Some(pump) = self.pump.clone() else {
            return;
        };
        let sequence = put.sequence.as_str().parse().unwrap_or(u128::MAX);
        for (number, stream) in self.streams.iter_mut().enumerate() {
            let first = stream.rows.records.len();
            for sub in 0..pump.rows(number, sequence) {
                let data = RowPump::row(put.digest, sub);
                stream.rows.put_row(put, &data, (sequence, sub));
            }
            stream.of_records.push(first..stream.rows.records.len());
        }
    }

    fn put_row(&mut self, put: &Put<'_>, data: &[u8], (sequence, sub): (u128, usize)) {
        let digest = hash(data);
        let row = self.records.len();
        self.put(&Put {
            digest,
            size: data.len() + put.key.map_or(0, str::len),
            ..*put
        });
        self.records[row].sub = u32::try_from(sub).ok();
        if let Some(numbers) = &mut self.row_numbers {
            numbers.insert((sequence, digest), row);
        }
    }

    /// The number of a row, if these are the facts of rows.
    pub(super) fn row_number(&self, entry: &Entry) -> Option<usize> {
        let numbers = self.row_numbers.as_ref()?;
        let row = numbers.get(&(entry.sequence, entry.digest)).copied();
        Some(row.unwrap_or(usize::MAX))
    }

    /// Retention deleted these records, and their rows.
    pub(super) fn trim_rows(&mut self, trimmed: &[usize]) {
        for stream in &mut self.streams {
            let rows = trimmed.iter().flat_map(|n| stream.of_records[*n].clone());
            let rows: Vec<usize> = rows.collect();
            stream.rows.trimmed(&rows);
        }
    }

    /// Counts of an output, in records: a record is acknowledged when all its rows are.
    pub(super) fn counted_rows(&self, service: &str) -> Option<Counted> {
        let mut streams = self.streams.iter();
        let stream = streams.find(|s| s.services.contains(service))?;
        let rows = &stream.rows;
        let output = rows.outputs.get(service).filter(|o| !o.removed)?;
        let filtered = stream.of_records.iter().filter(|of| of.is_empty()).count();
        let records = stream.of_records.iter();
        let acked = records.filter(|of| rows.is_record_durable(output, (*of).clone()));
        Some(Counted {
            acked: acked.count() as u64,
            filtered: filtered as u64,
            // Records without rows are read again, too.
            reread: self.reread,
            ..output.counted()
        })
    }

    /// True if every row of `of` is durable, and one became so since the engine started last.
    fn is_record_durable(&self, output: &OutputFacts, mut of: Range<usize>) -> bool {
        let was_durable = |row: usize| {
            let facts = &self.records[row];
            let lane = output.lanes.get(&facts.shard);
            lane.is_some_and(|lane| facts.index < lane.durable_at_start)
        };
        let is_durable = |row: usize| output.state(row).is_durable();
        of.clone().all(|row| is_durable(row) || was_durable(row)) && of.any(is_durable)
    }

    /// Adds an event to the facts of the rows that the event is about. `None`: the event is about
    /// records.
    pub(super) fn on_rows(&mut self, event: &Event<'_>) -> Option<()> {
        let service = match event {
            Event::Arrived { service, .. }
            | Event::Applied { service, .. }
            | Event::Answered { service, .. }
            | Event::Abandoned { service, .. } => *service,
            Event::Read { .. }
            | Event::Committed { .. }
            | Event::Forgotten { .. }
            | Event::Leased { .. }
            | Event::LeaseRow { .. }
            | Event::Fault(_) => return None,
        };
        let mut streams = self.streams.iter();
        let stream = streams.position(|s| s.services.contains(service))?;
        self.in_stream(stream, |rows| rows.on(event));
        Some(())
    }

    /// The checkpoints of `lanes` that are about records. The others are added to the facts of the
    /// rows.
    pub(super) fn commit_rows(&mut self, lanes: &[LaneCheckpoint]) -> Vec<LaneCheckpoint> {
        let mut rest = lanes.to_vec();
        for stream in 0..self.streams.len() {
            let outputs = &self.streams[stream].rows.outputs;
            let is_of_rows = |row: &LaneCheckpoint| {
                let mut outputs = outputs.values();
                outputs.any(|output| output.id == row.lane.output && !output.removed)
            };
            let (of_rows, others): (Vec<_>, Vec<_>) = rest.into_iter().partition(is_of_rows);
            rest = others;
            if !of_rows.is_empty() {
                self.in_stream(stream, |rows| rows.on_committed(&of_rows));
            }
        }
        rest
    }

    /// Carries out `change` for the rows of one stream. The trace and the violation are the run's.
    fn in_stream(&mut self, stream: usize, change: impl FnOnce(&mut Self)) {
        let Self {
            streams,
            trace,
            violation,
            now,
            ..
        } = self;
        let rows = &mut streams[stream].rows;
        rows.now = *now;
        std::mem::swap(&mut rows.trace, trace);
        std::mem::swap(&mut rows.violation, violation);
        change(rows);
        std::mem::swap(&mut rows.violation, violation);
        std::mem::swap(&mut rows.trace, trace);
    }

    /// Checks the end of the run for the rows of every stream.
    pub(super) fn check_end_of_rows(&mut self) {
        for stream in 0..self.streams.len() {
            self.in_stream(stream, Self::check_end);
        }
    }

    /// [`Truth::late_for_checkpoint`] for rows.
    pub(super) fn late_rows(
        &self,
        age: Duration,
        held_since: Option<Duration>,
    ) -> Option<(String, usize)> {
        let mut streams = self.streams.iter().map(|stream| &stream.rows);
        streams.find_map(|rows| rows.late_for_checkpoint_at(self.now, age, held_since))
    }
}
