//! GROUP BY: keys, and the aggregates that the select list and HAVING use.

use super::expression::{Binder, Stage};
use crate::aggregate::AggregateCall;
pub(super) use crate::aggregate::AggregateKind;
use crate::catalog::ROWTIME;
use crate::error::{Compiled, ErrorClass, Issue};
use crate::expr::Expr;
use crate::text::ast::{Ast, AstKind, Call, Name};
use crate::types::SqlType;

/// The columns that a grouped query can use: ROWTIME, the keys, the aggregates.
pub(crate) struct Groups {
    pub(crate) keys: Vec<Expr>,
    pub(crate) aggregates: Vec<AggregateCall>,
}

impl Groups {
    pub(crate) fn new(keys: Vec<Expr>) -> Self {
        Self {
            keys,
            aggregates: Vec::new(),
        }
    }

    /// The error about a column that is no key.
    pub(super) fn refuse_ungrouped(&self, path: &[Name], at: u32) -> Compiled<Expr> {
        let name = path.last().map_or("", |name| name.text.as_str());
        let message =
            format!("\"{name}\" is neither grouped nor aggregated; expected it in GROUP BY");
        Err(Issue::new(ErrorClass::NotGrouped, at, message))
    }

    fn key(&self, expression: &Expr) -> Option<Expr> {
        let index = self.keys.iter().position(|key| key == expression)?;
        Some(Expr::column(1 + index, expression.sql_type.clone()))
    }

    /// The column of an aggregate; equal ones share a column.
    fn aggregate(&mut self, call: AggregateCall) -> Expr {
        let sql_type = call.sql_type.clone();
        let known = self.aggregates.iter().position(|other| *other == call);
        let index = known.unwrap_or(self.aggregates.len());
        if known.is_none() {
            self.aggregates.push(call);
        }
        Expr::column(1 + self.keys.len() + index, sql_type)
    }
}

impl Binder<'_> {
    /// The column that stands for a grouping expression, or for the ROWTIME of the row being made.
    pub(super) fn group_column(&self, ast: &Ast) -> Option<Expr> {
        let Stage::Grouped(groups) = &self.stage else {
            return None;
        };
        if let AstKind::Name(path) = &ast.kind
            && path.len() == 1
            && path.iter().all(|name| name.text == ROWTIME)
        {
            return Some(Expr::column(0, SqlType::Timestamp));
        }
        if matches!(ast.kind, AstKind::Literal(..)) {
            return None;
        }

        let mut trial = Binder::new(self.catalog, self.scope, Stage::Rows("GROUP BY"));
        groups.key(&trial.bind(ast).ok()?)
    }

    pub(super) fn bind_grouped_aggregate(
        &mut self,
        kind: AggregateKind,
        parsed: &Call,
    ) -> Compiled<Expr> {
        let call = self.aggregate_call(kind, parsed, "the argument of an aggregate")?;
        match &mut self.stage {
            Stage::Grouped(groups) => Ok(groups.aggregate(call)),
            Stage::Rows(_) | Stage::Items(_) => Ok(super::expression::unknown()),
        }
    }

    /// An aggregate with an argument, which is bound over the rows of FROM.
    pub(super) fn aggregate_call(
        &mut self,
        kind: AggregateKind,
        parsed: &Call,
        clause: &'static str,
    ) -> Compiled<AggregateCall> {
        let at = parsed.name.at;
        let wanted = usize::from(kind != AggregateKind::CountAll);
        if parsed.arguments.len() != wanted {
            let message = format!("{} wants {wanted} argument(s)", kind.word());
            return Err(Issue::mismatch(at, message));
        }

        let argument = self.bind_argument(parsed.arguments.first(), clause)?;
        let sql_type = result_type(kind, argument.as_ref(), at)?;
        Ok(AggregateCall {
            kind,
            argument,
            distinct: parsed.distinct,
            ignore_nulls: parsed.ignore_nulls,
            sql_type,
        })
    }
}

impl Binder<'_> {
    fn bind_argument(
        &mut self,
        argument: Option<&Ast>,
        clause: &'static str,
    ) -> Compiled<Option<Expr>> {
        let mut inner = Binder::new(self.catalog, self.scope, Stage::Rows(clause));
        let bound = argument.map(|ast| inner.bind(ast));
        self.issues.append(&mut inner.issues);
        bound.transpose()
    }
}

/// The type of an aggregate's result.
fn result_type(kind: AggregateKind, argument: Option<&Expr>, at: u32) -> Compiled<SqlType> {
    let of = argument.map_or(SqlType::Null, |argument| argument.sql_type.clone());
    refuse_argument(kind, &of, at)?;

    Ok(match kind {
        AggregateKind::CountAll | AggregateKind::Count => SqlType::BigInt,
        AggregateKind::First | AggregateKind::Last | AggregateKind::Average => of,
        AggregateKind::Min | AggregateKind::Max => of,
        AggregateKind::Any | AggregateKind::Every => SqlType::Boolean,
        AggregateKind::Sum => sum_type(&of),
        AggregateKind::Deviation(_) => match of {
            SqlType::Real => SqlType::Real,
            _ => SqlType::Double,
        },
    })
}

fn refuse_argument(kind: AggregateKind, of: &SqlType, at: u32) -> Compiled<()> {
    let Some(expectation) = refused(kind, of) else {
        return Ok(());
    };

    let word = kind.word();
    let message = format!("{word} of {of}; expected {expectation}");
    Err(Issue::mismatch(at, message))
}

/// The kind of argument that an aggregate wants, if the type is of another kind.
fn refused(kind: AggregateKind, of: &SqlType) -> Option<&'static str> {
    let (fits, expectation) = match kind {
        AggregateKind::CountAll
        | AggregateKind::Count
        | AggregateKind::First
        | AggregateKind::Last => return None,
        AggregateKind::Min | AggregateKind::Max => {
            let ordered = !has_no_extreme(of);
            (ordered, "a number, text or datetime")
        }
        AggregateKind::Any | AggregateKind::Every => {
            let boolean = matches!(of, SqlType::Boolean | SqlType::Null);
            (boolean, "BOOLEAN")
        }
        AggregateKind::Average | AggregateKind::Sum | AggregateKind::Deviation(_) => {
            let number = of.is_number() || of.is_null();
            (number, "a number")
        }
    };
    if fits { None } else { Some(expectation) }
}

fn has_no_extreme(of: &SqlType) -> bool {
    matches!(
        of,
        SqlType::Boolean | SqlType::Row(_) | SqlType::Interval(_)
    )
}

fn sum_type(of: &SqlType) -> SqlType {
    match of {
        SqlType::Decimal { scale, .. } => SqlType::Decimal {
            precision: 18,
            scale: *scale,
        },
        SqlType::Real | SqlType::Double => SqlType::Double,
        _ => SqlType::BigInt,
    }
}
