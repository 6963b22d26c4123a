//! A source, outputs and a store in memory, on tokio's paused clock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::{Batch, Origin, ShardId};
use distributary_core::checkpoint::Position;
use distributary_core::clock::{Clock, ClockSource, Instant, Millis, Sleep, split_mix};
use distributary_core::engine::{
    Engine, EngineError, FanOut, Order, OutputSpec, OutputStatus, Settings, Start, Status,
};
use distributary_core::output::{
    Chunk, EncodingKey, Outcome, Output, Picks, Profile, Refusal, RequestLimits, Trouble,
    TroubleKind, Verdict,
};
use distributary_core::record::{DataForm, RecordIndex, Span};
use distributary_core::source::{
    Credit, Fetched, Read, ReadLimits, ServerTime, Shard, ShardReader, Source, SourceError,
    SourceFacts, StreamIdentity,
};
use distributary_core::store::{
    CheckpointStore, LaneCheckpoint, LaneId, OutputId, State, StoreError,
};
use distributary_core::testing::READ_LIMITS;

/// What the wall clock says when a test begins.
pub(crate) const BASE: i64 = 1_700_000_000_000;

struct Paused(tokio::time::Instant, std::sync::atomic::AtomicU64);

// The tests' clock is tokio's, paused.
#[allow(clippy::disallowed_methods)]
impl ClockSource for Paused {
    fn now(&self) -> Instant {
        Instant(self.0.elapsed())
    }
    fn wall(&self) -> Millis {
        Millis(BASE).plus(self.0.elapsed())
    }
    fn sleep(&self, d: Duration) -> Sleep {
        Box::pin(tokio::time::sleep(d))
    }
    fn random(&self) -> u64 {
        split_mix(self.1.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
    }
}

#[allow(clippy::disallowed_methods)]
pub(crate) fn paused_clock() -> Clock {
    Clock::new(Paused(tokio::time::Instant::now(), 1.into()))
}

#[derive(Clone)]
pub(crate) struct Rec {
    pub(crate) sequence: u64,
    pub(crate) key: String,
    pub(crate) data: Vec<u8>,
    pub(crate) arrival: Millis,
}

#[derive(Default)]
struct FakeShard {
    parents: Vec<ShardId>,
    children: Vec<ShardId>,
    closed: bool,
    unlisted: bool,
    records: Vec<Rec>,
    /// Records up to this sequence number are gone.
    trimmed: u64,
}

#[derive(Default)]
pub(crate) struct SourceState {
    shards: BTreeMap<ShardId, FakeShard>,
    next: u64,
    /// Answers to give instead of the next ones.
    pub(crate) troubles: VecDeque<Trouble>,
    /// Every read: when, of which shard, how many records were asked for, and how many came.
    pub(crate) reads: Vec<(Duration, ShardId, u32, usize)>,
    pub(crate) answer_limit: usize,
}

/// A stream in memory.
#[derive(Clone)]
pub(crate) struct FakeSource {
    pub(crate) state: Arc<Mutex<SourceState>>,
    pub(crate) clock: Clock,
    pub(crate) limits: ReadLimits,
}

impl FakeSource {
    /// The first record has the sequence number after this.
    pub(crate) const FIRST: u64 = 100;

    pub(crate) fn new(clock: &Clock, shards: usize) -> Self {
        let state = SourceState {
            next: Self::FIRST,
            answer_limit: usize::MAX,
            ..SourceState::default()
        };
        let source = Self {
            state: Arc::new(Mutex::new(state)),
            clock: clock.clone(),
            limits: READ_LIMITS,
        };
        for i in 0..shards {
            source.shard(&i.to_string(), &[]);
        }
        source
    }

    pub(crate) fn shard(&self, id: &str, parents: &[&str]) {
        let parents = parents.iter().map(|p| ShardId::new(p)).collect();
        let shard = FakeShard {
            parents,
            ..FakeShard::default()
        };
        self.state
            .lock()
            .unwrap()
            .shards
            .insert(ShardId::new(id), shard);
    }

    pub(crate) fn put(&self, shard: &str, key: &str, size: usize) {
        let arrival = self.clock.wall();
        let mut state = self.state.lock().unwrap();
        state.next += 1;
        let sequence = state.next;
        let mut data = format!("{shard}:{key}:{sequence}").into_bytes();
        data.resize(data.len().max(size), b'.');
        let shard = state.shards.get_mut(&ShardId::new(shard)).unwrap();
        assert!(!shard.closed);
        shard.records.push(Rec {
            sequence,
            key: key.to_owned(),
            data,
            arrival,
        });
    }

    pub(crate) fn put_many(&self, shard: &str, n: usize, size: usize) {
        for i in 0..n {
            self.put(shard, &format!("{shard}k{}", i % 7), size);
        }
    }

    /// Closes `parents` and opens `children`.
    pub(crate) fn reshard(&self, parents: &[&str], children: &[&str]) {
        for child in children {
            self.shard(child, parents);
        }
        let mut state = self.state.lock().unwrap();
        for parent in parents {
            let parent = state.shards.get_mut(&ShardId::new(parent)).unwrap();
            parent.closed = true;
            parent.children = children.iter().map(|c| ShardId::new(c)).collect();
        }
    }

    pub(crate) fn trim(&self, shard: &str, sequence: u64) {
        self.state
            .lock()
            .unwrap()
            .shards
            .get_mut(&ShardId::new(shard))
            .unwrap()
            .trimmed = sequence;
    }

    /// Retention removes the shard.
    pub(crate) fn remove(&self, shard: &str) {
        self.state
            .lock()
            .unwrap()
            .shards
            .get_mut(&ShardId::new(shard))
            .unwrap()
            .unlisted = true;
    }

    pub(crate) fn records(&self) -> Vec<Rec> {
        self.state
            .lock()
            .unwrap()
            .shards
            .values()
            .flat_map(|s| s.records.clone())
            .collect()
    }

    /// A map that is behind names the shard once more.
    pub(crate) fn list_again(&self, shard: &str) {
        self.state
            .lock()
            .unwrap()
            .shards
            .get_mut(&ShardId::new(shard))
            .unwrap()
            .unlisted = false;
    }

    pub(crate) fn shards_of_records(&self) -> Vec<(ShardId, u64)> {
        let state = self.state.lock().unwrap();
        let of = |(id, s): (&ShardId, &FakeShard)| {
            s.records
                .iter()
                .map(|r| (id.clone(), r.sequence))
                .collect::<Vec<_>>()
        };
        state.shards.iter().flat_map(of).collect()
    }

    /// Every parent and child.
    pub(crate) fn lineage(&self) -> Vec<(ShardId, ShardId)> {
        let state = self.state.lock().unwrap();
        let of = |(id, s): (&ShardId, &FakeShard)| {
            s.parents
                .iter()
                .map(|p| (p.clone(), id.clone()))
                .collect::<Vec<_>>()
        };
        state.shards.iter().flat_map(of).collect()
    }

    pub(crate) fn last_sequence(&self) -> u64 {
        self.state.lock().unwrap().next
    }

    pub(crate) fn reads(&self) -> usize {
        self.state.lock().unwrap().reads.len()
    }
}

struct FakeReader {
    source: FakeSource,
    shard: ShardId,
    position: Position,
}

#[async_trait]
impl Source for FakeSource {
    async fn facts(&self) -> Result<SourceFacts, SourceError> {
        let now = self.clock.wall();
        Ok(SourceFacts {
            identity: StreamIdentity {
                arn: "arn:fake".to_owned(),
                created: Some(Millis(1)),
            },
            retention: Duration::from_secs(86_400),
            time: ServerTime {
                earliest: now,
                latest: Millis(now.0 + 1),
            },
            limits: self.limits,
        })
    }
    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        let state = self.state.lock().unwrap();
        let listed = state.shards.iter().filter(|(_, s)| !s.unlisted);
        let shard = |(id, s): (&ShardId, &FakeShard)| Shard {
            id: id.clone(),
            parents: s.parents.clone(),
            hash_range: None,
            closed: s.closed,
        };
        Ok(listed.map(shard).collect())
    }
    fn open(&self, shard: &ShardId, position: Position) -> Box<dyn ShardReader> {
        Box::new(FakeReader {
            source: self.clone(),
            shard: shard.clone(),
            position,
        })
    }
}

#[async_trait]
impl ShardReader for FakeReader {
    async fn next(&mut self, credit: Credit) -> Result<Read, SourceError> {
        self.source.clock.sleep(Duration::from_millis(5)).await;
        let now = self.source.clock.wall();
        let at = self.source.clock.now().0;
        let mut state = self.source.state.lock().unwrap();
        if let Some(trouble) = state.troubles.pop_front() {
            return Err(trouble);
        }
        let limit = state.answer_limit;
        let shard = state.shards.get(&self.shard).unwrap();
        if shard.unlisted {
            return Err(Trouble::new(TroubleKind::Missing, "no such shard"));
        }
        let read = |fetched, behind: Duration| Read {
            fetched,
            behind,
            complete_until: now.minus(behind).minus(Duration::from_millis(1)),
        };
        if let Position::After { sequence: s, .. } = &self.position {
            let at: u64 = s.as_str().parse().unwrap();
            let lost = shard
                .records
                .iter()
                .any(|r| r.sequence > at && r.sequence <= shard.trimmed);
            if lost {
                self.position = Position::TrimHorizon;
                return Ok(read(Fetched::Gap, Duration::ZERO));
            }
        }
        let (mut after, mut since) = (shard.trimmed, None);
        match &self.position {
            Position::TrimHorizon => {}
            Position::At(at) => since = Some(*at),
            Position::After { sequence: s, .. } => after = after.max(s.as_str().parse().unwrap()),
            Position::Closed => panic!("read after the end"),
        }
        // Sequence numbers grow within a shard.
        let begin = shard.records.partition_point(|r| r.sequence <= after);
        let wanted = |r: &&Rec| since.is_none_or(|at| r.arrival >= at);
        let mut bytes = 0;
        let all: Vec<&Rec> = shard.records[begin..].iter().filter(wanted).collect();
        let some: Vec<Rec> = all
            .iter()
            .take(credit.records as usize)
            .take_while(|r| {
                bytes += r.data.len();
                bytes <= limit || bytes == r.data.len()
            })
            .map(|r| (*r).clone())
            .collect();
        let behind = all
            .get(some.len())
            .map_or(Duration::ZERO, |r| now.since(r.arrival));
        let (closed, children) = (shard.closed, shard.children.clone());
        state
            .reads
            .push((at, self.shard.clone(), credit.records, some.len()));
        drop(state);
        let Some(last) = some.last() else {
            let fetched = if closed {
                Fetched::Closed { children }
            } else {
                Fetched::Idle
            };
            return Ok(read(fetched, Duration::ZERO));
        };
        self.position = Position::after(&last.sequence.to_string());
        Ok(read(Fetched::Batch(batch(&some)), behind))
    }
}

fn origin() -> Arc<Origin> {
    Arc::new(Origin {
        source: "arn:fake".into(),
        shard: ShardId::new("a"),
        hash_range: None,
    })
}

pub(crate) fn batch(records: &[Rec]) -> Batch {
    let mut buffer = Vec::new();
    let mut add = |bytes: &[u8]| {
        let start = u32::try_from(buffer.len()).unwrap();
        buffer.extend_from_slice(bytes);
        Span {
            start,
            len: u32::try_from(bytes.len()).unwrap(),
        }
    };
    let index = records
        .iter()
        .map(|r| RecordIndex {
            sequence: add(r.sequence.to_string().as_bytes()),
            key: Some(add(r.key.as_bytes())),
            data: add(&r.data),
            arrival: r.arrival,
        })
        .collect();
    Batch::new(origin(), buffer.into(), DataForm::Raw, index).unwrap()
}

/// What an output does with the next requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Takes nothing, never answers.
    Hang,
    /// Refuses whole requests.
    Trouble(TroubleKind),
    /// Writes, and loses the answer.
    LoseAnswers,
    /// Takes every record but these fraction: one in so many fails.
    OneIn(u64),
    /// Takes one record in so many; the others are throttled.
    AllBut(u64),
    /// Takes this much time for a request.
    Slow(Duration),
    /// Will never take the record with this sequence number.
    Refuse(u64),
    Panic,
}

#[derive(Debug)]
struct Payload(Vec<(String, u64, Vec<u8>)>);

pub(crate) struct OutputState {
    pub(crate) mood: Mood,
    pub(crate) latency: Duration,
    /// What was written: key and sequence number of each record, in order, and when.
    pub(crate) written: Vec<(String, u64)>,
    pub(crate) times: BTreeMap<u64, Duration>,
    pub(crate) requests: u64,
    pub(crate) encodings: u64,
    pub(crate) random: u64,
}

/// An output in memory.
#[derive(Clone)]
pub(crate) struct FakeOutput {
    pub(crate) state: Arc<Mutex<OutputState>>,
    pub(crate) key: EncodingKey,
    pub(crate) limits: RequestLimits,
    clock: Clock,
}

impl FakeOutput {
    pub(crate) fn new(clock: &Clock) -> Self {
        let state = OutputState {
            mood: Mood::Well,
            latency: Duration::from_millis(10),
            written: Vec::new(),
            times: BTreeMap::new(),
            requests: 0,
            encodings: 0,
            random: 7,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            key: EncodingKey::new("fake", ""),
            limits: RequestLimits {
                entries: 500,
                bytes: 5 << 20,
            },
            clock: clock.clone(),
        }
    }

    pub(crate) fn mood(&self, mood: Mood) {
        self.state.lock().unwrap().mood = mood;
    }

    pub(crate) fn latency(&self, latency: Duration) {
        self.state.lock().unwrap().latency = latency;
    }

    pub(crate) fn written(&self) -> Vec<(String, u64)> {
        self.state.lock().unwrap().written.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.state.lock().unwrap().written.len()
    }
}

#[async_trait]
impl Output for FakeOutput {
    fn encoding(&self) -> EncodingKey {
        self.key.clone()
    }
    fn profile(&self) -> Profile {
        Profile::new(self.limits)
    }
    fn encoded_bound(&self, records: usize, bytes: usize) -> usize {
        records * 64 + bytes
    }
    fn encode(&self, batch: &Batch, picks: Picks) -> Chunk {
        self.state.lock().unwrap().encodings += 1;
        let records = picks
            .iter()
            .map(|i| {
                let r = batch.record(i);
                (
                    r.key.unwrap_or_default().to_owned(),
                    r.sequence.parse().unwrap(),
                    r.data.to_vec(),
                )
            })
            .collect::<Vec<_>>();
        let allocation = records.iter().map(|(k, _, d)| k.len() + d.len() + 16).sum();
        Chunk {
            picks,
            payload: Box::new(Payload(records)),
            allocation,
        }
    }
    async fn write(&self, _: &Batch, chunk: &Chunk, deadline: Duration) -> Outcome {
        let Payload(records) = (*chunk.payload).as_any().downcast_ref::<Payload>().unwrap();
        let (mood, latency) = {
            let mut state = self.state.lock().unwrap();
            state.requests += 1;
            (state.mood.clone(), state.latency)
        };
        let trouble = |kind| Trouble::new(kind, format!("{kind:?}"));
        match mood {
            Mood::Hang => {
                self.clock.sleep(deadline).await;
                return Outcome::Unknown(trouble(TroubleKind::Unavailable));
            }
            Mood::Trouble(kind) => {
                self.clock.sleep(latency).await;
                return Outcome::Rejected(trouble(kind));
            }
            Mood::Panic => panic!("an output that panics"),
            Mood::Slow(latency) => self.clock.sleep(latency).await,
            _ => self.clock.sleep(latency).await,
        }
        let now = self.clock.now().0;
        let mut state = self.state.lock().unwrap();
        let mut verdicts = Vec::new();
        for (key, sequence, _) in records {
            state.random += 1;
            let fails = match mood {
                Mood::OneIn(n) => split_mix(state.random).is_multiple_of(n),
                Mood::AllBut(n) => !split_mix(state.random).is_multiple_of(n),
                _ => false,
            };
            if fails {
                verdicts.push(Verdict::Retry(trouble(TroubleKind::Throttled)));
            } else if mood == Mood::Refuse(*sequence) {
                verdicts.push(Verdict::Refused(Refusal::new("Ugly", "too ugly")));
            } else {
                state.written.push((key.clone(), *sequence));
                state.times.entry(*sequence).or_insert(now);
                verdicts.push(Verdict::Durable);
            }
        }
        match mood {
            Mood::LoseAnswers => Outcome::Unknown(trouble(TroubleKind::Unavailable)),
            _ if verdicts.iter().all(|v| matches!(v, Verdict::Durable)) => Outcome::Durable,
            _ => Outcome::PerRecord(verdicts),
        }
    }
}

#[derive(Default)]
pub(crate) struct StoreState {
    pub(crate) identity: Option<StreamIdentity>,
    pub(crate) rows: BTreeMap<LaneId, Position>,
    pub(crate) commits: Vec<Vec<LaneCheckpoint>>,
    pub(crate) failing: bool,
}

/// A store in memory.
#[derive(Clone, Default)]
pub(crate) struct FakeStore(pub(crate) Arc<Mutex<StoreState>>);

impl FakeStore {
    pub(crate) fn position(&self, shard: &str, output: &str) -> Option<Position> {
        let lane = LaneId {
            shard: ShardId::new(shard),
            output: OutputId::new(output),
        };
        self.0.lock().unwrap().rows.get(&lane).cloned()
    }
    pub(crate) fn fail(&self, failing: bool) {
        self.0.lock().unwrap().failing = failing;
    }
}

#[async_trait]
impl CheckpointStore for FakeStore {
    async fn bind(&self, source: &StreamIdentity) -> Result<(), StoreError> {
        self.0.lock().unwrap().identity = Some(source.clone());
        Ok(())
    }
    async fn load(&self) -> Result<State, StoreError> {
        let rows = self.0.lock().unwrap().rows.clone();
        Ok(State {
            lanes: rows
                .into_iter()
                .map(|(lane, position)| LaneCheckpoint {
                    lane,
                    position,
                    arrival: None,
                })
                .collect(),
            ..State::default()
        })
    }
    async fn commit(&self, changes: &State) -> Result<(), StoreError> {
        let mut state = self.0.lock().unwrap();
        if state.failing {
            return Err(StoreError::Failed {
                source: "the disk is full".into(),
            });
        }
        let checkpoints = &changes.lanes;
        for c in checkpoints {
            let before = state.rows.insert(c.lane.clone(), c.position.clone());
            assert!(
                before.is_none_or(|b| c.position.covers(&b)),
                "a checkpoint went back: {c:?}"
            );
        }
        state.commits.push(checkpoints.clone());
        Ok(())
    }
    async fn forget(&self, lanes: &[LaneId]) -> Result<(), StoreError> {
        let mut state = self.0.lock().unwrap();
        if state.failing {
            return Err(StoreError::Failed {
                source: "the disk is full".into(),
            });
        }
        for lane in lanes {
            state.rows.remove(lane);
        }
        Ok(())
    }
}

/// A fan-out over fakes.
pub(crate) struct Bench {
    pub(crate) clock: Clock,
    pub(crate) source: FakeSource,
    pub(crate) outputs: Vec<FakeOutput>,
    pub(crate) store: FakeStore,
    pub(crate) settings: Settings,
    pub(crate) start: Start,
    pub(crate) order: Order,
}

impl Bench {
    pub(crate) fn new(shards: usize, outputs: usize) -> Self {
        let clock = paused_clock();
        Self {
            source: FakeSource::new(&clock, shards),
            outputs: (0..outputs).map(|_| FakeOutput::new(&clock)).collect(),
            store: FakeStore::default(),
            settings: Settings::default(),
            start: Start::TrimHorizon,
            order: Order::Resend,
            clock,
        }
    }

    pub(crate) fn spec(&self, i: usize) -> OutputSpec {
        OutputSpec {
            id: OutputId::new(&format!("o{i}")),
            output: Arc::new(self.outputs[i].clone()),
            order: self.order,
            start: self.start,
            paused: false,
        }
    }

    pub(crate) async fn try_run(&self) -> Result<Engine, EngineError> {
        Engine::start(FanOut {
            name: "test".to_owned(),
            source: Arc::new(self.source.clone()),
            outputs: (0..self.outputs.len()).map(|i| self.spec(i)).collect(),
            store: Arc::new(self.store.clone()),
            clock: self.clock.clone(),
            settings: self.settings.clone(),
        })
        .await
    }

    pub(crate) async fn run(&self) -> Engine {
        self.try_run().await.unwrap()
    }

    /// Sleeps on the test's clock.
    pub(crate) async fn pass(&self, d: Duration) {
        self.clock.sleep(d).await;
    }

    /// Waits until `what` holds, at most ten minutes of the test's clock; checks the engine's books on the way.
    pub(crate) async fn until(&self, engine: &Engine, what: impl Fn(&Status) -> bool) -> Status {
        for _ in 0..60_000 {
            let status = engine.status();
            balanced(&status);
            if what(&status) {
                return status;
            }
            self.pass(Duration::from_millis(10)).await;
        }
        panic!("it never came to be: {:#?}", engine.status());
    }

    /// Everything in the source is in output `i`.
    pub(crate) fn all_there(&self, i: usize) {
        let written: std::collections::BTreeSet<u64> = self.outputs[i]
            .written()
            .into_iter()
            .map(|(_, s)| s)
            .collect();
        for record in self.source.records() {
            assert!(
                written.contains(&record.sequence),
                "output {i} lacks record {}",
                record.sequence
            );
        }
    }

    /// Everything in the source is in output `i`, each key's last occurrences in order. Says how many repeats.
    pub(crate) fn complete(&self, i: usize) -> usize {
        let written = self.outputs[i].written();
        let mut last: BTreeMap<u64, (usize, String)> = BTreeMap::new();
        for (at, (key, sequence)) in written.iter().enumerate() {
            last.insert(*sequence, (at, key.clone()));
        }
        let mut by_key: BTreeMap<String, (u64, usize)> = BTreeMap::new();
        for record in self.source.records() {
            let (at, key) = last.get(&record.sequence).unwrap_or_else(|| {
                panic!(
                    "output {i} lacks record {} of {} written",
                    record.sequence,
                    written.len()
                )
            });
            assert_eq!(*key, record.key);
            let before = by_key.insert(key.clone(), (record.sequence, *at));
            if let Some((earlier, place)) = before.filter(|(s, _)| *s < record.sequence) {
                assert!(
                    place < *at,
                    "output {i}, key {key}: {earlier} stands behind {}",
                    record.sequence
                );
            }
        }
        written.len() - last.len()
    }
}

pub(crate) fn balanced(status: &Status) {
    for output in &status.outputs {
        assert!(output.counts.balanced(), "{:?}", output.counts);
        for lane in &output.lanes {
            assert!(lane.counts.balanced(), "{:?}", lane.counts);
        }
    }
    assert!(
        status.memory.used <= status.memory.budget,
        "{:?}",
        status.memory
    );
}

pub(crate) fn of<'a>(status: &'a Status, id: &str) -> &'a OutputStatus {
    status.outputs.iter().find(|o| o.id.as_str() == id).unwrap()
}
