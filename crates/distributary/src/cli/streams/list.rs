//! `distributary streams`.

use std::process::ExitCode;
use std::time::Duration;

use distributary_core::batch::ShardId;
use distributary_core::clock::Clock;
use distributary_core::output::Trouble;
use distributary_kinesis::client::{ListedStream, StreamDescription};
use distributary_kinesis::retry::with_retries;
use distributary_wire::types::{HashKeyRange, Shard};
use serde::Serialize;
use serde_json::{Value, json};

use super::Given;
use crate::config::Span;
use crate::connect::{Access, ConnectArgs};
use crate::failure::Failure;
use crate::measure::{Arrivals, Measured, measure, per_second};
use crate::screen;
use crate::show;

/// Flags of `streams`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  distributary streams
  distributary streams orders
  distributary streams orders --rates 10s --json")]
pub(crate) struct StreamsArgs {
    /// Names or ARNs of streams to show with their shards [default: list all streams]
    streams: Vec<String>,
    /// Read each stream for so long, and show how much arrives in each shard
    #[arg(long, value_name = "DURATION", requires = "streams")]
    rates: Option<Span>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// A stream with its shards.
struct Shown {
    description: StreamDescription,
    shards: Vec<Shard>,
    rates: Option<Measured>,
}

/// Lists the streams, or shows the named ones.
pub(crate) async fn run(args: StreamsArgs) -> Result<ExitCode, Failure> {
    let access = Access::new(&args.connect)?;
    if args.streams.is_empty() {
        list(&access, args.json).await?;
        return Ok(ExitCode::SUCCESS);
    }

    let span = args.rates.as_ref().map(|span| span.0);
    let mut all = Vec::new();
    for name in &args.streams {
        let shown = look(&access, name, span).await?;
        all.push(shown);
    }
    print(&all, args.json)?;
    Ok(ExitCode::SUCCESS)
}

fn print(all: &[Shown], json: bool) -> Result<(), Failure> {
    if json {
        let views: Vec<StreamView<'_>> = all.iter().map(StreamView::of).collect();
        let value = json!(views);
        return screen::print(&format!("{value:#}\n"));
    }

    let texts = all.iter().map(as_text);
    let texts: Vec<String> = texts.collect();
    screen::print(&texts.concat())
}

async fn list(access: &Access, json: bool) -> Result<(), Failure> {
    let client = access.any_client().await?;
    let listed = client.list_streams().await;
    let listed = listed.map_err(|trouble| failed(&trouble))?;

    if json {
        let list: Vec<Value> = listed.iter().map(listed_json).collect();
        return screen::print(&format!("{:#}\n", Value::from(list)));
    }

    let width = listed.iter().map(|stream| stream.name.len()).max();
    let width = width.unwrap_or_default();
    let mut text = String::new();
    for stream in &listed {
        let line = listed_line(stream, width);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    screen::print(&text)
}

fn listed_line(stream: &ListedStream, width: usize) -> String {
    let name = &stream.name;
    let status = word(stream.status.as_ref());
    let mode = word(stream.mode.as_ref());
    let created = stream.created.map(show::time);
    let created = created.unwrap_or_default();
    format!("{name:<width$}  {status:<9}  {mode:<11}  {created}")
}

fn word(value: Option<&impl ToString>) -> String {
    value.map(ToString::to_string).unwrap_or_default()
}

fn listed_json(stream: &ListedStream) -> Value {
    json!({
        "name": stream.name,
        "arn": stream.arn,
        "status": stream.status.as_ref().map(ToString::to_string),
        "mode": stream.mode.as_ref().map(ToString::to_string),
        "created": stream.created.map(show::time),
    })
}

fn failed(trouble: &Trouble) -> Failure {
    Failure::from_error(trouble)
}

async fn look(access: &Access, name: &str, span: Option<Duration>) -> Result<Shown, Failure> {
    let given = Given::open(access, name).await?;
    let clock = &access.clock;
    let described = described(&given, clock).await;
    let (description, shards) = described.map_err(|trouble| failed(&trouble))?;

    let rates = match span {
        Some(span) => Some(measure(&given, clock, span).await?),
        None => None,
    };
    Ok(Shown {
        description,
        shards,
        rates,
    })
}

async fn described(
    given: &Given,
    clock: &Clock,
) -> Result<(StreamDescription, Vec<Shard>), Trouble> {
    let client = &given.client;
    let stream = &given.stream;
    let described = with_retries(clock, || client.describe(stream));
    let described = described.await?;
    let shards = with_retries(clock, || client.list_shards(stream));
    let shards = shards.await?;
    Ok((described.answer, shards.answer))
}

impl Shown {
    /// The arrivals in a shard that takes records, where rates were asked for.
    fn arrivals(&self, shard: &Shard) -> Option<(Arrivals, Duration)> {
        let measured = self.rates.as_ref()?;
        let id = ShardId::new(&shard.shard_id);
        let arrivals = measured.shards.get(&id)?;
        Some((*arrivals, measured.span))
    }
}

fn parents(shard: &Shard) -> Vec<&str> {
    let parents = [&shard.parent_shard_id, &shard.adjacent_parent_shard_id];
    parents.into_iter().flatten().map(String::as_str).collect()
}

fn is_open(shard: &Shard) -> bool {
    let range = shard.sequence_number_range.as_ref();
    range.is_none_or(|range| range.ending_sequence_number.is_none())
}

/// The share of the hash space, such as `25.0 %`.
fn share(range: &HashKeyRange) -> Option<String> {
    let start: u128 = range.starting_hash_key.parse().ok()?;
    let end: u128 = range.ending_hash_key.parse().ok()?;
    let keys = end.checked_sub(start)?;
    // Only one decimal is shown.
    #[allow(clippy::cast_precision_loss)]
    let (keys, all) = (keys as f64, u128::MAX as f64);
    let share = keys / all * 100.0;
    Some(format!("{share:.1} %"))
}

fn as_text(shown: &Shown) -> String {
    let Shown {
        description: about,
        shards,
        ..
    } = shown;
    let name = &about.name;
    let status = &about.status;
    let mode = &about.mode;
    let hours = about.retention.as_secs() / 3600;
    let size = about.record_bytes >> 10;
    let created = about.created.map(show::time);
    let created = created.unwrap_or_default();

    let arn = &about.arn;
    let mut text = format!(
        "{name}  {status}  {mode}  keeps records {hours} h, of {size} KiB at most  {created}\n  {arn}\n"
    );
    for shard in shards {
        text.push_str(&shard_line(shard, shown));
    }
    if let Some(measured) = &shown.rates {
        let rates = rates(&measured.total(), measured.span);
        text.push_str(&format!("  all shards  {rates}\n"));
    }
    text
}

fn shard_line(shard: &Shard, shown: &Shown) -> String {
    let id = &shard.shard_id;
    let state = match is_open(shard) {
        true => "open",
        false => "closed",
    };
    let range = shard.hash_key_range.as_ref();
    let share = range.and_then(share).unwrap_or_default();
    let mut line = format!("  {id}  {state:<6}  {share:>7}");

    if let Some(range) = range {
        let start = &range.starting_hash_key;
        let end = &range.ending_hash_key;
        line.push_str(&format!("  {start}-{end}"));
    }
    let parents = parents(shard);
    if !parents.is_empty() {
        line.push_str(&format!("  from {}", parents.join(" and ")));
    }
    if let Some((arrivals, span)) = shown.arrivals(shard) {
        let rates = rates(&arrivals, span);
        line.push_str(&format!("  {rates}"));
    }
    line + "\n"
}

fn rates(arrivals: &Arrivals, span: Duration) -> String {
    let records = per_second(arrivals.records, span);
    let kib = per_second(arrivals.bytes, span) / 1024.0;
    format!("{records:.1} records/s  {kib:.1} KiB/s")
}

/// A stream as JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct StreamView<'a> {
    name: &'a str,
    arn: &'a str,
    status: String,
    mode: String,
    created: Option<String>,
    retention_hours: u64,
    record_bytes: usize,
    places_by_itself: bool,
    shards: Vec<ShardView<'a>>,
}

/// A shard as JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ShardView<'a> {
    id: &'a str,
    open: bool,
    parents: Vec<&'a str>,
    hash_start: Option<&'a str>,
    hash_end: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    records_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_second: Option<f64>,
}

impl<'a> StreamView<'a> {
    fn of(shown: &'a Shown) -> Self {
        let about = &shown.description;
        let mut shards = Vec::new();
        for shard in &shown.shards {
            let view = ShardView::of(shard, shown);
            shards.push(view);
        }
        Self {
            name: &about.name,
            arn: &about.arn,
            status: about.status.to_string(),
            mode: about.mode.to_string(),
            created: about.created.map(show::time),
            retention_hours: about.retention.as_secs() / 3600,
            record_bytes: about.record_bytes,
            places_by_itself: about.places_by_itself,
            shards,
        }
    }
}

impl<'a> ShardView<'a> {
    fn of(shard: &'a Shard, shown: &Shown) -> Self {
        let range = shard.hash_key_range.as_ref();
        let arrivals = shown.arrivals(shard);
        let rate = |count: fn(&Arrivals) -> u64| {
            let (arrivals, span) = arrivals?;
            Some(per_second(count(&arrivals), span))
        };
        Self {
            id: &shard.shard_id,
            open: is_open(shard),
            parents: parents(shard),
            hash_start: range.map(|range| range.starting_hash_key.as_str()),
            hash_end: range.map(|range| range.ending_hash_key.as_str()),
            records_per_second: rate(|arrivals| arrivals.records),
            bytes_per_second: rate(|arrivals| arrivals.bytes),
        }
    }
}
