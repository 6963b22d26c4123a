//! The worker's hold on a shard: gained, lost, given back. Lanes start only in a shard that is
//! held, and start no request later than the lease is good for.

use crate::batch::ShardId;
use crate::checkpoint::Position;
use crate::clock::Instant;
use crate::engine::lock;
use crate::engine::mutation::{Mutation, on};
use crate::ownership::Lease;
use crate::store::LaneCheckpoint;

use super::lane::{Lane, Phase};
use super::{Reading, ShardCell, ShardState};

/// The hold of this worker on a shard.
#[derive(Clone, Debug)]
pub(super) enum Holding {
    /// Nothing is known yet.
    Unknown,
    /// This worker owns the shard.
    Held(Lease),
    /// This worker owns the shard until its lanes have ended.
    Losing(Loss),
    /// Another worker owns the shard, or none.
    Elsewhere,
}

/// A shard that is about to be given back.
#[derive(Clone, Debug)]
pub(crate) struct Loss {
    pub(crate) lease: Lease,
    /// The moment at which requests still under way are abandoned.
    pub(crate) stop_by: Instant,
    /// True once a task sees to it.
    handled: bool,
}

impl ShardCell {
    /// This worker owns the shard. `progress`: the rows of the lanes, if other workers may have
    /// moved them.
    pub(crate) fn gain(&self, lease: Lease, progress: Option<Vec<LaneCheckpoint>>) {
        self.event(|state| {
            if let Some(progress) = progress {
                state.apply(&self.id, &progress);
                state.restart_without_rows(&self.id, &progress);
            }
            state.holding = Holding::Held(lease);
            state.pin = super::Pin::Unasked;
            state.news = true;
        });
    }

    /// Another worker owns the shard, and has come as far as `progress`.
    pub(crate) fn is_elsewhere(&self, progress: &[LaneCheckpoint]) {
        self.event(|state| {
            if !state.is_owned() {
                state.apply(&self.id, progress);
                state.holding = Holding::Elsewhere;
                state.news = true;
            }
        });
    }

    /// This worker loses the shard at `stop_by`, or sooner if it was said before.
    pub(crate) fn lose(&self, stop_by: Instant) {
        self.event(|state| {
            match &mut state.holding {
                Holding::Held(lease) => {
                    state.holding = Holding::Losing(Loss {
                        lease: lease.clone(),
                        stop_by,
                        handled: false,
                    });
                }
                Holding::Losing(loss) => loss.stop_by = loss.stop_by.min(stop_by),
                Holding::Unknown | Holding::Elsewhere => {}
            }
            for lane in state.lanes.values() {
                lane.wake.notify_one();
            }
            state.news = true;
        });
        self.wake.notify_one();
    }

    /// The loss that no task handles yet.
    pub(crate) fn handle_loss(&self) -> Option<Loss> {
        self.event(|state| match &mut state.holding {
            Holding::Losing(loss) if !loss.handled => {
                loss.handled = true;
                Some(loss.clone())
            }
            _ => None,
        })
    }

    /// True while a lane's task runs.
    pub(crate) fn has_tasks(&self) -> bool {
        let state = lock(&self.state);
        state.lanes.values().any(Lane::has_running_task)
    }

    /// Abandons the requests that are under way.
    pub(crate) fn abort_lanes(&self) {
        let state = lock(&self.state);
        let tasks = state.lanes.values().filter_map(|lane| lane.task.as_ref());
        tasks.for_each(tokio::task::AbortHandle::abort);
    }

    /// The lease is given back: the lanes wait until the shard is gained again.
    pub(crate) fn released(&self) {
        self.event(|state| {
            state.holding = Holding::Elsewhere;
            state.feeds.clear();
            state.head = None;
            for lane in state.lanes.values_mut() {
                lane.suspend(&self.id);
            }
            state.news = true;
        });
        self.wake.notify_one();
    }

    /// The lease, if rows may be written under it at `now`.
    pub(crate) fn good_lease(&self, now: Instant) -> Option<Lease> {
        let state = lock(&self.state);
        state.lease().filter(|lease| lease.is_good(now)).cloned()
    }

    /// The lease, good or not.
    pub(crate) fn lease(&self) -> Option<Lease> {
        lock(&self.state).lease().cloned()
    }

    /// True while the lease is not good though the shard was not lost: it may be renewed yet.
    pub(crate) fn has_lapsed(&self, now: Instant) -> bool {
        let state = lock(&self.state);
        matches!(state.holding, Holding::Held(_)) && !state.may_request(now)
    }
}

impl ShardState {
    fn lease(&self) -> Option<&Lease> {
        match &self.holding {
            Holding::Held(lease) => Some(lease),
            Holding::Losing(loss) => Some(&loss.lease),
            Holding::Unknown | Holding::Elsewhere => None,
        }
    }

    fn is_owned(&self) -> bool {
        self.lease().is_some()
    }

    /// True if another worker owns the shard, or none.
    pub(super) fn is_elsewhere(&self) -> bool {
        matches!(self.holding, Holding::Elsewhere)
    }

    /// True if another worker may take over a lane of this shard.
    pub(super) fn is_shared(&self) -> bool {
        self.lease()
            .is_none_or(|lease| lease.good_until() < Instant(std::time::Duration::MAX))
    }

    /// True if a request may start at `now`.
    pub(super) fn may_request(&self, now: Instant) -> bool {
        on(Mutation::WritesAfterLease) || self.lease().is_some_and(|lease| lease.is_good(now))
    }

    /// True if lanes and reader end: the engine drains, or the shard is not this worker's.
    pub(super) fn ends_work(&self) -> bool {
        self.reading == Reading::Draining || !matches!(self.holding, Holding::Held(_))
    }

    /// Sets the lanes that have no row to their starts.
    fn restart_without_rows(&mut self, shard: &ShardId, progress: &[LaneCheckpoint]) {
        for (output, lane) in &mut self.lanes {
            let has_row = progress.iter().any(|row| row.lane.output == *output);
            if !has_row && lane.position != lane.start {
                lane.forget_gathered(shard);
                lane.lose_in_flight();
                lane.committed = None;
                lane.position = lane.start.clone();
                self.pin = super::Pin::Unasked;
            }
        }
    }

    /// Sets the lanes to the rows of the store.
    fn apply(&mut self, shard: &ShardId, progress: &[LaneCheckpoint]) {
        for row in progress {
            if let Some(lane) = self.lanes.get_mut(&row.lane.output) {
                lane.set_to(shard, row);
            }
        }
    }
}

impl Lane {
    fn has_running_task(&self) -> bool {
        self.task.as_ref().is_some_and(|task| !task.is_finished())
    }

    /// The lane's shard is given back: everything in flight is forgotten.
    fn suspend(&mut self, shard: &ShardId) {
        self.forget_gathered(shard);
        self.lose_in_flight();
        self.detach();
        self.task = None;
        self.speed = super::speed::Speed::default();
        if matches!(self.phase, Phase::Active(_)) {
            self.phase = Phase::Waiting;
        }
    }

    /// The store has `row`, perhaps of another worker.
    fn set_to(&mut self, shard: &ShardId, row: &LaneCheckpoint) {
        self.committed = Some(row.position.clone());
        if self.position == row.position {
            return;
        }
        self.forget_gathered(shard);
        self.lose_in_flight();
        self.position = row.position.clone();
        self.arrived = row.arrival;
        if self.position == Position::Closed {
            self.end();
        } else if self.phase == Phase::Ended {
            self.phase = Phase::Waiting;
        }
    }
}
