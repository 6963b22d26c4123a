//! The records of failed batches that are durable at some outputs: a retry of the batch leaves them
//! out there. In memory, so that another instance of the function sends them again.
//!
//! Single records are remembered, never ranges: with a parallelization factor several batches of
//! one shard are under way, and the records of one lie between those of another.

use std::collections::BTreeMap;

use distributary_core::batch::Batch;

/// Records that are remembered at most; beyond, the shard with the lowest name is forgotten.
const RECORDS_MOST: usize = 100_000;
/// Outputs of one shard that are remembered at most.
const OUTPUTS_MOST: usize = 128;

/// The place that a batch came from: source and shard.
type Place = (String, String);

/// The memory of all shards.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    shards: BTreeMap<Place, Remembered>,
}

/// The memory of one shard.
#[derive(Debug, Default)]
struct Remembered {
    /// The names of the outputs; the place of a name is the output's bit.
    outputs: Vec<String>,
    /// For each record, by sequence number, a bit for each output that has the record.
    records: BTreeMap<Box<str>, u128>,
}

/// The records of a batch that an output still needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    /// The output.
    pub(crate) output: String,
    /// Indices in the batch, ascending.
    pub(crate) records: Vec<u32>,
}

impl Progress {
    /// The records of `batch` that `output` has not.
    pub(crate) fn open(&self, batch: &Batch, output: &str) -> Vec<u32> {
        let all = 0..u32::try_from(batch.len()).unwrap_or(u32::MAX);
        let remembered = self.shards.get(&place(batch));
        let Some((remembered, bit)) = remembered.and_then(|shard| shard.bit(output)) else {
            return all.collect();
        };

        let is_open = |i: &u32| {
            let record = batch.record(*i as usize);
            let has = remembered.records.get(record.sequence);
            has.is_none_or(|bits| bits & bit == 0)
        };
        all.filter(is_open).collect()
    }

    /// Notes the end of a delivery of `batch`: `open` has an entry for each output.
    pub(crate) fn note(&mut self, batch: &Batch, open: &[Open]) {
        let lowest = open.iter().filter_map(|output| output.records.first());
        let Some(lowest) = lowest.min() else {
            self.forget(batch);
            return;
        };

        let shard = self.shards.entry(place(batch)).or_default();
        for (i, record) in batch.iter().enumerate() {
            shard.records.remove(record.sequence);
            if i >= *lowest as usize {
                let bits = shard.bits(i, open);
                shard.records.insert(record.sequence.into(), bits);
            }
        }
        self.bound();
    }

    /// Forgets the records of a batch that is durable everywhere.
    fn forget(&mut self, batch: &Batch) {
        let place = place(batch);
        let Some(shard) = self.shards.get_mut(&place) else {
            return;
        };
        for record in batch.iter() {
            shard.records.remove(record.sequence);
        }
        if shard.records.is_empty() {
            self.shards.remove(&place);
        }
    }

    fn bound(&mut self) {
        let records = |shards: &BTreeMap<Place, Remembered>| -> usize {
            shards.values().map(|shard| shard.records.len()).sum()
        };
        while records(&self.shards) > RECORDS_MOST {
            self.shards.pop_first();
        }
    }
}

impl Remembered {
    fn bit(&self, output: &str) -> Option<(&Self, u128)> {
        let mut names = self.outputs.iter();
        let place = names.position(|name| name == output)?;
        Some((self, 1 << place))
    }

    /// The bits of the outputs that have the record at `i`.
    fn bits(&mut self, i: usize, open: &[Open]) -> u128 {
        let mut bits = 0;
        for output in open {
            let is_open = output.records.binary_search_by(|at| (*at as usize).cmp(&i));
            if is_open.is_err() {
                bits |= self.bit_of(&output.output);
            }
        }
        bits
    }

    /// The bit of an output, which gets one; none beyond the limit.
    fn bit_of(&mut self, output: &str) -> u128 {
        if let Some((_, bit)) = self.bit(output) {
            return bit;
        }
        if self.outputs.len() == OUTPUTS_MOST {
            return 0;
        }
        self.outputs.push(output.to_owned());
        1 << (self.outputs.len() - 1)
    }
}

fn place(batch: &Batch) -> Place {
    let origin = batch.origin();
    (origin.source.to_string(), origin.shard.as_str().to_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::{Event, Group};

    fn batch(sequences: &[&str]) -> Arc<Batch> {
        let records = sequences.iter().map(|sequence| {
            serde_json::json!({
                "kinesis": {
                    "partitionKey": "k", "sequenceNumber": sequence, "data": "",
                    "approximateArrivalTimestamp": 1.0
                },
                "eventSource": "aws:kinesis", "eventID": format!("shardId-0:{sequence}"),
                "eventSourceARN": "arn:aws:kinesis:eu-west-1:1:stream/input"
            })
        });
        let records: Vec<_> = records.collect();
        let event = serde_json::json!({ "Records": records });
        let mut groups = Event::parse(&event.to_string()).unwrap().groups;
        let Group { batch, .. } = groups.pop().unwrap();
        batch
    }

    fn open(output: &str, records: &[u32]) -> Open {
        Open {
            output: output.to_owned(),
            records: records.to_vec(),
        }
    }

    #[test]
    fn a_retry_leaves_out_the_records_that_an_output_has() {
        let mut progress = Progress::default();
        let whole = batch(&["1", "4", "7"]);
        progress.note(&whole, &[open("ill", &[1, 2]), open("well", &[2])]);

        let retry = batch(&["4", "7"]);
        assert_eq!(progress.open(&retry, "ill"), [0, 1]);
        assert_eq!(progress.open(&retry, "well"), [1]);
        assert_eq!(progress.open(&retry, "new"), [0, 1]);
    }

    #[test]
    fn records_between_those_of_a_failed_batch_are_no_part_of_it() {
        let mut progress = Progress::default();
        progress.note(
            &batch(&["1", "4", "7"]),
            &[open("ill", &[0, 1, 2]), open("well", &[])],
        );
        assert_eq!(progress.open(&batch(&["2", "5"]), "well"), [0, 1]);
    }

    #[test]
    fn a_batch_that_is_done_is_forgotten() {
        let mut progress = Progress::default();
        let whole = batch(&["1", "4"]);
        progress.note(&whole, &[open("ill", &[1]), open("well", &[])]);
        progress.note(&batch(&["4"]), &[open("ill", &[]), open("well", &[])]);
        assert!(progress.shards.is_empty());
    }
}
