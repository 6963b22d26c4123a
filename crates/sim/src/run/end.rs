//! The end of a run: everything works again, and every output must have all of its records.

use std::time::Duration;

use distributary_core::engine::Engine;

use super::checks::Moment;
use super::{HEALED_LIMIT, Run, SLOWEST_COMMIT, STEP, SimulatedOutput};
use crate::truth::line;

/// How long pristine outputs may take to have every record, whatever fails elsewhere.
const PRISTINE_LIMIT: Duration = Duration::from_secs(300);
/// Time between the calming of reads and store and the first check.
const CALM_DOWN: Duration = Duration::from_secs(20);
/// Time that the last engine has to drain.
const DRAIN_LIMIT: Duration = Duration::from_secs(60);

impl Run<'_> {
    /// Ends all faults step by step, and checks that every output has its records.
    pub(super) async fn end(&mut self) {
        self.observer.cancel_crash();
        self.calm_reads_and_store();
        self.run_until(self.now() + CALM_DOWN).await;

        // Pristine outputs must have every record although faults of other outputs go on.
        let limit = if self.has_roomy_budget() {
            PRISTINE_LIMIT
        } else {
            HEALED_LIMIT
        };
        self.wait_for_records(limit, line::ISOLATION, |output| {
            output.shape.pristine && !output.paused
        })
        .await;

        for i in 0..self.outputs.len() {
            self.heal_output(i).await;
        }
        if let Some(counter) = self.environment.counter() {
            counter.heal();
        }
        self.wait_for_records(HEALED_LIMIT, line::COMPLETE, |_| true)
            .await;
        self.wait_for_counts().await;
        if self.is_violated() {
            return;
        }

        self.wait_until_quiet().await;
        self.restart(DRAIN_LIMIT).await;
        self.run_until(self.now() + Duration::from_millis(2)).await;
        self.check_caught_up().await;
        self.check_records().await;
    }

    fn calm_reads_and_store(&mut self) {
        let shape = &self.scenario.shape;
        self.environment.set_reads(shape.calm);
        self.store.set_faults(shape.store);
        self.store_is_calm = true;
        self.leases_are_calm = true;
        if let Some(leases) = &self.leases {
            leases.calm();
        }
        self.calm_since = self.now() + SLOWEST_COMMIT;
    }

    /// Checks that the last engine finds that every output has every record.
    async fn check_caught_up(&mut self) {
        if self.is_violated() {
            return;
        }
        let Some(engine) = &self.engine else { return };

        let clock = self.clock.clock();
        let caught_up = clock.timeout(PRISTINE_LIMIT, engine.caught_up()).await;
        if !matches!(caught_up, Some(Ok(()))) {
            let description =
                format!("the engine doesn't find that all records are written: {caught_up:?}");
            let mut truth = self.observer.truth();
            self.trace_status(&mut truth);
            truth.violate(line::COMPLETE, description);
        }
        self.check_engine();
    }

    /// Checks the records of every output, in the facts and at the services.
    async fn check_records(&mut self) {
        self.observer.truth().check_end();

        let present = self.outputs.iter().filter(|o| !o.removed);
        let services: Vec<String> = present.map(|o| o.name.clone()).collect();
        self.environment.check_end(&services).await;
        // After the last start, no row has changed.
        self.wait_for_counts().await;
    }

    /// Waits until the counter has emitted every row, and checks the rows. Records that retention
    /// has deleted need no rows.
    async fn wait_for_counts(&mut self) {
        let until = self.now() + HEALED_LIMIT;
        while !self.is_violated() {
            let Some(counter) = self.environment.counter() else {
                return;
            };
            let problem = match counter.missing() {
                Ok(None) => return,
                Ok(Some(_)) if self.expired => return,
                Ok(Some(key)) => format!("the counter lacks the last row of {key}"),
                Err(problem) => format!("the counter: {problem}"),
            };
            if self.now() >= until || counter.missing().is_err() {
                self.observer.truth().violate(line::COMPLETE, problem);
                return;
            }
            self.run_until(self.now() + STEP).await;
        }
    }

    /// Waits until no request is in flight: records that retention has deleted meanwhile can still
    /// be. Then checks the counts.
    async fn wait_until_quiet(&mut self) {
        let until = self.now() + HEALED_LIMIT;
        loop {
            self.run_until(self.now() + STEP).await;
            let Some(status) = self.engine.as_ref().map(Engine::status) else {
                return;
            };

            let mut outputs = status.outputs.iter();
            let is_quiet = outputs.all(|o| o.counts.in_flight == 0);
            if is_quiet || self.now() >= until || self.is_violated() {
                self.check_status(&status, Moment::Quiet);
                return;
            }
        }
    }

    /// Waits until the chosen outputs have every record, at most `limit`; otherwise `line` is
    /// violated.
    async fn wait_for_records(
        &mut self,
        limit: Duration,
        line: &'static str,
        chosen: impl Fn(&SimulatedOutput) -> bool,
    ) {
        let until = self.now() + limit;
        while !self.is_violated() {
            let Some((name, n)) = self.first_missing(&chosen) else {
                return;
            };
            if self.now() >= until {
                let mut truth = self.observer.truth();
                self.trace_status(&mut truth);
                let description = format!("{name} does not have record {n} after {limit:?}");
                truth.violate(line, description);
                return;
            }
            self.run_until(self.now() + STEP).await;
        }
    }

    /// The first record that a chosen output lacks, with the output's name.
    fn first_missing(&self, chosen: impl Fn(&SimulatedOutput) -> bool) -> Option<(String, usize)> {
        let truth = self.observer.truth_untraced();
        let mut outputs = self.outputs.iter().filter(|o| !o.removed && chosen(o));
        outputs.find_map(|output| {
            let n = truth.missing(&output.name)?;
            Some((output.name.clone(), n))
        })
    }
}
