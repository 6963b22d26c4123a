//! Log lines about the progress of a fan-out, for a stderr that is not a terminal.

use std::collections::BTreeMap;
use std::sync::Arc;

use distributary_core::clock::{Clock, Instant};
use distributary_core::engine::{OutputState, OutputStatus, SourceStatus, Status};

use super::{LOG, Phase, Snapshot, Snapshots};

/// The most outputs of which each gets a line. Of more outputs, only those in trouble do.
const LINES_MAX: usize = 10;

/// Writes log lines at a fixed interval, until the future is dropped.
pub(super) async fn show(mut snapshots: Snapshots, clock: Clock) {
    let mut last: BTreeMap<Arc<str>, (Instant, Arc<Status>)> = BTreeMap::new();
    loop {
        clock.sleep(LOG).await;
        let current = snapshots.borrow_and_update().clone();
        for snapshot in current {
            let Phase::Running(status) = snapshot.phase else {
                continue;
            };

            let now = clock.now();
            let before = last
                .get(&snapshot.name)
                .map(|(at, status)| Before::new(*at, now, status));
            let span = tracing::info_span!("fan_out", fan_out = &*snapshot.name);
            span.in_scope(|| log(&status, before.as_ref()));
            last.insert(snapshot.name, (now, status));
        }
    }
}

/// Writes the last log lines.
pub(super) fn end(last: &[Snapshot]) {
    let statuses = last.iter().filter_map(Snapshot::status);
    for status in statuses {
        let span = tracing::info_span!("fan_out", fan_out = status.name);
        span.in_scope(|| end_of_one(status));
    }
}

fn end_of_one(last: &Status) {
    for output in &last.outputs {
        let counts = &output.counts;
        tracing::info!(
            output = %output.id,
            delivered = counts.durable,
            in_flight = counts.in_flight,
            repeats = counts.repeats,
            errors = counts.errors.values().sum::<u64>(),
            "at the end"
        );
    }
}

/// The status that was logged last.
struct Before<'a> {
    /// Seconds since then.
    seconds: f64,
    status: &'a Status,
}

/// Logs a line for the source, and lines for the outputs.
fn log(status: &Status, before: Option<&Before<'_>>) {
    log_source(status, before);

    let all = status.outputs.len() <= LINES_MAX;
    let is_logged = |output: &&OutputStatus| all || is_in_trouble(output);
    let (logged, quiet): (Vec<_>, Vec<_>) = status.outputs.iter().partition(is_logged);
    for output in logged {
        let per_second = before.and_then(|before| before.rate_of(output));
        log_output(output, per_second);
    }

    if !quiet.is_empty() {
        log_others(status, quiet.len());
    }
}

/// Logs one line for `count` outputs without a line of their own.
fn log_others(status: &Status, count: usize) {
    let behind = status.outputs.iter().filter_map(|o| o.behind).max();
    tracing::info!(
        outputs = count,
        most_behind_seconds = behind.map(|b| b.as_secs_f64()),
        "the other outputs are running"
    );
}

impl<'a> Before<'a> {
    fn new(at: Instant, now: Instant, status: &'a Status) -> Self {
        Self {
            seconds: now.since(at).as_secs_f64(),
            status,
        }
    }

    /// The records per second that an output has got since.
    fn rate_of(&self, output: &OutputStatus) -> Option<f64> {
        let mut outputs = self.status.outputs.iter();
        let earlier = outputs.find(|earlier| earlier.id == output.id)?;
        let before = earlier.counts.durable;
        let now = output.counts.durable;
        Some(rate(now, before, self.seconds))
    }
}

fn log_source(status: &Status, before: Option<&Before<'_>>) {
    let SourceStatus {
        records,
        shards_reading,
        gaps,
        ..
    } = status.source;
    let read_per_second =
        before.map(|before| rate(records, before.status.source.records, before.seconds));
    tracing::info!(
        read = records,
        read_per_second,
        shards = shards_reading,
        behind_seconds = status.source.behind.map(|b| b.as_secs_f64()),
        failed_reads = status.source.failed,
        throttled_reads = status.source.throttled,
        gaps,
        memory = status.memory.used,
        "source"
    );
}

fn log_output(output: &OutputStatus, per_second: Option<f64>) {
    let last_error = output.last_error.as_ref();
    tracing::info!(
        output = %output.id,
        delivered = output.counts.durable,
        per_second,
        behind_seconds = output.behind.map(|b| b.as_secs_f64()),
        errors = output.counts.errors.values().sum::<u64>(),
        paused = (output.state == OutputState::Paused).then_some(true),
        stopped = stopped(output),
        advice = output.advice.as_deref(),
        last_error = last_error
            .filter(|_| is_waiting(output))
            .map(|error| error.text.as_str()),
        "output"
    );
}

/// The reason why an output is stopped.
fn stopped(output: &OutputStatus) -> Option<&str> {
    match &output.state {
        OutputState::Stopped { reason, .. } | OutputState::Failing { reason } => Some(reason),
        OutputState::Running | OutputState::Paused => None,
    }
}

fn is_in_trouble(output: &OutputStatus) -> bool {
    let has_reason = stopped(output).is_some() || output.advice.is_some();
    has_reason || is_waiting(output)
}

/// True while a lane waits after a failure: the last failure is the cause.
fn is_waiting(output: &OutputStatus) -> bool {
    let mut lanes = output.lanes.iter();
    lanes.any(|lane| lane.backing_off)
}

/// The rate per second, rounded to tenths.
fn rate(now: u64, before: u64, seconds: f64) -> f64 {
    // A rate for people needs no precision.
    #[allow(clippy::cast_precision_loss)]
    let more = now.saturating_sub(before) as f64;
    if seconds > 0.0 {
        (more / seconds * 10.0).round() / 10.0
    } else {
        0.0
    }
}
