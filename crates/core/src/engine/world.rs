//! Everything that the engine knows: shards, outputs, and what became of those that are gone.
//!
//! Locks are taken in this order: the world, a shard, the budget.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::batch::ShardId;
use crate::checkpoint::Position;
use crate::clock::{Instant, Millis};
use crate::source::Shard;
use crate::store::{LaneCheckpoint, LaneId, OutputId};

use super::mutation::{Mutation, on};
use super::report;
use super::shard::{ReadCounts, ShardCell};
use super::slot::{Life, Slot};
use super::status::{CommitStatus, Counts, ErrorReport, Gap};
use super::{EngineError, OutputSpec, Start, lock};

/// Maps that are looked at for a closed shard's children before a source that names none is believed.
const TRIES_WITHOUT_NAMES: u32 = 3;

/// See the module.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) shards: BTreeMap<ShardId, Arc<ShardCell>>,
    /// When the newest map that was taken was asked for.
    pub(crate) map_asked: Instant,
    pub(crate) outputs: BTreeMap<OutputId, OutputEntry>,
    pub(crate) commits: CommitStatus,
    pub(crate) retention: Option<Duration>,
    pub(crate) source_error: Option<ErrorReport>,
    /// Lanes whose state is to be forgotten.
    pub(crate) forgotten: Vec<LaneId>,
    /// What shards that are gone had counted.
    pub(crate) past_reads: ReadCounts,
    pub(crate) past_gaps: u64,
    pub(crate) past_gap_list: Vec<Gap>,
    pub(crate) gaps_kept: usize,
    pub(crate) draining: bool,
    /// Shards that are done with: a map that is behind may name one once more, and it must not be read again.
    pub(crate) over: BTreeSet<ShardId>,
}

/// How far a lane, or all of them, are on their way to what was in the source when the engine started.
pub(crate) enum Way {
    /// It has that.
    There,
    /// Not yet. If time alone may change that, when.
    Going(Option<Instant>),
    /// It gets no further by itself; of several lanes the first that does not, and all others are there.
    Blocked(EngineError),
}

/// One output, beyond its lanes.
pub(crate) struct OutputEntry {
    pub(crate) spec: OutputSpec,
    /// What lanes of shards that are gone had counted.
    pub(crate) past: Counts,
    /// How loudly its horizon was warned of.
    pub(crate) warned: u32,
}

impl World {
    /// True if no parent of `cell` has anything left for `output`. A parent that retention has removed has nothing.
    pub(crate) fn parents_done(&self, cell: &ShardCell, output: &OutputId) -> bool {
        let done = |p: &Arc<ShardCell>| {
            lock(&p.state)
                .lanes
                .get(output)
                .is_none_or(|slot| slot.life == Life::Done)
        };
        on(Mutation::ChildBeforeParent)
            || cell
                .parents
                .iter()
                .filter_map(|p| self.shards.get(p))
                .all(done)
    }

    /// Takes the source's map: new shards get a lane for each output, those that are not in it are gone. One that was
    /// asked for before another one that is known already only tells of shards that there are.
    pub(crate) fn merge(&mut self, map: &[Shard], asked: Instant, server: Option<Millis>) {
        let newest = asked >= self.map_asked;
        self.map_asked = self.map_asked.max(asked);
        let listed: BTreeSet<&ShardId> = map.iter().map(|s| &s.id).collect();
        for (id, cell) in self.shards.iter().filter(|_| newest) {
            let gone = !listed.contains(id);
            let mut state = lock(&cell.state);
            if gone && !state.gone {
                tracing::info!(shard = %id, "the source no longer has this shard");
            }
            state.gone = gone;
            state.tries += u32::from(state.children.is_some() && !state.settled);
        }
        for shard in map.iter().filter(|s| !self.over.contains(&s.id)) {
            if let Some(cell) = self.shards.get(&shard.id) {
                lock(&cell.state).closed |= shard.closed;
                continue;
            }
            let cell = ShardCell::new(shard);
            for (id, entry) in &self.outputs {
                let slot = new_slot(&entry.spec, later_start(entry.spec.start, server));
                lock(&cell.state).lanes.insert(id.clone(), slot);
            }
            self.shards.insert(shard.id.clone(), cell);
        }
    }

    /// Adds an output whose lanes are where `rows` say; the shards that these don't know appeared meanwhile.
    pub(crate) fn add(
        &mut self,
        spec: &OutputSpec,
        rows: &[LaneCheckpoint],
        server: Option<Millis>,
    ) {
        for (id, cell) in &self.shards {
            let row = rows
                .iter()
                .find(|r| r.lane.output == spec.id && r.lane.shard == *id);
            let position =
                row.map_or_else(|| later_start(spec.start, server), |r| r.position.clone());
            let mut slot = new_slot(spec, position);
            slot.committed = row.map(|r| r.position.clone());
            let mut state = lock(&cell.state);
            if slot.life == Life::Done {
                // Its end was read before this start: its children are in the map, or will be soon.
                state.children.get_or_insert_default();
            }
            state.lanes.insert(spec.id.clone(), slot);
        }
        let entry = OutputEntry {
            spec: spec.clone(),
            past: Counts::default(),
            warned: 0,
        };
        self.outputs.insert(spec.id.clone(), entry);
    }

    /// Takes an output out. Its lanes' tasks end where they are.
    pub(crate) fn remove(&mut self, id: &OutputId) {
        self.outputs.remove(id);
        for (shard, cell) in &self.shards {
            if let Some(slot) = lock(&cell.state).lanes.remove(id) {
                if let Some(task) = &slot.task {
                    task.abort();
                }
                if !on(Mutation::RemoveForgetsNothing) {
                    self.forgotten.push(LaneId {
                        shard: shard.clone(),
                        output: id.clone(),
                    });
                }
            }
            cell.wake.notify_one();
        }
    }

    /// Changes each lane of an output, and wakes it.
    pub(crate) fn each_lane(&self, id: &OutputId, mut change: impl FnMut(&mut Slot)) {
        for cell in self.shards.values() {
            if let Some(slot) = lock(&cell.state).lanes.get_mut(id) {
                change(slot);
                slot.wake.notify_one();
            }
            cell.wake.notify_one();
        }
    }

    /// A lane's task broke: the lane stops. It has a new task when it is resumed.
    pub(crate) fn broken_lane(&self, lane: &LaneId, message: &str) {
        let Some(cell) = self.shards.get(&lane.shard) else {
            return;
        };
        if let Some(slot) = lock(&cell.state).lanes.get_mut(&lane.output) {
            tracing::error!(shard = %lane.shard, output = %lane.output, "a lane broke, and stops: {message}");
            slot.stopped = Some(format!(
                "it broke: {message}; this is a bug, please report it"
            ));
            slot.life = Life::Waiting;
            slot.working = false;
            slot.leave();
        }
        cell.wake.notify_one();
    }

    /// Drops the shards that are gone from the source and done with. Their lanes' state is forgotten once the children
    /// have theirs.
    pub(crate) fn tidy(&mut self) {
        let over = |cell: &ShardCell| {
            let state = lock(&cell.state);
            let done = state.lanes.values().all(|s| s.life == Life::Done);
            // The reader reports what lanes met before it ends.
            state.gone && done && state.gaps_met.is_empty()
        };
        let children_have_state = |id: &ShardId| {
            let children = self.shards.values().filter(|c| c.parents.contains(id));
            children
                .into_iter()
                .all(|c| lock(&c.state).lanes.values().all(|s| s.committed.is_some()))
        };
        let gone: Vec<ShardId> = self
            .shards
            .iter()
            .filter(|(id, c)| over(c) && children_have_state(id))
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            let Some(cell) = self.shards.remove(&id) else {
                continue;
            };
            self.over.insert(id.clone());
            let state = lock(&cell.state);
            for (output, slot) in &state.lanes {
                if let Some(entry) = self.outputs.get_mut(output) {
                    entry.past.add(&slot.counts);
                }
                self.forgotten.push(LaneId {
                    shard: id.clone(),
                    output: output.clone(),
                });
            }
            self.past_reads.add(&state.reads);
            self.past_gaps += state.gap_count;
            self.past_gap_list.extend(state.gaps.iter().cloned());
        }
        let excess = self.past_gap_list.len().saturating_sub(self.gaps_kept);
        self.past_gap_list.drain(..excess);
    }

    /// Notes which closed shards' children are known. If some are not: how often the newest of them were looked for.
    pub(crate) fn settle(&self) -> Option<u32> {
        let mut unsettled: Option<u32> = None;
        for (id, cell) in &self.shards {
            let mut state = lock(&cell.state);
            let Some(children) = state.children.clone().filter(|_| !state.settled) else {
                continue;
            };
            let (gone, tries) = (state.gone, state.tries);
            // Not while the lock is held: a child may be looked at.
            drop(state);
            let named =
                !children.is_empty() && children.iter().all(|c| self.shards.contains_key(c));
            let listed =
                children.is_empty() && self.shards.values().any(|c| c.parents.contains(id));
            let childless = children.is_empty() && tries >= TRIES_WITHOUT_NAMES;
            state = lock(&cell.state);
            state.settled = gone || named || listed || childless;
            if !state.settled {
                unsettled = Some(unsettled.map_or(tries, |t| t.min(tries)));
            }
        }
        unsettled
    }

    /// How far the lanes are on their way to what was in the source when the engine started.
    pub(crate) fn way(&self, now: Instant, patience: Duration) -> Way {
        let mut blocked: BTreeMap<OutputId, EngineError> = BTreeMap::new();
        let (mut going, mut again, mut waiting) = (false, None::<Instant>, Vec::new());
        for (shard, cell) in &self.shards {
            let state = lock(&cell.state);
            going |= state.children.is_some() && !state.settled;
            for (output, slot) in state.lanes.iter().filter(|(_, s)| !s.paused) {
                let lane = LaneId {
                    shard: shard.clone(),
                    output: output.clone(),
                };
                match state.way(slot, lane, now, patience) {
                    Way::There => {}
                    Way::Blocked(error) => {
                        blocked.entry(output.clone()).or_insert(error);
                    }
                    Way::Going(_) if slot.life == Life::Waiting => {
                        waiting.push((cell, output.clone()));
                    }
                    Way::Going(at) => {
                        going = true;
                        again = [again, at].into_iter().flatten().min();
                    }
                }
            }
        }
        // A lane that waits for its parents' lanes waits for those that are blocked, if nothing else goes on.
        going |= waiting
            .iter()
            .any(|(cell, id)| !blocked.contains_key(id) || self.parents_done(cell, id));
        match blocked.into_values().next() {
            _ if going => Way::Going(again),
            Some(error) => Way::Blocked(error),
            None => Way::There,
        }
    }

    /// Warns of outputs whose unwritten records retention will delete, louder as it nears: at a half, a quarter and an
    /// eighth of the retention.
    pub(crate) fn warn_of_horizon(&mut self, now: Instant) {
        let Some(retention) = self.retention else {
            return;
        };
        let horizons: Vec<(OutputId, Option<Duration>)> = self
            .outputs
            .keys()
            .map(|id| (id.clone(), report::horizon(self, id, now)))
            .collect();
        for (id, horizon) in horizons {
            let Some(entry) = self.outputs.get_mut(&id) else {
                continue;
            };
            let level = (1..=3)
                .rev()
                .find(|level| horizon.is_some_and(|h| h <= retention / (1 << level)));
            let level = level.unwrap_or(0);
            let hours = horizon.unwrap_or(retention).as_secs_f64() / 3600.0;
            if level > entry.warned {
                let text = "what this output has not written is deleted from the source in";
                if level == 1 {
                    tracing::warn!(output = %id, "{text} {hours:.1} h");
                } else {
                    tracing::error!(output = %id, "{text} {hours:.1} h: mend it, or lengthen the retention");
                }
            }
            entry.warned = level;
        }
    }
}

impl ReadCounts {
    /// Adds `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.calls += other.calls;
        self.throttled += other.throttled;
        self.failed += other.failed;
        let newer =
            other.last_error.as_ref().map(|e| e.at) > self.last_error.as_ref().map(|e| e.at);
        if newer {
            self.last_error.clone_from(&other.last_error);
        }
    }
}

fn new_slot(spec: &OutputSpec, position: Position) -> Slot {
    Slot::new(Arc::clone(&spec.output), spec.order, spec.paused, position)
}

/// Where an output begins in a shard that exists when the output is first seen.
pub(crate) fn first_start(start: Start, earliest: Millis) -> Position {
    match start {
        Start::TrimHorizon => Position::TrimHorizon,
        Start::Latest => Position::At(earliest),
        Start::At(at) => Position::At(at),
    }
}

/// Where an output begins in a shard that was first seen later: at its beginning, since all its records came after the
/// output's start; unless that still lies in the future.
pub(crate) fn later_start(start: Start, server: Option<Millis>) -> Position {
    match start {
        Start::At(at) if server.is_some_and(|now| at > now) => Position::At(at),
        Start::TrimHorizon | Start::Latest | Start::At(_) => Position::TrimHorizon,
    }
}
