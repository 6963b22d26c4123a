//! Checks of a request that arrives at an output.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::num::NonZeroUsize;

use distributary_core::checkpoint::Position;
use distributary_core::engine::Order;
use distributary_core::output::RequestLimits;
use distributary_core::testing::Entry;

use super::outputs::{LaneFacts, OutputFacts, Request, SendState};
use super::source::RecordFacts;
use super::{Broken, Truth, line};

/// A request that arrives at a service.
pub(super) struct Arrival<'a> {
    pub(super) service: &'a str,
    pub(super) request: u64,
    pub(super) entries: &'a [Entry],
    pub(super) limits: RequestLimits,
    /// Requests of a lane that may be in flight together.
    pub(super) most_in_flight: NonZeroUsize,
}

impl Truth {
    pub(super) fn on_arrived(&mut self, arrival: &Arrival<'_>) {
        let Arrival {
            service, request, ..
        } = *arrival;
        let entries = arrival.entries.iter();
        let records: Vec<usize> = entries.map(|entry| self.record_number(entry)).collect();
        self.trace_arrival(arrival, &records);
        if let Some(letters) = self.dead_letters.get_mut(service) {
            letters.start_request(request, records);
            return;
        }

        if let Err((line, problem)) = self.check_arrival(arrival, &records) {
            self.violate(line, format!("{service}, request {request}: {problem}"));
            return;
        }

        let shard = self.records[records[0]].shard;
        if let Some(output) = self.outputs.get_mut(service) {
            output.start_request(request, shard, records);
        }
    }

    /// The number of an entry's record; `usize::MAX` for an unknown record.
    fn record_number(&self, entry: &Entry) -> usize {
        if let Some(row) = self.row_number(entry) {
            return row;
        }
        let number = entry.sequence.checked_sub(self.first);
        number
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(usize::MAX)
    }

    fn trace_arrival(&mut self, arrival: &Arrival<'_>, records: &[usize]) {
        let Arrival {
            service, request, ..
        } = *arrival;
        self.trace.text(service);
        self.trace.note(request);
        self.trace.line(self.now, |l| {
            _ = write!(l, "{service}: request {request} of {records:?}");
        });
        for n in records {
            self.trace.note(*n as u64);
        }
    }

    fn check_arrival(&mut self, arrival: &Arrival<'_>, records: &[usize]) -> Result<(), Broken> {
        let output = self.receiving_output(arrival.service)?;
        self.check_entries(arrival.entries, records)?;
        check_limits(arrival)?;
        let shard = self.check_shard(records)?;
        self.check_lease(shard)?;
        if let Some(lane) = output.lanes.get(&shard) {
            self.check_start(lane, records)?;
            self.check_in_flight(output, lane, records, arrival.most_in_flight)?;
        }

        self.check_repeats(output, records)?;
        if output.order == Order::Strict {
            self.check_strict(output, records)?;
        }
        self.check_parents(arrival, shard)
    }

    /// The output that a request is for, which must be able to receive requests.
    fn receiving_output(&self, service: &str) -> Result<&OutputFacts, Broken> {
        let Some(output) = self.outputs.get(service) else {
            return Err((line::LIVE, "the output is unknown".to_owned()));
        };
        if !self.running {
            let problem = "sent by an engine that has ended".to_owned();
            return Err((line::CRASH, problem));
        }
        if output.paused || output.removed {
            let problem = "the output is paused or removed".to_owned();
            return Err((line::LIVE, problem));
        }
        Ok(output)
    }

    /// Checks that each entry is a record of the source, unchanged.
    fn check_entries(&self, entries: &[Entry], records: &[usize]) -> Result<(), Broken> {
        for (entry, n) in entries.iter().zip(records) {
            let record = self.records.get(*n);
            if !record.is_some_and(|record| self.is_same(entry, record)) {
                let problem = format!("record {n} differs from the source's record");
                return Err((line::COMPLETE, problem));
            }
        }

        if records.is_empty() {
            return Err((line::BOUNDED, "the request has no records".to_owned()));
        }
        Ok(())
    }

    fn is_same(&self, entry: &Entry, record: &RecordFacts) -> bool {
        let key = entry.key.as_deref().and_then(|k| self.keys.get(k)).copied();
        entry.key.is_some() == record.key.is_some()
            && (key, entry.digest, entry.size) == (record.key, record.digest, record.size)
    }

    /// Checks that the records are of one shard, in its order; returns the shard.
    fn check_shard(&self, records: &[usize]) -> Result<usize, Broken> {
        let shard = self.records[records[0]].shard;
        let ascending = records.windows(2).all(|w| w[0] < w[1]);
        let of_shard = |n: &usize| self.records[*n].shard == shard;

        if ascending && records.iter().all(of_shard) {
            return Ok(shard);
        }
        let problem = "the records are not of one shard in its order".to_owned();
        Err((line::ORDER, problem))
    }

    /// Checks that no record is under the checkpoint or older than the output's start.
    fn check_start(&self, lane: &LaneFacts, records: &[usize]) -> Result<(), Broken> {
        let was_durable = |n: &&usize| self.records[**n].index < lane.durable_at_start;
        if let Some(n) = records.iter().find(was_durable) {
            let problem = format!("record {n} was under the checkpoint when the engine started");
            return Err((line::CRASH, problem));
        }

        self.check_arrivals(lane, records)
    }

    /// Checks that no record is older than the output's start.
    fn check_arrivals(&self, lane: &LaneFacts, records: &[usize]) -> Result<(), Broken> {
        let is_older = |n: &&usize| {
            let arrival = self.records[**n].arrival;
            lane.from.is_some_and(|from| arrival < from)
        };

        match records.iter().find(is_older) {
            None => Ok(()),
            Some(n) => {
                let problem = format!("record {n} arrived before the output's start");
                Err((line::LIVE, problem))
            }
        }
    }

    /// Checks that the lane's requests in flight are no more than the output takes, and share no
    /// key.
    fn check_in_flight(
        &self,
        output: &OutputFacts,
        lane: &LaneFacts,
        records: &[usize],
        most: NonZeroUsize,
    ) -> Result<(), Broken> {
        let count = lane.requests_in_flight.len();
        if count >= most.get() {
            let problem = format!("{count} requests of the same lane are in flight");
            return Err((line::ORDER, problem));
        }

        self.check_keys_in_flight(output, lane, records)
    }

    fn check_keys_in_flight(
        &self,
        output: &OutputFacts,
        lane: &LaneFacts,
        records: &[usize],
    ) -> Result<(), Broken> {
        let keys = self.keys_of(records);
        for other in &lane.requests_in_flight {
            let request = output.requests.get(other);
            let shares = |request: &Request| !keys.is_disjoint(&self.keys_of(&request.records));
            if request.is_some_and(shares) {
                let problem = format!("request {other}, in flight, has a key in common");
                return Err((line::ORDER, problem));
            }
        }
        Ok(())
    }

    fn keys_of(&self, records: &[usize]) -> BTreeSet<u32> {
        let keys = records.iter().map(|n| self.records[*n].key);
        keys.flatten().collect()
    }

    /// Checks that no record is sent again without a reason.
    fn check_repeats(&self, output: &OutputFacts, records: &[usize]) -> Result<(), Broken> {
        let is_needless = |n: &&usize| match output.state(**n) {
            SendState::InFlight | SendState::Accepted => true,
            SendState::Acknowledged => !self.is_beyond_a_gap(output, **n),
            SendState::NotSent
            | SendState::Failed
            | SendState::MustRepeat
            | SendState::MayRepeat
            | SendState::DeadLettered => false,
        };

        match records.iter().find(is_needless) {
            None => Ok(()),
            Some(n) => {
                let problem = format!("record {n} was acknowledged and is sent again");
                Err((line::ISOLATION, problem))
            }
        }
    }

    /// True if retention deleted an earlier record of the shard that the output does not have. A
    /// lane finds acknowledged records beyond its cursor by their distance to the cursor, so that
    /// the lane sends them again after a gap.
    fn is_beyond_a_gap(&self, output: &OutputFacts, n: usize) -> bool {
        let RecordFacts { shard, index, .. } = self.records[n];
        let from = output.durable_at_start(shard).min(index);
        let mut earlier = self.shards[shard].records[from..index].iter();
        earlier.any(|m| self.records[*m].trimmed && !output.state(*m).is_durable())
    }

    /// Checks the order `strict`: one record of a key in a request, and only after all earlier
    /// records of the key are acknowledged.
    fn check_strict(&self, output: &OutputFacts, records: &[usize]) -> Result<(), Broken> {
        let by_key = self.one_of_each_key(records)?;
        let last = &self.records[records[records.len() - 1]];
        let from = output.durable_at_start(last.shard).min(last.index);
        for n in &self.shards[last.shard].records[from..last.index] {
            let key = self.records[*n].key;
            let Some(later) = key.and_then(|key| by_key.get(&key)) else {
                continue;
            };
            let accepted = output.state(*n) == SendState::Accepted;
            if n < later && self.is_outstanding(output, *n) && !accepted {
                let problem = format!("strict: record {later} before {n} is acknowledged");
                return Err((line::ORDER, problem));
            }
        }
        Ok(())
    }

    /// The records by key; at most one of each key is allowed.
    fn one_of_each_key(&self, records: &[usize]) -> Result<BTreeMap<u32, usize>, Broken> {
        let mut by_key = BTreeMap::new();
        for n in records {
            let Some(key) = self.records[*n].key else {
                continue;
            };
            if let Some(other) = by_key.insert(key, *n) {
                let problem = format!("strict: records {other} and {n} of one key in one request");
                return Err((line::ORDER, problem));
            }
        }
        Ok(by_key)
    }

    /// True if an output should have the record, and a checkpoint may not pass the record yet.
    fn is_outstanding(&self, output: &OutputFacts, n: usize) -> bool {
        self.wants(output, n) && !output.state(n).is_durable()
    }

    /// The first record of a shard that an output should have and that is not durable there.
    fn first_outstanding(&self, output: &OutputFacts, shard: usize) -> Option<usize> {
        let of_shard = &self.shards[shard].records;
        let from = output.durable_at_start(shard).min(of_shard.len());
        let mut rest = of_shard[from..].iter().copied();
        rest.find(|n| self.is_outstanding(output, *n))
    }

    /// Checks that the output has the records of all ancestors of a shard.
    fn check_parents(&mut self, arrival: &Arrival<'_>, shard: usize) -> Result<(), Broken> {
        let mut to_check = self.shards[shard].parents.clone();
        while let Some(parent) = to_check.pop() {
            let Some(output) = self.outputs.get(arrival.service) else {
                return Ok(());
            };
            let lane = output.lanes.get(&parent);
            if lane.is_some_and(|l| l.finished || l.checkpoint == Some(Position::Closed)) {
                continue;
            }

            if let Some(n) = self.first_outstanding(output, parent) {
                let request = arrival.request;
                let problem =
                    format!("request {request}: a child's record before its parent's {n}");
                return Err((line::RESHARDING, problem));
            }

            to_check.extend(&self.shards[parent].parents);
            if let Some(output) = self.outputs.get_mut(arrival.service) {
                output.lanes.entry(parent).or_default().finished = true;
            }
        }
        Ok(())
    }
}

fn check_limits(arrival: &Arrival<'_>) -> Result<(), Broken> {
    let Arrival {
        entries, limits, ..
    } = arrival;
    let count = entries.len();
    let bytes: usize = entries.iter().map(|e| e.size).sum();
    if count > 1 && (count > limits.entries || bytes > limits.bytes) {
        let problem = format!("{count} entries and {bytes} bytes are more than {limits:?}");
        return Err((line::BOUNDED, problem));
    }
    Ok(())
}

impl OutputFacts {
    fn start_request(&mut self, request: u64, shard: usize, records: Vec<usize>) {
        for n in &records {
            self.resent += u64::from(self.state(*n) != SendState::NotSent);
            self.set_state(*n, SendState::InFlight);
        }

        let lane = self.lanes.entry(shard).or_default();
        lane.requests_in_flight.insert(request);
        let facts = Request {
            shard,
            records,
            order: self.order,
            updates: self.updates,
        };
        self.requests.insert(request, facts);
    }

    fn durable_at_start(&self, shard: usize) -> usize {
        self.lanes.get(&shard).map_or(0, |l| l.durable_at_start)
    }
}
