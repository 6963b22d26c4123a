//! Leases as text and as JSON.

use std::collections::{BTreeMap, BTreeSet};

use distributary_core::batch::ShardId;
use distributary_core::leases::{Cursors, KclCheckpoint, LeaseRow};
use serde_json::{Value, json as object};

/// The table for a terminal, with the number of leases of each owner.
pub(crate) fn text(rows: &[LeaseRow]) -> String {
    let mut text: String = rows.iter().map(line).collect();
    for (owner, leases) in loads(rows) {
        text.push_str(&format!("{owner}: leases {leases}\n"));
    }
    text
}

fn line(row: &LeaseRow) -> String {
    let LeaseRow { shard, counter, .. } = row;
    let owner = row.owner.as_deref().unwrap_or("no owner");
    let checkpoint = checkpoint(&row.checkpoint);
    let lanes = match lanes(row) {
        Some(lanes) => format!("  lanes {lanes}"),
        None => String::new(),
    };

    let successor = match &row.successor {
        Some(successor) => format!("  asked for by {successor}"),
        None => String::new(),
    };
    format!("{shard}  {owner}  counter {counter}  {checkpoint}{lanes}{successor}\n")
}

/// Leases of each owner.
fn loads(rows: &[LeaseRow]) -> BTreeMap<&str, usize> {
    let mut loads = BTreeMap::new();
    for row in rows {
        let owner = row.owner.as_deref().unwrap_or("no owner");
        *loads.entry(owner).or_default() += 1;
    }
    loads
}

/// Lanes whose positions the row has; `None` in a row of a KCL.
fn lanes(row: &LeaseRow) -> Option<usize> {
    let cursors = row.lanes.as_deref().and_then(Cursors::decode)?;
    Some(cursors.lanes.len())
}

fn checkpoint(checkpoint: &KclCheckpoint) -> String {
    match checkpoint {
        KclCheckpoint::At { sequence, sub: 0 } => format!("after {sequence}"),
        KclCheckpoint::At { sequence, sub } => format!("after part {sub} of {sequence}"),
        sentinel => sentinel.text().to_owned(),
    }
}

/// A JSON list; keys as the attributes of the table.
pub(crate) fn json(rows: &[LeaseRow]) -> Value {
    rows.iter().map(of_row).collect()
}

fn of_row(row: &LeaseRow) -> Value {
    let (start, end) = match row.hash_range {
        Some(range) => (Some(range.start.to_string()), Some(range.end.to_string())),
        None => (None, None),
    };

    object!({
        "leaseKey": row.shard.as_str(),
        "leaseOwner": row.owner,
        "leaseCounter": row.counter,
        "checkpoint": row.checkpoint.text(),
        "checkpointSubSequenceNumber": row.checkpoint.sub(),
        "ownerSwitchesSinceCheckpoint": row.switches,
        "parentShardId": names(&row.parents),
        "childShardIds": names(&row.children),
        "startingHashKey": start,
        "endingHashKey": end,
        "distributaryLanes": lanes(row),
        "distributarySuccessor": row.successor,
    })
}

fn names(shards: &BTreeSet<ShardId>) -> Vec<&str> {
    shards.iter().map(ShardId::as_str).collect()
}
