//! From flags, environment and file to one [`Config`]: flag before environment before file before default.

mod file;
#[cfg(test)]
mod reference;
mod settings;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use distributary_core::engine::{self, Order, Start};
use distributary_kinesis::config::ConnectOptions;
use distributary_kinesis::names::StreamRef;
use distributary_kinesis::output::Route;
use distributary_kinesis::source::READ_LIMITS;

pub(crate) use file::{File, Problem, read};
pub(crate) use settings::{OutputEntry, Settings};
pub(crate) use values::{Span, StartAt, To};

use crate::connect::ConnectArgs;
use crate::logging::LogFormat;

/// Least memory that a fan-out works with: a few of the largest answers.
const MEMORY_MIN: usize = 64 << 20;
/// Default of `drain-timeout`.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Everything that `run` was told, with every default in its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    pub(crate) name: String,
    pub(crate) from: StreamRef,
    /// Where the progress is kept; `None`: nowhere, it is gone with the embedded Kinesis at the end.
    pub(crate) state: Option<PathBuf>,
    pub(crate) connect: ConnectArgs,
    pub(crate) log_format: LogFormat,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) metrics_per_shard: bool,
    pub(crate) create: bool,
    pub(crate) until_caught_up: bool,
    pub(crate) drain_timeout: Duration,
    pub(crate) engine: engine::Settings,
    /// Time between two reads of a shard, on average.
    pub(crate) read_interval: Duration,
    /// At least one, each with its own `id`.
    pub(crate) outputs: Vec<OutputConfig>,
}

/// One output.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OutputConfig {
    pub(crate) id: String,
    pub(crate) stream: StreamRef,
    /// How it is reached; what is not its own is the fan-out's.
    pub(crate) connect: ConnectOptions,
    pub(crate) order: Order,
    pub(crate) route: Route,
    pub(crate) start: Start,
    pub(crate) paused: bool,
}

/// What the command line and the environment say.
#[derive(Clone, Debug, Default)]
pub(crate) struct Flags {
    pub(crate) settings: Settings,
    pub(crate) connect: ConnectArgs,
    /// Not empty: these are the outputs, whatever the file says.
    pub(crate) to: Vec<To>,
}

impl Config {
    /// Puts flags and file together and checks what can be checked without asking anybody.
    pub(crate) fn resolve(flags: Flags, file: Option<File>) -> Result<Self, Problem> {
        let file = file.unwrap_or_default();
        let state = flags.settings.state.clone();
        // Relative to the file that says so, wherever the program is started.
        let beside = |path: &PathBuf| {
            file.path
                .parent()
                .map_or_else(|| path.clone(), |dir| dir.join(path))
        };
        let state = state.or_else(|| file.settings.state.as_ref().map(beside));
        let Flags {
            settings,
            connect,
            to,
        } = flags;
        let set = settings.or(file.settings);
        let connect = ConnectArgs {
            region: connect.region.or(file.connect.region),
            profile: connect.profile.or(file.connect.profile),
            endpoint_url: connect.endpoint_url.or(file.connect.endpoint_url),
            ..connect
        };
        let Some(from) = set.from.clone() else {
            return Err(Problem(
                "nothing says which stream to copy: give --from STREAM, or from = \"STREAM\" in a file (-c FILE)".into(),
            ));
        };
        let given = if to.is_empty() {
            file.outputs
                .into_iter()
                .map(|(line, entry)| (format!("{}:{line}", file.path.display()), entry))
                .collect()
        } else {
            to.into_iter()
                .map(|to| ("--to".to_owned(), OutputEntry::of_flag(to)))
                .collect()
        };
        let outputs = outputs(&set, &connect, &from, given)?;
        let name = set
            .name
            .clone()
            .map_or_else(|| from.name().to_owned(), |name| name.0);
        let state = match (state, connect.local) {
            (Some(path), _) => Some(path),
            (None, true) => None,
            (None, false) => Some(default_state(&name, |name| {
                std::env::var_os(name).map(PathBuf::from)
            })),
        };
        Ok(Self {
            name,
            from,
            state,
            log_format: set.log_format.unwrap_or_default(),
            metrics: set.metrics.map(|address| address.0),
            metrics_per_shard: set.metrics_per_shard.unwrap_or(false),
            create: set.create.unwrap_or(false),
            until_caught_up: set.until_caught_up.unwrap_or(false),
            drain_timeout: set.drain_timeout.map_or(DRAIN_TIMEOUT, |t| t.0),
            engine: engine_settings(&set)?,
            read_interval: set
                .read_interval
                .map_or_else(|| READ_LIMITS.interval(), |t| t.0),
            connect,
            outputs,
        })
    }

    /// What cannot be changed while it runs, and differs in `new`.
    pub(crate) fn fixed_difference(&self, new: &Self) -> Option<&'static str> {
        let differs = [
            ("from", self.from != new.from),
            ("name", self.name != new.name),
            ("state", self.state != new.state),
            ("region", self.connect.region != new.connect.region),
            ("profile", self.connect.profile != new.connect.profile),
            (
                "endpoint-url",
                self.connect.endpoint_url != new.connect.endpoint_url,
            ),
            ("log-format", self.log_format != new.log_format),
            ("metrics", self.metrics != new.metrics),
            (
                "metrics-per-shard",
                self.metrics_per_shard != new.metrics_per_shard,
            ),
            (
                "until-caught-up",
                self.until_caught_up != new.until_caught_up,
            ),
            (
                "memory",
                self.engine.memory_budget != new.engine.memory_budget,
            ),
            (
                "checkpoint-interval",
                self.engine.checkpoint_interval != new.engine.checkpoint_interval,
            ),
            ("read-interval", self.read_interval != new.read_interval),
            (
                "idle-interval",
                self.engine.idle_poll != new.engine.idle_poll,
            ),
            (
                "give-up-after",
                self.engine.lasting_patience != new.engine.lasting_patience,
            ),
            (
                "write-timeout",
                self.engine.request_deadline != new.engine.request_deadline,
            ),
        ];
        differs
            .into_iter()
            .find(|(_, differs)| *differs)
            .map(|(key, _)| key)
    }
}

impl OutputEntry {
    fn of_flag(To { name, stream }: To) -> Self {
        Self {
            stream,
            name,
            region: None,
            profile: None,
            endpoint_url: None,
            role_arn: None,
            external_id: None,
            order: None,
            route: None,
            start: None,
            paused: false,
        }
    }
}

fn engine_settings(set: &Settings) -> Result<engine::Settings, Problem> {
    let default = engine::Settings::default();
    let memory_budget = set.memory.map_or(default.memory_budget, |m| m.0);
    if memory_budget < MEMORY_MIN {
        return Err(Problem(format!(
            "memory = {memory_budget} bytes is too little: give at least 64MiB"
        )));
    }
    Ok(engine::Settings {
        memory_budget,
        checkpoint_interval: set
            .checkpoint_interval
            .map_or(default.checkpoint_interval, |t| t.0),
        idle_poll: set.idle_interval.map_or(default.idle_poll, |t| t.0),
        lasting_patience: set.give_up_after.map_or(default.lasting_patience, |t| t.0),
        request_deadline: set.write_timeout.map_or(default.request_deadline, |t| t.0),
        ..default
    })
}

/// The outputs, each with where it was given, checked against each other and the source.
fn outputs(
    set: &Settings,
    connect: &ConnectArgs,
    from: &StreamRef,
    given: Vec<(String, OutputEntry)>,
) -> Result<Vec<OutputConfig>, Problem> {
    if given.is_empty() {
        return Err(Problem(
            "nothing says where to copy to: give --to STREAM, or an [[output]] with stream = \"STREAM\" in a file (-c FILE)"
                .into(),
        ));
    }
    let source = target(from, &options(connect, from));
    let mut outputs: Vec<OutputConfig> = Vec::with_capacity(given.len());
    let mut places: BTreeMap<String, String> = BTreeMap::new();
    for (place, entry) in given {
        let output = output(set, connect, entry)
            .map_err(|Problem(what)| Problem(format!("{place}: {what}")))?;
        let here = target(&output.stream, &output.connect);
        if here == source {
            return Err(Problem(format!(
                "{place}: the output {} is the source itself, and would be copied round and round; name another stream",
                output.stream
            )));
        }
        if let Some(same) = outputs
            .iter()
            .find(|o| target(&o.stream, &o.connect) == here)
        {
            let first = places.get(&same.id).map_or("", String::as_str);
            return Err(Problem(format!(
                "{place}: the output {} is given twice (first at {first}); every record would be written to it twice",
                output.stream
            )));
        }
        if let Some(first) = places.insert(output.id.clone(), place.clone()) {
            return Err(Problem(format!(
                "{place}: two outputs are called {id} (the other one at {first}); give one of them a name of its own: \
                 name = \"NAME\" in the file, --to NAME=STREAM as a flag",
                id = output.id
            )));
        }
        outputs.push(output);
    }
    Ok(outputs)
}

fn output(
    set: &Settings,
    connect: &ConnectArgs,
    entry: OutputEntry,
) -> Result<OutputConfig, Problem> {
    if entry.external_id.is_some() && entry.role_arn.is_none() {
        return Err(Problem(
            "external-id is only of use with role-arn; give both or none".into(),
        ));
    }
    if let Some(role) = entry
        .role_arn
        .as_ref()
        .filter(|r| !(r.starts_with("arn:") && r.contains(":role/")))
    {
        return Err(Problem(format!(
            "role-arn {role:?} is no role: expected one such as arn:aws:iam::123456789012:role/writer"
        )));
    }
    if let (Some(region), Some(own)) = (&entry.region, entry.stream.region())
        && region != own
    {
        return Err(Problem(format!(
            "region {region} is not that of {}; leave it out",
            entry.stream
        )));
    }
    let foreign =
        entry.endpoint_url.is_some() || entry.profile.is_some() || entry.role_arn.is_some();
    if connect.local && foreign {
        return Err(Problem(
            "endpoint-url, profile and role-arn are of no use with --local; leave them out".into(),
        ));
    }
    let common = options(connect, &entry.stream);
    Ok(OutputConfig {
        id: entry
            .name
            .map_or_else(|| entry.stream.name().to_owned(), |name| name.0),
        connect: ConnectOptions {
            region: entry.region.or(common.region),
            profile: entry.profile.or(common.profile),
            endpoint_url: entry.endpoint_url.or(common.endpoint_url),
            role_arn: entry.role_arn,
            external_id: entry.external_id,
            no_credentials: common.no_credentials,
        },
        stream: entry.stream,
        order: entry
            .order
            .or(set.order)
            .map_or_else(Order::default, Order::from),
        route: entry
            .route
            .or(set.route)
            .map_or_else(Route::default, Route::from),
        start: entry
            .start
            .or(set.start)
            .map_or_else(Start::default, |s| s.0),
        paused: entry.paused,
    })
}

/// The connection to `stream` if it has nothing of its own.
fn options(connect: &ConnectArgs, stream: &StreamRef) -> ConnectOptions {
    ConnectOptions {
        region: stream
            .region()
            .map(str::to_owned)
            .or_else(|| connect.region.clone()),
        profile: connect.profile.clone(),
        endpoint_url: connect.endpoint_url.clone(),
        role_arn: None,
        external_id: None,
        no_credentials: connect.local,
    }
}

/// What makes two streams the same one, as far as the configuration tells. What it does not tell, a name that turns out to
/// be an ARN, is looked at once the streams have been asked.
fn target(stream: &StreamRef, connect: &ConnectOptions) -> (StreamRef, ConnectOptions) {
    (stream.clone(), connect.clone())
}

/// `$XDG_STATE_HOME/distributary/NAME.db`, else `~/.local/state/distributary/NAME.db`, else `NAME.db` where it is started.
fn default_state(name: &str, env: impl Fn(&str) -> Option<PathBuf>) -> PathBuf {
    let absolute = |path: PathBuf| path.is_absolute().then_some(path);
    let home = || {
        env("HOME")
            .and_then(absolute)
            .map(|home| home.join(".local/state"))
    };
    let dir = env("XDG_STATE_HOME")
        .and_then(absolute)
        .or_else(home)
        .map(|dir| dir.join("distributary"));
    let file = format!("{name}.db");
    dir.map_or_else(|| Path::new(&file).to_owned(), |dir| dir.join(&file))
}
