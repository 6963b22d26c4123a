//! KPL aggregates of every shape, to outputs that pass them on, take them apart and pack anew,
//! while the outputs are resharded between the encoding and the answer of a request, entries
//! fail, answers are lost and engines are killed.
//!
//! The judge reads each output as the KCL does: an aggregate with a user record of another shard is
//! discarded. Every user record has to be found. Runs without faults may leave no repeat.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::clock::ClockSource;
use distributary_core::engine::{Engine, FanOut, OutputSpec, Settings, Start};
use distributary_core::output::Order;
use distributary_core::pump::PumpRef;
use distributary_core::store::OutputId;
use distributary_core::testing::{FakeStore, Rng, TestClock};
use distributary_kinesis::client::Client;
use distributary_kinesis::kpl::{Aggregate, Deaggregator, Packer};
use distributary_kinesis::names::StreamRef;
use distributary_kinesis::output::{Aggregates, KinesisOutput, OutputOptions, Route};
use distributary_kinesis::source::KinesisSource;
use distributary_local::faults::{Action, Entries, Rule};
use distributary_local::{Local, Settings as ServerSettings};
use distributary_wire::hashkey::{self, HashRange};
use distributary_wire::op::Operation;
use distributary_wire::transport::{Request, Response, Transport, TransportError};
use distributary_wire::types::{
    GetRecordsRequest, GetShardIteratorRequest, ListShardsRequest, PutRecordsRequest,
    PutRecordsRequestEntry, ScalingType, Shard, ShardIteratorType, UpdateShardCountRequest,
};

use super::server::{ServerEnvironment, call};

const SOURCE: &str = "source";
/// The outputs: name, shards at the start, and the treatment of aggregates.
const OUTPUTS: [(&str, u32, Aggregates); 5] = [
    ("one", 1, Aggregates::PassOn),
    ("three", 3, Aggregates::PassOn),
    ("eight", 8, Aggregates::PassOn),
    ("apart", 3, Aggregates::TakeApart),
    ("packed", 3, Aggregates::Pack),
];
/// Time within which everything is copied once the faults have ended.
const HEALED_LIMIT: Duration = Duration::from_secs(3600);

/// A user record: partition key and data. The data are unique.
type User = (String, Vec<u8>);

/// Plays the run of `seed`; the violation if there was one.
///
/// # Panics
/// If no runtime can be made.
#[allow(clippy::expect_used, reason = "a machine without resources")]
pub fn play_aggregates(seed: u64) -> Option<String> {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_time().start_paused(true).build();
    runtime
        .expect("a runtime")
        .block_on(async { Run::new(seed).play().await.err() })
}

struct Run {
    rng: Rng,
    clock: TestClock,
    server: Local,
    store: FakeStore,
    order: Order,
    /// True: no call fails, nothing is resharded, and engines end in order.
    is_calm: bool,
    put: BTreeMap<User, usize>,
    pump: Arc<Deaggregator>,
}

/// A transport that delays calls and loses answers.
struct Faulty {
    server: Local,
    clock: TestClock,
    rng: std::sync::Mutex<Rng>,
    lost_per_mille: u32,
}

#[async_trait]
impl Transport for Faulty {
    async fn call(&self, request: Request, deadline: Duration) -> Result<Response, TransportError> {
        let (before, after, is_lost) = {
            let mut rng = distributary_core::sync::lock(&self.rng);
            let lost = self.lost_per_mille;
            (rng.below(40), rng.below(40), rng.per_mille(lost))
        };
        self.clock.sleep(Duration::from_millis(before)).await;
        let answer = self.server.transport().call(request, deadline).await;
        self.clock.sleep(Duration::from_millis(after)).await;
        match is_lost {
            true => Err(TransportError::Broken {
                source: "the connection broke".into(),
            }),
            false => answer,
        }
    }
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed).fork("aggregates");
        let clock = TestClock::new(seed);
        let environment = ServerEnvironment::new(&clock, rng.fork("world"));
        let server = Local::builder()
            .settings(ServerSettings {
                seed: Some(rng.bits()),
                delays: distributary_local::Delays::NONE,
                enforce_limits: false,
                ..ServerSettings::default()
            })
            .env(Arc::new(environment))
            .build();

        let is_calm = rng.below(3) == 0;
        if !is_calm {
            fail_entries(&server);
        }
        super::create_stream(&server, SOURCE, 1);
        for (name, shards, _) in OUTPUTS {
            super::create_stream(&server, name, shards as usize);
        }
        let store = FakeStore::new(&clock, rng.fork("store"), Arc::new(()));
        Self {
            is_calm,
            order: order(is_calm, &mut rng),
            rng,
            clock,
            server,
            store,
            put: BTreeMap::new(),
            pump: Arc::default(),
        }
    }

    async fn play(&mut self) -> Result<(), String> {
        self.put_some().await?;
        let mut engine = self.start(true).await?;
        for _ in 0..self.rng.between(3, 8) {
            self.put_some().await?;
            let pause = Duration::from_millis(self.rng.between(0, 600));
            self.clock.sleep(pause).await;
            if !self.is_calm {
                self.reshard_one().await;
            }
            match self.rng.below(3) {
                0 => engine = self.restart(engine).await?,
                1 if !self.is_calm => {
                    drop(engine);
                    engine = self.start(true).await?;
                }
                _ => {}
            }
        }

        self.stop(engine).await?;
        self.server.faults().clear();
        let engine = self.start(false).await?;
        let caught_up = engine.caught_up();
        let ended = self.clock.clock().timeout(HEALED_LIMIT, caught_up).await;
        ended
            .ok_or("the outputs did not catch up")?
            .map_err(|error| format!("the engine ended: {error}"))?;
        self.stop(engine).await?;
        self.judge().await
    }

    async fn stop(&self, engine: Engine) -> Result<(), String> {
        let limit = Duration::from_secs(60);
        let stopped = engine.shutdown(limit).await;
        stopped.map(|_| ()).map_err(|error| format!("{error}"))
    }

    async fn restart(&mut self, engine: Engine) -> Result<Engine, String> {
        self.stop(engine).await?;
        self.start(true).await
    }

    #[allow(clippy::expect_used, reason = "the endpoint is a valid URL")]
    fn client(&mut self, has_faults: bool) -> Client {
        let lost_per_mille = match has_faults && !self.is_calm {
            true => 60,
            false => 0,
        };
        let transport = Faulty {
            server: self.server.clone(),
            clock: self.clock.clone(),
            rng: std::sync::Mutex::new(Rng::new(self.rng.bits())),
            lost_per_mille,
        };
        let builder = Client::builder(Arc::new(transport))
            .clock(self.clock.clock())
            .endpoint("http://kinesis.simulated");
        builder.build().expect("a valid endpoint")
    }

    fn spec(&mut self, index: usize, has_faults: bool) -> Result<OutputSpec, String> {
        let (name, _, aggregates) = OUTPUTS[index];
        let options = OutputOptions {
            route: Route::PartitionKey,
            aggregates,
        };
        let pump = PumpRef {
            pump: Arc::clone(&self.pump) as _,
            stream: 0,
        };
        Ok(OutputSpec {
            id: OutputId::new(name),
            output: Arc::new(KinesisOutput::new(
                self.client(has_faults),
                stream(name)?,
                options,
            )),
            place: None,
            order: self.order,
            start: Start::TrimHorizon,
            paused: false,
            dead_letter: None,
            pump: (aggregates != Aggregates::PassOn).then_some(pump),
        })
    }

    async fn start(&mut self, has_faults: bool) -> Result<Engine, String> {
        let outputs = (0..OUTPUTS.len()).map(|index| self.spec(index, has_faults));
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let fan_out = FanOut {
            name: "sim".to_owned(),
            // The source works: its failures are played on the other levels.
            source: Arc::new(KinesisSource::new(self.client(false), stream(SOURCE)?)),
            outputs,
            store: Arc::new(self.store.clone()),
            ownership: None,
            budget: None,
            clock: self.clock.clock(),
            settings: Settings {
                checkpoint_interval: Duration::from_millis(300),
                ..Settings::default()
            },
        };
        let started = Engine::start(fan_out).await;
        started.map_err(|error| format!("the engine did not start: {error}"))
    }

    /// Writes aggregates, plain records, damaged aggregates.
    async fn put_some(&mut self) -> Result<(), String> {
        let mut entries = Vec::new();
        for _ in 0..self.rng.between(1, 12) {
            let (key, data) = self.record();
            entries.push(PutRecordsRequestEntry {
                data: Some(data.into()),
                partition_key: Some(key),
                explicit_hash_key: None,
            });
        }
        let request = PutRecordsRequest {
            stream_name: Some(SOURCE.to_owned()),
            records: Some(entries),
            ..Default::default()
        };
        let put = call(&self.server, &request).await;
        put.map(|_| ()).map_err(|error| error.to_string())
    }

    /// A record for the source; its user records are noted.
    fn record(&mut self) -> (String, Vec<u8>) {
        if self.rng.below(4) == 0 {
            let user = self.user();
            return user;
        }

        let count = *self.rng.pick(&[1, 2, 5, 30, 700]);
        let users: Vec<(User, Option<u128>)> = (0..count)
            .map(|_| {
                let random = u128::from(self.rng.bits()) << 64;
                let hash_key = (self.rng.below(8) == 0).then_some(random);
                (self.user(), hash_key)
            })
            .collect();
        let mut packer = Packer::default();
        for ((key, data), hash_key) in &users {
            packer.push(key, *hash_key, data);
        }
        let mut data = packer.finish();

        if self.rng.below(10) == 0 {
            // Damaged: an ordinary record of the key `a`.
            let last = data.len() - 1;
            data[last] ^= 1;
            for (user, _) in &users {
                self.put.remove(user);
            }
            self.put.insert(("a".to_owned(), data.clone()), 1);
        }
        ("a".to_owned(), data)
    }

    fn user(&mut self) -> User {
        let key = format!("key-{}", self.rng.below(30));
        let mut data = (self.put.len() as u64).to_be_bytes().to_vec();
        data.extend_from_slice(&self.rng.bits().to_be_bytes());
        let user = (key, data);
        self.put.insert(user.clone(), 1);
        user
    }

    /// Changes the number of shards of an output.
    async fn reshard_one(&mut self) {
        let (name, _, _) = *self.rng.pick(&OUTPUTS);
        let request = UpdateShardCountRequest {
            stream_name: Some(name.to_owned()),
            target_shard_count: i32::try_from(self.rng.between(1, 9)).ok(),
            scaling_type: Some(ScalingType::UniformScaling),
            ..Default::default()
        };
        // The server refuses more than the double and less than half.
        _ = call(&self.server, &request).await;
    }

    async fn judge(&self) -> Result<(), String> {
        for (name, _, _) in OUTPUTS {
            let found = self.read(name).await?;
            if let Some((key, _)) = self.put.keys().find(|user| !found.contains_key(*user)) {
                let lost = self.put.keys().filter(|user| !found.contains_key(*user));
                let count = lost.count();
                return Err(format!(
                    "{name}: {count} user records are missing, one of {key}"
                ));
            }
            if found.len() != self.put.len() {
                return Err(format!("{name}: there are user records that nobody put"));
            }
            let repeats = found.values().filter(|count| **count > 1).count();
            if self.is_calm && repeats > 0 {
                let problem = "user records stand there twice";
                return Err(format!("{name}: {repeats} {problem}"));
            }
        }
        Ok(())
    }

    /// The user records of an output that a KCL would see, and how often.
    async fn read(&self, name: &str) -> Result<BTreeMap<User, usize>, String> {
        let request = ListShardsRequest {
            stream_name: Some(name.to_owned()),
            ..Default::default()
        };
        let listed = call(&self.server, &request).await;
        let shards = listed.map_err(|error| error.to_string())?.shards;
        let mut found = BTreeMap::new();
        for shard in shards.unwrap_or_default() {
            self.read_shard(name, &shard, &mut found).await?;
        }
        Ok(found)
    }

    async fn read_shard(
        &self,
        name: &str,
        shard: &Shard,
        found: &mut BTreeMap<User, usize>,
    ) -> Result<(), String> {
        let request = GetShardIteratorRequest {
            stream_name: Some(name.to_owned()),
            shard_id: Some(shard.shard_id.clone()),
            shard_iterator_type: Some(ShardIteratorType::TrimHorizon),
            ..Default::default()
        };
        let first = call(&self.server, &request).await;
        let mut iterator = first.map_err(|error| error.to_string())?.shard_iterator;
        let range = shard.hash_key_range.as_ref().and_then(HashRange::from_wire);
        let range = range.ok_or("a shard without a hash range")?;

        while let Some(shard_iterator) = iterator.take() {
            let request = GetRecordsRequest {
                shard_iterator: Some(shard_iterator),
                ..Default::default()
            };
            let page = call(&self.server, &request).await;
            let page = page.map_err(|error| error.to_string())?;
            let is_end = page.records.is_empty() && page.millis_behind_latest == Some(0);
            for record in &page.records {
                let key = record.partition_key.as_deref().unwrap_or_default();
                for user in users_of(key, record.data.0.as_ref(), &range) {
                    *found.entry(user).or_default() += 1;
                }
            }
            iterator = page.next_shard_iterator.filter(|_| !is_end);
        }
        Ok(())
    }
}

/// A calm run has no `strict`: records beyond an open one of another key are sent again after a
/// restart, which is no fault.
fn order(is_calm: bool, rng: &mut Rng) -> Order {
    match is_calm {
        true => *rng.pick(&[Order::Resend, Order::Unordered]),
        false => *rng.pick(&[Order::Resend, Order::Strict, Order::Unordered]),
    }
}

/// A tenth of the entries to each output fails.
fn fail_entries(server: &Local) {
    let entries = Entries {
        probability: Some(0.1),
        ..Entries::default()
    };
    for (name, _, _) in OUTPUTS {
        let fail = Action::FailEntries(entries.clone());
        let rule = Rule::always(Operation::PutRecords, fail).stream(name);
        // The rule is a valid one.
        _ = server.faults().add(rule);
    }
}

/// The user records of a record, as the KCL finds them in a shard of `range`.
fn users_of(key: &str, data: &[u8], range: &HashRange) -> Vec<User> {
    let Ok(aggregate) = Aggregate::parse(data) else {
        return vec![(key.to_owned(), data.to_vec())];
    };

    let mut users = Vec::new();
    for user in aggregate.records() {
        let of_key = || hashkey::of_partition_key(user.key);
        if !range.contains(user.explicit_hash_key.unwrap_or_else(of_key)) {
            return Vec::new();
        }
        users.push((user.key.to_owned(), user.data.to_vec()));
    }
    users
}

fn stream(name: &str) -> Result<StreamRef, String> {
    name.parse().map_err(|error| format!("{error}"))
}
