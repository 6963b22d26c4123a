//! From tables of keys to a [`Process`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use distributary_adapters::kind::{Surroundings, Target};
use distributary_adapters::leases::LeaseStore;
use distributary_adapters::sources::SourceSettings;
use distributary_adapters::targets::TableName;
use distributary_adapters::values::{
    self, Address, Name, OrderWord, ReactionWord, Size, Span, StartAt,
};
use distributary_core::engine;
use distributary_core::leases::LeaseSettings;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::check;
use crate::cycles::{Node, cycles};
use crate::dead_letter::{self, OnRefused, is_resolved_here};
use crate::file;
use crate::input::{Input, state_file};
use crate::keys::{self, DELIVERY, FAN_OUT, FAN_OUT_LIST, OUTPUT, PROCESS, SOURCE};
use crate::mistake::{Mistakes, Place, Result};
use crate::outputs::{Outputs, Placed, Resolved, collisions};
use crate::process::{ControlAddress, FanOutConfig, LogFormat, Process};
use crate::pumps::{self, PUMP, PumpConfig};
use crate::registry::Registry;
use crate::source::source;
use crate::table::{Layers, Table};

/// Least memory of one fan-out, in bytes: a few of the largest answers.
const MEMORY_MIN: usize = 64 << 20;
/// Default of `refresh-interval`.
const REFRESH_INTERVAL: Duration = Duration::from_secs(60);
/// Default of `drain-timeout`.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// The keys of a process; a test holds them to [`PROCESS`].
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct ProcessKeys {
    memory: Option<Size>,
    metrics: Option<Address>,
    metrics_per_shard: bool,
    log_format: LogFormat,
    until_caught_up: bool,
    drain_timeout: Option<Span>,
    control: ControlAddress,
}

/// The keys of a fan-out but for `from` and `dead-letter`; a test holds them to [`FAN_OUT`] and
/// [`DELIVERY`].
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct FanOutKeys {
    name: Option<Name>,
    state: Option<PathBuf>,
    #[serde(deserialize_with = "values::optional_text")]
    leases: Option<LeaseStore>,
    #[serde(deserialize_with = "values::optional_text")]
    targets: Option<TableName>,
    start: Option<StartAt>,
    order: Option<OrderWord>,
    give_up_after: Option<Span>,
    start_timeout: Option<Span>,
    strict_start: bool,
    checkpoint_interval: Option<Span>,
    failover_time: Option<Span>,
    idle_interval: Option<Span>,
    write_timeout: Option<Span>,
    on_refused: Option<OnRefused>,
    refresh_interval: Option<Span>,
    on_recreated: Option<ReactionWord>,
}

/// The process that `input` and the content of a file describe.
///
/// # Errors
/// Every mistake that was found.
pub fn resolve(
    registry: &Registry,
    input: &Input,
    file: Option<(&Path, &[u8])>,
) -> Result<Process> {
    let root = match file {
        Some((path, content)) => file::parse(path, content)?,
        None => Table::default(),
    };
    let mut mistakes = input.mistakes().clone();
    mistakes.append(check::check(&root, registry));
    mistakes.or(())?;

    let embedded = input.embedded;
    let resolver = Resolver {
        registry,
        input,
        root: &root,
        surroundings: Surroundings { embedded },
        notes: input.warnings.clone(),
        pumps: pumps::resolve(root.tables(PUMP))?,
    };
    resolver.process()
}

struct Resolver<'a> {
    registry: &'a Registry,
    input: &'a Input,
    root: &'a Table,
    surroundings: Surroundings,
    notes: Vec<String>,
    pumps: Vec<Arc<PumpConfig>>,
}

/// A fan-out with the places that later checks report.
struct PlacedFanOut {
    config: FanOutConfig,
    place: Place,
    outputs: Vec<Placed>,
}

impl Resolver<'_> {
    fn process(mut self) -> Result<Process> {
        let top = Layers(vec![&self.input.flags, &self.input.variables, self.root]);
        let keys: ProcessKeys = deserialize(top.collect(PROCESS))?;
        let memory = self.memory(&top, keys.memory)?;
        let fan_outs = self.fan_outs(&top, memory)?;

        Ok(Process {
            memory,
            metrics: keys.metrics.map(|address| address.0),
            metrics_per_shard: keys.metrics_per_shard,
            log_format: keys.log_format,
            until_caught_up: keys.until_caught_up,
            drain_timeout: or(keys.drain_timeout, DRAIN_TIMEOUT),
            control: keys.control,
            surroundings: self.surroundings,
            fan_outs,
            notes: self.notes,
        })
    }

    /// The number of fan-outs.
    fn count(&self) -> usize {
        let tables = self.root.tables(FAN_OUT_LIST);
        tables.len().max(1)
    }

    /// The memory of all fan-outs; a mistake if one of them would have too little.
    fn memory(&self, top: &Layers<'_>, given: Option<Size>) -> Result<usize> {
        let default = engine::Settings::default();
        let memory = given.map_or(default.memory_budget, |size| size.0);
        let least = MEMORY_MIN * self.count();
        if memory >= least {
            return Ok(memory);
        }

        let entry = top.entry("memory");
        let place = entry.map(|entry| entry.place.clone());
        let least = least >> 20;
        let message = format!(
            "memory = {memory} bytes is too little: give at least {least}MiB, 64MiB for each \
             fan-out"
        );
        Err(Mistakes::one(&place.unwrap_or_default(), message))
    }

    /// The fan-outs of the file, which may use `memory` bytes together.
    fn fan_outs(&mut self, top: &Layers<'_>, memory: usize) -> Result<Vec<FanOutConfig>> {
        let mut mistakes = Mistakes::default();
        let fan_outs = self.placed(top, memory, &mut mistakes)?;

        mistakes.append(conflicts(&fan_outs));
        let nodes = fan_outs.iter().map(|fan_out| Node {
            config: &fan_out.config,
            place: &fan_out.place,
        });
        let nodes: Vec<Node<'_>> = nodes.collect();
        mistakes.append(cycles(&nodes, &self.surroundings));
        let configs = fan_outs.into_iter().map(|fan_out| fan_out.config);
        mistakes.or(configs.collect())
    }

    /// The fan-outs with their places; without `[[fan-out]]` the top of the file is one.
    fn placed(
        &mut self,
        top: &Layers<'_>,
        memory: usize,
        mistakes: &mut Mistakes,
    ) -> Result<Vec<PlacedFanOut>> {
        let root = self.root;
        let tables = root.tables(FAN_OUT_LIST);
        if tables.is_empty() {
            let fan_out = self.fan_out(root, top, &self.input.to, memory)?;
            return Ok(vec![fan_out]);
        }
        self.check_alone()?;

        let mut fan_outs = Vec::new();
        for table in tables {
            let fan_out = self.one_of_several(table, memory);
            fan_outs.extend(mistakes.take(fan_out));
        }
        Ok(fan_outs)
    }

    fn one_of_several(&mut self, table: &Table, memory: usize) -> Result<PlacedFanOut> {
        let layers = Layers(vec![
            &self.input.flags,
            &self.input.variables,
            table,
            self.root,
        ]);
        self.fan_out(table, &layers, &[], memory)
    }

    /// Beside `[[fan-out]]`, the keys of one fan-out belong in one of them.
    fn check_alone(&self) -> Result<()> {
        let mut mistakes = Mistakes::default();
        let mut own = keys::names(FAN_OUT);
        own.extend([OUTPUT, SOURCE]);

        let tables = [&self.input.flags, &self.input.variables, self.root];
        for table in tables {
            for name in &own {
                mistakes.append(misplaced(table, name));
            }
        }

        if let Some((place, _)) = self.input.to.first() {
            let message = "the file has [[fan-out]] tables; write each output in one of them, as \
                           [[fan-out.output]]";
            mistakes.add(place, message);
        }
        mistakes.or(())
    }

    fn fan_out(
        &mut self,
        own: &Table,
        layers: &Layers<'_>,
        to: &[(Place, String)],
        memory: usize,
    ) -> Result<PlacedFanOut> {
        let keys = fan_out_keys(layers)?;
        let mut mistakes = Mistakes::default();
        let source = source(layers, own, self.registry);
        let source = mistakes.take(source);
        let outputs = self.outputs(own, layers, to, &keys);
        let outputs = mistakes.take(outputs);

        let Some((source, source_place)) = source else {
            return Err(mistakes);
        };
        let Some(found) = outputs else {
            return Err(mistakes);
        };
        let target = source.target(&self.surroundings);
        let problems = source.validate(&self.surroundings);
        mistakes.append(collisions(&found.outputs, &target));
        mistakes.add_all(&source_place, problems);

        let config = self.config(keys, source, &found, memory);
        let place = own.place.clone();
        let outputs = found.outputs;
        mistakes.or(PlacedFanOut {
            config,
            place,
            outputs,
        })
    }

    fn outputs(
        &mut self,
        own: &Table,
        layers: &Layers<'_>,
        to: &[(Place, String)],
        keys: &FanOutKeys,
    ) -> Result<Resolved> {
        let outputs = Outputs {
            registry: self.registry,
            layers,
            surroundings: &self.surroundings,
            order: keys.order.map(|order| order.0),
            start: keys.start.map(|start| start.0),
            on_refused: keys.on_refused,
            pumps: &self.pumps,
        };
        let targets = keys.targets.clone();
        let targets = targets.map(|table| outputs.targets(table));
        let targets = targets.transpose()?;
        let resolved = outputs.resolve(to, own, targets.is_some(), &mut self.notes)?;
        Ok(Resolved {
            targets,
            ..resolved
        })
    }

    fn config(
        &self,
        keys: FanOutKeys,
        source: SourceSettings,
        found: &Resolved,
        memory: usize,
    ) -> FanOutConfig {
        let engine = engine_settings(&keys, memory);
        let name = match keys.name {
            Some(name) => name.0,
            None => source.default_name(),
        };
        let outputs = found.outputs.iter();
        let outputs = outputs.map(|placed| placed.output.clone());
        let refresh_interval = or(keys.refresh_interval, REFRESH_INTERVAL);
        let strict_start = keys.strict_start;

        let default = LeaseSettings::default();
        let failover = or(keys.failover_time, default.failover);
        let leases = keys.leases.unwrap_or_default();

        FanOutConfig {
            failover,
            leases,
            state: self.state(keys.state, &name),
            outputs: outputs.collect(),
            patterns: found.patterns.clone(),
            targets: found.targets.clone(),
            refresh_interval,
            strict_start,
            name,
            source,
            engine,
        }
    }

    /// The state file; none with embedded streams, unless the user names one.
    fn state(&self, given: Option<PathBuf>, name: &str) -> Option<PathBuf> {
        if given.is_some() || self.surroundings.embedded {
            return given;
        }

        let folder = self.input.state_folder.as_deref();
        Some(state_file(folder, name))
    }
}

/// A key of one fan-out that is written outside of it.
fn misplaced(table: &Table, name: &str) -> Mistakes {
    let mut mistakes = Mistakes::default();
    if let Some(entry) = table.entries.get(name) {
        let message =
            format!("key {name}: the file has [[fan-out]] tables; write {name} in one of them");
        mistakes.add(&entry.key_place, message);
    }
    mistakes
}

/// Fan-outs with one name or one state file, or that write to one exclusive target.
fn conflicts(fan_outs: &[PlacedFanOut]) -> Mistakes {
    let mut mistakes = Mistakes::default();
    let mut names = BTreeMap::new();
    let mut states = BTreeMap::new();
    let mut targets = BTreeMap::new();

    for fan_out in fan_outs {
        let place = &fan_out.place;
        let name = &fan_out.config.name;
        if let Some(first) = names.insert(name, place) {
            mistakes.add(place, is_called_alike(name, first));
            continue;
        }

        if let Some(state) = &fan_out.config.state
            && let Some(first) = states.insert(state, place)
        {
            mistakes.add(place, has_the_same_state(first));
        }
        mistakes.append(shared_targets(fan_out, &mut targets));
    }
    let outputs = fan_outs.iter();
    let outputs = outputs.flat_map(|fan_out| &fan_out.outputs);
    let outputs: Vec<&Placed> = outputs.collect();
    mistakes.append(dead_letter::conflicts(&outputs));
    mistakes
}

fn is_called_alike(name: &str, first: &Place) -> String {
    format!(
        "two fan-outs are called {name} (the other one at {first}); give each a name of its own"
    )
}

fn has_the_same_state(first: &Place) -> String {
    format!(
        "two fan-outs have one state file (the other one at {first}); give each a file of its own"
    )
}

/// Exclusive targets of `fan_out` that an earlier fan-out has, too; `targets` holds the earlier
/// ones.
fn shared_targets<'a>(
    fan_out: &'a PlacedFanOut,
    targets: &mut BTreeMap<&'a Target, &'a Place>,
) -> Mistakes {
    let mut mistakes = Mistakes::default();
    for placed in &fan_out.outputs {
        if !placed.target.exclusive {
            continue;
        }
        if let Some(first) = targets.insert(&placed.target, &placed.place) {
            let name = &placed.output.name;
            let message = format!(
                "the output {name} is that of another fan-out, too (at {first}); their records \
                 would be mixed up"
            );
            mistakes.add(&placed.place, message);
        }
    }
    mistakes
}

fn fan_out_keys(layers: &Layers<'_>) -> Result<FanOutKeys> {
    let named = FAN_OUT.iter().filter(|key| key.name != "from");
    let delivery = DELIVERY.iter().filter(|key| !is_resolved_here(key));
    let keys = named.chain(delivery);
    deserialize(layers.collect(keys))
}

/// Checked values, for serde.
fn deserialize<T: DeserializeOwned>(table: toml::Table) -> Result<T> {
    T::deserialize(table).map_err(|error| Mistakes::one(&Place::Nowhere, error.message()))
}

/// Time between two writes of the progress to DynamoDB, which bills each.
const DYNAMODB_CHECKPOINTS: Duration = Duration::from_secs(5);

fn engine_settings(keys: &FanOutKeys, memory: usize) -> engine::Settings {
    let mut default = engine::Settings::default();
    if matches!(keys.leases, Some(LeaseStore::DynamoDb { .. })) {
        default.checkpoint_interval = DYNAMODB_CHECKPOINTS;
    }
    engine::Settings {
        memory_budget: memory,
        checkpoint_interval: or(keys.checkpoint_interval, default.checkpoint_interval),
        idle_poll: or(keys.idle_interval, default.idle_poll),
        lasting_patience: or(keys.give_up_after, default.lasting_patience),
        start_timeout: or(keys.start_timeout, default.start_timeout),
        request_deadline: or(keys.write_timeout, default.request_deadline),
        on_recreated: keys
            .on_recreated
            .map_or(default.on_recreated, |word| word.0),
        ..default
    }
}

/// The given length of time, else the default.
fn or(given: Option<Span>, default: Duration) -> Duration {
    match given {
        Some(span) => span.0,
        None => default,
    }
}

/// The names of the fields that serde knows, for tests that hold them to the tables of keys.
#[cfg(test)]
pub(crate) fn fields() -> [(Vec<&'static str>, &'static [&'static str]); 2] {
    use distributary_adapters::keys::fields_of;

    let names = |keys: &'static [distributary_adapters::keys::Key]| keys.iter().map(|k| k.name);
    let process = names(PROCESS).collect();
    let fan_out = names(FAN_OUT)
        .chain(names(DELIVERY))
        .filter(|name| !["from", keys::DEAD_LETTER].contains(name));
    [
        (process, fields_of::<ProcessKeys>()),
        (fan_out.collect(), fields_of::<FanOutKeys>()),
    ]
}
