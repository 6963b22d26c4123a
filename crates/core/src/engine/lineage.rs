//! The shards that a listing has, compared with the shards that it should have: a listing may be
//! short, and its lineage may be wrong.

use std::collections::{BTreeMap, BTreeSet};

use crate::batch::ShardId;
use crate::source::Shard;
use crate::store::LaneCheckpoint;

/// Shards that `listed` lacks though a row or a child names them.
pub(crate) fn missing(listed: &[Shard], rows: &[LaneCheckpoint]) -> BTreeSet<ShardId> {
    let mut named = BTreeSet::new();
    for row in rows {
        named.insert(row.lane.shard.clone());
    }
    for shard in listed {
        named.extend(shard.parents.iter().cloned());
    }

    for shard in listed {
        named.remove(&shard.id);
    }
    named
}

/// Logs the shards of `missing` that the second listing has.
pub(crate) fn report_short(listed: &[Shard], missing: &BTreeSet<ShardId>) {
    for shard in listed.iter().filter(|shard| missing.contains(&shard.id)) {
        tracing::warn!(shard = %shard.id, "a listing of the source's shards lacked this shard");
    }
}

/// The shards of two listings. A shard of both is as in the second one.
pub(crate) fn union(first: Vec<Shard>, second: Vec<Shard>) -> Vec<Shard> {
    let mut by_id = BTreeMap::new();
    for shard in first.into_iter().chain(second) {
        by_id.insert(shard.id.clone(), shard);
    }
    by_id.into_values().collect()
}

/// The parents of `shard` that are no descendants of it. `parents_of` has the parents of every
/// other shard. A shard that waits for itself, or for its own descendant, would never be read.
pub(crate) fn sound_parents<'a>(
    shard: &'a Shard,
    parents_of: &impl Fn(&ShardId) -> Vec<ShardId>,
) -> Vec<ShardId> {
    let sound = |parent: &&ShardId| {
        let circle = reaches(parent, &shard.id, parents_of);
        if circle {
            tracing::error!(
                shard = %shard.id,
                %parent,
                "the source lists this shard as its own ancestor; it is read without waiting for \
                 this parent"
            );
        }
        !circle
    };
    let parents: BTreeSet<&'a ShardId> = shard.parents.iter().collect();
    parents.into_iter().filter(sound).cloned().collect()
}

/// True if `to` is `from`, or an ancestor of `from`.
fn reaches(from: &ShardId, to: &ShardId, parents_of: &impl Fn(&ShardId) -> Vec<ShardId>) -> bool {
    let mut seen = BTreeSet::new();
    let mut next = vec![from.clone()];
    while let Some(id) = next.pop() {
        if id == *to {
            return true;
        }
        if seen.insert(id.clone()) {
            next.extend(parents_of(&id));
        }
    }
    false
}
