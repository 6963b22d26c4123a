//! Fills a stream with records of one size and many keys, as fast as one connection takes them.

use anyhow::Result;
use clap::Parser;
use distributary_bench::{connect, exchange, put_body, request};

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
    let mut state = 1u64;
    for chunk in 0..args.records / 500 {
        let records: Vec<(String, Vec<u8>)> = (0..500)
            .map(|i| {
                let n = chunk * 500 + i;
                let data = (0..args.size)
                    .map(|_| {
                        // xorshift: bytes that do not compress and cost little.
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        state as u8
                    })
                    .collect();
                (format!("key-{:05}", n % 10_007), data)
            })
            .collect();
        exchange(
            &mut connection,
            &request(
                &args.address,
                "PutRecords",
                true,
                &put_body(&args.stream, &records),
            ),
            &mut buffer,
        )?;
    }
    Ok(())
}
