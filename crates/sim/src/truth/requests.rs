//! What must hold when a request comes to an output, and what its answer means.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::num::NonZeroUsize;

use distributary_core::checkpoint::Position;
use distributary_core::engine::Order;
use distributary_core::output::{Outcome, RequestLimits, Verdict};
use distributary_core::testing::Entry;

use super::{OutputTruth, Record, Request, Sent, Truth, line};

impl Truth {
    pub(super) fn arrived(
        &mut self,
        service: &str,
        request: u64,
        entries: &[Entry],
        profile: (RequestLimits, NonZeroUsize),
    ) {
        let records: Vec<usize> = entries
            .iter()
            .map(|e| {
                e.sequence
                    .checked_sub(self.first)
                    .and_then(|n| usize::try_from(n).ok())
                    .unwrap_or(usize::MAX)
            })
            .collect();
        self.trace.line(self.now, |l| {
            _ = write!(l, "{service}: request {request} of {records:?}");
        });
        for n in &records {
            self.trace.note(*n as u64);
        }
        if let Err((line, what)) = self.judge(service, request, entries, &records, profile) {
            self.violate(line, format!("{service}, request {request}: {what}"));
            return;
        }
        let shard = self.records[records[0]].shard;
        let Some(output) = self.outputs.get_mut(service) else {
            return;
        };
        for n in &records {
            output.resent += u64::from(output.sent(*n) != Sent::Not);
            output.set(*n, Sent::InFlight);
        }
        output
            .lanes
            .entry(shard)
            .or_default()
            .flying
            .insert(request);
        output.requests.insert(
            request,
            Request {
                shard,
                records,
                order: output.order,
                updates: output.updates,
            },
        );
    }

    /// What must hold when a request comes.
    fn judge(
        &mut self,
        service: &str,
        request: u64,
        entries: &[Entry],
        records: &[usize],
        (limits, in_flight): (RequestLimits, NonZeroUsize),
    ) -> Result<(), (&'static str, String)> {
        let Some(output) = self.outputs.get(service) else {
            return Err((line::LIVE, "an unknown output".into()));
        };
        if !self.running {
            return Err((
                line::CRASH,
                "a request by an engine that is gone".to_owned(),
            ));
        }
        if output.silent || output.removed {
            return Err((line::LIVE, "it is paused, or removed".to_owned()));
        }
        self.same(entries, records)?;
        let bytes: usize = entries.iter().map(|e| e.size).sum();
        if entries.len() > 1 && (entries.len() > limits.entries || bytes > limits.bytes) {
            return Err((
                line::BOUNDED,
                format!("{} entries, {bytes} bytes, over {limits:?}", entries.len()),
            ));
        }
        let shard = self.records[records[0]].shard;
        if records.windows(2).any(|w| w[0] >= w[1])
            || records.iter().any(|n| self.records[*n].shard != shard)
        {
            return Err((
                line::ORDER,
                "its records are not a shard's, in order".to_owned(),
            ));
        }
        if let Some(lane) = output.lanes.get(&shard) {
            if let Some(n) = records
                .iter()
                .find(|n| self.records[**n].index < lane.floor)
            {
                return Err((
                    line::CRASH,
                    format!("record {n} was under the checkpoint when the engine started"),
                ));
            }
            if let Some(n) = records
                .iter()
                .find(|n| lane.from.is_some_and(|f| self.records[**n].arrival < f))
            {
                return Err((
                    line::LIVE,
                    format!("record {n} arrived before the output's start"),
                ));
            }
            self.judge_flying(output, &lane.flying, records, in_flight)?;
        }
        let again = |n: &&usize| match output.sent(**n) {
            Sent::InFlight => true,
            Sent::Acked => !self.beyond_a_gap(output, **n),
            Sent::Not | Sent::Failed | Sent::Behind | Sent::Loose => false,
        };
        if let Some(n) = records.iter().find(again) {
            return Err((
                line::ISOLATION,
                format!("record {n} was acknowledged, and is sent again for no reason"),
            ));
        }
        if output.order == Order::Strict {
            self.judge_strict(output, records)?;
        }
        self.judge_parents(service, shard, request)
    }

    /// Requests of a lane that are in flight together are no more than the output takes, and share no
    /// key.
    fn judge_flying(
        &self,
        output: &OutputTruth,
        flying: &BTreeSet<u64>,
        records: &[usize],
        in_flight: NonZeroUsize,
    ) -> Result<(), (&'static str, String)> {
        if flying.len() >= in_flight.get() {
            let text = format!("{} requests of the same lane are in flight", flying.len());
            return Err((line::ORDER, text));
        }

        let keys: BTreeSet<u32> = records
            .iter()
            .filter_map(|n| self.records[*n].key)
            .collect();
        for other in flying {
            let Some(request) = output.requests.get(other) else {
                continue;
            };
            let mut theirs = request.records.iter().filter_map(|n| self.records[*n].key);
            if theirs.any(|key| keys.contains(&key)) {
                let text = format!("request {other}, in flight, has a key in common");
                return Err((line::ORDER, text));
            }
        }
        Ok(())
    }

    /// True if a record of its shard before `n` is gone from the source and not at the output: what a lane knows of
    /// records beyond its cursor is counted from there, so that it sends them again.
    fn beyond_a_gap(&self, output: &OutputTruth, n: usize) -> bool {
        let Record { shard, index, .. } = self.records[n];
        let floor = output.lanes.get(&shard).map_or(0, |l| l.floor).min(index);
        self.shards[shard].records[floor..index]
            .iter()
            .any(|m| self.records[*m].trimmed && !output.sent(*m).counts())
    }

    /// Each record is what was put.
    fn same(&self, entries: &[Entry], records: &[usize]) -> Result<(), (&'static str, String)> {
        for (entry, n) in entries.iter().zip(records) {
            let same = self.records.get(*n).is_some_and(|r| {
                let key = entry.key.as_deref().and_then(|k| self.keys.get(k)).copied();
                entry.key.is_some() == r.key.is_some()
                    && (key, entry.digest, entry.size) == (r.key, r.digest, r.size)
            });
            if !same {
                return Err((
                    line::COMPLETE,
                    format!("record {n} is not what the source has"),
                ));
            }
        }
        if records.is_empty() {
            return Err((line::BOUNDED, "a request without records".to_owned()));
        }
        Ok(())
    }

    fn judge_strict(
        &self,
        output: &OutputTruth,
        records: &[usize],
    ) -> Result<(), (&'static str, String)> {
        let shard = &self.shards[self.records[records[0]].shard];
        let first = self.records[records[0]].index;
        let lane = output.lanes.get(&self.records[records[0]].shard);
        let floor = lane.map_or(0, |l| l.floor);
        let mut keys: BTreeMap<u32, usize> = BTreeMap::new();
        let mut wanted: BTreeSet<u32> = BTreeSet::new();
        for n in records {
            let Some(key) = self.records[*n].key else {
                continue;
            };
            if let Some(other) = keys.insert(key, *n) {
                return Err((
                    line::ORDER,
                    format!("strict: records {other} and {n} of one key in one request"),
                ));
            }
            wanted.insert(key);
        }
        // From the last record backwards: what stands before each one in its shard, and is of its key.
        let last = records.last().map_or(first, |n| self.records[*n].index);
        for n in &shard.records[floor.min(last)..last] {
            let record = &self.records[*n];
            let Some(later) = record
                .key
                .filter(|k| wanted.contains(k))
                .and_then(|k| keys.get(&k))
            else {
                continue;
            };
            if n < later && self.wanted(output, *n) && !output.sent(*n).counts() {
                return Err((
                    line::ORDER,
                    format!("strict: record {later} is sent before {n} is acknowledged"),
                ));
            }
        }
        Ok(())
    }

    /// All ancestors' records are there.
    fn judge_parents(
        &mut self,
        service: &str,
        shard: usize,
        request: u64,
    ) -> Result<(), (&'static str, String)> {
        let mut look = self.shards[shard].parents.clone();
        while let Some(parent) = look.pop() {
            let Some(output) = self.outputs.get(service) else {
                return Ok(());
            };
            let lane = output.lanes.get(&parent);
            if lane.is_some_and(|l| l.over || l.row == Some(Position::Closed)) {
                continue;
            }
            let floor = lane.map_or(0, |l| l.floor);
            let mut rest =
                self.shards[parent].records[floor.min(self.shards[parent].records.len())..].iter();
            if let Some(n) = rest.find(|n| self.wanted(output, **n) && !output.sent(**n).counts()) {
                let what = format!(
                    "request {request}: a child's record comes before its parent's record {n}"
                );
                return Err((line::RESHARDING, what));
            }
            look.extend(&self.shards[parent].parents);
            if let Some(output) = self.outputs.get_mut(service) {
                output.lanes.entry(parent).or_default().over = true;
            }
        }
        Ok(())
    }

    pub(super) fn applied(
        &mut self,
        service: &str,
        request: u64,
        places: &[Option<usize>],
        late: bool,
    ) {
        self.trace.line(self.now, |l| {
            let n = places.iter().flatten().count();
            _ = write!(
                l,
                "{service}: {n} records of request {request} are written{}",
                if late { ", late" } else { "" }
            );
        });
        let Some(output) = self.outputs.get_mut(service).filter(|_| !late) else {
            return;
        };
        let Some(request) = output.requests.get(&request) else {
            return;
        };
        let current = request.updates == output.updates;
        for (n, place) in request.records.clone().into_iter().zip(places) {
            if let Some(place) = place {
                if output.last.len() <= n {
                    output.last.resize(n + 1, None);
                }
                output.last[n] = Some(*place);
                if !current {
                    continue;
                }
                if output.written.len() <= n {
                    output.written.resize(n + 1, false);
                }
                output.rewritten += u64::from(std::mem::replace(&mut output.written[n], true));
            }
        }
    }

    /// The request is over.
    pub(super) fn settle(
        &mut self,
        service: &str,
        request: u64,
        then: impl FnOnce(&mut OutputTruth, &[usize]),
    ) {
        let Some(output) = self.outputs.get_mut(service) else {
            return;
        };
        let Some(Request { shard, records, .. }) = output.requests.remove(&request) else {
            return;
        };
        output
            .lanes
            .entry(shard)
            .or_default()
            .flying
            .remove(&request);
        then(output, &records);
    }

    pub(super) fn answered(&mut self, service: &str, request: u64, outcome: &Outcome) {
        let now = self.now;
        self.trace.line(now, |l| {
            let what = match outcome {
                Outcome::Durable => "durable".to_owned(),
                Outcome::PerRecord(all) => {
                    let ok = all.iter().filter(|v| matches!(v, Verdict::Durable)).count();
                    format!("{ok} of {} durable", all.len())
                }
                Outcome::Rejected(t) => format!("rejected: {t}"),
                Outcome::Unknown(t) => format!("unknown: {t}"),
                Outcome::Accepted => "accepted".to_owned(),
                Outcome::Stale => "stale".to_owned(),
            };
            _ = write!(l, "{service}: request {request} is answered: {what}");
        });
        // In `resend`, what stands behind a failed record of its key.
        let mut failed: BTreeSet<u32> = BTreeSet::new();
        let records = &self.records;
        let Some(output) = self.outputs.get_mut(service) else {
            return;
        };
        let Some(Request {
            shard,
            records: sent,
            order,
            updates,
        }) = output.requests.remove(&request)
        else {
            return;
        };
        let lane = output.lanes.entry(shard).or_default();
        lane.flying.remove(&request);
        if matches!(outcome, Outcome::Durable | Outcome::PerRecord(_)) {
            lane.acked_at = now;
        }
        for (i, n) in sent.iter().enumerate() {
            let durable = match outcome {
                Outcome::Durable => true,
                Outcome::PerRecord(all) if all.len() == sent.len() => {
                    matches!(all[i], Verdict::Durable)
                }
                Outcome::PerRecord(_)
                | Outcome::Rejected(_)
                | Outcome::Unknown(_)
                | Outcome::Accepted
                | Outcome::Stale => false,
            };
            let key = records[*n].key;
            if !durable {
                failed.extend(key);
                output.set(*n, Sent::Failed);
                continue;
            }
            let behind = order == Order::Resend && key.is_some_and(|k| failed.contains(&k));
            output.set(
                *n,
                match (behind, updates == output.updates) {
                    (true, _) => Sent::Behind,
                    (false, true) => Sent::Acked,
                    // With the new settings it may be sent again.
                    (false, false) => Sent::Loose,
                },
            );
            if output.acked.len() <= *n {
                output.acked.resize(n + 1, None);
            }
            output.acked[*n] = Some((now, order == Order::Unordered));
        }
    }
}
