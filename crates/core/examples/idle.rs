//! The engine's own cost while many shards have nothing, or little, to read: runs a fan-out over
//! fakes for some simulated time and exits. Count the instructions from outside, once with and once
//! without the time:
//!
//! ```text
//! cargo build --release -p distributary-core --example idle
//! valgrind --tool=callgrind target/release/examples/idle SHARDS OUTPUTS SECONDS [RECORDS]
//! ```
//!
//! `RECORDS`: the records that arrive in each shard each second (default 0).

use std::num::ParseIntError;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::clock::Clock;
use distributary_core::engine::{Engine, FanOut, Order, OutputSpec, Settings, Start};
use distributary_core::output::RequestLimits;
use distributary_core::store::OutputId;
use distributary_core::testing::{
    FakeService, FakeStore, FakeStream, Observer, Rng, ServiceSettings, StreamSettings, TestClock,
};

const LIMITS: RequestLimits = RequestLimits {
    entries: 500,
    bytes: 5 << 20,
};

/// Time until every lane has found its shard empty.
const WARM_UP: Duration = Duration::from_secs(20);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let numbers: Result<Vec<usize>, ParseIntError> =
        std::env::args().skip(1).map(|text| text.parse()).collect();
    let numbers = numbers?;
    let (&[shards, outputs, seconds] | &[shards, outputs, seconds, _]) = &numbers[..] else {
        return Err("usage: idle SHARDS OUTPUTS SECONDS [RECORDS]".into());
    };
    let records = numbers.get(3).copied().unwrap_or(0);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()?;
    runtime.block_on(idle(shards, outputs, seconds, records))
}

async fn idle(
    shards: usize,
    outputs: usize,
    seconds: usize,
    records: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let clock = TestClock::new(1);
    let stream = stream(&clock, shards);
    let outputs: Vec<OutputSpec> = (0..outputs).map(|i| output(&clock, i)).collect();
    let engine = Engine::start(FanOut {
        name: "idle".to_owned(),
        source: Arc::new(stream.clone()),
        outputs,
        store: Arc::new(FakeStore::new(&clock, Rng::new(3), observer())),
        ownership: None,
        budget: None,
        clock: clock.clock(),
        settings: Settings::default(),
    })
    .await?;

    let clock: Clock = clock.clock();
    clock.sleep(WARM_UP).await;
    for _ in 0..seconds {
        for shard in 0..shards {
            put(&stream, shard, records);
        }
        clock.sleep(Duration::from_secs(1)).await;
    }
    drop(engine);
    Ok(())
}

fn observer() -> Arc<dyn Observer> {
    Arc::new(())
}

fn stream(clock: &TestClock, shards: usize) -> FakeStream {
    let settings = StreamSettings {
        shards: 0,
        ..StreamSettings::default()
    };
    let stream = FakeStream::new(settings, clock, Rng::new(1), observer());
    for shard in 0..shards {
        stream.open_shard(&shard_id(shard), &[]);
    }
    stream
}

fn shard_id(shard: usize) -> ShardId {
    ShardId::new(&format!("shardId-{shard:012}"))
}

fn output(clock: &TestClock, number: usize) -> OutputSpec {
    let settings = ServiceSettings {
        name: format!("service-{number}"),
        shards: 1,
        rate: None,
    };
    let service = FakeService::new(settings, clock, Rng::new(7), observer());
    OutputSpec {
        id: OutputId::new(&format!("output-{number}")),
        output: Arc::new(service.output("alike", LIMITS)),
        place: None,
        order: Order::Resend,
        start: Start::TrimHorizon,
        paused: false,
        dead_letter: None,
        pump: None,
    }
}

fn put(stream: &FakeStream, shard: usize, records: usize) {
    for key in 0..records {
        let data = |_| vec![b'.'; 100].into();
        let _ = stream.put_in(&shard_id(shard), &format!("key-{key}"), data);
    }
}
