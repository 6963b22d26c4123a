//! The delay of each record of `produce` from the source to each output, and missing records. Read
//! afterwards from the arrival times that the server keeps with the records of both (one clock,
//! milliseconds). One line of JSON an output.

use std::net::TcpStream;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Parser;
use distributary_bench::{Coding, exchange, json_call, request, string};
use distributary_wire::codec::Format;
use distributary_wire::hot::GetRecordsAnswer;
use serde_json::{Map, Value, json};

/// The delay of a record that didn't arrive.
const MISSING: i64 = i64::MAX;

#[derive(Parser)]
struct Args {
    /// Host and port of the server, without TLS.
    #[arg(long)]
    address: String,
    /// The source.
    #[arg(long)]
    from: String,
    /// The outputs.
    #[arg(long, num_args = 1..)]
    to: Vec<String>,
    /// Stretches of time with a report of their own, by the arrival at the source: NAME:FROM:TO in
    /// milliseconds since 1970.
    #[arg(long)]
    window: Vec<Window>,
}

#[derive(Clone)]
struct Window {
    name: String,
    from: i64,
    to: i64,
}

impl std::str::FromStr for Window {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut parts = text.split(':');
        let mut next = || parts.next().context("expected NAME:FROM:TO");
        Ok(Self {
            name: next()?.to_owned(),
            from: next()?.parse()?,
            to: next()?.parse()?,
        })
    }
}

struct Server {
    address: String,
    connection: TcpStream,
}

/// One record as read: the shard's place in the list, the number and the arrival.
struct Arrival {
    shard: usize,
    number: usize,
    at: i64,
}

impl Server {
    /// Gives `take` every record of `stream`, shard by shard.
    fn read(&mut self, stream: &str, mut take: impl FnMut(Arrival) -> Result<()>) -> Result<()> {
        let listed = self.json("ListShards", &json!({"StreamName": stream}))?;
        let shards = listed["Shards"].as_array().context("no shards")?;
        let mut buffer = Vec::with_capacity(16 << 20);

        for (shard, listed) in shards.iter().enumerate() {
            let mut iterator = self.first_iterator(stream, &listed["ShardId"])?;

            while let Some(from) = iterator {
                let answer = self.get_records(&from, &mut buffer)?;
                for record in &answer.records {
                    take(Arrival {
                        shard,
                        number: number(record.data.of(&answer.body))?,
                        at: record.arrival_ms,
                    })?;
                }

                let end = answer.records.is_empty() && answer.millis_behind_latest == Some(0);
                iterator = answer.next_shard_iterator.filter(|_| !end);
            }
        }
        Ok(())
    }

    fn first_iterator(&mut self, stream: &str, shard: &Value) -> Result<Option<String>> {
        let body = json!({
            "StreamName": stream,
            "ShardId": shard,
            "ShardIteratorType": "TRIM_HORIZON",
        });
        let answer = self.json("GetShardIterator", &body)?;

        let iterator = answer["ShardIterator"].as_str();
        Ok(iterator.map(str::to_owned))
    }

    fn get_records(&mut self, iterator: &str, buffer: &mut Vec<u8>) -> Result<GetRecordsAnswer> {
        let mut body = vec![0xA1];
        string(&mut body, 3, b"ShardIterator");
        string(&mut body, 3, iterator.as_bytes());

        let get = request(&self.address, "GetRecords", Coding::Cbor, &body);
        let (start, length) = exchange(&mut self.connection, &get, buffer)?;
        let answer = Bytes::copy_from_slice(&buffer[start..start + length]);
        Ok(GetRecordsAnswer::parse(Format::Cbor, answer)?)
    }

    fn json(&mut self, operation: &str, body: &Value) -> Result<Value> {
        json_call(&self.address, &mut self.connection, operation, body)
    }
}

/// The number of a record of `produce`.
fn number(data: &[u8]) -> Result<usize> {
    let number = data.first_chunk();
    let number = number.context("a record of another producer")?;
    Ok(usize::try_from(u64::from_be_bytes(*number))?)
}

/// The records of the source.
#[derive(Default)]
struct Source {
    /// Arrivals by number.
    arrivals: Vec<i64>,
    /// By shard: the numbers in order.
    shards: Vec<Vec<usize>>,
}

impl Source {
    fn read(server: &mut Server, stream: &str) -> Result<Self> {
        let mut source = Self::default();
        server.read(stream, |arrival| {
            source.add(&arrival);
            Ok(())
        })?;

        if source.arrivals.contains(&i64::MIN) {
            bail!("{stream} itself has numbers missing");
        }
        Ok(source)
    }

    fn add(&mut self, arrival: &Arrival) {
        let number = arrival.number;
        if self.arrivals.len() <= number {
            self.arrivals.resize(number + 1, i64::MIN);
        }
        self.arrivals[number] = arrival.at;

        let shards = self.shards.len().max(arrival.shard + 1);
        self.shards.resize(shards, Vec::new());
        self.shards[arrival.shard].push(number);
    }

    /// Missing records after the first that arrived, shard by shard. An output that was deleted and
    /// created again may miss no record from there on.
    fn holes(&self, delays: &[i64]) -> usize {
        let mut holes = 0;
        for shard in &self.shards {
            let missing = |number: &usize| delays[*number] == MISSING;
            let later = shard.iter().skip_while(|number| missing(number));
            holes += later.filter(|number| missing(number)).count();
        }
        holes
    }
}

/// The delays of one output.
struct Delays {
    /// Milliseconds by number, to the first arrival.
    by_number: Vec<i64>,
    repeats: u64,
}

impl Delays {
    fn read(server: &mut Server, source: &Source, stream: &str) -> Result<Self> {
        let mut by_number = vec![MISSING; source.arrivals.len()];
        let mut repeats = 0;

        server.read(stream, |arrival| {
            let number = arrival.number;
            let delay = by_number
                .get_mut(number)
                .with_context(|| format!("{stream} has record {number}, the source has not"))?;

            if *delay != MISSING {
                repeats += 1;
            }
            *delay = (*delay).min(arrival.at - source.arrivals[number]);
            Ok(())
        })?;
        Ok(Self { by_number, repeats })
    }

    /// The figures of the records that reached the source in a stretch of time.
    fn window(&self, source: &Source, window: &Window) -> Value {
        let within = window.from..window.to;
        let mut delays: Vec<i64> = source
            .arrivals
            .iter()
            .zip(&self.by_number)
            .filter(|(at, _)| within.contains(at))
            .map(|(_, delay)| *delay)
            .collect();
        delays.sort_unstable();

        json!({
            "records": delays.len(),
            "missing": missing(&delays),
            "p50": quantile(&delays, 0.5),
            "p99": quantile(&delays, 0.99),
            "p999": quantile(&delays, 0.999),
            "max": quantile(&delays, 1.0),
        })
    }
}

fn missing(delays: &[i64]) -> usize {
    delays.iter().filter(|delay| **delay == MISSING).count()
}

/// The delay at a part of a sorted list; none if that record is missing.
fn quantile(delays: &[i64], part: f64) -> Option<i64> {
    let index = (delays.len() as f64 * part) as usize;
    let delay = delays.get(index).or(delays.last()).copied();
    delay.filter(|delay| *delay != MISSING)
}

fn report(server: &mut Server, source: &Source, stream: &str, windows: &[Window]) -> Result<Value> {
    let delays = Delays::read(server, source, stream)?;
    let mut figures = Map::new();
    for window in windows {
        let name = window.name.clone();
        figures.insert(name, delays.window(source, window));
    }

    Ok(json!({
        "output": stream,
        "records": delays.by_number.len(),
        "missing": missing(&delays.by_number),
        "holes": source.holes(&delays.by_number),
        "repeats": delays.repeats,
        "windows": figures,
    }))
}

fn main() -> Result<()> {
    let args = Args::parse();
    let connection = TcpStream::connect(&args.address)?;
    connection.set_nodelay(true)?;
    let mut server = Server {
        address: args.address,
        connection,
    };

    let source = Source::read(&mut server, &args.from)?;
    for output in &args.to {
        let report = report(&mut server, &source, output, &args.window)?;
        println!("{report}");
    }
    Ok(())
}
