//! Pumps of a fan-out: compiled from the configuration, and attached to the outputs that take their
//! rows.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::{Arc, Mutex};

use distributary_config::{OutputConfig, PumpConfig, RowsConfig};
use distributary_core::clock::Clock;
use distributary_core::engine::deliver::{OnRefused, Patience, Recipient};
use distributary_core::engine::{Order, OutputSpec, Settings, Start};
use distributary_core::pump::PumpRef;
use distributary_core::source::Source;
use distributary_core::store::OutputId;
use distributary_core::sync::lock;
use distributary_sql::pump::{
    ErrorCounts, Route, SqlPump, StatefulSettings, StatefulSqlPump, Tips, WatchedSource,
};
use distributary_sql::{Program, Selection};

use crate::failure::Failure;
use crate::sql::{compile, selection};
use crate::view::ErrorRows;

/// Builds the pumps of one fan-out.
pub(crate) struct Pumps {
    clock: Clock,
    engine: Settings,
    /// Reads of the source, for pumps with state.
    tips: Arc<Tips>,
    built: Mutex<Built>,
}

#[derive(Default)]
struct Built {
    stateless: BTreeMap<String, Stateless>,
    /// The pumps with state by the names of their outputs.
    stateful: BTreeMap<String, String>,
    /// The error rows of every pump.
    errors: BTreeMap<String, Arc<ErrorCounts>>,
    /// The fan-out has its first outputs.
    is_started: bool,
}

/// A stateless pump with the rows that outputs have asked for so far.
struct Stateless {
    config: Arc<PumpConfig>,
    selections: Vec<Selection>,
    pump: Arc<SqlPump>,
}

impl Stateless {
    /// True if the pump makes all of `selections` by the same code.
    fn makes(&self, config: &Arc<PumpConfig>, selections: &[Selection]) -> bool {
        let mut wanted = selections.iter();
        self.config == *config && wanted.all(|one| self.selections.contains(one))
    }
}

/// An output that takes rows.
struct Taker<'a> {
    rows: &'a RowsConfig,
    selection: Selection,
    spec: OutputSpec,
}

/// The outputs of one pump.
type Takers<'a> = Vec<Taker<'a>>;

/// A pump's program with the outputs that take the rows.
struct Group<'a> {
    program: Arc<Program>,
    takers: Takers<'a>,
}

impl<'a> Group<'a> {
    fn new(pump: &PumpConfig) -> Result<Self, Failure> {
        let program = compile(pump)?;
        Ok(Self {
            program: Arc::new(program),
            takers: Vec::new(),
        })
    }

    fn add(&mut self, rows: &'a RowsConfig, spec: OutputSpec) -> Result<(), Failure> {
        let selection = selection(&self.program, rows).map_err(|why| {
            let id = &spec.id;
            Failure::usage(format!("the output {id}: {why}"))
        })?;
        self.takers.push(Taker {
            rows,
            selection,
            spec,
        });
        Ok(())
    }

    /// The selections of all outputs, each once.
    fn selections(takers: &Takers<'_>) -> Vec<Selection> {
        let mut selections = Vec::new();
        for taker in takers {
            if !selections.contains(&taker.selection) {
                selections.push(taker.selection);
            }
        }
        selections
    }
}

impl Pumps {
    pub(crate) fn new(clock: Clock, engine: Settings) -> Self {
        Self {
            tips: Arc::new(Tips::new(clock.clone())),
            clock,
            engine,
            built: Mutex::default(),
        }
    }

    /// `source` with reads that the pumps know about, where a pump keeps state.
    pub(crate) fn watched(&self, source: Arc<dyn Source>) -> Arc<dyn Source> {
        if lock(&self.built).stateful.is_empty() {
            return source;
        }
        Arc::new(WatchedSource::new(source, Arc::clone(&self.tips)))
    }

    /// The rows that went to `error_stream` so far, by pump and error.
    pub(crate) fn error_rows(&self) -> Vec<ErrorRows> {
        let built = lock(&self.built);
        let mut found = Vec::new();

        for (pump, counts) in &built.errors {
            for (kind, count) in counts.get() {
                found.push(ErrorRows {
                    pump: pump.clone(),
                    statement: kind.pump,
                    error: kind.name,
                    count,
                });
            }
        }
        found
    }

    /// Fails if an output takes the rows of a pump with state.
    pub(crate) fn check_change(&self, output: &str) -> Result<(), String> {
        match lock(&self.built).stateful.get(output) {
            None => Ok(()),
            Some(pump) => Err(changes_with_a_restart(pump)),
        }
    }

    /// Lets the outputs take the rows of their pumps. Outputs of a pump with state become one
    /// output of the engine, which is the pump. `configs` are those of `specs`.
    pub(crate) fn attach(
        &self,
        configs: &[OutputConfig],
        specs: Vec<OutputSpec>,
    ) -> Result<Vec<OutputSpec>, Failure> {
        let (mut attached, groups) = grouped(configs, specs)?;
        for (name, group) in groups {
            let specs = self.of_group(name, group, configs)?;
            attached.extend(specs);
        }
        lock(&self.built).is_started = true;
        Ok(attached)
    }

    /// The outputs of the engine for the outputs of one pump.
    fn of_group(
        &self,
        name: &str,
        group: Group<'_>,
        configs: &[OutputConfig],
    ) -> Result<Vec<OutputSpec>, Failure> {
        let Group { program, takers } = group;
        if program.is_stateless() {
            return self.stateless(name, program, takers);
        }

        let mut names = configs.iter().map(|config| &config.name);
        if names.any(|output| output == name) {
            let message = shares_a_name(name);
            return Err(Failure::usage(message));
        }
        let spec = self.stateful(name, program, takers)?;
        Ok(vec![spec])
    }

    fn stateless(
        &self,
        name: &str,
        program: Arc<Program>,
        takers: Takers<'_>,
    ) -> Result<Vec<OutputSpec>, Failure> {
        let Some(first) = takers.first() else {
            return Ok(Vec::new());
        };
        let config = Arc::clone(&first.rows.pump);
        let wanted = Group::selections(&takers);
        let (pump, selections) = self.shared(name, config, program, wanted)?;

        let mut specs = Vec::with_capacity(takers.len());
        for taker in takers {
            let wanted = taker.selection;
            let mut places = selections.iter();
            let stream = places.position(|one| *one == wanted);
            let pump = stream.map(|stream| row_source(&pump, stream));
            specs.push(OutputSpec { pump, ..taker.spec });
        }
        Ok(specs)
    }

    /// The pump that makes `selections`: the one that is running, or a new one.
    fn shared(
        &self,
        name: &str,
        config: Arc<PumpConfig>,
        program: Arc<Program>,
        selections: Vec<Selection>,
    ) -> Result<(Arc<SqlPump>, Vec<Selection>), Failure> {
        let mut built = lock(&self.built);
        if let Some(running) = built.stateless.get(name)
            && running.makes(&config, &selections)
        {
            let pump = Arc::clone(&running.pump);
            return Ok((pump, running.selections.clone()));
        }

        let pump = self.stateless_pump(program, &selections)?;
        let running = Stateless {
            config,
            selections: selections.clone(),
            pump: Arc::clone(&pump),
        };
        built.errors.insert(name.to_owned(), pump.errors());
        built.stateless.insert(name.to_owned(), running);
        Ok((pump, selections))
    }

    fn stateless_pump(
        &self,
        program: Arc<Program>,
        selections: &[Selection],
    ) -> Result<Arc<SqlPump>, Failure> {
        let clock = self.clock.clone();
        let selections = selections.to_vec();
        let made = SqlPump::new(program, selections, clock);
        match made {
            Some(pump) => Ok(Arc::new(pump)),
            None => Err(Failure::run("the pump keeps state")),
        }
    }

    /// The pump as an output of the engine, with the name of the pump.
    fn stateful(
        &self,
        name: &str,
        program: Arc<Program>,
        takers: Takers<'_>,
    ) -> Result<OutputSpec, Failure> {
        let mut built = lock(&self.built);
        if built.is_started {
            let message = changes_with_a_restart(name);
            return Err(Failure::usage(message));
        }
        let (start, settings) = self.common(name, &takers)?;
        let mut routes = Vec::with_capacity(takers.len());
        for taker in takers {
            let output = taker.spec.id.as_str().to_owned();
            built.stateful.insert(output, name.to_owned());
            routes.push(route(taker));
        }

        let clock = self.clock.clone();
        let tips = Arc::clone(&self.tips);
        let pump = StatefulSqlPump::new(program, routes, settings, clock, tips);
        built.errors.insert(name.to_owned(), pump.errors());
        Ok(spec(name, start, Arc::new(pump)))
    }

    /// The start and the settings of all outputs of a pump.
    fn common(
        &self,
        name: &str,
        takers: &Takers<'_>,
    ) -> Result<(Start, StatefulSettings), Failure> {
        check_together(name, takers)?;
        let Some(first) = takers.first() else {
            let message = format!("the pump {name} has no outputs");
            return Err(Failure::usage(message));
        };

        let settings = self.settings(&first.rows.pump);
        Ok((first.spec.start, settings))
    }

    fn settings(&self, config: &PumpConfig) -> StatefulSettings {
        StatefulSettings {
            state_limit: config.state_limit,
            merge_wait: config.merge_wait,
            idle_bound: config.idle_bound,
            patience: Patience::from(&self.engine),
        }
    }
}

fn row_source(pump: &Arc<SqlPump>, stream: usize) -> PumpRef {
    PumpRef {
        pump: pump.clone(),
        stream,
    }
}

/// The outputs that take records, and the others by their pump.
type Grouped<'a> = (Vec<OutputSpec>, BTreeMap<&'a str, Group<'a>>);

fn grouped(configs: &[OutputConfig], specs: Vec<OutputSpec>) -> Result<Grouped<'_>, Failure> {
    let mut plain = Vec::with_capacity(specs.len());
    let mut groups: BTreeMap<&str, Group<'_>> = BTreeMap::new();
    for (config, spec) in configs.iter().zip(specs) {
        let Some(rows) = &config.rows else {
            plain.push(spec);
            continue;
        };

        let group = group_of(&mut groups, &rows.pump)?;
        group.add(rows, spec)?;
    }
    Ok((plain, groups))
}

fn group_of<'g, 'a>(
    groups: &'g mut BTreeMap<&'a str, Group<'a>>,
    pump: &'a PumpConfig,
) -> Result<&'g mut Group<'a>, Failure> {
    match groups.entry(&pump.name) {
        Entry::Occupied(entry) => Ok(entry.into_mut()),
        Entry::Vacant(entry) => {
            let group = Group::new(pump)?;
            Ok(entry.insert(group))
        }
    }
}

fn changes_with_a_restart(pump: &str) -> String {
    format!(
        "the pump {pump} keeps state (windows or joins): its outputs can't be changed while the \
         fan-out runs; restart the process"
    )
}

/// The pump `name` as an output of the engine.
fn spec(name: &str, start: Start, pump: Arc<StatefulSqlPump>) -> OutputSpec {
    OutputSpec {
        id: OutputId::new(name),
        output: pump,
        place: None,
        order: Order::Resend,
        start,
        paused: false,
        dead_letter: None,
        pump: None,
    }
}

/// A pump with state takes a name among the outputs, for its checkpoints.
fn shares_a_name(pump: &str) -> String {
    format!(
        "the pump {pump} keeps state under its name, and an output has the same name; rename one of \
         them"
    )
}

/// The outputs of a pump with state share one position in the source.
fn check_together(pump: &str, takers: &Takers<'_>) -> Result<(), Failure> {
    let paused = takers.iter().find(|taker| taker.spec.paused);
    if let Some(taker) = paused {
        let id = &taker.spec.id;
        return Err(Failure::usage(format!(
            "the output {id} is paused, and the pump {pump} keeps state: the outputs of such a pump \
             can't be paused one by one; remove {id} or paused"
        )));
    }
    let starts_apart = takers
        .windows(2)
        .any(|pair| pair[0].spec.start != pair[1].spec.start);
    if starts_apart {
        return Err(Failure::usage(format!(
            "the outputs of the pump {pump} have different starts, and the pump reads the source once \
             for all of them; give them one start"
        )));
    }
    Ok(())
}

fn route(taker: Taker<'_>) -> Route {
    let spec = taker.spec;
    Route {
        name: spec.id.as_str().to_owned(),
        selection: taker.selection,
        recipient: Recipient {
            output: spec.output,
            order: spec.order,
            on_refused: match spec.dead_letter {
                Some(dead_letter) => OnRefused::Divert(dead_letter),
                None => OnRefused::Stop,
            },
        },
    }
}
