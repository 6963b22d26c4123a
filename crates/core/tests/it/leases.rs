//! Several engines on one stream, with leases in one table.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Position;
use distributary_core::clock::ClockSource;
use distributary_core::engine::{Change, Engine, FanOut, Order, OutputSpec, Settings, Start};
use distributary_core::leases::{
    Cursors, KclCheckpoint, LeaseRow, LeaseSettings, Leases, OutputPrint,
};
use distributary_core::output::RequestLimits;
use distributary_core::source::{HashRange, Shard};
use distributary_core::store::{CheckpointStore, OutputId};
use distributary_core::testing::{
    FakeLeaseTable, FakeService, FakeStream, LeaseTableFaults, Observer, ReadFaults, Rng,
    ServiceSettings, StreamSettings, TestClock,
};

const FAILOVER: Duration = Duration::from_secs(10);

struct World {
    clock: TestClock,
    stream: FakeStream,
    table: FakeLeaseTable,
    services: Vec<FakeService>,
    workers: BTreeMap<u32, Worker>,
    put: u64,
}

struct Worker {
    engine: Option<Engine>,
    table: FakeLeaseTable,
    name: String,
}

fn shard(n: usize) -> ShardId {
    ShardId::new(&format!("shardId-{n:012}"))
}

/// The data of a record.
fn text(sequence: u128) -> Bytes {
    sequence.to_string().into_bytes().into()
}

impl World {
    fn new(shards: usize, outputs: usize) -> Self {
        Self::seeded(shards, outputs, 0)
    }

    fn seeded(shards: usize, outputs: usize, seed: u64) -> Self {
        let clock = TestClock::new(7 + seed);
        let observer: Arc<dyn Observer> = Arc::new(());
        let settings = StreamSettings {
            shards: 0,
            ..StreamSettings::default()
        };
        let stream = FakeStream::new(settings, &clock, Rng::new(1), Arc::clone(&observer));
        stream.set_faults(ReadFaults {
            latency: (5, 20),
            ..ReadFaults::default()
        });
        for n in 0..shards {
            stream.open_shard(&shard(n), &[]);
        }

        let services = (0..outputs).map(|n| {
            let settings = ServiceSettings {
                name: format!("service{n}"),
                shards: 4,
                rate: None,
            };
            FakeService::new(
                settings,
                &clock,
                Rng::new(20 + n as u64),
                Arc::clone(&observer),
            )
        });
        Self {
            services: services.collect(),
            table: FakeLeaseTable::new(&clock, Rng::new(3 + seed), observer),
            clock,
            stream,
            workers: BTreeMap::new(),
            put: 0,
        }
    }

    fn outputs(&self) -> Vec<OutputSpec> {
        let limits = RequestLimits {
            entries: 500,
            bytes: 1 << 20,
        };
        let services = self.services.iter().enumerate();
        let spec = services.map(|(n, service)| OutputSpec {
            id: OutputId::new(&format!("output{n}")),
            output: Arc::new(service.output("fake", limits)),
            place: None,
            order: Order::Resend,
            start: Start::TrimHorizon,
            paused: false,
            dead_letter: None,
            pump: None,
        });
        spec.collect()
    }

    async fn start(&mut self, n: u32) {
        let outputs = self.outputs();
        let ids: Vec<OutputId> = outputs.iter().map(|o| o.id.clone()).collect();
        let name = format!("worker{n}");
        let table = self.table.handle();
        let settings = LeaseSettings {
            failover: FAILOVER,
            ..LeaseSettings::default()
        };
        let leases = Leases::new(
            Arc::new(table.clone()),
            name.clone(),
            &ids,
            settings,
            self.clock.clock(),
        );
        let leases = Arc::new(leases.unwrap());
        let engine = Engine::start(FanOut {
            name: "orders".to_owned(),
            source: Arc::new(self.stream.clone()),
            outputs,
            store: Arc::clone(&leases) as Arc<dyn CheckpointStore>,
            ownership: Some(leases),
            budget: None,
            clock: self.clock.clock(),
            settings: Settings {
                checkpoint_interval: Duration::from_secs(5),
                ..Settings::default()
            },
        });
        let engine = Some(engine.await.unwrap());
        let worker = Worker {
            engine,
            table,
            name,
        };
        self.workers.insert(n, worker);
    }

    /// Kills a worker: nothing more is written.
    fn kill(&mut self, n: u32) {
        self.workers.remove(&n);
    }

    async fn stop(&mut self, n: u32) {
        let engine = self.workers.remove(&n).unwrap().engine.unwrap();
        engine.shutdown(Duration::from_secs(20)).await.unwrap();
    }

    /// Puts records into every open shard, one each 100 ms, for `time`.
    async fn run(&mut self, shards: usize, time: Duration) {
        let end = self.clock.now().plus(time);
        while self.clock.now() < end {
            for n in 0..shards {
                let key = format!("k{}", self.put % 13);
                self.stream.put_in(&shard(n), &key, text);
                self.put += 1;
            }
            self.clock.sleep(Duration::from_millis(500)).await;
        }
    }

    /// Waits until `holds` is true; the time that it took.
    async fn until(&self, limit: Duration, mut holds: impl FnMut(&Self) -> bool) -> Duration {
        let started = self.clock.now();
        while !holds(self) {
            assert!(
                self.clock.now().since(started) < limit,
                "waited in vain: {:#?}",
                self.loads()
            );
            self.clock.sleep(Duration::from_millis(100)).await;
        }
        self.clock.now().since(started)
    }

    /// Leases by owner; the rows of shards that have ended count for nobody.
    fn loads(&self) -> BTreeMap<String, usize> {
        let mut loads = BTreeMap::new();
        for worker in self.workers.values() {
            loads.insert(worker.name.clone(), 0);
        }
        for row in self.table.table().values() {
            if row.checkpoint != KclCheckpoint::ShardEnd {
                let owner = row.owner.clone().unwrap_or_default();
                *loads.entry(owner).or_default() += 1;
            }
        }
        loads
    }

    fn is_balanced(&self) -> bool {
        let loads = self.loads();
        let known: BTreeSet<_> = self.workers.values().map(|w| w.name.clone()).collect();
        let least = loads.values().min().copied().unwrap_or(0);
        let most = loads.values().max().copied().unwrap_or(0);
        loads.keys().all(|owner| known.contains(owner)) && most - least <= 1
    }

    /// True if every record is in every service.
    fn is_complete(&self) -> bool {
        let records = self.stream.records();
        let wanted: BTreeSet<u128> = records.values().flatten().map(|r| r.sequence).collect();
        self.services.iter().all(|service| {
            let log = service.log();
            let got: BTreeSet<u128> = log.iter().map(|w| w.entry.sequence).collect();
            wanted.is_subset(&got)
        })
    }

    /// Each record's last occurrence stands in source order, per shard and key.
    fn check_order(&self) {
        let mut shards = BTreeMap::new();
        for (shard, records) in self.stream.records() {
            shards.extend(records.iter().map(|r| (r.sequence, shard.clone())));
        }
        for service in &self.services {
            let mut last = BTreeMap::new();
            for (place, written) in service.log().into_iter().enumerate() {
                let entry = written.entry;
                let key = (shards[&entry.sequence].clone(), entry.key, entry.sequence);
                last.insert(key, place);
            }
            let entries: Vec<_> = last.into_iter().collect();
            for pair in entries.windows(2) {
                let ((a, place_a), (b, place_b)) = (&pair[0], &pair[1]);
                let same_key = a.0 == b.0 && a.1 == b.1;
                assert!(!same_key || place_a < place_b, "{a:?} stands after {b:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn workers_share_shards_and_take_over() {
    let mut world = World::new(16, 2);
    world.start(0).await;
    world.start(1).await;
    world.until(FAILOVER * 2, World::is_balanced).await;
    world.run(16, Duration::from_secs(20)).await;

    for n in 2..5 {
        world.start(n).await;
    }
    let limit = FAILOVER * 3 + Duration::from_secs(5);
    world.until(limit, World::is_balanced).await;
    world.run(16, Duration::from_secs(20)).await;

    // A worker that dies: its leases have other owners within the failover time and five seconds.
    world.kill(0);
    let dead = |world: &World| !world.loads().contains_key("worker0");
    world.until(FAILOVER + Duration::from_secs(5), dead).await;
    world.run(16, Duration::from_secs(20)).await;
    world.until(limit, World::is_balanced).await;

    // A worker that stops gives its leases back: no failover time passes.
    world.table.set_faults(LeaseTableFaults {
        latency: (5, 40),
        ..LeaseTableFaults::default()
    });
    for n in 1..4 {
        world.stop(n).await;
        let name = format!("worker{n}");
        let gone = |world: &World| !world.loads().contains_key(&name);
        assert!(world.until(FAILOVER, gone).await < Duration::from_millis(200));
    }
    world
        .until(Duration::from_secs(5), World::is_balanced)
        .await;
    world.run(16, Duration::from_secs(5)).await;
    world
        .until(Duration::from_secs(10), World::is_complete)
        .await;
    world.check_order();
}

#[tokio::test(start_paused = true)]
async fn leases_end_while_the_table_is_gone() {
    let mut world = World::new(4, 1);
    for n in 0..2 {
        world.start(n).await;
    }
    world.run(4, Duration::from_secs(20)).await;

    let all = |world: &World, cut_off: bool| {
        for worker in world.workers.values() {
            worker.table.cut_off(cut_off);
        }
    };
    all(&world, true);
    world.run(4, FAILOVER).await;
    let written = world.services[0].count();
    world.run(4, Duration::from_secs(110)).await;
    assert_eq!(
        world.services[0].count(),
        written,
        "no request without a lease"
    );

    all(&world, false);
    world
        .until(FAILOVER + Duration::from_secs(10), World::is_complete)
        .await;
    world.check_order();
}

#[tokio::test(start_paused = true)]
async fn a_worker_without_the_table_loses_its_shards_to_the_others() {
    let mut world = World::new(6, 1);
    for n in 0..2 {
        world.start(n).await;
    }
    world.until(FAILOVER * 2, World::is_balanced).await;
    world.run(6, Duration::from_secs(20)).await;

    world.workers[&0].table.cut_off(true);
    let alone = |world: &World| world.loads()["worker0"] == 0;
    world.until(FAILOVER + Duration::from_secs(5), alone).await;
    world.run(6, Duration::from_secs(30)).await;
    world
        .until(Duration::from_secs(10), World::is_complete)
        .await;
    world.check_order();

    world.workers[&0].table.cut_off(false);
    let limit = FAILOVER * 3 + Duration::from_secs(5);
    world.until(limit, World::is_balanced).await;
    world.run(6, Duration::from_secs(10)).await;
    world
        .until(Duration::from_secs(10), World::is_complete)
        .await;
    world.check_order();
}

#[tokio::test(start_paused = true)]
async fn lost_answers_and_late_writes_lose_no_record() {
    for seed in 0..12 {
        lost_answers_and_late_writes(seed).await;
    }
}

async fn lost_answers_and_late_writes(seed: u64) {
    let mut world = World::seeded(8, 2, seed);
    world.table.set_faults(LeaseTableFaults {
        latency: (1, 80),
        fail: 60,
        fail_after: 60,
        late: 60,
        lateness: (100, 20_000),
    });
    for n in 0..3 {
        world.start(n).await;
    }
    for round in 3..9 {
        world.run(8, Duration::from_secs(25)).await;
        world.kill(round - 3);
        world.start(round).await;
    }

    world.table.set_faults(LeaseTableFaults::default());
    let limit = FAILOVER * 5;
    world.until(limit, World::is_balanced).await;
    world.until(limit, World::is_complete).await;
    world.check_order();
}

#[tokio::test(start_paused = true)]
async fn rows_follow_a_reshard() {
    let mut world = World::new(2, 1);
    world.start(0).await;
    world.start(1).await;
    world.run(2, Duration::from_secs(20)).await;

    world.stream.open_shard(&shard(2), &[shard(0)]);
    world.stream.open_shard(&shard(3), &[shard(0)]);
    let ended = |world: &World| {
        let parent = &world.table.table()[&shard(0)];
        parent.checkpoint == KclCheckpoint::ShardEnd && parent.owner.is_none()
    };
    world.until(FAILOVER * 3, ended).await;
    let table = world.table.table();
    assert_eq!(
        table[&shard(0)].children,
        BTreeSet::from([shard(2), shard(3)])
    );
    assert_eq!(table[&shard(2)].parents, BTreeSet::from([shard(0)]));

    for n in 2..4 {
        world.stream.put_in(&shard(n), "key", text);
    }
    world.until(FAILOVER * 2, World::is_complete).await;
    world.check_order();
    world.stream.set_removed(&shard(0), true);
    let deleted = |world: &World| !world.table.table().contains_key(&shard(0));
    world.until(Duration::from_secs(150), deleted).await;
}

#[tokio::test(start_paused = true)]
async fn a_row_of_a_kcl_is_the_start_of_every_lane() {
    let mut world = World::new(1, 2);
    for _ in 0..10 {
        world.stream.put_in(&shard(0), "key", text);
    }
    let records = world.stream.records();
    let sequence = records[&shard(0)][6].sequence.to_string();
    let listed = Shard {
        id: shard(0),
        parents: Vec::new(),
        hash_range: Some(HashRange {
            start: 0,
            end: u128::MAX,
        }),
        start: None,
        closed: false,
    };
    let mut row = LeaseRow::new(&listed);
    row.owner = Some("a KCL worker that is gone".to_owned());
    row.counter = 41;
    row.checkpoint = KclCheckpoint::At { sequence, sub: 0 };
    world.table.put(row);

    world.start(0).await;

    let eight = |world: &World| world.services.iter().all(|s| s.count() >= 4);
    world.until(FAILOVER * 2, eight).await;
    // The record of the checkpoint may be an aggregate of which parts are left, so it is sent again.
    assert!(world.services.iter().all(|s| s.count() == 4));
    world.stop(0).await;
    let row = &world.table.table()[&shard(0)];
    assert_eq!(row.hash_range.map(|range| range.end), Some(u128::MAX));
    let last = records[&shard(0)][9].sequence.to_string();
    assert_eq!(row.checkpoint.text(), last);
    assert_eq!(
        row.checkpoint.position(),
        Some(Position::After {
            sequence: distributary_core::checkpoint::Sequence::new(&last),
            sub: Some(0),
        })
    );
}

#[tokio::test(start_paused = true)]
async fn an_added_output_starts_by_its_own_start_on_every_worker() {
    let mut world = World::new(4, 1);
    world.start(0).await;
    world.start(1).await;
    world.run(4, Duration::from_secs(20)).await;
    world.until(FAILOVER, World::is_complete).await;

    let service = ServiceSettings {
        name: "added".to_owned(),
        shards: 1,
        rate: None,
    };
    let service = FakeService::new(service, &world.clock, Rng::new(5), Arc::new(()));
    world.services.push(service);
    let added = world.outputs().remove(1);
    for worker in world.workers.values() {
        let engine = worker.engine.as_ref().unwrap();
        engine
            .apply(Change::Add(added.clone()))
            .await
            .done()
            .unwrap();
    }

    world.until(FAILOVER, World::is_complete).await;
    let print = OutputPrint::of(&added.id);
    let named = |world: &World| {
        let table = world.table.table();
        table.values().all(|row| {
            let lanes = row.lanes.as_deref().and_then(Cursors::decode);
            lanes.is_some_and(|cursors| cursors.lanes.contains_key(&print))
        })
    };
    world.until(FAILOVER, named).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_writes_each_row_once_in_a_third_of_the_failover_time() {
    let mut world = World::new(100, 1);
    world.start(0).await;
    world.until(FAILOVER, World::is_balanced).await;
    world.clock.sleep(Duration::from_secs(10)).await;

    let (writes, scans) = world.table.calls();
    world.clock.sleep(Duration::from_secs(60)).await;

    let (writes_after, scans_after) = world.table.calls();
    let (writes, scans) = (writes_after - writes, scans_after - scans);
    assert!(
        (1_700..=1_900).contains(&writes),
        "{writes} writes a minute"
    );
    assert!((29..=34).contains(&scans), "{scans} scans a minute");
}
