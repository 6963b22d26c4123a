//! Plays one scenario: the engine in its environment, event after event.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::clock::ClockSource;
use distributary_core::engine::deliver::DeadLetter;
use distributary_core::engine::{Engine, EngineError, FanOut, OutputSpec};
use distributary_core::ownership::Ownership;
use distributary_core::pump::{Pump, PumpRef};
use distributary_core::store::OutputId;
use distributary_core::testing::{FakeOwnership, FakeStore, Rng, RowPump, TestClock};

use crate::counter::Counter;
use crate::environment::{Environment, dead_letters_of};
use crate::fakes::Fakes;
use crate::scenario::{OutputShape, Scenario};
use crate::trace::Trace;
use crate::truth::{Violation, line};
use crate::whole::WholePath;
pub(crate) use checks::ended;
pub(crate) use observer::RunObserver;

mod actions;
mod checks;
mod end;
mod observer;

/// Time between two checks of the engine's status.
const STEP: Duration = Duration::from_millis(500);
/// How long everything may take when all faults have ended.
const HEALED_LIMIT: Duration = Duration::from_secs(3600);
/// How long a change of a running engine may take before the process is killed.
const APPLY_LIMIT: Duration = Duration::from_secs(60);
/// How long a commit takes, at most, that started while the store was slow.
const SLOWEST_COMMIT: Duration = Duration::from_secs(10);
/// Attempts in a row to start an engine.
const START_ATTEMPTS: u32 = 500;

/// The result of a run.
#[derive(Debug)]
pub struct Report {
    /// The first violation of the contract.
    pub violation: Option<Violation>,
    /// A hash of all events.
    pub hash: u64,
    /// How often each kind of fault was played, crashes and changes included.
    pub faults: BTreeMap<&'static str, u64>,
    /// Records that were written to the source.
    pub records: usize,
    /// Simulated time.
    pub time: Duration,
    /// The last events as text, if asked for.
    pub lines: Vec<String>,
}

/// Plays `scenario`. The same scenario always gives the same report. `text`: with lines to read.
///
/// # Panics
/// If no runtime can be made.
#[allow(
    clippy::expect_used,
    reason = "nothing can run on a machine without resources for a runtime"
)]
pub fn play(scenario: &Scenario, text: bool) -> Report {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");

    runtime.block_on(async {
        let mut run = Run::new(scenario, text);
        run.drive().await;
        run.report()
    })
}

/// One output of the run.
struct SimulatedOutput {
    /// The name of the service, new for every output.
    name: String,
    /// The engine's id, which can be of a removed output.
    id: OutputId,
    shape: OutputShape,
    paused: bool,
    removed: bool,
    /// Numbers of records that the service refuses for good.
    refused: Vec<u128>,
}

/// A run in progress.
struct Run<'a> {
    scenario: &'a Scenario,
    clock: TestClock,
    observer: Arc<RunObserver>,
    environment: Box<dyn Environment>,
    store: FakeStore,
    outputs: Vec<SimulatedOutput>,
    /// Ids of outputs that the engine removed.
    free_ids: Vec<OutputId>,
    pump: Option<Arc<dyn Pump>>,
    engine: Option<Engine>,
    /// The leases of the running engine, where shards are gained and lost.
    leases: Option<Arc<FakeOwnership>>,
    /// No lease is lost any more.
    leases_are_calm: bool,
    /// When the next engine starts; `None` while an engine runs.
    start_at: Option<Duration>,
    /// Since when the store and the engine have worked.
    calm_since: Duration,
    store_is_calm: bool,
    /// Retention has deleted records.
    expired: bool,
    /// Since when reads have worked, with the present shards and outputs.
    reads_calm_since: Duration,
    reads_are_calm: bool,
}

fn new_environment(
    scenario: &Scenario,
    pump: Option<&Arc<RowPump>>,
    text: bool,
    clock: &TestClock,
) -> (Arc<RunObserver>, Box<dyn Environment>) {
    // The whole path numbers its records from 0.
    let first = match scenario.whole {
        None => scenario.shape.stream.first,
        Some(_) => 0,
    };
    let observer = Arc::new(RunObserver::new(first, Trace::new(text), clock));
    if let Some(pump) = pump {
        observer.truth_untraced().add_pump(Arc::clone(pump));
    }

    let environment: Box<dyn Environment> = match &scenario.whole {
        None => Box::new(Fakes::new(scenario, clock, &observer)),
        Some(whole) => Box::new(WholePath::new(scenario, whole, clock, &observer)),
    };
    (observer, environment)
}

impl<'a> Run<'a> {
    fn new(scenario: &'a Scenario, text: bool) -> Self {
        let clock = TestClock::new(scenario.seed);
        let pump = scenario.pump().map(Arc::new);
        let (observer, environment) = new_environment(scenario, pump.as_ref(), text, &clock);

        let rng = Rng::new(scenario.seed).fork("store");
        let store = FakeStore::new(&clock, rng, observer.clone());
        store.set_faults(scenario.shape.store);
        observer.watch_memory(environment.live_bytes(), scenario.most_memory());

        let mut run = Self {
            scenario,
            clock,
            observer,
            environment,
            store,
            outputs: Vec::new(),
            free_ids: Vec::new(),
            pump: pump.map(|pump| pump as _),
            engine: None,
            leases: None,
            leases_are_calm: false,
            start_at: Some(Duration::ZERO),
            calm_since: Duration::ZERO,
            store_is_calm: true,
            expired: false,
            reads_calm_since: Duration::ZERO,
            reads_are_calm: true,
        };
        for shape in &scenario.shape.outputs {
            run.new_output(shape, None);
        }
        run
    }

    fn now(&self) -> Duration {
        self.clock.now().0
    }

    fn is_violated(&self) -> bool {
        self.observer.truth_untraced().violation.is_some()
    }

    /// Adds an output and its service to the run, not to the engine; returns the number.
    fn new_output(&mut self, shape: &OutputShape, id: Option<OutputId>) -> usize {
        let number = self.outputs.len();
        let name = format!("service-{number}");
        let id = id.unwrap_or_else(|| OutputId::new(&format!("output-{number}")));

        self.environment.add_service(&name, shape);
        match shape.stream {
            None => self.observer.truth().add_output(&name, &id, shape.order),
            Some(stream) => {
                let mut truth = self.observer.truth();
                truth.add_output_of_rows(&name, &id, shape.order, stream);
            }
        }
        if shape.has_dead_letter {
            let dead_letters = dead_letters_of(&name);
            self.observer.truth().add_dead_letters(&dead_letters, &name);
        }
        self.outputs.push(SimulatedOutput {
            name,
            id,
            shape: shape.clone(),
            paused: false,
            removed: false,
            refused: Vec::new(),
        });
        number
    }

    fn spec(&self, output: &SimulatedOutput) -> OutputSpec {
        OutputSpec {
            id: output.id.clone(),
            output: self.environment.output(&output.name, &output.shape),
            place: None,
            order: output.shape.order,
            start: output.shape.start.resolve(self.clock.server()),
            paused: output.paused,
            dead_letter: self.dead_letter(output),
            pump: self.pump_of(output),
        }
    }

    /// The stream of the run's pump that the output takes.
    fn pump_of(&self, output: &SimulatedOutput) -> Option<PumpRef> {
        let pump = Arc::clone(self.pump.as_ref()?);
        let stream = output.shape.stream?;
        Some(PumpRef { pump, stream })
    }

    /// The destination of the output's refused records.
    fn dead_letter(&self, output: &SimulatedOutput) -> Option<DeadLetter> {
        let destination = self.environment.dead_letter(&output.name)?;
        Some(DeadLetter {
            refused_by: output.id.as_str().to_owned(),
            output: destination,
        })
    }

    /// Plays the events, and ends the run.
    async fn drive(&mut self) {
        for (at, action) in &self.scenario.events {
            self.run_until(*at).await;
            if self.is_violated() {
                return;
            }
            self.act(action).await;
            self.check_engine();
        }

        if !self.is_violated() {
            self.end().await;
        }
    }

    /// Lets time pass until `at`, with starts, crashes and checks of the engine.
    async fn run_until(&mut self, at: Duration) {
        loop {
            self.start_if_due(at).await;
            let now = self.now();
            if now >= at || self.is_violated() {
                return;
            }

            let next_start = self.start_at.unwrap_or(at);
            let next = at.min(now + STEP).min(next_start);
            let crashed = tokio::select! {
                biased;
                () = self.observer.crashed() => true,
                () = self.clock.sleep(next.saturating_sub(now)) => false,
            };
            if crashed {
                self.kill(Duration::ZERO);
            } else {
                self.check_engine();
            }
        }
    }

    /// Starts an engine if the time for the start has come; not for events at time zero.
    async fn start_if_due(&mut self, at: Duration) {
        let is_due = self.start_at.is_some_and(|start| start <= self.now());
        if is_due && (at > Duration::ZERO || self.now() > at) {
            self.start_at = None;
            self.start().await;
        }
    }

    /// Awaits `work` unless the process is killed meanwhile, or the work takes too long.
    async fn unless_crashed<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let clock = self.clock.clock();
        tokio::select! {
            biased;
            () = self.observer.crashed() => None,
            done = clock.timeout(APPLY_LIMIT, work) => done,
        }
    }

    /// Starts an engine, again and again while store or source are away or the process is killed.
    async fn start(&mut self) {
        for _ in 0..START_ATTEMPTS {
            // The tasks of the process before end within this time.
            self.clock.sleep(Duration::from_millis(1)).await;
            match self.start_engine().await {
                Some(Ok(engine)) => return self.set_engine(engine),
                Some(Err(EngineError::Store { .. } | EngineError::Source { .. })) => {
                    self.observer.truth().engine_ended();
                    self.clock.sleep(Duration::from_secs(1)).await;
                }
                Some(Err(error)) => {
                    let description = format!("the engine doesn't start: {error}");
                    self.observer.truth().violate(line::ENGINE, description);
                    return;
                }
                None => self.observer.truth().engine_ended(),
            }
        }

        let description = "the engine doesn't start after many attempts";
        self.observer.truth().violate(line::ENGINE, description);
    }

    /// Starts an engine; `None` if the process is killed meanwhile.
    async fn start_engine(&mut self) -> Option<Result<Engine, EngineError>> {
        let fan_out = self.fan_out();
        tokio::select! {
            biased;
            () = self.observer.crashed() => None,
            started = Engine::start(fan_out) => Some(started),
        }
    }

    fn set_engine(&mut self, engine: Engine) {
        let now = self.now();
        self.engine = Some(engine);
        self.calm_since = self.calm_since.max(now);
        self.reads_calm_since = self.reads_calm_since.max(now);
    }

    /// The fan-out of a process that starts now.
    fn fan_out(&mut self) -> FanOut {
        self.leases = self.new_leases();
        let leases = self.leases.clone();
        let present = self.outputs.iter().filter(|o| !o.removed);
        let counter = self.environment.counter().map(Counter::spec);
        let outputs = present.map(|o| self.spec(o)).chain(counter).collect();
        self.observer.truth().engine_starts(leases.is_some());

        FanOut {
            name: "sim".to_owned(),
            source: self.environment.source(),
            outputs,
            store: Arc::new(self.store.clone()),
            ownership: leases.map(|leases| leases as Arc<dyn Ownership>),
            budget: None,
            clock: self.clock.clock(),
            settings: self.scenario.shape.settings.clone(),
        }
    }

    /// The leases of an engine that starts now.
    fn new_leases(&self) -> Option<Arc<FakeOwnership>> {
        let faults = self.scenario.shape.leases?;
        let seed = self.scenario.seed ^ self.observer.truth().trace.steps();
        let leases = FakeOwnership::new(
            faults,
            self.store.clone(),
            &self.clock,
            Rng::new(seed).fork("leases"),
            self.observer.clone(),
        );
        if self.leases_are_calm {
            leases.calm();
        }
        Some(Arc::new(leases))
    }

    /// Kills the process; the next one starts after `down`. The last status must still be true.
    fn kill(&mut self, down: Duration) {
        self.check_engine();
        self.observer.cancel_crash();

        if let Some(engine) = self.engine.take() {
            drop(engine);
            let mut truth = self.observer.truth();
            truth.engine_ended();
            *truth.faults.entry("a crash").or_default() += 1;
        }
        self.start_at = Some(self.now() + down);
    }

    fn report(self) -> Report {
        drop(self.engine);
        self.observer.forget_memory();

        let truth = self.observer.truth_untraced();
        Report {
            violation: truth.violation.clone(),
            hash: truth.trace.hash(),
            faults: truth.faults.clone(),
            records: truth.record_count(),
            time: self.clock.now().0,
            lines: truth.trace.lines(),
        }
    }
}
