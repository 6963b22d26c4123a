//! Stateful pumps: a counter of each key that has to survive kills.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Position;
use distributary_core::engine::{Change, Effect, Engine, EngineError, FanOut, Order, OutputSpec};
use distributary_core::pump::PumpRef;
use distributary_core::store::{CheckpointStore, LaneCheckpoint, LaneId, OutputId, State};
use distributary_core::testing::{
    CounterPump, FakeOwnership, LeaseFaults, Rng, RowPump, counted_rows,
};

use crate::bench::{Bench, Mood, Source};

const S: Duration = Duration::from_secs(1);

/// A counter whose rows go to output 1 of the bench, and that loses a fifth of the answers.
fn counter(bench: &Bench) -> OutputSpec {
    let spec = bench.spec(1);
    let pump = CounterPump::new(spec.output, bench.clock.clone(), Rng::new(5), 200);
    OutputSpec {
        id: OutputId::new("counter"),
        output: Arc::new(pump),
        order: Order::Unordered,
        ..bench.spec(1)
    }
}

/// Runs output 0 of the bench and `pump`.
async fn try_run(bench: &Bench, pump: OutputSpec) -> Result<Engine, EngineError> {
    let Source { stream, limits, .. } = &bench.source;
    stream.set_limits(*limits);
    Engine::start(FanOut {
        name: "test".to_owned(),
        source: Arc::new(stream.clone()),
        outputs: vec![bench.spec(0), pump],
        store: Arc::new(bench.store.0.clone()),
        ownership: bench.ownership.clone(),
        budget: None,
        clock: bench.clock.clone(),
        settings: bench.settings.clone(),
    })
    .await
}

async fn run(bench: &Bench) -> Engine {
    try_run(bench, counter(bench)).await.unwrap()
}

/// The records of each key in the source.
fn puts(bench: &Bench) -> BTreeMap<String, u64> {
    let mut puts = BTreeMap::new();
    for record in bench.source.records() {
        *puts.entry(record.key).or_default() += 1;
    }
    puts
}

/// The last count of each key at the service.
fn counts(bench: &Bench) -> BTreeMap<String, u64> {
    counted_rows(&bench.outputs[1].service.log()).unwrap()
}

async fn until_complete(bench: &Bench) {
    for _ in 0..10_000 {
        if counts(bench) == puts(bench) {
            return;
        }
        bench.pass(S / 10).await;
    }
    assert_eq!(counts(bench), puts(bench));
}

#[tokio::test(start_paused = true)]
async fn counts_survive_kills() {
    let bench = Bench::new(2, 2);
    bench.outputs[1].latency(S / 10);
    for life in 0..20u64 {
        bench.source.put_many("0", 40, 10);
        bench.source.put_many("1", 30, 10);
        let engine = run(&bench).await;
        bench.pass(Duration::from_millis(300 + 170 * life)).await;
        drop(engine);
        counts(&bench);
    }

    let engine = run(&bench).await;
    until_complete(&bench).await;
    let rows = bench.outputs[1].count();
    assert!(rows > bench.source.records().len(), "no kill cost a repeat");
    engine.shutdown(S).await.unwrap();
    let engine = run(&bench).await;
    engine.caught_up().await.unwrap();
    bench.pass(5 * S).await;
    assert_eq!(bench.outputs[1].count(), rows, "a row was emitted again");
}

#[tokio::test(start_paused = true)]
async fn counts_survive_kills_while_shards_close() {
    let bench = Bench::new(1, 2);
    bench.outputs[1].latency(S / 5);
    let mut shard = "0".to_owned();
    for generation in 1..8 {
        bench.source.put_many(&shard, 30, 10);
        let children = [format!("{generation}a"), format!("{generation}b")];
        bench
            .source
            .reshard(&[&shard], &[&children[0], &children[1]]);
        bench.source.put(&children[0], "left", 10);
        bench.source.put(&children[1], "right", 10);
        shard.clone_from(&children[0]);

        let engine = run(&bench).await;
        bench.pass(S * generation / 2).await;
        drop(engine);
    }

    let engine = run(&bench).await;
    until_complete(&bench).await;
    bench.pass(10 * S).await;
    let closed = bench.store.position("0", "counter");
    assert_eq!(closed, Some(Position::Closed));
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_checkpoint_waits_for_the_snapshot() {
    let bench = Bench::new(1, 2);
    bench.source.put_many("0", 20, 10);
    bench.outputs[1].mood(Mood::Hang);
    let engine = run(&bench).await;
    engine.caught_up().await.unwrap();
    bench.pass(10 * S).await;

    // The lane has delivered all to the pump, and no row is durable.
    let last = Position::after(&bench.source.last_sequence().to_string());
    assert_eq!(bench.store.position("0", "o0"), Some(last.clone()));
    let start = Some(Position::TrimHorizon);
    assert_eq!(bench.store.position("0", "counter"), start);
    let id = OutputId::new("counter");
    assert_eq!(bench.store.0.snapshot(&id), None);

    bench.outputs[1].mood(Mood::Well);
    until_complete(&bench).await;
    bench.pass(3 * S).await;
    assert_eq!(bench.store.position("0", "counter"), Some(last));
    assert!(bench.store.0.snapshot(&id).is_some());
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_failed_commit_separates_no_checkpoint_from_its_snapshot() {
    let bench = Bench::new(1, 2);
    bench.source.put_many("0", 50, 10);
    let engine = run(&bench).await;
    bench.store.fail(true);
    until_complete(&bench).await;
    bench.pass(3 * S).await;
    drop(engine);

    bench.store.fail(false);
    let engine = run(&bench).await;
    bench.source.put_many("0", 50, 10);
    until_complete(&bench).await;
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_for_the_rows() {
    let bench = Bench::new(1, 2);
    bench.source.put_many("0", 100, 10);
    bench.outputs[1].latency(S / 2);
    let engine = run(&bench).await;
    engine.caught_up().await.unwrap();
    assert_ne!(counts(&bench), puts(&bench));

    engine.shutdown(60 * S).await.unwrap();

    assert_eq!(counts(&bench), puts(&bench));
    let last = Position::after(&bench.source.last_sequence().to_string());
    assert_eq!(bench.store.position("0", "counter"), Some(last));
}

#[tokio::test(start_paused = true)]
async fn a_removed_pump_leaves_no_snapshot_and_counts_anew() {
    let mut bench = Bench::new(1, 2);
    bench.source.put_many("0", 20, 10);
    let engine = run(&bench).await;
    until_complete(&bench).await;
    bench.pass(3 * S).await;
    let id = OutputId::new("counter");
    assert!(bench.store.0.snapshot(&id).is_some());

    engine
        .apply(Change::Remove(id.clone()))
        .await
        .done()
        .unwrap();
    assert_eq!(bench.store.0.snapshot(&id), None);
    let rows = bench.outputs[1].count();
    bench.source.put_many("0", 20, 10);
    bench.pass(10 * S).await;
    assert_eq!(bench.outputs[1].count(), rows);

    bench.outputs[1] = bench.new_output();
    engine
        .apply(Change::Add(counter(&bench)))
        .await
        .done()
        .unwrap();
    until_complete(&bench).await;
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_pump_is_not_replaced_while_the_fan_out_runs() {
    let bench = Bench::new(1, 2);
    let spec = counter(&bench);
    let engine = try_run(&bench, spec.clone()).await.unwrap();
    engine.apply(Change::Update(spec)).await.done().unwrap();
    let other = engine.apply(Change::Update(counter(&bench))).await.done();
    assert!(matches!(other, Err(EngineError::Invalid { .. })));
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_pump_takes_records_in_order_or_does_not_start() {
    let bench = Bench::new(1, 2);
    let strict = OutputSpec {
        order: Order::Strict,
        ..counter(&bench)
    };
    let refused = try_run(&bench, strict).await;
    assert!(matches!(refused, Err(EngineError::Invalid { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_pump_does_not_start_where_several_workers_share_the_shards() {
    let mut bench = Bench::new(1, 2);
    let leases = LeaseFaults {
        term: 10 * S,
        missed: 0,
        held: (1000, 1000),
        warning: (0, 0),
        away: (0, 0),
    };
    let store = bench.store.0.clone();
    let clock = &bench.test_clock;
    let ownership = FakeOwnership::new(leases, store, clock, Rng::new(1), Arc::new(()));
    bench.ownership = Some(Arc::new(ownership));
    let refused = try_run(&bench, counter(&bench)).await;
    assert!(matches!(refused, Err(EngineError::Invalid { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_pump_does_not_start_without_a_state_in_the_middle_of_a_stream() {
    let bench = Bench::new(1, 2);
    let row = LaneCheckpoint {
        lane: LaneId {
            shard: ShardId::new("0"),
            output: OutputId::new("counter"),
        },
        position: Position::after("103"),
        arrival: None,
    };
    let rows = State {
        lanes: vec![row],
        ..State::default()
    };
    bench.store.0.commit(&rows).await.unwrap();
    let refused = try_run(&bench, counter(&bench)).await;
    assert!(matches!(refused, Err(EngineError::Invalid { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_stateful_pump_takes_no_rows_of_another_pump() {
    let bench = Bench::new(1, 2);
    let mut spec = counter(&bench);
    spec.pump = Some(PumpRef {
        pump: Arc::new(RowPump::new("p", &[&[1]])),
        stream: 0,
    });
    let refused = try_run(&bench, spec.clone()).await;
    assert!(matches!(refused, Err(EngineError::Invalid { .. })));

    spec.pump = None;
    let engine = try_run(&bench, spec.clone()).await.unwrap();
    spec.pump = Some(PumpRef {
        pump: Arc::new(RowPump::new("p", &[&[1]])),
        stream: 0,
    });
    let update = engine.apply(Change::Update(spec)).await;
    assert!(matches!(update.effect, Effect::Refused(_)));
}
