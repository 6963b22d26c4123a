//! A random cut tree: every branch cuts the box of its points in two.

use serde::{Deserialize, Serialize};

use super::Share;
use super::random::Random;

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tree {
    dimensions: usize,
    nodes: Vec<Node>,
    /// Places of `nodes` that are free again.
    free: Vec<usize>,
    root: Option<usize>,
}

/// A node with the box of its points.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Node {
    low: Vec<f64>,
    high: Vec<f64>,
    /// Points below, or equal ones in a leaf.
    mass: usize,
    /// None: a leaf.
    cut: Option<Cut>,
}

/// Points go left up to `value`.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Cut {
    dimension: usize,
    value: f64,
    left: usize,
    right: usize,
}

impl Cut {
    /// The side of a point, and the other one.
    fn sides(&self, point: &[f64]) -> (usize, usize) {
        if point[self.dimension] <= self.value {
            (self.left, self.right)
        } else {
            (self.right, self.left)
        }
    }
}

impl Node {
    fn leaf(point: &[f64]) -> Self {
        Self {
            low: point.to_vec(),
            high: point.to_vec(),
            mass: 1,
            cut: None,
        }
    }

    /// How far a point lies below and above the box in one dimension.
    fn excess(&self, point: &[f64], dimension: usize) -> Share {
        let coordinate = point[dimension];
        Share {
            low: (self.low[dimension] - coordinate).max(0.0),
            high: (coordinate - self.high[dimension]).max(0.0),
        }
    }

    /// The length of the box in one dimension, with the point in it.
    fn length(&self, point: &[f64], dimension: usize) -> f64 {
        let excess = self.excess(point, dimension);
        let own = self.high[dimension] - self.low[dimension];
        own + excess.low + excess.high
    }

    fn extend(&mut self, other_low: &[f64], other_high: &[f64]) {
        for (low, other) in self.low.iter_mut().zip(other_low) {
            *low = low.min(*other);
        }
        for (high, other) in self.high.iter_mut().zip(other_high) {
            *high = high.max(*other);
        }
    }

    /// A random cut of the box with the point in it, if the cut has the point alone on one side.
    fn separating(&self, point: &[f64], random: &mut Random) -> Option<(usize, f64)> {
        let total = self.total_length(point);
        let mut rest = random.unit() * total;

        for dimension in 0..point.len() {
            let length = self.length(point, dimension);
            if rest >= length {
                rest -= length;
                continue;
            }

            let coordinate = point[dimension];
            let value = self.low[dimension].min(coordinate) + rest;
            let below = coordinate <= value && value < self.low[dimension];
            let above = self.high[dimension] <= value && value < coordinate;
            return (below || above).then_some((dimension, value));
        }
        None
    }

    /// The lengths of the box with a point, summed over the dimensions.
    fn total_length(&self, point: &[f64]) -> f64 {
        let dimensions = 0..point.len();
        dimensions
            .map(|dimension| self.length(point, dimension))
            .sum()
    }
}

impl Tree {
    pub(super) fn new(dimensions: usize) -> Self {
        Self {
            dimensions,
            nodes: Vec::new(),
            free: Vec::new(),
            root: None,
        }
    }

    fn add_node(&mut self, node: Node) -> usize {
        match self.free.pop() {
            Some(place) => {
                self.nodes[place] = node;
                place
            }
            None => {
                self.nodes.push(node);
                self.nodes.len() - 1
            }
        }
    }

    pub(super) fn insert(&mut self, point: &[f64], random: &mut Random) {
        let Some(root) = self.root else {
            let leaf = self.add_node(Node::leaf(point));
            self.root = Some(leaf);
            return;
        };

        let mut parent = None;
        let mut place = root;
        loop {
            let node = &mut self.nodes[place];
            if let Some((dimension, value)) = node.separating(point, random) {
                self.split(parent, place, (dimension, value), point);
                return;
            }

            node.extend(point, point);
            node.mass += 1;
            let Some(cut) = node.cut else {
                return;
            };
            parent = Some(place);
            (place, _) = cut.sides(point);
        }
    }

    /// Puts a branch in the place of a node: the node on one side, the point on the other.
    fn split(
        &mut self,
        parent: Option<usize>,
        place: usize,
        (dimension, value): (usize, f64),
        point: &[f64],
    ) {
        let leaf = self.add_node(Node::leaf(point));
        let (left, right) = if point[dimension] <= value {
            (leaf, place)
        } else {
            (place, leaf)
        };

        let mut branch = self.nodes[place].clone();
        branch.extend(point, point);
        branch.mass += 1;
        branch.cut = Some(Cut {
            dimension,
            value,
            left,
            right,
        });
        let branch = self.add_node(branch);
        self.replace(parent, place, branch);
    }

    /// Hangs another node below the parent, or at the root.
    fn replace(&mut self, parent: Option<usize>, old: usize, new: usize) {
        let Some(parent) = parent else {
            self.root = Some(new);
            return;
        };
        let Some(cut) = &mut self.nodes[parent].cut else {
            return;
        };

        if cut.left == old {
            cut.left = new;
        } else {
            cut.right = new;
        }
    }

    /// Takes out a point that was inserted.
    pub(super) fn delete(&mut self, point: &[f64]) {
        let Some(root) = self.root else {
            return;
        };

        let mut path = Vec::new();
        let mut place = root;
        while let Some(cut) = self.nodes[place].cut {
            path.push(place);
            (place, _) = cut.sides(point);
        }

        if self.nodes[place].mass > 1 {
            self.nodes[place].mass -= 1;
        } else {
            self.free.push(place);
            self.join_sibling(&mut path, point);
        }
        self.shrink(&path);
    }

    /// Puts the other side of the last branch in the place of the branch.
    fn join_sibling(&mut self, path: &mut Vec<usize>, point: &[f64]) {
        let Some(branch) = path.pop() else {
            self.root = None;
            return;
        };

        self.free.push(branch);
        if let Some(cut) = self.nodes[branch].cut {
            let (_, sibling) = cut.sides(point);
            self.replace(path.last().copied(), branch, sibling);
        }
    }

    /// Counts one point less in each branch of a path, and makes the boxes fit again.
    fn shrink(&mut self, path: &[usize]) {
        for branch in path.iter().rev() {
            let Some(cut) = self.nodes[*branch].cut else {
                continue;
            };

            let left = self.nodes[cut.left].clone();
            let right = &self.nodes[cut.right];
            let mut fitted = left;
            fitted.extend(&right.low, &right.high);
            fitted.mass += right.mass;
            fitted.cut = Some(cut);
            self.nodes[*branch] = fitted;
        }
    }

    /// Adds the expected shares of the dimensions when the point were inserted.
    #[allow(clippy::cast_precision_loss)]
    pub(super) fn add_shares(&self, point: &[f64], shares: &mut [Share]) {
        let Some(root) = self.root else {
            return;
        };

        let mass = self.nodes[root].mass as f64;
        let scale = (1.0 + mass).log2();
        // The probability that no cut above separates the point.
        let mut reached = 1.0;
        let mut depth = 0.0;
        let mut place = root;
        loop {
            let node = &self.nodes[place];
            let unseen = scale / (depth + 1.0);
            let separated = self.add_excess(node, point, reached * unseen, shares);

            reached *= 1.0 - separated;
            let Some(cut) = node.cut else {
                let equal = node.mass as f64;
                let seen = scale / (depth + (1.0 + equal).log2());
                let damped = seen * (1.0 - equal / mass / 2.0);
                spread(reached * damped, shares);
                return;
            };
            if reached <= 0.0 {
                return;
            }
            depth += 1.0;
            (place, _) = cut.sides(point);
        }
    }

    /// Shares an amount among the dimensions by their excess over the box. Returns the probability
    /// of a cut that separates the point.
    fn add_excess(&self, node: &Node, point: &[f64], amount: f64, shares: &mut [Share]) -> f64 {
        let total: f64 = (0..self.dimensions)
            .map(|dimension| node.length(point, dimension))
            .sum();
        // Beyond the range of doubles nothing can be said.
        if total <= 0.0 || !total.is_finite() {
            return 0.0;
        }

        let mut separated = 0.0;
        for (dimension, share) in shares.iter_mut().enumerate() {
            let excess = node.excess(point, dimension);
            share.low += amount * excess.low / total;
            share.high += amount * excess.high / total;
            separated += (excess.low + excess.high) / total;
        }
        separated.min(1.0)
    }
}

/// Shares the amount of a point that is known already: evenly, for want of a reason.
#[allow(clippy::cast_precision_loss)]
fn spread(amount: f64, shares: &mut [Share]) {
    let part = amount / shares.len() as f64 / 2.0;
    for share in shares {
        share.low += part;
        share.high += part;
    }
}

#[cfg(test)]
impl Tree {
    pub(super) fn mass(&self) -> usize {
        self.root.map_or(0, |root| self.nodes[root].mass)
    }

    /// Every branch has the box and the mass of both sides, and no node is lost.
    pub(super) fn check(&self) {
        let mut open: Vec<usize> = self.root.into_iter().collect();
        let mut found = self.free.len();
        while let Some(place) = open.pop() {
            found += 1;
            let node = &self.nodes[place];
            let Some(cut) = node.cut else { continue };
            let (left, right) = (&self.nodes[cut.left], &self.nodes[cut.right]);
            assert_eq!(node.mass, left.mass + right.mass);
            assert!(left.high[cut.dimension] <= cut.value);
            assert!(right.low[cut.dimension] > cut.value);
            for dimension in 0..self.dimensions {
                let low = left.low[dimension].min(right.low[dimension]);
                let high = left.high[dimension].max(right.high[dimension]);
                assert_eq!((node.low[dimension], node.high[dimension]), (low, high));
            }
            open.extend([cut.left, cut.right]);
        }
        assert_eq!(found, self.nodes.len());
    }
}
