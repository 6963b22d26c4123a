//! docs/CONFIG.md and docs/config.schema.json, made from the tables of keys.

use std::fmt::Write as _;

use clap::CommandFactory;
use distributary_adapters::keys::{Absent, Form, Key};
use distributary_adapters::kind::Kind;
use distributary_config::keys::{
    DELIVERY, EVERY_OUTPUT, EVERY_SOURCE, FAN_OUT, FAN_OUT_LIST, OUTPUT, PROCESS, SOURCE, TYPE,
    variable,
};
use distributary_config::pumps::{COLUMN_KEYS, PUMP, PUMP_KEYS, REFERENCE_KEYS};
use distributary_config::{Input, Registry, resolve};
use serde_json::{Map, Value, json};

use crate::cli::Cli;
use crate::docs;

const HEAD: &str = include_str!("reference.txt");

fn reference(registry: &Registry) -> String {
    let mut text = HEAD.to_owned();
    text.push_str("## Flags without a key\n\n| flag | environment variable | meaning |\n| --- | --- | --- |\n");
    let cli = Cli::command();
    let run = cli.find_subcommand("run").expect("there is a command run");
    let keys = registry.top_keys();
    for flag in run.get_arguments() {
        let Some(long) = flag.get_long().filter(|long| *long != "help") else {
            continue;
        };
        if keys.iter().all(|key| key.name != long) {
            let help = flag.get_help().map(ToString::to_string).unwrap_or_default();
            line(
                &mut text,
                &[
                    &format!("`--{long}`"),
                    &format!("`{}`", variable(long)),
                    &help,
                ],
            );
        }
    }

    text.push_str("\n## Keys of the process\n\nAt the top of the file, as a flag and as an environment variable.\n\n");
    with_variables(&mut text, PROCESS.iter());
    text.push_str(
        "\n## Keys of a fan-out\n\nAt the top of the file, as a flag and as an environment variable; or in a `[[fan-out]]` table.\n\n",
    );
    with_variables(&mut text, FAN_OUT.iter());
    text.push_str(
        "\n## Keys for all fan-outs\n\nAs the keys of a fan-out. At the top of a file with `[[fan-out]]` tables, the value holds \
         for all of them; in a `[[fan-out]]` table, for that one.\n\n",
    );
    with_variables(&mut text, DELIVERY.iter());
    text.push_str(
        "\n## Keys of kinds, for all outputs and sources\n\nWritten as the keys above, the value holds for every output and source \
         that has the key and does not set another value.\n\n",
    );
    with_variables(&mut text, registry.inherited_keys().into_iter());

    text.push_str("\n## Keys of every `[[output]]`\n\n");
    of_table(&mut text, EVERY_OUTPUT);
    text.push_str(
        "\n## Keys of a `[[pump]]`\n\nAt the top of the file only. The guide: [From Kinesis Data \
         Analytics](guides/KINESIS-DATA-ANALYTICS.md).\n\n",
    );
    of_table(&mut text, PUMP_KEYS);
    text.push_str("\n### `columns` of a `[[pump]]`\n\n");
    of_table(&mut text, COLUMN_KEYS);
    text.push_str("\n### `[[pump.reference]]`\n\n");
    of_table(&mut text, REFERENCE_KEYS);
    for kind in &registry.outputs {
        section(&mut text, "output", kind);
    }
    for kind in &registry.sources {
        section(&mut text, "source", kind);
    }
    text
}

fn section<S>(text: &mut String, of: &str, kind: &Kind<S>) {
    let (name, summary) = (kind.name, kind.summary);
    write!(text, "\n## `{of}` of `type = \"{name}\"`\n\n{summary}\n\n")
        .expect("a String takes all");
    if let Some(feature) = kind.feature {
        let name = feature.name;
        write!(
            text,
            "In builds with the cargo feature `{name}`, and in released binaries.\n\n"
        )
        .expect("a String takes all");
    }
    of_table(text, kind.keys);
}

fn with_variables<'a>(text: &mut String, keys: impl Iterator<Item = &'a Key>) {
    text.push_str("| flag and key | environment variable | meaning |\n| --- | --- | --- |\n");
    for key in keys {
        let help = match key.default_text() {
            "" => key.help.to_owned(),
            default => format!("{}. Default: {default}", key.help),
        };
        let variable = format!("`{}`", variable(key.name));
        line(text, &[&format!("`{}`", key.name), &variable, &help]);
    }
}

fn of_table(text: &mut String, keys: &[Key]) {
    if keys.is_empty() {
        text.push_str("No keys of its own.\n");
        return;
    }
    text.push_str("| key | default | example | meaning |\n| --- | --- | --- | --- |\n");
    for key in keys {
        let default = match key.absent {
            Absent::Required => "(required)".to_owned(),
            Absent::Default(text) => text.to_owned(),
            Absent::Inherited(text) => format!("the same key above, else {text}"),
        };
        let example = match key.form {
            Form::Tables(_) => "`[{ … }]`".to_owned(),
            Form::Boolean | Form::Count => format!("`{}`", key.example),
            // Patterns hold double quotes.
            _ if key.example.contains('"') => format!("`'{}'`", key.example),
            _ => format!("`\"{}\"`", key.example),
        };
        line(
            text,
            &[&format!("`{}`", key.name), &default, &example, key.help],
        );
    }
}

fn line(text: &mut String, cells: &[&str]) {
    let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    writeln!(text, "| {} |", cells.join(" | ")).expect("a String takes all");
}

/// A JSON schema of the file.
fn schema(registry: &Registry) -> String {
    let fan_out = with_places(registry, object(&registry.fan_out_keys(), true));
    let mut top = with_places(registry, object(&registry.top_keys(), true));
    let pump = object(&PUMP_KEYS.iter().collect::<Vec<_>>(), false);
    top["properties"][PUMP] = json!({"type": "array", "items": pump});
    top["properties"][FAN_OUT_LIST] = json!({"type": "array", "items": fan_out});
    top["$schema"] = json!("https://json-schema.org/draft/2020-12/schema");
    top["$defs"] = json!({"output": of_kinds(&registry.outputs, &[])});
    top["title"] = json!("Configuration of distributary");
    let mut text = serde_json::to_string_pretty(&top).expect("a schema is JSON");
    text.push('\n');
    text
}

/// A table with the source and the outputs.
fn with_places(registry: &Registry, mut table: Value) -> Value {
    let source = of_kinds(&registry.sources, EVERY_SOURCE);
    let output = of_kinds(&registry.outputs, EVERY_OUTPUT);
    table["properties"][SOURCE] = source;
    table["properties"][OUTPUT] = json!({"type": "array", "items": output});
    table
}

/// One schema for each kind; the default kind needs no `type`.
fn of_kinds<S>(kinds: &[Kind<S>], every: &'static [Key]) -> Value {
    let schemas = kinds.iter().enumerate().map(|(i, kind)| {
        let keys: Vec<&Key> = every.iter().chain(kind.keys).collect();
        let mut schema = object(&keys, false);
        schema["properties"][TYPE] = json!({"const": kind.name});
        if i > 0 {
            let required = schema["required"].as_array_mut().expect("a list");
            required.push(json!(TYPE));
        }
        schema
    });
    json!({"anyOf": schemas.collect::<Vec<_>>()})
}

fn object(keys: &[&Key], all_optional: bool) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required: Vec<&str> = keys
        .iter()
        .filter(|key| !all_optional && key.absent == Absent::Required)
        .map(|key| key.name)
        .collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut property = match key.form {
        Form::Boolean => json!({"type": "boolean"}),
        Form::Count => json!({"type": "integer", "minimum": 1}),
        Form::Choice(words) => json!({"enum": words}),
        Form::Output => json!({"anyOf": [
            {"type": "string", "examples": [key.example]},
            {"$ref": "#/$defs/output"},
        ]}),
        Form::Tables(keys) => {
            let item = object(&keys.iter().collect::<Vec<_>>(), false);
            json!({"type": "array", "items": item})
        }
        Form::Table(keys) => object(&keys.iter().collect::<Vec<_>>(), false),
        Form::Texts(_) => json!({
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
            "examples": [key.example],
        }),
        Form::Text(_)
        | Form::Path
        | Form::Name
        | Form::Stream
        | Form::Start
        | Form::Size
        | Form::Span
        | Form::Address => json!({"type": "string", "examples": [key.example]}),
    };
    property["description"] = json!(key.help);
    property
}

#[test]
fn docs_config_is_up_to_date() {
    docs::hold("docs/CONFIG.md", &reference(&Registry::default()));
}

#[test]
fn docs_schema_is_up_to_date() {
    docs::hold("docs/config.schema.json", &schema(&Registry::default()));
}

#[test]
fn the_example_of_the_reference_is_a_configuration() {
    let example = HEAD
        .split("```toml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let mut count = 0;
    for text in example {
        let file = (std::path::Path::new("d.toml"), text.as_bytes());
        let resolved = resolve::resolve(&Registry::default(), &Input::default(), Some(file));
        assert!(resolved.is_ok(), "{text}\n{}", resolved.unwrap_err());
        count += 1;
    }
    assert!(count > 0);
}

#[test]
fn every_key_is_a_flag_of_run() {
    let cli = Cli::command();
    cli.clone().debug_assert();
    let run = cli.find_subcommand("run").expect("there is a command run");
    let mut flags: Vec<&str> = run
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .filter(|flag| !["config", "to", "to-tag", "local", "pump", "help"].contains(flag))
        .collect();
    let mut keys: Vec<&str> = Registry::default()
        .top_keys()
        .iter()
        .map(|key| key.name)
        .collect();
    flags.sort_unstable();
    keys.sort_unstable();
    assert_eq!(flags, keys);
}
