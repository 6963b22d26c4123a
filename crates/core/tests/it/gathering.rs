//! Outputs that accept records of many batches before a flush makes them durable.

use std::time::Duration;

use distributary_core::checkpoint::Position;
use distributary_core::engine::{Change, Engine, OutputState};
use distributary_core::output::{Gathers, TroubleKind};
use distributary_core::store::OutputId;
use distributary_core::testing::Fate;

use crate::bench::{Bench, Mood, Source, balanced, of};

const S: Duration = Duration::from_secs(1);

const AGE: Duration = Duration::from_secs(60);

/// An output that gathers without a limit but [`AGE`], beside one that does not gather.
fn bench() -> Bench {
    let mut bench = Bench::new(1, 2);
    bench.gathers.insert(0, limits(usize::MAX));
    bench
}

fn limits(records: usize) -> Gathers {
    Gathers {
        records,
        bytes: usize::MAX,
        age: AGE,
    }
}

/// Starts the engine and waits until nothing is left of the records that were there.
async fn caught_up(bench: &Bench) -> Engine {
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    engine
}

/// Puts ten batches of ten records, and waits until the output that does not gather has all of them.
async fn ten_batches(bench: &Bench, engine: &Engine) {
    let before = bench.outputs[1].count();
    for batch in 1..=10 {
        bench.source.put_many("0", 10, 100);
        let all = before + 10 * batch;
        bench
            .until(engine, |_| bench.outputs[1].count() == all)
            .await;
    }
    let in_flight = |id| of(&engine.status(), id).counts.in_flight;
    bench
        .until(engine, |_| in_flight("o1") == 0 && in_flight("o0") == 100)
        .await;
}

fn checkpoint(bench: &Bench, output: &str) -> u64 {
    match bench.store.position("0", output) {
        Some(Position::After { sequence, .. }) => sequence.as_str().parse().unwrap(),
        _ => Source::FIRST,
    }
}

#[tokio::test(start_paused = true)]
async fn one_flush_covers_many_batches_and_checkpoints_wait_for_it() {
    let bench = bench();
    let engine = caught_up(&bench).await;
    ten_batches(&bench, &engine).await;
    let (accepted_at, requests) = (bench.clock.now(), bench.outputs[0].service.requests());

    bench.pass(AGE / 2).await;
    assert_eq!(bench.outputs[0].count(), 0, "before the age is reached");
    assert_eq!(checkpoint(&bench, "o0"), Source::FIRST);
    assert_eq!(checkpoint(&bench, "o1"), bench.source.last_sequence());
    let behind = of(&engine.status(), "o0").lanes[0].behind;
    assert!(
        behind > Some(AGE / 2),
        "accepted is not delivered: {behind:?}"
    );

    let status = bench
        .until(&engine, |s| of(s, "o0").counts.in_flight == 0)
        .await;
    assert!(bench.clock.now().since(accepted_at) <= AGE);
    assert_eq!(
        bench.outputs[0].service.requests(),
        requests + 1,
        "one flush"
    );
    assert_eq!(of(&status, "o0").counts.durable, 100);
    bench.pass(2 * S).await;
    assert_eq!(checkpoint(&bench, "o0"), bench.source.last_sequence());
    assert_eq!(bench.complete(0), 0);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_records_is_reached_across_batches() {
    let mut bench = bench();
    bench.gathers.insert(0, limits(40));
    let engine = caught_up(&bench).await;
    for batch in 1..=4 {
        assert_eq!(bench.outputs[0].count(), 0, "before batch {batch}");
        bench.source.put_many("0", 10, 100);
        bench
            .until(&engine, |_| bench.outputs[1].count() == 10 * batch)
            .await;
        bench.pass(S).await;
    }
    assert_eq!(bench.outputs[0].count(), 40);
    balanced(&engine.status());
}

#[tokio::test(start_paused = true)]
async fn caught_up_a_pause_and_a_shutdown_wait_for_no_limit() {
    let bench = bench();
    bench.source.put_many("0", 50, 100);
    let started = bench.clock.now();
    let engine = caught_up(&bench).await;
    assert_eq!(bench.complete(0), 0);

    ten_batches(&bench, &engine).await;
    assert_eq!(bench.outputs[0].count(), 50);
    engine
        .apply(Change::Pause(OutputId::new("o0")))
        .await
        .done()
        .unwrap();
    bench
        .until(&engine, |_| bench.outputs[0].count() == 150)
        .await;
    engine
        .apply(Change::Resume(OutputId::new("o0")))
        .await
        .done()
        .unwrap();

    ten_batches(&bench, &engine).await;
    engine.shutdown(10 * S).await.unwrap();
    assert_eq!(bench.complete(0), 0);
    assert_eq!(checkpoint(&bench, "o0"), bench.source.last_sequence());
    assert!(bench.clock.now().since(started) < AGE);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_shard_waits_for_no_limit() {
    let bench = bench();
    let engine = caught_up(&bench).await;
    ten_batches(&bench, &engine).await;
    bench.source.reshard(&["0"], &["1"]);
    bench.source.put_many("1", 10, 100);

    let started = bench.clock.now();
    bench
        .until(&engine, |_| bench.outputs[1].count() == 110)
        .await;
    bench
        .until(&engine, |_| {
            bench.store.position("0", "o0") == Some(Position::Closed)
        })
        .await;
    assert!(bench.clock.now().since(started) < AGE);
    assert!(bench.outputs[0].count() >= 100);
}

#[tokio::test(start_paused = true)]
async fn a_failed_flush_sends_again_from_the_durable_cursor() {
    for (fate, repeats) in [
        (Fate::Rejected(TroubleKind::Unavailable), 0),
        (Fate::RequestLost, 0),
        (Fate::AnswerLost, 100),
    ] {
        let bench = bench();
        let engine = caught_up(&bench).await;
        ten_batches(&bench, &engine).await;
        bench.outputs[0].service.script([fate]);

        let failed = |s: &_| of(s, "o0").counts.errors.len() == 1;
        let status = bench.until(&engine, failed).await;
        assert_eq!(of(&status, "o0").counts.durable, 0, "{fate:?}");
        bench.pass(2 * S).await;
        assert_eq!(checkpoint(&bench, "o0"), Source::FIRST, "{fate:?}");

        bench
            .until(&engine, |s| of(s, "o0").counts.in_flight == 0)
            .await;
        assert_eq!(bench.complete(0), repeats, "{fate:?}");
        let read = of(&engine.status(), "o0").counts.read;
        assert_eq!(read, 100, "a record that is read again is counted once");
    }
}

#[tokio::test(start_paused = true)]
async fn a_restart_sends_accepted_records_again() {
    let bench = bench();
    let engine = caught_up(&bench).await;
    ten_batches(&bench, &engine).await;
    bench.pass(2 * S).await;
    drop(engine);
    assert_eq!(
        (bench.outputs[0].count(), checkpoint(&bench, "o0")),
        (0, Source::FIRST)
    );

    let engine = caught_up(&bench).await;
    engine.shutdown(S).await.unwrap();
    bench.complete(0);
    assert_eq!(checkpoint(&bench, "o0"), bench.source.last_sequence());
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_without_a_limit_and_with_a_flush_that_hangs() {
    let mut bench = Bench::new(4, 3);
    bench.settings.memory_budget = 4 << 20;
    bench.settings.request_deadline = 20 * S;
    for i in [0, 1] {
        bench.gathers.insert(i, limits(usize::MAX));
        bench.outputs[i].limits.bytes = 20_000;
    }
    let engine = caught_up(&bench).await;
    for shard in ["0", "1", "2", "3"] {
        bench.source.put_many(shard, 4000, 1000);
    }

    let sum = 16_000;
    bench
        .until(&engine, |_| bench.outputs[0].count() > sum / 2)
        .await;
    bench.outputs[0].mood(Mood::Hang);
    let started = bench.clock.now();
    bench
        .until(&engine, |_| bench.outputs[2].count() == sum)
        .await;
    assert!(
        bench.clock.now().since(started) < 20 * S,
        "one flush that hangs"
    );

    bench.outputs[0].mood(Mood::Well);
    let status = engine.shutdown(600 * S).await.unwrap();
    assert!(
        status.memory.peak <= status.memory.budget,
        "{:?}",
        status.memory
    );
    balanced(&status);
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_stops_a_gathering_lane_behind_durable_records() {
    let bench = bench();
    let engine = caught_up(&bench).await;
    ten_batches(&bench, &engine).await;
    bench.outputs[0].mood(Mood::Refuse(bench.source.last_sequence() + 1));
    bench.source.put_many("0", 1, 100);

    bench
        .until(&engine, |s| {
            matches!(of(s, "o0").state, OutputState::Stopped { .. })
        })
        .await;
    assert_eq!(bench.outputs[0].count(), 100);
    bench.pass(2 * S).await;
    assert_eq!(checkpoint(&bench, "o0"), bench.source.last_sequence() - 1);
}

#[tokio::test(start_paused = true)]
async fn an_update_sends_accepted_records_to_the_new_output() {
    let mut bench = bench();
    let engine = caught_up(&bench).await;
    ten_batches(&bench, &engine).await;
    bench.gathers.clear();
    engine
        .apply(Change::Update(bench.spec(0)))
        .await
        .done()
        .unwrap();

    bench
        .until(&engine, |s| of(s, "o0").counts.in_flight == 0)
        .await;
    assert_eq!(
        bench.complete(0),
        0,
        "the old output holds nothing any more"
    );
}
