//! Writes records at a rate.

use std::time::Duration;

use distributary_core::clock::{Clock, Instant};
use distributary_core::text::chain;
use distributary_wire::limits::PUT_RECORDS_ENTRIES;
use distributary_wire::types::{PutRecordsRequest, PutRecordsRequestEntry};

use crate::cli::streams::Given;
use crate::failure::Failure;

/// Time between two writes.
const TICK: Duration = Duration::from_millis(20);
/// Partition keys in use.
const KEYS: u64 = 100;

/// The records produced.
#[derive(Clone, Copy, Debug)]
pub(super) struct Produced {
    pub(super) records: u64,
    pub(super) took: Duration,
}

/// Writes `{"log": "Record 0"}`, `{"log": "Record 1"}` … under changing keys.
pub(super) struct Producer<'a> {
    to: &'a Given,
    clock: Clock,
    rate: u32,
    time: Duration,
}

impl<'a> Producer<'a> {
    pub(super) fn new(to: &'a Given, clock: Clock, rate: u32, time: Duration) -> Self {
        Self {
            to,
            clock,
            rate,
            time,
        }
    }

    /// Produces until the time is over. A slow machine produces fewer records.
    pub(super) async fn run(self) -> Result<Produced, Failure> {
        let start = self.clock.now();
        let mut records = 0;
        loop {
            let elapsed = self.clock.now().since(start).min(self.time);
            let due = self.due(elapsed);
            while records < due {
                let upto = due.min(records + PUT_RECORDS_ENTRIES as u64);
                self.put(records..upto).await?;
                records = upto;
                if self.clock.now().since(start) > self.time {
                    break;
                }
            }
            if elapsed == self.time {
                return Ok(Produced {
                    records,
                    took: self.took(start),
                });
            }
            self.clock.sleep(TICK).await;
        }
    }

    fn due(&self, elapsed: Duration) -> u64 {
        let due = u128::from(self.rate) * elapsed.as_millis() / 1000;
        u64::try_from(due).unwrap_or(u64::MAX)
    }

    fn took(&self, start: Instant) -> Duration {
        self.clock.now().since(start)
    }

    async fn put(&self, numbers: std::ops::Range<u64>) -> Result<(), Failure> {
        let request = PutRecordsRequest {
            records: Some(numbers.map(entry).collect()),
            ..Default::default()
        };

        let answered = self.to.client.on(&self.to.stream, request).await;
        let answer = answered
            .map_err(|error| Failure::run(format!("cannot write to the input: {}", chain(&error))))?
            .answer;

        match answer.failed_record_count.unwrap_or(0) {
            0 => Ok(()),
            // The demo never makes the input refuse records.
            failed => Err(Failure::run(format!(
                "cannot write to the input: {failed} records were refused"
            ))),
        }
    }
}

/// The record with this number.
fn entry(number: u64) -> PutRecordsRequestEntry {
    let text = format!("{{\"log\": \"Record {number}\"}}");
    PutRecordsRequestEntry {
        data: Some(text.into_bytes().into()),
        partition_key: Some(format!("user-{}", number % KEYS)),
        explicit_hash_key: None,
    }
}
