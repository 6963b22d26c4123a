//! A service that takes records, in memory, and outputs that write to it. It keeps what it made durable, in order; it
//! goes on with a request after whoever sent it is gone, as real ones do; and it misbehaves as told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::batch::{Batch, ShardId};
use crate::clock::{ClockSource, Instant};
use crate::output::{
    Chunk, EncodingKey, Gathers, Outcome, Output, Picks, Profile, Refusal, RequestLimits, Room,
    Trouble, TroubleKind, Verdict,
};

use super::stream::place_of;
use super::{Event, MillisRange, Observer, Rng, TestClock, draw, hash, lock};

/// One record in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The source's sequence number; `u128::MAX` if it is none that a fake gave.
    pub sequence: u128,
    /// The partition key.
    pub key: Option<Box<str>>,
    /// Of the data.
    pub digest: u64,
    /// Bytes of data and key.
    pub size: usize,
}

/// One record as the service keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The record.
    pub entry: Entry,
    /// The request that brought it.
    pub request: u64,
    /// The service's shard that holds it.
    pub shard: usize,
    /// True if whoever sent it had given it up before.
    pub late: bool,
    /// When.
    pub at: Instant,
}

/// How a service behaves for the time being, to all requests alike.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mood {
    /// As its faults say.
    #[default]
    Well,
    /// Answers nothing, and writes nothing.
    Held,
    /// Rejects everything, as this kind of trouble.
    Rejects(TroubleKind),
    /// Takes this long for each request.
    Crawls(Duration),
    /// Panics in each request: a bug in an output.
    Panics,
}

/// What becomes of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// All is well.
    Well,
    /// Nothing is written, and it says so.
    Rejected(TroubleKind),
    /// So many of a thousand entries are not taken.
    Partial(u32),
    /// All is written, and the answer is lost.
    AnswerLost,
    /// Some of it is written, and the answer is lost.
    Cut,
    /// Nothing is written, and nobody knows.
    RequestLost,
    /// The connection breaks at once; the records are written so much later.
    Late(Duration),
    /// No answer by the deadline; nothing is written.
    Held,
    /// No answer by the deadline; written all the same.
    Hangs,
    /// Not even an end at the deadline; written after it.
    Stuck,
    /// All is written, and the answer has too few entries.
    Garbled,
}

/// How often each fate befalls a request, out of a thousand, from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputFaults {
    /// Time until the records are written, and the same again until the answer.
    pub latency: MillisRange,
    /// [`Fate::Rejected`], as one of the kinds that pass.
    pub rejected: u32,
    /// [`Fate::Partial`].
    pub partial: u32,
    /// Of each request that is well otherwise, so many of a thousand entries fail.
    pub entries: u32,
    /// [`Fate::AnswerLost`].
    pub answer_lost: u32,
    /// [`Fate::Cut`].
    pub cut: u32,
    /// [`Fate::RequestLost`].
    pub request_lost: u32,
    /// [`Fate::Late`].
    pub late: u32,
    /// [`Fate::Hangs`].
    pub hangs: u32,
    /// [`Fate::Stuck`].
    pub stuck: u32,
    /// [`Fate::Garbled`].
    pub garbled: u32,
    /// The output says, before a request, that it has no room for some of it, or for nothing.
    pub holds: u32,
}

/// What one shard of a service takes in a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Records.
    pub records: u64,
    /// Bytes of data and keys.
    pub bytes: u64,
}

/// What a service is like.
#[derive(Clone, Debug)]
pub struct ServiceSettings {
    /// Its name, in events.
    pub name: String,
    /// Shards that it begins with.
    pub shards: usize,
    /// The limit of each of them.
    pub rate: Option<Rate>,
}

struct Bucket {
    records: f64,
    bytes: f64,
    at: Instant,
}

struct State {
    mood: Mood,
    faults: OutputFaults,
    script: VecDeque<Fate>,
    refused: BTreeSet<u128>,
    buckets: Vec<Bucket>,
    log: Vec<Written>,
    requests: u64,
    /// Requests that were accepted and wait for a flush, by the source's shard.
    held: BTreeMap<ShardId, Vec<Held>>,
    rng: Rng,
}

/// A request that was accepted; an entry that was refused is `None`.
type Held = (u64, Vec<Option<Entry>>);

struct Inner {
    settings: ServiceSettings,
    state: Mutex<State>,
    clock: TestClock,
    observer: Arc<dyn Observer>,
    live: Arc<AtomicUsize>,
    encodings: AtomicUsize,
}

/// See the module. Cheap to clone; all clones are one service.
#[derive(Clone)]
pub struct FakeService(Arc<Inner>);

impl FakeService {
    /// A service that has nothing yet.
    pub fn new(
        settings: ServiceSettings,
        clock: &TestClock,
        rng: Rng,
        observer: Arc<dyn Observer>,
    ) -> Self {
        let mut state = State {
            mood: Mood::Well,
            faults: OutputFaults::default(),
            script: VecDeque::new(),
            refused: BTreeSet::new(),
            buckets: Vec::new(),
            log: Vec::new(),
            requests: 0,
            held: BTreeMap::new(),
            rng,
        };
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

    /// An output that writes here, with one request of a lane in flight.
    pub fn output(&self, encoding: &str, limits: RequestLimits) -> FakeOutput {
        FakeOutput {
            service: self.clone(),
            encoding: EncodingKey::new("fake", encoding),
            profile: Profile::new(limits),
        }
    }

    /// How it behaves from now on.
    pub fn set_mood(&self, mood: Mood) {
        lock(&self.0.state).mood = mood;
    }

    /// How it misbehaves from now on, while it is well.
    pub fn set_faults(&self, faults: OutputFaults) {
        lock(&self.0.state).faults = faults;
    }

    /// What becomes of the next requests, one after another, whatever its faults are.
    pub fn script(&self, fates: impl IntoIterator<Item = Fate>) {
        lock(&self.0.state).script.extend(fates);
    }

    /// It will never take the record with this sequence number; `false`: it does again.
    pub fn refuse(&self, sequence: u128, refused: bool) {
        let mut state = lock(&self.0.state);
        if refused {
            state.refused.insert(sequence);
        } else {
            state.refused.remove(&sequence);
        }
    }

    /// Changes how many shards it has.
    pub fn reshard(&self, shards: usize) {
        lock(&self.0.state).reshard(shards, self.0.settings.rate, self.0.clock.now());
    }

    /// How many shards it has.
    pub fn shards(&self) -> usize {
        lock(&self.0.state).buckets.len()
    }

    /// What it holds, in order.
    pub fn log(&self) -> Vec<Written> {
        lock(&self.0.state).log.clone()
    }

    /// How many records it holds, repeats included.
    pub fn count(&self) -> usize {
        lock(&self.0.state).log.len()
    }

    /// Requests that came.
    pub fn requests(&self) -> u64 {
        lock(&self.0.state).requests
    }

    /// Chunks that its outputs encoded.
    pub fn encodings(&self) -> usize {
        self.0.encodings.load(Ordering::Relaxed)
    }

    /// Bytes of encoded chunks that somebody still holds.
    pub fn live_bytes(&self) -> usize {
        self.0.live.load(Ordering::Relaxed)
    }

    fn fault(&self, name: &'static str) {
        self.0.observer.on(&Event::Fault(name));
    }

    fn answered(&self, request: u64, outcome: &Outcome) {
        self.0.observer.on(&Event::Answered {
            service: &self.0.settings.name,
            request,
            outcome,
        });
    }

    fn abandoned(&self, request: u64) {
        self.0.observer.on(&Event::Abandoned {
            service: &self.0.settings.name,
            request,
        });
    }

    /// What is to become of a new request: its number, its fate, and how long each way takes.
    fn begin(&self) -> (u64, Fate, Duration) {
        let mut state = lock(&self.0.state);
        let State {
            mood,
            faults,
            script,
            requests,
            rng,
            ..
        } = &mut *state;
        let request = *requests;
        *requests += 1;
        let way = draw(rng, faults.latency);
        let drawn = Fate::draw(faults, rng);
        let (fate, way) = match *mood {
            #[allow(clippy::panic, reason = "the bug that this mood plays")]
            Mood::Panics => panic!("an output that panics"),
            Mood::Held => (Fate::Held, way),
            Mood::Rejects(kind) => (Fate::Rejected(kind), way),
            Mood::Crawls(time) => (script.pop_front().unwrap_or(drawn), time / 2),
            Mood::Well => (script.pop_front().unwrap_or(drawn), way),
        };
        drop(state);
        if let Some(name) = fate.name() {
            self.fault(name);
        }
        (request, fate, way)
    }

    /// Writes what of `entries` is to be written, and says what it answers.
    fn apply(&self, request: u64, entries: &[Entry], fate: Fate, late: bool) -> Outcome {
        let now = self.0.clock.now();
        let mut state = lock(&self.0.state);
        let state_ref = &mut *state;
        let cut = match fate {
            Fate::Cut => state_ref.rng.index(entries.len()),
            _ => entries.len(),
        };
        let mut places = Vec::with_capacity(entries.len());
        let mut verdicts = Vec::with_capacity(entries.len());
        let mut throttled = false;
        for (i, entry) in entries.iter().enumerate() {
            let verdict = if i >= cut {
                None
            } else {
                Some(state_ref.verdict(entry, fate, self.0.settings.rate, now))
            };
            places.push(None);
            let Some(verdict) = verdict else { continue };
            if let Verdict::Durable = verdict {
                let shard = state_ref.shard_of(entry);
                places[i] = Some(state_ref.log.len());
                state_ref.log.push(Written {
                    entry: entry.clone(),
                    request,
                    shard,
                    late,
                    at: now,
                });
            }
            throttled |= matches!(&verdict, Verdict::Retry(t) if t.kind == TroubleKind::Throttled);
            verdicts.push(verdict);
        }
        drop(state);
        if throttled && !matches!(fate, Fate::Partial(_)) {
            self.fault("entries over a shard's rate");
        }
        self.0.observer.on(&Event::Applied {
            service: &self.0.settings.name,
            request,
            places: &places,
            late,
        });
        if fate == Fate::Garbled {
            verdicts.pop();
            return Outcome::PerRecord(verdicts);
        }
        if verdicts.iter().all(|v| matches!(v, Verdict::Durable)) {
            return Outcome::Durable;
        }
        Outcome::PerRecord(verdicts)
    }

    /// Makes held records durable.
    fn store(&self, held: &[Held]) {
        let at = self.0.clock.now();
        for (request, entries) in held {
            let mut state = lock(&self.0.state);
            let mut places = Vec::with_capacity(entries.len());
            for entry in entries {
                places.push(entry.as_ref().map(|_| state.log.len()));
                let Some(entry) = entry.clone() else { continue };
                let (request, shard, late) = (*request, state.shard_of(&entry), false);
                state.log.push(Written {
                    entry,
                    request,
                    shard,
                    late,
                    at,
                });
            }
            drop(state);
            self.0.observer.on(&Event::Applied {
                service: &self.0.settings.name,
                request: *request,
                places: &places,
                late: false,
            });
        }
    }

    /// The service's side of a request. It goes on whether or not somebody waits.
    async fn serve(
        self,
        request: u64,
        entries: Arc<Vec<Entry>>,
        fate: Fate,
        way: Duration,
        call: Arc<Call>,
    ) {
        let clock = &self.0.clock;
        let unknown = || {
            Outcome::Unknown(Trouble::new(
                TroubleKind::Unavailable,
                "the connection broke",
            ))
        };
        let apply = || {
            self.apply(
                request,
                &entries,
                fate,
                call.given_up.load(Ordering::Relaxed),
            )
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
                call.answer(unknown());
            }
            Fate::RequestLost => call.answer(unknown()),
            Fate::Late(later) => {
                call.given_up.store(true, Ordering::Relaxed);
                call.answer(unknown());
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

impl Fate {
    fn draw(faults: &OutputFaults, rng: &mut Rng) -> Self {
        let kind = *rng.pick(&[
            TroubleKind::Unavailable,
            TroubleKind::Throttled,
            TroubleKind::Unintelligible,
        ]);
        let late = Duration::from_millis(rng.between(1, 20_000));
        // One in eight, one in two, all but a few.
        let share = *rng.pick(&[125, 500, 950]);
        let all = [
            (faults.rejected, Self::Rejected(kind)),
            (faults.partial, Self::Partial(share)),
            (faults.answer_lost, Self::AnswerLost),
            (faults.cut, Self::Cut),
            (faults.request_lost, Self::RequestLost),
            (faults.late, Self::Late(late)),
            (faults.hangs, Self::Hangs),
            (faults.stuck, Self::Stuck),
            (faults.garbled, Self::Garbled),
        ];
        all.into_iter()
            .find(|(n, _)| rng.per_mille(*n))
            .map_or(Self::of_entries(faults.entries), |(_, fate)| fate)
    }

    fn of_entries(share: u32) -> Self {
        if share == 0 {
            Self::Well
        } else {
            Self::Partial(share)
        }
    }

    /// Its name among the faults; none if it is none.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Well => None,
            Self::Rejected(_) => Some("a request was rejected"),
            Self::Partial(_) => Some("a request failed in part"),
            Self::AnswerLost => Some("written, and the answer lost"),
            Self::Cut => Some("written in part, and the answer lost"),
            Self::RequestLost => Some("a request was lost"),
            Self::Late(_) => Some("an abandoned request that is written late"),
            Self::Held => Some("a request was held"),
            Self::Hangs => Some("written, and no answer by the deadline"),
            Self::Stuck => Some("a request that outlives its deadline"),
            Self::Garbled => Some("an answer of the wrong length"),
        }
    }
}

impl State {
    fn reshard(&mut self, shards: usize, rate: Option<Rate>, now: Instant) {
        let full = |_| Bucket {
            records: rate.map_or(0.0, |r| r.records as f64),
            bytes: rate.map_or(0.0, |r| r.bytes as f64),
            at: now,
        };
        self.buckets = (0..shards.max(1)).map(full).collect();
    }

    fn shard_of(&self, entry: &Entry) -> usize {
        let width = u128::MAX / self.buckets.len() as u128;
        let place = place_of(entry.key.as_deref().unwrap_or_default()) / width;
        usize::try_from(place)
            .unwrap_or(0)
            .min(self.buckets.len() - 1)
    }

    fn verdict(&mut self, entry: &Entry, fate: Fate, rate: Option<Rate>, now: Instant) -> Verdict {
        if self.refused.contains(&entry.sequence) {
            return Verdict::Refused(Refusal::new("Unwelcome", "the fake refuses this record"));
        }
        if let Fate::Partial(share) = fate
            && self.rng.per_mille(share)
        {
            let kind = *self
                .rng
                .pick(&[TroubleKind::Throttled, TroubleKind::Unavailable]);
            return Verdict::Retry(Trouble::new(kind, "this entry failed"));
        }
        let shard = self.shard_of(entry);
        if rate.is_some_and(|rate| !self.buckets[shard].take(entry, rate, now)) {
            return Verdict::Retry(Trouble::new(
                TroubleKind::Throttled,
                "over the shard's rate",
            ));
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

/// A request, between the two sides.
struct Call {
    given_up: AtomicBool,
    answer: Mutex<Option<oneshot::Sender<Outcome>>>,
    gone: tokio::sync::Notify,
}

impl Call {
    fn answer(&self, outcome: Outcome) {
        if let Some(sender) = lock(&self.answer).take() {
            // Nobody may wait any more.
            let _ = sender.send(outcome);
        }
    }

    /// Until whoever sent it has given up.
    async fn gone(&self) {
        let notified = self.gone.notified();
        if !self.given_up.load(Ordering::Relaxed) {
            notified.await;
        }
    }
}

/// The sender's side of a request.
struct Sent<'a> {
    service: &'a FakeService,
    request: u64,
    call: Arc<Call>,
    over: bool,
}

impl Sent<'_> {
    fn give_up(&self) {
        self.call.given_up.store(true, Ordering::Relaxed);
        self.call.gone.notify_one();
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if !self.over {
            self.give_up();
            self.service.abandoned(self.request);
        }
    }
}

/// The requests of a flush without an answer yet. A flush that is dropped abandons them.
struct Flushing<'a> {
    service: &'a FakeService,
    held: Vec<Held>,
}

impl Flushing<'_> {
    fn answer(&mut self, outcome: &Outcome) {
        // A refused record is no part of the flush, and was answered before.
        let verdict = |entry: &Option<Entry>| match entry {
            Some(_) => Verdict::Durable,
            None => Verdict::Refused(Refusal::new("Unwelcome", "the fake refuses this record")),
        };
        for (request, entries) in std::mem::take(&mut self.held) {
            let outcome = match outcome {
                Outcome::Durable => Outcome::PerRecord(entries.iter().map(verdict).collect()),
                failed => failed.clone(),
            };
            self.service.answered(request, &outcome);
        }
    }
}

impl Drop for Flushing<'_> {
    fn drop(&mut self) {
        for (request, _) in &self.held {
            self.service.abandoned(*request);
        }
    }
}

/// An output that writes to a [`FakeService`].
#[derive(Clone)]
pub struct FakeOutput {
    service: FakeService,
    encoding: EncodingKey,
    profile: Profile,
}

impl FakeOutput {
    /// The same output with `in_flight` requests of a lane in flight together.
    #[must_use]
    pub fn with_in_flight(mut self, in_flight: NonZeroUsize) -> Self {
        self.profile.in_flight = in_flight;
        self
    }

    /// The same output, gathering: a write is accepted, and a flush makes records durable.
    #[must_use]
    pub fn with_gathers(mut self, gathers: Option<Gathers>) -> Self {
        self.profile.gathers = gathers;
        self
    }

    /// Holds the entries of a request until a flush, all but the refused ones.
    async fn hold(&self, shard: &ShardId, request: u64, entries: &[Entry]) -> Outcome {
        let inner = &self.service.0;
        let way = draw(&mut lock(&inner.state).rng, (0, 5));
        inner.clock.sleep(way).await;

        let mut state = lock(&inner.state);
        let refused = |entry: &&Entry| state.refused.contains(&entry.sequence);
        let verdict = |entry: &Entry| match refused(&entry) {
            true => Verdict::Refused(Refusal::new("Unwelcome", "the fake refuses this record")),
            false => Verdict::Accepted,
        };
        let verdicts: Vec<Verdict> = entries.iter().map(verdict).collect();
        let any_refused = entries.iter().any(|entry| refused(&entry));
        let entries = entries.iter().map(|e| (!refused(&e)).then(|| e.clone()));
        let held = (request, entries.collect());
        state.held.entry(shard.clone()).or_default().push(held);
        match any_refused {
            true => Outcome::PerRecord(verdicts),
            false => Outcome::Accepted,
        }
    }

    /// The outcome of a flush of `held`.
    async fn flush_held(&self, held: &[Held], deadline: Duration) -> Outcome {
        let inner = &self.service.0;
        let (_, fate, way) = self.service.begin();
        let unknown = || {
            Outcome::Unknown(Trouble::new(
                TroubleKind::Unavailable,
                "the flush has no answer",
            ))
        };
        inner.clock.sleep(way).await;
        match fate {
            Fate::Rejected(kind) => Outcome::Rejected(Trouble::new(kind, "the flush was rejected")),
            Fate::RequestLost => unknown(),
            Fate::Held => {
                inner.clock.sleep(deadline).await;
                unknown()
            }
            Fate::AnswerLost | Fate::Cut | Fate::Late(_) => {
                self.service.store(held);
                unknown()
            }
            Fate::Hangs | Fate::Stuck => {
                self.service.store(held);
                inner.clock.sleep(deadline).await;
                unknown()
            }
            Fate::Well | Fate::Partial(_) | Fate::Garbled => {
                self.service.store(held);
                Outcome::Durable
            }
        }
    }
}

#[derive(Debug)]
struct Body {
    entries: Arc<Vec<Entry>>,
    allocation: usize,
    live: Arc<AtomicUsize>,
}

impl Drop for Body {
    fn drop(&mut self) {
        self.live.fetch_sub(self.allocation, Ordering::Relaxed);
    }
}

#[async_trait]
impl Output for FakeOutput {
    fn encoding(&self) -> EncodingKey {
        self.encoding.clone()
    }

    fn profile(&self) -> Profile {
        self.profile
    }

    fn encoded_bound(&self, records: usize, bytes: usize) -> usize {
        records * 16 + bytes
    }

    fn encode(&self, batch: &Batch, picks: Picks) -> Chunk {
        let inner = &self.service.0;
        inner.encodings.fetch_add(1, Ordering::Relaxed);
        let entry = |i: usize| {
            let record = batch.record(i);
            Entry {
                sequence: record.sequence.parse().unwrap_or(u128::MAX),
                key: record.key.map(Box::from),
                digest: hash(record.data),
                size: record.size(),
            }
        };
        let entries: Vec<Entry> = picks.iter().map(entry).collect();
        let allocation = entries.iter().map(|e| e.size + 16).sum();
        inner.live.fetch_add(allocation, Ordering::Relaxed);
        let body = Body {
            entries: Arc::new(entries),
            allocation,
            live: Arc::clone(&inner.live),
        };
        Chunk {
            picks,
            payload: Box::new(body),
            allocation,
        }
    }

    fn room(&self, _: &Batch, picks: &Picks) -> Room {
        let mut state = lock(&self.service.0.state);
        let State { faults, rng, .. } = &mut *state;
        if !rng.per_mille(faults.holds) {
            return Room::All;
        }
        // Any of them, whatever stands behind them: what follows from that is the engine's to know.
        let share = *rng.pick(&[100, 500, 1000]);
        let held: Vec<usize> = picks.iter().filter(|_| rng.per_mille(share)).collect();
        let wait = Duration::from_millis(rng.below(400));
        drop(state);
        self.service.fault("records had no room");
        Room::Less { held, wait }
    }

    async fn flush(&self, shard: &ShardId, deadline: Duration) -> Outcome {
        let state = &self.service.0.state;
        let held = lock(state).held.remove(shard).unwrap_or_default();
        let mut flushing = Flushing {
            service: &self.service,
            held,
        };

        let outcome = self.flush_held(&flushing.held, deadline).await;
        flushing.answer(&outcome);
        outcome
    }

    async fn write(&self, batch: &Batch, chunk: &Chunk, deadline: Duration) -> Outcome {
        let inner = &self.service.0;
        let Some(body) = (*chunk.payload).as_any().downcast_ref::<Body>() else {
            return Outcome::Rejected(Trouble::new(
                TroubleKind::Invalid,
                "this chunk is another output's",
            ));
        };
        let (request, fate, way) = self.service.begin();
        let name = inner.settings.name.as_str();
        let entries = Arc::clone(&body.entries);
        inner.observer.on(&Event::Arrived {
            service: name,
            request,
            entries: &entries,
            limits: self.profile.request,
            in_flight: self.profile.in_flight,
        });
        let (sender, answer) = oneshot::channel();
        let call = Arc::new(Call {
            given_up: AtomicBool::new(false),
            answer: Mutex::new(Some(sender)),
            gone: tokio::sync::Notify::new(),
        });
        let mut sent = Sent {
            service: &self.service,
            request,
            call: Arc::clone(&call),
            over: false,
        };
        if self.profile.gathers.is_some() && fate == Fate::Well {
            let outcome = self.hold(&batch.origin().shard, request, &entries).await;
            sent.over = true;
            self.service.answered(request, &outcome);
            return outcome;
        }
        // A gathering output holds all or nothing.
        let fate = match self.profile.gathers {
            Some(_) => Fate::Rejected(TroubleKind::Unavailable),
            None => fate,
        };
        tokio::spawn(
            self.service
                .clone()
                .serve(request, entries, fate, way, call),
        );
        let broken =
            || Outcome::Unknown(Trouble::new(TroubleKind::Unavailable, "the service ended"));
        let outcome = if fate == Fate::Stuck {
            answer.await.unwrap_or_else(|_| broken())
        } else {
            tokio::select! {
                // An answer that is there is never thrown away.
                biased;
                answered = answer => answered.unwrap_or_else(|_| broken()),
                () = inner.clock.sleep(deadline) => {
                    sent.give_up();
                    Outcome::Unknown(Trouble::new(TroubleKind::Unavailable, "no answer by the deadline"))
                }
            }
        };
        sent.over = true;
        self.service.answered(request, &outcome);
        outcome
    }
}
