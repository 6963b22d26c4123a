//! `check --iam`: the policy is enough, and every action in it is needed.

use std::collections::{BTreeMap, BTreeSet};

use distributary_wire::op::Operation;
use serde_json::{Value, json};

use crate::daemon::Dir;
use crate::run::{held, records};
use crate::served::{Served, finish};

const COPY: [&str; 5] = ["--from", "input", "--to", "output1", "out-*"];

/// The operations that the policy allows, by the stream's name; `*` for those without a stream.
fn allowed(served: &Served) -> BTreeMap<String, BTreeSet<String>> {
    let printed = served
        .run(&[&["check", "--iam"][..], &COPY].concat())
        .expect(0);
    let policies: Value = serde_json::from_str(&printed.text()).unwrap();
    let policies = policies.as_object().unwrap();
    assert_eq!(policies.len(), 1);
    let mut allowed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for statement in policies["credentials of the program"]["Statement"]
        .as_array()
        .unwrap()
    {
        for resource in statement["Resource"].as_array().unwrap() {
            let name = resource.as_str().unwrap().rsplit('/').next().unwrap();
            let actions = statement["Action"].as_array().unwrap().iter();
            let actions = actions.map(|action| action.as_str().unwrap()["kinesis:".len()..].into());
            allowed.entry(name.to_owned()).or_default().extend(actions);
        }
    }
    allowed
}

fn deny(served: &Served, operations: &[&str], stream: Option<&str>) {
    let rule = json!({"select": {"operations": operations, "stream": stream},
        "action": {"error": {"code": "AccessDeniedException", "message": "not in the policy"}}});
    let faults = served.local.faults();
    faults.add(serde_json::from_value(rule).unwrap()).unwrap();
}

#[test]
fn the_policy_is_sufficient_and_necessary() {
    let streams = [("input", 2), ("output1", 1), ("out-1", 1)];
    let (served, dir) = (Served::new(&streams), Dir::new());
    let allowed = allowed(&served);
    let names: Vec<&str> = allowed.keys().map(String::as_str).collect();
    assert_eq!(names, ["*", "input", "out-*", "output1"]);
    let of_stream = |stream: &str| &allowed[if stream == "out-1" { "out-*" } else { stream }];
    served.put("input", &records(0, 20));

    for (stream, _) in streams {
        let all = Operation::ALL.iter().map(|operation| operation.name());
        let others: Vec<&str> = all
            .filter(|name| !of_stream(stream).contains(*name))
            .collect();
        deny(&served, &others, Some(stream));
    }
    let mut args = COPY.to_vec();
    args.extend(["--until-caught-up", "--give-up-after", "1s"]);
    finish(dir.run(&served, &args), b"").expect(0);
    served.local.faults().clear();
    assert_eq!(held(&served, "output1").0.len(), 20);
    assert_eq!(held(&served, "out-1").0.len(), 20);

    // Each action of reading, writing and listing is missed.
    for (stream, action) in [
        (Some("input"), "DescribeStreamSummary"),
        (Some("input"), "GetRecords"),
        (Some("input"), "GetShardIterator"),
        (Some("input"), "ListShards"),
        (Some("output1"), "DescribeStreamSummary"),
        (Some("output1"), "PutRecords"),
        (None, "ListStreams"),
    ] {
        assert!(allowed[stream.unwrap_or("*")].contains(action));
        let dir = Dir::new();
        deny(&served, &[action], stream);
        let done = finish(dir.run(&served, &args), b"");
        assert_ne!(done.code, Some(0), "{action} on {stream:?}: {}", done.err);
        served.local.faults().clear();
    }
}

#[test]
fn a_role_has_a_policy_of_its_own_and_may_be_assumed() {
    let (served, dir) = (Served::new(&[]), Dir::new());
    let file = dir.text("d.toml");
    let role = "arn:aws:iam::123456789012:role/writer";
    let text = format!(
        "from = \"arn:aws:kinesis:eu-west-1:123456789012:stream/input\"\n[[output]]\n\
         stream = \"b\"\nregion = \"eu-west-2\"\nrole-arn = \"{role}\"\ncreate = true\n"
    );
    std::fs::write(&file, text).unwrap();
    let printed = served.run(&["check", "-c", &file, "--iam"]).expect(0);
    let policies: Value = serde_json::from_str(&printed.text()).unwrap();
    let own = policies["credentials of the program"].to_string();
    assert!(
        own.contains("stream/input") && own.contains("sts:AssumeRole"),
        "{own}"
    );
    assert!(own.contains(role) && !own.contains("PutRecords"), "{own}");
    let writer = policies[role].to_string();
    assert!(writer.contains("kinesis:CreateStream"), "{writer}");
    assert!(
        writer.contains("arn:aws:kinesis:eu-west-2:*:stream/b"),
        "{writer}"
    );
}
