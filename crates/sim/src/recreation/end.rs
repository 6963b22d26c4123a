//! The end of a run with streams that were created again.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use distributary_core::clock::{ClockSource, Millis};
use distributary_core::engine::{Applied, Change, OnRecreated, OutputState};

use super::{NOTICED_WITHIN, Run, Target};

/// A line of the contract that does not hold, and the facts.
pub(super) type Problem = String;

/// Time within which everything is copied once the faults have ended.
const HEALED_LIMIT: Duration = Duration::from_secs(600);
/// Time between two looks.
const STEP: Duration = Duration::from_millis(500);

impl Run {
    pub(super) async fn clock_sleep(&self, millis: u64) {
        self.clock.sleep(Duration::from_millis(millis)).await;
    }

    /// The time of the source's server.
    pub(super) fn stream_time(&self) -> Millis {
        self.clock.server()
    }

    /// Ends all faults, and checks every output.
    pub(super) async fn end(&mut self) -> Result<(), Problem> {
        self.calm();
        self.notice_the_source().await?;
        self.clock.sleep(NOTICED_WITHIN).await;
        self.check_engine()?;

        if self.reaction == OnRecreated::Stop {
            self.resume_stopped()?;
        }
        self.put_records(20);
        self.wait_for_records().await?;
        self.wait_for_repeats().await?;
        self.check_order()
    }

    /// An engine notices within a known time that the source was created again.
    async fn notice_the_source(&mut self) -> Result<(), Problem> {
        let until = self.clock.now().plus(NOTICED_WITHIN);
        while self.source_recreated && self.engine.is_some() {
            if self.clock.now() >= until {
                return Err("a source that was created again was not noticed".to_owned());
            }
            self.clock.sleep(STEP).await;
            self.check_engine()?;
        }

        if self.engine.is_none() {
            self.start().await?;
        }
        Ok(())
    }

    /// Resumes the outputs that have stopped: only those that were created again.
    fn resume_stopped(&mut self) -> Result<(), Problem> {
        let Some(engine) = &self.engine else {
            return Ok(());
        };
        for output in engine.status().outputs {
            let OutputState::Stopped { reason, .. } = output.state else {
                continue;
            };

            let mut targets = self.targets.iter_mut();
            let target = targets.find(|target| target.id == output.id);
            let Some(target) = target.filter(|target| target.recreated.is_some()) else {
                return Err(format!("{} has stopped: {reason}", output.id));
            };
            target.recreated = Some(self.clock.server());
        }
        Ok(())
    }

    /// The records that an output must have.
    fn wanted(&self, target: &Target) -> BTreeSet<u128> {
        let from = match self.reaction {
            OnRecreated::Restart => None,
            OnRecreated::Continue | OnRecreated::Stop => target.recreated,
        };
        let records = self.put.iter();
        let wanted = records.filter(|put| from.is_none_or(|from| put.arrival >= from));
        wanted.map(|put| put.sequence).collect()
    }

    fn missing(&self) -> Option<Problem> {
        self.targets.iter().find_map(|target| {
            let log = target.service.log().into_iter();
            let written: BTreeSet<u128> = log.map(|written| written.entry.sequence).collect();
            let wanted = self.wanted(target);
            let lacks = wanted.difference(&written).next()?;

            let (id, recreated) = (&target.id, target.recreated);
            Some(format!(
                "{id}, created again at {recreated:?}, lacks record {lacks} ({:?})",
                self.reaction
            ))
        })
    }

    async fn wait_for_records(&mut self) -> Result<(), Problem> {
        if self.reaction == OnRecreated::Stop {
            self.resume().await?;
        }
        let until = self.clock.now().plus(HEALED_LIMIT);
        while let Some(problem) = self.missing() {
            if self.clock.now() >= until {
                return Err(problem);
            }
            self.clock.sleep(STEP).await;
            self.check_engine()?;
        }
        Ok(())
    }

    /// Waits until the engine has sent again what an older state made it repeat.
    async fn wait_for_repeats(&self) -> Result<(), Problem> {
        let Some(engine) = &self.engine else {
            return Ok(());
        };
        let clock = self.clock.clock();
        match clock.timeout(HEALED_LIMIT, engine.caught_up()).await {
            Some(Ok(())) => Ok(()),
            other => Err(format!("the engine has not caught up: {other:?}")),
        }
    }

    async fn resume(&self) -> Result<(), Problem> {
        let Some(engine) = &self.engine else {
            return Ok(());
        };
        for target in &self.targets {
            let resumed = engine.apply(Change::Resume(target.id.clone())).await;
            let resumed: Result<(), _> = Applied::done(resumed);
            resumed.map_err(|error| format!("{} is not resumed: {error}", target.id))?;
        }
        Ok(())
    }

    /// The last occurrences of a key's records stand in the order of the source.
    fn check_order(&self) -> Result<(), Problem> {
        let mut shards = BTreeMap::new();
        for (shard, records) in self.stream.records() {
            let records = records.into_iter();
            shards.extend(records.map(|record| (record.sequence, shard.clone())));
        }

        for target in &self.targets {
            let mut places = BTreeMap::new();
            let log = target.service.log().into_iter().enumerate();
            for (place, written) in log.filter(|(_, written)| !written.late) {
                let entry = written.entry;
                let shard = shards.get(&entry.sequence).cloned();
                places.insert((shard, entry.key, entry.sequence), place);
            }
            check_places(target, &places)?;
        }
        Ok(())
    }
}

/// The places of records by shard, key and sequence number.
type Places<S> = BTreeMap<(S, Option<Box<str>>, u128), usize>;

fn check_places<S: Ord>(target: &Target, places: &Places<S>) -> Result<(), Problem> {
    let later = places.iter().skip(1);
    for ((record, place), (next, next_place)) in places.iter().zip(later) {
        let is_same_key = record.0 == next.0 && record.1 == next.1;
        if is_same_key && place > next_place {
            let (id, first, second) = (&target.id, record.2, next.2);
            return Err(format!("{id}: record {first} stands behind {second}"));
        }
    }
    Ok(())
}
