//! `distributary replay`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use distributary_adapters::leases::LeaseStore;
use distributary_adapters::values::StartAt;
use distributary_config::process::ControlAddress;
use distributary_config::{FanOutConfig, OutputConfig, Process};
use distributary_core::clock::{Clock, Millis};
use distributary_core::engine::Start;

use super::config_args::process_of_file;
use crate::connect::{Access, ConnectArgs};
use crate::control::{self, Stretch};
use crate::failure::Failure;
use crate::logging::{self, Level, LogFormat};

/// Flags of `replay`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  distributary replay -c orders.toml --output audit --from 2026-01-31T08:00:00Z --to 2026-01-31T09:00:00Z
  distributary replay -c orders.toml --output audit --from -6h --rate 500

The output gets the records once more, in order per key, filtered and retried as `run` does, while a running process goes on with \
new ones: the two mix there. A replay has a position of its own, in a file beside the state file; interrupted, the same command \
with the same two moments goes on where it was. For the backfill of a new output, let the output start at latest, and replay up to then.")]
pub(crate) struct ReplayArgs {
    /// The configuration
    #[arg(short, long, value_name = "FILE")]
    config: PathBuf,
    /// The output that gets the records again
    #[arg(long, value_name = "NAME")]
    output: String,
    /// The first moment: a time such as 2026-01-31T00:00:00Z or -1h, or trim-horizon
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    from: StartAt,
    /// The end: records that arrived at this moment or later are left out [default: now]
    #[arg(long, value_name = "TIME", allow_hyphen_values = true)]
    to: Option<StartAt>,
    /// Records a second at most, all shards together [default: as fast as the output takes them]
    #[arg(long, value_name = "N")]
    rate: Option<u32>,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Copies the stretch to the output.
pub(crate) async fn run(args: ReplayArgs) -> Result<ExitCode, Failure> {
    logging::start(LogFormat::Text, Level::Info);
    let process = process_of_file(&args.config, &args.connect)?;
    let mut access = Access::for_process(&process)?;
    let until = args.until(&access.clock)?;
    let process = args.only(process, until)?;
    let state = process.fan_outs[0].state.clone();

    access.stretch = Some(Stretch {
        until,
        rate: args.rate,
    });
    let code = control::run(process, access, None).await?;
    if code == ExitCode::SUCCESS {
        forget(state.as_deref());
    }
    Ok(code)
}

/// A replay that is complete has no position any more.
fn forget(state: Option<&Path>) {
    if let Some(path) = state {
        for suffix in ["", "-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(suffix);
            // A file that stays is as good as none: the next replay has another end.
            let _ = std::fs::remove_file(name);
        }
    }
}

impl ReplayArgs {
    /// The end of the stretch.
    fn until(&self, clock: &Clock) -> Result<Millis, Failure> {
        let until = match self.to.as_ref().map(|to| to.0) {
            None | Some(Start::Latest) => clock.wall(),
            Some(Start::At(at)) => at,
            Some(Start::TrimHorizon) => return Err(Failure::usage(NOTHING)),
        };
        match self.from.0 {
            Start::At(from) if from < until => Ok(until),
            Start::TrimHorizon => Ok(until),
            Start::At(_) | Start::Latest => Err(Failure::usage(NOTHING)),
        }
    }

    /// The process with the one output, and with a state of its own.
    fn only(&self, process: Process, until: Millis) -> Result<Process, Failure> {
        let (fan_out, output) = self.named(&process)?;
        let fan_out = self.stretch_of(fan_out, output, until);
        Ok(Process {
            fan_outs: vec![fan_out],
            metrics: None,
            control: ControlAddress::None,
            until_caught_up: true,
            ..process
        })
    }

    /// The output, with its fan-out.
    fn named<'a>(&self, process: &'a Process) -> Result<(&'a FanOutConfig, OutputConfig), Failure> {
        let name = &self.output;
        let mut fan_outs = process.fan_outs.iter();
        let found = fan_outs.find_map(|fan_out| {
            let output = output_of(fan_out, name)?;
            Some((fan_out, output))
        });

        let file = self.config.display();
        match found {
            Some((_, output)) if output.rows.is_some() => Err(Failure::usage(format!(
                "the output {name} takes rows of a pump, which a stretch of the stream does not give; \
                 restart the output instead (`distributary ctl restart`)"
            ))),
            Some(found) => Ok(found),
            None => Err(Failure::usage(format!(
                "there is no output {name} in {file}"
            ))),
        }
    }

    /// The end of the state file's name: another stretch has another position. Without `--to`, the
    /// end is another one each time.
    fn suffix(&self, until: Millis) -> String {
        let from = match self.from.0 {
            Start::At(from) => from.0.to_string(),
            Start::TrimHorizon | Start::Latest => "start".to_owned(),
        };
        let to = match &self.to {
            Some(_) => until.0.to_string(),
            None => "now".to_owned(),
        };
        let name = &self.output;
        format!("replay-{name}-{from}-{to}.db")
    }

    fn stretch_of(
        &self,
        fan_out: &FanOutConfig,
        output: OutputConfig,
        until: Millis,
    ) -> FanOutConfig {
        let state = fan_out.state.as_deref();
        let suffix = self.suffix(until);
        let output = OutputConfig {
            start: self.from.0,
            paused: false,
            ..output
        };
        FanOutConfig {
            state: state.map(|path| path.with_extension(suffix)),
            leases: LeaseStore::Sqlite,
            outputs: vec![output],
            patterns: Vec::new(),
            ..fan_out.clone()
        }
    }
}

const NOTHING: &str = "there is nothing between --from and --to; give a --from before --to";

/// The output called `name`, of a table of its own or of a pattern.
fn output_of(fan_out: &FanOutConfig, name: &str) -> Option<OutputConfig> {
    let mut fixed = fan_out.outputs.iter();
    if let Some(output) = fixed.find(|output| output.name == name) {
        return Some(output.clone());
    }
    let mut patterns = fan_out.patterns.iter();
    let pattern = patterns.find(|pattern| pattern.names.matches(name));
    pattern.and_then(|pattern| pattern.output(name).ok())
}
