//! The delay of each record of `produce` from the source to each output, and missing records. Read
//! afterwards from the arrival times that the server keeps with the records of both (one clock,
//! milliseconds). One line of JSON an output.

use std::net::TcpStream;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Parser;
use distributary_bench::{Server, text};
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

/// One record as read: the shard's place in the list, the number and the arrival.
struct Arrival {
    shard: usize,
    number: usize,
    at: i64,
}

/// Reads whole streams.
struct Reader {
    server: Server<TcpStream>,
    /// The last answer.
    buffer: Vec<u8>,
}

impl Reader {
    /// Gives `take` every record of `stream`, shard by shard.
    fn read(&mut self, stream: &str, mut take: impl FnMut(Arrival) -> Result<()>) -> Result<()> {
        let body = json!({"StreamName": stream});
        let listed = self.server.json("ListShards", &body)?;
        let shards = listed["Shards"].as_array();
        let shards = shards.context("no shards")?;

        for (shard, listed) in shards.iter().enumerate() {
            let name = listed["ShardId"].as_str();
            let name = name.context("a shard without a name")?;
            let first = self.server.first_iterator(stream, name)?;
            self.read_shard(shard, first, &mut take)?;
        }
        Ok(())
    }

    fn read_shard(
        &mut self,
        shard: usize,
        first: Option<String>,
        take: &mut impl FnMut(Arrival) -> Result<()>,
    ) -> Result<()> {
        let mut iterator = first;
        while let Some(from) = iterator {
            let answer = self.get_records(&from)?;
            take_all(shard, &answer, take)?;
            iterator = next_iterator(answer);
        }
        Ok(())
    }

    fn get_records(&mut self, iterator: &str) -> Result<GetRecordsAnswer> {
        let mut body = vec![0xA1];
        text(&mut body, "ShardIterator");
        text(&mut body, iterator);

        let get = self.server.request("GetRecords", &body);
        let answer = self.server.exchange(&get, &mut self.buffer)?;
        let answer = Bytes::copy_from_slice(answer);
        let answer = GetRecordsAnswer::parse(Format::Cbor, answer)?;
        Ok(answer)
    }
}

fn take_all(
    shard: usize,
    answer: &GetRecordsAnswer,
    take: &mut impl FnMut(Arrival) -> Result<()>,
) -> Result<()> {
    for record in &answer.records {
        let data = record.data.of(&answer.body);
        let arrival = Arrival {
            shard,
            number: number(data)?,
            at: record.arrival_ms,
        };
        take(arrival)?;
    }
    Ok(())
}

/// The iterator of the next read; none at the end of the shard or of the records.
fn next_iterator(answer: GetRecordsAnswer) -> Option<String> {
    let is_at_tip = answer.millis_behind_latest == Some(0);
    if answer.records.is_empty() && is_at_tip {
        return None;
    }
    answer.next_shard_iterator
}

/// The number of a record of `produce`.
fn number(data: &[u8]) -> Result<usize> {
    let number = data.first_chunk();
    let number = number.context("a record of another producer")?;
    let number = u64::from_be_bytes(*number);
    Ok(usize::try_from(number)?)
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
    fn read(reader: &mut Reader, stream: &str) -> Result<Self> {
        let mut source = Self::default();
        reader.read(stream, |arrival| {
            source.add(&arrival);
            Ok(())
        })?;

        if source.arrivals.contains(&i64::MIN) {
            bail!("{stream} itself has numbers missing");
        }
        Ok(source)
    }

    fn add(&mut self, arrival: &Arrival) {
        let Arrival { shard, number, at } = *arrival;
        if self.arrivals.len() <= number {
            self.arrivals.resize(number + 1, i64::MIN);
        }
        self.arrivals[number] = at;

        if self.shards.len() <= shard {
            self.shards.resize(shard + 1, Vec::new());
        }
        self.shards[shard].push(number);
    }

    /// Missing records after the first that arrived, shard by shard. An output that was deleted and
    /// created again may miss no record from there on.
    fn holes(&self, delays: &[i64]) -> usize {
        let mut holes = 0;
        for shard in &self.shards {
            let mut has_arrived = false;
            for number in shard {
                let is_missing = delays[*number] == MISSING;
                if is_missing && has_arrived {
                    holes += 1;
                }
                has_arrived |= !is_missing;
            }
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
    fn read(reader: &mut Reader, source: &Source, stream: &str) -> Result<Self> {
        let mut by_number = vec![MISSING; source.arrivals.len()];
        let mut repeats = 0;

        reader.read(stream, |arrival| {
            let number = arrival.number;
            let Some(delay) = by_number.get_mut(number) else {
                bail!("{stream} has record {number}, the source has not");
            };

            if *delay != MISSING {
                repeats += 1;
            }
            let now = arrival.at - source.arrivals[number];
            *delay = now.min(*delay);
            Ok(())
        })?;
        Ok(Self { by_number, repeats })
    }

    /// The figures of the records that reached the source in a stretch of time.
    fn window(&self, source: &Source, window: &Window) -> Value {
        let within = window.from..window.to;
        let mut delays = Vec::new();
        for (at, delay) in source.arrivals.iter().zip(&self.by_number) {
            if within.contains(at) {
                delays.push(*delay);
            }
        }
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
    let index = delays.len() as f64 * part;
    let delay = delays.get(index as usize).or(delays.last()).copied();
    delay.filter(|delay| *delay != MISSING)
}

fn report(reader: &mut Reader, source: &Source, stream: &str, windows: &[Window]) -> Result<Value> {
    let delays = Delays::read(reader, source, stream)?;
    let mut figures = Map::new();
    for window in windows {
        let name = window.name.clone();
        let delays = delays.window(source, window);
        figures.insert(name, delays);
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
    let mut reader = Reader {
        server: Server::plain(&args.address)?,
        buffer: Vec::with_capacity(16 << 20),
    };

    let source = Source::read(&mut reader, &args.from)?;
    for output in &args.to {
        let report = report(&mut reader, &source, output, &args.window)?;
        println!("{report}");
    }
    Ok(())
}
