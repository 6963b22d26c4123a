//! The whole path around the engine: the real Kinesis client and embedded Kinesis servers, with a
//! simulated network between them. Everything runs in one thread on the run's clock.

mod aggregates;
mod call;
mod client;
mod end_state;
mod fate;
mod link;
mod output;
mod put_records;
mod records;
mod server;
mod service;
mod signing_time;
mod source;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::output::Output;
use distributary_core::source::Source;
use distributary_core::testing::{Mood, OutputFaults, ReadFaults, Rng, TestClock};
use distributary_kinesis::output::{KinesisOutput, OutputOptions};
use distributary_kinesis::source::KinesisSource;
use distributary_local::{Delays, Local, Settings};

use crate::environment::{Environment, LiveBytes};
use crate::run::RunObserver;
use crate::scenario::{OutputShape, Scenario, Shape, WholeShape};
pub use aggregates::play_aggregates;
use client::ClientOptions;
use link::{CborRefusal, Link, LinkContext, LinkSettings};
use output::ObservedOutput;
use server::ServerEnvironment;
use service::Service;
use source::{SOURCE, SourceStream};

/// The source, the services and the network of a run.
pub(crate) struct WholePath {
    seed: u64,
    shape: Shape,
    whole: WholeShape,
    context: LinkContext,
    source: SourceStream,
    /// The server of services without a rate, and the server with AWS's limits.
    servers: [Local; 2],
    services: BTreeMap<String, Service>,
}

impl WholePath {
    /// The source with its shards; no services yet.
    pub(crate) fn new(
        scenario: &Scenario,
        whole: &WholeShape,
        clock: &TestClock,
        observer: &Arc<RunObserver>,
    ) -> Self {
        let rng = Rng::new(scenario.seed).fork("whole path");
        let shape = scenario.shape.clone();
        let context = LinkContext {
            clock: clock.clone(),
            observer: Arc::clone(observer),
            records: Arc::default(),
            live: Arc::default(),
        };

        let servers = [(false, "free"), (true, "limited")].map(|(limits, name)| {
            let settings = server_settings(&shape, whole, limits);
            new_server(settings, clock, &mut rng.fork(name)).0
        });
        let source = new_source(&shape, whole, &context, &rng);
        observer.truth().starts_tell_nothing();
        Self {
            seed: scenario.seed,
            shape,
            whole: whole.clone(),
            context,
            source,
            servers,
            services: BTreeMap::new(),
        }
    }

    fn server_of(&self, shape: &OutputShape) -> &Local {
        let [free, limited] = &self.servers;
        match shape.service.rate {
            None => free,
            Some(_) => limited,
        }
    }
}

fn server_settings(shape: &Shape, whole: &WholeShape, limits: bool) -> Settings {
    Settings {
        delays: Delays {
            update: whole.updating,
            create: whole.creating,
            ..Delays::NONE
        },
        enforce_limits: limits,
        trimmed_position: whole.trimmed_position,
        answer_bytes: shape.stream.answer_bytes,
        ..Settings::default()
    }
}

fn new_server(
    settings: Settings,
    clock: &TestClock,
    rng: &mut Rng,
) -> (Local, Arc<ServerEnvironment>) {
    let environment = Arc::new(ServerEnvironment::new(clock, rng.fork("world")));
    let settings = Settings {
        seed: Some(rng.bits()),
        ..settings
    };
    let server = Local::builder()
        .settings(settings)
        .env(environment.clone())
        .build();
    (server, environment)
}

fn new_source(shape: &Shape, whole: &WholeShape, context: &LinkContext, rng: &Rng) -> SourceStream {
    let settings = server_settings(shape, whole, whole.enforce_limits);
    let (server, environment) = new_server(settings, &context.clock, &mut rng.fork("origin"));
    create_stream(&server, SOURCE, shape.stream.shards);

    let (options, cbor_refusal) = ClientOptions::draw(&mut rng.fork("ways of the source"));
    let settings = LinkSettings {
        is_source: true,
        ..link_settings(SOURCE, cbor_refusal, whole)
    };
    let link = Link::new(settings, &server, rng.fork("source"), context.clone());
    link.set_reads(shape.calm);

    SourceStream {
        server,
        environment,
        link,
        options,
        context: context.clone(),
    }
}

/// The settings of a service's link; the stream has the service's name.
fn link_settings(
    name: &str,
    cbor_refusal: Option<CborRefusal>,
    whole: &WholeShape,
) -> LinkSettings {
    LinkSettings {
        name: name.to_owned(),
        stream: name.to_owned(),
        is_source: false,
        cbor_refusal,
        dated: whole.dated,
    }
}

/// Creates a stream with at least one shard. The names of a run are valid and new.
fn create_stream(server: &Local, name: &str, shards: usize) {
    let shards = u32::try_from(shards).unwrap_or(1).max(1);
    _ = server.create_stream(name, shards);
}

#[async_trait(?Send)]
impl Environment for WholePath {
    fn live_bytes(&self) -> LiveBytes {
        let live = Arc::clone(&self.context.live);
        Arc::new(move || live.load(Ordering::Relaxed))
    }

    fn source(&self) -> Arc<dyn Source> {
        let SourceStream { link, options, .. } = &self.source;
        Arc::new(KinesisSource::with_limits(
            options.client(link),
            options.stream(link),
            self.shape.stream.limits,
        ))
    }

    async fn put(&mut self, count: u64, seed: u64) {
        let mut rng = Rng::new(seed);
        let Shape { keys, sizes, .. } = &self.shape;
        let records = (0..count).map(|_| {
            let key = keys.draw(&mut rng).unwrap_or_default();
            (key, sizes.draw(&mut rng))
        });
        self.source.put(records).await;
    }

    async fn split(&mut self, i: usize) {
        self.source.split(i).await;
    }

    async fn merge(&mut self, i: usize) {
        self.source.merge(i).await;
    }

    fn set_reads(&mut self, faults: ReadFaults) {
        self.source.link.set_reads(faults);
    }

    async fn expire(&mut self, age: Duration) -> bool {
        self.source.expire(age).await
    }

    fn add_service(&mut self, name: &str, shape: &OutputShape) {
        let mut rng = Rng::new(self.seed).fork("whole path").fork(name);
        let (options, cbor_refusal) = ClientOptions::draw(&mut rng);
        let server = self.server_of(shape);
        create_stream(server, name, shape.service.shards);

        let settings = link_settings(name, cbor_refusal, &self.whole);
        let link = Link::new(settings, server, rng, self.context.clone());
        link.set_writes(shape.faults);
        let service = Service {
            link,
            options,
            deleted: false,
        };
        self.services.insert(name.to_owned(), service);
    }

    #[allow(
        clippy::expect_used,
        reason = "a run names only services that were added"
    )]
    fn output(&self, service: &str, shape: &OutputShape) -> Arc<dyn Output> {
        let service = self.services.get(service).expect("an added service");
        let Service { link, options, .. } = service;
        let route = options.route;
        let kinesis = OutputOptions {
            route,
            ..OutputOptions::default()
        };

        Arc::new(ObservedOutput {
            inner: KinesisOutput::new(options.client(link), options.stream(link), kinesis),
            link: Arc::clone(link),
            limits: shape.limits,
            route,
            records: Arc::clone(&self.context.records),
            live: Arc::clone(&self.context.live),
        })
    }

    fn set_faults(&mut self, service: &str, faults: OutputFaults) {
        if let Some(service) = self.services.get(service) {
            service.link.set_writes(faults);
        }
    }

    async fn set_mood(&mut self, service: &str, mood: Mood) {
        let shards = 1 + i32::try_from(self.seed % 3).unwrap_or(0);
        if let Some(service) = self.services.get_mut(service) {
            service.set_mood(mood, shards).await;
        }
    }

    async fn reshard(&mut self, service: &str, shards: usize) {
        if let Some(service) = self.services.get(service) {
            service.reshard(shards).await;
        }
    }

    fn refuse(&mut self, service: &str, number: u128, refused: bool) {
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        if let Some(service) = self.services.get(service) {
            service.link.refuse(number, refused);
        }
    }

    async fn check_end(&mut self, services: &[String]) {
        for name in services {
            let Some(Service { link, options, .. }) = self.services.get(name) else {
                continue;
            };
            let checked = end_state::check(link, options.route, &self.context.records).await;
            if let Err((line, problem)) = checked {
                let mut truth = self.context.observer.truth();
                truth.violate(line, format!("{name}: {problem}"));
            }
        }
    }
}
