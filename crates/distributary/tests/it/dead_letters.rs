//! Records that an output refuses for good: stored as dead letters, or the lane stops.

use std::fs;

use base64_simd::STANDARD;
use serde_json::Value;

use crate::daemon::{Daemon, Dir, address, metric};
use crate::run::{held, records, wait_for};
use crate::served::{Served, finish, until};

/// Larger than a stream takes that nobody has set another limit for.
const TOO_LARGE: usize = (1 << 20) + 1;

/// An input that takes larger records than the first output does.
fn served() -> Served {
    let served = Served::new(&[("input", 1), ("small", 1), ("large", 1), ("dead", 1)]);
    served.take_records_of("input", 4);
    served.take_records_of("large", 4);
    served.take_records_of("dead", 4);
    served
}

/// Records 0 to 20, with one in the middle that is too large.
fn put_with_a_poisoned_one(served: &Served) {
    served.put("input", &records(0, 10));
    served.put("input", &[("a", vec![b'x'; TOO_LARGE])]);
    served.put("input", &records(10, 20));
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_refused_record_goes_whole_to_the_dead_letter_file_and_the_lane_goes_on() {
    let (served, dir) = (served(), Dir::new());
    put_with_a_poisoned_one(&served);
    let config = dir.path("d.toml");
    let text = "from = \"input\"\ndead-letter = { type = \"file\", path = \"dead.jsonl\" }\n\
                [[output]]\nstream = \"small\"\n[[output]]\nstream = \"large\"\n";
    fs::write(&config, text).unwrap();

    let args = ["-c", config.to_str().unwrap(), "--metrics", "127.0.0.1:0"];
    let mut daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    let address = address(&daemon.says("serving metrics"));
    wait_for(&served, "small", 20);
    wait_for(&served, "large", 21);
    let count = |name: &str, output: &str| {
        let series = format!("distributary_records_{name}_total{{output=\"{output}\"}}");
        metric(&address, &series)
    };
    until("the counts of both outputs", || {
        let settled = count("dead_lettered", "small") + count("delivered", "small");
        let balanced = settled >= 21.0 && settled <= count("read", "small");
        (balanced && count("delivered", "large") >= 21.0).then_some(())
    });
    assert!(count("dead_lettered", "small") >= 1.0);
    assert!(count("dead_lettered", "large") < 1.0);
    daemon.signal("TERM");
    daemon.end().expect(0);

    let letters = lines(&fs::read_to_string(dir.path("dead.jsonl")).unwrap());
    let [letter] = &letters[..] else {
        panic!("{} letters", letters.len())
    };
    let text = |key: &str| letter[key].as_str().unwrap();
    assert_eq!((text("output"), text("key")), ("small", "a"));
    assert_eq!(text("shard"), "shardId-000000000000");
    assert!(text("source").ends_with(":stream/input"));
    assert!(letter["sub"].is_null() && !text("sequence").is_empty());
    assert!(!text("code").is_empty() && !text("reason").is_empty());
    let data = STANDARD.decode_to_vec(text("data")).unwrap();
    assert_eq!(data.len(), TOO_LARGE);
}

#[test]
fn an_output_without_a_dead_letter_stops_and_goes_on_once_one_is_configured() {
    let (served, dir) = (served(), Dir::new());
    put_with_a_poisoned_one(&served);
    let config = dir.path("d.toml");
    let text = |more: &str| {
        format!(
            "from = \"input\"\ndead-letter = \"dead\"\n[[output]]\nstream = \"small\"\n{more}\n\
             [[output]]\nstream = \"large\"\n"
        )
    };
    fs::write(&config, text("on-refused = \"stop-lane\"")).unwrap();
    let args = ["-c", config.to_str().unwrap()];
    let mut daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    daemon.says("was refused");
    served.put("input", &records(20, 30));
    wait_for(&served, "large", 31);
    assert!(held(&served, "small").0.len() <= 20);
    assert_eq!(held(&served, "dead").0.len(), 0);

    fs::write(&config, text("")).unwrap();
    daemon.signal("HUP");
    wait_for(&served, "small", 30);
    daemon.signal("TERM");
    daemon.end().expect(0);
    let (letters, _) = held(&served, "dead");
    let letters: Vec<&String> = letters.keys().collect();
    assert_eq!(lines(letters[0])[0]["output"], "small");
}

#[test]
fn a_dead_letter_that_cannot_be_stored_holds_its_own_lane_only() {
    let (served, dir) = (served(), Dir::new());
    put_with_a_poisoned_one(&served);
    let fault = serde_json::json!({"select": {"operations": ["PutRecords"], "stream": "dead"},
        "action": {"error": {"code": "InternalFailure", "message": "no"}}});
    let faults = served.local.faults();
    let id = faults.add(serde_json::from_value(fault).unwrap()).unwrap();
    let args = "--from input --to small large --dead-letter dead --write-timeout 500ms";
    let args: Vec<&str> = args.split(' ').collect();
    let mut daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    wait_for(&served, "large", 21);
    daemon.says("a write failed, and is tried again");
    served.put("input", &records(20, 30));
    wait_for(&served, "large", 31);

    // The saved position is before the refused record, so a second process stores the letter.
    daemon.kill();
    assert_eq!(held(&served, "dead").0.len(), 0);
    faults.remove(id);
    let caught_up = [&args[..], &["--until-caught-up"]].concat();
    finish(dir.run(&served, &caught_up), b"").expect(0);
    assert_eq!(held(&served, "small").0.len(), 30);
    assert_eq!(held(&served, "dead").0.len(), 1);

    finish(dir.run(&served, &caught_up), b"").expect(0);
    assert_eq!(held(&served, "dead").0.len(), 1);
}

#[test]
fn a_redrive_sends_each_letter_once_when_the_cause_is_gone() {
    let (served, dir) = (served(), Dir::new());
    let config = dir.path("d.toml");
    let text = "from = \"input\"\nuntil-caught-up = true\ndead-letter = \"file:dead.jsonl\"\n\
                [[output]]\nstream = \"small\"\n[[output]]\nstream = \"large\"\n";
    fs::write(&config, text).unwrap();
    served.put("input", &records(0, 10));
    for i in 0..3u8 {
        served.put("input", &[("a", vec![b'x' + i; TOO_LARGE])]);
    }
    let config = config.to_str().unwrap();
    finish(dir.run(&served, &["-c", config]), b"").expect(0);
    let letters = dir.text("dead.jsonl");
    assert_eq!(lines(&fs::read_to_string(&letters).unwrap()).len(), 3);

    // The cause is still there.
    let redrive = |args: &[&str]| served.run(&[&["redrive", letters.as_str()], args].concat());
    let dry = redrive(&["-c", config, "--dry-run"]).expect(0);
    assert!(
        dry.text().contains("small: 3 dead letters to send"),
        "{}",
        dry.text()
    );
    let refused = redrive(&["-c", config]).expect(1);
    let told = refused.text();
    assert!(
        told.contains("small: 0 sent to small, 3 refused again, 0 not sent"),
        "{told}"
    );
    assert!(told.contains("the last reason: "), "{told}");

    served.take_records_of("small", 4);
    let sent = redrive(&["-c", config]).expect(0);
    assert!(
        sent.text().contains("small: 3 sent to small"),
        "{}",
        sent.text()
    );
    let again = redrive(&["-c", config]).expect(0);
    let told = again.text();
    assert!(
        told.contains("3 dead letters were sent by an earlier redrive"),
        "{told}"
    );
    served
        .run(&["verify", "--from", "input", "--to", "small", "large"])
        .expect(0);
}

#[test]
fn letters_can_be_redriven_to_another_output() {
    let (served, dir) = (served(), Dir::new());
    put_with_a_poisoned_one(&served);
    let dead = format!("file:{}", dir.text("dead.jsonl"));
    let args = "--from input --to small --until-caught-up --dead-letter";
    let args: Vec<&str> = args.split(' ').chain([dead.as_str()]).collect();
    finish(dir.run(&served, &args), b"").expect(0);

    let letters = dir.text("dead.jsonl");
    let other = served
        .run(&["redrive", &letters, "--to", "large"])
        .expect(0);
    assert!(
        other.text().contains("small: 1 sent to large"),
        "{}",
        other.text()
    );
    assert_eq!(held(&served, "large").0.len(), 1);
    let unknown = dir.path("other.toml");
    fs::write(
        &unknown,
        "from = \"input\"\n[[output]]\nstream = \"large\"\n",
    )
    .unwrap();
    let file = unknown.to_str().unwrap();
    fs::remove_file(dir.path("dead.jsonl.redriven")).unwrap();
    let done = served.run(&["redrive", &letters, "-c", file]).expect(2);
    assert!(done.err.contains("no output small"), "{}", done.err);
}
