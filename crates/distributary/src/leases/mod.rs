//! Looking at the leases of a table, and mending them: tables of this program, and of the KCL.
//!
//! Every change is conditional on the row as it was read, so that a worker that comes back at the
//! same moment keeps its lease.

mod moving;
mod rows;

use std::collections::BTreeSet;
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::clock::Clock;
use distributary_core::leases::{Change, LeaseRow, LeaseTable, RowUpdate};

use crate::failure::Failure;

pub(crate) use moving::{Moved, export, fill, import};
pub(crate) use rows::{json, text};

/// The rows of a table that was watched for a while.
pub(crate) struct Watched {
    /// The rows at the end.
    pub(crate) rows: Vec<LeaseRow>,
    /// Leases whose owner has renewed them meanwhile.
    live: BTreeSet<ShardId>,
}

/// Reads a table, and again after `wait`, the failover time of the workers.
pub(crate) async fn watch(
    table: &dyn LeaseTable,
    clock: &Clock,
    wait: Duration,
) -> Result<Watched, Failure> {
    let before = read(table).await?;
    if before.iter().any(|row| row.owner.is_some()) {
        clock.sleep(wait).await;
    }

    let rows = read(table).await?;
    let live = changed(&before, &rows);
    Ok(Watched { rows, live })
}

/// Shards whose owner or counter differs.
fn changed(before: &[LeaseRow], after: &[LeaseRow]) -> BTreeSet<ShardId> {
    let is_same = |row: &LeaseRow| {
        let mut earlier = before.iter();
        earlier.any(|old| old.shard == row.shard && old.unchanged() == row.unchanged())
    };
    let changed = after.iter().filter(|row| !is_same(row));
    changed.map(|row| row.shard.clone()).collect()
}

/// All rows, ordered by shard.
pub(crate) async fn read(table: &dyn LeaseTable) -> Result<Vec<LeaseRow>, Failure> {
    let rows = table.rows().await;
    let mut rows = rows?;
    rows.sort_by(|a, b| a.shard.cmp(&b.shard));
    Ok(rows)
}

impl Watched {
    /// The rows of `shards`, or all rows if none is named.
    ///
    /// # Errors
    /// There is no such row, or an owner renews one of them.
    pub(crate) fn still(&self, shards: &[String], remedy: &str) -> Result<Vec<&LeaseRow>, Failure> {
        let rows = chosen(&self.rows, shards)?;
        let mut live = rows.iter().filter(|row| self.live.contains(&row.shard));
        let Some(LeaseRow { shard, owner, .. }) = live.next() else {
            return Ok(rows);
        };

        let owner = owner.as_deref().unwrap_or("a worker");
        Err(Failure::run(format!(
            "the lease of {shard} is in use: {owner} renews it; {remedy}"
        )))
    }
}

/// The rows of `shards`; all rows if none is named.
pub(crate) fn chosen<'a>(
    rows: &'a [LeaseRow],
    shards: &[String],
) -> Result<Vec<&'a LeaseRow>, Failure> {
    if shards.is_empty() {
        return Ok(rows.iter().collect());
    }

    let find = |shard: &String| {
        let mut rows = rows.iter();
        let row = rows.find(|row| row.shard.as_str() == shard);
        row.ok_or_else(|| {
            Failure::usage(format!(
                "the table has no lease of {shard}; `distributary leases list` shows all"
            ))
        })
    };
    shards.iter().map(find).collect()
}

/// Asks the owners of `rows` to hand them over to `worker`. Returns the shards that were asked for.
pub(crate) async fn hand_over(
    table: &dyn LeaseTable,
    rows: &[&LeaseRow],
    worker: &str,
) -> Result<Vec<ShardId>, Failure> {
    let update = RowUpdate {
        successor: Change::Set(worker.to_owned()),
        ..RowUpdate::default()
    };
    let others = rows
        .iter()
        .filter(|row| row.owner.as_deref() != Some(worker));
    let mut asked = Vec::new();
    for row in others {
        write(table, row, &update).await?;
        asked.push(row.shard.clone());
    }
    Ok(asked)
}

/// Frees the leases of owners that are gone. Returns the shards that had an owner.
pub(crate) async fn release(
    table: &dyn LeaseTable,
    rows: &[&LeaseRow],
) -> Result<Vec<ShardId>, Failure> {
    let update = RowUpdate {
        owner: Change::Remove,
        successor: Change::Remove,
        ..RowUpdate::default()
    };
    let owned = rows.iter().filter(|row| row.owner.is_some());
    let mut freed = Vec::new();
    for row in owned {
        write(table, row, &update).await?;
        freed.push(row.shard.clone());
    }
    Ok(freed)
}

/// Deletes rows: the next worker starts these shards at the `start` of each output.
pub(crate) async fn reset(table: &dyn LeaseTable, rows: &[&LeaseRow]) -> Result<(), Failure> {
    for row in rows {
        let deleted = table.delete(&row.shard, &row.unchanged()).await;
        let deleted = deleted?;
        check_unchanged(deleted, row)?;
    }
    Ok(())
}

async fn write(table: &dyn LeaseTable, row: &LeaseRow, update: &RowUpdate) -> Result<(), Failure> {
    let written = table.update(&row.shard, &row.unchanged(), update).await;
    let written = written?;
    check_unchanged(written, row)
}

fn check_unchanged(written: bool, row: &LeaseRow) -> Result<(), Failure> {
    if written {
        return Ok(());
    }
    let shard = &row.shard;
    Err(Failure::run(format!(
        "the lease of {shard} was changed by a worker at this moment, and is left as it is; try again"
    )))
}
