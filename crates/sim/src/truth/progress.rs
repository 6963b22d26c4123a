//! What must hold of checkpoints, and in the end.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use distributary_core::checkpoint::Position;
use distributary_core::store::{LaneCheckpoint, LaneId};

use super::{OutputTruth, Record, Truth, line};

impl Truth {
    pub(super) fn committed(&mut self, rows: &[LaneCheckpoint]) {
        if !self.running {
            self.violate(line::CRASH, "a checkpoint by an engine that is gone");
        }
        for LaneCheckpoint { lane, position, .. } in rows {
            self.trace.text(lane.shard.as_str());
            self.trace.text(&format!("{position:?}"));
            self.trace.line(self.now, |l| {
                _ = write!(
                    l,
                    "checkpoint {} at {}: {position:?}",
                    lane.shard, lane.output
                );
            });
            if let Err((line, what)) = self.checkpoint(lane, position) {
                self.violate(
                    line,
                    format!(
                        "checkpoint of {} at {}, {position:?}: {what}",
                        lane.shard, lane.output
                    ),
                );
            }
        }
    }

    fn checkpoint(
        &mut self,
        lane: &LaneId,
        position: &Position,
    ) -> Result<(), (&'static str, String)> {
        let shard = self.shard(&lane.shard);
        let Self {
            outputs,
            shards,
            records,
            ..
        } = self;
        let Some(output) = outputs
            .values_mut()
            .find(|o| o.id == lane.output && !o.removed)
        else {
            return Err((line::LIVE, "there is no such output".to_owned()));
        };
        let all = &shards[shard].records;
        let known = output.lanes.entry(shard).or_default();
        match (&known.row, position) {
            (Some(before), after) if !after.covers(before) => {
                return Err((line::CRASH, format!("it goes back from {before:?}")));
            }
            (None, Position::At(from)) => known.from = Some(*from),
            _ => {}
        }
        known.row = Some(position.clone());
        let (judged, from) = (known.judged, known.from);
        let durable = durable_by(records, all, Some(position));
        known.judged = judged.max(durable);
        for n in &all[judged.min(durable)..durable] {
            let record = &records[*n];
            if record.trimmed || from.is_some_and(|from| record.arrival < from) {
                continue;
            }
            if !output.sent(*n).counts() {
                return Err((
                    line::DURABLE,
                    format!("record {n} is not acknowledged ({:?})", output.sent(*n)),
                ));
            }
            let place = output.last.get(*n).copied().flatten();
            let Some(place) = place else {
                return Err((
                    line::DURABLE,
                    format!("record {n} was acknowledged and is not there"),
                ));
            };
            if let Some(other) = record
                .key
                .and_then(|key| in_order(&mut output.places, key, *n, place))
                && !output.loose(*n)
            {
                return Err((
                    line::ORDER,
                    format!("record {other} stands behind record {n} of its key"),
                ));
            }
        }
        Ok(())
    }

    pub(super) fn forgotten(&mut self, lanes: &[LaneId]) {
        for lane in lanes {
            self.trace.text(lane.output.as_str());
            self.trace.line(self.now, |l| {
                _ = write!(l, "forgotten: {} at {}", lane.shard, lane.output);
            });
            let shard = self.shard(&lane.shard);
            let here = self
                .outputs
                .values_mut()
                .find(|o| o.id == lane.output && !o.removed);
            if let Some(known) = here.and_then(|o| o.lanes.get_mut(&shard)) {
                // Where it began still counts: its records are judged by that.
                (known.row, known.forgotten) = (None, true);
            }
        }
    }

    /// What must hold in the end, when everything was well long enough.
    pub fn judge_end(&mut self) {
        let services: Vec<String> = self.outputs.keys().cloned().collect();
        for service in services {
            if let Err((line, what)) = self.judge_output(&service) {
                self.violate(line, format!("{service}: {what}"));
            }
        }
    }

    fn judge_output(&self, service: &str) -> Result<(), (&'static str, String)> {
        let Some(output) = self.outputs.get(service).filter(|o| !o.removed) else {
            return Ok(());
        };
        self.judge_loss(output)?;
        let mut keys: BTreeMap<u32, (usize, usize)> = BTreeMap::new();
        for (n, record) in self.records.iter().enumerate() {
            if !self.wanted(output, n) {
                continue;
            }
            let place = output.last.get(n).copied().flatten();
            let Some(place) = place.filter(|_| output.has(n)) else {
                return Err((line::COMPLETE, format!("record {n} is not there")));
            };
            if let Some(other) = record
                .key
                .and_then(|key| in_order(&mut keys, key, n, place))
                && !output.loose(n)
            {
                return Err((
                    line::ORDER,
                    format!("record {other} stands behind record {n} of its key"),
                ));
            }
        }
        Ok(())
    }

    /// What retention took before the output had it was reported as a gap.
    fn judge_loss(&self, output: &OutputTruth) -> Result<(), (&'static str, String)> {
        for n in output.owed.iter().filter(|n| !output.has(**n)) {
            let shard = self.records[*n].shard;
            let reported = self
                .gaps
                .iter()
                .any(|(id, o)| *o == output.id && self.shard_ids.get(id) == Some(&shard));
            if !reported {
                return Err((
                    line::SILENT,
                    format!("record {n} is lost to retention, and no gap was reported"),
                ));
            }
        }
        Ok(())
    }

    /// What happened at an output since the engine started last.
    pub fn counted(&self, service: &str) -> Option<Counted> {
        let output = self.outputs.get(service).filter(|o| !o.removed)?;
        let acked = output.sent.iter().filter(|s| s.counts()).count() as u64;
        Some(Counted {
            acked,
            resent: output.resent,
            rewritten: output.rewritten,
        })
    }

    /// The first record that was acknowledged, with all before it, longer than `age` ago, and lies beyond the
    /// checkpoint: it would be repeated after a crash.
    pub fn late_for_checkpoint(&self, age: Duration) -> Option<(String, usize)> {
        for (service, output) in self.outputs.iter().filter(|(_, o)| !o.removed) {
            // A shard that is gone needs no checkpoint.
            for (shard, lane) in output.lanes.iter().filter(|(_, l)| !l.forgotten) {
                let (passed, rest) = self.shards[*shard]
                    .records
                    .split_at(lane.judged.max(lane.floor));
                let when = |n: &usize| output.acked.get(*n).copied().flatten().map(|(at, _)| at);
                let last = passed.iter().filter_map(when).max().unwrap_or_default();
                // What was acknowledged before a record before it may be passed only when it is read again.
                let acked =
                    |n: &&usize| when(n).filter(|at| *at >= last && output.sent(**n).counts());
                let next = rest.first().and_then(|n| Some((n, acked(&n)?)));
                if let Some((n, at)) = next
                    && self.now.saturating_sub(at) > age
                {
                    return Some((service.clone(), *n));
                }
            }
        }
        None
    }
}

/// How many of a shard's records, `all`, are durable by `position`.
pub(super) fn durable_by(records: &[Record], all: &[usize], position: Option<&Position>) -> usize {
    match position {
        None | Some(Position::TrimHorizon) => 0,
        Some(Position::At(from)) => all.partition_point(|n| records[*n].arrival < *from),
        Some(Position::After {
            sequence: last,
            sub: None,
        }) => all.partition_point(|n| records[*n].sequence <= *last),
        Some(Position::After {
            sequence: last,
            sub: Some(_),
        }) => all.partition_point(|n| records[*n].sequence < *last),
        Some(Position::Closed) => all.len(),
    }
}

/// The place of a key's record must be behind those of all before it; the one before that is not, otherwise.
fn in_order(
    places: &mut BTreeMap<u32, (usize, usize)>,
    key: u32,
    n: usize,
    place: usize,
) -> Option<usize> {
    match places.get(&key) {
        Some((other, at)) if *at > place => Some(*other),
        _ => {
            places.insert(key, (n, place));
            None
        }
    }
}

/// What happened at an output since the engine started last.
#[derive(Clone, Copy, Debug)]
pub struct Counted {
    /// Records that are acknowledged.
    pub acked: u64,
    /// Sendings of records that had been sent.
    pub resent: u64,
    /// Writings of records that had been written.
    pub rewritten: u64,
}
