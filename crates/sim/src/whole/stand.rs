//! What stands in an output stream in the end, read out of it directly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use distributary_core::clock::ClockSource;
use distributary_core::sync::lock;
use distributary_core::testing::TestClock;
use distributary_kinesis::output::Route;
use distributary_local::Local;
use distributary_wire::hashkey::{self, HashRange};
use distributary_wire::types::{
    GetRecordsRequest, GetShardIteratorRequest, ListShardsRequest, Record, ShardIteratorType,
};

use super::link::{Link, Stands};
use super::records::{Records, digest};
use super::server::ask;
use super::wire::Written;
use crate::truth::line;

/// Calls that are refused for their rate are made again after this.
const WAIT: Duration = Duration::from_millis(500);
/// Tries and pages; no stream of a run needs so many.
const MOST_CALLS: usize = 20_000;

type Wrong = (&'static str, String);

/// Everything that was acknowledged stands there, byte for byte, nothing else does, and in each shard in the order in which it
/// was written.
pub(super) async fn judge(
    link: &Link,
    route: Route,
    records: &Arc<Mutex<Records>>,
    clock: &TestClock,
) -> Result<(), Wrong> {
    let before = link.stands();
    let found = read(&link.local, &link.stream, clock)
        .await
        .map_err(|what| (line::COMPLETE, what))?;
    let after: BTreeMap<Written, Stands> = link
        .stands()
        .into_iter()
        .map(|s| (s.at.clone(), s))
        .collect();
    let records = lock(records);
    let stands: BTreeSet<&Written> = found.shards.values().flatten().map(|(at, _)| at).collect();
    for Stands { at, record, .. } in &before {
        if !stands.contains(at) {
            return Err((
                line::DURABLE,
                format!("record {record} was acknowledged, and is not in the stream"),
            ));
        }
    }
    for (range, all) in found.ranges.iter().zip(found.shards.values()) {
        let mut last = None;
        for (at, read) in all {
            let Some(Stands { record, place, .. }) = after.get(at) else {
                return Err((
                    line::COMPLETE,
                    format!("nobody wrote what stands at {at:?}"),
                ));
            };
            let kept = records.all.get(*record);
            let data = read.data.0.as_ref();
            if kept.is_none_or(|k| {
                read.partition_key.as_deref() != Some(&k.key) || digest(data) != k.digest
            }) {
                return Err((
                    line::COMPLETE,
                    format!("record {record} is another in the stream"),
                ));
            }
            if route == Route::PartitionKey
                && !range.contains(hashkey::of_partition_key(
                    read.partition_key.as_deref().unwrap_or_default(),
                ))
            {
                return Err((
                    line::COMPLETE,
                    format!("record {record} stands in the wrong shard"),
                ));
            }
            if last > Some(*place) {
                return Err((
                    line::ORDER,
                    format!("record {record} does not stand where it was written"),
                ));
            }
            last = Some(*place);
        }
    }
    Ok(())
}

/// All that a stream holds.
struct Found {
    shards: BTreeMap<String, Vec<(Written, Record)>>,
    /// Of the shards, in the same order.
    ranges: Vec<HashRange>,
}

async fn read(local: &Local, stream: &str, clock: &TestClock) -> Result<Found, String> {
    let mut calls = Calls {
        local,
        clock,
        left: MOST_CALLS,
    };
    let request = ListShardsRequest {
        stream_name: Some(stream.to_owned()),
        ..Default::default()
    };
    let listed = calls.call(&request).await?.shards.unwrap_or_default();
    let mut found = Found {
        shards: BTreeMap::new(),
        ranges: Vec::new(),
    };
    let mut ranges = BTreeMap::new();
    for shard in listed {
        let range = shard.hash_key_range.as_ref().and_then(HashRange::from_wire);
        ranges.insert(shard.shard_id.clone(), range.unwrap_or(HashRange::ALL));
        let request = GetShardIteratorRequest {
            stream_name: Some(stream.to_owned()),
            shard_id: Some(shard.shard_id.clone()),
            shard_iterator_type: Some(ShardIteratorType::TrimHorizon),
            ..Default::default()
        };
        let mut iterator = calls.call(&request).await?.shard_iterator;
        let mut all = Vec::new();
        while let Some(shard_iterator) = iterator.take() {
            let request = GetRecordsRequest {
                shard_iterator: Some(shard_iterator),
                ..Default::default()
            };
            let page = calls.call(&request).await?;
            let empty = page.records.is_empty();
            for record in page.records {
                let sequence = record.sequence_number.clone();
                all.push((
                    Written {
                        shard: shard.shard_id.clone(),
                        sequence,
                    },
                    record,
                ));
            }
            let at_tip = page.millis_behind_latest.unwrap_or(0) == 0;
            iterator = page.next_shard_iterator.filter(|_| !(empty && at_tip));
        }
        found.shards.insert(shard.shard_id, all);
    }
    found.ranges = ranges.into_values().collect();
    Ok(found)
}

struct Calls<'a> {
    local: &'a Local,
    clock: &'a TestClock,
    left: usize,
}

impl Calls<'_> {
    /// A call, again and again while it is refused for its rate or its stream is being made.
    async fn call<R: distributary_wire::types::Request>(
        &mut self,
        request: &R,
    ) -> Result<R::Answer, String> {
        loop {
            let error = match ask(self.local, request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                return Err(format!("it cannot be read: {error}"));
            }
            self.clock.sleep(WAIT).await;
        }
    }
}
