//! `distributary local`.

use std::process::ExitCode;

use crate::failure::Failure;

/// Flags of `local`.
#[derive(Debug, clap::Args)]
pub(crate) struct LocalArgs {}

/// Runs it.
pub(crate) async fn run(_args: LocalArgs) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
