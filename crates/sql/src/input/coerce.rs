//! Values of records in the types of their columns.

use bytestring::ByteString;
use rust_decimal::Decimal;

use super::reader::{Token, TokenKind, unescaped};
use crate::convert::{fit_decimal, fit_text, parse_number};
use crate::text::hex_bytes;
use crate::types::{SqlType, datetime};
use crate::value::{ErrorName, RowError, Value};

/// The value of a JSON token.
pub(super) fn from_json(
    text: &ByteString,
    token: Token,
    sql_type: &SqlType,
) -> Result<Value, RowError> {
    let source = &text[token.start..token.end];
    let value = match token.kind {
        TokenKind::Null => Some(Value::Null),
        TokenKind::True | TokenKind::False => {
            from_boolean(token.kind == TokenKind::True, source, sql_type)
        }
        TokenKind::Number => from_number(text, source, sql_type),
        TokenKind::Text { escaped } => {
            let inner = &text[token.start + 1..token.end - 1];
            let inner = if escaped {
                ByteString::from(unescaped(inner))
            } else {
                text.slice_ref(inner)
            };
            return from_text(inner, sql_type);
        }
        TokenKind::Object | TokenKind::Array => sql_type
            .is_text()
            .then(|| fitted(text.slice_ref(source), sql_type)),
    };
    value.ok_or_else(|| bad_value(source))
}

/// The error of a value that does not fit, in the words of the service.
fn bad_value(source: &str) -> RowError {
    RowError::new(
        ErrorName::Coercion,
        format!("For input string: \"{source}\""),
    )
}

fn fitted(text: ByteString, sql_type: &SqlType) -> Value {
    fit_text(std::borrow::Cow::Owned(Value::Text(text)), sql_type).into_owned()
}

fn from_boolean(truth: bool, source: &str, sql_type: &SqlType) -> Option<Value> {
    match sql_type {
        SqlType::Boolean => Some(Value::Boolean(truth)),
        _ if sql_type.is_text() => {
            let text = source.into();
            Some(fitted(text, sql_type))
        }
        _ => number(if truth { "1" } else { "0" }, sql_type),
    }
}

fn from_number(text: &ByteString, source: &str, sql_type: &SqlType) -> Option<Value> {
    match sql_type {
        SqlType::Boolean => {
            parse_number(source).map(|number| Value::Boolean(number.double() != 0.0))
        }
        _ if sql_type.is_text() => {
            let part = text.slice_ref(source);
            Some(fitted(part, sql_type))
        }
        _ => number(source, sql_type),
    }
}

/// The value of a JSON string or a CSV field.
pub(super) fn from_text(text: ByteString, sql_type: &SqlType) -> Result<Value, RowError> {
    let value = match sql_type {
        SqlType::Char(_) | SqlType::Varchar(_) => return Ok(fitted(text, sql_type)),
        SqlType::Boolean => {
            let truth = text.eq_ignore_ascii_case("true");
            Some(Value::Boolean(truth))
        }
        SqlType::Date | SqlType::Time | SqlType::Timestamp => datetime_value(&text, sql_type),
        SqlType::Binary(_) | SqlType::Varbinary(_) => binary(&text, sql_type),
        _ => number(&text, sql_type),
    };
    value.ok_or_else(|| bad_value(&text))
}

fn datetime_value(text: &str, sql_type: &SqlType) -> Option<Value> {
    match sql_type {
        SqlType::Date => {
            let day = datetime::parse_date(text)?;
            Some(Value::Date(day))
        }
        SqlType::Time => {
            let time = datetime::parse_time(text)?;
            Some(Value::Time(time))
        }
        _ => {
            let at = datetime::parse_record_timestamp(text)?;
            Some(Value::Timestamp(at))
        }
    }
}

fn binary(text: &str, sql_type: &SqlType) -> Option<Value> {
    let digits = text
        .strip_prefix(['X', 'x'])?
        .strip_prefix('\'')?
        .strip_suffix('\'')?;
    let value = Value::Binary(hex_bytes(digits)?.into());
    let from = SqlType::Varbinary(u32::MAX);
    crate::convert::assign(std::borrow::Cow::Owned(value), &from, sql_type)
        .ok()
        .map(std::borrow::Cow::into_owned)
}

/// A number that the type holds without loss; only the decimals of a DECIMAL are rounded.
#[allow(clippy::cast_possible_truncation)]
fn number(text: &str, sql_type: &SqlType) -> Option<Value> {
    match sql_type {
        SqlType::Double => {
            let number: f64 = plain_number(text)?.parse().ok()?;
            number.is_finite().then_some(Value::Double(number))
        }
        SqlType::Real => {
            let number: f32 = plain_number(text)?.parse().ok()?;
            number.is_finite().then_some(Value::Real(number))
        }
        SqlType::Decimal { precision, scale } => {
            let number = exact_number(text)?;
            fit_decimal(number, *precision, *scale).map(Value::Decimal)
        }
        _ => whole_number(text, sql_type),
    }
}

fn exact_number(text: &str) -> Option<Decimal> {
    match parse_number(text)? {
        Value::Double(_) => None,
        exact => Some(exact.decimal()),
    }
}

/// The text of a number as JSON and Java write them, not a word such as `inf`.
fn plain_number(text: &str) -> Option<&str> {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'))
        .then_some(text)
}

fn whole_number(text: &str, sql_type: &SqlType) -> Option<Value> {
    let (low, high) = sql_type.integer_range()?;
    let number = match text.parse::<i64>() {
        Ok(number) => number,
        Err(_) => {
            let number: Decimal = match parse_number(text)? {
                Value::Decimal(number) if number.fract().is_zero() => number,
                _ => return None,
            };
            i64::try_from(number).ok()?
        }
    };
    (low..=high)
        .contains(&number)
        .then_some(Value::Integer(number))
}
