//! The first minute: services that do not answer yet, and outputs that can't be used.

use std::fs;

use serde_json::json;

use crate::daemon::{Daemon, Dir, address, get};
use crate::run::{held, records, wait_for};
use crate::served::{Served, finish, until};

fn served() -> Served {
    Served::new(&[("input", 1), ("output", 1)])
}

/// Lets operations of a stream fail, or not any more.
fn refuse(served: &Served, stream: &str, code: &str) {
    let fault = json!({
        "select": {"operations": ["DescribeStreamSummary"], "stream": stream},
        "action": {"error": {"code": code, "message": "not now", "status": 400}},
    });
    let fault = serde_json::from_value(fault).unwrap();
    served.local.faults().add(fault).unwrap();
}

#[test]
fn one_output_that_is_missing_starts_as_failing_and_joins_later() {
    let (served, dir) = (served(), Dir::new());
    let args = [
        "--from",
        "input",
        "--to",
        "output",
        "later",
        "--metrics",
        "127.0.0.1:0",
    ];
    let mut daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    let address = address(&daemon.says("serving metrics"));
    daemon.says("the output is failing");
    served.put("input", &records(0, 30));
    wait_for(&served, "output", 30);
    let ready = until("readiness", || {
        let (status, text) = get(&address, "/readyz");
        (status == 200).then_some(text)
    });
    assert!(ready.contains("later is failing"), "{ready}");
    let page = get(&address, "/metrics").1;
    let failing = page
        .lines()
        .find(|line| line.starts_with("distributary_output_failing{") && line.contains("later"));
    assert!(failing.unwrap().ends_with(" 1.0"), "{page}");

    served.local.create_stream("later", 1).unwrap();
    daemon.says("the output can be used now");
    wait_for(&served, "later", 30);
    served.put("input", &records(30, 40));
    wait_for(&served, "later", 40);
    assert_eq!(held(&served, "output").0.values().sum::<usize>(), 40);
    daemon.signal("TERM");
    daemon.end().expect(0);
}

#[test]
fn a_bounded_run_gives_an_output_up_that_can_not_be_used() {
    let (served, dir) = (served(), Dir::new());
    // Nothing has to be written to that output: the run is not complete all the same.
    let args = [
        "--from",
        "input",
        "--to",
        "output",
        "absent",
        "--until-caught-up",
    ];
    let bounded = [&args[..], &["--give-up-after", "2s"]].concat();
    let done = finish(dir.run(&served, &bounded), b"").expect(1);
    assert!(
        done.err.contains("the output absent was given up"),
        "{}",
        done.err
    );

    served.put("input", &records(0, 30));
    finish(dir.run(&served, &bounded), b"").expect(1);
    assert_eq!(held(&served, "output").0.len(), 30);

    let strict = [&args[..], &["--strict-start"]].concat();
    let done = finish(dir.run(&served, &strict), b"").expect(1);
    assert!(done.err.contains("cannot write to absent"), "{}", done.err);
    assert!(!done.err.contains("copying"), "{}", done.err);
}

#[test]
fn a_throttled_or_absent_control_plane_is_waited_for() {
    let (served, dir) = (served(), Dir::new());
    served.put("input", &records(0, 10));
    refuse(&served, "input", "LimitExceededException");
    let args = ["--from", "input", "--to", "output"];
    let mut daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    daemon.says("waiting for the source");
    served.local.faults().clear();
    wait_for(&served, "output", 10);
    daemon.signal("TERM");
    daemon.end().expect(0);

    // Nothing listens there.
    let mut run = dir.run(&served, &[&args[..], &["--start-timeout", "2s"]].concat());
    run.env("AWS_ENDPOINT_URL", "http://127.0.0.1:9");
    let done = finish(run, b"").expect(1);
    assert!(done.err.contains("gave up after 2 s"), "{}", done.err);
}

#[test]
fn a_reason_that_does_not_pass_ends_the_start_at_once() {
    let (served, dir) = (served(), Dir::new());
    let done = finish(
        dir.run(&served, &["--from", "absent", "--to", "output"]),
        b"",
    )
    .expect(1);
    assert!(done.err.contains("cannot read absent"), "{}", done.err);
    refuse(&served, "input", "AccessDeniedException");
    let done = finish(
        dir.run(&served, &["--from", "input", "--to", "output"]),
        b"",
    )
    .expect(1);
    assert!(!done.err.contains("waiting"), "{}", done.err);
}

#[test]
fn an_edit_during_the_start_is_made_after_the_start() {
    let (served, dir) = (served(), Dir::new());
    served.local.create_stream("more", 1).unwrap();
    served.put("input", &records(0, 10));
    refuse(&served, "input", "LimitExceededException");
    let text = "from = \"input\"\nstate = \"state.db\"\n[[output]]\nstream = \"output\"\n";
    fs::write(dir.path("d.toml"), text).unwrap();
    let run = served.command(&["run", "-c", &dir.text("d.toml")]);
    let mut daemon = Daemon::start(run, &dir.path("log"));
    daemon.says("waiting for the source");

    let more = format!("{text}[[output]]\nstream = \"more\"\n");
    fs::write(dir.path("d.toml"), more).unwrap();
    daemon.signal("HUP");
    served.local.faults().clear();
    wait_for(&served, "more", 10);
    daemon.signal("TERM");
    daemon.end().expect(0);
}
