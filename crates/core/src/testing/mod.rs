//! Fakes for the seams, for tests and the simulator (feature `testing`): a stream, outputs and a
//! store in memory that misbehave on command, on a clock that the test owns. And [`conformance`]:
//! tests for every implementation of a seam, the fakes included.
//!
//! Each fake reports every event to an [`Observer`] at the moment of the event.

mod clock;
pub mod conformance;
mod counter;
mod fate;
mod lease_table;
mod output;
mod ownership;
mod pump;
mod rng;
mod service;
mod store;
mod stream;

pub use clock::{EPOCH, TestClock};
pub use counter::{CounterPump, counted_rows};
pub use fate::{Fate, Mood, OutputFaults};
pub use lease_table::{FakeLeaseTable, LeaseTableFaults};
pub use output::FakeOutput;
pub use ownership::{FakeOwnership, LeaseFaults};
pub use pump::RowPump;
pub use rng::{Rng, hash};
pub use service::{Entry, FakeService, Rate, ServiceSettings, Written};
pub use store::{FakeStore, StoreFaults};
pub use stream::{FakeStream, Placed, READ_LIMITS, ReadFaults, Stored, StreamSettings, counted};

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::batch::ShardId;
use crate::checkpoint::Position;
use crate::clock::Instant;
use crate::leases::LeaseRow;
use crate::output::{Outcome, RequestLimits};
use crate::store::{LaneCheckpoint, LaneId};
use crate::sync::lock;

/// An event at a fake.
#[derive(Debug)]
pub enum Event<'a> {
    /// A reader answered.
    Read {
        /// The shard.
        shard: &'a ShardId,
        /// The position before the read.
        from: &'a Position,
        /// Records that the caller allowed.
        credit: u32,
        /// The answer.
        answer: ReadAnswer,
    },
    /// A request arrived at a service.
    Arrived {
        /// The service's name.
        service: &'a str,
        /// The request's number, from 0 per service.
        request: u64,
        /// The records.
        entries: &'a [Entry],
        /// The limits of the output that wrote the request.
        limits: RequestLimits,
        /// Requests of one lane that may be in flight together.
        in_flight: NonZeroUsize,
    },
    /// A service made records durable.
    Applied {
        /// The service's name.
        service: &'a str,
        /// The request's number.
        request: u64,
        /// The place of each of the request's entries in the service's log, if it was written.
        places: &'a [Option<usize>],
        /// True if the sender had abandoned the request before.
        late: bool,
    },
    /// A service's answer reached the sender of the request.
    Answered {
        /// The service's name.
        service: &'a str,
        /// The request's number.
        request: u64,
        /// The answer.
        outcome: &'a Outcome,
    },
    /// The sender abandoned the request.
    Abandoned {
        /// The service's name.
        service: &'a str,
        /// The request's number.
        request: u64,
    },
    /// The store has these rows now.
    Committed {
        /// The written rows.
        rows: &'a [LaneCheckpoint],
    },
    /// The store no longer has these rows.
    Forgotten {
        /// The lanes.
        lanes: &'a [LaneId],
    },
    /// A lease was gained, renewed, or is about to end.
    Leased {
        /// The shard.
        shard: &'a ShardId,
        /// No request may start at or after this moment.
        until: Instant,
        /// True if the lease is a new one.
        gained: bool,
    },
    /// A row of a lease table was written; `None`: deleted.
    LeaseRow {
        /// The shard.
        shard: &'a ShardId,
        /// The row.
        row: Option<&'a LeaseRow>,
    },
    /// A fault of this kind was played.
    Fault(&'static str),
}

/// The answer of a reader of a fake stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAnswer {
    /// This number of records.
    Records(usize),
    /// No records for now.
    Idle,
    /// The end of the shard.
    Closed,
    /// The position was deleted.
    Gap,
    /// A failure.
    Failed,
}

/// Receives the events of the fakes. Called while no fake holds a lock.
pub trait Observer: Send + Sync + 'static {
    /// See [`Event`].
    fn on(&self, event: &Event<'_>);
}

/// Ignores every event.
impl Observer for () {
    fn on(&self, _: &Event<'_>) {}
}

/// A duration drawn from a range of milliseconds, both ends included.
pub type MillisRange = (u64, u64);

fn draw(rng: &mut Rng, range: MillisRange) -> Duration {
    Duration::from_millis(rng.between(range.0, range.1.max(range.0)))
}
