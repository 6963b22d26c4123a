//! The seam to the store of a fan-out's progress.

use async_trait::async_trait;
use bytes::Bytes;

use crate::batch::ShardId;
use crate::checkpoint::Position;
use crate::clock::Millis;
use crate::id::id_type;
use crate::source::StreamIdentity;

id_type! {
    /// Names an output within its fan-out; stays the same from run to run, whatever the order in
    /// the configuration.
    OutputId
}

/// Names a lane: one shard on its way to one output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId {
    /// The source's shard.
    pub shard: ShardId,
    /// The output.
    pub output: OutputId,
}

/// One lane's checkpoint: everything up to `position` is durable at its output, or lies before the
/// lane's start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneCheckpoint {
    /// The lane.
    pub lane: LaneId,
    /// The position.
    pub position: Position,
    /// Arrival time at the source of the last durable record; `None` before the first one. Tells
    /// how old the position is, also after a restart and while nothing is read.
    pub arrival: Option<Millis>,
}

/// The stream behind an output when its checkpoints were written: a stream that was deleted and
/// created again is another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputIdentity {
    /// The output.
    pub output: OutputId,
    /// The stream.
    pub identity: StreamIdentity,
}

/// The state of a stateful pump at the checkpoints of its lanes: both are written by one
/// transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The output that is the pump.
    pub output: OutputId,
    /// The pump's own format.
    pub bytes: Bytes,
}

/// Everything that a store keeps of one fan-out, and everything that one transaction writes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Checkpoints of lanes.
    pub lanes: Vec<LaneCheckpoint>,
    /// Identities of outputs.
    pub outputs: Vec<OutputIdentity>,
    /// Snapshots of stateful pumps.
    pub snapshots: Vec<Snapshot>,
}

impl State {
    /// True if there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty() && self.outputs.is_empty() && self.snapshots.is_empty()
    }
}

/// The reason why a store call failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another worker holds the state.
    #[error(
        "{what} is in use by another process; stop it, or give this fan-out another name and state"
    )]
    Held {
        /// The held thing: a file, a lease.
        what: String,
    },
    /// The stored state is another fan-out's, or not readable. The state is left unchanged.
    #[error("{message}")]
    Foreign {
        /// The state found, the state expected, and the remedy.
        message: String,
    },
    /// The store failed; the same call may succeed later.
    #[error("the state could not be read or written")]
    Failed {
        /// The error of the library or the system.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Keeps a fan-out's checkpoints. One instance is one fan-out's state, held by one worker.
#[async_trait]
pub trait CheckpointStore: Send + Sync + 'static {
    /// Binds the state to `source`: a new state remembers the source; the state of another stream
    /// is [`StoreError::Foreign`].
    async fn bind(&self, source: &StreamIdentity) -> Result<(), StoreError>;

    /// All that the store has.
    async fn load(&self) -> Result<State, StoreError>;

    /// Writes all of `changes`, or nothing: one transaction. A row replaces the older row of the
    /// same lane or output. Durable when the call returns.
    async fn commit(&self, changes: &State) -> Result<(), StoreError>;

    /// Fails if the state no longer is where it was opened: a file that was deleted, replaced or
    /// truncated meanwhile. Called at each checkpoint interval without changes.
    async fn check(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Deletes the checkpoints of these lanes (an output that the user removed, a shard that
    /// retention has deleted), and the identity and the snapshot of an output without lanes: one
    /// transaction.
    async fn forget(&self, lanes: &[LaneId]) -> Result<(), StoreError>;
}
