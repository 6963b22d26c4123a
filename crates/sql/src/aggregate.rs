//! Aggregates: their names, and the state of one group or window.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use crate::convert::fit_decimal;
use crate::expr::{Expr, finite};
use crate::text::ast::Form;
use crate::types::SqlType;
use crate::value::{Evaluated, RowError, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AggregateKind {
    CountAll,
    Count,
    Sum,
    Average,
    Min,
    Max,
    First,
    Last,
    Any,
    Every,
    Deviation(Deviation),
}

/// Variance or the root, of a population or a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Deviation {
    root: bool,
    sample: bool,
}

/// An aggregate with an argument.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AggregateCall {
    pub(crate) kind: AggregateKind,
    pub(crate) argument: Option<Expr>,
    pub(crate) distinct: bool,
    pub(crate) ignore_nulls: bool,
    pub(crate) sql_type: SqlType,
}

impl AggregateKind {
    pub(crate) fn named(name: &str, form: Form) -> Option<Self> {
        match name {
            "COUNT" if form == Form::Star => Some(Self::CountAll),
            "COUNT" => Some(Self::Count),
            "SUM" => Some(Self::Sum),
            "AVG" => Some(Self::Average),
            "MIN" => Some(Self::Min),
            "MAX" => Some(Self::Max),
            "FIRST_VALUE" => Some(Self::First),
            "LAST_VALUE" => Some(Self::Last),
            "ANY" => Some(Self::Any),
            "EVERY" => Some(Self::Every),
            _ => Self::deviation_named(name),
        }
    }

    fn deviation_named(name: &str) -> Option<Self> {
        let (root, sample) = match name {
            "STDDEV_POP" => (true, false),
            "STDDEV_SAMP" | "STDDEV" => (true, true),
            "VAR_POP" => (false, false),
            "VAR_SAMP" => (false, true),
            _ => return None,
        };

        let deviation = Deviation { root, sample };
        Some(Self::Deviation(deviation))
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::CountAll | Self::Count => "COUNT",
            Self::Sum => "SUM",
            Self::Average => "AVG",
            Self::Min => "MIN",
            Self::Max => "MAX",
            Self::First => "FIRST_VALUE",
            Self::Last => "LAST_VALUE",
            Self::Any => "ANY",
            Self::Every => "EVERY",
            Self::Deviation(_) => "STDDEV/VAR",
        }
    }
}

/// The state of one aggregate over one group or window.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Accumulator {
    state: State,
    /// The values seen, when DISTINCT.
    seen: Option<BTreeSet<Vec<u8>>>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum State {
    Count(i64),
    /// Whole numbers: exact, wider than any result type.
    Whole {
        sum: i128,
        count: i64,
    },
    /// `None` after an overflow.
    Exact {
        sum: Option<Decimal>,
        count: i64,
    },
    Floating {
        sum: f64,
        count: i64,
    },
    /// Minimum, maximum, first or last value; the outer is `None` before the first one.
    Chosen(Option<Value>),
    Truth(Option<bool>),
    /// Welford's method: count, mean, sum of squared differences.
    Spread {
        count: i64,
        mean: f64,
        squares: f64,
    },
}

impl Accumulator {
    pub(crate) fn new(call: &AggregateCall) -> Self {
        let argument = call.argument.as_ref().map(|argument| &argument.sql_type);
        let state = match call.kind {
            AggregateKind::CountAll | AggregateKind::Count => State::Count(0),
            AggregateKind::Sum | AggregateKind::Average => match argument {
                Some(SqlType::Decimal { .. }) => State::Exact {
                    sum: Some(Decimal::ZERO),
                    count: 0,
                },
                Some(SqlType::Real | SqlType::Double) => State::Floating { sum: 0.0, count: 0 },
                _ => State::Whole { sum: 0, count: 0 },
            },
            AggregateKind::Min
            | AggregateKind::Max
            | AggregateKind::First
            | AggregateKind::Last => State::Chosen(None),
            AggregateKind::Any | AggregateKind::Every => State::Truth(None),
            AggregateKind::Deviation(_) => State::Spread {
                count: 0,
                mean: 0.0,
                squares: 0.0,
            },
        };
        Self {
            state,
            seen: call.distinct.then(BTreeSet::new),
        }
    }

    /// Takes a value in. For COUNT(*) the value does not matter.
    pub(crate) fn add(&mut self, call: &AggregateCall, value: &Value) {
        let keeps_null = match call.kind {
            AggregateKind::CountAll => true,
            AggregateKind::First | AggregateKind::Last => !call.ignore_nulls,
            _ => false,
        };
        if value.is_null() && !keeps_null {
            return;
        }
        if let Some(seen) = &mut self.seen {
            let mut key = Vec::new();
            value.write_key(&mut key);
            if !seen.insert(key) {
                return;
            }
        }
        self.state.add(call.kind, value);
    }

    /// Takes out the oldest value. `false` when the state can't tell the result without it.
    pub(crate) fn remove(&mut self, call: &AggregateCall, value: &Value) -> bool {
        if self.seen.is_some() {
            return false;
        }
        if value.is_null() && call.kind != AggregateKind::CountAll {
            return !matches!(call.kind, AggregateKind::First | AggregateKind::Last);
        }

        self.subtract(call.kind, value)
    }

    /// Takes a value that counted out of the state; false if the state can't do without a new
    /// count of all values.
    fn subtract(&mut self, kind: AggregateKind, value: &Value) -> bool {
        match &mut self.state {
            State::Count(count) => *count -= 1,
            State::Whole { sum, count } => {
                *sum -= i128::from(value.integer());
                *count -= 1;
            }
            State::Exact {
                sum: Some(sum),
                count,
            } => {
                *sum -= value.decimal();
                *count -= 1;
            }
            State::Chosen(Some(chosen)) => {
                let extreme = matches!(kind, AggregateKind::Min | AggregateKind::Max);
                return extreme && !chosen.is_same(value);
            }
            _ => return false,
        }
        true
    }

    pub(crate) fn finish(&self, call: &AggregateCall) -> Evaluated<Value> {
        match &self.state {
            State::Count(count) => Ok(Value::Integer(*count)),
            State::Chosen(value) => {
                let chosen = value.clone();
                Ok(chosen.unwrap_or(Value::Null))
            }
            State::Truth(truth) => Ok(truth.map_or(Value::Null, Value::Boolean)),
            State::Whole { count: 0, .. }
            | State::Exact { count: 0, .. }
            | State::Floating { count: 0, .. } => Ok(Value::Null),
            State::Whole { sum, count } => whole(call, *sum, *count),
            State::Exact { sum, count } => exact(call, *sum, *count),
            State::Floating { sum, count } => {
                let divisor = if call.kind == AggregateKind::Sum {
                    1
                } else {
                    *count
                };
                finite(sum / float(divisor), &call.sql_type)
            }
            State::Spread { count, squares, .. } => spread(call, *count, *squares),
        }
    }
}

#[allow(clippy::cast_precision_loss)]
fn float(count: i64) -> f64 {
    count as f64
}

fn whole(call: &AggregateCall, sum: i128, count: i64) -> Evaluated<Value> {
    let result = if call.kind == AggregateKind::Sum {
        sum
    } else {
        sum / i128::from(count)
    };
    i64::try_from(result)
        .map(Value::Integer)
        .map_err(|_| RowError::out_of_range(&call.sql_type))
}

fn exact(call: &AggregateCall, sum: Option<Decimal>, count: i64) -> Evaluated<Value> {
    let result = match (call.kind, sum) {
        (AggregateKind::Sum, sum) => sum,
        (_, Some(sum)) => {
            let divisor = Decimal::from(count);
            sum.checked_div(divisor)
        }
        (_, None) => None,
    };
    let SqlType::Decimal { precision, scale } = call.sql_type else {
        return Ok(Value::Null);
    };
    result
        .and_then(|number| fit_decimal(number, precision, scale))
        .map(Value::Decimal)
        .ok_or_else(|| RowError::out_of_range(&call.sql_type))
}

fn spread(call: &AggregateCall, count: i64, squares: f64) -> Evaluated<Value> {
    let AggregateKind::Deviation(deviation) = call.kind else {
        return Ok(Value::Null);
    };
    let divisor = count - i64::from(deviation.sample);
    if divisor < 1 {
        return Ok(Value::Null);
    }
    let variance = squares / float(divisor);
    let result = if deviation.root {
        variance.sqrt()
    } else {
        variance
    };
    finite(result, &call.sql_type)
}

impl State {
    fn add(&mut self, kind: AggregateKind, value: &Value) {
        match self {
            Self::Count(count) => *count += 1,
            Self::Whole { sum, count } => {
                *sum += i128::from(value.integer());
                *count += 1;
            }
            Self::Exact { sum, count } => {
                *sum = sum.and_then(|sum| sum.checked_add(value.decimal()));
                *count += 1;
            }
            Self::Floating { sum, count } => {
                *sum += value.double();
                *count += 1;
            }
            Self::Chosen(chosen) => choose(kind, chosen, value),
            Self::Truth(truth) => {
                let given = value.truth() == Some(true);
                let before = truth.unwrap_or(given);
                *truth = Some(match kind {
                    AggregateKind::Any => before || given,
                    _ => before && given,
                });
            }
            Self::Spread {
                count,
                mean,
                squares,
            } => {
                *count += 1;
                let difference = value.double() - *mean;
                *mean += difference / float(*count);
                *squares += difference * (value.double() - *mean);
            }
        }
    }
}

fn choose(kind: AggregateKind, chosen: &mut Option<Value>, value: &Value) {
    let takes = match (kind, chosen.as_ref()) {
        (_, None) | (AggregateKind::Last, _) => true,
        (AggregateKind::Min, Some(best)) => {
            let order = value.order(best);
            order == Some(Ordering::Less)
        }
        (AggregateKind::Max, Some(best)) => {
            let order = value.order(best);
            order == Some(Ordering::Greater)
        }
        _ => false,
    };
    if takes {
        *chosen = Some(value.detached());
    }
}
