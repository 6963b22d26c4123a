//! `distributary run`: what it copies, what it refuses, and how it ends.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use serde_json::json;

use crate::daemon::{Daemon, Dir, address, get, metric, value};
use crate::served::{Served, finish, pair, program, until};

pub(crate) fn records(from: usize, to: usize) -> Vec<(&'static str, String)> {
    const KEYS: [&str; 5] = ["a", "b", "ü", "key", "key-2"];
    (from..to)
        .map(|i| (KEYS[i % KEYS.len()], format!("Record {i}")))
        .collect()
}

/// How often each record is there; and for each key, its records in order, repeats left out.
pub(crate) fn held(
    served: &Served,
    stream: &str,
) -> (BTreeMap<String, usize>, BTreeMap<String, Vec<String>>) {
    let (mut counts, mut order) = (BTreeMap::new(), BTreeMap::<String, Vec<String>>::new());
    for shard in served.read(stream) {
        for record in &shard {
            let (key, data) = pair(record);
            let data = String::from_utf8(data.to_vec()).unwrap();
            *counts.entry(data.clone()).or_default() += 1;
            let of_key = order.entry(key.to_owned()).or_default();
            if !of_key.contains(&data) {
                of_key.push(data);
            }
        }
    }
    (counts, order)
}

/// `stream` holds exactly records 0 to `n`, each once at least, each key's in order.
#[track_caller]
fn complete(served: &Served, stream: &str, n: usize) -> usize {
    let (counts, order) = held(served, stream);
    assert_eq!(counts.len(), n, "{stream}");
    let mut expected = BTreeMap::<String, Vec<String>>::new();
    for (key, data) in records(0, n) {
        expected.entry(key.to_owned()).or_default().push(data);
    }
    assert_eq!(order, expected, "{stream}");
    counts.values().sum::<usize>() - n
}

#[track_caller]
pub(crate) fn wait_for(served: &Served, stream: &str, n: usize) {
    until(&format!("{n} records in {stream}"), || {
        (held(served, stream).0.len() >= n).then_some(())
    });
}

// A test waits for a server's clock, in real time.
#[allow(clippy::disallowed_methods)]
pub(crate) fn seconds() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[test]
fn copies_until_caught_up_and_goes_on_where_it_was() {
    let (served, dir) = (
        Served::new(&[("input", 3), ("output1", 1), ("output2", 2)]),
        Dir::new(),
    );
    served.put("input", &records(0, 700));
    let args = [
        "--from",
        "input",
        "--to",
        "output1",
        "--to",
        "output2",
        "--until-caught-up",
    ];
    let done = finish(dir.run(&served, &args), b"").expect(0);
    assert!(done.err.contains("delivered=700"), "{}", done.err);
    assert_eq!(
        (
            complete(&served, "output1", 700),
            complete(&served, "output2", 700)
        ),
        (0, 0)
    );
    served.put("input", &records(700, 900));
    finish(dir.run(&served, &args), b"").expect(0);
    assert_eq!(
        (
            complete(&served, "output1", 900),
            complete(&served, "output2", 900)
        ),
        (0, 0)
    );
}

#[test]
fn makes_missing_outputs_like_the_source() {
    let (served, dir) = (Served::new(&[("input", 3)]), Dir::new());
    served.put("input", &records(0, 50));
    let args = [
        "--from",
        "input",
        "--to",
        "new",
        "copy=other",
        "--create",
        "--until-caught-up",
    ];
    finish(dir.run(&served, &args), b"").expect(0);
    assert_eq!(
        (served.shards("new").len(), served.shards("other").len()),
        (3, 3)
    );
    complete(&served, "new", 50);
    complete(&served, "other", 50);
}

#[test]
fn latest_begins_with_what_comes_after() {
    let (served, dir) = (Served::new(&[("input", 2), ("output1", 1)]), Dir::new());
    served.put("input", &[("a", "before")]);
    // The server tells its time in whole seconds, and "latest" errs towards the past.
    let second = seconds();
    until("another second", || (seconds() > second + 1).then_some(()));
    let args = ["--from", "input", "--to", "output1", "--start", "latest"];
    let mut daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    daemon.says("copying");
    // Killed before its first checkpoint, it must not skip what came in between.
    daemon.kill();
    served.put("input", &records(0, 20));
    let daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    wait_for(&served, "output1", 20);
    complete(&served, "output1", 20);
    daemon.signal("TERM");
    daemon.end().expect(0);
}

#[test]
fn nothing_is_missing_after_kill_9() {
    const ROUNDS: usize = 3;
    let (served, dir) = (
        Served::new(&[("input", 2), ("output1", 1), ("output2", 3)]),
        Dir::new(),
    );
    let args = [
        "--from",
        "input",
        "--to",
        "output1",
        "output2",
        "--checkpoint-interval",
        "50ms",
    ];
    for round in 0..ROUNDS {
        let command = dir.run(
            &served,
            &[&args[..], &["--metrics", "127.0.0.1:0"]].concat(),
        );
        let mut daemon = Daemon::start(command, &dir.path("log"));
        let address = address(&daemon.says("serving metrics"));
        let written = || metric(&address, "distributary_checkpoints_total");
        let first = round * 400;
        let put = |from: usize, to: usize| {
            served.put("input", &records(first + from, first + to));
            for output in ["output1", "output2"] {
                wait_for(&served, output, first + to);
            }
        };
        put(0, 198);
        // The second checkpoint from now on began after all of that was acknowledged.
        for n in [198, 199] {
            let before = written();
            put(n, n + 1);
            until("a checkpoint", || (written() > before).then_some(()));
        }
        served.put("input", &records(first + 200, first + 400));
        wait_for(&served, "output1", first + 250);
        daemon.kill();
    }
    finish(
        dir.run(&served, &[&args[..], &["--until-caught-up"]].concat()),
        b"",
    )
    .expect(0);
    let n = ROUNDS * 400;
    let repeats = [
        complete(&served, "output1", n),
        complete(&served, "output2", n),
    ];
    assert!(repeats.iter().all(|r| *r <= ROUNDS * 202), "{repeats:?}");
}

#[test]
fn sigterm_finishes_what_is_under_way() {
    let (served, dir) = (Served::new(&[("input", 2), ("output1", 1)]), Dir::new());
    // No checkpoint before the one at the end.
    let args = [
        "--from",
        "input",
        "--to",
        "output1",
        "--checkpoint-interval",
        "1h",
    ];
    let daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    served.put("input", &records(0, 300));
    wait_for(&served, "output1", 300);
    daemon.signal("TERM");
    daemon.end().expect(0);
    served.put("input", &records(300, 310));
    finish(
        dir.run(&served, &[&args[..], &["--until-caught-up"]].concat()),
        b"",
    )
    .expect(0);
    assert_eq!(complete(&served, "output1", 310), 0);
}

#[test]
fn a_second_signal_ends_it_now() {
    let (served, dir) = (Served::new(&[("input", 1), ("output1", 1)]), Dir::new());
    let hold = json!({"select": {"operations": ["PutRecords"], "stream": "output1"}, "action": {"hold": {"gate": "g"}}});
    let args = [
        "--from",
        "input",
        "--to",
        "output1",
        "--drain-timeout",
        "1h",
    ];
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        served.local.faults().clear();
        served.put("input", &records(0, 10));
        served
            .local
            .faults()
            .add(serde_json::from_value(hold.clone()).unwrap())
            .unwrap();
        let mut daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
        until("a write that is held", || {
            (served.local.faults().held("g") > 0).then_some(())
        });
        daemon.signal(signal);
        daemon.says("finishing the writes that are under way");
        daemon.signal(signal);
        let done = daemon.end().expect(code);
        assert!(
            done.err
                .contains("again: stopped before all progress was saved"),
            "{}",
            done.err
        );
    }
}

#[test]
fn what_was_to_catch_up_and_was_stopped_has_not() {
    let (served, dir) = (Served::new(&[("input", 1), ("output1", 1)]), Dir::new());
    served.put("input", &records(0, 10));
    let hold = json!({"select": {"operations": ["PutRecords"]}, "action": {"hold": {"gate": "g"}}});
    served
        .local
        .faults()
        .add(serde_json::from_value(hold).unwrap())
        .unwrap();
    let args = [
        "--from",
        "input",
        "--to",
        "output1",
        "--until-caught-up",
        "--drain-timeout",
        "10ms",
    ];
    let daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    until("a write that is held", || {
        (served.local.faults().held("g") > 0).then_some(())
    });
    daemon.signal("TERM");
    daemon.end().expect(143);
}

#[test]
fn one_state_file_serves_one_process() {
    let (served, dir) = (Served::new(&[("input", 1), ("output1", 1)]), Dir::new());
    let args = ["--from", "input", "--to", "output1"];
    let mut daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    daemon.says("copying");
    let second = finish(dir.run(&served, &args), b"").expect(1);
    assert!(
        second.err.contains("state.db is in use by another process"),
        "{}",
        second.err
    );
    served.put("input", &records(0, 10));
    wait_for(&served, "output1", 10);
    daemon.signal("INT");
    daemon.end().expect(0);
}

#[test]
fn a_stream_that_was_made_again_is_another_stream() {
    let (served, dir) = (Served::new(&[("input", 1), ("output1", 1)]), Dir::new());
    let args = ["--from", "input", "--to", "output1", "--until-caught-up"];
    finish(dir.run(&served, &args), b"").expect(0);
    let state = fs::read(dir.path("state.db")).unwrap();
    served.delete("input");
    // The creation time has milliseconds.
    until("another millisecond", || {
        served.local.create_stream("input", 1).ok()
    });
    let done = finish(dir.run(&served, &args), b"").expect(1);
    assert!(
        done.err.contains("it was deleted and made again since"),
        "{}",
        done.err
    );
    assert!(fs::read(dir.path("state.db")).unwrap() == state);
}

#[test]
fn metrics_and_health() {
    let (served, dir) = (Served::new(&[("input", 2), ("output1", 1)]), Dir::new());
    let args = [
        "--from",
        "input",
        "--to",
        "output1",
        "--metrics",
        "127.0.0.1:0",
        "--metrics-per-shard",
    ];
    let mut daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    let address = address(&daemon.says("serving metrics"));
    assert_eq!(get(&address, "/healthz").0, 200);
    until("it is ready", || {
        (get(&address, "/readyz").0 == 200).then_some(())
    });
    served.put("input", &records(0, 100));
    let page = until("100 records counted", || {
        let (code, page) = get(&address, "/metrics");
        assert_eq!(code, 200);
        let delivered = value(
            &page,
            "distributary_records_delivered_total{output=\"output1\"}",
        );
        (delivered == Some(100.0)).then_some(page)
    });
    for line in [
        "# TYPE distributary_behind_seconds gauge",
        "distributary_info{version=",
        "distributary_output_running{fan_out=\"input\",output=\"output1\"} 1.0",
        "distributary_errors_total{fan_out=\"input\",output=\"output1\",kind=\"throttled\"} 0.0",
        "distributary_horizon_seconds{fan_out=\"input\",output=\"output1\"} ",
        "distributary_memory_budget_bytes{fan_out=\"input\"} 234881024.0",
        "distributary_shard_records_delivered_total{fan_out=\"input\",output=\"output1\",shard=\"shardId-000000000001\"} ",
        "# EOF",
    ] {
        assert!(page.contains(line), "{line} is missing in\n{page}");
    }
    assert_eq!(get(&address, "/nothing").0, 404);
    daemon.signal("TERM");
    daemon.end().expect(0);
}

#[test]
fn not_ready_before_the_source_answers() {
    let (served, dir) = (Served::new(&[("input", 1), ("output1", 1)]), Dir::new());
    let hold = json!({"select": {"operations": ["DescribeStreamSummary"]}, "times": 1, "action": {"hold": {"gate": "g"}}});
    served
        .local
        .faults()
        .add(serde_json::from_value(hold).unwrap())
        .unwrap();
    let args = [
        "--from",
        "input",
        "--to",
        "output1",
        "--metrics",
        "127.0.0.1:0",
    ];
    let mut daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    let address = address(&daemon.says("serving metrics"));
    until("it asks for the source", || {
        (served.local.faults().held("g") > 0).then_some(())
    });
    assert_eq!(
        get(&address, "/readyz"),
        (503, "input: starting\n".to_owned())
    );
    served.local.faults().release("g");
    until("it is ready", || {
        (get(&address, "/readyz").0 == 200).then_some(())
    });
    daemon.signal("TERM");
    daemon.end().expect(0);
}

#[test]
fn an_edited_file_changes_outputs_while_others_run() {
    let (served, dir) = (
        Served::new(&[("input", 2), ("output1", 1), ("output2", 1), ("output3", 1)]),
        Dir::new(),
    );
    let file = dir.path("d.toml");
    let head = "from = \"input\"\nstate = \"its.db\"\nidle-interval = \"50ms\"\nread-interval = \"20ms\"\n";
    let output = |n: u32, more: &str| format!("\n[[output]]\nstream = \"output{n}\"\n{more}");
    fs::write(&file, format!("{head}{}{}", output(1, ""), output(2, ""))).unwrap();
    let mut daemon = Daemon::start(
        served.command(&["run", "-c", file.to_str().unwrap()]),
        &dir.path("log"),
    );
    daemon.says("copying");
    assert!(dir.path("its.db").exists());
    served.put("input", &records(0, 50));
    wait_for(&served, "output1", 50);
    wait_for(&served, "output2", 50);

    // One is paused, one is added. SIGHUP, so that nothing has to be waited for.
    fs::write(
        &file,
        format!(
            "{head}{}{}{}",
            output(1, ""),
            output(2, "paused = true"),
            output(3, "")
        ),
    )
    .unwrap();
    daemon.signal("HUP");
    daemon.says("the configuration was reloaded; ");
    served.put("input", &records(50, 100));
    wait_for(&served, "output1", 100);
    wait_for(&served, "output3", 100);
    assert_eq!(held(&served, "output2").0.len(), 50);

    // A bad edit, by the file alone, changes nothing and says why.
    fs::write(
        &file,
        format!("{head}{}{}", output(1, ""), output(2, "ordr = \"strict\"")),
    )
    .unwrap();
    let log = daemon.says("the configuration was not reloaded");
    assert!(
        log.contains("d.toml:11:1: output 2 key \"ordr\" is not known; did you mean \"order\"?"),
        "{log}"
    );
    served.put("input", &records(100, 120));
    wait_for(&served, "output3", 120);

    // What cannot be changed is said; a stream that is not there too.
    fs::write(&file, format!("{head}name = \"x\"\n{}", output(1, ""))).unwrap();
    daemon.says("name cannot be changed while it runs");
    fs::write(&file, format!("{head}{}{}", output(1, ""), output(9, ""))).unwrap();
    daemon.says("cannot write to output9");

    // Resumed, output2 goes on where it was; without a table, output3 gets no more.
    fs::write(
        &file,
        format!("{head}{}{}", output(1, ""), output(2, "order = \"strict\"")),
    )
    .unwrap();
    daemon.says("no longer configured");
    served.put("input", &records(120, 150));
    wait_for(&served, "output1", 150);
    wait_for(&served, "output2", 150);
    daemon.signal("TERM");
    daemon.end().expect(0);
    assert_eq!(
        (
            complete(&served, "output1", 150),
            complete(&served, "output2", 150)
        ),
        (0, 0)
    );
    assert_eq!(complete(&served, "output3", 120), 0);
}

#[test]
fn one_output_that_stops_does_not_keep_the_others_from_catching_up() {
    let (served, dir) = (
        Served::new(&[("input", 1), ("output1", 1), ("output2", 1)]),
        Dir::new(),
    );
    served.put("input", &records(0, 50));
    // A record that output1 does not take, and output2 does.
    served.raise_record_size("input", 2048);
    served.raise_record_size("output2", 2048);
    served.put("input", &[("big", vec![b'x'; 1_500_000])]);
    let args = [
        "--from",
        "input",
        "--to",
        "output1",
        "output2",
        "--until-caught-up",
    ];
    let done = finish(dir.run(&served, &args), b"").expect(1);
    let last = done.err.lines().last().unwrap();
    assert!(
        last.starts_with("distributary: output output1 stopped at shard shardId-000000000000"),
        "{last}"
    );
    assert_eq!(held(&served, "output2").0.len(), 51);
}

#[test]
fn an_embedded_kinesis_of_its_own() {
    let dir = Dir::new();
    let mut command = program(&[
        "run",
        "--local",
        "--from",
        "input",
        "--to",
        "output1",
        "--until-caught-up",
    ]);
    command
        .env("HOME", dir.0.path())
        .env_remove("XDG_STATE_HOME")
        .env_remove("AWS_ACCESS_KEY_ID");
    finish(command, b"").expect(0);
    assert_eq!(fs::read_dir(dir.0.path()).unwrap().count(), 0);
}

#[test]
fn others_may_write_to_its_embedded_kinesis() {
    let dir = Dir::new();
    let command = program(&["run", "--local", "--from", "input", "--to", "output1"]);
    let mut daemon = Daemon::start(command, &dir.path("log"));
    let log = daemon.says("embedded Kinesis at");
    let endpoint = format!("http://{}", address(&log));
    finish(
        program(&[
            "put",
            "input",
            "--key",
            "k",
            "--endpoint-url",
            &endpoint,
            "hello",
        ]),
        b"",
    )
    .expect(0);
    let tail = [
        "tail",
        "output1",
        "--limit",
        "1",
        "--format",
        "raw",
        "--endpoint-url",
        &endpoint,
    ];
    assert_eq!(finish(program(&tail), b"").expect(0).lines(), ["hello"]);
    daemon.signal("INT");
    daemon.end().expect(0);
}

/// Runs, and expects one paragraph.
#[track_caller]
fn refused(command: Command, code: i32, text: &str) {
    let done = finish(command, b"").expect(code);
    let last = done.err.lines().last().unwrap_or_default();
    assert!(
        last.starts_with("distributary: ") && last.contains(text),
        "{last:?}\nis not\n{text:?}"
    );
    assert_eq!(
        done.err
            .lines()
            .filter(|line| !line.contains(" INFO "))
            .count(),
        1,
        "{}",
        done.err
    );
}

#[test]
fn wrong_flags_and_files_end_with_2() {
    let (served, dir) = (Served::new(&[("input", 1), ("output1", 1)]), Dir::new());
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/";
    for (args, text) in [
        (
            &["--from", "input", "--to", "input"][..],
            "the output input is the source itself",
        ),
        (
            &["--from", "input", "--to", &format!("{arn}input")],
            "the output input is the source itself (arn:aws",
        ),
        (
            &["--from", "input", "--to", "output1", "output1"],
            "the output output1 is given twice",
        ),
        (
            &[
                "--from",
                "input",
                "--to",
                "output1",
                &format!("x={arn}output1"),
            ],
            "output1 and x are one place",
        ),
        (
            &["--from", "input"],
            "no output to copy to: give --to STREAM",
        ),
        (
            &["--to", "output1"],
            "no stream to copy: give --from STREAM",
        ),
        (
            &["-c", "/nowhere/d.toml"],
            "cannot read the configuration /nowhere/d.toml: No such file",
        ),
        (
            &["--from", "input", "--to", "output1", "--endpoint-url", "x"],
            "\"x\" is no endpoint: expected http://",
        ),
        (
            &["--from", "input", "--to", "output1", "--memory", "1MB"],
            "give at least 64MiB",
        ),
    ] {
        refused(dir.run(&served, args), 2, text);
    }
    let file = dir.path("d.toml");
    fs::write(&file, "from = \"input\"\nstat = \"x\"\n").unwrap();
    let text = format!(
        "{}:2:1: key \"stat\" is not known; did you mean \"state\"?",
        file.display()
    );
    refused(
        served.command(&["run", "-c", file.to_str().unwrap()]),
        2,
        &text,
    );
    // clap's own messages.
    let done = finish(dir.run(&served, &["--form", "input"]), b"").expect(2);
    assert!(
        done.err.contains("a similar argument exists: '--from'"),
        "{}",
        done.err
    );
    let mut command = dir.run(&served, &["--from", "input", "--to", "output1"]);
    command.env("DISTRIBUTARY_START", "noon");
    let done = finish(command, b"").expect(2);
    assert!(
        done.err
            .contains("expected trim-horizon, latest (or now), or a time"),
        "{}",
        done.err
    );
}

#[test]
fn what_fails_while_running_ends_with_1() {
    let (served, dir) = (Served::new(&[("input", 1), ("output1", 1)]), Dir::new());
    let good = ["--from", "input", "--to", "output1"];
    for (args, text) in [
        (
            &["--from", "nope", "--to", "output1"][..],
            "cannot read nope: DescribeStreamSummary on stream nope in us-east-1",
        ),
        (
            &["--from", "input", "--to", "nope"],
            "or have it created: --create",
        ),
        (
            &[
                "--from",
                "input",
                "--to",
                "output1",
                "--endpoint-url",
                "http://127.0.0.1:1",
                "--start-timeout",
                "1s",
            ],
            "nothing answers at http://127.0.0.1:1",
        ),
        (
            &[
                "--from",
                "input",
                "--to",
                "output1",
                "--metrics",
                "203.0.113.1:1",
            ],
            "cannot listen on 203.0.113.1:1 for --metrics",
        ),
    ] {
        refused(dir.run(&served, args), 1, text);
    }
    let mut command = dir.run(&served, &good);
    command
        .env_remove("AWS_ACCESS_KEY_ID")
        .env_remove("AWS_SECRET_ACCESS_KEY");
    refused(command, 1, "no AWS credentials were found");
    for (code, text) in [
        ("ExpiredTokenException", "renew the credentials"),
        (
            "AccessDeniedException",
            "allow the action kinesis:DescribeStreamSummary on stream input",
        ),
    ] {
        let rule = json!({"action": {"error": {"code": code, "message": "no"}}});
        let id = served
            .local
            .faults()
            .add(serde_json::from_value(rule).unwrap())
            .unwrap();
        refused(dir.run(&served, &good), 1, text);
        served.local.faults().remove(id);
    }
}

#[test]
fn a_state_file_that_is_not_its_own_is_left_as_it_is() {
    let (served, dir) = (Served::new(&[("input", 1), ("output1", 1)]), Dir::new());
    let good = ["--from", "input", "--to", "output1"];
    fs::write(dir.path("state.db"), "something else").unwrap();
    refused(
        dir.run(&served, &good),
        1,
        "state.db is not a Distributary state file, or is damaged; it was left as it is",
    );
    assert_eq!(fs::read(dir.path("state.db")).unwrap(), b"something else");
    fs::remove_file(dir.path("state.db")).unwrap();
    finish(
        dir.run(&served, &[&good[..], &["--until-caught-up"]].concat()),
        b"",
    )
    .expect(0);
    let bytes = fs::read(dir.path("state.db")).unwrap();
    refused(
        dir.run(&served, &[&good[..], &["--name", "other"]].concat()),
        1,
        "is the state of the fan-out \"input\"",
    );
    assert!(fs::read(dir.path("state.db")).unwrap() == bytes);
}

#[test]
fn logs_are_json_on_request() {
    let (served, dir) = (Served::new(&[("input", 1), ("output1", 1)]), Dir::new());
    let mut command = dir.run(&served, &["--to", "output1", "--until-caught-up"]);
    command
        .env("DISTRIBUTARY_FROM", "input")
        .env("DISTRIBUTARY_LOG_FORMAT", "json");
    let done = finish(command, b"").expect(0);
    assert!(!done.err.is_empty());
    for line in done.err.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(
            line["message"].is_string() && line["level"].is_string(),
            "{line}"
        );
    }
}
