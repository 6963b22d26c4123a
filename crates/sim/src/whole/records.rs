//! The records that were written to the source in a run.

use std::collections::BTreeMap;

use distributary_core::batch::ShardId;
use distributary_core::testing::hash;

/// A hash of a record's data. The hash is computed at every step of a record, so the loop reads
/// eight bytes at a time.
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

/// One record of the source.
#[derive(Clone, Debug)]
pub(super) struct SourceRecord {
    pub(super) key: String,
    /// The [`digest`] of the data.
    pub(super) digest: u64,
    pub(super) shard: ShardId,
    pub(super) sequence: String,
    /// Milliseconds since 1970.
    pub(super) arrival: i64,
    /// Retention has deleted the record.
    pub(super) expired: bool,
}

/// The records of the source, numbered from 0.
#[derive(Debug, Default)]
pub(super) struct SourceRecords {
    /// In the order of writing.
    pub(super) all: Vec<SourceRecord>,
    numbers: BTreeMap<String, usize>,
    /// The start of each shard's hash range, as a decimal number.
    pub(super) starts: BTreeMap<ShardId, String>,
    /// Retention has deleted whole shards.
    pub(super) lost_shards: bool,
}

impl SourceRecords {
    pub(super) fn add(&mut self, record: SourceRecord) {
        let number = self.all.len();
        self.numbers.insert(record.sequence.clone(), number);
        self.all.push(record);
    }

    /// The number of the record with this sequence number.
    pub(super) fn number(&self, sequence: &str) -> Option<usize> {
        self.numbers.get(sequence).copied()
    }

    /// The start of the hash range of the shard that holds the record with this number.
    pub(super) fn start_of_shard(&self, number: u128) -> Option<&str> {
        let record = self.all.get(usize::try_from(number).ok()?)?;
        self.starts.get(&record.shard).map(String::as_str)
    }
}
