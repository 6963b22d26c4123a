//! Writes the lanes' checkpoints: the changed ones, in one transaction an interval.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Instant, Millis};
use crate::ownership::{Committed, Lease};
use crate::store::{LaneCheckpoint, OutputIdentity, State, StoreError};
use crate::text::chain;

use super::mutation::{Mutation, on};
use super::retry::{Backoff, BackoffClass};
use super::status::{CommitStatus, ErrorReport};
use super::world::World;
use super::{EngineError, Shared, lock, pumps};

/// The pause after a commit is at least so many times the commit's time.
const PAUSE_FACTOR: u32 = 19;
/// The longest pause after a commit, if the interval is not longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Commits at each interval until the engine ends; returns only if the store fails for good.
pub(crate) async fn run(shared: Arc<Shared>) -> EngineError {
    let mut writer = Writer {
        backoff: shared.settings.backoff(),
        failing_since: None,
    };
    let mut wait = shared.settings.checkpoint_interval;
    loop {
        shared.clock.sleep(wait).await;
        if on(Mutation::CheckpointNever) {
            continue;
        }

        let started = shared.clock.now();
        let result = commit(&shared).await;
        let took = shared.clock.now().since(started);
        wait = match writer.after(&shared, result, took) {
            Ok(wait) => wait,
            Err(error) => return error,
        };
    }
}

/// The wait after a commit that took so long: the interval, or longer where commits are slow.
fn pause(interval: Duration, took: Duration) -> Duration {
    let slow = took.saturating_mul(PAUSE_FACTOR);
    interval.max(slow.min(LONGEST_PAUSE))
}

struct Writer {
    backoff: Backoff,
    /// Since when commits fail.
    failing_since: Option<Instant>,
}

impl Writer {
    /// The wait after a commit that took `took`; an error if the store has failed for too long, or
    /// for good.
    fn after(
        &mut self,
        shared: &Shared,
        result: Result<(), StoreError>,
        took: Duration,
    ) -> Result<Duration, EngineError> {
        let settings = &shared.settings;
        let Err(source) = result else {
            self.backoff.reset();
            self.failing_since = None;
            return Ok(pause(settings.checkpoint_interval, took));
        };

        let now = shared.clock.now();
        let since = *self.failing_since.get_or_insert(now);
        let is_too_late = now.since(since) >= settings.store_patience;
        match source {
            StoreError::Failed { .. } if !is_too_late => {
                let class = BackoffClass::Passing;
                Ok(self.backoff.next(&shared.clock, class, None))
            }
            _ => Err(store_error("writing checkpoints", source)),
        }
    }
}

/// Writes everything that changed since the last commit.
pub(crate) async fn commit(shared: &Shared) -> Result<(), StoreError> {
    // One at a time, and never while an output's rows are being deleted.
    let _guard = shared.committing.lock().await;
    let result = match write(shared).await {
        Ok(()) => forget(shared).await,
        failed => failed,
    };
    note(shared, &result);
    result
}

/// Writes everything that changed, for the last time; failures that may pass are tried again.
pub(crate) async fn last_commit(shared: &Shared) -> Result<(), EngineError> {
    let settings = &shared.settings;
    let mut backoff = settings.backoff();
    let mut attempt = 1;
    loop {
        let Err(error) = commit(shared).await else {
            return Ok(());
        };
        if attempt >= settings.last_attempts || !matches!(error, StoreError::Failed { .. }) {
            return Err(store_error("writing the last checkpoints", error));
        }
        attempt += 1;
        let wait = backoff.next(&shared.clock, BackoffClass::Passing, None);
        shared.clock.sleep(wait).await;
    }
}

pub(crate) fn store_error(doing: &'static str, source: StoreError) -> EngineError {
    EngineError::Store {
        doing,
        source: Arc::new(source),
    }
}

/// Keeps the result of a commit for the status, and logs the first failure and its end.
fn note(shared: &Shared, result: &Result<(), StoreError>) {
    let at = shared.clock.wall();
    let mut world = lock(&shared.world);
    let commits = &mut world.commits;
    let Err(error) = result else {
        if commits.failing > 0 {
            tracing::info!("checkpoints are written again");
        }
        commits.failing = 0;
        return;
    };

    let text = chain(error);
    if commits.failing == 0 {
        tracing::error!("writing checkpoints failed, and is tried again: {text}");
    }
    commits.failing = commits.failing.saturating_add(1);
    commits.last_error = Some(ErrorReport {
        at,
        kind: None,
        text,
    });
}

async fn write(shared: &Shared) -> Result<(), StoreError> {
    let (changed, leases) = changed(shared);
    if changed.is_empty() {
        let check = shared.store.check();
        return in_time(shared, check).await;
    }

    let started = shared.clock.now();
    let commit = shared.ownership.commit(&changed, &leases);
    let committed = in_time(shared, commit).await?;

    let took = shared.clock.now().since(started);
    let wall = shared.clock.wall();
    let mut world = lock(&shared.world);
    world.commits.note(took, wall);
    world.on_committed(changed, &committed, started);
    Ok(())
}

/// A call of the store, within the deadline of commits.
async fn in_time<T>(
    shared: &Shared,
    call: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let limit = shared.settings.commit_deadline;
    match shared.clock.timeout(limit, call).await {
        Some(result) => result,
        None => Err(hangs(limit)),
    }
}

impl CommitStatus {
    fn note(&mut self, took: Duration, at: Millis) {
        self.took = took;
        self.last = Some(at);
        self.transactions += 1;
    }
}

impl World {
    /// Takes the result of a transaction that started at `started`.
    fn on_committed(&mut self, changed: State, committed: &Committed, started: Instant) {
        for LaneCheckpoint { lane, position, .. } in changed.lanes {
            let Some(cell) = self.shards.get(&lane.shard) else {
                continue;
            };
            if committed.lost.contains(&lane.shard) {
                cell.lose(started);
            } else {
                cell.committed(&lane.output, position);
            }
        }

        for row in changed.outputs {
            if let Some(entry) = self.outputs.get_mut(&row.output) {
                entry.identity = Some(row.identity);
            }
        }
    }

    /// The checkpoints that moved in the shards of this worker, and the leases of these shards.
    fn moved(&self, now: Instant) -> (Vec<LaneCheckpoint>, Vec<Lease>) {
        let (mut lanes, mut leases) = (Vec::new(), Vec::new());
        for cell in self.shards.values() {
            let Some(lease) = cell.good_lease(now) else {
                continue;
            };
            let rows = cell.uncommitted();
            if !rows.is_empty() {
                lanes.extend(rows);
                leases.push(lease);
            }
        }
        (lanes, leases)
    }

    /// The identities of outputs that the store does not have yet.
    fn new_identities(&self) -> Vec<OutputIdentity> {
        let outputs = self.outputs.iter();
        let new = outputs.filter_map(|(output, entry)| {
            Some(OutputIdentity {
                output: output.clone(),
                identity: entry.to_commit()?.clone(),
            })
        });
        new.collect()
    }
}

/// The error of a store that does not answer: the disk, or the table behind it, hangs.
fn hangs(limit: Duration) -> StoreError {
    let text = format!("no answer within {} s", limit.as_secs_f64());
    StoreError::Failed {
        source: text.into(),
    }
}

/// Deletes the rows of lanes whose shard or output is gone.
async fn forget(shared: &Shared) -> Result<(), StoreError> {
    let lanes = lock(&shared.world).forgotten.clone();
    if lanes.is_empty() {
        return Ok(());
    }
    shared.ownership.forget(&lanes).await?;
    lock(&shared.world)
        .forgotten
        .retain(|lane| !lanes.contains(lane));
    Ok(())
}

/// Everything that changed in the shards of this worker, and their leases. Under the world's lock
/// all the while: a child's lane starts under that lock, after its parents' lanes have ended, so
/// that no transaction has a child's progress without its parents' end.
fn changed(shared: &Shared) -> (State, Vec<Lease>) {
    let now = shared.clock.now();
    let world = lock(&shared.world);
    // First: the snapshots move the rows of their lanes.
    let mut snapshots = pumps::snapshots(&world);
    let (lanes, leases) = world.moved(now);

    // A snapshot that moves no row is in the store already.
    snapshots.retain(|snapshot| {
        let mut moved = lanes.iter();
        moved.any(|row| row.lane.output == snapshot.output)
    });
    let changed = State {
        lanes,
        snapshots,
        outputs: world.new_identities(),
    };
    (changed, leases)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slow_commits_take_a_twentieth_of_the_time_and_wait_a_second_at_most() {
        let millis = Duration::from_millis;
        assert_eq!(pause(millis(200), millis(2)), millis(200));
        assert_eq!(pause(millis(200), millis(30)), millis(570));
        assert_eq!(pause(millis(200), millis(900)), millis(1000));
        assert_eq!(pause(millis(5000), millis(900)), millis(5000));
    }
}
