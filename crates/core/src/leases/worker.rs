//! One worker of an application: the seams of the engine over a table of leases, and the tasks that
//! scan the table and renew the leases.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tracing::Instrument as _;

use crate::batch::ShardId;
use crate::clock::{Clock, Instant};
use crate::ownership::{Committed, Lease, Ownership, OwnershipChange};
use crate::source::{Shard, StreamIdentity};
use crate::store::{CheckpointStore, LaneCheckpoint, LaneId, OutputId, State, StoreError};
use crate::sync::lock;

use super::cursors::{Cursor, Cursors, OutputPrint, source_print};
use super::hold::{Access, Hold, Written};
use super::row::{KclCheckpoint, LeaseRow, LeaseTable};
use super::view::View;
use super::{LeaseSettings, scan};

/// The state and the ownership of a fan-out whose workers share a table of leases. Both seams are
/// one object: rows are written under the lease of their shard.
///
/// Not kept: the identities of outputs, and snapshots (the engine refuses stateful pumps where
/// shards are shared).
pub struct Leases {
    inner: Arc<Inner>,
    /// The tasks; they end when the worker is dropped, as in a crash.
    tasks: Arc<Mutex<JoinSet<()>>>,
}

/// Everything that the tasks share.
pub(super) struct Inner {
    pub(super) access: Access,
    pub(super) view: Mutex<View>,
    /// Wakes [`Ownership::next`].
    told: Notify,
    /// Wakes the scan.
    pub(super) wake: Notify,
}

impl Leases {
    /// A worker of the application that `table` belongs to. `worker`: a name that no other process
    /// has or had, new at every start. `outputs`: as [`Ownership::serve`] has them.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] if two outputs have the same fingerprint.
    pub fn new(
        table: Arc<dyn LeaseTable>,
        worker: String,
        outputs: &[OutputId],
        settings: LeaseSettings,
        clock: Clock,
    ) -> Result<Self, StoreError> {
        let access = Access {
            table,
            worker,
            clock,
            calls: Semaphore::new(settings.calls),
            settings,
        };
        let view = View {
            outputs: prints(outputs)?,
            ..View::default()
        };
        Ok(Self {
            inner: Arc::new(Inner {
                access,
                view: Mutex::new(view),
                told: Notify::new(),
                wake: Notify::new(),
            }),
            tasks: Arc::default(),
        })
    }
}

impl Leases {
    fn has_good_lease(&self, shard: &ShardId, leases: &[Lease]) -> bool {
        let now = self.inner.access.clock.now();
        let lease = leases.iter().find(|lease| lease.shard() == shard);
        lease.is_some_and(|lease| lease.is_good(now))
    }
}

impl Drop for Leases {
    fn drop(&mut self) {
        lock(&self.tasks).abort_all();
    }
}

/// The outputs by their fingerprints.
fn prints(outputs: &[OutputId]) -> Result<BTreeMap<OutputPrint, OutputId>, StoreError> {
    let mut prints = BTreeMap::new();
    for output in outputs {
        let twin = prints.insert(OutputPrint::of(output), output.clone());
        if let Some(twin) = twin.filter(|twin| twin != output) {
            return Err(StoreError::Foreign {
                message: format!(
                    "the outputs {twin} and {output} have the same fingerprint in a lease row; give one \
                     of them another name"
                ),
            });
        }
    }
    Ok(prints)
}

impl Inner {
    /// Reports a change to the engine.
    pub(super) fn tell(&self, change: OwnershipChange) {
        lock(&self.view).news.push_back(change);
        self.told.notify_one();
    }

    /// Wakes the engine for news that are in the view already.
    pub(super) fn notify(&self) {
        self.told.notify_one();
    }

    /// The lease of `hold` is this worker's no longer.
    pub(super) fn lost(&self, hold: &Arc<Hold>) {
        let now = self.access.clock.now();
        hold.lease.end(now);
        let mut view = lock(&self.view);
        if !view.forget_hold(hold) {
            return;
        }

        hold.over.notify_one();
        if hold.is_announced() {
            let shard = hold.shard();
            tracing::warn!(%shard, "the lease was lost; another worker goes on from its checkpoint");
            view.leaving.insert(shard.clone());
            view.news.push_back(OwnershipChange::Losing {
                shard: shard.clone(),
                stop_by: now,
            });
        }
        drop(view);
        self.told.notify_one();
    }

    /// Tells the engine to end its work on the shard, and to give the lease back.
    pub(super) fn hand_over(&self, hold: &Hold) {
        if !hold.is_announced() || !hold.leave() {
            return;
        }
        let grace = self.access.settings.handover();
        let stop_by = self.access.clock.now().plus(grace);
        let shard = hold.shard().clone();
        self.tell(OwnershipChange::Losing { shard, stop_by });
    }

    /// Tells the engine that the shard is its own.
    async fn announce(&self, hold: &Arc<Hold>) {
        let (mut row, cursors) = hold.snapshot().await;
        row.lanes = Some(cursors.encode());
        if let Some(lowest) = cursors.lowest() {
            row.checkpoint = KclCheckpoint::of(lowest);
        }

        tracing::info!(shard = %hold.shard(), "the lease was taken");
        let mut view = lock(&self.view);
        let progress = Some(view.progress(&row));
        hold.announce();
        view.news.push_back(OwnershipChange::Gained {
            lease: hold.lease.clone(),
            progress,
        });
        drop(view);
        self.told.notify_one();
    }

    /// Renews a lease until the hold is over. `start`: the moment of the first request.
    pub(super) async fn keep(self: Arc<Self>, hold: Arc<Hold>, start: Instant) {
        let clock = &self.access.clock;
        let half = self.access.settings.renewal() / 2;
        // Renewals of many leases are spread.
        let mut due = hold.renewed().plus(half).plus(clock.jitter(half));

        loop {
            let waits = !hold.is_announced();
            let until = if waits { due.min(start) } else { due };
            tokio::select! {
                biased;
                () = hold.over.notified() => return,
                () = clock.sleep_until(until) => {}
            }
            if waits && clock.now() >= start {
                self.announce(&hold).await;
                continue;
            }

            match self.renew(&hold).await {
                Some(next) => due = next,
                None => return self.lost(&hold),
            }
        }
    }

    /// One renewal: the moment of the next one; `None` if the lease is lost.
    pub(super) async fn renew(&self, hold: &Hold) -> Option<Instant> {
        let Access {
            clock, settings, ..
        } = &self.access;
        let end = hold.renewed().plus(settings.failover);
        let left = end.since(clock.now());
        let result = clock.timeout(left, hold.renew(&self.access)).await;

        let next = match result {
            Some(Ok(Written::Done)) => {
                self.heed_successor(hold).await;
                return Some(hold.renewed().plus(settings.renewal()));
            }
            Some(Ok(Written::Lost)) => return None,
            Some(Err(error)) => {
                let shard = hold.shard();
                tracing::debug!(%shard, "the lease could not be renewed: {error}");
                let soon = clock.now().plus(settings.renewal() / 4);
                soon.min(end)
            }
            // A commit may have renewed the lease meanwhile.
            None => clock.now(),
        };
        self.is_in_time(hold).then_some(next)
    }

    /// Hands the lease over if another worker asked for it.
    async fn heed_successor(&self, hold: &Hold) {
        let (row, _) = hold.snapshot().await;
        let successor = row.successor;
        if successor.is_some_and(|successor| successor != self.access.worker) {
            self.hand_over(hold);
        }
    }

    /// True while no other worker may take the lease.
    fn is_in_time(&self, hold: &Hold) -> bool {
        let end = hold.renewed().plus(self.access.settings.failover);
        self.access.clock.now() < end
    }

    fn hold(&self, shard: &ShardId) -> Option<Arc<Hold>> {
        lock(&self.view).holds.get(shard).cloned()
    }

    /// Writes the rows of one shard.
    async fn commit_shard(
        &self,
        shard: &ShardId,
        rows: &[LaneCheckpoint],
    ) -> Result<Written, StoreError> {
        let Some(hold) = self.hold(shard) else {
            return Ok(Written::Lost);
        };
        let (children, missing) = self.children(shard);
        // The KCL wants the rows of the children before their parent's `SHARD_END`.
        for child in missing {
            scan::create(self, &child).await?;
        }

        let written = hold
            .commit(&self.access, &children, |cursors| set(cursors, rows))
            .await?;
        if written == Written::Lost {
            self.lost(&hold);
            return Ok(written);
        }
        self.end_if_finished(&hold).await;
        Ok(written)
    }

    /// The children of a shard, and the ones without a row.
    fn children(&self, shard: &ShardId) -> (Vec<ShardId>, Vec<Shard>) {
        let view = lock(&self.view);
        let children = view.children(shard);
        let mut missing = view.missing_rows();
        missing.retain(|missing| children.contains(&missing.id));
        (children, missing)
    }

    /// Ends the hold on a shard in which nothing is left to do.
    async fn end_if_finished(&self, hold: &Hold) {
        let (row, _) = hold.snapshot().await;
        if lock(&self.view).is_finished(&row) {
            self.hand_over(hold);
        }
    }

    /// Writes the starts of lanes that the row lacks.
    async fn write_pins(&self, hold: &Arc<Hold>) -> Result<(), StoreError> {
        let pins = {
            let view = lock(&self.view);
            view.pins.get(hold.shard()).cloned()
        };
        let Some(pins) = pins else {
            return Ok(());
        };

        let add = |cursors: &mut Cursors| cursors.add_missing(&pins);
        let written = hold.commit(&self.access, &[], add).await?;
        if written == Written::Lost {
            self.lost(hold);
        }
        Ok(())
    }

    async fn give_back(&self, hold: &Hold) -> Result<(), StoreError> {
        let result = hold.give_back(&self.access).await;
        hold.lease.end(self.access.clock.now());
        hold.over.notify_one();
        result.map(drop)
    }

    /// The engine no longer works on the shard.
    fn left(&self, shard: &ShardId, row: Option<LeaseRow>) {
        let mut view = lock(&self.view);
        view.leaving.remove(shard);
        let row = match row {
            Some(row) => Some(row),
            None => view.rows.get(shard).map(|seen| seen.row.clone()),
        };
        let progress = match row {
            Some(row) => view.progress(&row),
            None => Vec::new(),
        };

        view.news.push_back(OwnershipChange::Elsewhere {
            shard: shard.clone(),
            progress,
        });
        drop(view);
        self.told.notify_one();
        self.wake.notify_one();
    }
}

/// Sets the lanes of `cursors` to `rows`.
fn set(cursors: &mut Cursors, rows: &[LaneCheckpoint]) {
    for row in rows {
        let cursor = Cursor {
            position: row.position.clone(),
            arrival: row.arrival,
        };
        cursors
            .lanes
            .insert(OutputPrint::of(&row.lane.output), cursor);
    }
}

/// Rows by shard, in waves: a shard comes in a later wave than its parents.
fn waves(
    rows: &[LaneCheckpoint],
    listed: &BTreeMap<ShardId, Shard>,
) -> Vec<Vec<(ShardId, Vec<LaneCheckpoint>)>> {
    let mut waves = Vec::new();
    let mut wave = Vec::new();
    let mut current: BTreeSet<ShardId> = BTreeSet::new();
    for (shard, rows) in by_shard(rows) {
        let listed = listed.get(&shard);
        let parents = listed.map_or(&[][..], |shard| &shard.parents);
        if parents.iter().any(|parent| current.contains(parent)) {
            waves.push(std::mem::take(&mut wave));
            current.clear();
        }
        current.insert(shard.clone());
        wave.push((shard, rows));
    }
    waves.push(wave);
    waves
}

/// Rows by shard, in the order of the first row of each.
fn by_shard(rows: &[LaneCheckpoint]) -> Vec<(ShardId, Vec<LaneCheckpoint>)> {
    let mut shards: Vec<(ShardId, Vec<LaneCheckpoint>)> = Vec::new();
    let mut places: BTreeMap<&ShardId, usize> = BTreeMap::new();
    for row in rows {
        let shard = &row.lane.shard;
        match places.get(shard) {
            Some(place) => shards[*place].1.push(row.clone()),
            None => {
                places.insert(shard, shards.len());
                shards.push((shard.clone(), vec![row.clone()]));
            }
        }
    }
    shards
}

#[async_trait]
impl Ownership for Leases {
    fn serve(&self, outputs: &[OutputId]) -> Result<(), StoreError> {
        lock(&self.inner.view).outputs = prints(outputs)?;
        self.inner.wake.notify_one();
        Ok(())
    }

    fn drain(&self) {
        lock(&self.inner.view).draining = true;
    }

    fn offer(&self, shards: &[Shard]) {
        lock(&self.inner.view).list(shards);
        self.inner.wake.notify_one();

        let mut tasks = lock(&self.tasks);
        if tasks.is_empty() {
            let inner = Arc::clone(&self.inner);
            let scan = scan::run(inner, Arc::downgrade(&self.tasks));
            tasks.spawn(scan.instrument(tracing::Span::current()));
        }
    }

    async fn next(&self) -> OwnershipChange {
        loop {
            let change = lock(&self.inner.view).news.pop_front();
            match change {
                Some(change) => return change,
                None => self.inner.told.notified().await,
            }
        }
    }

    async fn commit(&self, changes: &State, leases: &[Lease]) -> Result<Committed, StoreError> {
        let waves = waves(&changes.lanes, &lock(&self.inner.view).listed);
        let mut committed = Committed::default();
        for wave in waves {
            let mut writes = JoinSet::new();
            for (shard, rows) in wave {
                if !self.has_good_lease(&shard, leases) {
                    committed.lost.insert(shard);
                    continue;
                }
                let inner = Arc::clone(&self.inner);
                writes.spawn(async move {
                    let written = inner.commit_shard(&shard, &rows).await;
                    (shard, written)
                });
            }
            collect(writes, &mut committed).await?;
        }
        Ok(committed)
    }

    async fn forget(&self, lanes: &[LaneId]) -> Result<(), StoreError> {
        for lane in lanes {
            let hold = {
                let mut view = lock(&self.inner.view);
                if !view.listed.contains_key(&lane.shard) {
                    view.gone.insert(lane.shard.clone());
                }
                view.holds.get(&lane.shard).cloned()
            };
            if let Some(hold) = hold {
                let print = OutputPrint::of(&lane.output);
                hold.edit(|cursors| drop(cursors.lanes.remove(&print)))
                    .await;
            }
        }
        Ok(())
    }

    async fn release(&self, lease: &Lease) -> Result<(), StoreError> {
        let shard = lease.shard();
        let hold = {
            let mut view = lock(&self.inner.view);
            let hold = view.holds.remove(shard);
            if hold.is_some() {
                view.leaving.insert(shard.clone());
            }
            hold
        };
        let Some(hold) = hold else {
            self.inner.left(shard, None);
            return Ok(());
        };

        let result = self.inner.give_back(&hold).await;
        let (row, _) = hold.snapshot().await;
        self.inner.left(shard, Some(row));
        result
    }
}

/// Waits for the writes of one wave. The first error, after all have ended.
async fn collect(
    mut writes: JoinSet<(ShardId, Result<Written, StoreError>)>,
    committed: &mut Committed,
) -> Result<(), StoreError> {
    let mut failure = None;
    while let Some(ended) = writes.join_next().await {
        match ended {
            Ok((_, Ok(Written::Done))) => {}
            Ok((shard, Ok(Written::Lost))) => {
                committed.lost.insert(shard);
            }
            Ok((_, Err(error))) => failure = Some(error),
            Err(error) => failure = Some(super::failed(error.to_string())),
        }
    }
    failure.map_or(Ok(()), Err)
}

#[async_trait]
impl CheckpointStore for Leases {
    async fn bind(&self, source: &StreamIdentity) -> Result<(), StoreError> {
        let print = source_print(source);
        let rows = self
            .inner
            .access
            .call(self.inner.access.table.rows())
            .await?;
        let foreign = rows.iter().find(|row| {
            let cursors = row.lanes.as_deref().and_then(Cursors::decode);
            cursors.is_some_and(|cursors| cursors.source != print)
        });
        if let Some(row) = foreign {
            return Err(StoreError::Foreign {
                message: format!(
                    "the lease table holds the progress of another stream than {} (row {}); give this \
                     fan-out another name or table, or delete the table to copy the stream from its start",
                    source.arn, row.shard
                ),
            });
        }

        lock(&self.inner.view).source = print;
        Ok(())
    }

    async fn load(&self) -> Result<State, StoreError> {
        let rows = self
            .inner
            .access
            .call(self.inner.access.table.rows())
            .await?;
        let view = lock(&self.inner.view);
        let lanes = rows.iter().flat_map(|row| view.progress(row)).collect();
        Ok(State {
            lanes,
            ..State::default()
        })
    }

    /// Keeps the starts of lanes. A start is written with the row of the shard, before the shard is
    /// gained: when the row is created, or taken by this worker, and has no such lane.
    async fn commit(&self, changes: &State) -> Result<(), StoreError> {
        for (shard, rows) in by_shard(&changes.lanes) {
            let hold = {
                let mut view = lock(&self.inner.view);
                let pins = view.pins.entry(shard.clone()).or_default();
                set(pins, &rows);
                view.holds.get(&shard).cloned()
            };
            if let Some(hold) = hold {
                self.inner.write_pins(&hold).await?;
            }
        }
        Ok(())
    }

    async fn forget(&self, lanes: &[LaneId]) -> Result<(), StoreError> {
        Ownership::forget(self, lanes).await
    }
}
