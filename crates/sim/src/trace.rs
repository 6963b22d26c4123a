//! The trace of a run: one number over all events, and optionally text lines to read.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use distributary_core::clock::split_mix;

/// Lines that are kept. A violation is explained by the end of a run.
const LINES_KEPT: usize = 600;

/// A hash of all events so far, and the last lines of text.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    steps: u64,
    lines: Option<VecDeque<String>>,
}

impl Trace {
    /// An empty trace; `text`: with lines to read.
    pub fn new(text: bool) -> Self {
        Self {
            hash: 0,
            steps: 0,
            lines: text.then(VecDeque::new),
        }
    }

    /// Adds a number to the hash.
    pub fn note(&mut self, number: u64) {
        self.hash = split_mix(self.hash.rotate_left(5) ^ number);
        self.steps += 1;
    }

    /// Adds a text to the hash.
    pub fn text(&mut self, text: &str) {
        self.note(distributary_core::testing::hash(text.as_bytes()));
    }

    /// Adds a line to read. The line is made only if the trace keeps lines.
    pub fn line(&mut self, at: Duration, line: impl FnOnce(&mut String)) {
        let Some(lines) = &mut self.lines else { return };

        let mut text = String::new();
        // Writing to a string can't fail.
        let _ = write!(text, "{:>9.3} s  ", at.as_secs_f64());
        line(&mut text);

        if lines.len() == LINES_KEPT {
            lines.pop_front();
        }
        lines.push_back(text);
    }

    /// The hash of everything added.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many numbers and texts were added.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// The last lines, oldest first.
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().flatten().cloned().collect()
    }
}
