//! Compiled programs.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::application::{Application, OutputSpec};
use crate::bind::{BoundPump, bind_application};
use crate::catalog::{Catalog, Column, ERROR_STREAM, METADATA, Stream, StreamRole, error_stream};
use crate::error::{CompileErrors, ErrorClass, Issue, nearest};
use crate::input::Decoder;
use crate::plan::Plan;
use crate::reference::load_table;
use crate::text::parse;
use crate::value::Value;

/// A compiled application: streams, pumps and the way to read its records. Immutable; a
/// [`Processor`](crate::Processor) holds the state of one run.
#[derive(Debug)]
pub struct Program {
    streams: Vec<Stream>,
    /// The number of input streams, which are the first of all streams.
    inputs: usize,
    error_stream: usize,
    pumps: Vec<Pump>,
    stopped: Vec<Pump>,
    outputs: Vec<OutputSpec>,
    decoder: Arc<Decoder>,
    full_decoder: Decoder,
    fingerprint: u64,
    /// Lines of reference data that could not be read: table and reason.
    pub(crate) bad_references: Vec<(String, String)>,
}

/// A pump that runs.
#[derive(Debug)]
pub(crate) struct Pump {
    pub(crate) name: String,
    pub(crate) target: usize,
    pub(crate) plan: Plan,
}

impl Program {
    /// Compiles an application.
    ///
    /// # Errors
    /// All independent errors of the code and the configuration.
    pub fn compile(application: &Application) -> Result<Self, CompileErrors> {
        let mut catalog = Catalog {
            aliases: application.aliases.clone(),
            ..Catalog::default()
        };
        add_inputs(&mut catalog, application)?;
        let bad_references = add_references(&mut catalog, application)?;

        let code = &application.code;
        let (statements, mut issues) = parse(code);
        let bound = bind_application(&mut catalog, &statements, &mut issues);
        catalog.streams.push(error_stream());
        check_outputs(application, &catalog, &mut issues);
        if !issues.is_empty() {
            return Err(CompileErrors::locate(code, issues));
        }

        let (stopped, running): (Vec<_>, Vec<_>) = bound.into_iter().partition(|pump| pump.stopped);
        let program = Self::assemble(application, catalog, running, stopped)?;
        Ok(Self {
            bad_references,
            ..program
        })
    }

    fn assemble(
        application: &Application,
        catalog: Catalog,
        running: Vec<BoundPump>,
        stopped: Vec<BoundPump>,
    ) -> Result<Self, CompileErrors> {
        let pumps: Vec<Pump> = running.into_iter().map(Pump::from).collect();
        let first = catalog.streams.first();
        let columns = first.map_or(&[][..], |stream| &stream.columns);
        let decoder = |needed: &BTreeSet<usize>| {
            let decoder = Decoder::new(&application.schema, columns, needed);
            decoder.map_err(CompileErrors::config)
        };
        let last = columns.len() + METADATA.len();
        let all: BTreeSet<usize> = (0..=last).collect();
        let inputs = application.parallelism;
        let needed = needed_columns(&pumps, inputs);

        Ok(Self {
            decoder: Arc::new(decoder(&needed)?),
            full_decoder: decoder(&all)?,
            error_stream: catalog.streams.len() - 1,
            streams: catalog.streams,
            inputs,
            pumps,
            stopped: stopped.into_iter().map(Pump::from).collect(),
            outputs: application.outputs.clone(),
            fingerprint: fingerprint(application),
            bad_references: Vec::new(),
        })
    }

    /// All streams: the inputs first, `error_stream` last.
    #[must_use]
    pub fn streams(&self) -> &[Stream] {
        &self.streams
    }

    /// The number of a stream by exact name.
    #[must_use]
    pub fn stream_named(&self, name: &str) -> Option<usize> {
        self.streams.iter().position(|stream| stream.name == name)
    }

    /// The number of `error_stream`.
    #[must_use]
    pub fn error_stream(&self) -> usize {
        self.error_stream
    }

    /// The outputs that the application's configuration names.
    #[must_use]
    pub fn outputs(&self) -> &[OutputSpec] {
        &self.outputs
    }

    /// The names of the pumps that run, in order of definition.
    pub fn pump_names(&self) -> impl Iterator<Item = &str> {
        self.pumps.iter().map(|pump| pump.name.as_str())
    }

    /// Whether every row comes from one record at once: such a program needs no snapshot and runs
    /// on every shard by itself.
    #[must_use]
    pub fn is_stateless(&self) -> bool {
        self.pumps.iter().all(|pump| pump.plan.is_stateless())
    }

    /// Whether every row of a stream comes from one record at once, also where other streams of the
    /// program have windows.
    #[must_use]
    pub fn is_per_record(&self, stream: usize) -> bool {
        let mut writers = self.pumps.iter().filter(|pump| pump.target == stream);
        writers.all(|pump| {
            let below = pump.plan.scans();
            pump.plan.is_stateless() && below.into_iter().all(|from| self.is_per_record(from))
        })
    }

    /// The most rows of a stream that one row of the source makes, for a program without state; a
    /// join with a table counts as one row.
    #[must_use]
    pub(crate) fn rows_of_a_record(&self, stream: usize) -> usize {
        if stream < self.inputs {
            return 1;
        }
        let writers = self.pumps.iter().filter(|pump| pump.target == stream);
        let scans = writers.flat_map(|pump| pump.plan.scans());
        scans.map(|from| self.rows_of_a_record(from)).sum()
    }

    pub(crate) fn running(&self) -> impl Iterator<Item = &Pump> {
        self.pumps.iter()
    }

    pub(crate) fn stopped(&self) -> impl Iterator<Item = &Pump> {
        self.stopped.iter()
    }

    pub(crate) fn pump_name(&self, index: usize) -> &str {
        self.pumps.get(index).map_or("", |pump| &pump.name)
    }

    pub(crate) fn target(&self, pump: usize) -> usize {
        self.pumps[pump].target
    }

    /// The input stream for the records of a shard.
    pub(crate) fn input_of(&self, shard_index: usize) -> usize {
        shard_index % self.inputs.max(1)
    }

    pub(crate) fn decoder(&self) -> Arc<Decoder> {
        self.decoder.clone()
    }

    /// A number that differs between applications with another code, schema or reference data.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    /// A row of a record with all its columns, for a message about it. Empty when there is none.
    pub(crate) fn full_row(&self, data: &Bytes, number: usize) -> Vec<Value> {
        let mut row = Vec::new();
        let mut rows = self.full_decoder.record(data);
        let mut good = 0;
        while let Some(decoded) = rows.next_row(&mut row) {
            if decoded.is_ok() {
                if good == number {
                    return row;
                }
                good += 1;
            }
        }
        Vec::new()
    }
}

/// Loads the reference tables; returns the tables' bad rows.
fn add_references(
    catalog: &mut Catalog,
    application: &Application,
) -> Result<Vec<(String, String)>, CompileErrors> {
    let mut bad_references = Vec::new();

    for reference in &application.references {
        let loaded = load_table(reference);
        let (table, bad) = loaded.map_err(CompileErrors::config)?;
        let named = bad.into_iter().map(|line| (table.name.clone(), line));
        bad_references.extend(named);
        catalog.tables.push(Arc::new(table));
    }
    Ok(bad_references)
}

impl From<BoundPump> for Pump {
    fn from(bound: BoundPump) -> Self {
        Self {
            name: bound.name,
            target: bound.target,
            plan: bound.plan,
        }
    }
}

/// Adds the input streams.
pub(crate) fn add_inputs(
    catalog: &mut Catalog,
    application: &Application,
) -> Result<(), CompileErrors> {
    let count = application.parallelism;
    if !(1..=64).contains(&count) {
        let message = format!("InputParallelism {count}; expected 1 to 64");
        return Err(CompileErrors::config(message));
    }
    let columns = application
        .schema
        .columns()
        .map_err(CompileErrors::config)?;
    for number in 1..=count {
        catalog.streams.push(Stream {
            name: format!("{}_{number:03}", application.name_prefix),
            role: StreamRole::Input,
            columns: columns.clone(),
            broken: false,
        });
    }
    Ok(())
}

/// Every output takes the rows of a stream that exists.
fn check_outputs(application: &Application, catalog: &Catalog, issues: &mut Vec<Issue>) {
    for output in &application.outputs {
        if catalog.stream(&output.stream).is_none() {
            let known = catalog.streams.iter().map(|stream| stream.name.as_str());
            let message = format!(
                "the output \"{}\" names no stream; expected a stream that the code creates, or {ERROR_STREAM}{}",
                output.stream,
                nearest(&output.stream, known)
            );
            issues.push(Issue::new(ErrorClass::Config, 0, message));
        }
    }
}

/// The columns of the source's rows that some pump reads.
fn needed_columns(pumps: &[Pump], inputs: usize) -> BTreeSet<usize> {
    let mut needed = BTreeSet::from([0]);
    for pump in pumps {
        add_needed(&pump.plan, None, inputs, &mut needed);
    }
    needed
}

/// Adds the columns of scans of the source below `plan`, of whose columns `wanted` are used
/// (`None`: all).
// tidy: long because it lists every operator once
fn add_needed(
    plan: &Plan,
    wanted: Option<&BTreeSet<usize>>,
    inputs: usize,
    needed: &mut BTreeSet<usize>,
) {
    let mut below = BTreeSet::new();
    match plan {
        Plan::Scan(stream) if *stream >= inputs => {}
        Plan::Scan(_) => match wanted {
            Some(wanted) => needed.extend(wanted),
            // More than any stream has.
            None => needed.extend(0..1100),
        },
        Plan::Filter(input, condition) => match wanted {
            Some(wanted) => {
                below.clone_from(wanted);
                condition.add_columns(&mut below);
                add_needed(input, Some(&below), inputs, needed);
            }
            None => add_needed(input, None, inputs, needed),
        },
        Plan::Project(input, columns) => {
            columns
                .iter()
                .for_each(|column| column.add_columns(&mut below));
            add_needed(input, Some(&below), inputs, needed);
        }
        Plan::UnionAll(left, right) => {
            add_needed(left, wanted, inputs, needed);
            add_needed(right, wanted, inputs, needed);
        }
        Plan::Group(plan) => {
            plan.keys.iter().for_each(|key| key.add_columns(&mut below));
            for call in &plan.aggregates {
                call.argument
                    .iter()
                    .for_each(|argument| argument.add_columns(&mut below));
            }
            add_needed(&plan.input, Some(&below), inputs, needed);
        }

        Plan::Items(plan) => {
            below.insert(plan.column);
            add_needed(&plan.input, Some(&below), inputs, needed);
        }

        Plan::Forest(plan) => match wanted {
            Some(wanted) => {
                below.clone_from(wanted);
                below.extend(plan.measured.iter().map(|measured| measured.column));
                add_needed(&plan.input, Some(&below), inputs, needed);
            }
            None => add_needed(&plan.input, None, inputs, needed),
        },
        Plan::Slide(_)
        | Plan::Distinct(_)
        | Plan::Sort(_)
        | Plan::GroupRank(_)
        | Plan::Join(_)
        | Plan::Outer(_) => {
            for input in plan.inputs() {
                add_needed(input, None, inputs, needed);
            }
        }
    }
}

/// A number that differs between applications whose states can't be exchanged (FNV-1a).
fn fingerprint(application: &Application) -> u64 {
    let schema = format!("{:?}{}", application.schema, application.parallelism);
    let tables = application
        .references
        .iter()
        .flat_map(|table| table.name.bytes().chain(table.contents.iter().copied()));
    let code = application.code.bytes();
    code.chain(schema.bytes())
        .chain(tables)
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
}

/// A column of the catalog, for listings.
pub(crate) fn column_text(column: &Column) -> String {
    let not_null = if column.not_null { " NOT NULL" } else { "" };
    format!("\"{}\" {}{not_null}", column.name, column.sql_type)
}
