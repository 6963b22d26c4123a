//! The environment of fakes: a stream and services in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::checkpoint::Sequence;
use distributary_core::output::{Output, RequestLimits};
use distributary_core::source::Source;
use distributary_core::sync::lock;
use distributary_core::testing::{
    FakeService, FakeStream, Mood, OutputFaults, ReadFaults, Rng, TestClock, hash,
};

use crate::counter::Counter;
use crate::environment::{Environment, LiveBytes, dead_letters_of};
use crate::run::RunObserver;
use crate::scenario::{OutputShape, Scenario, Shape};
use crate::truth::Put;

/// Open shards of the source, at most.
const MOST_SHARDS: usize = 8;

/// The fake stream and the fake services of a run.
pub(crate) struct Fakes {
    seed: u64,
    shape: Shape,
    clock: TestClock,
    observer: Arc<RunObserver>,
    stream: FakeStream,
    services: Arc<Mutex<BTreeMap<String, FakeService>>>,
    counter: Option<Counter>,
}

impl Fakes {
    /// The source stream; no services yet.
    pub(crate) fn new(scenario: &Scenario, clock: &TestClock, observer: &Arc<RunObserver>) -> Self {
        let shape = scenario.shape.clone();

        let rng = Rng::new(scenario.seed).fork("stream");
        let stream = FakeStream::new(shape.stream.clone(), clock, rng, observer.clone());
        stream.set_faults(shape.calm);
        observer.truth().lineage(&stream.lineage());

        let counter = scenario.counter.clone();
        Self {
            counter: counter.map(|shape| Counter::new(shape, scenario.seed, clock, observer)),
            seed: scenario.seed,
            shape,
            clock: clock.clone(),
            observer: Arc::clone(observer),
            stream,
            services: Arc::default(),
        }
    }

    fn add_fake_service(&self, name: &str, shape: &OutputShape) {
        let rng = Rng::new(self.seed).fork(name);
        let service = FakeService::new(
            shape.service.settings(name),
            &self.clock,
            rng,
            self.observer.clone(),
        );
        service.set_faults(shape.faults);
        lock(&self.services).insert(name.to_owned(), service);
    }

    fn service(&self, name: &str) -> Option<FakeService> {
        lock(&self.services).get(name).cloned()
    }
}

impl Fakes {
    fn put_record(&self, key: Option<&str>, data: Vec<u8>) {
        let digest = hash(&data);
        let size = data.len() + key.map_or(0, str::len);
        let placed = self.stream.put(key, data);

        self.observer.truth().put(&Put {
            shard: &placed.shard,
            sequence: &Sequence::new(&placed.sequence.to_string()),
            arrival: placed.arrival,
            key,
            digest,
            size,
        });
    }
}

#[async_trait(?Send)]
impl Environment for Fakes {
    fn live_bytes(&self) -> LiveBytes {
        let (stream, services) = (self.stream.clone(), Arc::clone(&self.services));
        Arc::new(move || {
            let encoded: usize = lock(&services).values().map(FakeService::live_bytes).sum();
            stream.live_bytes() + encoded
        })
    }

    fn source(&self) -> Arc<dyn Source> {
        Arc::new(self.stream.clone())
    }

    async fn put(&mut self, count: u64, seed: u64) {
        let mut rng = Rng::new(seed);
        for _ in 0..count {
            let key = self.shape.keys.draw(&mut rng);
            if let Some(counter) = &mut self.counter {
                counter.put(key.as_deref());
            }
            let data = self.shape.sizes.draw(&mut rng);
            self.put_record(key.as_deref(), data);
        }
    }

    fn counter(&self) -> Option<&Counter> {
        self.counter.as_ref()
    }

    async fn split(&mut self, i: usize) {
        let open = self.stream.open_shards();
        if open.len() < MOST_SHARDS {
            self.stream.split(&open[i % open.len()]);
        }
        self.observer.truth().lineage(&self.stream.lineage());
    }

    async fn merge(&mut self, i: usize) {
        let open = self.stream.open_shards();
        if open.len() > 1 {
            let i = i % (open.len() - 1);
            self.stream.merge(&open[i], &open[i + 1]);
        }
        self.observer.truth().lineage(&self.stream.lineage());
    }

    fn set_reads(&mut self, faults: ReadFaults) {
        self.stream.set_faults(faults);
    }

    async fn expire(&mut self, age: Duration) -> bool {
        let expired = self.stream.expire(self.clock.server().minus(age));
        self.observer.truth().trimmed(&expired);
        !expired.is_empty()
    }

    fn add_service(&mut self, name: &str, shape: &OutputShape) {
        self.add_fake_service(name, shape);
        if shape.has_dead_letter {
            self.add_fake_service(&dead_letters_of(name), shape);
        }
    }

    #[allow(
        clippy::expect_used,
        reason = "a run names only services that were added"
    )]
    fn output(&self, service: &str, shape: &OutputShape) -> Arc<dyn Output> {
        let service = self.service(service).expect("an added service");
        let output = service.output(&format!("fake-{}", shape.encoding), shape.limits);
        let output = output.with_in_flight(shape.in_flight);
        Arc::new(output.with_gathers(shape.gathers))
    }

    fn dead_letter(&self, service: &str) -> Option<Arc<dyn Output>> {
        let service = self.service(&dead_letters_of(service))?;
        let limits = RequestLimits {
            entries: 10,
            bytes: 1 << 20,
        };
        Some(Arc::new(service.output("dead-letters", limits)))
    }

    fn set_faults(&mut self, service: &str, faults: OutputFaults) {
        for name in [service.to_owned(), dead_letters_of(service)] {
            if let Some(service) = self.service(&name) {
                service.set_faults(faults);
            }
        }
    }

    async fn set_mood(&mut self, service: &str, mood: Mood) {
        if let Some(service) = self.service(service) {
            service.set_mood(mood);
        }
    }

    async fn reshard(&mut self, service: &str, shards: usize) {
        if let Some(service) = self.service(service) {
            service.reshard(shards);
        }
    }

    fn refuse(&mut self, service: &str, number: u128, refused: bool) {
        if let Some(service) = self.service(service) {
            service.refuse(number, refused);
        }
    }

    async fn check_end(&mut self, _: &[String]) {}
}
