//! The configuration of a command that concerns fan-outs: a file, flags and environment variables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use distributary_adapters::keys::Form;
use distributary_config::keys::variable;
use distributary_config::{Input, Mistakes, Place, Process, Registry, file, resolve};

use crate::config::KeyFlags;
use crate::connect::ConnectArgs;
use crate::control::Origin;
use crate::failure::Failure;

/// Flags that describe fan-outs.
#[derive(Debug, clap::Args)]
pub(super) struct ConfigArgs {
    /// Configuration file (TOML); flags and variables have precedence. The outputs in the file may
    /// be changed while the program runs
    #[arg(short, long, display_order = 0, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Output: a stream's name or ARN, or KIND:REST, such as file:PATH or stdout; with a name if
    /// two outputs would have the same name. Once for each output, or several after one --to
    #[arg(long, value_name = "[NAME=][KIND:]TARGET", num_args = 1.., value_delimiter = ',')]
    to: Vec<String>,
    /// Outputs: every stream with this tag, also one that is created later
    #[arg(long, value_name = "KEY=VALUE")]
    to_tag: Vec<String>,
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

impl ConfigArgs {
    /// As [`ConfigArgs::resolve`], with the mistakes as the end of the command.
    pub(super) fn process(self) -> Result<(Process, Option<Origin>), Failure> {
        let resolved = self.resolve();
        resolved.map_err(|mistakes| Failure::usage(mistakes.to_string()))
    }

    /// The process that a file, flags and variables describe, and the file to follow.
    pub(super) fn resolve(self) -> Result<(Process, Option<Origin>), Mistakes> {
        let registry = Registry::default();
        let environment = environment();
        let input = self.input(&environment, &registry)?;
        let path = self.config;
        let path = path.or_else(|| config_variable(&environment));

        match path {
            Some(path) => from_file(path, input, registry),
            None => {
                let process = resolve::resolve(&registry, &input, None)?;
                Ok((process, None))
            }
        }
    }

    /// Flags and variables.
    fn input(
        &self,
        environment: &BTreeMap<String, String>,
        registry: &Registry,
    ) -> Result<Input, Mistakes> {
        let mut input = of_environment(environment, registry);
        self.keys.add_to(&mut input, registry);
        input.outputs_of_flags(&self.to);
        input.tags_of_flags(&self.to_tag);
        input.embedded = self.local || local_variable(environment)?;
        Ok(input)
    }
}

/// Variables of the environment.
pub(super) fn of_environment(environment: &BTreeMap<String, String>, registry: &Registry) -> Input {
    let others = [CONFIG, LOCAL, LOG].map(variable);
    let others = others.each_ref().map(String::as_str);
    let mut input = Input::default();
    input.environment(registry, environment, &others);
    input
}

/// The process of the file at `path`.
pub(super) fn process_of_file(path: &Path, connect: &ConnectArgs) -> Result<Process, Failure> {
    let registry = Registry::default();
    let environment = environment();
    let mut input = of_environment(&environment, &registry);
    connect.add_to(&mut input, &registry);
    let content = file::read(path);
    let process = content.and_then(|content| {
        let file: (&Path, &[u8]) = (path, &content);
        resolve::resolve(&registry, &input, Some(file))
    });
    process.map_err(|mistakes| Failure::usage(mistakes.to_string()))
}

/// The configuration file that the environment names.
fn config_variable(environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    let path = environment.get(&variable(CONFIG))?;
    (!path.is_empty()).then(|| path.into())
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
