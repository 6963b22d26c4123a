//! Draws the events of a scenario.

use std::time::Duration;

use distributary_core::testing::{Mood, Rng};

use super::faults::{bad_mood, bad_output, bad_reads, bad_store, calm_output};
use super::{Action, OutputShape, Shape};

/// Bytes of all records of a scenario, at most, as an estimate.
const MOST_BYTES: u64 = 1_500_000;
/// The clock jumps by at most this, forward or back.
const HOUR_MILLIS: u64 = 3_600_000;

/// Draws the events of a scenario, in order.
pub(super) fn draw(shape: &Shape, rng: &mut Rng) -> Vec<(Duration, Action)> {
    let span = *rng.pick(&[8_000, 20_000, 45_000]);
    let mut events = Vec::new();
    draw_puts(&mut events, span, shape, rng);

    for _ in 0..rng.below(30) {
        let at = rng.below(span);
        let (action, undo) = draw_action(shape, rng);
        if let Some(undo) = undo {
            let later = at + rng.between(100, span / 2);
            events.push((Duration::from_millis(later), undo));
        }
        events.push((Duration::from_millis(at), action));
    }

    events.sort_by_key(|(at, _)| *at);
    events
}

/// Draws the writes to the source, within `span` milliseconds.
fn draw_puts(events: &mut Vec<(Duration, Action)>, span: u64, shape: &Shape, rng: &mut Rng) {
    let records = most_records(shape).min(*rng.pick(&[60, 300, 1200]));
    let puts = rng.between(5, 60);

    for _ in 0..puts {
        let count = 1 + rng.below(2 * records / puts + 1);
        let at = Duration::from_millis(rng.below(span));
        let put = Action::Put {
            count,
            seed: rng.bits(),
        };
        events.push((at, put));
    }
}

fn most_records(shape: &Shape) -> u64 {
    let sizes = shape.sizes;
    let record_bytes = sizes.usual / 2 + sizes.largest / 100 + 1;
    MOST_BYTES / record_bytes
}

/// Draws an action, and the action that undoes the effect later.
fn draw_action(shape: &Shape, rng: &mut Rng) -> (Action, Option<Action>) {
    // Two more than at the start, as outputs can be added.
    let output = rng.index(shape.outputs.len() + 2);
    let choice = rng.below(100);

    match draw_temporary(choice, output, shape, rng) {
        Some((action, undo)) => (action, Some(undo)),
        None => (draw_lasting(choice, output, shape, rng), None),
    }
}

/// Draws an action and its undoing, if `choice` stands for a temporary action.
fn draw_temporary(
    choice: u64,
    output: usize,
    shape: &Shape,
    rng: &mut Rng,
) -> Option<(Action, Action)> {
    let actions = match choice {
        15..23 => (Action::Reads(bad_reads(rng)), Action::Reads(shape.calm)),
        23..30 => (Action::Store(bad_store(rng)), Action::Store(shape.store)),
        30..38 => (
            Action::Faults(output, bad_output(rng)),
            Action::Faults(output, calm_output(rng)),
        ),
        38..52 => (
            Action::Mood(output, bad_mood(rng)),
            Action::Mood(output, Mood::Well),
        ),
        80..85 => (Action::Pause(output), Action::Resume(output)),
        _ => return None,
    };
    Some(actions)
}

/// Draws an action that is not undone.
fn draw_lasting(choice: u64, output: usize, shape: &Shape, rng: &mut Rng) -> Action {
    let mut new_shape = || Box::new(OutputShape::draw(rng, &shape.sizes, false));
    match choice {
        0..9 => Action::Split(rng.index(8)),
        9..15 => Action::Merge(rng.index(8)),
        52..56 => Action::Reshard(output, 1 + rng.index(4)),
        56..58 => Action::Refuse(output),
        58..61 => draw_jump(rng),
        61..80 => draw_stop(choice, rng),
        85..88 => Action::Update(output, new_shape()),
        88..93 => Action::Add(new_shape(), rng.below(2) == 0),
        93..96 => Action::Remove(output),
        _ => Action::Expire(rng.below(20_000)),
    }
}

fn draw_jump(rng: &mut Rng) -> Action {
    let forward = i64::try_from(rng.below(2 * HOUR_MILLIS)).unwrap_or(0);
    Action::Jump(forward - HOUR_MILLIS as i64)
}

/// Draws a stop of the process.
fn draw_stop(choice: u64, rng: &mut Rng) -> Action {
    match choice {
        61..69 => Action::Crash(*rng.pick(&[0, 0, 500, 10_000])),
        69..77 => Action::CrashAfter(rng.between(1, 60)),
        _ => Action::Restart(*rng.pick(&[0, 300, 20_000])),
    }
}
