//! The request loop, written once for all callers: ask [`Delivery`] for records, ask the output for
//! room, encode, write, take the answer. A [`Pass`] goes over one batch at one output and ends
//! where the caller has to wait or to decide; waiting is the caller's part.
//!
//! A pass does not flush an output that gathers: the progress tells the caller which records wait
//! for a flush.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use crate::batch::{Batch, ShardId};
use crate::clock::{Clock, Instant};
use crate::engine::budget::{Permit, Reservation};
use crate::engine::encodings::Account;
use crate::engine::retry::{Backoff, policy};
use crate::engine::shard::Hold;
use crate::engine::shared_batch::ChunkSet;
use crate::output::{Chunk, Order, Outcome, Output, Picks, Refusal, Room, Trouble, TroubleKind};

use super::acked::{Acked, Bits};
use super::delivery::{Answer, Delivery, Next, Takes};

/// An output without room is not asked more often than this.
const SHORTEST_WAIT: Duration = Duration::from_millis(1);

/// The wait for other lanes to flush the records that they hold.
const MEMORY_WAIT: Duration = Duration::from_millis(50);

/// Time beyond the deadline of a request after which the pass abandons a request that did not end.
const OVERTIME: Duration = Duration::from_secs(1);

/// The number of [`Outcome::Stale`] in a row after which the output counts as failing.
pub(crate) const MOST_STALE: u32 = 8;

/// The progress of a pass.
pub(crate) struct Progress {
    /// The first record of the batch that no earlier report covered.
    pub(crate) from: usize,
    /// Every record before this one is settled, or was diverted.
    pub(crate) through: usize,
    /// The state of the records beyond `through`.
    pub(crate) acked: Acked,
    /// The state of the settled records.
    pub(crate) held: Held,
    /// The ones among the records from `from` on that wait for a flush, counted from there.
    pub(crate) accepted: Bits,
}

/// The state of the records that a pass has settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// All are durable.
    Durably,
    /// The output has accepted some in this pass.
    UntilFlush,
}

/// The result of one request, or of a flush, which holds no records of its own.
#[derive(Default)]
pub(crate) struct Answered {
    /// Records that the request held.
    pub(crate) sent: usize,
    /// Records that failed.
    pub(crate) failed: usize,
    /// Records that had been sent before, and may have been written.
    pub(crate) repeats: usize,
    /// The request was sent because the one before it failed.
    pub(crate) is_retry: bool,
    /// The request left records out only to keep the order.
    pub(crate) order_limited: bool,
    /// The failure, if there was one.
    pub(crate) trouble: Option<Trouble>,
}

/// The caller of a pass: time, memory, and the right to go on.
pub(crate) trait Caller: Sync {
    /// The clock.
    fn clock(&self) -> &Clock;
    /// The time that one request may take.
    fn request_deadline(&self) -> Duration;
    /// The longest wait for room.
    fn longest_wait(&self) -> Duration;
    /// The memory for chunks that no other lane shares; `None` where no budget is kept.
    fn memory(&self) -> Option<&Account>;
    /// Completes when the answer of [`Caller::may_go_on`] may have changed.
    fn woken(&self) -> impl Future<Output = ()> + Send;
    /// True while another request may be started.
    fn may_go_on(&self) -> bool;
    /// False once the caller's hold on the records has ended: a request whose memory was waited for
    /// is not started any more.
    fn holds(&self) -> bool {
        true
    }
    /// Reserves `bytes` for records that a gathering output is about to accept. Anything but
    /// [`Hold::Granted`] ends the pass.
    fn hold(&self, bytes: usize) -> Hold;
    /// The output had no room for some records.
    fn held_back(&self);
    /// A request was answered. False if no further request may be started.
    fn answered(&self, progress: Progress, answered: &Answered) -> bool;
}

/// The failures in a row, which outlive a pass.
pub(crate) struct Attempts {
    backoff: Backoff,
    /// The last request failed, whole or in part.
    failed: bool,
    /// Stale answers since the last other one.
    stale: u32,
}

impl Attempts {
    pub(crate) fn new(backoff: Backoff) -> Self {
        Self {
            backoff,
            failed: false,
            stale: 0,
        }
    }

    /// The moment of the next try after `trouble`.
    pub(crate) fn retry_at(&mut self, clock: &Clock, trouble: &Trouble) -> Instant {
        let class = policy(trouble.kind).class;
        let wait = self.backoff.next(clock, class, trouble.retry_after);
        clock.now().plus(wait)
    }

    /// Starts anew after a success.
    pub(crate) fn reset(&mut self) {
        self.backoff.reset();
    }

    /// True after stale answers in a row: the shared chunks may be those of an encoding that
    /// changed while they were made, and the records are encoded apart.
    pub(crate) fn is_stale_again(&self) -> bool {
        self.stale > 1
    }

    /// The answer to be taken for `outcome`: too many stale answers in a row are trouble.
    fn judge(&mut self, outcome: Outcome) -> Outcome {
        if !matches!(outcome, Outcome::Stale) {
            self.stale = 0;
            return outcome;
        }
        self.stale += 1;
        if self.stale < MOST_STALE {
            return outcome;
        }

        self.stale = 0;
        let text = format!("the output called {MOST_STALE} encodings in a row out of date");
        Outcome::Rejected(Trouble::new(TroubleKind::Unintelligible, text))
    }
}

/// The reason for a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// The output has no room.
    Room,
    /// A request failed.
    Retry,
}

/// The end of a pass. No request is in flight then.
#[derive(Debug)]
pub(crate) enum Ended {
    /// Every record of the batch is settled.
    Done,
    /// All records before `record` are settled, and the output will never take that one.
    Refused {
        /// Index in the batch.
        record: usize,
        /// The output's reason.
        refusal: Refusal,
    },
    /// Nothing may be sent before `until`.
    Wait {
        /// The moment of the next try.
        until: Instant,
        /// The reason.
        reason: WaitFor,
    },
    /// The caller no longer allows requests, or the encoding changed: start another pass.
    Interrupted,
}

/// The chunks of a batch under an output's encoding key.
pub(crate) struct Chunks<'a> {
    /// The cuts, and the chunks themselves where memory for them is reserved.
    pub(crate) set: &'a ChunkSet,
    /// True if memory for the chunks of `set` is reserved, so that lanes share the chunks.
    pub(crate) are_reserved: bool,
}

/// One pass over one batch at one output.
pub(crate) struct Pass<'a, C> {
    caller: &'a C,
    output: &'a dyn Output,
    batch: &'a Batch,
    chunks: Chunks<'a>,
    delivery: Delivery<'a>,
    /// Requests that may be in flight together.
    in_flight: usize,
    /// The records before this one are durable, and the caller knows.
    reported: usize,
    takes: Takes,
}

/// A chunk to send.
enum Encoded<'a> {
    Shared(&'a Chunk),
    Own {
        chunk: Chunk,
        #[allow(dead_code, reason = "held as long as the chunk")]
        permit: Option<Permit>,
    },
}

impl Encoded<'_> {
    fn chunk(&self) -> &Chunk {
        match self {
            Self::Shared(chunk) => chunk,
            Self::Own { chunk, .. } => chunk,
        }
    }
}

/// The answer to a request.
struct Landed {
    picks: Picks,
    outcome: Outcome,
    order_limited: bool,
}

type Flight<'a> = Pin<Box<dyn Future<Output = Landed> + Send + 'a>>;

/// Records that wait for the memory of their chunk.
struct Waiting {
    picks: Picks,
    reservation: Reservation,
}

/// An event that the loop waits for.
enum Event {
    Memory(Permit),
    Landed(Landed),
    Woken,
}

/// The requests of a pass, and the way in which the pass ends.
#[derive(Default)]
struct Requests<'a> {
    flying: Vec<Flight<'a>>,
    waiting: Option<Waiting>,
    /// Set as soon as no further request is to be started.
    ending: Option<Ended>,
}

impl Requests<'_> {
    /// True if no request is in flight, and none waits for memory.
    fn are_over(&self) -> bool {
        self.flying.is_empty() && self.waiting.is_none()
    }

    /// True if another request may be started; `most`: requests in flight.
    fn has_room(&self, most: usize) -> bool {
        self.ending.is_none() && self.waiting.is_none() && self.flying.len() < most
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some(waiting) = &mut self.waiting
            && let Poll::Ready(permit) = Pin::new(&mut waiting.reservation).poll(cx)
        {
            return Poll::Ready(Event::Memory(permit));
        }

        for i in 0..self.flying.len() {
            if let Poll::Ready(landed) = self.flying[i].as_mut().poll(cx) {
                drop(self.flying.swap_remove(i));
                return Poll::Ready(Event::Landed(landed));
            }
        }
        Poll::Pending
    }

    fn end(&mut self, ended: Ended) {
        self.waiting = None;
        // A wait is kept: a caller that started another pass at once would not keep the wait.
        let keep = match (&self.ending, &ended) {
            (Some(Ended::Wait { until: old, .. }), Ended::Wait { until: new, .. }) => old >= new,
            (Some(Ended::Wait { .. }), _) => true,
            _ => false,
        };
        if !keep {
            self.ending = Some(ended);
        }
    }
}

impl<'a, C: Caller> Pass<'a, C> {
    /// A pass over `batch` from record `from` on; `acked` is the state of the records beyond.
    pub(crate) fn new(
        caller: &'a C,
        (output, order): (&'a dyn Output, Order),
        batch: &'a Batch,
        chunks: Chunks<'a>,
        (from, acked): (usize, &Acked),
    ) -> Self {
        let profile = output.profile();
        let takes = match profile.gathers {
            Some(_) => Takes::UntilFlush,
            None => Takes::Durably,
        };
        Self {
            caller,
            output,
            batch,
            chunks,
            delivery: Delivery::new(order, takes, batch, from, acked).at_output(output),
            in_flight: profile.in_flight.get(),
            reported: from,
            takes,
        }
    }

    /// Sends requests until the pass ends. Dropping the future abandons the requests in flight.
    pub(crate) async fn run(&mut self, attempts: &mut Attempts) -> Ended {
        let mut requests = Requests::default();
        loop {
            while requests.has_room(self.in_flight) {
                if !self.start_one(&mut requests) {
                    break;
                }
            }
            if requests.are_over() {
                let ended = requests.ending.take();
                return ended.unwrap_or(Ended::Interrupted);
            }

            let event = self.event(&mut requests).await;
            self.take_event(&mut requests, event, attempts);
        }
    }

    fn take_event(&mut self, requests: &mut Requests<'a>, event: Event, attempts: &mut Attempts) {
        match event {
            Event::Memory(permit) => {
                if self.caller.holds() {
                    self.start_own(requests, permit);
                } else {
                    requests.end(Ended::Interrupted);
                }
            }
            Event::Landed(landed) => self.land(requests, landed, attempts),
            Event::Woken => {
                if !self.caller.may_go_on() {
                    requests.end(Ended::Interrupted);
                }
            }
        }
    }

    /// The progress since the last report.
    pub(crate) fn progress(&mut self) -> Progress {
        let through = self.delivery.settled_through();
        let from = std::mem::replace(&mut self.reported, through);
        Progress {
            from,
            through,
            acked: self.delivery.acked(),
            accepted: self.delivery.accepted_from(from),
            held: match self.holds_accepted() {
                true => Held::UntilFlush,
                false => Held::Durably,
            },
        }
    }

    /// The records.
    pub(crate) fn batch(&self) -> &'a Batch {
        self.batch
    }

    /// The shard of the records.
    pub(crate) fn shard(&self) -> &ShardId {
        &self.batch.origin().shard
    }

    /// True if records of this pass wait for a flush.
    pub(crate) fn holds_accepted(&self) -> bool {
        self.delivery.holds_accepted()
    }

    /// The records that were accepted are durable.
    pub(crate) fn flushed(&mut self) {
        self.delivery.flushed();
    }

    /// The flush failed: every record from `durable` on that was accepted is open again.
    pub(crate) fn flush_failed(&mut self, durable: usize, outcome: &Outcome) {
        self.delivery.flush_failed(durable, outcome);
        self.reported = self.delivery.settled_through();
    }

    /// Starts the next request. False if nothing can be started now.
    fn start_one(&mut self, requests: &mut Requests<'a>) -> bool {
        let Some(picks) = self.next_picks(requests) else {
            return false;
        };
        let Some(picks) = self.fit(picks, requests) else {
            return false;
        };
        if let Some(chunk) = self.shared_chunk(&picks) {
            return self.send(requests, Encoded::Shared(chunk));
        }

        let Some(memory) = self.caller.memory() else {
            let chunk = self.output.encode(self.batch, picks);
            let permit = None;
            return self.send(requests, Encoded::Own { chunk, permit });
        };
        let (picks, bound) = self.within(memory.share(), picks);
        let reservation = memory.reserve(bound);
        requests.waiting = Some(Waiting { picks, reservation });
        true
    }

    /// The records of the next request; `None` where no request is to be started now.
    fn next_picks(&mut self, requests: &mut Requests<'a>) -> Option<Picks> {
        let set = self.chunks.set;
        let ended = match self.delivery.next(set.ranges(self.batch, self.output)) {
            Next::Send { picks } => return Some(picks),
            Next::Wait => return None,
            Next::Done => Ended::Done,
            Next::Refused { record, refusal } => Ended::Refused { record, refusal },
        };
        requests.end(ended);
        None
    }

    /// The first ones of `picks` with encodings of at most `memory` bytes together, one record at
    /// least, and the bytes to reserve.
    fn within(&self, memory: usize, picks: Picks) -> (Picks, usize) {
        let bytes = picks.iter().map(|i| self.batch.footprint(i));
        let bound = self.output.encoded_bound(picks.len(), bytes.sum());
        if bound <= memory {
            return (picks, bound);
        }

        let mut count = 0;
        let mut bytes = 0;
        let mut bound = 0;
        for record in picks.iter() {
            bytes += self.batch.footprint(record);
            let with_record = self.output.encoded_bound(count + 1, bytes);
            if count > 0 && with_record > memory {
                break;
            }
            count += 1;
            bound = with_record;
        }
        (picks.first(count), bound)
    }

    /// The records of `picks` that the output has room for; `None` if there is no room at all.
    fn fit(&self, picks: Picks, requests: &mut Requests<'a>) -> Option<Picks> {
        let (held, wait) = match self.output.room(self.batch, &picks) {
            Room::All => return Some(picks),
            Room::Less { held, wait } => (held, wait),
        };
        self.caller.held_back();
        let rest = self.delivery.without(&picks, &held);
        if !rest.is_empty() {
            return Some(rest);
        }

        let longest = self.caller.longest_wait();
        let wait = wait.clamp(SHORTEST_WAIT, longest);
        let now = self.caller.clock().now();
        requests.end(Ended::Wait {
            until: now.plus(wait),
            reason: WaitFor::Room,
        });
        None
    }

    /// The chunk of exactly `picks` that lanes share.
    fn shared_chunk(&self, picks: &Picks) -> Option<&'a Chunk> {
        match picks {
            Picks::Run(range) if self.chunks.are_reserved => {
                self.chunks.set.chunk(self.batch, self.output, range)
            }
            Picks::Run(_) | Picks::Some(_) => None,
        }
    }

    /// Encodes and sends the records that waited for memory.
    fn start_own(&mut self, requests: &mut Requests<'a>, mut permit: Permit) {
        let Some(Waiting { picks, .. }) = requests.waiting.take() else {
            return;
        };
        let chunk = self.output.encode(self.batch, picks);
        permit.resize(chunk.allocation);
        let permit = Some(permit);
        self.send(requests, Encoded::Own { chunk, permit });
    }

    /// Starts a request. False if there is no memory for records that the output would hold.
    fn send(&mut self, requests: &mut Requests<'a>, encoded: Encoded<'a>) -> bool {
        if self.takes == Takes::UntilFlush
            && let Some(ended) = self.hold(encoded.chunk())
        {
            requests.end(ended);
            return false;
        }

        if self.in_flight > 1 {
            self.delivery.sent(&encoded.chunk().picks);
        }
        requests.flying.push(self.request(encoded));
        true
    }

    /// One request, up to the answer or the deadline.
    fn request(&self, encoded: Encoded<'a>) -> Flight<'a> {
        let order_limited = self.delivery.order_limited();
        let (output, batch) = (self.output, self.batch);
        let (clock, deadline) = (self.caller.clock(), self.caller.request_deadline());
        Box::pin(async move {
            let chunk = encoded.chunk();
            let write = output.write(batch, chunk, deadline);
            let outcome = within(clock, deadline, write).await;
            Landed {
                picks: chunk.picks.clone(),
                outcome,
                order_limited,
            }
        })
    }

    /// Reserves the memory of `chunk` at a gathering output; the end of the pass without it.
    fn hold(&self, chunk: &Chunk) -> Option<Ended> {
        match self.caller.hold(chunk.allocation) {
            Hold::Granted => None,
            Hold::FlushFirst => Some(Ended::Interrupted),
            Hold::Later => Some(Ended::Wait {
                until: self.caller.clock().now().plus(MEMORY_WAIT),
                reason: WaitFor::Room,
            }),
        }
    }

    /// The next event. Memory and answers first: none is thrown away for an interruption.
    async fn event(&self, requests: &mut Requests<'a>) -> Event {
        let waits_for_memory = requests.waiting.is_some();
        let progress = poll_fn(|cx| requests.poll(cx));
        tokio::select! {
            biased;
            event = progress => event,
            () = self.caller.woken(), if waits_for_memory => Event::Woken,
        }
    }

    /// Takes an answer.
    fn land(&mut self, requests: &mut Requests<'a>, landed: Landed, attempts: &mut Attempts) {
        let Landed {
            picks,
            outcome,
            order_limited,
        } = landed;
        let outcome = attempts.judge(outcome);
        let answer = self.delivery.answer(&picks, &outcome);
        let answered = Answered {
            sent: picks.len(),
            failed: answer.failed,
            repeats: answer.repeats,
            is_retry: attempts.failed,
            order_limited,
            trouble: answer.trouble.clone(),
        };
        let progress = self.progress();
        let goes_on = self.caller.answered(progress, &answered);
        if !answer.stale {
            self.note_result(requests, &answer, picks.len(), attempts);
        }
        if answer.stale || !goes_on {
            requests.end(Ended::Interrupted);
        }
    }

    /// The waits after a request of `sent` records: none after a success.
    fn note_result(
        &self,
        requests: &mut Requests<'a>,
        answer: &Answer,
        sent: usize,
        attempts: &mut Attempts,
    ) {
        attempts.failed = answer.trouble.is_some();
        let Some(trouble) = &answer.trouble else {
            // A flush decides about accepted records.
            if !self.holds_accepted() {
                attempts.reset();
            }
            return;
        };

        // Most of the request succeeded: no reason for longer and longer waits.
        if (answer.failed + answer.undone) * 2 <= sent {
            attempts.reset();
        }
        requests.end(Ended::Wait {
            until: attempts.retry_at(self.caller.clock(), trouble),
            reason: WaitFor::Retry,
        });
    }

    /// Passes over the refused record that ended the pass; the caller has reported all before it,
    /// and reports the record itself in its own way.
    pub(crate) fn divert(&mut self) {
        self.delivery.divert();
        self.reported += 1;
    }
}

/// The outcome of `call`, or `Unknown` some time after the deadline that the output should have
/// kept.
pub(crate) async fn within(
    clock: &Clock,
    deadline: Duration,
    call: impl Future<Output = Outcome>,
) -> Outcome {
    let limit = deadline.saturating_add(OVERTIME);
    clock.timeout(limit, call).await.unwrap_or_else(|| {
        let text = format!("no answer within {} s", limit.as_secs_f64());
        Outcome::Unknown(Trouble::new(TroubleKind::Unavailable, text))
    })
}

/// Calls [`Output::flush`], once.
pub(crate) async fn flush(
    clock: &Clock,
    output: &dyn Output,
    shard: &ShardId,
    deadline: Duration,
) -> (Outcome, Option<Trouble>) {
    let outcome = within(clock, deadline, output.flush(shard, deadline)).await;
    let trouble = flush_trouble(&outcome);
    (outcome, trouble)
}

/// The failure of a flush; `None` if all is durable.
fn flush_trouble(outcome: &Outcome) -> Option<Trouble> {
    match outcome {
        Outcome::Durable => None,
        Outcome::Rejected(trouble) | Outcome::Unknown(trouble) => Some(trouble.clone()),
        Outcome::Accepted | Outcome::PerRecord(_) | Outcome::Stale => Some(Trouble::new(
            TroubleKind::Unintelligible,
            "the output answered a flush with neither success nor failure",
        )),
    }
}
