//! Takes the results of reads: batches, idle answers, the end of the shard, gaps and failures.

use std::time::Duration;

use crate::batch::{Batch, ShardId};
use crate::clock::{Instant, Millis};
use crate::engine::budget::Permit;
use crate::engine::encoders::Encoders;
use crate::engine::mutation::{Mutation, on};
use crate::engine::retry::{BackoffClass, policy};
use crate::engine::settings::Settings;
use crate::engine::shared_batch::SharedBatch;
use crate::engine::status::{ErrorReport, Gap};
use crate::output::{Trouble, TroubleKind};
use crate::source::{Fetched, OldestRecord, Read, ReadLimits};

use super::feed::FeedId;
use super::lane::Lane;
use super::{End, Listing, MetGap, ShardCell, ShardState};

/// The circumstances of a read's result.
pub(crate) struct Arrived<'a> {
    pub(crate) feed: FeedId,
    pub(crate) now: Instant,
    pub(crate) settings: &'a Settings,
    pub(crate) limits: &'a ReadLimits,
    /// The server's time when the engine started.
    pub(crate) goal: Millis,
}

/// The command for the reader that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeepReader {
    /// Use the reader for the feed's next read.
    Yes,
    /// Open another one at the feed's position.
    No,
}

/// The news of a feed for the lanes that follow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    /// New records, or the end.
    NewRecords,
    /// The reader got further without records.
    Progress,
}

impl ShardCell {
    /// Counts a call that is made now; or returns the moment at which the call may be made.
    pub(crate) fn call(&self, now: Instant, limits: &ReadLimits) -> Option<Instant> {
        self.event(|state| {
            let at = state.pace.call_at(limits);
            if at > now {
                return Some(at);
            }
            state.pace.called(now, limits);
            None
        })
    }

    /// A read succeeded. `None`: the feed is closed.
    pub(crate) fn on_read(
        &self,
        arrived: &Arrived<'_>,
        read: Read,
        encoders: &Encoders,
        permit: Permit,
    ) -> Option<KeepReader> {
        self.event(|state| {
            state.feed_mut(arrived.feed)?.reading = false;
            Some(state.on_read(arrived, read, encoders, permit))
        })
    }

    /// A read failed; the next call waits for `wait`. `None`: the feed is closed.
    pub(crate) fn on_read_failed(
        &self,
        arrived: &Arrived<'_>,
        trouble: &Trouble,
        wait: Duration,
        wall: Millis,
    ) -> Option<KeepReader> {
        self.event(|state| {
            state.feed_mut(arrived.feed)?.reading = false;
            let missing = matches!(trouble.kind, TroubleKind::Missing | TroubleKind::Invalid);
            if state.listing == Listing::Gone && missing {
                // Retention has removed the shard itself.
                state.on_gap(arrived, None);
                state.on_closed(arrived.feed, Vec::new());
                return Some(KeepReader::No);
            }
            state.on_error(arrived, trouble, wait, wall);
            Some(KeepReader::Yes)
        })
    }

    /// The gaps that lanes came to since the last call. `kept`: gaps that the status keeps.
    pub(crate) fn take_gaps(&self, wall: Millis, kept: usize) -> Vec<Gap> {
        self.event(|state| state.take_gaps(&self.id, wall, kept))
    }
}

impl ShardState {
    fn on_read(
        &mut self,
        arrived: &Arrived<'_>,
        read: Read,
        encoders: &Encoders,
        permit: Permit,
    ) -> KeepReader {
        self.reads.calls += 1;
        self.lasting = None;
        let (behind, complete_until) = (read.behind, read.complete_until);
        let told = match read.fetched {
            Fetched::Batch(batch) if !batch.is_empty() => {
                if self.on_batch(arrived, batch, encoders, permit) == KeepReader::No {
                    return KeepReader::No;
                }
                Told::NewRecords
            }
            Fetched::Batch(_) | Fetched::Idle => {
                self.on_idle(arrived, behind);
                Told::Progress
            }
            Fetched::Closed { children } => {
                self.on_closed(arrived.feed, children);
                return KeepReader::No;
            }
            // A gap has no records, and tells nothing of the reader's distance from the tip.
            Fetched::Gap { oldest } => {
                self.on_gap(arrived, oldest.as_ref());
                return KeepReader::Yes;
            }
        };

        self.note_distance(arrived, behind, complete_until);
        self.tell_followers(arrived.feed, told);
        self.keeps_reader(arrived.feed)
    }

    /// Notes how far behind the tip the feed was after a read, and up to which moment everything
    /// was returned.
    fn note_distance(&mut self, arrived: &Arrived<'_>, behind: Duration, complete_until: Millis) {
        self.server = Some((complete_until.plus(behind), arrived.now));
        let Some(feed) = self.feed_mut(arrived.feed) else {
            return;
        };

        feed.behind = Some(behind);
        feed.read_at = arrived.now;
        feed.complete(complete_until, arrived.goal);
    }

    /// Another reader is opened where the feed's position was made definite.
    fn keeps_reader(&mut self, id: FeedId) -> KeepReader {
        let feed = self.feed_mut(id);
        let reopen = feed.is_some_and(|feed| std::mem::take(&mut feed.reopen));
        match reopen {
            true => KeepReader::No,
            false => KeepReader::Yes,
        }
    }

    /// The time between two reads of the feed.
    fn interval(&self, arrived: &Arrived<'_>) -> Duration {
        if self.head == Some(arrived.feed) {
            arrived.limits.head_interval()
        } else {
            arrived.limits.interval()
        }
    }

    fn on_batch(
        &mut self,
        arrived: &Arrived<'_>,
        batch: Batch,
        encoders: &Encoders,
        permit: Permit,
    ) -> KeepReader {
        self.count_batch(&batch);
        let interval = self.interval(arrived);
        let Some(feed) = self.feed_mut(arrived.feed) else {
            return KeepReader::No;
        };

        feed.idle = Duration::ZERO;
        feed.due = arrived.now.plus(interval);
        // A server that returns the records of before: nothing is new.
        if !feed.is_ahead(&batch) {
            return KeepReader::Yes;
        }
        let Some(shared) = shared(batch, encoders, permit) else {
            // The answer is larger than the reservation, without room for the rest: dropped, and
            // read again with enough.
            feed.underestimated = true;
            feed.due = arrived.now;
            return KeepReader::No;
        };
        feed.underestimated = false;
        feed.push(shared);
        KeepReader::Yes
    }

    fn count_batch(&mut self, batch: &Batch) {
        let records = batch.len();
        let mut bytes = 0;
        for i in 0..records {
            bytes += batch.size(i);
        }
        self.reads.records += records as u64;
        self.reads.bytes += bytes as u64;
        self.pace.note(records, batch.allocation(), bytes);

        if records > 0 {
            let first = batch.record(0).arrival;
            let last = batch.record(records - 1).arrival;
            self.inflow.note(first, last, records, bytes);
        }
    }

    /// An answer without records. Far from the tip the answer is a step on the way; at the tip,
    /// polls get rarer.
    fn on_idle(&mut self, arrived: &Arrived<'_>, behind: Duration) {
        let interval = self.interval(arrived);
        let longest = if behind.is_zero() {
            arrived.settings.idle_poll.max(interval)
        } else {
            interval
        };
        let Some(feed) = self.feed_mut(arrived.feed) else {
            return;
        };
        feed.idle = (feed.idle * 2).max(interval).min(longest);
        feed.due = arrived.now.plus(feed.idle);
        if behind.is_zero() {
            self.on_tip(arrived.feed);
        }
    }

    /// Notes which lanes have caught up; with new records, wakes the lanes that wait for them.
    fn tell_followers(&mut self, id: FeedId, told: Told) {
        let Some(feed) = self.feeds.iter().find(|f| f.id == id) else {
            return;
        };
        let goal = feed.goal;
        let newest = feed.next().saturating_sub(1);
        for lane in self.lanes.values_mut() {
            let Some(number) = lane.next_in(id) else {
                continue;
            };
            let is_there = goal.is_some_and(|goal| number >= goal);
            if !lane.caught_up && is_there && !lane.ask_for_flush() {
                lane.caught_up = true;
                self.news = true;
            }
            let is_news = told == Told::NewRecords && number >= newest;
            if is_news && !lane.is_delivering() {
                lane.wake.notify_one();
            }
        }

        if told == Told::NewRecords && self.head == Some(id) {
            self.call_to_head(id);
        }
    }

    /// Wakes the lanes at the end of other feeds: they may find more at the head, `id`.
    fn call_to_head(&self, id: FeedId) {
        for lane in self.lanes.values() {
            let follows_other = lane.followed().is_some_and(|followed| followed != id);
            if follows_other && !lane.is_delivering() && self.has_all_of_feed(lane) {
                lane.wake.notify_one();
            }
        }
    }

    /// True if the lane's feed has no batch for the lane.
    fn has_all_of_feed(&self, lane: &Lane) -> bool {
        let feed = lane.followed().and_then(|id| self.feed(id));
        feed.is_some_and(|feed| lane.next_in(feed.id) == Some(feed.next()))
    }

    fn on_closed(&mut self, id: FeedId, children: Vec<ShardId>) {
        if let Some(feed) = self.feed_mut(id) {
            feed.closed = true;
            feed.behind = Some(Duration::ZERO);
            feed.goal.get_or_insert(feed.next());
        }
        if self.end == End::Ahead {
            self.end = End::Read { children, maps: 0 };
        }
        self.tell_followers(id, Told::NewRecords);
        self.news = true;
    }

    /// The feed has all there is. Records that a waiting lane still had in flight were deleted
    /// before they were read again.
    fn on_tip(&mut self, id: FeedId) {
        let Some(next) = self.feed(id).map(super::Feed::next) else {
            return;
        };
        for (output, lane) in &mut self.lanes {
            let waits = lane.next_in(id) == Some(next) && !lane.is_delivering();
            if waits && lane.unsent() > 0 {
                lane.lose_in_flight();
                let gap = lane.gap(output, lane.sent().clone(), None);
                self.gaps.met.push(gap);
            }
        }
    }

    /// The records behind the feed's tip were deleted before they were read. A lane that is not
    /// there yet meets the gap later.
    fn on_gap(&mut self, arrived: &Arrived<'_>, oldest: Option<&OldestRecord>) {
        let Some(feed) = self.feeds.iter_mut().find(|f| f.id == arrived.feed) else {
            return;
        };
        feed.due = arrived.now;
        feed.note_gap(oldest.cloned());
        let next = feed.next();

        for (output, lane) in &mut self.lanes {
            let is_there = lane.next_in(feed.id) == Some(next);
            if !is_there || lane.is_delivering() {
                continue;
            }
            let Some((from, _)) = feed.gap_before(next, lane.sent()) else {
                continue;
            };
            if lane.meet_gap(from) {
                let gap = lane.gap(output, from.clone(), oldest.cloned());
                self.gaps.met.push(gap);
            }
        }
    }

    fn take_gaps(&mut self, shard: &ShardId, wall: Millis, kept: usize) -> Vec<Gap> {
        let mut met = std::mem::take(&mut self.gaps.met);
        if on(Mutation::GapUnsaid) {
            return Vec::new();
        }

        let mut new = Vec::new();
        while let Some(first) = met.first() {
            let from = first.from.clone();
            let (here, rest) = met.into_iter().partition(|gap| gap.from == from);
            if let Some(gap) = gap_of(shard, here, wall) {
                new.push(gap);
            }
            met = rest;
        }
        self.keep_gaps(&new, kept);
        new
    }

    /// Counts new gaps, and keeps the newest `kept` for the status.
    fn keep_gaps(&mut self, new: &[Gap], kept: usize) {
        let gaps = &mut self.gaps;
        gaps.count += new.len() as u64;
        gaps.recent.extend(new.iter().cloned());

        let excess = gaps.recent.len().saturating_sub(kept);
        gaps.recent.drain(..excess);
    }

    /// Counts a call that failed.
    pub(super) fn count_failure(&mut self, trouble: &Trouble, wall: Millis) {
        self.reads.calls += 1;
        if trouble.kind == TroubleKind::Throttled {
            self.reads.throttled += 1;
        } else {
            self.reads.failed += 1;
            self.reads.last_error = Some(ErrorReport {
                at: wall,
                kind: Some(trouble.kind),
                text: trouble.message.clone(),
            });
        }
    }

    fn on_error(&mut self, arrived: &Arrived<'_>, trouble: &Trouble, wait: Duration, wall: Millis) {
        self.count_failure(trouble, wall);
        if policy(trouble.kind).class == BackoffClass::Passing {
            self.lasting = None;
        } else if self.lasting.is_none() {
            self.lasting = Some((arrived.now, trouble.clone()));
            self.news = true;
        }
        // The limit is the shard's, so all its feeds wait.
        let until = arrived.now.plus(wait);
        self.pace.failed(until);
        if let Some(feed) = self.feed_mut(arrived.feed) {
            feed.due = until;
        }
    }
}

/// One gap of all lanes that came to it at the same position; `None` for no lanes.
fn gap_of(shard: &ShardId, met: Vec<MetGap>, at: Millis) -> Option<Gap> {
    let first = met.first()?;
    let (from, from_arrival) = (first.from.to_string(), first.from_arrival);
    let oldest = met.iter().find_map(|gap| gap.oldest.clone());

    Some(Gap {
        shard: shard.clone(),
        from,
        from_arrival,
        to_arrival: oldest.as_ref().map(|oldest| oldest.arrival),
        to: oldest.map(|oldest| oldest.sequence.to_string()),
        at,
        outputs: met.into_iter().map(|gap| gap.output).collect(),
    })
}

/// A batch with its memory; `None` if `permit` can't grow to the size of the batch with its rows
/// and encodings.
fn shared(batch: Batch, encoders: &Encoders, mut permit: Permit) -> Option<SharedBatch> {
    let (records, allocated) = (batch.len(), batch.allocation());
    let made = encoders.memory(records, allocated);
    if !permit.resize(allocated.saturating_add(made)) {
        return None;
    }
    Some(SharedBatch::new(batch, encoders, permit))
}
