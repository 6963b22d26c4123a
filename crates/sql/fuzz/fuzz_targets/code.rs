//! Any text compiles, or has errors with a place in the text; a program that compiles runs.
#![no_main]

use distributary_sql::{Application, InputSchema, Program, harness};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

const SCHEMA: &str = r#"{
    "RecordColumns": [
        {"Name": "k", "SqlType": "VARCHAR(4)"},
        {"Name": "n", "SqlType": "INTEGER"}
    ],
    "RecordFormat": {"RecordFormatType": "JSON"}
}"#;

const INPUT: &[u8] = br#"{"k":"a","n":1}
{"t":60000,"json":{"k":"b","n":0}}
{"bound":200000}
"#;

fuzz_target!(|code: &str| {
    let schema = InputSchema::from_json(SCHEMA).expect("the schema is fine");
    match Program::compile(&Application::from_sql(code, schema)) {
        Ok(program) => {
            let mut output = Vec::new();
            let _ = harness::run_test(&Arc::new(program), INPUT, &mut output);
        }
        Err(errors) => {
            assert!(!errors.0.is_empty(), "a failure has errors");
            for error in &errors.0 {
                assert!(
                    error.line <= code.matches('\n').count() + 1,
                    "the line exists"
                );
                assert!(!error.to_string().is_empty(), "the error has a text");
            }
        }
    }
});
