//! Literals, and the units of intervals.

use rust_decimal::Decimal;

use super::ast::{Ast, AstKind};
use super::expression::node;
use super::lexer::TokenKind;
use super::parser::Parser;
use crate::error::{Compiled, ErrorClass, Issue};
use crate::types::interval::parse_interval;
use crate::types::{IntervalType, SqlType, Unit, datetime};
use crate::value::Value;

impl Parser {
    pub(super) fn number_literal(&self, at: u32, digits: &str) -> Compiled<Ast> {
        number(digits)
            .map(|(value, sql_type)| node(at, AstKind::Literal(value, sql_type)))
            .ok_or_else(|| {
                let message = format!("{digits} is out of the range of numbers");
                Issue::new(ErrorClass::Syntax, at, message)
            })
    }

    pub(super) fn text_literal(&self, at: u32, text: String) -> Ast {
        let length = u32::try_from(text.chars().count()).unwrap_or(u32::MAX);
        let value = Value::Text(text.into());
        node(at, AstKind::Literal(value, SqlType::Varchar(length)))
    }

    /// `DATE '…'`, `TIME '…'` or `TIMESTAMP '…'`.
    pub(super) fn time_literal(&mut self, word: &str) -> Compiled<Ast> {
        let at = self.advance().at;
        let TokenKind::Text(text) = self.advance().kind else {
            return Err(self.expected("a string"));
        };

        let (value, sql_type, form) = time_value(word, &text);
        let value = value.ok_or_else(|| {
            let message = format!("'{text}' is no {word}; expected {form}");
            Issue::new(ErrorClass::Syntax, at, message)
        })?;
        Ok(node(at, AstKind::Literal(value, sql_type)))
    }

    /// `INTERVAL [sign] '…' unit [TO unit]`
    pub(super) fn interval_literal(&mut self) -> Compiled<Ast> {
        let at = self.advance().at;
        let negative = self.sign_is_negative();
        let TokenKind::Text(text) = self.advance().kind else {
            return Err(self.expected("a string"));
        };
        let mut interval = self.interval_type()?;

        let amount = amount_of(&text, interval, at)?;
        if text.contains('.') {
            interval.fraction = 3;
        }
        let value = Value::Interval(if negative { -amount } else { amount });
        Ok(node(
            at,
            AstKind::Literal(value, SqlType::Interval(interval)),
        ))
    }

    fn sign_is_negative(&mut self) -> bool {
        let negative = self.eat_symbol("-");
        if !negative {
            self.eat_symbol("+");
        }
        negative
    }

    pub(super) fn unit_follows(&self) -> bool {
        self.word().is_some_and(|word| Unit::named(word).is_some())
    }

    pub(super) fn unit(&mut self) -> Compiled<Unit> {
        let unit = self.word().and_then(Unit::named);
        let unit = unit.ok_or_else(|| self.expected("YEAR, MONTH, DAY, HOUR, MINUTE or SECOND"))?;

        self.advance();
        Ok(unit)
    }

    /// `unit[(precision)] [TO unit[(fraction)]]`
    pub(super) fn interval_type(&mut self) -> Compiled<IntervalType> {
        let from = self.unit()?;
        self.precisions()?;
        let mut interval = IntervalType::single(from);
        let end = self.word_at(1).and_then(Unit::named);
        if !self.is_word("TO") || !end.is_some_and(|to| from.spans(to)) {
            return Ok(interval);
        }

        self.advance();
        interval.to = self.unit()?;
        self.precisions()?;
        Ok(interval)
    }

    fn precisions(&mut self) -> Compiled<()> {
        if !self.eat_symbol("(") {
            return Ok(());
        }
        self.unsigned("a precision")?;
        if self.eat_symbol(",") {
            self.unsigned("a precision")?;
        }
        self.expect_symbol(")")
    }
}

fn amount_of(text: &str, interval: IntervalType, at: u32) -> Compiled<i64> {
    let parsed = parse_interval(text, interval);
    parsed.ok_or_else(|| {
        let message = format!("'{text}' is no INTERVAL {interval}");
        Issue::new(ErrorClass::Syntax, at, message)
    })
}

pub(super) fn binary_literal(at: u32, bytes: Vec<u8>) -> Ast {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    let value = Value::Binary(bytes.into());
    node(at, AstKind::Literal(value, SqlType::Varbinary(length)))
}

/// NULL, TRUE, FALSE or UNKNOWN.
pub(super) fn keyword_literal(at: u32, word: &str) -> Ast {
    let (value, sql_type) = match word {
        "TRUE" => (Value::Boolean(true), SqlType::Boolean),
        "FALSE" => (Value::Boolean(false), SqlType::Boolean),
        "UNKNOWN" => (Value::Null, SqlType::Boolean),
        _ => (Value::Null, SqlType::Null),
    };
    node(at, AstKind::Literal(value, sql_type))
}

/// The value of a datetime literal, its type, and the form of its text.
fn time_value(word: &str, text: &str) -> (Option<Value>, SqlType, &'static str) {
    match word {
        "DATE" => {
            let value = datetime::parse_date(text).map(Value::Date);
            (value, SqlType::Date, "yyyy-MM-dd")
        }
        "TIME" => {
            let value = datetime::parse_time(text).map(Value::Time);
            (value, SqlType::Time, "HH:mm:ss")
        }
        _ => {
            let value = datetime::parse_timestamp_literal(text).map(Value::Timestamp);
            (value, SqlType::Timestamp, "yyyy-MM-dd HH:mm:ss")
        }
    }
}

/// The value and type of a number as written.
fn number(digits: &str) -> Option<(Value, SqlType)> {
    if digits.contains(['e', 'E']) {
        let double: f64 = digits.parse().ok()?;
        let typed = (Value::Double(double), SqlType::Double);
        return double.is_finite().then_some(typed);
    }
    if !digits.contains('.') {
        return whole_number(digits);
    }

    decimal_number(digits)
}

fn decimal_number(digits: &str) -> Option<(Value, SqlType)> {
    let value = Decimal::from_str_exact(digits.trim_end_matches('.')).ok()?;
    let scale = u8::try_from(value.scale()).ok()?;
    let whole_digits = digits.bytes().filter(u8::is_ascii_digit).count();
    let precision = u8::try_from(whole_digits).ok()?.max(1);
    let sql_type = SqlType::Decimal { precision, scale };
    let typed = (Value::Decimal(value), sql_type);
    (precision <= 19).then_some(typed)
}

fn whole_number(digits: &str) -> Option<(Value, SqlType)> {
    let value: i64 = digits.parse().ok()?;
    let sql_type = if i32::try_from(value).is_ok() {
        SqlType::Integer
    } else {
        SqlType::BigInt
    };
    Some((Value::Integer(value), sql_type))
}
