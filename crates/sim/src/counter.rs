//! A stateful pump in a run: a counter of each key, which has to survive every kill. All rows go to
//! a service of their own, and are checked at the end of the run.

use std::collections::BTreeMap;
use std::sync::Arc;

use distributary_core::engine::{Order, OutputSpec, Start};
use distributary_core::output::RequestLimits;
use distributary_core::store::OutputId;
use distributary_core::testing::{
    CounterPump, Event, FakeService, Observer, OutputFaults, Rng, ServiceSettings, TestClock,
    counted_rows,
};

use crate::run::RunObserver;
use crate::scenario::CounterShape;

/// The name of the pump in the state.
pub(crate) const ID: &str = "counter";

/// The counter, its service, and the records that it has to count.
pub(crate) struct Counter {
    shape: CounterShape,
    seed: u64,
    clock: TestClock,
    service: FakeService,
    puts: BTreeMap<String, u64>,
}

/// Events at the counter's service count towards a planned crash. Only faults are facts of the run.
struct RowsObserver(Arc<RunObserver>);

impl Observer for RowsObserver {
    fn on(&self, event: &Event<'_>) {
        match event {
            Event::Fault(_) => self.0.on(event),
            _ => self.0.count_event(),
        }
    }
}

impl Counter {
    /// The counter of a run, with a service that has no rows.
    pub(crate) fn new(
        shape: CounterShape,
        seed: u64,
        clock: &TestClock,
        observer: &Arc<RunObserver>,
    ) -> Self {
        let settings = ServiceSettings {
            name: "rows".to_owned(),
            shards: 1,
            rate: None,
        };
        let rng = Rng::new(seed).fork("rows");
        let observer = Arc::new(RowsObserver(Arc::clone(observer)));
        let service = FakeService::new(settings, clock, rng, observer);
        service.set_faults(shape.faults);
        Self {
            shape,
            seed,
            clock: clock.clone(),
            service,
            puts: BTreeMap::new(),
        }
    }

    /// The pump, as a process makes one at its start.
    pub(crate) fn spec(&self) -> OutputSpec {
        let limits = RequestLimits {
            entries: 20,
            bytes: 1 << 20,
        };
        let rows_to = Arc::new(self.service.output("rows", limits));
        let rng = Rng::new(self.seed).fork("counter");
        let clock = self.clock.clock();
        OutputSpec {
            id: OutputId::new(ID),
            output: Arc::new(CounterPump::new(
                rows_to,
                clock,
                rng,
                self.shape.lost_answers,
            )),
            place: None,
            order: Order::Unordered,
            start: Start::TrimHorizon,
            paused: false,
            dead_letter: None,
            pump: None,
        }
    }

    /// A record with this key was written to the source.
    pub(crate) fn put(&mut self, key: Option<&str>) {
        if let Some(key) = key {
            *self.puts.entry(key.to_owned()).or_default() += 1;
        }
    }

    /// Ends the faults of the counter's service.
    pub(crate) fn heal(&self) {
        self.service.set_faults(OutputFaults {
            latency: self.shape.faults.latency,
            ..OutputFaults::default()
        });
    }

    /// A key whose last row is missing; the problem if a row is wrong.
    pub(crate) fn missing(&self) -> Result<Option<String>, String> {
        let rows = counted_rows(&self.service.log())?;
        for (key, count) in &rows {
            let records = self.puts.get(key).copied().unwrap_or_default();
            if *count > records {
                return Err(format!("row {count} of {key}, which has {records} records"));
            }
        }
        let mut puts = self.puts.iter();
        let missing = puts.find(|(key, count)| rows.get(*key) != Some(count));
        Ok(missing.map(|(key, _)| key.clone()))
    }
}
