//! The floor: the same bytes over TLS with no work at all. One prepared `GetRecords` request is read again and again, one
//! prepared `PutRecords` request of 500 records is written again and again to each output, until as many records have
//! gone each way as the copy would have moved. What is left is TLS, TCP and the kernel.

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use clap::Parser;
use distributary_bench::{connect, exchange, json_call, put_body, request, string};

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
    let iterator = json_call(
        &args.address,
        &mut reader,
        "GetShardIterator",
        &serde_json::json!({"StreamName": args.from, "ShardId": "shardId-000000000000", "ShardIteratorType": "TRIM_HORIZON"}),
    )?["ShardIterator"]
        .as_str()
        .context("no iterator")?
        .to_owned();
    // The records themselves, once, for the bodies to write.
    let sample = json_call(
        &args.address,
        &mut reader,
        "GetRecords",
        &serde_json::json!({"ShardIterator": iterator, "Limit": 500}),
    )?;
    let records: Vec<(String, Vec<u8>)> = sample["Records"]
        .as_array()
        .context("no records")?
        .iter()
        .map(|r| {
            let data = base64::engine::general_purpose::STANDARD
                .decode(r["Data"].as_str().unwrap_or_default())?;
            Ok((
                r["PartitionKey"].as_str().unwrap_or_default().to_owned(),
                data,
            ))
        })
        .collect::<Result<_>>()?;
    if records.len() != 500 {
        bail!(
            "the first shard of {} holds fewer than 500 records",
            args.from
        );
    }

    const PER_READ: usize = 5_000;
    let mut body = vec![0xA2];
    string(&mut body, 3, b"ShardIterator");
    string(&mut body, 3, iterator.as_bytes());
    string(&mut body, 3, b"Limit");
    body.push(0x19);
    body.extend((PER_READ as u16).to_be_bytes());
    let read = request(&args.address, "GetRecords", true, &body);
    let puts: Vec<Vec<u8>> = args
        .to
        .iter()
        .map(|t| request(&args.address, "PutRecords", true, &put_body(t, &records)))
        .collect();
    let mut writers = args
        .to
        .iter()
        .map(|_| connect(&args.address, &args.ca))
        .collect::<Result<Vec<_>>>()?;

    let mut buffer = Vec::with_capacity(8 << 20);
    let mut small = Vec::with_capacity(1 << 17);
    let mut moved = 0;
    while moved < args.records {
        exchange(&mut reader, &read, &mut buffer)?;
        for _ in 0..PER_READ / 500 {
            for (writer, put) in writers.iter_mut().zip(&puts) {
                exchange(writer, put, &mut small)?;
            }
        }
        moved += PER_READ;
    }
    println!("{moved} records each way");
    Ok(())
}
