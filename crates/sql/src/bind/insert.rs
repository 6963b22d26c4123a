//! INSERT INTO: the values of a query become rows of a stream.

use super::expression::converted;
use super::scope::ScopeColumn;
use super::select::Planned;
use crate::catalog::{Column, ROWTIME, Stream};
use crate::convert::assignable;
use crate::error::{Compiled, ErrorClass, Issue};
use crate::expr::{Expr, substituted};
use crate::plan::Plan;
use crate::text::ast::Name;
use crate::types::SqlType;
use crate::value::Value;

/// The plan whose rows are rows of the target: ROWTIME, then the target's columns.
pub(super) fn insert_plan(
    planned: Planned,
    target: &Stream,
    names: Option<&[Name]>,
    at: u32,
    issues: &mut Vec<Issue>,
) -> Compiled<Plan> {
    let wanted = match names {
        Some(names) => names.len(),
        None => target.columns.len(),
    };
    let sources = sources(&planned, wanted);
    if sources.len() != wanted {
        return Err(wrong_count(sources.len(), target, wanted, at));
    }

    let mut time = Expr::column(0, SqlType::Timestamp);
    let values = match names {
        None => sources.into_iter().map(Some).collect(),
        Some(names) => listed_values(target, names, &sources, &mut time)?,
    };

    let mut expressions = vec![time];
    for (column, source) in target.columns.iter().zip(values) {
        let value = assigned(&planned, column, source, at, issues);
        expressions.push(value);
    }
    Ok(projected(planned.plan, expressions))
}

/// The visible columns of the query. A ROWTIME of the query's own is left out where there is one
/// column too many.
fn sources(planned: &Planned, wanted: usize) -> Vec<usize> {
    let mut sources: Vec<usize> = (1..planned.columns.len()).collect();
    if let Some(own) = planned.own_rowtime
        && sources.len() == wanted + 1
    {
        sources.retain(|source| *source != own);
    }
    sources
}

/// The source of each target column that a column list names. ROWTIME there sets the row's time.
fn listed_values(
    target: &Stream,
    names: &[Name],
    sources: &[usize],
    time: &mut Expr,
) -> Compiled<Vec<Option<usize>>> {
    let mut values = vec![None; target.columns.len()];
    for (name, source) in names.iter().zip(sources) {
        if name.text == ROWTIME && target.column(ROWTIME).is_none() {
            *time = Expr::column(*source, SqlType::Timestamp);
            continue;
        }
        let index = target_column(target, name)?;
        if values[index].replace(*source).is_some() {
            return Err(listed_twice(name));
        }
    }
    Ok(values)
}

fn listed_twice(name: &Name) -> Issue {
    let message = format!("the column \"{}\" is listed twice", name.text);
    Issue::new(ErrorClass::DuplicateName, name.at, message)
}

fn wrong_count(found: usize, target: &Stream, wanted: usize, at: u32) -> Issue {
    let message = format!(
        "the query gives {found} columns to \"{}\"; expected {wanted}",
        target.name
    );
    Issue::new(ErrorClass::ColumnCount, at, message)
}

fn target_column(target: &Stream, name: &Name) -> Compiled<usize> {
    if let Some(place) = target.column(&name.text) {
        return Ok(place);
    }

    let known = target.columns.iter().map(|column| column.name.as_str());
    let what = "the target has no column";
    Err(Issue::unknown(ErrorClass::UnknownColumn, name, what, known))
}

fn not_assignable(from: &ScopeColumn, column: &Column, at: u32) -> Issue {
    let message = format!(
        "\"{}\" of {} into the column \"{}\" of {}; expected types of one kind (use CAST)",
        from.name, from.sql_type, column.name, column.sql_type
    );
    Issue::mismatch(at, message)
}

fn assigned(
    planned: &Planned,
    column: &Column,
    source: Option<usize>,
    at: u32,
    issues: &mut Vec<Issue>,
) -> Expr {
    let Some(source) = source else {
        return Expr::literal(Value::Null, column.sql_type.clone());
    };

    let from = &planned.columns[source];
    if !assignable(&from.sql_type, &column.sql_type) {
        let place = planned.place(source, at);
        let issue = not_assignable(from, column, place);
        issues.push(issue);
    }
    let value = Expr::column(source, from.sql_type.clone());
    converted(value, &column.sql_type)
}

/// A projection; one right above another is merged with it, since each column is used once.
fn projected(plan: Plan, expressions: Vec<Expr>) -> Plan {
    match plan {
        Plan::Project(input, inner) => {
            let merged = expressions
                .into_iter()
                .map(|expression| substituted(expression, &inner))
                .collect();
            Plan::Project(input, merged)
        }
        other => Plan::Project(Box::new(other), expressions),
    }
}

impl Stream {
    /// The place of a column by exact name.
    pub(crate) fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }
}
