//! What is done before anything is read: binding the state, resolving starts, writing them down; at the engine's start
//! and when an output is added later. And what is done last.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex};

use tokio::sync::{Notify, watch};

use crate::batch::ShardId;
use crate::checkpoint::Position;
use crate::clock::{Clock, Instant, Millis};
use crate::output::Trouble;
use crate::source::{Shard, Source, SourceError, SourceFacts};
use crate::store::{CheckpointStore, LaneCheckpoint, LaneId, OutputId, State, StoreError};

use super::budget::Budget;
use super::deliver::Acked;
use super::mutation::{Mutation, on};
use super::retry::{BackoffClass, policy};
use super::settings::Settings;
use super::status::Gap;
use super::world::{World, first_start, later_start};
use super::{Change, EngineError, FanOut, OutputSpec, Shared, lock, progress};

pub(crate) async fn start(fan_out: FanOut) -> Result<Arc<Shared>, EngineError> {
    let FanOut {
        name,
        source,
        outputs,
        store,
        clock,
        settings,
    } = fan_out;
    let mut ids = BTreeSet::new();
    if let Some(twice) = outputs.iter().find(|o| !ids.insert(o.id.clone())) {
        let message = format!("two outputs have the name {}: give each its own", twice.id);
        return Err(EngineError::Invalid { message });
    }
    let asking = Asking {
        clock: &clock,
        settings: &settings,
    };
    let map = Map::ask(&asking, &*source).await?;
    let identity = map.facts.identity.clone();
    store
        .bind(&identity)
        .await
        .map_err(|e| state("opening it", e))?;
    let starts = Starts::resolve(&*store, &outputs, &map).await?;

    let offset = map
        .facts
        .time
        .latest
        .0
        .saturating_sub(i64::try_from(clock.now().0.as_millis()).unwrap_or(i64::MAX));
    let mut world = World {
        retention: Some(map.facts.retention),
        gaps_kept: settings.gaps_kept,
        ..World::default()
    };
    world.merge(&map.shards, map.asked, Some(map.facts.time.latest));
    for spec in &outputs {
        world.add(spec, &starts.rows, Some(map.facts.time.latest));
    }
    report_lost(&mut world, &outputs, &starts.orphans, clock.wall());
    world.forgotten = starts
        .orphans
        .into_iter()
        .filter(|o| ids.contains(&o.lane.output))
        .map(|o| o.lane)
        .collect();
    Ok(Arc::new(Shared {
        name,
        identity,
        limits: map.facts.limits,
        source,
        store,
        budget: Budget::new(settings.memory_budget),
        clock,
        settings,
        world: Mutex::new(world),
        goal: map.facts.time.latest,
        server_offset: offset,
        readers: 0.into(),
        lane_tasks: 0.into(),
        tasks: Mutex::default(),
        said: Mutex::default(),
        committing: tokio::sync::Mutex::new(()),
        changing: tokio::sync::Mutex::new(()),
        news: Notify::new(),
        changed: watch::Sender::new(0),
        ended: watch::Sender::new(None),
    }))
}

fn state(doing: &'static str, source: StoreError) -> EngineError {
    EngineError::Store {
        doing,
        source: Arc::new(source),
    }
}

/// Asks the source, and tries again what may pass.
struct Asking<'a> {
    clock: &'a Clock,
    settings: &'a Settings,
}

impl Asking<'_> {
    async fn source<T, F>(
        &self,
        doing: &'static str,
        call: impl Fn() -> F,
    ) -> Result<T, EngineError>
    where
        F: Future<Output = Result<T, SourceError>>,
    {
        let mut backoff = self.settings.backoff();
        let mut attempt = 1;
        loop {
            let answer = self
                .clock
                .timeout(self.settings.read_deadline, call())
                .await;
            let trouble = match answer {
                Some(Ok(value)) => return Ok(value),
                Some(Err(trouble)) => trouble,
                None => {
                    let text = format!(
                        "no answer within {} s",
                        self.settings.read_deadline.as_secs_f64()
                    );
                    Trouble::new(crate::output::TroubleKind::Unavailable, text)
                }
            };
            let class = policy(trouble.kind).class;
            if class == BackoffClass::Lasting || attempt >= self.settings.start_attempts {
                return Err(EngineError::Source {
                    doing,
                    source: trouble,
                });
            }
            attempt += 1;
            let wait = backoff.next(self.clock, class, trouble.retry_after);
            tracing::debug!(?wait, "{doing}: {trouble}");
            self.clock.sleep(wait).await;
        }
    }
}

/// The source at one moment. The time is asked for first: a shard that appears in between has only later records.
struct Map {
    asked: Instant,
    facts: SourceFacts,
    shards: Vec<Shard>,
}

impl Map {
    async fn ask(asking: &Asking<'_>, source: &dyn Source) -> Result<Self, EngineError> {
        let facts = asking.source("describing it", || source.facts()).await?;
        let asked = asking.clock.now();
        let shards = asking
            .source("listing its shards", || source.shards())
            .await?;
        Ok(Self {
            asked,
            facts,
            shards,
        })
    }
}

/// Where lanes begin: what the state says, and what was resolved now and is written down.
struct Starts {
    rows: Vec<LaneCheckpoint>,
    /// What the state says about shards that the source no longer has.
    orphans: Vec<LaneCheckpoint>,
}

impl Starts {
    async fn resolve(
        store: &dyn CheckpointStore,
        outputs: &[OutputSpec],
        map: &Map,
    ) -> Result<Self, EngineError> {
        let stored = store
            .load()
            .await
            .map_err(|e| state("reading it", e))?
            .lanes;
        let known: BTreeSet<&OutputId> = stored.iter().map(|r| &r.lane.output).collect();
        let have: BTreeSet<&LaneId> = stored.iter().map(|r| &r.lane).collect();
        let mut new = Vec::new();
        for spec in outputs {
            for shard in &map.shards {
                let lane = LaneId {
                    shard: shard.id.clone(),
                    output: spec.id.clone(),
                };
                if have.contains(&lane) {
                    continue;
                }
                let position = if known.contains(&spec.id) {
                    later_start(spec.start, Some(map.facts.time.latest))
                } else {
                    first_start(spec.start, map.facts.time.earliest)
                };
                new.push(LaneCheckpoint {
                    lane,
                    position,
                    arrival: None,
                });
            }
        }
        if !new.is_empty() && !on(Mutation::LatestNotPinned) {
            let changes = State {
                lanes: new.clone(),
                ..State::default()
            };
            store
                .commit(&changes)
                .await
                .map_err(|e| state("writing down where outputs start", e))?;
        }
        let listed: BTreeSet<&ShardId> = map.shards.iter().map(|s| &s.id).collect();
        let (mut rows, orphans): (Vec<_>, Vec<_>) = stored
            .into_iter()
            .partition(|r| listed.contains(&r.lane.shard));
        rows.extend(new);
        Ok(Self { rows, orphans })
    }
}

/// Lanes that were not done when retention removed their shard have lost what they had not written.
fn report_lost(world: &mut World, outputs: &[OutputSpec], orphans: &[LaneCheckpoint], at: Millis) {
    let lost = orphans.iter().filter(|o| o.position != Position::Closed);
    for orphan in lost.filter(|o| outputs.iter().any(|spec| spec.id == o.lane.output)) {
        let LaneId { shard, output } = &orphan.lane;
        let from = orphan.position.to_string();
        tracing::warn!(
            %shard, %output, %from,
            "this shard was deleted by the source's retention before its end was read: what it had after that, if anything, is \
             missing; going on with its children"
        );
        world.past_gaps += 1;
        world.past_gap_list.push(Gap {
            shard: shard.clone(),
            outputs: vec![output.clone()],
            from,
            at,
        });
    }
}

/// Carries out a change.
pub(crate) async fn apply(shared: &Shared, change: Change) -> Result<(), EngineError> {
    match change {
        Change::Add(spec) => add(shared, spec).await,
        Change::Remove(id) => {
            known(shared, &id)?;
            lock(&shared.world).remove(&id);
            forget(shared, &id).await
        }
        Change::Pause(id) => {
            known(shared, &id)?;
            set_paused(shared, &id, true);
            Ok(())
        }
        Change::Resume(id) => {
            known(shared, &id)?;
            set_paused(shared, &id, false);
            Ok(())
        }
        Change::Update(spec) => {
            known(shared, &spec.id)?;
            update(shared, &spec);
            Ok(())
        }
    }
}

fn known(shared: &Shared, id: &OutputId) -> Result<(), EngineError> {
    if lock(&shared.world).outputs.contains_key(id) {
        return Ok(());
    }
    Err(EngineError::Invalid {
        message: format!("there is no output {id}"),
    })
}

fn set_paused(shared: &Shared, id: &OutputId, paused: bool) {
    let mut world = lock(&shared.world);
    if let Some(entry) = world.outputs.get_mut(id) {
        entry.spec.paused = paused;
    }
    world.each_lane(id, |slot| {
        slot.paused = paused;
        if !paused {
            (slot.stopped, slot.lasting) = (None, None);
        }
    });
}

fn update(shared: &Shared, spec: &OutputSpec) {
    let mut world = lock(&shared.world);
    if let Some(entry) = world.outputs.get_mut(&spec.id) {
        entry.spec = spec.clone();
    }
    world.each_lane(&spec.id, |slot| {
        slot.output = Arc::clone(&spec.output);
        slot.order = spec.order;
        slot.paused = spec.paused;
        slot.generation += 1;
        slot.carried = Acked::default();
        (slot.stopped, slot.lasting) = (None, None);
        slot.advice = None;
    });
}

async fn add(shared: &Shared, spec: OutputSpec) -> Result<(), EngineError> {
    if lock(&shared.world).outputs.contains_key(&spec.id) {
        return Err(EngineError::Invalid {
            message: format!("there is an output {} already", spec.id),
        });
    }
    // An output of this name may have been removed a moment ago: its state must not come back.
    progress::commit(shared)
        .await
        .map_err(|e| state("writing checkpoints", e))?;
    let asking = Asking {
        clock: &shared.clock,
        settings: &shared.settings,
    };
    let map = Map::ask(&asking, &*shared.source).await?;
    let starts = Starts::resolve(&*shared.store, std::slice::from_ref(&spec), &map).await?;
    let mut world = lock(&shared.world);
    world.merge(&map.shards, map.asked, Some(map.facts.time.latest));
    world.add(&spec, &starts.rows, Some(map.facts.time.latest));
    report_lost(
        &mut world,
        std::slice::from_ref(&spec),
        &starts.orphans,
        shared.clock.wall(),
    );
    let orphans = starts.orphans.into_iter().map(|o| o.lane);
    world
        .forgotten
        .extend(orphans.filter(|lane| lane.output == spec.id));
    Ok(())
}

/// Forgets a removed output, also in shards that are long gone.
async fn forget(shared: &Shared, id: &OutputId) -> Result<(), EngineError> {
    let stored = shared
        .store
        .load()
        .await
        .map_err(|e| state("reading it", e))?
        .lanes;
    {
        let mut world = lock(&shared.world);
        for row in stored.into_iter().filter(|r| r.lane.output == *id) {
            if !world.forgotten.contains(&row.lane) && !on(Mutation::RemoveForgetsNothing) {
                world.forgotten.push(row.lane);
            }
        }
    }
    progress::commit(shared)
        .await
        .map_err(|e| state("forgetting an output", e))
}

/// Writes what changed, the last time; what may pass is tried again.
pub(crate) async fn last_commit(shared: &Shared) -> Result<(), EngineError> {
    let settings = &shared.settings;
    let mut backoff = settings.backoff();
    let mut attempt = 1;
    loop {
        let Err(error) = progress::commit(shared).await else {
            return Ok(());
        };
        if attempt >= settings.start_attempts || !matches!(error, StoreError::Failed { .. }) {
            return Err(state("writing the last checkpoints", error));
        }
        attempt += 1;
        let wait = backoff.next(&shared.clock, BackoffClass::Passing, None);
        shared.clock.sleep(wait).await;
    }
}
