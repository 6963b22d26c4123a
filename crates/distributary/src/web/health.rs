//! Tells whether the fan-out works, for `/readyz`.

use std::sync::Mutex;
use std::time::Duration;

use distributary_core::clock::{Clock, Instant};
use distributary_core::engine::{OutputState, Status};
use distributary_core::sync::lock;

use crate::view::Snapshots;

/// Time without a read or a delivery after which the fan-out is stalled. Idle shards are read every
/// second.
const STALLED: Duration = Duration::from_secs(60);
/// Failed checkpoint transactions in a row after which the fan-out is not ready.
const FAILED_COMMITS: u32 = 5;
/// Time between two looks at the snapshots.
const INTERVAL: Duration = Duration::from_secs(1);

/// Watches the snapshots for progress.
pub(super) struct Health {
    clock: Clock,
    snapshots: Snapshots,
    moved: Mutex<Moved>,
}

/// The counters of work, and the time of their last change.
#[derive(Clone, Copy, Default)]
struct Moved {
    reads: u64,
    durable: u64,
    at: Instant,
}

impl Health {
    pub(super) fn new(clock: Clock, snapshots: Snapshots) -> Self {
        let moved = Mutex::new(Moved {
            at: clock.now(),
            ..Moved::default()
        });
        Self {
            clock,
            snapshots,
            moved,
        }
    }

    pub(super) async fn watch(self: std::sync::Arc<Self>) {
        loop {
            self.look();
            self.clock.sleep(INTERVAL).await;
        }
    }

    fn look(&self) {
        let Some(status) = self.snapshots.borrow().clone() else {
            return;
        };
        lock(&self.moved).update(&status, self.clock.now());
    }

    /// Fails with the reason if the fan-out is not ready.
    pub(super) fn ready(&self) -> Result<(), String> {
        self.look();
        let Some(status) = self.snapshots.borrow().clone() else {
            return Err("starting".to_owned());
        };
        let moved = *lock(&self.moved);
        judge(&status, moved, self.clock.now())
    }
}

impl Moved {
    fn update(&mut self, status: &Status, now: Instant) {
        let reads = successful_reads(status);
        let durable = status.outputs.iter().map(|o| o.counts.durable).sum();
        if (reads, durable) != (self.reads, self.durable) {
            *self = Self {
                reads,
                durable,
                at: now,
            };
        }
    }
}

fn successful_reads(status: &Status) -> u64 {
    status
        .source
        .reads
        .saturating_sub(status.source.failed + status.source.throttled)
}

fn judge(status: &Status, moved: Moved, now: Instant) -> Result<(), String> {
    let mut states = status.outputs.iter().map(|output| &output.state);
    let is_running = states.clone().any(|state| *state == OutputState::Running);
    let is_paused = !is_running && states.all(|state| *state == OutputState::Paused);
    if !is_running && !is_paused {
        return Err("no output is running".to_owned());
    }
    if status.commits.failing >= FAILED_COMMITS {
        return Err("checkpoints cannot be saved".to_owned());
    }
    if is_paused {
        return Ok(());
    }

    if successful_reads(status) == 0 && status.source.shards_open > 0 {
        return Err("no read has succeeded yet".to_owned());
    }
    let idle = now.since(moved.at);
    if idle >= STALLED {
        return Err(format!(
            "stalled: no read and no delivery for {} s",
            idle.as_secs()
        ));
    }
    Ok(())
}
