//! Fakes for the seams, for tests and the simulator (feature `testing`): a stream, outputs and a store in memory, that
//! misbehave as told, on a clock that the test owns. And [`conformance`]: what every implementation of a seam must do,
//! the fakes included.
//!
//! Everything that happens at a fake is told to an [`Observer`] in the moment in which it happens.

mod clock;
pub mod conformance;
mod output;
mod rng;
mod store;
mod stream;

pub use clock::{EPOCH, TestClock};
pub use output::{
    Entry, FakeOutput, FakeService, Fate, Mood, OutputFaults, Rate, ServiceSettings, Written,
};
pub use rng::{Rng, hash};
pub use store::{FakeStore, StoreFaults};
pub use stream::{FakeStream, Placed, READ_LIMITS, ReadFaults, Stored, StreamSettings, counted};

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::batch::ShardId;
use crate::checkpoint::Position;
use crate::output::{Outcome, RequestLimits};
use crate::store::{LaneCheckpoint, LaneId};
use crate::sync::lock;

/// Something that happened at a fake.
#[derive(Debug)]
pub enum Event<'a> {
    /// A reader answered.
    Read {
        /// Of which shard.
        shard: &'a ShardId,
        /// From where on.
        from: &'a Position,
        /// How many records the caller allowed.
        credit: u32,
        /// What it said.
        answer: ReadAnswer,
    },
    /// A request came to a service.
    Arrived {
        /// Its name.
        service: &'a str,
        /// Numbered from 0, by service.
        request: u64,
        /// What it holds.
        entries: &'a [Entry],
        /// What one request may hold, by the handle that wrote it.
        limits: RequestLimits,
        /// Requests of one lane that may be in flight together.
        in_flight: NonZeroUsize,
    },
    /// A service made records durable.
    Applied {
        /// Its name.
        service: &'a str,
        /// Which request.
        request: u64,
        /// The place of each of the request's entries in the service's log, if it was written.
        places: &'a [Option<usize>],
        /// True if whoever sent it had given it up before.
        late: bool,
    },
    /// A service's answer reached whoever sent the request.
    Answered {
        /// Its name.
        service: &'a str,
        /// Which request.
        request: u64,
        /// What it said.
        outcome: &'a Outcome,
    },
    /// Whoever sent the request is gone.
    Abandoned {
        /// The service's name.
        service: &'a str,
        /// Which request.
        request: u64,
    },
    /// The store has these rows now.
    Committed {
        /// What was written.
        rows: &'a [LaneCheckpoint],
    },
    /// The store no longer has these rows.
    Forgotten {
        /// Which.
        lanes: &'a [LaneId],
    },
    /// A fault was played, of this kind.
    Fault(&'static str),
}

/// What a reader of a fake stream said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadAnswer {
    /// So many records.
    Records(usize),
    /// None for now.
    Idle,
    /// The end.
    Closed,
    /// The position is gone.
    Gap,
    /// Trouble.
    Failed,
}

/// Is told what happens at the fakes, while it happens. Called without any of the fakes' locks held.
pub trait Observer: Send + Sync + 'static {
    /// See [`Event`].
    fn on(&self, event: &Event<'_>);
}

/// Looks at nothing.
impl Observer for () {
    fn on(&self, _: &Event<'_>) {}
}

/// A duration drawn from a range of milliseconds, both ends included.
pub type MillisRange = (u64, u64);

fn draw(rng: &mut Rng, range: MillisRange) -> Duration {
    Duration::from_millis(rng.between(range.0, range.1.max(range.0)))
}
