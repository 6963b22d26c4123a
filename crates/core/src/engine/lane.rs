//! A lane's task: takes batches at its own cursor, keeps one request in flight, and moves its cursor past what was
//! acknowledged. It holds no batch while it waits after a failure: the window decides what stays.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Instant;
use crate::output::{Chunk, Outcome, Picks, Refusal, Room, Trouble, TroubleKind};
use crate::store::OutputId;

use super::budget::{Permit, Pool, Turn};
use super::retry::{Answer, Backoff, BackoffClass, Delivery, Next, policy};
use super::shard::{ShardCell, Take, Work};
use super::shared_batch::ChunkSet;
use super::slot::Slot;
use super::{Shared, lock};

/// An output that has no room is not asked more often than this.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// Delivers the shard of `cell` to `id` until it is done, removed, or drained.
pub(crate) async fn run(shared: Arc<Shared>, cell: Arc<ShardCell>, id: OutputId) {
    let Some(wake) = lock(&cell.state)
        .lanes
        .get(&id)
        .map(|slot| Arc::clone(&slot.wake))
    else {
        return;
    };
    let backoff = shared.settings.backoff();
    let mut lane = Lane {
        shared,
        cell,
        id,
        backoff,
        retry_at: None,
        generation: 0,
        failed: false,
        held_back: false,
    };
    loop {
        if let Some(at) = lane.retry_at.take()
            && !lane.wait_until(at, &wake).await
        {
            return;
        }
        lane.held_back = false;
        let (now, share) = (lane.shared.clock.now(), lane.shared.share());
        let (taken, news) = {
            let mut state = lock(&lane.cell.state);
            (
                state.take(&lane.id, now, &lane.shared.budget, share),
                std::mem::take(&mut state.news),
            )
        };
        if news {
            lane.shared.news.notify_one();
        }
        // The reader may have to read ahead, to let go of what this lane has passed, or to find it a feed.
        lane.cell.wake.notify_one();
        match taken {
            Take::Work(work) => lane.deliver(*work).await,
            Take::Wait => wake.notified().await,
            Take::End => {
                lane.shared.news.notify_one();
                return;
            }
        }
    }
}

struct Lane {
    shared: Arc<Shared>,
    cell: Arc<ShardCell>,
    id: OutputId,
    backoff: Backoff,
    /// Nothing is sent before this.
    retry_at: Option<Instant>,
    /// Of the output and order that it last delivered with.
    generation: u64,
    /// The last request failed, whole or in part.
    failed: bool,
    /// What it waits for is room.
    held_back: bool,
}

/// A chunk to send.
enum Encoded<'a> {
    Shared(&'a Chunk),
    Own(
        Chunk,
        #[allow(dead_code, reason = "held as long as the chunk")] Permit,
    ),
}

impl Encoded<'_> {
    fn chunk(&self) -> &Chunk {
        match self {
            Self::Shared(chunk) => chunk,
            Self::Own(chunk, _) => chunk,
        }
    }
}

impl Lane {
    /// Waits after a failure. `false` if the lane has to end.
    async fn wait_until(&self, at: Instant, wake: &tokio::sync::Notify) -> bool {
        loop {
            let done = tokio::select! {
                // A change of settings may mean that there is nothing left to wait for.
                biased;
                () = wake.notified() => false,
                () = self.shared.clock.sleep_until(at) => true,
            };
            let state = lock(&self.cell.state);
            let Some(slot) = state.lanes.get(&self.id) else {
                return false;
            };
            if state.draining {
                return false;
            }
            if done || !slot.runs() || slot.generation != self.generation {
                return true;
            }
        }
    }

    async fn deliver(&mut self, work: Work) {
        self.generation = work.generation;
        let mut delivery = Delivery::new(work.order, &work.batch.batch, work.from, &work.acked);
        let mut noted = work.from;
        let key = work.output.encoding();
        // An output that came later, or that changed how it encodes: room for what it encodes is not reserved yet.
        let own = ChunkSet::new(key.clone());
        let (set, shared) = work
            .batch
            .set(&key)
            .map_or((&own, false), |set| (set, true));
        loop {
            let next = delivery.next(set.ranges(&work.batch.batch, &*work.output));
            let picks = match next {
                Next::Send { picks } => picks,
                Next::Done => {
                    let now = self.shared.clock.now();
                    let mut state = lock(&self.cell.state);
                    state.advance(&self.id, &work, noted, &delivery);
                    state.finished(&self.id, &work, now);
                    return;
                }
                Next::Stopped { record, refusal } => {
                    return self.stop(&work, noted, &delivery, record, &refusal);
                }
            };
            let Some(picks) = self.fit(&work, &delivery, picks) else {
                return self.give_back(&work, noted, &delivery);
            };
            let Some(encoded) = self.encode(&work, shared.then_some(set), picks).await else {
                return self.give_back(&work, noted, &delivery);
            };
            let outcome = self.write(&work, encoded.chunk()).await;
            let answer = delivery.answer(&encoded.chunk().picks, &outcome);
            let sent = encoded.chunk().picks.len();
            drop(encoded);
            let go_on = self.note(&work, noted, &delivery, &answer, sent);
            noted = delivery.durable_through();
            if answer.stale {
                return self.let_go();
            }
            self.failed = answer.trouble.is_some();
            match &answer.trouble {
                None => self.backoff.reset(),
                Some(trouble) => {
                    // Most of it went through: no reason to wait ever longer.
                    if (answer.failed + answer.undone) * 2 <= sent {
                        self.backoff.reset();
                    }
                    self.back_off(trouble);
                    return self.let_go();
                }
            }
            if !go_on {
                return self.let_go();
            }
        }
    }

    /// What of `picks` the output has room for; `None` if it is to be asked again later.
    fn fit(&mut self, work: &Work, delivery: &Delivery<'_>, picks: Picks) -> Option<Picks> {
        let (held, wait) = match work.output.room(&work.batch.batch, &picks) {
            Room::All => return Some(picks),
            Room::Less { held, wait } => (held, wait),
        };
        let rest = delivery.without(&picks, &held);
        let mut state = lock(&self.cell.state);
        if let Some(slot) = state.lanes.get_mut(&self.id) {
            slot.counts.held_back += 1;
        }
        if !rest.is_empty() {
            return Some(rest);
        }
        let longest = self.shared.settings.backoff_cap;
        self.retry_at = Some(
            self.shared
                .clock
                .now()
                .plus(wait.clamp(SHORTEST_WAIT, longest)),
        );
        self.held_back = true;
        None
    }

    /// The chunk of `picks`: the shared one if the batch is cut just so, else one of this lane's own. `None` if the
    /// batch must be let go while memory for it is waited for.
    async fn encode<'a>(
        &self,
        work: &'a Work,
        set: Option<&'a ChunkSet>,
        picks: Picks,
    ) -> Option<Encoded<'a>> {
        let batch = &work.batch.batch;
        if let (Some(set), Picks::Run(range)) = (set, &picks)
            && let Some(chunk) = set.chunk(batch, &*work.output, range)
        {
            return Some(Encoded::Shared(chunk));
        }
        let bytes: usize = picks.iter().map(|i| batch.footprint(i)).sum();
        let bound = work.output.encoded_bound(picks.len(), bytes);
        let mut reservation = self.shared.budget.reserve(Pool::Encode, bound, Turn::Usual);
        let wake = lock(&self.cell.state)
            .lanes
            .get(&self.id)
            .map(|s| Arc::clone(&s.wake))?;
        let mut permit = loop {
            tokio::select! {
                // Memory first: what was waited for is not given up in the same moment.
                biased;
                permit = &mut reservation => break permit,
                () = wake.notified() => {
                    if !lock(&self.cell.state).may_go_on(&self.id, work, &self.shared.budget) {
                        return None;
                    }
                }
            }
        };
        let chunk = work.output.encode(batch, picks);
        permit.resize(chunk.allocation);
        Some(Encoded::Own(chunk, permit))
    }

    async fn write(&self, work: &Work, chunk: &Chunk) -> Outcome {
        let deadline = self.shared.settings.request_deadline;
        // The output answers within the deadline; the second one is for those that don't.
        let limit = deadline + Duration::from_secs(1);
        let write = async {
            match work.output.write(&work.batch.batch, chunk, deadline).await {
                Outcome::Accepted => work.output.flush(&self.cell.id, deadline).await,
                outcome => outcome,
            }
        };
        let answer = self.shared.clock.timeout(limit, write).await;
        answer.unwrap_or_else(|| {
            let text = format!("no answer within {} s", limit.as_secs_f64());
            Outcome::Unknown(Trouble::new(TroubleKind::Unavailable, text))
        })
    }

    /// Counts an answer and moves the cursor. `false` if the lane must let the batch go.
    fn note(
        &self,
        work: &Work,
        noted: usize,
        delivery: &Delivery<'_>,
        answer: &Answer,
        sent: usize,
    ) -> bool {
        let wall = self.shared.clock.wall();
        let mut state = lock(&self.cell.state);
        let go_on = state.may_go_on(&self.id, work, &self.shared.budget);
        state.advance(&self.id, work, noted, delivery);
        let Some(slot) = state.lanes.get_mut(&self.id) else {
            return false;
        };
        slot.counts.requests += 1;
        slot.counts.order_limited += u64::from(delivery.order_limited());
        slot.counts.repeats += answer.repeats as u64;
        slot.counts.retries += u64::from(self.failed);
        self.note_lasting(slot, answer, sent);
        match &answer.trouble {
            None => slot.advice = None,
            Some(trouble) => {
                // Throttling is counted in metrics only.
                let reported = trouble.kind != TroubleKind::Throttled;
                if reported && self.shared.is_news(Some(&self.id), trouble.kind) {
                    tracing::warn!(shard = %self.cell.id, output = %self.id, "a write failed, and is tried again: {trouble}");
                }
                slot.advice = policy(trouble.kind).advice.map(str::to_owned);
                slot.trouble(trouble, wall);
            }
        }
        go_on
    }

    /// Notes since when nothing gets through to `slot` that somebody has to mend first.
    fn note_lasting(&self, slot: &mut Slot, answer: &Answer, sent: usize) {
        let class = answer
            .trouble
            .as_ref()
            .map(|trouble| policy(trouble.kind).class);
        if class != Some(BackoffClass::Lasting) || answer.failed != sent {
            slot.lasting = None;
        } else if slot.lasting.is_none() {
            slot.lasting = Some(self.shared.clock.now());
            self.shared.news.notify_one();
        }
    }

    fn back_off(&mut self, trouble: &Trouble) {
        let class = policy(trouble.kind).class;
        let wait = self
            .backoff
            .next(&self.shared.clock, class, trouble.retry_after);
        self.retry_at = Some(self.shared.clock.now().plus(wait));
    }

    /// Lets go of a batch of which nothing was sent: what was known of its records stays known.
    fn give_back(&self, work: &Work, noted: usize, delivery: &Delivery<'_>) {
        lock(&self.cell.state).advance(&self.id, work, noted, delivery);
        self.let_go();
    }

    /// Notes that the lane has no batch in hand any more.
    fn let_go(&self) {
        let mut state = lock(&self.cell.state);
        if let Some(slot) = state.lanes.get_mut(&self.id) {
            slot.working = false;
            slot.backing_off = self.retry_at.is_some();
            slot.held_back = self.held_back;
        }
    }

    /// A record that the output will never take.
    fn stop(
        &self,
        work: &Work,
        noted: usize,
        delivery: &Delivery<'_>,
        record: usize,
        refusal: &Refusal,
    ) {
        let sequence = work.batch.batch.record(record).sequence;
        let reason = format!("record {sequence} was refused: {refusal}");
        tracing::error!(shard = %self.cell.id, output = %self.id, "{reason}; this lane stops, the others go on");
        let mut state = lock(&self.cell.state);
        state.advance(&self.id, work, noted, delivery);
        if let Some(slot) = state.lanes.get_mut(&self.id) {
            slot.stopped = Some(reason);
            slot.working = false;
            slot.leave();
        }
        drop(state);
        self.shared.news.notify_one();
    }
}
