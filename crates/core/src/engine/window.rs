//! What lanes share of one reader: a run of batches without a hole, and where they stand in it.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::batch::Batch;
use crate::checkpoint::{Position, Sequence};
use crate::clock::{Instant, Millis};
use crate::output::Output;

use super::budget::{Budget, Pool};
use super::shared_batch::SharedBatch;

/// Names a feed within its shard.
pub(crate) type FeedId = u64;

/// One reader of a shard, and the window of batches that it brought: everything in the shard after `floor`, up to `tip`.
/// Batches are numbered from 0.
pub(crate) struct Feed {
    pub(crate) id: FeedId,
    floor: Position,
    tip: Position,
    first: u64,
    entries: VecDeque<Arc<SharedBatch>>,
    bytes: usize,
    /// Where something was deleted before it was read: the number of the batch behind it, and from where on.
    gaps: VecDeque<(u64, Position)>,
    /// It has come to the end of a closed shard.
    pub(crate) closed: bool,
    /// Everything that arrived before this moment has been read.
    complete_until: Option<Millis>,
    /// The number of the first batch behind what was in the shard when the engine started.
    pub(crate) goal: Option<u64>,
    /// How far it was behind the shard's tip after its last read.
    pub(crate) behind: Option<Duration>,
    /// Records that its last read brought, if it brought any.
    pub(crate) came: usize,
    /// When it may read again, by its own pace.
    pub(crate) due: Instant,
    /// Time between its reads while they bring nothing.
    pub(crate) idle: Duration,
    /// When it read last.
    pub(crate) read_at: Instant,
    /// Small batches in one, for lanes that find several waiting: from which on, how many, and what.
    joined: Option<(u64, u64, Weak<SharedBatch>)>,
    /// How long it may still be held up by lanes that seem slow.
    pub(crate) grace: Grace,
    /// A read is under way.
    pub(crate) reading: bool,
    /// The next read reserves the most that an answer can have: the last one brought more than was reserved.
    pub(crate) underestimated: bool,
}

impl Feed {
    pub(crate) fn new(id: FeedId, position: Position, now: Instant) -> Self {
        Self {
            id,
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
            came: 0,
            due: now,
            idle: Duration::ZERO,
            read_at: now,
            joined: None,
            grace: Grace::new(now),
            reading: false,
            underestimated: false,
        }
    }

    /// Where it reads next.
    pub(crate) fn tip(&self) -> &Position {
        &self.tip
    }

    /// The number that the next batch will have.
    pub(crate) fn next(&self) -> u64 {
        self.first + self.entries.len() as u64
    }

    /// Bytes of the budget that its window takes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of the oldest batch in the window, if there is one.
    pub(crate) fn oldest(&self) -> Option<u64> {
        (!self.entries.is_empty()).then_some(self.first)
    }

    /// The batch with this number, if it is in the window.
    pub(crate) fn get(&self, no: u64) -> Option<&Arc<SharedBatch>> {
        self.entries
            .get(usize::try_from(no.checked_sub(self.first)?).ok()?)
    }

    /// The batch with number `no`, or it and those behind it as one, if they are small enough to go in one request of
    /// `output` and take no more than `most` bytes of the budget; and how many that is. A lane that is slow for its
    /// latency alone keeps up so.
    pub(crate) fn get_joined(
        &mut self,
        no: u64,
        output: &dyn Output,
        budget: &Arc<Budget>,
        most: usize,
    ) -> Option<(Arc<SharedBatch>, u64)> {
        let first = Arc::clone(self.get(no)?);
        if let Some((at, count, joined)) = &self.joined
            && *at == no
            && let Some(joined) = joined.upgrade()
        {
            return Some((joined, *count));
        }
        let limits = output.profile().request;
        let (mut records, mut bytes) = (first.batch.len(), first.batch.allocation());
        let mut count = 1;
        while let Some(next) = self.get(no + count) {
            let with = (records + next.batch.len(), bytes + next.batch.allocation());
            let gap = self.gaps.iter().any(|(behind, _)| *behind == no + count);
            let fits = with.0 <= limits.entries && with.1 <= limits.bytes;
            if !fits || gap || with.1 + output.encoded_bound(with.0, with.1) > most {
                break;
            }
            (records, bytes) = with;
            count += 1;
        }
        if count == 1 {
            return Some((first, 1));
        }
        let parts: Vec<_> = (no..no + count)
            .filter_map(|i| self.get(i))
            .map(|b| (&b.batch, 0..b.batch.len()))
            .collect();
        let key = output.encoding();
        let encoded = output.encoded_bound(records, bytes);
        let Some((permit, joined)) = budget
            .try_reserve(Pool::Read, bytes + encoded)
            .zip(Batch::join(&parts))
        else {
            return Some((first, 1));
        };
        let joined = Arc::new(SharedBatch::new(joined, vec![key], permit));
        self.joined = Some((no, count, Arc::downgrade(&joined)));
        Some((joined, count))
    }

    /// True if `batch` has records that were not read yet.
    pub(crate) fn is_ahead(&self, batch: &Batch) -> bool {
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

    /// Takes what a read brought.
    pub(crate) fn push(&mut self, batch: SharedBatch) {
        self.tip = Position::after(batch.last());
        self.bytes += batch.bytes();
        self.came = batch.batch.len();
        batch.set_loose(false);
        self.entries.push_back(Arc::new(batch));
    }

    /// Notes that what follows the tip was deleted before it was read.
    pub(crate) fn note_gap(&mut self) {
        let behind = self.next();
        if self.gaps.back().is_none_or(|(at, _)| *at != behind) {
            self.gaps.push_back((behind, self.tip.clone()));
        }
    }

    /// Where the gap begins that a lane at `position` passes on its way to batch `no`.
    pub(crate) fn gap_before(&self, no: u64, position: &Position) -> Option<&Position> {
        let (_, from) = self.gaps.iter().find(|(behind, _)| *behind == no)?;
        // Who is in the batch already, is past it.
        let before = self
            .get(no)
            .is_none_or(|batch| batch.first_after(position) == 0);
        before.then_some(from)
    }

    /// Lets the oldest batch go.
    pub(crate) fn pop(&mut self) -> Option<Arc<SharedBatch>> {
        let gone = self.entries.pop_front()?;
        gone.set_loose(true);
        self.floor = Position::after(gone.last());
        self.bytes -= gone.bytes();
        self.first += 1;
        while self
            .gaps
            .front()
            .is_some_and(|(behind, _)| *behind < self.first)
        {
            self.gaps.pop_front();
        }
        Some(gone)
    }

    /// Puts `smaller` in the place of the oldest batch: the same records but for those that no lane needs.
    pub(crate) fn replace_oldest(
        &mut self,
        smaller: SharedBatch,
        floor: Position,
    ) -> Option<Arc<SharedBatch>> {
        let oldest = self.entries.front_mut()?;
        self.bytes = self.bytes + smaller.bytes() - oldest.bytes();
        self.floor = floor;
        // Who is here has passed the gap, also if its first records are no longer there to tell.
        self.gaps.retain(|(behind, _)| *behind > self.first);
        smaller.set_loose(false);
        let replaced = std::mem::replace(oldest, Arc::new(smaller));
        replaced.set_loose(true);
        Some(replaced)
    }

    /// Notes up to which moment everything has been read.
    pub(crate) fn complete(&mut self, until: Millis, start: Millis) {
        self.complete_until = self.complete_until.max(Some(until));
        if until >= start && self.goal.is_none() {
            self.goal = Some(self.next());
        }
    }

    /// True if a lane at `position` finds everything that it still needs here: nothing between `position` and the window
    /// is missing. (Records at the window's beginning that the lane already has are skipped by sequence number.)
    pub(crate) fn covers(&self, position: &Position) -> bool {
        let untouched = self.first == 0 && self.entries.is_empty();
        match (position, &self.floor) {
            (Position::Closed, _) => false,
            (Position::TrimHorizon, floor) => *floor == Position::TrimHorizon,
            (Position::At(at), Position::TrimHorizon) => {
                untouched && Some(*at) <= self.complete_until
            }
            (Position::At(at), Position::At(floor)) => {
                // Nothing arrived from the floor up to `complete_until` as long as nothing was read: any moment
                // between the two is the same place.
                at == floor || (untouched && at > floor && Some(*at) <= self.complete_until)
            }
            (Position::At(_), Position::After { .. } | Position::Closed) => false,
            (Position::After { sequence: s, .. }, floor) => {
                let after_floor = match floor {
                    Position::After { .. } => floor.rank() <= position.rank(),
                    // Where a moment lies among sequence numbers is known once a record was read from there; and what
                    // the oldest record follows may be gone, which a reader of its own would notice.
                    Position::TrimHorizon | Position::At(_) => {
                        self.entries.front().is_some_and(|e| {
                            Sequence::compare(e.batch.record(0).sequence, s.as_str()).is_le()
                        })
                    }
                    Position::Closed => false,
                };
                // Whether something is missing from within a gap on, only the source can say.
                let within = |(behind, from): &(u64, Position)| {
                    from != position
                        && position.covers(from)
                        && self
                            .get(*behind)
                            .is_none_or(|batch| batch.first_after(position) == 0)
                };
                let reaches = self.tip.rank().is_some() && position.rank() <= self.tip.rank();
                after_floor && reaches && !self.gaps.iter().any(within)
            }
        }
    }

    /// The number of the first batch with records that a lane at `position` needs, for a position that is covered.
    pub(crate) fn locate(&self, position: &Position) -> u64 {
        let Position::After { sequence: s, sub } = position else {
            return self.first;
        };
        let passed =
            self.entries
                .partition_point(|e| match Sequence::compare(e.last(), s.as_str()) {
                    Ordering::Less => true,
                    Ordering::Equal => sub.is_none(),
                    Ordering::Greater => false,
                });
        self.first + passed as u64
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.entries.iter().for_each(|batch| batch.set_loose(true));
    }
}

/// How long lanes that seem slow may hold up a feed: not long at once, and one hundredth of the time at most. A lane that
/// had a bad moment is through by then; reading again what it misses would cost more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Grace {
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

    /// The feed has to wait now: until when it may.
    pub(crate) fn wait(&mut self, now: Instant) -> Option<Instant> {
        self.pass(now);
        self.waiting = !self.left.is_zero();
        self.waiting.then(|| now.plus(self.left))
    }

    /// It waits no more.
    pub(crate) fn go_on(&mut self, now: Instant) {
        self.pass(now);
        self.waiting = false;
    }
}

#[cfg(test)]
mod tests {
    use super::super::shared_batch::testing::{Five, batch};
    use super::*;

    fn after(s: &str) -> Position {
        Position::after(s)
    }

    #[test]
    fn a_window_covers_what_follows_its_floor() {
        let mut feed = Feed::new(0, after("5"), Instant::default());
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
        let mut feed = Feed::new(0, Position::At(Millis(10)), Instant::default());
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
        let mut feed = Feed::new(0, Position::TrimHorizon, Instant::default());
        for sequences in [["1", "2"], ["3", "4"], ["5", "6"], ["7", "8"]] {
            feed.push(batch(&sequences));
        }
        let budget = Budget::new(1 << 20);
        let (joined, count) = feed.get_joined(1, &Five, &budget, usize::MAX).unwrap();
        let sequences: Vec<&str> = joined.batch.iter().map(|r| r.sequence).collect();
        assert_eq!((sequences, count), (vec!["3", "4", "5", "6"], 2));
        let (again, _) = feed.get_joined(1, &Five, &budget, usize::MAX).unwrap();
        assert!(Arc::ptr_eq(&joined, &again));
        drop((joined, again));
        assert_eq!(budget.status().used, 0);
        assert_eq!(
            feed.get_joined(1, &Five, &budget, 1).unwrap().1,
            1,
            "no room for more"
        );
        assert_eq!(feed.get_joined(3, &Five, &budget, usize::MAX).unwrap().1, 1);
        assert!(feed.get_joined(4, &Five, &budget, usize::MAX).is_none());
    }
}
