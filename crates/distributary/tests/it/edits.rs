//! Edits of the configuration file while the program runs: renamed, missing and rejected parts.

use std::fs;

use crate::daemon::{Daemon, Dir, address, get, metric};
use crate::run::{held, records, wait_for};
use crate::served::Served;

const OUTPUT: &str = "[[output]]\nstream = \"output\"\n";
const OTHER: &str = "[[output]]\nstream = \"other\"\n";

fn served() -> Served {
    Served::new(&[("input", 1), ("output", 1), ("other", 1)])
}

fn write(dir: &Dir, outputs: &str) {
    let text = format!(
        "from = \"input\"\nstate = \"state.db\"\nidle-interval = \"50ms\"\nread-interval = \"20ms\"\n{outputs}"
    );
    fs::write(dir.path("d.toml"), text).unwrap();
}

fn start(served: &Served, dir: &Dir, outputs: &str) -> Daemon {
    write(dir, outputs);
    let args = ["run", "-c", &dir.text("d.toml"), "--metrics", "127.0.0.1:0"];
    Daemon::start(served.command(&args), &dir.path("log"))
}

/// Copies of each record in a stream.
fn copies(served: &Served, stream: &str) -> (usize, usize) {
    let copies = held(served, stream).0;
    (copies.len(), copies.values().sum())
}

#[test]
fn an_output_that_is_missing_from_the_file_for_a_while_keeps_its_progress() {
    let (served, dir) = (served(), Dir::new());
    let both = format!("{OUTPUT}{OTHER}");
    let mut daemon = start(&served, &dir, &both);
    served.put("input", &records(0, 50));
    wait_for(&served, "output", 50);
    wait_for(&served, "other", 50);

    write(&dir, OTHER);
    daemon.signal("HUP");
    daemon.says("no longer configured");
    served.put("input", &records(50, 80));
    wait_for(&served, "other", 80);
    assert_eq!(copies(&served, "output"), (50, 50));

    write(&dir, &both);
    daemon.signal("HUP");
    wait_for(&served, "output", 80);
    assert_eq!(copies(&served, "output"), (80, 80));
    daemon.signal("TERM");
    daemon.end().expect(0);
}

#[test]
fn a_renamed_output_goes_on_where_its_place_was() {
    let (served, dir) = (served(), Dir::new());
    let file = dir.text("lines");
    let named = |stream: &str, lines: &str| {
        format!(
            "{OUTPUT}name = \"{stream}\"\n[[output]]\ntype = \"file\"\npath = \"{file}\"\nname = \"{lines}\"\n"
        )
    };
    let mut daemon = start(&served, &dir, &named("a", "b"));
    served.put("input", &records(0, 50));
    wait_for(&served, "output", 50);

    // While the program runs; the names of both are exchanged.
    write(&dir, &named("b", "a"));
    daemon.signal("HUP");
    daemon.says("the configuration was reloaded");
    served.put("input", &records(50, 60));
    wait_for(&served, "output", 60);
    daemon.signal("TERM");
    daemon.end().expect(0);

    // Between two runs.
    let mut daemon = start(&served, &dir, &named("c", "b"));
    served.put("input", &records(60, 70));
    wait_for(&served, "output", 70);
    daemon.says("has a new name");
    assert_eq!(copies(&served, "output"), (70, 70));
    daemon.signal("TERM");
    daemon.end().expect(0);
    let lines = fs::read_to_string(&file).unwrap();
    assert_eq!(lines.lines().count(), 70);
}

#[test]
fn a_rejected_file_shows_in_a_metric_and_in_readyz() {
    let (served, dir) = (served(), Dir::new());
    let mut daemon = start(&served, &dir, OUTPUT);
    let address = address(&daemon.says("serving metrics"));
    daemon.says("copying");
    let name = "distributary_config_last_reload_successful";
    let successful = || get(&address, "/metrics").1.contains(&format!("{name} 1"));
    assert!(successful());

    write(&dir, "[[output]]\nstraem = \"output\"\n");
    daemon.signal("HUP");
    daemon.says("was not reloaded");
    assert!(get(&address, "/metrics").1.contains(&format!("{name} 0")));
    served.put("input", &records(0, 10));
    wait_for(&served, "output", 10);
    let ready = crate::served::until("readiness", || {
        let (status, text) = get(&address, "/readyz");
        (status == 200).then_some(text)
    });
    assert!(ready.contains("configuration file: rejected: "), "{ready}");
    assert!(ready.contains("straem"), "{ready}");
    assert!(metric(&address, "distributary_fan_out_running") > 0.0);

    write(&dir, OUTPUT);
    daemon.signal("HUP");
    daemon.says("the configuration was reloaded");
    assert!(successful());
    daemon.signal("TERM");
    daemon.end().expect(0);
}
