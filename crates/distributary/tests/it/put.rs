//! `distributary put`.

use distributary_local::faults::{Action, Entries, Rule, Select};
use distributary_wire::op::Operation;

use crate::served::{Served, pair};

fn one_shard(served: &Served, stream: &str) -> Vec<(String, Vec<u8>)> {
    let mut shards = served.read(stream);
    assert_eq!(shards.len(), 1);
    shards
        .remove(0)
        .iter()
        .map(pair)
        .map(|(key, data)| (key.to_owned(), data.to_vec()))
        .collect()
}

#[test]
fn arguments_are_records() {
    let served = Served::new(&[("s", 1)]);
    let done = served
        .run(&[
            "put",
            "s",
            "--key",
            "user-1",
            "{\"log\": \"Record 0\"}",
            "",
            "x\ny",
        ])
        .expect(0);
    assert!(
        done.err.starts_with("put 3 records (40 bytes) into s\n"),
        "{}",
        done.err
    );
    assert_eq!(done.text(), "");
    let expected: [(String, Vec<u8>); 3] = [&b"{\"log\": \"Record 0\"}"[..], b"", b"x\ny"]
        .map(|data| ("user-1".to_owned(), data.to_vec()));
    assert_eq!(one_shard(&served, "s"), expected);

    let done = served.run(&["put", "s", "--key", "k", "one"]).expect(0);
    assert!(
        done.err
            .starts_with("put 1 record (4 bytes) into s: shardId-000000000000, "),
        "{}",
        done.err
    );
}

#[test]
fn lines_are_records_byte_for_byte() {
    let served = Served::new(&[("s", 1)]);
    let input = b"\xff\x00\xfe\r\n\nlast, without an end";
    served
        .run_with(&["put", "s", "--key", "k"], input)
        .expect(0);
    let data: Vec<Vec<u8>> = one_shard(&served, "s")
        .into_iter()
        .map(|(_, data)| data)
        .collect();
    assert_eq!(
        data,
        [
            b"\xff\x00\xfe\r".to_vec(),
            b"".to_vec(),
            b"last, without an end".to_vec()
        ]
    );
}

#[test]
fn many_lines_keep_their_order_in_full_requests() {
    let served = Served::new(&[("s", 1)]);
    let lines: Vec<String> = (0..5000).map(|i| format!("line {i}")).collect();
    let done = served
        .run_with(&["put", "s", "--key", "k"], lines.join("\n").as_bytes())
        .expect(0);
    assert!(done.err.contains("put 5,000 records"), "{}", done.err);
    let data: Vec<String> = one_shard(&served, "s")
        .into_iter()
        .map(|(_, data)| String::from_utf8(data).unwrap())
        .collect();
    assert_eq!(data, lines);
}

#[test]
fn records_without_a_key_are_spread_over_the_shards() {
    let served = Served::new(&[("s", 4)]);
    let lines: String = (0..400).map(|i| format!("{i}\n")).collect();
    served.run_with(&["put", "s"], lines.as_bytes()).expect(0);
    let counts: Vec<usize> = served.read("s").iter().map(Vec::len).collect();
    assert_eq!(counts.iter().sum::<usize>(), 400);
    assert!(counts.iter().all(|n| *n > 20), "{counts:?}");
}

#[test]
fn keys_hash_keys_and_base64() {
    let served = Served::new(&[("s", 2)]);
    served
        .run_with(
            &["put", "s", "--key-delimiter", ":"],
            "ключ:a:b\n".as_bytes(),
        )
        .expect(0);
    served
        .run(&["put", "s", "--key", "k", "--base64", "/wA="])
        .expect(0);
    let top = u128::MAX.to_string();
    for (number, shard) in [("0", 0), (top.as_str(), 1)] {
        let before = served.read("s")[shard].len();
        served
            .run(&[
                "put",
                "s",
                "--key",
                "same",
                "--explicit-hash-key",
                number,
                "x",
            ])
            .expect(0);
        assert_eq!(served.read("s")[shard].len(), before + 1, "{number}");
    }
    let all: Vec<_> = served.read("s").into_iter().flatten().collect();
    let all: Vec<_> = all.iter().map(pair).collect();
    assert!(
        all.contains(&("ключ", b"a:b")) && all.contains(&("k", b"\xff\x00")),
        "{all:?}"
    );
}

#[test]
fn what_is_throttled_goes_again_in_order() {
    let served = Served::new(&[("s", 1)]);
    let throttle = Action::ThrottleEntries(Entries {
        probability: Some(0.3),
        ..Entries::default()
    });
    let select = Select {
        operations: vec![distributary_local::faults::OperationName(
            Operation::PutRecords,
        )],
        ..Select::default()
    };
    let rule = Rule {
        select,
        probability: 1.0,
        times: Some(5),
        action: throttle,
        script: Vec::new(),
    };
    served.local.faults().add(rule).unwrap();
    let lines: Vec<String> = (0..300).map(|i| format!("{}:{i}", i % 7)).collect();
    let done = served
        .run_with(
            &["put", "s", "--key-delimiter", ":"],
            lines.join("\n").as_bytes(),
        )
        .expect(0);
    assert!(done.err.contains("put 300 records"), "{}", done.err);
    assert!(
        done.err
            .contains("of them again to keep the order of their keys"),
        "{}",
        done.err
    );

    // Each record's last occurrence stands in order within its key.
    let all = one_shard(&served, "s");
    let last: Vec<_> = (0..all.len())
        .filter(|i| !all[i + 1..].contains(&all[*i]))
        .map(|i| &all[i])
        .collect();
    assert_eq!(last.len(), 300);
    for key in 0..7 {
        let key = key.to_string();
        let numbers: Vec<u32> = last
            .iter()
            .filter(|(k, _)| *k == key)
            .map(|(_, data)| String::from_utf8_lossy(data).parse().unwrap())
            .collect();
        assert!(numbers.is_sorted(), "{key}: {numbers:?}");
    }
}

#[test]
fn a_large_record_and_one_too_large() {
    let served = Served::new(&[("s", 1)]);
    let mut input = vec![b'x'; 1024 * 1024 - 1];
    served
        .run_with(&["put", "s", "--key", "k"], &input)
        .expect(0);
    assert_eq!(one_shard(&served, "s")[0].1, input);

    input = b"fine\n".to_vec();
    input.resize(11 * 1024 * 1024, b'x');
    let done = served
        .run_with(&["put", "s", "--key", "k"], &input)
        .expect(1);
    assert!(
        done.err.contains("line 2") && done.err.contains("put 1 record"),
        "{}",
        done.err
    );
    assert_eq!(one_shard(&served, "s").len(), 2);
}

#[test]
fn what_is_wrong_is_said() {
    let served = Served::new(&[("s", 1)]);
    for (args, says) in [
        (
            &["put", "s", "--explicit-hash-key", "x", "x"][..],
            "expected a whole number",
        ),
        (
            &["put", "s", "--key", "", "x"],
            "--key: the partition key has 0 characters",
        ),
        (
            &["put", "s", "--base64", "--key", "k", "?"],
            "record 1 of the command line: the data is not base64",
        ),
        (
            &["put", "s", "--key-delimiter", ":", "x"],
            "record 1 of the command line: the delimiter \":\"",
        ),
        (&["put", "no stream", "x"], "names no stream"),
        (&["put"], "STREAM"),
    ] {
        let done = served.run(args).expect(2);
        assert!(done.err.contains(says), "{args:?}: {}", done.err);
    }
    assert!(
        one_shard(&served, "s").is_empty(),
        "nothing is put if a record of the command line is wrong"
    );

    let done = served.run(&["put", "missing", "x"]).expect(1);
    assert!(
        done.err.contains("nothing was put into missing"),
        "{}",
        done.err
    );
    assert_eq!(done.err.trim_end().lines().count(), 1, "{}", done.err);
}

#[test]
fn nobody_answers() {
    let mut command = crate::served::program(&["put", "s", "x"]);
    // Nothing listens on port 1.
    command.env("AWS_ENDPOINT_URL", "http://127.0.0.1:1");
    let done = crate::served::finish(command, b"").expect(1);
    assert!(
        done.err.contains("127.0.0.1:1") && done.err.contains("nothing was put into s"),
        "{}",
        done.err
    );
}

#[test]
fn standard_input_that_is_closed_or_empty_is_no_record() {
    let served = Served::new(&[("s", 1)]);
    let done = served.run_with(&["put", "s"], b"").expect(0);
    assert!(done.err.starts_with("put 0 records"), "{}", done.err);
    let program = env!("CARGO_BIN_EXE_distributary");
    let command = served.command(&[]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &format!("exec {program} put s <&-")]);
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    crate::served::finish(shell, b"").expect(0);
    assert!(one_shard(&served, "s").is_empty());
}

#[test]
fn an_embedded_kinesis_of_its_own_would_always_be_empty() {
    for args in [
        ["put", "--local", "s", "x"].as_slice(),
        &["tail", "--local", "s"],
        &["verify", "--local", "--from", "s", "--to", "t"],
    ] {
        let done = crate::served::finish(crate::served::program(args), b"").expect(2);
        assert!(
            done.err.contains("unexpected argument '--local'"),
            "{}",
            done.err
        );
    }
}

#[test]
fn an_empty_variable_is_an_unset_one_and_a_wrong_one_is_named() {
    let served = Served::new(&[("s", 1)]);
    let mut command = served.command(&["put", "s", "x"]);
    for name in ["REGION", "PROFILE", "ENDPOINT_URL"] {
        command.env(format!("DISTRIBUTARY_{name}"), "");
    }
    crate::served::finish(command, b"").expect(0);

    let mut command = served.command(&["put", "s", "x"]);
    command.env("DISTRIBUTARY_ENDPOINT_URL", "nonsense");
    let done = crate::served::finish(command, b"").expect(2);
    assert!(done.err.contains("nonsense"), "{}", done.err);
}

#[test]
fn a_start_in_the_future_is_refused() {
    let served = Served::new(&[("s", 1)]);
    for args in [
        ["tail", "s", "--start", "2999-01-01"].as_slice(),
        &["run", "--from", "s", "--to", "t", "--start", "2999-01-01"],
    ] {
        let done = served.run(args).expect(2);
        assert!(done.err.contains("in the future"), "{}", done.err);
    }
    served.put("s", &[("k", "x")]);
    let args = [
        "tail", "s", "--start", "-1h", "--limit", "1", "--format", "raw",
    ];
    assert_eq!(served.run(&args).expect(0).text(), "x\n");
}

#[test]
fn a_line_that_the_stream_does_not_take_is_named_before_the_server_is_asked() {
    let served = Served::new(&[("s", 1)]);
    let input = format!("small\n{}\n", "x".repeat(2 << 20));
    let put = ["put", "s", "--key", "k"];
    let done = served.run_with(&put, input.as_bytes()).expect(1);
    let expected = "line 2: data and key have 2097153 bytes, and the stream takes 1048576 a record";
    assert!(done.err.contains(expected), "{}", done.err);

    // The advised remedy works.
    served.take_records_of("s", 4);
    served.run_with(&put, input.as_bytes()).expect(0);
}
