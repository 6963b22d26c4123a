//! Adds events that bring about situations which other draws bring about too rarely.

use std::time::Duration;

use distributary_core::testing::{Mood, Rng};

use super::{Action, Events, OutputShape, Shape};

pub(super) fn draw(shape: &Shape, events: &mut Events, rng: &mut Rng) {
    draw_long_hold(shape, events, rng);
    draw_return(shape, events, rng);
    events.sort_by_key(|(at, _)| *at);
}

/// The time of the last event, in milliseconds.
fn span(events: &Events) -> u64 {
    let last = events.last().map_or(0, |(at, _)| at.as_millis());
    u64::try_from(last).unwrap_or(0)
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
