//! Streams that are deleted and created again while the engine runs or is down, and older copies of
//! the state.
//!
//! Checked at the end of a run, by the reaction in force (`on-recreated`):
//! - Restart: a recreated output has every record of the source, in order by key.
//! - Continue: a recreated output has every record that arrived after its creation.
//! - Stop: a recreated output says so and stops; resumed, it has every later record.
//!
//! Outputs that were not recreated have everything. A source that was created again ends the
//! engine, or refuses the start, within a known time. An older copy of the state loses nothing.

use std::sync::Arc;
use std::time::Duration;

use distributary_core::clock::{ClockSource, Millis};
use distributary_core::engine::{
    Engine, EngineError, FanOut, OnRecreated, Order, OutputSpec, Settings, Start,
};
use distributary_core::output::RequestLimits;
use distributary_core::store::{OutputId, StoreError};
use distributary_core::testing::{
    FakeService, FakeStore, FakeStream, OutputFaults, ReadFaults, Rng, ServiceSettings,
    StoreFaults, StreamSettings, TestClock,
};

use crate::run::ended;
use end::Problem;

mod actions;
mod end;

/// Outputs of a run.
const OUTPUTS: usize = 3;
/// Time between two questions for the identity of an output, and of the source.
const IDENTITY_REFRESH: Duration = Duration::from_secs(10);
/// Time within which a stream that was created again is noticed.
const NOTICED_WITHIN: Duration = Duration::from_secs(60);
/// Attempts in a row to start an engine.
const START_ATTEMPTS: u32 = 200;

/// Plays the run of `seed`; the violation if there was one.
///
/// # Panics
/// If no runtime can be made.
#[allow(clippy::expect_used, reason = "a machine without resources")]
pub fn play_recreation(seed: u64) -> Option<String> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime
        .expect("a runtime")
        .block_on(async { Run::new(seed).play().await.err() })
}

/// An output's service.
struct Target {
    id: OutputId,
    service: FakeService,
    /// The last creation, if not the first.
    recreated: Option<Millis>,
}

/// A run in progress.
struct Run {
    rng: Rng,
    clock: TestClock,
    reaction: OnRecreated,
    stream: FakeStream,
    store: FakeStore,
    /// Older copies of the state of the present source.
    copies: Vec<FakeStore>,
    targets: Vec<Target>,
    engine: Option<Engine>,
    /// The source is another one than the state is about.
    source_recreated: bool,
    put: Vec<Put>,
}

/// A record of the source.
struct Put {
    sequence: u128,
    arrival: Millis,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed).fork("recreation");
        let clock = TestClock::new(seed);
        let settings = StreamSettings {
            shards: 1 + rng.index(3),
            ..StreamSettings::default()
        };

        let stream = FakeStream::new(settings, &clock, rng.fork("stream"), Arc::new(()));
        stream.set_faults(ReadFaults {
            latency: (5, 50),
            ..ReadFaults::default()
        });
        let store = FakeStore::new(&clock, rng.fork("store"), Arc::new(()));
        let targets = (0..OUTPUTS).map(|n| Target::new(n, &clock, &rng));
        Self {
            targets: targets.collect(),
            reaction: *rng.pick(&[
                OnRecreated::Restart,
                OnRecreated::Restart,
                OnRecreated::Continue,
                OnRecreated::Stop,
            ]),
            rng: rng.fork("run"),
            clock,
            stream,
            store,
            copies: Vec::new(),
            engine: None,
            source_recreated: false,
            put: Vec::new(),
        }
    }

    async fn play(&mut self) -> Result<(), Problem> {
        self.start().await?;
        for _ in 0..self.rng.between(10, 50) {
            self.act().await?;
            self.check_engine()?;
            let pause = Duration::from_millis(self.rng.between(1, 8_000));
            self.clock.sleep(pause).await;
        }
        self.end().await
    }

    /// Starts an engine, again and again while the store fails. The user gives a source that was
    /// created again a state of its own.
    async fn start(&mut self) -> Result<(), Problem> {
        for _ in 0..START_ATTEMPTS {
            match Engine::start(self.fan_out()).await {
                Ok(engine) => {
                    self.engine = Some(engine);
                    return Ok(());
                }
                Err(error) if is_foreign(&error) => self.forget_state()?,
                Err(EngineError::Store { .. } | EngineError::Source { .. }) => {
                    self.clock.sleep(Duration::from_secs(1)).await;
                }
                Err(error) => return Err(format!("the engine doesn't start: {error}")),
            }
        }
        Err("the engine doesn't start after many attempts".to_owned())
    }

    /// The user forgets the state, as the error says.
    fn forget_state(&mut self) -> Result<(), Problem> {
        if !self.source_recreated {
            return Err("the state of the source is refused".to_owned());
        }
        self.source_recreated = false;
        self.copies.clear();

        let rng = self.rng.fork("another store");
        self.store = FakeStore::new(&self.clock, rng, Arc::new(()));
        Ok(())
    }

    fn fan_out(&self) -> FanOut {
        let outputs = self.targets.iter().map(Target::spec);
        FanOut {
            name: "recreation".to_owned(),
            source: Arc::new(self.stream.clone()),
            outputs: outputs.collect(),
            store: Arc::new(self.store.clone()),
            ownership: None,
            budget: None,
            clock: self.clock.clock(),
            settings: Settings {
                checkpoint_interval: Duration::from_millis(500),
                request_deadline: Duration::from_secs(5),
                backoff_cap: Duration::from_secs(1),
                slow_backoff_cap: Duration::from_secs(1),
                store_patience: Duration::from_secs(3_600),
                map_refresh: Duration::from_secs(2),
                retention_refresh: IDENTITY_REFRESH,
                identity_refresh: IDENTITY_REFRESH,
                on_recreated: self.reaction,
                ..Settings::default()
            },
        }
    }

    /// Checks that the engine runs. The engine may end if the source was created again.
    fn check_engine(&mut self) -> Result<(), Problem> {
        match self.engine.as_ref().and_then(ended) {
            None => Ok(()),
            Some(EngineError::SourceRecreated { .. }) if self.source_recreated => {
                self.engine = None;
                Ok(())
            }
            Some(error) => Err(format!("the engine ended: {error}")),
        }
    }

    fn calm(&self) {
        self.store.set_faults(StoreFaults::default());
        for target in &self.targets {
            target.service.set_faults(OutputFaults::default());
        }
    }
}

/// True if the state is refused as that of another stream.
fn is_foreign(error: &EngineError) -> bool {
    match error {
        EngineError::Store { source, .. } => matches!(**source, StoreError::Foreign { .. }),
        _ => false,
    }
}

impl Target {
    fn new(n: usize, clock: &TestClock, rng: &Rng) -> Self {
        let name = format!("service-{n}");
        let settings = ServiceSettings {
            name: name.clone(),
            shards: 2,
            rate: None,
        };

        let service = FakeService::new(settings, clock, rng.fork(&name), Arc::new(()));
        service.recreate(clock.server());
        Self {
            id: OutputId::new(&format!("output-{n}")),
            service,
            recreated: None,
        }
    }

    fn spec(&self) -> OutputSpec {
        let limits = RequestLimits {
            entries: 20,
            bytes: 1 << 20,
        };
        OutputSpec {
            id: self.id.clone(),
            output: Arc::new(self.service.output("fake", limits)),
            order: Order::Resend,
            start: Start::TrimHorizon,
            place: None,
            paused: false,
            dead_letter: None,
            pump: None,
        }
    }
}
