//! One way to read all shards of a stream, for the commands that look at a stream as a whole.
//!
//! `run` does not use this: the engine reads shards at the pace of the outputs, in
//! `distributary_core::engine`.

mod lineage;

use std::sync::Arc;
use std::time::Duration;

use distributary_core::batch::{Batch, ShardId};
use distributary_core::checkpoint::Position;
use distributary_core::clock::{Clock, Millis};
use distributary_core::output::Trouble;
use distributary_core::source::{Credit, Fetched, Shard, ShardReader, Source};
use distributary_kinesis::retry::Retries;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use lineage::Lineage;

pub(crate) use lineage::parents_first;
#[cfg(test)]
pub(crate) use lineage::shard;

/// Responses held in memory at a time; each has at most 10 MiB of data.
pub(crate) const RESPONSES: usize = 8;
/// The most records that Kinesis returns for one read.
pub(crate) const RECORDS_PER_READ: u32 = 10_000;
/// Wait after a read without records; doubled each time, up to one of the limits below.
const IDLE: Duration = Duration::from_millis(200);
/// The longest wait of a walk that has an end, and so slows other readers for a short time only.
const IDLE_BEFORE_END: Duration = Duration::from_millis(300);
/// The longest wait of a walk without an end. One call a second leaves other readers four of the
/// five that a shard allows.
const IDLE_FOREVER: Duration = Duration::from_secs(1);

/// The shards of a walk, and their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShardOrder {
    /// A shard is read after its parents, so that the records of a partition key arrive in order.
    /// Shards that appear during the walk are read too.
    ParentsFirst,
    /// The shards that are listed at the start, all at the same time.
    AllAtOnce,
}

/// The reading of a stream.
pub(crate) struct Walk {
    /// The stream's name, for messages.
    pub(crate) stream: String,
    pub(crate) source: Arc<dyn Source>,
    pub(crate) clock: Clock,
    pub(crate) order: ShardOrder,
    /// The position at which every shard starts.
    pub(crate) start: Position,
    /// The end: a shard is left once every record that arrived before this moment is read. Without
    /// an end, the walk waits for more records.
    pub(crate) until: Option<Millis>,
    /// Records that one read asks for: 1 to [`RECORDS_PER_READ`].
    pub(crate) records_per_read: u32,
    /// Bounds the responses held in memory. Walks at the same time can share one semaphore.
    pub(crate) responses: Arc<Semaphore>,
}

/// One successful read of a shard.
pub(crate) struct Event {
    pub(crate) shard: ShardId,
    pub(crate) found: Found,
    /// Every record of the shard that arrived before this moment has been sent.
    pub(crate) complete_until: Millis,
}

/// The result of one read.
pub(crate) enum Found {
    /// At least one record. The permit stands for the batch's memory.
    Records(Batch, Option<OwnedSemaphorePermit>),
    /// No new record.
    Nothing,
    /// Retention deleted records before they were read; the shard's oldest record follows.
    Gap,
    /// The shard is closed and read to its end.
    Closed,
}

/// The reason why a walk cannot continue.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    /// The stream did not answer, or refused.
    #[error("cannot read {stream}{}", shard.as_ref().map(|s| format!(", {s}")).unwrap_or_default())]
    Source {
        stream: String,
        shard: Option<ShardId>,
        #[source]
        source: Trouble,
    },
    /// A task panicked.
    #[error("a task failed; this is a bug, please report it")]
    Task,
}

/// The reason why a shard is not read any more.
enum ShardEnd {
    /// The shard is closed and read to its end.
    Closed,
    /// Every record up to [`Walk::until`] is read.
    CaughtUp,
    /// The receiver was dropped.
    Unwanted,
}

impl Walk {
    /// The stream's shards.
    pub(crate) async fn shards(&self) -> Result<Vec<Shard>, WalkError> {
        let mut retries = Retries::of_read(&self.clock);
        loop {
            match self.source.shards().await {
                Ok(shards) => return Ok(shards),
                Err(trouble) => retries
                    .wait(trouble)
                    .await
                    .map_err(|trouble| self.error(None, trouble))?,
            }
        }
    }

    /// Reads `shards`, and sends an event for each read, until the end or until the receiver is
    /// dropped.
    pub(crate) async fn run(
        self,
        shards: Vec<Shard>,
        send: mpsc::Sender<Event>,
    ) -> Result<(), WalkError> {
        let walk = Arc::new(self);
        let mut lineage = Lineage::default();
        lineage.add(walk.in_order(shards));

        let mut tasks = JoinSet::new();
        loop {
            for shard in lineage.take_ready() {
                tasks.spawn(ShardTask::new(&walk, shard, send.clone()).run());
            }
            let Some(ended) = tasks.join_next().await else {
                return Ok(());
            };

            let (shard, end) = ended.map_err(|_| WalkError::Task)??;
            lineage.finish(shard);
            match end {
                ShardEnd::Closed => walk.add_children(&mut lineage).await?,
                // The children hold only records that are later than the end.
                ShardEnd::CaughtUp => {}
                ShardEnd::Unwanted => return Ok(()),
            }
        }
    }

    /// Adds the shards that are new since the last look, if the order of shards matters.
    async fn add_children(&self, lineage: &mut Lineage) -> Result<(), WalkError> {
        if self.order == ShardOrder::ParentsFirst {
            let shards = self.shards().await?;
            lineage.add(shards);
        }
        Ok(())
    }

    /// The shards with the parents that they have to wait for.
    fn in_order(&self, mut shards: Vec<Shard>) -> Vec<Shard> {
        if self.order == ShardOrder::AllAtOnce {
            for shard in &mut shards {
                shard.parents.clear();
            }
        }
        shards
    }

    fn error(&self, shard: Option<&ShardId>, source: Trouble) -> WalkError {
        WalkError::Source {
            stream: self.stream.clone(),
            shard: shard.cloned(),
            source,
        }
    }
}

/// Reads one shard.
struct ShardTask {
    walk: Arc<Walk>,
    shard: ShardId,
    reader: Box<dyn ShardReader>,
    send: mpsc::Sender<Event>,
}

impl ShardTask {
    fn new(walk: &Arc<Walk>, shard: ShardId, send: mpsc::Sender<Event>) -> Self {
        Self {
            reader: walk.source.open(&shard, walk.start.clone()),
            walk: Arc::clone(walk),
            shard,
            send,
        }
    }

    async fn run(mut self) -> Result<(ShardId, ShardEnd), WalkError> {
        let end = self.read_to_end().await?;
        Ok((self.shard, end))
    }

    async fn read_to_end(&mut self) -> Result<ShardEnd, WalkError> {
        let mut idle = IDLE;
        loop {
            let (found, complete_until) = self.read().await?;
            let is_closed = matches!(found, Found::Closed);
            let is_idle = matches!(found, Found::Nothing);

            let event = Event {
                shard: self.shard.clone(),
                found,
                complete_until,
            };
            if self.send.send(event).await.is_err() {
                return Ok(ShardEnd::Unwanted);
            }
            if is_closed {
                return Ok(ShardEnd::Closed);
            }
            if self.walk.until.is_some_and(|end| complete_until >= end) {
                return Ok(ShardEnd::CaughtUp);
            }

            idle = if is_idle {
                self.pause(idle).await
            } else {
                IDLE
            };
        }
    }

    /// One read, tried again while the failure may pass.
    async fn read(&mut self) -> Result<(Found, Millis), WalkError> {
        let walk = Arc::clone(&self.walk);
        let mut retries = Retries::of_read(&walk.clock);
        loop {
            match self.try_read().await {
                Ok(read) => return Ok(read),
                Err(trouble) => retries
                    .wait(trouble)
                    .await
                    .map_err(|trouble| walk.error(Some(&self.shard), trouble))?,
            }
        }
    }

    async fn try_read(&mut self) -> Result<(Found, Millis), Trouble> {
        let credit = Credit {
            records: self.walk.records_per_read,
        };
        self.reader.ready().await?;

        // The semaphore is never closed. A failure returns the permit.
        let permit = Arc::clone(&self.walk.responses).acquire_owned().await.ok();
        let read = self.reader.next(credit).await?;
        Ok((found(read.fetched, permit), read.complete_until))
    }

    /// Waits for `idle`, or until the receiver is dropped. Returns the next wait.
    async fn pause(&mut self, idle: Duration) -> Duration {
        tokio::select! {
            () = self.walk.clock.sleep(idle) => {}
            () = self.send.closed() => {}
        }
        let longest = match self.walk.until {
            Some(_) => IDLE_BEFORE_END,
            None => IDLE_FOREVER,
        };
        (idle * 2).min(longest)
    }
}

fn found(fetched: Fetched, permit: Option<OwnedSemaphorePermit>) -> Found {
    match fetched {
        Fetched::Batch(batch) if !batch.is_empty() => Found::Records(batch, permit),
        Fetched::Batch(_) | Fetched::Idle => Found::Nothing,
        Fetched::Gap { .. } => Found::Gap,
        Fetched::Closed { .. } => Found::Closed,
    }
}
