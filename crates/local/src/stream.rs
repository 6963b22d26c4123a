//! A stream: shards, settings and states.
//!
//! Nothing runs in the background. A change that is due is made at the next read or write of the
//! stream's state.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};

use distributary_wire::arn::{ConsumerArn, StreamArn};
use distributary_wire::hashkey::HashRange;
use distributary_wire::types::{
    ChildShard, MetricsName, RecordDistributionStrategy, SequenceNumberRange, StreamMode,
    StreamStatus,
};
use distributary_wire::{limits, types};

use crate::consumer::Consumer;
use crate::errors::{Answer, consumer_not_found, stream_not_found};
use crate::log::{DroppedRecords, Log};
use crate::rates::ShardRates;
use crate::reshard::Change;
use crate::sequence::{Sequence, ShardNumbers};
use crate::store::{Change as Stored, Store, format};

/// Milliseconds of an hour.
const HOUR_MS: u64 = 3_600_000;

/// An account and a region. Stream names are unique in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Namespace {
    pub(crate) account: String,
    pub(crate) region: String,
}

impl Namespace {
    /// The account and region in an ARN.
    pub(crate) fn of(arn: &StreamArn) -> Self {
        Self {
            account: arn.account.clone(),
            region: arn.region.clone(),
        }
    }

    fn stream_arn(&self, name: &str) -> StreamArn {
        StreamArn {
            partition: partition_of(&self.region).to_owned(),
            region: self.region.clone(),
            account: self.account.clone(),
            name: name.to_owned(),
        }
    }
}

/// A shard. Only the log and the rates of a shard change.
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

/// The id of a shard: `shardId-` and twelve digits.
pub(crate) fn shard_id(index: u32) -> String {
    format!("shardId-{index:012}")
}

/// The number in a shard's id; `None` for any other text.
pub(crate) fn shard_index(id: &str) -> Option<u32> {
    let digits = id.strip_prefix("shardId-")?;
    let is_number = digits.len() == 12 && digits.bytes().all(|b| b.is_ascii_digit());
    if is_number { digits.parse().ok() } else { None }
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

    /// The shard in the protocol's form.
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

    /// The sequence number after which reading continues at `offset`.
    pub(crate) fn sequence_before(&self, offset: u64) -> Sequence {
        let Some(last) = offset.checked_sub(1) else {
            return self.numbers.starting();
        };

        // The arrival of a dropped record is unknown. Positions are compared by the index alone.
        let created_ms = self.numbers.created_s * 1000;
        let arrival_ms = self.log.arrival_ms(last).unwrap_or(created_ms);
        self.numbers.of_record(last, arrival_ms)
    }

    /// Drops the records that are older than the retention period.
    pub(crate) fn drop_expired(&self, now_ms: u64, retention_hours: i32) -> DroppedRecords {
        let horizon_ms = now_ms.saturating_sub(retention_ms(retention_hours));
        self.log.drop_before(horizon_ms)
    }
}

/// Hours as milliseconds.
pub(crate) fn retention_ms(hours: i32) -> u64 {
    u64::from(hours.unsigned_abs()) * HOUR_MS
}

/// The state of a stream, and the time (milliseconds since 1970) at which the state ends.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) enum Phase {
    Creating { until_ms: u64 },
    Active,
    Updating { until_ms: u64, change: Change },
    Deleting { until_ms: u64 },
    Gone,
}

/// The parts of a stream that may change.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) phase: Phase,
    pub(crate) shards: BTreeMap<u32, Arc<Shard>>,
    /// The open shards in the order of their hash ranges.
    pub(crate) open: Vec<Arc<Shard>>,
    /// Number of the next shard.
    pub(crate) next_shard: u32,
    pub(crate) mode: StreamMode,
    pub(crate) retention_hours: i32,
    pub(crate) max_record_kib: i32,
    /// The KMS key of an encrypted stream.
    pub(crate) key_id: Option<String>,
    pub(crate) metrics: BTreeSet<MetricsName>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) policy: Option<String>,
    /// Warm throughput in MiB a second.
    pub(crate) warm_mibps: Option<i32>,
    pub(crate) distribution: RecordDistributionStrategy,
    /// Consumers by name.
    pub(crate) consumers: BTreeMap<String, Consumer>,
    /// Times of the `UpdateShardCount` calls of the last day.
    pub(crate) scalings_ms: Vec<u64>,
    /// When the next change is due; `u64::MAX` for never.
    due_ms: u64,
    /// Shards that were removed after the retention period, to be removed from the store.
    expired_shards: Vec<u32>,
    /// The stream in the store's format, as stored last.
    stored: Vec<u8>,
}

/// A stream.
#[derive(Debug)]
pub(crate) struct Stream {
    /// Number of the stream. A later stream of the same name has another number.
    pub(crate) uid: u64,
    pub(crate) namespace: Namespace,
    pub(crate) name: String,
    pub(crate) arn: StreamArn,
    pub(crate) created_ms: u64,
    /// Counts the records that are placed in turn, because the key is absent or ignored.
    pub(crate) next_turn: AtomicU64,
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
        let arn = namespace.stream_arn(name);

        Self {
            uid,
            namespace,
            name: name.to_owned(),
            arn,
            created_ms,
            next_turn: AtomicU64::new(0),
            store,
            state: RwLock::new(state),
        }
    }

    /// The state, after changes that are due.
    pub(crate) fn read(&self, now_ms: u64) -> RwLockReadGuard<'_, State> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if now_ms < state.due_ms {
            return state;
        }

        drop(state);
        self.write(now_ms, |_| ());
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, after changes that are due.
    pub(crate) fn write<R>(&self, now_ms: u64, change: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.make_due_changes(now_ms);
        let result = change(&mut state);
        state.make_due_changes(now_ms);

        self.save(&mut state);
        result
    }

    /// Passes a changed state to the store. Called under the state's lock, so that a shard reaches
    /// the store before the shard's records.
    fn save(&self, state: &mut State) {
        let expired_shards = std::mem::take(&mut state.expired_shards);
        let Some(store) = &self.store else { return };

        let value = format::write_stream(self, state);
        if value != state.stored {
            state.stored.clone_from(&value);
            store.push(Stored::Stream {
                uid: self.uid,
                value,
            });
        }

        for shard in expired_shards {
            store.push(Stored::RemoveRecords {
                uid: self.uid,
                shard,
                before: u64::MAX,
            });
        }
    }

    pub(crate) fn store(&self) -> Option<&Arc<Store>> {
        self.store.as_ref()
    }

    /// Bytes of data and keys in memory.
    pub(crate) fn held_bytes(&self) -> u64 {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        state
            .shards
            .values()
            .map(|s| s.log.held_bytes() as u64)
            .sum()
    }
}

/// The stream in AWS's messages: the name and the account.
impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let account = &self.namespace.account;
        write!(f, "{} under account {account}", self.name)
    }
}

/// The AWS partition of a region.
pub(crate) fn partition_of(region: &str) -> &'static str {
    match region {
        r if r.starts_with("cn-") => "aws-cn",
        r if r.starts_with("us-gov-") => "aws-us-gov",
        _ => "aws",
    }
}

impl State {
    /// A new stream with `shards` shards of equal hash ranges.
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
            expired_shards: Vec::new(),
            stored: Vec::new(),
        };

        for range in HashRange::even(shards) {
            state.add_shard(range, (None, None), now_ms, now_ms / 1000);
        }
        state
    }

    fn make_due_changes(&mut self, now_ms: u64) {
        self.end_phase(now_ms);
        self.consumers.retain(|_, c| !c.is_gone(now_ms));
        self.remove_expired_shards(now_ms);
        self.due_ms = self.next_due();
    }

    /// Moves to the next phase if the current phase is over.
    fn end_phase(&mut self, now_ms: u64) {
        match &self.phase {
            Phase::Creating { until_ms } if *until_ms <= now_ms => self.phase = Phase::Active,
            Phase::Updating { until_ms, change } if *until_ms <= now_ms => {
                let change = change.clone();
                self.phase = Phase::Active;
                self.apply(change, now_ms);
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
    }

    /// Removes closed shards after the retention period.
    fn remove_expired_shards(&mut self, now_ms: u64) {
        let retention = retention_ms(self.retention_hours);
        let expired = &mut self.expired_shards;
        self.shards.retain(|index, shard| {
            let closed_ms = shard.log.bounds().closed_ms;
            let is_expired = closed_ms.is_some_and(|ms| ms.saturating_add(retention) <= now_ms);
            if is_expired {
                expired.push(*index);
            }
            !is_expired
        });
    }

    fn next_due(&self) -> u64 {
        let phase_ms = match &self.phase {
            Phase::Creating { until_ms }
            | Phase::Updating { until_ms, .. }
            | Phase::Deleting { until_ms } => *until_ms,
            Phase::Active | Phase::Gone => u64::MAX,
        };

        let consumer_ms = self.consumers.values().map(Consumer::due_ms).min();
        let shard_ms = self.next_shard_expiry();
        phase_ms
            .min(consumer_ms.unwrap_or(u64::MAX))
            .min(shard_ms.unwrap_or(u64::MAX))
    }

    /// When the next closed shard is removed.
    fn next_shard_expiry(&self) -> Option<u64> {
        let retention = retention_ms(self.retention_hours);
        self.shards
            .values()
            .filter_map(|shard| shard.log.bounds().closed_ms)
            .map(|closed_ms| closed_ms.saturating_add(retention))
            .min()
    }

    /// When the next change is due; `u64::MAX` for never.
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

    pub(crate) fn is_creating(&self) -> bool {
        matches!(self.phase, Phase::Creating { .. })
    }

    /// True if records can be written and read.
    pub(crate) fn serves(&self) -> bool {
        matches!(self.phase, Phase::Active | Phase::Updating { .. })
    }

    /// # Errors
    /// `ResourceNotFoundException` unless records can be written and read.
    pub(crate) fn check_serves(&self, stream: &Stream) -> Answer<()> {
        if self.serves() {
            return Ok(());
        }
        Err(stream_not_found(&stream.name, &stream.namespace.account))
    }

    /// The consumer with an ARN.
    ///
    /// # Errors
    /// `ResourceNotFoundException`.
    pub(crate) fn consumer_mut(&mut self, arn: &ConsumerArn) -> Answer<&mut Consumer> {
        let consumer = self.consumers.get_mut(&arn.name);
        consumer
            .filter(|c| c.arn == *arn)
            .ok_or_else(|| consumer_not_found(&arn.name, &arn.stream.account))
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

    /// Adds a shard to `shards`, and an open shard to `open`.
    pub(crate) fn insert_shard(&mut self, shard: Arc<Shard>) {
        if shard.log.bounds().closed_ms.is_none() {
            let at = self
                .open
                .partition_point(|s| s.range.start < shard.range.start);
            self.open.insert(at, Arc::clone(&shard));
        }

        self.shards.insert(shard.index, shard);
    }

    /// The place in `open` of the shard for a hash key.
    pub(crate) fn route(&self, key: u128) -> usize {
        self.open.partition_point(|s| s.range.end < key)
    }

    /// The shard with an id.
    pub(crate) fn shard(&self, id: &str) -> Option<&Arc<Shard>> {
        shard_index(id).and_then(|index| self.shards.get(&index))
    }

    /// The children of a closed shard.
    pub(crate) fn children_of(&self, parent: u32) -> Vec<ChildShard> {
        let later = self.shards.range(parent..).map(|(_, shard)| shard);
        let children = later.filter(|s| s.is_child_of(parent));

        let describe = |s: &Arc<Shard>| {
            let parents = [s.parent, s.adjacent_parent].into_iter().flatten();
            ChildShard {
                shard_id: s.id.clone(),
                parent_shards: parents.map(shard_id).collect(),
                hash_key_range: Some(s.range.to_wire()),
            }
        };
        children.map(describe).collect()
    }
}
