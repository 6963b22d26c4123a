//! The last minute of an output, second by second.

use std::collections::{BTreeMap, VecDeque};

use distributary_core::clock::Instant;

use super::shard_rate::Amount;

/// Seconds that are remembered.
const WINDOW: u64 = 60;

/// A shard by its index in the map; `None` if the map does not tell the shard.
pub(super) type ShardIndex = Option<usize>;

/// The counts of one second.
#[derive(Debug, Default)]
pub(super) struct Second {
    at: u64,
    /// Records that were sent, refused ones included.
    pub(super) records: u64,
    /// Bytes that were sent.
    pub(super) bytes: u64,
    /// Refused records by the shard that refused them.
    pub(super) refused: BTreeMap<ShardIndex, u64>,
    /// Requests whose records were counted against the shards' rates.
    pub(super) counted: u64,
    /// Requests that used up all the room of a shard, by that shard.
    pub(super) exhausted: BTreeMap<ShardIndex, u64>,
}

/// The seconds of the last minute.
#[derive(Debug, Default)]
pub(super) struct History(VecDeque<Second>);

impl History {
    /// The counts of the current second.
    pub(super) fn second(&mut self, now: Instant) -> &mut Second {
        let at = now.0.as_secs();
        while self.0.front().is_some_and(|s| s.at + WINDOW <= at) {
            self.0.pop_front();
        }

        if self.0.back().is_none_or(|s| s.at < at) {
            self.0.push_back(Second {
                at,
                ..Second::default()
            });
        }
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    /// Forgets which shards the counts belong to: the indices of an old map mean nothing in the new
    /// map.
    pub(super) fn forget_shards(&mut self) {
        for second in &mut self.0 {
            for counts in [&mut second.refused, &mut second.exhausted] {
                let all = counts.values().sum();
                counts.clear();
                if all > 0 {
                    counts.insert(None, all);
                }
            }
        }
    }

    /// The sums over the last minute.
    pub(super) fn recent(&self, now: Instant) -> Recent {
        let mut sum = Recent::default();
        let at = now.0.as_secs();
        for second in self.0.iter().filter(|s| s.at + WINDOW > at) {
            sum.seconds = sum.seconds.max(at.saturating_sub(second.at) + 1);
            sum.records += second.records;
            sum.bytes += second.bytes;
            sum.counted += second.counted;
            sum.refused.add(&second.refused);
            sum.exhausted.add(&second.exhausted);
        }
        sum
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

/// Sums over the last minute.
#[derive(Debug, Default)]
pub(super) struct Recent {
    /// Seconds since the first count.
    seconds: u64,
    pub(super) records: u64,
    bytes: u64,
    pub(super) counted: u64,
    pub(super) refused: ByShard,
    pub(super) exhausted: ByShard,
}

impl Recent {
    /// The number of shards that would take the records that were sent.
    pub(super) fn offered_shards(&self) -> f64 {
        let offered = Amount {
            records: self.records as f64,
            bytes: self.bytes as f64,
        };
        offered.shard_seconds() / self.seconds.max(1) as f64
    }

    /// The shard that had no room most of the times, if one had.
    pub(super) fn hottest(&self) -> Option<usize> {
        self.exhausted
            .majority()
            .or_else(|| self.refused.majority())
    }
}

/// Counts by shard.
#[derive(Debug, Default)]
pub(super) struct ByShard {
    counts: BTreeMap<ShardIndex, u64>,
    /// The sum.
    pub(super) all: u64,
}

impl ByShard {
    fn add(&mut self, counts: &BTreeMap<ShardIndex, u64>) {
        for (shard, count) in counts {
            *self.counts.entry(*shard).or_default() += count;
            self.all += count;
        }
    }

    /// The shard that has more than half of the counts.
    fn majority(&self) -> ShardIndex {
        let (shard, _) = self.counts.iter().find(|(_, n)| **n * 2 > self.all)?;
        *shard
    }
}
