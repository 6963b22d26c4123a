//! A Kinesis stream as the source of a fan-out, read by polling.

mod kpl;
mod reader;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Position;
use distributary_core::clock::Millis;
use distributary_core::source::{
    HashRange, ReadLimits, ServerTime, Shard, ShardReader, Source, SourceError, SourceFacts,
    StreamIdentity,
};
use distributary_core::sync::lock;
use distributary_wire::hashkey;

use crate::client::{Client, StreamDescription, is_closed};
use crate::names::StreamRef;

pub use kpl::is_aggregate;

/// AWS's limits of reading one shard (API reference, `GetRecords`): five calls and 2 MiB a second, 10,000
/// records an answer. An answer holds at most 10 MiB of data, which base64 and the fields around make
/// up to 16 MiB. A shard takes 1 MB a second (Kinesis quotas).
pub const READ_LIMITS: ReadLimits = ReadLimits {
    calls: NonZeroU32::new(5).unwrap(),
    per: Duration::from_secs(1),
    bytes_per_second: Some(2 << 20),
    answer_records: 10_000,
    answer_bytes: 16 << 20,
    ingest_bytes_per_second: 1 << 20,
};

/// A Kinesis stream, read by polling (`GetRecords`).
#[derive(Clone, Debug)]
pub struct KinesisSource(Arc<Shared>);

/// What a source and its readers share.
#[derive(Debug)]
struct Shared {
    client: Client,
    stream: StreamRef,
    map: Mutex<BTreeMap<ShardId, Known>>,
    /// In milliseconds; 0 while nobody has asked.
    retention: AtomicU64,
    said_aggregates: AtomicBool,
    /// The stream's ARN once a description was read, else its name as configured.
    arn: Mutex<Arc<str>>,
    limits: ReadLimits,
}

/// What the last listing said of a shard.
#[derive(Clone, Debug, Default)]
struct Known {
    hash_range: Option<HashRange>,
    closed: bool,
    children: Vec<ShardId>,
}

impl Shared {
    fn known(&self, shard: &ShardId) -> Option<Known> {
        lock(&self.map).get(shard).cloned()
    }

    fn hash_range(&self, shard: &ShardId) -> Option<HashRange> {
        lock(&self.map).get(shard)?.hash_range
    }

    fn is_closed(&self, shard: &ShardId) -> bool {
        lock(&self.map).get(shard).is_some_and(|known| known.closed)
    }

    fn learn(&self, shards: &[Shard]) {
        let mut map: BTreeMap<ShardId, Known> = shards
            .iter()
            .map(|s| {
                (
                    s.id.clone(),
                    Known {
                        hash_range: s.hash_range,
                        closed: s.closed,
                        children: Vec::new(),
                    },
                )
            })
            .collect();
        for shard in shards {
            for parent in &shard.parents {
                if let Some(known) = map.get_mut(parent) {
                    known.children.push(shard.id.clone());
                }
            }
        }
        *lock(&self.map) = map;
    }

    /// Takes the retention and the ARN from a description.
    fn learn_stream(&self, described: &StreamDescription) {
        let ms = u64::try_from(described.retention.as_millis()).unwrap_or(u64::MAX);
        self.retention.store(ms, Ordering::Relaxed);
        *lock(&self.arn) = described.arn.as_str().into();
    }

    /// The stream's ARN; the configured name while no description was read.
    fn arn(&self) -> Arc<str> {
        Arc::clone(&lock(&self.arn))
    }

    /// How long the stream keeps a record; asked for once, then what the last description said.
    async fn retention(&self) -> Result<Duration, SourceError> {
        if self.retention.load(Ordering::Relaxed) == 0 {
            self.learn_stream(&self.client.describe(&self.stream).await?.answer);
        }
        Ok(Duration::from_millis(
            self.retention.load(Ordering::Relaxed),
        ))
    }

    /// True if what is so far behind may be deleted while an iterator is good; false while the retention is not known.
    fn is_near_horizon(&self, behind: Duration) -> bool {
        let retention = self.retention.load(Ordering::Relaxed);
        retention > 0 && behind + reader::HORIZON_SLACK >= Duration::from_millis(retention)
    }

    fn said_aggregates(&self) -> bool {
        self.said_aggregates.load(Ordering::Relaxed)
    }

    fn say_aggregates(&self) {
        if !self.said_aggregates.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                stream = %self.stream,
                "the source has records that the Kinesis Producer Library aggregated; they are copied whole, under their \
                 own partition key, so a consumer that deaggregates (the KCL) may drop those whose sub-records hash to \
                 another shard of the output: give outputs one shard, or read them with checks of the hash range off"
            );
        }
    }
}

impl KinesisSource {
    /// The stream `stream` at `client`. No I/O.
    pub fn new(client: Client, stream: StreamRef) -> Self {
        Self::with_limits(client, stream, READ_LIMITS)
    }

    /// The stream `stream` at `client`, read within `limits`: for a server that has other limits than
    /// AWS. No I/O.
    pub fn with_limits(client: Client, stream: StreamRef, limits: ReadLimits) -> Self {
        Self(Arc::new(Shared {
            client,
            arn: Mutex::new(stream.to_string().into()),
            limits,
            stream,
            map: Mutex::default(),
            retention: AtomicU64::new(0),
            said_aggregates: AtomicBool::new(false),
        }))
    }

    /// What the stream is; waits until it can be read.
    ///
    /// # Errors
    /// [`SourceError`]: as [`wait_active`](crate::create::wait_active).
    pub async fn check(&self) -> Result<StreamDescription, SourceError> {
        let described = crate::create::wait_active(&self.0.client, &self.0.stream).await?;
        self.0.learn_stream(&described);
        Ok(described)
    }
}

#[async_trait]
impl Source for KinesisSource {
    async fn facts(&self) -> Result<SourceFacts, SourceError> {
        let clock = self.0.client.clock();
        let before = clock.wall();
        let described = self.0.client.describe(&self.0.stream).await?;
        self.0.learn_stream(&described.answer);

        let time = match described.date {
            Some(date) => ServerTime {
                earliest: date,
                latest: date.plus(Duration::from_secs(1)),
            },
            // A server that returns no `Date` runs on this machine, or nearly.
            None => ServerTime {
                earliest: before,
                latest: clock.wall().plus(Duration::from_millis(1)),
            },
        };
        Ok(SourceFacts {
            identity: StreamIdentity {
                arn: described.answer.arn,
                created: described.answer.created,
            },
            retention: described.answer.retention,
            time,
            limits: self.0.limits,
        })
    }

    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        let listed = self.0.client.list_shards(&self.0.stream).await?.answer;
        let shards: Vec<Shard> = listed.iter().map(shard_of).collect();
        self.0.learn(&shards);
        Ok(shards)
    }

    fn open(&self, shard: &ShardId, position: Position) -> Box<dyn ShardReader> {
        Box::new(reader::Reader::new(
            Arc::clone(&self.0),
            shard.clone(),
            position,
        ))
    }
}

fn shard_of(shard: &distributary_wire::types::Shard) -> Shard {
    let parents = [&shard.parent_shard_id, &shard.adjacent_parent_shard_id];
    let parents = parents.into_iter().flatten().filter(|id| !id.is_empty());
    let range = shard
        .hash_key_range
        .as_ref()
        .and_then(hashkey::HashRange::from_wire);
    Shard {
        id: ShardId::new(&shard.shard_id),
        parents: parents.map(|id| ShardId::new(id)).collect(),
        hash_range: range.map(|r| HashRange {
            start: r.start,
            end: r.end,
        }),
        closed: is_closed(shard),
    }
}

/// `date`, or a moment that is surely not later than the server's time.
fn or_wall(date: Option<Millis>, client: &Client) -> Millis {
    date.unwrap_or_else(|| client.clock().wall().minus(Duration::from_secs(1)))
}
