//! A fan-out over the fakes of `core::testing`, on a paused clock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Position;
use distributary_core::clock::{Clock, Millis};
use distributary_core::engine::{
    Engine, EngineError, FanOut, Order, OutputSpec, OutputStatus, Settings, Start, Status,
};
use distributary_core::output::{EncodingKey, Gathers, RequestLimits, TroubleKind};
use distributary_core::ownership::Ownership;
use distributary_core::pump::PumpRef;
use distributary_core::source::ReadLimits;
use distributary_core::store::{LaneId, OutputId};
use distributary_core::sync::lock;
use distributary_core::testing::{
    self, EPOCH, Event, FakeService, FakeStream, Observer, OutputFaults, READ_LIMITS, ReadAnswer,
    ReadFaults, Rng, ServiceSettings, StoreFaults, Stored, StreamSettings, TestClock,
};

/// The wall clock at the begin of a test, in milliseconds since 1970.
pub(crate) const BASE: i64 = EPOCH.0;

/// One read of the stream.
#[derive(Clone, Debug)]
pub(crate) struct ReadCall {
    pub(crate) at: Duration,
    pub(crate) shard: ShardId,
}

/// Notes each read, and checks that no checkpoint moves back.
struct Recorder {
    clock: Clock,
    reads: Mutex<Vec<ReadCall>>,
    checkpoints: Mutex<BTreeMap<LaneId, Position>>,
}

impl Observer for Recorder {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Read { shard, answer, .. } if *answer != ReadAnswer::Failed => lock(&self.reads)
                .push(ReadCall {
                    at: self.clock.now().0,
                    shard: (*shard).clone(),
                }),
            Event::Committed { rows } => {
                let mut checkpoints = lock(&self.checkpoints);
                for row in *rows {
                    let before = checkpoints.insert(row.lane.clone(), row.position.clone());
                    assert!(
                        before.is_none_or(|before| row.position.covers(&before)),
                        "a checkpoint moved back: {row:?}"
                    );
                }
            }
            Event::Forgotten { lanes } => {
                let mut checkpoints = lock(&self.checkpoints);
                checkpoints.retain(|lane, _| !lanes.contains(lane));
            }
            _ => {}
        }
    }
}

/// A record of the source.
#[derive(Clone, Debug)]
pub(crate) struct Rec {
    pub(crate) sequence: u64,
    pub(crate) key: String,
    pub(crate) arrival: Millis,
}

/// The source, with shards named by the test.
pub(crate) struct Source {
    pub(crate) stream: FakeStream,
    /// The limits that the stream reports. Taken over when the engine starts.
    pub(crate) limits: ReadLimits,
    recorder: Arc<Recorder>,
}

impl Source {
    /// The number before the first record's sequence number.
    pub(crate) const FIRST: u64 = 100;

    fn new(clock: &TestClock, recorder: &Arc<Recorder>, shards: usize) -> Self {
        let settings = StreamSettings {
            shards: 0,
            first: u128::from(Self::FIRST) + 1,
            answer_bytes: usize::MAX,
            ..StreamSettings::default()
        };
        let observer = Arc::clone(recorder) as Arc<dyn Observer>;
        let stream = FakeStream::new(settings, clock, Rng::new(1), observer);
        stream.set_faults(ReadFaults {
            latency: (5, 5),
            ..ReadFaults::default()
        });
        for i in 0..shards {
            stream.open_shard(&ShardId::new(&i.to_string()), &[]);
        }

        Self {
            stream,
            limits: READ_LIMITS,
            recorder: Arc::clone(recorder),
        }
    }

    pub(crate) fn put(&self, shard: &str, key: &str, size: usize) {
        let data = |sequence: u128| {
            let mut data = format!("{shard}:{key}:{sequence}").into_bytes();
            data.resize(data.len().max(size), b'.');
            data.into()
        };
        let placed = self.stream.put_in(&ShardId::new(shard), key, data);
        assert!(placed.is_some(), "there is no open shard {shard}");
    }

    pub(crate) fn put_many(&self, shard: &str, n: usize, size: usize) {
        for i in 0..n {
            self.put(shard, &format!("{shard}k{}", i % 7), size);
        }
    }

    /// Closes `parents` and opens `children`.
    pub(crate) fn reshard(&self, parents: &[&str], children: &[&str]) {
        let parents: Vec<ShardId> = parents.iter().map(|p| ShardId::new(p)).collect();
        for child in children {
            self.stream.open_shard(&ShardId::new(child), &parents);
        }
    }

    pub(crate) fn trim(&self, shard: &str, sequence: u64) {
        let sequence = u128::from(sequence);
        self.stream.trim(&ShardId::new(shard), sequence);
    }

    /// Retention removes the shard.
    pub(crate) fn remove(&self, shard: &str) {
        self.stream.set_removed(&ShardId::new(shard), true);
    }

    /// A shard map that is out of date names the shard once more.
    pub(crate) fn list_again(&self, shard: &str) {
        self.stream.set_removed(&ShardId::new(shard), false);
    }

    pub(crate) fn records(&self) -> Vec<Rec> {
        let shards = self.stream.records();
        shards.values().flatten().map(record).collect()
    }

    pub(crate) fn shards_of_records(&self) -> Vec<(ShardId, u64)> {
        let mut all = Vec::new();
        for (shard, records) in self.stream.records() {
            all.extend(
                records
                    .into_iter()
                    .map(|r| (shard.clone(), record(&r).sequence)),
            );
        }
        all
    }

    /// Every parent and child.
    pub(crate) fn lineage(&self) -> Vec<(ShardId, ShardId)> {
        let mut pairs = Vec::new();
        for (child, parents) in self.stream.lineage() {
            pairs.extend(parents.into_iter().map(|parent| (parent, child.clone())));
        }
        pairs
    }

    pub(crate) fn last_sequence(&self) -> u64 {
        let sequences = self.records().into_iter().map(|r| r.sequence);
        sequences.max().unwrap_or(Self::FIRST)
    }

    /// Every read that the stream answered.
    pub(crate) fn calls(&self) -> Vec<ReadCall> {
        lock(&self.recorder.reads).clone()
    }

    pub(crate) fn reads(&self) -> usize {
        lock(&self.recorder.reads).len()
    }
}

fn record(stored: &Stored) -> Rec {
    Rec {
        sequence: u64::try_from(stored.sequence).unwrap(),
        key: stored.key.as_deref().unwrap_or_default().to_owned(),
        arrival: stored.arrival,
    }
}

/// The behaviour of an output towards the next requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    Well,
    /// Writes nothing and never answers.
    Hang,
    /// Rejects whole requests.
    Trouble(TroubleKind),
    /// Writes, and loses the answer.
    LoseAnswers,
    /// One record in so many fails.
    OneIn(u32),
    /// All records but one in so many fail.
    AllBut(u32),
    /// Takes this much time for a request.
    Slow(Duration),
    /// Will never take the record with this sequence number.
    Refuse(u64),
    Panic,
}

/// An output, and the service that it writes to. A clone writes to the same service.
#[derive(Clone)]
pub(crate) struct Output {
    pub(crate) service: FakeService,
    pub(crate) key: EncodingKey,
    pub(crate) limits: RequestLimits,
    latency: Arc<Mutex<Duration>>,
    refused: Arc<Mutex<Option<u64>>>,
}

impl Output {
    fn new(clock: &TestClock, recorder: &Arc<Recorder>, i: usize) -> Self {
        let settings = ServiceSettings {
            name: format!("service-{i}"),
            shards: 1,
            rate: None,
        };
        let observer = Arc::clone(recorder) as Arc<dyn Observer>;
        let output = Self {
            service: FakeService::new(settings, clock, Rng::new(7), observer),
            key: EncodingKey::new("fake", "all"),
            limits: RequestLimits {
                entries: 500,
                bytes: 5 << 20,
            },
            latency: Arc::new(Mutex::new(Duration::from_millis(10))),
            refused: Arc::default(),
        };
        output.mood(Mood::Well);
        output
    }

    pub(crate) fn mood(&self, mood: Mood) {
        if let Some(before) = lock(&self.refused).take() {
            self.service.refuse(u128::from(before), false);
        }

        let way = u64::try_from(lock(&self.latency).as_millis()).unwrap() / 2;
        let mut faults = OutputFaults {
            latency: (way, way),
            ..OutputFaults::default()
        };
        let mut service_mood = testing::Mood::Well;
        match mood {
            Mood::Well => {}
            Mood::Hang => service_mood = testing::Mood::Held,
            Mood::Trouble(kind) => service_mood = testing::Mood::Rejects(kind),
            Mood::LoseAnswers => faults.answer_lost = 1000,
            Mood::OneIn(n) => faults.entries = 1000 / n,
            Mood::AllBut(n) => faults.entries = 1000 - 1000 / n,
            Mood::Slow(time) => service_mood = testing::Mood::Crawls(time),
            Mood::Refuse(sequence) => {
                self.service.refuse(u128::from(sequence), true);
                *lock(&self.refused) = Some(sequence);
            }
            Mood::Panic => service_mood = testing::Mood::Panics,
        }
        self.service.set_mood(service_mood);
        self.service.set_faults(faults);
    }

    /// Time of a request, from now on and while all is well.
    pub(crate) fn latency(&self, latency: Duration) {
        *lock(&self.latency) = latency;
        self.mood(Mood::Well);
    }

    /// Key and sequence number of each record, in the order of writing. Requests that the engine gave
    /// up are left out: no order is promised for them.
    pub(crate) fn written(&self) -> Vec<(String, u64)> {
        let log = self.service.log().into_iter().filter(|w| !w.late);
        log.map(|written| {
            let key = written.entry.key.as_deref().unwrap_or_default().to_owned();
            (key, u64::try_from(written.entry.sequence).unwrap())
        })
        .collect()
    }

    /// The moment at which each record was first written.
    pub(crate) fn times(&self) -> BTreeMap<u64, Duration> {
        let mut times = BTreeMap::new();
        for written in self.service.log() {
            let sequence = u64::try_from(written.entry.sequence).unwrap();
            times.entry(sequence).or_insert(written.at.0);
        }
        times
    }

    pub(crate) fn count(&self) -> usize {
        self.service.count()
    }
}

/// The store.
pub(crate) struct Store(pub(crate) testing::FakeStore);

impl Store {
    pub(crate) fn position(&self, shard: &str, output: &str) -> Option<Position> {
        let lane = LaneId {
            shard: ShardId::new(shard),
            output: OutputId::new(output),
        };
        self.0.rows().remove(&lane)
    }

    pub(crate) fn fail(&self, failing: bool) {
        self.0.set_faults(StoreFaults {
            fail: if failing { 1000 } else { 0 },
            ..StoreFaults::default()
        });
    }
}

/// A fan-out over fakes.
pub(crate) struct Bench {
    pub(crate) clock: Clock,
    pub(crate) source: Source,
    pub(crate) outputs: Vec<Output>,
    pub(crate) store: Store,
    pub(crate) settings: Settings,
    /// `None`: the engine owns every shard.
    pub(crate) ownership: Option<Arc<dyn Ownership>>,
    pub(crate) start: Start,
    pub(crate) order: Order,
    pub(crate) test_clock: TestClock,
    /// The pumps of outputs, by number.
    pub(crate) pumps: BTreeMap<usize, PumpRef>,
    /// The limits of outputs that gather, by number.
    pub(crate) gathers: BTreeMap<usize, Gathers>,
    /// The names of outputs that are recognised by their places, by number.
    pub(crate) names: BTreeMap<usize, String>,
    recorder: Arc<Recorder>,
}

impl Bench {
    /// Gives output `i` a name, and a place that it is recognised by.
    pub(crate) fn name(&mut self, i: usize, name: &str) {
        self.names.insert(i, name.to_owned());
        lock(&self.recorder.checkpoints).clear();
    }

    /// The service of output `i` is deleted and created again: its checkpoints may go back once.
    pub(crate) fn recreate(&self, i: usize, created: Millis) {
        self.outputs[i].service.recreate(created);
        let id = OutputId::new(&format!("o{i}"));
        lock(&self.recorder.checkpoints).retain(|lane, _| lane.output != id);
    }

    /// An output that the fan-out does not have yet.
    pub(crate) fn new_output(&self) -> Output {
        Output::new(&self.test_clock, &self.recorder, self.outputs.len())
    }

    pub(crate) fn new(shards: usize, outputs: usize) -> Self {
        let clock = TestClock::new(1);
        let recorder = Arc::new(Recorder {
            clock: clock.clock(),
            reads: Mutex::default(),
            checkpoints: Mutex::default(),
        });
        let observer = Arc::clone(&recorder) as Arc<dyn Observer>;
        Self {
            source: Source::new(&clock, &recorder, shards),
            outputs: (0..outputs)
                .map(|i| Output::new(&clock, &recorder, i))
                .collect(),
            store: Store(testing::FakeStore::new(&clock, Rng::new(3), observer)),
            settings: Settings::default(),
            ownership: None,
            start: Start::TrimHorizon,
            order: Order::Resend,
            pumps: BTreeMap::new(),
            gathers: BTreeMap::new(),
            names: BTreeMap::new(),
            clock: clock.clock(),
            test_clock: clock,
            recorder,
        }
    }

    pub(crate) fn spec(&self, i: usize) -> OutputSpec {
        let Output {
            service,
            key,
            limits,
            ..
        } = &self.outputs[i];
        let output = service.output(key.form(), *limits);
        OutputSpec {
            id: OutputId::new(self.names.get(&i).unwrap_or(&format!("o{i}"))),
            output: Arc::new(output.with_gathers(self.gathers.get(&i).copied())),
            place: self.names.contains_key(&i).then(|| format!("place {i}")),
            order: self.order,
            start: self.start,
            paused: false,
            dead_letter: None,
            pump: self.pumps.get(&i).cloned(),
        }
    }

    pub(crate) async fn try_run(&self) -> Result<Engine, EngineError> {
        let Source { stream, limits, .. } = &self.source;
        stream.set_limits(*limits);
        Engine::start(FanOut {
            name: "test".to_owned(),
            source: Arc::new(stream.clone()),
            outputs: (0..self.outputs.len()).map(|i| self.spec(i)).collect(),
            store: Arc::new(self.store.0.clone()),
            ownership: self.ownership.clone(),
            budget: None,
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
