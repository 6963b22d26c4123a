//! The floor: the same bytes over TLS with no work at all. One prepared `GetRecords` request is
//! read again and again, and one prepared `PutRecords` request of 500 records is written again and
//! again to each output, until as many records went each way as the copy would have moved. The rest
//! is TLS, TCP and the kernel.

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use distributary_bench::{
    Coding, Connection, connect, exchange, json_call, put_body, request, string,
};
use serde_json::{Value, json};

/// Records in a read.
const PER_READ: u16 = 5_000;
/// Records in a write.
const PER_WRITE: u16 = 500;

#[derive(Parser)]
struct Args {
    /// Host and port of the server.
    #[arg(long)]
    address: String,
    /// PEM file with the server's certificate.
    #[arg(long)]
    ca: String,
    /// The stream to read.
    #[arg(long)]
    from: String,
    /// The streams to write.
    #[arg(long, num_args = 1..)]
    to: Vec<String>,
    /// How many records to move.
    #[arg(long)]
    records: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut reader = connect(&args.address, &args.ca)?;
    let iterator = first_iterator(&args, &mut reader)?;
    let records = sample(&args, &mut reader, &iterator)?;

    let read = read_request(&args.address, &iterator);
    let mut puts = Vec::new();
    for stream in &args.to {
        let body = put_body(stream, &records);
        let put = request(&args.address, "PutRecords", Coding::Cbor, &body);
        let writer = connect(&args.address, &args.ca)?;
        puts.push((writer, put));
    }

    let moved = pass(args.records, (reader, read), &mut puts)?;
    println!("{moved} records each way");
    Ok(())
}

/// The start of the source's first shard.
fn first_iterator(args: &Args, reader: &mut Connection) -> Result<String> {
    let body = json!({
        "StreamName": args.from,
        "ShardId": "shardId-000000000000",
        "ShardIteratorType": "TRIM_HORIZON",
    });
    let answer = json_call(&args.address, reader, "GetShardIterator", &body)?;

    let iterator = answer["ShardIterator"].as_str();
    Ok(iterator.context("no iterator")?.to_owned())
}

/// The records for the bodies to write.
fn sample(args: &Args, reader: &mut Connection, iterator: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let body = json!({"ShardIterator": iterator, "Limit": PER_WRITE});
    let answer = json_call(&args.address, reader, "GetRecords", &body)?;
    let sample = answer["Records"].as_array().context("no records")?;

    if sample.len() != usize::from(PER_WRITE) {
        bail!(
            "the first shard of {} holds fewer than {PER_WRITE} records",
            args.from
        );
    }
    sample.iter().map(record).collect()
}

/// Partition key and data of a record in JSON.
fn record(record: &Value) -> Result<(String, Vec<u8>)> {
    let key = record["PartitionKey"].as_str().unwrap_or_default();
    let data = record["Data"].as_str().unwrap_or_default();

    let data = STANDARD.decode(data)?;
    Ok((key.to_owned(), data))
}

fn read_request(address: &str, iterator: &str) -> Vec<u8> {
    let mut body = vec![0xA2];
    string(&mut body, 3, b"ShardIterator");
    string(&mut body, 3, iterator.as_bytes());

    string(&mut body, 3, b"Limit");
    body.push(0x19);
    body.extend(PER_READ.to_be_bytes());
    request(address, "GetRecords", Coding::Cbor, &body)
}

/// Reads and writes until so many records went each way. Returns the number of records.
fn pass(
    records: usize,
    (mut reader, read): (Connection, Vec<u8>),
    puts: &mut [(Connection, Vec<u8>)],
) -> Result<usize> {
    let mut buffer = Vec::with_capacity(8 << 20);
    let mut small = Vec::with_capacity(1 << 17);
    let mut moved = 0;

    while moved < records {
        exchange(&mut reader, &read, &mut buffer)?;
        for _ in 0..PER_READ / PER_WRITE {
            for (writer, put) in puts.iter_mut() {
                exchange(writer, put, &mut small)?;
            }
        }
        moved += usize::from(PER_READ);
    }
    Ok(moved)
}
