//! Which value counts, and how mistakes are reported.

// Helpers of tests may panic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use distributary_core::engine::{Order, Start};

use crate::resolve::resolve;
use crate::{Input, LogFormat, Mistakes, OutputPattern, Process, Registry};

const PATH: &str = "/etc/d/orders.toml";

fn process(text: &str) -> Result<Process, Mistakes> {
    with(&Input::default(), text)
}

fn with(input: &Input, text: &str) -> Result<Process, Mistakes> {
    let file = (Path::new(PATH), text.as_bytes());
    resolve(&Registry::default(), input, Some(file))
}

#[track_caller]
fn problem(text: &str) -> String {
    process(text).unwrap_err().to_string()
}

fn flags(values: &[(&str, &str)], to: &[&str]) -> Input {
    let registry = Registry::default();
    let mut input = Input::default();
    for (name, value) in values {
        input.flag(&registry, name, value);
    }
    let to: Vec<String> = to.iter().map(|&text| text.to_owned()).collect();
    input.outputs_of_flags(&to);
    input
}

fn environment(variables: &[(&str, &str)]) -> Input {
    let variables: BTreeMap<String, String> = variables
        .iter()
        .map(|&(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let mut input = Input::default();
    input.environment(&Registry::default(), &variables, &["DISTRIBUTARY_LOG"]);
    input
}

#[test]
fn a_whole_file() {
    let process = process(
        r#"
        name = "orders"
        from = "input"
        start = "latest"
        state = "orders.db"
        order = "strict"
        memory = "1GiB"
        checkpoint-interval = "500ms"
        metrics = "127.0.0.1:9464"

        [[output]]
        stream = "output1"

        [[output]]
        stream = "arn:aws:kinesis:eu-west-1:123456789012:stream/output2"
        role-arn = "arn:aws:iam::123456789012:role/writer"
        external-id = "x"
        order = "unordered"
        route = "source-shard"
        start = "2026-01-31T00:00:00Z"
        paused = true
        "#,
    )
    .unwrap();
    assert_eq!(process.metrics, Some("127.0.0.1:9464".parse().unwrap()));
    let [config] = &process.fan_outs[..] else {
        panic!("{process:?}")
    };
    assert_eq!(
        (config.name.as_str(), config.source.default_name().as_str()),
        ("orders", "input")
    );
    assert_eq!(config.state, Some(PathBuf::from("/etc/d/orders.db")));
    assert_eq!(config.engine.memory_budget, 1 << 30);
    assert_eq!(
        config.engine.checkpoint_interval,
        Duration::from_millis(500)
    );
    let [one, two] = &config.outputs[..] else {
        panic!("{config:?}")
    };
    assert_eq!(
        (one.name.as_str(), one.order, one.start, one.paused),
        ("output1", Order::Strict, Start::Latest, false)
    );
    assert_eq!(
        (two.name.as_str(), two.order),
        ("output2", Order::Unordered)
    );
    assert!(two.paused && matches!(two.start, Start::At(_)));
    let settings = format!("{:?}", two.settings);
    assert!(settings.contains("SourceShard"), "{settings}");
    assert!(settings.contains("role/writer"), "{settings}");
}

#[test]
fn mistakes_name_place_key_expectation_and_the_nearest_key() {
    for (text, expected) in [
        (
            "form = \"a\"",
            "1:1: key \"form\" is not known; did you mean \"from\"?",
        ),
        (
            "from = \"a\"\n\nuntil_caught_up = true",
            "3:1: key \"until_caught_up\" is not known; did you mean \"until-caught-up\"?",
        ),
        (
            "from = \"a\"\nzzzzzzz = 1",
            "2:1: key \"zzzzzzz\" is not known; expected one of from, name, state,",
        ),
        (
            "from = \"a\"\nto = [\"b\"]",
            "2:1: key \"to\" is not known; an output is written [[output]] on a line",
        ),
        (
            "from = \"a\"\nrole-arn = \"x\"",
            "2:1: key \"role-arn\" is not known; it belongs in [[output]]",
        ),
        (
            "from = \"a\"\n[[output]]\nstream = \"b\"\nmemory = \"1GiB\"",
            "4:1: output 1 key \"memory\" is not known; it belongs in the top",
        ),
        (
            "from = \"a\"\n[[output]]\nstream = \"b\"\n[[output]]\nstream = \"c\"\nsteam = \"b\"",
            "6:1: output 2 key \"steam\" is not known; did you mean \"stream\"?",
        ),
        (
            "from = \"a\"\n[[output]]\nname = \"b\"",
            "2: output 1 missing key \"stream\"",
        ),
        (
            "from = \"a b\"\n[[output]]\nstream = \"b\"",
            "1:8: key from: \"a b\" names no stream: expected a name",
        ),
        (
            "from = \"a\"\nstart = \"noon\"",
            "2:9: key start: \"noon\" is no start: expected trim-horizon, latest (or now), or a time",
        ),
        (
            "from = \"a\"\nmemory = 17",
            "2:10: key memory: 17 is a number: expected a text with a unit, such as \"17MiB\"",
        ),
        (
            "from = \"a\"\nmetrics = \"9464\"",
            "2:11: key metrics: \"9464\" is no address: expected IP:PORT",
        ),
        (
            "from = \"a\"\norder = \"srtict\"",
            "2:9: key order: \"srtict\" is none of strict, resend, unordered; did you mean \"strict\"?",
        ),
        (
            "from = \"a\"\ncreate = \"yes\"",
            "2:10: key create: \"yes\" is a text: expected true or false",
        ),
        (
            "from = \"a\"\n[[output]]\nstream = \"b\"\npaused = 1",
            "4:10: key output 1 paused: 1 is a number: expected true or false",
        ),
        (
            "from = \"a\"\noutput = \"b\"",
            "2:10: key output: expected a table for each output",
        ),
        (
            "from = \"a\"\n[[output]]\ntype = \"kinesiss\"\nstream = \"b\"",
            "3:8: key output 1 type: \"kinesiss\" is no kind; did you mean \"kinesis\"?",
        ),
        ("from = \"a", "1:10: "),
        ("from = \"a\"\nfrom = \"b\"", "2:1: duplicate key"),
        (
            "from = \"a\"\n[[output]]\nstream = \"a\"",
            "2: the output a is the source itself",
        ),
        (
            "from = \"a\"\n[[output]]\nstream = \"b\"\n[[output]]\nstream = \"b\"",
            "4: the output b is given twice (first at /etc/d/orders.toml:2)",
        ),
        (
            "from = \"a\"\n[[output]]\nstream = \"b\"\nexternal-id = \"x\"",
            "2: external-id is only of use with role-arn",
        ),
        (
            "from = \"a\"\n[[output]]\nstream = \"b\"\nrole-arn = \"x\"",
            "2: role-arn \"x\" is no role: expected one such as",
        ),
    ] {
        let told = problem(text);
        assert!(
            told.starts_with(&format!("{PATH}:{expected}")),
            "{text:?}\ntold     {told}\nexpected {PATH}:{expected}"
        );
    }
    assert!(problem("").contains("no stream to copy: give --from"));
    assert!(problem("from = \"a\"").contains("no output to copy to: give --to"));
}

#[test]
fn all_mistakes_of_a_file_are_reported_together() {
    let told = problem(
        "from = \"a\"\nmemroy = \"1GiB\"\nstart = \"noon\"\n[[output]]\nstream = \"b\"\npaused = 1\n\
         [[output]]\nsteam = \"c\"\n",
    );
    let lines: Vec<&str> = told.lines().collect();
    let places = ["2:1:", "3:9:", "6:10:", "7:", "8:1:"];
    assert_eq!(lines.len(), places.len(), "{told}");
    for place in places {
        let at = format!("{PATH}:{place}");
        assert!(lines.iter().any(|l| l.starts_with(&at)), "{at}\n{told}");
    }
}

#[test]
fn all_mistakes_between_settings_are_reported_together() {
    let told = problem(
        "from = \"a\"\n[[output]]\nstream = \"b\"\nexternal-id = \"x\"\nregion = \"eu\"\n\
         [[output]]\nstream = \"arn:aws:kinesis:eu-west-1:123456789012:stream/c\"\nregion = \"eu\"\n",
    );
    assert!(told.contains("orders.toml:2: external-id"), "{told}");
    assert!(
        told.contains("orders.toml:6: region eu is not that of"),
        "{told}"
    );
}

#[test]
fn streams_of_the_same_name_need_names() {
    let text = "from = \"a\"\n[[output]]\nstream = \"arn:aws:kinesis:eu-west-1:123456789012:stream/a\"\n\
                [[output]]\nstream = \"arn:aws:kinesis:eu-west-2:123456789012:stream/a\"\n";
    assert!(
        problem(text).contains("two outputs are called a (the other one at /etc/d/orders.toml:2)"),
        "{}",
        problem(text)
    );
    let named = process(&format!("{text}name = \"london\"")).unwrap();
    assert_eq!(named.fan_outs[0].outputs[1].name, "london");
}

#[test]
fn flags_go_before_the_file_and_the_file_before_defaults() {
    let input = flags(
        &[
            ("state", "mine.db"),
            ("memory", "128MiB"),
            ("region", "eu-central-1"),
        ],
        &["c", "d=e"],
    );
    let process = with(
        &input,
        "from = \"a\"\nregion = \"us-east-1\"\nprofile = \"p\"\nstate = \"its.db\"\nmemory = \"1GiB\"\n\
         [[output]]\nstream = \"b\"",
    )
    .unwrap();
    let config = &process.fan_outs[0];
    assert_eq!(config.state, Some("mine.db".into()));
    assert_eq!(config.engine.memory_budget, 128 << 20);
    let source = format!("{:?}", config.source);
    assert!(source.contains("eu-central-1"), "{source}");
    assert!(source.contains("profile: Some(\"p\")"), "{source}");
    let names: Vec<&str> = config.outputs.iter().map(|o| o.name.as_str()).collect();
    assert_eq!(names, ["c", "d"]);
    assert_eq!(
        (config.name.as_str(), process.drain_timeout),
        ("a", Duration::from_secs(30))
    );
}

#[test]
fn variables_go_behind_flags_and_before_the_file() {
    let mut input = environment(&[
        ("DISTRIBUTARY_FROM", "v"),
        ("DISTRIBUTARY_TO", "x, name=y"),
        ("DISTRIBUTARY_MEMORY", "128MiB"),
        ("DISTRIBUTARY_LOG_FORMAT", "json"),
        ("DISTRIBUTARY_START", ""),
        ("DISTRIBUTARY_LOG", "debug"),
    ]);
    input.flag(&Registry::default(), "memory", "512MiB");
    let process = with(
        &input,
        "from = \"a\"\nmemory = \"1GiB\"\nstart = \"latest\"",
    )
    .unwrap();
    assert_eq!(process.memory, 512 << 20);
    assert_eq!(process.log_format, LogFormat::Json);
    let config = &process.fan_outs[0];
    assert_eq!(config.source.default_name(), "v");
    assert_eq!(config.outputs[1].name, "name");
    assert_eq!(config.outputs[1].start, Start::Latest);
    assert_eq!(process.notes, Vec::<String>::new());
}

#[test]
fn a_wrong_variable_is_blamed_by_its_name_and_an_unknown_one_is_noted() {
    let input = environment(&[
        ("DISTRIBUTARY_FROM", "a"),
        ("DISTRIBUTARY_TO", "b"),
        ("DISTRIBUTARY_MEMROY", "1GiB"),
    ]);
    let notes = with(&input, "").unwrap().notes;
    assert!(
        notes[0].contains("did you mean DISTRIBUTARY_MEMORY?"),
        "{notes:?}"
    );

    let wrong = environment(&[("DISTRIBUTARY_MEMORY", "much"), ("DISTRIBUTARY_TO", "b")]);
    let told = with(&wrong, "from = \"a\"").unwrap_err().to_string();
    assert!(
        told.starts_with("DISTRIBUTARY_MEMORY: \"much\" is no size"),
        "{told}"
    );

    let wrong = environment(&[("DISTRIBUTARY_TO", "sqqs:b")]);
    let told = with(&wrong, "from = \"a\"").unwrap_err().to_string();
    assert!(
        told.starts_with("DISTRIBUTARY_TO: \"sqqs\" is no kind"),
        "{told}"
    );
}

#[test]
fn wrong_flags_are_blamed_by_their_names() {
    let told = |values, to| {
        let input = flags(values, to);
        with(&input, "from = \"a\"").unwrap_err().to_string()
    };
    assert!(told(&[("order", "srtict")], &["b"]).starts_with("--order: \"srtict\" is none of"));
    assert!(told(&[], &["a b"]).starts_with("--to: \"a b\" names no stream"));
    assert!(told(&[], &["a"]).starts_with("--to: the output a is the source itself"));
}

#[test]
fn the_state_file_stands_in_the_state_folder() {
    let state = |variables: &[(&str, &str)]| {
        let process = with(
            &environment(variables),
            "from = \"orders\"\n[[output]]\nstream = \"b\"",
        );
        process.unwrap().fan_outs[0].state.clone().unwrap()
    };
    assert_eq!(
        state(&[("XDG_STATE_HOME", "/s"), ("HOME", "/home/u")]),
        Path::new("/s/distributary/orders.db")
    );
    assert_eq!(
        state(&[("XDG_STATE_HOME", "s"), ("HOME", "/home/u")]),
        Path::new("/home/u/.local/state/distributary/orders.db")
    );
    assert_eq!(state(&[]), Path::new("orders.db"));
}

#[test]
fn an_embedded_kinesis_needs_no_state_file() {
    let mut input = flags(&[("from", "a")], &["b"]);
    input.embedded = true;
    let process = resolve(&Registry::default(), &input, None).unwrap();
    assert_eq!(process.fan_outs[0].state, None);

    let told = with(&input, "profile = \"p\"").unwrap_err().to_string();
    assert!(told.contains("of no use with --local"), "{told}");
}

#[test]
fn a_source_is_a_text_or_a_table() {
    let table = "[source]\nstream = \"a\"\nregion = \"eu-west-1\"\n[[output]]\nstream = \"b\"\n";
    let process = process(table).unwrap();
    assert_eq!(process.fan_outs[0].name, "a");
    let shown = format!("{:?}", process.fan_outs[0].source);
    assert!(shown.contains("eu-west-1"), "{shown}");

    assert!(problem(&format!("from = \"a\"\n{table}")).contains("the source is given twice"));
    assert!(problem("source = \"a\"").contains("key source: expected a table"));
    assert!(problem("from = \"x=a\"\n[[output]]\nstream = \"b\"").contains("a source has none"));
}

#[test]
fn several_fan_outs_in_one_file() {
    let text = r#"
        memory = "1GiB"
        order = "strict"
        region = "eu-west-1"

        [[fan-out]]
        from = "a"
        [[fan-out.output]]
        stream = "b"

        [[fan-out]]
        name = "second"
        order = "unordered"
        state = "second.db"
        [fan-out.source]
        stream = "b"
        region = "us-east-1"
        [[fan-out.output]]
        stream = "c"
        [[fan-out.output]]
        stream = "d"
        order = "resend"
        "#;
    let process = process(text).unwrap();
    let [one, two] = &process.fan_outs[..] else {
        panic!("{process:?}")
    };
    assert_eq!((one.name.as_str(), two.name.as_str()), ("a", "second"));
    assert_eq!(one.state, Some("a.db".into()));
    assert_eq!(two.state, Some("/etc/d/second.db".into()));
    // The memory is not divided: the fan-outs share one budget.
    assert_eq!(one.engine.memory_budget, 1 << 30);
    assert_eq!(one.outputs[0].order, Order::Strict);
    assert_eq!(two.outputs[0].order, Order::Unordered);
    assert_eq!(two.outputs[1].order, Order::Resend);
    assert!(format!("{:?}", one.source).contains("eu-west-1"));
    assert!(format!("{:?}", two.source).contains("us-east-1"));
    assert!(format!("{:?}", two.outputs[0].settings).contains("eu-west-1"));
}

#[test]
fn fan_outs_do_not_share_names_state_or_keys_of_one() {
    let fan_out = |extra: &str| {
        format!("[[fan-out]]\nfrom = \"a\"\n{extra}[[fan-out.output]]\nstream = \"b\"\n")
    };
    let twice = format!("{}{}", fan_out(""), fan_out(""));
    assert!(problem(&twice).contains("two fan-outs are called a"));
    let state = |name: &str| fan_out(&format!("name = \"{name}\"\nstate = \"s\"\n"));
    let one_state = format!("{}{}", state("x"), state("y"));
    assert!(problem(&one_state).contains("two fan-outs have one state file"));
    let beside = format!("from = \"x\"\n{}", fan_out(""));
    assert!(problem(&beside).contains("key from: the file has [[fan-out]] tables"));
    let input = flags(&[("from", "x")], &[]);
    let told = with(&input, &fan_out("")).unwrap_err().to_string();
    assert!(told.starts_with("--from: key from: the file has"), "{told}");
    let small = format!(
        "memory = \"100MiB\"\n{}{}",
        fan_out(""),
        fan_out("name = \"z\"\n")
    );
    assert!(problem(&small).contains("give at least 128MiB"));
    let misspelt = fan_out("form = \"a\"\n");
    assert!(problem(&misspelt).contains("fan-out 1 key \"form\" is not known; did you mean"));
}

#[test]
fn only_outputs_change_while_it_runs() {
    let text = "from = \"a\"\n[[output]]\nstream = \"b\"\n";
    let old = process(text).unwrap();
    let with_another = process(&format!("{text}[[output]]\nstream = \"c\"\n")).unwrap();
    assert_eq!(old.check_change(&with_another), Ok(()));
    for (key, line) in [
        ("memory", "memory = \"1GiB\""),
        ("the source", "region = \"eu-west-1\""),
        ("the source", "read-interval = \"1s\""),
        ("name", "name = \"x\""),
    ] {
        let new = process(&format!("{line}\n{text}")).unwrap();
        assert_eq!(old.check_change(&new).unwrap_err().0, key);
    }
}

#[test]
fn tables_of_keys_agree_with_the_structs() {
    let sorted = |mut names: Vec<&'static str>| {
        names.sort_unstable();
        names
    };
    for (keys, fields) in crate::resolve::fields() {
        assert_eq!(sorted(keys), sorted(fields.to_vec()));
    }

    let common = crate::keys::EVERY_OUTPUT.iter().map(|key| key.name);
    let mut fields = crate::outputs::common_fields().to_vec();
    fields.extend([crate::keys::TYPE, crate::keys::DEAD_LETTER]);
    assert_eq!(sorted(common.collect()), sorted(fields));

    let registry = Registry::default();
    let outputs = registry
        .outputs
        .iter()
        .map(|k| (k.name, k.keys, k.fields()));
    let sources = registry
        .sources
        .iter()
        .map(|k| (k.name, k.keys, k.fields()));
    for (kind, keys, fields) in outputs.chain(sources) {
        let names = keys.iter().map(|key| key.name).collect();
        assert_eq!(sorted(names), sorted(fields.to_vec()), "kind {kind}");
    }
}

#[test]
fn examples_are_valid_and_names_mean_one_thing() {
    let registry = Registry::default();
    let of_outputs = registry.outputs.iter().flat_map(|kind| kind.keys);
    let of_sources = registry.sources.iter().flat_map(|kind| kind.keys);
    let top = registry.top_keys();
    let all = of_outputs.chain(of_sources).chain(top.iter().copied());
    for key in all.chain(crate::keys::EVERY_OUTPUT) {
        assert!(key.form.read(key.example).is_ok(), "{}", key.name);
        assert!(!key.help.ends_with('.'), "{}", key.name);
        if let Some(at_top) = top.iter().find(|other| other.name == key.name) {
            assert_eq!(at_top.form, key.form, "{}", key.name);
        }
    }

    let mut names: Vec<&str> = top.iter().map(|key| key.name).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), count, "a name is listed twice");
}

/// The settings of the dead letters of each output, as text.
fn dead_letters(process: &Process) -> Vec<Option<String>> {
    let outputs = process.fan_outs.iter().flat_map(|f| &f.outputs);
    outputs
        .map(|output| output.refused.dead_letter().map(|d| format!("{d:?}")))
        .collect()
}

#[test]
fn a_dead_letter_is_an_output_for_one_output_or_for_all() {
    let process = process(
        r#"
        from = "input"
        dead-letter = "file:orders.dead.jsonl"
        region = "eu-west-1"

        [[output]]
        stream = "output1"

        [[output]]
        stream = "output2"
        dead-letter = { stream = "dead" }

        [[output]]
        stream = "output3"
        on-refused = "stop-lane"

        [[output]]
        stream = "output4"
        [output.dead-letter]
        type = "file"
        path = "other.jsonl"
        format = "record"
        "#,
    )
    .unwrap();
    let places = dead_letters(&process);
    let holds = |i: usize, part: &str| places[i].as_ref().is_some_and(|text| text.contains(part));
    assert!(holds(0, "\"/etc/d/orders.dead.jsonl\""), "{places:?}");
    assert!(holds(0, "Raw") && holds(0, "67108864"), "{places:?}");
    assert!(holds(1, "dead") && holds(1, "eu-west-1"), "{places:?}");
    assert_eq!(places[2], None);
    assert!(holds(3, "\"/etc/d/other.jsonl\"") && holds(3, "Record"));

    let flags = flags(
        &[("from", "a"), ("dead-letter", "file:dead.jsonl")],
        &["b", "c"],
    );
    let process = resolve(&Registry::default(), &flags, None).unwrap();
    let places = dead_letters(&process);
    assert!(places[0].is_some() && places[0] == places[1], "{places:?}");
}

#[test]
fn mistakes_about_dead_letters_are_told() {
    let with = |keys: &str| problem(&format!("from = \"a\"\n[[output]]\nstream = \"b\"\n{keys}"));
    for (keys, expected) in [
        (
            "dead-letter = { type = \"file\", pth = \"x\" }",
            "4:32: output 1 dead-letter key \"pth\" is not known; did you mean \"path\"?",
        ),
        (
            "dead-letter = { type = \"file\" }",
            "output 1 dead-letter missing key \"path\"",
        ),
        (
            "dead-letter = { type = \"fiel\", path = \"x\" }",
            "did you mean \"file\"?",
        ),
        (
            "dead-letter = 7",
            "key output 1 dead-letter: 7 is a number: expected \"KIND:REST\"",
        ),
        (
            "dead-letter = \"flie:x\"",
            "4:15: key dead-letter: \"flie\" is no kind; did you mean \"file\"?",
        ),
        ("dead-letter = \"x=file:x\"", "has a name"),
        ("dead-letter = \"a\"", "would go to the source"),
        (
            "dead-letter = \"b\"",
            "mixed up with the records of the output b",
        ),
        (
            "on-refused = \"skip-record\"",
            "key on-refused: \"skip-record\" needs a place",
        ),
        (
            "on-refused = \"skip-recrod\"",
            "\"skip-recrod\" is none of skip-record, stop-lane; did you mean \"skip-record\"?",
        ),
        (
            "dead-letter = \"file:x\"\n[[output]]\nstream = \"c\"\n\
             dead-letter = { type = \"file\", path = \"x\", format = \"record\" }",
            "the outputs c and b have dead letters at one place, with different keys",
        ),
    ] {
        let told = with(keys);
        assert!(told.contains(expected), "{keys}\n{told}");
    }
}

#[test]
fn outputs_are_found_by_name() {
    let process = process(
        r#"
        from = "input"
        region = "eu-west-1"
        refresh-interval = "5m"
        [[output]]
        stream = "audit"
        [[output]]
        streams = "app-*,!app-test"
        order = "strict"
        new-outputs = "latest"
        outputs-max = 7
        "#,
    )
    .unwrap();
    let fan_out = &process.fan_outs[0];
    assert_eq!(fan_out.refresh_interval, Duration::from_secs(300));
    assert_eq!(fan_out.outputs.len(), 1);
    let [pattern] = &fan_out.patterns[..] else {
        panic!("{fan_out:?}")
    };
    assert!(pattern.names.matches("app-1") && !pattern.names.matches("app-test"));
    assert_eq!(pattern.outputs_max, 7);
    assert_eq!(pattern.new_outputs.start(None), Start::Latest);
    let output = pattern.output("app-1").unwrap();
    assert_eq!(
        (output.name.as_str(), output.order),
        ("app-1", Order::Strict)
    );
    assert!(format!("{:?}", output.settings).contains("eu-west-1"));

    let input = flags(&[("from", "a")], &["b", "app-*", "!app-x"]);
    let process = resolve(&Registry::default(), &input, None).unwrap();
    let fan_out = &process.fan_outs[0];
    assert_eq!((fan_out.outputs.len(), fan_out.patterns.len()), (1, 1));
    assert!(!fan_out.patterns[0].names.matches("app-x"));
}

#[test]
fn outputs_are_found_by_tag() {
    let text = "from = \"a\"\n[[output]]\ntag = \"copies=a=b\"\n[[output]]\nstreams = \"app-*\"\n\
                tag = \"team=\"\n";
    let found = process(text).unwrap();
    let wanted = |process: &Process| {
        let patterns = process.fan_outs[0].patterns.iter();
        patterns.map(OutputPattern::wanted).collect::<Vec<_>>()
    };
    assert_eq!(
        wanted(&found),
        ["* with the tag copies=a=b", "app-* with the tag team="]
    );

    let mut input = flags(&[("from", "a")], &["b"]);
    input.tags_of_flags(&["copies=a".to_owned()]);
    let found = resolve(&Registry::default(), &input, None).unwrap();
    assert_eq!(wanted(&found), ["* with the tag copies=a"]);
    assert_eq!(found.fan_outs[0].outputs.len(), 1);
}

#[test]
fn a_circle_of_fan_outs_is_refused() {
    let fan_out = |from: &str, keys: &str| {
        format!("[[fan-out]]\nfrom = \"{from}\"\n[[fan-out.output]]\n{keys}\n")
    };
    let circle = "feed each other in a circle";
    let (to_b, to_c) = (
        fan_out("a", "stream = \"b\""),
        fan_out("b", "stream = \"c\""),
    );
    process(&format!("{to_b}{to_c}")).unwrap();
    for last in [
        "stream = \"a\"",
        "streams = \"*\"",
        "stream = \"d\"\ndead-letter = \"a\"",
    ] {
        let told = problem(&format!("{to_b}{to_c}{}", fan_out("c", last)));
        let steps = "a writes to b, the source of b; b writes to c, the source of c; c writes to a";
        assert!(told.contains(circle) && told.contains(steps), "{told}");
        assert_eq!(told.matches(circle).count(), 1, "{told}");
    }

    let other = "stream = \"a\"\nregion = \"eu-west-2\"";
    process(&format!("{to_b}{to_c}{}", fan_out("c", other))).unwrap();
    let left_out = "streams = \"*,!a,!b\"";
    process(&format!("{to_b}{to_c}{}", fan_out("c", left_out))).unwrap();
}

#[test]
fn mistakes_about_patterns_are_told() {
    for (keys, expected) in [
        (
            "streams = \"b*\"\nstream = \"b\"",
            "leave name and stream out",
        ),
        (
            "streams = \"b*\"\nname = \"x\"",
            "leave name and stream out",
        ),
        ("streams = \"!b*\"", "only leaves names out"),
        ("streams = \"b c\"", "is no pattern of names"),
        ("tag = \"copies\"", "is no tag: expected KEY=VALUE"),
        ("tag = \"=a\"", "is no tag"),
        ("tag = \"a=b\"\nstream = \"b\"", "leave name and stream out"),
        (
            "type = \"file\"\npath = \"x\"\nstreams = \"b*\"",
            "outputs of type file are not found",
        ),
        (
            "stream = \"b\"\nnew-outputs = \"latest\"",
            "only of use with streams",
        ),
        (
            "streams = \"b*\"\noutputs-max = 0",
            "0 is a number: expected a whole number from 1",
        ),
        (
            "streams = \"b*\"\noutputs-max = \"7\"",
            "\"7\" is a text: expected a whole number",
        ),
    ] {
        let told = problem(&format!("from = \"a\"\n[[output]]\n{keys}"));
        assert!(told.contains(expected), "{keys}\n{told}");
    }
}
