use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::checkpoint::Position;
use distributary_core::clock::Millis;
use distributary_core::engine::{
    Change, Effect, EngineError, LanePhase, Order, OutputState, Start,
};
use distributary_core::output::{EncodingKey, Trouble, TroubleKind};
use distributary_core::store::OutputId;

use crate::bench::{BASE, Bench, Mood, balanced, of};

const S: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn everything_reaches_every_output() {
    let bench = Bench::new(3, 4);
    for shard in ["0", "1", "2"] {
        bench.source.put_many(shard, 2500, 100);
    }
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    let status = engine.shutdown(S).await.unwrap();
    balanced(&status);
    for i in 0..4 {
        assert_eq!(bench.complete(i), 0);
        assert_eq!(of(&status, &format!("o{i}")).counts.durable, 7500);
    }
    // Each chunk is encoded once, by whoever comes first.
    let encodings: usize = bench.outputs.iter().map(|o| o.service.encodings()).sum();
    let requests: u64 = bench.outputs.iter().map(|o| o.service.requests()).sum();
    assert_eq!(encodings as u64 * 4, requests);
    let last = bench
        .source
        .records()
        .iter()
        .filter(|r| r.key.starts_with("1k"))
        .map(|r| r.sequence)
        .max();
    let expected = Position::after(&last.unwrap().to_string());
    assert_eq!(bench.store.position("1", "o3"), Some(expected));
}

#[tokio::test(start_paused = true)]
async fn caught_up_holds_for_idle_and_empty_shards() {
    let bench = Bench::new(4, 2);
    bench.source.put_many("2", 10, 10);
    let engine = bench.run().await;
    let begun = bench.clock.now();
    engine.caught_up().await.unwrap();
    assert!(bench.clock.now().since(begun) < 3 * S);
    bench.complete(0);
}

#[tokio::test(start_paused = true)]
async fn an_idle_shard_is_asked_once_a_second() {
    let mut bench = Bench::new(1, 3);
    bench.source.limits.answer_records = 1000;
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    bench.pass(5 * S).await;
    let before = bench.source.reads();
    bench.pass(20 * S).await;
    let calls = bench.source.reads() - before;
    assert!((18..=21).contains(&calls), "{calls}");
    // Where there is much to read, as often as allowed.
    bench.source.put_many("0", 100_000, 100);
    bench.pass(S).await;
    let before = bench.source.reads();
    bench.pass(2 * S).await;
    let calls = bench.source.reads() - before;
    assert!((7..=10).contains(&calls), "{calls}");
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn latest_is_pinned_before_anything_is_read() {
    let mut bench = Bench::new(1, 1);
    bench.start = Start::Latest;
    bench.source.put_many("0", 5, 10);
    bench.pass(S).await;
    let engine = bench.run().await;
    let pinned = Position::At(Millis(BASE + 1005));
    assert_eq!(bench.store.position("0", "o0"), Some(pinned.clone()));
    assert_eq!(bench.source.reads(), 0);
    // A crash before anything was read, and records that arrive while nobody looks.
    drop(engine);
    let old = bench.source.last_sequence();
    bench.pass(S).await;
    bench.source.put_many("0", 5, 10);
    bench.pass(S).await;
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    let written = bench.outputs[0].written();
    assert_eq!(
        written.iter().map(|(_, s)| *s).collect::<Vec<_>>(),
        (old + 1..=old + 5).collect::<Vec<_>>()
    );
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_held_output_delays_no_other() {
    let mut bench = Bench::new(1, 4);
    // Little enough that the held one has to leave the window.
    bench.settings.memory_budget = 4 << 20;
    bench.source.limits.answer_bytes = 1 << 20;
    bench.outputs[1].mood(Mood::Hang);
    let engine = bench.run().await;
    let mut seen_away = false;
    for _ in 0..120 {
        bench.source.put_many("0", 200, 1000);
        bench.pass(S / 2).await;
        let status = engine.status();
        balanced(&status);
        seen_away |= of(&status, "o1").catching_up == 1;
    }
    bench.pass(S).await;
    for i in [0, 2, 3] {
        assert_eq!(bench.complete(i), 0, "output {i}");
        let times = bench.outputs[i].times();
        let records = bench.source.records();
        let late = records.iter().map(|r| {
            times[&r.sequence]
                .saturating_sub(Duration::from_millis((r.arrival.0 - BASE).cast_unsigned()))
        });
        assert!(late.max().unwrap() < S, "output {i}");
    }
    assert!(seen_away);
    assert_eq!(bench.outputs[1].count(), 0);
    // It recovers, catches up, and joins the others again.
    bench.outputs[1].mood(Mood::Well);
    bench
        .until(&engine, |s| {
            of(s, "o1").counts.durable == 24_000 && of(s, "o1").in_window == 1
        })
        .await;
    bench.complete(1);
    let reads = bench.source.reads();
    bench.pass(10 * S).await;
    assert!(
        bench.source.reads() - reads <= 12,
        "all share one reader again"
    );
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn who_catches_up_waits_for_none_whose_requests_hang() {
    let mut bench = Bench::new(1, 3);
    bench.settings.memory_budget = 4 << 20;
    bench.source.limits.answer_bytes = 1 << 20;
    bench.settings.catch_up_readers = 1;
    bench.settings.request_deadline = 60 * S;
    let engine = bench.run().await;
    for output in ["o1", "o2"] {
        engine
            .apply(Change::Pause(OutputId::new(output)))
            .await
            .done()
            .unwrap();
        for _ in 0..20 {
            bench.source.put_many("0", 200, 1000);
            bench.pass(S / 2).await;
        }
    }
    let before = bench.outputs[2].count();
    bench.outputs[2].mood(Mood::Hang);
    engine
        .apply(Change::Resume(OutputId::new("o2")))
        .await
        .done()
        .unwrap();
    bench.pass(S).await;
    assert!(
        of(&engine.status(), "o2").counts.in_flight > 0,
        "it has the one reader for those who catch up"
    );
    engine
        .apply(Change::Resume(OutputId::new("o1")))
        .await
        .done()
        .unwrap();
    bench.pass(10 * S).await;
    assert_eq!(bench.complete(1), 0);
    assert_eq!(bench.outputs[2].count(), before);
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn handoff_skips_and_repeats_nothing() {
    let mut bench = Bench::new(1, 3);
    bench.settings.memory_budget = 2 << 20;
    bench.source.limits.answer_bytes = 256 << 10;
    let engine = bench.run().await;
    let mut away = 0;
    for round in 0..60 {
        // One output is slow in some rounds: it leaves and comes back again and again.
        let slow = if round % 6 < 4 {
            S * 3
        } else {
            Duration::from_millis(1)
        };
        bench.outputs[2].latency(slow);
        bench.source.put_many("0", 300, 1000);
        bench.pass(S).await;
        away += of(&engine.status(), "o2").catching_up;
    }
    bench.outputs[2].latency(Duration::from_millis(1));
    bench
        .until(&engine, |s| {
            s.outputs.iter().all(|o| o.counts.durable == 18_000)
        })
        .await;
    assert!(away > 3, "{away}");
    for i in 0..3 {
        assert_eq!(bench.complete(i), 0, "output {i}");
    }
    bench.until(&engine, |s| of(s, "o2").in_window == 1).await;
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn the_budget_holds_with_fifty_outputs_stuck() {
    let mut bench = Bench::new(2, 52);
    bench.settings.memory_budget = 3 << 20;
    bench.source.limits.answer_bytes = 256 << 10;
    bench.source.stream.set_answer_bytes(256 << 10);
    for (i, output) in bench.outputs.iter().enumerate() {
        output.mood(match i {
            0 | 1 => Mood::Well,
            _ if i % 3 == 0 => Mood::Hang,
            _ if i % 3 == 1 => Mood::Trouble(TroubleKind::Throttled),
            // Every request is partly taken: each lane encodes its own rest.
            _ => Mood::OneIn(2),
        });
    }
    let engine = bench.run().await;
    for _ in 0..60 {
        for shard in ["0", "1"] {
            bench.source.put_many(shard, 100, 1000);
        }
        for _ in 0..5 {
            bench.pass(S / 5).await;
            balanced(&engine.status());
        }
    }
    bench
        .until(&engine, |s| {
            ["o0", "o1"]
                .iter()
                .all(|o| of(s, o).counts.durable == 12_000)
        })
        .await;
    let status = engine.status();
    assert!(status.memory.peak <= 3 << 20, "{:?}", status.memory);
    assert_eq!((bench.complete(0), bench.complete(1)), (0, 0));
    for output in &bench.outputs {
        output.mood(Mood::Well);
    }
    bench
        .until(&engine, |s| {
            s.outputs.iter().all(|o| o.counts.durable == 12_000)
        })
        .await;
    for i in 0..52 {
        bench.complete(i);
    }
    assert!(engine.status().memory.peak <= 3 << 20);
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn one_record_of_the_maximum_size_gets_through() {
    let mut bench = Bench::new(1, 2);
    bench.settings.memory_budget = 48 << 20;
    bench.source.put("0", "k", 10);
    bench.source.put("0", "k", 10 << 20);
    bench.source.put("0", "k", 10);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    assert_eq!(bench.complete(1), 0);
    assert!(engine.status().memory.peak <= 48 << 20);
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_budget_that_is_too_small_only_slows() {
    let mut bench = Bench::new(8, 3);
    bench.settings.memory_budget = 1 << 20;
    bench.source.limits.answer_bytes = 300 << 10;
    bench.source.stream.set_answer_bytes(300 << 10);
    for shard in 0..8 {
        for _ in 0..40 {
            bench
                .source
                .put(&shard.to_string(), &format!("k{shard}"), 100_000);
        }
    }
    bench.outputs[1].mood(Mood::OneIn(5));
    let engine = bench.run().await;
    bench
        .until(&engine, |s| {
            s.outputs.iter().all(|o| o.counts.durable == 320)
        })
        .await;
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_child_waits_for_its_parents_of_the_same_output_only() {
    let bench = Bench::new(2, 2);
    bench.outputs[1].mood(Mood::Trouble(TroubleKind::Unavailable));
    bench.source.put_many("0", 50, 10);
    bench.source.put_many("1", 50, 10);
    let engine = bench.run().await;
    bench.pass(S).await;
    bench.source.reshard(&["0", "1"], &["2"]);
    bench.source.put_many("2", 50, 10);
    bench.source.reshard(&["2"], &["3", "4"]);
    bench.source.put_many("3", 50, 10);
    bench.source.put_many("4", 50, 10);
    let status = bench
        .until(&engine, |s| of(s, "o0").counts.durable == 250)
        .await;
    assert_eq!(of(&status, "o1").counts.durable, 0);
    assert_eq!(of(&status, "o1").waiting_for_parents, 3);
    assert_eq!(bench.complete(0), 0);
    bench.outputs[1].mood(Mood::Well);
    bench
        .until(&engine, |s| of(s, "o1").counts.durable == 250)
        .await;
    bench.complete(1);
    engine.caught_up().await.unwrap();
    engine.shutdown(S).await.unwrap();
    assert_eq!(bench.store.position("2", "o1"), Some(Position::Closed));
}

#[tokio::test(start_paused = true)]
async fn resharding_while_down_and_parents_that_retention_removed() {
    let bench = Bench::new(1, 1);
    bench.source.put_many("0", 50, 10);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    engine.shutdown(S).await.unwrap();
    bench.source.put_many("0", 50, 10);
    bench.source.reshard(&["0"], &["1", "2"]);
    bench.source.put_many("1", 50, 10);
    bench.source.reshard(&["1", "2"], &["3"]);
    bench.source.put_many("3", 50, 10);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    assert_eq!(bench.complete(0), 0);
    assert_eq!(engine.status().source.gaps, 0);
    engine.shutdown(S).await.unwrap();
    // Done shards go without a word, and their state with them.
    for shard in ["0", "1", "2"] {
        bench.source.remove(shard);
    }
    bench.source.put_many("3", 10, 10);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    bench.pass(2 * S).await;
    assert_eq!(engine.status().source.gaps, 0);
    assert_eq!(bench.store.position("0", "o0"), None);
    assert_eq!(bench.store.position("2", "o0"), None);
    engine.shutdown(S).await.unwrap();
    // One that was not done is a gap.
    bench.source.put_many("3", 10, 10);
    bench.source.reshard(&["3"], &["4"]);
    bench.source.put_many("4", 10, 10);
    bench.source.remove("3");
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    let status = engine.status();
    assert_eq!(status.source.gaps, 1);
    assert_eq!(status.source.recent_gaps[0].shard, ShardId::new("3"));
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_disappears_while_it_is_read_is_a_gap() {
    let mut bench = Bench::new(1, 1);
    bench.settings.map_refresh = S;
    let engine = bench.run().await;
    bench.source.put_many("0", 10, 10);
    bench
        .until(&engine, |s| of(s, "o0").counts.durable == 10)
        .await;
    bench.source.reshard(&["0"], &["1"]);
    bench.source.put_many("1", 10, 10);
    bench.source.remove("0");
    let status = bench
        .until(&engine, |s| of(s, "o0").counts.durable == 20)
        .await;
    assert_eq!(status.source.gaps, 1);
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_shard_that_is_over_is_not_read_again() {
    let mut bench = Bench::new(1, 1);
    bench.settings.map_refresh = S;
    bench.source.put_many("0", 10, 10);
    bench.source.reshard(&["0"], &["1"]);
    bench.source.put_many("1", 10, 10);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    bench.source.remove("0");
    bench.until(&engine, |s| s.source.shards == 1).await;
    bench.source.list_again("0");
    bench.pass(10 * S).await;
    assert_eq!(bench.complete(0), 0);
    let status = engine.shutdown(S).await.unwrap();
    assert_eq!(
        (of(&status, "o0").counts.durable, status.source.gaps),
        (20, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn a_gap_is_reported_and_reading_goes_on() {
    let bench = Bench::new(1, 2);
    bench.source.put_many("0", 10, 10);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    engine.shutdown(S).await.unwrap();
    bench.source.put_many("0", 10, 10);
    bench.source.trim("0", bench.source.last_sequence() - 3);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    let status = engine.status();
    assert_eq!(status.source.gaps, 1);
    assert_eq!(status.source.recent_gaps[0].outputs.len(), 2);
    assert_eq!(bench.outputs[0].count(), 13);
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_refused_record_stops_its_lane_and_no_other() {
    let mut bench = Bench::new(2, 2);
    bench.source.put_many("0", 100, 10);
    bench.source.put_many("1", 100, 10);
    let refused = bench.source.records()[50].sequence;
    bench.outputs[0].mood(Mood::Refuse(refused));
    bench.start = Start::TrimHorizon;
    let engine = bench.run().await;
    let Err(EngineError::OutputStopped {
        output,
        shard,
        reason,
    }) = engine.caught_up().await
    else {
        panic!()
    };
    assert_eq!((output.as_str(), shard.as_str()), ("o0", "0"));
    assert!(
        reason.contains("the fake refuses this record") && reason.contains(&refused.to_string()),
        "{reason}"
    );
    let status = bench
        .until(&engine, |s| {
            of(s, "o1").counts.durable == 200 && of(s, "o0").counts.durable == 150
        })
        .await;
    assert!(matches!(
        of(&status, "o0").state,
        OutputState::Stopped { .. }
    ));
    assert_eq!(of(&status, "o0").lanes[0].phase, LanePhase::Stopped);
    assert_eq!(bench.complete(1), 0);
    // Mended and resumed, it goes on.
    bench.outputs[0].mood(Mood::Well);
    engine
        .apply(Change::Resume(OutputId::new("o0")))
        .await
        .done()
        .unwrap();
    engine.caught_up().await.unwrap();
    bench.complete(0);
    drop(engine);
}

/// An output that is denied: the others first, then an end that says so. A daemon asks nobody, and goes on trying.
#[tokio::test(start_paused = true)]
async fn what_somebody_has_to_mend_is_not_waited_for_for_ever() {
    let bench = Bench::new(2, 3);
    bench.source.put_many("0", 100, 10);
    bench.source.put_many("1", 2000, 1000);
    // Its child is never begun, for this output.
    bench.source.reshard(&["0"], &["2"]);
    bench.source.put_many("2", 100, 10);
    bench.outputs[1].mood(Mood::Trouble(TroubleKind::Denied));
    // Slower than the patience.
    bench.outputs[2].latency(29 * S);
    let engine = bench.run().await;
    let begun = bench.clock.now();
    let Err(EngineError::OutputStuck {
        output,
        after,
        reason,
        ..
    }) = engine.caught_up().await
    else {
        panic!()
    };
    assert_eq!(output.as_str(), "o1");
    assert_eq!(reason, "the whole request was rejected (Denied)");
    assert!(
        after > 60 * S && bench.clock.now().since(begun) > 90 * S,
        "{after:?}"
    );
    assert_eq!((bench.complete(0), bench.complete(2)), (0, 0));
    // The engine never gave up: mended, it goes on.
    bench.outputs[1].mood(Mood::Well);
    engine
        .apply(Change::Resume(OutputId::new("o1")))
        .await
        .done()
        .unwrap();
    engine.caught_up().await.unwrap();
    bench.complete(1);
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn trouble_that_passes_is_waited_for() {
    let bench = Bench::new(1, 2);
    bench.source.put_many("0", 100, 10);
    let engine = bench.run().await;
    for kind in [
        TroubleKind::Denied,
        TroubleKind::Unavailable,
        TroubleKind::Missing,
    ] {
        bench.outputs[1].mood(Mood::Trouble(kind));
        let patience = if kind == TroubleKind::Unavailable {
            1000 * S
        } else {
            25 * S
        };
        assert!(
            bench
                .clock
                .timeout(patience, engine.caught_up())
                .await
                .is_none(),
            "{kind:?}"
        );
    }
    let Err(EngineError::OutputStuck { reason, .. }) = engine.caught_up().await else {
        panic!()
    };
    assert_eq!(reason, "the whole request was rejected (Missing)");
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_is_denied_is_not_waited_for_for_ever() {
    let bench = Bench::new(1, 2);
    bench.source.put_many("0", 100, 10);
    let engine = bench.run().await;
    let denied = || Trouble::new(TroubleKind::Denied, "never");
    bench.source.stream.script((0..30).map(|_| denied()));
    let Err(EngineError::Source { source, .. }) = engine.caught_up().await else {
        panic!()
    };
    assert_eq!(source.message, "never");
    bench.source.stream.clear_script();
    bench
        .until(&engine, |s| of(s, "o1").counts.durable == 100)
        .await;
    engine.caught_up().await.unwrap();
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn an_output_that_panics_stops_alone() {
    let bench = Bench::new(1, 2);
    bench.source.put_many("0", 100, 10);
    bench.outputs[0].mood(Mood::Panic);
    let engine = bench.run().await;
    assert!(matches!(
        engine.caught_up().await,
        Err(EngineError::OutputStopped { .. })
    ));
    bench
        .until(&engine, |s| of(s, "o1").counts.durable == 100)
        .await;
    bench.outputs[0].mood(Mood::Well);
    engine
        .apply(Change::Resume(OutputId::new("o0")))
        .await
        .done()
        .unwrap();
    engine.caught_up().await.unwrap();
    assert_eq!(bench.complete(0), 0);
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn order_holds_through_partial_failures_and_lost_answers() {
    for order in [Order::Strict, Order::Resend] {
        let mut bench = Bench::new(1, 3);
        bench.order = order;
        bench.outputs[1].mood(Mood::OneIn(10));
        bench.outputs[2].mood(Mood::LoseAnswers);
        bench.source.put_many("0", 2000, 10);
        let engine = bench.run().await;
        bench.pass(5 * S).await;
        bench.outputs[2].mood(Mood::Well);
        bench
            .until(&engine, |s| {
                s.outputs.iter().all(|o| o.counts.durable == 2000)
            })
            .await;
        let status = engine.status();
        for i in 0..3 {
            let repeats = bench.complete(i);
            // What was sent again and failed again counts too.
            let counted = of(&status, &format!("o{i}")).counts.repeats;
            assert!(
                repeats as u64 <= counted,
                "{order:?}, output {i}: {repeats}, {counted}"
            );
            assert_eq!(repeats > 0, counted > 0, "{order:?}, output {i}");
        }
        assert!(of(&status, "o1").counts.errors[&TroubleKind::Throttled] > 0);
        drop(engine);
    }
}

#[tokio::test(start_paused = true)]
async fn crashes_lose_nothing_and_repeat_at_most_an_interval() {
    let mut bench = Bench::new(2, 2);
    bench.outputs[1].latency(Duration::from_millis(700));
    let mut fed = 0;
    for round in 0..20u64 {
        let engine = bench.run().await;
        for _ in 0..5 {
            bench.source.put_many("0", 100, 100);
            bench.source.put_many("1", 100, 100);
            fed += 200;
            bench.pass(Duration::from_millis(137 + round * 31)).await;
        }
        drop(engine);
    }
    bench.outputs[1].latency(Duration::from_millis(1));
    bench.settings.checkpoint_interval = S;
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    engine.shutdown(S).await.unwrap();
    assert_eq!(bench.source.records().len(), fed);
    for i in 0..2 {
        let repeats = bench.complete(i);
        assert!(repeats < fed, "{repeats}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_first_record_after_a_restart_comes_soon() {
    let bench = Bench::new(1, 3);
    bench.source.put_many("0", 3000, 100);
    let engine = bench.run().await;
    bench.pass(Duration::from_millis(400)).await;
    drop(engine);
    bench.source.put_many("0", 10, 10);
    let engine = bench.run().await;
    let begun = bench.clock.now();
    bench
        .until(&engine, |s| s.outputs.iter().all(|o| o.counts.durable > 0))
        .await;
    assert!(bench.clock.now().since(begun) < S);
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn outputs_come_and_go_while_it_runs() {
    let mut bench = Bench::new(2, 1);
    bench.source.put_many("0", 100, 10);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    let reads = bench.source.reads();
    // Two more: one from the beginning, one from now on.
    bench.outputs.push(bench.new_output());
    bench.outputs.push(bench.new_output());
    engine
        .apply(Change::Add(bench.spec(1)))
        .await
        .done()
        .unwrap();
    bench.pass(S).await;
    bench.start = Start::Latest;
    engine
        .apply(Change::Add(bench.spec(2)))
        .await
        .done()
        .unwrap();
    assert!(matches!(
        engine.apply(Change::Add(bench.spec(2))).await.done(),
        Err(EngineError::Invalid { .. })
    ));
    bench.pass(S).await;
    bench.source.put_many("1", 50, 10);
    bench
        .until(&engine, |s| {
            of(s, "o1").counts.durable == 150 && of(s, "o2").counts.durable == 50
        })
        .await;
    assert_eq!((bench.complete(0), bench.complete(1)), (0, 0));
    assert!(bench.source.reads() > reads);
    // Paused: nothing is written, the place is kept, the others go on.
    engine
        .apply(Change::Pause(OutputId::new("o1")))
        .await
        .done()
        .unwrap();
    bench.source.put_many("0", 50, 10);
    let status = bench
        .until(&engine, |s| of(s, "o0").counts.durable == 200)
        .await;
    assert_eq!(of(&status, "o1").state, OutputState::Paused);
    bench.pass(5 * S).await;
    assert_eq!(bench.outputs[1].count(), 150);
    engine
        .apply(Change::Resume(OutputId::new("o1")))
        .await
        .done()
        .unwrap();
    bench
        .until(&engine, |s| of(s, "o1").counts.durable == 200)
        .await;
    assert_eq!(bench.complete(1), 0);
    // Removed: its state is gone too.
    engine
        .apply(Change::Remove(OutputId::new("o2")))
        .await
        .done()
        .unwrap();
    assert_eq!(bench.store.position("0", "o2"), None);
    assert!(matches!(
        engine
            .apply(Change::Pause(OutputId::new("o2")))
            .await
            .done(),
        Err(EngineError::Invalid { .. })
    ));
    bench.source.put_many("0", 50, 10);
    bench
        .until(&engine, |s| of(s, "o0").counts.durable == 250)
        .await;
    assert_eq!(bench.outputs[2].count(), 100);
    engine.shutdown(S).await.unwrap();
    assert_eq!(bench.store.position("0", "o2"), None);
}

#[tokio::test(start_paused = true)]
async fn an_update_replaces_the_output_and_keeps_its_place() {
    let mut bench = Bench::new(1, 1);
    bench.source.put_many("0", 100, 10);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    let old = bench.outputs[0].clone();
    bench.outputs[0] = bench.new_output();
    bench.outputs[0].key = EncodingKey::new("fake", "another");
    engine
        .apply(Change::Update(bench.spec(0)))
        .await
        .done()
        .unwrap();
    bench.source.put_many("0", 100, 10);
    bench
        .until(&engine, |s| of(s, "o0").counts.durable == 200)
        .await;
    assert_eq!((old.count(), bench.outputs[0].count()), (100, 100));
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_drains_promptly() {
    let bench = Bench::new(1, 3);
    bench.outputs[1].mood(Mood::Trouble(TroubleKind::Throttled));
    bench.outputs[2].latency(Duration::from_millis(800));
    bench.source.put_many("0", 400, 10);
    let engine = bench.run().await;
    bench.pass(Duration::from_millis(300)).await;
    let begun = bench.clock.now();
    let status = engine.shutdown(10 * S).await.unwrap();
    // The slow request ends by itself, and is not sent again after the restart.
    assert!(bench.clock.now().since(begun) < S);
    assert_eq!(of(&status, "o2").counts.durable, 400);
    bench.outputs[1].mood(Mood::Well);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    for i in 0..3 {
        assert_eq!(bench.complete(i), 0);
    }
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_is_slow_for_its_latency_keeps_up() {
    let bench = Bench::new(1, 2);
    bench.outputs[1].latency(2 * S);
    let engine = bench.run().await;
    for _ in 0..240 {
        bench.source.put_many("0", 2, 10);
        bench.pass(S / 4).await;
    }
    let status = engine.status();
    assert!(
        of(&status, "o1").behind.unwrap() < 6 * S,
        "{:?}",
        of(&status, "o1").behind
    );
    // Many of the small answers that the other sent one by one went together.
    assert!(of(&status, "o1").counts.requests * 4 < of(&status, "o0").counts.requests);
    bench
        .until(&engine, |s| of(s, "o1").counts.durable == 480)
        .await;
    assert_eq!((bench.complete(0), bench.complete(1)), (0, 0));
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn an_update_forgets_what_the_old_output_acknowledged_out_of_turn() {
    let mut bench = Bench::new(1, 1);
    bench.order = Order::Unordered;
    bench.outputs[0].mood(Mood::OneIn(3));
    bench.source.put_many("0", 300, 10);
    let engine = bench.run().await;
    bench
        .until(&engine, |s| of(s, "o0").counts.requests == 2)
        .await;
    let durable = engine.status().outputs[0].counts.durable;
    let old = bench.outputs[0].count() as u64;
    assert!(durable < 100 && old > durable, "{durable}, {old}");
    bench.outputs[0] = bench.new_output();
    engine
        .apply(Change::Update(bench.spec(0)))
        .await
        .done()
        .unwrap();
    bench
        .until(&engine, |s| of(s, "o0").counts.durable == 300)
        .await;
    assert!(bench.outputs[0].count() as u64 >= 300 - durable - 100);
    let first = bench.outputs[0].written()[0].1;
    let written: Vec<u64> = bench.outputs[0].written().iter().map(|(_, s)| *s).collect();
    assert_eq!(
        written,
        (first..=bench.source.last_sequence()).collect::<Vec<_>>(),
        "no holes"
    );
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_waits_no_longer_than_it_may() {
    let bench = Bench::new(1, 1);
    bench.outputs[0].mood(Mood::Hang);
    bench.source.put_many("0", 10, 10);
    let engine = bench.run().await;
    bench.pass(S).await;
    let begun = bench.clock.now();
    engine.shutdown(2 * S).await.unwrap();
    assert_eq!(bench.clock.now().since(begun), 2 * S);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_fails_is_tried_again_and_ends_the_engine_in_the_end() {
    let mut bench = Bench::new(1, 1);
    bench.settings.store_patience = 30 * S;
    let engine = bench.run().await;
    bench.source.put_many("0", 10, 10);
    bench.store.fail(true);
    let status = bench.until(&engine, |s| s.commits.failing > 1).await;
    assert_eq!(of(&status, "o0").counts.durable, 10);
    bench.store.fail(false);
    bench.until(&engine, |s| s.commits.failing == 0).await;
    bench.source.put_many("0", 10, 10);
    bench.store.fail(true);
    let error = bench.clock.timeout(60 * S, engine.ended()).await.unwrap();
    assert!(matches!(error, EngineError::Store { .. }), "{error}");
    assert!(matches!(
        engine.caught_up().await,
        Err(EngineError::Store { .. })
    ));
    assert!(engine.shutdown(S).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_tried_again() {
    let bench = Bench::new(1, 1);
    let engine = bench.run().await;
    bench.source.put_many("0", 10, 10);
    for kind in [
        TroubleKind::Throttled,
        TroubleKind::Unavailable,
        TroubleKind::Denied,
    ] {
        bench.source.stream.script([Trouble::new(kind, "no")]);
    }
    let status = bench
        .until(&engine, |s| of(s, "o0").counts.durable == 10)
        .await;
    assert_eq!((status.source.throttled, status.source.failed), (1, 2));
    assert_eq!(
        status.source.last_error.unwrap().kind,
        Some(TroubleKind::Denied)
    );
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn an_answer_larger_than_reserved_is_read_again_with_room() {
    let mut bench = Bench::new(1, 1);
    bench.settings.memory_budget = 4 << 20;
    bench.source.limits.answer_bytes = 1 << 20;
    bench.source.put_many("0", 3000, 10);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    // All at once records are a thousand times as large.
    for i in 0..40 {
        bench.source.put("0", &format!("k{i}"), 100_000);
    }
    bench.source.stream.set_answer_bytes(1 << 20);
    bench
        .until(&engine, |s| of(s, "o0").counts.durable == 3040)
        .await;
    assert_eq!(bench.complete(0), 0);
    assert!(
        engine.status().memory.peak <= 4 << 20,
        "{:?}",
        engine.status().memory
    );
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn behind_and_horizon_are_known() {
    let bench = Bench::new(1, 2);
    bench.source.put_many("0", 100, 10);
    bench.outputs[1].mood(Mood::Trouble(TroubleKind::Denied));
    let engine = bench.run().await;
    bench.pass(3600 * S).await;
    let status = engine.status();
    assert_eq!(of(&status, "o0").behind, Some(Duration::ZERO));
    assert_eq!(of(&status, "o0").horizon, Some(86_400 * S));
    let behind = of(&status, "o1").behind.unwrap();
    assert!(behind.abs_diff(3600 * S) < S, "{behind:?}");
    assert!(of(&status, "o1").advice.is_some());
    assert_eq!(of(&status, "o1").horizon, Some(86_400 * S - behind));
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn each_change_answers_with_its_effect() {
    let mut bench = Bench::new(1, 1);
    bench.outputs.push(bench.new_output());
    let id = || OutputId::new("o1");
    let add = || Change::Add(bench.spec(1));
    bench.source.put_many("0", 10, 10);
    let engine = bench.run().await;
    engine.apply(Change::Remove(id())).await.done().unwrap();

    let effect = |change| async { engine.apply(change).await.effect };
    assert!(matches!(
        effect(Change::Pause(id())).await,
        Effect::Refused(_)
    ));
    assert!(matches!(effect(add()).await, Effect::Added));
    assert!(matches!(effect(add()).await, Effect::Refused(_)));
    assert!(matches!(effect(Change::Pause(id())).await, Effect::Paused));
    assert!(matches!(
        effect(Change::Resume(id())).await,
        Effect::Resumed
    ));
    assert!(matches!(
        effect(Change::Update(bench.spec(1))).await,
        Effect::Updated
    ));

    bench.store.fail(true);
    let removed = engine.apply(Change::Remove(id())).await;
    assert_eq!(removed.output, id());
    assert!(matches!(removed.effect, Effect::RemovedInPart(_)));
    assert_eq!(
        engine.status().outputs.len(),
        1,
        "the output is gone all the same"
    );

    bench.store.fail(false);
    bench.pass(30 * S).await;
    assert_eq!(
        bench.store.position("0", "o1"),
        None,
        "deleted with a later commit"
    );
}
