//! Table functions: `TABLE(F(CURSOR(query), …))`.

use std::ops::RangeInclusive;

use super::expression::{Binder, Stage};
use super::forest::forest;
use super::group_rank::group_rank;
use super::scope::{NameScope, ScopeColumn, unknown_column};
use super::select::{Planned, Planner};
use crate::error::{Compiled, ErrorClass, Issue, nearest};
use crate::expr::Expr;
use crate::plan::{ItemsPlan, Plan};
use crate::text::ast::{Name, TableFunction};
use crate::types::SqlType;
use crate::value::Value;

const HOTSPOTS: &str = "HOTSPOTS";
const NAMES: [&str; 6] = [
    "TOP_K_ITEMS_TUMBLING",
    "COUNT_DISTINCT_ITEMS_TUMBLING",
    "RANDOM_CUT_FOREST",
    "RANDOM_CUT_FOREST_WITH_EXPLANATION",
    "GROUP_RANK",
    HOTSPOTS,
];

/// The arguments after the CURSOR, counted from 0.
pub(super) struct Arguments<'a> {
    pub(super) name: &'a str,
    pub(super) at: u32,
    values: Vec<Expr>,
    places: Vec<u32>,
}

impl Planner<'_> {
    pub(super) fn table_function(&mut self, function: &TableFunction) -> Compiled<Planned> {
        let name = function.name.text.as_str();
        let at = function.name.at;
        if name == HOTSPOTS {
            return Err(Issue::unsupported(at, name));
        }
        let (least, most) = match name {
            "TOP_K_ITEMS_TUMBLING" => (3, 3),
            "COUNT_DISTINCT_ITEMS_TUMBLING" => (2, 2),
            "RANDOM_CUT_FOREST" => (0, 4),
            "RANDOM_CUT_FOREST_WITH_EXPLANATION" => (0, 5),
            "GROUP_RANK" => (6, 6),
            _ => return Err(unknown_function(name, at)),
        };

        let planned = self.query(&function.cursor)?;
        let arguments = self.arguments(function)?;
        arguments.want_count(least, most)?;
        match name {
            "TOP_K_ITEMS_TUMBLING" => top_items(planned, &arguments),
            "COUNT_DISTINCT_ITEMS_TUMBLING" => distinct_items(planned, &arguments),
            "GROUP_RANK" => group_rank(planned, &arguments),
            _ => forest(planned, &arguments, name != "RANDOM_CUT_FOREST"),
        }
    }

    fn arguments<'a>(&mut self, function: &'a TableFunction) -> Compiled<Arguments<'a>> {
        let scope = NameScope::default();
        let stage = Stage::Rows("a table function");
        let mut binder = Binder::new(self.catalog, &scope, stage);

        Ok(Arguments {
            name: &function.name.text,
            at: function.name.at,
            values: binder.bind_all(&function.arguments)?,
            places: function
                .arguments
                .iter()
                .map(|argument| argument.at)
                .collect(),
        })
    }
}

fn unknown_function(name: &str, at: u32) -> Issue {
    let nearest = nearest(name, NAMES.into_iter());
    let message = format!("no table function is called {name}{nearest}");
    Issue::new(ErrorClass::UnknownFunction, at, message)
}

impl Arguments<'_> {
    fn want_count(&self, least: usize, most: usize) -> Compiled<()> {
        let count = self.values.len();
        if (least..=most).contains(&count) {
            return Ok(());
        }

        let expected = if least == most {
            most.to_string()
        } else {
            format!("at most {most}")
        };
        let name = self.name;
        let message = format!("{name} has {count} arguments after its CURSOR; expected {expected}");
        Err(Issue::mismatch(self.at, message))
    }

    fn literal(&self, index: usize) -> Option<&Value> {
        let argument = self.values.get(index)?;
        argument.as_literal()
    }

    /// A number within a range.
    pub(super) fn number(&self, index: usize, range: RangeInclusive<i64>) -> Compiled<i64> {
        match self.literal(index) {
            Some(Value::Integer(number)) if range.contains(number) => Ok(*number),
            _ => {
                let (low, high) = (range.start(), range.end());
                let place = index + 1;
                let message =
                    format!("argument {place} after CURSOR wants a number from {low} to {high}");
                Err(Issue::mismatch(self.at, message))
            }
        }
    }

    /// A number of things within a range, or the default when left out.
    pub(super) fn size(
        &self,
        index: usize,
        range: RangeInclusive<i64>,
        default: usize,
    ) -> Compiled<usize> {
        if index >= self.values.len() {
            return Ok(default);
        }

        let number = self.number(index, range)?;
        Ok(usize::try_from(number).unwrap_or(usize::MAX))
    }

    /// TRUE or FALSE; FALSE when left out.
    pub(super) fn truth(&self, index: usize) -> Compiled<bool> {
        if index >= self.values.len() {
            return Ok(false);
        }

        match self.literal(index) {
            Some(Value::Boolean(truth)) => Ok(*truth),
            _ => {
                let place = index + 1;
                let message = format!("argument {place} after CURSOR wants TRUE or FALSE");
                Err(Issue::mismatch(self.at, message))
            }
        }
    }

    /// A constant text; `expected` says of which kind.
    pub(super) fn text(&self, index: usize, expected: &str) -> Compiled<&str> {
        match self.literal(index) {
            Some(Value::Text(text)) => Ok(text),
            _ => {
                let place = index + 1;
                let message = format!("argument {place} after CURSOR wants {expected} in quotes");
                Err(Issue::mismatch(self.at, message))
            }
        }
    }

    /// The column that an argument names: exactly, or in upper case when there is none such.
    pub(super) fn column(&self, index: usize, columns: &[ScopeColumn]) -> Compiled<usize> {
        let text = self.text(index, "the name of a column")?;
        let text = without_quotes(text);

        let upper = text.to_uppercase();
        if let Some(place) = place_of(columns, text).or_else(|| place_of(columns, &upper)) {
            return Ok(place);
        }

        let name = Name {
            text: text.to_owned(),
            at: self.places.get(index).copied().unwrap_or(self.at),
        };
        let known = columns.iter().map(|column| column.name.as_str());
        Err(unknown_column(&name, known))
    }

    /// The result of the function; each column stands at the function's offset.
    pub(super) fn planned(&self, plan: Plan, columns: Vec<ScopeColumn>) -> Planned {
        Planned {
            plan,
            places: vec![self.at; columns.len()],
            columns,
            own_rowtime: None,
        }
    }
}

fn without_quotes(text: &str) -> &str {
    text.strip_prefix('"')
        .and_then(|inner| inner.strip_suffix('"'))
        .unwrap_or(text)
}

fn place_of(columns: &[ScopeColumn], wanted: &str) -> Option<usize> {
    columns
        .iter()
        .position(|column| !column.hidden && column.name == wanted)
}

fn top_items(planned: Planned, arguments: &Arguments<'_>) -> Compiled<Planned> {
    let made = vec![
        ScopeColumn::rowtime(),
        visible("ITEM", SqlType::Varchar(1024)),
        visible("ITEM_COUNT", SqlType::BigInt),
    ];

    let most = arguments.size(1, 1..=100_000, 1)?;
    items(planned, arguments, Some(most), made)
}

fn distinct_items(planned: Planned, arguments: &Arguments<'_>) -> Compiled<Planned> {
    let made = vec![
        ScopeColumn::rowtime(),
        visible("NUMBER_OF_DISTINCT_ITEMS", SqlType::BigInt),
    ];
    items(planned, arguments, None, made)
}

/// A tumbling window over the items of one column. The last argument is the length in seconds.
fn items(
    planned: Planned,
    arguments: &Arguments<'_>,
    most: Option<usize>,
    made: Vec<ScopeColumn>,
) -> Compiled<Planned> {
    let column = arguments.column(0, &planned.columns)?;
    let last = arguments.values.len() - 1;
    let seconds = arguments.number(last, 1..=3600)?;

    let plan = ItemsPlan {
        column,
        sql_type: planned.columns[column].sql_type.clone(),
        input: planned.plan,
        most,
        length: seconds * 1000,
    };
    let plan = Plan::Items(Box::new(plan));
    Ok(arguments.planned(plan, made))
}

/// A column that a table function makes.
pub(super) fn visible(name: &str, sql_type: SqlType) -> ScopeColumn {
    ScopeColumn {
        name: name.to_owned(),
        sql_type,
        hidden: false,
        driver: None,
    }
}
