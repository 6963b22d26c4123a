//! Calls: built-in functions by name, form and types, and functions of the application.

use super::aggregate::AggregateKind;
use super::expression::{Binder, Stage, call, converted, union_type, unknown, want_comparable};
use crate::error::{Compiled, ErrorClass, Issue, nearest};
use crate::expr::{Expr, ExprKind};
use crate::functions::Builtin;
use crate::functions::java_format::Format;
use crate::functions::regex::{RegexSource, java_regex};
use crate::logs::{LogParser, is_log_parser};
use crate::text::ast::{Call, Form};
use crate::types::{SqlType, Unit};
use crate::value::Value;

/// The names of the scalar functions, for the nearest name in a message.
const NAMES: [&str; 40] = [
    "ABS",
    "CEIL",
    "CEILING",
    "FLOOR",
    "STEP",
    "MOD",
    "POWER",
    "SQRT",
    "EXP",
    "LN",
    "LOG10",
    "CHAR_LENGTH",
    "CHARACTER_LENGTH",
    "UPPER",
    "LOWER",
    "INITCAP",
    "TRIM",
    "POSITION",
    "OVERLAY",
    "SUBSTRING",
    "REGEX_REPLACE",
    "COALESCE",
    "NULLIF",
    "EXTRACT",
    "UNIX_TIMESTAMP",
    "TO_TIMESTAMP",
    "TSDIFF",
    "CHAR_TO_DATE",
    "CHAR_TO_TIME",
    "CHAR_TO_TIMESTAMP",
    "DATE_TO_CHAR",
    "TIME_TO_CHAR",
    "TIMESTAMP_TO_CHAR",
    "MONOTONIC",
    "COUNT",
    "SUM",
    "AVG",
    "MIN",
    "MAX",
    "CAST",
];

/// A call with bound arguments.
struct Bound<'a> {
    name: &'a str,
    at: u32,
    form: Form,
    arguments: Vec<Expr>,
}

/// The kind of type that a function wants of an argument.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    Number,
    Exact,
    Whole,
    Text,
    Datetime,
    Timestamp,
    Date,
    Time,
}

impl Wanted {
    fn accepts(self, sql_type: &SqlType) -> bool {
        sql_type.is_null()
            || match self {
                Self::Number => sql_type.is_number(),
                Self::Exact => sql_type.is_exact(),
                Self::Whole => sql_type.is_integer(),
                Self::Text => sql_type.is_text(),
                Self::Datetime => sql_type.is_datetime(),
                Self::Timestamp => *sql_type == SqlType::Timestamp,
                Self::Date => *sql_type == SqlType::Date,
                Self::Time => *sql_type == SqlType::Time,
            }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Number => "a number",
            Self::Exact => "an exact number",
            Self::Whole => "a whole number",
            Self::Text => "text",
            Self::Datetime => "a DATE, TIME or TIMESTAMP",
            Self::Timestamp => "a TIMESTAMP",
            Self::Date => "a DATE",
            Self::Time => "a TIME",
        }
    }
}

impl Binder<'_> {
    pub(super) fn bind_call(&mut self, parsed: &Call) -> Compiled<Expr> {
        let name = parsed.name.text.as_str();
        if let Some(kind) = AggregateKind::named(name, parsed.form) {
            return self.bind_aggregate(kind, parsed);
        }
        if let Some(expression) = self.bind_window_only(parsed)? {
            return Ok(expression);
        }
        refuse_over(parsed)?;
        let arguments = self.bind_all(&parsed.arguments)?;
        if let Some(expression) = self.bind_user_function(parsed, &arguments)? {
            return Ok(expression);
        }
        let bound = Bound {
            name,
            at: parsed.name.at,
            form: parsed.form,
            arguments,
        };
        bind_builtin(bound)
    }

    fn bind_user_function(&mut self, parsed: &Call, arguments: &[Expr]) -> Compiled<Option<Expr>> {
        let name = &parsed.name.text;
        if self.catalog.broken_functions.contains(name) {
            return Ok(Some(unknown()));
        }
        let mut named = self
            .catalog
            .functions
            .iter()
            .filter(|function| function.name == *name)
            .peekable();
        if named.peek().is_none() {
            return Ok(None);
        }

        let exact = |given: &SqlType, wanted: &SqlType| given == wanted || given.is_null();
        let candidates: Vec<_> = named
            .filter(|function| function.parameters.len() == arguments.len())
            .collect();
        let chosen = [exact as fn(&SqlType, &SqlType) -> bool, widens]
            .into_iter()
            .find_map(|fits| {
                candidates.iter().find(|function| {
                    let mut pairs = arguments.iter().zip(&function.parameters);
                    pairs.all(|(argument, wanted)| fits(&argument.sql_type, wanted))
                })
            });
        let Some(function) = chosen else {
            return Err(no_overload(parsed, arguments));
        };
        let arguments = arguments
            .iter()
            .zip(&function.parameters)
            .map(|(argument, wanted)| converted(argument.clone(), wanted))
            .collect();
        let kind = ExprKind::Function(arguments, function.body.clone(), function.null_on_null);
        Ok(Some(Expr::new(kind, function.returns.clone())))
    }

    fn bind_aggregate(&mut self, kind: AggregateKind, parsed: &Call) -> Compiled<Expr> {
        if parsed.over.is_some() {
            return self.bind_windowed_aggregate(kind, parsed);
        }
        let at = parsed.name.at;
        match &self.stage {
            Stage::Grouped(_) => self.bind_grouped_aggregate(kind, parsed),
            Stage::Rows(clause) => {
                let message = format!(
                    "{} is an aggregate; none can stand in {clause}",
                    kind.word()
                );
                Err(Issue::new(ErrorClass::MisplacedAggregate, at, message))
            }
            Stage::Items(_) => {
                let message = format!(
                    "{} is an aggregate; expected GROUP BY, WINDOWED BY or OVER",
                    kind.word()
                );
                Err(Issue::new(ErrorClass::MisplacedAggregate, at, message))
            }
        }
    }
}

fn refuse_over(parsed: &Call) -> Compiled<()> {
    if parsed.over.is_none() {
        return Ok(());
    }
    let name = &parsed.name;
    let message = format!("{} with OVER; expected an aggregate or LAG", name.text);
    Err(Issue::new(ErrorClass::MisplacedWindow, name.at, message))
}

/// Whether an exact number or a text widens to the wanted type without loss.
fn widens(given: &SqlType, wanted: &SqlType) -> bool {
    if given == wanted || given.is_null() {
        return true;
    }
    if let (Some(given), Some(wanted)) = (given.text_length(), wanted.text_length()) {
        return given <= wanted;
    }
    match (given.decimal_shape(), wanted.decimal_shape()) {
        (Some((p1, s1)), Some((p2, s2))) => s1 <= s2 && p1 - s1 <= p2 - s2,
        _ => false,
    }
}

fn no_overload(parsed: &Call, arguments: &[Expr]) -> Issue {
    let types: Vec<String> = arguments
        .iter()
        .map(|argument| argument.sql_type.to_string())
        .collect();
    let message = format!(
        "no function {}({}); expected exactly the declared types",
        parsed.name.text,
        types.join(", ")
    );
    Issue::new(ErrorClass::TypeMismatch, parsed.name.at, message)
}

impl Bound<'_> {
    /// Checks number and types of the arguments: at least `least` of `wanted`.
    fn want(&self, wanted: &[Wanted], least: usize) -> Compiled<()> {
        self.want_count(least, wanted.len())?;
        for (argument, wanted) in self.arguments.iter().zip(wanted) {
            if !wanted.accepts(&argument.sql_type) {
                let message = format!(
                    "{} of {}; expected {}",
                    self.name,
                    argument.sql_type,
                    wanted.word()
                );
                return Err(Issue::mismatch(self.at, message));
            }
        }
        Ok(())
    }

    fn want_count(&self, least: usize, most: usize) -> Compiled<()> {
        let count = self.arguments.len();
        if (least..=most).contains(&count) {
            return Ok(());
        }
        let expectation = if least == most {
            least.to_string()
        } else {
            format!("{least} to {most}")
        };
        let name = self.name;
        let message = format!("{name} has {count} arguments; expected {expectation}");
        Err(Issue::mismatch(self.at, message))
    }

    /// Checks that the first argument is a datetime, or an interval that has the unit's kind.
    fn want_unit(&self, unit: Unit) -> Compiled<()> {
        let sql_type = self.first_type();
        let SqlType::Interval(interval) = sql_type else {
            return self.want(&[Wanted::Datetime], 1);
        };
        if interval.is_calendar() == unit.is_calendar() {
            return Ok(());
        }
        let message = format!("{} of {sql_type} TO {}", self.name, unit.word());
        Err(Issue::mismatch(self.at, message))
    }

    /// Checks that the first argument is a datetime with days, where months are counted.
    fn want_step(&self, months: bool) -> Compiled<()> {
        let sql_type = self.first_type();
        let fits = sql_type.is_datetime() || sql_type.is_null();
        if fits && !(months && sql_type == SqlType::Time) {
            return Ok(());
        }
        let message = format!("STEP of {sql_type} by an interval; expected a datetime");
        Err(Issue::mismatch(self.at, message))
    }

    fn first_type(&self) -> SqlType {
        self.arguments
            .first()
            .map_or(SqlType::Null, |argument| argument.sql_type.clone())
    }

    fn into_call(self, builtin: Builtin, sql_type: SqlType) -> Expr {
        call(builtin, self.arguments, sql_type)
    }

    fn checked(
        self,
        builtin: Builtin,
        wanted: &[Wanted],
        least: usize,
        sql_type: SqlType,
    ) -> Compiled<Expr> {
        self.want(wanted, least)?;
        Ok(self.into_call(builtin, sql_type))
    }

    fn wrong_form(&self) -> Issue {
        let message = format!("{} is not written in this way", self.name);
        Issue::new(ErrorClass::Syntax, self.at, message)
    }

    /// The format of the first argument when constant.
    fn format(&self) -> Compiled<Option<Format>> {
        let Some(Value::Text(pattern)) = self.arguments.first().and_then(Expr::as_literal) else {
            return Ok(None);
        };
        Format::new(pattern)
            .map(Some)
            .map_err(|message| Issue::new(ErrorClass::Unsupported, self.at, message))
    }

    fn regex(&self, index: usize) -> Compiled<RegexSource> {
        let Some(Value::Text(pattern)) = self.arguments.get(index).and_then(Expr::as_literal)
        else {
            return Ok(RegexSource::Dynamic);
        };
        java_regex(pattern)
            .map(RegexSource::Constant)
            .map_err(|message| Issue::new(ErrorClass::Unsupported, self.at, message))
    }
}

/// A built-in function.
// tidy: long because it lists every function once
fn bind_builtin(bound: Bound<'_>) -> Compiled<Expr> {
    use Wanted::{Date, Number, Text, Time, Timestamp, Whole};

    let first = bound.first_type();
    match bound.name {
        "ABS" => bind_abs(bound),
        "CEIL" | "CEILING" | "FLOOR" => bind_rounding(bound),
        "STEP" => bind_step(bound),
        "MOD" => bind_mod(bound),
        "POWER" => bound.checked(Builtin::Power, &[Number, Number], 2, SqlType::Double),
        "SQRT" => bound.checked(Builtin::Sqrt, &[Number], 1, SqlType::Double),
        "EXP" => bound.checked(Builtin::Exp, &[Number], 1, SqlType::Double),
        "LN" => bound.checked(Builtin::Ln, &[Number], 1, SqlType::Double),
        "LOG10" => bound.checked(Builtin::Log10, &[Number], 1, SqlType::Double),
        "CHAR_LENGTH" | "CHARACTER_LENGTH" => {
            bound.checked(Builtin::CharLength, &[Text], 1, SqlType::Integer)
        }
        "UPPER" => bound.checked(Builtin::Upper, &[Text], 1, first),
        "LOWER" => bound.checked(Builtin::Lower, &[Text], 1, first),
        "INITCAP" => bound.checked(Builtin::Initcap, &[Text], 1, first),
        "TRIM" => match bound.form {
            Form::Trim(side) => {
                bound.checked(Builtin::Trim(side), &[Text, Text], 1, varying(&first))
            }
            _ => Err(bound.wrong_form()),
        },
        "POSITION" => bound.checked(Builtin::Position, &[Text, Text], 2, SqlType::Integer),
        "OVERLAY" => {
            let replacement = bound.arguments.get(1).map(|argument| &argument.sql_type);
            let length = length_of(&first) + replacement.map_or(0, length_of);
            let sql_type = SqlType::Varchar(length.min(65_535));
            bound.checked(Builtin::Overlay, &[Text, Text, Whole, Whole], 3, sql_type)
        }
        "SUBSTRING" => bind_substring(bound),
        "REGEX_REPLACE" => {
            let source = bound.regex(1)?;
            let wanted = [Text, Text, Text, Whole, Whole];
            bound.checked(
                Builtin::RegexReplace(source),
                &wanted,
                5,
                SqlType::Varchar(65_535),
            )
        }
        "COALESCE" => bind_coalesce(bound),
        "NULLIF" => bind_nullif(&bound),
        "EXTRACT" => bind_extract(bound),
        "UNIX_TIMESTAMP" => bound.checked(Builtin::UnixTimestamp, &[Timestamp], 1, SqlType::BigInt),
        "TO_TIMESTAMP" => {
            bound.want(&[Number], 1)?;
            let arguments = bound
                .arguments
                .into_iter()
                .map(|argument| converted(argument, &SqlType::BigInt))
                .collect();
            Ok(call(Builtin::ToTimestamp, arguments, SqlType::Timestamp))
        }
        "TSDIFF" => bound.checked(Builtin::TsDiff, &[Timestamp, Timestamp], 2, SqlType::BigInt),
        "CHAR_TO_DATE" => bind_char_to(bound, SqlType::Date),
        "CHAR_TO_TIME" => bind_char_to(bound, SqlType::Time),
        "CHAR_TO_TIMESTAMP" => bind_char_to(bound, SqlType::Timestamp),
        "DATE_TO_CHAR" => bind_to_char(bound, Date),
        "TIME_TO_CHAR" => bind_to_char(bound, Time),
        "TIMESTAMP_TO_CHAR" => bind_to_char(bound, Timestamp),
        "MONOTONIC" => {
            let mut arguments = bound.arguments;
            match (arguments.pop(), arguments.is_empty()) {
                (Some(inner), true) => {
                    let sql_type = inner.sql_type.clone();
                    Ok(Expr::new(ExprKind::Monotonic(Box::new(inner)), sql_type))
                }
                _ => Err(Issue::mismatch(bound.at, "MONOTONIC wants one argument")),
            }
        }
        "CURRENT_ROW_TIMESTAMP" => Ok(Expr::new(ExprKind::RowTime, SqlType::Timestamp)),
        "CURRENT_TIMESTAMP" | "LOCALTIMESTAMP" => start_time(SqlType::Timestamp),
        "CURRENT_DATE" => start_time(SqlType::Date),
        "CURRENT_TIME" | "LOCALTIME" => start_time(SqlType::Time),
        name if is_log_parser(name) => bind_log_parser(bound),
        _ => Err(unknown_function(&bound)),
    }
}

fn start_time(sql_type: SqlType) -> Compiled<Expr> {
    Ok(Expr::new(ExprKind::StartTime, sql_type))
}

fn unknown_function(bound: &Bound<'_>) -> Issue {
    if ["EXP_AVG", "FAST_REGEX_LOG_PARSE"].contains(&bound.name) {
        return Issue::unsupported(bound.at, bound.name);
    }
    let message = format!(
        "no function is called {}{}",
        bound.name,
        nearest(bound.name, NAMES.into_iter())
    );
    Issue::new(ErrorClass::UnknownFunction, bound.at, message)
}

/// A log parser: arguments after the line are constants, since they say which fields the result
/// has.
fn bind_log_parser(bound: Bound<'_>) -> Compiled<Expr> {
    let line = bound.first_type();
    if !Wanted::Text.accepts(&line) {
        let message = format!("{} of {line}; expected text", bound.name);
        return Err(Issue::mismatch(bound.at, message));
    }
    let mut constants = Vec::new();
    for argument in bound.arguments.iter().skip(1) {
        let text = match argument.as_literal() {
            Some(Value::Text(text)) => text.to_string(),
            Some(Value::Integer(number)) => number.to_string(),
            _ => {
                let message = format!("{} wants constants after the line", bound.name);
                return Err(Issue::mismatch(bound.at, message));
            }
        };
        constants.push(text);
    }

    let parser = LogParser::new(bound.name, &constants)
        .map_err(|message| Issue::new(ErrorClass::Unsupported, bound.at, message))?;
    let sql_type = parser.row_type();
    let mut arguments = bound.arguments;
    arguments.truncate(1);
    Ok(call(
        Builtin::LogParse(Box::new(parser)),
        arguments,
        sql_type,
    ))
}

fn length_of(sql_type: &SqlType) -> u32 {
    sql_type.text_length().unwrap_or(0)
}

/// VARCHAR of a text type's length.
fn varying(sql_type: &SqlType) -> SqlType {
    sql_type
        .text_length()
        .map_or(SqlType::Null, SqlType::Varchar)
}

fn bind_abs(bound: Bound<'_>) -> Compiled<Expr> {
    let sql_type = bound.first_type();
    if !matches!(sql_type, SqlType::Interval(_)) {
        bound.want(&[Wanted::Number], 1)?;
    }
    Ok(bound.into_call(Builtin::Abs, sql_type))
}

fn bind_rounding(bound: Bound<'_>) -> Compiled<Expr> {
    let up = bound.name != "FLOOR";
    let sql_type = bound.first_type();
    let Form::Unit(unit) = bound.form else {
        bound.want(&[Wanted::Number], 1)?;
        let builtin = if up { Builtin::Ceil } else { Builtin::Floor };
        return Ok(bound.into_call(builtin, with_carry(sql_type)));
    };

    bound.want_unit(unit)?;
    let builtin = if up {
        Builtin::CeilTo(unit)
    } else {
        Builtin::FloorTo(unit)
    };
    Ok(bound.into_call(builtin, sql_type))
}

/// The type with room for one more whole digit: CEIL(9.9) is 10.
fn with_carry(sql_type: SqlType) -> SqlType {
    match sql_type {
        SqlType::Decimal { precision, scale } => SqlType::Decimal {
            precision: (precision + 1).min(19),
            scale,
        },
        other => other,
    }
}

fn bind_step(bound: Bound<'_>) -> Compiled<Expr> {
    if bound.form != Form::By {
        return Err(bound.wrong_form());
    }
    let sql_type = bound.first_type();
    let by = bound.arguments.get(1).map(|argument| &argument.sql_type);
    if let Some(SqlType::Interval(interval)) = by {
        let months = interval.is_calendar();
        bound.want_step(months)?;
        return Ok(bound.into_call(Builtin::StepTime(months), sql_type));
    }
    bound.checked(Builtin::Step, &[Wanted::Whole, Wanted::Whole], 2, sql_type)
}

fn bind_mod(bound: Bound<'_>) -> Compiled<Expr> {
    let sql_type = bound
        .arguments
        .get(1)
        .map_or(SqlType::Null, |argument| argument.sql_type.clone());
    bound.checked(Builtin::Mod, &[Wanted::Exact, Wanted::Exact], 2, sql_type)
}

fn bind_substring(bound: Bound<'_>) -> Compiled<Expr> {
    use Wanted::{Text, Whole};

    let sql_type = varying(&bound.first_type());
    let second = bound.arguments.get(1).map(|argument| &argument.sql_type);
    let by_regex = second.is_some_and(SqlType::is_text);
    match bound.form {
        Form::Similar => {
            refuse_bad_similar(&bound)?;
            bound.checked(Builtin::SubstringSimilar, &[Text, Text, Text], 3, sql_type)
        }
        Form::From if by_regex => {
            let source = bound.regex(1)?;
            bound.checked(Builtin::SubstringRegex(source), &[Text, Text], 2, sql_type)
        }
        form => {
            let builtin = Builtin::Substring(form == Form::From);
            bound.checked(builtin, &[Text, Whole, Whole], 2, sql_type)
        }
    }
}

fn refuse_bad_similar(bound: &Bound<'_>) -> Compiled<()> {
    let constant = |index: usize| bound.arguments.get(index)?.as_text();
    let (Some(pattern), Some(escape)) = (constant(1), constant(2)) else {
        return Ok(());
    };
    let refused = |message| Issue::new(ErrorClass::Unsupported, bound.at, message);
    let escape = escape
        .chars()
        .next()
        .ok_or_else(|| refused("ESCAPE wants exactly one character".to_owned()))?;
    crate::functions::regex::three_part_regex(pattern, escape)
        .map(|_| ())
        .map_err(refused)
}

fn bind_coalesce(bound: Bound<'_>) -> Compiled<Expr> {
    if bound.arguments.is_empty() {
        return Err(Issue::mismatch(bound.at, "COALESCE wants arguments"));
    }
    let sql_type = union_type(&bound.arguments, "COALESCE", bound.at)?;
    let list = bound
        .arguments
        .into_iter()
        .map(|argument| converted(argument, &sql_type))
        .collect();
    Ok(Expr::new(ExprKind::Coalesce(list), sql_type))
}

fn bind_nullif(bound: &Bound<'_>) -> Compiled<Expr> {
    let [value, other] = bound.arguments.as_slice() else {
        return Err(Issue::mismatch(bound.at, "NULLIF wants two arguments"));
    };
    want_comparable(value, other, bound.at)?;
    let kind = ExprKind::NullIf(Box::new(value.clone()), Box::new(other.clone()));
    Ok(Expr::new(kind, value.sql_type.clone()))
}

fn has_field(sql_type: &SqlType, unit: Unit) -> bool {
    match sql_type {
        SqlType::Interval(interval) => interval.is_calendar() == unit.is_calendar(),
        SqlType::Time => unit > Unit::Day,
        SqlType::Date | SqlType::Timestamp | SqlType::Null => true,
        _ => false,
    }
}

fn bind_extract(bound: Bound<'_>) -> Compiled<Expr> {
    let Form::Unit(unit) = bound.form else {
        return Err(bound.wrong_form());
    };
    let from = bound.first_type();
    if !has_field(&from, unit) {
        let message = format!("EXTRACT({} FROM {from}) does not exist", unit.word());
        return Err(Issue::mismatch(bound.at, message));
    }

    let sql_type = if unit == Unit::Second {
        SqlType::Decimal {
            precision: 5,
            scale: 3,
        }
    } else {
        SqlType::BigInt
    };
    Ok(bound.into_call(Builtin::Extract(unit), sql_type))
}

fn bind_char_to(bound: Bound<'_>, sql_type: SqlType) -> Compiled<Expr> {
    bound.want(&[Wanted::Text, Wanted::Text], 2)?;
    let format = bound.format()?;
    Ok(bound.into_call(Builtin::CharTo(format), sql_type))
}

fn bind_to_char(bound: Bound<'_>, wanted: Wanted) -> Compiled<Expr> {
    bound.want(&[Wanted::Text, wanted], 2)?;
    let format = bound.format()?;
    Ok(bound.into_call(Builtin::ToChar(format), SqlType::Varchar(1024)))
}
