//! The sample of a tree: the points with the lowest weights, a reservoir with decay.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use serde::{Deserialize, Serialize};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Sample {
    /// The highest weight first.
    points: BinaryHeap<Weighted>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Weighted {
    weight: f64,
    point: Vec<f64>,
}

impl PartialEq for Weighted {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Weighted {}

impl PartialOrd for Weighted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Weighted {
    fn cmp(&self, other: &Self) -> Ordering {
        self.weight.total_cmp(&other.weight)
    }
}

impl Sample {
    pub(super) fn is_full(&self, capacity: usize) -> bool {
        self.points.len() >= capacity
    }

    /// Whether a point of this weight belongs to the sample.
    pub(super) fn accepts(&self, weight: f64, capacity: usize) -> bool {
        match self.points.peek() {
            Some(highest) if self.is_full(capacity) => weight < highest.weight,
            _ => true,
        }
    }

    /// Takes the point of the highest weight out; an empty sample has an empty one.
    pub(super) fn pop(&mut self) -> Vec<f64> {
        match self.points.pop() {
            Some(evicted) => evicted.point,
            None => Vec::new(),
        }
    }

    pub(super) fn push(&mut self, weight: f64, point: &[f64]) {
        self.points.push(Weighted {
            weight,
            point: point.to_vec(),
        });
    }
}
