//! `java.util.regex` and SIMILAR TO on the `regex` crate.
//!
//! Patterns are translated so that a construct has Java's meaning or is refused: `\d \w \s \b` are
//! ASCII, `.` stops at every line terminator. Refused: look-around, back-references, possessive
//! quantifiers, `\G`, `\Z`.

use regex::Regex;

use super::text::{byte_offset, slice};
use super::{Arguments, value};
use crate::value::{Evaluated, RowError, Value};

/// A regular expression that is compiled once when constant, else for each row.
#[derive(Debug, Clone)]
pub(crate) enum RegexSource {
    Constant(Regex),
    Dynamic,
}

impl PartialEq for RegexSource {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Constant(left), Self::Constant(right)) => left.as_str() == right.as_str(),
            (Self::Dynamic, Self::Dynamic) => true,
            _ => false,
        }
    }
}

impl RegexSource {
    fn get(&self, pattern: &Value) -> Evaluated<Regex> {
        match self {
            // A clone is a counter.
            Self::Constant(regex) => Ok(regex.clone()),
            Self::Dynamic => java_regex(pattern.text()).map_err(RowError::function),
        }
    }
}

/// A Java pattern as a regular expression of ours.
pub(crate) fn java_regex(pattern: &str) -> Result<Regex, String> {
    let translated = Translator::new(pattern).translate()?;
    Regex::new(&translated).map_err(|error| unusable(pattern, &error))
}

/// A Java pattern that must match the whole text.
pub(crate) fn java_regex_whole(pattern: &str) -> Result<Regex, String> {
    let translated = Translator::new(pattern).translate()?;
    Regex::new(&format!(r"\A(?:{translated})\z")).map_err(|error| unusable(pattern, &error))
}

fn unusable(pattern: &str, error: &regex::Error) -> String {
    let text = error.to_string();
    let reason = text
        .lines()
        .last()
        .map_or(text.as_str(), |line| line.trim_start_matches("error: "));
    format!("the regular expression '{pattern}' can't be used: {reason}")
}

struct Translator<'a> {
    pattern: &'a str,
    rest: std::str::Chars<'a>,
    result: String,
    class_depth: u32,
}

impl<'a> Translator<'a> {
    fn new(pattern: &'a str) -> Self {
        Self {
            pattern,
            rest: pattern.chars(),
            result: String::with_capacity(pattern.len()),
            class_depth: 0,
        }
    }

    fn translate(mut self) -> Result<String, String> {
        while let Some(next) = self.rest.next() {
            match next {
                '\\' => self.escape()?,
                '[' => self.open_class(),
                ']' if self.class_depth > 0 => {
                    self.class_depth -= 1;
                    self.result.push(next);
                }
                '.' if self.class_depth == 0 => {
                    self.result.push_str(r"[^\n\r\u{85}\u{2028}\u{2029}]");
                }
                '*' | '+' | '?' | '}' if self.class_depth == 0 => self.quantifier(next)?,
                _ => self.result.push(next),
            }
        }
        Ok(self.result)
    }

    fn refuse(&self, construct: &str) -> String {
        format!(
            "the regular expression '{}' has {construct}, which is not built here",
            self.pattern
        )
    }

    /// After `[` and `[^` a `]` closes in Java as well; an opening bracket nests.
    fn open_class(&mut self) {
        self.class_depth += 1;
        self.result.push('[');
        if self.rest.as_str().starts_with('^') {
            self.rest.next();
            self.result.push('^');
        }
    }

    fn quantifier(&mut self, quantifier: char) -> Result<(), String> {
        self.result.push(quantifier);
        if self.rest.as_str().starts_with('+') {
            return Err(self.refuse("a possessive quantifier"));
        }
        if self.rest.as_str().starts_with('?') && quantifier != '(' {
            self.rest.next();
            self.result.push('?');
            if self.rest.as_str().starts_with('+') {
                return Err(self.refuse("a possessive quantifier"));
            }
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        let Some(next) = self.rest.next() else {
            return Err(self.refuse("a backslash at its end"));
        };
        let in_class = self.class_depth > 0;
        match next {
            'd' => self.class("0-9", false, in_class),
            'D' => self.class("0-9", true, in_class),
            'w' => self.class("a-zA-Z0-9_", false, in_class),
            'W' => self.class("a-zA-Z0-9_", true, in_class),
            's' => self.class(r" \t\n\x0B\f\r", false, in_class),
            'S' => self.class(r" \t\n\x0B\f\r", true, in_class),
            'h' => self.class(r" \t\u{A0}", false, in_class),
            'b' if !in_class => self.result.push_str(r"(?-u:\b)"),
            'B' if !in_class => return Err(self.refuse(r"\B")),
            '1'..='9' | 'k' => return Err(self.refuse("a back-reference")),
            'G' | 'Z' | 'R' | 'X' => return Err(self.refuse(&format!("\\{next}"))),
            'Q' => self.quoted(),
            _ => {
                self.result.push('\\');
                self.result.push(next);
            }
        }
        Ok(())
    }

    fn class(&mut self, members: &str, negated: bool, in_class: bool) {
        if in_class && !negated {
            self.result.push_str(members);
        } else {
            let sign = if negated { "^" } else { "" };
            self.result.push_str(&format!("[{sign}{members}]"));
        }
    }

    /// `\Q…\E`: everything between stands for itself.
    fn quoted(&mut self) {
        let rest = self.rest.as_str();
        let end = rest.find(r"\E").unwrap_or(rest.len());
        self.result.push_str(&regex::escape(&rest[..end]));
        self.rest = rest[end..].strip_prefix(r"\E").unwrap_or_default().chars();
    }
}

/// A SIMILAR TO pattern as a regular expression that must match the whole text.
pub(crate) fn similar_regex(pattern: &str, escape: Option<char>) -> Result<Regex, String> {
    let translated = similar_body(pattern, escape)?;
    Regex::new(&format!(r"(?s)\A(?:{translated})\z")).map_err(|error| unusable(pattern, &error))
}

fn similar_body(pattern: &str, escape: Option<char>) -> Result<String, String> {
    let mut result = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();

    while let Some(next) = rest.next() {
        if Some(next) == escape {
            let escaped = rest.next().ok_or("the pattern ends in its escape")?;
            result.push_str(&regex::escape(escaped.encode_utf8(&mut [0; 4])));
            continue;
        }
        match next {
            '%' => result.push_str(".*"),
            '_' => result.push('.'),
            '[' => similar_class(&mut rest, escape, &mut result)?,
            // Groups that capture nothing: a caller's own group keeps the number.
            '(' => result.push_str("(?:"),
            ')' | '|' | '*' | '+' | '?' | '{' | '}' => result.push(next),
            _ => result.push_str(&regex::escape(next.encode_utf8(&mut [0; 4]))),
        }
    }
    Ok(result)
}

/// `[abc]`, `[^a]`, `[a-e]`, and `[a-e^c]`: all of the first but the second.
fn similar_class(
    rest: &mut std::str::Chars<'_>,
    escape: Option<char>,
    result: &mut String,
) -> Result<(), String> {
    let mut parts = [String::new(), String::new()];
    let mut part = 0;

    loop {
        let mut next = rest.next().ok_or("the pattern has a [ without ]")?;
        if Some(next) == escape {
            next = rest.next().ok_or("the pattern ends in its escape")?;
        } else if next == ']' {
            break;
        } else if next == '^' && part == 0 {
            part = 1;
            continue;
        } else if next == '-' {
            parts[part].push('-');
            continue;
        }
        if matches!(next, '\\' | '[' | ']' | '^' | '-' | '&' | '~') {
            parts[part].push('\\');
        }
        parts[part].push(next);
    }

    let [included, excluded] = parts;
    let class = match (included.is_empty(), excluded.is_empty()) {
        (true, _) => format!("[^{excluded}]"),
        (false, true) => format!("[{included}]"),
        (false, false) => format!("[{included}--[{excluded}]]"),
    };
    result.push_str(&class);
    Ok(())
}

/// The first match, or NULL.
pub(super) fn substring(source: &RegexSource, text: &Value, pattern: &Value) -> Evaluated<Value> {
    let regex = source.get(pattern)?;
    Ok(regex
        .find(text.text())
        .map_or(Value::Null, |found| slice(text, found.as_str())))
}

/// `SUBSTRING(s SIMILAR 'x#"y#"z' ESCAPE '#')`: the part that y matches.
pub(super) fn substring_similar(values: &Arguments<'_>) -> Evaluated<Value> {
    let (text, pattern) = (value(values, 0)?, value(values, 1)?.text());
    let mut characters = value(values, 2)?.text().chars();
    let (Some(escape), None) = (characters.next(), characters.next()) else {
        return Err(RowError::function("ESCAPE wants exactly one character"));
    };

    let regex = three_part_regex(pattern, escape).map_err(RowError::function)?;
    let found = regex
        .captures(text.text())
        .and_then(|captures| captures.get(1));
    Ok(found.map_or(Value::Null, |part| slice(text, part.as_str())))
}

/// The regular expression of `x#"y#"z`, with y as the first group.
pub(crate) fn three_part_regex(pattern: &str, escape: char) -> Result<Regex, String> {
    let mark = format!("{escape}\"");
    let parts: Vec<&str> = pattern.split(&mark).collect();
    let [before, inside, after] = parts.as_slice() else {
        return Err(format!("'{pattern}' wants exactly two {mark}"));
    };

    let part = |text: &str| similar_body(text, Some(escape));
    let (before, inside, after) = (part(before)?, part(inside)?, part(after)?);
    let whole = format!(r"(?s)\A(?:{before})({inside})(?:{after})\z");
    Regex::new(&whole).map_err(|error| unusable(pattern, &error))
}

/// REGEX_REPLACE(text, regex, replacement, start, occurrence)
pub(super) fn replace(source: &RegexSource, values: &Arguments<'_>) -> Evaluated<Value> {
    let text = value(values, 0)?.text();
    let regex = source.get(value(values, 1)?)?;
    let replacement = value(values, 2)?.text();
    let (start, occurrence) = (value(values, 3)?.integer(), value(values, 4)?.integer());
    if start < 1 || occurrence < 0 {
        return Err(RowError::function(
            "REGEX_REPLACE wants a start of at least 1 and an occurrence of at least 0",
        ));
    }

    let from = byte_offset(text, usize::try_from(start - 1).unwrap_or(usize::MAX));
    let mut result = String::from(&text[..from]);
    let mut last = from;
    for (index, captures) in regex.captures_iter(&text[from..]).enumerate() {
        let number = i64::try_from(index + 1).unwrap_or(i64::MAX);
        let Some(whole) = captures
            .get(0)
            .filter(|_| occurrence == 0 || number == occurrence)
        else {
            continue;
        };
        result.push_str(&text[last..from + whole.start()]);
        expand(replacement, &captures, &mut result).map_err(RowError::function)?;
        last = from + whole.end();
    }
    result.push_str(&text[last..]);
    Ok(result.into())
}

/// Appends a Java replacement: `$1` and `${name}` are groups, a backslash makes the next character
/// itself.
fn expand(
    replacement: &str,
    captures: &regex::Captures<'_>,
    result: &mut String,
) -> Result<(), String> {
    let mut rest = replacement;
    while let Some(at) = rest.find(['$', '\\']) {
        result.push_str(&rest[..at]);
        let (mark, after) = rest[at..].split_at(1);
        rest = if mark == "$" {
            expand_group(after, captures, result)?
        } else {
            let next = after.chars().next().ok_or("the replacement ends in \\")?;
            result.push(next);
            &after[next.len_utf8()..]
        };
    }
    result.push_str(rest);
    Ok(())
}

fn expand_group<'a>(
    after: &'a str,
    captures: &regex::Captures<'_>,
    result: &mut String,
) -> Result<&'a str, String> {
    if let Some((name, rest)) = after
        .strip_prefix('{')
        .and_then(|named| named.split_once('}'))
    {
        result.push_str(captures.name(name).map_or("", |group| group.as_str()));
        return Ok(rest);
    }

    // As many digits as still name a group.
    let digits = after
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(after.len());
    let named = (1..=digits).rev().find_map(|end| {
        let number: usize = after[..end].parse().ok()?;
        (number < captures.len()).then_some((number, end))
    });
    let (number, end) = named.ok_or("the replacement names a group that does not exist")?;
    result.push_str(captures.get(number).map_or("", |group| group.as_str()));
    Ok(&after[end..])
}
