//! `distributary run`.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::{self, Config, File, Flags, Settings, To};
use crate::connect::{Access, ConnectArgs};
use crate::failure::Failure;
use crate::fanout::{self, Edits};
use crate::logging;

/// Flags of `run`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  distributary run --from input --to output1 --to output2
  distributary run -c distributary.toml
  distributary run --from input --to eu=arn:aws:kinesis:eu-west-1:123456789012:stream/input --until-caught-up

Credentials, region and endpoint come from where every AWS tool takes them (AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL, \
~/.aws/config). Ctrl-C or SIGTERM finishes what is under way; the next start goes on where each output was. Every \
setting, as a flag, a variable (DISTRIBUTARY_FROM for --from) and a key of the file: docs/CONFIG.md.")]
pub(crate) struct RunArgs {
    /// Configuration file (TOML); flags and variables go before it. Its outputs may be edited while it runs
    #[arg(
        short,
        long,
        display_order = 0,
        env = "DISTRIBUTARY_CONFIG",
        hide_env = true,
        value_name = "FILE"
    )]
    config: Option<PathBuf>,
    /// Stream to copy to: a name or an ARN, with a name of its own if two are called the same. Once for each output, or
    /// several after one --to
    #[arg(long, env = "DISTRIBUTARY_TO", hide_env = true, value_name = "[NAME=]STREAM", num_args = 1.., value_delimiter = ',')]
    to: Vec<To>,
    #[command(flatten)]
    settings: Settings,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs it.
pub(crate) async fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let RunArgs {
        config: path,
        to,
        settings,
        connect,
    } = args;
    let flags = Flags {
        settings,
        connect,
        to,
    };
    let wrong = |problem: config::Problem| Failure::usage(problem.0);
    let mut edits = None;
    let mut file = None;
    if let Some(path) = path {
        let content = config::read(&path).map_err(wrong)?;
        file = Some(File::parse(&path, &content).map_err(wrong)?);
        edits = Some(Edits::new(path, flags.clone(), content));
    }
    let config = Config::resolve(flags, file).map_err(wrong)?;
    logging::start(config.log_format, false);
    let access = Access::new(&config.connect)?;
    fanout::supervise(config, access, edits).await
}
