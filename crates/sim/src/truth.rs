//! What really happened, and what must hold: every line of the contract that can be judged at the seams, judged in the
//! moment in which something happens there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Position;
use distributary_core::clock::Millis;
use distributary_core::engine::Order;
use distributary_core::output::{Outcome, RequestLimits, Verdict};
use distributary_core::store::{LaneCheckpoint, LaneId, OutputId};
use distributary_core::testing::{Entry, Event, Placed, ReadAnswer};

use crate::trace::Trace;

/// A line of the contract that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which line, as docs/SEMANTICS.md has it.
    pub line: &'static str,
    /// What was seen.
    pub what: String,
    /// When, since the run began.
    pub at: Duration,
}

/// The lines.
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
    /// Nothing has happened yet. `first`: the first record's sequence number.
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
            self.trace.line(self.now, |l| _ = write!(l, "VIOLATION of {line}: {what}"));
            self.violation = Some(Violation { line, what, at: self.now });
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
    pub fn put(&mut self, placed: &Placed, key: Option<&str>, digest: u64, size: usize) {
        let shard = self.shard(&placed.shard);
        let index = self.shards[shard].records.len();
        let key = key.map(|key| {
            let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
            *self.keys.entry(Arc::from(key)).or_insert(next)
        });
        self.shards[shard].records.push(placed.n);
        let arrival = placed.arrival;
        self.records.push(Record { shard, index, key, digest, size, arrival, trimmed: false });
        self.trace.note(digest);
    }

    /// Retention deleted these. Where a lane's checkpoint names a record before them, a gap has to be reported; what was
    /// deleted before its first record was durable, a reader that it shares with others may not be able to tell.
    pub fn trimmed(&mut self, gone: &[usize]) {
        for n in gone {
            self.records[*n].trimmed = true;
            let record = &self.records[*n];
            for output in self.outputs.values_mut() {
                let Some(lane) = output.lanes.get(&record.shard) else { continue };
                let began = matches!(lane.row, Some(Position::After(_)));
                let wanted =
                    lane.judged <= record.index && lane.from.is_none_or(|from| record.arrival >= from);
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
                lane.floor = durable_by(&self.records, records, self.first, lane.row.as_ref());
                lane.over = false;
                lane.flying.clear();
            }
        }
    }

    /// The engine is gone.
    pub fn end_life(&mut self) {
        self.running = false;
        self.trace.text("end of life");
        self.trace.line(self.now, |l| l.push_str("the engine is gone"));
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
        let open: Vec<usize> =
            (0..self.records.len()).filter(|n| self.wanted(output, *n) && !output.has(*n)).collect();
        let n = if open.is_empty() { return None } else { open[pick(open.len()) % open.len()] };
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
                let acked_at = output.lanes.get(&shard).map_or(Duration::ZERO, |lane| lane.acked_at);
                let ShardTruth { read_at, parents, .. } = &self.shards[shard];
                if acked_at.max(*read_at) >= since {
                    return false;
                }
                line.extend(parents);
            }
            true
        };
        (0..self.records.len()).find(|n| {
            let record = &self.records[*n];
            record.arrival < before && stands(record.shard) && self.wanted(output, *n) && !output.has(*n)
        })
    }

    /// So many records of a shard were read, those behind `from`.
    fn read(&mut self, shard: &ShardId, from: &Position, n: usize) {
        let Some(shard) = self.shard_ids.get(shard) else { return };
        let shard = &mut self.shards[*shard];
        let mut start = durable_by(&self.records, &shard.records, self.first, Some(from));
        while shard.records.get(start).is_some_and(|n| self.records[*n].trimmed) {
            start += 1;
        }
        if start + n > shard.read {
            (shard.read, shard.read_at) = (start + n, self.now);
        }
    }

    /// Something happened at a seam.
    pub fn on(&mut self, event: &Event<'_>) {
        match event {
            Event::Read { shard, from, credit, answer } => {
                self.trace.text(shard.as_str());
                self.trace.text(&format!("{answer:?}"));
                if *answer != ReadAnswer::Idle {
                    let line = |l: &mut String| {
                        _ = write!(l, "read {shard} from {from:?}, at most {credit}: {answer:?}");
                    };
                    self.trace.line(self.now, line);
                }
                match (answer, self.shard_ids.get(shard)) {
                    (ReadAnswer::Records(n), _) => self.read(shard, from, *n),
                    (ReadAnswer::Closed, Some(shard)) => self.shards[*shard].read_at = self.now,
                    (ReadAnswer::Idle | ReadAnswer::Gap | ReadAnswer::Failed | ReadAnswer::Closed, _) => {}
                }
            }
            Event::Arrived { service, request, entries, limits } => {
                self.trace.text(service);
                self.trace.note(*request);
                self.arrived(service, *request, entries, *limits);
            }
            Event::Applied { service, request, places, late } => {
                self.trace
                    .note(places.iter().flatten().fold(*request, |h, p| h.wrapping_mul(31) ^ *p as u64));
                self.applied(service, *request, places, *late);
            }
            Event::Answered { service, request, outcome } => {
                self.trace.text(service);
                self.trace.note(*request);
                self.answered(service, *request, outcome);
            }
            Event::Abandoned { service, request } => {
                self.trace.line(self.now, |l| _ = write!(l, "{service}: request {request} is abandoned"));
                self.settle(service, *request, |output, records| {
                    records.iter().for_each(|n| output.set(*n, Sent::Failed));
                });
            }
            Event::Committed { rows } => self.committed(rows),
            Event::Forgotten { lanes } => self.forgotten(lanes),
            Event::Fault(name) => {
                *self.faults.entry(name).or_default() += 1;
                self.trace.text(name);
                self.trace.line(self.now, |l| _ = write!(l, "fault: {name}"));
            }
        }
    }

    fn arrived(&mut self, service: &str, request: u64, entries: &[Entry], limits: RequestLimits) {
        let records: Vec<usize> = entries
            .iter()
            .map(|e| {
                e.sequence.checked_sub(self.first).and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX)
            })
            .collect();
        self.trace.line(self.now, |l| _ = write!(l, "{service}: request {request} of {records:?}"));
        for n in &records {
            self.trace.note(*n as u64);
        }
        if let Err((line, what)) = self.judge(service, request, entries, &records, limits) {
            self.violate(line, format!("{service}, request {request}: {what}"));
            return;
        }
        let shard = self.records[records[0]].shard;
        let Some(output) = self.outputs.get_mut(service) else { return };
        for n in &records {
            output.resent += u64::from(output.sent(*n) != Sent::Not);
            output.set(*n, Sent::InFlight);
        }
        output.lanes.entry(shard).or_default().flying.insert(request);
        output
            .requests
            .insert(request, Request { shard, records, order: output.order, updates: output.updates });
    }

    /// What must hold when a request comes.
    fn judge(
        &mut self,
        service: &str,
        request: u64,
        entries: &[Entry],
        records: &[usize],
        limits: RequestLimits,
    ) -> Result<(), (&'static str, String)> {
        let Some(output) = self.outputs.get(service) else {
            return Err((line::LIVE, "an unknown output".into()));
        };
        if !self.running {
            return Err((line::CRASH, "a request by an engine that is gone".to_owned()));
        }
        if output.silent || output.removed {
            return Err((line::LIVE, "it is paused, or removed".to_owned()));
        }
        self.same(entries, records)?;
        let bytes: usize = entries.iter().map(|e| e.size).sum();
        if entries.len() > 1 && (entries.len() > limits.entries || bytes > limits.bytes) {
            return Err((
                line::BOUNDED,
                format!("{} entries, {bytes} bytes, over {limits:?}", entries.len()),
            ));
        }
        let shard = self.records[records[0]].shard;
        if records.windows(2).any(|w| w[0] >= w[1]) || records.iter().any(|n| self.records[*n].shard != shard)
        {
            return Err((line::ORDER, "its records are not a shard's, in order".to_owned()));
        }
        if let Some(lane) = output.lanes.get(&shard) {
            if let Some(n) = records.iter().find(|n| self.records[**n].index < lane.floor) {
                return Err((
                    line::CRASH,
                    format!("record {n} was under the checkpoint when the engine started"),
                ));
            }
            if let Some(n) = records.iter().find(|n| lane.from.is_some_and(|f| self.records[**n].arrival < f))
            {
                return Err((line::LIVE, format!("record {n} arrived before the output's start")));
            }
            if let Some(other) = lane.flying.iter().next() {
                return Err((line::ORDER, format!("request {other} of the same lane is in flight")));
            }
        }
        let again = |n: &&usize| match output.sent(**n) {
            Sent::InFlight => true,
            Sent::Acked => !self.beyond_a_gap(output, **n),
            Sent::Not | Sent::Failed | Sent::Behind | Sent::Loose => false,
        };
        if let Some(n) = records.iter().find(again) {
            return Err((
                line::ISOLATION,
                format!("record {n} was acknowledged, and is sent again for no reason"),
            ));
        }
        if output.order == Order::Strict {
            self.judge_strict(output, records)?;
        }
        self.judge_parents(service, shard, request)
    }

    /// True if a record of its shard before `n` is gone from the source and not at the output: what a lane knows of
    /// records beyond its cursor is counted from there, so that it sends them again.
    fn beyond_a_gap(&self, output: &OutputTruth, n: usize) -> bool {
        let Record { shard, index, .. } = self.records[n];
        let floor = output.lanes.get(&shard).map_or(0, |l| l.floor).min(index);
        self.shards[shard].records[floor..index]
            .iter()
            .any(|m| self.records[*m].trimmed && !output.sent(*m).counts())
    }

    /// Each record is what was put.
    fn same(&self, entries: &[Entry], records: &[usize]) -> Result<(), (&'static str, String)> {
        for (entry, n) in entries.iter().zip(records) {
            let same = self.records.get(*n).is_some_and(|r| {
                let key = entry.key.as_deref().and_then(|k| self.keys.get(k)).copied();
                entry.key.is_some() == r.key.is_some()
                    && (key, entry.digest, entry.size) == (r.key, r.digest, r.size)
            });
            if !same {
                return Err((line::COMPLETE, format!("record {n} is not what the source has")));
            }
        }
        if records.is_empty() {
            return Err((line::BOUNDED, "a request without records".to_owned()));
        }
        Ok(())
    }

    fn judge_strict(&self, output: &OutputTruth, records: &[usize]) -> Result<(), (&'static str, String)> {
        let shard = &self.shards[self.records[records[0]].shard];
        let first = self.records[records[0]].index;
        let lane = output.lanes.get(&self.records[records[0]].shard);
        let floor = lane.map_or(0, |l| l.floor);
        let mut keys: BTreeMap<u32, usize> = BTreeMap::new();
        let mut wanted: BTreeSet<u32> = BTreeSet::new();
        for n in records {
            let Some(key) = self.records[*n].key else { continue };
            if let Some(other) = keys.insert(key, *n) {
                return Err((
                    line::ORDER,
                    format!("strict: records {other} and {n} of one key in one request"),
                ));
            }
            wanted.insert(key);
        }
        // From the last record backwards: what stands before each one in its shard, and is of its key.
        let last = records.last().map_or(first, |n| self.records[*n].index);
        for n in &shard.records[floor.min(last)..last] {
            let record = &self.records[*n];
            let Some(later) = record.key.filter(|k| wanted.contains(k)).and_then(|k| keys.get(&k)) else {
                continue;
            };
            if n < later && self.wanted(output, *n) && !output.sent(*n).counts() {
                return Err((
                    line::ORDER,
                    format!("strict: record {later} is sent before {n} is acknowledged"),
                ));
            }
        }
        Ok(())
    }

    /// All ancestors' records are there.
    fn judge_parents(
        &mut self,
        service: &str,
        shard: usize,
        request: u64,
    ) -> Result<(), (&'static str, String)> {
        let mut look = self.shards[shard].parents.clone();
        while let Some(parent) = look.pop() {
            let Some(output) = self.outputs.get(service) else { return Ok(()) };
            let lane = output.lanes.get(&parent);
            if lane.is_some_and(|l| l.over || l.row == Some(Position::Closed)) {
                continue;
            }
            let floor = lane.map_or(0, |l| l.floor);
            let mut rest = self.shards[parent].records[floor.min(self.shards[parent].records.len())..].iter();
            if let Some(n) = rest.find(|n| self.wanted(output, **n) && !output.sent(**n).counts()) {
                let what =
                    format!("request {request}: a child's record comes before its parent's record {n}");
                return Err((line::RESHARDING, what));
            }
            look.extend(&self.shards[parent].parents);
            if let Some(output) = self.outputs.get_mut(service) {
                output.lanes.entry(parent).or_default().over = true;
            }
        }
        Ok(())
    }

    fn applied(&mut self, service: &str, request: u64, places: &[Option<usize>], late: bool) {
        self.trace.line(self.now, |l| {
            let n = places.iter().flatten().count();
            _ = write!(
                l,
                "{service}: {n} records of request {request} are written{}",
                if late { ", late" } else { "" }
            );
        });
        let Some(output) = self.outputs.get_mut(service).filter(|_| !late) else { return };
        let Some(request) = output.requests.get(&request) else { return };
        let current = request.updates == output.updates;
        for (n, place) in request.records.clone().into_iter().zip(places) {
            if let Some(place) = place {
                if output.last.len() <= n {
                    output.last.resize(n + 1, None);
                }
                output.last[n] = Some(*place);
                if !current {
                    continue;
                }
                if output.written.len() <= n {
                    output.written.resize(n + 1, false);
                }
                output.rewritten += u64::from(std::mem::replace(&mut output.written[n], true));
            }
        }
    }

    /// The request is over.
    fn settle(&mut self, service: &str, request: u64, then: impl FnOnce(&mut OutputTruth, &[usize])) {
        let Some(output) = self.outputs.get_mut(service) else { return };
        let Some(Request { shard, records, .. }) = output.requests.remove(&request) else { return };
        output.lanes.entry(shard).or_default().flying.remove(&request);
        then(output, &records);
    }

    fn answered(&mut self, service: &str, request: u64, outcome: &Outcome) {
        let now = self.now;
        self.trace.line(now, |l| {
            let what = match outcome {
                Outcome::Durable => "durable".to_owned(),
                Outcome::PerRecord(all) => {
                    let ok = all.iter().filter(|v| matches!(v, Verdict::Durable)).count();
                    format!("{ok} of {} durable", all.len())
                }
                Outcome::Rejected(t) => format!("rejected: {t}"),
                Outcome::Unknown(t) => format!("unknown: {t}"),
            };
            _ = write!(l, "{service}: request {request} is answered: {what}");
        });
        // In `resend`, what stands behind a failed record of its key.
        let mut failed: BTreeSet<u32> = BTreeSet::new();
        let records = &self.records;
        let Some(output) = self.outputs.get_mut(service) else { return };
        let Some(Request { shard, records: sent, order, updates }) = output.requests.remove(&request) else {
            return;
        };
        let lane = output.lanes.entry(shard).or_default();
        lane.flying.remove(&request);
        if !matches!(outcome, Outcome::Rejected(_) | Outcome::Unknown(_)) {
            lane.acked_at = now;
        }
        for (i, n) in sent.iter().enumerate() {
            let durable = match outcome {
                Outcome::Durable => true,
                Outcome::PerRecord(all) if all.len() == sent.len() => matches!(all[i], Verdict::Durable),
                Outcome::PerRecord(_) | Outcome::Rejected(_) | Outcome::Unknown(_) => false,
            };
            let key = records[*n].key;
            if !durable {
                failed.extend(key);
                output.set(*n, Sent::Failed);
                continue;
            }
            let behind = order == Order::Resend && key.is_some_and(|k| failed.contains(&k));
            output.set(
                *n,
                match (behind, updates == output.updates) {
                    (true, _) => Sent::Behind,
                    (false, true) => Sent::Acked,
                    // With the new settings it may be sent again.
                    (false, false) => Sent::Loose,
                },
            );
            if output.acked.len() <= *n {
                output.acked.resize(n + 1, None);
            }
            output.acked[*n] = Some((now, order == Order::Unordered));
        }
    }

    fn committed(&mut self, rows: &[LaneCheckpoint]) {
        if !self.running {
            self.violate(line::CRASH, "a checkpoint by an engine that is gone");
        }
        for LaneCheckpoint { lane, position } in rows {
            self.trace.text(lane.shard.as_str());
            self.trace.text(&format!("{position:?}"));
            self.trace.line(self.now, |l| {
                _ = write!(l, "checkpoint {} at {}: {position:?}", lane.shard, lane.output);
            });
            if let Err((line, what)) = self.checkpoint(lane, position) {
                self.violate(
                    line,
                    format!("checkpoint of {} at {}, {position:?}: {what}", lane.shard, lane.output),
                );
            }
        }
    }

    fn checkpoint(&mut self, lane: &LaneId, position: &Position) -> Result<(), (&'static str, String)> {
        let shard = self.shard(&lane.shard);
        let Self { outputs, shards, records, first, .. } = self;
        let Some(output) = outputs.values_mut().find(|o| o.id == lane.output && !o.removed) else {
            return Err((line::LIVE, "there is no such output".to_owned()));
        };
        let all = &shards[shard].records;
        let known = output.lanes.entry(shard).or_default();
        match (&known.row, position) {
            (Some(before), after) if !after.covers(before) => {
                return Err((line::CRASH, format!("it goes back from {before:?}")));
            }
            (None, Position::At(from)) => known.from = Some(*from),
            _ => {}
        }
        known.row = Some(position.clone());
        let (judged, from) = (known.judged, known.from);
        let durable = durable_by(records, all, *first, Some(position));
        known.judged = judged.max(durable);
        for n in &all[judged.min(durable)..durable] {
            let record = &records[*n];
            if record.trimmed || from.is_some_and(|from| record.arrival < from) {
                continue;
            }
            if !output.sent(*n).counts() {
                return Err((
                    line::DURABLE,
                    format!("record {n} is not acknowledged ({:?})", output.sent(*n)),
                ));
            }
            let place = output.last.get(*n).copied().flatten();
            let Some(place) = place else {
                return Err((line::DURABLE, format!("record {n} was acknowledged and is not there")));
            };
            if let Some(other) = record.key.and_then(|key| in_order(&mut output.places, key, *n, place))
                && !output.loose(*n)
            {
                return Err((line::ORDER, format!("record {other} stands behind record {n} of its key")));
            }
        }
        Ok(())
    }

    fn forgotten(&mut self, lanes: &[LaneId]) {
        for lane in lanes {
            self.trace.text(lane.output.as_str());
            self.trace.line(self.now, |l| _ = write!(l, "forgotten: {} at {}", lane.shard, lane.output));
            let shard = self.shard(&lane.shard);
            let here = self.outputs.values_mut().find(|o| o.id == lane.output && !o.removed);
            if let Some(known) = here.and_then(|o| o.lanes.get_mut(&shard)) {
                // Where it began still counts: its records are judged by that.
                (known.row, known.forgotten) = (None, true);
            }
        }
    }

    /// What must hold in the end, when everything was well long enough.
    pub fn judge_end(&mut self) {
        let services: Vec<String> = self.outputs.keys().cloned().collect();
        for service in services {
            if let Err((line, what)) = self.judge_output(&service) {
                self.violate(line, format!("{service}: {what}"));
            }
        }
    }

    fn judge_output(&self, service: &str) -> Result<(), (&'static str, String)> {
        let Some(output) = self.outputs.get(service).filter(|o| !o.removed) else { return Ok(()) };
        self.judge_loss(output)?;
        let mut keys: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        for (n, record) in self.records.iter().enumerate() {
            if !self.wanted(output, n) {
                continue;
            }
            let place = output.last.get(n).copied().flatten();
            let Some(place) = place.filter(|_| output.has(n)) else {
                return Err((line::COMPLETE, format!("record {n} is not there")));
            };
            if let Some(other) = record.key.and_then(|key| in_order(&mut keys, key, n, place))
                && !output.loose(n)
            {
                return Err((line::ORDER, format!("record {other} stands behind record {n} of its key")));
            }
        }
        Ok(())
    }

    /// What retention took before the output had it was reported as a gap.
    fn judge_loss(&self, output: &OutputTruth) -> Result<(), (&'static str, String)> {
        for n in output.owed.iter().filter(|n| !output.has(**n)) {
            let shard = self.records[*n].shard;
            let reported =
                self.gaps.iter().any(|(id, o)| *o == output.id && self.shard_ids.get(id) == Some(&shard));
            if !reported {
                return Err((
                    line::SILENT,
                    format!("record {n} is lost to retention, and no gap was reported"),
                ));
            }
        }
        Ok(())
    }

    /// What happened at an output since the engine started last.
    pub fn counted(&self, service: &str) -> Option<Counted> {
        let output = self.outputs.get(service).filter(|o| !o.removed)?;
        let acked = output.sent.iter().filter(|s| s.counts()).count() as u64;
        Some(Counted { acked, resent: output.resent, rewritten: output.rewritten })
    }

    /// The first record that was acknowledged, with all before it, longer than `age` ago, and lies beyond the
    /// checkpoint: it would be repeated after a crash.
    pub fn late_for_checkpoint(&self, age: Duration) -> Option<(String, usize)> {
        for (service, output) in self.outputs.iter().filter(|(_, o)| !o.removed) {
            // A shard that is gone needs no checkpoint.
            for (shard, lane) in output.lanes.iter().filter(|(_, l)| !l.forgotten) {
                let (passed, rest) = self.shards[*shard].records.split_at(lane.judged.max(lane.floor));
                let when = |n: &usize| output.acked.get(*n).copied().flatten().map(|(at, _)| at);
                let last = passed.iter().filter_map(when).max().unwrap_or_default();
                // What was acknowledged before a record before it may be passed only when it is read again.
                let acked = |n: &&usize| when(n).filter(|at| *at >= last && output.sent(**n).counts());
                let next = rest.first().and_then(|n| Some((n, acked(&n)?)));
                if let Some((n, at)) = next
                    && self.now.saturating_sub(at) > age
                {
                    return Some((service.clone(), *n));
                }
            }
        }
        None
    }
}

/// How many of a shard's records, `all`, are durable by `position`.
fn durable_by(records: &[Record], all: &[usize], first: u128, position: Option<&Position>) -> usize {
    match position {
        None | Some(Position::TrimHorizon) => 0,
        Some(Position::At(from)) => all.partition_point(|n| records[*n].arrival < *from),
        Some(Position::After(s)) => {
            let sequence = s.as_str().parse::<u128>().unwrap_or(0);
            all.partition_point(|n| first + *n as u128 <= sequence)
        }
        Some(Position::Closed) => all.len(),
    }
}

/// The place of a key's record must be behind those of all before it; the one before that is not, otherwise.
fn in_order(places: &mut BTreeMap<u32, (usize, usize)>, key: u32, n: usize, place: usize) -> Option<usize> {
    match places.get(&key) {
        Some((other, at)) if *at > place => Some(*other),
        _ => {
            places.insert(key, (n, place));
            None
        }
    }
}

/// What happened at an output since the engine started last.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Records that are acknowledged.
    pub acked: u64,
    /// Sendings of records that had been sent.
    pub resent: u64,
    /// Writings of records that had been written.
    pub rewritten: u64,
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
        self.acked.get(n).copied().flatten().is_some_and(|(_, loose)| loose)
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
