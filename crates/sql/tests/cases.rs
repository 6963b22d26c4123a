//! Runs every file in `tests/cases`.
//!
//! Line one says what is expected: `-- rows`, or `-- error CLASS L:C` (several with `; ` between
//! them). Then come lines of the header, each a comment of SQL, so that the whole file is the
//! application's code:
//!
//! - `-- column "a" INTEGER $.a`: a column of the input schema (the path may be left out),
//! - `-- schema {…}`: the whole InputSchema instead,
//! - `-- app {…}`: the whole application as JSON, in which the text `@` stands for this file,
//! - `-- table NAME {schema}` and `-- line NAME text`: a reference table and a line of it,
//! - `-- input …`: a line of the input, as `sql test` takes it,
//! - `-- output …`: an expected line, with a blank for the tab.

#![allow(clippy::expect_used)]

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use distributary_sql::harness::run_test;
use distributary_sql::{Application, InputSchema, Program, ReferenceSpec};

#[derive(Default)]
struct Case {
    expectation: String,
    columns: Vec<String>,
    schema: Option<String>,
    application: Option<String>,
    tables: Vec<(String, String, String)>,
    input: String,
    output: String,
}

fn read_case(text: &str) -> Case {
    let mut case = Case::default();
    for (number, line) in text.lines().enumerate() {
        let Some(header) = line.strip_prefix("-- ") else {
            continue;
        };
        if number == 0 {
            header.clone_into(&mut case.expectation);
            continue;
        }
        let (word, rest) = header.split_once(' ').unwrap_or((header, ""));
        match word {
            "column" => case.columns.push(rest.to_owned()),
            "schema" => case.schema = Some(rest.to_owned()),
            "app" => case.application = Some(rest.to_owned()),
            "table" => {
                let (name, schema) = rest.split_once(' ').expect("a name and a schema");
                case.tables
                    .push((name.to_owned(), schema.to_owned(), String::new()));
            }
            "line" => {
                let (name, content) = rest.split_once(' ').expect("a name and a line");
                let table = case.tables.iter_mut().find(|table| table.0 == name);
                let contents = &mut table.expect("the table is defined").2;
                contents.push_str(content);
                contents.push('\n');
            }
            "input" => {
                case.input.push_str(rest);
                case.input.push('\n');
            }
            "output" => {
                let (stream, row) = rest.split_once(" {").expect("a stream and a row");
                let _ = writeln!(case.output, "{stream}\t{{{row}");
            }
            _ => {}
        }
    }
    case
}

/// `"name" TYPE $.path` as a member of RecordColumns.
fn column_json(definition: &str) -> serde_json::Value {
    let rest = definition.strip_prefix('"').expect("a name in quotes");
    let (name, rest) = rest.split_once("\" ").expect("a name in quotes");
    let (sql_type, mapping) = match rest.split_once(" $") {
        Some((sql_type, path)) => (sql_type, Some(format!("${path}"))),
        None => (rest, None),
    };
    serde_json::json!({ "Name": name, "SqlType": sql_type, "Mapping": mapping })
}

fn application(case: &Case, code: &str) -> Result<Application, String> {
    if let Some(json) = &case.application {
        let code = serde_json::Value::String(code.to_owned()).to_string();
        return Application::from_json(&json.replace("\"@\"", &code));
    }

    let schema = match &case.schema {
        Some(schema) => schema.clone(),
        None => serde_json::json!({
            "RecordColumns": case.columns.iter().map(|column| column_json(column)).collect::<Vec<_>>(),
            "RecordFormat": { "RecordFormatType": "JSON" },
        })
        .to_string(),
    };
    Ok(Application::from_sql(
        code,
        InputSchema::from_json(&schema)?,
    ))
}

/// The errors as line one writes them, and the output.
fn run_case(case: &Case, code: &str) -> (String, String) {
    let mut application = match application(case, code) {
        Ok(application) => application,
        Err(message) => return ("error config 1:1".to_owned(), message),
    };
    for (name, schema, contents) in &case.tables {
        let schema = InputSchema::from_json(schema).expect("the table's schema");
        application.references.push(ReferenceSpec {
            name: name.clone(),
            schema,
            contents: Bytes::from(contents.clone()),
            location: None,
        });
    }
    let program = match Program::compile(&application) {
        Ok(program) => Arc::new(program),
        Err(errors) => {
            let found: Vec<String> = errors
                .0
                .iter()
                .map(|error| format!("{} {}:{}", error.class.word(), error.line, error.column))
                .collect();
            return (format!("error {}", found.join("; ")), errors.to_string());
        }
    };

    let mut output = Vec::new();
    run_test(&program, case.input.as_bytes(), &mut output).expect("the test runs");
    ("rows".to_owned(), String::from_utf8(output).expect("UTF-8"))
}

fn check(path: &Path) -> Result<(), String> {
    let code = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let case = read_case(&code);
    let (result, output) = run_case(&case, &code);
    if result != case.expectation {
        return Err(format!(
            "expected: {}\n   found: {result}\n{output}",
            case.expectation
        ));
    }
    if result == "rows" && output != case.output {
        return Err(format!("expected:\n{}found:\n{output}", case.output));
    }
    Ok(())
}

#[test]
fn every_case_gives_what_its_file_says() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder of cases")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sql"))
        .collect();
    paths.sort();
    assert!(!paths.is_empty(), "there are cases");

    let mut report = String::new();
    let mut failed = 0;
    for path in &paths {
        if let Err(difference) = check(path) {
            failed += 1;
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let _ = writeln!(report, "---- {name}\n{difference}");
        }
    }
    assert!(
        failed == 0,
        "{failed} of {} cases failed\n{report}",
        paths.len()
    );
}
