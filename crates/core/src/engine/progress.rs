//! Writes the lanes' checkpoints: those that changed, in one transaction an interval.

use std::sync::Arc;

use crate::clock::Instant;
use crate::store::{LaneCheckpoint, LaneId, State, StoreError};
use crate::text::chain;

use super::mutation::{Mutation, on};
use super::retry::BackoffClass;
use super::status::ErrorReport;
use super::{EngineError, Shared, lock};

/// Commits at each interval until the engine ends; returns only if the store fails for good.
pub(crate) async fn run(shared: Arc<Shared>) -> EngineError {
    let (clock, settings) = (shared.clock.clone(), &shared.settings);
    let mut backoff = settings.backoff();
    let mut failing_since: Option<Instant> = None;
    let mut wait = settings.checkpoint_interval;
    loop {
        clock.sleep(wait).await;
        if on(Mutation::CheckpointNever) {
            continue;
        }
        match commit(&shared).await {
            Ok(()) => {
                backoff.reset();
                failing_since = None;
                wait = settings.checkpoint_interval;
            }
            Err(source) => {
                let since = *failing_since.get_or_insert(clock.now());
                let passing = matches!(source, StoreError::Failed { .. });
                if !passing || clock.now().since(since) >= settings.store_patience {
                    return EngineError::Store {
                        doing: "writing checkpoints",
                        source: Arc::new(source),
                    };
                }
                wait = backoff.next(&clock, BackoffClass::Passing, None);
            }
        }
    }
}

/// Writes what changed since the last commit.
pub(crate) async fn commit(shared: &Shared) -> Result<(), StoreError> {
    // One at a time, and never while an output's state is being forgotten.
    let _guard = shared.committing.lock().await;
    let result = match write(shared).await {
        Ok(()) => forget(shared).await,
        failed => failed,
    };
    let wall = shared.clock.wall();
    let mut world = lock(&shared.world);
    let commits = &mut world.commits;
    match &result {
        Ok(()) => {
            if commits.failing > 0 {
                tracing::info!("checkpoints are written again");
            }
            commits.failing = 0;
        }
        Err(error) => {
            let text = chain(error);
            if commits.failing == 0 {
                tracing::error!("writing checkpoints failed, and is tried again: {text}");
            }
            commits.failing = commits.failing.saturating_add(1);
            commits.last_error = Some(ErrorReport {
                at: wall,
                kind: None,
                text,
            });
        }
    }
    result
}

async fn write(shared: &Shared) -> Result<(), StoreError> {
    let changed = changed(shared);
    if changed.is_empty() {
        return Ok(());
    }
    let begun = shared.clock.now();
    shared.store.commit(&changed).await?;
    let took = shared.clock.now().since(begun);
    let wall = shared.clock.wall();
    let mut world = lock(&shared.world);
    world.commits.took = took;
    world.commits.last = Some(wall);
    world.commits.transactions += 1;
    for LaneCheckpoint { lane, position, .. } in changed.lanes {
        if let Some(cell) = world.shards.get(&lane.shard)
            && let Some(slot) = lock(&cell.state).lanes.get_mut(&lane.output)
        {
            slot.committed = Some(position);
        }
    }
    Ok(())
}

/// Forgets the lanes of shards and outputs that are gone.
async fn forget(shared: &Shared) -> Result<(), StoreError> {
    let lanes = lock(&shared.world).forgotten.clone();
    if lanes.is_empty() {
        return Ok(());
    }
    shared.store.forget(&lanes).await?;
    lock(&shared.world)
        .forgotten
        .retain(|lane| !lanes.contains(lane));
    Ok(())
}

/// What changed. Under the world's lock all the while: a child's lane begins under it, after its parents' lanes are
/// done, so that no transaction has a child's progress without its parents' end.
fn changed(shared: &Shared) -> State {
    let world = lock(&shared.world);
    let mut changed = State::default();
    for (shard, cell) in &world.shards {
        for (output, slot) in &lock(&cell.state).lanes {
            let position = slot.checkpoint();
            if slot.committed.as_ref() != Some(&position) {
                let lane = LaneId {
                    shard: shard.clone(),
                    output: output.clone(),
                };
                changed.lanes.push(LaneCheckpoint {
                    lane,
                    position,
                    arrival: slot.arrived,
                });
            }
        }
    }
    changed
}
