//! The real program with a misbehaving way to its server: nothing is lost, order holds by mode, what it counts is what
//! happened, and it never gives up.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::daemon::{Daemon, Dir, address, metric};
use crate::proxy::{Dice, Fault, Proxy};
use crate::served::{Served, finish, pair, until};

const MS: Duration = Duration::from_millis(1);

/// Outputs, one for each mode.
const OUTPUTS: [&str; 3] = ["strict", "resend", "unordered"];

const FILE: &str =
    "from = \"input\"\nstate = \"state.db\"\nidle-interval = \"50ms\"\nread-interval = \"20ms\"\n";

/// A source, three outputs of the three modes, and a proxy before them.
struct Stage {
    served: Served,
    proxy: Proxy,
    dir: Dir,
    put: u32,
}

/// For each key the numbers of its records, as they stand in a stream.
type Log = BTreeMap<String, Vec<u32>>;

impl Stage {
    /// With these settings as well.
    fn new(settings: &str) -> Self {
        let served = Served::new(&[("input", 3), ("strict", 1), ("resend", 2), ("unordered", 3)]);
        let (proxy, dir) = (Proxy::new(&served), Dir::new());
        let outputs = OUTPUTS
            .map(|o| format!("\n[[output]]\nstream = \"{o}\"\norder = \"{o}\"\n"))
            .concat();
        std::fs::write(dir.path("d.toml"), format!("{FILE}{settings}\n{outputs}")).unwrap();
        Self {
            served,
            proxy,
            dir,
            put: 0,
        }
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let file = self.dir.text("d.toml");
        self.proxy
            .before(self.served.command(&[&["run", "-c", &file], args].concat()))
    }

    /// A daemon, and the address of its metrics.
    fn daemon(&self) -> (Daemon, String) {
        let command = self.command(&["--metrics", "127.0.0.1:0"]);
        let mut daemon = Daemon::start(command, &self.dir.path("log"));
        let address = address(&daemon.says("serving metrics"));
        daemon.says("copying");
        (daemon, address)
    }

    /// Puts `n` records more: one in three is of the hot key.
    fn put(&mut self, n: u32) {
        let records: Vec<(String, String)> = (self.put..self.put + n)
            .map(|i| {
                (
                    if i % 3 == 0 {
                        "hot".to_owned()
                    } else {
                        format!("key-{}", i % 50)
                    },
                    i.to_string(),
                )
            })
            .collect();
        let records: Vec<(&str, &str)> = records
            .iter()
            .map(|(k, d)| (k.as_str(), d.as_str()))
            .collect();
        self.served.put("input", &records);
        self.put += n;
    }

    fn log(&self, stream: &str) -> Log {
        let mut log = Log::new();
        for record in self.served.read(stream).iter().flatten() {
            let (key, data) = pair(record);
            let number = std::str::from_utf8(data).unwrap().parse().unwrap();
            log.entry(key.to_owned()).or_default().push(number);
        }
        log
    }

    /// Waits until each output has all that was put.
    #[track_caller]
    fn wait(&self, daemon: &mut Daemon) {
        for output in OUTPUTS {
            until(&format!("all records in {output}"), || {
                assert_eq!(daemon.child.try_wait().unwrap(), None, "{}", daemon.log());
                let mut all: Vec<u32> = self.log(output).into_values().flatten().collect();
                all.sort_unstable();
                all.dedup();
                (all.len() == self.put as usize).then_some(())
            });
        }
    }

    /// The program's own comparison, and one that shares no code with it. Gives the records that stand in each output more
    /// than once.
    #[track_caller]
    fn verify(&self) -> [usize; 3] {
        let args = [
            "verify",
            "--from",
            "input",
            "--to",
            "strict",
            "resend",
            "--allow-repeats",
        ];
        self.served.run(&args).expect(0);
        let args = [
            "verify",
            "--from",
            "input",
            "--to",
            "unordered",
            "--allow-repeats",
            "--ignore-order",
        ];
        self.served.run(&args).expect(0);
        let source = self.log("input");
        OUTPUTS.map(|output| {
            let log = self.log(output);
            assert!(log.keys().eq(source.keys()), "{output}");
            for (key, numbers) in &log {
                ordered(output, key, &source[key], numbers);
            }
            log.values().flatten().count() - self.put as usize
        })
    }
}

/// What the mode `order` promises of one key, in a fan-out that was not restarted.
#[track_caller]
fn ordered(order: &str, key: &str, source: &[u32], output: &[u32]) {
    let place: BTreeMap<u32, usize> = source.iter().enumerate().map(|(i, n)| (*n, i)).collect();
    let places: Vec<usize> = output.iter().map(|n| place[n]).collect();
    let mut sorted = places.clone();
    sorted.sort_unstable();
    sorted.dedup();
    assert_eq!(
        sorted.len(),
        source.len(),
        "{order}: records of {key} are missing"
    );
    match order {
        // Each stands behind the one before it, or is that one again.
        "strict" => {
            let at = places.windows(2).find(|w| w[1] != w[0] && w[1] != w[0] + 1);
            assert_eq!(
                at, None,
                "strict: {key} goes from one place to another: {places:?}"
            );
        }
        "resend" => {
            let last = |i: &usize| places.iter().rposition(|p| p == i);
            assert!(
                sorted.iter().map(last).is_sorted(),
                "resend: last occurrences of {key}: {places:?}"
            );
        }
        _ => {}
    }
}

/// What becomes of a fault in the program's numbers.
#[derive(Clone, Copy, PartialEq)]
enum Seen {
    /// Nothing: it went well in the end.
    Not,
    /// An error of this kind, of a request that was not carried out, for certain.
    Rejected(&'static str),
    /// An error of a request that may have been carried out: what is sent again counts as repeated.
    Unknown,
}

/// Every kind of fault that a request can meet, and how it is to be counted.
const FAULTS: [(Fault, Seen); 14] = [
    (Fault::Delay(Duration::from_millis(30)), Seen::Not),
    (Fault::Drip(100, MS), Seen::Not),
    (Fault::ResetBefore, Seen::Unknown),
    (Fault::CloseBefore, Seen::Unknown),
    (Fault::ResetAfter, Seen::Unknown),
    (Fault::Cut, Seen::Unknown),
    (Fault::Page(502), Seen::Unknown),
    (Fault::Page(503), Seen::Unknown),
    (Fault::Error(500, "InternalFailure"), Seen::Unknown),
    (Fault::Error(503, "ServiceUnavailable"), Seen::Unknown),
    (
        Fault::Error(400, "ThrottlingException"),
        Seen::Rejected("throttled"),
    ),
    // Once; other credentials may do, and here the same ones do.
    (Fault::Error(400, "ExpiredTokenException"), Seen::Not),
    (Fault::HangBefore, Seen::Unknown),
    (Fault::HangAfter, Seen::Unknown),
];

/// A read that hangs is given up after 30 s: too long for a test.
fn hangs(fault: Fault) -> bool {
    matches!(fault, Fault::HangBefore | Fault::HangAfter)
}

/// Twice for one call is the end of a start: then it is true.
fn expires(fault: Fault) -> bool {
    fault == Fault::Error(400, "ExpiredTokenException")
}

/// Every so many requests meet it.
fn every(fault: Fault) -> u64 {
    if hangs(fault) { 6 } else { 3 }
}

/// On several stages at once: most of it is waiting.
fn each_fault(play: impl Fn(&[(Fault, Seen)]) + Sync) {
    std::thread::scope(|scope| {
        for faults in FAULTS.chunks(3) {
            scope.spawn(|| play(faults));
        }
    });
}

#[test]
fn a_daemon_bears_every_fault_in_turn() {
    each_fault(|faults| {
        let mut stage = Stage::new("write-timeout = \"500ms\"");
        let (mut daemon, address) = stage.daemon();
        let sum = |name: &str, labels: &str| -> f64 {
            let of = |o: &str| {
                metric(
                    &address,
                    &format!("distributary_{name}{{output=\"{o}\"{labels}}}"),
                )
            };
            OUTPUTS.map(of).iter().sum()
        };
        for (fault, seen) in faults.iter().copied() {
            let kind = match seen {
                Seen::Rejected(kind) => kind,
                Seen::Unknown | Seen::Not => "unavailable",
            };
            let numbers = || {
                let failed = metric(&address, "distributary_source_failed_total")
                    + metric(&address, "distributary_source_throttled_total");
                let errors = sum("errors_total", &format!(",kind=\"{kind}\""));
                (
                    errors,
                    sum("retries_total", ""),
                    sum("records_repeated_total", ""),
                    failed,
                )
            };
            let before = numbers();
            stage.proxy.plan(move |call| match call.operation {
                "PutRecords" if call.nth % every(fault) == 1 => fault,
                "GetRecords" if call.nth % every(fault) == 1 && !hangs(fault) => fault,
                _ => Fault::Pass,
            });
            until(&format!("{fault:?}"), || {
                stage.put(10);
                stage.wait(&mut daemon);
                let reads = stage.proxy.done("GetRecords", fault);
                (stage.proxy.done("PutRecords", fault) >= 3 && (reads >= 3 || hangs(fault)))
                    .then_some(())
            });
            stage.proxy.heal();
            stage.wait(&mut daemon);
            if seen == Seen::Not {
                continue;
            }
            // The snapshot that is served may be older than what the outputs hold.
            until(&format!("{fault:?} is counted"), || {
                let now = numbers();
                let repeats = seen != Seen::Unknown || now.2 > before.2;
                let reads = hangs(fault) || now.3 > before.3;
                (now.0 >= before.0 + 3.0 && now.1 > before.1 && repeats && reads).then_some(())
            });
        }
        // Repeats are counted before the records are delivered. The snapshot that is served may be
        // older than the outputs.
        let all = f64::from(stage.put) * OUTPUTS.len() as f64;
        until("all records are delivered", || {
            (sum("records_delivered_total", "") >= all).then_some(())
        });
        let counted = sum("records_repeated_total", "");
        daemon.signal("TERM");
        daemon.end().expect(0);
        let repeats: usize = stage.verify().iter().sum();
        assert!(
            repeats as f64 <= counted,
            "{repeats} repeats, {counted} counted"
        );
    });
}

#[test]
fn a_run_until_caught_up_bears_every_fault_in_turn() {
    each_fault(|faults| {
        let mut stage = Stage::new("write-timeout = \"500ms\"");
        for (fault, _) in faults.iter().copied() {
            stage.put(60);
            let mut calls = 0;
            // From the very first one on, whatever it is.
            stage.proxy.plan(move |call| {
                calls += 1;
                let meant = call.operation == "PutRecords" || !(hangs(fault) || expires(fault));
                if calls % every(fault) == 1 && meant {
                    fault
                } else {
                    Fault::Pass
                }
            });
            let done = finish(stage.command(&["--until-caught-up"]), b"").expect(0);
            assert!(!done.err.contains("does not speak CBOR"), "{}", done.err);
        }
        stage.verify();
    });
}

/// A tenth of the entries fail: a twentieth for their rate, a twentieth for nothing.
fn fail_entries(served: &Served) {
    for (output, action) in OUTPUTS
        .iter()
        .flat_map(|o| [(o, "throttle_entries"), (o, "fail_entries")])
    {
        let select = json!({"operations": ["PutRecords"], "stream": output});
        let rule = json!({"select": select, "action": {action: {"probability": 0.05}}});
        served
            .local
            .faults()
            .add(serde_json::from_value(rule).unwrap())
            .unwrap();
    }
}

#[test]
fn all_faults_at_once_and_order_holds_by_mode() {
    let mut stage = Stage::new("write-timeout = \"3s\"");
    fail_entries(&stage.served);
    let (mut daemon, address) = stage.daemon();
    let mut dice = Dice(42);
    let faults: Vec<Fault> = FAULTS
        .iter()
        .map(|(fault, _)| *fault)
        .filter(|fault| !hangs(*fault))
        .collect();
    let mut decks = BTreeMap::<String, Vec<Fault>>::new();
    stage
        .proxy
        .plan(move |call| match (call.operation, dice.roll(4)) {
            // Once, and never forwarded: nothing may be written late.
            ("PutRecords", _) if call.nth == 5 => Fault::HangBefore,
            ("PutRecords" | "GetRecords", 0) => {
                // Each as often as any other.
                let deck = decks.entry(call.operation.to_owned()).or_default();
                if deck.is_empty() {
                    deck.clone_from(&faults);
                }
                deck.swap_remove(dice.roll(deck.len() as u64) as usize)
            }
            _ => Fault::Pass,
        });
    let all = FAULTS
        .iter()
        .map(|(fault, _)| *fault)
        .filter(|fault| *fault != Fault::HangAfter);
    until("every fault was met", || {
        stage.put(40);
        stage.wait(&mut daemon);
        all.clone()
            .all(|fault| stage.proxy.done("PutRecords", fault) > 0)
            .then_some(())
    });
    stage.proxy.heal();
    stage.served.local.faults().clear();
    stage.put(30);
    stage.wait(&mut daemon);
    let counted = OUTPUTS.map(|o| {
        metric(
            &address,
            &format!("distributary_records_repeated_total{{output=\"{o}\"}}"),
        )
    });
    daemon.signal("TERM");
    daemon.end().expect(0);
    let repeats = stage.verify();
    let bounded = repeats
        .iter()
        .zip(counted)
        .all(|(repeats, counted)| *repeats as f64 <= counted);
    assert!(
        bounded,
        "{repeats:?} repeats, {counted:?} counted; {:?}",
        stage.proxy.counts("PutRecords")
    );
}

/// The same with 20,000 records, in a release build: `tests/interop/test_faults.py`.
#[test]
fn order_holds_by_mode_where_a_tenth_of_the_entries_fails_and_answers_are_lost() {
    let mut stage = Stage::new("");
    fail_entries(&stage.served);
    stage.put(300);
    stage.proxy.plan(|call| match call.operation {
        "PutRecords" if call.nth % 20 == 3 => Fault::ResetAfter,
        "PutRecords" if call.nth % 20 == 13 => Fault::Cut,
        _ => Fault::Pass,
    });
    finish(stage.command(&["--until-caught-up"]), b"").expect(0);
    let repeats = stage.verify();
    assert!(
        repeats[..2].iter().all(|repeats| *repeats > 0),
        "{repeats:?}"
    );
}

#[test]
fn a_server_that_is_away_for_a_while_is_waited_for() {
    let mut stage = Stage::new("");
    let (mut daemon, address) = stage.daemon();
    stage.put(100);
    stage.wait(&mut daemon);
    stage.proxy.refuse();
    stage.put(100);
    let failed = || metric(&address, "distributary_source_failed_total");
    let before = failed();
    until("some reads in vain", || {
        (failed() >= before + 6.0).then_some(())
    });
    daemon.says("a read failed, and is tried again: ");
    stage.proxy.accept();
    stage.wait(&mut daemon);
    // The other way round: what is read cannot be written.
    stage.proxy.plan(|call| {
        if call.operation == "PutRecords" {
            Fault::ResetBefore
        } else {
            Fault::Pass
        }
    });
    stage.put(100);
    until("some writes in vain", || {
        (stage.proxy.done("PutRecords", Fault::ResetBefore) >= 12).then_some(())
    });
    stage.proxy.heal();
    stage.wait(&mut daemon);
    daemon.signal("TERM");
    let done = daemon.end().expect(0);
    stage.verify();
    // An outage is a line each for reading and for each output, not one for each shard and try.
    let lines = done
        .err
        .lines()
        .filter(|line| line.contains(" WARN "))
        .count();
    assert!((4..=8).contains(&lines), "{}", done.err);
}

/// Denied for good: the others are finished first, then it says what to do.
#[test]
fn an_output_that_is_denied_is_given_up_once_the_others_are_done() {
    let mut stage = Stage::new("give-up-after = \"500ms\"");
    stage.put(300);
    let denied = Fault::Error(400, "AccessDeniedException");
    stage.proxy.plan(move |call| {
        if call.writes_to("resend") {
            return denied;
        }
        // Slower than the patience.
        if call.operation == "PutRecords" {
            Fault::Delay(20 * MS)
        } else {
            Fault::Pass
        }
    });
    let done = finish(stage.command(&["--until-caught-up"]), b"").expect(1);
    let last = done.err.lines().last().unwrap();
    for text in [
        "distributary: output resend took nothing for ",
        "AccessDeniedException (400): said by the proxy",
        "allow the action kinesis:PutRecords on stream resend",
        "start again: the output goes on where it was",
    ] {
        assert!(last.contains(text), "{text:?} is not in {last:?}");
    }
    let there = |stage: &Stage| OUTPUTS.map(|o| stage.log(o).values().flatten().count());
    assert_eq!(there(&stage), [300, 0, 300]);
    // A daemon goes on trying. What the others did is written down: they repeat nothing.
    let (mut daemon, _) = stage.daemon();
    let before = stage.proxy.done("PutRecords", denied);
    until("a try of each shard", || {
        (stage.proxy.done("PutRecords", denied) >= before + 3).then_some(())
    });
    daemon.says("a write failed, and is tried again: PutRecords on stream resend");
    assert_eq!(there(&stage), [300, 0, 300]);
    stage.proxy.heal();
    stage.wait(&mut daemon);
    daemon.signal("TERM");
    daemon.end().expect(0);
    assert_eq!(stage.verify(), [0, 0, 0]);
}

#[test]
fn a_source_that_may_not_be_read_is_given_up() {
    let mut stage = Stage::new("give-up-after = \"500ms\"");
    stage.put(10);
    let denied = Fault::Error(400, "AccessDeniedException");
    stage.proxy.plan(move |call| {
        if call.operation == "GetRecords" {
            denied
        } else {
            Fault::Pass
        }
    });
    let done = finish(stage.command(&["--until-caught-up"]), b"").expect(1);
    let last = done.err.lines().last().unwrap();
    assert!(
        last.starts_with(
            "distributary: the source: reading a shard failed: GetRecords on stream input"
        ),
        "{last}"
    );
    assert!(
        last.contains("allow the action kinesis:GetRecords on stream input"),
        "{last}"
    );
}
