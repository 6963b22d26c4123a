//! The source stream of a run: its server, its shards, and the records that producers write.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Sequence;
use distributary_core::clock::Millis;
use distributary_core::sync::lock;
use distributary_local::Local;
use distributary_wire::hashkey::HashRange;
use distributary_wire::types::{
    GetShardIteratorRequest, ListShardsRequest, MergeShardsRequest, PutRecordsRequest,
    PutRecordsRequestEntry, Shard, ShardIteratorType, SplitShardRequest,
};

use super::client::ClientOptions;
use super::link::{Link, LinkContext};
use super::records::{SourceRecord, digest};
use super::server::{ServerEnvironment, call};
use crate::truth::Put;

/// The name of the source stream.
pub(super) const SOURCE: &str = "source";
/// Records and bytes that go to the source in one request, at most.
const PUT_RECORDS: usize = 500;
const PUT_BYTES: usize = 4 << 20;
/// How long the source keeps records.
const RETENTION: Duration = Duration::from_secs(24 * 3600);
/// Open shards of the source, at most.
const MOST_SHARDS: usize = 8;

/// A partition key and the data of one record.
pub(super) type NewRecord = (String, Vec<u8>);

/// The source stream and the fan-out's link to it.
pub(super) struct SourceStream {
    pub(super) server: Local,
    pub(super) environment: Arc<ServerEnvironment>,
    pub(super) link: Arc<Link>,
    pub(super) options: ClientOptions,
    pub(super) context: LinkContext,
}

impl SourceStream {
    /// All shards: open ones first, each group in the order of hash ranges.
    async fn shards(&self) -> Vec<(HashRange, Shard)> {
        let request = ListShardsRequest {
            stream_name: Some(SOURCE.to_owned()),
            ..Default::default()
        };
        let answer = call(&self.server, &request).await.ok();
        let listed = answer.and_then(|a| a.shards).unwrap_or_default();

        let mut shards: Vec<_> = listed
            .into_iter()
            .filter_map(|shard| Some((range_of(&shard)?, shard)))
            .collect();
        shards.sort_by_key(|(range, shard)| (is_closed(shard), *range));
        shards
    }

    async fn open_shards(&self) -> Vec<(HashRange, Shard)> {
        let mut shards = self.shards().await;
        shards.retain(|(_, shard)| !is_closed(shard));
        shards
    }

    /// Reports the shards and their parents, and remembers their hash ranges.
    async fn learn_shards(&self) {
        let shards = self.shards().await;
        let mut lineage = BTreeMap::new();

        let mut records = lock(&self.context.records);
        for (range, shard) in &shards {
            let id = ShardId::new(&shard.shard_id);
            records.starts.insert(id.clone(), range.start.to_string());
            lineage.insert(id, parents_of(shard));
        }
        drop(records);

        self.context.observer.truth().lineage(&lineage);
    }

    async fn ensure_known(&self, shard: &ShardId) {
        let is_known = lock(&self.context.records).starts.contains_key(shard);
        if !is_known {
            self.learn_shards().await;
        }
    }

    /// Writes records, in as few requests as the limits allow.
    pub(super) async fn put(&self, records: impl Iterator<Item = NewRecord>) {
        let (mut request, mut bytes) = (Vec::new(), 0);
        for (key, data) in records {
            let size = data.len() + key.len();
            if request.len() == PUT_RECORDS || bytes + size > PUT_BYTES {
                self.put_request(std::mem::take(&mut request)).await;
                bytes = 0;
            }
            bytes += size;
            request.push((key, data));
        }
        self.put_request(request).await;
    }

    /// Writes these records in one request.
    async fn put_request(&self, new_records: Vec<NewRecord>) {
        if new_records.is_empty() {
            return;
        }

        let arrival = self.context.clock.server();
        // A source over its limits does not have the records; the producer doesn't retry.
        let Ok(answer) = call(&self.server, &put_records(&new_records)).await else {
            return;
        };
        for (entry, record) in answer.records.into_iter().zip(new_records) {
            if let (Some(sequence), Some(shard)) = (entry.sequence_number, entry.shard_id) {
                let shard = ShardId::new(&shard);
                self.written(record, shard, sequence, arrival).await;
            }
        }
    }

    /// Reports and remembers a record that was written.
    async fn written(
        &self,
        (key, data): NewRecord,
        shard: ShardId,
        sequence: String,
        arrival: Millis,
    ) {
        self.ensure_known(&shard).await;
        let digest = digest(&data);
        self.context.observer.truth().put(&Put {
            shard: &shard,
            sequence: &Sequence::new(&sequence),
            arrival,
            key: Some(&key),
            digest,
            size: data.len() + key.len(),
        });
        lock(&self.context.records).add(SourceRecord {
            key,
            digest,
            shard,
            sequence,
            arrival: arrival.0,
            expired: false,
        });
    }

    /// Splits an open shard in the middle, while there are not too many.
    pub(super) async fn split(&self, i: usize) {
        let open = self.open_shards().await;
        if open.is_empty() || open.len() >= MOST_SHARDS {
            return;
        }

        let (range, shard) = &open[i % open.len()];
        let middle = range.start + (range.end - range.start) / 2 + 1;
        let request = SplitShardRequest {
            stream_name: Some(SOURCE.to_owned()),
            shard_to_split: Some(shard.shard_id.clone()),
            new_starting_hash_key: Some(middle.to_string()),
            ..Default::default()
        };
        // The server refuses while the stream is UPDATING, or if the shard is too narrow.
        _ = call(&self.server, &request).await;
        self.learn_shards().await;
    }

    /// Merges two neighbouring open shards, if there are two.
    pub(super) async fn merge(&self, i: usize) {
        let open = self.open_shards().await;
        if open.len() < 2 {
            return;
        }

        let i = i % (open.len() - 1);
        let request = MergeShardsRequest {
            stream_name: Some(SOURCE.to_owned()),
            shard_to_merge: Some(open[i].1.shard_id.clone()),
            adjacent_shard_to_merge: Some(open[i + 1].1.shard_id.clone()),
            ..Default::default()
        };
        // The server refuses while the stream is UPDATING.
        _ = call(&self.server, &request).await;
        self.learn_shards().await;
    }

    /// Lets retention delete records older than `age`; true if there were any.
    pub(super) async fn expire(&self, age: Duration) -> bool {
        let before = self.shards().await.len();

        let ahead = RETENTION.saturating_sub(age);
        let ahead = u64::try_from(ahead.as_millis()).unwrap_or(0);
        self.environment.set_ahead(ahead);
        let left = self.shards().await;
        for (_, shard) in &left {
            self.apply_retention(shard).await;
        }
        self.environment.set_ahead(0);

        // After a real day no iterator would be valid any more.
        self.server.faults().expire_iterators();
        let expired = self.mark_expired(age, left.len() < before);
        self.context.observer.truth().trimmed(&expired);
        !expired.is_empty()
    }

    /// Asks for the oldest record of a shard, which makes the server delete older ones.
    async fn apply_retention(&self, shard: &Shard) {
        let request = GetShardIteratorRequest {
            stream_name: Some(SOURCE.to_owned()),
            shard_id: Some(shard.shard_id.clone()),
            shard_iterator_type: Some(ShardIteratorType::TrimHorizon),
            ..Default::default()
        };
        _ = call(&self.server, &request).await;
    }

    /// Marks the records older than `age`; returns the numbers of those not marked before.
    fn mark_expired(&self, age: Duration, lost_shards: bool) -> Vec<usize> {
        let cutoff = self.context.clock.server().minus(age);
        let mut expired = Vec::new();

        let mut records = lock(&self.context.records);
        records.lost_shards |= lost_shards;
        for (n, record) in records.all.iter_mut().enumerate() {
            if !record.expired && Millis(record.arrival) < cutoff {
                record.expired = true;
                expired.push(n);
            }
        }
        expired
    }
}

fn put_records(records: &[NewRecord]) -> PutRecordsRequest {
    let entry = |(key, data): &NewRecord| PutRecordsRequestEntry {
        data: Some(data.clone().into()),
        partition_key: Some(key.clone()),
        explicit_hash_key: None,
    };
    PutRecordsRequest {
        stream_name: Some(SOURCE.to_owned()),
        records: Some(records.iter().map(entry).collect()),
        ..Default::default()
    }
}

fn range_of(shard: &Shard) -> Option<HashRange> {
    let range = shard.hash_key_range.as_ref();
    range.and_then(HashRange::from_wire)
}

fn parents_of(shard: &Shard) -> Vec<ShardId> {
    let parents = [&shard.parent_shard_id, &shard.adjacent_parent_shard_id];
    let parents = parents.into_iter().flatten();
    parents.map(|id| ShardId::new(id)).collect()
}

fn is_closed(shard: &Shard) -> bool {
    let range = shard.sequence_number_range.as_ref();
    range.is_some_and(|r| r.ending_sequence_number.is_some())
}
