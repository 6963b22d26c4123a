//! The reading side: listings that are short or wrong, starts that are pinned, gaps, identities.

use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Position;
use distributary_core::engine::Start;

use crate::bench::{Bench, of};

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
