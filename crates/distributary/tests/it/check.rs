//! `check` and `init`.

use std::fs;

use serde_json::{Value, json};

use crate::daemon::Dir;
use crate::served::Served;

fn findings(text: &str) -> Vec<(String, String, String)> {
    let list: Vec<Value> = serde_json::from_str(text).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let member = |item: &Value| {
        assert!(item["advice"].is_string());
        let subject = text(&item["subject"]);
        (subject, text(&item["severity"]), text(&item["finding"]))
    };
    list.iter().map(member).collect()
}

#[test]
fn every_mistake_is_reported_without_a_network() {
    let (served, dir) = (Served::new(&[]), Dir::new());
    let file = dir.text("d.toml");
    let text =
        "from = \"a\"\nmemroy = \"1GiB\"\n[[output]]\nsteam = \"b\"\n[[output]]\ntype = \"fiel\"\n";
    fs::write(&file, text).unwrap();
    let check = |more: &[&str]| served.run(&[&["check", "-c", file.as_str()], more].concat());
    let told = check(&[]).expect(2).err;
    for part in [
        "d.toml:2:1: key \"memroy\"",
        "did you mean \"stream\"?",
        "did you mean \"file\"?",
    ] {
        assert!(told.contains(part), "{part}\n{told}");
    }
    let listed = findings(&check(&["--json"]).expect(2).text());
    assert!(listed.len() >= 3, "{listed:?}");
    assert!(listed.iter().all(|(_, severity, _)| severity == "failure"));

    fs::write(&file, "from = \"a\"\n[[output]]\nstream = \"b\"\n").unwrap();
    let told = check(&[]).expect(0).text();
    assert!(
        told.contains("The configuration is valid: fan-outs 1, outputs 1."),
        "{told}"
    );
    assert!(told.contains("Nothing was connected to"), "{told}");
}

#[test]
fn pumps_are_compiled_without_a_network() {
    let (served, dir) = (Served::new(&[]), Dir::new());
    let file = dir.text("d.toml");
    let configure = |code: &str, stream: &str| {
        let text = format!(
            "from = \"a\"\n[[pump]]\nname = \"web\"\nsql = \"\"\"{code}\"\"\"\n\
             columns = [{{ name = \"log\", type = \"VARCHAR(16)\", path = \"$.log\" }}]\n\
             [[output]]\nstream = \"b\"\npump = \"web\"\nfrom-stream = \"{stream}\"\n"
        );
        fs::write(&file, text).unwrap();
    };
    let check = |more: &[&str]| served.run(&[&["check", "-c", file.as_str()], more].concat());
    let code = |column: &str, target: &str| {
        format!(
            "CREATE STREAM d (log VARCHAR(16));\nCREATE PUMP p AS INSERT INTO {target} \
             SELECT STREAM \"{column}\" FROM \"SOURCE_SQL_STREAM_001\";\n\
             CREATE PUMP q AS INSERT INTO d SELECT STREAM COUNT(*) FROM \"SOURCE_SQL_STREAM_001\";"
        )
    };

    // All errors of the code, in one run.
    configure(&code("lgo", "d"), "D");
    let told = check(&[]).expect(2).err;
    assert!(told.contains("error[unknown-column]: line 2"), "{told}");
    assert!(
        told.contains("error[misplaced-aggregate]: line 3"),
        "{told}"
    );
    let listed = findings(&check(&["--json"]).expect(2).text());
    assert_eq!(listed.len(), 1, "{listed:?}");
    assert_eq!((&*listed[0].0, &*listed[0].1), ("pump web", "failure"));

    let right = code("log", "d");
    let (right, _) = right.rsplit_once("CREATE PUMP q").unwrap();
    configure(right, "nowhere");
    let told = check(&[]).expect(2).err;
    assert!(told.contains("makes no stream \"nowhere\""), "{told}");

    configure(right, "error_stream");
    check(&[]).expect(0);
}

#[test]
fn every_source_and_output_is_tried() {
    let (served, dir) = (
        Served::new(&[("input", 4), ("narrow", 1), ("wide", 4)]),
        Dir::new(),
    );
    let file = dir.text("d.toml");
    let text = "from = \"input\"\ndead-letter = \"file:/nowhere/dead.jsonl\"\n\
                [[output]]\nstream = \"narrow\"\non-refused = \"stop-lane\"\n\
                [[output]]\nstream = \"wide\"\n[[output]]\nstream = \"absent\"\non-refused = \"stop-lane\"\n";
    fs::write(&file, text).unwrap();
    let check =
        |more: &[&str]| served.run(&[&["check", "-c", file.as_str(), "--connect"], more].concat());
    let listed = findings(&check(&["--json"]).expect(1).text());
    let found = |subject: &str| {
        let mut all = listed.iter();
        let (_, severity, finding) = all.find(|(of, ..)| of.starts_with(subject)).unwrap();
        (severity.as_str(), finding.as_str())
    };
    assert_eq!(
        found("source input"),
        ("fine", "4 shards, mode PROVISIONED")
    );
    assert_eq!(
        found("output narrow"),
        ("warning", "1 shards, and the source has 4")
    );
    assert_eq!(found("output wide").0, "fine");
    assert_eq!(found("output absent").0, "failure");
    assert_eq!(found("dead letters of wide").0, "failure");
    let table = check(&[]).expect(1).text();
    assert!(
        table.contains("create the stream, or set create = true"),
        "{table}"
    );

    // A key that the service refuses.
    let denied = json!({"select": {"stream": "wide"},
        "action": {"error": {"code": "AccessDeniedException", "message": "not yours"}}});
    let faults = served.local.faults();
    faults.add(serde_json::from_value(denied).unwrap()).unwrap();
    let table = check(&[]).expect(1).text();
    assert!(table.contains("not yours"), "{table}");
}

#[test]
fn the_first_configuration_is_valid_and_nothing_is_overwritten() {
    let (served, dir) = (Served::new(&[]), Dir::new());
    let file = dir.text("d.toml");
    served.run(&["init", &file]).expect(0);
    served.run(&["check", "-c", &file]).expect(0);
    let again = served.run(&["init", &file]).expect(2);
    assert!(again.err.contains("left as it is"), "{}", again.err);
    let printed = served.run(&["init", "--stdout"]).expect(0).text();
    assert_eq!(printed, fs::read_to_string(&file).unwrap());
}
