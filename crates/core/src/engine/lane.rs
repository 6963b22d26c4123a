//! A lane's task: takes batches at its own cursor, keeps one request in flight, and moves its cursor past what was
//! acknowledged. It holds no batch while it waits after a failure: the window decides what stays.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Instant;
use crate::output::{Chunk, Outcome, Picks, Room, Trouble, TroubleKind};
use crate::store::OutputId;

use super::Shared;
use super::budget::{Permit, Pool, Turn};
use super::lane_port::{Answered, LanePort, LetGo, Progress, Wait};
use super::retry::{Answer, Backoff, Delivery, Next, policy};
use super::shard::{ShardCell, Take, Work};
use super::shared_batch::ChunkSet;

/// An output that has no room is not asked more often than this.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// Delivers the shard of `cell` to `id` until it is done, removed, or drained.
pub(crate) async fn run(shared: Arc<Shared>, cell: Arc<ShardCell>, id: OutputId) {
    let Some(port) = LanePort::new(Arc::clone(&shared), cell, id) else {
        return;
    };
    let backoff = shared.settings.backoff();
    let mut lane = Lane {
        shared,
        port,
        backoff,
        retry_at: None,
        generation: 0,
        failed: false,
        held_back: false,
    };
    loop {
        if let Some(at) = lane.retry_at.take()
            && !lane.wait_until(at).await
        {
            return;
        }
        lane.held_back = false;
        match lane.port.take() {
            Take::Work(work) => lane.deliver(*work).await,
            Take::Wait => lane.port.woken().await,
            Take::End => return,
        }
    }
}

struct Lane {
    shared: Arc<Shared>,
    port: LanePort,
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
    async fn wait_until(&self, at: Instant) -> bool {
        loop {
            let done = tokio::select! {
                // A change of settings may mean that there is nothing left to wait for.
                biased;
                () = self.port.woken() => false,
                () = self.shared.clock.sleep_until(at) => true,
            };
            match self.port.wait(self.generation) {
                Wait::End => return false,
                Wait::Over => return true,
                Wait::On if done => return true,
                Wait::On => {}
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
                    return self.port.finished(&work, progress(noted, &delivery));
                }
                Next::Stopped { record, refusal } => {
                    let progress = progress(noted, &delivery);
                    return self.port.stop(&work, progress, record, &refusal);
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
        self.port.held_back();
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
        let mut permit = loop {
            tokio::select! {
                // Memory first: what was waited for is not given up in the same moment.
                biased;
                permit = &mut reservation => break permit,
                () = self.port.woken() => {
                    if !self.port.may_go_on(work) {
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
                Outcome::Accepted => work.output.flush(self.port.shard(), deadline).await,
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
        let answered = Answered {
            sent,
            failed: answer.failed,
            repeats: answer.repeats,
            is_retry: self.failed,
            order_limited: delivery.order_limited(),
            trouble: answer.trouble.clone(),
        };
        self.port
            .answered(work, progress(noted, delivery), &answered)
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
        self.port.advance(work, progress(noted, delivery));
        self.let_go();
    }

    /// Notes that the lane has no batch in hand any more.
    fn let_go(&self) {
        self.port.let_go(match (self.retry_at, self.held_back) {
            (None, _) => LetGo::AskAgain,
            (Some(_), false) => LetGo::Retry,
            (Some(_), true) => LetGo::Room,
        });
    }
}

/// How far `delivery` is, where all before `from` is noted already.
fn progress(from: usize, delivery: &Delivery<'_>) -> Progress {
    Progress {
        from,
        through: delivery.durable_through(),
        acked: delivery.acked(),
    }
}
