//! Makes a run that violates a line smaller: events are left out as long as the same line is still violated.

use crate::run::{Report, play};
use crate::scenario::Scenario;

/// Runs that are tried at most.
const TRIES: usize = 400;

/// What kind of thing a text says: its words, without names and numbers.
fn words(text: &str) -> String {
    let text = text.split_once(": ").map_or(text, |(_, text)| text);
    text.chars()
        .filter(|c| c.is_alphabetic())
        .take(24)
        .collect()
}

/// The smallest scenario found that violates the same line in the same way as `scenario` does in `report`, and how it went. The last
/// things that happened are in it as text.
pub fn shrink(scenario: &Scenario, report: &Report) -> (Scenario, Report) {
    let kind = |report: &Report| report.violation.as_ref().map(|v| (v.line, words(&v.what)));
    let line = kind(report);
    let mut best = scenario.clone();
    let mut tries = 0;
    // Large parts first, then smaller ones, down to single events.
    let mut part = best.events.len().div_ceil(2).max(1);
    loop {
        let mut changed = false;
        let mut from = 0;
        while from < best.events.len() && tries < TRIES {
            let mut smaller = best.clone();
            smaller
                .events
                .drain(from..(from + part).min(best.events.len()));
            tries += 1;
            if kind(&play(&smaller, false)) == line {
                best = smaller;
                changed = true;
            } else {
                from += part;
            }
        }
        if tries >= TRIES || (part == 1 && !changed) {
            break;
        }
        part = if changed { part } else { part.div_ceil(2) };
        part = part.min(best.events.len()).max(1);
    }
    let report = play(&best, true);
    (best, report)
}
