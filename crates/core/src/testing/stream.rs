//! A stream in memory: shards with lineage, splits and merges, retention, and readers that
//! misbehave.

use std::collections::{BTreeMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use crate::batch::{Batch, Origin, ShardId};
use crate::checkpoint::{Position, Sequence};
use crate::clock::{ClockSource, Millis};
use crate::output::{Trouble, TroubleKind};
use crate::record::{DataForm, RecordIndex, Span};
use crate::source::{
    Credit, Fetched, HashRange, OldestRecord, Read, ReadLimits, ServerTime, Shard, ShardReader,
    Source, SourceError, SourceFacts, StreamIdentity,
};

use super::{Event, MillisRange, Observer, ReadAnswer, Rng, TestClock, draw, hash, lock};

/// The properties of a stream, which do not change.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// Shards that it begins with.
    pub shards: usize,
    /// The first record's sequence number; each further one is one higher, whatever its shard.
    pub first: u128,
    /// Bytes of data and keys that one answer holds at most, but for one record.
    pub answer_bytes: usize,
    /// How exact the server's `Date` is, in milliseconds (1 or 1000).
    pub date_millis: i64,
    /// Whether the end of a shard names its children.
    pub names_children: bool,
    /// How long a new shard is missing from the map.
    pub map_lag: Duration,
    /// The retention that the stream reports. Nothing is deleted but by [`FakeStream::expire`].
    pub retention: Duration,
    /// The read limits that the stream reports.
    pub limits: ReadLimits,
}

const ARN: &str = "arn:aws:kinesis:eu-west-1:1:stream/fake";

/// Reading without a limit of bytes; the rest as a Kinesis shard has.
pub const READ_LIMITS: ReadLimits = ReadLimits {
    calls: NonZeroU32::new(5).unwrap(),
    per: Duration::from_secs(1),
    bytes_per_second: None,
    answer_records: 10_000,
    answer_bytes: 16 << 20,
    ingest_bytes_per_second: 1 << 20,
};

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            shards: 1,
            first: 9_900,
            answer_bytes: 1 << 20,
            date_millis: 1,
            names_children: true,
            map_lag: Duration::ZERO,
            retention: Duration::from_secs(86_400),
            limits: READ_LIMITS,
        }
    }
}

/// How reading misbehaves, from now on. Numbers are out of a thousand calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadFaults {
    /// Time that a call takes.
    pub latency: MillisRange,
    /// Refused for their rate.
    pub throttled: u32,
    /// Failed.
    pub unavailable: u32,
    /// Never answered.
    pub hang: u32,
    /// Answered with fewer records than there are.
    pub short: u32,
    /// Answered with none, though there are some.
    pub empty: u32,
    /// Calls other than reads that fail.
    pub control: u32,
    /// Listings that lack some shards, or all; never two in a row.
    pub short_lists: u32,
}

/// One record as the stream keeps it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// Counted from 0 over the whole stream.
    pub n: usize,
    /// Its sequence number.
    pub sequence: u128,
    /// Its partition key.
    pub key: Option<Arc<str>>,
    /// Its data.
    pub data: Bytes,
    /// When it arrived, by the server's clock.
    pub arrival: Millis,
}

/// Where a record was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// Counted from 0 over the whole stream.
    pub n: usize,
    /// Its shard.
    pub shard: ShardId,
    /// Its sequence number.
    pub sequence: u128,
    /// When it arrived, by the server's clock.
    pub arrival: Millis,
}

struct FakeShard {
    parents: Vec<ShardId>,
    children: Vec<ShardId>,
    range: HashRange,
    /// The number before the first record.
    start: Sequence,
    closed: Option<Millis>,
    listed: Millis,
    records: Vec<Stored>,
    /// So many of the records are gone.
    trimmed: usize,
    removed: bool,
}

struct State {
    /// The first record's sequence number.
    first: u128,
    shards: BTreeMap<ShardId, FakeShard>,
    count: usize,
    faults: ReadFaults,
    /// Failures of the next reads, before any fault is drawn.
    script: VecDeque<Trouble>,
    /// The creation time.
    created: Millis,
    /// Shards that the next listings lack, one set for each listing.
    short: VecDeque<Vec<ShardId>>,
    /// The last listing lacked shards by a fault.
    listed_short: bool,
    answer_bytes: usize,
    limits: ReadLimits,
    rng: Rng,
}

struct Inner {
    settings: StreamSettings,
    state: Mutex<State>,
    clock: TestClock,
    observer: Arc<dyn Observer>,
    live: Arc<AtomicUsize>,
}

/// See the module. Cheap to clone; all clones are one stream.
#[derive(Clone)]
pub struct FakeStream(Arc<Inner>);

/// `bytes`, counted in `live` as long as somebody holds them.
pub fn counted(bytes: impl Into<Bytes>, live: &Arc<AtomicUsize>) -> Bytes {
    struct Counted(Bytes, Arc<AtomicUsize>);

    impl AsRef<[u8]> for Counted {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for Counted {
        fn drop(&mut self) {
            self.1.fetch_sub(self.0.len(), Ordering::Relaxed);
        }
    }

    let bytes = bytes.into();
    live.fetch_add(bytes.len(), Ordering::Relaxed);
    Bytes::from_owner(Counted(bytes, Arc::clone(live)))
}

impl FakeStream {
    /// An empty stream.
    pub fn new(
        settings: StreamSettings,
        clock: &TestClock,
        rng: Rng,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let n = settings.shards as u128;
        let width = u128::MAX / n.max(1);
        let mut state = State {
            first: settings.first,
            shards: BTreeMap::new(),
            count: 0,
            faults: ReadFaults::default(),
            script: VecDeque::new(),
            created: super::EPOCH,
            short: VecDeque::new(),
            listed_short: false,
            answer_bytes: settings.answer_bytes,
            limits: settings.limits,
            rng,
        };
        for i in 0..n {
            let end = if i + 1 == n {
                u128::MAX
            } else {
                width * (i + 1) - 1
            };
            state.add(
                HashRange {
                    start: width * i,
                    end,
                },
                &[],
                clock.server(),
            );
        }
        let live = Arc::default();
        Self(Arc::new(Inner {
            settings,
            state: Mutex::new(state),
            clock: clock.clone(),
            observer,
            live,
        }))
    }

    /// How reading misbehaves from now on.
    pub fn set_faults(&self, faults: ReadFaults) {
        lock(&self.0.state).faults = faults;
    }

    /// Lets the next reads fail, one after another, whatever the faults are.
    pub fn script(&self, troubles: impl IntoIterator<Item = Trouble>) {
        lock(&self.0.state).script.extend(troubles);
    }

    /// Lets the next listing lack these shards; called again, the listing after that.
    pub fn list_without(&self, shards: &[ShardId]) {
        lock(&self.0.state).short.push_back(shards.to_vec());
    }

    /// The stream is deleted and created again now. Its shards are left as they are.
    pub fn recreate(&self) {
        lock(&self.0.state).created = self.0.clock.server();
    }

    /// Removes the failures of [`FakeStream::script`] that no read has met yet.
    pub fn clear_script(&self) {
        lock(&self.0.state).script.clear();
    }

    /// Changes the limits that the stream reports.
    pub fn set_limits(&self, limits: ReadLimits) {
        lock(&self.0.state).limits = limits;
    }

    /// Changes the bytes of data and keys that one answer holds.
    pub fn set_answer_bytes(&self, bytes: usize) {
        lock(&self.0.state).answer_bytes = bytes;
    }

    /// Bytes of answers that somebody still holds.
    pub fn live_bytes(&self) -> usize {
        self.0.live.load(Ordering::Relaxed)
    }

    /// Adds a record. Its shard is that of its key; without one, any.
    pub fn put(&self, key: Option<&str>, data: impl Into<Bytes>) -> Placed {
        let arrival = self.0.clock.server();
        let mut state = lock(&self.0.state);
        let place = match key {
            Some(key) => place_of(key),
            None => u128::from(state.rng.bits()) << 64,
        };
        let n = state.count;
        state.count += 1;
        let sequence = self.0.settings.first + n as u128;
        let placed = |shard: &ShardId| Placed {
            n,
            shard: shard.clone(),
            sequence,
            arrival,
        };
        let open = state.shards.iter_mut().filter(|(_, s)| s.closed.is_none());
        let mut found = open.filter(|(_, s)| s.range.start <= place && place <= s.range.end);
        // The open shards' ranges always cover the whole space.
        let Some((id, shard)) = found.next() else {
            return placed(&ShardId::new("none"));
        };
        shard.records.push(Stored {
            n,
            sequence,
            key: key.map(Arc::from),
            data: data.into(),
            arrival,
        });
        placed(id)
    }

    /// Adds an open shard with this id and these parents, which are closed from now on. The shard
    /// has no part of the hash space: only [`FakeStream::put_in`] reaches it.
    pub fn open_shard(&self, id: &ShardId, parents: &[ShardId]) {
        let now = self.0.clock.server();
        let mut state = lock(&self.0.state);
        for parent in parents {
            if let Some(parent) = state.shards.get_mut(parent) {
                parent.closed.get_or_insert(now);
                parent.children.push(id.clone());
            }
        }

        let nowhere = HashRange { start: 1, end: 0 };
        let listed = now.plus(self.0.settings.map_lag);
        let next = self.0.settings.first + state.count as u128;
        let shard = FakeShard::new(nowhere, parents, listed, next);
        state.shards.insert(id.clone(), shard);
    }

    /// Adds a record to this shard, wherever its key belongs. `data` is given the sequence number.
    /// Returns nothing if there is no such shard, or the shard is closed.
    pub fn put_in(
        &self,
        id: &ShardId,
        key: &str,
        data: impl FnOnce(u128) -> Bytes,
    ) -> Option<Placed> {
        let arrival = self.0.clock.server();
        let mut state = lock(&self.0.state);
        let n = state.count;
        let sequence = self.0.settings.first + n as u128;
        let shard = state.shards.get_mut(id).filter(|s| s.closed.is_none())?;
        shard.records.push(Stored {
            n,
            sequence,
            key: Some(Arc::from(key)),
            data: data(sequence),
            arrival,
        });

        state.count += 1;
        Some(Placed {
            n,
            shard: id.clone(),
            sequence,
            arrival,
        })
    }

    /// Every record that was ever put, by shard, deleted ones included.
    pub fn records(&self) -> BTreeMap<ShardId, Vec<Stored>> {
        lock(&self.0.state)
            .shards
            .iter()
            .map(|(id, shard)| (id.clone(), shard.records.clone()))
            .collect()
    }

    /// Deletes the records of a shard up to and including `sequence`.
    pub fn trim(&self, id: &ShardId, sequence: u128) {
        if let Some(shard) = lock(&self.0.state).shards.get_mut(id) {
            shard.trimmed = shard.records.partition_point(|r| r.sequence <= sequence);
        }
    }

    /// Removes a shard as retention does, or lists it again as a shard map that is out of date
    /// does.
    pub fn set_removed(&self, id: &ShardId, removed: bool) {
        if let Some(shard) = lock(&self.0.state).shards.get_mut(id) {
            shard.removed = removed;
        }
    }

    /// The shards that take records, by their place in the hash space.
    pub fn open_shards(&self) -> Vec<ShardId> {
        let state = lock(&self.0.state);
        let mut open: Vec<_> = state
            .shards
            .iter()
            .filter(|(_, s)| s.closed.is_none())
            .collect();
        open.sort_by_key(|(_, s)| s.range.start);
        open.into_iter().map(|(id, _)| id.clone()).collect()
    }

    /// Every shard that ever was, with its parents.
    pub fn lineage(&self) -> BTreeMap<ShardId, Vec<ShardId>> {
        lock(&self.0.state)
            .shards
            .iter()
            .map(|(id, s)| (id.clone(), s.parents.clone()))
            .collect()
    }

    /// True if the shard takes no more records.
    pub fn is_closed(&self, id: &ShardId) -> bool {
        lock(&self.0.state)
            .shards
            .get(id)
            .is_some_and(|s| s.closed.is_some())
    }

    /// Splits a shard in two halves; `None` if it is closed or too narrow.
    pub fn split(&self, id: &ShardId) -> Option<Vec<ShardId>> {
        let now = self.0.clock.server();
        let mut state = lock(&self.0.state);
        let HashRange { start, end } = state.shards.get(id).filter(|s| s.closed.is_none())?.range;
        let middle = start + (end - start) / 2;
        if middle == end {
            return None;
        }
        let halves = [
            HashRange { start, end: middle },
            HashRange {
                start: middle + 1,
                end,
            },
        ];
        let listed = now.plus(self.0.settings.map_lag);
        let children = halves
            .map(|range| state.add(range, std::slice::from_ref(id), listed))
            .to_vec();
        state.close(id, &children, now);
        Some(children)
    }

    /// Merges two open shards that stand side by side, in this order; `None` if they don't.
    pub fn merge(&self, a: &ShardId, b: &ShardId) -> Option<ShardId> {
        let now = self.0.clock.server();
        let mut state = lock(&self.0.state);
        let open = |id| {
            state
                .shards
                .get(id)
                .filter(|s| s.closed.is_none())
                .map(|s| s.range)
        };
        let (left, right) = (open(a)?, open(b)?);
        if left.end.checked_add(1) != Some(right.start) {
            return None;
        }
        let range = HashRange {
            start: left.start,
            end: right.end,
        };
        let child = state.add(
            range,
            &[a.clone(), b.clone()],
            now.plus(self.0.settings.map_lag),
        );
        state.close(a, std::slice::from_ref(&child), now);
        state.close(b, std::slice::from_ref(&child), now);
        Some(child)
    }

    /// Deletes all records that arrived before `cutoff`, and closed shards that are empty then.
    /// Says which records.
    pub fn expire(&self, cutoff: Millis) -> Vec<usize> {
        let mut state = lock(&self.0.state);
        let mut gone = Vec::new();
        for shard in state.shards.values_mut() {
            let keep = shard
                .records
                .partition_point(|r| r.arrival < cutoff)
                .max(shard.trimmed);
            gone.extend(shard.records[shard.trimmed..keep].iter().map(|r| r.n));
            shard.trimmed = keep;
            shard.removed |=
                shard.closed.is_some_and(|at| at < cutoff) && keep == shard.records.len();
        }
        gone
    }

    fn trouble(&self, kind: TroubleKind, fault: &'static str) -> Trouble {
        self.0.observer.on(&Event::Fault(fault));
        Trouble::new(kind, fault)
    }

    /// A call that is not a read.
    async fn control(&self) -> Result<(), SourceError> {
        let (latency, fails) = {
            let mut state = lock(&self.0.state);
            let State { faults, rng, .. } = &mut *state;
            (draw(rng, faults.latency), rng.per_mille(faults.control))
        };
        self.0.clock.sleep(latency).await;
        if fails {
            return Err(self.trouble(TroubleKind::Unavailable, "control call failed"));
        }
        Ok(())
    }
}

/// A key's place in the hash space: not MD5 as Kinesis has it, but a hash, and cheap.
pub(super) fn place_of(key: &str) -> u128 {
    let high = hash(key.as_bytes());
    u128::from(high) << 64 | u128::from(high.rotate_left(17))
}

impl State {
    fn add(&mut self, range: HashRange, parents: &[ShardId], listed: Millis) -> ShardId {
        let id = ShardId::new(&format!("shardId-{:012}", self.shards.len()));
        let next = self.first + self.count as u128;
        let shard = FakeShard::new(range, parents, listed, next);
        self.shards.insert(id.clone(), shard);
        id
    }

    /// The shards that a listing lacks by a fault.
    fn draw_lacking(&mut self) -> Vec<ShardId> {
        let share = self.faults.short_lists;
        self.listed_short = share > 0 && !self.listed_short && self.rng.per_mille(share);
        if !self.listed_short {
            return Vec::new();
        }

        let each = *self.rng.pick(&[200, 500, 1000]);
        let ids = self.shards.keys().cloned();
        ids.filter(|_| self.rng.per_mille(each)).collect()
    }

    fn close(&mut self, id: &ShardId, children: &[ShardId], now: Millis) {
        if let Some(shard) = self.shards.get_mut(id) {
            shard.closed = Some(now);
            shard.children = children.to_vec();
        }
    }
}

#[async_trait]
impl Source for FakeStream {
    async fn facts(&self) -> Result<SourceFacts, SourceError> {
        self.control().await?;
        let exact = self.0.settings.date_millis.max(1);
        let date = self.0.clock.server().0.div_euclid(exact) * exact;
        let (created, limits) = {
            let state = lock(&self.0.state);
            (state.created, state.limits)
        };
        Ok(SourceFacts {
            identity: StreamIdentity {
                arn: ARN.to_owned(),
                created: Some(created),
            },
            retention: self.0.settings.retention,
            time: ServerTime {
                earliest: Millis(date),
                latest: Millis(date + exact),
            },
            limits,
        })
    }

    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        self.control().await?;
        let now = self.0.clock.server();
        let mut state = lock(&self.0.state);
        let told = state.short.pop_front();
        let lacks = told.unwrap_or_else(|| state.draw_lacking());
        let listed = state
            .shards
            .iter()
            .filter(|(id, s)| !s.removed && s.listed <= now && !lacks.contains(id));
        let shard = |(id, s): (&ShardId, &FakeShard)| Shard {
            id: id.clone(),
            parents: s.parents.clone(),
            hash_range: Some(s.range),
            start: Some(s.start.clone()),
            closed: s.closed.is_some(),
        };
        let listed = listed.map(shard).collect();
        let is_short = state.listed_short;
        drop(state);
        if is_short {
            self.0.observer.on(&Event::Fault("a listing lacked shards"));
        }
        Ok(listed)
    }

    fn open(&self, shard: &ShardId, position: Position) -> Box<dyn ShardReader> {
        Box::new(FakeReader {
            stream: self.clone(),
            shard: shard.clone(),
            position,
            origin: Arc::new(Origin {
                source: ARN.into(),
                shard: shard.clone(),
                hash_range: lock(&self.0.state).shards.get(shard).map(|s| s.range),
            }),
        })
    }
}

struct FakeReader {
    stream: FakeStream,
    shard: ShardId,
    position: Position,
    origin: Arc<Origin>,
}

/// The fault of one read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ReadFault {
    None,
    Throttled,
    Unavailable,
    Hang,
    Short,
    Empty,
}

impl ReadFault {
    fn draw(faults: &ReadFaults, rng: &mut Rng) -> Self {
        let all = [
            (faults.throttled, Self::Throttled),
            (faults.unavailable, Self::Unavailable),
            (faults.hang, Self::Hang),
            (faults.short, Self::Short),
            (faults.empty, Self::Empty),
        ];
        all.into_iter()
            .find(|(n, _)| rng.per_mille(*n))
            .map_or(Self::None, |(_, fault)| fault)
    }
}

impl FakeShard {
    /// An open shard without records.
    fn new(range: HashRange, parents: &[ShardId], listed: Millis, next: u128) -> Self {
        Self {
            parents: parents.to_vec(),
            children: Vec::new(),
            range,
            start: Sequence::new(&next.saturating_sub(1).to_string()),
            closed: None,
            listed,
            records: Vec::new(),
            trimmed: 0,
            removed: false,
        }
    }

    /// The index of the first record after `position`, and whether something between was deleted.
    fn find(&self, position: &Position) -> (usize, bool) {
        let wanted = match position {
            Position::TrimHorizon => return (self.trimmed, false),
            Position::At(at) => self.records.partition_point(|r| r.arrival < *at),
            Position::After { sequence, sub } => {
                let sequence = sequence.as_str().parse::<u128>().unwrap_or(u128::MAX);
                self.records.partition_point(|r| match sub {
                    // The rest of that record is still to be returned.
                    Some(_) => r.sequence < sequence,
                    None => r.sequence <= sequence,
                })
            }
            Position::Closed => self.records.len(),
        };
        (wanted.max(self.trimmed), wanted < self.trimmed)
    }
}

impl FakeReader {
    /// The answer, and where the reader is after it. The stream is locked by the caller.
    fn answer(
        &self,
        state: &mut State,
        fault: ReadFault,
        credit: Credit,
    ) -> Option<(Read, Position)> {
        let short = state.rng.between(1, 10);
        let answer_bytes = state.answer_bytes;
        let shard = state.shards.get(&self.shard).filter(|s| !s.removed)?;
        let (first, gap) = shard.find(&self.position);
        let waiting = shard.records.get(first);
        if gap {
            let oldest = waiting.map(oldest);
            let gap = self.read(Fetched::Gap { oldest }, waiting);
            return Some((gap, Position::TrimHorizon));
        }
        if waiting.is_none() && shard.closed.is_some() {
            return Some(self.end_of(shard));
        }
        if waiting.is_none() || fault == ReadFault::Empty {
            let idle = self.read(Fetched::Idle, waiting);
            return Some((idle, self.position.clone()));
        }

        let mut most = credit.records.max(1) as usize;
        if fault == ReadFault::Short {
            most = most.min(usize::try_from(short).unwrap_or(1));
        }
        let some = fitting(&shard.records[first..], most, answer_bytes);
        let next = shard.records.get(first + some.len());
        self.records(some, next)
    }

    /// An answer with the records `some`, in front of the record `next`.
    fn records(&self, some: &[Stored], next: Option<&Stored>) -> Option<(Read, Position)> {
        let last = some.last()?;
        let origin = Arc::clone(&self.origin);
        let batch = batch(origin, some, &self.stream.0.live)?;
        let read = self.read(Fetched::Batch(batch), next);

        let position = Position::after(&last.sequence.to_string());
        Some((read, position))
    }

    fn end_of(&self, shard: &FakeShard) -> (Read, Position) {
        let children = self.named_children(shard);
        let closed = self.read(Fetched::Closed { children }, None);
        (closed, Position::Closed)
    }

    /// An answer in front of the record `next`.
    fn read(&self, fetched: Fetched, next: Option<&Stored>) -> Read {
        let now = self.stream.0.clock.server();
        let behind = next.map_or(Duration::ZERO, |r| now.since(r.arrival));
        Read {
            fetched,
            behind,
            complete_until: now.minus(behind),
        }
    }

    fn named_children(&self, shard: &FakeShard) -> Vec<ShardId> {
        if self.stream.0.settings.names_children {
            shard.children.clone()
        } else {
            Vec::new()
        }
    }

    /// Plays a fault: the failure of the read, if that is one.
    async fn play(&self, fault: ReadFault) -> Option<Trouble> {
        let stream = &self.stream;
        let inner = &stream.0;
        let observe = |fault| inner.observer.on(&Event::Fault(fault));
        match fault {
            ReadFault::None => lock(&inner.state).script.pop_front(),
            ReadFault::Short | ReadFault::Empty => {
                observe("a read brought less than there is");
                None
            }
            ReadFault::Throttled => Some(stream.trouble(TroubleKind::Throttled, "read throttled")),
            ReadFault::Unavailable => Some(stream.trouble(TroubleKind::Unavailable, "read failed")),
            ReadFault::Hang => {
                observe("a read was never answered");
                inner.clock.sleep(Duration::from_secs(3600)).await;
                let text = "read failed after an hour";
                Some(stream.trouble(TroubleKind::Unavailable, text))
            }
        }
    }
}

impl ReadAnswer {
    fn of(fetched: &Fetched) -> Self {
        match fetched {
            Fetched::Batch(batch) => Self::Records(batch.len()),
            Fetched::Idle => Self::Idle,
            Fetched::Closed { .. } => Self::Closed,
            Fetched::Gap { .. } => Self::Gap,
        }
    }
}

fn oldest(record: &Stored) -> OldestRecord {
    OldestRecord {
        sequence: Sequence::new(&record.sequence.to_string()),
        arrival: record.arrival,
    }
}

/// The first records for one answer: `most` at most, and one at least.
fn fitting(records: &[Stored], most: usize, answer_bytes: usize) -> &[Stored] {
    let mut bytes = 0;
    let mut taken = 0;
    for record in records.iter().take(most) {
        let key = record.key.as_ref().map_or(0, |key| key.len());
        bytes += record.data.len() + key;
        if taken > 0 && bytes > answer_bytes {
            break;
        }
        taken += 1;
    }
    &records[..taken]
}

/// A batch of `records`, whose buffer counts in `live`.
fn batch(origin: Arc<Origin>, records: &[Stored], live: &Arc<AtomicUsize>) -> Option<Batch> {
    let mut buffer = Vec::with_capacity(records.iter().map(|r| r.data.len() + 80).sum());
    let mut add = |bytes: &[u8]| {
        let start = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        buffer.extend_from_slice(bytes);
        Span {
            start,
            len: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
        }
    };
    let index = records
        .iter()
        .map(|r| RecordIndex {
            sequence: add(r.sequence.to_string().as_bytes()),
            key: r.key.as_ref().map(|k| add(k.as_bytes())),
            data: add(&r.data),
            arrival: r.arrival,
        })
        .collect();
    Batch::new(origin, counted(buffer, live), DataForm::Raw, index).ok()
}

#[async_trait]
impl ShardReader for FakeReader {
    async fn next(&mut self, credit: Credit) -> Result<Read, SourceError> {
        let inner = Arc::clone(&self.stream.0);
        let (latency, fault) = {
            let mut state = lock(&inner.state);
            let State { faults, rng, .. } = &mut *state;
            (draw(rng, faults.latency), ReadFault::draw(faults, rng))
        };
        inner.clock.sleep(latency).await;
        let result = match self.play(fault).await {
            Some(trouble) => Err(trouble),
            None => {
                let answer = self.answer(&mut lock(&inner.state), fault, credit);
                answer.ok_or_else(|| Trouble::new(TroubleKind::Missing, "the shard does not exist"))
            }
        };

        let from = self.position.clone();
        let (result, answer) = match result {
            Err(trouble) => (Err(trouble), ReadAnswer::Failed),
            Ok((read, position)) => {
                self.position = position;
                let answer = ReadAnswer::of(&read.fetched);
                (Ok(read), answer)
            }
        };
        inner.observer.on(&Event::Read {
            shard: &self.shard,
            from: &from,
            credit: credit.records,
            answer,
        });
        result
    }
}
