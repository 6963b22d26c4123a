//! Calls: built-in functions by name, form and types, and functions of the application.

use super::aggregate::AggregateKind;
use super::expression::{Binder, Stage, call, converted, union_type, unknown, want_comparable};
use crate::catalog::UserFunction;
use crate::error::{Compiled, ErrorClass, Issue, nearest};
use crate::expr::{Expr, ExprKind};
use crate::functions::Builtin;
use crate::functions::java_format::Format;
use crate::functions::regex::{RegexSource, java_regex, three_part_regex};
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

        let overloads = self.overloads(name);
        if overloads.is_empty() {
            return Ok(None);
        }

        let chosen = overload(&overloads, arguments, is_exactly)
            .or_else(|| overload(&overloads, arguments, widens));
        match chosen {
            Some(function) => {
                let call = call_of(function, arguments);
                Ok(Some(call))
            }
            None => Err(no_overload(parsed, arguments)),
        }
    }

    fn overloads(&self, name: &str) -> Vec<&UserFunction> {
        let functions = self.catalog.functions.iter();
        functions.filter(|function| function.name == name).collect()
    }

    fn bind_aggregate(&mut self, kind: AggregateKind, parsed: &Call) -> Compiled<Expr> {
        if parsed.over.is_some() {
            return self.bind_windowed_aggregate(kind, parsed);
        }

        let expectation = match &self.stage {
            Stage::Grouped(_) => return self.bind_grouped_aggregate(kind, parsed),
            Stage::Rows(clause) => format!("none can stand in {clause}"),
            Stage::Items(_) => "expected GROUP BY, WINDOWED BY or OVER".to_owned(),
        };
        let message = format!("{} is an aggregate; {expectation}", kind.word());
        let at = parsed.name.at;
        Err(Issue::new(ErrorClass::MisplacedAggregate, at, message))
    }
}

/// The first overload with parameters that fit the arguments.
fn overload<'a>(
    overloads: &[&'a UserFunction],
    arguments: &[Expr],
    fits: fn(&SqlType, &SqlType) -> bool,
) -> Option<&'a UserFunction> {
    let fitting = |function: &&UserFunction| {
        let mut pairs = arguments.iter().zip(&function.parameters);
        function.parameters.len() == arguments.len()
            && pairs.all(|(argument, wanted)| fits(&argument.sql_type, wanted))
    };
    overloads.iter().copied().find(fitting)
}

fn is_exactly(given: &SqlType, wanted: &SqlType) -> bool {
    given == wanted || given.is_null()
}

fn call_of(function: &UserFunction, arguments: &[Expr]) -> Expr {
    let arguments = arguments
        .iter()
        .zip(&function.parameters)
        .map(|(argument, wanted)| converted(argument.clone(), wanted))
        .collect();

    let body = function.body.clone();
    let kind = ExprKind::Function(arguments, body, function.null_on_null);
    Expr::new(kind, function.returns.clone())
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
    if is_exactly(given, wanted) {
        return true;
    }
    if given.is_text() && wanted.is_text() {
        return given.text_length() <= wanted.text_length();
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

    fn of_number(self, builtin: Builtin) -> Compiled<Expr> {
        self.checked(builtin, &[Wanted::Number], 1, SqlType::Double)
    }

    fn wrong_form(&self) -> Issue {
        let message = format!("{} is not written in this way", self.name);
        Issue::new(ErrorClass::Syntax, self.at, message)
    }

    /// The format of the first argument when constant.
    fn format(&self) -> Compiled<Option<Format>> {
        let Some(pattern) = self.constant(0) else {
            return Ok(None);
        };
        match Format::new(pattern) {
            Ok(format) => Ok(Some(format)),
            Err(message) => Err(self.unusable(message)),
        }
    }

    fn constant(&self, index: usize) -> Option<&str> {
        let argument = self.arguments.get(index)?;
        argument.as_text()
    }

    /// A constant argument that can't be used here.
    fn unusable(&self, message: String) -> Issue {
        Issue::new(ErrorClass::Unsupported, self.at, message)
    }

    fn regex(&self, index: usize) -> Compiled<RegexSource> {
        let Some(pattern) = self.constant(index) else {
            return Ok(RegexSource::Dynamic);
        };
        match java_regex(pattern) {
            Ok(regex) => Ok(RegexSource::Constant(regex)),
            Err(message) => Err(self.unusable(message)),
        }
    }
}

/// A built-in function.
// tidy: long because it lists every function once
fn bind_builtin(bound: Bound<'_>) -> Compiled<Expr> {
    use Wanted::{Date, Number, Text, Time, Timestamp};

    let first = bound.first_type();
    match bound.name {
        "ABS" => bind_abs(bound),
        "CEIL" | "CEILING" | "FLOOR" => bind_rounding(bound),
        "STEP" => bind_step(bound),
        "MOD" => bind_mod(bound),
        "POWER" => {
            let wanted = [Number; 2];
            bound.checked(Builtin::Power, &wanted, 2, SqlType::Double)
        }
        "SQRT" => bound.of_number(Builtin::Sqrt),
        "EXP" => bound.of_number(Builtin::Exp),
        "LN" => bound.of_number(Builtin::Ln),
        "LOG10" => bound.of_number(Builtin::Log10),
        "CHAR_LENGTH" | "CHARACTER_LENGTH" => {
            bound.checked(Builtin::CharLength, &[Text], 1, SqlType::Integer)
        }
        "UPPER" => bound.checked(Builtin::Upper, &[Text], 1, first),
        "LOWER" => bound.checked(Builtin::Lower, &[Text], 1, first),
        "INITCAP" => bound.checked(Builtin::Initcap, &[Text], 1, first),
        "TRIM" => bind_trim(bound),
        "POSITION" => {
            let wanted = [Text; 2];
            bound.checked(Builtin::Position, &wanted, 2, SqlType::Integer)
        }
        "OVERLAY" => bind_overlay(bound),
        "SUBSTRING" => bind_substring(bound),
        "REGEX_REPLACE" => bind_regex_replace(bound),
        "COALESCE" => bind_coalesce(bound),
        "NULLIF" => bind_nullif(&bound),
        "EXTRACT" => bind_extract(bound),
        "UNIX_TIMESTAMP" => bound.checked(Builtin::UnixTimestamp, &[Timestamp], 1, SqlType::BigInt),
        "TO_TIMESTAMP" => bind_to_timestamp(bound),
        "TSDIFF" => {
            let wanted = [Timestamp; 2];
            bound.checked(Builtin::TsDiff, &wanted, 2, SqlType::BigInt)
        }
        "CHAR_TO_DATE" => bind_char_to(bound, SqlType::Date),
        "CHAR_TO_TIME" => bind_char_to(bound, SqlType::Time),
        "CHAR_TO_TIMESTAMP" => bind_char_to(bound, SqlType::Timestamp),
        "DATE_TO_CHAR" => bind_to_char(bound, Date),
        "TIME_TO_CHAR" => bind_to_char(bound, Time),
        "TIMESTAMP_TO_CHAR" => bind_to_char(bound, Timestamp),
        "MONOTONIC" => bind_monotonic(&bound),
        "CURRENT_ROW_TIMESTAMP" => {
            let sql_type = SqlType::Timestamp;
            Ok(Expr::new(ExprKind::RowTime, sql_type))
        }
        "CURRENT_TIMESTAMP" | "LOCALTIMESTAMP" => start_time(SqlType::Timestamp),
        "CURRENT_DATE" => start_time(SqlType::Date),
        "CURRENT_TIME" | "LOCALTIME" => start_time(SqlType::Time),
        name if is_log_parser(name) => bind_log_parser(bound),
        _ => Err(unknown_function(&bound)),
    }
}

fn bind_trim(bound: Bound<'_>) -> Compiled<Expr> {
    let Form::Trim(side) = bound.form else {
        return Err(bound.wrong_form());
    };
    let sql_type = varying(&bound.first_type());
    bound.checked(Builtin::Trim(side), &[Wanted::Text; 2], 1, sql_type)
}

fn bind_overlay(bound: Bound<'_>) -> Compiled<Expr> {
    let texts = bound.arguments.iter().take(2);
    let length: u32 = texts.map(|argument| length_of(&argument.sql_type)).sum();

    let sql_type = SqlType::Varchar(length.min(65_535));
    let wanted = [Wanted::Text, Wanted::Text, Wanted::Whole, Wanted::Whole];
    bound.checked(Builtin::Overlay, &wanted, 3, sql_type)
}

fn bind_regex_replace(bound: Bound<'_>) -> Compiled<Expr> {
    let source = bound.regex(1)?;
    let sql_type = SqlType::Varchar(65_535);
    let wanted = [
        Wanted::Text,
        Wanted::Text,
        Wanted::Text,
        Wanted::Whole,
        Wanted::Whole,
    ];
    bound.checked(Builtin::RegexReplace(source), &wanted, 5, sql_type)
}

fn bind_to_timestamp(bound: Bound<'_>) -> Compiled<Expr> {
    bound.want(&[Wanted::Number], 1)?;
    let arguments = bound
        .arguments
        .into_iter()
        .map(|argument| converted(argument, &SqlType::BigInt))
        .collect();
    Ok(call(Builtin::ToTimestamp, arguments, SqlType::Timestamp))
}

fn bind_monotonic(bound: &Bound<'_>) -> Compiled<Expr> {
    let [inner] = bound.arguments.as_slice() else {
        return Err(Issue::mismatch(bound.at, "MONOTONIC wants one argument"));
    };

    let sql_type = inner.sql_type.clone();
    let inner = Box::new(inner.clone());
    Ok(Expr::new(ExprKind::Monotonic(inner), sql_type))
}

fn start_time(sql_type: SqlType) -> Compiled<Expr> {
    Ok(Expr::new(ExprKind::StartTime, sql_type))
}

fn unknown_function(bound: &Bound<'_>) -> Issue {
    if bound.name == "FAST_REGEX_LOG_PARSE" {
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

    let constants = constants_after_line(&bound)?;
    let parser = match LogParser::new(bound.name, &constants) {
        Ok(parser) => Box::new(parser),
        Err(message) => return Err(bound.unusable(message)),
    };
    let sql_type = parser.row_type();
    let mut arguments = bound.arguments;
    arguments.truncate(1);
    Ok(call(Builtin::LogParse(parser), arguments, sql_type))
}

fn constants_after_line(bound: &Bound<'_>) -> Compiled<Vec<String>> {
    let mut constants = Vec::new();
    for argument in bound.arguments.iter().skip(1) {
        let Some(constant) = constant_text(argument) else {
            let message = format!("{} wants constants after the line", bound.name);
            return Err(Issue::mismatch(bound.at, message));
        };
        constants.push(constant);
    }
    Ok(constants)
}

fn constant_text(argument: &Expr) -> Option<String> {
    match argument.as_literal()? {
        Value::Text(text) => Some(text.to_string()),
        Value::Integer(number) => Some(number.to_string()),
        _ => None,
    }
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
    let sql_type = varying(&bound.first_type());
    let second = bound
        .arguments
        .get(1)
        .map_or(&SqlType::Null, |argument| &argument.sql_type);

    match bound.form {
        Form::Similar => {
            refuse_bad_similar(&bound)?;
            bound.checked(Builtin::SubstringSimilar, &[Wanted::Text; 3], 3, sql_type)
        }
        Form::From if second.is_text() => bind_regex_substring(bound, sql_type),
        _ => bind_characters(bound, sql_type),
    }
}

fn bind_regex_substring(bound: Bound<'_>, sql_type: SqlType) -> Compiled<Expr> {
    let source = bound.regex(1)?;
    let builtin = Builtin::SubstringRegex(source);
    bound.checked(builtin, &[Wanted::Text; 2], 2, sql_type)
}

fn bind_characters(bound: Bound<'_>, sql_type: SqlType) -> Compiled<Expr> {
    let builtin = Builtin::Substring(bound.form == Form::From);
    let wanted = [Wanted::Text, Wanted::Whole, Wanted::Whole];
    bound.checked(builtin, &wanted, 2, sql_type)
}

fn refuse_bad_similar(bound: &Bound<'_>) -> Compiled<()> {
    let (Some(pattern), Some(escape)) = (bound.constant(1), bound.constant(2)) else {
        return Ok(());
    };
    let Some(escape) = escape.chars().next() else {
        let message = "ESCAPE wants exactly one character";
        return Err(bound.unusable(message.to_owned()));
    };

    match three_part_regex(pattern, escape) {
        Ok(_) => Ok(()),
        Err(message) => Err(bound.unusable(message)),
    }
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
        SqlType::Interval(interval) => {
            let calendar = interval.is_calendar();
            calendar == unit.is_calendar()
        }
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
