//! Carries out the actions of a scenario.

use std::fmt::Write as _;
use std::time::Duration;

use distributary_core::engine::{Applied, Change, EngineError, Status};
use distributary_core::testing::{Mood, OutputFaults, ReadFaults, Rng, StoreFaults};

use super::checks::Moment;
use super::{HEALED_LIMIT, Run, SLOWEST_COMMIT};
use crate::scenario::{Action, MOST_OUTPUTS, OutputShape};
use crate::truth::line;

/// The name of an action in the counts of faults; `None` for an action that is no fault.
fn fault_name(action: &Action) -> Option<&'static str> {
    match action {
        Action::Put { .. } => None,
        Action::Split(_) | Action::Merge(_) => Some("a reshard"),
        Action::Jump(_) => Some("a clock jump"),
        Action::Pause(_)
        | Action::Resume(_)
        | Action::Update(..)
        | Action::Add(..)
        | Action::Remove(_) => Some("a live change"),
        Action::Restart(_) => Some("a restart"),
        Action::Expire(_) => Some("records deleted by retention"),
        _ => Some("faults changed, or a crash planned"),
    }
}

impl Run<'_> {
    pub(super) async fn act(&mut self, action: &Action) {
        self.trace_action(action);

        match action {
            Action::Jump(millis) => self.clock.jump(*millis),
            Action::Crash(down) => self.kill(Duration::from_millis(*down)),
            Action::CrashAfter(events) if self.engine.is_some() => {
                self.observer.crash_after(*events);
            }
            Action::CrashAfter(_) => {}
            Action::Restart(limit) => self.restart(Duration::from_millis(*limit)).await,
            Action::Store(faults) => self.set_store_faults(*faults),
            Action::Put { .. }
            | Action::Split(_)
            | Action::Merge(_)
            | Action::Reads(_)
            | Action::Expire(_) => self.act_on_source(action).await,
            Action::Add(shape, reuse_id) => self.add_output(shape, *reuse_id).await,
            Action::Faults(i, _)
            | Action::Mood(i, _)
            | Action::Reshard(i, _)
            | Action::Refuse(i) => self.act_on_service(*i, action).await,
            Action::Pause(i) | Action::Resume(i) | Action::Update(i, _) | Action::Remove(i) => {
                self.change_output(*i, action).await;
            }
        }
    }

    fn set_store_faults(&mut self, faults: StoreFaults) {
        self.store.set_faults(faults);
        self.store_is_calm = faults == self.scenario.shape.store;
        self.calm_since = self.now() + SLOWEST_COMMIT;
    }

    fn set_read_faults(&mut self, faults: ReadFaults) {
        self.environment.set_reads(faults);

        let shape = &self.scenario.shape;
        self.reads_are_calm = faults == shape.calm;
        self.reads_calm_since = self.now() + shape.settings.read_deadline;
    }

    fn trace_action(&mut self, action: &Action) {
        let text = format!("{action:?}");
        self.observer.truth().trace.text(&text);
        let now = self.now();
        self.observer.truth().trace.line(now, |l| {
            _ = write!(l, "{text}");
        });

        if let Some(name) = fault_name(action) {
            let mut truth = self.observer.truth();
            *truth.faults.entry(name).or_default() += 1;
        }
    }

    async fn act_on_source(&mut self, action: &Action) {
        match action {
            Action::Put { count, seed } => self.environment.put(*count, *seed).await,
            Action::Split(i) => {
                self.environment.split(*i).await;
                self.shards_changed();
            }
            Action::Merge(i) => {
                self.environment.merge(*i).await;
                self.shards_changed();
            }
            Action::Reads(faults) => self.set_read_faults(*faults),
            Action::Expire(age) => self.expire(Duration::from_millis(*age)).await,
            _ => {}
        }
    }

    /// Lets retention delete records older than `age`. On the whole path a day passes for the
    /// server: the process is down meanwhile, as a reader that was at the tip within the retention
    /// knows that nothing can be deleted.
    async fn expire(&mut self, age: Duration) {
        if self.scenario.whole.is_some() && self.engine.is_some() {
            self.kill(Duration::ZERO);
        }
        self.expired |= self.environment.expire(age).await;
        // The shard map can lose a shard before it has the shard's children.
        self.shards_changed();
    }

    /// Reads are calm again when the engine knows the new shards.
    fn shards_changed(&mut self) {
        let shape = &self.scenario.shape;
        let delay = shape.settings.map_refresh + shape.stream.map_lag;
        self.reads_calm_since = self.now() + delay;
    }

    async fn act_on_service(&mut self, i: usize, action: &Action) {
        let Some(output) = self.outputs.get_mut(i).filter(|o| !o.removed) else {
            return;
        };
        let pristine = output.shape.pristine;
        let name = output.name.clone();

        match action {
            Action::Reshard(_, shards) => self.environment.reshard(&name, *shards).await,
            _ if pristine => {}
            Action::Faults(_, faults) => self.environment.set_faults(&name, *faults),
            Action::Mood(_, mood) => self.environment.set_mood(&name, *mood).await,
            Action::Refuse(_) => self.refuse_a_record(i),
            _ => {}
        }
    }

    /// The output's service refuses one of the records that the output lacks, or one of the next.
    fn refuse_a_record(&mut self, i: usize) {
        let output = &mut self.outputs[i];
        let rng = &mut Rng::new(self.scenario.seed ^ 0x5eed);
        let truth = self.observer.truth_untraced();
        let lacking = truth.pick_lacking(&output.name, |n| rng.index(n));
        let number = lacking.unwrap_or_else(|| truth.next_number() + rng.index(5) as u128);
        drop(truth);

        self.environment.refuse(&output.name, number, true);
        output.refused.push(number);
    }

    /// Ends the faults of the output's service, and resumes the output.
    pub(super) async fn heal_output(&mut self, i: usize) {
        let output = &mut self.outputs[i];
        let name = output.name.clone();
        let calm = OutputFaults {
            latency: output.shape.faults.latency,
            ..OutputFaults::default()
        };
        self.environment.set_mood(&name, Mood::Well).await;
        self.environment.set_faults(&name, calm);
        for number in output.refused.drain(..) {
            self.environment.refuse(&name, number, false);
        }

        if !output.removed {
            self.set_paused(i, false).await;
        }
    }

    /// Makes a live change to an output of the running engine.
    async fn change_output(&mut self, i: usize, action: &Action) {
        let Some(output) = self.outputs.get(i).filter(|o| !o.removed) else {
            return;
        };
        if self.engine.is_none() {
            return;
        }

        match action {
            Action::Pause(_) => self.set_paused(i, true).await,
            Action::Resume(_) => self.set_paused(i, false).await,
            Action::Update(_, new) if !output.shape.pristine => self.update_output(i, new).await,
            Action::Remove(_) => self.remove_output(i).await,
            _ => {}
        }
    }

    async fn set_paused(&mut self, i: usize, paused: bool) {
        let output = &mut self.outputs[i];
        output.paused = paused;
        let id = output.id.clone();
        let name = output.name.clone();

        if paused {
            self.apply(Change::Pause(id)).await;
            self.observer.truth().set_paused(&name, true);
        } else {
            self.observer.truth().set_paused(&name, false);
            self.apply(Change::Resume(id)).await;
            self.reads_calm_since = self.reads_calm_since.max(self.now());
        }
    }

    /// Updates an output's order, limits and encoding; the output runs afterwards.
    async fn update_output(&mut self, i: usize, new: &OutputShape) {
        let output = &mut self.outputs[i];
        output.shape.order = new.order;
        output.shape.limits = new.limits;
        output.shape.encoding = new.encoding;
        output.paused = false;

        let name = output.name.clone();
        let spec = self.spec(&self.outputs[i]);
        self.observer.truth().set_paused(&name, false);
        self.observer.truth().update_output(&name, new.order);
        self.apply(Change::Update(spec)).await;
    }

    async fn remove_output(&mut self, i: usize) {
        let id = self.outputs[i].id.clone();
        let done = self.apply(Change::Remove(id.clone())).await;

        self.mark_removed(i);
        if done {
            self.free_ids.push(id);
        }
    }

    fn mark_removed(&mut self, i: usize) {
        let output = &mut self.outputs[i];
        output.removed = true;
        self.observer.truth().remove_output(&output.name);
    }

    async fn add_output(&mut self, shape: &OutputShape, reuse_id: bool) {
        if self.engine.is_none() || self.outputs.len() >= MOST_OUTPUTS {
            return;
        }

        let id = if reuse_id { self.free_ids.pop() } else { None };
        let i = self.new_output(shape, id);
        let spec = self.spec(&self.outputs[i]);
        let added = self.apply(Change::Add(spec)).await;
        self.reads_calm_since = self.reads_calm_since.max(self.now());

        // After a refusal the next start is without the output.
        if !added && self.engine.is_some() {
            self.mark_removed(i);
        }
    }

    /// Applies a change; true if the engine did. The process can be killed meanwhile.
    async fn apply(&mut self, change: Change) -> bool {
        let Some(engine) = &self.engine else {
            return false;
        };

        let applied = self.unless_crashed(engine.apply(change)).await;
        match applied.map(Applied::done) {
            Some(Ok(())) => true,
            Some(Err(EngineError::Store { .. } | EngineError::Source { .. })) => false,
            Some(Err(error)) => {
                let description = format!("a change was refused: {error}");
                self.observer.truth().violate(line::LIVE, description);
                false
            }
            None => {
                self.kill(Duration::ZERO);
                false
            }
        }
    }

    /// Stops the engine in order, with `limit` to drain, and starts a new engine at once.
    pub(super) async fn restart(&mut self, limit: Duration) {
        let Some(engine) = self.engine.take() else {
            return;
        };

        self.observer.cancel_crash();
        let clock = self.clock.clock();
        let shutdown = engine.shutdown(limit);
        let stopped = clock.timeout(limit + HEALED_LIMIT, shutdown).await;
        self.check_stop(stopped);

        self.observer.truth().engine_ended();
        self.start_at = Some(self.now());
    }

    /// Checks the result of a stop in order; `None` if the engine did not stop in time.
    fn check_stop(&self, stopped: Option<Result<Status, EngineError>>) {
        let description = match stopped {
            Some(Ok(status)) => {
                self.check_status(&status, Moment::Running);
                self.check_last_checkpoints();
                return;
            }
            Some(Err(EngineError::Store { .. })) => return,
            Some(Err(error)) => format!("the engine doesn't stop: {error}"),
            None => "the engine doesn't stop".to_owned(),
        };
        self.observer.truth().violate(line::ENGINE, description);
    }

    /// Checks that the checkpoints cover every acknowledged record after a stop in order.
    fn check_last_checkpoints(&self) {
        // The next owner of a lost shard delivers its records again.
        if self.leases.is_some() && !self.leases_are_calm {
            return;
        }
        let mut truth = self.observer.truth();
        if let Some((service, n)) = truth.late_for_checkpoint(Duration::ZERO, None) {
            let description = format!("{service}: no checkpoint covers record {n} after the stop");
            truth.violate(line::CRASH, description);
        }
    }
}
