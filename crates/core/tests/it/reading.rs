//! The reading side: listings that are short or wrong, starts that are pinned, gaps, identities.

use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Position;
use distributary_core::clock::Millis;
use distributary_core::engine::{Change, EngineError, OnRecreated, OutputState, Start};
use distributary_core::output::{EncodingKey, Trouble, TroubleKind};
use distributary_core::store::OutputId;
use distributary_core::testing::StoreFaults;

use crate::bench::{Bench, Mood, of};

const S: Duration = Duration::from_secs(1);

fn shard(id: &str) -> ShardId {
    ShardId::new(id)
}

#[tokio::test(start_paused = true)]
async fn a_short_listing_at_the_start_loses_no_shard_and_no_progress() {
    let mut bench = Bench::new(2, 1);
    bench.start = Start::Latest;
    let engine = bench.run().await;
    bench.pass(S).await;
    bench.source.put_many("0", 50, 10);
    bench.source.put_many("1", 50, 10);
    bench
        .until(&engine, |s| of(s, "o0").counts.durable == 100)
        .await;
    engine.shutdown(S).await.unwrap();
    let position = bench.store.position("1", "o0");

    bench.source.put_many("1", 20, 10);
    bench.source.stream.list_without(&[shard("1")]);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    bench.pass(5 * S).await;
    let status = engine.shutdown(S).await.unwrap();
    assert_eq!(of(&status, "o0").counts.durable, 20);
    assert_eq!(status.source.gaps, 0);
    assert_eq!(bench.complete(0), 0);
    assert_ne!(bench.store.position("1", "o0"), position);
}

#[tokio::test(start_paused = true)]
async fn an_empty_listing_at_the_start_is_asked_again() {
    let bench = Bench::new(2, 1);
    bench.source.put_many("0", 50, 10);
    let all = [shard("0"), shard("1")];
    bench.source.stream.list_without(&all);
    bench.source.stream.list_without(&all);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    assert_eq!(bench.complete(0), 0);
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn one_short_listing_while_running_is_not_believed() {
    let mut bench = Bench::new(2, 1);
    bench.settings.map_refresh = 10 * S;
    let engine = bench.run().await;
    bench.source.put_many("1", 50, 10);
    bench
        .until(&engine, |s| of(s, "o0").counts.durable == 50)
        .await;
    bench.source.stream.list_without(&[shard("1")]);
    bench.pass(15 * S).await;
    let status = engine.status();
    assert_eq!((status.source.shards, status.source.gaps), (2, 0));
    bench.source.put_many("1", 50, 10);
    bench
        .until(&engine, |s| of(s, "o0").counts.durable == 100)
        .await;
    assert_eq!(bench.complete(0), 0);
    assert!(bench.store.position("1", "o0").is_some());
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_child_waits_for_a_parent_that_one_listing_lacks() {
    let mut bench = Bench::new(1, 1);
    bench.settings.map_refresh = 10 * S;
    let engine = bench.run().await;
    bench.pass(S).await;
    // Shard 1 comes and goes between two listings, and the first listing lacks it.
    bench.source.reshard(&["0"], &["1"]);
    bench.source.put_many("1", 50, 10);
    bench.source.reshard(&["1"], &["2"]);
    bench.source.put_many("2", 50, 10);
    bench.source.stream.list_without(&[shard("1")]);
    bench
        .until(&engine, |s| of(s, "o0").counts.durable == 100)
        .await;
    let order: Vec<u64> = bench.outputs[0].written().iter().map(|w| w.1).collect();
    assert!(order.is_sorted(), "the parent's records are first");
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_its_own_ancestor_is_read() {
    let bench = Bench::new(1, 1);
    let stream = &bench.source.stream;
    stream.open_shard(&shard("own"), &[shard("own")]);
    stream.open_shard(&shard("a"), &[shard("b")]);
    stream.open_shard(&shard("b"), &[shard("c")]);
    stream.open_shard(&shard("c"), &[shard("a")]);
    // The circle closed `a` and `b` as parents: each had its records before.
    bench.source.put_many("own", 10, 10);
    bench.source.put_many("c", 10, 10);
    let engine = bench.run().await;
    bench
        .until(&engine, |s| of(s, "o0").counts.durable == 20)
        .await;
    bench.pass(70 * S).await;
    engine.shutdown(S).await.unwrap();
    assert!(matches!(
        bench.store.position("own", "o0"),
        Some(Position::After { .. })
    ));
}

/// Records are put and deleted while nothing reads; the next run reports them as a gap.
async fn deleted_unread(bench: &Bench, resharded: bool) {
    let shard = if resharded { "1" } else { "0" };
    bench.source.put_many(shard, 50, 10);
    bench.source.trim(shard, bench.source.last_sequence() - 20);
    let engine = bench.run().await;
    for id in ["o0", "o1"] {
        let resumed = engine.apply(Change::Resume(OutputId::new(id))).await;
        resumed.done().unwrap();
    }
    engine.caught_up().await.unwrap();
    let status = engine.status();
    assert_eq!(of(&status, "o0").counts.durable, 20);
    assert_eq!(status.source.gaps, 1);
    let gap = &status.source.recent_gaps[0];
    assert_eq!(gap.outputs.len(), 2);
    assert!(gap.to.is_some() && gap.length().is_some(), "{gap:?}");
    engine.shutdown(S).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn records_deleted_before_anything_was_read_are_a_gap() {
    let bench = Bench::new(1, 2);
    // Nothing was in the shard, and nothing was written.
    let engine = bench.run().await;
    bench.pass(5 * S).await;
    engine.shutdown(S).await.unwrap();
    deleted_unread(&bench, false).await;
}

#[tokio::test(start_paused = true)]
async fn records_of_a_paused_output_deleted_unread_are_a_gap() {
    let bench = Bench::new(1, 2);
    let engine = bench.run().await;
    for id in ["o0", "o1"] {
        let paused = engine.apply(Change::Pause(OutputId::new(id))).await;
        paused.done().unwrap();
    }
    bench.source.put_many("0", 10, 10);
    bench.pass(5 * S).await;
    engine.shutdown(S).await.unwrap();
    deleted_unread(&bench, false).await;
}

#[tokio::test(start_paused = true)]
async fn records_of_a_child_deleted_unread_are_a_gap() {
    let mut bench = Bench::new(1, 2);
    bench.settings.map_refresh = S;
    let engine = bench.run().await;
    for output in &bench.outputs {
        output.mood(Mood::Trouble(TroubleKind::Unavailable));
    }
    bench.source.put_many("0", 10, 10);
    bench.source.reshard(&["0"], &["1"]);
    bench.pass(5 * S).await;
    // The children wait for their parent, which nobody takes.
    let waiting = of(&engine.status(), "o0").waiting_for_parents;
    assert_eq!(waiting, 1);
    engine.shutdown(S).await.unwrap();
    bench.outputs.iter().for_each(|o| o.mood(Mood::Well));

    bench.source.put_many("1", 50, 10);
    bench.source.trim("1", bench.source.last_sequence() - 20);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    let status = engine.status();
    assert_eq!(of(&status, "o0").counts.durable, 30);
    assert_eq!(status.source.gaps, 1, "{:?}", status.source.recent_gaps);
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn records_deleted_before_the_first_start_are_no_gap() {
    let bench = Bench::new(1, 1);
    bench.source.put_many("0", 50, 10);
    bench.source.trim("0", bench.source.last_sequence() - 20);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    bench.pass(5 * S).await;
    let status = engine.shutdown(S).await.unwrap();
    assert_eq!(of(&status, "o0").counts.durable, 20);
    assert_eq!(status.source.gaps, 0);
}

/// A fan-out that has copied 50 records, with an output that has an identity.
async fn copied() -> Bench {
    let mut bench = Bench::new(2, 2);
    bench.settings.map_refresh = S;
    bench.outputs[0].service.recreate(Millis(1));
    bench.source.put_many("0", 50, 10);
    bench.source.reshard(&["0"], &["2"]);
    bench.source.put_many("2", 50, 10);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    engine.shutdown(S).await.unwrap();
    bench.complete(0);
    bench
}

#[tokio::test(start_paused = true)]
async fn an_output_created_again_between_two_runs_begins_again() {
    let bench = copied().await;
    bench.recreate(0, Millis(2));
    let engine = bench.run().await;
    bench
        .until(&engine, |s| of(s, "o0").counts.durable == 100)
        .await;
    bench.complete(0);
    assert_eq!(of(&engine.status(), "o1").counts.durable, 0);
    engine.shutdown(S).await.unwrap();
    // The new stream is known from then on.
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    assert_eq!(of(&engine.status(), "o0").counts.durable, 0);
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn an_output_created_again_while_running_begins_again() {
    let bench = copied().await;
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    bench.recreate(0, Millis(2));
    bench
        .until(&engine, |s| of(s, "o0").counts.durable == 100)
        .await;
    bench.complete(0);
    bench.pass(130 * S).await;
    assert_eq!(of(&engine.status(), "o0").counts.durable, 100, "only once");
    engine.shutdown(S).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_output_created_again_goes_on_or_stops_as_configured() {
    for reaction in [OnRecreated::Continue, OnRecreated::Stop] {
        let mut bench = copied().await;
        bench.settings.on_recreated = reaction;
        bench.recreate(0, Millis(2));
        // A stopped output stays stopped through restarts.
        for _ in 0..2 {
            bench.source.put_many("2", 10, 10);
            let engine = bench.run().await;
            bench.pass(70 * S).await;
            let status = engine.status();
            let output = of(&status, "o0");
            if reaction == OnRecreated::Stop {
                assert_eq!(output.counts.durable, 0);
                assert!(matches!(&output.state, OutputState::Stopped { reason, .. }
                    if reason.contains("created again")));
            } else {
                assert_eq!(output.counts.durable, 10);
            }
            assert_eq!(of(&status, "o1").counts.durable, 10);
            engine.shutdown(S).await.unwrap();
        }
        if reaction == OnRecreated::Stop {
            let engine = bench.run().await;
            let id = OutputId::new("o0");
            engine.apply(Change::Resume(id)).await.done().unwrap();
            bench
                .until(&engine, |s| of(s, "o0").counts.durable == 20)
                .await;
            bench.pass(70 * S).await;
            engine.shutdown(S).await.unwrap();
            let engine = bench.run().await;
            engine.caught_up().await.unwrap();
            drop(engine);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_source_created_again_while_running_ends_the_fan_out() {
    let mut bench = copied().await;
    bench.settings.map_refresh = 600 * S;
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    bench.source.stream.recreate();
    let missing = Trouble::new(TroubleKind::Missing, "no such shard");
    bench.source.stream.script([missing]);
    let error = bench.clock.timeout(60 * S, engine.ended()).await;
    assert!(matches!(error, Some(EngineError::SourceRecreated { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_commit_that_hangs_is_a_failure_and_holds_up_no_end() {
    let mut bench = Bench::new(1, 1);
    bench.settings.store_patience = 600 * S;
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    bench.store.0.set_faults(StoreFaults {
        latency: (3_600_000, 3_600_000),
        ..StoreFaults::default()
    });
    bench.source.put_many("0", 10, 10);
    let status = bench.until(&engine, |s| s.commits.failing >= 2).await;
    let error = status.commits.last_error.unwrap();
    assert!(error.text.contains("could not be read or written"));
    // Delivery goes on, and the end waits for no disk.
    assert_eq!(bench.complete(0), 0);
    let ended = bench.clock.timeout(300 * S, engine.shutdown(S)).await;
    assert!(
        ended.unwrap().is_err(),
        "the last checkpoints are not written"
    );
}

/// Reads until `outputs` outputs, which all encode in their own way, have the same backlog.
async fn reads_at(outputs: usize) -> usize {
    let mut bench = Bench::new(1, outputs);
    for (i, output) in bench.outputs.iter_mut().enumerate() {
        output.key = EncodingKey::new("fake", format!("own-{i}"));
    }
    bench.settings.memory_budget = 16 << 20;
    bench.source.put_many("0", 50_000, 1_000);

    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    for i in 0..outputs {
        assert_eq!(bench.complete(i), 0);
    }
    drop(engine);
    bench.source.reads()
}

#[tokio::test(start_paused = true)]
async fn reads_do_not_shrink_with_the_number_of_encodings() {
    let (one, twenty) = (reads_at(1).await, reads_at(20).await);
    assert!(twenty <= one + 2, "{one} reads at one, {twenty} at twenty");
}
