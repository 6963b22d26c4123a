//! Describes a shard and its lanes for the status.

use std::time::Duration;

use crate::clock::{Instant, Millis};
use crate::engine::lock;
use crate::engine::status::{ErrorReport, Gap, LanePhase, LaneStatus};
use crate::output::Demand;
use crate::store::OutputId;

use super::lane::{Activity, Attachment, Lane, Phase};
use super::{Listing, ReadCounts, ShardCell, ShardState};

/// Reads of an idle shard are further apart than this only if they fail.
const SILENCE: Duration = Duration::from_secs(5);

/// A shard as a part of the source.
pub(crate) struct SourceReport {
    pub(crate) open: bool,
    pub(crate) reading: bool,
    /// The head's distance behind the tip.
    pub(crate) behind: Option<Duration>,
    pub(crate) gap_count: u64,
    pub(crate) gaps: Vec<Gap>,
    pub(crate) reads: ReadCounts,
}

/// A lane as a part of its output.
pub(crate) struct LaneReport {
    pub(crate) status: LaneStatus,
    /// The reason why the lane stopped.
    pub(crate) stopped: Option<String>,
    pub(crate) last_error: Option<ErrorReport>,
    pub(crate) advice: Option<String>,
}

impl ShardCell {
    pub(crate) fn describe(&self) -> SourceReport {
        let state = lock(&self.state);
        SourceReport {
            open: state.listing == Listing::Open,
            reading: !state.feeds.is_empty(),
            behind: state.head_feed().and_then(|feed| feed.behind),
            gap_count: state.gaps.count,
            gaps: state.gaps.recent.clone(),
            reads: state.reads.clone(),
        }
    }

    /// The lane of `output`. `retention`: time for which the source keeps a record.
    pub(crate) fn describe_lane(
        &self,
        output: &OutputId,
        now: Instant,
        retention: Option<Duration>,
    ) -> Option<LaneReport> {
        let state = lock(&self.state);
        let lane = state.lanes.get(output)?;
        let behind = state.behind(lane, now);
        let horizon = match (retention, behind) {
            (Some(kept), Some(behind)) => Some(kept.saturating_sub(behind)),
            _ => None,
        };

        let status = LaneStatus {
            shard: self.id.clone(),
            phase: state.lane_phase(lane),
            position: lane.position.to_string(),
            counts: lane.counts.clone(),
            behind,
            horizon,
            caught_up: lane.caught_up,
            backing_off: lane.phase == Phase::Active(Activity::BackingOff),
            held_back: lane.phase == Phase::Active(Activity::HeldBack),
        };
        Some(lane.report(status))
    }

    /// The distance of the lane of `output` behind the tip, unless the lane has ended.
    pub(crate) fn behind(&self, output: &OutputId, now: Instant) -> Option<Duration> {
        let state = lock(&self.state);
        let lane = state.lanes.get(output);
        let lane = lane.filter(|lane| lane.phase != Phase::Ended)?;
        state.behind(lane, now)
    }

    /// The rate of an open shard's records for `output`.
    pub(crate) fn demand(&self, output: &OutputId, now: Instant) -> Option<Demand> {
        let state = lock(&self.state);
        if state.listing != Listing::Open || !state.lanes.contains_key(output) {
            return None;
        }
        let at_tip = state.head_feed().is_some_and(|feed| feed.is_at_tip());
        let tip = state.server_now(now).filter(|_| at_tip);
        state.inflow.demand(tip)
    }
}

impl Lane {
    fn report(&self, status: LaneStatus) -> LaneReport {
        let stopped = match &self.phase {
            Phase::Stopped { reason } => Some(reason.clone()),
            Phase::Waiting | Phase::Active(_) | Phase::Ended => None,
        };
        LaneReport {
            status,
            stopped,
            last_error: self.last_error.clone(),
            advice: self.advice.clone(),
        }
    }
}

impl ShardState {
    fn lane_phase(&self, lane: &Lane) -> LanePhase {
        match (&lane.phase, lane.attachment) {
            (Phase::Ended, _) => LanePhase::Done,
            _ if self.is_elsewhere() => LanePhase::Elsewhere,
            (Phase::Stopped { .. }, _) => LanePhase::Stopped,
            _ if lane.paused => LanePhase::Paused,
            (Phase::Waiting, _) => LanePhase::WaitingForParents,
            (Phase::Active(_), Attachment::Following { feed, .. }) if Some(feed) == self.head => {
                LanePhase::InWindow
            }
            (Phase::Active(_), _) => LanePhase::CatchingUp,
        }
    }

    /// The distance behind the tip; `None` where another worker delivers, and knows.
    fn behind(&self, lane: &Lane, now: Instant) -> Option<Duration> {
        if self.is_elsewhere() {
            return None;
        }
        lane.behind(
            self.server_now(now),
            self.behind_of_feed(lane, now),
            self.next_arrival(lane),
        )
    }

    /// The distance of the lane's feed behind the tip, if the lane has everything of the feed. As
    /// of the last read: a source that can't be read leaves every lane behind.
    fn behind_of_feed(&self, lane: &Lane, now: Instant) -> Option<Duration> {
        let feed = self.feed(lane.followed()?)?;
        let has_all = lane.next_in(feed.id) == Some(feed.next());
        if !has_all || lane.gathered.is_some() {
            return None;
        }
        let silent = now.since(feed.read_at);
        let silent = if silent > SILENCE {
            silent
        } else {
            Duration::ZERO
        };
        Some(feed.behind? + silent)
    }

    /// The arrival time of the lane's first record that is not durable, if that is known.
    fn next_arrival(&self, lane: &Lane) -> Option<Millis> {
        if let Some(gathered) = &lane.gathered
            && gathered.first_arrival.is_some()
        {
            return gathered.first_arrival;
        }

        let feed = self.feed(lane.followed()?)?;
        let next = lane.next_in(feed.id)?;
        let batch = feed.get(next)?;
        let index = batch.first_after(lane.sent());
        if index >= batch.batch.len() {
            return None;
        }
        Some(batch.batch.record(index).arrival)
    }
}
