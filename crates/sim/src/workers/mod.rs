//! Several workers on one stream, with leases in one table: engines are started, stopped, killed,
//! paused and cut off, their clocks drift and jump, and the table delays calls and loses answers.
//!
//! Checked at every event: no request starts without a good lease, or after another worker has
//! taken the shard over and started; no checkpoint goes back or passes an unwritten record.
//! Checked at the end: every record is everywhere, in order; leases are balanced; and a dead
//! worker's leases have other owners within the failover time and five seconds.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use distributary_core::clock::{Clock, ClockSource};
use distributary_core::engine::{Engine, EngineError, FanOut, Order, OutputSpec, Settings, Start};
use distributary_core::leases::{LeaseSettings, Leases};
use distributary_core::output::RequestLimits;
use distributary_core::store::{CheckpointStore, OutputId};
use distributary_core::testing::{
    FakeLeaseTable, FakeService, FakeStream, LeaseTableFaults, OutputFaults, ReadFaults, Rng,
    ServiceSettings, StreamSettings, TestClock,
};

use crate::run::Report;
use crate::truth::line;
use gate::{Gate, GatedOutput, GatedSource, GatedTable, WorkerClock};
use judge::{Judge, observer, worker_name};
use shape::Shape;

mod actions;
mod end;
mod gate;
mod judge;
mod shape;

/// Workers that are alive together, at most.
const MOST_WORKERS: usize = 50;
/// Attempts in a row to start a worker.
const START_ATTEMPTS: u32 = 200;
/// Millionths by which a clock is too fast or too slow, at most.
const MOST_DRIFT: u64 = 2_000;

/// Plays the run of `seed`. The same seed always gives the same report. `text`: with lines to read.
///
/// # Panics
/// If no runtime can be made.
#[allow(clippy::expect_used, reason = "a machine without resources")]
pub fn play_workers(seed: u64, text: bool) -> Report {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(async {
        let mut run = Run::new(seed, text);
        run.drive().await;
        run.report()
    })
}

/// A process.
struct Worker {
    number: usize,
    engine: Engine,
    gate: Arc<Gate>,
    table: FakeLeaseTable,
    /// Milliseconds by which the wall clock is ahead.
    ahead: Arc<AtomicI64>,
    /// When the worker goes on, if paused.
    resumes_at: Option<Duration>,
    /// When the worker reaches the table again, if cut off.
    connects_at: Option<Duration>,
}

/// A run in progress.
struct Run {
    shape: Shape,
    rng: Rng,
    clock: TestClock,
    judge: Arc<Judge>,
    stream: FakeStream,
    table: FakeLeaseTable,
    services: Vec<(String, FakeService)>,
    workers: Vec<Worker>,
    /// The number of the next worker: every start is a new worker.
    next_worker: usize,
}

/// The common parts of one worker.
struct Machine {
    number: usize,
    gate: Arc<Gate>,
    clock: Clock,
}

impl Run {
    fn new(seed: u64, text: bool) -> Self {
        let rng = Rng::new(seed).fork("workers");
        let shape = Shape::draw(&mut rng.fork("shape"));
        let clock = TestClock::new(seed);

        // The last renewal's answer comes after its start, and clocks drift.
        let term = shape.failover - shape.failover / 5;
        let slack = term / 100;
        let judge = Arc::new(Judge::new(&clock, term + slack, text));
        judge.facts().note(&format!("{shape:?}"));

        let stream = new_stream(&shape, &clock, rng.fork("stream"), &judge);
        let table = FakeLeaseTable::new(&clock, rng.fork("table"), observer(&judge));
        let mut run = Self {
            rng: rng.fork("run"),
            shape,
            clock,
            judge,
            stream,
            table,
            services: Vec::new(),
            workers: Vec::new(),
            next_worker: 0,
        };
        let services = rng.fork("service");
        (0..run.shape.outputs).for_each(|n| run.add_service(n, &services));
        run
    }

    fn add_service(&mut self, n: usize, rng: &Rng) {
        let name = format!("service-{n}");
        let settings = ServiceSettings {
            name: name.clone(),
            shards: 4,
            rate: None,
        };
        let rng = rng.fork(&name);
        let service = FakeService::new(settings, &self.clock, rng, observer(&self.judge));

        self.judge.facts().add_output(&output_id(n), &name);
        self.services.push((name, service));
    }

    fn now(&self) -> Duration {
        self.clock.now().0
    }

    fn is_violated(&self) -> bool {
        self.judge.facts().violation.is_some()
    }

    /// Plays the events, and ends the run.
    async fn drive(&mut self) {
        for _ in 0..self.shape.workers {
            self.start().await;
        }

        let started = self.now();
        for (at, action) in std::mem::take(&mut self.shape.events) {
            self.run_until(started + at).await;
            if self.is_violated() {
                return;
            }
            self.act(&action).await;
            self.check_engines();
        }

        if !self.is_violated() {
            self.end().await;
        }
    }

    /// Lets time pass until `at`; pauses and cuts end in between.
    async fn run_until(&mut self, at: Duration) {
        loop {
            self.end_absences();
            let now = self.now();
            if now >= at {
                return;
            }

            let ends = self.workers.iter();
            let ends = ends.flat_map(|worker| [worker.resumes_at, worker.connects_at]);
            let next = ends.flatten().min().map_or(at, |end| end.min(at));
            self.clock.sleep(next.saturating_sub(now)).await;
        }
    }

    fn end_absences(&mut self) {
        let now = self.now();
        for worker in &mut self.workers {
            if worker.resumes_at.is_some_and(|end| end <= now) {
                worker.resumes_at = None;
                worker.gate.set_paused(false);
            }
            if worker.connects_at.is_some_and(|end| end <= now) {
                worker.connects_at = None;
                worker.table.cut_off(false);
            }
        }
    }

    /// Starts a worker, again and again while the table is away.
    async fn start(&mut self) {
        if self.workers.len() >= MOST_WORKERS {
            return;
        }

        for _ in 0..START_ATTEMPTS {
            match self.start_once().await {
                Ok(worker) => return self.workers.push(worker),
                Err(EngineError::Store { .. } | EngineError::Source { .. }) => {
                    self.run_until(self.now() + Duration::from_secs(1)).await;
                }
                Err(error) => {
                    let description = format!("a worker doesn't start: {error}");
                    return self.judge.facts().violate(line::ENGINE, description);
                }
            }
        }
        let description = "a worker doesn't start after many attempts".to_owned();
        self.judge.facts().violate(line::ENGINE, description);
    }

    async fn start_once(&mut self) -> Result<Worker, EngineError> {
        let number = self.next_worker;
        self.next_worker += 1;
        self.judge.facts().note(&format!("worker {number} starts"));

        let drift = i32::try_from(self.rng.below(2 * MOST_DRIFT)).unwrap_or(0);
        let ahead = Arc::new(AtomicI64::new(0));
        let gate = Gate::new();
        let clock = Clock::new(WorkerClock {
            base: self.clock.clone(),
            gate: Arc::clone(&gate),
            drift: drift - i32::try_from(MOST_DRIFT).unwrap_or(0),
            ahead: Arc::clone(&ahead),
        });

        let table = self.table.handle();
        let machine = Machine {
            number,
            gate: Arc::clone(&gate),
            clock,
        };
        let engine = Engine::start(self.fan_out(&machine, &table)).await?;
        Ok(Worker {
            number,
            engine,
            gate,
            table,
            ahead,
            resumes_at: None,
            connects_at: None,
        })
    }

    fn fan_out(&self, machine: &Machine, table: &FakeLeaseTable) -> FanOut {
        let outputs = self.outputs(machine);
        let ids: Vec<OutputId> = outputs.iter().map(|output| output.id.clone()).collect();
        let leases = Arc::new(self.leases(machine, table, &ids));

        FanOut {
            name: "workers".to_owned(),
            source: Arc::new(GatedSource {
                inner: self.stream.clone(),
                gate: Arc::clone(&machine.gate),
            }),
            outputs,
            store: Arc::clone(&leases) as Arc<dyn CheckpointStore>,
            ownership: Some(leases),
            budget: None,
            clock: machine.clock.clone(),
            settings: self.settings(),
        }
    }

    #[allow(
        clippy::expect_used,
        reason = "the names of the outputs have different fingerprints"
    )]
    fn leases(&self, machine: &Machine, table: &FakeLeaseTable, outputs: &[OutputId]) -> Leases {
        let table = GatedTable {
            inner: table.clone(),
            gate: Arc::clone(&machine.gate),
        };
        let settings = LeaseSettings {
            failover: self.shape.failover,
            call_deadline: self.shape.failover / 2,
            ..LeaseSettings::default()
        };
        let leases = Leases::new(
            Arc::new(table),
            worker_name(machine.number),
            outputs,
            settings,
            machine.clock.clone(),
        );
        leases.expect("different fingerprints")
    }

    fn settings(&self) -> Settings {
        Settings {
            checkpoint_interval: self.shape.checkpoint_interval,
            request_deadline: Duration::from_secs(5),
            backoff_cap: Duration::from_secs(1),
            slow_backoff_cap: Duration::from_secs(1),
            store_patience: Duration::from_secs(3_600),
            source_patience: Duration::from_secs(3_600),
            map_refresh: Duration::from_secs(5),
            ..Settings::default()
        }
    }

    fn outputs(&self, machine: &Machine) -> Vec<OutputSpec> {
        let limits = RequestLimits {
            entries: 100,
            bytes: 1 << 20,
        };
        let output = |(n, (_, service)): (usize, &(String, FakeService))| OutputSpec {
            id: output_id(n),
            output: Arc::new(GatedOutput {
                inner: service.output("fake", limits),
                gate: Arc::clone(&machine.gate),
                worker: machine.number,
                judge: Arc::clone(&self.judge),
            }),
            order: Order::Resend,
            start: Start::TrimHorizon,
            place: None,
            paused: false,
            dead_letter: None,
            pump: None,
        };
        self.services.iter().enumerate().map(output).collect()
    }

    /// Ends the faults of the table and of the outputs.
    fn calm(&mut self) {
        self.table.set_faults(LeaseTableFaults::default());
        for (_, service) in &self.services {
            service.set_faults(OutputFaults::default());
        }
    }

    fn report(self) -> Report {
        drop(self.workers);
        let facts = self.judge.facts();
        Report {
            violation: facts.violation.clone(),
            hash: facts.trace.hash(),
            faults: facts.faults.clone(),
            records: facts.record_count(),
            time: self.clock.now().0,
            lines: facts.trace.lines(),
        }
    }
}

fn output_id(n: usize) -> OutputId {
    OutputId::new(&format!("output-{n}"))
}

fn new_stream(shape: &Shape, clock: &TestClock, rng: Rng, judge: &Arc<Judge>) -> FakeStream {
    let settings = StreamSettings {
        shards: shape.shards,
        ..StreamSettings::default()
    };
    let stream = FakeStream::new(settings, clock, rng, observer(judge));
    stream.set_faults(ReadFaults {
        latency: (5, 20),
        ..ReadFaults::default()
    });
    stream
}

impl Worker {
    /// Moves the wall clock.
    fn jump(&self, millis: i64) {
        self.ahead.fetch_add(millis, Ordering::Relaxed);
    }
}
