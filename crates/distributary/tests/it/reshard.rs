//! Shards split and merged under load, with the program running and with it killed, at both ends: order per key holds in each
//! output across all of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use distributary_local::{Env, Local, RealEnv, Sleep};
use distributary_wire::types::Shard;

use crate::daemon::{Daemon, Dir};
use crate::proxy::Dice;
use crate::served::{Served, finish, pair, until};

const OUTPUTS: [&str; 2] = ["output1", "output2"];
const KEYS: u32 = 30;

/// Numbered records of a few keys.
fn put(served: &Served, numbers: std::ops::Range<u32>) {
    let records: Vec<(String, String)> = numbers
        .map(|i| (format!("key-{}", i % KEYS), i.to_string()))
        .collect();
    let records: Vec<(&str, &str)> = records
        .iter()
        .map(|(k, d)| (k.as_str(), d.as_str()))
        .collect();
    served.put("input", &records);
}

/// For each key the numbers of its records as they stand in a stream, parents before children.
fn log(served: &Served, stream: &str) -> BTreeMap<String, Vec<u32>> {
    let mut log = BTreeMap::<String, Vec<u32>>::new();
    for record in served.read(stream).iter().flatten() {
        let (key, data) = pair(record);
        log.entry(key.to_owned())
            .or_default()
            .push(std::str::from_utf8(data).unwrap().parse().unwrap());
    }
    log
}

fn held(served: &Served, stream: &str) -> usize {
    let mut numbers: Vec<u32> = log(served, stream).into_values().flatten().collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers.len()
}

/// Every record of `0..n` is in each output, and each key goes back only to begin again from there in order.
#[track_caller]
fn complete_and_in_order(served: &Served, n: u32) {
    let args = [
        "verify",
        "--from",
        "input",
        "--to",
        "output1",
        "output2",
        "--allow-repeats",
    ];
    served.run(&args).expect(0);
    for output in OUTPUTS {
        assert_eq!(held(served, output), n as usize, "{output}");
        in_order(output, log(served, output));
    }
}

#[track_caller]
fn in_order(output: &str, log: BTreeMap<String, Vec<u32>>) {
    for (key, numbers) in log {
        let skips = numbers.windows(2).find(|w| w[1] > w[0] + KEYS);
        assert_eq!(
            (numbers[0] < KEYS, skips),
            (true, None),
            "{output}, {key}: {numbers:?}"
        );
    }
}

/// The shards of a stream that take records, in the order of their hash ranges.
fn open(served: &Served, stream: &str) -> Vec<(usize, Shard)> {
    let start = |shard: &Shard| -> u128 {
        shard
            .hash_key_range
            .as_ref()
            .unwrap()
            .starting_hash_key
            .parse()
            .unwrap()
    };
    let closed = |shard: &Shard| {
        shard
            .sequence_number_range
            .as_ref()
            .is_some_and(|range| range.ending_sequence_number.is_some())
    };
    let mut open: Vec<_> = served
        .shards(stream)
        .into_iter()
        .enumerate()
        .filter(|(_, shard)| !closed(shard))
        .collect();
    open.sort_by_key(|(_, shard)| start(shard));
    open
}

/// Splits a shard of the stream, or merges two.
fn reshard(served: &Served, stream: &str, dice: &mut Dice) {
    let open = open(served, stream);
    if open.len() < 2 || (open.len() < 6 && dice.roll(2) == 0) {
        served.split(stream, open[dice.roll(open.len() as u64) as usize].0);
    } else {
        let at = dice.roll(open.len() as u64 - 1) as usize;
        served.merge(stream, &open[at].1, &open[at + 1].1);
    }
}

/// Load, until it is told to stop.
// The pause makes the load, and waits for nothing.
#[allow(clippy::disallowed_methods)]
fn produce(served: &Served, count: &AtomicU32, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        let n = count.load(Ordering::Relaxed);
        put(served, n..n + 5);
        count.store(n + 5, Ordering::Relaxed);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn order_holds_through_generations_of_shards_and_kills() {
    let (served, dir) = (
        Served::new(&[("input", 2), ("output1", 1), ("output2", 3)]),
        Dir::new(),
    );
    let args = [
        "--from",
        "input",
        "--to",
        "output1",
        "output2",
        "--checkpoint-interval",
        "100ms",
    ];
    let (count, stop) = (AtomicU32::new(0), AtomicBool::new(false));
    let mut dice = Dice(3);
    std::thread::scope(|scope| {
        scope.spawn(|| produce(&served, &count, &stop));
        // Also if something fails below.
        let _stop = Stop(&stop);
        for round in 0..4 {
            let daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
            let more = |than: u32| {
                for output in OUTPUTS {
                    until(&format!("more in {output}"), || {
                        (held(&served, output) > than as usize).then_some(())
                    });
                }
            };
            // Under way, and then with shards that change below it, at both ends.
            more(count.load(Ordering::Relaxed));
            for _ in 0..2 {
                reshard(&served, "input", &mut dice);
                reshard(&served, OUTPUTS[round % 2], &mut dice);
                let now = count.load(Ordering::Relaxed);
                more(now);
            }
            reshard(&served, "input", &mut dice);
            daemon.kill();
            // Several generations that it never saw open.
            for _ in 0..round {
                let now = count.load(Ordering::Relaxed);
                reshard(&served, "input", &mut dice);
                until("records in the new shards", || {
                    (count.load(Ordering::Relaxed) >= now + 20).then_some(())
                });
            }
        }
    });
    let n = count.load(Ordering::Relaxed);
    assert!(
        served.shards("input").len() > 15,
        "{} shards",
        served.shards("input").len()
    );
    finish(
        dir.run(&served, &[&args[..], &["--until-caught-up"]].concat()),
        b"",
    )
    .expect(0);
    complete_and_in_order(&served, n);
}

/// Tells the producer to stop.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// The machine's time, some hours ahead.
struct Ahead {
    real: RealEnv,
    hours: Arc<AtomicU64>,
}

impl Env for Ahead {
    fn now_ms(&self) -> u64 {
        self.real.now_ms() + self.hours.load(Ordering::Relaxed) * 3_600_000
    }
    fn monotonic(&self) -> Duration {
        self.real.monotonic()
    }
    fn sleep(&self, duration: Duration) -> Sleep {
        self.real.sleep(duration)
    }
    fn random(&self) -> u64 {
        self.real.random()
    }
}

#[test]
fn order_holds_though_retention_deletes_parents() {
    let hours = Arc::new(AtomicU64::new(0));
    let env = Ahead {
        real: RealEnv::seeded(1),
        hours: Arc::clone(&hours),
    };
    let local = Local::builder().env(Arc::new(env)).seed(1).build();
    let served = Served::over(local, &[("input", 2), ("output1", 1), ("output2", 3)]);
    for output in OUTPUTS {
        served.keep_for(output, 8760);
    }
    let dir = Dir::new();
    let args = ["--from", "input", "--to", "output1", "output2"];
    let mut dice = Dice(5);
    let put_and_wait = |numbers: std::ops::Range<u32>| {
        put(&served, numbers.clone());
        for output in OUTPUTS {
            until(&format!("{numbers:?} in {output}"), || {
                (held(&served, output) == numbers.end as usize).then_some(())
            });
        }
    };
    // A day later only the shards that are open are there.
    let a_day_later = || {
        hours.fetch_add(25, Ordering::Relaxed);
        until("the parents are gone", || {
            (served.shards("input").len() == open(&served, "input").len()).then_some(())
        });
    };
    let daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    put_and_wait(0..300);
    reshard(&served, "input", &mut dice);
    put_and_wait(300..600);
    daemon.signal("TERM");
    daemon.end().expect(0);
    // While it is down: two generations, of which it never sees the first.
    reshard(&served, "input", &mut dice);
    reshard(&served, "input", &mut dice);
    a_day_later();
    put(&served, 600..900);
    let daemon = Daemon::start(dir.run(&served, &args), &dir.path("log"));
    put_and_wait(900..1000);
    // While it runs.
    reshard(&served, "input", &mut dice);
    put_and_wait(1000..1100);
    a_day_later();
    reshard(&served, "input", &mut dice);
    put_and_wait(1100..1200);
    daemon.signal("TERM");
    daemon.end().expect(0);
    for output in OUTPUTS {
        in_order(output, log(&served, output));
    }
}
