//! A source that pushes: subscriptions wait for records without memory.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Position;
use distributary_core::clock::Millis;
use distributary_core::engine::{Engine, FanOut, Order, OutputSpec, Settings, Start};
use distributary_core::output::{RequestLimits, Trouble, TroubleKind};
use distributary_core::source::{
    Credit, Read, ServerTime, Shard, ShardReader, Source, SourceError, SourceFacts, StreamIdentity,
};
use distributary_core::store::OutputId;
use distributary_core::testing::{
    FakeService, FakeStore, READ_LIMITS, Rng, ServiceSettings, TestClock,
};

/// A stream of idle shards.
struct IdleStream {
    shards: usize,
}

/// A subscription without an event.
struct IdleSubscription;

#[async_trait]
impl ShardReader for IdleSubscription {
    async fn ready(&mut self) -> Result<(), SourceError> {
        std::future::pending().await
    }

    async fn next(&mut self, _: Credit) -> Result<Read, SourceError> {
        let text = "read before it was ready";
        Err(Trouble::new(TroubleKind::Invalid, text))
    }
}

#[async_trait]
impl Source for IdleStream {
    async fn facts(&self) -> Result<SourceFacts, SourceError> {
        Ok(SourceFacts {
            identity: StreamIdentity {
                arn: "arn:aws:kinesis:eu-west-1:1:stream/idle".to_owned(),
                created: None,
            },
            retention: Duration::from_secs(86_400),
            time: ServerTime {
                earliest: Millis(0),
                latest: Millis(1),
            },
            limits: READ_LIMITS,
        })
    }

    async fn shards(&self) -> Result<Vec<Shard>, SourceError> {
        let shard = |i| Shard {
            id: ShardId::new(&format!("shardId-{i:012}")),
            parents: Vec::new(),
            hash_range: None,
            start: None,
            closed: false,
        };
        Ok((0..self.shards).map(shard).collect())
    }

    fn open(&self, _: &ShardId, _: Position) -> Box<dyn ShardReader> {
        Box::new(IdleSubscription)
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_idle_subscriptions_reserve_no_memory() {
    let clock = TestClock::new(1);
    let settings = ServiceSettings {
        name: "service".to_owned(),
        shards: 1,
        rate: None,
    };
    let service = FakeService::new(settings, &clock, Rng::new(2), Arc::new(()));
    let limits = RequestLimits {
        entries: 500,
        bytes: 1 << 20,
    };
    let output = OutputSpec {
        id: OutputId::new("output"),
        output: Arc::new(service.output("fake", limits)),
        place: None,
        order: Order::Resend,
        start: Start::TrimHorizon,
        paused: false,
        dead_letter: None,
        pump: None,
    };
    let engine = Engine::start(FanOut {
        name: "push".to_owned(),
        source: Arc::new(IdleStream { shards: 1000 }),
        outputs: vec![output],
        store: Arc::new(FakeStore::new(&clock, Rng::new(3), Arc::new(()))),
        ownership: None,
        budget: None,
        clock: clock.clock(),
        settings: Settings::default(),
    })
    .await
    .unwrap();

    clock.clock().sleep(Duration::from_secs(10)).await;
    let status = engine.status();
    assert_eq!(status.source.shards_reading, 1000);
    assert_eq!(status.source.failed, 0);
    assert_eq!((status.memory.used, status.memory.peak), (0, 0));
}
