//! The commands, one file each.

mod check;
mod config_args;
mod ctl;
mod demo;
mod filter;
mod init;
mod interrupt;
mod leases;
mod local;
mod pages;
mod plan;
mod put;
mod redrive;
mod replay;
mod run;
mod sql;
mod state;
pub(crate) mod streams;
mod tail;
#[cfg(feature = "dynamodb")]
mod targets;
mod verify;
mod version;

use std::ffi::OsStr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::failure::Failure;
use crate::logging::{self, Verbosity};

/// Copies one Amazon Kinesis stream to N others, in order and without loss.
///
/// Begin with `distributary demo`: it needs no AWS account and leaves nothing behind.
#[derive(Debug, Parser)]
#[command(name = "distributary", version = version::VERSION, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    verbosity: Verbosity,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Copy a stream to others, until it is stopped
    Run(Box<run::RunArgs>),
    /// Check a configuration, and what it names, before anything runs
    Check(Box<check::CheckArgs>),
    /// Write a configuration to begin with
    Init(init::InitArgs),
    /// Send a command to a running process: status, pause, resume, restart,
    /// seek, skip, reload, drain
    Ctl(ctl::CtlArgs),
    /// Show and change the saved progress of a fan-out
    State(state::StateArgs),
    /// Show and mend the leases of workers, and move between this program and the KCL
    Leases(leases::LeasesArgs),
    /// Send a stretch of the past to one output again, beside the live flow
    Replay(Box<replay::ReplayArgs>),
    /// Send dead letters again
    Redrive(redrive::RedriveArgs),
    /// Show what a month costs, beside other ways to do the same
    Plan(Box<plan::PlanArgs>),
    /// List streams, or show their shards, lineage and rates
    Streams(streams::StreamsArgs),
    /// Show and change the Targets table of aws-lambda-fanout
    #[cfg(feature = "dynamodb")]
    Targets(targets::TargetsArgs),
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
    /// Try event patterns on records
    Filter(filter::FilterArgs),
    /// Check and test applications of Kinesis Data Analytics SQL
    Sql(sql::SqlArgs),
    /// Print completions for a shell
    Completions(pages::CompletionsArgs),
    /// Write manual pages
    Man(pages::ManArgs),
}

impl Cli {
    /// The arguments and variables of this process. An empty variable is an unset one.
    ///
    /// Ends the process for a wrong argument, and for `--help`.
    pub(crate) fn read() -> Self {
        let command = without_empty_variables(Self::command());
        let matches = command.long_version(version::LONG.as_str()).get_matches();
        match Self::from_arg_matches(&matches) {
            Ok(cli) => cli,
            Err(error) => error.exit(),
        }
    }
}

fn without_empty_variables(command: clap::Command) -> clap::Command {
    let is_empty = |name: &OsStr| {
        let value = std::env::var_os(name);
        value.is_some_and(|value| value.is_empty())
    };

    let mut names = Vec::new();
    for sub in command.get_subcommands() {
        let name = sub.get_name();
        names.push(name.to_owned());
    }

    let command = command.mut_args(|arg| match arg.get_env() {
        // No variable has an empty name.
        Some(name) if is_empty(name) => arg.env(""),
        Some(_) | None => arg,
    });
    names.iter().fold(command, |command, name| {
        command.mut_subcommand(name, without_empty_variables)
    })
}

/// How long the end of `run` waits for a disk that does not answer.
const CLOSING: Duration = Duration::from_secs(2);

/// Runs the command; its exit code.
pub(crate) fn main(cli: Cli) -> ExitCode {
    if let Err(failure) = logging::configure(cli.verbosity) {
        return failure.report();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return Failure::from_error(&error).report(),
    };

    // `run` closes its state file; threads of the other commands that still read standard input
    // must not keep an ended program alive.
    let patience = match cli.command {
        Command::Run(_) => CLOSING,
        _ => Duration::ZERO,
    };
    let command = cli.command.run();
    let done = runtime.block_on(command);
    runtime.shutdown_timeout(patience);
    done.unwrap_or_else(|failure| failure.report())
}

impl Command {
    async fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Run(args) => run::run(*args).await,
            Self::Check(args) => check::run(*args).await,
            Self::Init(args) => init::run(&args),
            Self::Ctl(args) => ctl::run(args).await,
            Self::State(args) => state::run(args).await,
            Self::Leases(args) => leases::run(args).await,
            Self::Replay(args) => replay::run(*args).await,
            Self::Redrive(args) => redrive::run(args).await,
            Self::Plan(args) => plan::run(*args).await,
            Self::Streams(args) => streams::run(args).await,
            #[cfg(feature = "dynamodb")]
            Self::Targets(args) => targets::run(args).await,
            Self::Demo(args) => demo::run(args).await,
            Self::Local(args) => local::run(args).await,
            Self::Put(args) => put::run(args).await,
            Self::Tail(args) => tail::run(args).await,
            Self::Verify(args) => verify::run(args).await,
            Self::Filter(args) => filter::run(args),
            Self::Sql(args) => sql::run(args).await,
            Self::Completions(args) => pages::completions(&args),
            Self::Man(args) => pages::man(&args),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The program's commands on the pages for operators.
    fn commands(page: &str) -> Vec<&str> {
        let blocks = page.split("```sh\n").skip(1);
        let blocks = blocks.filter_map(|block| block.split("```").next());
        blocks
            .flat_map(str::lines)
            .filter(|line| line.starts_with("distributary "))
            .collect()
    }

    #[test]
    fn commands_of_the_runbook_are_commands_of_the_program() {
        let page = include_str!("../../../../docs/RUNBOOK.md");
        let commands = commands(page);
        assert!(commands.len() > 15, "{commands:?}");
        for command in commands {
            let parsed = Cli::command().try_get_matches_from(command.split(' '));
            let matches = parsed.unwrap_or_else(|error| panic!("{command}\n{error}"));
            Cli::from_arg_matches(&matches).unwrap();
        }
    }

    #[test]
    fn metrics_of_the_runbook_are_metrics_of_the_program() {
        let page = include_str!("../../../../docs/RUNBOOK.md");
        let metrics = include_str!("../../../../docs/METRICS.md");
        let names = page
            .split('`')
            .filter(|word| word.starts_with("distributary_"));
        let names: Vec<&str> = names.collect();
        assert!(names.len() > 8, "{names:?}");
        for name in names {
            assert!(metrics.contains(&format!("`{name}`")), "{name}");
        }
    }
}
