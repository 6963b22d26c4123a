//! Gives shards back: when this worker loses a shard to another one, and when the engine ends.

use std::sync::Arc;

use crate::clock::Instant;
use crate::ownership::Lease;

use super::shard::{Loss, ShardCell};
use super::{Shared, checkpoints, lock};

/// Ends the lanes of `cell`, writes their checkpoints and gives the lease back.
pub(crate) async fn run(shared: Arc<Shared>, cell: Arc<ShardCell>, loss: Loss) {
    end_lanes(&shared, &cell, loss.stop_by).await;
    let shard = cell.id();
    if let Err(error) = checkpoints::commit(&shared).await {
        tracing::warn!(%shard, "the last checkpoints of a lost shard were not written: {error}");
    }
    release(&shared, &loss.lease).await;
    cell.released();
}

/// Waits until the lanes have ended; abandons their requests at `stop_by`.
async fn end_lanes(shared: &Shared, cell: &ShardCell, stop_by: Instant) {
    let mut changed = shared.changed.subscribe();
    let ended = async { while cell.has_tasks() && changed.changed().await.is_ok() {} };
    let left = stop_by.since(shared.clock.now());
    if shared.clock.timeout(left, ended).await.is_some() {
        return;
    }

    let shard = cell.id();
    tracing::warn!(%shard, "requests were under way when the shard was lost; they are abandoned");
    cell.abort_lanes();
    // An aborted task ends when the runtime looks at it next.
    while cell.has_tasks() && changed.changed().await.is_ok() {}
}

async fn release(shared: &Shared, lease: &Lease) {
    if let Err(error) = shared.ownership.release(lease).await {
        let shard = lease.shard();
        tracing::warn!(%shard, "the lease was not given back; it ends by itself: {error}");
    }
}

/// Gives every lease back, after the last commit.
pub(crate) async fn release_all(shared: &Shared) {
    let cells: Vec<_> = lock(&shared.world).shards.values().cloned().collect();
    for lease in cells.iter().filter_map(|cell| cell.lease()) {
        release(shared, &lease).await;
    }
}
