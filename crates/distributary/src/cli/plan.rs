//! `distributary plan`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use distributary_adapters::kind::Ending;
use distributary_adapters::values::{Expected, Size, Span};
use distributary_config::{FanOutConfig, discovery};
use distributary_core::text::chain;
use distributary_kinesis::client::StreamDescription;
use distributary_wire::types::StreamMode;
use serde_json::json;

use super::config_args::process_of_file;
use super::streams::Given;
use crate::connect::{Access, ConnectArgs};
use crate::failure::Failure;
use crate::measure::measure;
use crate::plan::prices::{self, Prices};
use crate::plan::print;
use crate::plan::workload::{Mode, Rates, Workload, number};
use crate::plan::{Plan, plan};
use crate::screen;

/// Flags of `plan`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  distributary plan --rate 1000/s --size 1KiB --shards 8 --outputs 5
  distributary plan --rate 200/s --size 30KiB --mode on-demand --outputs 3 --retention 7d --region us-west-2
  distributary plan -c orders.toml
  distributary plan --print-prices > prices.toml

With -c, each source is read for a minute (--watch) to learn its rate. Nothing is written.")]
pub(crate) struct PlanArgs {
    /// A configuration: rates, shards and retention are those of its sources
    #[arg(short, long, value_name = "FILE", conflicts_with_all = ["rate", "size", "shards", "outputs", "mode", "retention"])]
    config: Option<PathBuf>,
    /// With -c: read each source for so long
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    watch: Span,
    /// Records a second, such as 1000/s
    #[arg(long, value_name = "N/s")]
    rate: Option<Rate>,
    /// Bytes of a record with its partition key, such as 1KiB
    #[arg(long, value_name = "SIZE", default_value = "1KiB")]
    size: Size,
    /// Shards of the source, and of each output
    #[arg(long, value_name = "N", default_value_t = 1)]
    shards: u32,
    /// Outputs
    #[arg(long, value_name = "N", default_value_t = 1)]
    outputs: u32,
    /// How the streams are billed
    #[arg(long, value_enum, default_value_t)]
    mode: Mode,
    /// Time for which the source keeps records
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    retention: Span,
    /// Outputs in another region
    #[arg(long, value_name = "N", default_value_t = 0)]
    outputs_elsewhere: u32,
    /// Workers that share the shards
    #[arg(long, value_name = "N", default_value_t = 1)]
    workers: u32,
    /// The streams are encrypted with a key of your own
    #[arg(long)]
    kms: bool,
    /// A file of prices in place of the program's own
    #[arg(long, value_name = "FILE")]
    prices: Option<PathBuf>,
    /// Print the program's own file of prices, to be edited
    #[arg(long)]
    print_prices: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// A number of records a second.
#[derive(Clone, Copy, Debug)]
struct Rate(f64);

impl std::str::FromStr for Rate {
    type Err = Expected;

    fn from_str(text: &str) -> Result<Self, Expected> {
        let number = text.strip_suffix("/s").unwrap_or(text);
        match number.parse::<f64>() {
            Ok(rate) if rate.is_finite() && rate >= 0.0 => Ok(Self(rate)),
            Ok(_) | Err(_) => Err(Expected(format!(
                "{text:?} is no rate: expected records a second, such as 1000/s"
            ))),
        }
    }
}

/// Prints the plan of each fan-out, or of the workload in the flags.
pub(crate) async fn run(args: PlanArgs) -> Result<ExitCode, Failure> {
    if args.print_prices {
        screen::print(prices::OWN)?;
        return Ok(ExitCode::SUCCESS);
    }

    let file = args.prices.as_deref();
    let prices = prices::read(file)?;
    let works = match &args.config {
        Some(path) => args.measured(path).await?,
        None => vec![args.given()?],
    };
    let mut plans = Vec::new();
    for work in &works {
        let region = prices.region(&work.region, file)?;
        let plan = plan(work, &prices, region);
        plans.push(plan);
    }
    print(&plans, &prices, args.json)?;
    Ok(ExitCode::SUCCESS)
}

fn print(plans: &[Plan], prices: &Prices, as_json: bool) -> Result<(), Failure> {
    if as_json {
        let value = json!(plans);
        return screen::print(&format!("{value:#}\n"));
    }
    for plan in plans {
        let text = print::text(plan, prices);
        screen::print(&text)?;
    }
    Ok(())
}

impl PlanArgs {
    /// The workload in the flags.
    fn given(&self) -> Result<Workload, Failure> {
        let Some(Rate(rate)) = self.rate else {
            return Err(Failure::usage(
                "nothing tells the rate; give --rate, such as --rate 1000/s, or a configuration (-c FILE)",
            ));
        };
        let size = self.size.0 as u64;
        let region = self.connect.region.clone();
        let region = region.unwrap_or_else(|| "us-east-1".to_owned());
        Ok(Workload {
            region,
            mode: self.mode,
            shards: self.shards.into(),
            outputs: self.outputs.into(),
            retention_hours: hours(self.retention.0),
            rates: Rates::of(rate, size),
            ..self.surroundings()
        })
    }

    /// The parts of a workload that no stream tells.
    fn surroundings(&self) -> Workload {
        Workload {
            region: String::new(),
            mode: Mode::Provisioned,
            shards: 0.0,
            outputs: 0.0,
            outputs_elsewhere: self.outputs_elsewhere.into(),
            retention_hours: 0.0,
            workers: f64::from(self.workers.max(1)),
            encrypted: self.kms,
            rates: Rates::of(0.0, 0),
        }
    }

    /// The workload of each fan-out of a configuration.
    async fn measured(&self, path: &Path) -> Result<Vec<Workload>, Failure> {
        let process = process_of_file(path, &self.connect)?;
        let access = Access::for_process(&process)?;
        let mut works = Vec::new();
        for fan_out in &process.fan_outs {
            let work = self.of_fan_out(fan_out, &access).await?;
            works.push(work);
        }
        Ok(works)
    }

    async fn of_fan_out(
        &self,
        fan_out: &FanOutConfig,
        access: &Access,
    ) -> Result<Workload, Failure> {
        let outputs = outputs(fan_out, access).await?;
        let stream = source(fan_out, access).await?;

        let given = Given::open(access, &stream.arn).await?;
        let measured = measure(&given, &access.clock, self.watch.0).await?;
        Ok(Workload {
            region: given.client.region().to_owned(),
            mode: mode(&stream.mode),
            shards: stream.open_shards.into(),
            outputs,
            retention_hours: hours(stream.retention),
            rates: Rates::measured(&measured),
            ..self.surroundings()
        })
    }
}

/// The stream that a fan-out reads.
async fn source(fan_out: &FanOutConfig, access: &Access) -> Result<StreamDescription, Failure> {
    let context = access.build_context(Ending::default());
    let built = fan_out.source.build(&context).await;
    let built = built.map_err(|error| Failure::run(chain(&error)))?;
    built.stream.ok_or_else(|| {
        let name = &fan_out.name;
        let text = format!("the source of {name} is no stream, and has no price");
        Failure::usage(text)
    })
}

fn mode(mode: &StreamMode) -> Mode {
    match mode {
        StreamMode::OnDemand => Mode::OnDemand,
        _ => Mode::Provisioned,
    }
}

fn hours(span: Duration) -> f64 {
    span.as_secs_f64() / 3600.0
}

/// The number of streams that a fan-out writes to now; other kinds of outputs have no price here.
async fn outputs(fan_out: &FanOutConfig, access: &Access) -> Result<f64, Failure> {
    let context = access.build_context(Ending::default());
    let none = BTreeSet::new();
    let found = discovery::search(fan_out, &context, &none).await;
    let found = found.map_err(|error| Failure::run(chain(&error)))?;

    let mut all = fan_out.outputs.clone();
    for output in found.into_values() {
        all.push(output.config);
    }
    all.retain(|output| output.settings.kind() == "kinesis");

    let streams = all.len();
    Ok(number(streams as u64))
}
