//! `distributary run`.

use std::path::PathBuf;
use std::process::ExitCode;

use distributary_config::Process;

use super::config_args::ConfigArgs;
use crate::connect::Access;
use crate::control;
use crate::embedded;
use crate::failure::Failure;
use crate::logging::{self, Level};
use crate::sql;

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
    #[command(flatten)]
    config: ConfigArgs,
    /// Send the rows of this SQL to every output, in place of the records: SQL of Kinesis Data
    /// Analytics that makes one stream, or an application as JSON. A schema is inferred from the
    /// first records, unless NAME.schema.json is beside the file
    #[arg(long, value_name = "FILE", conflicts_with = "config")]
    pump: Option<PathBuf>,
}

/// Runs it.
pub(crate) async fn run(args: RunArgs) -> Result<ExitCode, Failure> {
    let (mut process, origin) = args.config.process()?;
    start_log(&process);

    let access = Access::for_process(&process)?;
    if let Some(local) = &access.local {
        embedded::prepare(local, &process).await?;
    }
    if let Some(pump) = &args.pump {
        sql::add_pump(&mut process, pump, &access).await?;
    }
    control::run(process, access, origin).await
}

fn start_log(process: &Process) {
    logging::start(process.log_format, Level::Info);
    for note in &process.notes {
        tracing::warn!("{note}");
    }
}
