//! What can be set, each setting once: a flag of `run`, its environment variable and a key of the file have the same name
//! and the same text of help.

use std::path::PathBuf;

use distributary_kinesis::names::StreamRef;
use serde::Deserialize;

use super::values::{self, Address, Name, OrderWord, RouteWord, Size, Span, StartAt};
use crate::logging::LogFormat;

/// Settings of the whole fan-out, as far as one place (flags and environment, or the file) says them. Connection settings
/// are in [`crate::connect::ConnectArgs`].
#[derive(Clone, Debug, Default, PartialEq, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Settings {
    /// Stream to copy: a name or an ARN
    #[arg(
        long,
        display_order = 0,
        env = "DISTRIBUTARY_FROM",
        hide_env = true,
        value_name = "STREAM"
    )]
    #[serde(deserialize_with = "values::text")]
    pub(super) from: Option<StreamRef>,

    /// The fan-out's name: names its default state file, and is written into it [default: the stream's name]
    #[arg(long, env = "DISTRIBUTARY_NAME", hide_env = true, value_name = "NAME")]
    #[serde(deserialize_with = "values::text")]
    pub(super) name: Option<Name>,

    /// Where an output begins that has no progress yet: trim-horizon (the oldest record), latest (what comes from now
    /// on) or a time such as 2026-01-31T00:00:00Z [default: trim-horizon]
    #[arg(
        long,
        env = "DISTRIBUTARY_START",
        hide_env = true,
        value_name = "WHERE",
        help_heading = "Outputs"
    )]
    #[serde(deserialize_with = "values::text")]
    pub(super) start: Option<StartAt>,

    /// Order per partition key through partial failures: strict, resend or unordered (docs/SEMANTICS.md, line 3)
    /// [default: resend]
    #[arg(
        long,
        env = "DISTRIBUTARY_ORDER",
        hide_env = true,
        hide_possible_values = true,
        value_name = "ORDER",
        help_heading = "Outputs"
    )]
    #[serde(deserialize_with = "values::choice")]
    pub(super) order: Option<OrderWord>,

    /// What decides on the output's shard: partition-key, or source-shard (shard-mates stay shard-mates)
    /// [default: partition-key]
    #[arg(
        long,
        env = "DISTRIBUTARY_ROUTE",
        hide_env = true,
        hide_possible_values = true,
        value_name = "ROUTE",
        help_heading = "Outputs"
    )]
    #[serde(deserialize_with = "values::choice")]
    pub(super) route: Option<RouteWord>,

    /// Make outputs that are missing, with the source's number of shards and its mode
    #[arg(long, env = "DISTRIBUTARY_CREATE", hide_env = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, help_heading = "Outputs")]
    pub(super) create: Option<bool>,

    /// File that keeps the progress; in a configuration file it is relative to that file [default:
    /// $XDG_STATE_HOME/distributary/NAME.db, that is ~/.local/state/distributary/NAME.db]
    #[arg(long, env = "DISTRIBUTARY_STATE", hide_env = true, value_name = "FILE")]
    pub(super) state: Option<PathBuf>,

    /// End with exit code 0 when every output has everything that was in the stream at the start
    #[arg(long, env = "DISTRIBUTARY_UNTIL_CAUGHT_UP", hide_env = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true)]
    pub(super) until_caught_up: Option<bool>,

    /// With until-caught-up: how long an output may fail for what somebody has to mend (access denied, no such stream,
    /// refused credentials) before it is given up; the others are finished first, then the exit code is 1 [default: 1m]
    #[arg(
        long,
        env = "DISTRIBUTARY_GIVE_UP_AFTER",
        hide_env = true,
        value_name = "TIME"
    )]
    #[serde(deserialize_with = "values::text")]
    pub(super) give_up_after: Option<Span>,

    /// How log lines on stderr look: text, with a live view in a terminal, or json [default: text]
    #[arg(
        long,
        env = "DISTRIBUTARY_LOG_FORMAT",
        hide_env = true,
        hide_possible_values = true,
        value_name = "FORMAT",
        help_heading = "Watching"
    )]
    #[serde(deserialize_with = "values::choice")]
    pub(super) log_format: Option<LogFormat>,

    /// Serve /metrics (Prometheus), /healthz and /readyz on this address, such as 127.0.0.1:9464 [default: do not]
    #[arg(
        long,
        env = "DISTRIBUTARY_METRICS",
        hide_env = true,
        value_name = "ADDRESS",
        help_heading = "Watching"
    )]
    #[serde(deserialize_with = "values::text")]
    pub(super) metrics: Option<Address>,

    /// Metrics per output and shard as well, which may be many
    #[arg(long, env = "DISTRIBUTARY_METRICS_PER_SHARD", hide_env = true, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide_possible_values = true, help_heading = "Watching")]
    pub(super) metrics_per_shard: Option<bool>,

    /// Memory for records that are read and not yet written, such as 1GiB; at least 64MiB [default: 256MiB]
    #[arg(
        long,
        env = "DISTRIBUTARY_MEMORY",
        hide_env = true,
        value_name = "SIZE",
        help_heading = "Tuning"
    )]
    #[serde(deserialize_with = "values::text")]
    pub(super) memory: Option<Size>,

    /// How often the progress is written down; what was delivered since is sent again after a crash [default: 1s]
    #[arg(
        long,
        env = "DISTRIBUTARY_CHECKPOINT_INTERVAL",
        hide_env = true,
        value_name = "TIME",
        help_heading = "Tuning"
    )]
    #[serde(deserialize_with = "values::text")]
    pub(super) checkpoint_interval: Option<Span>,

    /// Least time between two reads of a shard, on average over five; raise it where others poll the stream too
    /// [default: 200ms]
    #[arg(
        long,
        env = "DISTRIBUTARY_READ_INTERVAL",
        hide_env = true,
        value_name = "TIME",
        help_heading = "Tuning"
    )]
    #[serde(deserialize_with = "values::text")]
    pub(super) read_interval: Option<Span>,

    /// Time between two reads of a shard that has nothing new [default: 1s]
    #[arg(
        long,
        env = "DISTRIBUTARY_IDLE_INTERVAL",
        hide_env = true,
        value_name = "TIME",
        help_heading = "Tuning"
    )]
    #[serde(deserialize_with = "values::text")]
    pub(super) idle_interval: Option<Span>,

    /// How long a write may take before it is sent again [default: 30s]
    #[arg(
        long,
        env = "DISTRIBUTARY_WRITE_TIMEOUT",
        hide_env = true,
        value_name = "TIME",
        help_heading = "Tuning"
    )]
    #[serde(deserialize_with = "values::text")]
    pub(super) write_timeout: Option<Span>,

    /// How long a stop waits for writes that are under way [default: 30s]
    #[arg(
        long,
        env = "DISTRIBUTARY_DRAIN_TIMEOUT",
        hide_env = true,
        value_name = "TIME",
        help_heading = "Tuning"
    )]
    #[serde(deserialize_with = "values::text")]
    pub(super) drain_timeout: Option<Span>,
}

impl Settings {
    /// What `self` says, and what `below` says where `self` is silent.
    pub(super) fn or(self, below: Self) -> Self {
        Self {
            from: self.from.or(below.from),
            name: self.name.or(below.name),
            start: self.start.or(below.start),
            order: self.order.or(below.order),
            route: self.route.or(below.route),
            create: self.create.or(below.create),
            state: self.state.or(below.state),
            until_caught_up: self.until_caught_up.or(below.until_caught_up),
            give_up_after: self.give_up_after.or(below.give_up_after),
            log_format: self.log_format.or(below.log_format),
            metrics: self.metrics.or(below.metrics),
            metrics_per_shard: self.metrics_per_shard.or(below.metrics_per_shard),
            memory: self.memory.or(below.memory),
            checkpoint_interval: self.checkpoint_interval.or(below.checkpoint_interval),
            read_interval: self.read_interval.or(below.read_interval),
            idle_interval: self.idle_interval.or(below.idle_interval),
            write_timeout: self.write_timeout.or(below.write_timeout),
            drain_timeout: self.drain_timeout.or(below.drain_timeout),
        }
    }
}

/// One `[[output]]` of the file.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct OutputEntry {
    #[serde(deserialize_with = "values::stream")]
    pub(super) stream: StreamRef,
    #[serde(default, deserialize_with = "values::text")]
    pub(super) name: Option<Name>,
    pub(super) region: Option<String>,
    pub(super) profile: Option<String>,
    pub(super) endpoint_url: Option<String>,
    pub(super) role_arn: Option<String>,
    pub(super) external_id: Option<String>,
    #[serde(default, deserialize_with = "values::choice")]
    pub(super) order: Option<OrderWord>,
    #[serde(default, deserialize_with = "values::choice")]
    pub(super) route: Option<RouteWord>,
    #[serde(default, deserialize_with = "values::text")]
    pub(super) start: Option<StartAt>,
    #[serde(default)]
    pub(super) paused: bool,
}
