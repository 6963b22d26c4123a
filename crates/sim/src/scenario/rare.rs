//! Adds events that bring about situations which other draws bring about too rarely.

use std::time::Duration;

use distributary_core::testing::{Mood, Rng};

use super::{Action, Events, OutputShape, Shape};

pub(super) fn draw(shape: &mut Shape, events: &mut Events, rng: &mut Rng) {
    draw_short_lists(shape, events, rng);
    draw_deletion_during_stop(events, rng);
    draw_long_hold(shape, events, rng);
    draw_return(shape, events, rng);
    events.sort_by_key(|(at, _)| *at);
}

/// The time of the last event, in milliseconds.
fn span(events: &Events) -> u64 {
    let last = events.last().map_or(0, |(at, _)| at.as_millis());
    u64::try_from(last).unwrap_or(0)
}

/// Lets some listings of shards lack some.
fn draw_short_lists(shape: &mut Shape, events: &mut Events, rng: &mut Rng) {
    let before = shape.calm;
    shape.calm.short_lists = *rng.pick(&[0, 0, 0, 100, 500]);
    for (_, action) in events {
        match action {
            Action::Reads(faults) if *faults == before => *faults = shape.calm,
            Action::Reads(faults) => faults.short_lists = *rng.pick(&[0, 100, 700]),
            _ => {}
        }
    }
}

/// Lets retention delete records, old ones and new ones, while the process is down.
fn draw_deletion_during_stop(events: &mut Events, rng: &mut Rng) {
    if rng.below(5) > 0 {
        return;
    }

    let down = rng.between(2_000, 20_000);
    let crash = rng.below(span(events) + 1);
    let put = crash + rng.below(down / 2);
    let expire = put + rng.between(1, down / 2);
    let count = rng.between(1, 40);
    let seed = rng.bits();
    let age = *rng.pick(&[0, 100, 2_000]);

    let planned = [
        (crash, Action::Crash(down)),
        (put, Action::Put { count, seed }),
        (expire, Action::Expire(age)),
    ];
    events.extend(planned.map(|(at, action)| (Duration::from_millis(at), action)));
}

/// Holds an output for long while a pristine one goes on.
fn draw_long_hold(shape: &Shape, events: &mut Events, rng: &mut Rng) {
    let has_pristine = shape.outputs.iter().any(|output| output.pristine);
    if !has_pristine || rng.below(3) > 0 {
        return;
    }

    let output = 1 + rng.index(shape.outputs.len());
    let from = rng.below(span(events) / 2 + 1);
    let until = from + rng.between(15_000, 40_000);
    let hold = Action::Mood(output, Mood::Held);
    let release = Action::Mood(output, Mood::Well);
    events.push((Duration::from_millis(from), hold));
    events.push((Duration::from_millis(until), release));
}

/// Removes an output, and adds one with the same id later.
fn draw_return(shape: &Shape, events: &mut Events, rng: &mut Rng) {
    if rng.below(5) > 0 {
        return;
    }

    let output = rng.index(shape.outputs.len());
    let removed = rng.below(span(events) + 1);
    let added = removed + rng.between(10, 5_000);
    let new = Box::new(OutputShape::draw(rng, &shape.sizes, false));
    events.push((Duration::from_millis(removed), Action::Remove(output)));
    events.push((Duration::from_millis(added), Action::Add(new, true)));
}
