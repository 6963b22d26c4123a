//! Makes a scenario that violates the contract smaller: leaves events out as long as the same line
//! of the contract is still violated in the same way.

use crate::run::{Report, play};
use crate::scenario::Scenario;

/// Runs that are tried, at most.
const TRIES: usize = 400;

/// Letters of a violation's description that are compared.
const LETTERS: usize = 24;

/// The kind of a violation: the line, and the description without names and numbers.
type Kind = Option<(&'static str, String)>;

fn kind(report: &Report) -> Kind {
    let violation = report.violation.as_ref()?;
    Some((violation.line, letters(&violation.description)))
}

/// The first letters of a description, behind the name of the output if there is one.
fn letters(description: &str) -> String {
    let text = match description.split_once(": ") {
        Some((_, text)) => text,
        None => description,
    };
    text.chars()
        .filter(|c| c.is_alphabetic())
        .take(LETTERS)
        .collect()
}

/// The smallest scenario found with the same kind of violation as `report`, which `scenario` gave.
/// Also returns the report of the smallest scenario, with lines to read.
pub fn shrink(scenario: &Scenario, report: &Report) -> (Scenario, Report) {
    let mut search = Search {
        kind: kind(report),
        best: scenario.clone(),
        tries: 0,
    };

    // Large parts first, then smaller ones, down to single events.
    let mut part = search.events().div_ceil(2).max(1);
    loop {
        let changed = search.leave_out_parts(part);
        if search.tries >= TRIES || (part == 1 && !changed) {
            break;
        }

        if !changed {
            part = part.div_ceil(2);
        }
        part = part.min(search.events()).max(1);
    }

    let report = play(&search.best, true);
    (search.best, report)
}

struct Search {
    /// The kind of violation that must stay.
    kind: Kind,
    best: Scenario,
    tries: usize,
}

impl Search {
    fn events(&self) -> usize {
        self.best.events.len()
    }

    /// Tries to leave out each run of `part` events; true if any was left out.
    fn leave_out_parts(&mut self, part: usize) -> bool {
        let mut changed = false;
        let mut from = 0;

        while from < self.best.events.len() && self.tries < TRIES {
            let mut smaller = self.best.clone();
            let to = (from + part).min(smaller.events.len());
            smaller.events.drain(from..to);

            self.tries += 1;
            if kind(&play(&smaller, false)) == self.kind {
                self.best = smaller;
                changed = true;
            } else {
                from += part;
            }
        }
        changed
    }
}
