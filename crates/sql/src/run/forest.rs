//! RANDOM_CUT_FOREST: a score for each row, and on demand the columns that explain the score.
//!
//! The seed is fixed, so that the same rows always have the same scores. Scores can't equal the
//! ones of the service, which had another seed.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use crate::forest::{Forest as Trees, Shape, Share};
use crate::output::write_json_text;
use crate::plan::{Explanation, ForestPlan, Measured};
use crate::run::operator::{Context, Emit, Operator, Row, StateError, decode, encode};
use crate::value::{Evaluated, Value};

const SEED: u64 = 0x5EED;
/// Bytes of a node besides the box, about.
const NODE_SIZE: usize = 120;

pub(crate) struct Forest {
    shape: Shape,
    measured: Vec<Measured>,
    explanation: Explanation,
    state: ForestState,
}

#[derive(Serialize, Deserialize)]
struct ForestState {
    trees: Trees,
    /// Rows that were learned.
    learned: usize,
    /// The coordinates of the last rows, so many as make one point.
    point: Vec<f64>,
}

impl Forest {
    pub(crate) fn new(plan: &ForestPlan) -> Self {
        Self {
            shape: plan.shape,
            measured: plan.measured.clone(),
            explanation: plan.explanation,
            state: ForestState {
                trees: Trees::new(plan.shape, SEED),
                learned: 0,
                point: Vec::new(),
            },
        }
    }

    /// The coordinates of a row; `None` when a column is NULL.
    fn coordinates(&self, row: &[Value]) -> Option<Vec<f64>> {
        let mut coordinates = Vec::with_capacity(self.measured.len());
        for measured in &self.measured {
            match row.get(measured.column) {
                None | Some(Value::Null) => return None,
                Some(value) => coordinates.push(value.double()),
            }
        }
        Some(coordinates)
    }

    /// Makes the point that ends with these coordinates; false while rows are missing.
    fn complete(&mut self, coordinates: &[f64]) -> bool {
        let point = &mut self.state.point;
        let width = self.shape.dimensions;
        point.extend_from_slice(coordinates);

        let extra = point.len().saturating_sub(width);
        point.drain(..extra);
        point.len() == width
    }

    /// The shares of the columns in a row's score; then the row is learned. No share while the
    /// forest learns the first rows, and for a row with a NULL, which is not learned.
    fn shares(&mut self, row: &[Value]) -> Vec<Share> {
        let mut shares = vec![Share::default(); self.measured.len()];
        let Some(coordinates) = self.coordinates(row) else {
            return shares;
        };
        if !self.complete(&coordinates) {
            return shares;
        }

        let state = &mut self.state;
        if state.learned >= self.shape.sample {
            let found = state.trees.shares(&state.point);
            // A point holds the columns of several rows, one row after the other.
            for (share, place) in found.iter().zip((0..shares.len()).cycle()) {
                shares[place].low += share.low;
                shares[place].high += share.high;
            }
        }
        state.trees.learn(&state.point, self.shape);
        state.learned += 1;
        shares
    }

    /// `{"COLUMN":{"DIRECTION":"LOW","STRENGTH":"0.1234","ATTRIBUTION_SCORE":"0.5678"},…}`
    fn explained(&self, shares: &[Share]) -> String {
        let mut text = String::new();
        let mut separator = '{';

        for (measured, share) in self.measured.iter().zip(shares) {
            text.push(separator);
            separator = ',';
            write_json_text(&measured.name, &mut text);
            text.push_str(":{");
            self.write_share(share, &mut text);
            text.push('}');
        }
        text.push('}');
        text
    }

    fn write_share(&self, share: &Share, text: &mut String) {
        // Writing to a String cannot fail.
        if self.explanation == Explanation::Directions {
            let is_high = share.high > share.low;
            let direction = if is_high { "HIGH" } else { "LOW" };
            let _ = write!(text, "\"DIRECTION\":\"{direction}\",");

            let strength = (share.high - share.low).abs();
            let _ = write!(text, "\"STRENGTH\":\"{strength:.4}\",");
        }
        let score = share.low + share.high;
        let _ = write!(text, "\"ATTRIBUTION_SCORE\":\"{score:.4}\"");
    }
}

impl Operator for Forest {
    fn process(
        &mut self,
        _port: usize,
        row: Row<'_>,
        context: &mut Context<'_>,
        emit: &mut Emit<'_>,
    ) -> Evaluated<()> {
        let shares = self.shares(row.values());
        let score: f64 = shares.iter().map(|share| share.low + share.high).sum();

        let mut made = row.values().to_vec();
        made.push(Value::Double(score));
        if self.explanation != Explanation::None {
            let explanation = self.explained(&shares);
            made.push(explanation.into());
        }
        emit(context, Row::Made(&mut made));
        Ok(())
    }

    fn save(&self) -> Result<Vec<u8>, StateError> {
        encode(&self.state)
    }

    fn load(&mut self, state: &[u8]) -> Result<(), StateError> {
        self.state = decode(state)?;
        Ok(())
    }

    fn state_size(&self) -> usize {
        let sampled = self.state.learned.min(self.shape.sample);
        let points = self.shape.trees * sampled;
        let coordinates = self.shape.dimensions * size_of::<f64>();
        // Two nodes a point, each with two corners, and the point of the sample.
        points * (5 * coordinates + 2 * NODE_SIZE)
    }
}
