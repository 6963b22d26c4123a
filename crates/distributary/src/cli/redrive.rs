//! `distributary redrive`.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use distributary_adapters::kind::Ending;
use distributary_config::values::Span;
use distributary_config::{
    FanOutConfig, Input, Mistakes, OutputConfig, Process, Registry, file, resolve,
};
use distributary_core::text::chain;

use super::config_args::{environment, of_environment};
use crate::connect::{Access, ConnectArgs};
use crate::failure::Failure;
use crate::redrive::{Letters, Redrive, Tally, Target};
use crate::screen;

/// Flags of `redrive`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  distributary redrive orders.dead.jsonl -c distributary.toml
  distributary redrive orders.dead.jsonl --to orders-repaired
  distributary redrive orders.dead.jsonl* --output audit -c distributary.toml

Letters are sent in the order of the files, so the order per partition key is kept. A letter that was sent is marked in \
FILE.redriven, and is not sent again. The letters of a stream are read into a file with `distributary tail --format raw`. \
Exit code 0: every letter was sent; 1: some were refused again, or an output failed.")]
pub(crate) struct RedriveArgs {
    /// Files of dead letters, the oldest one first
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Configuration file: letters go to the output that refused them, with that output's settings
    #[arg(short, long, value_name = "FILE", required_unless_present = "to")]
    config: Option<PathBuf>,
    /// Send all letters to this output instead
    #[arg(long, value_name = "[KIND:]TARGET", conflicts_with = "config")]
    to: Option<String>,
    /// Send the letters of this output only
    #[arg(long, value_name = "NAME")]
    output: Option<String>,
    /// Count the letters and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Longest wait for an output that fails or throttles
    #[arg(long, value_name = "TIME", default_value = "5m")]
    patience: Span,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Sends the letters and reports the result.
pub(crate) async fn run(args: RedriveArgs) -> Result<ExitCode, Failure> {
    let mut files = args.read()?;
    if args.dry_run {
        print_open(&files)?;
        return Ok(ExitCode::SUCCESS);
    }

    let redrive = args.redrive(&files).await?;
    let mut tallies = BTreeMap::new();
    for letters in &mut files {
        let sent = redrive.send(letters, &mut tallies).await;
        sent.map_err(|error| unusable(&letters.path, &error))?;
    }
    report(&files, &redrive.targets, &tallies)
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::run(format!(
        "cannot redrive {}: {error}; name a file that a dead-letter of type file wrote",
        path.display()
    ))
}

impl RedriveArgs {
    /// The output that takes the letters of the output `name`.
    fn output_for(&self, process: &Process, name: &str) -> Option<OutputConfig> {
        match self.to {
            Some(_) => any_output(process),
            None => output_called(process, name),
        }
    }

    /// The letters of all files.
    fn read(&self) -> Result<Vec<Letters>, Failure> {
        let mut files = Vec::new();
        let only = self.output.as_deref();
        for path in &self.files {
            let letters = Letters::read(path, only);
            let letters = letters.map_err(|error| unusable(path, &error))?;
            files.push(letters);
        }
        Ok(files)
    }

    /// The open targets of the letters.
    async fn redrive(&self, files: &[Letters]) -> Result<Redrive, Failure> {
        let process = self.process(files)?;
        let access = Access::for_process(&process)?;
        let targets = targets(self, &process, &access, files).await?;
        Ok(Redrive {
            clock: access.clock.clone(),
            patience: self.patience.0,
            targets,
        })
    }

    /// The process whose outputs take the letters.
    fn process(&self, files: &[Letters]) -> Result<Process, Failure> {
        let registry = Registry::default();
        let mut input = self.input(&registry);
        let resolved = match &self.config {
            Some(path) => {
                input.to.clear();
                of_file(path, &input, &registry)
            }
            None => {
                let source = source_of(files);
                input.flag(&registry, "from", source);
                input.outputs_of_flags(self.to.as_slice());
                resolve::resolve(&registry, &input, None)
            }
        };
        resolved.map_err(|mistakes| Failure::usage(mistakes.to_string()))
    }

    /// The environment, and the connection's flags.
    fn input(&self, registry: &Registry) -> Input {
        let environment = environment();
        let mut input = of_environment(&environment, registry);
        self.connect.add_to(&mut input, registry);
        input
    }
}

fn of_file(path: &Path, input: &Input, registry: &Registry) -> Result<Process, Mistakes> {
    let content = file::read(path)?;
    let file = (path, content.as_slice());
    resolve::resolve(registry, input, Some(file))
}

/// The source of the first letter.
fn source_of(files: &[Letters]) -> &str {
    let mut letters = files.iter().flat_map(|file| &file.open);
    match letters.next() {
        Some(letter) => &letter.id.source,
        None => "none",
    }
}

/// The outputs that the letters go to, by the name of the refusing output.
async fn targets(
    args: &RedriveArgs,
    process: &Process,
    access: &Access,
    files: &[Letters],
) -> Result<BTreeMap<String, Target>, Failure> {
    let mut targets = BTreeMap::new();
    for letter in files.iter().flat_map(|file| &file.open) {
        let name = &letter.id.output;
        if targets.contains_key(name) {
            continue;
        }
        let config = args.output_for(process, name);
        let config = config.ok_or_else(|| no_output(name))?;
        let target = target(&config, access).await?;
        targets.insert(name.clone(), target);
    }
    Ok(targets)
}

fn any_output(process: &Process) -> Option<OutputConfig> {
    let mut fan_outs = process.fan_outs.iter();
    fan_outs.find_map(|fan_out| fan_out.outputs.first().cloned())
}

/// The output of this name: one with a table of its own, or one that a pattern finds.
fn output_called(process: &Process, name: &str) -> Option<OutputConfig> {
    let fixed = |fan_out: &FanOutConfig| {
        let mut outputs = fan_out.outputs.iter();
        outputs.find(|output| output.name == name).cloned()
    };
    let fan_outs = &process.fan_outs;
    let output = fan_outs.iter().find_map(fixed);
    output.or_else(|| {
        let mut fan_outs = fan_outs.iter();
        fan_outs.find_map(|fan_out| found(fan_out, name))
    })
}

fn found(fan_out: &FanOutConfig, name: &str) -> Option<OutputConfig> {
    let mut patterns = fan_out.patterns.iter();
    let pattern = patterns.find(|pattern| pattern.names.matches(name));
    let output = pattern?.output(name);
    output.ok()
}

fn no_output(name: &str) -> Failure {
    Failure::usage(format!(
        "the configuration has no output {name}, which refused some of the letters; name another \
         output with --to, or leave its letters out with --output"
    ))
}

async fn target(config: &OutputConfig, access: &Access) -> Result<Target, Failure> {
    let context = access.build_context(Ending::default());
    let built = config.settings.build(&context).await;
    let built = built.map_err(|error| Failure::run(chain(&error)))?;
    Ok(Target {
        name: config.name.clone(),
        output: built.output,
        order: config.order,
    })
}

fn print_open(files: &[Letters]) -> Result<(), Failure> {
    let mut text = String::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for letter in files.iter().flat_map(|file| &file.open) {
        let output = &letter.id.output;
        *counts.entry(output).or_default() += 1;
    }

    for (output, count) in counts {
        text.push_str(&format!("{output}: {count} dead letters to send\n"));
    }
    text.push_str(&sent_before(files));
    screen::print(&text)
}

fn sent_before(files: &[Letters]) -> String {
    let before: usize = files.iter().map(|file| file.sent_before).sum();
    match before {
        0 => String::new(),
        _ => format!("{before} dead letters were sent by an earlier redrive\n"),
    }
}

fn report(
    files: &[Letters],
    targets: &BTreeMap<String, Target>,
    tallies: &BTreeMap<String, Tally>,
) -> Result<ExitCode, Failure> {
    let mut text = String::new();
    for (output, tally) in tallies {
        let target = targets.get(output);
        let to = target.map_or("", |target| &target.name);
        let Tally {
            sent,
            refused,
            failed,
            ..
        } = tally;
        text.push_str(&format!(
            "{output}: {sent} sent to {to}, {refused} refused again, {failed} not sent\n"
        ));
        if let Some(reason) = &tally.reason {
            text.push_str(&format!("{output}: the last reason: {reason}\n"));
        }
    }
    text.push_str(&sent_before(files));
    screen::print(&text)?;

    if tallies.values().all(Tally::is_complete) {
        return Ok(ExitCode::SUCCESS);
    }
    Ok(ExitCode::FAILURE)
}
