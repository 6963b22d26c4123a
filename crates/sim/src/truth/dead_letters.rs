//! The facts about dead letters: a refused record counts only when its dead letter is durable.

use std::collections::BTreeMap;

use distributary_core::output::Outcome;

use super::Truth;
use super::outputs::SendState;

/// The dead letters of one output.
#[derive(Debug)]
pub(super) struct DeadLetters {
    /// The service of the output that refuses.
    service: String,
    /// Records of the requests in flight.
    requests: BTreeMap<u64, Vec<usize>>,
}

impl DeadLetters {
    pub(super) fn of(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            requests: BTreeMap::new(),
        }
    }

    pub(super) fn engine_starts(&mut self) {
        self.requests.clear();
    }

    pub(super) fn start_request(&mut self, request: u64, records: Vec<usize>) {
        self.requests.insert(request, records);
    }
}

impl Truth {
    /// The engine has the outcome of a request to a dead letter output.
    pub(super) fn on_dead_letters_answered(&mut self, name: &str, request: u64, outcome: &Outcome) {
        let now = self.now;
        let Some(letters) = self.dead_letters.get_mut(name) else {
            return;
        };
        let records = letters.requests.remove(&request).unwrap_or_default();
        let Some(output) = self.outputs.get_mut(&letters.service) else {
            return;
        };

        if matches!(outcome, Outcome::Durable) {
            for n in records {
                output.set_state(n, SendState::DeadLettered);
                output.dead_letters.insert(n, now);
            }
        }
    }
}
