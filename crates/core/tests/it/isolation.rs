//! What outputs in trouble cost the others, in time: SEMANTICS.md, line 4, with AWS's limits of a shard.

use std::time::Duration;

use distributary_core::engine::OutputStatus;
use distributary_core::output::{EncodingKey, TroubleKind};

use crate::bench::{BASE, Bench, Mood, Source, balanced};

const S: Duration = Duration::from_secs(1);
/// Between two writes to the source.
const TICK: Duration = Duration::from_millis(50);
const SHARDS: usize = 4;
const RECORD: usize = 8 << 10;

/// 640 KiB a second and shard, as 32 shards have it at 20 MB/s, with as much memory for each.
fn bench() -> Bench {
    let mut bench = Bench::new(SHARDS, 5);
    bench.source.limits.bytes_per_second = Some(2 << 20);
    bench.settings.memory_budget = SHARDS * (8 << 20);
    bench.source.limits.answer_bytes = 1 << 20;
    bench
}

async fn write_for(bench: &Bench, time: Duration) {
    for _ in 0..time.as_millis() / TICK.as_millis() {
        for shard in 0..SHARDS {
            bench.source.put_many(&shard.to_string(), 4, RECORD);
        }
        bench.pass(TICK).await;
    }
}

/// The 99th of a hundred and the greatest delays, in milliseconds, of what arrived from `from` on.
fn delays(bench: &Bench, output: usize, from: Duration, to: Duration) -> (u128, u128) {
    let times = bench.outputs[output].times();
    let arrival = |at: i64| Duration::from_millis((at - BASE).cast_unsigned());
    let records = bench
        .source
        .records()
        .into_iter()
        .map(|r| (arrival(r.arrival.0), r.sequence));
    let mut all: Vec<u128> = records
        .filter(|(at, _)| (from..to).contains(at))
        .map(|(at, s)| times[&s].saturating_sub(at).as_millis())
        .collect();
    all.sort_unstable();
    (all[all.len() * 99 / 100], *all.last().unwrap())
}

/// No shard is read more than five times in any second.
fn calls_are_within_limits(bench: &Bench) {
    let reads = bench.source.calls();
    for shard in 0..SHARDS {
        let calls: Vec<_> = reads
            .iter()
            .filter(|call| call.shard.as_str() == shard.to_string())
            .collect();
        for window in calls.windows(6) {
            assert!(
                window[5].at - window[0].at >= S,
                "six calls within a second: {window:?}"
            );
        }
    }
}

/// The delays of the three outputs that are well: before the two others are in trouble, while they are, and while these
/// catch up. The source goes on all the time.
async fn disturbed_by(o3: Mood, o4: Mood, time: Duration) -> [(u128, u128); 3] {
    disturbed(bench(), o3, o4, time).await
}

async fn disturbed(bench: Bench, o3: Mood, o4: Mood, time: Duration) -> [(u128, u128); 3] {
    let engine = bench.run().await;
    write_for(&bench, 5 * S).await;
    let calm = bench.clock.now().0;
    write_for(&bench, 20 * S).await;
    let disturbed = bench.clock.now().0;
    bench.outputs[3].mood(o3);
    bench.outputs[4].mood(o4);
    write_for(&bench, time).await;
    balanced(&engine.status());
    let mended = bench.clock.now().0;
    bench.outputs[3].mood(Mood::Well);
    bench.outputs[4].mood(Mood::Well);
    write_for(&bench, 2 * time).await;
    let end = bench.clock.now().0;
    let all = bench.source.last_sequence() - Source::FIRST;
    let back = |o: &OutputStatus| o.counts.durable == all && o.in_window == SHARDS;
    bench.until(&engine, |s| s.outputs.iter().all(back)).await;
    drop(engine);
    calls_are_within_limits(&bench);
    for i in 0..5 {
        bench.complete(i);
    }
    let stretches = [(calm, disturbed), (disturbed, mended), (mended, end)];
    stretches.map(|(from, to)| (0..3).map(|o| delays(&bench, o, from, to)).max().unwrap())
}

/// The 99th of a hundred is at most 1.2 times what it was.
fn within_a_fifth(of: [(u128, u128); 3]) {
    let [(calm, _), others @ ..] = of;
    for (p99, _) in others {
        assert!(p99 * 10 <= calm * 12, "{of:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_throttled_and_a_missing_output_delay_no_other() {
    within_a_fifth(
        disturbed_by(
            Mood::AllBut(50),
            Mood::Trouble(TroubleKind::Missing),
            40 * S,
        )
        .await,
    );
}

#[tokio::test(start_paused = true)]
async fn silent_outputs_delay_no_other() {
    within_a_fifth(disturbed_by(Mood::Hang, Mood::Hang, 40 * S).await);
}

#[tokio::test(start_paused = true)]
async fn slow_outputs_delay_no_other() {
    within_a_fifth(disturbed_by(Mood::Slow(5 * S), Mood::Slow(S), 40 * S).await);
}

#[tokio::test(start_paused = true)]
async fn silent_outputs_with_encodings_of_their_own_delay_no_other() {
    let mut bench = bench();
    for (i, output) in bench.outputs.iter_mut().enumerate() {
        output.key = EncodingKey::new("fake", format!("own-{i}"));
    }
    within_a_fifth(disturbed(bench, Mood::Hang, Mood::Hang, 40 * S).await);
}
