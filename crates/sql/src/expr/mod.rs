//! Typed expressions and their interpreter.

mod arithmetic;
mod fold;
mod pattern;

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) use arithmetic::{Arithmetic, finite, shift_months};
pub(crate) use pattern::{DynamicPattern, Pattern};

use crate::convert;
use crate::functions::Builtin;
use crate::table::Lookup;
use crate::types::datetime::DAY;
use crate::types::{IntervalType, SqlType};
use crate::value::{Evaluated, Value};

/// An expression whose names are resolved and whose types are checked.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Expr {
    pub(crate) kind: ExprKind,
    pub(crate) sql_type: SqlType,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum ExprKind {
    Literal(Value),
    /// A column of the row at hand.
    Column(usize),
    /// The clock when the pump started.
    StartTime,
    /// The clock at this row.
    RowTime,
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// IS [NOT] DISTINCT FROM; `true` when negated.
    Distinct(Box<Expr>, Box<Expr>, bool),
    /// IS [NOT] NULL; `true` when negated.
    IsNull(Box<Expr>, bool),
    /// IS [NOT] TRUE or FALSE; the last is `true` when negated.
    IsTruth(Box<Expr>, bool, bool),
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    Negate(Box<Expr>),
    /// The time from the second to the first, cut to the interval's last unit.
    Difference(Box<Expr>, Box<Expr>, IntervalType),
    /// [NOT] IN a list; `true` when negated.
    InList(Box<Expr>, Vec<Expr>, bool),
    /// [NOT] IN a reference table's column; `true` when negated.
    InTable(Box<Expr>, Lookup, bool),
    /// EXISTS over a reference table.
    Exists(Lookup),
    /// [NOT] LIKE or SIMILAR TO; `true` when negated.
    Like(Box<Expr>, Pattern, bool),
    Case(Vec<(Expr, Expr)>, Box<Expr>),
    Coalesce(Vec<Expr>),
    NullIf(Box<Expr>, Box<Expr>),
    /// The value itself, declared to grow only.
    Monotonic(Box<Expr>),
    Cast(Box<Expr>),
    /// The conversion of an assignment to the type of the expression.
    Assign(Box<Expr>),
    Call(Builtin, Vec<Expr>),
    /// A function of the application: arguments, then the body over them; `true` when NULL gives
    /// NULL.
    Function(Vec<Expr>, Arc<Expr>, bool),
    /// A field of a row value.
    Field(Box<Expr>, usize),
}

/// A comparison, and whether trailing blanks are left out (CHAR).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Comparison {
    pub(crate) accepts: Accepts,
    pub(crate) trims: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Accepts {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Accepts {
    fn holds(self, order: Ordering) -> bool {
        match self {
            Self::Equal => order.is_eq(),
            Self::NotEqual => order.is_ne(),
            Self::Less => order.is_lt(),
            Self::LessOrEqual => order.is_le(),
            Self::Greater => order.is_gt(),
            Self::GreaterOrEqual => order.is_ge(),
        }
    }
}

impl Comparison {
    /// UNKNOWN when a side is NULL.
    fn truth(self, left: &Value, right: &Value) -> Option<bool> {
        let order = order(left, right, self.trims)?;
        Some(self.accepts.holds(order))
    }
}

/// The clocks that an expression may read, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Clocks {
    pub(crate) started: i64,
    pub(crate) row: i64,
}

impl Clocks {
    /// The midnight before the start.
    fn today(self) -> i64 {
        let since_midnight = self.started.rem_euclid(DAY);
        self.started - since_midnight
    }
}

/// The row and the clocks of one evaluation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'a> {
    pub(crate) row: &'a [Value],
    pub(crate) clocks: &'a Clocks,
}

impl Expr {
    pub(crate) fn new(kind: ExprKind, sql_type: SqlType) -> Self {
        Self { kind, sql_type }
    }

    pub(crate) fn literal(value: Value, sql_type: SqlType) -> Self {
        Self::new(ExprKind::Literal(value), sql_type)
    }

    pub(crate) fn column(index: usize, sql_type: SqlType) -> Self {
        Self::new(ExprKind::Column(index), sql_type)
    }

    pub(crate) fn as_literal(&self) -> Option<&Value> {
        match &self.kind {
            ExprKind::Literal(value) => Some(value),
            _ => None,
        }
    }

    /// The text of a constant.
    pub(crate) fn as_text(&self) -> Option<&str> {
        match self.as_literal() {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn truth(&self, scope: Scope<'_>) -> Evaluated<Option<bool>> {
        Ok(self.eval(scope)?.truth())
    }

    /// The value for one row.
    // tidy: long because it lists every kind of expression once
    pub(crate) fn eval<'a>(&'a self, scope: Scope<'a>) -> Evaluated<Cow<'a, Value>> {
        match &self.kind {
            ExprKind::Literal(value) => Ok(Cow::Borrowed(value)),
            ExprKind::Column(index) => {
                let value = column(scope.row, *index);
                Ok(value)
            }
            ExprKind::StartTime => {
                let started = scope.clocks.started;
                Ok(Cow::Owned(clock(started, &self.sql_type)))
            }
            ExprKind::RowTime => {
                let at = scope.clocks.row;
                Ok(Cow::Owned(Value::Timestamp(at)))
            }
            ExprKind::Not(inner) => {
                let truth = inner.truth(scope)?;
                Ok(boolean(truth.map(|truth| !truth)))
            }
            ExprKind::And(left, right) => conjunction(left, right, scope),
            ExprKind::Or(left, right) => disjunction(left, right, scope),
            ExprKind::Compare(comparison, left, right) => {
                let left = left.eval(scope)?;
                let right = right.eval(scope)?;
                Ok(boolean(comparison.truth(&left, &right)))
            }
            ExprKind::Distinct(left, right, negated) => {
                let left = left.eval(scope)?;
                let right = right.eval(scope)?;
                Ok(truth(left.is_same(&right) == *negated))
            }
            ExprKind::IsNull(inner, negated) => {
                let value = inner.eval(scope)?;
                Ok(truth(value.is_null() != *negated))
            }
            ExprKind::IsTruth(inner, wanted, negated) => {
                let found = inner.truth(scope)?;
                let is = found == Some(*wanted);
                Ok(truth(is != *negated))
            }
            ExprKind::Arithmetic(operation, left, right) => {
                let left = left.eval(scope)?;
                let right = right.eval(scope)?;
                arithmetic::calculate(*operation, &left, &right, &self.sql_type).map(Cow::Owned)
            }
            ExprKind::Negate(inner) => {
                let value = inner.eval(scope)?;
                arithmetic::negate(&value, &self.sql_type).map(Cow::Owned)
            }
            ExprKind::Difference(left, right, interval) => {
                let left = left.eval(scope)?;
                let right = right.eval(scope)?;
                let difference = arithmetic::difference(&left, &right, *interval);
                Ok(Cow::Owned(difference))
            }
            ExprKind::InList(value, list, negated) => {
                let found = in_list(value, list, scope)?;
                Ok(boolean(found.map(|found| found != *negated)))
            }
            ExprKind::InTable(value, lookup, negated) => {
                let value = value.eval(scope)?;
                let held = lookup.holds(&value);
                Ok(boolean(held.map(|held| held != *negated)))
            }
            ExprKind::Exists(lookup) => {
                let found = lookup.has_rows();
                Ok(truth(found))
            }
            ExprKind::Like(value, pattern, negated) => {
                let matched = pattern.matches(value, scope)?;
                Ok(boolean(matched.map(|matched| matched != *negated)))
            }
            ExprKind::Case(arms, otherwise) => {
                for (condition, result) in arms {
                    if condition.truth(scope)? == Some(true) {
                        return result.eval(scope);
                    }
                }
                otherwise.eval(scope)
            }
            ExprKind::Coalesce(list) => coalesce(list, scope),
            ExprKind::NullIf(value, other) => null_if(value, other, scope),
            ExprKind::Monotonic(inner) => inner.eval(scope),
            ExprKind::Cast(inner) => {
                let value = inner.eval(scope)?;
                let today = scope.clocks.today();
                convert::cast(value, &inner.sql_type, &self.sql_type, today)
            }
            ExprKind::Assign(inner) => {
                let value = inner.eval(scope)?;
                convert::assign(value, &inner.sql_type, &self.sql_type)
            }
            ExprKind::Call(builtin, arguments) => self.call(builtin, arguments, scope),
            ExprKind::Function(arguments, body, strict) => {
                let result = call_function(arguments, body, *strict, scope)?;
                Ok(Cow::Owned(result))
            }
            ExprKind::Field(inner, index) => {
                let row = inner.eval(scope)?;
                Ok(field(&row, *index))
            }
        }
    }

    fn call<'a>(
        &'a self,
        builtin: &'a Builtin,
        arguments: &'a [Expr],
        scope: Scope<'a>,
    ) -> Evaluated<Cow<'a, Value>> {
        let mut values = Vec::with_capacity(arguments.len());
        for argument in arguments {
            let value = argument.eval(scope)?;
            if value.is_null() && builtin.is_strict() {
                return Ok(Cow::Owned(Value::Null));
            }
            values.push(value);
        }
        builtin
            .call(&values, arguments, &self.sql_type)
            .map(Cow::Owned)
    }

    /// Adds the columns that the expression reads.
    pub(crate) fn add_columns(&self, columns: &mut BTreeSet<usize>) {
        if let ExprKind::Column(index) = self.kind {
            columns.insert(index);
        }
        self.for_each_child(&mut |child| child.add_columns(columns));
    }

    /// Whether the expression has one value for ever: no column, no clock.
    pub(crate) fn is_constant(&self) -> bool {
        let mut constant = !matches!(
            self.kind,
            ExprKind::Column(_)
                | ExprKind::StartTime
                | ExprKind::RowTime
                | ExprKind::InTable(..)
                | ExprKind::Exists(_)
        );
        self.for_each_child(&mut |child| constant &= child.is_constant());
        constant
    }

    /// Visits the direct operands. A function's body is left out: its columns are parameters.
    pub(crate) fn for_each_child(&self, visit: &mut dyn FnMut(&Self)) {
        match &self.kind {
            ExprKind::Literal(_)
            | ExprKind::Column(_)
            | ExprKind::StartTime
            | ExprKind::RowTime
            | ExprKind::Exists(_) => {}
            ExprKind::Not(inner)
            | ExprKind::IsNull(inner, _)
            | ExprKind::IsTruth(inner, _, _)
            | ExprKind::Negate(inner)
            | ExprKind::InTable(inner, _, _)
            | ExprKind::Monotonic(inner)
            | ExprKind::Cast(inner)
            | ExprKind::Assign(inner)
            | ExprKind::Field(inner, _) => visit(inner),
            ExprKind::And(left, right)
            | ExprKind::Or(left, right)
            | ExprKind::Compare(_, left, right)
            | ExprKind::Distinct(left, right, _)
            | ExprKind::Arithmetic(_, left, right)
            | ExprKind::Difference(left, right, _)
            | ExprKind::NullIf(left, right) => {
                visit(left);
                visit(right);
            }
            ExprKind::InList(value, list, _) => {
                visit(value);
                list.iter().for_each(visit);
            }
            ExprKind::Like(value, pattern, _) => {
                visit(value);
                pattern.for_each_child(visit);
            }
            ExprKind::Case(arms, otherwise) => {
                for (condition, result) in arms {
                    visit(condition);
                    visit(result);
                }
                visit(otherwise);
            }
            ExprKind::Coalesce(list) | ExprKind::Call(_, list) | ExprKind::Function(list, _, _) => {
                list.iter().for_each(visit);
            }
        }
    }

    /// As `for_each_child`, to change the operands.
    pub(crate) fn for_each_child_mut(&mut self, visit: &mut dyn FnMut(&mut Self)) {
        match &mut self.kind {
            ExprKind::Literal(_)
            | ExprKind::Column(_)
            | ExprKind::StartTime
            | ExprKind::RowTime
            | ExprKind::Exists(_) => {}
            ExprKind::Not(inner)
            | ExprKind::IsNull(inner, _)
            | ExprKind::IsTruth(inner, _, _)
            | ExprKind::Negate(inner)
            | ExprKind::InTable(inner, _, _)
            | ExprKind::Monotonic(inner)
            | ExprKind::Cast(inner)
            | ExprKind::Assign(inner)
            | ExprKind::Field(inner, _) => visit(inner),
            ExprKind::And(left, right)
            | ExprKind::Or(left, right)
            | ExprKind::Compare(_, left, right)
            | ExprKind::Distinct(left, right, _)
            | ExprKind::Arithmetic(_, left, right)
            | ExprKind::Difference(left, right, _)
            | ExprKind::NullIf(left, right) => {
                visit(left);
                visit(right);
            }
            ExprKind::InList(value, list, _) => {
                visit(value);
                list.iter_mut().for_each(visit);
            }
            ExprKind::Like(value, pattern, _) => {
                visit(value);
                pattern.for_each_child_mut(visit);
            }
            ExprKind::Case(arms, otherwise) => {
                for (condition, result) in arms {
                    visit(condition);
                    visit(result);
                }
                visit(otherwise);
            }
            ExprKind::Coalesce(list) | ExprKind::Call(_, list) | ExprKind::Function(list, _, _) => {
                list.iter_mut().for_each(visit);
            }
        }
    }
}

/// The expression over the operands of a projection instead of the projection's columns.
pub(crate) fn substituted(mut expression: Expr, columns: &[Expr]) -> Expr {
    replace_columns(&mut expression, columns);
    expression
}

fn replace_columns(expression: &mut Expr, columns: &[Expr]) {
    if let ExprKind::Column(index) = expression.kind {
        if let Some(column) = columns.get(index) {
            *expression = column.clone();
        }
        return;
    }
    expression.for_each_child_mut(&mut |child| replace_columns(child, columns));
}

fn column(row: &[Value], index: usize) -> Cow<'_, Value> {
    row.get(index)
        .map_or(Cow::Owned(Value::Null), Cow::Borrowed)
}

fn boolean<'a>(truth: Option<bool>) -> Cow<'a, Value> {
    match truth {
        Some(truth) => Cow::Owned(Value::Boolean(truth)),
        None => Cow::Owned(Value::Null),
    }
}

fn truth<'a>(truth: bool) -> Cow<'a, Value> {
    Cow::Owned(Value::Boolean(truth))
}

/// A field of a row value; the fields of NULL are NULL.
fn field<'a>(row: &Value, index: usize) -> Cow<'a, Value> {
    let value = match row {
        Value::Row(fields) => {
            let field = fields.get(index);
            field.cloned()
        }
        _ => None,
    };
    Cow::Owned(value.unwrap_or(Value::Null))
}

#[allow(clippy::cast_possible_truncation)]
fn clock(at: i64, sql_type: &SqlType) -> Value {
    match sql_type {
        SqlType::Date => {
            let day = at.div_euclid(DAY);
            Value::Date(day as i32)
        }
        SqlType::Time => {
            let time = at.rem_euclid(DAY);
            Value::Time(time as i32)
        }
        _ => Value::Timestamp(at),
    }
}

fn conjunction<'a>(left: &Expr, right: &Expr, scope: Scope<'_>) -> Evaluated<Cow<'a, Value>> {
    let left = left.truth(scope)?;
    if left == Some(false) {
        return Ok(truth(false));
    }

    let right = right.truth(scope)?;
    match (left, right) {
        (_, Some(false)) => Ok(truth(false)),
        (Some(true), right) => Ok(boolean(right)),
        _ => Ok(boolean(None)),
    }
}

fn disjunction<'a>(left: &Expr, right: &Expr, scope: Scope<'_>) -> Evaluated<Cow<'a, Value>> {
    let left = left.truth(scope)?;
    if left == Some(true) {
        return Ok(truth(true));
    }

    let right = right.truth(scope)?;
    match (left, right) {
        (_, Some(true)) => Ok(truth(true)),
        (Some(false), right) => Ok(boolean(right)),
        _ => Ok(boolean(None)),
    }
}

/// The order of two values; with `trims`, texts without their trailing blanks.
pub(crate) fn order(left: &Value, right: &Value, trims: bool) -> Option<Ordering> {
    match (left, right) {
        (Value::Text(left), Value::Text(right)) if trims => {
            let left = left.trim_end_matches(' ');
            let right = right.trim_end_matches(' ');
            Some(left.cmp(right))
        }
        _ => left.order(right),
    }
}

fn in_list(value: &Expr, list: &[Expr], scope: Scope<'_>) -> Evaluated<Option<bool>> {
    let found = value.eval(scope)?;
    let mut unknown = found.is_null();

    for item in list {
        let trims = value.sql_type.is_padded() || item.sql_type.is_padded();
        let item = item.eval(scope)?;
        match order(&found, &item, trims) {
            Some(Ordering::Equal) => return Ok(Some(true)),
            Some(_) => {}
            None => unknown = true,
        }
    }

    if unknown {
        return Ok(None);
    }
    Ok(Some(false))
}

fn null_if<'a>(value: &'a Expr, other: &Expr, scope: Scope<'a>) -> Evaluated<Cow<'a, Value>> {
    let value = value.eval(scope)?;
    let other = other.eval(scope)?;

    match order(&value, &other, true) {
        Some(Ordering::Equal) => Ok(Cow::Owned(Value::Null)),
        _ => Ok(value),
    }
}

fn coalesce<'a>(list: &'a [Expr], scope: Scope<'a>) -> Evaluated<Cow<'a, Value>> {
    for item in list {
        let value = item.eval(scope)?;
        if !value.is_null() {
            return Ok(value);
        }
    }
    Ok(Cow::Owned(Value::Null))
}

fn call_function(
    arguments: &[Expr],
    body: &Expr,
    strict: bool,
    scope: Scope<'_>,
) -> Evaluated<Value> {
    let mut row = Vec::with_capacity(arguments.len());
    for argument in arguments {
        row.push(argument.eval(scope)?.into_owned());
    }
    if strict && row.iter().any(Value::is_null) {
        return Ok(Value::Null);
    }

    let inner = Scope {
        row: &row,
        clocks: scope.clocks,
    };
    body.eval(inner).map(Cow::into_owned)
}
