//! The engine: reads each shard once, hands the records to a lane per output, and moves each lane's
//! checkpoint only past records that its output acknowledged.

mod budget;
mod changes;
mod checkpoints;
pub mod deliver;
mod encoders;
mod encodings;
mod handover;
mod identities;
mod inflow;
mod lane;
mod lineage;
pub mod mutation;
mod pace;
mod pin;
mod pumps;
mod reader;
mod recognise;
mod report;
pub mod retry;
mod rows;
mod settings;
mod shard;
pub(crate) mod shared_batch;
mod start;
mod status;
mod supervisor;
mod world;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::{Notify, watch};

use crate::batch::ShardId;
use crate::checkpoint::Position;
use crate::clock::{Clock, Instant, Millis};
use crate::output::{Output, Trouble, TroubleKind};
use crate::ownership::Ownership;
use crate::pump::PumpRef;
use crate::source::{ReadLimits, Source, StreamIdentity};
use crate::store::{CheckpointStore, OutputId, StoreError};
use crate::sync::lock;
use crate::text::chain;

use budget::Budget;
use deliver::DeadLetter;
use encodings::Accounts;
use shard::{Conditions, GoalState, lane_port};
use supervisor::Tasks;
use world::World;

pub use crate::output::Order;
pub use budget::MemoryBudget;
pub use changes::{Applied, Effect};
pub use settings::{OnRecreated, Settings};
pub use status::{
    CommitStatus, Counts, ErrorReport, Gap, LanePhase, LaneStatus, MemoryStatus, OutputState,
    OutputStatus, SourceStatus, Status,
};

/// The start of an output without state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Start {
    /// The oldest record that the source still has.
    #[default]
    TrimHorizon,
    /// The first record that arrives after the fan-out first knew of this output: resolved once to
    /// a moment and written before anything is read.
    Latest,
    /// The first record that arrived at or after this moment.
    At(Millis),
}

/// One output of a fan-out, with its settings.
#[derive(Clone)]
pub struct OutputSpec {
    /// The name in the state; never changes.
    pub id: OutputId,
    /// The place to write to.
    pub output: Arc<dyn Output>,
    /// Tells the place from all others, such as an ARN or a path: an output that has another name
    /// than before is recognised by the place. `None`: only by the name, unless
    /// [`Output::identity`] tells.
    pub place: Option<String>,
    /// Order per key.
    pub order: Order,
    /// The start without state.
    pub start: Start,
    /// True: nothing is read or written for the output until it is resumed.
    pub paused: bool,
    /// The place for records that the output refuses for good: the lane goes on when such a record
    /// is durable there. `None`: the lane stops.
    pub dead_letter: Option<DeadLetter>,
    /// The rows that are sent in place of the records; `None`: the records themselves. Where an
    /// update replaces the pump in the middle of a record's rows, all rows of the new pump are sent
    /// for that record. A pump that was edited while the engine did not run goes on behind the rows
    /// that the checkpoint counts.
    pub pump: Option<PumpRef>,
}

impl OutputSpec {
    /// The place to write to, as the store keeps it.
    fn identity(&self) -> Option<StreamIdentity> {
        let named = || {
            let arn = self.place.clone()?;
            Some(StreamIdentity { arn, created: None })
        };
        self.output.identity().or_else(named)
    }
}

/// Everything that an engine needs.
pub struct FanOut {
    /// The fan-out's name.
    pub name: String,
    /// The stream to read.
    pub source: Arc<dyn Source>,
    /// The places to write to.
    pub outputs: Vec<OutputSpec>,
    /// The state: checkpoints and identities.
    pub store: Arc<dyn CheckpointStore>,
    /// Decides which shards this worker reads; `None`: all of them, for ever.
    pub ownership: Option<Arc<dyn Ownership>>,
    /// Memory that is shared with other fan-outs of the process; `None`: a budget of its own, of
    /// [`Settings::memory_budget`].
    pub budget: Option<MemoryBudget>,
    /// Time and randomness.
    pub clock: Clock,
    /// Limits and intervals.
    pub settings: Settings,
}

/// A change to a running engine. Other outputs notice nothing.
#[derive(Clone)]
pub enum Change {
    /// A new output. Its start is `start`, or its place in the state if there is one.
    Add(OutputSpec),
    /// Ends an output and deletes its state.
    Remove(OutputId),
    /// Ends an output and keeps its state: added again, by this name or at the same place, the
    /// output goes on there.
    Detach(OutputId),
    /// Stops reading and writing for an output, and keeps its place.
    Pause(OutputId),
    /// Goes on with an output that is paused, or whose lanes stopped.
    Resume(OutputId),
    /// Replaces an output's settings: the place to write to, and the order. The cursors are kept;
    /// `start` means nothing. Lanes that stopped go on.
    Update(OutputSpec),
    /// Moves the cursors of an output.
    Seek(Seek),
}

/// A move of an output's cursors. Requests under way are given up: their records may arrive in
/// spite of that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seek {
    /// The output.
    pub output: OutputId,
    /// The only shard; `None`: all.
    pub shard: Option<ShardId>,
    /// The new place.
    pub to: Position,
    /// The place where each cursor must be, with no request under way; `None`: any.
    pub from: Option<Position>,
}

/// The reason why an engine could not start, go on, or carry out a change.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EngineError {
    /// The request makes no sense; nothing was changed.
    #[error("{message}")]
    Invalid {
        /// The mistake, and the user's next step.
        message: String,
    },
    /// The state store failed for good.
    #[error("the fan-out's state: {doing} failed")]
    Store {
        /// The activity that failed.
        doing: &'static str,
        /// The store's error.
        #[source]
        source: Arc<StoreError>,
    },
    /// The source failed for good.
    #[error("the source: {doing} failed")]
    Source {
        /// The activity that failed.
        doing: &'static str,
        /// The source's failure.
        #[source]
        source: Trouble,
    },
    /// The source was deleted and created again while it was read.
    #[error(
        "the source {arn} was deleted and created again: its records are other ones, and the progress \
         means nothing there. To copy the new stream from its start, run `distributary state forget` \
         for this fan-out, or give it another state file, and start again"
    )]
    SourceRecreated {
        /// The ARN of the source.
        arn: String,
    },
    /// A lane stopped; the others go on.
    #[error("output {output} stopped at shard {shard}: {reason}")]
    OutputStopped {
        /// The output.
        output: OutputId,
        /// The shard whose lane stopped.
        shard: ShardId,
        /// The reason.
        reason: String,
    },
    /// Every request to an output fails for a reason that only the user can remove.
    #[error(
        "output {output} took nothing for {} s: {reason}; repair that and start again: the output goes \
         on where it was",
        after.as_secs()
    )]
    OutputStuck {
        /// The output.
        output: OutputId,
        /// The shard whose lane is stuck.
        shard: ShardId,
        /// The duration.
        after: Duration,
        /// The output's last answer.
        reason: String,
    },
    /// A part of the program broke: a bug. Nothing is lost: start the program again.
    #[error("{task} broke: {message}; this is a bug, please report it, then start again")]
    Broken {
        /// The part.
        task: String,
        /// The message.
        message: String,
    },
}

/// A running fan-out. Dropping the engine is like a crash: everything ends at once and nothing more
/// is written.
pub struct Engine {
    shared: Arc<Shared>,
    supervisor: tokio::task::AbortHandle,
}

/// Everything that the engine's tasks share.
struct Shared {
    name: String,
    identity: StreamIdentity,
    limits: ReadLimits,
    source: Arc<dyn Source>,
    store: Arc<dyn CheckpointStore>,
    ownership: Arc<dyn Ownership>,
    clock: Clock,
    settings: Settings,
    budget: Arc<Budget>,
    world: Mutex<World>,
    /// The server's time when the engine started: [`Engine::caught_up`] waits for the records that
    /// arrived before.
    goal: Millis,
    /// The server's time less the monotonic clock, in milliseconds.
    server_offset: i64,
    lane_tasks: AtomicUsize,
    tasks: Mutex<Tasks>,
    /// The last report of each kind of failure, by output (`None`: reading).
    reported: Mutex<BTreeMap<(Option<OutputId>, TroubleKind), Instant>>,
    encodings: Mutex<Accounts>,
    /// Held while the store is written.
    committing: tokio::sync::Mutex<()>,
    /// Held while the outputs are changed.
    changing: tokio::sync::Mutex<()>,
    /// Wakes the supervisor.
    news: Arc<Notify>,
    /// Counts up when the supervisor has looked.
    changed: watch::Sender<u64>,
    ended: watch::Sender<Option<EngineError>>,
    /// Set when a read finds the source or a shard missing: the source's identity is asked for.
    source_doubted: AtomicBool,
}

impl Shared {
    /// Everything outside a shard that its decisions depend on, now.
    fn conditions(&self) -> Conditions<'_> {
        Conditions {
            now: self.clock.now(),
            settings: &self.settings,
            limits: &self.limits,
            budget: &self.budget,
            memory_share: self.budget.share(),
            free: self.budget.free(),
        }
    }

    /// The distance of all lanes from the records that were in the source at the start.
    fn goal_state(&self) -> GoalState {
        let now = self.clock.now();
        let patience = self.settings.lasting_patience;
        lock(&self.world).goal_state(now, patience)
    }

    /// The server's time at `moment`, about.
    fn server_at(&self, moment: Instant) -> Option<Millis> {
        Some(Millis(self.server_offset).plus(moment.0))
    }

    /// True if a failure of this kind, at this output or in reading, is to be logged: none was
    /// lately.
    fn is_news(&self, output: Option<&OutputId>, kind: TroubleKind) -> bool {
        let now = self.clock.now();
        let mut reported = lock(&self.reported);
        let last = reported.get(&(output.cloned(), kind));
        let news = last.is_none_or(|at| now.since(*at) >= self.settings.say_again);
        if news {
            reported.insert((output.cloned(), kind), now);
        }
        news
    }

    /// The engine can't go on; the first error counts. Nothing is read or sent any more.
    fn end(&self, error: EngineError) {
        tracing::error!("the fan-out ends: {}", chain(&error));
        self.drain();
        self.ended.send_if_modified(|ended| {
            let first = ended.is_none();
            if first {
                *ended = Some(error);
            }
            first
        });
    }

    /// Stops reading; lanes end with the request under way.
    fn drain(&self) {
        let mut world = lock(&self.world);
        world.draining = true;
        for cell in world.shards.values() {
            cell.drain();
        }
    }
}

impl Engine {
    /// Binds the store, resolves the start of each lane, writes the starts before anything is read,
    /// and runs on the current tokio runtime.
    pub async fn start(fan_out: FanOut) -> Result<Self, EngineError> {
        let shared = start::start(fan_out).await?;
        let supervisor = tokio::spawn(supervisor::run(Arc::clone(&shared))).abort_handle();
        Ok(Self { shared, supervisor })
    }

    /// The cursor of `output` in `shard`; `None` without such a lane.
    pub fn position(&self, output: &OutputId, shard: &ShardId) -> Option<Position> {
        let world = lock(&self.shared.world);
        world.shards.get(shard)?.position(output)
    }

    /// A snapshot; cheap, at any time.
    pub fn status(&self) -> Status {
        report::status(&self.shared)
    }

    /// Completes when every lane has everything that was in the source when the engine started:
    /// each shard's reader has passed that moment, or the shard is closed and read, and so are its
    /// descendants. Paused outputs are not waited for, nor shards that another worker owns. An
    /// output that stopped, or whose every request failed for [`Settings::lasting_patience`] for a
    /// reason that only the user can remove, is an error, once all the others have everything.
    pub async fn caught_up(&self) -> Result<(), EngineError> {
        let shared = &self.shared;
        let mut changed = shared.changed.subscribe();
        let mut ended = shared.ended.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(error) = shared.ended.borrow().clone() {
                return Err(error);
            }
            let recheck = match shared.goal_state() {
                GoalState::Reached => return Ok(()),
                GoalState::Ahead { recheck } => recheck,
                GoalState::Blocked(error) => return Err(error),
            };
            tokio::select! {
                // Either way everything is looked at again. The senders live as long as `self`.
                biased;
                _ = ended.changed() => {}
                _ = changed.changed() => {}
                () = shared.clock.sleep_until_some(recheck) => {}
            }
        }
    }

    /// Completes only when the engine can't go on: its state can't be written, its source is gone.
    pub async fn ended(&self) -> EngineError {
        let mut ended = self.shared.ended.subscribe();
        loop {
            if let Some(error) = ended.borrow_and_update().clone() {
                return error;
            }
            // The sender lives as long as `self`.
            if ended.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Changes an output while the others run.
    pub async fn apply(&self, change: Change) -> Applied {
        let _guard = self.shared.changing.lock().await;
        let applied = changes::apply(&self.shared, change).await;
        self.shared.news.notify_one();
        applied
    }

    /// Stops reading, ends the requests under way within `limit`, writes the checkpoints, gives the
    /// leases back, and returns the last status.
    pub async fn shutdown(self, limit: Duration) -> Result<Status, EngineError> {
        let shared = &self.shared;
        shared.ownership.drain();
        shared.drain();
        let mut changed = shared.changed.subscribe();
        let drained = async {
            while shared.lane_tasks.load(Ordering::Relaxed) > 0 && changed.changed().await.is_ok() {
            }
            pumps::settled(shared).await;
        };
        if shared.clock.timeout(limit, drained).await.is_none() {
            tracing::warn!("requests did not end in time; their records will be sent again");
        }
        // Requests that are still under way are abandoned; nothing moves a cursor after the last
        // commit.
        self.abort();
        checkpoints::last_commit(shared).await?;
        handover::release_all(shared).await;
        Ok(self.status())
    }

    fn abort(&self) {
        self.supervisor.abort();
        lock(&self.shared.tasks).abort();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.abort();
    }
}
