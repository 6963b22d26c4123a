//! The metrics, each once: name, what it says, and where its value is in a [`Status`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::engine::{Counts, LaneStatus, OutputState, OutputStatus, Status};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

/// The format's name and version.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// How a value behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Goes up; begins anew with the process. Its name gets `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
}

/// One metric; its values by labels.
struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    of: Of,
}

/// What a metric is about, and so which labels it has. `None`: not known now, and left out.
enum Of {
    /// The whole fan-out: no labels.
    FanOut(fn(&Status) -> Option<f64>),
    /// An output: `output`.
    Output(fn(&OutputStatus) -> Option<f64>),
    /// An output's errors: `output` and `kind`.
    Errors,
    /// A lane: `output` and `shard`; only with `metrics-per-shard`.
    Lane(fn(&LaneStatus) -> Option<f64>),
}

const METRICS: &[Metric] = &[
    fan_out(
        "distributary_source_records",
        Kind::Counter,
        "Records read from the source, those read again by outputs that catch up included",
        |s| n(s.source.records),
    ),
    fan_out(
        "distributary_source_bytes",
        Kind::Counter,
        "Bytes of the source's answers",
        |s| n(s.source.bytes),
    ),
    fan_out(
        "distributary_source_reads",
        Kind::Counter,
        "GetRecords calls",
        |s| n(s.source.reads),
    ),
    fan_out(
        "distributary_source_throttled",
        Kind::Counter,
        "GetRecords calls refused for their rate",
        |s| n(s.source.throttled),
    ),
    fan_out(
        "distributary_source_failed",
        Kind::Counter,
        "GetRecords calls that failed otherwise",
        |s| n(s.source.failed),
    ),
    fan_out(
        "distributary_source_gaps",
        Kind::Counter,
        "Stretches that retention deleted before they were read",
        |s| n(s.source.gaps),
    ),
    fan_out(
        "distributary_source_behind_seconds",
        Kind::Gauge,
        "How far reading is behind the source's newest record",
        |s| seconds(s.source.behind),
    ),
    fan_out(
        "distributary_source_retention_seconds",
        Kind::Gauge,
        "How long the source keeps a record",
        |s| seconds(s.source.retention),
    ),
    fan_out(
        "distributary_source_shards",
        Kind::Gauge,
        "Shards of the source that still hold records or take them",
        |s| size(s.source.shards),
    ),
    fan_out(
        "distributary_source_shards_open",
        Kind::Gauge,
        "Shards of the source that take records",
        |s| size(s.source.shards_open),
    ),
    fan_out(
        "distributary_source_shards_reading",
        Kind::Gauge,
        "Shards that are being read",
        |s| size(s.source.shards_reading),
    ),
    output(
        "distributary_records_read",
        Kind::Counter,
        "Records handed to the output; always delivered + filtered + dead-lettered + in flight",
        |o| n(o.counts.read),
    ),
    output(
        "distributary_records_delivered",
        Kind::Counter,
        "Records that the output acknowledged, they and all before them in their shard",
        |o| n(o.counts.durable),
    ),
    output(
        "distributary_bytes_delivered",
        Kind::Counter,
        "Bytes of data and partition keys of delivered records",
        |o| n(o.counts.bytes),
    ),
    output(
        "distributary_records_filtered",
        Kind::Counter,
        "Records that a filter took out",
        |o| n(o.counts.filtered),
    ),
    output(
        "distributary_records_dead_lettered",
        Kind::Counter,
        "Records that went to the dead letter destination",
        |o| n(o.counts.dead_lettered),
    ),
    output(
        "distributary_records_in_flight",
        Kind::Gauge,
        "Records handed to the output and none of these",
        |o| n(o.counts.in_flight),
    ),
    output(
        "distributary_records_repeated",
        Kind::Counter,
        "Records sent again though they had been, or may have been, written",
        |o| n(o.counts.repeats),
    ),
    output(
        "distributary_requests",
        Kind::Counter,
        "Requests to the output",
        |o| n(o.counts.requests),
    ),
    output(
        "distributary_retries",
        Kind::Counter,
        "Requests that were sent because others failed",
        |o| n(o.counts.retries),
    ),
    output(
        "distributary_order_limited_requests",
        Kind::Counter,
        "Requests that left records out only to keep the order (strict): order is what limits the output",
        |o| n(o.counts.order_limited),
    ),
    output(
        "distributary_held_back",
        Kind::Counter,
        "Times that records were held back because the output's shards had no room: its rate is what limits the output",
        |o| n(o.counts.held_back),
    ),
    Metric {
        name: "distributary_errors",
        kind: Kind::Counter,
        help: "Answers of the output that were trouble, whole or for a record, by kind",
        of: Of::Errors,
    },
    output(
        "distributary_behind_seconds",
        Kind::Gauge,
        "How far the output is behind the source's newest record: its furthest shard",
        |o| seconds(o.behind),
    ),
    output(
        "distributary_horizon_seconds",
        Kind::Gauge,
        "Time until the source's retention would delete what the output has not got: its nearest shard",
        |o| seconds(o.horizon),
    ),
    output(
        "distributary_output_running",
        Kind::Gauge,
        "1 if the output is written to, 0 if it is paused or stopped",
        |o| flag(o.state == OutputState::Running),
    ),
    output(
        "distributary_output_stopped",
        Kind::Gauge,
        "1 if the output goes no further until somebody acts",
        |o| flag(matches!(o.state, OutputState::Stopped { .. })),
    ),
    output(
        "distributary_output_caught_up",
        Kind::Gauge,
        "1 if the output has everything that was in the source when the process started",
        |o| flag(o.caught_up),
    ),
    output(
        "distributary_shards_in_window",
        Kind::Gauge,
        "Shards whose newest records the output shares with the others",
        |o| size(o.in_window),
    ),
    output(
        "distributary_shards_catching_up",
        Kind::Gauge,
        "Shards that the output reads again because it fell behind",
        |o| size(o.catching_up),
    ),
    output(
        "distributary_shards_waiting_for_parents",
        Kind::Gauge,
        "Shards whose parents the output has not finished",
        |o| size(o.waiting_for_parents),
    ),
    fan_out(
        "distributary_memory_bytes",
        Kind::Gauge,
        "Memory reserved for records that are read and not yet written",
        |s| size(s.memory.used),
    ),
    fan_out(
        "distributary_memory_peak_bytes",
        Kind::Gauge,
        "The most memory that was ever reserved",
        |s| size(s.memory.peak),
    ),
    fan_out(
        "distributary_memory_budget_bytes",
        Kind::Gauge,
        "Memory that may be reserved",
        |s| size(s.memory.budget),
    ),
    fan_out(
        "distributary_checkpoints",
        Kind::Counter,
        "Transactions that wrote the progress down",
        |s| n(s.commits.transactions),
    ),
    fan_out(
        "distributary_checkpoint_seconds",
        Kind::Gauge,
        "How long the last of them took",
        |s| seconds(Some(s.commits.took)),
    ),
    fan_out(
        "distributary_checkpoint_age_seconds",
        Kind::Gauge,
        "Time since the last of them",
        |s| seconds(s.commits.last.map(|at| s.at.since(at))),
    ),
    fan_out(
        "distributary_checkpoint_failures",
        Kind::Gauge,
        "Transactions that failed in a row, now",
        |s| n(u64::from(s.commits.failing)),
    ),
    lane(
        "distributary_shard_records_delivered",
        Kind::Counter,
        "Records of the shard that the output acknowledged",
        |l| n(l.counts.durable),
    ),
    lane(
        "distributary_shard_records_in_flight",
        Kind::Gauge,
        "Records of the shard that are handed to the output and not delivered",
        |l| n(l.counts.in_flight),
    ),
    lane(
        "distributary_shard_records_repeated",
        Kind::Counter,
        "Records of the shard sent again",
        |l| n(l.counts.repeats),
    ),
    lane(
        "distributary_shard_behind_seconds",
        Kind::Gauge,
        "How far the output is behind in the shard",
        |l| seconds(l.behind),
    ),
    lane(
        "distributary_shard_horizon_seconds",
        Kind::Gauge,
        "Time until retention would delete what the output has not got of the shard",
        |l| seconds(l.horizon),
    ),
];

const fn fan_out(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&Status) -> Option<f64>,
) -> Metric {
    Metric {
        name,
        kind,
        help,
        of: Of::FanOut(value),
    }
}

const fn output(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&OutputStatus) -> Option<f64>,
) -> Metric {
    Metric {
        name,
        kind,
        help,
        of: Of::Output(value),
    }
}

const fn lane(
    name: &'static str,
    kind: Kind,
    help: &'static str,
    value: fn(&LaneStatus) -> Option<f64>,
) -> Metric {
    Metric {
        name,
        kind,
        help,
        of: Of::Lane(value),
    }
}

// Prometheus counts in floating point: exact up to 2^53.
#[allow(clippy::cast_precision_loss, clippy::unnecessary_wraps)]
fn n(value: u64) -> Option<f64> {
    Some(value as f64)
}

fn size(value: usize) -> Option<f64> {
    n(u64::try_from(value).unwrap_or(u64::MAX))
}

#[allow(clippy::unnecessary_wraps)]
fn flag(value: bool) -> Option<f64> {
    Some(if value { 1.0 } else { 0.0 })
}

fn seconds(value: Option<Duration>) -> Option<f64> {
    value.map(|d| d.as_secs_f64())
}

/// The page for `status`; without one, before the start, only what the metrics are.
pub(super) fn text(status: Option<Arc<Status>>, per_shard: bool) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page { status, per_shard }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Page {
    status: Option<Arc<Status>>,
    per_shard: bool,
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let about = [
            ("version", env!("CARGO_PKG_VERSION")),
            ("name", self.status.as_ref().map_or("", |s| &s.name)),
        ];
        let kind = MetricType::Info;
        encoder
            .encode_descriptor("distributary", "The program", None, kind)?
            .encode_info(&about)?;
        let shown = METRICS
            .iter()
            .filter(|m| self.per_shard || !matches!(m.of, Of::Lane(_)));
        for metric in shown {
            let kind = match metric.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
            };
            let encoder = encoder.encode_descriptor(metric.name, metric.help, None, kind)?;
            if let Some(status) = &self.status {
                metric.encode(encoder, status)?;
            }
        }
        Ok(())
    }
}

impl Metric {
    fn encode(&self, mut encoder: MetricEncoder<'_>, status: &Status) -> Result<(), fmt::Error> {
        match self.of {
            Of::FanOut(value) => value(status).map_or(Ok(()), |v| self.value(&mut encoder, v)),
            Of::Output(value) => status.outputs.iter().try_for_each(|o| {
                let labels = [("output", o.id.as_str())];
                value(o).map_or(Ok(()), |v| {
                    self.value(&mut encoder.encode_family(&labels)?, v)
                })
            }),
            Of::Errors => status.outputs.iter().try_for_each(|o| {
                errors(&o.counts).try_for_each(|(kind, count)| {
                    let labels = [("output", o.id.as_str()), ("kind", kind)];
                    count.map_or(Ok(()), |v| {
                        self.value(&mut encoder.encode_family(&labels)?, v)
                    })
                })
            }),
            Of::Lane(value) => status.outputs.iter().try_for_each(|o| {
                o.lanes.iter().try_for_each(|l| {
                    let labels = [("output", o.id.as_str()), ("shard", l.shard.as_str())];
                    value(l).map_or(Ok(()), |v| {
                        self.value(&mut encoder.encode_family(&labels)?, v)
                    })
                })
            }),
        }
    }

    fn value(&self, encoder: &mut MetricEncoder<'_>, value: f64) -> Result<(), fmt::Error> {
        match self.kind {
            Kind::Counter => encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None),
            Kind::Gauge => encoder.encode_gauge(&value),
        }
    }
}

/// Every kind of error, those that did not happen as zero: a rate needs a first value.
fn errors(counts: &Counts) -> impl Iterator<Item = (&'static str, Option<f64>)> {
    use distributary_core::output::TroubleKind as T;
    let kinds = [
        (T::Throttled, "throttled"),
        (T::Unavailable, "unavailable"),
        (T::Unauthenticated, "unauthenticated"),
        (T::Denied, "denied"),
        (T::Missing, "missing"),
        (T::Invalid, "invalid"),
        (T::Unintelligible, "unintelligible"),
    ];
    kinds
        .into_iter()
        .map(|(kind, name)| (name, n(counts.errors.get(&kind).copied().unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;
    use crate::docs;

    #[test]
    fn docs_metrics_is_up_to_date() {
        let mut text = "\
# Metrics of `distributary run --metrics ADDRESS`

<!-- Made from the program: UPDATE_DOCS=1 cargo test -p distributary docs -->

`/metrics` is OpenMetrics text, as Prometheus scrapes it. Counters begin anew with the process. `/healthz` answers 200 as long as the
process lives; `/readyz` answers 200 while it works, and 503 with the reason before the first read, when nothing was read or
delivered for a minute, when no output is running, or when the progress cannot be written down.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
"
        .to_owned();
        for metric in METRICS {
            let (suffix, kind) = match metric.kind {
                Kind::Counter => ("_total", "counter"),
                Kind::Gauge => ("", "gauge"),
            };
            let labels = match metric.of {
                Of::FanOut(_) => "",
                Of::Output(_) => "`output`",
                Of::Errors => "`output`, `kind`",
                Of::Lane(_) => "`output`, `shard`; with `--metrics-per-shard`",
            };
            writeln!(
                text,
                "| `{}{suffix}` | {kind} | {labels} | {} |",
                metric.name, metric.help
            )
            .unwrap();
        }
        text.push_str("\n`distributary_info{name, version}` is always 1.\n");
        docs::hold("docs/METRICS.md", &text);
    }

    #[test]
    fn names_are_what_prometheus_wants() {
        let mut names: Vec<&str> = METRICS.iter().map(|m| m.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), METRICS.len());
        for m in METRICS {
            assert!(
                !m.name.ends_with("_total") && !m.help.ends_with('.'),
                "{}",
                m.name
            );
        }
    }

    #[test]
    fn a_page_before_the_start_is_whole() {
        let page = text(None, false).unwrap();
        assert!(
            page.ends_with("# EOF\n")
                && page.contains("# TYPE distributary_records_delivered counter"),
            "{page}"
        );
    }
}
