//! The border between a lane's task and its shard: every question that the task may ask, and every
//! event that the task may report. The task touches no state of the shard but through this handle.

use std::sync::Arc;

use tokio::sync::Notify;

use crate::batch::ShardId;
use crate::clock::{Instant, Millis};
use crate::engine::deliver::pass::{Answered, Progress};
use crate::engine::retry::{BackoffClass, policy};
use crate::engine::shared_batch::NoRows;
use crate::engine::{Shared, lock};
use crate::output::{Outcome, Refusal, Trouble, TroubleKind};
use crate::store::OutputId;
use crate::text::chain;

use super::lane::{Activity, Lane};
use super::{Hold, RowsInHand, ShardCell, Take, Work};

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

/// The next step of a waiting task after an event.
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
    pub(crate) async fn changed(&self) {
        let clock = &self.shared.clock;
        if !self.cell.has_lapsed(clock.now()) {
            return self.wake.notified().await;
        }
        // A renewal of the lease wakes no lane.
        let idle = self.shared.settings.idle_poll;
        clock.timeout(idle, self.wake.notified()).await;
    }

    /// Completes when something changed that the task should look at, or when a flush is due.
    pub(crate) async fn woken(&self) {
        match self.flush_at() {
            None => self.changed().await,
            Some(at) => {
                let left = at.since(self.shared.clock.now());
                self.shared.clock.timeout(left, self.changed()).await;
            }
        }
    }

    /// The moment at which the lane flushes at the latest, if the lease allows a request.
    fn flush_at(&self) -> Option<Instant> {
        let state = lock(&self.cell.state);
        let may_request = state.may_request(self.shared.clock.now());
        state
            .lanes
            .get(&self.output)?
            .flush_at()
            .filter(|_| may_request)
    }

    /// The next batch to deliver. A batch that the task had in hand is no longer in hand.
    pub(crate) fn take(&self) -> Take {
        let conditions = self.shared.conditions();
        let taken = self.cell.event(|state| {
            let taken = state.take(&self.output, &conditions);
            if matches!(taken, Take::End) {
                state.report_end(&self.output, &self.cell.id);
            }
            taken
        });

        if matches!(taken, Take::End) {
            self.shared.news.notify_one();
        }
        // The reader may have to read ahead, to drop batches that this lane has passed, or to open
        // a feed for the lane.
        self.cell.wake.notify_one();
        taken
    }

    /// The state of a wait that was interrupted, for a task that last delivered with `generation`
    /// of the output's settings.
    pub(crate) fn wait(&self, generation: u64) -> Wait {
        let state = lock(&self.cell.state);
        match state.lanes.get(&self.output) {
            None => Wait::End,
            Some(_) if state.ends_work() => Wait::End,
            Some(lane) if !lane.runs() || lane.generation != generation => Wait::Over,
            Some(_) => Wait::On,
        }
    }

    /// True while the lease of the shard allows requests.
    pub(crate) fn may_request(&self) -> bool {
        let now = self.shared.clock.now();
        lock(&self.cell.state).may_request(now)
    }

    /// True while the task may start another request with `work`: nothing asks for an end, nor for
    /// the batch's memory.
    pub(crate) fn may_go_on(&self, work: &Work) -> bool {
        let pressed = self.shared.budget.pressed();
        let now = self.shared.clock.now();
        lock(&self.cell.state).may_go_on(&self.output, work, pressed, now)
    }

    /// Moves the lane's cursor.
    pub(crate) fn advance(&self, work: &Work, progress: Progress) {
        let now = self.shared.clock.now();
        self.cell
            .event(|state| state.advance(&self.output, work, progress, now));
    }

    /// Counts a request's answer and moves the lane's cursor. False if the task must let the batch
    /// go.
    pub(crate) fn answered(&self, work: &Work, progress: Progress, answered: &Answered) -> bool {
        if let Some(trouble) = &answered.trouble {
            self.log(trouble);
        }

        let pressed = self.shared.budget.pressed();
        let now = self.shared.clock.now();
        let wall = self.shared.clock.wall();
        self.cell.event(|state| {
            let go_on = state.may_go_on(&self.output, work, pressed, now);
            state.advance(&self.output, work, progress, now);
            let Some(lane) = state.lanes.get_mut(&self.output) else {
                return false;
            };
            let is_news = lane.note_answer(answered, now, wall);
            let must_flush = lane.must_flush(now);
            state.news |= is_news;
            go_on && !must_flush
        })
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

    /// Counts that the output had no room for some of the records.
    pub(crate) fn held_back(&self) {
        self.with_lane(|lane| lane.counts.held_back += 1);
    }

    /// All of `work` is delivered.
    pub(crate) fn finished(&self, work: &Work, progress: Progress) {
        let now: Instant = self.shared.clock.now();
        self.cell.event(|state| {
            state.advance(&self.output, work, progress, now);
            state.finished(&self.output, work, now);
        });
    }

    /// Reserves `bytes` for records that the output is about to accept.
    pub(crate) fn hold(&self, bytes: usize) -> Hold {
        let budget = &self.shared.budget;
        self.cell.event(|state| {
            let lane = state.lanes.get_mut(&self.output);
            lane.map_or(Hold::Granted, |lane| lane.hold(bytes, budget))
        })
    }

    /// Asks for a flush of the lane's accepted records. False if there are none.
    pub(crate) fn ask_for_flush(&self) -> bool {
        self.cell.event(|state| {
            let lane = state.lanes.get_mut(&self.output);
            lane.is_some_and(Lane::ask_for_flush)
        })
    }

    /// Takes the outcome of a flush of the output's `generation`; `trouble`: the failure.
    pub(crate) fn flushed(&self, generation: u64, outcome: &Outcome, trouble: Option<&Trouble>) {
        let now = self.shared.clock.now();
        let wall = self.shared.clock.wall();
        let answered = Answered {
            trouble: trouble.cloned(),
            ..Answered::default()
        };
        self.cell.event(|state| {
            let lane = state.lanes.get_mut(&self.output);
            // Another output does not hold the records that this one made durable.
            let Some(lane) = lane.filter(|lane| lane.generation == generation) else {
                return;
            };
            match trouble {
                None => lane.flushed(),
                Some(_) => lane.flush_failed(outcome),
            }
            state.news |= lane.note_answer(&answered, now, wall);
        });

        if let Some(trouble) = trouble {
            self.log(trouble);
        }
    }

    /// The shard of the lane.
    pub(crate) fn shard(&self) -> &ShardId {
        self.cell.id()
    }

    /// The task has no batch in hand any more.
    pub(crate) fn let_go(&self, reason: LetGo) {
        let activity = match reason {
            LetGo::AskAgain => Activity::Idle,
            LetGo::Retry => Activity::BackingOff,
            LetGo::Room => Activity::HeldBack,
        };
        self.with_lane(|lane| {
            lane.set_activity(activity);
            lane.release_unused();
        });
    }

    /// The record at the lane's cursor is durable as a dead letter: the cursor passes it.
    pub(crate) fn dead_lettered(&self, work: &Work, record: usize, refusal: &Refusal) {
        let sequence = work.batch().record(record).sequence;
        tracing::warn!(
            shard = %self.cell.id,
            output = %self.output,
            %sequence,
            "a record was refused, and is stored as a dead letter: {refusal}"
        );
        self.with_lane(|lane| {
            match &work.rows {
                Some(RowsInHand { rows, .. }) => lane.pass_dead_row(&work.batch, rows, record),
                None => lane.pass_dead_letter(&work.batch, record),
            }
            lane.count_rows_of(&work.pump);
        });
    }

    /// A refused record could not be stored as a dead letter.
    pub(crate) fn dead_letter_failed(&self, trouble: &Trouble) {
        self.log(trouble);
        let wall = self.shared.clock.wall();
        self.with_lane(|lane| {
            lane.note_trouble(trouble, wall);
            lane.advice = Some("fix the dead letter output; the record waits".to_owned());
        });
    }

    /// The output refused the record at `record` for good: the lane stops.
    pub(crate) fn stop(&self, work: &Work, progress: Progress, record: usize, refusal: &Refusal) {
        self.advance(work, progress);
        let sequence = work.batch().record(record).sequence;
        self.stop_lane(format!("record {sequence} was refused: {refusal}"));
    }

    /// The lane has no rows to deliver: the lane stops.
    pub(crate) fn stop_without_rows(&self, work: Work, reason: &NoRows) {
        self.put_back(work);
        let reason = chain(reason);
        self.stop_lane(format!(
            "{reason}; correct the pump, then resume the output"
        ));
    }

    /// The task could not start with `work`.
    pub(crate) fn put_back(&self, work: Work) {
        self.cell.event(|state| state.put_back(&self.output, work));
    }

    fn stop_lane(&self, reason: String) {
        tracing::error!(
            shard = %self.cell.id,
            output = %self.output,
            "{reason}; this lane stops, the others go on"
        );
        self.cell.event(|state| {
            if let Some(lane) = state.lanes.get_mut(&self.output) {
                lane.stop(reason);
            }
            state.news = true;
        });
    }

    fn with_lane(&self, change: impl FnOnce(&mut Lane)) {
        self.cell.event(|state| {
            if let Some(lane) = state.lanes.get_mut(&self.output) {
                change(lane);
            }
        });
    }
}

impl Lane {
    fn count(&mut self, answered: &Answered) {
        self.counts.requests += 1;
        self.counts.order_limited += u64::from(answered.order_limited);
        self.counts.repeats += answered.repeats as u64;
        self.counts.retries += u64::from(answered.is_retry);
    }

    /// Counts a request, and keeps the failure, if there was one. True if the supervisor should
    /// look at the shard.
    fn note_answer(&mut self, answered: &Answered, now: Instant, wall: Millis) -> bool {
        self.count(answered);
        let is_news = self.note_lasting(answered, now);
        self.note_failure(answered, wall);
        is_news
    }

    /// Keeps the failure, if there was one, and the advice for the user.
    fn note_failure(&mut self, answered: &Answered, wall: Millis) {
        let trouble = answered.trouble.as_ref();
        let advice = trouble.and_then(|trouble| policy(trouble.kind).advice);
        self.advice = advice.map(str::to_owned);
        if let Some(trouble) = trouble {
            self.note_trouble(trouble, wall);
        }
    }

    /// Notes since when every request fails for a reason that only the user can remove. True if
    /// that is new.
    fn note_lasting(&mut self, answered: &Answered, now: Instant) -> bool {
        let class = answered.trouble.as_ref().map(|t| policy(t.kind).class);
        if class.is_none() && self.gathered.is_some() {
            // Only a flush tells whether the output takes anything.
            return false;
        }
        if class != Some(BackoffClass::Lasting) || answered.failed != answered.sent {
            self.lasting_since = None;
            return false;
        }
        let is_new = self.lasting_since.is_none();
        self.lasting_since.get_or_insert(now);
        is_new
    }
}
