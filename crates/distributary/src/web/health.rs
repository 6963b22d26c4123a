//! Whether the fan-out is working: `/readyz`.

use std::sync::Mutex;
use std::time::Duration;

use distributary_core::clock::{Clock, Instant};
use distributary_core::engine::{OutputState, Status};
use distributary_core::sync::lock;

use crate::view::Snapshots;

/// Neither a read nor a delivery for so long, and it is stalled. Idle shards are read each second.
const STALLED: Duration = Duration::from_secs(60);
/// Failed transactions in a row after which the progress is said not to be kept.
const COMMITS: u32 = 5;
/// How often it is looked whether something moved.
const LOOK: Duration = Duration::from_secs(1);

/// Watches the snapshots for progress.
pub(super) struct Health {
    clock: Clock,
    snapshots: Snapshots,
    moved: Mutex<Moved>,
}

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
            self.clock.sleep(LOOK).await;
        }
    }

    fn look(&self) {
        let Some(status) = self.snapshots.borrow().clone() else {
            return;
        };
        lock(&self.moved).update(&status, self.clock.now());
    }

    /// Ready, or why not.
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
    let running = status
        .outputs
        .iter()
        .filter(|o| o.state == OutputState::Running)
        .count();
    if running == 0
        && status
            .outputs
            .iter()
            .any(|o| o.state != OutputState::Paused)
    {
        return Err("no output is running".to_owned());
    }
    if status.commits.failing >= COMMITS {
        return Err("the progress cannot be written down".to_owned());
    }
    if running == 0 {
        // Everything is paused, as somebody wished.
        return Ok(());
    }
    if successful_reads(status) == 0 && status.source.shards_open > 0 {
        return Err("nothing has been read yet".to_owned());
    }
    let still = now.since(moved.at);
    if still >= STALLED {
        return Err(format!(
            "stalled: nothing was read or delivered for {} s",
            still.as_secs()
        ));
    }
    Ok(())
}
