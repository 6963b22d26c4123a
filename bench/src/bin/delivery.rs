//! How long each record of `produce` took from the source to each output, and which are missing: read afterwards, from
//! the arrival times that the server keeps with the records of both (one clock, milliseconds). One line of JSON an output.

use std::net::TcpStream;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use clap::Parser;
use distributary_bench::{exchange, json_call, request, string};
use distributary_wire::codec::Format;
use distributary_wire::hot::GetRecordsAnswer;

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
    /// Stretches of time to report on by themselves, by the arrival at the source: NAME:FROM:TO in milliseconds since 1970.
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

impl Server {
    /// Gives `take` the number and the arrival of every record of `stream`, shard by shard; says when a shard begins.
    fn read(
        &mut self,
        stream: &str,
        mut take: impl FnMut(usize, u64, i64) -> Result<()>,
    ) -> Result<()> {
        let listed = self.json("ListShards", &serde_json::json!({"StreamName": stream}))?;
        let shards = listed["Shards"].as_array().context("no shards")?.clone();
        let mut buffer = Vec::with_capacity(16 << 20);
        for (i, shard) in shards.iter().enumerate() {
            let at = serde_json::json!({"StreamName": stream, "ShardId": shard["ShardId"],
                                        "ShardIteratorType": "TRIM_HORIZON"});
            let mut iterator = self.json("GetShardIterator", &at)?["ShardIterator"]
                .as_str()
                .map(str::to_owned);
            while let Some(from) = iterator {
                let mut body = vec![0xA1];
                string(&mut body, 3, b"ShardIterator");
                string(&mut body, 3, from.as_bytes());
                let get = request(&self.address, "GetRecords", true, &body);
                let (start, length) = exchange(&mut self.connection, &get, &mut buffer)?;
                let body = Bytes::copy_from_slice(&buffer[start..start + length]);
                let answer = GetRecordsAnswer::parse(Format::Cbor, body)?;
                for record in &answer.records {
                    let data = record.data.of(&answer.body);
                    let number = data.first_chunk().context("a record of another producer")?;
                    take(i, u64::from_be_bytes(*number), record.arrival_ms)?;
                }
                let end = answer.records.is_empty() && answer.millis_behind_latest == Some(0);
                iterator = answer.next_shard_iterator.filter(|_| !end);
            }
        }
        Ok(())
    }

    fn json(&mut self, operation: &str, body: &serde_json::Value) -> Result<serde_json::Value> {
        json_call(&self.address, &mut self.connection, operation, body)
    }
}

/// What the source holds.
#[derive(Default)]
struct Source {
    /// By number: when it arrived.
    arrivals: Vec<i64>,
    /// By shard: the numbers in order.
    shards: Vec<Vec<u64>>,
}

fn source(server: &mut Server, stream: &str) -> Result<Source> {
    let mut source = Source::default();
    server.read(stream, |shard, number, arrival| {
        let n = usize::try_from(number)?;
        if source.arrivals.len() <= n {
            source.arrivals.resize(n + 1, i64::MIN);
        }
        source.arrivals[n] = arrival;
        source
            .shards
            .resize(source.shards.len().max(shard + 1), Vec::new());
        source.shards[shard].push(number);
        Ok(())
    })?;
    if source.arrivals.contains(&i64::MIN) {
        bail!("{stream} itself has numbers missing");
    }
    Ok(source)
}

fn report(
    server: &mut Server,
    source: &Source,
    stream: &str,
    windows: &[Window],
) -> Result<serde_json::Value> {
    let mut delays = vec![i64::MAX; source.arrivals.len()];
    let mut repeats = 0u64;
    server.read(stream, |_, number, arrival| {
        let n = usize::try_from(number)?;
        let delay = delays
            .get_mut(n)
            .with_context(|| format!("{stream} has record {n}, the source has not"))?;
        repeats += u64::from(*delay != i64::MAX);
        // What counts is when it was there first.
        *delay = (*delay).min(arrival - source.arrivals[n]);
        Ok(())
    })?;
    let there = |n: &u64| delays[*n as usize] != i64::MAX;
    let missing = delays.iter().filter(|d| **d == i64::MAX).count();
    // An output that was deleted and made again: from where it went on, nothing may be missing.
    let holes: usize = source
        .shards
        .iter()
        .map(|shard| {
            shard
                .iter()
                .skip_while(|n| !there(n))
                .filter(|n| !there(n))
                .count()
        })
        .sum();
    let windows: serde_json::Map<String, serde_json::Value> = windows
        .iter()
        .map(|w| {
            let within = |at: &i64| (w.from..w.to).contains(at);
            let mut of: Vec<i64> = source.arrivals.iter().zip(&delays).filter(|(at, _)| within(at)).map(|(_, d)| *d).collect();
            of.sort_unstable();
            let missing = of.iter().filter(|d| **d == i64::MAX).count();
            let at = |part: f64| of.get((of.len() as f64 * part) as usize).or(of.last()).filter(|d| **d != i64::MAX);
            let value = serde_json::json!({"records": of.len(), "missing": missing, "p50": at(0.5), "p99": at(0.99),
                                           "p999": at(0.999), "max": at(1.0)});
            (w.name.clone(), value)
        })
        .collect();
    Ok(
        serde_json::json!({"output": stream, "records": delays.len(), "missing": missing, "holes": holes,
                          "repeats": repeats, "windows": windows}),
    )
}

fn main() -> Result<()> {
    let args = Args::parse();
    let connection = TcpStream::connect(&args.address)?;
    connection.set_nodelay(true)?;
    let mut server = Server {
        address: args.address,
        connection,
    };
    let source = source(&mut server, &args.from)?;
    for output in &args.to {
        println!("{}", report(&mut server, &source, output, &args.window)?);
    }
    Ok(())
}
