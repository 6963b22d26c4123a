//! A stretch of the past, sent again to one output.

use std::fs;

use crate::daemon::{Daemon, Dir};
use crate::run::{held, records, seconds, wait_for};
use crate::served::{Done, Served, until};

/// Records 0 to 10 in one second, 10 to 20 later, and 20 to 30 later still; the moments between.
fn served() -> (Served, u64, u64) {
    let streams = [("input", 2), ("output1", 1), ("output2", 1), ("new", 1)];
    let served = Served::new(&streams);
    let next_second = || {
        let now = seconds();
        until("the next second", || (seconds() > now + 1).then(seconds))
    };
    served.put("input", &records(0, 10));
    let first = next_second();
    served.put("input", &records(10, 20));
    let second = next_second();
    served.put("input", &records(20, 30));
    (served, first, second)
}

fn config(dir: &Dir, more: &str) -> String {
    let file = dir.text("d.toml");
    let state = dir.text("state.db");
    let text = format!(
        "from = \"input\"\nstate = \"{state}\"\nidle-interval = \"50ms\"\n\
         [[output]]\nstream = \"output1\"\n[[output]]\nstream = \"output2\"\n{more}"
    );
    fs::write(&file, text).unwrap();
    file
}

fn replay(served: &Served, file: &str, args: &str) -> Done {
    let args: Vec<&str> = args.split(' ').collect();
    served.run(&[&["replay", "-c", file], &args[..]].concat())
}

/// The number of copies of a record.
fn copies(served: &Served, stream: &str, i: usize) -> usize {
    let (counts, _) = held(served, stream);
    counts.get(&format!("Record {i}")).copied().unwrap_or(0)
}

#[test]
fn a_stretch_is_sent_again_while_the_live_lane_goes_on() {
    let ((served, first, second), dir) = (served(), Dir::new());
    let file = config(&dir, "");
    let command = served.command(&["run", "-c", &file]);
    let daemon = Daemon::start(command, &dir.path("log"));
    wait_for(&served, "output1", 30);
    wait_for(&served, "output2", 30);

    served.split("input", 0);
    let args = format!("--output output1 --from {first} --to {second}");
    let done = replay(&served, &file, &args).expect(0);
    assert!(
        done.err.contains("caught up") || done.err.contains("copying"),
        "{}",
        done.err
    );
    let counts: Vec<usize> = (0..30).map(|i| copies(&served, "output1", i)).collect();
    assert_eq!(counts, [[1; 10], [2; 10], [1; 10]].concat());
    assert!((0..30).all(|i| copies(&served, "output2", i) == 1));

    // No position stays, and the live flow is what it was.
    let names = fs::read_dir(dir.path("")).unwrap();
    let names: Vec<String> = names
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(
        !names.iter().any(|name| name.contains("replay")),
        "{names:?}"
    );
    served.put("input", &records(30, 40));
    wait_for(&served, "output1", 40);
    daemon.signal("TERM");
    daemon.end().expect(0);

    for (args, expected) in [
        ("--output other --from -1h", "there is no output other"),
        ("--output output1 --from latest", "nothing between"),
        ("--output output1 --from -1h --to -2h", "nothing between"),
    ] {
        let done = replay(&served, &file, args).expect(2);
        assert!(done.err.contains(expected), "{}", done.err);
    }
}

#[test]
fn a_new_output_is_filled_at_a_chosen_rate() {
    let ((served, first, _), dir) = (served(), Dir::new());
    let file = config(&dir, "[[output]]\nstream = \"new\"\nstart = \"latest\"\n");
    let begun = seconds();
    let args = format!("--output new --from trim-horizon --to {first} --rate 5");
    replay(&served, &file, &args).expect(0);
    assert_eq!(held(&served, "new").0.len(), 10);
    // Ten records at five a second; the first five are free.
    assert!(seconds() > begun, "{begun}");
}
