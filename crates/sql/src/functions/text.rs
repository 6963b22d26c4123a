//! Functions on text. Positions and lengths count characters.

use std::borrow::Cow;

use super::{Arguments, value};
use crate::text::ast::Side;
use crate::value::{Evaluated, RowError, Value};

pub(super) fn length(value: &Value) -> Value {
    Value::Integer(character_count(value.text()))
}

fn character_count(text: &str) -> i64 {
    let count = text.chars().count();
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// A number of characters; nothing below zero.
fn characters(number: i64) -> usize {
    usize::try_from(number.max(0)).unwrap_or(usize::MAX)
}

/// Each word, as split at blanks, with the first letter upper and the rest lower case.
pub(super) fn initcap(value: &Value) -> Value {
    let text = value.text();
    let mut result = String::with_capacity(text.len());
    let mut first = true;

    for character in text.chars() {
        if character == ' ' {
            result.push(character);
        } else if first {
            result.extend(character.to_uppercase());
        } else {
            result.extend(character.to_lowercase());
        }
        first = character == ' ';
    }
    result.into()
}

pub(super) fn upper(value: &Value) -> Value {
    let upper = value.text().to_uppercase();
    upper.into()
}

pub(super) fn lower(value: &Value) -> Value {
    let lower = value.text().to_lowercase();
    lower.into()
}

pub(super) fn trim(values: &Arguments<'_>, side: Side) -> Evaluated<Value> {
    let value = value(values, 0)?;
    let text = value.text();
    let Some(character) = trimmed_character(values.get(1)) else {
        return Err(RowError::function("TRIM wants exactly one character"));
    };

    let trimmed = match side {
        Side::Leading => text.trim_start_matches(character),
        Side::Trailing => text.trim_end_matches(character),
        Side::Both => text.trim_matches(character),
    };
    Ok(slice(value, trimmed))
}

/// A blank unless given.
fn trimmed_character(given: Option<&Cow<'_, Value>>) -> Option<char> {
    match given {
        Some(given) => only_character(given.text()),
        None => Some(' '),
    }
}

/// The character of a text with exactly one.
pub(super) fn only_character(text: &str) -> Option<char> {
    let mut characters = text.chars();
    let first = characters.next();

    match characters.next() {
        Some(_) => None,
        None => first,
    }
}

/// A part of a value's text, without a copy.
pub(super) fn slice(value: &Value, part: &str) -> Value {
    match value {
        Value::Text(text) => {
            let shared = text.slice_ref(part);
            Value::Text(shared)
        }
        _ => part.into(),
    }
}

pub(super) fn position(part: &Value, whole: &Value) -> Value {
    let whole = whole.text();
    let Some(at) = whole.find(part.text()) else {
        return Value::Integer(0);
    };

    let before = character_count(&whole[..at]);
    Value::Integer(before + 1)
}

pub(super) fn overlay(values: &Arguments<'_>) -> Evaluated<Value> {
    let text = value(values, 0)?.text();
    let replacement = value(values, 1)?.text();
    let start = value(values, 2)?.integer();
    let length = match values.get(3) {
        Some(given) => given.integer(),
        None => character_count(replacement),
    };
    if length < 0 {
        return Err(RowError::function("OVERLAY wants a length of at least 0"));
    }

    if start < 1 {
        let in_front = 1_i64.saturating_sub(start);
        let front = first_characters(replacement, in_front);
        return Ok(joined(&[front, text]));
    }

    let before = first_characters(text, start - 1);
    let from_start = &text[before.len()..];
    let replaced = first_characters(from_start, length);
    let after = &from_start[replaced.len()..];
    Ok(joined(&[before, replacement, after]))
}

fn first_characters(text: &str, number: i64) -> &str {
    let end = byte_offset(text, characters(number));
    &text[..end]
}

fn joined(parts: &[&str]) -> Value {
    let text = parts.concat();
    text.into()
}

/// The byte at which the character with this number begins, or the text's length.
pub(super) fn byte_offset(text: &str, characters: usize) -> usize {
    text.char_indices()
        .nth(characters)
        .map_or(text.len(), |(at, _)| at)
}

/// SUBSTRING by position. Past the end the form with FROM is empty, the form with commas NULL.
pub(super) fn substring(values: &Arguments<'_>, from_form: bool) -> Evaluated<Value> {
    let whole = value(values, 0)?;
    let start = value(values, 1)?.integer();
    let length = length_of(values, start)?;

    let text = whole.text();
    let before = first_characters(text, start.saturating_sub(1));
    let rest = &text[before.len()..];
    if !from_form && rest.is_empty() && start > 1 {
        return Ok(Value::Null);
    }

    let part = first_characters(rest, length);
    Ok(slice(whole, part))
}

fn length_of(values: &Arguments<'_>, start: i64) -> Evaluated<i64> {
    match values.get(2) {
        Some(given) => given_length(given.integer(), start),
        None => Ok(i64::MAX),
    }
}

/// The length from the first character on: a start before the text takes from the length.
fn given_length(length: i64, start: i64) -> Evaluated<i64> {
    if length < 0 {
        return Err(RowError::function("SUBSTRING wants a length of at least 0"));
    }
    if start >= 1 {
        return Ok(length);
    }

    let missing = 1_i64.saturating_sub(start);
    Ok(length.saturating_sub(missing))
}

pub(super) fn concatenate(left: &Value, right: &Value) -> Value {
    joined(&[left.text(), right.text()])
}
