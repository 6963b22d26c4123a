//! A record is JSON exactly when serde_json says so; no row is lost without an error.
#![no_main]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use distributary_sql::{
    Application, Emitted, InputSchema, Processor, ProcessorSettings, Program, Record, Value,
};
use libfuzzer_sys::fuzz_target;

const SCHEMA: &str = r#"{
    "RecordColumns": [
        {"Name": "k", "SqlType": "VARCHAR(4)", "Mapping": "$.k"},
        {"Name": "n", "SqlType": "INTEGER", "Mapping": "$.a.n"},
        {"Name": "d", "SqlType": "DECIMAL(9,2)", "Mapping": "$.a.d"},
        {"Name": "t", "SqlType": "TIMESTAMP", "Mapping": "$.t"},
        {"Name": "x", "SqlType": "DOUBLE", "Mapping": "$.l[0:].x"}
    ],
    "RecordFormat": {"RecordFormatType": "JSON"}
}"#;

static PROGRAM: LazyLock<Arc<Program>> = LazyLock::new(|| {
    let code = r#"CREATE STREAM d (k VARCHAR(4), n INTEGER, d DECIMAL(9,2), t TIMESTAMP, x DOUBLE);
        CREATE PUMP p AS INSERT INTO d SELECT STREAM * FROM "SOURCE_SQL_STREAM_001";"#;
    let schema = InputSchema::from_json(SCHEMA).expect("the schema is fine");
    let application = Application::from_sql(code, schema);
    Arc::new(Program::compile(&application).expect("the code is fine"))
});

/// The documents of the input, or that it is not JSON.
fn documents(data: &[u8]) -> Result<Vec<serde_json::Value>, serde_json::Error> {
    serde_json::Deserializer::from_slice(data)
        .into_iter()
        .collect()
}

fn is_scalar(document: &serde_json::Value) -> bool {
    !document.is_object() && !document.is_array()
}

fuzz_target!(|data: &[u8]| {
    let bytes = Bytes::copy_from_slice(data);
    let record = Record {
        data: &bytes,
        arrival: 0,
        partition_key: "",
        sequence_number: "",
        shard_id: "",
        shard_index: 0,
    };
    let (mut rows, mut errors, mut not_json) = (0, 0, 0);
    let mut processor = Processor::new(PROGRAM.clone(), ProcessorSettings::default());
    let mut sink = |row: Emitted<'_>| {
        if row.stream != PROGRAM.error_stream() {
            rows += 1;
            return;
        }
        errors += 1;
        if row.values[3] != Value::Null && format!("{:?}", row.values[3]).contains("not JSON") {
            not_json += 1;
        }
    };
    processor.push(&record, &mut sink).expect("no state");

    assert!(not_json <= 1, "the rest of a broken record is left alone");
    match documents(data) {
        // A lone surrogate or a huge number is JSON by its grammar, but no value of serde_json's.
        Err(_) => {}
        Ok(documents) if documents.iter().all(serde_json::Value::is_object) => {
            let flattened = documents.iter().any(|document| document["l"].is_array());
            assert!(not_json == 0 || documents.is_empty(), "serde_json reads it");
            if !flattened {
                assert_eq!(
                    rows + errors,
                    documents.len().max(1),
                    "a result for each document"
                );
            }
        }
        Ok(documents) if documents.iter().any(is_scalar) => {
            assert!(errors > 0, "a document without rows is reported");
        }
        Ok(_) => {}
    }
});
