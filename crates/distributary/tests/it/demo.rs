//! `distributary demo`.

use crate::served::{Running, finish, program, scratch, until};

#[test]
fn it_shows_the_main_job_and_leaves_nothing_behind() {
    let (_dir, path) = scratch();
    let mut command = program(&["demo", "--for", "2s", "--rate", "500", "--outputs", "3"]);
    command.env("TMPDIR", &path);
    let done = finish(command, b"").expect(0);
    let text = done.text();
    for says in [
        "every output has exactly these",
        "output1         1,000        0      0",
        "app-output-1    1,000        0      0",
        "refused every write",
        "was split",
        "verify --from input --to output1 output2",
    ] {
        assert!(text.contains(says), "{says:?} in {text}");
    }
    assert!(done.err.contains("output2 is throttled"), "{}", done.err);
    assert!(
        text.lines()
            .chain(done.err.lines())
            .all(|line| line.chars().count() <= 80 || line.contains(" run "))
    );
    assert_eq!(
        std::fs::read_dir(&path).unwrap().count(),
        0,
        "nothing is left behind"
    );
}

#[test]
fn one_output_is_enough() {
    let done = finish(program(&["demo", "--for", "500ms", "--outputs", "1"]), b"").expect(0);
    assert!(
        done.text().contains("the output has exactly these"),
        "{}",
        done.text()
    );
}

#[test]
fn an_interrupted_demo_leaves_nothing_behind() {
    let (_dir, path) = scratch();
    let mut command = program(&["demo", "--for", "60s"]);
    command.env("TMPDIR", &path);
    let running = Running::start(command);
    let files = || std::fs::read_dir(&path).unwrap().count();
    until("its state", || (files() > 0).then_some(()));
    running.signal("INT");
    let done = running.wait().expect(130);
    assert!(done.err.contains("nothing is left behind"), "{}", done.err);
    assert_eq!(files(), 0);
}

#[test]
fn what_does_not_fit_in_memory_is_refused() {
    let done = finish(program(&["demo", "--for", "10m", "--rate", "100000"]), b"").expect(2);
    assert!(done.err.contains("lower one of the three"), "{}", done.err);
    finish(program(&["demo", "--outputs", "0"]), b"").expect(2);
}
