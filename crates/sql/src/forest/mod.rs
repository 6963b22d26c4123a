//! A random cut forest: how far a point lies from the points before.
//!
//! Source: Guha, Mishra, Roy, Schrijvers, "Robust Random Cut Forest Based Anomaly Detection On
//! Streams" (2016); scores as in AWS's library of the same name. Everything follows from the seed
//! and the points, and the whole state can be saved.

mod random;
mod sample;
mod tree;

use serde::{Deserialize, Serialize};

use random::Random;
use sample::Sample;
use tree::Tree;

/// The size and the memory of a forest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shape {
    pub(crate) trees: usize,
    /// Points that a tree samples.
    pub(crate) sample: usize,
    /// The rate at which older points lose weight, a point.
    pub(crate) decay: f64,
    pub(crate) dimensions: usize,
}

/// The share of one dimension in a score.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Share {
    /// The value is too low.
    pub(crate) low: f64,
    /// The value is too high.
    pub(crate) high: f64,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Forest {
    random: Random,
    /// Points that were learned.
    learned: u64,
    planted: Vec<Planted>,
}

/// A tree with the points that stand in it.
#[derive(Debug, Serialize, Deserialize)]
struct Planted {
    tree: Tree,
    sample: Sample,
}

impl Forest {
    pub(crate) fn new(shape: Shape, seed: u64) -> Self {
        let planted = (0..shape.trees).map(|_| Planted {
            tree: Tree::new(shape.dimensions),
            sample: Sample::default(),
        });

        Self {
            random: Random::new(seed),
            learned: 0,
            planted: planted.collect(),
        }
    }

    /// The shares of the dimensions; the score is their sum.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn shares(&self, point: &[f64]) -> Vec<Share> {
        let mut shares = vec![Share::default(); point.len()];
        for planted in &self.planted {
            planted.tree.add_shares(point, &mut shares);
        }

        let trees = self.planted.len() as f64;
        for share in &mut shares {
            share.low /= trees;
            share.high /= trees;
        }
        shares
    }

    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn learn(&mut self, point: &[f64], shape: Shape) {
        let age = self.learned as f64 * shape.decay;
        self.learned += 1;

        for planted in &mut self.planted {
            // The sample keeps the lowest weights: newer points have lower ones.
            let weight = self.random.log_exponential() - age;
            if !planted.sample.accepts(weight, shape.sample) {
                continue;
            }

            if planted.sample.is_full(shape.sample) {
                let evicted = planted.sample.pop();
                planted.tree.delete(&evicted);
            }
            planted.tree.insert(point, &mut self.random);
            planted.sample.push(weight, point);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHAPE: Shape = Shape {
        trees: 50,
        sample: 64,
        decay: 0.001,
        dimensions: 2,
    };

    fn score(shares: &[Share]) -> f64 {
        shares.iter().map(|share| share.low + share.high).sum()
    }

    /// Points of a cloud around (0, 0), as far as 1.
    fn cloud(count: usize) -> Vec<[f64; 2]> {
        let mut random = Random::new(7);
        let mut coordinate = || random.unit() * 2.0 - 1.0;
        (0..count).map(|_| [coordinate(), coordinate()]).collect()
    }

    fn grown(points: &[[f64; 2]]) -> Forest {
        let mut forest = Forest::new(SHAPE, 1);
        for point in points {
            forest.learn(point, SHAPE);
        }
        forest
    }

    #[test]
    fn a_far_point_has_the_highest_score_and_its_dimension_the_largest_share() {
        let points = cloud(500);
        let forest = grown(&points);
        let far = forest.shares(&[0.0, 9.0]);
        let highest = points
            .iter()
            .map(|point| score(&forest.shares(point)))
            .fold(0.0, f64::max);

        assert!(score(&far) > 2.0 * highest, "{far:?} {highest}");
        assert!(far[1].high > 10.0 * far[1].low, "{far:?}");
        assert!(far[1].high > 5.0 * (far[0].low + far[0].high), "{far:?}");

        let low = forest.shares(&[-9.0, 0.0]);
        assert!(low[0].low > 10.0 * low[0].high, "{low:?}");
    }

    #[test]
    fn trees_hold_the_sample_and_nothing_else() {
        let forest = grown(&cloud(500));
        for planted in &forest.planted {
            assert_eq!(planted.tree.mass(), SHAPE.sample);
            planted.tree.check();
        }
    }

    #[test]
    fn a_saved_forest_goes_on_as_the_one_that_was_not_saved() {
        let points = cloud(300);
        let mut whole = grown(&points[..150]);
        let bytes = minicbor_serde::to_vec(&whole).unwrap();
        let mut loaded: Forest = minicbor_serde::from_slice(&bytes).unwrap();

        for point in &points[150..] {
            assert_eq!(whole.shares(point), loaded.shares(point));
            whole.learn(point, SHAPE);
            loaded.learn(point, SHAPE);
        }
    }

    #[test]
    fn equal_points_share_a_leaf() {
        let forest = grown(&[[1.0, 2.0]; 100]);
        let seen = score(&forest.shares(&[1.0, 2.0]));
        assert!(seen < score(&forest.shares(&[1.0, 3.0])));
    }
}
