//! `TABLE(RANDOM_CUT_FOREST[_WITH_EXPLANATION](CURSOR(query) [, trees, sample, decay, shingle]))`

use super::scope::ScopeColumn;
use super::select::Planned;
use super::table_function::{Arguments, visible};
use crate::error::{Compiled, Issue};
use crate::forest::Shape;
use crate::plan::{Explanation, ForestPlan, Measured, Plan};
use crate::types::SqlType;

/// The most characters of an explanation.
const LONGEST_EXPLANATION: u32 = 20_480;

/// The plan of a forest over a query.
///
/// Source: "RANDOM_CUT_FOREST" in the SQL Reference, with defaults and limits of the arguments.
pub(super) fn forest(
    planned: Planned,
    arguments: &Arguments<'_>,
    explains: bool,
) -> Compiled<Planned> {
    let measured = measured_columns(&planned.columns);
    if measured.is_empty() {
        let message = format!(
            "the query of {} has no numeric column; expected one that is not DECIMAL",
            arguments.name
        );
        return Err(Issue::mismatch(arguments.at, message));
    }

    let explanation = match (explains, arguments.truth(4)?) {
        (false, _) => Explanation::None,
        (true, false) => Explanation::Scores,
        (true, true) => Explanation::Directions,
    };
    let mut columns = planned.columns;
    columns.push(visible("ANOMALY_SCORE", SqlType::Double));
    if explains {
        let sql_type = SqlType::Varchar(LONGEST_EXPLANATION);
        columns.push(visible("ANOMALY_EXPLANATION", sql_type));
    }

    let shingle = arguments.size(3, 1..=30, 1)?;
    let plan = ForestPlan {
        input: planned.plan,
        shape: shape(arguments, measured.len() * shingle)?,
        measured,
        explanation,
    };
    Ok(Planned {
        plan: Plan::Forest(Box::new(plan)),
        places: vec![arguments.at; columns.len()],
        columns,
        own_rowtime: planned.own_rowtime,
    })
}

fn shape(arguments: &Arguments<'_>, coordinates: usize) -> Compiled<Shape> {
    let trees = arguments.size(0, 1..=1000, 100)?;
    let sample = arguments.size(1, 10..=1000, 256)?;
    let decay = arguments.size(2, 1..=i64::MAX, 100_000)?;

    Ok(Shape {
        trees,
        sample,
        decay: rate(decay),
        dimensions: coordinates,
    })
}

/// The decay a row: `timeDecay` says how many rows back the forest looks.
#[allow(clippy::cast_precision_loss)]
fn rate(rows: usize) -> f64 {
    1.0 / rows as f64
}

/// DECIMAL columns are left out, as at AWS.
fn measured_columns(columns: &[ScopeColumn]) -> Vec<Measured> {
    let mut measured = Vec::new();
    for (index, column) in columns.iter().enumerate().skip(1) {
        let is_decimal = matches!(column.sql_type, SqlType::Decimal { .. });
        if column.sql_type.is_number() && !is_decimal && !column.hidden {
            measured.push(Measured {
                column: index,
                name: column.name.clone(),
            });
        }
    }
    measured
}
