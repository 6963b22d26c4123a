//! From a KCL application's checkpoints to a fan-out's progress, and back.

use std::collections::BTreeMap;

use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Position;
use distributary_core::leases::{KclCheckpoint, LeaseRow, LeaseTable, Progress, RowUpdate};
use distributary_core::store::{LaneCheckpoint, LaneId, OutputId, State};

use super::check_unchanged;
use crate::failure::Failure;

/// Numbers for the report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moved {
    /// Shards whose position was taken over.
    pub(crate) shards: usize,
    /// Shards without a position: a KCL resolves `LATEST` and `AT_TIMESTAMP` at its first read of a
    /// shard.
    pub(crate) without: usize,
}

/// The progress of `outputs`, each at the checkpoints of `rows`. A checkpoint may lie within an
/// aggregate, so the record of the checkpoint is read again.
///
/// # Errors
/// Leases of several streams.
pub(crate) fn import(rows: &[LeaseRow], outputs: &[OutputId]) -> Result<(State, Moved), Failure> {
    check_keys(rows)?;
    let (mut state, mut moved) = (State::default(), Moved::default());
    for row in rows {
        match row.checkpoint.position() {
            Some(position) => {
                moved.shards += 1;
                let lanes = outputs.iter().map(|output| lane(row, output, &position));
                state.lanes.extend(lanes);
            }
            None => moved.without += 1,
        }
    }
    Ok((state, moved))
}

fn lane(row: &LeaseRow, output: &OutputId, position: &Position) -> LaneCheckpoint {
    LaneCheckpoint {
        lane: LaneId {
            shard: row.shard.clone(),
            output: output.clone(),
        },
        position: position.clone(),
        arrival: None,
    }
}

/// A KCL that reads several streams has keys such as `ACCOUNT:STREAM:CREATION:SHARD`.
fn check_keys(rows: &[LeaseRow]) -> Result<(), Failure> {
    if rows.is_empty() {
        return Err(Failure::run("the table has no leases"));
    }
    let several = rows.iter().find(|row| row.shard.as_str().contains(':'));
    let Some(row) = several else { return Ok(()) };
    let shard = &row.shard;
    Err(Failure::run(format!(
        "the lease {shard} is of a KCL application with several streams; such tables are not imported"
    )))
}

/// Puts the checkpoints of `rows` into `table`, which has no leases.
pub(crate) async fn fill(table: &dyn LeaseTable, rows: &[LeaseRow]) -> Result<Moved, Failure> {
    check_keys(rows)?;
    let mut moved = Moved::default();
    for row in rows {
        match row.checkpoint.position() {
            Some(_) => moved.shards += 1,
            None => moved.without += 1,
        }
        create(table, &unowned(row)).await?;
    }
    Ok(moved)
}

/// The row as a KCL has it before a worker takes the lease.
fn unowned(row: &LeaseRow) -> LeaseRow {
    LeaseRow {
        parents: row.parents.clone(),
        children: row.children.clone(),
        hash_range: row.hash_range,
        ..bare(row.shard.clone(), row.checkpoint.clone())
    }
}

async fn create(table: &dyn LeaseTable, row: &LeaseRow) -> Result<(), Failure> {
    let created = table.create(row).await;
    let created = created?;
    check_unchanged(created, row)
}

/// The lowest position of each shard.
fn lowest(state: &State) -> BTreeMap<ShardId, Position> {
    let mut lowest: BTreeMap<ShardId, Position> = BTreeMap::new();
    for LaneCheckpoint { lane, position, .. } in &state.lanes {
        let entry = lowest.entry(lane.shard.clone());
        let low = entry.or_insert_with(|| position.clone());
        if low.covers(position) {
            *low = position.clone();
        }
    }
    lowest
}

/// Writes the lowest position of each shard into a KCL application's table. Rows of other shards
/// stay; a shard without a row gets one.
pub(crate) async fn export(
    table: &dyn LeaseTable,
    rows: &[LeaseRow],
    state: &State,
) -> Result<Moved, Failure> {
    let mut moved = Moved::default();
    for (shard, position) in lowest(state) {
        let checkpoint = KclCheckpoint::of(&position);
        if checkpoint == KclCheckpoint::AtTimestamp {
            // The KCL would look the moment up in its own configuration.
            moved.without += 1;
            continue;
        }

        moved.shards += 1;
        match rows.iter().find(|row| row.shard == shard) {
            Some(row) => checkpoint_at(table, row, checkpoint).await?,
            None => create(table, &bare(shard, checkpoint)).await?,
        }
    }
    Ok(moved)
}

async fn checkpoint_at(
    table: &dyn LeaseTable,
    row: &LeaseRow,
    checkpoint: KclCheckpoint,
) -> Result<(), Failure> {
    let progress = Progress {
        checkpoint,
        lanes: None,
    };
    let update = RowUpdate {
        progress: Some(progress),
        ..RowUpdate::default()
    };
    super::write(table, row, &update).await
}

/// A row of a shard that the KCL has not seen. The KCL adds the hash range itself.
fn bare(shard: ShardId, checkpoint: KclCheckpoint) -> LeaseRow {
    LeaseRow {
        shard,
        owner: None,
        counter: 0,
        checkpoint,
        switches: 0,
        parents: Default::default(),
        children: Default::default(),
        hash_range: None,
        lanes: None,
        successor: None,
    }
}
