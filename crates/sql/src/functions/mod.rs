//! Scalar functions.

pub(crate) mod java_format;
mod number;
pub(crate) mod regex;
mod text;
mod time;

use std::borrow::Cow;

use java_format::Format;
use regex::RegexSource;

use crate::expr::Expr;
use crate::logs::LogParser;
use crate::text::ast::Side;
use crate::types::{SqlType, Unit};
use crate::value::{Evaluated, RowError, Value};

/// A function whose arguments are values; the checker has chosen it by name, form and types.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Builtin {
    Abs,
    Ceil,
    Floor,
    CeilTo(Unit),
    FloorTo(Unit),
    /// STEP of an integer by an integer.
    Step,
    /// STEP of a datetime by an interval; `true` when the interval counts months.
    StepTime(bool),
    /// A datetime plus (or minus, `true`) an interval of months.
    ShiftMonths(bool),
    Mod,
    Power,
    Sqrt,
    Exp,
    Ln,
    Log10,
    CharLength,
    Upper,
    Lower,
    Initcap,
    Trim(Side),
    Position,
    Overlay,
    /// SUBSTRING by position; `true` for the form with FROM, which is empty past the end.
    Substring(bool),
    SubstringRegex(RegexSource),
    SubstringSimilar,
    RegexReplace(RegexSource),
    Concatenate,
    Extract(Unit),
    UnixTimestamp,
    ToTimestamp,
    TsDiff,
    /// CHAR_TO_DATE, CHAR_TO_TIME and CHAR_TO_TIMESTAMP: the type of the result says which.
    CharTo(Option<Format>),
    /// DATE_TO_CHAR, TIME_TO_CHAR and TIMESTAMP_TO_CHAR.
    ToChar(Option<Format>),
    /// A log parser; the fields are in the type of the result.
    LogParse(Box<LogParser>),
}

/// Arguments after evaluation.
pub(crate) type Arguments<'a> = [Cow<'a, Value>];

impl Builtin {
    /// Whether a NULL argument makes the result NULL without a call.
    pub(crate) fn is_strict(&self) -> bool {
        !matches!(self, Self::ToChar(_))
    }

    // tidy: long because it lists every function once
    pub(crate) fn call(
        &self,
        values: &Arguments<'_>,
        arguments: &[Expr],
        sql_type: &SqlType,
    ) -> Evaluated<Value> {
        let first = value(values, 0)?;

        match self {
            Self::Abs => number::abs(first, sql_type),
            Self::Ceil => number::ceil(first, sql_type),
            Self::Floor => number::floor(first, sql_type),
            Self::CeilTo(unit) => time::ceil_to(first, *unit),
            Self::FloorTo(unit) => {
                let floor = time::floor_to(first, *unit);
                Ok(floor)
            }
            Self::Step => {
                let step = value(values, 1)?;
                number::step(first, step)
            }
            Self::StepTime(months) => {
                let interval = value(values, 1)?;
                time::step(first, interval, *months)
            }
            Self::ShiftMonths(back) => {
                let interval = value(values, 1)?;
                time::shift_months(first, interval, *back)
            }
            Self::Mod => {
                let divisor = value(values, 1)?;
                number::modulo(first, divisor, sql_type)
            }
            Self::Power => {
                let exponent = value(values, 1)?.double();
                number::power(first.double(), exponent)
            }
            Self::Sqrt => number::sqrt(first.double()),
            Self::Exp => number::exponential(first.double()),
            Self::Ln => {
                let number = first.double();
                number::logarithm(number, f64::ln)
            }
            Self::Log10 => {
                let number = first.double();
                number::logarithm(number, f64::log10)
            }
            Self::CharLength => Ok(text::length(first)),
            Self::Upper => Ok(text::upper(first)),
            Self::Lower => Ok(text::lower(first)),
            Self::Initcap => Ok(text::initcap(first)),
            Self::Trim(side) => text::trim(values, *side),
            Self::Position => {
                let whole = value(values, 1)?;
                Ok(text::position(first, whole))
            }
            Self::Overlay => text::overlay(values),
            Self::Substring(form) => text::substring(values, *form),
            Self::SubstringRegex(source) => {
                let pattern = value(values, 1)?;
                regex::substring(source, first, pattern)
            }
            Self::SubstringSimilar => regex::substring_similar(values),
            Self::RegexReplace(source) => regex::replace(source, values),
            Self::Concatenate => {
                let right = value(values, 1)?;
                Ok(text::concatenate(first, right))
            }
            Self::Extract(unit) => {
                let from = arguments.first().map(|argument| &argument.sql_type);
                Ok(time::extract(*unit, first, from))
            }
            Self::UnixTimestamp => {
                let milliseconds = first.integer();
                Ok(Value::Integer(milliseconds))
            }
            Self::ToTimestamp => time::to_timestamp(first.integer()),
            Self::TsDiff => {
                let until = value(values, 1)?;
                Ok(time::difference(first, until))
            }
            Self::CharTo(format) => {
                let text = value(values, 1)?;
                time::char_to(format.as_ref(), first, text, sql_type)
            }
            Self::ToChar(format) => {
                let moment = value(values, 1)?;
                time::to_char(format.as_ref(), first, moment)
            }
            Self::LogParse(parser) => {
                let text = first.text();
                Ok(parser.parse(text))
            }
        }
    }
}

/// An argument by place; the checker has counted them.
pub(crate) fn value<'a>(values: &'a Arguments<'_>, index: usize) -> Evaluated<&'a Value> {
    values
        .get(index)
        .map(|value| &**value)
        .ok_or_else(|| RowError::function("an argument is missing"))
}
