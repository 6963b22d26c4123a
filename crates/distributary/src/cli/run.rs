//! `distributary run`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use distributary_adapters::keys::Form;
use distributary_config::keys::variable;
use distributary_config::{Input, Mistakes, Place, Process, Registry, file, resolve};

use crate::config::KeyFlags;
use crate::connect::Access;
use crate::control::{self, Origin};
use crate::embedded;
use crate::failure::Failure;
use crate::logging;

/// Flags of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  distributary run --from input --to output1 --to output2
  distributary run --from input --to output1 --to file:input.jsonl
  distributary run -c distributary.toml
  distributary run --from input --to eu=arn:aws:kinesis:eu-west-1:123456789012:stream/input --until-caught-up

Credentials, region and endpoint are found as every AWS tool finds them (AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL, \
~/.aws/config). Ctrl-C or SIGTERM finishes the writes that are under way; the next start continues where each output \
was. Every setting, as a flag, a variable (DISTRIBUTARY_FROM for --from) and a key of the file: docs/CONFIG.md.")]
pub(crate) struct RunArgs {
    /// Configuration file (TOML); flags and variables have precedence. The outputs in the file may
    /// be changed while the program runs
    #[arg(short, long, display_order = 0, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Output: a stream's name or ARN, or KIND:REST, such as file:PATH or stdout; with a name if
    /// two outputs would have the same name. Once for each output, or several after one --to
    #[arg(long, value_name = "[NAME=][KIND:]TARGET", num_args = 1.., value_delimiter = ',')]
    to: Vec<String>,
    /// Use an embedded Kinesis in this process, empty and gone at the end; needs no account and no
    /// credentials
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    keys: KeyFlags,
}

/// The flag and variable of the configuration file.
const CONFIG: &str = "config";
/// The flag and variable of the embedded Kinesis.
const LOCAL: &str = "local";
/// The variable of the log's levels.
const LOG: &str = "log";

/// Runs it.
pub(crate) async fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let wrong = |mistakes: Mistakes| Failure::usage(mistakes.to_string());
    let registry = Registry::default();
    let environment = environment();
    let input = input(&args, &environment, &registry).map_err(wrong)?;
    let path = match args.config {
        Some(path) => Some(path),
        None => config_variable(&environment),
    };

    let (process, origin) = match path {
        Some(path) => from_file(path, input, registry).map_err(wrong)?,
        None => {
            let process = resolve::resolve(&registry, &input, None).map_err(wrong)?;
            (process, None)
        }
    };
    start_log(&process);

    let access = Access::for_process(&process.surroundings)?;
    if let Some(local) = &access.local {
        embedded::prepare(local, &process).await?;
    }
    control::run(process, access, origin).await
}

/// The configuration file that the environment names.
fn config_variable(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let path = environment.get(&variable(CONFIG))?;
    (!path.is_empty()).then(|| path.into())
}

fn start_log(process: &Process) {
    logging::start(process.log_format, false);
    for note in &process.notes {
        tracing::warn!("{note}");
    }
}

/// The process that the file at `path` describes, and the file to follow.
fn from_file(
    path: PathBuf,
    input: Input,
    registry: Registry,
) -> Result<(Process, Option<Origin>), Mistakes> {
    let content = file::read(&path)?;
    let given: (&Path, &[u8]) = (&path, &content);
    let process = resolve::resolve(&registry, &input, Some(given))?;
    let origin = Origin {
        path,
        content,
        input,
        registry,
    };
    Ok((process, Some(origin)))
}

/// The variables of the environment; those that are not UTF-8 mean nothing to this program.
pub(super) fn environment() -> BTreeMap<String, String> {
    let mut variables = BTreeMap::new();
    for (name, value) in std::env::vars_os() {
        let name = name.into_string();
        let value = value.into_string();
        if let (Ok(name), Ok(value)) = (name, value) {
            variables.insert(name, value);
        }
    }
    variables
}

/// Flags and variables.
fn input(
    args: &RunArgs,
    environment: &BTreeMap<String, String>,
    registry: &Registry,
) -> Result<Input, Mistakes> {
    let others = [CONFIG, LOCAL, LOG].map(variable);
    let others = others.each_ref().map(String::as_str);
    let mut input = Input::default();

    input.environment(registry, environment, &others);
    args.keys.add_to(&mut input, registry);
    input.outputs_of_flags(&args.to);
    input.embedded = args.local || local_variable(environment)?;
    Ok(input)
}

fn local_variable(environment: &BTreeMap<String, String>) -> Result<bool, Mistakes> {
    let name = variable(LOCAL);
    let Some(text) = environment.get(&name).filter(|text| !text.is_empty()) else {
        return Ok(false);
    };

    let value = Form::Boolean
        .read(text)
        .map_err(|expected| Mistakes::one(&Place::Variable(name), expected.0))?;
    Ok(value.as_bool() == Some(true))
}
