//! Outputs of several kinds in one fan-out, and several fan-outs in one process.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};

use base64_simd::STANDARD;
use serde_json::Value;

use crate::daemon::{Daemon, Dir};
use crate::served::{Running, Served, finish, until};

const KEYS: [&str; 5] = ["a", "b", "ü", "key", "key-2"];

fn records(from: usize, to: usize) -> Vec<(&'static str, String)> {
    (from..to)
        .map(|i| (KEYS[i % KEYS.len()], format!("Record {i}")))
        .collect()
}

/// Key and data of the lines in `text`.
fn pairs(text: &str) -> Vec<(String, String)> {
    let pair = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        let record = &line["kinesis"];
        let data = record["data"].as_str().unwrap();
        let data = STANDARD.decode_to_vec(data).unwrap();
        let key = record["partitionKey"].as_str().unwrap().to_owned();
        (key, String::from_utf8(data).unwrap())
    };
    text.lines().map(pair).collect()
}

/// The text holds records 0 to `n`, each at least once; each key's last occurrences are in order.
#[track_caller]
fn complete(text: &str, n: usize) {
    let mut last_places: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for (place, (key, data)) in pairs(text).into_iter().enumerate() {
        last_places.entry(key).or_default().insert(data, place);
    }
    let mut expected: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, data) in records(0, n) {
        expected.entry(key.to_owned()).or_default().push(data);
    }
    let found = last_places.into_iter().map(|(key, places)| {
        let mut data: Vec<(usize, String)> = places.into_iter().map(|(d, p)| (p, d)).collect();
        data.sort();
        (key, data.into_iter().map(|(_, data)| data).collect())
    });
    assert_eq!(found.collect::<BTreeMap<String, Vec<String>>>(), expected);
}

#[test]
fn a_file_beside_a_stream_misses_nothing_after_kill_9() {
    const ROUNDS: usize = 4;
    let (served, dir) = (Served::new(&[("input", 2), ("output1", 3)]), Dir::new());
    let file = dir.path("copy.jsonl");
    let to_file = format!("file:{}", file.display());
    let args = [
        "--from",
        "input",
        "--to",
        "output1",
        &to_file,
        "--checkpoint-interval",
        "50ms",
    ];
    let lines = || {
        fs::read_to_string(&file)
            .unwrap_or_default()
            .lines()
            .count()
    };
    for round in 0..ROUNDS {
        let daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
        served.put("input", &records(round * 400, round * 400 + 400));
        // In the middle of the round, and with a torn line in every other one.
        until("some of the round's lines", || {
            (lines() > round * 400 + 50).then_some(())
        });
        daemon.kill();
        if round % 2 == 0 {
            // The beginning of a line that was never acknowledged.
            let mut text = fs::read(&file).unwrap();
            text.extend_from_within(..40);
            fs::write(&file, text).unwrap();
        }
    }

    let caught_up = [&args[..], &["--until-caught-up"]].concat();
    finish(dir.run(&served, &caught_up), b"").expect(0);
    let text = fs::read_to_string(&file).unwrap();
    complete(&text, ROUNDS * 400);
    let verify = [
        "verify",
        "--from",
        "input",
        "--to",
        "output1",
        &to_file,
        "--allow-repeats",
    ];
    let done = served.run(&verify).expect(0);
    assert!(
        done.text().contains("All 2 copies are the same"),
        "{}",
        done.text()
    );

    // The comparison finds a line that is missing.
    let (_, rest) = text.split_once('\n').unwrap();
    let rest: Vec<&str> = rest
        .lines()
        .filter(|line| pairs(line) != pairs(text.lines().next().unwrap()))
        .collect();
    fs::write(&file, rest.join("\n") + "\n").unwrap();
    let done = served.run(&verify).expect(1);
    assert!(done.text().contains("Different: file:"), "{}", done.text());
}

#[test]
fn rotated_files_are_one_copy() {
    let (served, dir) = (Served::new(&[("input", 2)]), Dir::new());
    let config = dir.path("d.toml");
    // A path in the file is relative to the file.
    let text = "from = \"input\"\nuntil-caught-up = true\n\n[[output]]\ntype = \"file\"\n\
                path = \"copy.jsonl\"\nrotate-size = \"20kB\"\n";
    fs::write(&config, text).unwrap();
    // The first run leaves a file over the size, however its records are grouped.
    for from in [0, 300] {
        served.put("input", &records(from, from + 300));
        finish(dir.run(&served, &["-c", config.to_str().unwrap()]), b"").expect(0);
    }

    let files = fs::read_dir(dir.0.path()).unwrap();
    let copies = files.filter(|entry| {
        let name = entry.as_ref().unwrap().file_name();
        name.to_str().unwrap().starts_with("copy.jsonl")
    });
    assert!(copies.count() > 1);
    let to = format!("file:{}", dir.path("copy.jsonl").display());
    served
        .run(&["verify", "--from", "input", "--to", &to])
        .expect(0);
}

#[test]
fn lines_on_standard_output() {
    let (served, dir) = (Served::new(&[("input", 2)]), Dir::new());
    served.put("input", &records(0, 300));
    let args = ["--from", "input", "--to", "stdout", "--until-caught-up"];
    let done = finish(dir.run(&served, &args), b"").expect(0);
    complete(&done.text(), 300);
    assert!(done.err.contains("copying"), "{}", done.err);
}

#[test]
fn a_closed_pipe_ends_the_run_with_a_sentence() {
    let (served, dir) = (Served::new(&[("input", 1)]), Dir::new());
    served.put("input", &records(0, 100));
    let args = ["--from", "input", "--to", "stdout"];
    let mut running = Running::start(dir.run(&served, &args));
    let mut lines = BufReader::new(running.child.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);

    let written = until("the program's end", || {
        served.put("input", &records(100, 101));
        running.child.try_wait().unwrap()
    });
    let done = running.wait();
    assert_eq!(written.code(), Some(0), "{}", done.err);
    let sentence = "the reader of standard output has closed the pipe";
    assert!(done.err.contains(sentence), "{}", done.err);
}

#[test]
fn several_fan_outs_in_one_process() {
    let streams = [("a", 2), ("b", 1), ("a-copy", 1), ("b-copy", 2)];
    let (served, dir) = (Served::new(&streams), Dir::new());
    served.put("a", &records(0, 200));
    served.put("b", &records(0, 300));
    let config = dir.path("d.toml");
    let text = "until-caught-up = true\n\n[[fan-out]]\nfrom = \"a\"\nstate = \"a.db\"\n\
                [[fan-out.output]]\nstream = \"a-copy\"\n\n\
                [[fan-out]]\nfrom = \"b\"\nstate = \"b.db\"\n[[fan-out.output]]\nstream = \"b-copy\"\n\
                [[fan-out.output]]\ntype = \"file\"\npath = \"b.jsonl\"\n";
    fs::write(&config, text).unwrap();
    let args = ["run", "-c", config.to_str().unwrap()];
    finish(served.command(&args), b"").expect(0);
    for (from, to) in [("a", "a-copy"), ("b", "b-copy")] {
        served
            .run(&["verify", "--from", from, "--to", to])
            .expect(0);
    }
    complete(&fs::read_to_string(dir.path("b.jsonl")).unwrap(), 300);
    assert!(dir.path("a.db").exists() && dir.path("b.db").exists());
}

#[test]
fn a_running_output_of_kind_file_takes_changes() {
    let (served, dir) = (Served::new(&[("input", 1)]), Dir::new());
    served.put("input", &records(0, 50));
    let config = dir.path("d.toml");
    let text = |order: &str| {
        format!(
            "from = \"input\"\n[[output]]\ntype = \"file\"\npath = \"copy.jsonl\"\norder = \"{order}\"\n"
        )
    };
    fs::write(&config, text("resend")).unwrap();
    let args = ["-c", config.to_str().unwrap()];
    let mut daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    let lines = |n| {
        until("lines in the file", || {
            let text = fs::read_to_string(dir.path("copy.jsonl")).unwrap_or_default();
            (text.lines().count() >= n).then_some(text)
        })
    };
    lines(50);
    fs::write(&config, text("strict")).unwrap();
    daemon.signal("HUP");
    daemon.says("the configuration was reloaded; ");
    served.put("input", &records(50, 80));
    complete(&lines(80), 80);
    daemon.signal("TERM");
    daemon.end().expect(0);
}
