//! `distributary put`.

use std::process::ExitCode;

use crate::failure::Failure;

/// Flags of `put`.
#[derive(Debug, clap::Args)]
pub(crate) struct PutArgs {}

/// Runs it.
pub(crate) async fn run(_args: PutArgs) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
