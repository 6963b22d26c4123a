//! Ranks of shards, and the question whether two shards have an order.

use std::collections::BTreeMap;

use distributary_core::batch::ShardId;
use distributary_core::source::Shard;

use super::rows::MAX_SHARDS;
use crate::walk::parents_first;

/// The shards of a stream, ranked so that parents come before their children.
pub(crate) struct Ancestry {
    ids: Vec<ShardId>,
    /// For each rank, the ranks of the shard's ancestors as a set of bits.
    ancestors: Vec<Box<[u64]>>,
}

/// The stream has more shards than a [`super::rows::Place`] can number.
#[derive(Debug, thiserror::Error)]
#[error("the stream has {0} shards; at most {MAX_SHARDS} can be compared")]
pub(crate) struct TooManyShards(usize);

impl Ancestry {
    /// Ranks `shards`. A parent that is not listed was deleted by retention, and orders nothing.
    pub(crate) fn new(shards: &[Shard]) -> Result<Self, TooManyShards> {
        if shards.len() > MAX_SHARDS {
            return Err(TooManyShards(shards.len()));
        }

        let ids = parents_first(shards);
        let parents = parents_by_rank(&ids, shards);
        let mut ancestors = Vec::with_capacity(ids.len());
        for (rank, parents) in parents.iter().enumerate() {
            ancestors.push(ancestors_of(rank, parents, &ancestors));
        }
        Ok(Self { ids, ancestors })
    }

    /// The shards, by rank.
    pub(crate) fn shards(&self) -> &[ShardId] {
        &self.ids
    }

    /// True if the records of one of these shards all come before those of the other, or if both
    /// ranks are one shard.
    pub(crate) fn ordered(&self, a: usize, b: usize) -> bool {
        let low = a.min(b);
        let high = a.max(b);
        if low == high {
            return true;
        }

        let set = self.ancestors.get(high);
        let word = set.and_then(|set| set.get(low / 64));
        word.is_some_and(|bits| bits >> (low % 64) & 1 == 1)
    }
}

/// For each of `ids`, which are in the order of ranks, the ranks of the parents.
fn parents_by_rank(ids: &[ShardId], shards: &[Shard]) -> Vec<Vec<usize>> {
    let mut ranks = BTreeMap::new();
    for (rank, id) in ids.iter().enumerate() {
        ranks.insert(id, rank);
    }

    let mut parents = vec![Vec::new(); ids.len()];
    for shard in shards {
        if let Some(rank) = ranks.get(&shard.id) {
            let listed = shard.parents.iter().filter_map(|id| ranks.get(id));
            parents[*rank].extend(listed.copied());
        }
    }
    parents
}

/// The parents of the shard ranked `rank` and all their ancestors. `known` has the ancestors of all
/// lower ranks.
fn ancestors_of(rank: usize, parents: &[usize], known: &[Box<[u64]>]) -> Box<[u64]> {
    let mut set = vec![0u64; rank.div_ceil(64)];
    for parent in parents.iter().copied().filter(|parent| *parent < rank) {
        set[parent / 64] |= 1 << (parent % 64);
        for (bits, inherited) in set.iter_mut().zip(&*known[parent]) {
            *bits |= inherited;
        }
    }
    set.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk::shard;

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
        let ancestry = Ancestry::new(&shards).unwrap();
        let rank = |id: &str| {
            let mut ids = ancestry.shards().iter();
            ids.position(|shard| shard.as_str() == id).unwrap()
        };
        for (parent, child) in [("z", "a"), ("z", "b"), ("a", "d"), ("c", "d"), ("z", "d")] {
            assert!(rank(parent) < rank(child), "{parent} before {child}");
            assert!(ancestry.ordered(rank(parent), rank(child)));
            assert!(ancestry.ordered(rank(child), rank(parent)));
        }
        for (x, y) in [("a", "b"), ("b", "d"), ("z", "c"), ("a", "c")] {
            assert!(
                !ancestry.ordered(rank(x), rank(y)),
                "{x} and {y} are side by side"
            );
        }
        assert!(ancestry.ordered(rank("b"), rank("b")));
    }

    #[test]
    fn an_impossible_lineage_is_ranked_all_the_same() {
        let shards = [
            shard("a", &["b"]),
            shard("b", &["a"]),
            shard("c", &["c"]),
            shard("d", &[]),
        ];
        let ancestry = Ancestry::new(&shards).unwrap();
        assert_eq!(ancestry.shards().len(), 4);

        let many: Vec<Shard> = (0..200)
            .map(|i| shard(&format!("{i:05}"), &[&format!("{:05}", i - 1)]))
            .collect();
        let ancestry = Ancestry::new(&many).unwrap();
        assert!(ancestry.ordered(0, 199) && ancestry.ordered(64, 128));
    }
}
