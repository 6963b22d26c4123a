//! The lanes of a shard: added, started, changed and removed; and their checkpoints.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::AbortHandle;

use crate::batch::{Batch, ShardId};
use crate::checkpoint::{Position, Sequence};
use crate::clock::{Instant, Millis};
use crate::engine::budget::Permit;
use crate::engine::deliver::pass::{Held, Progress};
use crate::engine::deliver::{Acked, DeadLetter};
use crate::engine::encoders::Encoders;
use crate::engine::mutation::{Mutation, on};
use crate::engine::rows::{Place as RowPlace, Rows};
use crate::engine::shared_batch::SharedBatch;
use crate::engine::status::{Counts, Gap};
use crate::engine::{EngineError, Order, OutputSpec, lock};
use crate::output::{Output, TroubleKind};
use crate::pump::PumpRef;
use crate::record::Record;
use crate::source::OldestRecord;
use crate::stateful::ShardPosition;
use crate::store::{LaneCheckpoint, LaneId, OutputId};

use super::feed::{Feed, FeedId, JoinLimits};
use super::holding::Holding;
use super::lane::{Activity, Attachment, Checkpoint, Lane, Phase};
use super::{Conditions, End, GoalState, MetGap, Pin, ReadCounts, ShardCell, ShardState};

/// The command to a lane's task.
pub(crate) enum Take {
    /// Deliver this.
    Work(Box<Work>),
    /// Make the accepted records durable.
    Flush(Flush),
    /// Wait to be woken.
    Wait,
    /// End.
    End,
}

/// A flush of a lane's accepted records.
pub(crate) struct Flush {
    pub(crate) output: Arc<dyn Output>,
    pub(crate) generation: u64,
}

/// A batch in a lane's hand.
pub(crate) struct Work {
    pub(crate) batch: Arc<SharedBatch>,
    /// The first record that is not durable.
    from: usize,
    /// The number of that record's rows that are.
    rows_settled: usize,
    pub(crate) acked: Acked,
    pub(crate) output: Arc<dyn Output>,
    pub(crate) order: Order,
    pub(crate) dead_letter: Option<DeadLetter>,
    pub(crate) pump: Option<PumpRef>,
    /// The rows to deliver in place of the records, once the task has them.
    pub(crate) rows: Option<RowsInHand>,
    pub(crate) generation: u64,
    /// The feed that the batch was taken from.
    feed: FeedId,
    /// The number of the batch in the feed's window.
    number: u64,
    /// Batches of the window that were joined.
    count: u64,
}

/// The rows in a lane's hand.
pub(crate) struct RowsInHand {
    pub(crate) rows: Arc<Rows>,
    /// The memory of the rows and of their encodings, where the lane's batch has no room for them.
    pub(crate) own: Option<Permit>,
}

impl Work {
    /// The records or rows to deliver.
    pub(crate) fn batch(&self) -> &Batch {
        match &self.rows {
            Some(RowsInHand { rows, .. }) => rows.batch(),
            None => &self.batch.batch,
        }
    }

    /// The index in [`Work::batch`] of the first record or row that is not durable.
    pub(crate) fn first(&self) -> usize {
        match &self.rows {
            Some(RowsInHand { rows, .. }) => rows.row_after(RowPlace {
                records: self.from,
                rows: self.rows_settled,
            }),
            None => self.from,
        }
    }

    /// The index of a row among the rows of its record; `None` for a record.
    pub(crate) fn sub(&self, i: usize) -> Option<u32> {
        let in_hand = self.rows.as_ref()?;
        Some(in_hand.rows.sub(i))
    }
}

/// The start of a lane.
pub(crate) struct LaneStart {
    pub(crate) position: Position,
    /// The arrival time of the last durable record, as the store has it.
    pub(crate) arrival: Option<Millis>,
    /// The store has this row.
    pub(crate) committed: bool,
}

/// A change to the lanes of one output.
#[derive(Clone, Copy)]
pub(crate) enum LaneChange<'a> {
    /// Nothing is read or written for the output until it is resumed.
    Pause,
    /// A paused or stopped lane goes on.
    Resume,
    /// The output and its settings are replaced; stopped lanes go on.
    Replace(&'a OutputSpec),
}

/// Everything that remains of a shard that is gone.
pub(crate) struct Remains {
    pub(crate) counts: Vec<(OutputId, Counts)>,
    pub(crate) reads: ReadCounts,
    pub(crate) gap_count: u64,
    pub(crate) gaps: Vec<Gap>,
}

impl ShardCell {
    /// Adds a lane.
    pub(crate) fn add_lane(&self, spec: &OutputSpec, start: LaneStart) {
        self.event(|state| {
            let mut lane = Lane::new(spec, start.position, start.committed);
            lane.arrived = start.arrival;
            if let Some(snapshot_at) = &mut lane.snapshot_at {
                snapshot_at.arrival = start.arrival;
            }
            // The end was read before this start: the children are in the map, or will be soon.
            if lane.phase == Phase::Ended && state.end == End::Ahead {
                state.end = End::Read {
                    children: Vec::new(),
                    maps: 0,
                };
            }
            state.pin = Pin::Unasked;
            state.lanes.insert(spec.id.clone(), lane);
        });
    }

    /// Removes a lane and ends its task. False if there was none.
    pub(crate) fn remove_lane(&self, output: &OutputId) -> bool {
        let mut removed = self.event(|state| state.lanes.remove(output));
        if let Some(lane) = &mut removed {
            lane.forget_gathered(&self.id);
        }
        if let Some(task) = removed.as_ref().and_then(|lane| lane.task.as_ref()) {
            task.abort();
        }
        self.wake.notify_one();
        removed.is_some()
    }

    /// The cursor of the lane of `output`.
    pub(crate) fn position(&self, output: &OutputId) -> Option<Position> {
        let state = lock(&self.state);
        let lane = state.lanes.get(output)?;
        Some(lane.position.clone())
    }

    /// True if the cursor of the lane of `output` is at `position`, and the lane has no request
    /// under way.
    pub(crate) fn rests_at(&self, output: &OutputId, position: &Position) -> bool {
        let state = lock(&self.state);
        let Some(lane) = state.lanes.get(output) else {
            return false;
        };
        let works = Phase::Active(Activity::Delivering);
        lane.position == *position && lane.phase != works && lane.gathered.is_none()
    }

    /// Begins the lane of an output again at `position`, without a row. The counts of the lane
    /// before, with nothing in flight.
    pub(crate) fn restart_lane(&self, spec: &OutputSpec, position: &Position) -> Option<Counts> {
        let removed = self.event(|state| state.lanes.remove(&spec.id));
        let start = LaneStart {
            position: position.clone(),
            arrival: None,
            committed: false,
        };
        self.add_lane(spec, start);
        self.event(|state| state.news = true);
        self.wake.notify_one();

        let mut lane = removed?;
        if let Some(task) = &lane.task {
            task.abort();
        }
        lane.forget_gathered(&self.id);
        lane.lose_in_flight();
        Some(lane.counts)
    }

    /// The lane of `output` goes no further, for `reason`.
    pub(crate) fn stop_lane(&self, output: &OutputId, reason: &str) {
        self.event(|state| {
            if let Some(lane) = state.lanes.get_mut(output)
                && lane.phase != Phase::Ended
            {
                lane.stop(reason.to_owned());
                lane.wake.notify_one();
            }
        });
    }

    /// True while the lane of `output` has a batch in hand, or accepted records.
    pub(crate) fn is_delivering(&self, output: &OutputId) -> bool {
        let state = lock(&self.state);
        let lane = state.lanes.get(output);
        lane.is_some_and(|lane| lane.is_delivering() || lane.gathered.is_some())
    }

    /// The kind of the failure that the lane of `output` is in.
    pub(crate) fn last_trouble(&self, output: &OutputId) -> Option<TroubleKind> {
        let state = lock(&self.state);
        let lane = state.lanes.get(output)?;
        lane.advice.as_ref()?;
        lane.last_error.as_ref()?.kind
    }

    /// Changes the lane of `output`, and wakes the lane.
    pub(crate) fn change_lane(&self, output: &OutputId, change: LaneChange<'_>) {
        self.event(|state| {
            let Some(lane) = state.lanes.get_mut(output) else {
                return;
            };
            match change {
                LaneChange::Pause => lane.paused = true,
                LaneChange::Resume => {
                    lane.paused = false;
                    lane.resume();
                }
                LaneChange::Replace(spec) => lane.replace_output(spec, &self.id),
            }
            lane.wake.notify_one();
        });
        self.wake.notify_one();
    }

    /// The task of a lane broke: the lane stops, and has a new task once the output is resumed.
    pub(crate) fn lane_broke(&self, output: &OutputId, message: &str) {
        self.event(|state| {
            if let Some(lane) = state.lanes.get_mut(output) {
                tracing::error!(
                    shard = %self.id,
                    %output,
                    "a lane broke, and stops: {message}"
                );
                lane.task = None;
                lane.stop(format!(
                    "it broke: {message}; this is a bug, please report it"
                ));
            }
        });
        self.wake.notify_one();
    }

    /// Outputs whose lanes wait to be started, if this worker owns the shard.
    pub(crate) fn waiting_lanes(&self) -> Vec<OutputId> {
        let state = lock(&self.state);
        if state.ends_work() {
            return Vec::new();
        }
        let waiting = state
            .lanes
            .iter()
            .filter(|(_, lane)| lane.phase == Phase::Waiting);
        waiting.map(|(output, _)| output.clone()).collect()
    }

    /// Starts the lane of `output` with the task that `spawn` makes. False if the lane does not
    /// wait.
    pub(crate) fn start_lane(
        &self,
        output: &OutputId,
        spawn: impl FnOnce() -> AbortHandle,
    ) -> bool {
        self.event(|state| {
            let lane = state.lanes.get_mut(output);
            let Some(lane) = lane.filter(|lane| lane.phase == Phase::Waiting) else {
                return false;
            };
            lane.phase = Phase::Active(Activity::Idle);
            lane.task = Some(spawn());
            true
        })
    }

    /// True if the lane of `output` has nothing left to do here, for a child's lane to start. Where
    /// another worker may take over, the end must be in the store: a child's progress must never be
    /// there without the end.
    pub(crate) fn has_ended(&self, output: &OutputId) -> bool {
        let state = lock(&self.state);
        let Some(lane) = state.lanes.get(output) else {
            return true;
        };
        let durable = lane.committed == Some(Position::Closed) || !state.is_shared();
        lane.phase == Phase::Ended && durable
    }

    /// Lanes whose position is not in the store, with that position.
    pub(crate) fn uncommitted(&self) -> Vec<LaneCheckpoint> {
        let mut state = lock(&self.state);
        let mut changed = Vec::new();
        // Nothing has happened since the last look, as in most shards of an idle stream.
        if !state.unsaved {
            return changed;
        }

        for (output, lane) in &state.lanes {
            let Checkpoint { position, arrival } = lane.checkpoint();
            if lane.committed.as_ref() == Some(&position) {
                continue;
            }
            changed.push(LaneCheckpoint {
                lane: LaneId {
                    shard: self.id.clone(),
                    output: output.clone(),
                },
                position,
                arrival,
            });
        }
        state.unsaved = !changed.is_empty();
        changed
    }

    /// The store has `position` for the lane of `output`.
    pub(crate) fn committed(&self, output: &OutputId, position: Position) {
        self.event(|state| {
            if let Some(lane) = state.lanes.get_mut(output) {
                // The shard may be over now, and lanes of children may start.
                state.news |= position == Position::Closed;
                lane.committed = Some(position);
            }
        });
    }

    /// The newest snapshot of the stateful pump `output` stands at `at` in this shard.
    pub(crate) fn snapshot_at(&self, output: &OutputId, at: ShardPosition) {
        self.event(|state| {
            let lane = state.lanes.get_mut(output);
            if let Some(place) = lane.and_then(|lane| lane.snapshot_at.as_mut()) {
                *place = Checkpoint {
                    position: at.position,
                    arrival: at.arrival,
                };
            }
        });
    }

    /// True if the store has a row for each lane.
    pub(crate) fn has_rows(&self) -> bool {
        let state = lock(&self.state);
        state.lanes.values().all(|lane| lane.committed.is_some())
    }

    /// The counts and gaps of the shard, for the sums of shards that are gone.
    pub(crate) fn remains(&self) -> Remains {
        let state = lock(&self.state);
        let counts = state.lanes.iter();
        Remains {
            counts: counts
                .map(|(output, lane)| (output.clone(), lane.counts.clone()))
                .collect(),
            reads: state.reads.clone(),
            gap_count: state.gaps.count,
            gaps: state.gaps.recent.clone(),
        }
    }

    /// The goal state of each lane that is not paused; true with the lanes that wait for their
    /// parents' lanes. None of a shard that another worker owns.
    pub(crate) fn goal_states(
        &self,
        now: Instant,
        patience: Duration,
    ) -> Vec<(OutputId, GoalState, bool)> {
        let state = lock(&self.state);
        if matches!(state.holding, Holding::Elsewhere) {
            return Vec::new();
        }

        let mut goals = Vec::new();
        for (output, lane) in &state.lanes {
            if lane.paused {
                continue;
            }
            let id = LaneId {
                shard: self.id.clone(),
                output: output.clone(),
            };
            let goal = state.goal_state(lane, id, now, patience);
            goals.push((output.clone(), goal, lane.phase == Phase::Waiting));
        }
        goals
    }
}

impl ShardState {
    /// [`Lane::goal_state`], with the failures of reading for a lane that has everything that was
    /// read.
    fn goal_state(&self, lane: &Lane, id: LaneId, now: Instant, patience: Duration) -> GoalState {
        let goal = lane.goal_state(id, now, patience);
        let is_ahead = matches!(goal, GoalState::Ahead { .. });
        let Some((since, trouble)) = &self.lasting else {
            return goal;
        };
        if !is_ahead || !self.has_all_that_was_read(lane) {
            return goal;
        }

        if now.since(*since) < patience {
            let recheck = Some(since.plus(patience));
            return GoalState::Ahead { recheck };
        }
        GoalState::Blocked(EngineError::Source {
            doing: "reading a shard",
            source: trouble.clone(),
        })
    }

    fn has_all_that_was_read(&self, lane: &Lane) -> bool {
        if lane.is_delivering() {
            return false;
        }
        match lane.attachment {
            Attachment::Following { feed, next } => {
                self.feed(feed).is_none_or(|feed| next >= feed.next())
            }
            Attachment::Detached { waiting_since } => waiting_since.is_some(),
        }
    }

    /// Reports the end of the shard `id` to `output`, if that is a stateful pump with a lane that
    /// has ended. In one step with the end, so that no child's record comes before.
    pub(super) fn report_end(&self, output: &OutputId, id: &ShardId) {
        let lane = self.lanes.get(output);
        let ended = lane.filter(|lane| lane.phase == Phase::Ended);
        if let Some(pump) = ended.and_then(|lane| lane.output.stateful()) {
            pump.closed(id);
        }
    }

    /// The next batch for the lane of `output`. `conditions` has the shard's share of the budget.
    pub(super) fn take(&mut self, output: &OutputId, conditions: &Conditions<'_>) -> Take {
        let now = conditions.now;
        if let Some(answer) = self.take_nothing(output, now) {
            return answer;
        }

        self.find_feed(output, now);
        let Some((feed, number)) = self.position_in_feed(output, now) else {
            return Take::Wait;
        };
        if self.note_arrival(output, feed, number) == Arrival::BehindFlush {
            return self.flush(output);
        }
        let Some((batch, count)) = self.batch_for(output, feed, number, conditions) else {
            return self.end_of_feed(output, feed, number);
        };
        let place = Place {
            feed,
            number,
            count,
        };
        self.hand_over(output, batch, place, now)
    }

    /// The command to a lane that is not to be given a batch.
    fn take_nothing(&mut self, output: &OutputId, now: Instant) -> Option<Take> {
        let ends = self.ends_work();
        let may_request = self.may_request(now);
        let Some(lane) = self.lanes.get_mut(output) else {
            return Some(Take::End);
        };

        lane.set_activity(Activity::Idle);
        lane.release_unused();
        let rests = ends || !lane.runs();
        if may_request && lane.is_flush_due(rests, now) {
            return Some(lane.flush());
        }
        if ends || lane.phase == Phase::Ended {
            return Some(Take::End);
        }
        if rests || !may_request {
            lane.detach();
            return Some(Take::Wait);
        }
        None
    }

    /// The feed that the lane follows and the number of its next batch. A lane whose feed is gone
    /// waits for another.
    fn position_in_feed(&mut self, output: &OutputId, now: Instant) -> Option<(FeedId, u64)> {
        let Self { lanes, feeds, .. } = self;
        let lane = lanes.get_mut(output)?;
        let Attachment::Following { feed, next } = lane.attachment else {
            return None;
        };
        if feeds.iter().any(|f| f.id == feed) {
            return Some((feed, next));
        }
        lane.attachment = Attachment::Detached {
            waiting_since: Some(now),
        };
        None
    }

    /// Starts a flush of the lane's accepted records.
    fn flush(&mut self, output: &OutputId) -> Take {
        self.lanes.get_mut(output).map_or(Take::End, Lane::flush)
    }

    /// Notes that the lane has come to batch `number` of its feed: the goal, or a gap.
    pub(super) fn note_arrival(&mut self, output: &OutputId, feed: FeedId, number: u64) -> Arrival {
        let Self {
            lanes, feeds, gaps, ..
        } = self;
        let feed = feeds.iter().find(|f| f.id == feed);
        let (Some(lane), Some(feed)) = (lanes.get_mut(output), feed) else {
            return Arrival::Noted;
        };

        let is_at_goal = feed.goal.is_some_and(|goal| number >= goal);
        if !lane.caught_up && is_at_goal {
            if lane.gathered.is_some() {
                return Arrival::BehindFlush;
            }
            lane.caught_up = true;
            self.news = true;
        }
        gaps.met.extend(lane.gap_at(output, feed, number));
        Arrival::Noted
    }

    /// The batch of `number` for the lane, joined with those behind it where they are small.
    fn batch_for(
        &mut self,
        output: &OutputId,
        feed: FeedId,
        number: u64,
        conditions: &Conditions<'_>,
    ) -> Option<(Arc<SharedBatch>, u64)> {
        let limits = self.join_limits(feed, conditions.memory_share);
        let Self { lanes, feeds, .. } = self;
        let feed = feeds.iter_mut().find(|f| f.id == feed)?;
        let encoders = || encoders_like(lanes, output);
        feed.get_joined(number, encoders, conditions.budget, limits)
    }

    /// The size up to which batches of `feed` are joined: the largest request of its lanes'
    /// outputs; each output cuts the joined batch by its own limits.
    fn join_limits(&self, feed: FeedId, memory_share: usize) -> JoinLimits {
        let (mut records, mut bytes) = (0, 0);
        for lane in self.followers(feed) {
            let request = lane.output.profile().request;
            records = records.max(request.entries);
            bytes = bytes.max(request.bytes);
        }
        JoinLimits {
            records,
            bytes,
            // A lane that is stuck keeps the batch in hand. Every lane may be stuck, and there must
            // be room to read for another.
            memory: memory_share / (self.lanes.len() + 3),
        }
    }

    /// The window has no batch for the lane: the end of the shard, or a wait.
    fn end_of_feed(&mut self, output: &OutputId, feed: FeedId, number: u64) -> Take {
        let at_end = self
            .feed(feed)
            .is_some_and(|feed| feed.closed && number == feed.next());
        match self.lanes.get_mut(output) {
            Some(lane) if at_end && lane.gathered.is_some() => lane.flush(),
            Some(lane) if at_end => {
                lane.end();
                Take::End
            }
            Some(_) | None => Take::Wait,
        }
    }

    /// Gives `batch` to the lane's task.
    fn hand_over(
        &mut self,
        output: &OutputId,
        batch: Arc<SharedBatch>,
        place: Place,
        now: Instant,
    ) -> Take {
        let Self { lanes, gaps, .. } = self;
        let Some(lane) = lanes.get_mut(output) else {
            return Take::End;
        };
        let from = lane.first_in(&batch);
        if from < batch.batch.len() {
            let first = batch.batch.record(from);
            let gap = lane.gap_at_dispatch(output, &first);
            gaps.met.extend(gap);
        }

        lane.give(&batch, from, now);
        let work = lane.work(batch, from, place);
        Take::Work(Box::new(work))
    }

    /// Moves the lane's cursor past the part of `work` that is acknowledged, and keeps the
    /// acknowledged records beyond the cursor for the next delivery, from whatever batch.
    pub(super) fn advance(
        &mut self,
        output: &OutputId,
        work: &Work,
        progress: Progress,
        now: Instant,
    ) {
        let Some(lane) = self.lanes.get_mut(output) else {
            return;
        };
        let is_same_output = lane.generation == work.generation;
        if progress.held == Held::UntilFlush {
            // Another output does not hold the records that this one accepted.
            if !is_same_output {
                return;
            }
            lane.gather(now);
        }

        let settled = progress.from..progress.through;
        lane.count_gathered(settled.len(), &progress.accepted);
        lane.pass_settled(work, settled);
        // Another output knows nothing of the records that this one acknowledged.
        lane.carried = if is_same_output {
            progress.acked
        } else {
            Acked::default()
        };
    }

    /// The lane could not start with `work`: what was known of the records beyond the cursor is
    /// kept.
    pub(super) fn put_back(&mut self, output: &OutputId, work: Work) {
        if let Some(lane) = self.lanes.get_mut(output)
            && lane.generation == work.generation
        {
            lane.carried = work.acked;
        }
    }

    /// The lane has delivered all of `work`.
    pub(super) fn finished(&mut self, output: &OutputId, work: &Work, now: Instant) {
        let Some(lane) = self.lanes.get_mut(output) else {
            return;
        };
        lane.speed.finish(now);
        if lane.next_in(work.feed) == Some(work.number) {
            lane.attachment = Attachment::Following {
                feed: work.feed,
                next: work.number + work.count,
            };
        }
    }

    /// True if the lane may go on with `work`: nothing asks for an end, nor for the batch's memory.
    pub(super) fn may_go_on(
        &self,
        output: &OutputId,
        work: &Work,
        pressed: bool,
        now: Instant,
    ) -> bool {
        if self.ends_work() || !self.may_request(now) {
            return false;
        }
        self.lanes.get(output).is_some_and(|lane| {
            let follows = lane.next_in(work.feed) == Some(work.number);
            let wanted = lane.runs() && lane.generation == work.generation;
            wanted && (follows || !pressed) && !lane.must_flush(now)
        })
    }
}

impl Lane {
    /// The gap before the batch `number` of `feed`, which the lane has come to, if it is new.
    fn gap_at(&mut self, output: &OutputId, feed: &Feed, number: u64) -> Option<MetGap> {
        let Some((from, oldest)) = feed.gap_before(number, self.sent()) else {
            if feed.get(number).is_some() {
                self.meet_no_gap();
            }
            return None;
        };

        let is_new = self.meet_gap(from);
        is_new.then(|| self.gap(output, from.clone(), oldest.cloned()))
    }

    /// The first record of `batch` behind the sent cursor.
    fn first_in(&self, batch: &SharedBatch) -> usize {
        let from = batch.first_after(self.sent());
        if on(Mutation::RejoinOneLate) && from > 0 && from < batch.batch.len() {
            return from + 1;
        }
        from - usize::from(on(Mutation::RejoinOneEarly) && from > 0)
    }

    /// The gap before `first`, the lane's next record, if another record stood there before.
    fn gap_at_dispatch(&mut self, output: &OutputId, first: &Record<'_>) -> Option<MetGap> {
        if self.dispatch(first.sequence) {
            return None;
        }
        let oldest = OldestRecord {
            sequence: Sequence::new(first.sequence),
            arrival: first.arrival,
        };
        Some(self.gap(output, self.sent().clone(), Some(oldest)))
    }

    /// Moves the cursor past the acknowledged records or rows of `work`.
    fn pass_settled(&mut self, work: &Work, settled: Range<usize>) {
        match &work.rows {
            Some(RowsInHand { rows, .. }) => self.advance_rows(&work.batch, rows, settled),
            None => self.advance(&work.batch, settled.start, settled.end),
        }
        self.count_rows_of(&work.pump);
    }

    /// True if the lane has accepted records and flushes them now; `rests`: nothing follows.
    fn is_flush_due(&self, rests: bool, now: Instant) -> bool {
        self.gathered.is_some() && (rests || self.must_flush(now))
    }

    /// The task has `batch` in hand, from record `from` on.
    fn give(&mut self, batch: &Arc<SharedBatch>, from: usize, now: Instant) {
        self.count_read(batch, from);
        self.set_activity(Activity::Delivering);
        self.hand = Arc::downgrade(batch);
        self.speed.start(now, batch.batch.allocation());
    }

    /// The delivery of `batch` from record `from` on.
    fn work(&mut self, batch: Arc<SharedBatch>, from: usize, place: Place) -> Work {
        let settled = || batch.rows_settled(from, self.sent());
        let rows_settled = self.rows_anew.unwrap_or_else(settled);
        Work {
            batch,
            from,
            rows_settled,
            acked: std::mem::take(&mut self.carried),
            output: Arc::clone(&self.output),
            order: self.order,
            dead_letter: self.dead_letter.clone(),
            pump: self.pump.clone(),
            rows: None,
            generation: self.generation,
            feed: place.feed,
            number: place.number,
            count: place.count,
        }
    }
}

/// The encoders of the lanes that send the same form as the lane of `output`.
fn encoders_like(lanes: &BTreeMap<OutputId, Lane>, output: &OutputId) -> Encoders {
    let Some(own) = lanes.get(output).map(Lane::encoder) else {
        return Encoders::default();
    };
    let mut alike = Vec::new();
    for lane in lanes.values() {
        let encoder = lane.encoder();
        if lane.runs() && encoder.form == own.form {
            alike.push(encoder);
        }
    }
    alike.into_iter().collect()
}

/// The result of a lane's arrival at a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Noted; the lane takes the batch.
    Noted,
    /// The lane's accepted records have to be durable first.
    BehindFlush,
}

/// The place of a batch in a window.
#[derive(Clone, Copy)]
struct Place {
    feed: FeedId,
    number: u64,
    /// Batches that were joined.
    count: u64,
}
