//! Rows a second of one core, and the memory of an open group. Linux only:
//! `cargo run --release -p distributary-sql --example rows`.

#![allow(clippy::expect_used, clippy::disallowed_methods)]

use std::sync::Arc;

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

const ROUNDS: u16 = 2000;
const GROUPS: u32 = 500_000;

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

/// Seconds of CPU that the process has used in user mode: other processes don't count.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("the process's figures");
    let (_, fields) = stat.rsplit_once(')').expect("a name in parentheses");
    let ticks = fields.split_whitespace().nth(11).expect("the time");
    ticks.parse::<f64>().expect("a number") / 100.0
}

/// Bytes of memory that the process holds.
fn resident() -> f64 {
    let memory = std::fs::read_to_string("/proc/self/statm").expect("the process's memory");
    let pages = memory.split_whitespace().nth(1).expect("the pages");
    pages.parse::<f64>().expect("a number") * 4096.0
}

fn processor(code: &str) -> Processor {
    let schema = InputSchema::from_json(SCHEMA).expect("the schema");
    let program = Program::compile(&Application::from_sql(code, schema)).expect("the code");
    Processor::new(Arc::new(program), ProcessorSettings::default())
}

fn push(processor: &mut Processor, data: &Bytes, arrival: i64, made: &mut u64) {
    let record = Record {
        data,
        arrival,
        partition_key: "k",
        sequence_number: "1",
        shard_id: "shardId-000000000000",
        shard_index: 0,
    };
    let mut sink = |_: Emitted<'_>| *made += 1;
    processor.push(&record, &mut sink).expect("small state");
}

fn measure(name: &str, code: &str, records: &[Bytes]) {
    let mut processor = processor(code);
    let mut made = 0;
    let started = cpu_seconds();

    for round in 0..ROUNDS {
        for data in records {
            push(&mut processor, data, i64::from(round) * 100, &mut made);
        }
    }
    let rows = f64::from(ROUNDS) * 1000.0;
    let rate = rows / (cpu_seconds() - started) / 1e6;
    println!("{name}: {rate:.2} M rows/s of CPU in, {made} rows out");
}

fn measure_groups() {
    let mut processor = processor(CASES[1].1);
    let mut made = 0;
    let before = resident();

    for key in 0..GROUPS {
        let data = Bytes::from(format!(r#"{{"ticker":"{key:08}"}}"#));
        push(&mut processor, &data, 0, &mut made);
    }
    let each = (resident() - before) / f64::from(GROUPS);
    println!("memory of an open group with a key of 8 characters: {each:.0} bytes");
}

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
        measure(name, code, &records);
    }
    measure_groups();
}
