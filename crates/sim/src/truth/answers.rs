//! The writes and answers of requests.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::time::Duration;

use distributary_core::engine::Order;
use distributary_core::output::{Outcome, Verdict};

use super::Truth;
use super::outputs::{Acknowledgement, OutputFacts, Request, SendState};
use super::source::RecordFacts;

impl Truth {
    /// A service wrote entries of a request; `places` has the place of each entry written. A late
    /// write arrived after the engine had given the request up.
    pub(super) fn on_applied(
        &mut self,
        service: &str,
        request: u64,
        places: &[Option<usize>],
        late: bool,
    ) {
        self.trace.note(mix(request, places));
        self.trace.line(self.now, |l| {
            let count = places.iter().flatten().count();
            let late = if late { ", late" } else { "" };
            _ = write!(
                l,
                "{service}: {count} records of request {request} written{late}"
            );
        });

        if let Some(output) = self.outputs.get_mut(service).filter(|_| !late) {
            output.set_places(request, places);
        }
    }

    /// The engine dropped a request; the outcome is unknown.
    pub(super) fn on_abandoned(&mut self, service: &str, request: u64) {
        self.trace.line(self.now, |l| {
            _ = write!(l, "{service}: request {request} is abandoned");
        });

        let Some(output) = self.outputs.get_mut(service) else {
            return;
        };
        if let Some(request) = output.end_request(request) {
            for n in request.records {
                output.set_state(n, SendState::Failed);
            }
        }
    }

    /// The engine has the outcome of a request.
    pub(super) fn on_answered(&mut self, service: &str, request: u64, outcome: &Outcome) {
        let now = self.now;
        self.trace.text(service);
        self.trace.note(request);
        self.trace.line(now, |l| {
            let result = describe(outcome);
            _ = write!(l, "{service}: request {request} is answered: {result}");
        });

        if self.dead_letters.contains_key(service) {
            return self.on_dead_letters_answered(service, request, outcome);
        }
        let Some(output) = self.outputs.get_mut(service) else {
            return;
        };
        if output.accept(request, outcome, &self.records, now) {
            return;
        }
        if let Some(request) = output.end_request(request) {
            output.apply_outcome(&request, outcome, &self.records, now);
        }
    }
}

/// A hash of a request's number and places.
fn mix(request: u64, places: &[Option<usize>]) -> u64 {
    let written = places.iter().flatten();
    written.fold(request, |hash, place| hash.wrapping_mul(31) ^ *place as u64)
}

fn describe(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Durable => "durable".to_owned(),
        Outcome::PerRecord(verdicts) => {
            let durable = verdicts.iter().filter(|v| matches!(v, Verdict::Durable));
            format!("{} of {} durable", durable.count(), verdicts.len())
        }
        Outcome::Rejected(trouble) => format!("rejected: {trouble}"),
        Outcome::Unknown(trouble) => format!("unknown: {trouble}"),
        Outcome::Accepted => "accepted".to_owned(),
        Outcome::Stale => "stale".to_owned(),
    }
}

/// True if a request's entry at `index` waits for a flush.
fn is_accepted(outcome: &Outcome, index: usize) -> bool {
    match outcome {
        Outcome::Accepted => true,
        Outcome::PerRecord(verdicts) => matches!(verdicts.get(index), Some(Verdict::Accepted)),
        Outcome::Durable | Outcome::Rejected(_) | Outcome::Unknown(_) | Outcome::Stale => false,
    }
}

/// True if a request's entry at `index`, of `count`, is durable.
fn is_durable(outcome: &Outcome, index: usize, count: usize) -> bool {
    match outcome {
        Outcome::Durable => true,
        Outcome::PerRecord(verdicts) if verdicts.len() == count => {
            matches!(verdicts[index], Verdict::Durable)
        }
        Outcome::PerRecord(_)
        | Outcome::Rejected(_)
        | Outcome::Unknown(_)
        | Outcome::Accepted
        | Outcome::Stale => false,
    }
}

impl OutputFacts {
    fn set_places(&mut self, request: u64, places: &[Option<usize>]) {
        let Some(request) = self.requests.get(&request) else {
            return;
        };

        let has_present_settings = request.updates == self.updates;
        for (n, place) in request.records.clone().into_iter().zip(places) {
            let Some(place) = place else {
                continue;
            };
            self.set_place(n, *place);
            if has_present_settings {
                self.count_written(n);
            }
        }
    }

    /// Removes a request from the requests in flight.
    fn end_request(&mut self, request: u64) -> Option<Request> {
        let facts = self.requests.remove(&request)?;
        let lane = self.lanes.entry(facts.shard).or_default();
        lane.requests_in_flight.remove(&request);
        Some(facts)
    }

    /// Notes the records of a request that wait for a flush. True if there are any: the answer to
    /// the flush settles the request.
    fn accept(
        &mut self,
        request: u64,
        outcome: &Outcome,
        records: &[RecordFacts],
        now: Duration,
    ) -> bool {
        let Some(facts) = self.requests.get(&request) else {
            return false;
        };
        let (shard, numbers) = (facts.shard, facts.records.clone());
        if !(0..numbers.len()).any(|index| is_accepted(outcome, index)) {
            return false;
        }

        self.gathers = true;
        let mut failed_keys: BTreeSet<u32> = BTreeSet::new();
        for (index, n) in numbers.iter().enumerate() {
            let key = records[*n].key;
            let state = match is_accepted(outcome, index) {
                true if key.is_some_and(|key| failed_keys.contains(&key)) => SendState::MustRepeat,
                true => SendState::Accepted,
                false => SendState::Failed,
            };
            if state == SendState::Failed {
                failed_keys.extend(key);
            }
            self.set_state(*n, state);
        }

        let lane = self.lanes.entry(shard).or_default();
        lane.requests_in_flight.remove(&request);
        lane.answered_at = now;
        true
    }

    fn apply_outcome(
        &mut self,
        request: &Request,
        outcome: &Outcome,
        records: &[RecordFacts],
        now: Duration,
    ) {
        if matches!(outcome, Outcome::Durable | Outcome::PerRecord(_)) {
            self.lanes.entry(request.shard).or_default().answered_at = now;
        }

        let mut failed_keys: BTreeSet<u32> = BTreeSet::new();
        let count = request.records.len();
        for (index, n) in request.records.iter().enumerate() {
            let key = records[*n].key;
            if !is_durable(outcome, index, count) {
                failed_keys.extend(key);
                self.set_state(*n, SendState::Failed);
                continue;
            }

            let behind_failed = key.is_some_and(|k| failed_keys.contains(&k));
            self.set_state(*n, self.state_of_durable(request, behind_failed));
            let unordered = request.order == Order::Unordered;
            self.set_acknowledged(*n, Acknowledgement { at: now, unordered });
        }
    }

    /// The state of a durable record; `behind_failed`: an earlier record of the key failed in the
    /// same request.
    fn state_of_durable(&self, request: &Request, behind_failed: bool) -> SendState {
        if request.order == Order::Resend && behind_failed {
            SendState::MustRepeat
        } else if request.updates == self.updates {
            SendState::Acknowledged
        } else {
            SendState::MayRepeat
        }
    }
}
