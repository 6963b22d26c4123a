//! Queries: SELECT, UNION ALL, DISTINCT, ORDER BY.

use super::aggregate::Groups;
use super::expression::{Binder, Stage, converted};
use super::monotonic::{Driver, driver, is_event_time};
use super::scope::{NameScope, ScopeColumn};
use super::window::{Windows, interval_length};
use crate::catalog::{Catalog, ROWTIME};
use crate::error::{Compiled, ErrorClass, Issue};
use crate::expr::Expr;
use crate::plan::{Closing, DistinctPlan, GroupPlan, Plan, SlidePlan, SortPlan, WindowPlan};
use crate::text::ast::{
    Ast, AstKind, Grouping, Name, OrderTerm, Query, QueryBody, Select, SelectItem,
};
use crate::types::SqlType;
use crate::value::Value;

/// A query with plan and columns; the first column is the ROWTIME.
pub(crate) struct Planned {
    pub(crate) plan: Plan,
    pub(crate) columns: Vec<ScopeColumn>,
    /// The place of the visible column that was aliased ROWTIME, if one was.
    pub(crate) own_rowtime: Option<usize>,
    /// The offset in the text of each column's expression.
    pub(crate) places: Vec<u32>,
}

impl Planned {
    /// The offset in the text of a column, or `otherwise` for a column without one.
    pub(super) fn place(&self, column: usize, otherwise: u32) -> u32 {
        self.places.get(column).copied().unwrap_or(otherwise)
    }
}

/// Plans the queries of one pump and collects their issues.
pub(crate) struct Planner<'a> {
    pub(crate) catalog: &'a Catalog,
    pub(crate) issues: Vec<Issue>,
}

/// A named select item.
pub(super) struct Item {
    name: String,
    expression: Expr,
    /// Whether the item was written `… AS ROWTIME`.
    sets_rowtime: bool,
    at: u32,
}

/// A select list over the rows under evaluation.
struct Selected {
    plan: Plan,
    items: Vec<Item>,
    order: Vec<(Expr, bool, u32)>,
    /// How the columns of the rows grow.
    drivers: Vec<Option<Driver>>,
}

impl Planned {
    /// The columns as select items of a query over this one.
    fn items(&self) -> Vec<Item> {
        let columns = self.columns.iter().zip(&self.places).enumerate();
        columns
            .skip(1)
            .map(|(index, (column, at))| Item {
                name: column.name.clone(),
                expression: Expr::column(index, column.sql_type.clone()),
                sets_rowtime: false,
                at: *at,
            })
            .collect()
    }
}

impl<'a> Planner<'a> {
    pub(crate) fn query(&mut self, query: &Query) -> Compiled<Planned> {
        match &query.body {
            QueryBody::Select(select) => self.select(select, &query.order_by),
            QueryBody::UnionAll(left, right) => {
                let planned = self.union_all(left, right, query.at)?;
                self.sorted_by_columns(planned, &query.order_by)
            }
        }
    }

    fn union_all(&mut self, left: &Query, right: &Query, at: u32) -> Compiled<Planned> {
        let left = self.query(left);
        let right = self.query(right)?;
        let left = left?;
        if left.columns.len() != right.columns.len() {
            let left = left.columns.len() - 1;
            let right = right.columns.len() - 1;
            let message =
                format!("UNION ALL of {left} and {right} columns; expected the same number");
            return Err(Issue::new(ErrorClass::ColumnCount, at, message));
        }

        let columns = united(left.columns, &right.columns, at)?;
        let left_plan = in_types(left.plan, &columns);
        let right_plan = in_types_of(right.plan, &right.columns, &columns);
        Ok(Planned {
            plan: Plan::UnionAll(Box::new(left_plan), Box::new(right_plan)),
            columns,
            own_rowtime: left.own_rowtime,
            places: left.places,
        })
    }

    fn sorted_by_columns(&mut self, planned: Planned, terms: &[OrderTerm]) -> Compiled<Planned> {
        if terms.is_empty() {
            return Ok(planned);
        }
        let scope = NameScope::of_query(String::new(), planned.columns.clone());
        let items = planned.items();
        let mut binder = Binder::new(self.catalog, &scope, Stage::Rows("ORDER BY"));
        let order = order_terms(&mut binder, terms, &items)?;
        let selected = Selected {
            plan: planned.plan,
            items,
            order,
            drivers: scope.drivers(),
        };
        finish(selected, None)
    }

    fn select(&mut self, select: &Select, terms: &[OrderTerm]) -> Compiled<Planned> {
        self.refuse_repeated_windows(select)?;
        let (plan, scope) = self.relation(&select.from, &select.windows)?;
        let (plan, failed) = self.where_clause(select, plan, &scope);

        let selected = self.selected(select, terms, plan, &scope);
        let Some(failed) = failed else {
            let distinct = select.distinct.then_some(select.at);
            return finish(selected?, distinct);
        };

        let Err(issue) = selected else {
            return Err(failed);
        };
        self.issues.push(failed);
        Err(issue)
    }

    fn selected(
        &mut self,
        select: &Select,
        terms: &[OrderTerm],
        plan: Plan,
        scope: &NameScope,
    ) -> Compiled<Selected> {
        match &select.grouping {
            Some(grouping) => self.grouped(select, grouping, terms, plan, scope),
            None => self.ungrouped(select, terms, plan, scope),
        }
    }

    /// The plan with the filter, and the issue of a WHERE that is wrong: the select list is checked
    /// all the same.
    fn where_clause(
        &mut self,
        select: &Select,
        plan: Plan,
        scope: &NameScope,
    ) -> (Plan, Option<Issue>) {
        let Some(filter) = &select.filter else {
            return (plan, None);
        };

        let stage = Stage::Rows("WHERE");
        let mut binder = Binder::new(self.catalog, scope, stage);
        let condition = binder.bind_condition(filter);
        self.issues.append(&mut binder.issues);
        match condition {
            Ok(condition) => (filtered(plan, condition), None),
            Err(issue) => (plan, Some(issue)),
        }
    }

    fn refuse_repeated_windows(&mut self, select: &Select) -> Compiled<()> {
        for (index, (name, _)) in select.windows.iter().enumerate() {
            let earlier = &select.windows[..index];
            if earlier.iter().any(|(other, _)| other.text == name.text) {
                let message = format!("the window \"{}\" is defined twice", name.text);
                return Err(Issue::new(ErrorClass::DuplicateName, name.at, message));
            }
        }
        Ok(())
    }

    fn ungrouped(
        &mut self,
        select: &Select,
        terms: &[OrderTerm],
        plan: Plan,
        scope: &NameScope,
    ) -> Compiled<Selected> {
        if let Some(having) = &select.having {
            let at = having.start;
            let message = "HAVING without groups; expected GROUP BY or WINDOWED BY";
            return Err(Issue::new(ErrorClass::MisplacedAggregate, at, message));
        }

        let stage = Stage::Items(Windows::new(&select.windows));
        let mut binder = Binder::new(self.catalog, scope, stage);
        let items = self.items(&mut binder, &select.items, scope)?;
        let order = order_terms(&mut binder, terms, &items)?;
        self.issues.append(&mut binder.issues);

        let functions = match binder.stage {
            Stage::Items(windows) => windows.functions,
            _ => Vec::new(),
        };
        let mut drivers = scope.drivers();
        drivers.resize(drivers.len() + functions.len(), None);
        Ok(Selected {
            plan: slid(plan, functions),
            items,
            order,
            drivers,
        })
    }

    fn grouped(
        &mut self,
        select: &Select,
        grouping: &Grouping,
        terms: &[OrderTerm],
        plan: Plan,
        scope: &NameScope,
    ) -> Compiled<Selected> {
        let mut rows = Binder::new(self.catalog, scope, Stage::Rows("GROUP BY"));
        let bound = bind_grouping(&mut rows, grouping, scope);
        self.issues.append(&mut rows.issues);
        let (keys, closing) = bound?;
        let mut drivers = group_drivers(&keys, &closing, scope);

        let stage = Stage::Grouped(Groups::new(keys));
        let mut binder = Binder::new(self.catalog, scope, stage);
        let items = self.items(&mut binder, &select.items, scope)?;
        let having = match &select.having {
            Some(having) => Some(binder.bind_condition(having)?),
            None => None,
        };
        let order = order_terms(&mut binder, terms, &items)?;
        self.issues.append(&mut binder.issues);

        let Stage::Grouped(groups) = binder.stage else {
            return Err(Issue::unsupported(select.at, "this grouping"));
        };
        drivers.resize(drivers.len() + groups.aggregates.len(), None);
        let grouped = Plan::Group(Box::new(GroupPlan {
            input: plan,
            keys: groups.keys,
            closing,
            aggregates: groups.aggregates,
        }));
        Ok(Selected {
            plan: match having {
                Some(condition) => filtered(grouped, condition),
                None => grouped,
            },
            items,
            order,
            drivers,
        })
    }

    /// All select items; the issues of all are collected.
    fn items(
        &mut self,
        binder: &mut Binder<'_>,
        items: &[SelectItem],
        scope: &NameScope,
    ) -> Compiled<Vec<Item>> {
        let mut bound = Vec::new();
        let mut failed = None;
        for item in items {
            match bind_item(binder, item, scope, bound.len()) {
                Ok(mut more) => bound.append(&mut more),
                Err(issue) => self.issues.extend(failed.replace(issue)),
            }
        }

        match failed {
            None => Ok(bound),
            Some(issue) => {
                self.issues.append(&mut binder.issues);
                Err(issue)
            }
        }
    }
}

/// The drivers of ROWTIME and the keys.
fn group_drivers(keys: &[Expr], closing: &Closing, scope: &NameScope) -> Vec<Option<Driver>> {
    let time = Driver::Time(Expr::column(0, SqlType::Timestamp));
    let mut drivers = vec![Some(time)];
    drivers.extend(keys.iter().map(|key| driver(key, &scope.drivers())));

    if let Closing::Key(index, by) = closing {
        drivers[1 + index] = Some(by.clone());
    }
    drivers
}

pub(super) fn filtered(plan: Plan, condition: Expr) -> Plan {
    Plan::Filter(Box::new(plan), condition)
}

/// The plan with windowed functions, if there are any.
fn slid(plan: Plan, functions: Vec<WindowPlan>) -> Plan {
    if functions.is_empty() {
        return plan;
    }

    Plan::Slide(Box::new(SlidePlan {
        input: plan,
        windows: functions,
    }))
}

/// The columns of a union, in types that take the values of both sides.
fn united(
    mut columns: Vec<ScopeColumn>,
    others: &[ScopeColumn],
    at: u32,
) -> Compiled<Vec<ScopeColumn>> {
    for (column, other) in columns.iter_mut().zip(others) {
        let Some(union) = column.sql_type.union(&other.sql_type) else {
            let types = format!("{} and {}", column.sql_type, other.sql_type);
            let message = format!("UNION ALL of {types} in column \"{}\"", column.name);
            return Err(Issue::mismatch(at, message));
        };

        column.sql_type = union;
        if column.driver != other.driver {
            column.driver = None;
        }
    }
    Ok(columns)
}

fn in_types(plan: Plan, columns: &[ScopeColumn]) -> Plan {
    in_types_of(plan, columns, columns)
}

/// The plan with the columns converted to other types.
fn in_types_of(plan: Plan, from: &[ScopeColumn], to: &[ScopeColumn]) -> Plan {
    let mut expressions = Vec::with_capacity(from.len());
    for (index, (from, to)) in from.iter().zip(to).enumerate() {
        let column = Expr::column(index, from.sql_type.clone());
        expressions.push(converted(column, &to.sql_type));
    }
    Plan::Project(Box::new(plan), expressions)
}

fn bind_item(
    binder: &mut Binder<'_>,
    item: &SelectItem,
    scope: &NameScope,
    place: usize,
) -> Compiled<Vec<Item>> {
    match item {
        SelectItem::All(at) => all_items(binder, scope, *at),
        SelectItem::AllOf(alias) => items_of(binder, scope, alias),
        SelectItem::Expression { value, alias } => {
            let item = expression_item(binder, value, alias.as_ref(), place)?;
            Ok(vec![item])
        }
    }
}

fn all_items(binder: &mut Binder<'_>, scope: &NameScope, at: u32) -> Compiled<Vec<Item>> {
    if scope.relations.iter().any(|relation| relation.broken) {
        // An issue about the relation is reported already.
        return Ok(Vec::new());
    }

    scope
        .visible()
        .map(|name| star_item(binder, &name, at))
        .collect()
}

fn items_of(binder: &mut Binder<'_>, scope: &NameScope, alias: &Name) -> Compiled<Vec<Item>> {
    let Some(relation) = scope.relation(&alias.text) else {
        let message = format!("no relation is called \"{}\"", alias.text);
        return Err(Issue::new(ErrorClass::UnknownColumn, alias.at, message));
    };

    let mut items = Vec::with_capacity(relation.columns.len());
    for column in &relation.columns {
        if !column.hidden {
            let path = [alias.text.clone(), column.name.clone()];
            items.push(star_item(binder, &path, alias.at)?);
        }
    }
    Ok(items)
}

fn expression_item(
    binder: &mut Binder<'_>,
    value: &Ast,
    alias: Option<&Name>,
    place: usize,
) -> Compiled<Item> {
    let expression = binder.bind(value)?;
    let sql_type = &expression.sql_type;
    let sets_rowtime = alias.is_some_and(|alias| alias.text == ROWTIME);
    if sets_rowtime && !matches!(sql_type, SqlType::Timestamp | SqlType::Null) {
        let message = format!("ROWTIME of {sql_type}; expected TIMESTAMP");
        return Err(Issue::mismatch(value.at, message));
    }

    Ok(Item {
        name: item_name(value, alias, place),
        expression,
        sets_rowtime,
        at: value.start,
    })
}

fn star_item(binder: &mut Binder<'_>, path: &[String], at: u32) -> Compiled<Item> {
    let mut names = Vec::with_capacity(path.len());
    for text in path {
        names.push(Name {
            text: text.clone(),
            at,
        });
    }

    let ast = Ast::new(at, AstKind::Name(names));
    Ok(Item {
        name: path.last().cloned().unwrap_or_default(),
        expression: binder.bind(&ast)?,
        sets_rowtime: false,
        at,
    })
}

fn item_name(value: &Ast, alias: Option<&Name>, place: usize) -> String {
    if let Some(alias) = alias {
        return alias.text.clone();
    }

    let last = match &value.kind {
        AstKind::Name(path) => path.last(),
        _ => None,
    };
    match last {
        Some(name) => name.text.clone(),
        None => format!("EXPR${place}"),
    }
}

/// The keys of a grouping and the end of the windows.
fn bind_grouping(
    binder: &mut Binder<'_>,
    grouping: &Grouping,
    scope: &NameScope,
) -> Compiled<(Vec<Expr>, Closing)> {
    match grouping {
        Grouping::By(list) => bind_keys(binder, list, scope),
        Grouping::Stagger { partition, range } => {
            let keys = binder.bind_all(partition)?;
            match interval_length(binder, range, "RANGE")? {
                0 => Err(Issue::mismatch(range.at, "RANGE wants a positive interval")),
                length => Ok((keys, Closing::Stagger(length))),
            }
        }
    }
}

fn bind_keys(
    binder: &mut Binder<'_>,
    list: &[Ast],
    scope: &NameScope,
) -> Compiled<(Vec<Expr>, Closing)> {
    let keys = binder.bind_all(list)?;
    let closing = closing_key(&keys, &scope.drivers());

    match closing {
        Some((index, by)) => {
            let closing = Closing::Key(index, by);
            Ok((keys, closing))
        }
        None => Err(nothing_grows(list)),
    }
}

fn nothing_grows(list: &[Ast]) -> Issue {
    let at = list.first().map_or(0, |first| first.start);
    let message = "no grouping expression grows with time; expected one such as \
                   FLOOR(s.ROWTIME TO MINUTE) or STEP(s.ROWTIME BY INTERVAL '10' SECOND)";
    Issue::new(ErrorClass::NotMonotonic, at, message)
}

/// The key by which windows close: one that grows with ROWTIME, else with MONOTONIC, else an event
/// time.
fn closing_key(keys: &[Expr], drivers: &[Option<Driver>]) -> Option<(usize, Driver)> {
    let mut by_rows = None;
    for (index, key) in keys.iter().enumerate() {
        match driver(key, drivers) {
            None => {}
            Some(Driver::Rows) => by_rows = by_rows.or(Some(index)),
            Some(by_time) => return Some((index, by_time)),
        }
    }

    let event_time = || keys.iter().position(is_event_time);
    let index = by_rows.or_else(event_time)?;
    Some((index, Driver::Rows))
}

/// The terms of ORDER BY: ordinals, aliases, or expressions over the rows.
fn order_terms(
    binder: &mut Binder<'_>,
    terms: &[OrderTerm],
    items: &[Item],
) -> Compiled<Vec<(Expr, bool, u32)>> {
    terms
        .iter()
        .map(|term| {
            let expression = order_expression(binder, &term.expression, items)?;
            Ok((expression, term.descending, term.expression.start))
        })
        .collect()
}

fn order_expression(binder: &mut Binder<'_>, ast: &Ast, items: &[Item]) -> Compiled<Expr> {
    let item = match &ast.kind {
        AstKind::Literal(Value::Integer(ordinal), _) => {
            let item = item_at(*ordinal, items, ast.at)?;
            Some(item)
        }
        AstKind::Name(path) => match path.as_slice() {
            [only] => {
                let mut items = items.iter();
                items.find(|item| item.name == only.text)
            }
            _ => None,
        },
        _ => None,
    };

    match item {
        Some(item) => Ok(item.expression.clone()),
        None => binder.bind(ast),
    }
}

/// The item with this number, from 1.
fn item_at(ordinal: i64, items: &[Item], at: u32) -> Compiled<&Item> {
    let item = usize::try_from(ordinal)
        .ok()
        .and_then(|ordinal| ordinal.checked_sub(1))
        .and_then(|place| items.get(place));

    item.ok_or_else(|| {
        let most = items.len();
        let message = format!("ORDER BY {ordinal}; expected 1 to {most}");
        Issue::new(ErrorClass::UnknownColumn, at, message)
    })
}

/// The projection of a select list, with DISTINCT and ORDER BY. `distinct` is the place of SELECT
/// DISTINCT.
fn finish(selected: Selected, distinct: Option<u32>) -> Compiled<Planned> {
    let own_rowtime = selected.items.iter().position(|item| item.sets_rowtime);
    let columns = selected.columns(own_rowtime.is_some());
    let expressions = selected.expressions(own_rowtime);
    let Selected {
        plan,
        items,
        order,
        drivers,
    } = selected;

    let sort = sort_driver(&order, &drivers)?;
    let mut plan = Plan::Project(Box::new(plan), expressions);
    if let Some(at) = distinct {
        plan = distinct_plan(plan, &items, &drivers, at)?;
    }
    if let Some(driver) = sort {
        plan = sorted(plan, columns.len(), &order, driver);
    }

    let mut places = vec![0];
    places.extend(items.iter().map(|item| item.at));
    Ok(Planned {
        plan,
        columns,
        own_rowtime: own_rowtime.map(|index| index + 1),
        places,
    })
}

fn sorted(plan: Plan, width: usize, order: &[(Expr, bool, u32)], driver: Driver) -> Plan {
    let descending = order.iter().map(|(_, descending, _)| *descending).collect();

    Plan::Sort(Box::new(SortPlan {
        input: plan,
        width,
        descending,
        driver,
    }))
}

impl Selected {
    /// The columns made. Under a ROWTIME of the query's own, no other column is known to grow.
    fn columns(&self, own_rowtime: bool) -> Vec<ScopeColumn> {
        let mut columns = vec![ScopeColumn::rowtime()];
        columns.extend(self.items.iter().map(|item| ScopeColumn {
            name: item.name.clone(),
            sql_type: item.expression.sql_type.clone(),
            hidden: false,
            driver: driver(&item.expression, &self.drivers).filter(|_| !own_rowtime),
        }));
        columns
    }

    /// ROWTIME, the items, the terms of ORDER BY.
    fn expressions(&self, own_rowtime: Option<usize>) -> Vec<Expr> {
        let time = own_rowtime.map_or_else(
            || Expr::column(0, SqlType::Timestamp),
            |index| self.items[index].expression.clone(),
        );
        let items = self.items.iter().map(|item| &item.expression);
        let terms = self.order.iter().map(|(expression, _, _)| expression);
        std::iter::once(time)
            .chain(items.chain(terms).cloned())
            .collect()
    }
}

/// The driver of the first term of ORDER BY.
fn sort_driver(
    order: &[(Expr, bool, u32)],
    drivers: &[Option<Driver>],
) -> Compiled<Option<Driver>> {
    let Some((first, descending, at)) = order.first() else {
        return Ok(None);
    };

    let by_rows = is_event_time(first).then_some(Driver::Rows);
    match driver(first, drivers).or(by_rows) {
        Some(driver) if !descending => Ok(Some(driver)),
        _ => {
            let message = "the first term of ORDER BY must grow with time, ascending; expected one \
                           such as ROWTIME or FLOOR(s.ROWTIME TO SECOND)";
            Err(Issue::new(ErrorClass::NotMonotonic, *at, message))
        }
    }
}

/// The item by which SELECT DISTINCT forgets.
fn driving_item(items: &[Item], drivers: &[Option<Driver>], at: u32) -> Compiled<usize> {
    let grows = |item: &Item| driver(&item.expression, drivers).is_some();
    let event_time = |item: &Item| is_event_time(&item.expression);
    let found = items.iter().position(grows);

    found
        .or_else(|| items.iter().position(event_time))
        .ok_or_else(|| {
            let message = "SELECT DISTINCT has no item that grows with time; expected one such \
                           as FLOOR(s.ROWTIME TO HOUR)";
            Issue::new(ErrorClass::NotMonotonic, at, message)
        })
}

fn distinct_plan(
    plan: Plan,
    items: &[Item],
    drivers: &[Option<Driver>],
    at: u32,
) -> Compiled<Plan> {
    let driving = driving_item(items, drivers, at)?;
    let rowtime = |item: &Item| item.expression == Expr::column(0, SqlType::Timestamp);
    let compared = (0..items.len())
        .filter(|index| !rowtime(&items[*index]))
        .map(|index| index + 1)
        .collect();

    Ok(Plan::Distinct(Box::new(DistinctPlan {
        input: plan,
        driving: driving + 1,
        compared,
    })))
}
