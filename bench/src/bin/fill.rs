//! Fills a stream with records of one size and many keys, as fast as one connection takes them.

use anyhow::Result;
use clap::Parser;
use distributary_bench::{Coding, Noise, connect, exchange, put_body, request};

/// Records in a request.
const PER_REQUEST: usize = 500;

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
    let mut connection = connect(&args.address, &args.ca)?;
    let mut buffer = Vec::with_capacity(1 << 17);
    let mut noise = Noise::default();

    for chunk in 0..args.records / PER_REQUEST {
        let mut records = Vec::with_capacity(PER_REQUEST);
        for n in chunk * PER_REQUEST..(chunk + 1) * PER_REQUEST {
            let data = noise.by_ref().take(args.size).collect();
            let key = format!("key-{:05}", n % 10_007);
            records.push((key, data));
        }

        let body = put_body(&args.stream, &records);
        let put = request(&args.address, "PutRecords", Coding::Cbor, &body);
        exchange(&mut connection, &put, &mut buffer)?;
    }
    Ok(())
}
