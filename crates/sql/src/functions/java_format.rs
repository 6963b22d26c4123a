//! Formats of Java's `SimpleDateFormat`, English and UTC.

use crate::types::datetime::{self, DAY};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];

/// A pattern, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Format {
    pattern: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    /// A letter and how often it stands.
    Field(char, usize),
}

impl Format {
    /// Takes a pattern apart. Fails on letters that Java does not know, with the message for the
    /// user.
    pub(crate) fn new(pattern: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = pattern;

        while let Some(first) = rest.chars().next() {
            if first == '\'' {
                let (text, after) = quoted(rest)
                    .ok_or_else(|| format!("the format '{pattern}' has a quote without end"))?;
                push_text(&mut parts, &text);
                rest = after;
            } else if first.is_ascii_alphabetic() {
                if !"GyYMwWDdFEuaHkKhmsSzZX".contains(first) {
                    return Err(format!(
                        "the format '{pattern}' has the unknown letter {first}"
                    ));
                }
                let after = rest.trim_start_matches(first);
                parts.push(Part::Field(first, rest.len() - after.len()));
                rest = after;
            } else {
                let at = first.len_utf8();
                push_text(&mut parts, &rest[..at]);
                rest = &rest[at..];
            }
        }
        Ok(Self {
            pattern: pattern.to_owned(),
            parts,
        })
    }

    pub(crate) fn pattern(&self) -> &str {
        &self.pattern
    }

    /// The text of a timestamp.
    pub(crate) fn format(&self, timestamp: i64) -> String {
        let moment = Moment::new(timestamp);
        let mut text = String::new();
        for part in &self.parts {
            match part {
                Part::Text(fixed) => text.push_str(fixed),
                Part::Field(letter, width) => moment.write(*letter, *width, &mut text),
            }
        }
        text
    }

    /// The timestamp at the front of a text; text after the pattern is left alone. `None` when it
    /// does not fit.
    pub(crate) fn parse(&self, text: &str) -> Option<i64> {
        let mut rest = text;
        let mut found = Found::default();

        for (index, part) in self.parts.iter().enumerate() {
            match part {
                Part::Text(fixed) => rest = rest.strip_prefix(fixed.as_str())?,
                Part::Field(letter, width) => {
                    let adjacent = self.parts.get(index + 1).is_some_and(is_number_field);
                    let most = if adjacent && is_number_field(part) {
                        *width
                    } else {
                        usize::MAX
                    };
                    rest = found.read(*letter, *width, most, rest)?;
                }
            }
        }
        found.timestamp()
    }
}

fn is_number_field(part: &Part) -> bool {
    match part {
        Part::Field('M', width) => *width < 3,
        Part::Field(letter, _) => !"GEazZX".contains(*letter),
        Part::Text(_) => false,
    }
}

fn push_text(parts: &mut Vec<Part>, text: &str) {
    if let Some(Part::Text(last)) = parts.last_mut() {
        last.push_str(text);
    } else {
        parts.push(Part::Text(text.to_owned()));
    }
}

/// The text of `'…'` at the front and the rest; `''` is one quote.
fn quoted(pattern: &str) -> Option<(String, &str)> {
    let mut rest = pattern.strip_prefix('\'')?;
    if let Some(after) = rest.strip_prefix('\'') {
        return Some(("'".to_owned(), after));
    }

    let mut text = String::new();
    loop {
        let end = rest.find('\'')?;
        text.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        let Some(after) = rest.strip_prefix('\'') else {
            return Some((text, rest));
        };
        text.push('\'');
        rest = after;
    }
}

/// A timestamp with the numbers that the letters stand for.
struct Moment {
    year: i64,
    month: i64,
    day: i64,
    day_of_year: i64,
    /// 0 is Sunday.
    weekday: i64,
    /// Days since 1970.
    number: i64,
    millisecond: i64,
}

impl Moment {
    fn new(timestamp: i64) -> Self {
        let fields = datetime::fields(timestamp);
        let number = timestamp.div_euclid(DAY);
        let first = datetime::day_number(fields.year, 1, 1).map_or(0, i64::from);

        Self {
            year: fields.year.into(),
            month: fields.month.into(),
            day: fields.day.into(),
            day_of_year: number - first + 1,
            weekday: (number + 4).rem_euclid(7),
            number,
            millisecond: fields.millisecond,
        }
    }

    // tidy: long because it lists every letter once
    fn write(&self, letter: char, width: usize, text: &mut String) {
        let hour = self.millisecond / 3_600_000;
        match letter {
            'G' => text.push_str("AD"),
            'y' | 'Y' => {
                let year = if letter == 'Y' {
                    self.week().0
                } else {
                    self.year
                };
                let shown = if width == 2 { year % 100 } else { year };
                push_number(shown, width, text);
            }
            'M' if width >= 3 => push_name(name(&MONTHS, self.month - 1), width, text),
            'M' => push_number(self.month, width, text),
            'w' => push_number(self.week().1, width, text),
            'W' => push_number(self.week_of_month(), width, text),
            'D' => push_number(self.day_of_year, width, text),
            'd' => push_number(self.day, width, text),
            'F' => push_number((self.day - 1) / 7 + 1, width, text),
            'E' => push_name(name(&DAYS, self.weekday), width, text),
            'u' => push_number((self.weekday + 6) % 7 + 1, width, text),
            'a' => text.push_str(if hour < 12 { "AM" } else { "PM" }),
            'H' => push_number(hour, width, text),
            'k' => push_number(if hour == 0 { 24 } else { hour }, width, text),
            'K' => push_number(hour % 12, width, text),
            'h' => push_number((hour + 11) % 12 + 1, width, text),
            'm' => push_number(self.millisecond / 60_000 % 60, width, text),
            's' => push_number(self.millisecond / 1000 % 60, width, text),
            'S' => push_number(self.millisecond % 1000, width, text),
            'z' if width >= 4 => text.push_str("Coordinated Universal Time"),
            'z' => text.push_str("UTC"),
            'Z' => text.push_str("+0000"),
            _ => text.push('Z'),
        }
    }

    /// The week's year and number: weeks begin on Sunday, week 1 holds 1 January.
    fn week(&self) -> (i64, i64) {
        let saturday = Self::new((self.number - self.weekday + 6) * DAY);
        (saturday.year, (saturday.day_of_year - 1) / 7 + 1)
    }

    fn week_of_month(&self) -> i64 {
        let first_weekday = (self.weekday - self.day + 1).rem_euclid(7);
        (self.day - 1 + first_weekday) / 7 + 1
    }
}

fn name<'a>(names: &[&'a str], index: i64) -> &'a str {
    usize::try_from(index)
        .ok()
        .and_then(|index| names.get(index))
        .copied()
        .unwrap_or_default()
}

fn push_name(name: &str, width: usize, text: &mut String) {
    text.push_str(if width >= 4 {
        name
    } else {
        &name[..3.min(name.len())]
    });
}

fn push_number(number: i64, width: usize, text: &mut String) {
    text.push_str(&format!("{number:0width$}"));
}

/// The fields that a parse has met. The later of two fields for one thing counts.
#[derive(Debug, Default)]
struct Found {
    year: Option<i64>,
    month: Option<i64>,
    day: Option<i64>,
    day_of_year: Option<i64>,
    week: Option<i64>,
    week_of_month: Option<i64>,
    week_in_month: Option<i64>,
    /// 0 is Sunday.
    weekday: Option<i64>,
    hour: Option<i64>,
    afternoon: Option<bool>,
    minute: i64,
    second: i64,
    millisecond: i64,
    /// Milliseconds east of UTC.
    offset: i64,
    before_christ: bool,
}

impl Found {
    // tidy: long because it lists every letter once
    fn read<'a>(
        &mut self,
        letter: char,
        width: usize,
        most: usize,
        text: &'a str,
    ) -> Option<&'a str> {
        match letter {
            'G' => {
                let (era, rest) = one_of(&["BC", "AD"], text, 2)?;
                self.before_christ = era == 0;
                return Some(rest);
            }
            'M' if width >= 3 => {
                let (month, rest) = one_of(&MONTHS, text, 3)?;
                self.month = Some(month + 1);
                return Some(rest);
            }
            'E' => {
                let (weekday, rest) = one_of(&DAYS, text, 3)?;
                self.weekday = Some(weekday);
                return Some(rest);
            }
            'a' => {
                let (half, rest) = one_of(&["AM", "PM"], text, 2)?;
                self.afternoon = Some(half == 1);
                return Some(rest);
            }
            'z' | 'Z' | 'X' => {
                let (offset, rest) = zone(text)?;
                self.offset = offset;
                return Some(rest);
            }
            _ => {}
        }

        let text = text.trim_start_matches([' ', '\t']);
        let (number, digits, rest) = number(text, most)?;
        self.set(letter, width, number, digits)?;
        Some(rest)
    }

    // tidy: long because it lists every letter once
    fn set(&mut self, letter: char, width: usize, number: i64, digits: usize) -> Option<()> {
        let (low, high) = match letter {
            'M' | 'K' | 'h' => (
                i64::from(letter != 'K'),
                if letter == 'K' { 11 } else { 12 },
            ),
            'd' => (1, 31),
            'D' => (1, 366),
            'w' => (1, 53),
            'W' | 'F' => (0, 6),
            'u' => (1, 7),
            'H' => (0, 23),
            'k' => (1, 24),
            'm' | 's' => (0, 59),
            'S' => (0, 999),
            _ => (0, 9999),
        };
        if !(low..=high).contains(&number) {
            return None;
        }

        match letter {
            'y' | 'Y' if width <= 2 && digits == 2 => self.year = Some(full_year(number)),
            'y' | 'Y' => self.year = Some(number),
            'M' => self.month = Some(number),
            'd' => self.day = Some(number),
            'D' => self.day_of_year = Some(number),
            'w' => self.week = Some(number),
            'W' => self.week_of_month = Some(number),
            'F' => self.week_in_month = Some(number),
            'u' => self.weekday = Some(number % 7),
            'H' | 'K' => self.hour = Some(number),
            'k' => self.hour = Some(number % 24),
            'h' => self.hour = Some(number % 12),
            'm' => self.minute = number,
            's' => self.second = number,
            _ => self.millisecond = number,
        }
        Some(())
    }

    fn timestamp(&self) -> Option<i64> {
        if self.before_christ {
            return None;
        }
        let mut hour = self.hour.unwrap_or(0);
        if self.afternoon == Some(true) && hour < 12 {
            hour += 12;
        }

        let time = ((hour * 60 + self.minute) * 60 + self.second) * 1000 + self.millisecond;
        let timestamp = self.day()? * DAY + time - self.offset;
        datetime::in_range(timestamp).then_some(timestamp)
    }

    /// Days since 1970, from the fields that were found.
    fn day(&self) -> Option<i64> {
        let year = i32::try_from(self.year.unwrap_or(1970)).ok()?;
        let first_of_year = i64::from(datetime::day_number(year, 1, 1)?);
        if let (Some(day), None, None) = (self.day_of_year, self.month, self.day) {
            return Some(first_of_year + day - 1);
        }
        if let (Some(week), None, None) = (self.week, self.month, self.day) {
            let sunday = first_of_year - (first_of_year + 4).rem_euclid(7);
            return Some(sunday + (week - 1) * 7 + self.weekday.unwrap_or(0));
        }

        let month = u8::try_from(self.month.unwrap_or(1)).ok()?;
        let first = i64::from(datetime::day_number(year, month, 1)?);
        let weekday = self.weekday.unwrap_or(0);
        match (self.day, self.week_of_month, self.week_in_month) {
            (None, Some(week), _) => {
                let sunday = first - (first + 4).rem_euclid(7);
                Some(sunday + (week - 1) * 7 + weekday)
            }
            (None, None, Some(week)) => {
                let ahead = (weekday - (first + 4)).rem_euclid(7);
                Some(first + ahead + (week - 1) * 7)
            }
            (day, _, _) => {
                let day = u8::try_from(day.unwrap_or(1)).ok()?;
                datetime::day_number(year, month, day).map(i64::from)
            }
        }
    }
}

/// A year of two digits, from 80 years back to 20 ahead of 2026: a fixed pivot, so that a replay
/// reads the same.
fn full_year(number: i64) -> i64 {
    const LAST: i64 = 2046;
    let year = LAST - LAST % 100 + number;
    if year > LAST { year - 100 } else { year }
}

fn number(text: &str, most: usize) -> Option<(i64, usize, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len())
        .min(most);
    Some((text[..end].parse().ok()?, end, &text[end..]))
}

/// The name at the front, whole or cut to `short` letters, in any case.
fn one_of<'a>(names: &[&str], text: &'a str, short: usize) -> Option<(i64, &'a str)> {
    let front = |length: usize, name: &str| {
        text.get(..length)
            .is_some_and(|head| head.eq_ignore_ascii_case(&name[..length]))
    };
    names.iter().enumerate().find_map(|(index, name)| {
        let length = if front(name.len(), name) {
            name.len()
        } else if front(short, name) {
            short
        } else {
            return None;
        };
        Some((i64::try_from(index).ok()?, &text[length..]))
    })
}

/// Milliseconds east of UTC of `Z`, `UTC`, `GMT`, `GMT+01:00`, `+0100`, `+01:00` or `+01`.
fn zone(text: &str) -> Option<(i64, &str)> {
    let named = ["UTC", "GMT", "UT", "Z"]
        .iter()
        .find_map(|name| text.strip_prefix(name));
    let rest = named.unwrap_or(text);
    let Some(unsigned) = rest.strip_prefix(['+', '-']) else {
        return named.map(|rest| (0, rest));
    };

    let (hours, _, after) = number(unsigned, 2)?;
    let after = after.strip_prefix(':').unwrap_or(after);
    let (minutes, _, after) = number(after, 2).unwrap_or((0, 0, after));
    if hours > 23 || minutes > 59 {
        return None;
    }
    let offset = (hours * 60 + minutes) * 60_000;
    Some((
        if rest.starts_with('-') {
            -offset
        } else {
            offset
        },
        after,
    ))
}
