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
            let exact = decimal(operation, left.decimal(), right.decimal())?;
            let fitted = exact.and_then(|number| fit_decimal(number, *precision, *scale));
            within(fitted.map(Value::Decimal), sql_type)
        }
        SqlType::Real | SqlType::Double => floating(operation, left, right, sql_type),
        SqlType::Interval(_) => {
            let amount = on_interval(operation, left, right)?;
            within(amount.map(Value::Interval), sql_type)
        }
        SqlType::Date | SqlType::Time | SqlType::Timestamp => {
            let moved = shift(operation, left, right);
            within(moved, sql_type)
        }
        _ => integer(operation, left.integer(), right.integer(), sql_type),
    }
}

/// A result that is missing when the type can't hold it.
fn within(result: Option<Value>, sql_type: &SqlType) -> Evaluated<Value> {
    result.ok_or_else(|| RowError::out_of_range(sql_type))
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

    match result {
        Some(number) => within_range(number, sql_type),
        None => Err(RowError::out_of_range(sql_type)),
    }
}

fn within_range(number: i64, sql_type: &SqlType) -> Evaluated<Value> {
    match sql_type.integer_range() {
        Some((low, high)) if number < low || number > high => Err(RowError::out_of_range(sql_type)),
        _ => Ok(Value::Integer(number)),
    }
}

fn decimal(operation: Arithmetic, left: Decimal, right: Decimal) -> Evaluated<Option<Decimal>> {
    let result = match operation {
        Arithmetic::Add => left.checked_add(right),
        Arithmetic::Subtract => left.checked_sub(right),
        Arithmetic::Multiply => left.checked_mul(right),
        Arithmetic::Divide if right.is_zero() => return Err(division_by_zero()),
        Arithmetic::Divide => left.checked_div(right),
    };
    Ok(result)
}

fn floating(
    operation: Arithmetic,
    left: &Value,
    right: &Value,
    sql_type: &SqlType,
) -> Evaluated<Value> {
    let left = left.double();
    let right = right.double();

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

fn on_interval(operation: Arithmetic, left: &Value, right: &Value) -> Evaluated<Option<i64>> {
    match (left, right) {
        (Value::Interval(left), Value::Interval(right)) => match operation {
            Arithmetic::Subtract => Ok(left.checked_sub(*right)),
            _ => Ok(left.checked_add(*right)),
        },
        (Value::Interval(amount), factor) | (factor, Value::Interval(amount)) => {
            scale(*amount, operation, factor)
        }
        _ => Ok(None),
    }
}

#[allow(clippy::cast_possible_truncation, clippy::cast_precision_loss)]
fn scale(amount: i64, operation: Arithmetic, factor: &Value) -> Evaluated<Option<i64>> {
    let divides = operation == Arithmetic::Divide;
    if divides && factor.double() == 0.0 {
        return Err(division_by_zero());
    }

    match factor {
        Value::Integer(factor) if divides => {
            let quotient = amount.checked_div(*factor);
            Ok(quotient)
        }
        Value::Integer(factor) => {
            let product = amount.checked_mul(*factor);
            Ok(product)
        }
        _ => {
            let exact = amount as f64;
            let result = if divides {
                exact / factor.double()
            } else {
                exact * factor.double()
            };
            let fits = result.abs() < 9.0e18;
            Ok(fits.then_some(result as i64))
        }
    }
}

/// A datetime plus or minus an interval. A time of day goes round the clock.
fn shift(operation: Arithmetic, left: &Value, right: &Value) -> Option<Value> {
    let (moment, interval) = match (left, right) {
        (Value::Interval(amount), moment) => (moment, *amount),
        (moment, Value::Interval(amount)) => (moment, *amount),
        _ => return Some(Value::Null),
    };

    match operation {
        Arithmetic::Subtract => shifted(moment, interval.checked_neg()?),
        _ => shifted(moment, interval),
    }
}

#[allow(clippy::cast_possible_truncation)]
fn shifted(moment: &Value, amount: i64) -> Option<Value> {
    match moment {
        Value::Time(time) => {
            let moved = i64::from(*time).checked_add(amount)?;
            let moved = moved.rem_euclid(DAY);
            Some(Value::Time(moved as i32))
        }
        Value::Date(day) => shifted_day(*day, amount),
        _ => {
            let moved = moment.integer().checked_add(amount)?;
            datetime::in_range(moved).then_some(Value::Timestamp(moved))
        }
    }
}

fn shifted_day(day: i32, amount: i64) -> Option<Value> {
    let midnight = i64::from(day) * DAY;
    let moved = midnight.checked_add(amount)?;
    let day = moved.div_euclid(DAY) as i32;
    datetime::in_range(moved).then_some(Value::Date(day))
}

/// A datetime so many calendar months later.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn shift_months(moment: &Value, months: i64) -> Evaluated<Value> {
    let moved = match moment {
        Value::Date(day) => {
            let midnight = i64::from(*day) * DAY;
            let moved = datetime::add_months(midnight, months);
            moved.map(|at| Value::Date(at.div_euclid(DAY) as i32))
        }
        _ => {
            let moved = datetime::add_months(moment.integer(), months);
            moved.map(Value::Timestamp)
        }
    };
    within(moved, &SqlType::Timestamp)
}

pub(crate) fn negate(value: &Value, sql_type: &SqlType) -> Evaluated<Value> {
    match value {
        Value::Integer(number) => integer(Arithmetic::Subtract, 0, *number, sql_type),
        Value::Decimal(number) => Ok(Value::Decimal(-number)),
        Value::Real(number) => Ok(Value::Real(-number)),
        Value::Double(number) => Ok(Value::Double(-number)),
        Value::Interval(amount) => {
            let negated = amount.checked_neg();
            within(negated.map(Value::Interval), sql_type)
        }
        _ => Ok(Value::Null),
    }
}

/// `(left - right) UNIT`: cut toward zero to the last unit.
pub(crate) fn difference(left: &Value, right: &Value, interval: IntervalType) -> Value {
    if left.is_null() || right.is_null() {
        return Value::Null;
    }

    let scale = match left {
        Value::Date(_) => DAY,
        _ => 1,
    };
    let to = left.integer() * scale;
    let from = right.integer() * scale;

    let amount = if interval.is_calendar() {
        datetime::months_between(from, to)
    } else {
        to - from
    };
    let unit = interval.to.size();
    Value::Interval(amount / unit * unit)
}
