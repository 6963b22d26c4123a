//! `+ - * /` on numbers, datetimes and intervals.

use rust_decimal::Decimal;

use crate::convert::fit_decimal;
use crate::types::datetime::{self, DAY};
use crate::types::{IntervalType, SqlType};
use crate::value::{ErrorName, Evaluated, RowError, Value};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
    Divide,
}

/// The result of an operation in the type that the checker gave it. NULL when an operand is NULL.
pub(crate) fn calculate(
    operation: Arithmetic,
    left: &Value,
    right: &Value,
    sql_type: &SqlType,
) -> Evaluated<Value> {
    if left.is_null() || right.is_null() {
        return Ok(Value::Null);
    }
    match sql_type {
        SqlType::Decimal { precision, scale } => {
            let result = decimal(operation, left.decimal(), right.decimal())?;
            result
                .and_then(|number| fit_decimal(number, *precision, *scale))
                .map(Value::Decimal)
                .ok_or_else(|| RowError::out_of_range(sql_type))
        }
        SqlType::Real | SqlType::Double => floating(operation, left, right, sql_type),
        SqlType::Interval(interval) => on_interval(operation, left, right, *interval),
        SqlType::Date | SqlType::Time | SqlType::Timestamp => {
            shift(operation, left, right, sql_type)
        }
        _ => integer(operation, left.integer(), right.integer(), sql_type),
    }
}

fn division_by_zero() -> RowError {
    RowError::new(ErrorName::DivisionByZero, "division by zero")
}

fn integer(operation: Arithmetic, left: i64, right: i64, sql_type: &SqlType) -> Evaluated<Value> {
    let result = match operation {
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide if right == 0 => return Err(division_by_zero()),
        Arithmetic::Divide => left.checked_div(right),
    };
    let (low, high) = sql_type.integer_range().unwrap_or((i64::MIN, i64::MAX));
    result
        .filter(|number| (low..=high).contains(number))
        .map(Value::Integer)
        .ok_or_else(|| RowError::out_of_range(sql_type))
}

fn decimal(operation: Arithmetic, left: Decimal, right: Decimal) -> Evaluated<Option<Decimal>> {
    Ok(match operation {
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide if right.is_zero() => return Err(division_by_zero()),
        Arithmetic::Divide => left.checked_div(right),
    })
}

fn floating(
    operation: Arithmetic,
    left: &Value,
    right: &Value,
    sql_type: &SqlType,
) -> Evaluated<Value> {
    let (left, right) = (left.double(), right.double());
    let result = match operation {
        Arithmetic::Add => left + right,
        Arithmetic::Subtract => left - right,
        Arithmetic::Multiply => left * right,
        Arithmetic::Divide if right == 0.0 => return Err(division_by_zero()),
        Arithmetic::Divide => left / right,
    };
    finite(result, sql_type)
}

/// A floating result in its type; infinities and NaN are errors.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn finite(number: f64, sql_type: &SqlType) -> Evaluated<Value> {
    let value = match sql_type {
        SqlType::Real => Value::Real(number as f32),
        _ => Value::Double(number),
    };
    if value.double().is_finite() {
        Ok(value)
    } else {
        Err(RowError::out_of_range(sql_type))
    }
}

fn on_interval(
    operation: Arithmetic,
    left: &Value,
    right: &Value,
    interval: IntervalType,
) -> Evaluated<Value> {
    let result = match (operation, left, right) {
        (Arithmetic::Add, Value::Interval(left), Value::Interval(right)) => {
            left.checked_add(*right)
        }
        (Arithmetic::Subtract, Value::Interval(left), Value::Interval(right)) => {
            left.checked_sub(*right)
        }
        (Arithmetic::Multiply, Value::Interval(amount), factor)
        | (Arithmetic::Multiply, factor, Value::Interval(amount)) => {
            scale(*amount, Arithmetic::Multiply, factor)?
        }
        (_, Value::Interval(amount), factor) => scale(*amount, Arithmetic::Divide, factor)?,
        _ => None,
    };
    result
        .map(Value::Interval)
        .ok_or_else(|| RowError::out_of_range(&SqlType::Interval(interval)))
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn scale(amount: i64, operation: Arithmetic, factor: &Value) -> Evaluated<Option<i64>> {
    let multiplies = operation == Arithmetic::Multiply;
    Ok(match factor {
        Value::Integer(0) if !multiplies => return Err(division_by_zero()),
        Value::Integer(factor) if multiplies => amount.checked_mul(*factor),
        Value::Integer(factor) => amount.checked_div(*factor),
        _ => {
            let factor = factor.double();
            if factor == 0.0 && !multiplies {
                return Err(division_by_zero());
            }
            let exact = amount as f64;
            let result = if multiplies {
                exact * factor
            } else {
                exact / factor
            };
            (result.abs() < 9.0e18).then_some(result as i64)
        }
    })
}

/// A datetime plus or minus an interval. A time of day goes round the clock.
fn shift(
    operation: Arithmetic,
    left: &Value,
    right: &Value,
    sql_type: &SqlType,
) -> Evaluated<Value> {
    // The checker says with the type whether the interval counts months: `Row` never occurs here.
    let (moment, interval) = match (left, right) {
        (Value::Interval(amount), moment) | (moment, Value::Interval(amount)) => (moment, *amount),
        _ => return Ok(Value::Null),
    };
    let amount = if operation == Arithmetic::Subtract {
        interval.checked_neg()
    } else {
        Some(interval)
    };
    amount
        .and_then(|amount| shifted(moment, amount))
        .ok_or_else(|| RowError::out_of_range(sql_type))
}

#[allow(clippy::cast_possible_truncation)]
fn shifted(moment: &Value, amount: i64) -> Option<Value> {
    match moment {
        Value::Time(time) => {
            let moved = i64::from(*time).checked_add(amount)?.rem_euclid(DAY);
            Some(Value::Time(moved as i32))
        }
        Value::Date(day) => {
            let moved = (i64::from(*day) * DAY).checked_add(amount)?;
            datetime::in_range(moved).then(|| Value::Date(moved.div_euclid(DAY) as i32))
        }
        _ => {
            let moved = moment.integer().checked_add(amount)?;
            datetime::in_range(moved).then_some(Value::Timestamp(moved))
        }
    }
}

/// A datetime so many calendar months later.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn shift_months(moment: &Value, months: i64) -> Evaluated<Value> {
    let moved = match moment {
        Value::Date(day) => datetime::add_months(i64::from(*day) * DAY, months)
            .map(|at| Value::Date(at.div_euclid(DAY) as i32)),
        _ => datetime::add_months(moment.integer(), months).map(Value::Timestamp),
    };
    moved.ok_or_else(|| RowError::out_of_range(&SqlType::Timestamp))
}

pub(crate) fn negate(value: &Value, sql_type: &SqlType) -> Evaluated<Value> {
    match value {
        Value::Integer(number) => integer(Arithmetic::Subtract, 0, *number, sql_type),
        Value::Decimal(number) => Ok(Value::Decimal(-number)),
        Value::Real(number) => Ok(Value::Real(-number)),
        Value::Double(number) => Ok(Value::Double(-number)),
        Value::Interval(amount) => amount
            .checked_neg()
            .map(Value::Interval)
            .ok_or_else(|| RowError::out_of_range(sql_type)),
        _ => Ok(Value::Null),
    }
}

/// `(left - right) UNIT`: cut toward zero to the last unit.
pub(crate) fn difference(left: &Value, right: &Value, interval: IntervalType) -> Value {
    if left.is_null() || right.is_null() {
        return Value::Null;
    }
    let scale = if matches!(left, Value::Date(_)) {
        DAY
    } else {
        1
    };
    let (to, from) = (left.integer() * scale, right.integer() * scale);

    let unit = interval.to.size();
    let amount = if interval.is_calendar() {
        datetime::months_between(from, to)
    } else {
        to - from
    };
    Value::Interval(amount / unit * unit)
}
