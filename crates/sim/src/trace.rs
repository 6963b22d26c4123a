//! What happened in a run, as one number, and as text for whoever wants to read it.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use distributary_core::clock::split_mix;

/// Lines that are kept: the end of a run is what explains a violation.
const KEPT: usize = 600;

/// See the module.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    steps: u64,
    lines: Option<VecDeque<String>>,
}

impl Trace {
    /// An empty trace; `text`: also for people.
    pub fn new(text: bool) -> Self {
        Self {
            hash: 0,
            steps: 0,
            lines: text.then(VecDeque::new),
        }
    }

    /// Notes a number.
    pub fn note(&mut self, number: u64) {
        self.hash = split_mix(self.hash.rotate_left(5) ^ number);
        self.steps += 1;
    }

    /// Notes a text; its bytes count too.
    pub fn text(&mut self, text: &str) {
        self.note(distributary_core::testing::hash(text.as_bytes()));
    }

    /// A line for people, made only if somebody reads it.
    pub fn line(&mut self, at: Duration, line: impl FnOnce(&mut String)) {
        let Some(lines) = &mut self.lines else { return };
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = write!(text, "{:>9.3} s  ", at.as_secs_f64());
        line(&mut text);
        if lines.len() == KEPT {
            lines.pop_front();
        }
        lines.push_back(text);
    }

    /// All that was noted, as one number.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How much was noted.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The last lines.
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().flatten().cloned().collect()
    }
}
