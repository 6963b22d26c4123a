//! Functions on numbers.

use rust_decimal::Decimal;

use crate::expr::finite;
use crate::types::SqlType;
use crate::value::{ErrorName, Evaluated, RowError, Value};

pub(super) fn abs(value: &Value, sql_type: &SqlType) -> Evaluated<Value> {
    let (low, high) = sql_type.integer_range().unwrap_or((i64::MIN, i64::MAX));
    match value {
        Value::Integer(number) => number
            .checked_abs()
            .filter(|number| (low..=high).contains(number))
            .map(Value::Integer)
            .ok_or_else(|| RowError::out_of_range(sql_type)),
        Value::Interval(amount) => amount
            .checked_abs()
            .map(Value::Interval)
            .ok_or_else(|| RowError::out_of_range(sql_type)),
        Value::Decimal(number) => Ok(Value::Decimal(number.abs())),
        Value::Real(number) => Ok(Value::Real(number.abs())),
        Value::Double(number) => Ok(Value::Double(number.abs())),
        _ => Ok(Value::Null),
    }
}

/// CEIL (`up`) or FLOOR of a number, in the number's type.
pub(super) fn round_to_whole(value: &Value, up: bool, sql_type: &SqlType) -> Evaluated<Value> {
    match value {
        Value::Decimal(number) => {
            let whole = if up { number.ceil() } else { number.floor() };
            let SqlType::Decimal { precision, scale } = sql_type else {
                return Ok(Value::Decimal(whole));
            };
            crate::convert::fit_decimal(whole, *precision, *scale)
                .map(Value::Decimal)
                .ok_or_else(|| RowError::out_of_range(sql_type))
        }
        Value::Real(number) if up => Ok(Value::Real(number.ceil())),
        Value::Real(number) => Ok(Value::Real(number.floor())),
        Value::Double(number) if up => Ok(Value::Double(number.ceil())),
        Value::Double(number) => Ok(Value::Double(number.floor())),
        other => Ok(other.clone()),
    }
}

/// The multiple of a positive step at or below the number.
pub(super) fn step(value: &Value, step: &Value) -> Evaluated<Value> {
    let (number, step) = (value.integer(), step.integer());
    if step <= 0 {
        return Err(RowError::function("STEP wants a positive step"));
    }

    number
        .checked_sub(number.rem_euclid(step))
        .map(Value::Integer)
        .ok_or_else(|| RowError::out_of_range(&SqlType::BigInt))
}

pub(super) fn modulo(left: &Value, right: &Value, sql_type: &SqlType) -> Evaluated<Value> {
    let (left, right) = (left.decimal(), right.decimal());
    if right.is_zero() {
        return Err(RowError::new(ErrorName::DivisionByZero, "MOD by zero"));
    }

    let rest = left
        .checked_rem(right)
        .ok_or_else(|| RowError::out_of_range(sql_type))?;
    crate::convert::number_to(
        &Value::Decimal(whole(rest)),
        sql_type,
        ErrorName::OutOfRange,
    )
}

fn whole(number: Decimal) -> Decimal {
    number.trunc()
}

pub(super) fn sqrt(number: f64) -> Evaluated<Value> {
    if number < 0.0 {
        return Err(RowError::function("SQRT of a negative number"));
    }
    finite(number.sqrt(), &SqlType::Double)
}

pub(super) fn logarithm(number: f64, of: fn(f64) -> f64) -> Evaluated<Value> {
    if number <= 0.0 {
        return Err(RowError::function(
            "the logarithm of a number that is not positive",
        ));
    }
    finite(of(number), &SqlType::Double)
}
