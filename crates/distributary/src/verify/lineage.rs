//! Which shard's records come before which other's.

use std::collections::BTreeMap;

use distributary_core::batch::ShardId;
use distributary_core::source::Shard;

use super::rows::MAX_SHARDS;

/// The shards of a stream, ranked so that parents come before their children.
pub(crate) struct Lineage {
    ids: Vec<ShardId>,
    /// For each rank, its ancestors as a set of bits.
    ancestors: Vec<Box<[u64]>>,
}

/// More shards than a comparison can number.
#[derive(Debug, thiserror::Error)]
#[error("the stream has {0} shards; at most {MAX_SHARDS} can be compared")]
pub(crate) struct TooManyShards(usize);

impl Lineage {
    /// Ranks `shards`. A parent that is not listed (retention has removed it) orders nothing.
    pub(crate) fn new(shards: &[Shard]) -> Result<Self, TooManyShards> {
        if shards.len() > MAX_SHARDS {
            return Err(TooManyShards(shards.len()));
        }
        let by_id: BTreeMap<&ShardId, &Shard> = shards.iter().map(|s| (&s.id, s)).collect();
        let mut waits: BTreeMap<&ShardId, usize> = BTreeMap::new();
        let mut children: BTreeMap<&ShardId, Vec<&ShardId>> = BTreeMap::new();
        for (id, shard) in &by_id {
            let listed = shard
                .parents
                .iter()
                .filter(|p| by_id.contains_key(p) && p != id);
            waits.insert(id, listed.clone().count());
            for parent in listed {
                children.entry(parent).or_default().push(id);
            }
        }
        let mut order: Vec<&ShardId> = waits
            .iter()
            .filter(|(_, n)| **n == 0)
            .map(|(id, _)| *id)
            .collect();
        let mut done = 0;
        while let Some(id) = order.get(done).copied() {
            done += 1;
            for child in children.get(id).into_iter().flatten() {
                let n = waits.entry(child).or_default();
                *n = n.saturating_sub(1);
                if *n == 0 {
                    order.push(child);
                }
            }
        }
        // Shards that are their own ancestors, as no sound server has them: last, by id.
        order.extend(waits.iter().filter(|(_, n)| **n > 0).map(|(id, _)| *id));

        let ranks: BTreeMap<&ShardId, usize> =
            order.iter().enumerate().map(|(i, id)| (*id, i)).collect();
        let mut ancestors: Vec<Box<[u64]>> = Vec::with_capacity(order.len());
        for (rank, id) in order.iter().enumerate() {
            let mut set = vec![0u64; rank.div_ceil(64)];
            let parents = by_id
                .get(id)
                .map(|s| s.parents.as_slice())
                .unwrap_or_default();
            for parent in parents
                .iter()
                .filter_map(|p| ranks.get(p).copied())
                .filter(|p| *p < rank)
            {
                set[parent / 64] |= 1 << (parent % 64);
                for (mine, theirs) in set.iter_mut().zip(&*ancestors[parent]) {
                    *mine |= theirs;
                }
            }
            ancestors.push(set.into());
        }
        Ok(Self {
            ids: order.into_iter().cloned().collect(),
            ancestors,
        })
    }

    /// The shards, by rank.
    pub(crate) fn shards(&self) -> &[ShardId] {
        &self.ids
    }

    /// True if the records of one of these shards all come before those of the other, or if they are one shard.
    pub(crate) fn ordered(&self, a: usize, b: usize) -> bool {
        let (low, high) = (a.min(b), a.max(b));
        let set = self
            .ancestors
            .get(high)
            .map(AsRef::as_ref)
            .unwrap_or_default();
        low == high
            || set
                .get(low / 64)
                .is_some_and(|bits| bits >> (low % 64) & 1 == 1)
    }
}

#[cfg(test)]
pub(crate) fn shard(id: &str, parents: &[&str]) -> Shard {
    Shard {
        id: ShardId::new(id),
        parents: parents.iter().map(|p| ShardId::new(p)).collect(),
        hash_range: None,
        closed: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_relation_is_inherited() {
        // z splits into a and b; a and c merge into d. Ids sort against the lineage.
        let shards = [
            shard("d", &["a", "c"]),
            shard("c", &["gone"]),
            shard("b", &["z"]),
            shard("a", &["z"]),
            shard("z", &[]),
        ];
        let lineage = Lineage::new(&shards).unwrap();
        let rank = |id: &str| {
            lineage
                .shards()
                .iter()
                .position(|s| s.as_str() == id)
                .unwrap()
        };
        for (parent, child) in [("z", "a"), ("z", "b"), ("a", "d"), ("c", "d"), ("z", "d")] {
            assert!(rank(parent) < rank(child), "{parent} before {child}");
            assert!(lineage.ordered(rank(parent), rank(child)));
            assert!(lineage.ordered(rank(child), rank(parent)));
        }
        for (x, y) in [("a", "b"), ("b", "d"), ("z", "c"), ("a", "c")] {
            assert!(
                !lineage.ordered(rank(x), rank(y)),
                "{x} and {y} are side by side"
            );
        }
        assert!(lineage.ordered(rank("b"), rank("b")));
    }

    #[test]
    fn nonsense_of_a_server_is_ranked_all_the_same() {
        let shards = [
            shard("a", &["b"]),
            shard("b", &["a"]),
            shard("c", &["c"]),
            shard("d", &[]),
        ];
        let lineage = Lineage::new(&shards).unwrap();
        assert_eq!(lineage.shards().len(), 4);
        let many: Vec<Shard> = (0..200)
            .map(|i| shard(&format!("{i:05}"), &[&format!("{:05}", i - 1)]))
            .collect();
        let lineage = Lineage::new(&many).unwrap();
        assert!(lineage.ordered(0, 199) && lineage.ordered(64, 128));
    }
}
