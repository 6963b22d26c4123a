//! Interval texts: `'1 06:30' DAY TO MINUTE`, `+2 00:06:11`.

use super::datetime::{milliseconds, split_digits};
use super::{IntervalType, Unit};

const UNITS: [Unit; 6] = [
    Unit::Year,
    Unit::Month,
    Unit::Day,
    Unit::Hour,
    Unit::Minute,
    Unit::Second,
];

fn fields(interval: IntervalType) -> impl Iterator<Item = Unit> {
    UNITS
        .into_iter()
        .filter(move |unit| *unit >= interval.from && *unit <= interval.to)
}

/// Months or milliseconds of an interval's text; `None` when it does not fit the fields.
pub(crate) fn parse_interval(text: &str, interval: IntervalType) -> Option<i64> {
    let text = text.trim();
    let mut rest = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut total: i64 = 0;

    for unit in fields(interval) {
        let leads = unit == interval.from;
        if !leads {
            rest = rest.strip_prefix(separator(unit))?;
        }

        let (digits, after) = split_digits(rest);
        let amount: i64 = digits.parse().ok()?;
        if !leads && amount >= limit(unit) {
            return None;
        }
        let part = amount.checked_mul(unit.size())?;
        total = total.checked_add(part)?;
        rest = after;
    }

    if interval.to == Unit::Second {
        let (milliseconds, after) = fraction(rest)?;
        total = total.checked_add(milliseconds)?;
        rest = after;
    }
    if !rest.is_empty() {
        return None;
    }
    Some(if text.starts_with('-') { -total } else { total })
}

/// The milliseconds of `.250…` and the text after it.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(after) = text.strip_prefix('.') else {
        return Some((0, text));
    };

    let (digits, rest) = split_digits(after);
    Some((milliseconds(digits)?, rest))
}

/// The character in front of a field that is not the leading one.
fn separator(unit: Unit) -> char {
    match unit {
        Unit::Month => '-',
        Unit::Hour => ' ',
        _ => ':',
    }
}

/// The first amount that a field after the leading one can't hold.
fn limit(unit: Unit) -> i64 {
    match unit {
        Unit::Month => 12,
        Unit::Hour => 24,
        _ => 60,
    }
}

/// The text of an interval: sign, leading field as it is, the others with two digits.
pub(crate) fn interval_text(amount: i64, interval: IntervalType) -> String {
    let mut text = String::from(if amount < 0 { '-' } else { '+' });
    let mut rest = amount.unsigned_abs();

    for unit in fields(interval) {
        let size = unit.size().unsigned_abs();
        let count = rest / size;
        rest %= size;
        if unit == interval.from {
            text.push_str(&count.to_string());
        } else {
            text.push(separator(unit));
            text.push_str(&format!("{count:02}"));
        }
    }
    if interval.to == Unit::Second && interval.fraction > 0 {
        text.push_str(&format!(".{rest:03}"));
    }
    text
}
