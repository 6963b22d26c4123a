//! A lane as its shard keeps it: the cursor, the counts, the phase, and the feed that the lane
//! follows. Changed only by the shard's owner, so that leaving a feed and losing a batch are one
//! step.

use std::ops::Range;
use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::batch::ShardId;
use crate::checkpoint::{Position, Sequence};
use crate::clock::{Instant, Millis};
use crate::engine::deliver::{Acked, DeadLetter};
use crate::engine::encoders::Encoder;
use crate::engine::mutation::{Mutation, on};
use crate::engine::rows::{Place, Rows};
use crate::engine::shared_batch::{SharedBatch, index_after};
use crate::engine::status::{Counts, ErrorReport};
use crate::engine::{EngineError, Order, OutputSpec};
use crate::output::{Output, Trouble};
use crate::pump::{PumpId, PumpRef};
use crate::source::OldestRecord;
use crate::store::{LaneId, OutputId};

use super::feed::FeedId;
use super::gathered::{Gathered, GatheredMemory};
use super::speed::Speed;
use super::{GoalState, MetGap};

/// The phase of a lane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The lanes of the same output in the parent shards have not ended.
    Waiting,
    /// The lane's task asks for batches and delivers them.
    Active(Activity),
    /// The lane goes no further until the output is resumed or replaced.
    Stopped {
        /// The reason, for the user.
        reason: String,
    },
    /// The shard is closed and every record is durable.
    Ended,
}

/// The activity of a lane's task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Activity {
    /// Nothing in hand: the task asks for a batch, or waits for one.
    Idle,
    /// A batch is in hand.
    Delivering,
    /// Nothing in hand: the task waits after a failure.
    BackingOff,
    /// Nothing in hand: the task waits until the output has room.
    HeldBack,
    /// Nothing in hand: the task waits until the accepted records are durable.
    Flushing,
}

/// The place that a lane takes its batches from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attachment {
    /// The lane follows a feed.
    Following {
        /// The feed.
        feed: FeedId,
        /// The number of the lane's next batch there.
        next: u64,
    },
    /// The lane follows no feed.
    Detached {
        /// Since when the lane waits for a feed. `None` while a batch would be of no use: the lane
        /// backs off, is paused, or delivers the batch in hand.
        waiting_since: Option<Instant>,
    },
}

/// A batch that was given to the lane: another first record at the same cursor tells that the
/// records in between were deleted.
#[derive(Debug)]
pub(super) struct Dispatch {
    cursor: Position,
    first_record: Sequence,
}

/// A gap that the lane came to.
#[derive(Debug, PartialEq, Eq)]
struct GapMet {
    /// The position at which the gap starts.
    from: Position,
    /// The lane's cursor.
    cursor: Position,
}

/// Counts of records that a lane has passed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Settled {
    pub(super) durable: u64,
    pub(super) filtered: u64,
    pub(super) dead_lettered: u64,
    /// Bytes of data and keys that were sent.
    pub(super) bytes: u64,
}

impl Settled {
    /// The number of records.
    pub(super) fn records(self) -> u64 {
        self.durable + self.filtered + self.dead_lettered
    }

    fn add(&mut self, other: Self) {
        self.durable += other.durable;
        self.filtered += other.filtered;
        self.dead_lettered += other.dead_lettered;
        self.bytes += other.bytes;
    }
}

/// The content of a lane's row in the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Checkpoint {
    pub(super) position: Position,
    /// The arrival time at the source of the last record before the position.
    pub(super) arrival: Option<Millis>,
}

/// The state of one lane.
pub(super) struct Lane {
    pub(super) output: Arc<dyn Output>,
    pub(super) order: Order,
    pub(super) dead_letter: Option<DeadLetter>,
    pub(super) pump: Option<PumpRef>,
    /// Counts how often the output or the order was replaced: a task compares between two requests.
    pub(super) generation: u64,
    pub(super) phase: Phase,
    /// The user's wish; independent of the phase.
    pub(super) paused: bool,
    /// The cursor before anything was delivered.
    pub(super) start: Position,
    /// The cursor: everything up to here is durable.
    pub(super) position: Position,
    /// The arrival time at the source of the last durable record.
    pub(super) arrived: Option<Millis>,
    /// The position that the store has; `None` if the store has no row.
    pub(super) committed: Option<Position>,
    /// Present if the output is a stateful pump: the place of the pump's newest snapshot in this
    /// shard, or the start of the lane. The row never passes it.
    pub(super) snapshot_at: Option<Checkpoint>,
    /// The settled rows of the record at the cursor, while these are rows of another pump than the
    /// position counts: the pump was replaced in the middle of the record, which is sent whole.
    pub(super) rows_anew: Option<usize>,
    /// A row of the record at the cursor is a dead letter.
    has_dead_row: bool,
    /// The acknowledged records or rows beyond the cursor, while no task has them in hand.
    pub(super) carried: Acked,
    /// The records beyond the cursor that the output has accepted.
    pub(super) gathered: Option<Gathered>,
    pub(super) memory: GatheredMemory,
    pub(super) attachment: Attachment,
    pub(super) counts: Counts,
    /// The last record that was counted as read, if that is beyond the cursor.
    seen: Option<Sequence>,
    pub(super) last_dispatch: Option<Dispatch>,
    last_gap: Option<GapMet>,
    /// The batch that was given to the task last.
    pub(super) hand: Weak<SharedBatch>,
    pub(super) speed: Speed,
    /// True once the lane has everything that was in the shard when the engine started.
    pub(super) caught_up: bool,
    pub(super) last_error: Option<ErrorReport>,
    /// The user's next step while the lane is in trouble.
    pub(super) advice: Option<String>,
    /// Since when every request failed for a reason that only the user can remove.
    pub(super) lasting_since: Option<Instant>,
    /// Wakes the task.
    pub(super) wake: Arc<Notify>,
    /// The task; `None` before the lane starts and after the task broke.
    pub(super) task: Option<tokio::task::AbortHandle>,
}

impl Lane {
    /// A lane of the output of `spec` with its cursor at `position`; `committed`: the store has
    /// that row.
    pub(super) fn new(spec: &OutputSpec, position: Position, committed: bool) -> Self {
        let ended = position == Position::Closed;
        let snapshot_at = spec.output.stateful().map(|_| Checkpoint {
            position: position.clone(),
            arrival: None,
        });
        Self {
            output: Arc::clone(&spec.output),
            order: spec.order,
            dead_letter: spec.dead_letter.clone(),
            pump: spec.pump.clone(),
            generation: 0,
            phase: if ended { Phase::Ended } else { Phase::Waiting },
            paused: spec.paused,
            committed: committed.then(|| position.clone()),
            start: position.clone(),
            snapshot_at,
            position,
            arrived: None,
            has_dead_row: false,
            rows_anew: None,
            carried: Acked::default(),
            gathered: None,
            memory: GatheredMemory::default(),
            attachment: Attachment::Detached {
                waiting_since: None,
            },
            counts: Counts::default(),
            seen: None,
            last_dispatch: None,
            last_gap: None,
            hand: Weak::new(),
            speed: Speed::default(),
            caught_up: ended,
            last_error: None,
            advice: None,
            lasting_since: None,
            wake: Arc::new(Notify::new()),
            task: None,
        }
    }

    /// True if the cursor is the oldest record, whichever that is when the lane reads. The
    /// positions of a stateful pump are its own.
    pub(super) fn is_unpinned(&self) -> bool {
        self.position == Position::TrimHorizon && self.snapshot_at.is_none()
    }

    /// The oldest record, where the lane starts, is the first one after `start`.
    pub(super) fn pin(&mut self, start: &Position) {
        self.position.clone_from(start);
        if let Some(dispatch) = &mut self.last_dispatch {
            dispatch.cursor.clone_from(start);
        }
    }

    /// The lane's encoder.
    pub(super) fn encoder(&self) -> Encoder {
        Encoder::new(&self.output, self.pump.as_ref())
    }

    /// True if the lane may be given batches.
    pub(super) fn runs(&self) -> bool {
        let paused = self.paused && !on(Mutation::PauseIgnored);
        matches!(self.phase, Phase::Active(_)) && !paused
    }

    /// True if the lane has a task that may ask for more.
    pub(super) fn is_live(&self) -> bool {
        self.task.is_some() && self.phase != Phase::Ended
    }

    /// True if the task has a batch in hand.
    pub(super) fn is_delivering(&self) -> bool {
        self.phase == Phase::Active(Activity::Delivering)
    }

    /// True if the task waits after a failure, for room or for a flush: a batch is of no use now.
    pub(super) fn is_backing_off(&self) -> bool {
        matches!(
            self.phase,
            Phase::Active(Activity::BackingOff | Activity::HeldBack | Activity::Flushing)
        )
    }

    /// Notes the activity of the task of a lane that is active.
    pub(super) fn set_activity(&mut self, activity: Activity) {
        if let Phase::Active(now) = &mut self.phase {
            *now = activity;
        }
    }

    /// The task goes no further, for `reason`.
    pub(super) fn stop(&mut self, reason: String) {
        self.phase = Phase::Stopped { reason };
        self.detach();
    }

    /// A stopped lane goes on. A lane whose task broke waits for a new one.
    pub(super) fn resume(&mut self) {
        self.lasting_since = None;
        if matches!(self.phase, Phase::Stopped { .. }) {
            self.phase = match self.task {
                Some(_) => Phase::Active(Activity::Idle),
                None => Phase::Waiting,
            };
        }
    }

    /// Replaces the output and its settings. Records that the old output only accepted are sent to
    /// the new one.
    pub(super) fn replace_output(&mut self, spec: &OutputSpec, shard: &ShardId) {
        self.forget_gathered(shard);
        let old = self.pump.clone();
        self.pump.clone_from(&spec.pump);
        self.count_rows_of(&old);
        self.output = Arc::clone(&spec.output);
        self.order = spec.order;
        self.dead_letter.clone_from(&spec.dead_letter);
        self.paused = spec.paused;
        self.generation += 1;
        self.carried = Acked::default();
        self.advice = None;
        self.resume();
    }

    /// Rows of `pump` were counted. If the lane has another pump by now, the record at the cursor
    /// is sent whole.
    pub(super) fn count_rows_of(&mut self, pump: &Option<PumpRef>) {
        if pump_id(pump) != pump_id(&self.pump) {
            let is_partly = matches!(self.position, Position::After { sub: Some(_), .. });
            self.rows_anew = is_partly.then_some(0);
        }
    }

    /// The lane's row in the store: the place of the snapshot at a stateful pump, else the cursor.
    pub(super) fn checkpoint(&self) -> Checkpoint {
        if let Some(snapshot_at) = &self.snapshot_at
            && !on(Mutation::SnapshotWithoutPositions)
        {
            return snapshot_at.clone();
        }
        let position = match &self.seen {
            Some(seen) if on(Mutation::CheckpointEarly) => Position::after(seen.as_str()),
            Some(_) | None if on(Mutation::CheckpointAccepted) => self.sent().clone(),
            Some(_) | None => self.position.clone(),
        };
        Checkpoint {
            position,
            arrival: self.arrived,
        }
    }

    /// True if nothing of the shard has to be read again after a crash: at a stateful pump only
    /// once the end is part of a committed snapshot.
    pub(super) fn is_over(&self) -> bool {
        let is_committed = self.committed == Some(Position::Closed);
        self.phase == Phase::Ended && (self.snapshot_at.is_none() || is_committed)
    }

    /// The number of the lane's next batch in `feed`, if the lane follows that one.
    pub(super) fn next_in(&self, feed: FeedId) -> Option<u64> {
        match self.attachment {
            Attachment::Following { feed: of, next } if of == feed => Some(next),
            Attachment::Following { .. } | Attachment::Detached { .. } => None,
        }
    }

    /// The feed that the lane follows.
    pub(super) fn followed(&self) -> Option<FeedId> {
        match self.attachment {
            Attachment::Following { feed, .. } => Some(feed),
            Attachment::Detached { .. } => None,
        }
    }

    /// Since when the lane waits for a feed.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        match self.attachment {
            Attachment::Detached { waiting_since } if self.runs() => waiting_since,
            Attachment::Following { .. } | Attachment::Detached { .. } => None,
        }
    }

    /// True if the lane follows no feed though it could.
    pub(super) fn is_detached(&self) -> bool {
        self.runs() && self.followed().is_none()
    }

    /// Leaves the feed. A batch in hand stays in hand.
    pub(super) fn detach(&mut self) {
        self.attachment = Attachment::Detached {
            waiting_since: None,
        };
    }

    /// Counts the records of `batch` from `from` on as read, except the records that were counted
    /// before.
    pub(super) fn count_read(&mut self, batch: &SharedBatch, from: usize) {
        let unseen = match &self.seen {
            Some(seen) if !on(Mutation::CountTwice) => {
                index_after(&batch.batch, seen.as_str()).max(from)
            }
            Some(_) | None => from,
        };
        let new = batch.batch.len().saturating_sub(unseen) as u64;
        if new > 0 {
            self.counts.read += new;
            self.counts.in_flight += new;
            self.seen = Some(Sequence::new(batch.last()));
        }
    }

    /// Moves the sent cursor past the records `[from, to)` of `batch`: each of them is
    /// acknowledged.
    pub(super) fn advance(&mut self, batch: &SharedBatch, from: usize, to: usize) {
        if to <= from {
            return;
        }
        let bytes: usize = (from..to).map(|i| batch.batch.size(i)).sum();
        let settled = Settled {
            durable: (to - from) as u64,
            bytes: bytes as u64,
            ..Settled::default()
        };
        self.pass(batch, from..to, settled);
    }

    /// Moves the cursor past one record that is durable as a dead letter.
    pub(super) fn pass_dead_letter(&mut self, batch: &SharedBatch, record: usize) {
        let settled = Settled {
            dead_lettered: 1,
            ..Settled::default()
        };
        self.pass(batch, record..record + 1, settled);
    }

    /// Moves the sent cursor to where the rows `[0, through)` are settled, of which those from
    /// `from` on are acknowledged now.
    pub(super) fn advance_rows(&mut self, batch: &SharedBatch, rows: &Rows, acked: Range<usize>) {
        let bytes = acked.clone().map(|row| rows.batch().size(row));
        let bytes = bytes.sum::<usize>() as u64;
        self.pass_rows(batch, rows, acked.end, bytes);
    }

    /// Moves the cursor past one row that is durable as a dead letter.
    pub(super) fn pass_dead_row(&mut self, batch: &SharedBatch, rows: &Rows, row: usize) {
        self.has_dead_row = true;
        self.pass_rows(batch, rows, row + 1, 0);
    }

    /// Moves the sent cursor to where the rows `[0, through)` are settled; `bytes` of them were
    /// sent. A record without rows counts as filtered, and a record with a row among the dead
    /// letters as one of these.
    fn pass_rows(&mut self, batch: &SharedBatch, rows: &Rows, through: usize, bytes: u64) {
        let place = place_of(batch, rows, through);
        let from = batch.first_after(self.sent());
        let mut settled = Settled {
            bytes,
            ..Settled::default()
        };
        if place.records > from {
            let passed = from..place.records;
            settled.add(self.settled_records(rows, passed.clone()));
            self.pass(batch, passed, settled);
            settled = Settled::default();
        }

        if let Some(anew) = &mut self.rows_anew {
            *anew = place.rows;
            return;
        }
        if place.rows > 0
            && let Some(position) = place.position(&batch.batch)
        {
            let arrived = self.sent_arrival();
            self.settle(settled, position, arrived);
        }
    }

    /// The counts of the records of `range`, whose rows are all settled.
    fn settled_records(&mut self, rows: &Rows, range: Range<usize>) -> Settled {
        let with_rows = rows.records_with_rows(range.start, range.end);
        let dead = usize::from(std::mem::take(&mut self.has_dead_row));
        Settled {
            durable: with_rows.saturating_sub(dead) as u64,
            filtered: (range.len() - with_rows) as u64,
            dead_lettered: dead as u64,
            bytes: 0,
        }
    }

    /// Moves the sent cursor past the records of `range`.
    fn pass(&mut self, batch: &SharedBatch, range: Range<usize>, settled: Settled) {
        if let Some(gathered) = &mut self.gathered {
            let first = batch.batch.record(range.start).arrival;
            gathered.first_arrival.get_or_insert(first);
        }
        self.rows_anew = None;
        let last = range.end - 1;
        let arrival = batch.batch.record(last).arrival;
        self.settle(settled, batch.batch.after(last), Some(arrival));
    }

    /// Moves the sent cursor to `position`, and counts the records before it. Without accepted
    /// records the sent cursor is the durable one.
    pub(super) fn settle(&mut self, settled: Settled, position: Position, arrived: Option<Millis>) {
        if let Some(gathered) = &mut self.gathered {
            gathered.settled.add(settled);
            gathered.position = position;
            gathered.arrived = arrived;
            return;
        }

        self.count_settled(settled);
        self.position = position;
        self.arrived = arrived;
        let is_cursor = |seen: &Sequence| self.position == Position::after(seen.as_str());
        if self.seen.as_ref().is_some_and(is_cursor) {
            self.seen = None;
        }
    }

    fn count_settled(&mut self, settled: Settled) {
        let counts = &mut self.counts;
        counts.durable += settled.durable;
        if !on(Mutation::FilteredNotCounted) {
            counts.filtered += settled.filtered;
        }
        counts.dead_lettered += settled.dead_lettered;
        counts.bytes += settled.bytes;
        counts.in_flight = counts.in_flight.saturating_sub(settled.records());
    }

    /// The arrival time of the last record before the sent cursor.
    fn sent_arrival(&self) -> Option<Millis> {
        let gathered = self.gathered.as_ref();
        gathered.map_or(self.arrived, |gathered| gathered.arrived)
    }

    /// The records that were read and not sent are gone from the source: a gap is reported, and
    /// they no longer count as read.
    pub(super) fn lose_in_flight(&mut self) {
        let lost = self.lost_records();
        self.counts.read -= lost;
        self.counts.in_flight -= lost;
        self.seen = match (&self.gathered, self.sent()) {
            (Some(_), Position::After { sequence, .. }) => Some(sequence.clone()),
            _ => None,
        };
        self.last_dispatch = None;
        self.has_dead_row = false;
        self.carried = Acked::default();
    }

    /// The number of records that were read and not sent.
    fn lost_records(&self) -> u64 {
        let unsent = self.unsent();
        match (&self.gathered, self.sent()) {
            // A record of which some rows are accepted is still in flight.
            (Some(_), Position::After { sub: Some(_), .. }) => unsent.saturating_sub(1),
            _ => unsent,
        }
    }

    /// The lane is given a batch whose first record for the lane is `sequence`. False if another
    /// record stood there before, which is gone by now.
    pub(super) fn dispatch(&mut self, sequence: &str) -> bool {
        let before = self.last_dispatch.as_ref();
        let same = before
            .filter(|before| before.cursor == *self.sent())
            .is_none_or(|before| before.first_record.as_str() == sequence);
        if !same {
            self.lose_in_flight();
        }

        self.last_dispatch = Some(Dispatch {
            cursor: self.sent().clone(),
            first_record: Sequence::new(sequence),
        });
        same
    }

    /// The lane comes to a gap that starts at `from`. False if the lane was there already:
    /// everything counted since then lies behind the gap.
    pub(super) fn meet_gap(&mut self, from: &Position) -> bool {
        let gap = GapMet {
            from: from.clone(),
            cursor: self.sent().clone(),
        };
        if self.last_gap.as_ref() == Some(&gap) {
            return false;
        }
        self.lose_in_flight();
        self.last_gap = Some(gap);
        true
    }

    /// A gap that starts at `from`, to be reported.
    pub(super) fn gap(
        &self,
        output: &OutputId,
        from: Position,
        oldest: Option<OldestRecord>,
    ) -> MetGap {
        MetGap {
            output: output.clone(),
            from,
            from_arrival: self.sent_arrival(),
            oldest,
        }
    }

    /// The lane goes on without a gap. If the lane had come to one at this cursor, another reader
    /// still had the records: everything known of records behind the gap counts from a wrong place.
    pub(super) fn meet_no_gap(&mut self) {
        let gap = self.last_gap.take();
        if gap.is_some_and(|gap| gap.cursor == *self.sent()) {
            self.lose_in_flight();
        }
    }

    /// Everything in the closed shard is durable.
    pub(super) fn end(&mut self) {
        self.lose_in_flight();
        self.position = Position::Closed;
        self.phase = Phase::Ended;
        self.caught_up = true;
        self.detach();
    }

    /// Counts a failure and keeps the newest for the status.
    pub(super) fn note_trouble(&mut self, trouble: &Trouble, at: Millis) {
        *self.counts.errors.entry(trouble.kind).or_default() += 1;
        self.last_error = Some(ErrorReport {
            at,
            kind: Some(trouble.kind),
            text: trouble.message.clone(),
        });
    }

    /// The lane's distance from the records that were in the source when the engine started.
    /// `patience`: time for which every request may fail for a reason that only the user can
    /// remove.
    pub(super) fn goal_state(&self, lane: LaneId, now: Instant, patience: Duration) -> GoalState {
        let LaneId { shard, output } = lane;
        if let Phase::Stopped { reason } = &self.phase {
            let reason = reason.clone();
            return GoalState::Blocked(EngineError::OutputStopped {
                output,
                shard,
                reason,
            });
        }
        if self.caught_up {
            return GoalState::Reached;
        }

        let Some(since) = self.lasting_since else {
            return GoalState::Ahead { recheck: None };
        };
        let after = now.since(since);
        if after < patience {
            let recheck = Some(since.plus(patience));
            return GoalState::Ahead { recheck };
        }
        GoalState::Blocked(EngineError::OutputStuck {
            output,
            shard,
            after,
            reason: self.last_error_text(),
        })
    }

    fn last_error_text(&self) -> String {
        let last = self.last_error.as_ref();
        last.map(|error| error.text.clone()).unwrap_or_default()
    }

    /// The lane's distance behind the tip. `server`: the server's time; `at_tip`: the distance of
    /// the feed behind the tip, if the lane has everything of the feed; `next`: the arrival time of
    /// the lane's next record.
    pub(super) fn behind(
        &self,
        server: Option<Millis>,
        at_tip: Option<Duration>,
        next: Option<Millis>,
    ) -> Option<Duration> {
        if self.phase == Phase::Ended {
            return Some(Duration::ZERO);
        }
        // The next record's arrival is exact; the last durable one's is an upper bound.
        at_tip.or_else(|| Some(server?.since(next.or(self.arrived)?)))
    }
}

/// The place at which the rows `[0, through)` are settled.
fn place_of(batch: &SharedBatch, rows: &Rows, through: usize) -> Place {
    let place = rows.place(&batch.batch, through);
    if on(Mutation::CursorPassesOpenRows) && place.rows > 0 {
        return Place {
            records: place.records + 1,
            rows: 0,
        };
    }
    place
}

/// Names the rows that a lane sends.
fn pump_id(pump: &Option<PumpRef>) -> Option<(&PumpId, usize)> {
    pump.as_ref().map(|of| (of.pump.id(), of.stream))
}
