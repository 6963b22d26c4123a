//! Functions on datetimes and intervals.

use rust_decimal::Decimal;

use super::java_format::Format;
use super::{Arguments, value};
use crate::types::datetime::{self, DAY};
use crate::types::{SqlType, Unit};
use crate::value::{ErrorName, Evaluated, RowError, Value};

/// FLOOR to a unit, in the value's own type.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn floor_to(value: &Value, unit: Unit) -> Value {
    match value {
        Value::Timestamp(at) => Value::Timestamp(datetime::floor(*at, unit)),
        Value::Date(day) => {
            let at = datetime::floor(i64::from(*day) * DAY, unit);
            Value::Date(at.div_euclid(DAY) as i32)
        }
        Value::Time(time) => {
            let size = if unit.is_calendar() { DAY } else { unit.size() };
            Value::Time((i64::from(*time).div_euclid(size) * size) as i32)
        }
        Value::Interval(amount) => Value::Interval(amount.div_euclid(unit.size()) * unit.size()),
        _ => Value::Null,
    }
}

/// CEIL to a unit: the value itself when it is a multiple, else the next multiple.
pub(super) fn ceil_to(value: &Value, unit: Unit) -> Evaluated<Value> {
    let floor = floor_to(value, unit);
    if floor == *value {
        return Ok(floor);
    }
    match (&floor, unit.is_calendar()) {
        (Value::Interval(amount), _) => Ok(Value::Interval(amount + unit.size())),
        (Value::Time(time), _) => {
            let next = i64::from(*time) + unit.size();
            i32::try_from(next % DAY)
                .map(Value::Time)
                .map_err(|_| RowError::out_of_range(&SqlType::Time))
        }
        (_, true) => crate::expr::shift_months(&floor, unit.size()),
        (Value::Date(_), false) => Ok(floor),
        (_, false) => to_timestamp(floor.integer() + unit.size()),
    }
}

/// The last multiple of the interval since 1970 at or before a datetime.
#[allow(clippy::cast_possible_truncation)]
pub(super) fn step(value: &Value, interval: &Value, months: bool) -> Evaluated<Value> {
    let size = interval.integer();
    if size <= 0 {
        return Err(RowError::function("STEP wants a positive interval"));
    }
    let scale = if matches!(value, Value::Date(_)) {
        DAY
    } else {
        1
    };
    let at = value.integer() * scale;

    let stepped = if months {
        datetime::floor_months(at, size)
    } else {
        at - at.rem_euclid(size)
    };
    match value {
        Value::Date(_) => Ok(Value::Date(stepped.div_euclid(DAY) as i32)),
        Value::Time(_) => Ok(Value::Time(stepped as i32)),
        _ => to_timestamp(stepped),
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

    let at = match value {
        Value::Date(day) => i64::from(*day) * DAY,
        _ => value.integer(),
    };
    let fields = datetime::fields(at);
    match unit {
        Unit::Year => Value::Integer(fields.year.into()),
        Unit::Month => Value::Integer(fields.month.into()),
        Unit::Day => Value::Integer(fields.day.into()),
        Unit::Hour => Value::Integer(fields.millisecond / 3_600_000),
        Unit::Minute => Value::Integer(fields.millisecond / 60_000 % 60),
        Unit::Second => seconds(fields.millisecond % 60_000),
    }
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
    values: &Arguments<'_>,
    sql_type: &SqlType,
) -> Evaluated<Value> {
    let dynamic;
    let format = match format {
        Some(format) => format,
        None => {
            dynamic = Format::new(value(values, 0)?.text()).map_err(RowError::function)?;
            &dynamic
        }
    };

    let text = value(values, 1)?.text();
    let timestamp = format.parse(text).ok_or_else(|| {
        let message = format!("'{text}' does not fit '{}'", format.pattern());
        RowError::new(ErrorName::Function, message)
    })?;
    Ok(in_type(timestamp, sql_type))
}

#[allow(clippy::cast_possible_truncation)]
fn in_type(timestamp: i64, sql_type: &SqlType) -> Value {
    match sql_type {
        SqlType::Date => Value::Date(timestamp.div_euclid(DAY) as i32),
        SqlType::Time => Value::Time(timestamp.rem_euclid(DAY) as i32),
        _ => Value::Timestamp(timestamp),
    }
}

/// A NULL becomes the text `null`, as at AWS.
pub(super) fn to_char(format: Option<&Format>, values: &Arguments<'_>) -> Evaluated<Value> {
    let pattern = value(values, 0)?;
    if pattern.is_null() {
        return Ok(Value::Null);
    }
    let moment = value(values, 1)?;
    if moment.is_null() {
        return Ok("null".into());
    }

    let at = match moment {
        Value::Date(day) => i64::from(*day) * DAY,
        other => other.integer(),
    };
    match format {
        Some(format) => Ok(format.format(at).into()),
        None => Format::new(pattern.text())
            .map(|format| format.format(at).into())
            .map_err(RowError::function),
    }
}
