//! Changes of a stream that pass through UPDATING: splits, merges, a new shard count, settings.

use distributary_wire::hashkey::HashRange;
use distributary_wire::types::StreamMode;

use crate::stream::{Phase, State};

/// A change that is made when UPDATING ends.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Change {
    /// Splits a shard; the second child begins at the key.
    Split { shard: u32, at: u128 },
    /// Merges two adjacent shards.
    Merge { shard: u32, adjacent: u32 },
    /// Splits and merges until there are so many shards of even ranges.
    Count(u32),
    /// Encrypts with a key, or no longer.
    Encrypt(Option<String>),
    /// Changes the capacity mode.
    Mode(StreamMode),
    /// Changes the largest record, in KiB.
    RecordSize(i32),
    /// Keeps records for so many hours.
    Retention(i32),
    /// Changes the warm throughput, in MiB a second.
    Warm(i32),
}

impl State {
    /// Begins a change, which is made after `delay_ms`.
    pub(crate) fn begin(&mut self, change: Change, now_ms: u64, delay_ms: u64) {
        self.phase = Phase::Updating {
            until_ms: now_ms.saturating_add(delay_ms),
            change,
        };
        self.wake_subscribers();
    }

    /// Subscribers look when the stream will change, so that they see it then.
    pub(crate) fn wake_subscribers(&self) {
        for shard in self.shards.values() {
            shard.log.wake_all();
        }
    }

    /// Makes a change.
    pub(crate) fn apply(&mut self, change: &Change, now_ms: u64) {
        match change {
            Change::Split { shard, at } => {
                self.split(*shard, *at, now_ms);
            }
            Change::Merge { shard, adjacent } => {
                self.merge(*shard, *adjacent, now_ms);
            }
            Change::Count(target) => self.scale(*target, now_ms),
            Change::Encrypt(key) => self.key_id.clone_from(key),
            Change::Mode(mode) => self.mode = mode.clone(),
            Change::RecordSize(kib) => self.max_record_kib = *kib,
            Change::Retention(hours) => self.retention_hours = *hours,
            Change::Warm(mibps) => self.warm_mibps = Some(*mibps),
        }
    }

    /// Closes an open shard; gives the second in which its children are created, later than it was.
    fn close(&mut self, index: u32, now_ms: u64) -> Option<(HashRange, u64)> {
        let at = self.open.iter().position(|s| s.index == index)?;
        let shard = self.open.remove(at);
        let closed_ms = shard.log.close(now_ms);
        Some((
            shard.range,
            (closed_ms / 1000).max(shard.numbers.created_s + 1),
        ))
    }

    /// The index of the second child. The children are there before readers can see that the parent is closed, since the
    /// caller holds the stream's lock.
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
        self.add_shard(below, (Some(index), None), now_ms, created_s);
        Some(
            self.add_shard(above, (Some(index), None), now_ms, created_s)
                .index,
        )
    }

    fn merge(&mut self, index: u32, adjacent: u32, now_ms: u64) -> Option<u32> {
        let (a, a_s) = self.close(index, now_ms)?;
        let (b, b_s) = self.close(adjacent, now_ms)?;
        let range = HashRange {
            start: a.start.min(b.start),
            end: a.end.max(b.end),
        };
        Some(
            self.add_shard(range, (Some(index), Some(adjacent)), now_ms, a_s.max(b_s))
                .index,
        )
    }

    /// Splits every open shard at the new boundaries inside it, then merges what belongs together. Like AWS's, the way
    /// there may leave short-lived shards behind that are closed and empty.
    fn scale(&mut self, target: u32, now_ms: u64) {
        let ranges = HashRange::even(target);
        for range in &ranges {
            let cut = self
                .open
                .iter()
                .find(|s| s.range.contains(range.start) && s.range.start != range.start);
            if let Some(index) = cut.map(|s| s.index) {
                self.split(index, range.start, now_ms);
            }
        }
        for range in &ranges {
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
}
