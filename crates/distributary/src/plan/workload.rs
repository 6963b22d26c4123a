//! The work that is to be paid for.

use serde::Serialize;

use crate::measure::{Measured, PUT_UNIT_BYTES, STEP_BYTES, per_second};

/// The capacity mode of the streams.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Billed by shards
    #[default]
    Provisioned,
    /// Billed by bytes
    OnDemand,
}

/// The work: one source that is copied to some outputs like it.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Workload {
    pub(crate) region: String,
    pub(crate) mode: Mode,
    pub(crate) shards: f64,
    pub(crate) outputs: f64,
    /// Outputs in another region.
    pub(crate) outputs_elsewhere: f64,
    pub(crate) retention_hours: f64,
    pub(crate) workers: f64,
    /// True if the streams are encrypted with a key of the customer.
    pub(crate) encrypted: bool,
    #[serde(flatten)]
    pub(crate) rates: Rates,
}

/// The records of a second.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Rates {
    pub(crate) records: f64,
    pub(crate) bytes: f64,
    /// Each record in whole PUT payload units of 25 KiB.
    pub(crate) put_units: f64,
    /// Each record in whole KiB.
    pub(crate) kib: f64,
}

impl Rates {
    /// `records` a second of `size` bytes each.
    pub(crate) fn of(records: f64, size: u64) -> Self {
        let each = |count: u64| records * number(count);
        Self {
            records,
            bytes: each(size),
            put_units: each(size.div_ceil(PUT_UNIT_BYTES).max(1)),
            kib: each(size.div_ceil(STEP_BYTES).max(1)),
        }
    }

    /// The rates that were measured.
    pub(crate) fn measured(measured: &Measured) -> Self {
        let total = measured.total();
        let each = |count: u64| per_second(count, measured.span);
        Self {
            records: each(total.records),
            bytes: each(total.bytes),
            put_units: each(total.put_units),
            kib: each(total.steps),
        }
    }
}

/// A count as a number to calculate with.
pub(crate) fn number(count: u64) -> f64 {
    // Counts here are far below 2^52.
    #[allow(clippy::cast_precision_loss)]
    let number = count as f64;
    number
}
