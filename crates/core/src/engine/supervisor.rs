//! Keeps the shard map, starts lanes when their parents' lanes have ended, and handles the end of
//! tasks.

use std::future::{Future, pending, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::batch::ShardId;
use crate::clock::Instant;
use crate::output::{Trouble, TroubleKind};
use crate::ownership::OwnershipChange;
use crate::source::{Shard, SourceError, StreamIdentity};
use crate::store::{LaneId, OutputId};

use super::retry::{Backoff, policy};
use super::shard::ShardCell;
use super::status::ErrorReport;
use super::world::{Listed, World};
use super::{
    EngineError, Shared, checkpoints, handover, identities, lane, lock, pin, reader, start,
};

/// Names a task.
#[derive(Clone, Debug)]
pub(crate) enum TaskName {
    Lane(LaneId),
    Reader(ShardId),
    Handover(ShardId),
    Pin(ShardId),
    Pump(OutputId),
    Identity(OutputId),
    Checkpoints,
}

/// All tasks except the supervisor's own.
#[derive(Default)]
pub(crate) struct Tasks {
    set: JoinSet<Option<EngineError>>,
    names: Vec<(Id, TaskName)>,
}

/// The end of a task.
type Ended = (Id, Result<Option<EngineError>, JoinError>);

impl Tasks {
    fn spawn(
        &mut self,
        name: TaskName,
        task: impl Future<Output = Option<EngineError>> + Send + 'static,
    ) -> AbortHandle {
        let handle = self.set.spawn(task);
        self.names.push((handle.id(), name));
        handle
    }

    /// Ends all tasks where they are.
    pub(crate) fn abort(&mut self) {
        self.set.abort_all();
    }

    fn forget(&mut self, id: Id) -> Option<TaskName> {
        let i = self.names.iter().position(|(of, _)| *of == id)?;
        Some(self.names.swap_remove(i).1)
    }
}

/// Reports a panic of the supervisor itself.
struct Guard(Arc<Shared>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let message = "see the message above".to_owned();
            self.0.end(EngineError::Broken {
                task: "the supervisor".to_owned(),
                message,
            });
        }
    }
}

/// The source at one moment.
struct Map {
    asked: Instant,
    shards: Vec<Shard>,
    /// Retention and identity, if they were asked for and answered.
    facts: Option<(Duration, StreamIdentity)>,
}

/// The questions of one refresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Shards,
    ShardsAndFacts,
}

type Refresh = Pin<Box<dyn Future<Output = Result<Map, SourceError>> + Send>>;

/// Supervises until the engine is dropped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let _guard = Guard(Arc::clone(&shared));
    spawn_checkpoints(&shared);

    let clock = shared.clock.clone();
    let mut supervisor = Supervisor::new(&shared);
    let mut refresh: Option<Refresh> = None;
    loop {
        supervisor.step(refresh.is_some());
        tokio::select! {
            // Ended tasks first, then news; the map only when nothing else is to be done.
            biased;
            ended = next_end(&shared) => supervisor.on_end(ended),
            () = shared.news.notified() => {}
            change = shared.ownership.next() => supervisor.on_ownership(change),
            map = refreshed(&mut refresh) => {
                refresh = None;
                supervisor.on_map(map);
            }
            () = clock.sleep_until(supervisor.refresh_at), if refresh.is_none() => {
                refresh = Some(supervisor.refresh());
            }
        }
    }
}

fn spawn_checkpoints(shared: &Arc<Shared>) {
    let task = {
        let shared = Arc::clone(shared);
        async move { Some(checkpoints::run(shared).await) }
    };
    lock(&shared.tasks).spawn(TaskName::Checkpoints, task);
}

async fn refreshed(refresh: &mut Option<Refresh>) -> Result<Map, SourceError> {
    match refresh {
        Some(refresh) => refresh.await,
        None => pending().await,
    }
}

/// Asks the source, within the deadline of a read.
async fn ask(shared: Arc<Shared>, questions: Ask) -> Result<Map, SourceError> {
    let limit = shared.settings.read_deadline;
    let answer = shared.clock.timeout(limit, map(&shared, questions)).await;
    answer.unwrap_or_else(|| {
        let text = format!(
            "no answer about its shards within {} s",
            limit.as_secs_f64()
        );
        Err(Trouble::new(TroubleKind::Unavailable, text))
    })
}

async fn map(shared: &Shared, questions: Ask) -> Result<Map, SourceError> {
    let asked = shared.clock.now();
    let shards = start::list(&*shared.source).await?;

    let facts = match questions {
        Ask::Shards => None,
        // Without an answer only the horizon is less exact.
        Ask::ShardsAndFacts => shared.source.facts().await.ok(),
    };
    Ok(Map {
        asked,
        shards,
        facts: facts.map(|facts| (facts.retention, facts.identity)),
    })
}

/// The next task that ends.
async fn next_end(shared: &Shared) -> Ended {
    poll_fn(|cx| {
        let next = lock(&shared.tasks).set.poll_join_next_with_id(cx);
        match next {
            Poll::Ready(Some(Ok((id, value)))) => Poll::Ready((id, Ok(value))),
            Poll::Ready(Some(Err(error))) => {
                let id = error.id();
                Poll::Ready((id, Err(error)))
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    })
    .await
}

struct Supervisor {
    shared: Arc<Shared>,
    backoff: Backoff,
    refresh_at: Instant,
    /// The moment from which a refresh asks for retention and identity, too.
    facts_at: Instant,
    /// Since when the source is missing.
    missing_since: Option<Instant>,
}

impl Supervisor {
    fn new(shared: &Arc<Shared>) -> Self {
        let now = shared.clock.now();
        let settings = &shared.settings;
        Self {
            backoff: settings.backoff(),
            refresh_at: now.plus(settings.map_refresh),
            facts_at: now.plus(settings.retention_refresh),
            shared: Arc::clone(shared),
            missing_since: None,
        }
    }

    /// Asks for the map now.
    fn refresh(&mut self) -> Refresh {
        let questions = self.questions();
        Box::pin(ask(Arc::clone(&self.shared), questions))
    }

    /// Starts the lanes and readers that can start, drops shards that are over, and asks for the
    /// map soon if that lacks a closed shard's children.
    fn step(&mut self, refreshing: bool) {
        let shared = &self.shared;
        let mut world = lock(&shared.world);
        if !world.draining {
            start_tasks(shared, &mut world);
        }
        world.tidy();
        let unsettled = world.settle();
        drop(world);

        shared.changed.send_modify(|n| *n += 1);
        if !refreshing {
            self.plan_refresh(unsettled);
        }
    }

    /// Has the map asked for soon where the source is in doubt, or lacks the children of a shard:
    /// `unsettled` maps were searched for them.
    fn plan_refresh(&mut self, unsettled: Option<u32>) {
        let shared = &self.shared;
        let now = shared.clock.now();
        if shared.source_doubted.swap(false, Ordering::Relaxed) {
            let soon = now.plus(shared.settings.map_refresh_soon);
            self.refresh_at = self.refresh_at.min(soon);
            self.facts_at = soon;
        }
        if let Some(maps) = unsettled {
            let soon = now.plus(self.refresh_soon(maps));
            self.refresh_at = self.refresh_at.min(soon);
        }
    }

    /// The questions of a refresh that starts now.
    fn questions(&mut self) -> Ask {
        let now = self.shared.clock.now();
        if now < self.facts_at {
            return Ask::Shards;
        }
        self.facts_at = now.plus(self.shared.settings.retention_refresh);
        Ask::ShardsAndFacts
    }

    /// Time until the next map while some children are missing from `maps` maps.
    fn refresh_soon(&self, maps: u32) -> Duration {
        let settings = &self.shared.settings;
        let soon = settings.map_refresh_soon.saturating_mul(1 << maps.min(8));
        soon.min(settings.map_refresh)
    }

    fn on_end(&mut self, (id, result): Ended) {
        let shared = &self.shared;
        let name = lock(&shared.tasks).forget(id);
        match &name {
            Some(TaskName::Lane(_)) => {
                shared.lane_tasks.fetch_sub(1, Ordering::Relaxed);
            }
            Some(
                TaskName::Reader(_)
                | TaskName::Handover(_)
                | TaskName::Pin(_)
                | TaskName::Pump(_)
                | TaskName::Identity(_)
                | TaskName::Checkpoints,
            )
            | None => {}
        }

        let error = match result {
            Ok(error) => error,
            Err(error) if error.is_panic() => self.on_panic(name, panic_text(error)),
            // Aborted: on purpose.
            Err(_) => None,
        };
        if let Some(error) = error {
            shared.end(error);
        }
    }

    /// Takes a change of the ownership, and every further one that is there already.
    fn on_ownership(&self, change: OwnershipChange) {
        let ownership = &self.shared.ownership;
        let world = lock(&self.shared.world);
        let mut next = Poll::Ready(change);
        while let Poll::Ready(change) = next {
            world.on_ownership(change);
            next = ownership
                .next()
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// A task broke. A lane stops; any other task ends the engine.
    fn on_panic(&self, name: Option<TaskName>, message: String) -> Option<EngineError> {
        let Some(TaskName::Lane(lane)) = name else {
            let task = task_text(name.as_ref());
            return Some(EngineError::Broken { task, message });
        };
        let world = lock(&self.shared.world);
        if let Some(cell) = world.shards.get(&lane.shard) {
            cell.lane_broke(&lane.output, &message);
        }
        None
    }

    fn on_map(&mut self, map: Result<Map, SourceError>) {
        let map = match map {
            Ok(map) => map,
            Err(trouble) => return self.on_trouble(trouble),
        };
        let shared = &self.shared;
        let now = shared.clock.now();
        self.backoff.reset();
        self.missing_since = None;
        self.refresh_at = now.plus(shared.settings.map_refresh);

        if let Some((_, identity)) = &map.facts
            && shared.identity.is_recreated_as(identity)
        {
            let arn = identity.arn.clone();
            return shared.end(EngineError::SourceRecreated { arn });
        }
        self.merge(map, now);
    }

    /// Gives the map to the world and to the ownership.
    fn merge(&self, map: Map, now: Instant) {
        let shared = &self.shared;
        let mut world = lock(&shared.world);
        if let Some((retention, _)) = map.facts {
            world.retention = Some(retention);
        }
        world.merge(&Listed {
            shards: &map.shards,
            asked: map.asked,
            server: shared.server_at(map.asked),
        });
        let accepted = world.accepted(map.shards);
        shared.ownership.offer(&accepted);
        world.warn_of_horizon(now);
    }

    /// The source could not list its shards.
    fn on_trouble(&mut self, trouble: Trouble) {
        let shared = &self.shared;
        let now = shared.clock.now();
        let class = policy(trouble.kind).class;
        let wait = self.backoff.next(&shared.clock, class, trouble.retry_after);
        self.refresh_at = now.plus(wait);
        tracing::warn!(
            "the source's shards could not be listed, and are asked for again: {trouble}"
        );
        lock(&shared.world).source_error = Some(ErrorReport {
            at: shared.clock.wall(),
            kind: Some(trouble.kind),
            text: trouble.message.clone(),
        });

        if trouble.kind == TroubleKind::Missing {
            self.on_missing(trouble, now);
        } else {
            self.missing_since = None;
        }
    }

    /// The source is missing: it is given up after some time.
    fn on_missing(&mut self, trouble: Trouble, now: Instant) {
        // A stream that is there again may be another one.
        self.facts_at = now;
        let since = *self.missing_since.get_or_insert(now);
        if now.since(since) < self.shared.settings.source_patience {
            return;
        }
        self.shared.end(EngineError::Source {
            doing: "listing its shards",
            source: trouble,
        });
    }
}

/// Starts every task that can start.
fn start_tasks(shared: &Arc<Shared>, world: &mut World) {
    start_pumps(shared, world);
    start_watches(shared, world);
    for cell in world.shards.values() {
        start_lanes(shared, world, cell);
        start_reader(shared, cell);
        start_pin(shared, cell);
        start_handover(shared, cell);
    }
}

/// Starts the tasks of stateful pumps that were added.
fn start_pumps(shared: &Shared, world: &mut World) {
    for (output, entry) in &mut world.outputs {
        if entry.pump.is_some() || entry.spec.output.stateful().is_none() {
            continue;
        }
        let pump = Arc::clone(&entry.spec.output);
        let task = async move {
            match pump.stateful() {
                Some(pump) => match pump.run().await {},
                None => None,
            }
        };
        let name = TaskName::Pump(output.clone());
        entry.pump = Some(lock(&shared.tasks).spawn(name, task));
    }
}

/// Starts the tasks that ask for the identities of outputs.
fn start_watches(shared: &Arc<Shared>, world: &mut World) {
    for (output, entry) in &mut world.outputs {
        if entry.watch.is_some() || entry.current.is_none() {
            continue;
        }
        let task = identities::watch(Arc::clone(shared), output.clone());
        let name = TaskName::Identity(output.clone());
        let spawned = lock(&shared.tasks).spawn(name, async move {
            task.await;
            None
        });
        entry.watch = Some(spawned);
    }
}

/// Starts the lanes of `cell` whose parents' lanes have ended.
fn start_lanes(shared: &Arc<Shared>, world: &World, cell: &Arc<ShardCell>) {
    for output in cell.waiting_lanes() {
        if world.parents_ended(cell, &output) {
            start_lane(shared, cell, &output);
        }
    }
}

fn start_lane(shared: &Arc<Shared>, cell: &Arc<ShardCell>, output: &OutputId) {
    let name = TaskName::Lane(LaneId {
        shard: cell.id().clone(),
        output: output.clone(),
    });
    let task = lane::run(Arc::clone(shared), Arc::clone(cell), output.clone());
    let spawn = || {
        lock(&shared.tasks).spawn(name, async move {
            task.await;
            None
        })
    };
    if cell.start_lane(output, spawn) {
        shared.lane_tasks.fetch_add(1, Ordering::Relaxed);
    }
}

/// Starts the reader of `cell` if lanes need one.
fn start_reader(shared: &Arc<Shared>, cell: &Arc<ShardCell>) {
    if !cell.start_reader() {
        return;
    }
    let task = reader::run(Arc::clone(shared), Arc::clone(cell));
    let name = TaskName::Reader(cell.id().clone());
    lock(&shared.tasks).spawn(name, async move {
        task.await;
        None
    });
}

/// Asks for the start of `cell`'s shard if lanes start there.
fn start_pin(shared: &Arc<Shared>, cell: &Arc<ShardCell>) {
    let Some(start) = cell.start_pin() else {
        return;
    };
    let task = pin::run(Arc::clone(shared), Arc::clone(cell), start);
    let name = TaskName::Pin(cell.id().clone());
    lock(&shared.tasks).spawn(name, async move {
        task.await;
        None
    });
}

/// Gives back the lease of `cell` if this worker loses the shard.
fn start_handover(shared: &Arc<Shared>, cell: &Arc<ShardCell>) {
    let Some(loss) = cell.handle_loss() else {
        return;
    };
    let task = handover::run(Arc::clone(shared), Arc::clone(cell), loss);
    let name = TaskName::Handover(cell.id().clone());
    lock(&shared.tasks).spawn(name, async move {
        task.await;
        None
    });
}

fn task_text(name: Option<&TaskName>) -> String {
    match name {
        Some(TaskName::Lane(lane)) => {
            format!("the lane of output {} at shard {}", lane.output, lane.shard)
        }
        Some(TaskName::Reader(shard)) => format!("the reader of shard {shard}"),
        Some(TaskName::Handover(shard)) => format!("the handover of shard {shard}"),
        Some(TaskName::Pin(shard)) => format!("the question for the start of shard {shard}"),
        Some(TaskName::Pump(output)) => format!("the pump {output}"),
        Some(TaskName::Identity(output)) => format!("the watch of output {output}"),
        Some(TaskName::Checkpoints) => "the writing of checkpoints".to_owned(),
        None => "a task".to_owned(),
    }
}

fn panic_text(error: JoinError) -> String {
    let panic = error.into_panic();
    if let Some(text) = panic.downcast_ref::<&str>() {
        return (*text).to_owned();
    }
    if let Some(text) = panic.downcast_ref::<String>() {
        return text.clone();
    }
    "no message".to_owned()
}
