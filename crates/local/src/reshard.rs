//! Changes that a stream makes at the end of UPDATING: splits, merges, a new shard count, settings.

use distributary_wire::hashkey::HashRange;
use distributary_wire::types::StreamMode;

use crate::stream::{Phase, State};

/// A change made at the end of UPDATING. Stored on disk as JSON.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Change {
    /// Splits a shard. The second child starts at hash key `at`.
    Split { shard: u32, at: u128 },
    /// Merges two adjacent shards.
    Merge { shard: u32, adjacent: u32 },
    /// Splits and merges shards until there are this many of equal hash ranges.
    Count(u32),
    /// Encrypts with a KMS key; `None` stops encryption.
    Encrypt(Option<String>),
    /// Sets the capacity mode.
    Mode(StreamMode),
    /// Sets the largest record in KiB.
    RecordSize(i32),
    /// Sets the retention period in hours.
    Retention(i32),
    /// Sets the warm throughput in MiB a second.
    Warm(i32),
}

impl State {
    /// Starts UPDATING; the change is made after `delay_ms`.
    pub(crate) fn start_change(&mut self, change: Change, now_ms: u64, delay_ms: u64) {
        self.phase = Phase::Updating {
            until_ms: now_ms.saturating_add(delay_ms),
            change,
        };
        self.wake_subscribers();
    }

    /// Starts DELETING, unless the stream is in that state already.
    pub(crate) fn start_deleting(&mut self, until_ms: u64) {
        if !matches!(self.phase, Phase::Deleting { .. } | Phase::Gone) {
            self.phase = Phase::Deleting { until_ms };
            self.wake_subscribers();
        }
    }

    /// Wakes all subscribers, so that each asks when the next change is due.
    pub(crate) fn wake_subscribers(&self) {
        for shard in self.shards.values() {
            shard.log.wake_all();
        }
    }

    /// Makes a change now.
    pub(crate) fn apply(&mut self, change: Change, now_ms: u64) {
        match change {
            Change::Split { shard, at } => {
                self.split(shard, at, now_ms);
            }
            Change::Merge { shard, adjacent } => {
                self.merge(shard, adjacent, now_ms);
            }
            Change::Count(target) => self.scale(target, now_ms),
            Change::Encrypt(key) => self.key_id = key,
            Change::Mode(mode) => self.mode = mode,
            Change::RecordSize(kib) => self.max_record_kib = kib,
            Change::Retention(hours) => self.retention_hours = hours,
            Change::Warm(mibps) => self.warm_mibps = Some(mibps),
        }
    }

    /// Closes an open shard. Returns the hash range, and the second since 1970 at which the
    /// children are created: at least one second after the parent, so that sequence numbers grow.
    fn close(&mut self, index: u32, now_ms: u64) -> Option<(HashRange, u64)> {
        let at = self.open.iter().position(|s| s.index == index)?;
        let shard = self.open.remove(at);
        let closed_ms = shard.log.close(now_ms);

        let children_created_s = (closed_ms / 1000).max(shard.numbers.created_s + 1);
        Some((shard.range, children_created_s))
    }

    /// Splits an open shard. Returns the number of the second child. The caller holds the stream's
    /// lock, so no reader sees the closed parent before the children exist.
    fn split(&mut self, index: u32, at: u128, now_ms: u64) -> Option<u32> {
        let (range, created_s) = self.close(index, now_ms)?;
        let below = HashRange {
            start: range.start,
            end: at.saturating_sub(1),
        };
        let above = HashRange {
            start: at,
            end: range.end,
        };

        let parents = (Some(index), None);
        self.add_shard(below, parents, now_ms, created_s);
        let second = self.add_shard(above, parents, now_ms, created_s);
        Some(second.index)
    }

    /// Merges two open shards. Returns the number of the child.
    fn merge(&mut self, index: u32, adjacent: u32, now_ms: u64) -> Option<u32> {
        let (first, first_s) = self.close(index, now_ms)?;
        let (second, second_s) = self.close(adjacent, now_ms)?;
        let range = HashRange {
            start: first.start.min(second.start),
            end: first.end.max(second.end),
        };

        let parents = (Some(index), Some(adjacent));
        let child = self.add_shard(range, parents, now_ms, first_s.max(second_s));
        Some(child.index)
    }

    /// Splits the open shards at the new boundaries, then merges the parts of each new range. As on
    /// AWS, closed and empty shards in between may remain.
    fn scale(&mut self, target: u32, now_ms: u64) {
        let ranges = HashRange::even(target);
        for range in &ranges {
            let to_split = self
                .open
                .iter()
                .find(|s| s.range.contains(range.start) && s.range.start != range.start);
            if let Some(index) = to_split.map(|s| s.index) {
                self.split(index, range.start, now_ms);
            }
        }

        for range in &ranges {
            self.merge_parts(range, now_ms);
        }
    }

    /// Merges all open shards in a hash range.
    fn merge_parts(&mut self, range: &HashRange, now_ms: u64) {
        let parts: Vec<u32> = self
            .open
            .iter()
            .filter(|s| range.covers(&s.range))
            .map(|s| s.index)
            .collect();

        let mut parts = parts.into_iter();
        let mut whole = parts.next();
        for part in parts {
            whole = whole.and_then(|whole| self.merge(whole, part, now_ms));
        }
    }
}
