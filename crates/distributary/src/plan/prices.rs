//! The file of prices: dated, with sources, and editable.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::failure::Failure;

/// The file that the program brings along.
pub(crate) const OWN: &str = include_str!("prices.toml");

/// The content of the file.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Prices {
    pub(crate) date: String,
    /// Pages, by service.
    pub(crate) sources: BTreeMap<String, String>,
    pub(crate) assumptions: Assumptions,
    region: Vec<Region>,
}

/// Figures that no price page has.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Assumptions {
    pub(crate) hours: f64,
    pub(crate) cpu_seconds_gb: f64,
    pub(crate) machine_load: f64,
    pub(crate) lambda_window_seconds: f64,
    pub(crate) lambda_batch_records: f64,
    pub(crate) lambda_memory_gb: f64,
    pub(crate) lambda_base_ms: f64,
    pub(crate) lambda_wait_ms: f64,
    pub(crate) lambda_put_ms: f64,
    pub(crate) lease_writes_second: f64,
    pub(crate) lease_row_bytes: f64,
    pub(crate) efo_consumers: f64,
}

/// The prices of one region, in US dollars.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Region {
    pub(crate) name: String,
    /// True if the figures are those of the public pages.
    pub(crate) compared: bool,
    pub(crate) shard_hour: f64,
    pub(crate) put_million: f64,
    pub(crate) retention_shard_hour: f64,
    pub(crate) long_retention_gb_month: f64,
    pub(crate) efo_shard_hour: f64,
    pub(crate) efo_gb: f64,
    pub(crate) stream_hour: f64,
    pub(crate) in_gb: f64,
    pub(crate) out_gb: f64,
    pub(crate) efo_out_gb: f64,
    pub(crate) retention_gb_month: f64,
    pub(crate) lambda_million: f64,
    pub(crate) lambda_gb_second: f64,
    pub(crate) firehose_gb: f64,
    pub(crate) dynamodb_write_million: f64,
    pub(crate) dynamodb_read_million: f64,
    pub(crate) kms_key_month: f64,
    pub(crate) kms_request_million: f64,
    pub(crate) transfer_gb: f64,
    /// The cheapest first.
    pub(crate) machines: Vec<Machine>,
}

/// A machine that the program may run on.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Machine {
    pub(crate) name: String,
    /// CPUs that the machine has for ever; a burstable one has a part of a CPU.
    pub(crate) cpus: f64,
    pub(crate) hour: f64,
}

/// The prices of the file at `path`, or those that the program brings along.
pub(crate) fn read(path: Option<&Path>) -> Result<Prices, Failure> {
    let Some(path) = path else {
        return parse("the program's own prices", OWN);
    };
    let name = path.display().to_string();
    match std::fs::read_to_string(path) {
        Ok(text) => parse(&name, &text),
        Err(error) => Err(Failure::usage(format!("cannot read {name}: {error}"))),
    }
}

fn parse(name: &str, text: &str) -> Result<Prices, Failure> {
    let parsed = toml::from_str(text);
    parsed.map_err(|error| Failure::usage(format!("{name}: {error}")))
}

impl Prices {
    /// The prices of the region `name`; `file` is the file that they were read from.
    pub(crate) fn region(&self, name: &str, file: Option<&Path>) -> Result<&Region, Failure> {
        let mut regions = self.region.iter();
        if let Some(region) = regions.find(|region| region.name == name) {
            return Ok(region);
        }

        let known = self.region.iter().map(|region| region.name.as_str());
        let known: Vec<&str> = known.collect();
        let known = known.join(", ");
        let remedy = match file {
            Some(path) => format!("add a [[region]] to {}", path.display()),
            None => "print the file of prices with `distributary plan --print-prices`, add a \
                     [[region]] to the copy, and give it back with --prices FILE"
                .to_owned(),
        };
        Err(Failure::usage(format!(
            "there are no prices of the region {name:?} (only of {known}); {remedy}"
        )))
    }
}
