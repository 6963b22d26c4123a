//! Plans the reads of a shard: which feed reads now, how much, and how much memory is reserved
//! first.

use std::time::Duration;

use crate::clock::Instant;
use crate::engine::encoders::Encoders;
use crate::engine::mutation::{Mutation, on};

use super::feed::{Feed, FeedId};
use super::{Conditions, NextVisit, PlannedRead, Reading, Round, SMALL, ShardCell, ShardState};

/// A shard's first read asks for this part of the records that an answer may have.
const PART_OF_FIRST_READ: usize = 20;

/// A laggard waits this long at most while the head uses up the bytes of the shard's limit.
const LAGGARDS_TURN: Duration = Duration::from_secs(2);

/// The size of one read.
#[derive(Clone, Copy)]
struct ReadSize {
    /// Records at most.
    limit: usize,
    /// Bytes to reserve.
    reserve: usize,
}

impl ShardCell {
    /// Gives lanes their feeds, opens and closes feeds, drops batches that no lane needs, and plans
    /// the reads to start now.
    pub(crate) fn arrange(&self, conditions: &Conditions<'_>) -> Round {
        self.event(|state| state.arrange(conditions))
    }
}

impl ShardState {
    fn arrange(&mut self, conditions: &Conditions<'_>) -> Round {
        if self.ends_work() || !self.has_live_lanes() {
            return self.end_reading();
        }

        let mut next = NextVisit::OnEvent;
        self.relieve(conditions, &mut next);
        self.close_unused();
        self.choose_head(conditions);
        self.attach(conditions, &mut next);
        self.choose_head(conditions);
        self.trim(conditions);
        let reads = self.plan_reads(conditions, &mut next);
        Round {
            reads,
            feeds: self.feeds.iter().map(|f| f.id).collect(),
            next,
        }
    }

    fn end_reading(&mut self) -> Round {
        self.feeds.clear();
        if self.reading == Reading::On {
            self.reading = Reading::Off;
        }
        Round {
            reads: Vec::new(),
            feeds: Vec::new(),
            next: NextVisit::Finished,
        }
    }

    fn plan_reads(
        &mut self,
        conditions: &Conditions<'_>,
        next: &mut NextVisit,
    ) -> Vec<PlannedRead> {
        let mut reads = Vec::new();
        for id in self.reading_order() {
            if !self.may_read(id, conditions) {
                continue;
            }
            let due = self.due(id, conditions);
            if due > conditions.now {
                next.no_later_than(due);
                continue;
            }
            if let Some(read) = self.plan(id, conditions, next) {
                self.note_planned(id, conditions);
                reads.push(read);
            }
        }
        reads
    }

    /// The head first; the feeds of laggards take turns.
    fn reading_order(&self) -> Vec<FeedId> {
        let mut feeds: Vec<&Feed> = self.feeds.iter().collect();
        feeds.sort_by_key(|feed| {
            let is_laggard = Some(feed.id) != self.head;
            (is_laggard, feed.due, feed.id)
        });
        feeds.iter().map(|feed| feed.id).collect()
    }

    /// True if a lane needs more of the feed, and no read of its class is under way: one read of
    /// the head and one for laggards at a time.
    fn may_read(&self, id: FeedId, conditions: &Conditions<'_>) -> bool {
        let is_head = |id: FeedId| Some(id) == self.head;
        for other in &self.feeds {
            let is_same_class = is_head(other.id) == is_head(id);
            if other.reading && is_same_class {
                return false;
            }
        }

        let Some(feed) = self.feed(id) else {
            return false;
        };
        let ahead = conditions.settings.read_ahead;
        !feed.closed && self.wants_more(feed, ahead)
    }

    /// True if a lane waits for more, or will soon. `read_ahead`: batches that the head may be
    /// ahead of its fastest lane.
    fn wants_more(&self, feed: &Feed, read_ahead: usize) -> bool {
        let lanes = self.lanes.values().filter(|lane| lane.runs());
        let numbers = lanes.filter_map(|lane| lane.next_in(feed.id));
        let fastest = if on(Mutation::SlowestDecides) {
            numbers.min()
        } else {
            numbers.max()
        };
        // A read for laggards is large, and may be all that an output in trouble takes for long.
        let ahead = if Some(feed.id) == self.head {
            read_ahead as u64
        } else {
            0
        };
        fastest.is_some_and(|number| feed.next() <= number + ahead)
    }

    fn note_planned(&mut self, id: FeedId, conditions: &Conditions<'_>) {
        if Some(id) != self.head {
            let head = self.head_interval(conditions);
            self.pace
                .laggards_call(conditions.now, conditions.limits, head);
        }
        if let Some(feed) = self.feed_mut(id) {
            feed.reading = true;
        }
    }

    /// The moment at which the feed may read.
    fn due(&mut self, id: FeedId, conditions: &Conditions<'_>) -> Instant {
        let is_head = Some(id) == self.head;
        let due = self.feed(id).map_or(conditions.now, |f| f.due);
        let call = if is_head {
            self.pace.call_at(conditions.limits)
        } else {
            self.pace.laggards_at(conditions.limits)
        };

        let at = due.max(call);
        let Some(rate) = conditions.limits.bytes_per_second else {
            return at;
        };
        self.pace.refill(conditions.now, rate);
        let free = self.pace.free_at(rate);
        if is_head {
            return at.max(free);
        }
        // The head goes first, but not for ever.
        let turn = due.plus(LAGGARDS_TURN).max(call);
        at.max(free.min(turn))
    }

    /// Time between two reads of the head.
    fn head_interval(&self, conditions: &Conditions<'_>) -> Duration {
        let idle = self.head_feed().map_or(Duration::ZERO, |f| f.idle);
        idle.max(conditions.limits.head_interval())
    }

    /// The read of a feed; `None` without room while no lane waits for more.
    fn plan(
        &mut self,
        id: FeedId,
        conditions: &Conditions<'_>,
        next: &mut NextVisit,
    ) -> Option<PlannedRead> {
        let encoders = self.encoders(id);
        let usual = self.usual_size(id, &encoders, conditions)?;
        if !self.make_room(id, usual.reserve, conditions, next) {
            return None;
        }

        let is_known = self.pace.mean > 0 && !self.feed(id)?.underestimated;
        let size = if is_known {
            self.within_free(id, usual, &encoders, conditions)?
        } else {
            usual
        };
        Some(PlannedRead {
            feed: id,
            is_head: Some(id) == self.head,
            position: self.feed(id)?.tip().clone(),
            limit: u32::try_from(size.limit).unwrap_or(u32::MAX),
            reserve: size.reserve,
            encoders,
        })
    }

    /// The size of the feed's next read, if there is memory for it.
    fn usual_size(
        &self,
        id: FeedId,
        encoders: &Encoders,
        conditions: &Conditions<'_>,
    ) -> Option<ReadSize> {
        let limit = self.usual_limit(id, encoders, conditions)?;
        let worst = self.feed(id)?.underestimated;
        let reserve = self.estimate(limit, encoders, conditions, worst);
        Some(ReadSize { limit, reserve })
    }

    /// Records of the feed's next read, if there is memory for them.
    fn usual_limit(
        &self,
        id: FeedId,
        encoders: &Encoders,
        conditions: &Conditions<'_>,
    ) -> Option<usize> {
        let is_head = Some(id) == self.head;
        let limits = conditions.limits;
        let mut bytes = self.target_bytes(is_head, encoders, conditions);
        if is_head && self.feed(id)?.is_at_tip() {
            // At the tip there is no more than arrived since the last read.
            bytes = bytes.min(limits.ingest_bytes_per_second / 2);
        }

        Some(self.records_in(bytes, conditions))
    }

    /// Bytes of records that a read aims at: as many as fit into the memory for one read together
    /// with the rows and shared encodings.
    fn target_bytes(
        &self,
        is_head: bool,
        encoders: &Encoders,
        conditions: &Conditions<'_>,
    ) -> usize {
        let memory = self.memory_for_a_read(is_head, conditions);
        let most = conditions.settings.read_target.max(SMALL);
        let mut bytes = memory.clamp(SMALL, most);

        let records = self.records_in(bytes, conditions);
        let made = encoders.memory(records, bytes);
        let all = bytes.saturating_add(made);
        if all > memory {
            bytes = bytes.saturating_mul(memory) / all;
            bytes = bytes.max(SMALL);
        }
        match conditions.limits.bytes_per_second {
            Some(rate) if !is_head => bytes.min(self.pace.spare(rate)),
            Some(_) | None => bytes,
        }
    }

    /// Records in `bytes` bytes, about. Before anything is known, a small read tells how large
    /// records are.
    fn records_in(&self, bytes: usize, conditions: &Conditions<'_>) -> usize {
        let most = usize::try_from(conditions.limits.answer_records).unwrap_or(usize::MAX);
        let records = bytes.checked_div(self.pace.mean);
        let records = records.unwrap_or(most / PART_OF_FIRST_READ);
        records.clamp(1, most.max(1))
    }

    /// Memory that one read may take, with all that is made of the records.
    fn memory_for_a_read(&self, is_head: bool, conditions: &Conditions<'_>) -> usize {
        // Each lane in trouble may hold on to another batch until its request ends.
        let in_trouble = self
            .lanes
            .values()
            .filter(|lane| lane.is_backing_off() || lane.is_detached())
            .count();
        // Each laggard may keep the batch in hand, and half is left to the head.
        let parts = if is_head {
            3
        } else {
            2 * conditions.settings.catch_up_readers.max(1)
        };

        let memory = conditions.memory_share.max(conditions.free / 8);
        memory / (parts + in_trouble)
    }

    /// A read that fits into free memory, if a smaller one than usual does.
    fn within_free(
        &self,
        id: FeedId,
        usual: ReadSize,
        encoders: &Encoders,
        conditions: &Conditions<'_>,
    ) -> Option<ReadSize> {
        let free = conditions.budget.free();
        let least = (SMALL / self.pace.mean).max(1);
        let of_limit = |limit| ReadSize {
            limit,
            reserve: self.estimate(limit, encoders, conditions, false),
        };

        let mut size = usual;
        if size.reserve > free && Some(id) == self.head {
            // About as much as last time: others wait for the memory that such a read would give
            // back in a moment.
            let as_before = 2 * self.feed(id)?.last_records;
            size = of_limit(size.limit.min(as_before.max(least)));
        }
        if size.reserve > free {
            // Rather a smaller read now than a larger one when a request that hangs has ended.
            let fewer = size.limit * (free / 2) / size.reserve;
            if fewer >= least {
                size = of_limit(fewer);
            }
        }
        Some(size)
    }

    /// Bytes to reserve for a read of `limit` records. `worst`: for the largest answer.
    fn estimate(
        &self,
        limit: usize,
        encoders: &Encoders,
        conditions: &Conditions<'_>,
        worst: bool,
    ) -> usize {
        let largest = conditions.limits.answer_bytes;
        let answer = match self.pace.mean {
            0 => largest,
            _ if worst => largest,
            // The largest mean of late, and a quarter more: records differ. Unused memory is given
            // back with the answer.
            mean => {
                let most = mean.max(self.pace.largest);
                (limit * (most + most / 4) + most).min(largest)
            }
        };
        let made = encoders.memory(limit, answer);
        // A read that is larger than the whole pool waits until it is alone.
        answer
            .saturating_add(made)
            .min(conditions.budget.read_pool())
    }

    /// One encoder of each form among the feed's lanes.
    fn encoders(&self, id: FeedId) -> Encoders {
        let is_head = Some(id) == self.head;
        let mut encoders = Vec::new();
        for lane in self.lanes.values() {
            // Laggards will join the head.
            let follows = is_head || lane.next_in(id).is_some();
            if lane.runs() && follows {
                encoders.push(lane.encoder());
            }
        }
        encoders.into_iter().collect()
    }
}
