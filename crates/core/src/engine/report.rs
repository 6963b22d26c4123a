//! Builds [`Status`] from what the engine knows.

use std::time::Duration;

use crate::clock::Instant;
use crate::output::Demand;
use crate::store::OutputId;

use super::shard::{ShardCell, ShardState};
use super::slot::{Life, Place, Slot};
use super::status::{LanePhase, LaneStatus, OutputState, OutputStatus, SourceStatus, Status};
use super::world::{OutputEntry, World};
use super::{Shared, lock};

/// Reads of an idle shard are further apart than this only if they fail.
const SILENCE: Duration = Duration::from_secs(5);

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
    let mut reads = world.past_reads.clone();
    let mut status = SourceStatus {
        arn: shared.identity.arn.clone(),
        retention: world.retention,
        shards: world.shards.len(),
        gaps: world.past_gaps,
        recent_gaps: world.past_gap_list.clone(),
        ..SourceStatus::default()
    };
    for cell in world.shards.values() {
        let state = lock(&cell.state);
        status.shards_open += usize::from(!state.closed);
        status.shards_reading += usize::from(!state.feeds.is_empty());
        let head = state
            .head
            .and_then(|id| state.feed(id))
            .and_then(|f| f.behind);
        status.behind = status.behind.max(head);
        status.gaps += state.gap_count;
        status.recent_gaps.extend(state.gaps.iter().cloned());
        reads.add(&state.reads);
    }
    status.recent_gaps.sort_by_key(|gap| gap.at);
    let excess = status
        .recent_gaps
        .len()
        .saturating_sub(shared.settings.gaps_kept);
    status.recent_gaps.drain(..excess);
    (status.records, status.bytes, status.reads) = (reads.records, reads.bytes, reads.calls);
    (status.throttled, status.failed) = (reads.throttled, reads.failed);
    let newest = [world.source_error.clone(), reads.last_error];
    status.last_error = newest.into_iter().flatten().max_by_key(|e| e.at);
    status
}

fn output(world: &World, id: &OutputId, entry: &OutputEntry, now: Instant) -> OutputStatus {
    let mut status = OutputStatus {
        id: id.clone(),
        state: if entry.spec.paused {
            OutputState::Paused
        } else {
            OutputState::Running
        },
        counts: entry.past.clone(),
        behind: None,
        horizon: None,
        in_window: 0,
        catching_up: 0,
        waiting_for_parents: 0,
        done: 0,
        caught_up: true,
        last_error: None,
        advice: None,
        lanes: Vec::new(),
    };
    for (shard, cell) in &world.shards {
        let state = lock(&cell.state);
        let Some(slot) = state.lanes.get(id) else {
            continue;
        };
        let phase = phase(slot, &state);
        match phase {
            LanePhase::InWindow => status.in_window += 1,
            LanePhase::CatchingUp => status.catching_up += 1,
            LanePhase::WaitingForParents => status.waiting_for_parents += 1,
            LanePhase::Done => status.done += 1,
            LanePhase::Paused | LanePhase::Stopped => {}
        }
        if let (Some(reason), OutputState::Running) = (&slot.stopped, &status.state) {
            status.state = OutputState::Stopped {
                shard: shard.clone(),
                reason: reason.clone(),
            };
        }
        let behind = behind(slot, &state, now);
        let horizon = world
            .retention
            .zip(behind)
            .map(|(r, b)| r.saturating_sub(b));
        status.counts.add(&slot.counts);
        status.behind = status.behind.max(behind);
        if slot.life != Life::Done {
            status.horizon = [status.horizon, horizon].into_iter().flatten().min();
        }
        status.caught_up &= slot.caught_up;
        if slot.last_error.as_ref().map(|e| e.at) > status.last_error.as_ref().map(|e| e.at) {
            status.last_error.clone_from(&slot.last_error);
        }
        if status.advice.is_none() {
            status.advice.clone_from(&slot.advice);
        }
        status.lanes.push(LaneStatus {
            shard: shard.clone(),
            phase,
            position: slot.position.to_string(),
            counts: slot.counts.clone(),
            behind,
            horizon,
            caught_up: slot.caught_up,
            backing_off: slot.backing_off && !slot.held_back,
            held_back: slot.held_back,
        });
    }
    // What somebody has to mend comes first.
    status.advice = status
        .advice
        .or_else(|| entry.spec.output.advice(demand(world, id, now)));
    status
}

/// What the source brings for `id` a second: the sum over its open shards.
fn demand(world: &World, id: &OutputId, now: Instant) -> Option<Demand> {
    let of_shard = |cell: &ShardCell| {
        let state = lock(&cell.state);
        let wanted = !state.closed && state.lanes.contains_key(id);
        let at_tip = state
            .head
            .and_then(|id| state.feed(id))
            .is_some_and(|f| f.behind == Some(Duration::ZERO));
        let tip = state.server_now(now).filter(|_| at_tip);
        wanted.then(|| state.inflow.demand(tip)).flatten()
    };
    let known = world.shards.values().filter_map(|cell| of_shard(cell));
    known.reduce(|a, b| Demand {
        records: a.records + b.records,
        bytes: a.bytes + b.bytes,
    })
}

fn phase(slot: &Slot, state: &ShardState) -> LanePhase {
    match (slot.life, slot.place) {
        (Life::Done, _) => LanePhase::Done,
        _ if slot.stopped.is_some() => LanePhase::Stopped,
        _ if slot.paused => LanePhase::Paused,
        (Life::Waiting, _) => LanePhase::WaitingForParents,
        (Life::Live, Place::In { feed, .. }) if Some(feed) == state.head => LanePhase::InWindow,
        (Life::Live, Place::In { .. } | Place::Away { .. }) => LanePhase::CatchingUp,
    }
}

/// How far a lane is behind.
fn behind(slot: &Slot, state: &ShardState, now: Instant) -> Option<Duration> {
    let feed = match slot.place {
        Place::In { feed, no } => state.feed(feed).map(|f| (f, no)),
        Place::Away { .. } => None,
    };
    // What was so at the last read; a source that can't be read leaves everybody behind.
    let at_tip = feed.filter(|(f, no)| *no == f.next()).and_then(|(f, _)| {
        let silent = now.since(f.read_at);
        let silent = if silent > SILENCE {
            silent
        } else {
            Duration::ZERO
        };
        Some(f.behind? + silent)
    });
    let next = feed.and_then(|(f, no)| {
        let batch = f.get(no)?;
        let i = batch.first_after(&slot.position);
        (i < batch.batch.len()).then(|| batch.batch.record(i).arrival)
    });
    slot.behind(state.server_now(now), at_tip, next)
}

/// Time until the source's retention would delete what `id` has not written: the least over its lanes.
pub(crate) fn horizon(world: &World, id: &OutputId, now: Instant) -> Option<Duration> {
    let retention = world.retention?;
    let lanes = world.shards.values().filter_map(|cell| {
        let state = lock(&cell.state);
        let slot = state.lanes.get(id).filter(|s| s.life != Life::Done)?;
        behind(slot, &state, now)
    });
    lanes.max().map(|behind| retention.saturating_sub(behind))
}
