//! docs/CONFIG.md, made of the flags and keys themselves.

use std::fmt::Write as _;

use clap::CommandFactory;

use crate::cli::Cli;
use crate::config::file::fields_of;
use crate::config::settings::{OutputEntry, Settings};
use crate::connect::ConnectArgs;
use crate::docs;

const HEAD: &str = "\
# Configuration of `distributary run`

<!-- Made from the program: UPDATE_DOCS=1 cargo test -p distributary docs -->

A setting is taken from the first of these that says it: a flag, its environment variable, the file that `-c FILE` names, its
default. Flags and keys have the same names. What AWS tools take from `AWS_PROFILE`, `AWS_REGION`, `AWS_ENDPOINT_URL`,
`AWS_CA_BUNDLE`, `HTTPS_PROXY`, `~/.aws/config` and so on is taken from there.

```toml
name = \"orders\"
from = \"input\"
state = \"orders.db\"

[[output]]
stream = \"output1\"

[[output]]
stream = \"arn:aws:kinesis:eu-west-1:123456789012:stream/output2\"
role-arn = \"arn:aws:iam::123456789012:role/writer\"
order = \"strict\"
```

Lengths of time are written `200ms`, `30s`, `5m`; sizes `64MiB`, `1GB`; moments as RFC 3339 (`2026-01-31T00:00:00Z`).

Outputs given by `--to` take the place of the file's.

## While it runs

SIGHUP, or a change of the file (seen within two seconds), adds, removes, pauses, resumes and changes outputs; the others notice
nothing. An output that is removed is forgotten: added again, it begins at its `start`. (Removed while the program is stopped, its place
stays in the state file.) To stop writing to one and keep its place, set `paused = true`. A file with a mistake, or with another change than `[[output]]`, `start`, `order`, `route`, `create` and
`drain-timeout`, changes nothing, and the log says why.

## Exit codes

| code | meaning |
| --- | --- |
| 0 | stopped by SIGINT or SIGTERM and all is written down; or `until-caught-up`, and it is |
| 1 | it failed while running: no such stream, no server, no credentials, access denied, a state file in use or not its own; or `until-caught-up`, and an output stopped or was given up, the others being caught up |
| 2 | the flags, the environment or the file are wrong |
| 130, 143 | ended by a second SIGINT or SIGTERM before all was written down, or by the first before it was caught up |

";

/// Keys of `[[output]]` with their defaults and help, in the order of the reference. A test holds them to [`OutputEntry`].
const OUTPUT_KEYS: &[(&str, &str, &str)] = &[
    (
        "stream",
        "",
        "Stream to write to: a name, or an ARN, which also says the region",
    ),
    (
        "name",
        "the stream's name",
        "The output's name in the progress, the logs and the metrics. Needed where two outputs' streams have the same name (in two regions or accounts). An output that is given another name begins anew",
    ),
    (
        "region",
        "that of the ARN, else the fan-out's `region`",
        "AWS region of the stream",
    ),
    (
        "profile",
        "the fan-out's `profile`",
        "AWS profile that is written with",
    ),
    (
        "endpoint-url",
        "the fan-out's `endpoint-url`",
        "Kinesis endpoint of the stream",
    ),
    (
        "role-arn",
        "",
        "Role to assume for writing; the session is renewed by itself",
    ),
    (
        "external-id",
        "",
        "External id that the role's owner asks for",
    ),
    (
        "order",
        "the fan-out's `order`",
        "`strict`, `resend` or `unordered`: docs/SEMANTICS.md, line 3",
    ),
    (
        "route",
        "the fan-out's `route`",
        "`partition-key`, or `source-shard`: records go to the place in the hash space that their source shard has, so that shard-mates stay shard-mates",
    ),
    (
        "start",
        "the fan-out's `start`",
        "Where it begins as long as it has no progress",
    ),
    (
        "paused",
        "`false`",
        "`true`: nothing is written to it, and its place is kept",
    ),
];

fn reference() -> String {
    let mut text = HEAD.to_owned();
    let cli = Cli::command();
    let run = cli.find_subcommand("run").expect("there is a command run");
    let keys = [fields_of::<Settings>(), fields_of::<ConnectArgs>()].concat();
    text.push_str(
        "## Settings\n\n| flag | key | environment variable | meaning |\n| --- | --- | --- | --- |\n",
    );
    for arg in run.get_arguments() {
        let Some(long) = arg.get_long().filter(|long| *long != "help") else {
            continue;
        };
        let key = if keys.contains(&long) {
            format!("`{long}`")
        } else {
            String::new()
        };
        let env = arg
            .get_env()
            .map_or_else(String::new, |env| format!("`{}`", env.to_string_lossy()));
        let help = arg
            .get_long_help()
            .or(arg.get_help())
            .map(ToString::to_string)
            .unwrap_or_default();
        let help = match help.split_once(" [default: ") {
            Some((help, default)) => {
                format!("{help}. Default: {}", default.trim_end_matches(']'))
            }
            None => help.clone(),
        };
        let help = help.replace('|', "\\|").replace('\n', " ");
        writeln!(text, "| `--{long}` | {key} | {env} | {help} |").expect("a String takes all");
    }
    text.push_str(
        "\n## Keys of `[[output]]`\n\n| key | default | meaning |\n| --- | --- | --- |\n",
    );
    for (key, default, help) in OUTPUT_KEYS {
        writeln!(text, "| `{key}` | {default} | {help} |").expect("a String takes all");
    }
    text
}

#[test]
fn docs_config_is_up_to_date() {
    docs::hold("docs/CONFIG.md", &reference());
}

#[test]
fn flags_and_keys_have_the_same_names() {
    let cli = Cli::command();
    let run = cli.find_subcommand("run").expect("there is a command run");
    let only_flags = ["config", "to", "local", "help"];
    let flags: Vec<&str> = run
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .filter(|f| !only_flags.contains(f))
        .collect();
    let mut keys = [fields_of::<Settings>(), fields_of::<ConnectArgs>()].concat();
    keys.sort_unstable();
    let mut sorted = flags.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, keys);
    for flag in flags {
        let arg = run
            .get_arguments()
            .find(|a| a.get_long() == Some(flag))
            .expect("just listed");
        let env = format!("DISTRIBUTARY_{}", flag.to_uppercase().replace('-', "_"));
        assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some(env.as_str()));
    }
}

#[test]
fn every_key_of_an_output_is_documented() {
    let mut documented: Vec<&str> = OUTPUT_KEYS.iter().map(|(key, _, _)| *key).collect();
    let mut keys = fields_of::<OutputEntry>().to_vec();
    documented.sort_unstable();
    keys.sort_unstable();
    assert_eq!(documented, keys);
}
