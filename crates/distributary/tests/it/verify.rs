//! `distributary verify`.

use distributary_wire::types::PutRecordsRequestEntry;

use crate::served::{Done, Served, finish, program, scratch};

type Records<'a> = &'a [(&'a str, &'a [u8])];

const RECORDS: Records<'_> = &[
    ("a", b"1"),
    ("b", b"\xff\x00binary"),
    ("a", b"2"),
    ("a", b""),
    ("ключ", "ü".as_bytes()),
    // Equal records are legitimate.
    ("a", b"2"),
    ("b", b"3"),
];

/// [`RECORDS`] in `input`, and each of these in a stream of its own: compared with these flags.
fn compare(copies: &[(&str, Records<'_>)], flags: &[&str]) -> Done {
    let streams: Vec<(&str, u32)> = std::iter::once("input")
        .chain(copies.iter().map(|c| c.0))
        .map(|n| (n, 1))
        .collect();
    let served = Served::new(&streams);
    served.put("input", RECORDS);
    for (name, records) in copies {
        served.put(name, records);
    }
    let mut args = vec!["verify", "--from", "input", "--to"];
    args.extend(copies.iter().map(|c| c.0));
    args.extend_from_slice(flags);
    served.run(&args)
}

/// The table's line of a stream: records, missing, extra, repeated, out of order, verdict.
fn row(done: &Done, stream: &str) -> Vec<String> {
    let line = done
        .lines()
        .into_iter()
        .find(|line| line.split_whitespace().next() == Some(stream));
    line.unwrap_or_else(|| panic!("{done:#?}"))
        .split_whitespace()
        .skip(1)
        .map(str::to_owned)
        .collect()
}

fn with(
    change: impl FnOnce(&mut Vec<(&'static str, &'static [u8])>),
) -> Vec<(&'static str, &'static [u8])> {
    let mut records = RECORDS.to_vec();
    change(&mut records);
    records
}

#[test]
fn the_same() {
    // Swapped between keys is no disorder.
    let swapped = with(|r| r.swap(0, 1));
    let done = compare(&[("output1", RECORDS), ("output2", &swapped)], &[]).expect(0);
    for output in ["output1", "output2"] {
        assert_eq!(row(&done, output), ["7", "0", "0", "0", "0", "same"]);
    }
    assert!(
        done.text()
            .ends_with("All 2 copies are the same as the source.\n"),
        "{}",
        done.text()
    );
    assert_eq!(done.err, "", "no progress bar where there is no terminal");
}

#[test]
fn empty_streams_are_the_same() {
    let served = Served::new(&[("a", 1), ("b", 3)]);
    served
        .run(&["verify", "--from", "a", "--to", "b"])
        .expect(0);
}

#[test]
fn each_difference_is_told_apart() {
    let missing = with(|r| _ = r.remove(1));
    let one_of_two_equals = with(|r| _ = r.remove(5));
    let extra = with(|r| r.push(("c", b"3")));
    let repeated = with(|r| r.extend([("b", &b"3"[..]), ("b", b"3")]));
    let swapped = with(|r| r.swap(1, 6));
    // From the third record on, once more.
    let sent_again = with(|r| r.extend_from_within(2..));
    let done = compare(
        &[
            ("same", RECORDS),
            ("missing", &missing),
            ("of-two", &one_of_two_equals),
            ("extra", &extra),
            ("repeated", &repeated),
            ("swapped", &swapped),
            ("sent-again", &sent_again),
        ],
        &[],
    )
    .expect(1);
    assert_eq!(row(&done, "input"), ["7"]);
    assert_eq!(row(&done, "same"), ["7", "0", "0", "0", "0", "same"]);
    assert_eq!(
        row(&done, "missing"),
        ["6", "1", "0", "0", "0", "DIFFERENT"]
    );
    assert_eq!(row(&done, "of-two"), ["6", "1", "0", "0", "0", "DIFFERENT"]);
    assert_eq!(row(&done, "extra"), ["8", "0", "1", "0", "0", "DIFFERENT"]);
    assert_eq!(
        row(&done, "repeated"),
        ["9", "0", "0", "2", "0", "DIFFERENT"]
    );
    assert_eq!(
        row(&done, "swapped"),
        ["7", "0", "0", "0", "1", "DIFFERENT"]
    );
    assert_eq!(
        row(&done, "sent-again"),
        ["12", "0", "0", "5", "0", "DIFFERENT"]
    );

    let text = done.text();
    for example in [
        "missing: missing (1 record of the source)\n  shardId-000000000000 ",
        "    key b, 8 bytes: \\xff\\x00binary\n",
        "extra: extra (1 record of the copy)\n",
        "    key c, 1 byte: 3\n",
        "repeated: repeated (2 records of the copy)\n",
        "swapped: out of order (1 record of the copy)\n",
        "sent-again: repeated (5 records of the copy)\n",
        "    key ключ, 2 bytes: ü\n",
        "    key a, 0 bytes\n",
    ] {
        assert!(text.contains(example), "{example:?} in {text}");
    }
    assert!(
        text.ends_with("Different: missing, of-two, extra, repeated, swapped, sent-again.\n"),
        "{text}"
    );
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
}

#[test]
fn repeats_and_order_can_be_allowed() {
    let repeated = with(|r| r.push(("b", b"3")));
    let swapped = with(|r| r.swap(1, 6));
    let missing = with(|r| _ = r.pop());
    let copies = [
        ("repeated", &*repeated),
        ("swapped", &*swapped),
        ("missing", &*missing),
    ];
    // Each waits for the next second of the server's clock: at the same time.
    std::thread::scope(|scope| {
        scope.spawn(|| compare(&copies[..2], &["--allow-repeats", "--ignore-order"]).expect(0));
        scope.spawn(|| {
            let done = compare(&copies, &["--allow-repeats"]).expect(1);
            assert_eq!(row(&done, "repeated"), ["8", "0", "0", "1", "0", "same"]);
            assert!(
                done.text().ends_with("Different: swapped, missing.\n"),
                "{}",
                done.text()
            );
        });
        scope.spawn(|| {
            let done = compare(&copies, &["--ignore-order"]).expect(1);
            assert_eq!(row(&done, "swapped"), ["7", "0", "0", "0", "1", "same"]);
            assert!(
                done.text().ends_with("Different: repeated, missing.\n"),
                "{}",
                done.text()
            );
        });
    });
}

#[test]
fn resharded_on_both_sides_at_different_moments() {
    let served = Served::new(&[("input", 2), ("output1", 1)]);
    let records: Vec<(String, String)> = (0..300)
        .map(|i| (format!("k{}", i % 11), (i / 2).to_string()))
        .collect();
    let put = |stream: &str, from: usize, to: usize| {
        let records: Vec<(&str, &str)> = records[from..to]
            .iter()
            .map(|(k, d)| (k.as_str(), d.as_str()))
            .collect();
        served.put(stream, &records);
    };
    put("input", 0, 100);
    served.split("input", 0);
    put("input", 100, 200);
    served.split("input", 3);
    put("input", 200, 300);
    put("output1", 0, 150);
    served.split("output1", 0);
    put("output1", 150, 300);
    let done = served
        .run(&["verify", "--from", "input", "--to", "output1"])
        .expect(0);
    assert_eq!(row(&done, "output1"), ["300", "0", "0", "0", "0", "same"]);
}

#[test]
fn a_key_in_two_shards_by_explicit_hash_keys() {
    let served = Served::new(&[("input", 2), ("output1", 1), ("output2", 1)]);
    let entry = |number: &str, data: u8| PutRecordsRequestEntry {
        data: Some(vec![data].into()),
        partition_key: Some("a".into()),
        explicit_hash_key: Some(number.to_owned()),
    };
    let top = u128::MAX.to_string();
    served.put_entries(
        "input",
        &[entry("0", 1), entry(&top, 2), entry("0", 3), entry(&top, 4)],
    );
    // Read shard by shard, as a copy does.
    served.put("output1", &[("a", [2]), ("a", [4]), ("a", [1]), ("a", [3])]);
    served.put("output2", &[("a", [4]), ("a", [2]), ("a", [1]), ("a", [3])]);
    let done = served
        .run(&["verify", "--from", "input", "--to", "output1", "output2"])
        .expect(1);
    assert_eq!(row(&done, "output1"), ["4", "0", "0", "0", "0", "same"]);
    assert_eq!(
        row(&done, "output2"),
        ["4", "0", "0", "0", "1", "DIFFERENT"]
    );
}

/// A stream that places records by itself needs no keys; a copy to one that does has sequence numbers for them.
#[test]
fn records_without_a_key() {
    let served = Served::new(&[("output1", 2)]);
    served.create_auto("input");
    served.create_auto("output2");
    let entries = (0..20u8).map(|i| PutRecordsRequestEntry {
        data: Some(vec![i / 2].into()),
        ..Default::default()
    });
    served.put_entries("input", &entries.collect::<Vec<_>>());
    let (_dir, path) = scratch();
    let state = path.join("state.db");
    let copied = served.run(&[
        "run",
        "--from",
        "input",
        "--to",
        "output1",
        "--to",
        "output2",
        "--until-caught-up",
        "--state",
        state.to_str().unwrap(),
    ]);
    copied.expect(0);
    let done = served
        .run(&["verify", "--from", "input", "--to", "output1", "output2"])
        .expect(0);
    assert_eq!(row(&done, "output1"), ["20", "0", "0", "0", "0", "same"]);
    assert!(
        served
            .read("output1")
            .concat()
            .iter()
            .all(|record| record.partition_key.is_some())
    );
}

#[test]
fn many_records_and_the_first_examples() {
    let served = Served::new(&[("input", 4), ("output1", 2)]);
    let records: Vec<(String, String)> = (0..20_000)
        .map(|i| (format!("k{}", i % 997), i.to_string()))
        .collect();
    let all: Vec<(&str, &str)> = records
        .iter()
        .map(|(k, d)| (k.as_str(), d.as_str()))
        .collect();
    served.put("input", &all);
    let copied: Vec<(&str, &str)> = all
        .iter()
        .copied()
        .filter(|(_, d)| !d.ends_with("77"))
        .collect();
    served.put("output1", &copied);
    let (dir, path) = scratch();
    let temp = path.to_string_lossy().into_owned();
    let args = [
        "verify",
        "--from",
        "input",
        "--to",
        "output1",
        "--examples",
        "3",
        "--temp-dir",
        &temp,
    ];
    let done = served.run(&args).expect(1);
    assert_eq!(
        row(&done, "output1"),
        ["19,800", "200", "0", "0", "0", "DIFFERENT"]
    );
    assert!(
        done.text()
            .contains("output1: missing (the first 3 of 200 of the source)"),
        "{}",
        done.text()
    );
    // The examples are the first that are missing in the first shard.
    let missing = &served.read("input")[0];
    let missing: Vec<&str> = missing
        .iter()
        .filter(|r| r.data.0.ends_with(b"77"))
        .take(3)
        .map(|r| r.sequence_number.as_str())
        .collect();
    for sequence in missing {
        assert!(
            done.text().contains(sequence),
            "{sequence} in {}",
            done.text()
        );
    }
    assert_eq!(
        std::fs::read_dir(&path).unwrap().count(),
        0,
        "nothing is left behind"
    );
    drop(dir);
}

#[test]
fn json() {
    let done = compare(
        &[("output1", RECORDS), ("output2", &RECORDS[..6])],
        &["--format", "json"],
    )
    .expect(1);
    let value: serde_json::Value = serde_json::from_slice(&done.out).unwrap();
    assert_eq!(
        (&value["same"], &value["records"]),
        (&false.into(), &7.into())
    );
    assert_eq!(
        (&value["to"][0]["stream"], &value["to"][0]["same"]),
        (&"output1".into(), &true.into())
    );
    assert_eq!(
        (&value["to"][1]["missing"], &value["to"][1]["repeated"]),
        (&1.into(), &0.into())
    );
    assert_eq!(value["to"][1]["examples"][0]["key"], "b");
}

#[test]
fn what_could_not_be_compared() {
    let served = Served::new(&[("input", 1)]);
    let done = served
        .run(&["verify", "--from", "input", "--to", "missing"])
        .expect(3);
    assert!(done.err.contains("missing"), "{}", done.err);
    assert_eq!(done.text(), "");

    let mut command = program(&["verify", "--from", "input", "--to", "output1"]);
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    drop(served);
    let done = finish(command, b"").expect(3);
    assert!(done.err.contains("127.0.0.1:1"), "{}", done.err);
}

#[test]
fn wrong_usage() {
    let served = Served::new(&[("input", 1)]);
    for args in [
        &["verify", "--from", "input", "--to", "input"][..],
        &["verify", "--from", "input"],
        &["verify", "--to", "input"],
        &["verify", "--from", "in put", "--to", "x"],
    ] {
        served.run(args).expect(2);
    }
}
