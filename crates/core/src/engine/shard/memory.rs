//! Memory of a shard: drops the batches that no lane needs, and takes batches from slow lanes when
//! there is no room for others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::Instant;
use crate::engine::budget::Budget;
use crate::engine::encoders::Encoders;
use crate::engine::shared_batch::SharedBatch;
use crate::store::OutputId;

use super::feed::{Feed, FeedId};
use super::lane::Lane;
use super::{Conditions, NextVisit, SMALL, ShardState};

impl ShardState {
    /// While a reader waits for memory, lanes that could do nothing with their batches now don't
    /// hold them; while a lane waits for memory for accepted records, all lanes flush theirs.
    pub(super) fn relieve(&mut self, conditions: &Conditions<'_>, next: &mut NextVisit) {
        if conditions.budget.is_gathering_short() {
            for lane in self.lanes.values_mut() {
                lane.ask_for_flush();
            }
        }
        if !conditions.budget.pressed() {
            return;
        }
        self.detach_backing_off(conditions.memory_share);

        // Memory beyond the share, taken while no other shard needed that; and where a lane has
        // nothing to do until there is memory, the batches kept for slow lanes: the slow lanes'
        // memory may be held by requests that hang, which count against no window.
        let starving = self.feeds.iter().any(|feed| self.starves(feed));
        let short = if starving {
            conditions.budget.short()
        } else {
            0
        };
        let over = self.held().saturating_sub(conditions.memory_share);
        let over = over.max(short);
        if over == 0 {
            return;
        }
        let largest = self.feeds.iter().max_by_key(|f| f.bytes()).map(|f| f.id);
        if let Some(feed) = largest
            && let Some(until) = self.shrink(feed, over, conditions.now)
        {
            next.no_later_than(until);
        }
    }

    /// Detaches the lanes that back off from windows that are worth dropping.
    fn detach_backing_off(&mut self, memory_share: usize) {
        let Self { feeds, lanes, .. } = self;
        let worth = SMALL.min(memory_share / 8);
        for feed in feeds.iter().filter(|f| f.bytes() > worth) {
            for lane in lanes.values_mut() {
                if lane.is_backing_off() && lane.next_in(feed.id).is_some() {
                    lane.detach();
                }
            }
        }
    }

    /// True if a lane has nothing to do until a read of `feed` has its memory.
    fn starves(&self, feed: &Feed) -> bool {
        feed.reading && self.followers(feed.id).any(|lane| lane.waits_in(feed))
    }

    /// Drops batches that no lane needs. Some of the head's stay while a lane catches up, so that
    /// the lane finds a window to join.
    pub(super) fn trim(&mut self, conditions: &Conditions<'_>) {
        let head = self.head;
        let is_laggard = |lane: &Lane| lane.runs() && (head.is_none() || lane.followed() != head);
        let laggards = self.lanes.values().any(is_laggard);
        let room = if laggards && !conditions.budget.pressed() {
            conditions.memory_share / 4
        } else {
            0
        };

        let lanes = &self.lanes;
        for feed in &mut self.feeds {
            let needed = lanes.values().filter_map(|lane| lane.next_in(feed.id));
            let needed = needed.min().unwrap_or(u64::MAX);
            let keep = if Some(feed.id) == head { room } else { 0 };
            while feed.oldest().is_some_and(|oldest| oldest < needed) && feed.bytes() > keep {
                feed.pop();
            }
            compact(feed, lanes, conditions.budget);
        }
    }

    /// Makes room for `bytes` within the shard's share: if a lane waits for more, the lanes that
    /// hold the oldest batches are detached, down to half the share. False if the share is full and
    /// no lane waits, or if only lanes that are no slower than others hold the batches.
    pub(super) fn make_room(
        &mut self,
        id: FeedId,
        bytes: usize,
        conditions: &Conditions<'_>,
        next: &mut NextVisit,
    ) -> bool {
        let held = self.held();
        if fits(held, bytes, conditions) {
            if let Some(feed) = self.feed_mut(id) {
                feed.grace.go_on(conditions.now);
            }
            return true;
        }

        let waits = |feed: &Feed| self.followers(id).any(|lane| lane.waits_in(feed));
        if !self.feed(id).is_some_and(waits) {
            return false;
        }
        let over = held.saturating_sub(conditions.memory_share / 2);
        let blocked = self.shrink(id, over, conditions.now);
        let fits = fits(self.held(), bytes, conditions);
        if let Some(until) = blocked.filter(|_| !fits) {
            next.no_later_than(until);
        }
        fits || blocked.is_none()
    }

    /// Memory that the shard takes: its windows, and the batches in the hands of detached lanes.
    pub(super) fn held(&self) -> usize {
        let in_hand = self.lanes.values().filter_map(|lane| lane.hand.upgrade());
        let mut loose: Vec<_> = in_hand.filter(|batch| batch.is_loose()).collect();
        loose.sort_unstable_by_key(|batch| Arc::as_ptr(batch).addr());
        loose.dedup_by(|a, b| Arc::ptr_eq(a, b));

        let windows: usize = self.feeds.iter().map(Feed::bytes).sum();
        windows + loose.iter().map(|batch| batch.bytes()).sum::<usize>()
    }

    /// Drops the feed's oldest batches, of at least `bytes` together, and detaches the slow lanes
    /// that still need them. Stops at a batch that a lane needs which is about as fast as the
    /// others: lanes drift apart, and reading a stretch again for a lane that is half as fast takes
    /// as much of the shard's limit as waiting for that lane. Returns the moment at which the lane
    /// would count as slow.
    fn shrink(&mut self, id: FeedId, bytes: usize, now: Instant) -> Option<Instant> {
        let usual = self.usual_speed(id);
        let Self { feeds, lanes, .. } = self;
        let feed = feeds.iter_mut().find(|f| f.id == id)?;
        let mut freed = 0;

        while freed < bytes
            && let Some(oldest) = feed.oldest()
        {
            let needs = |lane: &&Lane| lane.next_in(id) == Some(oldest);
            let blocked = lanes
                .values()
                .filter(needs)
                .filter_map(|lane| kept_until(lane, feed, usual, now))
                .min();
            if blocked.is_some() {
                // No lane is detached for a batch that stays: the lane would come back at once.
                return blocked;
            }

            detach_from(lanes, id, oldest);
            let dropped = feed.pop();
            // A batch in a lane's hand is not free yet.
            let free = dropped.filter(|batch| Arc::strong_count(batch) == 1);
            freed += free.map_or(0, |batch| batch.bytes());
        }
        feed.grace.go_on(now);
        None
    }

    /// The median speed of the lanes that follow a feed, in nanoseconds a KiB.
    fn usual_speed(&self, feed: FeedId) -> Option<u64> {
        let speeds = self
            .followers(feed)
            .filter_map(|lane| lane.speed.nanos_per_kib);
        let mut speeds: Vec<u64> = speeds.collect();
        speeds.sort_unstable();
        speeds.get(speeds.len() / 2).copied()
    }
}

impl Lane {
    /// True if the lane waits for the next batch of `feed`.
    fn waits_in(&self, feed: &Feed) -> bool {
        self.runs() && !self.is_delivering() && self.next_in(feed.id) == Some(feed.next())
    }
}

/// True if the shard may take `bytes` more than the `held` ones.
fn fits(held: usize, bytes: usize, conditions: &Conditions<'_>) -> bool {
    if held == 0 || held + bytes <= conditions.memory_share {
        return true;
    }
    // Beyond its share a shard takes only as much as leaves room for others at once: none of them
    // waits until the shard gives that back.
    let budget = conditions.budget;
    bytes <= budget.free().saturating_sub(budget.read_pool() / 4)
}

/// The moment until which the oldest batch of `feed` is kept for `lane`; `None` if the lane is
/// slow.
fn kept_until(lane: &Lane, feed: &mut Feed, usual: Option<u64>, now: Instant) -> Option<Instant> {
    let backing_off = lane.is_backing_off();
    if lane.runs() && !lane.is_delivering() && !backing_off {
        // The lane is about to take the batch, which would be read again for nothing, without end.
        return Some(Instant(Duration::MAX));
    }
    let slow_at = lane.speed.slow_at(usual);
    let slow_at = slow_at.filter(|at| *at > now && !backing_off);
    if slow_at.is_some() {
        return slow_at;
    }
    match backing_off || lane.speed.is_overdue(now) {
        true => None,
        false => feed.grace.wait(now),
    }
}

/// Detaches the lanes whose next batch in the feed is `oldest`.
fn detach_from(lanes: &mut BTreeMap<OutputId, Lane>, feed: FeedId, oldest: u64) {
    for lane in lanes.values_mut() {
        if lane.next_in(feed) == Some(oldest) {
            lane.detach();
            // A lane that waits for nothing else asks for a feed of its own.
            lane.wake.notify_one();
        }
    }
}

/// Copies a small remainder out of a large answer that only lanes in trouble still need, so that
/// the remainder does not pin the answer.
fn compact(feed: &mut Feed, lanes: &BTreeMap<OutputId, Lane>, budget: &Arc<Budget>) {
    let Some((batch, from)) = remainder(feed, lanes) else {
        return;
    };
    let small = batch.batch.compact(from..batch.batch.len());
    let mut encoders: Encoders = lanes.values().map(Lane::encoder).collect();
    encoders.retain_forms(|form| batch.has_room_for(form));
    let made = encoders.memory(small.len(), small.allocation());
    let bytes = small.allocation().saturating_add(made);

    if bytes < batch.bytes() / 4
        && let Some(permit) = budget.try_reserve(bytes)
    {
        let floor = batch.batch.after(from - 1);
        feed.replace_oldest(SharedBatch::new(small, &encoders, permit), floor);
    }
}

/// The only batch of the window and the first record that a lane needs, if that is worth a copy.
fn remainder(feed: &Feed, lanes: &BTreeMap<OutputId, Lane>) -> Option<(Arc<SharedBatch>, usize)> {
    let oldest = feed.oldest()?;
    let batch = feed.get(oldest)?;
    let followers = || {
        lanes
            .values()
            .filter(|lane| lane.next_in(feed.id).is_some())
    };
    let single = feed.next() == oldest + 1;
    if !single || batch.bytes() <= SMALL || followers().any(Lane::is_delivering) {
        return None;
    }

    let records = batch.batch.len();
    let from = followers()
        .map(|lane| batch.first_after(lane.sent()))
        .min()?;
    let left = records.saturating_sub(from);
    (from > 0 && left > 0 && left <= records / 8).then(|| (Arc::clone(batch), from))
}
