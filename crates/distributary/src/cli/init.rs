//! `distributary init`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use crate::failure::Failure;
use crate::screen;

/// The configuration to begin with.
pub(crate) const TEMPLATE: &str = include_str!("init.toml");

/// Flags of `init`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  distributary init
  distributary init --stdout > orders.toml")]
pub(crate) struct InitArgs {
    /// File to write; a file that exists is never overwritten
    #[arg(default_value = "distributary.toml", value_name = "FILE")]
    file: PathBuf,
    /// Print the configuration instead
    #[arg(long, conflicts_with = "file")]
    stdout: bool,
}

/// Writes the configuration.
pub(crate) fn run(args: &InitArgs) -> Result<ExitCode, Failure> {
    if args.stdout {
        screen::print(TEMPLATE)?;
        return Ok(ExitCode::SUCCESS);
    }

    let path = args.file.display();
    match write(args) {
        Ok(()) => {
            screen::print(&format!(
                "Wrote {path}. Edit the file, then: distributary check -c {path} --connect\n"
            ))?;
            Ok(ExitCode::SUCCESS)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(Failure::usage(format!(
            "{path} exists, and is left as it is; name another file"
        ))),
        Err(error) => Err(Failure::run(format!("cannot write {path}: {error}"))),
    }
}

fn write(args: &InitArgs) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&args.file)?;
    file.write_all(TEMPLATE.as_bytes())
}
