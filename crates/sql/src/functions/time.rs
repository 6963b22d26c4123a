//! Functions on datetimes and intervals.

use rust_decimal::Decimal;

use super::java_format::Format;
use crate::types::datetime::{self, DAY};
use crate::types::{SqlType, Unit};
use crate::value::{ErrorName, Evaluated, RowError, Value};

/// FLOOR to a unit, in the value's own type.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn floor_to(value: &Value, unit: Unit) -> Value {
    match value {
        Value::Timestamp(at) => {
            let floor = datetime::floor(*at, unit);
            Value::Timestamp(floor)
        }
        Value::Date(day) => {
            let midnight = i64::from(*day) * DAY;
            let floor = datetime::floor(midnight, unit);
            Value::Date(floor.div_euclid(DAY) as i32)
        }
        Value::Time(time) => floor_time(*time, unit),
        Value::Interval(amount) => {
            let floor = multiple_below(*amount, unit.size());
            Value::Interval(floor)
        }
        _ => Value::Null,
    }
}

fn floor_time(time: i32, unit: Unit) -> Value {
    let size = if unit.is_calendar() { DAY } else { unit.size() };
    let floor = multiple_below(i64::from(time), size);
    Value::Time(floor as i32)
}

/// The multiple of `size` at or below a number.
fn multiple_below(number: i64, size: i64) -> i64 {
    number - number.rem_euclid(size)
}

/// CEIL to a unit: the value itself when it is a multiple, else the next multiple.
pub(super) fn ceil_to(value: &Value, unit: Unit) -> Evaluated<Value> {
    let floor = floor_to(value, unit);
    if floor == *value {
        return Ok(floor);
    }

    match &floor {
        Value::Interval(amount) => {
            let above = amount + unit.size();
            Ok(Value::Interval(above))
        }
        Value::Time(time) => next_time(*time, unit),
        _ if unit.is_calendar() => {
            let months = unit.size();
            crate::expr::shift_months(&floor, months)
        }
        Value::Date(_) => Ok(floor),
        _ => to_timestamp(floor.integer() + unit.size()),
    }
}

/// The time of day one unit later.
fn next_time(time: i32, unit: Unit) -> Evaluated<Value> {
    let next = i64::from(time) + unit.size();
    match i32::try_from(next % DAY) {
        Ok(next) => Ok(Value::Time(next)),
        Err(_) => Err(RowError::out_of_range(&SqlType::Time)),
    }
}

/// A datetime plus an interval of months, or minus when `back`.
pub(super) fn shift_months(moment: &Value, interval: &Value, back: bool) -> Evaluated<Value> {
    let months = interval.integer();
    let months = if back { -months } else { months };
    crate::expr::shift_months(moment, months)
}

/// The milliseconds from one timestamp to another.
pub(super) fn difference(from: &Value, until: &Value) -> Value {
    let milliseconds = until.integer() - from.integer();
    Value::Integer(milliseconds)
}

/// The last multiple of the interval since 1970 at or before a datetime.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn step(value: &Value, interval: &Value, months: bool) -> Evaluated<Value> {
    let size = interval.integer();
    if size <= 0 {
        return Err(RowError::function("STEP wants a positive interval"));
    }

    let at = moment_of(value);
    let stepped = if months {
        datetime::floor_months(at, size)
    } else {
        multiple_below(at, size)
    };

    match value {
        Value::Date(_) => {
            let day = stepped.div_euclid(DAY);
            Ok(Value::Date(day as i32))
        }
        Value::Time(_) => Ok(Value::Time(stepped as i32)),
        _ => to_timestamp(stepped),
    }
}

/// Milliseconds since 1970 of a date or timestamp, or since midnight of a time.
fn moment_of(value: &Value) -> i64 {
    match value {
        Value::Date(day) => i64::from(*day) * DAY,
        other => other.integer(),
    }
}

/// A timestamp within the years 1 to 9999.
pub(super) fn to_timestamp(milliseconds: i64) -> Evaluated<Value> {
    if datetime::in_range(milliseconds) {
        Ok(Value::Timestamp(milliseconds))
    } else {
        Err(RowError::out_of_range(&SqlType::Timestamp))
    }
}

/// A field of a datetime or an interval; SECOND with milliseconds.
pub(super) fn extract(unit: Unit, value: &Value, from: Option<&SqlType>) -> Value {
    if let (Value::Interval(amount), Some(SqlType::Interval(interval))) = (value, from) {
        return extract_interval(unit, *amount, interval.from);
    }

    extract_moment(unit, moment_of(value))
}

fn extract_moment(unit: Unit, at: i64) -> Value {
    let fields = datetime::fields(at);
    let number = match unit {
        Unit::Year => fields.year.into(),
        Unit::Month => fields.month.into(),
        Unit::Day => fields.day.into(),
        Unit::Hour => fields.millisecond / 3_600_000,
        Unit::Minute => fields.millisecond / 60_000 % 60,
        Unit::Second => return seconds(fields.millisecond % 60_000),
    };
    Value::Integer(number)
}

fn seconds(milliseconds: i64) -> Value {
    Value::Decimal(Decimal::new(milliseconds, 3))
}

/// The leading field of an interval is whole; a later one is what the coarser fields leave.
fn extract_interval(unit: Unit, amount: i64, leading: Unit) -> Value {
    let coarser = match unit {
        _ if unit <= leading => i64::MAX,
        Unit::Month => 12,
        Unit::Hour => DAY,
        Unit::Minute => 3_600_000,
        _ => 60_000,
    };
    let rest = amount % coarser;
    if unit == Unit::Second {
        seconds(rest)
    } else {
        Value::Integer(rest / unit.size())
    }
}

pub(super) fn char_to(
    format: Option<&Format>,
    pattern: &Value,
    text: &Value,
    sql_type: &SqlType,
) -> Evaluated<Value> {
    let text = text.text();
    let timestamp = match format {
        Some(format) => parse(format, text)?,
        None => {
            let format = row_format(pattern)?;
            parse(&format, text)?
        }
    };
    Ok(in_type(timestamp, sql_type))
}

fn parse(format: &Format, text: &str) -> Evaluated<i64> {
    format.parse(text).ok_or_else(|| {
        let message = format!("'{text}' does not fit '{}'", format.pattern());
        RowError::new(ErrorName::Function, message)
    })
}

/// The format that one row holds.
fn row_format(pattern: &Value) -> Evaluated<Format> {
    let pattern = pattern.text();
    Format::new(pattern).map_err(RowError::function)
}

#[allow(clippy::cast_possible_truncation)]
fn in_type(timestamp: i64, sql_type: &SqlType) -> Value {
    match sql_type {
        SqlType::Date => {
            let day = timestamp.div_euclid(DAY);
            Value::Date(day as i32)
        }
        SqlType::Time => {
            let time = timestamp.rem_euclid(DAY);
            Value::Time(time as i32)
        }
        _ => Value::Timestamp(timestamp),
    }
}

/// A NULL becomes the text `null`, as at AWS.
pub(super) fn to_char(
    format: Option<&Format>,
    pattern: &Value,
    moment: &Value,
) -> Evaluated<Value> {
    if pattern.is_null() {
        return Ok(Value::Null);
    }

    let at = match moment {
        Value::Null => return Ok("null".into()),
        Value::Date(day) => i64::from(*day) * DAY,
        other => other.integer(),
    };
    let text = match format {
        Some(format) => format.format(at),
        None => {
            let format = row_format(pattern)?;
            format.format(at)
        }
    };
    Ok(text.into())
}
