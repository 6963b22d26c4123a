//! Decides which feed each lane follows, which feed is the head, and where feeds are opened and
//! closed.

use std::time::Duration;

use crate::checkpoint::{Position, Sequence};
use crate::clock::Instant;
use crate::store::OutputId;

use super::feed::{Feed, FeedId};
use super::lane::{Attachment, Lane};
use super::lanes::Arrival;
use super::{Conditions, NextVisit, ShardState};

/// Lanes that started to wait within this time of one another are grouped on one feed.
const GROUPED_WITHIN: Duration = Duration::from_secs(1);

impl ShardState {
    /// Drops the feeds that no lane follows.
    pub(super) fn close_unused(&mut self) {
        let mut feeds = std::mem::take(&mut self.feeds);
        feeds.retain(|feed| self.followers(feed.id).next().is_some());
        self.feeds = feeds;
    }

    /// The head is the feed that is furthest along, give or take a read: as long as the head reads
    /// on, it stays the head when a laggard's read passes it. (Its lanes would be the laggards
    /// then; and the others join it anyway.)
    pub(super) fn choose_head(&mut self, conditions: &Conditions<'_>) {
        let Some(head) = self.head_feed().or(self.feeds.first()) else {
            self.head = None;
            return;
        };
        let silence = conditions.settings.idle_poll * 2;
        let reads_on = head.reading || conditions.now.since(head.read_at) < silence;
        if Some(head.id) == self.head && reads_on {
            return;
        }

        let mut head = head;
        for feed in &self.feeds {
            if is_further(feed, head) {
                head = feed;
            }
        }
        self.head = Some(head.id);
    }

    /// Gives every lane that waits for one a feed, if possible.
    pub(super) fn attach(&mut self, conditions: &Conditions<'_>, next: &mut NextVisit) {
        // Each round attaches at least one lane or ends.
        for _ in 0..=self.lanes.len() {
            self.attach_waiting(conditions.now);
            let Some(position) = self.next_to_open(conditions, next) else {
                return;
            };

            let id = self.next_feed;
            self.next_feed += 1;
            let start = self.start.clone();
            let feed = Feed::new(id, position, start, conditions.now);
            self.feeds.push(feed);
            if self.head.is_none() {
                self.head = Some(id);
            }
        }
    }

    /// Attaches the lanes that wait and that some feed covers.
    fn attach_waiting(&mut self, now: Instant) {
        let Self {
            lanes, feeds, head, ..
        } = self;
        let mut attached = Vec::new();
        for (output, lane) in lanes {
            if lane.waiting_since().is_none() {
                continue;
            }
            find_feed(lane, feeds, *head, now);
            if let Attachment::Following { feed, next } = lane.attachment {
                lane.wake.notify_one();
                attached.push((output.clone(), feed, next));
            }
        }

        for (output, feed, next) in attached {
            self.note_attached(&output, feed, next);
        }
    }

    /// Notes where a lane stands in a feed that covers it. The feed can have everything and close
    /// in this same round, before the lane's task has run.
    fn note_attached(&mut self, output: &OutputId, feed: FeedId, next: u64) {
        let is_idle = |lane: &Lane| !lane.is_delivering();
        if self.lanes.get(output).is_some_and(is_idle)
            && self.note_arrival(output, feed, next) == Arrival::BehindFlush
            && let Some(lane) = self.lanes.get_mut(output)
        {
            lane.ask_for_flush();
        }
    }

    /// The position of the next feed to be opened for lanes that wait.
    fn next_to_open(
        &mut self,
        conditions: &Conditions<'_>,
        next: &mut NextVisit,
    ) -> Option<Position> {
        if self.feeds.is_empty() {
            // The head serves the lanes that are furthest along; they wait for no other lane.
            let waiting = self.waiting().map(|(_, position)| position);
            let furthest = waiting.max_by_key(|position| rank(position));
            return furthest.cloned();
        }

        let candidates = self.candidates(conditions, next)?;
        let position = candidates
            .into_iter()
            .min_by_key(|position| rank(position))?
            .clone();
        let most = conditions.settings.catch_up_readers;
        if self.feeds.len() > most && !self.free_a_feed(conditions.now) {
            // Some lane's turn ends some time; no event wakes the reader at that moment.
            let soon = conditions.now.plus(conditions.settings.idle_poll);
            next.no_later_than(soon);
            return None;
        }
        Some(position)
    }

    /// Lanes that wait for a feed: since when, and their cursors.
    fn waiting(&self) -> impl Iterator<Item = (Instant, &Position)> {
        let lanes = self.lanes.values();
        lanes.filter_map(|lane| Some((lane.waiting_since()?, lane.sent())))
    }

    /// The cursors of the lanes that have waited longest, except lanes that a feed will come by
    /// soon. Lanes that started to wait at about the same time are grouped: the feed starts where
    /// the first of them is, and comes by the others.
    fn candidates(
        &self,
        conditions: &Conditions<'_>,
        next: &mut NextVisit,
    ) -> Option<Vec<&Position>> {
        let oldest = self.waiting().map(|(since, _)| since).min()?;
        let mut candidates = Vec::new();
        for (since, position) in self.waiting() {
            if since.since(oldest) >= GROUPED_WITHIN {
                continue;
            }
            let due = since.plus(conditions.settings.grouping_patience);
            if due > conditions.now && self.is_catching_up_to(position) {
                next.no_later_than(due);
            } else {
                candidates.push(position);
            }
        }
        Some(candidates)
    }

    /// True if the feed of some laggards will come by `position`.
    fn is_catching_up_to(&self, position: &Position) -> bool {
        let mut laggards = self.feeds.iter().filter(|f| Some(f.id) != self.head);
        laggards.any(|feed| is_before(feed.tip(), position))
    }

    /// Closes a catch-up feed whose lanes can't use it now. False if there is none.
    fn free_a_feed(&mut self, now: Instant) -> bool {
        let mut feeds = self.feeds.iter();
        let Some(feed) = feeds.find(|feed| self.is_free(feed, now)) else {
            return false;
        };

        let id = feed.id;
        for lane in self.lanes.values_mut() {
            if lane.next_in(id).is_some() {
                let busy = lane.is_backing_off() || lane.is_delivering();
                lane.attachment = Attachment::Detached {
                    waiting_since: (!busy).then_some(now),
                };
            }
        }
        self.feeds.retain(|f| f.id != id);
        true
    }

    /// True if no lane can use the catch-up feed now.
    fn is_free(&self, feed: &Feed, now: Instant) -> bool {
        if Some(feed.id) == self.head || feed.reading {
            return false;
        }
        let mut followers = self.followers(feed.id);
        followers.all(|lane| is_unused(feed, lane, now))
    }

    /// Finds a feed for the lane of `output`, or a better one.
    pub(super) fn find_feed(&mut self, output: &OutputId, now: Instant) {
        let Self {
            lanes, feeds, head, ..
        } = self;
        if let Some(lane) = lanes.get_mut(output) {
            find_feed(lane, feeds, *head, now);
        }
    }
}

/// True if the tip of `feed` is known to lie behind that of `other`.
fn is_further(feed: &Feed, other: &Feed) -> bool {
    let (tip, best) = (feed.tip().rank(), other.tip().rank());
    let both_known = tip.is_some() && best.is_some();
    both_known && tip > best
}

/// True if `lane` can't use the feed that it follows: the lane backs off, is busy for long with the
/// batch in hand, or has everything.
fn is_unused(feed: &Feed, lane: &Lane, now: Instant) -> bool {
    let at_the_end = feed.is_at_tip() && feed.idle > Duration::ZERO;
    let has_all = at_the_end && lane.next_in(feed.id) == Some(feed.next());
    match lane.is_delivering() {
        true => lane.speed.is_overdue(now),
        false => lane.is_backing_off() || has_all,
    }
}

/// Finds a feed for a lane that has none, or a better one: the head if that covers the lane's
/// cursor; else, if the lane has to wait in its own feed, another one with records for the lane.
fn find_feed(lane: &mut Lane, feeds: &[Feed], head: Option<FeedId>, now: Instant) {
    let own = lane.followed();
    if own.is_none() || own != head {
        if let Some(feed) = better_feed(lane, feeds, head) {
            lane.attachment = Attachment::Following {
                feed: feed.id,
                next: feed.locate(lane.sent()),
            };
        } else if let Attachment::Detached { waiting_since } = &mut lane.attachment {
            waiting_since.get_or_insert(now);
        }
    }
    skip_passed(lane, feeds);
}

/// A feed that is better for `lane` than its own.
fn better_feed<'a>(lane: &Lane, feeds: &'a [Feed], head: Option<FeedId>) -> Option<&'a Feed> {
    let find = |id: Option<FeedId>| feeds.iter().find(|f| Some(f.id) == id);
    if let Some(head) = find(head)
        && head.covers(lane.sent())
    {
        return Some(head);
    }

    let own = find(lane.followed());
    if let Some(own) = own {
        let next = lane.next_in(own.id)?;
        if own.get(next).is_some() {
            return None;
        }
    }
    for feed in feeds {
        let is_other = Some(feed.id) != lane.followed() && Some(feed.id) != head;
        if !is_other || !feed.covers(lane.sent()) {
            continue;
        }
        if own.is_none_or(|own| is_better(feed, own, lane)) {
            return Some(feed);
        }
    }
    None
}

/// True if `lane`, which has to wait in `own`, finds records in `feed`, or an older feed.
fn is_better(feed: &Feed, own: &Feed, lane: &Lane) -> bool {
    feed.id < own.id || feed.locate(lane.sent()) < feed.next()
}

/// Passes over batches that the lane has already.
fn skip_passed(lane: &mut Lane, feeds: &[Feed]) {
    let Attachment::Following { feed: id, mut next } = lane.attachment else {
        return;
    };
    let Some(feed) = feeds.iter().find(|f| f.id == id) else {
        return;
    };
    while feed
        .get(next)
        .is_some_and(|b| b.first_after(lane.sent()) == b.batch.len())
    {
        next += 1;
    }
    lane.attachment = Attachment::Following { feed: id, next };
}

/// Orders positions as far as possible: the exact place of a moment among sequence numbers is
/// unknown.
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
