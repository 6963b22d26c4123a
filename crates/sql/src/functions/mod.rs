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
        match self {
            Self::Abs => number::abs(value(values, 0)?, sql_type),
            Self::Ceil => number::round_to_whole(value(values, 0)?, true, sql_type),
            Self::Floor => number::round_to_whole(value(values, 0)?, false, sql_type),
            Self::CeilTo(unit) => time::ceil_to(value(values, 0)?, *unit),
            Self::FloorTo(unit) => Ok(time::floor_to(value(values, 0)?, *unit)),
            Self::Step => number::step(value(values, 0)?, value(values, 1)?),
            Self::StepTime(months) => time::step(value(values, 0)?, value(values, 1)?, *months),
            Self::ShiftMonths(back) => {
                let months = value(values, 1)?.integer();
                let months = if *back { -months } else { months };
                crate::expr::shift_months(value(values, 0)?, months)
            }
            Self::Mod => number::modulo(value(values, 0)?, value(values, 1)?, sql_type),
            Self::Power => {
                let (base, exponent) = (value(values, 0)?.double(), value(values, 1)?.double());
                crate::expr::finite(base.powf(exponent), sql_type)
            }
            Self::Sqrt => number::sqrt(value(values, 0)?.double()),
            Self::Exp => crate::expr::finite(value(values, 0)?.double().exp(), sql_type),
            Self::Ln => number::logarithm(value(values, 0)?.double(), f64::ln),
            Self::Log10 => number::logarithm(value(values, 0)?.double(), f64::log10),
            Self::CharLength => Ok(text::length(value(values, 0)?)),
            Self::Upper => Ok(value(values, 0)?.text().to_uppercase().into()),
            Self::Lower => Ok(value(values, 0)?.text().to_lowercase().into()),
            Self::Initcap => Ok(text::initcap(value(values, 0)?.text()).into()),
            Self::Trim(side) => text::trim(values, *side),
            Self::Position => Ok(text::position(
                value(values, 0)?.text(),
                value(values, 1)?.text(),
            )),
            Self::Overlay => text::overlay(values),
            Self::Substring(from_form) => text::substring(values, *from_form),
            Self::SubstringRegex(source) => {
                regex::substring(source, value(values, 0)?, value(values, 1)?)
            }
            Self::SubstringSimilar => regex::substring_similar(values),
            Self::RegexReplace(source) => regex::replace(source, values),
            Self::Concatenate => text::concatenate(value(values, 0)?, value(values, 1)?),
            Self::Extract(unit) => {
                let from = arguments.first().map(|argument| &argument.sql_type);
                Ok(time::extract(*unit, value(values, 0)?, from))
            }
            Self::UnixTimestamp => Ok(Value::Integer(value(values, 0)?.integer())),
            Self::ToTimestamp => time::to_timestamp(value(values, 0)?.integer()),
            Self::TsDiff => {
                let (from, to) = (value(values, 0)?.integer(), value(values, 1)?.integer());
                Ok(Value::Integer(to - from))
            }
            Self::CharTo(format) => time::char_to(format.as_ref(), values, sql_type),
            Self::ToChar(format) => time::to_char(format.as_ref(), values),
            Self::LogParse(parser) => Ok(parser.parse(value(values, 0)?.text())),
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
