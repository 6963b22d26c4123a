//! The `distributary` program: commands, configuration, wiring, live view, metrics.

mod check;
mod cli;
mod config;
mod connect;
mod control;
#[cfg(test)]
mod docs;
mod embedded;
mod failure;
mod logging;
mod patience;
mod redrive;
mod screen;
mod show;
mod sql;
mod state;
mod verify;
mod view;
mod walk;
mod web;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    cli::main(cli::Cli::parse())
}
