//! The reading side of the real program: gaps, streams created again, and the state file.

use distributary_local::Local;

use crate::daemon::{Daemon, Dir};
use crate::run::{held, records, seconds, wait_for};
use crate::served::{Served, finish, until};

const ARGS: [&str; 4] = ["--from", "input", "--to", "output"];

fn bounded(dir: &Dir, served: &Served) -> std::process::Command {
    dir.run(served, &[&ARGS[..], &["--until-caught-up"]].concat())
}

#[test]
fn records_deleted_before_the_first_read_are_a_gap_and_exit_code_3() {
    let local = Local::builder().seed(1).retention_bytes(20_000).build();
    let (served, dir) = (
        Served::over(local, &[("input", 1), ("output", 1)]),
        Dir::new(),
    );
    // An empty stream: nothing is read, and the progress is the shard's start.
    finish(bounded(&dir, &served), b"").expect(0);
    served.put("input", &records(0, 6000));
    let done = finish(bounded(&dir, &served), b"").expect(3);
    assert!(done.err.contains("GAP"), "{}", done.err);
    assert!(done.err.contains("records are missing"), "{}", done.err);
}

#[test]
fn an_output_created_again_gets_everything_again() {
    let (served, dir) = (
        Served::new(&[("input", 2), ("output", 1), ("other", 1)]),
        Dir::new(),
    );
    let args = [&ARGS[..], &["other", "--until-caught-up"]].concat();
    served.put("input", &records(0, 300));
    finish(dir.run(&served, &args), b"").expect(0);
    let second = seconds();
    until("another second", || (seconds() > second).then_some(()));
    served.recreate("output", 1);
    served.put("input", &records(300, 400));
    let done = finish(dir.run(&served, &args), b"").expect(0);
    assert!(done.err.contains("created again"), "{}", done.err);
    assert_eq!(held(&served, "output").0.len(), 400);
    assert_eq!(held(&served, "other").0.values().sum::<usize>(), 400);
}

#[test]
fn a_source_created_again_while_it_is_read_is_not_copied() {
    let (served, dir) = (Served::new(&[("input", 1), ("output", 1)]), Dir::new());
    served.put("input", &records(0, 50));
    let mut daemon = Daemon::start(dir.run(&served, &ARGS), &dir.path("log"));
    daemon.says("copying");
    wait_for(&served, "output", 50);
    // Creation times have whole seconds.
    let second = seconds();
    until("another second", || (seconds() > second).then_some(()));
    served.recreate("input", 1);
    served.put("input", &records(100, 150));
    let done = daemon.end().expect(1);
    assert!(
        done.err.contains("deleted and created again"),
        "{}",
        done.err
    );
    assert!(done.err.contains("state forget"), "{}", done.err);
    assert_eq!(held(&served, "output").0.len(), 50);
}

#[test]
fn a_state_file_that_is_deleted_while_it_is_used_ends_the_fan_out() {
    let (served, dir) = (Served::new(&[("input", 1), ("output", 1)]), Dir::new());
    let mut daemon = Daemon::start(dir.run(&served, &ARGS), &dir.path("log"));
    daemon.says("beginning anew");
    daemon.says("copying");
    std::fs::remove_file(dir.path("state.db")).unwrap();
    // Noticed without a single record to be written down.
    let done = daemon.end().expect(1);
    assert!(done.err.contains("was deleted or moved"), "{}", done.err);

    finish(bounded(&dir, &served), b"").expect(0);
    let done = finish(bounded(&dir, &served), b"").expect(0);
    assert!(done.err.contains("continuing at"), "{}", done.err);
}
