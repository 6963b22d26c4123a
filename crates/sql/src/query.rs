//! A query without CREATE statements: the stream that takes the rows is made from the query.

use std::collections::BTreeSet;

use crate::application::Application;
use crate::bind::query_columns;
use crate::catalog::Catalog;
use crate::error::{CompileErrors, ErrorClass, Issue};
use crate::program::add_inputs;
use crate::text::parse;
use crate::types::SqlType;

/// The statement before a query. The name of the stream is that of no input.
const PUMP: &str = r#"CREATE PUMP "QUERY" AS INSERT INTO "ROWS" "#;

/// Puts the code `CREATE STREAM … ; CREATE PUMP … AS INSERT INTO … query` in place of a bare query,
/// which is the code of `application`. Code that has statements stays as it is.
///
/// # Errors
/// All errors of the query, with line and column in the query.
pub fn application_of_query(application: Application) -> Result<Application, CompileErrors> {
    let query = application.code.trim_end().trim_end_matches(';');
    if starts_with_create(query) {
        return Ok(application);
    }

    let code = format!("{PUMP}{query}");
    let columns = columns(&application, query, &code)?;
    Ok(Application {
        code: format!("CREATE STREAM \"ROWS\" ({columns}); {code}"),
        ..application
    })
}

fn starts_with_create(code: &str) -> bool {
    let (statements, _) = parse(code);
    !statements.is_empty()
}

/// The definitions of the query's columns.
fn columns(application: &Application, query: &str, code: &str) -> Result<String, CompileErrors> {
    let mut catalog = Catalog {
        aliases: application.aliases.clone(),
        ..Catalog::default()
    };
    add_inputs(&mut catalog, application)?;

    let (statements, mut issues) = parse(code);
    let found = query_columns(&catalog, &statements, &mut issues);
    let mut definitions = Vec::with_capacity(found.len());
    let mut names = BTreeSet::new();
    for (name, sql_type) in found {
        match column_type(&name, sql_type) {
            Ok(sql_type) => {
                let name = free_name(&mut names, &name).replace('"', "\"\"");
                definitions.push(format!("\"{name}\" {sql_type}"));
            }
            Err(issue) => issues.push(issue),
        }
    }
    if issues.is_empty() {
        return Ok(definitions.join(", "));
    }
    let moved = issues.into_iter().map(|issue| Issue {
        at: issue
            .at
            .saturating_sub(u32::try_from(PUMP.len()).unwrap_or(0)),
        ..issue
    });
    Err(CompileErrors::locate(query, moved.collect()))
}

fn column_type(name: &str, sql_type: SqlType) -> Result<SqlType, Issue> {
    match sql_type {
        SqlType::Null => Ok(SqlType::Varchar(1)),
        SqlType::Interval(_) | SqlType::Row(_) => {
            let message = format!("\"{name}\" is {sql_type}, which no column can be; use CAST");
            Err(Issue::new(ErrorClass::TypeMismatch, 0, message))
        }
        other => Ok(other),
    }
}

/// `name`, or a variant that no column before has.
fn free_name(names: &mut BTreeSet<String>, name: &str) -> String {
    let mut free = name.to_owned();
    let mut number = 2;
    while !names.insert(free.clone()) {
        free = format!("{name}_{number}");
        number += 1;
    }
    free
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{InputSchema, Program};

    const SCHEMA: &str = r#"{
        "RecordColumns": [
            {"Name": "log", "SqlType": "VARCHAR(16)"}, {"Name": "n", "SqlType": "INTEGER"}
        ],
        "RecordFormat": {"RecordFormatType": "JSON"}
    }"#;

    fn application(query: &str) -> Result<Application, String> {
        let mut application = Application::from_sql(query, InputSchema::from_json(SCHEMA).unwrap());
        application.aliases = vec!["ORDERS".to_owned()];
        application_of_query(application).map_err(|errors| errors.to_string())
    }

    fn columns_of(query: &str) -> Vec<String> {
        let program = Program::compile(&application(query).unwrap()).unwrap();
        let stream = &program.streams()[1];
        let columns = stream.columns.iter();
        columns
            .map(|column| format!("{} {}", column.name, column.sql_type))
            .collect()
    }

    #[test]
    fn the_columns_of_a_query_make_a_stream() {
        assert_eq!(
            columns_of(r#"SELECT STREAM "log", "n" + 1 AS more, "log" FROM orders;"#),
            ["log VARCHAR(16)", "MORE INTEGER", "log_2 VARCHAR(16)"]
        );
        assert_eq!(
            columns_of(
                r#"SELECT COUNT(*) AS c FROM orders AS o GROUP BY FLOOR(o.ROWTIME TO MINUTE)"#
            ),
            ["C BIGINT"]
        );
    }

    #[test]
    fn errors_have_the_place_in_the_query() {
        let errors = application("SELECT STREAM\n  \"lag\" FROM orders").unwrap_err();
        assert!(
            errors.contains("error[unknown-column]: line 2, column 3"),
            "{errors}"
        );
    }
}
