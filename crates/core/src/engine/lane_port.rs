//! The border between a lane's task and its shard: every question that the task may ask, and every
//! event that the task may report. The task touches no state of the shard but through this handle.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::clock::Instant;
use crate::output::{Refusal, Trouble, TroubleKind};
use crate::store::OutputId;

use super::deliver::pass::{Answered, Progress};
use super::retry::{BackoffClass, policy};
use super::shard::{ShardCell, Take, Work};
use super::slot::Slot;
use super::{Shared, lock};

/// A lane's task as its shard knows the task.
pub(crate) struct LanePort {
    shared: Arc<Shared>,
    cell: Arc<ShardCell>,
    output: OutputId,
    wake: Arc<Notify>,
}

/// The reason why a lane's task has no batch in hand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LetGo {
    /// The task asks for the next batch at once.
    AskAgain,
    /// The task waits after a failure.
    Retry,
    /// The task waits until the output has room.
    Room,
}

/// What a task that waits is to do after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Wait on: nothing changed for this lane.
    On,
    /// Ask for the next batch: the lane is paused, or its output was replaced.
    Over,
    /// End.
    End,
}

impl LanePort {
    /// The handle of the lane of `output`; `None` if the shard has no such lane.
    pub(crate) fn new(shared: Arc<Shared>, cell: Arc<ShardCell>, output: OutputId) -> Option<Self> {
        let wake = Arc::clone(&lock(&cell.state).lanes.get(&output)?.wake);
        Some(Self {
            shared,
            cell,
            output,
            wake,
        })
    }

    /// Completes when something changed that the task should look at.
    pub(crate) async fn woken(&self) {
        self.wake.notified().await;
    }

    /// The next batch to deliver. Whatever the task had in hand is no longer in hand.
    pub(crate) fn take(&self) -> Take {
        let (now, share) = (self.shared.clock.now(), self.shared.share());
        let (taken, news) = {
            let mut state = lock(&self.cell.state);
            (
                state.take(&self.output, now, &self.shared.budget, share),
                std::mem::take(&mut state.news),
            )
        };

        if news || matches!(taken, Take::End) {
            self.shared.news.notify_one();
        }
        // The reader may have to read ahead, to drop batches that this lane has passed, or to open a
        // feed for the lane.
        self.cell.wake.notify_one();
        taken
    }

    /// The state of a wait that was interrupted, for a task that last delivered with `generation` of
    /// the output's settings.
    pub(crate) fn wait(&self, generation: u64) -> Wait {
        let state = lock(&self.cell.state);
        match state.lanes.get(&self.output) {
            None => Wait::End,
            Some(_) if state.draining => Wait::End,
            Some(lane) if !lane.runs() || lane.generation != generation => Wait::Over,
            Some(_) => Wait::On,
        }
    }

    /// True while the task may start another request with `work`: nothing asks for an end, nor for
    /// the batch's memory.
    pub(crate) fn may_go_on(&self, work: &Work) -> bool {
        lock(&self.cell.state).may_go_on(&self.output, work, &self.shared.budget)
    }

    /// Moves the lane's cursor.
    pub(crate) fn advance(&self, work: &Work, progress: Progress) {
        lock(&self.cell.state).advance(&self.output, work, progress);
    }

    /// Counts a request's answer and moves the lane's cursor. False if the task must let the batch
    /// go.
    pub(crate) fn answered(&self, work: &Work, progress: Progress, answered: &Answered) -> bool {
        let wall = self.shared.clock.wall();
        let mut state = lock(&self.cell.state);
        let go_on = state.may_go_on(&self.output, work, &self.shared.budget);
        state.advance(&self.output, work, progress);
        let Some(lane) = state.lanes.get_mut(&self.output) else {
            return false;
        };

        lane.counts.requests += 1;
        lane.counts.order_limited += u64::from(answered.order_limited);
        lane.counts.repeats += answered.repeats as u64;
        lane.counts.retries += u64::from(answered.is_retry);
        self.note_lasting(lane, answered);
        match &answered.trouble {
            None => lane.advice = None,
            Some(trouble) => {
                self.log(trouble);
                lane.advice = policy(trouble.kind).advice.map(str::to_owned);
                lane.trouble(trouble, wall);
            }
        }
        go_on
    }

    /// Throttling is counted in metrics only.
    fn log(&self, trouble: &Trouble) {
        let reported = trouble.kind != TroubleKind::Throttled;
        if reported && self.shared.is_news(Some(&self.output), trouble.kind) {
            tracing::warn!(
                shard = %self.cell.id,
                output = %self.output,
                "a write failed, and is tried again: {trouble}"
            );
        }
    }

    /// Notes since when every request fails for a reason that only the user can remove.
    fn note_lasting(&self, lane: &mut Slot, answered: &Answered) {
        let class = answered.trouble.as_ref().map(|t| policy(t.kind).class);
        if class != Some(BackoffClass::Lasting) || answered.failed != answered.sent {
            lane.lasting = None;
        } else if lane.lasting.is_none() {
            lane.lasting = Some(self.shared.clock.now());
            self.shared.news.notify_one();
        }
    }

    /// Counts that the output had no room for some of the records.
    pub(crate) fn held_back(&self) {
        if let Some(lane) = lock(&self.cell.state).lanes.get_mut(&self.output) {
            lane.counts.held_back += 1;
        }
    }

    /// All of `work` is delivered.
    pub(crate) fn finished(&self, work: &Work, progress: Progress) {
        let now: Instant = self.shared.clock.now();
        let mut state = lock(&self.cell.state);
        state.advance(&self.output, work, progress);
        state.finished(&self.output, work, now);
    }

    /// The task has no batch in hand any more.
    pub(crate) fn let_go(&self, reason: LetGo) {
        if let Some(lane) = lock(&self.cell.state).lanes.get_mut(&self.output) {
            lane.working = false;
            lane.backing_off = reason != LetGo::AskAgain;
            lane.held_back = reason == LetGo::Room;
        }
    }

    /// The output refused the record at `record` for good: the lane stops.
    pub(crate) fn stop(&self, work: &Work, progress: Progress, record: usize, refusal: &Refusal) {
        let sequence = work.batch.batch.record(record).sequence;
        let reason = format!("record {sequence} was refused: {refusal}");
        tracing::error!(
            shard = %self.cell.id,
            output = %self.output,
            "{reason}; this lane stops, the others go on"
        );

        let mut state = lock(&self.cell.state);
        state.advance(&self.output, work, progress);
        if let Some(lane) = state.lanes.get_mut(&self.output) {
            lane.stopped = Some(reason);
            lane.working = false;
            lane.leave();
        }
        drop(state);
        self.shared.news.notify_one();
    }
}
