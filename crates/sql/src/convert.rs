//! Conversions: assignment to a column and CAST.

use std::borrow::Cow;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::types::datetime::{self, DAY};
use crate::types::interval::parse_interval;
use crate::types::{IntervalType, SqlType};
use crate::value::{ErrorName, Evaluated, RowError, Value, write_text};

/// Whether INSERT may put a value of type `from` in a column of type `to`, and whether both may be
/// compared.
pub(crate) fn assignable(from: &SqlType, to: &SqlType) -> bool {
    from.is_null()
        || to.is_null()
        || (from.is_number() && to.is_number())
        || (from.is_text() && to.is_text())
        || (from.is_binary() && to.is_binary())
        || matches!(
            (from, to),
            (SqlType::Boolean, SqlType::Boolean)
                | (SqlType::Date, SqlType::Date)
                | (SqlType::Time, SqlType::Time)
                | (SqlType::Timestamp, SqlType::Timestamp)
        )
}

/// Whether values of both types can be compared: as assignable, and intervals of one kind.
pub(crate) fn comparable(left: &SqlType, right: &SqlType) -> bool {
    match (left, right) {
        (SqlType::Interval(left), SqlType::Interval(right)) => {
            left.is_calendar() == right.is_calendar()
        }
        _ => assignable(left, right),
    }
}

/// Whether CAST can turn `from` into `to`.
pub(crate) fn castable(from: &SqlType, to: &SqlType) -> bool {
    if from.is_null() || assignable(from, to) {
        return true;
    }
    match from {
        SqlType::Char(_) | SqlType::Varchar(_) => {
            to.is_number()
                || to.is_datetime()
                || matches!(to, SqlType::Boolean | SqlType::Interval(_))
        }
        SqlType::Interval(interval) => match to {
            SqlType::BigInt | SqlType::Decimal { .. } => interval.from == interval.to,
            SqlType::Interval(target) => target.is_calendar() == interval.is_calendar(),
            _ => to.is_text(),
        },
        SqlType::Date | SqlType::Time => to.is_text() || *to == SqlType::Timestamp,
        SqlType::Timestamp => to.is_text() || to.is_datetime(),
        SqlType::Boolean => to.is_text(),
        _ => from.is_number() && to.is_text(),
    }
}

/// The value as INSERT stores it: text is cut, numbers are rounded, both to the column's size.
pub(crate) fn assign<'a>(
    value: Cow<'a, Value>,
    from: &SqlType,
    to: &SqlType,
) -> Evaluated<Cow<'a, Value>> {
    if from == to || value.is_null() {
        return Ok(value);
    }
    match &*value {
        Value::Text(_) => Ok(fit_text(value, to)),
        Value::Binary(bytes) => Ok(Cow::Owned(fit_binary(bytes, to))),
        Value::Integer(_) | Value::Decimal(_) | Value::Real(_) | Value::Double(_) => {
            number_to(&value, to, ErrorName::OutOfRange).map(Cow::Owned)
        }
        _ => Ok(value),
    }
}

/// The value as CAST makes it. `today` is the midnight at which the pump's clock stood when it
/// started.
pub(crate) fn cast<'a>(
    value: Cow<'a, Value>,
    from: &SqlType,
    to: &SqlType,
    today: i64,
) -> Evaluated<Cow<'a, Value>> {
    if from == to || value.is_null() {
        return Ok(value);
    }
    if to.is_text() {
        return cast_to_text(value, from, to);
    }
    if from.is_text() {
        return text_to(value.text(), to).map(Cow::Owned);
    }
    match (from, to) {
        (SqlType::Interval(interval), _) => {
            interval_to(value.integer(), *interval, to).map(Cow::Owned)
        }
        _ if to.is_number() => number_to(&value, to, ErrorName::OutOfRange).map(Cow::Owned),
        _ if to.is_datetime() => Ok(Cow::Owned(datetime_to(&value, to, today))),
        (_, SqlType::Binary(_) | SqlType::Varbinary(_)) => assign(value, from, to),
        _ => Ok(value),
    }
}

fn cast_to_text<'a>(
    value: Cow<'a, Value>,
    from: &SqlType,
    to: &SqlType,
) -> Evaluated<Cow<'a, Value>> {
    if from.is_text() {
        return Ok(fit_text(value, to));
    }

    let mut text = String::new();
    write_text(&value, from, &mut text);
    let most = to.text_length().unwrap_or(u32::MAX) as usize;
    if text.len() > most {
        let message = format!("'{text}' does not fit {to}");
        return Err(RowError::new(ErrorName::Cast, message));
    }
    Ok(fit_text(Cow::Owned(text.into()), to))
}

/// Text cut to the length of the type, and for CHAR padded with blanks.
pub(crate) fn fit_text<'a>(value: Cow<'a, Value>, to: &SqlType) -> Cow<'a, Value> {
    let Some(most) = to.text_length() else {
        return value;
    };
    let most = most as usize;
    let Value::Text(text) = &*value else {
        return value;
    };

    // A character has at least one byte, so short texts need no count.
    let cut = if text.len() <= most {
        None
    } else {
        text.char_indices().nth(most).map(|(at, _)| at)
    };
    if let Some(at) = cut {
        return Cow::Owned(Value::Text(text.slice_ref(&text[..at])));
    }
    if matches!(to, SqlType::Char(_)) {
        let missing = most.saturating_sub(text.chars().count());
        if missing > 0 {
            return Cow::Owned(format!("{text}{:missing$}", "").into());
        }
    }
    value
}

fn fit_binary(bytes: &[u8], to: &SqlType) -> Value {
    let mut bytes = bytes.to_vec();
    match to {
        SqlType::Binary(length) => bytes.resize(*length as usize, 0),
        SqlType::Varbinary(length) => bytes.truncate(*length as usize),
        _ => {}
    }
    Value::Binary(bytes.into())
}

/// A number in another number type, rounded half away from zero.
pub(crate) fn number_to(value: &Value, to: &SqlType, error: ErrorName) -> Evaluated<Value> {
    let converted = match to {
        SqlType::Decimal { precision, scale } => to_decimal(value, *precision, *scale),
        SqlType::Real => finite_real(value.double()),
        SqlType::Double => Some(Value::Double(value.double())),
        _ => to_integer(value, to),
    };
    converted.ok_or_else(|| {
        let mut text = String::new();
        write_text(value, &SqlType::Null, &mut text);
        RowError::new(error, format!("{text} is out of the range of {to}"))
    })
}

#[allow(clippy::cast_possible_truncation)]
fn finite_real(number: f64) -> Option<Value> {
    let real = number as f32;
    real.is_finite().then_some(Value::Real(real))
}

#[allow(clippy::cast_possible_truncation)]
fn to_integer(value: &Value, to: &SqlType) -> Option<Value> {
    let number = match value {
        Value::Integer(number) => *number,
        Value::Decimal(number) => round(*number, 0).to_i64()?,
        _ => {
            let rounded = value.double().round();
            // Exactly the doubles that fit 64 bits.
            if !(-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&rounded) {
                return None;
            }
            rounded as i64
        }
    };
    let (low, high) = to.integer_range()?;
    (low..=high)
        .contains(&number)
        .then_some(Value::Integer(number))
}

fn to_decimal(value: &Value, precision: u8, scale: u8) -> Option<Value> {
    let number = match value {
        Value::Real(number) => Decimal::from_f32_retain(*number)?,
        Value::Double(number) => double_to_decimal(*number)?,
        _ => value.decimal(),
    };
    fit_decimal(number, precision, scale).map(Value::Decimal)
}

/// The decimal with the shortest text of a double, as a reader would take that.
fn double_to_decimal(number: f64) -> Option<Decimal> {
    Decimal::from_scientific(&format!("{number:e}"))
        .ok()
        .or_else(|| Decimal::from_f64_retain(number))
}

/// A decimal rounded to the scale; `None` with more digits than the precision.
pub(crate) fn fit_decimal(number: Decimal, precision: u8, scale: u8) -> Option<Decimal> {
    let mut rounded = round(number, u32::from(scale));
    rounded.rescale(u32::from(scale));
    let limit = 10_i128.pow(u32::from(precision));
    (rounded.scale() == u32::from(scale) && rounded.mantissa().abs() < limit).then_some(rounded)
}

fn round(number: Decimal, scale: u32) -> Decimal {
    number.round_dp_with_strategy(scale, RoundingStrategy::MidpointAwayFromZero)
}

/// CAST of text to a type that is not text.
fn text_to(text: &str, to: &SqlType) -> Evaluated<Value> {
    let trimmed = text.trim_matches(' ');
    let converted = match to {
        SqlType::Boolean => boolean(trimmed),
        SqlType::Date => datetime::parse_date(trimmed).map(Value::Date),
        SqlType::Time => datetime::parse_time(trimmed).map(Value::Time),
        SqlType::Timestamp => datetime::parse_timestamp(trimmed).map(Value::Timestamp),
        SqlType::Interval(interval) => parse_interval(trimmed, *interval).map(Value::Interval),
        _ => parse_number(trimmed).and_then(|number| number_to(&number, to, ErrorName::Cast).ok()),
    };
    converted.ok_or_else(|| {
        let message = format!("'{text}' does not fit {to}");
        RowError::new(ErrorName::Cast, message)
    })
}

fn boolean(text: &str) -> Option<Value> {
    if text.eq_ignore_ascii_case("true") {
        Some(Value::Boolean(true))
    } else if text.eq_ignore_ascii_case("false") {
        Some(Value::Boolean(false))
    } else {
        None
    }
}

/// A number's text as a whole number, a decimal, or else a double.
pub(crate) fn parse_number(text: &str) -> Option<Value> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(Value::Integer(number));
    }
    let plausible = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    if !plausible || !text.bytes().any(|byte| byte.is_ascii_digit()) {
        return None;
    }

    let decimal = if text.contains(['e', 'E']) {
        Decimal::from_scientific(text)
    } else {
        Decimal::from_str_exact(text)
    };
    if let Ok(number) = decimal {
        return Some(Value::Decimal(number));
    }
    let double: f64 = text.parse().ok()?;
    double.is_finite().then_some(Value::Double(double))
}

/// The number of an interval's single field, or the interval with other fields.
fn interval_to(amount: i64, interval: IntervalType, to: &SqlType) -> Evaluated<Value> {
    match to {
        SqlType::Interval(target) => {
            let size = target.to.size();
            let cut = if target.fraction > 0 {
                amount
            } else {
                amount / size * size
            };
            Ok(Value::Interval(cut))
        }
        SqlType::Decimal { .. } => {
            let number = Decimal::from(amount) / Decimal::from(interval.to.size());
            number_to(&Value::Decimal(number), to, ErrorName::Cast)
        }
        _ => {
            let number = Value::Integer(amount / interval.to.size());
            number_to(&number, to, ErrorName::Cast)
        }
    }
}

#[allow(clippy::cast_possible_truncation)]
fn datetime_to(value: &Value, to: &SqlType, today: i64) -> Value {
    match (value, to) {
        (Value::Date(day), SqlType::Timestamp) => Value::Timestamp(i64::from(*day) * DAY),
        (Value::Time(time), SqlType::Timestamp) => Value::Timestamp(today + i64::from(*time)),
        (Value::Timestamp(at), SqlType::Date) => Value::Date(at.div_euclid(DAY) as i32),
        (Value::Timestamp(at), SqlType::Time) => Value::Time(at.rem_euclid(DAY) as i32),
        _ => value.clone(),
    }
}
