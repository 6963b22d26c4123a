//! A stretch of a source, read at a chosen rate.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::{Batch, ShardId};
use distributary_core::checkpoint::Position;
use distributary_core::clock::{Clock, Instant, Millis};
use distributary_core::source::{
    Credit, Fetched, Read, Shard, ShardReader, Source, SourceError, SourceFacts,
};

/// The end of a stretch, and the rate at which it is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    /// The first moment whose records are left out.
    pub(crate) until: Millis,
    /// Records a second at most; `None` without a limit.
    pub(crate) rate: Option<u32>,
}

/// A source that ends where the stretch does: each shard counts as closed there.
struct Bounded {
    source: Arc<dyn Source>,
    stretch: Stretch,
    pace: Arc<Pace>,
}

/// The moment from which the next records may be read, for all shards together.
struct Pace {
    clock: Clock,
    next: Mutex<Instant>,
}

struct Reader {
    inner: Box<dyn ShardReader>,
    stretch: Stretch,
    pace: Arc<Pace>,
    /// True once a record beyond the end was met.
    is_over: bool,
}

/// `source`, or that stretch of it.
pub(crate) fn bounded(
    source: Arc<dyn Source>,
    stretch: Option<Stretch>,
    clock: &Clock,
) -> Arc<dyn Source> {
    let Some(stretch) = stretch else {
        return source;
    };
    let pace = Pace {
        clock: clock.clone(),
        next: Mutex::new(clock.now()),
    };
    Arc::new(Bounded {
        source,
        stretch,
        pace: Arc::new(pace),
    })
}

#[async_trait]
impl Source for Bounded {
    async fn facts(&self) -> Result<SourceFacts, SourceError> {
        self.source.facts().await
    }

    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        self.source.shards().await
    }

    fn open(&self, shard: &ShardId, position: Position) -> Box<dyn ShardReader> {
        let inner = self.source.open(shard, position);
        Box::new(Reader {
            inner,
            stretch: self.stretch,
            pace: Arc::clone(&self.pace),
            is_over: false,
        })
    }
}

impl Pace {
    /// Waits until the records that were read before are paid for.
    async fn wait(&self) {
        let next = *self.next.lock().unwrap_or_else(PoisonError::into_inner);
        self.clock.sleep_until(next).await;
    }

    /// Pays for `records` at `rate` records a second.
    fn pay(&self, records: usize, rate: u32) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let records = u32::try_from(records).unwrap_or(u32::MAX);
        let price = Duration::from_secs(1) * records / rate.max(1);
        let now = self.clock.now();
        *next = (*next).max(now).plus(price);
    }
}

#[async_trait]
impl ShardReader for Reader {
    async fn ready(&mut self) -> Result<(), SourceError> {
        self.pace.wait().await;
        self.inner.ready().await
    }

    async fn next(&mut self, credit: Credit) -> Result<Read, SourceError> {
        let records = match self.stretch.rate {
            Some(rate) => credit.records.min(rate.max(1)),
            None => credit.records,
        };
        let mut read = self.inner.next(Credit { records }).await?;
        let is_after = read.complete_until >= self.stretch.until;
        read.fetched = match read.fetched {
            Fetched::Batch(batch) => self.cut(batch),
            Fetched::Idle if is_after || self.is_over => closed(),
            other => other,
        };

        if let (Fetched::Batch(batch), Some(rate)) = (&read.fetched, self.stretch.rate) {
            self.pace.pay(batch.len(), rate);
        }
        Ok(read)
    }
}

impl Reader {
    fn first_after(&self, batch: &Batch) -> Option<usize> {
        let until = self.stretch.until;
        let mut records = batch.iter();
        records.position(|record| record.arrival >= until)
    }

    /// The records of the batch before the end.
    fn cut(&mut self, batch: Batch) -> Fetched {
        let first_after = self.first_after(&batch);
        match first_after {
            _ if self.is_over => closed(),
            None => Fetched::Batch(batch),
            Some(0) => {
                self.is_over = true;
                closed()
            }
            Some(n) => {
                self.is_over = true;
                Fetched::Batch(batch.compact(0..n))
            }
        }
    }
}

fn closed() -> Fetched {
    Fetched::Closed {
        children: Vec::new(),
    }
}
