//! Changes to a running engine: outputs are added, paused, resumed, replaced and removed.

use crate::store::OutputId;

use super::checkpoints::{self, store_error};
use super::mutation::{Mutation, on};
use super::shard::LaneChange;
use super::start::{Asking, Map, Starts, check_pumps, report_lost};
use super::world::Listed;
use super::{Change, EngineError, OutputSpec, Shared, lock, pumps};

/// Carries out a change.
pub(crate) async fn apply(shared: &Shared, change: Change) -> Result<(), EngineError> {
    match change {
        Change::Add(spec) => add(shared, spec).await,
        Change::Remove(id) => remove(shared, &id).await,
        Change::Pause(id) => change_output(shared, &id, LaneChange::Pause),
        Change::Resume(id) => change_output(shared, &id, LaneChange::Resume),
        Change::Update(spec) => {
            pumps::check_update(&lock(&shared.world), &spec)?;
            check_pumps(std::slice::from_ref(&spec))?;
            change_output(shared, &spec.id, LaneChange::Replace(&spec))
        }
    }
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

async fn add(shared: &Shared, spec: OutputSpec) -> Result<(), EngineError> {
    if lock(&shared.world).outputs.contains_key(&spec.id) {
        return Err(EngineError::Invalid {
            message: format!("there is an output {} already", spec.id),
        });
    }
    pumps::check(&spec, shared.ownership.is_sole())?;
    check_pumps(std::slice::from_ref(&spec))?;
    // An output of this name may have been removed a moment ago: its rows must not come back.
    checkpoints::commit(shared)
        .await
        .map_err(|e| store_error("writing checkpoints", e))?;
    let asking = Asking {
        clock: &shared.clock,
        settings: &shared.settings,
    };
    let source = &*shared.source;
    let facts = asking.facts(source).await?;
    let stored = asking.load(&*shared.store).await?;
    let map = Map::ask(&asking, source, facts, &stored.lanes).await?;
    serve(shared, Some(&spec.id))?;
    let added = std::slice::from_ref(&spec);
    let starts = Starts::resolve(&asking, &*shared.store, added, &map, stored).await?;
    pumps::restore(added, &starts)?;

    let mut world = lock(&shared.world);
    let server = Some(map.facts.time.latest);
    world.merge(&Listed {
        shards: &map.shards,
        asked: map.asked,
        server,
    });
    shared.ownership.offer(&world.accepted(map.shards));
    // A shard that a listing lacks may still be here: its lane goes on at its row.
    let (here, orphans): (Vec<_>, Vec<_>) = starts
        .orphans
        .into_iter()
        .partition(|row| world.shards.contains_key(&row.lane.shard));
    let rows = [starts.rows, here].concat();
    world.add_output(&spec, &rows, server);
    report_lost(&mut world, added, &orphans, shared.clock.wall());
    let orphans = orphans.into_iter().map(|o| o.lane);
    world
        .forgotten
        .extend(orphans.filter(|lane| lane.output == spec.id));
    Ok(())
}

/// Removes an output and deletes its rows, also of shards that are long gone.
async fn remove(shared: &Shared, id: &OutputId) -> Result<(), EngineError> {
    known(shared, id)?;
    lock(&shared.world).remove_output(id);
    let asking = Asking {
        clock: &shared.clock,
        settings: &shared.settings,
    };
    let stored = asking.load(&*shared.store).await?;

    {
        let mut world = lock(&shared.world);
        for row in stored.lanes.into_iter().filter(|r| r.lane.output == *id) {
            if !world.forgotten.contains(&row.lane) && !on(Mutation::RemoveForgetsNothing) {
                world.forgotten.push(row.lane);
            }
        }
    }
    checkpoints::commit(shared)
        .await
        .map_err(|e| store_error("forgetting an output", e))?;
    serve(shared, None)
}

/// Tells the ownership which outputs there are: the engine's, and one that is about to be added.
fn serve(shared: &Shared, added: Option<&OutputId>) -> Result<(), EngineError> {
    let mut outputs: Vec<OutputId> = lock(&shared.world).outputs.keys().cloned().collect();
    outputs.extend(added.cloned());
    let served = shared.ownership.serve(&outputs);
    served.map_err(|e| store_error("naming the outputs", e))
}
