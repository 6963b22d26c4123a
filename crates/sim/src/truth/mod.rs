//! What really happened, and what must hold: every line of the contract that can be judged at the seams, judged in the
//! moment in which something happens there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::checkpoint::{Position, Sequence};
use distributary_core::clock::Millis;
use distributary_core::engine::Order;
use distributary_core::store::OutputId;
use distributary_core::testing::{Event, ReadAnswer};

use crate::trace::Trace;
use progress::durable_by;

mod progress;
mod requests;

pub use progress::Counted;

/// A line of the contract that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which line, as docs/SEMANTICS.md has it.
    pub line: &'static str,
    /// The facts that contradict the line.
    pub description: String,
    /// When, since the run began.
    pub at: Duration,
}

/// A line of the contract that an event breaks, and the facts that contradict the line.
pub(crate) type Broken = (&'static str, String);

/// The lines of the contract, as docs/SEMANTICS.md names them.
pub mod line {
    #![allow(missing_docs, reason = "each is its own text")]
    pub const COMPLETE: &str = "1 Complete";
    pub const DURABLE: &str = "2 Durable means acknowledged";
    pub const ORDER: &str = "3 Order per partition key";
    pub const ISOLATION: &str = "4 Isolation";
    pub const CRASH: &str = "5 Crash";
    pub const RESHARDING: &str = "6 Resharding";
    pub const SILENT: &str = "8 Nothing silent";
    pub const BOUNDED: &str = "10 Bounded";
    pub const LIVE: &str = "12 Live";
    pub const ENGINE: &str = "the engine goes on";
}

/// One record of the source.
#[derive(Debug)]
pub struct Record {
    shard: usize,
    /// Its index in its shard.
    index: usize,
    sequence: Sequence,
    key: Option<u32>,
    digest: u64,
    size: usize,
    arrival: Millis,
    trimmed: bool,
}

#[derive(Debug, Default)]
struct ShardTruth {
    parents: Vec<usize>,
    records: Vec<usize>,
    /// So many of its records were read.
    read: usize,
    /// When the last of them was, or its end.
    read_at: Duration,
}

/// What became of a record at one output, since the engine started last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sent {
    #[default]
    Not,
    InFlight,
    /// It failed, or nobody knows.
    Failed,
    Acked,
    /// Acknowledged, and to be sent again: a record of its key before it in the request failed.
    Behind,
    /// Acknowledged, and may be sent again: the output's order was changed since.
    Loose,
}

#[derive(Debug, Default)]
struct LaneTruth {
    /// The store's row.
    row: Option<Position>,
    /// Records that arrived before this are not the output's.
    from: Option<Millis>,
    /// So many records of the shard were durable when the engine started last.
    floor: usize,
    /// So many of the shard's records are under a checkpoint and were judged.
    judged: usize,
    /// The shard is closed and all of it was sent, since the engine started last.
    over: bool,
    /// The store knows nothing of it any more.
    forgotten: bool,
    /// Requests in flight.
    flying: BTreeSet<u64>,
    /// When it had an answer last that says something of its records.
    acked_at: Duration,
}

/// A request in flight.
#[derive(Debug)]
struct Request {
    shard: usize,
    records: Vec<usize>,
    order: Order,
    /// How often the output's settings had been replaced.
    updates: u32,
}

/// One output, from when it was added until it is removed.
#[derive(Debug)]
pub struct OutputTruth {
    id: OutputId,
    order: Order,
    lanes: BTreeMap<usize, LaneTruth>,
    /// By record: since the engine started last.
    sent: Vec<Sent>,
    /// By record: when it was acknowledged last, ever, and whether no order had to be kept then.
    acked: Vec<Option<(Duration, bool)>>,
    /// By record: where its last occurrence stands that nobody had given up before.
    last: Vec<Option<usize>>,
    requests: BTreeMap<u64, Request>,
    /// By key: the last place of the records that were judged.
    places: BTreeMap<u32, (usize, usize)>,
    removed: bool,
    silent: bool,
    /// Records that retention deleted though a checkpoint said that they were still wanted.
    owed: Vec<usize>,
    /// Sendings of records that had been sent, since the engine started last.
    resent: u64,
    /// How often its settings were replaced.
    updates: u32,
    /// By record: true if it was written by a request of the engine that runs, with the settings that there are.
    written: Vec<bool>,
    /// Writings of records that had been written, since the engine started last.
    rewritten: u64,
}

/// A record that was written to the source.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// The shard that it went to.
    pub shard: &'a ShardId,
    /// Its sequence number there.
    pub sequence: &'a Sequence,
    /// When.
    pub arrival: Millis,
    /// Its partition key.
    pub key: Option<&'a str>,
    /// Of its data.
    pub digest: u64,
    /// Bytes of data and key.
    pub size: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Truth {
    first: u128,
    records: Vec<Record>,
    keys: BTreeMap<Arc<str>, u32>,
    shards: Vec<ShardTruth>,
    shard_ids: BTreeMap<ShardId, usize>,
    outputs: BTreeMap<String, OutputTruth>,
    /// Shards and outputs for which a gap was reported.
    gaps: BTreeSet<(ShardId, OutputId)>,
    /// False while no engine runs.
    running: bool,
    now: Duration,
    /// Faults that were played, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// The first thing that did not hold.
    pub violation: Option<Violation>,
    /// What happened.
    pub trace: Trace,
}

impl Truth {
    /// Nothing has happened yet. `first`: what requests name the first record by; each further one is one higher.
    pub fn new(first: u128, trace: Trace) -> Self {
        Self {
            first,
            records: Vec::new(),
            keys: BTreeMap::new(),
            shards: Vec::new(),
            shard_ids: BTreeMap::new(),
            outputs: BTreeMap::new(),
            gaps: BTreeSet::new(),
            running: false,
            now: Duration::ZERO,
            faults: BTreeMap::new(),
            violation: None,
            trace,
        }
    }

    /// Notes what does not hold; the first counts.
    pub fn violate(&mut self, line: &'static str, what: impl Into<String>) {
        if self.violation.is_none() {
            let what = what.into();
            self.trace
                .line(self.now, |l| _ = write!(l, "VIOLATION of {line}: {what}"));
            self.violation = Some(Violation {
                line,
                description: what,
                at: self.now,
            });
        }
    }

    fn shard(&mut self, id: &ShardId) -> usize {
        if let Some(i) = self.shard_ids.get(id) {
            return *i;
        }
        self.shards.push(ShardTruth::default());
        self.shard_ids.insert(id.clone(), self.shards.len() - 1);
        self.shards.len() - 1
    }

    /// The shards that there are, with their parents.
    pub fn lineage(&mut self, lineage: &BTreeMap<ShardId, Vec<ShardId>>) {
        for (id, parents) in lineage {
            let i = self.shard(id);
            self.shards[i].parents = parents.iter().map(|p| self.shard(p)).collect();
        }
    }

    /// A record was written to the source.
    pub fn put(&mut self, put: &Put<'_>) {
        let Put {
            shard,
            sequence,
            arrival,
            key,
            digest,
            size,
        } = *put;
        let shard = self.shard(shard);
        let index = self.shards[shard].records.len();
        let key = key.map(|key| {
            let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
            *self.keys.entry(Arc::from(key)).or_insert(next)
        });
        self.shards[shard].records.push(self.records.len());
        let sequence = sequence.clone();
        self.records.push(Record {
            shard,
            index,
            sequence,
            key,
            digest,
            size,
            arrival,
            trimmed: false,
        });
        self.trace.note(digest);
    }

    /// Retention deleted these. Where a lane's checkpoint names a record before them, a gap has to be reported; what was
    /// deleted before its first record was durable, a reader that it shares with others may not be able to tell.
    pub fn trimmed(&mut self, gone: &[usize]) {
        for n in gone {
            self.records[*n].trimmed = true;
            let record = &self.records[*n];
            for output in self.outputs.values_mut() {
                let Some(lane) = output.lanes.get(&record.shard) else {
                    continue;
                };
                let began = matches!(lane.row, Some(Position::After { .. }));
                let wanted = lane.judged <= record.index
                    && lane.from.is_none_or(|from| record.arrival >= from);
                if began && wanted {
                    output.owed.push(*n);
                }
            }
        }
    }

    /// An output is there from now on.
    pub fn add_output(&mut self, service: &str, id: &OutputId, order: Order) {
        let output = OutputTruth {
            id: id.clone(),
            order,
            lanes: BTreeMap::new(),
            sent: Vec::new(),
            acked: Vec::new(),
            last: Vec::new(),
            requests: BTreeMap::new(),
            places: BTreeMap::new(),
            removed: false,
            silent: false,
            owed: Vec::new(),
            resent: 0,
            updates: 0,
            written: Vec::new(),
            rewritten: 0,
        };
        self.outputs.insert(service.to_owned(), output);
    }

    /// Nothing may come to this output any more, or until it is lifted.
    pub fn silence(&mut self, service: &str, silent: bool, removed: bool) {
        if let Some(output) = self.outputs.get_mut(service) {
            output.silent = silent;
            output.removed |= removed;
        }
    }

    /// Another order from now on. What was acknowledged beyond the cursor may be sent again.
    pub fn reorder(&mut self, service: &str, order: Order) {
        if let Some(output) = self.outputs.get_mut(service) {
            output.order = order;
            output.updates += 1;
            output.written.clear();
            for sent in output.sent.iter_mut().filter(|s| **s == Sent::Acked) {
                *sent = Sent::Loose;
            }
        }
    }

    /// An engine is about to start: what the store holds is where it has to begin.
    pub fn begin_life(&mut self) {
        self.running = true;
        for output in self.outputs.values_mut() {
            output.sent.clear();
            output.requests.clear();
            output.written.clear();
            (output.resent, output.rewritten) = (0, 0);
            for (shard, lane) in &mut output.lanes {
                let records = &self.shards[*shard].records;
                lane.floor = durable_by(&self.records, records, lane.row.as_ref());
                lane.over = false;
                lane.flying.clear();
            }
        }
    }

    /// The engine is gone.
    pub fn end_life(&mut self) {
        self.running = false;
        self.trace.text("end of life");
        self.trace
            .line(self.now, |l| l.push_str("the engine is gone"));
    }

    /// The time, before anything else is told.
    pub fn set_now(&mut self, now: Duration) {
        self.now = now;
        self.trace.note(u64::try_from(now.as_millis()).unwrap_or(0));
    }

    /// How many records there are.
    pub fn record_count(&self) -> usize {
        self.records.len()
    }

    /// Takes what the engine says about gaps.
    pub fn gap(&mut self, shard: &ShardId, output: &OutputId) {
        self.gaps.insert((shard.clone(), output.clone()));
    }

    /// A record that the output does not have yet and wants, picked by `pick`.
    pub fn open_record(&self, service: &str, pick: impl FnOnce(usize) -> usize) -> Option<u128> {
        let output = self.outputs.get(service)?;
        let open: Vec<usize> = (0..self.records.len())
            .filter(|n| self.wanted(output, *n) && !output.has(*n))
            .collect();
        let n = if open.is_empty() {
            return None;
        } else {
            open[pick(open.len()) % open.len()]
        };
        Some(self.first + n as u128)
    }

    fn wanted(&self, output: &OutputTruth, n: usize) -> bool {
        let record = &self.records[n];
        let from = output.lanes.get(&record.shard).and_then(|l| l.from);
        !record.trimmed && from.is_none_or(|from| record.arrival >= from)
    }

    /// The first record that the output should have and was never acknowledged by it.
    pub fn missing(&self, service: &str) -> Option<usize> {
        let output = self.outputs.get(service).filter(|o| !o.removed)?;
        (0..self.records.len()).find(|n| self.wanted(output, *n) && !output.has(*n))
    }

    /// A record that the output should have and that arrived before `before`, in a shard of which, since `since`, nothing
    /// new was read and nothing was acknowledged by the output; nor of the shards before it.
    pub fn stalled(&self, service: &str, before: Millis, since: Duration) -> Option<usize> {
        let output = self.outputs.get(service).filter(|o| !o.removed)?;
        let stands = |shard: usize| {
            let mut line = vec![shard];
            while let Some(shard) = line.pop() {
                let acked_at = output
                    .lanes
                    .get(&shard)
                    .map_or(Duration::ZERO, |lane| lane.acked_at);
                let ShardTruth {
                    read_at, parents, ..
                } = &self.shards[shard];
                if acked_at.max(*read_at) >= since {
                    return false;
                }
                line.extend(parents);
            }
            true
        };
        (0..self.records.len()).find(|n| {
            let record = &self.records[*n];
            record.arrival < before
                && stands(record.shard)
                && self.wanted(output, *n)
                && !output.has(*n)
        })
    }

    /// So many records of a shard were read, those behind `from`.
    fn read(&mut self, shard: &ShardId, from: &Position, n: usize) {
        let Some(shard) = self.shard_ids.get(shard) else {
            return;
        };
        let shard = &mut self.shards[*shard];
        let mut start = durable_by(&self.records, &shard.records, Some(from));
        while shard
            .records
            .get(start)
            .is_some_and(|n| self.records[*n].trimmed)
        {
            start += 1;
        }
        if start + n > shard.read {
            (shard.read, shard.read_at) = (start + n, self.now);
        }
    }

    /// Something happened at a seam.
    pub fn on(&mut self, event: &Event<'_>) {
        match event {
            Event::Read {
                shard,
                from,
                credit,
                answer,
            } => {
                self.trace.text(shard.as_str());
                self.trace.text(&format!("{answer:?}"));
                if *answer != ReadAnswer::Idle {
                    let line = |l: &mut String| {
                        _ = write!(
                            l,
                            "read {shard} from {from:?}, at most {credit}: {answer:?}"
                        );
                    };
                    self.trace.line(self.now, line);
                }
                match (answer, self.shard_ids.get(shard)) {
                    (ReadAnswer::Records(n), _) => self.read(shard, from, *n),
                    (ReadAnswer::Closed, Some(shard)) => self.shards[*shard].read_at = self.now,
                    (
                        ReadAnswer::Idle
                        | ReadAnswer::Gap
                        | ReadAnswer::Failed
                        | ReadAnswer::Closed,
                        _,
                    ) => {}
                }
            }
            Event::Arrived {
                service,
                request,
                entries,
                limits,
                in_flight,
            } => {
                self.trace.text(service);
                self.trace.note(*request);
                self.arrived(service, *request, entries, (*limits, *in_flight));
            }
            Event::Applied {
                service,
                request,
                places,
                late,
            } => {
                self.trace.note(
                    places
                        .iter()
                        .flatten()
                        .fold(*request, |h, p| h.wrapping_mul(31) ^ *p as u64),
                );
                self.applied(service, *request, places, *late);
            }
            Event::Answered {
                service,
                request,
                outcome,
            } => {
                self.trace.text(service);
                self.trace.note(*request);
                self.answered(service, *request, outcome);
            }
            Event::Abandoned { service, request } => {
                self.trace.line(self.now, |l| {
                    _ = write!(l, "{service}: request {request} is abandoned");
                });
                self.settle(service, *request, |output, records| {
                    records.iter().for_each(|n| output.set(*n, Sent::Failed));
                });
            }
            Event::Committed { rows } => self.committed(rows),
            Event::Forgotten { lanes } => self.forgotten(lanes),
            Event::Fault(name) => {
                *self.faults.entry(name).or_default() += 1;
                self.trace.text(name);
                self.trace
                    .line(self.now, |l| _ = write!(l, "fault: {name}"));
            }
        }
    }
}

impl Sent {
    /// True if a checkpoint may pass it.
    fn counts(self) -> bool {
        matches!(self, Self::Acked | Self::Loose)
    }
}

impl OutputTruth {
    /// True if no order had to be kept when the record was acknowledged.
    fn loose(&self, n: usize) -> bool {
        self.acked
            .get(n)
            .copied()
            .flatten()
            .is_some_and(|(_, loose)| loose)
    }

    fn sent(&self, n: usize) -> Sent {
        self.sent.get(n).copied().unwrap_or_default()
    }

    fn set(&mut self, n: usize, sent: Sent) {
        if self.sent.len() <= n {
            self.sent.resize(n + 1, Sent::Not);
        }
        self.sent[n] = sent;
    }

    /// True if it acknowledged the record, ever.
    fn has(&self, n: usize) -> bool {
        self.acked.get(n).is_some_and(Option::is_some)
    }
}
