//! A lease table in memory that misbehaves on command. Every worker has a handle of its own, so
//! that one worker can be cut off from the table while the others go on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use crate::batch::ShardId;
use crate::clock::ClockSource;
use crate::leases::{Expected, LeaseRow, LeaseTable, RowUpdate};
use crate::store::StoreError;

use super::{Event, MillisRange, Observer, Rng, TestClock, draw, lock};

/// How a table misbehaves, from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LeaseTableFaults {
    /// Time before a call is carried out, and the same again until the answer.
    pub latency: MillisRange,
    /// Of a thousand calls, so many fail and do nothing.
    pub fail: u32,
    /// Of a thousand writes, so many are carried out and say that they failed.
    pub fail_after: u32,
    /// Of a thousand writes, so many say that they failed, and are carried out later.
    pub late: u32,
    /// Time after which a late write is carried out.
    pub lateness: MillisRange,
}

struct Inner {
    rows: BTreeMap<ShardId, LeaseRow>,
    faults: LeaseTableFaults,
    writes: u64,
    scans: u64,
    rng: Rng,
}

/// See the module. Clones are one handle; [`FakeLeaseTable::handle`] gives another one.
#[derive(Clone)]
pub struct FakeLeaseTable {
    state: Arc<Mutex<Inner>>,
    /// True while this handle is cut off.
    cut_off: Arc<Mutex<bool>>,
    clock: TestClock,
    observer: Arc<dyn Observer>,
}

/// One draw of the faults for a call.
enum Fate {
    Well,
    Fails,
    FailsAfter,
    Late,
}

impl FakeLeaseTable {
    /// An empty table.
    pub fn new(clock: &TestClock, rng: Rng, observer: Arc<dyn Observer>) -> Self {
        Self {
            state: Arc::new(Mutex::new(Inner {
                rows: BTreeMap::new(),
                faults: LeaseTableFaults::default(),
                writes: 0,
                scans: 0,
                rng,
            })),
            cut_off: Arc::default(),
            clock: clock.clone(),
            observer,
        }
    }

    /// Another worker's way to the same table.
    #[must_use]
    pub fn handle(&self) -> Self {
        Self {
            cut_off: Arc::default(),
            ..self.clone()
        }
    }

    /// How the table misbehaves from now on.
    pub fn set_faults(&self, faults: LeaseTableFaults) {
        lock(&self.state).faults = faults;
    }

    /// Cuts this handle off from the table, or connects it again.
    pub fn cut_off(&self, cut_off: bool) {
        *lock(&self.cut_off) = cut_off;
    }

    /// The rows.
    pub fn table(&self) -> BTreeMap<ShardId, LeaseRow> {
        lock(&self.state).rows.clone()
    }

    /// Puts a row, as another program would.
    pub fn put(&self, row: LeaseRow) {
        lock(&self.state).rows.insert(row.shard.clone(), row);
    }

    /// Writes and scans so far.
    pub fn calls(&self) -> (u64, u64) {
        let state = lock(&self.state);
        (state.writes, state.scans)
    }

    fn failed() -> StoreError {
        StoreError::Failed {
            source: "the table is not reachable".into(),
        }
    }

    async fn pass(&self) {
        let time = {
            let state = &mut *lock(&self.state);
            draw(&mut state.rng, state.faults.latency)
        };
        if !time.is_zero() {
            self.clock.sleep(time).await;
        }
    }

    fn fate(&self, write: bool) -> Fate {
        if *lock(&self.cut_off) {
            return Fate::Fails;
        }
        let state = &mut *lock(&self.state);
        let Inner { faults, rng, .. } = state;
        if rng.per_mille(faults.fail) {
            Fate::Fails
        } else if write && rng.per_mille(faults.fail_after) {
            Fate::FailsAfter
        } else if write && rng.per_mille(faults.late) {
            Fate::Late
        } else {
            Fate::Well
        }
    }

    async fn read<T>(&self, read: impl FnOnce(&mut Inner) -> T) -> Result<T, StoreError> {
        self.pass().await;
        if !matches!(self.fate(false), Fate::Well) {
            self.observer
                .on(&Event::Fault("a read of a lease table failed"));
            return Err(Self::failed());
        }
        let value = read(&mut lock(&self.state));
        self.pass().await;
        Ok(value)
    }

    async fn write(
        &self,
        shard: &ShardId,
        write: impl FnOnce(&mut Inner) -> bool + Send + 'static,
    ) -> Result<bool, StoreError> {
        self.pass().await;
        match self.fate(true) {
            Fate::Well => {}
            Fate::Fails => {
                self.observer.on(&Event::Fault("a write of a lease failed"));
                return Err(Self::failed());
            }
            Fate::FailsAfter => {
                self.carry_out(shard, write);
                let fault = "the answer to a write of a lease was lost";
                self.observer.on(&Event::Fault(fault));
                return Err(Self::failed());
            }
            Fate::Late => {
                self.write_later(shard.clone(), write);
                self.observer
                    .on(&Event::Fault("a write of a lease is late"));
                return Err(Self::failed());
            }
        }

        let done = self.carry_out(shard, write);
        self.pass().await;
        Ok(done)
    }

    /// Carries out a write of the shard's row, and reports the row.
    fn carry_out(&self, shard: &ShardId, write: impl FnOnce(&mut Inner) -> bool) -> bool {
        let (is_done, row) = {
            let mut state = lock(&self.state);
            let is_done = write(&mut state);
            (is_done, state.rows.get(shard).cloned())
        };

        if is_done {
            let row = row.as_ref();
            self.observer.on(&Event::LeaseRow { shard, row });
        }
        is_done
    }

    fn write_later(&self, shard: ShardId, write: impl FnOnce(&mut Inner) -> bool + Send + 'static) {
        let lateness = {
            let state = &mut *lock(&self.state);
            draw(&mut state.rng, state.faults.lateness)
        };

        let table = self.clone();
        tokio::spawn(async move {
            table.clock.sleep(lateness).await;
            table.carry_out(&shard, write);
        });
    }
}

#[async_trait]
impl LeaseTable for FakeLeaseTable {
    async fn rows(&self) -> Result<Vec<LeaseRow>, StoreError> {
        self.read(|inner| {
            inner.scans += 1;
            inner.rows.values().cloned().collect()
        })
        .await
    }

    async fn row(&self, shard: &ShardId) -> Result<Option<LeaseRow>, StoreError> {
        self.read(|inner| inner.rows.get(shard).cloned()).await
    }

    async fn create(&self, row: &LeaseRow) -> Result<bool, StoreError> {
        let row = row.clone();
        self.write(&row.shard.clone(), move |inner| {
            let new = !inner.rows.contains_key(&row.shard);
            if new {
                inner.rows.insert(row.shard.clone(), row);
            }
            new
        })
        .await
    }

    async fn update(
        &self,
        shard: &ShardId,
        expected: &Expected,
        update: &RowUpdate,
    ) -> Result<bool, StoreError> {
        let (id, expected, update) = (shard.clone(), expected.clone(), update.clone());
        self.write(shard, move |inner| {
            inner.writes += 1;
            let row = inner.rows.get_mut(&id);
            let row = row.filter(|row| row.unchanged() == expected);
            row.map(|row| update.apply(row)).is_some()
        })
        .await
    }

    async fn delete(&self, shard: &ShardId, expected: &Expected) -> Result<bool, StoreError> {
        let (id, expected) = (shard.clone(), expected.clone());
        self.write(shard, move |inner| {
            let row = inner.rows.get(&id);
            let same = row.is_some_and(|row| row.unchanged() == expected);
            if same {
                inner.rows.remove(&id);
            }
            same
        })
        .await
    }
}
