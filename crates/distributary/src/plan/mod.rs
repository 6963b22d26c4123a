//! The costs of a month, beside those of other ways to do the same.

pub(crate) mod bill;
pub(crate) mod prices;
pub(crate) mod print;
#[cfg(test)]
mod tests;
pub(crate) mod workload;

use bill::{Bill, Quantity};
use prices::{Assumptions, Prices, Region};
use serde::Serialize;
use workload::{Mode, Workload};

/// Bytes of a GB, as Kinesis bills them.
const GB: f64 = 1024.0 * 1024.0 * 1024.0;
/// Hours of retention that cost nothing, and hours from which the price is another one.
const RETENTION_FREE: f64 = 24.0;
const RETENTION_LONG: f64 = 168.0;
/// Firehose bills records in steps of so many KiB.
const FIREHOSE_STEP: f64 = 5.0;
/// Kinesis asks KMS for a data key this often in an hour, for writing and for reading a stream.
const KMS_REQUESTS_HOUR: f64 = 24.0;
/// Functions on one stream that leave each other the reads of a shard: each polls once a second,
/// and a shard takes five.
const FUNCTIONS: f64 = 5.0;
/// DynamoDB bills reads in steps of 4 KiB; a scan takes half a unit for each.
const READ_STEP: f64 = 4096.0;
/// Scans of the lease table a second, by each worker.
const SCANS_SECOND: f64 = 0.5;

/// The bills of all ways.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Plan {
    pub(crate) workload: Workload,
    pub(crate) date: String,
    /// True if the prices of the region are those of the public pages.
    pub(crate) compared: bool,
    /// Costs of the source, which every way has.
    pub(crate) source: Bill,
    pub(crate) ways: Vec<Bill>,
}

/// The plan for a workload.
pub(crate) fn plan(workload: &Workload, prices: &Prices, region: &Region) -> Plan {
    let counter = Counter {
        work: workload,
        price: region,
        assume: &prices.assumptions,
    };
    Plan {
        workload: workload.clone(),
        date: prices.date.clone(),
        compared: region.compared,
        source: counter.source(),
        ways: vec![
            counter.own(),
            counter.one_function(),
            counter.functions(),
            counter.enhanced_fan_out(),
            counter.firehose(),
        ],
    }
}

impl Plan {
    /// The cheapest way that delivers the same.
    pub(crate) fn cheapest(&self) -> Option<&Bill> {
        let same = self.ways.iter().filter(|bill| bill.delivers_the_same);
        same.min_by(|one, two| one.total().total_cmp(&two.total()))
    }
}

/// Counts the costs of one workload.
struct Counter<'a> {
    work: &'a Workload,
    price: &'a Region,
    assume: &'a Assumptions,
}

impl Counter<'_> {
    fn hours(&self) -> f64 {
        self.assume.hours
    }

    fn seconds(&self) -> f64 {
        self.hours() * 3600.0
    }

    /// GB of a month, each record in whole KiB.
    fn billed_gb(&self) -> f64 {
        let bytes = self.work.rates.kib * 1024.0;
        bytes * self.seconds() / GB
    }

    /// GB of a month on the wire.
    fn gb(&self) -> f64 {
        self.work.rates.bytes * self.seconds() / GB
    }

    fn source(&self) -> Bill {
        let mut bill = Bill::new("the source, in every way");
        self.add_streams(&mut bill, "source", 1.0);
        self.add_retention(&mut bill);
        bill
    }

    /// Streams like the source, without retention beyond the first day.
    fn add_streams(&self, bill: &mut Bill, whose: &str, streams: f64) {
        let hours = self.hours();
        match self.work.mode {
            Mode::Provisioned => {
                let shard_hours = streams * self.work.shards * hours;
                let quantity = Quantity(shard_hours, "shard-hours");
                let item = format!("{whose}: shards");
                let price = self.price.shard_hour;
                bill.add(item, quantity, price);

                let units = streams * self.work.rates.put_units * self.seconds();
                let millions = units / 1e6;
                let quantity = Quantity(millions, "million PUT units");
                let item = format!("{whose}: writes");
                let price = self.price.put_million;
                bill.add(item, quantity, price);
            }
            Mode::OnDemand => {
                let quantity = Quantity(streams * hours, "stream-hours");
                let item = format!("{whose}: streams");
                let price = self.price.stream_hour;
                bill.add(item, quantity, price);

                let gb = streams * self.billed_gb();
                let quantity = Quantity(gb, "GB in");
                let item = format!("{whose}: writes");
                let price = self.price.in_gb;
                bill.add(item, quantity, price);
            }
        }
    }

    fn add_retention(&self, bill: &mut Bill) {
        let kept = self.work.retention_hours;
        let of_hour = self.billed_gb() / self.hours();
        let long = (kept - RETENTION_LONG).max(0.0);
        if kept > RETENTION_FREE {
            let extended = kept.min(RETENTION_LONG) - RETENTION_FREE;
            self.add_extended(bill, extended * of_hour);
        }

        let quantity = Quantity(long * of_hour, "GB-months");
        let price = self.price.long_retention_gb_month;
        bill.add("source: retention beyond 7 days", quantity, price);
    }

    fn add_extended(&self, bill: &mut Bill, gb: f64) {
        let item = "source: retention up to 7 days";
        match self.work.mode {
            Mode::Provisioned => {
                let hours = self.work.shards * self.hours();
                let quantity = Quantity(hours, "shard-hours");
                bill.add(item, quantity, self.price.retention_shard_hour);
            }
            Mode::OnDemand => {
                let quantity = Quantity(gb, "GB-months");
                bill.add(item, quantity, self.price.retention_gb_month);
            }
        }
    }

    /// On demand, each reader pays for the bytes.
    fn add_reads(&self, bill: &mut Bill, readers: f64) {
        if self.work.mode == Mode::OnDemand {
            let gb = readers * self.billed_gb();
            let quantity = Quantity(gb, "GB out");
            let price = self.price.out_gb;
            bill.add("source: reads", quantity, price);
        }
    }

    /// Outputs, and everything that they have in every way that writes to streams.
    fn add_outputs(&self, bill: &mut Bill) {
        let outputs = self.work.outputs;
        self.add_streams(bill, "outputs", outputs);
        let elsewhere = self.work.outputs_elsewhere * self.gb();
        let quantity = Quantity(elsewhere, "GB to another region");
        let price = self.price.transfer_gb;
        bill.add("outputs: transfer", quantity, price);
        if self.work.encrypted {
            self.add_kms(bill, outputs);
        }
    }

    fn add_kms(&self, bill: &mut Bill, outputs: f64) {
        let quantity = Quantity(1.0, "keys");
        let price = self.price.kms_key_month;
        bill.add("KMS: key", quantity, price);
        let requests = (1.0 + outputs) * KMS_REQUESTS_HOUR * self.hours();
        let millions = requests / 1e6;
        let quantity = Quantity(millions, "million requests");
        let price = self.price.kms_request_million;
        bill.add("KMS: data keys", quantity, price);
    }

    /// This program on machines of its own.
    fn own(&self) -> Bill {
        let mut bill = Bill::new("distributary");
        self.add_outputs(&mut bill);
        self.add_reads(&mut bill, 1.0);
        self.add_machines(&mut bill);
        if self.work.workers > 1.0 {
            self.add_leases(&mut bill);
        }
        bill
    }

    fn add_machines(&self, bill: &mut Bill) {
        let gb = self.work.rates.bytes * self.work.outputs / GB;
        let assume = self.assume;
        let cpus = gb * assume.cpu_seconds_gb;
        let cpus = cpus / assume.machine_load;
        let of_worker = cpus / self.work.workers;
        let machines = &self.price.machines;
        let mut large = machines.iter();
        let machine = large.find(|machine| machine.cpus >= of_worker);

        let Some(machine) = machine.or(machines.last()) else {
            bill.note("the file of prices has no machines");
            return;
        };
        // A larger load needs several of the largest machine for each worker.
        let each = (of_worker / machine.cpus).ceil().max(1.0);
        let hours = self.work.workers * each * self.hours();
        let item = format!("machine {}", machine.name);
        bill.add(item, Quantity(hours, "hours"), machine.hour);
    }

    /// The table of leases that several workers share.
    fn add_leases(&self, bill: &mut Bill) {
        let each_second = self.work.shards * self.assume.lease_writes_second;
        let writes = each_second * self.seconds();
        let millions = writes / 1e6;
        let quantity = Quantity(millions, "million writes");
        let price = self.price.dynamodb_write_million;
        bill.add("lease table: writes", quantity, price);

        let steps = self.work.shards * self.assume.lease_row_bytes / READ_STEP;
        let units = steps.ceil() / 2.0;
        let scans = self.work.workers * SCANS_SECOND;
        let reads = scans * units * self.seconds();
        let millions = reads / 1e6;
        let quantity = Quantity(millions, "million reads");
        let price = self.price.dynamodb_read_million;
        bill.add("lease table: reads", quantity, price);
    }

    /// Calls of a function on the stream in a month.
    fn calls(&self) -> f64 {
        let assume = self.assume;
        let by_time = self.work.shards / assume.lambda_window_seconds;
        let records = self.work.rates.records;
        let by_size = records / assume.lambda_batch_records;
        let each_second = by_time.max(by_size);
        each_second * self.seconds()
    }

    /// `functions` functions, each with `puts` outputs.
    fn add_functions(&self, bill: &mut Bill, functions: f64, puts: f64) {
        let calls = functions * self.calls();
        let quantity = Quantity(calls / 1e6, "million calls");
        let price = self.price.lambda_million;
        bill.add("Lambda: calls", quantity, price);

        let wait = self.assume.lambda_base_ms + self.assume.lambda_wait_ms;
        let millis = wait + puts * self.assume.lambda_put_ms;
        let seconds = calls * millis / 1000.0;
        let gb_seconds = seconds * self.assume.lambda_memory_gb;
        let quantity = Quantity(gb_seconds, "GB-seconds");
        let price = self.price.lambda_gb_second;
        bill.add("Lambda: time", quantity, price);
    }

    fn one_function(&self) -> Bill {
        let mut bill = Bill::new("one Lambda function that writes to all outputs");
        self.add_outputs(&mut bill);
        self.add_reads(&mut bill, 1.0);
        self.add_functions(&mut bill, 1.0, self.work.outputs);
        bill.note("one output that fails holds all others, and they get records again");
        bill
    }

    fn functions(&self) -> Bill {
        let mut bill = Bill::new("a Lambda function for each output");
        self.add_outputs(&mut bill);
        self.add_reads(&mut bill, self.work.outputs);
        self.add_functions(&mut bill, self.work.outputs, 1.0);
        if self.work.outputs > FUNCTIONS {
            bill.note(
                "a shard takes five reads a second: with more functions each one waits longer, or \
                 needs enhanced fan-out",
            );
        }
        bill
    }

    fn enhanced_fan_out(&self) -> Bill {
        let mut bill = Bill::new("enhanced fan-out, a consumer for each output and no copies");
        let consumers = self.work.outputs;
        let gb = Quantity(consumers * self.billed_gb(), "GB out");
        match self.work.mode {
            Mode::Provisioned => {
                let hours = consumers * self.work.shards * self.hours();
                let quantity = Quantity(hours, "consumer-shard-hours");
                let price = self.price.efo_shard_hour;
                bill.add("consumers: shards", quantity, price);
                bill.add("consumers: reads", gb, self.price.efo_gb);
            }
            Mode::OnDemand => bill.add("consumers: reads", gb, self.price.efo_out_gb),
        }

        bill.note("every team reads the source itself, in its region, with permissions there");
        let most = self.assume.efo_consumers;
        if consumers > most {
            bill.delivers_the_same = false;
            bill.note(format!(
                "not possible: a stream takes {most} such consumers"
            ));
        }
        bill
    }

    fn firehose(&self) -> Bill {
        let mut bill = Bill::new("Firehose, a delivery stream for each output");
        let rates = &self.work.rates;
        let records = rates.records.max(f64::MIN_POSITIVE);
        let kib = rates.kib / records;
        let steps = (kib / FIREHOSE_STEP).ceil() * FIREHOSE_STEP;
        let gb = records * steps * 1024.0 * self.seconds() / GB;

        self.add_reads(&mut bill, self.work.outputs);
        let all = self.work.outputs * gb;
        let quantity = Quantity(all, "GB");
        let price = self.price.firehose_gb;
        bill.add("Firehose: data", quantity, price);
        bill.note("Firehose delivers to S3 and other stores, not to streams, and without order");
        bill.delivers_the_same = false;
        bill
    }
}
