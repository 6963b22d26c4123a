//! The facts of a run with several workers, and the checks of the contract against them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Position;
use distributary_core::clock::ClockSource;
use distributary_core::leases::{Cursors, LeaseRow, OutputPrint};
use distributary_core::store::OutputId;
use distributary_core::sync::lock;
use distributary_core::testing::{Entry, Event, Observer, TestClock};

use crate::trace::Trace;
use crate::truth::{Violation, line};

/// Requests of one lane that the last owner may have in flight when another worker starts.
const IN_FLIGHT: u32 = 1;

/// The name of a worker in the lease table.
pub(super) fn worker_name(worker: usize) -> String {
    format!("worker-{worker}")
}

/// Reports a violation; see [`Facts`].
pub(super) struct Judge {
    clock: TestClock,
    /// Time after a renewal during which requests may start, by the fastest or slowest clock.
    term: Duration,
    facts: Mutex<Facts>,
}

/// The facts of a run.
pub(super) struct Facts {
    now: Duration,
    pub(super) trace: Trace,
    pub(super) violation: Option<Violation>,
    /// How often each kind of fault was played.
    pub(super) faults: BTreeMap<&'static str, u64>,
    shards: BTreeMap<ShardId, ShardFacts>,
    /// The services by the fingerprints of their outputs.
    services: BTreeMap<OutputPrint, String>,
    /// The worker that sends the request which arrives now.
    sending: Option<(usize, ShardId)>,
    requests: BTreeMap<RequestName, Sent>,
    /// Requests that were written after another worker had started on the shard.
    late: BTreeSet<RequestName>,
    /// The records that each service has.
    written: BTreeMap<String, BTreeSet<u128>>,
    records: usize,
}

/// A service and the number of a request there.
type RequestName = (String, u64);

/// A request that arrived.
struct Sent {
    worker: usize,
    shard: ShardId,
    sequences: Vec<u128>,
}

/// The facts about one shard.
#[derive(Default)]
struct ShardFacts {
    records: Vec<u128>,
    /// The owner in the lease table.
    owner: Option<String>,
    /// How often the owner has changed.
    changes: u64,
    /// By the workers that have owned the shard.
    tenures: BTreeMap<String, Tenure>,
    /// The worker that started the last request.
    writer: Option<usize>,
    /// By output.
    lanes: BTreeMap<OutputPrint, LaneFacts>,
    /// By service: requests in flight when the present writer started, and written since.
    late: BTreeMap<String, u32>,
}

/// The last time for which a worker owned a shard.
#[derive(Clone, Copy, Default)]
struct Tenure {
    /// The number of changes of the owner up to the start.
    change: u64,
    /// The last write of the row that left the shard to the worker.
    renewed: Duration,
}

/// One lane's checkpoint.
struct LaneFacts {
    position: Position,
    /// How many of the shard's records were checked.
    checked: usize,
}

impl Judge {
    pub(super) fn new(clock: &TestClock, term: Duration, text: bool) -> Self {
        Self {
            clock: clock.clone(),
            term,
            facts: Mutex::new(Facts {
                now: Duration::ZERO,
                trace: Trace::new(text),
                violation: None,
                faults: BTreeMap::new(),
                shards: BTreeMap::new(),
                services: BTreeMap::new(),
                sending: None,
                requests: BTreeMap::new(),
                late: BTreeSet::new(),
                written: BTreeMap::new(),
                records: 0,
            }),
        }
    }

    /// The facts, with the present time.
    pub(super) fn facts(&self) -> MutexGuard<'_, Facts> {
        let mut facts = lock(&self.facts);
        facts.now = self.clock.now().0;
        facts
    }

    /// A worker decides to send a request of the shard.
    pub(super) fn request_starts(&self, worker: usize, shard: &ShardId) {
        let mut facts = self.facts();
        let started = facts.start(worker, shard, self.term);
        if let Err(problem) = started {
            let description = format!("worker {worker}, {shard}: {problem}");
            facts.violate(line::ONE_WRITER, description);
        }
    }

    /// The request that arrives now is from this worker.
    pub(super) fn sends(&self, worker: usize, shard: &ShardId) {
        self.facts().sending = Some((worker, shard.clone()));
    }
}

impl Observer for Judge {
    fn on(&self, event: &Event<'_>) {
        let mut facts = self.facts();
        match event {
            Event::Arrived {
                service,
                request,
                entries,
                ..
            } => facts.arrived(service, *request, entries),
            Event::Applied {
                service,
                request,
                places,
                late,
            } => facts.applied((*service).to_owned(), *request, places, *late),
            Event::LeaseRow { shard, row } => facts.row_written(shard, *row),
            Event::Fault(name) => facts.fault(name),
            Event::Read { .. }
            | Event::Answered { .. }
            | Event::Abandoned { .. }
            | Event::Committed { .. }
            | Event::Forgotten { .. }
            | Event::Leased { .. } => {}
        }
    }
}

impl Facts {
    /// Reports that a line of the contract does not hold. Only the first report is kept.
    pub(super) fn violate(&mut self, line: &'static str, description: String) {
        self.note(&format!("VIOLATION of {line}: {description}"));
        self.violation.get_or_insert(Violation {
            line,
            description,
            at: self.now,
        });
    }

    /// Adds an event to the trace.
    pub(super) fn note(&mut self, text: &str) {
        self.trace.text(text);
        self.trace.line(self.now, |line| line.push_str(text));
    }

    pub(super) fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
        self.note(name);
    }

    pub(super) fn add_output(&mut self, output: &OutputId, service: &str) {
        let print = OutputPrint::of(output);
        self.services.insert(print, service.to_owned());
        self.written.insert(service.to_owned(), BTreeSet::new());
    }

    /// A record was written to the source.
    pub(super) fn put(&mut self, shard: &ShardId, sequence: u128) {
        let shard = self.shards.entry(shard.clone()).or_default();
        shard.records.push(sequence);
        self.records += 1;
    }

    /// Records that were written to the source.
    pub(super) fn record_count(&self) -> usize {
        self.records
    }

    /// A service and the first record that the service lacks.
    pub(super) fn missing(&self) -> Option<(String, u128)> {
        let records = self.shards.values().flat_map(|shard| &shard.records);
        records.copied().find_map(|record| {
            let lacks = |(_, written): &(&String, &BTreeSet<u128>)| !written.contains(&record);
            let service = self.written.iter().find(lacks);
            service.map(|(service, _)| (service.clone(), record))
        })
    }

    /// True if a request was written after another worker had started on the shard.
    pub(super) fn is_late(&self, service: &str, request: u64) -> bool {
        self.late.contains(&(service.to_owned(), request))
    }

    fn start(&mut self, worker: usize, id: &ShardId, term: Duration) -> Result<(), String> {
        self.note(&format!("worker {worker} starts a request of {id}"));
        let now = self.now;
        let shard = self.shards.entry(id.clone()).or_default();
        let Some(tenure) = shard.tenures.get(&worker_name(worker)).copied() else {
            return Err("a request without a lease".to_owned());
        };

        if now >= tenure.renewed + term {
            let age = now - tenure.renewed;
            return Err(format!("a request starts {age:?} after the last renewal"));
        }
        if shard.writer == Some(worker) {
            return Ok(());
        }
        shard.change_writer(worker, tenure)
    }

    fn arrived(&mut self, service: &str, request: u64, entries: &[Entry]) {
        let Some((worker, shard)) = self.sending.take() else {
            return;
        };
        self.note(&format!("{service}: request {request} of worker {worker}"));

        let sequences = entries.iter().map(|entry| entry.sequence);
        let sent = Sent {
            worker,
            shard,
            sequences: sequences.collect(),
        };
        self.requests.insert((service.to_owned(), request), sent);
    }

    /// A service wrote entries of a request. `is_abandoned`: the worker no longer waited.
    fn applied(
        &mut self,
        service: String,
        request: u64,
        places: &[Option<usize>],
        is_abandoned: bool,
    ) {
        self.note(&format!("{service}: request {request} is written"));
        let name = (service, request);
        let Some(sent) = self.requests.get(&name) else {
            return;
        };

        let entries = sent.sequences.iter().zip(places);
        let written = entries.filter(|(_, place)| place.is_some());
        let of_service = self.written.entry(name.0.clone()).or_default();
        of_service.extend(written.map(|(sequence, _)| *sequence));

        let shard = sent.shard.clone();
        let is_last_owners = self.shards.get(&shard).and_then(|shard| shard.writer);
        if is_last_owners != Some(sent.worker) {
            self.written_late(&shard, name, is_abandoned);
        }
    }

    /// A request was written after another worker had started on the shard.
    fn written_late(&mut self, id: &ShardId, name: RequestName, is_abandoned: bool) {
        self.fault("a request arrived after a takeover");
        if !is_abandoned && let Some(shard) = self.shards.get_mut(id) {
            let count = shard.late.entry(name.0.clone()).or_default();
            *count += 1;
            if *count > IN_FLIGHT {
                let description = format!("{}, {id}: {count} requests after a takeover", name.0);
                self.violate(line::ONE_WRITER, description);
            }
        }
        self.late.insert(name);
    }

    fn row_written(&mut self, id: &ShardId, row: Option<&LeaseRow>) {
        let now = self.now;
        let owner = row.and_then(|row| row.owner.clone());
        self.note(&format!("the row of {id} is written, owner {owner:?}"));

        let shard = self.shards.entry(id.clone()).or_default();
        shard.owned_by(owner, now);
        let Some(row) = row else {
            shard.lanes.clear();
            return;
        };

        let lanes = row.lanes.as_deref().and_then(Cursors::decode);
        for (print, cursor) in lanes.into_iter().flat_map(|lanes| lanes.lanes) {
            if let Err((line, problem)) = self.check_cursor(id, print, cursor.position) {
                let description = format!("the checkpoint of {id}: {problem}");
                self.violate(line, description);
            }
        }
    }

    /// Checks that a checkpoint goes forward, and that everything before it was written.
    fn check_cursor(
        &mut self,
        id: &ShardId,
        print: OutputPrint,
        position: Position,
    ) -> Result<(), crate::truth::Broken> {
        let written = self.services.get(&print).map(|name| &self.written[name]);
        let (Some(written), Some(shard)) = (written, self.shards.get_mut(id)) else {
            return Ok(());
        };

        let lane = shard.lanes.entry(print).or_insert(LaneFacts {
            position: Position::TrimHorizon,
            checked: 0,
        });
        if !position.covers(&lane.position) {
            let problem = format!("a step back from {:?} to {position:?}", lane.position);
            return Err((line::ONE_WRITER, problem));
        }

        let durable = passed_by(&shard.records, &position);
        let mut passed = shard
            .records
            .get(lane.checked..durable)
            .into_iter()
            .flatten();
        lane.checked = lane.checked.max(durable);
        lane.position = position;
        match passed.find(|sequence| !written.contains(sequence)) {
            None => Ok(()),
            Some(sequence) => {
                let mut problem = String::new();
                _ = write!(problem, "record {sequence} was not written");
                Err((line::DURABLE, problem))
            }
        }
    }
}

impl ShardFacts {
    /// The row of the shard has this owner now.
    fn owned_by(&mut self, owner: Option<String>, now: Duration) {
        if self.owner != owner {
            self.changes += 1;
        }
        let change = self.changes;
        let is_new = self.owner != owner;
        self.owner.clone_from(&owner);

        if let Some(owner) = owner {
            let tenure = self.tenures.entry(owner).or_default();
            tenure.renewed = now;
            if is_new {
                tenure.change = change;
            }
        }
    }

    /// Another worker than before starts a request: the one that became the owner later.
    fn change_writer(&mut self, worker: usize, tenure: Tenure) -> Result<(), String> {
        if let Some(writer) = self.writer {
            let other = self.tenures.get(&worker_name(writer));
            let other = other.copied().unwrap_or_default();
            if other.change > tenure.change {
                return Err(format!("worker {writer} has taken over, and has started"));
            }
        }

        self.writer = Some(worker);
        self.late.clear();
        Ok(())
    }
}

/// How many of a shard's records stand before a checkpoint.
fn passed_by(records: &[u128], position: &Position) -> usize {
    match position {
        Position::TrimHorizon | Position::At(_) => 0,
        Position::After { sequence, .. } => {
            let last: u128 = sequence.as_str().parse().unwrap_or(0);
            records.partition_point(|record| *record <= last)
        }
        Position::Closed => records.len(),
    }
}

/// The observer of every fake in the run.
pub(super) fn observer(judge: &Arc<Judge>) -> Arc<dyn Observer> {
    Arc::clone(judge) as _
}
