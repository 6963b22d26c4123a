//! The facts about the source: its shards and their records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::checkpoint::{Position, Sequence};
use distributary_core::clock::Millis;

use super::Truth;
use super::outputs::OutputFacts;

/// One record of the source.
#[derive(Debug)]
pub(super) struct RecordFacts {
    pub(super) shard: usize,
    /// The position among the records of the shard.
    pub(super) index: usize,
    pub(super) sequence: Sequence,
    /// The index among the rows of the source's record; `None` for a record.
    pub(super) sub: Option<u32>,
    pub(super) key: Option<u32>,
    pub(super) digest: u64,
    pub(super) size: usize,
    pub(super) arrival: Millis,
    /// Retention has deleted the record.
    pub(super) trimmed: bool,
}

/// One shard of the source.
#[derive(Debug, Default)]
pub(super) struct ShardFacts {
    pub(super) parents: Vec<usize>,
    pub(super) records: Vec<usize>,
    /// How many of the shard's records were read.
    read: usize,
    /// Time of the last read that returned new records or the end of the shard.
    read_at: Duration,
}

/// A record that was written to the source.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// The shard that holds the record.
    pub shard: &'a ShardId,
    /// The sequence number in the shard.
    pub sequence: &'a Sequence,
    /// Time of arrival, by the server's clock.
    pub arrival: Millis,
    /// The partition key.
    pub key: Option<&'a str>,
    /// A hash of the data.
    pub digest: u64,
    /// Bytes of data and key.
    pub size: usize,
}

impl Truth {
    /// The number of a shard, new or known.
    pub(super) fn shard(&mut self, id: &ShardId) -> usize {
        if let Some(shard) = self.shard_ids.get(id) {
            return *shard;
        }

        let shard = self.shards.len();
        self.shards.push(ShardFacts::default());
        self.shard_ids.insert(id.clone(), shard);
        shard
    }

    /// Learns shards with their parents.
    pub fn lineage(&mut self, lineage: &BTreeMap<ShardId, Vec<ShardId>>) {
        for (id, parents) in lineage {
            let shard = self.shard(id);
            self.shards[shard].parents = parents.iter().map(|p| self.shard(p)).collect();
        }
        self.for_rows(|rows| rows.lineage(lineage));
    }

    /// The number of a key, new or known.
    fn key_number(&mut self, key: &str) -> u32 {
        let next = u32::try_from(self.keys.len()).unwrap_or(u32::MAX);
        *self.keys.entry(Arc::from(key)).or_insert(next)
    }

    /// A record was written to the source.
    pub fn put(&mut self, put: &Put<'_>) {
        let shard = self.shard(put.shard);
        let key = put.key.map(|key| self.key_number(key));

        let of_shard = &mut self.shards[shard].records;
        let index = of_shard.len();
        of_shard.push(self.records.len());
        self.records.push(RecordFacts {
            shard,
            index,
            sequence: put.sequence.clone(),
            sub: None,
            key,
            digest: put.digest,
            size: put.size,
            arrival: put.arrival,
            trimmed: false,
        });
        self.trace.note(put.digest);
        self.put_rows(put);
    }

    /// Retention deleted these records. The engine must report a gap where a lane's checkpoint
    /// names a record before them. Without such a checkpoint, a reader that lanes share may not
    /// notice the gap.
    pub fn trimmed(&mut self, trimmed: &[usize]) {
        self.trim_rows(trimmed);
        for n in trimmed {
            let record = &mut self.records[*n];
            record.trimmed = true;

            for output in self.outputs.values_mut() {
                if output.misses(record, self.starts_tell) {
                    output.owed_gaps.push(*n);
                }
            }
        }
    }

    /// `count` records of a shard behind `from` were read.
    pub(super) fn read(&mut self, shard: &ShardId, from: &Position, count: usize) {
        let Some(shard) = self.shard_ids.get(shard) else {
            return;
        };

        let shard = &mut self.shards[*shard];
        let mut start = durable_by(&self.records, &shard.records, Some(from));
        let trimmed = |n: &usize| self.records[*n].trimmed;
        while shard.records.get(start).is_some_and(trimmed) {
            start += 1;
        }
        if start + count > shard.read {
            shard.read = start + count;
            shard.read_at = self.now;
        }
    }

    /// A shard was read to its end.
    pub(super) fn read_to_end(&mut self, shard: &ShardId) {
        if let Some(shard) = self.shard_ids.get(shard) {
            self.shards[*shard].read_at = self.now;
        }
    }

    /// True if an output should have the record: neither deleted nor older than the output's start.
    pub(super) fn wants(&self, output: &OutputFacts, n: usize) -> bool {
        let record = &self.records[n];
        let from = output.lanes.get(&record.shard).and_then(|l| l.from);
        !record.trimmed && from.is_none_or(|from| record.arrival >= from)
    }

    /// True if an output should have the record and never acknowledged the record.
    pub(super) fn lacks(&self, output: &OutputFacts, n: usize) -> bool {
        self.wants(output, n) && !output.has(n)
    }

    fn output_in_place(&self, service: &str) -> Option<&OutputFacts> {
        self.outputs.get(service).filter(|o| !o.removed)
    }

    /// The number, in requests, of a record that an output lacks, picked by `pick` from the count.
    pub fn pick_lacking(&self, service: &str, pick: impl FnOnce(usize) -> usize) -> Option<u128> {
        self.facts_of(service).pick_lacking_here(service, pick)
    }

    /// The number, in requests, of the next record that is written to the source.
    pub fn next_number(&self) -> u128 {
        self.first + self.records.len() as u128
    }

    fn pick_lacking_here(&self, service: &str, pick: impl FnOnce(usize) -> usize) -> Option<u128> {
        let output = self.outputs.get(service)?;
        let lacking: Vec<usize> = (0..self.records.len())
            .filter(|n| self.lacks(output, *n))
            .collect();
        if lacking.is_empty() {
            return None;
        }

        let n = lacking[pick(lacking.len()) % lacking.len()];
        match self.records[n].sub {
            Some(_) => self.records[n].sequence.as_str().parse().ok(),
            None => Some(self.first + n as u128),
        }
    }

    /// The first record that an output lacks.
    pub fn missing(&self, service: &str) -> Option<usize> {
        let facts = self.facts_of(service);
        let output = facts.output_in_place(service)?;
        (0..facts.records.len()).find(|n| facts.lacks(output, *n))
    }

    /// A record that an output lacks and that arrived before `before`, in a shard without progress
    /// since `since`.
    pub fn stalled(&self, service: &str, before: Millis, since: Duration) -> Option<usize> {
        let output = self.output_in_place(service)?;
        (0..self.records.len()).find(|n| {
            let record = &self.records[*n];
            record.arrival < before
                && self.stands_still(output, record.shard, since)
                && self.lacks(output, *n)
        })
    }

    /// True if since `since` nothing new was read and the output acknowledged nothing, in a shard
    /// and all its ancestors, and the engine has owned all of these shards.
    fn stands_still(&self, output: &OutputFacts, shard: usize, since: Duration) -> bool {
        let mut to_check = vec![shard];
        while let Some(shard) = to_check.pop() {
            let answered_at = output.lanes.get(&shard).map(|lane| lane.answered_at);
            let facts = &self.shards[shard];
            let last_progress = answered_at.unwrap_or_default().max(facts.read_at);
            if last_progress >= since || !self.is_held(shard, since, self.now) {
                return false;
            }
            to_check.extend(&facts.parents);
        }
        true
    }
}

/// How many of a shard's records (`of_shard`) are durable by `position`.
pub(super) fn durable_by(
    records: &[RecordFacts],
    of_shard: &[usize],
    position: Option<&Position>,
) -> usize {
    match position {
        None | Some(Position::TrimHorizon) => 0,
        Some(Position::At(from)) => of_shard.partition_point(|n| records[*n].arrival < *from),
        Some(Position::After {
            sequence: last,
            sub: None,
        }) => of_shard.partition_point(|n| records[*n].sequence <= *last),
        Some(Position::After {
            sequence: last,
            sub: Some(part),
        }) => of_shard.partition_point(|n| {
            let RecordFacts { sequence, sub, .. } = &records[*n];
            let is_passed = sub.is_some_and(|sub| sub <= *part);
            sequence < last || (sequence == last && is_passed)
        }),
        Some(Position::Closed) => of_shard.len(),
    }
}
