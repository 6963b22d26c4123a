//! Several fan-outs in one process, and commands to a running one.

use std::fs;

use serde_json::{Value, json};

use crate::daemon::{Daemon, Dir, address, get, value};
use crate::run::{held, records, wait_for};
use crate::served::{Served, until};

/// Two fan-outs of two inputs, with `more` at the top of the file and `outputs` in the first fan-out.
fn two(more: &str, outputs: &str) -> String {
    format!(
        "idle-interval = \"50ms\"\nread-interval = \"20ms\"\n{more}\n\
         [[fan-out]]\nname = \"one\"\nfrom = \"input1\"\nstate = \"one.db\"\n{outputs}\n\
         [[fan-out]]\nname = \"two\"\nfrom = \"input2\"\nstate = \"two.db\"\n\
         [[fan-out.output]]\nstream = \"output2\"\n"
    )
}

const OUTPUT1: &str = "[[fan-out.output]]\nstream = \"output1\"\n";

fn served() -> Served {
    Served::new(&[
        ("input1", 1),
        ("input2", 1),
        ("output1", 1),
        ("output2", 1),
        ("output3", 1),
    ])
}

fn start(served: &Served, dir: &Dir, text: &str, more: &[&str]) -> Daemon {
    let file = dir.path("d.toml");
    fs::write(&file, text).unwrap();
    let args = [&["run", "-c", file.to_str().unwrap()], more].concat();
    Daemon::start(served.command(&args), &dir.path("log"))
}

#[test]
fn two_fan_outs_share_a_process_and_nothing_else() {
    let (served, dir) = (served(), Dir::new());
    let metrics = ["--metrics", "127.0.0.1:0"];
    let mut daemon = start(&served, &dir, &two("", OUTPUT1), &metrics);
    let address = address(&daemon.says("serving metrics"));
    served.put("input1", &records(0, 50));
    served.put("input2", &records(0, 70));
    wait_for(&served, "output1", 50);
    wait_for(&served, "output2", 70);

    // Every series has the name of the fan-out, and so has every log line about one.
    let page = until("both are counted", || {
        let (_, page) = get(&address, "/metrics");
        let delivered = |fan_out: &str, output: &str| {
            let name = "distributary_records_delivered_total";
            value(
                &page,
                &format!("{name}{{fan_out=\"{fan_out}\",output=\"{output}\"}}"),
            )
        };
        let both =
            delivered("one", "output1") == Some(50.0) && delivered("two", "output2") == Some(70.0);
        both.then_some(page)
    });
    let of_process = [
        "#",
        "distributary_info",
        "distributary_log_lines",
        "distributary_config",
    ];
    let is_of_process = |line: &str| of_process.iter().any(|start| line.starts_with(start));
    for line in page.lines().filter(|line| !is_of_process(line)) {
        assert!(line.contains("fan_out=\""), "{line}");
    }
    let copying: Vec<String> = daemon
        .log()
        .lines()
        .filter(|line| line.contains("copying"))
        .map(str::to_owned)
        .collect();
    assert!(
        copying.iter().any(|l| l.contains("fan_out=\"one\"")),
        "{copying:?}"
    );
    assert!(
        copying.iter().any(|l| l.contains("fan_out=\"two\"")),
        "{copying:?}"
    );
    let (_, ready) = get(&address, "/readyz");
    assert!(
        ready.contains("one: ready") && ready.contains("two: ready"),
        "{ready}"
    );

    // An edit of the first changes nothing in the second.
    let more = format!("{OUTPUT1}[[fan-out.output]]\nstream = \"output3\"\n");
    fs::write(dir.path("d.toml"), two("", &more)).unwrap();
    daemon.signal("HUP");
    daemon.says("the configuration was reloaded; 1 changes were made");
    wait_for(&served, "output3", 50);
    served.put("input2", &records(70, 90));
    wait_for(&served, "output2", 90);

    // After a crash each continues from its own state.
    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    served.put("input1", &records(50, 60));
    served.put("input2", &records(90, 100));
    let daemon = start(&served, &dir, &two("", &more), &[]);
    for (output, count) in [("output1", 60), ("output2", 100), ("output3", 60)] {
        wait_for(&served, output, count);
    }
    daemon.signal("TERM");
    daemon.end().expect(0);
}

#[test]
fn a_fan_out_is_added_and_removed_while_the_others_run() {
    let (served, dir) = (served(), Dir::new());
    let mut daemon = start(&served, &dir, &two("", OUTPUT1), &[]);
    served.put("input1", &records(0, 10));
    wait_for(&served, "output1", 10);

    let text = two("", OUTPUT1);
    let without = text.split("[[fan-out]]\nname = \"two\"").next().unwrap();
    fs::write(dir.path("d.toml"), without).unwrap();
    daemon.signal("HUP");
    daemon.says("the fan-out two is no longer configured");
    served.put("input1", &records(10, 20));
    served.put("input2", &records(0, 10));
    wait_for(&served, "output1", 20);

    fs::write(dir.path("d.toml"), &text).unwrap();
    daemon.signal("HUP");
    wait_for(&served, "output2", 10);
    daemon.signal("TERM");
    daemon.end().expect(0);
}

#[test]
fn one_fan_out_that_fails_leaves_the_others_running() {
    let (served, dir) = (served(), Dir::new());
    let text = two("", "[[fan-out.output]]\nstream = \"absent\"\n");
    let mut daemon = start(&served, &dir, &text, &["--until-caught-up"]);
    served.put("input2", &records(0, 30));
    daemon.says("the fan-out one ended, the others continue");
    let done = daemon.end().expect(1);
    assert!(done.err.contains("absent"), "{}", done.err);
    // The second caught up with everything that was there when it started.
    let (again, all) = (
        start(&served, &dir, &two("", OUTPUT1), &["--until-caught-up"]),
        30,
    );
    again.end().expect(0);
    assert_eq!(held(&served, "output2").0.len(), all);
}

#[test]
fn a_changed_drain_timeout_counts_at_once() {
    let (served, dir) = (served(), Dir::new());
    let hold = json!({"select": {"operations": ["PutRecords"], "stream": "output1"}, "action": {"hold": {"gate": "g"}}});
    let faults = served.local.faults();
    faults.add(serde_json::from_value(hold).unwrap()).unwrap();
    let mut daemon = start(&served, &dir, &two("drain-timeout = \"1h\"", OUTPUT1), &[]);
    served.put("input1", &records(0, 10));
    until("a write that is held", || {
        (served.local.faults().held("g") > 0).then_some(())
    });

    fs::write(
        dir.path("d.toml"),
        two("drain-timeout = \"100ms\"", OUTPUT1),
    )
    .unwrap();
    daemon.signal("HUP");
    daemon.says("the configuration was reloaded; 1 changes were made");
    daemon.signal("TERM");
    daemon.end().expect(0);
}

#[test]
fn commands_to_a_running_process() {
    let (served, dir) = (served(), Dir::new());
    let socket = dir.path("control.sock");
    let control = format!("unix:{}", socket.display());
    let text = two(&format!("control = \"{control}\""), OUTPUT1);
    let mut daemon = start(&served, &dir, &text, &[]);
    daemon.says("copying");
    let ctl = |args: &[&str]| served.run(&[&["ctl", "--control", &control], args].concat());
    served.put("input1", &records(0, 10));
    wait_for(&served, "output1", 10);

    // Only this user may connect.
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);

    let status = |args: &[&str]| -> Value {
        let text = ctl(&[args, &["status"]].concat()).expect(0).text();
        serde_json::from_str(&text).unwrap()
    };
    until("both run", || {
        let status = status(&[]);
        assert_eq!(status[0]["fan-out"], "one", "{status:#}");
        (status[0]["phase"] == "running" && status[1]["phase"] == "running").then_some(())
    });

    let text = ctl(&["--fan-out", "one", "pause", "output1"])
        .expect(0)
        .text();
    assert!(text.contains("paused the output output1"), "{text}");
    served.put("input1", &records(10, 20));
    until("the output is paused", || {
        let status = status(&["--fan-out", "one"]);
        (status[0]["status"]["outputs"][0]["state"] == "paused").then_some(())
    });
    ctl(&["--fan-out", "one", "resume", "output1"]).expect(0);
    wait_for(&served, "output1", 20);

    // Restarted from the oldest record, the output receives everything once more.
    ctl(&[
        "--fan-out",
        "one",
        "restart",
        "output1",
        "--from",
        "trim-horizon",
    ])
    .expect(0);
    until("everything is there twice", || {
        let count: usize = held(&served, "output1").0.values().sum();
        (count >= 40).then_some(())
    });

    // Mistakes are answered in words.
    let wrong = ctl(&["--fan-out", "one", "pause", "output9"]).expect(1);
    assert!(
        wrong.err.contains("there is no output output9"),
        "{}",
        wrong.err
    );
    let wrong = ctl(&["pause", "output1"]).expect(1);
    assert!(wrong.err.contains("name one"), "{}", wrong.err);
    let wrong = ctl(&["--fan-out", "three", "resume", "output1"]).expect(1);
    assert!(
        wrong.err.contains("there is no fan-out three"),
        "{}",
        wrong.err
    );

    let reloaded = ctl(&["reload"]).expect(0);
    let text = reloaded.text();
    assert!(text.contains("nothing is different"), "{text}");
    ctl(&["drain"]).expect(0);
    daemon.end().expect(0);
    assert!(!socket.exists());
    let gone = ctl(&["status"]).expect(1);
    assert!(
        gone.err.contains("no running process answers"),
        "{}",
        gone.err
    );
}
