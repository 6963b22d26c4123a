//! Expressions that only ever grow with time: the ones that windows can close by.

use crate::expr::{Arithmetic, Expr, ExprKind};
use crate::functions::Builtin;
use crate::types::SqlType;

/// The way in which an expression grows.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Driver {
    /// A function of the time alone: the expression over column 0.
    Time(Expr),
    /// Declared to grow from row to row.
    Rows,
}

/// The driver of an expression over columns with these drivers. `None` when it need not grow, or is
/// constant.
pub(crate) fn driver(expression: &Expr, drivers: &[Option<Driver>]) -> Option<Driver> {
    match &expression.kind {
        ExprKind::Column(index) => {
            let driver = drivers.get(*index);
            driver.cloned().flatten()
        }
        ExprKind::Monotonic(_) => Some(Driver::Rows),
        ExprKind::RowTime => None,
        _ => {
            let operand = growing_operand(expression)?;
            let inner = driver(operand, drivers)?;
            Some(match inner {
                Driver::Time(time) => {
                    let time = with_operand(expression, operand, time);
                    Driver::Time(time)
                }
                Driver::Rows => Driver::Rows,
            })
        }
    }
}

/// Whether an expression without a driver is FLOOR or STEP of a timestamp, which counts as if
/// wrapped in MONOTONIC.
pub(crate) fn is_event_time(expression: &Expr) -> bool {
    let rounds = matches!(
        expression.kind,
        ExprKind::Call(Builtin::FloorTo(_) | Builtin::StepTime(_), _)
    );
    let mut columns = std::collections::BTreeSet::new();
    expression.add_columns(&mut columns);

    rounds && expression.sql_type == SqlType::Timestamp && !columns.is_empty()
}

/// The operand with which the whole expression grows.
fn growing_operand(expression: &Expr) -> Option<&Expr> {
    match &expression.kind {
        ExprKind::Cast(inner) | ExprKind::Assign(inner) => {
            keeps_order(&inner.sql_type, &expression.sql_type).then_some(inner)
        }
        ExprKind::Difference(left, right, _) => {
            let constant = right.is_constant();
            constant.then_some(left)
        }
        ExprKind::Arithmetic(operation, left, right) => of_arithmetic(*operation, left, right),
        ExprKind::Call(builtin, arguments) => {
            let first = arguments.first()?;
            let rest_constant = arguments.iter().skip(1).all(Expr::is_constant);
            (grows_with_first(builtin) && rest_constant).then_some(first)
        }
        _ => None,
    }
}

/// Whether a conversion gives larger values for larger ones. A TIME begins anew each day.
fn keeps_order(from: &SqlType, to: &SqlType) -> bool {
    let ordered = |sql_type: &SqlType| {
        let interval = matches!(sql_type, SqlType::Interval(_));
        interval || sql_type.is_number() || sql_type.is_datetime()
    };
    *to != SqlType::Time && ordered(from) && ordered(to)
}

fn of_arithmetic<'a>(operation: Arithmetic, left: &'a Expr, right: &'a Expr) -> Option<&'a Expr> {
    match operation {
        Arithmetic::Add if left.is_constant() => Some(right),
        Arithmetic::Add | Arithmetic::Subtract => {
            let constant = right.is_constant();
            constant.then_some(left)
        }
        Arithmetic::Multiply if is_positive(left) => Some(right),
        Arithmetic::Multiply | Arithmetic::Divide => {
            let positive = is_positive(right);
            positive.then_some(left)
        }
    }
}

fn is_positive(expression: &Expr) -> bool {
    let sign = expression.as_literal().map(|value| match value {
        crate::value::Value::Interval(amount) => *amount > 0,
        number => number.double() > 0.0,
    });
    sign == Some(true)
}

fn grows_with_first(builtin: &Builtin) -> bool {
    matches!(
        builtin,
        Builtin::Floor
            | Builtin::Ceil
            | Builtin::FloorTo(_)
            | Builtin::CeilTo(_)
            | Builtin::Step
            | Builtin::StepTime(_)
            | Builtin::ShiftMonths(_)
            | Builtin::UnixTimestamp
            | Builtin::ToTimestamp
    )
}

/// The expression with `time` in the place of the growing operand.
fn with_operand(expression: &Expr, operand: &Expr, time: Expr) -> Expr {
    let mut changed = expression.clone();
    let mut time = Some(time);
    changed.for_each_child_mut(&mut |child| {
        if child == operand
            && let Some(time) = time.take()
        {
            *child = time;
        }
    });
    changed
}
