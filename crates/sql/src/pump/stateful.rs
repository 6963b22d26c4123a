//! A program with windows or joins in the engine: an output that takes the records of all shards,
//! and a node of its own behind that, which delivers rows to the pump's outputs.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::{Batch, ShardId};
use distributary_core::checkpoint::Position;
use distributary_core::clock::{Clock, Instant, Millis};
use distributary_core::engine::deliver::Patience;
use distributary_core::output::{
    Chunk, EncodingKey, Outcome, Output, Picks, Profile, RequestLimits, Trouble, TroubleKind,
};
use distributary_core::stateful::{PumpSnapshot, ShardPosition, StatefulPump};
use distributary_core::store::StoreError;
use distributary_core::sync::lock;
use tokio::sync::Notify;

use super::errors::ErrorCounts;
use super::merge::{Merge, Next, Waiting};
use super::records;
use super::rows::{Collector, Deliverer, Route, Rows};
use super::tips::Tips;
use crate::program::Program;
use crate::run::processor::{Processor, ProcessorSettings, Record, StateLimitExceeded};

/// Records of one write.
const CHUNK: usize = 500;
/// Records that are processed before their rows are delivered.
const SLICE: usize = 2_000;
/// Bytes of rows after which the rows are delivered.
const SLICE_BYTES: usize = 4 << 20;
/// Bytes of records that may wait; a shard without waiting records may always add a chunk.
const WAITING_BYTES: usize = 32 << 20;

/// Settings of a pump with state.
#[derive(Clone, Debug)]
pub struct StatefulSettings {
    /// The most bytes of state that one pump of the code may hold, about.
    pub state_limit: usize,
    /// The longest time for which a shard that brings no records holds the others.
    pub merge_wait: Duration,
    /// The time by which the clock of the rows stays behind when every shard was read to the tip;
    /// `None`: rows alone move that clock.
    pub idle_bound: Option<Duration>,
    /// Deadlines and waits of the pump's outputs.
    pub patience: Patience,
}

/// A program with state as an output of the engine.
pub struct StatefulSqlPump {
    program: Arc<Program>,
    routes: Vec<Route>,
    settings: StatefulSettings,
    clock: Clock,
    tips: Arc<Tips>,
    errors: Arc<ErrorCounts>,
    state: Mutex<State>,
    /// Records, an end, or a wish for a snapshot wait for [`StatefulPump::run`].
    work: Notify,
    /// Records were processed, or a snapshot was made.
    progress: Notify,
}

struct State {
    merge: Merge,
    processor: Processor,
    /// The processed records of each shard.
    positions: BTreeMap<ShardId, ShardPosition>,
    /// The state differs from the one in `last_final`.
    changed: bool,
    last_final: Option<PumpSnapshot>,
    /// The last snapshot was taken, so the next one is wanted.
    snapshot_wanted: bool,
    /// A failure after which the pump takes no records.
    failed: Option<String>,
    /// A shutdown waits for the rows of all records that can be processed.
    settling: bool,
}

/// A run of steps.
struct Slice {
    rows: Vec<Rows>,
    then: Then,
}

/// The continuation after a slice.
enum Then {
    /// More records can be processed.
    GoOn,
    /// Wait for records, reads, or this moment.
    Wait(Option<Instant>),
}

impl StatefulSqlPump {
    /// The pump of `program`, without state.
    #[must_use]
    pub fn new(
        program: Arc<Program>,
        routes: Vec<Route>,
        settings: StatefulSettings,
        clock: Clock,
        tips: Arc<Tips>,
    ) -> Self {
        let processor = processor(&program, &settings, &clock);
        let state = State {
            merge: Merge::default(),
            processor,
            positions: BTreeMap::new(),
            changed: false,
            last_final: None,
            snapshot_wanted: true,
            failed: None,
            settling: false,
        };
        Self {
            program,
            routes,
            settings,
            clock,
            tips,
            errors: Arc::default(),
            state: Mutex::new(state),
            work: Notify::new(),
            progress: Notify::new(),
        }
    }

    /// The rows that went to `error_stream`, whether an output takes that stream or not.
    #[must_use]
    pub fn errors(&self) -> Arc<ErrorCounts> {
        Arc::clone(&self.errors)
    }

    /// Processes records that wait, as far as their time has come.
    fn slice(&self) -> Slice {
        let mut state = lock(&self.state);
        let mut sink = Collector {
            program: &self.program,
            routes: &self.routes,
            errors: &self.errors,
            source_key: None,
            rows: self.routes.iter().map(|_| Rows::default()).collect(),
        };
        state.processor.set_wall_clock(self.clock.wall().0);

        let mut then = Then::GoOn;
        for _ in 0..SLICE {
            match self.step(&mut state, &mut sink) {
                Ok(Then::GoOn) => {}
                Ok(wait) => {
                    then = wait;
                    break;
                }
                Err(error) => {
                    tracing::error!("{error}; the pump stops");
                    state.failed = Some(error.to_string());
                    then = Then::Wait(None);
                    break;
                }
            }
            if sink.bytes() > SLICE_BYTES {
                break;
            }
        }
        Slice {
            rows: sink.rows,
            then,
        }
    }

    /// Processes one record, or moves time.
    fn step(
        &self,
        state: &mut State,
        sink: &mut Collector<'_>,
    ) -> Result<Then, StateLimitExceeded> {
        if state.failed.is_some() {
            return Ok(Then::Wait(None));
        }
        let now = self.clock.now();
        let next = state.merge.next(&self.tips, now, self.settings.merge_wait);

        match next {
            Next::Record(shard, record) => {
                state.process(shard, &record, sink)?;
                Ok(Then::GoOn)
            }
            Next::End(shard) => {
                state.end(shard);
                Ok(Then::GoOn)
            }
            Next::Hold(until) => {
                let then = Then::Wait(Some(until));
                Ok(then)
            }
            Next::Empty(complete) => {
                let idle = self.settings.idle_bound;
                let bound = complete.zip(idle).map(|(until, idle)| until.minus(idle));
                state.advance(bound, sink)?;
                Ok(Then::Wait(None))
            }
        }
    }

    /// After the rows of a slice are durable.
    fn delivered(&self, then: &Then) {
        let mut state = lock(&self.state);
        let rests = matches!(then, Then::Wait(_)) || state.failed.is_some();
        let is_sound = state.failed.is_none();
        if is_sound && state.changed && (state.snapshot_wanted || (state.settling && rests)) {
            state.make_snapshot();
        }
        let is_final = !state.changed || state.failed.is_some();
        if rests && is_final {
            state.settling = false;
        }
        drop(state);
        self.progress.notify_waiters();
    }

    async fn wait(&self, until: Option<Instant>) {
        let timer = async {
            match until {
                Some(until) => self.clock.sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.work.notified() => {}
            () = self.tips.changed() => {}
            () = timer => {}
        }
    }

    /// Waits until `shard` may add records; false after `deadline`.
    async fn room(&self, shard: &ShardId, deadline: Instant) -> bool {
        loop {
            let progress = self.progress.notified();
            {
                let state = lock(&self.state);
                let has_room = state.merge.bytes() < WAITING_BYTES;
                if has_room || !state.merge.is_waiting(shard) {
                    return true;
                }
            }
            tokio::select! {
                () = progress => {}
                () = self.clock.sleep_until(deadline) => return false,
            }
        }
    }

    fn take(&self, batch: &Batch, picks: &Picks) -> Result<(), String> {
        let mut state = lock(&self.state);
        if let Some(failed) = &state.failed {
            return Err(failed.clone());
        }
        let now = self.clock.now();
        let shard = &batch.origin().shard;
        for i in picks.iter() {
            let record = || waiting(batch, i);
            state.merge.take(shard, batch.after(i), now, record);
        }
        Ok(())
    }
}

fn waiting(batch: &Batch, index: usize) -> Waiting {
    let record = batch.record(index);
    Waiting {
        data: records::data(&record),
        key: record.key.unwrap_or_default().to_owned(),
        sequence: record.sequence.to_owned(),
        arrival: record.arrival,
    }
}

fn processor(program: &Arc<Program>, settings: &StatefulSettings, clock: &Clock) -> Processor {
    let settings = ProcessorSettings {
        started: clock.wall().0,
        state_limit: settings.state_limit,
    };
    Processor::new(Arc::clone(program), settings)
}

impl State {
    fn process(
        &mut self,
        shard: ShardId,
        waiting: &Waiting,
        sink: &mut Collector<'_>,
    ) -> Result<(), StateLimitExceeded> {
        let record = Record {
            data: &waiting.data,
            arrival: waiting.arrival.0,
            partition_key: &waiting.key,
            sequence_number: &waiting.sequence,
            shard_id: shard.as_str(),
            shard_index: records::shard_index(&shard),
        };
        sink.source_key = Some(waiting.key.clone()).filter(|key| !key.is_empty());
        self.processor.push(&record, sink)?;

        let position = Position::after(&waiting.sequence);
        self.at(shard, position, Some(waiting.arrival));
        Ok(())
    }

    fn end(&mut self, shard: ShardId) {
        let known = self.positions.get(&shard);
        let arrival = known.and_then(|at| at.arrival);
        self.at(shard, Position::Closed, arrival);
    }

    fn at(&mut self, shard: ShardId, position: Position, arrival: Option<Millis>) {
        self.changed = true;
        let at = ShardPosition {
            shard: shard.clone(),
            position,
            arrival,
        };
        self.positions.insert(shard, at);
    }

    /// Moves the time of the rows to `bound`.
    fn advance(
        &mut self,
        bound: Option<Millis>,
        sink: &mut Collector<'_>,
    ) -> Result<(), StateLimitExceeded> {
        // Before the first record, time is that of no row.
        let (Some(bound), Some(now)) = (bound, self.processor.now()) else {
            return Ok(());
        };
        if bound.0 > now {
            sink.source_key = None;
            self.processor.advance(bound.0, sink)?;
            self.changed |= !self.positions.is_empty();
        }
        Ok(())
    }

    fn make_snapshot(&mut self) {
        match self.processor.snapshot() {
            Ok(bytes) => {
                self.changed = false;
                self.snapshot_wanted = false;
                self.last_final = Some(PumpSnapshot {
                    bytes: bytes.into(),
                    positions: self.positions.values().cloned().collect(),
                });
            }
            Err(error) => {
                tracing::error!("the pump's state can't be written: {error}; the pump stops");
                self.failed = Some(error.to_string());
            }
        }
    }
}

#[async_trait]
impl Output for StatefulSqlPump {
    fn profile(&self) -> Profile {
        Profile::new(RequestLimits {
            entries: CHUNK,
            bytes: usize::MAX,
        })
    }

    fn encoding(&self) -> EncodingKey {
        EncodingKey::new("pump", "")
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

    async fn write(&self, batch: &Batch, chunk: &Chunk, deadline: Duration) -> Outcome {
        let deadline = self.clock.now().plus(deadline);
        if !self.room(&batch.origin().shard, deadline).await {
            let text = "the pump's outputs are behind: too many records wait for them";
            return Outcome::Rejected(Trouble::new(TroubleKind::Throttled, text));
        }
        if let Err(failed) = self.take(batch, &chunk.picks) {
            return Outcome::Rejected(Trouble::new(TroubleKind::Invalid, failed));
        }
        self.work.notify_one();
        Outcome::Durable
    }

    fn stateful(&self) -> Option<&dyn StatefulPump> {
        Some(self)
    }
}

#[async_trait]
impl StatefulPump for StatefulSqlPump {
    fn restore(
        &self,
        snapshot: Option<&[u8]>,
        positions: &[ShardPosition],
    ) -> Result<(), StoreError> {
        let mut processor = processor(&self.program, &self.settings, &self.clock);
        if let Some(bytes) = snapshot {
            let restored = processor.restore(bytes);
            restored.map_err(|error| foreign(&error))?;
        }

        let mut state = lock(&self.state);
        state.merge = Merge::new(positions, self.clock.now());
        state.processor = processor;
        let positions = positions.iter().cloned();
        state.positions = positions.map(|at| (at.shard.clone(), at)).collect();
        state.changed = false;
        state.last_final = None;
        Ok(())
    }

    fn snapshot(&self) -> Option<PumpSnapshot> {
        let mut state = lock(&self.state);
        state.snapshot_wanted = true;
        let snapshot = state.last_final.clone();
        drop(state);
        self.work.notify_one();
        snapshot
    }

    fn closed(&self, shard: &ShardId) {
        let now = self.clock.now();
        lock(&self.state).merge.close(shard, now);
        self.work.notify_one();
    }

    async fn run(&self) -> Infallible {
        let deliverer = Deliverer {
            routes: &self.routes,
            clock: &self.clock,
            patience: &self.settings.patience,
        };
        loop {
            let Slice { rows, then } = self.slice();
            deliverer.deliver(rows).await;
            self.delivered(&then);
            if let Then::Wait(until) = then {
                self.wait(until).await;
            }
        }
    }

    async fn settled(&self) {
        lock(&self.state).settling = true;
        loop {
            let progress = self.progress.notified();
            self.work.notify_one();
            if !lock(&self.state).settling {
                return;
            }
            progress.await;
        }
    }
}

fn foreign(error: &impl std::error::Error) -> StoreError {
    StoreError::Foreign {
        message: error.to_string(),
    }
}
