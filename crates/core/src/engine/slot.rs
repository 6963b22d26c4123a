//! A lane's place in its shard: its cursor, what it has counted, and which feed it follows. Changed only under the
//! shard's lock, so that leaving a window and losing a batch are one step.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use crate::checkpoint::{Position, Sequence};
use crate::clock::{Instant, Millis};
use crate::output::{Output, Trouble};
use crate::store::LaneId;

use super::deliver::Acked;
use super::mutation::{Mutation, on};
use super::shared_batch::{SharedBatch, index_after};
use super::status::{Counts, ErrorReport};
use super::window::FeedId;
use super::world::Way;
use super::{EngineError, Order};

/// How far a lane's life is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// Its parents' lanes are not done.
    Waiting,
    /// It has a task.
    Live,
    /// Its shard is closed and everything in it durable.
    Done,
}

/// Where a lane gets its batches from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It follows a feed; its next batch is number `no`.
    In {
        /// Which feed.
        feed: FeedId,
        /// Its next batch.
        no: u64,
    },
    /// It follows none. If it wants one, since when.
    Away {
        /// `None` while it could do nothing with a batch (it backs off, is paused, or finishes what it has).
        wants: Option<Instant>,
    },
}

/// How fast a lane delivers what it is given.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Speed {
    /// What it took lately.
    pub(crate) nanos_per_kib: Option<u64>,
    /// What it has in hand: since when, and how many KiB.
    begun: Option<(Instant, u64)>,
}

impl Speed {
    /// A lane that takes this many times what others do is slow.
    const SLOW: u64 = 3;
    /// And this much longer: small batches say little.
    const SLACK: Duration = Duration::from_millis(500);

    /// It was given a batch of `bytes`.
    pub(crate) fn begin(&mut self, now: Instant, bytes: usize) {
        self.begun = Some((now, (bytes as u64).div_ceil(1024).max(1)));
    }

    /// It has delivered that.
    pub(crate) fn end(&mut self, now: Instant) {
        let Some((begun, kib)) = self.begun.take() else {
            return;
        };
        let took = u64::try_from(now.since(begun).as_nanos()).unwrap_or(u64::MAX) / kib;
        self.nanos_per_kib = Some(
            self.nanos_per_kib
                .map_or(took, |before| before - before / 8 + took / 8),
        );
    }

    /// True if what it has in hand takes long, whatever others take.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        self.begun
            .is_some_and(|(begun, _)| now.since(begun) > Self::SLACK)
    }

    /// From when on it counts as slow, where others take `usual` nanoseconds a KiB; `None` if it is slow already.
    pub(crate) fn slow_at(&self, usual: Option<u64>) -> Option<Instant> {
        let limit = usual.map(|usual| usual.saturating_mul(Self::SLOW));
        if self
            .nanos_per_kib
            .zip(limit)
            .is_some_and(|(own, limit)| own > limit)
        {
            return None;
        }
        // While nothing is known, the slack is all there is.
        let expected = |kib: u64| Duration::from_nanos(limit.unwrap_or(0).saturating_mul(kib));
        // A lane that was given nothing yet is not slow.
        Some(self.begun.map_or(Instant(Duration::MAX), |(begun, kib)| {
            begun.plus(expected(kib)).plus(Self::SLACK)
        }))
    }
}

/// One lane.
pub(crate) struct Slot {
    pub(crate) output: Arc<dyn Output>,
    pub(crate) order: Order,
    /// Changes when the output or its order is replaced: a task notices between two requests.
    pub(crate) generation: u64,
    pub(crate) life: Life,
    pub(crate) paused: bool,
    pub(crate) stopped: Option<String>,
    pub(crate) position: Position,
    /// What the store says; `None` if it says nothing.
    pub(crate) committed: Option<Position>,
    /// What is acknowledged beyond `position`, while no task has it in hand.
    pub(crate) carried: Acked,
    pub(crate) place: Place,
    pub(crate) counts: Counts,
    /// The last record counted as read, if it lies beyond `position`.
    seen: Option<Sequence>,
    /// Where it was when it was given a batch last, and the record that it was given first: when it is given another one
    /// in the same place, those before that one are gone.
    first: Option<(Position, Sequence)>,
    /// It waits after a failure, or for room.
    pub(crate) backing_off: bool,
    /// It waits for room.
    pub(crate) held_back: bool,
    /// A task has a batch in hand.
    pub(crate) working: bool,
    /// That, or the one before.
    pub(crate) hand: Weak<SharedBatch>,
    pub(crate) speed: Speed,
    /// When the last record that is durable arrived at the source.
    pub(crate) arrived: Option<Millis>,
    pub(crate) caught_up: bool,
    pub(crate) last_error: Option<ErrorReport>,
    /// What the user should do about the trouble that the lane is in.
    pub(crate) advice: Option<String>,
    /// Since when it had nothing but trouble that somebody has to mend.
    pub(crate) lasting: Option<Instant>,
    /// The gap that it came to last: where it begins, and where the lane was.
    gap_at: Option<(Position, Position)>,
    pub(crate) wake: Arc<Notify>,
    /// Ends its task.
    pub(crate) task: Option<tokio::task::AbortHandle>,
}

impl Slot {
    pub(crate) fn new(
        output: Arc<dyn Output>,
        order: Order,
        paused: bool,
        position: Position,
    ) -> Self {
        let done = position == Position::Closed;
        Self {
            output,
            order,
            generation: 0,
            life: if done { Life::Done } else { Life::Waiting },
            paused,
            stopped: None,
            position,
            committed: None,
            carried: Acked::default(),
            place: Place::Away { wants: None },
            counts: Counts::default(),
            seen: None,
            first: None,
            backing_off: false,
            held_back: false,
            working: false,
            hand: Weak::new(),
            speed: Speed::default(),
            arrived: None,
            caught_up: done,
            last_error: None,
            advice: None,
            lasting: None,
            gap_at: None,
            wake: Arc::new(Notify::new()),
            task: None,
        }
    }

    /// True if it may be given batches.
    pub(crate) fn runs(&self) -> bool {
        self.life == Life::Live
            && (!self.paused || on(Mutation::PauseIgnored))
            && self.stopped.is_none()
    }

    /// What its checkpoint is to say.
    pub(crate) fn checkpoint(&self) -> Position {
        match &self.seen {
            Some(seen) if on(Mutation::CheckpointEarly) => Position::after(seen.as_str()),
            Some(_) | None => self.position.clone(),
        }
    }

    /// The number of its next batch in `feed`, if it follows that one.
    pub(crate) fn no_in(&self, feed: FeedId) -> Option<u64> {
        match self.place {
            Place::In { feed: of, no } if of == feed => Some(no),
            Place::In { .. } | Place::Away { .. } => None,
        }
    }

    /// Since when it waits for a feed.
    pub(crate) fn wants(&self) -> Option<Instant> {
        match self.place {
            Place::Away { wants } if self.runs() => wants,
            Place::In { .. } | Place::Away { .. } => None,
        }
    }

    /// True if it follows no feed though it could.
    pub(crate) fn is_away(&self) -> bool {
        self.runs() && matches!(self.place, Place::Away { .. })
    }

    /// Leaves its feed. A batch in hand stays in hand.
    pub(crate) fn leave(&mut self) {
        self.place = Place::Away { wants: None };
    }

    /// Counts the records of `batch` from `from` on as read, unless they were.
    pub(crate) fn count_read(&mut self, batch: &SharedBatch, from: usize) {
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

    /// Moves the cursor past the records `[from, to)` of `batch`: each of them is acknowledged.
    pub(crate) fn advance(&mut self, batch: &SharedBatch, from: usize, to: usize) {
        if to <= from {
            return;
        }
        let n = (to - from) as u64;
        self.counts.durable += n;
        self.counts.in_flight = self.counts.in_flight.saturating_sub(n);
        self.counts.bytes += (from..to).map(|i| batch.batch.size(i) as u64).sum::<u64>();
        self.position = batch.batch.after(to - 1);
        self.arrived = Some(batch.batch.record(to - 1).arrival);
        if self
            .seen
            .as_ref()
            .is_some_and(|s| self.position == Position::after(s.as_str()))
        {
            self.seen = None;
        }
    }

    /// What was read and is not durable is gone from the source: it is reported as a gap, and no longer counted as
    /// read.
    pub(crate) fn lose_in_flight(&mut self) {
        self.counts.read -= self.counts.in_flight;
        self.counts.in_flight = 0;
        (self.seen, self.first) = (None, None);
        self.carried = Acked::default();
    }

    /// It is given the record `sequence` next. `false` if it was given another one there before, which is gone by now.
    pub(crate) fn begins_with(&mut self, sequence: &str) -> bool {
        let first = self.first.as_ref().filter(|(at, _)| *at == self.position);
        let same = first.is_none_or(|(_, first)| first.as_str() == sequence);
        if !same {
            self.lose_in_flight();
        }
        self.first = Some((self.position.clone(), Sequence::new(sequence)));
        same
    }

    /// It comes to a gap that begins at `from`. `false` if it was there already: what is known since is of records
    /// behind it.
    pub(crate) fn meet_gap(&mut self, from: &Position) -> bool {
        let here = (from.clone(), self.position.clone());
        if self.gap_at.as_ref() == Some(&here) {
            return false;
        }
        self.lose_in_flight();
        self.gap_at = Some(here);
        true
    }

    /// It goes on without a gap. If it had come to one from here, another reader still had what was gone: what is known
    /// of the records behind the gap is counted from the wrong place.
    pub(crate) fn meet_no_gap(&mut self) {
        if self
            .gap_at
            .take()
            .is_some_and(|(_, at)| at == self.position)
        {
            self.lose_in_flight();
        }
    }

    /// Everything in the closed shard is durable.
    pub(crate) fn finish(&mut self) {
        self.lose_in_flight();
        self.position = Position::Closed;
        self.life = Life::Done;
        self.caught_up = true;
        self.leave();
    }

    /// Notes trouble.
    pub(crate) fn trouble(&mut self, trouble: &Trouble, at: Millis) {
        *self.counts.errors.entry(trouble.kind).or_default() += 1;
        self.last_error = Some(ErrorReport {
            at,
            kind: Some(trouble.kind),
            text: trouble.message.clone(),
        });
    }

    /// How far it is on its way to what was in the source when the engine started; `patience` is how long it may have had
    /// nothing but trouble that somebody has to mend.
    pub(crate) fn way(&self, lane: LaneId, now: Instant, patience: Duration) -> Way {
        let LaneId { shard, output } = lane;
        if let Some(reason) = self.stopped.clone() {
            return Way::Blocked(EngineError::OutputStopped {
                output,
                shard,
                reason,
            });
        }
        if self.caught_up {
            return Way::There;
        }
        match self.lasting {
            Some(since) if now.since(since) >= patience => {
                let reason = self
                    .last_error
                    .as_ref()
                    .map(|e| e.text.clone())
                    .unwrap_or_default();
                let after = now.since(since);
                Way::Blocked(EngineError::OutputStuck {
                    output,
                    shard,
                    after,
                    reason,
                })
            }
            Some(since) => Way::Going(Some(since.plus(patience))),
            None => Way::Going(None),
        }
    }

    /// How far it is behind, given the server's time and how far its feed is behind (`None` if it follows none, or is
    /// not at its tip).
    pub(crate) fn behind(
        &self,
        server: Option<Millis>,
        at_tip: Option<Duration>,
        next: Option<Millis>,
    ) -> Option<Duration> {
        if self.life == Life::Done {
            return Some(Duration::ZERO);
        }
        // The next record's arrival is exact; the last durable one's is an upper bound.
        at_tip.or_else(|| Some(server?.since(next.or(self.arrived)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant(Duration::from_millis(ms))
    }

    #[test]
    fn a_lane_is_slow_when_it_takes_three_times_what_others_do() {
        let mut speed = Speed::default();
        assert_eq!(
            speed.slow_at(None),
            Some(Instant(Duration::MAX)),
            "it has not begun"
        );
        speed.begin(at(0), 1 << 20);
        assert_eq!(speed.slow_at(None), Some(at(500)), "nothing is known");
        assert!(!speed.is_overdue(at(500)) && speed.is_overdue(at(501)));
        // Others take 100 ms for a MiB.
        let usual = Some(100_000_000 / 1024);
        let slow_at = speed.slow_at(usual).unwrap();
        assert!(slow_at > at(790) && slow_at <= at(800), "{slow_at:?}");
        speed.end(at(200));
        assert!(speed.slow_at(usual).is_some());
        for i in 0..20 {
            speed.begin(at(1000 * i), 1 << 20);
            speed.end(at(1000 * i + 400));
        }
        assert_eq!(speed.slow_at(usual), None);
    }
}
