//! One row of a lease table, with the attributes of the KCL's schema, and the seam to the table.
//!
//! Attribute names and sentinels: Kinesis developer guide, "Use a lease table to track the shards
//! processed by the KCL consumer application"; rows that real KCLs wrote confirm them.

use std::collections::BTreeSet;

use async_trait::async_trait;
use bytes::Bytes;

use crate::batch::ShardId;
use crate::checkpoint::Position;
use crate::source::{HashRange, Shard};
use crate::store::StoreError;

/// The lease of one shard, as the table has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRow {
    /// `leaseKey`: the shard's id.
    pub shard: ShardId,
    /// `leaseOwner`: the worker that holds the lease; absent when nobody does.
    pub owner: Option<String>,
    /// `leaseCounter`: grows with each write. An owner that is alive lets the counter grow.
    pub counter: u64,
    /// `checkpoint` and `checkpointSubSequenceNumber`: the lowest position of the shard's lanes.
    pub checkpoint: KclCheckpoint,
    /// `ownerSwitchesSinceCheckpoint`.
    pub switches: u64,
    /// `parentShardId`.
    pub parents: BTreeSet<ShardId>,
    /// `childShardIds`.
    pub children: BTreeSet<ShardId>,
    /// `startingHashKey` and `endingHashKey`.
    pub hash_range: Option<HashRange>,
    /// `distributaryLanes`: the position of each lane ([`Cursors`](super::Cursors)); absent in a
    /// row that only a KCL has written.
    pub lanes: Option<Bytes>,
    /// `distributarySuccessor`: the worker that asks the owner for the lease.
    pub successor: Option<String>,
}

impl LeaseRow {
    /// The row of a shard that no worker has owned.
    pub fn new(shard: &Shard) -> Self {
        Self {
            shard: shard.id.clone(),
            owner: None,
            counter: 0,
            checkpoint: KclCheckpoint::TrimHorizon,
            switches: 0,
            parents: shard.parents.iter().cloned().collect(),
            children: BTreeSet::new(),
            hash_range: shard.hash_range,
            lanes: None,
            successor: None,
        }
    }

    /// The condition that the row has not changed since this one was read.
    pub fn unchanged(&self) -> Expected {
        Expected {
            owner: self.owner.clone(),
            counter: self.counter,
        }
    }
}

/// A KCL checkpoint: a sequence number or a sentinel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KclCheckpoint {
    /// `TRIM_HORIZON`.
    TrimHorizon,
    /// `LATEST`: the KCL resolves the position when the shard is first read.
    Latest,
    /// `AT_TIMESTAMP`: the moment stands in the configuration of the KCL application.
    AtTimestamp,
    /// `SHARD_END`.
    ShardEnd,
    /// A sequence number. `sub`: index of the last processed record of an aggregate; 0 for a plain
    /// record.
    At {
        /// The decimal sequence number.
        sequence: String,
        /// `checkpointSubSequenceNumber`.
        sub: u64,
    },
}

impl KclCheckpoint {
    /// Reads the two attributes.
    pub fn parse(checkpoint: &str, sub: u64) -> Self {
        match checkpoint {
            "TRIM_HORIZON" => Self::TrimHorizon,
            "LATEST" => Self::Latest,
            "AT_TIMESTAMP" => Self::AtTimestamp,
            "SHARD_END" => Self::ShardEnd,
            sequence => Self::At {
                sequence: sequence.to_owned(),
                sub,
            },
        }
    }

    /// The attribute `checkpoint`.
    pub fn text(&self) -> &str {
        match self {
            Self::TrimHorizon => "TRIM_HORIZON",
            Self::Latest => "LATEST",
            Self::AtTimestamp => "AT_TIMESTAMP",
            Self::ShardEnd => "SHARD_END",
            Self::At { sequence, .. } => sequence,
        }
    }

    /// The attribute `checkpointSubSequenceNumber`.
    pub fn sub(&self) -> u64 {
        match self {
            Self::At { sub, .. } => *sub,
            Self::TrimHorizon | Self::Latest | Self::AtTimestamp | Self::ShardEnd => 0,
        }
    }

    /// The checkpoint of a KCL that stands at `position`. The part of a record that is not an
    /// aggregate, and a whole record, both read the record's remaining parts again at most.
    pub fn of(position: &Position) -> Self {
        match position {
            Position::TrimHorizon => Self::TrimHorizon,
            Position::At(_) => Self::AtTimestamp,
            Position::Closed => Self::ShardEnd,
            Position::After { sequence, sub } => Self::At {
                sequence: sequence.as_str().to_owned(),
                sub: sub.map_or(0, u64::from),
            },
        }
    }

    /// The position of a lane that goes on from this checkpoint; `None` where the configuration of
    /// the KCL application decides. A sub-sequence number may belong to an aggregate with more
    /// records, so the lane reads the parts after the checkpoint.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::TrimHorizon => Some(Position::TrimHorizon),
            Self::ShardEnd => Some(Position::Closed),
            Self::Latest | Self::AtTimestamp => None,
            Self::At { sequence, sub } => Some(Position::After {
                sequence: crate::checkpoint::Sequence::new(sequence),
                sub: u32::try_from(*sub).ok(),
            }),
        }
    }
}

/// The condition of a write: the row's owner and counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// The owner; `None`: the attribute is absent.
    pub owner: Option<String>,
    /// The counter.
    pub counter: u64,
}

/// A change of an attribute.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// The attribute stays as it is.
    #[default]
    Keep,
    /// The attribute is set.
    Set(T),
    /// The attribute is removed.
    Remove,
}

impl<T> Change<T> {
    /// Carries out the change on `value`.
    pub fn apply(self, value: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Set(new) => *value = Some(new),
            Self::Remove => *value = None,
        }
    }
}

/// The progress of a shard's lanes, as one write carries it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The lowest position of the lanes.
    pub checkpoint: KclCheckpoint,
    /// All lanes ([`Cursors`](super::Cursors)); `None`: the attribute stays, and the checkpoint
    /// stands for every lane, as if a KCL had written it.
    pub lanes: Option<Bytes>,
}

/// One conditional write. The counter grows by one with each. All other attributes of the row stay.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RowUpdate {
    /// `leaseOwner`.
    pub owner: Change<String>,
    /// `distributarySuccessor`.
    pub successor: Change<String>,
    /// `ownerSwitchesSinceCheckpoint`.
    pub switches: Option<u64>,
    /// Checkpoints.
    pub progress: Option<Progress>,
    /// `childShardIds`; empty: unchanged.
    pub children: BTreeSet<ShardId>,
}

impl RowUpdate {
    /// Carries out the update on `row`.
    pub fn apply(self, row: &mut LeaseRow) {
        self.owner.apply(&mut row.owner);
        self.successor.apply(&mut row.successor);
        row.counter += 1;
        if let Some(switches) = self.switches {
            row.switches = switches;
        }
        if let Some(progress) = self.progress {
            row.checkpoint = progress.checkpoint;
            row.lanes = progress.lanes.or_else(|| row.lanes.take());
        }
        if !self.children.is_empty() {
            row.children = self.children;
        }
    }
}

/// A table of leases: one row a shard. Errors of a write ([`StoreError::Failed`]) leave open
/// whether the write was carried out.
#[async_trait]
pub trait LeaseTable: Send + Sync + 'static {
    /// All leases, every page. May be a moment old.
    async fn rows(&self) -> Result<Vec<LeaseRow>, StoreError>;

    /// One row, with every write that was answered.
    async fn row(&self, shard: &ShardId) -> Result<Option<LeaseRow>, StoreError>;

    /// Adds a row; `false` if the shard has one, which stays as it is.
    async fn create(&self, row: &LeaseRow) -> Result<bool, StoreError>;

    /// Changes a row; `false` if the row is not as expected, and stays as it is.
    async fn update(
        &self,
        shard: &ShardId,
        expected: &Expected,
        update: &RowUpdate,
    ) -> Result<bool, StoreError>;

    /// Deletes a row; `false` if the row is not as expected, and stays as it is.
    async fn delete(&self, shard: &ShardId, expected: &Expected) -> Result<bool, StoreError>;
}
