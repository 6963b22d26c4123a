//! Random runs: outputs in every mood, reshards, gapless crashes and restarts, pauses, small budgets; at the end every
//! record must be in every output, in order, children behind their parents, and the books balanced all along. One seed is
//! one run.

use std::collections::BTreeMap;
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::clock::split_mix;
use distributary_core::engine::{Change, Engine, Order};
use distributary_core::output::{EncodingKey, Trouble, TroubleKind};
use distributary_core::store::OutputId;

use crate::bench::{Bench, Mood, balanced};

struct Dice(u64);

impl Dice {
    fn roll(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        split_mix(self.0) % n
    }

    fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[usize::try_from(self.roll(of.len() as u64)).unwrap()]
    }
}

struct Run {
    bench: Bench,
    dice: Dice,
    open: Vec<String>,
    shards: u64,
    paused: Vec<bool>,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let shards = 1 + dice.roll(3);
        let mut bench = Bench::new(
            usize::try_from(shards).unwrap(),
            1 + usize::try_from(dice.roll(5)).unwrap(),
        );
        bench.order = *dice.pick(&[Order::Resend, Order::Strict, Order::Unordered]);
        bench.settings.memory_budget = *dice.pick(&[200_000, 400_000, 2_000_000]);
        bench.source.limits.answer_bytes = 20_000;
        bench.settings.request_deadline = Duration::from_secs(3);
        bench.settings.map_refresh = Duration::from_secs(2);
        bench.source.stream.set_answer_bytes(15_000);
        for output in &mut bench.outputs {
            output.limits.entries = *dice.pick(&[1, 3, 50]);
            if dice.roll(3) == 0 {
                output.key = EncodingKey::new("fake", format!("key {}", output.limits.entries));
            }
            output.key = EncodingKey::new(
                "fake",
                format!("{} {}", output.key.form(), output.limits.entries),
            );
        }
        let paused = vec![false; bench.outputs.len()];
        Self {
            bench,
            dice,
            open: (0..shards).map(|i| i.to_string()).collect(),
            shards,
            paused,
        }
    }

    fn feed(&mut self) {
        for _ in 0..self.dice.roll(12) {
            let shard = self.dice.pick(&self.open).clone();
            let n = usize::try_from(self.dice.roll(20)).unwrap();
            let size = *self.dice.pick(&[0, 20, 300, 2000]);
            self.bench.source.put_many(&shard, n, size);
        }
    }

    fn reshard(&mut self) {
        if self.shards > 12 {
            return;
        }
        let at = usize::try_from(self.dice.roll(self.open.len() as u64)).unwrap();
        let parent = self.open.swap_remove(at);
        if self.dice.roll(2) == 0 && !self.open.is_empty() {
            let other = self.open.swap_remove(0);
            let child = self.shards.to_string();
            self.shards += 1;
            self.bench.source.reshard(&[&parent, &other], &[&child]);
            self.open.push(child);
        } else {
            let children = [self.shards.to_string(), (self.shards + 1).to_string()];
            self.shards += 2;
            self.bench
                .source
                .reshard(&[&parent], &[&children[0], &children[1]]);
            self.open.extend(children);
        }
    }

    fn upset(&mut self) {
        let moods = [
            Mood::Well,
            Mood::Well,
            Mood::Hang,
            Mood::Trouble(TroubleKind::Throttled),
            Mood::Trouble(TroubleKind::Missing),
            Mood::LoseAnswers,
            Mood::OneIn(2),
            Mood::OneIn(10),
        ];
        let mood = *self.dice.pick(&moods);
        let latency = Duration::from_millis(*self.dice.pick(&[0, 5, 200, 2000]));
        let output = self.dice.pick(&self.bench.outputs);
        output.mood(mood);
        output.latency(latency);
    }

    async fn pause(&mut self, engine: &Engine) {
        let i = usize::try_from(self.dice.roll(self.paused.len() as u64)).unwrap();
        let id = OutputId::new(&format!("o{i}"));
        let change = if self.paused[i] {
            Change::Resume(id)
        } else {
            Change::Pause(id)
        };
        engine.apply(change).await.done().unwrap();
        self.paused[i] = !self.paused[i];
    }

    /// Anything may happen for a while; then the engine crashes or is shut down.
    async fn life(&mut self) {
        let engine = self.bench.run().await;
        self.paused.fill(false);
        for _ in 0..self.dice.roll(30) {
            match self.dice.roll(12) {
                0 => self.reshard(),
                1..=3 => self.upset(),
                4 => self.pause(&engine).await,
                5 => {
                    let kind = *self
                        .dice
                        .pick(&[TroubleKind::Throttled, TroubleKind::Unavailable]);
                    self.bench.source.stream.script([Trouble::new(kind, "no")]);
                }
                6 => {
                    let failing = self.dice.roll(2) == 0;
                    self.bench.store.fail(failing);
                }
                _ => self.feed(),
            }
            let wait = *self.dice.pick(&[0, 3, 50, 400, 3000, 20_000]);
            self.bench.pass(Duration::from_millis(wait)).await;
            balanced(&engine.status());
        }
        self.bench.store.fail(false);
        if self.dice.roll(3) == 0 {
            balanced(
                &engine
                    .shutdown(Duration::from_secs(self.dice.roll(5)))
                    .await
                    .unwrap(),
            );
        } else {
            drop(engine);
        }
    }

    /// Everybody is well again: everything must arrive.
    async fn end(&mut self) {
        for output in &self.bench.outputs {
            output.mood(Mood::Well);
            output.latency(Duration::from_millis(5));
        }
        let engine = self.bench.run().await;
        let caught_up = self
            .bench
            .clock
            .timeout(Duration::from_secs(3000), engine.caught_up())
            .await;
        assert!(
            caught_up.is_some(),
            "it never catches up: {:#?}",
            engine.status()
        );
        caught_up.unwrap().unwrap();
        let status = engine.shutdown(Duration::from_secs(5)).await.unwrap();
        balanced(&status);
        assert_eq!(status.memory.used, 0, "{:?}", status.memory);
        for i in 0..self.bench.outputs.len() {
            if self.bench.order == Order::Unordered {
                self.bench.all_there(i);
            } else {
                self.bench.complete(i);
            }
            self.children_behind_parents(i);
        }
    }

    /// For output `i`: the records of a child stand behind those of its parents, by their first occurrences and by their
    /// last.
    fn children_behind_parents(&self, i: usize) {
        let written = self.bench.outputs[i].written();
        let mut first = BTreeMap::new();
        let mut last = BTreeMap::new();
        for (at, (_, sequence)) in written.iter().enumerate() {
            first.entry(*sequence).or_insert(at);
            last.insert(*sequence, at);
        }
        self.check_lineage(i, &first);
        self.check_lineage(i, &last);
    }

    fn check_lineage(&self, i: usize, place: &BTreeMap<u64, usize>) {
        let mut span: BTreeMap<ShardId, (usize, usize)> = BTreeMap::new();
        for (shard, sequence) in self.bench.source.shards_of_records() {
            let at = place[&sequence];
            let span = span.entry(shard).or_insert((at, at));
            *span = (span.0.min(at), span.1.max(at));
        }
        for (parent, child) in self.bench.source.lineage() {
            if let (Some(parent_span), Some(child_span)) = (span.get(&parent), span.get(&child)) {
                assert!(
                    parent_span.1 < child_span.0,
                    "output {i}: {child} came before the end of {parent}"
                );
            }
        }
    }
}

fn run(seed: u64) -> Vec<Vec<(String, u64)>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(async {
        let mut run = Run::new(seed);
        for _ in 0..=run.dice.roll(4) {
            run.life().await;
        }
        run.end().await;
        run.bench.outputs.iter().map(|o| o.written()).collect()
    })
}

#[test]
fn random_runs_lose_nothing_and_keep_the_order() {
    let seeds = std::env::var("SEEDS")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(60);
    let first = std::env::var("SEED")
        .ok()
        .and_then(|s| s.parse().ok())
        .unwrap_or(0);
    for seed in first..first + seeds {
        let result = std::panic::catch_unwind(|| run(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}

#[test]
fn one_seed_is_one_run() {
    for seed in [3, 17, 40] {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
