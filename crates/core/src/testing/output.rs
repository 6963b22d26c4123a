//! An output that writes to a [`FakeService`]: the sender's side of each request.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;

use crate::batch::{Batch, ShardId};
use crate::clock::ClockSource;
use crate::output::{
    Chunk, EncodingKey, Gathers, Outcome, Output, Picks, Profile, RequestLimits, Room, Trouble,
    TroubleKind, Verdict,
};
use crate::source::StreamIdentity;

use super::service::{Call, Held, State, unknown, unwelcome};
use super::{Entry, Event, FakeService, Fate, draw, hash, lock};

/// Bytes that each record of an encoded chunk takes besides data and key.
const INDEX_BYTES: usize = 16;

/// An output that writes to a [`FakeService`].
#[derive(Clone)]
pub struct FakeOutput {
    service: FakeService,
    encoding: EncodingKey,
    profile: Profile,
}

impl FakeOutput {
    pub(super) fn new(service: &FakeService, encoding: &str, limits: RequestLimits) -> Self {
        Self {
            service: service.clone(),
            encoding: EncodingKey::new("fake", encoding),
            profile: Profile::new(limits),
        }
    }

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

    /// Reports the arrival of a request at the service.
    fn arrived(&self, request: u64, entries: &[Entry]) {
        self.service.0.observer.on(&Event::Arrived {
            service: self.service.name(),
            request,
            entries,
            limits: self.profile.request,
            in_flight: self.profile.in_flight,
        });
    }

    /// The answer to a request that arrived.
    async fn exchange(&self, shard: &ShardId, sent: &Sent<'_>, mut request: Request) -> Outcome {
        if self.profile.gathers.is_none() {
            return sent.send(request).await;
        }
        if request.fate == Fate::Well {
            return self.hold(shard, sent.request, &request.entries).await;
        }

        // A gathering output holds all or nothing.
        request.fate = Fate::Rejected(TroubleKind::Unavailable);
        sent.send(request).await
    }

    /// Holds the entries of a request until a flush, all but the refused ones.
    async fn hold(&self, shard: &ShardId, request: u64, entries: &[Entry]) -> Outcome {
        let inner = &self.service.0;
        let way = draw(&mut lock(&inner.state).rng, (0, 5));
        inner.clock.sleep(way).await;

        let mut state = lock(&inner.state);
        let held = |entry: &Entry| (!state.refuses(entry)).then(|| entry.clone());
        let held: Vec<Option<Entry>> = entries.iter().map(held).collect();
        let outcome = outcome_of_hold(&held);
        let of_shard = state.held.entry(shard.clone()).or_default();
        of_shard.push((request, held));
        outcome
    }

    /// The outcome of a flush of `held`.
    async fn flush_held(&self, held: &[Held], deadline: Duration) -> Outcome {
        let clock = &self.service.0.clock;
        let (_, fate, way) = self.service.begin();
        let no_answer = || unknown("the flush has no answer");

        clock.sleep(way).await;
        match fate {
            Fate::Rejected(kind) => Outcome::Rejected(Trouble::new(kind, "the flush was rejected")),
            Fate::RequestLost => no_answer(),
            Fate::Held => {
                clock.sleep(deadline).await;
                no_answer()
            }
            Fate::AnswerLost | Fate::Cut | Fate::Late(_) => {
                self.service.store(held);
                no_answer()
            }
            Fate::Hangs | Fate::Stuck => {
                self.service.store(held);
                clock.sleep(deadline).await;
                no_answer()
            }
            Fate::Well | Fate::Partial(_) | Fate::Garbled => {
                self.service.store(held);
                Outcome::Durable
            }
        }
    }

    fn entry(batch: &Batch, index: usize) -> Entry {
        let record = batch.record(index);
        Entry {
            sequence: record.sequence.parse().unwrap_or(u128::MAX),
            key: record.key.map(Box::from),
            digest: hash(record.data),
            size: record.size(),
        }
    }
}

/// The answer to a request whose entries are held, all but the refused ones.
fn outcome_of_hold(held: &[Option<Entry>]) -> Outcome {
    if held.iter().all(Option::is_some) {
        return Outcome::Accepted;
    }

    let verdicts = held.iter().map(|entry| match entry {
        Some(_) => Verdict::Accepted,
        None => unwelcome(),
    });
    Outcome::PerRecord(verdicts.collect())
}

/// A request that is about to be served.
struct Request {
    entries: Arc<Vec<Entry>>,
    fate: Fate,
    /// The time to the service, and the same again for the answer.
    way: Duration,
    deadline: Duration,
    answer: oneshot::Receiver<Outcome>,
}

/// The sender's side of a request. A request that is dropped without an answer is abandoned.
struct Sent<'a> {
    service: &'a FakeService,
    request: u64,
    call: Arc<Call>,
    is_answered: bool,
}

impl Sent<'_> {
    /// Has the request served, and waits for the answer.
    async fn send(&self, request: Request) -> Outcome {
        let Request {
            entries,
            fate,
            way,
            deadline,
            answer,
        } = request;
        let service = self.service.clone();
        let call = Arc::clone(&self.call);
        tokio::spawn(service.serve(self.request, entries, (fate, way), call));

        let broken = |_| unknown("the service ended");
        if fate == Fate::Stuck {
            return answer.await.unwrap_or_else(broken);
        }
        tokio::select! {
            // An answer that is there is never thrown away.
            biased;
            answered = answer => answered.unwrap_or_else(broken),
            () = self.service.0.clock.sleep(deadline) => {
                self.call.give_up();
                unknown("no answer by the deadline")
            }
        }
    }

    fn answered(&mut self, outcome: &Outcome) {
        self.is_answered = true;
        self.service.answered(self.request, outcome);
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        if !self.is_answered {
            self.call.give_up();
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
    fn answered(&mut self, outcome: &Outcome) {
        // A refused record is no part of the flush, and was answered before.
        let verdict = |entry: &Option<Entry>| match entry {
            Some(_) => Verdict::Durable,
            None => unwelcome(),
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

/// The encoded form of a chunk; counts the bytes that are held in memory.
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

    fn identity(&self) -> Option<StreamIdentity> {
        lock(&self.service.0.state).identity.clone()
    }

    fn encoded_bound(&self, records: usize, bytes: usize) -> usize {
        records * INDEX_BYTES + bytes
    }

    fn encode(&self, batch: &Batch, picks: Picks) -> Chunk {
        let inner = &self.service.0;
        inner.encodings.fetch_add(1, Ordering::Relaxed);

        let indices = picks.iter();
        let entries: Vec<Entry> = indices.map(|i| Self::entry(batch, i)).collect();
        let allocation = entries.iter().map(|e| e.size + INDEX_BYTES).sum();
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

    /// Any of the records can be without room; the engine has to hold back the records behind them.
    fn room(&self, _: &Batch, picks: &Picks) -> Room {
        let mut state = lock(&self.service.0.state);
        let State { faults, rng, .. } = &mut *state;
        if !rng.per_mille(faults.holds) {
            return Room::All;
        }

        let share = *rng.pick(&[100, 500, 1000]);
        let held: Vec<usize> = picks.iter().filter(|_| rng.per_mille(share)).collect();
        let wait = Duration::from_millis(rng.below(400));
        drop(state);

        self.service.fault("records had no room");
        Room::Less { held, wait }
    }

    fn discard(&self, shard: &ShardId) {
        let held = lock(&self.service.0.state).held.remove(shard);
        let service = &self.service;
        drop(Flushing {
            service,
            held: held.unwrap_or_default(),
        });
    }

    async fn flush(&self, shard: &ShardId, deadline: Duration) -> Outcome {
        let state = &self.service.0.state;
        let held = lock(state).held.remove(shard).unwrap_or_default();
        let mut flushing = Flushing {
            service: &self.service,
            held,
        };

        let outcome = self.flush_held(&flushing.held, deadline).await;
        flushing.answered(&outcome);
        outcome
    }

    async fn write(&self, batch: &Batch, chunk: &Chunk, deadline: Duration) -> Outcome {
        let Some(body) = (*chunk.payload).as_any().downcast_ref::<Body>() else {
            let message = "this chunk is another output's";
            return Outcome::Rejected(Trouble::new(TroubleKind::Invalid, message));
        };

        let (number, fate, way) = self.service.begin();
        self.arrived(number, &body.entries);
        let (call, answer) = Call::new();
        let mut sent = Sent {
            service: &self.service,
            request: number,
            call,
            is_answered: false,
        };

        let request = Request {
            entries: Arc::clone(&body.entries),
            fate,
            way,
            deadline,
            answer,
        };
        let shard = &batch.origin().shard;
        let outcome = self.exchange(shard, &sent, request).await;
        sent.answered(&outcome);
        outcome
    }
}
