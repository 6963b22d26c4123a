//! The `distributary` program: commands, configuration, wiring, live view, metrics.

mod cli;
mod connect;
mod failure;
mod logging;
mod patience;
mod show;
mod verify;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::main(cli::Cli::parse())
}
