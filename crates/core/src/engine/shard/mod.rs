//! One shard and the owner of its state: the lanes, the feeds, and the decisions about both. Tasks
//! and live changes report events by methods of [`ShardCell`]; the answers are commands. Nothing
//! outside this module changes the state, and nothing inside does I/O.
//!
//! A *feed* is a reader with the window of its batches. The *head* is the feed that is furthest
//! along; lanes that the head does not cover (*laggards*) are grouped on at most two other feeds. A
//! lane moves to the head as soon as the head's window covers the lane's cursor. A lane is
//! *detached* from its feed when the window outgrows the shard's share of the memory budget while
//! other lanes wait.

mod attach;
mod describe;
mod feed;
mod gathered;
mod holding;
mod lane;
pub(super) mod lane_port;
mod lanes;
mod memory;
mod pins;
mod plan;
mod reads;
mod speed;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use crate::batch::ShardId;
use crate::checkpoint::{Position, Sequence};
use crate::clock::{Instant, Millis};
use crate::output::Trouble;
use crate::source::{OldestRecord, ReadLimits, Shard};
use crate::store::OutputId;

use super::budget::Budget;
use super::encoders::Encoders;
use super::inflow::Inflow;
use super::pace::Pace;
use super::settings::Settings;
use super::status::{ErrorReport, Gap};
use super::{EngineError, lock};

use feed::Feed;
use holding::Holding;
use lane::Lane;

pub(crate) use describe::{LaneReport, SourceReport};
pub(crate) use feed::FeedId;
pub(crate) use gathered::Hold;
pub(crate) use holding::Loss;
pub(crate) use lanes::{Flush, LaneChange, LaneStart, RowsInHand, Take, Work};
pub(crate) use reads::{Arrived, KeepReader};

/// Windows up to this many bytes are neither dropped nor copied for memory.
const SMALL: usize = 64 << 10;

/// A shard, as the tasks and the world see it.
pub(crate) struct ShardCell {
    id: ShardId,
    parents: Vec<ShardId>,
    state: Mutex<ShardState>,
    /// Wakes the shard's reader.
    wake: Arc<Notify>,
    /// Wakes the supervisor.
    supervisor: Arc<Notify>,
}

/// The state of a shard. Only this module and its parts see the fields.
struct ShardState {
    /// See [`Shard::start`].
    start: Option<Sequence>,
    lanes: BTreeMap<OutputId, Lane>,
    feeds: Vec<Feed>,
    head: Option<FeedId>,
    next_feed: FeedId,
    holding: Holding,
    listing: Listing,
    end: End,
    reading: Reading,
    pin: Pin,
    /// The supervisor should look at the shard.
    news: bool,
    /// A lane's checkpoint may differ from the store's.
    unsaved: bool,
    gaps: Gaps,
    reads: ReadCounts,
    /// The first of the failures since which no read succeeded, if only the user can remove them.
    lasting: Option<(Instant, Trouble)>,
    pace: Pace,
    inflow: Inflow,
    /// The server's time at some moment: of the last read, or of the shard map.
    server: Option<(Millis, Instant)>,
}

/// The shard in the source's map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listing {
    /// The shard takes records.
    Open,
    /// The shard takes no more records.
    Closed,
    /// The map no longer has the shard.
    Gone,
}

/// The end of a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// No feed has read the end.
    Ahead,
    /// The end was read, and the map lacks the children.
    Read {
        /// The children, as far as the source named them.
        children: Vec<ShardId>,
        /// Maps that were searched for the children.
        maps: u32,
    },
    /// The map has the children, or there are none.
    Settled,
}

/// The reading of a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    /// No reader task.
    Off,
    /// A reader task is there.
    On,
    /// The engine drains: nothing more is read or started.
    Draining,
}

/// The question for the shard's start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pin {
    /// To be asked once a lane starts at the oldest record.
    Unasked,
    /// Asked for every lane that starts there.
    Asked,
}

/// Stretches that retention deleted before they were read.
#[derive(Debug, Default)]
struct Gaps {
    /// The newest, for the status.
    recent: Vec<Gap>,
    count: u64,
    /// Lanes that came to a gap; to be reported.
    met: Vec<MetGap>,
}

/// A gap that a lane came to.
#[derive(Debug)]
struct MetGap {
    output: OutputId,
    from: Position,
    /// The arrival time of the lane's last durable record.
    from_arrival: Option<Millis>,
    /// The first record after the gap.
    oldest: Option<OldestRecord>,
}

/// Counters of a shard's reads.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadCounts {
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    pub(crate) calls: u64,
    pub(crate) throttled: u64,
    pub(crate) failed: u64,
    pub(crate) last_error: Option<ErrorReport>,
}

/// Everything outside the shard that its decisions depend on.
pub(crate) struct Conditions<'a> {
    pub(crate) now: Instant,
    pub(crate) settings: &'a Settings,
    pub(crate) limits: &'a ReadLimits,
    pub(crate) budget: &'a Arc<Budget>,
    /// The shard's share of the budget in bytes. A shard takes more while much is free, and gives
    /// that back when others need it.
    pub(crate) memory_share: usize,
    /// Unused bytes of the budget.
    pub(crate) free: usize,
}

/// The next moment at which the reader asks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NextVisit {
    /// Never: the shard needs no reader.
    Finished,
    /// After the next event.
    OnEvent,
    /// After the next event, and at this moment at the latest.
    At(Instant),
}

impl NextVisit {
    /// Visits at `at` at the latest.
    fn no_later_than(&mut self, at: Instant) {
        *self = match *self {
            Self::Finished => Self::Finished,
            Self::OnEvent => Self::At(at),
            Self::At(before) => Self::At(before.min(at)),
        };
    }
}

/// Commands for the reader.
pub(crate) struct Round {
    /// Reads to start now.
    pub(crate) reads: Vec<PlannedRead>,
    /// Feeds that there are: readers of others are dropped.
    pub(crate) feeds: Vec<FeedId>,
    pub(crate) next: NextVisit,
}

/// One read to be done.
pub(crate) struct PlannedRead {
    pub(crate) feed: FeedId,
    pub(crate) is_head: bool,
    /// The position of the feed, for a new reader.
    pub(crate) position: Position,
    /// Records at most.
    pub(crate) limit: u32,
    /// Bytes to reserve: the answer, the rows made of it, and all encodings.
    pub(crate) reserve: usize,
    pub(crate) encoders: Encoders,
}

/// The distance of one lane, or of all, from the records that were in the source when the engine
/// started.
pub(crate) enum GoalState {
    /// Everything is durable.
    Reached,
    /// Not yet.
    Ahead {
        /// The moment at which time alone may change the state.
        recheck: Option<Instant>,
    },
    /// Only the user can help; of several lanes the first, and all others have reached the goal.
    Blocked(EngineError),
}

impl ShardCell {
    /// A shard of the source's map without lanes. `supervisor` is notified of news. `server`: the
    /// server's time at some moment.
    pub(crate) fn new(
        shard: &Shard,
        supervisor: &Arc<Notify>,
        server: Option<(Millis, Instant)>,
    ) -> Arc<Self> {
        let listing = if shard.closed {
            Listing::Closed
        } else {
            Listing::Open
        };
        let state = ShardState {
            start: shard.start.clone(),
            lanes: BTreeMap::new(),
            feeds: Vec::new(),
            head: None,
            next_feed: 0,
            holding: Holding::Unknown,
            listing,
            end: End::Ahead,
            reading: Reading::Off,
            pin: Pin::Unasked,
            news: false,
            unsaved: true,
            gaps: Gaps::default(),
            reads: ReadCounts::default(),
            lasting: None,
            pace: Pace::default(),
            inflow: Inflow::default(),
            server,
        };
        Arc::new(Self {
            id: shard.id.clone(),
            parents: shard.parents.clone(),
            state: Mutex::new(state),
            wake: Arc::new(Notify::new()),
            supervisor: Arc::clone(supervisor),
        })
    }

    pub(crate) fn id(&self) -> &ShardId {
        &self.id
    }

    pub(crate) fn parents(&self) -> &[ShardId] {
        &self.parents
    }

    /// Wakes the shard's reader.
    pub(crate) fn wake(&self) -> &Arc<Notify> {
        &self.wake
    }

    /// Carries out one event under the shard's lock, and notifies the supervisor of news.
    fn event<T>(&self, event: impl FnOnce(&mut ShardState) -> T) -> T {
        let (answer, news) = {
            let mut state = lock(&self.state);
            let answer = event(&mut state);
            state.unsaved = true;
            (answer, std::mem::take(&mut state.news))
        };
        if news {
            self.supervisor.notify_one();
        }
        answer
    }

    /// The source's map has `entry` for the shard. `newest`: no newer map was seen. `confirmed`:
    /// the map before lacked the shard, too.
    pub(crate) fn on_map(&self, entry: Option<&Shard>, newest: bool, confirmed: bool) {
        self.event(|state| {
            if newest && let End::Read { maps, .. } = &mut state.end {
                *maps += 1;
            }

            match entry {
                None if newest && confirmed => {
                    if state.listing != Listing::Gone {
                        tracing::info!(shard = %self.id, "the source no longer has this shard");
                    }
                    state.listing = Listing::Gone;
                }
                Some(shard) if newest || state.listing != Listing::Gone => {
                    state.note_listed(shard);
                }
                None | Some(_) => {}
            }
        });
    }

    /// True if the map no longer has the shard.
    pub(crate) fn is_gone(&self) -> bool {
        lock(&self.state).listing == Listing::Gone
    }

    /// The children that the map still lacks, and the number of maps that were searched; `None` if
    /// there is nothing to search for.
    pub(crate) fn unsettled(&self) -> Option<(Vec<ShardId>, u32)> {
        self.event(|state| {
            let gone = state.listing == Listing::Gone;
            match &state.end {
                End::Read { .. } if gone => {
                    state.end = End::Settled;
                    None
                }
                End::Read { children, maps } => Some((children.clone(), *maps)),
                End::Ahead | End::Settled => None,
            }
        })
    }

    /// The map has the shard's children.
    pub(crate) fn settle(&self) {
        self.event(|state| state.end = End::Settled);
    }

    /// True if the end was read and the map lacks the children.
    pub(crate) fn lacks_children(&self) -> bool {
        matches!(lock(&self.state).end, End::Read { .. })
    }

    /// True if the source no longer has the shard, and no lane has anything left to do.
    pub(crate) fn is_over(&self) -> bool {
        let state = lock(&self.state);
        let ended = state.lanes.values().all(Lane::is_over);
        // The reader reports the gaps that lanes came to before it ends.
        state.listing == Listing::Gone && ended && state.gaps.met.is_empty()
    }

    /// Stops reading; lanes end with the request under way.
    pub(crate) fn drain(&self) {
        self.event(|state| {
            state.reading = Reading::Draining;
            for lane in state.lanes.values() {
                lane.wake.notify_one();
            }
        });
        self.wake.notify_one();
    }

    /// True if a reader task has to be started now.
    pub(crate) fn start_reader(&self) -> bool {
        self.event(|state| {
            let wanted = state.has_live_lanes() && !state.ends_work();
            let start = state.reading == Reading::Off && wanted;
            if start {
                state.reading = Reading::On;
            }
            start
        })
    }
}

impl ShardState {
    /// The map has the shard. A shard that was closed does not open again.
    fn note_listed(&mut self, shard: &Shard) {
        let closed = shard.closed || self.listing == Listing::Closed;
        self.listing = match closed {
            true => Listing::Closed,
            false => Listing::Open,
        };
    }

    fn feed(&self, id: FeedId) -> Option<&Feed> {
        self.feeds.iter().find(|f| f.id == id)
    }

    fn feed_mut(&mut self, id: FeedId) -> Option<&mut Feed> {
        self.feeds.iter_mut().find(|f| f.id == id)
    }

    fn head_feed(&self) -> Option<&Feed> {
        self.head.and_then(|id| self.feed(id))
    }

    /// Lanes that follow `feed`.
    fn followers(&self, feed: FeedId) -> impl Iterator<Item = &Lane> {
        self.lanes
            .values()
            .filter(move |lane| lane.next_in(feed).is_some())
    }

    fn has_live_lanes(&self) -> bool {
        self.lanes.values().any(Lane::is_live)
    }

    /// The server's time at `now`, as far as the last read tells.
    fn server_now(&self, now: Instant) -> Option<Millis> {
        self.server.map(|(then, at)| then.plus(now.since(at)))
    }
}

impl ReadCounts {
    /// Adds `other`.
    pub(crate) fn add(&mut self, other: &Self) {
        self.records += other.records;
        self.bytes += other.bytes;
        self.calls += other.calls;
        self.throttled += other.throttled;
        self.failed += other.failed;

        let at = |error: &Option<ErrorReport>| error.as_ref().map(|e| e.at);
        if at(&other.last_error) > at(&self.last_error) {
            self.last_error.clone_from(&other.last_error);
        }
    }
}
