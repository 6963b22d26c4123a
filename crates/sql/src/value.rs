//! Values, their order, and their text.

use std::cmp::Ordering;
use std::sync::Arc;

use bytestring::ByteString;
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use serde::{Deserialize, Serialize};

use crate::types::interval::interval_text;
use crate::types::{SqlType, datetime};

/// One value of a row. The static type of a column or an expression says which variants occur; NULL
/// always may.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// No value; for BOOLEAN the truth value UNKNOWN.
    Null,
    /// BOOLEAN.
    Boolean(bool),
    /// TINYINT to BIGINT.
    Integer(i64),
    /// DECIMAL, with the scale of the type.
    Decimal(Decimal),
    /// REAL, finite.
    Real(f32),
    /// DOUBLE, finite.
    Double(f64),
    /// CHAR and VARCHAR. A slice of the record where it came from one: cheap to clone.
    Text(ByteString),
    /// BINARY and VARBINARY.
    Binary(Arc<[u8]>),
    /// Days since 1970-01-01.
    Date(i32),
    /// Milliseconds of the day.
    Time(i32),
    /// Milliseconds since 1970.
    Timestamp(i64),
    /// Months or milliseconds, as the type says.
    Interval(i64),
    /// The fields of a log parser's result.
    Row(Arc<[Value]>),
}

impl Value {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    pub(crate) fn truth(&self) -> Option<bool> {
        match self {
            Self::Boolean(truth) => Some(*truth),
            _ => None,
        }
    }

    /// The text of CHAR and VARCHAR; empty for other variants, which the type checker rules out.
    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    /// The integer of an integer, date, time, timestamp or interval; 0 for other variants.
    pub(crate) fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) | Self::Timestamp(number) | Self::Interval(number) => *number,
            Self::Date(number) | Self::Time(number) => i64::from(*number),
            _ => 0,
        }
    }

    /// An exact number as a decimal; 0 for other variants.
    pub(crate) fn decimal(&self) -> Decimal {
        match self {
            Self::Integer(number) => Decimal::from(*number),
            Self::Decimal(number) => *number,
            _ => Decimal::ZERO,
        }
    }

    /// Any number as a double; 0 for other variants.
    #[allow(clippy::cast_precision_loss)]
    pub(crate) fn double(&self) -> f64 {
        match self {
            Self::Integer(number) => *number as f64,
            Self::Decimal(number) => number.to_f64().unwrap_or(0.0),
            Self::Real(number) => f64::from(*number),
            Self::Double(number) => *number,
            _ => 0.0,
        }
    }

    /// A copy that keeps no record alive.
    pub(crate) fn detached(&self) -> Self {
        match self {
            Self::Text(text) => {
                let text = String::from(&**text);
                Self::Text(ByteString::from(text))
            }
            other => other.clone(),
        }
    }

    /// The order of two values of comparable types. `None` when one is NULL.
    pub(crate) fn order(&self, other: &Self) -> Option<Ordering> {
        let order = match (self, other) {
            (Self::Null, _) | (_, Self::Null) => return None,
            (Self::Text(left), Self::Text(right)) => {
                let left = left.as_bytes();
                left.cmp(right.as_bytes())
            }
            (Self::Boolean(left), Self::Boolean(right)) => left.cmp(right),
            (Self::Binary(left), Self::Binary(right)) => left.cmp(right),
            _ if self.is_integral() && other.is_integral() => {
                let left = self.integer();
                left.cmp(&other.integer())
            }
            _ if self.is_floating() || other.is_floating() => {
                let left = self.double();
                return left.partial_cmp(&other.double());
            }
            _ => {
                let left = self.decimal();
                left.cmp(&other.decimal())
            }
        };
        Some(order)
    }

    /// Whether `integer` is the whole value.
    fn is_integral(&self) -> bool {
        matches!(
            self,
            Self::Integer(_)
                | Self::Timestamp(_)
                | Self::Interval(_)
                | Self::Date(_)
                | Self::Time(_)
        )
    }

    fn is_floating(&self) -> bool {
        matches!(self, Self::Real(_) | Self::Double(_))
    }

    /// The order that a sort uses: NULL is the largest value.
    pub(crate) fn sort_order(&self, other: &Self) -> Ordering {
        match (self.is_null(), other.is_null()) {
            (true, true) => Ordering::Equal,
            (true, false) => Ordering::Greater,
            (false, true) => Ordering::Less,
            (false, false) => {
                let order = self.order(other);
                order.unwrap_or(Ordering::Equal)
            }
        }
    }

    /// Whether two values are the same group key: NULL equals NULL.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.sort_order(other) == Ordering::Equal
    }

    /// Appends a form of the value that is equal for equal values of one type, and different
    /// otherwise.
    pub(crate) fn write_key(&self, key: &mut Vec<u8>) {
        match self {
            Self::Null => key.push(0),
            Self::Boolean(truth) => {
                key.push(1);
                key.push(u8::from(*truth));
            }
            Self::Decimal(number) => {
                key.push(3);
                key.extend(number.normalize().serialize());
            }
            Self::Real(_) | Self::Double(_) => {
                // Adding zero turns -0.0 into 0.0, its equal.
                let number = self.double() + 0.0;
                key.push(4);
                key.extend(number.to_be_bytes());
            }
            Self::Text(text) => {
                let bytes = text.as_bytes();
                write_bytes_key(5, bytes, key);
            }
            Self::Binary(bytes) => write_bytes_key(6, bytes, key),
            Self::Row(fields) => {
                for field in fields.iter() {
                    field.write_key(key);
                }
            }
            _ => {
                key.push(2);
                key.extend(self.integer().to_be_bytes());
            }
        }
    }
}

fn write_bytes_key(tag: u8, bytes: &[u8], key: &mut Vec<u8>) {
    key.push(tag);
    key.extend(bytes.len().to_be_bytes());
    key.extend(bytes);
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

/// The text of a value as CAST to VARCHAR writes it, appended to `text`.
pub(crate) fn write_text(value: &Value, sql_type: &SqlType, text: &mut String) {
    match value {
        Value::Null | Value::Row(_) | Value::Binary(_) => {}
        Value::Boolean(true) => text.push_str("TRUE"),
        Value::Boolean(false) => text.push_str("FALSE"),
        Value::Integer(number) => {
            let mut buffer = itoa::Buffer::new();
            text.push_str(buffer.format(*number));
        }
        Value::Decimal(number) => {
            let decimal = decimal_text(*number, sql_type);
            text.push_str(&decimal);
        }
        Value::Real(number) => {
            let double = f64::from(*number);
            write_float(*number, double, text);
        }
        Value::Double(number) => write_float(*number, *number, text),
        Value::Text(found) => text.push_str(found),
        Value::Date(day) => datetime::write_date(*day, text),
        Value::Time(time) => {
            let time = i64::from(*time);
            datetime::write_time(time, text);
        }
        Value::Timestamp(timestamp) => datetime::write_timestamp(*timestamp, text),
        Value::Interval(amount) => {
            if let SqlType::Interval(interval) = sql_type {
                let interval = interval_text(*amount, *interval);
                text.push_str(&interval);
            }
        }
    }
}

/// All decimals of the type, also the zeros.
pub(crate) fn decimal_text(number: Decimal, sql_type: &SqlType) -> String {
    let mut number = number;
    if let SqlType::Decimal { scale, .. } = sql_type {
        number.rescale(u32::from(*scale));
    }
    if number.is_zero() {
        number.set_sign_positive(true);
    }
    number.to_string()
}

/// The shortest text that reads back as the same number; without an exponent from 1e-3 up to 1e7.
fn write_float(number: impl std::fmt::Display + std::fmt::LowerExp, size: f64, text: &mut String) {
    use std::fmt::Write;

    let size = size.abs();
    if size == 0.0 {
        text.push('0');
        return;
    }
    // Writing to a String cannot fail.
    let _ = if (1e-3..1e7).contains(&size) {
        write!(text, "{number}")
    } else {
        write!(text, "{number:e}")
    };
}

/// The kind of an error that kills a row: ERROR_NAME of `error_stream`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ErrorName {
    /// A value of the record does not fit the type of the column.
    Coercion,
    /// The record is not in the format of the schema.
    Parse,
    /// A number was divided by zero.
    DivisionByZero,
    /// A CAST whose value does not fit the target.
    Cast,
    /// A result outside the range of the type.
    OutOfRange,
    /// NULL for a column that is NOT NULL.
    NullInNotNull,
    /// A row older than the last one of the stream.
    OutOfOrder,
    /// A function refused the arguments.
    Function,
}

impl ErrorName {
    /// The text in the column ERROR_NAME.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Coercion => "Coercion error",
            Self::Parse => "Parse error",
            Self::DivisionByZero => "Division by zero",
            Self::Cast => "Cast error",
            Self::OutOfRange => "Value out of range",
            Self::NullInNotNull => "Null in NOT NULL column",
            Self::OutOfOrder => "Row out of order",
            Self::Function => "Function error",
        }
    }
}

/// The reason for which a row is not emitted. Boxed: the path without errors stays small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowError(Box<(ErrorName, String)>);

impl RowError {
    pub(crate) fn new(name: ErrorName, message: impl Into<String>) -> Self {
        Self(Box::new((name, message.into())))
    }

    pub(crate) fn out_of_range(sql_type: &SqlType) -> Self {
        let message = format!("the result is out of the range of {sql_type}");
        Self::new(ErrorName::OutOfRange, message)
    }

    pub(crate) fn function(message: impl Into<String>) -> Self {
        Self::new(ErrorName::Function, message)
    }

    pub(crate) fn name(&self) -> ErrorName {
        self.0.0
    }

    pub(crate) fn message(&self) -> &str {
        &self.0.1
    }
}

/// A step of the evaluation of a row.
pub(crate) type Evaluated<T> = Result<T, RowError>;
