//! `distributary state`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

use distributary_adapters::leases::sqlite::SqliteStore;
use distributary_adapters::values::{Expected, Name};
use distributary_config::input::{state_file, state_folder};
use distributary_core::checkpoint::Position;
use distributary_core::clock::{Clock, Millis};
use distributary_core::source::Source;
use distributary_core::store::{CheckpointStore, LaneCheckpoint, LaneId, State, StoreError};
use distributary_core::text::chain;

use super::config_args::environment;
use super::streams::Given;
use crate::connect::{Access, ConnectArgs};
use crate::failure::Failure;
use crate::screen;
use crate::state::Export;
use crate::state::place::{self, Place};
use crate::state::skip::{SkipError, Skipped};

/// Flags of `state`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  distributary state --name orders show
  distributary state --state orders.db seek audit --to 2026-01-31T00:00:00Z
  distributary state --name orders skip audit shardId-000000000000 49590338271490256608559692538361571095921575989136588898
  distributary state --name orders export > orders.json
  distributary state --state /var/lib/orders.db import orders.json

These commands need the state file for themselves: stop the process first, or reach the running one with `distributary ctl` \
(status, seek, skip, restart).")]
pub(crate) struct StateArgs {
    /// The state file
    #[arg(long, value_name = "FILE", required_unless_present = "name")]
    state: Option<PathBuf>,
    /// The fan-out whose default state file is meant
    #[arg(long, value_name = "NAME", conflicts_with = "state")]
    name: Option<String>,
    #[command(subcommand)]
    command: StateCommand,
}

#[derive(Debug, clap::Subcommand)]
enum StateCommand {
    /// Print the position of every output in every shard
    Show,
    /// Move an output, or its position in one shard, to another place. Records behind the new
    /// position are sent again; records before it are left out
    #[command(visible_alias = "reset")]
    Seek {
        /// The output's name
        output: String,
        /// One shard only
        #[arg(long, value_name = "SHARD")]
        shard: Option<String>,
        /// trim-horizon, latest, a time such as 2026-01-31T00:00:00Z, or with --shard
        /// seq:NUMBER: after that record
        #[arg(long, value_name = "POSITION")]
        to: String,
    },
    /// Leave one record out, if it is the next one of the output: the output goes on behind it
    Skip {
        /// The output's name
        output: String,
        /// The record's shard
        shard: String,
        /// The record's sequence number; the log names it where an output stops
        sequence: String,
        #[command(flatten)]
        connect: ConnectArgs,
    },
    /// Forget the progress of an output: the next start begins at the output's `start`
    Forget {
        /// The output's name
        output: String,
    },
    /// Print the whole state as JSON
    Export,
    /// Make a state file of an export
    Import {
        /// The export
        file: PathBuf,
    },
}

/// Carries the command out.
pub(crate) async fn run(args: StateArgs) -> Result<ExitCode, Failure> {
    let path = args.path()?;
    if let StateCommand::Import { file } = &args.command {
        import(&path, file).await?;
        return Ok(ExitCode::SUCCESS);
    }

    let store = SqliteStore::open_existing(&path);
    let store = store.map_err(|error| unusable(&error))?;
    args.command.run(&store).await?;
    Ok(ExitCode::SUCCESS)
}

impl StateCommand {
    /// Carries out a command on a state file that exists.
    async fn run(&self, store: &SqliteStore) -> Result<(), Failure> {
        let state = store.load().await;
        let state = state.map_err(|error| unusable(&error))?;
        match self {
            Self::Show => show(&state)?,
            Self::Seek { output, shard, to } => {
                let lanes = lanes_of(&state, output, shard.as_deref())?;
                check_stateless(&state, output)?;
                let to = place(to, shard.is_some())?;
                seek(store, &lanes, to).await?;
            }
            Self::Skip {
                output,
                shard,
                sequence,
                connect,
            } => {
                let row = row_of(&state, output, shard)?;
                check_stateless(&state, output)?;
                skip(store, row, sequence, connect).await?;
            }
            Self::Forget { output } => forget(store, &state, output).await?,
            Self::Export => export(store, &state)?,
            Self::Import { .. } => {}
        }
        Ok(())
    }
}

/// The place that `text` names, in one shard or in all.
fn place(text: &str, has_shard: bool) -> Result<Place, Failure> {
    let place: Place = text.parse().map_err(wrong)?;
    let checked = place.check(has_shard);
    checked.map_err(wrong)?;
    Ok(place)
}

fn wrong(expected: Expected) -> Failure {
    Failure::usage(expected.0)
}

fn unusable(error: &StoreError) -> Failure {
    Failure::run(chain(error))
}

impl StateArgs {
    fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.state {
            return Ok(path.clone());
        }

        let name = self.name.as_deref().unwrap_or_default();
        let name: Name = name.parse().map_err(wrong)?;
        let folder = state_folder(&environment());
        Ok(state_file(folder.as_deref(), &name.0))
    }
}

/// The lanes of an output, or of an output and a shard.
fn lanes_of(state: &State, output: &str, shard: Option<&str>) -> Result<Vec<LaneId>, Failure> {
    let lanes = state.lanes.iter().map(|row| &row.lane);
    let is_meant = |lane: &&LaneId| {
        let of_shard = shard.is_none_or(|shard| lane.shard.as_str() == shard);
        of_shard && lane.output.as_str() == output
    };
    let meant = lanes.filter(is_meant);
    let lanes: Vec<LaneId> = meant.cloned().collect();
    if lanes.is_empty() {
        return Err(no_lane(output, shard));
    }
    Ok(lanes)
}

fn no_lane(output: &str, shard: Option<&str>) -> Failure {
    let of_shard = match shard {
        Some(shard) => format!(" in shard {shard}"),
        None => String::new(),
    };
    Failure::usage(format!(
        "the state has no output {output}{of_shard}; `distributary state show` lists all"
    ))
}

/// Fails for an output whose snapshot belongs to the positions in force.
fn check_stateless(state: &State, output: &str) -> Result<(), Failure> {
    let mut snapshots = state.snapshots.iter();
    if snapshots.all(|snapshot| snapshot.output.as_str() != output) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the output {output} keeps sums or windows that belong to its positions; forget the output \
         instead, and it starts anew"
    )))
}

async fn seek(store: &SqliteStore, lanes: &[LaneId], to: Place) -> Result<(), Failure> {
    let changes = moved(lanes, &to);
    let committed = store.commit(&changes).await;
    committed.map_err(|error| unusable(&error))?;

    let mut report = String::new();
    for row in &changes.lanes {
        let LaneId { output, shard } = &row.lane;
        let position = text(&row.position);
        report.push_str(&format!("{output} {shard}: {position}\n"));
    }
    screen::print(&report)
}

/// The lanes at another position.
fn moved(lanes: &[LaneId], to: &Place) -> State {
    let now = Clock::real().wall();
    let row = |lane: &LaneId| LaneCheckpoint {
        lane: lane.clone(),
        position: to.position(now),
        arrival: None,
    };
    State {
        lanes: lanes.iter().map(row).collect(),
        ..State::default()
    }
}

/// Moves the output behind the record, which must be the next one.
async fn skip(
    store: &SqliteStore,
    row: &LaneCheckpoint,
    sequence: &str,
    connect: &ConnectArgs,
) -> Result<(), Failure> {
    let access = Access::new(connect)?;
    let sequence = place::sequence(sequence);
    let sequence = sequence.map_err(wrong)?;
    let source = source_of(store, &access).await?;
    let LaneId { output, shard } = &row.lane;
    let record = (shard, sequence.as_str());

    let found = Skipped::find(&*source, &access.clock, record, &row.position).await;
    let skipped = found.map_err(|error| not_skipped(&error))?;
    commit_row(store, row, skipped.after()).await?;
    screen::print(&format!("{output} {shard}: skipped {skipped}\n"))
}

/// Writes the row with another position.
async fn commit_row(
    store: &SqliteStore,
    row: &LaneCheckpoint,
    position: Position,
) -> Result<(), Failure> {
    let lane = row.lane.clone();
    let moved = LaneCheckpoint {
        lane,
        position,
        arrival: None,
    };
    let changes = State {
        lanes: vec![moved],
        ..State::default()
    };

    let committed = store.commit(&changes).await;
    committed.map_err(|error| unusable(&error))
}

fn row_of<'a>(state: &'a State, output: &str, shard: &str) -> Result<&'a LaneCheckpoint, Failure> {
    let mut rows = state.lanes.iter();
    let found = rows.find(|row| {
        let lane = &row.lane;
        let is_output = lane.output.as_str() == output;
        is_output && lane.shard.as_str() == shard
    });
    match found {
        Some(row) => Ok(row),
        None => Err(no_lane(output, Some(shard))),
    }
}

/// The source that the state file names.
async fn source_of(store: &SqliteStore, access: &Access) -> Result<Arc<dyn Source>, Failure> {
    let about = store.about();
    let about = about.map_err(|error| unusable(&error))?;
    let Some(source) = about.source else {
        return Err(Failure::run("the state file names no source"));
    };
    let given = Given::open(access, &source.arn).await?;
    Ok(given.source())
}

/// Another record than the next one is a wrong argument.
fn not_skipped(error: &SkipError) -> Failure {
    match error {
        SkipError::Another { .. } | SkipError::None { .. } => Failure::usage(error.to_string()),
        SkipError::Source(_) => Failure::from_error(error),
    }
}

async fn forget(store: &SqliteStore, state: &State, output: &str) -> Result<(), Failure> {
    let lanes = lanes_of(state, output, None)?;
    store
        .forget(&lanes)
        .await
        .map_err(|error| unusable(&error))?;

    screen::print(&format!(
        "forgot the progress of {output}; the next start begins at its start\n"
    ))
}

fn export(store: &SqliteStore, state: &State) -> Result<(), Failure> {
    let about = store.about().map_err(|error| unusable(&error))?;
    let export = Export::new(about.fan_out, about.source.as_ref(), state);
    let text = serde_json::to_string_pretty(&export);
    let text = text.map_err(|error| Failure::from_error(&error))?;

    screen::print(&format!("{text}\n"))
}

/// An export, and the state in it.
fn read(file: &Path) -> Result<(Export, State), Failure> {
    let failed = |error: &dyn std::fmt::Display| {
        let file = file.display();
        Failure::run(format!("cannot import {file}: {error}"))
    };
    let text = std::fs::read(file);
    let text = text.map_err(|error| failed(&error))?;
    let export = serde_json::from_slice(&text);
    let export: Export = export.map_err(|error| failed(&error))?;

    let state = export.state();
    let state = state.map_err(|error| failed(&error))?;
    Ok((export, state))
}

async fn import(path: &Path, file: &Path) -> Result<(), Failure> {
    let (export, state) = read(file)?;
    if path.exists() {
        let path = path.display();
        let message = format!("{path} exists, and is left as it is; name another state file");
        return Err(Failure::usage(message));
    }

    let stored = store(path, &export, &state).await;
    stored.map_err(|error| unusable(&error))?;
    let fan_out = export.fan_out;
    let path = path.display();
    screen::print(&format!("imported the state of {fan_out} into {path}\n"))
}

/// Makes a state file of an export.
async fn store(path: &Path, export: &Export, state: &State) -> Result<(), StoreError> {
    let store = SqliteStore::open(path, &export.fan_out)?;
    if let Some(source) = &export.source {
        let identity = source.identity();
        store.bind(&identity).await?;
    }
    store.commit(state).await
}

fn show(state: &State) -> Result<(), Failure> {
    let mut report = String::new();
    for row in &state.lanes {
        let LaneCheckpoint {
            lane,
            position,
            arrival,
        } = row;
        let arrival = match arrival {
            Some(at) => format!("  last record arrived {}", moment(*at)),
            None => String::new(),
        };

        let LaneId { output, shard } = lane;
        let position = text(position);
        report.push_str(&format!("{output}  {shard}  {position}{arrival}\n"));
    }
    screen::print(&report)
}

fn text(position: &Position) -> String {
    match position {
        Position::TrimHorizon => "trim-horizon".to_owned(),
        Position::At(at) => format!("records from {}", moment(*at)),
        Position::After {
            sequence,
            sub: None,
        } => format!("after {sequence}"),
        Position::After {
            sequence,
            sub: Some(sub),
        } => format!("after part {sub} of {sequence}"),
        Position::Closed => "the end of a closed shard".to_owned(),
    }
}

fn moment(at: Millis) -> String {
    let since = Duration::from_millis(u64::try_from(at.0).unwrap_or(0));
    humantime::format_rfc3339_millis(UNIX_EPOCH + since).to_string()
}
