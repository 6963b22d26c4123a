//! `distributary sql infer`: a schema from the first records of a stream.

use std::process::ExitCode;

use distributary_sql::infer_schema;

use crate::cli::streams::Given;
use crate::connect::{Access, ConnectArgs};
use crate::failure::Failure;
use crate::screen;
use crate::sql::Sample;

/// Flags of `sql infer`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Prints an InputSchema as JSON: keep it, look through the types and lengths, and give it to run \
(schema = \"FILE\") or to sql test (--schema FILE). Texts longer than their VARCHAR are cut.")]
pub(crate) struct InferArgs {
    /// Name or ARN of the stream
    #[arg(long, value_name = "STREAM")]
    from: String,
    #[command(flatten)]
    connect: ConnectArgs,
}

pub(super) async fn run(args: InferArgs) -> Result<ExitCode, Failure> {
    let access = Access::new(&args.connect)?;
    let schema = of_stream(&access, &args.from).await?;
    screen::print(&format!("{schema}\n"))?;
    Ok(ExitCode::SUCCESS)
}

/// The schema of the first records of a stream.
pub(super) async fn of_stream(access: &Access, stream: &str) -> Result<String, Failure> {
    let given = Given::open(access, stream).await?;
    let sample = Sample {
        stream: stream.to_owned(),
        source: given.source(),
        clock: access.clock.clone(),
        waits: false,
    };
    let records = sample.take().await?;
    infer_schema(&records).map_err(|why| Failure::run(format!("{stream}: {why}")))
}
