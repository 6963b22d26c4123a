//! Log lines on how a fan-out does, where no terminal is.

use std::collections::BTreeMap;
use std::sync::Arc;

use distributary_core::clock::{Clock, Instant};
use distributary_core::engine::{OutputState, Status};

use super::{LOG, Snapshots};

pub(super) async fn show(mut snapshots: Snapshots, clock: Clock) {
    let mut last: Option<(Instant, Arc<Status>)> = None;
    loop {
        clock.sleep(LOG).await;
        let Some(status) = snapshots.borrow_and_update().clone() else {
            continue;
        };
        let now = clock.now();
        say(
            &status,
            last.as_ref()
                .map(|(at, before)| (now.since(*at).as_secs_f64(), &**before)),
        );
        last = Some((now, status));
    }
}

pub(super) fn end(last: &Status) {
    for output in &last.outputs {
        tracing::info!(
            output = %output.id, delivered = output.counts.durable, in_flight = output.counts.in_flight,
            repeats = output.counts.repeats, errors = output.counts.errors.values().sum::<u64>(), "at the end"
        );
    }
}

/// One line for the source; one for each output, as long as that is not too many, else for those that need looking at.
fn say(status: &Status, before: Option<(f64, &Status)>) {
    /// Outputs that get a line each.
    const EACH: usize = 10;
    let source = &status.source;
    let read = before.map(|(seconds, b)| rate(source.records, b.source.records, seconds));
    tracing::info!(
        read = source.records,
        read_per_second = read,
        shards = source.shards_reading,
        behind_seconds = source.behind.map(|b| b.as_secs_f64()),
        failed_reads = source.failed + source.throttled,
        gaps = source.gaps,
        memory = status.memory.used,
        "source"
    );
    let earlier: BTreeMap<&str, u64> = before
        .iter()
        .flat_map(|(_, b)| &b.outputs)
        .map(|o| (o.id.as_str(), o.counts.durable))
        .collect();
    let mut unsaid = 0;
    for output in &status.outputs {
        let stopped = match &output.state {
            OutputState::Stopped { reason, .. } => Some(reason.as_str()),
            OutputState::Running | OutputState::Paused => None,
        };
        let trouble = stopped.is_some()
            || output.advice.is_some()
            || output.lanes.iter().any(|lane| lane.backing_off);
        if status.outputs.len() > EACH && !trouble {
            unsaid += 1;
            continue;
        }
        let per_second = before.and_then(|(seconds, _)| {
            earlier
                .get(output.id.as_str())
                .map(|earlier| rate(output.counts.durable, *earlier, seconds))
        });
        tracing::info!(
            output = %output.id,
            delivered = output.counts.durable,
            per_second,
            behind_seconds = output.behind.map(|b| b.as_secs_f64()),
            errors = output.counts.errors.values().sum::<u64>(),
            paused = (output.state == OutputState::Paused).then_some(true),
            stopped,
            advice = output.advice.as_deref(),
            last_error = output.last_error.as_ref().filter(|_| trouble).map(|e| e.text.as_str()),
            "output"
        );
    }
    if unsaid > 0 {
        let behind = status.outputs.iter().filter_map(|o| o.behind).max();
        tracing::info!(
            outputs = unsaid,
            most_behind_seconds = behind.map(|b| b.as_secs_f64()),
            "the other outputs are running"
        );
    }
}

/// A second, rounded to tenths.
fn rate(now: u64, before: u64, seconds: f64) -> f64 {
    // A rate for people: precision does not matter.
    #[allow(clippy::cast_precision_loss)]
    let more = now.saturating_sub(before) as f64;
    if seconds > 0.0 {
        (more / seconds * 10.0).round() / 10.0
    } else {
        0.0
    }
}
