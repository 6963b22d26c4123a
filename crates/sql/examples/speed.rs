//! Rows a second of one core: `cargo run --release -p distributary-sql --example speed`.

#![allow(clippy::expect_used, clippy::disallowed_methods)]

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use distributary_sql::{
    Application, Emitted, InputSchema, Processor, ProcessorSettings, Program, Record,
};

const SCHEMA: &str = r#"{
    "RecordColumns": [
        {"Name": "ticker", "SqlType": "VARCHAR(8)"},
        {"Name": "price", "SqlType": "DOUBLE"},
        {"Name": "sector", "SqlType": "VARCHAR(16)"},
        {"Name": "note", "SqlType": "VARCHAR(64)"}
    ],
    "RecordFormat": {"RecordFormatType": "JSON"}
}"#;

const CASES: [(&str, &str); 3] = [
    (
        "filter and project",
        r#"CREATE STREAM d (ticker VARCHAR(8), price DOUBLE);
           CREATE PUMP p AS INSERT INTO d SELECT STREAM "ticker", "price"
           FROM "SOURCE_SQL_STREAM_001" WHERE "sector" = 'TECHNOLOGY';"#,
    ),
    (
        "tumbling count by key",
        r#"CREATE STREAM d (ticker VARCHAR(8), c BIGINT);
           CREATE PUMP p AS INSERT INTO d SELECT STREAM "ticker", COUNT(*)
           FROM "SOURCE_SQL_STREAM_001" AS s GROUP BY "ticker", FLOOR(s.ROWTIME TO MINUTE);"#,
    ),
    (
        "sliding average by key",
        r#"CREATE STREAM d (ticker VARCHAR(8), a DOUBLE);
           CREATE PUMP p AS INSERT INTO d SELECT STREAM "ticker", AVG("price") OVER w
           FROM "SOURCE_SQL_STREAM_001" WINDOW w AS (PARTITION BY "ticker" ROWS 9 PRECEDING);"#,
    ),
];

fn main() {
    let padding = "x".repeat(200);
    let records: Vec<Bytes> = (0..1000)
        .map(|number| {
            let sector = if number % 4 == 0 { "TECHNOLOGY" } else { "ENERGY" };
            Bytes::from(format!(
                r#"{{"ticker":"T{:03}","price":{}.25,"sector":"{sector}","change":-0.5,"id":{number},"tags":["a","b"],"note":"{padding}"}}"#,
                number % 100,
                number % 500
            ))
        })
        .collect();
    println!("{} bytes a record", records[0].len());

    for (name, code) in CASES {
        let schema = InputSchema::from_json(SCHEMA).expect("the schema");
        let program = Program::compile(&Application::from_sql(code, schema)).expect("the code");
        let mut processor = Processor::new(Arc::new(program), ProcessorSettings::default());
        let mut made = 0_u64;
        let started = Instant::now();

        let rounds = 2000_i64;
        for round in 0..rounds {
            for data in &records {
                let record = Record {
                    data,
                    arrival: round * 10,
                    partition_key: "k",
                    sequence_number: "1",
                    shard_id: "shardId-000000000000",
                    shard_index: 0,
                };
                let mut sink = |_: Emitted<'_>| made += 1;
                processor.push(&record, &mut sink).expect("small state");
            }
        }
        let seconds = started.elapsed().as_secs_f64();
        let rows = f64::from(u32::try_from(rounds).expect("small")) * 1000.0;
        println!(
            "{name}: {:.2} M rows/s in, {made} rows out",
            rows / seconds / 1e6
        );
    }
}
