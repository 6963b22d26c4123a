//! `distributary demo`.

use std::process::ExitCode;

use crate::failure::Failure;

/// Flags of `demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {}

/// Runs it.
pub(crate) async fn run(_args: DemoArgs) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
