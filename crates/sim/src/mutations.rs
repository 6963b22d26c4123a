//! Planted bugs (mutations of the engine) that the simulator must find, as a test of its checks.

use distributary_core::engine::mutation::{Mutation, set};

use crate::run::play;
use crate::scenario::{Level, Scenario};
use crate::truth::Violation;
use crate::{play_aggregates, play_recreation, play_workers};

/// Seeds within which level 1 must find each bug.
const SEEDS_OF_ENGINE: u64 = 1000;

/// The bugs that the whole path must also find, and the seeds within which: bugs that show in
/// requests or checkpoints.
const OF_WHOLE_PATH: &[(Mutation, u64)] = &[
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
    (Mutation::BudgetIgnored, 3000),
    (Mutation::GapUnsaid, 150),
    (Mutation::CountTwice, 50),
    (Mutation::PauseIgnored, 50),
];

/// Runs within which aggregates must find each bug.
const RUNS_OF_AGGREGATES: u64 = 200;

/// The bugs that runs with KPL aggregates ([`play_aggregates`]) must find.
pub const OF_AGGREGATES: [Mutation; 4] = [
    Mutation::ForgetsPiece,
    Mutation::AcksFirstPiece,
    Mutation::TrustsOldMap,
    Mutation::RowsStartOver,
];

/// Plays runs with aggregates with `mutation` switched on, until a run violates the contract only
/// because of the mutation; the violation.
pub fn find_with_aggregates(mutation: Mutation) -> Option<String> {
    (0..RUNS_OF_AGGREGATES).find_map(|seed| {
        set(Some(mutation));
        let violation = play_aggregates(seed);
        set(None);
        violation.filter(|_| play_aggregates(seed).is_none())
    })
}

/// Runs within which streams that are created again must find a bug in their recognition.
const RUNS_OF_RECREATION: u64 = 50;

/// Plays runs with streams that are created again ([`play_recreation`]), which the engine does not
/// notice; the violation.
pub fn find_ignored_recreation() -> Option<String> {
    (0..RUNS_OF_RECREATION).find_map(|seed| {
        set(Some(Mutation::RecreationIgnored));
        let violation = play_recreation(seed);
        set(None);
        violation.filter(|_| play_recreation(seed).is_none())
    })
}

/// Runs within which several workers must find each bug.
const RUNS_OF_WORKERS: u64 = 100;

/// The bugs that runs with several workers ([`play_workers`]) must find.
pub const OF_WORKERS: [Mutation; 4] = [
    Mutation::WritesAfterLease,
    Mutation::NoFencing,
    Mutation::WallClockExpiry,
    Mutation::StealWithoutStopping,
];

/// Plays runs with several workers with `mutation` switched on, until a run violates the contract
/// only because of the mutation.
pub fn find_with_workers(mutation: Mutation) -> Search {
    for seed in 0..RUNS_OF_WORKERS {
        set(Some(mutation));
        let violation = play_workers(seed, false).violation;
        set(None);

        if violation.is_some() && play_workers(seed, false).violation.is_none() {
            let seeds = seed + 1;
            return Search { seeds, violation };
        }
    }

    Search {
        seeds: RUNS_OF_WORKERS,
        violation: None,
    }
}

/// The bugs that a level must find, and the seeds within which.
pub fn detectable(level: Level) -> Vec<(Mutation, u64)> {
    match level {
        Level::Engine => Mutation::ALL
            .into_iter()
            .map(|mutation| (mutation, SEEDS_OF_ENGINE))
            .collect(),
        Level::WholePath => OF_WHOLE_PATH.to_vec(),
    }
}

/// The result of the search for a bug.
#[derive(Debug)]
pub struct Search {
    /// Seeds played.
    pub seeds: u64,
    /// The violation that the bug caused; `None` if the bug was not found.
    pub violation: Option<Violation>,
}

/// Plays at most `within` seeds, from `from` on, with `mutation` switched on, until a seed violates
/// the contract only because of the mutation.
pub fn find(level: Level, mutation: Mutation, from: u64, within: u64) -> Search {
    for seed in from..from + within {
        let scenario = Scenario::draw(level, seed);
        set(Some(mutation));
        let violation = play(&scenario, false).violation;
        set(None);

        if violation.is_some() && play(&scenario, false).violation.is_none() {
            let seeds = seed - from + 1;
            return Search { seeds, violation };
        }
    }

    Search {
        seeds: within,
        violation: None,
    }
}
