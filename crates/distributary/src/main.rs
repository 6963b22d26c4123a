//! The `distributary` program: commands, configuration, wiring, live view, metrics.

// The macros panic where nobody reads; `screen` writes to stdout and stderr.
#![warn(clippy::print_stdout, clippy::print_stderr)]

mod check;
mod cli;
mod config;
mod connect;
mod control;
#[cfg(test)]
mod docs;
mod embedded;
mod failure;
#[cfg(feature = "dynamodb")]
mod leases;
mod logging;
mod measure;
mod patience;
mod plan;
mod redrive;
mod screen;
mod show;
mod sql;
mod state;
mod verify;
mod view;
mod walk;
mod web;

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = cli::Cli::read();
    if let Err(error) = screen::start() {
        // The text has no thread to write it. A closed stderr shows nothing at all.
        let _ = writeln!(
            std::io::stderr(),
            "distributary: the system starts no more threads ({error}); raise the limit of \
             processes (ulimit -u), or of the container's or service's tasks (pids.max, TasksMax)"
        );
        return ExitCode::FAILURE;
    }

    let code = cli::main(cli);
    screen::finish();
    code
}
