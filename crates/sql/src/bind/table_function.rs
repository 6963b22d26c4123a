//! Table functions: `TABLE(F(CURSOR(query), …))`.

use super::expression::{Binder, Stage};
use super::scope::{NameScope, ScopeColumn, unknown_column};
use super::select::{Planned, Planner};
use crate::error::{Compiled, ErrorClass, Issue, nearest};
use crate::expr::Expr;
use crate::plan::{ItemsPlan, Plan};
use crate::text::ast::{Ast, Name, TableFunction};
use crate::types::SqlType;
use crate::value::Value;

const LATER: [&str; 4] = [
    "RANDOM_CUT_FOREST",
    "RANDOM_CUT_FOREST_WITH_EXPLANATION",
    "HOTSPOTS",
    "GROUP_RANK",
];
const TOP_K: &str = "TOP_K_ITEMS_TUMBLING";
const COUNT_DISTINCT: &str = "COUNT_DISTINCT_ITEMS_TUMBLING";

impl Planner<'_> {
    pub(super) fn table_function(&mut self, function: &TableFunction) -> Compiled<Planned> {
        let name = function.name.text.as_str();
        let at = function.name.at;
        if LATER.contains(&name) {
            return Err(Issue::unsupported(at, name));
        }
        let top = name == TOP_K;
        if !top && name != COUNT_DISTINCT {
            let known = LATER.into_iter().chain([TOP_K, COUNT_DISTINCT]);
            let message = format!("no table function is called {name}{}", nearest(name, known));
            return Err(Issue::new(ErrorClass::UnknownFunction, at, message));
        }

        let planned = self.query(&function.cursor)?;
        let arguments = self.arguments(function, if top { 3 } else { 2 })?;
        let column = item_column(&planned, &arguments, &function.arguments, at)?;
        let most = if top {
            let most = number(&arguments, 1, 1..=100_000, at)?;
            Some(usize::try_from(most).unwrap_or(usize::MAX))
        } else {
            None
        };
        let seconds = number(&arguments, arguments.len() - 1, 1..=3600, at)?;
        let plan = Plan::Items(Box::new(ItemsPlan {
            column,
            sql_type: planned.columns[column].sql_type.clone(),
            input: planned.plan,
            most,
            length: seconds * 1000,
        }));
        let columns = made_columns(top);
        Ok(Planned {
            plan,
            places: vec![at; columns.len()],
            columns,
            own_rowtime: None,
        })
    }

    fn arguments(&mut self, function: &TableFunction, wanted: usize) -> Compiled<Vec<Expr>> {
        let scope = NameScope::default();
        let mut binder = Binder::new(self.catalog, &scope, Stage::Rows("a table function"));
        let bound = binder.bind_all(&function.arguments)?;
        if bound.len() != wanted {
            let message = format!(
                "{} has {} arguments after its CURSOR; expected {wanted}",
                function.name.text,
                bound.len()
            );
            return Err(Issue::mismatch(function.name.at, message));
        }
        Ok(bound)
    }
}

fn made_columns(top: bool) -> Vec<ScopeColumn> {
    let visible = |name: &str, sql_type| ScopeColumn {
        name: name.to_owned(),
        sql_type,
        hidden: false,
        driver: None,
    };
    let mut columns = vec![ScopeColumn::rowtime()];
    if top {
        columns.push(visible("ITEM", SqlType::Varchar(1024)));
        columns.push(visible("ITEM_COUNT", SqlType::BigInt));
    } else {
        columns.push(visible("NUMBER_OF_DISTINCT_ITEMS", SqlType::BigInt));
    }
    columns
}

/// The column that the first argument names: exactly, or in upper case when there is none such.
fn item_column(planned: &Planned, arguments: &[Expr], written: &[Ast], at: u32) -> Compiled<usize> {
    let Some(Value::Text(text)) = arguments.first().and_then(Expr::as_literal) else {
        let message = "the first argument after CURSOR wants the name of a column in quotes";
        return Err(Issue::mismatch(at, message));
    };
    let text = text
        .strip_prefix('"')
        .and_then(|inner| inner.strip_suffix('"'))
        .unwrap_or(text);
    let find = |wanted: &str| {
        planned
            .columns
            .iter()
            .position(|column| !column.hidden && column.name == wanted)
    };
    find(text)
        .or_else(|| find(&text.to_uppercase()))
        .ok_or_else(|| {
            let name = Name {
                text: text.to_owned(),
                at: written.first().map_or(at, |first| first.at),
            };
            let known = planned.columns.iter().map(|column| column.name.as_str());
            unknown_column(&name, known)
        })
}

fn number(
    arguments: &[Expr],
    index: usize,
    range: std::ops::RangeInclusive<i64>,
    at: u32,
) -> Compiled<i64> {
    let number = match arguments.get(index).and_then(Expr::as_literal) {
        Some(Value::Integer(number)) if range.contains(number) => Some(*number),
        _ => None,
    };
    number.ok_or_else(|| {
        let message = format!(
            "argument {} after CURSOR wants a number from {} to {}",
            index + 1,
            range.start(),
            range.end()
        );
        Issue::mismatch(at, message)
    })
}
