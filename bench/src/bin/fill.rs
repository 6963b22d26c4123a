//! Fills a stream with records of one size and many keys, as fast as one connection takes them.

use anyhow::Result;
use clap::Parser;
use distributary_bench::{Noise, SMALL_ANSWER, Server};

/// Records in a request.
const PER_REQUEST: usize = 500;
/// How many partition keys.
const KEYS: usize = 10_007;

#[derive(Parser)]
struct Args {
    /// Host and port of the server.
    #[arg(long)]
    address: String,
    /// PEM file with the server's certificate.
    #[arg(long)]
    ca: String,
    /// The stream to fill.
    #[arg(long)]
    stream: String,
    /// How many records, a multiple of 500.
    #[arg(long)]
    records: usize,
    /// Bytes of data a record.
    #[arg(long)]
    size: usize,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut server = Server::tls(&args.address, &args.ca)?;
    let mut buffer = Vec::with_capacity(SMALL_ANSWER);
    let mut noise = Noise::default();

    let requests = args.records / PER_REQUEST;
    for i in 0..requests {
        let first = i * PER_REQUEST;
        let records = records(&mut noise, args.size, first);
        let put = server.put_request(&args.stream, &records);
        server.exchange(&put, &mut buffer)?;
    }
    Ok(())
}

/// The records of one request, numbered from `first`.
fn records(noise: &mut Noise, size: usize, first: usize) -> Vec<(String, Vec<u8>)> {
    let mut records = Vec::with_capacity(PER_REQUEST);
    let end = first + PER_REQUEST;
    for n in first..end {
        let data = noise.take(size).collect();
        let key = n % KEYS;
        let key = format!("key-{key:05}");
        records.push((key, data));
    }
    records
}
