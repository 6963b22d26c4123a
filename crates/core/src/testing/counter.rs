//! A stateful pump for tests: counts the records of each key, and emits a row with the new count
//! for each record.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::batch::{Batch, Origin, ShardId};
use crate::checkpoint::Position;
use crate::clock::{Clock, Millis};
use crate::engine::deliver::{Context, OnRefused, Patience, Recipient, deliver};
use crate::engine::mutation::{Mutation, on};
use crate::output::{
    Chunk, EncodingKey, Order, Outcome, Output, Picks, Profile, RequestLimits, Trouble, TroubleKind,
};
use crate::record::{DataForm, RecordIndex, Span};
use crate::stateful::{PumpSnapshot, ShardPosition, StatefulPump};
use crate::store::StoreError;

use super::{Rng, Written, hash, lock};

/// Chunks are refused while so many rows wait.
const MOST_ROWS: usize = 100;

/// The pump. A record without a key is taken, and not counted.
///
/// A row has the record's key and, as data, the count in decimal digits. A row of a key is sent
/// only when the row before is durable, so that at the output the first occurrences of a key's rows
/// are 1, 2, 3 … in order.
pub struct CounterPump {
    rows_to: Arc<dyn Output>,
    clock: Clock,
    /// Of a thousand chunks that are taken, so many answers are lost.
    lost_answers: u32,
    state: Mutex<State>,
    /// Rows, or a state without new rows, wait for [`StatefulPump::run`].
    work: Notify,
    delivered: Notify,
}

struct State {
    counts: BTreeMap<Box<str>, u64>,
    positions: BTreeMap<ShardId, ShardPosition>,
    /// Rows that no delivery has taken yet.
    rows: Vec<Row>,
    /// Counts the changes.
    version: u64,
    /// The version of the snapshot in `last_final`.
    final_version: u64,
    last_final: Option<PumpSnapshot>,
    rng: Rng,
}

struct Row {
    key: Box<str>,
    count: u64,
    arrival: Millis,
}

/// A run of rows, and the state behind them.
struct Emitted {
    rows: Vec<Row>,
    version: u64,
    snapshot: PumpSnapshot,
}

impl CounterPump {
    /// A pump without state. Of a thousand chunks that are taken, the answers of `lost_answers` are
    /// lost.
    pub fn new(rows_to: Arc<dyn Output>, clock: Clock, rng: Rng, lost_answers: u32) -> Self {
        let state = State {
            counts: BTreeMap::new(),
            positions: BTreeMap::new(),
            rows: Vec::new(),
            version: 0,
            final_version: 0,
            last_final: None,
            rng,
        };
        Self {
            rows_to,
            clock,
            lost_answers,
            state: Mutex::new(state),
            work: Notify::new(),
            delivered: Notify::new(),
        }
    }

    /// The rows that wait, with the state behind them; `None` if nothing changed.
    fn emitted(&self) -> Option<Emitted> {
        let mut state = lock(&self.state);
        if state.version == state.final_version {
            return None;
        }
        let rows = std::mem::take(&mut state.rows);
        Some(Emitted {
            rows,
            version: state.version,
            snapshot: state.snapshot(),
        })
    }

    /// Delivers all of `rows`.
    async fn deliver(&self, mut rows: Vec<Row>) {
        while !rows.is_empty() {
            #[allow(clippy::expect_used, reason = "a few rows fit into a batch")]
            let batch = batch_of(&rows).expect("a batch of rows");
            let recipient = Recipient {
                output: Arc::clone(&self.rows_to),
                order: Order::Strict,
                on_refused: OnRefused::Stop,
            };
            let context = Context {
                deadline: self.clock.now().plus(Duration::from_secs(60)),
                clock: self.clock.clone(),
                patience: Patience {
                    request_deadline: Duration::from_secs(5),
                    backoff_base: Duration::from_millis(10),
                    backoff_cap: Duration::from_millis(500),
                    slow_backoff_cap: Duration::from_secs(2),
                },
                memory: None,
            };
            let delivered = deliver(&batch, &[recipient], &context).await;
            let durable = delivered.first().map_or(0, |one| one.through);
            rows.drain(..durable);
        }
    }
}

impl State {
    fn snapshot(&self) -> PumpSnapshot {
        // Texts and numbers always have a form in JSON.
        let bytes = serde_json::to_vec(&self.counts).unwrap_or_default();
        PumpSnapshot {
            bytes: bytes.into(),
            positions: self.positions.values().cloned().collect(),
        }
    }

    /// Takes the record at `i`, unless it was taken before.
    fn take(&mut self, batch: &Batch, i: usize) {
        let (shard, after) = (&batch.origin().shard, batch.after(i));
        let known = self.positions.get(shard);
        if known.is_some_and(|known| known.position.covers(&after)) {
            return;
        }
        let record = batch.record(i);
        let taken = ShardPosition {
            shard: shard.clone(),
            position: after,
            arrival: Some(record.arrival),
        };
        self.positions.insert(shard.clone(), taken);
        self.version += 1;

        if let Some(key) = record.key {
            let count = self.counts.entry(key.into()).or_default();
            *count += 1;
            self.rows.push(Row {
                key: key.into(),
                count: *count,
                arrival: record.arrival,
            });
        }
    }
}

/// `rows` as a batch; `None` if they are larger than a batch can be.
fn batch_of(rows: &[Row]) -> Option<Batch> {
    let mut buffer = Vec::new();
    let mut append = |text: &str| {
        let span = Span {
            start: u32::try_from(buffer.len()).ok()?,
            len: u32::try_from(text.len()).ok()?,
        };
        buffer.extend_from_slice(text.as_bytes());
        Some(span)
    };
    let mut index = Vec::with_capacity(rows.len());
    for (i, row) in rows.iter().enumerate() {
        index.push(RecordIndex {
            sequence: append(&i.to_string())?,
            key: Some(append(&row.key)?),
            data: append(&row.count.to_string())?,
            arrival: row.arrival,
        });
    }

    let origin = Arc::new(Origin {
        source: "counter".into(),
        shard: ShardId::new("rows"),
        hash_range: None,
    });
    Batch::new(origin, buffer.into(), DataForm::Raw, index).ok()
}

/// The last count of each key in the log of the service that took a counter's rows.
///
/// # Errors
/// A sentence about the first row that is wrong: without repeats, each key's rows have to be
/// 1, 2, 3 … in order.
pub fn counted_rows(log: &[Written]) -> Result<BTreeMap<String, u64>, String> {
    let digests: BTreeMap<u64, u64> = (1..)
        .take(log.len())
        .map(|count: u64| (hash(count.to_string().as_bytes()), count))
        .collect();
    let mut last: BTreeMap<String, u64> = BTreeMap::new();
    for written in log {
        let key = written.entry.key.as_deref().unwrap_or_default();
        let known = last.entry(key.to_owned()).or_default();
        match digests.get(&written.entry.digest) {
            Some(count) if *count <= *known => {}
            Some(count) if *count == *known + 1 => *known = *count,
            Some(count) => return Err(format!("row {count} of {key} stands behind row {known}")),
            None => return Err(format!("a row of {key} is no count")),
        }
    }
    Ok(last)
}

#[async_trait]
impl Output for CounterPump {
    fn profile(&self) -> Profile {
        Profile::new(RequestLimits {
            entries: 50,
            bytes: usize::MAX,
        })
    }

    fn encoding(&self) -> EncodingKey {
        EncodingKey::new("counter", "")
    }

    fn encoded_bound(&self, _: usize, _: usize) -> usize {
        0
    }

    /// The records themselves are taken, so that a chunk is empty.
    fn encode(&self, _: &Batch, picks: Picks) -> Chunk {
        Chunk {
            picks,
            payload: Box::new(()),
            allocation: 0,
        }
    }

    async fn write(&self, batch: &Batch, chunk: &Chunk, _: Duration) -> Outcome {
        let mut state = lock(&self.state);
        if state.rows.len() >= MOST_ROWS {
            let text = "too many rows wait for the pump's output";
            return Outcome::Rejected(Trouble::new(TroubleKind::Throttled, text));
        }
        chunk.picks.iter().for_each(|i| state.take(batch, i));
        let is_lost = state.rng.per_mille(self.lost_answers);
        drop(state);

        self.work.notify_one();
        if is_lost {
            let text = "the answer was lost";
            return Outcome::Unknown(Trouble::new(TroubleKind::Unavailable, text));
        }
        Outcome::Durable
    }

    fn stateful(&self) -> Option<&dyn StatefulPump> {
        Some(self)
    }
}

#[async_trait]
impl StatefulPump for CounterPump {
    fn restore(
        &self,
        snapshot: Option<&[u8]>,
        positions: &[ShardPosition],
    ) -> Result<(), StoreError> {
        let counts = snapshot.map(serde_json::from_slice).transpose();
        let counts = counts.map_err(|error| StoreError::Foreign {
            message: format!("the snapshot of the counter is not readable: {error}"),
        })?;

        let mut state = lock(&self.state);
        state.counts = counts.unwrap_or_default();
        let positions = positions.iter().cloned();
        state.positions = positions.map(|at| (at.shard.clone(), at)).collect();
        state.rows.clear();
        (state.version, state.final_version) = (0, 0);
        state.last_final = None;
        Ok(())
    }

    fn snapshot(&self) -> Option<PumpSnapshot> {
        let state = lock(&self.state);
        if on(Mutation::SnapshotBeforeDurable) && state.version > 0 {
            return Some(state.snapshot());
        }
        state.last_final.clone()
    }

    fn closed(&self, shard: &ShardId) {
        let mut state = lock(&self.state);
        let arrival = state.positions.get(shard).and_then(|at| at.arrival);
        let end = ShardPosition {
            shard: shard.clone(),
            position: Position::Closed,
            arrival,
        };
        state.positions.insert(shard.clone(), end);
        state.version += 1;
        drop(state);
        self.work.notify_one();
    }

    async fn run(&self) -> Infallible {
        loop {
            let Some(emitted) = self.emitted() else {
                self.work.notified().await;
                continue;
            };
            self.deliver(emitted.rows).await;

            let mut state = lock(&self.state);
            state.final_version = emitted.version;
            state.last_final = Some(emitted.snapshot);
            drop(state);
            self.delivered.notify_waiters();
        }
    }

    async fn settled(&self) {
        loop {
            let delivered = self.delivered.notified();
            let is_final = {
                let state = lock(&self.state);
                state.version == state.final_version
            };
            if is_final {
                return;
            }
            delivered.await;
        }
    }
}
