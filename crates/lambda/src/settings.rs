//! The configuration of a function.
//!
//! The file comes from the first of these that is there: the text in `DISTRIBUTARY_CONFIG_TOML`,
//! the path in `DISTRIBUTARY_CONFIG`, `distributary.toml` in the package. Every key can be a
//! variable, as for the daemon. A file without a source takes the events of every mapping. Where no
//! output is named, the table `FUNCTIONTargets` names the outputs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use distributary_adapters::kind::{BuildContext, Ending, Kind};
use distributary_adapters::outputs::OutputSettings;
use distributary_config::keys::{FAN_OUT_LIST, OUTPUT, SOURCE, TARGETS};
use distributary_config::programs::{compile, selection};
use distributary_config::table::Table;
use distributary_config::{
    FanOutConfig, Input, Mistakes, OutputConfig, Place, Process, Registry, RowsConfig, file,
    resolve,
};
use distributary_core::clock::Clock;
use distributary_core::pump::{Pump, PumpRef};
use distributary_kinesis::config::Connector;
use distributary_sql::pump::SqlPump;
use distributary_sql::{Program, Selection};

use crate::fleet::Fleet;
use crate::function::Function;
use crate::source::{self, EventSource};

/// The variable with the path of the file.
const CONFIG: &str = "DISTRIBUTARY_CONFIG";
/// The variable with the text of the file.
const CONFIG_TOML: &str = "DISTRIBUTARY_CONFIG_TOML";
/// The variable with the level of the log.
pub const LOG: &str = "DISTRIBUTARY_LOG";
/// Time between two looks at a Targets table, unless set otherwise.
const REFRESH: &str = "10s";
/// The name of the file in the package.
const IN_PACKAGE: &str = "distributary.toml";

/// Variables by name.
pub type Environment = BTreeMap<String, String>;

/// The reason why a function cannot start.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The configuration is wrong.
    #[error("{0}")]
    Mistakes(#[from] Mistakes),
    /// A function cannot do what the configuration says.
    #[error("{0}")]
    Function(String),
}

/// The function that the environment and the package describe.
///
/// # Errors
/// [`SettingsError`].
pub fn load(
    environment: &Environment,
    connector: Arc<Connector>,
    clock: &Clock,
) -> Result<Function, SettingsError> {
    let process = process(environment)?;
    for note in &process.notes {
        tracing::info!("{note}");
    }

    let context = BuildContext {
        clock: clock.clone(),
        connector,
        surroundings: process.surroundings,
        like: None,
        ending: Ending::default(),
    };
    let mut fleets = Vec::with_capacity(process.fan_outs.len());
    for fan_out in process.fan_outs {
        let fleet = fleet(fan_out, context.clone())?;
        fleets.push(fleet);
    }
    Ok(Function::new(clock.clone(), fleets))
}

fn fleet(fan_out: FanOutConfig, context: BuildContext) -> Result<Fleet, SettingsError> {
    check(&fan_out)?;
    let rows = rows(&fan_out.outputs, &context.clock)?;
    Ok(Fleet::new(fan_out, context, rows))
}

fn process(environment: &Environment) -> Result<Process, SettingsError> {
    let mut registry = Registry::default();
    let kind = Kind::of_source::<EventSource>();
    registry.sources.push(kind);
    let mut input = Input::default();
    let others = [CONFIG, CONFIG_TOML, LOG];
    input.environment(&registry, environment, &others);

    let file = file_of(environment)?;
    let file = file.as_ref();
    let file = file.map(|(path, content)| (path.as_path(), content.as_slice()));
    let function = given(environment, "AWS_LAMBDA_FUNCTION_NAME");
    add_defaults(&mut input, file, function.unwrap_or_default())?;
    let process = resolve::resolve(&registry, &input, file)?;
    Ok(process)
}

/// Adds the defaults of a function: the events of every mapping, and the table that
/// aws-lambda-fanout has for the function.
fn add_defaults(
    input: &mut Input,
    file: Option<(&Path, &[u8])>,
    function: &str,
) -> Result<(), Mistakes> {
    let root = match file {
        Some((path, content)) => file::parse(path, content)?,
        None => Table::default(),
    };
    if !names_any(&root, input, &["from", SOURCE, FAN_OUT_LIST]) {
        set(input, "from", source::NAME);
    }
    let has_outputs = !input.to.is_empty();
    if !has_outputs && !names_any(&root, input, &[OUTPUT, TARGETS, FAN_OUT_LIST]) {
        let table = format!("table:{function}Targets");
        set(input, TARGETS, &table);
    }
    if !names_any(&root, input, &["refresh-interval"]) {
        set(input, "refresh-interval", REFRESH);
    }
    Ok(())
}

fn set(input: &mut Input, key: &str, value: &str) {
    let value = value.into();
    input.variables.set(key, value, &Place::Nowhere);
}

/// True if one of `keys` is in the file or among the variables.
fn names_any(root: &Table, input: &Input, keys: &[&str]) -> bool {
    let is_in = |table: &Table| {
        let mut keys = keys.iter();
        keys.any(|key| table.entries.contains_key(*key))
    };
    is_in(root) || is_in(&input.variables)
}

/// The configuration's path and content.
fn file_of(environment: &Environment) -> Result<Option<(PathBuf, Vec<u8>)>, SettingsError> {
    if let Some(text) = given(environment, CONFIG_TOML) {
        let content = text.as_bytes().to_vec();
        return Ok(Some((CONFIG_TOML.into(), content)));
    }
    let named = given(environment, CONFIG);
    let path = in_package(environment, named.unwrap_or(IN_PACKAGE));
    if named.is_none() && !path.exists() {
        return Ok(None);
    }

    let content = file::read(&path)?;
    Ok(Some((path, content)))
}

/// The variable's value, if there is one.
fn given<'a>(environment: &'a Environment, name: &str) -> Option<&'a str> {
    let value = environment.get(name)?;
    (!value.is_empty()).then_some(value)
}

/// A path in the function's package, unless the path is absolute.
fn in_package(environment: &Environment, path: &str) -> PathBuf {
    let root = given(environment, "LAMBDA_TASK_ROOT");
    let root = Path::new(root.unwrap_or("."));
    root.join(path)
}

/// Refuses everything that a function cannot do.
fn check(fan_out: &FanOutConfig) -> Result<(), SettingsError> {
    for output in &fan_out.outputs {
        let name = &output.name;
        if output.paused {
            let why = "a function keeps no position of a paused output; remove the output, or \
                       disable the mapping";
            return Err(refused(name, why));
        }
        let places = std::iter::once(&output.settings).chain(output.refused.dead_letter());
        for settings in places {
            check_kind(name, settings)?;
        }
    }
    Ok(())
}

fn check_kind(name: &str, settings: &OutputSettings) -> Result<(), SettingsError> {
    match settings.kind() {
        "file" => {
            let why = "the disk of a function is gone with the instance; use an output of type s3, \
                       or another service";
            Err(refused(name, why))
        }
        _ => Ok(()),
    }
}

fn refused(output: &str, why: &str) -> SettingsError {
    SettingsError::Function(format!("the output {output}: {why}"))
}

/// The rows that outputs take, by the name of the output. One pump makes the rows of all outputs
/// that take some of it.
fn rows(
    outputs: &[OutputConfig],
    clock: &Clock,
) -> Result<BTreeMap<String, PumpRef>, SettingsError> {
    let mut takers: BTreeMap<&str, Vec<(&str, &RowsConfig)>> = BTreeMap::new();
    for output in outputs {
        if let Some(rows) = &output.rows {
            let of_pump = takers.entry(&rows.pump.name).or_default();
            of_pump.push((&output.name, rows));
        }
    }

    let mut rows = BTreeMap::new();
    for of_pump in takers.into_values() {
        rows.extend(rows_of(&of_pump, clock)?);
    }
    Ok(rows)
}

fn rows_of(
    takers: &[(&str, &RowsConfig)],
    clock: &Clock,
) -> Result<Vec<(String, PumpRef)>, SettingsError> {
    let Some((_, first)) = takers.first() else {
        return Ok(Vec::new());
    };
    let program = compile(&first.pump);
    let program = program.map_err(SettingsError::Function)?;
    let selections = selections(&program, takers)?;

    let pump = SqlPump::new(Arc::new(program), selections, clock.clone());
    let pump = pump.ok_or_else(|| keeps_state(&first.pump.name))?;
    let pump: Arc<dyn Pump> = Arc::new(pump);
    let mut rows = Vec::with_capacity(takers.len());
    for (stream, (output, _)) in takers.iter().enumerate() {
        let pump = Arc::clone(&pump);
        let name = (*output).to_owned();
        rows.push((name, PumpRef { pump, stream }));
    }
    Ok(rows)
}

fn selections(
    program: &Program,
    takers: &[(&str, &RowsConfig)],
) -> Result<Vec<Selection>, SettingsError> {
    let mut selections = Vec::with_capacity(takers.len());
    for (output, rows) in takers {
        let selection = selection(program, rows);
        let selection = selection.map_err(|why| refused(output, &why))?;
        selections.push(selection);
    }
    Ok(selections)
}

fn keeps_state(pump: &str) -> SettingsError {
    SettingsError::Function(format!(
        "the pump {pump} has windows or joins, and a function keeps no state between events; run the \
         daemon for this pump"
    ))
}

/// The variables of the environment; those that are not UTF-8 mean nothing to this program.
pub fn environment() -> Environment {
    let mut variables = Environment::new();
    for (name, value) in std::env::vars_os() {
        if let (Ok(name), Ok(value)) = (name.into_string(), value.into_string()) {
            variables.insert(name, value);
        }
    }
    variables
}
