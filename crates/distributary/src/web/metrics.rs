//! The metrics, each defined once: name, meaning, and place of the value in a [`Status`].

use std::fmt;
use std::time::Duration;

use distributary_core::engine::{Counts, LaneStatus, OutputState, OutputStatus, Status};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use crate::control::FileState;
use crate::screen;
use crate::view::{ErrorRows, Phase, Snapshot};

/// The content type of OpenMetrics text.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A value that only goes up, from 0 at the start of the process. The name gets `_total`.
    Counter,
    /// A value that goes up and down.
    Gauge,
}

impl Kind {
    fn of_page(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
        }
    }
}

/// One metric.
struct Metric {
    name: &'static str,
    kind: Kind,
    help: &'static str,
    values: Values,
}

/// The label of every series.
const FAN_OUT: &str = "fan_out";

/// The values of a metric, by the labels beside `fan_out`. A value that is `None` is unknown, and
/// left out.
enum Values {
    /// A value of the process, without labels.
    Process(fn() -> f64),
    /// A value of the process, from the last look at the configuration file.
    File(fn(&FileState) -> Option<f64>),
    /// A value per fan-out, from the phase.
    Phase(fn(&Phase) -> Option<f64>),
    /// A value per fan-out, from the status.
    FanOut(fn(&Status) -> Option<f64>),
    /// A value per output, with the label `output`.
    Output(fn(&OutputStatus) -> Option<f64>),
    /// The errors per output, with the labels `output` and `kind`.
    Errors,
    /// The rows of `error_stream` per fan-out, with the labels `pump`, `statement` and `error`.
    ErrorRows,
    /// The KPL aggregates per output, with the labels `output` and `treatment`.
    Aggregates,
    /// A value per lane, with the labels `output` and `shard`; only with `metrics-per-shard`.
    Lane(fn(&LaneStatus) -> Option<f64>),
}

const METRICS: &[Metric] = &[
    Metric {
        name: "distributary_log_lines_dropped",
        kind: Kind::Counter,
        help: "Log lines that did not reach stderr: full, closed, or not read fast enough",
        values: Values::Process(lost_lines),
    },
    Metric {
        name: "distributary_config_last_reload_successful",
        kind: Kind::Gauge,
        help: "1 if the configuration file is in force, 0 if the last change of the file was \
               rejected; absent without a file",
        values: Values::File(|file| match file {
            FileState::NoFile => None,
            FileState::InForce => Some(1.0),
            FileState::Rejected(_) => Some(0.0),
        }),
    },
    Metric {
        name: "distributary_fan_out_running",
        kind: Kind::Gauge,
        help: "1 if the fan-out is running, 0 if it is starting or has ended",
        values: Values::Phase(|phase| flag(matches!(phase, Phase::Running(_)))),
    },
    fan_out(
        "distributary_source_records",
        Kind::Counter,
        "Records read from the source, including records that an output reads again to catch up",
        |s| n(s.source.records),
    ),
    fan_out(
        "distributary_source_bytes",
        Kind::Counter,
        "Bytes of the source's responses",
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
        "GetRecords calls that were throttled",
        |s| n(s.source.throttled),
    ),
    fan_out(
        "distributary_source_failed",
        Kind::Counter,
        "GetRecords calls that failed for another reason",
        |s| n(s.source.failed),
    ),
    fan_out(
        "distributary_source_gaps",
        Kind::Counter,
        "Stretches of records that retention deleted before they were read",
        |s| n(s.source.gaps),
    ),
    fan_out(
        "distributary_source_behind_seconds",
        Kind::Gauge,
        "Delay of reading behind the source's newest record",
        |s| seconds(s.source.behind),
    ),
    fan_out(
        "distributary_source_retention_seconds",
        Kind::Gauge,
        "Retention of the source",
        |s| seconds(s.source.retention),
    ),
    fan_out(
        "distributary_source_shards",
        Kind::Gauge,
        "Shards of the source that hold or accept records",
        |s| size(s.source.shards),
    ),
    fan_out(
        "distributary_source_shards_open",
        Kind::Gauge,
        "Shards of the source that accept records",
        |s| size(s.source.shards_open),
    ),
    fan_out(
        "distributary_source_shards_reading",
        Kind::Gauge,
        "Shards of the source that are read now",
        |s| size(s.source.shards_reading),
    ),
    output(
        "distributary_records_read",
        Kind::Counter,
        "Records read for the output; always delivered + filtered + dead-lettered + in flight",
        |o| n(o.counts.read),
    ),
    output(
        "distributary_records_delivered",
        Kind::Counter,
        "Records that the output acknowledged, together with all earlier records of the shard",
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
        "Records that a filter removed",
        |o| n(o.counts.filtered),
    ),
    output(
        "distributary_records_dead_lettered",
        Kind::Counter,
        "Records sent to the dead letter destination",
        |o| n(o.counts.dead_lettered),
    ),
    output(
        "distributary_records_in_flight",
        Kind::Gauge,
        "Records read for the output and not yet delivered, filtered or dead-lettered",
        |o| n(o.counts.in_flight),
    ),
    output(
        "distributary_records_repeated",
        Kind::Counter,
        "Records sent again although they were written or may have been written",
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
        "Requests sent because an earlier one failed",
        |o| n(o.counts.retries),
    ),
    output(
        "distributary_order_limited_requests",
        Kind::Counter,
        "Requests with records left out to keep the order (strict): the order limits the output",
        |o| n(o.counts.order_limited),
    ),
    output(
        "distributary_held_back",
        Kind::Counter,
        "Times that records waited because the output's shards were at their limit: the number of shards limits the output",
        |o| n(o.counts.held_back),
    ),
    Metric {
        name: "distributary_errors",
        kind: Kind::Counter,
        help: "Errors of the output, for a request or for a record, by kind",
        values: Values::Errors,
    },
    Metric {
        name: "distributary_pump_error_rows",
        kind: Kind::Counter,
        help: "Rows that a pump sent to error_stream, by the pump of the configuration, the pump of the code, and ERROR_NAME",
        values: Values::ErrorRows,
    },
    Metric {
        name: "distributary_aggregates",
        kind: Kind::Counter,
        help: "KPL aggregates by treatment: passed-whole, divided (into so many pieces), packed, damaged (passed on as ordinary records), misplaced (sent again after the output was resharded)",
        values: Values::Aggregates,
    },
    output(
        "distributary_behind_seconds",
        Kind::Gauge,
        "Delay of the output behind the source's newest record, in the shard with the longest delay",
        |o| seconds(o.behind),
    ),
    output(
        "distributary_horizon_seconds",
        Kind::Gauge,
        "Time until the source's retention would delete records that the output has not received, in the nearest shard",
        |o| seconds(o.horizon),
    ),
    output(
        "distributary_output_running",
        Kind::Gauge,
        "1 if the output is running, 0 if it is paused, failing or stopped",
        |o| flag(o.state == OutputState::Running),
    ),
    output(
        "distributary_output_stopped",
        Kind::Gauge,
        "1 if the output is stopped until a user acts",
        |o| flag(matches!(o.state, OutputState::Stopped { .. })),
    ),
    output(
        "distributary_output_failing",
        Kind::Gauge,
        "1 if the output could not be opened at the start, and is tried again",
        |o| flag(matches!(o.state, OutputState::Failing { .. })),
    ),
    output(
        "distributary_output_caught_up",
        Kind::Gauge,
        "1 if the output has every record that the source held at the start of the process",
        |o| flag(o.caught_up),
    ),
    output(
        "distributary_shards_in_window",
        Kind::Gauge,
        "Shards whose reads the output shares with the other outputs",
        |o| size(o.in_window),
    ),
    output(
        "distributary_shards_catching_up",
        Kind::Gauge,
        "Shards that are read again for the output because it fell behind",
        |o| size(o.catching_up),
    ),
    output(
        "distributary_shards_waiting_for_parents",
        Kind::Gauge,
        "Shards that wait until the output has every record of their parents",
        |o| size(o.waiting_for_parents),
    ),
    output(
        "distributary_shards_elsewhere",
        Kind::Gauge,
        "Shards that other workers deliver, with leases in DynamoDB",
        |o| size(o.elsewhere),
    ),
    fan_out(
        "distributary_memory_bytes",
        Kind::Gauge,
        "Memory reserved for records that are read and not yet delivered, by all fan-outs of the process together",
        |s| size(s.memory.used),
    ),
    fan_out(
        "distributary_memory_peak_bytes",
        Kind::Gauge,
        "The most memory that was reserved so far, by all fan-outs of the process together",
        |s| size(s.memory.peak),
    ),
    fan_out(
        "distributary_memory_budget_bytes",
        Kind::Gauge,
        "The limit of reserved memory, for all fan-outs of the process together",
        |s| size(s.memory.budget),
    ),
    fan_out(
        "distributary_checkpoints",
        Kind::Counter,
        "Transactions that saved checkpoints",
        |s| n(s.commits.transactions),
    ),
    fan_out(
        "distributary_checkpoint_seconds",
        Kind::Gauge,
        "Duration of the last checkpoint transaction",
        |s| seconds(Some(s.commits.took)),
    ),
    fan_out(
        "distributary_checkpoint_age_seconds",
        Kind::Gauge,
        "Time since the last checkpoint transaction",
        |s| seconds(s.commits.last.map(|at| s.at.since(at))),
    ),
    fan_out(
        "distributary_checkpoint_failures",
        Kind::Gauge,
        "Checkpoint transactions that failed in a row",
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
        "Records of the shard that are read for the output and not yet delivered",
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
        "Delay of the output in the shard",
        |l| seconds(l.behind),
    ),
    lane(
        "distributary_shard_horizon_seconds",
        Kind::Gauge,
        "Time until retention would delete records of the shard that the output has not received",
        |l| seconds(l.horizon),
    ),
];

// Prometheus counts in floating point: exact up to 2^53.
#[allow(clippy::cast_precision_loss)]
fn lost_lines() -> f64 {
    screen::lost() as f64
}

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
        values: Values::FanOut(value),
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
        values: Values::Output(value),
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
        values: Values::Lane(value),
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

/// The page for `snapshots`. Without a status, before the start, the page has no values.
pub(super) fn text(
    snapshots: Vec<Snapshot>,
    file: FileState,
    per_shard: bool,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Page {
        snapshots,
        file,
        per_shard,
    }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Page {
    snapshots: Vec<Snapshot>,
    file: FileState,
    per_shard: bool,
}

fn encode_about(encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
    let about = [("version", env!("CARGO_PKG_VERSION"))];
    let kind = MetricType::Info;
    let mut encoder = encoder.encode_descriptor("distributary", "The program", None, kind)?;
    encoder.encode_info(&about)
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        encode_about(&mut encoder)?;

        let is_shown = |metric: &&Metric| {
            let is_of_lanes = matches!(metric.values, Values::Lane(_));
            self.per_shard || !is_of_lanes
        };
        for metric in METRICS.iter().filter(is_shown) {
            let Metric { name, help, .. } = metric;
            let kind = metric.kind.of_page();
            let mut encoder = encoder.encode_descriptor(name, help, None, kind)?;
            metric.encode_all(&mut encoder, self)?;
        }
        Ok(())
    }
}

impl Metric {
    /// Adds the values of the process or of every fan-out.
    fn encode_all(&self, encoder: &mut MetricEncoder<'_>, page: &Page) -> fmt::Result {
        let of_process = match self.values {
            Values::Process(value) => Some(value()),
            Values::File(value) => value(&page.file),
            _ => None,
        };
        if let Some(value) = of_process {
            return self.put_value(encoder, value);
        }

        for snapshot in &page.snapshots {
            self.encode(encoder, snapshot)?;
        }
        Ok(())
    }

    /// Adds the values of one fan-out, each with the label `fan_out`.
    fn encode(&self, encoder: &mut MetricEncoder<'_>, snapshot: &Snapshot) -> fmt::Result {
        let label = (FAN_OUT, &*snapshot.name);
        if let Values::Phase(value) = self.values {
            return self.put(encoder, &[label], value(&snapshot.phase));
        }

        if let Values::ErrorRows = self.values {
            return self.encode_error_rows(encoder, label, &snapshot.error_rows);
        }

        let Some(status) = snapshot.status() else {
            return Ok(());
        };
        if let Values::FanOut(value) = self.values {
            return self.put(encoder, &[label], value(status));
        }
        for output in &status.outputs {
            self.encode_output(encoder, label, output)?;
        }
        Ok(())
    }

    /// Adds the values of one output.
    fn encode_output(
        &self,
        encoder: &mut MetricEncoder<'_>,
        fan_out: (&str, &str),
        output: &OutputStatus,
    ) -> fmt::Result {
        let label = ("output", output.id.as_str());
        match self.values {
            Values::Process(_)
            | Values::File(_)
            | Values::Phase(_)
            | Values::FanOut(_)
            | Values::ErrorRows => {}
            Values::Output(value) => self.put(encoder, &[fan_out, label], value(output))?,
            Values::Errors => self.encode_errors(encoder, [fan_out, label], output)?,
            Values::Aggregates => self.encode_aggregates(encoder, [fan_out, label], output)?,
            Values::Lane(value) => self.encode_lanes(encoder, [fan_out, label], output, value)?,
        }
        Ok(())
    }

    /// Adds the error rows of one fan-out's pumps.
    fn encode_error_rows(
        &self,
        encoder: &mut MetricEncoder<'_>,
        fan_out: (&str, &str),
        error_rows: &[ErrorRows],
    ) -> fmt::Result {
        for rows in error_rows {
            let labels = [
                fan_out,
                ("pump", &*rows.pump),
                ("statement", &*rows.statement),
                ("error", &*rows.error),
            ];
            self.put(encoder, &labels, n(rows.count))?;
        }
        Ok(())
    }

    /// Adds the errors of one output, by kind.
    fn encode_errors(
        &self,
        encoder: &mut MetricEncoder<'_>,
        [fan_out, label]: [(&str, &str); 2],
        output: &OutputStatus,
    ) -> fmt::Result {
        for (kind, count) in errors(&output.counts) {
            let kind = ("kind", kind);
            let labels = [fan_out, label, kind];
            self.put(encoder, &labels, count)?;
        }
        Ok(())
    }

    /// Adds the aggregates of one output, by treatment.
    fn encode_aggregates(
        &self,
        encoder: &mut MetricEncoder<'_>,
        [fan_out, label]: [(&str, &str); 2],
        output: &OutputStatus,
    ) -> fmt::Result {
        for tally in &output.aggregates {
            let treatment = ("treatment", tally.name);
            let labels = [fan_out, label, treatment];
            self.put(encoder, &labels, n(tally.count))?;
        }
        Ok(())
    }

    /// Adds the values of one output's lanes.
    fn encode_lanes(
        &self,
        encoder: &mut MetricEncoder<'_>,
        [fan_out, label]: [(&str, &str); 2],
        output: &OutputStatus,
        value: fn(&LaneStatus) -> Option<f64>,
    ) -> fmt::Result {
        for lane in &output.lanes {
            let shard = ("shard", lane.shard.as_str());
            let labels = [fan_out, label, shard];
            self.put(encoder, &labels, value(lane))?;
        }
        Ok(())
    }

    /// Adds one value, if known.
    fn put(
        &self,
        encoder: &mut MetricEncoder<'_>,
        labels: &[(&str, &str)],
        value: Option<f64>,
    ) -> fmt::Result {
        let Some(value) = value else {
            return Ok(());
        };
        self.put_value(&mut encoder.encode_family(&labels)?, value)
    }

    fn put_value(&self, encoder: &mut MetricEncoder<'_>, value: f64) -> fmt::Result {
        match self.kind {
            Kind::Counter => encoder.encode_counter::<NoLabelSet, f64, f64>(&value, None),
            Kind::Gauge => encoder.encode_gauge(&value),
        }
    }
}

/// The errors of every kind. Kinds without errors count 0, since a rate needs a first value.
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
    let count = |(kind, name)| {
        let known = counts.errors.get(&kind);
        let count = known.copied().unwrap_or(0);
        (name, n(count))
    };
    kinds.into_iter().map(count)
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

<!-- Generated from the program: UPDATE_DOCS=1 cargo test -p distributary docs -->

`/metrics` is OpenMetrics text, for Prometheus. Counters start at 0 with the process. `/healthz` returns 200 while the process runs,
with the phase of each fan-out. `/readyz` returns 200 while every fan-out works, and 503 with the reason for each that does not: before
the first read, after a minute without a read or a delivery, if no output is running, or if checkpoints cannot be saved.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
"
        .to_owned();
        for metric in METRICS {
            let (suffix, kind) = match metric.kind {
                Kind::Counter => ("_total", "counter"),
                Kind::Gauge => ("", "gauge"),
            };
            let labels = match metric.values {
                Values::Process(_) | Values::File(_) => "",
                Values::Phase(_) | Values::FanOut(_) => "`fan_out`",
                Values::Output(_) => "`fan_out`, `output`",
                Values::Errors => "`fan_out`, `output`, `kind`",
                Values::ErrorRows => "`fan_out`, `pump`, `statement`, `error`",
                Values::Aggregates => "`fan_out`, `output`, `treatment`",
                Values::Lane(_) => "`fan_out`, `output`, `shard`; with `--metrics-per-shard`",
            };
            writeln!(
                text,
                "| `{}{suffix}` | {kind} | {labels} | {} |",
                metric.name, metric.help
            )
            .unwrap();
        }
        text.push_str("\n`distributary_info{version}` is always 1.\n");
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
    fn error_rows_are_shown_by_pump_and_error() {
        let mut snapshot = Snapshot::starting("orders");
        snapshot.error_rows.push(ErrorRows {
            pump: "web".to_owned(),
            statement: "COPY".to_owned(),
            error: "Division by zero".to_owned(),
            count: 3,
        });

        let page = text(vec![snapshot], FileState::NoFile, false).unwrap();
        let line = "distributary_pump_error_rows_total{fan_out=\"orders\",pump=\"web\",\
                    statement=\"COPY\",error=\"Division by zero\"} 3";
        assert!(page.contains(line), "{page}");
    }

    #[test]
    fn a_page_before_the_start_is_complete() {
        let page = text(Vec::new(), FileState::NoFile, false).unwrap();
        assert!(
            page.ends_with("# EOF\n")
                && page.contains("# TYPE distributary_records_delivered counter"),
            "{page}"
        );
    }
}
