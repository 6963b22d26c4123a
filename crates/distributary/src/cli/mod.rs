//! The commands, one file each.

mod demo;
mod interrupt;
mod local;
mod put;
mod run;
mod streams;
mod tail;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::failure::Failure;

/// Copies one Amazon Kinesis stream to N others, in order and without loss.
///
/// Begin with `distributary demo`: it needs no AWS account and leaves nothing behind.
#[derive(Debug, Parser)]
#[command(name = "distributary", version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy a stream to others, until it is stopped
    Run(Box<run::RunArgs>),
    /// Show the main job on an embedded Kinesis, with no account
    Demo(demo::DemoArgs),
    /// Serve an embedded Kinesis on this machine
    Local(local::LocalArgs),
    /// Write records to a stream
    Put(put::PutArgs),
    /// Print a stream's records
    Tail(tail::TailArgs),
    /// Compare streams: missing, extra, repeated, out of order
    Verify(verify::VerifyArgs),
}

/// Runs the command; its exit code.
pub(crate) fn main(cli: Cli) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return Failure::from_error(&error).report(),
    };
    let done = runtime.block_on(async {
        match cli.command {
            Command::Run(args) => run::run(*args).await,
            Command::Demo(args) => demo::run(args).await,
            Command::Local(args) => local::run(args).await,
            Command::Put(args) => put::run(args).await,
            Command::Tail(args) => tail::run(args).await,
            Command::Verify(args) => verify::run(args).await,
        }
    });
    // Threads that still read standard input, or wait for the disk, must not keep an ended program alive.
    runtime.shutdown_background();
    done.unwrap_or_else(|failure| failure.report())
}
