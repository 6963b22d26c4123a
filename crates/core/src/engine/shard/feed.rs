//! A feed: one reader of a shard, and the window of batches that lanes share. The window is a run
//! of batches without a hole.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::batch::Batch;
use crate::checkpoint::{Position, Sequence};
use crate::clock::{Instant, Millis};
use crate::engine::budget::Budget;
use crate::engine::encoders::Encoders;
use crate::engine::shared_batch::SharedBatch;
use crate::source::OldestRecord;

/// Names a feed within its shard.
pub(crate) type FeedId = u64;

/// One reader of a shard, and the window of its batches: everything in the shard after `floor`, up
/// to `tip`. Batches are numbered from 0.
pub(super) struct Feed {
    pub(super) id: FeedId,
    /// The sequence number with which the shard starts, where known; no record has it.
    start: Option<Sequence>,
    floor: Position,
    tip: Position,
    /// The number of the oldest batch in the window.
    first: u64,
    entries: VecDeque<Arc<SharedBatch>>,
    bytes: usize,
    gaps: VecDeque<GapBefore>,
    /// The reader has come to the end of a closed shard.
    pub(super) closed: bool,
    /// Everything that arrived before this moment has been read.
    complete_until: Option<Millis>,
    /// The number of the first batch behind the records that were in the shard when the engine
    /// started.
    pub(super) goal: Option<u64>,
    /// The distance behind the shard's tip after the last read.
    pub(super) behind: Option<Duration>,
    /// Records of the last read that had any.
    pub(super) last_records: usize,
    /// The moment of the next read, by the feed's own pace.
    pub(super) due: Instant,
    /// Time between two reads while there are no new records.
    pub(super) idle: Duration,
    /// The moment of the last read.
    pub(super) read_at: Instant,
    joined: Option<Joined>,
    /// Time for which lanes that seem slow may still hold up the feed.
    pub(super) grace: Grace,
    /// A read is under way.
    pub(super) reading: bool,
    /// The last read returned more than was reserved: the next one reserves the largest answer.
    pub(super) underestimated: bool,
    /// The reader is replaced after the read under way: the feed's position was made definite.
    pub(super) reopen: bool,
}

/// A stretch that was deleted before it was read.
struct GapBefore {
    /// The number of the batch behind the gap.
    batch: u64,
    /// The position at which the gap starts.
    from: Position,
    /// The first record after the gap, where known.
    oldest: Option<OldestRecord>,
}

/// Several small batches in one, kept while a lane has it in hand.
struct Joined {
    /// The number of the first batch.
    first: u64,
    /// Number of batches.
    count: u64,
    batch: Weak<SharedBatch>,
}

/// The size up to which small batches are joined.
#[derive(Clone, Copy, Debug)]
pub(super) struct JoinLimits {
    /// Records of the joined batch.
    pub(super) records: usize,
    /// Bytes of the joined batch.
    pub(super) bytes: usize,
    /// Bytes of memory, encodings included.
    pub(super) memory: usize,
}

impl JoinLimits {
    /// True if so many records and bytes may be joined; `made`: bytes of rows and encodings.
    fn allow(&self, records: usize, bytes: usize, made: usize) -> bool {
        let memory = bytes.saturating_add(made);
        records <= self.records && bytes <= self.bytes && memory <= self.memory
    }
}

impl Feed {
    pub(super) fn new(
        id: FeedId,
        position: Position,
        start: Option<Sequence>,
        now: Instant,
    ) -> Self {
        Self {
            id,
            start,
            floor: position.clone(),
            tip: position,
            first: 0,
            entries: VecDeque::new(),
            bytes: 0,
            gaps: VecDeque::new(),
            closed: false,
            complete_until: None,
            goal: None,
            behind: None,
            last_records: 0,
            due: now,
            idle: Duration::ZERO,
            read_at: now,
            joined: None,
            grace: Grace::new(now),
            reading: false,
            underestimated: false,
            reopen: false,
        }
    }

    /// The oldest record of the shard, where this feed started, is the first one after `start`.
    pub(super) fn pin(&mut self, start: &Position) {
        for position in [&mut self.floor, &mut self.tip] {
            if *position == Position::TrimHorizon {
                position.clone_from(start);
                self.reopen = true;
            }
        }
    }

    /// The position of the next read.
    pub(super) fn tip(&self) -> &Position {
        &self.tip
    }

    /// The number that the next batch will have.
    pub(super) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Bytes of the budget that the window takes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of the oldest batch in the window, if there is one.
    pub(super) fn oldest(&self) -> Option<u64> {
        (!self.entries.is_empty()).then_some(self.first)
    }

    /// The batch of this number, if the window has it.
    pub(super) fn get(&self, number: u64) -> Option<&Arc<SharedBatch>> {
        let index = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.entries.get(index)
    }

    /// True if the last read found the shard's tip.
    pub(super) fn is_at_tip(&self) -> bool {
        self.behind == Some(Duration::ZERO)
    }

    /// The batch of `number`, or one batch of it and those behind it, and the count of batches in
    /// it. A lane that is slow only for its latency keeps up this way. `encoders`: those of the
    /// lanes with the form of the lane that asks; room is reserved with the joined batch.
    pub(super) fn get_joined(
        &mut self,
        number: u64,
        encoders: impl FnOnce() -> Encoders,
        budget: &Arc<Budget>,
        limits: JoinLimits,
    ) -> Option<(Arc<SharedBatch>, u64)> {
        let first = Arc::clone(self.get(number)?);
        if let Some(joined) = self.joined_before(number) {
            return Some(joined);
        }
        if self.get(number + 1).is_none() {
            return Some((first, 1));
        }

        let encoders = encoders();
        let count = self.count_joined(number, &encoders, limits);
        if count == 1 {
            return Some((first, 1));
        }
        let Some(batch) = self.join(number, count, &encoders, budget) else {
            return Some((first, 1));
        };
        self.joined = Some(Joined {
            first: number,
            count,
            batch: Arc::downgrade(&batch),
        });
        Some((batch, count))
    }

    /// The joined batch from `number` on that another lane has in hand.
    fn joined_before(&self, number: u64) -> Option<(Arc<SharedBatch>, u64)> {
        let joined = self.joined.as_ref()?;
        if joined.first != number {
            return None;
        }
        let batch = joined.batch.upgrade()?;
        Some((batch, joined.count))
    }

    /// The number of batches from `number` on that may be joined: one, if the window has that one.
    fn count_joined(&self, number: u64, encoders: &Encoders, limits: JoinLimits) -> u64 {
        let (mut records, mut bytes) = (0, 0);
        let mut count = 0;
        while let Some(next) = self.get(number + count) {
            records += next.batch.len();
            bytes += next.batch.allocation();
            let made = encoders.memory(records, bytes);
            if count > 0 && !limits.allow(records, bytes, made) {
                break;
            }

            count += 1;
            if self.has_gap_before(number + count) {
                break;
            }
        }
        count
    }

    fn has_gap_before(&self, number: u64) -> bool {
        self.gaps.iter().any(|gap| gap.batch == number)
    }

    /// `count` batches from `number` on in one; `None` without memory for it.
    fn join(
        &self,
        number: u64,
        count: u64,
        encoders: &Encoders,
        budget: &Arc<Budget>,
    ) -> Option<Arc<SharedBatch>> {
        let mut parts = Vec::new();
        let mut records = 0;
        let mut bytes = 0;
        for i in number..number + count {
            let shared = self.get(i)?;
            let batch = &shared.batch;
            records += batch.len();
            bytes += batch.allocation();
            parts.push((batch, 0..batch.len()));
        }

        let made = encoders.memory(records, bytes);
        let all = bytes.saturating_add(made);
        let permit = budget.try_reserve(all)?;
        let joined = Batch::join(&parts)?;
        let shared = SharedBatch::new(joined, encoders, permit);
        Some(Arc::new(shared))
    }

    /// True if `batch` has records that were not read yet.
    pub(super) fn is_ahead(&self, batch: &Batch) -> bool {
        let last = batch
            .len()
            .checked_sub(1)
            .map_or("", |i| batch.record(i).sequence);
        !matches!(
            &self.tip,
            Position::After { sequence, sub: None }
                if Sequence::compare(last, sequence.as_str()).is_le()
        )
    }

    /// Adds the batch of a read.
    pub(super) fn push(&mut self, batch: SharedBatch) {
        self.tip = Position::after(batch.last());
        self.bytes += batch.bytes();
        self.last_records = batch.batch.len();
        batch.set_loose(false);
        self.entries.push_back(Arc::new(batch));
    }

    /// The records behind the tip were deleted before they were read.
    pub(super) fn note_gap(&mut self, oldest: Option<OldestRecord>) {
        let batch = self.next();
        if self.gaps.back().is_none_or(|gap| gap.batch != batch) {
            self.gaps.push_back(GapBefore {
                batch,
                from: self.tip.clone(),
                oldest,
            });
        }
    }

    /// The start of the gap that a lane at `position` passes before batch `number`, and the first
    /// record after the gap.
    pub(super) fn gap_before(
        &self,
        number: u64,
        position: &Position,
    ) -> Option<(&Position, Option<&OldestRecord>)> {
        let gap = self.gaps.iter().find(|gap| gap.batch == number)?;
        // A lane inside the batch is past the gap.
        let before = self
            .get(number)
            .is_none_or(|batch| batch.is_behind(position));
        before.then_some((&gap.from, gap.oldest.as_ref()))
    }

    /// Drops the oldest batch from the window.
    pub(super) fn pop(&mut self) -> Option<Arc<SharedBatch>> {
        let oldest = self.entries.pop_front()?;
        oldest.set_loose(true);
        self.floor = Position::after(oldest.last());
        self.bytes -= oldest.bytes();
        self.first += 1;

        let first = self.first;
        self.gaps.retain(|gap| gap.batch >= first);
        Some(oldest)
    }

    /// Puts `smaller` in the place of the oldest batch: the same records except those that no lane
    /// needs.
    pub(super) fn replace_oldest(&mut self, smaller: SharedBatch, floor: Position) {
        let Some(oldest) = self.entries.front_mut() else {
            return;
        };
        self.bytes = self.bytes + smaller.bytes() - oldest.bytes();
        self.floor = floor;
        // Lanes in this batch have passed the gap, also if its first records are no longer there.
        let first = self.first;
        self.gaps.retain(|gap| gap.batch > first);

        smaller.set_loose(false);
        oldest.set_loose(true);
        *oldest = Arc::new(smaller);
    }

    /// Everything that arrived before `until` has been read; `start` is the moment of the engine's
    /// start.
    pub(super) fn complete(&mut self, until: Millis, start: Millis) {
        self.complete_until = self.complete_until.max(Some(until));
        if until >= start && self.goal.is_none() {
            self.goal = Some(self.next());
        }
    }

    /// True if a lane at `position` finds everything that the lane still needs here: nothing
    /// between `position` and the window is missing. (Records at the window's start that the lane
    /// already has are skipped by sequence number.)
    pub(super) fn covers(&self, position: &Position) -> bool {
        match position {
            Position::Closed => false,
            Position::TrimHorizon => self.floor == Position::TrimHorizon,
            Position::At(at) => self.covers_moment(*at),
            Position::After { .. } => self.covers_after(position),
        }
    }

    /// [`Feed::covers`] for a moment.
    fn covers_moment(&self, at: Millis) -> bool {
        match &self.floor {
            Position::TrimHorizon => self.is_untouched_until(at),
            Position::At(floor) if at == *floor => true,
            // Nothing arrived from the floor up to `complete_until` as long as nothing was read:
            // any moment between the two is the same place.
            Position::At(floor) => at > *floor && self.is_untouched_until(at),
            Position::After { .. } | Position::Closed => false,
        }
    }

    /// True if nothing was read, and nothing arrived before `at`.
    fn is_untouched_until(&self, at: Millis) -> bool {
        let untouched = self.first == 0 && self.entries.is_empty();
        untouched && Some(at) <= self.complete_until
    }

    /// [`Feed::covers`] for a position after a record.
    fn covers_after(&self, position: &Position) -> bool {
        let reaches = self.tip.rank().is_some() && position.rank() <= self.tip.rank();
        if !reaches || !self.starts_before(position) {
            return false;
        }

        // A gap that the lane is inside of: a reader of its own notices it.
        let is_inside = |gap: &GapBefore| {
            let starts_before = gap.from != *position && position.covers(&gap.from);
            starts_before && self.is_open_behind(gap, position)
        };
        !self.gaps.iter().any(is_inside)
    }

    /// True if the window starts at `position`, after a record, or before.
    fn starts_before(&self, position: &Position) -> bool {
        match &self.floor {
            // A reader at the start of the shard does not notice that records behind a lane are
            // gone, as long as none of them was read.
            floor if self.is_start(floor) && floor != position => self.has_record_before(position),
            floor @ Position::After { .. } => floor.rank() <= position.rank(),
            // The place of a moment among sequence numbers is known once a record was read from
            // there; and the record before the oldest one may be gone, which only a reader of its
            // own notices.
            Position::TrimHorizon | Position::At(_) => self.has_record_before(position),
            Position::Closed => false,
        }
    }

    fn is_start(&self, position: &Position) -> bool {
        match position {
            Position::After { sequence, .. } => self.start.as_ref() == Some(sequence),
            Position::TrimHorizon | Position::At(_) | Position::Closed => false,
        }
    }

    /// True if the window's first record stands at `position` or before.
    fn has_record_before(&self, position: &Position) -> bool {
        let Position::After { sequence, .. } = position else {
            return false;
        };
        let Some(oldest) = self.entries.front() else {
            return false;
        };
        let first = oldest.batch.record(0).sequence;
        Sequence::compare(first, sequence.as_str()).is_le()
    }

    /// True if no record behind `gap` is settled at `position`.
    fn is_open_behind(&self, gap: &GapBefore, position: &Position) -> bool {
        let batch = self.get(gap.batch);
        batch.is_none_or(|batch| batch.is_behind(position))
    }

    /// The number of the first batch with records that a lane at `position` needs, for a position
    /// that is covered.
    pub(super) fn locate(&self, position: &Position) -> u64 {
        let Position::After { sequence: s, sub } = position else {
            return self.first;
        };
        let is_passed = |e: &Arc<SharedBatch>| match Sequence::compare(e.last(), s.as_str()) {
            Ordering::Less => true,
            Ordering::Equal => sub.is_none(),
            Ordering::Greater => false,
        };
        self.first + self.entries.partition_point(is_passed) as u64
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.entries.iter().for_each(|batch| batch.set_loose(true));
    }
}

/// Time for which lanes that seem slow may hold up a feed: not long at once, and one hundredth of
/// the time at most. A lane that had a bad moment is through by then; reading its records again
/// would cost more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grace {
    left: Duration,
    at: Instant,
    waiting: bool,
}

impl Grace {
    const MOST: Duration = Duration::from_millis(300);
    const PART: u32 = 100;

    fn new(now: Instant) -> Self {
        Self {
            left: Self::MOST,
            at: now,
            waiting: false,
        }
    }

    fn pass(&mut self, now: Instant) {
        let passed = now.since(self.at);
        self.at = now;
        self.left = if self.waiting {
            self.left.saturating_sub(passed)
        } else {
            (self.left + passed / Self::PART).min(Self::MOST)
        };
    }

    /// The feed has to wait now: the moment until which it may.
    pub(super) fn wait(&mut self, now: Instant) -> Option<Instant> {
        self.pass(now);
        self.waiting = !self.left.is_zero();
        self.waiting.then(|| now.plus(self.left))
    }

    /// The feed waits no more.
    pub(super) fn go_on(&mut self, now: Instant) {
        self.pass(now);
        self.waiting = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::encoders::Encoder;
    use crate::engine::shared_batch::testing::{Five, batch};

    const LIMITS: JoinLimits = JoinLimits {
        records: 5,
        bytes: 1 << 20,
        memory: usize::MAX,
    };

    fn after(s: &str) -> Position {
        Position::after(s)
    }

    #[test]
    fn a_feed_at_the_start_of_a_shard_covers_a_record_once_that_was_read() {
        let mut feed = Feed::new(0, after("5"), Some(Sequence::new("5")), Instant::default());
        feed.complete(Millis(1), Millis(0));
        assert!(feed.covers(&after("5")));
        feed.push(batch(&["8", "9"]));
        assert!(
            !feed.covers(&after("7")),
            "7 may be deleted, and 6 was never read"
        );
        assert!(feed.covers(&after("8")) && feed.covers(&after("9")));
    }

    #[test]
    fn a_window_covers_what_follows_its_floor() {
        let mut feed = Feed::new(0, after("5"), None, Instant::default());
        assert!(feed.covers(&after("5")) && !feed.covers(&after("4")) && !feed.covers(&after("6")));
        feed.push(batch(&["7", "9"]));
        feed.push(batch(&["10", "12"]));
        for (position, place) in [("5", 0), ("6", 0), ("7", 0), ("9", 1), ("11", 1), ("12", 2)] {
            assert!(feed.covers(&after(position)), "{position}");
            assert_eq!(feed.locate(&after(position)), place, "{position}");
        }
        assert!(!feed.covers(&after("13")));
        feed.pop();
        assert!(!feed.covers(&after("7")) && feed.covers(&after("9")));
        assert_eq!(feed.locate(&after("9")), 1);
        assert_eq!((feed.oldest(), feed.next()), (Some(1), 2));
        feed.pop();
        assert!(feed.covers(&after("12")) && !feed.covers(&after("10")));
        assert_eq!((feed.oldest(), feed.next(), feed.bytes()), (None, 2, 0));
    }

    #[test]
    fn a_moment_is_a_place_only_while_nothing_was_read() {
        let mut feed = Feed::new(0, Position::At(Millis(10)), None, Instant::default());
        let at = |ms| Position::At(Millis(ms));
        assert!(
            feed.covers(&at(10)) && !feed.covers(&at(11)) && !feed.covers(&Position::TrimHorizon)
        );
        feed.complete(Millis(20), Millis(15));
        assert_eq!(feed.goal, Some(0));
        assert!(feed.covers(&at(20)) && !feed.covers(&at(21)) && !feed.covers(&at(9)));
        assert!(!feed.covers(&after("3")));
        feed.push(batch(&["3", "4"]));
        assert!(feed.covers(&at(10)) && !feed.covers(&at(20)));
        assert!(feed.covers(&after("3")) && !feed.covers(&after("2")));
    }

    #[test]
    fn grace_is_a_hundredth_of_the_time() {
        let at = |ms| Instant(Duration::from_millis(ms));
        let mut grace = Grace::new(at(0));
        assert_eq!(grace.wait(at(0)), Some(at(300)));
        assert_eq!(grace.wait(at(200)), Some(at(300)));
        assert_eq!(grace.wait(at(300)), None);
        grace.go_on(at(300));
        assert_eq!(grace.wait(at(10_300)), Some(at(10_400)));
        grace.go_on(at(10_350));
        assert_eq!(grace.wait(at(100_000)), Some(at(100_300)));
    }

    #[test]
    fn small_batches_are_joined_once_for_all() {
        let mut feed = Feed::new(0, Position::TrimHorizon, None, Instant::default());
        for sequences in [["1", "2"], ["3", "4"], ["5", "6"], ["7", "8"]] {
            feed.push(batch(&sequences));
        }
        let budget = Budget::new(1 << 20);
        let (joined, count) = feed.get_joined(1, five, &budget, LIMITS).unwrap();
        let sequences: Vec<&str> = joined.batch.iter().map(|r| r.sequence).collect();
        assert_eq!((sequences, count), (vec!["3", "4", "5", "6"], 2));
        let (again, _) = feed.get_joined(1, five, &budget, LIMITS).unwrap();
        assert!(Arc::ptr_eq(&joined, &again));
        drop((joined, again));
        assert_eq!(budget.status().used, 0);
        let tight = JoinLimits {
            memory: 1,
            ..LIMITS
        };
        assert_eq!(
            feed.get_joined(1, five, &budget, tight).unwrap().1,
            1,
            "no room for more"
        );
        assert_eq!(feed.get_joined(3, five, &budget, LIMITS).unwrap().1, 1);
        assert!(feed.get_joined(4, five, &budget, LIMITS).is_none());
    }

    /// Two lanes of the same form.
    fn five() -> Encoders {
        let output: Arc<dyn crate::output::Output> = Arc::new(Five);
        let lane = Encoder::new(&output, None);
        [lane.clone(), lane].into_iter().collect()
    }
}
