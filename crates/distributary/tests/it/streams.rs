//! `streams` and `--version`.

use serde_json::Value;

use crate::daemon::Dir;
use crate::run::{records, seconds};
use crate::served::{Served, finish, program};

#[test]
fn streams_are_listed_and_shown_with_their_shards() {
    let served = Served::new(&[("orders", 2), ("audit", 1)]);
    served.split("orders", 0);
    served.keep_for("orders", 48);
    let listed = served.run(&["streams"]).expect(0).lines();
    assert_eq!(listed.len(), 2);
    assert!(
        listed[0].starts_with("audit   ACTIVE     PROVISIONED  20"),
        "{listed:?}"
    );

    let shown = served.run(&["streams", "orders"]).expect(0).text();
    for part in [
        "orders  ACTIVE  PROVISIONED  keeps records 48 h, of 1024 KiB at most",
        "shardId-000000000000  closed   50.0 %  0-",
        "shardId-000000000001  open     50.0 %",
        "shardId-000000000002  open     25.0 %",
        "  from shardId-000000000000\n",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    let none = served.run(&["streams", "order"]).expect(1);
    assert!(none.err.contains("order"), "{}", none.err);
}

#[test]
fn rates_are_those_of_the_records_that_arrive() {
    let served = Served::new(&[("orders", 2)]);
    served.put("orders", &records(0, 50));
    let args = ["streams", "orders", "--rates", "6s", "--json"];
    let pass =
        serde_json::json!({"select": {"operations": ["GetShardIterator"]}, "action": "pass"});
    let faults = served.local.faults();
    faults.add(serde_json::from_value(pass).unwrap()).unwrap();
    let watching = crate::served::Running::start(served.command(&args));
    // The first iterators tell that the measuring has begun.
    crate::served::until("the first reads", || {
        (faults.list()[0].selected >= 2).then_some(())
    });
    // The server's time is known to the second.
    let begun = seconds();
    crate::served::until("the second after the next", || {
        (seconds() >= begun + 2).then_some(())
    });
    served.put("orders", &records(0, 30));
    let shown: Value = serde_json::from_str(&watching.wait().expect(0).text()).unwrap();
    let shards = shown[0]["shards"].as_array().unwrap();
    let rate = |key: &str| -> f64 { shards.iter().map(|s| s[key].as_f64().unwrap()).sum() };
    assert!((rate("records-per-second") - 5.0).abs() < 0.01, "{shown:#}");
    assert!(rate("bytes-per-second") > 25.0, "{shown:#}");
    assert_eq!(shown[0]["retention-hours"], 24);
}

#[test]
fn the_version_has_the_features() {
    let done = finish(program(&["--version"]), b"").expect(0);
    let text = done.text();
    assert!(text.starts_with(concat!("distributary ", env!("CARGO_PKG_VERSION"), "\n")));
    for line in [
        "commit: ",
        "features: ",
        "outputs: kinesis, ",
        "sources: kinesis",
    ] {
        assert!(text.contains(&format!("\n{line}")), "{text}");
    }
}

#[test]
fn a_plan_is_made_from_flags_or_from_a_look_at_the_stream() {
    let (served, dir) = (Served::new(&[("input", 2), ("output1", 1)]), Dir::new());
    let args = "plan --rate 1000/s --size 1KiB --shards 8 --outputs 5 --retention 24h";
    let told = served
        .run(&args.split(' ').collect::<Vec<_>>())
        .expect(0)
        .text();
    for line in [
        "  source: shards                   5840.000 shard-hours x 0.015                      87.60\n",
        "Cheapest that delivers the same: enhanced fan-out",
        "Prices of 20",
    ] {
        assert!(told.contains(line), "{line}\n{told}");
    }

    let config = dir.text("d.toml");
    let text =
        "from = \"input\"\n[[output]]\nstream = \"output1\"\n[[output]]\ntype = \"stdout\"\n";
    std::fs::write(&config, text).unwrap();
    let args = ["plan", "-c", &config, "--watch", "1s", "--json"];
    let plans: Value = serde_json::from_str(&served.run(&args).expect(0).text()).unwrap();
    let work = &plans[0]["workload"];
    assert_eq!(
        (&work["shards"], &work["outputs"]),
        (&2.0.into(), &1.0.into())
    );
    assert_eq!(
        (&work["region"], &work["records"]),
        (&"us-east-1".into(), &0.0.into())
    );

    let prices = served.run(&["plan", "--print-prices"]).expect(0).text();
    let mine = dir.text("prices.toml");
    let renamed = prices.replace("\"eu-west-1\"", "\"eu-west-3\"");
    std::fs::write(&mine, renamed).unwrap();
    let region = |region: &str| {
        let args = ["plan", "--rate", "1", "--region", region, "--prices", &mine];
        served.run(&args)
    };
    region("eu-west-3").expect(0);
    let none = region("eu-west-1").expect(2);
    assert!(
        none.err.contains(&format!("add a [[region]] to {mine}")),
        "{}",
        none.err
    );
    served.run(&["plan"]).expect(2);
}

#[test]
fn the_page_about_costs_has_the_plan_that_the_program_prints() {
    let page = include_str!("../../../../docs/COST.md");
    let command = page.split("```sh\ndistributary ").nth(1).unwrap();
    let (command, _) = command.split_once('\n').unwrap();
    let args: Vec<&str> = command.split(' ').collect();
    let printed = finish(program(&args), b"").expect(0).text();
    assert!(
        page.contains(&format!("```text\n{printed}```\n")),
        "{printed}"
    );
}
