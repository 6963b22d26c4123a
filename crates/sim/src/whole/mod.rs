//! The whole path around the engine: the Kinesis client as it is, an embedded Kinesis as it is, and between the two a network
//! that is drawn from the seed. All in one process and one thread, on the run's clock.

mod fate;
mod link;
mod output;
mod records;
mod server;
mod stand;
mod wire;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Sequence;
use distributary_core::clock::Millis;
use distributary_core::output::{Output, RequestLimits, TroubleKind};
use distributary_core::source::Source;
use distributary_core::sync::lock;
use distributary_core::testing::{Mood, OutputFaults, ReadFaults, Rng, TestClock};
use distributary_kinesis::client::Client;
use distributary_kinesis::names::StreamRef;
use distributary_kinesis::output::{KinesisOutput, OutputOptions, Route};
use distributary_kinesis::source::KinesisSource;
use distributary_local::{Delays, Local, Settings};
use distributary_wire::codec::Format;
use distributary_wire::hashkey::HashRange;
use distributary_wire::types::{
    CreateStreamRequest, DeleteStreamRequest, DescribeStreamSummaryRequest,
    GetShardIteratorRequest, ListShardsRequest, MergeShardsRequest, PutRecordsRequest,
    PutRecordsRequestEntry, ScalingType, Shard, ShardIteratorType, SplitShardRequest,
    UpdateShardCountRequest,
};

use crate::parts::{Live, Parts};
use crate::run::Eye;
use crate::scenario::{OutputShape, Scenario, Shape, WholeShape};
use crate::truth::Put;
use link::{Link, LinkSettings, Way};
use output::Watched;
use records::{Kept, Records, digest};
use server::{World, ask};

/// The stream that is read.
const SOURCE: &str = "source";
/// Bytes that go to the source in one request.
const PUT_BYTES: usize = 4 << 20;
/// How long a stream keeps records.
const RETENTION: Duration = Duration::from_secs(24 * 3600);
/// Shards that the source has at most.
const MOST_SHARDS: usize = 8;

/// What differs between one client of a stream and another.
#[derive(Clone, Copy, Debug)]
struct Ways {
    /// Only this encoding; `None`: what the client finds out.
    format: Option<Format>,
    /// The stream is named by its ARN.
    by_arn: bool,
    route: Route,
}

/// A service: a stream that is written to.
struct Service {
    link: Arc<Link>,
    ways: Ways,
    deleted: bool,
}

/// See the module.
pub(crate) struct Whole {
    seed: u64,
    shape: Shape,
    whole: WholeShape,
    clock: TestClock,
    eye: Arc<Eye>,
    /// The source's server, and its clock.
    origin: (Local, Arc<World>),
    /// The outputs' servers: one that takes what comes, and one with AWS's limits.
    servers: [Local; 2],
    source: (Arc<Link>, Ways),
    services: BTreeMap<String, Service>,
    records: Arc<Mutex<Records>>,
    live: Arc<AtomicUsize>,
}

impl Ways {
    /// How a client and its server get on: the encoding, and how the server refuses CBOR, if it does.
    fn draw(rng: &mut Rng) -> (Self, Option<u64>) {
        let (format, no_cbor) = match rng.below(5) {
            0 | 1 => (None, None),
            2 => (Some(Format::Cbor), None),
            3 => (Some(Format::Json), None),
            _ => (None, Some(rng.below(3))),
        };
        let route = if rng.below(4) == 0 {
            Route::SourceShard
        } else {
            Route::PartitionKey
        };
        (
            Self {
                format,
                by_arn: rng.below(2) == 0,
                route,
            },
            no_cbor,
        )
    }
}

fn server(settings: Settings, clock: &TestClock, rng: &mut Rng) -> (Local, Arc<World>) {
    let world = Arc::new(World::new(clock, rng.fork("world")));
    let settings = Settings {
        seed: Some(rng.bits()),
        ..settings
    };
    (
        Local::builder()
            .settings(settings)
            .env(world.clone())
            .build(),
        world,
    )
}

impl Whole {
    /// The source with its shards, and no service yet.
    pub(crate) fn new(
        scenario: &Scenario,
        whole: &WholeShape,
        clock: &TestClock,
        eye: &Arc<Eye>,
    ) -> Self {
        let rng = Rng::new(scenario.seed).fork("whole path");
        let shape = scenario.shape.clone();
        let delays = Delays {
            update: whole.update,
            create: whole.create,
            ..Delays::NONE
        };
        let settings = |limits| Settings {
            delays,
            enforce_limits: limits,
            trimmed_position: whole.trimmed,
            answer_bytes: shape.stream.answer_bytes,
            ..Settings::default()
        };
        let origin = server(settings(whole.limits), clock, &mut rng.fork("origin"));
        let servers = [false, true].map(|limits| {
            server(
                settings(limits),
                clock,
                &mut rng.fork(if limits { "limited" } else { "free" }),
            )
            .0
        });
        // Names of a few characters, and a number that is at least one: neither is refused.
        let shards = u32::try_from(shape.stream.shards).unwrap_or(1).max(1);
        _ = origin.0.create_stream(SOURCE, shards);
        let (ways, no_cbor) = Ways::draw(&mut rng.fork("ways of the source"));
        let (records, live) = (Arc::default(), Arc::default());
        let settings = LinkSettings {
            name: SOURCE.to_owned(),
            stream: SOURCE.to_owned(),
            is_source: true,
            no_cbor,
            dated: whole.dated,
        };
        let link = Link::new(
            settings,
            &origin.0,
            clock,
            rng.fork("source"),
            eye,
            &records,
            &live,
        );
        link.set_reads(shape.calm);
        Self {
            seed: scenario.seed,
            shape,
            whole: whole.clone(),
            clock: clock.clone(),
            eye: Arc::clone(eye),
            origin,
            servers,
            source: (link, ways),
            services: BTreeMap::new(),
            records,
            live,
        }
    }

    /// A client as a process makes it when it starts: it knows nothing of its server.
    #[allow(clippy::expect_used, reason = "the endpoint is a URL")]
    fn client(&self, link: &Arc<Link>, ways: Ways) -> Client {
        let client = Client::builder(Arc::new(Way(Arc::clone(link)))).clock(self.clock.clock());
        let client = client.endpoint("http://kinesis.simulated");
        let client = if let Some(format) = ways.format {
            client.format(format)
        } else {
            client
        };
        client.build().expect("an endpoint")
    }

    #[allow(clippy::expect_used, reason = "names of a few letters and digits")]
    fn stream(link: &Link, ways: Ways) -> StreamRef {
        let name = &link.stream;
        let arn = format!("arn:aws:kinesis:us-east-1:000000000000:stream/{name}");
        let text = if ways.by_arn { arn.as_str() } else { name };
        text.parse().expect("a stream's name")
    }

    /// The source's shards, open ones in the order of their hash ranges first.
    async fn shards(&self) -> Vec<(HashRange, Shard)> {
        let request = ListShardsRequest {
            stream_name: Some(SOURCE.to_owned()),
            ..Default::default()
        };
        let listed = ask(&self.origin.0, &request)
            .await
            .ok()
            .and_then(|a| a.shards)
            .unwrap_or_default();
        let range = |s: &Shard| s.hash_key_range.as_ref().and_then(HashRange::from_wire);
        let mut shards: Vec<_> = listed
            .into_iter()
            .filter_map(|s| Some((range(&s)?, s)))
            .collect();
        shards.sort_by_key(|(range, shard)| (is_closed(shard), *range));
        shards
    }

    async fn open_shards(&self) -> Vec<(HashRange, Shard)> {
        let mut shards = self.shards().await;
        shards.retain(|(_, shard)| !is_closed(shard));
        shards
    }

    /// Tells the truth of the shards that there are.
    async fn learn_shards(&self) {
        let shards = self.shards().await;
        let mut lineage = BTreeMap::new();
        let mut records = lock(&self.records);
        for (range, shard) in &shards {
            let parents = [&shard.parent_shard_id, &shard.adjacent_parent_shard_id];
            let parents = parents
                .into_iter()
                .flatten()
                .map(|id| ShardId::new(id))
                .collect();
            let id = ShardId::new(&shard.shard_id);
            records.starts.insert(id.clone(), range.start.to_string());
            lineage.insert(id, parents);
        }
        drop(records);
        self.eye.truth().lineage(&lineage);
    }

    /// Writes these to the source, in one request.
    async fn put_some(&self, some: Vec<(String, Vec<u8>)>) {
        if some.is_empty() {
            return;
        }
        let entry = |(key, data): &(String, Vec<u8>)| PutRecordsRequestEntry {
            data: Some(data.clone().into()),
            partition_key: Some(key.clone()),
            explicit_hash_key: None,
        };
        let request = PutRecordsRequest {
            stream_name: Some(SOURCE.to_owned()),
            records: Some(some.iter().map(entry).collect()),
            ..Default::default()
        };
        let arrival = self.clock.server();
        // A source that is over its limits has not got them: the producer goes without.
        let Ok(answer) = ask(&self.origin.0, &request).await else {
            return;
        };
        let known = |shard: &ShardId| lock(&self.records).starts.contains_key(shard);
        for (entry, (key, data)) in answer.records.into_iter().zip(some) {
            let (Some(sequence), Some(shard)) = (entry.sequence_number, entry.shard_id) else {
                continue;
            };
            let shard = ShardId::new(&shard);
            if !known(&shard) {
                self.learn_shards().await;
            }
            let (digest, size) = (digest(&data), data.len() + key.len());
            self.eye.truth().put(&Put {
                shard: &shard,
                sequence: &Sequence::new(&sequence),
                arrival,
                key: Some(&key),
                digest,
                size,
            });
            let arrival = arrival.0;
            lock(&self.records).add(Kept {
                key,
                digest,
                shard,
                sequence,
                arrival,
                gone: false,
            });
        }
    }

    fn server_of(&self, shape: &OutputShape) -> &Local {
        &self.servers[usize::from(shape.service.rate.is_some())]
    }
}

fn is_closed(shard: &Shard) -> bool {
    shard
        .sequence_number_range
        .as_ref()
        .is_some_and(|r| r.ending_sequence_number.is_some())
}

#[async_trait(?Send)]
impl Parts for Whole {
    fn live(&self) -> Live {
        let live = Arc::clone(&self.live);
        Arc::new(move || live.load(Ordering::Relaxed))
    }

    fn source(&self) -> Arc<dyn Source> {
        let (link, ways) = &self.source;
        Arc::new(KinesisSource::with_limits(
            self.client(link, *ways),
            Self::stream(link, *ways),
            self.shape.stream.limits,
        ))
    }

    async fn put(&mut self, count: u64, seed: u64) {
        let mut rng = Rng::new(seed);
        let (mut some, mut bytes) = (Vec::new(), 0);
        for _ in 0..count {
            let key = self.shape.keys.draw(&mut rng).unwrap_or_default();
            let data = self.shape.sizes.draw(&mut rng);
            let size = data.len() + key.len();
            if some.len() == 500 || bytes + size > PUT_BYTES {
                self.put_some(std::mem::take(&mut some)).await;
                bytes = 0;
            }
            bytes += size;
            some.push((key, data));
        }
        self.put_some(some).await;
    }

    async fn split(&mut self, i: usize) {
        let open = self.open_shards().await;
        if open.is_empty() || open.len() >= MOST_SHARDS {
            return;
        }
        let (range, shard) = &open[i % open.len()];
        let middle = range.start + (range.end - range.start) / 2 + 1;
        let request = SplitShardRequest {
            stream_name: Some(SOURCE.to_owned()),
            shard_to_split: Some(shard.shard_id.clone()),
            new_starting_hash_key: Some(middle.to_string()),
            ..Default::default()
        };
        // A stream that is being changed, or a shard that is too narrow: then not.
        _ = ask(&self.origin.0, &request).await;
        self.learn_shards().await;
    }

    async fn merge(&mut self, i: usize) {
        let open = self.open_shards().await;
        if open.len() < 2 {
            return;
        }
        let i = i % (open.len() - 1);
        let request = MergeShardsRequest {
            stream_name: Some(SOURCE.to_owned()),
            shard_to_merge: Some(open[i].1.shard_id.clone()),
            adjacent_shard_to_merge: Some(open[i + 1].1.shard_id.clone()),
            ..Default::default()
        };
        _ = ask(&self.origin.0, &request).await;
        self.learn_shards().await;
    }

    fn set_reads(&mut self, faults: ReadFaults) {
        self.source.0.set_reads(faults);
    }

    async fn expire(&mut self, age: Duration) -> bool {
        let before = self.shards().await.len();
        // For a moment it is so late that this is what retention deletes.
        let ahead = RETENTION.saturating_sub(age);
        self.origin
            .1
            .set_ahead(u64::try_from(ahead.as_millis()).unwrap_or(0));
        let left = self.shards().await;
        for (_, shard) in &left {
            // Whoever asks for the oldest record has what is older deleted.
            let request = GetShardIteratorRequest {
                stream_name: Some(SOURCE.to_owned()),
                shard_id: Some(shard.shard_id.clone()),
                shard_iterator_type: Some(ShardIteratorType::TrimHorizon),
                ..Default::default()
            };
            _ = ask(&self.origin.0, &request).await;
        }
        self.origin.1.set_ahead(0);
        // No iterator is good for as long as that takes.
        self.origin.0.faults().expire_iterators();
        let cutoff = self.clock.server().minus(age);
        let mut gone = Vec::new();
        let mut records = lock(&self.records);
        records.lost_shards |= left.len() < before;
        for (n, record) in records.all.iter_mut().enumerate() {
            if !record.gone && Millis(record.arrival) < cutoff {
                record.gone = true;
                gone.push(n);
            }
        }
        drop(records);
        self.eye.truth().trimmed(&gone);
        !gone.is_empty()
    }

    fn add_service(&mut self, name: &str, shape: &OutputShape) {
        let mut rng = Rng::new(self.seed).fork("whole path").fork(name);
        let (ways, no_cbor) = Ways::draw(&mut rng);
        let local = self.server_of(shape).clone();
        let shards = u32::try_from(shape.service.shards).unwrap_or(1).max(1);
        _ = local.create_stream(name, shards);
        let settings = LinkSettings {
            name: name.to_owned(),
            stream: name.to_owned(),
            is_source: false,
            no_cbor,
            dated: self.whole.dated,
        };
        let link = Link::new(
            settings,
            &local,
            &self.clock,
            rng,
            &self.eye,
            &self.records,
            &self.live,
        );
        link.set_writes(shape.faults);
        self.services.insert(
            name.to_owned(),
            Service {
                link,
                ways,
                deleted: false,
            },
        );
    }

    #[allow(
        clippy::expect_used,
        reason = "a run names only services that it added"
    )]
    fn output(&self, service: &str, shape: &OutputShape) -> Arc<dyn Output> {
        let Service { link, ways, .. } = self
            .services
            .get(service)
            .expect("a service that was added");
        let route = ways.route;
        let stream = Self::stream(link, *ways);
        Arc::new(Watched {
            inner: KinesisOutput::new(self.client(link, *ways), stream, OutputOptions { route }),
            link: Arc::clone(link),
            limits: RequestLimits { ..shape.limits },
            route,
            records: Arc::clone(&self.records),
            live: Arc::clone(&self.live),
        })
    }

    fn set_faults(&mut self, service: &str, faults: OutputFaults) {
        self.services
            .get(service)
            .inspect(|s| s.link.set_writes(faults));
    }

    async fn set_mood(&mut self, service: &str, mood: Mood) {
        let Some(Service { link, deleted, .. }) = self.services.get_mut(service) else {
            return;
        };
        link.set_mood(mood);
        let missing = mood == Mood::Rejects(TroubleKind::Missing);
        if missing == *deleted {
            return;
        }
        let name = Some(link.stream.clone());
        let done = if missing {
            let request = DeleteStreamRequest {
                stream_name: name,
                ..Default::default()
            };
            ask(&link.local, &request).await.is_ok()
        } else {
            let shard_count = Some(1 + i32::try_from(self.seed % 3).unwrap_or(0));
            let request = CreateStreamRequest {
                stream_name: name,
                shard_count,
                ..Default::default()
            };
            ask(&link.local, &request).await.is_ok()
        };
        if done {
            *deleted = missing;
            link.clear();
        }
    }

    async fn reshard(&mut self, service: &str, shards: usize) {
        let Some(Service { link, .. }) = self.services.get(service) else {
            return;
        };
        let stream_name = Some(link.stream.clone());
        let request = DescribeStreamSummaryRequest {
            stream_name: stream_name.clone(),
            ..Default::default()
        };
        let Ok(answer) = ask(&link.local, &request).await else {
            return;
        };
        let open = answer.stream_description_summary.open_shard_count;
        let target = i32::try_from(shards)
            .unwrap_or(1)
            .clamp((open + 1) / 2, open * 2);
        let request = UpdateShardCountRequest {
            stream_name,
            target_shard_count: Some(target),
            scaling_type: Some(ScalingType::UniformScaling),
            ..Default::default()
        };
        // A stream that is being changed, or too many changes: then not.
        _ = ask(&link.local, &request).await;
    }

    fn refuse(&mut self, service: &str, number: u128, refused: bool) {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        self.services
            .get(service)
            .inspect(|s| s.link.refuse(number, refused));
    }

    async fn judge_end(&mut self, services: &[String]) {
        for name in services {
            let Some(Service { link, ways, .. }) = self.services.get(name) else {
                continue;
            };
            if let Err((line, what)) =
                stand::judge(link, ways.route, &self.records, &self.clock).await
            {
                self.eye.truth().violate(line, format!("{name}: {what}"));
            }
        }
    }
}
