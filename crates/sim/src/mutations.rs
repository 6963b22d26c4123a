//! Bugs that the simulator must find: a simulator that finds nothing may be looking at nothing.

use distributary_core::engine::mutation::{Mutation, set};

use crate::run::play;
use crate::scenario::Scenario;

/// Seeds within which each bug must be found.
pub const WITHIN: u64 = 100;

/// How a bug was found.
#[derive(Debug)]
pub struct Found {
    /// Seeds that were played.
    pub seeds: u64,
    /// Which line it violated, and how.
    pub violation: Option<crate::truth::Violation>,
}

/// Plays seeds, from `from` on, with `mutation` switched on, until it is found or [`WITHIN`] seeds were played.
pub fn find(mutation: Mutation, from: u64) -> Found {
    let mut found = Found { seeds: 0, violation: None };
    for seed in from..from + WITHIN {
        found.seeds += 1;
        let scenario = Scenario::draw(seed);
        set(Some(mutation));
        let violation = play(&scenario, false).violation;
        set(None);
        // It is the bug's doing only if there is nothing wrong without it.
        if violation.is_some() && play(&scenario, false).violation.is_none() {
            found.violation = violation;
            break;
        }
    }
    found
}
