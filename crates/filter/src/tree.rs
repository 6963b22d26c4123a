//! The paths that patterns name, as a tree of steps. A name with dots is the same as nesting, in
//! patterns and in events.

use std::collections::BTreeMap;

/// The index of a path that some pattern names.
pub(crate) type Slot = usize;

/// The root of every tree.
pub(crate) const ROOT: usize = 0;

/// A tree of names.
#[derive(Clone, Debug)]
pub(crate) struct Tree(Vec<Branch>);

#[derive(Clone, Debug, Default)]
struct Branch {
    children: BTreeMap<String, usize>,
    slot: Option<Slot>,
}

impl Tree {
    /// The tree of `paths`: the slot of a path is the index in the list.
    pub(crate) fn new<'a>(paths: impl Iterator<Item = &'a str>) -> Self {
        let mut tree = Self(vec![Branch::default()]);
        for (slot, path) in paths.enumerate() {
            let mut at = ROOT;
            for name in path.split('.') {
                at = tree.grow(at, name);
            }
            tree.0[at].slot = Some(slot);
        }
        tree
    }

    fn grow(&mut self, at: usize, name: &str) -> usize {
        if let Some(child) = self.0[at].children.get(name) {
            return *child;
        }

        let new = self.0.len();
        self.0.push(Branch::default());
        self.0[at].children.insert(name.to_owned(), new);
        new
    }

    /// The place of the member `key` below `at`; `None` if no pattern names a path there.
    pub(crate) fn child(&self, at: usize, key: &str) -> Option<usize> {
        key.split('.').try_fold(at, |at, name| {
            let branch = self.0.get(at)?;
            branch.children.get(name).copied()
        })
    }

    /// The slot of the path that ends at `at`.
    pub(crate) fn slot(&self, at: usize) -> Option<Slot> {
        self.0.get(at)?.slot
    }

    /// True if paths go on below `at`.
    pub(crate) fn goes_on(&self, at: usize) -> bool {
        self.0
            .get(at)
            .is_some_and(|branch| !branch.children.is_empty())
    }
}
