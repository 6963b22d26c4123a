//! Tells whether the fan-outs work, for `/healthz` and `/readyz`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use distributary_core::clock::{Clock, Instant};
use distributary_core::engine::{OutputState, OutputStatus, Status};
use distributary_core::sync::lock;
use tokio::sync::watch;

use super::Web;
use crate::control::FileState;
use crate::view::{Phase, Snapshot, Snapshots};

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
    file: watch::Receiver<FileState>,
    moved: Mutex<BTreeMap<Arc<str>, Moved>>,
}

/// The counters of work, and the time of their last change.
#[derive(Clone, Copy, Default)]
struct Moved {
    reads: u64,
    durable: u64,
    at: Instant,
}

impl Health {
    pub(super) fn new(web: &Web) -> Self {
        Self {
            clock: web.clock.clone(),
            snapshots: web.snapshots.clone(),
            file: web.file.clone(),
            moved: Mutex::default(),
        }
    }

    pub(super) async fn watch(self: Arc<Self>) {
        loop {
            self.look();
            self.clock.sleep(INTERVAL).await;
        }
    }

    fn look(&self) {
        let now = self.clock.now();
        let snapshots = self.snapshots.borrow().clone();
        let mut moved = lock(&self.moved);
        moved.retain(|name, _| {
            let mut running = snapshots.iter();
            running.any(|snapshot| snapshot.name == *name)
        });
        for snapshot in &snapshots {
            let moved = moved.entry(Arc::clone(&snapshot.name)).or_insert(Moved {
                at: now,
                ..Moved::default()
            });
            if let Some(status) = snapshot.status() {
                moved.update(status, now);
            }
        }
    }

    /// A line for each fan-out: the name and the phase.
    pub(super) fn phases(&self) -> String {
        let mut text = "ok".to_owned();
        for snapshot in &*self.snapshots.borrow() {
            // Writing to a string does not fail.
            let _ = write!(text, "\n{}: {}", snapshot.name, snapshot.phase.name());
        }
        text
    }

    /// A report with a line for each fan-out; an error if one of them is not ready.
    pub(super) fn ready(&self) -> Result<String, String> {
        self.look();
        let now = self.clock.now();
        let snapshots = self.snapshots.borrow().clone();
        if snapshots.is_empty() {
            return Err("starting".to_owned());
        }

        let moved = lock(&self.moved);
        let mut all_ready = true;
        let mut lines = Vec::new();
        for snapshot in &snapshots {
            let name = &snapshot.name;
            let moved = moved.get(name).copied().unwrap_or_default();
            let judged = judge_phase(snapshot, moved, now);
            all_ready &= judged.is_ok();
            let line = judged.err().unwrap_or_else(|| "ready".to_owned());
            lines.push(format!("{name}: {line}"));
            lines.extend(troubles(snapshot));
        }

        // The file before is in force: the process is as ready as it was.
        if let FileState::Rejected(why) = &*self.file.borrow() {
            lines.push(format!("configuration file: rejected: {why}"));
        }
        let report = lines.join("\n");
        if all_ready { Ok(report) } else { Err(report) }
    }
}

/// A line for each output that does not work. The fan-out is ready all the same while another does.
fn troubles(snapshot: &Snapshot) -> Vec<String> {
    let Some(status) = snapshot.status() else {
        return Vec::new();
    };
    let name = &snapshot.name;
    let trouble = |output: &OutputStatus| {
        let id = &output.id;
        match &output.state {
            OutputState::Running | OutputState::Paused => None,
            OutputState::Failing { reason } => Some(format!("{name}: {id} is failing: {reason}")),
            OutputState::Stopped { reason, .. } => {
                Some(format!("{name}: {id} is stopped: {reason}"))
            }
        }
    };
    status.outputs.iter().filter_map(trouble).collect()
}

/// Fails with the reason if one fan-out is not ready.
fn judge_phase(snapshot: &Snapshot, moved: Moved, now: Instant) -> Result<(), String> {
    match &snapshot.phase {
        Phase::Starting => Err("starting".to_owned()),
        Phase::Running(status) => judge(status, moved, now),
        Phase::Ended { failure, .. } => Err(match failure {
            Some(reason) => format!("failed: {reason}"),
            None => "ended".to_owned(),
        }),
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
    let mut outputs = status.outputs.iter();
    let is_running = outputs.clone().any(runs);
    let is_paused = !is_running && outputs.all(|output| output.state == OutputState::Paused);
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
    judge_idle(now.since(moved.at))
}

/// True for an output that takes records, also if some of its shards are stopped.
fn runs(output: &OutputStatus) -> bool {
    let (stopped, lanes) = output.stopped_lanes();
    match output.state {
        OutputState::Running => true,
        OutputState::Stopped { .. } => stopped < lanes,
        OutputState::Paused | OutputState::Failing { .. } => false,
    }
}

fn judge_idle(idle: Duration) -> Result<(), String> {
    if idle < STALLED {
        return Ok(());
    }

    let seconds = idle.as_secs();
    Err(format!("stalled: no read and no delivery for {seconds} s"))
}
