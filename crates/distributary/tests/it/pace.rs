//! An output with too few shards: written at the pace that they allow, and named.

use distributary_local::Local;

use crate::daemon::{Daemon, Dir, address, metric};
use crate::served::{Served, until};

const RECORDS: usize = 4000;

#[test]
fn an_output_with_too_few_shards_is_written_at_their_pace() {
    let local = Local::builder().enforce_limits(true).seed(1).build();
    let served = Served::over(local, &[("input", 8), ("output", 1)]);
    let keys: Vec<String> = (0..RECORDS).map(|n| format!("key-{n}")).collect();
    served.put(
        "input",
        &keys
            .iter()
            .map(|key| (key.as_str(), key.as_str()))
            .collect::<Vec<_>>(),
    );
    let dir = Dir::new();
    let args = [
        "run",
        "--state",
        &dir.text("state.db"),
        "--metrics",
        "127.0.0.1:0",
        "--from",
        "input",
        "--to",
        "output",
    ];
    let mut daemon = Daemon::start(served.command(&args), &dir.path("log"));
    let metrics = address(&daemon.says("serving metrics"));
    let of_output = |name: &str| metric(&metrics, &format!("{name}{{output=\"output\"}}"));
    until("all records", || {
        (of_output("distributary_records_delivered_total") >= RECORDS as f64).then_some(())
    });
    let throttled = metric(
        &metrics,
        "distributary_errors_total{output=\"output\",kind=\"throttled\"}",
    );
    // The lanes of eight shards write side by side before one is refused, and it takes a call to learn the shards.
    assert!(
        (1.0..=20.0).contains(&throttled),
        "{throttled} requests were refused in part"
    );
    assert!(of_output("distributary_held_back_total") > 0.0);
    // Nothing of a key was written in vain: each record has its own.
    assert!(of_output("distributary_records_repeated_total") == 0.0);
    daemon.signal("TERM");
    daemon.end().expect(0);
    served
        .run(&["verify", "--from", "input", "--to", "output"])
        .expect(0);
}
