//! Which leases a worker takes and asks for, as a pure function of what it has seen.

use std::collections::{BTreeMap, BTreeSet};

use crate::batch::ShardId;

/// One lease that is not finished, as a worker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Claim {
    /// No worker holds the lease, or the lease of the holder has expired.
    Free,
    /// A worker that is alive holds the lease, or has been promised it.
    Of(String),
}

/// The decision of one round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Round {
    /// Free leases to take.
    pub(super) take: Vec<ShardId>,
    /// Leases to ask their owner for.
    pub(super) ask: Vec<ShardId>,
}

/// Decides for the worker `me`. `order`: a number for each choice between equals.
pub(super) fn decide(
    claims: &BTreeMap<ShardId, Claim>,
    me: &str,
    mut order: impl FnMut() -> u64,
) -> Round {
    let mut held: BTreeMap<&str, Vec<&ShardId>> = BTreeMap::new();
    held.insert(me, Vec::new());
    let mut free = Vec::new();
    for (shard, claim) in claims {
        match claim {
            Claim::Free => free.push(shard),
            Claim::Of(worker) => {
                let of_worker = held.entry(worker).or_default();
                of_worker.push(shard);
            }
        }
    }

    let mine = held.get(me).map_or(0, Vec::len);
    let mut round = Round::default();
    if free.is_empty() {
        round.ask = ask(&held, me, mine, &mut order);
    } else {
        let fair = claims.len().div_ceil(held.len());
        let wanted = fair.saturating_sub(mine);
        round.take = pick(&free, wanted, &mut order);
    }
    round
}

/// Leases of the most loaded worker, if it has at least two more than this one: a quarter of the
/// difference, so that several workers that ask at once do not empty it.
fn ask(
    held: &BTreeMap<&str, Vec<&ShardId>>,
    me: &str,
    mine: usize,
    order: &mut impl FnMut() -> u64,
) -> Vec<ShardId> {
    let mut loads = BTreeSet::new();
    for (worker, shards) in held {
        if *worker != me {
            loads.insert((shards.len(), order(), *worker));
        }
    }
    let Some((most, _, worker)) = loads.last() else {
        return Vec::new();
    };

    let excess = most.saturating_sub(mine);
    if excess < 2 {
        return Vec::new();
    }
    let shards = held.get(worker);
    let shards = shards.map_or(&[][..], Vec::as_slice);
    pick(shards, (excess / 4).max(1), order)
}

/// `n` of `shards`, in random order.
fn pick(shards: &[&ShardId], n: usize, order: &mut impl FnMut() -> u64) -> Vec<ShardId> {
    let mut drawn = Vec::new();
    for shard in shards {
        drawn.push((order(), *shard));
    }
    drawn.sort_unstable();
    drawn.truncate(n);

    let drawn = drawn.into_iter();
    drawn.map(|(_, shard)| shard.clone()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::split_mix;

    fn order() -> impl FnMut() -> u64 {
        let mut state = 0;
        move || {
            state += 1;
            split_mix(state)
        }
    }

    proptest! {
        /// Every worker that decides in turn, with what is asked for handed over at once, ends
        /// within one lease of every other.
        #[test]
        fn turns_lead_to_balance(
            owners in prop::collection::vec(prop::option::of(0..6_u8), 1..60),
            workers in 1..6_u8,
        ) {
            let mut claims: BTreeMap<ShardId, Claim> = owners
                .into_iter()
                .enumerate()
                .map(|(i, owner)| {
                    let claim = match owner.filter(|owner| *owner < workers) {
                        Some(owner) => Claim::Of(owner.to_string()),
                        None => Claim::Free,
                    };
                    (ShardId::new(&i.to_string()), claim)
                })
                .collect();
            let mut order = order();

            for _ in 0..200 {
                for worker in 0..workers {
                    let me = worker.to_string();
                    let round = decide(&claims, &me, &mut order);
                    for shard in round.take.into_iter().chain(round.ask) {
                        claims.insert(shard, Claim::Of(me.clone()));
                    }
                }
            }

            let load = |worker: u8| {
                let me = Claim::Of(worker.to_string());
                claims.values().filter(|claim| **claim == me).count()
            };
            let loads: Vec<usize> = (0..workers).map(load).collect();
            let (least, most) = (loads.iter().min(), loads.iter().max());
            prop_assert!(!claims.values().any(|claim| *claim == Claim::Free));
            prop_assert!(most.zip(least).is_some_and(|(most, least)| most - least <= 1), "{loads:?}");
        }
    }
}
