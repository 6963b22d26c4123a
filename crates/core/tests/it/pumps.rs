//! Outputs that take the rows of a pump in place of the records.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use distributary_core::checkpoint::{Position, Sequence};
use distributary_core::engine::deliver::DeadLetter;
use distributary_core::engine::{Change, Counts, EngineError, Order};
use distributary_core::pump::PumpRef;
use distributary_core::testing::{RowPump, hash};

use crate::bench::{Bench, Mood, balanced, of};

const S: Duration = Duration::from_secs(1);

/// Output `i` takes `stream` of `pump`.
fn connect(bench: &mut Bench, i: usize, pump: &Arc<RowPump>, stream: usize) {
    let pump = Arc::clone(pump) as Arc<_>;
    bench.pumps.insert(i, PumpRef { pump, stream });
}

/// Sequence number and number of each row in output `i`, in the order of writing, without requests that
/// the engine gave up.
fn rows(bench: &Bench, i: usize) -> Vec<(u64, usize)> {
    let records = bench.source.stream.records();
    let data: BTreeMap<u128, _> = records
        .into_values()
        .flatten()
        .map(|record| (record.sequence, record.data))
        .collect();
    let log = bench.outputs[i].service.log();
    let kept = log.into_iter().filter(|written| !written.late);
    let row = |entry: distributary_core::testing::Entry| {
        let data = &data[&entry.sequence];
        let sub = (0..16).find(|sub| hash(&RowPump::row(hash(data), *sub)) == entry.digest);
        (u64::try_from(entry.sequence).unwrap(), sub.unwrap())
    };
    kept.map(|written| row(written.entry)).collect()
}

/// Output `i` has every row of `stream`, and each key's last occurrences stand in order. Returns the
/// number of repeats.
fn complete(bench: &Bench, i: usize, pump: &RowPump, stream: usize) -> usize {
    let written = rows(bench, i);
    let mut last = BTreeMap::new();
    for (at, row) in written.iter().enumerate() {
        last.insert(*row, at);
    }

    let mut by_key: BTreeMap<String, usize> = BTreeMap::new();
    let mut expected = 0;
    let mut records = bench.source.records();
    records.sort_by_key(|record| record.sequence);
    for record in records {
        for sub in 0..pump.rows(stream, u128::from(record.sequence)) {
            let at = last.get(&(record.sequence, sub));
            let at = *at.unwrap_or_else(|| panic!("no row {sub} of {}", record.sequence));
            let before = by_key.insert(record.key.clone(), at);
            assert!(
                bench.order == Order::Unordered || before.is_none_or(|before| before < at),
                "output {i}: row {sub} of {} stands before an earlier one",
                record.sequence
            );
            expected += 1;
        }
    }
    assert_eq!(last.len(), expected, "output {i} has rows of no record");
    written.len() - last.len()
}

fn counts(bench: &Bench, counts: &Counts, pump: &RowPump, stream: usize) {
    let records = bench.source.records();
    let empty = records
        .iter()
        .filter(|record| pump.rows(stream, u128::from(record.sequence)) == 0)
        .count() as u64;
    assert_eq!(counts.filtered, empty);
    assert_eq!(counts.durable, records.len() as u64 - empty);
    assert_eq!(counts.in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_filter_a_duplicator_and_plain_outputs_share_a_source() {
    let mut bench = Bench::new(2, 4);
    let pump = Arc::new(RowPump::new("p", &[&[0, 1, 0], &[3, 0, 2, 1]]));
    connect(&mut bench, 1, &pump, 0);
    connect(&mut bench, 2, &pump, 1);
    for shard in ["0", "1"] {
        bench.source.put_many(shard, 1500, 100);
    }
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();

    let status = engine.shutdown(S).await.unwrap();
    balanced(&status);
    for i in [0, 3] {
        assert_eq!(bench.complete(i), 0);
    }
    for (i, stream) in [(1, 0), (2, 1)] {
        assert_eq!(complete(&bench, i, &pump, stream), 0);
        counts(&bench, &of(&status, &format!("o{i}")).counts, &pump, stream);
    }
}

#[tokio::test(start_paused = true)]
async fn lanes_of_one_pump_share_the_rows_and_the_chunks() {
    let mut bench = Bench::new(1, 4);
    let pump = Arc::new(RowPump::new("p", &[&[1, 2], &[0, 1]]));
    for (i, stream) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
        connect(&mut bench, i, &pump, stream);
    }
    bench.source.put_many("0", 300, 100);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();

    assert_eq!(pump.applied(), 1, "one read, and four lanes");
    let encodings: usize = bench.outputs.iter().map(|o| o.service.encodings()).sum();
    let requests: u64 = bench.outputs.iter().map(|o| o.service.requests()).sum();
    assert_eq!(encodings as u64 * 2, requests);
    for (i, stream) in [(0, 0), (1, 0), (2, 1), (3, 1)] {
        assert_eq!(complete(&bench, i, &pump, stream), 0);
    }
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_the_pump_lacks_is_refused() {
    let mut bench = Bench::new(1, 1);
    let pump = Arc::new(RowPump::new("p", &[&[1]]));
    connect(&mut bench, 0, &pump, 1);
    assert!(matches!(
        bench.try_run().await,
        Err(EngineError::Invalid { .. })
    ));
}

#[tokio::test(start_paused = true)]
async fn a_batch_without_rows_is_passed() {
    let mut bench = Bench::new(1, 1);
    let pump = Arc::new(RowPump::new("p", &[&[0]]));
    connect(&mut bench, 0, &pump, 0);
    bench.source.put_many("0", 40, 10);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();

    let status = engine.shutdown(S).await.unwrap();
    assert_eq!(of(&status, "o0").counts.filtered, 40);
    assert_eq!(bench.outputs[0].service.requests(), 0);
    let last = Position::after(&bench.source.last_sequence().to_string());
    assert_eq!(bench.store.position("0", "o0"), Some(last));
}

#[tokio::test(start_paused = true)]
async fn a_restart_inside_a_record_goes_on_with_the_next_row() {
    let mut bench = Bench::new(1, 1);
    let pump = Arc::new(RowPump::new("p", &[&[5]]));
    connect(&mut bench, 0, &pump, 0);
    bench.outputs[0].limits.entries = 2;
    bench.outputs[0].mood(Mood::Slow(S));
    bench.source.put_many("0", 3, 10);
    let first = bench.source.records()[0].sequence;

    let engine = bench.run().await;
    // The first request has ended, the second is in flight.
    bench.pass(S * 3 / 2).await;
    let status = engine.shutdown(10 * S).await.unwrap();
    balanced(&status);
    let counts = &of(&status, "o0").counts;
    assert_eq!((counts.durable, counts.in_flight), (0, 3));
    let inside = Position::After {
        sequence: Sequence::new(&first.to_string()),
        sub: Some(3),
    };
    assert_eq!(bench.store.position("0", "o0"), Some(inside));

    bench.outputs[0].mood(Mood::Well);
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    let status = engine.shutdown(S).await.unwrap();
    assert_eq!(of(&status, "o0").counts.durable, 3);
    assert_eq!(complete(&bench, 0, &pump, 0), 0, "no row is repeated");
}

#[tokio::test(start_paused = true)]
async fn rows_keep_the_order_per_key_in_each_mode() {
    for order in [Order::Strict, Order::Resend, Order::Unordered] {
        let mut bench = Bench::new(1, 2);
        bench.order = order;
        let pump = Arc::new(RowPump::new("p", &[&[2, 0, 3]]));
        connect(&mut bench, 1, &pump, 0);
        bench.outputs[1].limits.entries = 7;
        bench.outputs[1].mood(Mood::OneIn(4));
        bench.source.put_many("0", 300, 100);
        let engine = bench.run().await;
        for _ in 0..40 {
            bench.pass(S / 10).await;
            balanced(&engine.status());
        }
        bench.outputs[1].mood(Mood::LoseAnswers);
        bench.pass(3 * S).await;
        bench.outputs[1].mood(Mood::Well);
        let status = bench
            .until(&engine, |s| {
                let counts = &of(s, "o1").counts;
                counts.durable + counts.filtered == 300
            })
            .await;
        complete(&bench, 1, &pump, 0);
        counts(&bench, &of(&status, "o1").counts, &pump, 0);
        drop(engine);
    }
}

#[tokio::test(start_paused = true)]
async fn crashes_lose_no_row() {
    let mut bench = Bench::new(2, 2);
    let pump = Arc::new(RowPump::new("p", &[&[4, 0, 0, 1]]));
    connect(&mut bench, 1, &pump, 0);
    bench.outputs[1].limits.entries = 3;
    bench.outputs[1].latency(S / 50);
    bench.settings.checkpoint_interval = S / 10;
    for round in 0..30 {
        let engine = bench.run().await;
        bench.source.put_many("0", 60, 10);
        bench.source.put_many("1", 60, 10);
        bench.pass(S / 10 * (round % 7 + 3)).await;
        balanced(&engine.status());
        drop(engine);
    }
    let engine = bench.run().await;
    engine.caught_up().await.unwrap();
    complete(&bench, 1, &pump, 0);
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn the_budget_holds_with_pumps_and_stuck_outputs() {
    let mut bench = Bench::new(2, 12);
    bench.settings.memory_budget = 3 << 20;
    bench.source.limits.answer_bytes = 128 << 10;
    bench.source.stream.set_answer_bytes(128 << 10);
    let pump = Arc::new(RowPump::new("p", &[&[2, 0, 1], &[1]]));
    for i in 0..12 {
        if i % 3 < 2 {
            connect(&mut bench, i, &pump, i % 3);
        }
        bench.outputs[i].mood(match i {
            0..3 => Mood::Well,
            _ if i % 2 == 0 => Mood::Hang,
            _ => Mood::OneIn(2),
        });
    }
    let engine = bench.run().await;
    for _ in 0..40 {
        for shard in ["0", "1"] {
            bench.source.put_many(shard, 50, 1000);
        }
        for _ in 0..5 {
            bench.pass(S / 5).await;
            balanced(&engine.status());
        }
    }
    for output in &bench.outputs {
        output.mood(Mood::Well);
    }
    let all = |counts: &Counts| counts.durable + counts.filtered == 4000;
    let status = bench
        .until(&engine, |s| s.outputs.iter().all(|o| all(&o.counts)))
        .await;
    assert!(status.memory.peak <= 3 << 20, "{:?}", status.memory);
    for i in 0..12 {
        match i % 3 {
            2 => _ = bench.complete(i),
            stream => _ = complete(&bench, i, &pump, stream),
        }
    }
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_pump_that_is_added_later_makes_rows_of_batches_that_are_there() {
    let mut bench = Bench::new(1, 2);
    // The window stays: this output is behind.
    bench.outputs[0].mood(Mood::Hang);
    bench.source.put_many("0", 400, 100);
    let added = bench.new_output();
    let engine = bench.run().await;
    bench.pass(2 * S).await;

    bench.outputs.push(added);
    let pump = Arc::new(RowPump::new("p", &[&[0, 2]]));
    connect(&mut bench, 2, &pump, 0);
    engine
        .apply(Change::Add(bench.spec(2)))
        .await
        .done()
        .unwrap();
    bench
        .until(&engine, |s| of(s, "o2").counts.durable == 200)
        .await;
    assert_eq!(complete(&bench, 2, &pump, 0), 0);
    drop(engine);
}

#[tokio::test(start_paused = true)]
async fn a_record_with_a_refused_row_counts_as_a_dead_letter() {
    let mut bench = Bench::new(1, 2);
    let pump = Arc::new(RowPump::new("p", &[&[2, 0]]));
    connect(&mut bench, 0, &pump, 0);
    bench.source.put_many("0", 10, 10);
    let first = bench.source.records()[0].sequence;
    let refused = first + first % 2;
    bench.outputs[0].mood(Mood::Refuse(refused));

    let letters = bench.spec(1).output;
    let taken = bench.outputs[1].clone();
    bench.outputs.pop();
    let engine = bench.run().await;
    let mut spec = bench.spec(0);
    spec.dead_letter = Some(DeadLetter {
        refused_by: "o0".to_owned(),
        output: letters,
    });
    engine.apply(Change::Update(spec)).await.done().unwrap();
    engine.caught_up().await.unwrap();

    let status = engine.shutdown(S).await.unwrap();
    balanced(&status);
    let counts = &of(&status, "o0").counts;
    let settled = (counts.durable, counts.filtered, counts.dead_lettered);
    assert_eq!(settled, (4, 5, 1));
    let letters: Vec<u64> = taken.written().into_iter().map(|(_, s)| s).collect();
    assert_eq!(letters, [refused, refused], "one for each row");
}

#[tokio::test(start_paused = true)]
async fn a_pump_that_is_replaced_inside_a_record_sends_all_rows_of_the_record() {
    let mut bench = Bench::new(1, 1);
    let old = Arc::new(RowPump::new("old", &[&[5]]));
    connect(&mut bench, 0, &old, 0);
    bench.outputs[0].limits.entries = 2;
    bench.outputs[0].mood(Mood::Slow(S));
    bench.source.put_many("0", 3, 10);
    let engine = bench.run().await;
    // The first request has ended, the second is in flight.
    bench.pass(S * 3 / 2).await;

    let new = Arc::new(RowPump::new("new", &[&[7]]));
    connect(&mut bench, 0, &new, 0);
    let update = Change::Update(bench.spec(0));
    engine.apply(update).await.done().unwrap();
    engine.caught_up().await.unwrap();

    let status = engine.shutdown(S).await.unwrap();
    balanced(&status);
    assert_eq!(of(&status, "o0").counts.durable, 3);
    assert_eq!(complete(&bench, 0, &new, 0), 4, "the rows of the old pump");
}
