//! Checks of checkpoints.

use std::fmt::Write as _;
use std::time::Duration;

use distributary_core::checkpoint::Position;
use distributary_core::clock::Millis;
use distributary_core::store::{LaneCheckpoint, LaneId};

use super::outputs::{LaneFacts, OutputFacts};
use super::source::{RecordFacts, durable_by};
use super::{Broken, Truth, line};
use crate::counter;

impl Truth {
    /// The store has these checkpoints now.
    pub(super) fn on_committed(&mut self, rows: &[LaneCheckpoint]) {
        if !self.running {
            self.violate(line::CRASH, "a checkpoint of an engine that has ended");
        }

        for LaneCheckpoint { lane, position, .. } in rows {
            let name = format!("{} at {}", lane.shard, lane.output);
            self.trace.text(lane.shard.as_str());
            self.trace.text(&format!("{position:?}"));
            self.trace.line(self.now, |l| {
                _ = write!(l, "checkpoint {name}: {position:?}");
            });

            if let Err((line, problem)) = self.check_checkpoint(lane, position) {
                let description = format!("checkpoint of {name}, {position:?}: {problem}");
                self.violate(line, description);
            }
        }
    }

    fn check_checkpoint(&mut self, lane: &LaneId, position: &Position) -> Result<(), Broken> {
        // The rows of the counter tell whether its checkpoints were right.
        if lane.output.as_str() == counter::ID {
            return Ok(());
        }
        let shard = self.shard(&lane.shard);
        let mut outputs = self.outputs.values_mut();
        let Some(output) = outputs.find(|o| o.id == lane.output && !o.removed) else {
            return Err((line::LIVE, "there is no such output".to_owned()));
        };

        let facts = output.lanes.entry(shard).or_default();
        facts.move_checkpoint(position)?;
        let (checked, from) = (facts.checked, facts.from);
        let of_shard = &self.shards[shard].records;
        let durable = durable_by(&self.records, of_shard, Some(position));
        facts.checked = checked.max(durable);

        for n in &of_shard[checked.min(durable)..durable] {
            output.check_passed(*n, &self.records[*n], from)?;
        }
        Ok(())
    }

    /// The store has deleted the checkpoints of these lanes.
    pub(super) fn on_forgotten(&mut self, lanes: &[LaneId]) {
        for lane in lanes {
            self.trace.text(lane.output.as_str());
            self.trace.line(self.now, |l| {
                _ = write!(l, "forgotten: {} at {}", lane.shard, lane.output);
            });

            let shard = self.shard(&lane.shard);
            let mut outputs = self.outputs.values_mut();
            let output = outputs.find(|o| o.id == lane.output && !o.removed);
            if let Some(facts) = output.and_then(|o| o.lanes.get_mut(&shard)) {
                // The start stays: the shard's records are still checked by the start.
                facts.checkpoint = None;
                facts.forgotten = true;
            }
        }
    }

    /// A record that was acknowledged longer than `age` ago, as all records before, and that no
    /// checkpoint covers, so that a crash would repeat the record; with the output's service. Only
    /// in shards that the engine has owned since `held_since`; `None`: in every shard.
    pub fn late_for_checkpoint(
        &self,
        age: Duration,
        held_since: Option<Duration>,
    ) -> Option<(String, usize)> {
        let late = self.late_for_checkpoint_at(self.now, age, held_since);
        late.or_else(|| self.late_rows(age, held_since))
    }

    pub(super) fn late_for_checkpoint_at(
        &self,
        now: Duration,
        age: Duration,
        held_since: Option<Duration>,
    ) -> Option<(String, usize)> {
        let is_held = |shard: usize| held_since.is_none_or(|since| self.is_held(shard, since, now));
        let outputs = self.outputs.iter().filter(|(_, output)| !output.removed);
        for (service, output) in outputs {
            // A shard that was deleted needs no checkpoint.
            let lanes = output.lanes.iter().filter(|(_, lane)| !lane.forgotten);
            for (shard, lane) in lanes.filter(|(shard, _)| is_held(**shard)) {
                let of_shard = &self.shards[*shard].records;
                if let Some((n, at)) = output.next_for_checkpoint(lane, of_shard)
                    && now.saturating_sub(at) > age
                {
                    return Some((service.clone(), n));
                }
            }
        }
        None
    }
}

impl LaneFacts {
    /// Moves the checkpoint, which must not go back.
    fn move_checkpoint(&mut self, position: &Position) -> Result<(), Broken> {
        match (&self.checkpoint, position) {
            (Some(before), after) if !after.covers(before) => {
                return Err((line::CRASH, format!("a step back from {before:?}")));
            }
            (None, Position::At(from)) => self.from = Some(*from),
            _ => {}
        }

        self.checkpoint = Some(position.clone());
        Ok(())
    }
}

impl OutputFacts {
    /// Checks a record that a checkpoint passes: acknowledged, written, and in order. Records that
    /// retention has deleted or that arrived before the output's start (`from`) don't count.
    fn check_passed(
        &mut self,
        n: usize,
        record: &RecordFacts,
        from: Option<Millis>,
    ) -> Result<(), Broken> {
        if record.trimmed || from.is_some_and(|from| record.arrival < from) {
            return Ok(());
        }

        if self.dead_letters.contains_key(&n) {
            return Ok(());
        }

        let place = self.place_of_durable(n)?;
        let mut last_places = std::mem::take(&mut self.last_places);
        let other = self.out_of_order(&mut last_places, record.key, n, place);
        self.last_places = last_places;
        match other {
            None => Ok(()),
            Some(other) => {
                let problem = format!("record {other} stands behind record {n} of its key");
                Err((line::ORDER, problem))
            }
        }
    }

    /// The place of a record that must be acknowledged and written.
    fn place_of_durable(&self, n: usize) -> Result<usize, Broken> {
        let state = self.state(n);
        if !state.is_durable() {
            let problem = format!("record {n} is not acknowledged ({state:?})");
            return Err((line::DURABLE, problem));
        }
        self.place(n).ok_or_else(|| {
            let problem = format!("record {n} was acknowledged but not written");
            (line::DURABLE, problem)
        })
    }

    /// The record that the lane's next checkpoint can pass, and when it was acknowledged.
    fn next_for_checkpoint(
        &self,
        lane: &LaneFacts,
        of_shard: &[usize],
    ) -> Option<(usize, Duration)> {
        let (passed, rest) = of_shard.split_at(lane.checked.max(lane.durable_at_start));
        let n = *rest.first()?;
        let at = self.acknowledged_at(n)?;

        // A record acknowledged before an earlier record, or before the dead letter of one, may be
        // read again before a checkpoint passes the record. One flush settles records that were
        // accepted in any order.
        let times = passed.iter().filter_map(|n| self.settled_at(*n));
        let last = times.max().unwrap_or_default();
        let is_next = match self.gathers {
            true => at > last,
            false => at >= last,
        };
        (is_next && self.state(n).is_durable()).then_some((n, at))
    }
}
