//! What the configuration says about mistakes, and what goes before what.

use std::path::Path;
use std::time::Duration;

use distributary_core::engine::{Order, Start};

use super::*;

fn file(text: &str) -> Result<File, Problem> {
    File::parse(Path::new("/etc/d/orders.toml"), text.as_bytes())
}

fn config(text: &str) -> Result<Config, Problem> {
    Config::resolve(Flags::default(), Some(file(text)?))
}

#[track_caller]
fn problem(text: &str) -> String {
    config(text).unwrap_err().0
}

#[test]
fn a_whole_file() {
    let config = config(
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
    assert_eq!(
        (config.name.as_str(), config.from.name()),
        ("orders", "input")
    );
    assert_eq!(config.state, Some(PathBuf::from("/etc/d/orders.db")));
    assert_eq!(config.engine.memory_budget, 1 << 30);
    assert_eq!(
        config.engine.checkpoint_interval,
        Duration::from_millis(500)
    );
    assert_eq!(config.metrics, Some("127.0.0.1:9464".parse().unwrap()));
    let [one, two] = &config.outputs[..] else {
        panic!("{config:?}")
    };
    assert_eq!(
        (one.id.as_str(), one.order, one.start, one.paused),
        ("output1", Order::Strict, Start::Latest, false)
    );
    assert_eq!(
        (two.id.as_str(), two.order, two.route),
        ("output2", Order::Unordered, Route::SourceShard)
    );
    assert!(two.paused && matches!(two.start, Start::At(_)));
    assert_eq!(two.connect.region.as_deref(), Some("eu-west-1"));
    assert_eq!(
        two.connect.role_arn.as_deref(),
        Some("arn:aws:iam::123456789012:role/writer")
    );
}

#[test]
fn mistakes_name_place_key_expectation_and_the_nearest_key() {
    let at = "/etc/d/orders.toml";
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
            "2:1: key \"zzzzzzz\" is not known; expected one of from, name, start,",
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
            "from = \"a\"\n[[output]]\nstream = \"b\"\n[[output]]\nsteam = \"b\"",
            "5:1: output 2 key \"steam\" is not known; did you mean \"stream\"?",
        ),
        (
            "from = \"a\"\n[[output]]\nname = \"b\"",
            "2:1: missing key \"stream\"",
        ),
        (
            "from = \"a b\"",
            "1:8: key from: \"a b\" names no stream: expected a name",
        ),
        (
            "from = \"a\"\nstart = \"noon\"",
            "2:9: key start: \"noon\" is no start: expected trim-horizon, latest, or a time",
        ),
        (
            "from = \"a\"\nmemory = 17",
            "2:10: key memory: invalid type: integer `17`, expected a string",
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
            "2:10: key create: invalid type: string \"yes\", expected a boolean",
        ),
        (
            "from = \"a\"\n[[output]]\nstream = \"b\"\npaused = 1",
            "4:10: key output 1 paused: invalid type: integer `1`, expected a boolean",
        ),
        (
            "from = \"a\"\noutput = \"b\"",
            "2:10: key output: expected a table for each output",
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
        let said = problem(text);
        assert!(
            said.starts_with(&format!("{at}:{expected}")),
            "{text:?}\nsaid     {said}\nexpected {at}:{expected}"
        );
    }
    assert!(problem("").starts_with("nothing says which stream to copy"));
    assert!(problem("from = \"a\"").starts_with("nothing says where to copy to"));
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
    assert_eq!(
        config(&format!("{text}name = \"london\"")).unwrap().outputs[1].id,
        "london"
    );
}

#[test]
fn flags_go_before_the_file_and_the_file_before_defaults() {
    let flags = Flags {
        settings: Settings {
            state: Some("mine.db".into()),
            memory: Some("128MiB".parse().unwrap()),
            ..Settings::default()
        },
        connect: ConnectArgs {
            region: Some("eu-central-1".into()),
            ..ConnectArgs::default()
        },
        to: vec!["c".parse().unwrap(), "d=e".parse().unwrap()],
    };
    let file = file(
        "from = \"a\"\nregion = \"us-east-1\"\nprofile = \"p\"\nstate = \"its.db\"\nmemory = \"1GiB\"\n[[output]]\nstream = \"b\"",
    );
    let config = Config::resolve(flags, Some(file.unwrap())).unwrap();
    assert_eq!(config.state, Some("mine.db".into()));
    assert_eq!(config.engine.memory_budget, 128 << 20);
    assert_eq!(config.connect.region.as_deref(), Some("eu-central-1"));
    assert_eq!(config.connect.profile.as_deref(), Some("p"));
    assert_eq!(
        config
            .outputs
            .iter()
            .map(|o| o.id.as_str())
            .collect::<Vec<_>>(),
        ["c", "d"]
    );
    assert_eq!(
        (config.name.as_str(), config.create, config.drain_timeout),
        ("a", false, Duration::from_secs(30))
    );
}

#[test]
fn the_state_file_stands_where_state_belongs() {
    let env = |vars: &'static [(&str, &str)]| {
        move |name: &str| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| PathBuf::from(v))
        }
    };
    let both = env(&[("XDG_STATE_HOME", "/s"), ("HOME", "/home/u")]);
    assert_eq!(
        default_state("orders", both),
        Path::new("/s/distributary/orders.db")
    );
    let relative = env(&[("XDG_STATE_HOME", "s"), ("HOME", "/home/u")]);
    assert_eq!(
        default_state("orders", relative),
        Path::new("/home/u/.local/state/distributary/orders.db")
    );
    assert_eq!(default_state("orders", env(&[])), Path::new("orders.db"));
}

#[test]
fn an_embedded_kinesis_needs_no_state_file() {
    let flags = Flags {
        settings: Settings {
            from: Some("a".parse().unwrap()),
            ..Settings::default()
        },
        connect: ConnectArgs {
            local: true,
            ..ConnectArgs::default()
        },
        to: vec!["b".parse().unwrap()],
    };
    assert_eq!(Config::resolve(flags, None).unwrap().state, None);
}
