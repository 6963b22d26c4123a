//! Keeps the shard map, begins lanes when their parents' lanes are done, and notices what ends.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};

use crate::batch::ShardId;
use crate::clock::Instant;
use crate::output::{Trouble, TroubleKind};
use crate::source::{Shard, SourceError};
use crate::store::{LaneId, OutputId};

use super::retry::{Backoff, policy};
use super::shard::ShardCell;
use super::slot::Life;
use super::status::ErrorReport;
use super::world::World;
use super::{EngineError, Shared, lane, lock, progress, reader};

/// Which task something is.
#[derive(Clone, Debug)]
pub(crate) enum TaskName {
    Lane(LaneId),
    Reader(ShardId),
    Progress,
}

/// All tasks but the supervisor's own.
#[derive(Default)]
pub(crate) struct Tasks {
    set: JoinSet<Option<EngineError>>,
    names: Vec<(Id, TaskName)>,
}

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

    /// Ends all of them where they are.
    pub(crate) fn abort(&mut self) {
        self.set.abort_all();
    }

    fn forget(&mut self, id: Id) -> Option<TaskName> {
        let i = self.names.iter().position(|(of, _)| *of == id)?;
        Some(self.names.swap_remove(i).1)
    }
}

/// If the supervisor itself breaks, somebody must say so.
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

type Refresh = Pin<Box<dyn Future<Output = Result<Map, SourceError>> + Send>>;

/// An answer to "what does the source have?".
pub(crate) struct Map {
    asked: Instant,
    pub(crate) shards: Vec<Shard>,
    retention: Option<std::time::Duration>,
}

pub(crate) async fn run(shared: Arc<Shared>) {
    let guard = Guard(Arc::clone(&shared));
    let clock = shared.clock.clone();
    let progress = {
        let shared = Arc::clone(&shared);
        async move { Some(progress::run(shared).await) }
    };
    lock(&shared.tasks).spawn(TaskName::Progress, progress);
    let settings = shared.settings.clone();
    let mut supervisor = Supervisor {
        backoff: settings.backoff(),
        refresh_at: clock.now().plus(settings.map_refresh),
        shared,
        missing_since: None,
    };
    let mut refresh: Option<Refresh> = None;
    loop {
        if let Some(tries) = supervisor.step()
            && refresh.is_none()
        {
            let soon = settings
                .map_refresh_soon
                .saturating_mul(1 << tries.min(8))
                .min(settings.map_refresh);
            let soon = supervisor.shared.clock.now().plus(soon);
            supervisor.refresh_at = supervisor.refresh_at.min(soon);
        }
        let shared = &supervisor.shared;
        tokio::select! {
            // What has ended first, then what is new; the map only when nothing else is to be done.
            biased;
            ended = next_end(shared) => supervisor.on_end(ended),
            () = shared.news.notified() => {}
            map = async { match refresh.as_mut() { Some(r) => r.await, None => std::future::pending().await } } => {
                refresh = None;
                supervisor.on_map(map);
            }
            () = clock.sleep_until(supervisor.refresh_at), if refresh.is_none() => {
                refresh = Some(Box::pin(ask(Arc::clone(shared))));
            }
        }
        let _ = &guard;
    }
}

/// Asks the source for its shards, and how long it keeps records.
async fn ask(shared: Arc<Shared>) -> Result<Map, SourceError> {
    let limit = shared.settings.read_deadline;
    let asked = shared.clock.now();
    let work = async {
        let shards = shared.source.shards().await?;
        if shards.is_empty() {
            return Err(Trouble::new(
                TroubleKind::Unintelligible,
                "the source says that it has no shards at all",
            ));
        }
        // Without it only the horizon is unknown.
        let retention = shared
            .source
            .facts()
            .await
            .ok()
            .map(|facts| facts.retention);
        Ok(Map {
            asked,
            shards,
            retention,
        })
    };
    shared.clock.timeout(limit, work).await.unwrap_or_else(|| {
        let text = format!(
            "no answer about its shards within {} s",
            limit.as_secs_f64()
        );
        Err(Trouble::new(TroubleKind::Unavailable, text))
    })
}

/// The next task that ends.
async fn next_end(shared: &Shared) -> (Id, Result<Option<EngineError>, JoinError>) {
    poll_fn(
        |cx| match lock(&shared.tasks).set.poll_join_next_with_id(cx) {
            Poll::Ready(Some(Ok((id, value)))) => Poll::Ready((id, Ok(value))),
            Poll::Ready(Some(Err(error))) => Poll::Ready((error.id(), Err(error))),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        },
    )
    .await
}

struct Supervisor {
    shared: Arc<Shared>,
    backoff: Backoff,
    refresh_at: Instant,
    missing_since: Option<Instant>,
}

impl Supervisor {
    /// Begins what can begin, tidies what is over. If the map lacks a closed shard's children, says how often they were looked
    /// for.
    fn step(&mut self) -> Option<u32> {
        let shared = &self.shared;
        let mut world = lock(&shared.world);
        if !world.draining {
            for cell in world.shards.values() {
                begin(shared, &world, cell);
            }
        }
        world.tidy();
        let unsettled = world.settle();
        drop(world);
        shared.changed.send_modify(|n| *n += 1);
        unsettled
    }

    fn on_end(&mut self, (id, result): (Id, Result<Option<EngineError>, JoinError>)) {
        let shared = &self.shared;
        let name = lock(&shared.tasks).forget(id);
        match &name {
            Some(TaskName::Lane(_)) => {
                shared.lane_tasks.fetch_sub(1, Ordering::Relaxed);
            }
            Some(TaskName::Reader(_)) => {
                shared.readers.fetch_sub(1, Ordering::Relaxed);
            }
            Some(TaskName::Progress) | None => {}
        }
        let error = match result {
            Ok(error) => error,
            Err(error) if error.is_panic() => {
                let message = panic_text(error);
                match name {
                    Some(TaskName::Lane(lane)) => {
                        lock(&shared.world).broken_lane(&lane, &message);
                        None
                    }
                    name => Some(EngineError::Broken {
                        task: task_text(name.as_ref()),
                        message,
                    }),
                }
            }
            // Aborted: on purpose.
            Err(_) => None,
        };
        if let Some(error) = error {
            shared.end(error);
        }
    }

    fn on_map(&mut self, map: Result<Map, SourceError>) {
        let shared = &self.shared;
        let (now, wall) = (shared.clock.now(), shared.clock.wall());
        match map {
            Ok(map) => {
                self.backoff.reset();
                self.missing_since = None;
                self.refresh_at = now.plus(shared.settings.map_refresh);
                let mut world = lock(&shared.world);
                world.retention = map.retention.or(world.retention);
                world.merge(&map.shards, map.asked, shared.server_now());
                world.warn_of_horizon(now);
            }
            Err(trouble) => {
                let wait = self.backoff.next(
                    &shared.clock,
                    policy(trouble.kind).class,
                    trouble.retry_after,
                );
                self.refresh_at = now.plus(wait);
                tracing::warn!(
                    "the source's shards could not be listed, and are asked for again: {trouble}"
                );
                lock(&shared.world).source_error = Some(ErrorReport {
                    at: wall,
                    kind: Some(trouble.kind),
                    text: trouble.message.clone(),
                });
                if trouble.kind == TroubleKind::Missing {
                    let since = *self.missing_since.get_or_insert(now);
                    if now.since(since) >= shared.settings.source_patience {
                        shared.end(EngineError::Source {
                            doing: "listing its shards",
                            source: trouble,
                        });
                    }
                } else {
                    self.missing_since = None;
                }
            }
        }
    }
}

/// Begins the lanes of `cell` whose parents' lanes are done, and its reader.
fn begin(shared: &Arc<Shared>, world: &World, cell: &Arc<ShardCell>) {
    let ready: Vec<OutputId> = {
        let state = lock(&cell.state);
        let waiting = state
            .lanes
            .iter()
            .filter(|(_, slot)| slot.life == Life::Waiting);
        waiting
            .filter(|(output, _)| world.parents_done(cell, output))
            .map(|(o, _)| o.clone())
            .collect()
    };
    let mut state = lock(&cell.state);
    for output in ready {
        let Some(slot) = state.lanes.get_mut(&output) else {
            continue;
        };
        slot.life = Life::Live;
        let name = TaskName::Lane(LaneId {
            shard: cell.id.clone(),
            output: output.clone(),
        });
        let task = lane::run(Arc::clone(shared), Arc::clone(cell), output);
        slot.task = Some(lock(&shared.tasks).spawn(name, async move {
            task.await;
            None
        }));
        shared.lane_tasks.fetch_add(1, Ordering::Relaxed);
    }
    if !state.reading && state.lanes.values().any(|s| s.life == Life::Live) {
        state.reading = true;
        shared.readers.fetch_add(1, Ordering::Relaxed);
        let task = reader::run(Arc::clone(shared), Arc::clone(cell));
        lock(&shared.tasks).spawn(TaskName::Reader(cell.id.clone()), async move {
            task.await;
            None
        });
    }
}

fn task_text(name: Option<&TaskName>) -> String {
    match name {
        Some(TaskName::Lane(lane)) => {
            format!("the lane of output {} at shard {}", lane.output, lane.shard)
        }
        Some(TaskName::Reader(shard)) => format!("the reader of shard {shard}"),
        Some(TaskName::Progress) => "the writing of checkpoints".to_owned(),
        None => "a task".to_owned(),
    }
}

fn panic_text(error: JoinError) -> String {
    let panic = error.into_panic();
    let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "no message".to_owned())
}
