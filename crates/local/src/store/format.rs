//! The format of streams and records in the store.
//!
//! Each value starts with a version and ends with a CRC-32 of the key and all bytes before, which
//! finds damage that redb does not report. Numbers are big-endian.
//!
//! - A piece of records: version (1 byte), arrival in milliseconds since 1970 (8), number of
//!   records (4); for each record the start (4), key length (2) and flags (2); then the keys and
//!   data.
//! - A stream: version (1 byte), then JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use distributary_wire::arn::ConsumerArn;
use distributary_wire::hashkey::{self, HashRange};
use distributary_wire::types::{MetricsName, RecordDistributionStrategy, StreamMode};
use serde::{Deserialize, Serialize};

use crate::consumer::Consumer;
use crate::log::{Entry, StoredPiece};
use crate::stream::{Namespace, Phase, Shard, State, Stream};

const PIECE_VERSION: u8 = 1;
const STREAM_VERSION: u8 = 1;
/// Version, arrival and number of records.
const PIECE_HEADER_BYTES: usize = 1 + 8 + 4;
const ENTRY_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;

/// Key of a piece: number of the stream, number of the shard, offset of the first record.
pub(crate) type PieceKey = (u64, u32, u64);

fn checksum(key: &[u8], value: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(key);
    hasher.update(value);
    hasher.finalize().to_be_bytes()
}

fn key_bytes((uid, shard, first): PieceKey) -> [u8; 20] {
    let mut out = [0; 20];
    out[..8].copy_from_slice(&uid.to_be_bytes());
    out[8..12].copy_from_slice(&shard.to_be_bytes());
    out[12..].copy_from_slice(&first.to_be_bytes());
    out
}

/// Bytes of the value of a piece.
pub(crate) fn piece_len(entries: &[Entry], bytes: &[u8]) -> usize {
    PIECE_HEADER_BYTES + entries.len() * ENTRY_BYTES + bytes.len() + CHECKSUM_BYTES
}

/// Writes a piece into `out`, which has [`piece_len`] bytes. `base` is the start of the first
/// entry.
pub(crate) fn write_piece(
    key: PieceKey,
    arrival_ms: u64,
    entries: &[Entry],
    base: u32,
    bytes: &[u8],
    out: &mut [u8],
) {
    let mut at = 0;
    let mut put = |field: &[u8]| {
        if let Some(room) = out.get_mut(at..at + field.len()) {
            room.copy_from_slice(field);
        }
        at += field.len();
    };

    put(&[PIECE_VERSION]);
    put(&arrival_ms.to_be_bytes());
    put(&(entries.len() as u32).to_be_bytes());
    for entry in entries {
        put(&(entry.start - base).to_be_bytes());
        put(&entry.key_length.to_be_bytes());
        put(&entry.flags.to_be_bytes());
    }
    put(bytes);

    if let Some((value, end)) = out.split_last_chunk_mut::<CHECKSUM_BYTES>() {
        *end = checksum(&key_bytes(key), value);
    }
}

/// A value without the checksum; `None` if the checksum is wrong.
fn verified<'a>(key: &[u8], value: &'a [u8]) -> Option<&'a [u8]> {
    let (value, sum) = value.split_last_chunk::<CHECKSUM_BYTES>()?;
    (checksum(key, value) == *sum).then_some(value)
}

/// Reads a piece; `None` for damage or another version.
pub(crate) fn read_piece(key: PieceKey, value: &[u8]) -> Option<StoredPiece> {
    let value = verified(&key_bytes(key), value)?;
    let (version, rest) = value.split_first()?;
    let (arrival, rest) = rest.split_first_chunk::<8>()?;
    let (count, rest) = rest.split_first_chunk::<4>()?;
    let count = u32::from_be_bytes(*count) as usize;
    let (index, bytes) = rest.split_at_checked(count.checked_mul(ENTRY_BYTES)?)?;

    let entries = index.as_chunks::<ENTRY_BYTES>().0;
    let entries: Vec<Entry> = entries.iter().map(read_entry).collect();
    let last_start = entries.last()?.start as usize;
    let is_in_order = entries.is_sorted_by_key(|e| e.start);
    if *version != PIECE_VERSION || !is_in_order || last_start > bytes.len() {
        return None;
    }

    Some(StoredPiece {
        first: key.2,
        arrival_ms: u64::from_be_bytes(*arrival),
        bytes: Bytes::copy_from_slice(bytes),
        entries,
    })
}

fn read_entry([a, b, c, d, k0, k1, f0, f1]: &[u8; ENTRY_BYTES]) -> Entry {
    Entry {
        start: u32::from_be_bytes([*a, *b, *c, *d]),
        key_length: u16::from_be_bytes([*k0, *k1]),
        flags: u16::from_be_bytes([*f0, *f1]),
    }
}

/// The stored form of a stream.
#[derive(Debug, Serialize, Deserialize)]
struct StreamRecord {
    account: String,
    region: String,
    name: String,
    created_ms: u64,
    phase: Phase,
    next_shard: u32,
    mode: StreamMode,
    retention_hours: i32,
    max_record_kib: i32,
    key_id: Option<String>,
    metrics: BTreeSet<MetricsName>,
    tags: BTreeMap<String, String>,
    policy: Option<String>,
    warm_mibps: Option<i32>,
    distribution: RecordDistributionStrategy,
    scalings_ms: Vec<u64>,
    shards: Vec<ShardRecord>,
    consumers: Vec<ConsumerRecord>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ShardRecord {
    index: u32,
    /// First hash key, in decimal: JSON numbers have not enough digits.
    start: String,
    end: String,
    parent: Option<u32>,
    adjacent_parent: Option<u32>,
    created_ms: u64,
    created_s: u64,
    closed_ms: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ConsumerRecord {
    arn: String,
    created_ms: u64,
    active_ms: u64,
    gone_ms: Option<u64>,
    tags: BTreeMap<String, String>,
    policy: Option<String>,
}

/// Shards with the time of closing.
type ReadShards = Vec<(Arc<Shard>, Option<u64>)>;

impl StreamRecord {
    /// The state without shards, and the shards.
    fn into_state(self) -> Option<(State, ReadShards)> {
        let mut state = State::new(0, self.phase, self.mode, self.created_ms);
        state.next_shard = self.next_shard;
        state.retention_hours = self.retention_hours;
        state.max_record_kib = self.max_record_kib;
        state.key_id = self.key_id;
        state.metrics = self.metrics;
        state.tags = self.tags;
        state.policy = self.policy;
        state.warm_mibps = self.warm_mibps;
        state.distribution = self.distribution;
        state.scalings_ms = self.scalings_ms;

        for consumer in self.consumers {
            let consumer = consumer.into_consumer()?;
            let name = consumer.arn.name.clone();
            state.consumers.insert(name, consumer);
        }

        let mut shards = Vec::new();
        for shard in self.shards {
            let closed_ms = shard.closed_ms;
            shards.push((Arc::new(shard.into_shard()?), closed_ms));
        }
        Some((state, shards))
    }
}

impl ShardRecord {
    fn of(shard: &Shard) -> Self {
        Self {
            index: shard.index,
            start: shard.range.start.to_string(),
            end: shard.range.end.to_string(),
            parent: shard.parent,
            adjacent_parent: shard.adjacent_parent,
            created_ms: shard.created_ms,
            created_s: shard.numbers.created_s,
            closed_ms: shard.log.bounds().closed_ms,
        }
    }

    /// The shard, open and without records.
    fn into_shard(self) -> Option<Shard> {
        let range = HashRange {
            start: hashkey::parse(&self.start)?,
            end: hashkey::parse(&self.end)?,
        };
        let parents = (self.parent, self.adjacent_parent);
        Some(Shard::new(
            self.index,
            range,
            parents,
            self.created_ms,
            self.created_s,
        ))
    }
}

impl ConsumerRecord {
    fn of(consumer: &Consumer) -> Self {
        Self {
            arn: consumer.arn.to_string(),
            created_ms: consumer.created_ms,
            active_ms: consumer.active_ms,
            gone_ms: consumer.gone_ms,
            tags: consumer.tags.clone(),
            policy: consumer.policy.clone(),
        }
    }

    /// The consumer, without subscriptions.
    fn into_consumer(self) -> Option<Consumer> {
        let arn: ConsumerArn = self.arn.parse().ok()?;
        Some(Consumer {
            arn,
            created_ms: self.created_ms,
            active_ms: self.active_ms,
            gone_ms: self.gone_ms,
            tags: self.tags,
            policy: self.policy,
            subscriptions: BTreeMap::new(),
        })
    }
}

/// Encodes a stream.
pub(crate) fn write_stream(stream: &Stream, state: &State) -> Vec<u8> {
    let shards = state.shards.values();
    let consumers = state.consumers.values();
    let record = StreamRecord {
        account: stream.namespace.account.clone(),
        region: stream.namespace.region.clone(),
        name: stream.name.clone(),
        created_ms: stream.created_ms,
        phase: state.phase.clone(),
        next_shard: state.next_shard,
        mode: state.mode.clone(),
        retention_hours: state.retention_hours,
        max_record_kib: state.max_record_kib,
        key_id: state.key_id.clone(),
        metrics: state.metrics.clone(),
        tags: state.tags.clone(),
        policy: state.policy.clone(),
        warm_mibps: state.warm_mibps,
        distribution: state.distribution.clone(),
        scalings_ms: state.scalings_ms.clone(),
        shards: shards.map(|shard| ShardRecord::of(shard)).collect(),
        consumers: consumers.map(ConsumerRecord::of).collect(),
    };
    write_json(STREAM_VERSION, &stream.uid.to_be_bytes(), &record)
}

/// Encodes a value as version, JSON and checksum.
pub(crate) fn write_json(version: u8, key: &[u8], value: &impl Serialize) -> Vec<u8> {
    let mut out = vec![version];
    // Fails only for a map whose keys are not text, and no stored type has one.
    let _ = serde_json::to_writer(&mut out, value);
    let sum = checksum(key, &out);
    out.extend(sum);
    out
}

/// Decodes a value of [`write_json`]; `None` for damage or another version.
pub(crate) fn read_json<T: for<'de> Deserialize<'de>>(
    version: u8,
    key: &[u8],
    value: &[u8],
) -> Option<T> {
    let (found, json) = verified(key, value)?.split_first()?;
    if *found != version {
        return None;
    }
    serde_json::from_slice(json).ok()
}

/// A stream from the store. The shards are open until their records are restored, then
/// [`close_shards`](Self::close_shards) closes the shards that were closed.
pub(crate) struct ReadStream {
    pub(crate) namespace: Namespace,
    pub(crate) name: String,
    pub(crate) created_ms: u64,
    pub(crate) state: State,
    /// Shards that are not in `state` yet, with the time of closing.
    shards: ReadShards,
}

impl ReadStream {
    /// The shard with a number.
    pub(crate) fn shard(&self, index: u32) -> Option<&Arc<Shard>> {
        let shards = self.shards.iter().map(|(shard, _)| shard);
        shards.into_iter().find(|shard| shard.index == index)
    }

    /// Closes the shards that were closed, and moves all shards into the state.
    pub(crate) fn close_shards(&mut self) {
        for (shard, closed_ms) in std::mem::take(&mut self.shards) {
            shard.log.restore_closed(closed_ms);
            self.state.insert_shard(shard);
        }
    }
}

/// Reads a stream; `None` for damage or another version.
pub(crate) fn read_stream(uid: u64, value: &[u8]) -> Option<ReadStream> {
    let record: StreamRecord = read_json(STREAM_VERSION, &uid.to_be_bytes(), value)?;
    let namespace = Namespace {
        account: record.account.clone(),
        region: record.region.clone(),
    };
    let (name, created_ms) = (record.name.clone(), record.created_ms);
    let (state, shards) = record.into_state()?;

    Some(ReadStream {
        namespace,
        name,
        created_ms,
        state,
        shards,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_comes_back_and_damage_is_seen() {
        let entries = [
            Entry {
                start: 100,
                key_length: 2,
                flags: 0,
            },
            Entry {
                start: 105,
                key_length: u16::MAX,
                flags: 1,
            },
        ];
        let bytes = b"kkabcxyz";
        let key = (7, 3, 1 << 40);
        let mut out = vec![0; piece_len(&entries, bytes)];
        write_piece(key, 1_700_000_000_123, &entries, 100, bytes, &mut out);
        let read = read_piece(key, &out).unwrap();
        assert_eq!(
            (read.first, read.arrival_ms, &read.bytes[..]),
            (1 << 40, 1_700_000_000_123, &bytes[..])
        );
        assert_eq!(
            read.entries,
            [
                Entry {
                    start: 0,
                    key_length: 2,
                    flags: 0
                },
                Entry {
                    start: 5,
                    key_length: u16::MAX,
                    flags: 1
                }
            ]
        );
        for at in 0..out.len() {
            let mut damaged = out.clone();
            damaged[at] ^= 1;
            assert!(read_piece(key, &damaged).is_none(), "{at}");
        }
        // The value of a piece under the key of another piece.
        assert!(read_piece((7, 3, 0), &out).is_none());
        assert!(read_piece(key, &out[..5]).is_none() && read_piece(key, b"").is_none());
    }

    #[test]
    fn a_stream_comes_back() {
        let namespace = Namespace {
            account: "000000000000".into(),
            region: "r".into(),
        };
        let mut state = State::new(3, Phase::Active, StreamMode::OnDemand, 5000);
        state.tags.insert("k".into(), "v".into());
        let change = crate::reshard::Change::Split {
            shard: 1,
            at: u128::MAX / 2,
        };
        state.phase = Phase::Updating {
            until_ms: u64::MAX,
            change,
        };
        let stream = Stream::new(
            9,
            namespace,
            "s",
            5000,
            State::new(0, Phase::Active, StreamMode::OnDemand, 0),
            None,
        );
        let stored = write_stream(&stream, &state);
        let read = read_stream(9, &stored).unwrap();
        assert_eq!(
            (read.name.as_str(), read.shards.len(), read.state.next_shard),
            ("s", 3, 3)
        );
        assert_eq!(
            (&read.state.phase, &read.state.tags),
            (&state.phase, &state.tags)
        );
        assert_eq!(read.shards[2].0.range.end, u128::MAX);
        assert!(read_stream(8, &stored).is_none());
    }
}
