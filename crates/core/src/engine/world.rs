//! The shards and outputs of an engine, and the remains of shards that are gone.
//!
//! Locks are taken in this order: the world, a shard, the budget.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::batch::ShardId;
use crate::checkpoint::Position;
use crate::clock::{Instant, Millis};
use crate::ownership::OwnershipChange;
use crate::source::{Shard, StreamIdentity};
use crate::store::{LaneCheckpoint, LaneId, OutputId};

use super::mutation::{Mutation, on};
use super::shard::{GoalState, LaneChange, LaneStart, ReadCounts, ShardCell};
use super::status::{CommitStatus, Counts, ErrorReport, Gap};
use super::{EngineError, OutputSpec, Seek, Start};
use super::{lineage, report};

/// Maps that are searched for a closed shard's children before a source that names none is
/// believed.
const MAPS_WITHOUT_NAMES: u32 = 3;

/// See the module.
#[derive(Default)]
pub(crate) struct World {
    pub(crate) shards: BTreeMap<ShardId, Arc<ShardCell>>,
    /// The moment at which the newest map was asked for.
    pub(crate) map_asked: Instant,
    pub(crate) outputs: BTreeMap<OutputId, OutputEntry>,
    pub(crate) commits: CommitStatus,
    pub(crate) retention: Option<Duration>,
    pub(crate) source_error: Option<ErrorReport>,
    /// Lanes whose rows are to be deleted.
    pub(crate) forgotten: Vec<LaneId>,
    /// The reads of shards that are gone.
    pub(crate) past_reads: ReadCounts,
    pub(crate) past_gap_count: u64,
    pub(crate) past_gaps: Vec<Gap>,
    pub(crate) gaps_kept: usize,
    pub(crate) draining: bool,
    /// Shards that are over: an old map may name one once more, which must not be read again.
    pub(crate) over: BTreeSet<ShardId>,
    /// Shards that the newest map lacks, though one before had them or a child names them: the next
    /// map decides.
    pub(crate) doubted: BTreeSet<ShardId>,
    /// Wakes the supervisor.
    pub(crate) supervisor: Arc<Notify>,
}

/// One output, beyond its lanes.
pub(crate) struct OutputEntry {
    pub(crate) spec: OutputSpec,
    /// The stream behind the output, as the store has it.
    pub(crate) identity: Option<StreamIdentity>,
    /// The stream behind the output now. Differs from `identity` until the next commit.
    pub(crate) current: Option<StreamIdentity>,
    /// The output was created again, and stands until the user resumes it.
    pub(crate) awaits_user: bool,
    /// The task that asks for the identity.
    pub(crate) watch: Option<AbortHandle>,
    /// The counts of lanes of shards that are gone.
    pub(crate) past: Counts,
    /// The level of the last warning of the horizon.
    pub(crate) warned: u32,
    /// The task of a stateful pump.
    pub(crate) pump: Option<AbortHandle>,
}

/// The source's map, as asked for at one moment.
pub(crate) struct Listed<'a> {
    pub(crate) shards: &'a [Shard],
    pub(crate) asked: Instant,
    /// The server's time.
    pub(crate) server: Option<Millis>,
}

/// The goal states of all lanes.
#[derive(Default)]
struct Goals<'a> {
    /// The first error of each output.
    blocked: BTreeMap<OutputId, EngineError>,
    /// Some lane, or a shard that the map lacks, is not there yet.
    ahead: bool,
    /// The moment at which time alone may change the state.
    recheck: Option<Instant>,
    /// Lanes that wait for their parents' lanes.
    waiting: Vec<(&'a Arc<ShardCell>, OutputId)>,
}

impl<'a> Goals<'a> {
    /// Notes the state of one lane; `waits`: for its parents' lanes.
    fn note(&mut self, cell: &'a Arc<ShardCell>, output: OutputId, goal: GoalState, waits: bool) {
        match goal {
            GoalState::Reached => {}
            GoalState::Blocked(error) => {
                self.blocked.entry(output).or_insert(error);
            }
            GoalState::Ahead { .. } if waits => self.waiting.push((cell, output)),
            GoalState::Ahead { recheck } => {
                self.ahead = true;
                self.recheck = [self.recheck, recheck].into_iter().flatten().min();
            }
        }
    }
}

impl World {
    /// True if no parent of `cell` has anything left for `output`. A parent that retention has
    /// removed has nothing.
    pub(crate) fn parents_ended(&self, cell: &ShardCell, output: &OutputId) -> bool {
        if on(Mutation::ChildBeforeParent) {
            return true;
        }
        for parent in cell.parents() {
            let parent = self.shards.get(parent);
            if parent.is_some_and(|parent| !parent.has_ended(output)) {
                return false;
            }
        }
        true
    }

    /// Takes the source's map: new shards get a lane for each output, and shards that this map and
    /// the one before lack are gone. A shard whose parent is missing waits for a second map, too. A
    /// map that was asked for before the newest one only tells of shards that there are.
    pub(crate) fn merge(&mut self, map: &Listed<'_>) {
        let newest = map.asked >= self.map_asked;
        self.map_asked = self.map_asked.max(map.asked);
        // The first map is two listings already.
        let is_first = self.shards.is_empty();

        let mut listed = BTreeMap::new();
        for shard in map.shards {
            listed.insert(&shard.id, shard);
        }
        let mut doubted = self.update_shards(&listed, newest);
        for shard in map.shards {
            if self.is_known(&shard.id) {
                continue;
            }
            let unknown = self.unknown_parents(shard, &listed);
            if unknown.is_subset(&self.doubted) || is_first {
                self.add_shard(shard, map, &listed);
            } else {
                doubted.extend(unknown);
            }
        }
        if newest {
            self.doubted = doubted;
        }
    }

    /// True if this world has the shard, or had it.
    fn is_known(&self, shard: &ShardId) -> bool {
        self.over.contains(shard) || self.shards.contains_key(shard)
    }

    /// Tells each shard its entry in a map. Returns the shards that the map lacks.
    fn update_shards(
        &self,
        listed: &BTreeMap<&ShardId, &Shard>,
        newest: bool,
    ) -> BTreeSet<ShardId> {
        let mut lacking = BTreeSet::new();
        for (id, cell) in &self.shards {
            let entry = listed.get(id).copied();
            let is_doubted = self.doubted.contains(id) || on(Mutation::ListingBelieved);
            let confirmed = newest && is_doubted;
            cell.on_map(entry, newest, confirmed);
            if entry.is_none() && !cell.is_gone() {
                lacking.insert(id.clone());
            }
        }
        lacking
    }

    /// The shards of a map that this world has, for the ownership: a shard that waits for a second
    /// map is offered with that map.
    pub(crate) fn accepted(&self, mut shards: Vec<Shard>) -> Vec<Shard> {
        shards.retain(|shard| self.shards.contains_key(&shard.id));
        shards
    }

    /// The parents of a new shard that are in no map.
    fn unknown_parents(
        &self,
        shard: &Shard,
        listed: &BTreeMap<&ShardId, &Shard>,
    ) -> BTreeSet<ShardId> {
        let mut unknown = BTreeSet::new();
        for parent in &shard.parents {
            if !self.is_known(parent) && !listed.contains_key(parent) {
                unknown.insert(parent.clone());
            }
        }
        unknown
    }

    fn add_shard(&mut self, shard: &Shard, map: &Listed<'_>, listed: &BTreeMap<&ShardId, &Shard>) {
        let mut shard = shard.clone();
        let parents_of = |id: &ShardId| self.parents_of(id, listed);
        shard.parents = lineage::sound_parents(&shard, &parents_of);

        let server = map.server.map(|time| (time, map.asked));
        let cell = ShardCell::new(&shard, &self.supervisor, server);
        for entry in self.outputs.values() {
            let position = later_start(entry.spec.start, map.server);
            let start = LaneStart::without_row(position);
            cell.add_lane(&entry.spec, start);
        }
        self.shards.insert(shard.id, cell);
    }

    /// The parents of a shard that this world has, or else a map.
    fn parents_of(&self, id: &ShardId, listed: &BTreeMap<&ShardId, &Shard>) -> Vec<ShardId> {
        if let Some(cell) = self.shards.get(id) {
            return cell.parents().to_vec();
        }
        match listed.get(id) {
            Some(shard) => shard.parents.clone(),
            None => Vec::new(),
        }
    }

    /// Adds an output whose lanes are where `rows` say; shards without a row appeared meanwhile.
    pub(crate) fn add_output(
        &mut self,
        spec: &OutputSpec,
        rows: &[LaneCheckpoint],
        server: Option<Millis>,
    ) {
        let mut starts = BTreeMap::new();
        for row in rows {
            starts.insert(&row.lane, row);
        }
        for (shard, cell) in &self.shards {
            let lane = lane_of(shard, &spec.id);
            let start = match starts.get(&lane) {
                Some(row) => LaneStart::at_row(row),
                None => LaneStart::without_row(later_start(spec.start, server)),
            };
            cell.add_lane(spec, start);
        }

        let entry = OutputEntry::new(spec);
        self.outputs.insert(spec.id.clone(), entry);
    }

    /// Removes an output, and returns its lanes. Their tasks end where they are.
    pub(crate) fn remove_output(&mut self, id: &OutputId) -> Vec<LaneId> {
        if let Some(removed) = self.outputs.remove(id) {
            for task in [removed.pump, removed.watch].into_iter().flatten() {
                task.abort();
            }
        }

        let mut lanes = Vec::new();
        for (shard, cell) in &self.shards {
            if cell.remove_lane(id) {
                lanes.push(lane_of(shard, id));
            }
        }
        lanes
    }

    /// Has the rows of `lanes` deleted with the next commit.
    pub(crate) fn forget_lanes(&mut self, lanes: impl IntoIterator<Item = LaneId>) {
        if on(Mutation::RemoveForgetsNothing) {
            return;
        }
        for lane in lanes {
            if !self.forgotten.contains(&lane) {
                self.forgotten.push(lane);
            }
        }
    }

    /// True while a lane of the output has a request under way, or accepted records.
    pub(crate) fn is_delivering(&self, id: &OutputId) -> bool {
        let mut cells = self.shards.values();
        cells.any(|cell| cell.is_delivering(id))
    }

    /// Changes each lane of an output.
    pub(crate) fn change_output(&mut self, id: &OutputId, change: LaneChange<'_>) {
        if let Some(entry) = self.outputs.get_mut(id) {
            match change {
                LaneChange::Pause => entry.spec.paused = true,
                LaneChange::Resume => {
                    entry.spec.paused = false;
                    entry.accept();
                }
                LaneChange::Replace(spec) => {
                    entry.spec = spec.clone();
                    entry.current = spec.identity().or(entry.current.take());
                }
            }
        }
        for cell in self.shards.values() {
            cell.change_lane(id, change);
        }
    }

    /// Moves the cursors of an output. Nothing is changed in case of an error.
    pub(crate) fn seek(&mut self, seek: &Seek) -> Result<(), EngineError> {
        let Some(entry) = self.outputs.get_mut(&seek.output) else {
            return Ok(());
        };
        let is_meant = |(id, _): &(&ShardId, &Arc<ShardCell>)| {
            let shard = seek.shard.as_ref();
            shard.is_none_or(|shard| shard == *id)
        };
        let cells = self.shards.iter().filter(is_meant);
        let cells: Vec<&Arc<ShardCell>> = cells.map(|(_, cell)| cell).collect();
        check_seek(seek, &entry.spec, &cells)?;

        for cell in cells {
            if let Some(counts) = cell.restart_lane(&entry.spec, &seek.to) {
                entry.past.add(&counts);
            }
        }
        Ok(())
    }

    /// Drops the shards that are gone from the source and over. Their rows are deleted once the
    /// children have rows.
    pub(crate) fn tidy(&mut self) {
        let mut over = Vec::new();
        for (id, cell) in &self.shards {
            if cell.is_over() && self.children_have_rows(id) {
                over.push(id.clone());
            }
        }
        for id in over {
            self.retire(id);
        }

        let excess = self.past_gaps.len().saturating_sub(self.gaps_kept);
        self.past_gaps.drain(..excess);
    }

    fn children_have_rows(&self, id: &ShardId) -> bool {
        for child in self.shards.values() {
            if child.parents().contains(id) && !child.has_rows() {
                return false;
            }
        }
        true
    }

    /// Drops a shard that is over, and keeps its counts.
    fn retire(&mut self, id: ShardId) {
        let Some(cell) = self.shards.remove(&id) else {
            return;
        };
        let remains = cell.remains();
        for (output, counts) in remains.counts {
            if let Some(entry) = self.outputs.get_mut(&output) {
                entry.past.add(&counts);
            }
            self.forgotten.push(LaneId {
                shard: id.clone(),
                output,
            });
        }
        self.past_reads.add(&remains.reads);
        self.past_gap_count += remains.gap_count;
        self.past_gaps.extend(remains.gaps);
        self.over.insert(id);
    }

    /// Takes a change of the ownership of a shard. Nothing is left to do in shards that are over.
    pub(crate) fn on_ownership(&self, change: OwnershipChange) {
        let cell = |shard: &ShardId| self.shards.get(shard);
        match change {
            OwnershipChange::Gained { lease, progress } => {
                if let Some(cell) = cell(lease.shard()) {
                    cell.gain(lease, progress);
                }
            }
            OwnershipChange::Losing { shard, stop_by } => {
                if let Some(cell) = cell(&shard) {
                    cell.lose(stop_by);
                }
            }
            OwnershipChange::Elsewhere { shard, progress } => {
                if let Some(cell) = cell(&shard) {
                    cell.is_elsewhere(&progress);
                }
            }
        }
    }

    /// Notes which closed shards' children the map has. If the map lacks some: the number of maps
    /// that were searched for the newest of them; 0 if the map lacks other shards.
    pub(crate) fn settle(&self) -> Option<u32> {
        let mut unsettled = (!self.doubted.is_empty()).then_some(0);
        for (id, cell) in &self.shards {
            let Some((children, maps)) = cell.unsettled() else {
                continue;
            };
            if self.has_children(id, &children) || children.is_empty() && maps >= MAPS_WITHOUT_NAMES
            {
                cell.settle();
            } else {
                unsettled = Some(unsettled.map_or(maps, |least| least.min(maps)));
            }
        }
        unsettled
    }

    /// True if the map has the children of `id`; `named`: as far as the source named them.
    fn has_children(&self, id: &ShardId, named: &[ShardId]) -> bool {
        if named.is_empty() {
            return self.shards.values().any(|c| c.parents().contains(id));
        }
        named.iter().all(|child| self.shards.contains_key(child))
    }

    /// The distance of all lanes from the records that were in the source when the engine started.
    pub(crate) fn goal_state(&self, now: Instant, patience: Duration) -> GoalState {
        let mut goals = Goals::default();
        for cell in self.shards.values() {
            goals.ahead |= cell.lacks_children();
            for (output, goal, waits) in cell.goal_states(now, patience) {
                goals.note(cell, output, goal, waits);
            }
        }

        if goals.ahead || self.some_waiting_goes_on(&goals) {
            let recheck = goals.recheck;
            return GoalState::Ahead { recheck };
        }
        match goals.blocked.into_values().next() {
            Some(error) => GoalState::Blocked(error),
            None => GoalState::Reached,
        }
    }

    /// False if every lane that waits for its parents' lanes waits for blocked ones: no other lane
    /// goes on then.
    fn some_waiting_goes_on(&self, goals: &Goals<'_>) -> bool {
        for (cell, output) in &goals.waiting {
            let is_blocked = goals.blocked.contains_key(output);
            if !is_blocked || self.parents_ended(cell, output) {
                return true;
            }
        }
        false
    }

    /// Warns of outputs whose unwritten records retention will delete, louder as that moment nears:
    /// at a half, a quarter and an eighth of the retention.
    pub(crate) fn warn_of_horizon(&mut self, now: Instant) {
        let Some(retention) = self.retention else {
            return;
        };
        let ids: Vec<OutputId> = self.outputs.keys().cloned().collect();
        for id in ids {
            let horizon = report::horizon(self, &id, now).unwrap_or(retention);
            let mut levels = (1..=3).rev();
            let level = levels.find(|level| horizon <= retention / (1 << level));
            if let Some(entry) = self.outputs.get_mut(&id) {
                entry.warn_of_horizon(&id, horizon, level.unwrap_or(0));
            }
        }
    }
}

pub(crate) fn lane_of(shard: &ShardId, output: &OutputId) -> LaneId {
    LaneId {
        shard: shard.clone(),
        output: output.clone(),
    }
}

/// Fails if the cursors of an output can't be moved.
fn check_seek(
    seek: &Seek,
    spec: &OutputSpec,
    cells: &[&Arc<ShardCell>],
) -> Result<(), EngineError> {
    let output = &seek.output;
    let refused = |message: String| Err(EngineError::Invalid { message });
    if spec.output.stateful().is_some() {
        return refused(format!(
            "the output {output} keeps sums or windows that belong to its positions; restart it instead"
        ));
    }
    if let (Some(shard), []) = (&seek.shard, cells) {
        return refused(format!(
            "the source has no shard {shard}; the status lists all"
        ));
    }

    let rests = |cell: &&Arc<ShardCell>| {
        let from = seek.from.as_ref();
        from.is_none_or(|from| cell.rests_at(output, from))
    };
    if !cells.iter().all(rests) {
        return refused(format!(
            "the output {output} has gone on meanwhile; nothing has changed"
        ));
    }
    Ok(())
}

impl OutputEntry {
    fn new(spec: &OutputSpec) -> Self {
        Self {
            spec: spec.clone(),
            identity: None,
            current: spec.identity(),
            awaits_user: false,
            watch: None,
            past: Counts::default(),
            warned: 0,
            pump: None,
        }
    }

    /// The user has seen that the output was created again. The next commit writes the identity
    /// that is known; until then, the stored one is not compared with it.
    fn accept(&mut self) {
        if std::mem::take(&mut self.awaits_user) {
            self.identity = None;
        }
    }

    /// The identity to be written: a new one, unless the output was created again and waits for the
    /// user.
    pub(crate) fn to_commit(&self) -> Option<&StreamIdentity> {
        let current = self.current.as_ref()?;
        match &self.identity {
            None => Some(current),
            Some(stored) if stored == current || self.awaits_user => None,
            Some(_) => Some(current),
        }
    }

    fn warn_of_horizon(&mut self, output: &OutputId, horizon: Duration, level: u32) {
        let hours = horizon.as_secs_f64() / 3600.0;
        let text = "the source deletes records that this output has not written in";
        if level > self.warned {
            if level == 1 {
                tracing::warn!(%output, "{text} {hours:.1} h");
            } else {
                tracing::error!(%output, "{text} {hours:.1} h: repair it, or lengthen the retention");
            }
        }
        self.warned = level;
    }
}

impl LaneStart {
    fn at_row(row: &LaneCheckpoint) -> Self {
        Self {
            position: row.position.clone(),
            arrival: row.arrival,
            committed: true,
        }
    }

    fn without_row(position: Position) -> Self {
        Self {
            position,
            arrival: None,
            committed: false,
        }
    }
}

/// The start of an output in a shard that exists when the output is first seen.
pub(crate) fn first_start(start: Start, earliest: Millis) -> Position {
    match start {
        Start::TrimHorizon => Position::TrimHorizon,
        Start::Latest => Position::At(earliest),
        Start::At(at) => Position::At(at),
    }
}

/// The start of an output in a shard that was first seen later: the shard's first record, since all
/// its records came after the output's start; unless that start still lies in the future.
pub(crate) fn later_start(start: Start, server: Option<Millis>) -> Position {
    match start {
        Start::At(at) if server.is_some_and(|now| at > now) => Position::At(at),
        Start::TrimHorizon | Start::Latest | Start::At(_) => Position::TrimHorizon,
    }
}
