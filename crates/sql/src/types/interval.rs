//! Interval texts: `'1 06:30' DAY TO MINUTE`, `+2 00:06:11`.

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
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let mut rest = unsigned;
    let mut total: i64 = 0;

    for unit in fields(interval) {
        if unit != interval.from {
            rest = rest.strip_prefix(separator(unit))?;
        }
        let end = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let amount: i64 = rest[..end].parse().ok()?;
        if unit != interval.from && amount >= limit(unit) {
            return None;
        }
        total = total.checked_add(amount.checked_mul(unit.size())?)?;
        rest = &rest[end..];
    }
    if interval.to == Unit::Second {
        let (milliseconds, after) = fraction(rest)?;
        total = total.checked_add(milliseconds)?;
        rest = after;
    }

    rest.is_empty()
        .then_some(if text.starts_with('-') { -total } else { total })
}

/// The milliseconds of `.250…` and the text after it.
fn fraction(text: &str) -> Option<(i64, &str)> {
    let Some(digits) = text.strip_prefix('.') else {
        return Some((0, text));
    };
    let end = digits
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(digits.len());

    let padded = format!("{:0<3}", &digits[..end.min(3)]);
    Some((padded.parse().ok()?, &digits[end..]))
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
