//! A checkpoint store in memory. Its content survives a crash of the engine; a commit is whole or
//! not at all.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;

use crate::checkpoint::Position;
use crate::clock::ClockSource;
use crate::source::StreamIdentity;
use crate::store::{
    CheckpointStore, LaneCheckpoint, LaneId, OutputId, OutputIdentity, Snapshot, State, StoreError,
};

use super::{Event, MillisRange, Observer, Rng, TestClock, draw, lock};

/// How a store misbehaves, from now on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StoreFaults {
    /// Time before a commit is durable, and the same again until it returns.
    pub latency: MillisRange,
    /// Of a thousand commits, so many fail and write nothing.
    pub fail: u32,
    /// Of a thousand commits, so many are durable and say that they failed.
    pub fail_after: u32,
}

#[derive(Clone)]
struct Inner {
    identity: Option<StreamIdentity>,
    lanes: BTreeMap<LaneId, LaneCheckpoint>,
    outputs: BTreeMap<OutputId, OutputIdentity>,
    snapshots: BTreeMap<OutputId, Snapshot>,
    faults: StoreFaults,
    commits: u64,
    rng: Rng,
}

/// See the module. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct FakeStore {
    state: Arc<Mutex<Inner>>,
    clock: TestClock,
    observer: Arc<dyn Observer>,
}

impl FakeStore {
    /// An empty store.
    pub fn new(clock: &TestClock, rng: Rng, observer: Arc<dyn Observer>) -> Self {
        let state = Inner {
            identity: None,
            lanes: BTreeMap::new(),
            outputs: BTreeMap::new(),
            snapshots: BTreeMap::new(),
            faults: StoreFaults::default(),
            commits: 0,
            rng,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            clock: clock.clone(),
            observer,
        }
    }

    /// How it misbehaves from now on.
    pub fn set_faults(&self, faults: StoreFaults) {
        lock(&self.state).faults = faults;
    }

    /// The rows.
    pub fn rows(&self) -> BTreeMap<LaneId, Position> {
        let lanes = &lock(&self.state).lanes;
        lanes
            .iter()
            .map(|(lane, row)| (lane.clone(), row.position.clone()))
            .collect()
    }

    /// The snapshot of a stateful pump.
    pub fn snapshot(&self, output: &OutputId) -> Option<Snapshot> {
        lock(&self.state).snapshots.get(output).cloned()
    }

    /// Another store with what this one holds now, like a copy of the state file.
    #[must_use]
    pub fn copy(&self) -> Self {
        let state = lock(&self.state).clone();
        Self {
            state: Arc::new(Mutex::new(state)),
            ..self.clone()
        }
    }

    /// Transactions that became durable.
    pub fn commits(&self) -> u64 {
        lock(&self.state).commits
    }

    /// `change` as one transaction, with all that may go wrong.
    async fn transaction(
        &self,
        change: impl FnOnce(&mut Inner),
        event: Event<'_>,
    ) -> Result<(), StoreError> {
        let (before, after, fail, fail_after) = {
            let mut state = lock(&self.state);
            let Inner { faults, rng, .. } = &mut *state;
            let (before, after) = (draw(rng, faults.latency), draw(rng, faults.latency));
            (
                before,
                after,
                rng.per_mille(faults.fail),
                rng.per_mille(faults.fail_after),
            )
        };
        self.pass(before).await;
        let failed = || StoreError::Failed {
            source: "the disk is full".into(),
        };
        if fail {
            self.observer.on(&Event::Fault("commit failed"));
            return Err(failed());
        }
        {
            let mut state = lock(&self.state);
            change(&mut state);
            state.commits += 1;
        }
        self.observer.on(&event);
        self.pass(after).await;
        if fail_after {
            self.observer
                .on(&Event::Fault("commit failed after it was durable"));
            return Err(failed());
        }
        Ok(())
    }

    async fn pass(&self, d: Duration) {
        if !d.is_zero() {
            self.clock.sleep(d).await;
        }
    }
}

#[async_trait]
impl CheckpointStore for FakeStore {
    async fn bind(&self, source: &StreamIdentity) -> Result<(), StoreError> {
        let mut state = lock(&self.state);
        match &state.identity {
            Some(bound) if bound != source => Err(StoreError::Foreign {
                message: format!(
                    "this is the state of {}, not of {}; use another one",
                    bound.arn, source.arn
                ),
            }),
            Some(_) => Ok(()),
            None => {
                state.identity = Some(source.clone());
                Ok(())
            }
        }
    }

    async fn load(&self) -> Result<State, StoreError> {
        let inner = lock(&self.state);
        Ok(State {
            lanes: inner.lanes.values().cloned().collect(),
            outputs: inner.outputs.values().cloned().collect(),
            snapshots: inner.snapshots.values().cloned().collect(),
        })
    }

    async fn commit(&self, changes: &State) -> Result<(), StoreError> {
        let change = |inner: &mut Inner| {
            for row in &changes.lanes {
                inner.lanes.insert(row.lane.clone(), row.clone());
            }
            for row in &changes.outputs {
                inner.outputs.insert(row.output.clone(), row.clone());
            }
            for row in &changes.snapshots {
                inner.snapshots.insert(row.output.clone(), row.clone());
            }
        };
        let event = Event::Committed {
            rows: &changes.lanes,
        };
        self.transaction(change, event).await
    }

    async fn forget(&self, lanes: &[LaneId]) -> Result<(), StoreError> {
        let change = |inner: &mut Inner| {
            inner.lanes.retain(|lane, _| !lanes.contains(lane));
            let Inner {
                lanes,
                outputs,
                snapshots,
                ..
            } = inner;
            let has_lanes = |output: &OutputId| lanes.keys().any(|lane| lane.output == *output);
            outputs.retain(|output, _| has_lanes(output));
            snapshots.retain(|output, _| has_lanes(output));
        };
        self.transaction(change, Event::Forgotten { lanes }).await
    }
}
