//! Draws the kinds of outputs, and the life of leases. The draws of each are apart from all others.

use std::num::NonZeroUsize;
use std::time::Duration;

use distributary_core::output::Gathers;
use distributary_core::testing::{LeaseFaults, Rng};

use super::{Action, Events, OutputShape, ROWS, Shape};

/// The life of leases, for some of the scenarios. The draws are apart from all other draws.
pub(super) fn draw_leases(rng: &mut Rng) -> Option<LeaseFaults> {
    let term = *rng.pick(&[1_500, 6_000]);
    let faults = LeaseFaults {
        term: Duration::from_millis(term),
        missed: *rng.pick(&[0, 100, 500, 850]),
        held: (500, *rng.pick(&[5_000, 60_000])),
        warning: *rng.pick(&[(0, 0), (0, 2_000), (500, 5_000)]),
        away: (1, *rng.pick(&[100, 5_000])),
    };
    (rng.below(3) == 0).then_some(faults)
}

/// Makes some outputs of another kind than a stream. The draws are apart from all other draws.
pub(super) fn draw_kinds(shape: &mut Shape, events: &mut Events, rng: &mut Rng) {
    let added = events.iter_mut().filter_map(|(_, action)| match action {
        Action::Add(output, _) => Some(&mut **output),
        _ => None,
    });

    for output in shape.outputs.iter_mut().chain(added) {
        let in_flight = NonZeroUsize::new(1 + rng.index(8));
        if let Some(in_flight) = in_flight.filter(|_| rng.below(2) == 0) {
            output.in_flight = in_flight;
        }
        draw_gathers(output, rng);
        output.has_dead_letter = !output.pristine && rng.below(2) == 0;
    }
    draw_refusals(shape, events, rng);
}

/// Lets some outputs take rows of the pump. The draws are apart from all other draws.
pub(super) fn draw_streams(shape: &mut Shape, events: &mut Events, rng: &mut Rng) {
    let added = events.iter_mut().filter_map(|(_, action)| match action {
        Action::Add(output, _) => Some(&mut **output),
        _ => None,
    });
    for output in shape.outputs.iter_mut().chain(added) {
        let takes_rows = !output.pristine && !output.has_dead_letter && rng.below(2) == 0;
        output.stream = takes_rows.then(|| rng.index(ROWS.len()));
    }
}

/// Lets some outputs gather records until a flush.
fn draw_gathers(output: &mut OutputShape, rng: &mut Rng) {
    if output.pristine || rng.below(4) > 0 {
        return;
    }

    // The gathering fake has no shards that throttle.
    output.service.rate = None;
    output.gathers = Some(Gathers {
        records: *rng.pick(&[1, 30, 1000]),
        bytes: *rng.pick(&[1000, 100_000]),
        age: Duration::from_secs(1),
    });
}

/// Adds refused records for outputs with a dead letter output.
fn draw_refusals(shape: &Shape, events: &mut Events, rng: &mut Rng) {
    let span = events.last().map_or(0, |(at, _)| at.as_millis());
    let span = u64::try_from(span).unwrap_or(0) + 1;
    for (i, output) in shape.outputs.iter().enumerate() {
        for _ in 0..rng.below(8) * u64::from(output.has_dead_letter) {
            let at = Duration::from_millis(rng.below(span));
            events.push((at, Action::Refuse(i)));
        }
    }
    events.sort_by_key(|(at, _)| *at);
}
