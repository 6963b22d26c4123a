//! Checks at the end of a run, after everything has worked for long enough.

use std::collections::BTreeMap;

use super::outputs::{Counted, LastPlaces, OutputFacts};
use super::{Broken, Truth, line};

impl Truth {
    /// Checks that every output has all of its records, in order, and that losses were reported.
    pub fn check_end(&mut self) {
        self.check_end_of_rows();
        let services: Vec<String> = self.outputs.keys().cloned().collect();
        for service in services {
            if let Err((line, problem)) = self.check_output(&service) {
                self.violate(line, format!("{service}: {problem}"));
            }
        }
    }

    fn check_output(&self, service: &str) -> Result<(), Broken> {
        let Some(output) = self.outputs.get(service).filter(|o| !o.removed) else {
            return Ok(());
        };

        self.check_gaps(output)?;
        let mut last_places = BTreeMap::new();
        for (n, record) in self.records.iter().enumerate() {
            if !self.wants(output, n) || output.dead_letters.contains_key(&n) {
                continue;
            }
            check_record(output, &mut last_places, n, record.key)?;
        }
        Ok(())
    }

    /// Checks that the engine reported a gap for records lost to retention.
    fn check_gaps(&self, output: &OutputFacts) -> Result<(), Broken> {
        let lost = output.owed_gaps.iter().filter(|n| !output.has(**n));
        for n in lost {
            let shard = self.records[*n].shard;
            let is_reported = self
                .gaps
                .iter()
                .any(|(id, to)| *to == output.id && self.shard_ids.get(id) == Some(&shard));
            if !is_reported {
                let problem = format!("record {n} is lost to retention without a report of a gap");
                return Err((line::SILENT, problem));
            }
        }
        Ok(())
    }

    /// Counts of an output, since the engine started last.
    pub fn counted(&self, service: &str) -> Option<Counted> {
        if let Some(counted) = self.counted_rows(service) {
            return Some(counted);
        }
        let output = self.outputs.get(service).filter(|o| !o.removed)?;
        Some(output.counted())
    }
}

/// Checks that an output has a record, behind earlier records of the key.
fn check_record(
    output: &OutputFacts,
    last_places: &mut LastPlaces,
    n: usize,
    key: Option<u32>,
) -> Result<(), Broken> {
    let Some(place) = output.place(n).filter(|_| output.has(n)) else {
        return Err((line::COMPLETE, format!("record {n} is missing")));
    };
    if let Some(other) = output.out_of_order(last_places, key, n, place) {
        let problem = format!("record {other} stands behind record {n} of its key");
        return Err((line::ORDER, problem));
    }
    Ok(())
}
