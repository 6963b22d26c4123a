//! Writes numbered records to a stream at a steady rate: 500 a request, one request at a time, each at its moment. What
//! comes late is made up for. The number is the first eight bytes of the data; the rest does not compress.

use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::Parser;
use distributary_bench::{exchange, put_body, request};
use distributary_wire::codec::Format;
use distributary_wire::hot::PutRecordsAnswer;

const PER_REQUEST: u64 = 500;

#[derive(Parser)]
struct Args {
    /// Host and port of the server, without TLS.
    #[arg(long)]
    address: String,
    /// The stream to write to.
    #[arg(long)]
    stream: String,
    /// Megabytes of data a second; 0: as fast as one connection takes them.
    #[arg(long)]
    rate: f64,
    /// For how long, by the rate.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// How many records instead, a multiple of 500.
    #[arg(long)]
    records: Option<u64>,
    /// Bytes of data a record, eight at least.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// How many partition keys.
    #[arg(long, default_value_t = 10_007)]
    keys: u64,
}

fn noise(bytes: usize) -> Vec<u8> {
    // xorshift: bytes that do not compress and cost little.
    let mut state = 1u64;
    (0..bytes)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        })
        .collect()
}

fn main() -> Result<()> {
    let args = Args::parse();
    let every = PER_REQUEST as f64 * args.size as f64 / (args.rate * 1e6);
    let requests = match args.records {
        Some(records) => records / PER_REQUEST,
        None => (args.seconds / every).ceil() as u64,
    };
    let mut connection = TcpStream::connect(&args.address)?;
    connection.set_nodelay(true)?;
    let noise = noise(args.size + 65_536);
    let mut buffer = Vec::with_capacity(1 << 17);
    let (start, mut latest) = (Instant::now(), Duration::ZERO);
    for i in 0..requests {
        if args.rate > 0.0 {
            let due = start + Duration::from_secs_f64(i as f64 * every);
            sleep(due.saturating_duration_since(Instant::now()));
            latest = latest.max(due.elapsed());
        }
        let records: Vec<(String, Vec<u8>)> = (i * PER_REQUEST..(i + 1) * PER_REQUEST)
            .map(|n| {
                let mut data = n.to_be_bytes().to_vec();
                let from = (n.wrapping_mul(7919) % 65_536) as usize;
                data.extend_from_slice(&noise[from..from + args.size - data.len()]);
                (format!("key-{:05}", n % args.keys), data)
            })
            .collect();
        let body = request(
            &args.address,
            "PutRecords",
            true,
            &put_body(&args.stream, &records),
        );
        let (at, length) = exchange(&mut connection, &body, &mut buffer)?;
        let answer = Bytes::copy_from_slice(&buffer[at..at + length]);
        if !matches!(
            PutRecordsAnswer::parse(Format::Cbor, &answer)?,
            PutRecordsAnswer::AllDurable { .. }
        ) {
            bail!("the server did not take all records");
        }
    }
    let took = start.elapsed().as_secs_f64();
    let records = requests * PER_REQUEST;
    let rate = records as f64 * args.size as f64 / 1e6 / took;
    println!(
        r#"{{"records": {records}, "seconds": {took:.3}, "mb_per_second": {rate:.2}, "latest_ms": {}}}"#,
        latest.as_millis()
    );
    Ok(())
}
