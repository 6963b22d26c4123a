//! The records of a run: what was written to the source, by sequence number there.

use std::collections::BTreeMap;

use distributary_core::batch::ShardId;
use distributary_core::testing::hash;

/// A number for a record's data: equal for equal data, and hardly ever for others. Taken at every step of the way, so it looks
/// at eight bytes at a time.
pub(super) fn digest(data: &[u8]) -> u64 {
    let mix = |h: u64, word: u64| {
        (h ^ word)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(29)
    };
    let (words, rest) = data.as_chunks::<8>();
    let whole = words.iter().fold(data.len() as u64, |h, word| {
        mix(h, u64::from_le_bytes(*word))
    });
    hash(rest) ^ mix(whole, 1)
}

/// One record.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    /// Its partition key.
    pub(super) key: String,
    /// Of its data.
    pub(super) digest: u64,
    /// Its shard.
    pub(super) shard: ShardId,
    /// Its sequence number at the source.
    pub(super) sequence: String,
    /// When it arrived, in milliseconds since 1970.
    pub(super) arrival: i64,
    /// Retention has deleted it.
    pub(super) gone: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Records {
    /// In the order in which they were written.
    pub(super) all: Vec<Kept>,
    numbers: BTreeMap<String, usize>,
    /// Where each shard's part of the hash space begins.
    pub(super) starts: BTreeMap<ShardId, String>,
    /// Retention has taken whole shards.
    pub(super) lost_shards: bool,
}

impl Records {
    /// One more.
    pub(super) fn add(&mut self, kept: Kept) {
        self.numbers.insert(kept.sequence.clone(), self.all.len());
        self.all.push(kept);
    }

    /// The number of the record that the source gave this sequence number.
    pub(super) fn number(&self, sequence: &str) -> Option<usize> {
        self.numbers.get(sequence).copied()
    }
}
