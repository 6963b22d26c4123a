//! Bills that were worked out by hand, with the prices of the program's own file.

use super::bill::Bill;
use super::workload::{Mode, Rates, Workload};
use super::{Plan, plan, prices};

fn work() -> Workload {
    Workload {
        region: "us-east-1".to_owned(),
        mode: Mode::Provisioned,
        shards: 8.0,
        outputs: 5.0,
        outputs_elsewhere: 0.0,
        retention_hours: 24.0,
        workers: 1.0,
        encrypted: false,
        rates: Rates::of(1000.0, 1024),
    }
}

fn made(work: &Workload) -> Plan {
    let prices = prices::read(None).unwrap();
    let region = prices.region(&work.region, None).unwrap();
    plan(work, &prices, region)
}

/// Item and cost of each line.
#[track_caller]
fn check(bill: &Bill, expected: &[(&str, &str)]) {
    let lines = bill.lines.iter();
    let lines: Vec<(String, String)> = lines
        .map(|line| (line.item.clone(), format!("{:.2}", line.cost())))
        .collect();
    let lines: Vec<(&str, &str)> = lines
        .iter()
        .map(|(item, cost)| (item.as_str(), cost.as_str()))
        .collect();
    assert_eq!(lines, expected, "{}", bill.way);
}

#[test]
fn a_provisioned_stream_with_five_outputs() {
    let plan = made(&work());
    // 8 shards x 730 h x 0.015; 1,000/s x 2,628,000 s = 2,628 million x 0.014.
    check(
        &plan.source,
        &[("source: shards", "87.60"), ("source: writes", "36.79")],
    );
    let outputs = [("outputs: shards", "438.00"), ("outputs: writes", "183.96")];
    let with = |more: &[(&'static str, &'static str)]| [&outputs[..], more].concat();
    // 730 h x 0.0168.
    check(&plan.ways[0], &with(&[("machine t4g.small", "12.26")]));
    // 8 calls a second: 21.024 million x 0.20; x 65 ms x 0.5 GB = 683,280 GB-s.
    let function = [("Lambda: calls", "4.20"), ("Lambda: time", "11.39")];
    check(&plan.ways[1], &with(&function));
    // 105.12 million calls; x 45 ms x 0.5 GB = 2,365,200 GB-s.
    let functions = [("Lambda: calls", "21.02"), ("Lambda: time", "39.42")];
    check(&plan.ways[2], &with(&functions));
    // 5 x 8 x 730 h x 0.015; 5 x 2,506.256 GB x 0.013.
    check(
        &plan.ways[3],
        &[
            ("consumers: shards", "438.00"),
            ("consumers: reads", "162.91"),
        ],
    );
    // Each KiB is billed as 5: 5 x 12,531.28 GB x 0.029.
    check(&plan.ways[4], &[("Firehose: data", "1817.04")]);
    let cheapest = plan.cheapest().unwrap();
    assert!(cheapest.way.starts_with("enhanced fan-out"), "{cheapest:?}");
}

#[test]
fn an_encrypted_stream_on_demand_with_an_output_in_another_region() {
    let plan = made(&Workload {
        region: "us-west-2".to_owned(),
        mode: Mode::OnDemand,
        outputs: 3.0,
        outputs_elsewhere: 1.0,
        retention_hours: 168.0,
        encrypted: true,
        rates: Rates::of(200.0, 30 << 10),
        ..work()
    });
    // 200/s x 30 KiB x 2,628,000 s = 15,037.537 GB; 144 h of it are 2,966.309 GB.
    check(
        &plan.source,
        &[
            ("source: streams", "29.20"),
            ("source: writes", "1203.00"),
            ("source: retention up to 7 days", "296.63"),
        ],
    );
    check(
        &plan.ways[0],
        &[
            ("outputs: streams", "87.60"),
            ("outputs: writes", "3609.01"),
            ("outputs: transfer", "300.75"),
            ("KMS: key", "1.00"),
            ("KMS: data keys", "0.21"),
            ("source: reads", "601.50"),
            ("machine t4g.small", "12.26"),
        ],
    );
    // 3 x 15,037.537 GB x 0.05.
    check(&plan.ways[3], &[("consumers: reads", "2255.63")]);
}

#[test]
fn three_workers_with_large_records_and_many_outputs() {
    let plan = made(&Workload {
        shards: 400.0,
        outputs: 25.0,
        retention_hours: 240.0,
        workers: 3.0,
        rates: Rates::of(5000.0, 60 << 10),
        ..work()
    });
    // 5,000/s x 3 units; 72 h of 1,029.968 GB are 74,157.7 GB.
    check(
        &plan.source,
        &[
            ("source: shards", "4380.00"),
            ("source: writes", "551.88"),
            ("source: retention up to 7 days", "5840.00"),
            ("source: retention beyond 7 days", "1705.63"),
        ],
    );
    // 14.3 CPUs on three machines of 8; 200 writes and 22.5 units of reads a second.
    check(
        &plan.ways[0],
        &[
            ("outputs: shards", "109500.00"),
            ("outputs: writes", "13797.00"),
            ("machine c7g.2xlarge", "635.10"),
            ("lease table: writes", "328.50"),
            ("lease table: reads", "7.39"),
        ],
    );
    assert!(!plan.ways[3].delivers_the_same);
    assert_ne!(plan.cheapest().unwrap().way, plan.ways[3].way);
}

#[test]
fn a_region_without_prices_names_the_file() {
    let prices = prices::read(None).unwrap();
    for region in [
        "us-east-1",
        "us-west-2",
        "eu-west-1",
        "eu-central-1",
        "ap-southeast-1",
    ] {
        prices.region(region, None).unwrap();
    }
    let told = prices.region("eu-west-3", None).unwrap_err();
    assert!(told.message().contains("--print-prices"), "{told:?}");
    let file = std::path::Path::new("my.toml");
    let told = prices.region("eu-west-3", Some(file)).unwrap_err();
    assert!(told.message().contains("[[region]] to my.toml"), "{told:?}");
}
