//! Writes numbered records to a stream at a steady rate: 500 a request, one request at a time, each
//! at a planned moment. Late requests follow without a pause. The number is the first eight bytes
//! of the data; the rest does not compress.

use std::net::TcpStream;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::Parser;
use distributary_bench::{Coding, Noise, exchange, put_body, request};
use distributary_wire::codec::Format;
use distributary_wire::hot::PutRecordsAnswer;

/// Records in a request.
const PER_REQUEST: u64 = 500;
/// Places in the noise at which the data of a record can start.
const NOISE_STARTS: u64 = 65_536;

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

fn main() -> Result<()> {
    let args = Args::parse();
    let every = PER_REQUEST as f64 * args.size as f64 / (args.rate * 1e6);
    let requests = match args.records {
        Some(records) => records / PER_REQUEST,
        None => (args.seconds / every).ceil() as u64,
    };

    let mut connection = TcpStream::connect(&args.address)?;
    connection.set_nodelay(true)?;
    let noise: Vec<u8> = Noise::default()
        .take(args.size + NOISE_STARTS as usize)
        .collect();

    let mut buffer = Vec::with_capacity(1 << 17);
    let (start, mut latest) = (Instant::now(), Duration::ZERO);
    for i in 0..requests {
        if args.rate > 0.0 {
            let due = start + Duration::from_secs_f64(i as f64 * every);
            sleep(due.saturating_duration_since(Instant::now()));
            latest = latest.max(due.elapsed());
        }

        let records = records(&args, &noise, i * PER_REQUEST);
        let body = put_body(&args.stream, &records);
        let put = request(&args.address, "PutRecords", Coding::Cbor, &body);

        let (at, length) = exchange(&mut connection, &put, &mut buffer)?;
        check(&buffer[at..at + length])?;
    }

    report(&args, requests * PER_REQUEST, start.elapsed(), latest);
    Ok(())
}

/// The records of one request, numbered from `first`.
fn records(args: &Args, noise: &[u8], first: u64) -> Vec<(String, Vec<u8>)> {
    let mut records = Vec::with_capacity(PER_REQUEST as usize);

    for n in first..first + PER_REQUEST {
        let mut data = n.to_be_bytes().to_vec();
        let from = (n.wrapping_mul(7919) % NOISE_STARTS) as usize;
        let rest = args.size - data.len();
        data.extend_from_slice(&noise[from..from + rest]);

        let key = format!("key-{:05}", n % args.keys);
        records.push((key, data));
    }
    records
}

fn check(answer: &[u8]) -> Result<()> {
    let answer = Bytes::copy_from_slice(answer);
    match PutRecordsAnswer::parse(Format::Cbor, &answer)? {
        PutRecordsAnswer::AllDurable { .. } => Ok(()),
        _ => bail!("the server did not take all records"),
    }
}

fn report(args: &Args, records: u64, took: Duration, latest: Duration) {
    let seconds = took.as_secs_f64();
    let rate = records as f64 * args.size as f64 / 1e6 / seconds;
    let latest = latest.as_millis();

    println!(
        r#"{{"records": {records}, "seconds": {seconds:.3}, "mb_per_second": {rate:.2}, "latest_ms": {latest}}}"#
    );
}
