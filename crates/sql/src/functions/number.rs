//! Functions on numbers.

use rust_decimal::Decimal;

use crate::expr::finite;
use crate::types::SqlType;
use crate::value::{ErrorName, Evaluated, RowError, Value};

pub(super) fn abs(value: &Value, sql_type: &SqlType) -> Evaluated<Value> {
    match value {
        Value::Integer(number) => integer_abs(*number, sql_type),
        Value::Interval(amount) => match amount.checked_abs() {
            Some(absolute) => Ok(Value::Interval(absolute)),
            None => Err(RowError::out_of_range(sql_type)),
        },
        Value::Decimal(number) => Ok(Value::Decimal(number.abs())),
        Value::Real(number) => Ok(Value::Real(number.abs())),
        Value::Double(number) => Ok(Value::Double(number.abs())),
        _ => Ok(Value::Null),
    }
}

fn integer_abs(number: i64, sql_type: &SqlType) -> Evaluated<Value> {
    let absolute = number.checked_abs();
    absolute
        .filter(|number| fits(*number, sql_type))
        .map(Value::Integer)
        .ok_or_else(|| RowError::out_of_range(sql_type))
}

fn fits(number: i64, sql_type: &SqlType) -> bool {
    match sql_type.integer_range() {
        Some((low, high)) => (low..=high).contains(&number),
        None => true,
    }
}

/// CEIL of a number, in the number's type.
pub(super) fn ceil(value: &Value, sql_type: &SqlType) -> Evaluated<Value> {
    match value {
        Value::Decimal(number) => {
            let ceiling = number.ceil();
            whole_decimal(ceiling, sql_type)
        }
        Value::Real(number) => Ok(Value::Real(number.ceil())),
        Value::Double(number) => Ok(Value::Double(number.ceil())),
        other => Ok(other.clone()),
    }
}

/// FLOOR of a number, in the number's type.
pub(super) fn floor(value: &Value, sql_type: &SqlType) -> Evaluated<Value> {
    match value {
        Value::Decimal(number) => {
            let floor = number.floor();
            whole_decimal(floor, sql_type)
        }
        Value::Real(number) => Ok(Value::Real(number.floor())),
        Value::Double(number) => Ok(Value::Double(number.floor())),
        other => Ok(other.clone()),
    }
}

fn whole_decimal(whole: Decimal, sql_type: &SqlType) -> Evaluated<Value> {
    let SqlType::Decimal { precision, scale } = sql_type else {
        return Ok(Value::Decimal(whole));
    };

    match crate::convert::fit_decimal(whole, *precision, *scale) {
        Some(fitted) => Ok(Value::Decimal(fitted)),
        None => Err(RowError::out_of_range(sql_type)),
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
    let divisor = right.decimal();
    if divisor.is_zero() {
        return Err(RowError::new(ErrorName::DivisionByZero, "MOD by zero"));
    }

    let Some(rest) = left.decimal().checked_rem(divisor) else {
        return Err(RowError::out_of_range(sql_type));
    };
    let whole = Value::Decimal(rest.trunc());
    crate::convert::number_to(&whole, sql_type, ErrorName::OutOfRange)
}

pub(super) fn power(base: f64, exponent: f64) -> Evaluated<Value> {
    let power = base.powf(exponent);
    finite(power, &SqlType::Double)
}

pub(super) fn exponential(exponent: f64) -> Evaluated<Value> {
    let power = exponent.exp();
    finite(power, &SqlType::Double)
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
