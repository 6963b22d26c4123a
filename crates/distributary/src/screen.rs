//! The terminal behind stderr: log lines that scroll, and below them a block of lines that is drawn
//! again and again.
//!
//! Own code, since two escape sequences are enough, and the libraries at hand count the lines of a
//! block by the width at which the block was drawn: after a resize they leave pieces behind.

use std::io::{self, IsTerminal, Write};
use std::sync::Mutex;

use distributary_core::sync::lock;

/// One per process, as there is one stderr.
static SCREEN: Mutex<Screen> = Mutex::new(Screen { block: Vec::new() });

struct Screen {
    /// The lines at the bottom, as drawn: plain text, one column per character.
    block: Vec<String>,
}

/// Columns and rows of the terminal; `None` if stderr is not a terminal.
pub(crate) fn size() -> Option<(usize, usize)> {
    if !io::stderr().is_terminal() {
        return None;
    }
    let (width, height) = terminal_size::terminal_size_of(io::stderr())?;
    Some((usize::from(width.0), usize::from(height.0)))
}

/// Replaces the block by `lines`. Each line must be shorter than the terminal is wide.
pub(crate) fn draw(lines: Vec<String>) {
    let mut screen = lock(&SCREEN);
    let mut text = screen.erase();
    screen.block = lines;
    text.push_str(&screen.text());
    write(&text);
}

/// Removes the block.
pub(crate) fn clear() {
    let mut screen = lock(&SCREEN);
    let text = screen.erase();
    screen.block.clear();
    write(&text);
}

/// Leaves the block in place; later output goes below.
pub(crate) fn keep() {
    lock(&SCREEN).block.clear();
}

/// Errors are ignored: a terminal that is closed is no reason to stop copying.
fn write(text: &str) {
    let mut stderr = io::stderr().lock();
    let _ = stderr
        .write_all(text.as_bytes())
        .and_then(|()| stderr.flush());
}

impl Screen {
    /// The escape sequence that moves the cursor from below the block to its first line, and clears
    /// the rest of the screen. A terminal that became narrower since has wrapped the lines.
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

/// Writes log lines above the block.
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
