//! The floor: the same bytes over TLS with no work at all. One prepared `GetRecords` request is
//! read again and again, and one prepared `PutRecords` request of 500 records is written again and
//! again to each output, until as many records went each way as the copy would have moved. The rest
//! is TLS, TCP and the kernel.

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Parser;
use distributary_bench::{SMALL_ANSWER, Server, Tls, text};
use serde_json::{Value, json};

/// The shard to read.
const FIRST_SHARD: &str = "shardId-000000000000";
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
    let mut server = Server::tls(&args.address, &args.ca)?;
    let iterator = server
        .first_iterator(&args.from, FIRST_SHARD)?
        .context("no iterator")?;
    let records = sample(&args, &mut server, &iterator)?;

    let mut reader = Prepared {
        request: read_request(&server, &iterator),
        server,
    };
    let mut writers = Vec::new();
    for stream in &args.to {
        let writer = writer(&args, stream, &records)?;
        writers.push(writer);
    }

    let moved = pass(args.records, &mut reader, &mut writers)?;
    println!("{moved} records each way");
    Ok(())
}

/// A request to be written again and again over one connection.
struct Prepared {
    server: Server<Tls>,
    request: Vec<u8>,
}

impl Prepared {
    fn exchange(&mut self, buffer: &mut Vec<u8>) -> Result<()> {
        self.server.exchange(&self.request, buffer)?;
        Ok(())
    }
}

/// A connection of its own to write `records` to `stream`.
fn writer(args: &Args, stream: &str, records: &[(String, Vec<u8>)]) -> Result<Prepared> {
    let server = Server::tls(&args.address, &args.ca)?;
    let request = server.put_request(stream, records);
    Ok(Prepared { server, request })
}

/// The records for the bodies to write.
fn sample(args: &Args, server: &mut Server<Tls>, iterator: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let body = json!({"ShardIterator": iterator, "Limit": PER_WRITE});
    let answer = server.json("GetRecords", &body)?;
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
    let key = record["PartitionKey"].as_str();
    let data = record["Data"].as_str();

    let key = key.unwrap_or_default().to_owned();
    let data = STANDARD.decode(data.unwrap_or_default())?;
    Ok((key, data))
}

fn read_request(server: &Server<Tls>, iterator: &str) -> Vec<u8> {
    let mut body = vec![0xA2];
    text(&mut body, "ShardIterator");
    text(&mut body, iterator);

    text(&mut body, "Limit");
    body.push(0x19);
    body.extend(PER_READ.to_be_bytes());
    server.request("GetRecords", &body)
}

/// Reads and writes until so many records went each way. Returns the number of records.
fn pass(records: usize, reader: &mut Prepared, writers: &mut [Prepared]) -> Result<usize> {
    let mut buffer = Vec::with_capacity(8 << 20);
    let mut small = Vec::with_capacity(SMALL_ANSWER);
    let mut moved = 0;

    while moved < records {
        reader.exchange(&mut buffer)?;
        for _ in 0..PER_READ / PER_WRITE {
            for writer in writers.iter_mut() {
                writer.exchange(&mut small)?;
            }
        }
        moved += usize::from(PER_READ);
    }
    Ok(moved)
}
