//! `distributary sql import`: the configuration that runs an application of Kinesis Data Analytics.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use distributary_sql::{Application, OutputSpec, Program, RowFormat};

use crate::failure::Failure;
use crate::screen;

/// Flags of `sql import`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The file is the application as AWS has it: the answer of aws kinesisanalytics describe-application \
or aws kinesisanalyticsv2 describe-application, the body of create-application, or the properties \
of a CloudFormation resource. The configuration reads that file: code and schema stay as they are. \
Parts of the application that have no equal are told on stderr, and as comments.

Exit code: 0 done, 2 the application can't be read or does not compile.")]
pub(crate) struct ImportArgs {
    /// The application, as JSON
    #[arg(value_name = "APP.json")]
    app: PathBuf,
}

pub(super) fn run(args: &ImportArgs) -> Result<ExitCode, Failure> {
    let text = super::read_text(&args.app)?;
    let application = Application::from_json(&text).map_err(Failure::usage)?;
    if let Err(errors) = Program::compile(&application) {
        return Ok(super::not_compiled(&errors));
    }

    for note in &application.notes {
        screen::say(&format!("note: {note}"));
    }
    screen::print(&configuration(&application, &args.app))?;
    Ok(ExitCode::SUCCESS)
}

/// The configuration as TOML.
fn configuration(application: &Application, file: &Path) -> String {
    let name = pump_name(application);
    let mut text = String::new();
    add_source(&mut text, application);
    let file = file.display().to_string();
    let file = quoted(&file);
    let quoted_name = quoted(&name);
    let pump = format!("\n[[pump]]\nname = {quoted_name}\nsql = {file}\n");
    text.push_str(&pump);

    add_references(&mut text, application);
    for output in &application.outputs {
        add_output(&mut text, output, &name);
    }
    if application.outputs.is_empty() {
        text.push_str(
            "\n# The application has no outputs: name one.\n# [[output]]\n# stream = \"NAME\"\n",
        );
        let line = format!("# pump = {quoted_name}\n");
        text.push_str(&line);
    }
    text
}

fn add_references(text: &mut String, application: &Application) {
    for table in &application.references {
        let place = table.location.as_deref();
        let place = place.unwrap_or("its place");
        let file = file_name(place, &table.name);
        let name = quoted(&table.name);
        let file = quoted(&file);
        let lines =
            format!("\n# A copy of {place}:\n[[pump.reference]]\nname = {name}\nfile = {file}\n");
        text.push_str(&lines);
    }
}

fn add_source(text: &mut String, application: &Application) {
    match &application.source {
        Some(arn) => text.push_str(&format!("from = {}\n", quoted(arn))),
        None => text.push_str(
            "# The input is no Kinesis stream: name the stream to read.\nfrom = \"NAME\"\n",
        ),
    }
    match application.start.as_deref() {
        Some("TRIM_HORIZON") => text.push_str("start = \"trim-horizon\"\n"),
        Some("LAST_STOPPED_POINT") => text.push_str(
            "# The application would go on where it stopped: choose the moment, such as\n\
             # start = \"2026-01-25T00:00:00Z\"\nstart = \"trim-horizon\"\n",
        ),
        Some(_) | None => text.push_str("start = \"latest\"\n"),
    }
}

fn add_output(text: &mut String, output: &OutputSpec, pump: &str) {
    let resource = output.resource.as_deref().unwrap_or("NAME");
    text.push('\n');
    match output.service.as_str() {
        "kinesis" => {
            let resource = quoted(resource);
            let lines = format!("[[output]]\nstream = {resource}\n");
            text.push_str(&lines);
        }
        service => {
            let stream = &output.stream;
            let path = format!("{stream}.jsonl");
            let path = quoted(&path);
            let lines = format!(
                "# Was the {service} destination {resource}: the rows go to a file until you name \
                 another output.\n[[output]]\ntype = \"file\"\npath = {path}\n"
            );
            text.push_str(&lines);
        }
    }

    let pump = quoted(pump);
    let stream = quoted(&output.stream);
    let lines = format!("pump = {pump}\nfrom-stream = {stream}\n");
    text.push_str(&lines);
    if output.format == RowFormat::Csv {
        text.push_str("row-format = \"csv\"\n");
    }
}

/// The application's name with the characters that names may have.
fn pump_name(application: &Application) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    let name: String = application
        .name
        .chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .collect();
    if name.is_empty() {
        "application".to_owned()
    } else {
        name
    }
}

/// The last part of an S3 key, or a name for the table.
fn file_name(place: &str, table: &str) -> String {
    match place.rsplit_once('/') {
        Some((_, last)) if !last.is_empty() => last.to_owned(),
        _ => format!("{table}.csv"),
    }
}

/// A TOML string.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
