//! The seam of a stateful pump: a pump whose rows depend on earlier records, such as windows and
//! joins.
//!
//! A stateful pump is an [`Output`](crate::output::Output) for the engine's lanes, and a node of
//! its own behind that: records of all shards go in, and the rows go to outputs that the pump
//! delivers to by [`deliver()`](crate::engine::deliver::deliver). Lanes end at the pump, so an
//! acknowledgement to a lane means *taken*, and a checkpoint needs more: a snapshot of the pump's
//! state. One transaction commits the snapshot and the positions that it stands for as the lanes'
//! checkpoints. After a crash the pump is restored from the snapshot, each lane starts at its
//! checkpoint, and rows that were emitted since the snapshot are emitted again with the same
//! values.
//!
//! Rules for [`Output::write`](crate::output::Output::write) of a stateful pump:
//! - A record at or before the newest position of its shard was taken before (an answer was lost,
//!   or a lane's task broke): the record is acknowledged, and changes nothing.
//! - [`Outcome::Durable`](crate::output::Outcome::Durable) means that every record of the chunk is
//!   taken.
//! - While too many rows wait for the pump's outputs, the chunk is rejected as
//!   [`Throttled`](crate::output::TroubleKind::Throttled), so that memory stays bounded.
//!
//! The engine gives a pump the records of a shard in the order of the shard. For that, the profile
//! of the pump has one request of a lane in flight and does not gather, and the order is not
//! `strict`.

use std::convert::Infallible;

use async_trait::async_trait;
use bytes::Bytes;

use crate::batch::ShardId;
use crate::checkpoint::Position;
use crate::clock::Millis;
use crate::store::StoreError;

/// A position in one shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShardPosition {
    /// The shard.
    pub shard: ShardId,
    /// The position.
    pub position: Position,
    /// Arrival time of the last record before the position; `None` before the first one.
    pub arrival: Option<Millis>,
}

/// The state of a pump at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PumpSnapshot {
    /// The pump's own format.
    pub bytes: Bytes,
    /// The position of each shard of which the pump has taken a record or the end. The state is the
    /// effect of the records up to these positions, and of no other record.
    pub positions: Vec<ShardPosition>,
}

/// A pump that keeps state. Methods without `async` are called under locks of the engine: they
/// return at once, and call nothing of the engine.
#[async_trait]
pub trait StatefulPump: Send + Sync {
    /// Replaces the state by that of `snapshot`; `None`: the pump is new, and its state is empty.
    /// `positions` are the starts of the lanes. Called before any lane starts.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if the bytes are not a snapshot of this pump.
    fn restore(
        &self,
        snapshot: Option<&[u8]>,
        positions: &[ShardPosition],
    ) -> Result<(), StoreError>;

    /// The newest state that is *final*: every row that was emitted on the way to the state is
    /// durable at the pump's outputs. `None` until the pump has taken a record or an end. Cheap:
    /// called at each commit, and the same answer may be committed more than once.
    fn snapshot(&self) -> Option<PumpSnapshot>;

    /// The lane of `shard` has delivered every record, and the shard is closed: the shard's
    /// position is [`Position::Closed`] from now on. Records of the children follow.
    fn closed(&self, shard: &ShardId);

    /// Delivers rows for as long as the engine runs. Dropped when the engine ends or the output is
    /// removed.
    async fn run(&self) -> Infallible;

    /// Completes when the newest state is final. Called at a shutdown, when no lane delivers any
    /// more.
    async fn settled(&self);
}
