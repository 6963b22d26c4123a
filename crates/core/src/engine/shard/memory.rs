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
        let excess = self.excess(conditions);
        if excess == 0 {
            return;
        }
        let Some(largest) = self.feeds.iter().max_by_key(|f| f.bytes()) else {
            return;
        };
        if let Some(until) = self.shrink(largest.id, excess, conditions.now) {
            next.no_later_than(until);
        }
    }

    /// Bytes to give back: memory beyond the share, taken while no other shard needed that; and
    /// where a lane has nothing to do until there is memory, the batches kept for slow lanes: the
    /// slow lanes' memory may be held by requests that hang, which count against no window.
    fn excess(&self, conditions: &Conditions<'_>) -> usize {
        let over = self.held().saturating_sub(conditions.memory_share);
        let starving = self.feeds.iter().any(|feed| self.starves(feed));
        if starving {
            over.max(conditions.budget.short())
        } else {
            over
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
        feed.reading && self.is_awaited(feed)
    }

    /// Drops batches that no lane needs. Some of the head's stay while a lane catches up, so that
    /// the lane finds a window to join.
    pub(super) fn trim(&mut self, conditions: &Conditions<'_>) {
        let room = self.room_for_laggards(conditions);
        let (lanes, head) = (&self.lanes, self.head);
        for feed in &mut self.feeds {
            let needed = lanes.values().filter_map(|lane| lane.next_in(feed.id));
            let needed = needed.min().unwrap_or(u64::MAX);
            let keep = if Some(feed.id) == head { room } else { 0 };
            drop_before(feed, needed, keep);
            compact(feed, lanes, conditions.budget);
        }
    }

    /// Bytes of the head's batches that stay for lanes that catch up.
    fn room_for_laggards(&self, conditions: &Conditions<'_>) -> usize {
        let head = self.head;
        let is_laggard = |lane: &Lane| {
            let follows_head = head.is_some() && lane.followed() == head;
            lane.runs() && !follows_head
        };

        let laggards = self.lanes.values().any(is_laggard);
        if laggards && !conditions.budget.pressed() {
            conditions.memory_share / 4
        } else {
            0
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
        if fits(self.held(), bytes, conditions) {
            if let Some(feed) = self.feed_mut(id) {
                feed.grace.go_on(conditions.now);
            }
            return true;
        }
        let feed = self.feed(id);
        if !feed.is_some_and(|feed| self.is_awaited(feed)) {
            return false;
        }

        let Some(until) = self.halve(id, conditions) else {
            return true;
        };
        if fits(self.held(), bytes, conditions) {
            return true;
        }
        next.no_later_than(until);
        false
    }

    /// Drops the oldest batches of a feed until the shard holds half its share: see
    /// [`ShardState::shrink`].
    fn halve(&mut self, id: FeedId, conditions: &Conditions<'_>) -> Option<Instant> {
        let half = conditions.memory_share / 2;
        let over = self.held().saturating_sub(half);
        self.shrink(id, over, conditions.now)
    }

    /// True if a lane waits for the next batch of `feed`.
    fn is_awaited(&self, feed: &Feed) -> bool {
        self.followers(feed.id).any(|lane| lane.waits_in(feed))
    }

    /// Memory that the shard takes: its windows, and the batches in the hands of detached lanes.
    pub(super) fn held(&self) -> usize {
        let mut held = 0;
        for feed in &self.feeds {
            held += feed.bytes();
        }
        for batch in self.loose_in_hand() {
            held += batch.bytes();
        }
        held
    }

    /// The batches in the hands of lanes that are in no window, each once.
    fn loose_in_hand(&self) -> Vec<Arc<SharedBatch>> {
        let mut loose = Vec::new();
        for lane in self.lanes.values() {
            let Some(batch) = lane.hand.upgrade() else {
                continue;
            };
            if batch.is_loose() {
                loose.push(batch);
            }
        }

        loose.sort_unstable_by_key(|batch| Arc::as_ptr(batch).addr());
        loose.dedup_by(|a, b| Arc::ptr_eq(a, b));
        loose
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

        while freed < bytes {
            let Some(oldest) = feed.oldest() else {
                break;
            };
            let blocked = kept_for(lanes, feed, oldest, usual, now);
            if blocked.is_some() {
                // No lane is detached for a batch that stays: the lane would come back at once.
                return blocked;
            }
            detach_from(lanes, id, oldest);
            if let Some(dropped) = feed.pop() {
                freed += free_bytes(&dropped);
            }
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

/// Drops the batches before the number `needed`, and keeps about `keep` bytes.
fn drop_before(feed: &mut Feed, needed: u64, keep: usize) {
    while let Some(oldest) = feed.oldest() {
        if oldest >= needed || feed.bytes() <= keep {
            return;
        }
        feed.pop();
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

/// Bytes that are free once `dropped` is: a batch in a lane's hand is not free yet.
fn free_bytes(dropped: &Arc<SharedBatch>) -> usize {
    if Arc::strong_count(dropped) == 1 {
        dropped.bytes()
    } else {
        0
    }
}

/// The moment until which the batch `oldest` of `feed` is kept for some lane; `None` if only slow
/// lanes need the batch.
fn kept_for(
    lanes: &BTreeMap<OutputId, Lane>,
    feed: &mut Feed,
    oldest: u64,
    usual: Option<u64>,
    now: Instant,
) -> Option<Instant> {
    let mut kept = None;
    for lane in lanes.values() {
        if lane.next_in(feed.id) != Some(oldest) {
            continue;
        }
        let until = kept_until(lane, feed, usual, now);
        kept = [kept, until].into_iter().flatten().min();
    }
    kept
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
    let rest = from..batch.batch.len();
    let small = batch.batch.compact(rest);
    let mut encoders: Encoders = lanes.values().map(Lane::encoder).collect();
    encoders.retain_forms(|form| batch.has_room_for(form));

    let made = encoders.memory(small.len(), small.allocation());
    let bytes = small.allocation().saturating_add(made);
    if bytes >= batch.bytes() / 4 {
        return;
    }
    let Some(permit) = budget.try_reserve(bytes) else {
        return;
    };
    let floor = batch.batch.after(from - 1);
    let smaller = SharedBatch::new(small, &encoders, permit);
    feed.replace_oldest(smaller, floor);
}

/// The only batch of the window and the first record that a lane needs, if that is worth a copy.
fn remainder(feed: &Feed, lanes: &BTreeMap<OutputId, Lane>) -> Option<(Arc<SharedBatch>, usize)> {
    let oldest = feed.oldest()?;
    let batch = feed.get(oldest)?;
    let is_single = feed.next() == oldest + 1;
    if !is_single || batch.bytes() <= SMALL {
        return None;
    }

    let from = first_needed(feed, batch, lanes)?;
    let records = batch.batch.len();
    let left = records.saturating_sub(from);
    let is_small = left > 0 && left <= records / 8;
    (from > 0 && is_small).then(|| (Arc::clone(batch), from))
}

/// The first record of `batch` that a lane of the feed needs; `None` while a lane delivers, or
/// without lanes.
fn first_needed(
    feed: &Feed,
    batch: &SharedBatch,
    lanes: &BTreeMap<OutputId, Lane>,
) -> Option<usize> {
    let mut first = None;
    for lane in lanes.values() {
        if lane.next_in(feed.id).is_none() {
            continue;
        }
        if lane.is_delivering() {
            return None;
        }
        let needed = batch.first_after(lane.sent());
        first = Some(needed.min(first.unwrap_or(needed)));
    }
    first
}
