//! A lane's task: takes batches at the lane's cursor and delivers each with one [`Pass`]. The task
//! holds no batch while it waits after a failure: the window decides which batches stay in memory.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Instant};
use crate::store::OutputId;

use super::Shared;
use super::budget::{Pool, Reservation, Turn};
use super::deliver::pass::{Answered, Attempts, Caller, Chunks, Ended, Pass, Progress, WaitFor};
use super::lane_port::{LanePort, LetGo, Wait};
use super::shard::{ShardCell, Take, Work};
use super::shared_batch::ChunkSet;

/// Delivers the shard of `cell` to the output `id` until the shard is done, the output is removed, or
/// the engine drains.
pub(crate) async fn run(shared: Arc<Shared>, cell: Arc<ShardCell>, id: OutputId) {
    let Some(port) = LanePort::new(Arc::clone(&shared), cell, id) else {
        return;
    };
    let attempts = Attempts::new(shared.settings.backoff());
    let mut lane = Lane {
        shared,
        port,
        attempts,
        retry_at: None,
        generation: 0,
    };
    loop {
        if let Some(at) = lane.retry_at.take()
            && !lane.wait_until(at).await
        {
            return;
        }
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
    attempts: Attempts,
    /// Nothing is sent before this moment.
    retry_at: Option<Instant>,
    /// The generation of the output's settings in the last delivery.
    generation: u64,
}

impl Lane {
    /// Waits after a failure. False if the lane has to end.
    async fn wait_until(&self, at: Instant) -> bool {
        loop {
            let is_over = tokio::select! {
                // A change of settings may make the wait pointless.
                biased;
                () = self.port.woken() => false,
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

    async fn deliver(&mut self, work: Work) {
        self.generation = work.generation;
        let caller = LaneCaller {
            shared: &self.shared,
            port: &self.port,
            work: &work,
        };
        let key = work.output.encoding();
        // An output that was added later, or that changed its encoding: no memory is reserved yet for
        // chunks under its key.
        let own = ChunkSet::new(key.clone());
        let shared = work.batch.set(&key);
        let chunks = Chunks {
            set: shared.unwrap_or(&own),
            are_reserved: shared.is_some(),
        };
        let mut pass = Pass::new(
            &caller,
            (&*work.output, work.order),
            &work.batch.batch,
            chunks,
            (work.from, &work.acked),
        );

        let ended = pass.run(&mut self.attempts).await;
        let progress = pass.progress();
        match ended {
            Ended::Done => self.port.finished(&work, progress),
            Ended::Refused { record, refusal } => {
                self.port.stop(&work, progress, record, &refusal);
            }
            Ended::Wait { until, reason, .. } => {
                self.retry_at = Some(until);
                self.port.advance(&work, progress);
                self.port.let_go(match reason {
                    WaitFor::Retry => LetGo::Retry,
                    WaitFor::Room => LetGo::Room,
                });
            }
            Ended::Interrupted => {
                self.port.advance(&work, progress);
                self.port.let_go(LetGo::AskAgain);
            }
        }
    }
}

/// A lane's task as the caller of a pass.
struct LaneCaller<'a> {
    shared: &'a Shared,
    port: &'a LanePort,
    work: &'a Work,
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

    fn reserve(&self, bytes: usize) -> Option<Reservation> {
        Some(self.shared.budget.reserve(Pool::Encode, bytes, Turn::Usual))
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

    fn held_back(&self) {
        self.port.held_back();
    }

    fn answered(&self, progress: Progress, answered: &Answered) -> bool {
        self.port.answered(self.work, progress, answered)
    }
}
