//! Carries out the actions of a run with several workers.

use std::time::Duration;

use distributary_core::engine::EngineError;

use super::shape::Action;
use super::{Run, Worker};
use crate::run::ended;
use crate::truth::line;

/// Time that a worker has to drain.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);
/// Time that a stop in order may take at all, the lease table being away.
const STOP_LIMIT: Duration = Duration::from_secs(3_600);

/// The name of an action in the counts of faults; `None` for an action that is no fault.
fn fault_name(action: &Action) -> Option<&'static str> {
    match action {
        Action::Put(_) => None,
        Action::Start => Some("a worker joined"),
        Action::Kill(_) | Action::KillAll => Some("workers were killed"),
        Action::Stop(_) | Action::Roll => Some("workers stopped in order"),
        Action::Pause(..) => Some("a worker was paused"),
        Action::CutOff(..) => Some("a worker was cut off"),
        Action::Table(_) | Action::Outputs(_) => Some("faults changed"),
        Action::Jump(..) => Some("a clock jump"),
        Action::Split(_) | Action::Merge(_) => Some("a reshard"),
    }
}

impl Run {
    pub(super) async fn act(&mut self, action: &Action) {
        self.judge.facts().note(&format!("{action:?}"));
        if let Some(name) = fault_name(action) {
            self.judge.facts().fault(name);
        }

        match action {
            Action::Start => self.start().await,
            Action::Stop(i) => self.stop(*i).await,
            Action::Roll => self.roll().await,
            Action::Kill(i) => self.kill(*i),
            Action::KillAll => self.kill_all().await,
            Action::Put(_) | Action::Split(_) | Action::Merge(_) => self.act_on_source(action),
            Action::Pause(..) | Action::CutOff(..) | Action::Jump(..) => {
                self.act_on_worker(action);
            }
            Action::Table(faults) => self.table.set_faults(*faults),
            Action::Outputs(faults) => {
                for (_, service) in &self.services {
                    service.set_faults(*faults);
                }
            }
        }
    }

    fn act_on_source(&mut self, action: &Action) {
        let open = self.stream.open_shards();
        match action {
            Action::Put(count) => self.put(*count),
            Action::Split(i) => drop(self.stream.split(&open[i % open.len()])),
            Action::Merge(i) if open.len() > 1 => {
                let i = i % (open.len() - 1);
                drop(self.stream.merge(&open[i], &open[i + 1]));
            }
            _ => {}
        }
    }

    pub(super) fn put(&mut self, count: u64) {
        for _ in 0..count {
            let key = format!("key-{}", self.rng.below(self.shape.keys));
            let data = self.rng.bits().to_be_bytes().to_vec();
            let placed = self.stream.put(Some(&key), data);

            let mut facts = self.judge.facts();
            facts.put(&placed.shard, placed.sequence);
        }
    }

    /// The place of a worker that is alive and not paused.
    fn running(&self, i: usize) -> Option<usize> {
        let workers = self.workers.iter().enumerate();
        let running = workers.filter(|(_, worker)| !worker.gate.is_paused());
        let places: Vec<usize> = running.map(|(place, _)| place).collect();
        let at = i.checked_rem(places.len())?;
        places.get(at).copied()
    }

    fn act_on_worker(&mut self, action: &Action) {
        let now = self.now();
        let (Action::Pause(i, _) | Action::CutOff(i, _) | Action::Jump(i, _)) = action else {
            return;
        };
        let Some(worker) = self.running(*i).map(|i| &mut self.workers[i]) else {
            return;
        };

        match action {
            Action::Pause(_, time) => {
                worker.gate.set_paused(true);
                worker.resumes_at = Some(now + *time);
            }
            Action::CutOff(_, time) => {
                worker.table.cut_off(true);
                worker.connects_at = Some(now + *time);
            }
            Action::Jump(_, millis) => worker.jump(*millis),
            _ => {}
        }
    }

    /// Kills a worker, paused or not.
    pub(super) fn kill(&mut self, i: usize) {
        if let Some(i) = i.checked_rem(self.workers.len()) {
            let worker = self.workers.remove(i);
            let number = worker.number;
            self.judge.facts().note(&format!("worker {number} is dead"));
        }
    }

    async fn kill_all(&mut self) {
        let count = self.workers.len();
        (0..count).for_each(|_| self.kill(0));
        for _ in 0..count {
            self.start().await;
        }
    }

    /// Stops a worker in order.
    pub(super) async fn stop(&mut self, i: usize) {
        let Some(i) = self.running(i) else { return };
        let mut worker = self.workers.remove(i);
        worker.connect();

        let number = worker.number;
        let stop = worker.engine.shutdown(DRAIN_LIMIT);
        let stopped = self.clock.clock().timeout(STOP_LIMIT, stop).await;
        let mut facts = self.judge.facts();
        facts.note(&format!("worker {number} has stopped"));
        let description = match stopped {
            Some(Ok(_) | Err(EngineError::Store { .. })) => return,
            Some(Err(error)) => format!("worker {number} doesn't stop: {error}"),
            None => format!("worker {number} doesn't stop"),
        };
        facts.violate(line::ENGINE, description);
    }

    async fn roll(&mut self) {
        for _ in 0..self.workers.len() {
            if self.is_violated() {
                return;
            }
            self.stop(0).await;
            self.start().await;
        }
    }

    /// Checks the engines: each runs, and its counts are balanced.
    pub(super) fn check_engines(&self) {
        for Worker { number, engine, .. } in &self.workers {
            if let Some(error) = ended(engine) {
                let description = format!("worker {number} ended: {error}");
                self.judge.facts().violate(line::ENGINE, description);
            }

            let status = engine.status();
            let mut outputs = status.outputs.iter();
            if let Some(output) = outputs.find(|output| !output.counts.balanced()) {
                let description = format!("worker {number}: {:?}", output.counts);
                self.judge.facts().violate(line::SILENT, description);
            }
        }
    }
}

impl Worker {
    /// Ends a cut between the worker and the table.
    pub(super) fn connect(&mut self) {
        self.connects_at = None;
        self.table.cut_off(false);
    }
}
