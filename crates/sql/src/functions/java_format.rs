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

/// The letters that Java knows.
const LETTERS: &str = "GyYMwWDdFEuaHkKhmsSzZX";

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
                let Some((text, after)) = quoted(rest) else {
                    return Err(format!("the format '{pattern}' has a quote without end"));
                };
                push_text(&mut parts, &text);
                rest = after;
                continue;
            }
            if !first.is_ascii_alphabetic() {
                let (text, after) = rest.split_at(first.len_utf8());
                push_text(&mut parts, text);
                rest = after;
                continue;
            }

            if !LETTERS.contains(first) {
                return Err(format!(
                    "the format '{pattern}' has the unknown letter {first}"
                ));
            }
            let after = rest.trim_start_matches(first);
            let width = rest.len() - after.len();
            parts.push(Part::Field(first, width));
            rest = after;
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
                    let most = self.digits_most(index, *width);
                    rest = found.read(*letter, *width, most, rest)?;
                }
            }
        }
        found.timestamp()
    }

    /// The digits at most of a field: numbers next to each other are split by their widths.
    fn digits_most(&self, index: usize, width: usize) -> usize {
        let splits = self
            .parts
            .get(index..index + 2)
            .is_some_and(|neighbours| neighbours.iter().all(is_number_field));
        if splits { width } else { usize::MAX }
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
        let number = match letter {
            'G' => return text.push_str("AD"),
            'y' if width == 2 => self.year % 100,
            'y' => self.year,
            'Y' => {
                let (year, _) = self.week();
                if width == 2 { year % 100 } else { year }
            }
            'M' if width >= 3 => {
                let month = name(&MONTHS, self.month - 1);
                return push_name(month, width, text);
            }
            'M' => self.month,
            'w' => {
                let (_, week) = self.week();
                week
            }
            'W' => self.week_of_month(),
            'D' => self.day_of_year,
            'd' => self.day,
            'F' => (self.day - 1) / 7 + 1,
            'E' => {
                let weekday = name(&DAYS, self.weekday);
                return push_name(weekday, width, text);
            }
            'u' => (self.weekday + 6) % 7 + 1,
            'a' if hour < 12 => return text.push_str("AM"),
            'a' => return text.push_str("PM"),
            'H' => hour,
            'k' if hour == 0 => 24,
            'k' => hour,
            'K' => hour % 12,
            'h' => (hour + 11) % 12 + 1,
            'm' => self.millisecond / 60_000 % 60,
            's' => self.millisecond / 1000 % 60,
            'S' => self.millisecond % 1000,
            'z' if width >= 4 => return text.push_str("Coordinated Universal Time"),
            'z' => return text.push_str("UTC"),
            'Z' => return text.push_str("+0000"),
            _ => return text.push('Z'),
        };
        push_number(number, width, text);
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
    let length = if width >= 4 { name.len() } else { 3 };
    if let Some(shown) = name.get(..length) {
        text.push_str(shown);
    }
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
    fn read<'a>(
        &mut self,
        letter: char,
        width: usize,
        most: usize,
        text: &'a str,
    ) -> Option<&'a str> {
        match letter {
            'G' | 'E' | 'a' => return self.read_name(letter, text),
            'M' if width >= 3 => return self.read_name(letter, text),
            'z' | 'Z' | 'X' => {
                let (offset, rest) = zone(text)?;
                self.offset = offset;
                return Some(rest);
            }
            _ => {}
        }

        let text = text.trim_start_matches([' ', '\t']);
        let (number, digits, rest) = number(text, most)?;
        if !number_range(letter).contains(&number) {
            return None;
        }

        let number = match letter {
            'y' | 'Y' if width <= 2 && digits == 2 => full_year(number),
            _ => number,
        };
        self.set(letter, number);
        Some(rest)
    }

    fn read_name<'a>(&mut self, letter: char, text: &'a str) -> Option<&'a str> {
        let (names, short) = names_of(letter);
        let (index, rest) = one_of(names, text, short)?;
        match letter {
            'G' => self.before_christ = index == 0,
            'a' => self.afternoon = Some(index == 1),
            'M' => self.month = Some(index + 1),
            _ => self.weekday = Some(index),
        }
        Some(rest)
    }

    fn set(&mut self, letter: char, number: i64) {
        match letter {
            'y' | 'Y' => self.year = Some(number),
            'M' => self.month = Some(number),
            'd' => self.day = Some(number),
            'D' => self.day_of_year = Some(number),
            'w' => self.week = Some(number),
            'W' => self.week_of_month = Some(number),
            'F' => self.week_in_month = Some(number),
            'u' => self.weekday = Some(number % 7),
            _ => self.set_time(letter, number),
        }
    }

    fn set_time(&mut self, letter: char, number: i64) {
        match letter {
            'H' | 'K' => self.hour = Some(number),
            'k' => self.hour = Some(number % 24),
            'h' => self.hour = Some(number % 12),
            'm' => self.minute = number,
            's' => self.second = number,
            _ => self.millisecond = number,
        }
    }

    fn timestamp(&self) -> Option<i64> {
        if self.before_christ {
            return None;
        }

        let mut hour = self.hour.unwrap_or(0);
        if self.afternoon == Some(true) && hour < 12 {
            hour += 12;
        }
        let minutes = hour * 60 + self.minute;
        let seconds = minutes * 60 + self.second;
        let time = seconds * 1000 + self.millisecond;

        let midnight = self.day()? * DAY;
        let timestamp = midnight + time - self.offset;
        datetime::in_range(timestamp).then_some(timestamp)
    }

    /// Days since 1970, from the fields that were found.
    fn day(&self) -> Option<i64> {
        let year = self.year.unwrap_or(1970);
        let year = i32::try_from(year).ok()?;
        if self.month.is_none() && self.day.is_none() {
            let first = first_of_month(year, 1)?;
            if let Some(day) = self.day_in_year(first) {
                return Some(day);
            }
        }

        let month = self.month.unwrap_or(1);
        let first = first_of_month(year, month)?;
        if self.day.is_none()
            && let Some(day) = self.day_in_month(first)
        {
            return Some(day);
        }

        let month = u8::try_from(month).ok()?;
        let day = u8::try_from(self.day.unwrap_or(1)).ok()?;
        datetime::day_number(year, month, day).map(i64::from)
    }

    /// The day by the day or week of the year that starts with `first`.
    fn day_in_year(&self, first: i64) -> Option<i64> {
        if let Some(day) = self.day_of_year {
            return Some(first + day - 1);
        }

        let week = self.week?;
        Some(self.day_of_week(first, week))
    }

    /// The day by the week of the month that starts with `first`.
    fn day_in_month(&self, first: i64) -> Option<i64> {
        if let Some(week) = self.week_of_month {
            return Some(self.day_of_week(first, week));
        }

        let week = self.week_in_month?;
        let weekday = self.weekday.unwrap_or(0);
        let ahead = (weekday - weekday_of(first)).rem_euclid(7);
        Some(first + ahead + (week - 1) * 7)
    }

    /// The weekday in a week, counted from the one with `first`.
    fn day_of_week(&self, first: i64, week: i64) -> i64 {
        let sunday = first - weekday_of(first);
        let weekday = self.weekday.unwrap_or(0);
        sunday + (week - 1) * 7 + weekday
    }
}

/// The names that a letter reads, and the length of their short forms.
fn names_of(letter: char) -> (&'static [&'static str], usize) {
    match letter {
        'G' => (&["BC", "AD"], 2),
        'a' => (&["AM", "PM"], 2),
        'M' => (&MONTHS, 3),
        _ => (&DAYS, 3),
    }
}

/// The weekday of a day since 1970; 0 is Sunday.
fn weekday_of(day: i64) -> i64 {
    (day + 4).rem_euclid(7)
}

fn first_of_month(year: i32, month: i64) -> Option<i64> {
    let month = u8::try_from(month).ok()?;
    let day = datetime::day_number(year, month, 1)?;
    Some(i64::from(day))
}

/// The numbers that a field may hold.
fn number_range(letter: char) -> std::ops::RangeInclusive<i64> {
    match letter {
        'M' | 'h' => 1..=12,
        'K' => 0..=11,
        'd' => 1..=31,
        'D' => 1..=366,
        'w' => 1..=53,
        'W' | 'F' => 0..=6,
        'u' => 1..=7,
        'H' => 0..=23,
        'k' => 1..=24,
        'm' | 's' => 0..=59,
        'S' => 0..=999,
        _ => 0..=9999,
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
    let digits = text
        .bytes()
        .take(most)
        .take_while(u8::is_ascii_digit)
        .count();

    let (number, rest) = text.split_at(digits);
    Some((number.parse().ok()?, digits, rest))
}

/// The name at the front, whole or cut to `short` letters, in any case.
fn one_of<'a>(names: &[&str], text: &'a str, short: usize) -> Option<(i64, &'a str)> {
    for (index, name) in (0..).zip(names) {
        let rest = without_front(name, text).or_else(|| without_front(&name[..short], text));
        if let Some(rest) = rest {
            return Some((index, rest));
        }
    }
    None
}

/// The text behind a name, in any case.
fn without_front<'a>(name: &str, text: &'a str) -> Option<&'a str> {
    let (front, rest) = text.split_at_checked(name.len())?;
    front.eq_ignore_ascii_case(name).then_some(rest)
}

/// Milliseconds east of UTC of `Z`, `UTC`, `GMT`, `GMT+01:00`, `+0100`, `+01:00` or `+01`.
fn zone(text: &str) -> Option<(i64, &str)> {
    let named = ["UTC", "GMT", "UT", "Z"]
        .iter()
        .find_map(|name| text.strip_prefix(name));
    let rest = named.unwrap_or(text);
    let Some(unsigned) = rest.strip_prefix(['+', '-']) else {
        return Some((0, named?));
    };

    let (hours, _, after) = number(unsigned, 2)?;
    let after = after.strip_prefix(':').unwrap_or(after);
    let (minutes, _, after) = number(after, 2).unwrap_or((0, 0, after));
    if hours > 23 || minutes > 59 {
        return None;
    }

    let offset = (hours * 60 + minutes) * 60_000;
    if rest.starts_with('-') {
        return Some((-offset, after));
    }
    Some((offset, after))
}
