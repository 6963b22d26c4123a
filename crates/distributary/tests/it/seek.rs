//! Positions that are moved, and records that are skipped: in a stopped and in a running fan-out.

use std::fs;

use crate::daemon::{Daemon, Dir};
use crate::run::{held, records, wait_for};
use crate::served::{Done, Served, finish, until};

/// Larger than a stream takes that nobody has set another limit for.
const TOO_LARGE: usize = (1 << 20) + 1;
const SHARD: &str = "shardId-000000000000";
const COPY: &[&str] = &["--from", "input", "--to", "small", "large"];

/// Ten records, one that the output `small` refuses, and ten more.
fn served() -> Served {
    let served = Served::new(&[("input", 1), ("small", 1), ("large", 1)]);
    for stream in ["input", "large"] {
        served.take_records_of(stream, 4);
    }
    served.put("input", &records(0, 10));
    served.put("input", &[("a", vec![b'x'; TOO_LARGE])]);
    served.put("input", &records(10, 20));
    served
}

/// The sequence number of a record of the input.
fn sequence(served: &Served, i: usize) -> String {
    served.read("input")[0][i].sequence_number.clone()
}

/// The copies of record 0 in a stream.
fn copies(served: &Served, stream: &str) -> usize {
    held(served, stream).0["Record 0"]
}

fn ctl(served: &Served, dir: &Dir, args: &[&str]) -> Done {
    let control = format!("unix:{}", dir.text("state.sock"));
    served.run(&[&["ctl", "--control", &control], args].concat())
}

#[test]
fn a_running_output_is_moved_and_the_others_are_not() {
    let (served, dir) = (served(), Dir::new());
    served.take_records_of("small", 4);
    let control = format!("unix:{}", dir.text("state.sock"));
    let args = [COPY, &["--control", &control]].concat();
    let mut daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    wait_for(&served, "small", 21);
    wait_for(&served, "large", 21);

    let done = ctl(&served, &dir, &["seek", "small", "--to", "trim-horizon"]);
    assert_eq!(
        done.expect(0).text(),
        "moved the output small in every shard\n"
    );
    until("a second copy", || {
        (copies(&served, "small") == 2).then_some(())
    });
    let to = format!("seq:{}", sequence(&served, 18));
    let seek = ["reset", "small", "--shard", SHARD, "--to", &to];
    ctl(&served, &dir, &seek).expect(0);
    until("the last record again", || {
        (held(&served, "small").0["Record 19"] == 3).then_some(())
    });
    assert_eq!((copies(&served, "small"), copies(&served, "large")), (2, 1));

    for (args, expected) in [
        (&["seek", "smal", "--to", "latest"][..], "no output smal"),
        (&["seek", "small", "--to", &to], "name the shard"),
        (
            &["seek", "small", "--shard", "x", "--to", "latest"],
            "no shard x",
        ),
        (&["skip", "small", SHARD, "7"], "has written every record"),
        (&["skip", "small", SHARD, "x"], "is no sequence number"),
    ] {
        let done = ctl(&served, &dir, args).expect(1);
        assert!(done.err.contains(expected), "{args:?} {}", done.err);
    }

    // Nothing is written before the new position, and nothing is lost by a kill.
    ctl(&served, &dir, &["seek", "small", "--to", "latest"]).expect(0);
    daemon.says("moved the output small in every shard");
    daemon.kill();
    served.put("input", &records(20, 25));
    let daemon = Daemon::start(dir.run(&served, COPY), &dir.path("log2"));
    wait_for(&served, "small", 26);
    daemon.signal("TERM");
    daemon.end().expect(0);
    assert_eq!(copies(&served, "small"), 2);
}

#[test]
fn a_poisoned_record_is_skipped_while_it_runs_and_no_other_one_is() {
    let (served, dir) = (served(), Dir::new());
    let control = format!("unix:{}", dir.text("state.sock"));
    let args = [COPY, &["--control", &control]].concat();
    let mut daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    let poisoned = sequence(&served, 10);
    daemon.says(&format!("record {poisoned} was refused"));
    wait_for(&served, "large", 21);

    for other in [sequence(&served, 9), sequence(&served, 11)] {
        let done = ctl(&served, &dir, &["skip", "small", SHARD, &other]).expect(1);
        let expected = format!("is {poisoned}, not {other}; nothing was skipped");
        assert!(done.err.contains(&expected), "{}", done.err);
    }
    let done = ctl(&served, &dir, &["skip", "small", SHARD, &poisoned]).expect(0);
    let expected = format!("the output small goes on behind the record {poisoned}\n");
    assert_eq!(done.text(), expected);
    daemon.says(&format!(
        "skipping record {poisoned} with the key \"a\", 1.0 MB, arrived "
    ));
    wait_for(&served, "small", 20);
    daemon.signal("TERM");
    daemon.end().expect(0);
    assert_eq!(held(&served, "small").0.len(), 20);
    assert_eq!(held(&served, "large").0.len(), 21);
}

#[test]
fn a_poisoned_record_is_skipped_in_a_stopped_fan_out() {
    let (served, dir) = (served(), Dir::new());
    let bounded = [COPY, &["--until-caught-up", "--give-up-after", "1s"]].concat();
    finish(dir.run(&served, &bounded), b"").expect(1);
    let (file, poisoned) = (dir.text("state.db"), sequence(&served, 10));
    let skip = |output: &str, sequence: &str| {
        served.run(&["state", "--state", &file, "skip", output, SHARD, sequence])
    };

    let shown = |name: &str| {
        let shown = served.run(&["state", "--state", &file, "show"]).expect(0);
        fs::write(dir.path(name), shown.text()).unwrap();
        shown.text()
    };
    let before = shown("before");
    let other = sequence(&served, 11);
    let done = skip("small", &other).expect(2);
    assert!(done.err.contains("nothing was skipped"), "{}", done.err);
    assert!(
        skip("smal", &poisoned)
            .expect(2)
            .err
            .contains("no output smal")
    );
    assert!(
        skip("large", &poisoned)
            .expect(2)
            .err
            .contains("every record")
    );
    assert_eq!(before, shown("after"));

    let done = skip("small", &poisoned).expect(0);
    let expected = format!("small {SHARD}: skipped record {poisoned} with the key \"a\", 1.0 MB");
    assert!(done.text().starts_with(&expected), "{}", done.text());
    finish(dir.run(&served, &bounded), b"").expect(0);
    assert_eq!(held(&served, "small").0.len(), 20);
    let state = [
        "state",
        "--state",
        &file,
        "reset",
        "small",
        "--to",
        "trim-horizon",
    ];
    served.run(&state).expect(0);
}
