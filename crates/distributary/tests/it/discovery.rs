//! Outputs that are found by the names of their streams.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::daemon::{Daemon, Dir};
use crate::run::{held, records, wait_for};
use crate::served::{Served, until};

fn start(served: &Served, dir: &Dir, to: &[&str]) -> Daemon {
    let command: Command = dir.run(served, &[&ARGS[..], to].concat());
    Daemon::start(command, &dir.path("log"))
}

const ARGS: [&str; 5] = ["--from", "app-input", "--refresh-interval", "200ms", "--to"];

#[test]
fn streams_with_such_names_are_outputs_and_the_source_is_not() {
    let names = ["app-input", "app-1", "app-2", "app-test", "other"];
    let (served, dir) = (Served::new(&names.map(|name| (name, 1))), Dir::new());
    served.put("app-input", &records(0, 20));
    let mut daemon = start(&served, &dir, &["app-*", "!app-test"]);
    wait_for(&served, "app-1", 20);
    wait_for(&served, "app-2", 20);
    daemon.says("the source app-input is left out of the outputs");

    // A stream that is created now is fed from its creation on, also while listing is throttled.
    let throttled = json!({"select": {"operations": ["ListStreams"]}, "times": 3,
        "action": {"error": {"code": "LimitExceededException", "message": "slower"}}});
    let faults = served.local.faults();
    faults
        .add(serde_json::from_value(throttled).unwrap())
        .unwrap();
    served.local.create_stream("app-3", 1).unwrap();
    served.put("app-input", &records(20, 40));
    wait_for(&served, "app-3", 20);
    wait_for(&served, "app-1", 40);

    // Created while nothing runs.
    daemon.kill();
    served.local.create_stream("app-4", 1).unwrap();
    served.put("app-input", &records(40, 60));
    let daemon = start(&served, &dir, &["app-*", "!app-test"]);
    wait_for(&served, "app-4", 20);
    wait_for(&served, "app-1", 60);
    daemon.signal("TERM");
    daemon.end().expect(0);
    for name in ["app-test", "other"] {
        assert!(held(&served, name).0.is_empty(), "{name}");
    }
    for name in ["app-3", "app-4"] {
        let first = held(&served, name).0.into_keys().next().unwrap();
        assert_ne!(first, "Record 0", "{name}");
    }
    assert_eq!(held(&served, "app-input").0.len(), 60);
}

#[test]
fn an_output_is_let_go_only_when_its_stream_is_gone() {
    let names = ["app-input", "app-1", "app-2"];
    let (served, dir) = (Served::new(&names.map(|name| (name, 1))), Dir::new());
    served.put("app-input", &records(0, 10));
    let mut daemon = start(&served, &dir, &["app-*"]);
    wait_for(&served, "app-1", 10);

    // A listing that fails lets nothing go.
    let denied = json!({"select": {"operations": ["ListStreams"]}, "times": 1,
        "action": {"error": {"code": "AccessDeniedException", "message": "no"}}});
    let faults = served.local.faults();
    faults.add(serde_json::from_value(denied).unwrap()).unwrap();
    daemon.says("the search for outputs failed; nothing has changed");
    served.put("app-input", &records(10, 20));
    wait_for(&served, "app-1", 20);

    served.delete("app-1");
    daemon.says("the stream of the output app-1 is gone");
    served.put("app-input", &records(20, 30));
    wait_for(&served, "app-2", 30);
    served.local.create_stream("app-1", 1).unwrap();
    daemon.says("added the output app-1");
    served.put("app-input", &records(30, 40));
    until("the new stream's records", || {
        held(&served, "app-1")
            .0
            .contains_key("Record 39")
            .then_some(())
    });
    assert!(!held(&served, "app-1").0.contains_key("Record 0"));
    daemon.signal("TERM");
    daemon.end().expect(0);
}

#[test]
fn hundreds_of_streams_are_found_in_pages() {
    let names: Vec<String> = (0..300).map(|i| format!("out-{i:03}")).collect();
    let streams: Vec<(&str, u32)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    let (served, dir) = (Served::new(&streams), Dir::new());
    served.local.create_stream("input", 1).unwrap();
    served.put("input", &records(0, 10));
    let config = dir.path("d.toml");
    let text = |max: u32| {
        format!(
            "from = \"input\"\nuntil-caught-up = true\n[[output]]\nstreams = \"out-*\"\n\
             outputs-max = {max}\n"
        )
    };
    fs::write(&config, text(40)).unwrap();
    let args = ["-c", config.to_str().unwrap()];
    let done = crate::served::finish(dir.run(&served, &args), b"").expect(0);
    assert!(done.err.contains("outputs-max is 40"), "{}", done.err);
    let full = || {
        names
            .iter()
            .filter(|name| held(&served, name).0.len() == 10)
    };
    assert_eq!(full().count(), 40);

    let dir = Dir::new();
    fs::write(dir.path("d.toml"), text(300)).unwrap();
    let args = ["-c".to_owned(), dir.text("d.toml")];
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    crate::served::finish(dir.run(&served, &args), b"").expect(0);
    assert_eq!(full().count(), 300);
}

#[test]
fn a_reload_changes_the_pattern_and_the_settings_of_all() {
    let names = ["input", "app-1", "app-2", "my-3"];
    let (served, dir) = (Served::new(&names.map(|name| (name, 1))), Dir::new());
    served.put("input", &records(0, 10));
    let config = dir.path("d.toml");
    fs::write(
        &config,
        "from = \"input\"\n[[output]]\nstreams = \"app-*\"\n",
    )
    .unwrap();
    let args = ["-c", config.to_str().unwrap()];
    let mut daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    wait_for(&served, "app-1", 10);
    wait_for(&served, "app-2", 10);

    let text = "from = \"input\"\n[[output]]\nstream = \"app-1\"\n[[output]]\n\
                streams = \"app-*,my-*\"\norder = \"strict\"\nnew-outputs = \"trim-horizon\"\n";
    fs::write(&config, text).unwrap();
    daemon.signal("HUP");
    daemon.says("the configuration was reloaded; 1 changes were made");
    wait_for(&served, "my-3", 10);
    served.put("input", &records(10, 20));
    for name in &names[1..] {
        wait_for(&served, name, 20);
    }
    daemon.signal("TERM");
    daemon.end().expect(0);
}

#[test]
fn streams_with_a_tag_are_outputs() {
    let names = ["input", "one", "two", "three"];
    let (served, dir) = (Served::new(&names.map(|name| (name, 1))), Dir::new());
    for (name, value) in [("one", "input"), ("two", "other"), ("input", "input")] {
        served.tag(name, "copies", value);
    }
    for i in 0..49 {
        served.tag("two", &format!("a{i:02}"), "x");
    }
    served.put("input", &records(0, 10));
    let args = ["--from", "input", "--refresh-interval", "200ms"];
    let to = ["--to-tag", "copies=input"];
    let mut daemon = Daemon::start(
        dir.run(&served, &[&args[..], &to].concat()),
        &dir.path("log"),
    );
    wait_for(&served, "one", 10);

    // Found later, behind a page of tags, and while tags are throttled.
    let throttled = json!({"select": {"operations": ["ListTagsForStream"]}, "times": 3,
        "action": {"error": {"code": "LimitExceededException", "message": "slower"}}});
    let faults = served.local.faults();
    faults
        .add(serde_json::from_value(throttled).unwrap())
        .unwrap();
    served.tag("two", "copies", "input");
    daemon.says("added the output two");
    served.put("input", &records(10, 20));
    wait_for(&served, "one", 20);
    wait_for(&served, "two", 20);
    daemon.signal("TERM");
    daemon.end().expect(0);
    assert!(held(&served, "three").0.is_empty());
    assert_eq!(held(&served, "input").0.len(), 20);
}

#[test]
fn a_circle_that_only_the_streams_show_is_refused() {
    let (served, dir) = (Served::new(&[("one", 1), ("two", 1)]), Dir::new());
    let config = dir.text("d.toml");
    let fan_out = |name: &str, from: &str, to: &str| {
        let state = dir.text(&format!("{name}.db"));
        format!(
            "[[fan-out]]\nname = \"{name}\"\nfrom = \"{from}\"\nstate = \"{state}\"\n\
             [[fan-out.output]]\nstream = \"{to}\"\n"
        )
    };
    let arn = "arn:aws:kinesis:us-east-1:000000000000:stream/two";
    let text = [fan_out("a", "one", "two"), fan_out("b", arn, "one")].concat();
    fs::write(&config, text).unwrap();
    served.put("one", &records(0, 3));
    let mut daemon = Daemon::start(
        served.command(&["run", "-c", &config, "--idle-interval", "50ms"]),
        &dir.path("log"),
    );
    let told = daemon.says("they would be copied round and round");
    assert!(told.contains("the others continue"), "{told}");
    daemon.signal("TERM");
    assert_eq!(daemon.end().code, Some(2));

    // The same names are seen in the configuration.
    let text = [fan_out("a", "one", "two"), fan_out("b", "two", "one")].concat();
    fs::write(&config, text).unwrap();
    let done = served.run(&["run", "-c", &config]).expect(2);
    assert!(done.err.contains("in a circle"), "{}", done.err);
}
