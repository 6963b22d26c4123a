//! The start of an engine, before anything is read: the state is bound to the source, and the start
//! of each lane is resolved and written.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::batch::ShardId;
use crate::checkpoint::Position;
use crate::clock::{Clock, Instant, Millis};
use crate::output::{Trouble, TroubleKind};
use crate::ownership::Sole;
use crate::source::{Shard, Source, SourceError, SourceFacts};
use crate::store::{
    CheckpointStore, LaneCheckpoint, LaneId, OutputId, OutputIdentity, Snapshot, State, StoreError,
};

use super::budget::{Budget, MemoryBudget};
use super::checkpoints::store_error;
use super::mutation::{Mutation, on};
use super::recognise::{note_others, recognise};
use super::retry::{BackoffClass, policy};
use super::settings::Settings;
use super::status::Gap;
use super::world::{Listed, World, first_start, lane_of, later_start};
use super::{EngineError, FanOut, OutputSpec, Shared, lineage, pumps};

/// Everything that an engine's tasks share, ready to run.
pub(crate) async fn start(fan_out: FanOut) -> Result<Arc<Shared>, EngineError> {
    check_outputs(&fan_out)?;
    let asking = Asking {
        clock: &fan_out.clock,
        settings: &fan_out.settings,
    };
    let source = &*fan_out.source;
    let store = &*fan_out.store;
    let outputs = &fan_out.outputs;

    let facts = asking.facts(source).await?;
    let stored = open_state(&asking, &fan_out, &facts).await?;
    let map = Map::ask(&asking, source, facts, &stored.lanes).await?;
    let starts = Starts::resolve(&asking, store, outputs, &map, stored).await?;
    pumps::restore(outputs, &starts)?;
    Ok(ready(fan_out, map, starts))
}

/// The engine's state, with the shards offered to the ownership.
fn ready(fan_out: FanOut, mut map: Map, starts: Starts) -> Arc<Shared> {
    let supervisor = Arc::new(Notify::new());
    let world = world(&fan_out, &map, starts, &supervisor);
    let shards = std::mem::take(&mut map.shards);

    let shared = shared(fan_out, map, world, supervisor);
    shared.ownership.offer(&shards);
    Arc::new(shared)
}

fn check_outputs(fan_out: &FanOut) -> Result<(), EngineError> {
    check_names(&fan_out.outputs)?;
    let is_sole = fan_out.ownership.as_ref().is_none_or(|o| o.is_sole());
    let mut outputs = fan_out.outputs.iter();
    outputs.try_for_each(|spec| pumps::check(spec, is_sole))?;
    check_pumps(&fan_out.outputs)
}

/// Binds the state to the source, and reads it.
async fn open_state(
    asking: &Asking<'_>,
    fan_out: &FanOut,
    facts: &SourceFacts,
) -> Result<State, EngineError> {
    let store = &*fan_out.store;
    let bind = || store.bind(&facts.identity);
    asking.store("opening it", bind).await?;

    if let Some(ownership) = &fan_out.ownership {
        let outputs = fan_out.outputs.iter();
        let outputs: Vec<OutputId> = outputs.map(|spec| spec.id.clone()).collect();
        ownership
            .serve(&outputs)
            .map_err(|error| store_error("opening it", error))?;
    }
    let stored = asking.load(store).await?;

    let none = BTreeSet::new();
    let stored = recognise(asking, store, &fan_out.outputs, &none, stored).await?;
    note_others(&stored, &fan_out.outputs);
    Ok(stored)
}

/// Every output names a stream that its pump has.
pub(crate) fn check_pumps(outputs: &[OutputSpec]) -> Result<(), EngineError> {
    let lacks_stream = |spec: &&OutputSpec| {
        let pump = spec.pump.as_ref();
        pump.is_some_and(|of| of.stream >= of.pump.streams())
    };
    match outputs.iter().find(lacks_stream) {
        None => Ok(()),
        Some(OutputSpec { id, .. }) => Err(EngineError::Invalid {
            message: format!("output {id} names a stream that its pump does not have"),
        }),
    }
}

fn check_names(outputs: &[OutputSpec]) -> Result<(), EngineError> {
    let mut ids = BTreeSet::new();
    match outputs.iter().find(|o| !ids.insert(&o.id)) {
        None => Ok(()),
        Some(twice) => Err(EngineError::Invalid {
            message: format!("two outputs have the name {}: give each its own", twice.id),
        }),
    }
}

fn world(fan_out: &FanOut, map: &Map, starts: Starts, supervisor: &Arc<Notify>) -> World {
    let server = Some(map.facts.time.latest);
    let mut world = World {
        retention: Some(map.facts.retention),
        gaps_kept: fan_out.settings.gaps_kept,
        supervisor: Arc::clone(supervisor),
        ..World::default()
    };
    world.merge(&Listed {
        shards: &map.shards,
        asked: map.asked,
        server,
    });

    for spec in &fan_out.outputs {
        world.add_output(spec, &starts.rows, server);
    }
    for spec in &fan_out.outputs {
        let stored = starts.identities.clone();
        world.recognise(spec, stored, fan_out.settings.on_recreated);
    }
    let wall = fan_out.clock.wall();
    report_lost(&mut world, &fan_out.outputs, &starts.orphans, wall);
    forget_orphans(&mut world, starts.orphans);
    world
}

/// Has the rows of shards that are gone deleted, as far as the outputs are known.
fn forget_orphans(world: &mut World, orphans: Vec<LaneCheckpoint>) {
    for orphan in orphans {
        let lane = orphan.lane;
        if world.outputs.contains_key(&lane.output) {
            world.forgotten.push(lane);
        }
    }
}

fn shared(fan_out: FanOut, map: Map, world: World, supervisor: Arc<Notify>) -> Shared {
    let budget = budget(&fan_out);
    let now = fan_out.clock.now().0.as_millis();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    let latest = map.facts.time.latest;
    let sole = Sole::new(Arc::clone(&fan_out.store));
    let ownership = fan_out.ownership.unwrap_or_else(|| Arc::new(sole));

    Shared {
        name: fan_out.name,
        identity: map.facts.identity,
        limits: map.facts.limits,
        source: fan_out.source,
        store: fan_out.store,
        ownership,
        clock: fan_out.clock,
        budget,
        settings: fan_out.settings,
        world: Mutex::new(world),
        goal: latest,
        server_offset: latest.0.saturating_sub(now),
        lane_tasks: 0.into(),
        tasks: Mutex::default(),
        reported: Mutex::default(),
        encodings: Mutex::default(),
        committing: tokio::sync::Mutex::new(()),
        changing: tokio::sync::Mutex::new(()),
        news: supervisor,
        changed: watch::Sender::new(0),
        ended: watch::Sender::new(None),
        source_doubted: false.into(),
    }
}

/// The memory of the engine, with room for accepted records if an output gathers.
fn budget(fan_out: &FanOut) -> Arc<Budget> {
    let budget = match &fan_out.budget {
        Some(MemoryBudget(shared)) => Arc::clone(shared),
        None => Budget::new(fan_out.settings.memory_budget),
    };
    let mut outputs = fan_out.outputs.iter();
    if outputs.any(|spec| spec.output.profile().gathers.is_some()) {
        budget.open_gathered();
    }
    budget
}

/// Asks the source, and tries again after failures that may pass.
pub(crate) struct Asking<'a> {
    pub(crate) clock: &'a Clock,
    pub(crate) settings: &'a Settings,
}

impl Asking<'_> {
    pub(crate) async fn facts(&self, source: &dyn Source) -> Result<SourceFacts, EngineError> {
        self.source("describing it", || source.facts()).await
    }

    async fn source<T, F>(
        &self,
        doing: &'static str,
        call: impl Fn() -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        let passes = |trouble: &Trouble| {
            let class = policy(trouble.kind).class;
            (class != BackoffClass::Lasting).then_some((class, trouble.retry_after))
        };
        let asked = self.retried(doing, || self.once(call()), passes).await;
        asked.map_err(|source| EngineError::Source { doing, source })
    }

    /// Everything that the store has.
    pub(crate) async fn load(&self, store: &dyn CheckpointStore) -> Result<State, EngineError> {
        self.store("reading it", || store.load()).await
    }

    /// A call of the state store, tried again after failures that may pass.
    pub(crate) async fn store<T, F>(
        &self,
        doing: &'static str,
        call: impl Fn() -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let passes = |error: &StoreError| {
            let passing = matches!(error, StoreError::Failed { .. });
            passing.then_some((BackoffClass::Passing, None))
        };
        let called = self.retried(doing, call, passes).await;
        called.map_err(|error| store_error(doing, error))
    }

    /// A call, tried again while `passes` gives the class of its failure, and the wait that the
    /// server asks for.
    async fn retried<T, E: Display, F>(
        &self,
        doing: &str,
        call: impl Fn() -> F,
        passes: impl Fn(&E) -> Option<(BackoffClass, Option<Duration>)>,
    ) -> Result<T, E>
    where
        F: Future<Output = Result<T, E>>,
    {
        let mut backoff = self.settings.backoff();
        let end = self.clock.now().plus(self.settings.start_timeout);
        let mut is_said = false;
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let passing = passes(&error).filter(|_| self.clock.now() < end);
            let Some((class, retry_after)) = passing else {
                return Err(error);
            };

            if !is_said {
                tracing::warn!("waiting: {doing} failed, and is tried again: {error}");
                is_said = true;
            }
            let wait = backoff.next(self.clock, class, retry_after);
            self.clock.sleep(wait).await;
        }
    }

    /// One call, within the deadline of a read.
    async fn once<T>(
        &self,
        call: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let deadline = self.settings.read_deadline;
        let answer = self.clock.timeout(deadline, call).await;
        answer.unwrap_or_else(|| {
            let text = format!("no answer within {} s", deadline.as_secs_f64());
            Err(Trouble::new(TroubleKind::Unavailable, text))
        })
    }
}

/// The source at one moment. The time is asked for first: a shard that appears in between has only
/// later records.
pub(crate) struct Map {
    pub(crate) asked: Instant,
    pub(crate) facts: SourceFacts,
    pub(crate) shards: Vec<Shard>,
}

impl Map {
    /// Lists the shards, and lists them once more if shards of `rows` or parents are missing: one
    /// listing is no proof that a shard is gone.
    pub(crate) async fn ask(
        asking: &Asking<'_>,
        source: &dyn Source,
        facts: SourceFacts,
        rows: &[LaneCheckpoint],
    ) -> Result<Self, EngineError> {
        let listing = || asking.source("listing its shards", || list(source));
        let mut asked = asking.clock.now();
        let mut shards = listing().await?;

        let missing = lineage::missing(&shards, rows);
        if !missing.is_empty() && !on(Mutation::ListingBelieved) {
            asking.clock.sleep(asking.settings.map_refresh_soon).await;
            asked = asking.clock.now();
            let again = listing().await?;
            lineage::report_short(&again, &missing);
            shards = lineage::union(shards, again);
        }
        Ok(Self {
            asked,
            facts,
            shards,
        })
    }
}

/// The shards that the source lists. A listing without shards is a failure: every stream has some.
pub(crate) async fn list(source: &dyn Source) -> Result<Vec<Shard>, SourceError> {
    let shards = source.shards().await?;
    if shards.is_empty() {
        let text = "the source lists no shards at all";
        return Err(Trouble::new(TroubleKind::Unavailable, text));
    }
    Ok(shards)
}

/// The starts of lanes: rows of the state, and starts that were resolved and written now.
pub(crate) struct Starts {
    pub(crate) rows: Vec<LaneCheckpoint>,
    /// Rows of shards that the source no longer has.
    pub(crate) orphans: Vec<LaneCheckpoint>,
    /// The streams behind the outputs when the rows were written.
    pub(crate) identities: Vec<OutputIdentity>,
    /// The snapshots that the rows of stateful pumps belong to.
    pub(crate) snapshots: Vec<Snapshot>,
}

impl Starts {
    pub(crate) async fn resolve(
        asking: &Asking<'_>,
        store: &dyn CheckpointStore,
        outputs: &[OutputSpec],
        map: &Map,
        stored: State,
    ) -> Result<Self, EngineError> {
        announce(&stored.lanes, outputs);
        let mut rows = new_rows(&stored.lanes, outputs, map);
        write_starts(asking, store, &rows).await?;

        let listed: BTreeSet<&ShardId> = map.shards.iter().map(|s| &s.id).collect();
        let mut orphans = Vec::new();
        for row in stored.lanes {
            if listed.contains(&row.lane.shard) {
                rows.push(row);
            } else {
                orphans.push(row);
            }
        }
        Ok(Self {
            rows,
            orphans,
            identities: stored.outputs,
            snapshots: stored.snapshots,
        })
    }
}

/// Writes down where lanes start, before anything is read.
async fn write_starts(
    asking: &Asking<'_>,
    store: &dyn CheckpointStore,
    new: &[LaneCheckpoint],
) -> Result<(), EngineError> {
    if new.is_empty() || on(Mutation::LatestNotPinned) {
        return Ok(());
    }

    let changes = State {
        lanes: new.to_vec(),
        ..State::default()
    };
    let doing = "writing down where outputs start";
    asking.store(doing, || store.commit(&changes)).await
}

/// Logs which outputs go on where they were, and which ones have no progress.
fn announce(stored: &[LaneCheckpoint], outputs: &[OutputSpec]) {
    let known: BTreeSet<&OutputId> = stored.iter().map(|row| &row.lane.output).collect();
    let mut old = Vec::new();
    let mut new = Vec::new();
    for spec in outputs {
        if known.contains(&spec.id) {
            old.push(spec.id.as_str());
        } else {
            new.push(spec.id.as_str());
        }
    }

    if !old.is_empty() {
        let outputs = old.join(", ");
        tracing::info!(outputs, "continuing at the stored progress");
    }
    if !new.is_empty() {
        let outputs = new.join(", ");
        let text = "beginning anew: the state has no progress of these outputs";
        tracing::info!(outputs, "{text}");
    }
}

/// The rows of lanes that `stored` lacks.
fn new_rows(stored: &[LaneCheckpoint], outputs: &[OutputSpec], map: &Map) -> Vec<LaneCheckpoint> {
    let have: BTreeSet<&LaneId> = stored.iter().map(|row| &row.lane).collect();
    let mut new = Vec::new();
    for spec in outputs {
        let position = start_of(spec, stored, map);
        for shard in &map.shards {
            let lane = lane_of(&shard.id, &spec.id);
            if have.contains(&lane) {
                continue;
            }
            new.push(LaneCheckpoint {
                lane,
                position: position.clone(),
                arrival: None,
            });
        }
    }
    new
}

/// The start of an output in the shards that its rows lack.
fn start_of(spec: &OutputSpec, stored: &[LaneCheckpoint], map: &Map) -> Position {
    let time = map.facts.time;
    let mut outputs = stored.iter().map(|row| &row.lane.output);
    if outputs.any(|output| *output == spec.id) {
        later_start(spec.start, Some(time.latest))
    } else {
        first_start(spec.start, time.earliest)
    }
}

/// Lanes that had not ended when retention removed their shard have lost the records that they had
/// not written.
pub(crate) fn report_lost(
    world: &mut World,
    outputs: &[OutputSpec],
    orphans: &[LaneCheckpoint],
    at: Millis,
) {
    for orphan in orphans {
        let LaneId { shard, output } = &orphan.lane;
        let wanted = outputs.iter().any(|spec| spec.id == *output);
        if orphan.position == Position::Closed || !wanted {
            continue;
        }

        let gap = Gap {
            shard: shard.clone(),
            outputs: vec![output.clone()],
            from: orphan.position.to_string(),
            from_arrival: orphan.arrival,
            to: None,
            to_arrival: None,
            at,
        };
        tracing::error!(
            %shard,
            %output,
            "GAP: the source's retention deleted this shard before its end was read: {}; its later \
             records, if there were any, are missing, and the output goes on with its children",
            gap.extent()
        );
        world.past_gap_count += 1;
        world.past_gaps.push(gap);
    }
}
