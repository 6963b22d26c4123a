//! Builds [`Status`] from the state of the engine.

use std::time::Duration;

use crate::clock::Instant;
use crate::output::Demand;
use crate::store::OutputId;

use super::shard::{LaneReport, SourceReport};
use super::status::{ErrorReport, LanePhase, OutputState, OutputStatus, SourceStatus, Status};
use super::world::{OutputEntry, World};
use super::{Shared, lock};

/// A snapshot.
pub(crate) fn status(shared: &Shared) -> Status {
    let now = shared.clock.now();
    let world = lock(&shared.world);
    Status {
        name: shared.name.clone(),
        at: shared.clock.wall(),
        source: source(shared, &world),
        outputs: world
            .outputs
            .iter()
            .map(|(id, entry)| output(&world, id, entry, now))
            .collect(),
        memory: shared.budget.status(),
        commits: world.commits.clone(),
    }
}

fn source(shared: &Shared, world: &World) -> SourceStatus {
    let mut status = SourceStatus {
        arn: shared.identity.arn.clone(),
        retention: world.retention,
        shards: world.shards.len(),
        gaps: world.past_gap_count,
        recent_gaps: world.past_gaps.clone(),
        ..SourceStatus::default()
    };
    let mut reads = world.past_reads.clone();
    for cell in world.shards.values() {
        let shard = cell.describe();
        reads.add(&shard.reads);
        status.add_shard(shard);
    }

    status.keep_gaps(shared.settings.gaps_kept);
    status.records = reads.records;
    status.bytes = reads.bytes;
    status.reads = reads.calls;
    status.throttled = reads.throttled;
    status.failed = reads.failed;
    let newest = [world.source_error.clone(), reads.last_error];
    status.last_error = newest.into_iter().flatten().max_by_key(|e| e.at);
    status
}

impl SourceStatus {
    fn add_shard(&mut self, shard: SourceReport) {
        self.shards_open += usize::from(shard.open);
        self.shards_reading += usize::from(shard.reading);
        self.behind = self.behind.max(shard.behind);
        self.gaps += shard.gap_count;
        self.recent_gaps.extend(shard.gaps);
    }

    /// Keeps the newest `kept` gaps.
    fn keep_gaps(&mut self, kept: usize) {
        self.recent_gaps.sort_by_key(|gap| gap.at);
        let excess = self.recent_gaps.len().saturating_sub(kept);
        self.recent_gaps.drain(..excess);
    }
}

fn output(world: &World, id: &OutputId, entry: &OutputEntry, now: Instant) -> OutputStatus {
    let mut status = empty(id, entry);
    for cell in world.shards.values() {
        if let Some(lane) = cell.describe_lane(id, now, world.retention) {
            add_lane(&mut status, lane);
        }
    }
    // The advice about failures comes first.
    status.advice = status
        .advice
        .or_else(|| entry.spec.output.advice(demand(world, id, now)));
    status
}

/// The state of an output whose lanes go on.
fn state(entry: &OutputEntry) -> OutputState {
    match entry.spec.output.unusable() {
        Some(trouble) => OutputState::Failing {
            reason: trouble.message,
        },
        None if entry.spec.paused => OutputState::Paused,
        None => OutputState::Running,
    }
}

/// The status of an output without lanes.
fn empty(id: &OutputId, entry: &OutputEntry) -> OutputStatus {
    OutputStatus {
        id: id.clone(),
        state: state(entry),
        counts: entry.past.clone(),
        behind: None,
        horizon: None,
        in_window: 0,
        catching_up: 0,
        waiting_for_parents: 0,
        elsewhere: 0,
        done: 0,
        caught_up: true,
        last_error: None,
        advice: None,
        aggregates: entry.spec.output.aggregates(),
        lanes: Vec::new(),
    }
}

fn add_lane(status: &mut OutputStatus, report: LaneReport) {
    let lane = report.status;
    count_phase(status, lane.phase);
    let is_running = status.state == OutputState::Running;
    if let Some(reason) = report.stopped
        && is_running
    {
        let shard = lane.shard.clone();
        status.state = OutputState::Stopped { shard, reason };
    }

    status.counts.add(&lane.counts);
    status.behind = status.behind.max(lane.behind);
    if lane.phase != LanePhase::Done {
        status.horizon = least(status.horizon, lane.horizon);
    }
    status.caught_up &= lane.caught_up;
    status.note_error(report.last_error);
    if status.advice.is_none() {
        status.advice = report.advice;
    }
    status.lanes.push(lane);
}

impl OutputStatus {
    /// Keeps the newest error.
    fn note_error(&mut self, error: Option<ErrorReport>) {
        let Some(error) = error else { return };
        let known = self.last_error.as_ref();
        if known.is_none_or(|known| known.at < error.at) {
            self.last_error = Some(error);
        }
    }
}

/// The lesser one of the known durations.
fn least(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn count_phase(status: &mut OutputStatus, phase: LanePhase) {
    match phase {
        LanePhase::InWindow => status.in_window += 1,
        LanePhase::CatchingUp => status.catching_up += 1,
        LanePhase::WaitingForParents => status.waiting_for_parents += 1,
        LanePhase::Elsewhere => status.elsewhere += 1,
        LanePhase::Done => status.done += 1,
        LanePhase::Paused | LanePhase::Stopped => {}
    }
}

/// The rate of the source's records for `id`: the sum over its open shards.
fn demand(world: &World, id: &OutputId, now: Instant) -> Option<Demand> {
    let shards = world.shards.values();
    let known = shards.filter_map(|cell| cell.demand(id, now));
    known.reduce(|a, b| Demand {
        records: a.records + b.records,
        bytes: a.bytes + b.bytes,
    })
}

/// Time until the source's retention would delete records that `id` has not written: the least over
/// its lanes.
pub(crate) fn horizon(world: &World, id: &OutputId, now: Instant) -> Option<Duration> {
    let retention = world.retention?;
    let shards = world.shards.values();
    let furthest = shards.filter_map(|cell| cell.behind(id, now)).max()?;
    Some(retention.saturating_sub(furthest))
}
