//! Scenarios: a stream, outputs, settings, and timed events, all drawn from a seed. A scenario is
//! plain data, so that a run can be played again with events left out.

use std::time::Duration;

use distributary_core::pump::{Pump, RowBound};
use distributary_core::source::ReadLimits;
use distributary_core::testing::{Mood, OutputFaults, ReadFaults, Rng, RowPump, StoreFaults};

mod events;
mod faults;
mod kinds;
mod rare;
mod shape;
mod whole;

pub use shape::{Keys, OutputShape, Service, Shape, Sizes, Skew, StartPosition};
pub use whole::WholeShape;
use whole::encoded_bound;

/// Outputs in a run, at most.
pub(crate) const MOST_OUTPUTS: usize = 8;
/// Different encodings on the engine's level.
const ENCODINGS: usize = 3;
/// The rows of a record in each stream of a run's pump, by the record's sequence number: a filter,
/// and one that makes several rows.
const ROWS: [&[usize]; 2] = [&[0, 1, 1, 0, 1], &[2, 0, 1, 3]];
/// Bytes of one record in the index of an encoded request, on the engine's level.
const INDEX_BYTES: usize = 16;

/// Timed events, in order.
type Events = Vec<(Duration, Action)>;

/// The extent of a simulation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Level {
    /// The engine over fakes of its seams.
    #[default]
    Engine,
    /// The engine, the Kinesis client, a faulty network and embedded Kinesis servers.
    WholePath,
}

/// The scenario of one run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed that drew the scenario.
    pub seed: u64,
    /// The parts that don't change.
    pub shape: Shape,
    /// Events by time since the start of the run, in order.
    pub events: Vec<(Duration, Action)>,
    /// The stateful pump, if there is one.
    pub counter: Option<CounterShape>,
    /// Properties of the whole path; `None` on the engine's level.
    pub whole: Option<WholeShape>,
}

/// A stateful pump that counts the records of each key.
#[derive(Clone, Debug)]
pub struct CounterShape {
    /// The faults of the service that takes the rows.
    pub faults: OutputFaults,
    /// Of a thousand chunks that the pump takes, so many answers are lost.
    pub lost_answers: u32,
}

impl CounterShape {
    /// A counter in one of three scenarios.
    fn draw(rng: &mut Rng) -> Option<Self> {
        let is_there = rng.below(3) == 0;
        is_there.then(|| Self {
            faults: match rng.below(3) {
                0 => faults::calm_output(rng),
                _ => faults::bad_output(rng),
            },
            lost_answers: *rng.pick(&[0, 100, 500]),
        })
    }
}

/// An event. An output is given by its number in the order of addition, a shard by its position
/// among the open ones. Events that can't happen are skipped.
#[derive(Clone, Debug)]
pub enum Action {
    /// Records are written to the source.
    Put {
        /// The number of records.
        count: u64,
        /// The seed of keys and data.
        seed: u64,
    },
    /// A shard of the source is split.
    Split(usize),
    /// Two neighbouring shards of the source are merged.
    Merge(usize),
    /// Reads have these faults from now on.
    Reads(ReadFaults),
    /// The store has these faults from now on.
    Store(StoreFaults),
    /// An output has these faults from now on.
    Faults(usize, OutputFaults),
    /// An output has this mood from now on.
    Mood(usize, Mood),
    /// An output's stream gets this number of shards.
    Reshard(usize, usize),
    /// An output refuses one of its missing records for good.
    Refuse(usize),
    /// The program's clock jumps by these milliseconds.
    Jump(i64),
    /// The process is killed, and started again after these milliseconds.
    Crash(u64),
    /// The process is killed after this number of events at the seams, and started again at once.
    CrashAfter(u64),
    /// The process stops in order, with these milliseconds to drain, and is started again at once.
    Restart(u64),
    /// An output is paused.
    Pause(usize),
    /// An output is resumed.
    Resume(usize),
    /// An output gets other settings.
    Update(usize, Box<OutputShape>),
    /// An output is added; `true`: with the id of a removed output, if there is one.
    Add(Box<OutputShape>, bool),
    /// An output is removed.
    Remove(usize),
    /// Retention deletes records older than these milliseconds.
    Expire(u64),
}

impl Scenario {
    /// Draws the scenario of a seed.
    pub fn draw(level: Level, seed: u64) -> Self {
        let rng = Rng::new(seed);
        let mut shape = Shape::draw(&mut rng.fork("shape"));
        let mut events = events::draw(&shape, &mut rng.fork("events"));
        if level == Level::Engine {
            kinds::draw_kinds(&mut shape, &mut events, &mut rng.fork("kinds"));
            shape.leases = kinds::draw_leases(&mut rng.fork("leases"));
            kinds::draw_streams(&mut shape, &mut events, &mut rng.fork("streams"));
            rare::draw(&mut shape, &mut events, &mut rng.fork("rare"));
        }

        // A stateful pump needs all shards in one worker.
        let is_sole = level == Level::Engine && shape.leases.is_none();
        let counter = is_sole
            .then(|| CounterShape::draw(&mut rng.fork("counter-shape")))
            .flatten();
        let scenario = Self {
            counter,
            seed,
            shape,
            events,
            whole: None,
        };
        match level {
            Level::Engine => scenario,
            Level::WholePath => scenario.make_whole(&mut rng.fork("whole")),
        }
    }

    /// The pump of the run, if an output takes rows.
    pub(crate) fn pump(&self) -> Option<RowPump> {
        let takes_rows = self.all_outputs().any(|output| output.stream.is_some());
        takes_rows.then(|| RowPump::new("rows", &ROWS))
    }

    /// The most bytes that may be held in memory at any time. Reads share three quarters of the
    /// budget, of which accepted records get a third where an output gathers; lanes' own requests
    /// share a quarter. One of each is always granted.
    pub fn most_memory(&self) -> usize {
        let budget = self.shape.settings.memory_budget;
        let encodings = match self.whole {
            None => ENCODINGS,
            Some(_) => MOST_OUTPUTS,
        };

        let reads = (budget - budget / 4).max(self.largest_read(encodings));
        let accepted = match self.gathers() {
            true => self.shape.stream.limits.answer_bytes,
            false => 0,
        };
        let requests = self.largest_requests().max(budget / 4);
        reads + accepted + requests
    }

    /// True if an output of the run gathers.
    fn gathers(&self) -> bool {
        let mut outputs = self.all_outputs();
        outputs.any(|output| output.gathers.is_some())
    }

    /// The outputs at the start, and the ones that are added.
    fn all_outputs(&self) -> impl Iterator<Item = &OutputShape> {
        let added = self.events.iter().filter_map(|(_, action)| match action {
            Action::Add(output, _) => Some(&**output),
            _ => None,
        });
        self.shape.outputs.iter().chain(added)
    }

    /// Bytes of two of the largest requests: one granted beyond the budget, one still encoded.
    fn largest_requests(&self) -> usize {
        let largest_record = usize::try_from(self.shape.sizes.largest).unwrap_or(0) + 1024;
        let outputs = self.shape.outputs.iter();
        let requests = outputs.map(|o| self.encoded_bytes(o.limits.entries, o.limits.bytes));
        requests.max().unwrap_or(0).max(largest_record) * 2
    }

    /// The most bytes of one request with these records and bytes.
    fn encoded_bytes(&self, records: usize, bytes: usize) -> usize {
        match self.whole {
            None => bytes + records * INDEX_BYTES,
            Some(_) => encoded_bound(records, bytes),
        }
    }

    /// The most bytes that one read can reserve, with this number of different encodings.
    pub fn largest_read(&self, encodings: usize) -> usize {
        let ReadLimits {
            answer_records,
            answer_bytes,
            ..
        } = self.shape.stream.limits;
        let records = answer_records as usize;
        let rows = self.pump().map_or(0, |pump| {
            let RowBound { rows, bytes } = pump.bound(records, answer_bytes);
            bytes + encodings * ROWS.len() * self.encoded_bytes(rows, bytes)
        });
        answer_bytes + encodings * self.encoded_bytes(records, answer_bytes) + rows
    }
}
