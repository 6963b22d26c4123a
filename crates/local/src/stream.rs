//! A stream: its shards, its settings and its states. States change lazily, when somebody looks, so nothing runs in the
//! background.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use distributary_wire::arn::StreamArn;
use distributary_wire::hashkey::HashRange;
use distributary_wire::types::{
    ChildShard, MetricsName, RecordDistributionStrategy, SequenceNumberRange, StreamMode,
    StreamStatus,
};
use distributary_wire::{limits, types};

use crate::consumer::Consumer;
use crate::log::{Log, Trimmed};
use crate::rates::ShardRates;
use crate::reshard::Change;
use crate::sequence::{Sequence, ShardNumbers};
use crate::store::{Change as Stored, Store, format};

/// Milliseconds of an hour of retention.
const HOUR_MS: u64 = 3_600_000;

/// Whose streams: each account has its own in each region.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Namespace {
    pub(crate) account: String,
    pub(crate) region: String,
}

/// A shard. What it is never changes, but for its log.
#[derive(Debug)]
pub(crate) struct Shard {
    pub(crate) index: u32,
    pub(crate) id: String,
    pub(crate) range: HashRange,
    pub(crate) parent: Option<u32>,
    pub(crate) adjacent_parent: Option<u32>,
    pub(crate) created_ms: u64,
    pub(crate) numbers: ShardNumbers,
    pub(crate) log: Log,
    pub(crate) rates: Mutex<ShardRates>,
}

/// `shardId-` and twelve digits.
pub(crate) fn shard_id(index: u32) -> String {
    format!("shardId-{index:012}")
}

/// The number in a shard's id; `None` for any other text.
pub(crate) fn shard_index(id: &str) -> Option<u32> {
    let digits = id.strip_prefix("shardId-")?;
    let plain = digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit());
    if plain { digits.parse().ok() } else { None }
}

impl Shard {
    pub(crate) fn new(
        index: u32,
        range: HashRange,
        parents: (Option<u32>, Option<u32>),
        created_ms: u64,
        created_s: u64,
    ) -> Self {
        Self {
            index,
            id: shard_id(index),
            range,
            parent: parents.0,
            adjacent_parent: parents.1,
            created_ms,
            numbers: ShardNumbers {
                created_s,
                shard: index,
            },
            log: Log::new(),
            rates: Mutex::new(ShardRates::default()),
        }
    }

    pub(crate) fn is_child_of(&self, parent: u32) -> bool {
        self.parent == Some(parent) || self.adjacent_parent == Some(parent)
    }

    /// The shard as the protocol shows it.
    pub(crate) fn describe(&self) -> types::Shard {
        let ending = self
            .log
            .bounds()
            .closed_ms
            .map(|ms| self.numbers.ending(ms).to_string());
        types::Shard {
            shard_id: self.id.clone(),
            parent_shard_id: self.parent.map(shard_id),
            adjacent_parent_shard_id: self.adjacent_parent.map(shard_id),
            hash_key_range: Some(self.range.to_wire()),
            sequence_number_range: Some(SequenceNumberRange {
                starting_sequence_number: self.numbers.starting().to_string(),
                ending_sequence_number: ending,
            }),
        }
    }

    /// The number that continues at `offset` if used as `AFTER_SEQUENCE_NUMBER`.
    pub(crate) fn before(&self, offset: u64) -> Sequence {
        match offset.checked_sub(1) {
            None => self.numbers.starting(),
            Some(last) => {
                let arrival_ms = self
                    .log
                    .arrival_ms(last)
                    .unwrap_or(self.numbers.created_s * 1000);
                self.numbers.of_record(last, arrival_ms)
            }
        }
    }

    /// Drops what is older than retention.
    pub(crate) fn trim(&self, now_ms: u64, retention_hours: i32) -> Trimmed {
        self.log
            .drop_before(now_ms.saturating_sub(retention_ms(retention_hours)))
    }
}

/// Hours as milliseconds.
pub(crate) fn retention_ms(hours: i32) -> u64 {
    u64::from(hours.unsigned_abs()) * HOUR_MS
}

/// What state a stream is in, and until when.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Phase {
    Creating { until_ms: u64 },
    Active,
    Updating { until_ms: u64, change: Change },
    Deleting { until_ms: u64 },
    Gone,
}

/// What may change of a stream.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) shards: BTreeMap<u32, Arc<Shard>>,
    /// The open ones by hash range.
    pub(crate) open: Vec<Arc<Shard>>,
    pub(crate) next_shard: u32,
    pub(crate) mode: StreamMode,
    pub(crate) retention_hours: i32,
    pub(crate) max_record_kib: i32,
    pub(crate) key_id: Option<String>,
    pub(crate) metrics: BTreeSet<MetricsName>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) policy: Option<String>,
    pub(crate) warm_mibps: Option<i32>,
    pub(crate) distribution: RecordDistributionStrategy,
    pub(crate) consumers: BTreeMap<String, Consumer>,
    /// When each of the last day's `UpdateShardCount` calls was.
    pub(crate) scalings_ms: Vec<u64>,
    /// When something changes by itself next.
    due_ms: u64,
    /// Closed shards that are older than retention, to be taken out of the store.
    expired: Vec<u32>,
    /// As it was stored last.
    stored: Vec<u8>,
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Never used again, also not by a stream of the same name.
    pub(crate) uid: u64,
    pub(crate) namespace: Namespace,
    pub(crate) name: String,
    pub(crate) arn: StreamArn,
    pub(crate) created_ms: u64,
    /// Places records that have no key, or whose key is ignored.
    pub(crate) turn: AtomicU64,
    store: Option<Arc<Store>>,
    state: RwLock<State>,
}

impl Stream {
    pub(crate) fn new(
        uid: u64,
        namespace: Namespace,
        name: &str,
        created_ms: u64,
        state: State,
        store: Option<Arc<Store>>,
    ) -> Self {
        let arn = StreamArn {
            partition: partition_of(&namespace.region).to_owned(),
            region: namespace.region.clone(),
            account: namespace.account.clone(),
            name: name.to_owned(),
        };
        let turn = AtomicU64::new(0);
        Self {
            uid,
            namespace,
            name: name.to_owned(),
            arn,
            created_ms,
            turn,
            store,
            state: RwLock::new(state),
        }
    }

    /// The state as it is now.
    pub(crate) fn read(&self, now_ms: u64) -> RwLockReadGuard<'_, State> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if now_ms < state.due_ms {
            return state;
        }
        drop(state);
        self.write(now_ms, |_| ());
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, after what is due has been done.
    pub(crate) fn write<R>(&self, now_ms: u64, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.settle(now_ms);
        let result = change(&mut state);
        state.settle(now_ms);
        self.save(&mut state);
        result
    }

    /// Stores what has changed. Under the lock, so that a shard is stored before its records.
    fn save(&self, state: &mut State) {
        let expired = std::mem::take(&mut state.expired);
        let Some(store) = &self.store else { return };
        let value = format::write_stream(self, state);
        if value != state.stored {
            state.stored.clone_from(&value);
            store.push(Stored::Stream {
                uid: self.uid,
                value,
            });
        }
        for shard in expired {
            store.push(Stored::Trim {
                uid: self.uid,
                shard,
                before: u64::MAX,
            });
        }
    }

    /// The store, if there is one.
    pub(crate) fn store(&self) -> Option<&Arc<Store>> {
        self.store.as_ref()
    }

    /// Bytes of data and keys in memory.
    pub(crate) fn held(&self) -> u64 {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state
            .shards
            .values()
            .map(|s| s.log.held_bytes() as u64)
            .sum()
    }
}

/// The partition that a region belongs to.
pub(crate) fn partition_of(region: &str) -> &'static str {
    match region {
        r if r.starts_with("cn-") => "aws-cn",
        r if r.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

impl State {
    /// A new stream with `shards` shards of even ranges.
    pub(crate) fn new(shards: u32, phase: Phase, mode: StreamMode, now_ms: u64) -> Self {
        let mut state = Self {
            phase,
            shards: BTreeMap::new(),
            open: Vec::new(),
            next_shard: 0,
            mode,
            retention_hours: limits::RETENTION_HOURS_DEFAULT,
            max_record_kib: *limits::MAX_RECORD_SIZE_KIB.start(),
            key_id: None,
            metrics: BTreeSet::new(),
            tags: BTreeMap::new(),
            policy: None,
            warm_mibps: None,
            distribution: RecordDistributionStrategy::UserPartitionKey,
            consumers: BTreeMap::new(),
            scalings_ms: Vec::new(),
            due_ms: 0,
            expired: Vec::new(),
            stored: Vec::new(),
        };
        for range in HashRange::even(shards) {
            state.add_shard(range, (None, None), now_ms, now_ms / 1000);
        }
        state
    }

    /// Does what has become due by `now_ms`.
    fn settle(&mut self, now_ms: u64) {
        match &self.phase {
            Phase::Creating { until_ms } if *until_ms <= now_ms => self.phase = Phase::Active,
            Phase::Updating { until_ms, change } if *until_ms <= now_ms => {
                let (at_ms, change) = (*until_ms, change.clone());
                self.phase = Phase::Active;
                self.apply(&change, at_ms.max(now_ms));
            }
            Phase::Deleting { until_ms } if *until_ms <= now_ms => {
                self.phase = Phase::Gone;
                self.wake_subscribers();
            }
            Phase::Creating { .. }
            | Phase::Active
            | Phase::Updating { .. }
            | Phase::Deleting { .. }
            | Phase::Gone => {}
        }
        self.consumers.retain(|_, c| !c.is_gone(now_ms));
        let retention = retention_ms(self.retention_hours);
        let expired = &mut self.expired;
        self.shards.retain(|index, s| {
            let gone = s
                .log
                .bounds()
                .closed_ms
                .is_some_and(|ms| ms.saturating_add(retention) <= now_ms);
            if gone {
                expired.push(*index);
            }
            !gone
        });
        self.due_ms = self.next_due();
    }

    fn next_due(&self) -> u64 {
        let phase = match &self.phase {
            Phase::Creating { until_ms }
            | Phase::Updating { until_ms, .. }
            | Phase::Deleting { until_ms } => *until_ms,
            Phase::Active | Phase::Gone => u64::MAX,
        };
        let retention = retention_ms(self.retention_hours);
        let closed = self
            .shards
            .values()
            .filter_map(|s| s.log.bounds().closed_ms);
        let shard = closed
            .map(|ms| ms.saturating_add(retention))
            .min()
            .unwrap_or(u64::MAX);
        let consumer = self
            .consumers
            .values()
            .map(Consumer::due_ms)
            .min()
            .unwrap_or(u64::MAX);
        phase.min(shard).min(consumer)
    }

    /// When the state next changes by itself; `u64::MAX` if never.
    pub(crate) fn due_ms(&self) -> u64 {
        self.due_ms
    }

    pub(crate) fn status(&self) -> StreamStatus {
        match self.phase {
            Phase::Creating { .. } => StreamStatus::Creating,
            Phase::Active => StreamStatus::Active,
            Phase::Updating { .. } => StreamStatus::Updating,
            Phase::Deleting { .. } | Phase::Gone => StreamStatus::Deleting,
        }
    }

    /// True if records can be written and read.
    pub(crate) fn serves(&self) -> bool {
        matches!(self.phase, Phase::Active | Phase::Updating { .. })
    }

    pub(crate) fn add_shard(
        &mut self,
        range: HashRange,
        parents: (Option<u32>, Option<u32>),
        now_ms: u64,
        created_s: u64,
    ) -> Arc<Shard> {
        let shard = Arc::new(Shard::new(
            self.next_shard,
            range,
            parents,
            now_ms,
            created_s,
        ));
        self.next_shard += 1;
        self.insert_shard(Arc::clone(&shard));
        shard
    }

    /// Takes a shard into the map, and among the open ones unless it is closed.
    pub(crate) fn insert_shard(&mut self, shard: Arc<Shard>) {
        if shard.log.bounds().closed_ms.is_none() {
            let at = self
                .open
                .partition_point(|s| s.range.start < shard.range.start);
            self.open.insert(at, Arc::clone(&shard));
        }
        self.shards.insert(shard.index, shard);
    }

    /// The place in `open` of the shard that a hash key goes to.
    pub(crate) fn route(&self, key: u128) -> usize {
        self.open.partition_point(|s| s.range.end < key)
    }

    /// The shard of that id.
    pub(crate) fn shard(&self, id: &str) -> Option<&Arc<Shard>> {
        shard_index(id).and_then(|index| self.shards.get(&index))
    }

    /// What a closed shard became.
    pub(crate) fn children_of(&self, parent: u32) -> Vec<ChildShard> {
        let children = self
            .shards
            .range(parent..)
            .map(|(_, s)| s)
            .filter(|s| s.is_child_of(parent));
        let describe = |s: &Arc<Shard>| ChildShard {
            shard_id: s.id.clone(),
            parent_shards: [s.parent, s.adjacent_parent]
                .into_iter()
                .flatten()
                .map(shard_id)
                .collect(),
            hash_key_range: Some(s.range.to_wire()),
        };
        children.map(describe).collect()
    }
}
