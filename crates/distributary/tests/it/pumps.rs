//! SQL pumps in the program: an application of Kinesis Data Analytics, unchanged.

use std::collections::BTreeSet;
use std::fs;

use distributary_wire::types::Record;

use crate::daemon::{Daemon, Dir};
use crate::served::{Served, finish, until};

const COPY: &str = r#"CREATE OR REPLACE STREAM "DESTINATION_SQL_STREAM" (log VARCHAR(16));
CREATE OR REPLACE PUMP "COPY_PUMP1" AS INSERT INTO "DESTINATION_SQL_STREAM"
  SELECT STREAM "log" FROM "SOURCE_SQL_STREAM_001";
"#;

/// A running count of each item, so that every row depends on all rows before.
const COUNTS: &str = r#"CREATE STREAM totals (item VARCHAR(16), n BIGINT);
CREATE PUMP p AS INSERT INTO totals SELECT STREAM "item", COUNT(*) OVER w
  FROM "SOURCE_SQL_STREAM_001" WINDOW w AS (PARTITION BY "item" RANGE INTERVAL '1' HOUR PRECEDING);
"#;

fn logs(from: usize, to: usize) -> Vec<(&'static str, String)> {
    let keys = ["a", "b", "c"];
    (from..to)
        .map(|i| (keys[i % 3], format!("{{\"log\":\"Record {i}\"}}")))
        .collect()
}

/// The rows of `stream` in the order of each shard.
fn rows(served: &Served, stream: &str) -> Vec<String> {
    let records = served.read(stream).into_iter().flatten();
    records.map(|record| text(&record)).collect()
}

fn text(record: &Record) -> String {
    String::from_utf8(record.data.0.to_vec()).unwrap()
}

fn wait_for_rows(served: &Served, stream: &str, n: usize) -> Vec<String> {
    until("the rows", || {
        let rows = rows(served, stream);
        (rows.len() >= n).then_some(rows)
    })
}

/// The rows of the COPY application for the records below `n`.
fn copied(n: usize) -> BTreeSet<String> {
    (0..n)
        .map(|i| format!("{{\"LOG\":\"Record {i}\"}}"))
        .collect()
}

#[test]
fn an_application_runs_unchanged_and_rows_keep_the_keys_of_their_records() {
    let (served, dir) = (Served::new(&[("input", 2), ("output1", 2)]), Dir::new());
    served.put("input", &logs(0, 30));
    served.put("input", &[("a", "no JSON")]);
    fs::write(dir.path("copy.sql"), COPY).unwrap();
    let config = dir.path("d.toml");
    fs::write(
        &config,
        r#"from = "input"
[[pump]]
name = "copy"
sql = "copy.sql"
columns = [{ name = "log", type = "VARCHAR(16)", path = "$.log" }]
[[output]]
stream = "output1"
pump = "copy"
[[output]]
type = "file"
path = "errors.jsonl"
pump = "copy"
from-stream = "error_stream"
"#,
    )
    .unwrap();

    let args = ["-c", config.to_str().unwrap(), "--until-caught-up"];
    finish(dir.run(&served, &args), b"").expect(0);
    let records: Vec<Record> = served.read("output1").into_iter().flatten().collect();
    assert_eq!(records.len(), 30);
    assert_eq!(
        records.iter().map(text).collect::<BTreeSet<_>>(),
        copied(30)
    );
    for record in &records {
        let number: usize = text(record)
            .trim_matches(|c: char| !c.is_ascii_digit())
            .parse()
            .unwrap();
        assert_eq!(
            record.partition_key.as_deref(),
            Some(["a", "b", "c"][number % 3])
        );
    }

    let errors = fs::read_to_string(dir.path("errors.jsonl")).unwrap();
    assert_eq!(errors.lines().count(), 1, "{errors}");
}

#[test]
fn the_flag_infers_a_schema_and_prints_it() {
    let (served, dir) = (Served::new(&[("input", 1), ("output1", 1)]), Dir::new());
    served.put("input", &logs(0, 5));
    let code = dir.path("copy.sql");
    fs::write(&code, COPY).unwrap();

    let args = [
        "--from",
        "input",
        "--to",
        "output1",
        "--pump",
        code.to_str().unwrap(),
        "--until-caught-up",
    ];
    let done = finish(dir.run(&served, &args), b"").expect(0);
    assert_eq!(
        rows(&served, "output1")
            .into_iter()
            .collect::<BTreeSet<_>>(),
        copied(5)
    );
    assert!(done.err.contains(r#""Mapping": "$.log""#), "{}", done.err);

    fs::write(&code, format!("{COPY} CREATE STREAM other (a INTEGER);")).unwrap();
    let done = finish(dir.run(&served, &args), b"").expect(2);
    let told = done.err;
    assert!(
        told.contains("DESTINATION_SQL_STREAM") && told.contains("OTHER"),
        "{told}"
    );
}

#[test]
fn code_that_does_not_compile_is_told_with_line_and_column() {
    let (served, dir) = (Served::new(&[("input", 1), ("output1", 1)]), Dir::new());
    let config = dir.path("d.toml");
    fs::write(
        &config,
        r#"from = "input"
[[pump]]
name = "copy"
sql = '''CREATE STREAM d (a INTEGER);
CREATE PUMP p AS INSERT INTO d SELECT STREAM "lag" FROM "SOURCE_SQL_STREAM_001";'''
columns = [{ name = "log", type = "VARCHAR(16)" }]
[[output]]
stream = "output1"
pump = "copy"
"#,
    )
    .unwrap();
    let done = finish(dir.run(&served, &["-c", config.to_str().unwrap()]), b"").expect(2);
    let told = done.err;
    assert!(
        told.contains("error[unknown-column]: line 2, column 46"),
        "{told}"
    );
}

#[test]
fn a_pump_with_windows_gives_the_same_rows_after_kill_9() {
    const ROUNDS: usize = 3;
    const ROUND: usize = 300;
    let (served, dir) = (Served::new(&[("input", 2), ("output1", 2)]), Dir::new());
    fs::write(dir.path("counts.sql"), COUNTS).unwrap();
    let config = dir.path("d.toml");
    fs::write(
        &config,
        r#"from = "input"
checkpoint-interval = "50ms"
[[pump]]
name = "counts"
sql = "counts.sql"
columns = [{ name = "item", type = "VARCHAR(16)" }]
[[output]]
stream = "output1"
pump = "counts"
partition-key = "ITEM"
"#,
    )
    .unwrap();
    let args = ["-c", config.to_str().unwrap()];
    let items = ["red", "green", "blue"];
    for round in 0..ROUNDS {
        let daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
        let put: Vec<(String, String)> = (0..ROUND)
            .map(|i| {
                (
                    format!("key{i}"),
                    format!("{{\"item\":\"{}\"}}", items[i % 3]),
                )
            })
            .collect();
        let put: Vec<(&str, &str)> = put.iter().map(|(k, d)| (k.as_str(), d.as_str())).collect();
        served.put("input", &put);
        wait_for_rows(&served, "output1", round * ROUND + ROUND / 3);
        daemon.kill();
    }

    let caught_up = [&args[..], &["--until-caught-up"]].concat();
    finish(dir.run(&served, &caught_up), b"").expect(0);
    let total = ROUNDS * ROUND / 3;
    for item in items {
        let numbers: BTreeSet<usize> = rows(&served, "output1")
            .iter()
            .filter_map(|row| row.strip_prefix(&format!("{{\"ITEM\":\"{item}\",\"N\":")))
            .map(|rest| rest.trim_end_matches('}').parse().unwrap())
            .collect();
        assert_eq!(numbers, (1..=total).collect(), "{item}");
    }
}

#[test]
fn windows_of_an_idle_stream_end_and_the_outputs_of_the_pump_change_with_a_restart_only() {
    let (served, dir) = (Served::new(&[("input", 2), ("output1", 1)]), Dir::new());
    served.put("input", &logs(0, 12));
    let config = dir.path("d.toml");
    let text = r#"from = "input"
[[pump]]
name = "counts"
sql = '''CREATE STREAM d (n BIGINT);
CREATE PUMP p AS INSERT INTO d SELECT STREAM COUNT(*) FROM "SOURCE_SQL_STREAM_001" AS s
  GROUP BY STEP(s.ROWTIME BY INTERVAL '1' SECOND);'''
columns = [{ name = "log", type = "VARCHAR(16)" }]
[[output]]
stream = "output1"
pump = "counts"
"#;
    fs::write(&config, text).unwrap();
    let mut daemon = Daemon::start(
        dir.run(&served, &["-c", config.to_str().unwrap()]),
        &dir.path("log"),
    );
    // No record comes that could end the windows.
    until("the counts of all records", || {
        let counts = rows(&served, "output1");
        let sum: u32 = counts
            .iter()
            .map(|row| row[5..row.len() - 1].parse::<u32>().unwrap())
            .sum();
        (sum == 12).then_some(())
    });

    fs::write(&config, format!("{text}row-format = \"csv\"\n")).unwrap();
    daemon.signal("HUP");
    let told = daemon.says("keeps state");
    assert!(told.contains("restart the process"), "{told}");
    daemon.signal("TERM");
    daemon.end().expect(0);
}

#[test]
fn a_query_prints_rows_of_a_live_stream() {
    let served = Served::new(&[("input", 2)]);
    served.put("input", &logs(0, 4));
    let query =
        r#"SELECT STREAM "log", CHAR_LENGTH("log") AS n FROM input WHERE "log" <> 'Record 0'"#;
    let args = [
        "sql",
        "query",
        "--from",
        "input",
        query,
        "--until-caught-up",
    ];
    let mut lines = served.run(&args).expect(0).lines();
    assert_eq!(lines.remove(0), "log       N");
    lines.sort();
    assert_eq!(lines, ["Record 1  8", "Record 2  8", "Record 3  8"]);

    let json = [&args[..], &["--format", "json", "--limit", "1"]].concat();
    let lines = served.run(&json).expect(0).lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("{\"log\":\"Record ") && lines[0].ends_with("\",\"N\":8}"));

    let wrong = [
        "sql",
        "query",
        "--from",
        "input",
        "SELECT STREAM \"lag\" FROM source",
    ];
    let done = served.run(&wrong).expect(2);
    assert!(
        done.err
            .contains("error[unknown-column]: line 1, column 15")
    );
}

#[test]
fn a_schema_is_inferred_from_a_stream() {
    let served = Served::new(&[("input", 1), ("empty", 1)]);
    served.put("input", &logs(0, 4));
    let done = served.run(&["sql", "infer", "--from", "input"]).expect(0);
    assert!(
        done.text().contains(r#""SqlType": "VARCHAR(32)""#),
        "{}",
        done.err
    );
    let done = served.run(&["sql", "infer", "--from", "empty"]).expect(1);
    assert!(done.err.contains("write some first"), "{}", done.err);
}

/// The fenced blocks of the guide: the words behind the fence, and the text.
fn blocks(guide: &str) -> Vec<(&str, &str)> {
    let fenced = guide.split("```").skip(1).step_by(2);
    fenced.filter_map(|block| block.split_once('\n')).collect()
}

/// The arguments of a command line with single quotes.
fn arguments(line: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    for (i, part) in line.split('\'').enumerate() {
        if i % 2 == 1 {
            arguments.push(part.to_owned());
        } else {
            arguments.extend(part.split_whitespace().map(str::to_owned));
        }
    }
    arguments
}

#[test]
fn the_guide_works_as_it_is_written() {
    let guide = include_str!("../../../../docs/guides/KINESIS-DATA-ANALYTICS.md");
    let streams = [("input", 1), ("output1", 1), ("output2", 1)];
    let (served, dir) = (Served::new(&streams), Dir::new());
    served.put("input", &logs(0, 3));
    for (head, text) in blocks(guide) {
        if let Some((_, file)) = head.split_once(' ') {
            fs::write(dir.path(file), text).unwrap();
        }
    }

    let mut printed = Vec::new();
    let commands = blocks(guide).into_iter().filter(|(head, _)| *head == "sh");
    for line in commands.flat_map(|(_, text)| text.lines()) {
        let arguments = arguments(line);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        assert_eq!(arguments[0], "distributary");
        let mut command = served.command(&arguments[1..]);
        command
            .current_dir(dir.path(""))
            .env("XDG_STATE_HOME", dir.path("state"));
        printed.push(finish(command, b"").expect(0).text());
    }
    let shown = |text: &str| blocks(guide).iter().any(|(_, block)| *block == text);
    assert!(shown(&printed[1]), "sql test: {}", printed[1]);
    assert!(shown(&printed[2]), "sql import: {}", printed[2]);
    for output in ["output1", "output2"] {
        assert_eq!(
            rows(&served, output).into_iter().collect::<BTreeSet<_>>(),
            copied(3)
        );
    }
}
