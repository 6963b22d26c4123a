//! Bugs that the simulator must find: a simulator that finds nothing may be looking at nothing.

use distributary_core::engine::mutation::{Mutation, set};

use crate::run::play;
use crate::scenario::{Level, Scenario};

/// Seeds within which the engine's simulation must find each bug.
const WITHIN: u64 = 100;

/// The bugs that the whole path must find, too, and within how many seeds: those that show in what goes over the wire and in
/// what is written down.
const ON_THE_WHOLE_PATH: &[(Mutation, u64)] = &[
    (Mutation::AckDespitePartialFailure, 20),
    (Mutation::AckUnknown, 20),
    (Mutation::RetryOutOfOrder, 50),
    (Mutation::StrictInOneRequest, 20),
    (Mutation::CarryOneOff, 50),
    (Mutation::SkipRefused, 150),
    (Mutation::ChildBeforeParent, 50),
    (Mutation::RejoinOneLate, 50),
    (Mutation::RejoinOneEarly, 50),
    (Mutation::CheckpointEarly, 20),
    (Mutation::CheckpointNever, 50),
    (Mutation::BudgetIgnored, 150),
    (Mutation::GapUnsaid, 150),
    (Mutation::CountTwice, 50),
    (Mutation::PauseIgnored, 50),
];

/// The bugs that a level must find, and within how many seeds.
pub fn kept(level: Level) -> Vec<(Mutation, u64)> {
    match level {
        Level::Engine => Mutation::ALL
            .into_iter()
            .map(|mutation| (mutation, WITHIN))
            .collect(),
        Level::WholePath => ON_THE_WHOLE_PATH.to_vec(),
    }
}

/// How a bug was found.
#[derive(Debug)]
pub struct Found {
    /// Seeds that were played.
    pub seeds: u64,
    /// Which line it violated, and how.
    pub violation: Option<crate::truth::Violation>,
}

/// Plays seeds, from `from` on, with `mutation` switched on, until it is found or so many seeds were played.
pub fn find(level: Level, mutation: Mutation, from: u64, within: u64) -> Found {
    let mut found = Found {
        seeds: 0,
        violation: None,
    };
    for seed in from..from + within {
        found.seeds += 1;
        let scenario = Scenario::draw(level, seed);
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
