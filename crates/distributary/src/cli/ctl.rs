//! `distributary ctl`: commands to a running process.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use distributary_adapters::values::{Expected, Name};
use distributary_config::input::{state_file, state_folder};
use distributary_config::process::ControlAddress;

use super::config_args::environment;
use crate::control::{Reply, Request, ask};
use crate::failure::Failure;
use crate::screen;

/// Flags of `ctl`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  distributary ctl --name orders status
  distributary ctl --name orders pause audit
  distributary ctl --name orders seek audit --to -1h
  distributary ctl --control unix:/run/distributary/orders.sock restart audit --from trim-horizon

The address is the one that `distributary run` listens at (its key `control`). By default that is \
NAME.sock in $XDG_RUNTIME_DIR/distributary, else beside the state file.")]
pub(crate) struct CtlArgs {
    /// Address of the process, unix:PATH
    #[arg(
        long,
        env = "DISTRIBUTARY_CONTROL",
        hide_env = true,
        value_name = "unix:PATH"
    )]
    control: Option<String>,
    /// Name of the process's first fan-out; finds the default address
    #[arg(long, env = "DISTRIBUTARY_NAME", hide_env = true, value_name = "NAME")]
    name: Option<String>,
    /// The fan-out, where the process has several
    #[arg(long, value_name = "NAME", global = true)]
    fan_out: Option<String>,
    #[command(subcommand)]
    command: CtlCommand,
}

#[derive(Debug, clap::Subcommand)]
enum CtlCommand {
    /// Print the status of every fan-out as JSON
    Status,
    /// Stop an output and keep its position
    Pause {
        /// The output's name
        output: String,
    },
    /// Continue an output that is paused or stopped
    Resume {
        /// The output's name
        output: String,
    },
    /// Forget an output's progress and start the output again
    Restart {
        /// The output's name
        output: String,
        /// trim-horizon, latest, or a time such as 2026-01-31T00:00:00Z or -1h
        #[arg(long, value_name = "START", allow_hyphen_values = true)]
        from: String,
    },
    /// Move an output, or its position in one shard, to another place. Records behind the new
    /// position are sent again; records before it are left out
    #[command(visible_alias = "reset")]
    Seek {
        /// The output's name
        output: String,
        /// One shard only
        #[arg(long, value_name = "SHARD")]
        shard: Option<String>,
        /// trim-horizon, latest, a time such as 2026-01-31T00:00:00Z or -1h, or with --shard
        /// seq:NUMBER: after that record
        #[arg(long, value_name = "POSITION", allow_hyphen_values = true)]
        to: String,
    },
    /// Leave one record out, if it is the next one of the output: a stopped output goes on behind
    /// it
    Skip {
        /// The output's name
        output: String,
        /// The record's shard
        shard: String,
        /// The record's sequence number; the log names it where an output stops
        sequence: String,
    },
    /// Read the configuration file again
    Reload,
    /// Finish the writes that are under way, save the progress, and end the process
    Drain,
}

/// Sends the command and prints the answer.
pub(crate) async fn run(args: CtlArgs) -> Result<ExitCode, Failure> {
    let path = path(args.control.as_deref(), args.name.as_deref())?;
    let request = args.command.request(args.fan_out);
    let reply = ask(&path, &request).await.map_err(|error| {
        Failure::run(format!(
            "no running process answers at {}: {error}; start `distributary run`, or give the address that it listens \
             at (--control unix:PATH)",
            path.display()
        ))
    })?;
    match reply {
        Reply::Ok(serde_json::Value::String(text)) => screen::print(&format!("{text}\n"))?,
        Reply::Ok(value) => screen::print(&format!("{value:#}\n"))?,
        Reply::Error(why) => return Err(Failure::run(why)),
    }
    Ok(ExitCode::SUCCESS)
}

impl CtlCommand {
    fn request(self, fan_out: Option<String>) -> Request {
        match self {
            Self::Status => Request::Status { fan_out },
            Self::Pause { output } => Request::Pause { fan_out, output },
            Self::Resume { output } => Request::Resume { fan_out, output },
            Self::Restart { output, from } => Request::Restart {
                fan_out,
                output,
                from,
            },
            Self::Seek { output, shard, to } => Request::Seek {
                fan_out,
                output,
                shard,
                to,
            },
            Self::Skip {
                output,
                shard,
                sequence,
            } => Request::Skip {
                fan_out,
                output,
                shard,
                sequence,
            },
            Self::Reload => Request::Reload,
            Self::Drain => Request::Drain,
        }
    }
}

/// The socket's path, from the address or the name.
fn path(control: Option<&str>, name: Option<&str>) -> Result<PathBuf, Failure> {
    let given = control.filter(|text| !text.is_empty());
    match (given, name) {
        (Some(address), _) => path_of(address),
        (None, Some(name)) => {
            let name: Name = name.parse().map_err(wrong)?;
            Ok(default_path(&name.0))
        }
        (None, None) => Err(Failure::usage(
            "nothing tells which process to reach; give --name NAME or --control unix:PATH",
        )),
    }
}

fn path_of(address: &str) -> Result<PathBuf, Failure> {
    match address.parse().map_err(wrong)? {
        ControlAddress::Unix(path) => Ok(path),
        ControlAddress::Default | ControlAddress::None => Err(Failure::usage(
            "--control none leads to no process; give unix:PATH, or --name",
        )),
    }
}

fn wrong(expected: Expected) -> Failure {
    Failure::usage(expected.0)
}

/// The place where a process with the default state file listens.
fn default_path(name: &str) -> PathBuf {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty());
    match runtime {
        Some(dir) => Path::new(&dir)
            .join("distributary")
            .join(format!("{name}.sock")),
        None => {
            let folder = state_folder(&environment());
            state_file(folder.as_deref(), name).with_extension("sock")
        }
    }
}
