//! Changes to a running engine: outputs are added, paused, resumed, replaced and removed.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::store::{LaneCheckpoint, OutputId};

use super::checkpoints::{self, store_error};
use super::recognise::recognise;
use super::shard::LaneChange;
use super::start::{Asking, Map, Starts, check_pumps, report_lost};
use super::world::{Listed, World};
use super::{Change, EngineError, OutputSpec, Seek, Shared, lock, pumps};

/// The time for the requests under way of an output that leaves the file.
const LAST_REQUESTS: Duration = Duration::from_secs(1);

/// The result of a change.
#[derive(Clone, Debug)]
#[must_use = "a change can be refused"]
pub struct Applied {
    /// The output that was to be changed.
    pub output: OutputId,
    /// The effect on the output.
    pub effect: Effect,
}

/// The effect of a change on one output.
#[derive(Clone, Debug)]
pub enum Effect {
    /// The output runs, or waits while paused.
    Added,
    /// The output is gone, and so are its checkpoints.
    Removed,
    /// The output is gone; its checkpoints are kept.
    Detached,
    /// The output is gone. Its checkpoints could not be deleted now, and are deleted with a later
    /// commit, as far as they belong to shards that the source still has.
    RemovedInPart(EngineError),
    /// Nothing more is read or written for the output.
    Paused,
    /// The output goes on.
    Resumed,
    /// The output has the new settings.
    Updated,
    /// The cursors are at the new place, also in the store.
    Sought,
    /// Nothing has changed, for this reason.
    Refused(EngineError),
}

impl Applied {
    /// The error of a change without its full effect.
    pub fn done(self) -> Result<(), EngineError> {
        match self.effect {
            Effect::Refused(error) | Effect::RemovedInPart(error) => Err(error),
            Effect::Added
            | Effect::Removed
            | Effect::Detached
            | Effect::Paused
            | Effect::Resumed
            | Effect::Updated
            | Effect::Sought => Ok(()),
        }
    }
}

/// Carries out a change.
pub(crate) async fn apply(shared: &Shared, change: Change) -> Applied {
    let output = change.output().clone();
    let effect = match change {
        Change::Add(spec) => add(shared, spec).await,
        Change::Remove(id) => remove(shared, &id).await,
        Change::Detach(id) => detach(shared, &id).await,
        Change::Pause(id) => pause(shared, &id),
        Change::Resume(id) => resume(shared, &id),
        Change::Update(spec) => update(shared, &spec),
        Change::Seek(to) => seek(shared, &to).await,
    };
    let effect = effect.unwrap_or_else(Effect::Refused);
    Applied { output, effect }
}

impl Change {
    /// The output that is changed.
    pub fn output(&self) -> &OutputId {
        match self {
            Self::Add(spec) | Self::Update(spec) => &spec.id,
            Self::Remove(id) | Self::Detach(id) | Self::Pause(id) | Self::Resume(id) => id,
            Self::Seek(to) => &to.output,
        }
    }
}

fn pause(shared: &Shared, id: &OutputId) -> Result<Effect, EngineError> {
    change_output(shared, id, LaneChange::Pause)?;
    Ok(Effect::Paused)
}

fn resume(shared: &Shared, id: &OutputId) -> Result<Effect, EngineError> {
    change_output(shared, id, LaneChange::Resume)?;
    Ok(Effect::Resumed)
}

fn update(shared: &Shared, spec: &OutputSpec) -> Result<Effect, EngineError> {
    pumps::check_update(&lock(&shared.world), spec)?;
    check_pumps(std::slice::from_ref(spec))?;
    change_output(shared, &spec.id, LaneChange::Replace(spec))?;
    Ok(Effect::Updated)
}

fn change_output(
    shared: &Shared,
    id: &OutputId,
    change: LaneChange<'_>,
) -> Result<(), EngineError> {
    known(shared, id)?;
    lock(&shared.world).change_output(id, change);
    Ok(())
}

fn known(shared: &Shared, id: &OutputId) -> Result<(), EngineError> {
    if lock(&shared.world).outputs.contains_key(id) {
        return Ok(());
    }
    Err(EngineError::Invalid {
        message: format!("there is no output {id}"),
    })
}

async fn seek(shared: &Shared, to: &Seek) -> Result<Effect, EngineError> {
    known(shared, &to.output)?;
    if !shared.ownership.is_sole() {
        let message = "several workers share the shards: stop all of them, and start the output again \
                       under another name, with the start that you want";
        return Err(EngineError::Invalid {
            message: message.to_owned(),
        });
    }

    {
        // A commit that is under way has the old cursors.
        let _guard = shared.committing.lock().await;
        lock(&shared.world).seek(to)?;
    }
    checkpoints::commit(shared)
        .await
        .map_err(|e| store_error("writing the new positions", e))?;
    Ok(Effect::Sought)
}

async fn add(shared: &Shared, spec: OutputSpec) -> Result<Effect, EngineError> {
    check_addition(shared, &spec)?;
    // An output of this name may have been removed a moment ago: its rows must not come back.
    checkpoints::commit(shared)
        .await
        .map_err(|e| store_error("writing checkpoints", e))?;

    let (map, starts) = starts_of(shared, &spec).await?;
    pumps::restore(std::slice::from_ref(&spec), &starts)?;
    add_to_world(shared, &spec, map, starts);
    Ok(Effect::Added)
}

fn check_addition(shared: &Shared, spec: &OutputSpec) -> Result<(), EngineError> {
    if lock(&shared.world).outputs.contains_key(&spec.id) {
        return Err(EngineError::Invalid {
            message: format!("there is an output {} already", spec.id),
        });
    }

    pumps::check(spec, shared.ownership.is_sole())?;
    check_pumps(std::slice::from_ref(spec))
}

/// The source as it is now, and the starts of the lanes of an output that is about to be added.
async fn starts_of(shared: &Shared, spec: &OutputSpec) -> Result<(Map, Starts), EngineError> {
    let source = &*shared.source;
    let store = &*shared.store;
    let asking = Asking {
        clock: &shared.clock,
        settings: &shared.settings,
    };
    let facts = asking.facts(source).await?;
    let stored = asking.load(store).await?;
    let map = Map::ask(&asking, source, facts, &stored.lanes).await?;

    serve(shared, Some(&spec.id))?;
    let added = std::slice::from_ref(spec);
    let running: BTreeSet<OutputId> = lock(&shared.world).outputs.keys().cloned().collect();
    let stored = recognise(&asking, store, added, &running, stored).await?;
    let starts = Starts::resolve(&asking, store, added, &map, stored).await?;
    Ok((map, starts))
}

/// Adds an output with its lanes, in one step under the world's lock.
fn add_to_world(shared: &Shared, spec: &OutputSpec, map: Map, starts: Starts) {
    let mut world = lock(&shared.world);
    let server = Some(map.facts.time.latest);
    world.merge(&Listed {
        shards: &map.shards,
        asked: map.asked,
        server,
    });
    let accepted = world.accepted(map.shards);
    shared.ownership.offer(&accepted);

    let (rows, orphans) = here_and_gone(&world, starts.rows, starts.orphans);
    world.add_output(spec, &rows, server);
    let reaction = shared.settings.on_recreated;
    world.recognise(spec, starts.identities, reaction);

    let added = std::slice::from_ref(spec);
    report_lost(&mut world, added, &orphans, shared.clock.wall());
    for orphan in orphans {
        if orphan.lane.output == spec.id {
            world.forgotten.push(orphan.lane);
        }
    }
}

/// The rows of shards that are here, and of shards that are gone. A shard that a listing lacks may
/// still be here: its lane goes on at its row.
fn here_and_gone(
    world: &World,
    mut rows: Vec<LaneCheckpoint>,
    orphans: Vec<LaneCheckpoint>,
) -> (Vec<LaneCheckpoint>, Vec<LaneCheckpoint>) {
    let mut gone = Vec::new();
    for orphan in orphans {
        if world.shards.contains_key(&orphan.lane.shard) {
            rows.push(orphan);
        } else {
            gone.push(orphan);
        }
    }
    (rows, gone)
}

/// Removes an output and deletes its rows, also of shards that are long gone.
async fn remove(shared: &Shared, id: &OutputId) -> Result<Effect, EngineError> {
    known(shared, id)?;
    remove_for_good(shared, id);
    let deleted = delete_rows(shared, id).await;
    Ok(match deleted {
        Ok(()) => Effect::Removed,
        Err(error) => Effect::RemovedInPart(error),
    })
}

fn remove_for_good(shared: &Shared, id: &OutputId) {
    let mut world = lock(&shared.world);
    let lanes = world.remove_output(id);
    world.forget_lanes(lanes);
}

/// Ends an output after the requests under way, or a second later, and writes down how far the
/// output is.
async fn detach(shared: &Shared, id: &OutputId) -> Result<Effect, EngineError> {
    change_output(shared, id, LaneChange::Pause)?;
    let pause = shared.settings.backoff_base;
    let idle = async {
        while lock(&shared.world).is_delivering(id) {
            shared.clock.sleep(pause).await;
        }
    };
    // A request without an answer by then is sent again if the output comes back.
    let _ = shared.clock.timeout(LAST_REQUESTS, idle).await;

    checkpoints::commit(shared)
        .await
        .map_err(|e| store_error("writing checkpoints", e))?;
    lock(&shared.world).remove_output(id);
    serve(shared, None)?;
    Ok(Effect::Detached)
}

async fn delete_rows(shared: &Shared, id: &OutputId) -> Result<(), EngineError> {
    let asking = Asking {
        clock: &shared.clock,
        settings: &shared.settings,
    };
    let stored = asking.load(&*shared.store).await?;
    let mut lanes = Vec::new();
    for row in stored.lanes {
        if row.lane.output == *id {
            lanes.push(row.lane);
        }
    }
    lock(&shared.world).forget_lanes(lanes);

    if let Err(error) = checkpoints::commit(shared).await {
        return Err(store_error("forgetting an output", error));
    }
    serve(shared, None)
}

/// Tells the ownership which outputs there are: the engine's, and one that is about to be added.
fn serve(shared: &Shared, added: Option<&OutputId>) -> Result<(), EngineError> {
    let mut outputs: Vec<OutputId> = {
        let world = lock(&shared.world);
        world.outputs.keys().cloned().collect()
    };
    if let Some(added) = added {
        outputs.push(added.clone());
    }

    shared
        .ownership
        .serve(&outputs)
        .map_err(|error| store_error("naming the outputs", error))
}
