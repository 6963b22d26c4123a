//! OVER: windows that slide with each row.

use super::aggregate::AggregateKind;
use super::expression::{Binder, Stage, converted, want_comparable};
use crate::error::{Compiled, ErrorClass, Issue};
use crate::expr::Expr;
use crate::plan::{Extent, WindowFunction, WindowPlan};
use crate::text::ast::{Ast, Call, Frame, Name, Over, WindowSpec};
use crate::types::SqlType;
use crate::value::Value;

/// The windowed functions of a select list, in order of their columns.
pub(crate) struct Windows<'a> {
    pub(crate) named: &'a [(Name, WindowSpec)],
    pub(crate) functions: Vec<WindowPlan>,
}

impl<'a> Windows<'a> {
    pub(crate) fn new(named: &'a [(Name, WindowSpec)]) -> Self {
        Self {
            named,
            functions: Vec::new(),
        }
    }
}

/// The specification that OVER names or holds.
pub(super) fn specification<'a>(
    named: &'a [(Name, WindowSpec)],
    over: &'a Over,
) -> Compiled<&'a WindowSpec> {
    let name = match over {
        Over::Spec(spec) => return Ok(spec),
        Over::Named(name) => name,
    };
    let found = named.iter().find(|(known, _)| known.text == name.text);
    found.map(|(_, spec)| spec).ok_or_else(|| {
        let known = named.iter().map(|(known, _)| known.text.as_str());
        let what = "the WINDOW clause has no";
        Issue::unknown(ErrorClass::MisplacedWindow, name, what, known)
    })
}

impl Binder<'_> {
    pub(super) fn bind_windowed_aggregate(
        &mut self,
        kind: AggregateKind,
        parsed: &Call,
    ) -> Compiled<Expr> {
        self.want_window_stage(parsed)?;
        let call = self.aggregate_call(kind, parsed, "a windowed function")?;
        let sql_type = call.sql_type.clone();
        self.windowed(parsed, WindowFunction::Aggregate(call), sql_type)
    }

    /// LAG, NTH_VALUE and EXP_AVG, which exist with OVER only.
    pub(super) fn bind_window_only(&mut self, parsed: &Call) -> Compiled<Option<Expr>> {
        let bind = match parsed.name.text.as_str() {
            "LAG" => lag_function,
            "NTH_VALUE" => nth_function,
            "EXP_AVG" => exponential_average,
            _ => return Ok(None),
        };

        self.want_window_stage(parsed)?;
        let stage = Stage::Rows("a windowed function");
        let mut inner = Binder::new(self.catalog, self.scope, stage);
        let arguments = inner.bind_all(&parsed.arguments)?;
        let (function, sql_type) = bind(arguments, parsed)?;
        self.windowed(parsed, function, sql_type).map(Some)
    }

    fn want_window_stage(&self, parsed: &Call) -> Compiled<()> {
        let at = parsed.name.at;
        if parsed.over.is_none() {
            let message = format!("{} without OVER; expected a window", parsed.name.text);
            return Err(Issue::new(ErrorClass::MisplacedWindow, at, message));
        }

        match &self.stage {
            Stage::Items(_) => Ok(()),
            Stage::Rows(clause) => {
                let message = format!(
                    "a windowed function in {clause}; expected it in the select list \
                     (filter on it in an outer query)"
                );
                Err(Issue::new(ErrorClass::MisplacedWindow, at, message))
            }
            Stage::Grouped(_) => {
                let construct = "a windowed function beside GROUP BY";
                Err(Issue::unsupported(at, construct))
            }
        }
    }

    fn windowed(
        &mut self,
        parsed: &Call,
        function: WindowFunction,
        sql_type: SqlType,
    ) -> Compiled<Expr> {
        let (Stage::Items(windows), Some(over)) = (&self.stage, &parsed.over) else {
            return Ok(super::expression::unknown());
        };
        let spec = specification(windows.named, over)?.clone();
        let plan = self.window_plan(&spec, function)?;
        let width = self.scope.width();
        let Stage::Items(windows) = &mut self.stage else {
            return Ok(super::expression::unknown());
        };
        let index = width + windows.functions.len();
        windows.functions.push(plan);
        Ok(Expr::column(index, sql_type))
    }
}

impl Binder<'_> {
    fn window_plan(&self, spec: &WindowSpec, function: WindowFunction) -> Compiled<WindowPlan> {
        let mut inner = Binder::new(self.catalog, self.scope, Stage::Rows("PARTITION BY"));
        Ok(WindowPlan {
            partition: inner.bind_all(&spec.partition)?,
            extent: extent(&mut inner, spec)?,
            function,
        })
    }
}

/// The rows of a window; a window without a bound would grow for ever.
pub(super) fn extent(binder: &mut Binder<'_>, spec: &WindowSpec) -> Compiled<Extent> {
    match &spec.frame {
        None => Err(Issue::unsupported(
            spec.at,
            "a window without ROWS or RANGE (it would hold every row)",
        )),
        Some(Frame::CurrentRow) => Ok(Extent::Range(0)),
        Some(Frame::Rows(count)) => {
            let bound = binder.bind(count)?;
            whole_number(&bound, 0, count.at, "ROWS").map(Extent::Rows)
        }
        Some(Frame::Range(interval)) => {
            interval_length(binder, interval, "RANGE").map(Extent::Range)
        }
    }
}

/// The milliseconds of a constant interval.
pub(super) fn interval_length(
    binder: &mut Binder<'_>,
    interval: &Ast,
    clause: &str,
) -> Compiled<i64> {
    let bound = binder.bind(interval)?;
    milliseconds(&bound, interval.at, clause)
}

/// The length of a constant interval that is not by the calendar.
fn milliseconds(interval: &Expr, at: u32, clause: &str) -> Compiled<i64> {
    if matches!(&interval.sql_type, SqlType::Interval(fields) if fields.is_calendar()) {
        let construct = "a window of calendar months or years";
        return Err(Issue::unsupported(at, construct));
    }

    match interval.as_literal() {
        Some(Value::Interval(amount)) if *amount >= 0 => Ok(*amount),
        _ => {
            let message = format!("{clause} wants an interval such as INTERVAL '10' SECOND");
            Err(Issue::mismatch(at, message))
        }
    }
}

fn whole_number(argument: &Expr, least: i64, at: u32, name: &str) -> Compiled<usize> {
    match argument.as_literal() {
        Some(Value::Integer(number)) if *number >= least => {
            Ok(usize::try_from(*number).unwrap_or(usize::MAX))
        }
        _ => {
            let message = format!("{name} wants a constant whole number of at least {least}");
            Err(Issue::mismatch(at, message))
        }
    }
}

fn lag_function(arguments: Vec<Expr>, parsed: &Call) -> Compiled<(WindowFunction, SqlType)> {
    let at = parsed.name.at;
    let mut arguments = arguments.into_iter();
    let (Some(argument), distance, default, None) = (
        arguments.next(),
        arguments.next(),
        arguments.next(),
        arguments.next(),
    ) else {
        return Err(Issue::mismatch(at, "LAG wants 1 to 3 arguments"));
    };

    let distance = match distance {
        Some(given) => {
            let number = whole_number(&given, 0, at, "LAG");
            number?
        }
        None => 1,
    };
    let sql_type = argument.sql_type.clone();
    if let Some(default) = &default {
        want_comparable(&argument, default, at)?;
    }

    let function = WindowFunction::Lag {
        argument,
        distance,
        default: default.map(|default| converted(default, &sql_type)),
        ignore_nulls: parsed.ignore_nulls,
    };
    Ok((function, sql_type))
}

fn nth_function(arguments: Vec<Expr>, parsed: &Call) -> Compiled<(WindowFunction, SqlType)> {
    let at = parsed.name.at;
    let [argument, number] = two_arguments(arguments, parsed)?;
    let number = whole_number(&number, 1, at, "NTH_VALUE")?;

    let sql_type = argument.sql_type.clone();
    let function = WindowFunction::Nth {
        argument,
        number,
        from_last: parsed.from_last,
        ignore_nulls: parsed.ignore_nulls,
    };
    Ok((function, sql_type))
}

fn two_arguments(arguments: Vec<Expr>, parsed: &Call) -> Compiled<[Expr; 2]> {
    arguments.try_into().map_err(|_| {
        let name = &parsed.name;
        let message = format!("{} wants 2 arguments", name.text);
        Issue::mismatch(name.at, message)
    })
}

/// EXP_AVG(value, interval): an average in which a row's weight halves with every interval.
fn exponential_average(arguments: Vec<Expr>, parsed: &Call) -> Compiled<(WindowFunction, SqlType)> {
    let at = parsed.name.at;
    let [argument, interval] = two_arguments(arguments, parsed)?;
    let sql_type = &argument.sql_type;
    if !sql_type.is_number() && !sql_type.is_null() {
        let message = format!("EXP_AVG of {sql_type}; expected a number");
        return Err(Issue::mismatch(at, message));
    }

    let half_life = milliseconds(&interval, at, "EXP_AVG")?;
    if half_life == 0 {
        return Err(Issue::mismatch(at, "EXP_AVG wants a positive interval"));
    }
    let function = WindowFunction::ExponentialAverage {
        argument,
        half_life,
    };
    Ok((function, SqlType::Double))
}
