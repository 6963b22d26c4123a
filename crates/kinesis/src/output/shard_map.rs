//! The shards of an output stream, by which aggregates are divided and packed.

use std::collections::BTreeMap;
use std::sync::Arc;

use distributary_wire::hashkey::HashRange;
use distributary_wire::types::Shard;

use crate::client::is_closed;

/// The hash ranges of the open shards, ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout(Arc<[HashRange]>);

impl Layout {
    /// The place of the shard that takes `hash_key`; `None` if the ranges have a gap there.
    pub(super) fn shard_of(&self, hash_key: u128) -> Option<usize> {
        let after = self.0.partition_point(|range| range.start <= hash_key);
        let at = after.checked_sub(1)?;
        let range = self.0.get(at)?;
        range.contains(hash_key).then_some(at)
    }

    /// Number of shards.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// The name of the layout: equal for streams that are divided alike.
    pub(super) fn name(&self) -> String {
        let ranges = self.0.iter().map(HashRange::to_string);
        ranges.collect::<Vec<_>>().join(",")
    }
}

/// The shards of the stream, once an aggregate needed them.
#[derive(Debug, Default)]
pub(super) struct ShardMap {
    layout: Option<Layout>,
    /// All shards that the stream lists, closed ones included.
    ranges: BTreeMap<String, HashRange>,
}

impl ShardMap {
    /// Takes over a listing of the stream's shards.
    pub(super) fn learn(&mut self, shards: &[Shard]) {
        self.ranges.clear();
        let mut open = Vec::new();
        for shard in shards {
            let range = shard.hash_key_range.as_ref();
            let Some(range) = range.and_then(HashRange::from_wire) else {
                continue;
            };
            self.ranges.insert(shard.shard_id.clone(), range);
            if !is_closed(shard) {
                open.push(range);
            }
        }

        open.sort_unstable();
        let layout = Layout(open.into());
        self.layout = Some(layout).filter(|layout| layout.len() > 0);
    }

    /// Forgets the shards: the stream is gone, and another one may take the name.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// The open shards; `None` while they are not known.
    pub(super) fn layout(&self) -> Option<Layout> {
        self.layout.clone()
    }

    /// True if every hash key in `extent` belongs to the shard `id`.
    pub(super) fn holds(&self, id: &str, extent: &HashRange) -> bool {
        let range = self.ranges.get(id);
        range.is_some_and(|range| range.covers(extent))
    }
}

#[cfg(test)]
impl Layout {
    /// A stream of `count` shards of even size.
    pub(super) fn even(count: u32) -> Self {
        Self(HashRange::even(count).into())
    }
}
