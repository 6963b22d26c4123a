//! Draws the faults of a scenario. A calm part has some latency and no faults.

use std::time::Duration;

use distributary_core::output::TroubleKind;
use distributary_core::testing::{Mood, OutputFaults, ReadFaults, Rng, StoreFaults};

pub(super) fn calm_reads(rng: &mut Rng) -> ReadFaults {
    let high = *rng.pick(&[0, 3, 20, 90]);
    ReadFaults {
        latency: (0, high),
        ..ReadFaults::default()
    }
}

// The fields of the next two functions are in the order of their draws.
pub(super) fn bad_reads(rng: &mut Rng) -> ReadFaults {
    let mut below = |most: u32| per_mille(rng, most);
    ReadFaults {
        throttled: below(300),
        unavailable: below(200),
        hang: below(60),
        short: below(400),
        empty: below(300),
        control: below(400),
        ..calm_reads(rng)
    }
}

pub(super) fn bad_output(rng: &mut Rng) -> OutputFaults {
    let mut sometimes = |most: u32| match rng.below(2) {
        0 => 0,
        _ => per_mille(rng, most),
    };
    OutputFaults {
        rejected: sometimes(200),
        partial: sometimes(600),
        answer_lost: sometimes(150),
        cut: sometimes(150),
        request_lost: sometimes(150),
        late: sometimes(100),
        hangs: sometimes(60),
        stuck: sometimes(30),
        garbled: sometimes(60),
        holds: sometimes(400),
        ..calm_output(rng)
    }
}

/// A probability in thousandths, less than `most`.
fn per_mille(rng: &mut Rng, most: u32) -> u32 {
    u32::try_from(rng.below(u64::from(most))).unwrap_or(0)
}

pub(super) fn calm_output(rng: &mut Rng) -> OutputFaults {
    OutputFaults {
        latency: (0, *rng.pick(&[0, 5, 30])),
        ..OutputFaults::default()
    }
}

pub(super) fn bad_store(rng: &mut Rng) -> StoreFaults {
    let slow = StoreFaults {
        latency: (500, 4000),
        ..StoreFaults::default()
    };
    let failing = StoreFaults {
        fail: 700,
        ..StoreFaults::default()
    };
    let failing_after_commit = StoreFaults {
        fail_after: 700,
        latency: (0, 100),
        ..StoreFaults::default()
    };
    *rng.pick(&[slow, failing, failing_after_commit])
}

pub(super) fn bad_mood(rng: &mut Rng) -> Mood {
    *rng.pick(&[
        Mood::Held,
        Mood::Held,
        Mood::Rejects(TroubleKind::Missing),
        Mood::Rejects(TroubleKind::Denied),
        Mood::Rejects(TroubleKind::Unauthenticated),
        Mood::Rejects(TroubleKind::Throttled),
        Mood::Crawls(Duration::from_millis(900)),
        Mood::Crawls(Duration::from_secs(4)),
    ])
}
