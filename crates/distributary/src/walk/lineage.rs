//! The order in which the shards of a stream can be read: parents before their children.

use std::collections::BTreeMap;

use distributary_core::batch::ShardId;
use distributary_core::source::Shard;

/// Shards and the state of reading them.
#[derive(Default)]
pub(super) struct Lineage {
    states: BTreeMap<ShardId, State>,
}

enum State {
    /// The shard waits for these parents.
    Waiting(Vec<ShardId>),
    Reading,
    Done,
}

impl Lineage {
    /// Adds the shards that are not known yet.
    pub(super) fn add(&mut self, shards: Vec<Shard>) {
        for Shard { id, parents, .. } in shards {
            self.states.entry(id).or_insert(State::Waiting(parents));
        }
    }

    /// Takes the shards whose parents are all done. A parent that is not listed was deleted by
    /// retention, and counts as done.
    pub(super) fn take_ready(&mut self) -> Vec<ShardId> {
        let mut ready = Vec::new();
        for (id, state) in &self.states {
            if self.is_ready(id, state) {
                ready.push(id.clone());
            }
        }

        for id in &ready {
            self.states.insert(id.clone(), State::Reading);
        }
        ready
    }

    fn is_ready(&self, id: &ShardId, state: &State) -> bool {
        let State::Waiting(parents) = state else {
            return false;
        };
        parents
            .iter()
            .all(|parent| parent == id || self.is_done(parent))
    }

    fn is_done(&self, parent: &ShardId) -> bool {
        match self.states.get(parent) {
            None | Some(State::Done) => true,
            Some(State::Waiting(_) | State::Reading) => false,
        }
    }

    /// Marks `shard` as done, so that its children can be read.
    pub(super) fn finish(&mut self, shard: ShardId) {
        self.states.insert(shard, State::Done);
    }
}

/// The ids of `shards`, parents before their children. Shards that are their own ancestors, which
/// no sound server lists, stand at the end, by id.
pub(crate) fn parents_first(shards: &[Shard]) -> Vec<ShardId> {
    let mut lineage = Lineage::default();
    lineage.add(shards.to_vec());

    let mut order = Vec::with_capacity(shards.len());
    loop {
        let ready = lineage.take_ready();
        if ready.is_empty() {
            break;
        }
        for id in ready {
            lineage.finish(id.clone());
            order.push(id);
        }
    }

    let left = lineage.states.into_iter();
    order.extend(left.filter_map(|(id, state)| match state {
        State::Waiting(_) => Some(id),
        State::Reading | State::Done => None,
    }));
    order
}

#[cfg(test)]
pub(crate) fn shard(id: &str, parents: &[&str]) -> Shard {
    Shard {
        id: ShardId::new(id),
        parents: parents.iter().map(|parent| ShardId::new(parent)).collect(),
        hash_range: None,
        start: None,
        closed: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shard_is_ready_once_all_its_parents_are_done() {
        let mut lineage = Lineage::default();
        let listed = |id, parents| vec![shard(id, parents)];
        lineage.add(listed("a", &[]));
        lineage.add(listed("b", &["deleted"]));
        lineage.add(listed("c", &["a", "b"]));
        assert_eq!(lineage.take_ready(), [ShardId::new("a"), ShardId::new("b")]);
        lineage.finish(ShardId::new("a"));
        assert_eq!(lineage.take_ready(), []);
        lineage.finish(ShardId::new("b"));
        assert_eq!(lineage.take_ready(), [ShardId::new("c")]);

        // A shard that is listed again is not read again.
        lineage.add(listed("a", &[]));
        assert_eq!(lineage.take_ready(), []);
    }
}
