//! `distributary run`.

use std::process::ExitCode;

use crate::failure::Failure;

/// Flags of `run`.
#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {}

/// Runs it.
pub(crate) async fn run(_args: RunArgs) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
