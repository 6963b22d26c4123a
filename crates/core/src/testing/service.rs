//! A service that stores records, in memory and in order. As real services do, it finishes a
//! request whose sender is gone; its faults are in [`super::fate`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::batch::ShardId;
use crate::clock::{ClockSource, Instant, Millis};
use crate::output::{Outcome, Refusal, RequestLimits, Trouble, TroubleKind, Verdict};
use crate::source::StreamIdentity;

use super::output::FakeOutput;
use super::stream::place_of;
use super::{Event, Fate, Mood, Observer, OutputFaults, Rng, TestClock, draw, lock};

/// One record in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The source's sequence number; `u128::MAX` if no fake gave it.
    pub sequence: u128,
    /// The partition key.
    pub key: Option<Box<str>>,
    /// A hash of the data.
    pub digest: u64,
    /// Bytes of data and key.
    pub size: usize,
}

/// One record as the service keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The record.
    pub entry: Entry,
    /// The number of the request that brought the record.
    pub request: u64,
    /// The service's shard that holds the record.
    pub shard: usize,
    /// True if the sender had abandoned the request before.
    pub late: bool,
    /// Time of the write.
    pub at: Instant,
}

/// The most that one shard of a service takes in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Records.
    pub records: u64,
    /// Bytes of data and keys.
    pub bytes: u64,
}

/// The properties of a service.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// The name, in events.
    pub name: String,
    /// The number of shards at the start.
    pub shards: usize,
    /// The limit of each shard.
    pub rate: Option<Rate>,
}

/// The rest of a shard's rate, refilled as time passes.
struct Bucket {
    records: f64,
    bytes: f64,
    at: Instant,
}

pub(super) struct State {
    mood: Mood,
    pub(super) faults: OutputFaults,
    script: VecDeque<Fate>,
    refused: BTreeSet<u128>,
    buckets: Vec<Bucket>,
    log: Vec<Written>,
    pub(super) identity: Option<StreamIdentity>,
    requests: u64,
    /// Requests that were accepted and wait for a flush, by the source's shard.
    pub(super) held: BTreeMap<ShardId, Vec<Held>>,
    pub(super) rng: Rng,
}

/// A request that was accepted. An entry that was refused is `None`.
pub(super) type Held = (u64, Vec<Option<Entry>>);

pub(super) struct Inner {
    settings: ServiceSettings,
    pub(super) state: Mutex<State>,
    pub(super) clock: TestClock,
    pub(super) observer: Arc<dyn Observer>,
    pub(super) live: Arc<AtomicUsize>,
    pub(super) encodings: AtomicUsize,
}

/// A service that stores records. Cheap to clone; all clones are one service.
#[derive(Clone)]
pub struct FakeService(pub(super) Arc<Inner>);

impl FakeService {
    /// A service without records.
    pub fn new(
        settings: ServiceSettings,
        clock: &TestClock,
        rng: Rng,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let mut state = State::new(rng);
        state.reshard(settings.shards, settings.rate, clock.now());
        let inner = Inner {
            settings,
            state: Mutex::new(state),
            clock: clock.clone(),
            observer,
            live: Arc::default(),
            encodings: AtomicUsize::new(0),
        };
        Self(Arc::new(inner))
    }

    /// An output that writes to this service, with one request of a lane in flight.
    pub fn output(&self, encoding: &str, limits: RequestLimits) -> FakeOutput {
        FakeOutput::new(self, encoding, limits)
    }

    /// Sets the behaviour towards all requests from now on.
    pub fn set_mood(&self, mood: Mood) {
        lock(&self.0.state).mood = mood;
    }

    /// The service is deleted and created again at `created`: an empty one of the same name.
    pub fn recreate(&self, created: Millis) {
        let mut state = lock(&self.0.state);
        state.log.clear();
        state.identity = Some(StreamIdentity {
            arn: self.0.settings.name.clone(),
            created: Some(created),
        });
    }

    /// Sets the faults from now on, which apply while the mood is [`Mood::Well`].
    pub fn set_faults(&self, faults: OutputFaults) {
        lock(&self.0.state).faults = faults;
    }

    /// Sets the fates of the next requests, in order, whatever the faults are.
    pub fn script(&self, fates: impl IntoIterator<Item = Fate>) {
        lock(&self.0.state).script.extend(fates);
    }

    /// Sets whether the service refuses the record with this sequence number for good.
    pub fn refuse(&self, sequence: u128, refused: bool) {
        let mut state = lock(&self.0.state);
        if refused {
            state.refused.insert(sequence);
        } else {
            state.refused.remove(&sequence);
        }
    }

    /// Changes the number of shards.
    pub fn reshard(&self, shards: usize) {
        let now = self.0.clock.now();
        lock(&self.0.state).reshard(shards, self.0.settings.rate, now);
    }

    /// The number of shards.
    pub fn shards(&self) -> usize {
        lock(&self.0.state).buckets.len()
    }

    /// The records in the service, in order.
    pub fn log(&self) -> Vec<Written> {
        lock(&self.0.state).log.clone()
    }

    /// The number of records in the service, repeats included.
    pub fn count(&self) -> usize {
        lock(&self.0.state).log.len()
    }

    /// The number of requests that arrived.
    pub fn requests(&self) -> u64 {
        lock(&self.0.state).requests
    }

    /// The number of chunks that the service's outputs encoded.
    pub fn encodings(&self) -> usize {
        self.0.encodings.load(Ordering::Relaxed)
    }

    /// Bytes of encoded chunks that are still held in memory.
    pub fn live_bytes(&self) -> usize {
        self.0.live.load(Ordering::Relaxed)
    }

    /// The name, in events.
    pub(super) fn name(&self) -> &str {
        &self.0.settings.name
    }

    /// Reports a fault that was played.
    pub(super) fn fault(&self, name: &'static str) {
        self.0.observer.on(&Event::Fault(name));
    }

    /// Reports an answer that reached the sender of the request.
    pub(super) fn answered(&self, request: u64, outcome: &Outcome) {
        self.0.observer.on(&Event::Answered {
            service: self.name(),
            request,
            outcome,
        });
    }

    /// Reports a request that the sender abandoned.
    pub(super) fn abandoned(&self, request: u64) {
        self.0.observer.on(&Event::Abandoned {
            service: self.name(),
            request,
        });
    }

    /// A new request: the number, the fate, and the time that each way takes.
    pub(super) fn begin(&self) -> (u64, Fate, Duration) {
        let mut state = lock(&self.0.state);
        let request = state.requests;
        state.requests += 1;

        let (fate, way) = state.next_fate();
        drop(state);
        if let Some(name) = fate.name() {
            self.fault(name);
        }
        (request, fate, way)
    }

    /// Writes the entries that `fate` lets through, and returns the service's answer.
    fn apply(&self, request: u64, entries: &[Entry], fate: Fate, late: bool) -> Outcome {
        let now = self.0.clock.now();
        let rate = self.0.settings.rate;
        let mut state = lock(&self.0.state);
        let count = state.entries_reached(entries.len(), fate);

        let mut verdicts = Vec::with_capacity(count);
        let mut places = vec![None; entries.len()];
        for (entry, place) in entries[..count].iter().zip(&mut places) {
            let verdict = state.verdict(entry, fate, rate, now);
            if let Verdict::Durable = verdict {
                *place = Some(state.push(entry, request, late, now));
            }
            verdicts.push(verdict);
        }
        drop(state);

        let is_throttled = verdicts.iter().any(is_throttle);
        if is_throttled && !matches!(fate, Fate::Partial(_)) {
            self.fault("entries over a shard's rate");
        }
        self.applied(request, &places, late);
        outcome_of(verdicts, fate)
    }

    /// Makes held records durable.
    pub(super) fn store(&self, held: &[Held]) {
        let at = self.0.clock.now();
        for (request, entries) in held {
            let mut state = lock(&self.0.state);
            let mut push = |entry: &Entry| state.push(entry, *request, false, at);
            let entries = entries.iter().map(Option::as_ref);
            let places: Vec<_> = entries.map(|entry| entry.map(&mut push)).collect();
            drop(state);

            self.applied(*request, &places, false);
        }
    }

    /// Reports the entries that a request wrote.
    fn applied(&self, request: u64, places: &[Option<usize>], late: bool) {
        self.0.observer.on(&Event::Applied {
            service: self.name(),
            request,
            places,
            late,
        });
    }

    /// Runs the service's side of a request, whether or not the sender still waits.
    pub(super) async fn serve(
        self,
        request: u64,
        entries: Arc<Vec<Entry>>,
        (fate, way): (Fate, Duration),
        call: Arc<Call>,
    ) {
        let clock = &self.0.clock;
        let broken = || unknown("the connection broke");
        let apply = || {
            let late = call.given_up.load(Ordering::Relaxed);
            self.apply(request, &entries, fate, late)
        };

        clock.sleep(way).await;
        match fate {
            Fate::Well | Fate::Partial(_) | Fate::Garbled => {
                let outcome = apply();
                clock.sleep(way).await;
                call.answer(outcome);
            }
            Fate::Rejected(kind) => {
                let text = format!("the whole request was rejected ({kind:?})");
                call.answer(Outcome::Rejected(Trouble::new(kind, text)));
            }
            Fate::AnswerLost | Fate::Cut => {
                apply();
                clock.sleep(way).await;
                call.answer(broken());
            }
            Fate::RequestLost => call.answer(broken()),
            Fate::Late(later) => {
                call.given_up.store(true, Ordering::Relaxed);
                call.answer(broken());
                clock.sleep(later).await;
                apply();
            }
            Fate::Held => call.gone().await,
            Fate::Hangs => {
                apply();
                call.gone().await;
            }
            Fate::Stuck => {
                call.gone().await;
                apply();
            }
        }
    }
}

/// The outcome of a request that got no proper answer.
pub(super) fn unknown(message: &str) -> Outcome {
    Outcome::Unknown(Trouble::new(TroubleKind::Unavailable, message))
}

/// The verdict on a record that the service refuses for good.
pub(super) fn unwelcome() -> Verdict {
    let message = "the fake refuses this record";
    Verdict::Refused(Refusal::new("Unwelcome", message))
}

fn is_throttle(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Retry(trouble) if trouble.kind == TroubleKind::Throttled)
}

/// The answer with these verdicts.
fn outcome_of(mut verdicts: Vec<Verdict>, fate: Fate) -> Outcome {
    if fate == Fate::Garbled {
        verdicts.pop();
        return Outcome::PerRecord(verdicts);
    }

    if verdicts.iter().all(|v| matches!(v, Verdict::Durable)) {
        Outcome::Durable
    } else {
        Outcome::PerRecord(verdicts)
    }
}

impl State {
    fn new(rng: Rng) -> Self {
        Self {
            mood: Mood::Well,
            faults: OutputFaults::default(),
            script: VecDeque::new(),
            refused: BTreeSet::new(),
            buckets: Vec::new(),
            log: Vec::new(),
            identity: None,
            requests: 0,
            held: BTreeMap::new(),
            rng,
        }
    }

    fn reshard(&mut self, shards: usize, rate: Option<Rate>, now: Instant) {
        let full = |_| Bucket {
            records: rate.map_or(0.0, |r| r.records as f64),
            bytes: rate.map_or(0.0, |r| r.bytes as f64),
            at: now,
        };
        self.buckets = (0..shards.max(1)).map(full).collect();
    }

    /// The fate of a new request, and the time that each way takes.
    fn next_fate(&mut self) -> (Fate, Duration) {
        let way = draw(&mut self.rng, self.faults.latency);
        let drawn = Fate::draw(&self.faults, &mut self.rng);

        match self.mood {
            #[allow(clippy::panic, reason = "the bug that this mood plays")]
            Mood::Panics => panic!("an output that panics"),
            Mood::Held => (Fate::Held, way),
            Mood::Rejects(kind) => (Fate::Rejected(kind), way),
            Mood::Crawls(time) => (self.script.pop_front().unwrap_or(drawn), time / 2),
            Mood::Well => (self.script.pop_front().unwrap_or(drawn), way),
        }
    }

    /// The number of entries, of `count`, that the service looks at.
    fn entries_reached(&mut self, count: usize, fate: Fate) -> usize {
        match fate {
            Fate::Cut => self.rng.index(count),
            _ => count,
        }
    }

    pub(super) fn refuses(&self, entry: &Entry) -> bool {
        self.refused.contains(&entry.sequence)
    }

    /// Stores a record; returns the place.
    fn push(&mut self, entry: &Entry, request: u64, late: bool, at: Instant) -> usize {
        let shard = self.shard_of(entry);
        self.log.push(Written {
            entry: entry.clone(),
            request,
            shard,
            late,
            at,
        });
        self.log.len() - 1
    }

    fn shard_of(&self, entry: &Entry) -> usize {
        let width = u128::MAX / self.buckets.len() as u128;
        let place = place_of(entry.key.as_deref().unwrap_or_default()) / width;
        let shard = usize::try_from(place).unwrap_or(0);
        shard.min(self.buckets.len() - 1)
    }

    fn verdict(&mut self, entry: &Entry, fate: Fate, rate: Option<Rate>, now: Instant) -> Verdict {
        if self.refuses(entry) {
            return unwelcome();
        }

        if let Fate::Partial(share) = fate
            && self.rng.per_mille(share)
        {
            let kinds = [TroubleKind::Throttled, TroubleKind::Unavailable];
            let kind = *self.rng.pick(&kinds);
            return Verdict::Retry(Trouble::new(kind, "this entry failed"));
        }

        let shard = self.shard_of(entry);
        if rate.is_some_and(|rate| !self.buckets[shard].take(entry, rate, now)) {
            let message = "over the shard's rate";
            return Verdict::Retry(Trouble::new(TroubleKind::Throttled, message));
        }
        Verdict::Durable
    }
}

impl Bucket {
    /// True if the shard takes one more record now.
    fn take(&mut self, entry: &Entry, rate: Rate, now: Instant) -> bool {
        let seconds = now.since(self.at).as_secs_f64();
        self.at = now;
        let (records, bytes) = (rate.records as f64, rate.bytes as f64);
        self.records = (self.records + seconds * records).min(records);
        self.bytes = (self.bytes + seconds * bytes).min(bytes);

        // One record always fits in a full bucket.
        let size = (entry.size as f64).min(bytes);
        if self.records < 1.0 || self.bytes < size {
            return false;
        }
        self.records -= 1.0;
        self.bytes -= size;
        true
    }
}

/// A request, between sender and service.
pub(super) struct Call {
    given_up: AtomicBool,
    answer: Mutex<Option<oneshot::Sender<Outcome>>>,
    gone: tokio::sync::Notify,
}

impl Call {
    /// A request, and the end where the answer arrives.
    pub(super) fn new() -> (Arc<Self>, oneshot::Receiver<Outcome>) {
        let (sender, answer) = oneshot::channel();
        let call = Self {
            given_up: AtomicBool::new(false),
            answer: Mutex::new(Some(sender)),
            gone: tokio::sync::Notify::new(),
        };
        (Arc::new(call), answer)
    }

    fn answer(&self, outcome: Outcome) {
        if let Some(sender) = lock(&self.answer).take() {
            // The sender of the request can be gone.
            let _ = sender.send(outcome);
        }
    }

    /// The sender of the request gives up.
    pub(super) fn give_up(&self) {
        self.given_up.store(true, Ordering::Relaxed);
        self.gone.notify_one();
    }

    /// Waits until the sender of the request has given up.
    async fn gone(&self) {
        let notified = self.gone.notified();
        if !self.given_up.load(Ordering::Relaxed) {
            notified.await;
        }
    }
}
