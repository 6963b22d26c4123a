//! The rows of a pump with state on their way to its outputs.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use distributary_core::batch::{Batch, Origin, ShardId};
use distributary_core::clock::{Clock, Millis};
use distributary_core::engine::deliver::{Context, Patience, Recipient, deliver};
use distributary_core::record::{DataForm, RecordIndex, Span};

use crate::program::Program;
use crate::run::processor::{Emitted, Sink};
use crate::run::stateless::Selection;

use super::errors::{ErrorCounts, ErrorKind};

/// The time after which a delivery that is not finished is logged and begun again.
const DELIVERY: Duration = Duration::from_secs(60);

/// One output of a pump with state.
#[derive(Clone)]
pub struct Route {
    /// The output's name, for the log.
    pub name: String,
    /// The rows that the output takes.
    pub selection: Selection,
    /// The output.
    pub recipient: Recipient,
}

/// Rows for one output.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    buffer: Vec<u8>,
    index: Vec<RecordIndex>,
}

impl Rows {
    pub(crate) fn bytes(&self) -> usize {
        self.buffer.len()
    }

    fn append(&mut self, bytes: &[u8]) -> Span {
        self.span_from(self.buffer.len(), |buffer| buffer.extend_from_slice(bytes))
    }

    /// The span of the bytes that `write` appends. A pump stops after a few megabytes of rows, so
    /// places fit into 32 bits.
    #[allow(clippy::cast_possible_truncation)]
    fn span_from(&mut self, start: usize, write: impl FnOnce(&mut Vec<u8>)) -> Span {
        write(&mut self.buffer);
        Span {
            start: start as u32,
            len: (self.buffer.len() - start) as u32,
        }
    }

    fn add(&mut self, key: &str, data: &[u8], rowtime: i64) {
        let number = self.index.len().to_string();
        let index = RecordIndex {
            sequence: self.append(number.as_bytes()),
            key: Some(self.append(key.as_bytes())),
            data: self.append(data),
            arrival: Millis(rowtime),
        };
        self.index.push(index);
    }

    /// The rows as a batch, numbered from 0; `None` if there are none.
    fn batch(self, origin: &Arc<Origin>) -> Option<Batch> {
        if self.index.is_empty() {
            return None;
        }
        let made = Batch::new(
            Arc::clone(origin),
            self.buffer.into(),
            DataForm::Raw,
            self.index,
        );
        made.inspect_err(|error| tracing::error!("rows of a pump are malformed: {error}"))
            .ok()
    }
}

/// Collects rows for all outputs.
pub(crate) struct Collector<'a> {
    pub(crate) program: &'a Program,
    pub(crate) routes: &'a [Route],
    pub(crate) errors: &'a ErrorCounts,
    /// The partition key of the record that is processed.
    pub(crate) source_key: Option<String>,
    pub(crate) rows: Vec<Rows>,
}

impl Collector<'_> {
    pub(crate) fn bytes(&self) -> usize {
        self.rows.iter().map(Rows::bytes).sum()
    }

    /// The key by the selection's column, else the key of the only source record, else a hash of
    /// the row.
    fn key(&self, selection: &Selection, row: &Emitted<'_>, data: &[u8]) -> String {
        let own = selection
            .key
            .and_then(|column| row.key(column, self.program));
        own.or_else(|| {
            let is_of_record = row.record.is_some() && self.program.is_per_record(row.stream);
            let key = self.source_key.as_ref().filter(|_| is_of_record);
            key.cloned()
        })
        .unwrap_or_else(|| hash(data))
    }
}

impl Sink for Collector<'_> {
    fn row(&mut self, row: Emitted<'_>) {
        if row.stream == self.program.error_stream() {
            self.errors.add(ErrorKind::of(&row));
        }

        let columns = &row.definition(self.program).columns;
        for (number, route) in self.routes.iter().enumerate() {
            let selection = &route.selection;
            if selection.stream != row.stream {
                continue;
            }

            let mut data = Vec::new();
            selection.format.write(columns, row.values, &mut data);
            let key = self.key(selection, &row, &data);
            self.rows[number].add(&key, &data, row.rowtime);
        }
    }
}

/// FNV-1a, 16 hexadecimal digits.
fn hash(data: &[u8]) -> String {
    let hash = data.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("{hash:016x}")
}

/// Writes rows to outputs until each row is durable.
pub(crate) struct Deliverer<'a> {
    pub(crate) routes: &'a [Route],
    pub(crate) clock: &'a Clock,
    pub(crate) patience: &'a Patience,
}

impl Deliverer<'_> {
    /// Delivers the rows of each route; all routes at the same time.
    pub(crate) async fn deliver(&self, rows: Vec<Rows>) {
        let origin = Arc::new(Origin {
            source: "pump".into(),
            shard: ShardId::new("rows"),
            hash_range: None,
        });
        let mut waiting: Vec<Option<Delivery<'_>>> = Vec::new();
        for (route, rows) in self.routes.iter().zip(rows) {
            let batch = rows.batch(&origin);
            waiting.push(batch.map(|batch| -> Delivery<'_> { Box::pin(self.all(route, batch)) }));
        }

        poll_fn(|cx| {
            for one in &mut waiting {
                let is_done = one
                    .as_mut()
                    .is_some_and(|work| work.as_mut().poll(cx).is_ready());
                if is_done {
                    *one = None;
                }
            }
            let is_done = waiting.iter().all(Option::is_none);
            if is_done {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }

    /// Delivers all rows of `batch`, however long that takes.
    async fn all(&self, route: &Route, batch: Batch) {
        let mut batch = batch;
        while !batch.is_empty() {
            let context = Context {
                clock: self.clock.clone(),
                deadline: self.clock.now().plus(DELIVERY),
                patience: self.patience.clone(),
                memory: None,
            };
            let recipient = std::slice::from_ref(&route.recipient);
            let delivered = deliver(&batch, recipient, &context).await;
            let Some(delivered) = delivered.first() else {
                return;
            };

            let trouble = delivered.trouble.as_ref().map(ToString::to_string);
            let refused = delivered.refused.last().map(|one| one.refusal.to_string());
            if let Some(why) = trouble.or_else(|| stops(route, refused)) {
                tracing::warn!(output = route.name, "rows of the pump wait: {why}");
                self.clock.sleep(self.patience.backoff_cap).await;
            }
            batch = batch.compact(delivered.through..batch.len());
        }
    }
}

/// The reason of a refusal at which a delivery stops.
fn stops(route: &Route, refused: Option<String>) -> Option<String> {
    use distributary_core::engine::deliver::OnRefused;
    match route.recipient.on_refused {
        OnRefused::Stop => refused,
        OnRefused::PassOver | OnRefused::Divert(_) => None,
    }
}

type Delivery<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;
