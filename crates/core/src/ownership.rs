//! The seam to the ownership of shards: which worker reads a shard, writes its records and moves
//! its checkpoints. One worker alone owns every shard ([`Sole`]); several workers share the shards
//! by leases.
//!
//! The engine starts a shard only after [`OwnershipChange::Gained`], starts no request later than
//! [`Lease::good_until`], and writes no checkpoint of a shard whose lease has ended.

use std::collections::{BTreeSet, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

use crate::batch::ShardId;
use crate::clock::Instant;
use crate::source::Shard;
use crate::store::{CheckpointStore, LaneCheckpoint, LaneId, OutputId, State, StoreError};
use crate::sync::lock;

/// A worker's hold on one shard. Cheap to clone; all clones are one lease.
#[derive(Clone)]
pub struct Lease {
    shard: ShardId,
    fence: u64,
    good_until: Arc<Mutex<Instant>>,
}

impl Lease {
    /// A lease of `shard` that is good until `good_until` and can be renewed. `fence`: a number
    /// that grows with each change of the owner; a store compares it with each write.
    pub fn new(shard: ShardId, fence: u64, good_until: Instant) -> Self {
        Self {
            shard,
            fence,
            good_until: Arc::new(Mutex::new(good_until)),
        }
    }

    /// A lease without an end.
    pub fn endless(shard: ShardId) -> Self {
        Self::new(shard, 0, Instant(Duration::MAX))
    }

    /// The shard.
    pub fn shard(&self) -> &ShardId {
        &self.shard
    }

    /// The number that a store compares with each write.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// No request starts at or after this moment of the worker's monotonic clock: the start of the
    /// last successful renewal, plus the failover time, less a margin.
    pub fn good_until(&self) -> Instant {
        *lock(&self.good_until)
    }

    /// True if a request may start at `now`.
    pub fn is_good(&self, now: Instant) -> bool {
        now < self.good_until()
    }

    /// The lease was renewed: good until `until`.
    pub fn renew(&self, until: Instant) {
        let mut good_until = lock(&self.good_until);
        *good_until = until.max(*good_until);
    }

    /// The lease is lost: good no longer than `now`.
    pub fn end(&self, now: Instant) {
        let mut good_until = lock(&self.good_until);
        *good_until = now.min(*good_until);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({}, {})", self.shard, self.fence)
    }
}

/// News of the ownership of one shard.
#[derive(Debug)]
pub enum OwnershipChange {
    /// This worker owns the shard from now on.
    Gained {
        /// The hold on the shard.
        lease: Lease,
        /// The rows of the shard's lanes when the lease was taken, which other workers may have
        /// moved. `None` if no other worker can have: the rows are as this worker loaded or wrote
        /// them. A lane without a row starts by its output's own `start`.
        progress: Option<Vec<LaneCheckpoint>>,
    },
    /// This worker loses the shard. The engine ends its lanes with the requests under way, writes
    /// their checkpoints and calls [`Ownership::release`]; at `stop_by` requests still under way
    /// are abandoned. `stop_by` in the past: the lease is lost already.
    Losing {
        /// The shard.
        shard: ShardId,
        /// The moment by which everything has ended.
        stop_by: Instant,
    },
    /// Another worker owns the shard, and its lanes have come this far: children of a shard wait
    /// for its lanes also where another worker delivers them.
    Elsewhere {
        /// The shard.
        shard: ShardId,
        /// The rows of the shard's lanes.
        progress: Vec<LaneCheckpoint>,
    },
}

/// The result of a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// Shards of which no row was written, because this worker no longer owns them.
    pub lost: BTreeSet<ShardId>,
}

/// Decides which worker owns which shard.
#[async_trait]
pub trait Ownership: Send + Sync + 'static {
    /// True if this worker owns every shard, and no other worker can take one over. A stateful
    /// pump, with one state for all shards, needs that.
    fn is_sole(&self) -> bool {
        false
    }

    /// The outputs that this worker delivers to, at the start and after each change.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if the store cannot tell two of them apart; nothing was changed.
    fn serve(&self, _: &[OutputId]) -> Result<(), StoreError> {
        Ok(())
    }

    /// The engine is about to end: no further shard is gained.
    fn drain(&self) {}

    /// The shards that the source lists: all that may be owned. Called after each shard map.
    fn offer(&self, shards: &[Shard]);

    /// The next change. Dropping the future loses nothing.
    async fn next(&self) -> OwnershipChange;

    /// Writes rows: for each shard all of them or none, on the condition that its lease of `leases`
    /// is still this worker's. Rows of `changes.lanes` are ordered with parents before their
    /// children; a store without one transaction for all shards writes them in this order.
    /// Identities and snapshots are written with the lanes. Durable when the call returns.
    async fn commit(&self, changes: &State, leases: &[Lease]) -> Result<Committed, StoreError>;

    /// Offers rows for deletion: the output was removed here, or the shard is gone from the source
    /// and over. The owner of the rows decides when no worker needs them.
    async fn forget(&self, lanes: &[LaneId]) -> Result<(), StoreError>;

    /// Gives a lease back, for another worker to take at once. Its rows are written, and none of
    /// its requests is under way.
    async fn release(&self, lease: &Lease) -> Result<(), StoreError>;
}

/// The ownership of a worker that shares its shards with no other: each listed shard is gained at
/// once, for ever.
pub struct Sole {
    store: Arc<dyn CheckpointStore>,
    state: Mutex<SoleState>,
    offered: Notify,
}

#[derive(Default)]
struct SoleState {
    listed: BTreeSet<ShardId>,
    /// Shards to be reported as gained.
    gained: VecDeque<ShardId>,
}

impl Sole {
    /// The owner of every shard; rows are kept in `store`.
    pub fn new(store: Arc<dyn CheckpointStore>) -> Self {
        Self {
            store,
            state: Mutex::default(),
            offered: Notify::new(),
        }
    }
}

#[async_trait]
impl Ownership for Sole {
    fn is_sole(&self) -> bool {
        true
    }

    fn offer(&self, shards: &[Shard]) {
        let mut state = lock(&self.state);
        for shard in shards {
            if state.listed.insert(shard.id.clone()) {
                state.gained.push_back(shard.id.clone());
            }
        }
        self.offered.notify_one();
    }

    async fn next(&self) -> OwnershipChange {
        loop {
            let gained = lock(&self.state).gained.pop_front();
            if let Some(shard) = gained {
                return OwnershipChange::Gained {
                    lease: Lease::endless(shard),
                    progress: None,
                };
            }
            self.offered.notified().await;
        }
    }

    async fn commit(&self, changes: &State, _: &[Lease]) -> Result<Committed, StoreError> {
        self.store.commit(changes).await?;
        Ok(Committed::default())
    }

    async fn forget(&self, lanes: &[LaneId]) -> Result<(), StoreError> {
        self.store.forget(lanes).await
    }

    async fn release(&self, _: &Lease) -> Result<(), StoreError> {
        Ok(())
    }
}
