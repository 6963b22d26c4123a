//! The text on stderr: log lines and messages, and below them the block of lines of the live view.
//!
//! One thread owns stderr, and every other thread only queues text. A full pipe, a stopped terminal
//! or a full disk behind stderr never stops the copying: text beyond the queue's limit is dropped
//! and counted.
//!
//! Drawing is own code, since two escape sequences are enough, and the libraries at hand count the
//! lines of a block by the width at which the block was drawn: after a resize they leave pieces
//! behind.

mod line;
mod queue;

use std::io::{self, IsTerminal, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use distributary_core::secrets;

use crate::failure::Failure;
use queue::Queue;

/// Texts for the thread that owns stderr; one per process, as there is one stderr.
static QUEUE: Queue = Queue::new();
/// Log lines and messages that did not reach stderr since the start of the process.
static LOST: AtomicU64 = AtomicU64::new(0);
/// The longest wait for a stderr that nobody reads, at the end of the process.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Something to write.
enum Item {
    /// Log lines or messages.
    Text(Vec<u8>),
    /// The block of the live view, in place of the block before.
    Block(Vec<String>),
    /// Leaves the block in place; later output goes below.
    Keep,
}

/// Starts the thread that owns stderr.
///
/// # Errors
/// The operating system starts no more threads.
pub(crate) fn start() -> io::Result<()> {
    let thread = std::thread::Builder::new().name("stderr".to_owned());
    thread.spawn(own)?;
    Ok(())
}

/// Writes everything that is queued, for ever.
fn own() {
    let mut screen = Screen::default();
    let mut reported = 0;
    loop {
        let is_written = QUEUE.take(|item| screen.perform(item));
        let lost = LOST.load(Ordering::Relaxed);
        if is_written && lost > reported {
            tracing::warn!(
                lines = lost - reported,
                "log lines were dropped: stderr was full, closed, or not read fast enough"
            );
            reported = lost;
        }
    }
}

/// Waits until everything is written, for a second at most.
pub(crate) fn finish() {
    QUEUE.drain(LAST_WORDS);
}

/// Log lines and messages that did not reach stderr since the start of the process.
pub(crate) fn lost() -> u64 {
    LOST.load(Ordering::Relaxed)
}

/// Columns and rows of the terminal; `None` if stderr is not a terminal.
pub(crate) fn size() -> Option<(usize, usize)> {
    if !io::stderr().is_terminal() {
        return None;
    }
    let (width, height) = terminal_size::terminal_size_of(io::stderr())?;
    Some((usize::from(width.0), usize::from(height.0)))
}

/// Writes a message for the user above the block, and a line break.
pub(crate) fn say(message: &str) {
    put(Item::Text(line::of_message(message).into_bytes()));
}

/// Writes a report to standard output, below everything on stderr. A reader that left early, such
/// as `head`, has read enough.
pub(crate) fn print(report: &str) -> Result<(), Failure> {
    finish();
    let report = secrets::redact(report);

    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(report.as_bytes());
    match written.and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::run(format!(
            "cannot write to standard output: {error}"
        ))),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Replaces the block by `lines`. Each line must be shorter than the terminal is wide.
pub(crate) fn draw(lines: Vec<String>) {
    let mut clean = Vec::new();
    for line in lines {
        let line = secrets::redact(&line);
        clean.push(line.into_owned());
    }
    put(Item::Block(clean));
}

/// Removes the block.
pub(crate) fn clear() {
    put(Item::Block(Vec::new()));
}

/// Leaves the block in place; later output goes below.
pub(crate) fn keep() {
    put(Item::Keep);
}

fn put(item: Item) {
    if let Err(Item::Text(_)) = QUEUE.put(item) {
        LOST.fetch_add(1, Ordering::Relaxed);
    }
}

/// Queues log lines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogWriter;

impl Write for LogWriter {
    /// Takes one whole log line; never fails.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        put(Item::Text(line::of_log(&text).into_bytes()));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The terminal or file behind stderr.
#[derive(Default)]
struct Screen {
    /// The lines at the bottom, as drawn: plain text, one column per character.
    block: Vec<String>,
}

impl Screen {
    /// Writes `item`; false if that failed.
    fn perform(&mut self, item: Item) -> bool {
        let is_line = matches!(item, Item::Text(_));
        let is_written = self.write(item).is_ok();
        if is_line && !is_written {
            LOST.fetch_add(1, Ordering::Relaxed);
        }
        is_written
    }

    fn write(&mut self, item: Item) -> io::Result<()> {
        let Some(mut all) = self.above_block(item) else {
            return Ok(());
        };

        let block = self.text();
        all.extend_from_slice(block.as_bytes());
        io::stderr().write_all(&all)
    }

    /// The bytes before the block, or `None` if nothing is to be written.
    fn above_block(&mut self, item: Item) -> Option<Vec<u8>> {
        let erase = self.erase();
        let mut all = erase.into_bytes();
        match item {
            Item::Keep => {
                self.block.clear();
                return None;
            }
            Item::Text(mut text) => all.append(&mut text),
            Item::Block(lines) => self.block = lines,
        }
        Some(all)
    }

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
