//! The task that scans the table: sees which leases have expired, takes and asks for leases,
//! creates missing rows and deletes rows that nobody needs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::batch::ShardId;
use crate::clock::Instant;
use crate::engine::mutation::{Mutation, on};
use crate::source::Shard;
use crate::store::StoreError;
use crate::sync::lock;

use super::balance;
use super::cursors::Cursors;
use super::hold::{Access, Hold};
use super::row::{Change, KclCheckpoint, LeaseRow, Progress, RowUpdate};
use super::view::View;
use super::worker::Inner;

/// A lease that is to be taken.
struct Taking {
    row: LeaseRow,
    /// The moment of the first request.
    start: Instant,
}

/// Scans until the worker is dropped.
pub(super) async fn run(inner: Arc<Inner>, tasks: Weak<Mutex<JoinSet<()>>>) {
    let Access {
        clock, settings, ..
    } = &inner.access;
    let mut failing = false;
    loop {
        let result = round(&inner, &tasks).await;
        match result {
            Ok(()) if failing => tracing::info!("the lease table answers again"),
            Err(ref error) if !failing => {
                let error = crate::text::chain(error);
                tracing::warn!("the lease table failed, and is asked again: {error}");
            }
            Ok(()) | Err(_) => {}
        }
        failing = result.is_err();

        let pause = settings.scan().mul_f64(0.9) + clock.jitter(settings.scan() / 10);
        clock.timeout(pause, inner.wake.notified()).await;
        reap(&tasks);
    }
}

/// Drops the results of tasks that have ended.
fn reap(tasks: &Weak<Mutex<JoinSet<()>>>) {
    if let Some(tasks) = tasks.upgrade() {
        let mut tasks = lock(&tasks);
        while tasks.try_join_next().is_some() {}
    }
}

async fn round(inner: &Arc<Inner>, tasks: &Weak<Mutex<JoinSet<()>>>) -> Result<(), StoreError> {
    let missing = look(inner).await?;
    inner.notify();
    let created = create_all(inner, missing).await?;

    let requested = lock(&inner.view).requested(&inner.access.worker);
    for hold in requested {
        inner.renew(&hold).await;
    }
    delete(inner).await?;
    if lock(&inner.view).draining {
        return Ok(());
    }

    if created {
        // The next scan sees the new rows.
        inner.wake.notify_one();
        return Ok(());
    }
    let round = decide(inner);
    if on(Mutation::StealWithoutStopping) {
        return take(inner, tasks, [round.take, round.ask].concat()).await;
    }
    ask(inner, &round.ask).await?;
    take(inner, tasks, round.take).await
}

/// Reads the table. Returns the shards without a row.
async fn look(inner: &Inner) -> Result<Vec<Shard>, StoreError> {
    let access = &inner.access;
    let started = access.observed_at();
    let rows = access.call(access.table.rows()).await?;

    let mut view = lock(&inner.view);
    view.observe(rows, started, access.observed_at());
    view.settle_requests(&access.worker);
    view.tell_progress();
    Ok(view.missing_rows())
}

/// Creates the rows of `shards`. True if there is a new row.
async fn create_all(inner: &Inner, shards: Vec<Shard>) -> Result<bool, StoreError> {
    let mut created = false;
    for shard in shards {
        created |= create(inner, &shard).await?;
    }
    Ok(created)
}

/// Adds the row of a shard that has none, with the starts of this worker's lanes.
pub(super) async fn create(inner: &Inner, shard: &Shard) -> Result<bool, StoreError> {
    let mut row = LeaseRow::new(shard);
    let lanes = lock(&inner.view).lanes_to_hold(&row);
    row.checkpoint = checkpoint(&lanes, &row);
    row.lanes = Some(lanes.encode());
    inner.access.call(inner.access.table.create(&row)).await
}

fn checkpoint(lanes: &Cursors, row: &LeaseRow) -> KclCheckpoint {
    let lowest = lanes.lowest().map(KclCheckpoint::of);
    lowest.unwrap_or_else(|| row.checkpoint.clone())
}

async fn delete(inner: &Inner) -> Result<(), StoreError> {
    let Access {
        table, settings, ..
    } = &inner.access;
    let rows = lock(&inner.view).deletable(settings);
    for row in rows {
        let expected = row.unchanged();
        let delete = table.delete(&row.shard, &expected);
        if inner.access.call(delete).await? {
            tracing::info!(shard = %row.shard, "the lease of a shard that is over was deleted");
            lock(&inner.view).gone.remove(&row.shard);
        }
    }
    Ok(())
}

/// The leases that this worker should take and ask for.
fn decide(inner: &Inner) -> balance::Round {
    let Access {
        clock,
        settings,
        worker,
        ..
    } = &inner.access;
    let claims = lock(&inner.view).claims(worker, settings);
    balance::decide(&claims, worker, || clock.random())
}

/// Asks the owners of `shards` for their leases, unless this worker waits for one already.
async fn ask(inner: &Inner, shards: &[ShardId]) -> Result<(), StoreError> {
    let Access { clock, worker, .. } = &inner.access;
    for row in rows_to_ask_for(inner, shards) {
        let update = RowUpdate {
            successor: Change::Set(worker.clone()),
            ..RowUpdate::default()
        };
        let is_written = inner.access.update(&row, &update).await?;
        if is_written {
            let now = clock.now();
            let seen = inner.access.observed_at();
            lock(&inner.view).note_asked(row, update, now, seen);
        }
    }
    Ok(())
}

fn rows_to_ask_for(inner: &Inner, shards: &[ShardId]) -> Vec<LeaseRow> {
    let view = lock(&inner.view);
    if !view.asked.is_empty() {
        return Vec::new();
    }

    let rows = shards.iter().filter_map(|shard| view.rows.get(shard));
    rows.map(|seen| seen.row.clone()).collect()
}

/// Takes the leases of `free`, those that were handed over, and those that were asked for in vain.
async fn take(
    inner: &Arc<Inner>,
    tasks: &Weak<Mutex<JoinSet<()>>>,
    free: Vec<ShardId>,
) -> Result<(), StoreError> {
    let mut failure = None;
    for taking in takings(inner, free) {
        if lock(&inner.view).draining {
            break;
        }

        let shard = taking.row.shard.clone();
        match take_one(inner, taking).await {
            Ok(Some((hold, start))) => {
                start_keeping(inner, tasks, hold, start).await?;
            }
            Ok(None) => {
                tracing::debug!(%shard, "another worker was faster to take the lease");
            }
            Err(error) => failure = Some(error),
        }
    }
    match failure {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Starts the task that renews a lease; a worker that drains gives the lease back.
async fn start_keeping(
    inner: &Arc<Inner>,
    tasks: &Weak<Mutex<JoinSet<()>>>,
    hold: Arc<Hold>,
    start: Instant,
) -> Result<(), StoreError> {
    let draining = {
        let mut view = lock(&inner.view);
        if view.draining {
            view.holds.remove(hold.shard());
        }
        view.draining
    };
    if draining {
        return hold.give_back(&inner.access).await.map(drop);
    }

    if let Some(tasks) = tasks.upgrade() {
        let keep = Arc::clone(inner).keep(hold, start);
        lock(&tasks).spawn(keep.instrument(tracing::Span::current()));
    }
    Ok(())
}

/// Takes one lease; `None` if the row was changed by others.
async fn take_one(
    inner: &Inner,
    taking: Taking,
) -> Result<Option<(Arc<Hold>, Instant)>, StoreError> {
    let Taking { row, start } = taking;
    let cursors = {
        let mut view = lock(&inner.view);
        view.not_before.insert(row.shard.clone(), start);
        view.lanes_to_hold(&row)
    };

    let hold = write_owner(inner, row, cursors).await?;
    Ok(hold.map(|hold| (hold, start)))
}

/// Writes this worker into `row`; `None` if the row was changed by others.
async fn write_owner(
    inner: &Inner,
    mut row: LeaseRow,
    cursors: Cursors,
) -> Result<Option<Arc<Hold>>, StoreError> {
    let access = &inner.access;
    let update = taken(&access.worker, &row, &cursors);
    let begin = access.clock.now();
    let is_written = access.update(&row, &update).await?;
    if !is_written {
        return Ok(None);
    }

    update.apply(&mut row);
    let term = begin.plus(access.settings.term());
    let hold = Hold::new(row.clone(), cursors, begin, term);
    let hold = Arc::new(hold);

    let now = access.observed_at();
    let mut view = lock(&inner.view);
    view.hold(row, Arc::clone(&hold), now);
    Ok(Some(hold))
}

/// The write that takes a lease.
fn taken(worker: &str, row: &LeaseRow, cursors: &Cursors) -> RowUpdate {
    let lanes = cursors.encode();
    let of_other = row.owner.as_ref().is_some_and(|owner| owner != worker);
    let progress = Progress {
        checkpoint: checkpoint(cursors, row),
        lanes: Some(lanes),
    };
    RowUpdate {
        owner: Change::Set(worker.to_owned()),
        successor: match row.successor {
            Some(_) => Change::Remove,
            None => Change::Keep,
        },
        switches: of_other.then_some(row.switches + 1),
        progress: (row.lanes != progress.lanes).then_some(progress),
        ..RowUpdate::default()
    }
}

/// The leases to take now.
fn takings(inner: &Inner, free: Vec<ShardId>) -> Vec<Taking> {
    let now = inner.access.clock.now();
    let view = lock(&inner.view);
    let mut takings = Vec::new();
    for (shard, wait) in wanted(&view, &inner.access, free) {
        let Some(seen) = view.rows.get(&shard) else {
            continue;
        };
        let mut start = now;
        if seen.row.owner.is_some() {
            start = start.plus(wait);
        }
        if let Some(earliest) = view.not_before.get(&shard) {
            start = start.max(*earliest);
        }
        takings.push(Taking {
            row: seen.row.clone(),
            start,
        });
    }
    takings
}

/// The leases to take, each with the wait before the first request: an owner that is silent may
/// still have one under way.
fn wanted(view: &View, access: &Access, free: Vec<ShardId>) -> BTreeMap<ShardId, Duration> {
    let settings = &access.settings;
    let mut wanted: BTreeMap<ShardId, Duration> = BTreeMap::new();
    for shard in free {
        wanted.insert(shard, settings.settle());
    }
    for shard in view.unanswered(access.clock.now(), settings) {
        wanted.insert(shard, settings.failover);
    }
    for shard in view.adoptable(&access.worker) {
        wanted.insert(shard, Duration::ZERO);
    }
    wanted
}
