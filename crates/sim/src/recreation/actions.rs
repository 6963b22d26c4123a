//! The actions of a run with streams that are created again.

use std::time::Duration;

use distributary_core::testing::{OutputFaults, StoreFaults};

use super::end::Problem;
use super::{Put, Run};

/// Time that an engine has to drain.
const DRAIN_LIMIT: Duration = Duration::from_secs(20);
/// Copies of the state that are kept.
const MOST_COPIES: usize = 4;
/// How long an engine is down.
const MOST_DOWN_MILLIS: u64 = 20_000;

impl Run {
    /// Carries out the next action.
    pub(super) async fn act(&mut self) -> Result<(), Problem> {
        let count = self.rng.below(30);
        self.put_records(count);

        match self.rng.below(100) {
            0..20 => self.recreate_an_output(),
            20..24 => self.recreate_the_source(),
            24..36 => self.keep_a_copy(),
            36..44 => self.kill_and_restore().await?,
            44..60 => self.kill_and_start().await?,
            60..68 => self.stop_and_start().await?,
            68..78 => self.draw_store_faults(),
            78..90 => self.draw_output_faults(),
            90..96 => self.split(),
            _ => self.calm(),
        }
        Ok(())
    }

    pub(super) fn put_records(&mut self, count: u64) {
        for _ in 0..count {
            let key = format!("key-{}", self.rng.below(7));
            let data = self.rng.bits().to_be_bytes().to_vec();
            let placed = self.stream.put(Some(&key), data);
            self.put.push(Put {
                sequence: placed.sequence,
                arrival: placed.arrival,
            });
        }
    }

    fn recreate_an_output(&mut self) {
        let created = self.stream_time();
        let i = self.rng.index(self.targets.len());
        let target = &mut self.targets[i];
        target.service.recreate(created);
        target.recreated = Some(created);
    }

    fn recreate_the_source(&mut self) {
        self.stream.recreate();
        self.source_recreated = true;
    }

    fn keep_a_copy(&mut self) {
        if self.source_recreated {
            return;
        }
        self.copies.push(self.store.copy());
        if self.copies.len() > MOST_COPIES {
            self.copies.remove(0);
        }
    }

    fn split(&mut self) {
        let open = self.stream.open_shards();
        if open.len() < 6 {
            let i = self.rng.index(open.len());
            drop(self.stream.split(&open[i]));
        }
    }

    fn draw_store_faults(&mut self) {
        let faults = StoreFaults {
            latency: (0, *self.rng.pick(&[50, 3_000])),
            fail: *self.rng.pick(&[0, 500]),
            fail_after: *self.rng.pick(&[0, 500]),
        };
        self.store.set_faults(faults);
    }

    fn draw_output_faults(&mut self) {
        let i = self.rng.index(self.targets.len());
        let faults = OutputFaults {
            latency: (0, *self.rng.pick(&[5, 900])),
            rejected: *self.rng.pick(&[0, 300]),
            partial: *self.rng.pick(&[0, 300]),
            answer_lost: *self.rng.pick(&[0, 200]),
            cut: *self.rng.pick(&[0, 200]),
            ..OutputFaults::default()
        };
        self.targets[i].service.set_faults(faults);
    }

    async fn be_down(&mut self) {
        let down = self.rng.below(MOST_DOWN_MILLIS);
        let until = self.rng.below(2) * down;
        if self.rng.below(3) == 0 {
            self.recreate_an_output();
        }
        self.clock_sleep(until + 1).await;
    }

    async fn kill_and_start(&mut self) -> Result<(), Problem> {
        self.engine = None;
        self.be_down().await;
        self.start().await
    }

    /// An older copy of the state takes the place of the newest. No newer copy does so later, as
    /// newer copies tell of records that the older one has sent again in part.
    async fn kill_and_restore(&mut self) -> Result<(), Problem> {
        self.engine = None;
        self.be_down().await;
        if !self.copies.is_empty() {
            let i = self.rng.index(self.copies.len());
            self.store = self.copies[i].copy();
            self.copies.truncate(i + 1);
        }
        self.start().await
    }

    async fn stop_and_start(&mut self) -> Result<(), Problem> {
        if let Some(engine) = self.engine.take() {
            // A store that fails shows in the records at the end.
            drop(engine.shutdown(DRAIN_LIMIT).await);
        }
        self.be_down().await;
        self.start().await
    }
}
