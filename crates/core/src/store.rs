//! The seam to where progress is kept: checkpoints now, leases of many workers later.

use async_trait::async_trait;

use crate::batch::ShardId;
use crate::checkpoint::Position;
use crate::source::SourceIdentity;

/// Names an output within its fan-out; stays the same from run to run, whatever the order in the configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OutputId(pub std::sync::Arc<str>);

impl OutputId {
    /// Takes the id's text.
    pub fn new(id: &str) -> Self {
        Self(std::sync::Arc::from(id))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl serde::Serialize for OutputId {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

impl std::fmt::Display for OutputId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Names a lane: one shard on its way to one output.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LaneId {
    /// The source's shard.
    pub shard: ShardId,
    /// The output.
    pub output: OutputId,
}

/// One lane's checkpoint: everything up to `position` is durable at its output (or was there before its start).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneCheckpoint {
    /// Which lane.
    pub lane: LaneId,
    /// How far it is.
    pub position: Position,
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another worker holds what this one wanted to write.
    #[error(
        "{what} is in use by another process; stop it, or give this fan-out another name and state"
    )]
    Held {
        /// What is held: a file, a lease.
        what: String,
    },
    /// What is stored is not this fan-out's, or not readable; it is left as it is.
    #[error("{message}")]
    Foreign {
        /// What was found, what was expected, and what to do.
        message: String,
    },
    /// The store failed; the same call may succeed later.
    #[error("the state could not be read or written")]
    Failed {
        /// What the library or the system said.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// Keeps a fan-out's checkpoints. One instance is one fan-out's state, held by one worker.
#[async_trait]
pub trait CheckpointStore: Send + Sync + 'static {
    /// Binds the state to `source`: remembered if the state is new; [`StoreError::Foreign`] if it is another stream's.
    async fn bind(&self, source: &SourceIdentity) -> Result<(), StoreError>;

    /// Every lane's checkpoint.
    async fn load(&self) -> Result<Vec<LaneCheckpoint>, StoreError>;

    /// Writes all of `checkpoints`, or none: one transaction. Durable when it returns.
    async fn commit(&self, checkpoints: &[LaneCheckpoint]) -> Result<(), StoreError>;

    /// Forgets these lanes (an output that the user removed, a shard that retention has removed).
    async fn forget(&self, lanes: &[LaneId]) -> Result<(), StoreError>;
}
