//! One worker's ways to the world. All of them stop while the worker is paused, like those of a
//! process that got SIGSTOP: timers, calls of the lease table, reads, requests and their answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::{Batch, ShardId};
use distributary_core::checkpoint::Position;
use distributary_core::clock::{ClockSource, Instant, Millis, Sleep};
use distributary_core::leases::{Expected, LeaseRow, LeaseTable, RowUpdate};
use distributary_core::output::{Chunk, EncodingKey, Outcome, Output, Picks, Profile, Room};
use distributary_core::source::{
    Credit, Read, Shard, ShardReader, Source, SourceError, SourceFacts,
};
use distributary_core::store::StoreError;
use distributary_core::testing::{FakeLeaseTable, FakeOutput, FakeStream, TestClock};
use tokio::sync::Notify;

use super::judge::Judge;

const MILLION: i128 = 1_000_000;

/// Open, or closed while the worker is paused. Waiters go on in the order in which they came: those
/// of a `watch` channel are woken in an order that differs from run to run.
#[derive(Default)]
pub(super) struct Gate {
    paused: AtomicBool,
    opened: Notify,
}

impl Gate {
    pub(super) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(super) fn set_paused(&self, paused: bool) {
        self.paused.store(paused, Ordering::Relaxed);
        if !paused {
            self.opened.notify_waiters();
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.paused.load(Ordering::Relaxed)
    }

    /// Completes while the worker is not paused.
    async fn passed(&self) {
        while self.is_paused() {
            self.opened.notified().await;
        }
    }

    /// A call that the worker makes, with an answer that the worker sees once not paused.
    async fn call<T>(&self, call: impl Future<Output = T>) -> T {
        self.passed().await;
        let answer = call.await;
        self.passed().await;
        answer
    }
}

/// The clock of one machine: the monotonic clock goes faster or slower by some millionths, and the
/// wall clock jumps.
pub(super) struct WorkerClock {
    pub(super) base: TestClock,
    pub(super) gate: Arc<Gate>,
    /// Millionths by which the clock is too fast.
    pub(super) drift: i32,
    /// Milliseconds by which the wall clock is ahead.
    pub(super) ahead: Arc<AtomicI64>,
}

/// `time` times `part` divided by `of`.
fn scaled(time: Duration, part: i128, of: i128) -> Duration {
    let nanos = i128::try_from(time.as_nanos()).unwrap_or(i128::MAX / MILLION / 2);
    let nanos = nanos.saturating_mul(part) / of;
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

impl ClockSource for WorkerClock {
    fn now(&self) -> Instant {
        let rate = MILLION + i128::from(self.drift);
        Instant(scaled(self.base.now().0, rate, MILLION))
    }

    fn wall(&self) -> Millis {
        let ahead = self.ahead.load(Ordering::Relaxed);
        Millis(self.base.server().0 + ahead)
    }

    fn sleep(&self, time: Duration) -> Sleep {
        let rate = MILLION + i128::from(self.drift);
        let rounding = Duration::from_nanos(1);
        let sleep = self.base.sleep(scaled(time, MILLION, rate) + rounding);

        let gate = Arc::clone(&self.gate);
        Box::pin(async move {
            sleep.await;
            gate.passed().await;
        })
    }

    fn random(&self) -> u64 {
        self.base.random()
    }
}

/// The lease table, as one worker reaches the table.
pub(super) struct GatedTable {
    pub(super) inner: FakeLeaseTable,
    pub(super) gate: Arc<Gate>,
}

#[async_trait]
impl LeaseTable for GatedTable {
    async fn rows(&self) -> Result<Vec<LeaseRow>, StoreError> {
        self.gate.call(self.inner.rows()).await
    }

    async fn row(&self, shard: &ShardId) -> Result<Option<LeaseRow>, StoreError> {
        self.gate.call(self.inner.row(shard)).await
    }

    async fn create(&self, row: &LeaseRow) -> Result<bool, StoreError> {
        self.gate.call(self.inner.create(row)).await
    }

    async fn update(
        &self,
        shard: &ShardId,
        expected: &Expected,
        update: &RowUpdate,
    ) -> Result<bool, StoreError> {
        let call = self.inner.update(shard, expected, update);
        self.gate.call(call).await
    }

    async fn delete(&self, shard: &ShardId, expected: &Expected) -> Result<bool, StoreError> {
        let call = self.inner.delete(shard, expected);
        self.gate.call(call).await
    }
}

/// The source, as one worker reaches the source.
pub(super) struct GatedSource {
    pub(super) inner: FakeStream,
    pub(super) gate: Arc<Gate>,
}

#[async_trait]
impl Source for GatedSource {
    async fn facts(&self) -> Result<SourceFacts, SourceError> {
        self.gate.call(self.inner.facts()).await
    }

    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        self.gate.call(self.inner.shards()).await
    }

    fn open(&self, shard: &ShardId, position: Position) -> Box<dyn ShardReader> {
        Box::new(GatedReader {
            inner: self.inner.open(shard, position),
            gate: Arc::clone(&self.gate),
        })
    }
}

struct GatedReader {
    inner: Box<dyn ShardReader>,
    gate: Arc<Gate>,
}

#[async_trait]
impl ShardReader for GatedReader {
    async fn next(&mut self, credit: Credit) -> Result<Read, SourceError> {
        self.gate.call(self.inner.next(credit)).await
    }
}

/// An output, as one worker reaches the output. The judge hears of each request when the worker
/// decides to send the request, which may be before the worker is paused and sent afterwards.
pub(super) struct GatedOutput {
    pub(super) inner: FakeOutput,
    pub(super) gate: Arc<Gate>,
    pub(super) worker: usize,
    pub(super) judge: Arc<Judge>,
}

#[async_trait]
impl Output for GatedOutput {
    fn profile(&self) -> Profile {
        self.inner.profile()
    }

    fn encoding(&self) -> EncodingKey {
        self.inner.encoding()
    }

    fn encoded_bound(&self, records: usize, bytes: usize) -> usize {
        self.inner.encoded_bound(records, bytes)
    }

    fn encode(&self, batch: &Batch, picks: Picks) -> Chunk {
        self.inner.encode(batch, picks)
    }

    fn room(&self, batch: &Batch, picks: &Picks) -> Room {
        self.inner.room(batch, picks)
    }

    async fn write(&self, batch: &Batch, chunk: &Chunk, deadline: Duration) -> Outcome {
        let shard = &batch.origin().shard;
        self.judge.request_starts(self.worker, shard);
        self.gate.passed().await;

        // The request arrives within the first step of the write.
        self.judge.sends(self.worker, shard);
        let outcome = self.inner.write(batch, chunk, deadline).await;
        self.gate.passed().await;
        outcome
    }
}
