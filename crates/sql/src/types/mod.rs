//! The types of the dialect.

pub(crate) mod datetime;
pub(crate) mod interval;

use std::fmt;
use std::sync::Arc;

/// A type of the dialect, as in a column definition.
///
/// Source: "Data Types" in the Amazon Kinesis Data Analytics SQL Reference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SqlType {
    /// The type of a bare NULL.
    Null,
    /// 8 bits, signed.
    TinyInt,
    /// 16 bits, signed.
    SmallInt,
    /// 32 bits, signed.
    Integer,
    /// 64 bits, signed.
    BigInt,
    /// Exact number with `precision` digits, `scale` of them after the point.
    Decimal {
        /// All digits, 1 to 19.
        precision: u8,
        /// Digits after the point.
        scale: u8,
    },
    /// 32-bit binary floating point.
    Real,
    /// 64-bit binary floating point.
    Double,
    /// TRUE, FALSE or UNKNOWN.
    Boolean,
    /// Text padded with blanks to a length in characters.
    Char(u32),
    /// Text of at most a length in characters.
    Varchar(u32),
    /// Bytes of a length.
    Binary(u32),
    /// At most so many bytes.
    Varbinary(u32),
    /// A day.
    Date,
    /// A millisecond of the day.
    Time,
    /// Milliseconds since 1970, read as UTC.
    Timestamp,
    /// A length of time; exists in expressions only.
    Interval(IntervalType),
    /// The result of a log parser; exists in subqueries only.
    Row(Arc<[RowField]>),
}

/// A field of a row value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowField {
    /// The name as stored.
    pub name: String,
    /// The type of the field.
    pub sql_type: SqlType,
}

/// A field of a datetime or an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unit {
    /// Calendar years.
    Year,
    /// Calendar months.
    Month,
    /// Days of 24 hours.
    Day,
    /// Hours.
    Hour,
    /// Minutes.
    Minute,
    /// Seconds.
    Second,
}

impl Unit {
    pub(crate) fn named(word: &str) -> Option<Self> {
        match word {
            "YEAR" => Some(Self::Year),
            "MONTH" => Some(Self::Month),
            "DAY" => Some(Self::Day),
            "HOUR" => Some(Self::Hour),
            "MINUTE" => Some(Self::Minute),
            "SECOND" => Some(Self::Second),
            _ => None,
        }
    }

    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Year => "YEAR",
            Self::Month => "MONTH",
            Self::Day => "DAY",
            Self::Hour => "HOUR",
            Self::Minute => "MINUTE",
            Self::Second => "SECOND",
        }
    }

    /// Whether `self TO finer` is an interval: both by the calendar, or both by the clock.
    pub(crate) fn spans(self, finer: Self) -> bool {
        self < finer && self.is_calendar() == finer.is_calendar()
    }

    /// Whether the unit counts months rather than milliseconds.
    pub(crate) fn is_calendar(self) -> bool {
        matches!(self, Self::Year | Self::Month)
    }

    /// The unit in months (calendar units) or milliseconds.
    pub(crate) fn size(self) -> i64 {
        match self {
            Self::Year => 12,
            Self::Month => 1,
            Self::Day => 86_400_000,
            Self::Hour => 3_600_000,
            Self::Minute => 60_000,
            Self::Second => 1_000,
        }
    }
}

/// The fields of an interval, from the coarsest to the finest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntervalType {
    /// The leading field.
    pub from: Unit,
    /// The last field.
    pub to: Unit,
    /// Digits after the seconds' point: 0 or 3.
    pub fraction: u8,
}

impl IntervalType {
    pub(crate) fn single(unit: Unit) -> Self {
        Self {
            from: unit,
            to: unit,
            fraction: 0,
        }
    }

    pub(crate) fn is_calendar(self) -> bool {
        self.from.is_calendar()
    }

    /// The type that has the fields of both; `None` when one counts months and the other one time.
    pub(crate) fn union(self, other: Self) -> Option<Self> {
        (self.is_calendar() == other.is_calendar()).then(|| Self {
            from: self.from.min(other.from),
            to: self.to.max(other.to),
            fraction: self.fraction.max(other.fraction),
        })
    }
}

impl fmt::Display for IntervalType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.from.word())?;
        if self.to != self.from {
            write!(f, " TO {}", self.to.word())?;
        }
        Ok(())
    }
}

impl SqlType {
    pub(crate) fn is_integer(&self) -> bool {
        matches!(
            self,
            Self::TinyInt | Self::SmallInt | Self::Integer | Self::BigInt
        )
    }

    pub(crate) fn is_exact(&self) -> bool {
        self.is_integer() || matches!(self, Self::Decimal { .. })
    }

    pub(crate) fn is_number(&self) -> bool {
        self.is_exact() || matches!(self, Self::Real | Self::Double)
    }

    pub(crate) fn is_text(&self) -> bool {
        matches!(self, Self::Char(_) | Self::Varchar(_))
    }

    /// Whether blanks at the end don't count.
    pub(crate) fn is_padded(&self) -> bool {
        matches!(self, Self::Char(_))
    }

    pub(crate) fn is_binary(&self) -> bool {
        matches!(self, Self::Binary(_) | Self::Varbinary(_))
    }

    /// The length of a binary type in bytes.
    fn binary_length(&self) -> Option<u32> {
        match self {
            Self::Binary(length) | Self::Varbinary(length) => Some(*length),
            _ => None,
        }
    }

    pub(crate) fn is_datetime(&self) -> bool {
        matches!(self, Self::Date | Self::Time | Self::Timestamp)
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// The inclusive range of an integer type.
    pub(crate) fn integer_range(&self) -> Option<(i64, i64)> {
        match self {
            Self::TinyInt => Some((i64::from(i8::MIN), i64::from(i8::MAX))),
            Self::SmallInt => Some((i64::from(i16::MIN), i64::from(i16::MAX))),
            Self::Integer => Some((i64::from(i32::MIN), i64::from(i32::MAX))),
            Self::BigInt => Some((i64::MIN, i64::MAX)),
            _ => None,
        }
    }

    /// Digits and scale of an exact number, integers as DECIMAL(n, 0).
    pub(crate) fn decimal_shape(&self) -> Option<(u8, u8)> {
        match self {
            Self::TinyInt => Some((3, 0)),
            Self::SmallInt => Some((5, 0)),
            Self::Integer => Some((10, 0)),
            Self::BigInt => Some((19, 0)),
            Self::Decimal { precision, scale } => Some((*precision, *scale)),
            _ => None,
        }
    }

    /// The length of a text type in characters.
    pub(crate) fn text_length(&self) -> Option<u32> {
        match self {
            Self::Char(length) | Self::Varchar(length) => Some(*length),
            _ => None,
        }
    }

    /// The one type for values of both, as for the branches of CASE.
    pub(crate) fn union(&self, other: &Self) -> Option<Self> {
        if self == other || other.is_null() {
            return Some(self.clone());
        }
        if self.is_null() {
            return Some(other.clone());
        }
        if self.is_number() && other.is_number() {
            return Some(self.number_union(other));
        }

        if let (Self::Interval(left), Self::Interval(right)) = (self, other) {
            let union = left.union(*right)?;
            return Some(Self::Interval(union));
        }
        if self.is_binary() {
            let length = self.binary_length().max(Some(other.binary_length()?));
            return length.map(Self::Varbinary);
        }

        let left = self.text_length()?;
        let right = other.text_length()?;
        Some(Self::Varchar(left.max(right)))
    }

    fn number_union(&self, other: &Self) -> Self {
        if self.is_integer() && other.is_integer() {
            let wider = self.integer_range() >= other.integer_range();
            // A wider range starts lower.
            return if wider { other.clone() } else { self.clone() };
        }

        match (self.decimal_shape(), other.decimal_shape()) {
            (Some((p1, s1)), Some((p2, s2))) => {
                let scale = s1.max(s2);
                let whole = (p1 - s1).max(p2 - s2);
                capped_decimal(whole, scale, s1)
            }
            _ => self.floating_union(other),
        }
    }

    /// REAL with REAL or an integer is REAL; everything else with a floating operand is DOUBLE.
    pub(crate) fn floating_union(&self, other: &Self) -> Self {
        let stays_real = |side: &Self| matches!(side, Self::Real) || side.is_integer();
        if stays_real(self) && stays_real(other) {
            Self::Real
        } else {
            Self::Double
        }
    }
}

/// DECIMAL with so many whole digits and decimals, capped at 18 digits: decimals are given up
/// first, but not below `kept`.
pub(crate) fn capped_decimal(whole: u8, scale: u8, kept: u8) -> SqlType {
    const MOST: u8 = 18;

    let precision = whole + scale;
    if precision <= MOST {
        return SqlType::Decimal {
            precision: precision.max(1),
            scale,
        };
    }

    let kept = kept.min(scale).min(MOST);
    let room = MOST.saturating_sub(whole);
    SqlType::Decimal {
        precision: MOST,
        scale: scale.min(room).max(kept),
    }
}

impl SqlType {
    /// The longest text of a value, in bytes; 0 for types whose text has no such bound.
    pub(crate) fn fixed_text(&self) -> usize {
        match self {
            Self::TinyInt | Self::SmallInt | Self::Boolean | Self::Null => 6,
            Self::Integer | Self::Date | Self::Time => 11,
            Self::BigInt | Self::Decimal { .. } => 21,
            Self::Real | Self::Double | Self::Timestamp | Self::Interval(_) => 25,
            Self::Char(_)
            | Self::Varchar(_)
            | Self::Binary(_)
            | Self::Varbinary(_)
            | Self::Row(_) => 0,
        }
    }
}

impl fmt::Display for SqlType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::Null => "NULL",
            Self::TinyInt => "TINYINT",
            Self::SmallInt => "SMALLINT",
            Self::Integer => "INTEGER",
            Self::BigInt => "BIGINT",
            Self::Real => "REAL",
            Self::Double => "DOUBLE",
            Self::Boolean => "BOOLEAN",
            Self::Date => "DATE",
            Self::Time => "TIME",
            Self::Timestamp => "TIMESTAMP",
            Self::Row(_) => "ROW",
            Self::Decimal { precision, scale } => {
                return write!(f, "DECIMAL({precision},{scale})");
            }
            Self::Char(length) => return write!(f, "CHAR({length})"),
            Self::Varchar(length) => return write!(f, "VARCHAR({length})"),
            Self::Binary(length) => return write!(f, "BINARY({length})"),
            Self::Varbinary(length) => return write!(f, "VARBINARY({length})"),
            Self::Interval(interval) => return write!(f, "INTERVAL {interval}"),
        };
        f.write_str(word)
    }
}
