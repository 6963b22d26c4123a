//! `distributary tail`.

use std::process::ExitCode;

use crate::failure::Failure;

/// Flags of `tail`.
#[derive(Debug, clap::Args)]
pub(crate) struct TailArgs {}

/// Runs it.
pub(crate) async fn run(_args: TailArgs) -> Result<ExitCode, Failure> {
    Ok(ExitCode::SUCCESS)
}
