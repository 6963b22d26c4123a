//! Dates, times and timestamps: days, milliseconds of the day, milliseconds since 1970.

use time::{Date, Month};

use super::Unit;

/// Milliseconds of a day.
pub(crate) const DAY: i64 = 86_400_000;

/// Julian day of 1970-01-01.
const EPOCH: i32 = 2_440_588;

/// The fields of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fields {
    pub(crate) year: i32,
    pub(crate) month: u8,
    pub(crate) day: u8,
    /// Milliseconds of the day.
    pub(crate) millisecond: i64,
}

/// The calendar day of a day number; the number is within the years 1 to 9999 by construction.
pub(crate) fn calendar(day: i32) -> Date {
    Date::from_julian_day(day.saturating_add(EPOCH)).unwrap_or(Date::MIN)
}

/// The fields of a timestamp.
pub(crate) fn fields(timestamp: i64) -> Fields {
    let date = calendar(day_of(timestamp));

    Fields {
        year: date.year(),
        month: date.month().into(),
        day: date.day(),
        millisecond: timestamp.rem_euclid(DAY),
    }
}

/// The day number of a timestamp.
fn day_of(timestamp: i64) -> i32 {
    let day = timestamp.div_euclid(DAY);
    i32::try_from(day).unwrap_or(i32::MAX)
}

/// The day number of a date between the years 1 and 9999.
pub(crate) fn day_number(year: i32, month: u8, day: u8) -> Option<i32> {
    if !(1..=9999).contains(&year) {
        return None;
    }

    let month = Month::try_from(month).ok()?;
    let date = Date::from_calendar_date(year, month, day).ok()?;
    Some(date.to_julian_day() - EPOCH)
}

/// The first millisecond of the year 1, and the last of the year 9999.
const FIRST: i64 = -62_135_596_800_000;
const LAST: i64 = 253_402_300_799_999;

/// Whether a timestamp lies within the years 1 to 9999.
pub(crate) fn in_range(timestamp: i64) -> bool {
    (FIRST..=LAST).contains(&timestamp)
}

/// The nearest timestamp within the years 1 to 9999.
pub(crate) fn clamped(timestamp: i64) -> i64 {
    timestamp.clamp(FIRST, LAST)
}

fn digits(text: &str, length: usize) -> Option<(u32, &str)> {
    let (head, rest) = text.split_at_checked(length)?;
    let all_digits = head.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits {
        return None;
    }

    let number = head.parse().ok()?;
    Some((number, rest))
}

/// The digits behind a separator.
fn digits_behind(separator: char, text: &str) -> Option<(u32, &str)> {
    let rest = text.strip_prefix(separator)?;
    digits(rest, 2)
}

fn date_front(text: &str) -> Option<(i32, &str)> {
    let (year, rest) = digits(text, 4)?;
    let (month, rest) = digits_behind('-', rest)?;
    let (day, rest) = digits_behind('-', rest)?;

    let year = i32::try_from(year).ok()?;
    let month = u8::try_from(month).ok()?;
    let day = u8::try_from(day).ok()?;
    let number = day_number(year, month, day)?;
    Some((number, rest))
}

fn time_front(text: &str) -> Option<(i64, &str)> {
    let (hour, rest) = digits(text, 2)?;
    let (minute, rest) = digits_behind(':', rest)?;
    let (second, rest) = digits_behind(':', rest)?;
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }

    let minutes = i64::from(hour) * 60 + i64::from(minute);
    let seconds = minutes * 60 + i64::from(second);
    Some((seconds * 1000, rest))
}

/// The timestamp of a date and a time with one of `separators` between, without decimals.
fn timestamp_front<'a>(text: &'a str, separators: &[char]) -> Option<(i64, &'a str)> {
    let (day, rest) = date_front(text)?;
    let rest = rest.strip_prefix(separators)?;
    let (millisecond, rest) = time_front(rest)?;

    let midnight = i64::from(day) * DAY;
    Some((midnight + millisecond, rest))
}

/// The milliseconds of `.f…` (at least one digit) and the text after it.
fn fraction_front(text: &str, most: usize) -> Option<(i64, &str)> {
    let Some(after) = text.strip_prefix('.') else {
        return Some((0, text));
    };

    let (digits, rest) = split_digits(after);
    if digits.is_empty() || digits.len() > most {
        return None;
    }
    Some((milliseconds(digits)?, rest))
}

/// The digits at the front, and the rest.
pub(super) fn split_digits(text: &str) -> (&str, &str) {
    let count = text.bytes().take_while(u8::is_ascii_digit).count();
    text.split_at(count)
}

/// The milliseconds that the digits behind a point stand for; further digits are cut.
pub(super) fn milliseconds(digits: &str) -> Option<i64> {
    let padded = format!("{digits:0<3}");
    padded[..3].parse().ok()
}

/// `yyyy-MM-dd`, and nothing else.
pub(crate) fn parse_date(text: &str) -> Option<i32> {
    let (day, rest) = date_front(text)?;
    rest.is_empty().then_some(day)
}

/// `HH:mm:ss`, and nothing else.
pub(crate) fn parse_time(text: &str) -> Option<i32> {
    let (millisecond, rest) = time_front(text)?;
    let (fraction, rest) = fraction_front(rest, 3)?;
    if !rest.is_empty() {
        return None;
    }

    let total = millisecond + fraction;
    i32::try_from(total).ok()
}

/// Exactly `yyyy-MM-dd HH:mm:ss`: the text that CAST takes.
pub(crate) fn parse_timestamp(text: &str) -> Option<i64> {
    let (timestamp, rest) = timestamp_front(text, &[' '])?;
    rest.is_empty().then_some(timestamp)
}

/// The text of a TIMESTAMP literal: as for CAST, with up to three decimals.
pub(crate) fn parse_timestamp_literal(text: &str) -> Option<i64> {
    let (timestamp, rest) = timestamp_front(text, &[' '])?;
    let (fraction, rest) = fraction_front(rest, 3)?;
    rest.is_empty().then_some(timestamp + fraction)
}

/// The text of a TIMESTAMP in a record: blank or `T` between date and time, up to nine decimals, a
/// zone, or a date alone.
pub(crate) fn parse_record_timestamp(text: &str) -> Option<i64> {
    if let Some(day) = parse_date(text) {
        return Some(i64::from(day) * DAY);
    }

    let (timestamp, rest) = timestamp_front(text, &[' ', 'T'])?;
    let (fraction, rest) = fraction_front(rest, 9)?;
    let offset = zone_offset(rest)?;

    let timestamp = timestamp + fraction - offset;
    in_range(timestamp).then_some(timestamp)
}

/// Milliseconds east of UTC of nothing, `Z`, `+hh`, `+hhmm` or `+hh:mm`.
fn zone_offset(text: &str) -> Option<i64> {
    if text.is_empty() || text == "Z" {
        return Some(0);
    }

    let unsigned = text.strip_prefix(['+', '-'])?;
    let (hours, rest) = digits(unsigned, 2)?;
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    let (minutes, rest) = minutes_of_zone(rest)?;
    if !rest.is_empty() || hours > 18 || minutes > 59 {
        return None;
    }

    let offset = i64::from(hours * 60 + minutes) * 60_000;
    if text.starts_with('-') {
        return Some(-offset);
    }
    Some(offset)
}

fn minutes_of_zone(text: &str) -> Option<(u32, &str)> {
    if text.is_empty() {
        return Some((0, ""));
    }
    digits(text, 2)
}

/// Appends `yyyy-MM-dd`.
pub(crate) fn write_date(day: i32, text: &mut String) {
    let date = calendar(day);
    let year = date.year().unsigned_abs();
    let month = u8::from(date.month());

    write_number(year, 4, text);
    text.push('-');
    write_number(month.into(), 2, text);
    text.push('-');
    write_number(date.day().into(), 2, text);
}

/// Appends `HH:mm:ss`.
pub(crate) fn write_time(millisecond: i64, text: &mut String) {
    let seconds = u32::try_from(millisecond / 1000).unwrap_or(0);
    write_number(seconds / 3600, 2, text);
    text.push(':');
    write_number(seconds / 60 % 60, 2, text);
    text.push(':');
    write_number(seconds % 60, 2, text);
}

/// Appends `yyyy-MM-dd HH:mm:ss`.
pub(crate) fn write_timestamp(timestamp: i64, text: &mut String) {
    write_date(day_of(timestamp), text);
    text.push(' ');
    write_time(timestamp.rem_euclid(DAY), text);
}

/// Appends `yyyy-MM-dd HH:mm:ss.fff`: the form of output records.
pub(crate) fn write_timestamp_millis(timestamp: i64, text: &mut String) {
    write_timestamp(timestamp, text);
    text.push('.');
    let fraction = u32::try_from(timestamp.rem_euclid(1000)).unwrap_or(0);
    write_number(fraction, 3, text);
}

fn write_number(number: u32, width: u32, text: &mut String) {
    for place in (0..width).rev() {
        let digit = number / 10_u32.pow(place) % 10;
        text.push(char::from_digit(digit, 10).unwrap_or('0'));
    }
}

/// The last multiple of `unit` at or before a timestamp.
pub(crate) fn floor(timestamp: i64, unit: Unit) -> i64 {
    match unit {
        Unit::Year | Unit::Month => {
            let months = unit.size();
            floor_months(timestamp, months)
        }
        _ => timestamp - timestamp.rem_euclid(unit.size()),
    }
}

/// The last multiple of so many months since 1970 at or before a timestamp.
pub(crate) fn floor_months(timestamp: i64, months: i64) -> i64 {
    let whole = months_since_epoch(timestamp);
    month_start(whole - whole.rem_euclid(months))
}

fn months_since_epoch(timestamp: i64) -> i64 {
    let fields = fields(timestamp);
    (i64::from(fields.year) - 1970) * 12 + i64::from(fields.month) - 1
}

/// Midnight of the first day of a month, counted from January 1970; years outside 1 to 9999 are
/// cut.
fn month_start(months: i64) -> i64 {
    let year = 1970 + months.div_euclid(12);
    let year = i32::try_from(year.clamp(1, 9999)).unwrap_or(1);
    let month = u8::try_from(months.rem_euclid(12) + 1).unwrap_or(1);

    let day = day_number(year, month, 1).unwrap_or_default();
    i64::from(day) * DAY
}

/// A timestamp so many months later; the day is cut to the month's last.
pub(crate) fn add_months(timestamp: i64, months: i64) -> Option<i64> {
    let at = fields(timestamp);
    let whole = months_since_epoch(timestamp).checked_add(months)?;
    let year = whole.div_euclid(12).checked_add(1970)?;
    let year = i32::try_from(year).ok()?;
    let month = u8::try_from(whole.rem_euclid(12) + 1).ok()?;

    let mut days = (1..=at.day).rev();
    let day = days.find_map(|day| day_number(year, month, day))?;
    let midnight = i64::from(day) * DAY;
    Some(midnight + at.millisecond)
}

/// Whole months from one timestamp to another, cut toward zero.
pub(crate) fn months_between(from: i64, to: i64) -> i64 {
    let mut months = months_since_epoch(to) - months_since_epoch(from);
    let landed = add_months(from, months).unwrap_or(to);

    if months > 0 && landed > to {
        months -= 1;
    } else if months < 0 && landed < to {
        months += 1;
    }
    months
}
