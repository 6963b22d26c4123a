//! Writes numbered records to a stream at a steady rate: 500 a request, one request at a time, each
//! at a planned moment. Late requests follow without a pause. The number is the first eight bytes
//! of the data; the rest does not compress.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use bytes::Bytes;
use clap::Parser;
use distributary_bench::{Noise, SMALL_ANSWER, Server};
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
    let requests = args.requests();
    let mut server = Server::plain(&args.address)?;
    let mut buffer = Vec::with_capacity(SMALL_ANSWER);
    let noise = noise(&args);

    let mut pace = Pace::new(&args);
    for i in 0..requests {
        pace.wait_for(i);
        let first = i * PER_REQUEST;
        let records = records(&args, &noise, first);
        let put = server.put_request(&args.stream, &records);

        let answer = server.exchange(&put, &mut buffer)?;
        check(answer)?;
    }

    let records = requests * PER_REQUEST;
    report(&args, records, &pace);
    Ok(())
}

/// Bytes for the data of the largest record, from any start.
fn noise(args: &Args) -> Vec<u8> {
    let length = args.size + NOISE_STARTS as usize;
    Noise::default().take(length).collect()
}

impl Args {
    /// Seconds from one request to the next; infinite without a rate.
    fn interval(&self) -> f64 {
        let bytes = PER_REQUEST as f64 * self.size as f64;
        bytes / (self.rate * 1e6)
    }

    fn requests(&self) -> u64 {
        match self.records {
            Some(records) => records / PER_REQUEST,
            None => (self.seconds / self.interval()).ceil() as u64,
        }
    }
}

/// The planned moments of the requests.
struct Pace {
    start: Instant,
    /// Seconds from one request to the next; none without a rate.
    interval: Option<f64>,
    /// The most that a request was late.
    latest: Duration,
}

impl Pace {
    fn new(args: &Args) -> Self {
        let has_rate = args.rate > 0.0;
        Self {
            start: Instant::now(),
            interval: has_rate.then(|| args.interval()),
            latest: Duration::ZERO,
        }
    }

    /// Waits until the request with this number is due.
    fn wait_for(&mut self, request: u64) {
        let Some(interval) = self.interval else {
            return;
        };

        let planned = Duration::from_secs_f64(request as f64 * interval);
        let due = self.start + planned;
        let wait = due.saturating_duration_since(Instant::now());
        sleep(wait);
        self.latest = self.latest.max(due.elapsed());
    }
}

/// The records of one request, numbered from `first`.
fn records(args: &Args, noise: &[u8], first: u64) -> Vec<(String, Vec<u8>)> {
    let mut records = Vec::with_capacity(PER_REQUEST as usize);

    let end = first + PER_REQUEST;
    for n in first..end {
        let mut data = n.to_be_bytes().to_vec();
        let from = n.wrapping_mul(7919) % NOISE_STARTS;
        let from = from as usize;
        let rest = args.size - data.len();
        let rest = &noise[from..from + rest];
        data.extend_from_slice(rest);

        let key = n % args.keys;
        let key = format!("key-{key:05}");
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

fn report(args: &Args, records: u64, pace: &Pace) {
    let seconds = pace.start.elapsed().as_secs_f64();
    let bytes = records as f64 * args.size as f64;
    let rate = bytes / 1e6 / seconds;
    let latest = pace.latest.as_millis();

    println!(
        r#"{{"records": {records}, "seconds": {seconds:.3}, "mb_per_second": {rate:.2}, "latest_ms": {latest}}}"#
    );
}
