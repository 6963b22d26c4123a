//! Records that a gathering output has accepted: a lane has two cursors then. Records up to the
//! durable cursor need nothing more; records up to the *sent* cursor wait for a flush.
//!
//! No batch is kept for accepted records. After a flush that failed, the lane reads them again from
//! the durable cursor.

use std::sync::Arc;

use crate::batch::ShardId;
use crate::checkpoint::Position;
use crate::clock::{Instant, Millis};
use crate::engine::budget::{Budget, Permit};
use crate::engine::deliver::{Acked, Bits, Written};
use crate::engine::mutation::{Mutation, on};
use crate::output::Outcome;

use super::lane::{Activity, Lane, Phase, Settled};
use super::{Flush, Take};

/// The accepted records of a lane, from the durable cursor to the sent one.
#[derive(Debug)]
pub(super) struct Gathered {
    /// The sent cursor.
    pub(super) position: Position,
    /// The arrival time of the last record before the sent cursor.
    pub(super) arrived: Option<Millis>,
    /// The arrival time of the first record after the durable cursor.
    pub(super) first_arrival: Option<Millis>,
    /// Counts of the records between the cursors.
    pub(super) settled: Settled,
    /// Records or rows that were sent between the cursors.
    items: usize,
    /// The ones among these that are durable all the same.
    durable: Bits,
    since: Instant,
}

/// The memory of accepted records.
#[derive(Default)]
pub(super) struct GatheredMemory {
    permit: Option<Permit>,
    /// Memory is short: the lane flushes although no limit of gathering is reached.
    flush_asked: bool,
}

/// The answer to a question for memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// The records may be sent.
    Granted,
    /// The lane's own accepted records have to be flushed first.
    FlushFirst,
    /// Other lanes were asked to flush.
    Later,
}

impl Lane {
    /// The sent cursor, which is the durable one while nothing waits for a flush.
    pub(super) fn sent(&self) -> &Position {
        let gathered = self.gathered.as_ref();
        gathered.map_or(&self.position, |gathered| &gathered.position)
    }

    /// From now on settled records count as accepted only.
    pub(super) fn gather(&mut self, now: Instant) {
        if self.gathered.is_none() {
            self.gathered = Some(Gathered {
                position: self.position.clone(),
                arrived: self.arrived,
                first_arrival: None,
                settled: Settled::default(),
                items: 0,
                durable: Bits::default(),
                since: now,
            });
        }
    }

    /// Counts `items` records or rows before the sent cursor; the ones in `accepted` wait for a
    /// flush.
    pub(super) fn count_gathered(&mut self, items: usize, accepted: &Bits) {
        if let Some(gathered) = &mut self.gathered {
            gathered.durable.add_rest(items, accepted, gathered.items);
            gathered.items += items;
        }
    }

    /// Records that were read and lie behind the sent cursor.
    pub(super) fn unsent(&self) -> u64 {
        let gathered = self.gathered.as_ref();
        let sent = gathered.map_or(0, |gathered| gathered.settled.records());
        self.counts.in_flight.saturating_sub(sent)
    }

    /// The moment at which the accepted records are flushed at the latest.
    pub(super) fn flush_at(&self) -> Option<Instant> {
        let gathered = self.gathered.as_ref()?;
        let limits = self.output.profile().gathers;
        Some(limits.map_or(gathered.since, |limits| gathered.since.plus(limits.age)))
    }

    /// True if a limit of gathering is reached, or memory is short.
    pub(super) fn must_flush(&self, now: Instant) -> bool {
        let Some(at) = self.flush_at() else {
            return false;
        };
        self.memory.flush_asked || at <= now || self.is_full()
    }

    /// True if a limit of gathering is reached.
    fn is_full(&self) -> bool {
        let Some(limits) = self.output.profile().gathers else {
            return false;
        };
        let Some(gathered) = &self.gathered else {
            return false;
        };
        let bytes = usize::try_from(gathered.settled.bytes);
        let bytes = bytes.unwrap_or(usize::MAX);
        gathered.items >= limits.records || bytes >= limits.bytes
    }

    /// Asks the task to flush the accepted records. False if there are none.
    pub(super) fn ask_for_flush(&mut self) -> bool {
        if self.gathered.is_none() {
            return false;
        }

        let was_asked = std::mem::replace(&mut self.memory.flush_asked, true);
        // A lane that was asked before, and has no good lease, flushes once the lease is good.
        if !was_asked && !self.is_delivering() {
            self.wake.notify_one();
        }
        true
    }

    /// Reserves `bytes` for records that are about to be accepted.
    pub(super) fn hold(&mut self, bytes: usize, budget: &Arc<Budget>) -> Hold {
        if budget.gather(&mut self.memory.permit, bytes) {
            return Hold::Granted;
        }
        match self.ask_for_flush() {
            true => Hold::FlushFirst,
            false => Hold::Later,
        }
    }

    /// Gives back memory that was reserved for records that were not accepted.
    pub(super) fn release_unused(&mut self) {
        if self.gathered.is_none() {
            self.memory = GatheredMemory::default();
        }
    }

    /// The command to flush.
    pub(super) fn flush(&mut self) -> Take {
        self.set_activity(Activity::Flushing);
        Take::Flush(Flush {
            output: Arc::clone(&self.output),
            generation: self.generation,
        })
    }

    /// The accepted records are durable: the durable cursor moves to the sent one.
    pub(super) fn flushed(&mut self) {
        self.memory = GatheredMemory::default();
        self.carried.flushed();
        if let Some(gathered) = self.gathered.take() {
            self.settle(gathered.settled, gathered.position, gathered.arrived);
        }
    }

    /// The accepted records are not durable, and the output no longer holds them: the lane goes
    /// back to the durable cursor.
    pub(super) fn flush_failed(&mut self, outcome: &Outcome) {
        if on(Mutation::FlushFailureForgotten) {
            return self.flushed();
        }
        let Some(gathered) = self.ungather() else {
            return;
        };
        let written = match outcome {
            Outcome::Rejected(_) => Written::Nothing,
            _ => Written::Maybe,
        };
        let (items, durable) = (gathered.items, &gathered.durable);
        self.carried = self.carried.flush_failed(items, durable, written);
    }

    /// The output no longer holds the accepted records, or never made them durable: forgets them.
    pub(super) fn forget_gathered(&mut self, shard: &ShardId) {
        if self.ungather().is_some() {
            self.output.discard(shard);
            self.carried = Acked::default();
        }
    }

    fn ungather(&mut self) -> Option<Gathered> {
        self.memory = GatheredMemory::default();
        let gathered = self.gathered.take();
        self.rows_anew = self.rows_anew.map(|_| 0);
        if gathered.is_some() && self.phase != Phase::Ended {
            // The feed is past the durable cursor.
            self.detach();
            self.last_dispatch = None;
        }
        gathered
    }
}
