//! One shard: its lanes, its feeds, and who follows which. All decisions are made here, under one lock, without I/O;
//! [`super::reader`] carries them out.
//!
//! A *feed* is a reader with the window that it fills. The feed that is furthest along is the *head*; lanes that are not
//! covered by it are grouped on at most two others. A lane moves to the head as soon as the head's window covers its
//! cursor, and leaves it when the window grows over the shard's share of the budget while others wait for more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Notify;

use crate::batch::ShardId;
use crate::checkpoint::{Position, Sequence};
use crate::clock::{Instant, Millis};
use crate::output::{EncodingKey, Output, Trouble};
use crate::source::{ReadLimits, Shard};
use crate::store::{LaneId, OutputId};

use super::budget::{Budget, Pool};
use super::deliver::Acked;
use super::deliver::pass::Progress;
use super::inflow::Inflow;
use super::mutation::{Mutation, on};
use super::pace::Pace;
use super::settings::Settings;
use super::shared_batch::SharedBatch;
use super::slot::{Life, Place, Slot};
use super::status::{ErrorReport, Gap};
use super::window::{Feed, FeedId};
use super::world::Way;
use super::{EngineError, Order};

/// Records of a shard's first read, which tells how large they are.
const FIRST_LIMIT: usize = 500;

/// Windows up to this many bytes are not worth letting go, nor copying.
const SMALL: usize = 64 << 10;

/// What belongs to one shard.
pub(crate) struct ShardCell {
    pub(crate) id: ShardId,
    pub(crate) parents: Vec<ShardId>,
    pub(crate) state: Mutex<ShardState>,
    /// Wakes the shard's reader.
    pub(crate) wake: Arc<Notify>,
}

/// What its lock guards.
pub(crate) struct ShardState {
    pub(crate) lanes: BTreeMap<OutputId, Slot>,
    pub(crate) feeds: Vec<Feed>,
    pub(crate) head: Option<FeedId>,
    next_feed: FeedId,
    /// The source's map says that it takes no more records.
    pub(crate) closed: bool,
    /// The source's map no longer has it.
    pub(crate) gone: bool,
    /// Somebody read its end; these go on, as far as the source said.
    pub(crate) children: Option<Vec<ShardId>>,
    /// The source's map has these.
    pub(crate) settled: bool,
    /// Maps that were looked at for them.
    pub(crate) tries: u32,
    /// A reader task is there.
    pub(crate) reading: bool,
    /// A lane has come to what the supervisor waits for; whoever lets go of the lock tells it.
    pub(crate) news: bool,
    /// The engine drains: nothing more is read or begun.
    pub(crate) draining: bool,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) gap_count: u64,
    /// Lanes that came to a gap, and where it begins; to be reported.
    pub(crate) gaps_met: Vec<(OutputId, Position)>,
    pub(crate) reads: ReadCounts,
    /// Since when reading had nothing but trouble that somebody has to mend, and what it was at first.
    pub(crate) lasting: Option<(Instant, Trouble)>,
    pub(crate) pace: Pace,
    pub(crate) inflow: Inflow,
    /// The server's time, and when that was.
    pub(crate) server: Option<(Millis, Instant)>,
}

/// What reading a shard counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadCounts {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) calls: u64,
    pub(crate) throttled: u64,
    pub(crate) failed: u64,
    pub(crate) last_error: Option<ErrorReport>,
}

/// What decisions depend on besides the shard's own state.
pub(crate) struct View<'a> {
    pub(crate) now: Instant,
    pub(crate) settings: &'a Settings,
    pub(crate) limits: &'a ReadLimits,
    pub(crate) budget: &'a Arc<Budget>,
    /// The shard's share of the budget. It may take more while much is free, and gives it back when others need it.
    pub(crate) share: usize,
    /// What nobody uses of the budget.
    pub(crate) free: usize,
}

/// One read to be done.
pub(crate) struct Plan {
    pub(crate) feed: FeedId,
    /// Nobody is further along.
    pub(crate) is_head: bool,
    /// Where the feed is: a reader that is not there yet is opened here.
    pub(crate) position: Position,
    pub(crate) limit: u32,
    /// Bytes to reserve: the answer, and its encodings.
    pub(crate) reserve: usize,
    /// The outputs of its lanes, one for each encoding key.
    pub(crate) encoders: Vec<(EncodingKey, Arc<dyn Output>)>,
}

/// What a lane is to do.
pub(crate) enum Take {
    /// Deliver this.
    Work(Box<Work>),
    /// Wait to be woken.
    Wait,
    /// End.
    End,
}

/// A batch in a lane's hand.
pub(crate) struct Work {
    pub(crate) batch: Arc<SharedBatch>,
    /// The first record that is not durable.
    pub(crate) from: usize,
    pub(crate) acked: Acked,
    pub(crate) output: Arc<dyn Output>,
    pub(crate) order: Order,
    pub(crate) generation: u64,
    /// Where it was taken from.
    feed: FeedId,
    no: u64,
    /// Batches of the window that it is.
    count: u64,
}

impl ShardCell {
    pub(crate) fn new(shard: &Shard) -> Arc<Self> {
        let state = ShardState {
            lanes: BTreeMap::new(),
            feeds: Vec::new(),
            head: None,
            next_feed: 0,
            closed: shard.closed,
            gone: false,
            children: None,
            settled: false,
            tries: 0,
            reading: false,
            news: false,
            draining: false,
            gaps: Vec::new(),
            gap_count: 0,
            gaps_met: Vec::new(),
            reads: ReadCounts::default(),
            lasting: None,
            pace: Pace::default(),
            inflow: Inflow::default(),
            server: None,
        };
        Arc::new(Self {
            id: shard.id.clone(),
            parents: shard.parents.clone(),
            state: Mutex::new(state),
            wake: Arc::new(Notify::new()),
        })
    }
}

impl ShardState {
    pub(crate) fn feed(&self, id: FeedId) -> Option<&Feed> {
        self.feeds.iter().find(|f| f.id == id)
    }

    pub(crate) fn feed_mut(&mut self, id: FeedId) -> Option<&mut Feed> {
        self.feeds.iter_mut().find(|f| f.id == id)
    }

    /// How far the lane `slot` of `output` is on its way to what was in the source when the engine started. `patience` is
    /// how long there may have been nothing but trouble that somebody has to mend.
    pub(crate) fn way(&self, slot: &Slot, lane: LaneId, now: Instant, patience: Duration) -> Way {
        let way = slot.way(lane, now, patience);
        // It has all that was read.
        let waits = !slot.working
            && match slot.place {
                Place::In { feed, no } => self.feed(feed).is_none_or(|feed| no >= feed.next()),
                Place::Away { wants } => wants.is_some(),
            };
        match (&way, &self.lasting) {
            (Way::Going(_), Some((since, trouble))) if waits => {
                if now.since(*since) < patience {
                    return Way::Going(Some(since.plus(patience)));
                }
                Way::Blocked(EngineError::Source {
                    doing: "reading a shard",
                    source: trouble.clone(),
                })
            }
            _ => way,
        }
    }

    /// What the lane of `id` is to do next. `share`: the shard's of the budget.
    pub(crate) fn take(
        &mut self,
        id: &OutputId,
        now: Instant,
        budget: &Arc<Budget>,
        share: usize,
    ) -> Take {
        let draining = self.draining;
        // A lane that is stuck keeps what it has in hand: all may, and there must be room to read for another.
        let most = share / (self.lanes.len() + 3);
        let Some(slot) = self.lanes.get_mut(id) else {
            return Take::End;
        };
        slot.working = false;
        (slot.backing_off, slot.held_back) = (false, false);
        if draining || slot.life == Life::Done {
            return Take::End;
        }
        if !slot.runs() {
            slot.leave();
            return Take::Wait;
        }
        settle(slot, &self.feeds, self.head, now);
        let Place::In { feed, no } = slot.place else {
            return Take::Wait;
        };
        let Some(feed) = self.feeds.iter_mut().find(|f| f.id == feed) else {
            slot.place = Place::Away { wants: Some(now) };
            return Take::Wait;
        };
        if !slot.caught_up && feed.goal.is_some_and(|goal| no >= goal) {
            slot.caught_up = true;
            self.news = true;
        }
        match feed.gap_before(no, &slot.position).cloned() {
            Some(from) if slot.meet_gap(&from) => self.gaps_met.push((id.clone(), from)),
            None if feed.get(no).is_some() => slot.meet_no_gap(),
            Some(_) | None => {}
        }
        let Some((batch, count)) = feed.get_joined(no, &*slot.output, budget, most) else {
            if feed.closed && no == feed.next() {
                slot.finish();
                return Take::End;
            }
            return Take::Wait;
        };
        let mut from = batch.first_after(&slot.position);
        if on(Mutation::RejoinOneLate) && from > 0 && from < batch.batch.len() {
            from += 1;
        } else if on(Mutation::RejoinOneEarly) && from > 0 {
            from -= 1;
        }
        if from < batch.batch.len() && !slot.begins_with(batch.batch.record(from).sequence) {
            self.gaps_met.push((id.clone(), slot.position.clone()));
        }
        slot.count_read(&batch, from);
        slot.working = true;
        slot.hand = Arc::downgrade(&batch);
        slot.speed.begin(now, batch.batch.allocation());
        Take::Work(Box::new(Work {
            batch,
            from,
            acked: std::mem::take(&mut slot.carried),
            output: Arc::clone(&slot.output),
            order: slot.order,
            generation: slot.generation,
            feed: feed.id,
            no,
            count,
        }))
    }

    /// Moves the lane's cursor past the part of `work` that is durable, and keeps what is acknowledged
    /// beyond the cursor for the next delivery, from whatever batch.
    pub(crate) fn advance(&mut self, id: &OutputId, work: &Work, progress: Progress) {
        if let Some(slot) = self.lanes.get_mut(id) {
            slot.advance(&work.batch, progress.from, progress.through);
            // Another output knows nothing of what this one acknowledged beyond the cursor.
            slot.carried = if slot.generation == work.generation {
                progress.acked
            } else {
                Acked::default()
            };
        }
    }

    /// The lane of `id` has delivered all of `work`.
    pub(crate) fn finished(&mut self, id: &OutputId, work: &Work, now: Instant) {
        if let Some(slot) = self.lanes.get_mut(id) {
            slot.speed.end(now);
        }
        if let Some(slot) = self.lanes.get_mut(id)
            && slot.no_in(work.feed) == Some(work.no)
        {
            slot.place = Place::In {
                feed: work.feed,
                no: work.no + work.count,
            };
        }
    }

    /// True if the lane of `id` may go on with `work`: nobody wants it to stop, or to let the batch go.
    pub(crate) fn may_go_on(&self, id: &OutputId, work: &Work, budget: &Budget) -> bool {
        self.lanes.get(id).is_some_and(|slot| {
            let follows = slot.no_in(work.feed) == Some(work.no);
            let wanted = slot.runs() && slot.generation == work.generation && !self.draining;
            wanted && (follows || !budget.pressed())
        })
    }

    /// Server time at `now`, as far as the last read tells.
    pub(crate) fn server_now(&self, now: Instant) -> Option<Millis> {
        self.server.map(|(then, at)| then.plus(now.since(at)))
    }

    /// Gives lanes their feeds, closes and opens feeds, lets go of what is not needed, and says what to read now, or
    /// when to ask again.
    pub(crate) fn arrange(&mut self, view: &View<'_>) -> (Vec<Plan>, Option<Instant>) {
        if self.draining {
            self.feeds.clear();
            return (Vec::new(), None);
        }
        let mut again = None;
        self.relieve(view, &mut again);
        self.close_unused();
        self.choose_head(view);
        self.place(view, &mut again);
        self.choose_head(view);
        self.trim(view);
        let plans = self.plan_reads(view, &mut again);
        (plans, again)
    }

    /// While somebody waits for memory, lanes that could do nothing with their batches now don't hold them.
    fn relieve(&mut self, view: &View<'_>, again: &mut Option<Instant>) {
        if !view.budget.pressed() {
            return;
        }
        let Self { feeds, lanes, .. } = self;
        for feed in feeds
            .iter()
            .filter(|f| f.bytes() > SMALL.min(view.share / 8))
        {
            for slot in lanes
                .values_mut()
                .filter(|s| s.backing_off && s.no_in(feed.id).is_some())
            {
                slot.leave();
            }
        }
        // What was taken beyond the share while nobody needed it; and where a lane has nothing to do until there is memory,
        // what is kept for slow ones: theirs may be held by requests that hang, which count against no window.
        let starves = |feed: &Feed| {
            let waits = |s: &Slot| s.runs() && !s.working && s.no_in(feed.id) == Some(feed.next());
            feed.reading && self.lanes.values().any(waits)
        };
        let short = if self.feeds.iter().any(starves) {
            view.budget.short()
        } else {
            0
        };
        let over = self.held().saturating_sub(view.share).max(short);
        if let Some(id) = self
            .feeds
            .iter()
            .max_by_key(|f| f.bytes())
            .map(|f| f.id)
            .filter(|_| over > 0)
            && let Some(until) = self.shrink(id, over, view.now)
        {
            sooner(again, until);
        }
    }

    fn followed(&self, feed: FeedId) -> bool {
        self.lanes.values().any(|s| s.no_in(feed).is_some())
    }

    fn close_unused(&mut self) {
        let mut feeds = std::mem::take(&mut self.feeds);
        feeds.retain(|f| self.followed(f.id));
        self.feeds = feeds;
    }

    /// The head is the feed that is furthest along, give or take a read: as long as it reads on, it stays the head when a
    /// laggard's read comes by it. (Who follows it would be the laggard then; and the others come to it anyway.)
    fn choose_head(&mut self, view: &View<'_>) {
        let mut head: Option<&Feed> = self
            .head
            .and_then(|id| self.feed(id))
            .or(self.feeds.first());
        let reads_on =
            |f: &Feed| f.reading || view.now.since(f.read_at) < view.settings.idle_poll * 2;
        if head.map(|f| f.id) != self.head || !head.is_some_and(reads_on) {
            for feed in &self.feeds {
                if let (Some(best), Some(tip)) =
                    (head.and_then(|head| head.tip().rank()), feed.tip().rank())
                    && tip > best
                {
                    head = Some(feed);
                }
            }
        }
        self.head = head.map(|f| f.id);
    }

    /// Gives every lane that wants one a feed, if it can be had.
    fn place(&mut self, view: &View<'_>, again: &mut Option<Instant>) {
        // Each round places at least one lane or ends.
        for _ in 0..=self.lanes.len() {
            for slot in self.lanes.values_mut().filter(|s| s.wants().is_some()) {
                settle(slot, &self.feeds, self.head, view.now);
                if slot.wants().is_none() {
                    slot.wake.notify_one();
                }
            }
            let Some(position) = self.next_to_open(view, again) else {
                return;
            };
            let id = self.next_feed;
            self.next_feed += 1;
            self.feeds.push(Feed::new(id, position, view.now));
            if self.head.is_none() {
                self.head = Some(id);
            }
        }
    }

    /// Where a feed is to be opened for lanes that wait for one.
    fn next_to_open(&mut self, view: &View<'_>, again: &mut Option<Instant>) -> Option<Position> {
        let waiting = || {
            self.lanes
                .values()
                .filter_map(|s| Some((s.wants()?, &s.position)))
        };
        if self.feeds.is_empty() {
            // The head serves those who are furthest along; nobody makes them wait.
            return waiting().map(|(_, p)| p).max_by_key(|p| rank(p)).cloned();
        }
        let patience = view.settings.grouping_patience;
        let oldest = waiting().map(|(since, _)| since).min()?;
        // Those who began to wait at about the same time are grouped: the feed begins where the first of them is, and
        // comes by the others.
        let mut candidates: Vec<(Instant, &Position)> = waiting()
            .filter(|(since, _)| since.since(oldest) < Duration::from_secs(1))
            .collect();
        candidates.retain(|(since, position)| {
            let coming = self
                .feeds
                .iter()
                .any(|f| Some(f.id) != self.head && is_before(f.tip(), position));
            let due = since.plus(patience);
            if coming && due > view.now {
                sooner(again, due);
                return false;
            }
            true
        });
        let position = candidates
            .into_iter()
            .map(|(_, p)| p)
            .min_by_key(|p| rank(p))?
            .clone();
        if self.feeds.len() > view.settings.catch_up_readers && !self.free_a_feed(view) {
            // Somebody's turn ends some time; nothing wakes the reader at that moment.
            sooner(again, view.now.plus(view.settings.idle_poll));
            return None;
        }
        Some(position)
    }

    /// Closes a catch-up feed whose lanes can't use it now: all back off, are busy with what they have for long, or have
    /// all there is.
    fn free_a_feed(&mut self, view: &View<'_>) -> bool {
        let head = self.head;
        let free = self
            .feeds
            .iter()
            .filter(|f| Some(f.id) != head && !f.reading)
            .find(|f| {
                let mut followers = self
                    .lanes
                    .values()
                    .filter_map(|s| Some((s, s.no_in(f.id)?)));
                let at_the_end = f.behind == Some(Duration::ZERO) && f.idle > Duration::ZERO;
                followers.all(|(s, no)| {
                    let busy = s.working && s.speed.is_overdue(view.now);
                    s.backing_off || busy || (at_the_end && no == f.next() && !s.working)
                })
            });
        let Some(free) = free.map(|f| f.id) else {
            return false;
        };
        for slot in self.lanes.values_mut().filter(|s| s.no_in(free).is_some()) {
            let wants = (!slot.backing_off && !slot.working).then_some(view.now);
            slot.place = Place::Away { wants };
        }
        self.feeds.retain(|f| f.id != free);
        true
    }

    /// Lets go of batches that no lane needs. Some of the head's stay while a lane catches up, so that it finds a window
    /// to join.
    fn trim(&mut self, view: &View<'_>) {
        let head = self.head;
        let laggards = self
            .lanes
            .values()
            .any(|s| s.runs() && !matches!(s.place, Place::In { feed, .. } if Some(feed) == head));
        let room = if laggards && !view.budget.pressed() {
            view.share / 4
        } else {
            0
        };
        let lanes = &self.lanes;
        for feed in &mut self.feeds {
            let needed = lanes.values().filter_map(|s| s.no_in(feed.id)).min();
            let keep = if Some(feed.id) == head { room } else { 0 };
            while feed
                .oldest()
                .is_some_and(|no| needed.is_none_or(|n| no < n))
                && feed.bytes() > keep
            {
                feed.pop();
            }
            compact(feed, lanes, view.budget);
        }
    }

    fn plan_reads(&mut self, view: &View<'_>, again: &mut Option<Instant>) -> Vec<Plan> {
        let mut order: Vec<FeedId> = self.feeds.iter().map(|f| f.id).collect();
        // Those who catch up take turns.
        order.sort_by_key(|id| (Some(*id) != self.head, self.feed(*id).map(|f| f.due), *id));
        let mut plans = Vec::new();
        for id in order {
            let is_head = Some(id) == self.head;
            // One read of the head and one of those who catch up at a time.
            let busy = self
                .feeds
                .iter()
                .any(|f| f.reading && (Some(f.id) == self.head) == is_head);
            let wants = self
                .feed(id)
                .is_some_and(|f| !f.reading && !f.closed && self.wants_more(f, view));
            if busy || !wants {
                continue;
            }
            let due = self.due(id, is_head, view);
            if due > view.now {
                sooner(again, due);
                continue;
            }
            let Some(plan) = self.plan(id, view, again) else {
                continue;
            };
            if !is_head {
                let head = self.head_interval(view);
                self.pace.laggards_call(view.now, view.limits, head);
            }
            if let Some(feed) = self.feed_mut(id) {
                feed.reading = true;
            }
            plans.push(plan);
        }
        plans
    }

    /// True if a lane waits for more, or will soon.
    fn wants_more(&self, feed: &Feed, view: &View<'_>) -> bool {
        let places = || {
            self.lanes
                .values()
                .filter(|s| s.runs())
                .filter_map(|s| s.no_in(feed.id))
        };
        let fastest = if on(Mutation::SlowestDecides) {
            places().min()
        } else {
            places().max()
        };
        // What is read for those who catch up is large, and may be all that an output in trouble takes for long.
        let ahead = if Some(feed.id) == self.head {
            view.settings.read_ahead as u64
        } else {
            0
        };
        fastest.is_some_and(|no| feed.next() <= no + ahead)
    }

    /// When the feed may read.
    fn due(&mut self, id: FeedId, is_head: bool, view: &View<'_>) -> Instant {
        let due = self.feed(id).map_or(view.now, |f| f.due);
        let call = if is_head {
            self.pace.call_at(view.limits)
        } else {
            self.pace.laggards_at(view.limits)
        };
        let mut at = due.max(call);
        if let Some(rate) = view.limits.bytes_per_second {
            self.pace.refill(view.now, rate);
            let free = self.pace.free_at(rate);
            // The head goes first, but not for ever: who catches up has a turn after two seconds.
            let turn = due.plus(Duration::from_secs(2)).max(call);
            at = at.max(if is_head { free } else { free.min(turn) });
        }
        at
    }

    /// Time between two reads of the head.
    fn head_interval(&self, view: &View<'_>) -> Duration {
        let idle = self
            .head
            .and_then(|id| self.feed(id))
            .map_or(Duration::ZERO, |f| f.idle);
        idle.max(view.limits.head_interval())
    }

    /// How much to read, or `None` if there is no room and nobody who waits for more.
    fn plan(&mut self, id: FeedId, view: &View<'_>, again: &mut Option<Instant>) -> Option<Plan> {
        let encoders = self.encoders(id);
        let settings = view.settings;
        let (mean, underestimated) = (self.pace.mean, self.feed(id)?.underestimated);
        let ways = 1 + encoders.len();
        // Lanes in trouble may each hold on to another batch until their requests end.
        let troubled = self
            .lanes
            .values()
            .filter(|s| s.backing_off || s.is_away())
            .count();
        let is_head = Some(id) == self.head;
        // Each of those who catch up may keep what it has in hand, and half is left to the head.
        let parts = troubled
            + if is_head {
                3
            } else {
                2 * settings.catch_up_readers.max(1)
            };
        let part = view.share.max(view.free / 8) / parts / ways;
        let mut part = part.clamp(SMALL, settings.read_target.max(SMALL));
        if let Some(rate) = view.limits.bytes_per_second.filter(|_| !is_head) {
            part = part.min(self.pace.spare(rate));
        }
        let most = usize::try_from(view.limits.answer_records)
            .unwrap_or(usize::MAX)
            .max(1);
        if is_head && self.feed(id)?.behind == Some(Duration::ZERO) {
            // At the tip there is no more than came since the last read.
            part = part.min(view.limits.ingest_bytes_per_second / 2);
        }
        // Before anything is known, a small read tells.
        let mut limit = part.checked_div(mean).unwrap_or(FIRST_LIMIT).clamp(1, most);
        let mut reserve = self.estimate(limit, &encoders, view, underestimated);
        if !self.make_room(id, reserve, view, again) {
            return None;
        }
        let free = view.budget.free();
        if is_head && reserve > free && mean > 0 && !underestimated {
            // About as much as last time: others wait for what such a read would give back in a moment.
            limit = limit.min((2 * self.feed(id)?.came).max(SMALL / mean).max(1));
            reserve = self.estimate(limit, &encoders, view, false);
        }
        if reserve > free && mean > 0 && !underestimated {
            // Rather a smaller read now than a larger one when a request that hangs has ended.
            let fewer = limit * (free / 2) / reserve;
            if fewer >= (SMALL / mean).max(1) {
                limit = fewer;
                reserve = self.estimate(limit, &encoders, view, false);
            }
        }
        let limit = u32::try_from(limit).unwrap_or(u32::MAX);
        Some(Plan {
            feed: id,
            is_head,
            position: self.feed(id)?.tip().clone(),
            limit,
            reserve,
            encoders,
        })
    }

    /// Bytes to reserve for a read of `limit` records.
    fn estimate(
        &self,
        limit: usize,
        encoders: &[(EncodingKey, Arc<dyn Output>)],
        view: &View<'_>,
        worst: bool,
    ) -> usize {
        let (pace, largest) = (&self.pace, view.limits.answer_bytes);
        let answer = match pace.mean {
            0 => largest,
            _ if worst => largest,
            // The largest mean of late, and a quarter more: records differ. What is not needed is given back with the
            // answer.
            mean => {
                let most = mean.max(pace.largest);
                (limit * (most + most / 4) + most).min(largest)
            }
        };
        let encoded: usize = encoders
            .iter()
            .map(|(_, o)| o.encoded_bound(limit, answer))
            .sum();
        // What is larger than the whole pool waits until it is alone.
        (answer + encoded).min(view.budget.read_pool())
    }

    /// The ways in which the feed's lanes encode.
    fn encoders(&self, id: FeedId) -> Vec<(EncodingKey, Arc<dyn Output>)> {
        let mut encoders: BTreeMap<EncodingKey, Arc<dyn Output>> = BTreeMap::new();
        let is_head = Some(id) == self.head;
        // Those who catch up will join the head.
        for slot in self
            .lanes
            .values()
            .filter(|s| s.runs() && (is_head || s.no_in(id).is_some()))
        {
            encoders
                .entry(slot.output.encoding())
                .or_insert_with(|| Arc::clone(&slot.output));
        }
        encoders.into_iter().collect()
    }

    /// Makes room for `bytes` within the shard's share: if a lane waits for more, those that hold the oldest batches
    /// leave the window, down to half the share. `false` if it's full and nobody waits, or all that can be done is to
    /// wait for lanes that are no slower than others.
    fn make_room(
        &mut self,
        id: FeedId,
        bytes: usize,
        view: &View<'_>,
        again: &mut Option<Instant>,
    ) -> bool {
        let held = self.held();
        // Beyond its share a shard takes only what leaves others room at once: nobody would wait for it to give that back.
        let spare = || {
            view.budget
                .free()
                .saturating_sub(view.budget.read_pool() / 4)
        };
        let fits = |held: usize| held == 0 || held + bytes <= view.share || bytes <= spare();
        if fits(held) {
            if let Some(feed) = self.feed_mut(id) {
                feed.grace.go_on(view.now);
            }
            return true;
        }
        let Some(next) = self.feed(id).map(Feed::next) else {
            return false;
        };
        if !self
            .lanes
            .values()
            .any(|s| s.runs() && !s.working && s.no_in(id) == Some(next))
        {
            return false;
        }
        let blocked = self.shrink(id, held.saturating_sub(view.share / 2), view.now);
        let fits = fits(self.held());
        if let Some(until) = blocked.filter(|_| !fits) {
            sooner(again, until);
        }
        fits || blocked.is_none()
    }

    /// Memory that the shard takes: its windows, and what lanes that left them have in hand.
    fn held(&self) -> usize {
        let mut loose: Vec<_> = self
            .lanes
            .values()
            .filter_map(|s| s.hand.upgrade())
            .filter(|batch| batch.is_loose())
            .collect();
        loose.sort_unstable_by_key(|batch| Arc::as_ptr(batch).addr());
        loose.dedup_by(|a, b| Arc::ptr_eq(a, b));
        let windows: usize = self.feeds.iter().map(Feed::bytes).sum();
        windows + loose.iter().map(|batch| batch.bytes()).sum::<usize>()
    }

    /// Lets go of the feed's oldest batches, of at least `bytes` together; slow lanes that still need them leave it.
    /// Stops at a batch that a lane needs which is about as fast as the others: lanes drift apart, and reading a stretch
    /// again for one that is half as fast takes as much of the shard's limit as waiting for it. Says when that lane would
    /// count as slow.
    fn shrink(&mut self, id: FeedId, bytes: usize, now: Instant) -> Option<Instant> {
        let Self { feeds, lanes, .. } = self;
        let feed = feeds.iter_mut().find(|f| f.id == id)?;
        let mut usual: Vec<u64> = lanes
            .values()
            .filter(|s| s.no_in(id).is_some())
            .filter_map(|s| s.speed.nanos_per_kib)
            .collect();
        usual.sort_unstable();
        let usual = usual.get(usual.len() / 2).copied();
        let mut freed = 0;
        while freed < bytes
            && let Some(oldest) = feed.oldest()
        {
            let mut blocked = None;
            for slot in lanes.values().filter(|s| s.no_in(id) == Some(oldest)) {
                if slot.runs() && !slot.working && !slot.backing_off {
                    // It is about to take it. It would be read again for nothing, and again, without end.
                    sooner(&mut blocked, Instant(Duration::MAX));
                    continue;
                }
                let stuck = slot.backing_off || slot.speed.is_overdue(now);
                let slow_at = slot
                    .speed
                    .slow_at(usual)
                    .filter(|at| *at > now && !slot.backing_off);
                if let Some(at) =
                    slow_at.or_else(|| if stuck { None } else { feed.grace.wait(now) })
                {
                    sooner(&mut blocked, at);
                }
            }
            if blocked.is_some() {
                // Nobody leaves for a batch that stays: it would come back at once.
                return blocked;
            }
            for slot in lanes.values_mut().filter(|s| s.no_in(id) == Some(oldest)) {
                slot.leave();
                // Who waits for nothing else asks for a feed of its own.
                slot.wake.notify_one();
            }
            // What a lane has in hand is not free yet.
            freed += feed
                .pop()
                .filter(|b| Arc::strong_count(b) == 1)
                .map_or(0, |b| b.bytes());
        }
        feed.grace.go_on(now);
        None
    }
}

/// Finds a feed for a lane that has none, or a better one: the head if it covers the lane's cursor; else, if it has to
/// wait where it is, another that has something for it.
fn settle(slot: &mut Slot, feeds: &[Feed], head: Option<FeedId>, now: Instant) {
    let own = match slot.place {
        Place::In { feed, .. } => Some(feed),
        Place::Away { .. } => None,
    };
    if own.is_some() && own == head {
        return skip_passed(slot, feeds);
    }
    let covering = |f: &&Feed| f.covers(&slot.position);
    let better = feeds
        .iter()
        .find(|f| Some(f.id) == head && covering(f))
        .or_else(|| {
            let others = || {
                feeds
                    .iter()
                    .filter(|f| Some(f.id) != own && Some(f.id) != head)
                    .filter(covering)
            };
            match feeds.iter().find(|f| Some(f.id) == own) {
                Some(own) if own.get(slot.no_in(own.id)?).is_some() => None,
                Some(own) => {
                    others().find(|f| f.id < own.id || f.locate(&slot.position) < f.next())
                }
                None => others().next(),
            }
        });
    if let Some(feed) = better {
        slot.place = Place::In {
            feed: feed.id,
            no: feed.locate(&slot.position),
        };
    } else if let Place::Away { wants } = &mut slot.place {
        wants.get_or_insert(now);
    }
    skip_passed(slot, feeds);
}

/// Passes over batches that the lane has already.
fn skip_passed(slot: &mut Slot, feeds: &[Feed]) {
    let Place::In { feed: id, mut no } = slot.place else {
        return;
    };
    let Some(feed) = feeds.iter().find(|f| f.id == id) else {
        return;
    };
    while feed
        .get(no)
        .is_some_and(|b| b.first_after(&slot.position) == b.batch.len())
    {
        no += 1;
    }
    slot.place = Place::In { feed: id, no };
}

/// Copies a small remainder out of a large answer that only lanes in trouble still need, so that it does not pin it.
fn compact(feed: &mut Feed, lanes: &BTreeMap<OutputId, Slot>, budget: &Arc<Budget>) {
    let Some(oldest) = feed.oldest() else { return };
    let Some(batch) = feed.get(oldest) else {
        return;
    };
    let followers = || lanes.values().filter(|s| s.no_in(feed.id).is_some());
    if feed.next() != oldest + 1 || batch.bytes() <= SMALL || followers().any(|s| s.working) {
        return;
    }
    let len = batch.batch.len();
    let Some(from) = followers().map(|s| batch.first_after(&s.position)).min() else {
        return;
    };
    if from == 0 || from >= len || len - from > len / 8 {
        return;
    }
    let small = batch.batch.compact(from..len);
    let encoders = batch.keys().into_iter().filter_map(|key| {
        let output = lanes
            .values()
            .find(|s| s.output.encoding() == key)?
            .output
            .clone();
        Some((key, output.encoded_bound(small.len(), small.allocation())))
    });
    let (keys, bounds): (Vec<_>, Vec<_>) = encoders.unzip();
    let bytes = small.allocation() + bounds.into_iter().sum::<usize>();
    if bytes < batch.bytes() / 4
        && let Some(permit) = budget.try_reserve(Pool::Read, bytes)
    {
        let floor = batch.batch.after(from - 1);
        feed.replace_oldest(SharedBatch::new(small, keys, permit), floor);
    }
}

fn sooner(at: &mut Option<Instant>, other: Instant) {
    *at = Some(at.map_or(other, |a| a.min(other)));
}

/// Orders positions as far as they can be: where exactly a moment lies among sequence numbers, nobody knows.
fn rank(position: &Position) -> (u8, i64, Option<(&Sequence, u64)>) {
    match position {
        Position::TrimHorizon => (0, 0, None),
        Position::At(at) => (1, at.0, None),
        Position::After { .. } => (2, 0, position.rank()),
        Position::Closed => (3, 0, None),
    }
}

/// True if a feed at `tip` will come by `position`.
fn is_before(tip: &Position, position: &Position) -> bool {
    match (tip, position) {
        (Position::TrimHorizon, Position::After { .. }) => true,
        (Position::After { .. }, Position::After { .. }) => tip.rank() <= position.rank(),
        _ => false,
    }
}
