//! The facts of a run, and the checks of the contract against them. Every line of the contract that
//! can be checked at the seams is checked at each event there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Position;
use distributary_core::engine::Order;
use distributary_core::store::OutputId;
use distributary_core::testing::{Event, ReadAnswer, RowPump};

use crate::trace::Trace;
use dead_letters::DeadLetters;
use leases::{LeaseFacts, Leased};
use outputs::OutputFacts;
use requests::Arrival;
use rows::{RowNumbers, StreamFacts};
use source::{RecordFacts, ShardFacts};

mod answers;
mod checkpoints;
mod dead_letters;
mod end;
mod leases;
mod outputs;
mod requests;
mod rows;
mod source;

pub use outputs::Counted;
pub use source::Put;

/// A line of the contract that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The line, as docs/SEMANTICS.md names it.
    pub line: &'static str,
    /// The facts that contradict the line.
    pub description: String,
    /// Time since the run started.
    pub at: Duration,
}

/// A line of the contract that an event breaks, and the facts that contradict the line.
pub(crate) type Broken = (&'static str, String);

/// The lines of the contract, as docs/SEMANTICS.md names them.
pub mod line {
    #![allow(missing_docs, reason = "the text is the documentation")]
    pub const COMPLETE: &str = "1 Complete";
    pub const DURABLE: &str = "2 Durable means acknowledged";
    pub const ORDER: &str = "3 Order per partition key";
    pub const ISOLATION: &str = "4 Isolation";
    pub const CRASH: &str = "5 Crash";
    pub const RESHARDING: &str = "6 Resharding";
    pub const SILENT: &str = "8 Nothing silent";
    pub const BOUNDED: &str = "10 Bounded";
    pub const ONE_WRITER: &str = "11 One writer";
    pub const LIVE: &str = "12 Live";
    pub const ENGINE: &str = "the engine keeps running";
}

/// The facts of a run. Records, shards and keys are numbered from 0, in the order of appearance.
#[derive(Debug)]
pub struct Truth {
    /// The number that requests give the first record; each later record has the next number.
    first: u128,
    records: Vec<RecordFacts>,
    keys: BTreeMap<Arc<str>, u32>,
    shards: Vec<ShardFacts>,
    shard_ids: BTreeMap<ShardId, usize>,
    /// Outputs by the name of their service.
    outputs: BTreeMap<String, OutputFacts>,
    /// Dead letters by the name of the service that takes them.
    dead_letters: BTreeMap<String, DeadLetters>,
    /// Shards and outputs for which the engine reported a gap.
    gaps: BTreeSet<(ShardId, OutputId)>,
    /// Shards are gained and lost; otherwise the engine owns every shard.
    has_leases: bool,
    /// The leases of the running engine, by shard.
    leases: BTreeMap<usize, LeaseFacts>,
    /// Records of shards that the running engine gained again.
    reread: u64,
    /// The pump, if outputs take rows.
    pump: Option<Arc<RowPump>>,
    /// The streams of the pump.
    streams: Vec<StreamFacts>,
    /// The names of rows, if these are the facts of rows.
    row_numbers: Option<RowNumbers>,
    /// A reader at the start of a shard notices that every record was deleted.
    starts_tell: bool,
    /// An engine is running.
    running: bool,
    now: Duration,
    /// How often each kind of fault was played.
    pub faults: BTreeMap<&'static str, u64>,
    /// The first violation.
    pub violation: Option<Violation>,
    /// The trace of all events.
    pub trace: Trace,
}

impl Truth {
    /// Facts of a run without events yet. `first` is the number that requests give the first
    /// record.
    pub fn new(first: u128, trace: Trace) -> Self {
        Self {
            first,
            records: Vec::new(),
            keys: BTreeMap::new(),
            shards: Vec::new(),
            shard_ids: BTreeMap::new(),
            outputs: BTreeMap::new(),
            dead_letters: BTreeMap::new(),
            gaps: BTreeSet::new(),
            has_leases: false,
            leases: BTreeMap::new(),
            reread: 0,
            pump: None,
            streams: Vec::new(),
            row_numbers: None,
            starts_tell: true,
            running: false,
            now: Duration::ZERO,
            faults: BTreeMap::new(),
            violation: None,
            trace,
        }
    }

    /// Reports that a line of the contract does not hold. Only the first report is kept.
    pub fn violate(&mut self, line: &'static str, description: impl Into<String>) {
        if self.violation.is_some() {
            return;
        }

        let description = description.into();
        self.trace.line(self.now, |l| {
            _ = write!(l, "VIOLATION of {line}: {description}");
        });
        self.violation = Some(Violation {
            line,
            description,
            at: self.now,
        });
    }

    /// An engine is about to start from the checkpoints in the store; `has_leases`: it gains and
    /// loses shards.
    pub fn engine_starts(&mut self, has_leases: bool) {
        self.running = true;
        self.has_leases = has_leases;
        self.leases.clear();
        self.reread = 0;
        for letters in self.dead_letters.values_mut() {
            letters.engine_starts();
        }
        for output in self.outputs.values_mut() {
            output.engine_starts(&self.shards, &self.records);
        }
        self.for_rows(|rows| rows.engine_starts(has_leases));
    }

    /// The engine stopped, in order or killed.
    pub fn engine_ended(&mut self) {
        self.running = false;
        self.for_rows(|rows| rows.running = false);
        self.trace.text("end of life");
        self.trace
            .line(self.now, |l| l.push_str("the engine has ended"));
    }

    /// Sets the time since the run started; called before every event.
    pub fn set_now(&mut self, now: Duration) {
        self.now = now;
        self.trace.note(u64::try_from(now.as_millis()).unwrap_or(0));
    }

    /// Records written to the source so far.
    pub fn record_count(&self) -> usize {
        self.records.len()
    }

    /// Adds an output. Its requests carry the service's name, its checkpoints `id`.
    pub fn add_output(&mut self, service: &str, id: &OutputId, order: Order) {
        let output = OutputFacts::new(id.clone(), order);
        self.outputs.insert(service.to_owned(), output);
    }

    /// The records that `service` refuses go to the service `dead_letters`.
    pub fn add_dead_letters(&mut self, dead_letters: &str, service: &str) {
        let letters = DeadLetters::of(service);
        self.dead_letters.insert(dead_letters.to_owned(), letters);
    }

    /// From now on a reader at the start of a shard does not notice that every record was deleted:
    /// Kinesis answers like a shard that never had records.
    pub fn starts_tell_nothing(&mut self) {
        self.starts_tell = false;
    }

    /// Sets whether an output is paused, when no request may arrive.
    pub fn set_paused(&mut self, service: &str, paused: bool) {
        let facts = self.facts_of_mut(service);
        if let Some(output) = facts.outputs.get_mut(service) {
            output.paused = paused;
        }
    }

    /// An output was removed: no request may arrive any more.
    pub fn remove_output(&mut self, service: &str) {
        let facts = self.facts_of_mut(service);
        if let Some(output) = facts.outputs.get_mut(service) {
            output.removed = true;
        }
    }

    /// An output has new settings, with this order. Records acknowledged beyond the cursor may be
    /// sent again.
    pub fn update_output(&mut self, service: &str, order: Order) {
        let facts = self.facts_of_mut(service);
        if let Some(output) = facts.outputs.get_mut(service) {
            output.update(order);
        }
    }

    /// The engine reported a gap.
    pub fn gap(&mut self, shard: &ShardId, output: &OutputId) {
        self.gaps.insert((shard.clone(), output.clone()));
        self.for_rows(|rows| rows.gap(shard, output));
    }

    /// Adds an event at a seam to the facts, and checks the contract.
    pub fn on(&mut self, event: &Event<'_>) {
        if self.on_rows(event).is_some() {
            return;
        }
        match event {
            Event::Read {
                shard,
                from,
                credit,
                answer,
            } => self.on_read(shard, from, *credit, *answer),
            Event::Arrived {
                service,
                request,
                entries,
                limits,
                in_flight,
            } => self.on_arrived(&Arrival {
                service,
                request: *request,
                entries,
                limits: *limits,
                most_in_flight: *in_flight,
            }),
            Event::Applied {
                service,
                request,
                places,
                late,
            } => self.on_applied(service, *request, places, *late),
            Event::Answered {
                service,
                request,
                outcome,
            } => self.on_answered(service, *request, outcome),
            Event::Abandoned { service, request } => self.on_abandoned(service, *request),
            Event::Leased {
                shard,
                until,
                gained,
            } => self.on_leased(&Leased {
                shard,
                until: until.0,
                gained: *gained,
            }),
            Event::Committed { rows } if self.streams.is_empty() => self.on_committed(rows),
            Event::Committed { rows } => {
                let of_records = self.commit_rows(rows);
                self.on_committed(&of_records);
            }
            Event::Forgotten { lanes } => {
                self.on_forgotten(lanes);
                self.for_rows(|rows| rows.on_forgotten(lanes));
            }
            Event::Fault(name) => self.on_fault(name),
            // One worker alone has no lease table.
            Event::LeaseRow { .. } => {}
        }
    }

    fn on_read(&mut self, shard: &ShardId, from: &Position, credit: u32, answer: ReadAnswer) {
        self.trace.text(shard.as_str());
        self.trace.text(&format!("{answer:?}"));
        if answer != ReadAnswer::Idle {
            self.trace.line(self.now, |l| {
                _ = write!(
                    l,
                    "read {shard} from {from:?}, at most {credit}: {answer:?}"
                );
            });
        }

        match answer {
            ReadAnswer::Records(count) => self.read(shard, from, count),
            ReadAnswer::Closed => self.read_to_end(shard),
            ReadAnswer::Idle | ReadAnswer::Gap | ReadAnswer::Failed => {}
        }
    }

    fn on_fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
        self.trace.text(name);
        self.trace.line(self.now, |l| {
            _ = write!(l, "fault: {name}");
        });
    }
}
