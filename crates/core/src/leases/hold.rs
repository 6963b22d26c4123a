//! One lease that this worker holds: the row as this worker last wrote it, and the writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Mutex as AsyncMutex, Notify};

use crate::batch::ShardId;
use crate::clock::{Clock, Instant};
use crate::engine::mutation::{Mutation, on};
use crate::ownership::Lease;
use crate::store::StoreError;
use crate::sync::lock;

use super::cursors::Cursors;
use super::row::{Change, KclCheckpoint, LeaseRow, LeaseTable, Progress, RowUpdate};
use super::{LeaseSettings, failed};

/// Writes of one row that are tried in a row when somebody else, a successor, changes the row too.
const WRITE_ATTEMPTS: u32 = 4;

/// See the module.
pub(super) struct Hold {
    pub(super) lease: Lease,
    /// The start of the last successful write.
    renewed: std::sync::Mutex<Instant>,
    /// Held while a write of the row is in flight.
    row: AsyncMutex<HeldRow>,
    /// True once the engine knows of the lease.
    announced: AtomicBool,
    /// True once the engine has been told to end its work.
    leaving: AtomicBool,
    /// Wakes the task that renews the lease, to end.
    pub(super) over: Notify,
}

/// The row, as this worker knows it.
struct HeldRow {
    row: LeaseRow,
    cursors: Cursors,
    /// True while it is unknown whether the last write was carried out.
    in_doubt: bool,
}

/// The result of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Written {
    /// The lease is renewed.
    Done,
    /// Another worker owns the row, or the row is gone.
    Lost,
}

/// The table and the times of the protocol.
pub(super) struct Access {
    pub(super) table: Arc<dyn LeaseTable>,
    pub(super) worker: String,
    pub(super) clock: Clock,
    pub(super) settings: LeaseSettings,
    /// Limits the calls in flight.
    pub(super) calls: tokio::sync::Semaphore,
}

impl Access {
    /// One call of the table, within its deadline.
    pub(super) async fn call<T>(
        &self,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let _permit = self.calls.acquire().await;
        let deadline = self.settings.call_deadline;
        let answer = self.clock.timeout(deadline, call).await;
        answer.unwrap_or_else(|| {
            let seconds = deadline.as_secs_f64();
            Err(failed(format!("no answer within {seconds} s")))
        })
    }

    /// Changes a row, if nobody has changed it since `row` was read.
    pub(super) async fn update(
        &self,
        row: &LeaseRow,
        update: &RowUpdate,
    ) -> Result<bool, StoreError> {
        let newest = match on(Mutation::NoFencing) {
            true => self.call(self.table.row(&row.shard)).await?,
            false => None,
        };

        let expected = newest.as_ref().unwrap_or(row).unchanged();
        let update = self.table.update(&row.shard, &expected, update);
        self.call(update).await
    }

    /// The moment by which an observer sees leases expire: of the monotonic clock.
    pub(super) fn observed_at(&self) -> Instant {
        match on(Mutation::WallClockExpiry) {
            true => {
                let millis = u64::try_from(self.clock.wall().0).unwrap_or(0);
                Instant(std::time::Duration::from_millis(millis))
            }
            false => self.clock.now(),
        }
    }
}

impl Hold {
    /// The hold on `row`, which a write that started at `renewed` gave to this worker.
    pub(super) fn new(row: LeaseRow, cursors: Cursors, renewed: Instant, term: Instant) -> Self {
        Self {
            lease: Lease::new(row.shard.clone(), row.counter, term),
            renewed: std::sync::Mutex::new(renewed),
            row: AsyncMutex::new(HeldRow {
                row,
                cursors,
                in_doubt: false,
            }),
            announced: AtomicBool::new(false),
            leaving: AtomicBool::new(false),
            over: Notify::new(),
        }
    }

    pub(super) fn shard(&self) -> &ShardId {
        self.lease.shard()
    }

    /// The start of the last successful write.
    pub(super) fn renewed(&self) -> Instant {
        *lock(&self.renewed)
    }

    pub(super) fn is_announced(&self) -> bool {
        self.announced.load(Ordering::Relaxed)
    }

    /// The engine knows of the lease from now on.
    pub(super) fn announce(&self) {
        self.announced.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_leaving(&self) -> bool {
        self.leaving.load(Ordering::Relaxed)
    }

    /// The engine is told to end its work; `false` if it was told before.
    pub(super) fn leave(&self) -> bool {
        !self.leaving.swap(true, Ordering::Relaxed)
    }

    /// The row, with the positions of the lanes.
    pub(super) async fn snapshot(&self) -> (LeaseRow, Cursors) {
        let held = self.row.lock().await;
        (held.row.clone(), held.cursors.clone())
    }

    /// Changes the lanes of the row, to be written with the next write.
    pub(super) async fn edit(&self, edit: impl FnOnce(&mut Cursors)) {
        edit(&mut self.row.lock().await.cursors);
    }

    /// Renews the lease, and writes the lanes if they changed.
    pub(super) async fn renew(&self, access: &Access) -> Result<Written, StoreError> {
        let mut held = self.row.lock().await;
        self.write(access, &mut held, &Change::Keep, &[]).await
    }

    /// Renews the lease with the lanes as `edit` leaves them. `children`: of a shard that ended.
    pub(super) async fn commit(
        &self,
        access: &Access,
        children: &[ShardId],
        edit: impl FnOnce(&mut Cursors),
    ) -> Result<Written, StoreError> {
        let mut held = self.row.lock().await;
        edit(&mut held.cursors);
        self.write(access, &mut held, &Change::Keep, children).await
    }

    /// Gives the row to the worker that asked for it, or to nobody.
    pub(super) async fn give_back(&self, access: &Access) -> Result<Written, StoreError> {
        let mut held = self.row.lock().await;
        let owner = match &held.row.successor {
            Some(successor) => Change::Set(successor.clone()),
            None => Change::Remove,
        };
        self.write(access, &mut held, &owner, &[]).await
    }

    async fn write(
        &self,
        access: &Access,
        held: &mut HeldRow,
        owner: &Change<String>,
        children: &[ShardId],
    ) -> Result<Written, StoreError> {
        for _ in 0..WRITE_ATTEMPTS {
            if held.in_doubt && self.read(access, held).await? == Written::Lost {
                return Ok(Written::Lost);
            }

            let update = held.update(owner, children);
            let start = access.clock.now();
            // Stays true if the caller gives up in between.
            held.in_doubt = true;
            if access.update(&held.row, &update).await? {
                held.in_doubt = false;
                update.apply(&mut held.row);
                self.renewed_at(start, access);
                return Ok(Written::Done);
            }
        }
        Err(failed(
            "the row was changed by others again and again".to_owned(),
        ))
    }

    /// Reads the row after a write whose outcome is unknown, or which was refused.
    async fn read(&self, access: &Access, held: &mut HeldRow) -> Result<Written, StoreError> {
        let found = access.call(access.table.row(self.shard())).await?;
        match found {
            Some(row) if row.owner.as_deref() == Some(&access.worker) => {
                held.row = row;
                held.in_doubt = false;
                Ok(Written::Done)
            }
            _ => Ok(Written::Lost),
        }
    }

    fn renewed_at(&self, start: Instant, access: &Access) {
        let mut renewed = lock(&self.renewed);
        *renewed = start.max(*renewed);
        self.lease.renew(start.plus(access.settings.term()));
    }
}

impl HeldRow {
    /// The write that renews the lease, with the lanes if the row has others.
    fn update(&self, owner: &Change<String>, children: &[ShardId]) -> RowUpdate {
        let mut update = RowUpdate {
            owner: owner.clone(),
            progress: self.progress(),
            children: children.iter().cloned().collect(),
            ..RowUpdate::default()
        };
        if *owner != Change::Keep && self.row.successor.is_some() {
            update.successor = Change::Remove;
            update.switches = Some(self.row.switches + 1);
        }
        update
    }

    /// The lanes, if the row has others.
    fn progress(&self) -> Option<Progress> {
        let lanes = self.cursors.encode();
        if self.row.lanes.as_ref() == Some(&lanes) {
            return None;
        }

        let lowest = self.cursors.lowest();
        let checkpoint = lowest.map_or(self.row.checkpoint.clone(), KclCheckpoint::of);
        Some(Progress {
            checkpoint,
            lanes: Some(lanes),
        })
    }
}
