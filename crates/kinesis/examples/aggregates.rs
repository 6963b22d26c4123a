//! CPU-seconds per GB of encoding a batch for an output: plain records, KPL aggregates passed whole
//! and divided, taken apart, and packed; and the cost of looking for aggregates.
//!
//! `cargo run --release -p distributary-kinesis --example aggregates [rounds [name]]`. No network:
//! the output learns its shards from a transport that answers one call. With `name` only the lines
//! that contain the name, to count instructions by `valgrind --tool=cachegrind --cache-sim=no`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use distributary_core::batch::{Batch, Origin, ShardId};
use distributary_core::clock::Millis;
use distributary_core::output::{Output, Picks};
use distributary_core::pump::Pump;
use distributary_core::record::{DataForm, RecordIndex, Span};
use distributary_kinesis::client::Client;
use distributary_kinesis::kpl::{Deaggregator, Packer, is_aggregate};
use distributary_kinesis::output::{Aggregates, KinesisOutput, OutputOptions};
use distributary_wire::codec::{Format, encode};
use distributary_wire::hashkey::HashRange;
use distributary_wire::hot::Data;
use distributary_wire::transport::{Request, Response, ResponseBody, Transport, TransportError};
use distributary_wire::types::{ListShardsResponse, Shard};
use http::header::CONTENT_TYPE;

/// Bytes of a user record, and the user records of a batch.
const RECORD: usize = 1024;
const RECORDS: usize = 480;
/// User records of an aggregate: about 50 KB, as the KPL makes them.
const IN_AGGREGATE: usize = 48;

/// Answers every call with the shards of a stream.
struct Shards(u32);

#[async_trait]
impl Transport for Shards {
    async fn call(&self, _: Request, _: Duration) -> Result<Response, TransportError> {
        let shard = |(i, range): (usize, HashRange)| Shard {
            shard_id: format!("shard-{i}"),
            hash_key_range: Some(range.to_wire()),
            ..Default::default()
        };
        let shards = HashRange::even(self.0).into_iter().enumerate();
        let answer = ListShardsResponse {
            shards: Some(shards.map(shard).collect()),
            ..Default::default()
        };
        let body = encode(Format::Cbor, &answer);
        let response = http::Response::builder().header(CONTENT_TYPE, Format::Cbor.content_type());
        Ok(response.body(ResponseBody::Full(body)).unwrap())
    }
}

fn batch(records: &[(String, Vec<u8>)]) -> Batch {
    let mut buffer = Vec::new();
    let mut put = |bytes: &[u8]| {
        let start = u32::try_from(buffer.len()).unwrap();
        buffer.extend_from_slice(bytes);
        let len = u32::try_from(bytes.len()).unwrap();
        Span { start, len }
    };
    let index = records
        .iter()
        .enumerate()
        .map(|(i, (key, data))| RecordIndex {
            sequence: put(i.to_string().as_bytes()),
            key: Some(put(key.as_bytes())),
            data: put(data),
            arrival: Millis(0),
        });
    let index = index.collect();
    let origin = Arc::new(Origin {
        source: "source".into(),
        shard: ShardId::new("shardId-000000000000"),
        hash_range: None,
    });
    Batch::new(origin, Bytes::from(buffer), DataForm::Raw, index).unwrap()
}

fn users() -> Vec<(String, Vec<u8>)> {
    let user = |i: usize| (format!("user-{}", i % 100), vec![i as u8; RECORD]);
    (0..RECORDS).map(user).collect()
}

fn aggregates() -> Vec<(String, Vec<u8>)> {
    let users = users();
    let aggregate = |users: &[(String, Vec<u8>)]| {
        let mut packer = Packer::default();
        users
            .iter()
            .for_each(|(key, data)| packer.push(key, None, data));
        ("a".to_owned(), packer.finish())
    };
    users.chunks(IN_AGGREGATE).map(aggregate).collect()
}

async fn output(shards: u32, aggregates: Aggregates) -> KinesisOutput {
    let builder = Client::builder(Arc::new(Shards(shards))).format(Format::Cbor);
    let client = builder.endpoint("http://localhost").build().unwrap();
    let options = OutputOptions {
        aggregates,
        ..OutputOptions::default()
    };
    let output = KinesisOutput::new(client, "output".parse().unwrap(), options);
    // The first aggregate makes the output list its shards.
    let one = batch(&self::aggregates()[..1]);
    let chunk = output.encode(&one, Picks::Run(0..1));
    if aggregates != Aggregates::TakeApart {
        output.write(&one, &chunk, Duration::from_secs(1)).await;
    }
    output
}

/// The arguments of the program.
struct Measuring {
    rounds: usize,
    only: Option<String>,
}

impl Measuring {
    /// Prints the seconds per GB of user data that `work` takes, unless another name was chosen.
    fn run(&self, name: &str, mut work: impl FnMut()) {
        let is_chosen = |only: &String| name.contains(only.as_str());
        if self.only.as_ref().is_none_or(is_chosen) {
            measure(name, self.rounds, &mut work);
        }
    }
}

/// CPU seconds of this thread (Linux), which other processes on the machine do not change.
fn cpu_seconds() -> f64 {
    let spent = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    let nanos: f64 = spent.split(' ').next().unwrap().parse().unwrap();
    nanos / 1e9
}

fn measure(name: &str, rounds: usize, work: &mut dyn FnMut()) {
    work();
    let mut times: Vec<f64> = (0..5)
        .map(|_| {
            let start = cpu_seconds();
            (0..rounds).for_each(|_| work());
            cpu_seconds() - start
        })
        .collect();
    times.sort_by(f64::total_cmp);
    let gigabytes = (rounds * RECORDS * RECORD) as f64 / 1e9;
    println!("{name:<44} {:>8.4} s/GB", times[2] / gigabytes);
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let rounds = std::env::args().nth(1);
    let measuring = Measuring {
        rounds: rounds.map_or(200, |rounds| rounds.parse().unwrap()),
        only: std::env::args().nth(2),
    };
    let (plain, packed) = (batch(&users()), batch(&aggregates()));
    let encode = |output: &KinesisOutput, batch: &Batch| {
        std::hint::black_box(output.encode(batch, Picks::Run(0..batch.len())));
    };

    let pass_on = output(1, Aggregates::PassOn).await;
    let untouched = KinesisOutput::new(
        Client::builder(Arc::new(Shards(1)))
            .format(Format::Cbor)
            .endpoint("http://localhost")
            .build()
            .unwrap(),
        "output".parse().unwrap(),
        OutputOptions::default(),
    );
    measuring.run("plain records, encoded", || encode(&untouched, &plain));
    measuring.run("looking for aggregates in plain records", || {
        let found = plain
            .iter()
            .any(|record| is_aggregate(Data::Raw(record.data)));
        std::hint::black_box(found);
    });
    measuring.run("aggregates, passed whole", || {
        encode(&pass_on, &packed);
    });
    let eight = output(8, Aggregates::PassOn).await;
    measuring.run("aggregates, divided for 8 shards", || {
        encode(&eight, &packed);
    });

    let apart = output(8, Aggregates::TakeApart).await;
    let pump = Deaggregator::default();
    measuring.run("aggregates, taken apart (pump and encoding)", || {
        let rows = pump.apply(&packed).unwrap().remove(0);
        encode(&apart, rows.batch());
    });
    let pack = output(8, Aggregates::Pack).await;
    measuring.run("plain records, packed for 8 shards", || {
        encode(&pack, &plain);
    });
}
