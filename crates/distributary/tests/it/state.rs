//! The saved progress, shown and changed by commands.

use crate::daemon::{Daemon, Dir};
use crate::run::{held, records, wait_for};
use crate::served::{Served, finish};

const COPY: &str = "--from input --to output1 output2 --until-caught-up --name orders";

fn copy(served: &Served, dir: &Dir, state: &str) {
    let state = dir.text(state);
    let args: Vec<&str> = COPY.split(' ').collect();
    let args = [&["run", "--state", &state], &args[..]].concat();
    finish(served.command(&args), b"").expect(0);
}

/// The number of copies of record 0.
fn copies(served: &Served, output: &str) -> usize {
    held(served, output).0["Record 0"]
}

#[test]
fn positions_are_shown_moved_and_forgotten() {
    let streams = [("input", 1), ("output1", 1), ("output2", 1)];
    let (served, dir) = (Served::new(&streams), Dir::new());
    served.put("input", &records(0, 10));
    copy(&served, &dir, "state.db");
    let file = dir.text("state.db");
    let state = |args: &[&str]| served.run(&[&["state", "--state", file.as_str()], args].concat());
    let shown = state(&["show"]).expect(0).text();
    assert_eq!(shown.lines().count(), 2, "{shown}");
    assert!(
        shown.contains("output1  shardId-000000000000  after "),
        "{shown}"
    );
    assert!(shown.contains("last record arrived 20"), "{shown}");

    // Nothing but the named output is sent again.
    let moved = state(&["seek", "output1", "--to", "trim-horizon"]).expect(0);
    assert_eq!(moved.text(), "output1 shardId-000000000000: trim-horizon\n");
    copy(&served, &dir, "state.db");
    assert_eq!(
        (copies(&served, "output1"), copies(&served, "output2")),
        (2, 1)
    );

    state(&["forget", "output2"]).expect(0);
    copy(&served, &dir, "state.db");
    assert_eq!(
        (copies(&served, "output1"), copies(&served, "output2")),
        (2, 2)
    );

    let later = ["seek", "output1", "--to", "2025-01-01T00:00:00Z"];
    state(&later).expect(0);
    assert!(
        state(&["show"])
            .expect(0)
            .text()
            .contains("records from 2025-01-01")
    );
    for (args, expected) in [
        (
            &["seek", "outptu1", "--to", "latest"][..],
            "has no output outptu1",
        ),
        (
            &["seek", "output1", "--to", "seq:x"],
            "is no sequence number",
        ),
        (&["seek", "output1", "--to", "soon"], "is no start"),
        (&["forget", "outptu1"], "has no output outptu1"),
    ] {
        let done = state(args).expect(2);
        assert!(done.err.contains(expected), "{}", done.err);
    }
}

#[test]
fn an_exported_state_continues_elsewhere() {
    let streams = [("input", 2), ("output1", 1), ("output2", 1)];
    let (served, dir) = (Served::new(&streams), Dir::new());
    served.put("input", &records(0, 10));
    copy(&served, &dir, "state.db");
    let (old, new, export) = (dir.text("state.db"), dir.text("new.db"), dir.text("o.json"));
    let exported = served.run(&["state", "--state", &old, "export"]).expect(0);
    std::fs::write(&export, exported.text()).unwrap();
    served
        .run(&["state", "--state", &new, "import", &export])
        .expect(0);
    let twice = served
        .run(&["state", "--state", &new, "import", &export])
        .expect(2);
    assert!(twice.err.contains("left as it is"), "{}", twice.err);

    served.put("input", &records(10, 20));
    copy(&served, &dir, "new.db");
    let (counts, _) = held(&served, "output1");
    assert_eq!(counts.len(), 20);
    assert!(counts.values().all(|count| *count == 1), "{counts:?}");
}

#[test]
fn the_state_of_a_running_process_is_left_alone() {
    let streams = [("input", 1), ("output1", 1)];
    let (served, dir) = (Served::new(&streams), Dir::new());
    served.put("input", &records(0, 10));
    let args = ["--from", "input", "--to", "output1"];
    let daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    wait_for(&served, "output1", 10);
    let state = dir.text("state.db");
    let done = served.run(&["state", "--state", &state, "show"]).expect(1);
    assert!(
        done.err.contains("is in use by another process"),
        "{}",
        done.err
    );
    daemon.signal("TERM");
    daemon.end().expect(0);
    served.run(&["state", "--state", &state, "show"]).expect(0);
    let none = served.run(&["state", "--name", "nobody", "show"]).expect(1);
    assert!(none.err.contains("there is no state file"), "{}", none.err);
}
