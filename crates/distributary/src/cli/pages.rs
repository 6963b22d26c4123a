//! `distributary completions` and `distributary man`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use crate::failure::Failure;
use crate::screen;

/// The program's name.
const NAME: &str = "distributary";

/// Flags of `completions`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  distributary completions bash > /etc/bash_completion.d/distributary
  distributary completions zsh > ~/.zfunc/_distributary
  distributary completions fish > ~/.config/fish/completions/distributary.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// Prints the completions of a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    let mut command = Cli::command();
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, NAME, &mut text);

    screen::print(&String::from_utf8_lossy(&text))?;
    Ok(ExitCode::SUCCESS)
}

/// Flags of `man`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  distributary man /usr/local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Folder to write the pages to: one for the program, one for each command
    folder: PathBuf,
}

/// Writes the manual pages.
pub(crate) fn man(args: &ManArgs) -> Result<ExitCode, Failure> {
    let folder = &args.folder;
    let written = write(folder);
    written.map_err(|error| {
        let folder = folder.display();
        Failure::run(format!("cannot write manual pages to {folder}: {error}"))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn write(folder: &PathBuf) -> io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let command = Cli::command();
    clap_mangen::generate_to(command, folder)
}
