//! Checks of the engine's status against the facts.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use distributary_core::engine::{Counts, Engine, EngineError, OutputStatus, Status};

use super::{Run, SimulatedOutput};
use crate::truth::{Counted, Truth, line};

/// How long a pristine output may make no progress in a shard with records to send, while other
/// outputs are held and reads work.
const STANDSTILL: Duration = Duration::from_secs(8);
/// Where reads have a rate, the limit of a standstill grows by the time of this many largest
/// answers.
const STANDSTILL_ANSWERS: u32 = 4;

/// The moment of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Requests may be in flight.
    Running,
    /// Everything was sent and nothing is in flight, so the counts must be exact.
    Quiet,
}

impl Run<'_> {
    /// Checks the running engine.
    pub(super) fn check_engine(&mut self) {
        let Some(engine) = &self.engine else { return };
        let status = engine.status();
        if let Some(error) = ended(engine) {
            let description = format!("the engine ended: {error}");
            self.observer.truth().violate(line::ENGINE, description);
        }

        self.check_status(&status, Moment::Running);
        self.check_standstill();
    }

    /// Checks that faults of other outputs don't stop a pristine output.
    fn check_standstill(&self) {
        let limit = self.standstill_limit();
        if !self.is_calm_for(limit) || !self.has_roomy_budget() {
            return;
        }

        let before = self.clock.server().minus(limit);
        for output in self.running_pristine() {
            let mut truth = self.observer.truth();
            let Some(n) = truth.stalled(&output.name, before, self.now() - limit) else {
                continue;
            };
            self.trace_status(&mut truth);
            let name = &output.name;
            let description = format!("{name} makes no progress for {limit:?} before record {n}");
            truth.violate(line::ISOLATION, description);
        }
    }

    fn running_pristine(&self) -> impl Iterator<Item = &SimulatedOutput> {
        let pristine = self.outputs.iter().filter(|o| o.shape.pristine);
        pristine.filter(|o| !o.paused && !o.removed)
    }

    /// True if reads, the store and the engine have worked for this time. The network of the whole
    /// path is never calm.
    fn is_calm_for(&self, time: Duration) -> bool {
        let since = self.reads_calm_since.max(self.calm_since);
        let calm = self.now().saturating_sub(since);
        self.reads_are_calm && calm >= time && self.scenario.whole.is_none()
    }

    fn standstill_limit(&self) -> Duration {
        let shape = &self.scenario.shape;
        let bytes = shape.stream.answer_bytes as f64;
        let rate = shape.stream.limits.bytes_per_second;
        let answer = rate.map_or(Duration::ZERO, |rate| {
            Duration::from_secs_f64(bytes / rate as f64)
        });
        STANDSTILL + shape.settings.grouping_patience + answer * STANDSTILL_ANSWERS
    }

    /// True if the budget has room for several reads. With less, a read can have to wait for the
    /// deadline of another output's request, which holds its memory.
    pub(super) fn has_roomy_budget(&self) -> bool {
        let budget = self.scenario.shape.settings.memory_budget;
        budget >= 5 * self.scenario.largest_read(3)
    }

    /// Writes the engine's status to the trace, for the reader of a violation.
    pub(super) fn trace_status(&self, truth: &mut Truth) {
        let status = self.engine.as_ref().map(|e| format!("{:?}", e.status()));
        truth.trace.line(self.now(), |l| {
            l.push_str(&status.unwrap_or_default());
        });
    }

    /// Checks a status of the engine.
    pub(super) fn check_status(&self, status: &Status, moment: Moment) {
        let memory = self.observer.memory();
        let mut truth = self.observer.truth();
        truth.trace.note(status.memory.used as u64);
        note_gaps(&mut truth, status);

        let peak = status.memory.peak;
        let most = memory.map_or(usize::MAX, |m| m.most);
        if peak > most {
            let description = format!("{peak} bytes were reserved, at most {most} are allowed");
            truth.violate(line::BOUNDED, description);
        }

        for output in &status.outputs {
            let mut present = self.outputs.iter().filter(|o| !o.removed);
            if let Some(simulated) = present.find(|o| o.id == output.id) {
                self.check_counts(&mut truth, simulated, output, moment);
            }
        }
        self.check_checkpoints(&mut truth);
    }

    /// Checks that checkpoints follow acknowledgements within a few intervals, while the store is
    /// calm.
    fn check_checkpoints(&self, truth: &mut Truth) {
        let interval = self.scenario.shape.settings.checkpoint_interval;
        // Where commits take long, they are up to a second apart.
        let interval = interval.max(Duration::from_secs(1));
        let limit = interval * 3 + Duration::from_secs(1);
        let calm = self.now().saturating_sub(self.calm_since);
        if !self.store_is_calm || calm <= limit * 3 {
            return;
        }

        let held_since = self.now().saturating_sub(limit * 3);
        if let Some((service, n)) = truth.late_for_checkpoint(limit, Some(held_since)) {
            let description = format!("{service}: no checkpoint covers record {n} after {limit:?}");
            truth.violate(line::CRASH, description);
        }
    }

    /// Checks that an output's counts are balanced and agree with the facts.
    fn check_counts(
        &self,
        truth: &mut Truth,
        simulated: &SimulatedOutput,
        output: &OutputStatus,
        moment: Moment,
    ) {
        let name = &simulated.name;
        let counts = &output.counts;
        let mixed = counts.durable ^ counts.read << 20 ^ counts.requests << 40;
        truth.trace.note(mixed);
        if !is_balanced(output) {
            let description = format!("{name}: the counts are not balanced: {counts:?}");
            truth.violate(line::SILENT, description);
        }

        let Some(facts) = truth.counted(name) else {
            return;
        };
        let records = truth.record_count() as u64;
        if !is_possible(counts, facts, records) {
            let description =
                format!("{name}: counted {counts:?}, in fact {facts:?} of {records} records");
            truth.violate(line::SILENT, description);
            return;
        }

        if moment == Moment::Quiet && !self.is_exact(counts, facts) {
            let description = format!("{name}: in the end counted {counts:?}, in fact {facts:?}");
            truth.violate(line::SILENT, description);
        }
    }

    /// True if the counts of an output without requests in flight agree exactly with the facts. A
    /// record acknowledged beyond a gap is not counted as durable.
    fn is_exact(&self, counts: &Counts, facts: Counted) -> bool {
        let reread = facts.reread;
        let is_between = |count: u64, fact: u64| fact <= count && count <= fact + reread;
        let has_durable = is_between(counts.durable, facts.acked) || self.expired;
        let has_dead_letters =
            is_between(counts.dead_lettered, facts.dead_lettered) || self.expired;
        let has_repeats = counts.repeats >= facts.rewritten || reread > 0 || self.expired;
        has_durable && has_dead_letters && has_repeats && counts.in_flight == 0
    }
}

fn note_gaps(truth: &mut Truth, status: &Status) {
    for gap in &status.source.recent_gaps {
        for output in &gap.outputs {
            truth.gap(&gap.shard, output);
        }
    }
}

/// True if the counts of an output and of each lane add up.
fn is_balanced(output: &OutputStatus) -> bool {
    let mut lanes = output.lanes.iter();
    output.counts.balanced() && lanes.all(|lane| lane.counts.balanced())
}

/// True if counts of a running engine don't contradict the facts. A record is counted as read at
/// most once, of `records` in all, unless the engine lost the record's shard and gained it again.
fn is_possible(counts: &Counts, facts: Counted, records: u64) -> bool {
    let reread = facts.reread;
    counts.durable <= facts.acked + reread
        && counts.dead_lettered <= facts.dead_lettered + reread
        && counts.filtered <= facts.filtered + reread
        && counts.repeats <= facts.resent + reread
        && counts.read <= records + reread
}

/// The error that ended the engine, if the engine has ended.
pub(crate) fn ended(engine: &Engine) -> Option<EngineError> {
    let ended = pin!(engine.ended());
    let mut context = Context::from_waker(Waker::noop());
    match ended.poll(&mut context) {
        Poll::Ready(error) => Some(error),
        Poll::Pending => None,
    }
}
