//! Compares an output stream, read directly at the end of a run, with the log of its link.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::Duration;

use distributary_core::clock::ClockSource;
use distributary_core::sync::lock;
use distributary_core::testing::TestClock;
use distributary_kinesis::output::Route;
use distributary_local::Local;
use distributary_wire::hashkey::{self, HashRange};
use distributary_wire::types::{
    self, GetRecordsRequest, GetShardIteratorRequest, ListShardsRequest, Record, Shard,
    ShardIteratorType,
};

use super::link::{Link, StoredRecord};
use super::put_records::Location;
use super::records::{SourceRecords, digest};
use super::server;
use crate::truth::{Broken, line};

/// Wait after a call that was refused, for its rate or because the stream is CREATING.
const WAIT: Duration = Duration::from_millis(500);
/// Refused calls for one stream, at most; no stream of a run needs as many.
const MOST_REFUSALS: usize = 20_000;

/// Checks that the stream holds every acknowledged record byte for byte and nothing else, in each
/// shard in the order of writing.
pub(super) async fn check(
    link: &Link,
    route: Route,
    records: &Mutex<SourceRecords>,
) -> Result<(), Broken> {
    let acknowledged = link.stored();
    let mut reader = Reader {
        server: &link.server,
        stream: link.stream(),
        clock: link.clock(),
        refusals_left: MOST_REFUSALS,
    };
    let shards = reader
        .read()
        .await
        .map_err(|problem| (line::COMPLETE, problem))?;

    check_acknowledged(&acknowledged, &shards)?;
    // Requests can arrive while the stream is read, so the log is fetched again.
    let log = link.stored().into_iter();
    let log: BTreeMap<Location, StoredRecord> = log.map(|s| (s.location.clone(), s)).collect();
    let records = lock(records);
    for shard in &shards {
        check_shard(shard, &log, route, &records)?;
    }
    Ok(())
}

fn check_acknowledged(
    acknowledged: &[StoredRecord],
    shards: &[ShardRecords],
) -> Result<(), Broken> {
    let found = shards.iter().flat_map(|shard| &shard.records);
    let found: BTreeSet<&Location> = found.map(|(location, _)| location).collect();
    let missing = acknowledged.iter().find(|s| !found.contains(&s.location));

    match missing {
        None => Ok(()),
        Some(StoredRecord { record, .. }) => Err((
            line::DURABLE,
            format!("record {record} was acknowledged, but the stream does not have it"),
        )),
    }
}

fn check_shard(
    shard: &ShardRecords,
    log: &BTreeMap<Location, StoredRecord>,
    route: Route,
    records: &SourceRecords,
) -> Result<(), Broken> {
    let mut last = None;
    for (location, found) in &shard.records {
        let Some(StoredRecord { record, place, .. }) = log.get(location) else {
            let problem = format!("the record at {location:?} was never written");
            return Err((line::COMPLETE, problem));
        };

        check_record(found, *record, shard.range, route, records)?;
        if last > Some(*place) {
            return Err((
                line::ORDER,
                format!("record {record} is not in the order of writing"),
            ));
        }
        last = Some(*place);
    }
    Ok(())
}

/// Checks a record found in a shard with this range of hash keys.
fn check_record(
    found: &Record,
    number: usize,
    range: HashRange,
    route: Route,
    records: &SourceRecords,
) -> Result<(), Broken> {
    if !is_same(found, number, records) {
        let problem = format!("record {number} differs in the stream");
        return Err((line::COMPLETE, problem));
    }

    let key = found.partition_key.as_deref().unwrap_or_default();
    let in_range = || range.contains(hashkey::of_partition_key(key));
    if route == Route::PartitionKey && !in_range() {
        let problem = format!("record {number} is in a shard of other keys");
        return Err((line::COMPLETE, problem));
    }
    Ok(())
}

/// True if the record found in the stream is the source's record with this number.
fn is_same(found: &Record, number: usize, records: &SourceRecords) -> bool {
    records.all.get(number).is_some_and(|record| {
        let same_key = found.partition_key.as_deref() == Some(&record.key);
        same_key && digest(found.data.0.as_ref()) == record.digest
    })
}

/// The records that a shard of an output stream holds.
struct ShardRecords {
    range: HashRange,
    records: Vec<(Location, Record)>,
}

/// Reads a whole stream, with retries of refused calls.
struct Reader<'a> {
    server: &'a Local,
    stream: &'a str,
    clock: &'a TestClock,
    refusals_left: usize,
}

impl Reader<'_> {
    async fn read(&mut self) -> Result<Vec<ShardRecords>, String> {
        let request = ListShardsRequest {
            stream_name: Some(self.stream.to_owned()),
            ..Default::default()
        };
        let listed = self.call(&request).await?.shards.unwrap_or_default();

        let mut shards = BTreeMap::new();
        for shard in listed {
            let range = shard.hash_key_range.as_ref().and_then(HashRange::from_wire);
            let range = range.unwrap_or(HashRange::ALL);
            let records = self.read_shard(&shard).await?;
            shards.insert(shard.shard_id, ShardRecords { range, records });
        }
        Ok(shards.into_values().collect())
    }

    async fn first_iterator(&mut self, shard: &Shard) -> Result<Option<String>, String> {
        let request = GetShardIteratorRequest {
            stream_name: Some(self.stream.to_owned()),
            shard_id: Some(shard.shard_id.clone()),
            shard_iterator_type: Some(ShardIteratorType::TrimHorizon),
            ..Default::default()
        };
        let answer = self.call(&request).await?;
        Ok(answer.shard_iterator)
    }

    async fn read_shard(&mut self, shard: &Shard) -> Result<Vec<(Location, Record)>, String> {
        let mut iterator = self.first_iterator(shard).await?;
        let mut records = Vec::new();
        while let Some(shard_iterator) = iterator.take() {
            let request = GetRecordsRequest {
                shard_iterator: Some(shard_iterator),
                ..Default::default()
            };
            let page = self.call(&request).await?;
            let empty = page.records.is_empty();
            let located = |record: Record| (location(shard, &record), record);
            records.extend(page.records.into_iter().map(located));

            let at_tip = page.millis_behind_latest.unwrap_or(0) == 0;
            iterator = page.next_shard_iterator.filter(|_| !(empty && at_tip));
        }
        Ok(records)
    }

    /// Makes a call again until the call is not refused any more.
    async fn call<R: types::Request>(&mut self, request: &R) -> Result<R::Answer, String> {
        loop {
            let error = match server::call(self.server, request).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };

            self.refusals_left = self.refusals_left.saturating_sub(1);
            if self.refusals_left == 0 {
                return Err(format!("the stream can't be read: {error}"));
            }
            self.clock.sleep(WAIT).await;
        }
    }
}

fn location(shard: &Shard, record: &Record) -> Location {
    Location {
        shard: shard.shard_id.clone(),
        sequence: record.sequence_number.clone(),
    }
}
