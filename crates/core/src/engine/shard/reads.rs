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
        let has_records = match read.fetched {
            Fetched::Batch(batch) if !batch.is_empty() => {
                if self.on_batch(arrived, batch, encoders, permit) == KeepReader::No {
                    return KeepReader::No;
                }
                true
            }
            Fetched::Batch(_) | Fetched::Idle => {
                self.on_idle(arrived, read.behind);
                false
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

        self.server = Some((read.complete_until.plus(read.behind), arrived.now));
        if let Some(feed) = self.feed_mut(arrived.feed) {
            feed.behind = Some(read.behind);
            feed.read_at = arrived.now;
            feed.complete(read.complete_until, arrived.goal);
        }
        self.tell_followers(arrived.feed, has_records);
        let feed = self.feed_mut(arrived.feed);
        let reopen = feed.is_some_and(|feed| std::mem::take(&mut feed.reopen));
        if reopen {
            KeepReader::No
        } else {
            KeepReader::Yes
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

        match shared(batch, encoders, permit) {
            Some(shared) => {
                feed.underestimated = false;
                feed.push(shared);
                KeepReader::Yes
            }
            None => {
                // The answer is larger than the reservation, without room for the rest: dropped,
                // and read again with enough.
                feed.underestimated = true;
                feed.due = arrived.now;
                KeepReader::No
            }
        }
    }

    fn count_batch(&mut self, batch: &Batch) {
        let records = batch.len();
        let bytes: usize = (0..records).map(|i| batch.size(i)).sum();
        self.reads.records += records as u64;
        self.reads.bytes += bytes as u64;
        self.pace.note(records, batch.allocation(), bytes);
        if let Some(last) = records.checked_sub(1) {
            let (first, last) = (batch.record(0).arrival, batch.record(last).arrival);
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
    fn tell_followers(&mut self, id: FeedId, has_records: bool) {
        let Some(feed) = self.feeds.iter().find(|f| f.id == id) else {
            return;
        };
        let (next, goal) = (feed.next(), feed.goal);
        let newest = next.saturating_sub(1);
        let joins = has_records && self.head == Some(id);

        for lane in self.lanes.values_mut() {
            let Some(number) = lane.next_in(id) else {
                // A lane at the end of another feed may find more here.
                let at_an_end = |f: &super::Feed| lane.next_in(f.id) == Some(f.next());
                if joins && !lane.is_delivering() && self.feeds.iter().any(at_an_end) {
                    lane.wake.notify_one();
                }
                continue;
            };
            if !lane.caught_up && goal.is_some_and(|goal| number >= goal) && !lane.ask_for_flush() {
                lane.caught_up = true;
                self.news = true;
            }
            if has_records && number >= newest && !lane.is_delivering() {
                lane.wake.notify_one();
            }
        }
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
        self.tell_followers(id, true);
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
            if lane.next_in(feed.id) != Some(next) || lane.is_delivering() {
                continue;
            }
            let gap = feed.gap_before(next, lane.sent());
            if let Some((from, _)) = gap.filter(|(from, _)| lane.meet_gap(from)) {
                let gap = lane.gap(output, from.clone(), oldest.cloned());
                self.gaps.met.push(gap);
            }
        }
    }

    fn take_gaps(&mut self, shard: &ShardId, wall: Millis, kept: usize) -> Vec<Gap> {
        let mut met = std::mem::take(&mut self.gaps.met);
        let mut new = Vec::new();
        if on(Mutation::GapUnsaid) {
            return new;
        }
        while let Some(from) = met.first().map(|gap| gap.from.clone()) {
            let (here, rest): (Vec<_>, Vec<_>) = met.into_iter().partition(|gap| gap.from == from);
            met = rest;
            new.extend(gap_of(shard, here, wall));
        }

        self.gaps.count += new.len() as u64;
        self.gaps.recent.extend(new.iter().cloned());
        let excess = self.gaps.recent.len().saturating_sub(kept);
        self.gaps.recent.drain(..excess);
        new
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
