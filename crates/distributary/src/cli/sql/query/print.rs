//! Rows on the terminal, as outputs of a pump.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::Batch;
use distributary_core::output::{
    Chunk, EncodingKey, Outcome, Output, Picks, Profile, RequestLimits,
};
use distributary_core::sync::lock;
use distributary_sql::Stream;
use serde_json::value::RawValue;
use tokio::sync::Notify;

use super::RowsAs;
use crate::screen;

/// Rows of one write.
const ROWS: usize = 500;
/// The widest column of a table, in characters; longer values move the rest of the line.
const WIDEST: usize = 24;
/// The narrowest column.
const NARROWEST: usize = 8;

/// Prints rows on standard output.
pub(super) struct Printer {
    format: RowsAs,
    state: Mutex<State>,
    ended: Notify,
}

struct State {
    /// Rows that may still be printed.
    left: u64,
    columns: Vec<Column>,
}

struct Column {
    /// The name as the rows' JSON has it.
    name: String,
    width: usize,
}

impl Printer {
    pub(super) fn new(format: RowsAs, limit: Option<u64>) -> Self {
        Self {
            format,
            state: Mutex::new(State {
                left: limit.unwrap_or(u64::MAX),
                columns: Vec::new(),
            }),
            ended: Notify::new(),
        }
    }

    /// Takes the columns of `stream`, and prints the head of a table.
    pub(super) fn head(&self, stream: &Stream) {
        let columns = stream.columns.iter().map(|column| Column {
            width: column.name.chars().count().clamp(NARROWEST, WIDEST),
            name: column.name.clone(),
        });
        let columns: Vec<Column> = columns.collect();
        if self.format == RowsAs::Table {
            self.print_head(&columns);
        }
        lock(&self.state).columns = columns;
    }

    fn print_head(&self, columns: &[Column]) {
        let names = columns.iter().map(|column| column.name.clone());
        let head = line(columns, names);
        if screen::print(&format!("{head}\n")).is_err() {
            self.ended.notify_one();
        }
    }

    /// Completes when the limit is reached, or when nobody reads standard output any more.
    pub(super) async fn ended(&self) {
        self.ended.notified().await;
    }

    pub(super) fn flush(&self) {
        // A pipe that is closed has no reader to miss the rows.
        let _ = io::stdout().flush();
    }

    fn print(&self, batch: &Batch, picks: &Picks) -> io::Result<()> {
        let mut state = lock(&self.state);
        let mut out = io::stdout().lock();
        for i in picks.iter() {
            if state.left == 0 {
                break;
            }
            let record = batch.record(i);
            let data = String::from_utf8_lossy(record.data);
            match self.format {
                RowsAs::Json => writeln!(out, "{data}")?,
                RowsAs::Csv => write!(out, "{data}")?,
                RowsAs::Table => {
                    let line = table_line(&state.columns, &data);
                    writeln!(out, "{line}")?;
                }
            }
            state.left -= 1;
        }
        out.flush()?;
        if state.left == 0 {
            self.ended.notify_one();
        }
        Ok(())
    }
}

/// A row, which is JSON, as a line of a table.
fn table_line(columns: &[Column], row: &str) -> String {
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(row).unwrap_or_default();
    let values = columns.iter().map(|column| {
        let member = members.get(&column.name);
        let raw = member.map_or("", |raw| raw.get());
        let text = serde_json::from_str(raw);
        text.unwrap_or_else(|_| raw.to_owned())
    });
    line(columns, values)
}

fn line(columns: &[Column], values: impl Iterator<Item = String>) -> String {
    let cells = columns.iter().zip(values).map(|(column, value)| {
        let width = column.width;
        let shown: String = value.escape_debug().collect();
        format!("{shown:width$}")
    });
    let line = cells.collect::<Vec<_>>().join("  ");
    line.trim_end().to_owned()
}

fn chunk(picks: Picks) -> Chunk {
    Chunk {
        picks,
        payload: Box::new(()),
        allocation: 0,
    }
}

const PROFILE: Profile = Profile::new(RequestLimits {
    entries: ROWS,
    bytes: usize::MAX,
});

#[async_trait]
impl Output for Printer {
    fn profile(&self) -> Profile {
        PROFILE
    }

    fn encoding(&self) -> EncodingKey {
        EncodingKey::new("terminal", "")
    }

    fn encoded_bound(&self, _: usize, _: usize) -> usize {
        0
    }

    fn encode(&self, _: &Batch, picks: Picks) -> Chunk {
        chunk(picks)
    }

    async fn write(&self, batch: &Batch, sent: &Chunk, _: Duration) -> Outcome {
        if self.print(batch, &sent.picks).is_err() {
            self.ended.notify_one();
        }
        Outcome::Durable
    }
}

/// Prints the rows of `error_stream` on stderr.
pub(super) struct ErrorPrinter;

#[async_trait]
impl Output for ErrorPrinter {
    fn profile(&self) -> Profile {
        PROFILE
    }

    fn encoding(&self) -> EncodingKey {
        EncodingKey::new("terminal", "errors")
    }

    fn encoded_bound(&self, _: usize, _: usize) -> usize {
        0
    }

    fn encode(&self, _: &Batch, picks: Picks) -> Chunk {
        chunk(picks)
    }

    async fn write(&self, batch: &Batch, sent: &Chunk, _: Duration) -> Outcome {
        for i in sent.picks.iter() {
            let row = String::from_utf8_lossy(batch.record(i).data);
            screen::say(&format!("error_stream: {row}"));
        }
        Outcome::Durable
    }
}
