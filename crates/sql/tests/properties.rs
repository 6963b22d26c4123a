//! Properties that hold for every input: cuts, restarts and optimisations change no row.

#![allow(clippy::expect_used)]

use std::sync::Arc;

use bytes::Bytes;
use distributary_sql::{
    Application, Emitted, InputSchema, Processor, ProcessorSettings, Program, Record, RowFormat,
    Selection, StatelessProcessor, write_json_row,
};
use proptest::prelude::*;

const SCHEMA: &str = r#"{
    "RecordColumns": [
        {"Name": "k", "SqlType": "VARCHAR(4)"},
        {"Name": "n", "SqlType": "INTEGER"},
        {"Name": "x", "SqlType": "DOUBLE"}
    ],
    "RecordFormat": {"RecordFormatType": "JSON"}
}"#;

/// Queries with every operator that keeps state.
const STATEFUL: &[(&str, &str)] = &[
    (
        "k VARCHAR(4), c BIGINT, s BIGINT, m DOUBLE",
        r#"SELECT STREAM "k", COUNT(*), SUM("n"), MAX("x") FROM "SOURCE_SQL_STREAM_001" AS s
           GROUP BY FLOOR(s.ROWTIME TO MINUTE), "k""#,
    ),
    (
        "k VARCHAR(4), c BIGINT",
        r#"SELECT STREAM "k", COUNT(DISTINCT "n") FROM "SOURCE_SQL_STREAM_001"
           WINDOWED BY STAGGER (PARTITION BY "k" RANGE INTERVAL '20' SECOND)"#,
    ),
    (
        "a DOUBLE, b INTEGER, c INTEGER, d BIGINT",
        r#"SELECT STREAM AVG("x") OVER w, MIN("n") OVER w, LAG("n", 2, 0) OVER v,
                  COUNT("n") OVER v FROM "SOURCE_SQL_STREAM_001"
           WINDOW w AS (PARTITION BY "k" RANGE INTERVAL '15' SECOND PRECEDING),
                  v AS (ROWS 3 PRECEDING)"#,
    ),
    (
        "w TIMESTAMP, k VARCHAR(4)",
        r#"SELECT STREAM DISTINCT FLOOR(s.ROWTIME TO MINUTE), "k" FROM "SOURCE_SQL_STREAM_001" AS s"#,
    ),
    (
        "k VARCHAR(4), n INTEGER",
        r#"SELECT STREAM "k", "n" FROM "SOURCE_SQL_STREAM_001" AS s
           ORDER BY STEP(s.ROWTIME BY INTERVAL '10' SECOND), "n" DESC"#,
    ),
    (
        "a INTEGER, b INTEGER",
        r#"SELECT STREAM l."n", r."n" FROM "SOURCE_SQL_STREAM_001"
               OVER (RANGE INTERVAL '5' SECOND PRECEDING) AS l
           JOIN "SOURCE_SQL_STREAM_001" OVER (ROWS 2 PRECEDING) AS r ON l."k" = r."k""#,
    ),
    (
        "a INTEGER, b INTEGER",
        r#"SELECT STREAM l."n", r."n" FROM
           (SELECT STREAM "n" FROM "SOURCE_SQL_STREAM_001" WHERE "k" = 'a')
               OVER (RANGE INTERVAL '5' SECOND PRECEDING) AS l
           FULL JOIN (SELECT STREAM "n" FROM "SOURCE_SQL_STREAM_001" WHERE "k" = 'b')
               OVER (RANGE INTERVAL '9' SECOND PRECEDING) AS r ON l."n" = r."n""#,
    ),
    (
        "i VARCHAR(1024), c BIGINT",
        r#"SELECT STREAM ITEM, ITEM_COUNT FROM TABLE(TOP_K_ITEMS_TUMBLING(
           CURSOR(SELECT STREAM * FROM "SOURCE_SQL_STREAM_001"), 'k', 2, 30))"#,
    ),
    (
        "k VARCHAR(4), s DOUBLE, e VARCHAR(200)",
        r#"SELECT STREAM "k", ANOMALY_SCORE, ANOMALY_EXPLANATION
           FROM TABLE(RANDOM_CUT_FOREST_WITH_EXPLANATION(
               CURSOR(SELECT STREAM * FROM "SOURCE_SQL_STREAM_001"), 3, 10, 100, 2, TRUE))"#,
    ),
    (
        "k VARCHAR(4), n INTEGER, r INTEGER",
        r#"SELECT STREAM "k", "n", "groupRank" FROM TABLE(GROUP_RANK(
           CURSOR(SELECT STREAM * FROM "SOURCE_SQL_STREAM_001"), 'n', 'r', 'asc', 'asc', 0, 3))"#,
    ),
    (
        "k VARCHAR(4), a DOUBLE",
        r#"SELECT STREAM "k", EXP_AVG("x", INTERVAL '3' SECOND) OVER
           (PARTITION BY "k" RANGE INTERVAL '15' SECOND PRECEDING) FROM "SOURCE_SQL_STREAM_001""#,
    ),
];

fn compile(code: &str) -> Arc<Program> {
    let schema = InputSchema::from_json(SCHEMA).expect("the schema");
    let application = Application::from_sql(code, schema);
    Arc::new(Program::compile(&application).expect("the code compiles"))
}

fn pump(columns: &str, query: &str) -> Arc<Program> {
    compile(&format!(
        "CREATE STREAM d ({columns}); CREATE PUMP p AS INSERT INTO d {query};"
    ))
}

/// A step of the input: milliseconds since the step before, and a record unless time alone moves.
#[derive(Debug, Clone)]
struct Step {
    later: i64,
    data: Option<String>,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let record = (0..4_u8, -3..4_i32, 0..5_u8).prop_map(|(key, number, kind)| {
        let key = ["a", "b", "c", "d"][usize::from(key)];
        Some(match kind {
            0 => format!(r#"{{"k":"{key}"}}"#),
            1 => r#"{"n":"bad"}"#.to_owned(),
            _ => format!(
                r#"{{"k":"{key}","n":{number},"x":{}}}"#,
                f64::from(number) / 8.0
            ),
        })
    });
    let data = prop_oneof![8 => record, 1 => Just(None)];
    let step = (0..20_000_i64, data).prop_map(|(later, data)| Step { later, data });
    prop::collection::vec(step, 0..40)
}

struct Run {
    program: Arc<Program>,
    processor: Processor,
    time: i64,
    output: Vec<u8>,
}

impl Run {
    fn new(program: &Arc<Program>) -> Self {
        Self {
            program: program.clone(),
            processor: Processor::new(program.clone(), ProcessorSettings::default()),
            time: 0,
            output: Vec::new(),
        }
    }

    fn step(&mut self, step: &Step) {
        self.time += step.later;
        let (program, output) = (&self.program, &mut self.output);
        let mut sink = |row: Emitted<'_>| {
            let stream = row.definition(program);
            output.extend_from_slice(format!("{} {} ", stream.name, row.rowtime).as_bytes());
            write_json_row(&stream.columns, row.values, output);
            output.push(b'\n');
        };
        match &step.data {
            None => self.processor.advance(self.time, &mut sink),
            Some(data) => {
                let data = Bytes::from(data.clone());
                self.processor.push(&record(&data, self.time), &mut sink)
            }
        }
        .expect("the state is small");
    }

    /// As after a crash: a new processor with the state of a snapshot.
    fn restart(&mut self) {
        let snapshot = self.processor.snapshot().expect("a snapshot");
        let settings = ProcessorSettings::default();
        self.processor = Processor::new(self.program.clone(), settings);
        self.processor.restore(&snapshot).expect("the snapshot");
    }
}

fn record(data: &Bytes, arrival: i64) -> Record<'_> {
    Record {
        data,
        arrival,
        partition_key: "key",
        sequence_number: "1",
        shard_id: "shardId-000000000000",
        shard_index: 0,
    }
}

/// The data of all rows of stream `d` and of `error_stream`, with the record of each.
fn applied(program: &Arc<Program>, records: &[Bytes], cuts: &[usize]) -> Vec<(usize, Vec<u8>)> {
    let mut processor = StatelessProcessor::new(program.clone(), ProcessorSettings::default())
        .expect("the program is stateless");
    let selections: Vec<Selection> = program
        .stream_named("D")
        .into_iter()
        .chain([program.error_stream()])
        .map(|stream| Selection {
            stream,
            format: RowFormat::Json,
            key: None,
        })
        .collect();

    let mut rows = Vec::new();
    let mut start = 0;
    for end in cuts.iter().copied().chain([records.len()]) {
        let end = end.clamp(start, records.len());
        let batch: Vec<Record<'_>> = records[start..end]
            .iter()
            .enumerate()
            .map(|(index, data)| record(data, i64::try_from((start + index) % 7).expect("small")))
            .collect();
        for selected in processor.apply(&batch, &selections) {
            for (record, place) in selected.rows() {
                let number = start + usize::try_from(record).expect("small");
                rows.push((number, selected.data()[place].to_vec()));
            }
        }
        start = end;
    }
    rows.sort();
    rows
}

/// An arithmetic or logical expression of small numbers, with `?` in the place of each of them.
fn expressions() -> impl Strategy<Value = (String, Vec<i32>)> {
    let leaf = (-3..4_i32).prop_map(|number| ("?".to_owned(), vec![number]));
    leaf.prop_recursive(4, 24, 3, |inner| {
        let form = prop::sample::select(vec![
            "(% + %)",
            "(% - %)",
            "(% * %)",
            "(% / %)",
            "MOD(%, %)",
            "CASE WHEN % > % THEN 1 ELSE 2 END",
            "NULLIF(%, %)",
            "COALESCE(NULLIF(%, 0), %)",
            "CASE WHEN % IN (1, %) AND TRUE THEN 3 END",
            "CAST(CAST(% AS VARCHAR(9)) || '1' AS INTEGER) + %",
        ]);
        (form, inner.clone(), inner).prop_map(|(form, left, right)| {
            let text = form.replacen('%', &left.0, 1).replacen('%', &right.0, 1);
            (text, [left.1, right.1].concat())
        })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_restart_changes_no_row(steps in steps(), cut in any::<prop::sample::Index>()) {
        let cut = cut.index(steps.len() + 1);
        for (columns, text) in STATEFUL {
            let program = pump(columns, text);
            let mut whole = Run::new(&program);
            let mut restarted = Run::new(&program);

            for (index, step) in steps.iter().enumerate() {
                whole.step(step);
                if index == cut {
                    restarted.restart();
                }
                restarted.step(step);
            }
            prop_assert_eq!(
                String::from_utf8_lossy(&whole.output),
                String::from_utf8_lossy(&restarted.output)
            );
        }
    }

    #[test]
    fn a_cut_of_a_batch_changes_no_row(
        steps in steps(),
        mut cuts in prop::collection::vec(0..40_usize, 0..4),
    ) {
        let program = pump(
            "k VARCHAR(4), v INTEGER, t TIMESTAMP",
            r#"SELECT STREAM "k", 6 / "n", ROWTIME FROM "SOURCE_SQL_STREAM_001" WHERE "k" <> 'c'"#,
        );
        let records: Vec<Bytes> = steps
            .into_iter()
            .filter_map(|step| step.data.map(Bytes::from))
            .collect();
        cuts.sort_unstable();

        prop_assert_eq!(applied(&program, &records, &[]), applied(&program, &records, &cuts));
    }

    #[test]
    fn constants_are_folded_to_what_their_rows_would_give((text, numbers) in expressions()) {
        let columns: Vec<String> = (0..numbers.len())
            .map(|index| format!(r#"{{"Name":"c{index}","SqlType":"INTEGER"}}"#))
            .collect();
        let schema = format!(
            r#"{{"RecordColumns":[{},{{"Name":"z","SqlType":"INTEGER"}}],
                "RecordFormat":{{"RecordFormatType":"JSON"}}}}"#,
            columns.join(",")
        );
        let data: Vec<String> = numbers
            .iter()
            .enumerate()
            .map(|(index, number)| format!(r#""c{index}":{number}"#))
            .collect();
        let records = [Bytes::from(format!("{{{}}}", data.join(",")))];

        let value = |leaf: &dyn Fn(usize) -> String| {
            let mut text = text.clone();
            for index in 0..numbers.len() {
                text = text.replacen('?', &leaf(index), 1);
            }
            let code = format!(
                "CREATE STREAM d (v INTEGER);
                 CREATE PUMP p AS INSERT INTO d SELECT STREAM {text} FROM \"SOURCE_SQL_STREAM_001\";"
            );
            let schema = InputSchema::from_json(&schema).expect("the schema");
            let program = Program::compile(&Application::from_sql(&code, schema));
            applied(&Arc::new(program.expect("the code compiles")), &records, &[])
        };
        let folded = value(&|index| format!("({})", numbers[index]));
        let naive = value(&|index| format!("\"c{index}\""));
        prop_assert_eq!(folded, naive);
    }

    #[test]
    fn a_column_that_is_not_used_changes_no_row(steps in steps()) {
        let all = r#"SELECT STREAM "k" FROM (SELECT STREAM "k", "n", "x" FROM "SOURCE_SQL_STREAM_001") WHERE COALESCE("n", 0) > -9 AND COALESCE("x", 0e0) > -9e0"#;
        let few = r#"SELECT STREAM "k" FROM "SOURCE_SQL_STREAM_001""#;
        let records: Vec<Bytes> = steps
            .into_iter()
            .filter_map(|step| step.data.map(Bytes::from))
            .collect();

        let columns = "k VARCHAR(4)";
        prop_assert_eq!(
            applied(&pump(columns, all), &records, &[]),
            applied(&pump(columns, few), &records, &[])
        );
    }
}
