//! Functions on text. Positions and lengths count characters.

use super::{Arguments, value};
use crate::text::ast::Side;
use crate::value::{Evaluated, RowError, Value};

pub(super) fn length(value: &Value) -> Value {
    count(value.text())
}

fn count(text: &str) -> Value {
    Value::Integer(i64::try_from(text.chars().count()).unwrap_or(i64::MAX))
}

/// Each word, as split at blanks, with the first letter upper and the rest lower case.
pub(super) fn initcap(text: &str) -> String {
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
    result
}

pub(super) fn trim(values: &Arguments<'_>, side: Side) -> Evaluated<Value> {
    let text = value(values, 0)?.text();
    let mut characters = values.get(1).map_or(" ", |given| given.text()).chars();
    let (Some(character), None) = (characters.next(), characters.next()) else {
        return Err(RowError::function("TRIM wants exactly one character"));
    };

    let trimmed = match side {
        Side::Leading => text.trim_start_matches(character),
        Side::Trailing => text.trim_end_matches(character),
        Side::Both => text.trim_matches(character),
    };
    Ok(slice(value(values, 0)?, trimmed))
}

/// A part of a value's text, without a copy.
pub(super) fn slice(value: &Value, part: &str) -> Value {
    match value {
        Value::Text(text) => Value::Text(text.slice_ref(part)),
        _ => part.into(),
    }
}

pub(super) fn position(part: &str, whole: &str) -> Value {
    whole.find(part).map_or(Value::Integer(0), |at| {
        Value::Integer(1 + count(&whole[..at]).integer())
    })
}

pub(super) fn overlay(values: &Arguments<'_>) -> Evaluated<Value> {
    let (text, replacement) = (value(values, 0)?.text(), value(values, 1)?.text());
    let start = value(values, 2)?.integer();
    let length = values
        .get(3)
        .map_or_else(|| count(replacement).integer(), |given| given.integer());
    if length < 0 {
        return Err(RowError::function("OVERLAY wants a length of at least 0"));
    }

    if start < 1 {
        let front = usize::try_from(1_i64.saturating_sub(start)).unwrap_or(usize::MAX);
        let at = byte_offset(replacement, front);
        return Ok(format!("{}{text}", &replacement[..at]).into());
    }
    let from = byte_offset(text, usize::try_from(start - 1).unwrap_or(usize::MAX));
    let gone = usize::try_from(length).unwrap_or(usize::MAX);
    let to = from + byte_offset(&text[from..], gone);
    Ok(format!("{}{replacement}{}", &text[..from], &text[to..]).into())
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
    let text = whole.text();
    let mut start = value(values, 1)?.integer();
    let mut length = values.get(2).map_or(i64::MAX, |given| given.integer());
    if length < 0 {
        return Err(RowError::function("SUBSTRING wants a length of at least 0"));
    }

    if start < 1 {
        if values.len() > 2 {
            length = length.saturating_sub(1_i64.saturating_sub(start)).max(0);
        }
        start = 1;
    }
    let skipped = usize::try_from(start - 1).unwrap_or(usize::MAX);
    let from = byte_offset(text, skipped);
    if !from_form && from == text.len() && start > 1 {
        return Ok(Value::Null);
    }
    let kept = usize::try_from(length).unwrap_or(usize::MAX);
    let to = from + byte_offset(&text[from..], kept);
    Ok(slice(whole, &text[from..to]))
}

pub(super) fn concatenate(left: &Value, right: &Value) -> Evaluated<Value> {
    let (left, right) = (left.text(), right.text());
    let mut text = String::with_capacity(left.len() + right.len());
    text.push_str(left);
    text.push_str(right);
    Ok(text.into())
}
