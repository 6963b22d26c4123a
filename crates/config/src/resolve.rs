//! From tables of keys to a [`Process`].

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use distributary_adapters::kind::Surroundings;
use distributary_adapters::values::{Address, Name, OrderWord, Size, Span, StartAt};
use distributary_core::engine;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::check;
use crate::file;
use crate::input::Input;
use crate::keys::{DELIVERY, FAN_OUT, FAN_OUT_LIST, PROCESS};
use crate::mistake::{Mistakes, Place};
use crate::outputs::{Outputs, Placed, collisions};
use crate::process::{FanOutConfig, LogFormat, Process};
use crate::registry::Registry;
use crate::source::source;
use crate::table::{Layers, Table};

/// Least memory of one fan-out, in bytes: a few of the largest answers.
const MEMORY_MIN: usize = 64 << 20;
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
}

/// The keys of a fan-out but for `from`; a test holds them to [`FAN_OUT`] and [`DELIVERY`].
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
struct FanOutKeys {
    name: Option<Name>,
    state: Option<PathBuf>,
    start: Option<StartAt>,
    order: Option<OrderWord>,
    give_up_after: Option<Span>,
    checkpoint_interval: Option<Span>,
    idle_interval: Option<Span>,
    write_timeout: Option<Span>,
}

/// The process that `input` and the content of a file describe.
///
/// # Errors
/// Every mistake that was found.
pub fn resolve(
    registry: &Registry,
    input: &Input,
    file: Option<(&Path, &[u8])>,
) -> Result<Process, Mistakes> {
    let root = match file {
        Some((path, content)) => file::parse(path, content)?,
        None => Table::default(),
    };
    let mut mistakes = input.mistakes().clone();
    mistakes.append(check::check(&root, registry));
    mistakes.or(())?;

    Resolver {
        registry,
        input,
        root: &root,
        surroundings: Surroundings {
            embedded: input.embedded,
        },
        notes: input.warnings.clone(),
    }
    .process()
}

struct Resolver<'a> {
    registry: &'a Registry,
    input: &'a Input,
    root: &'a Table,
    surroundings: Surroundings,
    notes: Vec<String>,
}

/// A fan-out with the places that later checks report.
struct PlacedFanOut {
    config: FanOutConfig,
    place: Place,
    outputs: Vec<Placed>,
}

impl Resolver<'_> {
    fn process(mut self) -> Result<Process, Mistakes> {
        let top = Layers(vec![&self.input.flags, &self.input.variables, self.root]);
        let keys: ProcessKeys = deserialize(top.collect(PROCESS))?;
        let tables = self.root.tables(FAN_OUT_LIST);
        let count = tables.len().max(1);
        let default = engine::Settings::default();
        let memory = keys.memory.map_or(default.memory_budget, |size| size.0);
        if memory / count < MEMORY_MIN {
            let place = top.entry("memory").map(|entry| entry.place.clone());
            return Err(Mistakes::one(
                place.unwrap_or_default(),
                format!(
                    "memory = {memory} bytes is too little: give at least {}MiB, 64MiB for each \
                     fan-out",
                    (MEMORY_MIN >> 20) * count
                ),
            ));
        }

        let fan_outs = self.fan_outs(&top, memory / count)?;
        Ok(Process {
            memory,
            metrics: keys.metrics.map(|address| address.0),
            metrics_per_shard: keys.metrics_per_shard,
            log_format: keys.log_format,
            until_caught_up: keys.until_caught_up,
            drain_timeout: keys.drain_timeout.map_or(DRAIN_TIMEOUT, |span| span.0),
            surroundings: self.surroundings,
            fan_outs,
            notes: self.notes,
        })
    }

    /// The fan-outs of the file; without `[[fan-out]]` the top of the file is one.
    fn fan_outs(&mut self, top: &Layers<'_>, memory: usize) -> Result<Vec<FanOutConfig>, Mistakes> {
        let tables = self.root.tables(FAN_OUT_LIST);
        if tables.is_empty() {
            let fan_out = self.fan_out(self.root, top, &self.input.to, memory)?;
            return Ok(vec![fan_out.config]);
        }
        self.check_alone()?;

        let (mut fan_outs, mut mistakes) = (Vec::new(), Mistakes::default());
        for table in tables {
            let Input {
                flags, variables, ..
            } = self.input;
            let layers = Layers(vec![flags, variables, table, self.root]);
            match self.fan_out(table, &layers, &[], memory) {
                Ok(fan_out) => fan_outs.push(fan_out),
                Err(more) => mistakes.append(more),
            }
        }
        mistakes.append(conflicts(&fan_outs));
        mistakes.or(fan_outs.into_iter().map(|fan_out| fan_out.config).collect())
    }

    /// Beside `[[fan-out]]`, the keys of one fan-out belong in one of them.
    fn check_alone(&self) -> Result<(), Mistakes> {
        let mut mistakes = Mistakes::default();
        let own = FAN_OUT
            .iter()
            .map(|key| key.name)
            .chain([crate::keys::OUTPUT, crate::keys::SOURCE]);
        for name in own {
            for table in [&self.input.flags, &self.input.variables, self.root] {
                if let Some(entry) = table.entries.get(name) {
                    let message = format!(
                        "key {name}: the file has [[fan-out]] tables; write {name} in one of them"
                    );
                    mistakes.add(entry.key_place.clone(), message);
                }
            }
        }
        if let Some((place, _)) = self.input.to.first() {
            let message = "the file has [[fan-out]] tables; write each output in one of them, as \
                           [[fan-out.output]]";
            mistakes.add(place.clone(), message);
        }
        mistakes.or(())
    }

    fn fan_out(
        &mut self,
        own: &Table,
        layers: &Layers<'_>,
        to: &[(Place, String)],
        memory: usize,
    ) -> Result<PlacedFanOut, Mistakes> {
        let named = FAN_OUT.iter().filter(|key| key.name != "from");
        let keys: FanOutKeys = deserialize(layers.collect(named.chain(DELIVERY)))?;
        let outputs = Outputs {
            registry: self.registry,
            layers,
            surroundings: &self.surroundings,
            order: keys.order.map(|order| order.0),
            start: keys.start.map(|start| start.0),
        };
        let outputs = outputs.resolve(to, own, &mut self.notes);
        let (source, source_place) = match (source(layers, own, self.registry), &outputs) {
            (Ok(found), _) => found,
            (Err(mistakes), Ok(_)) => return Err(mistakes),
            (Err(mut mistakes), Err(more)) => {
                mistakes.append(more.clone());
                return Err(mistakes);
            }
        };
        let outputs = outputs?;
        let mut mistakes = collisions(&outputs, &source.target(&self.surroundings));
        for problem in source.validate(&self.surroundings) {
            mistakes.add(source_place.clone(), problem);
        }

        let name = keys
            .name
            .as_ref()
            .map_or_else(|| source.default_name(), |name| name.0.clone());
        mistakes.or(PlacedFanOut {
            config: FanOutConfig {
                state: self.state(keys.state.as_ref(), &name),
                source,
                engine: engine_settings(&keys, memory),
                outputs: outputs.iter().map(|placed| placed.output.clone()).collect(),
                name,
            },
            place: own.place.clone(),
            outputs,
        })
    }

    /// The state file; none with embedded streams, unless the user names one.
    fn state(&self, given: Option<&PathBuf>, name: &str) -> Option<PathBuf> {
        if given.is_some() || self.surroundings.embedded {
            return given.cloned();
        }

        let file = format!("{name}.db");
        Some(match &self.input.state_folder {
            Some(folder) => folder.join(file),
            None => file.into(),
        })
    }
}

/// Fan-outs with one name or one state file, or that write to one exclusive target.
fn conflicts(fan_outs: &[PlacedFanOut]) -> Mistakes {
    let mut mistakes = Mistakes::default();
    let (mut names, mut states) = (BTreeMap::new(), BTreeMap::new());
    let mut targets = BTreeMap::new();
    for (i, fan_out) in fan_outs.iter().enumerate() {
        let PlacedFanOut { config, place, .. } = fan_out;
        if let Some(first) = names.insert(&config.name, place) {
            let message = format!(
                "two fan-outs are called {} (the other one at {first}); give each a name of its own",
                config.name
            );
            mistakes.add(place.clone(), message);
        } else if let Some(first) = config
            .state
            .as_ref()
            .and_then(|state| states.insert(state, place))
        {
            let message = format!(
                "two fan-outs have one state file (the other one at {first}); give each a file of \
                 its own"
            );
            mistakes.add(place.clone(), message);
        }

        for output in fan_out.outputs.iter().filter(|o| o.target.exclusive) {
            let first = targets.insert(&output.target, (i, &output.place));
            if let Some((_, first)) = first.filter(|(of, _)| *of != i) {
                let message = format!(
                    "the output {} is that of another fan-out, too (at {first}); their records \
                     would be mixed up",
                    output.output.name
                );
                mistakes.add(output.place.clone(), message);
            }
        }
    }
    mistakes
}

/// Checked values, for serde.
fn deserialize<T: DeserializeOwned>(table: toml::Table) -> Result<T, Mistakes> {
    T::deserialize(table).map_err(|error| Mistakes::one(Place::Nowhere, error.message()))
}

fn engine_settings(keys: &FanOutKeys, memory: usize) -> engine::Settings {
    let default = engine::Settings::default();
    let or = |span: Option<Span>, default: Duration| span.map_or(default, |span| span.0);
    engine::Settings {
        memory_budget: memory,
        checkpoint_interval: or(keys.checkpoint_interval, default.checkpoint_interval),
        idle_poll: or(keys.idle_interval, default.idle_poll),
        lasting_patience: or(keys.give_up_after, default.lasting_patience),
        request_deadline: or(keys.write_timeout, default.request_deadline),
        ..default
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
        .filter(|name| *name != "from");
    [
        (process, fields_of::<ProcessKeys>()),
        (fan_out.collect(), fields_of::<FanOutKeys>()),
    ]
}
