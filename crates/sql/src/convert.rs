//! Conversions: assignment to a column and CAST.

use std::borrow::Cow;
use std::fmt::Write as _;

use rust_decimal::prelude::ToPrimitive;
use rust_decimal::{Decimal, RoundingStrategy};

use crate::types::datetime::{self, DAY};
use crate::types::interval::parse_interval;
use crate::types::{IntervalType, SqlType};
use crate::value::{ErrorName, Evaluated, RowError, Value, write_text};

/// Whether INSERT may put a value of type `from` in a column of type `to`, and whether both may be
/// compared.
pub(crate) fn assignable(from: &SqlType, to: &SqlType) -> bool {
    if from.is_null() || to.is_null() {
        return true;
    }
    if from.is_number() {
        return to.is_number();
    }
    if from.is_text() {
        return to.is_text();
    }
    if from.is_binary() {
        return to.is_binary();
    }

    let plain = from.is_datetime() || *from == SqlType::Boolean;
    plain && from == to
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
        SqlType::Char(_) | SqlType::Varchar(_) => from_text_castable(to),
        SqlType::Interval(interval) => interval_castable(*interval, to),
        SqlType::Date | SqlType::Time => to.is_text() || *to == SqlType::Timestamp,
        SqlType::Timestamp => to.is_text() || to.is_datetime(),
        SqlType::Boolean => to.is_text(),
        _ => from.is_number() && to.is_text(),
    }
}

fn interval_castable(interval: IntervalType, to: &SqlType) -> bool {
    match to {
        SqlType::BigInt | SqlType::Decimal { .. } => interval.from == interval.to,
        SqlType::Interval(target) => {
            let calendar = interval.is_calendar();
            target.is_calendar() == calendar
        }
        _ => to.is_text(),
    }
}

fn from_text_castable(to: &SqlType) -> bool {
    match to {
        SqlType::Boolean | SqlType::Interval(_) => true,
        _ => to.is_number() || to.is_datetime(),
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

    match value.as_ref() {
        Value::Text(_) => Ok(fit_text(value, to)),
        Value::Binary(bytes) => {
            let fitted = fit_binary(bytes, to);
            Ok(Cow::Owned(fitted))
        }
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
    if from.is_binary() {
        return assign(value, from, to);
    }

    converted(&value, from, to, today).map(Cow::Owned)
}

fn converted(value: &Value, from: &SqlType, to: &SqlType, today: i64) -> Evaluated<Value> {
    if from.is_text() {
        text_to(value.text(), to)
    } else if let SqlType::Interval(interval) = from {
        interval_to(value.integer(), *interval, to)
    } else if to.is_number() {
        number_to(value, to, ErrorName::OutOfRange)
    } else {
        Ok(datetime_to(value, to, today))
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
    let Value::Text(text) = value.as_ref() else {
        return value;
    };

    let most = most as usize;
    if let Some(cut) = cut_at(text, most) {
        let part = text.slice_ref(&text[..cut]);
        return Cow::Owned(Value::Text(part));
    }
    if !to.is_padded() {
        return value;
    }

    match padded(text, most) {
        Some(padded) => Cow::Owned(padded),
        None => value,
    }
}

/// The text with blanks up to `most` characters; none if no blank is missing.
fn padded(text: &str, most: usize) -> Option<Value> {
    let missing = most.saturating_sub(text.chars().count());
    if missing == 0 {
        return None;
    }

    let padded = format!("{text}{:missing$}", "");
    Some(padded.into())
}

/// The end of the first `most` characters, if there are more.
fn cut_at(text: &str, most: usize) -> Option<usize> {
    // A character has at least one byte, so short texts need no count.
    if text.len() <= most {
        return None;
    }

    let (at, _) = text.char_indices().nth(most)?;
    Some(at)
}

fn fit_binary(bytes: &[u8], to: &SqlType) -> Value {
    let mut bytes = bytes.to_vec();
    match to {
        SqlType::Binary(length) => {
            let length = *length as usize;
            bytes.resize(length, 0);
        }
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
        SqlType::Double => {
            let double = value.double();
            Some(Value::Double(double))
        }
        _ => to_integer(value, to),
    };
    if let Some(converted) = converted {
        return Ok(converted);
    }

    let mut message = String::new();
    write_text(value, &SqlType::Null, &mut message);
    let _ = write!(message, " is out of the range of {to}");
    Err(RowError::new(error, message))
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
        Value::Decimal(number) => {
            let whole = round(*number, 0);
            whole.to_i64()?
        }
        _ => whole_double(value.double())?,
    };

    let (low, high) = to.integer_range()?;
    let fits = number >= low && number <= high;
    fits.then_some(Value::Integer(number))
}

/// A double rounded, if 64 bits hold the result.
#[allow(clippy::cast_possible_truncation)]
fn whole_double(number: f64) -> Option<i64> {
    const END: f64 = 9_223_372_036_854_775_808.0;

    let rounded = number.round();
    let fits = (-END..END).contains(&rounded);
    fits.then_some(rounded as i64)
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
    let scale = u32::from(scale);
    let mut rounded = round(number, scale);
    rounded.rescale(scale);
    if rounded.scale() != scale {
        return None;
    }

    let limit = 10_i128.pow(u32::from(precision));
    let fits = rounded.mantissa().abs() < limit;
    fits.then_some(rounded)
}

fn round(number: Decimal, scale: u32) -> Decimal {
    number.round_dp_with_strategy(scale, RoundingStrategy::MidpointAwayFromZero)
}

/// CAST of text to a type that is not text.
fn text_to(text: &str, to: &SqlType) -> Evaluated<Value> {
    match parse_as(text.trim_matches(' '), to) {
        Some(value) => Ok(value),
        None => {
            let message = format!("'{text}' does not fit {to}");
            Err(RowError::new(ErrorName::Cast, message))
        }
    }
}

fn parse_as(text: &str, to: &SqlType) -> Option<Value> {
    match to {
        SqlType::Boolean => boolean(text),
        SqlType::Date => {
            let day = datetime::parse_date(text);
            day.map(Value::Date)
        }
        SqlType::Time => {
            let time = datetime::parse_time(text);
            time.map(Value::Time)
        }
        SqlType::Timestamp => {
            let at = datetime::parse_timestamp(text);
            at.map(Value::Timestamp)
        }
        SqlType::Interval(interval) => {
            let amount = parse_interval(text, *interval)?;
            Some(Value::Interval(amount))
        }
        _ => {
            let number = parse_number(text)?;
            number_to(&number, to, ErrorName::Cast).ok()
        }
    }
}

fn boolean(text: &str) -> Option<Value> {
    let truth = if text.eq_ignore_ascii_case("true") {
        true
    } else if text.eq_ignore_ascii_case("false") {
        false
    } else {
        return None;
    };
    Some(Value::Boolean(truth))
}

/// A number's text as a whole number, a decimal, or else a double.
pub(crate) fn parse_number(text: &str) -> Option<Value> {
    if let Ok(number) = text.parse::<i64>() {
        return Some(Value::Integer(number));
    }
    if !is_number_like(text) {
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

/// Whether a text has only characters of numbers, and a digit: not the words that Rust reads.
fn is_number_like(text: &str) -> bool {
    let has_digit = text.bytes().any(|byte| byte.is_ascii_digit());
    let plausible = text
        .bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    has_digit && plausible
}

/// The number of an interval's single field, or the interval with other fields.
fn interval_to(amount: i64, interval: IntervalType, to: &SqlType) -> Evaluated<Value> {
    let unit = interval.to.size();
    match to {
        SqlType::Interval(target) if target.fraction > 0 => Ok(Value::Interval(amount)),
        SqlType::Interval(target) => {
            let size = target.to.size();
            Ok(Value::Interval(amount / size * size))
        }
        SqlType::Decimal { .. } => {
            let number = Decimal::from(amount) / Decimal::from(unit);
            number_to(&Value::Decimal(number), to, ErrorName::Cast)
        }
        _ => {
            let number = Value::Integer(amount / unit);
            number_to(&number, to, ErrorName::Cast)
        }
    }
}

#[allow(clippy::cast_possible_truncation)]
fn datetime_to(value: &Value, to: &SqlType, today: i64) -> Value {
    match value {
        Value::Date(day) if *to == SqlType::Timestamp => {
            let midnight = i64::from(*day) * DAY;
            Value::Timestamp(midnight)
        }
        Value::Time(time) if *to == SqlType::Timestamp => {
            let at = today + i64::from(*time);
            Value::Timestamp(at)
        }
        Value::Timestamp(at) => timestamp_to(*at, to),
        _ => value.clone(),
    }
}

fn timestamp_to(at: i64, to: &SqlType) -> Value {
    match to {
        SqlType::Date => {
            let day = at.div_euclid(DAY);
            Value::Date(day as i32)
        }
        SqlType::Time => {
            let time = at.rem_euclid(DAY);
            Value::Time(time as i32)
        }
        _ => Value::Timestamp(at),
    }
}
