//! Knowledge about reads: up to which moment all records of a shard have been read. A pump with
//! windows over several shards needs that where a shard is idle.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use distributary_core::batch::{Batch, ShardId};
use distributary_core::checkpoint::{Position, Sequence};
use distributary_core::clock::{Clock, Instant, Millis};
use distributary_core::record::Record;
use distributary_core::source::{
    Credit, Fetched, Read, Shard, ShardReader, Source, SourceError, SourceFacts,
};
use distributary_core::sync::lock;
use tokio::sync::Notify;

/// Reads of one shard that are remembered.
const REMEMBERED: usize = 64;

/// The reads of every shard of a source.
#[derive(Debug)]
pub struct Tips {
    clock: Clock,
    shards: Mutex<BTreeMap<ShardId, ShardTips>>,
    /// A read was added.
    changed: Notify,
}

#[derive(Debug, Default)]
struct ShardTips {
    reads: VecDeque<Seen>,
    /// The moment of the last read.
    last: Instant,
    /// The shards that continue this one.
    children: Vec<ShardId>,
}

/// The result of a read: all records up to `through` are the ones that arrived before `until`.
#[derive(Debug, Clone)]
struct Seen {
    /// The last record; `None` before the first one.
    through: Option<Sequence>,
    until: Millis,
}

impl Tips {
    /// No reads yet.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            shards: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Completes at the next read, or at once if there was one since the last call.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// The moment before which every record of `shard` stands at or before `taken`; `None` if no
    /// read tells that.
    pub(crate) fn complete_until(&self, shard: &ShardId, taken: &Position) -> Option<Millis> {
        let shards = lock(&self.shards);
        let reads = shards.get(shard)?.reads.iter();
        let covered = reads.filter(|seen| seen.is_covered_by(taken));
        covered.map(|seen| seen.until).max()
    }

    /// The moment of the last read of `shard`.
    pub(crate) fn last_read(&self, shard: &ShardId) -> Option<Instant> {
        lock(&self.shards).get(shard).map(|tips| tips.last)
    }

    /// The shards that continue `shard`, as far as the end was read.
    pub(crate) fn children(&self, shard: &ShardId) -> Vec<ShardId> {
        let shards = lock(&self.shards);
        shards
            .get(shard)
            .map_or_else(Vec::new, |tips| tips.children.clone())
    }

    pub(crate) fn end(&self, shard: &ShardId, children: &[ShardId]) {
        let mut shards = lock(&self.shards);
        shards.entry(shard.clone()).or_default().children = children.to_vec();
    }

    /// Notes a read: all records up to `through` are the ones that arrived before `until`.
    #[cfg(test)]
    pub(crate) fn note(&self, shard: &ShardId, through: Option<&str>, until: Millis) {
        let through = through.map(Sequence::new);
        self.add(shard, Seen { through, until });
    }

    fn add(&self, shard: &ShardId, seen: Seen) {
        let mut shards = lock(&self.shards);
        let tips = shards.entry(shard.clone()).or_default();
        tips.last = self.clock.now();
        tips.reads.retain(|read| read.through != seen.through);
        tips.reads.push_back(seen);
        if tips.reads.len() > REMEMBERED {
            tips.reads.pop_front();
        }
        drop(shards);
        self.changed.notify_one();
    }
}

impl Seen {
    fn is_covered_by(&self, taken: &Position) -> bool {
        let Some(through) = &self.through else {
            return true;
        };
        match taken.rank() {
            Some((sequence, _)) => {
                let order = Sequence::compare(through.as_str(), sequence.as_str());
                order.is_le()
            }
            None => *taken == Position::Closed,
        }
    }
}

/// A source whose reads are noted in [`Tips`].
pub struct WatchedSource {
    source: Arc<dyn Source>,
    tips: Arc<Tips>,
}

impl WatchedSource {
    /// `source`, watched.
    #[must_use]
    pub fn new(source: Arc<dyn Source>, tips: Arc<Tips>) -> Self {
        Self { source, tips }
    }
}

#[async_trait]
impl Source for WatchedSource {
    async fn facts(&self) -> Result<SourceFacts, SourceError> {
        self.source.facts().await
    }

    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        self.source.shards().await
    }

    fn open(&self, shard: &ShardId, position: Position) -> Box<dyn ShardReader> {
        let through = position.rank().map(|(sequence, _)| sequence.clone());
        Box::new(WatchedReader {
            shard: shard.clone(),
            through,
            reader: self.source.open(shard, position),
            tips: Arc::clone(&self.tips),
        })
    }
}

struct WatchedReader {
    shard: ShardId,
    /// The last record before the reader's position.
    through: Option<Sequence>,
    reader: Box<dyn ShardReader>,
    tips: Arc<Tips>,
}

fn last_of(batch: &Batch) -> Option<Record<'_>> {
    let last = batch.len().checked_sub(1)?;
    Some(batch.record(last))
}

#[async_trait]
impl ShardReader for WatchedReader {
    async fn ready(&mut self) -> Result<(), SourceError> {
        self.reader.ready().await
    }

    async fn next(&mut self, credit: Credit) -> Result<Read, SourceError> {
        let read = self.reader.next(credit).await?;
        match &read.fetched {
            Fetched::Batch(batch) => {
                if let Some(last) = last_of(batch) {
                    self.through = Some(Sequence::new(last.sequence));
                }
            }
            Fetched::Closed { children } => self.tips.end(&self.shard, children),
            Fetched::Idle | Fetched::Gap { .. } => {}
        }

        let seen = Seen {
            through: self.through.clone(),
            until: read.complete_until,
        };
        self.tips.add(&self.shard, seen);
        Ok(read)
    }
}
