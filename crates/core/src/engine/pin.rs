//! Pins the lanes of a shard that start at its oldest record: records that retention deletes before
//! such a lane has read anything are a gap, which only a definite position shows.

use std::sync::Arc;

use crate::checkpoint::{Position, Sequence};
use crate::clock::Millis;
use crate::output::Trouble;
use crate::source::{Credit, Fetched, Read};

use super::Shared;
use super::budget::Turn;
use super::reader::{deadline, wait_for_call};
use super::retry::policy;
use super::shard::ShardCell;

/// The result of asking a shard for its start.
pub(crate) enum Pinned {
    /// Nothing of the shard was deleted: its start is a position that retention ends.
    Start {
        /// The start of the shard.
        position: Position,
        /// No record arrived before this moment, as far as the source tells.
        since: Option<Millis>,
    },
    /// Records were deleted before anything was known of the shard: the lanes start at the oldest
    /// record that is left.
    Trimmed {
        /// The arrival time of that record.
        since: Option<Millis>,
    },
}

/// Asks for the start of `cell`'s shard until the source answers, or no lane needs the answer.
pub(crate) async fn run(shared: Arc<Shared>, cell: Arc<ShardCell>, start: Sequence) {
    let position = Position::After {
        sequence: start,
        sub: None,
    };
    let mut backoff = shared.settings.backoff();
    while cell.has_unpinned_lanes() {
        let trouble = match ask(&shared, &cell, &position).await {
            Ok(read) => {
                cell.pin(&pinned(position, read));
                return;
            }
            Err(trouble) => trouble,
        };
        cell.pin_failed(&trouble, shared.clock.wall());
        let class = policy(trouble.kind).class;
        let wait = backoff.next(&shared.clock, class, trouble.retry_after);
        shared.clock.sleep(wait).await;
    }
}

/// Reads the first record after `position`.
async fn ask(shared: &Shared, cell: &ShardCell, position: &Position) -> Result<Read, Trouble> {
    let share = shared.conditions().memory_share;
    let bytes = shared.limits.answer_bytes.min(share);
    let reservation = shared.budget.reserve(bytes, Turn::Last);
    let _permit = reservation.await;
    wait_for_call(shared, cell).await;

    let shard = cell.id();
    let mut reader = shared.source.open(shard, position.clone());
    let one = Credit { records: 1 };
    deadline(shared, reader.next(one)).await
}

fn pinned(position: Position, read: Read) -> Pinned {
    let tip = read.behind.is_zero().then_some(read.complete_until);
    match read.fetched {
        Fetched::Batch(batch) => Pinned::Start {
            position,
            since: (!batch.is_empty()).then(|| batch.record(0).arrival),
        },
        Fetched::Idle | Fetched::Closed { .. } => Pinned::Start {
            position,
            since: tip,
        },
        Fetched::Gap { oldest } => Pinned::Trimmed {
            since: oldest.map(|oldest| oldest.arrival),
        },
    }
}
