//! OVER: windows that slide with each row.

use super::aggregate::AggregateKind;
use super::expression::{Binder, Stage, converted};
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

    /// LAG and NTH_VALUE, which exist with OVER only.
    pub(super) fn bind_window_only(&mut self, parsed: &Call) -> Compiled<Option<Expr>> {
        let lag = parsed.name.text == "LAG";
        if !lag && parsed.name.text != "NTH_VALUE" {
            return Ok(None);
        }
        self.want_window_stage(parsed)?;
        let mut inner = Binder::new(self.catalog, self.scope, Stage::Rows("a windowed function"));
        let arguments = inner.bind_all(&parsed.arguments)?;
        let (function, sql_type) = if lag {
            lag_function(arguments, parsed)?
        } else {
            nth_function(arguments, parsed)?
        };
        self.windowed(parsed, function, sql_type).map(Some)
    }

    fn want_window_stage(&self, parsed: &Call) -> Compiled<()> {
        if parsed.over.is_none() {
            let message = format!("{} without OVER; expected a window", parsed.name.text);
            let at = parsed.name.at;
            return Err(Issue::new(ErrorClass::MisplacedWindow, at, message));
        }
        match &self.stage {
            Stage::Items(_) => Ok(()),
            Stage::Rows(clause) => {
                let message = format!(
                    "a windowed function in {clause}; expected it in the select list \
                     (filter on it in an outer query)"
                );
                Err(Issue::new(
                    ErrorClass::MisplacedWindow,
                    parsed.name.at,
                    message,
                ))
            }
            Stage::Grouped(_) => Err(Issue::unsupported(
                parsed.name.at,
                "a windowed function beside GROUP BY",
            )),
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
        windows.functions.push(plan);
        Ok(Expr::column(width + windows.functions.len() - 1, sql_type))
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
            whole_number(Some(&bound), 0, count.at, "ROWS").map(Extent::Rows)
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
    if matches!(&bound.sql_type, SqlType::Interval(fields) if fields.is_calendar()) {
        let construct = "a window of calendar months or years";
        return Err(Issue::unsupported(interval.at, construct));
    }
    let amount = match bound.as_literal() {
        Some(Value::Interval(amount)) => Some(*amount),
        _ => None,
    };
    amount.filter(|amount| *amount >= 0).ok_or_else(|| {
        let message = format!("{clause} wants an interval such as INTERVAL '10' SECOND");
        Issue::mismatch(interval.at, message)
    })
}

fn whole_number(argument: Option<&Expr>, least: i64, at: u32, name: &str) -> Compiled<usize> {
    let number = argument
        .and_then(Expr::as_literal)
        .and_then(|value| match value {
            Value::Integer(number) if *number >= least => usize::try_from(*number).ok(),
            _ => None,
        });
    number.ok_or_else(|| {
        let message = format!("{name} wants a constant whole number of at least {least}");
        Issue::mismatch(at, message)
    })
}

fn lag_function(arguments: Vec<Expr>, parsed: &Call) -> Compiled<(WindowFunction, SqlType)> {
    let at = parsed.name.at;
    if !(1..=3).contains(&arguments.len()) {
        return Err(Issue::mismatch(at, "LAG wants 1 to 3 arguments"));
    }
    let distance = match arguments.get(1) {
        Some(given) => whole_number(Some(given), 0, at, "LAG")?,
        None => 1,
    };

    let mut arguments = arguments.into_iter();
    let argument = arguments.next().unwrap_or_else(super::expression::unknown);
    let sql_type = argument.sql_type.clone();
    let default = arguments.nth(1);
    if let Some(default) = &default {
        super::expression::want_comparable(&argument, default, at)?;
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
    if arguments.len() != 2 {
        return Err(Issue::mismatch(at, "NTH_VALUE wants 2 arguments"));
    }
    let number = whole_number(arguments.get(1), 1, at, "NTH_VALUE")?;

    let argument = arguments
        .into_iter()
        .next()
        .unwrap_or_else(super::expression::unknown);
    let sql_type = argument.sql_type.clone();
    let function = WindowFunction::Nth {
        argument,
        number,
        from_last: parsed.from_last,
        ignore_nulls: parsed.ignore_nulls,
    };
    Ok((function, sql_type))
}
