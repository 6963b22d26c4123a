//! The pins of lanes that start at the shard's oldest record; see [`super::super::pin`].

use crate::checkpoint::Sequence;
use crate::clock::Millis;
use crate::engine::lock;
use crate::engine::pin::Pinned;
use crate::output::Trouble;

use super::lane::Lane;
use super::{Pin, ShardCell, ShardState};

impl ShardCell {
    /// The shard's start, if that is to be asked for now.
    pub(crate) fn start_pin(&self) -> Option<Sequence> {
        self.event(|state| {
            let start = state.start.clone()?;
            let wanted = state.pin == Pin::Unasked && state.has_unpinned_lanes();
            if !wanted || state.ends_work() {
                return None;
            }
            state.pin = Pin::Asked;
            Some(start)
        })
    }

    /// True while a lane of this worker starts at the oldest record.
    pub(crate) fn has_unpinned_lanes(&self) -> bool {
        let state = lock(&self.state);
        state.has_unpinned_lanes() && !state.ends_work()
    }

    /// Counts a question that failed.
    pub(crate) fn pin_failed(&self, trouble: &Trouble, wall: Millis) {
        self.event(|state| state.count_failure(trouble, wall));
    }

    /// Takes the answer to the question for the shard's start.
    pub(crate) fn pin(&self, pinned: &Pinned) {
        self.event(|state| {
            let lanes = state.lanes.values_mut().filter(|lane| lane.is_unpinned());
            match pinned {
                Pinned::Start { position, since } => {
                    for lane in lanes {
                        lane.pin(position);
                        lane.arrived = lane.arrived.or(*since);
                    }
                    state.feeds.iter_mut().for_each(|feed| feed.pin(position));
                }
                Pinned::Trimmed { since } => {
                    for lane in lanes {
                        lane.arrived = lane.arrived.or(*since);
                    }
                }
            }
        });
    }
}

impl ShardState {
    fn has_unpinned_lanes(&self) -> bool {
        self.lanes.values().any(Lane::is_unpinned)
    }
}
