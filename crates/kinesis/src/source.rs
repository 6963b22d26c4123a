//! A Kinesis stream as the source of a fan-out, read by polling.

mod reader;

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::ShardId;
use distributary_core::checkpoint::{Position, Sequence};
use distributary_core::clock::Millis;
use distributary_core::output::{Trouble, TroubleKind};
use distributary_core::source::{
    HashRange, ReadLimits, ServerTime, Shard, ShardReader, Source, SourceError, SourceFacts,
    StreamIdentity,
};
use distributary_core::sync::lock;
use distributary_wire::hashkey;
use distributary_wire::types;

use crate::client::{Answered, Client, StreamDescription, is_closed};
use crate::create;
use crate::names::StreamRef;
use crate::transport::RequestClass;

/// AWS's limits of reading one shard (API reference, `GetRecords`): five calls and 2 MiB a second,
/// 10,000 records an answer. An answer holds at most 10 MiB of data, which base64 and the fields
/// around make up to 16 MiB. A shard takes 1 MB a second (Kinesis quotas).
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

/// The state that a source and its readers share.
#[derive(Debug)]
struct Shared {
    client: Client,
    stream: StreamRef,
    limits: ReadLimits,
    shards: Mutex<BTreeMap<ShardId, KnownShard>>,
    /// `None` until the stream was described.
    facts: Mutex<Option<KnownStream>>,
    /// The stream of the first description.
    first: OnceLock<StreamIdentity>,
}

/// A stream as in the last description.
#[derive(Clone, Debug)]
struct KnownStream {
    arn: Arc<str>,
    retention: Duration,
}

/// A shard as in the last listing.
#[derive(Clone, Debug, Default)]
struct KnownShard {
    hash_range: Option<HashRange>,
    closed: bool,
    children: Vec<ShardId>,
}

impl Shared {
    fn known(&self, shard: &ShardId) -> Option<KnownShard> {
        lock(&self.shards).get(shard).cloned()
    }

    fn hash_range(&self, shard: &ShardId) -> Option<HashRange> {
        lock(&self.shards).get(shard)?.hash_range
    }

    fn is_closed(&self, shard: &ShardId) -> bool {
        let shards = lock(&self.shards);
        shards.get(shard).is_some_and(|known| known.closed)
    }

    fn learn_shards(&self, listed: &[Shard]) {
        let mut shards: BTreeMap<ShardId, KnownShard> = BTreeMap::new();
        for shard in listed {
            let known = KnownShard {
                hash_range: shard.hash_range,
                closed: shard.closed,
                children: Vec::new(),
            };
            shards.insert(shard.id.clone(), known);
        }

        for shard in listed {
            for parent in &shard.parents {
                if let Some(known) = shards.get_mut(parent) {
                    known.children.push(shard.id.clone());
                }
            }
        }
        *lock(&self.shards) = shards;
    }

    /// The shard map, which the source keeps.
    async fn list(&self) -> Result<Vec<Shard>, SourceError> {
        let listed = self.client.list_shards(&self.stream).await?.answer;
        let shards: Vec<Shard> = listed.iter().map(shard_of).collect();
        if !covers_hash_space(&shards) {
            let text = format!(
                "ListShards on {} lacks shards: the open ones do not cover the hash space",
                self.stream
            );
            return Err(Trouble::new(TroubleKind::Unavailable, text));
        }
        self.learn_shards(&shards);
        Ok(shards)
    }

    /// One `DescribeStreamSummary`.
    async fn describe(&self) -> Result<Answered<StreamDescription>, SourceError> {
        let answered = self.client.describe(&self.stream).await?;
        self.learn(&answered.answer);
        Ok(answered)
    }

    /// Describes the stream, and fails if the stream is another one than that of the first
    /// description: its positions mean nothing there.
    async fn check_same(&self) -> Result<(), SourceError> {
        let Some(first) = self.first.get() else {
            return Ok(());
        };
        let now = self.describe().await?.answer.identity();
        if !first.is_recreated_as(&now) {
            return Ok(());
        }
        let text = format!("stream {} was deleted and created again", self.stream);
        Err(Trouble::new(TroubleKind::Missing, text))
    }

    fn learn(&self, described: &StreamDescription) {
        self.first.get_or_init(|| described.identity());
        *lock(&self.facts) = Some(KnownStream {
            arn: described.arn.as_str().into(),
            retention: described.retention,
        });
    }

    fn known_stream(&self) -> Option<KnownStream> {
        lock(&self.facts).clone()
    }

    /// The last description; describes the stream if there was none.
    async fn stream(&self) -> Result<KnownStream, SourceError> {
        if let Some(known) = self.known_stream() {
            return Ok(known);
        }
        let described = self.describe().await?.answer;
        Ok(KnownStream {
            arn: described.arn.into(),
            retention: described.retention,
        })
    }

    /// The stream's ARN, or its name where the server knows no ARNs. Describes the stream unless
    /// the ARN is known.
    async fn arn(&self) -> Result<Arc<str>, SourceError> {
        match (self.known_stream(), self.stream.arn()) {
            (Some(known), _) => Ok(known.arn),
            (None, Some(arn)) => Ok(arn.to_string().into()),
            (None, None) => Ok(self.stream().await?.arn),
        }
    }

    /// True if records as old as `behind` may be deleted before an iterator expires; false while
    /// the retention is not known.
    fn is_near_horizon(&self, behind: Duration) -> bool {
        let known = self.known_stream();
        known.is_some_and(|known| behind + reader::HORIZON_SLACK >= known.retention)
    }
}

impl KinesisSource {
    /// The stream `stream` at `client`. No I/O.
    pub fn new(client: Client, stream: StreamRef) -> Self {
        Self::with_limits(client, stream, READ_LIMITS)
    }

    /// The stream `stream` at `client`, read within `limits`: for a server that has other limits
    /// than AWS. No I/O.
    pub fn with_limits(client: Client, stream: StreamRef, limits: ReadLimits) -> Self {
        Self(Arc::new(Shared {
            client: client.of_class(RequestClass::Read),
            stream,
            limits,
            shards: Mutex::default(),
            facts: Mutex::default(),
            first: OnceLock::new(),
        }))
    }

    /// Describes the stream, and waits until the stream can be read.
    ///
    /// # Errors
    /// [`SourceError`], as [`wait_active`](create::wait_active).
    pub async fn check(&self) -> Result<StreamDescription, SourceError> {
        let described = create::wait_active(&self.0.client, &self.0.stream).await?;
        self.0.learn(&described);
        Ok(described)
    }
}

#[async_trait]
impl Source for KinesisSource {
    async fn facts(&self) -> Result<SourceFacts, SourceError> {
        let clock = self.0.client.clock();
        let before = clock.wall();
        let Answered { answer, date } = self.0.describe().await?;

        let time = match date {
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
            identity: answer.identity(),
            retention: answer.retention,
            time,
            limits: self.0.limits,
        })
    }

    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        self.0.list().await
    }

    fn open(&self, shard: &ShardId, position: Position) -> Box<dyn ShardReader> {
        let shared = Arc::clone(&self.0);
        Box::new(reader::Reader::new(shared, shard.clone(), position))
    }
}

/// True if the open shards together have every hash key, as those of each stream do. A shard
/// without a hash range counts as any range.
fn covers_hash_space(shards: &[Shard]) -> bool {
    let mut ranges: Vec<Option<HashRange>> = shards
        .iter()
        .filter(|shard| !shard.closed)
        .map(|shard| shard.hash_range)
        .collect();
    if ranges.iter().any(Option::is_none) {
        return true;
    }
    ranges.sort_by_key(|range| range.map(|range| range.start));

    let mut next = 0;
    for range in ranges.into_iter().flatten() {
        if range.start > next {
            return false;
        }
        let Some(after) = range.end.checked_add(1) else {
            return true;
        };
        next = next.max(after);
    }
    false
}

fn shard_of(shard: &types::Shard) -> Shard {
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
        start: starting_number(shard),
        closed: is_closed(shard),
    }
}

/// Digits of a sequence number of Kinesis. A server that counts from 1 (moto) gives the first
/// record the shard's starting number, and a reader after that number would skip the record.
const SEQUENCE_DIGITS_MIN: usize = 50;

/// The number at which the shard begins, before its first record; `None` if the server names none,
/// or no number of Kinesis.
fn starting_number(shard: &types::Shard) -> Option<Sequence> {
    let range = shard.sequence_number_range.as_ref()?;
    let text = &range.starting_sequence_number;
    if text.len() < SEQUENCE_DIGITS_MIN || text.len() > 129 {
        return None;
    }
    let mut bytes = text.bytes();
    let is_number = bytes.all(|b| b.is_ascii_digit());
    if !is_number {
        return None;
    }
    let number = Sequence::new(text);
    Some(number)
}

/// The server's time: `date`, or a moment that is surely not later.
fn server_time(date: Option<Millis>, client: &Client) -> Millis {
    date.unwrap_or_else(|| client.clock().wall().minus(Duration::from_secs(1)))
}
