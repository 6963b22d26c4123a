//! Stateful pumps in the engine: checked and restored before their lanes start, asked for a
//! snapshot at each commit, and run as tasks of their own.

use std::sync::Arc;

use crate::checkpoint::Position;
use crate::output::{Order, Output};
use crate::stateful::{PumpSnapshot, ShardPosition};
use crate::store::{OutputId, Snapshot};

use super::checkpoints::store_error;
use super::start::Starts;
use super::world::World;
use super::{EngineError, OutputSpec, Shared, lock};

/// Checks that a stateful pump gets the records of every shard, and those of each shard in order.
/// `is_sole`: this worker owns every shard.
pub(crate) fn check(spec: &OutputSpec, is_sole: bool) -> Result<(), EngineError> {
    if spec.output.stateful().is_none() {
        return Ok(());
    }
    if !is_sole {
        return Err(EngineError::Invalid {
            message: format!(
                "the pump {} keeps one state for all shards, which several workers can't share: run \
                 this fan-out with one worker and a local state",
                spec.id
            ),
        });
    }
    check_order(spec)
}

fn check_order(spec: &OutputSpec) -> Result<(), EngineError> {
    if spec.pump.is_some() {
        return Err(EngineError::Invalid {
            message: format!(
                "{} keeps state and takes the records of the source: it can't have the rows of another \
                 pump; take the pump away from this output",
                spec.id
            ),
        });
    }
    let profile = spec.output.profile();
    let in_order = profile.in_flight.get() == 1 && profile.gathers.is_none();
    if in_order && spec.order != Order::Strict {
        return Ok(());
    }
    Err(EngineError::Invalid {
        message: format!(
            "the pump {} has to take each shard's records in order: one request of a lane at a time, \
             no gathering, and another order than strict",
            spec.id
        ),
    })
}

/// Gives each stateful pump among `outputs` its snapshot and the starts of its lanes.
pub(crate) fn restore(outputs: &[OutputSpec], starts: &Starts) -> Result<(), EngineError> {
    for spec in outputs {
        let Some(pump) = spec.output.stateful() else {
            continue;
        };
        let mut stored = starts.snapshots.iter();
        let snapshot = stored.find(|snapshot| snapshot.output == spec.id);
        let positions = positions(&spec.id, starts);
        if snapshot.is_none() {
            check_new(&spec.id, &positions)?;
        }
        pump.restore(snapshot.map(|snapshot| &snapshot.bytes[..]), &positions)
            .map_err(|error| store_error("restoring a pump", error))?;
    }
    Ok(())
}

fn positions(output: &OutputId, starts: &Starts) -> Vec<ShardPosition> {
    let rows = starts.rows.iter().filter(|row| row.lane.output == *output);
    let position = rows.map(|row| ShardPosition {
        shard: row.lane.shard.clone(),
        position: row.position.clone(),
        arrival: row.arrival,
    });
    position.collect()
}

/// Checks that the lanes of a pump without a snapshot are at their starts: an empty state in the
/// middle of a stream would give wrong rows.
fn check_new(id: &OutputId, positions: &[ShardPosition]) -> Result<(), EngineError> {
    let is_start = |at: &ShardPosition| match at.position {
        Position::TrimHorizon | Position::At(_) => true,
        Position::After { .. } | Position::Closed => false,
    };
    if positions.iter().all(is_start) {
        return Ok(());
    }
    Err(EngineError::Invalid {
        message: format!(
            "the state has checkpoints of {id} and no snapshot, so {id} was no stateful pump before: \
             give the pump another name, or remove {id} first"
        ),
    })
}

/// Checks that a change leaves the state of a stateful pump where the lanes are.
pub(crate) fn check_update(world: &World, new: &OutputSpec) -> Result<(), EngineError> {
    let Some(entry) = world.outputs.get(&new.id) else {
        return Ok(());
    };
    let old = &entry.spec.output;
    let is_stateful = old.stateful().is_some() || new.output.stateful().is_some();
    if !is_stateful {
        return Ok(());
    }
    if Arc::ptr_eq(old, &new.output) {
        return check_order(new);
    }
    Err(EngineError::Invalid {
        message: format!(
            "the pump {} keeps state, and can't be replaced while the fan-out runs: restart the fan-out",
            new.id
        ),
    })
}

/// The newest snapshot of each stateful pump. Moves the place of the snapshot in each shard along,
/// so that the lanes' rows belong to the snapshots.
pub(crate) fn snapshots(world: &World) -> Vec<Snapshot> {
    let mut snapshots = Vec::new();
    for (output, entry) in &world.outputs {
        let pump = entry.spec.output.stateful();
        let Some(PumpSnapshot { bytes, positions }) = pump.and_then(|pump| pump.snapshot()) else {
            continue;
        };
        for at in positions {
            if let Some(cell) = world.shards.get(&at.shard) {
                cell.snapshot_at(output, at);
            }
        }
        snapshots.push(Snapshot {
            output: output.clone(),
            bytes,
        });
    }
    snapshots
}

/// Completes when the newest state of each stateful pump is final.
pub(crate) async fn settled(shared: &Shared) {
    let outputs: Vec<Arc<dyn Output>> = {
        let world = lock(&shared.world);
        let outputs = world.outputs.values();
        outputs
            .map(|entry| Arc::clone(&entry.spec.output))
            .collect()
    };
    for output in outputs {
        if let Some(pump) = output.stateful() {
            pump.settled().await;
        }
    }
}
