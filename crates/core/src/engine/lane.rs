//! A lane's task: takes batches at the lane's cursor and delivers each with one [`Pass`]. The task
//! holds no batch while it waits after a failure: the window decides which batches stay in memory.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Instant};
use crate::output::{EncodingKey, Refusal, Trouble};
use crate::pump::PumpRef;
use crate::store::OutputId;

use super::budget::Permit;
use super::deliver::pass::{
    self, Answered, Attempts, Caller, Chunks, Ended, Pass, Progress, WaitFor,
};
use super::deliver::{Context, DeadLetter, Memory, Patience};
use super::encoders::Encoder;
use super::encodings::Account;
use super::lane_port::{LanePort, LetGo, Wait};
use super::mutation::{Mutation, on};
use super::shard::{Flush, Hold, RowsInHand, ShardCell, Take, Work};
use super::shared_batch::{ChunkSet, NoRows, make_rows};
use super::{Shared, lock};

/// Delivers the shard of `cell` to the output `id` until the shard is done, the output is removed,
/// or the engine drains.
pub(crate) async fn run(shared: Arc<Shared>, cell: Arc<ShardCell>, id: OutputId) {
    let encodings = lock(&shared.encodings).of(&id, &shared.budget);
    let Some(port) = LanePort::new(Arc::clone(&shared), cell, id) else {
        return;
    };
    let lane = Lane {
        attempts: Attempts::new(shared.settings.backoff()),
        shared,
        port: Arc::new(port),
        encodings,
        retry_at: None,
        generation: 0,
    };
    lane.run().await;
}

struct Lane {
    shared: Arc<Shared>,
    port: Arc<LanePort>,
    /// The memory of the output for encodings of single lanes.
    encodings: Arc<Account>,
    attempts: Attempts,
    /// Nothing is sent before this moment.
    retry_at: Option<Instant>,
    /// The generation of the output's settings in the last delivery.
    generation: u64,
}

impl Lane {
    async fn run(mut self) {
        loop {
            if let Some(at) = self.retry_at.take()
                && !self.wait_until(at).await
            {
                return;
            }
            match self.port.take() {
                Take::Work(work) => self.start(*work).await,
                Take::Flush(flush) => self.flush(flush).await,
                Take::Wait => self.port.woken().await,
                Take::End => return,
            }
        }
    }

    /// Waits after a failure. False if the lane has to end.
    async fn wait_until(&self, at: Instant) -> bool {
        loop {
            let is_over = tokio::select! {
                // A change of settings may make the wait pointless.
                biased;
                () = self.port.changed() => false,
                () = self.shared.clock.sleep_until(at) => true,
            };
            match self.port.wait(self.generation) {
                Wait::End => return false,
                Wait::Over => return true,
                Wait::On if is_over => return true,
                Wait::On => {}
            }
        }
    }

    /// Makes the accepted records durable; after a failure the lane sends them again.
    async fn flush(&mut self, flush: Flush) {
        let Flush { output, generation } = flush;
        self.generation = generation;
        let (clock, deadline) = (&self.shared.clock, self.shared.settings.request_deadline);
        let shard = self.port.shard();
        let (outcome, trouble) = pass::flush(clock, &*output, shard, deadline).await;
        self.port.flushed(generation, &outcome, trouble.as_ref());

        match trouble {
            None => self.attempts.reset(),
            Some(trouble) => {
                self.retry_at = Some(self.attempts.retry_at(clock, &trouble));
                self.port.let_go(LetGo::Retry);
            }
        }
    }

    /// Delivers `work`, after making the rows if the output has a pump.
    async fn start(&mut self, mut work: Work) {
        self.generation = work.generation;
        let Some(pump) = work.pump.clone() else {
            return self.deliver(&work).await;
        };
        match self.rows(&work, &pump).await {
            Some(Ok(rows)) => {
                work.rows = Some(rows);
                self.deliver(&work).await;
            }
            Some(Err(reason)) => self.port.stop_without_rows(work, &reason),
            None => {
                self.port.put_back(work);
                self.port.let_go(LetGo::AskAgain);
            }
        }
    }

    /// The rows of `work`; `None` if the lane has to let go before there is memory for them.
    async fn rows(&self, work: &Work, pump: &PumpRef) -> Option<Result<RowsInHand, NoRows>> {
        if let Some(shared) = work.batch.rows(pump) {
            return Some(shared.map(|rows| RowsInHand { rows, own: None }));
        }

        // An output that was added later, or whose pump is new.
        let permit = self.memory_of_rows(work, pump).await?;
        // The lease may have ended during the wait.
        if !self.port.may_go_on(work) {
            return None;
        }
        let rows = make_rows(pump, &work.batch.batch);
        Some(rows.map(|rows| RowsInHand {
            rows: Arc::new(rows),
            own: Some(permit),
        }))
    }

    /// One reservation for the rows and all their encodings: a lane that waits for memory holds
    /// none.
    async fn memory_of_rows(&self, work: &Work, pump: &PumpRef) -> Option<Permit> {
        let source = &work.batch.batch;
        let encoder = Encoder::new(&work.output, Some(pump));
        let bytes = encoder.memory(source.len(), source.allocation());
        let mut reservation = self.encodings.reserve(bytes);
        loop {
            tokio::select! {
                // Memory that was granted is used.
                biased;
                permit = &mut reservation => return Some(permit),
                () = self.port.woken() => {}
            }
            if !self.port.may_go_on(work) {
                return None;
            }
        }
    }

    async fn deliver(&mut self, work: &Work) {
        let shared = Arc::clone(&self.shared);
        let port = Arc::clone(&self.port);
        let encodings = Arc::clone(&self.encodings);
        let caller = LaneCaller {
            shared: &shared,
            port: &port,
            encodings: &encodings,
            work,
        };
        // An output that was added later, or that changed its encoding: no memory is reserved yet
        // for chunks under its key.
        let key = work.output.encoding();
        let own = ChunkSet::new(key.clone());
        let chunks = self.chunks(work, &key, &own);

        let mut pass = Pass::new(
            &caller,
            (&*work.output, work.order),
            work.batch(),
            chunks,
            (work.first(), &work.acked),
        );
        let ended = self.run_pass(&caller, &mut pass).await;
        let progress = pass.progress();
        self.conclude(work, progress, ended);
    }

    /// The chunks that lanes share under `key`, or `own` ones.
    fn chunks<'a>(&self, work: &'a Work, key: &EncodingKey, own: &'a ChunkSet) -> Chunks<'a> {
        let shared = match &work.rows {
            Some(in_hand) => in_hand.rows.set(key),
            None => work.batch.set(key),
        };
        let shared = shared.filter(|_| !self.attempts.is_stale_again());
        Chunks {
            set: shared.unwrap_or(own),
            are_reserved: shared.is_some(),
        }
    }

    /// Runs the pass, and stores refused records as dead letters where the output has a place for
    /// these.
    async fn run_pass<'a>(
        &mut self,
        caller: &'a LaneCaller<'a>,
        pass: &mut Pass<'a, LaneCaller<'a>>,
    ) -> Ended {
        let work = caller.work;
        loop {
            let ended = pass.run(&mut self.attempts).await;
            let Ended::Refused { record, refusal } = &ended else {
                return ended;
            };
            self.port.advance(work, pass.progress());
            // The records before the refused one are made durable first; the output refuses the
            // record again then.
            if self.port.ask_for_flush() {
                return Ended::Interrupted;
            }

            let Some(dead_letter) = &work.dead_letter else {
                return ended;
            };
            let stored = caller.store(dead_letter, *record, refusal).await;
            if let Err(trouble) = stored
                && !on(Mutation::DeadLetterBeforeDurable)
            {
                return self.wait_for_dead_letter(&trouble);
            }
            self.pass_dead_letter(work, pass, *record, refusal);
            if !self.port.may_go_on(work) {
                return Ended::Interrupted;
            }
        }
    }

    /// A refused record is durable as a dead letter: the cursor passes the record.
    fn pass_dead_letter<'a>(
        &self,
        work: &Work,
        pass: &mut Pass<'a, LaneCaller<'a>>,
        record: usize,
        refusal: &Refusal,
    ) {
        self.port.dead_lettered(work, record, refusal);
        pass.divert();
        self.port.advance(work, pass.progress());
    }

    fn wait_for_dead_letter(&mut self, trouble: &Trouble) -> Ended {
        self.port.dead_letter_failed(trouble);
        Ended::Wait {
            until: self.attempts.retry_at(&self.shared.clock, trouble),
            reason: WaitFor::Retry,
        }
    }

    /// Reports the end of a pass.
    fn conclude(&mut self, work: &Work, progress: Progress, ended: Ended) {
        match ended {
            Ended::Done => self.port.finished(work, progress),
            Ended::Refused { record, refusal } => {
                self.port.stop(work, progress, record, &refusal);
            }
            Ended::Wait { until, reason, .. } => {
                self.retry_at = Some(until);
                self.port.advance(work, progress);
                self.port.let_go(match reason {
                    WaitFor::Retry => LetGo::Retry,
                    WaitFor::Room => LetGo::Room,
                });
            }
            Ended::Interrupted => {
                self.port.advance(work, progress);
                self.port.let_go(LetGo::AskAgain);
            }
        }
    }
}

/// A lane's task as the caller of a pass.
struct LaneCaller<'a> {
    shared: &'a Shared,
    port: &'a LanePort,
    encodings: &'a Arc<Account>,
    work: &'a Work,
}

impl LaneCaller<'_> {
    /// Stores a refused record as a dead letter, or fails within about two requests' time, so that
    /// the lane does not hold the batch for longer.
    async fn store(
        &self,
        dead_letter: &DeadLetter,
        record: usize,
        refusal: &Refusal,
    ) -> Result<(), Trouble> {
        let clock = &self.shared.clock;
        let settings = &self.shared.settings;
        let limit = settings.request_deadline * 2;
        let context = Context {
            clock: clock.clone(),
            deadline: clock.now().plus(limit),
            patience: Patience::from(settings),
            memory: Some(Memory(Arc::clone(self.encodings))),
        };

        let batch = self.work.batch();
        let refused = (record, self.work.sub(record));
        dead_letter.store(batch, refused, refusal, &context).await
    }
}

impl Caller for LaneCaller<'_> {
    fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    fn request_deadline(&self) -> Duration {
        self.shared.settings.request_deadline
    }

    fn longest_wait(&self) -> Duration {
        self.shared.settings.backoff_cap
    }

    fn memory(&self) -> Option<&Account> {
        let rows = self.work.rows.as_ref();
        // The encodings of a lane's own rows are reserved together with the rows.
        let are_reserved = rows.is_some_and(|rows| rows.own.is_some());
        (!are_reserved).then_some(&**self.encodings)
    }

    fn woken(&self) -> impl Future<Output = ()> + Send {
        self.port.woken()
    }

    fn may_go_on(&self) -> bool {
        self.port.may_go_on(self.work)
    }

    fn holds(&self) -> bool {
        self.port.may_request()
    }

    fn hold(&self, bytes: usize) -> Hold {
        self.port.hold(bytes)
    }

    fn held_back(&self) {
        self.port.held_back();
    }

    fn answered(&self, progress: Progress, answered: &Answered) -> bool {
        self.port.answered(self.work, progress, answered)
    }
}
