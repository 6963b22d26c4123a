//! The terminal behind stderr: log lines that scroll, and below them a block of lines that is drawn again and again.
//!
//! Our own, because what is needed is two escape sequences, and the libraries at hand count the lines of a block by the
//! width it was drawn at: after a resize they leave pieces of it behind.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use distributary_core::sync::lock;

/// One for the process, as there is one stderr.
static SCREEN: Mutex<Screen> = Mutex::new(Screen { block: Vec::new() });

struct Screen {
    /// The lines that stand at the bottom now, as drawn: plain text, one column a character.
    block: Vec<String>,
}

/// Columns and rows of the terminal; `None` if stderr is none.
pub(crate) fn size() -> Option<(usize, usize)> {
    if !io::stderr().is_terminal() {
        return None;
    }
    let (width, height) = terminal_size::terminal_size_of(io::stderr())?;
    Some((usize::from(width.0), usize::from(height.0)))
}

/// Draws `lines` where the last block stood. Each must be shorter than the terminal is wide.
pub(crate) fn draw(lines: Vec<String>) {
    let mut screen = lock(&SCREEN);
    let mut text = screen.erase();
    screen.block = lines;
    text.push_str(&screen.text());
    write(&text);
}

/// Takes the block away.
pub(crate) fn clear() {
    let mut screen = lock(&SCREEN);
    let text = screen.erase();
    screen.block.clear();
    write(&text);
}

/// Leaves the block where it stands; what comes next goes below it.
pub(crate) fn keep() {
    lock(&SCREEN).block.clear();
}

/// A terminal that went away is no reason to stop working.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}

impl Screen {
    /// What takes the cursor, which stands below the block, to its first line, and removes it. A terminal that is narrower
    /// than when the block was drawn has wrapped its lines.
    fn erase(&self) -> String {
        if self.block.is_empty() {
            return String::new();
        }
        let width = size().map_or(usize::MAX, |(width, _)| width.max(1));
        let rows: usize = self
            .block
            .iter()
            .map(|line| line.chars().count().div_ceil(width).max(1))
            .sum();
        format!("\r\x1b[{rows}A\x1b[J")
    }

    fn text(&self) -> String {
        self.block
            .iter()
            .flat_map(|line| [line.as_str(), "\n"])
            .collect()
    }
}

/// Where log lines go: above the block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogWriter;

impl Write for LogWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let screen = lock(&SCREEN);
        if screen.block.is_empty() {
            return io::stderr().write(line);
        }
        let mut all = screen.erase().into_bytes();
        all.extend_from_slice(line);
        all.extend_from_slice(screen.text().as_bytes());
        io::stderr().write_all(&all)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_is_erased_whole() {
        let screen = Screen {
            block: vec!["one".to_owned(), String::new(), "three".to_owned()],
        };
        assert_eq!(screen.erase(), "\r\x1b[3A\x1b[J");
        assert_eq!(screen.text(), "one\n\nthree\n");
        assert_eq!(Screen { block: Vec::new() }.erase(), "");
    }
}
