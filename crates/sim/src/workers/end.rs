//! The end of a run with several workers: everything works again, and all must be in its place.

use std::collections::BTreeMap;
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::leases::KclCheckpoint;
use distributary_core::testing::FakeService;

use super::Run;
use super::judge::worker_name;
use crate::truth::line;

/// Time between two looks.
const STEP: Duration = Duration::from_millis(250);
/// Added to the failover time, or a multiple: for scans, calls and the last requests.
const SLACK: Duration = Duration::from_secs(5);
/// Time for the calls of starts, each a row of the table.
const EACH_SHARD: Duration = Duration::from_millis(20);

/// The place of each record's last write, by shard, key and sequence number.
type Places = BTreeMap<(ShardId, Option<Box<str>>, u128), usize>;

impl Run {
    /// Ends all faults, and checks leases and records.
    pub(super) async fn end(&mut self) {
        self.calm();
        for worker in &mut self.workers {
            worker.resumes_at = None;
            worker.gate.set_paused(false);
            worker.connect();
        }
        if self.workers.is_empty() {
            self.start().await;
        }

        // Dead owners, late writes of leases, and requests for leases nobody answered.
        let rows = u32::try_from(self.table.table().len()).unwrap_or(0);
        let limit = self.shape.failover * 8 + SLACK * 4 + EACH_SHARD * rows;
        self.wait_for_balance(limit).await;
        self.wait_for_records(limit).await;
        self.check_takeover().await;
        self.wait_for_balance(self.shape.failover * 3 + SLACK).await;
        self.wait_for_records(limit).await;

        self.check_stops().await;
        self.check_order();
    }

    /// Leases of shards that are not over, by owner; every worker that is alive is in the list.
    fn loads(&self) -> BTreeMap<String, usize> {
        let workers = self.workers.iter();
        let names = workers.map(|worker| (worker_name(worker.number), 0));
        let mut loads: BTreeMap<String, usize> = names.collect();

        for row in self.table.table().into_values() {
            if row.checkpoint != KclCheckpoint::ShardEnd {
                let owner = row.owner.unwrap_or_default();
                *loads.entry(owner).or_default() += 1;
            }
        }
        loads
    }

    /// True if every lease has an owner that is alive, and no worker has two more than another.
    fn is_balanced(&self) -> bool {
        let loads = self.loads();
        let least = loads.values().min().copied().unwrap_or(0);
        let most = loads.values().max().copied().unwrap_or(0);
        loads.len() == self.workers.len() && most - least <= 1
    }

    async fn wait_for_balance(&mut self, limit: Duration) {
        let until = self.now() + limit;
        while !self.is_violated() && !self.is_balanced() {
            if self.now() >= until {
                let description = format!("no balance after {limit:?}: {:?}", self.loads());
                return self.judge.facts().violate(line::LIVE, description);
            }
            self.run_until(self.now() + STEP).await;
        }
        self.check_engines();
    }

    async fn wait_for_records(&mut self, limit: Duration) {
        self.put(20);
        let until = self.now() + limit;
        while !self.is_violated() {
            let Some((service, record)) = self.judge.facts().missing() else {
                return;
            };
            if self.now() >= until {
                let description = format!("{service} lacks record {record} after {limit:?}");
                return self.judge.facts().violate(line::COMPLETE, description);
            }
            self.run_until(self.now() + STEP).await;
        }
    }

    /// Kills a worker: its leases have other owners within the failover time and five seconds.
    async fn check_takeover(&mut self) {
        if self.is_violated() || self.workers.len() < 2 {
            return;
        }

        let dead = worker_name(self.workers[0].number);
        self.kill(0);
        self.put(20);
        let rows = u32::try_from(self.table.table().len()).unwrap_or(0);
        let limit = self.shape.failover + SLACK + EACH_SHARD * rows;
        self.run_until(self.now() + limit).await;
        if self.loads().contains_key(&dead) {
            let description = format!("{dead} owns leases {limit:?} after its death");
            self.judge.facts().violate(line::LIVE, description);
        }
    }

    /// Stops every worker in order: each gives all of its leases back.
    async fn check_stops(&mut self) {
        while !self.is_violated() && !self.workers.is_empty() {
            let name = worker_name(self.workers[0].number);
            self.stop(0).await;
            if self.loads().contains_key(&name) {
                let description = format!("{name} has stopped in order and owns leases");
                self.judge.facts().violate(line::LIVE, description);
            }
        }
    }

    /// Checks the order by key at each service. Writes that arrived after a takeover, and writes of
    /// abandoned requests, don't count.
    fn check_order(&self) {
        let mut shards = BTreeMap::new();
        for (shard, records) in self.stream.records() {
            let records = records.into_iter();
            shards.extend(records.map(|record| (record.sequence, shard.clone())));
        }

        for (name, service) in &self.services {
            let places: Vec<_> = self.places(name, service, &shards).into_iter().collect();
            let wrong = places.windows(2).find(|pair| {
                let ((first, place), (second, next_place)) = (&pair[0], &pair[1]);
                let same_key = (&first.0, &first.1) == (&second.0, &second.1);
                same_key && place > next_place
            });
            if let Some([(first, _), (second, _)]) = wrong {
                let description = format!("{name}: {first:?} stands behind {second:?}");
                self.judge.facts().violate(line::ORDER, description);
            }
        }
    }

    fn places(
        &self,
        name: &str,
        service: &FakeService,
        shards: &BTreeMap<u128, ShardId>,
    ) -> Places {
        let facts = self.judge.facts();
        let mut places = Places::new();
        for (place, written) in service.log().into_iter().enumerate() {
            let Some(shard) = shards.get(&written.entry.sequence) else {
                continue;
            };
            if !written.late && !facts.is_late(name, written.request) {
                let entry = written.entry;
                places.insert((shard.clone(), entry.key, entry.sequence), place);
            }
        }
        places
    }
}
