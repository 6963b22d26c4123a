//! Outputs that leave the configuration and come back, with the same name or another one.

use std::time::Duration;

use distributary_core::engine::Change;
use distributary_core::store::OutputId;

use crate::bench::{Bench, of};

const S: Duration = Duration::from_secs(1);

fn id(name: &str) -> OutputId {
    OutputId::new(name)
}

#[tokio::test(start_paused = true)]
async fn an_output_that_is_missing_for_a_while_goes_on_where_it_was() {
    let bench = Bench::new(2, 2);
    bench.source.put_many("0", 100, 10);
    let engine = bench.run().await;
    bench
        .until(&engine, |s| of(s, "o1").counts.durable == 100)
        .await;
    engine.apply(Change::Detach(id("o1"))).await.done().unwrap();
    assert_eq!(engine.status().outputs.len(), 1);
    assert!(bench.store.position("0", "o1").is_some());
    bench.source.put_many("0", 50, 10);
    bench.pass(10 * S).await;
    assert_eq!(bench.outputs[1].count(), 100);

    engine
        .apply(Change::Add(bench.spec(1)))
        .await
        .done()
        .unwrap();
    engine.caught_up().await.unwrap();
    bench
        .until(&engine, |s| of(s, "o1").counts.durable == 50)
        .await;
    assert_eq!(bench.complete(1), 0);
    engine.shutdown(S).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_output_with_another_name_goes_on_where_its_place_was() {
    let mut bench = Bench::new(2, 2);
    bench.name(1, "before");
    bench.source.put_many("0", 100, 10);
    let engine = bench.run().await;
    bench
        .until(&engine, |s| of(s, "before").counts.durable == 100)
        .await;

    engine
        .apply(Change::Detach(id("before")))
        .await
        .done()
        .unwrap();
    bench.name(1, "after");
    bench.source.put_many("1", 50, 10);
    engine
        .apply(Change::Add(bench.spec(1)))
        .await
        .done()
        .unwrap();
    bench
        .until(&engine, |s| of(s, "after").counts.durable == 50)
        .await;
    assert_eq!(bench.complete(1), 0);
    assert_eq!(bench.store.position("0", "before"), None);
    engine.shutdown(S).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn outputs_whose_names_were_exchanged_go_on_at_their_places() {
    let mut bench = Bench::new(1, 2);
    bench.name(0, "x");
    bench.name(1, "y");
    bench.source.put_many("0", 100, 10);
    let engine = bench.run().await;
    bench
        .until(&engine, |s| of(s, "y").counts.durable == 100)
        .await;
    engine.apply(Change::Pause(id("y"))).await.done().unwrap();
    bench.source.put_many("0", 50, 10);
    bench
        .until(&engine, |s| of(s, "x").counts.durable == 150)
        .await;
    engine.shutdown(S).await.unwrap();

    bench.name(0, "y");
    bench.name(1, "x");
    let engine = bench.run().await;
    bench
        .until(&engine, |s| of(s, "x").counts.durable == 50)
        .await;
    engine.caught_up().await.unwrap();
    assert_eq!(of(&engine.status(), "y").counts.durable, 0);
    assert_eq!((bench.complete(0), bench.complete(1)), (0, 0));
    engine.shutdown(S).await.unwrap();
}
