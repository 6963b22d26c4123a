//! Expressions: names become columns, operators get types.

use super::aggregate::Groups;
use super::scope::{NameScope, Resolved, unknown_column};
use super::window::Windows;
use crate::catalog::Catalog;
use crate::convert;
use crate::error::{Compiled, ErrorClass, Issue};
use crate::expr::{Accepts, Arithmetic, Comparison, Expr, ExprKind, Pattern};
use crate::functions::Builtin;
use crate::text::ast::{Ast, AstKind, BinaryOperator, LikeAst, Name, Tested};
use crate::types::{IntervalType, SqlType, capped_decimal};
use crate::value::Value;

const LONGEST_TEXT: u32 = 65_535;

/// Binds the expressions of one query.
pub(crate) struct Binder<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) scope: &'a NameScope,
    pub(crate) stage: Stage<'a>,
    /// Issues besides the one that a call returns.
    pub(crate) issues: Vec<Issue>,
}

/// The clause at hand: the clause says which functions may stand and which row the columns belong
/// to.
pub(crate) enum Stage<'a> {
    /// Rows of FROM: WHERE, GROUP BY, ON, and the arguments of aggregates.
    Rows(&'static str),
    /// The select list of a query without groups.
    Items(Windows<'a>),
    /// The select list and HAVING of a query with groups.
    Grouped(Groups),
}

impl<'a> Binder<'a> {
    pub(crate) fn new(catalog: &'a Catalog, scope: &'a NameScope, stage: Stage<'a>) -> Self {
        Self {
            catalog,
            scope,
            stage,
            issues: Vec::new(),
        }
    }

    /// Binds an expression; constant parts are evaluated.
    pub(crate) fn bind(&mut self, ast: &Ast) -> Compiled<Expr> {
        if let Some(column) = self.group_column(ast) {
            return Ok(column);
        }
        self.bind_kind(ast).map(Expr::folded)
    }

    /// Binds a condition.
    pub(crate) fn bind_condition(&mut self, ast: &Ast) -> Compiled<Expr> {
        let condition = self.bind(ast)?;
        want_boolean(&condition, ast.at)?;
        Ok(condition)
    }

    // tidy: long because it lists every kind of expression once
    fn bind_kind(&mut self, ast: &Ast) -> Compiled<Expr> {
        let at = ast.at;
        match &ast.kind {
            AstKind::Name(path) => self.bind_name(path),
            AstKind::Literal(value, sql_type) => Ok(Expr::literal(value.clone(), sql_type.clone())),
            AstKind::Negate(inner) => self.bind_negate(inner, at),
            AstKind::Not(inner) => {
                let inner = self.bind_condition(inner)?;
                Ok(boolean(ExprKind::Not(Box::new(inner))))
            }
            AstKind::Binary(operator, left, right) => self.bind_binary(*operator, left, right, at),
            AstKind::Is(inner, tested, negated) => self.bind_is(inner, *tested, *negated, at),
            AstKind::DistinctFrom(left, right, negated) => {
                let (left, right) = self.bind_comparable(left, right, at)?;
                let kind = ExprKind::Distinct(Box::new(left), Box::new(right), *negated);
                Ok(boolean(kind))
            }
            AstKind::Between(value, low, high, negated) => {
                let low = self.bind_compare(Accepts::GreaterOrEqual, value, low, at)?;
                let high = self.bind_compare(Accepts::LessOrEqual, value, high, at)?;
                let both = boolean(ExprKind::And(Box::new(low), Box::new(high)));
                Ok(if *negated {
                    boolean(ExprKind::Not(Box::new(both)))
                } else {
                    both
                })
            }
            AstKind::InList(value, list, negated) => self.bind_in_list(value, list, *negated, at),
            AstKind::InQuery(value, query, negated) => {
                let value = self.bind(value)?;
                let lookup = self.bind_lookup(query, Some(&value), at)?;
                Ok(boolean(ExprKind::InTable(
                    Box::new(value),
                    lookup,
                    *negated,
                )))
            }
            AstKind::Exists(query) => Ok(boolean(ExprKind::Exists(
                self.bind_lookup(query, None, at)?,
            ))),
            AstKind::Like(like) => self.bind_like(like, at),
            AstKind::Case {
                operand,
                arms,
                otherwise,
            } => self.bind_case(operand.as_deref(), arms, otherwise.as_deref(), at),
            AstKind::Cast(inner, sql_type) => self.bind_cast(inner, sql_type, at),
            AstKind::Interval(inner, interval) => self.bind_difference(inner, *interval, at),
            AstKind::Call(call) => self.bind_call(call),
            AstKind::Row => Err(Issue::new(
                ErrorClass::Syntax,
                at,
                "two values in parentheses are no expression; expected one",
            )),
        }
    }

    /// Binds both, so that the issues of both are reported.
    pub(super) fn bind_both(&mut self, left: &Ast, right: &Ast) -> Compiled<(Expr, Expr)> {
        let (left, right) = (self.bind(left), self.bind(right));
        match (left, right) {
            (Ok(left), Ok(right)) => Ok((left, right)),
            (Err(first), Err(second)) => {
                self.issues.push(first);
                Err(second)
            }
            (Err(issue), Ok(_)) | (Ok(_), Err(issue)) => Err(issue),
        }
    }

    pub(super) fn bind_all(&mut self, list: &[Ast]) -> Compiled<Vec<Expr>> {
        let mut bound = Vec::with_capacity(list.len());
        let mut failed = None;
        for item in list {
            match self.bind(item) {
                Ok(expression) => bound.push(expression),
                Err(issue) => self.issues.extend(failed.replace(issue)),
            }
        }
        failed.map_or(Ok(bound), Err)
    }

    fn bind_name(&mut self, path: &[Name]) -> Compiled<Expr> {
        let at = path.first().map_or(0, |name| name.at);
        let (resolved, fields) = self.scope.resolve(path)?;
        let expression = match resolved {
            Resolved::Column(index, column) => Expr::column(index, column.sql_type.clone()),
            Resolved::Parameter(index, sql_type) => Expr::column(index, sql_type.clone()),
            Resolved::Broken => return Ok(unknown()),
            Resolved::RowTimeOfJoin => self.rowtime_of_join(at)?,
        };

        if let Stage::Grouped(groups) = &self.stage {
            return groups.refuse_ungrouped(path, at);
        }
        fields.iter().try_fold(expression, row_field)
    }

    /// The bare ROWTIME of a join: in the select list the time of the match.
    fn rowtime_of_join(&self, at: u32) -> Compiled<Expr> {
        if let Stage::Items(_) = &self.stage {
            return Ok(Expr::column(0, SqlType::Timestamp));
        }
        let message = "ROWTIME belongs to each relation; expected alias.ROWTIME";
        Err(Issue::new(ErrorClass::AmbiguousColumn, at, message))
    }

    fn bind_negate(&mut self, inner: &Ast, at: u32) -> Compiled<Expr> {
        let inner = self.bind(inner)?;
        let sql_type = inner.sql_type.clone();
        let negatable = sql_type.is_number() || sql_type.is_null();
        if !negatable && !matches!(sql_type, SqlType::Interval(_)) {
            let message = format!("- of {sql_type}; expected a number or an interval");
            return Err(Issue::mismatch(at, message));
        }
        Ok(Expr::new(ExprKind::Negate(Box::new(inner)), sql_type))
    }

    fn bind_binary(
        &mut self,
        operator: BinaryOperator,
        left: &Ast,
        right: &Ast,
        at: u32,
    ) -> Compiled<Expr> {
        match operator {
            BinaryOperator::And | BinaryOperator::Or => {
                self.bind_logical(operator, left, right, at)
            }
            BinaryOperator::Equal => self.bind_compare(Accepts::Equal, left, right, at),
            BinaryOperator::NotEqual => self.bind_compare(Accepts::NotEqual, left, right, at),
            BinaryOperator::Less => self.bind_compare(Accepts::Less, left, right, at),
            BinaryOperator::LessOrEqual => self.bind_compare(Accepts::LessOrEqual, left, right, at),
            BinaryOperator::Greater => self.bind_compare(Accepts::Greater, left, right, at),
            BinaryOperator::GreaterOrEqual => {
                self.bind_compare(Accepts::GreaterOrEqual, left, right, at)
            }
            BinaryOperator::Concatenate => self.bind_concatenate(left, right, at),
            BinaryOperator::Add => self.bind_arithmetic(Arithmetic::Add, left, right, at),
            BinaryOperator::Subtract => self.bind_arithmetic(Arithmetic::Subtract, left, right, at),
            BinaryOperator::Multiply => self.bind_arithmetic(Arithmetic::Multiply, left, right, at),
            BinaryOperator::Divide => self.bind_arithmetic(Arithmetic::Divide, left, right, at),
        }
    }

    fn bind_logical(
        &mut self,
        operator: BinaryOperator,
        left: &Ast,
        right: &Ast,
        at: u32,
    ) -> Compiled<Expr> {
        let (left, right) = self.bind_both(left, right)?;
        want_boolean(&left, at)?;
        want_boolean(&right, at)?;
        let (left, right) = (Box::new(left), Box::new(right));
        Ok(boolean(if operator == BinaryOperator::And {
            ExprKind::And(left, right)
        } else {
            ExprKind::Or(left, right)
        }))
    }

    fn bind_comparable(&mut self, left: &Ast, right: &Ast, at: u32) -> Compiled<(Expr, Expr)> {
        let (left, right) = self.bind_both(left, right)?;
        want_comparable(&left, &right, at)?;
        Ok((left, right))
    }

    fn bind_compare(
        &mut self,
        accepts: Accepts,
        left: &Ast,
        right: &Ast,
        at: u32,
    ) -> Compiled<Expr> {
        let (left, right) = self.bind_comparable(left, right, at)?;
        Ok(compare(accepts, left, right))
    }

    fn bind_concatenate(&mut self, left: &Ast, right: &Ast, at: u32) -> Compiled<Expr> {
        let (left, right) = self.bind_both(left, right)?;
        let sql_type = concatenated(&left.sql_type, &right.sql_type, at)?;
        Ok(call(Builtin::Concatenate, vec![left, right], sql_type))
    }

    fn bind_arithmetic(
        &mut self,
        operation: Arithmetic,
        left: &Ast,
        right: &Ast,
        at: u32,
    ) -> Compiled<Expr> {
        let (left, right) = self.bind_both(left, right)?;
        if let Some(sql_type) = number_result(operation, &left.sql_type, &right.sql_type) {
            let kind = ExprKind::Arithmetic(operation, Box::new(left), Box::new(right));
            return Ok(Expr::new(kind, sql_type));
        }
        time_arithmetic(operation, &left, &right)
            .ok_or_else(|| no_operation(operation, &left.sql_type, &right.sql_type, at))
    }

    fn bind_is(&mut self, inner: &Ast, tested: Tested, negated: bool, at: u32) -> Compiled<Expr> {
        let inner = Box::new(self.bind(inner)?);
        if tested == Tested::Null {
            return Ok(boolean(ExprKind::IsNull(inner, negated)));
        }

        want_boolean(&inner, at)?;
        Ok(boolean(match tested {
            Tested::True => ExprKind::IsTruth(inner, true, negated),
            Tested::False => ExprKind::IsTruth(inner, false, negated),
            Tested::Null | Tested::Unknown => ExprKind::IsNull(inner, negated),
        }))
    }

    fn bind_in_list(
        &mut self,
        value: &Ast,
        list: &[Ast],
        negated: bool,
        at: u32,
    ) -> Compiled<Expr> {
        let value = self.bind(value)?;
        let bound = self.bind_all(list)?;
        for item in &bound {
            want_comparable(&value, item, at)?;
        }
        Ok(boolean(ExprKind::InList(Box::new(value), bound, negated)))
    }

    fn bind_like(&mut self, like: &LikeAst, at: u32) -> Compiled<Expr> {
        let (value, pattern) = self.bind_both(&like.value, &like.pattern)?;
        let escape = like
            .escape
            .as_ref()
            .map(|escape| self.bind(escape))
            .transpose()?;
        for side in [Some(&value), Some(&pattern), escape.as_ref()] {
            let sql_type = side.map_or(&SqlType::Null, |side| &side.sql_type);
            if !sql_type.is_text() && !sql_type.is_null() {
                let message = format!("LIKE with {sql_type}; expected text");
                return Err(Issue::mismatch(at, message));
            }
        }

        let pattern = constant_pattern(&pattern, escape.as_ref(), like.similar, at)?
            .unwrap_or_else(|| {
                Pattern::Dynamic(Box::new(crate::expr::DynamicPattern {
                    pattern,
                    escape,
                    similar: like.similar,
                }))
            });
        Ok(boolean(ExprKind::Like(
            Box::new(value),
            pattern,
            like.negated,
        )))
    }

    fn bind_case(
        &mut self,
        operand: Option<&Ast>,
        arms: &[(Ast, Ast)],
        otherwise: Option<&Ast>,
        at: u32,
    ) -> Compiled<Expr> {
        let mut conditions = Vec::with_capacity(arms.len());
        let mut results = Vec::with_capacity(arms.len() + 1);
        for (when, then) in arms {
            conditions.push(match operand {
                Some(operand) => self.bind_compare(Accepts::Equal, operand, when, when.at)?,
                None => self.bind_condition(when)?,
            });
            results.push(self.bind(then)?);
        }
        results.push(match otherwise {
            Some(otherwise) => self.bind(otherwise)?,
            None => unknown(),
        });

        let sql_type = union_type(&results, "CASE", at)?;
        let mut results = results
            .into_iter()
            .map(|result| converted(result, &sql_type));
        let arms = conditions.into_iter().zip(results.by_ref()).collect();
        let otherwise = results.next().unwrap_or_else(unknown);
        Ok(Expr::new(
            ExprKind::Case(arms, Box::new(otherwise)),
            sql_type,
        ))
    }

    fn bind_cast(&mut self, inner: &Ast, sql_type: &SqlType, at: u32) -> Compiled<Expr> {
        let inner = self.bind(inner)?;
        if !convert::castable(&inner.sql_type, sql_type) {
            let message = format!("CAST of {} to {sql_type} does not exist", inner.sql_type);
            return Err(Issue::mismatch(at, message));
        }
        Ok(Expr::new(ExprKind::Cast(Box::new(inner)), sql_type.clone()))
    }

    fn bind_difference(&mut self, inner: &Ast, interval: IntervalType, at: u32) -> Compiled<Expr> {
        let AstKind::Binary(BinaryOperator::Subtract, left, right) = &inner.kind else {
            let message = format!("a unit ({interval}) follows; expected (datetime - datetime)");
            return Err(Issue::mismatch(at, message));
        };
        let (left, right) = self.bind_both(left, right)?;
        if !are_datetimes(&left.sql_type, &right.sql_type) {
            let message = format!(
                "({} - {}) {interval}; expected two datetimes of one type",
                left.sql_type, right.sql_type
            );
            return Err(Issue::mismatch(at, message));
        }

        let kind = ExprKind::Difference(Box::new(left), Box::new(right), interval);
        Ok(Expr::new(kind, SqlType::Interval(interval)))
    }
}

/// The stand-in for an expression about which an issue is reported already, and for a missing ELSE.
pub(super) fn unknown() -> Expr {
    Expr::literal(Value::Null, SqlType::Null)
}

pub(super) fn boolean(kind: ExprKind) -> Expr {
    Expr::new(kind, SqlType::Boolean)
}

pub(super) fn call(builtin: Builtin, arguments: Vec<Expr>, sql_type: SqlType) -> Expr {
    Expr::new(ExprKind::Call(builtin, arguments), sql_type)
}

pub(super) fn compare(accepts: Accepts, left: Expr, right: Expr) -> Expr {
    let padded = |side: &Expr| matches!(side.sql_type, SqlType::Char(_));
    let comparison = Comparison {
        accepts,
        trims: padded(&left) || padded(&right),
    };
    boolean(ExprKind::Compare(
        comparison,
        Box::new(left),
        Box::new(right),
    ))
}

/// The expression in a type that takes an assignment.
pub(crate) fn converted(expression: Expr, sql_type: &SqlType) -> Expr {
    if expression.sql_type == *sql_type {
        return expression;
    }
    Expr::new(ExprKind::Assign(Box::new(expression)), sql_type.clone()).folded()
}

/// The one type of several results.
pub(super) fn union_type(results: &[Expr], construct: &str, at: u32) -> Compiled<SqlType> {
    results.iter().try_fold(SqlType::Null, |union, result| {
        union.union(&result.sql_type).ok_or_else(|| {
            let message = format!(
                "{construct} gives {union} and {}; expected one kind of type",
                result.sql_type
            );
            Issue::mismatch(at, message)
        })
    })
}

/// The type of two texts together.
fn concatenated(left: &SqlType, right: &SqlType, at: u32) -> Compiled<SqlType> {
    for side in [left, right] {
        if !side.is_text() && !side.is_null() {
            let message =
                format!("{left} || {right}; expected text (CAST … AS VARCHAR(n)) on both sides");
            return Err(Issue::mismatch(at, message));
        }
    }

    let length = |side: &SqlType| side.text_length().unwrap_or(0);
    Ok(SqlType::Varchar(
        (length(left) + length(right)).min(LONGEST_TEXT),
    ))
}

/// The error of an operation on types that do not fit.
fn no_operation(operation: Arithmetic, left: &SqlType, right: &SqlType, at: u32) -> Issue {
    let symbol = match operation {
        Arithmetic::Add => "+",
        Arithmetic::Subtract => "-",
        Arithmetic::Multiply => "*",
        Arithmetic::Divide => "/",
    };
    let expectation = if left.is_datetime() && left == right {
        "expected a unit: (a - b) SECOND"
    } else {
        "expected numbers, or a datetime and an interval"
    };

    let message = format!("{left} {symbol} {right}; {expectation}");
    Issue::mismatch(at, message)
}

/// Whether both are datetimes of one type, or NULL.
fn are_datetimes(left: &SqlType, right: &SqlType) -> bool {
    let datetime = |side: &SqlType| side.is_datetime() || side.is_null();
    let same = left == right || left.is_null() || right.is_null();
    datetime(left) && datetime(right) && same
}

fn want_boolean(expression: &Expr, at: u32) -> Compiled<()> {
    if matches!(expression.sql_type, SqlType::Boolean | SqlType::Null) {
        return Ok(());
    }
    let message = format!("a condition of {}; expected BOOLEAN", expression.sql_type);
    Err(Issue::mismatch(at, message))
}

pub(super) fn want_comparable(left: &Expr, right: &Expr, at: u32) -> Compiled<()> {
    if convert::comparable(&left.sql_type, &right.sql_type) {
        return Ok(());
    }
    let message = format!(
        "{} is compared with {}; expected types of one kind (use CAST)",
        left.sql_type, right.sql_type
    );
    Err(Issue::mismatch(at, message))
}

fn row_field(row: Expr, field: &Name) -> Compiled<Expr> {
    let SqlType::Row(fields) = &row.sql_type else {
        let message = format!("{} has no fields; expected a row value", row.sql_type);
        return Err(Issue::mismatch(field.at, message));
    };
    let Some(index) = fields.iter().position(|known| known.name == field.text) else {
        let known = fields.iter().map(|known| known.name.as_str());
        return Err(unknown_column(field, known));
    };

    let sql_type = fields[index].sql_type.clone();
    let kind = ExprKind::Field(Box::new(row), index);
    Ok(Expr::new(kind, sql_type))
}

/// The pattern when known now; a NULL pattern is left to the rows.
fn constant_pattern(
    pattern: &Expr,
    escape: Option<&Expr>,
    similar: bool,
    at: u32,
) -> Compiled<Option<Pattern>> {
    let Some(pattern) = pattern.as_text() else {
        return Ok(None);
    };
    let constant_escape = escape.and_then(Expr::as_text);
    if escape.is_some() && constant_escape.is_none() {
        return Ok(None);
    }
    Pattern::constant(pattern, constant_escape, similar)
        .map(Some)
        .map_err(|message| Issue::new(ErrorClass::Unsupported, at, message))
}

/// The type of an operation on numbers; `None` when an operand is none.
fn number_result(operation: Arithmetic, left: &SqlType, right: &SqlType) -> Option<SqlType> {
    let number = |sql_type: &SqlType| sql_type.is_number() || sql_type.is_null();
    if !number(left) || !number(right) {
        return None;
    }
    if left.is_null() || right.is_null() {
        return Some(if left.is_null() && right.is_null() {
            SqlType::Integer
        } else {
            left.union(right)?
        });
    }
    if left.is_integer() && right.is_integer() {
        return left.union(right);
    }
    let (Some((p1, s1)), Some((p2, s2))) = (left.decimal_shape(), right.decimal_shape()) else {
        return Some(left.floating_union(right));
    };

    Some(match operation {
        Arithmetic::Add | Arithmetic::Subtract => {
            capped_decimal((p1 - s1).max(p2 - s2) + 1, s1.max(s2), s1)
        }
        Arithmetic::Multiply => capped_decimal(p1 + p2 - s1 - s2, s1 + s2, s1),
        Arithmetic::Divide => capped_decimal(p1 - s1 + s2, (s1 + p2 + 1).max(6), s1),
    })
}

/// A datetime and an interval, two intervals, or an interval and a number.
fn time_arithmetic(operation: Arithmetic, left: &Expr, right: &Expr) -> Option<Expr> {
    let (operands, sql_type) = match (&left.sql_type, &right.sql_type, operation) {
        (moment, SqlType::Interval(interval), Arithmetic::Add | Arithmetic::Subtract)
            if moment.is_datetime() =>
        {
            return shifted(operation, left, right, *interval);
        }
        (SqlType::Interval(interval), moment, Arithmetic::Add) if moment.is_datetime() => {
            return shifted(operation, right, left, *interval);
        }
        (
            SqlType::Interval(one),
            SqlType::Interval(other),
            Arithmetic::Add | Arithmetic::Subtract,
        ) => ((left, right), SqlType::Interval(one.union(*other)?)),
        (SqlType::Interval(interval), number, Arithmetic::Multiply | Arithmetic::Divide)
            if number.is_number() =>
        {
            ((left, right), SqlType::Interval(*interval))
        }
        (number, SqlType::Interval(interval), Arithmetic::Multiply) if number.is_number() => {
            ((right, left), SqlType::Interval(*interval))
        }
        _ => return None,
    };

    let (left, right) = operands;
    let kind = ExprKind::Arithmetic(operation, Box::new(left.clone()), Box::new(right.clone()));
    Some(Expr::new(kind, sql_type))
}

fn shifted(
    operation: Arithmetic,
    moment: &Expr,
    interval: &Expr,
    interval_type: IntervalType,
) -> Option<Expr> {
    let sql_type = moment.sql_type.clone();
    if interval_type.is_calendar() {
        let back = operation == Arithmetic::Subtract;
        let arguments = vec![moment.clone(), interval.clone()];
        return (sql_type != SqlType::Time)
            .then(|| call(Builtin::ShiftMonths(back), arguments, sql_type));
    }

    let (moment, interval) = (Box::new(moment.clone()), Box::new(interval.clone()));
    let kind = ExprKind::Arithmetic(operation, moment, interval);
    Some(Expr::new(kind, sql_type))
}
