//! Expressions: names become columns, operators get types.

use super::aggregate::Groups;
use super::scope::{NameScope, Resolved, unknown_column};
use super::window::Windows;
use crate::catalog::Catalog;
use crate::convert;
use crate::error::{Compiled, ErrorClass, Issue};
use crate::expr::{Accepts, Arithmetic, Comparison, DynamicPattern, Expr, ExprKind, Pattern};
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

    fn bind_kind(&mut self, ast: &Ast) -> Compiled<Expr> {
        let at = ast.at;
        match &ast.kind {
            AstKind::Name(path) => self.bind_name(path),
            AstKind::Literal(value, sql_type) => {
                let value = value.clone();
                Ok(Expr::literal(value, sql_type.clone()))
            }
            AstKind::Negate(inner) => self.bind_negate(inner, at),
            AstKind::Binary(operator, left, right) => self.bind_binary(*operator, left, right, at),
            AstKind::Case {
                operand,
                arms,
                otherwise,
            } => {
                let operand = operand.as_deref();
                self.bind_case(operand, arms, otherwise.as_deref(), at)
            }
            AstKind::Cast(inner, sql_type) => self.bind_cast(inner, sql_type, at),
            AstKind::Interval(inner, interval) => self.bind_difference(inner, *interval, at),
            AstKind::Call(call) => self.bind_call(call),
            AstKind::Row => {
                let message = "two values in parentheses are no expression; expected one";
                Err(Issue::new(ErrorClass::Syntax, at, message))
            }
            AstKind::Not(_)
            | AstKind::Is(..)
            | AstKind::DistinctFrom(..)
            | AstKind::Between(..)
            | AstKind::InList(..)
            | AstKind::InQuery(..)
            | AstKind::Exists(_)
            | AstKind::Like(_) => {
                let kind = self.bind_predicate(&ast.kind, at);
                kind.map(boolean)
            }
        }
    }

    fn bind_predicate(&mut self, kind: &AstKind, at: u32) -> Compiled<ExprKind> {
        match kind {
            AstKind::Not(inner) => {
                let inner = self.bind_condition(inner)?;
                Ok(ExprKind::Not(Box::new(inner)))
            }
            AstKind::Is(inner, tested, negated) => self.bind_is(inner, *tested, *negated, at),
            AstKind::DistinctFrom(left, right, negated) => {
                let (left, right) = self.bind_comparable(left, right, at)?;
                let (left, right) = (Box::new(left), Box::new(right));
                Ok(ExprKind::Distinct(left, right, *negated))
            }
            AstKind::Between(value, low, high, negated) => {
                let both = self.bind_between(value, low, high, at)?;
                Ok(negated_if(*negated, both))
            }
            AstKind::InList(value, list, negated) => self.bind_in_list(value, list, *negated, at),
            AstKind::InQuery(value, query, negated) => {
                let value = self.bind(value)?;
                let lookup = self.bind_lookup(query, Some(&value), at)?;
                let value = Box::new(value);
                Ok(ExprKind::InTable(value, lookup, *negated))
            }
            AstKind::Exists(query) => {
                let lookup = self.bind_lookup(query, None, at)?;
                Ok(ExprKind::Exists(lookup))
            }
            AstKind::Like(like) => self.bind_like(like, at),
            _ => Err(Issue::unsupported(at, "this condition")),
        }
    }

    fn bind_between(&mut self, value: &Ast, low: &Ast, high: &Ast, at: u32) -> Compiled<ExprKind> {
        let low = self.bind_compare(Accepts::GreaterOrEqual, value, low, at)?;
        let high = self.bind_compare(Accepts::LessOrEqual, value, high, at)?;
        Ok(ExprKind::And(Box::new(low), Box::new(high)))
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
        let at = start_of(path);
        let (resolved, fields) = self.scope.resolve(path)?;

        let expression = match resolved {
            Resolved::Column(index, column) => {
                let sql_type = column.sql_type.clone();
                Expr::column(index, sql_type)
            }
            Resolved::Parameter(index, sql_type) => {
                let sql_type = sql_type.clone();
                Expr::column(index, sql_type)
            }
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
        if let Some(operation) = arithmetic(operator) {
            return self.bind_arithmetic(operation, left, right, at);
        }
        if let Some(accepts) = comparison(operator) {
            return self.bind_compare(accepts, left, right, at);
        }

        match operator {
            BinaryOperator::Concatenate => self.bind_concatenate(left, right, at),
            _ => self.bind_logical(operator, left, right, at),
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
        let kind = match operator {
            BinaryOperator::And => ExprKind::And(left, right),
            _ => ExprKind::Or(left, right),
        };
        Ok(boolean(kind))
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
            let (left, right) = (Box::new(left), Box::new(right));
            let kind = ExprKind::Arithmetic(operation, left, right);
            return Ok(Expr::new(kind, sql_type));
        }

        time_arithmetic(operation, &left, &right)
            .ok_or_else(|| no_operation(operation, &left.sql_type, &right.sql_type, at))
    }

    fn bind_is(
        &mut self,
        inner: &Ast,
        tested: Tested,
        negated: bool,
        at: u32,
    ) -> Compiled<ExprKind> {
        let inner = Box::new(self.bind(inner)?);
        if tested != Tested::Null {
            want_boolean(&inner, at)?;
        }

        let kind = match tested {
            Tested::True => ExprKind::IsTruth(inner, true, negated),
            Tested::False => ExprKind::IsTruth(inner, false, negated),
            Tested::Null | Tested::Unknown => ExprKind::IsNull(inner, negated),
        };
        Ok(kind)
    }

    fn bind_in_list(
        &mut self,
        value: &Ast,
        list: &[Ast],
        negated: bool,
        at: u32,
    ) -> Compiled<ExprKind> {
        let value = self.bind(value)?;
        let bound = self.bind_all(list)?;
        for item in &bound {
            want_comparable(&value, item, at)?;
        }

        let value = Box::new(value);
        Ok(ExprKind::InList(value, bound, negated))
    }

    fn bind_like(&mut self, like: &LikeAst, at: u32) -> Compiled<ExprKind> {
        let (value, pattern) = self.bind_both(&like.value, &like.pattern)?;
        let escape = match &like.escape {
            Some(escape) => Some(self.bind(escape)?),
            None => None,
        };
        want_like_text(&value, at)?;
        want_like_text(&pattern, at)?;
        if let Some(escape) = &escape {
            want_like_text(escape, at)?;
        }

        let pattern = bound_pattern(pattern, escape, like.similar, at)?;
        Ok(ExprKind::Like(Box::new(value), pattern, like.negated))
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
            let condition = self.bind_when(operand, when)?;
            conditions.push(condition);
            results.push(self.bind(then)?);
        }

        let otherwise = self.bind_otherwise(otherwise)?;
        results.push(otherwise);
        case_of(conditions, results, at)
    }

    fn bind_when(&mut self, operand: Option<&Ast>, when: &Ast) -> Compiled<Expr> {
        match operand {
            Some(operand) => self.bind_compare(Accepts::Equal, operand, when, when.at),
            None => self.bind_condition(when),
        }
    }

    fn bind_otherwise(&mut self, otherwise: Option<&Ast>) -> Compiled<Expr> {
        match otherwise {
            Some(otherwise) => self.bind(otherwise),
            None => Ok(unknown()),
        }
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
            return Err(unit_without_difference(interval, at));
        };

        let (left, right) = self.bind_both(left, right)?;
        let (from, to) = (&left.sql_type, &right.sql_type);
        if !are_datetimes(from, to) {
            return Err(no_difference(from, to, interval, at));
        }

        let (left, right) = (Box::new(left), Box::new(right));
        let kind = ExprKind::Difference(left, right, interval);
        Ok(Expr::new(kind, SqlType::Interval(interval)))
    }
}

fn unit_without_difference(interval: IntervalType, at: u32) -> Issue {
    let message = format!("a unit ({interval}) follows; expected (datetime - datetime)");
    Issue::mismatch(at, message)
}

fn no_difference(left: &SqlType, right: &SqlType, interval: IntervalType, at: u32) -> Issue {
    let types = format!("({left} - {right}) {interval}");
    let message = format!("{types}; expected two datetimes of one type");
    Issue::mismatch(at, message)
}

fn bound_pattern(pattern: Expr, escape: Option<Expr>, similar: bool, at: u32) -> Compiled<Pattern> {
    let constant = constant_pattern(&pattern, escape.as_ref(), similar, at)?;
    if let Some(constant) = constant {
        return Ok(constant);
    }

    let dynamic = DynamicPattern {
        pattern,
        escape,
        similar,
    };
    Ok(Pattern::Dynamic(Box::new(dynamic)))
}

fn start_of(path: &[Name]) -> u32 {
    path.first().map_or(0, |name| name.at)
}

/// The stand-in for an expression about which an issue is reported already, and for a missing ELSE.
pub(super) fn unknown() -> Expr {
    Expr::literal(Value::Null, SqlType::Null)
}

fn arithmetic(operator: BinaryOperator) -> Option<Arithmetic> {
    match operator {
        BinaryOperator::Add => Some(Arithmetic::Add),
        BinaryOperator::Subtract => Some(Arithmetic::Subtract),
        BinaryOperator::Multiply => Some(Arithmetic::Multiply),
        BinaryOperator::Divide => Some(Arithmetic::Divide),
        _ => None,
    }
}

fn comparison(operator: BinaryOperator) -> Option<Accepts> {
    match operator {
        BinaryOperator::Equal => Some(Accepts::Equal),
        BinaryOperator::NotEqual => Some(Accepts::NotEqual),
        BinaryOperator::Less => Some(Accepts::Less),
        BinaryOperator::LessOrEqual => Some(Accepts::LessOrEqual),
        BinaryOperator::Greater => Some(Accepts::Greater),
        BinaryOperator::GreaterOrEqual => Some(Accepts::GreaterOrEqual),
        _ => None,
    }
}

fn negated_if(negated: bool, kind: ExprKind) -> ExprKind {
    if negated {
        let condition = Box::new(boolean(kind));
        ExprKind::Not(condition)
    } else {
        kind
    }
}

/// CASE with all results in one type; the last result is that of ELSE.
fn case_of(conditions: Vec<Expr>, results: Vec<Expr>, at: u32) -> Compiled<Expr> {
    let sql_type = union_type(&results, "CASE", at)?;
    let mut results = results
        .into_iter()
        .map(|result| converted(result, &sql_type));

    let arms = conditions.into_iter().zip(results.by_ref()).collect();
    let otherwise = results.next().unwrap_or_else(unknown);
    let kind = ExprKind::Case(arms, Box::new(otherwise));
    Ok(Expr::new(kind, sql_type))
}

fn want_like_text(side: &Expr, at: u32) -> Compiled<()> {
    let sql_type = &side.sql_type;
    if sql_type.is_text() || sql_type.is_null() {
        return Ok(());
    }

    let message = format!("LIKE with {sql_type}; expected text");
    Err(Issue::mismatch(at, message))
}

pub(super) fn boolean(kind: ExprKind) -> Expr {
    Expr::new(kind, SqlType::Boolean)
}

pub(super) fn call(builtin: Builtin, arguments: Vec<Expr>, sql_type: SqlType) -> Expr {
    Expr::new(ExprKind::Call(builtin, arguments), sql_type)
}

pub(super) fn compare(accepts: Accepts, left: Expr, right: Expr) -> Expr {
    let comparison = Comparison {
        accepts,
        trims: left.sql_type.is_padded() || right.sql_type.is_padded(),
    };

    let (left, right) = (Box::new(left), Box::new(right));
    boolean(ExprKind::Compare(comparison, left, right))
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
    let text = |side: &SqlType| side.is_text() || side.is_null();
    if !text(left) || !text(right) {
        let types = format!("{left} || {right}");
        let message = format!("{types}; expected text (CAST … AS VARCHAR(n)) on both sides");
        return Err(Issue::mismatch(at, message));
    }

    let left = left.text_length().unwrap_or(0);
    let right = right.text_length().unwrap_or(0);
    let length = left + right;
    Ok(SqlType::Varchar(length.min(LONGEST_TEXT)))
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
        return Err(no_fields(&row.sql_type, field.at));
    };

    let found = fields.iter().position(|known| known.name == field.text);
    let Some(index) = found else {
        let known = fields.iter().map(|known| known.name.as_str());
        return Err(unknown_column(field, known));
    };

    let sql_type = fields[index].sql_type.clone();
    let kind = ExprKind::Field(Box::new(row), index);
    Ok(Expr::new(kind, sql_type))
}

fn no_fields(sql_type: &SqlType, at: u32) -> Issue {
    let message = format!("{sql_type} has no fields; expected a row value");
    Issue::mismatch(at, message)
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
    if !counts_as_number(left) || !counts_as_number(right) {
        return None;
    }
    if left.is_null() && right.is_null() {
        return Some(SqlType::Integer);
    }
    if left.is_null() || right.is_null() || left.is_integer() && right.is_integer() {
        return left.union(right);
    }

    match (left.decimal_shape(), right.decimal_shape()) {
        (Some(left), Some(right)) => Some(decimal_result(operation, left, right)),
        _ => Some(left.floating_union(right)),
    }
}

fn counts_as_number(sql_type: &SqlType) -> bool {
    sql_type.is_number() || sql_type.is_null()
}

/// The DECIMAL that holds a result; operands by precision and scale.
fn decimal_result(operation: Arithmetic, left: (u8, u8), right: (u8, u8)) -> SqlType {
    let (left_precision, left_scale) = left;
    let (right_precision, right_scale) = right;
    let left_whole = left_precision - left_scale;
    let right_whole = right_precision - right_scale;

    let (whole, scale) = match operation {
        Arithmetic::Add | Arithmetic::Subtract => {
            let whole = left_whole.max(right_whole);
            (whole + 1, left_scale.max(right_scale))
        }
        Arithmetic::Multiply => (left_whole + right_whole, left_scale + right_scale),
        Arithmetic::Divide => {
            let scale = left_scale + right_precision + 1;
            (left_whole + right_scale, scale.max(6))
        }
    };
    capped_decimal(whole, scale, left_scale)
}

/// A datetime and an interval, two intervals, or an interval and a number.
fn time_arithmetic(operation: Arithmetic, left: &Expr, right: &Expr) -> Option<Expr> {
    match (&left.sql_type, &right.sql_type) {
        (SqlType::Interval(one), SqlType::Interval(other)) => {
            let interval = one.union(*other)?;
            let sql_type = SqlType::Interval(interval);
            adds(operation).then(|| on_operands(operation, left, right, sql_type))
        }
        (moment, SqlType::Interval(interval)) if moment.is_datetime() => {
            let moved = shifted(operation, left, right, *interval);
            moved.filter(|_| adds(operation))
        }
        (SqlType::Interval(interval), moment) if moment.is_datetime() => {
            let moved = shifted(operation, right, left, *interval);
            moved.filter(|_| operation == Arithmetic::Add)
        }
        (SqlType::Interval(_), number) if number.is_number() && !adds(operation) => {
            let sql_type = left.sql_type.clone();
            Some(on_operands(operation, left, right, sql_type))
        }
        (number, SqlType::Interval(_)) if number.is_number() => {
            let multiplies = operation == Arithmetic::Multiply;
            let sql_type = right.sql_type.clone();
            multiplies.then(|| on_operands(operation, right, left, sql_type))
        }
        _ => None,
    }
}

fn adds(operation: Arithmetic) -> bool {
    matches!(operation, Arithmetic::Add | Arithmetic::Subtract)
}

fn on_operands(operation: Arithmetic, left: &Expr, right: &Expr, sql_type: SqlType) -> Expr {
    let left = Box::new(left.clone());
    let right = Box::new(right.clone());
    Expr::new(ExprKind::Arithmetic(operation, left, right), sql_type)
}

fn shifted(
    operation: Arithmetic,
    moment: &Expr,
    interval: &Expr,
    interval_type: IntervalType,
) -> Option<Expr> {
    let sql_type = moment.sql_type.clone();
    if !interval_type.is_calendar() {
        return Some(on_operands(operation, moment, interval, sql_type));
    }
    if sql_type == SqlType::Time {
        return None;
    }

    let back = operation == Arithmetic::Subtract;
    let arguments = vec![moment.clone(), interval.clone()];
    Some(call(Builtin::ShiftMonths(back), arguments, sql_type))
}
