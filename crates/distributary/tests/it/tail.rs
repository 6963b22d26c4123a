//! `distributary tail`.

use std::io::{BufRead, BufReader, Read};

use crate::served::{Running, Served, until};

fn lines_of(served: &Served, args: &[&str]) -> Vec<String> {
    let mut all = vec!["tail", "s"];
    all.extend_from_slice(args);
    served.run(&all).expect(0).lines()
}

#[test]
fn text_is_for_people() {
    let served = Served::new(&[("s", 1)]);
    served.put(
        "s",
        &[
            ("user-1", &b"{\"log\": \"Record 0\"}"[..]),
            ("k", b"\x1b[31m\xff\n"),
        ],
    );
    let lines = lines_of(&served, &["--limit", "2"]);
    assert_eq!(lines.len(), 2);
    assert!(
        lines[0].ends_with("Z 0 user-1 {\"log\": \"Record 0\"}"),
        "{}",
        lines[0]
    );
    assert!(lines[0].starts_with("20"), "{}", lines[0]);
    assert!(lines[1].ends_with(" 0 k \\x1b[31m\\xff\\n"), "{}", lines[1]);
}

#[test]
fn json_says_all_and_raw_is_the_data() {
    let served = Served::new(&[("s", 1)]);
    served.put("s", &[("k", &b"text"[..]), ("k", b"\xff\x00"), ("k", b"")]);
    let lines = lines_of(&served, &["--format", "json", "--limit", "3"]);
    let values: Vec<serde_json::Value> = lines
        .iter()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(values[0]["data"], "text");
    assert_eq!(values[1]["data_base64"], "/wA=");
    assert_eq!(values[2]["data"], "");
    let read = served.read("s");
    for (value, record) in values.iter().zip(&read[0]) {
        assert_eq!(value["sequence"], record.sequence_number.as_str());
        assert_eq!(
            (&value["shard"], &value["key"]),
            (&"shardId-000000000000".into(), &"k".into())
        );
    }
    let done = served
        .run(&["tail", "s", "--limit", "3", "--format", "raw"])
        .expect(0);
    assert_eq!(done.out, b"text\n\xff\x00\n\n");
}

#[test]
fn limit_ends_it() {
    let served = Served::new(&[("s", 2)]);
    let records: Vec<(String, String)> =
        (0..50).map(|i| (format!("k{i}"), i.to_string())).collect();
    let records: Vec<(&str, &str)> = records
        .iter()
        .map(|(k, d)| (k.as_str(), d.as_str()))
        .collect();
    served.put("s", &records);
    for limit in ["0", "1", "7"] {
        let done = served.run(&["tail", "s", "--limit", limit]).expect(0);
        assert_eq!(done.lines().len().to_string(), limit);
    }
}

#[test]
fn all_shards_are_read_children_after_their_parents() {
    let served = Served::new(&[("s", 1)]);
    let numbers = |from: u32, to: u32| -> Vec<(String, String)> {
        (from..to)
            .map(|i| (format!("k{}", i % 5), i.to_string()))
            .collect()
    };
    let put = |records: &[(String, String)]| {
        let records: Vec<(&str, &str)> = records
            .iter()
            .map(|(k, d)| (k.as_str(), d.as_str()))
            .collect();
        served.put("s", &records);
    };
    put(&numbers(0, 40));
    served.split("s", 0);
    put(&numbers(40, 80));
    served.split("s", 1);
    put(&numbers(80, 120));
    let lines = lines_of(&served, &["--format", "raw", "--until-caught-up"]);
    let mut all: Vec<u32> = lines.iter().map(|l| l.parse().unwrap()).collect();
    for key in 0..5 {
        let of_key: Vec<u32> = all.iter().copied().filter(|i| i % 5 == key).collect();
        assert!(of_key.is_sorted(), "{of_key:?}");
    }
    all.sort_unstable();
    assert_eq!(all, (0..120).collect::<Vec<_>>());
}

#[test]
fn it_follows_through_a_reshard_until_it_is_interrupted() {
    let served = Served::new(&[("s", 1)]);
    served.put("s", &[("a", "before")]);
    for signal in ["INT", "TERM"] {
        let mut running = Running::start(served.command(&["tail", "s", "--format", "raw"]));
        let mut out = BufReader::new(running.child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, "before\n");
        let open = served.shards("s").len() - 1;
        served.split("s", open);
        served.put("s", &[("a", signal), ("b", signal)]);
        let mut seen = Vec::new();
        while seen.iter().filter(|l| *l == signal).count() < 2 {
            line.clear();
            assert_ne!(out.read_line(&mut line).unwrap(), 0);
            seen.push(line.trim_end().to_owned());
        }
        running.signal(signal);
        let done = running.wait().expect(0);
        assert_eq!(done.err, "");
    }
}

#[test]
fn latest_is_what_comes_from_now_on() {
    let served = Served::new(&[("s", 2)]);
    served.put("s", &[("a", "old"), ("b", "old")]);
    let old = served.read("s").concat()[0]
        .approximate_arrival_timestamp
        .unwrap()
        .0;
    // "Now" is a whole second of the server's clock, rounded down: what is old must be older than that.
    until("the next second", || {
        served.put("s", &[("clock", "tick")]);
        let now = served
            .read("s")
            .concat()
            .iter()
            .map(|r| r.approximate_arrival_timestamp.unwrap().0)
            .max();
        (now.unwrap() / 1000 > old / 1000).then_some(())
    });
    let mut running = Running::start(served.command(&[
        "tail", "s", "--start", "latest", "--format", "raw", "--limit", "60",
    ]));
    // Put until it has all that it wants: when exactly it begins cannot be seen from here.
    let code = until("its end", || {
        served.put("s", &[("a", "new"), ("b", "new")]);
        running.child.try_wait().unwrap()
    });
    assert_eq!(code.code(), Some(0));
    let mut out = String::new();
    running
        .child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut out)
        .unwrap();
    assert_eq!(out.lines().count(), 60);
    assert!(
        out.lines().all(|line| line == "new" || line == "tick"),
        "{out}"
    );
    assert!(out.contains("new"));
}

#[test]
fn a_time_to_start_at() {
    let served = Served::new(&[("s", 1)]);
    served.put("s", &[("a", "first")]);
    let first = served.read("s")[0][0]
        .approximate_arrival_timestamp
        .unwrap()
        .0;
    until("the next millisecond", || {
        served.put("s", &[("a", "second")]);
        (served.read("s")[0].last()?.approximate_arrival_timestamp?.0 > first).then_some(())
    });
    let at = |ms: i64| {
        let at =
            time::OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000).unwrap();
        at.format(&time::format_description::well_known::Rfc3339)
            .unwrap()
    };
    let all = lines_of(
        &served,
        &["--format", "raw", "--limit", "1", "--start", &at(first)],
    );
    assert_eq!(all[0], "first");
    let later = lines_of(
        &served,
        &[
            "--format",
            "raw",
            "--until-caught-up",
            "--start",
            &at(first + 1),
        ],
    );
    assert!(
        !later.is_empty() && later.iter().all(|line| line == "second"),
        "{later:?}"
    );
}

/// `| head`: also while nothing more comes that could be written.
#[test]
fn it_ends_when_nobody_reads_it() {
    let served = Served::new(&[("s", 1)]);
    served.put("s", &[("a", "1"), ("a", "2")]);
    let mut running = Running::start(served.command(&["tail", "s", "--format", "raw"]));
    let mut out = BufReader::new(running.child.stdout.take().unwrap());
    let mut line = String::new();
    out.read_line(&mut line).unwrap();
    drop(out);
    let done = running.wait().expect(0);
    assert_eq!(done.err, "");

    // While it is writing.
    let big = "x".repeat(1000);
    let many: Vec<(&str, &str)> = (0..5000).map(|_| ("k", big.as_str())).collect();
    served.put("s", &many);
    let mut running = Running::start(served.command(&["tail", "s"]));
    let mut out = running.child.stdout.take().unwrap();
    out.read_exact(&mut [0; 100]).unwrap();
    drop(out);
    assert_eq!(running.wait().expect(0).err, "");
}

#[test]
fn what_is_wrong_is_said() {
    let served = Served::new(&[]);
    let done = served.run(&["tail", "missing"]).expect(1);
    assert!(done.err.contains("missing"), "{}", done.err);
    assert_eq!(done.err.trim_end().lines().count(), 1, "{}", done.err);
    let done = served.run(&["tail", "s", "--start", "yesterday"]).expect(2);
    assert!(done.err.contains("2026-01-31T00:00:00Z"), "{}", done.err);
}
