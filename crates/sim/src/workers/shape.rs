//! Draws the scenario of a run with several workers.

use std::time::Duration;

use distributary_core::testing::{LeaseTableFaults, OutputFaults, Rng};

/// The scenario of one run.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    /// Shards of the source at the start.
    pub(super) shards: usize,
    /// Outputs of every worker.
    pub(super) outputs: usize,
    /// Workers at the start.
    pub(super) workers: usize,
    /// Time for which a silent worker keeps its leases.
    pub(super) failover: Duration,
    pub(super) checkpoint_interval: Duration,
    /// Partition keys.
    pub(super) keys: u64,
    /// Events by time since the start of the run, in order.
    pub(super) events: Vec<(Duration, Action)>,
}

/// An event. A worker is given by its place among the living.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// This number of records is written to the source.
    Put(u64),
    /// A worker is started.
    Start,
    /// A worker is killed.
    Kill(usize),
    /// All workers are killed, and as many are started.
    KillAll,
    /// A worker stops in order.
    Stop(usize),
    /// One worker after another stops in order, and another one starts.
    Roll,
    /// A worker is paused for this time.
    Pause(usize, Duration),
    /// A worker does not reach the lease table for this time.
    CutOff(usize, Duration),
    /// The lease table has these faults from now on.
    Table(LeaseTableFaults),
    /// The outputs have these faults from now on.
    Outputs(OutputFaults),
    /// The wall clock of a worker jumps by these milliseconds.
    Jump(usize, i64),
    /// A shard of the source is split.
    Split(usize),
    /// Two neighbouring shards of the source are merged.
    Merge(usize),
}

/// The extent of a run.
struct Extent {
    shards: u64,
    workers: u64,
    span_seconds: u64,
    events: u64,
}

impl Extent {
    /// Small for most seeds; 2 to 50 workers and 1 to 2,000 shards for a few.
    fn draw(rng: &mut Rng) -> Self {
        let (shards, workers) = match rng.below(200) {
            0 => (2_000, 50),
            1..8 => (200, 20),
            8..40 => (48, 10),
            _ => (12, 5),
        };
        Self {
            shards: rng.between(1, shards),
            workers: rng.between(2, workers),
            span_seconds: *rng.pick(&[40, 90, 180]),
            events: rng.between(4, 24),
        }
    }
}

impl Shape {
    pub(super) fn draw(rng: &mut Rng) -> Self {
        let extent = Extent::draw(rng);
        let failover = Duration::from_secs(*rng.pick(&[3, 10]));
        let shards = usize::try_from(extent.shards).unwrap_or(1);

        Self {
            shards,
            outputs: 1 + rng.index(2),
            workers: usize::try_from(extent.workers).unwrap_or(2),
            failover,
            checkpoint_interval: Duration::from_millis(*rng.pick(&[200, 1_000, 5_000])),
            keys: *rng.pick(&[1, 3, 4]) * extent.shards,
            events: draw_events(&extent, failover, rng),
        }
    }
}

fn draw_events(extent: &Extent, failover: Duration, rng: &mut Rng) -> Vec<(Duration, Action)> {
    let span = extent.span_seconds * 1_000;
    let mut events = Vec::new();
    for at in (0..span).step_by(500) {
        let put = Action::Put(rng.below(12));
        events.push((at, put));
    }

    for _ in 0..extent.events {
        let at = rng.below(span);
        let action = draw_action(failover, rng);
        if let Some(end) = end_of(&action) {
            events.push((at + rng.between(1_000, span / 2), end));
        }
        events.push((at, action));
    }

    events.sort_by_key(|(at, _)| *at);
    let timed = |(at, action)| (Duration::from_millis(at), action);
    events.into_iter().map(timed).collect()
}

/// The action that ends the faults of `action`.
fn end_of(action: &Action) -> Option<Action> {
    match action {
        Action::Table(_) => Some(Action::Table(LeaseTableFaults::default())),
        Action::Outputs(_) => Some(Action::Outputs(OutputFaults::default())),
        _ => None,
    }
}

fn draw_action(failover: Duration, rng: &mut Rng) -> Action {
    let worker = rng.index(64);
    match rng.below(100) {
        0..12 => Action::Start,
        12..24 => Action::Kill(worker),
        24..27 => Action::KillAll,
        27..37 => Action::Stop(worker),
        37..40 => Action::Roll,
        40..55 => Action::Pause(worker, draw_absence(failover, rng)),
        55..65 => Action::CutOff(worker, draw_absence(failover, rng)),
        65..77 => Action::Table(draw_table_faults(rng)),
        77..83 => Action::Outputs(draw_output_faults(rng)),
        83..91 => Action::Jump(worker, draw_jump(rng)),
        91..96 => Action::Split(worker),
        _ => Action::Merge(worker),
    }
}

/// Up to three times the failover time.
fn draw_absence(failover: Duration, rng: &mut Rng) -> Duration {
    let most = u64::try_from(failover.as_millis()).unwrap_or(1) * 3;
    Duration::from_millis(rng.between(100, most))
}

/// Up to an hour, forward or back.
fn draw_jump(rng: &mut Rng) -> i64 {
    let forward = i64::try_from(rng.below(7_200_000)).unwrap_or(0);
    forward - 3_600_000
}

fn draw_table_faults(rng: &mut Rng) -> LeaseTableFaults {
    LeaseTableFaults {
        latency: (1, *rng.pick(&[20, 80, 400])),
        fail: *rng.pick(&[0, 60, 300]),
        fail_after: *rng.pick(&[0, 60, 300]),
        late: *rng.pick(&[0, 60, 200]),
        lateness: (100, 20_000),
    }
}

fn draw_output_faults(rng: &mut Rng) -> OutputFaults {
    OutputFaults {
        latency: (0, *rng.pick(&[5, 200, 1_500])),
        rejected: *rng.pick(&[0, 100]),
        partial: *rng.pick(&[0, 300]),
        answer_lost: *rng.pick(&[0, 100]),
        cut: *rng.pick(&[0, 100]),
        late: *rng.pick(&[0, 60]),
        hangs: *rng.pick(&[0, 30]),
        ..OutputFaults::default()
    }
}
