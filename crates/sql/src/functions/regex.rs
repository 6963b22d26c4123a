//! `java.util.regex` and SIMILAR TO on the `regex` crate.
//!
//! Patterns are translated so that a construct has Java's meaning or is refused: `\d \w \s \b` are
//! ASCII, `.` stops at every line terminator. Refused: look-around, back-references, possessive
//! quantifiers, `\G`, `\Z`.

use regex::Regex;

use super::text::{byte_offset, only_character, slice};
use super::{Arguments, value};
use crate::value::{Evaluated, RowError, Value};

/// Any character but Java's line terminators.
const NO_LINE_END: &str = r"[^\n\r\u{85}\u{2028}\u{2029}]";
const ENDS_IN_ESCAPE: &str = "the pattern ends in its escape";

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
            Self::Dynamic => {
                let regex = java_regex(pattern.text());
                regex.map_err(RowError::function)
            }
        }
    }
}

/// A Java pattern as a regular expression of ours.
pub(crate) fn java_regex(pattern: &str) -> Result<Regex, String> {
    let translated = Translator::new(pattern).translate()?;
    compiled(pattern, &translated)
}

/// A Java pattern that must match the whole text.
pub(crate) fn java_regex_whole(pattern: &str) -> Result<Regex, String> {
    let translated = Translator::new(pattern).translate()?;
    let whole = format!(r"\A(?:{translated})\z");
    compiled(pattern, &whole)
}

fn compiled(pattern: &str, translated: &str) -> Result<Regex, String> {
    match Regex::new(translated) {
        Ok(regex) => Ok(regex),
        Err(error) => Err(unusable(pattern, &error)),
    }
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
                _ if self.in_class() => self.class_member(next),
                '.' => self.result.push_str(NO_LINE_END),
                '*' | '+' | '?' | '}' => self.quantifier(next)?,
                _ => self.result.push(next),
            }
        }
        Ok(self.result)
    }

    fn in_class(&self) -> bool {
        self.class_depth > 0
    }

    fn class_member(&mut self, member: char) {
        self.result.push(member);
        if member == ']' {
            self.class_depth -= 1;
        }
    }

    /// Takes the next character if it is this one.
    fn takes(&mut self, wanted: char) -> bool {
        match self.rest.as_str().strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest.chars();
                true
            }
            None => false,
        }
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
        if self.takes('^') {
            self.result.push('^');
        }
    }

    fn quantifier(&mut self, quantifier: char) -> Result<(), String> {
        self.result.push(quantifier);
        if self.takes('?') {
            self.result.push('?');
        }

        if self.takes('+') {
            return Err(self.refuse("a possessive quantifier"));
        }
        Ok(())
    }

    fn escape(&mut self) -> Result<(), String> {
        let Some(next) = self.rest.next() else {
            return Err(self.refuse("a backslash at its end"));
        };

        if let Some(members) = class_of(next.to_ascii_lowercase()) {
            self.class(members, next.is_ascii_uppercase());
            return Ok(());
        }
        self.refuse_escape(next)?;

        match next {
            'b' if !self.in_class() => self.result.push_str(r"(?-u:\b)"),
            'Q' => self.quoted(),
            _ => {
                self.result.push('\\');
                self.result.push(next);
            }
        }
        Ok(())
    }

    fn refuse_escape(&self, escaped: char) -> Result<(), String> {
        match escaped {
            'B' if !self.in_class() => Err(self.refuse(r"\B")),
            '1'..='9' | 'k' => Err(self.refuse("a back-reference")),
            'G' | 'Z' | 'R' | 'X' => {
                let escape = format!("\\{escaped}");
                Err(self.refuse(&escape))
            }
            _ => Ok(()),
        }
    }

    fn class(&mut self, members: &str, negated: bool) {
        let class = match (negated, self.in_class()) {
            (false, true) => members.to_owned(),
            (false, false) => format!("[{members}]"),
            (true, _) => format!("[^{members}]"),
        };
        self.result.push_str(&class);
    }

    /// `\Q…\E`: everything between stands for itself.
    fn quoted(&mut self) {
        let rest = self.rest.as_str();
        let (inside, after) = rest.split_once(r"\E").unwrap_or((rest, ""));

        let inside = regex::escape(inside);
        self.result.push_str(&inside);
        self.rest = after.chars();
    }
}

/// The members of a class with one letter, in ASCII as in Java.
fn class_of(letter: char) -> Option<&'static str> {
    match letter {
        'd' => Some("0-9"),
        'w' => Some("a-zA-Z0-9_"),
        's' => Some(r" \t\n\x0B\f\r"),
        'h' => Some(r" \t\u{A0}"),
        _ => None,
    }
}

/// A SIMILAR TO pattern as a regular expression that must match the whole text.
pub(crate) fn similar_regex(pattern: &str, escape: Option<char>) -> Result<Regex, String> {
    let translated = similar_body(pattern, escape)?;
    let whole = format!(r"(?s)\A(?:{translated})\z");
    compiled(pattern, &whole)
}

fn similar_body(pattern: &str, escape: Option<char>) -> Result<String, String> {
    let mut result = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();

    while let Some(next) = rest.next() {
        if Some(next) == escape {
            let escaped = rest.next().ok_or(ENDS_IN_ESCAPE)?;
            push_literal(&mut result, escaped);
            continue;
        }

        if next == '[' {
            let class = similar_class(&mut rest, escape)?;
            result.push_str(&class);
        } else {
            push_similar(&mut result, next);
        }
    }
    Ok(result)
}

/// A character outside of a class and without an escape.
fn push_similar(result: &mut String, next: char) {
    match next {
        '%' => result.push_str(".*"),
        '_' => result.push('.'),
        // Groups that capture nothing: a caller's own group keeps the number.
        '(' => result.push_str("(?:"),
        ')' | '|' | '*' | '+' | '?' | '{' | '}' => result.push(next),
        _ => push_literal(result, next),
    }
}

/// Appends a character that stands for itself.
fn push_literal(result: &mut String, character: char) {
    let mut buffer = [0; 4];
    let text = character.encode_utf8(&mut buffer);
    result.push_str(&regex::escape(text));
}

/// `[abc]`, `[^a]`, `[a-e]`, and `[a-e^c]`: all of the first but the second.
fn similar_class(rest: &mut std::str::Chars<'_>, escape: Option<char>) -> Result<String, String> {
    let mut included = String::new();
    let mut excluded = None;

    loop {
        let next = rest.next().ok_or("the pattern has a [ without ]")?;
        let first_part = excluded.is_none();
        let members = excluded.as_mut().unwrap_or(&mut included);

        if Some(next) == escape {
            let escaped = rest.next().ok_or(ENDS_IN_ESCAPE)?;
            push_member(members, escaped);
        } else if next == ']' {
            break;
        } else if next == '-' {
            members.push('-');
        } else if next == '^' && first_part {
            excluded = Some(String::new());
        } else {
            push_member(members, next);
        }
    }

    let excluded = excluded.unwrap_or_default();
    Ok(match (included.is_empty(), excluded.is_empty()) {
        (true, _) => format!("[^{excluded}]"),
        (false, true) => format!("[{included}]"),
        (false, false) => format!("[{included}--[{excluded}]]"),
    })
}

/// Appends a character of a class.
fn push_member(members: &mut String, member: char) {
    if matches!(member, '\\' | '[' | ']' | '^' | '-' | '&' | '~') {
        members.push('\\');
    }
    members.push(member);
}

/// The first match, or NULL.
pub(super) fn substring(source: &RegexSource, text: &Value, pattern: &Value) -> Evaluated<Value> {
    let regex = source.get(pattern)?;
    match regex.find(text.text()) {
        Some(found) => {
            let part = slice(text, found.as_str());
            Ok(part)
        }
        None => Ok(Value::Null),
    }
}

/// `SUBSTRING(s SIMILAR 'x#"y#"z' ESCAPE '#')`: the part that y matches.
pub(super) fn substring_similar(values: &Arguments<'_>) -> Evaluated<Value> {
    let text = value(values, 0)?;
    let pattern = value(values, 1)?.text();
    let escape = value(values, 2)?.text();
    let Some(escape) = only_character(escape) else {
        return Err(RowError::function("ESCAPE wants exactly one character"));
    };

    let regex = three_part_regex(pattern, escape).map_err(RowError::function)?;
    let part = regex
        .captures(text.text())
        .and_then(|captures| captures.get(1));
    Ok(part.map_or(Value::Null, |part| slice(text, part.as_str())))
}

/// The regular expression of `x#"y#"z`, with y as the first group.
pub(crate) fn three_part_regex(pattern: &str, escape: char) -> Result<Regex, String> {
    let mark = format!("{escape}\"");
    let parts: Vec<&str> = pattern.split(&mark).collect();
    let [before, inside, after] = parts.as_slice() else {
        return Err(format!("'{pattern}' wants exactly two {mark}"));
    };

    let before = similar_body(before, Some(escape))?;
    let inside = similar_body(inside, Some(escape))?;
    let after = similar_body(after, Some(escape))?;
    let whole = format!(r"(?s)\A(?:{before})({inside})(?:{after})\z");
    compiled(pattern, &whole)
}

const REPLACE_WANTS: &str =
    "REGEX_REPLACE wants a start of at least 1 and an occurrence of at least 0";

/// REGEX_REPLACE(text, regex, replacement, start, occurrence)
pub(super) fn replace(source: &RegexSource, values: &Arguments<'_>) -> Evaluated<Value> {
    let text = value(values, 0)?.text();
    let regex = source.get(value(values, 1)?)?;
    let replacement = value(values, 2)?.text();
    let start = value(values, 3)?.integer();
    let occurrence = value(values, 4)?.integer();

    let from = usize::try_from(start.saturating_sub(1)).ok();
    let occurrence = usize::try_from(occurrence).ok();
    let (Some(from), Some(occurrence)) = (from, occurrence) else {
        return Err(RowError::function(REPLACE_WANTS));
    };

    let (before, searched) = text.split_at(byte_offset(text, from));
    let replaced = replaced(&regex, searched, replacement, occurrence);
    let replaced = replaced.map_err(RowError::function)?;
    Ok([before, &replaced].concat().into())
}

/// The text with one occurrence replaced, counted from 1, or with all for 0.
fn replaced(
    regex: &Regex,
    text: &str,
    replacement: &str,
    occurrence: usize,
) -> Result<String, String> {
    let (skipped, wanted) = match occurrence {
        0 => (0, usize::MAX),
        number => (number - 1, 1),
    };
    let found = regex.captures_iter(text).skip(skipped).take(wanted);

    let mut result = String::new();
    let mut last = 0;
    for captures in found {
        let Some(whole) = captures.get(0) else {
            continue;
        };
        result.push_str(&text[last..whole.start()]);
        expand(replacement, &captures, &mut result)?;
        last = whole.end();
    }

    result.push_str(&text[last..]);
    Ok(result)
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
    if let Some((name, rest)) = braced_name(after) {
        if let Some(group) = captures.name(name) {
            result.push_str(group.as_str());
        }
        return Ok(rest);
    }

    let Some((number, rest)) = group_number(after, captures.len()) else {
        return Err("the replacement names a group that does not exist".to_owned());
    };
    if let Some(group) = captures.get(number) {
        result.push_str(group.as_str());
    }
    Ok(rest)
}

/// `{name}` at the beginning, and the rest.
fn braced_name(text: &str) -> Option<(&str, &str)> {
    let named = text.strip_prefix('{')?;
    named.split_once('}')
}

/// As many digits as still name one of the groups, and the rest.
fn group_number(text: &str, groups: usize) -> Option<(usize, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();

    (1..=digits).rev().find_map(|end| {
        let (digits, rest) = text.split_at(end);
        let number: usize = digits.parse().ok()?;
        (number < groups).then_some((number, rest))
    })
}
