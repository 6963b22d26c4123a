//! The statements of an application, in text order.

use std::sync::Arc;

use super::expression::{Binder, Stage, converted};
use super::insert::insert_plan;
use super::scope::NameScope;
use super::select::{Planned, Planner};
use crate::catalog::{Catalog, Column, ERROR_STREAM, Stream, StreamRole, UserFunction};
use crate::convert::assignable;
use crate::error::{Compiled, ErrorClass, Issue};
use crate::plan::Plan;
use crate::text::ast::{
    ColumnDefinition, Defined, FunctionDefinition, PumpDefinition, Statement, StatementKind,
};
use crate::types::SqlType;

/// A pump with a plan.
#[derive(Debug, Clone)]
pub(crate) struct BoundPump {
    pub(crate) name: String,
    pub(crate) stopped: bool,
    pub(crate) target: usize,
    pub(crate) plan: Plan,
}

/// Adds the application's streams and functions to the catalog, and plans the pumps.
pub(crate) fn bind_application(
    catalog: &mut Catalog,
    statements: &[Statement],
    issues: &mut Vec<Issue>,
) -> Vec<BoundPump> {
    let mut pumps = Vec::new();
    for (index, statement) in statements.iter().enumerate() {
        if let Err(issue) = refuse_repeated(statements, index) {
            issues.push(issue);
            continue;
        }
        if is_replaced(statements, index) {
            continue;
        }
        if let Err(issue) = bind_statement(catalog, statement, &mut pumps, issues) {
            issues.push(issue);
        }
    }
    refuse_circles(&pumps, catalog, statements, issues);
    pumps
}

fn defined(statement: &Statement) -> Defined {
    match &statement.kind {
        StatementKind::Stream(_) => Defined::Stream,
        StatementKind::Pump(_) => Defined::Pump,
        StatementKind::Function(_) => Defined::Function,
        StatementKind::Broken(defined) => *defined,
    }
}

fn same_thing(one: &Statement, other: &Statement) -> bool {
    let parameters = |statement: &Statement| match &statement.kind {
        StatementKind::Function(function) => {
            let types = function.parameters.iter();
            types.map(|(_, sql_type)| sql_type.clone()).collect()
        }
        _ => Vec::new(),
    };
    one.name.text == other.name.text
        && defined(one) == defined(other)
        && parameters(one) == parameters(other)
}

/// A second CREATE of a name needs OR REPLACE.
fn refuse_repeated(statements: &[Statement], index: usize) -> Compiled<()> {
    let statement = &statements[index];
    let earlier = statements[..index]
        .iter()
        .any(|other| same_thing(other, statement));
    if earlier && !statement.replace {
        let message = format!(
            "\"{}\" exists already; expected CREATE OR REPLACE or another name",
            statement.name.text
        );
        let at = statement.name.at;
        return Err(Issue::new(ErrorClass::DuplicateName, at, message));
    }
    Ok(())
}

/// Of several definitions of one pump or function the last one counts. A stream keeps its first
/// place: statements in between may use it.
fn is_replaced(statements: &[Statement], index: usize) -> bool {
    let statement = &statements[index];
    defined(statement) == Defined::Pump
        && statements[index + 1..]
            .iter()
            .any(|other| other.replace && same_thing(other, statement))
}

fn bind_statement(
    catalog: &mut Catalog,
    statement: &Statement,
    pumps: &mut Vec<BoundPump>,
    issues: &mut Vec<Issue>,
) -> Compiled<()> {
    match &statement.kind {
        StatementKind::Stream(columns) => add_stream(catalog, statement, columns, issues),
        StatementKind::Function(function) => {
            let bound = bind_function(catalog, function, issues);
            match bound {
                Ok(function) => {
                    let named = UserFunction {
                        name: statement.name.text.clone(),
                        ..function
                    };
                    let replaced = |known: &UserFunction| {
                        known.name == named.name && known.parameters == named.parameters
                    };
                    catalog.functions.retain(|known| !replaced(known));
                    catalog.functions.push(named);
                    Ok(())
                }
                Err(issue) => {
                    catalog.broken_functions.push(statement.name.text.clone());
                    Err(issue)
                }
            }
        }
        StatementKind::Pump(pump) => {
            let bound = bind_pump(catalog, pump, issues)?;
            pumps.push(BoundPump {
                name: statement.name.text.clone(),
                ..bound
            });
            Ok(())
        }
        StatementKind::Broken(Defined::Stream) => {
            put_stream(catalog, in_application(statement, Vec::new(), true));
            Ok(())
        }
        StatementKind::Broken(Defined::Function) => {
            catalog.broken_functions.push(statement.name.text.clone());
            Ok(())
        }
        StatementKind::Broken(Defined::Pump) => Ok(()),
    }
}

fn in_application(statement: &Statement, columns: Vec<Column>, broken: bool) -> Stream {
    Stream {
        name: statement.name.text.clone(),
        role: StreamRole::InApplication,
        columns,
        broken,
    }
}

fn put_stream(catalog: &mut Catalog, stream: Stream) {
    let known = catalog
        .streams
        .iter_mut()
        .find(|known| known.name == stream.name);
    match known {
        Some(known) => *known = stream,
        None => catalog.streams.push(stream),
    }
}

fn add_stream(
    catalog: &mut Catalog,
    statement: &Statement,
    definitions: &[ColumnDefinition],
    issues: &mut Vec<Issue>,
) -> Compiled<()> {
    let name = &statement.name;
    if name.text.eq_ignore_ascii_case(ERROR_STREAM) {
        let message = "error_stream belongs to the runtime; expected another name";
        return Err(Issue::new(ErrorClass::ReservedName, name.at, message));
    }
    let taken = catalog
        .stream(&name.text)
        .is_some_and(|(_, stream)| stream.role == StreamRole::Input);
    if taken || catalog.table(&name.text).is_some() {
        let message = format!("\"{}\" is an input of the application", name.text);
        return Err(Issue::new(ErrorClass::DuplicateName, name.at, message));
    }

    let mut columns: Vec<Column> = Vec::with_capacity(definitions.len());
    for definition in definitions {
        if columns
            .iter()
            .any(|column| column.name == definition.name.text)
        {
            let message = format!("the column \"{}\" is defined twice", definition.name.text);
            issues.push(Issue::new(
                ErrorClass::DuplicateName,
                definition.name.at,
                message,
            ));
        }
        columns.push(Column {
            name: definition.name.text.clone(),
            sql_type: definition.sql_type.clone(),
            not_null: definition.not_null,
        });
    }
    put_stream(catalog, in_application(statement, columns, false));
    Ok(())
}

fn bind_function(
    catalog: &Catalog,
    function: &FunctionDefinition,
    issues: &mut Vec<Issue>,
) -> Compiled<UserFunction> {
    let scope = NameScope {
        parameters: function
            .parameters
            .iter()
            .map(|(name, sql_type)| (name.text.clone(), sql_type.clone()))
            .collect(),
        ..NameScope::default()
    };
    let mut binder = Binder::new(catalog, &scope, Stage::Rows("a function"));
    let body = binder.bind(&function.body);
    issues.append(&mut binder.issues);
    let body = body?;
    if !assignable(&body.sql_type, &function.returns) {
        let message = format!(
            "the function gives {}; expected {} as declared",
            body.sql_type, function.returns
        );
        return Err(Issue::mismatch(function.body.at, message));
    }

    Ok(UserFunction {
        name: String::new(),
        parameters: scope
            .parameters
            .into_iter()
            .map(|(_, sql_type)| sql_type)
            .collect(),
        returns: function.returns.clone(),
        null_on_null: function.null_on_null,
        body: Arc::new(converted(body, &function.returns)),
    })
}

fn bind_pump(
    catalog: &Catalog,
    pump: &PumpDefinition,
    issues: &mut Vec<Issue>,
) -> Compiled<BoundPump> {
    let target = target_stream(catalog, pump);
    let mut planner = Planner {
        catalog,
        issues: Vec::new(),
    };
    let planned = planner.query(&pump.query);
    issues.append(&mut planner.issues);
    let (target, planned) = match (target, planned) {
        (Ok(target), Ok(planned)) => (target, planned),
        (Err(first), Err(second)) => {
            issues.push(first);
            return Err(second);
        }
        (Err(issue), Ok(_)) | (Ok(_), Err(issue)) => return Err(issue),
    };

    let stream = &catalog.streams[target];
    let plan = if stream.broken {
        planned.plan
    } else {
        let at = pump.query.at;
        insert_plan(planned, stream, pump.columns.as_deref(), at, issues)?
    };
    Ok(BoundPump {
        name: String::new(),
        stopped: pump.stopped,
        target,
        plan,
    })
}

/// Names and types of the columns of a pump's query, whose target does not exist yet.
pub(crate) fn query_columns(
    catalog: &Catalog,
    statements: &[Statement],
    issues: &mut Vec<Issue>,
) -> Vec<(String, SqlType)> {
    let Some(pump) = first_pump(statements) else {
        return Vec::new();
    };

    let mut planner = Planner {
        catalog,
        issues: Vec::new(),
    };
    let planned = planner.query(&pump.query);
    issues.append(&mut planner.issues);
    match planned {
        Ok(planned) => visible_columns(planned),
        Err(issue) => {
            issues.push(issue);
            Vec::new()
        }
    }
}

fn visible_columns(planned: Planned) -> Vec<(String, SqlType)> {
    let visible = planned.columns.into_iter().skip(1);
    visible
        .map(|column| (column.name, column.sql_type))
        .collect()
}

fn first_pump(statements: &[Statement]) -> Option<&PumpDefinition> {
    let mut kinds = statements.iter().map(|statement| &statement.kind);
    kinds.find_map(|kind| match kind {
        StatementKind::Pump(pump) => Some(pump.as_ref()),
        _ => None,
    })
}

fn target_stream(catalog: &Catalog, pump: &PumpDefinition) -> Compiled<usize> {
    let name = &pump.target;
    match catalog.stream(&name.text) {
        Some((index, stream)) if stream.role == StreamRole::InApplication => Ok(index),
        Some(_) => {
            let message = "the target is an input; expected a stream that CREATE STREAM makes";
            Err(Issue::new(ErrorClass::ReservedName, name.at, message))
        }
        None => {
            let known = catalog.streams.iter().map(|stream| stream.name.as_str());
            let what = "at this point no CREATE STREAM has made";
            Err(Issue::unknown(ErrorClass::UnknownStream, name, what, known))
        }
    }
}

/// Pumps that feed each other in a circle would never come to rest.
fn refuse_circles(
    pumps: &[BoundPump],
    catalog: &Catalog,
    statements: &[Statement],
    issues: &mut Vec<Issue>,
) {
    let mut reached = vec![vec![false; catalog.streams.len()]; catalog.streams.len()];
    for pump in pumps {
        for source in pump.plan.scans() {
            reached[source][pump.target] = true;
        }
    }
    for middle in 0..reached.len() {
        for from in 0..reached.len() {
            if reached[from][middle] {
                let onward = reached[middle].clone();
                for (to, reaches) in onward.into_iter().enumerate() {
                    reached[from][to] |= reaches;
                }
            }
        }
    }

    for pump in pumps {
        let circular = pump
            .plan
            .scans()
            .into_iter()
            .any(|source| source == pump.target || reached[pump.target][source]);
        if circular {
            let at = statements
                .iter()
                .find(|statement| statement.name.text == pump.name)
                .map_or(0, |statement| statement.name.at);
            issues.push(Issue::unsupported(at, "a circle of pumps"));
        }
    }
}
