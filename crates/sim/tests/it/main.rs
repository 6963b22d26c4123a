//! A short simulation on both levels, the seeds that once found a violation, and the check that a
//! seed always plays the same run.
#![allow(clippy::panic, reason = "a test fails by panicking")]

use distributary_sim::mutations::{
    OF_AGGREGATES, OF_WORKERS, find_ignored_recreation, find_with_aggregates, find_with_workers,
};
use distributary_sim::run::play;
use distributary_sim::scenario::{Level, Scenario};
use distributary_sim::{play_aggregates, play_recreation, play_workers};

/// Seeds that once violated a line of the contract. The draws of a seed can change with the
/// scenarios, but a run costs little.
const FOUND: &[u64] = &[
    13, 39, 61, 115, 200, 257, 403, 494, 701, 744, 881, 979, 1062, 1581, 1750, 1932, 2076, 2125,
    2140, 2429, 2455, 2524, 2542, 2713, 3122, 4570, 5293, 6198, 6266, 7265, 8164, 8731, 8911,
    20009, 20162, 32758, 38103, 38644, 47878,
];

/// Seeds that once violated a line of the contract on the whole path.
const FOUND_ON_THE_WHOLE_PATH: &[u64] = &[
    3, 13, 17, 22, 44, 121, 122, 176, 251, 293, 310, 575, 601, 2036, 6009,
];

fn holds(level: Level, seed: u64) {
    if let Some(violation) = play(&Scenario::draw(level, seed), false).violation {
        panic!(
            "{level:?}, seed {seed}: line {}: {}",
            violation.line, violation.description
        );
    }
}

#[test]
fn the_contract_holds_for_a_few_seeds() {
    (10_000..10_040).for_each(|seed| holds(Level::Engine, seed));
}

#[test]
fn the_contract_holds_on_the_whole_path() {
    (10_000..10_010).for_each(|seed| holds(Level::WholePath, seed));
}

#[test]
fn violations_found_once_stay_fixed() {
    FOUND.iter().for_each(|seed| holds(Level::Engine, *seed));
    FOUND_ON_THE_WHOLE_PATH
        .iter()
        .for_each(|seed| holds(Level::WholePath, *seed));
}

fn one_seed_is_one_run(level: Level, seeds: std::ops::Range<u64>) {
    let first = seeds.start;
    for seed in seeds {
        let runs = [0, 1].map(|_| play(&Scenario::draw(level, seed), false));
        let [first, second] = runs.map(|r| (r.hash, r.faults, r.records, r.time));
        assert_eq!(first, second, "{level:?}, seed {seed}");
    }
    let hash = |seed| play(&Scenario::draw(level, seed), false).hash;
    assert!(
        hash(first) != hash(first + 1),
        "two seeds have the same trace"
    );
}

#[test]
fn one_seed_is_one_run_of_the_engine() {
    one_seed_is_one_run(Level::Engine, 20_000..20_010);
}

#[test]
fn one_seed_is_one_run_of_the_whole_path() {
    one_seed_is_one_run(Level::WholePath, 20_000..20_006);
}

#[test]
fn aggregates_arrive_through_reshards_faults_and_kills() {
    for seed in 0..12 {
        let violation = play_aggregates(seed);
        assert_eq!(violation, None, "seed {seed}");
    }
}

#[test]
fn bugs_in_the_treatment_of_aggregates_are_found() {
    for mutation in OF_AGGREGATES {
        let violation = find_with_aggregates(mutation);
        assert!(violation.is_some(), "{mutation:?} was not found");
    }
}

#[test]
fn the_contract_holds_for_several_workers() {
    for seed in 10_000..10_010 {
        let violation = play_workers(seed, false).violation;
        assert_eq!(violation, None, "seed {seed}");
    }
}

#[test]
fn one_seed_is_one_run_of_several_workers() {
    for seed in 20_000..20_003 {
        let runs = [0, 1].map(|_| play_workers(seed, false));
        let [first, second] = runs.map(|run| (run.hash, run.faults, run.records, run.time));
        assert_eq!(first, second, "seed {seed}");
    }
}

#[test]
fn bugs_in_the_sharing_of_leases_are_found() {
    for mutation in OF_WORKERS {
        let search = find_with_workers(mutation);
        assert!(search.violation.is_some(), "{mutation:?} was not found");
    }
}

#[test]
fn streams_created_again_and_older_states_lose_nothing() {
    for seed in 0..60 {
        let violation = play_recreation(seed);
        assert_eq!(violation, None, "seed {seed}");
    }
}

#[test]
fn an_ignored_recreation_is_found() {
    assert!(find_ignored_recreation().is_some());
}
